"""What other dates show that an image made from one of them does not.

An image at finer pixels, observed as each date would observe it, says what that date is expected to be. What a date
shows beyond (its innovation) tells the error of the image, most where the dates lie fractions of a pixel apart: kriging
of the innovations (`xsr.kernels.fusion`) is the linear estimate of that error. What the image explains changes nothing.

Where the image is that of a date, what it measured stays: it has none of the noise that change is. Each other date is
fitted to what is expected of it, by a line around each pixel, and not the other way: what the image shows and a date
does not is no evidence against the image. A date that hardly follows the line has much noise, and it has more the
further it lies in time: dates that lie close together show the same changes, which agree and are no detail of the
image. An image between dates is as uncertain as they are, and is itself fitted to each.

What a line leaves is noise and the error that is looked for. A first estimate tells them apart: what it leaves of the
dates, beyond what it could follow, is their noise, band by band (`xsr.kernels.fusion.Fusion.left_over`). From there
the noise is sought at which the estimate best says a pixel that it does without, of the image or of a date
(`xsr.kernels.fusion.Fusion.left_out`): dates that have changed alike agree among themselves, and not with the image.

References
----------
R. E. Kalman, "A new approach to linear filtering and prediction problems", Journal of Basic Engineering 82 (1960),
doi:10.1115/1.3662552 (innovations).
D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4 (1992), doi:10.1162/neco.1992.4.3.415 (noise from what
is left over and the effective number of parameters).
G. Wahba, "Spline Models for Observational Data", SIAM, 1990, doi:10.1137/1.9781611970128, chapter 4 (how smooth an
estimate should be, by the pixels that it does without).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsr.kernels import evidence, fusion
from xsr.kernels.evidence import Part
from xsr.kernels.fusion import FLAT, LEVELS, MORE, SETTLE, WINDOW, Fusion, Line

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
EXPLAINED = 0.5
"""What an image of a network misses of a date, as a share of what bicubic interpolation misses."""
LESS = 0.5
"""Factor on the noise found: a part of what a line leaves over is the error that is looked for."""
SHARE, OWN = 1.0, 0.1
"""Noise of an image of one date, as a share of that of the others, and the most it is, in units of
`xsr.kernels.fusion.unit`: nothing has changed in it."""
HELD = 0.4
"""Factor on the noise that the estimate leaves of dates: a part of that is detail that the spectrum did not expect."""
ALIKE, CHANGED = 0.2, 0.4
"""Noise found from the lines, in units of `xsr.kernels.fusion.unit`, up to which what the estimate leaves counts alone,
and from which it does not count: dates that have changed alike agree, and the estimate follows what they agree on."""
BOUND = 3.0
"""Most factor by which that noise may differ from the noise found from the lines."""
FREE = 0.05
"""Least freedom of what the estimate leaves by which noise is judged; see `xsr.kernels.fusion.Fusion.left_over`."""
TRUST = 4.0
"""Weight of the logarithm of what the estimate misses, against half the square of that of the factor from the start."""
NEAR = 1.25
"""Most factor between the noise sought and the start: dates that have changed alike predict one another."""
MONTH = 30.0
"""Days after which the variance of the noise of a date is twice that of one of the same time."""
FLATTEST = 0.1
"""Least slope by which what a date shows is divided; flatter lines have more noise, all the same."""
EDGE = evidence.EDGE + SETTLE + WINDOW + 1
"""Pixels around an image that the estimate of its error depends on."""


@dataclass(frozen=True)
class Innovations:
    """An image and what it does not explain of itself and of other dates, with `EDGE` around."""

    image: Image
    """Shape (band, h, w)."""
    own: Image
    """What it does not explain of itself, shape (band, h, w)."""
    others: Image
    """Shape (date, band, h - 2 `WINDOW`, w - 2 `WINDOW`); zero where a date is not valid."""
    misfit: Floats
    """Mean square of what lines leave around a pixel, shape (date, band, h - 2 `WINDOW`, w - 2 `WINDOW`)."""
    valid: NDArray[np.bool_]
    """Pixels of the dates to use, shape (date, h - 2 `WINDOW`, w - 2 `WINDOW`)."""
    share: Floats
    """Of the window around a pixel that is valid, shape (date, h - 2 `WINDOW`, w - 2 `WINDOW`)."""
    shifts: tuple[tuple[float, float], ...]
    days: tuple[float, ...]
    """Of each date from the image, at least 0."""
    sensor: float
    """Standard deviation in pixels of the Gaussian through which dates observe the scene."""
    measured: bool
    """Whether the image is that of a date, not one between dates."""

    @classmethod
    def of(
        cls,
        image: Image,
        dates: Image,
        valid: NDArray[np.bool_],
        expected: Image,
        shifts: Sequence[Sequence[float]],
        days: Sequence[float],
        sensor: float,
        *,
        measured: bool,
    ) -> "Innovations":
        """Compare an image (band, h, w) and dates (date, band, h, w) with what is expected of them.

        Parameters
        ----------
        image, dates
            Finite.
        valid
            Pixels of the dates to use, shape (date, h, w).
        expected
            Of the image, then of each date, shape (1 + date, band, h, w).
        shifts
            Displacement (down, right) of the content of each date against the image, in pixels.
        days
            Of each date from the image, before or after.
        sensor, measured
            See the attributes.
        """
        if measured:
            others, misfit, share = unexplained(expected[1:], dates, valid)
        else:
            alike, misfit, share = fusion.fitted(expected[1:], dates, valid)
            others = alike - expected[1:, :, WINDOW:-WINDOW, WINDOW:-WINDOW]
        moved = tuple((float(y), float(x)) for y, x in shifts)
        away = tuple(abs(float(day)) for day in days)
        known = valid[:, WINDOW:-WINDOW, WINDOW:-WINDOW]
        return cls(image, image - expected[0], others, misfit, known, share, moved, away, sensor, measured)

    def using(self, dates: Sequence[int]) -> Part:
        """Estimate the error of the image from itself and some dates."""
        picks = list(dates)
        shifts = tuple(self.shifts[date] for date in picks)
        fused = Fusion(shifts, self.sensor, (SHARE, OWN)) if self.measured else Fusion(shifts, self.sensor)
        inner, settled = (..., slice(1, -1), slice(1, -1)), (..., slice(SETTLE, -SETTLE), slice(SETTLE, -SETTLE))
        misfit, share = self.misfit[picks][inner], self.share[picks][inner]
        age = self._age[picks, None, None]
        noise = LESS * age * fused.noise(self.image, misfit, share, EXPLAINED * MORE)
        own, others = self.own[:, WINDOW:-WINDOW, WINDOW:-WINDOW][inner], self.others[picks][inner]
        even, level = fused.evened(own, others, np.zeros_like(others), noise)
        residuals = fused.residuals(own[settled], even, others[settled])
        counts = (self.valid[picks][inner] * fusion.typical(noise)[1])[settled][settled]
        variance, freedom = fused.left_over(residuals, level, counts)
        around = SETTLE + WINDOW + 1
        cut = (..., slice(around, -around), slice(around, -around))
        over = HELD * age.mean() * np.sqrt(variance[inner] / (fusion.contrast(self.image)[settled][cut] + FLAT))
        found = judged(level[cut], over, freedom[inner])
        if self.measured:
            # An image between dates is made of them, and agrees with them anyhow.
            found = sought(found, *fused.left_out(residuals, counts))
        # Beyond the last level, what dates say counts by its precision.
        counted = np.square(np.minimum(LEVELS[-1] / np.maximum(found, LEVELS[0]), 1))
        return Part(fused, own[settled][cut], even[cut] * counted, found)

    @property
    def _age(self) -> Image:
        """Factor on the noise of each date by its time from the image."""
        away = np.array(self.days, np.float32)
        return np.asarray(np.sqrt(1 + away / np.float32(MONTH)) if self.measured else np.ones_like(away))


def judged(lines: Floats | Image, left: Floats, freedom: Floats) -> Image:
    """Judge the noise of dates by what lines leave of them and by what a first estimate leaves.

    Parameters
    ----------
    lines, left
        Noise by either, in units of `xsr.kernels.fusion.unit`; of any shapes that broadcast.
    freedom
        Of what the estimate leaves; see `xsr.kernels.fusion.Fusion.left_over`.

    Returns
    -------
    ndarray
        That of the estimate, within `BOUND`, up to `ALIKE` of the lines; theirs from `CHANGED`; between, between.
    """
    within = np.clip(left, lines / BOUND, BOUND * lines)
    alike = np.where(freedom > FREE, np.clip((CHANGED - lines) / (CHANGED - ALIKE), 0, 1), 0)
    return np.asarray(lines ** (1 - alike) * within**alike, np.float32)


def sought(start: Image, missed: Floats, number: Floats) -> Image:
    """Seek the noise at which the estimate misses least of the pixels that it does without, not far from a start.

    Parameters
    ----------
    start
        Noise in units of `xsr.kernels.fusion.unit`, shape (band, h, w).
    missed, number
        Of `xsr.kernels.fusion.Fusion.left_out`. One date beside the image says nothing: it agrees with itself.

    Returns
    -------
    ndarray
        At the vertex of a parabola through the best of `xsr.kernels.fusion.LEVELS` and its neighbours, shape of the
        start, within `NEAR` of that; the start if that lies beyond the last level, and the last is best.
    """
    last = len(LEVELS) - 1
    begin = np.log(np.maximum(start, LEVELS[0]))
    steps = np.log(LEVELS)[:, None, None, None]
    cost = TRUST * np.clip(number - 1, 0, 1) * missed + 0.5 * np.square(steps - begin)
    best = np.argmin(cost, axis=0)
    middle = np.clip(best, 1, last - 1)
    before, here, after = (np.take_along_axis(cost, (middle + by)[None], axis=0)[0] for by in (-1, 0, 1))
    vertex = middle + 0.5 * (before - after) / np.maximum(before - 2 * here + after, 1e-9)
    place = np.clip(np.clip(vertex, best - 0.5, best + 0.5), 0, last)
    found = LEVELS[0] * (LEVELS[1] / LEVELS[0]) ** place
    found = np.where(best == last, np.maximum(found, np.exp(begin)), found)
    return np.asarray(np.clip(found, np.exp(begin) / NEAR, np.exp(begin) * NEAR), np.float32)


def unexplained(expected: Image, dates: Image, valid: NDArray[np.bool_]) -> tuple[Image, Floats, Floats]:
    """Find what dates show beyond the lines from what is expected of them, in the radiometry of that.

    Parameters
    ----------
    expected, dates
        Finite, shape (date, band, h, w).
    valid
        Pixels of the dates to use, shape (date, h, w).

    Returns
    -------
    innovation, misfit, share
        See the attributes of `Innovations`.
    """
    inner = (..., slice(WINDOW, -WINDOW), slice(WINDOW, -WINDOW))
    out = np.empty(dates[inner].shape, np.float32)
    left, shares = np.zeros(out.shape), np.zeros((len(out), *out.shape[2:]))
    for number, (wanted, date, known) in enumerate(zip(expected, dates, valid, strict=True)):
        line = Line.of(wanted, date, known)
        slope = np.maximum(line.slope, FLATTEST)
        out[number] = np.where(known[inner], (date[inner] - line.at(wanted[inner])) / slope, 0)
        left[number], shares[number] = line.misfit / slope**2, line.share
    return out, left, shares
