"""Block functions over the windows of a plan: each block of the result from a rectangle of the cube around it.

One task computes one block for one chunk of time, so the chunks of the result are exactly those of the plan.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, TypeAlias, cast

import numpy as np

from xsr.core.blocks import BLOCKS, Padding, Span, Window, chunk_sizes, padded_index, spans
from xsr.core.errors import ParameterError
from xsr.core.graph.driver import NOTHING, Index, Mosaic, Read, array
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
    inner: tuple[slice, slice] = (slice(None), slice(None))
    """Rows and columns of the query that are the block's own; the others are for a filter around them."""


@dataclass(frozen=True)
class Plan:
    """Blocks of an output grid: a few numbers, from which any block follows."""

    sampling: Sampling
    source_shape: tuple[int, int]
    halo: int
    """Input pixels around those next to a position that a window holds."""
    chunks: tuple[tuple[int, ...], tuple[int, ...]]
    """Sizes of the blocks along (y, x)."""
    margin: int = 0
    """Output pixels around a block that are computed with it, beyond the grid too where its lattice meets the cube."""

    @property
    def cell(self) -> tuple[float, float]:
        """Size of an output pixel in input pixels, (y, x)."""
        return self.sampling.cell

    @property
    def shape(self) -> tuple[int, int]:
        """Output shape (y, x)."""
        return sum(self.chunks[0]), sum(self.chunks[1])

    @cached_property
    def lattice(self) -> tuple[Span, Span]:
        """Rows and columns that may be computed: those of the grid, and of the margin around it."""
        return self.sampling.lattice(self.source_shape, self.margin)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, row by row."""
        return tuple(self.over(rows, cols) for rows, cols in product(*map(spans, self.chunks)))

    def block(self, row: int, col: int) -> Block:
        """One block by its number along (y, x)."""
        starts = sum(self.chunks[0][:row]), sum(self.chunks[1][:col])
        rows, cols = (
            Span(start, start + sizes[n]) for start, sizes, n in zip(starts, self.chunks, (row, col), strict=True)
        )
        return self.over(rows, cols)

    def over(self, rows: Span, cols: Span) -> Block:
        """Block of any rectangle."""
        outer = [
            Span(max(span.start - self.margin, known.start), min(span.stop + self.margin, known.stop))
            for span, known in zip((rows, cols), self.lattice, strict=True)
        ]
        query = self.sampling.query(*outer)
        inner = [
            slice(span.start - out.start, span.stop - out.start) for span, out in zip((rows, cols), outer, strict=True)
        ]
        return Block(rows, cols, query, input_window(query, self.source_shape, self.halo), (inner[0], inner[1]))


def make_plan(
    sampling: Sampling,
    source_shape: tuple[int, int],
    *,
    halo: int,
    chunks: tuple[int | Sequence[int], ...],
    margin: int = 0,
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
    return Plan(sampling, source_shape, halo, sizes, margin)


@dataclass(frozen=True)
class Frames:
    """Images computed together, one chunk of the result's time axis, and the dates of the source that they need."""

    function: WindowFunction
    """From windows of those dates to the images."""
    dates: Sequence[int]
    """Indices of dates, in the order that the function expects."""
    count: int
    """Number of images."""


def run(function: WindowFunction, source: Any, plan: Plan, *, bands: int | None = None) -> Any:
    """Evaluate a block function date by date over a NumPy or Dask array (time, band, y, x); see `run_frames`.

    Returns
    -------
    ndarray or dask Array
        Shape (time, band, *plan.shape), float32; the kind of ``source``. A Dask result computes nothing here.
    """
    sizes = (1,) * source.shape[0] if isinstance(source, np.ndarray) else source.chunks[0]
    together = [Frames(function, range(span.start, span.stop), len(span)) for span in spans(sizes)]
    return run_frames(together, source, plan, bands=bands)


def run_frames(frames: Sequence[Frames], source: Any, plan: Plan, *, bands: int | None = None) -> Any:
    """Evaluate block functions that read several dates at once.

    Parameters
    ----------
    frames
        One chunk of the result's time axis each; a task reads its dates once for all images of the chunk. The functions
        differ in the dates alone.
    source
        NumPy or Dask array (time, band, y, x).
    plan
        Blocks of the output grid.
    bands
        Number of bands of the result, if not that of the source.

    Returns
    -------
    ndarray or dask Array
        Shape (image, band, *plan.shape), float32; the kind of ``source``. A Dask result computes nothing here.
    """
    work = _Windows(tuple(frames), plan, bands or source.shape[1])
    chunks = (tuple(one.count for one in frames), (work.bands,), *plan.chunks)
    serial = getattr(frames[0].function, "serial", False)  # see `xsr.core.types.SerialFunction`
    return array(work, source, _name(work, source), chunks, threads=None if serial else 1)


Fetch: TypeAlias = Callable[[Sequence[int], Span, Span], Stack]
"""From dates, rows and columns to a rectangle (date, band, h, w) of a source."""


def run_here(frames: Frames, fetch: Fetch, plan: Plan, rows: Span, cols: Span, *, bands: int) -> Stack:
    """Evaluate a rectangle of a plan at once, over a source of which just what it reads is fetched.

    Parameters
    ----------
    frames, plan, bands
        As of `run_frames`.
    fetch
        Brings a rectangle of the source; called once, or not at all where there is nothing to read.
    rows, cols
        Output pixels to evaluate.
    """
    work, block = _Windows((frames,), plan, bands), plan.over(rows, cols)
    spans_read = work.source(block)
    source = _fetched(Read(frames.dates, *spans_read), fetch) if spans_read else Mosaic((), 0)
    return work.compute(frames, block, source)


def _fetched(read: Read, fetch: Fetch) -> Mosaic:
    """Mosaic of what one block reads."""
    values = fetch(read.dates, read.rows, read.cols)
    corner = (0, read.rows.start, read.cols.start)
    return Mosaic([((date, *corner), values[n : n + 1]) for n, date in enumerate(read.dates)], values.shape[1])


def task_of(function: Any) -> str:
    """Word for what a block function computes, which keys begin with and people read: of its class, if it gives none.

    Examples
    --------
    >>> class CountValid: ...
    >>> task_of(CountValid())
    'count_valid'
    """
    named = getattr(function, "task", None)
    return named or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(function).__name__).strip("_").lower()


def _name(work: "_Windows", source: Any) -> str:
    """Name of the result's keys: what is computed, and from what."""
    task = task_of(work.frames[0].function)
    if isinstance(source, np.ndarray):
        return task
    from dask.base import tokenize

    return f"{task}-{tokenize(work, source.name)}"


@dataclass(frozen=True)
class _Windows:
    """Parts (frames, 0, row, column): the blocks of a plan."""

    frames: tuple[Frames, ...]
    plan: Plan
    bands: int

    def reads(self) -> Iterator[tuple[Index, Sequence[Read]]]:
        """Every block at all dates, with the rectangle that it reads."""
        places = product(range(len(self.plan.chunks[0])), range(len(self.plan.chunks[1])))
        for (row, col), block in zip(places, self.plan.blocks, strict=True):
            spans_read = self.source(block)
            for number, one in enumerate(self.frames):
                yield (number, 0, row, col), [Read(one.dates, *spans_read) if spans_read else NOTHING]

    def read(self, index: Index) -> Sequence[Read]:
        """Rectangle that one block reads."""
        spans_read = self.source(self.plan.block(*index[2:]))
        return [Read(self.frames[index[0]].dates, *spans_read) if spans_read else NOTHING]

    def source(self, block: Block) -> tuple[Span, Span] | None:
        """Rectangle that a block reads; None outside the cube."""
        padding = self.frames[0].function.padding
        return None if block.window is None else block.window.source(self.plan.source_shape, padding)

    def __call__(self, index: Index, sources: Sequence[Mosaic]) -> Stack:
        """Compute one block."""
        return self.compute(self.frames[index[0]], self.plan.block(*index[2:]), sources[0])

    def compute(self, frames: Frames, block: Block, source: Mosaic) -> Stack:
        """Compute one block; one that does not fit into memory in two halves.

        Raises
        ------
        MemoryError
            If a single row of pixels does not fit either.
        """
        if block.window is None:
            return np.full((frames.count, self.bands, len(block.rows), len(block.cols)), np.nan, np.float32)
        try:
            return _evaluate(frames, block, block.window, self.plan, source)
        except MemoryError as error:
            halves = _halves(block, self.plan)
            if not halves:
                raise MemoryError(
                    f"not even one row of a block of {len(block.cols)} columns fits into memory. Use smaller chunks="
                    " (--chunks), or fewer workers or threads side by side (--workers)."
                ) from error
        return np.concatenate([self.compute(frames, half, source) for half in halves], axis=2)


def _halves(block: Block, plan: Plan) -> list[Block]:
    """Upper and lower half of a block, each with its own window; none if it cannot be cut."""
    middle = block.rows.start + len(block.rows) // 2
    if len(block.rows) < 2 or not isinstance(block.query, GridQuery | WarpQuery):
        return []
    return [plan.over(rows, block.cols) for rows in (Span(block.rows.start, middle), Span(middle, block.rows.stop))]


def _evaluate(frames: Frames, block: Block, window: Window, plan: Plan, source: Mosaic) -> Stack:
    """Cut, pad, evaluate, mask what lies outside, and filter (see `xsr.core.types.FinishedFunction`)."""
    function, shape = _located(_placed(frames, block), window), plan.source_shape
    rows, cols = block.query.positions()
    out = function(
        _cut(window, shape, function.padding, frames.dates, source),
        clip_inside(rows, shape[0], window.rows, function.halo),
        clip_inside(cols, shape[1], window.cols, function.halo),
        plan.cell,
    )
    within_rows, within_cols = inside(rows, shape[0]), inside(cols, shape[1])
    within = within_rows[:, None] & within_cols if rows.ndim == 1 else within_rows & within_cols
    out = out if within.all() else np.where(within, out, np.float32(np.nan))
    finish = getattr(function, "finish", None)
    return out if finish is None else cast(Stack, finish(out)[:, :, *block.inner])


def _placed(frames: Frames, block: Block) -> WindowFunction:
    """Bind a function to its dates, the first to the last, and a block (see `xsr.core.types.PlacedFunction`)."""
    place = getattr(frames.function, "place", None)
    if place is None:
        return frames.function
    return cast(WindowFunction, place(Span(frames.dates[0], frames.dates[-1] + 1), block.rows, block.cols))


def _located(function: WindowFunction, window: Window) -> WindowFunction:
    """Bind a function to the first pixel of its window (see `xsr.core.types.LocatedFunction`)."""
    locate = getattr(function, "locate", None)
    return function if locate is None else cast(WindowFunction, locate(window.rows.start, window.cols.start))


def _cut(window: Window, shape: tuple[int, int], padding: Padding, dates: Sequence[int], source: Mosaic) -> Stack:
    """Assemble the source rectangle where the window wants it, then continue it beyond the border."""
    rows, cols = window.source(shape, padding)
    # Padding that mirrors more than the window holds needs a source rectangle larger than the window.
    canvas = Window(_hull(window.rows, rows), _hull(window.cols, cols))
    stack = np.empty((len(dates), source.bands, len(canvas.rows), len(canvas.cols)), np.float32)
    top, left = rows.start - canvas.rows.start, cols.start - canvas.cols.start
    source.fill(stack[:, :, top : top + len(rows), left : left + len(cols)], dates, rows, cols)
    for into, repeated in _continued(canvas.rows, rows, shape[0], padding):
        stack[:, :, into, left : left + len(cols)] = stack[:, :, repeated, left : left + len(cols)]
    for into, repeated in _continued(canvas.cols, cols, shape[1], padding):
        stack[:, :, :, into] = stack[:, :, :, repeated]
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
