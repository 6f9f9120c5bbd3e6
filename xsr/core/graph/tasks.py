"""Block tasks: every chunk of an array handed to a function that does something with it, such as writing it down.

They run on the active scheduler or cluster. Errors are reported block by block.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dask.callbacks import Callback
from numpy.typing import NDArray

PREFIX = "xsr-write-"
"""Part of the keys of block tasks, which Dask may fuse with what they need and name after both."""


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

    name = f"{PREFIX}{tokenize(function, source.name)}"
    keys = {f"{name}-{'.'.join(map(str, index))}": BlockKey(label, index) for index in indices}
    layer: dict[Any, Any] = {key: (_call, function, (source.name, *block.index), block) for key, block in keys.items()}
    return BlockTasks(HighLevelGraph.from_collections(name, layer, dependencies=[source]), keys)


def _call(function: Callable[..., Any], block: NDArray[Any], key: BlockKey) -> Any:
    return function(block, key.index)


Done = Callable[[BlockKey, Any], None]
"""Called once for every task that went well, with what its function returned, in the thread that computes."""
Failed = Callable[[BlockKey, Exception], None]
"""Called once for every task that failed, with its error, in the thread that computes."""


def compute(tasks: Sequence[BlockTasks], *, progress: bool, done: Done, failed: Failed | None = None) -> None:
    """Compute block tasks on the active scheduler or cluster, with a progress bar over their blocks.

    Parameters
    ----------
    tasks
        From `block_tasks`, of one or more arrays.
    progress
        Show a progress bar.
    done
        Called with the result of every task as it comes. What it raises ends the computation.
    failed
        Without it the first error ends the computation. With it a block whose task, or a task it needs, fails twice is
        reported, and the others are computed. What it raises ends the computation.
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

        def report(key: str, result: Any, error: Exception | None) -> None:
            if error is None:
                done(keys[key], result)
            elif failed is None:
                raise error
            else:
                failed(keys[key], error)
            bar.advance(row)

        client = active_client()
        if client is not None:
            _compute_on_cluster(client, dsk, list(keys), report, alone=failed is not None)
        else:
            _compute_here(_local_scheduler(), dsk, list(keys), report, alone=failed is not None)


def _local_scheduler() -> Callable[..., Any]:
    """Choose the active local scheduler, the threaded one such that none of its threads is at work when it returns.

    Dask's own returns at the first error while its other threads finish what they do. Here they are waited for, so that
    no block is written by two threads at once, and nothing to a store whose lock was released.
    """
    from dask import config
    from dask.base import get_scheduler
    from dask.system import CPU_COUNT
    from dask.threaded import get as threaded

    def waiting(dsk: dict[Any, Any], keys: list[str]) -> Any:
        with ThreadPoolExecutor(config.get("num_workers", None) or CPU_COUNT) as pool:
            return threaded(dsk, keys, pool=pool)

    schedule = get_scheduler() or threaded
    return waiting if schedule is threaded and config.get("pool", None) is None else schedule


def threads_each() -> int | None:
    """Cores for each of the blocks that are computed side by side; None in the main thread, which has none beside."""
    from dask import config
    from dask.system import CPU_COUNT

    if threading.current_thread() is threading.main_thread():
        return None
    return max(1, CPU_COUNT // (config.get("num_workers", None) or CPU_COUNT))


def _compute_here(
    schedule: Callable[..., Any], dsk: dict[Any, Any], keys: list[str], report: Callable[..., None], *, alone: bool
) -> None:
    """Compute on a local scheduler, which ends at the first error.

    Which task failed it does not say, only which were running: the blocks that need one of those are computed once
    more, each alone, and the rest goes on together.
    """
    while keys:
        watch = _Watch(set(keys), lambda key, result: report(key, result, None))
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
            report(key, *_alone(schedule, dsk, key))
        keys = [key for key in keys if key not in set(suspects)]


def _needing(dsk: dict[Any, Any], keys: list[str], running: set[Any]) -> list[str]:
    """Keys whose computation needs one of some tasks."""
    from dask.optimization import cull

    return [key for key in keys if not running.isdisjoint(cull(dsk, [key])[0])]


def _alone(schedule: Callable[..., Any], dsk: dict[Any, Any], key: str) -> tuple[Any, Exception | None]:
    """Compute one task while no other runs: its result, or its error."""
    from dask.optimization import cull

    try:
        (result,) = schedule(cull(dsk, [key])[0], [key])
    except Exception as error:  # the task may raise anything
        return None, error
    return result, None


def together(*collections: Any) -> tuple[Any, ...]:
    """Compute several lazy objects in one pass over what they share."""
    from dask.base import compute as compute_all

    computed: tuple[Any, ...] = compute_all(*collections)
    return computed


def placeholder(shape: tuple[int, ...], dtype: Any) -> Any:
    """Lazy array of one chunk that is never computed: what xarray writes the metadata of."""
    import dask.array as da

    return da.empty(shape, dtype=dtype, chunks=-1)


def active_client() -> Any:
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
    client: Any, dsk: dict[Any, Any], keys: list[str], report: Callable[..., None], *, alone: bool
) -> None:
    """Compute on a cluster, which repeats by itself what a lost worker was doing, a few times.

    Blocks that failed are computed once more, each alone: some only shared workers with one that kills them.
    """
    from distributed import as_completed

    failed: list[str] = []
    futures = client.get(dsk, keys, sync=False)
    try:
        for future in as_completed(futures):  # type: ignore[no-untyped-call]
            if future.status not in ("finished", "error"):
                future.result()  # cancelled or lost with the scheduler: raise
            if future.status == "finished":
                report(future.key, future.result(), None)
            elif alone:
                failed.append(future.key)
            else:
                report(future.key, None, future.exception())
    except Exception:
        client.cancel(futures)
        client.run(_wait_for_blocks, on_error="ignore")
        raise
    del futures, future
    client.nthreads()  # a round trip, after which the scheduler has forgotten the errors, too
    for key in failed:
        report(key, *_alone(client.get, dsk, key))


async def _wait_for_blocks(dask_worker: Any) -> None:
    """Wait on a worker for the block tasks that it has begun; they cannot be stopped."""
    while any(PREFIX in str(task.key) for task in dask_worker.state.executing):
        await asyncio.sleep(0.05)


class _Watch(Callback):
    """Records which tasks finish on a local scheduler, and which were running when it ended."""

    def __init__(self, keys: set[str], advance: Callable[[str, Any], None]) -> None:
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
            self._advance(key, result)
            self.interrupted = False

    def _finish(self, dsk: Any, state: Any, failed: bool) -> None:
        self.running = set(state["running"])
