"""What the search reads: windows of some dates of a cube, and where their pixels lie projected to a zone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from xsr.core import graph
from xsr.core.blocks import Span, spread
from xsr.core.cube import Cube
from xsr.kernels import native as kernels
from xsr.kernels.native import Agreement, Neighbours
from xsr.operations.native.lattices import Lattice, View, own_lattice, straight_view, view

WINDOW = 256
"""Side in pixels of a window of the sample."""
WINDOWS = 3
"""Windows along each axis."""
DATES = 4
"""Dates of the sample, evenly spread."""


@dataclass(frozen=True)
class Part:
    """A window of the sample."""

    images: NDArray[np.float32]
    """Shape (date, band, h, w)."""
    rows: Span
    cols: Span
    pairs: Neighbours


@dataclass(frozen=True)
class Sample:
    """Windows of some dates of a cube, read."""

    geobox: GeoBox
    bands: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def pixels(self) -> int:
        """Number of pixels of a band."""
        return sum(part.images[:, 0].size for part in self.parts)


def read_sample(cube: Cube) -> Sample:
    """Read windows of some dates of a cube."""
    sizes = cube.data.sizes
    dates = np.unique(np.linspace(0, sizes["time"] - 1, DATES).round().astype(int))
    rows, cols = (
        spread(sizes[axis], side=WINDOW, count=min(WINDOWS, math.ceil(sizes[axis] / WINDOW))) for axis in ("y", "x")
    )
    places = list(product(rows, cols))
    chosen = cube.data.isel(time=dates)
    windows = graph.together(*(chosen.isel(y=rows.slice, x=cols.slice).data for rows, cols in places))
    parts = [
        Part(images, rows, cols, kernels.neighbours(images))
        for images, (rows, cols) in zip(windows, places, strict=True)
    ]
    return Sample(cube.geobox, cube.bands, tuple(parts))


@dataclass(frozen=True)
class Zone:
    """The sample projected to a zone."""

    sample: Sample
    crs: CRS
    views: tuple[View, ...]
    """Of each part."""
    grid: Lattice | None
    """Lattice on which the cube itself lies; None if it is on none of this zone."""

    def agreement(self, lattice: Lattice) -> Agreement:
        """Count the repeats that a lattice predicts, band by band."""
        pairs = zip(self.sample.parts, self.views, strict=True)
        first, *rest = (kernels.agreement(part.pairs, *lattice.positions(projected)) for part, projected in pairs)
        return sum(rest, start=first)

    def reproduced(
        self, lattice: Lattice, bands: Sequence[int], moved_m: tuple[float, float] = (0.0, 0.0)
    ) -> NDArray[np.float64]:
        """Share of the pixels of some bands that going to a lattice and back gives, the image moved down and right."""
        hits = np.zeros(len(bands))
        for part, projected in zip(self.sample.parts, self.views, strict=True):
            hits += kernels.reproduced(part.images[:, list(bands)], *lattice.cells(projected.moved(*moved_m)))
        return hits / self.sample.pixels

    def borders(self, lattice: Lattice, bands: Sequence[int], axis: int) -> NDArray[np.float64]:
        """Judge where pixels end along an axis; see `xsr.kernels.native.borders`."""
        positions = [lattice.positions(projected)[axis] for projected in self.views]
        pairs, chosen = [part.pairs for part in self.sample.parts], list(bands)
        known = [one.known[axis][chosen].sum(axis=0) for one in pairs]
        equal = [one.equal[axis][chosen].sum(axis=0) for one in pairs]
        return kernels.borders(positions, known, equal, axis=axis)

    def leaps(self, lattice: Lattice) -> float:
        """Judge whether neighbours differ more over skipped pixels; see `xsr.kernels.native.leaps`."""
        return kernels.leaps([part.pairs for part in self.sample.parts], [lattice.cells(v)[0] for v in self.views])


def project_straight_rows(zone: Zone, finest: Lattice) -> Zone:
    """Project the sample to its zone as a tool does that projects straight pieces of rows."""
    geobox, views = zone.sample.geobox, []
    for part in zone.sample.parts:
        y, x = (np.arange(span.start, span.stop, dtype=np.float64) for span in (part.rows, part.cols))
        views.append(straight_view(geobox, zone.crs, y, x, finest))
    return replace(zone, views=tuple(views))


def project_sample(sample: Sample, crs: CRS, sizes_m: Sequence[float]) -> Zone | None:
    """Project a sample to a zone; None where the projection is not defined."""
    views = []
    for part in sample.parts:
        y, x = (np.arange(span.start, span.stop) + 0.5 for span in (part.rows, part.cols))
        views.append(view(sample.geobox, crs, *np.meshgrid(y, x, indexing="ij")))
    if not all(np.isfinite(v).all() for projected in views for v in (projected.south, projected.east)):
        return None
    return Zone(sample, crs, tuple(views), own_lattice(sample.geobox, crs, sizes_m))
