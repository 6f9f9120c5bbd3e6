"""The grid of a cube, from all its coordinates and from what it states."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import spatial_dims, xr_coords  # registers the .odc accessor, too

from xsr.core import axes
from xsr.core.axes import Axis
from xsr.core.crs import check_coordinates, crs_of
from xsr.core.errors import GridError
from xsr.core.rasterindex import raster_index
from xsr.core.registration import Axes, affine_of, agrees, reconcile
from xsr.core.statements import Dims, Statement, corner_coordinates, is_rotated, statements
from xsr.core.types import XarrayObject

SHIFTS = ("shift_y_m", "shift_x_m")
"""Coordinates of a date with what its own coordinates may have been moved by; see `xsr.register`."""
REGISTRATION = "xsr_registration"
"""Attribute of results with why the coordinates of the input were moved."""


@dataclass(frozen=True)
class Georeference:
    """Grid of a cube as its coordinates run."""

    geobox: GeoBox
    moved: str | None = None
    """Why the coordinates count as corners, where they do."""


def georeference(obj: XarrayObject, spatial: Dims) -> Georeference:
    """Read the grid of a cube; nothing of its pixels is touched.

    Parameters
    ----------
    obj
        Cube, with or without coordinates.
    spatial
        Names of its dimensions (y, x).

    Returns
    -------
    Georeference
        The CRS may be None.

    Raises
    ------
    GridError
        If coordinates are irregular, or not those of the CRS; or there are none, and no transform; or the cube states
        another grid or two CRSs.

    Warns
    -----
    XsrWarning
        If the coordinates are corners by what the cube states.
    """
    index = raster_index(obj)
    shape = obj.sizes[spatial[0]], obj.sizes[spatial[1]]
    if index is not None and is_rotated(index.transform()):
        return Georeference(GeoBox(shape, index.transform(), crs_of(obj, spatial, index)))
    stated = statements(obj, spatial)
    found = _axes(obj, spatial, index=index, stated=stated)
    crs = crs_of(obj, spatial, index)  # after the coordinates: odc-geo fails where the first two are the same
    absent = index is None and not set(spatial) & set(obj.coords)
    turned = [s.affine for s in stated if is_rotated(s.affine) and (s.mapping or absent)]
    if turned:
        return Georeference(GeoBox(shape, turned[0] @ affine_of(found), crs))
    found, moved = reconcile(found, _still_meant(obj, found, [*stated, *_of_corners(obj, spatial, found)]))
    if any(math.isnan(axis.step) for axis in found):
        sizes = {str(dim): obj.sizes[dim] for dim in spatial}
        raise GridError(
            f"the cube has no pixel size (shape {sizes}); expected a georeferenced grid. For a single row or column,"
            " keep the GeoTransform of spatial_ref."
        )
    geobox = GeoBox(shape, affine_of(found), crs)
    check_coordinates(obj, spatial, geobox)
    return Georeference(geobox, moved)


def geobox_of(obj: XarrayObject) -> GeoBox | None:
    """Grid of a cube as `georeference` reads it; None without spatial dimensions."""
    spatial = spatial_dims(obj, relaxed=True)
    return None if spatial is None else georeference(obj, spatial).geobox


def with_centres(data: xr.DataArray, geobox: GeoBox) -> xr.DataArray:
    """Give an array (..., y, x) without coordinates those of its grid."""
    missing = [dim for dim in ("y", "x") if dim not in data.coords]
    centres = xr_coords(geobox, crs_coord_name=None, dims=("y", "x")) if missing else {}
    return data.assign_coords({dim: centres[dim] for dim in missing})


def _axes(obj: XarrayObject, spatial: Dims, *, index: Any, stated: list[Statement]) -> Axes:
    """Axes of y and x: of the index, of the coordinates, or stated where there are none."""
    if index is not None:
        affine, (x, y) = index.transform(), index.xy_shape
        return _axis(affine.f, affine.e, y), _axis(affine.c, affine.a, x)
    y, x = (
        axes.fit(dim, obj[dim].values) if dim in obj.coords else _stated_axis(obj, dim, number=number, stated=stated)
        for number, dim in enumerate(spatial)
    )
    return y, x


def _axis(corner: float, step: float, size: int) -> Axis:
    return Axis(corner + step / 2, step, size, corner)


def _stated_axis(obj: XarrayObject, dim: Hashable, *, number: int, stated: list[Statement]) -> Axis:
    """Axis of a dimension without coordinates, number 0 for y and 1 for x."""
    size = obj.sizes[dim]
    source = next((s for s in stated if s.binding), next(iter(stated), None))
    if source is None:
        raise GridError(
            f"dimension {dim!r} has no coordinates; expected pixel centres in the units of the CRS, or a transform."
            " Assign coordinates, or .rio.write_transform(...)."
        )
    if source.shape is not None and source.shape[number] != size:
        raise GridError(
            f"dimension {dim!r} has no coordinates and {size} pixels; {source.source} is of {source.shape[number]}."
            " Assign coordinates: which part of the grid this is cannot be known."
        )
    a = source.affine
    if is_rotated(a):
        return _axis(0.0, 1.0, size)
    return _axis(a.f, a.e, size) if number == 0 else _axis(a.c, a.a, size)


def _still_meant(obj: XarrayObject, found: Axes, stated: list[Statement]) -> list[Statement]:
    """Statements without those that coordinates left as they were moved by the shifts that `xsr.register` found."""
    if all(agrees(found, statement) for statement in stated):  # lazy shifts are computed for a contradiction alone
        return stated
    before = _unregistered(obj, found)
    return [s for s in stated if agrees(found, s) or not agrees(before, s)]


def _unregistered(obj: XarrayObject, found: Axes) -> Axes:
    """Axes as they were if coordinates have been moved by the shifts that `xsr.register` found."""
    known = [obj.coords[name] for name in SHIFTS if name in obj.coords]
    if any(shift.ndim for shift in known):
        return found
    shifts = [float(obj.coords[name]) if name in obj.coords else 0.0 for name in SHIFTS]
    if not np.isfinite(shifts).all():
        return found
    y, x = (
        replace(axis, start=axis.start + shift, corner=axis.corner + shift)
        for axis, shift in zip(found, shifts, strict=True)
    )
    return y, x


def _of_corners(obj: XarrayObject, spatial: Dims, found: Axes) -> list[Statement]:
    """Grid of coordinates that are labelled as corners, as sentle does it."""
    labels = [corner_coordinates(obj, dim) if dim in obj.coords else None for dim in spatial]
    if not any(labels) or any(math.isnan(axis.step) for axis in found):
        return []
    y, x = (axis.start if label else axis.corner for axis, label in zip(found, labels, strict=True))
    names = [f"cube[{dim!r}].attrs['coord_save_mode']" for dim, label in zip(spatial, labels, strict=True) if label]
    affine = Affine(found[1].step, 0.0, x, 0.0, found[0].step, y)
    return [Statement(" and ".join(names), "; ".join(f"del {name}" for name in names), affine)]
