"""Lattices of sensors' pixels: in which zones and at which places the pixels of an image may have been.

The tiles of Sentinel-2 begin at multiples of 60 m east of a zone's false origin and of 60 m from the equator, so that
the pixels of 10, 20 and 60 m do, too. The corners of Landsat's pixels lie 15 m beside multiples of 30 m.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from xsr.core import checks
from xsr.core.areas import LONLAT
from xsr.core.errors import ParameterError
from xsr.core.grid import project, utm_equator_m
from xsr.kernels.native import Cells

SIZES_M = (10.0, 20.0, 30.0, 60.0)
"""Pixel sizes that are tried: Sentinel-2's and Landsat's."""
LANDSAT_M = 30.0
TOLERANCE = 0.125
"""Source pixels by which GDAL's projections may be off, by default."""
NEAR = 1e-6
"""Share of a pixel within which a grid is on a lattice."""


@dataclass(frozen=True)
class Lattice:
    """Square pixels without end, in metres from the equator and from the false origin of a CRS."""

    size_m: float
    down_m: float = 0.0
    """First border of a pixel south of the equator."""
    right_m: float = 0.0
    """First border of a pixel east of the false origin."""

    def positions(self, view: "View") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positions in pixels, from a corner of one."""
        return (view.south - self.down_m) / self.size_m, (view.east - self.right_m) / self.size_m

    def cells(self, view: "View") -> tuple[Cells, NDArray[np.float64]]:
        """Pixel (row, column) in which each position lies, and how far from its centre, in pixels."""
        rows, cols = self.positions(view)
        y, x = np.floor(rows), np.floor(cols)
        distance = np.maximum(np.abs(rows - y - 0.5), np.abs(cols - x - 0.5))
        return (y.astype(np.int64), x.astype(np.int64)), distance

    def nests_in(self, coarser: "Lattice") -> bool:
        """Whether the pixels of another lattice are whole blocks of those of this one."""
        steps = np.array([coarser.size_m, coarser.down_m - self.down_m, coarser.right_m - self.right_m]) / self.size_m
        return bool(np.all(np.abs(steps - np.rint(steps)) < NEAR))

    def inner(self, size_m: float) -> "Lattice":
        """Smaller pixels that begin where some of these do."""
        return Lattice(size_m, self.down_m % size_m, self.right_m % size_m)

    def first(self, target: GeoBox, crs: CRS) -> tuple[float, float]:
        """Metres, down and right, from the corner of a grid to the first border of a pixel."""
        origin, corner = _unit_box(crs).affine, target.affine
        return (self.down_m - origin.f + corner.f) % self.size_m, (self.right_m - corner.c) % self.size_m

    def blocks(self, size_m: float) -> list["Lattice"]:
        """Every way to join these pixels to larger ones."""
        count = round(size_m / self.size_m)
        steps = [step * self.size_m for step in range(count)]
        places = [((self.down_m + y) % size_m, (self.right_m + x) % size_m) for y in steps for x in steps]
        return [Lattice(size_m, *place) for place in sorted(places)]


@dataclass(frozen=True)
class View:
    """Output pixels projected to a zone: metres south of the equator and east of the false origin, both (h, w)."""

    south: NDArray[np.float64]
    east: NDArray[np.float64]

    def moved(self, down_m: float, right_m: float) -> "View":
        """Move all pixels."""
        return View(self.south + down_m, self.east + right_m)


def nominal(sizes_m: Sequence[float]) -> list[Lattice]:
    """Where pixels of these sizes lie in the products of Sentinel-2 and Landsat."""
    found = [Lattice(size) for size in sizes_m]
    return found + [Lattice(size, size / 2, size / 2) for size in sizes_m if size == LANDSAT_M]


def candidates(geobox: GeoBox) -> list[CRS]:
    """UTM zone of the centre of a grid, then its neighbours, in the hemisphere of the centre.

    Over a border of hemispheres the zones of both have the same pixels of 10, 20 and 30 m.
    """
    height, width = geobox.shape.yx
    middle = np.array([height / 2]), np.array([width / 2])
    lat, lon = (float(v[0]) + 0.5 for v in project(geobox, _unit_box(CRS(LONLAT)), *middle))
    zone = math.floor((lon + 180) / 6) % 60
    base = 32600 if -lat >= 0 else 32700
    found = [CRS(f"EPSG:{base + (zone + step) % 60 + 1}") for step in (0, -1, 1)]
    own = geobox.crs
    known = own is not None and utm_equator_m(own) is not None
    return [own, *(crs for crs in found if crs != own)] if own is not None and known else found


def resolve_crs(given: object) -> CRS:
    """Resolve ``crs=`` to a projected CRS in metres.

    Raises
    ------
    ParameterError
        If it is none.
    """
    try:
        crs = CRS(f"EPSG:{given}" if isinstance(given, Integral) else given)
    except Exception as error:  # pyproj and odc-geo have no error in common
        raise ParameterError(f"crs={given!r}; expected a CRS, such as 'EPSG:32631'.") from error
    if not crs.projected or "metre" not in crs.units:
        raise ParameterError(f"crs={given!r} is not in metres; expected the UTM zone of the sensor's own pixels.")
    return crs


def _unit_box(crs: CRS) -> GeoBox:
    """One pixel of one unit at the origin of a CRS; in a southern zone at its equator."""
    return GeoBox((1, 1), Affine(1, 0, 0, 0, -1, utm_equator_m(crs) or 0), crs)


def straight_view(
    geobox: GeoBox, crs: CRS, rows: NDArray[np.float64], cols: NDArray[np.float64], finest: Lattice
) -> View:
    """Project pixels of a grid to a zone as GDAL does; see `project_straight`."""
    unit = _unit_box(crs)
    scaled = GeoBox((1, 1), unit.affine @ Affine.scale(finest.size_m), crs)
    south, east = project_straight(geobox, scaled, rows, cols)
    return View((south + 0.5) * finest.size_m, (east + 0.5) * finest.size_m)


def view(geobox: GeoBox, crs: CRS, y: NDArray[np.float64], x: NDArray[np.float64]) -> View:
    """Project pixels of a grid to a zone.

    Parameters
    ----------
    geobox
        Grid.
    crs
        Zone.
    y, x
        Pixel-corner coordinates in the grid, of one shape.
    """
    south, east = project(geobox, _unit_box(crs), y, x)
    return View(south + 0.5, east + 0.5)


def project_straight(
    source: GeoBox, target: GeoBox, rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project pixels of a grid as GDAL does by default: along straight pieces of each row.

    A row is halved until its middle lies within an eighth of a target pixel of the line between its ends.

    Parameters
    ----------
    source, target
        Grids.
    rows, cols
        Whole numbers of pixels, (h,) and (w,).

    Returns
    -------
    ndarray, ndarray
        Row and column positions (h, w) of pixel centres in ``target``.
    """
    middle = np.full(1, source.shape.y / 2)
    ends = _pieces(source, target, middle, 0, source.shape.x)
    first, last = (np.array(side) for side in zip(*ends, strict=True))
    piece = np.clip(np.searchsorted(first, cols, side="right") - 1, 0, len(first) - 1)
    y = np.broadcast_to(rows[:, None] + 0.5, (len(rows), len(first)))
    starts, stops = (project(source, target, y, np.broadcast_to(x + 0.5, y.shape)) for x in (first, last - 1))
    share = (cols - first[piece]) / np.maximum(last[piece] - 1 - first[piece], 1)
    down, right = (a[:, piece] + share * (b - a)[:, piece] for a, b in zip(starts, stops, strict=True))
    return down, right


def _pieces(source: GeoBox, target: GeoBox, row: NDArray[np.float64], start: int, stop: int) -> list[tuple[int, int]]:
    """Halve a range of columns until a row of it is straight."""
    count = stop - start
    at = np.array([start, start + (count - 1) // 2, stop - 1]) + 0.5
    y, x = project(source, target, np.broadcast_to(row, at.shape), at)
    share = (at[1] - at[0]) / max(at[2] - at[0], 1)
    bent = sum(abs(v[1] - v[0] - share * (v[2] - v[0])) for v in (y, x))
    if count < 6 or not bent > TOLERANCE:
        return [(start, stop)]
    half = start + (count - 1) // 2
    return [*_pieces(source, target, row, start, half), *_pieces(source, target, row, half, stop)]


def own_lattice(geobox: GeoBox, crs: CRS, sizes_m: Sequence[float]) -> Lattice | None:
    """Lattice of the pixels of a grid itself, if it has one of the sizes, in a zone and along its axes."""
    a = geobox.affine
    fitting = [size for size in sizes_m if max(abs(a.a - size), abs(a.e + size)) < NEAR * size]
    if geobox.crs != crs or a.b or a.d or not fitting:
        return None
    size, origin = fitting[0], _unit_box(crs).affine
    down, right = ((round(place / NEAR) * NEAR) % size for place in (origin.f - a.f, a.c - origin.c))
    return Lattice(size, down, right)


def box(geobox: GeoBox, crs: CRS, lattice: Lattice, coarsest: Lattice) -> GeoBox:
    """Smallest grid of a lattice that holds the centres of all pixels of a grid, and whole pixels of a coarser lattice.

    Parameters
    ----------
    geobox
        Grid.
    crs
        Zone.
    lattice
        Lattice of the grid to make.
    coarsest
        Lattice of the largest pixels that are on it.
    """
    height, width = geobox.shape.yx
    rows, cols = np.arange(height) + 0.5, np.arange(width) + 0.5
    y = np.concatenate([rows, rows, np.full(width, 0.5), np.full(width, height - 0.5)])
    x = np.concatenate([np.full(height, 0.5), np.full(height, width - 0.5), cols, cols])
    (south, east), size = coarsest.positions(view(geobox, crs, y, x)), coarsest.size_m
    top, left = math.floor(south.min()), math.floor(east.min())
    shape = [
        round((math.floor(last) + 1 - first) * size / lattice.size_m)
        for first, last in ((top, south.max()), (left, east.max()))
    ]
    north = _unit_box(crs).affine.f - coarsest.down_m - top * size
    affine = Affine(lattice.size_m, 0, coarsest.right_m + left * size, 0, -lattice.size_m, north)
    return GeoBox((shape[0], shape[1]), affine, crs)


def resolve_sizes(given: float | Sequence[float] | None) -> tuple[float, ...]:
    """Resolve ``gsd=`` to pixel sizes in metres, ascending.

    Raises
    ------
    ParameterError
        Unless they are positive numbers.
    """
    if given is None:
        return SIZES_M
    listed = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
    found = checks.several("gsd", given) if listed else (given,)
    sizes = {checks.positive("gsd", size, what="a pixel size in metres, or several") for size in found}
    if not sizes:
        raise ParameterError("gsd is empty; expected a pixel size in metres, or several.")
    return tuple(sorted(sizes))
