from dataclasses import replace

import numpy as np
import pytest
import torch
from models.helpers import BANDS, write_model

from xsr.core.errors import ParameterError
from xsr.kernels import spread
from xsr.models.architectures.error_size import Spread
from xsr.training import intervals
from xsr.training.intervals import (
    SHARES,
    STRATA,
    Errors,
    Pixels,
    PixelSampler,
    calibrate,
    collect,
    intervals_loss,
    pooled,
)
from xsr.training.recipes import LIIF_S2_INTERVALS
from xsr.training.scores import TestPlace

RECIPE = replace(LIIF_S2_INTERVALS, task=replace(LIIF_S2_INTERVALS.task, ranges=((1.0, 3.0), (3.0, 6.0))))


def made_up(count=60_000, seed=0, sigma=None):
    """Pixels whose error is Laplace-distributed, of a size that the first feature says."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((count, spread.COUNT)).astype(np.float32)
    size = np.exp(0.7 * features[:, 0] - 1) if sigma is None else np.full(count, sigma)
    return Pixels(
        place=rng.integers(0, 5, count),
        band=rng.integers(0, 10, count),
        scale=rng.choice([2.0, 4.0], count).astype(np.float32),
        features=features,
        error=(rng.laplace(size=count) * size).astype(np.float32),
        pixel=np.arange(count),
    )


def trained(pixels, steps=400):
    torch.manual_seed(0)
    network = Spread(width=8)
    intervals.start(network, pixels)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    draw = PixelSampler(pixels, 0)
    for step in range(steps):
        loss, _ = intervals_loss(network, draw(step), RECIPE, drop=(), device="cpu")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


@pytest.fixture(scope="module")
def network():
    return trained(made_up())


def expected(network, pixels):
    with torch.inference_mode():
        features, band = torch.from_numpy(pixels.features), torch.from_numpy(pixels.band)
        return network.of(features, network.band[band]).exp().numpy()


def test_the_size_of_errors_is_learnt(network):
    pixels = made_up(seed=1)
    found = np.log(expected(network, pixels))
    assert np.abs(found - (0.7 * pixels.features[:, 0] - 1)).mean() < 0.1


def test_quantiles_hold_on_pixels_that_did_not_make_them(network):
    rows = calibrate(RECIPE, network, made_up(seed=2))
    fresh = made_up(seed=3)
    size = expected(network, fresh)
    assert [row["scale"] for row in rows] == [[1.0, 3.0], [3.0, 6.0]]
    for row in rows:
        low, high = row["scale"]
        here = (fresh.scale >= low) & (fresh.scale < high)
        for share in (0.5, 0.8, 0.9, 0.95):
            covered = []
            for band in range(10):
                mine = here & (fresh.band == band)
                middles = np.array(row["expected"][band]) / RECIPE.image.std[band]
                ratio = [part[SHARES.index(share)] for part in row["ratio"][band]]
                width = np.interp(np.log(size[mine]), np.log(middles), ratio) * size[mine]
                covered.append(np.abs(fresh.error[mine]) <= width)
            assert np.concatenate(covered).mean() == pytest.approx(share, abs=0.015)


def test_a_model_that_knows_nothing_still_covers():
    """Conformal ratios do not need the model to be right."""
    torch.manual_seed(1)
    pixels, wild = made_up(), Spread(width=8)
    (row, _), fresh = calibrate(RECIPE, wild, pixels), made_up(seed=5)
    size, here = expected(wild, fresh), fresh.scale < 3
    covered = []
    for band in range(10):
        mine = here & (fresh.band == band)
        middles = np.array(row["expected"][band]) / RECIPE.image.std[band]
        ratio = [part[SHARES.index(0.9)] for part in row["ratio"][band]]
        width = np.interp(np.log(size[mine]), np.log(middles), ratio) * size[mine]
        covered.append(np.abs(fresh.error[mine]) <= width)
    assert np.concatenate(covered).mean() == pytest.approx(0.9, abs=0.015)


def test_weighted_shares_by_hand():
    values = np.array([3, 1, 2], np.float32)
    weight = np.array([1.0, 2.0, 1.0])  # sorted: 1, 1, 2, 3
    assert intervals.weighted(values, weight, (0.25, 0.5, 0.75, 0.8, 1.0)).tolist() == [1, 1, 2, 3, 3]


def test_each_place_counts_alike():
    place = np.array([0, 0, 0, 7])
    assert intervals.alike(place).tolist() == [1 / 3, 1 / 3, 1 / 3, 1]


def test_a_band_of_few_places_takes_after_all_bands():
    """The ratios of one band are twice those of the other; both have as many pixels."""
    rng = np.random.default_rng(0)
    ratio, stratum = rng.exponential(size=6000).astype(np.float32), rng.integers(0, len(STRATA) + 1, 6000)
    many = Errors(ratio, stratum, np.ones(6000), 1000)
    for places, least, greatest in ((1000, 1.95, 2.05), (1, 1.05, 1.35)):
        other = Errors(2 * ratio, stratum, np.ones(6000), places)
        own, found = pooled([replace(many, places=places), other])[:, :, SHARES.index(0.9)]
        assert least < np.median(found / own) < greatest
    assert (np.diff(pooled([many, other]), axis=-1) >= 0).all()
    assert (pooled([many, other])[..., 0] == 0).all()


def test_one_in_a_hundred_is_unlike_the_calibration():
    """Two bands; half of the pixels have the first alone."""
    rng, size = np.random.default_rng(0), len(spread.SMOOTH)
    drawn = rng.standard_normal((4000, 2 * size)) @ rng.standard_normal((2 * size, 2 * size)) + 3
    features = np.zeros((2, 4000, spread.COUNT), np.float32)
    features[:, :, spread.SMOOTH] = drawn.reshape(4000, 2, size).swapaxes(0, 1)
    pixel = np.arange(4000)
    both = Pixels(
        place=np.zeros(6000, np.int64),
        band=np.repeat([0, 1], [4000, 2000]),
        scale=np.full(6000, 2, np.float32),
        features=np.concatenate([features[0], features[1, :2000]]),
        error=np.zeros(6000, np.float32),
        pixel=np.concatenate([pixel, pixel[:2000]]),
    )
    found = intervals.likeness(both, 2)
    covariance, off = np.array(found["covariance"]), drawn - found["middle"]
    np.testing.assert_allclose(covariance, np.cov(drawn.T), rtol=0.15, atol=0.3)
    for bands, count in ((1, 4000), (2, 2000)):
        end = bands * size
        distance = spread.squared_distance(off[:count, :end], covariance[:end, :end])
        assert (distance > found["far"][bands - 1]).mean() == pytest.approx(0.01, abs=0.002)


def test_every_place_is_drawn_as_often():
    pixels = made_up(2000)
    many = replace(pixels, place=np.where(np.arange(2000) < 1900, 0, 1))
    batch = PixelSampler(many, 3)(0)
    assert np.mean(batch.place == 1) == pytest.approx(0.5, abs=0.03)
    again, other = PixelSampler(many, 3)(0), PixelSampler(many, 3)(1)
    assert np.array_equal(batch.error, again.error)
    assert not np.array_equal(batch.error, other.error)


def test_pixels_are_those_of_results(tmp_path):
    """The error of a network that adds nothing is that of bicubic interpolation, and nothing was added."""
    rng = np.random.default_rng(0)
    images = (0.2 + 0.05 * rng.random((1, 4, 96, 96))).astype(np.float32)
    images[0, 0, :4, :4] = np.nan
    path = write_model(tmp_path, zero=True)
    recipe = replace(RECIPE, task=replace(RECIPE.task, of=str(path), scales=(2.0,), pixels=50))
    found = collect(recipe, [TestPlace("here", BANDS, images), TestPlace("here at 20 m", BANDS, images)])
    assert set(found.place) == {0}
    assert set(found.band) == {recipe.bands.index(band) for band in BANDS}
    assert np.isfinite(found.error).all()
    assert len(found.error) == 2 * intervals.PATCHES * 4 * 50
    assert (np.unique(found.pixel, return_counts=True)[1] == 4).all()
    np.testing.assert_allclose(found.features[:, :3], 0.5 * np.log(spread.LEAST), atol=1e-3)
    assert np.abs(found.error).mean() > 0.05


def test_places_that_are_too_small_are_refused():
    tiny = TestPlace("tiny", BANDS, np.zeros((1, 4, 20, 20), np.float32))
    with pytest.raises(ParameterError, match="no place has 96 pixels along both sides"):
        collect(RECIPE, [tiny])


def test_the_range_of_features_is_that_of_the_calibration(network):
    pixels = made_up(seed=6)
    row = calibrate(RECIPE, network, pixels)[1]
    mine = pixels.features[(pixels.scale >= 3) & (pixels.band == 4)]
    assert len(row["least"]) == len(row["greatest"]) == 10
    least, greatest = np.array(row["least"][4]), np.array(row["greatest"][4])
    assert least.shape == greatest.shape == (spread.COUNT - 1,)
    outside = (mine[:, :-1] < least) | (mine[:, :-1] > greatest)
    np.testing.assert_allclose(outside.mean(axis=0), 0.002, atol=0.001)


def places_of(count, seed, bands=6, pixels=300):
    """Places that differ from one another more than their pixels do."""
    rng, size = np.random.default_rng(seed), len(spread.SMOOTH)
    middle = rng.standard_normal((count, 1, bands, 1)) + 0.5 * rng.standard_normal((count, 1, bands, size))
    drawn = middle + 0.5 * rng.standard_normal((count, pixels, bands, size))
    features = np.zeros((count * pixels * bands, spread.COUNT), np.float32)
    features[:, spread.SMOOTH] = drawn.reshape(-1, size)
    return Pixels(
        place=np.repeat(np.arange(count), pixels * bands),
        band=np.tile(np.arange(bands), count * pixels),
        scale=np.full(len(features), 2, np.float32),
        features=features,
        error=np.zeros(len(features), np.float32),
        pixel=np.repeat(np.arange(count * pixels), bands),
    )


def test_few_places_do_not_mark_what_a_new_place_looks_like():
    """Eight places, eighteen features: a place is judged by the others, not by itself."""
    marked = []
    for seed in range(4):
        found = intervals.likeness(places_of(8, seed), 6)
        fresh = places_of(40, 100 + seed).features[:, spread.SMOOTH].reshape(-1, 6 * len(spread.SMOOTH))
        distance = spread.squared_distance(fresh - np.array(found["middle"]), np.array(found["covariance"]))
        marked.append((distance > found["far"][-1]).mean())
    assert np.mean(marked) < 0.08


def test_left_out_sums_are_those_of_the_rest():
    rng = np.random.default_rng(0)
    rows, weight, there = rng.standard_normal((50, 4)), rng.random(50), np.ones((50, 4), bool)
    parts = [intervals.Spreads.of(rows[part], there[part], weight[part]) for part in (slice(0, 20), slice(20, 50))]
    found = intervals.Spreads.sum(parts)
    np.testing.assert_allclose(found.mean(4), np.average(rows, axis=0, weights=weight))
    np.testing.assert_allclose(found.covariance(4), np.cov(rows.T, aweights=weight, ddof=0))
    np.testing.assert_allclose(found.covariance(2), np.cov(rows[:, :2].T, aweights=weight, ddof=0))
