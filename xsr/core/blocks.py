"""Block plans on plain integers: who computes which output rectangle from which input window.

Plans start from the output, because one task must make one whole storage chunk; the input window follows from
the queries of the block and the halo of the function. Nothing here knows arrays, Dask or coordinates.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xsr.core.errors import ParameterError

Padding: TypeAlias = Literal["edge", "reflect"]
"""How a cube continues beyond its border: repeat the border pixel, or mirror about its centre."""


@dataclass(frozen=True)
class Span:
    """Half-open range of pixels along one axis."""

    start: int
    """First pixel."""
    stop: int
    """One past the last pixel."""

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        """The same range as a slice."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Window:
    """Input rectangle that a block reads; it may reach beyond the cube, where padding continues it."""

    rows: Span
    cols: Span

    def source(self, shape: tuple[int, int], padding: Padding) -> tuple[Span, Span]:
        """Pixels of a cube of ``shape`` that the window needs, border padding included."""
        return source_span(self.rows, shape[0], padding), source_span(self.cols, shape[1], padding)


BLOCKS = 1_000_000
"""Most blocks of a plan; one beyond that is a slip of the units."""


def chunk_sizes(size: int, chunk: int | Sequence[int]) -> tuple[int, ...]:
    """Split an axis into chunks: equal ones and a shorter last, or the given sizes.

    >>> chunk_sizes(10, 4)
    (4, 4, 2)
    """
    if isinstance(chunk, int):
        if chunk < 1:
            raise ParameterError(f"chunks={chunk}; expected a positive number of output pixels.")
        if size // chunk > BLOCKS:
            raise ParameterError(
                f"an axis of {size} pixels in chunks of {chunk}; expected at most {BLOCKS} chunks. Check the scale or"
                " resolution, or use larger chunks."
            )
        return (chunk,) * (size // chunk) + ((size % chunk,) if size % chunk else ())
    if sum(chunk) != size:
        raise ParameterError(f"chunks {tuple(chunk)} sum to {sum(chunk)}; the axis has {size} pixels.")
    return tuple(chunk)


def spans(sizes: Sequence[int]) -> tuple[Span, ...]:
    """Ranges of consecutive chunks.

    >>> spans((4, 4, 2))
    (Span(start=0, stop=4), Span(start=4, stop=8), Span(start=8, stop=10))
    """
    result, start = [], 0
    for size in sizes:
        result.append(Span(start, start + size))
        start += size
    return tuple(result)


def source_span(window: Span, size: int, padding: Padding) -> Span:
    """Pixels of an axis of ``size`` that a window needs, those that padding mirrors included.

    >>> source_span(Span(-3, 2), 10, "reflect"), source_span(Span(-3, 2), 10, "edge")
    (Span(start=0, stop=4), Span(start=0, stop=2))
    """
    start, stop = max(window.start, 0), min(window.stop, size)
    if padding == "reflect":
        if window.start < 0:
            stop = max(stop, min(size, 1 - window.start))
        if window.stop > size:
            start = min(start, max(0, 2 * size - window.stop - 1))
    start = min(start, size - 1)
    return Span(start, max(stop, start + 1))


def edges(sizes: Sequence[int]) -> tuple[int, ...]:
    """First pixels of consecutive chunks, and the end.

    >>> edges((4, 4, 2))
    (0, 4, 8, 10)
    """
    return tuple(accumulate(sizes, initial=0))


def overlapping(span: Span, edges: Sequence[int]) -> range:
    """Find the numbers of the chunks between ``edges`` that share pixels with ``span``.

    >>> overlapping(Span(3, 5), (0, 4, 8, 10))
    range(0, 2)
    """
    return range(bisect_right(edges, span.start) - 1, bisect_left(edges, span.stop)) if len(span) else range(0)


def padded_index(start: int, stop: int, size: int, mode: Padding) -> NDArray[np.int64]:
    """Map the window ``[start, stop)`` onto ``[0, size)``: the padding rule of a source axis.

    ``edge`` repeats the border pixel; ``reflect`` mirrors about its centre as ``numpy.pad`` does, as
    often as needed, so a window may exceed a tiny image many times over.
    """
    index = np.arange(start, stop)
    if mode == "edge" or size == 1:
        return np.clip(index, 0, size - 1)
    period = 2 * (size - 1)
    folded = np.mod(index, period)
    return np.where(folded < size, folded, period - folded)


def spread(size: int, *, side: int, count: int) -> list[Span]:
    """Windows of one size along an axis, spread evenly from end to end.

    >>> spread(10, side=4, count=3), spread(3, side=4, count=1)
    ([Span(start=0, stop=4), Span(start=3, stop=7), Span(start=6, stop=10)], [Span(start=0, stop=3)])
    """
    side = min(size, side)
    return [Span(start, start + side) for start in np.linspace(0, size - side, count).astype(int).tolist()]
