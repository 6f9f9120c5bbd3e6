"""What a network for any optical sensor reads of one band: the band, the mean of all bands, its MTF, its noise.

Bands are standardised by numbers of the whole image, so that planes do not depend on where an image is cut. The mean
is the same whatever the order of the bands, to the last bit.
"""

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
COUNT = 4
"""Planes of a band."""
MTF_RANGE = 0.05, 0.6
"""MTF at Nyquist that a plane can say; what lies beyond is said as the nearest."""
UNKNOWN_MTF = 0.25
"""MTF that stands in for an unknown one."""
LIKELY_MTF = 0.4
"""MTF above which an estimate counts as that: few sensors have more, and estimates over cities are too high."""
MTF_MIDDLE, MTF_UNIT = 0.275, 0.1
"""The plane of the MTF is its distance from the middle of training in these units."""
QUIET = 1e-3
"""Noise over the standard deviation of the band, below which it makes no difference."""
LOUD = 1.0
"""Most of it that a plane can say."""


def mean_of_bands(bands: Image) -> Image:
    """Mean over bands (band, h, w), in an order that depends on the values alone.

    >>> bands = np.array([1e8, 1.0, -1e8], np.float32)[:, None, None]
    >>> bool((mean_of_bands(bands) == mean_of_bands(bands[::-1])).all())
    True
    """
    mean: Image = np.sort(bands, axis=0).mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def planes(bands: Image, mtf: NDArray[np.float64], noise: NDArray[np.float64]) -> Image:
    """Stack what the network reads of each band.

    Parameters
    ----------
    bands
        Standardised bands, shape (band, h, w), finite.
    mtf
        Modulation transfer at the Nyquist frequency of each band; NaN is unknown.
    noise
        Standard deviation of the noise of each band, in units of its own standard deviation; NaN is none.

    Returns
    -------
    ndarray
        Shape (band, `COUNT`, h, w).
    """
    out = np.empty((len(bands), COUNT, *bands.shape[1:]), np.float32)
    out[:, 0] = bands
    out[:, 1] = mean_of_bands(bands)
    stated = np.clip(np.where(np.isfinite(mtf), mtf, UNKNOWN_MTF), *MTF_RANGE)
    loud = np.clip(np.where(np.isfinite(noise), noise, 0.0), QUIET, LOUD)
    out[:, 2] = ((stated - MTF_MIDDLE) / MTF_UNIT)[:, None, None]
    out[:, 3] = (np.log10(loud) + 2)[:, None, None]
    return out


def levels(means: NDArray[np.float64], variances: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Mean and standard deviation of bands from those of windows: medians, so that one cloud does not count.

    Parameters
    ----------
    means, variances
        Of each window, shape (window, band); NaN where it has no data.

    Returns
    -------
    mean, std : ndarray
        Shape (band,); zero where no window has data.
    """
    known = np.isfinite(means).any(axis=0)
    mean, std = np.zeros((2, means.shape[1]))
    mean[known] = np.nanmedian(means[:, known], axis=0)
    std[known] = np.sqrt(np.nanmedian(variances[:, known], axis=0))
    return mean, std


def moments(image: NDArray[np.floating]) -> tuple[float, float]:
    """Mean and variance of a window (h, w); NaN where it has no data."""
    known = image[np.isfinite(image)].astype(np.float64)
    return (float(known.mean()), float(known.var())) if known.size else (float("nan"), float("nan"))
