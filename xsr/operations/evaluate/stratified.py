"""Errors by gradient stratum: what a mean over all pixels hides."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import checks, graph
from xsr.core.errors import ParameterError
from xsr.core.names import BandsLike, check_container
from xsr.core.types import XarrayObject
from xsr.kernels import strata as kernels
from xsr.kernels.fidelity import LowSensor
from xsr.kernels.metrics import ADDED, ERRORS, known_metrics
from xsr.kernels.optics import Mtf, Optics, PsfLike
from xsr.kernels.pixels import COUNT, map_sums
from xsr.kernels.terms import Metric, Need, Pixels, Sheet
from xsr.operations.evaluate.compare import Comparison, Reader, labels, open_comparison
from xsr.operations.evaluate.table import check_scale, choose_metrics, sensors_of, settings_of, sheet_of, variables_of

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
    """Reduction: sums of terms by stratum, or by fine bins that are merged at the end."""

    sheet: Sheet
    reader: Reader
    sensors: tuple[LowSensor | None, ...]
    pixel_m: tuple[float, float]
    edges: tuple[float, ...] | None
    quantiles: tuple[float, ...]

    @property
    def halo(self) -> int:
        """Pixels around a block that its sums need: one for the gradient, more for windows and high-passes."""
        return self.sheet.halo(self.sensors, least=1)

    def __call__(self, job: graph.Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Sum over one block, shape (band, strata or bins, columns)."""
        pixels = self._pixels(job, windows)
        near = [np.ascontiguousarray(x) for x in pixels.around(1, 1)]
        edges = None if self.edges is None else np.array(self.edges)
        errors = kernels.strata_sums(near[0], near[1], pixel_m=self.pixel_m, edges=edges)
        others = [(terms, columns) for terms, columns in self.sheet.columns.items() if terms != ERRORS]
        if not others:
            return errors
        index = kernels.strata_index(near[1], pixel_m=self.pixel_m, edges=edges)
        out = np.zeros((*errors.shape[:2], self.sheet.width))
        out[..., self.sheet.columns[ERRORS]] = errors
        for terms, columns in others:
            for bands, view in terms.views(pixels, self.sensors):
                maps = terms.stacked(view)
                for b in range(len(out))[bands]:
                    out[b, :, columns] = map_sums(maps, index[b], strata=out.shape[1])
        return out

    def _pixels(self, job: graph.Job, windows: Sequence[NDArray[Any]]) -> Pixels:
        image, reference, base = self.reader(job, windows, infinities=self.sheet.infinities)
        pixels = Pixels(job.rows, job.cols, image, reference, self.halo, wide_base=base)
        return replace(pixels, data_range=self.sheet.data_range, scale=self.sheet.scale)

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metrics, count, share and edges from the sums, shape (variable, band, stratum)."""
        if self.edges is None:
            merged = [kernels.merge_bins(band, np.array(self.quantiles)) for band in total]
            sums, edges = np.stack([m[0] for m in merged]), np.stack([m[1] for m in merged])
        else:
            sums, edges = total, np.broadcast_to(self.edges, (len(total), len(self.edges)))
        count = sums[..., COUNT]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = count / count.sum(axis=-1, keepdims=True)
        return np.stack([*self.sheet.values(sums), count, share, edges[:, :-1], edges[:, 1:]])


def strata(
    sr: XarrayObject,
    reference: XarrayObject,
    *,
    base: XarrayObject | None = None,
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
    base
        The image without added detail on the same grid, for ``detail_gain`` and ``detail_correlation``.
    edges
        Ascending edges of the strata in reflectance per metre, for example ``(0, 1e-3, 5e-3, inf)``; a stratum holds
        ``edges[k] <= gradient < edges[k + 1]``. Pixels outside all strata are left out.
    quantiles
        Instead of edges: a number of equal strata, or ascending quantiles that begin with 0 and end with 1. Taken for
        every band and date. Quartiles if neither is given.
    metrics
        Names of metrics as in `xsr.evaluate`, those of low-resolution pixels (``low_fidelity``) aside; by default
        ``mae``, ``rmse``, ``bias``, with ``data_range`` ``psnr``, and with ``base`` the metrics of detail.
    data_range
        Difference between the largest and the least value that a pixel can take, for ``psnr`` and ``ssim``.
    scale
        Low over high pixel size, for ``ergas`` and the ``high_fidelity`` metrics.
    mtf, psf, source_mtf, sensor
        How the low-resolution sensor observes, for the ``high_fidelity`` metrics; see `xsr.evaluate`.
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
    ``count`` is that of the errors. ``low_fidelity`` is not defined here: it belongs to the low-resolution grid.

    Quantiles come from a histogram whose
    bins are fixed, 1/128 of an octave wide, filled in the same pass as the errors: the edges are those of bins, at most
    0.8 % away from the exact quantile, and ``share`` says what lies between them.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_pair
    >>> pair = synthetic_pair(size=(32, 32))  # pixels of 10 m, and their truth of 2.5 m
    >>> fine = pair.low.sr.interpolate(scale=4)
    >>> scores = fine.sr.strata(pair.high, quantiles=2)
    >>> flat, steep = scores.rmse.sel(band="B08").values.squeeze()
    >>> bool(flat < steep / 3)
    True
    """
    check_container(reference)
    pair = open_comparison(sr, reference, base=base, mask=mask, border=border, bands=bands, units=units)
    if edges is not None and quantiles is not None:
        raise ParameterError("edges= and quantiles= given; expected one of them.")
    cube, scale = pair.cube, check_scale(scale)
    optics = Optics(cube.sensor(sensor), mtf, psf, source_mtf)
    chosen = _resolve_metrics(metrics, {"base": base, "data_range": data_range, "scale": scale, "sensor": scale})
    sheet = sheet_of(chosen, ERRORS, data_range=data_range, scale=scale)
    pair = pair if sheet.requires("base") else replace(pair, base=None)
    sensors = sensors_of(cube, None, optics, scale=(sheet.scale, sheet.scale)) if sheet.requires("sensor") else ()
    steps = None if edges is None else ascending("edges", edges)
    function = Strata(sheet, pair.reader, sensors, cube.pixel_m, steps, _resolve_quantiles(quantiles))
    jobs = pair.jobs(chunks, before=function.halo, after=(function.halo, function.halo))
    shape = (len(sheet.metrics) + len(ALWAYS), len(cube.bands), len(steps or function.quantiles) - 1)
    values = graph.reduce_windows(function, pair.sources, jobs, shape, name="strata")
    scores = _dataset(values, pair, sheet)
    scores.attrs.update(optics.record(cube.spelled(optics.sensor)) if sensors else {})
    return scores


def _resolve_metrics(metrics: str | Iterable[str] | None, arguments: Mapping[Need, Any]) -> tuple[Metric, ...]:
    """Metrics by name, or those of the errors that the arguments allow."""
    known = known_metrics()
    named = [] if metrics is None else [known[name] for name in checks.names("metrics", metrics) if name in known]
    low = [metric.name for metric in named if "low" in metric.requires]
    if low:
        raise ParameterError(f"metrics {low} have low-resolution pixels, which have no strata. Leave them out.")
    given = [need for need, value in arguments.items() if value is not None]
    lacking: dict[Need, str] = {"base": "base=", "data_range": "data_range=", "scale": "scale=", "sensor": "scale="}
    found = choose_metrics(metrics, given, lacking=lacking)
    plain = (metric for metric in found if metric.terms in (ERRORS, ADDED) and not metric.over_bands)
    return found if named else tuple(plain)


def _resolve_quantiles(quantiles: int | Sequence[float] | None) -> tuple[float, ...]:
    if quantiles is None:
        return QUARTILES
    if checks.is_number(quantiles):
        count = checks.whole("quantiles", quantiles, least=1, what="a number of strata")
        return tuple(k / count for k in range(count + 1))
    found = ascending("quantiles", quantiles)
    if found[0] != 0 or found[-1] != 1:
        raise ParameterError(f"quantiles={list(found)}; expected to begin with 0 and end with 1.")
    return found


def ascending(name: str, values: Any) -> tuple[float, ...]:
    """Refuse what is not at least two ascending numbers.

    Raises
    ------
    ParameterError
        With the name and the numbers.
    """
    found = checks.several(name, values, what="at least two ascending numbers")
    if len(found) < 2 or not all(a < b for a, b in pairwise(found)):
        raise ParameterError(f"{name}={list(found)}; expected at least two ascending numbers.")
    return found


def _dataset(values: Any, pair: Comparison, sheet: Sheet) -> xr.Dataset:
    dims = ("time", "band", "stratum")
    variables = variables_of(sheet, values, dims, joined=[metric.over_bands for metric in sheet.metrics])
    for index, (name, unit) in enumerate(ALWAYS.items(), start=len(sheet.metrics)):
        data = values[:, index].astype(np.int64) if name == "count" else values[:, index]
        variables[name] = (dims, data, {"units": unit})
    coords = labels(pair.cube, "time", "band") | {"stratum": xr.Variable("stratum", np.arange(values.shape[-1]))}
    return xr.Dataset(variables, coords, settings_of(sheet, "strata", pair.border))
