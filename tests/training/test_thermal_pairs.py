"""Pairs of two thermal sensors: what of their difference is detail, and how patches are drawn of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from xsr.core.errors import ParameterError
from xsr.models import registry
from xsr.training import recipes, thermal_pairs
from xsr.training.build import build
from xsr.training.interval_temperatures import cube
from xsr.training.modis_aster import SCALE, Overpass, grid
from xsr.training.pairs import enlarged
from xsr.training.recipe import Paired
from xsr.training.run import run_recipe
from xsr.training.thermal import GuidedBatch
from xsr.training.thermal_pairs import PairedSampler, paired, smoothed
from xsr.training.thermal_synthetic import GUIDE
from xsr.training.thermal_task import paired_loss

SIDE = 24
"""Pixels of the coarser sensor along a side."""
SPAN = np.array([1, 2], np.float32)
"""Kelvin of a unit."""


def overpass(detail=0.0, difference=0.0, low=None):
    """Images of both sensors: the finer one has detail and differs by some kelvin."""
    low = np.full((SIDE, SIDE), 290, np.float32) if low is None else low
    fine = enlarged(low[None], SCALE)[0] + detail + difference
    index = np.linspace(-0.2, 0.8, fine.size, dtype=np.float32).reshape(fine.shape)
    boxes = [grid(*[step * (np.arange(n) + 0.5) for _ in "xy"], "EPSG:32631") for n, step in ((SIDE, 4), (4 * SIDE, 1))]
    images = zip((low, index, fine), ("lst", "ndvi", "lst"), (boxes[0], boxes[1], boxes[1]), strict=True)
    return Overpass(*(cube(image[None].astype(np.float32), (name,), box, "K") for image, name, box in images))


def board():
    """Detail that has no mean over a few pixels."""
    y, x = np.indices((SCALE * SIDE, SCALE * SIDE))
    return (-1.0) ** (y + x)


def test_what_is_smooth_of_the_difference_does_not_count():
    slope = np.linspace(-3, 3, SCALE * SIDE)[:, None]
    found = paired("here", overpass(board(), 5 + slope), 2.0)
    inner = (slice(32, -32),) * 2
    np.testing.assert_allclose((found.truth - found.image)[inner], board()[inner], atol=0.02)


def test_the_guide_has_the_index_and_no_short_wave_infrared():
    both = overpass()
    red, nir = (GUIDE.mean[n] + GUIDE.std[n] * paired("here", both, 2.0).guide[n].astype(np.float64) for n in (0, 1))
    np.testing.assert_allclose((nir - red) / (nir + red), both.guide.values[0], atol=1e-5)
    assert not paired("here", both, 2.0).guide[2].any()


def test_no_data_of_any_image_is_no_truth():
    low = np.full((SIDE, SIDE), 290, np.float32)
    low[3, 5] = np.nan
    both = overpass()
    both.guide.values[0, 50, 60] = np.nan
    both.truth.values[0, 70, 80] = np.nan
    found = paired("here", replace(both, low=both.low.copy(data=low[None])), 2.0)
    missing = np.zeros(found.truth.shape, bool)
    missing[12:16, 20:24] = missing[50, 60] = missing[70, 80] = True
    np.testing.assert_array_equal(~np.isfinite(found.truth), missing)
    assert all(np.isfinite(one).all() for one in (found.low, found.image, found.guide))


def test_smoothing_of_a_constant_with_gaps():
    image = np.full((40, 40), 7.0, np.float32)
    image[:, ::3] = np.nan
    np.testing.assert_allclose(smoothed(image, 2.0), 7.0)
    assert np.isnan(smoothed(np.full((40, 40), np.nan, np.float32), 2.0)).all()


@pytest.fixture(scope="module")
def sampler():
    rng = np.random.default_rng(0)
    low, detail = rng.normal(295, 4, (SIDE, SIDE)).astype(np.float32), rng.standard_normal(board().shape)
    return PairedSampler([paired("here", overpass(detail, low=low), 2.0)], 32, 3, seed=5, mtf=0.3)


def test_batches_are_windows_of_a_scene_in_units_of_its_limits(sampler):
    (scene,) = sampler.scenes
    batch = sampler(2)
    assert batch.low.shape == (3, 1, 8, 8)
    assert batch.guide.shape == (3, 3, 32, 32)
    assert batch.image.shape == batch.target.shape == (3, 1, 32, 32)
    windows = np.lib.stride_tricks.sliding_window_view(scene.truth - scene.image, (32, 32))[::SCALE, ::SCALE]
    for number in range(3):
        detail = (batch.target - batch.image)[number, 0] * batch.span[number]
        away = np.abs(windows - detail).max(axis=(2, 3))
        assert away.min() < 1e-3
        top, left = (SCALE * int(n) for n in np.unravel_index(away.argmin(), away.shape))
        np.testing.assert_array_equal(batch.guide[number], scene.guide[:, top : top + 32, left : left + 32])
        kelvin = scene.low[top // SCALE : top // SCALE + 8, left // SCALE : left // SCALE + 8]
        unit = batch.low[number, 0] * batch.span[number]
        np.testing.assert_allclose(unit - unit.mean(), kelvin - kelvin.mean(), atol=1e-3)


def test_batches_follow_from_seed_and_step(sampler):
    np.testing.assert_array_equal(sampler(4).image, sampler(4).image)
    assert not np.array_equal(sampler(4).image, sampler(5).image)
    assert not np.array_equal(sampler(4).image, replace(sampler, seed=6)(4).image)


class One(torch.nn.Module):
    """Adds one to an image."""

    def forward(self, image, guide, scale):
        return torch.ones_like(image)


def test_the_loss_is_that_of_all_patches_together_without_their_border():
    image = np.zeros((2, 1, 32, 32), np.float32)
    target = np.stack([image[0] + 3, image[0] + 2])
    target[..., :8] = 1e3
    target[1, 0, 10, 10] = np.nan
    batch = GuidedBatch(SCALE, image[..., ::4, ::4], image, np.zeros((2, 3, 32, 32), np.float32), target, SPAN, SPAN)
    found, reference = paired_loss(One(), batch, recipes.get("dctnet_modis_lst"), drop=(), device="cpu")
    count = 16 * 16
    errors, wanted = count * 2**2 + (count - 1) * 2**2, count * 3**2 + (count - 1) * 4**2  # in kelvin
    assert float(found) == pytest.approx((errors / wanted) ** 0.5, abs=1e-3)
    assert float(reference) == 1


def tiny():
    recipe = recipes.get("dctnet_modis_lst")
    config = {**recipe.config, "features": 8, "layers": 1}
    return replace(recipe, config=config, start="", task=replace(recipe.task, patch=32), batch=1, steps=2)


def test_a_step_of_training_changes_the_network(tmp_path, monkeypatch, sampler):
    monkeypatch.setattr(thermal_pairs, "load", lambda *given, **options: list(sampler.scenes))
    card = run_recipe(tiny(), tmp_path / "new.safetensors", scenes=None)
    assert card.training["places"] == ["here"]
    assert card.scale_range == (4, 4)
    assert card.held_with is None
    before = build(tiny(), None)[0].network.state_dict()
    after = registry.load(tmp_path / "new.safetensors").state_dict()
    assert any(not np.allclose(before[name], after[name], atol=1e-4) for name in before)


def test_without_pairs_there_is_nothing_to_learn():
    with pytest.raises(ParameterError, match="expected scenes of the use 'thermal_pairs'"):
        build(tiny(), None)


def test_the_train_split_has_places_that_judge_nothing(manifest):
    assert isinstance(recipes.get("dctnet_modis_lst").task, Paired)
    learnt = {scene.place for scene in manifest.select("thermal_pairs")}
    assert len(learnt) == 28
    judging = manifest.select("thermal_errors", split=("validation", "test"))
    assert not learnt & {scene.place for scene in judging}
