"""The finer image that guides: its bands, and the grid that it gives the result."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import graph, grid, pipeline
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import BandError, CubeError, GridError
from xsr.core.plausible import COUNT, SHARE
from xsr.core.types import XarrayObject
from xsr.operations.guided.baselines import INDEX as RED_NIR
from xsr.operations.guided.planes import SAME

INDEX, BRIGHTNESS = "ndvi", 0.35
"""Name of a band that is a vegetation index, and the sum of red and near infrared of the bands that are made of it: the
mean of the guides that networks were trained on."""
EDGE_POINTS = 32
"""Points of the longer edge of an outline that is projected."""
Index = TypeVar("Index", xr.DataArray, NDArray[np.float32])


def open_guide(
    obj: XarrayObject,
    *,
    bands: Sequence[str] | None,
    optional: Sequence[str],
    units: str | float | None,
    sensor: str,
    what: str,
) -> tuple[Cube, tuple[str, ...]]:
    """Open a guide and keep those of the requested bands that it has, in that order.

    Of a guide that is a vegetation index alone, red and near infrared that have this index are made.

    Parameters
    ----------
    obj
        Reflectance.
    bands
        Canonical Sentinel-2 names; None keeps all.
    optional
        Bands among them that the guide may lack.
    units
        Units of the numbers where the metadata do not say.
    sensor
        Sensor whose names the guide uses.
    what
        What needs the bands, for the message.

    Returns
    -------
    guide : Cube
    names : tuple of str
        Canonical names of its bands.

    Raises
    ------
    BandError
        If a band is missing.
    CubeError
        If a vegetation index is none; of a lazy guide, when it is computed.
    """
    cube = open_cube(obj, units=units, watch=False)
    index = [name.lower() for name in cube.bands] == [INDEX]
    if index:
        cube = replace(cube, data=cube.data.copy(data=graph.each(checked_index, cube.data.data, np.float32)))
    else:
        cube = open_cube(obj, units=units)
    known = cube.meanings(sensor)
    if bands is None:
        return cube, known
    if index and set(RED_NIR) <= set(bands):
        return _of_index(cube), RED_NIR
    missing = [band for band in bands if band not in known and band not in optional]
    if missing:
        raise BandError(
            f"{what} needs the guide's bands {missing}; it has {list(cube.bands)} (of {sensor}). Add them, or say"
            " whose names they are with guide_sensor=."
        )
    found = tuple(band for band in bands if band in known)
    return replace(cube, data=cube.data.isel(band=[known.index(band) for band in found])), found


def checked_index(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pass a block of a vegetation index on.

    Raises
    ------
    CubeError
        If more pixels than a few lie beyond -1 to 1, which reflectance below zero in shadows and water may cause.
    """
    known = block[np.isfinite(block)]
    beyond = np.count_nonzero(np.abs(known) > 1)
    if beyond and beyond >= max(min(COUNT, known.size), SHARE * known.size):
        raise CubeError(
            f"the guide's band {INDEX!r} holds values from {known.min():.6g} to {known.max():.6g}; expected a"
            " vegetation index from -1 to 1. Say how it is stored, as by guide_units=1e-4 for one times 10000, or make"
            " its numbers for no data NaN."
        )
    return block


def _of_index(cube: Cube) -> Cube:
    """Red and near infrared whose normalised difference is the one band of a cube, and whose sum is `BRIGHTNESS`."""
    both = xr.concat(red_and_nir(cube.data), dim="band")
    return replace(cube, data=both.astype(np.float32).assign_coords(band=list(RED_NIR)))


def red_and_nir(index: Index) -> tuple[Index, Index]:
    """Red and near infrared whose normalised difference is an index, and whose sum is `BRIGHTNESS`."""
    return BRIGHTNESS / 2 * (1 - index), BRIGHTNESS / 2 * (1 + index)


def check_pixel_sizes(cube: Cube, guide: Cube) -> None:
    """Refuse a guide that is coarser than the cube where they overlap: in another CRS the ratio is another elsewhere.

    Raises
    ------
    GridError
        With the ratio of the pixel sizes.
    """
    cell = grid.between(cube.geobox, _crop(guide.geobox, cube.geobox)).cell
    if not max(cell) <= SAME:
        raise GridError(
            f"the guide's pixels measure {max(cell):.3g} of the cube's; expected finer ones. Use another guide, or"
            " interpolate."
        )


def output_grid(
    cube: Cube,
    guide: Cube,
    *,
    scale: float | None,
    resolution: float | None,
    like: XarrayObject | GeoBox | None,
) -> GeoBox:
    """Grid of the result: the guide's within the cube, or a requested one.

    Raises
    ------
    GridError
        If the guide does not overlap it.
    ParameterError
        If more than one grid is requested, or one coarser than the cube.
    """
    within = _crop(guide.geobox, cube.geobox)
    if scale is None and resolution is None and like is None:
        return within
    return pipeline.resolve_target(cube, scale=scale, resolution=resolution, like=like)[0]


def _crop(geobox: GeoBox, other: GeoBox) -> GeoBox:
    """Pixels of a grid that lie wholly within the outline of another, or of its bounding box in the grid's CRS."""
    assert geobox.crs is not None
    outline, box = other.extent, other.extent.boundingbox
    if geobox.crs != other.crs:  # its edges become curves
        outline = outline.to_crs(geobox.crs, resolution=max(box.span_x, box.span_y) / EDGE_POINTS)
    inverse = ~geobox.affine
    corners = np.array([inverse @ (x, y) for x, y in _corners(outline.boundingbox)])
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    rows, cols = (
        (max(0, math.ceil(first - grid.EDGE)), min(size, math.floor(last + grid.EDGE)))
        for first, last, size in zip((top, left), (bottom, right), geobox.shape.yx, strict=True)
    )
    if rows[0] >= rows[1] or cols[0] >= cols[1]:
        raise GridError(
            f"the guide ({geobox.extent.boundingbox} in {grid.crs_name(geobox)}) does not overlap the cube"
            f" ({other.extent.boundingbox} in {grid.crs_name(other)}). Check both CRS and extents."
        )
    return geobox[rows[0] : rows[1], cols[0] : cols[1]]


def _corners(box: Any) -> list[tuple[float, float]]:
    return [(x, y) for x in (box.left, box.right) for y in (box.bottom, box.top)]
