"""Pairs of a thermal image and its optical guide, for networks that sharpen one by the other.

The truth of a pair is on a grid no finer than what a thermal sensor resolved: a product of 30 m pixels that was
measured at 100 m is smooth at 30 m, and a network trained on it would learn to blur. Real scenes are therefore
averaged to 90 m (Landsat 8) first. The low-resolution image is the truth blurred by a thermal point spread function,
four or eight times coarser, with noise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsr.core.errors import BandError, CubeError
from xsr.kernels.degrade import blur_decimate
from xsr.kernels.limits import limits
from xsr.kernels.resample import fill_nodata
from xsr.training import scenes as optical_scenes
from xsr.training.manifest import Manifest, Scene, Split
from xsr.training.pairs import cut, enlarged
from xsr.training.reading import read, read_scene
from xsr.training.scenes import Say, quiet
from xsr.training.thermal_synthetic import GUIDE, GUIDE_BANDS, draw_scene

Image = NDArray[np.float32]
FACTORS = (4, 8)
MARGIN = 40
"""Pixels around a patch, for the point spread function and the interpolation: five pixels of the coarser grid."""
REAL_SHARE, OPTICAL_SHARE = 0.12, 0.5
"""Share of patches from real thermal images; of the others, share with a real optical image as their land."""
MISSING_SHARE, NO_SWIR_SHARE = 0.06, 0.12
"""Share of patches whose guide is missing altogether, and that lack the short-wave infrared."""
LEAST = 128
"""Least side of an optical image, pixels."""
KNOWN = 0.98
"""Least share of its pixels with data."""


@dataclass(frozen=True)
class ThermalScene:
    """A real thermal image on a grid of about its native resolution, with its guide."""

    place: str
    kelvin: Image
    """Temperature, shape (y, x); NaN is no data."""
    guide: Image
    """Reflectance of `GUIDE_BANDS`, shape (3, y, x); NaN throughout where there is none."""


@dataclass(frozen=True)
class GuidedBatch:
    """Patches of one fixed scale."""

    factor: int
    low: Image
    """Low-resolution temperature in units of its limits, shape (n, 1, patch / factor, patch / factor)."""
    image: Image
    """The same enlarged by bicubic interpolation, shape (n, 1, patch, patch)."""
    guide: Image
    """Standardised guide, shape (n, 3, patch, patch); 0 where a band is missing."""
    target: Image
    """Truth in the units of ``image``, shape (n, 1, patch, patch); NaN where it is unknown."""
    span: Image
    """Kelvin of one such unit, shape (n,)."""
    mtf: Image
    """Modulation of the sensor at the Nyquist frequency of ``low``, shape (n,)."""


@dataclass(frozen=True)
class GuidedSampler:
    """Draws batches; draw number ``step`` is a function of the seed and the step alone."""

    scenes: Sequence[ThermalScene]
    """Real thermal scenes; may be empty."""
    optical: Sequence[Image]
    """Real reflectance (3, y, x) of `GUIDE_BANDS`, finite; may be empty."""
    patch: int
    batch: int
    seed: int
    factors: tuple[int, ...] = FACTORS
    mtf: tuple[float, float] = (0.15, 0.45)
    """Range of the MTF at the Nyquist frequency of the coarser grid."""
    noise_k: tuple[float, float] = (0.03, 0.2)
    """Range of the standard deviation of the noise of the low-resolution image, kelvin."""

    def __call__(self, step: int) -> GuidedBatch:
        """Draw the batch of one step."""
        rng = np.random.default_rng([self.seed, step])
        factor = int(rng.choice(self.factors))
        parts = [self._draw(factor, rng) for _ in range(self.batch)]
        return GuidedBatch(factor, *(np.stack(group) for group in zip(*parts, strict=True)))

    def scene(self, rng: np.random.Generator) -> tuple[Image, Image]:
        """Temperature (side, side) and guide (3, side, side) of a patch with its margin."""
        side = self.patch + 2 * MARGIN
        if self.scenes and rng.random() < REAL_SHARE:
            one = self.scenes[int(rng.integers(len(self.scenes)))]
            window = crop(np.concatenate([one.kelvin[None], one.guide]), side, rng)
            return window[0], window[1:]
        if self.optical and rng.random() < OPTICAL_SHARE:
            return draw_scene(rng, side, crop(self.optical[int(rng.integers(len(self.optical)))], side, rng))
        return draw_scene(rng, side)

    def _draw(self, factor: int, rng: np.random.Generator) -> tuple[Image, ...]:
        kelvin, guide = turn(*self.scene(rng), rng)
        mtf = float(rng.uniform(*self.mtf))
        low = observe(kelvin, factor, mtf)
        low = low + np.float32(rng.uniform(*self.noise_k)) * rng.standard_normal(low.shape).astype(np.float32)
        lo, hi = image_limits(low)
        below, above = (rng.uniform(0, 1.5) * (hi - lo) * (rng.random() < 0.4) for _ in range(2))  # a larger scene's
        lo, span = lo - below, hi - lo + below + above
        unit = ((low[None] - lo) / span).astype(np.float32)
        standard = standardise(guide)
        standard[2:] *= rng.random() >= NO_SWIR_SHARE
        standard *= rng.random() >= MISSING_SHARE
        inner = slice(MARGIN, MARGIN + self.patch)
        coarse = slice(MARGIN // factor, (MARGIN + self.patch) // factor)
        image = enlarged(unit, factor)[:, inner, inner]
        target = ((kelvin - lo) / span).astype(np.float32)[None, inner, inner]
        made = unit[:, coarse, coarse], image, standard[:, inner, inner], target
        return *made, np.asarray(span, np.float32), np.asarray(mtf, np.float32)


def crop(image: Image, side: int, rng: np.random.Generator) -> Image:
    """Cut a window of ``side`` pixels at a random place; a smaller image is continued by mirroring."""
    start = [int(rng.integers(0, max(size - side, 0) + 1)) for size in image.shape[1:]]
    return cut(image, start, side, 0, 1)


def turn(kelvin: Image, guide: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    """Flip and transpose a temperature (y, x) and its guide (3, y, x) alike."""
    both = np.concatenate([kelvin[None], guide])
    both = np.flip(both, tuple(axis for axis in (1, 2) if rng.random() < 0.5))
    both = both.transpose(0, 2, 1) if rng.random() < 0.5 else both
    both = np.ascontiguousarray(both, np.float32)
    return both[0], both[1:]


def observe(kelvin: Image, factor: int, mtf: float) -> Image:
    """Image (y, x) as a sensor ``factor`` times coarser observes it, without noise; NaN does not spread.

    Parameters
    ----------
    kelvin
        Temperature; sides are multiples of ``factor``.
    factor
        Pixels of the finer grid along one of the coarser.
    mtf
        Modulation of the Gaussian point spread function at the Nyquist frequency of the coarser grid, in (0, 1).
    """
    filled = fill_nodata(kelvin[None], passes=4, constant=float(np.nanmean(kelvin)))
    low: Image = blur_decimate(filled, scale=factor, mtf=mtf)[0]
    return low


def average(images: Image, factor: int) -> Image:
    """Mean of images (n, y, x) over squares of ``factor`` pixels; what does not fill one is left out."""
    n, height, width = images.shape
    cells = images[:, : height // factor * factor, : width // factor * factor]
    means = cells.reshape(n, height // factor, factor, width // factor, factor).mean(axis=(2, 4))
    return np.asarray(means, np.float32)


def image_limits(low: Image) -> tuple[float, float]:
    """Limits of a low-resolution image, as the operation takes them; see `xsr.kernels.limits`."""
    valid = low[np.isfinite(low)].astype(np.float64)
    lo, hi = limits(valid.size, valid.sum(), (valid**2).sum(), valid.min(), valid.max())
    return float(lo), float(hi)


def standardise(guide: Image) -> Image:
    """Guide (3, y, x) in standard deviations from the mean of land; 0 where it is missing."""
    return np.nan_to_num(GUIDE.standardise(guide, range(len(GUIDE))))


def load_optical(manifest: Manifest | None, *, recipe: str = "", say: Say = quiet) -> list[Image]:
    """Reflectance of `GUIDE_BANDS` of the optical training scenes, of at least `LEAST` pixels a side."""
    if manifest is None or not manifest.select("image", recipe=recipe):
        return []
    index = [optical_scenes.BANDS.index(band) for band in GUIDE_BANDS]
    images = []
    for scene in optical_scenes.load(manifest, recipe=recipe, say=say):
        image = scene.image[index].copy()
        if scene.coarse is not None:
            twice = enlarged(fill(scene.coarse[index]), 2)
            image[2] = twice[2]
        known = np.isfinite(image)
        if min(image.shape[1:]) >= LEAST and known.mean() > KNOWN and known.any(axis=(1, 2)).all():
            images.append(fill(image))
    return images


def fill(image: Image) -> Image:
    """Fill no data from neighbours, then with the mean of the band; a band without data becomes 0."""
    known = np.isfinite(image)
    mean = np.where(known, image, 0).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
    return fill_nodata(image, passes=4, constant=mean.astype(np.float32))


def load_thermal(
    manifest: Manifest | None, *, split: Sequence[Split] = ("train",), recipe: str = "", say: Say = quiet
) -> list[ThermalScene]:
    """Read the thermal scenes of a manifest, averaged to about their native resolution.

    Raises
    ------
    XsrError
        If a file is not what the manifest says.
    """
    found = () if manifest is None else manifest.select("thermal", split=split, recipe=recipe)
    scenes: list[ThermalScene] = []
    for number, scene in enumerate(found, 1):
        assert manifest is not None
        say(f"thermal scene {number} of {len(found)}: {scene.place}")
        scenes += thermal_scenes(manifest, scene)
    return scenes


def thermal_scenes(manifest: Manifest, scene: Scene) -> Iterator[ThermalScene]:
    """Read the temperatures of a scene, each with its guide.

    Raises
    ------
    CubeError
        If temperature and guide are not on one grid.
    BandError
        If the guide lacks a band.
    """
    kelvin = read_scene(manifest, scene).fine.values[:, 0]
    guide = np.full((len(kelvin), len(GUIDE_BANDS), *kelvin.shape[1:]), np.nan, np.float32)
    if scene.guide is not None:
        given = read(manifest, scene.guide, scene.place)
        missing = [band for band in GUIDE_BANDS[:2] if band not in given.names]
        if missing:
            raise BandError(f"scene {scene.place!r}: the guide lacks {missing[0]}; expected {', '.join(GUIDE_BANDS)}.")
        if given.values.shape[2:] != kelvin.shape[1:]:
            raise CubeError(
                f"scene {scene.place!r}: temperature {kelvin.shape[1:]}, guide {given.values.shape[2:]}; expected"
                " one grid."
            )
        for band in set(GUIDE_BANDS) & set(given.names):
            guide[:, GUIDE_BANDS.index(band)] = given.values[:, given.names.index(band)]
    for one, beside in zip(kelvin, guide, strict=True):
        yield ThermalScene(scene.place, average(one[None], scene.average)[0], average(beside, scene.average))
