"""Block function of a network of single dates at target times: its image, and what the other dates show beyond it."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.core.errors import ModelError
from xsr.core.sensors import sigma_px
from xsr.core.target_times import TargetTime
from xsr.core.types import Stack
from xsr.kernels import evidence, fusion, innovation
from xsr.kernels.degrade import BandOptics, observe, sensor_band
from xsr.kernels.gaps import fill_gaps
from xsr.kernels.innovation import Innovations
from xsr.kernels.temporal import nearest
from xsr.models.card import ModelCard
from xsr.operations.super_resolve.dates import Dated, patterns
from xsr.operations.super_resolve.networks import Continuous

FINER = 2
"""Pixels of the image that is observed again, along each axis of a pixel of the cube."""
CELL = (1 / FINER, 1 / FINER)
ASIDE = 2
"""Pixels by which queries are moved at most: as the date nearest in time is displaced."""


@dataclass(frozen=True)
class Innovated(Dated):
    """Block function of a network that reads one date, corrected by what the other dates show."""

    task: ClassVar[str] = "liif"

    fused: tuple[int, ...] = ()
    """Bands that are corrected: those whose own pixels are the grid's."""
    optics: tuple[BandOptics, ...] = ()
    """How the sensor observes each of them, from the finer pixels."""
    sensor: float = 0.5
    """Standard deviation in pixels of the Gaussian through which it observes them."""
    ideal: bool = False
    """Whether the network's image is without blur, not as sharp as the sensor."""

    @property
    def footprint(self) -> int:
        """Pixels around one that a date observes it from."""
        return math.ceil(max(one.halo(fusion.FARTHEST) for one in self.optics) / FINER) + 1 if self.optics else 0

    @property
    def outside(self) -> int:
        """Pixels of a window around the image that the network reads."""
        return self.reach + self.span

    @property
    def beside(self) -> int:
        """Pixels of a window around those that the error of the image is estimated from."""
        return self.outside + self.halo_of_network + self.footprint + innovation.EDGE

    @property
    def halo(self) -> int:
        """What the image, the dates' own pixels around it and their noise are made from."""
        return self.beside + ASIDE

    def at(
        self,
        target: TargetTime,
        window: Stack,
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> tuple[Stack, NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate queries at a target time; see `Dated.at`."""
        moved = self.shifts(window)[list(target.picks)]
        anchor = moved[int(np.abs(target.offset).argmin())]
        y, x, shifts = rows + anchor[0], cols + anchor[1], moved - anchor
        dates = window[list(target.picks), : self.bands]
        trim = slice(self.reach, -self.reach or None)
        clear = dates[..., trim, trim]
        filled = fill_gaps(dates, reach=self.reach) if self.fill else np.where(np.isfinite(clear), clear, np.nan)
        images = self.fill_nodata(filled).reshape(filled.shape)
        whole, some = (np.asarray(np.isfinite(v).all(axis=1)) for v in (clear, filled))
        blend = self.blended(images, whole, some, shifts, target.offset)
        still = (..., slice(self.span, -self.span), slice(self.span, -self.span))
        others = np.flatnonzero((np.abs(shifts).max(axis=1) <= fusion.FARTHEST) & (target.offset != 0))
        measured = bool((target.offset == 0).any())
        series = Others(images[others][still], whole[others][still], shifts[others], target.offset[others], measured)
        made = self._corrected(np.asarray(blend[still]), series, (y, x), cell)
        return made[None], y, x

    def _corrected(
        self,
        image: Stack,
        others: "Others",
        queries: tuple[NDArray[np.float64], NDArray[np.float64]],
        cell: tuple[float, float],
    ) -> Stack:
        """Evaluate queries, in pixels without the borders of the images; shape (band, H, W)."""
        edge = self.beside - self.outside
        used = others.used(edge, self.frames - 1)
        single = Continuous(*(self.spec, self.channels, self.picks, self.radius, self.device), precision=self.precision)
        rows, cols = (v + edge for v in queries)
        if used is None or not self.fused:
            return np.asarray(single(image[None], rows, cols, cell)[0])
        fine = self._finer(single, image)
        made = _part_of(fine, self.halo_of_network, rows, cols, cell)
        if made is None:
            made = np.asarray(single(image[None], rows, cols, cell)[0])
        innovations = self._innovations(image, others, fine)
        down, right = np.meshgrid(*queries, indexing="ij") if queries[0].ndim == 1 else queries
        size = used.shape[1:]
        pixels = tuple(fusion.pixel_of(at, length) for at, length in zip((down, right), size, strict=True))
        error = np.zeros((len(self.fused), *down.shape), np.float32)
        side = 0.0 if self.ideal else evidence.size(cell)
        for picks, here in patterns(used, size):
            there = here[pixels]
            if picks and there.any():
                error[:, there] = innovations.using(picks).at(down[there], right[there], side)
        made[list(self.fused)] += error
        return made

    def _innovations(self, image: Stack, others: "Others", fine: Stack) -> Innovations:
        """Compare dates with the network's image at finer pixels, observed as each of them would."""
        edge, bands = self.halo_of_network + self.footprint, list(self.fused)
        rows, cols = (Span(self.footprint, size // FINER - self.footprint) for size in fine.shape[1:])
        optics = list(zip(bands, self.optics, strict=True))
        moves = [(0.0, 0.0), *((float(y), float(x)) for y, x in others.shifts)]
        expected = np.array(
            [[observe(fine[[band]], one, rows=rows, cols=cols, shift=by)[0] for band, one in optics] for by in moves],
            np.float32,
        )
        inner = (..., slice(edge, -edge), slice(edge, -edge))
        return Innovations.of(
            *(image[bands][inner], others.images[:, bands][inner], others.valid[inner]),
            *(expected, others.shifts.tolist()),
            days=others.offset.tolist(),
            sensor=self.sensor,
            measured=others.measured,
        )

    def _finer(self, single: Continuous, image: Stack) -> Stack:
        """Network's image at the pixels that are observed again, from the first pixel it is known at."""
        start = self.halo_of_network
        rows, cols = (start - 0.5 + (np.arange(FINER * (size - 2 * start)) + 0.5) / FINER for size in image.shape[1:])
        return np.asarray(single(image[None], rows, cols, CELL)[0])


@dataclass(frozen=True)
class Others:
    """Dates beside the one that an image is made from."""

    images: Stack
    """Finite, shape (date, band, h, w)."""
    valid: NDArray[np.bool_]
    """Pixels that are clear, shape (date, h, w)."""
    shifts: NDArray[np.float64]
    """Displacement (down, right) against the image in pixels, shape (date, 2)."""
    offset: NDArray[np.float64]
    """Days from the target time."""
    measured: bool
    """Whether the image is that of a date, not one between dates."""

    def used(self, edge: int, most: int) -> NDArray[np.bool_] | None:
        """Mark the nearest clear dates of each pixel without a border; None if there is none."""
        if not len(self.images):
            return None
        found = nearest(self.valid[:, edge:-edge, edge:-edge], self.offset, most)
        return found if found.any() else None


def _part_of(
    fine: Stack, start: int, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
) -> Stack | None:
    """Take queries from the finer image; None where they are not its pixels."""
    if rows.ndim != 1 or cell != CELL:
        return None
    at = [(v - start + 0.5) * FINER - 0.5 for v in (rows, cols)]
    pixels = [np.rint(v).astype(int) for v in at]
    if any(np.abs(v - pixel).max(initial=0) > 1e-6 for v, pixel in zip(at, pixels, strict=True)):
        return None
    return np.asarray(fine[np.ix_(np.arange(len(fine)), *pixels)])


def optics_of(
    card: ModelCard, picks: tuple[int, ...], coarser: tuple[bool, ...]
) -> tuple[tuple[int, ...], tuple[BandOptics, ...], float]:
    """Bands of a cube that are corrected, how they are observed, and the width of that in pixels.

    Raises
    ------
    ModelError
        If the card states no sharpness or MTF.
    """
    if card.sharpness is None or not card.mtf:
        raise ModelError(
            f"model {card.name!r} computes each date by itself; leave t out, or choose temporal_liif_s2. Other dates"
            " correct a model whose card states the sharpness of its result and the MTF of its sensor."
        )
    fused = tuple(number for number, pick in enumerate(picks) if not coarser[pick])
    mtf = [card.mtf[picks[number]] for number in fused]
    ideal = card.sharpness == "ideal"
    optics = tuple(sensor_band(m, float(FINER), source_mtf=None if ideal else m) for m in mtf)
    return fused, optics, float(sigma_px(float(np.mean(mtf)), 1.0)) if mtf else 0.5
