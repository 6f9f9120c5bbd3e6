"""Polygons in metres, x to the east and y to the south of the top-left corner of the scene.

Polygons are float arrays of shape (corners, 2), not closed. Here they are halved, turned, measured and drawn
along lines; what they stand for is decided in :mod:`xsr.testing.layout`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from xsr.testing.grids import Floats

OCTAGON = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)


def divide(
    rng: np.random.Generator, shapes: Sequence[Floats], *, area: float, jitter: float, spread: float = 0.35
) -> tuple[list[Floats], list[Floats]]:
    """Halve convex polygons until they are as small as requested; the parts and the cuts, coarse ones first."""
    todo, done, cuts = list(shapes), [], []
    while todo:
        shape = todo.pop(0)
        if _area(shape) < 1.4 * area * math.exp(spread * rng.standard_normal()):
            done.append(shape)
            continue
        angle, along, across = axes(shape)
        angle += (0.0 if along >= across else 0.5 * math.pi) + jitter * rng.standard_normal()
        normal = np.array([math.cos(angle), math.sin(angle)])
        reach = (shape @ normal).min(), (shape @ normal).max()
        at = shape.mean(axis=0)
        at = at + normal * (reach[0] + (reach[1] - reach[0]) * rng.uniform(0.36, 0.64) - at @ normal)
        first, second, ends = _cut(shape, at, normal)
        todo += [first, second]
        cuts.append(ends)
    return done, cuts


def dense(shape: Floats, step: float = 110.0) -> Floats:
    """Add vertices along the sides, so that a bend shows."""
    after, parts = _after(shape), []
    for a, b in zip(shape, after, strict=True):
        count = max(1, round(float(np.hypot(*(b - a))) / step))
        parts.append(a + (b - a) * (np.arange(count) / count)[:, None])
    return np.concatenate(parts)


def ribbon(line: Floats, width: float, step: float = 55.0) -> list[Floats]:
    """Quadrilaterals along a polyline."""
    pieces = []
    for a, b in pairwise(line):
        length = float(np.hypot(*(b - a)))
        if length < 1e-6:
            continue
        count = max(1, round(length / step))
        ahead = (b - a) / length
        across = np.array([-ahead[1], ahead[0]]) * 0.5 * width
        stops = a + np.outer(np.arange(count + 1) / count, b - a)
        for p, q in pairwise(stops):
            p, q = p - ahead * 0.2 * width, q + ahead * 0.2 * width
            pieces.append(np.array([p - across, q - across, q + across, p + across]))
    return pieces


def box(centre: Floats, length: float, width: float, angle: float) -> Floats:
    """Rectangle about a centre."""
    half = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]) * (0.5 * length, 0.5 * width)
    return turn(half, angle) + centre


def turn(points: Floats, angle: float) -> Floats:
    """Turn points about the zero of their coordinates."""
    c, s = math.cos(angle), math.sin(angle)
    return np.asarray(points @ np.array([[c, s], [-s, c]]), dtype=np.float64)


def axes(shape: Floats) -> tuple[float, float, float]:
    """Direction of the longest side (radians), and the extent along and across it."""
    sides = _after(shape) - shape
    longest = sides[np.argmax(np.hypot(*sides.T))]
    angle = math.atan2(longest[1], longest[0])
    along, across = np.ptp(turn(shape, -angle), axis=0)
    return angle, float(along), float(across)


def _cut(shape: Floats, through: Floats, normal: Floats) -> tuple[Floats, Floats, Floats]:
    """Cut a convex polygon by a line; both parts and the ends of the cut."""
    side = (shape - through) @ normal
    after, side_after = _after(shape), _after(side)
    parts: tuple[list[Floats], list[Floats]] = ([], [])
    ends = []
    for a, b, sa, sb in zip(shape, after, side, side_after, strict=True):
        parts[int(sa > 0)].append(a)
        if (sa > 0) != (sb > 0):
            ends.append(a + (b - a) * (sa / (sa - sb)))
            parts[0].append(ends[-1])
            parts[1].append(ends[-1])
    return np.array(parts[0]), np.array(parts[1]), np.array(ends)


def _area(shape: Floats) -> float:
    """Area of a polygon in square metres."""
    x, y = shape.T
    return 0.5 * abs(float(np.dot(x, _after(y)) - np.dot(y, _after(x))))


def _after(values: Floats) -> Floats:
    """Each value's successor, around the polygon."""
    return np.asarray(values[np.arange(1, len(values) + 1) % len(values)], dtype=np.float64)
