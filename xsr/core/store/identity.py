"""What distinguishes the input of one store from that of another: the steps that lead to it, and its coordinates."""

import hashlib
import json
import re
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import xarray as xr

RANDOM_NAME = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
"""What Dask puts into the name of an array whose content is not hashed."""


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
        ``coordinates``, a hash of what is in memory; ``graph``, a hash of the names of the Dask arrays, which hash what
        they are made of, or ``attrs``, a hash of the attributes, where a name is random by design; ``fingerprint`` of
        the store of ours that the cube was read from.
    """
    lazy = [name for name, variable in dataset.variables.items() if variable.chunks is not None]
    arrays = [dataset[name].data for name in dict.fromkeys([*names, *lazy])]
    found = {"coordinates": _in_memory(dataset)}
    if "fingerprint" in dataset.attrs.get("xsr", {}):
        found["fingerprint"] = dataset.attrs["xsr"]["fingerprint"]
    if any(RANDOM_NAME.search(str(layer)) for array in arrays for layer in array.dask.layers):
        return found | {"attrs": _digest(dict(dataset.attrs))}
    return found | {"graph": _digest([str(array.name) for array in arrays])}


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
