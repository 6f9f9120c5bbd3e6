"""Footprints of pixels: means over the area of a coarser pixel, and images held to such means.

A pixel is an area, so that the mean over a coarser one weighs finer pixels by the area that they share with it; the
two grids need not nest.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Padding, Span
from xsr.kernels.resample import interpolation_taps, resample, resample_points
from xsr.kernels.taps import Taps

LEAST_VALID = 0.5
"""Least share of a footprint that must be valid."""
SMOOTH = 4
"""Corrections by a bicubic surface, before the rest is spread evenly over each coarse pixel."""
CORRECTION_REACH = 3
"""Coarse pixels that such a correction reaches: two of the kernel, and the one that its mean is taken of."""
REST = 1e-6
"""Share of the first deviation that is left where grids do not nest."""


def area_taps(position: NDArray[np.float64], width: float) -> Taps:
    """Weights of the pixels that intervals of ``width`` pixels around ``position`` cover, by the length covered.

    Examples
    --------
    >>> area_taps(np.array([1.0]), 2.0).weight
    array([[0.25, 0.5 , 0.25]])
    """
    start = np.floor(position - width / 2 + 0.5).astype(np.int64)
    pixel = start[:, None] + np.arange(math.ceil(width) + 1)
    low, high = (position + side * width / 2 for side in (-1, 1))
    covered = np.minimum(high[:, None], pixel + 0.5) - np.maximum(low[:, None], pixel - 0.5)
    weight = np.maximum(covered, 0.0)
    return Taps(start, weight / weight.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class AreaMean:
    """Block function: mean of the valid pixels that an output pixel covers; NaN where less than half of it is valid."""

    cell: tuple[float, float]
    """Size of an output pixel in input pixels, (y, x), >= 1."""
    padding: Padding = "edge"

    @property
    def halo(self) -> int:
        """Pixels needed around the two next to a position."""
        return math.ceil(max(self.cell) / 2) + 1

    def __call__(
        self,
        window: NDArray[np.float32],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> NDArray[np.float32]:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        images = window.reshape(-1, *window.shape[2:])
        valid = np.isfinite(images)
        taps = area_taps(rows.ravel(), self.cell[0]), area_taps(cols.ravel(), self.cell[1])
        average = resample if rows.ndim == 1 else resample_points
        share = average(valid.astype(np.float32), *taps)
        total = average(np.where(valid, images, np.float32(0)), *taps)
        enough = share >= LEAST_VALID - 1e-6
        out: NDArray[np.float32] = np.where(enough, total / np.where(enough, share, 1), np.float32(np.nan))
        shape = (rows.size, cols.size) if rows.ndim == 1 else rows.shape
        return out.reshape(*window.shape[:2], *shape)


@dataclass(frozen=True)
class Axis:
    """One axis of a fine grid in a coarse one parallel to it."""

    cell: float
    """Size of a fine pixel in coarse pixels, <= 1."""
    origin: float
    """First edge of the fine grid in coarse pixels, from the first edge of the coarse one."""
    size: int
    """Fine pixels."""
    coarse: int
    """Coarse pixels."""

    def whole(self, span: Span) -> Span:
        """Coarse pixels that lie wholly within a range of fine pixels."""
        slack = 1e-6 * self.cell
        first = math.ceil(self.origin + max(span.start, 0) * self.cell - slack)
        last = math.floor(self.origin + min(span.stop, self.size) * self.cell + slack)
        first = min(max(first, 0), self.coarse)
        return Span(first, max(first, min(last, self.coarse)))

    def means(self, span: Span) -> Any:
        """Sparse matrix (coarse pixels wholly within, fine pixels of a range) of the shares of a footprint."""
        whole = self.whole(span)
        first = np.arange(whole.start, whole.stop, dtype=np.float64)
        centre = (first + 0.5 - self.origin) / self.cell - 0.5
        return _matrix(area_taps(centre - span.start, 1 / self.cell), len(span))

    def surface(self, span: Span) -> Any:
        """Sparse matrix (fine pixels, coarse pixels wholly within) of a bicubic interpolation; ends repeat."""
        whole = self.whole(span)
        position = (np.arange(span.start, span.stop) + 0.5) * self.cell + self.origin - 0.5
        taps = interpolation_taps(np.clip(position, whole.start, whole.stop - 1), "bicubic")
        return _matrix(taps.moved(-whole.start), len(whole))

    def inside(self, span: Span) -> NDArray[np.int64]:
        """Of each coarse pixel wholly within, the first fine pixel of a range whose centre lies in it."""
        whole = self.whole(span)
        first = np.ceil((np.arange(whole.start, whole.stop) - self.origin) / self.cell - 0.5 - 1e-6)
        found: NDArray[np.int64] = first.astype(np.int64) - span.start
        return found

    @cached_property
    def overlap(self) -> float:
        """Least eigenvalue (its Gershgorin bound) of spreading over footprints and averaging again; one if nested."""
        matrix = self.means(Span(0, self.size))
        if not matrix.shape[0]:
            return 1.0
        return float(2 * matrix.multiply(matrix).sum(axis=1).min() / self.cell - 1)


def _matrix(taps: Taps, width: int) -> Any:
    """Sparse matrix of weights; those beyond the ends go to the last pixel there."""
    from scipy.sparse import csr_array

    count, each = taps.weight.shape
    column = np.clip(taps.start[:, None] + np.arange(each), 0, max(width - 1, 0))
    row = np.repeat(np.arange(count), each)
    return csr_array((taps.weight.ravel(), (row, column.ravel())), shape=(count, width))


@dataclass(frozen=True)
class Conserving:
    """Block function: move a fine image so that its means over coarse pixels are given ones.

    Reads two bands, the image and the coarse image enlarged by nearest neighbour, both on the fine grid; returns
    the image in the first. Coarse pixels that are not wholly within the fine grid are left alone.
    """

    rows: Axis
    cols: Axis
    power: int = 1
    """Power of the values whose means are held."""
    corner: tuple[int, int] = (0, 0)
    """First pixel of the block."""
    padding: Padding = "edge"

    @property
    def overlap(self) -> float:
        """Least eigenvalue of one correction; see `Axis.overlap`."""
        return self.rows.overlap * self.cols.overlap

    @property
    def steps(self) -> int:
        """Even corrections: one where the grids nest, else until no more than `REST` is left."""
        rate = (1 - self.overlap) / (1 + self.overlap)
        return max(1, math.ceil(math.log(REST) / math.log(rate))) if rate > 0 else 1

    @property
    def halo(self) -> int:
        """Fine pixels needed around a block: as far as the corrections reach."""
        return math.ceil((SMOOTH * CORRECTION_REACH + self.steps + 2) / min(self.rows.cell, self.cols.cell))

    def place(self, dates: Span, rows: Span, cols: Span) -> "Conserving":
        """Bind to a rectangle of pixels."""
        return replace(self, corner=(rows.start, cols.start))

    def __call__(
        self,
        window: NDArray[np.float32],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> NDArray[np.float32]:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        y, x = np.rint(rows).astype(np.int64), np.rint(cols).astype(np.int64)
        spans = [
            Span(corner - int(first[0]), corner - int(first[0]) + size)
            for corner, first, size in zip(self.corner, (y, x), window.shape[2:], strict=True)
        ]
        out = np.empty((*window.shape[:2], y.size, x.size), np.float32)
        for date, planes in enumerate(window):
            held = self.hold(planes[0].astype(np.float64), planes[1].astype(np.float64), spans[0], spans[1])
            out[date] = held[np.ix_(y, x)]
        return out

    def hold(
        self, image: NDArray[np.float64], near: NDArray[np.float64], rows: Span, cols: Span
    ) -> NDArray[np.float64]:
        """Correct one image (h, w) of the fine pixels ``rows`` and ``cols``; ``near`` repeats the coarse values."""
        if not (len(self.rows.whole(rows)) and len(self.cols.whole(cols))):
            return image
        down, across = self.rows.means(rows), self.cols.means(cols)
        goal = raised(near[np.ix_(self.rows.inside(rows), self.cols.inside(cols))], self.power)
        valid = np.isfinite(image) & self._within(rows, cols)
        x = np.where(valid, raised(np.where(valid, image, 0.0), self.power), 0.0)
        share = _sandwich(down, valid.astype(np.float64), across)
        known = np.isfinite(goal) & (share > 0)

        def missing(x: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.where(known, np.where(known, goal, 0) - _sandwich(down, x, across) / np.where(known, share, 1), 0)

        smooth = self.rows.surface(rows), self.cols.surface(cols)
        for _ in range(SMOOTH):
            x += valid * _sandwich(smooth[0], missing(x), smooth[1])
        even = down.T / self.rows.cell, across.T / self.cols.cell
        weight = 2 / (1 + self.overlap)
        for _ in range(self.steps):
            x += valid * weight * _sandwich(even[0], missing(x), even[1])
        return np.where(valid, root(x, self.power), image)

    def _within(self, rows: Span, cols: Span) -> NDArray[np.bool_]:
        """Whether pixels of a window belong to the image and not to its padding."""
        y, x = (
            (np.arange(span.start, span.stop) >= 0) & (np.arange(span.start, span.stop) < axis.size)
            for span, axis in ((rows, self.rows), (cols, self.cols))
        )
        return y[:, None] & x


def _sandwich(left: Any, image: NDArray[np.float64], right: Any) -> NDArray[np.float64]:
    """Apply a sparse matrix along either axis."""
    out: NDArray[np.float64] = (right @ (left @ image).T).T
    return out


def raised(values: NDArray[np.float64], power: int) -> NDArray[np.float64]:
    """Power that keeps the sign, and so can be undone."""
    return np.asarray(np.copysign(np.abs(values) ** power, values))


def root(values: NDArray[np.float64], power: int) -> NDArray[np.float64]:
    """Undo `raised`."""
    return np.asarray(np.copysign(np.abs(values) ** (1 / power), values))
