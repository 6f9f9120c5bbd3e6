"""Writers in processes of their own, as scripts: what they print, line by line, says how far they are."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask
import pytest
from zarr.storage import LocalStore

from xsr.core.errors import StoreError
from xsr.core.store import lock

BEGIN = """
import os, sys, threading
from xsr.core.errors import StoreError
from xsr.core.store import lock, lockfile
from xsr.core.store.place import Place
lock.BEAT_S, lock.PATIENCE = {beat}, {patience}
place = Place({path!r})
def say(*words):
    print(*words, flush=True)
"""
HOLD = """
try:
    with lock.locked(place) as lease:
        say("holds")
        while not threading.Event().wait(0.01):
            lease.check()
except StoreError as error:
    say("stops:", error)
"""


class Script:
    """Process that runs some lines after `BEGIN`; killed at the end of its context."""

    def __init__(self, path: Path, lines: str, *, before: Sequence[str] = ()) -> None:
        begin = BEGIN.format(beat=lock.BEAT_S, patience=lock.PATIENCE, path=str(path))
        command = [*before, sys.executable, "-c", begin + lines]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def line(self) -> str:
        """Wait for the next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def rest(self) -> str:
        """Wait for the end, and return what was not read before."""
        return self.process.communicate(timeout=60)[0].strip()

    def __enter__(self) -> "Script":
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.kill()
        self.process.communicate()


def race(path: str, rounds: int, barrier: Any, wins: Any) -> None:
    """Take stale locks over at the same time as others; whoever gets one keeps it until all have tried."""
    from xsr.core.errors import StoreError
    from xsr.core.store.place import Place

    for number in range(rounds):
        barrier.wait(300)
        try:
            with lock.locked(Place(f"{path}-{number}.zarr")):
                with wins.get_lock():
                    wins[number] += 1
                barrier.wait(300)
        except StoreError:
            barrier.wait(300)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder but locks."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def lost_at(number: int, path: Path, write: Callable[[], object]) -> bool:
    """Let another writer take the lock over once so many objects are written: then nothing changes any more.

    Returns whether so many are written at all.
    """
    count, before, real = 0, {}, LocalStore.set

    async def counting(self: LocalStore, key: str, value: Any) -> None:
        nonlocal count
        await real(self, key, value)
        count += 1
        if count == number:
            Path(f"{path}.lock").write_bytes(lock.Owner.me().content())
            before.update(contents(path.parent))

    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="synchronous"):
        patch.setattr(LocalStore, "set", counting)
        with pytest.raises((StoreError, Finished)) as caught:
            finish(write)
    if caught.type is Finished:
        assert count < number
        return False
    assert "was taken over by process" in str(caught.value)
    assert contents(path.parent) == before
    return True


class Finished(Exception):
    """A call came to its end."""


def finish(call: Callable[[], object]) -> None:
    """Call, and say so."""
    call()
    raise Finished
