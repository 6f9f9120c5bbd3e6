import math

import pytest
from affine import Affine
from helpers import make_geobox

from xsr.core.ground import pixel_size_m


def test_the_metres_of_utm_count_as_they_are():
    assert pixel_size_m(make_geobox((8, 8), gsd=10)) == (10, 10)
    assert pixel_size_m(make_geobox((8, 8), affine=Affine(10, 0, 6e5, 0, -20, 58e5))) == (20, 10)


def test_degrees_are_measured_on_the_ellipsoid():
    # A degree at 60 degrees north on WGS 84: 111 412 m along the meridian, 55 800 m along the parallel.
    down, across = pixel_size_m(make_geobox((10, 10), crs="EPSG:4326", affine=Affine(1e-3, 0, 5, 0, -1e-3, 60.005)))
    assert down == pytest.approx(111.412, rel=1e-4)
    assert across == pytest.approx(55.800, rel=1e-4)


def test_web_mercator_is_stretched_by_the_latitude():
    north = 6_378_137 * math.log(math.tan(math.pi / 4 + math.radians(60) / 2))
    down, across = pixel_size_m(make_geobox((2, 2), crs="EPSG:3857", affine=Affine(10, 0, 0, 0, -10, north)))
    assert down == pytest.approx(5.0, rel=5e-3)
    assert across == pytest.approx(5.0, rel=5e-3)


def test_feet_are_metres_on_the_ground():
    feet = make_geobox((2, 2), crs="EPSG:2263", affine=Affine(100, 0, 980_000, 0, -100, 200_000))
    assert pixel_size_m(feet) == pytest.approx((30.48006, 30.48006), rel=1e-6)
