"""Where a store lies, a folder or a URL, and one error for all that can go wrong there."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.request import url2pathname

from xsr.core.errors import ParameterError, StoreError, XsrError, XsrWarning, cause
from xsr.core.redact import public, scrub

REMEDY = "Blocks written so far are safe; mend the cause and go on with resume=True (xsr run --resume)."
RETRY = "No block was written by this call; mend the cause and try again."


StoreLike: TypeAlias = Any
"""Path of a folder, URL, or a store object of Zarr."""
SIDE = "spatial_ref/_xsr"
"""Where a store keeps its header and ledger: in the folder of an array, where no reader of Zarr looks for others."""
ATTEMPTS = 3
"""Times that an object is written, and each time read back, before it counts as one that cannot be written."""
PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial$")
"""Name of a file that Zarr is writing, before it takes its own."""


@dataclass(frozen=True)
class Place:
    """A folder or a URL; travels to workers."""

    path: str
    options: Mapping[str, Any] | None = field(default=None, repr=False)
    """Options of fsspec for a URL: endpoint, credentials. Never written to the store."""
    guard: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    """Raises where the right to write here is lost; called before every change, see `xsr.core.store.lock`."""

    def __repr__(self) -> str:
        return f"Place({self.name!r})"

    @property
    def name(self) -> str:
        """Path to show and to write down: of a URL without password and query."""
        return public(self.path)

    @property
    def remote(self) -> bool:
        """Whether the path is a URL."""
        return "://" in self.path

    @property
    def shaped(self) -> bool:
        """Whether no chunk is taken that lies outside the shape that the metadata of its array state."""
        return False

    @property
    def gathers(self) -> bool:
        """Whether readers look for the metadata of all groups and arrays at the root."""
        return True

    @property
    def fsspec(self) -> dict[str, Any] | None:
        """Options as fsspec takes them; it must not remember what lay here before others wrote or deleted it."""
        return {"use_listings_cache": False, **(self.options or {})} if self.remote else None

    def beside(self, suffix: str) -> "Place":
        """Return the place of the same name with a suffix."""
        return replace(self, path=self.path.rstrip("/") + suffix)

    def inside(self, key: str) -> "Place":
        """Return the place of a key of this one."""
        return replace(self, path=f"{self.path.rstrip('/')}/{key}")

    def open(
        self,
        mode: Literal["r", "r+", "a"] = "r+",
        *,
        zarr_format: Literal[2, 3] | None = None,
        use_consolidated: bool | None = False,
    ) -> Any:
        """Open the Zarr group that lies here; consolidated metadata is not used while blocks are written."""
        import zarr

        store = self.objects(read_only=mode == "r")
        return zarr.open_group(store, mode=mode, use_consolidated=use_consolidated, zarr_format=zarr_format)

    def open_own(self, fingerprint: str, *, zarr_format: Literal[2, 3] | None = None) -> Any:
        """Open the group, unless another store has taken its place since it was begun with these settings.

        Raises
        ------
        StoreError
            If so.
        """
        group = self.open(zarr_format=zarr_format)
        if group.attrs.get("xsr", {}).get("fingerprint") != fingerprint:
            raise StoreError(f"{self.path} was replaced by another store while it was being written. Stop.")
        return group

    def objects(self, *, read_only: bool = False) -> Any:
        """Store of Zarr that reads and writes the objects here."""
        from zarr.storage import FsspecStore, LocalStore

        if self.remote:
            return FsspecStore.from_url(self.path, storage_options=self.fsspec, read_only=read_only)
        return LocalStore(self.path, read_only=read_only)

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none, nothing if the object store says that it is damaged."""
        from zarr.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        try:
            found = sync(self.objects(read_only=True).get(key, default_buffer_prototype()))
        except FileNotFoundError:  # not even the folder
            return None
        except Exception as error:
            if is_damage(error):
                return b""
            raise
        return None if found is None else bytes(found.to_bytes())

    def put(self, key: str, content: bytes) -> None:
        """Write an object as a whole, and read it back.

        Raises
        ------
        StoreError
            If it was written `ATTEMPTS` times, and each time read back differently; or if the right to write is lost.
        """
        for _ in range(ATTEMPTS):
            self.require_held()
            self._set(key, content)
            if any(self.get(key) == content for _ in range(ATTEMPTS)):
                return
        raise StoreError(
            f"{self.name}: {key} was written {ATTEMPTS} times and each time read back differently. Check the disk or"
            " object store, then go on with resume=True (--resume)."
        )

    def require_held(self) -> None:
        """Raise where the right to write here is lost.

        Raises
        ------
        StoreError
            If so.
        """
        if self.guard is not None:
            self.guard()

    def _set(self, key: str, content: bytes) -> None:
        from zarr.buffer.cpu import Buffer
        from zarr.core.sync import sync

        sync(self.objects().set(key, Buffer.from_bytes(content)))

    def erase(self, key: str) -> None:
        """Delete an object, if it is there."""
        from zarr.core.sync import sync

        self.require_held()
        with suppress(FileNotFoundError):
            sync(self.objects().delete(key))

    def share(self, key: str, target: "Place", to: str) -> None:
        """Give another place of the same kind an object of this one, if it is there: on a disk, under both names."""
        target.require_held()
        if self.remote:
            files, here = self._files()
            with suppress(FileNotFoundError):
                files.cp_file(f"{here}/{key}", f"{target._files()[1]}/{to}")
            return
        one, other = Path(self.path, key), Path(target.path, to)
        if one.exists():
            other.parent.mkdir(parents=True, exist_ok=True)
            other.unlink(missing_ok=True)
            try:
                other.hardlink_to(one)
            except OSError:  # a file system without links
                shutil.copyfile(one, other)

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of all objects below a prefix."""
        from zarr.core.sync import sync

        async def listed() -> list[str]:
            return [key async for key in self.objects(read_only=True).list_prefix(prefix)]

        try:
            return sorted(sync(listed()))
        except FileNotFoundError:
            return []

    def is_group(self) -> bool:
        """Whether a Zarr group lies here; one whose document is damaged counts."""
        from zarr.errors import ContainsArrayError, GroupNotFoundError

        try:
            self.open("r")
        except (FileNotFoundError, NotADirectoryError, GroupNotFoundError, ContainsArrayError):
            return False
        except Exception as error:
            if not (is_damage(error) or isinstance(error, JSONDecodeError)):
                raise
        return True

    def is_taken(self) -> bool:
        """Whether anything lies here; an empty folder does not count."""
        if self.remote:
            files, path = self._files()
            with suppress(FileNotFoundError):
                return bool(files.ls(path, detail=False))
            return False
        local = Path(self.path)
        return local.exists() and (local.is_file() or any(local.iterdir()))

    def free_bytes(self) -> int | None:
        """Free space of the disk, None where it is not known."""
        if self.remote:
            return None
        folder = Path(self.path).absolute()
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def move(self, target: "Place") -> None:
        """Give what lies here another name; objects of a URL are copied, those at the root last, and then deleted."""
        self.require_held()
        if not self.remote:
            Path(self.path).rename(target.path)
            return
        files, here = self._files()
        there = target._files()[1]
        for at_root in (False, True):
            keys = [key for key in self.keys() if ("/" not in key) == at_root]
            files.copy([f"{here}/{key}" for key in keys], [f"{there}/{key}" for key in keys])
        self.remove()

    def remove(self) -> None:
        """Delete a store, if there is one: its root first, so that what is left is none, what says whose it is last."""
        self.require_held()
        if not self.remote:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        files, here = self._files()
        parts: dict[int, list[str]] = {0: [], 1: [], 2: []}
        for key in self.keys():
            parts[0 if "/" not in key else 2 if key.startswith(SIDE) else 1].append(f"{here}/{key}")
        for paths in parts.values():
            if paths:
                files.rm(paths)

    def _files(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(self.path.rstrip("/"), **(self.fsspec or {}))
        return files, path

    def sweep(self) -> None:
        """Delete what writers that were killed left half written in a local store."""
        if not self.remote:
            for path in Path(self.path).rglob("*.partial"):
                if PARTIAL.search(path.name):
                    path.unlink(missing_ok=True)


def is_damage(error: Exception) -> bool:
    """Whether an error says that the bytes of an object contradict the checksum that its store keeps."""
    return "Checksum" in type(error).__name__


def resolve_place(path: StoreLike, options: Mapping[str, Any] | None) -> Place:
    """Place of a path, URL or store object that a user gave.

    Raises
    ------
    ParameterError
        If it is neither, or has options without being a URL.
    """
    if not isinstance(path, str | Path):
        path, options = _of_store(path, options)
    text = str(path)
    if text.startswith("file://"):
        text = url2pathname(text.removeprefix("file://"))
    place = Place(text if "://" in text else str(Path(text).expanduser()), options)
    if options is not None and not place.remote:
        raise ParameterError(
            f"storage_options with {path}, a local path; expected a URL such as s3://bucket/name.zarr."
        )
    return place


def _of_store(store: Any, options: Mapping[str, Any] | None) -> tuple[str | Path, Mapping[str, Any] | None]:
    """Path or URL, and options, of a store object of Zarr."""
    from zarr.abc.store import Store
    from zarr.storage import FsspecStore, LocalStore

    if not isinstance(store, Store):
        raise ParameterError(f"path={store!r}; expected the folder or the URL of a store, as text or a Path.")
    if isinstance(store, LocalStore):
        return store.root, options
    if isinstance(store, FsspecStore) and options is None:
        own = {key: value for key, value in store.fs.storage_options.items() if key not in ("asynchronous", "loop")}
        return str(store.fs.unstrip_protocol(store.path)), own
    also = " with storage_options" if options is not None else ""
    raise ParameterError(
        f"path is a {type(store).__name__}{also}; expected a folder, a URL, a LocalStore, or a FsspecStore without"
        " storage_options."
    )


def in_group(place: Place, group: str | None) -> Place:
    """Place of a group of a store; the store itself without one.

    Raises
    ------
    ParameterError
        If the group has no name that Zarr takes.
    """
    if group is None:
        return place
    names = str(group).strip("/").split("/") if type(group) is str else [""]
    if any(name.strip(".") == "" or name.startswith("__") or "\\" in name for name in names):
        raise ParameterError(f"group={group!r}; expected names with '/' between them, such as 'fine' or 'tile/fine'.")
    return place.inside("/".join(names))


def make_groups(root: Place, place: Place, zarr_format: Literal[2, 3]) -> None:
    """Make the groups that lead to one, where they are missing.

    Raises
    ------
    StoreError
        If one of them has the other format.
    """
    for above in groups_above(root, place):
        if not above.is_group():
            above.open("a", zarr_format=zarr_format)
        elif above.open("r").metadata.zarr_format != zarr_format:
            raise StoreError(
                f"{above.name} is no group of Zarr format {zarr_format}; expected one format in a store. Pass the other"
                " zarr_format=."
            )


def groups_above(root: Place, place: Place) -> list[Place]:
    """List the groups that lead to one: the root, and what lies between."""
    names = place.path.removeprefix(root.path.rstrip("/")).strip("/").split("/")
    return [root, *(root.inside("/".join(names[:depth])) for depth in range(1, len(names)))]


@contextmanager
def store_errors(place: Place, doing: str, *, remedy: str = REMEDY) -> Iterator[None]:
    """Turn whatever a store raises into one `StoreError` that says what was being done, and what to do.

    A lack of memory is no fault of the store, and stays a `MemoryError`.
    """
    try:
        yield
    except (XsrError, XsrWarning, MemoryError):
        raise
    except Exception as error:
        known = place.path, place.options
        text = f"{doing} {place.name} failed: {reason(error, *known)}. {remedy}"
        raise StoreError(text) from cause(error, *known)


def reason(error: BaseException, *known: object) -> str:
    """First line of an error, with its kind, without secrets; see `xsr.core.redact.scrub`."""
    text = scrub(str(error).strip(), *known)
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
