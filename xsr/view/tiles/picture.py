"""From values to a picture: bands as colours, a stretch, and transparency where there is nothing."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core import checks
from xsr.core.errors import ParameterError

COLOURS = ("B04", "B03", "B02")
"""Canonical names of the bands that are red, green and blue."""
SHARES = (2.0, 98.0)
"""Percentiles between which a stretch lies."""


def colours(bands: Sequence[str], canonical: Sequence[str]) -> tuple[str, ...]:
    """Names of the bands that are shown by default: red, green and blue, or else the first."""
    meaning = dict(zip(canonical, bands, strict=True))
    return tuple(meaning[one] for one in COLOURS) if set(COLOURS) <= set(meaning) else (bands[0],)


def checked_stretch(stretch: Any) -> tuple[float, float]:
    """Check values that become black and white.

    Raises
    ------
    ParameterError
        Unless they are two finite numbers that rise.
    """
    pair = tuple(stretch) if isinstance(stretch, Sequence | np.ndarray) and not isinstance(stretch, str) else ()
    if len(pair) != 2 or not all(map(checks.is_number, pair)) or not np.isfinite(pair).all() or not pair[0] < pair[1]:
        raise ParameterError(f"stretch={stretch!r}; expected two numbers that rise, such as (0, 0.3).")
    return float(pair[0]), float(pair[1])


def percentiles(images: NDArray[np.float32]) -> tuple[float, float]:
    """Stretch of images (date, band, h, w): percentiles of each date, and the lower quartile over the dates.

    Clouds are bright; where most dates have some, the darker ones say what the ground needs.
    """
    found = [np.nanpercentile(image, SHARES) for image in images if np.isfinite(image).any()]
    if not found:
        return 0.0, 1.0
    low, high = (float(one) for one in np.percentile(found, 25, axis=0))
    return (low, high) if high > low else (low, low + 1.0)


def encode(values: NDArray[np.float32], stretch: tuple[float, float]) -> bytes:
    """Encode one or three bands (band, y, x) as PNG with transparency: where a band is no data, so is the pixel."""
    from PIL import Image

    low, high = stretch
    valid = np.isfinite(values).all(axis=0)
    grey = np.where(valid, (values - np.float32(low)) * np.float32(255 / (high - low)), np.float32(0))
    scaled = np.rint(np.clip(grey, 0, 255)).astype(np.uint8)
    picture = np.empty((*valid.shape, 4), np.uint8)
    picture[..., :3] = np.moveaxis(scaled, 0, -1)
    picture[..., 3] = np.where(valid, 255, 0)
    return _png(Image.fromarray(picture, "RGBA"))


def transparent(size: int) -> bytes:
    """Encode a picture of nothing."""
    from PIL import Image

    return _png(Image.new("RGBA", (size, size)))


def _png(picture: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=3)
    return out.getvalue()
