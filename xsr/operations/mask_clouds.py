"""Masking of clouds: pixels that do not show the surface become no data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xsr.core import aside, graph
from xsr.core.classes import family_of, holds_classes, shown
from xsr.core.clock import same_times, with_utc
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import CubeError, GridError, ParameterError
from xsr.core.georeference import geobox_of
from xsr.core.grid import Refinement, crs_name
from xsr.core.members import each_member
from xsr.core.names import standard_dims, standardise
from xsr.core.pipeline import CHUNK
from xsr.core.provenance import made_by
from xsr.core.types import XarrayObject
from xsr.kernels.masks import Shrinking

PREFERRED = "valid"
"""Layer that the readers of products give, and that is used without being named."""


@each_member
def mask_clouds(
    cube: XarrayObject,
    *,
    mask: xr.DataArray | str | None = None,
    exclude: str | int | Sequence[str | int] | None = None,
    dilate_m: float = 0.0,
    units: str | float | None = None,
) -> XarrayObject:
    """Set clouds, cloud shadows and defects to no data.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    mask
        Which pixels show the surface: booleans, True where it is visible, or classes such as ``cube["SCL"]``, both
        ([time,] y, x); or the name of such a layer among the variables, bands or coordinates of the cube. By default
        the coordinate ``valid`` that the readers of products give, else the one layer of the cube whose classes are
        known. A mask on other pixels of the same CRS is read by nearest pixels, if it covers the cube.
    exclude
        Classes to set to no data, by number or by word: ``fill``, ``defect``, ``cloud``, ``shadow``, ``cirrus``,
        ``snow``, ``water``. By default the first five. Of layers of bits (QA_PIXEL, Fmask of HLS, QA60, CLM) the
        numbers are positions of bits. See `xsr.core.classes` for the layers that are known.
    dilate_m
        Also set pixels to no data whose centre is this near to the centre of such a pixel, in metres on the ground: the
        edges of clouds are thin, and classifications miss them. 100 to 200 m is usual for 10 to 30 m pixels.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.

    Returns
    -------
    DataArray or Dataset
        As the input, float32, lazy if the input is. The coordinate ``valid`` says what is left.

    Raises
    ------
    CubeError
        If no layer of classes is known or several are, or the cube breaks the contract; see `xsr.core.cube.open_cube`.
    GridError
        If the mask does not cover the cube or has other dates.
    ParameterError
        If options contradict each other or are out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> scl = np.full((1, 32, 32), 4, np.uint8)  # vegetation
    >>> scl[0, 10:20, 10:20] = 9  # cloud
    >>> cube = synthetic_cube(size=(32, 32)).assign_coords(SCL=(("time", "y", "x"), scl))
    >>> clear = cube.sr.mask_clouds()  # or mask="SCL"
    >>> clear.sel(band="B04").isnull().sum().item(), clear.valid.sum().item()
    (100, 924)
    """
    if not (np.isfinite(dilate_m) and dilate_m >= 0):
        raise ParameterError(f"dilate_m={dilate_m}; expected a distance >= 0 in metres.")
    cube, _, names = standardise(cube)
    given = _without(cube, mask)
    opened = open_cube(given, units=units)
    excluded = [exclude] if isinstance(exclude, str | int) else exclude if exclude is None else list(exclude)
    valid = _surface(_find(opened, mask, excluded), excluded)
    if dilate_m > 0:
        valid = _shrunk(valid, dilate_m, opened.pixel_m)
    masked = opened.data.where(valid)
    provenance = made_by("mask_clouds") | opened.scale_made
    result = opened.rewrap(masked.transpose("time", "band", "y", "x").data, opened.geobox, provenance)
    visible = opened.turned(valid)
    axes = dict(zip(("y", "x"), opened.spatial, strict=True))
    if "time" in visible.dims and "time" not in result.dims:
        visible = visible.isel(time=0)
    layer = ([axes.get(str(dim), dim) for dim in visible.dims], visible.data)
    if given is not cube:
        result = result.assign({mask: cube[mask].variable})
    return names.restore(result.assign_coords({PREFERRED: layer}))


def _without(cube: XarrayObject, mask: xr.DataArray | str | None) -> XarrayObject:
    """Cube whose variable of the mask is no band, whatever its name."""
    if not isinstance(cube, xr.Dataset) or not isinstance(mask, str) or mask not in cube.data_vars:
        return cube
    return cube if holds_classes(mask, cube[mask]) else cube.set_coords([mask])


@dataclass(frozen=True)
class Mask:
    """A layer that says where the surface is visible, on the grid of the cube."""

    name: str
    data: xr.DataArray
    """Booleans or classes, dims ([time,] y, x), y descending, without coordinates."""


def _surface(mask: Mask, exclude: Sequence[str | int] | None) -> xr.DataArray:
    """Where the surface is visible."""
    if mask.name == PREFERRED and exclude is None:
        return mask.data.astype(bool)
    if mask.data.dtype.kind != "b":
        return shown(mask.data, exclude, mask.name)
    if exclude is not None:
        raise ParameterError(
            f"exclude={exclude} given for {mask.name!r}, which holds booleans; expected one of them. Drop exclude=, or"
            " name a layer of classes with mask=."
        )
    return mask.data


def _find(cube: Cube, mask: xr.DataArray | str | None, exclude: Sequence[str | int] | None) -> Mask:
    """Choose the layer to use and bring it to the grid of the cube."""
    if isinstance(mask, xr.DataArray):
        return Mask("mask" if mask.name is None else str(mask.name), _on_grid(mask, cube))
    if mask is not None and not isinstance(mask, str):
        raise ParameterError(f"mask is a {type(mask).__name__}; expected a DataArray or the name of a layer.")
    layers = {str(layer.name): layer for layer in cube.layers}
    name = _only_one(layers, exclude) if mask is None else mask
    if name in layers:
        return Mask(name, layers[name].data)
    found = getattr(cube.original, "variables", cube.original.coords).get(name)
    if found is None:
        raise CubeError(
            f"the cube has no layer {name!r}; it has {sorted(layers) or 'none'}. Name one of these, or pass the mask."
        )
    return Mask(name, _on_grid(cube.original[name], cube))


def _only_one(layers: dict[str, aside.Layer], exclude: Sequence[str | int] | None) -> str:
    """Name of the layer that is meant where none is named."""
    if exclude is None and PREFERRED in layers:
        return PREFERRED
    known = [
        name for name, layer in layers.items() if layer.data.dtype.kind != "b" and family_of(name, layer.data.attrs)
    ]
    if len(known) == 1:
        return known[0]
    if known:
        raise CubeError(f"the cube has several layers of classes, {known}; expected one. Name it with mask=.")
    raise CubeError(
        f"the cube has no coordinate {PREFERRED!r} and no layer whose classes are known, such as SCL or QA_PIXEL;"
        f" it has {sorted(layers) or 'no layer of classes'}. Pass mask=, for some layers with exclude=."
    )


def _on_grid(mask: xr.DataArray, cube: Cube) -> xr.DataArray:
    """Mask with dims ([time,] y, x) on the grid of the cube; refuses what does not cover it and other dates."""
    if mask.dtype.kind not in "biuf":
        raise ParameterError(f"mask has dtype {mask.dtype}; expected booleans or the numbers of classes.")
    mask, (y, x) = with_utc(standard_dims(mask)), cube.spatial
    dated = "time" in mask.dims
    extra = set(mask.dims) - {"time", y, x}
    if extra or not {y, x} <= set(mask.dims) or (dated and "time" not in cube.original.dims):
        raise GridError(f"the mask has dims {mask.dims}; expected ([time,] {y}, {x}), as the cube.")
    if dated:
        _same_dates(mask, cube)
    bare = mask.drop_vars(list(mask.coords)).transpose(..., y, x).rename({y: "y", x: "x"})
    if all(_same_places(mask, cube.original, dim) for dim in (y, x)):
        return cube.turned(bare)
    return _read_nearest(mask, bare, cube)


def _same_places(mask: xr.DataArray, cube: XarrayObject, dim: object) -> bool:
    same = mask.sizes[dim] == cube.sizes[dim]
    return same and (dim not in mask.coords or np.array_equal(mask[dim].values, cube[dim].values))


def _same_dates(mask: xr.DataArray, cube: Cube) -> None:
    theirs, count = cube.data["time"], cube.data.sizes["time"]
    known = "time" in mask.coords and "time" in cube.data.coords
    if mask.sizes["time"] != count or (known and not same_times(mask["time"].values, theirs.values).all()):
        raise GridError(
            f"the mask differs from the cube along 'time' ({mask.sizes['time']} and {count} places); expected the same"
            " dates. Select them: mask.sel(time=cube.time), or select the dates of the cube that have a mask."
        )


def _read_nearest(mask: xr.DataArray, bare: xr.DataArray, cube: Cube) -> xr.DataArray:
    """Read a mask of other pixels at the centres of the cube's."""
    box = geobox_of(mask)
    y, x = cube.spatial
    sizes = f"{mask.sizes[y]} x {mask.sizes[x]} pixels, the cube {cube.data.sizes['y']} x {cube.data.sizes['x']}"
    if box is None or box.crs is None:
        raise GridError(f"the mask has {sizes}, and no CRS; expected a georeferenced mask. Use .odc.assign_crs(...).")
    if box.affine.e > 0:
        box, bare = box.flipy(), bare.isel(y=slice(None, None, -1))
    index = aside.nearest(box, cube.geobox)
    if index is None:
        raise GridError(
            f"the mask lies in {crs_name(box)}, or not parallel to the cube in {crs_name(cube.geobox)}; expected the"
            " same CRS. Reproject it: mask.odc.reproject(cube.odc.geobox, resampling='nearest')."
        )
    if any(i.min() < 0 or i.max() >= n for i, n in zip(index, box.shape.yx, strict=True)):
        raise GridError(
            f"the mask covers {tuple(box.boundingbox.bbox)}, the cube {tuple(cube.geobox.boundingbox.bbox)}; expected a"
            " mask that covers the cube. Load a larger one, or clip the cube."
        )
    return bare.isel(y=index[0], x=index[1])


def _shrunk(valid: xr.DataArray, radius_m: float, pixel_m: tuple[float, float]) -> xr.DataArray:
    """Mask with what is not valid grown by a radius on the ground."""
    down_m, across_m = pixel_m
    stack = valid.data.astype(np.float32)
    stack = stack[:, None] if valid.ndim == 3 else stack[None, None]
    height, width = stack.shape[2:]
    function = Shrinking(radius_m / across_m, down_m / across_m)
    sampling = Refinement((height, width), (1.0, 1.0))
    plan = graph.make_plan(sampling, (height, width), halo=function.halo, chunks=(CHUNK, CHUNK))
    out = graph.run(function, stack, plan)[:, 0] > 0.5
    return valid.copy(data=out if valid.ndim == 3 else out[0])
