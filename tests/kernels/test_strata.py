import numpy as np
import pytest

from xsr.kernels import strata
from xsr.kernels.pixels import COUNT, map_sums


def pair(*shape, noise=0.05, seed=3):
    rng = np.random.default_rng(seed)
    reference = rng.random(shape, dtype=np.float32)
    return (reference + noise * rng.standard_normal(shape)).astype(np.float32), reference


def holed(image, share, seed=5):
    return np.where(np.random.default_rng(seed).random(image.shape) < share, np.float32(np.nan), image)


def direct_gradient(image, pixel_m):
    from scipy.ndimage import sobel

    wide = image.astype(np.float64)
    gy, gx = (sobel(wide, axis=axis)[1:-1, 1:-1] / 8 / size for axis, size in zip((0, 1), pixel_m, strict=True))
    return np.hypot(gy, gx)


@pytest.mark.slow
def test_gradient_of_a_ramp_is_its_slope_per_metre():
    y, x = np.mgrid[:9, :7].astype(np.float32)
    ramp = (0.03 * y * 5 + 0.04 * x * 2)[None]
    np.testing.assert_allclose(strata.gradient(ramp, (5.0, 2.0)), 0.05, rtol=1e-5)


def test_gradient_equals_scipy():
    image = pair(1, 30, 20)[1]
    ours = strata.gradient(image, (10.0, 20.0))[0]
    np.testing.assert_allclose(ours, direct_gradient(image[0], (10.0, 20.0)), rtol=1e-4, atol=1e-8)


def test_gradient_needs_all_neighbours():
    image = pair(1, 7, 7)[1]
    image[0, 3, 3] = np.nan
    assert np.isnan(strata.gradient(image, (1.0, 1.0))).sum() == 8  # the middle has no weight in Sobel's kernels


@pytest.mark.slow
def test_strata_equal_masks():
    image, reference = pair(2, 40, 33)
    image = holed(image, 0.1)
    edges = np.array([0, 0.01, 0.02, 0.03, np.inf])
    sums = strata.strata_sums(image, reference, pixel_m=(10.0, 10.0), edges=edges)
    steep = strata.gradient(reference, (10.0, 10.0))
    error = (image.astype(np.float64) - reference)[:, 1:-1, 1:-1]
    for k in range(4):
        for b in range(2):
            inside = (steep[b] >= edges[k]) & (steep[b] < edges[k + 1]) & np.isfinite(error[b])
            e = error[b][inside]
            level = reference[b, 1:-1, 1:-1][inside].sum(dtype=float)
            expected = [e.size, e.sum(), np.abs(e).sum(), (e**2).sum(), level]
            np.testing.assert_allclose(sums[b, k], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_bins_hold_what_their_edges_say():
    image, reference = pair(1, 50, 50)
    sums = strata.strata_sums(image, reference, pixel_m=(10.0, 10.0), edges=None)
    steep = strata.gradient(reference, (10.0, 10.0))
    assert np.array_equal(sums[0, :, COUNT], np.histogram(steep, strata.bin_edges())[0])


def test_merged_bins_equal_strata_with_their_edges():
    image, reference = pair(1, 60, 50)
    bins = strata.strata_sums(image, reference, pixel_m=(10.0, 10.0), edges=None)[0]
    merged, edges = strata.merge_bins(bins, np.array([0, 0.25, 0.5, 0.75, 1]))
    direct = strata.strata_sums(image, reference, pixel_m=(10.0, 10.0), edges=edges)[0]
    np.testing.assert_allclose(merged, direct, rtol=1e-9, atol=1e-9)
    exact = np.quantile(strata.gradient(reference, (10.0, 10.0)), [0.25, 0.5, 0.75])
    np.testing.assert_allclose(edges[1:-1], exact, rtol=0.008)


def test_merged_bins_of_a_constant_image():
    flat = np.full((1, 9, 9), 0.3, np.float32)
    bins = strata.strata_sums(flat, flat, pixel_m=(1.0, 1.0), edges=None)[0]
    merged, edges = strata.merge_bins(bins, np.array([0, 0.5, 1]))
    assert merged[:, COUNT].sum() == 49
    assert sorted(merged[:, COUNT]) == [0, 49]
    assert edges[0] == 0


def test_merged_bins_without_pixels():
    merged, edges = strata.merge_bins(np.zeros((strata.BINS, 5)), np.array([0, 0.5, 1]))
    assert not merged.any()
    assert np.isnan(edges).all()


@pytest.mark.slow
@pytest.mark.parametrize("edges", [None, np.array([0.01, 0.02, 0.03])])
def test_pixels_have_the_stratum_that_the_sums_count_them_in(edges):
    reference = holed(pair(1, 40, 33)[1], 0.01)
    index = strata.strata_index(reference, pixel_m=(10.0, 10.0), edges=edges)
    sums = strata.strata_sums(reference, reference, pixel_m=(10.0, 10.0), edges=edges)
    ones = np.where(np.isfinite(reference[:, 1:-1, 1:-1]), 1.0, np.nan)
    found = map_sums(2 * ones[:1], index[0], strata=sums.shape[1])
    np.testing.assert_array_equal(found, sums[0, :, [COUNT, COUNT]].T * [1, 2])
    assert (index == -1).any()
