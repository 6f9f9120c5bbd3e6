"""Synthetic cubes as Sentinel-2 would deliver them, with or without their truth.

Each function makes a :class:`Scene`, observes it with the instrument and hides part of it under clouds.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import xarray as xr
from numpy.typing import ArrayLike

from xsr.core.errors import ParameterError
from xsr.testing.clouds import add_clouds
from xsr.testing.grids import Noise, as_cube, as_dates, band_names, common_spacing, samples_per_pixel
from xsr.testing.instrument import Instrument
from xsr.testing.scene import Scene


@dataclass(frozen=True, kw_only=True)
class SyntheticPair:
    """A cube as the sensor observes it, and the same scene as a finer sensor would."""

    low: xr.DataArray
    """Observed reflectance, dims ``(time, band, y, x)``, with blur, noise, misregistration and clouds."""

    high: xr.DataArray
    """Reflectance of the finer sensor, without noise, misregistration or clouds; same extent."""

    cloud_mask: xr.DataArray
    """bool, dims ``(time, y, x)`` on the grid of ``low``; True under a cloud or its shadow."""


def synthetic_cube(
    *,
    seed: int = 0,
    size: tuple[int, int] = (256, 256),
    gsd_m: float = 10.0,
    times: ArrayLike = ("2024-04-10",),
    bands: Sequence[str] = ("B02", "B03", "B04", "B08"),
    clouds: float = 0.0,
    cloud_nodata: bool = True,
    jitter_px: float = 0.0,
    noise: Noise = True,
    chunks: Mapping[Hashable, int] | None = None,
) -> xr.DataArray:
    """Make a cube that looks like Sentinel-2.

    Parameters
    ----------
    seed : int, default 0
        Seed of the scene.
    size : (int, int), default (256, 256)
        Rows and columns.
    gsd_m : float, default 10.0
        Pixel size in metres, in every band.
    times : array_like of datetime64 or str, default ("2024-04-10",)
        Dates.
    bands : sequence of str, default ("B02", "B03", "B04", "B08")
        Sentinel-2 10 m and 20 m bands, or aliases of them.
    clouds : float, default 0.0
        Share of the scene under clouds on each date, 0 to 1.
    cloud_nodata : bool, default True
        Clouds and their shadows become NaN; otherwise they are painted.
    jitter_px : float, default 0.0
        Standard deviation of the misregistration of each date, in pixels.
    noise : bool or float, default True
        Sensor noise; a number multiplies its standard deviation.
    chunks : mapping of str to int, optional
        Dask chunks by dimension; in memory by default.

    Returns
    -------
    xarray.DataArray
        float32 reflectance, dims ``(time, band, y, x)``, EPSG:32631.

    See Also
    --------
    synthetic_pair : The same cube with its truth.

    Examples
    --------
    >>> synthetic_cube(size=(8, 12)).shape
    (1, 4, 8, 12)
    """
    scene = Scene(seed=seed, size_m=(size[0] * gsd_m, size[1] * gsd_m))
    low = scene.observe(gsd_m=gsd_m, times=times, bands=bands, jitter_px=jitter_px, noise=noise)
    low = add_clouds(scene, low, gsd_m, clouds, cloud_nodata)
    return low if chunks is None else low.chunk(dict(chunks))


def synthetic_pair(
    *,
    seed: int = 0,
    size: tuple[int, int] = (256, 256),
    gsd_m: float = 10.0,
    high_gsd_m: float = 2.5,
    times: ArrayLike = ("2024-04-10",),
    bands: Sequence[str] = ("B02", "B03", "B04", "B08"),
    clouds: float = 0.0,
    cloud_nodata: bool = True,
    jitter_px: float = 0.0,
    noise: Noise = True,
) -> SyntheticPair:
    """Make a cube that looks like Sentinel-2, and its truth.

    The truth is the scene observed by a sensor with the finer pixel and the same MTF at its own Nyquist
    frequency: as sharp, relative to its pixels, as Sentinel-2 is.

    Parameters
    ----------
    seed : int, default 0
        Seed of the scene.
    size : (int, int), default (256, 256)
        Rows and columns of the low-resolution cube.
    gsd_m : float, default 10.0
        Pixel size of the low-resolution cube in metres.
    high_gsd_m : float, default 2.5
        Pixel size of the truth in metres; any value up to ``gsd_m``.
    times : array_like of datetime64 or str, default ("2024-04-10",)
        Dates.
    bands : sequence of str, default ("B02", "B03", "B04", "B08")
        Sentinel-2 10 m and 20 m bands, or aliases of them.
    clouds : float, default 0.0
        Share of the scene under clouds on each date, 0 to 1.
    cloud_nodata : bool, default True
        Clouds and their shadows become NaN in ``low``; otherwise they are painted.
    jitter_px : float, default 0.0
        Standard deviation of the misregistration of each date of ``low``, in its pixels.
    noise : bool or float, default True
        Noise of ``low``; a number multiplies its standard deviation.

    Returns
    -------
    SyntheticPair
        Low-resolution cube, truth and cloud mask. Both grids share the top-left corner; the truth has
        ``floor(n * gsd_m / high_gsd_m + 1e-6)`` pixels.

    Raises
    ------
    ParameterError
        If ``high_gsd_m`` is coarser than ``gsd_m``.

    Examples
    --------
    >>> pair = synthetic_pair(size=(8, 8), high_gsd_m=10 / 3.4)
    >>> pair.low.shape, pair.high.shape
    ((1, 4, 8, 8), (1, 4, 27, 27))
    """
    if not 0 < high_gsd_m <= gsd_m:
        raise ParameterError(
            f"high_gsd_m={high_gsd_m}; expected more than 0 and at most gsd_m={gsd_m}."
            " Give the pixel size of the finer sensor."
        )
    scene = Scene(seed=seed, size_m=(size[0] * gsd_m, size[1] * gsd_m))
    instrument = Instrument(scene, band_names(bands), as_dates(times), "sentinel-2", jitter_px)
    windows = [scene.pixels(gsd) for gsd in (gsd_m, high_gsd_m)]
    spacing = common_spacing(gsd_m, high_gsd_m)
    if spacing is None:
        spacings = [gsd / samples_per_pixel(gsd, None) for gsd in (gsd_m, high_gsd_m)]
        (low,) = instrument.look([gsd_m], windows[:1], spacings[0])
        (high,) = instrument.look([high_gsd_m], windows[1:], spacings[1], still=True)
    else:
        low, high = instrument.look([gsd_m, high_gsd_m], windows, spacing)
    if noise is not False:
        low += instrument.noise(low, windows[0], float(noise))
    cube = add_clouds(scene, instrument.cube(low, scene.geobox(gsd_m), gsd_m), gsd_m, clouds, cloud_nodata)
    return SyntheticPair(
        low=cube,
        high=as_cube(high, scene.geobox(high_gsd_m), instrument.dates, instrument.bands),
        cloud_mask=scene.cloud_mask(gsd_m=gsd_m, times=times, cover=clouds),
    )
