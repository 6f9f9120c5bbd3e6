"""Spectral sums of an image and its reference over tapered patches: power, cross-power and their ring sums.

References
----------
P. D. Welch, "The use of fast Fourier transform for the estimation of power spectra", IEEE Trans. Audio Electroacoust.
15 (1967), doi:10.1109/TAU.1967.1161901.
N. Banterle, K. H. Bui, E. A. Lemke, M. Beck, "Fourier ring correlation as a resolution criterion for super-resolution
microscopy", J. Struct. Biol. 183 (2013), doi:10.1016/j.jsb.2013.05.004.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.kernels.accelerate import jit, jit_sums

THRESHOLD = 1 / 7
"""Ring correlation at which detail counts as lost."""

IMAGE, REFERENCE, CROSS = range(3)
"""Rows of `ring_sums`."""


@dataclass(frozen=True)
class Rings:
    """Rings of spatial frequency of a patch."""

    size: tuple[int, int]
    """Patch (y, x) in pixels."""
    pixel_m: tuple[float, float]
    """Pixel size (y, x) in metres."""

    @property
    def step(self) -> float:
        """Width of a ring in cycles per metre: the coarser of the two frequency steps."""
        return max(1 / (n * g) for n, g in zip(self.size, self.pixel_m, strict=True))

    @property
    def count(self) -> int:
        """Rings from 0 up to the lower of the two Nyquist frequencies."""
        return round(min(0.5 / g for g in self.pixel_m) / self.step) + 1

    def frequency(self) -> NDArray[np.float64]:
        """Middle of every ring in cycles per metre."""
        return np.arange(self.count, dtype=np.float64) * self.step


@lru_cache(maxsize=8)
def _plan(rings: Rings) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Taper (h, w); ring of every coefficient of a real transform; and how often the coefficient stands for."""
    (height, width), (down, across) = rings.size, rings.pixel_m
    taper = _hann(height)[:, None] * _hann(width)
    radius = np.hypot(np.fft.fftfreq(height, down)[:, None], np.fft.rfftfreq(width, across))
    ring = np.rint(radius / rings.step).astype(np.int64)
    twice = np.full(ring.shape, 2.0)
    twice[:, 0] = 1.0
    if width % 2 == 0:
        twice[:, -1] = 1.0
    return taper, np.minimum(ring, rings.count), twice


def _hann(size: int) -> NDArray[np.float64]:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size), np.float64)


def ring_sums(image: NDArray[Any], reference: NDArray[Any], rings: Rings) -> NDArray[np.float64]:
    """Ring sums of one patch: power of the image, of the reference, and real part of the cross-power.

    Parameters
    ----------
    image, reference
        Shape (band, *rings.size).
    rings
        Frequencies.

    Returns
    -------
    ndarray
        Shape (band, 3, count + 1), the last column the number of patches; 0 for a band with any pixel of no data.
    """
    from scipy.fft import rfft2  # transforms several lines at once, which NumPy's does not

    taper, ring, twice = _plan(rings)
    out = np.zeros((image.shape[0], 3, rings.count + 1))
    pair = np.empty((2, *rings.size))
    for b in range(image.shape[0]):
        if _taper(image[b], taper, pair[0]) and _taper(reference[b], taper, pair[1]):
            one, two = rfft2(pair)
            _add_rings(one, two, ring, twice, out[b])
            out[b, :, -1] = 1
    return out


@jit_sums
def _taper(image: Any, taper: Any, out: Any) -> bool:
    """Take its mean from an image and taper it; whether all of its pixels are valid."""
    total, weight = 0.0, 0.0
    for i in range(taper.shape[0]):
        for j in range(taper.shape[1]):
            total += image[i, j] * taper[i, j]
            weight += taper[i, j]
    mean = total / weight
    if not np.isfinite(mean):
        return False
    for i in range(taper.shape[0]):
        for j in range(taper.shape[1]):
            out[i, j] = (image[i, j] - mean) * taper[i, j]
    return True


@jit
def _add_rings(one: Any, two: Any, ring: Any, twice: Any, out: Any) -> None:
    """Add the powers and the real cross-power of two transforms to the sums of their rings."""
    for i in range(ring.shape[0]):
        for j in range(ring.shape[1]):
            k, w, a, b = ring[i, j], twice[i, j], one[i, j], two[i, j]
            out[0, k] += w * (a.real * a.real + a.imag * a.imag)
            out[1, k] += w * (b.real * b.real + b.imag * b.imag)
            out[2, k] += w * (a.real * b.real + a.imag * b.imag)


def density(rings: Rings) -> NDArray[np.float64]:
    """Factor from ring sums of one patch to power density in reflectance² m², shape (count,)."""
    taper, ring, twice = _plan(rings)
    samples = np.bincount(ring.ravel(), twice.ravel(), rings.count + 1)[:-1]
    factor = rings.pixel_m[0] * rings.pixel_m[1] / (taper**2).sum() / np.maximum(samples, 1)
    return np.asarray(factor, np.float64)


def crossing(frequency: NDArray[np.float64], correlation: NDArray[np.float64]) -> float:
    """Frequency at which the ring correlation first falls below 1/7, by linear interpolation.

    The last frequency if it never does; NaN if nothing is known. Ring 0, the mean, does not count.
    """
    known = np.isfinite(correlation[1:])
    if not known.any():
        return float("nan")
    f, c = frequency[1:][known], correlation[1:][known]
    below = np.flatnonzero(c < THRESHOLD)
    if not below.size:
        return float(f[-1])
    k = int(below[0])
    if k == 0:
        return float(f[0])
    return float(f[k - 1] + (c[k - 1] - THRESHOLD) / (c[k - 1] - c[k]) * (f[k] - f[k - 1]))


def curves(total: NDArray[np.float64], rings: Rings) -> NDArray[np.float64]:
    """Spectra of one band from the total of `ring_sums`, shape (6, count).

    Rows: power of the image and of the reference, their ratio, ring correlation, transfer; and last the resolution in
    metres and the number of patches in the first two places.
    """
    image, reference, cross = total[:, :-1]
    patches = total[0, -1]
    out = np.full((6, rings.count), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        out[0], out[1] = (power * density(rings) / patches for power in (image, reference))
        out[2] = image / reference
        out[3] = cross / np.sqrt(image * reference)
        out[4] = cross / reference
    out[2:5, 0] = np.nan  # the mean is removed
    out[5, 0] = 1 / crossing(rings.frequency(), out[3])
    out[5, 1] = patches
    return out
