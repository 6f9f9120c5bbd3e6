"""From a recipe to a weight file with its card."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from xsr.core import sensors
from xsr.core.errors import ParameterError
from xsr.models import catalogue, registry
from xsr.models.card import SUFFIX, ModelCard, file_sha256, from_fields, read_card, write_card
from xsr.models.registry import load, resolve_device
from xsr.training import scenes as training_scenes
from xsr.training import series as training_series
from xsr.training import thermal_task, worldstrat
from xsr.training.fixed import FixedSampler, fixed_loss
from xsr.training.loop import Progress, train
from xsr.training.pairs import WaldSampler
from xsr.training.recipes import RECIPES, Recipe
from xsr.training.scenes import TrainingScene
from xsr.training.scores import Score, score, test_places
from xsr.training.series import SeriesSampler
from xsr.training.tasks import Task, begin, liif_loss, start_from, temporal_loss, widen

SCALES = (1.5, 1.7, 2.0, 3.0, 3.4, 4.0)
"""Scales of the score table."""


def run_recipe(
    recipe: Recipe,
    out: Path,
    *,
    data: Path | None,
    minutes: float | None = None,
    device: str = "cpu",
    report: Callable[[Progress], None] = lambda progress: None,
) -> ModelCard:
    """Train by a recipe; write ``out`` (safetensors, half precision) and its card.

    Parameters
    ----------
    recipe
        What to train.
    out
        Weight file to write; must end in ``.safetensors``.
    data
        Folder of real training images; None trains on synthetic scenes alone.
    minutes
        Wall-clock budget, which a recipe and one that it starts from share by their steps.
    device, report
        See `xsr.training.loop.train`.

    Raises
    ------
    ParameterError
        If the output is no weight file, or a whole run would start from weights that minutes had cut short.
    """
    if out.suffix != SUFFIX:
        raise ParameterError(f"output {out} must end in {SUFFIX}.")
    device = resolve_device(device)
    out.parent.mkdir(parents=True, exist_ok=True)
    start = recipe.start
    if recipe.start in RECIPES and recipe.start not in registry.names():
        before, first = RECIPES[recipe.start], out.with_name(f"{recipe.start}{SUFFIX}")
        if not first.is_file():
            share = before.steps / (before.steps + recipe.steps)
            run_recipe(before, first, data=data, minutes=minutes and minutes * share, device=device, report=report)
            minutes = minutes and minutes * (1 - share)
        elif minutes is None and (taken := read_card(first).training["steps"]) != before.steps:
            raise ParameterError(
                f"{first} had {taken} steps of training; expected the {before.steps} of its recipe. Remove it to run"
                " that first, or give minutes."
            )
        start = str(first)
    task, told = build(replace(recipe, start=start), data)
    network, steps, spent = train(
        recipe, task, minutes=minutes, device=device, checkpoint=out.with_suffix(".checkpoint"), report=report
    )
    save_file({key: value.half().contiguous() for key, value in distinct(network).items()}, out)
    training = {
        **told,
        **({"start_sha256": registry.card(start).sha256} if start else {}),
        "steps": steps,
        "minutes": round(spent, 1),
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} thread(s), {device}",
        "seed": recipe.seed,
        "recipe": {key: value for key, value in asdict(recipe).items() if key not in ("places", "limits", "summary")},
    }
    card = _card(recipe, network, out, training)
    write_card(card, out)
    return card


def distinct(network: nn.Module) -> dict[str, torch.Tensor]:
    """Tensors of a network, those that parts of it share under their first name alone."""
    state = network.state_dict()
    first = {value.data_ptr(): key for key, value in reversed(state.items())}
    return {key: value for key, value in state.items() if first[value.data_ptr()] == key}


def build(recipe: Recipe, data: Path | None) -> tuple[Task[Any], dict[str, object]]:
    """Make the task of a recipe, and what its card says of the data.

    Raises
    ------
    ParameterError
        If the recipe needs real images and there are none.
    """
    torch.manual_seed(recipe.seed)
    return TASKS[recipe.task](recipe, data)


def _liif(recipe: Recipe, data: Path | None) -> tuple[Task[Any], dict[str, object]]:
    """Any scale, on Wald pairs."""
    scenes, told = _scenes(recipe, data)
    told["protocol"] = "Wald pairs: per-band MTF at Nyquist, continuous scale, noise"
    return Task(_implicit(recipe), _sampler(recipe, scenes), liif_loss, recipe.frozen), told


def _temporal(recipe: Recipe, data: Path | None) -> tuple[Task[Any], dict[str, object]]:
    """Any scale and instant, on series."""
    network = _implicit(recipe)
    series = training_series.load(data, synthetic_scenes=recipe.synthetic)
    sampler = SeriesSampler(series, _sampler(recipe, ()), recipe.dates)
    told: dict[str, object] = {
        "protocol": "Wald pairs of one date of a series, answered by others: half the time without that date",
        "places": sorted({one.place for one in series}),
        "scenes": sum(len(one.times) for one in series),
        "pixels": sum(one.image[:, 0].size for one in series),
    }
    return Task(network, sampler, temporal_loss, recipe.frozen), told


def _fixed(recipe: Recipe, data: Path | None) -> tuple[Task[Any], dict[str, object]]:
    """One factor, on pairs of the grid."""
    network = begin(recipe.architecture, recipe.config)
    if recipe.start:
        first = registry.card(recipe.start)
        widen(_trunk(network, recipe.architecture), _trunk(load(recipe.start), first.architecture))
    scenes, told = _scenes(recipe, data)
    told["protocol"] = "full-resolution pairs at 10 m and Wald pairs at 20 m: per-band MTF at Nyquist, noise"
    sampler = FixedSampler(_sampler(recipe, scenes), recipe.factor or 1)
    return Task(network, sampler, fixed_loss, recipe.frozen, torch.contiguous_format), told


def _trunk(network: nn.Module, architecture: str) -> nn.Module:
    """Part of a fixed-scale network that has weights."""
    return network.get_submodule(catalogue.get(architecture).trunk or "")


TASKS: dict[str, Callable[[Recipe, Path | None], tuple[Task[Any], dict[str, object]]]] = {
    "liif": _liif,
    "temporal": _temporal,
    "fixed": _fixed,
    "thermal": thermal_task.build,
    "worldstrat": worldstrat.build,
}
"""What makes the task of a recipe, by `Recipe.task`."""


def _implicit(recipe: Recipe) -> nn.Module:
    """Continuous network that starts close to the interpolation that it corrects."""
    network = begin(recipe.architecture, recipe.config, bias=False)
    if recipe.start:
        start_from(network, load(recipe.start))
    return network


def _scenes(recipe: Recipe, data: Path | None) -> tuple[list[TrainingScene], dict[str, object]]:
    """Single images of a recipe, and what they are."""
    scenes = training_scenes.load(data, places=recipe.places, synthetic=recipe.synthetic)
    told: dict[str, object] = {
        "places": sorted({scene.place for scene in scenes}),
        "scenes": len(scenes),
        "pixels": sum(scene.image[0].size for scene in scenes),
    }
    return scenes, told


def _sampler(recipe: Recipe, scenes: Sequence[TrainingScene]) -> WaldSampler:
    return WaldSampler(
        scenes=scenes,
        mtf=band_mtf(recipe.bands),
        scale_range=recipe.scale_range,
        patch=recipe.patch,
        queries=recipe.queries,
        batch=recipe.batch,
        mtf_jitter=recipe.mtf_jitter,
        seed=recipe.seed,
        coarser=tuple(band in training_scenes.COARSE for band in recipe.bands),
        level=recipe.level,
        noise=tuple(recipe.noise * std for std in recipe.std),
        mix=recipe.mix,
        square=recipe.square,
    )


def band_mtf(bands: Sequence[str], sensor: str = "sentinel-2") -> tuple[float, ...]:
    """MTF at Nyquist of each band.

    Raises
    ------
    ParameterError
        If the sensor table has none for a band.
    """
    table = sensors.get(sensor)
    values = [table.band(band).mtf for band in bands]
    known = [value for value in values if value is not None]
    if len(known) != len(values):
        raise ParameterError(f"the MTF of some of {list(bands)} is unknown for {sensor}; choose other bands.")
    return tuple(known)


def _card(recipe: Recipe, network: nn.Module, out: Path, training: dict[str, object]) -> ModelCard:
    record = catalogue.get(recipe.architecture)
    return from_fields(
        name=out.stem,
        summary=recipe.summary,
        architecture=recipe.architecture,
        config=recipe.config,
        bands=recipe.bands,
        optional=recipe.optional,
        sensor=recipe.sensor,
        gsd_m=recipe.gsd_m,
        mean=recipe.mean,
        std=recipe.std,
        scale_range=recipe.scale_range,
        factor=recipe.factor,
        mtf=recipe.mtf or band_mtf(recipe.bands),
        units=recipe.units,
        guide_bands=recipe.guide_bands,
        guide_mean=recipe.guide_mean,
        guide_std=recipe.guide_std,
        guide_optional=recipe.guide_optional,
        # Near the border of a patch local relations read half of their windows: larger patches at use have less of it.
        patch=2 * recipe.patch if record.tiling == "lattice" else None,
        sha256=file_sha256(out),
        parameters=sum(p.numel() for p in network.parameters()),
        radius=int(getattr(network, "radius", 0)),
        licence=recipe.licence,
        created=date.today().isoformat(),
        training=training,
        limits=recipe.limits,
        citation=f"{record.citation} (architecture)",
    )


def score_model(model: str | Path, data: Path, scales: Sequence[float] = SCALES) -> list[Score]:
    """Score a model at every test place and scale; a model of one factor, at that scale alone."""
    factor = registry.card(model).factor
    scales = scales if factor is None else (float(factor),)
    return [score(place, scale, model) for place in test_places(data) for scale in scales]


def record_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write scores into the card of a weight file; rows of other benchmarks stay."""
    told = read_card(path)
    others = [row for row in told.scores if "gain_db" not in row]
    rows = [{**asdict(one), "gain_db": one.gain_db} for one in scores]
    write_card(replace(told, scores=[*rows, *others]), path)
