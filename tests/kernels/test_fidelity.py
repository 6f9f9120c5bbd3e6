import math
from itertools import pairwise

import numpy as np
import pytest

from xsr.core.blocks import Span
from xsr.core.sensors import get
from xsr.kernels import fidelity
from xsr.kernels.degrade import blur_decimate, observe, sensor_band
from xsr.kernels.optics import Optics
from xsr.kernels.psf import gaussian
from xsr.kernels.resample import interpolation_taps, resample


def noise(*shape, seed=3):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@pytest.mark.parametrize("scale", [1.0, 2.0, 2.5, 3.0, 3.4, 4.0])
def test_low_pixels_are_owned_once(scale):
    cuts = [0, 7, 8, 20, 33]
    owned = [fidelity.low_pixels(Span(a, b), scale) for a, b in pairwise(cuts)]
    numbers = [n for span in owned for n in range(span.start, span.stop)]
    assert numbers == [n for n in range(40) if math.floor((n + 0.5) * scale) < 33]


@pytest.mark.parametrize("scale", [2.0, 2.5, 3.0, 3.4])
def test_degraded_window_equals_the_degradation_inside(scale):
    image = noise(1, 60, 51)
    sensor = fidelity.gaussian_sensor(0.25, (scale, scale))
    rows, cols = (Span(0, math.floor(size / scale + 1e-6)) for size in image.shape[1:])
    halo = sensor.halo
    wide = np.pad(image, ((0, 0), (halo, halo), (halo, halo)), constant_values=np.nan)
    ours = fidelity.degrade_window(wide, sensor, low=(rows, cols), origin=(-halo, -halo))
    whole = blur_decimate(image, scale=scale, mtf=0.25)
    known = np.isfinite(ours)
    assert 0.2 < known.mean() < 1
    np.testing.assert_allclose(ours[known], whole[known], atol=2e-6)


def test_high_pass_of_a_ramp_is_zero():
    """Blur and bicubic interpolation keep a ramp; what remains is rounding."""
    y, x = np.mgrid[:60, :60].astype(np.float32)
    ramp = (0.001 * y + 0.002 * x)[None]
    sensor = fidelity.gaussian_sensor(0.3, (2.5, 2.5))
    detail = fidelity.high_pass_window(ramp, sensor, rows=Span(20, 40), cols=Span(20, 40), origin=(0, 0))
    np.testing.assert_allclose(detail, 0, atol=1e-7)


def test_one_missing_pixel_reaches_as_far_as_the_halo_says():
    image = noise(1, 81, 81)
    image[0, 40, 40] = np.nan
    sensor = fidelity.gaussian_sensor(0.2, (3.0, 3.0))
    inside = Span(sensor.halo, 81 - sensor.halo)
    detail = fidelity.high_pass_window(image, sensor, rows=inside, cols=inside, origin=(0, 0))[0]
    rows = np.flatnonzero(np.isnan(detail).any(axis=1)) + sensor.halo
    assert rows.min() >= 40 - sensor.halo
    assert rows.max() <= 40 + sensor.halo


def test_a_band_of_larger_pixels_is_seen_in_these_and_interpolated():
    """Blurred and decimated by four, then brought to half the size by an independent bicubic interpolation."""
    image = noise(1, 80, 80)
    sensor = fidelity.LowSensor((2.0, 2.0), (gaussian(0.3, 4.0), gaussian(0.3, 4.0)), (4, 4))
    low = Span(12, 28)
    found = fidelity.degrade_window(image, sensor, low=(low, low), origin=(0, 0))[0]
    taps = interpolation_taps((np.arange(12, 28) + 0.5) / 2 - 0.5, "bicubic")
    expected = resample(blur_decimate(image, scale=4.0, mtf=0.3), taps, taps)[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    plain = fidelity.gaussian_sensor(0.3, (2.0, 2.0))
    assert np.abs(fidelity.degrade_window(image, plain, low=(low, low), origin=(0, 0))[0] - found).max() > 0.01
    assert sensor.halo > plain.halo


def test_a_band_of_larger_pixels_is_judged_by_what_made_its_low_resolution_image():
    """At a scale of 3.4 the own pixels of a 20 m band are 6.8 high-resolution ones."""
    image = noise(1, 120, 120)
    sensor = Optics("sentinel-2").low_sensor("B05", scale=(3.4, 3.4), pixel=(1.0, 1.0), low_m=10.0)
    mtf = get("sentinel-2").band("B05").mtf
    span = Span(12, 20)
    low = observe(image, sensor_band(mtf, 3.4, own=2), rows=span, cols=span)
    np.testing.assert_allclose(fidelity.degrade_window(image, sensor, low=(span, span), origin=(0, 0)), low, atol=1e-6)
