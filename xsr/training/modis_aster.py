"""Reader of pairs of MODIS and ASTER: temperatures of ASTER beside the vegetation index of MODIS.

A file has the temperature of MODIS (``modis_lst``, kelvin, 927 m) and its index (``modis_ndvi``, 232 m) on sinusoidal
grids, and the temperature of ASTER (``aster_lst``, 0.1 K, 232 m) on another. The content of ASTER is displaced: it is
registered to the interpolated temperature of MODIS, and brought to its grid at a quarter of its pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from scipy.ndimage import binary_erosion

from xsr.core.types import XarrayObject
from xsr.operations.interpolate import interpolate
from xsr.operations.register import register

SCALE = 4
"""Pixels of the index along one of the temperature of MODIS."""
LEAST = 2600
"""Least number of ASTER that is a temperature, in 0.1 K: below, pixels are mixed with no data."""
EDGE = 2
"""Pixels beside no data that are left out."""


@dataclass(frozen=True)
class Overpass:
    """Both sensors over one place."""

    low: xr.DataArray
    """Temperature of MODIS."""
    guide: xr.DataArray
    """Its vegetation index, on a grid `SCALE` times finer."""
    truth: xr.DataArray
    """Temperature of ASTER on that grid, registered."""


def read(path: str | Path) -> Overpass:
    """Read the file of a place."""
    with xr.open_dataset(path) as file:
        return registered(file.load())


def registered(file: xr.Dataset) -> Overpass:
    """Bring what a file holds to one grid, ASTER registered to MODIS."""
    modis = grid(file["x_lst"].values, file["y_lst"].values, file.attrs["modis_crs"])
    low = cube(file["modis_lst"].values[None], ("lst",), modis, "K")
    fine = interpolate(low, scale=SCALE)
    box = fine.odc.geobox
    finer = grid(file["x_ndvi"].values, file["y_ndvi"].values, modis.crs)
    index = interpolate(cube(file["modis_ndvi"].values[None], ("ndvi",), finer, "1"), like=box)
    raw = file["aster_lst"].values.astype(np.float32)
    valid = binary_erosion(raw >= LEAST, iterations=EDGE)
    aster = grid(file["x"].values, file["y"].values, file.attrs["aster_crs"])
    truth = interpolate(cube(np.where(valid, raw / 10, np.nan)[None], ("lst",), aster, "K"), like=box)
    return Overpass(low, _array(index), _array(register(truth, reference=fine, apply=True)))


def grid(x: NDArray[np.floating], y: NDArray[np.floating], crs: Any) -> GeoBox:
    """Grid of evenly spaced centres."""
    right, down = ((v[-1] - v[0]) / (len(v) - 1) for v in (x, y))
    return GeoBox((len(y), len(x)), Affine(right, 0, x[0] - right / 2, 0, down, y[0] - down / 2), crs)


def cube(images: NDArray[np.floating], names: tuple[str, ...], box: GeoBox, units: str) -> xr.DataArray:
    """Images (band, y, x) on a grid."""
    coords = {"band": list(names), **xr_coords(box)}
    return xr.DataArray(images.astype(np.float32), dims=("band", "y", "x"), coords=coords, attrs={"units": units})


def _array(found: XarrayObject) -> xr.DataArray:
    assert isinstance(found, xr.DataArray)
    return found
