from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import make_cube

from xsr.core.errors import ParameterError
from xsr.kernels.resample import interpolation_taps, resample_points
from xsr.models.card import read_card
from xsr.training import loop, optical, recipes
from xsr.training.build import build
from xsr.training.manifest import read_manifest
from xsr.training.optical import OpticalSampler, optical_loss, standardised
from xsr.training.recipe import Optical
from xsr.training.run import run_recipe
from xsr.training.scenes import TrainingScene
from xsr.training.tasks import Training, begin

TASK = Optical(scale_range=(2.0, 2.0), patch=20, queries=50, synthetic=1)
TINY = replace(
    recipes.LIIF_OPTICAL_FIRST,
    config={"channels": 4, "outputs": 1, "features": 8, "blocks": 1, "hidden": (16, 16)},
    task=TASK,
    batch=2,
    steps=4,
)
PLAIN = replace(TASK, mix=0.0, soften=0.0, mtf_error=0.0, noise_error=0.0)


def scene(bands=5, size=64, seed=0):
    rng = np.random.default_rng(seed)
    image = 3000 + 400 * rng.standard_normal((bands, size, size)).cumsum(axis=1).cumsum(axis=2)
    return standardised(TrainingScene("field", image.astype(np.float32)))


def fresh():
    torch.manual_seed(TINY.seed)
    network = begin(TINY.architecture, TINY.config, bias=False)
    return Training(network, OpticalSampler(TASK, (scene(),), TINY.batch, TINY.seed), optical_loss)


def test_scenes_are_standardised_and_lose_bands_without_contrast():
    image = np.stack([np.full((40, 40), 7.0), np.arange(1600.0).reshape(40, 40), np.full((40, 40), np.nan)])
    made = standardised(TrainingScene("ramp", image.astype(np.float32))).image
    assert made.shape == (1, 40, 40)
    assert (abs(float(made.mean())) < 1e-6, float(made.std())) == (True, pytest.approx(1.0, abs=1e-6))


def test_a_draw_is_a_function_of_its_number():
    sampler = OpticalSampler(TASK, (scene(), scene(2, seed=1)), 3, 7)
    one, again, other = sampler(4), sampler(4), sampler(5)
    np.testing.assert_array_equal(one.low, again.low)
    np.testing.assert_array_equal(one.target, again.target)
    assert one.low.shape != other.low.shape or (one.low != other.low).any()
    count = len(one.low)
    assert one.low.shape == (count, 4, 20, 20)
    assert one.base.shape == one.target.shape == (count, 50, 1)
    assert one.rows.shape == one.cols.shape == (count, 50)
    assert np.isfinite(one.low).all()


@pytest.mark.parametrize("bands", [(1, 1), (3, 3), (7, 12)])
def test_any_number_of_bands(bands):
    batch = OpticalSampler(replace(TASK, bands=bands), (scene(8),), 2, 0)(0)
    assert len(batch.low) == 2 * min(bands[0], TASK.taught)


def test_the_base_interpolates_the_plane_of_the_band():
    batch = OpticalSampler(PLAIN, (scene(),), 2, 1)(0)
    for low, rows, cols, base in zip(batch.low, batch.rows, batch.cols, batch.base, strict=True):
        wanted = resample_points(low[:1], *(interpolation_taps(axis, "bicubic") for axis in (rows, cols)))[0]
        shift = wanted - base[:, 0]  # the level of the plane is drawn, the difference to the truth is not
        assert np.ptp(shift) <= 1e-4


def test_the_plane_tells_the_mtf_that_blurred_the_band():
    image = np.zeros((1, 64, 64), np.float32)
    image[:, :, 32:] = 1.0
    stated = replace(PLAIN, bands=(1, 1), noise=(0.002, 0.0021))
    steep, mtf = [], []
    for value in (0.12, 0.42):
        batch = OpticalSampler(replace(stated, mtf=(value, value)), (TrainingScene("edge", image),), 1, 3)(0)
        band = batch.low[0, 0]
        step = max(np.abs(np.diff(band, axis=0)).max(), np.abs(np.diff(band, axis=1)).max())
        steep.append(step / np.ptp(band))
        mtf.append(float(batch.low[0, 2, 0, 0]))
    assert mtf[1] - mtf[0] == pytest.approx(3.0, abs=1.2)
    assert steep[1] > steep[0] * 1.2


def test_mistaken_estimates_say_nothing_of_the_mtf_and_take_texture_for_noise():
    quiet = replace(PLAIN, bands=(1, 1), noise=(0.002, 0.0021), mtf=(0.3, 0.3))
    stated = [
        np.array([OpticalSampler(task, (scene(),), 1, 3)(step).low[0, 2:, 0, 0] for step in range(20)])
        for task in (quiet, replace(quiet, mistaken=1.0, noise=(0.002, 0.1)))
    ]
    assert np.ptp(stated[0][:, 0]) < 3 < 4 < np.ptp(stated[1][:, 0])  # in tenths of the MTF
    assert stated[1][:, 1].max() > stated[0][:, 1].max() + 1


def test_the_loss_of_a_fresh_network_is_that_of_interpolation():
    training, about = build(TINY, None)
    batch = training.sampler(0)
    loss, baseline = optical_loss(training.network, batch, TINY, drop=(), device="cpu")
    bias = training.network.imnet.layers[-1].bias.detach().abs().max()
    assert float(loss.detach()) == pytest.approx(float(baseline), abs=60 * float(bias) + 1e-6)
    recipe = replace(TINY, task=replace(TASK, squared=True))
    squared, baseline = optical_loss(training.network, batch, recipe, drop=(), device="cpu")
    assert float(squared.detach()) == pytest.approx(float(baseline), abs=60 * float(bias) + 1e-6)
    assert float(squared.detach()) != float(loss.detach())
    assert (about["places"], about["scenes"]) == (["synthetic"], 1)


def test_training_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REMEMBER", 2)
    straight, _, _ = loop.train(TINY, fresh())
    file = tmp_path / "run.checkpoint"

    def killed(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(TINY, fresh(), checkpoint=file, report=killed)
    resumed, steps, _ = loop.train(TINY, fresh(), checkpoint=file)
    assert steps == 4
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_scenes_of_other_sensors_have_bands_of_any_names(tmp_path):
    np.save(tmp_path / "town.npy", np.random.default_rng(0).integers(1, 200, (3, 40, 44)).astype(np.uint8))
    text = (
        '[[scene]]\nplace = "town"\npath = "town.npy"\nuses = ["optical"]\nbands = ["x", "y2", "purple"]\nscale = 0.004'
    )
    (tmp_path / "scenes.toml").write_text(text)
    manifest = read_manifest(tmp_path / "scenes.toml")
    (found,) = optical.load(manifest, recipe="liif_optical", synthetic=0, least=36)
    assert (found.place, found.image.shape) == ("town", (3, 40, 44))
    assert manifest.select("image") == ()
    with pytest.raises(ParameterError, match=r"town.* has 40 x 44 pixels; expected 50"):
        optical.load(manifest, recipe="liif_optical", synthetic=0, least=50)


@pytest.mark.slow
def test_a_run_writes_weights_that_liif_uses(tmp_path):
    path = tmp_path / "mine.safetensors"
    card = run_recipe(replace(TINY, steps=2), path, scenes=None)
    assert (card.reads, card.mtf, card.sharpness, card.sensor) == ("each", (), "sensor", "any")
    assert (read_card(path).reads, read_card(path).sha256) == ("each", card.sha256)
    fine = make_cube((3, 40, 40), bands=["a", "b", "c"], gsd=1.0).sr.liif(scale=1.5, model=path)
    assert (dict(fine.sizes), bool(np.isfinite(fine.values).all())) == ({"band": 3, "y": 60, "x": 60}, True)


def test_nothing_to_train_on():
    with pytest.raises(ParameterError, match="no training scenes; give a manifest"):
        optical.load(None, recipe="liif_optical", synthetic=0, least=36)
