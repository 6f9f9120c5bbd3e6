"""Sharpening without a network, lazily: see `xsr.kernels.guidance`."""

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsr.kernels.guidance import LocalRelation, normalised_difference, slope
from xsr.kernels.resample import Interpolation
from xsr.operations.guided.inputs import Planes, finite

RADIUS = 4
"""Half-side of the guided filter's windows in pixels of the low-resolution image."""
EPSILON = 1e-3
"""Variance of reflectance that the guided filter takes for noise: (0.03)^2."""
INDEX = ("B04", "B08")
"""Bands of the vegetation index."""

Chunks = tuple[tuple[int, ...], tuple[int, ...]]


def guided_filter(low: Planes, guide: Planes, geobox: GeoBox, chunks: tuple[Chunks, Chunks]) -> xr.DataArray:
    """Local linear relation on the low-resolution grid, applied to the guide on the fine one.

    What the relation, averaged over windows, leaves unexplained on the low-resolution grid is interpolated and added;
    without it the result would be a smoothed temperature.

    Parameters
    ----------
    low
        Temperature, one band.
    guide
        Guide on the grid ``geobox``.
    geobox
        Output grid.
    chunks
        Chunks of the low-resolution grid and of the output.
    """
    coarse = guide.onto(low.geobox, chunks[0])
    both = Planes(xr.concat([low.data, coarse.data], dim="band"), low.geobox)
    relation = both.to(low.geobox, LocalRelation(RADIUS, EPSILON), chunks[0])
    fine = Planes(relation, low.geobox).to(geobox, Interpolation("bilinear"), chunks[1])
    rest = Planes(low.data - _apply(relation, coarse.data), low.geobox)
    return _apply(fine, guide.data) + rest.to(geobox, Interpolation("bicubic"), chunks[1])


def _apply(relation: xr.DataArray, guide: xr.DataArray) -> xr.DataArray:
    """Temperature of a guide by a linear relation: its offset, and a coefficient for each band."""
    explained = (relation.isel(band=slice(1, None)) * guide).sum("band", skipna=False)
    return relation.isel(band=slice(0, 1)) + explained


def tsharp(
    low: Planes, guide: Planes, base: xr.DataArray, geobox: GeoBox, chunks: tuple[Chunks, Chunks]
) -> xr.DataArray:
    """One linear relation to the vegetation index for the scene; what it leaves unexplained is interpolated.

    With ``T = a + b V`` on the low-resolution grid the result is ``a + b v + up(T - a - b V)``, and, as interpolation
    keeps constants, ``up(T) + b (v - up(V))``.

    Parameters
    ----------
    low, geobox, chunks
        As in `guided_filter`.
    guide
        Red and near infrared on the grid ``geobox``.
    base
        The temperature, interpolated to it.
    """
    red, nir = (guide.data.isel(band=[number]) for number in range(2))
    index = xr.apply_ufunc(normalised_difference, red, nir, dask="parallelized", output_dtypes=[np.float32])
    coarse = Planes(index, geobox).onto(low.geobox, chunks[0])
    steepness = _slope(coarse.data, low.data).astype(np.float32)
    smooth = coarse.to(geobox, Interpolation("bicubic"), chunks[1])
    sharp: xr.DataArray = base + steepness * (index - smooth)
    return sharp


def _slope(x: xr.DataArray, y: xr.DataArray) -> xr.DataArray:
    """Slope of the regression over all pixels of a date, (time,)."""
    valid = finite(x) & finite(y)
    # The offsets keep the sums of squares small; any will do.
    x, y = x.where(valid, 0).astype(np.float64), (y - 300).where(valid, 0).astype(np.float64)
    over = ("band", "y", "x")
    sums = (valid.sum(over), x.sum(over), y.sum(over), (x * x).sum(over), (x * y).sum(over))
    found: xr.DataArray = xr.apply_ufunc(slope, *sums, dask="parallelized", output_dtypes=[np.float64])
    return found
