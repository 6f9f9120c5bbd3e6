from dataclasses import replace

import numpy as np
import pytest
import torch
from models.helpers import lively

from xsr.kernels.resample import interpolation_taps, resample_points
from xsr.models import catalogue
from xsr.models.architectures.liif import LIIF
from xsr.models.architectures.temporal_liif import TemporalLIIF
from xsr.models.channels import Channels
from xsr.training.pairs import Batch
from xsr.training.recipe import Continuous, Recipe
from xsr.training.series import SeriesBatch
from xsr.training.tasks import FLOOR, bicubic_at, deepen, liif_loss, relative, sensed, temporal_loss

TINY = Recipe(
    name="tiny",
    summary="A tiny recipe.",
    task=Continuous(),
    architecture="liif",
    config={"channels": 2, "outputs": 2, "features": 8, "blocks": 1, "hidden": (16, 16)},
    image=Channels(("B02", "B08"), (0.1, 0.1), (0.05, 0.05)),
)


# --- bicubic interpolation at scattered positions ----------------------------------------------------------


def test_bicubic_at_equals_the_kernel_of_the_package_and_repeats_the_border():
    rng = np.random.default_rng(0)
    images = rng.random((3, 2, 9, 11), dtype=np.float32)
    rows, cols = rng.uniform(-0.5, 8.5, (3, 200)), rng.uniform(-0.5, 10.5, (3, 200))
    rows[:, 0], cols[:, 1] = 4.0, 10.0  # on pixels
    found = bicubic_at(torch.from_numpy(images).double(), torch.from_numpy(rows), torch.from_numpy(cols))
    assert found.shape == (3, 200, 2)
    for i in range(3):
        padded = np.pad(images[i], ((0, 0), (2, 2), (2, 2)), mode="edge")
        wanted = resample_points(
            padded, interpolation_taps(rows[i] + 2, "bicubic"), interpolation_taps(cols[i] + 2, "bicubic")
        )
        np.testing.assert_allclose(found[i].T, wanted, rtol=0, atol=1e-6)


def test_bicubic_at_reproduces_a_ramp():
    y, x = np.mgrid[:8, :8]
    ramp = torch.from_numpy(0.3 * y - 0.1 * x)[None, None]
    rows, cols = torch.tensor([[2.3, 4.0]]).double(), torch.tensor([[5.9, 3.5]]).double()
    wanted = 0.3 * rows - 0.1 * cols
    assert (bicubic_at(ramp, rows, cols)[..., 0] - wanted).abs().max() <= 1e-12


# --- the relative loss -------------------------------------------------------------------------------------


def test_relative_by_hand():
    error = torch.tensor([[[1.0, 3.0], [-2.0, float("nan")]], [[0.5, 0.0], [0.5, 0.0]]])  # (n, query, band)
    reference = torch.tensor([[[2.0, 1.0], [-2.0, 1.0]], [[0.0, 0.0], [0.0, float("nan")]]])
    loss, baseline = relative(error, reference, ())
    # means: patch 0: 1.5 / 2, 3 / 1 (one query known); patch 1: 0.5 / 0, 0 / 0
    assert float(loss) == pytest.approx((1.5 / 2.02 + 3 / 1.02 + 0.5 / 0.02 + 0) / 4, rel=1e-6)
    assert float(baseline) == pytest.approx((2 / 2.02 + 1 / 1.02) / 4, rel=1e-6)
    loss, _ = relative(error, reference, (1,))
    assert float(loss) == pytest.approx((1.5 / 2.02 + 0.5 / 0.02) / 2, rel=1e-6)


def test_relative_of_squares_by_hand():
    error = torch.tensor([[[3.0, 1.0], [-4.0, float("nan")]]])  # (n, query, band)
    reference = torch.tensor([[[1.0, 2.0], [7.0, 5.0]]])
    loss, baseline = relative(error, reference, (), squared=True)
    # root mean squares: 3.5355 / 5 of both queries, 1 / 2 of the one that is known
    assert float(loss) == pytest.approx((12.5**0.5 / 5.02 + 1 / 2.02) / 2, rel=1e-6)
    assert float(baseline) == pytest.approx((5 / 5.02 + 2 / 2.02) / 2, rel=1e-6)


@pytest.mark.parametrize("squared", [False, True])
def test_relative_of_nothing_is_zero_with_finite_gradients(squared):
    error = torch.full((2, 3, 2), torch.nan, requires_grad=True)
    loss, baseline = relative(error, torch.zeros(2, 3, 2), (), squared=squared)
    loss.backward()
    assert loss.item() == baseline.item() == 0
    assert torch.isfinite(error.grad).all()


def test_patches_and_bands_count_alike_however_loud_they_are():
    rng = torch.Generator().manual_seed(0)
    error, reference = torch.randn(2, 2, 50, 3, generator=rng).unbind(0)
    loud = torch.tensor([1.0, 50.0])[:, None, None] * torch.tensor([1.0, 20.0, 400.0])
    loss, _ = relative(error * loud, reference * loud, ())
    quiet, _ = relative(error, reference, ())
    assert float(loss) == pytest.approx(float(quiet), rel=0.05)  # but for the floor


# --- networks that go on from others -------------------------------------------------------------------------


def test_a_deeper_network_begins_as_the_one_it_goes_on_from():
    torch.manual_seed(0)
    shallow, deep = (catalogue.get("liif").make(**{**TINY.config, "blocks": blocks}) for blocks in (1, 3))
    deepen(deep, shallow)
    low, at = torch.randn(2, 2, 9, 9), torch.rand(2, 5) * 8
    one, other = (net.decode(net.encode(low), at, at, (0.5, 0.5)) for net in (shallow, deep))
    torch.testing.assert_close(other, one)
    other.sum().backward()
    assert all(block.body[-1].weight.grad.abs().max() > 0 for block in deep.encoder.body[:-1])


# --- single images -----------------------------------------------------------------------------------------


def made_batch(**changes):
    rng = np.random.default_rng(0)
    parts = dict(
        scale=2.0,
        low=rng.random((2, 2, 12, 12)).astype(np.float32) * 0.2,
        rows=rng.uniform(4, 7, (2, 9)),
        cols=rng.uniform(4, 7, (2, 9)),
        base=rng.random((2, 9, 2)).astype(np.float32) * 0.2,
        target=rng.random((2, 9, 2)).astype(np.float32) * 0.2,
    )
    return Batch(**{**parts, **changes})


def network(answer=None):
    """Random network, or one that gives the same answer everywhere."""
    made = lively(LIIF(**TINY.config))
    if answer is not None:
        torch.nn.init.zeros_(made.imnet.layers[-1].weight)
        torch.nn.init.constant_(made.imnet.layers[-1].bias, answer)
    return made


def loss_of(net, batch, drop=()):
    loss, baseline = liif_loss(net, batch, TINY, drop=drop, device="cpu")
    assert loss.requires_grad
    assert not baseline.requires_grad
    return loss.item(), baseline.item()


@pytest.mark.parametrize("answer", [0.0, 0.3])
@pytest.mark.parametrize("drop", [(), (1,)])
def test_liif_loss_by_hand(answer, drop):
    batch = made_batch()
    batch.target[0, :5, 1] = np.nan
    loss, baseline = loss_of(network(answer), batch, drop)
    wanted = (batch.target - batch.base) / 0.05
    bicubic = np.nanmean(np.abs(wanted), axis=1)  # (n, band)
    mine = np.nanmean(np.abs(wanted - answer), axis=1)
    keep = [b for b in range(2) if b not in drop]
    assert loss == pytest.approx((mine / (bicubic + FLOOR))[:, keep].mean(), rel=1e-5)
    assert baseline == pytest.approx((bicubic / (bicubic + FLOOR))[:, keep].mean(), rel=1e-5)


def test_a_dropped_band_is_not_seen():
    other = made_batch().low
    other[:, 1] += 0.1
    one, two = (loss_of(network(), made_batch(low=low), (1,)) for low in (made_batch().low, other))
    assert one == two
    one, two = (loss_of(network(), made_batch(low=low)) for low in (made_batch().low, other))
    assert one != two


def test_a_missing_band_is_held_at_the_mean_and_has_no_loss():
    missing = made_batch()
    missing.low[:, 1], missing.base[..., 1] = np.nan, np.nan
    held = made_batch()
    held.low[:, 1], held.target[..., 1] = 0.1, np.nan
    assert np.isfinite(loss_of(network(), missing)).all()
    assert loss_of(network(), missing) == loss_of(network(), held)


# --- what the sensor sees of the error -----------------------------------------------------------------------


def made_sensor(n=2, bands=2):
    """Means of four by four pixels in a square of eight, but for the second row of the first band, which needs more."""
    means = np.kron(np.eye(2, dtype=np.float32), np.full((1, 4), 0.25, np.float32))
    rows, cols = np.tile(means, (n, bands, 1, 1)), np.tile(means, (n, bands, 1, 1))
    rows[:, 0, 1] = 0
    return rows, cols


def test_sensed_by_hand():
    square = torch.arange(128.0).reshape(1, 64, 2)
    square[0, 5, 1] = torch.nan
    seen = sensed(square, *(torch.from_numpy(v) for v in made_sensor(1)))
    assert seen.shape == (1, 4, 2)
    mean = square[0, :, 0].reshape(2, 4, 2, 4).mean(dim=(1, 3))
    assert torch.equal(seen[0, :2, 0], mean[0])
    assert torch.isnan(seen[0, 2:, 0]).all()
    assert torch.isnan(seen[0, :, 1]).all()


@pytest.mark.parametrize("drop", [(), (1,)])
def test_low_fidelity_is_the_relative_loss_of_what_the_sensor_sees(drop):
    rng = np.random.default_rng(3)
    values = dict(base=rng.random((2, 64, 2)).astype(np.float32) * 0.2, target=np.zeros((2, 64, 2), np.float32))
    values |= dict(rows=rng.uniform(4, 7, (2, 64)), cols=rng.uniform(4, 7, (2, 64)))
    values["target"][1, 3, 1] = np.nan  # the sensor cannot see that band of that patch
    plain, seen = (made_batch(**values, sensor=sensor) for sensor in (None, made_sensor()))
    net = network(0.3)
    before, after = (np.array(loss_of(net, batch, drop)) for batch in (plain, seen))
    wanted = (values["target"] - values["base"]) / 0.05
    low = wanted.reshape(2, 2, 4, 2, 4, 2).mean(axis=(2, 4))
    mine, other = (
        [np.abs(v[0, 0, :, 0]).mean(), np.abs(v[1, 0, :, 0]).mean(), np.abs(v[0, ..., 1]).mean()]
        for v in (low - 0.3, low)
    )
    kept = slice(2) if drop else slice(3)
    by_hand = [np.mean((np.array(v) / (np.array(other) + FLOOR))[kept]) for v in (mine, other)]
    assert after - before == pytest.approx(TINY.task.low_fidelity * np.array(by_hand), rel=1e-4)


def test_a_square_with_a_hole_keeps_gradients_finite():
    values = dict(rows=np.full((2, 64), 5.0), cols=np.full((2, 64), 5.0), base=np.zeros((2, 64, 2), np.float32))
    batch = made_batch(**values, target=np.full((2, 64, 2), 0.1, np.float32), sensor=made_sensor())
    batch.target[:, 7] = np.nan
    net = network()
    loss, _ = liif_loss(net, batch, TINY, drop=(), device="cpu")
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


# --- series ------------------------------------------------------------------------------------------------

TIMES = replace(TINY, name="times", task="temporal", architecture="temporal_liif")
CONFIG = {**TINY.config, "heads": 2, "periods": 3, "mean": "linear", "blend": True}


def made_series(dates=4, n=2, size=12, **changes):
    rng = np.random.default_rng(1)
    valid = rng.random((n, dates, size, size)) < 0.8
    valid[:, 0] = True
    parts = dict(
        scale=2.0,
        low=rng.random((n, dates, 2, size, size)).astype(np.float32) * 0.2,
        valid=valid,
        days=np.sort(rng.uniform(0, 60, (n, dates)), axis=1),
        day_of_year=rng.uniform(0, 365, (n, dates)),
        tau=rng.uniform(10, 50, n),
        tau_day_of_year=rng.uniform(0, 365, n),
        rows=rng.uniform(4, 7, (n, 9)),
        cols=rng.uniform(4, 7, (n, 9)),
        target=rng.random((n, 9, 2)).astype(np.float32) * 0.2,
    )
    return SeriesBatch(**{**parts, **changes})


def temporal(zero=False):
    torch.manual_seed(0)
    made = TemporalLIIF(**CONFIG)
    if zero:
        torch.nn.init.zeros_(made.imnet.layers[-1].weight)
        torch.nn.init.zeros_(made.imnet.layers[-1].bias)
    return made


def temporal_loss_of(net, batch, drop=()):
    loss, baseline = temporal_loss(net, batch, TIMES, drop=drop, device="cpu")
    return loss.item(), baseline.item()


def test_temporal_loss_of_an_untrained_network_is_that_of_linear_interpolation():
    batch = made_series()
    loss, baseline = temporal_loss_of(temporal(zero=True), batch)
    assert loss == pytest.approx(baseline, rel=1e-5)
    by_hand = []
    for i in range(2):
        mean = np.empty((2, 12, 12))
        for place in np.ndindex(12, 12):
            seen = batch.valid[(i, slice(None), *place)]
            for band in range(2):
                values = batch.low[(i, slice(None), band, *place)][seen]
                mean[(band, *place)] = np.interp(batch.tau[i], batch.days[i][seen], values)
        taps = interpolation_taps(batch.rows[i], "bicubic"), interpolation_taps(batch.cols[i], "bicubic")
        error = np.abs(resample_points(mean.astype(np.float32), *taps).T - batch.target[i]).mean(axis=0) / 0.05
        by_hand.append(error / (error + FLOOR))
    assert baseline == pytest.approx(np.mean(by_hand), rel=1e-4)


def test_what_lies_under_a_mask_teaches_nothing():
    batch = made_series()
    other = np.where(batch.valid[:, :, None], batch.low, np.float32(np.nan))
    one, two = (temporal_loss_of(temporal(), made_series(low=low)) for low in (batch.low, other))
    # Features are masked one by one; the encoder sees the neighbours of a pixel, so they must be filled alike.
    assert np.isfinite(two).all()
    assert one[1] == two[1]


def test_nothing_is_learnt_where_no_date_was_clear():
    # The interpolation reads two pixels on either side; the outer ones count with a negative weight.
    rows = np.array([[5.0, 5.5, 4.2, 6.5, 3.5, 2.5, 7.5, 8.0, 9.0]] * 2)
    touched = np.array([[True] * 5 + [False] * 4] * 2)
    batch = made_series(rows=rows, cols=np.full((2, 9), 5.0))
    batch.valid[:, :, 5, 5] = False
    changed = np.where(touched[..., None], np.float32(9.0), batch.target)
    one, two = (temporal_loss_of(temporal(), replace(batch, target=target)) for target in (batch.target, changed))
    assert one == two
    elsewhere = np.where(touched[..., None], batch.target, np.float32(9.0))
    assert temporal_loss_of(temporal(), replace(batch, target=elsewhere)) != one


def test_missing_bands_and_hidden_dates_keep_the_temporal_loss_finite():
    batch = made_series()
    batch.low[:, :, 1] = np.nan
    batch.low[:, 2], batch.valid[:, 2] = np.nan, False
    net = temporal()
    loss, _ = temporal_loss(net, batch, TIMES, drop=(), device="cpu")
    loss.backward()
    assert np.isfinite(loss.item())
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    held = replace(batch, target=np.where([True, False], batch.target, np.float32(np.nan)))
    assert temporal_loss_of(temporal(), held) == temporal_loss_of(temporal(), batch)


def test_a_dropped_band_is_not_seen_in_a_series():
    other = made_series().low
    other[:, :, 1] += 0.1
    one, two = (temporal_loss_of(temporal(), made_series(low=low), (1,)) for low in (made_series().low, other))
    assert one == two
