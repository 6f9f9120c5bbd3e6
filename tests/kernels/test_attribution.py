"""The path from a blurred image, the detail of a patch and its derivative, and how widely an attribution spreads."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from xsr.kernels.attribution import RADIUS, SIGMA_PX, blurred, diffusion_index, gradient_sum


@pytest.fixture
def images():
    return np.random.default_rng(1).standard_normal((2, 3, 14, 11)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.4, SIGMA_PX])
def test_a_gaussian_without_gaps_is_that_of_scipy(images, sigma):
    wanted = gaussian_filter(images.astype(np.float64), sigma, mode="mirror", axes=(2, 3), radius=RADIUS)
    assert np.abs(blurred(images, sigma) - wanted).max() < 1e-6


def test_no_blur_is_the_image(images):
    assert np.array_equal(blurred(images, 0.0), images)


def test_no_data_stay_and_leave_a_constant_alone():
    image = np.full((1, 9, 9), 0.3, np.float32)
    image[0, 3:6, 4] = (np.nan, np.inf, np.nan)
    out = blurred(image, SIGMA_PX)
    assert np.array_equal(np.isnan(out), ~np.isfinite(image))
    assert np.nanmax(np.abs(out - 0.3)) < 1e-7


def test_the_detail_of_a_ramp_is_its_slope_in_every_pixel():
    down, right = np.mgrid[:7, :9].astype(float)
    total, _ = gradient_sum(3 * down + 4 * right)
    assert total == pytest.approx(5 * 5 * 7)


def test_the_derivative_is_that_of_finite_differences(images):
    patch, step = images[0].astype(np.float64), 1e-6
    _, derivative = gradient_sum(patch)
    for place in [(0, 0, 3), (1, 5, 5), (2, 13, 9), (1, 1, 0)]:
        up, down = patch.copy(), patch.copy()
        up[place] += step
        down[place] -= step
        slope = (gradient_sum(up)[0] - gradient_sum(down)[0]) / (2 * step)
        assert derivative[place] == pytest.approx(slope, abs=1e-6)


def test_a_flat_patch_has_no_detail_and_no_derivative():
    total, derivative = gradient_sum(np.full((2, 5, 5), 0.2))
    assert total == 0
    assert not derivative.any()


def test_the_diffusion_index_is_that_of_the_gini_coefficient_by_pairs():
    values = np.random.default_rng(2).standard_normal((4, 5))
    size = np.abs(values).ravel()
    gini = np.abs(size[:, None] - size).sum() / (2 * size.size**2 * size.mean())
    assert diffusion_index(values) == pytest.approx(100 * (1 - gini))
    assert diffusion_index(-7 * values) == pytest.approx(diffusion_index(values))


def test_the_diffusion_index_of_nothing_is_not_known():
    assert np.isnan(diffusion_index(np.zeros((1, 3, 3)))).all()
