"""Judge a super-resolved cube against a reference and against the image it was made from."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

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
    quotient,
)
from xsr.core.names import BandsLike, fitting
from xsr.core.provenance import made_by
from xsr.core.types import XarrayObject
from xsr.kernels.fidelity import Sensor, low_pixels
from xsr.kernels.metrics import ERRORS, METRICS, known_metrics
from xsr.kernels.optics import Mtf, Optics, PsfLike
from xsr.kernels.pixels import judged
from xsr.kernels.terms import Metric, Need, Pixels, Sheet

LACKING: dict[Need, str] = {
    "low": "low=",
    "reference": "a reference",
    "data_range": "data_range=",
    "scale": "scale= or low=",
}
"""What a metric needs that may not be given, as messages name it."""


@dataclass(frozen=True)
class Scores:
    """Reduction: sums of the terms of all metrics over a block, and the metrics from the total."""

    sheet: Sheet
    shape: tuple[int, int]
    border: int
    sensors: tuple[Sensor | None, ...]
    """How each band is observed at low resolution; None where its MTF is not known."""
    has_reference: bool
    has_low: bool
    has_mask: bool

    @property
    def halo(self) -> int:
        """Pixels around a block that its sums need."""
        return self.sheet.halo(self.sensors)

    def __call__(self, job: graph.Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Sum over one block, shape (band, columns)."""
        pixels = self._pixels(job, windows)
        out = np.zeros((len(pixels.wide_image), self.sheet.width))
        for terms, columns in self.sheet.columns.items():
            if "low" in terms.needs and not all(map(len, pixels.low_spans)):
                continue
            for bands, view in terms.views(pixels, self.sensors):
                out[bands, columns] = terms.add_up(view)
        return out

    def _pixels(self, job: graph.Job, windows: Sequence[NDArray[Any]]) -> Pixels:
        given = iter(zip(windows, job.windows, strict=True))
        image, wide = next(given)
        reference = next(given)[0] if self.has_reference else None
        low, place = next(given) if self.has_low else (None, Window(Span(0, 0), Span(0, 0)))
        mask = next(given)[0] if self.has_mask else None
        inside: dict[str, Any] = {"rows": wide.rows, "cols": wide.cols, "shape": self.shape}
        return Pixels(
            job.rows,
            job.cols,
            judged(image, **inside, border=self.border, mask=mask),
            None if reference is None else judged(reference, **inside),
            self.halo,
            low,
            (place.rows, place.cols),
            data_range=self.sheet.data_range,
            scale=self.sheet.scale,
        )

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metrics from the sums, shape (metric, band), the count of valid pixels last."""
        return np.stack([*self.sheet.values(total), total[:, 0]])


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
        Names of metrics, those of `xsr.register_metric` included; by default all of the library that the arguments
        allow. Bands whose MTF is not known have NaN for the fidelity metrics then, and the attribute
        ``bands_without_mtf`` names them; requested by name, such a metric is an error.
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

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_pair
    >>> pair = synthetic_pair(size=(32, 32))  # pixels of 10 m, and their truth of 2.5 m
    >>> fine = pair.low.sr.interpolate(scale=4)
    >>> scores = fine.sr.evaluate(pair.high, low=pair.low, data_range=1, metrics=["psnr", "ssim", "ergas"])
    >>> dict(scores.ssim.sizes), dict(scores.ergas.sizes)
    ({'time': 1, 'band': 4}, {'time': 1})
    >>> scores.psnr.sel(band="B02").round().item()
    41.0
    """
    cube = open_cube(sr, units=units, bands=fitting(bands, sr))
    truth = None if reference is None else open_like(reference, cube, units=units, what="the reference", bands=bands)
    if truth is not None:
        check_same_grid(cube.geobox, truth.geobox, what="the reference")
    coarse = None if low is None else open_low(low, cube, units=units, bands=bands)
    scale = None if scale is None else checks.within("scale", scale, low=1, what="low over high pixel size, at least 1")
    if coarse is not None:
        scale = _agreed_scale(scale, coarse.scale)
    arguments: dict[Need, Any] = {"reference": truth, "low": low, "data_range": data_range, "scale": scale}
    given = [need for need, value in arguments.items() if value is not None]
    sensor = cube.sensor(sensor)
    optics = Optics(sensor, mtf, psf, source_mtf)
    unknown = () if metrics is not None else tuple(name for name in cube.spelled(sensor) if not optics.knows(name))
    chosen = _known_sensor(_resolve_metrics(metrics, given), unknown, cube)
    sheet = Sheet(
        metrics=chosen,
        first=ERRORS if truth is not None else chosen[0].terms,
        data_range=1.0 if data_range is None else checks.positive("data_range", data_range),
        scale=scale or 1.0,
    )
    factors = coarse.scale if coarse is not None else (sheet.scale, sheet.scale)
    function = Scores(
        sheet=sheet,
        shape=(cube.data.sizes["y"], cube.data.sizes["x"]),
        border=check_border(border, cube),
        sensors=_sensors(cube, coarse, optics, factors, unknown) if sheet.requires("sensor") else (),
        has_reference=truth is not None,
        has_low=coarse is not None and sheet.requires("low"),
        has_mask=mask is not None,
    )
    cubes = (cube, truth, coarse.cube if coarse is not None and function.has_low else None)
    sources = [given.data.data for given in cubes if given is not None]
    sources += [] if mask is None else [open_mask(mask, cube)]
    low_shape = coarse.cube.geobox.shape.yx if coarse is not None else (0, 0)
    jobs = [_job(rows, cols, function, factors, (low_shape[0], low_shape[1])) for rows, cols in blocks_of(cube, chunks)]
    shape = (len(chosen) + 1, len(cube.bands))
    values = graph.reduce_windows(function, sources, jobs, shape, name="evaluate")
    scores = _dataset(values, cube, function)
    if function.sensors:
        scores.attrs.update(optics.record(cube.spelled(sensor)))
        scores.attrs.update({"bands_without_mtf": list(unknown)} if unknown else {})
    return scores


def _job(rows: Span, cols: Span, function: Scores, scale: tuple[float, float], low_shape: tuple[int, int]) -> graph.Job:
    halo = function.halo
    wide = Window(Span(rows.start - halo, rows.stop + halo), Span(cols.start - halo, cols.stop + halo))
    windows = [wide] * (1 + function.has_reference)
    if function.has_low:
        owned = [low_pixels(span, s) for span, s in zip((rows, cols), scale, strict=True)]
        cut = [Span(o.start, max(o.start, min(o.stop, n))) for o, n in zip(owned, low_shape, strict=True)]
        windows.append(Window(cut[0], cut[1]))
    if function.has_mask:
        windows.append(wide)
    return graph.Job(rows, cols, tuple(windows))


def _sensors(
    cube: Cube, low: Low | None, optics: Optics, scale: tuple[float, float], unknown: Sequence[str]
) -> tuple[Sensor | None, ...]:
    """How each band is seen at low resolution; None for those of unknown MTF."""
    own = cube.native_gsd if low is None else low.cube.native_gsd
    native = [a if math.isfinite(a) else b for a, b in zip(own, cube.native_gsd, strict=True)]
    low_m, pixel = cube.pixel_m[0] * scale[0], resolution(cube.geobox)
    return tuple(
        None if name in unknown else optics.low_sensor(name, scale=scale, pixel=pixel, low_m=low_m, native_m=size)
        for name, size in zip(cube.spelled(optics.sensor), native, strict=True)
    )


def _resolve_metrics(metrics: str | Iterable[str] | None, given: Collection[Need]) -> tuple[Metric, ...]:
    """Metrics by name, or all of the library that the arguments allow."""
    if metrics is None and not {"reference", "low"} & set(given):
        raise ParameterError("neither a reference nor low= given; expected one of them to compare with.")
    table = METRICS if metrics is None else known_metrics()
    lacking = {
        name: next((what for need, what in LACKING.items() if need in metric.requires and need not in given), "")
        for name, metric in table.items()
    }
    return tuple(table[name] for name in checks.choose("metrics", metrics, lacking))


def _known_sensor(metrics: tuple[Metric, ...], unknown: Sequence[str], cube: Cube) -> tuple[Metric, ...]:
    """Leave out what needs the point spread function where the MTF of no band is known."""
    left = metrics
    if len(unknown) == len(cube.bands):
        left = tuple(metric for metric in metrics if "sensor" not in metric.requires)
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


def _dataset(values: Any, cube: Cube, function: Scores) -> xr.Dataset:
    coords = {name: cube.data.coords[name] for name in ("time", "band") if name in cube.data.coords}
    variables: dict[str, Any] = {}
    for index, metric in enumerate(function.sheet.metrics):
        attrs = {"units": metric.unit, "long_name": metric.long_name}
        joined = metric.over_bands or metric.terms.spectrum
        variables[metric.name] = (
            (("time",), values[:, index, 0], attrs) if joined else (("time", "band"), values[:, index], attrs)
        )
    attrs = {"units": "1", "long_name": "valid pixels"}
    variables["count"] = (("time", "band"), values[:, -1].astype(np.int64), attrs)
    settings: dict[str, Any] = made_by("evaluate") | {"border_px": function.border}
    if function.sheet.requires("data_range"):
        settings["data_range"] = function.sheet.data_range
    if function.sheet.requires("scale", "low"):
        settings["scale"] = function.sheet.scale
    return xr.Dataset(variables, coords, settings)
