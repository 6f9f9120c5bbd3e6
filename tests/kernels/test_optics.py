import math

import numpy as np
import pytest

from xsr.core.errors import ParameterError
from xsr.core.sensors import get, sigma_px
from xsr.kernels import psf as spread
from xsr.kernels.degrade import sensor_band
from xsr.kernels.fidelity import gaussian_sensor
from xsr.kernels.optics import Optics, by_band

HERE = {"scale": (2.0, 2.0), "pixel": (10.0, 10.0)}
B05 = get("sentinel-2").band("B05").mtf  # at the Nyquist frequency of 20 m


def test_a_band_is_seen_with_the_mtf_of_its_sensor():
    assert Optics("sentinel-2").low_sensor("B05", low_m=20.0, **HERE) == gaussian_sensor(B05, (2.0, 2.0))
    assert Optics("sentinel-2").low_sensor("rededge1", low_m=40.0, **HERE) == gaussian_sensor(B05, (2.0, 2.0))


@pytest.mark.parametrize(("low_m", "native_m"), [(10.0, math.nan), (10.0, 20.0), (40.0, 80.0)])
def test_a_band_of_larger_pixels_keeps_its_width_on_the_ground(low_m, native_m):
    found = Optics("sentinel-2").low_sensor("B05", low_m=low_m, native_m=native_m, **HERE)
    assert found.own == (4, 4)
    assert found.psf == (spread.gaussian(B05, 4.0),) * 2
    assert found.psf[0].sigma * low_m / 2 == pytest.approx(sigma_px(B05, 1.0) * 2 * low_m)


def test_own_pixels_need_be_no_whole_number():
    found = Optics("sentinel-2").low_sensor("B05", low_m=10.0, native_m=17.0, **HERE)
    assert found.own == pytest.approx((3.4, 3.4))
    assert found.stages(0) == sensor_band(B05, 2.0, own=1.7).y
    assert found.psf[0].sigma == pytest.approx(sigma_px(B05, 3.4))


def test_own_pixels_a_hair_larger_than_those_of_the_grid_are_these():
    found = Optics("sentinel-2").low_sensor("B05", low_m=20.0, native_m=20.001, scale=(3.4, 3.4), pixel=(1.0, 1.0))
    assert found == gaussian_sensor(B05, (3.4, 3.4))


def test_a_record_goes_before_the_table_and_an_mtf_given_before_its_pixel_size():
    assert Optics("sentinel-2").low_sensor("B05", low_m=10.0, native_m=10.0, **HERE).own is None
    assert Optics("sentinel-2", mtf=0.3).low_sensor("B05", low_m=10.0, **HERE) == gaussian_sensor(0.3, (2.0, 2.0))
    assert Optics("sentinel-2", mtf=0.3).low_sensor("B05", low_m=10.0, native_m=20.0, **HERE).own == (4, 4)


def test_an_mtf_out_of_reach_is_refused_at_once():
    with pytest.raises(ParameterError, match=r"expected at most 0\.707"):
        Optics("sentinel-2", mtf=(0.3, 0.97)).low_sensor("B02", low_m=20.0, **HERE)
    spread.check_reachable(spread.gaussian(0.7, 2.0), 2.0)
    spread.check_reachable(spread.Cubic(), 2.0)
    with pytest.raises(ParameterError, match=r"mtf=0\.71 at scale 2"):
        spread.check_reachable(spread.gaussian(0.71, 2.0), 2.0)


def test_what_is_known_about_a_band():
    assert Optics("sentinel-2").knows("B02")
    assert not Optics("sentinel-2").knows("lst")
    assert Optics("sentinel-2", mtf=0.3).knows("lst")
    assert Optics("sentinel-2", psf=spread.Gaussian(5.0)).knows("lst")


def test_the_record():
    found = Optics("sentinel-2").record(["B02", "lst"])
    assert (found["sensor"], found["psf"]) == ("sentinel-2", "gaussian")
    np.testing.assert_array_equal(found["mtf"], [get("sentinel-2").band("B02").mtf, math.nan])
    assert Optics("s", psf=spread.Gaussian(5.0)).record(["lst"]) == {"sensor": "s", "psf": "given"}
    assert Optics("s", mtf=(0.2, 0.3)).record(["lst"])["mtf_x"] == [0.3]


def test_values_by_band_under_any_name():
    assert by_band({"blue": 1, "B03": 2}, "B02", "mtf") == 1
    assert by_band(3, "B02", "mtf") == 3
    with pytest.raises(ParameterError, match=r"mtf names the bands \['blue'\]; expected 'B03' among them"):
        by_band({"blue": 1}, "B03", "mtf")
