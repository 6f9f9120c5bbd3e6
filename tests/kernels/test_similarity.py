import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from skimage.metrics import structural_similarity

from xsr.kernels import similarity


def pair(*shape, noise=0.05, seed=3):
    rng = np.random.default_rng(seed)
    reference = rng.random(shape, dtype=np.float32)
    return (reference + noise * rng.standard_normal(shape)).astype(np.float32), reference


def holed(image, share, seed=5):
    return np.where(np.random.default_rng(seed).random(image.shape) < share, np.float32(np.nan), image)


def window_sums(image, reference, **settings):
    """Number of valid windows and the sum of their index, band by band."""
    found = similarity.window_map(image, reference, **settings)
    return np.stack([np.isfinite(found).sum(axis=(1, 2)), np.nansum(found, axis=(1, 2))], axis=1)


def mean(sums):
    return sums[:, 1] / sums[:, 0]


@pytest.fixture(scope="module")
def tm():
    return pytest.importorskip("torchmetrics.functional.image", exc_type=ImportError)


def tensors(image, reference):
    import torch

    return torch.from_numpy(image[None]), torch.from_numpy(reference[None])


@pytest.mark.slow
def test_ssim_equals_scikit_image():
    image, reference = pair(2, 33, 47)
    sums = window_sums(
        image, reference, window=similarity.gaussian_window(), kind=similarity.SIMILARITY, data_range=0.8
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
    sums = window_sums(image, reference, window=similarity.uniform_window(), kind=similarity.QUALITY)
    value, count = direct_quality(image[0], reference[0])
    assert sums[0, 0] == count > 0
    assert mean(sums)[0] == pytest.approx(value, abs=1e-10)


def test_uqi_of_flat_windows():
    """Two constant images differ in level alone; two black ones not at all (Wang & Bovik's release)."""
    flat = np.full((1, 12, 12), 0.2, np.float32)
    index = {"window": similarity.uniform_window(), "kind": similarity.QUALITY}
    assert mean(window_sums(flat, 2 * flat, **index))[0] == pytest.approx(2 * 0.5 / 1.25, abs=1e-6)
    assert mean(window_sums(0 * flat, 0 * flat, **index))[0] == 1
    assert mean(window_sums(flat, pair(1, 12, 12)[1], **index))[0] == pytest.approx(0, abs=1e-9)


def test_correlation_of_flat_windows_is_zero():
    flat = np.full((1, 12, 12), 0.2, np.float32)
    sums = window_sums(flat, flat, window=similarity.uniform_window(), kind=similarity.CORRELATION)
    assert sums.tolist() == [[25, 0]]


def test_laplacian_by_hand():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4) ** 2
    expected = [9 * image[0, 1, j] - image[0, :, j - 1 : j + 2].sum() for j in (1, 2)]
    assert similarity.laplacian(image).ravel().tolist() == expected


@pytest.mark.parametrize("shape", [(1, 4, 30), (2, 30, 7), (1, 1, 1)])
def test_an_image_smaller_than_a_window_has_none(shape):
    image, reference = pair(*shape)
    assert window_sums(image, reference, window=similarity.uniform_window(), kind=similarity.QUALITY).max() == 0


def test_uqi_equals_torchmetrics(tm):
    """Torchmetrics takes the Gaussian window of SSIM, and stops its sums at the border as we do."""
    image, reference = pair(1, 40, 44)
    sums = window_sums(image, reference, window=similarity.gaussian_window(), kind=similarity.QUALITY)
    theirs = tm.universal_image_quality_index(*tensors(image, reference), kernel_size=(11, 11), sigma=(1.5, 1.5))
    assert mean(sums)[0] == pytest.approx(float(theirs), abs=1e-5)


@pytest.mark.slow
def test_scc_equals_torchmetrics_inside(tm):
    """Torchmetrics pads; its map is ours where no padding enters."""
    from torchmetrics.functional.image.scc import _scc_per_channel_compute

    image, reference = pair(1, 40, 36)
    detail = [similarity.laplacian(x) for x in (image, reference)]
    sums = window_sums(*detail, window=similarity.uniform_window(), kind=similarity.CORRELATION)
    import torch

    kernel = torch.tensor([[[[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]]])
    full = _scc_per_channel_compute(*tensors(image, reference), kernel, 8)[0, 0]
    inner = full[5:-4, 5:-4]  # 1 of the Laplacian; 4 before and 3 after of the window
    assert sums[0, 0] == inner.numel()
    assert mean(sums)[0] == pytest.approx(float(inner.mean()), abs=1e-5)
