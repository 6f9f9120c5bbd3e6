from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from xsr.models import registry
from xsr.models.record import GuidedInputs
from xsr.training import recipes, thermal, thermal_task
from xsr.training import thermal_synthetic as synthetic
from xsr.training.build import build
from xsr.training.pairs import enlarged
from xsr.training.recipe import Guided
from xsr.training.run import run_recipe
from xsr.training.thermal import GuidedSampler, ThermalScene

THERMAL = [recipe for recipe in recipes.RECIPES.values() if type(recipe.task) is Guided]
SMALL = {
    "dctnet_lst_first": {"features": 8, "layers": 1},
    "dctnet_lst": {"features": 8, "layers": 1},
    "dctrrdbnet_lst": {"features": 8, "layers": 1, "growth": 4},
    "jiif_lst": {"features": 8, "blocks": 1, "hidden": (16, 8)},
    "esrnet_lst": {"features": 8, "blocks": 1, "growth": 4},
    "esrnet_x8_lst": {"features": 8, "blocks": 1, "growth": 4},
}
FACTOR = {"esrnet_lst": 4, "esrnet_x8_lst": 8}
"""Of networks that have one."""


def rng(seed=0):
    return np.random.default_rng(seed)


def ramp(side=16):
    y, x = np.mgrid[:side, :side].astype(np.float32)
    return 290 + 0.25 * x + 0.5 * y


# --- pairs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [4, 8])
def test_a_constant_scene_stays_constant(factor):
    low = thermal.observe(np.full((32, 48), 287.5, np.float32), factor, 0.3)
    assert low.shape == (32 // factor, 48 // factor)
    np.testing.assert_allclose(low, 287.5, atol=1e-4)


def test_the_middle_of_a_ramp_keeps_its_place():
    low = thermal.observe(ramp(64), 4, 0.3)
    wanted = thermal.average(ramp(64)[None], 4)[0]  # the centre of a coarse pixel is that of its fine ones
    np.testing.assert_allclose(low[4:-4, 4:-4], wanted[4:-4, 4:-4], atol=1e-3)


def test_observed_wave_has_the_mtf_asked_for():
    wave = np.cos(np.pi * (np.arange(128) + 0.5 - 2) / 4)  # at the Nyquist frequency of pixels four times as large
    low = thermal.observe(np.broadcast_to(wave.astype(np.float32), (32, 128)).copy(), 4, 0.3)
    np.testing.assert_allclose(np.abs(low[:, 8:-8]), 0.3, atol=2e-3)


def test_no_data_does_not_spread():
    kelvin = ramp(32)
    kelvin[3, 5] = np.nan
    assert np.isfinite(thermal.observe(kelvin, 4, 0.3)).all()


def test_enlarging_keeps_a_ramp():
    found = enlarged(thermal.average(ramp(32)[None], 4), 4)[0]
    np.testing.assert_allclose(found[8:-8, 8:-8], ramp(32)[8:-8, 8:-8], atol=1e-3)


def test_average_of_four_pixels():
    found = thermal.average(np.arange(20, dtype=np.float32).reshape(1, 4, 5), 2)
    assert found.tolist() == [[[3.0, 5.0], [13.0, 15.0]]]


def test_limits_leave_out_no_data():
    assert thermal.image_limits(np.array([[290, 290], [310, np.nan], [310, np.nan]])) == (285.0, 315.0)


def test_missing_guide_is_the_mean():
    guide = np.full((3, 2, 2), np.nan, np.float32)
    guide[0] = thermal.GUIDE.mean[0] + 2 * thermal.GUIDE.std[0]
    found = thermal.standardise(guide)
    np.testing.assert_allclose(found[0], 2.0, rtol=1e-5)
    assert not found[1:].any()


@pytest.fixture(scope="module")
def sampler():
    scene = ThermalScene("here", ramp(60), np.full((3, 60, 60), np.nan, np.float32))
    return GuidedSampler(
        (scene,), (np.random.default_rng(1).uniform(0, 0.4, (3, 150, 140)).astype(np.float32),), 32, 3, 5
    )


def test_batches_follow_from_seed_and_step(sampler):
    first, again, other = sampler(4), sampler(4), sampler(5)
    for name in ("low", "image", "guide", "target", "span"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.low, other.low)
    assert not np.array_equal(first.low, replace(sampler, seed=6)(4).low)


def test_batches_have_the_shapes_and_ranges_of_the_operation(sampler):
    factors = set()
    for step in range(5):
        batch = sampler(step)
        factors.add(batch.factor)
        side = 32 // batch.factor
        assert batch.low.shape == (3, 1, side, side)
        assert batch.image.shape == batch.target.shape == (3, 1, 32, 32)
        assert batch.guide.shape == (3, 3, 32, 32)
        assert all(np.isfinite(v).all() for v in (batch.low, batch.image, batch.guide, batch.target))
        assert batch.low.min() > 0
        assert batch.low.max() < 1
        assert (batch.span >= 2.0).all()  # at least 1 K on either side
        np.testing.assert_allclose(
            batch.image.mean(axis=(1, 2, 3)), batch.target.mean(axis=(1, 2, 3)), atol=0.05
        )  # the enlarged image lies where its truth does
    assert factors == {4, 8}


def test_real_thermal_scenes_are_read_at_their_native_resolution(manifest):
    scenes = {scene.place: scene for scene in thermal.load_thermal(manifest)}
    mendoza = scenes["Mendoza 2016-02-09"]
    assert mendoza.kelvin.shape == (44, 61)  # 134 x 184 pixels of 30 m
    assert 290 < mendoza.kelvin.mean() < 310
    assert np.isfinite(mendoza.guide).all()
    assert set(scenes) == {"Mendoza 2016-02-09", "Andalusia 2019-08-10"}  # nothing of the test split


# --- synthetic scenes --------------------------------------------------------------------------------


def test_scenes_are_finite_and_follow_from_the_seed():
    for seed in range(6):
        kelvin, guide = synthetic.draw_scene(rng(seed), 48)
        again = synthetic.draw_scene(rng(seed), 48)
        assert kelvin.shape == (48, 48)
        assert guide.shape == (3, 48, 48)
        assert np.isfinite(kelvin).all()
        assert np.isfinite(guide).all()
        assert 220 < kelvin.min() < kelvin.max() < 380
        np.testing.assert_array_equal(kelvin, again[0])
        np.testing.assert_array_equal(guide, again[1])


def test_the_link_to_vegetation_has_either_sign_and_any_strength():
    found = []
    for seed in range(24):
        kelvin, (red, nir, _) = synthetic.draw_scene(rng(seed), 48)
        found.append(np.corrcoef(kelvin.ravel(), ((nir - red) / (nir + red)).ravel())[0, 1])
    assert min(found) < -0.6
    assert max(found) > 0.3
    assert min(np.abs(found)) < 0.1
    assert np.mean(found) < 0  # most are summer days


def test_a_real_optical_image_becomes_the_land():
    land = np.random.default_rng(3).uniform(0.05, 0.4, (3, 40, 40)).astype(np.float32)
    _, guide = synthetic.draw_scene(rng(2), 40, land)
    assert min(np.corrcoef(land[b].ravel(), guide[b].ravel())[0, 1] for b in range(3)) > 0.8


def test_land_has_parcels_with_edges():
    land = synthetic.mosaic(rng(4), 64)
    assert len(np.unique(land.parcels)) > 5
    assert land.reflectance.min() > 0
    assert land.light.mean() == pytest.approx(1, abs=0.05)


def test_unit_and_fractal():
    assert not synthetic.unit(np.full((4, 4), 7.0)).any()
    rough, smooth = (synthetic.fractal(rng(0), 64, exponent) for exponent in (0.5, 2.5))
    assert rough.std() == pytest.approx(1)
    assert np.diff(smooth).std() < 0.5 * np.diff(rough).std()


def test_blur_moves_the_content_towards_greater_rows_and_columns():
    image = ramp(24)[None]
    moved = synthetic.blur(image, 0.3, shift=(1.0, -2.0))[0]
    np.testing.assert_allclose(moved[6:-6, 6:-6], image[0, 6:-6, 6:-6] - 0.5 * 1 + 0.25 * 2, atol=1e-3)


# --- recipes -----------------------------------------------------------------------------------------


def tiny(recipe):
    config = {**recipe.config, **SMALL[recipe.name]}
    architecture = "esrgan_1x8x4" if recipe.name in FACTOR else recipe.architecture
    config = {k: v for k, v in config.items() if architecture == recipe.architecture or k in ("bands", "factor")}
    return replace(
        recipe,
        architecture=architecture,
        config=config,
        start="",
        task=replace(recipe.task, patch=32),
        batch=1,
        steps=2,
    )


@pytest.mark.parametrize("recipe", THERMAL, ids=lambda r: r.name)
def test_a_step_of_training_changes_the_network(recipe, tmp_path):
    small = tiny(recipe)
    card = run_recipe(small, tmp_path / "new.safetensors", scenes=None)
    assert card.units == "K"
    assert card.guide.names == recipe.task.guide.names
    assert card.training["steps"] == small.last
    assert card.held_with == ("guided_filter" if recipe.name == "dctnet_lst" else None)
    assert card.factor == FACTOR.get(recipe.name)
    torch.manual_seed(small.seed)
    before = build(small, None)[0].network.state_dict()
    after = registry.load(tmp_path / "new.safetensors").state_dict()
    assert any(not torch.allclose(before[name], after[name], atol=1e-4) for name in before)


@pytest.mark.parametrize("recipe", THERMAL, ids=lambda r: r.name)
def test_networks_begin_at_the_interpolation_or_at_the_mean_of_the_details(recipe):
    network = build(tiny(recipe), None)[0].network
    factor = FACTOR.get(recipe.name, 4)
    batch = GuidedSampler((), (), 32, 1, 3, factors=(factor,))(1)
    image, low, guide = (torch.from_numpy(v) for v in (batch.image, batch.low, batch.guide))
    found = thermal_task.correction(network, recipe, GuidedInputs(image, low, guide, factor))
    assert found.shape == image.shape
    if recipe.architecture.startswith("dct"):
        detail = network.details(image, guide, 4)
        torch.testing.assert_close(found, detail.mean(1, keepdim=True), atol=1e-3, rtol=0)
    else:
        assert not found.any()


def test_correction_in_mixed_precision_is_that_of_the_network():
    recipe = tiny(recipes.get("dctnet_lst"))
    torch.manual_seed(0)
    network = registry.create(recipe.architecture, **recipe.config).eval()
    batch = GuidedSampler((), (), 32, 2, 3)(0)
    image, low, guide = (torch.from_numpy(v) for v in (batch.image, batch.low, batch.guide))
    with torch.no_grad():
        found = thermal_task.correction(network, recipe, GuidedInputs(image, low, guide, batch.factor))
        wanted = network(image, guide, batch.factor)
    assert (found - wanted).abs().max() < 0.03 * wanted.abs().max()


def test_a_held_patch_is_what_the_sensor_observed():
    scene = ThermalScene(
        "here",
        ramp(208) + 3 * rng().standard_normal((208, 208)).astype(np.float32),
        np.full((3, 208, 208), np.nan, np.float32),
    )
    batch = GuidedSampler((scene,), (), 128, 2, 3, noise_k=(0.0, 0.0))(1)
    image, low, target = (torch.from_numpy(v) for v in (batch.image, batch.low, batch.target))
    inner = (..., *[slice(4 * batch.factor, -4 * batch.factor)] * 2)
    again = thermal_task.held(target, low, batch)
    torch.testing.assert_close(again[inner], target[inner], atol=2e-3, rtol=0)
    assert (thermal_task.held(image, low, batch) - target)[inner].std() < (image - target)[inner].std()


def test_weight_files_are_small():
    files = [registry.find(name) for name in registry.names() if name.endswith("_lst")]
    assert all(Path(file).stat().st_size < 6e6 for file in files)
