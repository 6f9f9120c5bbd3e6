"""Layout of the scene: parcels, forest, lanes, a river, roads, a village and farms, as painted polygons.

Land is halved again and again, from blocks between roads to cells between lanes to parcels; objects are then
painted over one another, and a smooth bend leaves nothing quite straight. Every random choice about the
layout is made here, in one order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from xsr.testing.grids import MARGIN_M, Floats
from xsr.testing.place import Place
from xsr.testing.polygons import OCTAGON, axes, box, dense, divide, ribbon, turn
from xsr.testing.spectra import CROP_SHARES, CROPS, MATERIALS, ROOFS


@dataclass
class Layout:
    """Objects of a scene, and the polygons that paint them in order."""

    seed: int
    materials: list[str] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    shapes: list[Floats] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    tall: dict[int, list[Floats]] = field(default_factory=dict)
    heights: dict[int, list[float]] = field(default_factory=dict)
    is_tall: list[bool] = field(default_factory=list)

    def add(self, rng: np.random.Generator, material: str, *, gain: float = 1.0, tall: bool = False) -> int:
        """Make an object and return its number."""
        self.materials.append(material)
        self.gains.append(gain * math.exp(MATERIALS[material].spread * rng.standard_normal()))
        self.is_tall.append(tall)
        return len(self.materials) - 1

    def paint(self, owner: int, *shapes: Floats) -> None:
        """Paint polygons, over what is there."""
        self.shapes.extend(shapes)
        self.owners.extend([owner] * len(shapes))

    def raise_up(self, shape: Floats, height_m: float) -> None:
        """Give a polygon a height, by which it casts a shadow; polygons are kept by their number of corners."""
        self.tall.setdefault(len(shape), []).append(shape)
        self.heights.setdefault(len(shape), []).append(height_m)

    def finish(self, angles: Mapping[int, float]) -> None:
        """Draw the remaining properties of the objects and bend all outlines."""
        rng, count = np.random.default_rng([2, self.seed]), len(self.materials)
        self.gain = np.array(self.gains)
        self.lag = rng.normal(0.0, 7.0, count)
        self.vigour = np.clip(rng.normal(1.0, 0.10, count), 0.6, 1.1)
        traits = np.array([MATERIALS[name][8:11] for name in self.materials])
        self.coarse, self.fine, self.rows = traits.T
        self.rows = self.rows * rng.uniform(0.4, 2.0, count)
        self.coarse = self.coarse * rng.uniform(0.5, 1.6, count)
        self.pass_m = rng.choice([12.0, 15.0, 18.0, 24.0, 28.0, 36.0], count)
        self.angle = np.array([angles.get(number, 0.0) for number in range(count)])
        self.owner, bend = np.array(self.owners), _Bend(self.seed)
        self.corners = np.array([len(shape) for shape in self.shapes])
        self.first = np.concatenate(([0], np.cumsum(self.corners)[:-1]))
        self.points = bend(np.concatenate(self.shapes))
        self.boxes = np.concatenate(
            [np.minimum.reduceat(self.points, self.first), np.maximum.reduceat(self.points, self.first)],
            axis=1,
        )
        self.prisms = [(bend(np.array(self.tall[n])), np.array(self.heights[n])) for n in sorted(self.tall)]
        self.shapes, self.tall, self.heights = [], {}, {}


@lru_cache(maxsize=8)
def lay_out(place: Place) -> Layout:
    """Lay out the scene; every random choice is made here, in one order."""
    rng = np.random.default_rng([1, place.seed])
    layout, angles = Layout(place.seed), dict[int, float]()
    height, width = place.extent_m
    root = _turned_box(height, width, rng.uniform(0.0, np.pi))
    village = rng.uniform(0.28, 0.72, 2) * (width, height)
    radius = float(np.clip(0.10 * math.sqrt(height * width), 70.0, 300.0)) * rng.uniform(0.8, 1.2)
    layout.paint(layout.add(rng, "meadow"), root)
    blocks, cuts = divide(rng, [root], area=45e4, jitter=0.16)
    cells, lanes = divide(rng, blocks, area=9e4, jitter=0.10)
    woods = _Woods(place.seed)
    town = []
    for cell in cells:
        centre = cell.mean(axis=0)
        if np.hypot(*(centre - village)) < radius + 30.0 * rng.standard_normal():
            town.append(cell)
        elif (kind := woods(centre)) is not None:
            _add_forest(rng, layout, cell, kind)
        else:
            _add_farmland(rng, layout, cell, angles)
    _add_lanes(rng, layout, lanes)
    _add_river(rng, layout, place)
    _add_roads(rng, layout, cuts)
    for cell in town:
        _add_quarter(rng, layout, cell)
    _add_farms(rng, layout, cuts, village)
    layout.finish(angles)
    return layout


class _Bend:
    """Smooth displacement of a few tens of metres, so that nothing is quite straight."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([3, seed])
        length = np.array([[2600.0], [1700.0], [1100.0], [800.0], [500.0]])
        self.wave = rng.normal(0.0, 1.0, (5, 2)) * 2.0 * np.pi / length
        self.phase = rng.uniform(0.0, 2.0 * np.pi, (5, 2))
        self.size = np.array([24.0, 14.0, 9.0, 6.0, 3.0])

    def __call__(self, points: Floats) -> Floats:
        """Displaced points, shape (..., 2)."""
        out = points.copy()
        for wave, phase, size in zip(self.wave, self.phase, self.size, strict=True):
            angle = points[..., :1] * wave[0] + points[..., 1:] * wave[1]
            out += size * np.sin(angle + phase)
        return out


def _turned_box(height: float, width: float, angle: float) -> Floats:
    """Square around the scene and its margin, turned about its centre."""
    half = 0.5 * math.hypot(height, width) + MARGIN_M + 120.0
    corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half)]) * math.sqrt(2.0)
    centre = np.array([0.5 * width, 0.5 * height])
    return np.asarray(turn(corners, angle) + centre, dtype=np.float64)


class _Woods:
    """Where forest grows: a smooth function of the place."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([5, seed])
        self.wave = rng.normal(0.0, 2.0 * np.pi / 2400.0, (6, 2))
        self.phase = rng.uniform(0.0, 2.0 * np.pi, 6)

    def __call__(self, place: Floats) -> str | None:
        waves = np.sin(self.wave @ place + self.phase)
        if waves.sum() < 1.9:
            return None
        return "conifer" if waves[0] + waves[3] > 0.6 else "broadleaf"


def _add_forest(rng: np.random.Generator, layout: Layout, cell: Floats, kind: str) -> None:
    """Compartments of forest with narrow rides between them."""
    parts, rides = divide(rng, [cell], area=3e4, jitter=0.05)
    for part in parts:
        other = "broadleaf" if kind == "conifer" else "conifer"
        owner = layout.add(rng, kind if rng.random() < 0.85 else other, tall=True)
        layout.paint(owner, dense(part))
        height = rng.uniform(11.0, 19.0)
        for piece in ribbon(np.concatenate((part, part[:1])), 7.0):  # Its edge casts the shadow.
            layout.raise_up(piece, height)
    ride = layout.add(rng, "verge")
    for line in rides:
        layout.paint(ride, *ribbon(line, rng.uniform(3.0, 6.0)))


def _add_farmland(rng: np.random.Generator, layout: Layout, cell: Floats, angles: dict[int, float]) -> None:
    """Parcels with their crops; strips, hedges and lone trees on some of the boundaries."""
    parcels, edges = divide(rng, [cell], area=float(np.clip(rng.lognormal(10.2, 0.6), 8e3, 9e4)), jitter=0.025)
    pasture = rng.random() < 0.25
    for parcel in parcels:
        crop = "meadow" if pasture and rng.random() < 0.8 else str(rng.choice(CROPS, p=CROP_SHARES))
        owner = layout.add(rng, crop)
        angles[owner] = axes(parcel)[0] + 0.5 * math.pi
        layout.paint(owner, dense(parcel))
        if rng.random() < 0.12:
            inside = parcel[0] + (parcel.mean(axis=0) - parcel[0]) * rng.uniform(0.3, 0.9)
            _add_trees(rng, layout, inside + rng.normal(0.0, 9.0, (int(rng.integers(1, 7)), 2)))
    for edge in edges:
        chance = rng.random()
        if chance < 0.35:
            layout.paint(layout.add(rng, "verge"), *ribbon(edge, rng.uniform(1.5, 4.0)))
        if chance < 0.13:
            _add_hedge(rng, layout, edge)


def _add_hedge(rng: np.random.Generator, layout: Layout, edge: Floats) -> None:
    """Row of trees along a line, with gaps."""
    length = float(np.hypot(*(edge[1] - edge[0])))
    along = np.arange(0.0, length, 5.5)
    along = along[np.sin(along / rng.uniform(12.0, 40.0) + rng.uniform(0.0, 6.0)) > rng.uniform(-1.2, 0.3)]
    places = edge[0] + np.outer(along / max(length, 1e-6), edge[1] - edge[0])
    _add_trees(rng, layout, places + rng.normal(0.0, 0.8, places.shape))


def _add_trees(rng: np.random.Generator, layout: Layout, places: Floats) -> None:
    """Crowns with a sunlit side, and their height for the shadow."""
    if not len(places):
        return
    dark = layout.add(rng, "tree", gain=0.85, tall=True)
    light = layout.add(rng, "tree", gain=1.25, tall=True)
    radius = np.clip(rng.lognormal(1.2, 0.35, len(places)), 1.6, 6.5)[:, None, None]
    crowns = places[:, None] + radius * OCTAGON
    layout.paint(dark, *crowns)
    layout.paint(light, *(places[:, None] + radius * (0.15, 0.35) + 0.6 * radius * OCTAGON))
    for crown, height in zip(crowns, radius[:, 0, 0] * rng.uniform(1.8, 2.8, len(places)), strict=True):
        layout.raise_up(crown, float(height))


def _add_lanes(rng: np.random.Generator, layout: Layout, lanes: Sequence[Floats]) -> None:
    """Farm tracks, lanes, ditches and hedges between the cells."""
    for lane in lanes:
        chance = rng.random()
        layout.paint(layout.add(rng, "verge"), *ribbon(lane, rng.uniform(4.0, 8.0)))
        if chance < 0.45:
            layout.paint(layout.add(rng, "track"), *ribbon(lane, rng.uniform(2.6, 4.0)))
        elif chance < 0.75:
            layout.paint(layout.add(rng, "asphalt"), *ribbon(lane, rng.uniform(3.5, 5.0)))
        else:
            layout.paint(layout.add(rng, "water"), *ribbon(lane, rng.uniform(1.2, 2.5)))
        if rng.random() < 0.2:
            _add_hedge(rng, layout, lane + rng.normal(0.0, 4.0, 2))


def _add_roads(rng: np.random.Generator, layout: Layout, cuts: Sequence[Floats]) -> None:
    """Roads, the first cuts widest, with verges and some avenues."""
    for rank, cut in enumerate(cuts):
        width = max(5.0, 11.0 - 1.1 * math.log2(rank + 1.0)) * rng.uniform(0.9, 1.1)
        layout.paint(layout.add(rng, "verge"), *ribbon(cut, width + rng.uniform(4.0, 9.0)))
        layout.paint(layout.add(rng, "asphalt"), *ribbon(cut, width))
        if rng.random() < 0.4:
            ahead = (cut[1] - cut[0]) / max(float(np.hypot(*(cut[1] - cut[0]))), 1e-6)
            _add_hedge(rng, layout, cut + np.array([-ahead[1], ahead[0]]) * (0.5 * width + 4.0))


def _add_river(rng: np.random.Generator, layout: Layout, place: Place) -> None:
    """Draw a meandering river with grassy banks and trees, or a brook."""
    height, width = place.extent_m
    reach = 0.5 * math.hypot(height, width) + MARGIN_M + 100.0
    along = np.arange(-reach, reach, 14.0)
    waves = zip((900.0, 420.0, 210.0), (95.0, 45.0, 16.0), strict=True)
    sway = sum(a * np.sin(2 * np.pi * along / (w * rng.uniform(0.8, 1.2)) + rng.uniform(0, 6)) for w, a in waves)
    offset = rng.uniform(-0.35, 0.35) * min(height, width)
    middle = (0.5 * width, 0.5 * height)
    line = turn(np.stack([along, sway + offset], axis=1), rng.uniform(0.0, np.pi)) + middle
    bed = float(rng.choice([5.0, 11.0, 18.0, 30.0]))
    layout.paint(layout.add(rng, "meadow"), *ribbon(line, bed + rng.uniform(8.0, 40.0)))
    layout.paint(layout.add(rng, "verge"), *ribbon(line, bed + 5.0))
    layout.paint(layout.add(rng, "water"), *ribbon(line, bed))
    across = rng.choice([-1.0, 1.0], (len(line), 1)) * (0.5 * bed + rng.uniform(3.0, 9.0, (len(line), 1)))
    normal = np.gradient(line, axis=0)[:, ::-1] / 14.0 * (-1.0, 1.0)
    _add_trees(rng, layout, (line + normal * across)[rng.random(len(line)) < 0.4])


def _add_quarter(rng: np.random.Generator, layout: Layout, cell: Floats) -> None:
    """Streets, plots, houses and gardens."""
    quarters, streets = divide(rng, [cell], area=9e3, jitter=0.08)
    for quarter in quarters:
        layout.paint(layout.add(rng, "garden"), dense(quarter))
        plots, _ = divide(rng, [quarter], area=float(rng.uniform(450.0, 900.0)), jitter=0.04, spread=0.2)
        for plot in plots:
            if rng.random() < 0.35:
                layout.paint(layout.add(rng, "garden"), plot)
            if rng.random() < 0.88:
                _add_house(rng, layout, plot)
            count = int(rng.poisson(0.9))
            _add_trees(rng, layout, plot.mean(axis=0) + rng.normal(0.0, 9.0, (count, 2)))
    for street in [*streets, *([cell[[0, 1]], cell[[1, 2]]] if len(cell) > 2 else [])]:
        layout.paint(layout.add(rng, "street"), *ribbon(street, rng.uniform(5.0, 8.0)))


def _add_house(rng: np.random.Generator, layout: Layout, plot: Floats) -> None:
    """House with a two-sided roof, and sometimes a shed or a paved yard."""
    angle, along, across = axes(plot)
    place = plot.mean(axis=0) + rng.normal(0.0, 2.0, 2)
    if rng.random() < 0.4:
        layout.paint(layout.add(rng, "yard"), box(place + rng.normal(0.0, 6.0, 2), 12.0, 7.0, angle))
    length = min(rng.uniform(9.0, 17.0), 0.85 * along)
    _add_building(
        rng,
        layout,
        _Plan(place, length, min(rng.uniform(6.5, 10.5), 0.6 * across), angle, rng.uniform(5.0, 9.0)),
    )
    if rng.random() < 0.4:
        aside = place + turn(np.array([[rng.uniform(-12.0, 12.0), 11.0]]), angle)[0]
        _add_building(rng, layout, _Plan(aside, rng.uniform(3.5, 7.0), rng.uniform(3.0, 5.0), angle, 2.7))


class _Plan(NamedTuple):
    """Footprint (m), direction (radians) and height (m) of a building."""

    place: Floats
    length: float
    width: float
    angle: float
    height: float
    shares: tuple[float, float, float] = (0.6, 0.3, 0.1)  # Of the roof materials.


def _add_building(rng: np.random.Generator, layout: Layout, plan: _Plan) -> None:
    """Add a building whose roof is brighter on the side of the sun (south-south-east at the overpass)."""
    roof = str(rng.choice(ROOFS, p=plan.shares))
    across = turn(np.array([[0.0, 0.25 * plan.width]]), plan.angle)[0]
    tilt = 0.22 * float(across @ (0.34, 0.94)) / (0.25 * plan.width)
    gain = math.exp(0.2 * rng.standard_normal())
    for sign in (-1.0, 1.0):
        owner = layout.add(rng, roof, gain=gain * (1.0 + sign * tilt), tall=True)
        layout.paint(owner, box(plan.place + sign * across, plan.length, 0.5 * plan.width, plan.angle))
    layout.raise_up(box(plan.place, plan.length, plan.width, plan.angle), plan.height)


def _add_farms(rng: np.random.Generator, layout: Layout, cuts: Sequence[Floats], village: Floats) -> None:
    """Farmsteads and ribbons of houses beside the roads."""
    for cut in cuts:
        ahead = cut[1] - cut[0]
        length = float(np.hypot(*ahead))
        angle = math.atan2(ahead[1], ahead[0])
        for _ in range(int(rng.poisson(length / 700.0))):
            place = cut[0] + ahead * rng.uniform(0.05, 0.95)
            place = place + turn(np.array([[0.0, rng.choice([-1.0, 1.0]) * rng.uniform(28.0, 55.0)]]), angle)[0]
            _add_farm(rng, layout, place, angle)
        near = float(np.hypot(*(cut.mean(axis=0) - village))) < 900.0
        for along in np.arange(20.0, length, 27.0) if near else ():
            if rng.random() < 0.3:
                side = float(rng.choice([-1.0, 1.0])) * rng.uniform(17.0, 24.0)
                centre = cut[0] + turn(np.array([[along, side]]), angle)[0]
                plot = box(centre, 25.0, 22.0, angle)
                layout.paint(layout.add(rng, "garden"), plot)
                _add_house(rng, layout, plot)


def _add_farm(rng: np.random.Generator, layout: Layout, place: Floats, angle: float) -> None:
    """Yard with barns, a house, grass and trees."""
    layout.paint(layout.add(rng, "garden"), box(place, rng.uniform(70.0, 100.0), rng.uniform(50.0, 70.0), angle))
    layout.paint(layout.add(rng, "yard"), box(place, rng.uniform(35.0, 60.0), rng.uniform(20.0, 35.0), angle))
    for number in range(int(rng.integers(2, 5))):
        spot = place + turn(np.array([[rng.uniform(-8.0, 8.0), 19.0 * number - 24.0]]), angle)[0]
        size = rng.uniform(20.0, 46.0), rng.uniform(11.0, 18.0)
        _add_building(rng, layout, _Plan(spot, *size, angle, rng.uniform(5.0, 8.0), (0.3, 0.35, 0.35)))
    _add_trees(rng, layout, place + rng.normal(0.0, 30.0, (int(rng.integers(3, 14)), 2)))
