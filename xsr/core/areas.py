"""Areas of interest: a box, a GeoJSON geometry or a vector file, in any reference system."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, box, unary_union

from xsr.core.errors import ParameterError, cause
from xsr.core.grid import crs_name
from xsr.core.redact import scrub

GeometryLike: TypeAlias = Any
"""GeoJSON (geometry, feature or collection, in degrees), path of a vector file, table of geopandas, geometry of odc-geo
or of shapely (in degrees)."""
LONLAT = "EPSG:4326"
SNAP = 1e-6
"""Share of a pixel below which a border counts as being on the grid."""


def resolve_area(
    bbox: Sequence[float] | None, geometry: GeometryLike | None, *, crs: str | int = LONLAT
) -> Geometry | None:
    """Resolve ``bbox=`` or ``geometry=`` to one geometry; None if neither is given.

    Parameters
    ----------
    bbox
        West, south, east, north in degrees.
    geometry
        See `GeometryLike`.
    crs
        CRS of a box, GeoJSON or shapely geometry; the others name their own.

    Raises
    ------
    ParameterError
        If both are given, the area is empty or not in order, crosses the antimeridian, or its file cannot be read.
    """
    if bbox is not None and geometry is not None:
        raise ParameterError("bbox and geometry given together; expected one of them.")
    if bbox is not None:
        return _check(_box(bbox, crs), f"bbox {tuple(bbox)}")
    if geometry is None:
        return None
    if isinstance(geometry, Geometry):
        if geometry.crs is None:
            raise ParameterError("the geometry names no CRS; expected one. Make it with crs=.")
        return _check(geometry, "the geometry")
    if isinstance(geometry, str | Path):
        return _check(_read(geometry), str(geometry))
    if hasattr(geometry, "crs") and hasattr(geometry, "geometry"):
        return _check(_join(geometry, "the table"), "the table")
    return _check(_from_geojson(getattr(geometry, "__geo_interface__", geometry), crs), "the geometry")


def _box(bbox: Sequence[float], crs: str | int) -> Geometry:
    values = [float(value) for value in bbox]
    degrees = crs == LONLAT
    if len(values) != 4 or not all(math.isfinite(value) for value in values):
        unit = " in degrees" if degrees else ""
        raise ParameterError(f"bbox={tuple(bbox)}; expected four numbers: west, south, east, north{unit}.")
    west, south, east, north = values
    if degrees and west > east:
        raise ParameterError(
            f"bbox {tuple(bbox)} has west > east: it crosses the antimeridian, or is out of order. Give the parts"
            " west and east of 180 degrees one by one."
        )
    if degrees and max(map(abs, values)) > 360:
        raise ParameterError(
            f"bbox={tuple(bbox)} is not in degrees; expected west, south, east, north in degrees, or the CRS of the"
            " numbers, where the operation takes crs=."
        )
    if not (west < east and south < north) or (degrees and not (south >= -90 and north <= 90)):
        raise ParameterError(f"bbox={tuple(bbox)}; expected west < east and south < north{' in degrees' * degrees}.")
    return box(west, south, east, north, crs)


def _from_geojson(content: Any, crs: str | int) -> Geometry | None:
    try:
        if content.get("type") == "FeatureCollection":
            return unary_union([Geometry(one["geometry"], crs) for one in content["features"]])
        return Geometry(dict(content["geometry"] if content.get("type") == "Feature" else content), crs)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise ParameterError(
            f"the geometry is no GeoJSON: {error!r}. Expected a geometry, feature or collection."
        ) from error


def _read(path: str | Path) -> Geometry | None:
    """Read all shapes of a vector file as one."""
    try:
        import geopandas
    except ImportError as error:
        if (content := _plain_geojson(Path(path))) is not None:
            return _from_geojson(content, LONLAT)
        raise ParameterError(
            f"reading {path} needs geopandas, which is not installed. Install xarray-sr[vector], or pass GeoJSON."
        ) from error
    try:
        frame = geopandas.read_file(path)
    except Exception as error:  # pyogrio and fiona have no error in common
        text = f"{path} cannot be read as a vector file: {scrub(str(error), path)}. Check the path and format."
        raise ParameterError(text) from cause(error, path)
    return _join(frame, str(path))


def _plain_geojson(path: Path) -> dict[str, Any] | None:
    """Content of a GeoJSON file in degrees; None for other files, and for one that names a CRS of its own."""
    if path.suffix.lower() not in (".geojson", ".json"):
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "crs" not in content else None


def _join(frame: Any, label: str) -> Geometry | None:
    """All shapes of a table of geopandas as one."""
    if frame.crs is None:
        raise ParameterError(
            f"{label} names no CRS; expected one. Save it with its projection (.prj, or a GeoPackage)."
        )
    shapes = [shape for shape in frame.geometry if shape is not None and not shape.is_empty]
    if not shapes:
        raise ParameterError(f"{label} holds no geometry; expected at least one.")
    joined: Geometry | None = unary_union([Geometry(shape, frame.crs.to_wkt()) for shape in shapes])
    return joined


def _check(area: Geometry | None, label: str) -> Geometry:
    if area is None or area.is_empty:
        raise ParameterError(f"{label} is empty; expected an area.")
    west, _, east, _ = lonlat(area).boundingbox
    if west >= 180 or east <= -180:
        turn = "Subtract" if west > 0 else "Add"
        raise ParameterError(
            f"{label} lies at longitudes {west:g} to {east:g}; expected them from -180 to 180. {turn} 360 degrees."
        )
    if east - west > 180 or west < -180 or east > 180:
        raise ParameterError(
            f"{label} crosses the antimeridian (longitudes {west:g} to {east:g}); expected an area on one side of it."
            " Split it at 180 degrees and open the parts one by one."
        )
    return area


def lonlat(area: Geometry) -> Geometry:
    """Area in longitude and latitude, its long edges followed."""
    return area if str(area.crs) == LONLAT else area.to_crs(LONLAT, resolution=math.inf)


def snap(area: Geometry, crs: Any, resolution: tuple[float, float], origin: tuple[float, float]) -> GeoBox:
    """Smallest grid of whole pixels around an area.

    Parameters
    ----------
    area
        Area in any CRS.
    crs
        CRS of the grid.
    resolution
        Pixel size (y, x) in its units.
    origin
        A pixel corner (x, y) of the grid to snap to.

    Returns
    -------
    GeoBox
        Grid, y descending.
    """
    left, bottom, right, top = project(area, crs).boundingbox
    (x0, y0), (height, width) = origin, resolution
    west, east = math.floor((left - x0) / width + SNAP), math.ceil((right - x0) / width - SNAP)
    south, north = math.floor((bottom - y0) / height + SNAP), math.ceil((top - y0) / height - SNAP)
    affine = Affine(width, 0, x0 + west * width, 0, -height, y0 + north * height)
    return GeoBox((max(1, north - south), max(1, east - west)), affine, crs)


def project(area: Geometry, crs: Any) -> Geometry:
    """Area in a CRS; long edges are cut, so that their curve counts."""
    if area.crs == crs:
        return area
    left, bottom, right, top = area.boundingbox
    return area.to_crs(crs, resolution=max(right - left, top - bottom) / 100)


def pixel_window(area: Geometry, geobox: GeoBox) -> tuple[slice, slice]:
    """Smallest rectangle of pixels (rows, columns) of a grid around an area in its CRS.

    Raises
    ------
    ParameterError
        If the area lies outside the grid.
    """
    left, top, right, bottom = geobox.project(area).boundingbox
    sides = ((top, bottom, geobox.shape.y), (left, right, geobox.shape.x))
    found = [
        slice(max(0, math.floor(low + SNAP)), min(size, max(math.floor(low + SNAP) + 1, math.ceil(high - SNAP))))
        for low, high, size in sides
    ]
    if any(one.start >= one.stop for one in found):
        raise ParameterError(
            f"the area {tuple(area.boundingbox)} lies outside the cube, which covers {tuple(geobox.boundingbox)} in"
            f" {crs_name(geobox)}. Check the area and its CRS."
        )
    return found[0], found[1]
