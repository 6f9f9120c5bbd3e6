"""Dates registered to one another: how far each is displaced from a reference and, on request, moved back."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from xsr.core import graph, match, pipeline
from xsr.core.blocks import Padding, Span, Window
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import CubeError, XsrWarning
from xsr.core.graph import Job
from xsr.core.grid import Refinement, resolution
from xsr.core.names import BandsLike, standard_dims, standardise
from xsr.core.provenance import made_by
from xsr.core.types import Stack, XarrayObject
from xsr.kernels.registration import find_shift, spread_windows
from xsr.kernels.resample import Interpolation

LONG_NAMES = {
    "shift_x_m": "displacement of the content to the east, against the reference",
    "shift_y_m": "displacement of the content to the north, against the reference",
    "shift_quality": "correlation of the gradients with those of the reference, 1 = the same",
}


def register(
    cube: XarrayObject,
    *,
    reference: XarrayObject | None = None,
    apply: bool = False,
    bands: BandsLike | None = None,
    units: str | float | None = None,
) -> XarrayObject:
    """Measure by how much each date is displaced from a reference, and move it back on request.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x). Set clouds to no data first.
    reference
        Image of one date on the same grid; by default the first date.
    apply
        Move each date back by one bicubic resampling. The shifts are then measured at once; every resampling softens,
        so leave it out where a later one can take the shifts along (see Notes).
    bands
        Bands to measure in; all by default. One or two sharp ones are enough.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.

    Returns
    -------
    DataArray or Dataset
        The cube with coordinates along time: ``shift_x_m`` (east) and ``shift_y_m`` (north), by how many metres the
        content is displaced, NaN where there is too little texture; and ``shift_quality``, 0 to 1. They are lazy if the
        cube is: computing them reads the windows. With ``apply`` the pixels are float32 on the same grid, still
        lazy, the shifts are numbers and say what was taken out, and coordinates over y and x are dropped.

    Raises
    ------
    CubeError, GridError, BandError
        If the cube breaks the contract, or the reference has several dates, other bands or another grid.

    Warns
    -----
    XsrWarning
        With ``apply``, of dates that are not moved because their shift is not known.

    Notes
    -----
    Up to 3 x 3 windows of 256 pixels are spread over the image. In each window and band the complex gradients of date
    and reference, tapered where one of them is not valid, are correlated in the Fourier domain to 0.01 pixels
    (`xsr.kernels.registration.find_shift`); the result is the median. One task reads one window of one date.
    A shift is found up to a quarter of a window; it is one translation for the whole image.

    To register and refine in one resampling, move the coordinates instead of the pixels, ``for date in cube``:
    ``date.assign_coords(x=date.x - date.shift_x_m, y=date.y - date.shift_y_m).sr.liif(like=grid)``.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> high = synthetic_cube(size=(256, 256), gsd_m=5.0, bands=("B08",))
    >>> frames = high.sr.semi_simulate(scale=2, frames=2, shift_px=[[0, 0], [0.5, -0.25]])
    >>> measured = frames.drop_vars(["shift_x_m", "shift_y_m"]).sr.register()
    >>> bool(abs(measured.shift_x_m[1] + 2.5) < 0.5), bool(abs(measured.shift_y_m[1] + 5.0) < 0.5)
    (True, True)
    """
    measurable = open_cube(cube, units=units, bands=bands)
    cube, _, names = standardise(cube)
    opened = open_cube(cube, units=units) if bands is not None else measurable
    measured = _measure(measurable, _open_reference(reference, measurable, units, bands))
    shifts = measured if not apply else graph.together(measured)[0]
    moved = cube if not apply else _move(opened, np.asarray(shifts))
    coords = _coordinates(shifts, measurable)
    dims = ("time",) if "time" in moved.dims else ()
    for name, values in coords.items():
        unit = {} if name == "shift_quality" else {"units": "m"}
        attrs = {"long_name": LONG_NAMES[name] + (", taken out" if apply and unit else ""), **unit}
        moved = moved.assign_coords({name: (dims, values if dims else values[0], attrs)})
    return names.restore(moved)


def _open_reference(
    reference: XarrayObject | None, cube: Cube, units: str | float | None, bands: BandsLike | None
) -> Any:
    """Pixels (1, band, y, x) of the reference."""
    if reference is None:
        return cube.data.data[:1]
    reference = standard_dims(reference)
    if "time" in reference.dims:
        if reference.sizes["time"] != 1:
            raise CubeError(f"reference= has {reference.sizes['time']} dates; expected one. Select it: .isel(time=0).")
        reference = reference.isel(time=0)
    image = reference.drop_vars("time", errors="ignore")
    opened = match.open_like(image, cube, units=units, what="reference=", bands=bands)
    match.check_same_grid(cube.geobox, opened.geobox, what="reference=")
    return opened.data.data


def _measure(cube: Cube, reference: Any) -> Any:
    """Displacement down and right in pixels and quality, shape (time, 3); lazy if a cube is."""
    rows, cols = (spread_windows(cube.data.sizes[axis]) for axis in ("y", "x"))
    jobs = tuple(Job(y, x, (Window(y, x), Window(y, x))) for y, x in product(rows, cols))
    return graph.reduce_windows(Search(jobs), [reference, cube.data.data], jobs, (3,), name="register")


@dataclass(frozen=True)
class Search:
    """Reduction: the shifts of all windows, then their median."""

    jobs: tuple[Job, ...]

    def __call__(self, job: Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Shifts of one window, at its place among those of all windows; shape (window, band, 3)."""
        found = np.zeros((len(self.jobs), windows[1].shape[0], 3))
        found[self.jobs.index(job)] = [find_shift(*pair) for pair in zip(*windows, strict=True)]
        return found

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Median over windows and bands; NaN where none has a shift."""
        known = total.reshape(-1, 3)
        known = known[np.isfinite(known).all(axis=1)]
        return np.median(known, axis=0) if known.size else np.full(3, np.nan)


def _coordinates(shifts: Any, cube: Cube) -> dict[str, Any]:
    """Shifts in metres to the east and north, and the quality."""
    affine = cube.geobox.affine
    down_m, across_m = (m / size for m, size in zip(cube.pixel_m, resolution(cube.geobox), strict=True))
    down, right = shifts[:, 0], shifts[:, 1]
    return {
        "shift_x_m": (affine.a * right + affine.b * down) * across_m,
        "shift_y_m": (affine.d * right + affine.e * down) * down_m,
        "shift_quality": shifts[:, 2],
    }


def _move(cube: Cube, shifts: NDArray[np.float64]) -> XarrayObject:
    """Move every date back by its shift, lazily."""
    known: NDArray[np.bool_] = np.asarray(np.isfinite(shifts).all(axis=1))
    if not known.all():
        dates = cube.data["time"].values[~known] if "time" in cube.data.coords else np.flatnonzero(~known)
        warnings.warn(
            f"{len(dates)} date(s) have too little texture to be registered and are not moved:"
            f" {', '.join(map(str, dates))}.",
            XsrWarning,
            stacklevel=3,
        )
    taken = np.where(known[:, None], shifts[:, :2], 0.0)
    shape = (cube.data.sizes["y"], cube.data.sizes["x"])
    reach = math.ceil(np.abs(taken).max())
    function = Moving(tuple((float(y), float(x)) for y, x in taken), reach, shape)
    target = cube.geobox, Refinement(shape, (1.0, 1.0))
    return pipeline.evaluate(
        cube, function, target, chunks=pipeline.resolve_chunks(None), provenance=made_by("register")
    )


@dataclass(frozen=True)
class Moving:
    """Block function: every date interpolated at the displaced positions; beyond the cube is no data."""

    task: ClassVar[str] = "register"

    shifts: tuple[tuple[float, float], ...]
    """Displacement of each date down and right in pixels."""
    reach: int
    """Whole pixels that hold the largest one of all dates."""
    shape: tuple[int, int]
    """Pixels (y, x) of the cube."""
    corner: tuple[int, int] = (0, 0)
    """First pixel of the block."""
    padding: Padding = "edge"

    @property
    def halo(self) -> int:
        """Pixels needed around the two next to a position."""
        return Interpolation("bicubic").halo + self.reach

    def place(self, dates: Span, rows: Span, cols: Span) -> "Moving":
        """Bind to some dates and a rectangle of pixels."""
        return replace(self, shifts=self.shifts[dates.slice], corner=(rows.start, cols.start))

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        interpolation = Interpolation("bicubic")
        out = np.empty((*window.shape[:2], rows.size, cols.size), np.float32)
        for date, (down, right) in enumerate(self.shifts):
            out[date] = interpolation(window[date : date + 1], rows + down, cols + right, cell)[0]
            outside = [
                (first + np.arange(size) + shift < -0.5) | (first + np.arange(size) + shift > limit - 0.5)
                for first, size, shift, limit in zip(self.corner, out.shape[2:], (down, right), self.shape, strict=True)
            ]
            out[date][:, outside[0][:, None] | outside[1]] = np.nan
        return out
