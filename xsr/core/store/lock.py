"""One writer at a time: a small file beside the store says who writes it.

The file is made exclusively, so that of two writers one gets it. A writer that died leaves it behind; where that writer
was a process of this host, the system knows that it is dead, and the next writer takes over.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xsr.core.errors import StoreError
from xsr.core.store.place import RETRY, Place, store_errors

SUFFIX = ".lock"


@contextmanager
def locked(place: Place, *, force: bool = False) -> Iterator[None]:
    """Hold the lock of a store.

    Parameters
    ----------
    place
        Store.
    force
        Take the lock over from a writer whose state cannot be checked.

    Raises
    ------
    StoreError
        If another writer holds the lock, and lives or may live.
    """
    lock = place.beside(SUFFIX)
    mine = _me(place)
    with store_errors(place, "locking", remedy=RETRY):
        if not _create(lock, mine):
            _take_over(place, lock, mine, force)
    try:
        yield
    finally:
        with suppress(OSError):  # a failed disk keeps it: later writers find this process dead
            if _read(lock) == mine:  # not one that was taken over by force
                _delete(lock)


def _me(place: Place) -> dict[str, Any]:
    start = datetime.now(UTC).isoformat(timespec="microseconds")
    host, pid = socket.gethostname(), os.getpid()
    return {"name": place.name, "host": host, "pid": pid, "born": _born(pid), "start": start}


def _take_over(place: Place, lock: Place, mine: dict[str, Any], force: bool) -> None:
    """Replace the lock of a dead writer; a second lock keeps two writers from doing so at once."""
    guard = lock.beside(SUFFIX)
    if not _create(guard, mine):
        raise StoreError(f"{place.path} is being taken over by another writer. If none runs, delete {guard.path}.")
    try:
        owner = _read(lock)
        if owner is not None and not force and _lives(owner):
            raise StoreError(_refusal(place, lock, owner))
        _delete(lock)
        _create(lock, mine)
    finally:
        _delete(guard)


def _refusal(place: Place, lock: Place, owner: dict[str, Any]) -> str:
    who = f"process {owner.get('pid')} on {owner.get('host')} since {owner.get('start')}"
    if owner.get("host") == socket.gethostname():
        return f"{place.path} is being written by {who}; expected one writer at a time. Wait for it, or end it."
    return (
        f"{place.path} is locked by {who}, whose state cannot be checked from here. If that process no longer runs,"
        f" pass force=True (--force) or delete {lock.path}."
    )


def _lives(owner: dict[str, Any]) -> bool:
    """Whether a writer lives; one of another host is taken to."""
    if owner.get("host") != socket.gethostname():
        return True
    pid = int(owner.get("pid", 0))
    if Path("/proc/self/stat").exists():
        return _born(pid) is not None and _born(pid) == owner.get("born")
    return _takes_signals(pid)


def _born(pid: int) -> str | None:
    """Start of a process in ticks since boot, where the system reports it: process numbers are used again."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _takes_signals(pid: int) -> bool:
    """Whether a process takes signals; on Windows a signal would end it, so that it is taken to live."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _files(lock: Place) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    files, path = url_to_fs(lock.path, **(lock.fsspec or {}))
    return files, path


def _create(lock: Place, record: dict[str, Any]) -> bool:
    """Make the file, unless there is one."""
    content = json.dumps(record)
    try:
        if lock.remote:
            files, path = _files(lock)
            with files.open(path, "xb") as file:
                file.write(content.encode())
        else:
            Path(lock.path).parent.mkdir(parents=True, exist_ok=True)
            with open(lock.path, "x") as file:
                file.write(content)
    except FileExistsError:
        return False
    return True


def _read(lock: Place) -> dict[str, Any] | None:
    """Return the record of the owner; an unreadable one was left by a writer that died while writing it."""
    try:
        if lock.remote:
            files, path = _files(lock)
            files.invalidate_cache()
            content = files.cat_file(path).decode()
        else:
            content = Path(lock.path).read_text()
        record = json.loads(content)
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _delete(lock: Place) -> None:
    if lock.remote:
        files, path = _files(lock)
        if files.exists(path):
            files.rm_file(path)
    else:
        Path(lock.path).unlink(missing_ok=True)
