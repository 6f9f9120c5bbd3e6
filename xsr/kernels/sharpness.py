"""How sharp images are: made softer or sharper, and the Gaussian that leaves the least error between two.

Images are arrays (n, h, w) in which NaN is no data. Widths are standard deviations in pixels.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from xsr.core.blocks import Span
from xsr.kernels import psf
from xsr.kernels.decimate import decimate
from xsr.kernels.degrade import BandOptics, observe
from xsr.kernels.resample import fill_nodata
from xsr.kernels.taps import Taps

Image = NDArray[np.float32]
LEAST_PX = 0.2
"""Least width that is tried beside none."""
STEP = 1.2
"""Ratio of a width that is tried to the one before."""


def widths(largest_px: float) -> tuple[float, ...]:
    """List the widths to try: none, then one a `STEP` wider than the other, the last the first beyond ``largest_px``.

    >>> widths(0.25)
    (0.0, 0.2, 0.24, 0.288)
    """
    steps = max(1, math.ceil(math.log(largest_px / LEAST_PX, STEP) - 1e-9))
    return 0.0, *(round(LEAST_PX * STEP**step, 9) for step in range(steps + 1))


def reach(sigma_px: Sequence[float]) -> int:
    """Pixels around a pixel that its softened value depends on, for the widths along y and x."""
    return max((psf.reach_px(psf.chain(psf.narrow(sigma), 1.0)) for sigma in sigma_px if sigma > 0), default=0)


def soften(images: Image, sigma_px: tuple[float, float], *, rows: Span, cols: Span) -> Image:
    """Blur images by a Gaussian at some of their pixels.

    Parameters
    ----------
    images
        Stack (n, h, w), continued by reflection.
    sigma_px
        Width along (y, x).
    rows, cols
        Pixels to evaluate.

    Returns
    -------
    ndarray
        Shape (n, len(rows), len(cols)), float32: a pixel is NaN where it was, and the sum over the valid pixels around
        it, divided by their share of the weights, elsewhere.
    """
    here = images[:, rows.slice, cols.slice]
    if max(sigma_px) == 0:
        return np.where(np.isfinite(here), here, np.float32(np.nan))
    y, x = (psf.chain(psf.narrow(sigma), 1.0) for sigma in sigma_px)
    out = observe(images, BandOptics(y, x), rows=rows, cols=cols, min_valid=0.0)
    return np.where(np.isfinite(here), out, np.float32(np.nan))


REACH = 8
"""Half-width of the weights of a change of sharpness."""


@lru_cache(maxsize=64)
def weights(gain: float) -> tuple[float, ...]:
    """Weights of 2 `REACH` + 1 pixels that change the sharpness of an image along one axis.

    The response at f cycles per pixel is that of a Gaussian blur, ``gain ** (2 f) ** 2`` with ``gain`` the one at the
    Nyquist frequency; above 1 that of its inverse, which amplifies noise as much. Sampled Gaussians are another blur
    where they are narrow; these weights are the closest to the response by least squares, relative to it above 1.

    >>> [round(weight, 3) for weight in weights(0.5)[6:11]]
    [-0.019, 0.108, 0.811, 0.108, -0.019]
    """
    if gain == 1:
        return (0.0,) * REACH + (1.0,) + (0.0,) * REACH
    frequency = (np.arange(512) + 0.5) / 1024
    wanted = gain ** (2 * frequency) ** 2
    cosines, scale = np.cos(2 * np.pi * frequency[:, None] * np.arange(REACH + 1)), np.maximum(wanted, 1.0)
    half = np.linalg.lstsq(cosines / scale[:, None], wanted / scale, rcond=None)[0]
    whole = np.concatenate([half[:0:-1] / 2, half[:1], half[1:] / 2])
    return tuple((whole / whole.sum()).tolist())


def change(images: Image, gain: tuple[float, float]) -> Image:
    """Change the sharpness of images by responses at the Nyquist frequency.

    Parameters
    ----------
    images
        Stack (n, h, w), continued by reflection; no data are filled from their neighbours first.
    gain
        Response at the Nyquist frequency along (y, x); see `weights`.

    Returns
    -------
    ndarray
        Same shape, float32, NaN where it was. Pixels nearer than `MARGIN` to the border depend on what is beyond it.
    """
    valid = np.isfinite(images)
    if not valid.any():
        return images
    filled = fill_nodata(images, passes=REACH, constant=0.0)
    rows, cols = (
        Taps(np.arange(size) - REACH, np.array([weights(one)]), np.zeros(size, np.int64))
        for one, size in zip(gain, images.shape[1:], strict=True)
    )
    return np.where(valid, decimate(filled, rows, cols), np.float32(np.nan))


MARGIN = 2 * REACH
"""Pixels around a pixel on which its value by `change` depends: those weighed, and those they are filled from."""


def least(sigmas: Sequence[float], errors: NDArray[np.float64]) -> float:
    """Find the width of the least error between those that were tried.

    Parameters
    ----------
    sigmas
        Ascending widths, the first 0.
    errors
        Mean square error of each.

    Returns
    -------
    float
        Where a cubic spline through the errors, level at 0, is least; 0 where the first error is the least, infinite
        where the last is.
    """
    at = int(np.argmin(errors))
    if at in (0, len(sigmas) - 1):
        return 0.0 if at == 0 else math.inf
    spline = CubicSpline(sigmas, errors, bc_type=((1, 0.0), "not-a-knot"))
    level = spline.derivative().roots(extrapolate=False)
    between = [sigmas[at], *level[(level > sigmas[at - 1]) & (level < sigmas[at + 1])]]
    return float(between[np.argmin(spline(between))])
