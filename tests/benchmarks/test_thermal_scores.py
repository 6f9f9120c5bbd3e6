"""Scores of sharpened temperatures: hand values, guides of less than all bands, and what a table compares."""

import numpy as np
import pytest
from common import thermal_places, thermal_scores
from common.thermal_scores import GUIDES, METHODS, Estimates, can, parts_db, psnr, score

from xsr.models import registry
from xsr.training import thermal
from xsr.training import thermal_synthetic as synthetic
from xsr.training.thermal import ThermalScene


def rng(seed=0):
    return np.random.default_rng(seed)


def test_alignment_is_one_with_itself_and_nothing_without_a_guide():
    image = np.random.default_rng(0).normal(300, 2, (30, 30)).astype(np.float32)
    assert thermal_scores.alignment(image, image[None]) == pytest.approx(1)
    assert thermal_scores.alignment(image, -2 * image[None]) == pytest.approx(1)  # the sign does not matter
    assert np.isnan(thermal_scores.alignment(image, np.zeros((3, 30, 30))))


@pytest.fixture(scope="module")
def scene():
    return ThermalScene("made", *synthetic.draw_scene(rng(11), 64))


def test_low_image_of_a_pair_is_the_truth_seen_coarser(scene):
    pair = thermal_scores.pair(scene, 8)
    low, guide, truth = pair.low, pair.guide, pair.truth
    assert low.shape == (1, 8, 8)
    assert guide.shape == (3, 64, 64)
    wanted = thermal.observe(truth.values[0], 8, thermal_scores.MTF)
    np.testing.assert_allclose(low.values[0, 2:-2, 2:-2], wanted[2:-2, 2:-2], atol=0.02)
    assert low.odc.geobox.extent.geom.equals(truth.odc.geobox.extent.geom)


def test_bicubic_beats_bilinear_and_scores_agree_with_numpy(scene):
    pair, made = thermal_scores.pair(scene, 4), Estimates()
    found = {name: score(pair, made(pair, name), name) for name in ("bilinear", "bicubic")}
    assert found["bicubic"].psnr_db > found["bilinear"].psnr_db
    peak = float(pair.truth.max() - pair.truth.min())
    one = found["bicubic"]
    assert one.psnr_db == pytest.approx(10 * np.log10(peak**2 / one.mse_k2), abs=2e-3)
    assert one.psnr_db == pytest.approx(psnr(pair, made(pair, "bicubic")), abs=2e-3)
    assert len(one.strata_rmse_k) == 4


def test_errors_of_parts_by_hand(scene):
    pair = thermal_scores.pair(scene, 4)
    truth = pair.truth.values[0]
    gains = parts_db(pair, truth + np.float32(0.5), truth - np.float32(5))
    np.testing.assert_allclose(gains, np.full(9, 20.0), atol=0.01)
    cloudy = np.where(np.arange(64) < 25, np.nan, truth + 1)  # the first of three columns of parts is all but unknown
    assert parts_db(pair, cloudy.astype(np.float32), truth + 2).size == 6


def test_an_index_is_all_that_tsharp_reads(scene):
    pair, made = thermal_scores.pair(scene, 4), Estimates()
    np.testing.assert_allclose(made(pair, "TsHARP", guide="index"), made(pair, "TsHARP"), atol=0.01)
    assert not can("TsHARP", "near infrared")
    assert not can("bicubic", "index")


@pytest.mark.parametrize("method", ["guided filter", "ATPRK", "DCTNet"])
def test_a_guide_of_less_has_no_more_than_is_known(scene, method):
    """One band is found to have nothing of the others: the result is the same whatever those are."""
    other = ThermalScene("other", scene.kelvin, scene.guide * np.float32([[[1]], [[1]], [[0.5]]]))
    other.guide[0] = other.guide[0][::-1]  # the mean stays
    one, two = (thermal_scores.pair(each, 4) for each in (scene, other))
    made = Estimates()
    results = {kind: made(one, method, guide=kind) for kind in GUIDES}
    np.testing.assert_allclose(made(two, method, guide="near infrared"), results["near infrared"], atol=2e-3)
    assert np.abs(made(two, method) - results["bands"]).max() > 0.1
    assert np.abs(results["index"] - results["near infrared"]).max() > 0.1


def test_an_estimate_is_made_once(scene):
    pair, made = thermal_scores.pair(scene, 4), Estimates()
    assert made(pair, "bicubic") is made(pair, "bicubic")


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if row.get("model") in registry.names()])
def test_shipped_weights_beat_bicubic_on_a_place_never_trained_on(manifest, method):
    july = next(iter(thermal_places.read_scenes(manifest)))
    crop = ThermalScene("crop", july.kelvin[60:140, 20:100], july.guide[:, 60:140, 20:100])
    pair, made = thermal_scores.pair(crop, 4), Estimates()
    assert psnr(pair, made(pair, method)) > psnr(pair, made(pair, "bicubic")) + 0.5
