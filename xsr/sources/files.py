"""Files and stores on disk: Zarr, NetCDF and GeoTIFF."""

from pathlib import Path

import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr

from xsr.core.errors import CubeError, GridError, ParameterError
from xsr.core.grid import crs_name
from xsr.core.names import DIMENSIONS
from xsr.core.radiometry import PACKING_ATTRIBUTES
from xsr.core.types import XarrayObject

CHUNK = 1024
"""Chunk of files that have none of their own, in pixels."""


def open_file(path: str | Path) -> XarrayObject:
    """Open a cube lazily.

    Parameters
    ----------
    path
        A Zarr store (folder or URL), a NetCDF file (``.nc``, ``.h5``) or a GeoTIFF (``.tif``, ``.tiff``).

    Returns
    -------
    DataArray or Dataset
        Dask-backed. A Zarr store of one variable with a band dimension becomes a DataArray; GeoTIFF bands take
        their names from the band descriptions.

    Raises
    ------
    CubeError
        If there is nothing at the path, or its kind is not known.
    """
    text = str(path)
    if "://" not in text and not Path(text).exists():
        raise CubeError(f"{text} not found; expected a Zarr store, a NetCDF file or a GeoTIFF.")
    try:
        return _open(text)
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, CubeError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CubeError(
            f"{text} cannot be read: {reason}. Check that it is complete and of the kind it claims."
        ) from error


def _open(text: str) -> XarrayObject:
    suffix = Path(text).suffix.lower()
    if suffix in (".tif", ".tiff"):
        return _open_geotiff(text)
    if suffix in (".nc", ".nc4", ".h5"):
        data = xr.open_dataset(text, chunks={}, engine="h5netcdf", decode_coords="all")
    elif suffix == ".zarr" or "://" in text or Path(text).is_dir():
        data = xr.open_zarr(text, decode_coords="all")
    else:
        raise CubeError(f"{text} is of an unknown kind; expected .zarr, .nc, .tif or a folder holding a Zarr store.")
    variables = [name for name, variable in data.data_vars.items() if _has_bands(variable)]
    if len(variables) == 1:
        shared = {k: v for k, v in data.attrs.items() if k not in PACKING_ATTRIBUTES}
        variable = data[variables[0]].assign_attrs({**shared, **data[variables[0]].attrs})
        variable.encoding["source"] = text
        return variable
    return data


def _has_bands(variable: xr.DataArray) -> bool:
    return any(str(dim).casefold() in DIMENSIONS["band"] for dim in variable.dims)


def _open_geotiff(path: str) -> xr.DataArray:
    import rioxarray

    data = rioxarray.open_rasterio(path, chunks={"x": CHUNK, "y": CHUNK})
    if not isinstance(data, xr.DataArray):
        raise CubeError(f"{path} holds several rasters; expected one. Name the subdataset.")
    names = data.attrs.pop("long_name", None)
    if isinstance(names, str):
        names = (names,)
    if names is not None and len(names) == data.sizes["band"]:
        data = data.assign_coords(band=list(names))
    return data


def crop(cube: XarrayObject, bbox: tuple[float, float, float, float]) -> XarrayObject:
    """Keep the pixels whose centres lie in a box (left, bottom, right, top), in the CRS of the cube.

    Raises
    ------
    ParameterError
        If the box is not in order, or holds no pixel.
    """
    left, bottom, right, top = bbox
    if not (left < right and bottom < top):
        raise ParameterError(f"bbox {bbox}; expected left < right and bottom < top, in the CRS of the cube.")
    if cube.odc.spatial_dims is None or cube.odc.geobox is None or cube.odc.crs is None:
        raise GridError("the cube has no grid or CRS; a bbox needs both. Assign a CRS with .odc.assign_crs(...).")
    y, x = cube.odc.spatial_dims
    rows = ((cube[y] >= bottom) & (cube[y] <= top)).values.nonzero()[0]
    cols = ((cube[x] >= left) & (cube[x] <= right)).values.nonzero()[0]
    if not (rows.size and cols.size):
        box = cube.odc.geobox
        raise ParameterError(
            f"bbox {bbox} holds no pixel; the cube covers {tuple(box.boundingbox)} in {crs_name(box)}."
        )
    return cube.isel({y: slice(rows[0], rows[-1] + 1), x: slice(cols[0], cols[-1] + 1)})
