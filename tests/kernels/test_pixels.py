import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from xsr.kernels import pixels
from xsr.kernels.pixels import ABSOLUTE, COUNT, ERROR, REFERENCE, SQUARED


def pair(*shape, noise=0.05, seed=3):
    rng = np.random.default_rng(seed)
    reference = rng.random(shape, dtype=np.float32)
    return (reference + noise * rng.standard_normal(shape)).astype(np.float32), reference


def holed(image, share, seed=5):
    return np.where(np.random.default_rng(seed).random(image.shape) < share, np.float32(np.nan), image)


def angles(image, reference):
    """Number of pixels that have an angle, and the sum."""
    found = pixels.angle_map(image, reference)
    return np.isfinite(found).sum(), np.nansum(found)


@pytest.fixture(scope="module")
def tm():
    return pytest.importorskip("torchmetrics.functional.image", exc_type=ImportError)


@pytest.fixture(scope="module")
def sewar():
    return pytest.importorskip("sewar", exc_type=ImportError)


def tensors(image, reference):
    import torch

    return torch.from_numpy(image[None]), torch.from_numpy(reference[None])


def test_errors_by_hand():
    image = np.array([[[1.0, 2.0, np.nan], [0.5, np.inf, 4.0]]], np.float32)
    reference = np.array([[[0.5, 4.0, 1.0], [0.5, 1.0, np.nan]]], np.float32)
    assert pixels.error_sums(image, reference).tolist() == [[3, -1.5, 2.5, 4.25, 5.0]]


def test_errors_equal_numpy():
    image, reference = pair(3, 31, 22)
    image, reference = holed(image, 0.2), holed(reference, 0.1, seed=6)
    sums = pixels.error_sums(image, reference)
    error = image.astype(np.float64) - reference
    known = np.isfinite(error)
    assert np.array_equal(sums[:, COUNT], known.sum(axis=(1, 2)))
    for column, values in ((ERROR, error), (ABSOLUTE, np.abs(error)), (SQUARED, error**2)):
        np.testing.assert_allclose(sums[:, column], np.nansum(values, axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(sums[:, REFERENCE], np.where(known, reference, 0.0).sum(axis=(1, 2), dtype=float))


def test_psnr_equals_scikit_image():
    image, reference = pair(1, 40, 50)
    sums = pixels.error_sums(image, reference)[0]
    ours = 10 * math.log10(1 / (sums[SQUARED] / sums[COUNT]))
    theirs = peak_signal_noise_ratio(reference.astype(float), image.astype(float), data_range=1.0)
    assert ours == pytest.approx(theirs, abs=1e-10)


@pytest.mark.slow
def test_angle_by_hand():
    image = np.array([[[1.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]]], np.float32)
    reference = np.array([[[0.0, 2.0, 1.0]], [[3.0, 2.0, 1.0]]], np.float32)
    count, total = angles(image, reference)
    assert count == 2  # the last spectrum is zero
    assert total == pytest.approx(math.pi / 2, abs=1e-7)


def test_angle_of_one_band_is_zero():
    image, reference = pair(1, 5, 5, noise=0.0)
    assert angles(2 * image, reference)[1] == 0


@pytest.mark.slow
def test_sam_equals_torchmetrics(tm):
    image, reference = pair(4, 20, 30)
    count, total = angles(image, reference)
    assert total / count == pytest.approx(float(tm.spectral_angle_mapper(*tensors(image, reference))), abs=1e-6)


def test_ergas_equals_torchmetrics_and_sewar(tm, sewar):
    """Torchmetrics' ratio is low over high pixel size, sewar's its inverse."""
    image, reference = pair(4, 20, 30)
    sums = pixels.error_sums(image, reference)
    ours = 100 / 4 * math.sqrt(np.mean(sums[:, SQUARED] / sums[:, COUNT] / (sums[:, REFERENCE] / sums[:, COUNT]) ** 2))
    theirs = tm.error_relative_global_dimensionless_synthesis(*tensors(image, reference), ratio=4)
    assert ours == pytest.approx(float(theirs), rel=1e-5)
    channels_last = [np.moveaxis(x, 0, -1).astype(np.float64) for x in (reference, image)]
    assert ours == pytest.approx(sewar.ergas(*channels_last, r=0.25), rel=1e-9)


def test_sam_equals_sewar_where_all_pixels_agree(sewar):
    """Sewar's angle is that of the image as one long vector; for one pixel it is ours."""
    image, reference = pair(4, 1, 1)
    channels_last = [np.moveaxis(x, 0, -1).astype(np.float64) for x in (reference, image)]
    assert angles(image, reference)[1] == pytest.approx(sewar.sam(*channels_last), abs=1e-9)


def test_an_angle_needs_all_bands():
    image, reference = pair(2, 20, 30)
    image = holed(image, 0.1)
    assert np.array_equal(np.isnan(pixels.angle_map(image, reference)), np.isnan(image).any(axis=0))


def test_maps_are_counted_where_all_are_finite():
    maps = np.array([[[1.0, 2.0, np.nan], [4.0, 8.0, 16.0]], [[1.0, np.inf, 1.0], [1.0, 1.0, 1.0]]])
    assert pixels.map_sums(maps).tolist() == [[4, 29, 4]]
    index = np.array([[0, 0, 0], [1, -1, 1]], np.int32)
    assert pixels.map_sums(maps, index, strata=3).tolist() == [[1, 1, 1], [2, 20, 2], [0, 0, 0]]
