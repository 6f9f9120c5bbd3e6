"""How well intervals hold: sums over the pixels of a block, and the scores of quantiles that follow from them.

Sums add up over blocks, and no score depends on where blocks meet. The curves of sparsification need pixels in order:
of the width of an interval, and of the error itself. Each order is a histogram with bins that are fixed numbers, which
holds the count and the errors of its pixels.

References
----------
T. Gneiting, A. E. Raftery, JASA 102 (2007), doi:10.1198/016214506000001437: interval score.
V. Kuleshov, N. Fenner, S. Ermon, ICML (2018), arXiv:1807.00263: calibration error.
E. Ilg et al., ECCV (2018), doi:10.1007/978-3-030-01234-2_40: area between the curves of sparsification.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xsr.kernels.accelerate import jit
from xsr.kernels.pixels import Image, Sums

DECIMALS = 6
"""Decimals to which quantiles are distinguished: coordinates may be single precision."""
MANTISSA_BITS = 6
"""Bits of the mantissa of a float32 number that find its bin: 64 bins an octave, at most 1.6 % wide."""
LEAST_OCTAVE, GREATEST_OCTAVE = -20, 12
BINS = ((GREATEST_OCTAVE - LEAST_OCTAVE) << MANTISSA_BITS) + 1
"""Bins of widths and errors: one below 2**-20, then 64 an octave; the last has no upper edge."""
COUNT, CROSSED, BELOW = range(3)
"""First columns of the sums: pixels, those whose quantiles cross, and for each quantile those with a lower truth."""
INSIDE, WIDTH, MISSED = range(3)
"""Columns of each interval: pixels with the truth inside, width, and by how much the truth lies outside."""
NUMBER, ERROR = range(2)
"""Columns of each bin: pixels, and their errors |e| of the estimate."""

Along = Literal["", "quantile", "interval"]


@dataclass(frozen=True)
class Score:
    """One score: its unit, its meaning, and what it has a value for beside bands and strata."""

    unit: str
    long_name: str
    along: Along = ""


SCORES = {
    "count": Score("1", "valid pixels"),
    "crossed": Score("1", "pixels whose quantiles do not ascend"),
    "calibration_error": Score("1", "mean |below - quantile|, lower is better"),
    "below": Score("1", "share of the truth at or below the quantile, best as large as the quantile", "quantile"),
    "coverage": Score("1", "share of the truth inside the interval, best as large as nominal", "interval"),
    "width": Score("reflectance", "mean width of the interval", "interval"),
    "interval_score": Score("reflectance", "mean interval score, lower is better", "interval"),
    "constant_score": Score("reflectance", "interval score of the best interval of one width", "interval"),
    "ause": Score("1", "area between the curves of sparsification, lower is better", "interval"),
}
"""Scores in the order of `interval_scores`."""


@dataclass(frozen=True)
class Levels:
    """Quantiles of a result, ascending, 0.5 among them, and what follows from them."""

    quantiles: tuple[float, ...]

    @property
    def estimate(self) -> int:
        """Number of the quantile 0.5."""
        return self.quantiles.index(0.5)

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Numbers of the quantiles q and 1 - q of each central interval, the narrowest first."""
        known = {round(level, DECIMALS): number for number, level in enumerate(self.quantiles)}
        ends = [(number, known.get(round(1 - level, DECIMALS))) for level, number in known.items() if level < 0.5]
        return tuple((low, high) for low, high in reversed(ends) if high is not None)

    @property
    def nominal(self) -> tuple[float, ...]:
        """Share of the truth that each interval should hold."""
        return tuple(round(self.quantiles[high] - self.quantiles[low], DECIMALS) for low, high in self.pairs)

    @property
    def terms(self) -> int:
        """Columns of the sums before those of the bins."""
        return BELOW + len(self.quantiles) + 3 * len(self.pairs)

    @property
    def columns(self) -> int:
        """Columns of the sums."""
        return self.terms + 2 * BINS * (1 + len(self.pairs))

    def size(self, along: Along) -> int:
        """Count the values of a score."""
        return {"": 1, "quantile": len(self.quantiles), "interval": len(self.pairs)}[along]

    @property
    def values(self) -> int:
        """Number of values of all scores."""
        return sum(self.size(score.along) for score in SCORES.values())


# --- sums --------------------------------------------------------------------------------------------------


@jit
def _is_known(values: Any, truth: Any) -> bool:
    known = np.isfinite(truth)
    for value in values:
        known = known and np.isfinite(value)
    return bool(known)


@jit
def _add_terms(values: Any, y: float, pairs: Any, out: Any) -> None:
    """Add one pixel to the columns before those of the bins."""
    levels, crossed = values.size, False
    out[COUNT] += 1
    for k in range(levels):
        out[BELOW + k] += y <= values[k]
        crossed = crossed or (k > 0 and values[k] < values[k - 1])
    out[CROSSED] += crossed
    for p in range(len(pairs)):
        low, high = np.float64(values[pairs[p, 0]]), np.float64(values[pairs[p, 1]])
        first = BELOW + levels + 3 * p
        out[first + INSIDE] += low <= y <= high
        out[first + WIDTH] += high - low
        out[first + MISSED] += max(low - y, 0.0) + max(y - high, 0.0)


@jit
def _add_bins(values: Any, error: float, pairs: Any, keys: Any, out: Any) -> None:
    """Add one pixel to its bin of every order: that of the error, and those of the widths."""
    keys[0] = error
    for p in range(len(pairs)):
        keys[p + 1] = np.float64(values[pairs[p, 1]]) - np.float64(values[pairs[p, 0]])
    bits = keys.view(np.int32)
    for order in range(keys.size):
        k = min(max((bits[order] >> (23 - MANTISSA_BITS)) - _BASE, 0), BINS - 1)
        out[order, k, NUMBER] += 1
        out[order, k, ERROR] += error


_BASE = ((127 + LEAST_OCTAVE) << MANTISSA_BITS) - 1
"""Exponent and mantissa of the greatest float32 number in the first bin; negative numbers are below it."""


@jit
def _add_band(values: Any, reference: Any, index: Any, estimate: int, pairs: Any, terms: Any, bins: Any) -> None:
    keys = np.empty(len(pairs) + 1, np.float32)
    for i in range(reference.shape[0]):
        for j in range(reference.shape[1]):
            s, y, here = index[i, j], np.float64(reference[i, j]), values[:, i, j]
            if s >= 0 and _is_known(here, y):
                _add_terms(here, y, pairs, terms[s])
                _add_bins(here, abs(here[estimate] - y), pairs, keys, bins[s])


def calibration_sums(
    images: Sequence[Image],
    reference: Image,
    levels: Levels,
    *,
    index: NDArray[np.int32] | None = None,
    strata: int = 1,
) -> Sums:
    """Sum over the pixels of a block, band by band and stratum by stratum.

    Parameters
    ----------
    images
        One image for each quantile, shape (band, h, w). A pixel counts where all of them and the reference are finite.
    reference
        The truth, shape (band, h, w).
    levels
        The quantiles.
    index
        Stratum of every pixel, shape (band, h, w); one that is negative does not count. Without it there is one.
    strata
        Number of strata.

    Returns
    -------
    ndarray
        Shape (band, stratum, `Levels.columns`).
    """
    bands, pairs = len(reference), np.array(levels.pairs, np.int64)
    terms = np.zeros((bands, strata, levels.terms))
    bins = np.zeros((bands, strata, len(pairs) + 1, BINS, 2))
    for b in range(bands):
        values = np.stack([image[b] for image in images])
        place = np.zeros(reference.shape[1:], np.int32) if index is None else index[b]
        _add_band(values, np.ascontiguousarray(reference[b]), place, levels.estimate, pairs, terms[b], bins[b])
    return np.concatenate([terms, bins.reshape(bands, strata, -1)], axis=-1)


# --- scores ------------------------------------------------------------------------------------------------


def interval_scores(sums: Sums, levels: Levels) -> NDArray[np.float64]:
    """Compute the scores of every band, and of all bands together.

    Parameters
    ----------
    sums
        Those of `calibration_sums` over all blocks, shape (band, stratum, column).
    levels
        The quantiles.

    Returns
    -------
    ndarray
        Shape (band + 1, stratum, `Levels.values`): `SCORES` in their order, of all bands last. NaN where no pixel
        counts.
    """
    pooled = np.concatenate([sums, sums.sum(axis=0, keepdims=True)])
    terms = pooled[..., : levels.terms]
    bins = pooled[..., levels.terms :].reshape(*pooled.shape[:2], -1, BINS, 2)
    count = terms[..., :1]
    miss = 1 - np.array(levels.nominal)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = terms[..., BELOW:] / count
        below, each = np.split(means, [len(levels.quantiles)], axis=-1)
        inside, width, missed = np.moveaxis(each.reshape(*each.shape[:-1], -1, 3), -1, 0)
        off = np.abs(below - levels.quantiles).mean(axis=-1, keepdims=True)
        score = width + 2 / miss * missed
        constant = np.stack([_constant_score(bins[:-1, :, 0], alpha) for alpha in miss], axis=-1)
        constant = np.concatenate([constant, _mean_of_bands(constant, count[:-1])])
        ause = _area_between(bins)
    columns = [count, terms[..., CROSSED : CROSSED + 1], off, below, inside, width, score, constant, ause]
    return np.concatenate(columns, axis=-1)


def _mean_of_bands(scores: Sums, count: Sums) -> Sums:
    """Mean over bands, shape (1, stratum, interval), of which those without pixels do not count."""
    return np.asarray(np.where(count > 0, scores * count, 0).sum(axis=0) / count.sum(axis=0))[None]


def _constant_score(bins: Sums, alpha: float) -> Sums:
    """Least mean interval score of ``estimate ± h`` over the edges h of the bins of |e|, shape (...).

    With N pixels it is ``2 h + 2 / (alpha N) * sum (|e| - h)+``: convex in h, and exact at each edge.
    """
    above = np.flip(np.flip(bins, axis=-2).cumsum(axis=-2), axis=-2)
    half = bin_edges()[:-1]
    over = above[..., ERROR] - half * above[..., NUMBER]
    scores = 2 * half + 2 / alpha * over / above[..., :1, NUMBER]
    return np.asarray(scores.min(axis=-1))


def bin_edges() -> NDArray[np.float64]:
    """Edges of the bins, 0 first and infinity last."""
    octave = np.arange(LEAST_OCTAVE, GREATEST_OCTAVE)[:, None]
    parts = 1 << MANTISSA_BITS
    return np.concatenate([[0.0], (2.0**octave * (1 + np.arange(parts) / parts)).ravel(), [np.inf]])


def _area_between(bins: Sums) -> Sums:
    """Area between the curves of each width and that of the error, over the error of all pixels; shape (..., interval).

    A curve is the mean error of the pixels that are left when those of the greatest width, or error, were taken out.
    """
    area = _area(bins)
    return np.asarray((area[..., 1:] - area[..., :1]) / bins[..., :1, :, ERROR].sum(axis=-1))


def _area(bins: Sums) -> Sums:
    """Integral over the number m of pixels left of their mean error S(m) / m; bins (..., BINS, 2) in ascending order.

    Inside a bin that adds n pixels of mean error a to m0 pixels of total S0, the order is not known and S is a line:
    the integral is ``a n + (S0 - a m0) log(1 + n / m0)``.
    """
    number, error = bins[..., NUMBER], bins[..., ERROR]
    before, total = number.cumsum(axis=-1) - number, error.cumsum(axis=-1) - error
    mean = np.where(number > 0, error / number, 0)
    curved = np.where(before > 0, (total - mean * before) * np.log1p(number / before), 0)
    return np.asarray((error + curved).sum(axis=-1))
