"""Clouds out: pixels that do not show the surface become no data."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from xsr._version import __version__
from xsr.core import graph
from xsr.core.cube import open_cube
from xsr.core.errors import CubeError, GridError, ParameterError
from xsr.core.grid import Refinement, resolution
from xsr.core.names import standard_dims, standardise
from xsr.core.pipeline import CHUNK
from xsr.core.types import XarrayObject
from xsr.kernels.masks import Shrinking


def mask_clouds(
    cube: XarrayObject,
    *,
    mask: xr.DataArray | None = None,
    exclude: Sequence[int] | None = None,
    dilate_m: float = 0.0,
    units: str | float | None = None,
) -> XarrayObject:
    """Set clouds, cloud shadows and defects to no data.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    mask
        True where the surface is seen, ([time,] y, x) on the grid of the cube; by default the coordinate ``valid`` that
        the readers of products give.
    exclude
        Classes of the coordinate ``scl`` to set to no data, instead of ``mask``: 3 cloud shadow, 8 and 9 clouds, 10
        cirrus, 11 snow.
    dilate_m
        Also set pixels to no data whose centre is this near to the centre of such a pixel, in units of the CRS (metres
        for UTM): the edges of clouds are thin.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.

    Returns
    -------
    DataArray or Dataset
        As the input, float32, lazy if the input is. The coordinate ``valid`` says what is left.

    Raises
    ------
    CubeError
        If the cube has no such coordinate, or breaks the contract; see `xsr.core.cube.open_cube`.
    GridError
        If the mask lies on another grid or has other dates.
    ParameterError
        If options contradict each other or are out of range.
    """
    if mask is not None and exclude is not None:
        raise ParameterError("mask and exclude given together; expected one of them.")
    if not (np.isfinite(dilate_m) and dilate_m >= 0):
        raise ParameterError(f"dilate_m={dilate_m}; expected a distance >= 0 in units of the CRS.")
    cube, _, names = standardise(cube)
    opened = open_cube(cube, units=units)
    valid = _on_grid(_find(cube, mask, exclude), cube)
    if dilate_m > 0:
        valid = _shrunk(valid, dilate_m / resolution(opened.geobox)[0])
    axes = {opened.spatial[0]: "y", opened.spatial[1]: "x"}
    shown = xr.DataArray(valid.data, dims=[axes.get(dim, str(dim)) for dim in valid.dims])
    masked = opened.data.where(shown.isel(y=slice(None, None, -1)) if opened.flipped else shown)
    provenance = {"xsr_version": __version__, "xsr_operation": "mask_clouds"}
    result = opened.rewrap(masked.transpose("time", "band", "y", "x").data, opened.geobox, provenance)
    return names.restore(result.assign_coords(valid=(valid.dims, valid.data)))


def _find(cube: XarrayObject, mask: xr.DataArray | None, exclude: Sequence[int] | None) -> xr.DataArray:
    """Mask to use, True where the surface is seen."""
    if mask is not None:
        if mask.dtype != bool:
            raise ParameterError(f"mask has dtype {mask.dtype}; expected booleans, True where the surface is seen.")
        return mask
    name = "valid" if exclude is None else "scl"
    if name not in cube.coords:
        raise CubeError(
            f"the cube has no coordinate {name!r}; expected one, as the readers of products give. Pass mask=."
        )
    found = cube.coords[name]
    return found.astype(bool) if exclude is None else ~found.isin(list(exclude))


def _on_grid(mask: xr.DataArray, cube: XarrayObject) -> xr.DataArray:
    """Mask with the dims ([time,] y, x) of the cube; refuses other grids and dates."""
    mask, (y, x) = standard_dims(mask), cube.odc.spatial_dims
    extra = set(mask.dims) - {"time", y, x}
    if extra or not {y, x} <= set(mask.dims) or ("time" in mask.dims and "time" not in cube.dims):
        raise GridError(f"the mask has dims {mask.dims}; expected ([time,] {y}, {x}), as the cube.")
    for dim in mask.dims:
        same = mask.sizes[dim] == cube.sizes[dim]
        if not same or (dim in mask.coords and not np.array_equal(mask[dim].values, cube[dim].values)):
            raise GridError(
                f"the mask differs from the cube along {dim!r} ({mask.sizes[dim]} and {cube.sizes[dim]} places);"
                " expected the same grid and dates. Resample it to the cube by nearest pixels."
            )
    order = [dim for dim in ("time", y, x) if dim in mask.dims]
    return mask.transpose(*order)


def _shrunk(valid: xr.DataArray, radius_px: float) -> xr.DataArray:
    """Mask with what is not valid grown by a radius."""
    stack = valid.data.astype(np.float32)
    stack = stack[:, None] if valid.ndim == 3 else stack[None, None]
    height, width = stack.shape[2:]
    function = Shrinking(radius_px)
    sampling = Refinement((height, width), (1.0, 1.0))
    plan = graph.make_plan(sampling, (height, width), halo=function.halo, chunks=(CHUNK, CHUNK))
    out = graph.run(function, stack, plan)[:, 0] > 0.5
    return valid.copy(data=out if valid.ndim == 3 else out[0])
