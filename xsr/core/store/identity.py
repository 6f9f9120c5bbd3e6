"""What distinguishes the input of one store from that of another: the steps that lead to it, and its coordinates."""

import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xsr.core.store.inputs import inputs

RANDOM_NAME = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
"""What Dask puts into the name of an array whose content is not hashed."""


MEANINGS = {
    "graph": " (it names the lazy cube by what it is made of: another file, a changed one or other steps)",
    "attrs": " (they stand for a cube that is named otherwise each time it is opened)",
}
"""What some hashes stand for."""


def identity(dataset: xr.Dataset, names: Iterable[Hashable]) -> dict[str, Any]:
    """Identify what a store is made of, as plain JSON; nothing lazy is computed.

    Parameters
    ----------
    dataset
        Cube as it will be stored.
    names
        Its variables that are written block by block, which are Dask arrays.

    Returns
    -------
    dict
        ``files``, a hash by name of what it is read from; ``coordinates``, a hash of what is in memory; ``graph``, a
        hash of the names of the Dask arrays, which hash what they are made of, or ``attrs``, a hash of the attributes,
        where a name is random by design; ``fingerprint`` of the store of ours that the cube was read from.
    """
    lazy = [name for name, variable in dataset.variables.items() if variable.chunks is not None]
    arrays = [dataset[name].data for name in dict.fromkeys([*names, *lazy])]
    found: dict[str, Any] = {"coordinates": _in_memory(dataset), "files": inputs(arrays)}
    if "fingerprint" in dataset.attrs.get("xsr", {}):
        found["fingerprint"] = dataset.attrs["xsr"]["fingerprint"]
    if any(RANDOM_NAME.search(str(layer)) for array in arrays for layer in array.dask.layers):
        return found | {"attrs": _digest(dict(dataset.attrs))}
    return found | {"graph": _digest([str(array.name) for array in arrays])}


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say how an input differs from what it was, file by file; nothing where it is the same.

    Parameters
    ----------
    old, new
        From `identity`, or ``{"id": ...}``. What only one of them states is not compared: in stores of an earlier form
        coordinates are hashed in another way, and files not at all. An ``id`` that only the new one has is the word
        of the user that it is the same input.
    """
    if "id" in new and "id" not in old:  # the user says that it is the same
        return []
    before, now = old.get("files") or {}, new.get("files") or {}
    found = [f"{n} was changed" for n in before if n in now and before[n] != now[n] and None not in (before[n], now[n])]
    if before and now:
        found += [f"{name} is not read any more" for name in before if name not in now]
        found += [f"{name} is read as well" for name in now if name not in before]
    named = ("id",) if "id" in old or "id" in new else ("graph", "attrs", "fingerprint") if not found else ()
    both = ("coordinates",) if "coordinates" in old and "coordinates" in new else ()
    found += [
        f"input.{key} was {old.get(key)!r} and is {new.get(key)!r}{MEANINGS.get(key, '')}"
        for key in (*named, *both)
        if old.get(key) != new.get(key)
    ]
    return found


def _in_memory(dataset: xr.Dataset) -> str:
    """Hash coordinates, and variables beside the images, that are in memory, as bytes."""
    found = hashlib.sha256()
    known = {str(n): v for n, v in dataset.variables.items() if v.chunks is None and n != "spatial_ref"}
    for name, variable in sorted(known.items()):
        values = variable.values
        if values.dtype.kind in "OT":
            values = values.astype(str)
        found.update(repr((name, variable.dims, values.dtype.str, values.shape)).encode())
        found.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return found.hexdigest()[:16]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
