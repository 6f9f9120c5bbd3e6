from dataclasses import replace

import numpy as np
import pytest
import torch

from xsr.core.errors import ParameterError
from xsr.models.architectures.liif import LIIF
from xsr.training.loop import objective, running_average, schedule, train
from xsr.training.pairs import Batch, WaldSampler
from xsr.training.recipes import Recipe
from xsr.training.scenes import TrainingScene

TINY = Recipe(
    name="tiny",
    summary="A tiny recipe.",
    architecture="liif",
    config={"channels": 2, "outputs": 2, "features": 8, "blocks": 1, "hidden": (16, 16)},
    bands=("B02", "B08"),
    optional=("B08",),
    mean=(0.1, 0.1),
    std=(0.05, 0.05),
    patch=14,
    queries=128,
    batch=4,
    steps=60,
    learning_rate=5e-2,
    seed=5,
)


@pytest.fixture(scope="module")
def sampler():
    """Stripes with sharp edges: something that bicubic interpolation blurs and a network sharpens."""
    y, x = np.mgrid[:96, :96]
    image = 0.1 + 0.05 * np.sign(np.sin(2 * np.pi * (x + 0.3 * y) / 11))
    scene = TrainingScene("stripes", np.stack([image, 0.2 - image]).astype(np.float32))
    return WaldSampler((scene,), (0.3, 0.3), (1.5, 3.0), TINY.patch, TINY.queries, TINY.batch, 0.05, TINY.seed)


def loss_of(network, sampler):
    with torch.no_grad():
        values = [objective(network, sampler(step), TINY, drop=(), device="cpu") for step in range(1000, 1008)]
    return [float(torch.stack(column).mean()) for column in zip(*values, strict=True)]


def test_sixty_steps_lower_the_loss_and_repeat_to_the_byte(sampler):
    seen = []
    network, steps, minutes = train(TINY, sampler, report=seen.append)
    assert steps == len(seen) == 60
    assert minutes > 0
    assert [p.step for p in seen] == list(range(1, 61))
    assert seen[-1].share == 1.0
    assert seen[0].loss == pytest.approx(seen[0].baseline, rel=0.2)  # it starts near the bicubic base
    assert not network.training
    loss, baseline = loss_of(network, sampler)
    assert loss < 0.97 * baseline  # better than bicubic
    untrained, _, _ = train(replace(TINY, steps=1), sampler)
    assert loss < 0.9 * loss_of(untrained, sampler)[0]
    again, _, _ = train(TINY, sampler)
    assert list(again.state_dict()) == list(network.state_dict())
    for key, value in network.state_dict().items():
        assert value.numpy().tobytes() == again.state_dict()[key].numpy().tobytes()
    other, _, _ = train(replace(TINY, seed=6), sampler)
    assert not torch.equal(other.imnet.layers[0].weight, network.imnet.layers[0].weight)


def test_a_budget_of_minutes_ends_the_run(sampler):
    shares = []
    _, steps, minutes = train(TINY, sampler, minutes=1e-6, report=lambda p: shares.append(p.share))
    assert steps == 1
    assert shares == [1.0]
    assert minutes >= 1e-6


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


def network(zero=True):
    torch.manual_seed(0)
    made = LIIF(**TINY.config)
    if zero:
        torch.nn.init.zeros_(made.imnet.layers[-1].weight)
        torch.nn.init.zeros_(made.imnet.layers[-1].bias)
    return made


def test_objective_by_hand():
    batch = made_batch()
    loss, baseline = objective(network(), batch, TINY, drop=(), device="cpu")
    assert loss.requires_grad
    assert not baseline.requires_grad
    error = np.abs(batch.target - batch.base).mean(axis=(1, 2)) / 0.05
    assert float(baseline) == pytest.approx(float((error / (error + 0.02)).mean()), rel=1e-5)
    assert loss.item() == pytest.approx(float(baseline), rel=1e-6)


def test_objective_leaves_out_what_is_unknown_and_dropped():
    batch = made_batch()
    holed = batch.target.copy()
    holed[0, :5, 1] = np.nan
    loss, baseline = objective(network(), made_batch(target=holed), TINY, drop=(), device="cpu")
    error = np.abs(holed - batch.base) / 0.05
    error = np.array([np.nanmean(part) for part in error])
    assert float(baseline) == pytest.approx(float((error / (error + 0.02)).mean()), rel=1e-5)
    assert loss.item() == pytest.approx(baseline.item(), rel=1e-6)
    constant = network()
    torch.nn.init.constant_(constant.imnet.layers[-1].bias, 0.3)  # answers 0.3 everywhere
    loss, _ = objective(constant, made_batch(target=holed), TINY, drop=(), device="cpu")
    wanted = np.array([np.nanmean(part) for part in np.abs((holed - batch.base) / 0.05 - 0.3)])
    assert loss.item() == pytest.approx(float((wanted / (error + 0.02)).mean()), rel=1e-5)
    _, without = objective(network(), batch, TINY, drop=(1,), device="cpu")
    error = np.abs(batch.target - batch.base)[..., 0].mean(axis=1) / 0.05
    assert float(without) == pytest.approx(float((error / (error + 0.02)).mean()), rel=1e-5)


def test_a_dropped_band_is_not_seen():
    batch = made_batch()
    changed = batch.low.copy()
    changed[:, 1] += 0.1
    results = []
    for low in (batch.low, changed):
        loss, _ = objective(network(zero=False), made_batch(low=low), TINY, drop=(1,), device="cpu")
        results.append(loss.item())
    assert results[0] == results[1]
    full = [
        objective(network(zero=False), made_batch(low=low), TINY, drop=(), device="cpu")[0].item()
        for low in (batch.low, changed)
    ]
    assert full[0] != full[1]


def test_optional_bands_are_dropped_every_so_often(sampler, monkeypatch):
    drops = []

    def watching(*args, drop, **kwargs):
        drops.append(drop)
        return objective(*args, drop=drop, **kwargs)

    monkeypatch.setattr("xsr.training.loop.objective", watching)
    train(replace(TINY, drop=0.25, steps=8), sampler)
    assert drops == [(), (), (), (1,), (), (), (), (1,)]
    drops.clear()
    train(replace(TINY, drop=0.0, steps=4), sampler)
    assert drops == [()] * 4


def test_schedule_warms_up_and_falls_to_nothing():
    assert schedule(0.0, 100) == pytest.approx(0.5)
    assert schedule(0.0, 200) == schedule(0.0, 5000) == pytest.approx(1.0)
    assert schedule(0.5, 5000) == pytest.approx(0.5, abs=1e-6)
    assert schedule(1.0, 5000) == pytest.approx(0.0, abs=1e-6)


def test_running_average_forgets_its_start():
    update = running_average(0.9)
    old, new = torch.tensor([1.0]), torch.tensor([2.0])
    assert update(old, new, 0).item() == pytest.approx(1.9)  # keeps 1 / 10
    assert update(old, new, 10_000).item() == pytest.approx(1.1)  # keeps the decay


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_minutes_must_be_positive(minutes):
    with pytest.raises(ParameterError, match="minutes="):
        train(TINY, None, minutes=minutes)
