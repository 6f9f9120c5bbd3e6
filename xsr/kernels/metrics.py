"""Sums from which every metric follows: one pass over the pixels of a block, never means of means.

Every function takes one date of a block, arrays (band, h, w) in which NaN and infinities are no data, and
returns float64 sums that add up over blocks; a metric is a formula of the total. A pixel counts where both images are
valid. A window (SSIM, UQI, SCC), a gradient or a point spread function counts only where all the pixels it
touches are valid, and the pixels beyond the image are not: no number depends on an invented pixel, and
none on where blocks meet.

References
----------
Z. Wang, A. C. Bovik, "A universal image quality index", IEEE SPL 9 (2002), doi:10.1109/97.995823.
Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE TIP 13 (2004), doi:10.1109/TIP.2003.819861.
R. H. Yuhas, A. F. H. Goetz, J. W. Boardman, "Discrimination among semi-arid landscape endmembers using the spectral
angle mapper (SAM) algorithm", JPL Airborne Geoscience Workshop (1992).
L. Wald, "Quality of high resolution synthesised images: is there a simple criterion?", Fusion of Earth Data (2000).
J. Zhou, D. L. Civco, J. A. Silander, "A wavelet transform method to merge Landsat TM and SPOT panchromatic data",
Int. J. Remote Sensing 19 (1998), doi:10.1080/014311698215973.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.kernels.accelerate import jit

Image = NDArray[np.float32]
"""One date of a block, shape (band, h, w)."""
Sums = NDArray[np.float64]

COUNT, ERROR, ABSOLUTE, SQUARED, REFERENCE = range(5)
"""Columns of sums: pixels, e, |e|, e² and the reference, where e = image - reference."""

UNITS: dict[str, str] = {
    "mae": "reflectance",
    "rmse": "reflectance",
    "bias": "reflectance",
    "psnr": "dB",
    "ssim": "1",
    "uqi": "1",
    "scc": "1",
    "sam": "degree",
    "ergas": "1",
    "low_fidelity": "reflectance",
    "low_fidelity_rmse": "reflectance",
    "high_fidelity": "reflectance",
    "high_fidelity_rmse": "reflectance",
}
"""Metrics and their units."""

SSIM_RADIUS = 5
UQI_SIZE = 8
LAPLACIAN_RADIUS = 1
BINS_PER_OCTAVE = 128
LEAST_OCTAVE, GREATEST_OCTAVE = -32, 4
BINS = (GREATEST_OCTAVE - LEAST_OCTAVE) * BINS_PER_OCTAVE + 1
"""Bins of `histogram_sums`: one below 2**-32, then 128 an octave up to 2**4."""


def judged(
    image: NDArray[Any],
    *,
    rows: Span,
    cols: Span,
    shape: tuple[int, int],
    border: int = 0,
    mask: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Set NaN, in place, where a pixel is not to be judged: infinite, outside the mask, or near the image's border.

    Parameters
    ----------
    image
        Window (band, h, w) of pixels ``rows`` and ``cols`` of an image of ``shape``.
    mask
        1 where a pixel is judged, shape (band, h, w) or (1, h, w).
    border
        Pixels to leave out along each side of the image.

    Returns
    -------
    ndarray
        ``image`` itself.
    """
    for number, band in enumerate(image):  # band by band, so that masks stay small beside the image
        band[~np.isfinite(band)] = np.nan
        if mask is not None:
            band[mask[number if len(mask) > 1 else 0] != 1] = np.nan
        if border:
            for axis, (span, size) in enumerate(zip((rows, cols), shape, strict=True)):
                at = np.arange(span.start, span.stop)
                outside = (at < border) | (at >= size - border)
                band[outside if axis == 0 else (slice(None), outside)] = np.nan
    return image


# --- pixels ------------------------------------------------------------------------------------------------


@jit
def _error_sums(image: Any, reference: Any, out: Any) -> None:
    for b in range(image.shape[0]):
        count, error, absolute, squared, level = 0, 0.0, 0.0, 0.0, 0.0
        for i in range(image.shape[1]):
            for j in range(image.shape[2]):
                y = np.float64(reference[b, i, j])
                e = image[b, i, j] - y
                if np.isfinite(e):
                    count += 1
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
def _angle(image: Any, reference: Any, i: int, j: int) -> float:
    """Angle between two spectra in radians, NaN where one has no direction."""
    xx, yy, xy = 0.0, 0.0, 0.0
    for b in range(image.shape[0]):
        x = np.float64(image[b, i, j])
        y = np.float64(reference[b, i, j])
        xx += x * x
        yy += y * y
        xy += x * y
    if np.isfinite(xx + yy) and xx > 0.0 and yy > 0.0:
        return float(np.arccos(min(1.0, max(-1.0, xy / np.sqrt(xx * yy)))))
    return np.nan


@jit
def _angle_map(image: Any, reference: Any, out: Any) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = _angle(image, reference, i, j)


@jit
def _angle_sums(image: Any, reference: Any, out: Any) -> None:
    for i in range(image.shape[1]):
        for j in range(image.shape[2]):
            angle = _angle(image, reference, i, j)
            if np.isfinite(angle):
                out[0] += 1
                out[1] += angle


def angle_map(image: Image, reference: Image) -> NDArray[np.float64]:
    """Spectral angle of every pixel in radians, shape (h, w); NaN where a spectrum lacks a band or is zero."""
    out = np.empty(image.shape[1:])
    _angle_map(image, reference, out)
    return out


def angle_sums(image: Image, reference: Image) -> Sums:
    """Count pixels valid in all bands and sum their spectral angles in radians, shape (2,).

    A spectrum of zeros has no direction; such pixels do not count.
    """
    out = np.zeros(2)
    _angle_sums(image, reference, out)
    return out


# --- sliding windows ---------------------------------------------------------------------------------------


def gaussian_window() -> NDArray[np.float64]:
    """Window of SSIM: Gaussian of sigma 1.5 cut at 3.5 sigma, 11 weights (Wang et al. 2004; scikit-image)."""
    weight = np.exp(-0.5 * (np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1) / 1.5) ** 2)
    return np.asarray(weight / weight.sum(), np.float64)


def uniform_window() -> NDArray[np.float64]:
    """Window of UQI and SCC: 8 equal weights (Wang & Bovik 2002)."""
    return np.full(UQI_SIZE, 1.0 / UQI_SIZE)


SIMILARITY, QUALITY, CORRELATION = range(3)
FLAT = 1e-12
"""Variance relative to the mean square below which a window is flat: rounding of float64 sums, not contrast."""


@jit
def _index(kind: int, mx: float, my: float, xx: float, yy: float, xy: float, c1: float, c2: float) -> float:
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    if kind == 0:
        return (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    flat_x, flat_y = vx <= 1e-12 * xx, vy <= 1e-12 * yy
    if kind == 2:
        return 0.0 if flat_x or flat_y else cov / np.sqrt(vx * vy)
    level = mx * mx + my * my
    if level == 0.0:
        return 1.0
    if flat_x and flat_y:
        return 2 * mx * my / level
    return 4 * cov * mx * my / ((vx + vy) * level)


@jit
def _windows(
    image: Any, reference: Any, taps: Any, kind: int, c1: float, c2: float, total_of: Any, index_of: Any
) -> None:
    """Sum the index of valid windows, and write each into ``index_of`` unless that is empty."""
    bands, height, width = image.shape
    size = taps.size
    lines = np.empty((5, width), np.float64)
    sums = np.empty((5, max(0, width - size + 1)), np.float64)
    for b in range(bands):
        count, total = 0, 0.0
        for i in range(height - size + 1):
            lines[:] = 0.0
            for t in range(size):
                w = taps[t]
                row_x, row_y = image[b, i + t], reference[b, i + t]
                for j in range(width):
                    x, y = np.float64(row_x[j]), np.float64(row_y[j])
                    wx, wy = w * x, w * y
                    lines[0, j] += wx
                    lines[1, j] += wy
                    lines[2, j] += wx * x
                    lines[3, j] += wy * y
                    lines[4, j] += wx * y
            sums[:] = 0.0
            for k in range(5):
                for t in range(size):
                    w = taps[t]
                    for j in range(width - size + 1):
                        sums[k, j] += w * lines[k, j + t]
            for j in range(width - size + 1):
                value = _index(kind, sums[0, j], sums[1, j], sums[2, j], sums[3, j], sums[4, j], c1, c2)
                valid = np.isfinite(value) and np.isfinite(sums[4, j])
                if valid:
                    count += 1
                    total += value
                if index_of.size > 0:
                    index_of[b, i, j] = value if valid else np.nan
        total_of[b, 0], total_of[b, 1] = count, total


def window_sums(
    image: NDArray[Any],
    reference: NDArray[Any],
    *,
    window: NDArray[np.float64],
    kind: int,
    data_range: float = 0.0,
) -> Sums:
    """Count windows that lie inside and are valid throughout, and sum their index, shape (band, 2).

    Parameters
    ----------
    image, reference
        Shape (band, h, w).
    window
        Separable weights; see `gaussian_window` and `uniform_window`.
    kind
        `SIMILARITY`: SSIM with K1 = 0.01, K2 = 0.03 and population covariance (Wang et al. 2004, eq. 13).
        `QUALITY`: UQI (Wang & Bovik 2002, eq. 2), 1 for two black windows. `CORRELATION`: coefficient of
        correlation, 0 where a window is flat.
    data_range
        Range of the data, for SSIM.
    """
    out = np.zeros((image.shape[0], 2))
    _windows(image, reference, window, kind, *_constants(data_range), out, np.empty((0, 0, 0)))
    return out


def window_map(
    image: NDArray[Any],
    reference: NDArray[Any],
    *,
    window: NDArray[np.float64],
    kind: int,
    data_range: float = 0.0,
) -> NDArray[np.float64]:
    """Index of every window inside, NaN where it is not valid throughout; see `window_sums`.

    Returns
    -------
    ndarray
        Shape (band, h - n + 1, w - n + 1) for windows of n pixels.
    """
    out = np.empty((image.shape[0], *(max(0, size - window.size + 1) for size in image.shape[1:])))
    _windows(image, reference, window, kind, *_constants(data_range), np.zeros((image.shape[0], 2)), out)
    return out


def _constants(data_range: float) -> tuple[float, float]:
    return (0.01 * data_range) ** 2, (0.03 * data_range) ** 2


WINDOW_REACH: dict[str, tuple[int, int]] = {
    "ssim": (SSIM_RADIUS, SSIM_RADIUS),
    "uqi": (UQI_SIZE // 2, UQI_SIZE // 2 - 1),
    "scc": (UQI_SIZE // 2 + LAPLACIAN_RADIUS, UQI_SIZE // 2 - 1 + LAPLACIAN_RADIUS),
}
"""Pixels before and after a pixel that its window needs. A window of even size belongs to the pixel right of and below
its middle."""


def cut(image: NDArray[Any], halo: int, before: int = 0, after: int = 0) -> NDArray[Any]:
    """Cut a block out of its window (n, h, w), which has ``halo`` pixels around it, with some before and after."""
    inner = tuple(slice(halo - before, size - halo + after) for size in image.shape[1:])
    return image[:, inner[0], inner[1]]


def windows_of(
    metric: str, image: NDArray[Any], reference: NDArray[Any], *, halo: int, data_range: float
) -> dict[str, Any]:
    """Arguments of `window_sums` and `window_map` for a block and one of the metrics of `WINDOW_REACH`."""
    pair = [cut(x, halo, *WINDOW_REACH[metric]) for x in (image, reference)]
    if metric == "ssim":
        window, kind = gaussian_window(), SIMILARITY
    else:
        window, kind = uniform_window(), QUALITY if metric == "uqi" else CORRELATION
    if metric == "scc":
        pair = [laplacian(x) for x in pair]
    return {"image": pair[0], "reference": pair[1], "window": window, "kind": kind, "data_range": data_range}


@jit
def _laplacian(image: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                total = 9.0 * image[b, i + 1, j + 1]
                for u in range(3):
                    for v in range(3):
                        total -= np.float64(image[b, i + u, j + v])
                out[b, i, j] = total


def laplacian(image: Image) -> NDArray[np.float64]:
    """High-pass of SCC, weights 8 in the middle and -1 around it; shape (band, h - 2, w - 2)."""
    out = np.empty((image.shape[0], max(0, image.shape[1] - 2), max(0, image.shape[2] - 2)))
    _laplacian(image, out)
    return out


# --- strata ------------------------------------------------------------------------------------------------


@jit
def _gradient_line(image: Any, i: int, per_y: float, per_x: float, out: Any) -> None:
    """Sobel magnitude of row ``i + 1``, columns 1 to width - 1."""
    above, line, below = image[i], image[i + 1], image[i + 2]
    for j in range(out.size):
        ne, nw, se, sw = above[j + 2], above[j], below[j + 2], below[j]
        gx = ((ne - nw) + (se - sw) + 2 * (line[j + 2] - line[j])) * per_x
        gy = ((se - ne) + (sw - nw) + 2 * (below[j + 1] - above[j + 1])) * per_y
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


@jit
def _stratum(g: float, edges: Any) -> int:
    """Stratum of a gradient between the first edge and the last."""
    k = 0
    while g >= edges[k + 1]:
        k += 1
    return k


@jit
def _bin(bits: int, base: int, last: int) -> int:
    """Bin of a finite float32 gradient by its bits; see `histogram_sums`."""
    return min(max((bits >> 16) - base, 0), last)


@jit
def _strata_sums(image: Any, reference: Any, per_y: float, per_x: float, edges: Any, out: Any) -> None:
    bands, height, width = image.shape
    line = np.empty(width - 2, np.float32)
    last = edges.size - 1
    for b in range(bands):
        for i in range(height - 2):
            _gradient_line(reference[b], i, per_y, per_x, line)
            for j in range(width - 2):
                g = line[j]
                e = np.float64(image[b, i + 1, j + 1]) - np.float64(reference[b, i + 1, j + 1])
                if not (np.isfinite(e) and edges[0] <= g < edges[last]):
                    continue
                k = _stratum(g, edges)
                out[b, k, 0] += 1
                out[b, k, 1] += e
                out[b, k, 2] += abs(e)
                out[b, k, 3] += e * e


def strata_sums(image: Image, reference: Image, *, pixel_m: tuple[float, float], edges: NDArray[np.float64]) -> Sums:
    """Sum errors in strata of the reference's gradient: columns `COUNT` to `SQUARED`, shape (band, strata, 4).

    Parameters
    ----------
    image, reference
        Shape (band, h, w); the outermost row and column only serve the gradient.
    pixel_m
        Pixel size (y, x) in metres.
    edges
        Ascending edges in reflectance per metre; a stratum holds ``edges[k] <= g < edges[k + 1]``.
    """
    out = np.zeros((image.shape[0], edges.size - 1, 4))
    if min(image.shape[1:]) > 2:
        _strata_sums(image, reference, *_per_metre(pixel_m), edges, out)
    return out


@jit
def _histogram_sums(image: Any, reference: Any, per_y: float, per_x: float, base: int, out: Any) -> None:
    bands, height, width = image.shape
    line = np.empty(width - 2, np.float32)
    bits = line.view(np.int32)
    last = out.shape[1] - 1
    for b in range(bands):
        for i in range(height - 2):
            _gradient_line(reference[b], i, per_y, per_x, line)
            for j in range(width - 2):
                e = np.float64(image[b, i + 1, j + 1]) - np.float64(reference[b, i + 1, j + 1])
                if np.isfinite(e) and np.isfinite(line[j]):
                    k = _bin(bits[j], base, last)
                    out[b, k, 0] += 1
                    out[b, k, 1] += e
                    out[b, k, 2] += abs(e)
                    out[b, k, 3] += e * e


def histogram_sums(image: Image, reference: Image, *, pixel_m: tuple[float, float]) -> Sums:
    """Sum errors in fine bins of the reference's gradient, from which strata by quantile are merged.

    A bin is the float32 gradient cut to its exponent and seven bits of mantissa, so that bins are fixed
    numbers, 1/128 of an octave wide (0.8 % of the gradient at most), whatever the blocks; see `bin_edges`.

    Returns
    -------
    ndarray
        Columns `COUNT` to `SQUARED`, shape (band, `BINS`, 4).
    """
    out = np.zeros((image.shape[0], BINS, 4))
    if min(image.shape[1:]) > 2:
        _histogram_sums(image, reference, *_per_metre(pixel_m), _BASE, out)
    return out


_BASE = ((127 + LEAST_OCTAVE) << 7) - 1
"""Exponent and seven bits of mantissa of the greatest float32 number in the first bin."""


@jit
def _strata_index(reference: Any, per_y: float, per_x: float, edges: Any, base: int, last: int, out: Any) -> None:
    line = np.empty(out.shape[2], np.float32)
    bits = line.view(np.int32)
    for b in range(out.shape[0]):
        for i in range(out.shape[1]):
            _gradient_line(reference[b], i, per_y, per_x, line)
            for j in range(line.size):
                if edges.size == 0:
                    out[b, i, j] = _bin(bits[j], base, last) if np.isfinite(line[j]) else -1
                else:
                    out[b, i, j] = _stratum(line[j], edges) if edges[0] <= line[j] < edges[-1] else -1


def strata_index(
    reference: Image, *, pixel_m: tuple[float, float], edges: NDArray[np.float64] | None
) -> NDArray[np.int32]:
    """Find the stratum of every pixel as in `strata_sums`, or without edges of its bin as in `histogram_sums`.

    Returns
    -------
    ndarray
        Shape (band, h - 2, w - 2); -1 where a pixel belongs to none.
    """
    out = np.empty((reference.shape[0], max(0, reference.shape[1] - 2), max(0, reference.shape[2] - 2)), np.int32)
    given = np.empty(0) if edges is None else edges
    _strata_index(reference, *_per_metre(pixel_m), given, _BASE, BINS - 1, out)
    return out


@jit
def _add_map(index: Any, values: Any, out: Any) -> None:
    for i in range(index.shape[0]):
        for j in range(index.shape[1]):
            k = index[i, j]
            if k >= 0 and np.isfinite(values[i, j]):
                out[k, 0] += 1
                out[k, 1] += values[i, j]


def add_map(index: NDArray[np.int32], values: NDArray[Any], out: Sums) -> None:
    """Count the finite values of every stratum and add them up, in place.

    Parameters
    ----------
    index
        Number of each pixel's stratum, shape (h, w); see `strata_index`.
    values
        Shape (h, w).
    out
        Shape (strata, 2).
    """
    _add_map(index, values, out)


def bin_edges() -> NDArray[np.float64]:
    """Edges of the bins of `histogram_sums` in reflectance per metre, 0 first and infinity last."""
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
