"""Local attribution of an image's gradients: the path from a blurred input, what is explained, and how it spreads.

References
----------
J. Gu, C. Dong, "Interpreting Super-Resolution Networks with Local Attribution Maps", CVPR 2021,
doi:10.1109/CVPR46437.2021.00908, arXiv:2011.11036.
M. Sundararajan, A. Taly, Q. Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, arXiv:1703.01365.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from xsr.kernels import psf

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
SIGMA_PX = 1.2
"""Standard deviation in pixels of the Gaussian at the beginning of the path."""
RADIUS = math.ceil(4 * SIGMA_PX)
"""Pixels on every side that it weighs, all along the path."""
RING = 1
"""Pixels around a patch that its gradients read."""


def blurred(images: Image, sigma_px: float) -> Image:
    """Blur images by a Gaussian, over their valid pixels.

    Parameters
    ----------
    images
        Shape (..., h, w), continued by reflection; NaN and infinities are no data.
    sigma_px
        Standard deviation in pixels; 0 changes nothing.

    Returns
    -------
    ndarray
        The same shape; NaN where there are no data.
    """
    valid = np.isfinite(images)
    steps = np.arange(-RADIUS, RADIUS + 1.0)
    # A Gaussian of pixels is the response of one of 1 / (2 pi sigma) pixels.
    weight = psf.gaussian_response(steps, 1 / (2 * math.pi * sigma_px)) if sigma_px > 0 else (steps == 0) * 1.0
    total, share = np.where(valid, images, 0).astype(np.float64), valid.astype(np.float64)
    for axis in (-2, -1):
        total, share = (correlate1d(v, weight / weight.sum(), axis=axis, mode="mirror") for v in (total, share))
    return np.where(valid, total / np.where(valid, share, 1), np.nan).astype(np.float32)


def gradient_sum(patch: Floats) -> tuple[float, Floats]:
    """Sum the magnitudes of the gradients of a patch, and differentiate that sum.

    Parameters
    ----------
    patch
        Shape (..., h + 2 `RING`, w + 2 `RING`), finite.

    Returns
    -------
    total : float
        Sum over the patch without its ring of ``sqrt(Dx^2 + Dy^2)``, with D central differences.
    derivative : ndarray
        Of the sum by each pixel, the shape of the patch; zero where the gradient is zero.

    Examples
    --------
    >>> total, derivative = gradient_sum(np.arange(5.0) * np.ones((3, 1)))
    >>> total, derivative[1].tolist()
    (3.0, [-0.5, -0.5, 0.0, 0.5, 0.5])
    """
    down = (patch[..., 2:, 1:-1] - patch[..., :-2, 1:-1]) / 2
    right = (patch[..., 1:-1, 2:] - patch[..., 1:-1, :-2]) / 2
    size = np.hypot(down, right)
    unit = np.where(size > 0, 0.5 / np.where(size > 0, size, 1), 0)
    derivative = np.zeros(patch.shape)
    derivative[..., 2:, 1:-1] += down * unit
    derivative[..., :-2, 1:-1] -= down * unit
    derivative[..., 1:-1, 2:] += right * unit
    derivative[..., 1:-1, :-2] -= right * unit
    return float(size.sum()), derivative


def diffusion_index(attribution: Floats) -> Floats:
    """Find how widely an attribution spreads: ``100 (1 - G)``, G the Gini coefficient of its magnitudes.

    Parameters
    ----------
    attribution
        Shape (..., h, w).

    Returns
    -------
    ndarray
        Shape (...): 100 where all pixels count alike, near 0 where one pixel counts alone; NaN where none does.

    Examples
    --------
    >>> diffusion_index(np.ones((1, 10, 10))).tolist(), diffusion_index(np.eye(10)[:1]).round().tolist()
    ([100.0], 10.0)
    """
    size = np.sort(np.abs(attribution).reshape(*attribution.shape[:-2], -1), axis=-1)
    count, total = size.shape[-1], size.sum(axis=-1)
    rank = 2 * np.arange(1, count + 1) - count - 1
    gini = (rank * size).sum(axis=-1) / (count * np.where(total > 0, total, np.nan))
    return np.asarray(100 * (1 - gini))
