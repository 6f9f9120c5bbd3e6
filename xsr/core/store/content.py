"""Short hashes of what lies in a file, a folder, at an address or in an array of Zarr, which differ once it differs.

They cost little beside reading the pixels: names, sizes, times, the tags of servers, and pieces of the bytes. Only what
is small is read whole. What they cannot notice is a change that keeps all of these.
"""

import asyncio
import hashlib
import json
import math
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import IO, Any
from urllib.parse import unquote
from urllib.request import Request, urlopen

import numpy as np

from xsr.core.redact import public

PIECE = 1 << 16
"""Bytes of a piece of a file."""
PIECES = 16
"""Pieces of a file that are read, from the first to the last; a file that has no more is read whole."""
MANY = 10_000
"""Files of a folder up to which the ends of each are read, and most chunks that are requested of a server one by one.

Of more files the names, sizes and times count alone, of more chunks evenly spread ones.
"""
END = 1 << 12
"""Bytes at either end of a file of a folder."""
TIMEOUT_S = 20.0
"""Longest wait for a server."""
TOGETHER = 32
"""Requests that wait side by side."""
TAGS = ("ETag", "etag", "Content-MD5", "content_md5", "md5Hash", "Digest", "crc32c")
"""What servers call a hash of an object."""
TIMES = ("Last-Modified", "LastModified", "last_modified", "updated", "mtime", "created")
"""What they call the time of its last change."""


def digest(*parts: Any) -> str:
    """Hash of plain values and bytes."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part if isinstance(part, bytes) else repr(part).encode())
        found.update(b"\0")
    return found.hexdigest()[:16]


def of_file(path: str) -> str:
    """Hash of a file: its bytes where it is small, else its size, time and pieces from its first to its last bytes."""
    with open(path, "rb", buffering=0) as file:
        about = os.fstat(file.fileno())
        whole = about.st_size <= PIECE * PIECES
        return digest(about.st_size, None if whole else about.st_mtime_ns, *_pieces(file, about.st_size, PIECE, PIECES))


def _pieces(file: IO[bytes], size: int, piece: int, count: int) -> Iterator[bytes]:
    """Pieces of a file, the first and the last among them; all of it where it has no more."""
    if size <= piece * count:
        yield file.read(piece * count)
        return
    for number in range(count):
        file.seek((size - piece) * number // (count - 1))
        yield file.read(piece)


def of_folder(path: str) -> str:
    """Hash of a folder: names, sizes and times of all files below it, and the ends of each where they are not many."""
    files = sorted(_files(path, ""))
    found = hashlib.sha256(repr(files).encode())
    for name, size, _ in files if len(files) <= MANY else ():
        with open(f"{path}/{name}", "rb", buffering=0) as file:
            for piece in _pieces(file, size, END, 2):
                found.update(piece)
    return found.hexdigest()[:16]


def _files(path: str, below: str) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of every file below a folder."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(entry.path, f"{below}{entry.name}/")
            else:
                about = entry.stat()
                yield f"{below}{entry.name}", about.st_size, about.st_mtime_ns


def of_address(url: str) -> str:
    """Hash of what a web server has at an address: its size and tag, or time, and its first bytes."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    user, _, host = host.rpartition("@")
    request = Request(f"{scheme}://{host}{slash}{path}", headers={"Range": f"bytes=0-{PIECE - 1}"})
    if user:  # not for a server that this one leads to
        request.add_unredirected_header("Authorization", f"Basic {b64encode(unquote(user).encode()).decode()}")
    with urlopen(request, timeout=TIMEOUT_S) as response:
        about, head = response.headers, response.read(PIECE)
    size = about.get("Content-Range", "").rpartition("/")[2] or about.get("Content-Length")
    return digest(size, _tag(about), head)


def of_objects(listed: Mapping[str, Mapping[str, Any]]) -> str:
    """Hash of objects as fsspec lists them: the name without password and signature, size and tag, or time, of each."""
    return digest(*((public(name), about.get("size"), _tag(about)) for name, about in sorted(listed.items())))


def _tag(about: Mapping[str, Any]) -> str:
    return next((str(about[name]) for name in (*TAGS, *TIMES) if about.get(name)), "")


def of_zarr(node: Any) -> str:
    """Hash of an array or group of Zarr: its metadata as they were read, and what is stored of it."""
    return digest(json.dumps(node.metadata.to_dict(), sort_keys=True, default=str), _stored(node))


def _stored(node: Any) -> str:
    """Hash of the objects of an array or group."""
    from zarr.core.sync import sync
    from zarr.storage import FsspecStore, LocalStore, WrapperStore, ZipStore

    store, path = node.store_path.store, node.store_path.path
    while isinstance(store, WrapperStore):
        store = store._store
    if isinstance(store, LocalStore):
        return of_folder(os.path.join(store.root, path))
    if isinstance(store, ZipStore):
        return of_file(str(store.path))
    if not isinstance(store, FsspecStore) or "memory" in _protocols(store.fs):
        return sync(_by_content(store, path))
    if "file" in _protocols(store.fs):
        return of_folder(os.path.join(store.path, path))
    root = f"{store.path.rstrip('/')}/{path}".rstrip("/")
    store.fs.invalidate_cache()  # of listings, which another process may have outdated
    if not set(_protocols(store.fs)) & {"http", "https"}:
        return of_objects(sync(store.fs._find(root, detail=True)))
    return sync(_by_name(store.fs, [f"{root}/{key}" for key in _keys(node)]))


def _protocols(files: Any) -> tuple[str, ...]:
    found = getattr(files, "sync_fs", files).protocol
    return (found,) if isinstance(found, str) else tuple(found)


def _keys(node: Any) -> list[str]:
    """Names of the chunks of an array, for servers that do not list them; of more than `MANY` evenly spread ones."""
    counts = [-(-n // size) for n, size in zip(node.shape, node.shards or node.chunks, strict=True)]
    numbers = range(0, math.prod(counts), -(-math.prod(counts) // MANY) or 1)
    return [node.metadata.encode_chunk_key(tuple(map(int, np.unravel_index(n, counts)))) for n in numbers]


async def _by_name(files: Any, names: list[str]) -> str:
    """Hash of objects each of which is requested by its name; those that are not there count, too."""

    async def look(name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = await files._info(name)
        except FileNotFoundError:
            return {}
        return found

    return of_objects(dict(zip(names, await _side_by_side(look, names), strict=True)))


async def _by_content(store: Any, path: str) -> str:
    """Hash of the objects of a store of Zarr that has no tags for them, in memory for instance: all their bytes."""
    from zarr.core.buffer import default_buffer_prototype

    async def look(key: str) -> str:
        found = await store.get(key, default_buffer_prototype())
        return digest(key, b"" if found is None else found.to_bytes())

    names = sorted([key async for key in store.list_prefix(f"{path}/" if path else "")])
    return digest(*await _side_by_side(look, names))


async def _side_by_side(look: Any, names: list[str]) -> list[Any]:
    """Call a coroutine function for every name, some at a time."""
    turn = asyncio.Semaphore(TOGETHER)

    async def one(name: str) -> Any:
        async with turn:
            return await look(name)

    return await asyncio.gather(*map(one, names))
