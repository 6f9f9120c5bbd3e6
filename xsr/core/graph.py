"""Two drivers for one block function: a Dask graph of one task a block, and an eager loop.

A block's task depends on the input chunks that its window touches and cuts the window out of them itself, so the
number of tasks does not grow with the halo and the output chunks are exactly those of the plan. This is the
only module of the core that knows Dask.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, cast

import numpy as np
from dask.callbacks import Callback
from numpy.typing import NDArray

from xsr.core.blocks import BLOCKS, Padding, Span, Window, chunk_sizes, overlapping, padded_index, spans
from xsr.core.errors import ParameterError
from xsr.core.grid import Query, Sampling, clip_inside, input_window, inside
from xsr.core.types import Stack, WindowFunction


@dataclass(frozen=True)
class Block:
    """One output rectangle."""

    rows: Span
    cols: Span
    query: Query
    window: Window | None
    """Input window, None if the block lies outside the cube."""


@dataclass(frozen=True)
class Plan:
    """All blocks of an output, row by row."""

    blocks: tuple[Block, ...]
    chunks: tuple[tuple[int, ...], tuple[int, ...]]
    sampling: Sampling
    source_shape: tuple[int, int]

    @property
    def cell(self) -> tuple[float, float]:
        """Size of an output pixel in input pixels, (y, x)."""
        return self.sampling.cell

    @property
    def shape(self) -> tuple[int, int]:
        """Output shape (y, x)."""
        return sum(self.chunks[0]), sum(self.chunks[1])


def make_plan(
    sampling: Sampling, source_shape: tuple[int, int], *, halo: int, chunks: tuple[int | Sequence[int], ...]
) -> Plan:
    """Plan the blocks of an output grid from its chunks (y, x)."""
    count = math.prod(
        -(-size // chunk) if isinstance(chunk, int) else len(chunk)
        for size, chunk in zip(sampling.shape, chunks, strict=True)
    )
    if count > BLOCKS:
        raise ParameterError(
            f"the target has {sampling.shape[0]} x {sampling.shape[1]} pixels in {count} blocks; expected at most"
            f" {BLOCKS} blocks a date. Check the scale or resolution, or use larger chunks."
        )
    sizes = chunk_sizes(sampling.shape[0], chunks[0]), chunk_sizes(sampling.shape[1], chunks[1])
    blocks = []
    for rows, cols in product(spans(sizes[0]), spans(sizes[1])):
        query = sampling.query(rows, cols)
        blocks.append(Block(rows, cols, query, input_window(query, source_shape, halo)))
    return Plan(tuple(blocks), sizes, sampling, source_shape)


def run(function: WindowFunction, source: Any, plan: Plan) -> Any:
    """Evaluate a block function over a NumPy or Dask array (time, band, y, x).

    Returns
    -------
    ndarray or dask Array
        Shape (time, band, *plan.shape), float32; the kind of ``source``. A Dask result computes nothing here.
    """
    if isinstance(source, np.ndarray):
        return run_eager(function, source, plan)
    return run_lazy(function, source, plan)


def run_eager(function: WindowFunction, source: NDArray[Any], plan: Plan) -> Stack:
    """Evaluate block by block, one date at a time."""
    out = np.empty((*source.shape[:2], *plan.shape), np.float32)
    for block in plan.blocks:
        for date in range(source.shape[0]):
            pieces = Pieces(0, 0, ((0,), (0,), (0,)))
            out[date : date + 1, :, block.rows.slice, block.cols.slice] = run_block(
                _placed(function, Span(date, date + 1), block),
                block,
                plan.cell,
                plan.source_shape,
                pieces,
                [[[source[date : date + 1]]]],
            )
    return out


def run_lazy(function: WindowFunction, source: Any, plan: Plan) -> Any:
    """Build the graph of a Dask source."""
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    token = tokenize(function, source.name, plan.sampling, plan.chunks)
    name = f"xsr-{type(function).__name__.lower()}-{token}"
    times, bands, rows, cols = (spans(sizes) for sizes in source.chunks)
    width = len(plan.chunks[1])
    layer: dict[Any, Any] = {}
    for number, block in enumerate(plan.blocks):
        wanted, pieces = _pieces(block, plan.source_shape, function.padding, (bands, rows, cols))
        for t in range(len(times)):
            keys = [[[(source.name, t, b, y, x) for x in wanted[1]] for y in wanted[0]] for b in range(len(bands))]
            size = (len(times[t]), sum(len(b) for b in bands))
            layer[(name, t, 0, *divmod(number, width))] = (
                (run_block, _placed(function, times[t], block), block, plan.cell, plan.source_shape, pieces, keys)
                if block.window is not None
                else (_nothing, (*size, len(block.rows), len(block.cols)))
            )
    chunks = (source.chunks[0], (source.shape[1],), *plan.chunks)
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[source])
    return da.Array(graph, name, chunks=chunks, dtype=np.float32)


def _placed(function: WindowFunction, dates: Span, block: Block) -> WindowFunction:
    """Bind a function to dates and a block, where it wants to know (see `xsr.core.types.PlacedFunction`)."""
    place = getattr(function, "place", None)
    return function if place is None else cast(WindowFunction, place(dates, block.rows, block.cols))


@dataclass(frozen=True)
class Pieces:
    """Where the chunks handed to a task lie: pixel of the first row and column, and offsets of each chunk."""

    first_row: int
    first_col: int
    offsets: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    """Start of each chunk along band, y and x, relative to the first chunk."""


def _pieces(
    block: Block, shape: tuple[int, int], padding: Padding, chunks: tuple[tuple[Span, ...], ...]
) -> tuple[tuple[range, range], Pieces]:
    if block.window is None:
        return (range(0), range(0)), Pieces(0, 0, ((), (), ()))
    bands, rows, cols = chunks
    need_rows, need_cols = block.window.source(shape, padding)
    wanted = overlapping(need_rows, rows), overlapping(need_cols, cols)
    first_row, first_col = rows[wanted[0][0]].start, cols[wanted[1][0]].start
    offsets = (
        tuple(band.start for band in bands),
        tuple(rows[y].start - first_row for y in wanted[0]),
        tuple(cols[x].start - first_col for x in wanted[1]),
    )
    return wanted, Pieces(first_row, first_col, offsets)


def run_block(
    function: WindowFunction,
    block: Block,
    cell: tuple[float, float],
    shape: tuple[int, int],
    pieces: Pieces,
    arrays: list[list[list[NDArray[Any]]]],
) -> Stack:
    """Compute one block from the chunks its window touches: cut, pad, evaluate, mask what lies outside."""
    window = block.window
    rows, cols = block.query.positions()
    if window is None:
        return _nothing((arrays[0][0][0].shape[0], arrays[0][0][0].shape[1], len(block.rows), len(block.cols)))
    stack = _cut(window, shape, function.padding, pieces, arrays)
    out = function(
        stack,
        clip_inside(rows, shape[0], window.rows, function.halo),
        clip_inside(cols, shape[1], window.cols, function.halo),
        cell,
    )
    within_rows, within_cols = inside(rows, shape[0]), inside(cols, shape[1])
    within = within_rows[:, None] & within_cols if rows.ndim == 1 else within_rows & within_cols
    return out if within.all() else np.where(within, out, np.float32(np.nan))


def _cut(
    window: Window,
    shape: tuple[int, int],
    padding: Padding,
    pieces: Pieces,
    arrays: list[list[list[NDArray[Any]]]],
) -> Stack:
    """Assemble the source rectangle from its chunks where the window wants it, then continue it beyond the border."""
    rows, cols = window.source(shape, padding)
    bands = pieces.offsets[0][-1] + arrays[-1][0][0].shape[1]
    # Padding that mirrors more than the window holds needs a source rectangle larger than the window.
    canvas = Window(_hull(window.rows, rows), _hull(window.cols, cols))
    stack = np.empty((arrays[0][0][0].shape[0], bands, len(canvas.rows), len(canvas.cols)), np.float32)
    top, left = rows.start - canvas.rows.start, cols.start - canvas.cols.start
    rectangle = stack[:, :, top : top + len(rows), left : left + len(cols)]
    for b, y, x in product(*(range(len(axis)) for axis in pieces.offsets)):
        array = arrays[b][y][x]
        band = pieces.offsets[0][b]
        into_y, from_y = _overlap(pieces.first_row + pieces.offsets[1][y], array.shape[2], rows)
        into_x, from_x = _overlap(pieces.first_col + pieces.offsets[2][x], array.shape[3], cols)
        rectangle[:, band : band + array.shape[1], into_y, into_x] = array[:, :, from_y, from_x]
    for into, source in _continued(canvas.rows, rows, shape[0], padding):
        stack[:, :, into, left : left + len(cols)] = stack[:, :, source, left : left + len(cols)]
    for into, source in _continued(canvas.cols, cols, shape[1], padding):
        stack[:, :, :, into] = stack[:, :, :, source]
    inner_rows, inner_cols = window.rows.start - canvas.rows.start, window.cols.start - canvas.cols.start
    return stack[:, :, inner_rows : inner_rows + len(window.rows), inner_cols : inner_cols + len(window.cols)]


def _hull(one: Span, other: Span) -> Span:
    return Span(min(one.start, other.start), max(one.stop, other.stop))


def _continued(canvas: Span, source: Span, size: int, padding: Padding) -> list[tuple[int, int]]:
    """Places of a canvas that the source does not fill, and the places that they repeat."""
    index = padded_index(canvas.start, canvas.stop, size, padding)
    places = [*range(canvas.start, source.start), *range(source.stop, canvas.stop)]
    inside = [(p - canvas.start, int(index[p - canvas.start])) for p in places]
    return [(into, at - canvas.start) for into, at in inside if source.start <= at < source.stop]


def _overlap(start: int, size: int, span: Span) -> tuple[slice, slice]:
    """Where a chunk at ``start`` lands in a span, and which of its pixels."""
    first, last = max(start, span.start), min(start + size, span.stop)
    return slice(first - span.start, last - span.start), slice(first - start, last - start)


def _nothing(shape: tuple[int, ...]) -> Stack:
    """Fill a block outside the cube with NaN."""
    return np.full(shape, np.nan, np.float32)


def run_blocks(function: Callable[[NDArray[Any], tuple[int, ...]], NDArray[Any]], source: Any) -> Any:
    """Hand every chunk of a Dask array to a function of (block, index) that returns a short row of numbers.

    Returns
    -------
    dask Array
        Rows stacked along as many axes as ``source`` has, one row a block along the last; nothing is computed yet.
    """
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    name = f"xsr-write-{tokenize(function, source.name)}"
    layer: dict[Any, Any] = {
        (name, *index, 0): (_row, function, (source.name, *index), _Index(index))
        for index in product(*(range(n) for n in source.numblocks))
    }
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[source])
    ones = tuple((1,) * n for n in source.numblocks)
    return da.Array(graph, name, chunks=(*ones, (ROW,)), dtype=np.int64)


ROW = 4
"""Length of the rows of `run_blocks`."""


@dataclass(frozen=True)
class _Index:
    """A block index that Dask does not mistake for a key."""

    value: tuple[int, ...]


def _row(function: Callable[..., NDArray[Any]], block: NDArray[Any], index: _Index) -> NDArray[Any]:
    return function(block, index.value).reshape((1,) * len(index.value) + (-1,))


def compute(collections: Sequence[Any], *, progress: bool) -> list[NDArray[Any]]:
    """Compute the Dask arrays of `run_blocks` on the active scheduler, with a progress bar over their blocks.

    Returns
    -------
    list of ndarray
        The row of every block, in order.
    """
    import dask.array as da
    from dask.base import get_scheduler
    from dask.core import flatten
    from dask.highlevelgraph import HighLevelGraph
    from dask.threaded import get as threaded
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    keys = [key for array in collections for key in flatten(array.__dask_keys__())]
    dsk = da.optimize(HighLevelGraph.merge(*(array.dask for array in collections)), keys)
    columns = (TextColumn("writing blocks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not progress) as bar:
        task = bar.add_task("blocks", total=len(keys))
        client = _client()
        if client is not None:
            return _compute_on_cluster(client, dsk, keys, lambda: bar.advance(task))
        schedule = get_scheduler(collections=list(collections)) or threaded
        with _Counter(set(keys), lambda: bar.advance(task)):
            return list(schedule(dsk, keys))


def together(*collections: Any) -> tuple[Any, ...]:
    """Compute several lazy objects in one pass over what they share."""
    from dask.base import compute as compute_all

    computed: tuple[Any, ...] = compute_all(*collections)
    return computed


def _client() -> Any:
    """Return the active distributed client, if there is one."""
    import sys

    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None


def _compute_on_cluster(client: Any, dsk: Any, keys: list[Any], advance: Callable[[], None]) -> list[NDArray[Any]]:
    from distributed import as_completed

    futures = client.get(dsk, keys, sync=False)
    for future in as_completed(futures):  # type: ignore[no-untyped-call]
        future.result()  # raise the error of a failed block at once
        advance()
    rows: list[NDArray[Any]] = client.gather(futures)
    return rows


class _Counter(Callback):
    """Counts finished tasks of some keys on the local schedulers."""

    def __init__(self, keys: set[Any], advance: Callable[[], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keys, self._advance = keys, advance

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        if key in self._keys:
            self._advance()


@dataclass(frozen=True)
class Job:
    """One block of a reduction: the rectangle it owns, and the window it reads of each source."""

    rows: Span
    cols: Span
    windows: tuple[Window, ...]


class Reduction(Protocol):
    """Sums over the windows of a block, and what to make of the sums of all blocks."""

    def __call__(self, job: Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Numbers of one block on one date, to be added; windows (band, h, w) are NaN beyond the source."""

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn the sums of all blocks into the result of one date."""


def reduce_windows(
    function: Reduction, sources: Sequence[Any], jobs: Sequence[Job], shape: tuple[int, ...], *, name: str
) -> Any:
    """Add up what a function makes of the windows of every block, date by date.

    Parameters
    ----------
    function
        Arithmetic of a block and of the total.
    sources
        Arrays (time, band, y, x), NumPy or Dask; one with a single date serves all dates.
    jobs
        Blocks; each gives one window for every source.
    shape
        Shape of what ``function.finish`` returns.
    name
        Prefix of the Dask keys.

    Returns
    -------
    ndarray or dask Array
        Shape (time, *shape), float64; lazy if any source is.
    """
    dates = max(source.shape[0] for source in sources)
    if all(isinstance(source, np.ndarray) for source in sources):
        out = [function.finish(_total(function, sources, jobs, date)) for date in range(dates)]
        return np.stack(out)
    return _reduce_lazy(function, sources, jobs, (dates, *shape), name)


def _total(function: Reduction, sources: Sequence[NDArray[Any]], jobs: Sequence[Job], date: int) -> NDArray[np.float64]:
    images = [source[date if source.shape[0] > 1 else 0] for source in sources]
    places = [_Place(image.shape[1:], 0, 0, 0, ((0,), (0,), (0,))) for image in images]
    total: NDArray[np.float64] | None = None
    for job in jobs:
        row = _leaf(function, job, places, [[[[image[None]]]] for image in images])
        total = row if total is None else total + row
    assert total is not None
    return total


FAN_IN = 16
"""Rows added by one task of a lazy reduction."""


def _reduce_lazy(
    function: Reduction, sources: Sequence[Any], jobs: Sequence[Job], shape: tuple[int, ...], name: str
) -> Any:
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    arrays = [da.from_array(s, chunks=-1) if isinstance(s, np.ndarray) else s for s in sources]
    token = tokenize(function, [a.name for a in arrays], jobs, shape)
    base = f"xsr-{name}-{token}"
    layer: dict[Any, Any] = {}
    for date in range(shape[0]):
        rows = []
        for number, job in enumerate(jobs):
            found = [_place(a, w, date) for a, w in zip(arrays, job.windows, strict=True)]
            key = (f"{base}-block", date, number)
            layer[key] = (_leaf, function, job, [place for place, _ in found], [keys for _, keys in found])
            rows.append(key)
        level = 0
        while len(rows) > 1:
            merged = []
            for number in range(0, len(rows), FAN_IN):
                key = (f"{base}-sum{level}", date, number)
                layer[key] = (_sum, rows[number : number + FAN_IN])
                merged.append(key)
            rows, level = merged, level + 1
        layer[(base, date, *(0 for _ in shape[1:]))] = (_finish, function, rows[0])
    graph = HighLevelGraph.from_collections(base, layer, dependencies=arrays)
    chunks = ((1,) * shape[0], *((size,) for size in shape[1:]))
    return da.Array(graph, base, chunks=chunks, dtype=np.float64)


@dataclass(frozen=True)
class _Place:
    """Where the chunks handed to a task lie in their source, and the date within them."""

    shape: tuple[int, int]
    date: int
    first_row: int
    first_col: int
    offsets: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _place(array: Any, window: Window, date: int) -> tuple[_Place, list[list[list[Any]]]]:
    """Chunks of a Dask array that a window touches on a date; none where it lies outside."""
    times, bands, rows, cols = (spans(sizes) for sizes in array.chunks)
    t = next(n for n, span in enumerate(times) if min(date, array.shape[0] - 1) < span.stop)
    within = min(date, array.shape[0] - 1) - times[t].start
    need = [
        Span(max(span.start, 0), min(span.stop, size))
        for span, size in zip((window.rows, window.cols), array.shape[2:], strict=True)
    ]
    shape = (array.shape[2], array.shape[3])
    if any(span.stop <= span.start for span in need):
        return _Place(shape, within, 0, 0, ((), (), ())), [[[(array.name, t, 0, 0, 0)]]]
    wanted = overlapping(need[0], rows), overlapping(need[1], cols)
    first_row, first_col = rows[wanted[0][0]].start, cols[wanted[1][0]].start
    offsets = (
        tuple(band.start for band in bands),
        tuple(rows[y].start - first_row for y in wanted[0]),
        tuple(cols[x].start - first_col for x in wanted[1]),
    )
    keys = [[[(array.name, t, b, y, x) for x in wanted[1]] for y in wanted[0]] for b in range(len(bands))]
    return _Place(shape, within, first_row, first_col, offsets), keys


def _leaf(
    function: Reduction, job: Job, places: Sequence[_Place], arrays: Sequence[list[list[list[NDArray[Any]]]]]
) -> NDArray[np.float64]:
    windows = [_read(w, place, chunks) for w, place, chunks in zip(job.windows, places, arrays, strict=True)]
    return function(job, windows)


def _read(window: Window, place: _Place, arrays: list[list[list[NDArray[Any]]]]) -> NDArray[Any]:
    """Assemble a window (band, h, w) from its chunks, NaN beyond the source."""
    bands = place.offsets[0][-1] + arrays[-1][0][0].shape[1] if place.offsets[0] else arrays[0][0][0].shape[1]
    out = np.full((bands, len(window.rows), len(window.cols)), np.nan, np.float32)
    for b, y, x in product(*(range(len(axis)) for axis in place.offsets)):
        array, band = arrays[b][y][x], place.offsets[0][b]
        into_y, from_y = _overlap(place.first_row + place.offsets[1][y], array.shape[2], window.rows)
        into_x, from_x = _overlap(place.first_col + place.offsets[2][x], array.shape[3], window.cols)
        out[band : band + array.shape[1], into_y, into_x] = array[place.date, :, from_y, from_x]
    return out


def _sum(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.asarray(np.sum(rows, axis=0), np.float64)


def _finish(function: Reduction, total: NDArray[np.float64]) -> NDArray[np.float64]:
    return function.finish(total)[None]
