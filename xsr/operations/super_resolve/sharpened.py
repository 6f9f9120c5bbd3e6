"""Block function that brings bands of larger pixels to the grid of the others."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from xsr.core import graph, sensors
from xsr.core.cube import Cube
from xsr.core.errors import BandError
from xsr.core.types import Stack
from xsr.kernels import injection, pooled_injection
from xsr.kernels.degrade import BandOptics, sensor_band
from xsr.kernels.evidence import Reader
from xsr.kernels.resample import fill_nodata
from xsr.models import registry
from xsr.models.card import ModelCard
from xsr.models.precision import Exact
from xsr.operations.super_resolve.dates import NOTHING
from xsr.operations.super_resolve.networks import FILL, OWN_M, Network
from xsr.operations.super_resolve.repeats import REPEATS, interpolated, repeats

TWICE, SIXFOLD = 2, 6
"""Sides of the larger pixels, in pixels of the grid."""
SLACK = 0.01
"""Share by which a pixel size may be off."""


def sides_of(cube: Cube, card: ModelCard) -> tuple[int, ...]:
    """Side of each band's own pixels in pixels of the grid: 1, 2 or 6.

    That is what its ``native_gsd`` says, else the table of the sensor.

    Raises
    ------
    BandError
        If another is found, or there is nothing to sharpen, or nothing to sharpen it by.
    """
    table, pixel = sensors.get(card.sensor), cube.pixel_m[0]
    known = {band.name: band.gsd_m for band in table.bands}
    sizes = [
        native if math.isfinite(native) else known.get(name, math.nan)
        for name, native in zip(cube.canonical, cube.native_gsd, strict=True)
    ]
    listed = ", ".join(f"{name} {size:g} m" for name, size in zip(cube.bands, sizes, strict=True))
    sides = []
    for name, size in zip(cube.bands, sizes, strict=True):
        if math.isnan(size):
            raise BandError(
                f"band {name!r} is none of {card.sensor}, and nothing says how large its pixels are. Say it with the"
                " coordinate native_gsd, or select bands with bands=."
            )
        side = max(size / pixel, 1.0)
        if not any(abs(side - one) < SLACK * one for one in (1, TWICE, SIXFOLD)):
            raise BandError(
                f"band {name!r} has pixels of {size:g} m on a grid of {pixel:g} m; expected one, two or six times as"
                " large. Say with the coordinate native_gsd what each band has, or select bands with bands=."
            )
        sides.append(round(side))
    if 1 not in sides or max(sides) == 1:
        lacking = "none is as sharp as the grid" if 1 not in sides else "none is larger than the grid's"
        raise BandError(
            f"the bands are of one kind ({listed}, on a grid of {pixel:g} m): {lacking}; expected bands of 10 m beside"
            " others of 20 m or 60 m on the grid of 10 m. Open the product with all its bands, or use liif to go finer"
            " with those there are."
        )
    return tuple(sides)


def function_of(
    cube: Cube,
    card: ModelCard,
    spec: registry.ModelSpec,
    sides: tuple[int, ...],
    corners: dict[int, tuple[int, int]],
    device: str,
    precision: Exact,
) -> "Sharpened":
    """Block function for the bands of a cube."""
    ten = [number for number, side in enumerate(sides) if side < SIXFOLD]
    picks = card.channels(tuple(cube.canonical[number] for number in ten), naming=cube.naming)
    coarser = [False] * len(card.bands)
    for pick, number in zip(picks, ten, strict=True):
        coarser[pick] = sides[number] == TWICE
    table = sensors.get(card.sensor)
    larger = tuple(table.band(band).gsd_m > OWN_M for band in card.bands)
    largest = [number for number, side in enumerate(sides) if side == SIXFOLD]
    return Sharpened(
        *(spec, card.image, picks, card.radius, device),
        precision=precision,
        reader=Reader(card.image.std, card.mtf, larger),
        coarser=tuple(coarser),
        corners=tuple(corners[side] for side in (TWICE, SIXFOLD)),
        sides=sides,
        mtf_largest=tuple(_mtf(table, cube.canonical[number]) for number in largest),
    )


def _mtf(table: sensors.Sensor, name: str) -> float:
    found = table.band(name).mtf
    if found is None:
        raise BandError(f"the MTF of band {name!r} is unknown for {table.name}; leave the band out with bands=.")
    return found


@dataclass(frozen=True)
class Sharpened(Network):
    """Block function of a network that sharpens bands on the lattice of their own pixels."""

    task: ClassVar[str] = "sharpen"

    reader: Reader = NOTHING
    """What is known of the network's bands."""
    coarser: tuple[bool, ...] = ()
    """Channels whose own pixels are twice the grid's."""
    corners: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
    """First pixel (row, column) of the window, or of the cube, counted from a corner of the pixels of either size."""
    sides: tuple[int, ...] = ()
    """Side of the own pixels of each band of the cube, in pixels of the grid."""
    mtf_largest: tuple[float, ...] = ()
    """MTF at Nyquist of the bands of the largest pixels."""

    @property
    def reach(self) -> int:
        """Pixels around an output of the network that it depends on: whole own pixels."""
        return self.radius // TWICE * TWICE

    @cached_property
    def largest(self) -> tuple[BandOptics, ...]:
        """How bands of the largest pixels are observed from the grid."""
        return tuple(sensor_band(mtf, 1.0, own=SIXFOLD, source_mtf=mtf) for mtf in self.mtf_largest)

    @property
    def outer(self) -> int:
        """Pixels around an output that bands of the largest pixels depend on, of the others sharpened."""
        if not self.largest:
            return 0
        return pooled_injection.margin(self.largest[0]) + injection.reach(self.largest)

    @property
    def halo(self) -> int:
        """What is read around an output, and what filling needs beyond that."""
        return self.outer + TWICE + self.reach + self.reader.edge + FILL + REPEATS * max(self.sides)

    def locate(self, row: int, col: int) -> "Sharpened":
        """Bind to the first pixel of a window; see `xsr.core.types.LocatedFunction`."""
        return replace(self, corners=tuple((down + row, right + col) for down, right in self.corners))

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        top, bottom, left, right = (round(float(v)) for v in (rows[0], rows[-1] + 1, cols[0], cols[-1] + 1))
        here = (..., slice(top, bottom), slice(left, right))
        out = window[here].copy()
        valid = np.isfinite(out)
        if not valid.any():
            out[...] = np.nan
            return out
        filled = self._smooth(self.fill_nodata(window).reshape(window.shape), here)
        around = self.outer
        level = self._of_twice(filled, (top - around, bottom + around), (left - around, right + around))
        inner = (..., slice(around, around + bottom - top), slice(around, around + right - left))
        bands = [number for number, side in enumerate(self.sides) if side < SIXFOLD]
        for band, channel in zip(bands, self.picks, strict=True):
            if self.sides[band] == TWICE:
                out[:, band] = level[:, channel][inner]
        if self.largest:
            out[:, self._of(SIXFOLD)] = self._of_six(filled, level, (top - around, left - around))
        return np.where(valid, out, np.float32(np.nan))

    def _of(self, side: int) -> list[int]:
        """Bands of the cube whose own pixels have a side."""
        return [number for number, one in enumerate(self.sides) if one == side]

    def fill_nodata(self, window: Stack) -> NDArray[np.float32]:
        """Fill invalid pixels; see `Network.fill_nodata`. One unknown to the network takes the mean of all."""
        constant = np.full(len(self.sides), np.mean(self.channels.constant), np.float32)
        bands = [number for number, side in enumerate(self.sides) if side < SIXFOLD]
        constant[bands] = np.array(self.channels.constant, np.float32)[list(self.picks)]
        stack = window.reshape(-1, *window.shape[2:])
        return fill_nodata(stack, passes=FILL, constant=np.tile(constant, len(window)))

    def _smooth(self, filled: Stack, here: tuple[Any, ...]) -> Stack:
        """Interpolate the own pixels of bands that repeat them ``here``, where nothing is mirrored."""
        (_, rows, cols), out = here, filled.copy()
        for side, (down, right) in zip((TWICE, SIXFOLD), self.corners, strict=True):
            at = (down + rows.start, right + cols.start)
            for image in (one[band] for one in out for band in self._of(side)):
                if repeats(image[rows, cols], side, at):
                    image[...] = interpolated(image, side, (down, right))
        return out

    def _of_twice(self, filled: Stack, rows: tuple[int, int], cols: tuple[int, int]) -> Stack:
        """All channels between rows and columns, those of larger pixels sharpened, (date, channel, h, w)."""
        ten = [number for number, side in enumerate(self.sides) if side < SIXFOLD]
        larger, edge, reach = np.flatnonzero(self.reader.larger), self.reader.edge, self.reach
        # The network begins and ends with whole own pixels.
        whole = [
            (first - (corner + first) % TWICE, last + (corner + last) % TWICE)
            for corner, (first, last) in zip(self.corners[0], (rows, cols), strict=True)
        ]
        read = [slice(first - reach - edge, last + reach + edge) for first, last in whole]
        images = np.zeros((len(filled), len(self.channels), *(one.stop - one.start for one in read)), np.float32)
        images[:, list(self.picks)] = filled[:, ten, read[0], read[1]]
        start = (self.corners[0][0] + read[0].start, self.corners[0][1] + read[1].start)
        detail, lacking = self.reader.detail(images, self.coarser, start)
        made = images[..., edge:-edge, edge:-edge]
        if any(self.coarser):
            inside = (slice(None), slice(reach, -reach), slice(reach, -reach))
            std, count = np.array(self.channels.std, np.float32), len(self.channels)
            added = detail[:, larger] + lacking[:, larger]
            inputs = np.empty((len(made), count + len(larger), *made.shape[2:]), np.float32)
            inputs[:, :count] = self.channels.standardise(made[:, list(self.picks)], self.picks)
            inputs[:, count:] = added / std[larger, None, None]
            found = self._predict(inputs)
            for channel, more in zip(larger, added.swapaxes(0, 1), strict=True):
                if self.coarser[channel]:
                    made[:, channel] += more
                    made[:, channel][inside] += std[channel] * found[:, channel]
        trim = [
            slice(reach + first - begin, reach + last - begin)
            for (begin, _), (first, last) in zip(whole, (rows, cols), strict=True)
        ]
        return made[:, :, trim[0], trim[1]]

    def _predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Output of the network, without `reach` pixels along each side."""
        from xsr.models.predictor import predict_fixed
        from xsr.models.threads import threads

        with threads(graph.threads_each()):
            return predict_fixed(self.spec, inputs, registry.resolve_device(self.device), self.precision, self.reach)

    def _of_six(self, filled: Stack, level: Stack, start: tuple[int, int]) -> Stack:
        """Bands of the largest pixels, (date, band, H, W), from the others sharpened, which begin at a pixel."""
        guides, bands = list(self.picks), self._of(SIXFOLD)
        corner = (self.corners[1][0] + start[0], self.corners[1][1] + start[1])
        height, width = level.shape[2:]
        low = filled[:, bands, start[0] : start[0] + height, start[1] : start[1] + width]
        images, mean = np.concatenate([level[:, guides], low], axis=1), self.largest[0]
        coarse = range(len(guides), len(guides) + len(bands))
        detail = pooled_injection.pooled_detail(images, range(len(guides)), coarse, mean, corner=corner)
        edge, around = pooled_injection.margin(mean), injection.reach(self.largest)
        corner, low = (corner[0] + edge, corner[1] + edge), low[..., edge:-edge, edge:-edge]
        lacking = np.stack(
            [
                injection.projected_back(one, more, self.largest, around=around, corner=corner)
                for one, more in zip(low, detail, strict=True)
            ]
        )
        inside = (..., slice(around, -around), slice(around, -around))
        return np.asarray(low[inside] + detail[inside] + lacking)
