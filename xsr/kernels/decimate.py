"""Blur and coarser sampling of an image in one pass, by weights given for every output row and column.

The blur is separable and evaluated at the samples kept only. For each output row the rows under the taps are summed
into one line, and the line is summed along x into the output row: no image between input and output exists. The
line is split by phase first, so that the strided sum along x runs over contiguous numbers.

No data: sums run over the valid pixels and are divided by their share of the weights; below `MIN_VALID` the
output is NaN. Products and sums are single float32 operations in the order of the taps, whatever the block, so
that a pixel does not depend on how an image is cut; a kernel of 20 x 20 taps stays within 1e-6 of the exact sum.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import padded_index
from xsr.kernels.accelerate import jit
from xsr.kernels.taps import Taps

Image = NDArray[np.float32]
MIN_VALID = 0.5
"""Least share of a pixel's weight that must fall on valid pixels."""
PART = 128
"""Columns that are summed anew together where one of them has a gap."""
MAX_PERIOD = 16
"""Longest period of phases, in outputs, for which the line is split; beyond, each output has its own weights."""


def decimate(image: Image, rows: Taps, cols: Taps, *, min_valid: float = MIN_VALID, out: Image | None = None) -> Image:
    """Sum a stack (n, h, w) with separable weights, continued by reflection where they reach beyond it.

    Returns
    -------
    ndarray
        Shape (n, len(rows), len(cols)), float32: ``out``, where it is given.
    """
    count, height, width = image.shape
    out = np.empty((count, rows.start.size, cols.start.size), np.float32) if out is None else out
    if out.size == 0:
        return out
    source = np.ascontiguousarray(image, np.float32)
    down, across = _tables(rows, height), _tables(cols, width)
    counts = (*across[:4], (cols.weight != 0).astype(np.float32), *across[5:])
    for number in range(count):
        _decimate(source[number], down, across, counts, np.float32(min_valid - 1e-6), out[number])
    return out


def decimate_reference(image: Image, rows: Taps, cols: Taps, *, min_valid: float = MIN_VALID) -> Image:
    """Evaluate `decimate` in NumPy and float64: the definition, and the oracle of the compiled kernel."""
    row_index, col_index = (
        padded_index(0, size, size, "reflect")[_fold(taps, size)]
        for taps, size in zip((rows, cols), image.shape[1:], strict=True)
    )
    valid = np.isfinite(image)
    filled = np.where(valid, image, 0).astype(np.float64)
    total, share = (
        np.einsum(
            "nitju,it,ju->nij",
            stack[:, row_index[:, :, None, None], col_index],
            rows.each,
            cols.each,
            optimize=True,
        )
        for stack in (filled, valid.astype(np.float64))
    )
    enough = share >= min_valid - 1e-6
    return np.where(enough, total / np.where(enough, share, 1), np.nan).astype(np.float32)


def _fold(taps: Taps, size: int) -> NDArray[np.int64]:
    """Reflected source pixel of every weight, shape (n, taps)."""
    first, index = _reflected(taps, size)
    return np.asarray(index[taps.start[:, None] - first + np.arange(taps.weight.shape[1])], np.int64)


def _reflected(taps: Taps, size: int) -> tuple[int, NDArray[np.int64]]:
    """First pixel that the taps need, and the source pixel of it and all that follow."""
    first = min(0, int(taps.start.min()))
    last = max(size, int(taps.start.max()) + taps.weight.shape[1])
    return first, padded_index(first, last, size, "reflect")


def _tables(taps: Taps, size: int) -> tuple[Any, ...]:
    """Taps of an axis for the kernel.

    Source pixel by place, places before pixel 0, first place and phase of each output, weights, stride after which
    phases repeat, and the first places until they do.
    """
    first, index = _reflected(taps, size)
    stride, base = _period(taps)
    return index, -first, taps.start - first, taps.row, taps.weight.astype(np.float32), stride, base - first


def _period(taps: Taps) -> tuple[int, NDArray[np.int64]]:
    """Stride in source pixels after which phases repeat, and the first starts; stride 0 if they do not repeat soon."""
    start, phase = taps.start, taps.row
    for period in range(1, min(MAX_PERIOD, start.size - 1) + 1):
        stride = int(start[period] - start[0])
        if phase[period] != phase[0] or stride <= 0:  # two numbers rule most periods out
            continue
        if np.all(start[period:] - start[:-period] == stride) and np.array_equal(phase[period:], phase[:-period]):
            return stride, start[:period]
    return 0, start[:1]


@jit
def _add4(line: Any, a: Any, b: Any, c: Any, d: Any, wa: Any, wb: Any, wc: Any, wd: Any) -> None:
    for j in range(line.size):
        line[j] = line[j] + wa * a[j] + wb * b[j] + wc * c[j] + wd * d[j]


@jit
def _add1(line: Any, a: Any, wa: Any) -> None:
    for j in range(line.size):
        line[j] = line[j] + wa * a[j]


@jit
def _sum_rows(source: Any, row_index: Any, first: Any, weight: Any, line: Any) -> None:
    """Weighted sum of consecutive rows."""
    line[:] = np.float32(0)
    taps = weight.size
    t = 0
    while t + 4 <= taps:
        _add4(
            line,
            source[row_index[first + t]],
            source[row_index[first + t + 1]],
            source[row_index[first + t + 2]],
            source[row_index[first + t + 3]],
            weight[t],
            weight[t + 1],
            weight[t + 2],
            weight[t + 3],
        )
        t += 4
    while t < taps:
        _add1(line, source[row_index[first + t]], weight[t])
        t += 1


@jit
def _sum_valid_rows(source: Any, row_index: Any, first: Any, weight: Any, line: Any, share: Any, gap: Any) -> None:
    """Weighted sum of the valid pixels of consecutive rows, the sum of their weights, and where any is invalid."""
    line[:] = np.float32(0)
    share[:] = np.float32(0)
    gap[:] = np.float32(0)
    for t in range(weight.size):
        row = source[row_index[first + t]]
        w = weight[t]
        counts = np.float32(1) if w != 0 else np.float32(0)  # phases share a table: some have fewer taps
        for j in range(line.size):
            v = row[j]
            valid = v - v == np.float32(0)
            line[j] = line[j] + w * (v if valid else np.float32(0))
            share[j] = share[j] + (w if valid else np.float32(0))
            gap[j] = gap[j] + (np.float32(0) if valid else counts)


@jit
def _sum_where_gaps(source: Any, row_index: Any, first: Any, weight: Any, line: Any, share: Any, gap: Any) -> None:
    """Sum the valid pixels where a sum of consecutive rows is not finite, part by part; see `_sum_valid_rows`."""
    total = np.float32(0)
    for t in range(weight.size):
        total = total + weight[t]
    for start in range(0, line.size, PART):
        stop = min(start + PART, line.size)
        if _all_finite(line[start:stop]):
            share[start:stop] = total
            gap[start:stop] = np.float32(0)
            continue
        part = source[:, start:stop]
        _sum_valid_rows(part, row_index, first, weight, line[start:stop], share[start:stop], gap[start:stop])


@jit
def _all_finite(line: Any) -> Any:
    bad = 0
    for j in range(line.size):
        v = line[j]
        bad += v - v != np.float32(0)
    return bad == 0


@jit
def _widen(line: Any, before: Any, col_index: Any, wide: Any) -> None:
    """Continue a line on both sides by the source pixels of ``col_index``."""
    for j in range(before):
        wide[j] = line[col_index[j]]
    wide[before : before + line.size] = line
    for j in range(before + line.size, col_index.size):
        wide[j] = line[col_index[j]]


@jit
def _split(wide: Any, stride: Any, parts: Any) -> None:
    """Deal the numbers of a line to ``stride`` contiguous parts."""
    whole = wide.size // stride
    for s in range(stride):
        part = parts[s]
        for k in range(whole):
            part[k] = wide[k * stride + s]
    for j in range(whole * stride, wide.size):
        parts[j - whole * stride, whole] = wide[j]


@jit
def _sum_parts(parts: Any, stride: Any, start: Any, weight: Any, line: Any) -> None:
    """Weighted sum along x for the outputs of one phase."""
    line[:] = np.float32(0)
    n = line.size
    taps = weight.size
    t = 0
    while t + 4 <= taps:
        a, b, c, d = start + t, start + t + 1, start + t + 2, start + t + 3
        _add4(
            line,
            parts[a % stride, a // stride : a // stride + n],
            parts[b % stride, b // stride : b // stride + n],
            parts[c % stride, c // stride : c // stride + n],
            parts[d % stride, d // stride : d // stride + n],
            weight[t],
            weight[t + 1],
            weight[t + 2],
            weight[t + 3],
        )
        t += 4
    while t < taps:
        a = start + t
        _add1(line, parts[a % stride, a // stride : a // stride + n], weight[t])
        t += 1


@jit
def _sum_cols(wide: Any, start: Any, phase: Any, weight: Any, out: Any) -> None:
    """Weighted sum along x, each output with the weights of its own phase."""
    for j in range(out.size):
        w = weight[phase[j]]
        s = start[j]
        total = np.float32(0)
        for t in range(w.size):
            total = total + w[t] * wide[s + t]
        out[j] = total


@jit
def _decimate(source: Any, rows: Any, cols: Any, counts: Any, least: Any, out: Any) -> None:
    """One image; ``rows`` and ``cols`` are the tables of `_tables`, ``counts`` has 1 for every weight but 0."""
    row_index, _, row_start, row_phase, row_weight, _, _ = rows
    index, _, _, _, _, stride, base = cols
    line = np.empty(source.shape[1], np.float32)
    wide = np.empty(index.size, np.float32)
    parts = np.empty((max(stride, 1), index.size // max(stride, 1) + 1), np.float32)
    some = np.empty((base.size, out.shape[1] // base.size + 1), np.float32)
    shares, gaps = np.empty((2, source.shape[1]), np.float32)
    share, gap = np.empty((2, out.shape[1]), np.float32)
    for i in range(out.shape[0]):
        weight = row_weight[row_phase[i]]
        _sum_rows(source, row_index, row_start[i], weight, line)
        if _all_finite(line):
            _line(line, cols, wide, parts, some, out[i])
            continue
        _sum_where_gaps(source, row_index, row_start[i], weight, line, shares, gaps)
        _line(line, cols, wide, parts, some, out[i])
        _line(shares, cols, wide, parts, some, share)
        _line(gaps, counts, wide, parts, some, gap)
        _divide(share, gap, least, out[i])


@jit
def _line(line: Any, cols: Any, wide: Any, parts: Any, some: Any, out: Any) -> None:
    """Sum one line along x."""
    index, before, start, phase, weight, stride, base = cols
    _widen(line, before, index, wide)
    if stride == 0:
        _sum_cols(wide, start, phase, weight, out)
        return
    _split(wide, stride, parts)
    if base.size == 1:
        _sum_parts(parts, stride, base[0], weight[phase[0]], out)
        return
    for r in range(base.size):
        n = (out.size - r + base.size - 1) // base.size
        _sum_parts(parts, stride, base[r], weight[phase[r]], some[r, :n])
        for k in range(n):
            out[r + k * base.size] = some[r, k]


@jit
def _divide(share: Any, gap: Any, least: Any, out: Any) -> None:
    """Divide sums over valid pixels by their share of the weight; sums without a gap keep their bits."""
    for j in range(out.size):
        if gap[j] > 0:
            out[j] = out[j] / share[j] if share[j] >= least and share[j] > 0 else np.float32(np.nan)
