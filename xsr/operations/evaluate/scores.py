"""Score a super-resolved cube against a reference and against the image it was made from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import graph, pipeline
from xsr.core.blocks import Span, Window
from xsr.core.errors import ParameterError
from xsr.core.grid import between
from xsr.core.match import Low, open_low, quotient
from xsr.core.names import BandsLike
from xsr.core.provenance import OPERATION
from xsr.core.types import XarrayObject
from xsr.kernels.fidelity import LowSensor, low_pixels
from xsr.kernels.metrics import ERRORS
from xsr.kernels.optics import Mtf, Optics, PsfLike, PsfName
from xsr.kernels.resample import Interpolation
from xsr.kernels.terms import Metric, Need, Pixels, Sheet
from xsr.operations.evaluate.compare import Comparison, Reader, labels, open_comparison
from xsr.operations.evaluate.table import check_scale, choose_metrics, sensors_of, settings_of, sheet_of, variables_of


@dataclass(frozen=True)
class Scores:
    """Reduction: sums of the terms of all metrics over a block, and the metrics from the total."""

    sheet: Sheet
    reader: Reader
    sensors: tuple[LowSensor | None, ...]
    """How each band is observed at low resolution; None where its MTF is not known."""
    has_low: bool
    """Whether the last window is that of the low-resolution image."""

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
        image, reference, base = self.reader(job, windows, infinities=self.sheet.infinities)
        low, place = (windows[-1], job.windows[-1]) if self.has_low else (None, Window(Span(0, 0), Span(0, 0)))
        pixels = Pixels(job.rows, job.cols, image, reference, self.halo, low, (place.rows, place.cols), wide_base=base)
        return replace(pixels, data_range=self.sheet.data_range, scale=self.sheet.scale)

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metrics from the sums, shape (metric, band), the count of valid pixels last."""
        return np.stack([*self.sheet.values(total), total[:, 0]])


def evaluate(
    sr: XarrayObject,
    reference: XarrayObject | None,
    *,
    low: XarrayObject | None = None,
    base: XarrayObject | None = None,
    data_range: float | None = None,
    metrics: str | Iterable[str] | None = None,
    scale: float | None = None,
    mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    psf: "PsfLike | Mapping[str, PsfLike] | None" = None,
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
    base
        The image without the added detail, on the grid of ``sr``, for ``detail_gain`` and ``detail_correlation``; by
        default the bicubic interpolation of ``low``.
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
        coordinate ``native_gsd`` of ``low`` or ``sr`` says that a band was observed in larger pixels than those of
        ``low``, at that of these pixels; where neither says and ``mtf`` is not given, the sensor's table does.
    psf, source_mtf, sensor
        Point spread function of the low-resolution sensor, and the table that names its MTF; see `xsr.degrade`. By
        default the ``psf`` by which `degrade` or `wald` made ``low``, else ``gaussian``.
    border
        Pixels to leave out along each side of the cube.
    mask
        Boolean DataArray on the grid of ``sr``, True where a pixel counts.
    bands
        Bands to compare; all of ``sr`` by default. A mapping from names to labels (see `xsr.liif`) counts for each cube
        that has its labels; the others have its names.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.
    chunks
        Side of a block in pixels, one number or (y, x); by default the chunks of ``sr``. No number depends on it.

    Returns
    -------
    Dataset
        One variable for each metric, dims (time, band), or (time) for all bands together; ``count`` holds the valid
        pixels, those of ``low`` where there is no reference. NaN where no pixel counts. Attributes state the settings,
        with the fidelity metrics those of the sensor. Lazy if any cube is.

    Raises
    ------
    GridError
        If grids differ, saying by how much.
    CubeError, BandError
        If a cube breaks the contract, or dates or bands do not match.
    ParameterError
        If a metric is unknown or lacks an argument, an argument is out of range, or a metric that is named needs an MTF
        that is not known or that no weights have.

    Notes
    -----
    With the error e = sr - reference over valid pixels: ``mae`` is the mean of its magnitude, ``rmse`` sqrt(mean e²),
    ``bias`` mean e, ``psnr`` 20 log10(data_range / rmse). ``ssim`` follows Wang et al. (2004): Gaussian window of
    sigma 1.5, population covariance. ``uqi`` takes 8 x 8 windows (Wang & Bovik 2002); ``scc`` is the correlation of
    the images' Laplacians in 8 x 8 windows. ``sam`` is the mean angle between spectra, in degrees. ``ergas`` is ``100
    / scale * sqrt(mean over bands of (rmse / mean reference)²)``: its ratio is high over low pixel size (Wald 2000).
    ``low_fidelity`` compares on the low-resolution grid, ``high_fidelity`` on the high-resolution one, with the
    point spread function of the low-resolution sensor; a band observed in larger pixels is taken to have been brought
    to that grid by bicubic interpolation. Windows and point spread functions that touch no data, masked pixels or
    the outside of the cube do not count.

    With the detail that was added, d = sr - base, and the one that was missing, e = reference - base: ``detail_gain``
    is ``sum(d e) / sum(d²)``, the factor on the added detail that would leave the least error; 1 is right, less means
    too much detail, and 0 detail without truth. ``detail_correlation`` is the correlation of d with e. As ``rmse``
    does, they compare images of one sharpness; see `xsr.match_psf`.

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
    pair = open_comparison(sr, reference, base=base, mask=mask, border=border, bands=bands, units=units)
    cube, scale = pair.cube, check_scale(scale)
    coarse = None if low is None else open_low(low, cube, units=units, bands=bands)
    if coarse is not None:
        scale = _agreed_scale(scale, coarse.scale)
    elif reference is None and metrics is None:
        raise ParameterError("neither a reference nor low= given; expected one of them to compare with.")
    plain = low if base is None else base
    arguments: dict[Need, Any] = {"reference": reference, "low": low, "base": plain, "data_range": data_range}
    given = [need for need, value in {**arguments, "scale": scale, "sensor": scale}.items() if value is not None]
    made = {} if coarse is None else coarse.cube.original.attrs
    optics = Optics(cube.sensor(sensor), mtf, _psf_of(made) if psf is None else psf, source_mtf)
    bands_spelled = cube.spelled(optics.sensor)
    unknown = () if metrics is not None else tuple(name for name in bands_spelled if not optics.knows(name))
    chosen = choose_metrics(metrics, given)
    if len(unknown) == len(cube.bands):
        chosen = _without_sensor(chosen, unknown)
    first = ERRORS if reference is not None else chosen[0].terms
    sheet = sheet_of(chosen, first, data_range=data_range, scale=scale)
    factors = coarse.scale if coarse is not None else (sheet.scale, sheet.scale)
    sensors = sensors_of(cube, coarse, optics, scale=factors, unknown=unknown) if sheet.requires("sensor") else ()
    pair = _with_base(pair, coarse) if sheet.requires("base") else replace(pair, base=None)
    values = _compute(pair, coarse if sheet.requires("low") else None, sheet, sensors, chunks)
    scores = _dataset(values, pair, sheet)
    if sensors:
        scores.attrs.update(optics.record(bands_spelled))
        scores.attrs.update({"bands_without_mtf": list(unknown)} if unknown else {})
    return scores


def _with_base(pair: Comparison, low: Low | None) -> Comparison:
    """Comparison with the interpolated low-resolution image as its base, unless it has one."""
    if pair.base is not None or low is None:
        return pair
    grid, chunks = pair.cube.geobox, pair.cube.data.chunks
    sizes = pipeline.resolve_chunks(None) if chunks is None else chunks[2:]
    data = low.cube.data if chunks is None or low.cube.data.chunks is not None else low.cube.data.chunk()
    coarse = replace(low.cube.towards(grid), data=data)
    base = pipeline.values(coarse, Interpolation("bicubic"), between(coarse.geobox, grid), chunks=sizes)
    return replace(pair, base=base)


def _compute(
    pair: Comparison,
    low: Low | None,
    sheet: Sheet,
    sensors: tuple[LowSensor | None, ...],
    chunks: int | Sequence[int] | None,
) -> Any:
    """Metrics and count, shape (time, metric, band); lazy if an image is."""
    function = Scores(sheet, pair.reader, sensors, low is not None)
    halo, sources = function.halo, pair.sources
    jobs = pair.jobs(chunks, before=halo, after=(halo, halo))
    if low is not None:
        sources = [*sources, low.cube.data.data]
        jobs = [graph.Job(job.rows, job.cols, (*job.windows, _owned(job, low))) for job in jobs]
    shape = (len(sheet.metrics) + 1, len(pair.cube.bands))
    return graph.reduce_windows(function, sources, jobs, shape, name="evaluate")


def _owned(job: graph.Job, low: Low) -> Window:
    """Low-resolution pixels whose centre lies in a block."""
    found = [low_pixels(span, s) for span, s in zip((job.rows, job.cols), low.scale, strict=True)]
    sizes = low.cube.geobox.shape.yx
    rows, cols = (Span(o.start, max(o.start, min(o.stop, n))) for o, n in zip(found, sizes, strict=True))
    return Window(rows, cols)


def _without_sensor(metrics: tuple[Metric, ...], unknown: Sequence[str]) -> tuple[Metric, ...]:
    """Leave out what needs the point spread function: the MTF of no band is known."""
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


def _dataset(values: Any, pair: Comparison, sheet: Sheet) -> xr.Dataset:
    joined = [metric.over_bands or metric.terms.spectrum for metric in sheet.metrics]
    variables = variables_of(sheet, values, ("time", "band"), joined=joined)
    count = values[:, len(sheet.metrics)].astype(np.int64)
    variables["count"] = (("time", "band"), count, {"units": "1", "long_name": "valid pixels"})
    return xr.Dataset(variables, labels(pair.cube, "time", "band"), settings_of(sheet, "evaluate", pair.border))


def _psf_of(attrs: Mapping[Any, Any]) -> PsfName:
    """Point spread function by which `degrade` or `wald` made a cube, of the attributes that they write."""
    operation, _, kind = str(attrs.get(OPERATION, "")).partition(":")
    known = {name: name for name in get_args(PsfName)}
    return known.get(kind, "gaussian") if operation in ("degrade", "wald") else "gaussian"
