"""What the errors of a network are measured on, by what it makes: images, dates of a series, or temperatures."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from xsr.training.interval_dates import collect_dates, split_series
from xsr.training.interval_temperatures import collect_temperatures
from xsr.training.interval_temperatures import split as split_temperatures
from xsr.training.intervals import Pixels, calibrate, collect, split
from xsr.training.manifest import Manifest
from xsr.training.recipe import Intervals, Recipe
from xsr.training.scenes import Say, quiet
from xsr.training.series import Series


def split_of(recipe: Recipe[Intervals], manifest: Manifest) -> tuple[list[Any], list[Any]]:
    """Places or series to learn from, and those that calibrate."""
    if recipe.task.guided:
        return split_temperatures(manifest)
    return split_series(manifest) if recipe.task.at_times else split(manifest, recipe)


def collected(recipe: Recipe[Intervals], found: Iterable[Any], say: Say = quiet) -> Pixels:
    """Draw pixels of places or series."""
    if recipe.task.guided:
        return collect_temperatures(recipe, found, say)
    return collect_dates(recipe, found, say) if recipe.task.at_times else collect(recipe, found, say)


def names(found: Iterable[Any]) -> list[str]:
    """Names of places or series."""
    return sorted({one.place if isinstance(one, Series) else one.name for one in found})


def calibrated(recipe: Recipe[Intervals], network: nn.Module, manifest: Manifest, say: Say) -> list[dict[str, Any]]:
    """Calibrate a network on what was kept for it; see `xsr.training.intervals.calibrate`."""
    return calibrate(recipe, network, collected(recipe, split_of(recipe, manifest)[1], say))
