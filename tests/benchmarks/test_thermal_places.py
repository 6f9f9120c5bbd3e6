"""Thermal scenes in physical units: hand values, and what is plausible."""

from datetime import datetime

import numpy as np
import pytest
from common import thermal_places


def test_elevation_of_the_sun():
    # At the equinox the sun stands in the zenith of the equator, and at 90 degrees minus the latitude elsewhere.
    noon = datetime(2023, 3, 21, 12, 7)
    assert thermal_places.sun_elevation(noon, 0.0, 0.0) == pytest.approx(90, abs=1)
    assert thermal_places.sun_elevation(noon, 40.0, 0.0) == pytest.approx(50, abs=1)
    # Landsat 8 over Mendoza, its MTL: 52.70 degrees on 2016-02-09 at 14:26 UTC.
    assert thermal_places.sun_elevation(datetime(2016, 2, 9, 14, 26), -33.2, -69.1) == pytest.approx(52.7, abs=1)


def test_radiance_at_the_ends_of_the_scale():
    found = thermal_places.radiance(np.array([1.0, 128.0, 255.0]), (3.2, 12.65))
    np.testing.assert_allclose(found, [3.2, 7.925, 12.65])


def test_reflectance_by_hand():
    # DN 100 in ETM+ band 3: L = -5 + 99 * 157.9 / 254 = 56.543; pi * 56.543 * 1.2 / 1533
    found = thermal_places.reflectance(np.array([100.0]), (-5.0, 152.9), 1533.0, 1.2)
    assert found[0] == pytest.approx(0.13905, abs=1e-5)


def test_pennsylvania_is_plausible(manifest):
    july, november, elkton, mendoza, andalusia = thermal_places.read_scenes(manifest)
    assert july.kelvin.shape == november.kelvin.shape == (150, 150)
    assert 295 < np.nanmean(july.kelvin) < 305
    assert 273 < np.nanmean(november.kelvin) < 285
    assert 0.01 < np.isnan(july.kelvin).mean() < 0.1  # clouds
    assert np.isfinite(november.kelvin).all()
    vegetation = [float(np.nanmean((g[1] - g[0]) / (g[1] + g[0]))) for g in (july.guide, november.guide)]
    assert vegetation[0] > 0.5 > vegetation[1]
    assert not np.isfinite(andalusia.guide).any()
    assert elkton.kelvin.shape == (56, 62)
    assert 290 < elkton.kelvin.mean() < 320
    assert 0.3 < float(np.mean((elkton.guide[1] - elkton.guide[0]) / (elkton.guide[1] + elkton.guide[0]))) < 0.9
    assert mendoza.place.startswith("Mendoza")
    assert [thermal_places.guided(scene) for scene in (july, elkton, mendoza, andalusia)] == [True, True, True, False]
