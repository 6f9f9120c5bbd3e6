"""Training of a network that brings bands of larger pixels to the grid of the others.

Pairs are made one level up, where the truth is known: of an image of 20 m pixels in all bands, those of 20 m are
observed at 40 m and interpolated back, and the others are left as they are but for noise. A pair begins at a corner of
the larger pixels. The network corrects the interpolated bands with all that `xsr.kernels.injection` adds to them.

The loss is the root mean square error of each band of each patch over that of interpolation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xsr.core.blocks import Span
from xsr.kernels.degrade import observe
from xsr.kernels.evidence import Reader
from xsr.training.mixed import mixed
from xsr.training.pairs import Image, PatchSensor, WaldSampler, even, fill
from xsr.training.recipe import Recipe, Sharpen
from xsr.training.scenes import COARSE, TrainingScene

UNJUDGED = 4
"""Pixels at the border of a patch that the truth does not judge: regressions and interpolation lack neighbours."""
FLAT = 0.01
"""Standardised error that adds to that of interpolation, so that a calm sea does not count too much."""
TINY = 1e-6
"""Squared standardised error that adds to any, for a finite slope of the root."""


@dataclass(frozen=True)
class SharpenBatch:
    """Patches in reflectance, float32; NaN where a scene lacks a band."""

    low: Image
    """Bands on the grid, those of larger pixels by interpolation, shape (n, band, patch, patch)."""
    added: Image
    """What sharp bands and back-projection add to them, zero for the sharp ones, likewise."""
    target: Image
    """Truth of the bands of larger pixels, likewise; NaN for the others, and along the border."""


@dataclass(frozen=True)
class AtOne(PatchSensor):
    """The sensor of a patch whose sharp bands are those of the scene."""

    @cached_property
    def margin(self) -> int:
        """Pixels around a patch that it depends on; even."""
        return 2 + even(max(self.band(channel).halo() for channel, twice in enumerate(self.coarser) if twice))


@dataclass(frozen=True)
class SharpenSampler:
    """Draws pairs; draw number ``step`` is a function of the seed and the step alone."""

    wald: WaldSampler
    """Scenes of which bands of larger pixels are known on the grid, and how they are changed."""
    reader: Reader
    hidden: Callable[[int], tuple[int, ...]]
    """Bands that are missing in the batch of a step."""
    published: float = 0.0
    """Share of patches by the published formula."""

    def __call__(self, step: int) -> SharpenBatch:
        """Draw the batch of one step."""
        rng = np.random.default_rng([self.wald.seed, step])
        coarser, noise = self.wald.conditions(rng)
        hidden = list(self.hidden(step))
        parts = [self._draw(scene, coarser, noise, hidden, rng) for scene in self.wald.choose(rng)]
        return SharpenBatch(*(np.stack(group) for group in zip(*parts, strict=True)))

    def _draw(
        self,
        scene: TrainingScene,
        coarser: tuple[bool, ...],
        noise: NDArray[np.float64],
        hidden: list[int],
        rng: np.random.Generator,
    ) -> tuple[Image, Image, Image]:
        wald = self.wald
        drawn = wald.sensor(1.0, coarser, noise, rng)
        similar = bool(drawn.similar and rng.random() >= self.published)
        sensor = AtOne(drawn.scale, drawn.mtf, drawn.coarser, drawn.noise, similar)
        (window, *_), inside = wald.window(scene, sensor, rng)
        low = self._degrade(fill(window), sensor, rng)
        low[hidden] = np.nan
        rows, cols = (slice(UNJUDGED, min(wald.patch, n) - UNJUDGED) for n in inside)
        cut = slice(sensor.margin, sensor.margin + wald.patch)
        judged = np.array(coarser)
        judged[hidden] = False
        target = np.full_like(low, np.nan)
        target[judged, rows, cols] = window[:, cut, cut][judged, rows, cols]
        edge = self.reader.edge
        padded = np.pad(np.nan_to_num(low), ((0, 0), (edge, edge), (edge, edge)), mode="symmetric")
        detail, lacking = self.reader.detail(padded[None], coarser, (-edge, -edge))
        return low, detail[0] + lacking[0], target

    def _degrade(self, window: Image, sensor: AtOne, rng: np.random.Generator) -> Image:
        """Observe the bands of larger pixels; the others are as they are, but for noise."""
        size, start = self.wald.patch, sensor.margin
        low = window[:, start : start + size, start : start + size].copy()
        seed, span = int(rng.integers(2**63)), Span(0, size)
        for channel, twice in enumerate(sensor.coarser):
            known = bool(np.isfinite(window[channel, 0, 0]))
            if known and twice:
                optics, at = sensor.band(channel), (-start, -start)
                low[channel] = observe(window[[channel]], optics, rows=span, cols=span, origin=at, seed=seed)[0]
            elif known and sensor.noise[channel]:
                low[channel] += rng.normal(0, sensor.noise[channel], (size, size)).astype(np.float32)
        return low


def sharpen_loss(
    network: nn.Module, batch: SharpenBatch, recipe: Recipe[Sharpen], *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Loss of a network that corrects bands with what is added to them; see `xsr.training.tasks.Loss`."""
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (recipe.image.mean, recipe.image.std))
    low, target = ((torch.from_numpy(v).to(device) - mean) / std for v in (batch.low, batch.target))
    added = torch.from_numpy(batch.added).to(device) / std
    low[:, list(drop)] = torch.nan
    wanted = target - low
    known = torch.isfinite(wanted)
    larger = [number for number, band in enumerate(recipe.bands) if band in COARSE]
    inputs = torch.cat((low.nan_to_num(), added[:, larger]), dim=1)
    with mixed(device):
        output = network(inputs)
    count = known.sum((2, 3))
    mine, other = (
        (torch.where(known, error, 0.0).square().sum((2, 3)) / count.clamp(min=1) + TINY).sqrt()
        for error in (added + output.float() - wanted.nan_to_num(), wanted.nan_to_num())
    )
    weight = (count > 0) / (other + FLAT) / (count > 0).sum().clamp(min=1)
    return (mine * weight).sum(), (other * weight).sum()
