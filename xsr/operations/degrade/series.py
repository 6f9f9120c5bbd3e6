"""The operation `semi_simulate`: frames that a satellite would have taken of one image, with real change."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xsr.core import checks, grid, pipeline
from xsr.core.blocks import Padding, Span
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import GridError, ParameterError
from xsr.core.grid import crs_name, resolution
from xsr.core.names import BandsLike, fitting
from xsr.core.provenance import SCALE
from xsr.core.sensors import canonical
from xsr.core.types import Stack, XarrayObject
from xsr.kernels.decimate import MIN_VALID
from xsr.kernels.degrade import BandOptics
from xsr.kernels.noise import NoiseModel, add_noise, clouds
from xsr.kernels.optics import Mtf, Optics, PsfLike
from xsr.kernels.psf import Gaussian, Stage
from xsr.operations.degrade.arguments import checked_scale, checked_seed, checked_share, key_of, provenance
from xsr.operations.degrade.block import Degradation, Frame
from xsr.operations.degrade.noise import Noise, noise_models
from xsr.operations.degrade.optics import CubeOptics, with_native_gsd

CLOUD_KEY = zlib.crc32(b"clouds")
"""Names clouds among the bands in random fields."""


def semi_simulate(
    cube: XarrayObject,
    high: XarrayObject | None = None,
    *,
    scale: float,
    series: XarrayObject | None = None,
    frames: int | None = None,
    shift_px: "float | ArrayLike" = 0.5,
    blur_jitter: float = 0.05,
    change_px: float = 4.0,
    cloud_cover: float = 0.0,
    mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    psf: "PsfLike | Mapping[str, PsfLike]" = "gaussian",
    sensor: str | None = None,
    noise: Noise = None,
    seed: int = 0,
    min_valid: float = MIN_VALID,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Make the low-resolution frames that a satellite would have taken of one high-resolution image.

    Parameters
    ----------
    cube
        High-resolution image of one date: DataArray ([time,] [band,] y, x) or Dataset of bands. With ``high``, the
        low-resolution ``series``.
    high
        High-resolution image, where ``cube`` is the series: ``semi_simulate(series, high, scale=2)`` equals
        ``semi_simulate(high, scale=2, series=series)``.
    scale
        Linear factor between the pixel sizes, >= 1.
    series
        Real low-resolution dates of the same bands on the grid of the result. Each frame then has the radiometry of one
        of them and, where that one has no data, none either; the geometry stays that of ``high``. None for frames
        that differ in sampling, blur and noise alone.
    frames
        Number of frames; by default all dates of ``series``, or 5. Of a longer series dates are drawn, kept in order.
    shift_px
        Frames are displaced by up to so many low-resolution pixels along each axis, drawn evenly; or the
        displacements themselves, shape (frames, 2), towards greater rows and columns.
    blur_jitter
        Standard deviation of the logarithm of the width of each frame's point spread function.
    change_px
        Width (standard deviation) in low-resolution pixels of the blur that separates radiometric change, taken
        from ``series``, from detail, taken from ``high``.
    cloud_cover
        Share of each frame under simulated clouds, 0 to 1; they become NaN.
    mtf, psf, sensor, noise, seed, min_valid, bands, units, chunks
        See `xsr.degrade`. Shifts, blur, dates, noise and clouds follow ``seed``.

    Returns
    -------
    DataArray or Dataset
        Frames along ``time`` (dates of ``series``, or numbers from 0) on the coarser grid; lazy if an input is. The
        coordinates ``shift_x_m`` (east) and ``shift_y_m`` (north) give the displacement of the content of each frame in
        metres, for a CRS in degrees those at the middle of the cube, ``blur`` by what factor its point spread
        function is wider.

    Raises
    ------
    ParameterError
        If the image has several dates, the series is given twice, or a number is out of range.
    GridError
        If ``series`` is not on the grid of the result.

    Notes
    -----
    With D the degradation of a frame, D0 that without displacement and L a Gaussian blur of ``change_px``, a frame of
    date t is ``D(high) + L(series_t - D0(high))``, then noise and clouds. The idea of joining simulated geometry and
    real change is that of Tarasiewicz et al.; the formula is ours.

    References
    ----------
    T. Tarasiewicz et al. (2022), on semi-simulated data for multi-image super-resolution.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> high = synthetic_cube(size=(64, 64), gsd_m=2.5)
    >>> frames = high.sr.semi_simulate(scale=4, frames=3, noise="sensor")
    >>> dict(frames.sizes)
    {'time': 3, 'band': 4, 'y': 16, 'x': 16}
    >>> series = synthetic_cube(size=(16, 16), times=("2024-04-10", "2024-06-10"))
    >>> frames = series.sr.semi_simulate(high, scale=4)  # or high.sr.semi_simulate(scale=4, series=series)
    >>> bool((frames.time == series.time).all())
    True
    """
    image, series = _image_and_series(cube, high, series)
    opened, factor = open_cube(image, units=units, bands=bands), checked_scale(scale)
    if opened.data.sizes["time"] != 1:
        raise ParameterError(
            f"high has {opened.data.sizes['time']} dates; expected one image, whose geometry all frames share. Select"
            " a date, as by .isel(time=0)."
        )
    real = None if series is None else _open_series(series, opened, units, bands)
    seed, sensor = checked_seed(seed), opened.sensor(sensor)
    plan = _FramePlan.draw(opened, real, factor, frames, shift_px, blur_jitter, seed)
    names, optics = opened.spelled(sensor), CubeOptics(opened, factor, Optics(sensor, mtf, psf))
    degraded = Degradation(tuple(map(optics.band, names)), plan.frames, checked_share(min_valid)).checked()
    many = plan.repeated(with_native_gsd(opened, factor, sensor))
    blocks = pipeline.resolve_chunks(math.ceil(pipeline.CHUNK / factor) if chunks is None else chunks)
    target = grid.coarsen(opened.geobox, factor)
    values = pipeline.values(many, degraded, target[1], chunks=blocks)
    if real is not None:
        still = replace(degraded, frames=(Frame(0),))
        base = pipeline.values(opened, still, target[1], chunks=blocks)
        values = values + _change(real, plan.dates, base, target, change_px, blocks)
    models = noise_models(names, noise, sensor)
    keys = tuple(key_of(canonical(name)) for name in names)
    finish = Finish(tuple(models), keys, tuple(f.key for f in plan.frames), _cover(cloud_cover), seed)
    whole = replace(many, data=_on(many.data, values), geobox=target[0])
    values = pipeline.values(whole, finish, grid.coarsen(target[0], 1)[1], chunks=blocks)
    return many.rewrap(values, target[0], provenance("semi_simulate", psf) | {SCALE: [1 / factor, 1 / factor]})


def _image_and_series(
    cube: XarrayObject, high: XarrayObject | None, series: XarrayObject | None
) -> tuple[XarrayObject, XarrayObject | None]:
    if high is None:
        return cube, series
    if series is not None:
        raise ParameterError(
            "high= and series= are both given; expected one of them. The cube is the series where high= is given, and"
            " the image where series= is."
        )
    return high, cube


def _open_series(series: XarrayObject, high: Cube, units: str | float | None, bands: BandsLike | None) -> Cube:
    """Open the series with the bands of the image, in its order."""
    found = fitting(bands, series)
    return open_cube(series, units=units, bands=found if isinstance(found, Mapping) else high.bands)


@dataclass(frozen=True)
class _FramePlan:
    """What was drawn for the frames of a series."""

    frames: tuple[Frame, ...]
    dates: tuple[int, ...]
    """Numbers of the real dates, empty without a series."""
    times: NDArray[Any]
    gsd: tuple[float, float]
    """Low-resolution pixel along y and x in metres."""

    @classmethod
    def draw(
        cls,
        cube: Cube,
        real: Cube | None,
        scale: float,
        frames: int | None,
        shift_px: Any,
        blur_jitter: float,
        seed: int,
    ) -> "_FramePlan":
        """Draw dates, shifts and blur."""
        rng = np.random.default_rng([17, seed & 0xFFFFFFFFFFFFFFFF])
        available = 5 if real is None else real.data.sizes["time"]
        count = available if frames is None else checks.whole("frames", frames, what="a number of frames")
        if count < 1 or (real is not None and count > available):
            limit = "" if real is None else f" and at most {available}, the dates of series"
            raise ParameterError(f"frames={frames}; expected at least 1{limit}.")
        shifts = _shifts(shift_px, count, rng)
        blur_jitter = checks.within("blur_jitter", blur_jitter, low=0, what="a standard deviation of at least 0")
        blur = np.exp(blur_jitter * np.clip(rng.standard_normal(count), -3, 3))
        chosen = () if real is None else tuple(np.sort(rng.permutation(available)[:count]).tolist())
        times = np.arange(count) if real is None else real.data.isel(time=list(chosen))["time"].values
        keys = [key_of(f"frame {number}") for number in range(count)]
        made = tuple(
            Frame(key, (float(dy), float(dx)), float(b)) for key, (dy, dx), b in zip(keys, shifts, blur, strict=True)
        )
        size = cube.pixel_m
        return cls(made, chosen, times, (size[0] * scale, size[1] * scale))

    def repeated(self, cube: Cube) -> Cube:
        """Repeat the one date of a cube for every frame, with the coordinates that record what was drawn."""
        shifts = np.array([frame.shift for frame in self.frames])
        coords = {
            "time": self.times,
            "shift_x_m": ("time", shifts[:, 1] * self.gsd[1]),
            "shift_y_m": ("time", -shifts[:, 0] * self.gsd[0]),
            "blur": ("time", np.array([frame.blur for frame in self.frames])),
        }

        def repeat(obj: Any) -> Any:
            one = obj.isel(time=0, drop=True) if "time" in obj.dims else obj.drop_vars("time", errors="ignore")
            return one.expand_dims(time=len(self.frames)).assign_coords(coords)

        return replace(cube, data=repeat(cube.data), original=repeat(cube.original))


def _shifts(shift_px: Any, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    try:
        given = np.asarray(shift_px, np.float64)
    except (TypeError, ValueError):
        given = np.array(np.nan)
    if given.ndim == 0:
        if not (np.isfinite(given) and given >= 0):
            raise ParameterError(f"shift_px={shift_px}; expected at least 0 low-resolution pixels.")
        return rng.uniform(-1.0, 1.0, (count, 2)) * float(given)
    if given.shape != (count, 2) or not np.isfinite(given).all():
        raise ParameterError(
            f"shift_px of shape {given.shape}; expected one number, or finite displacements (y, x), shape ({count}, 2)."
        )
    return given


def _change(
    real: Cube,
    dates: Sequence[int],
    base: Any,
    target: tuple[Any, grid.Refinement],
    change_px: float,
    chunks: tuple[int, int],
) -> Any:
    """Low frequencies of the difference between real dates and the degraded image, NaN where a date has no data."""
    _check_same_grid(real.geobox, target[0])
    change_px = checks.positive("change_px", change_px, what="a positive width in low-resolution pixels")
    selected = real.data.isel(time=list(dates))
    difference = selected.data - base
    stage = (Stage(Gaussian(float(change_px)), 1.0),)
    smooth = Degradation((BandOptics(stage, stage),) * len(real.bands), (Frame(0),) * len(dates), 1e-3)
    cube = replace(real, data=selected.copy(data=difference))
    field_ = pipeline.values(cube, smooth, grid.coarsen(target[0], 1)[1], chunks=chunks)
    return field_ + selected.data * np.float32(0)  # NaN and infinities of the date become NaN


def _check_same_grid(series: Any, wanted: Any) -> None:
    if series.crs != wanted.crs:
        raise GridError(
            f"series is in {crs_name(series)} and high in {crs_name(wanted)}; expected one CRS. Reproject series."
        )
    height, width = wanted.shape.yx
    first, last = ((~wanted.affine) @ (series.affine @ corner) for corner in ((0, 0), (width, height)))
    off = max(abs(first[0]), abs(first[1]))
    drift = max(abs(last[0] - width), abs(last[1] - height))
    if tuple(series.shape.yx) != (height, width) or max(off, drift) > 1e-3:
        (ours, theirs) = (" x ".join(f"{size:.9g}" for size in resolution(box)) for box in (series, wanted))
        raise GridError(
            f"series has {tuple(series.shape.yx)} pixels of {ours}, its corner {off:.3g} px off; expected"
            f" {(height, width)} pixels of {theirs} from the corner of high. Crop or reproject series."
        )


@dataclass(frozen=True)
class Finish:
    """Block function: add noise, then hide what lies under clouds."""

    noise: tuple[NoiseModel, ...]
    bands: tuple[int, ...]
    dates: tuple[int, ...]
    cover: float
    seed: int
    halo: int = 0
    padding: Padding = "edge"
    rows: Span = field(default=Span(0, 0))
    cols: Span = field(default=Span(0, 0))

    def place(self, dates: Span, rows: Span, cols: Span) -> "Finish":
        """Bind to dates and output pixels; see `xsr.core.types.PlacedFunction`."""
        return replace(self, dates=self.dates[dates.slice], rows=rows, cols=cols)

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate a block; see `xsr.core.types.WindowFunction`."""
        out = window[:, :, : len(self.rows), : len(self.cols)].copy()
        for date, key in enumerate(self.dates):
            hidden = clouds(self.rows, self.cols, cover=self.cover, seed=self.seed, words=(CLOUD_KEY, key))
            for number, (model, band) in enumerate(zip(self.noise, self.bands, strict=True)):
                image = out[date, number]
                noisy = add_noise(image, model, rows=self.rows, cols=self.cols, seed=self.seed, words=(band, key))
                image[...] = np.where(hidden, np.float32(np.nan), noisy)
        return out


def _cover(cloud_cover: Any) -> float:
    return checks.within("cloud_cover", cloud_cover, low=0, high=1, what="a share of the image from 0 to 1")


def _on(data: xr.DataArray, values: Any) -> xr.DataArray:
    """Put values on another grid; only sizes and coordinates over time and band count here."""
    coords = {name: coord for name, coord in data.coords.items() if not {"y", "x"} & set(coord.dims)}
    return xr.DataArray(values, dims=("time", "band", "y", "x"), coords=coords)
