"""Errors by gradient stratum: what a mean over all pixels hides."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
    blocks_of,
    check_border,
    check_same_grid,
    open_like,
    open_mask,
    pixel_m,
)
from xsr.core.names import BandsLike, fitting
from xsr.core.types import XarrayObject
from xsr.kernels import fidelity
from xsr.kernels import metrics as kernels
from xsr.kernels.optics import Mtf, Optics, PsfLike

UNITS = {name: unit for name, unit in kernels.UNITS.items() if not name.startswith("low_fidelity")}
"""Metrics of `strata` and their units. The pixels of ``low_fidelity`` are low-resolution ones, without a stratum."""
DEFAULT = ("mae", "rmse", "bias", "psnr")
MAPS: dict[str, tuple[str, ...]] = {
    "ssim": ("ssim",),
    "uqi": ("uqi",),
    "scc": ("scc",),
    "sam": ("angle",),
    "ergas": ("level",),
    "high_fidelity": ("detail",),
    "high_fidelity_rmse": ("detail2",),
}
"""Maps of numbers by pixel whose means a metric needs beside those of the errors."""
FIDELITY = frozenset({"high_fidelity", "high_fidelity_rmse"})
NEED_RANGE = frozenset({"psnr", "ssim"})
NEED_SCALE = FIDELITY | {"ergas"}
OVER_BANDS = frozenset({"ergas"})
"""Metrics of all bands together: no band dimension."""
ALWAYS: dict[str, str] = {
    "count": "1",
    "share": "1",
    "edge_low": "reflectance per metre",
    "edge_high": "reflectance per metre",
}
"""Variables that are always there."""
QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Strata:
    """Reduction: sums of errors by stratum, or by fine bins that are merged at the end."""

    metrics: tuple[str, ...]
    shape: tuple[int, int]
    pixel_m: tuple[float, float]
    edges: tuple[float, ...] | None
    quantiles: tuple[float, ...]
    border: int
    data_range: float
    scale: float
    sensors: tuple[fidelity.Sensor, ...]
    has_mask: bool

    @property
    def maps(self) -> tuple[str, ...]:
        """Maps whose sums stand behind those of the errors, two columns each."""
        return tuple(dict.fromkeys(name for metric in self.metrics for name in MAPS.get(metric, ())))

    @property
    def halo(self) -> int:
        """Pixels around a block that its sums need: one for the gradient, more for windows and high-passes."""
        reach = (n for metric in self.metrics for n in kernels.WINDOW_REACH.get(metric, ()))
        return max((1, *reach, *(sensor.halo for sensor in self.sensors)))

    def __call__(self, job: graph.Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Sum over one block, shape (band, strata or bins, 4 and two for each map)."""
        window = job.windows[0]
        place: dict[str, Any] = {"rows": window.rows, "cols": window.cols, "shape": self.shape}
        mask = windows[2] if self.has_mask else None
        image = kernels.judged(windows[0], **place, border=self.border, mask=mask)
        reference = kernels.judged(windows[1], **place)
        near = [np.ascontiguousarray(kernels.cut(x, self.halo, 1, 1)) for x in (image, reference)]
        edges = None if self.edges is None else np.array(self.edges)
        if edges is None:
            errors = kernels.histogram_sums(near[0], near[1], pixel_m=self.pixel_m)
        else:
            errors = kernels.strata_sums(near[0], near[1], pixel_m=self.pixel_m, edges=edges)
        if not self.maps:
            return errors
        sums = np.zeros((*errors.shape[:2], 2 * len(self.maps)))
        index = kernels.strata_index(near[1], pixel_m=self.pixel_m, edges=edges)
        for number, name in enumerate(self.maps):
            for b, values in enumerate(self._map(name, image, reference, job)):
                kernels.add_map(index[b], values, sums[b, :, 2 * number : 2 * number + 2])
        return np.concatenate([errors, sums], axis=2)

    def _map(
        self, name: str, image: NDArray[Any], reference: NDArray[Any], job: graph.Job
    ) -> Iterator[NDArray[np.floating[Any]]]:
        """Numbers of the pixels of a block, band by band; NaN where there is none."""
        if name == "angle":
            yield from [kernels.angle_map(kernels.cut(image, self.halo), kernels.cut(reference, self.halo))] * len(
                image
            )
            return
        for b in range(len(image)):
            pair = image[b : b + 1], reference[b : b + 1]
            if name in kernels.WINDOW_REACH:
                windows = kernels.windows_of(name, *pair, halo=self.halo, data_range=self.data_range)
                yield kernels.window_map(**windows)[0]
            elif name == "level":
                inner = [kernels.cut(x, self.halo)[0] for x in pair]
                yield np.where(np.isfinite(inner[0]), inner[1], np.nan)
            else:
                origin = (job.windows[0].rows.start, job.windows[0].cols.start)
                place: dict[str, Any] = {"rows": job.rows, "cols": job.cols, "origin": origin}
                detail = fidelity.high_pass_window(pair[0] - pair[1], self.sensors[b], **place)[0].astype(np.float64)
                yield np.abs(detail) if name == "detail" else detail**2

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metrics, count, share and edges from the sums, shape (variable, band, stratum)."""
        if self.edges is None:
            merged = [kernels.merge_bins(band, np.array(self.quantiles)) for band in total]
            sums, edges = np.stack([m[0] for m in merged]), np.stack([m[1] for m in merged])
        else:
            sums, edges = total, np.broadcast_to(self.edges, (len(total), len(self.edges)))
        count = sums[..., kernels.COUNT]
        with np.errstate(divide="ignore", invalid="ignore"):
            always = {
                "count": count,
                "share": count / count.sum(axis=-1, keepdims=True),
                "edge_low": edges[:, :-1],
                "edge_high": edges[:, 1:],
            }
            values = self._values(sums) | always
        return np.stack([np.broadcast_to(values[name], count.shape) for name in (*self.metrics, *ALWAYS)])

    def _values(self, sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Metrics from the sums of every band and stratum; not a number where nothing was counted."""
        mean = sums[..., :4] / _counted(sums[..., kernels.COUNT])[..., None]
        pairs = {name: sums[..., 4 + 2 * n : 6 + 2 * n] for n, name in enumerate(self.maps)}
        means = {name: pair[..., 1] / _counted(pair[..., 0]) for name, pair in pairs.items()}
        rmse = np.sqrt(mean[..., kernels.SQUARED])
        values = {
            "mae": mean[..., kernels.ABSOLUTE],
            "rmse": rmse,
            "bias": mean[..., kernels.ERROR],
            "psnr": 20 * np.log10(self.data_range / rmse),
            **means,
        }
        if "ergas" in self.metrics:
            values["ergas"] = 100 / self.scale * np.sqrt(np.mean((rmse / means["level"]) ** 2, axis=0))
        if "sam" in self.metrics:
            values["sam"] = np.degrees(means["angle"])
        if "high_fidelity" in self.metrics:
            values["high_fidelity"] = means["detail"]
        if "high_fidelity_rmse" in self.metrics:
            values["high_fidelity_rmse"] = np.sqrt(means["detail2"])
        return values


def _counted(count: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(count > 0, count, np.nan)


def strata(
    sr: XarrayObject,
    reference: XarrayObject,
    *,
    edges: Sequence[float] | None = None,
    quantiles: int | Sequence[float] | None = None,
    metrics: str | Iterable[str] | None = None,
    data_range: float | None = None,
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
    """Score a super-resolved cube separately where the reference is flat and where it is steep.

    Parameters
    ----------
    sr, reference
        Cubes on one grid; see `xsr.evaluate`.
    edges
        Ascending edges of the strata in reflectance per metre, for example ``(0, 1e-3, 5e-3, inf)``; a stratum holds
        ``edges[k] <= gradient < edges[k + 1]``. Pixels outside all strata are left out.
    quantiles
        Instead of edges: a number of equal strata, or ascending quantiles that begin with 0 and end with 1. Taken for
        every band and date. Quartiles if neither is given.
    metrics
        Names from `UNITS`; by default ``mae``, ``rmse``, ``bias`` and, with ``data_range``, ``psnr``.
    data_range
        Difference between the largest and the least value that a pixel can take, for ``psnr`` and ``ssim``.
    scale
        Low over high pixel size, for ``ergas`` and the ``high_fidelity`` metrics.
    mtf, psf, source_mtf, sensor
        How the low-resolution sensor sees, for the ``high_fidelity`` metrics; see `xsr.evaluate`.
    border, mask, bands, units, chunks
        See `xsr.evaluate`.

    Returns
    -------
    Dataset
        Dims (time, band, stratum): the metrics, ``count`` and ``share`` of the pixels, and the edges ``edge_low`` and
        ``edge_high``; ``ergas`` has dims (time, stratum). An empty stratum has count 0 and NaN. Lazy if any cube is.

    Raises
    ------
    GridError, CubeError, BandError
        If the cubes do not match; see `xsr.evaluate`.
    ParameterError
        If edges or quantiles are given both or are not ascending, a metric is unknown or lacks an argument, or
        an argument is out of range.

    Notes
    -----
    The gradient is the Sobel magnitude of the reference in each band, divided by the pixel size in metres. It is
    not defined beside no data and on the outermost pixels; those do not count.

    A metric that is a mean over pixels is taken over the pixels of the stratum: ``ssim``, ``uqi`` and ``scc`` over the
    windows of `xsr.evaluate` around them (an even window belongs to the pixel right of and below its middle), ``sam``
    over the angles between the spectra of all bands where this band has its stratum, ``high_fidelity`` over the
    high-pass errors. ``ergas`` joins the same stratum of every band, each by its own gradient, and is NaN if one is
    empty. Pixels whose window or point spread function touches no data or the outside count for the errors alone;
    ``count`` is that of the errors. ``low_fidelity`` is not defined here: it lives on the low-resolution grid.

    Quantiles come from a histogram whose
    bins are fixed, 1/128 of an octave wide, filled in the same pass as the errors: the edges are those of bins, at most
    0.8 % away from the exact quantile, and ``share`` says what lies between them.
    """
    cube = open_cube(sr, units=units, bands=fitting(bands, sr))
    truth = open_like(reference, cube, units=units, what="the reference", bands=bands)
    check_same_grid(cube.geobox, truth.geobox, what="the reference")
    if edges is not None and quantiles is not None:
        raise ParameterError("edges= and quantiles= given; expected one of them.")
    scale = None if scale is None else checks.within("scale", scale, low=1, what="low over high pixel size, at least 1")
    names = _resolve_metrics(metrics, data_range, scale)
    optics = Optics(cube.sensor(sensor), mtf, psf, source_mtf)
    function = Strata(
        metrics=names,
        shape=(cube.data.sizes["y"], cube.data.sizes["x"]),
        pixel_m=pixel_m(cube.geobox),
        edges=None if edges is None else _ascending("edges", edges),
        quantiles=_resolve_quantiles(quantiles),
        border=check_border(border, cube),
        data_range=1.0 if data_range is None else checks.positive("data_range", data_range),
        scale=scale or 1.0,
        sensors=() if FIDELITY.isdisjoint(names) else _sensors(cube, optics, scale or 1.0),
        has_mask=mask is not None,
    )
    sources = [cube.data.data, truth.data.data, *([open_mask(mask, cube)] if mask is not None else [])]
    jobs = [_job(rows, cols, function.halo, len(sources)) for rows, cols in blocks_of(cube, chunks)]
    count = len(function.edges or function.quantiles) - 1
    shape = (len(function.metrics) + len(ALWAYS), len(cube.bands), count)
    values = graph.reduce_windows(function, sources, jobs, shape, name="strata")
    scores = _dataset(values, cube, function)
    scores.attrs.update(optics.record(cube.spelled(optics.sensor)) if function.sensors else {})
    return scores


def _sensors(cube: Cube, optics: Optics, scale: float) -> tuple[fidelity.Sensor, ...]:
    """How each band is seen at low resolution."""
    low_m, pixel = pixel_m(cube.geobox)[0] * scale, resolution(cube.geobox)
    return tuple(
        optics.low_sensor(name, scale=(scale, scale), pixel=pixel, low_m=low_m, native_m=size)
        for name, size in zip(cube.spelled(optics.sensor), cube.native_gsd, strict=True)
    )


def _job(rows: Span, cols: Span, halo: int, sources: int) -> graph.Job:
    window = Window(Span(rows.start - halo, rows.stop + halo), Span(cols.start - halo, cols.stop + halo))
    return graph.Job(rows, cols, (window,) * sources)


def _resolve_metrics(
    metrics: str | Iterable[str] | None, data_range: float | None, scale: float | None
) -> tuple[str, ...]:
    """Metrics asked for, or those of the errors that the arguments allow."""
    lacking = {
        name: "data_range="
        if name in NEED_RANGE and data_range is None
        else "scale="
        if name in NEED_SCALE and scale is None
        else ""
        for name in UNITS
    }
    found = checks.choose("metrics", metrics, lacking)
    return tuple(name for name in found if name in DEFAULT) if metrics is None else found


def _resolve_quantiles(quantiles: int | Sequence[float] | None) -> tuple[float, ...]:
    if quantiles is None:
        return QUARTILES
    if checks.is_number(quantiles):
        count = checks.whole("quantiles", quantiles, least=1, what="a number of strata")
        return tuple(k / count for k in range(count + 1))
    found = _ascending("quantiles", quantiles)
    if found[0] != 0 or found[-1] != 1:
        raise ParameterError(f"quantiles={list(found)}; expected to begin with 0 and end with 1.")
    return found


def _ascending(name: str, values: Any) -> tuple[float, ...]:
    found = checks.several(name, values, what="at least two ascending numbers")
    if len(found) < 2 or not all(a < b for a, b in pairwise(found)):
        raise ParameterError(f"{name}={list(found)}; expected at least two ascending numbers.")
    return found


def _dataset(values: Any, cube: Cube, function: Strata) -> xr.Dataset:
    coords = {name: cube.data.coords[name] for name in ("time", "band") if name in cube.data.coords}
    variables: dict[str, Any] = {}
    for index, name in enumerate((*function.metrics, *ALWAYS)):
        data = values[:, index].astype(np.int64) if name == "count" else values[:, index]
        attrs = {"units": {**UNITS, **ALWAYS}[name]}
        over = name in OVER_BANDS
        variables[name] = (
            (("time", "stratum"), data[:, 0], attrs) if over else (("time", "band", "stratum"), data, attrs)
        )
    settings: dict[str, Any] = {"xsr_version": __version__, "xsr_operation": "strata", "border_px": function.border}
    if not NEED_RANGE.isdisjoint(function.metrics):
        settings["data_range"] = function.data_range
    if not NEED_SCALE.isdisjoint(function.metrics):
        settings["scale"] = function.scale
    coords["stratum"] = xr.Variable("stratum", np.arange(values.shape[-1]))
    return xr.Dataset(variables, coords, settings)
