"""The grid of Web Mercator: tiles by zoom, column and row, and where a cube lies in it."""

import math
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from odc.geo.gridspec import GridSpec

from xsr.core import checks
from xsr.core.errors import GridError, ParameterError
from xsr.core.grid import Warp, reproject_points

CRS = "EPSG:3857"
MAX_ZOOM = 22
"""Finest zoom that tiles are made of, pixels of 4 cm."""
AROUND_M = 2 * math.pi * 6_378_137
"""Length of the equator, the side of the square of zoom 0."""
LAT = math.degrees(math.atan(math.sinh(math.pi)))
"""Greatest latitude of the square."""
FINER = 1.01
"""Pixels of a tile, in pixels of the cube, up to which `xsr.liif` refines."""


def check_tile(z: Any, x: Any, y: Any) -> tuple[int, int, int]:
    """Refuse a tile that is not in the grid.

    Raises
    ------
    ParameterError
        If there is no such zoom, or no such tile at it.
    """
    z = checks.whole("z", z, least=0, what=f"a zoom from 0 to {MAX_ZOOM}, a whole number")
    if z > MAX_ZOOM:
        raise ParameterError(f"z={z}; expected a zoom from 0 to {MAX_ZOOM}.")
    last = 2**z - 1
    for name, value in (("x", x), ("y", y)):
        if checks.whole(name, value, least=0, what="the number of a tile") > last:
            raise ParameterError(f"{name}={value} at zoom {z}; expected a tile from 0 to {last}.")
    return z, int(x), int(y)


def tile_grid(z: Any, x: Any, y: Any, *, size: int) -> GeoBox:
    """Grid of a tile; see `check_tile`."""
    z, x, y = check_tile(z, x, y)
    box: GeoBox = GridSpec.web_tiles(z, size).tile_geobox((x, y))
    return box


def pixel_units(z: int, *, size: int) -> float:
    """Side of a pixel at a zoom in units of the projection, metres at the equator."""
    return float(AROUND_M / size / 2**z)


def native_units(geobox: GeoBox) -> float:
    """Side of the pixel in the middle of a cube in units of the projection, the shorter one.

    Raises
    ------
    GridError
        If the cube does not lie in the projection.
    """
    height, width = geobox.shape.yx
    x, y = (np.array([one]) for one in geobox.pix2wld(width / 2, height / 2))
    lon, lat = reproject_points(str(geobox.crs), _degrees(), x, y)
    east, north = reproject_points("EPSG:4326", _degrees(CRS), lon, lat)
    if not (np.isfinite([lon, lat, east, north]).all() and abs(float(lat[0])) < LAT):
        raise GridError(
            f"the cube lies at latitude {float(lat[0]):.1f}; expected one within {LAT:.2f} degrees of the equator,"
            " where Web Mercator ends. Plot it in its own CRS."
        )
    one = GeoBox.from_bbox((east[0] - 0.5, north[0] - 0.5, east[0] + 0.5, north[0] + 0.5), CRS, resolution=1)
    return float(1 / max(Warp(geobox, one).cell))


def _degrees(crs: str = "EPSG:4326") -> GeoBox:
    """Any grid in a CRS."""
    return GeoBox.from_bbox((0, 0, 1, 1), crs, resolution=1)


def first_zoom(units: float, *, size: int) -> int:
    """First zoom whose pixels are no larger than ``units``, to one per cent; the finest if none is."""
    return next((z for z in range(MAX_ZOOM) if pixel_units(z, size=size) <= units * FINER), MAX_ZOOM)


def bounds_of(geobox: GeoBox) -> tuple[float, float, float, float]:
    """Longitude and latitude around a cube: west, south, east, north; cut where the projection ends."""
    box = geobox.geographic_extent.boundingbox
    return float(box.left), max(float(box.bottom), -LAT), float(box.right), min(float(box.top), LAT)


def tile_of(lon: float, lat: float, z: int, *, size: int) -> tuple[int, int, int, int]:
    """Tile at a place, and the pixel in it: x, y, row, column.

    >>> tile_of(4.05, 50.74, 15, size=256)
    (16752, 11007, 125, 163)
    """
    across = (lon + 180) / 360
    down = 0.5 - math.asinh(math.tan(math.radians(lat))) / (2 * math.pi)
    whole = 2**z * size
    col, row = (min(max(math.floor(share * whole), 0), whole - 1) for share in (across, down))
    return col // size, row // size, row % size, col % size
