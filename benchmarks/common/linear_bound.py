"""What the best linear estimate from displaced dates can reach, where everything about them is known.

By the spectrum of the truth itself, taken as the same in all directions. Each frequency of the coarse grid holds as
many of the fine one as fine pixels lie in a coarse one; the dates observe their sum, each with phases of its own
displacement. The mean square error is the trace of the posterior covariance (Wiener), frequency by frequency.
"""

import numpy as np
from numpy.typing import NDArray

from xsr.core.sensors import sigma_px

Floats = NDArray[np.float64]


def spectrum(truth: NDArray[np.float32], side: int) -> Floats:
    """Power by frequency of an image (h, w), mean over all directions, on a grid of ``side`` x ``side`` frequencies."""
    window = np.outer(*(np.hanning(size) for size in truth.shape))
    power = np.abs(np.fft.fft2((truth - truth.mean()) * window)) ** 2 / (window**2).sum()
    distance = np.hypot(*np.meshgrid(*(np.fft.fftfreq(size) for size in truth.shape), indexing="ij"))
    ring = np.minimum(np.rint(distance * side).astype(int), side)
    total, count = (np.bincount(ring.ravel(), weights, side + 1) for weights in (power.ravel(), None))
    known = np.flatnonzero(count)
    curve = np.interp(np.arange(side + 1), known, total[known] / count[known])
    wanted = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij"))
    return np.asarray(np.interp(wanted * side, np.arange(side + 1), curve))


def least_error(power: Floats, scale: int, shifts: Floats, mtf: float, noise: float) -> float:
    """Root mean square error of the best linear estimate.

    Parameters
    ----------
    power
        Of the scene, by frequency of the fine grid, (n, n); n a multiple of the scale.
    scale
        Coarse pixel in fine pixels.
    shifts
        Displacement (down, right) of each date in coarse pixels, (date, 2).
    mtf
        Of the sensor at the Nyquist frequency of the coarse grid, the fine image having the same at its own.
    noise
        Standard deviation of each date.
    """
    side = len(power)
    coarse = side // scale
    f = np.fft.fftfreq(side)
    blur = np.sqrt(sigma_px(mtf, float(scale)) ** 2 - sigma_px(mtf, 1.0) ** 2)
    response = np.exp(-2 * (np.pi * blur) ** 2 * (f[:, None] ** 2 + f**2))
    # Fine frequencies that differ by multiples of the coarse sampling frequency fall on one another.
    index = (np.arange(coarse)[:, None] + coarse * np.arange(scale)) % side
    rows, cols = (
        np.broadcast_to(v, (coarse, coarse, scale, scale)) for v in (index[:, None, :, None], index[None, :, None, :])
    )
    variance, gain = (v[rows, cols].reshape(coarse, coarse, -1) for v in (power, response))
    down, right = (scale * shifts[:, axis] for axis in (0, 1))
    phase = np.exp(
        -2j
        * np.pi
        * (
            f[rows].reshape(coarse, coarse, 1, -1) * down[:, None]
            + f[cols].reshape(coarse, coarse, 1, -1) * right[:, None]
        )
    )
    observed = gain[:, :, None] * phase
    # A coarse pixel's noise, per frequency of the fine grid.
    precision = np.einsum("yxki,yxkj->yxij", observed.conj(), observed) / (scale**2 * noise**2)
    diagonal = np.arange(variance.shape[-1])
    precision[:, :, diagonal, diagonal] += 1 / np.maximum(variance, 1e-30)
    left = np.linalg.inv(precision)[:, :, diagonal, diagonal].real
    return float(np.sqrt(left.sum() / side**2))
