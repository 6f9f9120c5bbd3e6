"""Pairs of two thermal sensors over one place, for networks that learn what the coarser one does not resolve.

An image that is observed coarser by a model of the sensor has the blur and the noise of that model. Pixels of a product
of a real sensor are also displaced by its gridding, by up to half a pixel, one by one. Both are in the images of two
sensors on one satellite. These differ in calibration and in what they take for emissivity, too: that smooth part of
their difference is no detail, and no network could know it, so it is taken out of the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from xsr.operations.guided.guide import red_and_nir
from xsr.training import modis_aster
from xsr.training.manifest import Manifest
from xsr.training.modis_aster import SCALE
from xsr.training.pairs import enlarged
from xsr.training.scenes import Say, quiet
from xsr.training.thermal import GuidedBatch, Image, fill, image_limits, standardise


@dataclass(frozen=True)
class PairedScene:
    """Temperatures of two sensors and a guide, the finer two on one grid."""

    place: str
    low: Image
    """Coarser temperature in kelvin, shape (h, w), finite."""
    image: Image
    """The same, interpolated, shape (`SCALE` h, `SCALE` w)."""
    guide: Image
    """Standardised guide, shape (3, `SCALE` h, `SCALE` w); 0 where a band is missing."""
    truth: Image
    """Finer temperature without the smooth part of its difference from ``image``; NaN where it is unknown."""


@dataclass(frozen=True)
class PairedSampler:
    """Draws batches; draw number ``step`` is a function of the seed and the step alone.

    Patches are neither turned nor flipped: products of one sensor are displaced against each other in one direction.
    """

    scenes: Sequence[PairedScene]
    patch: int
    """Pixels of the guide along a side, a multiple of `SCALE`."""
    batch: int
    seed: int
    mtf: float
    """Modulation at the Nyquist frequency that the card states."""

    def __call__(self, step: int) -> GuidedBatch:
        """Draw the batch of one step."""
        rng = np.random.default_rng([self.seed, step])
        parts = [self._draw(rng) for _ in range(self.batch)]
        return GuidedBatch(SCALE, *(np.stack(group) for group in zip(*parts, strict=True)))

    def _draw(self, rng: np.random.Generator) -> tuple[Image, ...]:
        scene = self.scenes[int(rng.integers(len(self.scenes)))]
        side = self.patch // SCALE
        top, left = (int(rng.integers(size - side + 1)) for size in scene.low.shape)
        coarse = slice(top, top + side), slice(left, left + side)
        fine = slice(SCALE * top, SCALE * (top + side)), slice(SCALE * left, SCALE * (left + side))
        lowest, highest = image_limits(scene.low)
        span = highest - lowest
        low, image, truth = (
            ((one - lowest) / span).astype(np.float32)[None]
            for one in (scene.low[coarse], scene.image[fine], scene.truth[fine])
        )
        return low, image, scene.guide[:, *fine], truth, np.asarray(span, np.float32), np.asarray(self.mtf, np.float32)


def load(manifest: Manifest | None, smooth: float, *, recipe: str = "", say: Say = quiet) -> list[PairedScene]:
    """Read the pairs of the train split.

    Parameters
    ----------
    manifest
        Real images; None has no pairs.
    smooth
        See `paired`.
    recipe
        Recipe that is to be trained.
    say
        Receives a line for each pair.
    """
    found = () if manifest is None else manifest.select("thermal_pairs", recipe=recipe)
    scenes = []
    for number, scene in enumerate(found, 1):
        assert manifest is not None
        say(f"pair {number} of {len(found)}: {scene.place}")
        scenes += [paired(scene.place, modis_aster.read(path), smooth) for path in manifest.paths(scene, scene.place)]
    return scenes


def paired(place: str, both: modis_aster.Overpass, smooth: float) -> PairedScene:
    """Make what a network learns of an overpass.

    Parameters
    ----------
    place
        Name.
    both
        Temperatures of both sensors, and the index.
    smooth
        Standard deviation, in pixels of the coarser sensor, of the Gaussian that smooths the difference of both.
    """
    (low,) = fill(both.low.values)
    (image,) = enlarged(low[None], SCALE)
    index = both.guide.values[0]
    guide = np.stack([*red_and_nir(index), np.full_like(index, np.nan)])
    known = np.isfinite(index) & np.repeat(np.repeat(np.isfinite(both.low.values[0]), SCALE, axis=0), SCALE, axis=1)
    difference = np.where(known, both.truth.values[0] - image, np.float32(np.nan))
    truth = image + difference - smoothed(difference, smooth * SCALE)
    return PairedScene(place, low, image, standardise(guide), truth.astype(np.float32))


def smoothed(image: Image, sigma: float) -> NDArray[np.float64]:
    """Smooth an image (y, x) by a Gaussian of ``sigma`` pixels over what is known; NaN where nothing is in reach."""
    known = np.isfinite(image)
    total = gaussian_filter(np.where(known, image, 0).astype(np.float64), sigma)
    share = gaussian_filter(known.astype(np.float64), sigma)
    mean: NDArray[np.float64] = np.divide(total, share, out=np.full(image.shape, np.nan), where=share > 0)
    return mean
