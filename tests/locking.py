"""Writers in processes of their own, as scripts: what they print, line by line, says how far they are."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
