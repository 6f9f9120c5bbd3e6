"""Pairs on the grid and the loss of fixed-factor networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from models.helpers import make_cube
from safetensors.torch import load_file
from torch import nn

import xsr
from xsr.core.errors import WeightsError
from xsr.core.sensors import sigma_px
from xsr.models import registry
from xsr.models.card import file_sha256, read_card
from xsr.models.state import fit
from xsr.training import fixed, loop, pairs, recipes, run, scenes, scores
from xsr.training.build import build
from xsr.training.fixed import UNJUDGED, FixedSampler, fidelity, fixed_loss, truth_error
from xsr.training.loop import train
from xsr.training.pairs import WaldSampler, enlarged, mixed, recoloured
from xsr.training.run import distinct, run_recipe
from xsr.training.scenes import BANDS, COARSE, FINE, at_20m, nested
from xsr.training.scores import TestPlace

MTF = (0.3,) * 10
TWICE = tuple(band in COARSE for band in BANDS)
TINY = replace(
    recipes.CARN_S2_FIRST,
    architecture="carn_1x1x2g1sw",
    task=replace(recipes.CARN_S2_FIRST.task, synthetic=1, patch=16),
    batch=2,
    steps=6,
    drop=0.0,
)


def product(size=(80, 72), seed=0):
    """A scene as it is delivered: 10 m bands on a grid, 20 m bands on the nested one."""
    y, x = (np.arange(n)[:, None] for n in size)
    rng = np.random.default_rng(seed)
    waves = [np.sin(rng.uniform(-1, 1) * y + rng.uniform(-1, 1) * x.T + rng.uniform(0, 7)) for _ in range(12)]
    values = 0.2 + 0.02 * np.tensordot(rng.uniform(0, 1, (10, 12)), np.stack(waves), axes=1).astype(np.float32)
    coarse = values[4:].reshape(6, size[0] // 2, 2, size[1] // 2, 2).mean(axis=(2, 4))
    return nested("here", values[:4], FINE, coarse)


def sampler(*scenes, **changes):
    settings = dict(
        mtf=MTF, scale_range=(2.0, 2.0), patch=16, queries=1, batch=3, mtf_jitter=0.0, seed=3, coarser=TWICE, level=0.0
    )
    return FixedSampler(WaldSampler(scenes=scenes or (product(),), **{**settings, **changes}))


def ten_bands(height, width):
    """A cube of all bands."""
    return xr.concat([make_cube(height, width)] * 3, "band").isel(band=slice(10)).assign_coords(band=list(BANDS))


@pytest.fixture
def plain(monkeypatch):
    """No flips and gains, so that pixels can be found again."""
    monkeypatch.setattr(pairs, "augment", lambda windows, rng: list(windows))


def test_a_draw_is_a_function_of_seed_and_step():
    one, two = sampler(), sampler()
    later = one(7)
    one(1)
    for name in ("low", "base", "target"):
        assert getattr(later, name).tobytes() == getattr(two(7), name).tobytes()
    assert later.low.tobytes() != two(8).low.tobytes()


def test_a_product_teaches_its_10_m_bands_alone():
    batch = sampler()(0)
    assert batch.low.shape == (3, 10, 16, 16)
    assert batch.base.shape == batch.target.shape == (3, 10, 32, 32)
    assert batch.low.dtype == batch.base.dtype == batch.target.dtype == np.float32
    assert batch.coarser == TWICE
    assert np.isfinite(batch.low).all()
    assert np.isfinite(batch.base).all()
    known = np.isfinite(batch.target)
    assert known[:, :4, 2 * UNJUDGED : -2 * UNJUDGED, 2 * UNJUDGED : -2 * UNJUDGED].all()
    assert not known[:, 4:].any()


def test_one_level_up_all_bands_are_known():
    scene = at_20m(product((120, 112)))
    batch = sampler(scene)(0)
    known = np.isfinite(batch.target)
    edge = 2 * UNJUDGED
    assert known[:, :, edge:-edge, edge:-edge].all()
    assert known.sum() == 3 * 10 * (32 - 2 * edge) ** 2  # nothing is known along the border


def test_all_bands_alike_leaves_out_bands_without_a_finer_image():
    batch = sampler(level=1.0)(0)
    assert batch.coarser == (False,) * 10
    assert np.isfinite(batch.low[:, :4]).all()
    assert np.isnan(batch.low[:, 4:]).all()


def test_low_pixels_are_gaussian_means_of_the_truth_at_their_centre(plain):
    scene = product()
    batch = sampler(scene, batch=1, similar=False)(4)
    top, left = next(  # where the patch was cut
        (y, x)
        for y in range(0, 80, 2)
        for x in range(0, 72, 2)
        if np.array_equal(batch.target[0, 0, 4:28, 4:28], scene.image[0, y + 4 : y + 28, x + 4 : x + 28])
    )
    y, x = np.mgrid[:80, :72]
    for row, col in ((5, 6), (9, 4)):
        distance = (y - (top + 2 * row + 0.5)) ** 2 + (x - (left + 2 * col + 0.5)) ** 2
        weight = np.exp(-distance / 2 / sigma_px(0.3, 2.0) ** 2)
        for band in range(4):
            expected = (weight * scene.image[band]).sum() / weight.sum()
            assert batch.low[0, band, row, col] == pytest.approx(expected, abs=1e-4)


def test_target_ends_where_a_small_scene_ends(plain):
    scene = product((24, 72))
    batch = sampler(scene, batch=1)(0)
    known = np.isfinite(batch.target[0, 0])
    assert known[: 24 - 4].any()
    assert not known[24:].any()


def test_mixed_bands_keep_their_mean_and_follow_one_another():
    scene = product()
    rng = np.random.default_rng(0)
    image = mixed(scene.image, 0.3, rng)
    assert np.isnan(image[4:]).all()  # bands of another grid have no part in it
    assert np.abs(image[:4].mean(axis=(1, 2)) - scene.image[:4].mean(axis=(1, 2))).max() < 1e-6
    # Each band is a sum of the four: nothing is left of it that those do not explain.
    old, new = ((v[:4] - v[:4].mean(axis=(1, 2), keepdims=True)).reshape(4, -1).T for v in (scene.image, image))
    weight, *_ = np.linalg.lstsq(old, new, rcond=None)
    assert np.abs(old @ weight - new).max() < 1e-5
    assert np.diag(weight) == pytest.approx(np.ones(4), abs=1e-3)
    spread = old.std(axis=0)
    assert 0.1 < np.abs((weight * spread[:, None] / spread)[~np.eye(4, dtype=bool)]).mean() < 0.5


def test_flat_bands_are_not_blown_up():
    window = np.full((2, 16, 16), 0.2, np.float32)
    window[0] += 0.1 * np.random.default_rng(0).standard_normal((16, 16)).astype(np.float32)
    window[1, 3, 3] = np.nan
    out = mixed(window, 0.3, np.random.default_rng(1))
    assert np.nanmax(np.abs(out - window)[0]) < 1e-6
    assert np.nanmax(np.abs(out - window)[1]) < 0.3 * 0.002 * 4 * 4
    assert np.isnan(out[:, 3, 3]).all()


def test_recoloured_regions_change_by_one_colour_each():
    scene = product()
    unchanged = scene.image.copy()
    image = recoloured(scene.image, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(scene.image, unchanged)
    assert np.isnan(image[4:]).all()
    change = image[:4] - scene.image[:4]
    moved = np.abs(change).max(axis=(1, 2)) > 0
    assert 0 < moved.sum() < 4
    assert (np.abs(change[moved]).std(axis=(1, 2)) < 3 * scene.image[:4][moved].std(axis=(1, 2))).all()
    # Inside a region nothing changes but the level: most neighbours differ as they did before. The blur spreads each
    # border over three pixels, which in so small an image is nearly half of them.
    step = np.abs(np.diff(change[moved], axis=1))
    assert np.median(step) < 0.06 * np.abs(change[moved]).max()


def test_recoloured_keeps_holes_and_empty_windows():
    window = np.random.default_rng(0).uniform(0.1, 0.3, (3, 16, 16)).astype(np.float32)
    window[1, 3, 3] = np.nan
    out = recoloured(window, 1.0, np.random.default_rng(1))
    assert (np.isnan(out) == np.isnan(window)).all()
    empty = np.full((3, 16, 16), np.nan, np.float32)
    assert np.isnan(recoloured(empty, 1.0, np.random.default_rng(1))).all()


def test_some_patches_are_mixed_and_some_recoloured(monkeypatch):
    seen = []
    for name in ("mixed", "recoloured"):
        monkeypatch.setattr(pairs, name, lambda window, spread, rng, name=name: seen.append((name, spread)) or window)
    for step in range(20):
        sampler(mix=0.3)(step)
    # Sixty patches of two windows each.
    for name, share in (("mixed", pairs.MIXED), ("recoloured", pairs.RECOLOURED)):
        assert sum(one == name for one, _ in seen) / 2 == pytest.approx(60 * share, abs=12)
    spreads = [spread for name, spread in seen if name == "mixed"]
    assert np.mean(spreads) == pytest.approx(0.3, abs=0.1)
    assert max(spreads) < 0.6
    assert {spread for name, spread in seen if name == "recoloured"} == {pairs.RECOLOUR}
    seen.clear()
    sampler()(0)
    assert not seen


def test_enlarged_is_the_interpolation_of_the_package():
    cube = make_cube(12, 10)
    expected = xsr.interpolate(cube, scale=2.0, method="bicubic").values[0]
    assert np.abs(enlarged(cube.values[0], 2) - expected).max() < 1e-6


# --- the loss ----------------------------------------------------------------------------------------------


class Silent(nn.Module):
    """Answers with a constant in every band."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x):
        return self.value.expand(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]).float()


def test_no_answer_costs_what_bicubic_costs():
    loss, baseline = fixed_loss(Silent(), sampler()(0), TINY, drop=(), device="cpu")
    assert float(loss.detach()) == float(baseline) > 0


def test_terms_by_hand():
    image = torch.zeros(2, 10, 4, 4)
    target = torch.full((2, 10, 4, 4), torch.nan)
    target[:, 0] = 0.1
    target[0, 1, :2] = 0.5  # a band that is known in part
    target[1, 4] = 1.0
    # FR: mean over the two known 10 m bands; Wald: the one known 20 m band.
    assert float(truth_error(image, target, BANDS)) == pytest.approx((0.1 + 0.5) / 2 + 1.0)
    assert float(truth_error(image, torch.full_like(target, torch.nan), BANDS)) == 0.0


def test_low_fidelity_is_zero_for_what_the_input_was_made_of():
    """The sensor of the loss is the one that made the pair, for both kinds of bands."""
    scene = at_20m(product((160, 160)))
    truth = torch.from_numpy(scene.image[None])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "augment", lambda windows, rng: list(windows))
        batch = sampler(scene, batch=1, patch=32)(1)
    inner = batch.target[0, 0, 4:-4, 4:-4]
    top, left = next(
        (y - 4, x - 4)
        for y in range(4, 24)
        for x in range(4, 24)
        if np.array_equal(inner, scene.image[0, y : y + 56, x : x + 56])
    )
    window = truth[:, :, top : top + 64, left : left + 64]
    sensor = fidelity(32, 2, MTF, TWICE)
    exact = float(sensor.low_fidelity(window, torch.from_numpy(batch.low)))
    blurred = float(sensor.low_fidelity(torch.from_numpy(batch.base), torch.from_numpy(batch.low)))
    assert exact < 1e-4
    assert blurred > 10 * exact


def test_weight_of_low_fidelity_counts_once():
    batch = sampler()(0)
    losses = [
        float(
            fixed_loss(
                Silent(0.3), batch, replace(TINY, task=replace(TINY.task, low_fidelity=w)), drop=(), device="cpu"
            )[0].detach()
        )
        for w in (0.0, 0.1, 0.2)
    ]
    assert losses[1] - losses[0] == pytest.approx(losses[2] - losses[1], rel=1e-3)
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (TINY.image.mean, TINY.image.std))
    low, image = (torch.from_numpy((v - mean) / std) for v in (batch.low, batch.base))
    term = fidelity(16, 2, MTF, TWICE).low_fidelity(image + 0.3, low)
    assert losses[1] - losses[0] == pytest.approx(0.1 * float(term), rel=1e-3)


def test_hidden_bands_neither_show_nor_count():
    seen = []

    class Watching(Silent):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    batch = sampler()(0)
    one = fixed_loss(Watching(0.2), batch, TINY, drop=(0, 5), device="cpu")
    assert not seen[0][:, [0, 5]].any()
    batch.low[:, [0, 5]] += 0.1
    batch.target[:, 0] += 0.1
    two = fixed_loss(Watching(0.2), batch, TINY, drop=(0, 5), device="cpu")
    assert [float(v.detach()) for v in one] == [float(v.detach()) for v in two]


def test_bands_that_are_missing_cost_nothing_and_give_no_gradient_but_numbers():
    network = Silent(0.2)
    loss, _ = fixed_loss(network, sampler(level=1.0)(0), TINY, drop=(), device="cpu")
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(network.value.grad)


# --- the recipe --------------------------------------------------------------------------------------------


def test_a_fixed_recipe_has_one_factor():
    assert recipes.CARN_S2.factor == 2
    assert recipes.LIIF_S2.factor is None


@pytest.fixture(scope="module", autouse=True)
def one_small_scene():
    """What recipes train on here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "_synthetic", lambda count, say: [at_20m(product((120, 112)))] * count)
        yield


def test_the_network_starts_as_bicubic_interpolation():
    task, told = build(TINY, None)
    assert told["places"] == ["here at 20 m"]
    loss, baseline = task.loss(task.network, task.sampler(0), TINY, drop=(), device="cpu")
    assert float(loss.detach()) == float(baseline)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("fixed") / "tiny.safetensors"
    return path, run_recipe(TINY, path, scenes=None)


@pytest.mark.slow
def test_same_recipe_same_bytes(trained, tmp_path):
    run_recipe(TINY, tmp_path / "again.safetensors", scenes=None)
    assert (tmp_path / "again.safetensors").read_bytes() == trained[0].read_bytes()


def test_a_stage_before_is_run_once_and_started_from(tmp_path, monkeypatch):
    monkeypatch.setitem(run.RECIPES, "tiny_first", replace(TINY, steps=2))
    second = replace(
        TINY, name="tiny", start="tiny_first", task=replace(TINY.task, mix=0.3), steps=1, learning_rate=0.0
    )
    card = run_recipe(second, tmp_path / "tiny.safetensors", scenes=None)
    first = tmp_path / "tiny_first.safetensors"
    assert card.training["start_sha256"] == file_sha256(first) == read_card(first).sha256
    assert card.training["recipe"]["start"] == "tiny_first"
    assert (tmp_path / "tiny.safetensors").read_bytes() == first.read_bytes()  # nothing was learnt at a rate of zero
    made = first.stat().st_mtime_ns
    run_recipe(second, tmp_path / "tiny.safetensors", scenes=None)
    assert first.stat().st_mtime_ns == made


def test_a_network_with_guides_starts_as_the_one_without(tmp_path, monkeypatch):
    monkeypatch.setitem(run.RECIPES, "tiny_first", replace(TINY, steps=2))
    guided = replace(TINY, name="tiny", architecture=f"{TINY.architecture}_injection", start="tiny_first", steps=1)
    guided = replace(guided, config={**TINY.config, "guides": 4}, learning_rate=0.0)
    path = tmp_path / "tiny.safetensors"
    run_recipe(guided, path, scenes=None)
    x = torch.randn(1, len(TINY.bands), 20, 20, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = registry.load(tmp_path / "tiny_first.safetensors")(x)
        assert wanted.std() > 0
        torch.testing.assert_close(registry.load(path)(x), wanted)


def test_shared_tensors_are_stored_once(tmp_path):
    network = registry.create("carn_1x3x2g1sw")
    kept = distinct(network)
    assert sum(v.numel() for v in kept.values()) == sum(p.numel() for p in network.parameters())
    assert len(kept) < len(network.state_dict())
    other = registry.create("carn_1x3x2g1sw")
    fit(other, kept, source="here")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in network.state_dict().items())
    with pytest.raises(WeightsError, match=r"residual_blocks\.0\.single_conv\.bias' has shape None"):
        fit(other, {k: v for k, v in kept.items() if not k.endswith("single_conv.bias")}, source="here")


def test_card_of_a_fixed_factor(trained):
    path, card = trained
    told = read_card(path)
    assert (told.factor, told.residual, told.scale_range) == (2, True, (2.0, 2.0))
    assert told.radius == 5
    assert told.sha256 == card.sha256
    assert "N. Ahn" in told.citation
    assert any(value.any() for key, value in load_file(path).items() if key.startswith("output_conv2"))


def test_new_weights_super_resolve(trained):
    cube = ten_bands(14, 12)
    fine = xsr.sisr(cube, model=trained[0])
    assert fine.shape == (1, 10, 28, 24)
    base = xsr.interpolate(cube, scale=2.0, method="bicubic")
    assert 0 < np.abs(fine.values - base.values).max() < 0.1  # six steps from bicubic interpolation


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REMEMBER", 2)

    class StopError(Exception):
        pass

    def stop(progress):
        if progress.step == 5:
            raise StopError

    whole, _, _ = train(TINY, build(TINY, None)[0])
    path = tmp_path / "run.checkpoint"
    with pytest.raises(StopError):
        train(TINY, build(TINY, None)[0], checkpoint=path, report=stop)
    resumed, steps, _ = train(TINY, build(TINY, None)[0], checkpoint=path)
    assert steps == 6
    mine, other = resumed.state_dict(), whole.state_dict()
    assert all(mine[key].numpy().tobytes() == other[key].numpy().tobytes() for key in other)


def test_border_is_wide_enough_for_the_interpolation():
    """Two pixels: what lies beyond the patch does not reach the pixels that are judged."""
    low = np.random.default_rng(0).random((1, 16, 16), np.float32)
    wide = np.pad(low, ((0, 0), (4, 4), (4, 4)), mode="linear_ramp", end_values=9.0)
    edge = fixed.UNJUDGED * 2
    inside = enlarged(wide, 2)[:, 8:-8, 8:-8][:, edge:-edge, edge:-edge]
    assert np.array_equal(enlarged(low, 2)[:, edge:-edge, edge:-edge], inside)


# --- the shipped weights -----------------------------------------------------------------------------------

SHIPPED = "carn_3x3x64g4sw_s2"
LIGHTER = "carn_3x2x32g2sw_s2"
LIGHTEST = "carn_3x1x32g2_s2"


def t33uub(data_dir):
    """Middle of a scene that the weights were not trained on: its 10 m bands, and all ten at 20 m."""
    with xr.open_dataset(data_dir / "s2_l1c_dsen2" / "S2A_MSIL1C_20170527_T33UUB.nc", mask_and_scale=False) as data:
        stored = [data[name].values for name in ("im10", "im20")]
    fine, coarse = (np.where(dn == 0, np.nan, dn * np.float32(1e-4)).astype(np.float32) for dn in stored)
    fine = fine[[2, 1, 0, 3]]  # the file has red first
    place = TestPlace("T33UUB", FINE, fine[None, :, 200:360, 240:400])
    return TestPlace("T33UUB", FINE, place.images[..., :80, :80]), scores.at_20m(
        place, coarse[None, :, 100:180, 120:200], COARSE
    )


@pytest.mark.slow
def test_shipped_weights_are_better_than_bicubic_in_every_band_of_a_scene_kept_out(data_dir):
    for place in t33uub(data_dir):
        found = scores.score(place, 2.0, SHIPPED)
        assert min(found.band_gain_db.values()) > 1.5, found
        assert list(found.band_gain_db) == list(place.bands)
        assert found.low_rmse < 0.002
        assert found.low_rmse < found.low_rmse_bicubic


@pytest.mark.parametrize(
    ("name", "radius", "kept_out"),
    [(SHIPPED, 30, ("31UES", "T33UUB")), (LIGHTER, 24, ("31UES",)), (LIGHTEST, 18, ("31UES",))],
)
def test_shipped_weights_are_those_of_their_recipe(name, radius, kept_out):
    card = registry.card(name)
    recipe = recipes.get(name)
    assert card.training["steps"] == recipe.steps
    assert (card.architecture, card.factor, card.bands) == (recipe.architecture, 2, BANDS)
    assert not any(out in place for place in card.training["places"] for out in kept_out)
    assert {row["place"] for row in card.scores} >= {*kept_out, "31UES at 20 m"}
    assert registry.load(name).radius == card.radius == radius


@pytest.mark.slow
@pytest.mark.parametrize("shipped", [SHIPPED, LIGHTER, LIGHTEST])
def test_shipped_weights_are_chunk_invariant(shipped):
    cube = ten_bands(20, 17)
    whole = xsr.sisr(cube, model=shipped)
    parts = cube.chunk(y=7, x=9).sr.sisr(model=shipped, chunks=(16, 34))
    assert parts.chunks[2:] == ((16, 16, 8), (34,))
    assert np.abs(parts.values - whole.values).max() < 1e-6
    assert np.abs(whole.values - xsr.interpolate(cube, scale=2.0, method="bicubic").values).max() > 1e-3
