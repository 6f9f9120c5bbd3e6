import math

import numpy as np
import pytest

from xsr.core.sensors import sigma_px
from xsr.kernels.degrade import blur_decimate


def random_stack(*shape):
    return np.random.default_rng(7).random(shape, dtype=np.float32)


def direct(image, scale, mtf):
    """Sum of Gaussian weights around every low-resolution centre, over a mirrored image; no shared code."""
    sigma = scale / math.pi * math.sqrt(-2 * math.log(mtf))
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


@pytest.mark.parametrize("scale", [1, 2, 3, 2.5, 3.4])
def test_blur_decimate_equals_a_direct_sum(scale):
    image = random_stack(1, 17, 14)
    np.testing.assert_allclose(blur_decimate(image, scale=scale, mtf=0.25)[0], direct(image[0], scale, 0.25), atol=1e-6)


@pytest.mark.parametrize(
    ("size", "scale", "low"),
    [((301, 100), 3.4, (88, 29)), ((8, 9), 2, (4, 4)), ((7, 8), 3, (2, 2)), ((15, 5), 2.5, (6, 2))],
)
def test_only_whole_low_resolution_pixels_remain(size, scale, low):
    assert blur_decimate(random_stack(1, *size), scale=scale, mtf=0.3).shape == (1, *low)


def test_every_image_of_the_stack_is_treated_alike():
    stack = random_stack(3, 12, 12)
    out = blur_decimate(stack, scale=2, mtf=0.3)
    for image, low in zip(stack, out, strict=True):
        assert np.array_equal(blur_decimate(image[None], scale=2, mtf=0.3)[0], low)


@pytest.mark.parametrize("scale", [1, 2, 2.5, 3, 3.4, 4])
def test_a_constant_stays_constant(scale):
    low = blur_decimate(np.full((1, 14, 9), 0.2, np.float32), scale=scale, mtf=0.2)
    np.testing.assert_allclose(low, 0.2, rtol=1e-6)


@pytest.mark.parametrize(
    ("scale", "bound"),
    # Around an arbitrary centre the two ends of the kernel, cut at 4 sigma, differ by a weight of 3e-4.
    [(2, 2e-5), (3, 2e-5), (4, 2e-5), (2.5, 3e-4), (3.4, 3e-4), (1.5, 3e-4)],
)
def test_a_ramp_keeps_its_place_on_the_map(scale, bound):
    size = 90
    along = np.broadcast_to(np.arange(size, dtype=np.float32), (size, size))
    across, down = blur_decimate(np.stack([along, along.T]), scale=scale, mtf=0.3)
    position = (np.arange(across.shape[1]) + 0.5) * scale - 0.5
    reach = math.ceil(4 * sigma_px(0.3, scale)) + 1
    inside = (position > reach) & (position < size - 1 - reach)
    assert inside.sum() > 5
    assert np.abs(across - position)[:, inside].max() < bound
    assert np.abs(down - position[:, None])[inside].max() < bound


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("mtf", [0.2, 0.3])
def test_the_response_to_an_impulse_has_the_mtf_at_the_low_resolution_nyquist(factor, mtf):
    """One low-resolution pixel sees an impulse at each place of the fine grid: that is its point spread function."""
    size, pixel = 24 * factor, 12
    impulses = np.eye(size, dtype=np.float32)[:, None, :].repeat(factor, axis=1)
    psf = blur_decimate(impulses, scale=factor, mtf=mtf)[:, 0, pixel].astype(np.float64)
    centre = (pixel + 0.5) * factor - 0.5
    response = (psf * np.exp(-1j * np.pi / factor * (np.arange(size) - centre))).sum()
    assert psf.sum() == pytest.approx(1, abs=1e-6)
    assert response.real == pytest.approx(mtf, abs=1e-3)
    assert response.imag == pytest.approx(0, abs=1e-6)


def test_a_mirrored_image_gives_a_mirrored_result():
    image = random_stack(1, 12, 12)
    low = blur_decimate(image, scale=4, mtf=0.3)
    np.testing.assert_allclose(blur_decimate(image[:, ::-1], scale=4, mtf=0.3), low[:, ::-1], atol=1e-6)


def test_an_image_narrower_than_the_kernel_is_mirrored_as_often_as_needed():
    image = random_stack(1, 2, 2)
    out = blur_decimate(image, scale=2, mtf=0.1)
    wide = np.pad(image[0], 8, mode="reflect")[None]
    expected = blur_decimate(wide, scale=2, mtf=0.1)[:, 4:5, 4:5]
    np.testing.assert_allclose(out, expected, atol=1e-6)
