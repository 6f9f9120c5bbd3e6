"""Sessions of icechunk in other processes: each task writes to a fork of the session, and its changes come back.

A writable session belongs to one process. Its fork may be pickled with all that was changed in it, and what others
change in their copies is merged into it. So the template is written to a fork here, each task gets that and returns it
with one more block, and the fork is merged into the session in the end. Nothing is committed.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from xsr.core.errors import StoreError
from xsr.core.store.block import BlockWriter, check_block
from xsr.core.store.ledger import Index
from xsr.core.store.objects import StoreObject
from xsr.core.store.place import Place


def can_fork(store: Any) -> bool:
    """Whether a store object belongs to a session that other processes write to through forks."""
    return callable(getattr(getattr(store, "session", None), "fork", None))


def forked(name: str, store: Any) -> StoreObject:
    """Place in a fork of the session of a store object; in the fork itself, if it is one.

    Raises
    ------
    StoreError
        If the session has changes that were not committed.
    """
    session = store.session
    if getattr(store, "_for_fork", False):
        return StoreObject(name, store=store, fork=session)
    if session.has_uncommitted_changes:
        raise StoreError(
            f"the session of the {name} has changes that are not committed, and other processes compute; expected none,"
            " since they write to forks of it. Commit them first, or compute in threads of this process: with"
            " dask.config.set(scheduler='threads')."
        )
    fork = session.fork()
    return StoreObject(name, store=fork.store, fork=fork, whole=store)


@contextmanager
def merging(place: Place) -> Iterator[None]:
    """Merge a fork into its session in the end, also of a run that failed: it may be committed, and goes on."""
    try:
        yield
    finally:
        if isinstance(place, StoreObject) and place.whole is not None and place.fork.has_uncommitted_changes:
            place.whole.session.merge(place.fork)


@dataclass(frozen=True)
class ForkWriter:
    """Writes a block to a copy of the fork; travels to workers."""

    writer: BlockWriter

    def __call__(self, block: NDArray[Any], index: Index) -> tuple[NDArray[Any], Any]:
        """Write one block; returns its row of the ledger, and the fork with it."""
        place = self.writer.place
        assert isinstance(place, StoreObject)
        store = pickle.loads(pickle.dumps(place.store))  # tasks of one process would hand on each other's blocks
        row = replace(self.writer, place=replace(place, store=store))(block, index)
        return row, store.session


def sent(writer: BlockWriter) -> BlockWriter | ForkWriter:
    """Writer as tasks get it."""
    place = writer.place
    if not isinstance(place, StoreObject) or place.fork is None:
        return writer
    return ForkWriter(replace(writer, place=replace(place, guard=None, fork=None, whole=None)))


def received(writer: BlockWriter, index: Index, result: Any) -> NDArray[Any]:
    """Take in what a task returned, and read the first block back here; returns its row of the ledger.

    Raises
    ------
    StoreError
        If this process does not read it: the storage is a disk of each machine.
    """
    place = writer.place
    if not isinstance(place, StoreObject) or place.fork is None:
        row: NDArray[Any] = result
        return row
    row, changed = result
    place.require_held()
    place.fork.merge(changed)
    if any(index):
        return row
    array = place.open()[writer.blocks.variable]
    bad = check_block(array, writer.blocks, writer.at(index), int(row["crc32"]))
    if bad is not None:
        raise StoreError(
            f"{place.name}: block {list(bad.index)} of {bad.variable!r} was written by another process, and here it"
            f" {bad.reason}. Expected storage that all processes reach, such as a bucket or a shared disk."
        )
    return row
