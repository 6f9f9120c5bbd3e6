"""Fields of an item for a grid and for bands."""

import math
from collections.abc import Sequence
from typing import Any

from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry

from xsr.core import sensors
from xsr.core.errors import GridError, ParameterError
from xsr.core.ground import pixel_size_m
from xsr.core.sensors import Band, Sensor
from xsr.items.results import StoredBand

COMMON = frozenset(
    "pan coastal blue green green05 yellow red rededge rededge071 rededge075 rededge078 nir nir08 nir09 cirrus"
    " swir16 swir22 lwir lwir11 lwir12".split()
)
"""Common names of bands; STAC electro-optical extension, version 2.0.0."""
POINTS = 4
"""Points along each side of a footprint: straight lines of one CRS are curved in another."""
DIGITS = 7
"""Of degrees: a centimetre."""
THERMAL_NM = 3000.0


def grid_fields(box: GeoBox) -> dict[str, Any]:
    """Fields of the projection extension, version 2.0.0."""
    crs = box.crs
    assert crs is not None
    bounds = box.boundingbox
    return {
        "proj:code": None if crs.epsg is None else f"EPSG:{crs.epsg}",
        **({} if crs.epsg is not None else {"proj:wkt2": crs.to_wkt()}),
        "proj:shape": [int(side) for side in box.shape],
        "proj:transform": [float(one) for one in box.affine[:6]],
        "proj:bbox": [bounds.left, bounds.bottom, bounds.right, bounds.top],
    }


def footprint(box: GeoBox) -> tuple[dict[str, Any], list[float]]:
    """Outline in degrees and its box (west, south, east, north); west is greater than east across 180 degrees.

    Raises
    ------
    GridError
        If the grid has no CRS.
    """
    if box.crs is None:
        raise GridError("the result has no CRS; a STAC item needs one. Assign it with .odc.assign_crs(...).")
    outline = box.extent.to_crs("EPSG:4326", resolution=max(*box.extent.boundingbox.shape) / POINTS, wrapdateline=True)
    parts = [_rounded(part) for part in (outline.geoms if outline.geom_type.startswith("Multi") else [outline])]
    boxes = [part.boundingbox for part in parts]
    south, north = min(one.bottom for one in boxes), max(one.top for one in boxes)
    west, east = min(one.left for one in boxes), max(one.right for one in boxes)
    if len(parts) > 1:  # what lies east of 180 degrees begins at -180
        west = min(one.left for one in boxes if one.right > 0)
        east = max(one.right for one in boxes if one.left < 0)
    shapes = [[[list(point) for point in ring] for ring in part.json["coordinates"]] for part in parts]
    kind = "Polygon" if len(parts) == 1 else "MultiPolygon"
    return {"type": kind, "coordinates": shapes[0] if len(parts) == 1 else shapes}, [west, south, east, north]


def _rounded(part: Geometry) -> Geometry:
    return part.transform(lambda x, y: (round(x, DIGITS), round(y, DIGITS)))


def band_fields(bands: Sequence[StoredBand], sensor: Sensor | None, box: GeoBox) -> list[dict[str, Any]]:
    """``bands`` of STAC 1.1, with the fields of the raster and electro-optical extensions, versions 2.0.0.

    Centre wavelengths and widths are in micrometres, sizes of pixels in metres.
    """
    down, across = pixel_size_m(box)
    size = {"raster:spatial_resolution": round((down + across) / 2, 6)}
    known = [sensor.band(band.name) if sensor is not None and sensor.has(band.name) else None for band in bands]
    return [{**_stored(band), **size, **_spectral(one)} for band, one in zip(bands, known, strict=True)]


def _stored(band: StoredBand) -> dict[str, Any]:
    nodata = band.nodata if band.nodata is None or math.isfinite(band.nodata) else str(band.nodata)
    fields = {
        "name": band.name,
        "data_type": "uint8" if band.dtype == "bool" else band.dtype,
        "nodata": int(nodata) if isinstance(nodata, float) and nodata.is_integer() else nodata,
        "unit": band.unit or None,
        "raster:scale": band.scale,
        "raster:offset": band.offset,
    }
    return {name: value for name, value in fields.items() if value is not None}


def sensor_of(bands: Sequence[StoredBand], platforms: Sequence[str]) -> Sensor | None:
    """Sensor that the bands are named by: the only platform, or else Sentinel-2, whose names are the canonical ones.

    None where it has none of the bands.
    """
    try:
        found = sensors.get(platforms[0] if len(platforms) == 1 else "sentinel-2")
    except ParameterError:
        return None
    return found if any(found.has(band.name) for band in bands) else None


def _spectral(band: Band | None) -> dict[str, Any]:
    if band is None:
        return {}
    common = next((alias for alias in (*band.aliases, band.name.lower()) if alias in COMMON), None)
    fields = {
        "description": f"{band.name} at {band.wavelength_nm:g} nm",
        "eo:common_name": common,
        "eo:center_wavelength": round(band.wavelength_nm / 1000, 6),
        "eo:full_width_half_max": None if band.bandwidth_nm is None else round(band.bandwidth_nm / 1000, 6),
    }
    return {name: value for name, value in fields.items() if value is not None}
