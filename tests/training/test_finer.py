import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from skimage.io import imsave

import xsr
from xsr.core.errors import BandError, CubeError, ParameterError
from xsr.models import registry
from xsr.models.registry import create
from xsr.operations.super_resolve.continuous import DEFAULT, DEFAULT_AT
from xsr.training import finer, recipes
from xsr.training.build import build
from xsr.training.finer import BORDER, STRATEGIES, Pair, PairSampler, enlarged, reduced, sharpened
from xsr.training.manifest import read_manifest

SMALL = {"features": 8, "blocks": 1, "hidden": (16, 16), "heads": 2, "periods": 3, "radiometry": 5}
RECIPE = recipes.TEMPORAL_LIIF_WORLDSTRAT
TINY = replace(RECIPE, config={**RECIPE.config, **SMALL}, task=replace(RECIPE.task, patch=24, queries=40), batch=3)


def ramps(height, width):
    """Brightness that tells the position: the row of a fine grid in one band, the column in another."""
    y, x = ((np.arange(n) + 0.5) / n for n in (height, width))
    return np.stack([np.broadcast_to(v, (height, width)) for v in (y[:, None], x, 0 * x)]).astype(np.float32)


def pair(name="here", height=40, width=36, dates=5, seed=0):
    noise = np.random.default_rng(seed).normal(0, 0.02, (dates, 3, height, width))
    low = (ramps(height, width) + noise).astype(np.float32)
    return Pair(name, low, {"x2": ramps(79, 79), "x4": ramps(157, 157)})


def same(one, two):
    return all(np.asarray(v).tobytes() == np.asarray(getattr(two, k)).tobytes() for k, v in vars(one).items())


# --- scenes ------------------------------------------------------------------------------------------


def write_scene(folder, sizes=((6, 7),) * 5):
    folder.mkdir()
    for date, (height, width) in enumerate(sizes, 1):
        imsave(
            folder / f"low_{date}.png",
            np.full((height, width, 3), (10 * date, 20, 255), np.uint8),
            check_contrast=False,
        )
    imsave(folder / "high_x2.png", np.zeros((13, 13, 3), np.uint8), check_contrast=False)


def manifest_of(folder, **keys):
    """Manifest of the scene of a folder."""
    table = {"place": "a", "path": "a/low_*.png", "bands": ["B04", "B03", "B02"], "scale": 1 / 255, **keys}
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    reference = ["[[scene.reference]]", 'name = "x2"', 'path = "a/high_x2.png"', f"scale = {1 / 255}"]
    text = ["[[scene]]", *lines, *reference, 'bands = ["B04", "B03", "B02"]']
    (folder / "scenes.toml").write_text("\n".join(text))
    return read_manifest(folder / "scenes.toml")


def test_a_scene_is_read_as_counts_over_255(tmp_path):
    write_scene(tmp_path / "a")
    (found,) = finer.load(manifest_of(tmp_path), ("B02", "B04"))
    assert found.name == "a"
    assert found.low.shape == (5, 2, 6, 7)
    np.testing.assert_allclose(found.low[:, :, 3, 3] * 255, [(255, 10 * d) for d in range(1, 6)], rtol=1e-6)
    assert list(found.high) == ["x2"]
    assert found.scale("x2") == (13 / 6, 13 / 7)


def test_references_without_a_common_name_are_refused(tmp_path):
    write_scene(tmp_path / "a")
    manifest_of(tmp_path)
    text = (tmp_path / "scenes.toml").read_text()
    (tmp_path / "scenes.toml").write_text(text + "\n" + text.replace('"x2"', '"half"'))
    with pytest.raises(ParameterError, match=r"no reference name is common to all scenes \(half, x2\)"):
        finer.load(read_manifest(tmp_path / "scenes.toml"), ("B02", "B04"))


def test_dates_of_different_sizes(tmp_path):
    write_scene(tmp_path / "a", [(6, 7)] * 4 + [(6, 8)])
    with pytest.raises(CubeError, match="expected one size"):
        finer.load(manifest_of(tmp_path), ("B02",))


def test_a_band_that_a_pair_lacks(tmp_path):
    write_scene(tmp_path / "a")
    with pytest.raises(BandError, match=r"scene 'a' has the bands B04, B03, B02; expected B08"):
        finer.load(manifest_of(tmp_path), ("B08",))


def test_scenes_for_validation_are_kept_apart(manifest):
    found = finer.load(manifest, ("B04", "B03", "B02"), split=("validation",))
    kept = {one.place for one in manifest.select("series", split=("validation",))}
    assert {f"worldstrat/{pair.name}" for pair in found} == kept
    assert {key: image.shape[1:] for key, image in found[0].high.items()} == {
        key: (size, size) for key, size in (("x2", 314), ("x4", 628), ("x6", 1054))
    }
    # Brought back to the grid of the finest image that is given, the derived one is that image again, all but.
    high = found[0].high
    again = reduced(high["x6"], (628, 628))
    assert np.abs(again - high["x4"]).mean() < 0.4 * np.abs(enlarged(high["x2"], (628, 628)) - high["x4"]).mean()


def scene(size, seed=3):
    """Means over the pixels of a grid, of one scene whatever their size: texture with as much detail at every scale."""
    rng = np.random.default_rng(seed)
    at = (np.arange(420) + 0.5) / 420
    waves = [(rng.uniform(3, 45), *rng.uniform(0, 6.3, 2)) for _ in range(150)]
    texture = sum(np.cos(6.3 * f * (np.cos(a) * at[:, None] + np.sin(a) * at) + p) / f for f, a, p in waves)
    mean = (0.2 * texture).reshape(size, 420 // size, size, 420 // size).mean(axis=(1, 3))
    return mean.astype(np.float32)


@pytest.mark.slow
def test_detail_of_the_panchromatic_image_is_taken_over():
    """Bands that are the panchromatic image up to a gain get its detail with that gain; a flat one gets none."""
    gains = np.array([0.3, -0.5, 0.0], np.float32)[:, None, None]
    coarse, fine, truth = (0.5 + gains * scene(size) for size in (30, 60, 105))
    found = sharpened(coarse, fine, 3000 * scene(105) + 500)
    error, plain = (np.abs(v - truth)[:, 5:-5, 5:-5].mean((1, 2)) for v in (found, enlarged(fine, (105, 105))))
    assert (error[:2] < 0.7 * plain[:2]).all()
    assert error[2] < 1e-6


def test_enlarged_keeps_the_extent():
    np.testing.assert_allclose(
        enlarged(ramps(12, 10), (30, 25))[:2, 5:-5, 5:-5], ramps(30, 25)[:2, 5:-5, 5:-5], atol=1e-6
    )
    np.testing.assert_allclose(reduced(ramps(30, 24), (10, 8))[:2, 2:-2, 2:-2], ramps(10, 8)[:2, 2:-2, 2:-2], atol=1e-6)


# --- strategies --------------------------------------------------------------------------------------


@given(st.integers(2, 7), st.integers(0, 99))
def test_strategies_draw_adjacent_dates(dates, seed):
    rng = np.random.default_rng(seed)
    found = {name: draw(rng, dates) for name, draw in STRATEGIES.items()}
    assert {name: len(found[name]) for name in ("complete", "pairs", "single")} == {
        "complete": dates,
        "pairs": 2,
        "single": 1,
    }
    for drawn in found.values():
        assert (np.diff(drawn) == 1).all()
        assert 0 <= drawn[0] <= drawn[-1] < dates


def test_every_run_of_dates_is_drawn():
    rng = np.random.default_rng(0)
    drawn = {name: {tuple(draw(rng, 5)) for _ in range(400)} for name, draw in STRATEGIES.items()}
    assert {name: len(runs) for name, runs in drawn.items()} == {"complete": 1, "groups": 15, "pairs": 4, "single": 5}


# --- patches -----------------------------------------------------------------------------------------


def sampler(**changes):
    settings = {"patch": 24, "queries": 60, "batch": 2, "seed": 1, "gain": 0.0, "colour": 0.0}
    return PairSampler((pair(), pair("there", 37, 41, seed=1)), **{**settings, **changes})


def test_a_draw_is_a_function_of_seed_and_step():
    one, two = sampler(gain=0.1), sampler(gain=0.1)
    later = one(5)
    one(1)
    assert same(later, two(5))
    assert not same(later, two(6))
    assert not same(later, sampler(gain=0.1, seed=2)(5))


@pytest.mark.parametrize("patch", [24, 60])
def test_queries_lie_where_their_truth_does(patch):
    """The ramps tell the position of a pixel of the patch and of a query, also beyond the scene and transposed."""
    checked = 0
    for step in range(8):
        batch = sampler(patch=patch)(step)
        assert min(batch.rows.min(), batch.cols.min()) >= BORDER - 0.5
        assert max(batch.rows.max(), batch.cols.max()) <= patch - BORDER - 0.5
        for low, rows, cols, target in zip(batch.low.mean(1), batch.rows, batch.cols, batch.target, strict=True):
            known = enlarged_at(low, rows, cols)
            inside = np.abs(target[:, :2] - 0.5).max(axis=1) < 0.45  # mirrored ramps have an edge
            np.testing.assert_allclose(known[inside, :2], target[inside, :2], atol=0.05)
            checked += inside.sum()
    assert checked > 300
    assert {batch.scale for batch in map(sampler(), range(8))} > {sampler()(0).scale}


def enlarged_at(image, rows, cols):
    return image[:, np.rint(rows).astype(int), np.rint(cols).astype(int)].T


def test_patches_may_reach_beyond_the_scene():
    starts = {finer._start(np.random.default_rng(seed), 24, 40) for seed in range(300)}
    assert min(starts) == -8
    assert max(starts) == 40 - 24 + 8
    np.testing.assert_array_equal(finer._mirrored(np.arange(-3, 8), 5), [2, 1, 0, 0, 1, 2, 3, 4, 4, 3, 2])


@pytest.mark.parametrize(("strategy", "counts"), [("complete", {5}), ("pairs", {2}), ("single", {1})])
def test_dates_that_the_strategy_leaves_out_are_not_valid(strategy, counts):
    batches = [sampler(strategy=strategy)(step) for step in range(4)]
    assert {int(n) for batch in batches for n in batch.valid.any((2, 3)).sum(1)} == counts
    assert all((batch.valid.any((2, 3)) == batch.valid.all((2, 3))).all() for batch in batches)
    assert all((batch.tau == batch.days.mean(1)).all() for batch in batches)


def test_gains_change_images_and_reference_alike():
    plain, changed = sampler()(3), sampler(gain=0.3, colour=0.3)(3)
    np.testing.assert_array_equal(plain.valid, changed.valid)
    ratio = changed.target[:, :, :2] / plain.target[:, :, :2]
    assert np.ptp(ratio, axis=1).max() < 1e-5
    assert np.ptp(ratio[:, 0]) > 0.01


# --- the loss and the start --------------------------------------------------------------------------


def network(recipe=TINY, seed=0):
    torch.manual_seed(seed)
    made = create(recipe.architecture, **recipe.config)
    for tensor in made.imnet.layers[-1].parameters():
        torch.nn.init.zeros_(tensor)
    return made


def test_without_corrections_the_loss_is_that_of_the_mean_of_the_dates():
    for strategy in STRATEGIES:
        loss, baseline = finer.pair_loss(network(), sampler(strategy=strategy)(0), TINY, drop=(), device="cpu")
        assert float(loss.detach()) == pytest.approx(float(baseline), rel=1e-4)
        assert 0.3 < float(baseline) < 1


def test_the_loss_is_a_relative_squared_error():
    """An answer that is constant leaves the detail alone: its square is added to the error."""
    made = network()
    plain, baseline = finer.pair_loss(made, sampler(batch=1)(0), TINY, drop=(), device="cpu")
    with torch.no_grad():
        made.imnet.layers[-1].bias.fill_(0.1)
    loss, _ = finer.pair_loss(made, sampler(batch=1)(0), TINY, drop=(), device="cpu")
    weight = (1 - float(baseline)) / finer.FLOOR  # one over the error of the mean and the floor
    assert float(loss.detach()) == pytest.approx(float(plain.detach()) + 0.01 * weight, rel=1e-3)


def test_colours_of_the_reference_do_not_count():
    batch = sampler()(0)
    brighter = replace(batch, target=(1.3 * batch.target + [0.1, 0.0, -0.2]).astype(np.float32))
    losses = [finer.pair_loss(network(), b, TINY, drop=(), device="cpu")[0] for b in (batch, brighter)]
    detail, more = (float(loss.detach()) for loss in losses)
    assert more < 1.3**2 * 1.2 * detail + 0.1


@given(st.integers(0, 99))
def test_matched_takes_gain_and_offset_out_of_the_difference(seed):
    generator = torch.Generator().manual_seed(seed)
    base, noise = torch.randn(2, 1, 50, 3, generator=generator, dtype=torch.float64)
    found = finer.matched(noise, base) - base
    assert found.mean(1).abs().max() < 1e-12
    assert (found * base).mean(1).abs().max() < 1e-12
    gain, offset = torch.tensor([0.5, 2.0, -1.0]), torch.tensor([0.1, -3.0, 0.0])
    assert (finer.matched(gain * base + offset, base) - base).abs().max() < 1e-12
    assert torch.allclose(finer.matched(noise + gain * base + offset, base), finer.matched(noise, base))


def other_sensor(scenes, seed=5):
    """References that are a mixture of neighbours and bands of the mean of the dates, and of the surroundings."""
    rng = np.random.default_rng(seed)
    matrix, tint = np.eye(3) + 0.2 * rng.normal(size=(3, 3)), rng.normal(0, 0.1, 3)
    out = []
    for scene in scenes:
        lower = np.pad(scene.low.mean(axis=0), ((0, 0), (1, 0), (0, 0)), mode="edge")[:, :-1]
        image = np.einsum("cd,dyx->cyx", matrix, lower) + tint[:, None, None]
        out.append(Pair(scene.name, scene.low, {"x2": enlarged(image.astype(np.float32), (79, 79))}))
    return out


def textured(seed):
    rng = np.random.default_rng(seed)
    return Pair(str(seed), rng.uniform(0.2, 0.8, (5, 3, 40, 36)).astype(np.float32), {})


def test_the_start_finds_the_kernel_between_two_sensors(monkeypatch):
    monkeypatch.setattr(finer, "RIDGE", 1e-9)
    scenes = other_sensor([textured(seed) for seed in range(3)])
    made = network()
    finer.fit_radiometry(made, scenes, TINY)
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (TINY.image.mean, TINY.image.std))
    (scene,) = other_sensor([textured(9)])
    image = torch.from_numpy((scene.low.mean(axis=0) - mean) / std)[None]
    spread = torch.from_numpy(scene.low.std(axis=0) / std)[None]
    with torch.no_grad():
        found = made.radiometry(image, spread)[0].numpy() * std + mean
    error = enlarged(found, (79, 79)) - scene.high["x2"]
    assert np.abs(error).max() < 2e-3


def test_a_strong_penalty_leaves_the_identity(monkeypatch):
    monkeypatch.setattr(finer, "RIDGE", 1e9)
    made, before = network(), network()
    finer.fit_radiometry(made, other_sensor([textured(0)]), TINY)
    for name, tensor in made.state_dict().items():
        assert (tensor - before.state_dict()[name]).abs().max() < 1e-4


def test_the_recipe_needs_its_scenes():
    with pytest.raises(ParameterError, match="needs images with a finer one of another sensor; give a manifest"):
        build(RECIPE, None)


@pytest.mark.slow
def test_the_recipe_trains_on_no_scene_kept_for_validation(manifest, monkeypatch):
    monkeypatch.setattr(finer, "sharpened", lambda coarse, fine, pan: fine)
    task, about = build(TINY, manifest)
    assert len(about["places"]) == 17
    assert not set(about["places"]) & {one.place for one in manifest.select("reference", split=("validation",))}
    ratios = []
    for step in range(8):
        loss, baseline = task.loss(task.network, task.sampler(step), TINY, drop=(), device="cpu")
        ratios.append(float(loss.detach()) / float(baseline))
    assert 0.8 < np.mean(ratios) < 1.1  # before training there is no detail but that of the linear map


def test_no_data_in_either_image_is_left_out():
    holes = pair()
    holes.low[2, :, 3:9, 4:20] = np.nan
    holes.high["x2"][:, 20:40] = np.nan
    holes.high["x4"][:, 40:80] = np.nan
    draws = PairSampler((holes,), 24, 60, 2, 1)
    for step in range(4):
        batch = draws(step)
        assert np.isfinite(batch.target).all()
        assert (batch.valid == np.isfinite(batch.low).all(axis=2)).all()
        loss, baseline = finer.pair_loss(network(), batch, TINY, drop=(), device="cpu")
        assert torch.isfinite(loss)
        assert torch.isfinite(baseline)


# --- the weights -------------------------------------------------------------------------------------


installed = pytest.mark.skipif(
    "temporal_liif_worldstrat" not in registry.names(), reason="the weights are a distribution of their own"
)


@installed
def test_no_default_loads_weights_that_are_not_for_commercial_use():
    assert "NC" in registry.card("temporal_liif_worldstrat").licence
    assert all("NC" not in registry.card(name).licence for name in (DEFAULT, DEFAULT_AT))


@installed
@pytest.mark.slow
def test_the_weights_answer_alike_in_any_chunks():
    found = pair(height=44, width=42)
    box = GeoBox(found.low.shape[2:], Affine(10, 0, 600_000, 0, -10, 5_700_000), "EPSG:32631")
    times = np.datetime64("2020-06-01", "ns") + np.arange(5) * np.timedelta64(5, "D")
    coords = {"time": times, "band": ["B04", "B03", "B02"], **xr_coords(box)}
    cube = xr.DataArray(found.low, dims=("time", "band", "y", "x"), coords=coords)
    made = [xsr.liif(cube, scale=2, t=times[2], model="temporal_liif_worldstrat", chunks=n).values for n in (100, 37)]
    assert np.abs(made[0] - made[1]).max() < 1e-5
    mean = xsr.interpolate(cube, scale=2, t=times[2], temporal="mean").values
    assert 0.005 < np.abs(made[0] - mean).mean() < 0.2
