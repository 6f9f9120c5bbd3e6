"""A small file, local or an object, that is made, replaced and deleted as a whole, and only by who knows what it holds.

A change names the content that it replaces (compare and swap), so that of several at once one succeeds. Local files
change under the system's lock on the file itself, which ends with its process, however that ends. Objects change by
conditional writes. Where either is missing, a change is made, given time to be overwritten, and read again: the last
one stands.
"""

import errno
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from xsr.core.store.objects import StoreObject, is_same
from xsr.core.store.place import Place, is_damage

SETTLE_S = 2.0
"""Time in which a change that was begun by another will be there, where nothing keeps two from changing at once."""
GUARD_S = 20.0
"""Longest wait for the system's lock on a file; it is held for as long as it takes to write the file."""
STEP_S = 0.01
"""Time between attempts to get it."""
ATTEMPTS = 3
"""Times that an object is read before what is damaged counts as lying there, and not as a failure on the way."""


class LockFile(Protocol):
    """File that changes by compare and swap."""

    def read(self) -> bytes | None:
        """Content, None if there is no file."""

    def create(self, content: bytes) -> bool:
        """Make the file; False if there is one, or another made it at the same time."""

    def replace(self, old: bytes, new: bytes) -> bool:
        """Replace the content; False if it was another than ``old``, or another replaced it at the same time."""

    def delete(self, old: bytes) -> None:
        """Delete the file if this is its content."""

    def folders(self) -> AbstractContextManager[None]:
        """Remove the folders that were made for the file in this context, unless something else lies in them."""


def file_beside(place: Place, suffix: str) -> LockFile:
    """File with the name of a store and a suffix; links are followed, so that a store has one by all its names."""
    if isinstance(place, StoreObject):
        return HeldFile(place.store if place.whole is None else place.whole)
    if not place.remote:
        return LocalFile(Path(os.path.realpath(place.path) + suffix))
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    files, path = url_to_fs(place.path.rstrip("/"), **(place.fsspec or {}))
    if isinstance(files, LocalFileSystem):
        return LocalFile(Path(os.path.realpath(path) + suffix))
    return ObjectFile(files, path + suffix)


@dataclass(frozen=True)
class LocalFile:
    """File on a disk."""

    path: Path

    def read(self) -> bytes | None:
        """Content, None if there is no file."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
        return self.read()  # another host of a network disk replaced the file while it was read

    def create(self, content: bytes) -> bool:
        """Make the file with its content in one step, if the disk has hard links; its folder is made, too."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._draft(content) as draft:
                try:
                    os.link(draft, self.path)
                except FileExistsError:
                    return False
                except OSError:  # a disk without links
                    draft.unlink()
                    with self.path.open("xb") as file:
                        file.write(content)
        except (FileExistsError, FileNotFoundError):  # the folder was removed meanwhile
            return False
        return True

    def replace(self, old: bytes, new: bytes) -> bool:
        """Replace the content in one step."""
        with _guard(self.path) as guarded:
            if self.read() != old:
                return False
            with self._draft(new) as draft:
                os.replace(draft, self.path)
        return guarded or _stands(self, new)

    def delete(self, old: bytes) -> None:
        """Delete the file if this is its content."""
        with _guard(self.path):
            if self.read() == old:
                self.path.unlink()

    @contextmanager
    def folders(self) -> Iterator[None]:
        """Remove the folders that were made for the file in this context, unless something else lies in them."""
        # pathlib would raise where a folder must not be looked at
        missing = [folder for folder in self.path.parents if not os.path.exists(folder)]
        try:
            yield
        finally:
            for folder in missing:
                with suppress(OSError):
                    folder.rmdir()

    @contextmanager
    def _draft(self, content: bytes) -> Iterator[Path]:
        draft = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
        try:
            draft.write_bytes(content)
            yield draft
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def _guard(path: Path) -> Iterator[bool]:
    """Hold the system's lock on a file, if there is such a thing; yields whether there is."""
    descriptor = _guarded(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough: a forked process may share it
            os.close(descriptor)


def _guarded(path: Path) -> int | None:
    """Descriptor of the file at a path, locked; None if it cannot be locked.

    Who knows the content that it replaces has read it before: the file that it locks holds that content, or came later.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    descriptor = _opened(path)
    if descriptor is None:
        return None
    pause = threading.Event()
    for _ in range(int(GUARD_S / STEP_S)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pause.wait(STEP_S)
        except OSError:  # a disk without locks
            break
        else:
            return descriptor
    os.close(descriptor)
    return None


def _opened(path: Path) -> int | None:
    for mode in (os.O_RDWR, os.O_RDONLY):  # network disks lock only what may be written
        with suppress(OSError):
            return os.open(path, mode)
    return None


@dataclass(frozen=True)
class ObjectFile:
    """Object of an object store."""

    files: Any
    path: str
    kept: dict[tuple[str, ...], bool] = field(default_factory=dict)
    """Whether the store keeps a condition, once that is known, by what it is called."""

    def read(self) -> bytes | None:
        """Content, None if there is no object; empty where it contradicts its own checksum whenever it is read."""
        for _ in range(ATTEMPTS):
            self.files.invalidate_cache(self.path)
            try:
                content: bytes = self.files.cat_file(self.path)
            except FileNotFoundError:
                return None
            except Exception as error:
                if is_damage(error):
                    continue
                raise
            return content
        return b""

    def create(self, content: bytes) -> bool:
        """Make the object, on the condition that there is none."""
        return self.read() is None and self._put(content, {"mode": "create"})

    def replace(self, old: bytes, new: bytes) -> bool:
        """Replace the object, on S3 on the condition that its entity tag is that of the content that was compared."""
        try:
            condition = self._tag()  # before the content: a tag that is older than that makes the write fail
        except FileNotFoundError:
            return False
        return self.read() == old and self._put(new, condition)

    def delete(self, old: bytes) -> None:
        """Delete the object if this is its content."""
        if self.read() == old:
            self.files.rm_file(self.path)

    def folders(self) -> AbstractContextManager[None]:
        """Do nothing: there are no folders."""
        return nullcontext()

    def _tag(self) -> dict[str, Any]:
        if "s3" not in self.files.protocol:
            return {}
        return {"IfMatch": self.files.info(self.path, refresh=True)["ETag"]}

    def _put(self, content: bytes, condition: dict[str, Any]) -> bool:
        if not self._try(content, condition):
            return False
        kind = tuple(condition)
        if kind not in self.kept:  # what a store does twice, it does without looking at the condition
            self.kept[kind] = not self._try(content, condition)
        return self.kept[kind] or _stands(self, content)

    def _try(self, content: bytes, condition: dict[str, Any]) -> bool:
        try:
            self.files.pipe_file(self.path, content, **condition)
        except OSError as error:
            if not _is_refusal(error, condition):
                raise
            return False
        return True


@dataclass(frozen=True)
class HeldFile:
    """Content that this process keeps for a store object, which no other process writes."""

    store: Any
    held: ClassVar[list[tuple[Any, bytes]]] = []
    """Store objects and their contents."""
    guard: ClassVar[threading.RLock] = threading.RLock()

    def read(self) -> bytes | None:
        """Content, None if there is none."""
        with self.guard:
            return next((content for store, content in self.held if is_same(store, self.store)), None)

    def create(self, content: bytes) -> bool:
        """Keep a content; False if there is one."""
        with self.guard:
            if self.read() is not None:
                return False
            self.held.append((self.store, content))
        return True

    def replace(self, old: bytes, new: bytes) -> bool:
        """Replace the content."""
        with self.guard:
            if self.read() != old:
                return False
            self.delete(old)
            return self.create(new)

    def delete(self, old: bytes) -> None:
        """Forget the content if it is this."""
        with self.guard:
            if self.read() == old:
                self.held[:] = [one for one in self.held if not is_same(one[0], self.store)]

    def folders(self) -> AbstractContextManager[None]:
        """Do nothing: there are no folders."""
        return nullcontext()


def _is_refusal(error: OSError, condition: dict[str, Any]) -> bool:
    """Whether the condition of a write was not met; HTTP 409 says that another write is under way."""
    if isinstance(error, FileNotFoundError):
        return "IfMatch" in condition
    status = getattr(error.__cause__, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return isinstance(error, FileExistsError) or status in (409, 412)


def _stands(file: LockFile, content: bytes) -> bool:
    """Whether a change is there after the time in which others would have overwritten it."""
    threading.Event().wait(SETTLE_S)
    return file.read() == content
