"""Similarity of two images in sliding windows: SSIM, the universal quality index and the correlation of their detail.

Every function takes one date of a window, arrays (band, h, w) in which NaN and infinities are no data. A window of
pixels counts only if it lies inside and is valid throughout.

References
----------
Z. Wang, A. C. Bovik, "A universal image quality index", IEEE SPL 9 (2002), doi:10.1109/97.995823.
Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE TIP 13 (2004), doi:10.1109/TIP.2003.819861.
J. Zhou, D. L. Civco, J. A. Silander, "A wavelet transform method to merge Landsat TM and SPOT panchromatic data",
Int. J. Remote Sensing 19 (1998), doi:10.1080/014311698215973.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.kernels.accelerate import jit

SSIM_RADIUS = 5
UQI_SIZE = 8
LAPLACIAN_RADIUS = 1
SIMILARITY, QUALITY, CORRELATION = range(3)
"""Kinds of index; see `window_map`."""
ROUNDING = 1e-12
"""Variance relative to the mean square below which a window is flat: rounding of float64 sums, not contrast."""


def gaussian_window() -> NDArray[np.float64]:
    """Window of SSIM: Gaussian of sigma 1.5 cut at 3.5 sigma, 11 weights (Wang et al. 2004; scikit-image)."""
    weight = np.exp(-0.5 * (np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1) / 1.5) ** 2)
    return np.asarray(weight / weight.sum(), np.float64)


def uniform_window() -> NDArray[np.float64]:
    """Window of UQI and SCC: 8 equal weights (Wang & Bovik 2002)."""
    return np.full(UQI_SIZE, 1.0 / UQI_SIZE)


@jit
def _index(kind: int, mx: float, my: float, xx: float, yy: float, xy: float, c1: float, c2: float) -> float:
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    if kind == 0:
        return (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    flat_x, flat_y = vx <= ROUNDING * xx, vy <= ROUNDING * yy
    if kind == 2:
        return 0.0 if flat_x or flat_y else cov / np.sqrt(vx * vy)
    level = mx * mx + my * my
    if level == 0.0:
        return 1.0
    if flat_x and flat_y:
        return 2 * mx * my / level
    return 4 * cov * mx * my / ((vx + vy) * level)


@jit
def _windows(image: Any, reference: Any, taps: Any, kind: int, c1: float, c2: float, out: Any) -> None:
    bands, height, width = image.shape
    size = taps.size
    lines = np.empty((5, width), np.float64)
    sums = np.empty((5, max(0, width - size + 1)), np.float64)
    for b in range(bands):
        for i in range(height - size + 1):
            lines[:] = 0.0
            for t in range(size):
                w = taps[t]
                row_x, row_y = image[b, i + t], reference[b, i + t]
                for j in range(width):
                    x, y = np.float64(row_x[j]), np.float64(row_y[j])
                    wx, wy = w * x, w * y
                    lines[0, j] += wx
                    lines[1, j] += wy
                    lines[2, j] += wx * x
                    lines[3, j] += wy * y
                    lines[4, j] += wx * y
            sums[:] = 0.0
            for k in range(5):
                for t in range(size):
                    w = taps[t]
                    for j in range(width - size + 1):
                        sums[k, j] += w * lines[k, j + t]
            for j in range(width - size + 1):
                value = _index(kind, sums[0, j], sums[1, j], sums[2, j], sums[3, j], sums[4, j], c1, c2)
                out[b, i, j] = value if np.isfinite(value) and np.isfinite(sums[4, j]) else np.nan


def window_map(
    image: NDArray[Any],
    reference: NDArray[Any],
    *,
    window: NDArray[np.float64],
    kind: int,
    data_range: float = 0.0,
) -> NDArray[np.float64]:
    """Index of every window inside, NaN where it is not valid throughout.

    Parameters
    ----------
    image, reference
        Shape (band, h, w).
    window
        Separable weights; see `gaussian_window` and `uniform_window`.
    kind
        `SIMILARITY`: SSIM with K1 = 0.01, K2 = 0.03 and population covariance (Wang et al. 2004, eq. 13).
        `QUALITY`: UQI (Wang & Bovik 2002, eq. 2), 1 for two black windows. `CORRELATION`: coefficient of
        correlation, 0 where a window is flat.
    data_range
        Range of the data, for SSIM.

    Returns
    -------
    ndarray
        Shape (band, h - n + 1, w - n + 1) for windows of n pixels.
    """
    out = np.empty((image.shape[0], *(max(0, size - window.size + 1) for size in image.shape[1:])))
    pair = np.ascontiguousarray(image), np.ascontiguousarray(reference)  # of known strides, for vector instructions
    _windows(*pair, window, kind, (0.01 * data_range) ** 2, (0.03 * data_range) ** 2, out)
    return out


@jit
def _laplacian(image: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                total = 9.0 * image[b, i + 1, j + 1]
                for u in range(3):
                    for v in range(3):
                        total -= np.float64(image[b, i + u, j + v])
                out[b, i, j] = total


def laplacian(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """High-pass of SCC, weights 8 in the middle and -1 around it; shape (band, h - 2, w - 2)."""
    out = np.empty((image.shape[0], max(0, image.shape[1] - 2), max(0, image.shape[2] - 2)))
    _laplacian(image, out)
    return out
