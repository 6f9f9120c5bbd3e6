"""Halving the resolution of a block: the mean of the valid pixels, or the most frequent class."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xsr.core.packing import FILL, Packing
from xsr.core.store.ledger import Blocks, Index
from xsr.core.store.place import Place, store_errors

Method = Literal["average", "mode"]
"""Names of the two as GDAL and the convention ``multiscales`` have them."""


@dataclass(frozen=True)
class Halving:
    """Makes the blocks of a level from those of the finer one, as they lie in the store; travels to workers."""

    place: Place
    fingerprint: str
    """Settings of the store; another one that took its place is not read."""
    source: str
    """Array of the finer level."""
    blocks: Blocks
    """Blocks of the level that is made."""
    axes: tuple[int, ...]
    """Spatial axes."""
    method: Method
    packing: Packing | None = None
    """Of the stored numbers."""
    fill: int | None = None
    """Stored integer that is no data."""

    def __call__(self, index: Index) -> NDArray[Any]:
        """Values of one block, before they are brought to their stored form."""
        with store_errors(self.place, f"reading {self.source!r} of"):
            array = self.place.open_own(self.fingerprint)[self.source]
            region = enumerate(self.blocks.region(index))
            wide = [slice(2 * s.start, 2 * s.stop) if axis in self.axes else s for axis, s in region]
            numbers = np.asarray(array[tuple(wide)])
        if self.packing is not None:
            values = (numbers * self.packing.scale + self.packing.offset).astype(np.float32)
            numbers = np.where(numbers == FILL, np.float32(np.nan), values)
        return halved(numbers, self.axes, self.method, self.fill)

    def needs(self, index: Index, finer: Blocks) -> list[Index]:
        """Blocks of the finer level that a block is made of."""
        sides = [
            [n for n in (2 * at, 2 * at + 1) if n < len(sizes)] if axis in self.axes else [at]
            for axis, (at, sizes) in enumerate(zip(index, finer.sizes, strict=True))
        ]
        return list(product(*sides))


def halved(values: NDArray[Any], axes: Sequence[int], method: Method, fill: int | None = None) -> NDArray[Any]:
    """Make one pixel of every two by two.

    Parameters
    ----------
    values
        Pixels; NaN, or ``fill`` of integers, are no data. Beyond a last odd row or column there are none.
    axes
        Spatial axes.
    method
        ``average``, the mean of the valid pixels, of integers the nearest one; or ``mode``, the most frequent of them,
        of equally frequent ones the first by rows.
    fill
        Integer that is no data.

    Examples
    --------
    >>> halved(np.array([[1.0, np.nan, 5.0], [3.0, np.nan, 7.0]]), (0, 1), "average")
    array([[2., 6.]])
    >>> halved(np.array([[4, 7], [7, 9]]), (0, 1), "mode")
    array([[7]])
    """
    corners = [_corner(values, axes, at) for at in product((0, 1), repeat=len(axes))]
    shape = corners[0].shape
    padded = [np.zeros(shape, values.dtype) for _ in corners]
    known = [np.zeros(shape, bool) for _ in corners]
    for corner, pixels, valid in zip(corners, padded, known, strict=True):
        at = tuple(slice(n) for n in corner.shape)
        pixels[at] = corner
        valid[at] = (
            ~np.isnan(corner) if corner.dtype.kind in "fc" else np.ones((), bool) if fill is None else corner != fill
        )
    made = _mean(padded, known) if method == "average" else _mode(padded, known)
    empty = np.nan if values.dtype.kind in "fc" else fill or 0
    return np.where(np.any(known, axis=0), made, values.dtype.type(empty))


def _corner(values: NDArray[Any], axes: Sequence[int], at: Sequence[int]) -> NDArray[Any]:
    starts = dict(zip(axes, at, strict=True))
    return values[tuple(slice(starts[n], None, 2) if n in starts else slice(None) for n in range(values.ndim))]


def _mean(pixels: Sequence[NDArray[Any]], known: Sequence[NDArray[Any]]) -> NDArray[Any]:
    kind, wide = pixels[0].dtype, np.result_type(pixels[0].dtype, np.float64)
    total = np.zeros(pixels[0].shape, wide)
    for one, valid in zip(pixels, known, strict=True):
        total += np.where(valid, one, 0)
    mean = total / np.maximum(np.sum(known, axis=0), 1)
    made: NDArray[Any] = (np.rint(mean) if kind.kind in "iu" else mean).astype(kind)
    return made


def _mode(pixels: Sequence[NDArray[Any]], known: Sequence[NDArray[Any]]) -> NDArray[Any]:
    best = np.zeros(pixels[0].shape, np.int8)
    made = pixels[0].copy()
    for one, valid in zip(pixels, known, strict=True):
        votes = sum(
            (valid & other_valid & (one == other)).astype(np.int8)
            for other, other_valid in zip(pixels, known, strict=True)
        )
        more = votes > best
        best, made = np.where(more, votes, best), np.where(more, one, made)
    return made
