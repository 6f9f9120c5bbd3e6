"""Sums over the windows of all blocks, date by date, in a tree of tasks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span, Window
from xsr.core.graph.driver import NOTHING, Index, Mosaic, Read, Shared, compute_here, key_of, layer


@dataclass(frozen=True)
class Job:
    """One block of a reduction: the rectangle it owns, and the window it reads of each source."""

    rows: Span
    cols: Span
    windows: tuple[Window, ...]


class Reduction(Protocol):
    """Sums over the windows of a block, and what to make of the sums of all blocks."""

    def __call__(self, job: Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Numbers of one block on one date, to be added; windows (band, h, w) are NaN beyond the source.

        They may be chunks of a source: nothing is written into them.
        """

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
    work = _Rows(function, tuple(jobs), tuple(source.shape for source in sources))
    if all(isinstance(source, np.ndarray) for source in sources):
        return np.stack([function.finish(total) for total in _totals(work, sources, name)])
    return _reduce_lazy(work, sources, (work.dates, *shape), name)


@dataclass(frozen=True)
class _Rows:
    """Parts (date, job): the numbers of one block on one date."""

    function: Reduction
    jobs: tuple[Job, ...]
    shapes: tuple[tuple[int, int, int, int], ...]
    """Shape (time, band, y, x) of each source."""

    def __dask_tokenize__(self) -> Any:
        """Name the work by its numbers; Dask would look into every rectangle of every block."""
        return "xsr-rows", self.function, repr(self.jobs), self.shapes

    @property
    def dates(self) -> int:
        """Number of dates of the result."""
        return max(shape[0] for shape in self.shapes)

    def reads(self) -> Iterator[tuple[Index, Sequence[Read]]]:
        """Every block on every date, with the rectangles that it reads."""
        for date in range(self.dates):
            for number in range(len(self.jobs)):
                yield (date, number), self.read((date, number))

    def read(self, index: Index) -> Sequence[Read]:
        """Rectangles that one block reads on a date: what its windows share with the sources."""
        windows = zip(self.jobs[index[1]].windows, self.shapes, strict=True)
        return [_within(window, shape, min(index[0], shape[0] - 1)) for window, shape in windows]

    def __call__(self, index: Index, sources: Sequence[Mosaic]) -> NDArray[np.float64]:
        """Compute the numbers of one block on a date."""
        job = self.jobs[index[1]]
        windows = [
            _cut(window, read, source)
            for window, read, source in zip(job.windows, self.read(index), sources, strict=True)
        ]
        return self.function(job, windows)


def _within(window: Window, shape: tuple[int, int, int, int], date: int) -> Read:
    rows, cols = (
        Span(max(span.start, 0), min(span.stop, size))
        for span, size in zip((window.rows, window.cols), shape[2:], strict=True)
    )
    apart = rows.stop <= rows.start or cols.stop <= cols.start
    return NOTHING if apart else Read((date,), rows, cols)


def _cut(window: Window, read: Read, source: Mosaic) -> NDArray[Any]:
    """Window (band, h, w), NaN beyond the source: a chunk itself where it is one, else assembled."""
    inside = (window.rows, window.cols) == (read.rows, read.cols)
    tile = source.tile(read.dates[0], read.rows, read.cols) if inside else None
    if tile is not None and tile.dtype == np.float32 and tile.flags.c_contiguous:
        return tile
    shape = (1, source.bands, len(window.rows), len(window.cols))
    out: NDArray[Any] = np.empty(shape, np.float32) if inside else np.full(shape, np.nan, np.float32)
    source.fill(out, read.dates, window.rows, window.cols)
    image: NDArray[Any] = out[0]
    return image


def _totals(work: _Rows, sources: Sequence[NDArray[Any]], name: str) -> list[NDArray[np.float64]]:
    """Add up the numbers of all blocks, date by date."""
    totals: list[NDArray[np.float64]] = []
    for (_, number), row in compute_here(work, sources, name):
        if number == 0:
            totals.append(row)
        else:
            totals[-1] = totals[-1] + row
    return totals


FAN_IN = 16
"""Rows added by one task of a lazy reduction."""


def _reduce_lazy(work: _Rows, sources: Sequence[Any], shape: tuple[int, ...], name: str) -> Any:
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    arrays = [da.from_array(s, chunks=-1) if isinstance(s, np.ndarray) else s for s in sources]
    base = f"{name}-{tokenize(work, [a.name for a in arrays], shape)}"
    blocks = f"{base}-block"
    tasks = layer(work, arrays, blocks)
    for date in range(shape[0]):
        rows: list[Any] = [(blocks, date, number) for number in range(len(work.jobs))]
        level = 0
        while len(rows) > 1:
            groups = {(f"{base}-sum{level}", date, n): rows[n : n + FAN_IN] for n in range(0, len(rows), FAN_IN)}
            tasks |= {key: (_sum, group) for key, group in groups.items()}
            rows, level = list(groups), level + 1
        tasks[(base, date, *(0 for _ in shape[1:]))] = (_finish, key_of(blocks), rows[0])
    graph = HighLevelGraph.from_collections(base, tasks, dependencies=arrays)
    chunks = ((1,) * shape[0], *((size,) for size in shape[1:]))
    return da.Array(graph, base, chunks=chunks, dtype=np.float64)


def _sum(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.asarray(np.sum(rows, axis=0), np.float64)


def _finish(shared: Shared, total: NDArray[np.float64]) -> NDArray[np.float64]:
    return cast(_Rows, shared.work).function.finish(total)[None]
