"""Images on a grid: what travels between the steps of the guided operation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsr.core import graph, grid
from xsr.core.cube import Cube
from xsr.core.types import WindowFunction
from xsr.kernels.footprint import AreaMean
from xsr.kernels.resample import Interpolation

SAME = 1.01
"""Ratio of two pixel sizes up to which they count as the same."""
DIMS = ("time", "band", "y", "x")


@dataclass(frozen=True)
class Planes:
    """Images on a grid."""

    data: xr.DataArray
    """Dims (time, band, y, x), no coordinates, NaN is no data."""
    geobox: GeoBox

    def to(
        self,
        geobox: GeoBox,
        function: WindowFunction,
        chunks: tuple[tuple[int, ...], tuple[int, ...]],
        *,
        bands: int | None = None,
    ) -> xr.DataArray:
        """Evaluate a block function on another grid, lazily where the images are; it makes as many bands, or some."""
        shape = self.data.sizes["y"], self.data.sizes["x"]
        plan = graph.make_plan(grid.between(self.geobox, geobox), shape, halo=function.halo, chunks=chunks)
        return planes(graph.run(function, self.data.data, plan, bands=bands))

    def onto(self, geobox: GeoBox, chunks: tuple[tuple[int, ...], tuple[int, ...]]) -> "Planes":
        """Bring reflectance to another grid: its area mean where that is coarser, else bicubic; itself if the same."""
        cell = grid.between(self.geobox, geobox).cell
        function = AreaMean(cell) if min(cell) >= SAME else Interpolation("bicubic")
        found = self.data if geobox == self.geobox else self.to(geobox, function, chunks)
        lazy = found.chunks is not None
        return Planes(found.chunk(y=chunks[0], x=chunks[1]) if lazy else found, geobox)


def planes(values: Any) -> xr.DataArray:
    """Name the axes of an array (time, band, y, x)."""
    return xr.DataArray(values, dims=DIMS)


def finite(images: xr.DataArray) -> xr.DataArray:
    """Where images are data."""
    found: xr.DataArray = xr.apply_ufunc(np.isfinite, images, dask="allowed")
    return found


def planes_of(cube: Cube, dates: Sequence[int] | None = None) -> Planes:
    """Pixels of a cube without its coordinates: all dates, or those with some numbers."""
    images = planes(cube.data.data)
    return Planes(images if dates is None else images.isel(time=list(dates)), cube.geobox)


def cut(guide: Planes, geobox: GeoBox) -> Planes:
    """Cut a rectangle of pixels out of a guide where a grid is one; else the guide unchanged."""
    sampling = grid.between(guide.geobox, geobox)
    if not isinstance(sampling, grid.Refinement) or not np.allclose(sampling.cell, 1, rtol=0, atol=1e-9):
        return guide
    first = np.rint(sampling.origin)
    inside = (first >= 0) & (first + sampling.shape <= guide.geobox.shape.yx)
    if not inside.all() or not np.allclose(sampling.origin, first, rtol=0, atol=1e-6):
        return guide
    (top, left), (height, width) = first.astype(int), sampling.shape
    return Planes(guide.data.isel(y=slice(top, top + height), x=slice(left, left + width)), geobox)


def layer(target: Cube, values: Any, geobox: GeoBox, attrs: dict[str, Any]) -> xr.Variable:
    """Dress values (time, 1, y, x) as a coordinate of a result of a cube, without a band."""
    found = target.rewrap(values, geobox, {})
    one = found[target.bands[0]] if isinstance(found, xr.Dataset) else found
    (band,) = target.names.of(["band"])
    one = one.isel({band: 0}) if band in one.dims else one
    return xr.Variable(one.dims, one.data, attrs)
