"""Block functions that read several dates at once, for instants that share them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span, spans
from xsr.core.graph.windows import Block, Pieces, Plan, nothing, pieces_of, run_block
from xsr.core.types import Stack, WindowFunction


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
        wanted, pieces = pieces_of(block, plan.source_shape, groups[0].function.padding, (bands, rows, cols))
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
                else (nothing, (group.instants, source.shape[1], len(block.rows), len(block.cols)))
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
        return nothing((group.instants, bands, len(block.rows), len(block.cols)))
    dates = Span(0, len(group.dates))
    return run_block(group.function, dates, block, cell, shape, pieces, arrays)
