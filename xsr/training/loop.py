"""The training loop on one page: draw, compare, step, average, remember."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xsr.core.errors import ModelError, ParameterError
from xsr.training.adversary import Opponent
from xsr.training.recipe import Recipe, dropped
from xsr.training.tasks import Training

AHEAD = 4
"""Batches drawn ahead of the step that needs them."""
WARMUP, WARM_SHARE = 200, 0.05
"""Steps over which the learning rate rises, and the share of a run that has minutes instead of steps."""
REMEMBER = 200
"""Steps between checkpoints."""


@dataclass(frozen=True)
class Progress:
    """State of a run after a step."""

    step: int
    share: float
    """Share of the run that is done, 0 to 1."""
    loss: float
    baseline: float
    """The same loss of bicubic interpolation."""


def train(
    recipe: Recipe[Any],
    task: Training[Any],
    *,
    minutes: float | None = None,
    spent: float = 0.0,
    device: str = "cpu",
    checkpoint: Path | None = None,
    scenes: str = "",
    report: Callable[[Progress], None] = lambda progress: None,
    keep: Callable[[int, nn.Module], None] = lambda step, network: None,
) -> tuple[nn.Module, int, float]:
    """Train a network by a recipe.

    Parameters
    ----------
    recipe
        Optimisation.
    task
        Network as it starts, source of batches, and loss.
    minutes
        Wall-clock budget; the learning rate falls to zero at its end. None runs all steps of the recipe.
    spent
        Minutes of it that are gone already, such as those in which scenes were made.
    device
        Torch device.
    checkpoint
        File that remembers the run every `REMEMBER` steps; where it exists the run goes on from it, to the same
        weights. It stays, to be removed by `forget` when the weights are safe.
    scenes
        Identity of the real images; a checkpoint of others is refused.
    report
        Called after every step.
    keep
        Called every `Adversary.every` steps of an adversarial recipe, with the step and the averaged network.

    Returns
    -------
    torch.nn.Module
        The network with averaged weights, on the CPU, in evaluation mode.
    int
        Steps taken.
    float
        Minutes taken, ``spent`` and those before a checkpoint included.

    Raises
    ------
    ParameterError
        If the checkpoint is one of another recipe, or of other scenes.
    """
    check_minutes(minutes)
    network = task.network.to(device)
    network.to(memory_format=task.memory_format)  # type: ignore[call-overload]
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and not name.startswith(task.frozen))
    average = torch.optim.swa_utils.AveragedModel(network, avg_fn=running_average(recipe.average))
    optimiser = torch.optim.Adam(
        (p for p in network.parameters() if p.requires_grad), lr=recipe.learning_rate, betas=(0.9, 0.99)
    )
    opponent = task.loss if isinstance(task.loss, Opponent) else None
    state = _State(recipe, network, average, optimiser, opponent, checkpoint, scenes)
    step, before = state.resume()
    before += spent
    begun = time.monotonic()
    for batch in _ahead(task.sampler, step, recipe.last if minutes is None else None):
        step += 1
        taken = before + (time.monotonic() - begun) / 60
        share = step / recipe.steps if minutes is None else recipe.until * min(taken / minutes, 1.0)
        warm = step / WARMUP if minutes is None else share / WARM_SHARE
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * schedule(share, warm)
        loss, baseline = task.loss(network, batch, recipe, drop=dropped(recipe, step), device=device)
        if not torch.isfinite(loss):
            raise ModelError(f"the loss of step {step} is {loss.item()}; expected a finite number. Check the scenes.")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        report(Progress(step, share / recipe.until, float(loss.detach()), float(baseline)))
        if share >= recipe.until:
            break
        if recipe.adversary is not None and step % recipe.adversary.every == 0:
            keep(step, average.module)
        if step % REMEMBER == 0:
            state.remember(step, taken)
    return average.module.cpu().eval(), step, before + (time.monotonic() - begun) / 60


def check_minutes(minutes: float | None) -> None:
    """Check a wall-clock budget.

    Raises
    ------
    ParameterError
        Unless it is None, or finite and above zero.
    """
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise ParameterError(f"minutes={minutes}; expected a positive number.")


@dataclass(frozen=True)
class _State:
    """What a run must remember to go on after it was killed."""

    recipe: Recipe[Any]
    network: nn.Module
    average: torch.optim.swa_utils.AveragedModel
    optimiser: torch.optim.Optimizer
    opponent: Opponent | None
    path: Path | None
    scenes: str

    @property
    def parts(self) -> tuple[str, ...]:
        """What has a state."""
        return ("network", "average", "optimiser", *(() if self.opponent is None else ("opponent",)))

    def resume(self) -> tuple[int, float]:
        """Restore a run; return its steps and minutes, zero without a checkpoint."""
        if self.path is None or not self.path.is_file():
            return 0, 0.0
        kept = torch.load(self.path, weights_only=True)
        if kept["recipe"] != repr(self.recipe):
            raise ParameterError(
                f"{self.path} is the checkpoint of another recipe, or of other settings; expected {self.recipe.name}"
                " as it is now. Remove the file to start anew."
            )
        if kept.get("scenes") != self.scenes:
            raise ParameterError(
                f"{self.path} is the checkpoint of a run with other scenes; expected the manifest as it was. Restore"
                " the manifest, or remove the file to start anew."
            )
        for name in self.parts:
            getattr(self, name).load_state_dict(kept[name])
        return int(kept["step"]), float(kept["minutes"])

    def remember(self, step: int, minutes: float) -> None:
        """Write the checkpoint, whole or not at all."""
        if self.path is None:
            return
        kept = {name: getattr(self, name).state_dict() for name in self.parts}
        partial = _partial(self.path)
        identity = {"recipe": repr(self.recipe), "scenes": self.scenes}
        torch.save({**kept, **identity, "step": step, "minutes": minutes}, partial)
        partial.replace(self.path)


def forget(checkpoint: Path) -> None:
    """Remove the checkpoint of a run whose weights are written."""
    checkpoint.unlink(missing_ok=True)
    _partial(checkpoint).unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_suffix(".partial")


def running_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential average of the weights whose memory grows with the run, so that short runs forget their start."""

    def update(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        keep = min(decay, (1 + float(count)) / (10 + float(count)))
        return averaged.lerp(current, 1 - keep)

    return update


def schedule(share: float, warm: float) -> float:
    """Learning-rate factor: linear warm-up until ``warm`` is 1, and half a cosine over the run."""
    cosine = 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * share))))
    return min(1.0, warm) * cosine


def _ahead(sampler: Callable[[int], Any], first: int, stop: int | None) -> Iterator[Any]:
    """Draw batches in a background thread, in order."""
    steps = iter(range(first, stop) if stop is not None else count(first))
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = deque(pool.submit(sampler, step) for step in islice(steps, AHEAD))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(sampler, step) for step in islice(steps, 1))
            yield batch
