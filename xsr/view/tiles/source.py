"""The pixels of a cube: read in the blocks in which they are stored, averaged for coarse zooms, and kept."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core.blocks import Span, edges, overlapping
from xsr.core.cube import Cube
from xsr.core.types import Stack
from xsr.view.tiles.memory import Memory

BLOCK = 512
"""Pixels along a side of what is read at once, where the blocks of the cube are larger than `LARGEST`."""
LARGEST = 32_000_000
"""Bytes of a block of the cube up to which it is read whole."""
SIDE = 256
"""Pixels along a side of an averaged image that is kept."""


class Source:
    """Reads rectangles of a cube, at its own resolution or averaged.

    Parameters
    ----------
    cube
        Validated cube.
    memory
        Where blocks are kept.
    name
        Under which they are, among those of other sources.
    """

    def __init__(self, cube: Cube, memory: Memory[Any], *, name: str = "") -> None:
        self.cube, self._memory, self._name = cube, memory, name
        self._data = cube.data.data
        self.shape = (cube.data.sizes["y"], cube.data.sizes["x"])
        times, _, rows, cols = _block_sizes(self._data)
        self._edges = edges(times), edges(rows), edges(cols)

    def fetch(self, dates: Sequence[int], rows: Span, cols: Span) -> Stack:
        """Rectangle of some dates (date, band, h, w); see `xsr.core.graph.Fetch`."""
        if isinstance(self._data, np.ndarray):
            return np.asarray(self._data[list(dates), :, rows.slice, cols.slice])
        out = np.empty((len(dates), self._data.shape[1], len(rows), len(cols)), np.float32)
        times, down, across = self._edges
        for n, date in enumerate(dates):
            (time,) = overlapping(Span(date, date + 1), times)
            for row, col in product(overlapping(rows, down), overlapping(cols, across)):
                block = self._block(time, row, col)[date - times[time]]
                (to_y, from_y), (to_x, from_x) = (
                    _shared(rows, down[row], block, 1),
                    _shared(cols, across[col], block, 2),
                )
                out[n, :, to_y, to_x] = block[:, from_y, from_x]
        return out

    def _block(self, time: int, row: int, col: int) -> Stack:
        """One block of the cube, of all its dates."""
        spans = [slice(e[n], e[n + 1]) for e, n in zip(self._edges, (time, row, col), strict=True)]

        def read() -> Stack:
            # In this thread: the threads of a server are at work side by side already.
            return np.asarray(self._data[spans[0], :, spans[1], spans[2]].compute(scheduler="synchronous"))

        block: Stack = self._memory.get((self._name, "block", time, row, col), read)
        return block

    # --- averaged ---------------------------------------------------------------------------------------------------

    def level_grid(self, level: int) -> GeoBox:
        """Grid whose pixels are 2 ** ``level`` of the cube's along a side, from its top-left corner on."""
        side = 2**level
        geobox = self.cube.geobox
        height, width = (-(-size // side) for size in self.shape)
        return GeoBox((height, width), geobox.affine @ geobox.affine.scale(side), geobox.crs)

    def average(self, date: int, level: int, rows: Span, cols: Span) -> NDArray[np.float32]:
        """Rectangle (band, h, w) of that grid: means of what is valid, halved in size again and again."""
        if level == 0:
            return self._padded(date, rows, cols)
        out = np.full((self._data.shape[1], len(rows), len(cols)), np.nan, np.float32)
        for row, col in product(_tiles(rows), _tiles(cols)):
            key = (self._name, "level", date, level, row, col)
            part = self._memory.get(key, partial(self._halved, date, level, row, col))
            (to_y, from_y), (to_x, from_x) = _shared(rows, row * SIDE, part, 1), _shared(cols, col * SIDE, part, 2)
            out[:, to_y, to_x] = part[:, from_y, from_x]
        return out

    def _halved(self, date: int, level: int, row: int, col: int) -> NDArray[np.float32]:
        """Tile of an averaged grid, from the next finer one."""
        height, width = self.level_grid(level).shape.yx
        rows, cols = (Span(n * SIDE * 2, min((n + 1) * SIDE, size) * 2) for n, size in ((row, height), (col, width)))
        return halve(self.average(date, level - 1, rows, cols))

    def _padded(self, date: int, rows: Span, cols: Span) -> NDArray[np.float32]:
        """Rectangle of the cube itself, NaN beyond it."""
        inner = [Span(min(s.start, size), min(s.stop, size)) for s, size in zip((rows, cols), self.shape, strict=True)]
        out = np.full((self._data.shape[1], len(rows), len(cols)), np.nan, np.float32)
        if all(map(len, inner)):
            out[:, : len(inner[0]), : len(inner[1])] = self.fetch([date], *inner)[0]
        return out


def halve(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over squares of 2 by 2 pixels of an image (band, h, w) of even sides: of those that are valid.

    >>> halve(np.array([[[1, 2], [np.nan, 3]]], np.float32))
    array([[[2.]]], dtype=float32)
    """
    bands, height, width = image.shape
    parts = image.reshape(bands, height // 2, 2, width // 2, 2)
    valid = np.isfinite(parts)
    count = valid.sum(axis=(2, 4), dtype=np.float32)
    total = np.where(valid, parts, np.float32(0)).sum(axis=(2, 4))
    return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))


def _block_sizes(data: Any) -> tuple[tuple[int, ...], ...]:
    """Sizes of the blocks that are read at once along (time, band, y, x)."""
    if isinstance(data, np.ndarray):
        return tuple((size,) for size in data.shape)
    times, bands, rows, cols = data.chunks
    if max(times) * sum(bands) * max(rows) * max(cols) * 4 <= LARGEST:
        return times, bands, rows, cols
    return (1,) * sum(times), bands, *(_cut(sizes) for sizes in (rows, cols))


def _cut(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Blocks of at most `BLOCK` pixels that do not straddle those of the cube."""
    return tuple(min(BLOCK, size - first) for size in sizes for first in range(0, size, BLOCK))


def _tiles(span: Span) -> range:
    return range(span.start // SIDE, -(-span.stop // SIDE))


def _shared(span: Span, start: int, part: NDArray[Any], axis: int) -> tuple[slice, slice]:
    """Where a part that begins at ``start`` lands in a span, and which of its pixels."""
    first, last = max(start, span.start), min(start + part.shape[axis], span.stop)
    return slice(first - span.start, last - span.start), slice(first - start, last - start)
