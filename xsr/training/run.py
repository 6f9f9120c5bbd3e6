"""From a recipe to a weight file with its card."""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from xsr.core.errors import ParameterError
from xsr.models import catalogue, registry
from xsr.models.card import SUFFIX, ModelCard, file_sha256, read_card, write_card
from xsr.models.registry import resolve_device
from xsr.training.build import band_mtf, build
from xsr.training.interval_kinds import calibrated
from xsr.training.loop import Progress, check_minutes, forget, train
from xsr.training.manifest import Manifest
from xsr.training.recipe import Continuous, Guided, Intervals, Optical, Recipe, Sharpen, Task, Wald
from xsr.training.recipes import RECIPES
from xsr.training.scenes import Say, quiet
from xsr.training.scores import Pairs, Score, read_places, score

SCALES = (1.5, 1.7, 2.0, 3.0, 3.4, 4.0)
"""Scales of the score table."""


def run_recipe(
    recipe: Recipe[Any],
    out: Path,
    *,
    scenes: Manifest | None,
    minutes: float | None = None,
    device: str = "cpu",
    report: Callable[[Progress], None] = lambda progress: None,
    say: Say = quiet,
) -> ModelCard:
    """Train by a recipe; write ``out`` (safetensors, half precision) and its card.

    A recipe with an adversary writes the weights of earlier steps too; see `candidate`.

    Parameters
    ----------
    recipe
        What to train.
    out
        Weight file to write; must end in ``.safetensors``.
    scenes
        Real images; None trains on synthetic scenes alone.
    minutes
        Wall-clock budget, making of scenes included, which a recipe and one that it starts from share by their steps.
    device, report
        See `xsr.training.loop.train`.
    say
        Receives a line for each scene that is read or rendered.

    Raises
    ------
    ParameterError
        If the output is no weight file, or a whole run would start from weights that minutes had cut short.
    XsrError
        If scenes cannot be used; see `xsr.training.build.build`.
    """
    if out.suffix != SUFFIX:
        raise ParameterError(f"output {out} must end in {SUFFIX}.")
    check_minutes(minutes)
    device = resolve_device(device)
    out.parent.mkdir(parents=True, exist_ok=True)
    start = recipe.start
    if start in RECIPES and start not in registry.names():
        first = partial(run_recipe, scenes=scenes, device=device, report=report, say=say)
        start, minutes = _first_stage(recipe, out.with_name(f"{start}{SUFFIX}"), minutes, first)
    begun = time.monotonic()
    task, about = build(replace(recipe, start=start), scenes, say=say)
    checkpoint = out.with_suffix(".checkpoint")
    network, steps, taken = train(
        recipe,
        task,
        minutes=minutes,
        spent=(time.monotonic() - begun) / 60,
        device=device,
        checkpoint=checkpoint,
        scenes=scenes.identity if scenes else "",
        report=report,
        keep=partial(_keep, recipe, out, about),
    )
    if minutes is not None and steps == 1:
        say(f"scenes and the first step took all {minutes:g} minutes: nothing was learnt, give more")
    write_weights(network, out)
    training = {
        **about,
        **({"start_sha256": registry.card(start).sha256} if start else {}),
        "steps": steps,
        "minutes": round(taken, 1),
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} thread(s), {device}",
        "seed": recipe.seed,
        "recipe": recipe.record(),
    }
    card = _card(recipe, network, out, training)
    if isinstance(recipe.task, Intervals) and scenes is not None:
        card = replace(card, calibration=calibrated(recipe, network, scenes, say))
    write_card(card, out)
    forget(checkpoint)
    return card


def candidate(out: Path, step: int) -> Path:
    """Name the file of the weights that an adversarial run keeps at a step, to be compared with its last ones."""
    return out.with_name(f"{out.stem}_step{step}{SUFFIX}")


def _keep(recipe: Recipe[Any], out: Path, about: dict[str, object], step: int, network: nn.Module) -> None:
    """Write the weights of a step, with a card."""
    path = candidate(out, step)
    write_weights(network, path)
    training = {**about, "steps": step, "seed": recipe.seed, "recipe": recipe.record()}
    write_card(_card(recipe, network, path, training), path)


def _first_stage(
    recipe: Recipe[Any], weights: Path, minutes: float | None, run: Callable[..., ModelCard]
) -> tuple[str, float | None]:
    """Run the recipe that another starts from where its weights are not there; those weights, and the minutes left.

    Raises
    ------
    ParameterError
        If a whole run would start from weights that minutes had cut short.
    """
    first = RECIPES[recipe.start]
    if not weights.is_file():
        share = first.last / (first.last + recipe.last)
        run(first, weights, minutes=minutes and minutes * share)
        return str(weights), minutes and minutes * (1 - share)
    if minutes is None and (taken := read_card(weights).training["steps"]) != first.last:
        raise ParameterError(
            f"{weights} had {taken} steps of training; expected the {first.last} of its recipe. Remove it to run that"
            " first, or give minutes."
        )
    return str(weights), minutes


def write_weights(network: nn.Module, path: Path) -> None:
    """Write the weights of a network in half precision, whole or not at all, readable as any new file is."""
    partial = path.with_suffix(".partial-weights")
    partial.write_bytes(save({key: value.half().contiguous() for key, value in distinct(network).items()}))
    partial.replace(path)


def distinct(network: nn.Module) -> dict[str, torch.Tensor]:
    """Tensors of a network, those that parts of it share under their first name alone."""
    state = network.state_dict()
    first = {value.data_ptr(): key for key, value in reversed(state.items())}
    return {key: value for key, value in state.items() if first[value.data_ptr()] == key}


def _card(recipe: Recipe[Any], network: nn.Module, out: Path, training: dict[str, object]) -> ModelCard:
    task = recipe.task
    guided = task if isinstance(task, Guided) else Guided()
    record = catalogue.get(recipe.architecture)
    return ModelCard(
        name=out.stem,
        summary=recipe.summary,
        architecture=recipe.architecture,
        config=recipe.config,
        image=recipe.image,
        sensor=recipe.sensor,
        gsd_m=recipe.gsd_m,
        scale_range=task.scale_range,
        factor=recipe.factor,
        mtf=() if isinstance(task, Optical) else recipe.mtf or band_mtf(recipe.bands, recipe.sensor),
        sharpness=_sharpness(task),
        reads=task.reads if isinstance(task, Continuous | Sharpen | Intervals | Optical) else "bands",
        guide=guided.guide,
        # Near the border of a patch local relations read half of their windows: larger patches at use have less of it.
        residual=not isinstance(task, Intervals),
        intervals=recipe.intervals,
        before=recipe.before,
        held_with="guided_filter" if guided.held else None,
        patch=2 * task.patch if record.tiling == "lattice" else None,
        sha256=file_sha256(out),
        parameters=sum(p.numel() for p in network.parameters()),
        radius=int(getattr(network, "radius", 0)),
        licence=recipe.licence,
        created=date.today().isoformat(),
        training=training,
        limits=recipe.limits,
        citation=f"{record.citation} (architecture)",
    )


def _sharpness(task: Task) -> str | None:
    """Say how sharp the results of a task are."""
    if isinstance(task, Optical):
        return "sensor"
    return ("sensor" if task.similar else "ideal") if isinstance(task, Wald) else None


def score_model(
    model: str | Path,
    scenes: Manifest,
    scales: Sequence[float] = SCALES,
    *,
    pairs: Pairs = "self-similar",
    say: Say = quiet,
) -> list[Score]:
    """Score a model at every test place and scale; a fixed-scale model, at its scale alone."""
    factor = registry.card(model).factor
    scales = scales if factor is None else (float(factor),)
    return [score(place, scale, model, pairs) for place in read_places(scenes, say=say) for scale in scales]


def record_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write scores into the card of a weight file; rows of other benchmarks stay."""
    card = read_card(path)
    others = [row for row in card.scores if "gain_db" not in row]
    rows = [{**asdict(one), "gain_db": one.gain_db} for one in scores]
    write_card(replace(card, scores=[*rows, *others]), path)
