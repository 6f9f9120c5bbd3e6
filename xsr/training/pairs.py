"""Pairs by the Wald protocol: what a sensor ``scale`` times coarser would have observed, and the truth.

L. Wald, T. Ranchin, M. Mangolini, "Fusion of satellite images of different spatial resolutions: assessing the
quality of resulting images", Photogrammetric Engineering & Remote Sensing 63 (1997).

Sentinel-2 has bands of 10 m and of 20 m. At use the 20 m bands are on the 10 m grid, brought there by bicubic
interpolation; so a pair imitates that: a band whose native pixel is twice the grid's is blurred and sampled at
twice the low-resolution pixel, and then interpolated onto the grid of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.kernels import psf
from xsr.kernels.degrade import BandOptics, observe, sensor_band
from xsr.kernels.noise import NoiseModel
from xsr.kernels.resample import fill_nodata, interpolation_taps, resample, resample_points
from xsr.training import level1c
from xsr.training.scenes import TrainingScene

Image = NDArray[np.float32]
BORDER = 4
"""Low-resolution pixels at the border of a patch where the truth is never taken: the network pads them with zeros."""
FLAT = 0.002
"""Standard deviation in reflectance below which a band counts as flat, so that its noise is not blown up."""
RECOLOUR = 1.0
"""Most that `recoloured` adds, in standard deviations of a band."""
MIXED, RECOLOURED = 0.45, 0.4
"""Shares of the patches that are `mixed` and `recoloured` where bands are varied."""
OWN_MTF = 0.3
"""Response of an image at its own Nyquist frequency, which `recoloured` gives to what it adds."""
CUBIC_REACH = 2
"""Pixels beyond an image that bicubic interpolation reads."""


@dataclass(frozen=True)
class Batch:
    """Patches of one scale, reflectance in float32; NaN where a scene lacks a band."""

    scale: float
    low: Image
    """Low-resolution patches, shape (n, band, patch, patch)."""
    rows: NDArray[np.float64]
    """Query positions in low-resolution pixels, shape (n, queries)."""
    cols: NDArray[np.float64]
    """Likewise along x."""
    base: Image
    """Bicubic value at the queries, shape (n, queries, band)."""
    target: Image
    """Truth at the queries, shape (n, queries, band); NaN where it is unknown."""
    sensor: tuple[Image, Image] | None = None
    """Where the queries are a square, row by row: what the sensor of each patch does to it along y and x, each shape
    (n, band, patch, side). Rows of low-resolution pixels that need more than the square are zero."""
    further: Image | None = None
    """Channels that the network reads beside the bands, shape (n, channel, patch, patch); see `xsr.kernels.evidence`.
    """


@dataclass(frozen=True)
class PatchSensor:
    """The sensor that observes one patch, channel by channel: drawn at random around a real one.

    A patch begins at a whole pixel of the fine grid. Weights at a random place between pixels have no given MTF where
    the scale is close to one: half-way between two pixels nothing of the Nyquist frequency is left.
    """

    scale: float
    """Low-resolution pixel in fine pixels."""
    mtf: NDArray[np.float64]
    """MTF at Nyquist of each channel's own pixels."""
    coarser: tuple[bool, ...]
    """Whether the own pixels of a channel are twice those of the grid."""
    noise: NDArray[np.float64]
    """Standard deviation of each channel in reflectance."""
    similar: bool = True
    """Whether the fine image has the same MTF at its own Nyquist frequency; if not, it is taken for perfectly sharp."""
    resampled: float = 0.0
    """Share of its images that are interpolated; see `xsr.training.level1c`."""

    @cached_property
    def margin(self) -> int:
        """Fine pixels around a patch that it depends on; even, so that a nested grid begins at a whole pixel too."""
        own = self.scale * (2 if any(self.coarser) else 1)
        further = even(level1c.REACH * own) if self.resampled else 0
        return 2 + further + even(max(self.band(channel).halo() for channel in range(len(self.mtf))))

    def band(self, channel: int, ratio: int = 1) -> BandOptics:
        """Describe how a channel is observed in an image whose pixels are ``ratio`` fine ones.

        Close to a scale of one the response is the greatest that weights have, if that is less than the sensor's.
        """
        own, step, mtf = 2 if self.coarser[channel] else 1, self.scale / ratio, float(self.mtf[channel])
        noise = NoiseModel(float(self.noise[channel]))
        if self.similar:
            return sensor_band(mtf, step, own=own, source_mtf=mtf, noise=noise, key=channel)
        mtf = min(mtf, psf.NEARLY * psf.sharpest(own * step))
        return sensor_band(mtf, step, own=own, noise=noise, key=channel)

    def repeated(self, count: int) -> "PatchSensor":
        """Repeat the channels, for the bands of so many dates."""
        mtf, noise = np.tile(self.mtf, count), np.tile(self.noise, count)
        return replace(self, mtf=mtf, coarser=self.coarser * count, noise=noise)


@dataclass(frozen=True)
class WaldSampler:
    """Draws batches from scenes; draw number ``step`` is a function of the seed and the step alone."""

    scenes: Sequence[TrainingScene]
    mtf: tuple[float, ...]
    """MTF at Nyquist of each band."""
    scale_range: tuple[float, float]
    patch: int
    """Low-resolution pixels along a side; even if a band is coarser than the grid."""
    queries: int
    batch: int
    mtf_jitter: float
    """Standard deviation of the logarithm of the MTF's factor."""
    seed: int
    square: int = 0
    """Side in high-resolution pixels of the square of truth in each patch, less where the patch is smaller;
    0: ``queries`` scattered pixels."""
    coarser: tuple[bool, ...] = ()
    """Whether the native pixel of each band is twice the grid's; empty: none is."""
    level: float = 0.25
    """Share of batches in which every band is native to the grid nevertheless, as in a cube of 20 m pixels."""
    noise: tuple[float, ...] = ()
    """Standard deviation of a band's noise in reflectance; half the batches have up to twice as much, half none."""
    mix: float = 0.0
    """How much of the other bands is mixed into each band of some patches (see `mixed`), in the mean; others are
    `recoloured`. 0: bands are left as they are."""
    similar: bool = True
    """Whether pairs are self-similar; see `PatchSensor.similar`."""
    soften: float = 0.0
    """Share of the patches whose scene is softened first, by up to the blur of its own sensor once more."""
    resampled: float = 0.0
    """Share of the images that are interpolated after they are taken; see `xsr.training.level1c`."""

    def __call__(self, step: int) -> Batch:
        """Draw the batch of one step."""
        rng = np.random.default_rng([self.seed, step])
        scale = float(rng.uniform(*self.scale_range))
        coarser, noise = self.conditions(rng)
        parts = [self._draw(scene, self.sensor(scale, coarser, noise, rng), rng) for scene in self.choose(rng)]
        low, rows, cols, base, target, *sensor = (np.stack(group) for group in zip(*parts, strict=True))
        return Batch(scale, low, rows, cols, base, target, (sensor[0], sensor[1]) if sensor else None)

    def conditions(self, rng: np.random.Generator) -> tuple[tuple[bool, ...], NDArray[np.float64]]:
        """Draw which bands of a batch are coarser than the grid, and the noise of each."""
        coarser = self.coarser if self.coarser and rng.random() >= self.level else (False,) * len(self.mtf)
        noise = np.array(self.noise or (0.0,) * len(self.mtf)) * (rng.uniform(0, 2) if rng.random() < 0.5 else 0.0)
        return coarser, noise

    def sensor(
        self, scale: float, coarser: tuple[bool, ...], noise: NDArray[np.float64], rng: np.random.Generator
    ) -> PatchSensor:
        """Draw the sensor of one patch: its MTF lies around the real one."""
        factor = np.exp(self.mtf_jitter * rng.standard_normal(len(self.mtf)))
        mtf = np.clip(np.array(self.mtf) * factor, 0.05, 0.8)
        return PatchSensor(scale, mtf, coarser, noise, self.similar, self.resampled)

    def choose(self, rng: np.random.Generator) -> list[TrainingScene]:
        """Draw the scenes of a batch."""
        return [self.scenes[index] for index in rng.choice(len(self.scenes), size=self.batch, p=self._probability())]

    def _probability(self) -> NDArray[np.float64]:
        """Weight scenes by the square root of their place's area, so that large places do not drown small ones."""
        area: dict[str, int] = {}
        for scene in self.scenes:
            area[scene.place] = area.get(scene.place, 0) + scene.image[0].size
        weight = np.array([s.weight * s.image[0].size / np.sqrt(area[s.place]) for s in self.scenes])
        probability: NDArray[np.float64] = weight / weight.sum()
        return probability

    def _draw(
        self, scene: TrainingScene, sensor: PatchSensor, rng: np.random.Generator
    ) -> tuple[NDArray[np.generic], ...]:
        windows, inside = self.window(scene, sensor, rng)
        low = self.degrade([fill(window) for window in windows], sensor, rng)
        rows, cols, target, operators = self.queries_of(windows[0], inside, sensor, rng)
        base = resample_points(low, interpolation_taps(rows, "bicubic"), interpolation_taps(cols, "bicubic"))
        return low, rows, cols, base.T, target.T, *operators

    def queries_of(
        self, window: Image, inside: tuple[int, int], sensor: PatchSensor, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], Image, list[Image]]:
        """Draw queries of a patch.

        Returns
        -------
        rows, cols : ndarray
            Positions in low-resolution pixels, shape (query,).
        target : ndarray
            Truth, shape (band, query); NaN where it is unknown.
        operators : list of ndarray
            What the sensor does to them along y and x where they are a square, else nothing.
        """
        scale, margin = sensor.scale, sensor.margin
        at_pixel = [margin + self.pixels(scale, n, rng) for n in inside]
        operators = []
        if self.square:
            operators = [self.operators(sensor, margin - int(q[0]), len(q)) for q in at_pixel]
            at_pixel = [axis.ravel() for axis in np.meshgrid(*at_pixel, indexing="ij")]
        rows, cols = (np.asarray((q - margin + 0.5) / scale - 0.5, np.float64) for q in at_pixel)
        target = window[:, at_pixel[0], at_pixel[1]]
        return rows, cols, np.where(np.isfinite(target), target, np.float32(np.nan)), operators

    def window(
        self, scene: TrainingScene, sensor: PatchSensor, rng: np.random.Generator
    ) -> tuple[list[Image], tuple[int, int]]:
        """Cut what a patch is made of from a scene, at random, and change it at random.

        Returns
        -------
        windows : list of ndarray
            On the fine grid and, if there is one, on the nested grid of pixels twice as large, with
            `PatchSensor.margin` fine pixels around the patch.
        inside : tuple of int
            Fine pixels of the patch along y and x that lie inside the scene; what lies beyond is mirrored.
        """
        margin, extent = sensor.margin, even(self.patch * sensor.scale)
        height, width = scene.image.shape[1:]
        start = [2 * int(rng.integers(0, max(size - extent, 0) // 2 + 1)) for size in (height, width)]
        windows = [cut(scene.image, start, extent, margin, 1)]
        if scene.coarse is not None:
            windows.append(cut(scene.coarse, start, extent, margin, 2))
        if self.mix:
            chance = rng.random()
            if chance < MIXED:
                spread = rng.uniform(0, 2 * self.mix)
                windows = [mixed(window, spread, rng) for window in windows]
            elif chance < MIXED + RECOLOURED:
                windows = [recoloured(window, RECOLOUR, rng) for window in windows]
        if self.soften and rng.random() < self.soften:
            blur = float(rng.uniform(0, 1))
            windows = [softened(window, self.mtf, blur) for window in windows]
        return augment(windows, rng), (min(extent, height), min(extent, width))

    def degrade(
        self,
        filled: Sequence[Image],
        sensor: PatchSensor,
        rng: np.random.Generator,
        shift: Sequence[float] = (0.0, 0.0),
    ) -> Image:
        """Observe a window as a patch, channel by channel.

        Parameters
        ----------
        filled
            Window on the fine grid and, if there is one, on the nested grid of pixels twice as large; channels that
            are missing are NaN throughout.
        sensor
            With as many channels as the window.
        rng
            Source of the noise.
        shift
            Displacement of the content (down, right) in low-resolution pixels.

        Returns
        -------
        ndarray
            Shape (channel, patch, patch); NaN for a channel that is missing at the required sharpness.
        """
        low = np.full((len(sensor.mtf), self.patch, self.patch), np.nan, np.float32)
        seed, span = int(rng.integers(2**63)), Span(0, self.patch)
        # A generator of their own: with the switch or without, all else is drawn alike.
        observers = level1c.draw(sensor.resampled, len(sensor.mtf), rng.spawn(1)[0])
        for channel, twice in enumerate(sensor.coarser):
            ratio = 2 if len(filled) > 1 and np.isfinite(filled[1][channel, 0, 0]) else 1
            source = filled[ratio - 1][[channel]]
            if not np.isfinite(source[0, 0, 0]) or (ratio == 2 and not twice):
                continue
            origin = -sensor.margin // ratio
            band = sensor.band(channel, ratio)
            at, by = (origin, origin), (float(shift[0]), float(shift[1]))
            low[channel] = observers[channel](source, band, rows=span, cols=span, origin=at, shift=by, seed=seed)[0]
        return low

    def pixels(self, scale: float, inside: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw fine pixels of a patch, or the side of a square, whose low-resolution position keeps off the border."""
        first = int(np.ceil((BORDER + 0.5) * scale - 0.5))
        last = min(int(np.floor((self.patch - 1 - BORDER + 0.5) * scale - 0.5)), inside - 1)
        if self.square:
            side = min(self.square, int((self.patch - 1 - 2 * BORDER) * scale))
            return int(rng.integers(first, max(last - side + 1, first) + 1)) + np.arange(side)
        return rng.integers(first, max(last, first) + 1, self.queries)

    def operators(self, sensor: PatchSensor, origin: int, side: int) -> Image:
        """Write what a sensor does along an axis of a square as matrices, shape (band, patch, side).

        The patch begins ``origin`` pixels after the square. A band is observed in its own pixels, those of twice the
        grid's being half as many; low-resolution pixels that need more than the square are left zero.
        """
        matrices = np.zeros((len(sensor.mtf), self.patch, side), np.float32)
        for channel, twice in enumerate(sensor.coarser):
            count = self.patch // (2 if twice else 1)
            taps = psf.sample_chain(0, count, sensor.band(channel).own.y)
            matrix, inside = taps.moved(origin).matrix(side)
            matrices[channel, :count][inside] = matrix[inside]
        return matrices


def even(number: float) -> int:
    """Round up to an even number."""
    return 2 * int(np.ceil(number / 2))


def cut(image: Image, start: Sequence[int], extent: int, margin: int, ratio: int) -> Image:
    """Cut a window with a margin, in pixels ``ratio`` times those of the arguments.

    Beyond the border an image is mirrored about its edge, so that grids nested in one another stay so.
    """
    index = []
    for first, size in zip(start, image.shape[1:], strict=True):
        place = np.mod(np.arange((first - margin) // ratio, (first + extent + margin) // ratio), 2 * size)
        index.append(np.where(place < size, place, 2 * size - 1 - place))
    return image[:, index[0][:, None], index[1]]


def enlarged(low: Image, factor: int) -> Image:
    """Bicubic interpolation of images (band, h, w) whose last pixel is repeated beyond the border."""
    padded = np.pad(low, ((0, 0), (CUBIC_REACH, CUBIC_REACH), (CUBIC_REACH, CUBIC_REACH)), mode="edge")
    rows, cols = (
        interpolation_taps((np.arange(n * factor) + 0.5) / factor - 0.5 + CUBIC_REACH, "bicubic") for n in low.shape[1:]
    )
    return resample(padded, rows, cols)


def fill(window: Image) -> Image:
    """Fill no-data pixels from their neighbours, then with the mean of the band."""
    valid = np.isfinite(window)
    count = valid.sum(axis=(1, 2))
    some = (count > 0) & (count < valid[0].size)
    if not some.any():
        return window
    out = window.copy()
    mean = np.where(valid[some], window[some], 0).sum(axis=(1, 2)) / count[some]
    out[some] = fill_nodata(window[some], passes=4, constant=mean.astype(np.float32))
    return out


def mixed(window: Image, spread: float, rng: np.random.Generator) -> Image:
    """Mix the bands of a window (band, y, x) that it has, each about its mean, by random weights.

    Each band gets ``spread`` standard deviations of every other, up or down: how bands go together then differs from
    patch to patch, and must be read from the low-resolution image instead of being memorised.
    """
    known = np.isfinite(window).any(axis=(1, 2))
    bands = window[known]
    mean = np.nanmean(bands, axis=(1, 2), keepdims=True)
    size = np.maximum(np.nanstd(bands, axis=(1, 2)), FLAT)
    weight = spread * rng.standard_normal((len(bands), len(bands))) * size[:, None] / size
    np.fill_diagonal(weight, 1.0)
    out = window.copy()
    out[known] = mean + np.tensordot(weight, bands - mean, axes=1)
    return out


def recoloured(window: Image, spread: float, rng: np.random.Generator) -> Image:
    """Give regions of like colour in a window (band, y, x) random other values in some of its bands.

    Regions are the cells of a random grid in the space of reflectances. What one band shows is then seldom a function
    of the others, but where it changes they mostly change too: a crop in flower, a dry field, a new roof.
    """
    known = np.isfinite(window).any(axis=(1, 2))
    bands = window[known]
    if not known.any():
        return window
    mean, size = np.nanmean(bands, axis=(1, 2)), np.maximum(np.nanstd(bands, axis=(1, 2)), FLAT)
    unit = np.nan_to_num((bands - mean[:, None, None]) / size[:, None, None])
    region = np.zeros(window.shape[1:], np.int64)
    for direction in rng.standard_normal((2, len(bands))):
        value = np.tensordot(direction, unit, axes=1)
        edges = np.quantile(value, np.sort(rng.uniform(0.05, 0.95, rng.integers(1, 5))))
        region = 5 * region + np.searchsorted(edges, value)
    amount = spread * size * rng.uniform(0, 1, len(bands)) * (rng.random(len(bands)) < 0.5)
    colour = rng.standard_normal((len(bands), 25))[:, region]
    out = window.copy()
    rows, cols = (Span(0, size) for size in window.shape[1:])
    blurred = observe(colour.astype(np.float32), sensor_band(OWN_MTF, 1.0), rows=rows, cols=cols)
    out[known] = bands + amount[:, None, None] * blurred
    return out


def softened(window: Image, mtf: Sequence[float], width: float) -> Image:
    """Blur the bands of a window (band, y, x) by ``width`` times the Gaussian of their MTF; no data stays no data.

    The same place by a softer sensor, or under haze: what a network sharpens is not always as sharp as the best.
    """
    out = window.copy()
    rows, cols = (Span(0, size) for size in window.shape[1:])
    for band, value in enumerate(mtf):
        if np.isfinite(window[band]).any():
            optics = sensor_band(value ** (width * width), 1.0)
            out[band] = observe(window[[band]], optics, rows=rows, cols=cols)[0]
    out[~np.isfinite(window)] = np.nan
    return out


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to flip and transpose an image."""

    flips: tuple[int, ...] = ()
    """Axes along which it is flipped: 1 is down, 2 is right."""
    transposed: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Turn":
        """Draw one at random."""
        flips = tuple(axis for axis in (1, 2) if rng.random() < 0.5)
        return cls(flips, rng.random() < 0.5)

    def image(self, window: Image) -> Image:
        """Turn an image (band, y, x)."""
        turned = np.flip(window, self.flips)
        return turned.transpose(0, 2, 1) if self.transposed else turned

    def shift(self, shifts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn displacements (n, 2), down and right."""
        signs = np.array([-1.0 if axis in self.flips else 1.0 for axis in (1, 2)])
        turned = shifts * signs
        return np.asarray(turned[:, ::-1] if self.transposed else turned)


def augment(
    windows: Sequence[Image], rng: np.random.Generator, *, dates: int = 1, turn: Turn | None = None
) -> list[Image]:
    """Turn and change the radiometry by random gains and an offset, alike in windows of one scene.

    Channels are the bands of each of some dates; all dates change alike.
    """
    turn = Turn.draw(rng) if turn is None else turn
    bands = windows[0].shape[0] // dates
    factor = np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.1, (bands, 1, 1)))
    offset = rng.normal(0, 0.01, (bands, 1, 1))
    gain, level = (np.tile(v.astype(np.float32), (dates, 1, 1)) for v in (factor, offset))
    changed = [np.multiply(turn.image(window), gain, order="C") for window in windows]
    return [np.add(window, level, out=window) for window in changed]
