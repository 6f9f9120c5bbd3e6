"""Faults to order: a process killed at any change of a file, damaged files, full and failing disks.

Changes are counted by an audit hook of Python, so that a fault comes before any of them, whoever makes it: an object, a
folder, a rename, the deletion of a lock.
"""

import ctypes
import itertools
import json
import os
import pickle
import random
import select
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xsr.core.errors import XsrError

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
"""Audit events that change a folder; opening a file for writing is one as well."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
LIMIT_S = float(os.environ.get("XSR_HANGS_S", "120"))
"""Seconds after which a process counts as hanging."""


def watch(folder: Path, act: Callable[[int], None]) -> None:
    """Call ``act`` before each change of a file in a folder, with the number of the change; until this process ends."""
    numbers = itertools.count(1)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        opened = event == "open" and isinstance(args[2], int) and args[2] & WRITING
        if (opened or event in CHANGES) and any(_inside(argument, folder) for argument in args[:2]):
            act(next(numbers))

    sys.addaudithook(hook)


def _inside(argument: Any, folder: Path) -> bool:
    return isinstance(argument, str | os.PathLike) and os.fspath(argument).startswith(os.fspath(folder))


def once(number: int, act: Callable[[], None]) -> Callable[[int], None]:
    """Act at one change, and at no other."""

    def at(found: int) -> None:
        if found == number:
            act()

    return at


def kill() -> None:
    """End this process at once, as the system does that is out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> None:
    """Interrupt this process, as Ctrl-C does."""
    os.kill(os.getpid(), signal.SIGINT)


@dataclass(frozen=True)
class Ending:
    """How a process ended."""

    value: Any = None
    """What its task returned."""
    error: str = ""
    """Class and message of what its task raised."""
    known: bool = True
    """Whether that was an error of xsr."""
    trace: str = ""
    killed: bool = False
    hung: bool = False


@dataclass(frozen=True)
class Running:
    """A process that was started by `start`."""

    pid: int
    pipe: int
    """Where its ending can be read."""
    begun: float = field(default_factory=time.monotonic)

    def kill(self) -> None:
        """Kill it, and the processes that it started."""
        os.killpg(self.pid, signal.SIGKILL)

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end, so long at most; whether it came."""
        return bool(select.select([self.pipe], [], [], seconds)[0])

    def wait(self, seconds: float = LIMIT_S) -> Ending:
        """Wait for its end, and kill it after so long."""
        ready = self.ends_within(seconds)
        if not ready:
            self.kill()
        content = _read(self.pipe) if ready else b""
        os.waitpid(self.pid, 0)
        ending: Ending = pickle.loads(content) if content else Ending(killed=ready, hung=not ready)
        return ending


def _read(pipe: int) -> bytes:
    """Read what one process wrote: its length first, since processes that it left behind keep the pipe open."""
    with os.fdopen(pipe, "rb") as file:
        size = file.read(8)
        return file.read(int.from_bytes(size, "big")) if size else b""


def start(task: Callable[[], Any]) -> Running:
    """Run a task in a fork of this process: it costs no imports, and leaves nothing behind."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons advise against forks beside threads
        pid = os.fork()
    if pid:
        os.close(writing)
        return Running(pid, reading)
    os.close(reading)
    os.setsid()
    try:
        ending = Ending(task())
    except BaseException as error:  # a test of endings catches all of them
        known = isinstance(error, XsrError)
        ending = Ending(error=f"{type(error).__name__}: {error}", known=known, trace=traceback.format_exc())
    content = pickle.dumps(ending)
    os.write(writing, len(content).to_bytes(8, "big") + content)
    os._exit(0)


def forked(task: Callable[[], Any]) -> Ending:
    """Run a task in a fork, and wait for it."""
    return start(task).wait()


def ended(running: Collection[Running]) -> list[Running]:
    """Wait until one of several processes ends, or hangs."""
    pipes = {process.pipe: process for process in running}
    deadline = min(process.begun for process in running) + 2 * LIMIT_S
    ready, _, _ = select.select(list(pipes), [], [], max(0.0, deadline - time.monotonic()))
    late = [process for process in running if time.monotonic() > deadline and process.pipe not in ready]
    for process in late:
        process.kill()
    return [pipes[pipe] for pipe in ready] + late


# --- damaged files ---------------------------------------------------------------------------------------------


def flip(path: Path, rng: random.Random) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data))


def cut(path: Path, rng: random.Random) -> None:
    """Cut the end off, or everything."""
    data = path.read_bytes()
    path.write_bytes(data[: rng.choice((0, rng.randrange(len(data)) if data else 0))])


def zero(path: Path, rng: random.Random) -> None:
    """Leave zeros in the place of a stretch, as a disk does that lost power."""
    data = bytearray(path.read_bytes())
    at = rng.randrange(max(len(data), 1))
    data[at : at + 512] = bytes(len(data[at : at + 512]))
    path.write_bytes(bytes(data))


def lose(path: Path, rng: random.Random) -> None:
    """Delete a file, now and then its whole folder."""
    if rng.random() < 0.8:
        path.unlink()
    else:
        shutil.rmtree(path.parent)


def swap(path: Path, rng: random.Random) -> None:
    """Exchange two files of one folder tree that have the same name or the same kind."""
    others = [one for one in files(path.parents[1]) if one != path]
    if others:
        other = rng.choice(others)
        mine, theirs = path.read_bytes(), other.read_bytes()
        path.write_bytes(theirs)
        other.write_bytes(mine)


def edit(path: Path, rng: random.Random) -> None:
    """Change one value of a JSON document, which stays one."""
    document = json.loads(path.read_bytes())
    places = list(_places(document))
    if places:
        holder, key = rng.choice(places)
        holder[key] = _other(holder[key], rng)
        path.write_text(json.dumps(document))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _other(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice((value + 1, value * 2 + 1, -value - 1, 0.5))
    if isinstance(value, str) and value:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice("0123456789abc") + value[at + 1 :]
    return rng.choice((None, {}, [], "", 0))


def files(folder: Path) -> list[Path]:
    """All files of a folder tree."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --- disks -----------------------------------------------------------------------------------------------------

READ_ONLY, REMOUNT = 1, 32
"""Flags of the system call mount(2)."""


def mount(folder: Path, size: int, flags: int = 0) -> bool:
    """Mount a disk in memory of so many bytes on a folder, or change it; False where the system does not let us."""
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={size}".encode()
    return bool(libc.mount(b"tmpfs", os.fspath(folder).encode(), b"tmpfs", flags, options) == 0)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a disk of so many bytes for a while; whether that was allowed."""
    folder.mkdir(exist_ok=True)
    mounted = mount(folder, size)
    try:
        yield mounted
    finally:
        if mounted:
            ctypes.CDLL(None).umount2(os.fspath(folder).encode(), 2)


def remove(folder: Path) -> None:
    """Delete a folder of a trial, whatever its files allow."""
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)
