"""Detail of coarser bands on the grid of sharp ones: what the sharp ones predict by local regression, and what is left.

Bands of larger pixels are brought to the grid of the finest by interpolation. Observed as such a band is
(blurred, sampled and interpolated back), a sharp band shows what the coarse ones show; around every pixel each coarse
band is regressed on the sharp ones so observed. The slopes applied to what that takes away from the sharp bands are the
detail of the coarse band, if the relation holds on finer scales too.

Sampling is imitated on the very lattice of the larger pixels: what interpolation misses depends on where they lie.

Observed again, the sharpened band would still differ from what was given, most where the sharp bands say little: a part
of what interpolation lost is in the coarse band itself. It is projected back, once and with more than its weight, which
stands for further rounds.

References
----------
B. Aiazzi, L. Alparone, S. Baronti, A. Garzelli, M. Selva, "MTF-tailored multiscale fusion of high-resolution MS and Pan
imagery", Photogrammetric Engineering & Remote Sensing 72 (2006), doi:10.14358/PERS.72.5.591 (local injection gains).
M. Selva, B. Aiazzi, F. Butera, L. Chiarantini, S. Baronti, "Hyper-sharpening: a first approach on SIM-GA data", IEEE
JSTARS 8 (2015), doi:10.1109/JSTARS.2015.2440092 (several sharp bands for each coarse one).
M. Irani, S. Peleg, "Improving resolution by image registration", CVGIP 53 (1991),
doi:10.1016/1049-9652(91)90045-L (back-projection).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.kernels.accelerate import jit
from xsr.kernels.degrade import BandOptics, observe

WINDOW = 5
"""Pixels on every side at which the weights of a regression, which fall linearly along each axis, come to nothing."""
RIDGE = 1e-6
"""Squared reflectance that counts as noise of the sharp bands, observed as the coarse ones are."""
STRIP = 128
"""Columns whose sums move down together."""
RELAXATION = 1.5
"""Weight of what is projected back."""


def margin(optics: BandOptics, window: int = WINDOW) -> int:
    """Pixels needed around a block by `injected_detail`."""
    return reach([optics]) + window


def reach(optics: Sequence[BandOptics]) -> int:
    """Pixels needed around a block by `projected_back`."""
    return max(one.halo() for one in optics) + 1


def injected_detail(
    images: NDArray[np.float32],
    sharp: Sequence[int],
    coarse: Sequence[int],
    optics: BandOptics,
    *,
    corner: tuple[int, int] = (0, 0),
    window: int = WINDOW,
    ridge: float = RIDGE,
) -> NDArray[np.float32]:
    """Predict what coarse bands lack, from sharp bands on the same grid.

    Parameters
    ----------
    images
        Reflectance (n, band, h, w) with `margin` pixels around what is computed; finite.
    sharp, coarse
        Bands whose own pixels are those of the grid, and bands of larger ones that were interpolated to it.
    optics
        How a coarse band is observed: from the grid to its own pixels, and back.
    corner
        First pixel (row, column) of the images, counted from a corner of the larger pixels.
    window, ridge
        Of the regressions; see `WINDOW` and `RIDGE`.

    Returns
    -------
    ndarray
        Shape (n, band, h - 2 margin, w - 2 margin): what to add to the coarse bands, zero for all others.

    Notes
    -----
    With x the sharp bands, S x the same observed as a coarse band y is, the detail is ``a (x - S x)``, ``a =
    (cov(S x) + ridge I)^-1 cov(S x, y)``, in windows of ``window`` pixels on every side, weighted linearly.
    """
    around, edge = reach([optics]), margin(optics, window)
    count, _, height, width = images.shape
    out = np.zeros((count, images.shape[1], height - 2 * edge, width - 2 * edge), np.float32)
    rows, cols = (
        Span(first + around, first + size - around) for first, size in zip(corner, (height, width), strict=True)
    )
    trim = (..., slice(around, height - around), slice(around, width - around))
    inner = (..., slice(window, -window), slice(window, -window))
    for number, image in enumerate(images):
        guide = image[list(sharp)]
        blurred = observe(guide, optics, rows=rows, cols=cols, origin=corner).astype(np.float64)
        guide, others = guide[trim], image[list(coarse)][trim].astype(np.float64)
        # Offsets do not count; without them sums of squares keep their digits.
        offset, others_offset = (v.mean(axis=(1, 2), keepdims=True) for v in (blurred, others))
        lost = np.ascontiguousarray((guide - blurred)[inner])
        found = np.empty((len(coarse), *lost.shape[1:]), np.float32)
        _regress(blurred - offset, others - others_offset, lost, window, ridge, found)
        out[number, list(coarse)] = found
    return out


def slopes(
    sharp: NDArray[np.float32], coarse: NDArray[np.float32], *, window: int = WINDOW, ridge: float = RIDGE
) -> NDArray[np.float32]:
    """Regress bands on others, all as sharp, around every pixel.

    Parameters
    ----------
    sharp, coarse
        Reflectance (band, h, w); finite.
    window, ridge
        See `injected_detail`.

    Returns
    -------
    ndarray
        Shape (coarse band, sharp band, h - 2 window, w - 2 window).
    """
    x, y = (v.astype(np.float64) - v.mean(axis=(1, 2), keepdims=True, dtype=np.float64) for v in (sharp, coarse))
    out = np.empty((len(y), len(x), *(size - 2 * window for size in x.shape[1:])), np.float32)
    one = np.zeros((len(x), *out.shape[2:]))
    for number in range(len(x)):
        found = np.empty((len(y), *out.shape[2:]), np.float32)
        one[...] = 0
        one[number] = 1
        _regress(x, y, one, window, ridge, found)
        out[:, number] = found
    return out


def projected_back(
    bands: NDArray[np.float32],
    detail: NDArray[np.float32],
    optics: Sequence[BandOptics],
    *,
    around: int,
    corner: tuple[int, int] = (0, 0),
) -> NDArray[np.float32]:
    """Find what coarse bands still lack with their detail: `RELAXATION` times ``y - S (y + detail)``.

    Parameters
    ----------
    bands, detail
        Coarse bands on the grid and what is added to them, (band, h, w).
    optics
        How each is observed: from the grid to its own pixels, and back.
    around
        Pixels around what is computed, at least `reach`.
    corner
        First pixel (row, column), counted from a corner of the larger pixels.

    Returns
    -------
    ndarray
        Shape (band, h - 2 around, w - 2 around).
    """
    rows, cols = (
        Span(first + around, first + size - around) for first, size in zip(corner, bands.shape[1:], strict=True)
    )
    again = [
        observe(image[None], one, rows=rows, cols=cols, origin=corner)[0]
        for image, one in zip(bands + detail, optics, strict=True)
    ]
    given = bands[:, around:-around, around:-around]
    return np.asarray(np.float32(RELAXATION) * (given - np.stack(again)), np.float32)


@jit
def _regress(x: Any, y: Any, lost: Any, window: Any, ridge: Any, out: Any) -> None:
    """Regress ``y`` (band, h, w) on ``x`` (guide, h, w) around every pixel, and apply the slopes to ``lost``.

    Weights fall linearly along each axis: a box upon a box. Sums move down strip by strip, so that they stay in the
    cache: of the rows, as the difference of what enters a box and leaves it, then of the columns. Loops over the
    columns of a strip are innermost, and each column has its own numbers, so that several are computed at once.
    """
    guides, height, width = x.shape
    bands, side = y.shape[0], window + 1
    cross = guides + bands + guides * (guides + 1) // 2
    count, scale = cross + guides * bands, 1.0 / float(side) ** 4
    for left in range(0, width - 2 * window, STRIP):
        cols = min(STRIP, width - 2 * window - left)
        wide = cols + 2 * window
        rows, boxes = np.zeros((side, count, wide)), np.zeros((side, count, wide))
        box, total = np.zeros((count, wide)), np.zeros((count, wide))
        line, sums, middle = np.empty((count, wide)), np.empty((count, cols)), np.empty(wide - window)
        factor, slope = np.empty((guides, guides, cols)), np.empty((guides, cols))
        for i in range(height):
            for k in range(guides):
                line[k] = x[k, i, left : left + wide]
            for k in range(bands):
                line[guides + k] = y[k, i, left : left + wide]
            at = guides + bands
            for k in range(guides + bands):
                for m in range(min(k + 1, guides)):
                    one, other, product = line[k], line[m], line[at]
                    for j in range(wide):
                        product[j] = one[j] * other[j]
                    at += 1
            for q in range(count):
                _move_down(line[q], rows[i % side, q], boxes[i % side, q], box[q], total[q])
            row = i - 2 * window
            if row < 0:
                continue
            for q in range(count):
                _add_up(total[q], side, scale, middle, sums[q])
            here, to = lost[:, row, left : left + cols], out[:, row, left : left + cols]
            _factor(sums, guides, bands, ridge, factor)
            _apply(sums, here, guides, bands, factor, slope, to)


@jit
def _move_down(enters: Any, leaves: Any, older: Any, box: Any, total: Any) -> None:
    """Move a box, and the box upon it, one row down; what leaves them is overwritten by what enters."""
    for j in range(enters.size):
        value = box[j] + enters[j] - leaves[j]
        leaves[j] = enters[j]
        total[j] += value - older[j]
        older[j] = value
        box[j] = value


@jit
def _add_up(line: Any, side: Any, scale: Any, middle: Any, out: Any) -> None:
    """Sum ``side`` neighbours along a line, and those sums again."""
    for j in range(middle.size):
        middle[j] = line[j]
    for k in range(1, side):
        shifted = line[k:]
        for j in range(middle.size):
            middle[j] += shifted[j]
    for j in range(out.size):
        out[j] = middle[j]
    for k in range(1, side):
        shifted = middle[k:]
        for j in range(out.size):
            out[j] += shifted[j]
    for j in range(out.size):
        out[j] *= scale


@jit
def _less(value: Any, a: Any, b: Any) -> None:
    """Subtract products."""
    for j in range(value.size):
        value[j] -= a[j] * b[j]


@jit
def _times(value: Any, a: Any) -> None:
    """Multiply in place."""
    for j in range(value.size):
        value[j] *= a[j]


@jit
def _factor(sums: Any, guides: Any, bands: Any, ridge: Any, factor: Any) -> None:
    """Factor the covariance of the guides (Cholesky); on the diagonal are the reciprocals of the roots."""
    at = guides + bands
    for i in range(guides):
        for m in range(i + 1):
            value = factor[i, m]
            value[:] = sums[at]
            at += 1
            _less(value, sums[i], sums[m])
            for k in range(m):
                _less(value, factor[i, k], factor[m, k])
            if i == m:
                for j in range(value.size):
                    value[j] = 1.0 / np.sqrt(max(value[j] + ridge, ridge))
            else:
                _times(value, factor[m, m])


@jit
def _apply(sums: Any, lost: Any, guides: Any, bands: Any, factor: Any, slope: Any, out: Any) -> None:
    """Solve for the slopes of each band, and apply them."""
    at = guides + bands + guides * (guides + 1) // 2
    for band in range(bands):
        for i in range(guides):
            slope[i] = sums[at]
            at += 1
            _less(slope[i], sums[i], sums[guides + band])
            for k in range(i):
                _less(slope[i], factor[i, k], slope[k])
            _times(slope[i], factor[i, i])
        for i in range(guides - 1, -1, -1):
            for k in range(i + 1, guides):
                _less(slope[i], factor[k, i], slope[k])
            _times(slope[i], factor[i, i])
        result = out[band]
        for j in range(result.size):
            total = 0.0
            for i in range(guides):
                total += slope[i, j] * lost[i, j]
            result[j] = total
