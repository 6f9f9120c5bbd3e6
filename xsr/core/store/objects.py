"""A place within a store object of Zarr: memory, icechunk, obstore and whatever else has the interface of a store.

Such an object lives in this process, and nothing lies beside it. Header and ledger are kept under their own keys where
the store takes any key; where it takes only those of Zarr, as icechunk does, each of them is an array of bytes in one
chunk, at the same place of the hierarchy.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from xsr.core import graph
from xsr.core.errors import ParameterError, StoreError
from xsr.core.store.place import SIDE, Place, StoreLike, resolve_place

BOXED = "c/0"
"""Chunk that holds the content of a key which a store does not take."""


@dataclass(frozen=True, repr=False)
class StoreObject(Place):
    """A group of a store object; travels to other processes if it is one of a fork."""

    store: Any = field(default=None, repr=False)
    prefix: str = ""
    """Keys of the group begin with it: empty, or a path and a slash."""
    fork: Any = field(default=None, repr=False, compare=False)
    """Session of the store where other processes write, too; see `xsr.core.store.forks`."""
    whole: Any = field(default=None, repr=False, compare=False)
    """Store object of the session that the fork is merged into, if there is one."""

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, id(self.store), self.prefix

    def objects(self, *, read_only: bool = False) -> Any:
        """Store object of Zarr, with the keys of all its groups."""
        return self.store

    @property
    def remote(self) -> bool:
        """Whether objects are written where they stay, the documents at the root last, as at a URL: always."""
        return True

    @property
    def transactional(self) -> bool:
        """Whether nothing that is written is there for others before the user commits it."""
        return callable(getattr(getattr(self.store, "session", None), "commit", None))

    @cached_property
    def boxes(self) -> bool:
        """Whether the store takes no other keys than those of Zarr."""
        from zarr.core.sync import sync

        try:
            sync(self.store.exists(f"{SIDE}/header.json"))
        except Exception:  # an error of its own kind; what is wrong with the store itself is raised by another key
            sync(self.store.exists("zarr.json"))
            return True
        return False

    @property
    def shaped(self) -> bool:
        """Whether no chunk is taken that lies outside the shape that the metadata of its array state."""
        return self.boxes

    @property
    def gathers(self) -> bool:
        """Whether readers look for the metadata of all groups and arrays at the root."""
        return bool(self.store.supports_consolidated_metadata)

    @property
    def in_memory(self) -> bool:
        """Whether it is held in the memory of this process."""
        from zarr.storage import MemoryStore

        return isinstance(self.store, MemoryStore)

    def inside(self, key: str) -> "StoreObject":
        """Return the place of a key of this one."""
        return replace(self, path=f"{self.path}/{key}", prefix=f"{self.prefix}{key}/")

    def open(
        self,
        mode: Literal["r", "r+", "a"] = "r+",
        *,
        zarr_format: Literal[2, 3] | None = None,
        use_consolidated: bool | None = False,
    ) -> Any:
        """Open the Zarr group that lies here."""
        import zarr

        path = self.prefix.rstrip("/")
        return zarr.open_group(
            self.store, path=path, mode=mode, use_consolidated=use_consolidated, zarr_format=zarr_format
        )

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        from zarr.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        if not self._has(self._at(key)):
            return None
        found = sync(self.store.get(self._at(key), default_buffer_prototype()))
        return None if found is None else bytes(found.to_bytes())

    def erase(self, key: str) -> None:
        """Delete an object, if it is there."""
        from zarr.core.sync import sync

        self.require_held()
        at = self._at(key)
        for one in (at, f"{at.removesuffix(BOXED)}zarr.json") if self._is_boxed(key) else (at,):
            if self._has(one):
                sync(self.store.delete(one))

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of all objects below a prefix, which is a path."""
        from zarr.core.sync import sync

        async def listed() -> list[str]:  # not by prefix: which ones a store takes differs
            return [key async for key in self.store.list()]

        below = f"{prefix}/" if prefix else ""
        keys = [key.removeprefix(self.prefix) for key in sync(listed()) if key.startswith(self.prefix)]
        if self.boxes:
            side = set(filter(_is_side, keys))
            boxed = {key.removesuffix(f"/{BOXED}") for key in side if key.endswith(BOXED)}
            keys = [key for key in keys if key not in side] + [*boxed]
        return sorted(key for key in keys if key.startswith(below))

    def is_taken(self) -> bool:
        """Whether anything lies here."""
        from zarr.core.sync import sync

        async def any_listed() -> bool:
            async for key in self.store.list():
                if key.startswith(self.prefix):
                    return True
            return False

        return sync(any_listed())

    def free_bytes(self) -> int | None:
        """Free space: not known."""
        return None

    def move(self, target: Place) -> None:
        """Write what lies here to another place, and delete it here."""
        for key in sorted(self.keys(), key=lambda key: ("/" not in key, key)):
            target.put(key, self.get(key) or b"")
        self.remove()

    def remove(self) -> None:
        """Delete a store, if there is one: its root first, so that what is left is none, what says whose it is last."""
        for key in sorted(self.keys(), key=lambda key: ("/" in key, key.startswith(SIDE), key)):
            self.erase(key)

    def sweep(self) -> None:
        """Do nothing: a writer that ends leaves nothing half written."""

    def _has(self, key: str) -> bool:
        """Whether the store has a key; it may raise where it has not even the array, or takes no such key."""
        from zarr.core.sync import sync

        try:
            return bool(sync(self.store.exists(key)))
        except (KeyError, FileNotFoundError):
            return False

    def _set(self, key: str, content: bytes) -> None:
        from zarr.buffer.cpu import Buffer
        from zarr.core.sync import sync

        at = self._at(key)
        if self._is_boxed(key):
            sync(self.store.set(f"{at.removesuffix(BOXED)}zarr.json", Buffer.from_bytes(_box(len(content)))))
        sync(self.store.set(at, Buffer.from_bytes(content)))

    def _at(self, key: str) -> str:
        """Key of the store that an object is kept under."""
        return f"{self.prefix}{key}/{BOXED}" if self._is_boxed(key) else f"{self.prefix}{key}"

    def _is_boxed(self, key: str) -> bool:
        return self.boxes and _is_side(key)


def _is_side(key: str) -> bool:
    """Whether a key is that of a header or a ledger, of any group."""
    return f"/{SIDE}/" in f"/{key}"


def new_memory(name: str = "memory") -> StoreObject:
    """Place in memory that holds nothing yet."""
    from zarr.storage import MemoryStore

    return StoreObject(name, store=MemoryStore())


def _box(size: int) -> bytes:
    """Metadata of an array of bytes in one chunk, as they are."""
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [size],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(1, size)]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
        "attributes": {},
    }
    return json.dumps(document).encode()


def is_same(one: Any, other: Any) -> bool:
    """Whether two store objects hold the same: a session of icechunk makes one each time that it is read."""
    from zarr.storage import MemoryStore

    return one is other or (type(one) is type(other) and not isinstance(one, MemoryStore) and bool(one == other))


def resolve_store(path: StoreLike, options: Mapping[str, Any] | None, *, writes: bool) -> Place:
    """Place of a path, URL or store object of Zarr that a user gave.

    Parameters
    ----------
    path, options
        As of `xsr.to_zarr`.
    writes
        Whether something is to be written.

    Raises
    ------
    ParameterError
        If it is neither, or has options without being a URL.
    StoreError
        If it cannot do what is needed, or is to be written by other processes.
    """
    from zarr.abc.store import Store
    from zarr.storage import FsspecStore, LocalStore

    if isinstance(path, Store):
        _require(path, writes)
    if not isinstance(path, Store) or isinstance(path, LocalStore | FsspecStore):
        return resolve_place(path, options)
    name = type(path).__name__
    if options is not None:
        raise ParameterError(f"storage_options with {name}; expected a URL such as s3://bucket/name.zarr.")
    if writes and not graph.in_threads():
        raise StoreError(
            f"{name} lives in this process, and other processes compute; expected a folder or a URL, which they"
            " reach. Write to one, or compute in threads of this process: with dask.config.set(scheduler='threads')."
        )
    return StoreObject(name, store=path)


def _require(store: Any, writes: bool) -> None:
    """Refuse a store that cannot list, or write and delete."""
    if writes and store.read_only:
        raise StoreError(
            f"{type(store).__name__} is read-only; expected one that can be written, such as that of a writable"
            " session of icechunk."
        )
    needed = {"list": store.supports_listing}
    if writes:
        needed |= {"write": store.supports_writes, "delete": store.supports_deletes}
    lacks = [what for what, can in needed.items() if not can]
    if lacks:
        raise StoreError(
            f"{type(store).__name__} cannot {' or '.join(lacks)} objects; expected a store that can. Write to a"
            " folder or URL, and copy what was written."
        )
