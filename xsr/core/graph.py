"""Two drivers for one block function: a Dask graph of one task a block, and an eager loop.

A block's task depends on the input chunks that its window touches and cuts the window out of them itself, so the
number of tasks does not grow with the halo and the output chunks are exactly those of the plan. This is the
only module of the core that knows Dask.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, Protocol, cast

import numpy as np
from dask.callbacks import Callback
from numpy.typing import NDArray

from xsr.core.blocks import BLOCKS, Padding, Span, Window, chunk_sizes, overlapping, padded_index, spans
from xsr.core.errors import ParameterError
from xsr.core.grid import GridQuery, Query, Sampling, WarpQuery, clip_inside, input_window, inside
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
    """Compute one block from the chunks its window touches; one that does not fit into memory in two halves.

    Raises
    ------
    MemoryError
        If a single row of pixels does not fit either.
    """
    try:
        return _evaluate(function, block, cell, shape, pieces, arrays)
    except MemoryError as error:
        halves = _halves(block, shape, function.halo)
        if not halves:
            raise MemoryError(
                f"not even one row of a block of {len(block.cols)} columns fits into memory. Use smaller chunks="
                " (--chunks), or fewer workers or threads side by side (--workers)."
            ) from error
    dates = Span(0, arrays[0][0][0].shape[0])
    return np.concatenate(
        [run_block(_placed(function, dates, half), half, cell, shape, pieces, arrays) for half in halves], axis=2
    )


def _halves(block: Block, shape: tuple[int, int], halo: int) -> list[Block]:
    """Upper and lower half of a block, each with its own window; none if it cannot be cut."""
    middle = block.rows.start + len(block.rows) // 2
    cut = [Span(block.rows.start, middle), Span(middle, block.rows.stop)]
    if len(block.rows) < 2 or not isinstance(block.query, GridQuery | WarpQuery):
        return []
    queries = [replace(block.query, rows=rows) for rows in cut]
    windows = [input_window(query, shape, halo) for query in queries]
    return [Block(rows, block.cols, query, w) for rows, query, w in zip(cut, queries, windows, strict=True)]


def _evaluate(
    function: WindowFunction,
    block: Block,
    cell: tuple[float, float],
    shape: tuple[int, int],
    pieces: Pieces,
    arrays: list[list[list[NDArray[Any]]]],
) -> Stack:
    """Cut, pad, evaluate, mask what lies outside."""
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
    """Where a chunk at ``start`` lands in a span, and which of its pixels; none if it lies beside."""
    first = max(start, span.start)
    last = max(first, min(start + size, span.stop))
    return slice(first - span.start, last - span.start), slice(first - start, last - start)


@dataclass(frozen=True)
class Frames:
    """Instants computed together, and the dates of the source that they are computed from."""

    function: WindowFunction
    """From windows of those dates to one image for every instant."""
    dates: tuple[int, ...]
    """Indices of dates, in the order the function expects."""
    instants: int


def run_frames(groups: Sequence[Frames], source: Any, plan: Plan) -> Any:
    """Evaluate functions that read several dates at once.

    Parameters
    ----------
    groups
        One chunk of the result's time axis each; a task reads its dates once for all instants of the chunk.
    source
        NumPy or Dask array (time, band, y, x).
    plan
        Blocks of the output grid.

    Returns
    -------
    ndarray or dask Array
        Shape (instant, band, *plan.shape), float32; the kind of ``source``.
    """
    sizes = tuple(group.instants for group in groups)
    if isinstance(source, np.ndarray):
        out = np.empty((sum(sizes), source.shape[1], *plan.shape), np.float32)
        whole = Pieces(0, 0, ((0,), (0,), (0,)))
        for group, span in zip(groups, spans(sizes), strict=True):
            arrays = [[[source[list(group.dates)]]]]
            for block in plan.blocks:
                made = _run_group(group, block, plan.cell, plan.source_shape, whole, arrays)
                out[span.slice, :, block.rows.slice, block.cols.slice] = made
        return out
    return _run_frames_lazy(groups, source, plan, sizes)


def _run_frames_lazy(groups: Sequence[Frames], source: Any, plan: Plan, sizes: tuple[int, ...]) -> Any:
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    name = f"xsr-frames-{tokenize(groups, source.name, plan.sampling, plan.chunks)}"
    times, bands, rows, cols = (spans(chunks) for chunks in source.chunks)
    width = len(plan.chunks[1])
    layer: dict[Any, Any] = {}
    for number, block in enumerate(plan.blocks):
        wanted, pieces = _pieces(block, plan.source_shape, groups[0].function.padding, (bands, rows, cols))
        for g, group in enumerate(groups):
            owner = [next(n for n, span in enumerate(times) if date < span.stop) for date in group.dates]
            chunks = sorted(set(owner))
            picks = tuple((chunks.index(t), date - times[t].start) for t, date in zip(owner, group.dates, strict=True))
            keys = [
                [[[(source.name, t, b, y, x) for x in wanted[1]] for y in wanted[0]] for b in range(len(bands))]
                for t in chunks
            ]
            place = (group, block, plan.cell, plan.source_shape, pieces)
            layer[(name, g, 0, *divmod(number, width))] = (
                (_run_dates, *place, picks, keys)
                if block.window is not None
                else (_nothing, (group.instants, source.shape[1], len(block.rows), len(block.cols)))
            )
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[source])
    return da.Array(graph, name, chunks=(sizes, (source.shape[1],), *plan.chunks), dtype=np.float32)


def _run_dates(
    group: Frames,
    block: Block,
    cell: tuple[float, float],
    shape: tuple[int, int],
    pieces: Pieces,
    picks: tuple[tuple[int, int], ...],
    arrays: list[list[list[list[NDArray[Any]]]]],
) -> Stack:
    """Gather dates from chunks of time, then compute one block."""

    def gather(b: int, y: int, x: int) -> NDArray[Any]:
        return np.stack([arrays[chunk][b][y][x][date] for chunk, date in picks])

    first = arrays[0]
    gathered = [
        [[gather(b, y, x) for x in range(len(row))] for y, row in enumerate(band)] for b, band in enumerate(first)
    ]
    return _run_group(group, block, cell, shape, pieces, gathered)


def _run_group(
    group: Frames,
    block: Block,
    cell: tuple[float, float],
    shape: tuple[int, int],
    pieces: Pieces,
    arrays: list[list[list[NDArray[Any]]]],
) -> Stack:
    if block.window is None:
        bands = sum(band[0][0].shape[1] for band in arrays)
        return _nothing((group.instants, bands, len(block.rows), len(block.cols)))
    return run_block(group.function, block, cell, shape, pieces, arrays)


def _nothing(shape: tuple[int, ...]) -> Stack:
    """Fill a block outside the cube with NaN."""
    return np.full(shape, np.nan, np.float32)


@dataclass(frozen=True)
class BlockKey:
    """One task of `block_tasks`: which function, and the index of its block. Dask does not mistake it for a key."""

    label: str
    index: tuple[int, ...]


@dataclass(frozen=True)
class BlockTasks:
    """A graph that hands blocks of a Dask array to a function."""

    graph: Any
    keys: dict[str, BlockKey]
    """Dask key of every task."""


def block_tasks(
    function: Callable[[NDArray[Any], tuple[int, ...]], Any],
    source: Any,
    *,
    label: str,
    indices: Iterable[tuple[int, ...]],
) -> BlockTasks:
    """Hand some chunks of a Dask array to a function of (block, index) whose result is small; nothing is computed yet.

    Parameters
    ----------
    function
        Called once for every block, on a worker.
    source
        Dask array.
    label
        Name of the function in the keys.
    indices
        Chunks of ``source``, by their number along every axis.
    """
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    name = f"xsr-write-{tokenize(function, source.name)}"
    keys = {f"{name}-{'.'.join(map(str, index))}": BlockKey(label, index) for index in indices}
    layer: dict[Any, Any] = {key: (_call, function, (source.name, *block.index), block) for key, block in keys.items()}
    return BlockTasks(HighLevelGraph.from_collections(name, layer, dependencies=[source]), keys)


def _call(function: Callable[..., Any], block: NDArray[Any], key: BlockKey) -> Any:
    return function(block, key.index)


Outcome = Callable[[BlockKey, Exception | None], None]
"""Told of every task once: its error, or None if it went well. What it raises ends the computation."""


def compute(tasks: Sequence[BlockTasks], *, progress: bool, outcome: Outcome | None = None) -> None:
    """Compute block tasks on the active scheduler or cluster, with a progress bar over their blocks.

    Parameters
    ----------
    tasks
        From `block_tasks`, of one or more arrays.
    progress
        Show a progress bar.
    outcome
        Without it the first error ends the computation. With it a block whose task, or a task it needs, fails twice is
        reported, and the others are computed.
    """
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    keys = {key: block for part in tasks for key, block in part.keys.items()}
    if not keys:
        return
    dsk = dict(da.optimize(HighLevelGraph.merge(*(part.graph for part in tasks)), list(keys)))
    columns = (TextColumn("writing blocks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not progress) as bar:
        row = bar.add_task("blocks", total=len(keys))

        def tell(key: str, error: Exception | None) -> None:
            if error is not None and outcome is None:
                raise error
            if outcome is not None:
                outcome(keys[key], error)
            bar.advance(row)

        client = _client()
        if client is not None:
            _compute_on_cluster(client, dsk, list(keys), tell, alone=outcome is not None)
        else:
            with _local_scheduler() as schedule:
                _compute_here(schedule, dsk, list(keys), tell, alone=outcome is not None)


@contextmanager
def _local_scheduler() -> Iterator[Callable[..., Any]]:
    """Choose the active local scheduler; when it is left no thread of it is at work any more, even after an error.

    The threaded scheduler of Dask returns at the first error while its other threads finish what they do. Here they
    are waited for, so that nobody writes to a store after its lock was given back.
    """
    from dask import config
    from dask.base import get_scheduler
    from dask.system import CPU_COUNT
    from dask.threaded import get as threaded

    schedule = get_scheduler() or threaded
    if schedule is not threaded or config.get("pool", None) is not None:
        yield schedule
        return
    with ThreadPoolExecutor(config.get("num_workers", None) or CPU_COUNT) as pool:
        yield partial(threaded, pool=pool)


def threads_each() -> int | None:
    """Cores for each of the blocks that are computed side by side; None in the main thread, which has none beside."""
    import threading

    from dask import config
    from dask.system import CPU_COUNT

    if threading.current_thread() is threading.main_thread():
        return None
    return max(1, CPU_COUNT // (config.get("num_workers", None) or CPU_COUNT))


def _compute_here(
    schedule: Callable[..., Any], dsk: dict[Any, Any], keys: list[str], tell: Callable[..., None], *, alone: bool
) -> None:
    """Compute on a local scheduler, which ends at the first error.

    Which task failed it does not say, only which were running: the blocks that need one of those are computed once
    more, each alone, and the rest goes on together.
    """
    while keys:
        watch = _Watch(set(keys), lambda key: tell(key, None))
        try:
            with watch:
                schedule(dsk, keys)
            return
        except Exception:
            if not alone or watch.interrupted:
                raise
        keys = [key for key in keys if key not in watch.finished]
        suspects = _needing(dsk, keys, watch.running) or keys
        for key in suspects:
            error = _error_of(schedule, dsk, key)
            tell(key, error)
        keys = [key for key in keys if key not in set(suspects)]


def _needing(dsk: dict[Any, Any], keys: list[str], running: set[Any]) -> list[str]:
    """Keys whose computation needs one of some tasks."""
    from dask.optimization import cull

    return [key for key in keys if not running.isdisjoint(cull(dsk, [key])[0])]


def _error_of(schedule: Callable[..., Any], dsk: dict[Any, Any], key: str) -> Exception | None:
    from dask.optimization import cull

    try:
        schedule(cull(dsk, [key])[0], [key])
    except Exception as error:  # the task may raise anything
        return error
    return None


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


def _compute_on_cluster(
    client: Any, dsk: dict[Any, Any], keys: list[str], tell: Callable[..., None], *, alone: bool
) -> None:
    """Compute on a cluster, which repeats by itself what a lost worker was doing, a few times.

    Blocks that failed are computed once more, each alone: some only shared workers with one that kills them.
    """
    from distributed import as_completed

    failed: list[str] = []
    futures = client.get(dsk, keys, sync=False)
    for future in as_completed(futures):  # type: ignore[no-untyped-call]
        if future.status not in ("finished", "error"):
            future.result()  # cancelled or lost with the scheduler: raise
        if alone and future.status == "error":
            failed.append(future.key)
        else:
            tell(future.key, future.exception())
    del futures, future
    client.nthreads()  # a round trip, after which the scheduler has forgotten the errors, too
    for key in failed:
        tell(key, _error_of(client.get, dsk, key))


class _Watch(Callback):
    """Sees which tasks finish on a local scheduler, and which were running when it ended."""

    def __init__(self, keys: set[str], advance: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keys, self._advance = keys, advance
        self.finished: set[str] = set()
        self.running: set[Any] = set()
        self.interrupted = False
        """Whether the error is one of ``advance``, not of a task."""

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        if key in self._keys:
            self.finished.add(key)
            self.interrupted = True
            self._advance(key)
            self.interrupted = False

    def _finish(self, dsk: Any, state: Any, failed: bool) -> None:
        self.running = set(state["running"])


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
