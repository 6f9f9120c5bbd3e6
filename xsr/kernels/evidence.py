"""What a continuous network reads beside the bands of an image: what sharper bands and other dates say of them.

Its channels are, in this order, each with one image a band:

- the bands, standardised;
- what `xsr.kernels.injection` adds to coarse bands, over the standard deviation, as all that follows;
- `xsr.kernels.fusion.Fusion.estimate` at the four `PLACES` of each pixel, less the pixel;
- and one image for all bands, `xsr.kernels.fusion.Fusion.gained`: zero where there is one date alone.

What the network's output is added to is the same estimate at the positions of the result, and there, interpolated, what
is projected back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xsr.core.sensors import sigma_px
from xsr.kernels import fusion, injection
from xsr.kernels.degrade import BandOptics, sensor_band
from xsr.kernels.fusion import Fusion

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
PLACES = ((-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25))
"""Places within a pixel (down, right), in pixels from its centre."""
HALF = 0.5
"""Output pixel, in pixels of the image, of the estimate at those places."""
EDGE = fusion.WINDOW + 1 + fusion.SETTLE + fusion.REACH
"""Pixels around an image that its estimate depends on, those for the lines between dates included."""
AROUND = slice(EDGE, -EDGE)
"""Rows or columns without that edge."""


def count(bands: int) -> int:
    """Channels of a network of some bands.

    Examples
    --------
    >>> count(10)
    61
    """
    return (2 + len(PLACES)) * bands + 1


@dataclass(frozen=True)
class Series:
    """An image and other dates of one radiometry, with `EDGE` pixels around what is estimated."""

    image: Image
    """Shape (band, h, w)."""
    alike: Image
    """The other dates, harmonised, shape (date, band, h - 2 `WINDOW`, w - 2 `WINDOW`)."""
    misfit: Floats
    """Shape (date, band, h - 2 `WINDOW`, w - 2 `WINDOW`); see `xsr.kernels.fusion.harmonised`."""
    share: Floats
    """Shape (date, h - 2 `WINDOW`, w - 2 `WINDOW`); see `xsr.kernels.fusion.harmonised`."""
    shifts: tuple[tuple[float, float], ...]
    sensor: float
    """Standard deviation in pixels of the Gaussian through which dates observe the scene."""

    @classmethod
    def of(
        cls, image: Image, dates: Image, valid: NDArray[np.bool_], shifts: Sequence[Sequence[float]], sensor: float
    ) -> "Series":
        """Bring dates (date, band, h, w) to the radiometry of an image (band, h, w), all finite."""
        alike, misfit, share = fusion.harmonised(image, dates, valid, shifts)
        return cls(image, alike, misfit, share, tuple((float(y), float(x)) for y, x in shifts), sensor)

    def using(self, dates: Sequence[int]) -> "Part":
        """Series of some of the other dates."""
        picks = list(dates)
        fused = Fusion(tuple(self.shifts[date] for date in picks), self.sensor)
        inner, cut = (..., slice(1, -1), slice(1, -1)), slice(fusion.WINDOW + 1, -(fusion.WINDOW + 1))
        noise = fused.noise(self.image, self.misfit[picks][inner], self.share[picks][inner])
        image, alike = self.image[:, cut, cut], self.alike[picks][inner]
        moved = [fusion.displaced(self.image, shift)[:, cut, cut] for shift in fused.shifts]
        even, level = fused.evened(image, alike, np.stack(moved) if moved else alike, noise)
        settled = slice(fusion.SETTLE, -fusion.SETTLE)
        return Part(fused, image[:, settled, settled], even, level)


@dataclass(frozen=True)
class Part:
    """What is estimated from an image and some dates, with `REACH` pixels around it."""

    fused: Fusion
    image: Image
    dates: Image
    """Of one noise; see `xsr.kernels.fusion.Fusion.evened`."""
    noise: Image
    """Shape (h, w), or (band, h, w); see `xsr.kernels.fusion.Fusion.estimate`."""

    def at(self, rows: Floats, cols: Floats, cell: float) -> Image:
        """Estimate at positions in pixels without the edge, of an output pixel of ``cell`` pixels; (band, *shape)."""
        reach, result = fusion.REACH, self.fused.sensor * cell
        return self.fused.estimate(self.image, self.dates, self.noise, rows + reach, cols + reach, result)

    @property
    def gained(self) -> Image:
        """Share of the variance of the error that the dates take away, (h, w)."""
        inner = slice(fusion.REACH, -fusion.REACH)
        return self.fused.gained(self.noise[inner, inner], self.fused.sensor * HALF)


@dataclass(frozen=True)
class Reader:
    """What is known of the bands of a network."""

    std: tuple[float, ...]
    mtf: tuple[float, ...]
    """MTF at Nyquist of each band's own pixels."""
    larger: tuple[bool, ...]
    """Which bands have larger own pixels than the others."""

    @property
    def margin(self) -> int:
        """Pixels around the network's input that are needed to make it, where all dates lie alike."""
        return self.edge + EDGE

    @property
    def edge(self) -> int:
        """Pixels around an image that what is added to its coarse bands depends on."""
        return injection.margin(self.optics) + injection.reach(self.own)

    @cached_property
    def optics(self) -> BandOptics:
        """How a band of larger pixels observes what one of the grid's does."""
        mtf = self._mean(large=True)
        return sensor_band(mtf, 1.0, own=2, source_mtf=mtf)

    @cached_property
    def own(self) -> tuple[BandOptics, ...]:
        """The same of each band, whether its pixels are larger or not."""
        return tuple(sensor_band(mtf, 1.0, own=2, source_mtf=mtf) for mtf in self.mtf or (self._mean(large=True),))

    @cached_property
    def sensor(self) -> float:
        """Standard deviation in pixels of the Gaussian of a band of the grid's pixels."""
        return float(sigma_px(self._mean(large=False), 1.0))

    def _mean(self, *, large: bool) -> float:
        known = [value for value, one in zip(self.mtf, self.larger, strict=True) if one == large]
        return float(np.mean(known or self.mtf))

    def detail(self, images: Image, coarser: Sequence[bool], corner: tuple[int, int]) -> tuple[Image, Image]:
        """Find what sharp bands predict for coarse ones, and what those still lack, with `edge` pixels around it.

        Parameters
        ----------
        images
            Shape (n, band, h, w), finite; bands that are missing are zero throughout.
        coarser
            Which bands were interpolated to the grid.
        corner
            First pixel (row, column), counted from a corner of the larger pixels.
        """
        edge, around = self.edge, injection.reach(self.own)
        within = (..., slice(around, -around), slice(around, -around))
        present = (images != 0).any(axis=(0, 2, 3))
        sharp, coarse = (np.flatnonzero(present & (np.array(coarser) == one)).tolist() for one in (False, True))
        detail, lacking = (np.zeros_like(images[..., edge:-edge, edge:-edge]) for _ in range(2))
        if not sharp or not coarse:
            return detail, lacking
        found = injection.injected_detail(images, sharp, coarse, self.optics, corner=corner)
        inner, own = injection.margin(self.optics), [self.own[band] for band in coarse]
        start = (corner[0] + inner, corner[1] + inner)
        for number, image in enumerate(images[..., inner:-inner, inner:-inner]):
            lacking[number, coarse] = injection.projected_back(
                image[coarse], found[number, coarse], own, around=around, corner=start
            )
        return found[within], lacking

    def channels(self, detail: Image, estimate: Image, gained: Image) -> Image:
        """Bring the channels beside the bands of one image into their order.

        Parameters
        ----------
        detail
            Shape (band, h, w), reflectance.
        estimate
            At the places, less the pixel, shape (place, band, h, w), reflectance.
        gained
            Shape (h, w).

        Returns
        -------
        ndarray
            Shape (channel, h, w).
        """
        bands, height, width = detail.shape
        std = np.array(self.std, np.float32)[:, None, None]
        out = np.empty((count(bands) - bands, height, width), np.float32)
        out[:bands] = detail / std
        out[bands:-1] = (estimate / std).reshape(-1, height, width)
        out[-1] = gained
        return out


def size(cell: tuple[float, float]) -> float:
    """Side of a square of the area of an output pixel."""
    return math.sqrt(cell[0] * cell[1])
