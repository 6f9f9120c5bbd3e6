"""Grids: the finer GeoBox of a scale, and where its pixels lie in the cube.

Pixels are areas. Pixel ``i`` has its centre at pixel coordinate ``i`` and covers ``[i - 0.5, i + 0.5)``. For scale
``s`` the output resolution is exactly ``gsd / s``, anchored at the top-left corner of the input, with
``floor(n * s + 1e-6)`` pixels; the centre of output pixel ``j`` lies at ``(j + 0.5) / s - 0.5``.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from xsr.core.blocks import Span, Window
from xsr.core.errors import GridError, ParameterError

Positions = NDArray[np.float64]
Bounds = tuple[float, float]
EDGE = 1e-6
"""Share of a pixel by which a grid may overhang the input before a pixel counts as outside."""
STEPS = 2.0**30
"""Positions are whole multiples of ``1 / STEPS`` pixels: moving them by whole pixels is then exact, so that every block
computes the same weights, and a position between two pixels falls to the same one."""


class Query(Protocol):
    """The positions of one block's output pixels in the cube."""

    def positions(self) -> tuple[Positions, Positions]:
        """Row and column positions in input pixels: (H,) and (W,) for a grid, both (H, W) for points."""

    def bounds(self) -> tuple[Bounds, Bounds]:
        """Least and greatest row position, least and greatest column position."""


class Sampling(Protocol):
    """Where all output pixels lie in the cube."""

    @property
    def shape(self) -> tuple[int, int]:
        """Output shape (y, x)."""

    @property
    def cell(self) -> tuple[float, float]:
        """Size of an output pixel in input pixels, (y, x)."""

    def query(self, rows: Span, cols: Span) -> Query:
        """Positions of a rectangle of output pixels."""

    def lattice(self, shape: tuple[int, int], margin: int) -> tuple[Span, Span]:
        """Rows and columns of the grid, continued by up to ``margin`` pixels where these may lie in a cube of a shape.

        A filter over output pixels reads them, so that it does not depend on where the grid ends.
        """


@dataclass(frozen=True)
class GridQuery:
    """Rectangle of a `Refinement`."""

    rows: Span
    cols: Span
    step: tuple[float, float]
    origin: tuple[float, float]

    def positions(self) -> tuple[Positions, Positions]:
        """Row positions (H,) and column positions (W,)."""
        axes = zip((self.rows, self.cols), self.step, self.origin, strict=True)
        y, x = (
            _snap((np.arange(s.start, s.stop, dtype=np.float64) + 0.5) * step + origin - 0.5)
            for s, step, origin in axes
        )
        return y, x

    def bounds(self) -> tuple[Bounds, Bounds]:
        """Least and greatest positions."""
        y, x = self.positions()
        return _bounds(y), _bounds(x)


@dataclass(frozen=True)
class Refinement:
    """Output grid parallel to the input's: positions are separable."""

    shape: tuple[int, int]
    cell: tuple[float, float]
    origin: tuple[float, float] = (0.0, 0.0)
    """Top-left corner of the output, in input pixels from the input's top-left corner, (y, x)."""

    def query(self, rows: Span, cols: Span) -> GridQuery:
        """Positions of a rectangle of output pixels."""
        return GridQuery(rows, cols, self.cell, self.origin)

    def lattice(self, shape: tuple[int, int], margin: int) -> tuple[Span, Span]:
        """Rows and columns of the grid and beyond, as far as the cube."""
        before, after = Span(-margin, 0), (Span(size, size + margin) for size in self.shape)
        firsts = self.query(before, before).positions()
        lasts = self.query(*after).positions()
        rows, cols = (
            Span(-int(inside(first, limit).sum()), size + int(inside(last, limit).sum()))
            for first, last, limit, size in zip(firsts, lasts, shape, self.shape, strict=True)
        )
        return rows, cols


@dataclass(frozen=True)
class WarpQuery:
    """Rectangle of a `Warp`."""

    source: GeoBox
    target: GeoBox
    """The whole output grid: positions count from its corner in every block, and round the same way."""
    rows: Span
    cols: Span

    def positions(self) -> tuple[Positions, Positions]:
        """Row and column positions, both (H, W); infinite where the projection is undefined."""
        x, y = np.meshgrid(*self._centres()[::-1])
        return project(self.target, self.source, y, x)

    def bounds(self) -> tuple[Bounds, Bounds]:
        """Least and greatest positions: from the outline where the projection is continuous, else from all."""
        y, x = self._centres()
        outline_y = np.concatenate([np.full(x.size, y[0]), np.full(x.size, y[-1]), y, y])
        outline_x = np.concatenate([x, x, np.full(y.size, x[0]), np.full(y.size, x[-1])])
        rows, cols = project(self.target, self.source, outline_y, outline_x)
        if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
            rows, cols = self.positions()
        return _bounds(rows), _bounds(cols)

    def _centres(self) -> tuple[Positions, Positions]:
        y, x = (np.arange(span.start, span.stop, dtype=np.float64) + 0.5 for span in (self.rows, self.cols))
        return y, x


@dataclass(frozen=True)
class Warp:
    """Output grid in another CRS, or rotated against the input: every pixel has a position of its own."""

    source: GeoBox
    target: GeoBox

    @property
    def shape(self) -> tuple[int, int]:
        """Output shape (y, x)."""
        height, width = self.target.shape.yx
        return height, width

    @property
    def cell(self) -> tuple[float, float]:
        """Size of the output pixel at the middle of the output, in input pixels."""
        y, x = self.shape[0] / 2, self.shape[1] / 2
        rows, cols = project(
            self.target, self.source, np.array([y - 0.5, y + 0.5, y, y]), np.array([x, x, x - 0.5, x + 0.5])
        )
        down = math.hypot(rows[1] - rows[0], cols[1] - cols[0])
        across = math.hypot(rows[3] - rows[2], cols[3] - cols[2])
        return down, across

    def query(self, rows: Span, cols: Span) -> WarpQuery:
        """Positions of a rectangle of output pixels."""
        return WarpQuery(self.source, self.target, rows, cols)

    def lattice(self, shape: tuple[int, int], margin: int) -> tuple[Span, Span]:
        """Rows and columns of the grid and all around it: what lies outside the cube is masked."""
        rows, cols = (Span(-margin, size + margin) for size in self.shape)
        return rows, cols


@dataclass(frozen=True)
class PointQuery:
    """Scattered points, arranged as one row."""

    rows: Positions
    cols: Positions

    def positions(self) -> tuple[Positions, Positions]:
        """Row and column positions, both (1, n)."""
        return self.rows[None, :], self.cols[None, :]

    def bounds(self) -> tuple[Bounds, Bounds]:
        """Least and greatest positions."""
        return _bounds(self.rows), _bounds(self.cols)


@dataclass(frozen=True)
class Points:
    """Scattered positions in input pixels, as an output of shape (1, n)."""

    rows: Positions
    cols: Positions
    cell: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """Output shape (1, n)."""
        return 1, self.rows.size

    def query(self, rows: Span, cols: Span) -> PointQuery:
        """Positions of a range of points."""
        return PointQuery(self.rows[cols.slice], self.cols[cols.slice])

    def lattice(self, shape: tuple[int, int], margin: int) -> tuple[Span, Span]:
        """Points have no others around them."""
        return Span(0, 1), Span(0, self.rows.size)


@dataclass(frozen=True)
class Continued:
    """A grid and pixels around it, whose positions are those of the grid continued."""

    inner: Sampling
    rows: Span
    """Rows of the inner grid; those before it are negative."""
    cols: Span

    @property
    def shape(self) -> tuple[int, int]:
        """Output shape (y, x)."""
        return len(self.rows), len(self.cols)

    @property
    def cell(self) -> tuple[float, float]:
        """That of the inner grid."""
        return self.inner.cell

    def query(self, rows: Span, cols: Span) -> Query:
        """Positions of a rectangle of output pixels."""
        y, x = self.rows.start, self.cols.start
        return self.inner.query(Span(rows.start + y, rows.stop + y), Span(cols.start + x, cols.stop + x))

    def lattice(self, shape: tuple[int, int], margin: int) -> tuple[Span, Span]:
        """Rows and columns of the grid and beyond, as far as those of the inner grid go."""
        around = max(-self.rows.start, -self.cols.start, *(b.stop - n for b, n in self._ends))
        farthest = self.inner.lattice(shape, margin + around)
        rows, cols = (
            Span(max(far.start - own.start, -margin), min(far.stop - own.start, len(own) + margin))
            for far, own in zip(farthest, (self.rows, self.cols), strict=True)
        )
        return rows, cols

    @property
    def _ends(self) -> list[tuple[Span, int]]:
        return list(zip((self.rows, self.cols), self.inner.shape, strict=True))

    @property
    def inside(self) -> tuple[slice, slice]:
        """Where the inner grid lies in this one."""
        y, x = (slice(-own.start, size - own.start) for own, size in self._ends)
        return y, x


@lru_cache(maxsize=16)
def _transformer(source: str, target: str) -> Any:
    from pyproj import Transformer

    return Transformer.from_crs(source, target, always_xy=True)


def project(from_box: GeoBox, to_box: GeoBox, y: Positions, x: Positions) -> tuple[Positions, Positions]:
    """Map pixel-corner coordinates of one GeoBox to pixel-centre positions (rows, cols) in another."""
    east, north = _apply(from_box.affine, x, y)
    if from_box.crs != to_box.crs:
        east, north = _transformer(str(from_box.crs), str(to_box.crs)).transform(east, north)
    with np.errstate(invalid="ignore"):  # undefined positions are infinite, and 0 * inf is NaN
        col, row = _apply(~to_box.affine, east, north)
    return _snap(row - 0.5), _snap(col - 0.5)


def project_points(geobox: GeoBox, x: Positions, y: Positions) -> tuple[Positions, Positions]:
    """Map coordinates to pixel-centre positions (rows, cols)."""
    col, row = _apply(~geobox.affine, x, y)
    return _snap(row - 0.5), _snap(col - 0.5)


def reproject_points(crs: str | int, geobox: GeoBox, x: Positions, y: Positions) -> tuple[Positions, Positions]:
    """Bring coordinates in any CRS to that of a grid; what has no place there is infinite.

    Raises
    ------
    ParameterError
        If the CRS is unknown, or the grid has none.
    """
    from pyproj.exceptions import CRSError

    if geobox.crs is None:
        raise ParameterError(f"crs={crs!r} with a cube that has no CRS. Assign one with .odc.assign_crs(...).")
    name = f"EPSG:{crs}" if isinstance(crs, int) else str(crs)
    try:
        east, north = _transformer(name, str(geobox.crs)).transform(x, y)
    except CRSError as error:
        raise ParameterError(f"crs={crs!r} is unknown: {error}. Expected one such as 'EPSG:4326'.") from error
    return np.asarray(east), np.asarray(north)


def _snap(position: Positions) -> Positions:
    return np.asarray(np.rint(position * STEPS) / STEPS, np.float64)


def _apply(affine: Affine, x: Positions, y: Positions) -> tuple[Positions, Positions]:
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def resolution(geobox: GeoBox) -> tuple[float, float]:
    """Pixel size (y, x) in CRS units, always positive, also for rotated grids."""
    a = geobox.affine
    return math.hypot(a.b, a.e), math.hypot(a.a, a.d)


def crs_name(geobox: GeoBox) -> str:
    """Name the CRS for a message: its EPSG code if it has one, because its text fills a screen."""
    crs = geobox.crs
    return "no CRS" if crs is None else f"EPSG:{crs.epsg}" if crs.epsg else str(crs)


def utm_equator_m(crs: CRS) -> float | None:
    """Northing of the equator in a zone of the Universal Transverse Mercator projection; None in any other CRS.

    Recognised by the parameters, since zones of national datums, and those that software writes anew, have other names.

    Examples
    --------
    >>> from odc.geo.crs import CRS
    >>> utm_equator_m(CRS("EPSG:32631")), utm_equator_m(CRS("EPSG:28355")), utm_equator_m(CRS("EPSG:3857"))
    (0.0, 10000000.0, None)
    """
    operation = crs.proj.coordinate_operation if crs.projected and "metre" in crs.units else None
    if operation is None or operation.method_name != "Transverse Mercator":
        return None
    known = {one.name: float(one.value) for one in operation.params}
    zone = (known.get("Longitude of natural origin", math.nan) - 3) / 6
    fixed = [known.get(name) for name in ("Latitude of natural origin", "Scale factor at natural origin")]
    north = known.get("False northing")
    usual = zone == round(zone) if math.isfinite(zone) else False
    shifted = known.get("False easting") == 500_000.0 and north in (0.0, 10_000_000.0)
    return north if usual and shifted and fixed == [0.0, 0.9996] else None


def refine(geobox: GeoBox, scale: tuple[float, float]) -> GeoBox:
    """Finer GeoBox for a scale (y, x): exact resolution, same top-left corner, whole pixels inside the input.

    Raises
    ------
    GridError
        If not a single output pixel fits into the input.
    """
    height, width = (math.floor(n * s + EDGE) for n, s in zip(geobox.shape.yx, scale, strict=True))
    if height < 1 or width < 1:
        raise GridError(f"scale {scale} leaves {height} x {width} pixels; expected at least one. Use a larger scale.")
    a, (down, across) = geobox.affine, scale
    affine = Affine(a.a / across, a.b / down, a.c, a.d / across, a.e / down, a.f)
    return GeoBox((height, width), affine, geobox.crs)


def coarsen(geobox: GeoBox, scale: float, *, shape: tuple[int, int] | None = None) -> tuple[GeoBox, Refinement]:
    """Coarser GeoBox and the centres of its pixels: exact resolution, same top-left corner, whole pixels inside.

    Parameters
    ----------
    geobox
        Grid to coarsen.
    scale
        Linear factor between the pixel sizes, >= 1.
    shape
        Fewer pixels (y, x) than fit, counted from the top-left corner.

    Raises
    ------
    ParameterError
        Unless the factor is a finite number of at least 1.
    GridError
        If not a single output pixel fits into the input.
    """
    if not (math.isfinite(scale) and scale >= 1):
        raise ParameterError(f"scale={scale!r}; expected a finite number of at least 1: this operation coarsens.")
    s = float(scale)
    height, width = shape or tuple(math.floor(n / s + EDGE) for n in geobox.shape.yx)
    if height < 1 or width < 1:
        raise GridError(
            f"scale {scale:g} leaves {height} x {width} pixels of {geobox.shape.y} x {geobox.shape.x}; expected at"
            " least one. Use a smaller scale or a larger cube."
        )
    a = geobox.affine
    affine = Affine(a.a * s, a.b * s, a.c, a.d * s, a.e * s, a.f)
    return GeoBox((height, width), affine, geobox.crs), Refinement((height, width), (s, s))


def target_grid(
    geobox: GeoBox, *, scale: float | None, resolution_m: float | None, like: GeoBox | None
) -> tuple[GeoBox, Sampling]:
    """Resolve ``scale=``, ``resolution=`` or ``like=`` to an output GeoBox and its positions in the input.

    Raises
    ------
    ParameterError
        Unless exactly one of the three is given, positive and finite; or if the target is coarser than the input.
    GridError
        If the target does not overlap the input.
    """
    given = [n for n, v in (("scale", scale), ("resolution", resolution_m), ("like", like)) if v is not None]
    if len(given) != 1:
        raise ParameterError(
            f"{' and '.join(given) or 'nothing'} given; expected exactly one of scale=, resolution= or like=."
        )
    if like is not None:
        return like, _sampling(geobox, like)
    size = resolution(geobox)
    value = positive_number(given[0], scale if scale is not None else resolution_m)
    factors = (value, value) if scale is not None else (size[0] / value, size[1] / value)
    if scale is None:
        unit = "units" if geobox.crs is None else "degrees" if geobox.crs.geographic else f"{geobox.crs.units[0]}s"
        sizes = " x ".join(f"{side:.6g}" for side in size)
        note = f" resolution={value:g} is in the {unit} of the cube's CRS, as its pixels of {sizes}."
        _refuse_coarser((1 / factors[0], 1 / factors[1]), note=note)
    else:
        _refuse_coarser((1 / factors[0], 1 / factors[1]), tolerance=0.0)
    target = refine(geobox, factors)
    height, width = target.shape.yx
    return target, Refinement((height, width), (1 / factors[0], 1 / factors[1]))


def positive_number(name: str, value: object) -> float:
    """Check a number that a user gave.

    Raises
    ------
    ParameterError
        Unless it is a positive, finite number.
    """
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and number > 0):
        raise ParameterError(f"{name}={value!r}; expected a positive, finite number.")
    return number


def between(source: GeoBox, target: GeoBox) -> Sampling:
    """Where the pixels of one grid lie in another, whichever is finer."""
    height, width = target.shape.yx
    a, b = source.affine, target.affine
    parallel = source.crs == target.crs and not any((a.b, a.d, b.b, b.d)) and a.a * b.a > 0 and a.e * b.e > 0
    if not parallel:
        return Warp(source, target)
    return Refinement((height, width), (b.e / a.e, b.a / a.a), ((b.f - a.f) / a.e, (b.c - a.c) / a.a))


def _sampling(source: GeoBox, target: GeoBox) -> Sampling:
    if target.crs is None:
        raise GridError("like= has no CRS; expected a georeferenced grid. Assign one with .odc.assign_crs(...).")
    height, width = target.shape.yx
    sampling = between(source, target)
    _refuse_coarser(sampling.cell)
    if input_window(sampling.query(Span(0, height), Span(0, width)), source.shape.yx, 0) is None:
        raise GridError(
            f"like= ({_extent(target)}) does not overlap the cube ({_extent(source)}). Check both CRS and extents."
        )
    return sampling


def _extent(geobox: GeoBox) -> str:
    """Bounding box and CRS for a message."""
    left, bottom, right, top = geobox.extent.boundingbox.bbox
    return f"x {left:.10g} to {right:.10g}, y {bottom:.10g} to {top:.10g} in {crs_name(geobox)}"


def _refuse_coarser(cell: tuple[float, float], *, tolerance: float = 0.01, note: str = "") -> None:
    if not max(cell) <= 1 + tolerance:
        raise ParameterError(
            f"the target pixel measures {cell[0]:.6g} x {cell[1]:.6g} input pixels; expected at most 1: this operation"
            f" refines. Coarsening needs an anti-aliasing filter: use degrade or a reprojection that averages.{note}"
        )


def input_window(query: Query, shape: tuple[int, int], halo: int) -> Window | None:
    """Input window of a query with ``halo`` pixels around the pixels next to each position.

    Returns
    -------
    Window or None
        None if no position lies inside the input.
    """
    found = [_around(bounds, size, halo) for bounds, size in zip(query.bounds(), shape, strict=True)]
    return None if found[0] is None or found[1] is None else Window(found[0], found[1])


def inside(position: Positions, size: int) -> NDArray[np.bool_]:
    """Whether positions lie within an axis of ``size`` pixels."""
    return (position >= -0.5 - EDGE) & (position <= size - 0.5 + EDGE)


def clip_inside(position: Positions, size: int, window: Span, halo: int) -> Positions:
    """Positions in pixels of a window of `input_window`; those outside the axis, or undefined, move to its border."""
    least = max(-0.5, window.start + halo)
    greatest = min(size - 0.5, window.stop - 1 - halo) - 1 / STEPS
    return np.clip(np.nan_to_num(position, nan=least, posinf=greatest, neginf=least), least, greatest) - window.start


def _around(bounds: Bounds, size: int, halo: int) -> Span | None:
    low, high = max(bounds[0], -0.5), min(bounds[1], size - 0.5)
    if not low - EDGE <= high:
        return None
    return Span(math.floor(low) - halo, math.floor(high) + 2 + halo)


def _bounds(position: Positions) -> Bounds:
    finite = position[np.isfinite(position)]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.inf, -math.inf)
