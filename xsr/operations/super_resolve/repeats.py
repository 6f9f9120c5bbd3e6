"""Bands that repeat larger pixels, which no network was trained on: interpolated to the grid."""

import math
from dataclasses import replace

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import pipeline
from xsr.core.cube import Cube
from xsr.core.grid import Refinement, resolution
from xsr.kernels.resample import Interpolation, interpolate_filled

MOST = 0.9
"""Share of the pixels that must repeat: around no data that was filled, some do not."""
REPEATS = 3
"""Own pixels around a band that interpolation depends on, and the rest of one."""


def smooth_repeats(cube: Cube, method: str) -> Cube:
    """Interpolate the own pixels of the bands that `xsr.native` found to repeat larger ones.

    Parameters
    ----------
    cube
        Validated cube; returned unchanged where no band is known to repeat pixels.
    method
        Interpolation from a band's own pixels to the grid.

    Returns
    -------
    Cube
        On the same grid; lazy if the cube is.
    """
    corner = cube.native_corner
    if corner is None:
        return cube
    sides = [_side(size, resolution(cube.geobox)[0]) for size in cube.native_gsd]
    parts, order = [], []
    for side in sorted(set(sides)):
        bands = [band for band, one in enumerate(sides) if one == side]
        part = cube.data.isel(band=bands)
        parts.append(part if side == 1 else _smooth(cube, part, side, corner, method))
        order += bands
    data = parts[0] if len(parts) == 1 else xr.concat(parts, dim="band", coords="minimal", compat="override")
    return replace(cube, data=data.isel(band=np.argsort(order))).without_corner()


def repeats(image: NDArray[np.float32], side: int, corner: tuple[int, int]) -> bool:
    """Whether a band (h, w) repeats its own pixels; see `interpolated`. One of a single own pixel does not."""
    whole, own = _own(image, side, corner)
    return own.size > 1 and bool(np.mean(whole == own.repeat(side, 0).repeat(side, 1)) >= MOST)


def interpolated(image: NDArray[np.float32], side: int, corner: tuple[int, int]) -> NDArray[np.float32]:
    """Interpolate the own pixels of a band (h, w) that repeats them.

    Parameters
    ----------
    image
        Finite, with `REPEATS` own pixels around what is to be right.
    side
        Of the own pixels, in pixels of the grid.
    corner
        First pixel (row, column), counted from a corner of them.
    """
    _, own = _own(image, side, corner)
    rows, cols = (
        (np.arange(size) + first % side - side * bool(first % side) + 0.5) / side - 0.5 + REPEATS
        for size, first in zip(image.shape, corner, strict=True)
    )
    return np.asarray(interpolate_filled(np.pad(own, REPEATS, mode="edge")[None], rows, cols, "bicubic")[0])


def _own(
    image: NDArray[np.float32], side: int, corner: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Part of an image that consists of whole own pixels, and those, the first of each."""
    starts = [-first % side for first in corner]
    counts = [(size - start) // side for size, start in zip(image.shape, starts, strict=True)]
    rows, cols = (slice(start, start + side * count) for start, count in zip(starts, counts, strict=True))
    whole = image[rows, cols]
    return whole, whole[::side, ::side]


def _side(size_m: float, gsd_m: float) -> int:
    """Side of a band's own pixels in pixels of the grid; 1 where it is unknown or no whole number."""
    ratio = size_m / gsd_m if math.isfinite(size_m) else 1.0
    return max(1, round(ratio)) if abs(ratio - round(ratio)) < 1e-6 else 1


def _smooth(cube: Cube, part: xr.DataArray, side: int, corner: tuple[float, float], method: str) -> xr.DataArray:
    """Take every pixel once and interpolate to the grid."""
    col, row = ~cube.geobox.affine @ corner
    starts = [(round(place) % side) - side if round(place) % side else 0 for place in (row, col)]
    height, width = cube.geobox.shape.yx
    picks = [np.maximum(np.arange(start, size, side), 0) for start, size in zip(starts, (height, width), strict=True)]
    affine = cube.geobox.affine @ Affine.translation(starts[1], starts[0]) @ Affine.scale(side)
    own = part.isel(y=picks[0], x=picks[1])
    box = GeoBox((own.sizes["y"], own.sizes["x"]), affine, cube.geobox.crs)
    origin = (-starts[0] / side, -starts[1] / side)
    sampling = Refinement((height, width), (1 / side, 1 / side), origin)
    chunks = (pipeline.CHUNK, pipeline.CHUNK)
    return part.copy(
        data=pipeline.values(replace(cube, data=own, geobox=box), Interpolation(method), sampling, chunks=chunks)
    )
