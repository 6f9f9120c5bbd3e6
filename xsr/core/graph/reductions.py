"""Sums over the windows of all blocks, date by date, in a tree of tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span, Window, overlapping, spans
from xsr.core.graph.windows import overlap


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
        into_y, from_y = overlap(place.first_row + place.offsets[1][y], array.shape[2], window.rows)
        into_x, from_x = overlap(place.first_col + place.offsets[2][x], array.shape[3], window.cols)
        out[band : band + array.shape[1], into_y, into_x] = array[place.date, :, from_y, from_x]
    return out


def _sum(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.asarray(np.sum(rows, axis=0), np.float64)


def _finish(function: Reduction, total: NDArray[np.float64]) -> NDArray[np.float64]:
    return function.finish(total)[None]
