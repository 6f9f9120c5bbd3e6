"""The opensr-test protocol on arrays: consistency with the low-resolution image, synthesis, and correctness.

It follows opensr-test 1.3.3 with its default settings, extended to any scale, any number of bands and no data.

References
----------
C. Aybar et al., "A Comprehensive Benchmark for Optical Remote Sensing Image Super-Resolution", IEEE GRSL (2024),
https://ieeexplore.ieee.org/document/10530998.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.kernels.resample import resample_strict
from xsr.kernels.taps import Taps

Image = NDArray[np.float32]
METRICS = ("reflectance", "spectral", "spatial", "synthesis", "hallucination", "omission", "improvement")
UPSAMPLE = 50
"""Shifts are found to 1/50 of a pixel."""
LARGEST_SHIFT = 5.0
"""Longest shift in pixels that is accepted."""
QUANTILE = 0.75
"""Pixels count for correctness where a distance exceeds this quantile of the distance between low and high."""
WEIGHT, TEMPERATURE = 0.05, 0.25
EPSILON = 1e-8


def opensr(
    low: Image,
    image: Image,
    reference: Image,
    *,
    scale: tuple[float, float],
    border: int = 16,
    visible: tuple[int, ...],
) -> NDArray[np.float64]:
    """Score one date.

    Parameters
    ----------
    low
        Low-resolution image, shape (band, h, w); NaN is no data in all three images.
    image, reference
        Super-resolved image and truth, shape (band, H, W), with the same top-left corner.
    scale
        Low over high pixel size, (y, x).
    border
        High-resolution pixels cut off along each side.
    visible
        Bands whose mean serves the registration with the low-resolution image.

    Returns
    -------
    ndarray
        `METRICS` in their order; NaN where one cannot be computed.
    """
    height, width = image.shape[1:]
    high = (Span(border, height - border), Span(border, width - border))
    inner = tuple(
        Span(math.ceil(span.start / s - 1e-6), min(size, math.floor(span.stop / s + 1e-6)))
        for span, s, size in zip(high, scale, low.shape[1:], strict=True)
    )
    out = np.full(len(METRICS), np.nan)
    if any(span.stop - span.start < 2 for span in (*high, *inner)):
        return out
    low = np.ascontiguousarray(low[:, inner[0].slice, inner[1].slice], np.float32)
    image, reference = (
        np.ascontiguousarray(x[:, high[0].slice, high[1].slice], np.float32) for x in (image, reference)
    )
    axes = list(zip(high, inner, scale, strict=True))
    degraded = resample_strict(image, _down(*axes[0]), _down(*axes[1]))
    raised = resample_strict(low, _up(*axes[0]), _up(*axes[1]))
    out[:3] = _consistency(low, degraded, visible)
    harmonised = _harmonise(image, reference)
    out[3] = _mean(_nanmean(np.abs(raised - harmonised)))
    out[4:] = _correctness(raised, harmonised, reference)
    return out


def _down(high: Span, inner: Span, scale: float) -> Taps:
    """Triangle as wide as two low-resolution pixels, cut at the border: PyTorch's antialiased bilinear."""
    centre = (np.arange(inner.start, inner.stop, dtype=np.float64) + 0.5) * scale - 0.5 - high.start
    return _cut(centre, max(scale, 1.0), len(high))


def _up(high: Span, inner: Span, scale: float) -> Taps:
    centre = (np.arange(high.start, high.stop, dtype=np.float64) + 0.5) / scale - 0.5 - inner.start
    return _cut(np.clip(centre, 0, len(inner) - 1), 1.0, len(inner))


def _cut(centre: NDArray[np.float64], reach: float, size: int) -> Taps:
    """Triangular weights of half-width ``reach`` inside ``[0, size)``, their sum 1."""
    taps = min(size, math.floor(2 * reach) + 2)
    start = np.clip(np.ceil(centre - reach - 1e-9).astype(np.int64), 0, size - taps)
    offset = start[:, None] + np.arange(taps) - centre[:, None]
    weight = np.maximum(1 - np.abs(offset) / reach, 0.0)
    return Taps(start, weight / weight.sum(axis=1, keepdims=True))


def _consistency(low: Image, degraded: Image, visible: tuple[int, ...]) -> NDArray[np.float64]:
    error = _mean(_nanmean(np.abs(low - degraded)))
    x, y = low.astype(np.float64), degraded.astype(np.float64)
    norm = np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.degrees(np.arccos(np.clip((x * y).sum(axis=0) / norm, -1, 1)))
    bands = list(visible)
    shift = find_shift(degraded[bands].mean(axis=0), low[bands].mean(axis=0))
    return np.array([error, _mean(angle), math.nan if shift is None else math.hypot(*shift)])


def _harmonise(image: Image, reference: Image) -> Image:
    """Give the image the reference's histogram in each band, and its place."""
    matched = np.stack([_match(a, b) for a, b in zip(image, reference, strict=True)])
    shift = find_shift(reference.mean(axis=0), matched.mean(axis=0))
    return matched if shift is None else move(matched, shift)


def _match(image: Image, reference: Image) -> Image:
    from skimage.exposure import match_histograms

    valid, known = np.isfinite(image), np.isfinite(reference)
    if valid.all() and known.all():
        return np.asarray(match_histograms(image, reference), np.float32)
    both = valid & known
    out = np.full(image.shape, np.nan, np.float32)
    if both.any():
        out[both] = match_histograms(image[both], reference[both])
    return out


def find_shift(reference: Image, image: Image) -> tuple[float, float] | None:
    """Shift (down, right) in pixels that registers an image with a reference; None if too long or not to be found.

    No data takes the mean of the valid pixels.
    """
    from skimage.registration import phase_cross_correlation

    valid = np.isfinite(image) & np.isfinite(reference)
    if not valid.any():
        return None
    if not valid.all():
        image, reference = (np.where(valid, x, x[valid].mean(dtype=np.float64)) for x in (image, reference))
    if not (np.ptp(image) > 0 and np.ptp(reference) > 0):
        return None
    shift, _, _ = phase_cross_correlation(reference, image, upsample_factor=UPSAMPLE)
    down, right = float(shift[0]), float(shift[1])
    return (down, right) if math.hypot(down, right) <= LARGEST_SHIFT else None


def move(image: Image, shift: tuple[float, float]) -> Image:
    """Move an image by (down, right) pixels, bilinear, the border repeated."""
    taps: list[Any] = []
    for size, by in zip(image.shape[1:], shift, strict=True):
        position = np.clip(np.arange(size) - by, 0, size - 1)
        taps.append(_cut(position, 1.0, size))
    return resample_strict(image, taps[0], taps[1])


def _correctness(raised: Image, harmonised: Image, reference: Image) -> NDArray[np.float64]:
    """Hallucination, omission and improvement: shares by softmin that sum to 1."""
    truth = _distance(raised, reference)
    improvement, omission = _distance(harmonised, reference), _distance(harmonised, raised)
    known = np.isfinite(truth) & np.isfinite(improvement) & np.isfinite(omission)
    rank = int(QUANTILE * np.count_nonzero(known))
    if rank < 1:
        return np.full(3, np.nan)
    threshold = np.partition(truth[known], rank - 1)[rank - 1]
    keep = known & ((truth > threshold) | (improvement > threshold) | (omission > threshold))
    with np.errstate(all="ignore"):
        x, y = improvement[keep] / truth[keep], omission[keep] / truth[keep]
        fade = 1 - np.exp(-(x + y - 1) * WEIGHT)
        scores = np.stack([np.exp(-x * y * WEIGHT), y + x * fade, x + y * fade])
        shares = np.exp(-scores / TEMPERATURE)
        shares /= shares.sum(axis=0)
    return np.array([_mean(share) for share in shares])


def _distance(x: Image, y: Image) -> NDArray[np.float64]:
    """Mean over bands of |x - y| / |x + y|, shape (h, w)."""
    a, b = x.astype(np.float64), y.astype(np.float64)
    return _nanmean(np.abs(a - b) / np.abs(a + b + EPSILON))


def _nanmean(values: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over bands of what is known, shape (h, w)."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0, dtype=np.float64)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), np.float64)


def _mean(values: NDArray[np.float64]) -> float:
    known = np.isfinite(values)
    return float(values[known].mean()) if known.any() else math.nan
