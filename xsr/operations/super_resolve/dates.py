"""Block function of networks that read one date or several, and the displacements of a cube's dates."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from xsr.core import graph, sensors
from xsr.core.cube import Cube
from xsr.core.errors import ModelError
from xsr.core.grid import resolution
from xsr.core.target_times import TargetTime
from xsr.core.types import Stack
from xsr.kernels import evidence, fusion, resample
from xsr.kernels.evidence import Reader, Series
from xsr.kernels.gaps import fill_gaps
from xsr.kernels.temporal import nearest
from xsr.models import registry
from xsr.models.card import ModelCard
from xsr.operations.super_resolve.networks import GAP_REACH, OWN_M, TRUST, Network, query_shape, remask

SHIFTS = ("shift_y_m", "shift_x_m")
"""Coordinates that say by how much the content of a date is displaced; see `xsr.register`."""
SPAN = math.ceil(2 * fusion.FARTHEST) + 2
"""Pixels around an image that is moved from one date to another."""
LARGER = 1.5
"""Pixels of the grid from which a band's own pixel counts as two of them."""


NOTHING = Reader((), (), ())
"""Reader of no band."""


@dataclass(frozen=True)
class Reading:
    """What a network reads of a window, and what its output is added to."""

    inputs: Stack
    """Shape (image, channel, h, w), from the middle of the window."""
    base: Stack
    """Estimates at the queries, shape (image, channel, H, W), reflectance."""
    rows: NDArray[np.float64]
    """Queries, in pixels of the inputs."""
    cols: NDArray[np.float64]


@dataclass(frozen=True)
class Dated(Network):
    """What block functions share that read dates at their displacements."""

    bands: int = 0
    """Bands of the cube; a window may have two more, the displacement of each date (down, right) in pixels."""
    target_times: tuple[TargetTime, ...] = ()
    """Times to compute from the dates around."""
    frames: int = 5
    """Clear dates used, pixel by pixel: the nearest to the target time."""
    fill: bool = True
    """Whether gaps of the dates are filled from the others that may be used, for the mean over the dates."""

    @property
    def reach(self) -> int:
        """Pixels from a gap at which its date is compared with others."""
        return GAP_REACH if self.fill and self.target_times else 0

    @property
    def span(self) -> int:
        """Pixels that dates are moved by at most, and interpolation reads beyond."""
        return SPAN if self.target_times else 0

    @property
    def halo_of_network(self) -> int:
        """What the network itself needs."""
        return super().halo

    @property
    def beside(self) -> int:
        """Pixels of a window of several dates around those next to a query."""
        raise NotImplementedError

    def at(
        self,
        target: TargetTime,
        window: Stack,
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> tuple[Stack, NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate queries at one target time.

        Parameters
        ----------
        target
            The time and the dates around it.
        window
            All dates.
        rows, cols, cell
            Queries, in pixels without those `beside`.

        Returns
        -------
        out : ndarray
            Shape (1, band, H, W).
        rows, cols : ndarray
            The queries, displaced as the date nearest in time is.
        """
        raise NotImplementedError

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries at the target times; see `xsr.core.types.WindowFunction`."""
        trim = slice(self.beside, -self.beside)
        y, x = rows - self.beside, cols - self.beside
        out = np.full((len(self.target_times), self.bands, *query_shape(rows, cols)), np.nan, np.float32)
        for number, target in enumerate(self.target_times):
            dates = window[list(target.picks), : self.bands]
            known = np.asarray(np.isfinite(dates[..., trim, trim]).any(axis=0))
            if not known.any():
                continue
            made, down, right = self.at(target, window, y, x, cell)
            out[number] = made[0] if known.all() else remask(made, known[None], down, right)[0]
        return out

    def shifts(self, window: Stack) -> NDArray[np.float64]:
        """Displacement of each date in pixels, shape (date, 2); one that is not known, or too large, counts as none."""
        if window.shape[1] == self.bands:
            return np.zeros((len(window), 2))
        middle = window[:, self.bands :, window.shape[2] // 2, window.shape[3] // 2].astype(np.float64)
        known = np.isfinite(middle).all(axis=1) & (np.abs(middle).max(axis=1, initial=0) <= fusion.FARTHEST)
        return np.where(known[:, None], middle, 0.0)

    def blended(
        self,
        images: Stack,
        whole: NDArray[np.bool_],
        some: NDArray[np.bool_],
        shifts: NDArray[np.float64],
        offset: NDArray[np.float64],
    ) -> Stack:
        """Image of a target time: linear in time between clear dates, and in part between filled ones.

        Parameters
        ----------
        images
            Finite, shape (date, band, h, w).
        whole, some
            Clear pixels, and those that are clear or filled, shape (date, h, w).
        shifts, offset
            See `xsr.kernels.fusion.composite`.
        """
        (first, known), (second, _) = (fusion.composite(images, v, shifts, offset) for v in (whole, some))
        return np.asarray(np.where(known, first + np.float32(TRUST) * (second - first), second))


@dataclass(frozen=True)
class Fused(Dated):
    """Block function of a network whose output is added to an estimate from one date, or from those around a time."""

    task: ClassVar[str] = "liif"

    reader: Reader = field(default=NOTHING)
    """What is known of the bands."""
    coarser: tuple[bool, ...] = ()
    """Which channels were interpolated to the grid from pixels twice as large."""
    phase: tuple[int, int] = (0, 0)
    """First pixel (row, column) of the window, or of the cube, counted from a corner of those pixels."""

    @property
    def halo(self) -> int:
        """What the network needs, and what its input is made from beyond that."""
        return self.halo_of_network + self.reader.margin + self.reach + self.span

    def locate(self, row: int, col: int) -> "Fused":
        """Bind to the first pixel of a window; see `xsr.core.types.LocatedFunction`."""
        return replace(self, phase=(self.phase[0] + row, self.phase[1] + col))

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        if self.target_times:
            return super().__call__(window, rows, cols, cell)
        shape = (*window.shape[:2], *query_shape(rows, cols))
        valid = np.isfinite(window)
        if not valid.any():
            return np.full(shape, np.nan, np.float32)
        out = self._evaluate(self.read(window, rows, cols, cell), cell)
        return out if valid.all() else remask(out, valid, rows, cols)

    def read(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Reading:
        """Make the network's input of each date by itself, and what its output is added to."""
        images, detail, lacking = self._sharpened(self.fill_nodata(window).reshape(window.shape))
        nothing, edge = np.empty((0, *images.shape[1:]), np.float32), self.reader.margin
        none = np.empty((0, *images.shape[2:]), np.bool_)
        y, x, parts = rows - edge, cols - edge, []
        for image, added, rest in zip(images, detail, lacking, strict=True):
            series = Series.of(image, nothing, none, (), self.reader.sensor)
            parts.append(self._read(series, None, added, rest, y, x, cell))
        base, inputs = (np.stack(group) for group in zip(*parts, strict=True))
        return Reading(inputs, base, y, x)

    def _sharpened(self, filled: Stack) -> tuple[Stack, Stack, Stack]:
        """Channels of dates with the detail that sharp bands predict, that detail, and what they lack still; finite."""
        images = np.zeros((len(filled), len(self.channels), *filled.shape[2:]), np.float32)
        images[:, list(self.picks)] = filled
        edge, trim = self.reader.edge, self.reach
        corner = (self.phase[0] + trim, self.phase[1] + trim)
        detail, lacking = self.reader.detail(images, self.coarser, corner)
        return images[..., edge:-edge, edge:-edge] + detail, detail, lacking

    def _read(
        self,
        series: Series,
        used: NDArray[np.bool_] | None,
        detail: Stack,
        lacking: Stack,
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> tuple[Stack, Stack]:
        """Estimate at the queries (channel, H, W), and the network's input (channel, h, w).

        Parameters
        ----------
        series
            Dates, with `xsr.kernels.evidence.EDGE` pixels around the network's input.
        used
            Dates to use for each pixel of that input, shape (date, h, w); None: the image alone.
        detail, lacking
            Of the image, with that edge.
        rows, cols, cell
            Queries, in pixels of that input.
        """
        inner = (..., evidence.AROUND, evidence.AROUND)
        image, detail, lacking = series.image[inner], detail[inner], lacking[inner]
        down, right = np.meshgrid(rows, cols, indexing="ij") if rows.ndim == 1 else (rows, cols)
        base = np.empty((len(image), *down.shape), np.float32)
        estimate = np.empty((len(evidence.PLACES), *image.shape), np.float32)
        gained = np.empty(image.shape[1:], np.float32)
        at = fusion.pixel_of(down, image.shape[1]), fusion.pixel_of(right, image.shape[2])
        for dates, here in patterns(used, image.shape[1:]):
            part, there = series.using(dates), here[at]
            base[:, there] = part.at(down[there], right[there], evidence.size(cell))
            y, x = (place.astype(np.float64) for place in np.nonzero(here))
            for number, (by_y, by_x) in enumerate(evidence.PLACES):
                estimate[number][:, here] = part.at(y + by_y, x + by_x, evidence.HALF)
            gained[here] = part.gained[here]
        low = self.channels.standardise((image - detail)[list(self.picks)], self.picks)
        further = self.reader.channels(detail + lacking, estimate - image, gained)
        base += resample.interpolate_filled(lacking, down, right, "bicubic")
        return base, np.concatenate([low, further])

    def _evaluate(self, reading: Reading, cell: tuple[float, float]) -> Stack:
        """Add the network's output to the estimates, shape (image, band, H, W)."""
        from xsr.models.predictor import predict_continuous
        from xsr.models.threads import threads

        inputs, rows, cols = reading.inputs, reading.rows, reading.cols
        with threads(graph.threads_each()):
            device = registry.resolve_device(self.device)
            out = predict_continuous(self.spec, inputs, rows, cols, cell, device, self.precision)
        picks = list(self.picks)
        return self.channels.restore(out[:, picks], self.picks, reading.base[:, picks])

    # --- several dates ------------------------------------------------------------------------------------------

    def at(
        self,
        target: TargetTime,
        window: Stack,
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> tuple[Stack, NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate queries at a target time; see `Dated.at`."""
        reading = self.read_at(target, window, rows, cols, cell)
        return self._evaluate(reading, cell), reading.rows, reading.cols

    @property
    def outside(self) -> int:
        """Pixels of a window of several dates around the images that are estimated from, their edge included."""
        return self.reach + self.reader.edge + self.span

    @property
    def beside(self) -> int:
        """Pixels of a window of several dates around the network's input."""
        return self.outside + evidence.EDGE

    def read_at(
        self,
        target: TargetTime,
        window: Stack,
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> Reading:
        """Make the network's input for one target time, and what its output is added to.

        The queries are in pixels of that input; those of the reading are displaced as the date nearest in time is.
        """
        moved = self.shifts(window)[list(target.picks)]
        anchor = moved[int(np.abs(target.offset).argmin())]
        y, x = rows + anchor[0], cols + anchor[1]
        dates = window[list(target.picks), : self.bands]
        base, inputs = self._read_dates(dates, target, moved - anchor, y, x, cell)
        return Reading(inputs[None], base[None], y, x)

    def _read_dates(
        self,
        dates: Stack,
        target: TargetTime,
        shifts: NDArray[np.float64],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> tuple[Stack, Stack]:
        """Estimate at the queries, and the network's input, for one target time."""
        trim = slice(self.reach, -self.reach or None)
        clear = dates[..., trim, trim]
        filled = fill_gaps(dates, reach=self.reach) if self.fill else np.where(np.isfinite(clear), clear, np.nan)
        images, *added = self._sharpened(self.fill_nodata(filled).reshape(filled.shape))
        edge = self.reader.edge
        inner = (..., slice(edge, -edge), slice(edge, -edge))
        whole, some = (np.asarray(np.isfinite(v[inner]).all(axis=1)) for v in (clear, filled))
        every, offset = np.concatenate([images, *added], axis=1), target.offset
        blend = self.blended(every, whole, some, shifts, offset)
        trim = slice(self.span, -self.span)
        blend, images, whole = blend[..., trim, trim], images[..., trim, trim], whole[..., trim, trim]
        near = np.abs(shifts).max(axis=1) <= fusion.FARTHEST
        others = np.flatnonzero(near & (offset != 0))
        image, detail, lacking = np.split(blend, 3)
        series = Series.of(image, images[others], whole[others], shifts[others].tolist(), self.reader.sensor)
        around = slice(evidence.EDGE, -evidence.EDGE)
        used = nearest(whole[others][:, around, around], offset[others], self.frames - 1)
        return self._read(series, used, detail, lacking, rows, cols, cell)


def patterns(used: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> list[tuple[tuple[int, ...], NDArray[np.bool_]]]:
    """List the sets of dates that are used together, and the pixels where they are."""
    if used is None or not len(used):
        return [((), np.ones(shape, np.bool_))]
    sets, label = np.unique(used.reshape(len(used), -1), axis=1, return_inverse=True)
    label = label.reshape(shape)
    return [(tuple(np.flatnonzero(one).tolist()), label == number) for number, one in enumerate(sets.T)]


def reader_of(card: ModelCard) -> Reader:
    """Reader of a model that reads dates.

    Raises
    ------
    ModelError
        If the network has other channels than its bands ask for.
    """
    if card.inputs != evidence.count(len(card.bands)):
        raise ModelError(
            f"model {card.name!r} reads dates by {card.inputs} channels; expected {evidence.count(len(card.bands))} for"
            f" {len(card.bands)} bands. Correct the card, or train it again."
        )
    table = sensors.get(card.sensor)
    sizes = [table.band(band).gsd_m for band in card.bands]
    return Reader(card.image.std, card.mtf, tuple(size > min(sizes) for size in sizes))


def coarser_bands(cube: Cube, card: ModelCard, picks: tuple[int, ...]) -> tuple[bool, ...]:
    """Which channels of a model a cube has by interpolation from pixels twice as large.

    That is what its ``native_gsd`` says, else the table of the sensor where the grid has the sensor's finest pixels.
    """
    table, pixel = sensors.get(card.sensor), cube.pixel_m[0]
    out = [False] * len(card.bands)
    for pick, native in zip(picks, cube.native_gsd, strict=True):
        size = native
        if not math.isfinite(size) and abs(pixel / OWN_M - 1) < 0.01:
            size = table.band(card.bands[pick]).gsd_m
        out[pick] = bool(math.isfinite(size) and size / pixel > LARGER)
    return tuple(out)


def lattice(cube: Cube, side: int = 2) -> tuple[int, int]:
    """First pixel (row, column) of a cube, counted from a corner of pixels ``side`` times as large.

    Sentinel-2's lie at multiples of their size; those of another grid are taken to begin where it does.
    """
    affine, (down, right) = cube.geobox.affine, resolution(cube.geobox)
    if not (math.isclose(down, OWN_M) and math.isclose(right, OWN_M)) or affine.b or affine.d:
        return 0, 0
    return round(-affine.f / OWN_M) % side, round(affine.c / OWN_M) % side


def displacements(cube: Cube) -> Any:
    """Displacement (down, right) of each date in pixels, as two bands (time, 2, y, x); None where it is not known."""
    data = cube.data
    if not all(name in data.coords and data[name].dims == ("time",) for name in SHIFTS):
        return None
    affine = cube.geobox.affine
    down_m, across_m = (m / size for m, size in zip(cube.pixel_m, resolution(cube.geobox), strict=True))
    north, east = data[SHIFTS[0]].data / down_m, data[SHIFTS[1]].data / across_m
    area = affine.a * affine.e - affine.b * affine.d
    right = (affine.e * east - affine.b * north) / area
    down = (affine.a * north - affine.d * east) / area
    return graph.constant_images(np.stack([down, right], axis=1).astype(np.float32), data.data)
