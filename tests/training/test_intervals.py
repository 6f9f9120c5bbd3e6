from dataclasses import replace

import numpy as np
import pytest
import torch
from models.helpers import BANDS, write_model

from xsr.core.errors import ParameterError
from xsr.kernels import spread
from xsr.models.architectures.error_size import Spread
from xsr.training import intervals
from xsr.training.intervals import SHARES, Pixels, PixelSampler, calibrate, collect, intervals_loss
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


def test_ratios_by_hand():
    values = np.arange(1, 10, dtype=np.float32)  # nine: the 90 % quantile is the largest, since 0.9 * 10 = 9
    found = dict(zip(SHARES, intervals._ratios(values), strict=True))
    assert found[0.0] == 0.0
    assert found[0.5] == 5.0
    assert found[0.9] == found[0.95] == 9.0


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
