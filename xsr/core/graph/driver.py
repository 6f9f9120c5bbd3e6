"""From windows to chunks and back: the one driver of all lazy and eager work over arrays (time, band, y, x).

A task holds numbers alone: which part of the result it computes. What all tasks share, the function and the plan, is in
the graph once, under a key of its own; from the numbers of a part follow the rectangles of the sources that it reads.
The task gets the chunks that these rectangles touch and cuts them itself: the halo adds no tasks.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any, Protocol, TypeAlias
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from xsr.core import progress
from xsr.core.blocks import Span, edges, overlapping
from xsr.core.graph.schedulers import side_by_side

Index: TypeAlias = tuple[int, ...]
"""Number of a part of a result along every axis."""


@dataclass(frozen=True, slots=True)
class Read:
    """Rectangle of a source, on some dates; empty spans read nothing."""

    dates: Sequence[int]
    rows: Span
    cols: Span


NOTHING = Read((), Span(0, 0), Span(0, 0))


class Work(Protocol):
    """What the tasks of a result share: a frozen dataclass of plain values, which travels to workers once."""

    def reads(self) -> Iterator[tuple[Index, Sequence[Read]]]:
        """Index of every part of the result, and what it reads of each source."""

    def read(self, index: Index) -> Sequence[Read]:
        """Find what one part reads of each source."""

    def __call__(self, index: Index, sources: Sequence["Mosaic"]) -> NDArray[Any]:
        """Compute one part."""


@dataclass(frozen=True)
class Mosaic:
    """Chunks of a source, and the place of the first element of each: (date, band, row, column)."""

    tiles: Sequence[tuple[Index, NDArray[Any]]]
    bands: int
    """Number of bands of the source."""

    @classmethod
    def whole(cls, source: NDArray[Any]) -> "Mosaic":
        """Mosaic of one array (time, band, y, x) in memory."""
        return cls([((0, 0, 0, 0), source)], source.shape[1])

    def tile(self, date: int, rows: Span, cols: Span) -> NDArray[Any] | None:
        """One date of the chunk that is exactly this rectangle, (band, h, w), not copied; None if there is none."""
        if len(self.tiles) != 1:
            return None
        (first, _, top, left), chunk = self.tiles[0]
        place = (top, left, *chunk.shape[1:])
        whole = place == (rows.start, cols.start, self.bands, len(rows), len(cols))
        return chunk[date - first] if whole and 0 <= date - first < len(chunk) else None

    def fill(self, out: NDArray[Any], dates: Sequence[int], rows: Span, cols: Span) -> None:
        """Write a rectangle into an array (date, band, y, x), where chunks hold it."""
        for (first, band, top, left), chunk in self.tiles:
            bands = slice(band, band + chunk.shape[1])
            into_y, from_y = _overlap(top, chunk.shape[2], rows)
            into_x, from_x = _overlap(left, chunk.shape[3], cols)
            for place, date in enumerate(dates):
                if 0 <= date - first < chunk.shape[0]:
                    out[place, bands, into_y, into_x] = chunk[date - first, :, from_y, from_x]


def _overlap(start: int, size: int, span: Span) -> tuple[slice, slice]:
    """Where a chunk at ``start`` lands in a span, and which of its pixels; none if it lies beside."""
    first = max(start, span.start)
    last = max(first, min(start + size, span.stop))
    return slice(first - span.start, last - span.start), slice(first - start, last - start)


@dataclass(frozen=True)
class Layout:
    """How a Dask array (time, band, y, x) is cut into chunks: first elements along every axis, and the end."""

    edges: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, source: Any) -> "Layout":
        """Layout of a Dask array."""
        return cls(tuple(map(edges, source.chunks)))

    def touched(self, read: Read) -> list[Index]:
        """Numbers of the chunks that hold a rectangle, of all bands."""
        times, bands, rows, cols = self.edges
        owners = sorted({bisect_right(times, date) - 1 for date in read.dates})
        return list(product(owners, range(len(bands) - 1), overlapping(read.rows, rows), overlapping(read.cols, cols)))

    def mosaic(self, chunks: Sequence[tuple[Index, NDArray[Any]]]) -> Mosaic:
        """Mosaic of chunks with their numbers."""
        places = [tuple(first[n] for first, n in zip(self.edges, number, strict=True)) for number, _ in chunks]
        return Mosaic(
            [(place, chunk) for place, (_, chunk) in zip(places, chunks, strict=True)], bands=self.edges[1][-1]
        )


@dataclass(frozen=True)
class Shared:
    """What is in a graph once: the work, and the layouts of its sources."""

    work: Work
    layouts: tuple[Layout, ...]

    def compute(self, index: Index, chunks: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Compute one part of a result from the chunks that it touches, those of the first source first."""
        reads = zip(self.layouts, self.work.read(index), strict=True)
        touched = [layout.touched(read) for layout, read in reads]
        starts = accumulate(map(len, touched), initial=0)
        numbered = list(zip((n for numbers in touched for n in numbers), chunks, strict=True))
        sources = [
            layout.mosaic(numbered[start : start + len(numbers)])
            for layout, numbers, start in zip(self.layouts, touched, starts, strict=False)
        ]
        return self.work(index, sources)


def compute_here(
    work: Work, sources: Sequence[NDArray[Any]], task: str, *, threads: int | None = None
) -> Iterator[tuple[Index, NDArray[Any]]]:
    """Compute all parts of a result from arrays in memory, in order and with progress; ``task`` names it.

    See `xsr.core.graph.schedulers.side_by_side` for ``threads``.
    """
    mosaics = [Mosaic.whole(source) for source in sources]
    parts = [index for index, _ in work.reads()]
    with progress.where_watched(task, len(parts)) as advance:
        made = side_by_side(lambda index: work(index, mosaics), parts, threads=threads)
        for index, part in zip(parts, made, strict=True):
            yield index, part
            advance()


def key_of(name: str) -> str:
    """Key of what the tasks of a layer share."""
    return f"{name}-work"


def layer(work: Work, sources: Sequence[Any], name: str) -> dict[Any, Any]:
    """Tasks that compute all parts of a result, by the keys ``(name, *index)``; nothing is computed here.

    Parameters
    ----------
    work
        What the tasks share.
    sources
        Dask arrays (time, band, y, x).
    name
        Beginning of the keys.
    """
    shared = Shared(work, tuple(map(Layout.of, sources)))
    keys = [source.__dask_keys__() for source in sources]  # one object for each chunk, however many tasks need it
    key = key_of(name)
    tasks: dict[Any, Any] = {key: shared}
    for index, reads in work.reads():
        found = [
            chunks[t][b][y][x]
            for chunks, layout, read in zip(keys, shared.layouts, reads, strict=True)
            for t, b, y, x in layout.touched(read)
        ]
        tasks[(name, *index)] = (_task, key, _Number(index), *found)
    return tasks


class _Number:
    """Index of a part of a result, which Dask does not mistake for a key; small in memory and when pickled."""

    __slots__ = ("index",)

    def __init__(self, index: Index) -> None:
        self.index = index

    def __reduce__(self) -> tuple[type["_Number"], tuple[Index]]:
        return _Number, (self.index,)


def _task(shared: Shared, number: _Number, *chunks: NDArray[Any]) -> NDArray[Any]:
    return shared.compute(number.index, chunks)


def each(function: Callable[[NDArray[Any]], NDArray[Any]], values: Any, dtype: type[np.generic]) -> Any:
    """Apply a function of one array to every chunk of a Dask array, or to an array in memory."""
    if isinstance(values, np.ndarray):
        return function(values)
    import dask.array as da

    return da.map_blocks(function, values, dtype=dtype, meta=np.empty((0,) * values.ndim, dtype))


def placeholder(shape: tuple[int, ...], dtype: Any, chunks: Any = -1) -> Any:
    """Lazy array, of one chunk by default, that is never computed: what xarray writes the metadata of."""
    import dask.array as da

    return da.empty(shape, dtype=dtype, chunks=chunks)


def numbered(
    function: Callable[[Index], NDArray[Any]], chunks: tuple[tuple[int, ...], ...], dtype: Any, *, token: Sequence[Any]
) -> Any:
    """Dask array whose chunks a function makes of their numbers alone; the token distinguishes it from others."""
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    name = f"numbered-{tokenize(*token)}"
    key = key_of(name)
    tasks: dict[Any, Any] = {key: _Function(function)}
    for index in product(*(range(len(sizes)) for sizes in chunks)):
        tasks[(name, *index)] = (_made, key, _Number(index))
    return da.Array(HighLevelGraph.from_collections(name, tasks, dependencies=()), name, chunks=chunks, dtype=dtype)


@dataclass(frozen=True)
class _Function:
    """A function that Dask does not call by itself."""

    function: Callable[[Index], NDArray[Any]]


def _made(shared: _Function, number: "_Number") -> NDArray[Any]:
    return shared.function(number.index)


def standin(shape: tuple[int, ...], dtype: Any) -> Any:
    """Lazy array of one chunk without values, which raises where it is computed: what structure is read from."""
    import dask.array as da

    name = f"xsr-standin-{uuid4().hex}"
    return da.Array({(name, *(0 for _ in shape)): (_refuse,)}, name, [(size,) for size in shape], dtype=dtype)


def _refuse() -> NDArray[Any]:
    raise RuntimeError("a stand-in has no values; expected its structure alone to be read.")


def array(
    work: Work, source: Any, name: str, chunks: tuple[tuple[int, ...], ...], *, threads: int | None = None
) -> Any:
    """Make the result, float32, from parts that are its chunks: in memory where the source is, else a Dask array.

    See `compute_here` for ``threads``.
    """
    if isinstance(source, np.ndarray):
        out = np.empty([sum(sizes) for sizes in chunks], np.float32)
        starts = [edges(sizes) for sizes in chunks]
        for index, part in compute_here(work, [source], name, threads=threads):
            out[tuple(slice(first[n], first[n + 1]) for first, n in zip(starts, index, strict=True))] = part
        return out
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

    graph = HighLevelGraph.from_collections(name, layer(work, [source], name), dependencies=[source])
    return da.Array(graph, name, chunks=chunks, dtype=np.float32)
