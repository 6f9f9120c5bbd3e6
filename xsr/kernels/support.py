"""How far the sensor supports what a finer image shows: the share that it measured, and what it contradicts.

With A the sensor, from the fine image to the pixels of the low-resolution one, and A+ its pseudo-inverse (see
`xsr.kernels.consistency`), the detail d that an image has beyond the interpolated low-resolution image is the sum of
``A+ A d``, which the sensor measures, and of ``d - A+ A d``, of which it observes nothing: the network inferred it. The
two are orthogonal, so that their energies add up.

Images are arrays (n, h, w) on the low-resolution grid in which NaN is no data.
"""

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.kernels import sharpness
from xsr.kernels.degrade import BandOptics
from xsr.kernels.psf import Gaussian, Stage

Image = NDArray[np.float32]
WINDOW = 0.5
"""Standard deviation, in low-resolution pixels, of the Gaussian that weighs the energy of detail around a pixel."""
NEAR, WIDE = 1.0, 4.0
"""Standard deviations, in low-resolution pixels, of the Gaussians that say what the contrast is around a pixel, and
what is usual in its surroundings."""
FLAT = 1e-4
"""Reflectance below which detail counts as none: a digital number of most products."""
NOISE = 1e-3
"""Standard deviation of the noise in reflectance where none is given: about that of Sentinel-2 over land."""
TOLERATED = 0.2
"""Share of the local contrast by which results usually miss the image that they were made from."""
SPREAD = 0.5
"""Standard deviation of the inferred detail over what is usual there."""
HALO = 2 * sharpness.reach((NEAR,)) + sharpness.reach((WIDE,))
"""Low-resolution pixels around a pixel that `hallucination` depends on."""


def window_optics(scale: float) -> BandOptics:
    """Weights of the window of detail around each low-resolution pixel, ``scale`` fine pixels wide."""
    stages = (Stage(Gaussian(WINDOW * scale), scale),)
    return BandOptics(stages, stages)


def measured_share(measured: Image, inferred: Image) -> Image:
    """Share of the detail that was measured, from 0 to 1, of mean squares in reflectance; 1 where there is no detail.

    >>> measured_share(np.float32([9e-4, 0, 0]), np.float32([3e-4, 3e-4, 0])).round(3).tolist()
    [0.75, 0.0, 1.0]
    """
    none = np.float32(FLAT**2)
    return np.asarray((measured + none) / (measured + inferred + none), np.float32)


def hallucination(residual: Image, inferred: Image, low: Image, *, noise: float) -> Image:
    """How unusual a result is, in standard deviations: its contradiction to the image, and detail that was inferred.

    The contradiction counts in units of the noise and of a fifth of the local contrast, which results miss anyway. The
    inferred detail counts as far as it exceeds what is usual: the ratio of inferred detail to contrast in the
    surroundings, times the contrast here. The score is the root of the sum of both squares.

    Parameters
    ----------
    residual
        Low-resolution image less the one observed again.
    inferred
        Mean squares of the inferred detail.
    low
        Low-resolution image.
    noise
        Standard deviation of its noise.
    """
    contrast = _smooth(np.square(low - _smooth(low, NEAR)), NEAR)
    expected = noise**2 + TOLERATED**2 * contrast
    ratio = _smooth(inferred, WIDE) / (_smooth(contrast, WIDE) + np.float32(FLAT**2))
    usual = noise**2 + ratio * contrast
    excess = np.maximum(np.sqrt(inferred / usual) - 1, 0) / SPREAD
    return np.asarray(np.sqrt(np.square(residual) / expected + np.square(excess)), np.float32)


def _smooth(images: Image, sigma: float) -> Image:
    rows, cols = (Span(0, size) for size in images.shape[1:])
    return sharpness.soften(images, (sigma, sigma), rows=rows, cols=cols)
