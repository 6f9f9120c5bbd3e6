"""A cube brought to the sharpness of another, by the Gaussian that leaves the least error or one that is given."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from xsr.core import checks, graph, match, pipeline
from xsr.core.blocks import Padding, Span, Window, chunk_sizes, spans, spread
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import CubeError, ParameterError, XsrWarning, calling
from xsr.core.graph import Job
from xsr.core.grid import Refinement
from xsr.core.members import each_member
from xsr.core.names import BandsLike
from xsr.core.provenance import made_by
from xsr.core.types import Stack, XarrayObject
from xsr.kernels import sharpness

WINDOW, WINDOWS = 256, 3
"""Side in pixels of the windows that are compared, and the most of them along an axis."""
LARGEST_PX = 8.0
"""Default of the largest width, in pixels."""
SMALLEST = 16
"""Least side in pixels of a cube whose width is found."""


@each_member
def match_psf(
    cube: XarrayObject,
    reference: XarrayObject | None = None,
    *,
    sigma_m: float | None = None,
    largest_m: float | None = None,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Soften a cube to the sharpness of a reference, so that errors compare detail and not sharpness.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    reference
        The cube to compare with, on the same grid and dates; without dates it serves every date. Register it and bring
        it to the radiometry of ``cube`` first.
    sigma_m
        Standard deviation of the Gaussian in metres, instead of a reference; 0 changes nothing.
    largest_m
        Largest standard deviation to try, in metres; by default 8 pixels.
    bands
        Bands to compare; all by default. All bands of the cube are softened alike.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.
    chunks
        Output block in pixels, one number or (y, x); each becomes one Dask chunk over all bands.

    Returns
    -------
    DataArray or Dataset
        As the input, float32 on the same grid; lazy if the input is. A pixel without data stays without, and gives the
        others nothing. The attribute ``xsr_sigma_m`` is the standard deviation in metres: one for all bands and dates.

    Raises
    ------
    GridError, CubeError, BandError
        If the reference has another grid, other dates, lacks a band, or has no valid pixel in common with the cube; if
        the cube has less than 16 pixels along a side.
    ParameterError
        If not exactly one of ``reference`` and ``sigma_m`` is given, a width is negative, or the reference is softer
        than the largest one makes the cube.

    Warns
    -----
    XsrWarning
        If the reference is sharper than the cube: the width is 0, and nothing is softened.

    Notes
    -----
    *Read at once*, to find the width: up to 3 x 3 windows of 256 pixels, spread over the image, of all dates and of the
    bands to compare. In them the cube is softened by widths of 0.2 pixels and more, each 1.2 times the one before, and
    the width is where a cubic spline through the mean square errors is least. The softened cube
    itself is lazy.

    A reference has noise and errors of its own, and a Gaussian may cost the cube true detail where it takes away more
    that is not: the width is that of the least error, and at most the difference of two point spread functions where
    all detail is true.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> sharp = synthetic_cube(size=(64, 64), bands=("B04", "B08"))
    >>> soft = sharp.sr.match_psf(sigma_m=12.0)
    >>> found = sharp.sr.match_psf(soft)
    >>> round(found.attrs["xsr_sigma_m"])  # metres
    12
    """
    if (reference is None) == (sigma_m is None):
        given = "neither" if reference is None else "both"
        raise ParameterError(f"reference= and sigma_m=: {given} given; expected one of them.")
    opened = open_cube(cube, units=units)
    if reference is not None:
        compared = opened if bands is None else open_cube(cube, units=units, bands=bands)
        truth = match.open_like(reference, compared, units=units, what="reference=", bands=bands)
        match.check_same_grid(compared.geobox, truth.geobox, what="reference=")
        sigma_m = _find(compared, truth, largest_m)
    width = checks.within("sigma_m", sigma_m, low=0, what="a standard deviation in metres")
    sigma_px = width / opened.pixel_m[0], width / opened.pixel_m[1]
    shape = opened.geobox.shape.yx
    target = opened.geobox, Refinement(shape, (1.0, 1.0))
    record = made_by("match_psf", sigma_m=width)
    return pipeline.evaluate(
        opened, Softening(sigma_px), target, chunks=pipeline.resolve_chunks(chunks), provenance=record
    )


@dataclass(frozen=True)
class Softening:
    """Block function: a Gaussian over each band of each date."""

    task: ClassVar[str] = "match_psf"
    serial: ClassVar[bool] = True

    sigma_px: tuple[float, float]
    padding: Padding = "reflect"

    @property
    def halo(self) -> int:
        """Half-width of the Gaussian."""
        return sharpness.reach(self.sigma_px)

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate a block; see `xsr.core.types.WindowFunction`."""
        y, x = (Span(round(places[0]), round(places[-1]) + 1) for places in (rows, cols))
        out = [sharpness.soften(images, self.sigma_px, rows=y, cols=x) for images in window]
        return np.stack(out)


@dataclass(frozen=True)
class Errors:
    """Reduction: square errors of a cube that is softened by several widths."""

    sigmas_px: tuple[tuple[float, float], ...]
    halo: int

    def __call__(self, job: Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Sum over the bands of one window: the pixels, then the square errors of each width."""
        image, reference = windows
        rows, cols = (Span(self.halo, self.halo + len(span)) for span in (job.rows, job.cols))
        out = np.zeros(1 + len(self.sigmas_px))
        for column, sigma_px in enumerate(self.sigmas_px, start=1):
            error = sharpness.soften(image, sigma_px, rows=rows, cols=cols).astype(np.float64) - reference
            valid = np.isfinite(error)
            out[column] = np.square(error, where=valid, out=np.zeros_like(error)).sum()
            out[0] = np.count_nonzero(valid)
        return out

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pass the sums of one date on."""
        return total


def _find(cube: Cube, reference: Cube, largest_m: float | None) -> float:
    """Width in metres that leaves the least error; read now."""
    shape = cube.geobox.shape.yx
    if min(shape) < SMALLEST:
        raise CubeError(
            f"the cube has {shape[0]} x {shape[1]} pixels; expected at least {SMALLEST} each way to find a width."
            " Pass a larger part of it, or sigma_m= in metres."
        )
    pixel_m = math.sqrt(cube.pixel_m[0] * cube.pixel_m[1])
    largest = LARGEST_PX * pixel_m if largest_m is None else checks.positive("largest_m", largest_m)
    sigmas_m = [width * pixel_m for width in sharpness.widths(largest / pixel_m)]
    sums = _sums(cube, reference, sigmas_m)
    if not sums[0]:
        raise CubeError(
            "reference= has no valid pixel where the cube has one; expected images of one place. Check both."
        )
    found = sharpness.least(sigmas_m, sums[1:] / sums[0])
    if found > largest:
        raise ParameterError(
            f"reference= is softer than the cube after a Gaussian of {largest:.4g} m; expected one that is as sharp."
            " Raise largest_m= if it is known to be so soft; else register it and match its radiometry first."
        )
    if not found:
        warnings.warn(
            "the reference is as sharp as the cube or sharper: any Gaussian adds to the error. The width is 0:"
            " nothing is softened.",
            XsrWarning,
            stacklevel=calling(),
        )
    return found


def _sums(cube: Cube, reference: Cube, sigmas_m: Sequence[float]) -> NDArray[np.float64]:
    """Pixels that were compared, and the square errors of each width, over all dates."""
    sigmas_px = tuple((sigma / cube.pixel_m[0], sigma / cube.pixel_m[1]) for sigma in sigmas_m)
    halo = sharpness.reach(sigmas_px[-1])
    jobs = []
    for rows, cols in product(*map(_spans, cube.geobox.shape.yx)):
        wide = (Span(span.start - halo, span.stop + halo) for span in (rows, cols))
        jobs.append(Job(rows, cols, (Window(*wide), Window(rows, cols))))
    sources = [cube.data.data, reference.data.data]
    sums = graph.reduce_windows(Errors(sigmas_px, halo), sources, jobs, (1 + len(sigmas_px),), name="match-psf")
    total: NDArray[np.float64] = np.asarray(graph.together(sums)[0]).sum(axis=0)
    return total


def _spans(size: int) -> Sequence[Span]:
    """Windows along an axis: all of it where so many hold it, else spread from end to end."""
    if size <= WINDOW * WINDOWS:
        return spans(chunk_sizes(size, WINDOW))
    return spread(size, side=WINDOW, count=WINDOWS)
