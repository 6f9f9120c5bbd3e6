"""The continuous scene, and the views of it: rendered, observed by a sensor, or hidden by clouds.

A scene is no more than its place: a seed, an extent and a position on the map. What it contains follows from it in
:mod:`xsr.testing.layout`, :mod:`xsr.testing.view` and :mod:`xsr.testing.clouds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from odc.geo.xr import xr_coords

from xsr.testing.clouds import cloud_layers
from xsr.testing.grids import Noise, as_cube, as_dates, band_names, samples_per_pixel
from xsr.testing.instrument import Instrument
from xsr.testing.place import Place, Window
from xsr.testing.view import View


@dataclass(frozen=True, kw_only=True)
class Scene(Place):
    """A continuous scene of farmland, without pixels.

    Parameters
    ----------
    seed : int
        Seed; the same seed, size and origin give the same bytes.
    size_m : float or (float, float), default 2560.0
        Extent in metres; height and width if two numbers.
    origin : (float, float), default (600000.0, 5650000.0)
        Easting and northing of the top-left corner in metres.
    crs : str, default "EPSG:32631"
        Coordinate reference system in metres.

    Examples
    --------
    >>> scene = Scene(seed=1, size_m=160.0)
    >>> dict(scene.render(gsd_m=10.0, times=["2024-06-01"], bands=["B04", "B08"]).sizes)
    {'time': 1, 'band': 2, 'y': 16, 'x': 16}
    """

    def render(
        self,
        *,
        gsd_m: float,
        times: ArrayLike,
        bands: Sequence[str],
        window: Window | None = None,
        supersample: int | None = None,
    ) -> xr.DataArray:
        """Render the true surface reflectance, averaged over the area of each pixel.

        Parameters
        ----------
        gsd_m : float
            Pixel size in metres.
        times : array_like of datetime64 or str
            Dates.
        bands : sequence of str
            Sentinel-2 10 m and 20 m bands, or aliases of them.
        window : (slice, slice), optional
            Rows and columns of the whole grid; equals the crop of the whole.
        supersample : int, optional
            Samples per pixel side; by default enough to have one every 1.25 m.

        Returns
        -------
        xarray.DataArray
            float32 reflectance, dims ``(time, band, y, x)``, in memory.
        """
        names, dates = band_names(bands), as_dates(times)
        rows, cols = self.pixels(gsd_m, window)
        ratio = samples_per_pixel(gsd_m, supersample)
        view = View(
            self,
            gsd_m / ratio,
            (rows.start * ratio, rows.stop * ratio),
            (cols.start * ratio, cols.stop * ratio),
        )
        out = np.empty((len(dates), len(names), rows.stop - rows.start, cols.stop - cols.start), np.float32)
        for at, samples in view.images(dates, names):
            out[at] = samples.reshape(out.shape[2], ratio, out.shape[3], ratio).mean(axis=(1, 3), dtype=np.float64)
        return as_cube(out, self.geobox(gsd_m, window=window), dates, names)

    def observe(
        self,
        *,
        gsd_m: float,
        times: ArrayLike,
        bands: Sequence[str],
        window: Window | None = None,
        sensor: str = "sentinel-2",
        jitter_px: float = 0.0,
        noise: Noise = False,
    ) -> xr.DataArray:
        """Observe the scene with a sensor with the given pixel size and the MTF of each of its bands.

        Parameters
        ----------
        gsd_m : float
            Pixel size in metres. The detector has this size in every band.
        times : array_like of datetime64 or str
            Dates.
        bands : sequence of str
            Sentinel-2 10 m and 20 m bands, or aliases of them.
        window : (slice, slice), optional
            Rows and columns of the whole grid.
        sensor : str, default "sentinel-2"
            Sensor whose MTF at Nyquist is used.
        jitter_px : float, default 0.0
            Standard deviation of the misregistration of each date, in pixels.
        noise : bool or float, default False
            Sensor noise; a number multiplies its standard deviation.

        Returns
        -------
        xarray.DataArray
            float32 reflectance, dims ``(time, band, y, x)``, in memory. The coordinates ``shift_x_m`` (east)
            and ``shift_y_m`` (north) over ``time`` are by how many metres the content is displaced.

        Notes
        -----
        The PSF is a Gaussian with ``sigma_m = gsd_m / pi * sqrt(-2 ln mtf)``, centred on the pixel.
        """
        instrument = Instrument(self, band_names(bands), as_dates(times), sensor, jitter_px)
        rows, cols = self.pixels(gsd_m, window)
        ratio = samples_per_pixel(gsd_m, None)
        (low,) = instrument.look([gsd_m], [(rows, cols)], gsd_m / ratio)
        if noise is not False:
            low += instrument.noise(low, (rows, cols), float(noise))
        return instrument.cube(low, self.geobox(gsd_m, window=window), gsd_m)

    def cloud_mask(self, *, gsd_m: float, times: ArrayLike, cover: float, window: Window | None = None) -> xr.DataArray:
        """Mark the pixels under a cloud or in its shadow.

        Parameters
        ----------
        gsd_m : float
            Pixel size in metres.
        times : array_like of datetime64 or str
            Dates.
        cover : float
            Share of the scene under clouds, 0 to 1; exact over the scene up to the soft edges.
        window : (slice, slice), optional
            Rows and columns of the whole grid.

        Returns
        -------
        xarray.DataArray
            bool, dims ``(time, y, x)``; True where the surface is hidden.
        """
        dates, bounds = as_dates(times), self.pixels(gsd_m, window)
        hidden = np.stack([np.maximum(*cloud_layers(self, date, gsd_m, bounds, cover)) > 0.05 for date in dates])
        coords = dict(xr_coords(self.geobox(gsd_m, window=window))) | {"time": dates}
        return xr.DataArray(hidden, coords, dims=("time", "y", "x"), name="cloud_mask")
