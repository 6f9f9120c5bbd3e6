"""Pairs by the Wald protocol: what a sensor ``scale`` times coarser would have seen, and the truth at points.

L. Wald, T. Ranchin, M. Mangolini, "Fusion of satellite images of different spatial resolutions: assessing the
quality of resulting images", Photogrammetric Engineering & Remote Sensing 63 (1997).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import padded_index
from xsr.core.sensors import sigma_px
from xsr.kernels.resample import (
    fill_nodata,
    gaussian_taps,
    interpolation_taps,
    resample,
    resample_points,
)
from xsr.training.scenes import TrainingScene

Image = NDArray[np.float32]
BORDER = 4
"""Low-resolution pixels at the border of a patch that are never asked for: the network pads them with zeros."""


@dataclass(frozen=True)
class Batch:
    """Patches of one scale, reflectance in float32."""

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


@dataclass(frozen=True)
class WaldSampler:
    """Draws batches from scenes; draw number ``step`` is a function of the seed and the step alone."""

    scenes: Sequence[TrainingScene]
    mtf: tuple[float, ...]
    """MTF at Nyquist of each band."""
    scale_range: tuple[float, float]
    patch: int
    queries: int
    batch: int
    mtf_jitter: float
    """Standard deviation of the logarithm of the MTF's factor."""
    seed: int

    def __call__(self, step: int) -> Batch:
        """Draw the batch of one step."""
        rng = np.random.default_rng([self.seed, step])
        scale = float(rng.uniform(*self.scale_range))
        probability = self._probability()
        chosen = rng.choice(len(self.scenes), size=self.batch, p=probability)
        parts = [self._draw(self.scenes[index].image, scale, rng) for index in chosen]
        low, rows, cols, base, target = (np.stack(group) for group in zip(*parts, strict=True))
        return Batch(scale, low, rows, cols, base, target)

    def _probability(self) -> NDArray[np.float64]:
        """Weight scenes by the square root of their place's area, so that large places do not drown small ones."""
        area: dict[str, int] = {}
        for scene in self.scenes:
            area[scene.place] = area.get(scene.place, 0) + scene.image[0].size
        weight = np.array([s.weight * s.image[0].size / np.sqrt(area[s.place]) for s in self.scenes])
        probability: NDArray[np.float64] = weight / weight.sum()
        return probability

    def _draw(self, image: Image, scale: float, rng: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
        mtf = np.clip(np.array(self.mtf) * np.exp(self.mtf_jitter * rng.standard_normal(len(self.mtf))), 0.05, 0.8)
        margin = int(np.ceil(4 * sigma_px(float(mtf.min()), scale))) + 1
        extent = int(np.ceil(self.patch * scale)) + 1
        window, inside = self._window(image, extent, margin, rng)
        window = augment(window, rng)
        phase = rng.uniform(0, 1, 2)
        valid = np.isfinite(window)
        count = valid.sum(axis=(1, 2))
        mean = np.where(valid, window, 0).sum(axis=(1, 2)) / np.maximum(count, 1)
        filled = fill_nodata(window, passes=4, constant=mean.astype(np.float32))
        centre = (np.arange(self.patch) + 0.5) * scale - 0.5 + margin
        low = np.concatenate(
            [
                resample(
                    filled[[b]],
                    gaussian_taps(centre + phase[0], sigma_px(m, scale)),
                    gaussian_taps(centre + phase[1], sigma_px(m, scale)),
                )
                for b, m in enumerate(mtf)
            ]
        )
        pixel = [self._pixels(scale, p, margin, n, rng) for p, n in zip(phase, inside, strict=True)]
        rows, cols = ((q - margin - p + 0.5) / scale - 0.5 for q, p in zip(pixel, phase, strict=True))
        base = resample_points(low, interpolation_taps(rows, "bicubic"), interpolation_taps(cols, "bicubic"))
        target = np.where(valid, window, np.nan)[:, pixel[0], pixel[1]]
        return low, rows, cols, base.T, target.T

    def _window(
        self, image: Image, extent: int, margin: int, rng: np.random.Generator
    ) -> tuple[Image, tuple[int, int]]:
        """Cut a window with a margin; small images are continued by reflection and asked only inside."""
        index = []
        for size in image.shape[1:]:
            start = int(rng.integers(0, max(size - extent, 0) + 1))
            index.append(padded_index(start - margin, start + extent + margin, size, "reflect"))
        inside = (min(extent, image.shape[1]), min(extent, image.shape[2]))
        return image[:, index[0][:, None], index[1]], inside

    def _pixels(
        self, scale: float, phase: float, margin: int, inside: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draw high-resolution pixels whose low-resolution position keeps off the patch border."""
        first = int(np.ceil((BORDER + 0.5) * scale - 0.5 + phase))
        last = int(np.floor((self.patch - 1 - BORDER + 0.5) * scale - 0.5 + phase))
        last = max(min(last, inside - 1), first)
        return margin + rng.integers(first, last + 1, self.queries)


def augment(window: Image, rng: np.random.Generator) -> Image:
    """Flip, transpose and change the radiometry by random gains and an offset."""
    for axis in (1, 2):
        if rng.random() < 0.5:
            window = np.flip(window, axis)
    if rng.random() < 0.5:
        window = window.transpose(0, 2, 1)
    bands = window.shape[0]
    gain = np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.1, (bands, 1, 1)))
    offset = rng.normal(0, 0.01, (bands, 1, 1))
    return np.ascontiguousarray(window * gain + offset, np.float32)
