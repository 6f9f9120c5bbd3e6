"""Where block tasks run: the active local scheduler or cluster, which report every task as it ends."""

import asyncio
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from dask.callbacks import Callback

from xsr.core.errors import StoreError, XsrWarning, discreet
from xsr.core.graph.portions import PREFIX, BlockKey, Portion

PATIENCE_S = 10.0
"""Seconds without a result after which a cluster is looked at; if it has no workers, the wait doubles each time."""


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


def together(*collections: Any) -> tuple[Any, ...]:
    """Compute several lazy objects in one pass over what they share."""
    from dask.base import compute as compute_all

    with discreet():
        computed: tuple[Any, ...] = compute_all(*collections)
    return computed


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


def compute_here(portions: Iterator[Portion], report: Report) -> None:
    """Compute portions one after another on the active local scheduler."""
    schedule = _local_scheduler()
    for portion in portions:
        _compute_portion(schedule, portion, report)


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
        suspects = [key for key in keys if not watch.running.isdisjoint(_only(portion, key).graph)] or keys
        for key in suspects:
            report(portion.blocks[key], *_alone(schedule, _only(portion, key)))
        keys = [key for key in keys if key not in set(suspects)]


def _only(portion: Portion, key: str) -> Portion:
    """One block of a portion, and the tasks that it needs."""
    from dask.optimization import cull

    return Portion(cull(portion.graph, [key])[0], {key: portion.blocks[key]})


def _alone(schedule: Callable[..., Any], portion: Portion) -> tuple[Any, Exception | None]:
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


def compute_on_cluster(client: Any, portions: Iterator[Portion], report: Report) -> None:
    """Compute portions on a cluster; the next one is handed over when half of the last one is left.

    The cluster repeats by itself what a lost worker was doing, a few times.

    Raises
    ------
    StoreError
        If the scheduler is gone; what a block raises comes as it is.
    """
    run = _ClusterRun(client, report)
    try:
        for portion in portions:
            run.submit(portion)
            run.wait(len(portion.blocks) // 2)
        run.wait(0)
    except BaseException as error:
        if client.status != "running" and isinstance(error, Exception):
            raise StoreError(
                "the connection to the scheduler of the cluster is lost; expected it to live until the last block is"
                " there. Start a cluster again, and go on with resume=True (--resume)."
            ) from error
        run.end()
        raise


class _ClusterRun:
    """Blocks that a cluster is computing."""

    def __init__(self, client: Any, report: Report) -> None:
        self._client, self._report = client, report
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._running: dict[str, tuple[Any, Portion]] = {}
        """Future of every block that was handed over and not reported, and the portion that it is in."""
        self._failed: list[Portion] = []
        """Blocks that failed once."""

    def submit(self, portion: Portion) -> None:
        """Hand a portion over."""
        portion = _renamed(portion)
        for future in self._client.get(portion.graph, list(portion.blocks), sync=False, fifo_timeout=0):
            self._running[future.key] = future, portion
            future.add_done_callback(self._ended.put)

    def wait(self, most: int) -> None:
        """Wait until at most so many blocks are left, and none of those that failed.

        Blocks that failed are computed once more, each alone: some only shared workers with one that kills them.
        """
        while len(self._running) > (0 if self._failed else most):
            self._take(self._next())
        while self._failed:
            portion = self._failed.pop(0)
            (block,) = portion.blocks.values()
            self._report(block, *_alone(self._client.get, _renamed(portion)))

    def _next(self) -> list[Any]:
        """Wait for tasks to end; says so where no worker is there to compute them."""
        patience = PATIENCE_S
        while True:
            try:
                return [self._ended.get(timeout=patience), *_waiting_in(self._ended)]
            except Empty:
                if not self._client.nthreads():
                    warnings.warn(_no_workers(self._client, len(self._running)), XsrWarning, stacklevel=2)
                    patience *= 2

    def _take(self, futures: list[Any]) -> None:
        """Report tasks that ended; put those aside that are to be computed once more."""
        for future in futures:
            if future.status == "error" and self._report.once_more(future.exception()):
                self._failed.append(_only(self._running.pop(future.key)[1], future.key))
        self._finish([future for future in futures if future.key in self._running])

    def _finish(self, futures: list[Any]) -> None:
        """Report results; raises what a task raised, or that it was lost with the scheduler."""
        for future, result in zip(futures, self._client.gather(futures), strict=True):
            _, portion = self._running.pop(future.key)
            self._report(portion.blocks[future.key], result)

    def end(self) -> None:
        """Report what is done, give up what is not, and wait for the workers to finish what they have begun."""
        futures = [future for future, _ in self._running.values()]
        if not self._report.ended:
            self._finish([future for future in futures if future.status == "finished"])
        self._client.cancel(futures)
        self._client.run(_wait_for_blocks, on_error="ignore")


def _waiting_in(queue: SimpleQueue[Any]) -> Iterator[Any]:
    while not queue.empty():
        yield queue.get()


def _no_workers(client: Any, blocks: int) -> str:
    return (
        f"the cluster {client.scheduler.address} has no workers; {blocks} blocks wait for one. Start workers, or"
        " interrupt the run and go on later with resume=True (--resume)."
    )


def _renamed(portion: Portion) -> Portion:
    """Give a portion keys of its own.

    Tasks that two portions need may be fused with others in one of them only: under one key the scheduler would take
    them for the same.
    """
    mark = uuid4().hex
    names: dict[Any, Any] = {
        key: (f"{key[0]}-{mark}", *key[1:]) if isinstance(key, tuple) else f"{key}-{mark}" for key in portion.graph
    }
    graph = {names[key]: task.substitute(names, key=names[key]) for key, task in portion.graph.items()}
    return Portion(graph, {names[key]: block for key, block in portion.blocks.items()})


async def _wait_for_blocks(dask_worker: Any) -> None:
    """Wait on a worker for the block tasks that it has begun; they cannot be stopped."""
    while any(PREFIX in str(task.key) for task in dask_worker.state.executing):
        await asyncio.sleep(0.05)
