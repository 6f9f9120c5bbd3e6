"""Crops and sampling strategies of the Temporal LIIF thesis, repeated with the small network.

Trains `temporal_liif_worldstrat` by its recipe with each crop and each strategy, all else alike, and scores the
networks on the five scenes kept for validation as `benchmarks/thesis.py` does. Prints the table; ``--write`` puts it
into the documentation. Weights go to a folder that is removed. Needs the folder of real images in XSR_DATA.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import thesis
import torch
import xarray as xr
from common.data import manifest
from rich.progress import track
from wald import write

import xsr
from xsr.training.finer import DATES, STRATEGIES, Pair, load
from xsr.training.manifest import Manifest
from xsr.training.recipe import Recipe
from xsr.training.recipes import get
from xsr.training.run import run_recipe

MARKERS = "<!-- trainings: written by benchmarks/thesis_trainings.py -->", "<!-- end of trainings -->"
CROPS = 128, 72, 48
"""Low-resolution pixels along a side of a patch."""


@dataclass(frozen=True)
class Variant:
    """One training: gains over the mean of five in dB by scale, mean over scenes and its standard error."""

    crop: int
    strategy: str
    raw: tuple[str, ...]
    harmonised: tuple[str, ...]


def recipes() -> Iterator[Recipe[Any]]:
    """Variants of the recipe: crops with all dates, and strategies with the crop of the recipe."""
    recipe = get(thesis.MODEL)
    for crop in CROPS:
        yield replace(recipe, task=replace(recipe.task, patch=crop))
    for strategy in STRATEGIES:
        yield replace(recipe, task=replace(recipe.task, strategy=strategy))


def gains(path: Path, pairs: Sequence[Pair]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Gains of weights, raw and harmonised, by scale."""
    raw: dict[str, list[float]] = {}
    fitted: dict[str, list[float]] = {}
    for pair in pairs:
        cube = thesis.as_cube(pair)
        middle = cube["time"].values[len(cube["time"]) // 2]
        for scale, truth in pair.high.items():
            grid = thesis.finer(cube, truth.shape[1:])
            mean = xsr.interpolate(cube, like=grid, t=middle, temporal="mean", frames=DATES)
            made = xsr.liif(cube, like=grid, t=middle, model=path, frames=DATES)
            ours, base = (one.values[0] for one in (made, mean) if isinstance(one, xr.DataArray))
            raw.setdefault(scale, []).append(thesis.psnr(ours, truth) - thesis.psnr(base, truth))
            moved = (thesis.psnr(thesis.harmonised(one, truth, grid), truth) for one in (ours, base))
            fitted.setdefault(scale, []).append(float(np.subtract(*moved)))
    return tuple(map(thesis.spread, raw.values())), tuple(map(thesis.spread, fitted.values()))


def trained(recipe: Recipe[Any], data: Manifest, pairs: Sequence[Pair]) -> Variant:
    """Train one variant and score it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{recipe.name}.safetensors"
        run_recipe(recipe, path, scenes=data)
        return Variant(recipe.task.patch, recipe.task.strategy, *gains(path, pairs))


def table(found: Sequence[Variant], steps: int) -> str:
    """Rows of trainings, columns of scales."""
    heads = [*(f"raw {scale.replace('x', '×')}" for scale in thesis.SIZES)]
    heads += [f"registered {scale.replace('x', '×')}" for scale in thesis.SIZES]
    lines = ["| crop | dates read in training | " + " | ".join(heads) + " |"]
    lines += ["| " + " | ".join(["---"] * (2 + len(heads))) + " |"]
    lines += [f"| {one.crop} | {one.strategy} | {' | '.join((*one.raw, *one.harmonised))} |" for one in found]
    lines += ["", f"Gain in dB over the mean of five, mean over scenes ± standard error; {steps} steps each."]
    return "\n".join(lines)


def main() -> None:
    """Train, score, print, and write with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into the documentation")
    parser.add_argument("--small", action="store_true", help="one short training, to check that it runs")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: the trainings need the folder of real images")
        return
    torch.set_num_threads(1)
    variants, pairs = list(recipes()), load(data, thesis.RGB, split=("validation",))
    if options.small:
        tiny = variants[-1]
        variants = [replace(tiny, steps=1, batch=1, task=replace(tiny.task, patch=24, queries=64))]
        pairs = [thesis.corner(pairs[0])]
    found = [trained(recipe, data, pairs) for recipe in track(variants, "trainings")]
    text = table(found, variants[0].steps)
    print(text)
    if options.write and not options.small:
        write(thesis.TARGET, text, MARKERS)
        print(f"wrote {thesis.TARGET.relative_to(thesis.ROOT)}")


if __name__ == "__main__":
    main()
