"""What other dates show that an image made from one of them does not.

An image at finer pixels, observed as each date would observe it, says what that date is expected to be. What a date
shows beyond (its innovation) tells the error of the image, most where the dates lie fractions of a pixel apart: kriging
of the innovations (`xsr.kernels.fusion`) is the linear estimate of that error. What the image explains changes nothing.

The expected dates are sharp where a moved image is not, so that lines between dates and images fit better to them, and
less of what is left counts as noise.

References
----------
R. E. Kalman, "A new approach to linear filtering and prediction problems", Journal of Basic Engineering 82 (1960),
doi:10.1115/1.3662552 (innovations).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsr.kernels import fusion
from xsr.kernels.evidence import Part
from xsr.kernels.fusion import MORE, SETTLE, WINDOW, Fusion

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
EXPLAINED = 0.5
"""What an image of a network misses of a date, as a share of what bicubic interpolation misses."""
LESS = 0.5
"""Factor on the noise found: a part of what a line leaves over is the error that is looked for."""


@dataclass(frozen=True)
class Innovations:
    """An image and what it does not explain of itself and of other dates, with `xsr.kernels.evidence.EDGE` around."""

    image: Image
    """Shape (band, h, w)."""
    own: Image
    """What it does not explain of itself, shape (band, h, w)."""
    others: Image
    """Shape (date, band, h - 2 `WINDOW`, w - 2 `WINDOW`); zero where a date is not valid."""
    misfit: Floats
    """Shape (date, band, h - 2 `WINDOW`, w - 2 `WINDOW`); see `xsr.kernels.fusion.fitted`."""
    share: Floats
    """Shape (date, h - 2 `WINDOW`, w - 2 `WINDOW`); see `xsr.kernels.fusion.fitted`."""
    shifts: tuple[tuple[float, float], ...]
    sensor: float
    """Standard deviation in pixels of the Gaussian through which dates observe the scene."""

    @classmethod
    def of(
        cls,
        image: Image,
        dates: Image,
        valid: NDArray[np.bool_],
        expected: Image,
        shifts: Sequence[Sequence[float]],
        sensor: float,
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
        sensor
            See the attribute.
        """
        inner = (..., slice(WINDOW, -WINDOW), slice(WINDOW, -WINDOW))
        alike, misfit, share = fusion.fitted(expected[1:], dates, valid)
        moved = tuple((float(y), float(x)) for y, x in shifts)
        return cls(image, image - expected[0], alike - expected[1:][inner], misfit, share, moved, sensor)

    def using(self, dates: Sequence[int]) -> Part:
        """Estimate the error of the image from itself and some dates."""
        picks = list(dates)
        fused = Fusion(tuple(self.shifts[date] for date in picks), self.sensor)
        inner, cut = (..., slice(1, -1), slice(1, -1)), slice(WINDOW + 1, -(WINDOW + 1))
        misfit, share = self.misfit[picks][inner], self.share[picks][inner]
        noise = np.float32(LESS) * fused.noise(self.image, misfit, share, EXPLAINED * MORE)
        own, others = self.own[:, cut, cut], self.others[picks][inner]
        even, level = fused.evened(own, others, np.zeros_like(others), noise)
        settled = slice(SETTLE, -SETTLE)
        return Part(fused, own[:, settled, settled], even, level)
