"""Arrays in a file or store, looked at before xarray opens them: where their numbers lie, and how many they declare.

xarray reads coordinates at once, so that their length is compared with what one can be. HDF5 can take arrays from other
files; what one from a stranger names is not read.
"""

import warnings
from collections.abc import Mapping
from typing import Any

from xsr.core.errors import CubeError
from xsr.sources.limits import check_side


def check_hdf5(path: str, *, trust: bool) -> None:
    """Look at the arrays of an HDF5 file.

    Parameters
    ----------
    path
        File on disk.
    trust
        Whether it may take arrays from other files.

    Raises
    ------
    CubeError
        If it does and may not, or declares a coordinate that is longer than any real one.
    """
    import h5py

    with h5py.File(path, "r") as file:
        left, known = [file], set()
        while left:
            group = left.pop()
            for name in group:
                link = group.get(name, getlink=True)
                if isinstance(link, h5py.ExternalLink):
                    _refuse(path, name, trust)
                node = group[name] if isinstance(link, h5py.HardLink) else None
                if isinstance(node, h5py.Dataset):
                    _check_dataset(node, path, trust)
                elif isinstance(node, h5py.Group) and node.id not in known:  # links can go round in circles
                    known.add(node.id)
                    left.append(node)


def _check_dataset(node: Any, path: str, trust: bool) -> None:
    if node.is_virtual or node.external:
        _refuse(path, node.name, trust)
    if node.ndim == 1 and node.is_scale:
        check_side(node.size, f"{node.name} of {path}")


def _refuse(path: str, name: str, trust: bool) -> None:
    if not trust:
        raise CubeError(
            f"{path} takes {name} from another file; expected a file that holds its arrays. Pass trust=True, if you"
            " trust it."
        )


def check_zarr(store: Any, group: str | None, *, label: str) -> None:
    """Look at the coordinates of a group of a Zarr store.

    Parameters
    ----------
    store
        What zarr opens.
    group
        Path of the group; None for the root.
    label
        What to call the store in a message.

    Raises
    ------
    CubeError
        If one is longer than any real one.
    """
    import zarr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, array in zarr.open_group(store, path=group or "", mode="r").arrays():
            if array.ndim == 1:
                check_side(array.size, f"{name} of {label}")


def image_level(attrs: Mapping[str, Any]) -> str | None:
    """Group of the image in a store of `xsr.to_zarr` with overviews, by the attributes at its root; else None.

    Stores of others are not judged: their levels may hold other bands.

    Examples
    --------
    >>> layout = [{"asset": "0"}, {"asset": "1", "derived_from": "0"}]
    >>> image_level({"xsr": {"complete": True}, "multiscales": {"layout": layout}})
    '0'
    """
    layout = attrs["multiscales"].get("layout") if isinstance(attrs.get("multiscales"), dict) else None
    if "xsr" not in attrs or not isinstance(layout, list):
        return None
    own = [one for one in layout if isinstance(one, dict) and isinstance(one.get("asset"), str)]
    return next((str(one["asset"]) for one in own if "derived_from" not in one), None)
