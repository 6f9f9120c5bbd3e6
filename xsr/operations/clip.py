"""An area out of a cube: the pixels around it, and no data beyond its outline."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry

from xsr.core import graph
from xsr.core.areas import LONLAT, GeometryLike, pixel_window, project, resolve_area
from xsr.core.blocks import Padding, Span
from xsr.core.cube import open_cube
from xsr.core.errors import ParameterError
from xsr.core.grid import Refinement
from xsr.core.members import each_member
from xsr.core.names import standardise
from xsr.core.pipeline import CHUNK
from xsr.core.provenance import made_by
from xsr.core.types import Stack, XarrayObject


@each_member
def clip(
    cube: XarrayObject,
    geometry: GeometryLike,
    *,
    crs: str | int = LONLAT,
    all_touched: bool = False,
    units: str | float | None = None,
) -> XarrayObject:
    """Keep an area of a cube: its bounding box in whole pixels, with no data outside its outline.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    geometry
        Box (west, south, east, north), GeoJSON, path of a vector file, table of geopandas, or geometry of shapely or
        odc-geo.
    crs
        CRS of a box, GeoJSON or shapely geometry, by default degrees; the others name their own.
    all_touched
        Keep every pixel that the area touches, instead of those whose centre lies inside.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.

    Returns
    -------
    DataArray or Dataset
        As the input, float32, lazy if the input is. Coordinates over y and x, such as ``valid`` and ``scl``, are cut to
        the box and keep their values.

    Raises
    ------
    ParameterError
        If the area is empty, cannot be read, crosses the antimeridian or lies outside the cube.
    CubeError, GridError
        If the cube breaks the contract; see `xsr.core.cube.open_cube`.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32))
    >>> west, south, east, north = cube.odc.geobox.boundingbox
    >>> part = cube.sr.clip((west + 50, south + 100, east, north), crs=cube.odc.crs.to_wkt())
    >>> dict(part.sizes)
    {'time': 1, 'band': 4, 'y': 22, 'x': 27}
    """
    cube, _, names = standardise(cube)
    opened = open_cube(cube, units=units)
    boxed = isinstance(geometry, Sequence | np.ndarray) and not isinstance(geometry, str)
    area = resolve_area(_corners(geometry), None, crs=crs) if boxed else resolve_area(None, geometry, crs=crs)
    if area is None:
        raise ParameterError("geometry=None; expected an area: a box, GeoJSON, a vector file or a geometry.")
    area = project(area, opened.geobox.crs)
    rows, cols = pixel_window(area, opened.geobox)
    geobox = opened.geobox[rows, cols]
    pixels = opened.data.isel(y=rows, x=cols)
    shape = (geobox.shape.y, geobox.shape.x)
    chunks = (CHUNK, CHUNK) if pixels.chunks is None else pixels.chunks[2:]
    plan = graph.make_plan(Refinement(shape, (1.0, 1.0)), shape, halo=0, chunks=chunks)
    kept = graph.run(Clipping(area, geobox, all_touched), pixels.data, plan)
    result = opened.rewrap(kept, geobox, made_by("clip") | opened.scale_made)
    y, x = opened.spatial
    if opened.flipped:
        rows = slice(cube.sizes[y] - rows.stop, cube.sizes[y] - rows.start)
    over = {n: c for n, c in cube.coords.items() if {y, x} <= set(c.dims) and n not in result.coords}
    cut = {name: coord.variable.isel({y: rows, x: cols}) for name, coord in over.items()}
    return names.restore(result.assign_coords(cut))


def _corners(values: Sequence[float]) -> Sequence[float]:
    if not all(isinstance(value, Real) for value in values):
        raise ParameterError(f"geometry={values!r}; expected a box of four numbers, or one geometry. Join several.")
    return values


@dataclass(frozen=True)
class Clipping:
    """Block function: no data outside an area, on the grid itself."""

    area: Geometry
    """Area in the CRS of the grid."""
    geobox: GeoBox
    """Grid of the block."""
    all_touched: bool
    halo: int = 0
    padding: Padding = "edge"

    def place(self, dates: Span, rows: Span, cols: Span) -> "Clipping":
        """Bind to a rectangle of pixels."""
        return Clipping(self.area, self.geobox[rows.slice, cols.slice], self.all_touched)

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        from rasterio.features import geometry_mask

        outside = geometry_mask(
            [self.area.json], self.geobox.shape.yx, self.geobox.affine, all_touched=self.all_touched
        )
        y, x = np.rint(rows).astype(np.int64), np.rint(cols).astype(np.int64)
        return np.where(outside, np.float32(np.nan), window[:, :, y[:, None], x])
