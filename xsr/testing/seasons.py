"""How the objects of a scene look on a date: green-up, harvest, straw, bloom and wet soil.

The phenology of a material is a pair of logistic steps in the day of the year; each object has its own lag
and vigour. The result are tables by band and object, so that a date costs little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xsr.testing.grids import Floats, Image, day_of_year, ordinal
from xsr.testing.layout import Layout
from xsr.testing.spectra import MATERIALS, SPECTRA, Material


def tables(layout: Layout, date: np.datetime64) -> tuple[Image, Image]:
    """Reflectance of every object on a date, and how much texture changes it; shape (10, objects)."""
    day = day_of_year(date)
    rows = [MATERIALS[name] for name in layout.materials]
    number = {key: np.array([getattr(row, key) for row in rows]) for key in Material._fields[2:]}
    end, start = number["end"] + layout.lag, number["start"] + layout.lag
    growing = 1.0 - _rise(day, end, 4.0 + 6.0 * (number["harvest"] == 0))
    emerged = _rise(day, np.full_like(end, 308.0), 8.0)
    cover = number["summer"] * _rise(day, start, 9.0) * growing * layout.vigour
    idle = np.where(number["harvest"] > 0, np.maximum(growing, emerged), 1.0)
    cover = np.clip(cover + number["winter"] * idle, 0.0, 0.98)
    straw = (number["harvest"] > 0) * (1.0 - growing) * (1.0 - _rise(day, end + number["harvest"], 2.0))
    wet = np.random.default_rng([4, layout.seed, ordinal(date)]).uniform(0.72, 1.08)
    ground = _spectrum([row.ground for row in rows]) * layout.gain[:, None]
    ground = ground * np.where([row.ground == "soil" for row in rows], wet, 1.0)[:, None]
    ground += straw[:, None] * (_spectrum(["straw"]) * layout.gain[:, None] - ground)
    green = _spectrum([row.green for row in rows]) * (0.75 + 0.25 * layout.gain)[:, None]
    bloom = (number["flower"] > 0) * np.exp(-0.5 * ((day - number["flower"] - layout.lag) / 11.0) ** 2)
    green += bloom[:, None] * (_spectrum(["flower"]) - green)
    base = ground + cover[:, None] * (green - ground)
    partial = (4.0 * cover * (1.0 - cover) + 0.35 * cover)[:, None]
    slope = np.where(layout.rows[:, None] > 0, partial * (green - ground) + (1.0 - cover)[:, None] * ground, base)
    return base.T.astype(np.float32), slope.T.astype(np.float32)


def _spectrum(names: Sequence[str]) -> Floats:
    """Spectra by name, shape (names, 10)."""
    return np.array([SPECTRA[name] for name in names])


def _rise(day: Floats | float, middle: Floats, width: Floats | float) -> Floats:
    """Logistic step from 0 to 1."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip((day - middle) / width, -40.0, 40.0))), dtype=np.float64)
