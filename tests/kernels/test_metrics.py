import math

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from xsr.kernels import metrics
from xsr.kernels.metrics import ABSOLUTE, COUNT, ERROR, REFERENCE, SQUARED


def pair(*shape, noise=0.05, seed=3):
    rng = np.random.default_rng(seed)
    reference = rng.random(shape, dtype=np.float32)
    return (reference + noise * rng.standard_normal(shape)).astype(np.float32), reference


def holed(image, share, seed=5):
    return np.where(np.random.default_rng(seed).random(image.shape) < share, np.float32(np.nan), image)


def mean(sums):
    return sums[:, 1] / sums[:, 0]


# --- pixels ------------------------------------------------------------------------------------------------


def test_errors_by_hand():
    image = np.array([[[1.0, 2.0, np.nan], [0.5, np.inf, 4.0]]], np.float32)
    reference = np.array([[[0.5, 4.0, 1.0], [0.5, 1.0, np.nan]]], np.float32)
    assert metrics.error_sums(image, reference).tolist() == [[3, -1.5, 2.5, 4.25, 5.0]]


def test_errors_equal_numpy():
    image, reference = pair(3, 31, 22)
    image, reference = holed(image, 0.2), holed(reference, 0.1, seed=6)
    sums = metrics.error_sums(image, reference)
    error = image.astype(np.float64) - reference
    known = np.isfinite(error)
    assert np.array_equal(sums[:, COUNT], known.sum(axis=(1, 2)))
    for column, values in ((ERROR, error), (ABSOLUTE, np.abs(error)), (SQUARED, error**2)):
        np.testing.assert_allclose(sums[:, column], np.nansum(values, axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(sums[:, REFERENCE], np.where(known, reference, 0.0).sum(axis=(1, 2), dtype=float))


def test_psnr_equals_scikit_image():
    image, reference = pair(1, 40, 50)
    sums = metrics.error_sums(image, reference)[0]
    ours = 10 * math.log10(1 / (sums[SQUARED] / sums[COUNT]))
    theirs = peak_signal_noise_ratio(reference.astype(float), image.astype(float), data_range=1.0)
    assert ours == pytest.approx(theirs, abs=1e-10)


@pytest.mark.slow
def test_angle_by_hand():
    image = np.array([[[1.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]]], np.float32)
    reference = np.array([[[0.0, 2.0, 1.0]], [[3.0, 2.0, 1.0]]], np.float32)
    count, total = metrics.angle_sums(image, reference)
    assert count == 2  # the last spectrum is zero
    assert total == pytest.approx(math.pi / 2, abs=1e-7)


def test_angle_of_one_band_is_zero():
    image, reference = pair(1, 5, 5, noise=0.0)
    assert metrics.angle_sums(2 * image, reference)[1] == 0


# --- sliding windows ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ssim_equals_scikit_image():
    image, reference = pair(2, 33, 47)
    sums = metrics.window_sums(
        image, reference, window=metrics.gaussian_window(), kind=metrics.SIMILARITY, data_range=0.8
    )
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 0.8}
    theirs = [
        structural_similarity(a.astype(float), b.astype(float), **settings)
        for a, b in zip(image, reference, strict=True)
    ]
    np.testing.assert_allclose(mean(sums), theirs, atol=1e-10)


def direct_quality(image, reference):
    """Universal quality index by its definition, window by window."""
    x, y = (sliding_window_view(i.astype(np.float64), (8, 8)).reshape(-1, 64) for i in (image, reference))
    keep = np.isfinite(x + y).all(axis=1)
    x, y = x[keep], y[keep]
    mx, my = x.mean(axis=1), y.mean(axis=1)
    cov = ((x - mx[:, None]) * (y - my[:, None])).mean(axis=1)
    return (4 * cov * mx * my / ((x.var(axis=1) + y.var(axis=1)) * (mx**2 + my**2))).mean(), keep.sum()


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_uqi_equals_its_definition(share):
    image, reference = pair(1, 30, 25)
    image = holed(image, share)
    sums = metrics.window_sums(image, reference, window=metrics.uniform_window(), kind=metrics.QUALITY)
    value, count = direct_quality(image[0], reference[0])
    assert sums[0, 0] == count > 0
    assert mean(sums)[0] == pytest.approx(value, abs=1e-10)


def test_uqi_of_flat_windows():
    """Two constant images differ in level alone; two black ones not at all (Wang & Bovik's release)."""
    flat = np.full((1, 12, 12), 0.2, np.float32)
    index = {"window": metrics.uniform_window(), "kind": metrics.QUALITY}
    assert mean(metrics.window_sums(flat, 2 * flat, **index))[0] == pytest.approx(2 * 0.5 / 1.25, abs=1e-6)
    assert mean(metrics.window_sums(0 * flat, 0 * flat, **index))[0] == 1
    assert mean(metrics.window_sums(flat, pair(1, 12, 12)[1], **index))[0] == pytest.approx(0, abs=1e-9)


def test_correlation_of_flat_windows_is_zero():
    flat = np.full((1, 12, 12), 0.2, np.float32)
    sums = metrics.window_sums(flat, flat, window=metrics.uniform_window(), kind=metrics.CORRELATION)
    assert sums.tolist() == [[25, 0]]


def test_laplacian_by_hand():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4) ** 2
    expected = [9 * image[0, 1, j] - image[0, :, j - 1 : j + 2].sum() for j in (1, 2)]
    assert metrics.laplacian(image).ravel().tolist() == expected


@pytest.mark.parametrize("shape", [(1, 4, 30), (2, 30, 7), (1, 1, 1)])
def test_an_image_smaller_than_a_window_has_none(shape):
    image, reference = pair(*shape)
    assert metrics.window_sums(image, reference, window=metrics.uniform_window(), kind=metrics.QUALITY).max() == 0


# --- the same against independent packages -----------------------------------------------------------------


@pytest.fixture(scope="module")
def tm():
    return pytest.importorskip("torchmetrics.functional.image", exc_type=ImportError)


@pytest.fixture(scope="module")
def sewar():
    return pytest.importorskip("sewar", exc_type=ImportError)


def tensors(image, reference):
    import torch

    return torch.from_numpy(image[None]), torch.from_numpy(reference[None])


@pytest.mark.slow
def test_sam_equals_torchmetrics(tm):
    image, reference = pair(4, 20, 30)
    count, total = metrics.angle_sums(image, reference)
    assert total / count == pytest.approx(float(tm.spectral_angle_mapper(*tensors(image, reference))), abs=1e-6)


def test_uqi_equals_torchmetrics(tm):
    """Torchmetrics takes the Gaussian window of SSIM, and stops its sums at the border as we do."""
    image, reference = pair(1, 40, 44)
    sums = metrics.window_sums(image, reference, window=metrics.gaussian_window(), kind=metrics.QUALITY)
    theirs = tm.universal_image_quality_index(*tensors(image, reference), kernel_size=(11, 11), sigma=(1.5, 1.5))
    assert mean(sums)[0] == pytest.approx(float(theirs), abs=1e-5)


@pytest.mark.slow
def test_scc_equals_torchmetrics_inside(tm):
    """Torchmetrics pads; its map is ours where no padding enters."""
    from torchmetrics.functional.image.scc import _scc_per_channel_compute

    image, reference = pair(1, 40, 36)
    detail = [metrics.laplacian(x) for x in (image, reference)]
    sums = metrics.window_sums(*detail, window=metrics.uniform_window(), kind=metrics.CORRELATION)
    import torch

    kernel = torch.tensor([[[[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]]])
    full = _scc_per_channel_compute(*tensors(image, reference), kernel, 8)[0, 0]
    inner = full[5:-4, 5:-4]  # 1 of the Laplacian; 4 before and 3 after of the window
    assert sums[0, 0] == inner.numel()
    assert mean(sums)[0] == pytest.approx(float(inner.mean()), abs=1e-5)


def test_ergas_equals_torchmetrics_and_sewar(tm, sewar):
    """Torchmetrics' ratio is low over high pixel size, sewar's its inverse."""
    image, reference = pair(4, 20, 30)
    sums = metrics.error_sums(image, reference)
    ours = 100 / 4 * math.sqrt(np.mean(sums[:, SQUARED] / sums[:, COUNT] / (sums[:, REFERENCE] / sums[:, COUNT]) ** 2))
    theirs = tm.error_relative_global_dimensionless_synthesis(*tensors(image, reference), ratio=4)
    assert ours == pytest.approx(float(theirs), rel=1e-5)
    channels_last = [np.moveaxis(x, 0, -1).astype(np.float64) for x in (reference, image)]
    assert ours == pytest.approx(sewar.ergas(*channels_last, r=0.25), rel=1e-9)


def test_sam_equals_sewar_where_all_pixels_agree(sewar):
    """Sewar's angle is that of the image as one long vector; for one pixel it is ours."""
    image, reference = pair(4, 1, 1)
    channels_last = [np.moveaxis(x, 0, -1).astype(np.float64) for x in (reference, image)]
    assert metrics.angle_sums(image, reference)[1] == pytest.approx(sewar.sam(*channels_last), abs=1e-9)


# --- strata ------------------------------------------------------------------------------------------------


def direct_gradient(image, pixel_m):
    from scipy.ndimage import sobel

    wide = image.astype(np.float64)
    gy, gx = (sobel(wide, axis=axis)[1:-1, 1:-1] / 8 / size for axis, size in zip((0, 1), pixel_m, strict=True))
    return np.hypot(gy, gx)


@pytest.mark.slow
def test_gradient_of_a_ramp_is_its_slope_per_metre():
    y, x = np.mgrid[:9, :7].astype(np.float32)
    ramp = (0.03 * y * 5 + 0.04 * x * 2)[None]
    np.testing.assert_allclose(metrics.gradient(ramp, (5.0, 2.0)), 0.05, rtol=1e-5)


def test_gradient_equals_scipy():
    image = pair(1, 30, 20)[1]
    ours = metrics.gradient(image, (10.0, 20.0))[0]
    np.testing.assert_allclose(ours, direct_gradient(image[0], (10.0, 20.0)), rtol=1e-4, atol=1e-8)


def test_gradient_needs_all_neighbours():
    image = pair(1, 7, 7)[1]
    image[0, 3, 3] = np.nan
    assert np.isnan(metrics.gradient(image, (1.0, 1.0))).sum() == 8  # the middle has no weight in Sobel's kernels


@pytest.mark.slow
def test_strata_equal_masks():
    image, reference = pair(2, 40, 33)
    image = holed(image, 0.1)
    edges = np.array([0, 0.01, 0.02, 0.03, np.inf])
    sums = metrics.strata_sums(image, reference, pixel_m=(10.0, 10.0), edges=edges)
    steep = metrics.gradient(reference, (10.0, 10.0))
    error = (image.astype(np.float64) - reference)[:, 1:-1, 1:-1]
    for k in range(4):
        for b in range(2):
            inside = (steep[b] >= edges[k]) & (steep[b] < edges[k + 1]) & np.isfinite(error[b])
            e = error[b][inside]
            expected = [e.size, e.sum(), np.abs(e).sum(), (e**2).sum()]
            np.testing.assert_allclose(sums[b, k], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_bins_hold_what_their_edges_say():
    image, reference = pair(1, 50, 50)
    sums = metrics.histogram_sums(image, reference, pixel_m=(10.0, 10.0))
    steep = metrics.gradient(reference, (10.0, 10.0))
    assert np.array_equal(sums[0, :, COUNT], np.histogram(steep, metrics.bin_edges())[0])


def test_merged_bins_equal_strata_with_their_edges():
    image, reference = pair(1, 60, 50)
    bins = metrics.histogram_sums(image, reference, pixel_m=(10.0, 10.0))[0]
    merged, edges = metrics.merge_bins(bins, np.array([0, 0.25, 0.5, 0.75, 1]))
    direct = metrics.strata_sums(image, reference, pixel_m=(10.0, 10.0), edges=edges)[0]
    np.testing.assert_allclose(merged, direct, rtol=1e-9, atol=1e-9)
    exact = np.quantile(metrics.gradient(reference, (10.0, 10.0)), [0.25, 0.5, 0.75])
    np.testing.assert_allclose(edges[1:-1], exact, rtol=0.008)


def test_merged_bins_of_a_constant_image():
    flat = np.full((1, 9, 9), 0.3, np.float32)
    bins = metrics.histogram_sums(flat, flat, pixel_m=(1.0, 1.0))[0]
    merged, edges = metrics.merge_bins(bins, np.array([0, 0.5, 1]))
    assert merged[:, COUNT].sum() == 49
    assert sorted(merged[:, COUNT]) == [0, 49]
    assert edges[0] == 0


def test_merged_bins_without_pixels():
    merged, edges = metrics.merge_bins(np.zeros((metrics.BINS, 4)), np.array([0, 0.5, 1]))
    assert not merged.any()
    assert np.isnan(edges).all()


# --- maps --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_maps_add_up_to_the_sums():
    image, reference = pair(2, 40, 33)
    image = holed(image, 0.01)
    for metric, (before, after) in metrics.WINDOW_REACH.items():
        windows = metrics.windows_of(metric, image, reference, halo=6, data_range=1.0)
        found, sums = metrics.window_map(**windows), metrics.window_sums(**windows)
        assert found.shape == (2, 28, 21)
        assert max(before, after) <= 6
        np.testing.assert_array_equal(np.isfinite(found).sum(axis=(1, 2)), sums[:, 0])
        np.testing.assert_allclose(np.nansum(found, axis=(1, 2)), sums[:, 1], rtol=1e-12)
        assert 0 < sums[0, 0] < 28 * 21
    angles = metrics.angle_map(image, reference)
    assert metrics.angle_sums(image, reference) == pytest.approx([np.isfinite(angles).sum(), np.nansum(angles)])
    assert np.array_equal(np.isnan(angles), np.isnan(image).any(axis=0))


@pytest.mark.slow
@pytest.mark.parametrize("edges", [None, np.array([0.01, 0.02, 0.03])])
def test_pixels_have_the_stratum_that_the_sums_count_them_in(edges):
    reference = holed(pair(1, 40, 33)[1], 0.01)
    index = metrics.strata_index(reference, pixel_m=(10.0, 10.0), edges=edges)
    if edges is None:
        sums = metrics.histogram_sums(reference, reference, pixel_m=(10.0, 10.0))
    else:
        sums = metrics.strata_sums(reference, reference, pixel_m=(10.0, 10.0), edges=edges)
    ones = np.where(np.isfinite(reference[:, 1:-1, 1:-1]), 1.0, np.nan)
    found = np.zeros((sums.shape[1], 2))
    metrics.add_map(index[0], 2 * ones[0], found)
    np.testing.assert_array_equal(found, sums[0, :, [COUNT, COUNT]].T * [1, 2])
    assert (index == -1).any()
