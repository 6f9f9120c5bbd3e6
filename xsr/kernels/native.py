"""Traces of nearest-neighbour resampling: output pixels that fall in one source pixel must be equal.

Whether they are is counted over neighbouring pixels and compared with how often other neighbours are equal, so that
water, saturation and no data prove nothing. Arrays only; nothing here knows coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Cells = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Row and column of the source pixel in which each output pixel lies, both (h, w)."""
Counts = NDArray[np.float32]
SLACK = 0.03
"""Source pixels by which positions may be off: tools approximate projections, and coordinates are rounded."""
REPEATING = 0.9
"""Share of equal pairs above which an image is flat: of pixels of 10 m that repeat those of 60 m, 5 of 6 are equal."""
STEPS = 20_000
"""Steps of a source pixel to which `borders` finds where pixels end."""


@dataclass(frozen=True)
class Neighbours:
    """On how many dates neighbouring pixels hold data, and on how many they are equal."""

    known: tuple[Counts, Counts]
    """Pairs one above the other (band, h - 1, w), and side by side (band, h, w - 1); both hold data."""
    equal: tuple[Counts, Counts]
    """Of them, those of two equal numbers."""
    change: tuple[NDArray[np.float64], NDArray[np.float64]]
    """Mean difference (h - 1, w) and (h, w - 1) of the pairs that hold data, each band's by its mean; 0 of none."""


def neighbours(images: NDArray[np.float32]) -> Neighbours:
    """Compare every pixel of images (date, band, h, w) with the one below and the one to the right."""
    finite = np.isfinite(images)
    found = []
    for first, second in ((np.s_[..., :-1, :], np.s_[..., 1:, :]), (np.s_[..., :-1], np.s_[..., 1:])):
        known = finite[first] & finite[second]
        equal = known & (images[first] == images[second])
        size = np.where(known, np.abs(images[first] - images[second]), 0.0)
        typical = size.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
        change = (size / np.where(typical > 0, typical, 1.0)).mean(axis=(0, 1))
        counts = (pairs.sum(axis=0, dtype=np.float32) for pairs in (known, equal))
        found.append((*counts, change))
    down, right = found
    return Neighbours(*zip(down, right, strict=True))


@dataclass(frozen=True)
class Agreement:
    """How neighbours that are predicted to repeat one source pixel compare with the others, band by band."""

    repeats: NDArray[np.float64]
    """Pairs predicted to repeat one source pixel."""
    possible: NDArray[np.float64]
    """Pairs that would, were they moved by `SLACK`; they hold those predicted."""
    equal: NDArray[np.float64]
    """Of the possible ones, those that are equal."""
    others: NDArray[np.float64]
    """All other pairs."""
    others_equal: NDArray[np.float64]
    """Of them, those that are equal."""

    def __add__(self, other: "Agreement") -> "Agreement":
        """Add the counts of two parts of an image."""
        return Agreement(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def pooled(self) -> "Agreement":
        """Add up all bands, as one."""
        return Agreement(*(np.sum(v, keepdims=True) for v in vars(self).values()))

    @property
    def base(self) -> NDArray[np.float64]:
        """Share of the other pairs that are equal: what chance gives; without any, 1 in flat images and else 0."""
        alone = np.where(self.equal > REPEATING * self.possible, 1.0, 0.0)
        return np.where(self.others > 0, self.others_equal / np.maximum(self.others, 1), alone)

    @property
    def evidence(self) -> NDArray[np.float64]:
        """Number of predicted repeats that chance would not have made equal."""
        return self.repeats * (1 - self.base)

    @property
    def contrast(self) -> NDArray[np.float64]:
        """Equal pairs beyond chance where repeats are possible, as a share of `evidence`: about 1, or about 0."""
        beyond = self.equal - self.base * self.possible
        return np.asarray(beyond / np.where(self.evidence > 0, self.evidence, np.inf), np.float64)


def agreement(pairs: Neighbours, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> Agreement:
    """Count neighbours by whether they lie in one source pixel and whether they are equal.

    Parameters
    ----------
    pairs
        From `neighbours`.
    rows, cols
        Positions (h, w) in source pixels, counted from a corner of one.
    """
    found = []
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        ends = [(v[first], v[second]) for v in (rows, cols)]
        found.append([np.logical_and(*(_share_pixel(*pair, slack) for pair in ends)) for slack in (0.0, SLACK)])
    (down, right), (maybe_down, maybe_right) = zip(*found, strict=True)
    repeats = _count(pairs.known, (down, right))
    possible, equal = (_count(counts, (maybe_down, maybe_right)) for counts in (pairs.known, pairs.equal))
    everywhere = [np.ones_like(one) for one in (down, right)]
    known, all_equal = (_count(counts, everywhere) for counts in (pairs.known, pairs.equal))
    return Agreement(repeats, possible, equal, known - possible, all_equal - equal)


def leaps(pairs: Sequence[Neighbours], cells: Sequence[Cells]) -> float:
    """Judge whether neighbours differ more where source pixels are skipped between them.

    Along every axis a pair is compared with the pairs before and after it, so that texture cancels.

    Parameters
    ----------
    pairs
        From `neighbours`, of each part of an image.
    cells
        Source pixels of the parts.

    Returns
    -------
    float
        Standard deviations from chance; positive if they do. Interpolation gives less than 0: it smooths most between
        two source pixels.
    """
    total, square = 0.0, 0.0
    for part, (rows, cols) in zip(pairs, cells, strict=True):
        for axis, change in enumerate(part.change):
            apart = np.hypot(np.diff(rows, axis=axis), np.diff(cols, axis=axis))
            product = _excess(change, axis) * _excess(apart, axis)
            total, square = total + product.sum(), square + (product**2).sum()
    return float(total / np.sqrt(square)) if square > 0 else 0.0


def _excess(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """By how much values exceed the mean of those before and after."""
    before, at, after = (np.moveaxis(values, axis, 0)[cut] for cut in (slice(None, -2), slice(1, -1), slice(2, None)))
    return np.asarray(at - (before + after) / 2, np.float64)


def _share_pixel(first: NDArray[np.float64], second: NDArray[np.float64], slack: float) -> NDArray[np.bool_]:
    """Whether two positions lie in one pixel, or would if both were moved by up to ``slack``."""
    middle, margin = (first + second) / 2, (1 - np.abs(second - first)) / 2
    return np.asarray((margin > 0) & (np.abs(middle - np.floor(middle) - 0.5) <= margin + slack))


def _count(counts: tuple[Counts, Counts], where: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    total = sum(c.reshape(len(c), -1) @ at.ravel().astype(np.float32) for c, at in zip(counts, where, strict=True))
    return np.asarray(total, np.float64)


def pick(
    rows: NDArray[np.int64], cols: NDArray[np.int64], distance: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Choose for every source pixel the output pixel in it that lies nearest to its centre.

    Parameters
    ----------
    rows, cols
        Source pixel of each output pixel, any shape; those beyond ``shape`` are left out.
    distance
        From its centre, of the same shape.
    shape
        Source pixels (y, x).

    Returns
    -------
    ndarray
        Shape ``shape``: flat index of the output pixel, -1 where there is none. Of two equally near the later counts.
    """
    inside = np.flatnonzero((rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1]))
    order = inside[np.argsort(-distance.ravel()[inside], kind="stable")]
    chosen = np.full(shape, -1, np.int64)
    chosen[rows.ravel()[order], cols.ravel()[order]] = order  # the last one written is the nearest
    return chosen


def reproduced(images: NDArray[np.float32], cells: Cells, distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count the pixels (band,) of images (date, band, h, w) that equal the one chosen for their source pixel."""
    rows, cols = (index - index.min() for index in cells)
    chosen = pick(rows, cols, distance, (int(rows.max()) + 1, int(cols.max()) + 1))
    flat = images.reshape(*images.shape[:2], -1)
    back = flat[..., chosen[rows, cols].ravel()]
    same = (back == flat) | (np.isnan(back) & np.isnan(flat))
    return np.asarray(same.sum(axis=(0, 2)), np.float64)


def borders(
    positions: Sequence[NDArray[np.float64]], known: Sequence[Counts], equal: Sequence[Counts], *, axis: int
) -> NDArray[np.float64]:
    """Judge every place where source pixels may end along an axis: over a border no repeat reaches.

    Parameters
    ----------
    positions
        Positions (h, w) along the axis of each part of an image, in source pixels.
    known, equal
        Counts of pairs along the axis summed over bands, of each part; see `Neighbours`.
    axis
        0 for pairs one above the other, 1 for pairs side by side.

    Returns
    -------
    ndarray
        Shape (STEPS,): how many more pairs differ than are equal over borders at ``(k + 1) / STEPS`` of a pixel.
    """
    score = np.zeros(STEPS)
    for position, pairs, repeats in zip(positions, known, equal, strict=True):
        ends = np.stack([np.delete(position, -1, axis), np.delete(position, 0, axis)])
        first, second = np.floor(np.sort(ends, axis=0) * STEPS).astype(np.int64)
        edge = np.zeros(2 * STEPS + 1)
        gain = (pairs - 2 * repeats).ravel().astype(np.float64)
        start = (first % STEPS).ravel()
        np.add.at(edge, start, gain)
        np.add.at(edge, start + np.minimum(second - first, STEPS).ravel(), -gain)
        total = np.cumsum(edge)
        score += total[:STEPS] + total[STEPS : 2 * STEPS]
    return score


def best_border(score: NDArray[np.float64], within: float = 0.5) -> float:
    """Place of the best of `borders`, -0.5 to 0.5 of a pixel; of equally good ones the nearest to 0."""
    place = (np.arange(STEPS) + 1.0) / STEPS
    place = np.where(place > 0.5, place - 1, place)
    near = np.abs(place) <= within
    best = near & (score >= score[near].max())
    return float(place[best][np.argmin(np.abs(place[best]))])
