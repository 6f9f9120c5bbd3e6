"""The CRS of a cube: what states it, which statement counts, and whether the others and the coordinates agree with it.

A grid mapping that is referred to counts first, then any other, then attributes. Grid mappings that are not referred to
and differ leave nothing to choose by: they are refused. All other statements outlive a reprojection, as the ``epsg`` of
stackstac does; where they place the cube elsewhere, that is worth a warning.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from xsr.core.errors import GridError, XsrWarning, calling
from xsr.core.grid import crs_name
from xsr.core.statements import Dims, grid_mappings, holders, is_referred, without_attribute
from xsr.core.types import XarrayObject

NAMED = ("crs", "crs_wkt", "spatial_ref", "proj:code", "proj:wkt2", "epsg")
"""Attributes that state the CRS of the numbers beside them."""
OF_ITEMS = ("proj:epsg",)
"""Those that may state the CRS of the product behind the cube: they count where nothing else does."""
LENGTHS_M = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("km", "kilometre", "kilometres", "kilometer", "kilometers"), 1000.0),
}
ANGLES = {
    **dict.fromkeys(("deg", "degree", "degrees", "degree_north", "degrees_north"), math.pi / 180),
    **dict.fromkeys(("degree_east", "degrees_east", "degreen", "degreesn", "degreee", "degreese"), math.pi / 180),
    **dict.fromkeys(("rad", "radian", "radians"), 1.0),
}
"""Units of coordinates, in metres and in radians."""


def crs_of(obj: XarrayObject, spatial: Dims, index: Any) -> CRS | None:
    """CRS of a cube, of whatever states it; None if nothing does.

    Parameters
    ----------
    obj
        Cube.
    spatial
        Names of its dimensions (y, x).
    index
        Its `rasterix.RasterIndex`, or None.

    Raises
    ------
    GridError
        If grid mappings differ and the cube refers to none of them, or to several.
    """
    mapped = {name: crs for name in grid_mappings(obj) if (crs := _of_mapping(obj[name].attrs)) is not None}
    for name, crs in mapped.items():
        first = next(iter(mapped))
        if not _alike(crs, mapped[first]):
            raise GridError(
                f"{first!r} states the CRS {_name(mapped[first])}, {name!r} {_name(crs)}; expected one. Drop what is"
                f" wrong: cube = cube.drop_vars({name!r}), or .drop_vars({first!r})."
            )
    stated: list[Any] = [*mapped.values(), obj.odc.crs, None if index is None else index.crs]
    for _, attrs in holders(obj, spatial):
        stated += [attrs.get(name) for name in (*NAMED, *OF_ITEMS)]
        stated.append(_of_gdal(attrs))
    stated.append(obj.coords["epsg"].values if "epsg" in obj.coords else None)
    return next(filter(None, map(_parsed, stated)), None)


def check_coordinates(obj: XarrayObject, spatial: Dims, geobox: GeoBox) -> None:
    """Refuse coordinates that cannot be those of the CRS: in another unit, or beyond the poles.

    Raises
    ------
    GridError
        With the remedy.
    """
    if geobox.crs is None or not geobox.crs.proj.axis_info:
        return
    axis = geobox.crs.proj.axis_info[0]
    kind = ANGLES if geobox.crs.geographic else LENGTHS_M
    for dim in spatial:
        text = str(obj.coords[dim].attrs.get("units", "")) if dim in obj.coords else ""
        key = "_".join(text.strip().casefold().split())
        factor = kind[key] / axis.unit_conversion_factor if key in kind else None
        if key in {**LENGTHS_M, **ANGLES} and not (factor and math.isclose(factor, 1, rel_tol=1e-6)):
            raise GridError(
                f"coordinate {dim!r} is in {text!r}, its CRS {crs_name(geobox)} in {axis.unit_name!r}; expected one"
                f" unit. {_conversion(spatial, factor)}"
            )
    box, down = geobox.boundingbox, abs(geobox.affine.e) * axis.unit_conversion_factor
    if geobox.crs.geographic and max(box.top, -box.bottom) * axis.unit_conversion_factor > math.pi / 2 + down:
        raise GridError(
            f"coordinate {spatial[0]!r} runs from {box.bottom:.9g} to {box.top:.9g}, its CRS {crs_name(geobox)} in"
            f" {axis.unit_name!r}; expected latitudes. Assign the CRS of the coordinates: .odc.assign_crs(...)."
        )


def _conversion(spatial: Dims, factor: float | None) -> str:
    """How to bring coordinates to the unit of the CRS."""
    if factor is None:
        return "Assign the CRS of the coordinates, .odc.assign_crs(...), or the coordinates of the CRS."
    parts = ", ".join(f"{dim!r}: ({dim!r}, cube[{dim!r}].values * {factor:.12g})" for dim in spatial)
    return f"Convert them: cube.assign_coords({{{parts}}})."


def warn_of_others(obj: XarrayObject, spatial: Dims, geobox: GeoBox) -> None:
    """Warn once if something beside the CRS that counts places the cube elsewhere.

    Warns
    -----
    XsrWarning
        With both, and how to drop either.
    """
    for where, remedy, value in _others(obj, spatial):
        other = _parsed(value)
        if other is not None and _elsewhere(geobox, other):
            warnings.warn(
                f"{where} states the CRS {_name(other)}, the cube counts in {crs_name(geobox)}, which is used."
                f" Drop the statement: {remedy}; or, if it is right, .odc.assign_crs({_name(other)!r}).",
                XsrWarning,
                stacklevel=calling(),
            )
            return


def _others(obj: XarrayObject, spatial: Dims) -> Iterator[tuple[str, str, Any]]:
    """Statements of the CRS: where they stand, how to drop them, and what they say."""
    variables = obj.variables if isinstance(obj, xr.Dataset) else obj.coords
    for name in variables:
        if not variables[name].dims and not is_referred(obj, name):
            yield f"cube[{name!r}]", f"cube = cube.drop_vars({name!r})", _of_mapping(variables[name].attrs)
    if "epsg" in obj.coords:
        yield "cube['epsg']", "cube = cube.drop_vars('epsg')", obj.coords["epsg"].values
    for place, attrs in holders(obj, spatial):
        for name in NAMED:
            yield f"{place}.attrs[{name!r}]", without_attribute(place, name), attrs.get(name)


def _of_mapping(attrs: Mapping[Any, Any]) -> CRS | None:
    """CRS of a grid mapping: as text, else by the parameters of the CF conventions."""
    for name in ("spatial_ref", "crs_wkt"):
        crs = _parsed(attrs.get(name))
        if crs is not None:
            return crs
    if "grid_mapping_name" in attrs:
        with suppress(CRSError, KeyError, TypeError, ValueError):
            return CRS(pyproj.CRS.from_cf({str(key): value for key, value in attrs.items()}))
    return None


def _of_gdal(attrs: Mapping[Any, Any]) -> Any:
    """Text of the attribute ``_CRS`` of GDAL's Zarr driver."""
    found = attrs.get("_CRS")
    return found.get("wkt", found.get("url")) if isinstance(found, Mapping) else None


def _parsed(value: Any) -> CRS | None:
    if isinstance(value, np.ndarray | np.generic) and np.ndim(value) == 0:
        value = value.item()
    if value is None or isinstance(value, CRS):
        return value
    if isinstance(value, str) and value.startswith("+init="):  # of rasterio before 1.0
        value = value.split()[0].removeprefix("+init=")
    with suppress(CRSError, TypeError, ValueError, OverflowError):
        return CRS(int(value) if isinstance(value, float) else value)
    return None


def _alike(one: CRS, other: CRS) -> bool:
    return one == other or bool(one.proj.equals(other.proj, ignore_axis_order=True))


def _elsewhere(geobox: GeoBox, other: CRS) -> bool:
    """Whether a pixel of the grid lies elsewhere if its coordinates are of another CRS."""
    assert geobox.crs is not None
    if _alike(geobox.crs, other):
        return False
    transform: Any = other.transformer_to_crs(geobox.crs)
    for corner in ((0, 0), tuple(geobox.shape.xy)):
        x, y = geobox.affine @ corner
        column, row = ~geobox.affine @ transform(x, y)
        if not math.hypot(column - corner[0], row - corner[1]) < 1:
            return True
    return False


def _name(crs: CRS) -> str:
    return f"EPSG:{crs.epsg}" if crs.epsg else str(crs)
