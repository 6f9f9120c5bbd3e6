"""What a cube states about its grid, beside its coordinates: transforms in attributes, coordinates and grid mappings.

Every form is brought to one: an affine from pixel coordinates, (0, 0) at the outer corner of the first pixel, to the
CRS. Whether a statement is used is decided in `xsr.core.georeference`.
"""

import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine

from xsr.core.errors import GridError
from xsr.core.types import XarrayObject

Dims = tuple[Hashable, Hashable]
CUBO = {"central_x", "central_y", "edge_size", "resolution"}
"""Attributes of a cube of cubo, which deletes the transform of stackstac and keeps its coordinates."""

MAPPING = {"GeoTransform", "crs_wkt", "spatial_ref", "grid_mapping_name"}
"""Attributes of which a grid mapping has one."""


@dataclass(frozen=True)
class Statement:
    """A grid that a cube states."""

    source: str
    """Where it stands, for messages."""
    remedy: str
    """How to drop it from a cube called ``cube``."""
    affine: Affine
    """From pixel coordinates, (0, 0) at the outer corner of the first pixel."""
    shape: tuple[int, int] | None = None
    """Size (y, x) of the stated grid, where known."""
    binding: bool = True
    """Whether it must describe this cube; other statements, of the product behind it perhaps, count where they fit."""
    point: bool = False
    """Whether pixels are said to be points: the transform may then place their centres."""
    corners: bool = False
    """Whether its author writes corners as coordinates by default."""
    mapping: bool = False
    """Whether it is of a grid mapping: a scalar coordinate, which comes along from another array (its time, say), and
    beside which the coordinates of a rotated grid count pixels, as odc-geo writes them."""


def is_rotated(affine: Affine) -> bool:
    """Whether rows are not parallel to an axis of the CRS."""
    return bool(affine.b or affine.d)


def describe(affine: Affine) -> str:
    """Pixel size and outer corner of a grid, for messages."""
    a, b, c, d, e, f = (float(v) for v in affine[:6])
    size = f"{a:.9g} x {e:.9g}" if b == d == 0 else f"({a:.9g}, {b:.9g}, {d:.9g}, {e:.9g})"
    return f"pixels of {size} from the corner ({c:.12g}, {f:.12g})"


def statements(obj: XarrayObject, spatial: Dims) -> list[Statement]:
    """All grids that a cube states, each once; numbers that are no transform are left out.

    Raises
    ------
    GridError
        If ``spatial:registration`` is neither pixel nor node.
    """
    places = list(holders(obj, spatial))
    found = [*_grid_mappings(obj), *_coordinates(obj)]
    for place, attrs in places:
        found += [*_transforms(place, attrs), *_geozarr(place, attrs), *_of_cubo(place, attrs)]
        found += _of_item(place, attrs, (obj.sizes[spatial[0]], obj.sizes[spatial[1]]))
    point = any(str(attrs.get("AREA_OR_POINT", "")).lower() == "point" for _, attrs in places)
    grids: dict[Affine, list[Statement]] = {}
    for one in found:
        if one.affine.determinant and one.affine != Affine.identity():
            grids.setdefault(one.affine, []).append(one)
    return [_joined(same, point) for same in grids.values()]


def _joined(same: list[Statement], point: bool) -> Statement:
    """One statement for all that give the same grid: dropping it means to drop them all."""
    binding = [one for one in same if one.binding] or same
    remedy = "; ".join(dict.fromkeys(one.remedy for one in same))
    shape = next((one.shape for one in binding if one.shape is not None), None)
    return replace(binding[0], remedy=remedy, shape=shape, point=point)


def corner_coordinates(obj: XarrayObject, dim: Hashable) -> str | None:
    """Where it stands that a coordinate holds corners, as sentle writes it; None where it does not."""
    mode = str(obj[dim].attrs.get("coord_save_mode", ""))
    return f"{dim}.attrs['coord_save_mode'] = {mode!r}" if mode.replace("-", "").lower() == "topleft" else None


def numbers(value: object) -> tuple[float, ...] | None:
    """Six or nine finite numbers of a transform: a sequence, an array, an `affine.Affine` or text; None for others."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, Affine):  # no Sequence since version 3
        value = tuple(value)
    elif isinstance(value, str):
        value = re.split(r"[\s,;|]+", value.strip(" \t\n|[]()"))
    if not isinstance(value, Sequence | np.ndarray):
        return None
    try:
        found = tuple(float(one) for one in np.ravel(np.asarray(value, object)))
    except (TypeError, ValueError):
        return None
    return found if len(found) in (6, 9) and all(map(math.isfinite, found)) else None


def _affine(value: object) -> Affine | None:
    """Transform of six or nine numbers; those that only the order of GDAL makes parallel to the axes are in it."""
    found = numbers(value)
    if found is None:
        return None
    affine, other = Affine(*found[:6]), Affine.from_gdal(*found[:6])
    return other if is_rotated(affine) and not is_rotated(other) else affine


def holders(obj: XarrayObject, spatial: Dims) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Attributes of the cube and, in a Dataset, of its bands, and how Python reaches them in a cube called ``cube``."""
    yield "cube", obj.attrs
    if isinstance(obj, xr.Dataset):
        for name, variable in obj.data_vars.items():
            if set(spatial) <= set(variable.dims):
                yield f"cube[{name!r}]", variable.attrs


def without_attribute(place: str, name: str) -> str:
    """Code that drops an attribute of a cube, or of all bands of a Dataset, as `holders` places it."""
    if place == "cube":
        return f"del cube.attrs[{name!r}]"
    return f"for band in cube.data_vars.values(): band.attrs.pop({name!r}, None)"


def _shape(value: object) -> tuple[int, int] | None:
    try:
        height, width = (int(n) for n in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None
    return height, width


def _grid_mappings(obj: XarrayObject) -> Iterator[Statement]:
    """``GeoTransform`` of a grid mapping, in the order of GDAL, where it always begins at the corner."""
    for name in grid_mappings(obj):
        found = numbers(obj[name].attrs.get("GeoTransform"))
        if found is not None and len(found) == 6:
            where = f"cube[{name!r}].attrs['GeoTransform']"
            yield Statement(where, f"del {where}", Affine.from_gdal(*found), mapping=True)


def grid_mappings(obj: XarrayObject) -> list[Hashable]:
    """Names of the variables that describe the CRS or the transform: those that are referred to, else all."""
    variables = obj.variables if isinstance(obj, xr.Dataset) else obj.coords
    known = [name for name, variable in variables.items() if not variable.dims and MAPPING & set(variable.attrs)]
    return [name for name in known if is_referred(obj, name)] or known


def is_referred(obj: XarrayObject, name: Hashable) -> bool:
    """Whether a cube, or a band of a Dataset, names a variable as its grid mapping."""
    bands = obj.data_vars.values() if isinstance(obj, xr.Dataset) else ()
    return any(one.encoding.get("grid_mapping", one.attrs.get("grid_mapping")) == name for one in (obj, *bands))


def _coordinates(obj: XarrayObject) -> Iterator[Statement]:
    """Read a coordinate or variable called ``transform``."""
    if "transform" in obj.coords or (isinstance(obj, xr.Dataset) and "transform" in obj.data_vars):
        affine = _affine(obj["transform"].values)
        if affine is not None:
            yield Statement("cube['transform']", "cube = cube.drop_vars('transform')", affine)


def _transforms(place: str, attrs: Mapping[Any, Any]) -> Iterator[Statement]:
    """``transform`` of rioxarray and stackstac, and the ``spec`` of the latter."""
    spec = attrs.get("spec")
    shape, corners = _shape(getattr(spec, "shape", None)), hasattr(spec, "transform")
    values = {"transform": attrs.get("transform"), "spec": getattr(spec, "transform", None)}
    for name, value in values.items():
        affine = _affine(value)
        if affine is not None:
            where = f"{place}.attrs[{name!r}]"
            size = shape if name == "spec" else None
            yield Statement(where, without_attribute(place, name), affine, size, corners=corners)


def _geozarr(place: str, attrs: Mapping[Any, Any]) -> Iterator[Statement]:
    """``spatial:transform`` of the Zarr convention, of corners (pixel) or centres (node)."""
    affine = _affine(attrs.get("spatial:transform"))
    if affine is None or attrs.get("spatial:transform_type", "affine") != "affine":
        return
    where, registration = f"{place}.attrs['spatial:transform']", attrs.get("spatial:registration", "pixel")
    if registration not in ("pixel", "node"):
        raise GridError(
            f"{place}.attrs['spatial:registration'] is {registration!r}; expected 'pixel' (the transform begins at a"
            " corner) or 'node' (at a centre). Correct it."
        )
    if registration == "node":
        affine, where = affine @ Affine.translation(-0.5, -0.5), f"{where} (registration: node)"
    yield Statement(where, without_attribute(place, "spatial:transform"), affine, _shape(attrs.get("spatial:shape")))


def _of_item(place: str, attrs: Mapping[Any, Any], size: tuple[int, int]) -> Iterator[Statement]:
    """``proj:transform`` of STAC: of the file behind the cube, unless ``proj:shape`` says that it is all of it."""
    affine, shape = _affine(attrs.get("proj:transform")), _shape(attrs.get("proj:shape"))
    if affine is not None and shape == size:
        remedy = without_attribute(place, "proj:transform")
        yield Statement(f"{place}.attrs['proj:transform']", remedy, affine, shape, binding=False)


def _of_cubo(place: str, attrs: Mapping[Any, Any]) -> Iterator[Statement]:
    """Grid of cubo: ``edge_size`` pixels of ``resolution`` around a centre that is a whole number of pixels."""
    if not set(attrs) >= CUBO:
        return
    try:
        east, north, edge, size = (float(attrs[n]) for n in ("central_x", "central_y", "edge_size", "resolution"))
    except (TypeError, ValueError):
        return
    if size > 0 and all(map(math.isfinite, (east, north, edge, size))):
        left, top = ((round(v / size) + way * edge / 2) * size for v, way in ((east, -1), (north, 1)))
        affine = Affine(size, 0.0, left, 0.0, -size, top)
        where, remedy = f"{place}.attrs['central_x'] of cubo", without_attribute(place, "central_x")
        yield Statement(where, remedy, affine, (int(edge), int(edge)), binding=False)
