import math

import numpy as np
import pytest

from xsr.core import sensors
from xsr.core.blocks import Span
from xsr.kernels import psf
from xsr.kernels.degrade import blur_decimate, observe, sensor_band, whole
from xsr.kernels.noise import NoiseModel, normals
from xsr.kernels.resample import interpolate_filled

SCALES = (1, 1.5, 2, 2.5, 3, 3.4, 4, math.pi)
BANDS = [band for band in sensors.get("sentinel-2").bands if band.mtf is not None]


def random_stack(*shape):
    return np.random.default_rng(7).random(shape, dtype=np.float32)


def centres(size, scale):
    return psf.centres(0, len(whole(size, scale)), scale)


@pytest.mark.parametrize(
    ("size", "scale", "low"),
    [
        ((301, 100), 3.4, (88, 29)),
        ((8, 9), 2, (4, 4)),
        ((7, 8), 3, (2, 2)),
        ((15, 5), 2.5, (6, 2)),
        ((3, 9), 4, (0, 2)),
    ],
)
def test_only_whole_low_resolution_pixels_remain(size, scale, low):
    assert blur_decimate(random_stack(1, *size), scale=scale, mtf=0.3).shape == (1, *low)


def test_every_image_of_the_stack_is_treated_alike():
    stack = random_stack(3, 12, 12)
    out = blur_decimate(stack, scale=2, mtf=0.3)
    for image, low in zip(stack, out, strict=True):
        assert np.array_equal(blur_decimate(image[None], scale=2, mtf=0.3)[0], low)


@pytest.mark.parametrize("scale", SCALES)
def test_a_constant_stays_constant(scale):
    low = blur_decimate(np.full((1, 14, 9), 0.2, np.float32), scale=scale, mtf=0.2)
    np.testing.assert_allclose(low, 0.2, rtol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_a_ramp_keeps_its_place_on_the_map(scale):
    size = 90
    along = np.broadcast_to(np.arange(size, dtype=np.float32), (size, size))
    across, down = blur_decimate(np.stack([along, along.T]), scale=scale, mtf=0.3)
    position = centres(size, scale)
    reach = psf.gaussian(0.3, scale).reach + 1
    inside = (position > reach) & (position < size - 1 - reach)
    assert inside.sum() > 5
    assert np.abs(across - position)[:, inside].max() < 5e-5  # 90 in float32, a few roundings
    assert np.abs(down - position[:, None])[inside].max() < 5e-5


@pytest.mark.parametrize("scale", SCALES[1:])
def test_a_point_keeps_its_place_on_the_map(scale):
    """The centroid of the image of a point, mean over points at all phases, to 1e-3 low-resolution pixels."""
    size, found = 160, []
    position = centres(size, scale)
    points = range(70, 70 + 17)
    image = np.zeros((len(points), size, size), np.float32)
    for number, point in enumerate(points):
        image[number, point, point] = 1
    low = blur_decimate(image, scale=scale, mtf=0.25).astype(np.float64)
    for number, point in enumerate(points):
        along = low[number].sum(axis=0)
        found.append(((along * position).sum() / along.sum() - point) / scale)
    assert abs(np.mean(found)) < 1e-3
    assert np.abs(found).max() < 0.02  # aliasing of a single point


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("band", BANDS, ids=lambda band: band.name)
def test_the_response_to_an_impulse_has_the_mtf_at_the_low_resolution_nyquist(factor, band):
    """One low-resolution pixel sees an impulse at each place of the fine grid: that is its point spread function."""
    size, pixel = 24 * factor, 12
    impulses = np.eye(size, dtype=np.float32)[:, None, :].repeat(factor, axis=1)
    seen = blur_decimate(impulses, scale=factor, mtf=band.mtf)[:, 0, pixel].astype(np.float64)
    centre = (pixel + 0.5) * factor - 0.5
    response = (seen * np.exp(-1j * np.pi / factor * (np.arange(size) - centre))).sum()
    assert seen.sum() == pytest.approx(1, abs=1e-6)
    assert response.real == pytest.approx(band.mtf, abs=1e-3)
    assert response.imag == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("scale", [3, 4])
def test_a_mirrored_image_gives_a_mirrored_result(scale):
    image = random_stack(1, 12, 12)
    low = blur_decimate(image, scale=scale, mtf=0.3)
    np.testing.assert_allclose(blur_decimate(image[:, ::-1], scale=scale, mtf=0.3), low[:, ::-1], atol=1e-6)


def test_an_image_narrower_than_the_kernel_is_mirrored_as_often_as_needed():
    image = random_stack(1, 2, 2)
    out = blur_decimate(image, scale=2, mtf=0.1)
    wide = np.pad(image[0], 8, mode="reflect")[None]
    expected = blur_decimate(wide, scale=2, mtf=0.1)[:, 4:5, 4:5]
    np.testing.assert_allclose(out, expected, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scale", [2, 3.4, math.pi])
def test_an_invalid_pixel_changes_only_what_sees_it(scale, bad):
    image = random_stack(1, 60, 60)
    holed = image.copy()
    holed[0, 30, 31] = bad
    clean, low = (blur_decimate(i, scale=scale, mtf=0.3)[0] for i in (image, holed))
    position = centres(60, scale)
    reach = psf.gaussian(0.3, scale).reach + 1
    near = (np.abs(position - 30)[:, None] <= reach) & (np.abs(position - 31) <= reach)
    assert np.array_equal(low[~near], clean[~near])
    assert np.isfinite(low).all()
    assert not np.array_equal(low[near], clean[near])


def test_a_pixel_without_enough_valid_weight_is_no_data():
    image = random_stack(1, 40, 40)
    image[0, :, :20] = np.nan
    half = blur_decimate(image, scale=2, mtf=0.3)[0]
    assert np.isnan(half[:, :10]).all()
    assert np.isfinite(half[:, 10:]).all()
    least = blur_decimate(image, scale=2, mtf=0.3, min_valid=0.0)[0]
    assert np.isfinite(least[:, 8:]).all()
    most = blur_decimate(image, scale=2, mtf=0.3, min_valid=1.0)[0]
    assert np.isnan(most[:, 10]).all()
    assert np.isfinite(most[:, 14:]).all()


def test_nothing_valid_gives_nothing():
    assert np.isnan(blur_decimate(np.full((1, 8, 8), np.nan, np.float32), scale=2, mtf=0.3, min_valid=0.0)).all()


def test_valid_pixels_of_a_constant_image_stay_constant():
    image = np.full((1, 40, 40), 0.3, np.float32)
    image[random_stack(1, 40, 40) < 0.3] = np.nan
    low = blur_decimate(image, scale=2, mtf=0.3)
    np.testing.assert_allclose(low[np.isfinite(low)], 0.3, rtol=1e-6)


# --- bands of larger pixels, noise, parts of an image ------------------------------------------------------


@pytest.mark.parametrize("scale", [2.0, 1.7, math.e])
def test_a_band_of_larger_pixels_is_observed_in_them_and_interpolated(scale):
    image = random_stack(1, 80, 80)
    found = observe(image, sensor_band(0.2, scale, own=2), rows=Span(6, 20), cols=Span(7, 21))
    own = Span(0, 15)
    larger = observe(image, sensor_band(0.2, 2 * scale), rows=own, cols=own)
    rows, cols = ((np.arange(first, first + 14) + 0.5) / 2 - 0.5 for first in (6, 7))
    np.testing.assert_allclose(found, interpolate_filled(larger, rows, cols, "bicubic"), atol=1e-6)


def test_noise_arises_in_the_pixels_of_the_band():
    flat, span = np.full((1, 60, 60), 0.2, np.float32), Span(0, 20)
    band = sensor_band(0.2, 2.0, own=2, noise=NoiseModel(0.01), key=5)
    found = observe(flat, band, rows=span, cols=span, seed=3, frame=8)
    drawn = normals(Span(-2, 12), Span(-2, 12), seed=3, words=(5, 8))[None]
    place = (np.arange(20) + 0.5) / 2 - 0.5 + 2
    np.testing.assert_allclose(found - 0.2, 0.01 * interpolate_filled(drawn, place, place, "bicubic"), atol=1e-7)


def test_a_part_of_an_image_is_observed_as_in_the_whole():
    image, band = random_stack(2, 70, 70), sensor_band(0.2, 2.0, own=2, noise=NoiseModel(0.01, 0.001), key=1)
    whole_image = observe(image, band, rows=Span(0, 34), cols=Span(0, 34), seed=2)
    part = observe(image[:, 4:, 6:66], band, rows=Span(15, 20), cols=Span(14, 20), origin=(4, 6), seed=2)
    np.testing.assert_array_equal(part, whole_image[:, 15:20, 14:20])
    assert not np.array_equal(part[0] - image[0].mean(), part[1] - image[1].mean())


def test_a_shift_moves_the_content_towards_greater_rows_and_columns():
    y, x = np.mgrid[:40, :40].astype(np.float32)
    span, band = Span(5, 15), sensor_band(0.3, 2.0)
    still, moved = (observe((y + 3 * x)[None], band, rows=span, cols=span, shift=by) for by in ((0, 0), (0.25, -0.5)))
    np.testing.assert_allclose(moved - still, -2 * (0.25 - 3 * 0.5), atol=1e-4)


def test_a_source_with_a_response_of_its_own_is_blurred_by_the_rest():
    """Both responses together are that of the sensor: 0.3 at Nyquist, of which the source has 0.3 ** (1 / 4)."""
    angle = np.pi / 2 * (np.arange(120) - 0.5)  # crests at the centres of pixels twice as large
    source = np.broadcast_to((0.3**0.25 * np.cos(angle)).astype(np.float32), (1, 4, 120))
    found = observe(source, sensor_band(0.3, 2.0, source_mtf=0.3), rows=Span(0, 2), cols=Span(10, 50))
    np.testing.assert_allclose(np.abs(found), 0.3, atol=1e-6)
