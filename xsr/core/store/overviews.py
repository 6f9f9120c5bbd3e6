"""Overviews: levels of half the resolution of the one before, as a store holds them beside the image.

A store with overviews has one group for each level: ``0`` the image, ``1`` half its resolution, and so on. Each block
of a level is made of the blocks of the finer one that lie in the store, and has a row of its own in the ledger.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsr.core import graph
from xsr.core.blocks import chunk_sizes
from xsr.core.classes import holds_classes
from xsr.core.errors import ParameterError
from xsr.core.georeference import geobox_of
from xsr.core.store.cf import NOT_A_TIME
from xsr.core.store.halving import Method
from xsr.core.types import XarrayObject

SMALL = 256
"""Pixels a side up to which an image needs no overview."""
SETTING = "overviews"
"""Setting of a store that has them: their number."""


@dataclass(frozen=True)
class Level:
    """One overview."""

    number: int
    """Halvings since the image, and the name of its group."""
    dataset: xr.Dataset
    """Its coordinates, and variables whose values are not there yet."""
    box: GeoBox


def path_of(level: int, name: Hashable) -> str:
    """Name of a variable of a level in the store."""
    return f"{level}/{name}"


def count_for(cube: XarrayObject, wanted: Any) -> int:
    """Find how many overviews a cube gets.

    Raises
    ------
    ParameterError
        If the number is none, or the image has not as many pixels.
    """
    if wanted is False:
        return 0
    if wanted is not True and (not isinstance(wanted, int) or wanted < 0):
        raise ParameterError(
            f"the number of overviews is {wanted!r}; expected a whole number, or True for all that are useful."
        )
    box = geobox_of(cube)
    assert box is not None
    shape = (int(box.shape.y), int(box.shape.x))
    most = (min(shape) - 1).bit_length()
    if wanted is True:
        needed = max(1, (-(-max(shape) // SMALL) - 1).bit_length())
        wanted = min(needed, most) or 1
    if wanted > most:
        raise ParameterError(
            f"{wanted} overviews of an image of {shape[0]} x {shape[1]} pixels; expected at most {most}: each halves"
            " the level before it, which needs 2 pixels a side."
        )
    return int(wanted)


def levels_of(dataset: xr.Dataset, names: list[Hashable], count: int) -> tuple[Level, ...]:
    """Describe the overviews of a Dataset; nothing is computed.

    Parameters
    ----------
    dataset
        Cube as it will be stored.
    names
        Its variables that are written block by block, which have overviews.
    count
        Number of overviews.
    """
    box = geobox_of(dataset)
    assert box is not None
    spatial = set(dataset.odc.spatial_dims)
    beside = {n: c for n, c in dataset.coords.items() if not spatial & set(c.dims)}
    found = []
    for number in range(1, count + 1):
        shape = (-(-box.shape.y // 2), -(-box.shape.x // 2))
        box = GeoBox(shape, box.affine @ Affine.scale(2), box.crs)
        grid = xr_coords(box, dims=dataset.odc.spatial_dims)
        halved = {
            name: _empty(dataset[name], dict(zip(dataset.odc.spatial_dims, shape, strict=True))) for name in names
        }
        images = {name: one for name, one in halved.items() if name in dataset.data_vars}
        coords = {name: one for name, one in halved.items() if name not in images}
        level = xr.Dataset(images, {**beside, **grid, **coords}, dataset.attrs)
        found.append(Level(number, level, box))
    return tuple(found)


def _empty(variable: xr.DataArray, sizes: Mapping[Any, int]) -> xr.Variable:
    """Variable of another size, in blocks of the same size, whose values are not there."""
    assert variable.chunks is not None
    shape = tuple(sizes.get(dim, n) for dim, n in variable.sizes.items())
    chunks = tuple(chunk_sizes(n, min(n, old[0])) for n, old in zip(shape, variable.chunks, strict=True))
    return xr.Variable(variable.dims, graph.placeholder(shape, variable.dtype, chunks), variable.attrs)


def method_of(name: Hashable, variable: xr.DataArray) -> Method:
    """Choose how a variable is halved: classes, booleans and dates have no mean."""
    dated = variable.attrs.get("_FillValue") == NOT_A_TIME
    return "mode" if dated or variable.dtype.kind == "b" or holds_classes(name, variable) else "average"
