"""One writer at a time: a small file beside the store says who writes it, and that it still does.

The owner renews the file every few seconds. Whether it lives, the process table says, where both have the same one.
Anywhere else (another host, a container, a file that cannot be read) the file is watched: an owner that does not renew
it is dead. No clocks are compared. A writer that loses the lock stops.
"""

import json
import logging
import os
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xsr.core.errors import StoreError
from xsr.core.store.lockfile import LockFile, file_beside
from xsr.core.store.objects import StoreObject
from xsr.core.store.place import RETRY, Place, store_errors

SUFFIX = ".lock"
BEAT_S = 5.0
"""Time after which an owner renews its lock."""
PATIENCE = 4
"""Times as long without a renewal after which an owner is taken to be dead."""
READS = 4
"""Reads in the time of a renewal while a lock is watched."""
ATTEMPTS = 100
"""Attempts to lock a store while others lock and release it."""

log = logging.getLogger(__name__)


class Lease:
    """Right to write to a store, for as long as nobody takes it over."""

    def __init__(self, place: Place, token: str) -> None:
        self.place = place
        self.token = token
        self.loss: str | None = None
        """Why the right is lost."""

    def check(self) -> None:
        """Read the lock and raise if it is lost; for its holder, before it writes what another would write, too.

        Raises
        ------
        StoreError
            If another process took the lock over, or its file was removed.
        """
        if self.loss is not None:
            raise StoreError(self.loss)
        check_held(self.place, self.token)

    def guarding(self, place: Place) -> Place:
        """Place that is written to, or a group of it, for as long as the right is not lost; travels to workers."""
        return replace(place, guard=self.check)


@contextmanager
def locked(place: Place, *, force: bool = False) -> Iterator[Lease]:
    """Hold the lock of a store.

    Parameters
    ----------
    place
        Store.
    force
        Take the lock over at once, whoever holds it.

    Raises
    ------
    StoreError
        If another writer holds the lock and lives; or, in the end, if the lock was lost meanwhile.

    Notes
    -----
    While it is not known whether the owner of a lock lives, its file is watched for 20 s, and a message of the logger
    ``xsr.core.store.lock`` says so. The lock of a store object is kept by this process.
    """
    with store_errors(place, "locking", remedy=RETRY):
        file = file_beside(place, SUFFIX)
    owner = Owner.me()
    heart = _Heart(file, owner, Lease(place, owner.token))
    with file.folders():
        try:
            with store_errors(place, "locking", remedy=RETRY):
                _acquire(place, file, owner, force)
            heart.start()
            yield heart.lease
            check_held(place, owner.token)
        finally:
            heart.stop()
            with suppress(Exception):  # whatever a failed disk or server raises: later writers find this one dead
                _release(file, owner)


def check_held(place: Place, token: str) -> None:
    """Read the lock of a store, and raise if it is not that of a lease.

    Parameters
    ----------
    place
        Store, or the one that it will replace: that of the lease.
    token
        Token of the lease.

    Raises
    ------
    StoreError
        If the lock is another's, or gone.
    """
    with store_errors(place, "reading the lock of"):
        loss = _loss(place, file_beside(place, SUFFIX).read(), token)
    if loss is not None:
        raise StoreError(loss)


@dataclass(frozen=True)
class Owner:
    """Process that holds a lock, as the file says; defaults stand for what files of earlier versions lack."""

    host: str
    pid: int
    born: str | None = None
    """Start of the process in ticks since boot, where the system reports it: process numbers are used again."""
    processes: str | None = None
    """Process table that the number belongs to; None if it is not known."""
    start: str = ""
    token: str = ""
    """Random; earlier versions have none, and do not renew their locks."""
    beat: int = 0
    """Renewals so far."""

    @classmethod
    def me(cls) -> "Owner":
        """Return this process, with a token of its own."""
        pid, now = os.getpid(), datetime.now(UTC).isoformat(timespec="microseconds")
        found = _process(pid)
        born = None if found is None else found[1]
        return cls(socket.gethostname(), pid, born, _processes(), now, secrets.token_hex(16))

    @classmethod
    def of(cls, content: bytes | None) -> "Owner | None":
        """Read the content of a lock; None if it does not name a process."""
        try:
            record = json.loads(content or b"")
        except ValueError:
            return None
        if not isinstance(record, dict):
            return None
        known: dict[str, Any] = {field.name: record[field.name] for field in fields(cls) if field.name in record}
        host, pid = known.get("host"), known.get("pid")
        return cls(**known) if isinstance(host, str) and isinstance(pid, int) and pid > 0 else None

    def content(self) -> bytes:
        """Content of the lock."""
        return json.dumps(asdict(self)).encode()

    def lives(self) -> bool | None:
        """Whether the process lives, by the process table; None if that cannot say."""
        if not self._can_be_looked_up():
            return None
        found = _process(self.pid)
        if found is not None:
            state, born = found
            return born == self.born and state not in "ZX"
        return None if _takes_signals(self.pid) else False

    def _can_be_looked_up(self) -> bool:
        """Whether its process table is that of this process; earlier versions only say the host."""
        here = _processes()
        same = here is not None and here == self.processes if self.token else True
        return same and self.host == socket.gethostname()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.start}"


class _Heart:
    """Renews a lock in a thread, and says on the lease when it is lost."""

    def __init__(self, file: LockFile, owner: Owner, lease: Lease) -> None:
        self.file, self.owner, self.lease = file, owner, lease
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"lock {owner.token}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.stopped.set()
        if self.thread.is_alive():
            self.thread.join()

    def _run(self) -> None:
        while self.lease.loss is None and not self.stopped.wait(BEAT_S):
            with suppress(Exception):  # a disk or a server that fails now may not at the next beat
                self._beat()

    def _beat(self) -> None:
        fresh = replace(self.owner, beat=self.owner.beat + 1)
        if self.file.replace(self.owner.content(), fresh.content()):
            self.owner = fresh
            return
        found = self.file.read()
        self.lease.loss = _loss(self.lease.place, found, self.owner.token)
        if self.lease.loss is None:  # renewed by an attempt that was taken to have failed
            self.owner = Owner.of(found) or self.owner


def _acquire(place: Place, file: LockFile, mine: Owner, force: bool) -> None:
    for _ in range(ATTEMPTS):
        found = file.read()
        if found == mine.content():  # made by an attempt that was taken to have failed
            return
        if found is None:
            done = file.create(mine.content())
        else:
            if not force:
                _require_dead(place, file, found)
            done = file.replace(found, mine.content())
        if done:
            return
    raise StoreError(f"{place.path} cannot be locked: {place.beside(SUFFIX).path} changes all the time. Try again.")


def _require_dead(place: Place, file: LockFile, found: bytes) -> None:
    """Raise if the owner of a lock lives, or may live."""
    owner = Owner.of(found)
    lives = None if owner is None else owner.lives()
    if lives is None and owner is not None and not owner.token:
        raise StoreError(
            f"{place.path} is locked by {owner} of an earlier version, whose state cannot be checked from here. If that"
            f" process no longer runs, pass force=True (--force) or delete {place.beside(SUFFIX).path}."
        )
    now = _watched(place, file, found) if lives is None else found
    if lives or now not in (found, None):
        raise StoreError(
            f"{place.path} is being written by {_name(now)}; expected one writer at a time. Wait for it, or end it."
        )


def _watched(place: Place, file: LockFile, found: bytes) -> bytes | None:
    """Content of a lock once it has changed; the same content if it did not while a living owner renews it."""
    log.warning(
        "%s is locked by %s, whose state cannot be checked from here. Waiting %g s for a sign of life.",
        place.name, _name(found), BEAT_S * PATIENCE,
    )  # fmt: skip
    pause = threading.Event()
    for _ in range(PATIENCE * READS):
        pause.wait(BEAT_S / READS)
        now = file.read()
        if now != found:
            return now
    return found


def _loss(place: Place, found: bytes | None, token: str) -> str | None:
    """Say what became of a lock; None if it has its token."""
    owner = Owner.of(found)
    if owner is not None and owner.token == token:
        return None
    deleted = "" if isinstance(place, StoreObject) else f", or deleted {place.beside(SUFFIX).path}"
    fate = f"is gone: another took it over and ended{deleted}" if found is None else f"was taken over by {_name(found)}"
    return f"The lock of {place.path} {fate}; this writer stops. Go on with resume=True once no other writes."


def _release(file: LockFile, mine: Owner) -> None:
    """Delete the lock, unless it is another's, or that of the process that this one was forked from."""
    found = file.read()
    owner = Owner.of(found)
    if found is not None and owner is not None and owner.token == mine.token and mine.pid == os.getpid():
        file.delete(found)


def _name(content: bytes | None) -> str:
    return str(Owner.of(content) or "an unknown process")


def _processes() -> str | None:
    """Name of the process table that ``/proc`` shows; where there is none, a host has one."""
    if sys.platform != "linux":
        return socket.gethostname()
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # of another container or the host
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _process(pid: int) -> tuple[str, str] | None:
    """State of a process, and its start in ticks since boot; None where the system does not report it."""
    try:
        found = Path(f"/proc/{pid}/stat").read_bytes().decode(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return found[0], found[19]


def _takes_signals(pid: int) -> bool:
    """Whether a process takes signals; on Windows a signal would end it, so that it is taken to live."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
