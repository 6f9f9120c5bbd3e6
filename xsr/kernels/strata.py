"""Errors by strata of the reference's gradient: what a mean over all pixels hides.

Every function takes one date of a window, arrays (band, h, w) in which NaN and infinities are no data; the outermost
row and column serve the gradient alone. Strata lie between given edges, or are merged from fine bins by quantile.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.kernels.accelerate import jit
from xsr.kernels.pixels import COUNT, REFERENCE, Image, Sums

BINS_PER_OCTAVE = 128
LEAST_OCTAVE, GREATEST_OCTAVE = -32, 4
BINS = (GREATEST_OCTAVE - LEAST_OCTAVE) * BINS_PER_OCTAVE + 1
"""Bins of the gradient: one below 2**-32, then 128 an octave up to 2**4."""


@jit
def _gradient_line(image: Any, i: int, per_y: float, per_x: float, out: Any) -> None:
    """Sobel magnitude of row ``i + 1``, columns 1 to width - 1."""
    above, line, below = image[i], image[i + 1], image[i + 2]
    two = np.float32(2)  # an integer would make all of this float64, and twice as slow
    for j in range(out.size):
        ne, nw, se, sw = above[j + 2], above[j], below[j + 2], below[j]
        gx = ((ne - nw) + (se - sw) + two * (line[j + 2] - line[j])) * per_x
        gy = ((se - ne) + (sw - nw) + two * (below[j + 1] - above[j + 1])) * per_y
        out[j] = np.sqrt(gx * gx + gy * gy)


@jit
def _gradient(image: Any, per_y: float, per_x: float, out: Any) -> None:
    for b in range(out.shape[0]):
        for i in range(out.shape[1]):
            _gradient_line(image[b], i, per_y, per_x, out[b, i])


def gradient(image: Image, pixel_m: tuple[float, float]) -> Image:
    """Sobel gradient magnitude in reflectance per metre, shape (band, h - 2, w - 2); NaN next to no data.

    Parameters
    ----------
    image
        Shape (band, h, w).
    pixel_m
        Pixel size (y, x) in metres.
    """
    out = np.empty((image.shape[0], max(0, image.shape[1] - 2), max(0, image.shape[2] - 2)), np.float32)
    _gradient(image, *_per_metre(pixel_m), out)
    return out


def _per_metre(pixel_m: tuple[float, float]) -> tuple[Any, Any]:
    return np.float32(0.125 / pixel_m[0]), np.float32(0.125 / pixel_m[1])


_BASE = ((127 + LEAST_OCTAVE) << 7) - 1
"""Exponent and seven bits of mantissa of the greatest float32 number in the first bin."""


@jit
def _index_line(line: Any, edges: Any, out: Any) -> None:
    """Stratum of each gradient of a line between ``edges``, or its bin where there are none; -1 outside all."""
    if edges.size == 0:
        bits = line.view(np.int32)
        for j in range(line.size):
            k = np.int32(min(max((bits[j] >> 16) - _BASE, 0), BINS - 1))
            out[j] = k if abs(line[j]) < np.inf else np.int32(-1)
        return
    last = edges.size - 1
    out[:] = -1
    for edge in edges[:last]:  # edge by edge, without branches, so that many pixels are compared at once
        for j in range(line.size):
            out[j] += np.int32(1) if line[j] >= edge else np.int32(0)
    for j in range(line.size):
        out[j] = out[j] if line[j] < edges[last] else np.int32(-1)


@jit
def _strata_index(reference: Any, per_y: float, per_x: float, edges: Any, out: Any) -> None:
    line = np.empty(out.shape[2], np.float32)
    for b in range(out.shape[0]):
        for i in range(out.shape[1]):
            _gradient_line(reference[b], i, per_y, per_x, line)
            _index_line(line, edges, out[b, i])


def strata_index(
    reference: Image, *, pixel_m: tuple[float, float], edges: NDArray[np.float64] | None
) -> NDArray[np.int32]:
    """Find the stratum of every pixel, counted as in `strata_sums`.

    Returns
    -------
    ndarray
        Shape (band, h - 2, w - 2); -1 where a pixel belongs to none.
    """
    out = np.empty((reference.shape[0], max(0, reference.shape[1] - 2), max(0, reference.shape[2] - 2)), np.int32)
    _strata_index(reference, *_per_metre(pixel_m), _given(edges), out)
    return out


@jit
def _strata_sums(image: Any, reference: Any, per_y: float, per_x: float, edges: Any, out: Any) -> None:
    bands, height, width = image.shape
    line, index = np.empty(width - 2, np.float32), np.empty(width - 2, np.int32)
    for b in range(bands):
        for i in range(height - 2):
            _gradient_line(reference[b], i, per_y, per_x, line)
            _index_line(line, edges, index)
            for j in range(width - 2):
                k, y = index[j], np.float64(reference[b, i + 1, j + 1])
                e = image[b, i + 1, j + 1] - y
                if k >= 0 and np.isfinite(e):
                    out[b, k, 0] += 1
                    out[b, k, 1] += e
                    out[b, k, 2] += abs(e)
                    out[b, k, 3] += e * e
                    out[b, k, 4] += y


def strata_sums(
    image: Image, reference: Image, *, pixel_m: tuple[float, float], edges: NDArray[np.float64] | None
) -> Sums:
    """Sum errors in strata of the reference's gradient, or in fine bins of which strata by quantile are merged.

    Parameters
    ----------
    image, reference
        Shape (band, h, w); the outermost row and column only serve the gradient.
    pixel_m
        Pixel size (y, x) in metres.
    edges
        Ascending edges in reflectance per metre; a stratum holds ``edges[k] <= g < edges[k + 1]``. Without edges a
        stratum is a bin: the float32 gradient cut to its exponent and seven bits of mantissa, so that bins are fixed
        numbers, 1/128 of an octave wide (0.8 % of the gradient at most), whatever the blocks; see `bin_edges`.

    Returns
    -------
    ndarray
        Columns `COUNT` to `REFERENCE`, shape (band, stratum or `BINS`, 5).
    """
    out = np.zeros((image.shape[0], BINS if edges is None else edges.size - 1, REFERENCE + 1))
    if min(image.shape[1:]) > 2:
        _strata_sums(image, reference, *_per_metre(pixel_m), _given(edges), out)
    return out


def _given(edges: NDArray[np.float64] | None) -> NDArray[np.float64]:
    return np.empty(0) if edges is None else edges


def bin_edges() -> NDArray[np.float64]:
    """Edges of the bins of `strata_sums` in reflectance per metre, 0 first and infinity last."""
    octave = np.arange(LEAST_OCTAVE, GREATEST_OCTAVE)[:, None]
    edges = (2.0**octave * (1 + np.arange(BINS_PER_OCTAVE) / BINS_PER_OCTAVE)).ravel()
    return np.concatenate([[0.0], edges, [np.inf]])


def merge_bins(sums: Sums, quantiles: NDArray[np.float64]) -> tuple[Sums, NDArray[np.float64]]:
    """Merge the bins of one band into strata between quantiles of the gradient.

    Parameters
    ----------
    sums
        Shape (`BINS`, n); the count of pixels first.
    quantiles
        Ascending, from 0 to 1.

    Returns
    -------
    strata : ndarray
        Shape (strata, n).
    edges : ndarray
        The edges used, in reflectance per metre: for each inner quantile the edge of a bin with the nearest share of
        pixels below it; NaN without pixels.
    """
    count = np.concatenate([[0.0], np.cumsum(sums[:, COUNT])])
    if count[-1] == 0:
        return np.zeros((quantiles.size - 1, sums.shape[1])), np.full(quantiles.size, np.nan)
    wanted = quantiles * count[-1]
    split = np.searchsorted(count, wanted)
    split -= (split > 0) & (wanted - count[split - 1] < count[split] - wanted)
    filled = np.flatnonzero(sums[:, COUNT])
    split = np.clip(split, filled[0], filled[-1] + 1)
    split[0], split[-1] = filled[0], filled[-1] + 1
    merged = np.stack([sums[a:b].sum(axis=0) for a, b in pairwise(split)])
    return merged, bin_edges()[split]
