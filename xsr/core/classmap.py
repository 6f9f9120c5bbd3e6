"""Class maps without bands beside them: brought to another grid as a layer of a band that means nothing."""

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import xarray as xr

from xsr.core.classes import holds_classes
from xsr.core.errors import GridError
from xsr.core.names import DIMENSIONS, standard_dims
from xsr.core.provenance import PREFIX
from xsr.core.types import XarrayObject

CARRIER = "xsr_carrier"
NAME = "classes"
"""Name of an array that has none, while it is a layer."""


def holds_only_classes(obj: Any) -> bool:
    """Whether a cube is one map of classes, or a Dataset of such maps and nothing else over y and x."""
    if isinstance(obj, xr.DataArray):
        plain = standard_dims(obj)
        single = plain.sizes.get("band", 1) == 1
        return single and obj.dtype.kind in "iub" and holds_classes(NAME if obj.name is None else obj.name, obj)
    if not isinstance(obj, xr.Dataset):
        return False
    images = {name: one for name, one in obj.data_vars.items() if one.ndim >= 2}
    return bool(images) and all(one.dtype.kind in "iub" and holds_classes(name, one) for name, one in images.items())


def by_nearest(obj: XarrayObject, resample: Callable[[xr.Dataset], XarrayObject]) -> XarrayObject:
    """Resample a class map by nearest pixels, lazily, in its own type.

    Parameters
    ----------
    obj
        What `holds_only_classes` accepts.
    resample
        Operation that carries layers of classes from one grid to another; see `xsr.core.aside`.

    Raises
    ------
    GridError
        If the classes cannot follow to the grid.
    """
    name: Hashable = NAME if getattr(obj, "name", None) is None else obj.name
    band = [dim for dim in obj.dims if str(dim).casefold() in DIMENSIONS["band"]]  # of one place
    layers = obj if isinstance(obj, xr.Dataset) else obj.isel(dict.fromkeys(band, 0)).to_dataset(name=name)
    like = next(one for one in layers.data_vars.values() if one.ndim >= 2)
    carrier = xr.zeros_like(like, dtype=np.float32).drop_attrs()
    made = resample(layers.assign({CARRIER: carrier}))
    assert isinstance(made, xr.Dataset)
    lost = [str(one) for one in layers.data_vars if one not in made]
    if lost:
        raise GridError(
            f"classes {lost} cannot follow to the grid: it is not parallel to theirs, in another CRS, or beyond them"
            " and nothing states their fill. Reproject them: .odc.reproject(geobox, resampling='nearest')."
        )
    encoding = {"grid_mapping": "spatial_ref"} if "spatial_ref" in made.coords else {}
    for one in layers.data_vars:
        made[one].encoding.update(encoding)
    if isinstance(obj, xr.Dataset):
        return made.drop_vars(CARRIER)
    result = made[name].assign_attrs({key: value for key, value in made.attrs.items() if str(key).startswith(PREFIX)})
    return result.rename(obj.name).expand_dims(band, [obj.dims.index(one) for one in band])
