"""A hierarchy of arrays with one face: a Zarr store (folder, URL, zip archive) or an open `xarray.DataTree`.

A reader names groups and arrays; what it gets are lazy arrays with their attributes, and how many of their chunks are
stored. A chunk that is not stored reads as the fill value, which in an array of decoded floats is mostly 0: such an
array is read with NaN in its place.
"""

import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import xarray as xr

from xsr.core.errors import ProductError, XsrError, cause, discreet
from xsr.core.redact import public, scrub
from xsr.sources.files import zarr_root

NEW_CODECS = ("scale_offset", "cast_value")
"""Codecs that zarr reads from 3.2 on."""


class Tree(Protocol):
    """Groups and arrays by path, with forward slashes; the root has an empty one."""

    @property
    def label(self) -> str:
        """Name of the tree in messages."""

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of a group or array; empty where there is none."""

    def children(self, group: str) -> tuple[str, ...]:
        """Names of the groups and arrays in a group; none where there is no such group."""

    def array(self, path: str, *, chunk: int) -> xr.DataArray:
        """One array, lazily, with named dims and without coordinates."""

    def stored(self, path: str) -> tuple[int, int]:
        """How many chunks of an array are stored, and how many it has."""

    def omits_empty(self, path: str) -> bool:
        """Whether a chunk that is not stored is one without data, as is usual; else it is missing."""


@dataclass(frozen=True)
class ZarrTree:
    """A Zarr store."""

    label: str
    group: Any
    """The `zarr.Group` at the root."""
    _known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Coordinates and counts of chunks that have been read, for a remote store is slow."""

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of a group or array; empty where there is none."""
        node = self._node(path)
        return {} if node is None else dict(node.attrs)

    def children(self, group: str) -> tuple[str, ...]:
        """Names of the groups and arrays in a group; none where there is no such group."""
        import zarr

        node = self._node(group)
        if not isinstance(node, zarr.Group):
            return ()
        with explained(self.label):
            return tuple(node.keys())

    def array(self, path: str, *, chunk: int) -> xr.DataArray:
        """One array, lazily, with named dims and without coordinates."""
        import dask.array as da

        node = self._node(path)
        source = _with_gaps(node) if node.dtype.kind == "f" else node
        inner = node.chunks
        sizes = tuple(n * max(1, chunk // n) for n in inner)  # whole chunks of the store in each of Dask's
        attributes = dict(node.attrs)
        if node.metadata.zarr_format == 2 and node.fill_value is not None:
            attributes.setdefault("_FillValue", node.fill_value)
        names = getattr(node.metadata, "dimension_names", None) or attributes.pop("_ARRAY_DIMENSIONS", None)
        dims = tuple(names) if names and None not in names else ("y", "x")[-node.ndim :]
        data = da.from_zarr(source, chunks=sizes) if node.ndim > 1 else self._once(path, lambda: source[:])
        return xr.DataArray(data, dims=dims, name=PurePosixPath(path).name, attrs=attributes)

    def stored(self, path: str) -> tuple[int, int]:
        """How many chunks of an array are stored, and how many it has."""
        node = self._node(path)
        counts: tuple[int, int] = self._once(f"chunks of {path}", lambda: _stored(node))
        return counts

    def _once(self, key: str, read: Callable[[], Any]) -> Any:
        if key not in self._known:
            with discreet():
                self._known[key] = read()
        return self._known[key]

    def omits_empty(self, path: str) -> bool:
        """Whether a chunk that is not stored is one without data, as is usual; else it is missing."""
        node = self._node(path)
        return node.dtype.kind != "f" or _is_nan(node.fill_value)

    def _node(self, path: str) -> Any:
        with explained(self.label):
            if not path:
                return self.group
            return self.group[path] if path in self.group else None


@dataclass(frozen=True)
class OpenTree:
    """A tree that xarray has opened."""

    label: str
    node: xr.DataTree

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of a group or array; empty where there is none."""
        node = self._node(path)
        return {} if node is None else dict(node.attrs)

    def children(self, group: str) -> tuple[str, ...]:
        """Names of the groups and arrays in a group; none where there is no such group."""
        node = self._node(group)
        if not isinstance(node, xr.DataTree):
            return ()
        return (*node.children, *map(str, node.to_dataset().variables))

    def array(self, path: str, *, chunk: int) -> xr.DataArray:
        """One array, lazily, with named dims and without coordinates."""
        variable = self._node(path).variable
        if variable.ndim > 1 and variable.chunks is None:
            variable = variable.chunk({dim: chunk for dim in variable.dims[-2:]})
        return xr.DataArray(_undecoded(variable), name=PurePosixPath(path).name)

    def stored(self, path: str) -> tuple[int, int]:
        """Count none as missing, for an open tree does not know."""
        return 1, 1

    def omits_empty(self, path: str) -> bool:
        """Whether a chunk that is not stored is one without data; taken for granted."""
        return True

    def _node(self, path: str) -> Any:
        try:
            return self.node[path] if path else self.node
        except KeyError:
            return None


def _undecoded(data: xr.Variable) -> xr.Variable:
    """Numbers as they are stored, with their scale and offset, where xarray has applied them."""
    packing = {key: data.encoding[key] for key in ("scale_factor", "add_offset") if key in data.encoding}
    if data.dtype.kind != "f" or not packing:
        return data
    scale, offset = packing.get("scale_factor", 1.0), packing.get("add_offset", 0.0)
    numbers: xr.Variable = (data.astype(np.float64) - offset) / scale
    fill = {key: data.encoding[key] for key in ("_FillValue",) if key in data.encoding}
    numbers.attrs = {**data.attrs, **packing, **fill}
    return numbers


def open_tree(path: str | Path | xr.DataTree) -> tuple[Tree, str]:
    """Open a tree at its root.

    Parameters
    ----------
    path
        Zarr store, or a group in it below ``measurements``: folder, URL or zip archive; or a tree or node of xarray.

    Returns
    -------
    tree
        The tree.
    group
        Path of the group that was named, empty for the root.

    Raises
    ------
    ProductError
        If there is no such store.
    """
    if isinstance(path, xr.DataTree):
        root = path.root
        source = public(root.encoding.get("source") or "").rstrip("/").rpartition("/")[2]
        label = str(mapping(root.attrs.get("stac_discovery")).get("id") or root.name or source or "the tree")
        return OpenTree(label, root), path.path.strip("/")
    text = str(path).rstrip("/")
    parts = re.fullmatch(r"(.*?)/(measurements(?:/.*)?)", text)
    if parts:
        root, group = _open_group(parts[1], strict=False), parts[2]
        if root is not None and group in root:
            return ZarrTree(public(parts[1]), root), group
    return ZarrTree(public(text), _open_group(text, strict=True)), ""


def _open_group(path: str, *, strict: bool) -> Any:
    """Group at a path; None, or an error, where there is none."""
    import zarr

    archive = re.fullmatch(r"(.+?\.zip)(?:/(.*))?", path, re.IGNORECASE)
    try:
        with explained(path), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Object at .* is not recognized as a component of a Zarr")
            if archive and "://" not in path and Path(archive[1]).is_file():
                inside = _inside(archive[1], archive[2] or "")
                return zarr.open_group(zarr.storage.ZipStore(archive[1], mode="r"), path=inside, mode="r")
            return zarr.open_group(path, mode="r")
    except ProductError:
        if strict:
            raise
        return None


def _inside(path: str, group: str) -> str:
    """Path of a group in a zip archive, whose store may lie in one folder."""
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise ProductError(f"{path} cannot be read: {error}. Expected a complete zip archive; get it again.") from error
    base = (zarr_root(names) or "").rstrip("/")
    return group if group.startswith(base) else f"{base}/{group}".strip("/")


def _stored(node: Any) -> tuple[int, int]:
    """How many chunks are stored, and how many there are; of a remote array whether any is.

    A web server need not list what it has, so that chunks are looked for one by one, the middle of the image first.
    """
    import zarr
    from zarr.core.sync import sync

    if isinstance(node.store, zarr.storage.LocalStore | zarr.storage.ZipStore | zarr.storage.MemoryStore):
        return node.nchunks_initialized, node.nchunks
    counts = [-(-n // size) for n, size in zip(node.shape, node.shards or node.chunks, strict=True)]
    middle = [n // 2 for n in counts]
    places = sorted(np.ndindex(*counts), key=lambda at: sum(abs(i - m) for i, m in zip(at, middle, strict=True)))
    found = any(sync((node.store_path / node.metadata.encode_chunk_key(place)).exists()) for place in places)
    return node.nchunks if found else 0, node.nchunks


def _is_nan(fill: Any) -> bool:
    return fill is not None and bool(np.isnan(fill))


def _with_gaps(node: Any) -> Any:
    """Read chunks that are not stored as NaN."""
    import zarr

    if _is_nan(node.fill_value):
        return node
    metadata = replace(node.metadata, fill_value=node.dtype.type(np.nan))
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=node.store_path))


@contextmanager
def explained(label: str) -> Iterator[None]:
    """Turn errors of zarr into one that says what is wrong with a store.

    Raises
    ------
    ProductError
        If the store is none, or needs a newer zarr.
    """
    import zarr

    try:
        yield
    except XsrError:
        raise
    except Exception as error:  # of any kind, where a store is on the web or its codecs are odd
        codecs = [name for name in NEW_CODECS if name in str(error)]
        if codecs:
            raise ProductError(
                f"{label} is packed with the Zarr codec {' and '.join(codecs)}, which zarr {zarr.__version__} does not"
                " know; expected zarr 3.2 or later, which needs Python 3.12 or later. Upgrade both, or use a copy of"
                " the product without that codec."
            ) from cause(error, label)
        reason = scrub(str(error), label)
        raise ProductError(
            f"{label} is no Zarr group: {reason}. Expected an EOPF product or a GeoZarr cube."
        ) from cause(error, label)


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping unchanged, and an empty one for anything else that metadata may hold in its place."""
    return value if isinstance(value, Mapping) else {}
