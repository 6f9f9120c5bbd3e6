"""Cubes with a `rasterix.RasterIndex`: the grid is the index, and their coordinates are never filled in.

The package is optional and not imported: an index is known by its class, which makes its like for results.
"""

from typing import Any

import xarray as xr
from odc.geo.geobox import GeoBox

from xsr.core.types import XarrayObject


def raster_index(obj: XarrayObject) -> Any:
    """Find the `rasterix.RasterIndex` of a cube; None without one."""
    indexes = (index for index in obj.xindexes.values() if type(index).__name__ == "RasterIndex")
    return next(indexes, None)


def reindexed(data: xr.DataArray, geobox: GeoBox, index: Any) -> xr.DataArray:
    """Give an array on a grid the same kind of `rasterix.RasterIndex` as that of its input.

    Parameters
    ----------
    data
        Array with the dimensions (..., y, x) last, in this order.
    geobox
        Its grid, in the order of its rows and columns.
    index
        Index of the input.
    """
    y, x = (str(dim) for dim in data.dims[-2:])
    new = type(index).from_transform(
        geobox.affine,
        width=geobox.shape.x,
        height=geobox.shape.y,
        x_dim=x,
        y_dim=y,
        crs=None if index.crs is None or geobox.crs is None else geobox.crs.to_wkt(),
    )
    kept = {name: coord.attrs for name, coord in data.coords.items() if name in (y, x)}
    out = data.drop_vars(list(kept)).assign_coords(xr.Coordinates.from_xindex(new))
    for name in set(kept) & set(out.coords):
        out.coords[name].attrs.update(kept[name])
    return out
