"""Portions: the blocks of a long computation in pieces that lie together, each with a graph of its own.

Dask optimises and orders all tasks of a graph before it begins the first, which takes minutes and gigabytes where there
are many. So the blocks are cut into portions, and a portion is laid out when its turn comes. What two portions need is
computed in both: cuts run where neighbouring blocks share least.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

PREFIX = "to_zarr-"
"""Part of the keys of block tasks, which Dask may fuse with what they need and name after both."""
FIRST = 1024
"""Most blocks of the first portion, which Dask optimises and orders in half a second."""
MOST = 8192
"""Most blocks of the others, each of which is prepared while the one before it is computed."""
MOST_SHARED = 1 / 8
"""Most tasks for each block of a piece that its halves may share, and compute both; more, and it stays whole."""
MOST_A_THREAD = 64
"""The same for each of very many threads, so that few idle while the last blocks of a portion are computed."""


@dataclass(frozen=True)
class BlockKey:
    """One task of `block_tasks`: which function, and the index of its block. Dask does not mistake it for a key."""

    label: str
    index: tuple[int, ...]


@dataclass(frozen=True)
class BlockTasks:
    """Blocks of a Dask array that a function is to be called with."""

    name: str
    """Beginning of the keys."""
    function: Callable[[NDArray[Any], tuple[int, ...]], Any]
    source: Any
    label: str
    indices: NDArray[np.int64]
    """Number of every block along every axis (block, axis)."""

    def __len__(self) -> int:
        return len(self.indices)

    def places(self) -> NDArray[np.float64]:
        """Where the blocks lie along time, the first of three axes or more, and (y, x), the last two: from 0 to 1."""
        places = (self.indices + 0.5) / self.source.numblocks
        out = np.full((len(self), 3), 0.5)
        count = min(2, places.shape[1])
        out[:, 3 - count :] = places[:, places.shape[1] - count :]
        if places.shape[1] > 2:
            out[:, 0] = places[:, 0]
        return out


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

    chosen = list(indices)
    numbers = np.array(chosen, np.int64).reshape(len(chosen), source.ndim)
    return BlockTasks(f"{PREFIX}{tokenize(function, source.name, label)}", function, source, label, numbers)


@dataclass(frozen=True)
class Portion:
    """Blocks that are computed together."""

    graph: dict[Any, Any]
    """Optimised tasks, all that the blocks need."""
    blocks: dict[str, BlockKey]
    """Key of the task that ends each block."""


def portions(tasks: Sequence[BlockTasks], threads: int) -> Iterator[Portion]:
    """Cut block tasks into portions and lay them out, one after another.

    Parameters
    ----------
    tasks
        From `block_tasks`; those of arrays whose blocks lie side by side are cut alike.
    threads
        Number of blocks that are computed side by side.
    """
    graph = _fused(tasks)
    owners = np.repeat(np.arange(len(tasks)), [len(part) for part in tasks])
    rows = np.concatenate([np.arange(len(part)) for part in tasks])

    def blocks(piece: NDArray[np.int64]) -> list[_Block]:
        return [
            (tasks[n], tuple(tasks[n].indices[row].tolist())) for n, row in zip(owners[piece], rows[piece], strict=True)
        ]

    def needed(piece: NDArray[np.int64]) -> set[Any]:
        keys: set[Any] = _culled(graph, blocks(piece)).get_all_external_keys()
        return keys

    places = np.concatenate([part.places() for part in tasks])
    for piece in _cut(places, needed, max(MOST, MOST_A_THREAD * threads)):
        yield _portion(graph, blocks(piece))


_Block: TypeAlias = tuple[BlockTasks, tuple[int, ...]]


def _fused(tasks: Sequence[BlockTasks]) -> Any:
    """Graph of all sources, chunk-by-chunk steps made one: what Dask optimises without looking at single chunks."""
    from dask.blockwise import fuse_roots, optimize_blockwise
    from dask.highlevelgraph import HighLevelGraph

    outputs = [(part.source.name,) for part in tasks]
    graph = HighLevelGraph.merge(*(part.source.dask for part in tasks))
    return fuse_roots(optimize_blockwise(graph, keys=outputs), keys=outputs)


def _culled(graph: Any, blocks: Sequence[_Block]) -> Any:
    """Tasks that blocks need. Of a layer that none needs Dask keeps all of its tasks, so such layers are left out."""
    from dask.highlevelgraph import HighLevelGraph

    wanted, layers = {part.source.name for part, _ in blocks}, set[str]()
    while wanted:
        layers |= wanted
        wanted = {name for layer in wanted for name in graph.dependencies[layer]} - layers
    left = HighLevelGraph({n: graph.layers[n] for n in layers}, {n: graph.dependencies[n] for n in layers})
    return left.cull([(part.source.name, *index) for part, index in blocks])


_Needed: TypeAlias = Callable[[NDArray[np.int64]], set[Any]]
"""Finds the tasks that some blocks need."""


def _cut(places: NDArray[np.float64], needed: _Needed, most: int) -> Iterator[NDArray[np.int64]]:
    """Halve the blocks until pieces are small enough, or their halves would share too much."""
    pieces, limit = [np.arange(len(places))], FIRST
    while pieces:
        piece = pieces.pop()
        halves = _halves(piece, places[piece], needed) if len(piece) > limit else []
        pieces += halves
        if not halves:
            yield piece
            limit = most


def _halves(piece: NDArray[np.int64], places: NDArray[np.float64], needed: _Needed) -> list[NDArray[np.int64]]:
    """Cut across the axis where the rows of blocks on both sides share fewest tasks; the first half comes last.

    Blocks that share most of their tasks, such as those that subtract the mean of the image, have no halves.
    """
    second, shared = [], []
    for along in places.T:
        steps = np.unique(along)
        if len(steps) > 1:
            before, after = steps[len(steps) // 2 - 1 :][:2]
            second.append(along >= after)
            shared.append(len(needed(piece[along == before]) & needed(piece[along == after])))
    if not shared or min(shared) > MOST_SHARED * len(piece):
        return []
    chosen = second[int(np.argmin(shared))]
    return [piece[chosen], piece[~chosen]]


def _portion(graph: Any, chosen: Sequence[_Block]) -> Portion:
    import dask.array as da

    blocks, ends = {}, {}
    for part, index in chosen:
        key = f"{part.name}-{'.'.join(map(str, index))}"
        blocks[key] = block = BlockKey(part.label, index)
        ends[key] = (_call, part.function, (part.source.name, *index), block)
    return Portion(dict(da.optimize(_culled(graph, chosen).to_dict() | ends, list(ends))), blocks)


def _call(function: Callable[..., Any], block: NDArray[Any], key: BlockKey) -> Any:
    return function(block, key.index)


def ahead(portions: Iterator[Portion]) -> Generator[Portion]:
    """Go through portions, each of which is laid out, in a thread, while the one before it is computed."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, portions, None)
        while (portion := upcoming.result()) is not None:
            upcoming = pool.submit(next, portions, None)
            yield portion
