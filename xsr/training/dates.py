"""Batches of one network of any scale, with one date or several: the truth, and what it may read.

Half of the patches show one date alone. The others have more of them: made up from the same scene (displaced by
fractions of a pixel, with other noise, other colours of some regions), or real ones of a series, whose target
date may be hidden. See `xsr.kernels.evidence` for what the network reads of them. The logarithm of the scale is
uniform: close to one, where bands of larger pixels catch up with the others, there is as much to learn as farther up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.target_times import days
from xsr.kernels import evidence, fusion
from xsr.kernels.evidence import Reader, Series
from xsr.kernels.resample import interpolate_filled
from xsr.training.pairs import RECOLOUR, Batch, Image, PatchSensor, WaldSampler, fill, mixed, recoloured
from xsr.training.scenes import TrainingScene
from xsr.training.series import Series as Dates
from xsr.training.series import SeriesSampler

SHIFT = 0.6
"""Most that a date is displaced by, in low-resolution pixels along each axis."""
UNSURE = 0.03
"""Standard deviation of the error of a measured displacement."""
TINT, CHANGED = 0.05, 0.3
"""Spread of the mixing of bands from date to date, and share of the dates on which regions have other colours."""


def read(
    reader: Reader,
    low: Image,
    others: Image,
    valid: NDArray[np.bool_],
    coarser: Sequence[bool],
    shifts: NDArray[np.float64],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    scale: float,
) -> tuple[Image, Image]:
    """Read a patch (band, h, w) and other dates (date, band, h, w); a missing band is NaN throughout.

    Beyond its border a patch is mirrored, where at use there are further pixels.

    Returns
    -------
    base : ndarray
        What the network's output is added to, shape (query, band).
    further : ndarray
        Channels beside the bands, shape (channel, h, w).
    """
    images = np.nan_to_num(np.concatenate([low[None], others]))
    edge = reader.edge
    detail, lacking = reader.detail(_mirrored(images, edge), coarser, (-edge, -edge))
    padded = _mirrored(images + detail, evidence.EDGE)
    series = Series.of(padded[0], padded[1:], _mirrored(valid, evidence.EDGE), shifts.tolist(), reader.sensor)
    part = series.using(range(len(others)))
    grid = np.meshgrid(*(np.arange(size, dtype=np.float64) for size in low.shape[1:]), indexing="ij")
    places = [part.at(grid[0] + y, grid[1] + x, evidence.HALF) for y, x in evidence.PLACES]
    estimate = np.stack(places) - padded[0][:, evidence.AROUND, evidence.AROUND]
    base = part.at(rows, cols, 1 / scale) + interpolate_filled(lacking[0], rows[None], cols[None], "bicubic")[:, 0]
    return base.T, reader.channels(detail[0] + lacking[0], estimate, part.gained)


def _mirrored(images: NDArray[Any], edge: int) -> NDArray[Any]:
    return np.pad(images, (*((0, 0),) * (images.ndim - 2), (edge, edge), (edge, edge)), mode="symmetric")


@dataclass(frozen=True)
class DateSampler:
    """Draws batches of scenes, alone or with made-up dates; draw number ``step`` is a function of seed and step."""

    wald: WaldSampler
    reader: Reader
    most: int
    """Most other dates."""
    alone: float
    """Share of batches of one date."""
    hidden: Callable[[int], tuple[int, ...]]
    """Bands that are missing in the batch of a step."""

    def __call__(self, step: int) -> Batch:
        """Draw the batch of one step."""
        wald = self.wald
        rng = np.random.default_rng([wald.seed, step])
        scale = float(np.exp(rng.uniform(*np.log(wald.scale_range))))
        coarser, noise = wald.conditions(rng)
        count = 0 if rng.random() < self.alone else int(rng.integers(1, self.most + 1))
        true = rng.uniform(-SHIFT, SHIFT, (count, 2))
        shifts = true + UNSURE * rng.standard_normal((count, 2))
        hidden = list(self.hidden(step))
        # One sensor for the batch: its weights for each displacement are found once.
        sensor = wald.sensor(scale, coarser, noise, rng)
        parts = [self._draw(scene, sensor, true, shifts, hidden, rng) for scene in wald.choose(rng)]
        low, rows, cols, base, target, further, *square = (np.stack(group) for group in zip(*parts, strict=True))
        return Batch(scale, low, rows, cols, base, target, (square[0], square[1]) if square else None, further)

    def _draw(
        self,
        scene: TrainingScene,
        sensor: PatchSensor,
        true: NDArray[np.float64],
        shifts: NDArray[np.float64],
        hidden: list[int],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.generic], ...]:
        wald = self.wald
        windows, inside = wald.window(scene, sensor, rng)
        filled = [fill(window) for window in windows]
        low = wald.degrade(filled, sensor, rng)
        others = [wald.degrade(another_day(filled, rng), sensor, rng, shift) for shift in true]
        dates = np.stack(others) if others else np.empty((0, *low.shape), np.float32)
        for images in (low[None], dates):
            images[:, hidden] = np.nan
        rows, cols, target, operators = wald.queries_of(windows[0], inside, sensor, rng)
        target[hidden] = np.nan
        valid = np.ones((len(dates), wald.patch, wald.patch), np.bool_)
        base, further = read(self.reader, low, dates, valid, sensor.coarser, shifts, rows, cols, sensor.scale)
        return low, rows, cols, base, target.T, further, *operators


@dataclass(frozen=True)
class RealDateSampler:
    """Draws batches of real series, whose target date is shown or hidden."""

    several: SeriesSampler
    reader: Reader
    hidden: Callable[[int], tuple[int, ...]]
    """Bands that are missing in the batch of a step."""

    def __call__(self, step: int) -> Batch:
        """Draw the batch of one step."""
        wald, series = self.several.wald, self.several.series
        rng = np.random.default_rng([wald.seed, step])
        scale = float(np.exp(rng.uniform(*np.log(wald.scale_range))))
        coarser, noise = wald.conditions(rng)
        sensor = wald.sensor(scale, coarser, noise, rng)
        count = int(rng.integers(self.several.dates[0], self.several.dates[1] + 1))
        weight = np.array([s.weight * np.sqrt(s.image[0, 0].size) for s in series])
        chosen = rng.choice(len(series), size=wald.batch, p=weight / weight.sum())
        hidden = list(self.hidden(step))
        parts = [self._draw(series[index], sensor, count, hidden, rng) for index in chosen]
        low, rows, cols, base, target, further = (np.stack(group) for group in zip(*parts, strict=True))
        return Batch(scale, low, rows, cols, base, target, None, further)

    def _draw(
        self, series: Dates, sensor: PatchSensor, count: int, hidden: list[int], rng: np.random.Generator
    ) -> tuple[NDArray[np.generic], ...]:
        drawn = self.several.draw(series, sensor, count, rng)
        low, target = drawn.low, drawn.target
        low[:, hidden], target[:, hidden] = np.nan, np.nan
        offset = days(drawn.times) - days(drawn.tau)[0]
        image, known = fusion.composite(low, drawn.valid, drawn.shifts, offset)
        row, col = (np.rint(v).astype(int) for v in (drawn.rows, drawn.cols))
        target[~known[row, col]] = np.nan
        # A date that is all of the composite says nothing more.
        own = offset == 0
        near = np.abs(drawn.shifts).max(axis=1) <= fusion.FARTHEST
        used = np.flatnonzero(near & ~own & drawn.valid.any(axis=(1, 2)))
        used = used[np.unique(drawn.times[used], return_index=True)[1]]
        base, further = read(
            self.reader,
            image,
            low[used],
            drawn.valid[used],
            sensor.coarser,
            drawn.shifts[used],
            drawn.rows,
            drawn.cols,
            sensor.scale,
        )
        return image, drawn.rows, drawn.cols, base, target, further


@dataclass(frozen=True)
class Either:
    """One of two samplers at random, for each step."""

    first: Callable[[int], Batch]
    second: Callable[[int], Batch]
    share: float
    """Of the second."""
    seed: int

    def __call__(self, step: int) -> Batch:
        """Draw the batch of one step."""
        second = np.random.default_rng([self.seed, step, 2]).random() < self.share
        return (self.second if second else self.first)(step)


def another_day(windows: Sequence[Image], rng: np.random.Generator) -> list[Image]:
    """Change the colours of a scene as from one date to another: everywhere a little, in some regions much."""
    spread = rng.uniform(0, 2 * TINT)
    changed = [mixed(window, spread, rng) for window in windows]
    if rng.random() < CHANGED:
        changed = [recoloured(window, RECOLOUR * float(rng.uniform(0, 1)), rng) for window in changed]
    return changed
