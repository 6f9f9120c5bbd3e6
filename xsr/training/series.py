"""Series: images of a place on many dates, and batches in which one date is asked for and others answer.

The date asked for may be among those that answer, or be hidden: leave one date out. Then nothing but the other dates
tells what it looked like, and time itself is supervised, without any image finer than the sensor's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.core.instants import day_of_year, days
from xsr.kernels.degrade import observe, sensor_band
from xsr.kernels.resample import interpolation_taps, resample
from xsr.sources.masks import SCL_INVALID
from xsr.training.pairs import OWN_MTF, PatchSensor, WaldSampler, augment, cut, even, fill
from xsr.training.scenes import (
    BANDS,
    COARSE,
    FINE,
    VALIDATION,
    Image,
    TrainingScene,
    at_20m,
    nested,
    repetition,
    to_reflectance,
)

CLEAR = 0.75
"""Least share of clear pixels for a date to be asked for."""
USEFUL = 0.2
"""Least share of clear pixels for a date to answer."""
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
    """Times asked for, shape (n,)."""
    tau_day_of_year: NDArray[np.float64]
    rows: NDArray[np.float64]
    """Query positions in low-resolution pixels, shape (n, queries)."""
    cols: NDArray[np.float64]
    target: Image
    """Truth at the queries, shape (n, queries, band); NaN where it is unknown."""


@dataclass(frozen=True)
class SeriesSampler:
    """Draws batches of series; draw number ``step`` is a function of the seed and the step alone."""

    series: Sequence[Series]
    wald: WaldSampler
    """How a date is degraded, and where it is asked; its scenes are not used."""
    dates: tuple[int, int]
    """Least and most dates that answer."""
    hidden: float = 0.5
    """Share of patches in which the date asked for is not among those that answer."""
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
        wald, margin, bands = self.wald, sensor.margin, len(sensor.mtf)
        asked = int(rng.choice(series.clear()))
        frames = self._frames(series, asked, count, rng)
        extent = even(wald.patch * sensor.scale)
        windows = augment(self._windows(series, [*frames, asked], extent, margin, rng), rng, dates=count + 1)
        low = wald.degrade([fill(window[:-bands]) for window in windows], sensor.repeated(count), rng)
        valid = self._valid(windows[0][:-bands:bands], sensor)
        if rng.random() < 0.5:
            valid &= np.stack([~cloud(wald.patch, rng.uniform(0, self.clouds), rng) for _ in range(count)])
        at = [wald.pixels(sensor.scale, min(extent, size), rng) for size in series.image.shape[2:]]
        rows, cols = ((q + 0.5) / sensor.scale - 0.5 for q in at)
        target = windows[0][-bands:, at[0] + margin, at[1] + margin].T
        times = series.times[frames]
        tau = series.times[[asked]]
        return (
            low.reshape(count, bands, wald.patch, wald.patch),
            valid,
            days(times),
            day_of_year(times),
            days(tau)[0],
            day_of_year(tau)[0],
            rows,
            cols,
            target,
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

    def _frames(self, series: Series, asked: int, count: int, rng: np.random.Generator) -> list[int]:
        """Choose the dates that answer: near ones, some left out, the one asked for among them or not."""
        distance = np.abs(days(series.times) - days(series.times[[asked]])[0])
        useful = set(series.clear(USEFUL).tolist())
        others = [int(i) for i in np.argsort(distance, kind="stable") if i != asked and int(i) in useful]
        kept = [i for i in others if rng.random() < 0.7]
        kept += [i for i in others if i not in kept]
        if rng.random() >= self.hidden:
            kept = [asked, *kept]
        chosen = kept[:count]
        return sorted(chosen + chosen[-1:] * (count - len(chosen)))


def cloud(size: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Smooth blobs over a share of a patch."""
    coarse = np.pad(rng.standard_normal((1, 7, 7)).astype(np.float32), ((0, 0), (0, 1), (0, 1)))
    taps = interpolation_taps(np.linspace(1, 5, size), "bicubic")  # the last reads one pixel more, with weight zero
    field = resample(coarse, taps, taps)[0]
    covered: NDArray[np.bool_] = field > np.quantile(field, 1 - share)
    return covered


def _masked(image: Image, cloudy: NDArray[np.bool_]) -> Image:
    """Hide cloudy pixels in all bands; ``cloudy`` has shape (date, y, x)."""
    return np.where(cloudy[:, None], np.float32(np.nan), image)


def _grown(cloudy: NDArray[np.bool_], radius: int = 2) -> NDArray[np.bool_]:
    """Dilate a mask by a square: the borders of clouds are never sharp."""
    from scipy.ndimage import maximum_filter

    grown: NDArray[np.bool_] = maximum_filter(cloudy, size=(1, 2 * radius + 1, 2 * radius + 1))
    return grown


def worldstrat(root: Path, *, validation: bool = False) -> Iterator[Series]:
    """Series of the WorldStrat scenes, those kept for validation or the others."""
    import xarray as xr

    for path in sorted((root / "worldstrat_s2_spot").glob("*.nc")):
        if (path.stem in VALIDATION) != validation:
            continue
        with xr.open_dataset(path, mask_and_scale=False) as data:
            dn = data["s2_l2a"].sel(band=list(BANDS)).values
            cloudy = np.isin(data["scl"].values, SCL_INVALID)
            times = data["time"].values.astype("datetime64[ns]")
        order = np.argsort(times, kind="stable")
        values = to_reflectance(dn[order])
        offset = repetition(values[int(cloudy[order].mean(axis=(1, 2)).argmin())], BANDS)
        values = _masked(values, _grown(cloudy[order]))
        scenes = [nested(path.stem, image, BANDS, offset=offset) for image in values]
        yield _stacked(f"worldstrat/{path.stem}", times[order], scenes)


def belgium(root: Path, name: str) -> Series:
    """Series of a folder of the layout of s2_ts_belgium_31UDS."""
    import xarray as xr

    folder = root / name
    with xr.open_dataset(folder / "s2_20m.nc", mask_and_scale=False) as coarse:
        cloudy = np.isin(coarse["SCL"].values, SCL_INVALID)
        twice = to_reflectance(np.stack([coarse[band].values for band in COARSE], axis=1))
    with xr.open_dataset(folder / "s2_10m.nc", mask_and_scale=False) as fine:
        dn = to_reflectance(np.stack([fine[band].values for band in FINE], axis=1))
        times = fine["time"].values.astype("datetime64[ns]")
    cloudy = _grown(cloudy, 1)
    values = _masked(dn, cloudy.repeat(2, axis=1).repeat(2, axis=2))
    scenes = [nested(name, a, FINE, b) for a, b in zip(values, _masked(twice, cloudy), strict=True)]
    return _stacked(name, times, scenes)


def _stacked(place: str, times: NDArray[np.datetime64], scenes: Sequence[TrainingScene]) -> Series:
    coarse = np.stack([scene.coarse for scene in scenes if scene.coarse is not None])
    return Series(place, times, np.stack([scene.image for scene in scenes]), coarse)


def synthetic(count: int) -> Iterator[Series]:
    """Synthetic series of a season: known in all bands, with clouds and misregistration."""
    from xsr.testing import synthetic_cube

    for seed in range(count):
        rng = np.random.default_rng([seed, 7])
        gaps = rng.choice([5, 5, 5, 10, 15], size=11)
        first = np.datetime64("2023-03-01") + int(rng.integers(0, 120))
        times = first + np.concatenate([[0], np.cumsum(gaps)]).astype("timedelta64[D]")
        cube = synthetic_cube(seed=1000 + seed, size=(128, 128), times=times, bands=BANDS, jitter_px=0.15)
        values = np.array(cube.values, np.float32)
        for date in np.flatnonzero(rng.random(len(values)) < 0.5):  # the others are clear: only such can be asked for
            values[date, :, cloud(128, rng.uniform(0.1, 0.7), rng)] = np.nan
        yield Series("synthetic", cube["time"].values.astype("datetime64[ns]"), values, None, 0.5)


def coarser(series: Series) -> Series | None:
    """Series of 20 m pixels in which the truth of all bands is known; None if it is too small."""
    if series.coarse is None:
        return None
    dates = zip(series.image, series.coarse, strict=True)
    scenes = [at_20m(TrainingScene(series.place, fine, coarse=coarse)) for fine, coarse in dates]
    images = [scene.image for scene in scenes if scene is not None]
    if len(images) < len(scenes):
        return None
    return Series(f"{series.place} at 20 m", series.times, np.stack(images), None, series.weight)


def load(root: Path | None, *, synthetic_scenes: int = 24) -> list[Series]:
    """Load the series of the train split that have dates to ask for; synthetic ones alone without a folder.

    Raises
    ------
    ParameterError
        If nothing is left to train on, or the folder lacks images.
    """
    found = list(synthetic(synthetic_scenes))
    if root is not None:
        try:
            real = [belgium(root, "s2_ts_belgium_31UDS"), *worldstrat(root)]
        except FileNotFoundError as error:
            raise ParameterError(f"{root} lacks training images: {error}. Set XSR_DATA.") from error
        found += real + [one for one in map(coarser, real) if one is not None]
    found = [one for one in found if len(one.clear()) >= 2 and len(one.clear(USEFUL)) >= 4]
    if not found:
        raise ParameterError("no series to train on; give a folder of images or more synthetic scenes.")
    return found
