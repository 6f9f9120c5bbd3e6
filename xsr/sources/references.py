"""References of kerchunk and VirtualiZarr: a Zarr store whose chunks are pieces of other files.

Whoever writes references chooses which bytes of which file become pixels. They lead no further inward than addresses of
a catalogue do (`xsr.sources.stac.origin`), and on disk to files in their own folder alone.
"""

import json
import os
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import xarray as xr

from xsr.core.errors import CubeError
from xsr.core.types import XarrayObject
from xsr.sources.files import reading
from xsr.sources.hierarchies import check_zarr
from xsr.sources.labels import Bands, adapt, cube_of
from xsr.sources.limits import check_document, read_document
from xsr.sources.stac.origin import refusal

TRUST = "Pass trust=True, if you trust them."
TEMPLATE = re.compile(r"{{\s*(\w+)\s*}}")
LOCAL = "file"
REFERENCE_URL = re.compile(r"\b(refs?|references?|kerchunk)\.json$")
"""Names of references at a URL, where any other JSON file is taken for STAC."""


def open_references(
    path: str,
    *,
    bands: Bands | None = None,
    dims: Mapping[str, str] | None = None,
    crs: str | int | None = None,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> XarrayObject:
    """Open references in the JSON form of kerchunk, which VirtualiZarr writes, too.

    Parameters
    ----------
    path
        Path or URL of the file.
    bands, dims, crs, group
        As of `xsr.sources.files.open_netcdf`.
    storage_options
        Options of fsspec for what the references name, for instance ``{"anon": True}`` for ``s3://``.
    trust
        Let the references name any file and any host.

    Returns
    -------
    DataArray or Dataset
        Dask-backed, chunk by chunk of the references. Relative addresses are those beside the file.

    Raises
    ------
    CubeError
        If it holds no references, they name what they may not, or files of several schemes.
    """
    with reading(path):
        document = _document(path)
        references, named = _resolved(document, path)
        if not trust:
            _check_addresses(named, path)
        store = _store(references, _scheme(named, path), storage_options)
        check_zarr(store, group, label=path)
        data = xr.open_zarr(store, group=group, consolidated=False, chunks={}, decode_coords="all")
    return adapt(cube_of(data, path, dims), bands=bands, dims=dims, crs=crs, label=path)


def is_references(document: Any) -> bool:
    """Whether a JSON document holds references: version 1, with ``refs``, or the keys of a Zarr group by themselves."""
    if not isinstance(document, dict):
        return False
    held = document.get("refs", document)
    return isinstance(held, dict) and bool({".zgroup", "zarr.json", ".zmetadata"} & set(held))


def _document(path: str) -> dict[str, Any]:
    import fsspec

    if "://" in path:
        with fsspec.open(path, "rb") as file:
            content = check_document(file.read(), path)
    else:
        content = read_document(path)
    document = json.loads(content)
    if not is_references(document):
        raise CubeError(f"{path} holds no references; expected those of kerchunk, with 'refs'. Check the path.")
    if document.get("gen") if "refs" in document else False:
        raise CubeError(
            f"{path} generates references by expressions ('gen'), which could run anything; expected plain ones. Write"
            " them out: kerchunk.utils.consolidate, or VirtualiZarr."
        )
    return dict(document)


def _resolved(document: Mapping[str, Any], path: str) -> tuple[dict[str, Any], set[str]]:
    """Complete the addresses in references; returns both."""
    words = document.get("templates", {}) if "refs" in document else {}
    found: dict[str, Any] = {}
    named: set[str] = set()
    for key, value in document.get("refs", document).items():
        if isinstance(value, list) and value and isinstance(value[0], str):
            address = _whole(TEMPLATE.sub(lambda one: str(words[one[1]]), value[0]), path)
            named.add(address)
            value = [address, *value[1:]]
        found[str(key)] = value
    return found, named


def _whole(address: str, path: str) -> str:
    """Address with its scheme: a relative one lies beside the references."""
    if "://" in address:
        return address
    if "://" in path and not address.startswith("/"):
        scheme, _, place = path.partition("://")
        return f"{scheme}://{posixpath.normpath(posixpath.join(posixpath.dirname(place), address))}"
    if "://" in path:
        return f"{LOCAL}://{address}"
    return f"{LOCAL}://{Path(os.path.abspath(Path(path).parent / address)).as_posix()}"


def _check_addresses(named: set[str], path: str) -> None:
    """Refuse addresses that the references may not name.

    Raises
    ------
    CubeError
        With the first of them.
    """
    origin = path if "://" in path and not path.startswith(f"{LOCAL}://") else None
    home = Path(os.path.realpath(Path(path).parent)) if origin is None else None
    for address in sorted(named):
        why = refusal(address, origin)
        if why is None and home is not None and address.startswith(f"{LOCAL}://"):
            inside = Path(os.path.realpath(unquote(address.removeprefix(f"{LOCAL}://")))).is_relative_to(home)
            why = None if inside else "lies outside the folder of the references"
        if why is not None:
            raise CubeError(f"{path} names {address}, which {why}; expected files that it may name. {TRUST}")


def _scheme(named: set[str], path: str) -> str:
    schemes = sorted({urlsplit(address).scheme for address in named}) or [LOCAL]
    if len(schemes) > 1:
        raise CubeError(
            f"{path} names files by {' and '.join(f'{one}://' for one in schemes)}; expected one scheme. Split them by"
            " scheme, and join the cubes."
        )
    return schemes[0]


def _store(references: Mapping[str, Any], scheme: str, options: Mapping[str, Any] | None) -> Any:
    import fsspec
    from zarr.storage import FsspecStore

    how = {"asynchronous": True, **(options or {})}
    files = fsspec.filesystem(
        "reference", fo=dict(references), remote_protocol=scheme, remote_options=how, asynchronous=True
    )
    return FsspecStore(files, read_only=True, path="/")
