"""Separable and pointwise resampling of image stacks at arbitrary positions.

A position is a pixel coordinate in the source: pixel ``i`` has its centre at ``i`` and covers
``[i - 0.5, i + 0.5)``. Sums run in float64 and end in float32.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Padding
from xsr.core.errors import ParameterError
from xsr.core.keys import keys
from xsr.kernels.accelerate import jit
from xsr.kernels.taps import Taps

Method = Literal["nearest", "bilinear", "bicubic", "bicubic75", "lanczos3"]
"""Interpolation kernels; ``bicubic`` is Keys' a = -0.5, ``bicubic75`` a = -0.75 (PyTorch, OpenCV)."""

METHODS: tuple[str, ...] = get_args(Method)
RADIUS: dict[str, int] = {"nearest": 1, "bilinear": 1, "bicubic": 2, "bicubic75": 2, "lanczos3": 3}
"""Half-width of each kernel's support in source pixels."""


def kernel_value(distance: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    """Evaluate an interpolation kernel at signed distances in source pixels."""
    match method:
        case "bilinear":
            return np.maximum(1.0 - np.abs(distance), 0.0)
        case "bicubic":
            return keys(distance, -0.5)
        case "bicubic75":
            return keys(distance, -0.75)
        case "lanczos3":
            return np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)
    raise ParameterError(f"method {method!r} is unknown; expected one of {', '.join(METHODS)}.")


def interpolation_taps(position: NDArray[np.float64], method: str) -> Taps:
    """Weights that interpolate a sampled signal at ``position``.

    Parameters
    ----------
    position
        Source pixel coordinates, shape (n,).
    method
        One of `METHODS`. ``nearest`` takes the pixel that contains the position.
    """
    if method == "nearest":
        start = containing_pixel(position)
        return Taps(start, np.ones((start.size, 1)))
    radius = RADIUS.get(method, 1)
    start = np.floor(position).astype(np.int64) - radius + 1
    offset = start[:, None] + np.arange(2 * radius) - position[:, None]
    weight = kernel_value(offset, method)
    return Taps(start, weight / weight.sum(axis=1, keepdims=True))


def containing_pixel(position: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the pixel whose half-open extent holds ``position``."""
    return np.floor(position + 0.5).astype(np.int64)


@jit
def _rows(source: Any, start: Any, weight: Any, out: Any) -> None:
    n, _, width = source.shape
    taps = weight.shape[1]
    line = np.empty(width, np.float64)
    for k in range(n):
        for i in range(start.size):
            line[:] = 0.0
            for t in range(taps):
                w = weight[i, t]
                row = source[k, start[i] + t]
                for j in range(width):
                    line[j] += w * row[j]
            for j in range(width):
                out[k, i, j] = line[j]


@jit
def _cols(source: Any, start: Any, weight: Any, out: Any) -> None:
    n, height, _ = source.shape
    taps = weight.shape[1]
    for k in range(n):
        for i in range(height):
            row = source[k, i]
            for j in range(start.size):
                total = 0.0
                for t in range(taps):
                    total += weight[j, t] * row[start[j] + t]
                out[k, i, j] = total


def _require_inside(source: NDArray[np.float32], rows: Taps, cols: Taps) -> None:
    """Kernels check no index: what lies beyond is any memory, and NaN there is NaN even with a weight of zero."""
    for taps, size in zip((rows, cols), source.shape[-2:], strict=True):
        if taps.start.size and not 0 <= taps.start.min() <= taps.start.max() <= size - taps.weight.shape[1]:
            last = taps.start.max() + taps.weight.shape[1] - 1
            raise IndexError(f"taps on pixels {taps.start.min()} to {last} of {size}; expected padding around them.")


def resample(source: NDArray[np.float32], rows: Taps, cols: Taps) -> NDArray[np.float32]:
    """Resample ``source`` (n, h, w) to (n, len(rows), len(cols)) with separable weights.

    The caller pads: every tap must lie inside ``source``.
    """
    _require_inside(source, rows, cols)
    half = np.empty((source.shape[0], rows.start.size, source.shape[2]), np.float32)
    _rows(np.ascontiguousarray(source, np.float32), rows.start, rows.each, half)
    out = np.empty((source.shape[0], rows.start.size, cols.start.size), np.float32)
    _cols(half, cols.start, cols.each, out)
    return out


@jit
def _rows_strict(source: Any, start: Any, weight: Any, out: Any) -> None:
    n, _, width = source.shape
    line = np.empty(width, np.float64)
    for k in range(n):
        for i in range(start.size):
            line[:] = 0.0
            for t in range(weight.shape[1]):
                w = weight[i, t]
                if w != 0.0:
                    row = source[k, start[i] + t]
                    for j in range(width):
                        line[j] += w * row[j]
            for j in range(width):
                out[k, i, j] = line[j]


@jit
def _cols_strict(source: Any, start: Any, weight: Any, out: Any) -> None:
    n, height, _ = source.shape
    for k in range(n):
        for i in range(height):
            row = source[k, i]
            for j in range(start.size):
                total = 0.0
                for t in range(weight.shape[1]):
                    if weight[j, t] != 0.0:
                        total += weight[j, t] * row[start[j] + t]
                out[k, i, j] = total


def resample_strict(source: NDArray[np.float32], rows: Taps, cols: Taps) -> NDArray[np.float32]:
    """Resample like `resample`; NaN exactly where a pixel with a weight that is not zero is NaN.

    The caller pads, or gives weights of zero to taps outside: every tap must lie inside ``source``.
    """
    half = np.empty((source.shape[0], rows.start.size, source.shape[2]), np.float32)
    _rows_strict(np.ascontiguousarray(source, np.float32), rows.start, rows.each, half)
    out = np.empty((source.shape[0], rows.start.size, cols.start.size), np.float32)
    _cols_strict(half, cols.start, cols.each, out)
    return out


@jit
def _points(source: Any, row_start: Any, row_weight: Any, col_start: Any, col_weight: Any, out: Any) -> None:
    for q in range(row_start.size):
        for k in range(source.shape[0]):
            total = 0.0
            for t in range(row_weight.shape[1]):
                line = 0.0
                for u in range(col_weight.shape[1]):
                    line += col_weight[q, u] * source[k, row_start[q] + t, col_start[q] + u]
                total += row_weight[q, t] * line
            out[k, q] = total


def resample_points(source: NDArray[np.float32], rows: Taps, cols: Taps) -> NDArray[np.float32]:
    """Resample ``source`` (n, h, w) at scattered points: one row tap and one column tap set each, to (n, q)."""
    _require_inside(source, rows, cols)
    out = np.empty((source.shape[0], rows.start.size), np.float32)
    _points(np.ascontiguousarray(source, np.float32), rows.start, rows.each, cols.start, cols.each, out)
    return out


@jit
def _grow(source: Any, out: Any) -> None:
    n, height, width = source.shape
    for k in range(n):
        for i in range(height):
            for j in range(width):
                value = source[k, i, j]
                if np.isfinite(value):
                    out[k, i, j] = value
                    continue
                total = 0.0
                count = 0
                for y in range(max(i - 1, 0), min(i + 2, height)):
                    for x in range(max(j - 1, 0), min(j + 2, width)):
                        if np.isfinite(source[k, y, x]):
                            total += source[k, y, x]
                            count += 1
                out[k, i, j] = total / count if count else np.nan


def fill_nodata(
    source: NDArray[np.float32], *, passes: int, constant: NDArray[np.float32] | float
) -> NDArray[np.float32]:
    """Fill no-data pixels so that a filter can run over them.

    Each pass gives every invalid pixel the mean of its valid 3x3 neighbours; what is still invalid
    afterwards takes ``constant`` (one value, or one per image). The rule is local and free of order, so
    that windows of one image agree wherever they overlap by ``passes`` pixels.

    Parameters
    ----------
    source
        Image stack (n, h, w); NaN and infinities are no data.
    passes
        Number of passes; pixels up to this far from a valid one are filled from the image.
    constant
        Value for the remaining pixels, scalar or shape (n,).
    """
    gaps = np.flatnonzero(~np.isfinite(source).all(axis=(1, 2)))
    if not gaps.size:
        return source
    out = np.array(source, np.float32, order="C")
    filled = out[gaps]
    for _ in range(passes):
        grown = np.empty_like(filled)
        _grow(filled, grown)
        filled = grown
    rest = np.broadcast_to(np.asarray(constant, np.float32).reshape(-1, 1, 1), (len(out), 1, 1))[gaps]
    out[gaps] = np.where(np.isfinite(filled), filled, rest)
    return out


def interpolate(
    images: NDArray[np.float32], rows: NDArray[np.float64], cols: NDArray[np.float64], method: str
) -> NDArray[np.float32]:
    """Interpolate a stack with no-data at positions, and re-mask.

    Parameters
    ----------
    images
        Stack (n, h, w), padded by the caller; NaN and infinities are no data.
    rows, cols
        Positions, (H,) and (W,) for a grid or both (H, W) for points.
    method
        One of `METHODS`.

    Returns
    -------
    ndarray
        Stack (n, H, W), NaN where the pixel that contains the position is no data.
    """
    valid = np.isfinite(images)
    filled = fill_nodata(images, passes=RADIUS[method], constant=0.0)
    out = interpolate_filled(filled, rows, cols, method)
    return out if valid.all() else remask(out, valid, rows, cols)


def interpolate_filled(
    images: NDArray[np.float32], rows: NDArray[np.float64], cols: NDArray[np.float64], method: str
) -> NDArray[np.float32]:
    """Interpolate a finite stack (n, h, w) at positions; see `interpolate`."""
    if rows.ndim == 1:
        return resample(images, interpolation_taps(rows, method), interpolation_taps(cols, method))
    out = resample_points(images, interpolation_taps(rows.ravel(), method), interpolation_taps(cols.ravel(), method))
    return out.reshape(-1, *rows.shape)


def remask(
    out: NDArray[np.float32],
    valid: NDArray[np.bool_],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Set NaN where the input pixel that contains the position is not valid."""
    y, x = containing_pixel(rows), containing_pixel(cols)
    keep = valid[:, y[:, None], x] if rows.ndim == 1 else valid[:, y, x]
    return np.where(keep, out, np.float32(np.nan))


@dataclass(frozen=True)
class Interpolation:
    """Block function: fill no-data, interpolate, re-mask."""

    serial: ClassVar[bool] = True

    method: str
    padding: Padding = "edge"

    @property
    def halo(self) -> int:
        """Pixels needed around the two next to a position: the kernel's reach, and as many to fill from."""
        radius = RADIUS[self.method]
        return 0 if self.method == "nearest" else 2 * radius - 1

    def __call__(
        self,
        window: NDArray[np.float32],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> NDArray[np.float32]:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        dates, bands = window.shape[:2]
        images = window.reshape(dates * bands, *window.shape[2:])
        out = interpolate(images, rows, cols, self.method)
        return out.reshape(dates, bands, *out.shape[1:])
