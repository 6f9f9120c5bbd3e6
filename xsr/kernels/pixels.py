"""Sums over the pixels of a block: errors, spectral angles, and maps of any kind.

Every function takes one date of a block, arrays (band, h, w) in which NaN and infinities are no data, and returns
float64 numbers that add up over blocks. A pixel counts where all that enters is valid: no number depends on an invented
pixel, and none on where blocks meet.

References
----------
R. H. Yuhas, A. F. H. Goetz, J. W. Boardman, "Discrimination among semi-arid landscape endmembers using the spectral
angle mapper (SAM) algorithm", JPL Airborne Geoscience Workshop (1992).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.kernels.accelerate import jit, jit_sums

Image = NDArray[np.float32]
"""One date of a block, shape (band, h, w)."""
Sums = NDArray[np.float64]

COUNT, ERROR, ABSOLUTE, SQUARED, REFERENCE = range(5)
"""Columns of sums of errors: pixels, e, |e|, e² and the reference, where e = image - reference."""


@jit_sums
def _infinite(image: Any) -> bool:
    """Whether there is an infinity."""
    for b in range(image.shape[0]):
        found = np.float32(0.0)
        for i in range(image.shape[1]):
            for j in range(image.shape[2]):
                found += np.float32(1.0) if abs(image[b, i, j]) == np.inf else np.float32(0.0)
        if found > 0.0:
            return True
    return False


def exclude(
    image: NDArray[Any],
    *,
    rows: Span,
    cols: Span,
    shape: tuple[int, int],
    border: int = 0,
    mask: NDArray[Any] | None = None,
    infinities: bool = False,
) -> NDArray[Any]:
    """Set NaN where a pixel does not count: infinite, outside the mask, or near the image's border.

    Parameters
    ----------
    image
        Window (band, h, w) of pixels ``rows`` and ``cols`` of an image of ``shape``.
    mask
        1 where a pixel counts, shape (band, h, w) or (1, h, w).
    border
        Pixels to leave out along each side of the image.
    infinities
        Whether infinite pixels may stay, so that the image need not be read for them.

    Returns
    -------
    ndarray
        A copy, or ``image`` itself where nothing is left out.
    """
    sides = [_near(border, span, size) for span, size in zip((rows, cols), shape, strict=True)]
    if mask is None and not any(side.any() for side in sides) and (infinities or not _infinite(image)):
        return image
    image = image.copy()
    for number, band in enumerate(image):  # band by band, so that masks stay small beside the image
        band[np.isinf(band)] = np.nan
        if mask is not None:
            band[mask[number if len(mask) > 1 else 0] != 1] = np.nan
        band[sides[0]] = np.nan
        band[:, sides[1]] = np.nan
    return image


def _near(border: int, span: Span, size: int) -> NDArray[np.bool_]:
    """Where places of a span lie in the border of an image, or beyond it; nowhere without a border."""
    at = np.arange(span.start, span.stop)
    near: NDArray[np.bool_] = (border > 0) & ((at < border) | (at >= size - border))
    return near


def cut(image: NDArray[Any], halo: int, before: int = 0, after: int = 0) -> NDArray[Any]:
    """Cut a block out of its window (..., h, w), which has ``halo`` pixels around it, with some before and after."""
    inner = tuple(slice(halo - before, size - halo + after) for size in image.shape[-2:])
    return image[..., inner[0], inner[1]]


@jit_sums
def _error_sums(image: Any, reference: Any, out: Any) -> None:
    for b in range(image.shape[0]):
        count, error, absolute, squared, level = 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(image.shape[1]):
            for j in range(image.shape[2]):
                y = np.float64(reference[b, i, j])
                e = image[b, i, j] - y
                valid = abs(e) < np.inf  # no branch, so that several pixels are summed at once
                e, y = e if valid else np.float64(0.0), y if valid else np.float64(0.0)
                count += 1.0 if valid else 0.0
                error += e
                absolute += abs(e)
                squared += e * e
                level += y
        out[b, 0], out[b, 1], out[b, 2], out[b, 3], out[b, 4] = count, error, absolute, squared, level


def error_sums(image: Image, reference: Image) -> Sums:
    """Sum errors of every band; columns `COUNT`, `ERROR`, `ABSOLUTE`, `SQUARED`, `REFERENCE`, shape (band, 5)."""
    out = np.zeros((image.shape[0], 5))
    _error_sums(image, reference, out)
    return out


@jit
def _angle(xx: float, yy: float, xy: float) -> float:
    """Angle between two spectra of these products in radians, NaN where one has no direction."""
    if np.isfinite(xx + yy) and xx > 0.0 and yy > 0.0:
        return float(np.arccos(min(1.0, max(-1.0, xy / np.sqrt(xx * yy)))))
    return np.nan


@jit
def _angle_map(image: Any, reference: Any, out: Any) -> None:
    bands, height, width = image.shape
    xx, yy, xy = np.empty((3, width))
    for i in range(height):
        xx[:], yy[:], xy[:] = 0.0, 0.0, 0.0
        for b in range(bands):
            for j in range(width):
                x, y = np.float64(image[b, i, j]), np.float64(reference[b, i, j])
                xx[j] += x * x
                yy[j] += y * y
                xy[j] += x * y
        for j in range(width):
            out[i, j] = _angle(xx[j], yy[j], xy[j])


def angle_map(image: Image, reference: Image) -> NDArray[np.float64]:
    """Spectral angle of every pixel in radians, shape (h, w); NaN where a spectrum lacks a band or is zero."""
    out = np.empty(image.shape[1:])
    _angle_map(image, reference, out)
    return out


@jit
def _map_sums(maps: Any, index: Any, out: Any) -> None:
    columns, height, width = maps.shape
    for i in range(height):
        for j in range(width):
            k = index[i, j]
            valid = k >= 0
            for c in range(columns):
                valid = valid and np.isfinite(maps[c, i, j])
            if valid:
                out[k, 0] += 1
                for c in range(columns):
                    out[k, c + 1] += maps[c, i, j]


def map_sums(maps: NDArray[np.float64], index: NDArray[np.int32] | None = None, *, strata: int = 1) -> Sums:
    """Count the pixels that are finite in all maps and add up their numbers, stratum by stratum.

    Parameters
    ----------
    maps
        Numbers of every pixel, shape (column, h, w).
    index
        Stratum of every pixel, shape (h, w); one that is negative does not count. Without it there is one stratum.
    strata
        Number of strata.

    Returns
    -------
    ndarray
        The count first, then the sum of each map, shape (stratum, 1 + column).
    """
    if index is None:
        valid = np.isfinite(maps).all(axis=0)
        return np.array([[np.count_nonzero(valid), *maps.sum(axis=(1, 2), where=valid)]], np.float64)
    out = np.zeros((strata, 1 + len(maps)))
    _map_sums(maps, index, out)
    return out
