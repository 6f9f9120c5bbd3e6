"""Bands, dates and sample spacings, checked and put into one form, and values wrapped as a cube."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsr.core import sensors
from xsr.core.errors import BandError, ParameterError
from xsr.testing.spectra import BANDS

Floats: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.float32]
Noise: TypeAlias = bool | float
MARGIN_M = 320.0  # The scene goes on beyond its edge, so that the PSF never reaches a border.
_SAMPLE_M = 1.25  # Widest spacing of the point samples behind a pixel: a 4 m lane still gets three.


def band_names(bands: Sequence[str]) -> tuple[str, ...]:
    """Canonical names, refused where the scene has no spectrum."""
    names = tuple(sensors.canonical_band(band) for band in bands)
    for name in names:
        if name not in BANDS:
            raise BandError(f"the scene has no band {name}; expected one of {', '.join(BANDS)}. Leave it out.")
    return names


def as_dates(times: ArrayLike) -> NDArray[np.datetime64]:
    """Dates as datetime64 in nanoseconds, one dimension."""
    return np.atleast_1d(np.asarray(times, dtype="datetime64[ns]"))


def day_of_year(date: np.datetime64) -> float:
    """Day of the year with its fraction, starting at 1."""
    return float((date - date.astype("datetime64[Y]")) / np.timedelta64(1, "D")) + 1.0


def ordinal(date: np.datetime64) -> int:
    """Whole number of the day, from 1900, for seeds."""
    return int((date.astype("datetime64[D]") - np.datetime64("1900-01-01")).astype(int))


def samples_per_pixel(gsd_m: float, supersample: int | None) -> int:
    """Count the samples per pixel side."""
    if supersample is None:
        return max(1, math.ceil(gsd_m / _SAMPLE_M - 1e-9))
    if supersample < 1:
        raise ParameterError(f"supersample={supersample}; expected 1 or more. Leave it out for the default.")
    return int(supersample)


def common_spacing(coarse: float, fine: float) -> float | None:
    """Sample spacing of at most 1.25 m that divides both pixel sizes; None if only a very fine one does."""
    least = samples_per_pixel(fine, None)
    for ratio in range(least, 2 * least + 2):
        samples = coarse / fine * ratio
        if abs(samples - round(samples)) < 1e-9 * samples:
            return fine / ratio
    return None


def as_cube(values: Image, geobox: GeoBox, dates: NDArray[np.datetime64], bands: Sequence[str]) -> xr.DataArray:
    """Wrap values in coordinates."""
    coords = dict(xr_coords(geobox)) | {"time": dates, "band": list(bands)}
    return xr.DataArray(
        values,
        coords,
        dims=("time", "band", "y", "x"),
        name="reflectance",
        attrs={"long_name": "surface reflectance", "units": "1", "grid_mapping": "spatial_ref"},
    )
