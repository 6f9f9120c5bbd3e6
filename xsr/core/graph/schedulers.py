"""Where block tasks run: the active local scheduler, which reports every task as it ends, or a `cluster`."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from dask.callbacks import Callback

from xsr.core.graph.portions import BlockKey, Portion

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class Report:
    """Takes note of every task once, in the thread that computes, until that raises."""

    done: Callable[[BlockKey, Any], None]
    """Gets what a task gave back."""
    failed: Callable[[BlockKey, Exception], None] | None
    """Gets the error of a task that failed twice, the second time alone; without it that error is raised."""
    advance: Callable[[], object]
    """Called after either."""
    ended: bool = False
    """Whether one of them has raised, which ends the computation."""

    def __call__(self, block: BlockKey, result: Any, error: Exception | None = None) -> None:
        """Take note of what a task gave back, or of its error."""
        self.ended = True
        if error is None:
            self.done(block, result)
        elif self.failed is None:
            raise error
        else:
            self.failed(block, error)
        self.ended = False
        self.advance()

    def once_more(self, error: BaseException) -> bool:
        """Whether what failed is computed once more, alone: always where memory was short with others beside it."""
        return not self.ended and (self.failed is not None or isinstance(error, MemoryError))


def threads_each() -> int | None:
    """Cores for each of the blocks that are computed side by side; None in the main thread, which has none beside."""
    from dask.system import CPU_COUNT

    if threading.current_thread() is threading.main_thread():
        return None
    return max(1, CPU_COUNT // threads_here())


def threads_here() -> int:
    """Blocks that a local scheduler computes side by side."""
    from dask import config
    from dask.system import CPU_COUNT

    return config.get("num_workers", None) or CPU_COUNT


def side_by_side(
    function: Callable[[Item], Result], items: Sequence[Item], *, threads: int | None = None
) -> Iterator[Result]:
    """Call a function that leaves the interpreter to others for each item, in threads; its results in order.

    Parameters
    ----------
    function
        What it returns does not depend on what is called beside it.
    items
        What it is called with.
    threads
        Most threads; as many as the local scheduler of Dask has by default. Where Dask is set to one, and beside other
        threads, items are taken one after another.
    """
    from dask.base import get_scheduler
    from dask.local import get_sync

    beside = threading.current_thread() is not threading.main_thread() or get_scheduler() is get_sync
    most = min(len(items), threads_here() if threads is None else min(threads, threads_here()))
    if beside or most < 2:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(most) as pool:
        yield from pool.map(function, items)


def compute_here(portions: Iterator[Portion], report: Report) -> None:
    """Compute portions one after another on the active local scheduler."""
    schedule = _local_scheduler()
    for portion in portions:
        _compute_portion(schedule, portion, report)


def in_threads() -> bool:
    """Whether blocks are computed by threads of this process, not by a cluster or a pool of processes."""
    from dask.base import get_scheduler
    from dask.local import get_sync
    from dask.threaded import get as threaded

    return get_scheduler() in (None, threaded, get_sync)


def _local_scheduler() -> Callable[..., Any]:
    """Choose the active local scheduler, the threaded one such that none of its threads is at work when it returns.

    Dask's own returns at the first error while its other threads finish what they do. Here they are waited for, so that
    no block is written by two threads at once, and nothing to a store whose lock was released.
    """
    from dask import config
    from dask.base import get_scheduler
    from dask.threaded import get as threaded

    def waiting(dsk: dict[Any, Any], keys: list[str]) -> Any:
        with ThreadPoolExecutor(threads_here()) as pool:
            return threaded(dsk, keys, pool=pool)

    schedule = get_scheduler() or threaded
    return waiting if schedule is threaded and config.get("pool", None) is None else schedule


def _compute_portion(schedule: Callable[..., Any], portion: Portion, report: Report) -> None:
    """Compute on a local scheduler, which ends at the first error.

    Which task failed it does not say, only which were running: the blocks that need one of those are computed once
    more, each alone, and the rest goes on together.
    """
    keys = list(portion.blocks)
    while keys:
        watch = _Watch(portion.blocks, report)
        try:
            with watch:
                schedule(portion.graph, keys)
            return
        except Exception as error:
            if not report.once_more(error):
                raise
        keys = [key for key in keys if key not in watch.finished]
        suspects = [key for key in keys if not watch.running.isdisjoint(only(portion, key).graph)] or keys
        for key in suspects:
            report(portion.blocks[key], *alone(schedule, only(portion, key)))
        keys = [key for key in keys if key not in set(suspects)]


def only(portion: Portion, key: str) -> Portion:
    """One block of a portion, and the tasks that it needs."""
    from dask.optimization import cull

    return Portion(cull(portion.graph, [key])[0], {key: portion.blocks[key]})


def alone(schedule: Callable[..., Any], portion: Portion) -> tuple[Any, Exception | None]:
    """Compute one block while no other is computed: its result, or its error."""
    try:
        (result,) = schedule(portion.graph, list(portion.blocks))
    except Exception as error:  # the task may raise anything
        return None, error
    return result, None


class _Watch(Callback):
    """Reports tasks as they finish on a local scheduler, and records which were running when it ended."""

    def __init__(self, blocks: dict[str, BlockKey], report: Report) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._blocks, self._report = blocks, report
        self.finished: set[str] = set()
        self.running: set[Any] = set()

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        if key in self._blocks:
            self.finished.add(key)
            self._report(self._blocks[key], result, None)

    def _finish(self, dsk: Any, state: Any, failed: bool) -> None:
        self.running = set(state["running"])
