import numpy as np
import pytest
from common.matched_scores import Judge, detail, fitted, windows
from helpers import make_cube
from scipy.ndimage import gaussian_filter

pytestmark = pytest.mark.filterwarnings("ignore:the reference is as sharp")


def image(seed, shape=(2, 120, 110)):
    values = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), (0, 1, 1))
    return make_cube((0.2 + 0.05 * values).astype(np.float32)[None], gsd=5.0).isel(time=0, drop=True)


def test_detail_is_what_a_gaussian_takes_away():
    cube = image(0)
    expected = cube.values - gaussian_filter(cube.values.astype(float), (0, 2, 2), mode="mirror", truncate=4)
    np.testing.assert_allclose(detail(cube, 10.0), expected, atol=2e-6)
    assert np.abs(detail(cube + 0.3, 10.0) - detail(cube, 10.0)).max() < 1e-6


def test_a_sharper_result_is_judged_by_its_detail_and_not_by_its_sharpness():
    truth = image(1, (2, 200, 190))
    reference = truth.sr.match_psf(sigma_m=6)
    base = truth.sr.match_psf(sigma_m=12)
    found = Judge(reference, base, 5.0).scores(truth)
    assert found["width, m"] == pytest.approx(6, rel=0.02)
    assert found["RMSE"] < 0.02
    assert found["β"] == pytest.approx(1, abs=0.02)
    assert found["ρ"] > 0.999
    assert found["RMSE, not matched"] > 1
    assert found["β, not matched"] < 0.7
    assert max(found[f"RMSE, quartile {number}"] for number in (1, 2, 3, 4)) < 0.05


def test_shares_of_error_follow_from_gain_and_correlation():
    truth = image(2, (1, 200, 190))
    base = truth.sr.match_psf(sigma_m=9)
    noise = image(3, (1, 200, 190)) - 0.2
    found = Judge(truth, base, 5.0).scores(base + 0.5 * (truth - base) + 0.3 * noise)
    gain, correlation = found["β, not matched"], found["ρ, not matched"]
    share = np.sqrt(1 - correlation**2 * (2 / gain - 1 / gain**2))
    assert found["RMSE, not matched"] == pytest.approx(share, rel=1e-3)


def test_a_filter_is_fitted_exactly_and_one_half_judges_the_other():
    plain = image(4, (2, 150, 140))
    kernel = np.random.default_rng(5).standard_normal((2, 9, 9))
    taps = windows(plain.values, 1)
    assert taps.shape == (2 * 81, 142, 132)
    np.testing.assert_array_equal(taps[81 + 9 * 3 + 5], plain.values[1, 3:145, 5:137])
    wanted = np.einsum("kyx,k->yx", taps, kernel.ravel())[None].astype(np.float32)
    predicted = np.einsum("kyx,k->yx", taps, fitted(taps, wanted)[:, 0])
    assert np.abs(predicted - wanted[0]).std() < 1e-2 * wanted.std()
    reference = plain.isel(band=[0]).copy(data=0.5 * plain.values[:1] + 0.5 * np.roll(plain.values[1:], 2, 2))
    judge = Judge(reference, plain.isel(band=[0]), 5.0)
    assert judge.bound(plain)["RMSE"] < 0.05
    noise = reference.copy(data=image(6, (1, 150, 140)).values)
    assert Judge(noise, plain.isel(band=[0]), 5.0).bound(plain)["RMSE"] > 0.6  # nothing to be learnt but less contrast
