"""Batches with one date or several: seeds, what other dates and sharp bands say, displaced and hidden dates."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from models.helpers import lively

from xsr.kernels import evidence
from xsr.kernels.evidence import Reader
from xsr.kernels.resample import interpolation_taps, resample_points
from xsr.models.architectures.liif import LIIF
from xsr.models.channels import Channels
from xsr.training import recipes
from xsr.training.build import build
from xsr.training.dates import DateSampler, Either, RealDateSampler, another_day
from xsr.training.pairs import Turn, WaldSampler
from xsr.training.recipe import Continuous, Recipe
from xsr.training.scenes import BANDS, TrainingScene
from xsr.training.series import Series, SeriesSampler, registered
from xsr.training.tasks import liif_loss

MTF, STD = (0.3, 0.3, 0.3), (0.03, 0.05, 0.08)
LARGER = (False, False, True)
READER = Reader(STD, MTF, LARGER)


def field(seed, bands=3, side=160):
    """Bands with a power law for a spectrum; the last is a mixture of the others."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    spectrum = np.where(f > 0, np.maximum(f, 1e-9) ** -1.3, 0)
    fields = np.fft.irfft2(spectrum * np.fft.rfft2(rng.standard_normal((bands, side, side))), s=(side, side))
    image = 0.2 + 0.03 * fields / fields.std(axis=(1, 2), keepdims=True)
    image[2] = 0.1 + 0.3 * image[0] + 0.4 * image[1]
    return image.astype(np.float32)


def wald(**changes):
    scenes = (TrainingScene("here", field(0)),)
    settings = dict(scale_range=(2.0, 2.0), patch=32, queries=60, batch=3, mtf_jitter=0.0, seed=3, similar=True)
    return WaldSampler(scenes, MTF, **{**settings, "coarser": LARGER, "level": 0.0, **changes})


def sampler(alone=0.0, hidden=(), **changes):
    return DateSampler(wald(**changes), READER, 4, alone, lambda step: hidden)


def parts(batch):
    return [v.tobytes() for v in (batch.low, batch.rows, batch.cols, batch.base, batch.target, batch.further)]


def errors(batch):
    """Error of the base and of bicubic interpolation, by band."""
    bicubic = np.stack(
        [
            resample_points(low, interpolation_taps(rows, "bicubic"), interpolation_taps(cols, "bicubic")).T
            for low, rows, cols in zip(batch.low, batch.rows, batch.cols, strict=True)
        ]
    )
    return [np.sqrt(np.mean((image - batch.target) ** 2, axis=(0, 1))) for image in (batch.base, bicubic)]


def test_a_draw_is_a_function_of_seed_and_step():
    one, two = sampler(), sampler()
    later = one(7)
    one(1)
    assert parts(later) == parts(two(7))
    assert parts(later) != parts(two(8))
    assert parts(later) != parts(sampler(seed=4)(7))


def test_one_date_alone_gains_by_deblurring_and_by_sharp_bands():
    batch = sampler(alone=1.0)(0)
    assert batch.further.shape == (3, evidence.count(3) - 3, 32, 32)
    assert (batch.further[:, -1] == 0).all()
    assert (batch.further[:, :2] == 0).all()
    assert batch.further[:, 2].std() > 0.01
    base, bicubic = errors(batch)
    assert (base < bicubic).all()
    assert base[2] < 0.6 * bicubic[2]


def test_other_dates_say_more():
    gains = [float(batch.further[:, -1].mean()) for batch in map(sampler(), range(4))]
    assert all(gain > 0.02 for gain in gains)
    alone, several = (
        np.mean([errors(draw(step))[0] for step in range(6)], axis=0) for draw in (sampler(1.0), sampler())
    )
    assert (several[:2] < alone[:2]).all()


def test_bands_that_are_hidden_say_nothing():
    batch = sampler(hidden=(0,))(1)
    assert np.isnan(batch.low[:, 0]).all()
    assert np.isnan(batch.target[..., 0]).all()
    assert np.isfinite(batch.target[..., 1:]).all()
    assert np.isfinite(batch.base).all()
    assert np.isfinite(batch.further).all()
    sharp_alone = sampler(hidden=(0, 1))(1)
    assert (sharp_alone.further[:, 2] == 0).all()


def test_another_day_is_like_the_first_but_not_the_same():
    scene = field(5)
    (other,) = another_day([scene], np.random.default_rng(1))
    assert 0.3 < np.corrcoef(scene[0].ravel(), other[0].ravel())[0, 1] < 0.9999


# --- real series ---------------------------------------------------------------------------------------------------


def series(dates=6, clouds=True):
    """Dates of one scene with a brightness of their own, displaced by whole pixels."""
    scene, shifts = field(6, side=128), np.array([(0, 0), (1, 0), (0, -1), (1, 1), (0, 0), (-1, 1)])[:dates]
    level = 0.02 * np.sin(np.arange(dates))
    image = np.stack([np.roll(scene, shift, (1, 2)) + offset for shift, offset in zip(shifts, level, strict=True)])
    if clouds:
        image[2, :, 20:50] = np.nan
    times = np.datetime64("2024-05-01", "ns") + 5 * np.arange(dates) * np.timedelta64(1, "D")
    return Series("here", times, image.astype(np.float32), None), shifts


def real(hidden=0.0, **changes):
    several = SeriesSampler((registered(series()[0]),), wald(**{"queries": 80, **changes}), (3, 5), hidden, 0.5)
    return RealDateSampler(several, READER, lambda step: ())


def test_displacements_are_measured_against_the_clearest_date():
    made, shifts = series()
    found = registered(made).shifts
    np.testing.assert_allclose(found, shifts - shifts[0], atol=0.1)


def test_a_date_that_is_shown_is_its_own_image():
    for step in range(3):
        batch = real()(step)
        known = np.isfinite(batch.target)
        assert known.mean() > 0.3
        base = np.abs(batch.base - batch.target)[known]
        assert np.sqrt(np.mean(base**2)) < 0.012


def test_a_date_that_is_hidden_is_made_of_the_others():
    shown, hidden = (
        np.mean([np.nanmean(np.abs(b.base - b.target)) for b in map(real(share), range(4))]) for share in (0.0, 1.0)
    )
    assert shown < hidden < 0.05


def test_draws_of_series_follow_the_seed():
    assert parts(real()(4)) == parts(real()(4))
    assert parts(real()(4)) != parts(real()(5))


@pytest.mark.parametrize("turn", [Turn(), Turn((1,)), Turn((2,), True), Turn((1, 2), True)])
def test_displacements_turn_with_the_image(turn):
    scene = field(7, side=64)
    moved = np.roll(scene, (3, -1), (1, 2))
    down, right = turn.shift(np.array([[3.0, -1.0]]))[0].astype(int)
    np.testing.assert_array_equal(np.roll(turn.image(scene), (down, right), (1, 2)), turn.image(moved))


def test_either_draws_both_in_their_shares():
    both = Either(lambda step: 1, lambda step: 2, 0.25, 0)
    drawn = [both(step) for step in range(400)]
    assert drawn == [both(step) for step in range(400)]
    assert 70 < drawn.count(2) < 130


# --- training ------------------------------------------------------------------------------------------------------


def test_the_loss_reads_the_further_channels():
    config = {"channels": evidence.count(3), "outputs": 3, "features": 8, "blocks": 1, "hidden": (16,)}
    channels = Channels(("B02", "B04", "B11"), (0.2, 0.2, 0.2), STD)
    recipe = Recipe(
        name="x", summary="", architecture="liif", config=config, task=Continuous(reads="dates"), image=channels
    )
    batch, network = sampler()(0), lively(LIIF(**config))
    loss, baseline = liif_loss(network, batch, recipe, drop=(), device="cpu")
    other, _ = liif_loss(network, replace(batch, further=0 * batch.further), recipe, drop=(), device="cpu")
    assert torch.isfinite(loss)
    assert loss.item() != other.item()
    loss.backward()
    assert network.encoder.head[0].weight.grad[:, 3:].abs().sum() > 0
    assert 0 < baseline.item() <= 1


def test_a_recipe_that_reads_dates_is_built(monkeypatch):
    recipe = replace(
        recipes.LIIF_S2,
        start="",
        config={**recipes.LIIF_S2.config, "channels": evidence.count(10), "features": 8, "blocks": 1, "hidden": (8,)},
        task=Continuous(
            scale_range=(1.5, 4.0), patch=24, square=16, synthetic=1, series=1, reads="dates", similar=True
        ),
        batch=2,
    )
    training, about = build(recipe, None)
    assert about["series"] == ["synthetic"]
    for sampler_of in (training.sampler.first, training.sampler.second):
        batch = sampler_of(0)
        loss, _ = training.loss(training.network, batch, recipe, drop=(), device="cpu")
        assert torch.isfinite(loss)
    assert batch.low.shape[1] == len(BANDS)
