"""The inputs of a lazy cube by content: which files, addresses and arrays of Zarr it reads, and a hash of each."""

import os
import re
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from xsr.core import graph
from xsr.core.errors import XsrWarning
from xsr.core.redact import public
from xsr.core.store import content
from xsr.core.store.objects import is_same
from xsr.core.store.place import reason

READERS = 16
"""Inputs that are looked at side by side."""
NAMED = 1000
"""Inputs that are kept one by one; more are kept folder by folder."""
PATH = re.compile(r"(?=.*[./\\]).{1,4096}")
"""What text must be like to name a file: in one line, and no plain word."""
IMAGE = re.compile(r"[a-z][\w+.-]*://\S+\.(tiff?|jp2|j2k|nc4?|h5|hdf5?|vrt|zip|tar|img)", re.IGNORECASE)
"""Address that is taken for one of an image."""
BETWEEN = re.compile(r'[":!{}]')
"""What surrounds a path where GDAL names a part of a file: ``NETCDF:"a.nc":red``, ``/vsizip/{a.zip}/b.tif``."""
CLOUDS = {"/vsicurl/": "", "/vsis3/": "s3://", "/vsigs/": "gs://", "/vsiaz/": "az://"}
"""Beginnings of what GDAL makes of addresses."""
ARCHIVE = re.compile(r"^/vsi(zip|tar|gzip)/")
"""Beginning of a path of GDAL into an archive."""
VRT = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<VRTDataset")
"""First bytes of a virtual raster, which refers to other files."""

Look = Callable[[], str]
Looks = dict[str, list[Look]]


def inputs(arrays: Iterable[Any]) -> dict[str, str | None]:
    """Identify what Dask arrays are read from, by content; no pixels are computed.

    Returns
    -------
    dict
        A hash by name: the absolute path, the address without user, password and query, or one of these with the path
        of an array of Zarr in it. None for what cannot be looked at. Of more than `NAMED` inputs those of a folder have
        one name.

    Warns
    -----
    XsrWarning
        If something cannot be looked at.
    """
    looks = _looks(arrays)
    with ThreadPoolExecutor(READERS) as pool:
        found = dict(zip(looks, pool.map(_looked_at, looks.values()), strict=True))
    lost = [f"{name} ({reason(result)})" for name, result in found.items() if isinstance(result, Exception)]
    if lost:
        warnings.warn(
            f"{'; '.join(lost[:3])}{' and others' if lost[3:] else ''} cannot be looked at: a change between this run"
            " and one that resumes it would not be noticed. Name the state of the input by input_id=.",
            XsrWarning,
            stacklevel=2,
        )
    return _folded({name: result if isinstance(result, str) else None for name, result in sorted(found.items())})


def are_read_from(arrays: Iterable[Any], store: Any) -> bool:
    """Whether Dask arrays are read from a store object of Zarr; no pixels are computed."""
    import zarr

    held = graph.contents(arrays, (zarr.Array, zarr.AsyncArray, zarr.Group, zarr.AsyncGroup)).objects
    return any(is_same(node.store_path.store, store) for node in held)


def of_files(names: Iterable[str]) -> str:
    """Hash of files and addresses together; empty where one of them cannot be looked at."""
    looks: Looks = {}
    for name in names:
        _add_text(name, looks)
    found = [_looked_at(one) for one in looks.values()]
    hashes = sorted(one for one in found if isinstance(one, str))
    return content.digest(*hashes) if hashes and len(hashes) == len(found) else ""


def _looked_at(looks: list[Look]) -> str | Exception:
    try:
        found = sorted(look() for look in looks)
    except Exception as error:  # of any kind, from disks, servers and whatever reaches them
        return error
    return found[0] if len(found) == 1 else content.digest(*found)


def _folded(found: dict[str, str | None]) -> dict[str, str | None]:
    """Join the deepest names to those of their folders until they are few."""
    while len(found) > NAMED:
        depth = max(name.count("/") for name in found)
        folders: dict[str, list[tuple[str, str | None]]] = {}
        for name, one in found.items():
            folders.setdefault(name.rpartition("/")[0] if name.count("/") == depth else name, []).append((name, one))
        found = {name: ones[0][1] if ones[0][0] == name else content.digest(ones) for name, ones in folders.items()}
    return found


def _looks(arrays: Iterable[Any]) -> Looks:
    """How to look at each input, by its name."""
    import zarr
    from fsspec.core import OpenFile
    from fsspec.implementations.memory import MemoryFile
    from fsspec.spec import AbstractBufferedFile

    nodes = (zarr.Array, zarr.AsyncArray, zarr.Group, zarr.AsyncGroup)
    held = graph.contents(arrays, (*nodes, OpenFile, MemoryFile, AbstractBufferedFile))
    looks: Looks = {}
    for one in held.objects:
        if isinstance(one, nodes):
            looks.setdefault(_name_of(one), []).append(partial(content.of_zarr, one))
        else:
            looks.setdefault(_shown(one.fs.unstrip_protocol(one.path)), []).append(
                partial(_of_object, one.fs, one.path)
            )
    for text in held.texts:
        _add_text(text, looks)
    return looks


def _name_of(node: Any) -> str:
    """Name of an array or group of Zarr."""
    store, path = node.store_path.store, node.store_path.path
    root = getattr(store, "root", getattr(store, "path", None))  # a folder; an archive, or an address
    files = getattr(store, "fs", None)
    if root is None:
        shown = type(store).__name__
    elif files is None:
        shown = os.path.abspath(root)
    else:
        shown = _shown(getattr(files, "sync_fs", files).unstrip_protocol(root))
    return f"{shown}/{path}".rstrip("/")


def _shown(address: str) -> str:
    """Local path of an address, or the address without secrets."""
    return os.path.abspath(address.removeprefix("file://")) if address.startswith("file://") else public(address)


def _add_text(text: str, looks: Looks) -> None:
    """Add the file or address that a text names, if it names one, and the files that this one refers to."""
    if not PATH.fullmatch(text):
        return
    cloud = next((start for start in CLOUDS if text.startswith(start)), None)
    address = text if cloud is None else CLOUDS[cloud] + text.removeprefix(cloud)
    file = _file_in(text)
    if file is not None and os.path.abspath(file) not in looks:
        looks[os.path.abspath(file)] = [partial(content.of_file, file)]
        for other in _referred(file):
            _add_text(other, looks)
    elif IMAGE.fullmatch(public(address)):
        web = address.startswith(("http://", "https://"))
        looks.setdefault(_shown(address), []).append(partial(content.of_address if web else _of_url, address))


def _file_in(text: str) -> str | None:
    """File that a text names, or one of whose parts it names."""
    found = next((one for one in (text, *BETWEEN.split(text)) if os.path.isfile(one)), None)
    if found is None and ARCHIVE.match(text):
        inside = Path(ARCHIVE.sub("", text))
        found = next((str(one) for one in inside.parents if one.is_file()), None)
    return found


def _referred(file: str) -> list[str]:
    """List the files that a virtual raster refers to; none for any other file."""
    with suppress(OSError):  # those of rasterio, too
        with open(file, "rb") as opened:
            virtual = VRT.match(opened.read(1024))
        if virtual:
            import rasterio

            with rasterio.open(file, driver="VRT", sharing=False) as raster:
                return [str(other) for other in raster.files if other != file]
    return []


def _of_object(files: Any, path: str) -> str:
    """Hash of an object of a file system of fsspec."""
    files.invalidate_cache()
    return content.of_objects({path: files.info(path)})


def _of_url(url: str) -> str:
    """Hash of an object that GDAL reads, with the credentials of the environment."""
    from fsspec.core import url_to_fs

    unsigned = os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in ("YES", "TRUE", "ON", "1")
    return _of_object(*url_to_fs(url, **({"anon": True} if url.startswith("s3://") and unsigned else {})))
