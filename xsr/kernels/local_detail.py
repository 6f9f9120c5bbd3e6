"""Local regression of bands on sharper ones, and what it carries over: for networks, on a CPU.

The same as `xsr.models.architectures.injection` computes from tensors where derivatives are wanted, and described
there; here row by row, so that what belongs to a row stays in the cache. Numbers differ by rounding.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xsr.kernels.accelerate import jit

F = np.float32
N = np.uint64
Flat = NDArray[F]
WINDOW = 3
"""Half-side in pixels of the windows of a regression, and of those over which slopes are averaged."""
BORDER = N(3)
"""Pixels beyond a row that interpolation reads at most."""
ONE, TWO, REACH, SEVEN, UNIT = N(1), N(2), N(WINDOW), N(2 * WINDOW + 1), F(1)


def slopes_and_detail(
    images: NDArray[F], guide: NDArray[F], lost: NDArray[F], ridge: float
) -> tuple[NDArray[F], NDArray[F]]:
    """Regress images on the bands of a guide around each pixel, and apply the slopes to what the guide has lost.

    Parameters
    ----------
    images
        (C, H, W).
    guide
        Standardised, (G, H, W).
    lost
        What the guide would have more if it were sharper, (G, H, W).
    ridge
        Variance of the guide that counts as noise.

    Returns
    -------
    slopes : ndarray
        (C, G, H, W).
    detail : ndarray
        (C, H, W).
    """
    count, height, width = images.shape
    raw = np.empty((count, len(guide), height, width), np.float32)
    slopes, detail = np.empty_like(raw), np.zeros(images.shape, np.float32)
    sizes = N(count), N(len(guide)), N(height), N(width)
    place = np.arange(width)
    columns = np.minimum(place + WINDOW + 1, width) - np.maximum(place - WINDOW, 0)
    share = np.reciprocal(columns.astype(np.float32))
    _regress(np.concatenate((guide, images)).ravel(), *sizes, F(ridge), share, raw.ravel())
    _average(raw.ravel(), np.ascontiguousarray(lost).ravel(), *sizes, share, slopes.ravel(), detail.ravel())
    return slopes, detail


@jit
def _rows_around(row: N, rows: N) -> tuple[N, N]:  # pragma: no cover
    """First row of a window, and the one after its last."""
    return max(row, REACH) - REACH, min(row + REACH + ONE, rows)


@jit
def _mean_of_rows(one: Flat, first: N, rows: N, width: N, out: Flat, begin: N) -> None:  # pragma: no cover
    """Mean over rows that follow each other, at most `SEVEN`."""
    part = UNIT / F(rows)
    r1, r2, r3, r4, r5, r6 = width, TWO * width, N(3) * width, N(4) * width, N(5) * width, N(6) * width
    if rows == SEVEN:
        for x in range(width):
            a = first + x
            low, high = one[a] + one[a + r1] + one[a + r2], one[a + r4] + one[a + r5] + one[a + r6]
            out[begin + x] = (low + one[a + r3] + high) * part
        return
    for x in range(width):
        total = one[first + x]
        for row in range(ONE, rows):
            total += one[first + row * width + x]
        out[begin + x] = total * part


@jit
def _mean_of_products(
    one: Flat, first: N, other: Flat, second: N, rows: N, width: N, out: Flat, begin: N
) -> None:  # pragma: no cover
    """Mean over rows of the products of two images."""
    part = UNIT / F(rows)
    r1, r2, r3, r4, r5, r6 = width, TWO * width, N(3) * width, N(4) * width, N(5) * width, N(6) * width
    if rows == SEVEN:
        for x in range(width):
            a, b = first + x, second + x
            low = one[a] * other[b] + one[a + r1] * other[b + r1] + one[a + r2] * other[b + r2]
            high = one[a + r4] * other[b + r4] + one[a + r5] * other[b + r5] + one[a + r6] * other[b + r6]
            out[begin + x] = (low + one[a + r3] * other[b + r3] + high) * part
        return
    for x in range(width):
        total = one[first + x] * other[second + x]
        for row in range(ONE, rows):
            total += one[first + row * width + x] * other[second + row * width + x]
        out[begin + x] = total * part


@jit
def _mean_of_columns(line: Flat, width: N, share: Flat, out: Flat, begin: N) -> None:  # pragma: no cover
    """Mean over the columns around each one; the line has `WINDOW` zeros before and after it."""
    for x in range(width):
        low, high = line[x] + line[x + ONE] + line[x + TWO], line[x + N(4)] + line[x + N(5)] + line[x + N(6)]
        out[begin + x] = (low + line[x + N(3)] + high) * share[x]


@jit
def _subtract(one: Flat, a: N, other: Flat, b: N, out: Flat, o: N, width: N) -> None:  # pragma: no cover
    """Subtract a product."""
    for x in range(width):
        out[o + x] -= one[a + x] * other[b + x]


@jit
def _scale(factor: Flat, a: N, out: Flat, o: N, width: N) -> None:  # pragma: no cover
    for x in range(width):
        out[o + x] *= factor[a + x]


@jit
def _factorise(matrix: Flat, size: N, width: N, least: F, inverse: Flat) -> None:  # pragma: no cover
    """Replace the lower half of a positive definite matrix of each pixel by its Cholesky factor.

    ``inverse`` becomes one over the diagonal.
    """
    for i in range(size):
        for j in range(i + ONE):
            place = (i * size + j) * width
            for k in range(j):
                _subtract(matrix, (i * size + k) * width, matrix, (j * size + k) * width, matrix, place, width)
            if i == j:
                for x in range(width):
                    inverse[i * width + x] = UNIT / np.sqrt(max(matrix[place + x], least))
            else:
                _scale(inverse, j * width, matrix, place, width)


@jit
def _solve(matrix: Flat, inverse: Flat, size: N, width: N, out: Flat) -> None:  # pragma: no cover
    """Solve the equations of each pixel, forwards and then backwards; ``out`` is the right side before."""
    for i in range(size):
        for k in range(i):
            _subtract(matrix, (i * size + k) * width, out, k * width, out, i * width, width)
        _scale(inverse, i * width, out, i * width, width)
    for step in range(size):
        last = size - ONE - step
        for k in range(last + ONE, size):
            _subtract(matrix, (k * size + last) * width, out, k * width, out, last * width, width)
        _scale(inverse, last * width, out, last * width, width)


@jit
def _regress(  # pragma: no cover
    bands: Flat, count: N, guides: N, height: N, width: N, ridge: F, share: Flat, out: Flat
) -> None:
    """Slopes of images on guides; ``bands`` has the guides first."""
    plane, every = height * width, guides + count
    line = np.zeros(width + TWO * REACH, np.float32)
    means = np.empty(every * width, np.float32)
    matrix = np.empty(guides * guides * width, np.float32)
    inverse, right = np.empty(guides * width, np.float32), np.empty(guides * width, np.float32)
    for y in range(height):
        first, last = _rows_around(N(y), height)
        top, rows = first * width, last - first
        for a in range(every):
            _mean_of_rows(bands, a * plane + top, rows, width, line, REACH)
            _mean_of_columns(line, width, share, means, a * width)
        for a in range(every):
            for b in range(min(a + ONE, guides)):
                _mean_of_products(bands, a * plane + top, bands, b * plane + top, rows, width, line, REACH)
                if a < guides:
                    place = (a * guides + b) * width
                    _mean_of_columns(line, width, share, matrix, place)
                    _subtract(means, a * width, means, b * width, matrix, place, width)
                    if a == b:
                        for x in range(width):
                            matrix[place + x] += ridge
                else:
                    _mean_of_columns(line, width, share, right, b * width)
                    _subtract(means, a * width, means, b * width, right, b * width, width)
            if a + ONE == guides:
                _factorise(matrix, guides, width, ridge / F(2), inverse)
            if a >= guides:
                _solve(matrix, inverse, guides, width, right)
                for b in range(guides):
                    place = ((a - guides) * guides + b) * plane + y * width
                    for x in range(width):
                        out[place + x] = right[b * width + x]


@jit
def _average(  # pragma: no cover
    raw: Flat,
    lost: Flat,
    count: N,
    guides: N,
    height: N,
    width: N,
    share: Flat,
    slopes: Flat,
    detail: Flat,
) -> None:
    """Average slopes over windows, and add up what they make of the guides."""
    plane = height * width
    line = np.zeros(width + TWO * REACH, np.float32)
    for y in range(height):
        first, last = _rows_around(N(y), height)
        top, here = first * width, y * width
        for k in range(count * guides):
            _mean_of_rows(raw, k * plane + top, last - first, width, line, REACH)
            _mean_of_columns(line, width, share, slopes, k * plane + here)
            image, band = (k // guides) * plane + here, (k % guides) * plane + here
            for x in range(width):
                detail[image + x] += slopes[k * plane + here + x] * lost[band + x]


def carried_over(
    output: NDArray[F],
    detail: NDArray[F],
    slopes: NDArray[F],
    taps: Sequence[tuple[int, Sequence[float]]],
    margin: int = 0,
) -> NDArray[F]:
    """Add to the coarse bands of an output what its sharp ones say of them, as far as the output trusts it.

    Parameters
    ----------
    output
        ((H - 2 * margin) * factor, (W - 2 * margin) * factor, B + C): B bands, the C last of them coarse, and the
        trust.
    detail
        Of the coarse bands, (C, H, W); it is enlarged.
    slopes
        (C, G, H, W).
    taps
        For each output pixel inside of an input pixel, along one axis, the first of the four input pixels that it is
        interpolated from, counted from that one, and their weights. The outermost pixels are repeated.
    margin
        Pixels along each side of the detail and the slopes that the output leaves out.

    Returns
    -------
    ndarray
        (B, (H - 2 * margin) * factor, (W - 2 * margin) * factor).
    """
    count, guides, height, width = slopes.shape
    out = np.empty((output.shape[2] - count, *output.shape[:2]), np.float32)
    first, weights = (np.array(values) for values in zip(*taps, strict=True))
    sizes = N(count), N(guides), N(height), N(width), N(len(taps)), N(margin)
    flat, details, slope = (np.ascontiguousarray(one).ravel() for one in (output, detail, slopes))
    _carry(flat, details, slope, first, weights.astype(np.float32), *sizes, out.ravel())
    return out


@jit
def _enlarge_row(  # pragma: no cover
    image: Flat, begin: N, row: int, height: N, width: N, weights: Flat, line: Flat, start: N
) -> None:
    """Interpolate between four rows of an image; the line gets `BORDER` more of its outermost pixels on each side."""
    most = int(height) - 1
    a, b = begin + N(min(max(row, 0), most)) * width, begin + N(min(max(row + 1, 0), most)) * width
    c, d = begin + N(min(max(row + 2, 0), most)) * width, begin + N(min(max(row + 3, 0), most)) * width
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    inside = start + BORDER
    for x in range(width):
        line[inside + x] = w0 * image[a + x] + w1 * image[b + x] + w2 * image[c + x] + w3 * image[d + x]
    for x in range(BORDER):
        line[start + x] = line[inside]
        line[inside + width + x] = line[inside + width - ONE]


@jit
def _carry(  # pragma: no cover
    output: Flat,
    detail: Flat,
    slopes: Flat,
    first: NDArray[np.int64],
    weights: NDArray[F],
    count: N,
    guides: N,
    height: N,
    width: N,
    factor: N,
    margin: N,
    out: Flat,
) -> None:
    """Go along rows of the output, and there along the pixels at one place inside of their input pixels."""
    inner, plane, wide = width - TWO * margin, height * width, width + TWO * BORDER
    fine, rows = inner * factor, (height - TWO * margin) * factor
    bands = out.size // (rows * fine)
    channels, large, sharp = bands + count, rows * fine, bands - count
    between, line = np.empty(count * wide, np.float32), np.empty(channels * inner, np.float32)
    total = np.empty(inner, np.float32)
    for y in range(rows):
        row, phase = margin + y // factor, y % factor
        for c in range(count):
            nearest = int(row) + first[phase]
            _enlarge_row(detail, c * plane, nearest, height, width, weights[phase], between, c * wide)
        for inside in range(factor):
            here = y * fine + inside
            for c in range(channels):
                for x in range(inner):
                    line[c * inner + x] = output[(here + x * factor) * channels + c]
            for b in range(sharp):
                for x in range(inner):
                    out[b * large + here + x * factor] = line[b * inner + x]
            w0, w1, w2, w3 = weights[inside, 0], weights[inside, 1], weights[inside, 2], weights[inside, 3]
            for c in range(count):
                start = N(int(c * wide + BORDER + margin) + first[inside])
                for x in range(inner):
                    low = w0 * between[start + x] + w1 * between[start + x + ONE]
                    high = w2 * between[start + x + TWO] + w3 * between[start + x + N(3)]
                    total[x] = low + high
                for b in range(guides):
                    slope = (c * guides + b) * plane + row * width + margin
                    for x in range(inner):
                        total[x] += slopes[slope + x] * line[b * inner + x]
                own, trust, place = (sharp + c) * inner, (bands + c) * inner, (sharp + c) * large + here
                for x in range(inner):
                    out[place + x * factor] = line[own + x] + line[trust + x] * total[x]
