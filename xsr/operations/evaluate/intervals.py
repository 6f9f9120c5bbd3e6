"""How well the intervals of a result hold: coverage, width, interval score, calibration and sparsification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import graph
from xsr.core.cube import open_cube
from xsr.core.errors import BandError, CubeError
from xsr.core.names import QUANTILE, BandsLike, check_container, fitting
from xsr.core.provenance import made_by
from xsr.core.types import XarrayObject
from xsr.kernels import calibration as kernels
from xsr.kernels.calibration import DECIMALS, SCORES, Along, Levels
from xsr.kernels.pixels import cut
from xsr.kernels.strata import strata_index
from xsr.operations.evaluate.compare import Comparison, Reader, labels, open_comparison
from xsr.operations.evaluate.stratified import ascending

ALL_BANDS = "_all_bands"
"""End of the names of scores of all bands together."""
EVERYWHERE = (0.0, float("inf"))
"""Edges of the only stratum where none are given."""


@dataclass(frozen=True)
class Calibration:
    """Reduction: sums of what scores of quantiles are made of, by stratum."""

    levels: Levels
    reader: Reader
    pixel_m: tuple[float, float]
    edges: tuple[float, ...] | None

    @property
    def halo(self) -> int:
        """Pixels around a block that the gradient needs."""
        return 0 if self.edges is None else 1

    @property
    def strata(self) -> int:
        """Number of strata."""
        return len(self.edges or EVERYWHERE) - 1

    def __call__(self, job: graph.Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Sum over one block, shape (band, strata, columns)."""
        others = len(self.levels.quantiles) - 1
        estimate, reference, _ = self.reader(job, windows[: len(windows) - others])
        assert reference is not None
        images = list(windows[len(windows) - others :])
        images.insert(self.levels.estimate, estimate)
        index = self._index(reference)
        images, reference = [cut(image, self.halo) for image in images], cut(reference, self.halo)
        return kernels.calibration_sums(images, reference, self.levels, index=index, strata=self.strata)

    def _index(self, reference: NDArray[Any]) -> NDArray[np.int32] | None:
        """Stratum of each pixel of the block."""
        if self.edges is None:
            return None
        return strata_index(np.ascontiguousarray(reference), pixel_m=self.pixel_m, edges=np.array(self.edges))

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores from the sums, shape (band + 1, stratum, value)."""
        return kernels.interval_scores(total, self.levels)


def calibration(
    fine: XarrayObject,
    reference: XarrayObject,
    *,
    edges: Sequence[float] | None = None,
    border: int = 0,
    mask: xr.DataArray | None = None,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> xr.Dataset:
    r"""Score how well the intervals of a result hold the truth, and whether their width tells where the error is.

    Parameters
    ----------
    fine
        Quantiles of the result: DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x) with one dimension
        more, ``quantile``, at any place, and its coordinate: numbers in (0, 1), in any order, among them 0.5, the
        estimate, and at least one pair q and 1 - q.
    reference
        The truth on the same grid, without that dimension; see `xsr.evaluate`.
    edges
        Ascending edges of strata of the reference's gradient in reflectance per metre, as of `xsr.strata`, for example
        ``(0, 1e-3, 5e-3, inf)``: scores have the dimension ``stratum`` then. Pixels outside all strata are left out.
    border, mask, bands, units, chunks
        See `xsr.evaluate`.

    Returns
    -------
    Dataset
        Dims (time, band), with ``edges`` (time, band, stratum): ``count``, the valid pixels; ``crossed``, those of them
        whose quantiles do not ascend; and ``calibration_error``. With the dimension ``quantile`` beside these:
        ``below``. With the dimension ``interval``, whose coordinate is the nominal coverage: ``coverage``; ``width``,
        ``interval_score`` and ``constant_score`` in reflectance; ``ause``. The same without ``band`` and with the
        suffix ``_all_bands``, of the pixels of all bands together. NaN where no pixel counts. Lazy if a cube is.

    Raises
    ------
    GridError, CubeError, BandError
        If the cubes do not match (see `xsr.evaluate`); if there is no dimension ``quantile``, its coordinate holds
        something else than different numbers in (0, 1), or 0.5 or a pair is missing.
    ParameterError
        If edges are not ascending, or an argument is out of range.

    Notes
    -----
    A pixel counts where the truth y and all quantiles are valid. With the share ``below(p)`` of the truth at or below
    the quantile p,

    .. math:: \mathrm{calibration\_error} = \mathrm{mean}_p\,|\mathrm{below}(p) - p|.

    The interval of nominal coverage 1 - α lies between l and u, the quantiles α/2 and 1 - α/2. ``coverage`` is the
    share of pixels with l ≤ y ≤ u, ``width`` the mean of u - l, and ``interval_score`` the mean of

    .. math:: (u - l) + \tfrac{2}{\alpha}\,[(l - y)_+ + (y - u)_+].

    ``constant_score`` is that of the intervals m ± h about the estimate m with the one h that makes it least for these
    pixels: of each band, date and stratum by itself, and for all bands the mean over their pixels. If it is not above
    ``interval_score``, the widths say no more than one number would. Quantiles that cross are scored as they are: the
    truth is never inside, and the score stays proper.

    Sparsification takes pixels out, those of the widest interval first. With SP(f) the mean of abs(y - m) over those
    that are left when a share f was taken out, and SP* the same curve in the order of abs(y - m) itself,

    .. math:: \mathrm{ause} = \frac{1}{SP(0)} \int_0^1 SP(f) - SP^*(f)\,df:

    0 where the widths are ordered as the errors, and NaN where there is no error. Both orders are histograms with fixed
    bins, 1/64 of an octave wide (1.6 % of the width at most), and pixels of one bin have no order. With 10 000 pixels
    this changes ``ause`` by less than 0.0005 where widths vary by 10 % or more, by less than 0.003 where they vary by
    2 %; with 1000 pixels by up to five times as much. ``constant_score`` is the least over the edges of the bins of
    abs(y - m), at most 0.1 % above the exact one. All comes from sums in one pass over the chunks, and no number
    depends on them.

    References
    ----------
    T. Gneiting, A. E. Raftery, JASA 102 (2007), doi:10.1198/016214506000001437: interval score.
    V. Kuleshov, N. Fenner, S. Ermon, ICML (2018), arXiv:1807.00263: calibration error.
    E. Ilg et al., ECCV (2018), doi:10.1007/978-3-030-01234-2_40: sparsification and its area.

    Examples
    --------
    >>> import xarray as xr
    >>> import xsr
    >>> from xsr.testing import synthetic_pair
    >>> pair = synthetic_pair(size=(32, 32))  # pixels of 10 m, and their truth of 2.5 m
    >>> fine = pair.low.sr.interpolate(scale=4)
    >>> around = xr.DataArray([-0.02, 0, 0.02], {"quantile": [0.05, 0.5, 0.95]}, "quantile")
    >>> scores = (fine + around).sr.calibration(pair.high)
    >>> dict(scores.coverage.sizes), scores.interval.values.tolist()
    ({'time': 1, 'band': 4, 'interval': 1}, [0.9])
    >>> scores.coverage.round(2).values.ravel().tolist()  # one width for all: too wide for some bands
    [0.97, 0.95, 0.9, 0.66]
    >>> bool(scores.interval_score.sel(band="B08") > 1.5 * scores.constant_score.sel(band="B08"))
    True
    """
    levels, slices = _slices(fine)
    middle = levels.estimate
    check_container(reference)
    pair = open_comparison(slices[middle], reference, mask=mask, border=border, bands=bands, units=units)
    _check_every_band(fine, pair.cube.bands, fitting(bands, slices[middle]))
    steps = None if edges is None else ascending("edges", edges)
    function = Calibration(levels, pair.reader, pair.cube.pixel_m, steps)
    others = [one for number, one in enumerate(slices) if number != middle]
    sources = pair.sources + [
        open_cube(one, units=units, bands=fitting(bands, one), shared=True).data.data for one in others
    ]
    jobs = pair.jobs(chunks, before=function.halo, after=(function.halo, function.halo))
    jobs = [replace(job, windows=job.windows[:1] * len(sources)) for job in jobs]
    shape = (len(pair.cube.bands) + 1, function.strata, levels.values)
    values = graph.reduce_windows(function, sources, jobs, shape, name="calibration")
    return _dataset(values, pair, function)


def estimate(fine: XarrayObject) -> XarrayObject:
    """Select the quantile 0.5 of a result that has a dimension ``quantile``.

    Raises
    ------
    CubeError
        As `calibration`.
    """
    levels, slices = _slices(fine)
    return slices[levels.estimate]


def _slices(fine: XarrayObject) -> tuple[Levels, list[XarrayObject]]:
    """Quantiles in ascending order, and the cube of each."""
    check_container(fine)
    if QUANTILE not in fine.dims or QUANTILE not in fine.coords:
        raise CubeError(
            f"no dimension {QUANTILE!r} with a coordinate among {[str(dim) for dim in fine.dims]}; expected the"
            " quantiles of a result, such as (0.05, 0.5, 0.95). Join cubes by"
            f" xarray.concat(cubes, pandas.Index(numbers, name={QUANTILE!r}))."
        )
    numbers = fine[QUANTILE].values
    order = np.argsort(numbers)
    levels = _levels(numbers[order])
    return levels, [fine.isel({QUANTILE: int(number)}, drop=True) for number in order]


def _levels(numbers: NDArray[Any]) -> Levels:
    """Quantiles of a coordinate in ascending order."""
    given = f"coordinate {QUANTILE!r} is {numbers.tolist()}; expected"
    if numbers.dtype.kind != "f" or not np.all((numbers > 0) & (numbers < 1)):
        raise CubeError(f"{given} numbers between 0 and 1. Give 0.05 for 5 %.")
    found = tuple(round(float(number), DECIMALS) for number in numbers)
    if len(set(found)) != len(found):
        raise CubeError(f"{given} each once. Drop the duplicates.")
    if 0.5 not in found:
        raise CubeError(f"{given} 0.5 among them, the estimate. Add it.")
    levels = Levels(found)
    if not levels.pairs:
        raise CubeError(f"{given} at least one pair q and 1 - q, such as 0.05 and 0.95. Add what is missing.")
    return levels


def _check_every_band(fine: XarrayObject, used: Sequence[str], bands: BandsLike | None) -> None:
    """Refuse a Dataset of which some bands have no quantiles."""
    if isinstance(fine, xr.Dataset):
        names = {str(label) for label in (bands.values() if isinstance(bands, Mapping) else used)}
        odd = [str(name) for name, one in fine.data_vars.items() if str(name) in names and QUANTILE not in one.dims]
        if odd:
            raise BandError(
                f"bands {odd} have no dimension {QUANTILE!r}; expected it of every band. Select the others with bands=."
            )


def _dataset(values: Any, pair: Comparison, function: Calibration) -> xr.Dataset:
    """Scores by name from values (time, band + 1, stratum, value)."""
    levels, stratum = function.levels, () if function.edges is None else ("stratum",)
    values = values if stratum else values[:, :, 0]
    variables: dict[str, Any] = {}
    start = 0
    for name, score in SCORES.items():
        stop = start + levels.size(score.along)
        data = values[..., start:stop] if score.along else values[..., start]
        data = data.astype(np.int64) if name in ("count", "crossed") else data
        attrs = {"units": score.unit, "long_name": score.long_name}
        last = (*stratum, score.along) if score.along else stratum
        variables[name] = (("time", "band", *last), data[:, :-1], attrs)
        variables[name + ALL_BANDS] = (("time", *last), data[:, -1], attrs)
        start = stop
    coords = labels(pair.cube, "time", "band") | _coords(levels, function.edges)
    return xr.Dataset(variables, coords, {**made_by("calibration"), "border_px": pair.border})


def _coords(levels: Levels, edges: tuple[float, ...] | None) -> dict[str, Any]:
    """Coordinates along quantiles, intervals and strata."""
    along: dict[Along, tuple[float, ...]] = {"quantile": levels.quantiles, "interval": levels.nominal}
    coords: dict[str, Any] = {name: (name, np.array(numbers)) for name, numbers in along.items()}
    coords["interval"] += ({"units": "1", "long_name": "nominal coverage"},)
    if edges is not None:
        unit = {"units": "reflectance per metre"}
        coords["stratum"] = np.arange(len(edges) - 1)
        coords["edge_low"] = ("stratum", np.array(edges[:-1]), unit)
        coords["edge_high"] = ("stratum", np.array(edges[1:]), unit)
    return coords
