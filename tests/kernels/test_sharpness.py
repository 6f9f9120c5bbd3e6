import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from xsr.core.blocks import Span
from xsr.kernels.sharpness import LEAST_PX, MARGIN, STEP, change, least, reach, soften, weights, widths


def whole(image, sigma_px):
    return soften(image[None], sigma_px, rows=Span(0, image.shape[0]), cols=Span(0, image.shape[1]))[0]


def wave(period, size=120):
    return np.cos(2 * np.pi * np.arange(size) / period)[:, None].repeat(40, 1).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.8, 1.7, 4.0])
def test_a_wide_gaussian_is_that_of_scipy(sigma):
    image = np.random.default_rng(0).random((50, 60)).astype(np.float32)
    expected = gaussian_filter(image.astype(float), sigma, mode="mirror", truncate=math.ceil(4 * sigma) / sigma)
    np.testing.assert_allclose(whole(image, (sigma, sigma)), expected, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.2, 0.31, 0.5, 0.7, 0.79, 0.8, 1.5])
def test_a_wave_keeps_the_contrast_of_the_continuous_gaussian(sigma):
    """Narrow ones too, which sampling at the pixels would change: of 0.3 pixels it would leave a tenth of the blur."""
    for period, tolerance in ((4.0, 2e-3), (8.0, 1e-2)):
        crests = slice(40, 80, round(period))
        contrast = whole(wave(period), (sigma, 1e-4))[crests, 20].mean()
        assert contrast == pytest.approx(math.exp(-2 * (math.pi * sigma / period) ** 2), abs=tolerance)


def test_no_width_changes_nothing_but_what_is_no_number():
    image = np.random.default_rng(1).random((9, 8)).astype(np.float32)
    image[3, 4] = np.inf
    out = whole(image, (0.0, 0.0))
    assert np.isnan(out[3, 4])
    assert np.isnan(out).sum() == 1
    np.testing.assert_array_equal(out[:3], image[:3])
    assert reach((0.0, 0.0)) == 0


def test_no_data_stays_and_gives_nothing():
    image = np.full((20, 20), 0.3, np.float32)
    image[5:9, 7:16] = np.nan
    out = whole(image, (2.0, 1.0))
    np.testing.assert_array_equal(np.isnan(out), np.isnan(image))
    np.testing.assert_allclose(out[np.isfinite(out)], 0.3, rtol=1e-6)


@pytest.mark.parametrize("sigma", [(0.4, 0.4), (1.3, 0.6), (3.0, 3.0)])
def test_a_pixel_depends_on_as_many_as_the_reach_says(sigma):
    image = np.random.default_rng(2).random((90, 90)).astype(np.float32)
    at, halo = 45, reach(sigma)
    value = whole(image, sigma)[at, at]
    cut = slice(at - halo, at + halo + 1)
    assert whole(np.ascontiguousarray(image[cut, cut]), sigma)[halo, halo] == value
    less = slice(at - halo + 1, at + halo)
    assert whole(np.ascontiguousarray(image[less, less]), sigma)[halo - 1, halo - 1] != value


def test_widths_begin_with_none_and_go_beyond_the_largest():
    found = widths(8.0)
    assert found[:2] == (0.0, LEAST_PX)
    assert found[-2] < 8.0 * STEP
    assert found[-1] >= 8.0
    np.testing.assert_allclose(np.divide(found[2:], found[1:-1]), STEP)
    assert len(widths(0.01)) == 3


def test_the_least_error_lies_between_the_widths():
    sigmas = (0.0, 1.0, 3.0, 4.0)
    assert least(sigmas, np.array([s**3 / 3 - 1.3 * s**2 + 9 for s in sigmas])) == pytest.approx(2.6)  # s (s - 2.6)
    assert least(sigmas, np.array([1.0, 2.0, 3.0, 4.0])) == 0
    assert least(sigmas, np.array([4.0, 3.0, 2.0, 1.0])) == math.inf


# --- changed by a response -----------------------------------------------------------------------------------


def response(weights, frequency):
    at = np.arange(len(weights)) - len(weights) // 2
    return float((np.array(weights) * np.cos(2 * np.pi * frequency * at)).sum())


@pytest.mark.parametrize("gain", [0.2, 0.5, 1.3, 2.0, 4.0])
def test_the_response_is_a_gaussian_or_its_inverse_up_to_the_nyquist_frequency(gain):
    for frequency in (0.0, 0.1, 0.2, 0.3, 0.4):
        wanted = gain ** ((2 * frequency) ** 2)
        assert response(weights(gain), frequency) == pytest.approx(wanted, rel=0.03)
    assert response(weights(gain), 0.5) == pytest.approx(gain, rel=0.12)


def ripples(period, size=64):
    return np.tile(np.cos(2 * np.pi * np.arange(size) / period), (size, 1)).astype(np.float32)[None]


@pytest.mark.parametrize("gain", [0.3, 0.8, 1.0, 3.0])
def test_a_wave_changes_by_the_response_at_its_frequency(gain):
    """A Gaussian response is gain ** (2 f) ** 2 at f cycles per pixel: the fourth root at a period of four."""
    changed = change(ripples(4), (1.0, gain))
    inner = np.s_[0, 16:-16, 16:-16]
    np.testing.assert_allclose(changed[inner], gain**0.25 * ripples(4)[inner], atol=0.02)


def test_softened_and_sharpened_again_is_the_image():
    image = np.random.default_rng(0).normal(size=(1, 80, 80)).astype(np.float32)
    smooth = soften(image, (1.0, 1.0), rows=Span(0, 80), cols=Span(0, 80))
    again = change(change(smooth, (0.4, 0.4)), (2.5, 2.5))
    inner = np.s_[0, 16:-16, 16:-16]
    assert np.abs(again - smooth)[inner].max() < 0.02 * smooth.std()


def test_a_response_of_one_changes_nothing_and_no_data_stay():
    image = np.random.default_rng(0).normal(size=(1, 20, 20)).astype(np.float32)
    image[0, 5, 7] = np.nan
    np.testing.assert_array_equal(change(image, (1.0, 1.0)), image)
    for gain in (0.5, 2.0):
        changed = change(image, (gain, gain))
        np.testing.assert_array_equal(np.isnan(changed), np.isnan(image))


def test_pixels_beyond_the_margin_do_not_count():
    """Twice the reach of the weights: what is weighed, and what that is filled from."""
    image = np.random.default_rng(0).normal(size=(1, 60, 60)).astype(np.float32)
    image[0, 20:30, 20:30] = np.nan
    for gain in (0.25, 3.0):
        edge = MARGIN
        part = change(image[:, 5:55, 5:55], (gain, gain))[:, edge:-edge, edge:-edge]
        whole = change(image, (gain, gain))[:, 5:55, 5:55][:, edge:-edge, edge:-edge]
        np.testing.assert_array_equal(part, whole)
