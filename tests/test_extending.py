"""Sensors registered from outside the package, through the operations that use them."""

import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pytest
import xarray as xr

import xsr
from xsr.core.errors import ParameterError
from xsr.core.sensors import registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_SENSORS", dict(registry._SENSORS))


def camera(name="camera-1", names=("C1_green", "C1_red"), mtf=(0.30, 0.15)):
    centres = (560.0, 660.0)
    rows = zip(names, centres, mtf, strict=True)
    return xsr.Sensor(name, tuple(xsr.Band(band, gsd_m=3.0, wavelength_nm=nm, mtf=value) for band, nm, value in rows))


def stripes(names=("C1_green", "C1_red"), **attrs):
    """Cosine of period four pixels, whose crests and troughs lie on the centres of pixels twice as large."""
    x = np.arange(64)
    values = 0.3 + 0.1 * np.cos(np.pi / 2 * (x - 0.5)) * np.ones((2, 64, 1))
    coords = {"band": list(names), "y": 5_000_000.0 - 3.0 * x, "x": 500_000.0 + 3.0 * x}
    cube = xr.DataArray(values.astype(np.float32), coords, ("band", "y", "x"), attrs={"units": "1", **attrs})
    return cube.odc.assign_crs("EPSG:32632")


def contrast(low):
    inside = low.isel(x=slice(8, -8), y=slice(8, -8))
    return (abs(inside - 0.3).mean(["y", "x"]) / 0.1).values.tolist()


def test_a_cube_with_the_band_names_of_a_registered_sensor_is_degraded_by_its_mtf():
    xsr.register_sensor(camera())
    assert contrast(stripes().sr.degrade(scale=2)) == pytest.approx([0.30, 0.15], abs=1e-3)


def test_without_the_sensor_the_mtf_is_missing():
    with pytest.raises(ParameterError, match="sentinel-2 has no MTF for band 'C1_green'"):
        stripes().sr.degrade(scale=2)


def test_workers_need_not_know_the_sensor(monkeypatch):
    """The graph holds weights: with the sensor forgotten before the computation, other processes give the same."""
    xsr.register_sensor(camera())
    low = stripes().chunk(y=32).sr.degrade(scale=2)
    monkeypatch.setattr(registry, "_SENSORS", {})
    np.testing.assert_array_equal(low.compute(scheduler="processes", num_workers=1), low.compute())
    assert contrast(low.compute()) == pytest.approx([0.30, 0.15], abs=1e-3)


def test_band_numbers_mean_those_of_the_sensor_that_the_cube_states():
    """B2 and B4 alone are blue and red of Sentinel-2, of MTF 0.304 and 0.233."""
    xsr.register_sensor(camera(names=("B2", "B4")))
    plain = stripes(("B2", "B4"))
    stated = stripes(("B2", "B4"), platform="camera-1")
    assert contrast(plain.sr.degrade(scale=2)) == pytest.approx([0.304, 0.233], abs=1e-3)
    assert contrast(stated.sr.degrade(scale=2)) == pytest.approx([0.30, 0.15], abs=1e-3)
    assert contrast(stated.sr.degrade(scale=2, sensor="sentinel-2")) == pytest.approx([0.304, 0.233], abs=1e-3)


def test_two_sensors_with_the_same_names_are_told_apart_by_the_argument_alone():
    xsr.register_sensor(camera())
    xsr.register_sensor(camera("camera-2", mtf=(0.2, 0.2)))
    with pytest.raises(ParameterError, match="sentinel-2 has no MTF"):
        stripes().sr.degrade(scale=2)
    assert contrast(stripes().sr.degrade(scale=2, sensor="camera-2")) == pytest.approx([0.2, 0.2], abs=1e-3)


def test_a_pair_and_its_scores_use_the_registered_sensor():
    xsr.register_sensor(camera())
    low, high = stripes().sr.wald(scale=2, native_gsd="grid")
    scores = low.sr.interpolate(scale=2).sr.evaluate(high, low=low)
    assert scores.attrs["sensor"] == "camera-1"
    assert scores.attrs["mtf"] == [0.30, 0.15]
