"""Sub-pixel shift between two images of one scene, by correlation of their gradients in the Fourier domain.

References
----------
M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, Opt. Lett. 33 (2008), doi:10.1364/OL.33.000156: the upsampled
cross-correlation. V. Argyriou, T. Vlachos, BMVC (2003), doi:10.5244/C.17.66: complex gradients, which do not depend on
differences of brightness.
"""

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span, spread

WINDOW = 256
"""Side in pixels of the windows that shifts are measured in."""
WINDOWS = 3
"""Most windows along an axis."""
UPSAMPLING = 100
"""Parts of a pixel that a shift is found to."""
LEAST_VALID = 0.1
"""Least share of a window that both images must show."""
TAPER = 8.0
"""Pixels over which gradients fade to nothing around what is not valid."""


def spread_windows(size: int) -> list[Span]:
    """Windows along an axis in which shifts are measured, spread evenly from end to end."""
    return spread(size, side=WINDOW, count=min(WINDOWS, max(1, size // WINDOW)))


def find_shift(reference: NDArray[np.floating], moving: NDArray[np.floating]) -> tuple[float, float, float]:
    """Find by how much the content of an image is displaced from that of a reference.

    Parameters
    ----------
    reference, moving
        Images (h, w); NaN is no data.

    Returns
    -------
    down, right
        Displacement towards greater rows and columns in pixels; NaN where there is too little texture.
    quality
        Correlation of the gradients once the images are registered: 1 for the same image.

    Notes
    -----
    Both are looked at where both are valid, for else the outline of a cloud would be what correlates. The second pass
    moves by whole pixels what the first has found, so that the common outline binds less.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((64, 64))
    >>> find_shift(image, np.roll(image, (2, -3), (0, 1)))[:2]
    (2.0, -3.0)
    """
    down, right, quality = _correlate(reference, moving)
    if not np.isfinite(quality) or max(abs(down), abs(right)) < 0.5:
        return down, right, quality
    whole = round(down), round(right)
    rest_down, rest_right, quality = _correlate(reference, np.roll(moving, (-whole[0], -whole[1]), (0, 1)))
    return whole[0] + rest_down, whole[1] + rest_right, quality


def _correlate(reference: NDArray[np.floating], moving: NDArray[np.floating]) -> tuple[float, float, float]:
    from skimage.registration import phase_cross_correlation

    valid = np.isfinite(reference) & np.isfinite(moving)
    nothing = (float("nan"), float("nan"), float("nan"))
    if min(valid.shape) < 2 or valid.mean() < LEAST_VALID:
        return nothing
    weight = _weight(valid)
    ours, theirs = (_gradient(image, valid) * weight for image in (reference, moving))
    if not (np.any(ours) and np.any(theirs)):
        return nothing
    found, error, _ = phase_cross_correlation(ours, theirs, upsample_factor=UPSAMPLING, normalization=None)
    quality = float(np.sqrt(max(0.0, 1.0 - float(error) ** 2)))
    return -float(found[0]) + 0.0, -float(found[1]) + 0.0, quality


def _gradient(image: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.complex128]:
    """Gradient along x and y as real and imaginary part, lightly smoothed."""
    from scipy.ndimage import gaussian_filter

    filled = np.where(valid, image, image[valid].mean(dtype=np.float64)).astype(np.float64)
    down, right = np.gradient(gaussian_filter(filled, 0.7))
    return np.asarray(right + 1j * down)


def _weight(valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weight of each pixel: none at the border and beside what is not valid."""
    from scipy.ndimage import distance_transform_edt

    sides = [np.hanning(size + 2)[1:-1] for size in valid.shape]
    window: NDArray[np.float64] = sides[0][:, None] * sides[1]
    return window if valid.all() else window * np.minimum(distance_transform_edt(valid), TAPER) / TAPER
