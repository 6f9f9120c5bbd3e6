"""Series: images of a place on many dates, and batches in which one date is the target and others are the input.

The target date may be among those of the input, or be hidden: leave one date out. Then nothing but the other dates
shows what it looked like, and time itself is supervised, without any image finer than the sensor's.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.core.errors import BandError, CubeError, ParameterError
from xsr.core.target_times import day_of_year, days
from xsr.kernels.degrade import observe, sensor_band
from xsr.kernels.registration import find_shift
from xsr.kernels.resample import interpolation_taps, resample
from xsr.training.manifest import Manifest, Scene, Split
from xsr.training.pairs import OWN_MTF, PatchSensor, Turn, WaldSampler, augment, cut, even, fill
from xsr.training.reading import Reading, read_scene
from xsr.training.scenes import (
    BANDS,
    Image,
    Say,
    TrainingScene,
    arrange,
    at_20m,
    check_bands,
    check_size,
    coarser_names,
    nested,
    quiet,
    repetition,
)

CLEAR = 0.75
"""Least share of clear pixels for a date to be the target."""
USEFUL = 0.2
"""Least share of clear pixels for a date to be an input."""
KNOWN = 0.95
"""Least share of a low-resolution pixel's weight on clear pixels for it to count as clear."""


@dataclass(frozen=True)
class Series:
    """Images of a place, in time order; reflectance with NaN under clouds and where there is no data."""

    place: str
    times: NDArray[np.datetime64]
    image: Image
    """Shape (date, band, y, x), all `BANDS`; NaN throughout for bands of the coarse grid."""
    coarse: Image | None
    """Bands on the nested grid of pixels twice as large, shape (date, band, y / 2, x / 2)."""
    weight: float = 1.0
    shifts: NDArray[np.float64] | None = None
    """Displacement (down, right) of the content of each date in pixels, shape (date, 2); None: all lie alike."""

    def clear(self, share: float = CLEAR) -> NDArray[np.int64]:
        """Dates on which a share of the place is clear."""
        return np.flatnonzero(np.isfinite(self.image[:, 0]).mean(axis=(1, 2)) >= share)


@dataclass(frozen=True)
class SeriesBatch:
    """Patches of several dates of one scale, reflectance in float32."""

    scale: float
    low: Image
    """Low-resolution patches, shape (n, date, band, patch, patch); NaN for bands that the place lacks, and throughout
    for dates on which a patch is hidden throughout."""
    valid: NDArray[np.bool_]
    """Pixels to use, shape (n, date, patch, patch)."""
    days: NDArray[np.float64]
    """Times of the dates, shape (n, date)."""
    day_of_year: NDArray[np.float64]
    tau: NDArray[np.float64]
    """Target times, shape (n,)."""
    tau_day_of_year: NDArray[np.float64]
    rows: NDArray[np.float64]
    """Query positions in low-resolution pixels, shape (n, queries)."""
    cols: NDArray[np.float64]
    target: Image
    """Truth at the queries, shape (n, queries, band); NaN where it is unknown."""


@dataclass(frozen=True)
class Drawn:
    """A patch of several dates."""

    low: Image
    """Shape (date, band, patch, patch)."""
    valid: NDArray[np.bool_]
    """Shape (date, patch, patch)."""
    times: NDArray[np.datetime64]
    tau: NDArray[np.datetime64]
    """Target time, shape (1,)."""
    rows: NDArray[np.float64]
    cols: NDArray[np.float64]
    target: Image
    """Shape (query, band)."""
    shifts: NDArray[np.float64]
    """Displacement (down, right) of the content of each date against the target, in pixels, shape (date, 2)."""


@dataclass(frozen=True)
class SeriesSampler:
    """Draws batches of series; draw number ``step`` is a function of the seed and the step alone."""

    series: Sequence[Series]
    wald: WaldSampler
    """How a date is degraded, and where its truth is taken; its scenes are not used."""
    dates: tuple[int, int]
    """Least and most dates of the input."""
    hidden: float = 0.5
    """Share of patches in which the target date is not among those of the input."""
    clouds: float = 0.6
    """Most of a date that made-up clouds hide, in half the patches."""

    def __call__(self, step: int) -> SeriesBatch:
        """Draw the batch of one step."""
        wald = self.wald
        rng = np.random.default_rng([wald.seed, step])
        scale = float(rng.uniform(*wald.scale_range))
        coarser, noise = wald.conditions(rng)
        count = int(rng.integers(self.dates[0], self.dates[1] + 1))
        weight = np.array([s.weight * np.sqrt(s.image[0, 0].size) for s in self.series])
        chosen = rng.choice(len(self.series), size=wald.batch, p=weight / weight.sum())
        parts = [
            self._draw(self.series[index], wald.sensor(scale, coarser, noise, rng), count, rng) for index in chosen
        ]
        groups = [np.stack(group) for group in zip(*parts, strict=True)]
        return SeriesBatch(scale, *groups)

    def _draw(
        self, series: Series, sensor: PatchSensor, count: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.generic], ...]:
        drawn = self.draw(series, sensor, count, rng)
        return (
            drawn.low,
            drawn.valid,
            days(drawn.times),
            day_of_year(drawn.times),
            days(drawn.tau)[0],
            day_of_year(drawn.tau)[0],
            drawn.rows,
            drawn.cols,
            drawn.target,
        )

    def draw(self, series: Series, sensor: PatchSensor, count: int, rng: np.random.Generator) -> "Drawn":
        """Draw a patch of some dates, and one of them or another as its target."""
        wald, margin, bands = self.wald, sensor.margin, len(sensor.mtf)
        date = int(rng.choice(series.clear()))
        frames = self._frames(series, date, count, rng)
        extent = even(wald.patch * sensor.scale)
        turn = Turn.draw(rng)
        windows = self._windows(series, [*frames, date], extent, margin, rng)
        windows = augment(windows, rng, dates=count + 1, turn=turn)
        low = wald.degrade([fill(window[:-bands]) for window in windows], sensor.repeated(count), rng)
        valid = self._valid(windows[0][:-bands:bands], sensor)
        if rng.random() < 0.5:
            valid &= np.stack([~cloud(wald.patch, rng.uniform(0, self.clouds), rng) for _ in range(count)])
        at = [wald.pixels(sensor.scale, min(extent, size), rng) for size in series.image.shape[2:]]
        rows, cols = (np.asarray((q + 0.5) / sensor.scale - 0.5, np.float64) for q in at)
        target = windows[0][-bands:, at[0] + margin, at[1] + margin].T
        away = np.zeros((count, 2)) if series.shifts is None else series.shifts[frames] - series.shifts[date]
        return Drawn(
            low.reshape(count, bands, wald.patch, wald.patch),
            valid,
            series.times[frames],
            series.times[[date]],
            rows,
            cols,
            target,
            turn.shift(away) / sensor.scale,
        )

    def _windows(
        self, series: Series, dates: list[int], extent: int, margin: int, rng: np.random.Generator
    ) -> list[Image]:
        """Cut a window of some dates at random, from the fine grid and from the nested one if there is one."""
        start = [2 * int(rng.integers(0, max(size - extent, 0) // 2 + 1)) for size in series.image.shape[2:]]
        grids = [(series.image, 1)] if series.coarse is None else [(series.image, 1), (series.coarse, 2)]
        return [
            cut(images[dates].reshape(-1, *images.shape[2:]), start, extent, margin, ratio) for images, ratio in grids
        ]

    def _valid(self, fine: Image, sensor: PatchSensor) -> NDArray[np.bool_]:
        """Mark the low-resolution pixels of a window of several dates that hardly depend on hidden pixels."""
        span, origin = Span(0, self.wald.patch), (-sensor.margin, -sensor.margin)
        known = np.isfinite(fine).astype(np.float32)
        return observe(known, sensor_band(OWN_MTF, sensor.scale), rows=span, cols=span, origin=origin) > KNOWN

    def _frames(self, series: Series, date: int, count: int, rng: np.random.Generator) -> list[int]:
        """Choose the dates of the input: near ones, some left out, the target among them or not."""
        distance = np.abs(days(series.times) - days(series.times[[date]])[0])
        useful = set(series.clear(USEFUL).tolist())
        others = [int(i) for i in np.argsort(distance, kind="stable") if i != date and int(i) in useful]
        kept = [i for i in others if rng.random() < 0.7]
        kept += [i for i in others if i not in kept]
        if rng.random() >= self.hidden:
            kept = [date, *kept]
        chosen = kept[:count]
        return sorted(chosen + chosen[-1:] * (count - len(chosen)))


def cloud(size: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Smooth blobs over a share of a patch."""
    coarse = np.pad(rng.standard_normal((1, 7, 7)).astype(np.float32), ((0, 0), (0, 1), (0, 1)))
    taps = interpolation_taps(np.linspace(1, 5, size), "bicubic")  # the last reads one pixel more, with weight zero
    field = resample(coarse, taps, taps)[0]
    covered: NDArray[np.bool_] = field > np.quantile(field, 1 - share)
    return covered


def _masked(image: Image, cloudy: NDArray[np.bool_], place: str) -> Image:
    """Hide cloudy pixels in all bands; ``cloudy`` has shape (date, y, x) of the image, or half or twice of it."""
    sizes = image.shape[2:], cloudy.shape[1:]
    ratio = image.shape[2] / cloudy.shape[1]
    if ratio > 1.5:
        cloudy = cloudy.repeat(2, axis=1).repeat(2, axis=2)
    elif ratio < 0.75:
        height, width = (size // 2 * 2 for size in cloudy.shape[1:])
        four = [cloudy[:, row:height:2, col:width:2] for row in (0, 1) for col in (0, 1)]
        cloudy = np.logical_or.reduce(four)
    if cloudy.shape[1:] != image.shape[2:]:
        raise CubeError(
            f"scene {place!r} has {sizes[0]} pixels, its mask {sizes[1]}; expected as many, half or twice as many along"
            " each side. Correct mask."
        )
    return np.where(cloudy[:, None], np.float32(np.nan), image)


def _grown(cloudy: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Dilate a mask by a square: the borders of clouds are never sharp."""
    from scipy.ndimage import maximum_filter

    grown: NDArray[np.bool_] = maximum_filter(cloudy, size=(1, 2 * radius + 1, 2 * radius + 1))
    return grown


def read(
    manifest: Manifest | None, *, split: Sequence[Split] = ("train",), recipe: str = "", say: Say = quiet
) -> Iterator[Series]:
    """Read the series of a manifest: scenes of several dates that are known.

    Raises
    ------
    XsrError
        If a file is not what the manifest says.
    """
    found = (
        [] if manifest is None else [s for s in manifest.select("series", split=split, recipe=recipe) if not s.layout]
    )
    for number, scene in enumerate(found, 1):
        assert manifest is not None
        say(f"series {number} of {len(found)}: {scene.place}")
        reading = read_scene(manifest, scene)
        times = reading.fine.times
        if times is not None and len(times) > 1:
            yield series_of(reading, times)


def series_of(reading: Reading, times: NDArray[np.datetime64]) -> Series:
    """Series of what was read, in the order of time, hidden where its mask says; bands of 20 m on their own grid."""
    order = np.argsort(times, kind="stable")
    reading = reading.take(order)
    scene, fine, coarse, cloudy = reading.scene, reading.fine, reading.coarse, reading.cloudy
    check_bands(scene.place, fine.names + (() if coarse is None else coarse.names))
    twice = coarser_names(scene, fine.names) if coarse is None else coarse.names
    offset = (0, 0)
    if coarse is None and twice:
        best = 0 if cloudy is None else int(cloudy.mean(axis=(1, 2)).argmin())
        offset = repetition(fine.values[best], fine.names, twice)
    values, larger = (None if part is None else _hidden(part.values, reading) for part in (fine, coarse))
    assert values is not None
    if not twice:
        image = np.stack([arrange(one, fine.names, one.shape[1:]) for one in values])
        return Series(scene.place, times[order], image, None, scene.weight)
    scenes = [
        nested(scene.place, one, fine.names, None if larger is None else larger[date], twice, offset=offset)
        for date, one in enumerate(values)
    ]
    return _stacked(scene, times[order], scenes)


def _hidden(values: Image, reading: Reading) -> Image:
    """Images without what the mask of their scene hides."""
    if reading.cloudy is None or reading.scene.mask is None:
        return values
    return _masked(values, _grown(reading.cloudy, reading.scene.mask.grow), reading.scene.place)


def _stacked(scene: Scene, times: NDArray[np.datetime64], scenes: Sequence[TrainingScene]) -> Series:
    coarse = np.stack([one.coarse for one in scenes if one.coarse is not None])
    return Series(scene.place, times, np.stack([one.image for one in scenes]), coarse, scene.weight)


def made_up(count: int, say: Say = quiet) -> Iterator[Series]:
    """Render synthetic series of a season: known in all bands, with clouds and misregistration."""
    from xsr.testing import synthetic_cube

    for seed in range(count):
        say(f"synthetic series {seed + 1} of {count}")
        rng = np.random.default_rng([seed, 7])
        gaps = rng.choice([5, 5, 5, 10, 15], size=11)
        first = np.datetime64("2023-03-01") + int(rng.integers(0, 120))
        times = first + np.concatenate([[0], np.cumsum(gaps)]).astype("timedelta64[D]")
        cube = synthetic_cube(seed=1000 + seed, size=(128, 128), times=times, bands=BANDS, jitter_px=0.15)
        values = np.array(cube.values, np.float32)
        for date in np.flatnonzero(rng.random(len(values)) < 0.5):  # the others are clear: only such can be the target
            values[date, :, cloud(128, rng.uniform(0.1, 0.7), rng)] = np.nan
        yield Series("synthetic", cube["time"].values.astype("datetime64[ns]"), values, None, 0.5)


def registered(series: Series) -> Series:
    """Measure how far the dates are displaced from the clearest; those with too little texture count as in place."""
    order = np.isfinite(series.image[:, 0]).mean(axis=(1, 2))
    reference = series.image[int(order.argmax())]
    known = [band for band in range(len(reference)) if np.isfinite(reference[band]).any()]
    shifts = np.zeros((len(series.times), 2))
    for date, image in enumerate(series.image):
        found = np.array([find_shift(reference[band], image[band])[:2] for band in known]).reshape(-1, 2)
        found = found[np.isfinite(found).all(axis=1)]
        if len(found):
            shifts[date] = np.median(found, axis=0)
    return replace(series, shifts=shifts)


def coarser(series: Series) -> Series | None:
    """Series of 20 m pixels in which the truth of all bands is known; None if it is too small."""
    if series.coarse is None:
        return None
    dates = zip(series.image, series.coarse, strict=True)
    scenes = [at_20m(TrainingScene(series.place, fine, coarse=coarse)) for fine, coarse in dates]
    images = [scene.image for scene in scenes if scene is not None]
    if len(images) < len(scenes):
        return None
    shifts = None if series.shifts is None else series.shifts / 2
    return Series(f"{series.place} at 20 m", series.times, np.stack(images), None, series.weight, shifts)


def load(
    manifest: Manifest | None,
    *,
    recipe: str = "",
    synthetic: int = 24,
    published: Iterable[Series] = (),
    least: int = 1,
    say: Say = quiet,
) -> list[Series]:
    """Make the training series of a recipe that have clear dates: synthetic ones, the manifest's, those ``published``.

    Raises
    ------
    ParameterError
        If nothing is left to train on, or an image is too small.
    XsrError
        If a file is not what the manifest says.
    """
    found = list(made_up(synthetic, say))
    real = [*read(manifest, recipe=recipe, say=say), *published]
    for one in real:
        check_size(one.place, one.image.shape[2:], least)
        if np.isfinite(one.image).any() and not np.isfinite(one.image[:, 0]).any():
            raise BandError(f"series {one.place!r} lacks {BANDS[0]}, by which clear pixels are known. Add it.")
    found, real = list(map(registered, found)), list(map(registered, real))
    found += real + [one for one in map(coarser, real) if one is not None]
    found = [one for one in found if len(one.clear()) >= 2 and len(one.clear(USEFUL)) >= 4]
    if not found:
        raise ParameterError(
            "no series to train on: expected scenes with at least four dates, two of them clear; give the manifest"
            " files with dates, or times, or more synthetic series."
        )
    return found
