"""Sizes on the ground, for what users state in metres.

A grid may count in degrees, feet, or the metres of a map that is not true to scale.
"""

from typing import Any

from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from xsr.core.grid import resolution

TRUE = 0.01
"""Share by which lengths on a map may differ from those on the ground before the ground's count: UTM stays below."""


def pixel_size_m(geobox: GeoBox) -> tuple[float, float]:
    """Size (y, x) of the pixel in the middle of a grid, in metres on the ground.

    Lengths of a map in metres, or another unit of length, count as they are where they are true to 1 %, as in UTM; else
    the pixel is measured on the WGS 84 ellipsoid.

    Examples
    --------
    >>> from affine import Affine
    >>> degrees = GeoBox((2, 2), Affine(1e-4, 0, 5, 0, -1e-4, 60), "EPSG:4326")
    >>> [round(size, 2) for size in pixel_size_m(degrees)]
    [11.14, 5.58]
    """
    down, across = resolution(geobox)
    crs = geobox.crs
    if crs is None:
        return down, across
    unit = 1.0 if crs.geographic or not crs.proj.axis_info else crs.proj.axis_info[0].unit_conversion_factor
    on_map = down * unit, across * unit
    on_ground = _measured(geobox)
    true = all(abs(one / other - 1) <= TRUE for one, other in zip(on_map, on_ground, strict=True))
    return on_map if true else on_ground


def _measured(geobox: GeoBox) -> tuple[float, float]:
    """Distances from the middle of a grid to the middle of the next row and column on the ellipsoid."""
    from pyproj import Geod

    assert geobox.crs is not None
    to_degrees: Any = geobox.crs.transformer_to_crs(CRS("EPSG:4326"))
    y, x = geobox.shape.y / 2, geobox.shape.x / 2
    here, below, right = (to_degrees(*(geobox.affine @ place)) for place in ((x, y), (x, y + 1), (x + 1, y)))
    geod = Geod(ellps="WGS84")
    return float(geod.inv(*here, *below)[2]), float(geod.inv(*here, *right)[2])
