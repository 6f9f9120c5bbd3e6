import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from xsr.core.errors import ModelError, ParameterError
from xsr.models.architectures.liif import LIIF
from xsr.models.architectures.temporal_liif import TemporalLIIF
from xsr.models.channels import Channels
from xsr.training import loop
from xsr.training.loop import dropped, forget, running_average, schedule, train
from xsr.training.pairs import WaldSampler
from xsr.training.recipe import Continuous, Recipe, Temporal
from xsr.training.scenes import TrainingScene
from xsr.training.series import Series, SeriesSampler
from xsr.training.tasks import Training, liif_loss, temporal_loss

TINY = Recipe(
    name="tiny",
    summary="A tiny recipe.",
    architecture="liif",
    config={"channels": 2, "outputs": 2, "features": 8, "blocks": 1, "hidden": (16, 16)},
    image=Channels(("B02", "B08"), (0.1, 0.1), (0.05, 0.05), optional=("B08",)),
    task=Continuous(patch=14, queries=128),
    batch=4,
    steps=60,
    learning_rate=5e-2,
    seed=5,
)


def make_sampler():
    """Stripes with sharp edges: something that bicubic interpolation blurs and a network sharpens."""
    y, x = np.mgrid[:96, :96]
    image = 0.1 + 0.05 * np.sign(np.sin(2 * np.pi * (x + 0.3 * y) / 11))
    scene = TrainingScene("stripes", np.stack([image, 0.2 - image]).astype(np.float32))
    return WaldSampler(
        (scene,), (0.3, 0.3), (1.5, 3.0), TINY.task.patch, TINY.task.queries, TINY.batch, 0.05, TINY.seed
    )


def make_task(recipe=TINY, *, loss=liif_loss, sampler=None, frozen=()):
    torch.manual_seed(recipe.seed)
    network = LIIF(**recipe.config)
    torch.nn.init.zeros_(network.imnet.layers[-1].weight)
    return Training(network, sampler or make_sampler(), loss, frozen)


def loss_of(network):
    sampler = make_sampler()
    with torch.no_grad():
        values = [liif_loss(network, sampler(step), TINY, drop=(), device="cpu") for step in range(1000, 1008)]
    return [float(torch.stack(column).mean()) for column in zip(*values, strict=True)]


def same(one, two):
    mine, other = one.state_dict(), two.state_dict()
    return list(mine) == list(other) and all(
        mine[k].contiguous().numpy().tobytes() == other[k].contiguous().numpy().tobytes() for k in mine
    )


@pytest.mark.slow
def test_sixty_steps_lower_the_loss_and_repeat_to_the_byte():
    seen = []
    network, steps, minutes = train(TINY, make_task(), report=seen.append)
    assert steps == len(seen) == 60
    assert minutes > 0
    assert [p.step for p in seen] == list(range(1, 61))
    assert seen[-1].share == 1.0
    assert seen[0].loss == pytest.approx(seen[0].baseline, rel=0.2)  # it starts near the bicubic base
    assert not network.training
    loss, baseline = loss_of(network)
    assert loss < 0.97 * baseline  # better than bicubic
    untrained, _, _ = train(replace(TINY, steps=1), make_task())
    assert loss < 0.9 * loss_of(untrained)[0]
    again, _, _ = train(TINY, make_task())
    assert same(again, network)
    other, _, _ = train(replace(TINY, seed=6), make_task(replace(TINY, seed=6)))
    assert not same(other, network)


def test_a_budget_of_minutes_ends_the_run():
    shares = []
    _, steps, minutes = train(TINY, make_task(), minutes=1e-6, report=lambda p: shares.append(p.share))
    assert steps == 1
    assert shares == [1.0]
    assert minutes >= 1e-6


def test_a_run_may_end_before_its_schedule_with_the_weights_of_that_step():
    whole, kept = make_task(), {}

    def watch(progress):
        if progress.step == 3:
            kept.update({name: value.clone() for name, value in whole.network.state_dict().items()})

    train(replace(TINY, steps=6), whole, report=watch)
    shares = []
    part = replace(TINY, steps=6, until=0.5, average=0.0)
    network, steps, _ = train(part, make_task(), report=lambda p: shares.append(p.share))
    assert steps == part.last == 3
    assert shares[-1] == 1.0
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
    assert (part.record()["until"], part.record()["average"]) == (0.5, 0.0)
    assert "until" not in TINY.record()


def test_frozen_parts_do_not_move():
    task = make_task(frozen=("encoder.",))
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    network, _, _ = train(replace(TINY, steps=5), task)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name


def test_a_loss_that_is_not_finite_stops_the_run():
    def broken(network, batch, recipe, *, drop, device):
        return torch.tensor(torch.nan), torch.tensor(1.0)

    with pytest.raises(ModelError, match="the loss of step 1 is nan"):
        train(TINY, make_task(loss=broken))


def test_optional_bands_are_dropped_every_so_often():
    drops = []

    def watching(*args, drop, **kwargs):
        drops.append(drop)
        return liif_loss(*args, drop=drop, **kwargs)

    recipe = replace(TINY, steps=8, drop=0.5)
    train(recipe, make_task(loss=watching))
    assert drops == [dropped(recipe, step) for step in range(1, 9)]
    assert set(drops) == {(), (1,)}


def test_dropped_bands_are_a_function_of_the_step_and_leave_a_band():
    bands = ("B02", "B03", "B04", "B08")
    recipe = replace(TINY, image=Channels(bands, optional=bands), drop=0.5, subsets=(("B08",), ("B02", "B03")))
    drops = [dropped(recipe, step) for step in range(2000)]
    assert drops == [dropped(recipe, step) for step in range(2000)]
    kept = [tuple(band for i, band in enumerate(bands) if i not in drop) for drop in drops]
    assert all(kept)
    assert np.mean([band == bands for band in kept]) == pytest.approx(0.51, abs=0.04)  # 1 in 16 of a third at random
    for subset in recipe.subsets:
        assert kept.count(subset) / 2000 > 0.5 / 3 * 0.8
    assert len(set(kept)) == 15
    assert {dropped(replace(recipe, drop=0.0), step) for step in range(50)} == {()}
    needed = replace(recipe, image=Channels(bands, optional=("B08",)))
    assert {dropped(needed, step) for step in range(50)} == {(), (3,)}


def test_schedule_warms_up_and_falls_to_nothing():
    assert schedule(0.0, 0.5) == pytest.approx(0.5)
    assert schedule(0.0, 1.0) == schedule(0.0, 25.0) == pytest.approx(1.0)
    assert schedule(0.5, 25.0) == pytest.approx(0.5, abs=1e-6)
    assert schedule(1.0, 25.0) == pytest.approx(0.0, abs=1e-6)


def test_running_average_forgets_its_start():
    update = running_average(0.9)
    old, new = torch.tensor([1.0]), torch.tensor([2.0])
    assert update(old, new, 0).item() == pytest.approx(1.9)  # keeps 1 / 10
    assert update(old, new, 10_000).item() == pytest.approx(1.1)  # keeps the decay


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_minutes_must_be_positive(minutes):
    with pytest.raises(ParameterError, match="minutes="):
        train(TINY, make_task(), minutes=minutes)


# --- checkpoints -------------------------------------------------------------------------------------------


class StopError(Exception):
    """The run is stopped here."""


def stopping(at):
    def report(progress):
        if progress.step == at:
            raise StopError

    return report


@pytest.fixture
def remember_often(monkeypatch):
    monkeypatch.setattr(loop, "REMEMBER", 3)


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [(), ("encoder.",)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path, remember_often, frozen):
    recipe, path = replace(TINY, steps=11), tmp_path / "run.checkpoint"
    whole, _, _ = train(recipe, make_task(frozen=frozen))
    for stop in (8, 10):
        with pytest.raises(StopError):
            train(recipe, make_task(frozen=frozen), checkpoint=path, report=stopping(stop))
        assert path.is_file()
    seen = []
    path.with_suffix(".partial").write_bytes(b"half a checkpoint")
    resumed, steps, minutes = train(recipe, make_task(frozen=frozen), checkpoint=path, report=seen.append)
    assert [p.step for p in seen] == [10, 11]
    assert steps == 11
    assert minutes > 0
    assert same(resumed, whole)
    assert path.is_file()  # until the weights are written
    forget(path)
    assert list(tmp_path.iterdir()) == []


def test_minutes_spent_before_count(tmp_path, remember_often):
    path = tmp_path / "run.checkpoint"
    with pytest.raises(StopError):
        train(TINY, make_task(), minutes=1e3, checkpoint=path, report=stopping(4))
    kept = torch.load(path, weights_only=True)
    torch.save({**kept, "minutes": 999.9999999}, path)
    _, steps, minutes = train(TINY, make_task(), minutes=1e3, checkpoint=path)
    assert steps == 4
    assert minutes >= 1e3


@pytest.mark.parametrize("change", [{"name": "other"}, {"seed": 9}, {"learning_rate": 1e-3}])
def test_the_checkpoint_of_another_recipe_is_refused_and_kept(tmp_path, remember_often, change):
    path = tmp_path / "run.checkpoint"
    with pytest.raises(StopError):
        train(TINY, make_task(), checkpoint=path, report=stopping(4))
    with pytest.raises(ParameterError, match=r"is the checkpoint of another recipe.*Remove the file"):
        train(replace(TINY, **change), make_task(), checkpoint=path)
    assert path.is_file()


def test_the_checkpoint_of_other_scenes_is_refused_and_kept(tmp_path, remember_often):
    path = tmp_path / "run.checkpoint"
    with pytest.raises(StopError):
        train(TINY, make_task(), checkpoint=path, scenes="these", report=stopping(4))
    with pytest.raises(ParameterError, match=r"other scenes.*Restore the manifest"):
        train(TINY, make_task(), checkpoint=path, scenes="those")
    _, steps, _ = train(TINY, make_task(), checkpoint=path, scenes="these")
    assert steps == TINY.steps


CHILD = """
import sys
from pathlib import Path
from dataclasses import replace
from safetensors.torch import save_file
from test_loop import TINY, loop, make_task, train

loop.REMEMBER = 2
told = lambda progress: print(progress.step, flush=True)
network, _, _ = train(replace(TINY, steps=14), make_task(), checkpoint=Path(sys.argv[1]), report=told)
save_file({key: value.contiguous() for key, value in network.state_dict().items()}, sys.argv[2])
"""


def child(*paths):
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", CHILD, *map(str, paths)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(tmp_path):
    checkpoint, out, whole = tmp_path / "run.checkpoint", tmp_path / "out.safetensors", tmp_path / "whole.safetensors"
    at = int(np.random.default_rng().integers(3, 13))
    with child(checkpoint, out) as killed:
        for line in killed.stdout:
            if int(line) == at:
                killed.send_signal(signal.SIGKILL)
                break
    assert killed.returncode == -signal.SIGKILL
    assert checkpoint.is_file()
    assert not out.exists()
    with child(checkpoint, out) as resumed:
        steps = [int(line) for line in resumed.stdout]
    assert resumed.returncode == 0
    assert 3 <= steps[0] <= 14
    with child(tmp_path / "none.checkpoint", whole) as alone:
        assert len(list(alone.stdout)) == 14
    assert out.read_bytes() == whole.read_bytes(), f"killed at step {at}"


@pytest.mark.slow
def test_a_temporal_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path, remember_often):
    config = {**TINY.config, "heads": 2, "periods": 3, "mean": "linear", "blend": True}
    recipe, path = (
        replace(TINY, task=Temporal(patch=14, queries=128), config=config, steps=8),
        tmp_path / "run.checkpoint",
    )
    rng = np.random.default_rng(0)
    times = np.datetime64("2024-01-01", "ns") + np.arange(6) * np.timedelta64(5, "D")
    here = Series("here", times, 0.1 + 0.05 * rng.standard_normal((6, 2, 60, 60)).astype(np.float32), None)
    wald = WaldSampler((), (0.3, 0.3), (1.5, 3.0), TINY.task.patch, TINY.task.queries, 2, 0.05, TINY.seed)

    def task():
        torch.manual_seed(0)
        return Training(TemporalLIIF(**config), SeriesSampler((here,), wald, (3, 4)), temporal_loss, ("encoder.",))

    whole, _, _ = train(recipe, task())
    with pytest.raises(StopError):
        train(recipe, task(), checkpoint=path, report=stopping(7))
    resumed, steps, _ = train(recipe, task(), checkpoint=path)
    assert steps == 8
    assert same(resumed, whole)
    assert not same(whole, task().network)
