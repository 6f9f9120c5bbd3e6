"""Regular axes: the first centre and the step that a series of coordinates was made from.

Coordinates are numbers that were rounded: to single precision in most NetCDF files of latitude and longitude, to some
decimals in others. Each of them bounds the exact value. The lines that pass between all bounds form a convex polygon of
(step, start), found here exactly from two convex hulls; its centroid is the estimate, and lies far closer to the truth
than any single coordinate. Coordinates that no line explains (summed step by step in single precision) are fitted by
least squares.
"""

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xsr.core.errors import GridError

Values = NDArray[np.float64]

JITTER = 1e-3
"""Largest deviation of a coordinate from a regular axis, in pixels, beyond its rounding."""
EXACT = 1e-5
"""Deviation in pixels up to which the first two coordinates define an axis, as they do in odc-geo."""
COARSEST = 0.02
"""Largest rounding step in pixels that double precision may hold and that still counts as rounding."""
DECIMALS = 12
"""Most decimals to which coordinates are thought to be rounded."""
SIMPLE = 64
"""Largest denominator of a step, or of its inverse, that counts as a simple number."""
NARROW = ("f2", "f4")
"""Types whose numbers are rounded so much that even simple ones are estimates."""
CHANCE = 0.01
"""Probability up to which a simple number in the polygon is no coincidence."""


@dataclass(frozen=True)
class Axis:
    """Centres of ``size`` pixels: ``start + index * step``."""

    start: float
    """Centre of the first pixel."""
    step: float
    """Signed distance of the centres; NaN for a single pixel of unknown size."""
    size: int
    corner: float
    """Outer edge of the first pixel."""
    slack: float = 0.0
    """How far the first and last centre may lie from the true ones, as far as the coordinates say; in their unit."""
    estimated: bool = False
    """Whether start and step are estimates from rounded coordinates, or from a single one."""

    @property
    def stop(self) -> float:
        """Centre of the last pixel."""
        return self.start if self.size == 1 else self.start + (self.size - 1) * self.step


def fit(name: Hashable, values: NDArray[np.generic]) -> Axis:
    """Axis of pixel-centre coordinates, from all of them.

    Parameters
    ----------
    name
        Name of the coordinate, for messages.
    values
        Coordinates (n,), integers or floats.

    Raises
    ------
    GridError
        If they are no numbers, repeat, turn or are irregular; with the offending numbers.
    """
    if values.dtype.kind not in "iuf":
        raise GridError(f"coordinate {name!r} has dtype {values.dtype}; expected numbers, the pixel centres.")
    exact = values.astype(np.float64)
    if exact.size == 1:
        return Axis(float(exact[0]), math.nan, 1, math.nan, slack=float(_own_rounding(values)[0]), estimated=True)
    _check_order(name, values)
    plain = _of_first_two(exact)
    simple = plain.slack <= EXACT * abs(plain.step)
    if simple and values.dtype.kind + str(values.dtype.itemsize) not in NARROW:
        return plain
    for half in _roundings(values, exact):
        found = _between(exact - half, exact + half)
        if found is not None:
            apart = max(abs(plain.start - found.start), abs(plain.stop - found.stop))
            return replace(plain, slack=found.slack + apart, estimated=True) if simple else found
    _check_regular(name, values)
    return _least_squares(exact)


def _of_first_two(values: Values) -> Axis:
    start, second = float(values[0]), float(values[1])
    off = float(_deviations(start, second - start, values).max())
    return Axis(start, second - start, values.size, (3 * start - second) / 2, slack=off)


def _least_squares(values: Values) -> Axis:
    index = np.arange(values.size) - (values.size - 1) / 2
    mean = float(values.mean())
    step = float(index @ (values - mean) / (index @ index))
    start = mean + float(index[0]) * step
    off = float(_deviations(start, step, values).max())
    return Axis(start, step, values.size, start - step / 2, slack=off, estimated=True)


def _deviations(start: float, step: float, values: Values) -> Values:
    return np.asarray(np.abs(values - (start + np.arange(values.size) * step)))


def _check_order(name: Hashable, values: NDArray[np.generic]) -> None:
    steps = np.diff(values.astype(np.float64))
    if np.any(steps == 0):
        where = int(np.flatnonzero(steps == 0)[0])
        raise GridError(f"coordinate {name!r} repeats {values[where]} at index {where}; expected unique pixel centres.")
    if not (np.all(steps > 0) or np.all(steps < 0)):
        where = int(np.flatnonzero(np.sign(steps) != np.sign(steps[0]))[0])
        raise GridError(
            f"coordinate {name!r} turns at index {where} ({values[where]}, {values[where + 1]}); expected monotonic."
        )


def _check_regular(name: Hashable, values: NDArray[np.generic]) -> None:
    """Allow a sum of rounded steps to be off by twice the rounding of the largest coordinate."""
    exact = values.astype(np.float64)
    step = float(exact[-1] - exact[0]) / (exact.size - 1)
    precision = float(np.finfo(values.dtype if values.dtype.kind == "f" else np.float64).eps)  # type: ignore[type-var]
    allowed = max(JITTER, 2 * precision * float(np.abs(exact).max()) / abs(step))
    off = _deviations(float(exact[0]), step, exact) / abs(step)
    if off.max() > allowed:
        where = int(off.argmax())
        raise GridError(
            f"coordinate {name!r} is irregular: {values[where]} at index {where} lies {off.max():.3g} px off a regular"
            f" grid of step {step:.6g}; expected at most {allowed:.3g} px. Reproject or rebuild the coordinates."
        )


def _own_rounding(values: NDArray[np.generic]) -> Values:
    """Half the distance between neighbouring numbers of the coordinates' own type; that of doubles for integers."""
    numbers = values if values.dtype.kind == "f" else values.astype(np.float64)
    return np.asarray(np.spacing(np.abs(numbers)).astype(np.float64) / 2)


def _roundings(values: NDArray[np.generic], exact: Values) -> Iterator[Values]:
    """Half widths of the rounding that these coordinates may have gone through, finest first.

    Double precision may hold what was rounded before: to single precision, or to some decimals.
    """
    arithmetic = 4 * np.spacing(np.abs(exact).max())  # of whoever computed the coordinates, and of ours
    yield _own_rounding(values) + arithmetic
    if values.dtype.itemsize < exact.dtype.itemsize or values.dtype.kind != "f":
        return
    single = exact.astype(np.float32)
    if np.array_equal(single, exact):
        yield _own_rounding(single) + arithmetic
    coarsest = COARSEST * abs(exact[-1] - exact[0]) / (exact.size - 1)
    for decimals in range(DECIMALS, -1, -1):
        quantum = 10.0**-decimals
        if quantum <= coarsest and np.abs(np.round(exact, decimals) - exact).max() <= arithmetic:
            yield np.full(exact.size, quantum / 2 + arithmetic)


def _between(low: Values, high: Values) -> Axis | None:
    """Axis in the middle of all lines between the bounds of every value; None where there is no line.

    A simple step (10/3, 1/3600) that is among them, and too simple to be a coincidence, is taken at its word.
    """
    base, slope = float(low[0]), float(low[-1] - low[0]) / (low.size - 1)
    line = base + np.arange(low.size) * slope
    polygon = _polygon(low - line, high - line)
    if polygon is None:
        return None
    steps, least, greatest = polygon
    simple = _simple_step(slope + steps[0], slope + steps[-1])
    start, step = _centroid(steps, least, greatest)
    if simple is None:
        start, step = base + start, slope + step
    else:
        bounds = (base + float(np.interp(simple - slope, steps, side)) for side in (least, greatest))
        start, step = _aligned_start(simple, *bounds), simple
    last = low.size - 1
    off = [
        np.abs(base + side - start + where * (slope + steps - step))
        for side in (least, greatest)
        for where in (0, last)
    ]
    return Axis(start, step, low.size, start - step / 2, slack=float(np.max(off)), estimated=True)


def _polygon(low: Values, high: Values) -> tuple[Values, Values, Values] | None:
    """List the steps at the vertices of all lines between the bounds, and the least and greatest start at each."""
    last = low.size - 1
    upper, lower = _lower_hull(high), _lower_hull(-low)
    extremes = [(low[-1] - high[0]) / last, (high[-1] - low[0]) / last]
    steps = np.unique(np.concatenate([_slopes(high, upper), -_slopes(-low, lower), extremes]))
    greatest = (high[upper] - np.outer(steps, upper)).min(axis=1)
    least = (low[lower] - np.outer(steps, lower)).max(axis=1)
    gap = greatest - least
    inside = np.flatnonzero(gap > 0)
    if inside.size == 0:
        return None
    first, final = int(inside[0]), int(inside[-1])
    ends = [_crossing(steps, gap, first - 1), _crossing(steps, gap, final)]
    vertices = np.concatenate([ends[:1], steps[first : final + 1], ends[1:]])
    return vertices, np.interp(vertices, steps, least), np.interp(vertices, steps, greatest)


def _crossing(steps: Values, gap: Values, left: int) -> float:
    """Step at which the gap is zero, between two of its vertices."""
    here, there = (float(gap[left + k]) for k in (0, 1))
    return float(steps[left] + (steps[left + 1] - steps[left]) * here / (here - there))


def _lower_hull(values: Values) -> NDArray[np.intp]:
    """Find the indices of the lower convex hull of values at 0, 1, 2, ...

    A point above the line between two others is never on the hull: whole sets of points fall at once.
    """
    kept = np.arange(values.size)
    while kept.size > 2:
        left, middle, right = kept[:-2], kept[1:-1], kept[2:]
        share = (middle - left) / (right - left)
        below = values[middle] < values[left] + share * (values[right] - values[left])
        if below.all():
            break
        kept = np.concatenate([kept[:1], middle[below], kept[-1:]])
    return kept


def _slopes(values: Values, at: NDArray[np.intp]) -> Values:
    return np.asarray(np.diff(values[at]) / np.diff(at))


def _centroid(steps: Values, least: Values, greatest: Values) -> tuple[float, float]:
    """Start and step at the centroid of the polygon, by Simpson's rule, which is exact here."""
    width, gap, middle = np.diff(steps), greatest - least, (least + greatest) / 2

    def integral(values: Values, inner: Values) -> float:
        return float((width * (values[:-1] + 4 * inner + values[1:])).sum() / 6)

    def halfway(values: Values) -> Values:
        return np.asarray((values[:-1] + values[1:]) / 2)

    area = integral(gap, halfway(gap))
    moments = (integral(gap * v, halfway(gap) * halfway(v)) for v in (middle, steps))
    start, step = (moment / area for moment in moments)
    return start, step


def _simple_step(low: float, high: float) -> float | None:
    """Fraction p/q or q/p in a range of steps, q at most `SIMPLE`, too simple to be there by chance."""
    if low * high <= 0:
        return None
    sign = np.copysign(1.0, low)
    low, high = sorted((abs(low), abs(high)))
    for q in range(1, SIMPLE + 1):
        for inverse, least, greatest in ((False, low, high), (True, 1 / high, 1 / low)):
            p = np.rint((least + greatest) / 2 * q)
            if (greatest - least) * q * q <= CHANCE and least <= p / q <= greatest:
                return float(sign * (q / p if inverse else p / q))
    return None


def _aligned_start(step: float, low: float, high: float) -> float:
    """Centre of a pixel whose edges are multiples of the step, where the range has one; else its middle."""
    start = (np.rint((low + high) / 2 / step - 0.5) + 0.5) * step
    return float(start) if low <= start <= high else (low + high) / 2
