"""The training loop on one page: draw, encode, query, compare, step, average."""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from xsr.core.errors import ModelError, ParameterError
from xsr.models.architectures.liif import LIIF
from xsr.training.pairs import Batch, WaldSampler
from xsr.training.recipes import Recipe

AHEAD = 4
"""Batches drawn ahead of the step that needs them."""


@dataclass(frozen=True)
class Progress:
    """What a step reports."""

    step: int
    share: float
    """Share of the run that is done, 0 to 1."""
    loss: float
    baseline: float
    """The same loss of bicubic interpolation."""


def train(
    recipe: Recipe,
    sampler: WaldSampler,
    *,
    minutes: float | None = None,
    device: str = "cpu",
    report: Callable[[Progress], None] = lambda progress: None,
) -> tuple[LIIF, int, float]:
    """Train a LIIF by a recipe.

    Parameters
    ----------
    recipe
        Architecture and optimisation.
    sampler
        Source of batches.
    minutes
        Wall-clock budget; the learning rate falls to zero at its end. None runs all steps of the recipe.
    device
        Torch device.
    report
        Called after every step.

    Returns
    -------
    LIIF
        The network with averaged weights, on the CPU, in evaluation mode.
    int
        Steps taken.
    float
        Minutes taken.
    """
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise ParameterError(f"minutes={minutes}; expected a positive number.")
    torch.manual_seed(recipe.seed)
    network = LIIF(**recipe.config).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.nn.init.zeros_(_last(network).weight)  # start close to the bicubic base
    average = torch.optim.swa_utils.AveragedModel(network, avg_fn=running_average(recipe.average))
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))
    begun = time.monotonic()
    step = 0
    for step, batch in enumerate(_ahead(sampler, recipe.steps if minutes is None else None), start=1):
        spent = (time.monotonic() - begun) / 60
        share = step / recipe.steps if minutes is None else min(spent / minutes, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * schedule(share, step)
        loss, baseline = objective(network, batch, recipe, drop=_dropped(recipe, step), device=device)
        if not torch.isfinite(loss):
            raise ModelError(f"the loss of step {step} is {float(loss)}; expected a finite number. Check the scenes.")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        report(Progress(step, share, float(loss.detach()), float(baseline)))
        if share >= 1.0:
            break
    result = average.module
    assert isinstance(result, LIIF)
    return result.cpu().eval(), step, (time.monotonic() - begun) / 60


def running_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential average of the weights whose memory grows with the run, so that short runs forget their start."""

    def update(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        keep = min(decay, (1 + float(count)) / (10 + float(count)))
        return averaged.lerp(current, 1 - keep)

    return update


def schedule(share: float, step: int, warmup: int = 200) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine over the run."""
    cosine = 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * share))))
    return min(1.0, step / warmup) * cosine


def objective(
    network: LIIF, batch: Batch, recipe: Recipe, *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Relative L1: the standardised error, each patch weighed by the inverse of its bicubic error.

    Gains in decibels are relative, so a calm field should teach as much as a town.

    Returns
    -------
    Tensor
        The loss of the network.
    Tensor
        The loss of bicubic interpolation.
    """
    mean, std = (torch.tensor(v, device=device) for v in (recipe.mean, recipe.std))
    low = (torch.from_numpy(batch.low).to(device) - mean[:, None, None]) / std[:, None, None]
    wanted = ((torch.from_numpy(batch.target) - torch.from_numpy(batch.base)).to(device)) / std
    keep = torch.isfinite(wanted)
    wanted = wanted.nan_to_num()
    for band in drop:
        low[:, band] = 0.0
        keep[..., band] = False
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        code = network.encode(low.contiguous(memory_format=torch.channels_last))
    rows, cols = (torch.from_numpy(v).float().to(device) for v in (batch.rows, batch.cols))
    cell = (1 / batch.scale, 1 / batch.scale)
    found = network.decode(code.float(), rows, cols, cell)
    count = keep.sum(dim=(1, 2)).clamp(min=1)
    per_patch = ((found - wanted).abs() * keep).sum(dim=(1, 2)) / count
    bicubic = (wanted.abs() * keep).sum(dim=(1, 2)) / count
    weight = 1 / (bicubic + 0.02)
    return (per_patch * weight).mean(), (bicubic * weight).mean()


def _dropped(recipe: Recipe, step: int) -> tuple[int, ...]:
    every = round(1 / recipe.drop) if recipe.drop > 0 else 0
    if not every or step % every:
        return ()
    return tuple(recipe.bands.index(band) for band in recipe.optional)


def _last(network: LIIF) -> torch.nn.Linear:
    layer = network.imnet.layers[-1]
    assert isinstance(layer, torch.nn.Linear)
    return layer


def _ahead(sampler: WaldSampler, steps: int | None) -> Iterator[Batch]:
    """Draw batches in a background thread, in order."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = [pool.submit(sampler, step) for step in range(AHEAD if steps is None else min(AHEAD, steps))]
        step = len(waiting)
        while waiting:
            batch = waiting.pop(0).result()
            if steps is None or step < steps:
                waiting.append(pool.submit(sampler, step))
                step += 1
            yield batch
