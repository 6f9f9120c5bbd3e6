"""Computation on a cluster: blocks that are reported as they end, and results that are waited for.

What a cluster loses, its scheduler, its workers or the client's connection, is a `StoreError` whatever is computed: the
store that is written or the download goes on later. That no worker is there is said, and waited for.
"""

import asyncio
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from uuid import uuid4

from xsr.core.errors import StoreError, XsrError, XsrWarning, discreet
from xsr.core.graph.portions import PREFIX, Portion
from xsr.core.graph.schedulers import Report, alone, only

PATIENCE_S = 10.0
"""Seconds without a result after which a cluster is looked at; if it has no workers, the wait doubles each time."""
GO_ON = "A store or download that was begun goes on by resume=True (--resume), or the same fetch."
Name = TypeVar("Name")
Result = TypeVar("Result")


def active_client() -> Any:
    """Return the active distributed client, if there is one and Dask is not set to another scheduler."""
    import sys

    from dask import config

    distributed = sys.modules.get("distributed")
    if distributed is None or config.get("scheduler", None) not in (None, "dask.distributed", "distributed"):
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None


def threads_there(client: Any) -> int:
    """Blocks that a cluster computes side by side."""
    with unbroken(client):
        return sum(client.nthreads().values())


def together(*collections: Any) -> tuple[Any, ...]:
    """Compute several lazy objects in one pass over what they share, on the active scheduler or cluster.

    Raises
    ------
    StoreError
        If the cluster is lost; what a task raises comes as it is.
    """
    from dask.base import compute as compute_all

    client = active_client()
    with discreet():
        if client is None or not collections:
            computed: tuple[Any, ...] = compute_all(*collections)
            return computed
        with unbroken(client):
            return tuple(_gathered(client, client.compute(list(collections))))


def loaded(objects: Mapping[Name, Any]) -> dict[Name, Any]:
    """Load objects of xarray into memory, by their names; lazy ones are computed `together`."""
    lazy = {name: one for name, one in objects.items() if one.chunks is not None}
    computed = dict(zip(lazy, together(*lazy.values()), strict=True))
    return {name: computed[name] if name in computed else one.compute() for name, one in objects.items()}


@contextmanager
def unbroken(client: Any) -> Iterator[None]:
    """Turn the loss of a cluster into one `StoreError`; what a task raises comes as it is."""
    try:
        yield
    except XsrError:
        raise
    except Exception as error:
        loss = _loss(client, error)
        if loss is None:
            raise
        raise StoreError(f"{loss} {GO_ON}") from error


def _loss(client: Any, error: Exception) -> str | None:
    """Say what of a cluster is lost; None if the error is that of a task."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return (
            f"{error.allowed_failures + 1} workers of the cluster died, each while it computed {error.task!r}; expected"
            " them to live, and to have the memory that it needs. Use smaller chunks= (--chunks), or give workers more"
            " memory."
        )
    if _disconnected(client, error):
        return (
            "the connection to the scheduler of the cluster is lost; expected it to live until all is computed. Start a"
            " cluster again."
        )
    return None


def _disconnected(client: Any, error: Exception) -> bool:
    """Whether an error comes from a scheduler that is gone, or a client that was closed."""
    from distributed.comm.core import CommClosedError

    return isinstance(error, CancelledError | CommClosedError) or client.status != "running"


def _gathered(client: Any, futures: list[Any]) -> list[Any]:
    """Results of tasks once all of them have ended; raises what one of them raised."""
    from distributed import wait

    try:
        waited(client, lambda seconds: wait(futures, seconds), len(futures), "results")  # type: ignore[no-untyped-call]
        found: list[Any] = client.gather(futures)
    finally:
        for future in futures:
            future.release()
    return found


def waited(client: Any, get: Callable[[float], Result], count: int, what: str) -> Result:
    """Wait for what a cluster computes; says so where no worker is there to compute it.

    Parameters
    ----------
    client
        Of the cluster.
    get
        Waits so many seconds at most, and raises `TimeoutError` or `queue.Empty` after them.
    count, what
        What is waited for.
    """
    patience = PATIENCE_S
    while True:
        try:
            return get(patience)
        except (TimeoutError, Empty):
            if not client.nthreads():
                warnings.warn(_no_workers(client, f"{count} {what}"), XsrWarning, stacklevel=2)
                patience *= 2


def _no_workers(client: Any, what: str) -> str:
    return (
        f"the cluster {client.scheduler.address} has no workers; {what} wait for one. Start workers, or interrupt the"
        f" run. {GO_ON}"
    )


def compute_on_cluster(client: Any, portions: Iterator[Portion], report: Report) -> None:
    """Compute portions on a cluster; the next one is handed over when half of the last one is left.

    The cluster repeats by itself what a lost worker was doing, a few times.

    Raises
    ------
    StoreError
        If the cluster is lost; what a block raises comes as it is.
    """
    run = _ClusterRun(client, report)
    with unbroken(client):
        try:
            for portion in portions:
                run.submit(portion)
                run.wait(len(portion.blocks) // 2)
            run.wait(0)
        except BaseException:
            if client.status == "running":
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
        for future in self._begin(portion.graph, list(portion.blocks)):
            self._running[future.key] = future, portion
            future.add_done_callback(self._ended.put)

    def _begin(self, graph: dict[Any, Any], keys: list[str]) -> list[Any]:
        found: list[Any] = self._client.get(graph, keys, sync=False, fifo_timeout=0)
        return found

    def _alone(self, portion: Portion) -> tuple[Any, Exception | None]:
        """Compute one block while no other is computed: its result, or its error; a lost scheduler raises."""
        result, error = alone(lambda graph, keys: _gathered(self._client, self._begin(graph, keys)), _renamed(portion))
        if error is not None and _disconnected(self._client, error):
            raise error
        return result, error

    def wait(self, most: int) -> None:
        """Wait until at most so many blocks are left, and none of those that failed.

        Blocks that failed are computed once more, each alone: some only shared workers with one that kills them.
        """
        while len(self._running) > (0 if self._failed else most):
            self._take(self._next())
        while self._failed:
            portion = self._failed.pop(0)
            (block,) = portion.blocks.values()
            self._report(block, *self._alone(portion))

    def _next(self) -> list[Any]:
        """Wait for tasks to end."""
        ended = waited(self._client, lambda seconds: self._ended.get(timeout=seconds), len(self._running), "blocks")
        return [ended, *_waiting_in(self._ended)]

    def _take(self, futures: list[Any]) -> None:
        """Report tasks that ended; put those aside that are to be computed once more."""
        for future in futures:
            if future.status == "error" and self._report.once_more(future.exception()):
                self._failed.append(only(self._running.pop(future.key)[1], future.key))
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
