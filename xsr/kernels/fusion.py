"""Fusion of dates that lie fractions of a pixel apart: what they reveal together that none shows alone.

Every date samples the scene at other places, so that several of them resolve what aliasing and blur hide in one. The
linear estimate of least mean square error (kriging) at a point weighs the pixels around it on all dates by how they
covary: through the sensor's response, at their distance on the ground, with the noise of each. Of an image alone it is
an interpolation that undoes some of the blur.

The scene counts as a random field with a power law for a spectrum. The other dates are first brought to the radiometry
of the image (`harmonised`), since geometry lasts for months and colours do not; what then still differs, beyond what
the displacement explains, is the noise of each, found around every pixel (`Fusion.noise`, `Fusion.evened`).

References
----------
N. Cressie, "Statistics for Spatial Data", Wiley, 1993, section 3.4 (universal kriging).
P. Goovaerts, "Kriging and Semivariogram Deconvolution in the Presence of Irregular Geographical Units", Mathematical
Geosciences 40 (2008), doi:10.1007/s11004-007-9129-1 (pixels that are averages, points that are not).
A. P. Dempster, N. M. Laird, D. B. Rubin, Journal of the Royal Statistical Society B 39 (1977),
doi:10.1111/j.2517-6161.1977.tb01600.x (expectation maximisation).
D. M. Allen, "The relationship between variable selection and data augmentation and a method for prediction",
Technometrics 16 (1974), doi:10.1080/00401706.1974.10489157 (pixels left out without another estimate).
K. He, J. Sun, X. Tang, IEEE TPAMI 35 (2013), doi:10.1109/TPAMI.2012.213, eq. 5 (the lines of `harmonised`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.linalg import cho_factor, cho_solve
from scipy.signal import convolve2d
from scipy.special import j0

from xsr.kernels import psf
from xsr.kernels.accelerate import jit
from xsr.kernels.gaps import tent_sums
from xsr.kernels.resample import interpolation_taps, resample
from xsr.kernels.temporal import date_weights

Floats = NDArray[np.float64]
Image = NDArray[np.float32]
REACH = 2
"""Pixels on every side of the nearest one that are weighed, on each date."""
PHASES = 16
"""Places within a pixel, along each axis, for which weights are found; positions are rounded to them."""
FARTHEST = 1.5
"""Displacement in pixels, along an axis, up to which a date is used."""
SETTLE = REACH + math.ceil(FARTHEST)
"""Pixels around a date that dates of unlike noise depend on when they are brought to one."""
WINDOW = 8
"""Pixels on every side at which the weights of the lines of `harmonised` come to nothing."""
LEVELS = (0.03, 0.06, 0.12, 0.24, 0.48, 0.96, 1.92)
"""Noise of a date, relative to `unit`, for which weights are found; between them estimates are interpolated. An image
alone counts as one of the least noise."""
OWN = 0.6
"""Noise of the image itself, as a share of that of the other dates."""
MORE = 1.5
"""Factor by which scenes with sharp edges alias more than a power law says."""
EQUAL = 2.0
"""Variance of a date's noise, as a multiple of the typical one, up to which it counts as typical."""
SMOOTHNESS, OUTER = 0.3, 0.01
"""The power spectrum falls as ``(1 + (f / OUTER)^2)^-(1 + SMOOTHNESS)``, f in cycles a pixel."""
HIGHEST, FREQUENCIES = 1.5, 1000
"""Frequencies of the integral over the spectrum, in cycles a pixel; beyond, the response of any sensor is nothing."""
CLEAR = 0.01
"""Share of an interpolated pixel that may come from pixels that are not valid."""
LONGEST = 16.0
"""Pixels beyond every distance between two places that are weighed."""
NUDGE = 1e-6
"""Added to positions before they are rounded: one half-way between two places goes the same way in every block."""
PRIOR, FLAT = 1e-7, 1e-7
"""Squared reflectance by which a line of `harmonised` is held to slope 1, and below which differences between
neighbours are none."""


def covariance(distance: Floats, first: float, second: float) -> Floats:
    """Covariance of the scene observed through two Gaussians, over distance; of any unit.

    Parameters
    ----------
    distance
        In pixels, at most `LONGEST`, any shape.
    first, second
        Standard deviations of the Gaussians, in pixels.
    """
    steps, curve = _curve(first, second)
    return np.interp(distance, steps, curve)


def unit(sensor: float) -> float:
    """Half the mean squared difference of neighbouring pixels of a scene: the unit of noise."""
    here, there = covariance(np.array([0.0, 1.0]), sensor, sensor)
    return float(here - there)


@lru_cache(maxsize=64)
def _curve(first: float, second: float) -> tuple[Floats, Floats]:
    """Covariance over distance, in steps of a hundredth of a pixel: Hankel transform of spectrum and responses."""
    frequency, coarse, bessel = _bessel()
    spectrum = (1 + (frequency / OUTER) ** 2) ** -(1 + SMOOTHNESS)
    density = 2 * np.pi * frequency * spectrum * psf.gaussian_response(frequency, math.hypot(first, second))
    fine = np.arange(0.0, LONGEST, 0.01)
    return fine, np.asarray(CubicSpline(coarse, bessel @ density)(fine))


@lru_cache(maxsize=1)
def _bessel() -> tuple[Floats, Floats, Floats]:
    """Frequencies, distances, and the Bessel function of their products."""
    frequency = (np.arange(FREQUENCIES) + 0.5) / FREQUENCIES * HIGHEST
    distance = np.arange(0.0, LONGEST + 0.1, 0.1)
    return frequency, distance, np.asarray(j0(2 * np.pi * np.outer(distance, frequency)))


# --- weights --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def weights(
    shifts: tuple[tuple[float, float], ...], sensor: float, result: float, own: tuple[float, float] = (OWN, math.inf)
) -> tuple[Image, Image]:
    """Weights of the pixels around a position, on an image and on some dates, for every level of noise.

    Parameters
    ----------
    shifts
        Displacement (down, right) of the content of each date against the image, in pixels.
    sensor, result
        Standard deviation of the Gaussian through which dates observe the scene, and of that of the result, in pixels.
    own
        Noise of the image itself; see `Fusion`.

    Returns
    -------
    weights : ndarray
        Shape (level, phase down, phase right, 1 + date, row, column); the first phase is half a pixel above the
        nearest centre, the last half a pixel below. They sum to 1, and a plane keeps its place.
    unknown : ndarray
        Variance of the error in units of `unit`, shape (level, phase down, phase right).
    """
    steps = np.arange(-REACH, REACH + 1)
    place = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    at = np.concatenate([place, *(place - np.array(shift) for shift in shifts)])
    scale, level = unit(sensor), np.square(LEVELS)
    noises = [np.repeat([min(own[0] ** 2 * n, own[1] ** 2), *(n,) * len(shifts)], len(place)) for n in level]
    between = covariance(_distances(at, at), sensor, sensor) / scale
    phase = np.arange(PHASES + 1) / PHASES - 0.5
    query = np.stack(np.meshgrid(phase, phase, indexing="ij"), axis=-1).reshape(-1, 2)
    right = covariance(_distances(at, query), sensor, result) / scale
    plane, wanted = (np.column_stack([np.ones(len(v)), v]) for v in (at, query))
    found = np.empty((len(level), *right.shape))
    for number, noise in enumerate(noises):
        factor = cho_factor(between + np.diag(noise))
        free, drift = (cho_solve(factor, v) for v in (right, plane))
        found[number] = free + drift @ np.linalg.solve(plane.T @ drift, wanted.T - plane.T @ free)
    whole = float(covariance(np.zeros(1), result, result)[0]) / scale
    error = [
        whole - 2 * (w * right).sum(0) + (w * (between @ w + noise[:, None] * w)).sum(0)
        for noise, w in zip(noises, found, strict=True)
    ]
    side, phases = len(steps), len(phase)
    shape = (len(level), phases, phases, 1 + len(shifts), side, side)
    ordered = np.ascontiguousarray(found.transpose(0, 2, 1).reshape(shape), np.float32)
    return ordered, np.asarray(np.maximum(error, 0), np.float32).reshape(shape[:3])


def _distances(a: Floats, b: Floats) -> Floats:
    """Distance of every place (n, 2) from every other (m, 2)."""
    return np.asarray(np.hypot(*(a[:, None] - b[None]).transpose(2, 0, 1)))


def aliasing(shift: tuple[float, float], sensor: float) -> float:
    """Quotient of two mean squares: what bicubic interpolation of an image misses of a date, over what it misses twice.

    The first is how the date differs from the image moved to its pixels, if nothing changed; the second, known from the
    image alone, how that differs from itself moved there and back. It depends on the fraction of a pixel alone, and is
    taken at the nearest fiftieth.
    """
    down, right = sorted(round(50 * abs(by - round(by))) / 50 for by in shift)
    return _aliasing(down, right, sensor)


@lru_cache(maxsize=1024)
def _aliasing(down: float, right: float, sensor: float) -> float:
    """Quotient for a displacement of less than a pixel; see `aliasing`."""
    shift = (down, right)
    reach = 8
    steps = np.arange(-reach, reach + 1)
    place = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float64)
    among = covariance(np.minimum(_distances(place, place), LONGEST - 1), sensor, sensor)
    there, back = (_moving(np.array(shift) * sign, reach) for sign in (1, -1))
    cross = covariance(np.hypot(*(place + np.array(shift)).T), sensor, sensor)
    whole = float(covariance(np.zeros(1), sensor, sensor)[0])
    weight = there.ravel()
    wanted = whole - 2 * float(weight @ cross) + float(weight @ among @ weight)
    both = convolve2d(there, back, mode="same").ravel()
    both[both.size // 2] -= 1
    itself = float(both @ among @ both)
    return max(wanted, 0.0) / itself if itself > 1e-6 * whole else 0.0


def _moving(shift: Floats, reach: int) -> Floats:
    """Weights of the pixels around one in an image displaced by bicubic interpolation."""
    size = 2 * reach + 1
    rows, cols = (interpolation_taps(np.array([reach - by]), "bicubic").matrix(size)[0][0] for by in shift)
    return np.outer(rows, cols)


# --- dates ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fusion:
    """An image and the dates beside it that are fused."""

    shifts: tuple[tuple[float, float], ...]
    """Displacement (down, right) of the content of each other date against the image, in pixels."""
    sensor: float
    """Standard deviation of the Gaussian through which dates observe the scene, in pixels."""
    own: tuple[float, float] = (OWN, math.inf)
    """Noise of the image itself: its share of that of the dates, and the most it is, in units of `unit`."""

    def noise(self, image: Image, misfit: Floats, share: Floats, missed: float = MORE) -> Image:
        """Noise of each date around every pixel, in units of `unit`, shape (date, h, w).

        Parameters
        ----------
        image
            Shape (band, h, w) with `WINDOW` pixels and one more around the result.
        misfit, share
            Of `harmonised`, for the result. As far as a window is not valid, a date counts as noisy as the others.
        missed
            What was to be expected of a date misses of it, as a multiple of `aliasing`, which is no noise.
        """
        found = np.zeros((len(self.shifts), *np.subtract(image.shape[1:], 2 * (WINDOW + 1))))
        scale = float(WINDOW + 1) ** 4
        local = contrast(image)
        for number, shift in enumerate(self.shifts):
            there = displaced(image, shift)
            away = displaced(there, (-shift[0], -shift[1])) - image
            itself = tent_sums(np.square(away[:, 1:-1, 1:-1].astype(np.float64)), WINDOW) / scale
            excess = np.maximum(misfit[number] - missed * aliasing(shift, self.sensor) * itself, 0)
            found[number] = (excess / (local + FLAT)).mean(axis=0) / (1 + OWN**2)
        pooled = (share * found).sum(axis=0) / np.maximum(share.sum(axis=0), 1e-9)
        return np.asarray(np.sqrt(share * found + (1 - share) * pooled), np.float32)

    def evened(self, image: Image, dates: Image, expected: Image, noise: Image) -> tuple[Image, Image]:
        """Bring dates of unlike noise to one: what they say beyond what the others do counts by its precision.

        The estimate from dates of unlike noise is that from as many of one noise, each moved towards what the estimate
        says of it until noise and precision agree (expectation maximisation). Two rounds come close; the first begins
        with what is expected, and has the good dates count for those that do not.

        Parameters
        ----------
        image, dates
            As of `estimate`, with `SETTLE` pixels around the result.
        expected
            What is known of the dates without them, shape of the dates.
        noise
            Of each date; see `noise`.

        Returns
        -------
        dates : ndarray
            Shape (date, band, h - 2 `SETTLE`, w - 2 `SETTLE`); those of equal noise are what they were.
        noise : ndarray
            That they have now, shape (h - 2 `SETTLE`, w - 2 `SETTLE`).
        """
        inner = (..., slice(SETTLE, -SETTLE), slice(SETTLE, -SETTLE))
        if not self.shifts:
            return dates[inner], np.zeros_like(image[0][inner])
        level, share = typical(noise)
        if (share == 1).all():
            return dates[inner], level[inner]
        more = np.minimum(len(share) / share.sum(axis=0), 2.0).astype(np.float32)
        first = expected + (more * share)[:, None] * (dates - expected)
        side = [np.arange(size, dtype=np.float64) for size in image[0][inner].shape]
        rows, cols = np.meshgrid(*side, indexing="ij")
        noisier = level * np.sqrt(more)
        said = [
            self.estimate(image, first, noisier, rows + SETTLE - down, cols + SETTLE - right, self.sensor)
            for down, right in self.shifts
        ]
        given, weight = dates[inner], share[:, None][inner]
        return np.where(weight == 1, given, said + weight * (given - said)), level[inner]

    def residuals(self, image: Image, dates: Image, given: Image) -> Image:
        """Find what the estimate leaves of the image and of each date at their own pixels, at each of `LEVELS`.

        Parameters
        ----------
        image, dates
            As of `estimate`, with `SETTLE` pixels around the result.
        given
            The dates before they were `evened`.

        Returns
        -------
        ndarray
            Shape (1 + date, level, band, h - 2 `SETTLE`, w - 2 `SETTLE`), reflectance.
        """
        series, given = (np.concatenate([image[None], v]) for v in (dates, given))
        size = [length - 2 * SETTLE for length in image.shape[1:]]
        out = np.empty((len(given), len(LEVELS), len(image), *size), np.float32)
        for number, date in enumerate(given):
            weight, nearest = self._weights_of(number)
            rows, cols = (
                slice(SETTLE - REACH + by, SETTLE + REACH + by + length)
                for by, length in zip(nearest, size, strict=True)
            )
            around = sliding_window_view(series[..., rows, cols], size, axis=(2, 3))
            out[number] = date[:, SETTLE:-SETTLE, SETTLE:-SETTLE]
            for other, band in np.ndindex(around.shape[:2]):
                flat = weight[:, other].reshape(len(LEVELS), -1)
                out[number, :, band] -= (flat @ around[other, band].reshape(flat.shape[1], -1)).reshape(-1, *size)
        return out

    def left_over(self, residuals: Image, noise: Image, counts: Image) -> tuple[Floats, Floats]:
        """Variance of the noise of the dates around a pixel, by what the estimate leaves of each.

        The estimate follows a pixel of a date by the weight that it has there (its leverage), and what is left is that
        much less than the noise: ``sum counts residual^2 / sum counts (1 - leverage)``.

        Parameters
        ----------
        residuals
            See `residuals`.
        noise
            That of `evened`, with `SETTLE` pixels around the residuals, shape (h, w).
        counts
            How much each pixel of the dates counts, shape (date, h - 2 `SETTLE`, w - 2 `SETTLE`).

        Returns
        -------
        variance : ndarray
            Shape (band, h - 2 (`SETTLE` + `WINDOW`), w - 2 (`SETTLE` + `WINDOW`)); zero where nothing counts.
        freedom : ndarray
            Mean over the window of the second sum, shape of a band.
        """
        level, (height, width) = level_of(noise), counts.shape[1:]
        squares, freedom = np.zeros(residuals.shape[2:]), np.zeros((height, width))
        for number, (residual, share) in enumerate(zip(residuals[1:], counts, strict=True), 1):
            down, right = (SETTLE + by for by in self._weights_of(number)[1])
            here = level[down : down + height, right : right + width]
            low = np.minimum(here.astype(np.int64), len(LEVELS) - 2)
            below, above = (np.take_along_axis(residual, (low + by)[None, None], axis=0)[0] for by in (0, 1))
            squares += share * np.square(below + (here - low) * (above - below))
            freedom += share * (1 - np.interp(here, np.arange(len(LEVELS)), self.leverage(number)))
        # Running sums of nothing are not quite zero.
        over, (free,) = (np.maximum(tent_sums(sums, WINDOW), 0) for sums in (squares, freedom[None]))
        return over / np.maximum(free, 1e-9), free / float(WINDOW + 1) ** 4

    def left_out(self, residuals: Image, counts: Image) -> tuple[Floats, Floats]:
        """Find how far the estimate misses pixels that it does without, around a pixel, at each of `LEVELS`.

        To leave a pixel of the image or of a date out takes no other estimate: without it, the estimate of it misses
        it by ``residual / (1 - leverage)``. Counted are differences between neighbours, as in `unit`: what changes on
        the ground is smooth over a few pixels, and detail is not.

        Parameters
        ----------
        residuals, counts
            As of `left_over`.

        Returns
        -------
        missed : ndarray
            Natural logarithm of the mean square, half of it that of the image and half the mean over the dates; shape
            (level, band, h - 2 (`SETTLE` + `WINDOW` + 1), w - 2 (`SETTLE` + `WINDOW` + 1)).
        number : ndarray
            Of dates that count around a pixel, shape of a band.
        """
        own, whole = self._missed(0, residuals[0], np.ones_like(counts[0]))
        total, mean = np.zeros_like(whole), np.zeros_like(own)
        for date, share in enumerate(counts, 1):
            missed, number = self._missed(date, residuals[date], share)
            total += number
            mean += number * missed
        return 0.5 * (own + mean / total), total

    def _missed(self, date: int, residual: Image, share: Image) -> tuple[Floats, Floats]:
        """Logarithm of what the estimate misses of a date without a pixel, and how much of the window counts."""
        free = np.asarray(1 - self.leverage(date)[:, None, None, None], np.float32)
        squares, weight = _roughness(residual / free, share)
        sums = tent_sums(np.concatenate([squares.reshape(-1, *weight.shape), weight[None]]), WINDOW)
        # Running sums of nothing are not quite zero.
        around = np.maximum(sums, 0) / float(WINDOW + 1) ** 4
        number = np.maximum(around[-1], 1e-9)
        mean = around[:-1] / number
        return np.log(mean + FLAT).reshape(*squares.shape[:2], *number.shape), number

    def leverage(self, number: int) -> Floats:
        """Weight of a pixel of a date in the estimate of itself, at each of `LEVELS`; 0 is the image."""
        weight, (down, right) = self._weights_of(number)
        return np.asarray(weight[:, number, REACH - down, REACH - right], np.float64)

    def _weights_of(self, number: int) -> tuple[Image, tuple[int, int]]:
        """Weights at a pixel of a date, shape (level, 1 + date, row, column), and the pixel of the image nearest."""
        weight, _ = weights(self.shifts, self.sensor, self.sensor, self.own)
        place = [-by for by in ((0.0, 0.0), *self.shifts)[number]]
        down, right = (math.floor(at + 0.5 + NUDGE) for at in place)
        phase = [
            math.floor((at - whole + 0.5) * PHASES + 0.5 + NUDGE)
            for at, whole in zip(place, (down, right), strict=True)
        ]
        return weight[:, phase[0], phase[1]], (down, right)

    def estimate(self, image: Image, dates: Image, noise: Image, rows: Floats, cols: Floats, result: float) -> Image:
        """Estimate the scene at positions, from all dates.

        Parameters
        ----------
        image
            Shape (band, h, w), with `REACH` pixels around those that positions are nearest to.
        dates
            The other dates, `harmonised` and `evened`, shape (date, band, h, w).
        noise
            That of `evened`, shape (h, w), or of each band, shape (band, h, w).
        rows, cols
            Positions in pixels, of any one shape.
        result
            Standard deviation of the Gaussian of the result, in pixels.

        Returns
        -------
        ndarray
            Shape (band, *shape of rows), reflectance.
        """
        weight, _ = weights(self.shifts, self.sensor, result, self.own)
        series, at = np.concatenate([image[None], dates]), (rows.ravel(), cols.ravel())
        together = [slice(None)] if noise.ndim == 2 else [slice(band, band + 1) for band in range(len(image))]
        out = np.zeros((len(image), rows.size), np.float32)
        for bands, level in zip(together, level_of(noise).reshape(-1, *noise.shape[-2:]), strict=True):
            made = np.zeros(out[bands].T.shape, np.float32)
            _apply(np.ascontiguousarray(series[:, bands].transpose(0, 2, 3, 1)), *at, level, weight, made)
            out[bands] = made.T
        return out.reshape(len(image), *rows.shape)

    def gained(self, noise: Image, result: float) -> Image:
        """Share of the variance of the error that the other dates take away, mean over a pixel, shape (h, w)."""
        if not self.shifts:
            return np.zeros_like(noise)
        (_, alone), (_, together) = (weights(shifts, self.sensor, result, self.own) for shifts in ((), self.shifts))
        share = 1 - together.mean(axis=(1, 2)) / alone[0].mean()
        return np.asarray(np.interp(level_of(noise), np.arange(len(LEVELS)), share), np.float32)


def contrast(image: Image) -> Floats:
    """Half the mean squared difference of neighbours around each pixel of an image, `WINDOW` and one from borders."""
    squares, _ = _roughness(image.astype(np.float64), np.ones(image.shape[1:]))
    return tent_sums(squares, WINDOW) / float(WINDOW + 1) ** 4


def _roughness(values: Floats | Image, counts: Floats | Image) -> tuple[Floats, Floats]:
    """Half the mean squared difference of pixels (..., h, w) from their neighbours, one from borders, and its weight.

    A difference counts as the pixel of the two that counts less; what counts is given for (h, w).
    """
    share = (
        np.minimum(counts[:-1, 1:-1], counts[1:, 1:-1]),
        np.minimum(counts[1:-1, :-1], counts[1:-1, 1:]),
    )
    between = (
        share[0] * np.square(np.diff(values[..., 1:-1], axis=-2)),
        share[1] * np.square(np.diff(values[..., 1:-1, :], axis=-1)),
    )
    # Each pixel has half of the difference to either neighbour.
    squares, weight = (
        down[..., :-1, :] + down[..., 1:, :] + right[..., :-1] + right[..., 1:] for down, right in (between, share)
    )
    return 0.125 * squares, 0.25 * weight


def typical(noise: Image) -> tuple[Image, Image]:
    """Noise of the dates that count (h, w), and how much each date counts (date, h, w), at most 1."""
    squares = np.square(np.maximum(noise, LEVELS[0]).astype(np.float64))
    level = (1 / squares).sum(axis=0) / (1 / squares**2).sum(axis=0)
    share = np.minimum(EQUAL * level / squares, 1)
    return np.asarray(np.sqrt(level), np.float32), np.asarray(share, np.float32)


def pixel_of(position: Floats, size: int) -> NDArray[np.int64]:
    """Pixel that is nearest to a position, of those along an axis; as in `Fusion.estimate`."""
    return np.clip(np.floor(position + 0.5 + NUDGE).astype(np.int64), 0, size - 1)


def level_of(noise: Image) -> Image:
    """Place of a noise among `LEVELS`, between the first and the last."""
    step = math.log(LEVELS[1] / LEVELS[0])
    level = np.log(np.maximum(noise, LEVELS[0]) / np.float32(LEVELS[0])) / np.float32(step)
    return np.asarray(np.minimum(level, len(LEVELS) - 1), np.float32)


def composite(
    dates: Image, valid: NDArray[np.bool_], shifts: Sequence[Sequence[float]] | Floats, offset: Floats
) -> tuple[Image, NDArray[np.bool_]]:
    """Interpolate linearly in time between the valid dates around each pixel, moved to where the image lies.

    Parameters
    ----------
    dates
        Shape (date, band, h, w); what lies under pixels that are not valid may be anything finite.
    valid
        Shape (date, h, w).
    shifts
        Displacement (down, right) of the content of each date against the image, in pixels.
    offset
        Time of each date minus that of the image, in days, ascending.

    Returns
    -------
    image : ndarray
        Shape (band, h, w); the plain mean of the dates where none is valid.
    known : ndarray
        Where a date is valid, shape (h, w).
    """
    moved = np.stack([displaced(date, (-down, -right)) for date, (down, right) in zip(dates, shifts, strict=True)])
    there = [
        displaced(known[None].astype(np.float32), (-y, -x))[0] for known, (y, x) in zip(valid, shifts, strict=True)
    ]
    clear = np.stack(there) > 1 - CLEAR
    known: NDArray[np.bool_] = np.asarray(clear.any(axis=0))
    weight = date_weights(clear, offset, method="linear", frames=1)
    weight[:, ~known] = 1 / len(dates)
    return np.asarray((weight[:, None] * moved).sum(axis=0), np.float32), known


def harmonised(
    image: Image, dates: Image, valid: NDArray[np.bool_], shifts: Sequence[Sequence[float]]
) -> tuple[Image, Floats, Floats]:
    """Bring dates to the radiometry of an image, band by band, by the line that fits them to it around each pixel.

    Parameters
    ----------
    image
        Shape (band, h, w), finite.
    dates
        Shape (date, band, h, w); what lies under pixels that are not valid may be anything.
    valid
        Pixels of the dates to use, shape (date, h, w).
    shifts
        Displacement (down, right) of the content of each date against the image, in pixels.

    Returns
    -------
    dates : ndarray
        Shape (date, band, h - 2 `WINDOW`, w - 2 `WINDOW`), each on its own pixels; where it is not valid, the image.
    misfit : ndarray
        Mean square of what the line of each date leaves around a pixel, shape of the dates.
    share : ndarray
        Of the window around a pixel that is valid, shape (date, h - 2 `WINDOW`, w - 2 `WINDOW`).

    Notes
    -----
    The image is moved to the pixels of a date by bicubic interpolation. With n the share of the window's weights on
    pixels valid, the slope is ``(n cov + PRIOR) / (n var + PRIOR)``.
    """
    moved = [displaced(image, shift) for shift in shifts]
    return fitted(np.stack(moved) if moved else dates, dates, valid)


def fitted(expected: Image, dates: Image, valid: NDArray[np.bool_]) -> tuple[Image, Floats, Floats]:
    """Bring dates to what is expected of them, band by band, by the line that fits them to it around each pixel.

    Parameters
    ----------
    expected
        What each date would be with the radiometry wanted, finite, shape (date, band, h, w).
    dates, valid
        As of `harmonised`, as are the results.
    """
    inner = (..., slice(WINDOW, -WINDOW), slice(WINDOW, -WINDOW))
    out = np.empty(dates[inner].shape, np.float32)
    left, shares = np.zeros(out.shape), np.zeros((len(out), *out.shape[2:]))
    for number, (date, known, wanted) in enumerate(zip(dates, valid, expected, strict=True)):
        line = Line.of(date, wanted, known)
        out[number] = np.where(known[inner], line.at(date[inner]), wanted[inner])
        left[number], shares[number] = line.misfit, line.share
    return out, left, shares


@dataclass(frozen=True)
class Line:
    """Lines from one image to another around each pixel, `WINDOW` pixels from the borders, band by band."""

    start: tuple[Floats, Floats]
    """Means of both images, shape (band, h - 2 `WINDOW`, w - 2 `WINDOW`)."""
    slope: Floats
    misfit: Floats
    """Mean square of what the line leaves."""
    share: Floats
    """Of the window that is valid, shape (h - 2 `WINDOW`, w - 2 `WINDOW`)."""

    @classmethod
    def of(cls, image: Image, other: Image, known: NDArray[np.bool_]) -> "Line":
        """Fit what an image (band, h, w) says of another, by the pixels that are known, shape (h, w)."""
        scale = float(WINDOW + 1) ** 4
        share = tent_sums(known[None], WINDOW)[0] / scale
        x, y = (np.where(known, v, 0).astype(np.float64) for v in (image, other))
        sums = [tent_sums(v, WINDOW) / scale / np.maximum(share, 1e-9) for v in (x, y, x * x, x * y, y * y)]
        mean_x, mean_y = sums[:2]
        var, cov, var_y = sums[2] - mean_x**2, sums[3] - mean_x * mean_y, sums[4] - mean_y**2
        slope = (share * cov + PRIOR) / (share * var + PRIOR)
        return cls((mean_x, mean_y), slope, np.maximum(var_y - 2 * slope * cov + slope**2 * var, 0), share)

    def at(self, image: Image) -> Floats:
        """Evaluate the lines for an image without the borders."""
        return np.asarray(self.start[1] + self.slope * (image - self.start[0]))


def displaced(image: Image, shift: Sequence[float]) -> Image:
    """Image (band, h, w) whose content is displaced (down, right) by a few pixels; borders are repeated."""
    if not any(shift):
        return image
    pad = int(np.ceil(np.abs(shift).max())) + 2
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)), mode="edge")
    rows, cols = (
        interpolation_taps(np.arange(size) - by + pad, "bicubic")
        for size, by in zip(image.shape[1:], shift, strict=True)
    )
    return resample(padded, rows, cols)


@jit
def _apply(series: Any, rows: Any, cols: Any, level: Any, weight: Any, out: Any) -> None:
    """Weighted sums of the pixels around positions; ``series`` has shape (date, row, column, band)."""
    dates, bands = series.shape[0], series.shape[3]
    side, phases, last = weight.shape[4], weight.shape[1] - 1, weight.shape[0] - 1
    reach = side // 2
    for query in range(rows.size):
        row, col = int(np.floor(rows[query] + 0.5 + NUDGE)), int(np.floor(cols[query] + 0.5 + NUDGE))
        down = int(np.floor((rows[query] - row + 0.5) * phases + 0.5 + NUDGE))
        right = int(np.floor((cols[query] - col + 0.5) * phases + 0.5 + NUDGE))
        low = min(int(level[row, col]), last - 1)
        high = level[row, col] - low
        for date in range(dates):
            for i in range(side):
                for j in range(side):
                    value = (1 - high) * weight[low, down, right, date, i, j]
                    value += high * weight[low + 1, down, right, date, i, j]
                    for band in range(bands):
                        out[query, band] += value * series[date, row - reach + i, col - reach + j, band]
