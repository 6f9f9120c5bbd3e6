"""Detail of bands of much larger pixels: regressions of a near window and a far one together, each with its own ridge.

A window has few pixels of 60 m for ten sharp bands, so a regression on that window alone follows chance. Here the
covariances of a wider window count as well, with `SHARE` of the weight: as a prior, the regression of the wider window.

The ridge of each pixel and band is as large as the misfit demands (empirical Bayes). Where a first regression explains
almost all of the band, slopes may be exact; where it does not, at clouds and coasts, relations are not linear, and
exact slopes would extrapolate. The ridge follows each sharp band's own variance, so that none counts by its units.

A band observed with so large pixels is smooth on the grid, and so are slopes: sums and slopes are computed at every
`STEP`-th pixel, on the lattice of the larger pixels, and slopes are interpolated between. As `xsr.kernels.injection`
otherwise.

References
----------
A. E. Hoerl, R. W. Kennard, "Ridge regression: biased estimation for nonorthogonal problems", Technometrics 12 (1970),
doi:10.1080/00401706.1970.10488634.
C. N. Morris, "Parametric empirical Bayes inference: theory and applications", JASA 78 (1983),
doi:10.1080/01621459.1983.10477920.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.kernels.accelerate import jit
from xsr.kernels.degrade import BandOptics, observe
from xsr.kernels.gaps import tent_sums
from xsr.kernels.injection import reach

STEP = 3
"""Pixels from one regression to the next along each axis."""
NEAR, FAR = 4, 12
"""Steps on every side at which the weights of the two windows, which fall linearly along each axis, come to nothing."""
SHARE = 0.3
"""Weight of the far window, that of the near one being 1."""
RIDGE = 3e-7
"""Squared reflectance that counts as noise of the sharp bands, observed as the coarse ones are."""
FIRST = 1e-3
"""Share of each sharp band's variance that counts as noise as well, in the regression whose misfit sets the next."""
GROWTH, LEAST, MOST = 0.3, 1e-4, 0.1
"""That share in the next: so much of the share of the coarse band's variance that is not explained, within limits."""
TINY = 1e-9
"""Squared reflectance added to that variance, so that a flat band is no division by zero."""


def margin(optics: BandOptics) -> int:
    """Pixels needed around a block by `pooled_detail`."""
    return reach([optics]) + STEP * (FAR + 1)


def pooled_detail(
    images: NDArray[np.float32],
    sharp: Sequence[int],
    coarse: Sequence[int],
    optics: BandOptics,
    *,
    corner: tuple[int, int] = (0, 0),
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

    Returns
    -------
    ndarray
        Shape (n, coarse band, h - 2 margin, w - 2 margin): what to add to the coarse bands.

    Notes
    -----
    With x the sharp bands, S x the same observed as a coarse band y is, and ``C``, ``c`` the covariances of S x with
    itself and with y, those of the near window plus `SHARE` times those of the far one over ``1 + SHARE``, the detail
    is ``a (x - S x)``, ``a = (C + RIDGE I + s diag(C))^-1 c``. A first fit has ``s = FIRST``; the next ``s = GROWTH
    (1 - R²)`` of the first, within `LEAST` and `MOST`.
    """
    around, edge = reach([optics]), margin(optics)
    count, _, height, width = images.shape
    out = np.empty((count, len(coarse), height - 2 * edge, width - 2 * edge), np.float32)
    rows, cols = (
        Span(first + around, first + size - around) for first, size in zip(corner, (height, width), strict=True)
    )
    # The middle of each STEP pixels of the lattice of the larger pixels.
    begin = [(STEP // 2 - span.start) % STEP for span in (rows, cols)]
    sparse = (..., slice(begin[0], None, STEP), slice(begin[1], None, STEP))
    trim, inner = (..., slice(around, height - around), slice(around, width - around)), edge - around
    for image, made in zip(images, out, strict=True):
        guide = image[list(sharp)]
        blurred = observe(guide, optics, rows=rows, cols=cols, origin=corner)
        lost = np.ascontiguousarray((guide[trim] - blurred)[..., inner:-inner, inner:-inner])
        known = np.concatenate([blurred[sparse], image[list(coarse)][trim][sparse]]).astype(np.float64)
        # Offsets do not count; without them sums of squares keep their digits.
        known -= known.mean(axis=(1, 2), keepdims=True)
        slopes = np.empty((len(coarse), len(sharp), *(size - 2 * FAR for size in known.shape[1:])))
        _fit(_covariances(known, NEAR, FAR - NEAR), _covariances(known, FAR, 0), len(sharp), slopes)
        down, right = (inner - first - STEP * FAR for first in begin)
        _apply(slopes, lost, down, right, made)
    return out


def _covariances(images: NDArray[np.float64], window: int, border: int) -> NDArray[np.float64]:
    """Find covariances of all pairs of images in windows: (pair, h, w), the pairs row by row of a lower triangle.

    ``border`` lines along each side are left out, so that windows of two sizes meet.
    """
    inside = images[:, border : images.shape[1] - border, border : images.shape[2] - border]
    scale = float(window + 1) ** 4
    means = tent_sums(inside, window) / scale
    pairs = [(i, j) for i in range(len(inside)) for j in range(i + 1)]
    return np.stack([tent_sums(inside[[i]] * inside[j], window)[0] / scale - means[i] * means[j] for i, j in pairs])


@jit
def _fit(near: Any, far: Any, guides: Any, out: Any) -> None:
    """Regress at every pixel: slopes (band, guide, h, w), from the covariances of guides and then bands."""
    bands, _, height, width = out.shape
    total, factor, slope = np.empty(near.shape[0]), np.zeros((guides, guides)), np.empty(guides)
    for i in range(height):
        for j in range(width):
            for q in range(len(total)):
                total[q] = (near[q, i, j] + SHARE * far[q, i, j]) / (1.0 + SHARE)
            for band in range(bands):
                row = guides + band
                row = row * (row + 1) // 2
                _factorise(total, guides, FIRST, factor)
                _substitute(factor, total[row : row + guides], slope)
                variance = total[row + guides + band]
                left = variance
                for k in range(guides):
                    own = total[k * (k + 3) // 2]
                    left -= slope[k] * total[row + k] + (RIDGE + FIRST * own) * slope[k] ** 2
                spread = min(max(GROWTH * left / (variance + TINY), LEAST), MOST)
                _factorise(total, guides, spread, factor)
                _substitute(factor, total[row : row + guides], slope)
                for k in range(guides):
                    out[band, k, i, j] = slope[k]


@jit
def _factorise(total: Any, guides: Any, spread: Any, factor: Any) -> None:
    """Cholesky factor of the covariances of the guides, with their noise."""
    at = 0
    for i in range(guides):
        for j in range(i + 1):
            value = total[at]
            at += 1
            if i == j:
                value += RIDGE + spread * value
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            factor[i, j] = np.sqrt(max(value, RIDGE)) if i == j else value / factor[j, j]


@jit
def _substitute(factor: Any, right: Any, slope: Any) -> None:
    guides = len(slope)
    for i in range(guides):
        value = right[i]
        for k in range(i):
            value -= factor[i, k] * slope[k]
        slope[i] = value / factor[i, i]
    for i in range(guides - 1, -1, -1):
        value = slope[i]
        for k in range(i + 1, guides):
            value -= factor[k, i] * slope[k]
        slope[i] = value / factor[i, i]


@jit
def _apply(slopes: Any, lost: Any, down: Any, right: Any, out: Any) -> None:
    """Apply slopes, interpolated linearly, to what was lost; its first pixel lies so far from the first slopes."""
    bands, guides = slopes.shape[:2]
    for band in range(bands):
        for i in range(out.shape[1]):
            top, low = (down + i) // STEP, ((down + i) % STEP) / STEP
            for j in range(out.shape[2]):
                left, far = (right + j) // STEP, ((right + j) % STEP) / STEP
                total = 0.0
                for k in range(guides):
                    one = slopes[band, k]
                    above = (1 - far) * one[top, left] + far * one[top, left + 1]
                    below = (1 - far) * one[top + 1, left] + far * one[top + 1, left + 1]
                    total += ((1 - low) * above + low * below) * lost[k, i, j]
                out[band, i, j] = total
