"""Judge a super-resolved cube against a reference and against the image it was made from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr._version import __version__
from xsr.core import checks, graph
from xsr.core.blocks import Span, Window
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import ParameterError
from xsr.core.grid import resolution
from xsr.core.match import (
    Low,
    blocks_of,
    check_border,
    check_same_grid,
    open_like,
    open_low,
    open_mask,
    pixel_m,
    quotient,
)
from xsr.core.names import BandsLike, fitting
from xsr.core.types import XarrayObject
from xsr.kernels import fidelity
from xsr.kernels import metrics as kernels
from xsr.kernels.optics import Mtf, Optics, PsfLike

UNITS = kernels.UNITS
"""Metrics of `evaluate` and their units."""

LONG_NAMES: dict[str, str] = {
    "mae": "mean absolute error",
    "rmse": "root mean square error",
    "bias": "mean of image minus reference",
    "psnr": "peak signal-to-noise ratio",
    "ssim": "structural similarity",
    "uqi": "universal image quality index",
    "scc": "spatial correlation coefficient",
    "sam": "spectral angle",
    "ergas": "relative global error of synthesis",
    "low_fidelity": "mean |low - D(image)|, D the band's point spread function and decimation",
    "low_fidelity_rmse": "root mean square of low - D(image)",
    "high_fidelity": "mean |HP(reference) - HP(image)|, HP(x) = x - up(D(x))",
    "high_fidelity_rmse": "root mean square of HP(reference) - HP(image)",
}
NEED_RANGE = frozenset({"psnr", "ssim"})
NEED_SCALE = frozenset({"ergas", "high_fidelity", "high_fidelity_rmse"})
NEED_LOW = frozenset({"low_fidelity", "low_fidelity_rmse"})
FIDELITY = frozenset(name for name in UNITS if "fidelity" in name)
"""Metrics that need the point spread function of the low-resolution sensor."""
OVER_BANDS = frozenset({"sam", "ergas"})
"""Metrics of all bands together: no band dimension."""

# columns of the sums of a block, (first, count)
_ERROR, _SSIM, _UQI, _SCC, _LOW, _HIGH, _ANGLE = (slice(*s) for s in (
    (0, 5), (5, 7), (7, 9), (9, 11), (11, 16), (16, 21), (21, 23)
))  # fmt: skip
_COLUMNS = 23


@dataclass(frozen=True)
class Scores:
    """Reduction: sums of the metrics asked for, and the metrics from the total."""

    metrics: tuple[str, ...]
    shape: tuple[int, int]
    border: int
    data_range: float
    scale: float
    sensors: tuple[fidelity.Sensor | None, ...]
    """How each band is seen at low resolution; None where its MTF is not known."""
    has_reference: bool
    has_low: bool
    has_mask: bool

    @property
    def halo(self) -> int:
        """Pixels around a block that its sums need."""
        needed = [max(kernels.WINDOW_REACH.get(name, (0,))) for name in self.metrics]
        if not FIDELITY.isdisjoint(self.metrics):
            needed += [sensor.halo for sensor in self.sensors if sensor is not None]
        return max(needed, default=0)

    def __call__(self, job: graph.Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Sum over one block, shape (band, columns)."""
        given = iter(windows)
        image = next(given)
        reference = next(given) if self.has_reference else None
        low = next(given) if self.has_low else None
        window = job.windows[0]
        place: dict[str, Any] = {"rows": window.rows, "cols": window.cols, "shape": self.shape}
        mask = next(given) if self.has_mask else None
        image = kernels.judged(image, **place, border=self.border, mask=mask)
        out = np.zeros((image.shape[0], _COLUMNS))
        if reference is not None:
            reference = kernels.judged(reference, **place)
            self._pixels(out, kernels.cut(image, self.halo), kernels.cut(reference, self.halo))
            self._windows(out, image, reference)
            if not {"high_fidelity", "high_fidelity_rmse"}.isdisjoint(self.metrics):
                self._high(out, image - reference, job)
        if low is not None:
            self._low(out, image, low, job)
        return out

    def _pixels(self, out: NDArray[np.float64], image: NDArray[Any], reference: NDArray[Any]) -> None:
        out[:, _ERROR] = kernels.error_sums(image, reference)
        if "sam" in self.metrics:
            out[0, _ANGLE] = kernels.angle_sums(image, reference)

    def _windows(self, out: NDArray[np.float64], image: NDArray[Any], reference: NDArray[Any]) -> None:
        for name, columns in (("ssim", _SSIM), ("uqi", _UQI), ("scc", _SCC)):
            for b in range(len(out)) if name in self.metrics else ():  # one band at a time: Laplacians are float64
                pair = image[b : b + 1], reference[b : b + 1]
                windows = kernels.windows_of(name, *pair, halo=self.halo, data_range=self.data_range)
                out[b : b + 1, columns] = kernels.window_sums(**windows)

    def _known(self) -> list[tuple[int, fidelity.Sensor]]:
        return [(number, sensor) for number, sensor in enumerate(self.sensors) if sensor is not None]

    def _high(self, out: NDArray[np.float64], error: NDArray[Any], job: graph.Job) -> None:
        """Sum the high-pass error: the high-pass is linear, so that of the error is the difference of the two."""
        origin = (job.windows[0].rows.start, job.windows[0].cols.start)
        for b, sensor in self._known():
            detail = fidelity.high_pass_window(error[b : b + 1], sensor, rows=job.rows, cols=job.cols, origin=origin)
            out[b : b + 1, _HIGH] = kernels.error_sums(detail, np.zeros_like(detail))

    def _low(self, out: NDArray[np.float64], image: NDArray[Any], low: NDArray[Any], job: graph.Job) -> None:
        rows, cols = job.windows[1 + self.has_reference].rows, job.windows[1 + self.has_reference].cols
        if not (len(rows) and len(cols)):
            return
        origin = (job.windows[0].rows.start, job.windows[0].cols.start)
        for b, sensor in self._known():
            seen = fidelity.degrade_window(image[b : b + 1], sensor, low=(rows, cols), origin=origin)
            out[b : b + 1, _LOW] = kernels.error_sums(seen, low[b : b + 1])

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metrics from the sums, shape (metric, band), the count of valid pixels last."""
        error, rmse = _mean(total[:, _ERROR]), _rmse(total[:, _ERROR])
        with np.errstate(divide="ignore", invalid="ignore"):
            level = total[:, 4] / total[:, 0]
            values = {
                "mae": error[:, kernels.ABSOLUTE],
                "rmse": rmse,
                "bias": error[:, kernels.ERROR],
                "psnr": 20 * np.log10(self.data_range / rmse),
                "ssim": _ratio(total[:, _SSIM]),
                "uqi": _ratio(total[:, _UQI]),
                "scc": _ratio(total[:, _SCC]),
                "sam": np.full(len(total), np.degrees(_ratio(total[:1, _ANGLE])[0])),
                "ergas": np.full(len(total), 100 / self.scale * np.sqrt(np.mean((rmse / level) ** 2))),
                "low_fidelity": _mean(total[:, _LOW])[:, kernels.ABSOLUTE],
                "low_fidelity_rmse": _rmse(total[:, _LOW]),
                "high_fidelity": _mean(total[:, _HIGH])[:, kernels.ABSOLUTE],
                "high_fidelity_rmse": _rmse(total[:, _HIGH]),
                "count": total[:, 0] if self.has_reference else total[:, _LOW][:, 0],
            }
        return np.stack([values[name] for name in (*self.metrics, "count")])


def _mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / np.where(sums[:, :1] > 0, sums[:, :1], np.nan), np.float64)


def _rmse(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(_mean(sums)[:, kernels.SQUARED]), np.float64)


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sums[:, 1] / np.where(sums[:, 0] > 0, sums[:, 0], np.nan), np.float64)


def evaluate(
    sr: XarrayObject,
    reference: XarrayObject | None,
    *,
    low: XarrayObject | None = None,
    data_range: float | None = None,
    metrics: str | Iterable[str] | None = None,
    scale: float | None = None,
    mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    psf: "PsfLike | Mapping[str, PsfLike]" = "gaussian",
    source_mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    sensor: str | None = None,
    border: int = 0,
    mask: xr.DataArray | None = None,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> xr.Dataset:
    """Score a super-resolved cube per band and date.

    Parameters
    ----------
    sr
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    reference
        The truth on the same grid, bands and dates; without dates it serves every date. None leaves the metrics that
        need ``low`` alone.
    low
        The image that ``sr`` was made from: same top-left corner, coarser pixels.
    data_range
        Difference between the largest and the least value that a pixel can take, 1 for reflectance; for ``psnr`` and
        ``ssim``.
    metrics
        Names from `UNITS`; by default all that the arguments given allow. Bands whose MTF is not known have NaN for the
        fidelity metrics then, and the attribute ``bands_without_mtf`` names them; asked for by name, they are an error.
    scale
        Low over high pixel size, for ``ergas`` and ``high_fidelity``; taken from ``low`` if that is given.
    mtf
        Modulation transfer of the low-resolution sensor at its Nyquist frequency; see `xsr.degrade`. Where the
        coordinate ``native_gsd`` of ``low`` or ``sr`` says that a band was seen in pixels larger than those of ``low``,
        at that of these pixels; where neither says and ``mtf`` is not given, the sensor's table does.
    psf, source_mtf, sensor
        Point spread function of the low-resolution sensor, and the table that names its MTF; see `xsr.degrade`.
    border
        Pixels to leave out along each side of the cube.
    mask
        Boolean DataArray on the grid of ``sr``, True where a pixel is judged.
    bands
        Bands to judge; all of ``sr`` by default. A mapping from names to labels (see `xsr.liif`) counts for each cube
        that has its labels; the others have its names.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.
    chunks
        Side of a block in pixels, one number or (y, x); by default the chunks of ``sr``. No number depends on it.

    Returns
    -------
    Dataset
        One variable for each metric, dims (time, band), or (time) where all bands are judged together; ``count`` holds
        the valid pixels, those of ``low`` where there is no reference. NaN where nothing could be judged. Attributes
        tell the settings, with the fidelity metrics those of the sensor. Lazy if any cube is.

    Raises
    ------
    GridError
        If grids differ, saying by how much.
    CubeError, BandError
        If a cube breaks the contract, or dates or bands do not match.
    ParameterError
        If a metric is unknown or lacks an argument, an argument is out of range, or a metric asked for needs an MTF
        that is not known or that no weights have.

    Notes
    -----
    With the error e = sr - reference over valid pixels: ``mae`` is the mean of its magnitude, ``rmse`` sqrt(mean e²),
    ``bias`` mean e, ``psnr`` 20 log10(data_range / rmse). ``ssim`` follows Wang et al. (2004): Gaussian window of
    sigma 1.5, population covariance. ``uqi`` takes 8 x 8 windows (Wang & Bovik 2002); ``scc`` is the correlation of
    the images' Laplacians in 8 x 8 windows. ``sam`` is the mean angle between spectra, in degrees. ``ergas`` is ``100
    / scale * sqrt(mean over bands of (rmse / mean reference)²)``: its ratio is high over low pixel size (Wald 2000).
    ``low_fidelity`` compares on the low-resolution grid, ``high_fidelity`` on the high-resolution one, with the
    point spread function of the low-resolution sensor; a band seen in larger pixels is taken to have been brought to
    that grid by bicubic interpolation. Windows and point spread functions that touch no data, masked pixels or the
    outside of the cube do not count.
    """
    cube = open_cube(sr, units=units, bands=fitting(bands, sr))
    truth = None if reference is None else open_like(reference, cube, units=units, what="the reference", bands=bands)
    if truth is not None:
        check_same_grid(cube.geobox, truth.geobox, what="the reference")
    coarse = None if low is None else open_low(low, cube, units=units, bands=bands)
    scale = None if scale is None else checks.within("scale", scale, low=1, what="low over high pixel size, at least 1")
    if coarse is not None:
        scale = _agreed_scale(scale, coarse.scale)
    names = _resolve_metrics(metrics, truth is not None, low is not None, data_range, scale)
    factors = coarse.scale if coarse is not None else (scale or 1.0, scale or 1.0)
    sensor = cube.sensor(sensor)
    optics = Optics(sensor, mtf, psf, source_mtf)
    unknown = () if metrics is not None else tuple(name for name in cube.spelled(sensor) if not optics.knows(name))
    names = _known_metrics(names, unknown, cube)
    wants_psf = not FIDELITY.isdisjoint(names)
    function = Scores(
        metrics=names,
        shape=(cube.data.sizes["y"], cube.data.sizes["x"]),
        border=check_border(border, cube),
        data_range=1.0 if data_range is None else checks.positive("data_range", data_range),
        scale=quotient(factors),
        sensors=_sensors(cube, coarse, optics, factors, unknown) if wants_psf else (),
        has_reference=truth is not None,
        has_low=coarse is not None and not NEED_LOW.isdisjoint(names),
        has_mask=mask is not None,
    )
    cubes = (cube, truth, coarse.cube if coarse is not None and function.has_low else None)
    sources = [given.data.data for given in cubes if given is not None]
    sources += [] if mask is None else [open_mask(mask, cube)]
    low_shape = coarse.cube.geobox.shape.yx if coarse is not None else (0, 0)
    jobs = [_job(rows, cols, function, factors, (low_shape[0], low_shape[1])) for rows, cols in blocks_of(cube, chunks)]
    shape = (len(names) + 1, len(cube.bands))
    values = graph.reduce_windows(function, sources, jobs, shape, name="evaluate")
    scores = _dataset(values, names, cube, function)
    if wants_psf:
        scores.attrs.update(optics.record(cube.spelled(sensor)))
        scores.attrs.update({"bands_without_mtf": list(unknown)} if unknown else {})
    return scores


def _job(rows: Span, cols: Span, function: Scores, scale: tuple[float, float], low_shape: tuple[int, int]) -> graph.Job:
    halo = function.halo
    wide = Window(Span(rows.start - halo, rows.stop + halo), Span(cols.start - halo, cols.stop + halo))
    windows = [wide] * (1 + function.has_reference)
    if function.has_low:
        owned = [fidelity.low_pixels(span, s) for span, s in zip((rows, cols), scale, strict=True)]
        cut = [Span(o.start, max(o.start, min(o.stop, n))) for o, n in zip(owned, low_shape, strict=True)]
        windows.append(Window(cut[0], cut[1]))
    if function.has_mask:
        windows.append(wide)
    return graph.Job(rows, cols, tuple(windows))


def _sensors(
    cube: Cube, low: Low | None, optics: Optics, scale: tuple[float, float], unknown: Sequence[str]
) -> tuple[fidelity.Sensor | None, ...]:
    """How each band is seen at low resolution; None for those of unknown MTF."""
    own = cube.native_gsd if low is None else low.cube.native_gsd
    native = [a if math.isfinite(a) else b for a, b in zip(own, cube.native_gsd, strict=True)]
    low_m, pixel = pixel_m(cube.geobox)[0] * scale[0], resolution(cube.geobox)
    return tuple(
        None if name in unknown else optics.low_sensor(name, scale=scale, pixel=pixel, low_m=low_m, native_m=size)
        for name, size in zip(cube.spelled(optics.sensor), native, strict=True)
    )


def _resolve_metrics(
    metrics: str | Iterable[str] | None, reference: bool, low: bool, data_range: float | None, scale: float | None
) -> tuple[str, ...]:
    """Metrics asked for, or all that the arguments allow."""
    if not (reference or low) and metrics is None:
        raise ParameterError("neither a reference nor low= given; expected one of them to compare with.")
    lacking = dict.fromkeys(UNITS, "")
    for name in UNITS:
        if name in NEED_LOW:
            lacking[name] = "" if low else "low="
        elif not reference:
            lacking[name] = "a reference"
        elif name in NEED_RANGE and data_range is None:
            lacking[name] = "data_range="
        elif name in NEED_SCALE and scale is None:
            lacking[name] = "scale= or low="
    return checks.choose("metrics", metrics, lacking)


def _known_metrics(names: tuple[str, ...], unknown: Sequence[str], cube: Cube) -> tuple[str, ...]:
    """Leave the fidelity out where the MTF of no band is known."""
    left = names if len(unknown) < len(cube.bands) else tuple(name for name in names if name not in FIDELITY)
    if not left:
        raise ParameterError(
            f"the MTF of {list(unknown)} is not known, and without a reference no other metric is left; expected mtf=."
        )
    return left


def _agreed_scale(given: float | None, found: tuple[float, float]) -> float:
    if given is not None and max(abs(given - s) / s for s in found) > 1e-3:
        raise ParameterError(
            f"scale={given:g}, but the grids of low= and the image have the ratio {found[0]:g} x {found[1]:g}."
            " Leave scale= out."
        )
    return quotient(found)


def _dataset(values: Any, names: Sequence[str], cube: Cube, function: Scores) -> xr.Dataset:
    coords = {name: cube.data.coords[name] for name in ("time", "band") if name in cube.data.coords}
    variables: dict[str, Any] = {}
    for index, name in enumerate((*names, "count")):
        attrs = {"units": UNITS.get(name, "1"), "long_name": LONG_NAMES.get(name, "valid pixels")}
        if name in OVER_BANDS:
            variables[name] = (("time",), values[:, index, 0], attrs)
        else:
            data = values[:, index]
            variables[name] = (("time", "band"), data.astype(np.int64) if name == "count" else data, attrs)
    settings: dict[str, Any] = {"xsr_version": __version__, "xsr_operation": "evaluate", "border_px": function.border}
    if not NEED_RANGE.isdisjoint(names):
        settings["data_range"] = function.data_range
    if not (NEED_SCALE | NEED_LOW).isdisjoint(names):
        settings["scale"] = function.scale
    return xr.Dataset(variables, coords, settings)
