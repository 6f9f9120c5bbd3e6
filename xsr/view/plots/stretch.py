"""Numbers of a cube to colours on a screen: one range for all bands, no data transparent."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core import checks
from xsr.core.errors import ParameterError

PERCENTILES = (2.0, 98.0)
"""Between which numbers are shown by default; those beyond are black and white."""

Range = tuple[float, float]


def check_stretch(stretch: Any) -> Range | None:
    """Refuse what is not two ascending numbers.

    Raises
    ------
    ParameterError
        With what was given.
    """
    if stretch is None:
        return None
    found = checks.several("stretch", stretch, what="two ascending numbers, shown as black and as white")
    if len(found) != 2 or not found[0] < found[1] or not np.isfinite(found).all():
        raise ParameterError(f"stretch={list(found)}; expected two ascending numbers, shown as black and as white.")
    return found[0], found[1]


def check_percentiles(percentiles: Sequence[float]) -> Range:
    """Refuse what is not two ascending percentages.

    Raises
    ------
    ParameterError
        With what was given.
    """
    found = checks.several("percentiles", percentiles, what="two ascending numbers from 0 to 100")
    if len(found) != 2 or not 0 <= found[0] < found[1] <= 100:
        raise ParameterError(f"percentiles={list(found)}; expected two ascending numbers from 0 to 100.")
    return found[0], found[1]


def range_of(pictures: Iterable[NDArray[Any]], percentiles: Range) -> Range | None:
    """Percentiles of the first picture with valid pixels, of all its bands together; None if there is none.

    Where all its numbers are one, the range lies around it.
    """
    for picture in pictures:
        values = picture[np.isfinite(picture)]
        if values.size:
            low, high = (float(one) for one in np.percentile(values, percentiles))
            around = 0.0 if high > low else max(abs(low), 1e-3) / 2
            return low - around, high + around
    return None


def colours(picture: NDArray[Any], limits: Range | None) -> NDArray[np.uint8]:
    """Red, green, blue and opacity, shape (y, x, 4), of a picture (band, y, x) of three bands or one.

    A pixel is transparent where one of its bands is no data.
    """
    low, high = limits or (0.0, 1.0)
    valid = np.isfinite(picture).all(axis=0)
    share = np.clip((np.where(valid, picture, low) - low) / (high - low), 0, 1)
    out = np.empty((*picture.shape[1:], 4), np.uint8)
    out[..., :3] = np.moveaxis(np.rint(255 * share), 0, -1)
    out[..., 3] = np.where(valid, 255, 0)
    return out
