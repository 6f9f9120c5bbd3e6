"""Shares and scores of detail by hand and by other Gaussians."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from xsr.kernels.support import FLAT, HALO, SPREAD, TOLERATED, hallucination, measured_share


def score(residual, inferred, low, noise=0.001):
    one = [np.asarray(image, np.float32)[None] for image in (residual, inferred, low)]
    return hallucination(*one, noise=noise)[0]


def smooth(image, sigma):
    return gaussian_filter(image, sigma, mode="mirror", truncate=4)


def test_a_share_is_that_of_energies_and_one_without_detail():
    share = measured_share(np.float32([4e-4, 0, 1e-4, 0]), np.float32([0, 1e-4, 3e-4, 0]))
    np.testing.assert_allclose(share, [1, 0, 0.25, 1], atol=2e-4)
    assert share[-1] == 1
    assert np.isnan(measured_share(np.float32([np.nan]), np.float32([1])))


def test_in_a_flat_image_the_score_is_the_contradiction_in_units_of_the_noise():
    low, residual = np.full((40, 40), 0.2), np.zeros((40, 40))
    residual[20, 20], residual[5, 5] = 0.004, -0.003
    found = score(residual, np.zeros((40, 40)), low, noise=0.001)
    assert found[20, 20] == pytest.approx(4, rel=1e-4)
    assert found[5, 5] == pytest.approx(3, rel=1e-4)
    assert np.count_nonzero(found) == 2


def test_detail_counts_beyond_what_is_usual_around_it():
    rng = np.random.default_rng(0)
    low, inferred = 0.2 + 0.01 * rng.standard_normal((60, 60)), np.full((60, 60), 1e-6)
    inferred[30, 30] = 4e-3
    found = score(np.zeros((60, 60)), inferred, low)
    assert found[30, 30] == found.max() > 5
    assert np.median(found) < 0.5


def test_the_score_is_its_formula():
    rng = np.random.default_rng(1)
    low, residual = (scale * rng.standard_normal((50, 45)) for scale in (0.02, 0.003))
    inferred = np.square(0.004 * rng.standard_normal((50, 45)))
    contrast = smooth(np.square(low - smooth(low, 1)), 1)
    usual = 0.002**2 + smooth(inferred, 4) / (smooth(contrast, 4) + FLAT**2) * contrast
    excess = np.maximum(np.sqrt(inferred / usual) - 1, 0) / SPREAD
    expected = np.sqrt(residual**2 / (0.002**2 + TOLERATED**2 * contrast) + excess**2)
    np.testing.assert_allclose(score(residual, inferred, low, noise=0.002), expected, rtol=2e-4, atol=2e-4)


def test_pixels_beyond_the_halo_do_not_count():
    rng = np.random.default_rng(2)
    inferred, low = rng.random((2, 2 * HALO + 3, 9), dtype=np.float32)
    residual, inferred[HALO + 1, 4] = np.zeros_like(low), 50
    before = score(residual, inferred, low)[HALO + 1, 4]
    for row, counts in ((0, False), (1, True)):
        other = low.copy()
        other[row, 4] = 1e7
        assert (score(residual, inferred, other)[HALO + 1, 4] != before) == counts
