"""Training of fixed-scale networks: whole patches on the grid, and the three terms of their loss.

A pair is an image degraded by the factor and the image itself. What its pixels are decides which bands it teaches:

- **FR** (full resolution). The truth of the bands of 10 m is the product as it was delivered, at its own pixel: a
  pair degrades 10 m to 20 m, and the 20 m bands to 40 m, which then come on the 20 m grid by bicubic interpolation, as
  at use the 20 m bands come on the grid of 10 m. No finer sensor is used: the truth is Sentinel-2's own image.
- **Wald**. Of the bands of 20 m no truth of 10 m exists. They learn from pairs made one level up: an image of 20 m
  pixels in all ten bands, the 10 m bands blurred to as sharp an image, is degraded to 40 m and its 20 m bands to 80 m.
  The 10 m bands of such pairs count in the FR term. Synthetic scenes are known in all bands at 10 m.
- **Low fidelity**. The output, degraded again as the sensor would, is compared with the input, band by band in
  native pixels; the sensor's MTF stands for the one drawn for the pair.

Terms are mean absolute errors of standardised reflectance: FR plus Wald plus `Fixed.low_fidelity` times low fidelity.

References
----------
J. Michel, E. Kalinicheva, super-resolution of Sentinel-2 in the EVOLAND project, 2024.
L. Wald, T. Ranchin, M. Mangolini, Photogrammetric Engineering & Remote Sensing 63 (1997).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xsr.kernels.fidelity import LowSensor, axis_operators
from xsr.kernels.psf import effective, gaussian
from xsr.models.losses import Fidelity
from xsr.training.mixed import mixed
from xsr.training.pairs import Image, WaldSampler, enlarged, fill
from xsr.training.recipe import Fixed, Recipe
from xsr.training.scenes import FINE, TrainingScene

UNJUDGED = 2
"""Low-resolution pixels at the border of a patch that the truth does not judge: interpolation lacks neighbours."""


@dataclass(frozen=True)
class FixedBatch:
    """Patches of one fixed scale, reflectance in float32; NaN where a scene lacks a band."""

    factor: int
    low: Image
    """Low-resolution patches, shape (n, band, patch, patch)."""
    base: Image
    """Their bicubic interpolation, shape (n, band, factor * patch, factor * patch)."""
    target: Image
    """Truth, likewise; NaN where it is unknown, and along the border."""
    coarser: tuple[bool, ...]
    """Bands of native pixels twice the grid's, and brought to the grid by bicubic interpolation."""
    mtf: tuple[float, ...]
    """MTF at Nyquist of the sensor, by band; a pair's own is drawn around it."""
    similar: bool = True
    """Whether the truth has that MTF too, at its own pixels."""


@dataclass(frozen=True)
class FixedSampler:
    """Draws pairs on the grid; draw number ``step`` is a function of the seed and the step alone."""

    pairs: WaldSampler
    """How scenes are chosen and degraded; its scale and queries are not used."""
    factor: int = 2

    def __call__(self, step: int) -> FixedBatch:
        """Draw the batch of one step."""
        rng = np.random.default_rng([self.pairs.seed, step])
        coarser, noise = self.pairs.conditions(rng)
        parts = [self._draw(scene, coarser, noise, rng) for scene in self.pairs.choose(rng)]
        low, base, target = (np.stack(group) for group in zip(*parts, strict=True))
        return FixedBatch(self.factor, low, base, target, coarser, self.pairs.mtf, self.pairs.similar)

    def _draw(
        self, scene: TrainingScene, coarser: tuple[bool, ...], noise: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[Image, Image, Image]:
        sensor = self.pairs.sensor(self.factor, coarser, noise, rng)
        windows, inside = self.pairs.window(scene, sensor, rng)
        low = self.pairs.degrade([fill(window) for window in windows], sensor, rng)
        size, edge, margin = self.factor * self.pairs.patch, self.factor * UNJUDGED, sensor.margin
        target = np.full((len(low), size, size), np.nan, np.float32)
        rows, cols = (slice(edge, min(size - edge, n)) for n in inside)
        target[:, rows, cols] = windows[0][:, margin : margin + size, margin : margin + size][:, rows, cols]
        return low, enlarged(low, self.factor), target


@dataclass(frozen=True)
class Images:
    """What is compared: standardised images of a batch, (n, band, H, W), and (n, band, h, w) of ``low``."""

    low: Tensor
    base: Tensor
    """Bicubic interpolation."""
    found: Tensor
    """The network's image."""
    target: Tensor
    """Truth; NaN where it is unknown."""


def fixed_images(
    network: nn.Module, batch: FixedBatch, recipe: Recipe[Fixed], *, drop: tuple[int, ...], device: str
) -> Images:
    """Images of a batch by a network whose output is added to bicubic interpolation."""
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (recipe.image.mean, recipe.image.std))
    low, base, target = ((torch.from_numpy(v).to(device) - mean) / std for v in (batch.low, batch.base, batch.target))
    hidden = list(drop)
    low[:, hidden] = target[:, hidden] = torch.nan
    with mixed(device):
        output = network(low.nan_to_num())  # a band that the scene lacks is set to the mean
    return Images(low, base, base + output.float(), target)


def fixed_error(images: Images, batch: FixedBatch, recipe: Recipe[Fixed]) -> tuple[Tensor, Tensor]:
    """Three terms of the loss of a network, and of the interpolation it corrects."""
    sensor = fidelity(batch.low.shape[-1], batch.factor, batch.mtf, batch.coarser, batch.similar).to(images.low.device)
    mine, other = (
        truth_error(image, images.target, recipe.bands)
        + recipe.task.low_fidelity * sensor.low_fidelity(image, images.low)
        for image in (images.found, images.base)
    )
    return mine, other


def fixed_loss(
    network: nn.Module, batch: FixedBatch, recipe: Recipe[Fixed], *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Loss of a network whose output is added to bicubic interpolation; see `xsr.training.tasks.Loss`."""
    return fixed_error(fixed_images(network, batch, recipe, drop=drop, device=device), batch, recipe)


def truth_error(image: Tensor, target: Tensor, bands: Sequence[str]) -> Tensor:
    """Sum of the FR and the Wald term: mean absolute errors of the 10 m bands and of the others, by band.

    Parameters
    ----------
    image, target
        (n, band, H, W); NaN in either is left out, and so is a band that is NaN throughout.
    bands
        Names of the bands.
    """
    known = torch.isfinite(image) & torch.isfinite(target)
    error = torch.where(known, image - target, 0.0).abs().sum(dim=(0, 2, 3))
    count = known.sum(dim=(0, 2, 3))
    by_band = error / count.clamp(min=1)
    total = torch.zeros((), device=image.device)
    for fine in (True, False):
        group = [i for i, band in enumerate(bands) if (band in FINE) == fine]
        total = total + by_band[group].sum() / (count[group] > 0).sum().clamp(min=1)
    return total


@lru_cache(maxsize=4)
def fidelity(
    patch: int, factor: int, mtf: tuple[float, ...], coarser: tuple[bool, ...], similar: bool = True
) -> Fidelity:
    """Low-fidelity term of patches of some size: the sensor, ``factor`` times coarser, by band."""
    sensors = []
    for m, twice in zip(mtf, coarser, strict=True):
        own = (2 if twice else 1) * factor
        blur = effective(m, own, m) if similar else gaussian(m, own)
        sensors.append(LowSensor((float(factor),) * 2, (blur, blur), (own, own) if twice else None))
    rows, cols = ([axis_operators(patch * factor, sensor, axis) for sensor in sensors] for axis in (0, 1))
    return Fidelity(rows, cols)
