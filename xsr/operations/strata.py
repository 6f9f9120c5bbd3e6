"""Errors by gradient stratum: what a mean over all pixels hides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr._version import __version__
from xsr.core import graph
from xsr.core.blocks import Span, Window
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import ParameterError
from xsr.core.match import (
    blocks_of,
    check_border,
    check_positive,
    check_same_grid,
    open_like,
    open_mask,
    pixel_m,
)
from xsr.core.types import XarrayObject
from xsr.kernels import metrics as kernels

UNITS: dict[str, str] = {"mae": "reflectance", "rmse": "reflectance", "bias": "reflectance", "psnr": "dB"}
"""Metrics of `strata` and their units."""
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
    has_mask: bool

    def __call__(self, job: graph.Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Sum over one block, shape (band, strata or bins, 4)."""
        window = job.windows[0]
        place: dict[str, Any] = {"rows": window.rows, "cols": window.cols, "shape": self.shape}
        mask = windows[2] if self.has_mask else None
        image = kernels.judged(windows[0], **place, border=self.border, mask=mask)
        reference = kernels.judged(windows[1], **place)
        if self.edges is None:
            return kernels.histogram_sums(image, reference, pixel_m=self.pixel_m)
        return kernels.strata_sums(image, reference, pixel_m=self.pixel_m, edges=np.array(self.edges))

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metrics, count, share and edges from the sums, shape (variable, band, stratum)."""
        if self.edges is None:
            merged = [kernels.merge_bins(band, np.array(self.quantiles)) for band in total]
            sums, edges = np.stack([m[0] for m in merged]), np.stack([m[1] for m in merged])
        else:
            sums, edges = total, np.broadcast_to(self.edges, (len(total), len(self.edges)))
        count = sums[..., kernels.COUNT]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = sums / np.where(count > 0, count, np.nan)[..., None]
            rmse = np.sqrt(mean[..., kernels.SQUARED])
            values = {
                "mae": mean[..., kernels.ABSOLUTE],
                "rmse": rmse,
                "bias": mean[..., kernels.ERROR],
                "psnr": 20 * np.log10(self.data_range / rmse),
                "count": count,
                "share": count / count.sum(axis=-1, keepdims=True),
                "edge_low": edges[:, :-1],
                "edge_high": edges[:, 1:],
            }
        return np.stack([values[name] for name in (*self.metrics, *ALWAYS)])


def strata(
    sr: XarrayObject,
    reference: XarrayObject,
    *,
    edges: Sequence[float] | None = None,
    quantiles: int | Sequence[float] | None = None,
    metrics: Iterable[str] | None = None,
    data_range: float | None = None,
    border: int = 0,
    mask: xr.DataArray | None = None,
    bands: Sequence[str] | None = None,
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
        Names from `UNITS`; by default all, ``psnr`` only with ``data_range``.
    data_range
        Difference between the largest and the least value that a pixel can take, for ``psnr``.
    border, mask, bands, units, chunks
        See `xsr.evaluate`.

    Returns
    -------
    Dataset
        Dims (time, band, stratum): the metrics, ``count`` and ``share`` of the pixels, and the edges ``edge_low`` and
        ``edge_high``. An empty stratum has count 0 and NaN. Lazy if any cube is.

    Raises
    ------
    GridError, CubeError, BandError
        If the cubes do not match; see `xsr.evaluate`.
    ParameterError
        If edges or quantiles are given both or are not ascending, a metric is unknown or lacks ``data_range``.

    Notes
    -----
    The gradient is the Sobel magnitude of the reference in each band, divided by the pixel size in metres. It is
    not defined beside no data and on the outermost pixels; those do not count. Quantiles come from a histogram whose
    bins are fixed, 1/128 of an octave wide, filled in the same pass as the errors: the edges are those of bins, at most
    0.8 % away from the exact quantile, and ``share`` says what lies between them.
    """
    cube = open_cube(sr, units=units, bands=bands)
    truth = open_like(reference, cube, units=units, what="the reference")
    check_same_grid(cube.geobox, truth.geobox, what="the reference")
    if edges is not None and quantiles is not None:
        raise ParameterError("edges= and quantiles= given; expected one of them.")
    function = Strata(
        metrics=_resolve_metrics(metrics, data_range),
        shape=(cube.data.sizes["y"], cube.data.sizes["x"]),
        pixel_m=pixel_m(cube.geobox),
        edges=None if edges is None else _ascending("edges", edges),
        quantiles=_resolve_quantiles(quantiles),
        border=check_border(border, cube),
        data_range=1.0 if data_range is None else check_positive("data_range", data_range),
        has_mask=mask is not None,
    )
    sources = [cube.data.data, truth.data.data, *([open_mask(mask, cube)] if mask is not None else [])]
    jobs = [_job(rows, cols, len(sources)) for rows, cols in blocks_of(cube, chunks)]
    count = len(function.edges or function.quantiles) - 1
    shape = (len(function.metrics) + len(ALWAYS), len(cube.bands), count)
    values = graph.reduce_windows(function, sources, jobs, shape, name="strata")
    return _dataset(values, cube, function)


def _job(rows: Span, cols: Span, sources: int) -> graph.Job:
    window = Window(Span(rows.start - 1, rows.stop + 1), Span(cols.start - 1, cols.stop + 1))
    return graph.Job(rows, cols, (window,) * sources)


def _resolve_metrics(metrics: Iterable[str] | None, data_range: float | None) -> tuple[str, ...]:
    if metrics is None:
        return tuple(name for name in UNITS if name != "psnr" or data_range is not None)
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    unknown = [name for name in names if name not in UNITS]
    if unknown or not names:
        raise ParameterError(f"metrics {unknown or 'none'}; expected some of {', '.join(UNITS)}.")
    if "psnr" in names and data_range is None:
        raise ParameterError("metric 'psnr' needs data_range=, which is not given. Pass it.")
    return tuple(dict.fromkeys(names))


def _resolve_quantiles(quantiles: int | Sequence[float] | None) -> tuple[float, ...]:
    if quantiles is None:
        return QUARTILES
    if isinstance(quantiles, int):
        if quantiles < 1:
            raise ParameterError(f"quantiles={quantiles}; expected at least one stratum.")
        return tuple(k / quantiles for k in range(quantiles + 1))
    found = _ascending("quantiles", quantiles)
    if found[0] != 0 or found[-1] != 1:
        raise ParameterError(f"quantiles={list(found)}; expected to begin with 0 and end with 1.")
    return found


def _ascending(name: str, values: Sequence[float]) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if len(found) < 2 or not all(a < b for a, b in pairwise(found)):
        raise ParameterError(f"{name}={list(found)}; expected at least two ascending numbers.")
    return found


def _dataset(values: Any, cube: Cube, function: Strata) -> xr.Dataset:
    coords = {name: cube.data.coords[name] for name in ("time", "band") if name in cube.data.coords}
    variables: dict[str, Any] = {}
    for index, name in enumerate((*function.metrics, *ALWAYS)):
        data = values[:, index].astype(np.int64) if name == "count" else values[:, index]
        variables[name] = (("time", "band", "stratum"), data, {"units": {**UNITS, **ALWAYS}[name]})
    settings: dict[str, Any] = {"xsr_version": __version__, "xsr_operation": "strata", "border_px": function.border}
    if "psnr" in function.metrics:
        settings["data_range"] = function.data_range
    coords["stratum"] = xr.Variable("stratum", np.arange(values.shape[-1]))
    return xr.Dataset(variables, coords, settings)
