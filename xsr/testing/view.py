"""Point samples of the continuous scene on a fine grid: which object, its texture, and the shadows.

Polygons are filled in whole numbers and texture is a function of the position, so a sample is the same
whatever the window around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from xsr.testing.grids import Floats, Image
from xsr.testing.layout import lay_out
from xsr.testing.place import Place, Window
from xsr.testing.seasons import tables
from xsr.testing.spectra import BANDS, SHADE
from xsr.testing.sun import shadow_per_metre
from xsr.testing.surface import surface

_SMALL = 44.0  # Samples; polygons up to this size are filled together.


class View:
    """Point samples of a scene on rows and columns of a fine grid; indices may lie outside the scene."""

    def __init__(self, place: Place, spacing: float, rows: tuple[int, int], cols: tuple[int, int]) -> None:
        self.place, self.spacing, self.rows, self.cols = place, spacing, rows, cols
        self.shape = (rows[1] - rows[0], cols[1] - cols[0])
        self.layout = lay_out(place)
        self.labels = self._paint()
        self.texture = self._texture()

    def images(self, dates: NDArray[np.datetime64], bands: Sequence[str]) -> Iterator[tuple[tuple[int, int], Image]]:
        """Yield the index of date and band, and the samples of reflectance."""
        for t, date in enumerate(dates):
            shaded = self._shadow(date)
            base, slope = tables(self.layout, date)
            for b, band in enumerate(bands):
                at = BANDS.index(band)
                image = np.take(slope[at], self.labels)
                image *= self.texture
                image += np.take(base[at], self.labels)
                np.maximum(image, np.float32(0.001), out=image)
                image.reshape(-1)[shaded] *= np.float32(SHADE[at])
                yield (t, b), image

    def _units(self, points: Floats) -> NDArray[np.int64]:
        """Column and row of points in 1/128 of a sample, as odd numbers.

        Whole numbers are exact after any shift, and an odd one never meets a sample: the same samples
        are inside whatever the window.
        """
        return 2 * np.floor(points / self.spacing * 64.0).astype(np.int64) - 63

    def _inside(self, low: Floats, high: Floats) -> NDArray[np.bool_]:
        """Whether bounding boxes, shape (..., 2) in metres, touch the view."""
        (top, bottom), (left, right) = self.rows, self.cols
        near = (low[..., 0] < right * self.spacing) & (high[..., 0] > left * self.spacing)
        near &= (low[..., 1] < bottom * self.spacing) & (high[..., 1] > top * self.spacing)
        return np.asarray(near, dtype=np.bool_)

    def _paint(self) -> NDArray[np.intp]:
        """Paint the number of the object at each sample: the owner of the last polygon that covers it."""
        layout = self.layout
        near = self._inside(layout.boxes[:, :2], layout.boxes[:, 2:])
        size = (layout.boxes[:, 2:] - layout.boxes[:, :2]).max(axis=1) / self.spacing
        small = near & (size <= _SMALL) & (layout.corners <= 8)
        last = np.zeros(self.shape, np.intp)
        for number in np.flatnonzero(near & ~small):
            shape = layout.points[layout.first[number] : layout.first[number] + layout.corners[number]]
            window, inside = self._fill(shape)
            last[window][inside] = number
        flat = last.reshape(-1)
        numbers, samples = self._fill_small(small)
        top = np.zeros_like(flat)
        top[samples] = numbers  # In order of painting: the last one stays.
        np.maximum(flat, top, out=flat)
        return np.asarray(layout.owner.astype(np.intp)[last])

    def _fill(self, shape: Floats) -> tuple[Window, NDArray[np.bool_]]:
        """Window of the view and, in it, the samples inside one polygon of any size (even-odd rule)."""
        units = self._units(shape) - 128 * np.array([self.cols[0], self.rows[0]])
        low, high = -(-units.min(axis=0) // 128), units.max(axis=0) // 128 + 1
        (left, top), (right, bottom) = np.maximum(low, 0), np.minimum(high, self.shape[::-1])
        if left >= right or top >= bottom:
            return (slice(0), slice(0)), np.zeros((0, 0), bool)
        rows, cols = _crossings(units, int(top), int(bottom))
        width = int(right - left)
        at = (rows - top) * (width + 1) + np.clip(cols - left, 0, width)
        turns = np.bincount(at, minlength=int(bottom - top) * (width + 1)).reshape(-1, width + 1)
        inside = np.cumsum(turns[:, :-1], axis=1) % 2 == 1
        return (slice(int(top), int(bottom)), slice(int(left), int(right))), inside

    def _fill_small(self, small: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Polygon and flat index of every sample in the chosen small convex polygons, in order."""
        layout = self.layout
        found = [(np.zeros(0, np.intp), np.zeros(0, np.intp))]
        for corners in range(3, 9):
            numbers = np.flatnonzero(small & (layout.corners == corners))
            if len(numbers):
                shapes = layout.points[layout.first[numbers][:, None] + np.arange(corners)]
                which, samples = self._fill_convex(shapes)
                found.append((numbers[which], samples))
        numbers, samples = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(numbers, kind="stable")
        return numbers[order], samples[order]

    def _fill_convex(self, shapes: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Polygon and flat index of every sample in convex polygons, shape (n, corners, 2)."""
        units = self._units(shapes)
        start = -(-units.min(axis=1) // 128)
        extent = (units.max(axis=1) // 128 - start + 1).max(axis=1)
        found = [(np.zeros(0, np.intp), np.zeros(0, np.intp))]
        for size in (4, 6, 8, 12, 16, 24, 32, 48):
            if len(some := np.flatnonzero((extent <= size) & (extent > 0))):
                which, rows, cols = np.nonzero(_in_convex(units[some] - 128 * start[some, None], size))
                rows = rows + start[some[which], 1] - self.rows[0]
                cols = cols + start[some[which], 0] - self.cols[0]
                within = (rows >= 0) & (cols >= 0) & (rows < self.shape[0]) & (cols < self.shape[1])
                found.append((some[which][within], (rows * self.shape[1] + cols)[within]))
                extent[some] = 0
        which, samples = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return which, samples

    def _shadow(self, date: np.datetime64) -> NDArray[np.intp]:
        """Flat indices of the samples in the shadow of a tree, house or forest."""
        per_metre = shadow_per_metre(self.place, date)
        dark = np.zeros(self.shape, bool)
        for shapes, heights in self.layout.prisms:
            swept = _sweep(shapes, heights[:, None] * per_metre)
            low, high = swept.min(axis=1), swept.max(axis=1)
            near = self._inside(low, high)
            small = (high - low).max(axis=1) <= _SMALL * self.spacing
            dark.reshape(-1)[self._fill_convex(swept[near & small])[1]] = True
            for shape in swept[near & ~small]:
                window, inside = self._fill(shape)
                dark[window] |= inside
        found = np.flatnonzero(dark)
        on_top = np.array(self.layout.is_tall)[self.labels.reshape(-1)[found]]
        return np.asarray(found[~on_top], dtype=np.intp)

    def _texture(self) -> Image:
        """Relative texture: soil and vigour patterns, canopy, tramlines."""
        layout = self.layout
        coarse = self._noise(6, (420.0, 130.0, 45.0), (0.75, 0.60, 0.45))
        coarse *= np.take(layout.coarse.astype(np.float32), self.labels)
        fine = self._noise(7, (14.0, 6.5, 3.0), (0.60, 0.62, 0.52))
        fine *= np.take(layout.fine.astype(np.float32), self.labels)
        coarse += fine
        coarse += self._passes()
        return coarse

    def _noise(self, tag: int, spacings: Sequence[float], weights: Sequence[float]) -> Image:
        """Sum of random surfaces of unit variance, each a quadratic spline on its own lattice."""
        total = np.zeros(self.shape, np.float32)
        for number, (spacing, weight) in enumerate(zip(spacings, weights, strict=True)):
            total += np.float32(weight) * surface(self.place, (tag, number), spacing, self._axis_m(0), self._axis_m(1))
        return total

    def _axis_m(self, axis: int) -> Floats:
        """Positions of the samples in metres from the top-left corner."""
        first, last = (self.rows, self.cols)[axis]
        return np.asarray((np.arange(first, last) + 0.5) * self.spacing, dtype=np.float64)

    def _passes(self) -> Image:
        """Dark tramlines and faint bands of the working width, along each field."""
        layout = self.layout
        per_x = (np.cos(layout.angle) / layout.pass_m).astype(np.float32)
        per_y = (np.sin(layout.angle) / layout.pass_m).astype(np.float32)
        turn = np.take(per_x, self.labels) * self._axis_m(1).astype(np.float32)
        turn += np.take(per_y, self.labels) * self._axis_m(0).astype(np.float32)[:, None]
        turn -= np.floor(turn)
        line = turn < np.take((2.2 / layout.pass_m).astype(np.float32), self.labels)
        np.abs(turn - np.float32(0.5), out=turn)
        turn *= np.float32(1.6)
        turn -= np.float32(0.4)
        turn -= np.float32(2.0) * line
        turn *= np.take(layout.rows.astype(np.float32), self.labels)
        return turn


def _crossings(units: NDArray[np.int64], top: int, bottom: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the sides of a polygon cross rows: the row, and the first column to the right of the side."""
    after = np.roll(units, -1, axis=0)
    down = units[:, 1] < after[:, 1]
    upper, lower = np.where(down[:, None], units, after), np.where(down[:, None], after, units)
    first, last = np.maximum(-(-upper[:, 1] // 128), top), np.minimum(lower[:, 1] // 128 + 1, bottom)
    count = np.maximum(last - first, 0)
    side = np.repeat(np.arange(len(units)), count)
    rows = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[side]
    run, drop = (lower - upper)[side].T
    ahead = upper[side, 0] * drop + (128 * rows - upper[side, 1]) * run
    return rows, ahead // (128 * drop) + 1


def _in_convex(units: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Whether the samples of a square are inside convex polygons, shape (n, size, size).

    Polygons are (n, corners, 2), x and y in 1/128 of a sample from the first sample of the square.
    """
    after = np.roll(units, -1, axis=1)
    doubled = units[..., 0] * after[..., 1] - after[..., 0] * units[..., 1]
    sense = np.where(doubled.sum(axis=1) < 0, -1, 1)[:, None]
    run, rise = (sense * (after - units)[..., axis] for axis in (0, 1))
    offset = rise * units[..., 0] - run * units[..., 1]
    at = 128 * np.arange(size)
    inside = np.ones((len(units), size, size), bool)
    for corner in range(units.shape[1]):
        down = (run[:, corner, None] * at + offset[:, corner, None]).astype(np.int32)
        right = (rise[:, corner, None] * at).astype(np.int32)
        inside &= down[:, :, None] >= right[:, None, :]
    return inside


def _sweep(shapes: Floats, by: Floats) -> Floats:
    """Area that convex polygons, (n, corners, 2), cover while they move by (n, 2): their shadow."""
    side = np.roll(shapes, -1, axis=1) - shapes
    after = shapes + side
    sense = np.sign((shapes[..., 0] * after[..., 1] - shapes[..., 1] * after[..., 0]).sum(axis=1, keepdims=True))
    ahead = sense * (side[..., 1] * by[:, None, 0] - side[..., 0] * by[:, None, 1]) > 0
    doubled = np.stack([np.roll(ahead, 1, axis=1), ahead], axis=2)[..., None] * by[:, None, None]
    return np.asarray((shapes[:, :, None] + doubled).reshape(len(shapes), -1, 2), dtype=np.float64)
