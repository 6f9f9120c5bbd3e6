"""Training of a network that sharpens bands: its pairs, its loss, and a run from recipe to result."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

import xsr
from xsr.core.blocks import Span
from xsr.kernels.degrade import observe, sensor_band
from xsr.kernels.evidence import Reader
from xsr.models.architectures.sharpener import Sharpener
from xsr.models.card import read_card
from xsr.training import recipes
from xsr.training.build import build
from xsr.training.pairs import WaldSampler
from xsr.training.recipe import Sharpen
from xsr.training.run import run_recipe
from xsr.training.scenes import COARSE, FINE, TrainingScene
from xsr.training.sharpening import UNJUDGED, SharpenSampler, sharpen_loss

BANDS = FINE + COARSE
LARGER = tuple(band in COARSE for band in BANDS)
TINY = replace(
    recipes.SHARPEN_S2,
    config={"channels": 16, "bands": 10, "features": 8, "blocks": 1},
    task=Sharpen(synthetic=1, patch=24, similar=True),
    batch=2,
    steps=3,
)
MTF = tuple(np.linspace(0.2, 0.35, 10))
STD = recipes.SHARPEN_S2.image.std


def scene(seed=0, side=96):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((10, side, side)).astype(np.float32)
    soft = observe(noise, sensor_band(0.2, 1.0), rows=Span(0, side), cols=Span(0, side))
    return TrainingScene("here", (0.2 + 0.05 * soft).astype(np.float32))


def sampler(hidden=(), published=0.0, image=None, **changes):
    one = scene() if image is None else TrainingScene("here", image)
    settings = dict(scale_range=(1.0, 1.0), patch=24, queries=1, batch=3, mtf_jitter=0.0, seed=4, similar=True)
    wald = WaldSampler((one,), MTF, **{**settings, "coarser": LARGER, "level": 0.0, **changes})
    return SharpenSampler(wald, Reader(STD, MTF, LARGER), lambda step: hidden, published)


def test_a_pair_is_a_function_of_seed_and_step():
    one, two, other = (sampler(mix=0.3, noise=(0.001,) * 10)(step) for step in (5, 5, 6))
    for name in ("low", "added", "target"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes() != getattr(other, name).tobytes()


def test_only_bands_of_larger_pixels_are_judged_and_only_they_are_degraded(monkeypatch):
    monkeypatch.setattr("xsr.training.pairs.augment", lambda windows, rng, **kwargs: list(windows))
    batch = sampler()(0)
    edge = UNJUDGED
    assert np.isnan(batch.target[:, :4]).all()
    assert np.isfinite(batch.target[:, 4:, edge:-edge, edge:-edge]).all()
    assert np.isnan(batch.target[:, 4:, :edge]).all()
    assert (batch.added[:, :4] == 0).all()
    image = scene().image
    for low, target in zip(batch.low, batch.target, strict=True):
        row, col = np.argwhere(image[0] == low[0, 0, 0])[0]
        assert row % 2 == col % 2 == 0
        np.testing.assert_array_equal(low[:4], image[:4, row : row + 24, col : col + 24])
        inner = (slice(None), slice(edge, -edge), slice(edge, -edge))
        np.testing.assert_array_equal(target[4:][inner], image[4:, row : row + 24, col : col + 24][inner])
        wanted = observe(
            image[[5]],
            sensor_band(MTF[5], 1.0, own=2, source_mtf=MTF[5]),
            rows=Span(int(row), int(row) + 24),
            cols=Span(int(col), int(col) + 24),
        )[0]
        np.testing.assert_allclose(low[5][inner[1:]], wanted[inner[1:]], rtol=0, atol=0.02)
        np.testing.assert_allclose(low[5][10:14, 10:14], wanted[10:14, 10:14], rtol=0, atol=1e-6)


def test_the_published_formula_makes_softer_bands():
    def spread(published):
        low = sampler(published=published)(1).low[:, 4:]
        return np.abs(np.diff(low, axis=-1)).mean()

    assert spread(1.0) < 0.95 * spread(0.0)


def test_hidden_bands_are_neither_read_nor_judged():
    batch = sampler(hidden=(1, 6))(0)
    assert np.isnan(batch.low[:, [1, 6]]).all()
    assert np.isnan(batch.target[:, 6]).all()
    assert (batch.added[:, 6] == 0).all()


def test_the_loss_of_nothing_is_that_of_what_is_added():
    network = Sharpener(channels=16, bands=10, features=8, blocks=1)
    torch.nn.init.zeros_(network.trunk[-1].weight)
    torch.nn.init.zeros_(network.trunk[-1].bias)
    batch = sampler()(2)
    mine, other = sharpen_loss(network, batch, TINY, drop=(), device="cpu")
    std = np.array(STD)[:, None, None]
    inner = (..., slice(UNJUDGED, -UNJUDGED), slice(UNJUDGED, -UNJUDGED))
    error, before = (
        np.sqrt((((batch.low + added - batch.target) / std)[:, 4:][inner] ** 2).mean(axis=(2, 3)) + 1e-6)
        for added in (batch.added, 0 * batch.added)
    )
    assert mine.item() == pytest.approx((error / (before + 0.01)).mean(), rel=1e-4)
    assert other.item() == pytest.approx((before / (before + 0.01)).mean(), rel=1e-4)


def test_scenes_without_bands_of_both_sizes_are_left_out(tmp_path):
    task, about = build(TINY, None)
    assert about["places"] == ["synthetic"]
    batch = task.sampler(0)
    loss, base = task.loss(task.network, batch, TINY, drop=(), device="cpu")
    assert 0 < loss.item() < base.item()


def test_a_run_makes_weights_that_sharpen(tmp_path):
    path = tmp_path / "tiny.safetensors"
    card = run_recipe(TINY, path, scenes=None)
    assert read_card(path).sha256 == card.sha256
    assert (card.reads, card.factor, card.sharpness, card.scale_range) == ("detail", 1, "sensor", (1.0, 1.0))
    cube = xsr.testing.synthetic_cube(size=(40, 40), bands=("B02", "B08", "B05", "B11"))
    fine = cube.sr.sharpen(model=path)
    assert isinstance(fine, xr.DataArray)
    assert fine.attrs["xsr_model"] == "tiny"
    assert np.isfinite(fine).all()
