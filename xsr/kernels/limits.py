"""Range of a temperature image, estimated from the low-resolution image alone.

Networks for temperature read numbers between zero and one. The usual choice, minimum and maximum of the
high-resolution truth, is not known where there is no truth; here the range comes from moments of the image itself.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MARGIN = 0.25
"""Share of the range by which it is widened on either side: fine detail reaches beyond coarse extremes."""
LEAST = 1.0
"""Least widening, kelvin, so that a constant image has a range too."""
DEVIATIONS = 4.0
"""Standard deviations from the mean beyond which a pixel does not stretch the range."""


def limits(
    count: ArrayLike,
    total: ArrayLike,
    squares: ArrayLike,
    lowest: ArrayLike,
    highest: ArrayLike,
    *,
    margin: float = MARGIN,
    least: float = LEAST,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Limits of the values of an image, from the moments of its valid pixels.

    Parameters
    ----------
    count
        Valid pixels, any shape: dates, for example.
    total, squares
        Sum of their values and of the squares of these, float64, likewise.
    lowest, highest
        Their extremes, likewise.
    margin
        Share of the range that is added on either side, >= 0.
    least
        Least that is added on either side, in units of the values, > 0.

    Returns
    -------
    lo, hi : ndarray
        Shape of ``count``; ``(v - lo) / (hi - lo)`` is what a network reads. NaN where no pixel is valid.

    Notes
    -----
    ``lo = max(lowest, mean - 4 std)`` and ``hi = min(highest, mean + 4 std)``, moved apart by
    ``max(margin * (hi - lo), least)`` each. Unlike extremes alone, the limits do not follow a single hot or cold
    pixel.

    Examples
    --------
    Four pixels of 290, 290, 310 and 310 K:

    >>> lo, hi = limits(4, 1200.0, 360400.0, 290.0, 310.0)
    >>> float(lo), float(hi)
    (285.0, 315.0)
    """
    n = np.asarray(count, np.float64)
    some = np.where(n > 0, n, np.nan)
    mean = np.asarray(total, np.float64) / some
    deviation = np.sqrt(np.maximum(np.asarray(squares, np.float64) / some - mean**2, 0))
    lo = np.maximum(np.asarray(lowest, np.float64), mean - DEVIATIONS * deviation)
    hi = np.minimum(np.asarray(highest, np.float64), mean + DEVIATIONS * deviation)
    widening = np.maximum(margin * (hi - lo), least)
    return lo - widening, hi + widening
