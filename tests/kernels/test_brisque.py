import math

import numpy as np
import pytest

from xsr.core.errors import ModelError, WeightsError
from xsr.kernels import brisque


def textured(shape=(64, 80), seed=0):
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) / (0.05 + np.hypot(fy, fx)), shape)
    return 120 + 40 * field / field.std()


def test_contrast_by_definition():
    image = textured()
    weight = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    weight = np.outer(weight, weight) / weight.sum() ** 2
    padded = np.pad(image, 3)
    for i, j in ((0, 0), (10, 20), (63, 79)):
        window = padded[i : i + 7, j : j + 7]
        mean = (weight * window).sum()
        deviation = math.sqrt((weight * window**2).sum() - mean**2)
        assert brisque.mscn(image)[i, j] == pytest.approx((image[i, j] - mean) / (deviation + 1), abs=1e-10)


def test_a_flat_area_has_exactly_no_contrast():
    """Rounding there would choose the signs of the products."""
    image = np.full((40, 40), 255.0)
    image[20:] = textured((20, 40))
    assert not brisque.mscn(image)[5:15, 5:-5].any()


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0])
def test_the_shape_of_a_generalised_gaussian_is_found(shape):
    rng = np.random.default_rng(1)
    size = 400_000
    values = rng.choice([-1, 1], size) * rng.gamma(1 / shape, 1.0, size) ** (1 / shape)
    found, variance = brisque._symmetric(values)
    assert found == pytest.approx(shape, rel=0.02)
    assert variance == pytest.approx(values.var(), rel=1e-3)
    skewed = np.where(values < 0, 0.5 * values, values)
    _, mean, left, right = brisque._asymmetric(skewed)
    assert right > 3 * left
    assert mean > 0


def test_halving_keeps_constants_ramps_and_centres():
    np.testing.assert_allclose(brisque.halve(np.full((9, 12), 7.0)), np.full((5, 6), 7.0))
    ramp = np.arange(40.0)[:, None] + np.zeros(40)
    np.testing.assert_allclose(brisque.halve(ramp)[3:-3, 0], 2 * np.arange(20)[3:-3] + 0.5)


def test_features_are_36_numbers():
    found = brisque.features(textured())
    assert found.shape == (36,)
    assert np.isfinite(found).all()


def test_rounding_to_8_bits_changes_the_features():
    """Of a smooth image; the reason why reflectance is not rounded."""
    smooth = 20 + 0.5 * (textured() - 120) / 40
    assert abs(brisque.features(smooth)[0] - brisque.features(np.rint(smooth))[0]) > 0.05


def test_no_data_is_left_out():
    image = textured((200, 200))
    holed = np.where(np.random.default_rng(2).random(image.shape) < 0.001, np.nan, image)
    whole, found = brisque.features(image), brisque.features(holed)
    np.testing.assert_allclose(found[:18], whole[:18], rtol=0.1, atol=0.02)


@pytest.mark.parametrize("image", [np.full((40, 40), np.nan), np.full((40, 40), 3.0), np.zeros((15, 60))])
def test_nothing_to_measure(image):
    assert np.isnan(brisque.features(image)).any()


def test_luminance_is_clipped_and_not_rounded():
    found = brisque.luminance(np.array([-0.1, 0.1, 1.5], np.float32))
    np.testing.assert_allclose(found, [0, 25.5, 255], rtol=1e-6)


def write_model(folder, kernel="rbf"):
    """A model of two vectors, written as libsvm does."""
    ones = " ".join(f"{k}:1" for k in range(1, 37))
    zeros = " ".join(f"{k}:0" for k in range(1, 37))
    text = f"svm_type epsilon_svr\nkernel_type {kernel}\ngamma 0.5\nnr_class 2\ntotal_sv 2\nrho -10\nSV\n"
    (folder / "allmodel").write_text(f"{text}2 {ones} \n-1 {zeros} \n")
    (folder / "allrange").write_text("x\n-1 1\n" + "".join(f"{k} 0 4\n" for k in range(1, 37)))
    return folder / "allmodel"


def test_score_by_hand(tmp_path):
    model = brisque.read_model(write_model(tmp_path))
    # features of 4 are scaled to 1, of 2 to 0
    far = math.exp(-0.5 * 36)
    assert model.score(np.full(36, 4.0)) == pytest.approx(10 + 2 - far)
    assert model.score(np.full(36, 2.0)) == pytest.approx(10 + 2 * far - 1)
    assert math.isnan(model.score(np.full(36, np.nan)))


def test_a_missing_or_wrong_model_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="does not exist; expected the BRISQUE model"):
        brisque.read_model(tmp_path / "allmodel")
    with pytest.raises(ModelError, match="cannot be read as a BRISQUE model"):
        brisque.read_model(write_model(tmp_path, kernel="linear"))


@pytest.mark.parametrize(
    ("image", "score", "off"), [("testimage1.bmp", 97.4302, 5e-5), ("testimage2.bmp", 32.0284, 0.01)]
)
def test_scores_of_the_released_model(data_dir, image, score, off):
    """The authors' model and images (utlive/BRISQUE); numbers of an independent NumPy implementation.

    The second image has saturated areas, where rounding chooses signs: implementations differ by 0.017 there.
    """
    from PIL import Image

    folder = data_dir / "brisque_utaustin"
    if not folder.is_dir():
        pytest.skip("no BRISQUE model in XSR_DATA")
    rgb = np.asarray(Image.open(folder / image), np.float64)
    grey = np.rint(rgb @ [0.298936021293775, 0.587043074451121, 0.114020904255103])  # MATLAB's rgb2gray
    model = brisque.read_model(folder / "allmodel")
    assert model.score(brisque.features(grey)) == pytest.approx(score, abs=off)
