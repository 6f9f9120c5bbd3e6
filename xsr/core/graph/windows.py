"""Two drivers for one block function: a Dask graph of one task a block, and an eager loop.

A block's task depends on the input chunks that its window touches and cuts the window out of them itself, so the
number of tasks does not grow with the halo and the output chunks are exactly those of the plan.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, cast

import numpy as np
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
                function,
                Span(date, date + 1),
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
        wanted, pieces = pieces_of(block, plan.source_shape, function.padding, (bands, rows, cols))
        for t in range(len(times)):
            keys = [[[(source.name, t, b, y, x) for x in wanted[1]] for y in wanted[0]] for b in range(len(bands))]
            size = (len(times[t]), sum(len(b) for b in bands))
            layer[(name, t, 0, *divmod(number, width))] = (
                (run_block, function, times[t], block, plan.cell, plan.source_shape, pieces, keys)
                if block.window is not None
                else (nothing, (*size, len(block.rows), len(block.cols)))
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


def pieces_of(
    block: Block, shape: tuple[int, int], padding: Padding, chunks: tuple[tuple[Span, ...], ...]
) -> tuple[tuple[range, range], Pieces]:
    """Find the chunks (y, x) that a block's window touches; ``chunks`` are those of band, y and x."""
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
    dates: Span,
    block: Block,
    cell: tuple[float, float],
    shape: tuple[int, int],
    pieces: Pieces,
    arrays: list[list[list[NDArray[Any]]]],
) -> Stack:
    """Compute one block from the chunks its window touches; one that does not fit into memory in two halves.

    Parameters
    ----------
    function
        Arithmetic, not bound to a place yet.
    dates, block
        What to compute.
    cell
        Size of an output pixel in input pixels, (y, x).
    shape
        Pixels (y, x) of the source.
    pieces, arrays
        Chunks of the source, and where they lie.

    Raises
    ------
    MemoryError
        If a single row of pixels does not fit either.
    """
    try:
        return _evaluate(_placed(function, dates, block), block, cell, shape, pieces, arrays)
    except MemoryError as error:
        halves = _halves(block, shape, function.halo)
        if not halves:
            raise MemoryError(
                f"not even one row of a block of {len(block.cols)} columns fits into memory. Use smaller chunks="
                " (--chunks), or fewer workers or threads side by side (--workers)."
            ) from error
    return np.concatenate([run_block(function, dates, half, cell, shape, pieces, arrays) for half in halves], axis=2)


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
        return nothing((arrays[0][0][0].shape[0], arrays[0][0][0].shape[1], len(block.rows), len(block.cols)))
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
        into_y, from_y = overlap(pieces.first_row + pieces.offsets[1][y], array.shape[2], rows)
        into_x, from_x = overlap(pieces.first_col + pieces.offsets[2][x], array.shape[3], cols)
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


def overlap(start: int, size: int, span: Span) -> tuple[slice, slice]:
    """Where a chunk at ``start`` lands in a span, and which of its pixels; none if it lies beside."""
    first = max(start, span.start)
    last = max(first, min(start + size, span.stop))
    return slice(first - span.start, last - span.start), slice(first - start, last - start)


def nothing(shape: tuple[int, ...]) -> Stack:
    """Fill a block outside the cube with NaN."""
    return np.full(shape, np.nan, np.float32)
