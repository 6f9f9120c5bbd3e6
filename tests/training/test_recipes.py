import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from models.helpers import make_cube
from safetensors.torch import load_file

import xsr
from xsr.core.errors import ParameterError
from xsr.kernels import evidence, planes, spread
from xsr.models import registry
from xsr.models.architectures.liif import LIIF
from xsr.models.card import file_sha256, read_card, write_card
from xsr.training import recipes, run
from xsr.training.build import band_mtf, build
from xsr.training.loop import train
from xsr.training.recipe import Continuous, Guided, Intervals, Optical, Sharpen
from xsr.training.run import record_scores, run_recipe
from xsr.training.scenes import COARSE
from xsr.training.scores import Score

TINY = replace(
    recipes.LIIF_S2_FIRST,
    config={"channels": 10, "outputs": 10, "features": 8, "blocks": 1, "hidden": (16, 16)},
    task=Continuous(scale_range=(1.0, 6.0), synthetic=1, patch=14, queries=64),
    batch=2,
    steps=3,
)


def as_json(card):
    return json.loads(json.dumps(asdict(card)))


def test_recipes_by_name():
    assert recipes.get("liif_s2") is recipes.LIIF_S2
    with pytest.raises(ParameterError, match=r"recipe 'magic' is unknown; expected one of carn.*, liif_s2"):
        recipes.get("magic")


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=lambda r: r.name)
def test_recipes_are_consistent(recipe):
    count = len(recipe.bands)
    channels = {key: recipe.config[key] for key in ("channels", "outputs", "bands") if key in recipe.config}
    if isinstance(recipe.task, Sharpen):
        channels["channels"] -= sum(band in COARSE for band in recipe.bands)
    if getattr(recipe.task, "reads", "bands") == "dates":
        channels["channels"] = channels["channels"] - evidence.count(count) + count
    if isinstance(recipe.task, Intervals):
        channels["channels"] //= spread.COUNT
    if isinstance(recipe.task, Optical):
        channels["channels"] //= planes.COUNT
    assert set(channels.values()) <= {count}
    assert len(recipe.image.mean) == len(recipe.image.std) == count
    task = recipe.task
    if isinstance(task, Guided):
        assert len(task.guide.mean) == len(task.guide.std) == len(task.guide.names)
    elif recipe.image.units != "K" and not isinstance(task, Optical):  # whose bands are in units of their own images
        assert all(0 < s < 1 for s in recipe.image.std)
    assert recipe.start in ("", *registry.names(), *recipes.RECIPES)
    assert set(recipe.image.optional) <= set(recipe.bands)
    assert all(set(subset) <= set(recipe.bands) for subset in recipe.subsets)
    assert task.scale_range[0] >= 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "new" / "mine.safetensors"
    return path, run_recipe(TINY, path, scenes=None)


@pytest.mark.slow
def test_run_writes_weights_in_half_precision_with_their_card(trained):
    path, card = trained
    assert as_json(card) == as_json(read_card(path))
    assert card.sha256 == file_sha256(path)
    state = load_file(path)
    assert {value.dtype for value in state.values()} == {torch.float16}
    network = LIIF(**card.config)
    assert card.parameters == sum(p.numel() for p in network.parameters()) == sum(v.numel() for v in state.values())
    assert card.radius == network.radius
    assert card.name == "mine"
    assert card.bands == TINY.bands
    assert card.image.optional == TINY.image.optional
    assert card.image.mean == TINY.image.mean
    assert card.image.std == TINY.image.std
    assert card.limits == TINY.limits
    assert card.mtf == band_mtf(TINY.bands)


def test_shipped_weights_are_those_of_the_recipe():
    card, recipe = registry.card("liif_s2"), recipes.LIIF_S2
    assert recipe.start == recipes.LIIF_S2_FIRST.name
    about = {key: value for key, value in json.loads(json.dumps(recipe.record())).items() if key != "task"}
    known = card.training["recipe"]
    # Settings that came after these weights, at their defaults.
    later = {"reads", "most", "alone", "real", "series", "intervals", "before"}
    assert about.keys() - known.keys() <= later
    assert {k: v for k, v in about.items() if k in known} == {k: known[k] for k in about if k in known}
    assert card.training["steps"] == recipe.steps
    assert card.training["start_sha256"] not in ("", card.sha256)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_recipe_says_how_many_images_are_interpolated(share):
    recipe = replace(TINY, task=replace(TINY.task, resampled=share))
    training, _ = build(recipe, None)
    assert training.sampler.resampled == share
    assert recipe.record().get("resampled", 0.0) == share
    assert ("resampled" in recipe.record()) == (share > 0)


def test_card_tells_how_it_was_trained(trained):
    training = trained[1].training
    assert training["steps"] == 3
    assert training["scenes"] == 1
    assert training["places"] == ["synthetic"]
    assert training["pixels"] == 256 * 256
    assert training["seed"] == 0
    assert training["recipe"]["learning_rate"] == TINY.learning_rate


def test_new_weights_super_resolve(trained):
    path, card = trained
    fine = xsr.liif(make_cube(10, 10, chunks=6), scale=3.4, model=path)
    assert np.isfinite(fine.values).all()
    assert fine.attrs["xsr_weights_sha256"] == card.sha256


@pytest.mark.slow
def test_same_recipe_same_bytes(trained, tmp_path):
    run_recipe(TINY, tmp_path / "again.safetensors", scenes=None)
    assert (tmp_path / "again.safetensors").read_bytes() == trained[0].read_bytes()


@pytest.mark.slow
def test_a_second_stage_asks_at_squares(trained, tmp_path, monkeypatch):
    first = tmp_path / "tiny_first.safetensors"
    first.write_bytes(trained[0].read_bytes())
    write_card(replace(trained[1], name="tiny_first"), first)
    monkeypatch.setitem(run.RECIPES, "tiny_first", TINY)
    second = replace(TINY, start="tiny_first", task=replace(TINY.task, square=12), steps=2)
    runs = [run_recipe(second, tmp_path / f"{name}.safetensors", scenes=None) for name in ("one", "two")]
    assert runs[0].training["start_sha256"] == trained[1].sha256
    assert runs[0].training["recipe"]["square"] == 12
    assert runs[0].sha256 == runs[1].sha256 != trained[1].sha256


@pytest.mark.slow
def test_stages_share_a_budget_of_minutes_by_their_steps(tmp_path, monkeypatch):
    given = []

    def watching(recipe, task, *, minutes, spent, **kwargs):
        given.append(minutes)
        assert 0 < spent < 1  # the making of scenes
        return train(replace(recipe, steps=1), task, **kwargs)

    monkeypatch.setattr(run, "train", watching)
    monkeypatch.setitem(run.RECIPES, "tiny_first", TINY)
    second = replace(TINY, start="tiny_first", steps=1)
    for minutes in (2.0, 2.0):
        run_recipe(second, tmp_path / "tiny.safetensors", scenes=None, minutes=minutes)
    assert given == [1.5, 0.5, 2.0]  # the first stage is there after the first run
    with pytest.raises(ParameterError, match=r"had 1 steps of training; expected the 3 of its recipe\. Remove it"):
        run_recipe(second, tmp_path / "tiny.safetensors", scenes=None)


def test_scores_are_recorded_in_the_card(trained, tmp_path):
    path = tmp_path / "copy.safetensors"
    path.write_bytes(trained[0].read_bytes())
    path.with_suffix(".json").write_text(trained[0].with_suffix(".json").read_text())
    score = Score("there", 2.0, 3, 30.0, 32.5, {"B02": 2.0}, low_rmse=0.01, low_rmse_bicubic=0.02)
    record_scores(path, [score])
    assert read_card(path).scores == [{**asdict(score), "gain_db": 2.5}]
    assert as_json(replace(read_card(path), scores=[])) == as_json(trained[1])
    assert registry.load(registry.spec(path)) is not None  # the weights were not touched


def test_output_must_be_a_weight_file(tmp_path):
    with pytest.raises(ParameterError, match=r"must end in \.safetensors"):
        run_recipe(TINY, tmp_path / "weights.pt", scenes=None)


def test_mtf_of_bands():
    assert band_mtf(("B02", "B08")) == pytest.approx((0.304, 0.222))
    with pytest.raises(ParameterError, match="is unknown for landsat"):
        band_mtf(("B2",), sensor="landsat-8")


@pytest.mark.slow
def test_a_recipe_of_time_starts_from_the_encoder_of_single_dates():
    task = replace(recipes.TEMPORAL_LIIF_S2.task, synthetic=1, patch=14, queries=32)
    recipe = replace(recipes.TEMPORAL_LIIF_S2, task=task, batch=2)
    task, about = build(recipe, None)
    assert about["places"] == ["synthetic"]
    shared = registry.load(recipe.start).state_dict()
    own = task.network.state_dict()
    assert all(torch.equal(own[key], shared[key]) for key in shared if key.startswith("encoder."))
    loss, baseline = task.loss(task.network, task.sampler(0), recipe, drop=(), device="cpu")
    assert float(loss.detach()) < float(baseline) < 1.1  # it sharpens from the first step on
