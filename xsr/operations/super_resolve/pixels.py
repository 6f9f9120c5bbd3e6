"""Quantiles at points: those of the pixels of a grid that points lie in; no more of it is computed than they need."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import graph
from xsr.core.cube import Cube, open_cube
from xsr.core.grid import Points, inside
from xsr.core.types import XarrayObject
from xsr.intervals import CALIBRATED, MEANING
from xsr.kernels.resample import Interpolation
from xsr.operations.super_resolve.continuous import liif

BLOCK = 256
"""Side, in pixels of the result, of what is computed around a point."""


@dataclass(frozen=True)
class Scattered:
    """Points of a cube, in groups."""

    rows: NDArray[np.float64]
    """Positions in pixels of the cube."""
    cols: NDArray[np.float64]
    sizes: tuple[int, ...]
    """Points of each group."""
    back: NDArray[np.int64]
    """From the groups to the order of the user."""
    dim: Hashable
    coords: Mapping[Hashable, Any]
    """In the order of the user."""

    def pixels(self, cube: Cube, scale: float, shape: tuple[int, int]) -> Points:
        """Pixels of a grid ``scale`` times finer that the points lie in; what is left of the cube has its last ones."""
        size = cube.data.sizes["y"], cube.data.sizes["x"]
        found = []
        for position, old, new in zip((self.rows, self.cols), size, shape, strict=True):
            at = np.minimum((position + 0.5) * scale - 0.5, new - 1)
            found.append(np.where(inside(position, old), at, np.nan))
        return Points(found[0], found[1], (1.0, 1.0))


def with_quantiles_at(
    cube: XarrayObject, checked: Cube, points: Scattered, *, scale: float, **how: Any
) -> XarrayObject:
    """Quantiles of `liif` at points.

    Parameters
    ----------
    cube
        As the user gives it.
    checked
        The same, validated.
    points
        Where.
    scale, **how
        Arguments of `liif`, ``quantiles`` among them.
    """
    eager = isinstance(checked.data.data, np.ndarray)
    fine = liif(cube.chunk() if eager else cube, scale=scale, chunks=BLOCK, **how)
    marked = fine.coords.get(CALIBRATED)
    fine = fine.drop_vars([CALIBRATED, "n_valid"], errors="ignore")
    quantiles = fine["quantile"]
    each = (fine.isel(quantile=number, drop=True) for number in range(len(quantiles)))
    opened = [open_cube(one, units="reflectance") for one in each]
    shape = opened[0].data.sizes["y"], opened[0].data.sizes["x"]
    plan = graph.make_plan(points.pixels(checked, scale, shape), shape, halo=0, chunks=(1, points.sizes))
    record = {str(name): value for name, value in fine.attrs.items() if str(name).startswith("xsr_")}
    parts: list[Any] = [
        one.rewrap_points(_gathered(one, plan, points), points.coords, points.dim, record) for one in opened
    ]
    found: Any = xr.concat(parts, dim="quantile", coords="minimal", compat="override", join="override")
    found = found.assign_coords(quantile=quantiles.variable)
    if marked is not None:
        known = open_cube(fine.isel(quantile=0, drop=True) * 0 + marked, units="reflectance")
        found = found.assign_coords({CALIBRATED: _flags(known, plan, points, marked)})
    made: XarrayObject = found.compute() if eager else found
    return made


def _gathered(cube: Cube, plan: graph.Plan, points: Scattered) -> Any:
    """Values (time, band, point) of the pixels that points lie in, in the order of the user."""
    return graph.run(Interpolation("nearest"), cube.data.data, plan)[:, :, 0][:, :, points.back]


def _flags(known: Cube, plan: graph.Plan, points: Scattered, marked: xr.DataArray) -> xr.Variable:
    """Coordinate of the points that says where pixels are 1."""
    like = graph.each(_is_one, _gathered(known, plan, points)[:, 0], np.bool_)
    dims = [dim for dim in marked.dims if marked.sizes[dim] == like.shape[0]][: marked.ndim - 2]
    return xr.Variable((*dims, points.dim), like if dims else like[0], {"long_name": MEANING})


def _is_one(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = values == 1
    return known
