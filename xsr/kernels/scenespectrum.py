"""Modulation transfer and noise of an image, from its own power spectrum.

The spectrum of a scene falls as a power of the frequency, whatever the scale at which it is looked at; what falls
faster is the instrument, and what does not fall is noise.
The model of the power at frequency f, in cycles per pixel, is::

    S(f) = sum over aliases g of f:  A |g|^-slope  exp(-4 pi^2 (sigma_y^2 g_y^2 + sigma_x^2 g_x^2))   +  noise^2

The aliases are part of it: at the Nyquist frequency of an image with an MTF of 0.3 half of the power is folded back.

References
----------
D. J. Field, Journal of the Optical Society of America A 4 (1987), doi:10.1364/JOSAA.4.002379 (spectra of scenes).
P. Whittle, Arkiv foer Matematik 2 (1953), doi:10.1007/BF02590998 (likelihood of a spectrum).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve
from scipy.optimize import minimize

from xsr.kernels.psf import gaussian_response

Floats = NDArray[np.float64]
PATCH = 64
"""Side of the patches in pixels."""
LEAST = 32
"""Least side of a patch."""
LOWEST = 0.06
"""Cycles per pixel below which the taper of a patch hides the spectrum."""
SLOPE = 2.2
"""Slope that scenes of land have in the mean, measured on degraded images."""
PULL = 0.005
"""Weight of the departure from that slope, per frequency."""
AGREE = 0.01
"""Weight of the difference of the logarithms of the variances along y and x, per frequency."""
SCENE = 0.2
"""Error of the logarithm of the MTF that is due to scenes that follow no power of the frequency."""
BLOCK = 8
"""Side of the blocks in which noise is looked for."""
SHARE = 0.01
"""Quantile of the blocks that counts as free of the scene."""
QUIET = 0.45
"""Mean square of the mask over white noise in the block at that quantile, over the variance."""
TOGETHER = 16
"""Side of the blocks in which bands are compared."""
UNSHARED = 0.6
"""As `QUIET`, for what a band of those blocks has that the other bands do not show."""
COPIED = 1e-4
"""Share of a band that the others must leave; bands that show more of each other are copies."""
SAFE = 1.5
"""How much more than in the quietest blocks the variance of the noise may be."""
CONTRAST = 3.0
"""Power of the scene over that of the noise at the lowest frequencies, below which nothing is said of the MTF."""


@dataclass(frozen=True)
class Fitted:
    """What the spectrum of an image says, each with its standard deviation; NaN where it says nothing."""

    variances: tuple[float, float]
    """Variance of the Gaussian point spread function along y and x in square pixels."""
    variances_std: tuple[float, float]
    noise: float
    """Standard deviation of the noise."""
    noise_std: float
    slope: float
    """Exponent of the spectrum of the scene."""

    @property
    def axes(self) -> tuple[Floats, Floats]:
        """Modulation transfer at the Nyquist frequency along y and x, and its standard deviations."""
        mtf = mtf_at_nyquist(np.array(self.variances))
        return mtf, mtf * np.pi**2 / 2 * np.array(self.variances_std)

    @property
    def mtf(self) -> tuple[float, float]:
        """Modulation transfer at the Nyquist frequency, geometric mean of both axes, and its standard deviation."""
        mtf, std = self.axes
        return math.sqrt(mtf.prod()), float(std.mean())


def periodogram(image: Floats, side: int) -> tuple[Floats, int]:
    """Add up the power spectra of the patches of an image that have no gap.

    Parameters
    ----------
    image
        Pixels (h, w); NaN is no data.
    side
        Side of the patches, which are half a patch apart.

    Returns
    -------
    power
        Sum over the patches, shape (side, side // 2 + 1): white noise of variance v has v in each.
    count
        Number of patches.
    """
    taper = np.hanning(side + 1)[:side]
    window = taper[:, None] * taper
    window /= math.sqrt(float((window**2).sum()))
    total, count = np.zeros((side, side // 2 + 1)), 0
    for y in range(0, image.shape[0] - side + 1, side // 2):
        for x in range(0, image.shape[1] - side + 1, side // 2):
            patch = image[y : y + side, x : x + side]
            if np.isfinite(patch).all():
                level = float((patch * window).sum() / window.sum())
                total += np.abs(np.fft.rfft2((patch - level) * window)) ** 2
                count += 1
    return total, count


@lru_cache(maxsize=8)
def _frequencies(side: int) -> tuple[NDArray[np.bool_], Floats, Floats, Floats]:
    """Which frequencies count, and of each and its aliases: logarithm, square along y, square along x."""
    fy, fx = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    used = (np.hypot(fy, fx) > LOWEST) & (fx > 0)
    shifts = [(m, n) for m in (-1, 0, 1) for n in (-1, 0, 1)]
    y2, x2 = (np.stack([(f[used] + shift[axis]) ** 2 for shift in shifts]) for axis, f in enumerate((fy, fx)))
    return used, 0.5 * np.log(y2 + x2), y2, x2


def _parts(p: Floats, side: int) -> tuple[Floats, Floats]:
    """Power of the model and its derivatives to (log A, slope, log sigma_y^2, log sigma_x^2, log noise^2)."""
    _, log, y2, x2 = _frequencies(side)
    level, slope, vy, vx, noise = p[0], p[1], math.exp(p[2]), math.exp(p[3]), math.exp(p[4])
    fall_y, fall_x = 4 * math.pi**2 * vy * y2, 4 * math.pi**2 * vx * x2
    scene = np.exp(level - slope * (log + 1) - fall_y - fall_x)
    each = [scene, -(log + 1) * scene, -fall_y * scene, -fall_x * scene]
    rows = [*(term.sum(axis=0) for term in each), np.full(scene.shape[1], noise)]
    return rows[0] + noise, np.stack(rows)


def quietest(images: Floats) -> Floats:
    """Bound the variance of the noise of each band by where it varies least; NaN where all has gaps.

    The mask of J. Immerkaer, Computer Vision and Image Understanding 64 (1996), doi:10.1006/cviu.1996.0060, keeps
    nothing of planes. Its mean square is taken over blocks of 8 x 8 pixels: of white noise one block in a hundred is
    below 0.45 of the variance. Aliases of a scene pass the mask, but bands share them: in blocks of 16 x 16 pixels each
    band is regressed on the others, and noise is no more than what is left (R. E. Roger and J. F. Arnold, International
    Journal of Remote Sensing 17 (1996), doi:10.1080/01431169608949142). Noise that bands share is not bounded so.

    Parameters
    ----------
    images
        Pixels (band, h, w); NaN is no data.

    Returns
    -------
    ndarray
        Largest variance of the noise, by band.
    """
    mask = np.outer([1, -2, 1], [1, -2, 1]) / 6.0
    rough = np.stack([convolve(image, mask, mode="constant", cval=math.nan) for image in images])
    alone = np.square(_blocks(rough, BLOCK)).mean(axis=-1)
    bound = _low_quantile(alone, QUIET)
    known = np.argsort(bound)[: np.isfinite(bound).sum()]  # in an order of the values: the same whatever that of bands
    if known.size > 1:
        bound[known] = np.fmin(bound[known], _low_quantile(_left_by_others(_blocks(rough[known], TOGETHER)), UNSHARED))
    return bound


def _blocks(images: Floats, side: int) -> Floats:
    """Pixels of each whole block, shape (band, block, pixel)."""
    bands, height, width = (len(images), *(size // side for size in images.shape[1:]))
    cut = images[:, : height * side, : width * side].reshape(bands, height, side, width, side)
    return cut.transpose(0, 1, 3, 2, 4).reshape(bands, height * width, side * side)


def _left_by_others(blocks: Floats) -> Floats:
    """Mean square of each band's blocks that no sum of the other bands explains, shape (band, block)."""
    pixels = blocks.transpose(1, 0, 2)
    products = pixels @ pixels.transpose(0, 2, 1) / blocks.shape[-1]
    left = np.full(products.shape[:2], math.nan)
    known = np.isfinite(products).all(axis=(1, 2)) & (products.diagonal(axis1=1, axis2=2) > 0).all(axis=1)
    scale = np.sqrt(products[known].diagonal(axis1=1, axis2=2))
    alike = products[known] / (scale[:, :, None] * scale[:, None, :]) + 1e-9 * np.eye(len(blocks))
    share = 1 / np.linalg.inv(alike).diagonal(axis1=1, axis2=2)
    left[known] = np.where(share > COPIED, share, 1.0) * scale**2
    return left.T


def _low_quantile(blocks: Floats, of_white: float) -> Floats:
    """Quantile `SHARE` of the blocks that are known over what it is of white noise of variance 1, by band."""
    known = [band[np.isfinite(band)] for band in blocks]
    return np.array([np.quantile(band, SHARE) / of_white if band.size else math.nan for band in known])


def fit(power: Floats, count: int, most: float = math.inf) -> Fitted:
    """Fit the model to a mean spectrum by the likelihood of Whittle.

    Parameters
    ----------
    power
        Sum of the spectra of ``count`` patches; see `periodogram`.
    count
        Number of patches.
    most
        Largest variance of the noise; see `quietest`.
    """
    nothing = Fitted((math.nan,) * 2, (math.nan,) * 2, math.nan, math.nan, math.nan)
    if count == 0:
        return nothing
    side = power.shape[0]
    observed = power[_frequencies(side)[0]] / count
    level = float(observed.mean())
    if not level > 0 or not observed.min() > 0:
        return nothing
    observed = observed / level

    def unlikely(p: Floats) -> tuple[float, Floats]:
        model, change = _parts(p, side)
        away, apart = p[1] - SLOPE, p[2] - p[3]
        slope = (change * ((model - observed) / model**2)).mean(axis=1)
        slope[1:4] += 2 * PULL * away, 2 * AGREE * apart, -2 * AGREE * apart
        return float((np.log(model) + observed / model).mean() + PULL * away**2 + AGREE * apart**2), slope

    ceiling = min(5.0, max(-29.0, math.log(max(SAFE * most / level, 1e-13)))) if math.isfinite(most) else 5.0
    bounds = [(-30, 30), (0.5, 5), (math.log(1e-3), math.log(20)), (math.log(1e-3), math.log(20)), (-30.0, ceiling)]
    floor = min(math.log(float(np.quantile(observed, 0.02))), ceiling)
    starts = [np.array([0.0, SLOPE, v, v, floor]) for v in (math.log(0.1), math.log(0.4))]
    found = min(
        (minimize(unlikely, s, jac=True, method="L-BFGS-B", bounds=bounds) for s in starts), key=lambda r: r.fun
    )
    return _described(found.x, observed, level, side)


def _described(p: Floats, observed: Floats, level: float, side: int) -> Fitted:
    """State the fit in pixels and the image's units, with standard deviations from curvature and misfit."""
    model, change = _parts(p, side)
    relative = change / model
    information = relative @ relative.T
    information[1, 1] += 2 * PULL * observed.size
    scatter = float(np.mean((observed / model - 1) ** 2)) * 2.25  # neighbours under the taper are not independent
    spread = np.sqrt(np.maximum(np.diag(np.linalg.pinv(information)) * scatter, 0.0))
    noise = math.sqrt(level * math.exp(p[4]))
    noise_std = math.sqrt(level * math.exp(p[4]) * (1 + spread[4])) - noise
    noise_std = max(noise_std, 0.0) if spread[4] < 3 else math.sqrt(level * float(np.quantile(observed, 0.02)))
    if _scene_over_noise(p, side) < CONTRAST:
        return Fitted((math.nan,) * 2, (math.nan,) * 2, noise, noise_std, math.nan)
    variances = math.exp(p[2]), math.exp(p[3])
    scene = 2 * SCENE / math.pi**2
    stds = [math.hypot(v * s, scene, v * SCENE) for v, s in zip(variances, spread[2:4], strict=True)]
    return Fitted(variances, (stds[0], stds[1]), noise, noise_std, float(p[1]))


def _scene_over_noise(p: Floats, side: int) -> float:
    """Power of the scene over that of the noise at the lowest frequencies."""
    _, change = _parts(p, side)
    log = _frequencies(side)[1].min(axis=0)
    low = log < math.log(2 * LOWEST)
    return float((change[0][low] / change[4][low]).mean())


def mtf_at_nyquist(variance: Floats) -> Floats:
    """Modulation transfer of a Gaussian at half a cycle per pixel, from its variance in square pixels.

    >>> round(float(mtf_at_nyquist(np.array(0.244))), 2)
    0.3
    """
    return gaussian_response(np.asarray(0.5), np.sqrt(variance))
