import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from xsr.core import sensors
from xsr.kernels import psf
from xsr.kernels.decimate import decimate, decimate_reference
from xsr.kernels.degrade import blur_decimate, whole

SCALES = (1, 1.5, 2, 2.5, 3, 3.4, 4, math.pi)
BANDS = [band for band in sensors.get("sentinel-2").bands if band.mtf is not None]


def random_stack(*shape):
    return np.random.default_rng(7).random(shape, dtype=np.float32)


def centres(size, scale):
    return psf.centres(0, len(whole(size, scale)), scale)


def taps_of(size, scale, function):
    return psf.sample(centres(size, scale), function, cell=float(scale))


def direct(image, scale, sigma):
    """Sum of Gaussian weights around every low-resolution centre, over a mirrored image; no shared code."""
    half = math.ceil(4 * sigma)
    margin = half + 2
    wide = np.pad(image.astype(np.float64), margin, mode="reflect")
    shape = [math.floor(size / scale + 1e-6) for size in image.shape]
    out = np.zeros(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            y, x = ((k + 0.5) * scale - 0.5 for k in (i, j))
            total = weights = 0.0
            for a in range(math.ceil(y - half), math.floor(y + half) + 1):
                for b in range(math.ceil(x - half), math.floor(x + half) + 1):
                    w = math.exp(-((a - y) ** 2 + (b - x) ** 2) / (2 * sigma**2))
                    total += w * wide[a + margin, b + margin]
                    weights += w
            out[i, j] = total / weights
    return out


@pytest.mark.parametrize(("scale", "bound"), [(2, 1e-6), (3, 1e-6), (4, 1e-6), (2.5, 2e-4), (3.4, 2e-4)])
def test_a_gaussian_equals_a_direct_sum(scale, bound):
    """Of other than whole factors the cut at 4 sigma is not symmetric, and xsr moves the centroid back."""
    image, sigma = random_stack(1, 27, 24), 0.49 * scale
    rows, cols = (taps_of(size, scale, psf.Gaussian(sigma)) for size in image.shape[1:])
    np.testing.assert_allclose(decimate(image, rows, cols)[0], direct(image[0], scale, sigma), atol=bound)


@pytest.mark.parametrize("factor", [1, 3, 5])
def test_odd_factors_equal_scipy(factor):
    """The centre of an odd factor lies on a pixel: blur the whole, then slice."""
    image, sigma = random_stack(1, 60, 45), 1.3
    rows, cols = (taps_of(size, factor, psf.Gaussian(sigma)) for size in image.shape[1:])
    blurred = ndimage.gaussian_filter(image[0].astype(np.float64), sigma, mode="mirror", radius=math.ceil(4 * sigma))
    expected = blurred[factor // 2 :: factor, factor // 2 :: factor]
    np.testing.assert_allclose(decimate(image, rows, cols)[0], expected, atol=1e-6)


@settings(max_examples=40, deadline=None)
@example(height=4, width=4, scale=3.141592653589793, mtf=0.5, gaps=0.0, seed=0)
@given(
    height=st.integers(4, 40),
    width=st.integers(4, 40),
    scale=st.sampled_from(SCALES),
    mtf=st.floats(0.1, 0.5),
    gaps=st.floats(0, 0.6),
    seed=st.integers(0, 99),
)
def test_the_kernel_equals_its_reference(height, width, scale, mtf, gaps, seed):
    rng = np.random.default_rng(seed)
    image = rng.random((2, height, width), dtype=np.float32)
    image[rng.random(image.shape) < gaps] = np.nan
    rows, cols = (taps_of(size, scale, psf.gaussian(mtf, scale)) for size in (height, width))
    np.testing.assert_allclose(decimate(image, rows, cols), decimate_reference(image, rows, cols), atol=2e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_the_error_stays_below_a_millionth(scale):
    image = random_stack(1, 300, 310)
    rows, cols = (taps_of(size, scale, psf.gaussian(0.2, scale)) for size in image.shape[1:])
    np.testing.assert_allclose(decimate(image, rows, cols), decimate_reference(image, rows, cols), rtol=1e-6)


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
