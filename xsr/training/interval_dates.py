"""Errors at target times: a date of a series is hidden or shown, made from those around it, and compared.

How far the nearest clear date lies decides what error is to be expected. So the dates next to a hidden one are hidden
too, as far as is drawn, where dates remain on both sides.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import pipeline
from xsr.core.blocks import Span
from xsr.core.cube import open_cube
from xsr.core.errors import ParameterError
from xsr.core.target_times import DAY
from xsr.kernels.degrade import observe, sensor_band
from xsr.operations.super_resolve import liif
from xsr.operations.super_resolve.intervals import read_beside
from xsr.training import series as training_series
from xsr.training.intervals import KEPT, Pixels, drawn, joined
from xsr.training.manifest import Manifest
from xsr.training.pairs import OWN_MTF
from xsr.training.recipe import Intervals, Recipe
from xsr.training.scenes import BANDS, COARSE, Say, quiet
from xsr.training.scores import TestPlace, observed
from xsr.training.series import KNOWN, Series

CLEAR = 0.9
"""Least share of clear pixels of a target date."""
TARGETS = 2
"""Target dates of a series on each of its grids, each at one scale, shown and hidden."""
SIDE = 5
"""Most dates on either side of a target."""
APART = (0.0, 90.0)
"""Days around a hidden date within which others are hidden too: none in one case of two, else up to so many."""


@dataclass(frozen=True)
class Case:
    """A target date of a series and the dates that it is made from."""

    date: int
    kept: tuple[int, ...]


def split_series(manifest: Manifest) -> tuple[list[Series], list[Series]]:
    """Series to learn from, and series that calibrate: every third of the train split, and those for validation."""
    learnt: list[Series] = []
    kept: list[Series] = []
    for number, one in enumerate(training_series.read(manifest, split=("train",))):
        (kept if number % KEPT == KEPT - 1 else learnt).append(one)
    return learnt, [*kept, *training_series.read(manifest, split=("validation",))]


def collect_dates(recipe: Recipe[Intervals], series: Iterable[Series], say: Say = quiet) -> Pixels:
    """Make target dates of series, and draw pixels of them.

    Raises
    ------
    ParameterError
        If no series has a clear date between others.
    """
    parts: list[Pixels] = []
    for number, one in enumerate(series):
        for place in places(one):
            say(f"errors in time at {place.name}")
            rng = np.random.default_rng([recipe.seed, number, len(place.bands)])
            parts += _of_place(recipe, place, number, rng)
    if not parts:
        raise ParameterError("no series has a clear date between others; expected one at least.")
    return joined(parts, recipe.task.pixels)


def places(series: Series) -> Iterator[TestPlace]:
    """Cut a series into what is known on its grid, and at 20 m with all its bands."""
    for one in (series, training_series.coarser(series)):
        if one is None:
            continue
        there = [number for number in range(len(BANDS)) if np.isfinite(one.image[:, number]).any()]
        names = tuple(BANDS[number] for number in there)
        times = tuple(str(time) for time in one.times)
        larger = tuple(name for name in names if name in COARSE)
        if names:
            yield TestPlace(one.place, names, one.image[:, there], times, coarser=larger)


def _of_place(recipe: Recipe[Intervals], place: TestPlace, number: int, rng: np.random.Generator) -> Iterator[Pixels]:
    times, size = np.array(place.times, "datetime64[ns]"), recipe.task.patch
    height, width = place.images.shape[2:]
    if min(height, width) < size // 2:
        return
    for _ in range(TARGETS):
        top, left = (2 * int(rng.integers(0, max(n - size, 0) // 2 + 1)) for n in (height, width))
        images = place.images[:, :, top : top + size, left : left + size]
        clear = np.flatnonzero(np.isfinite(images[:, 0]).mean(axis=(1, 2)) >= CLEAR)
        useful = np.flatnonzero(np.isfinite(images[:, 0]).any(axis=(1, 2)))
        targets = [date for date in clear if useful.min() < date < useful.max()]
        if not targets:
            continue
        part = replace(place, images=images)
        date = int(rng.choice(targets))
        scale = float(rng.choice(recipe.task.scales))
        low = hidden_below(part, scale)
        for case in cases(times, useful, date, rng):
            yield _pixels(recipe, part, low, case, scale, number, rng)


def cases(
    times: NDArray[np.datetime64], useful: NDArray[np.int64], date: int, rng: np.random.Generator
) -> Iterator[Case]:
    """Show a target date, and hide it with those next to it; dates of the same time are hidden together."""
    away = (times - times[date]) / DAY
    shown = nearest(away, useful)
    yield Case(date, tuple(sorted({date, *shown})))
    reach = 0.0 if rng.random() < 0.5 else float(rng.uniform(*APART))
    before, after = useful[away[useful] < 0], useful[away[useful] > 0]
    if not len(before) or not len(after):
        return
    most = min(float(-away[before].min()), float(away[after].max()))
    apart = np.abs(away[useful]) >= max(min(reach, most), 1e-9)
    yield Case(date, tuple(nearest(away, useful[apart])))


def nearest(away: NDArray[np.float64], dates: NDArray[np.int64]) -> list[int]:
    """Nearest dates on either side of a target, `SIDE` each, in time order."""
    before = sorted((date for date in dates if away[date] <= 0), key=lambda date: -away[date])[:SIDE]
    after = sorted((date for date in dates if away[date] > 0), key=lambda date: away[date])[:SIDE]
    return sorted(int(date) for date in [*before, *after])


def hidden_below(place: TestPlace, scale: float) -> xr.DataArray:
    """Cube of a place as a coarser sensor observes it, without pixels that depend on hidden ones."""
    low = observed(place, scale)
    known = np.asarray(np.isfinite(place.images).all(axis=1), np.float32)
    rows, cols = (Span(0, size) for size in low.shape[2:])
    share = observe(known, sensor_band(OWN_MTF, scale), rows=rows, cols=cols)
    return low.where(xr.DataArray(share > KNOWN, dims=("time", "y", "x")))


def estimated_at(
    low: xr.DataArray, time: np.datetime64, scale: float, model: str
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Make a target time, interpolation beside it, and the days to the nearest clear date."""
    fine = np.asarray(liif(low, scale=scale, t=time, frames=SIDE, model=model).values)[0]
    cube, moments = open_cube(low), pipeline.Moments(time, most=SIDE)
    _, sampling = pipeline.resolve_target(cube, scale=scale, resolution=None, like=None)
    sizes = cube.block_sizes(sampling.shape, pipeline.resolve_chunks(None))
    base, days = read_beside(cube, moments, sampling, sizes)
    return fine, base[0], days[0, 0]


def _pixels(
    recipe: Recipe[Intervals],
    place: TestPlace,
    low: xr.DataArray,
    case: Case,
    scale: float,
    number: int,
    rng: np.random.Generator,
) -> Pixels:
    """Draw pixels of one target date."""
    assert place.times is not None
    time = np.datetime64(place.times[case.date])
    fine, base, days = estimated_at(low.isel(time=list(case.kept)), time, scale, recipe.task.of)
    return drawn(recipe, place, case.date, fine, base, scale, number, rng, days=days)
