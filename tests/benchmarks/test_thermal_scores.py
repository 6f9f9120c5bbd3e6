from datetime import datetime

import numpy as np
import pytest
from common import thermal_scores
from common.thermal_scores import METHODS, score

from xsr.models import registry
from xsr.training import thermal
from xsr.training import thermal_synthetic as synthetic
from xsr.training.thermal import ThermalScene


def rng(seed=0):
    return np.random.default_rng(seed)


def test_elevation_of_the_sun():
    # At the equinox the sun stands in the zenith of the equator, and at 90 degrees minus the latitude elsewhere.
    noon = datetime(2023, 3, 21, 12, 7)
    assert thermal_scores.sun_elevation(noon, 0.0, 0.0) == pytest.approx(90, abs=1)
    assert thermal_scores.sun_elevation(noon, 40.0, 0.0) == pytest.approx(50, abs=1)
    # Landsat 8 over Mendoza, its MTL: 52.70 degrees on 2016-02-09 at 14:26 UTC.
    assert thermal_scores.sun_elevation(datetime(2016, 2, 9, 14, 26), -33.2, -69.1) == pytest.approx(52.7, abs=1)


def test_radiance_at_the_ends_of_the_scale():
    found = thermal_scores.radiance(np.array([1.0, 128.0, 255.0]), (3.2, 12.65))
    np.testing.assert_allclose(found, [3.2, 7.925, 12.65])


def test_reflectance_by_hand():
    # DN 100 in ETM+ band 3: L = -5 + 99 * 157.9 / 254 = 56.543; pi * 56.543 * 1.2 / 1533
    found = thermal_scores.reflectance(np.array([100.0]), (-5.0, 152.9), 1533.0, 1.2)
    assert found[0] == pytest.approx(0.13905, abs=1e-5)


def test_alignment_is_one_with_itself_and_nothing_without_a_guide():
    image = np.random.default_rng(0).normal(300, 2, (30, 30)).astype(np.float32)
    assert thermal_scores.alignment(image, image[None]) == pytest.approx(1)
    assert thermal_scores.alignment(image, -2 * image[None]) == pytest.approx(1)  # the sign does not matter
    assert np.isnan(thermal_scores.alignment(image, np.zeros((3, 30, 30))))


@pytest.fixture(scope="module")
def scene():
    return ThermalScene("made", *synthetic.draw_scene(rng(11), 64))


def test_low_image_of_a_pair_is_the_truth_seen_coarser(scene):
    low, guide, truth = thermal_scores.pair(scene, 8)
    assert low.shape == (1, 8, 8)
    assert guide.shape == (3, 64, 64)
    wanted = thermal.observe(truth.values[0], 8, thermal_scores.MTF)
    np.testing.assert_allclose(low.values[0, 2:-2, 2:-2], wanted[2:-2, 2:-2], atol=0.02)
    assert low.odc.geobox.extent.geom.equals(truth.odc.geobox.extent.geom)


def test_bicubic_beats_bilinear_and_scores_agree_with_numpy(scene):
    found = {name: score(scene, 4, name) for name in ("bilinear", "bicubic")}
    assert found["bicubic"].psnr_db > found["bilinear"].psnr_db
    _, _, truth = thermal_scores.pair(scene, 4)
    peak = float(truth.max() - truth.min())
    one = found["bicubic"]
    assert one.psnr_db == pytest.approx(10 * np.log10(peak**2 / one.mse_k2), abs=2e-3)
    assert len(one.strata_rmse_k) == 4


def test_pennsylvania_is_plausible(manifest):
    july, november, andalusia = thermal_scores.read_scenes(manifest)
    assert july.kelvin.shape == november.kelvin.shape == (150, 150)
    assert 295 < np.nanmean(july.kelvin) < 305
    assert 273 < np.nanmean(november.kelvin) < 285
    assert 0.01 < np.isnan(july.kelvin).mean() < 0.1  # clouds
    assert np.isfinite(november.kelvin).all()
    vegetation = [float(np.nanmean((g[1] - g[0]) / (g[1] + g[0]))) for g in (july.guide, november.guide)]
    assert vegetation[0] > 0.5 > vegetation[1]
    assert not np.isfinite(andalusia.guide).any()


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if row.get("model") in registry.names()])
def test_shipped_weights_beat_bicubic_on_a_place_never_trained_on(manifest, method):
    july = next(iter(thermal_scores.read_scenes(manifest)))
    crop = ThermalScene("crop", july.kelvin[60:140, 20:100], july.guide[:, 60:140, 20:100])
    assert score(crop, 4, method).psnr_db > score(crop, 4, "bicubic").psnr_db + 0.5
