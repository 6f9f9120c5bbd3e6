"""Sharpening without a network, lazily: see `xsr.kernels.guidance`."""

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsr.kernels.guidance import LocalRelation, normalised_difference, slope
from xsr.kernels.resample import Interpolation
from xsr.operations.guided.planes import Planes, finite

RADIUS = 4
"""Half-side of the guided filter's windows in pixels of the low-resolution image."""
EPSILON = 1e-3
"""Variance of reflectance that the guided filter takes for noise: (0.03)^2."""
INDEX = ("B04", "B08")
"""Bands of the vegetation index."""

Chunks = tuple[tuple[int, ...], tuple[int, ...]]


def guided_filter(
    low: Planes, guide: Planes, base: xr.DataArray, geobox: GeoBox, chunks: tuple[Chunks, Chunks]
) -> xr.DataArray:
    """Linear relation of temperature to guide around each pixel.

    With ``T = a V + b`` in windows of the low-resolution grid the result is ``up(T) + up(a) (v - up(V))``: the guided
    filter's ``a v + b``, and what it leaves unexplained. Without that it would be a smoothed temperature.

    Parameters
    ----------
    low
        Temperature, one band.
    guide
        Guide on the grid ``geobox``.
    base
        The temperature, interpolated to it.
    geobox
        Output grid.
    chunks
        Chunks of the low-resolution grid and of the output.
    """
    coarse = guide.onto(low.geobox, chunks[0])
    both = Planes(xr.concat([low.data, coarse.data], dim="band"), low.geobox)
    relation = both.to(low.geobox, LocalRelation(RADIUS, EPSILON), chunks[0])
    slopes = Planes(relation.isel(band=slice(1, None)), low.geobox).to(geobox, Interpolation("bilinear"), chunks[1])
    detail = guide.data - coarse.to(geobox, Interpolation("bicubic"), chunks[1])
    return base + (slopes * detail).sum("band", skipna=False)


def tsharp(
    low: Planes, guide: Planes, base: xr.DataArray, geobox: GeoBox, chunks: tuple[Chunks, Chunks]
) -> xr.DataArray:
    """One linear relation to the vegetation index for the scene; what it leaves unexplained is interpolated.

    With ``T = a V + b`` on the low-resolution grid the result is ``a v + b + up(T - a V - b)``, and, as interpolation
    keeps constants, ``up(T) + a (v - up(V))``.

    Parameters
    ----------
    low, base, geobox, chunks
        As in `guided_filter`.
    guide
        Red and near infrared on the grid ``geobox``.
    """
    red, nir = (guide.data.isel(band=[number]) for number in range(2))
    index = xr.apply_ufunc(normalised_difference, red, nir, dask="parallelized", output_dtypes=[np.float32])
    coarse = Planes(index, geobox).onto(low.geobox, chunks[0])
    detail = index - coarse.to(geobox, Interpolation("bicubic"), chunks[1])
    sharp: xr.DataArray = base + _slope(coarse.data, low.data).astype(np.float32) * detail
    return sharp


def _slope(x: xr.DataArray, y: xr.DataArray) -> xr.DataArray:
    """Slope of the regression over all pixels of a date, (time,)."""
    valid = finite(x) & finite(y)
    # The offsets keep the sums of squares small; any value serves.
    x, y = x.where(valid, 0).astype(np.float64), (y - 300).where(valid, 0).astype(np.float64)
    over = ("band", "y", "x")
    sums = (valid.sum(over), x.sum(over), y.sum(over), (x * x).sum(over), (x * y).sum(over))
    found: xr.DataArray = xr.apply_ufunc(slope, *sums, dask="parallelized", output_dtypes=[np.float64])
    return found
