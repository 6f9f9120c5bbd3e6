"""Synthetic Sentinel-2 cubes with known truth, and assertions for lazy, georeferenced cubes.

A :class:`Scene` is a continuous description of farmland with a village: parcels that follow the
seasons, hedges, tracks, roads, a river, houses and trees that cast shadows. It has no pixels, so it can be
seen at any ground sampling distance: the truth at 2.5 m is known when the cube is given at 10 m. Every
sample is a function of its position alone, so a window equals the crop of the whole. Imports NumPy,
xarray, odc-geo and :mod:`xsr.core`; Dask on first use.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Transformer

from xsr.core import sensors
from xsr.core.errors import BandError, ParameterError

__all__ = [
    "Scene",
    "SyntheticPair",
    "assert_lazy",
    "assert_same_grid",
    "synthetic_cube",
    "synthetic_pair",
]

_Floats: TypeAlias = NDArray[np.float64]
_Image: TypeAlias = NDArray[np.float32]
_Window: TypeAlias = tuple[slice, slice]
_Noise: TypeAlias = bool | float

_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
_SAMPLE_M = 1.25  # Widest spacing of the point samples behind a pixel: a 4 m lane still gets three.
_SMALL = 44.0  # Samples; polygons up to this size are filled together.
_MARGIN_M = 320.0  # The scene goes on beyond its edge, so that the PSF never sees a border.


@dataclass(frozen=True, kw_only=True)
class Scene:
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

    seed: int
    """Seed of every random choice in the scene."""

    size_m: float | tuple[float, float] = 2560.0
    """Extent in metres; height and width if two numbers."""

    origin: tuple[float, float] = (600_000.0, 5_650_000.0)
    """Easting and northing of the top-left corner in metres."""

    crs: str = "EPSG:32631"
    """Coordinate reference system in metres."""

    def __post_init__(self) -> None:
        """Check the extent."""
        if min(self.extent_m) <= 0 or not all(map(math.isfinite, self.extent_m)):
            raise ParameterError(f"size_m={self.size_m}; expected positive metres. Give the extent in metres.")

    @property
    def extent_m(self) -> tuple[float, float]:
        """Height and width in metres."""
        if isinstance(self.size_m, tuple):
            return (float(self.size_m[0]), float(self.size_m[1]))
        return (float(self.size_m), float(self.size_m))

    def geobox(self, gsd_m: float, *, window: _Window | None = None) -> GeoBox:
        """Grid of the scene at a ground sampling distance.

        Parameters
        ----------
        gsd_m : float
            Pixel size in metres.
        window : (slice, slice), optional
            Rows and columns of the whole grid; the whole grid by default.

        Returns
        -------
        GeoBox
            North-up grid anchored at the top-left corner of the scene; only whole pixels.
        """
        rows, cols = _window(self, gsd_m, window)
        affine = Affine(
            gsd_m, 0.0, self.origin[0] + cols.start * gsd_m, 0.0, -gsd_m, self.origin[1] - rows.start * gsd_m
        )
        return GeoBox((rows.stop - rows.start, cols.stop - cols.start), affine, self.crs)

    def render(
        self,
        *,
        gsd_m: float,
        times: ArrayLike,
        bands: Sequence[str],
        window: _Window | None = None,
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
        names, dates = _band_names(bands), _dates(times)
        rows, cols = _window(self, gsd_m, window)
        ratio = _supersample(gsd_m, supersample)
        view = _View(
            self,
            gsd_m / ratio,
            (rows.start * ratio, rows.stop * ratio),
            (cols.start * ratio, cols.stop * ratio),
        )
        out = np.empty((len(dates), len(names), rows.stop - rows.start, cols.stop - cols.start), np.float32)
        for at, samples in view.images(dates, names):
            out[at] = samples.reshape(out.shape[2], ratio, out.shape[3], ratio).mean(axis=(1, 3), dtype=np.float64)
        return _cube(out, self.geobox(gsd_m, window=window), dates, names)

    def observe(
        self,
        *,
        gsd_m: float,
        times: ArrayLike,
        bands: Sequence[str],
        window: _Window | None = None,
        sensor: str = "sentinel-2",
        jitter_px: float = 0.0,
        noise: _Noise = False,
    ) -> xr.DataArray:
        """See the scene through a sensor with the given pixel size and the MTF of each of its bands.

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
            and ``shift_y_m`` (north) over ``time`` tell by how many metres the content is displaced.

        Notes
        -----
        The PSF is a Gaussian with ``sigma_m = gsd_m / pi * sqrt(-2 ln mtf)``, centred on the pixel.
        """
        seen = _Detector(self, _band_names(bands), _dates(times), sensor, jitter_px)
        rows, cols = _window(self, gsd_m, window)
        ratio = _supersample(gsd_m, None)
        (low,) = seen.look([gsd_m], [(rows, cols)], gsd_m / ratio)
        if noise is not False:
            low += seen.noise(low, (rows, cols), float(noise))
        return seen.cube(low, self.geobox(gsd_m, window=window), gsd_m)

    def cloud_mask(
        self, *, gsd_m: float, times: ArrayLike, cover: float, window: _Window | None = None
    ) -> xr.DataArray:
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
        dates, bounds = _dates(times), _window(self, gsd_m, window)
        hidden = np.stack([np.maximum(*_clouds(self, date, gsd_m, bounds, cover)) > 0.05 for date in dates])
        coords = dict(xr_coords(self.geobox(gsd_m, window=window))) | {"time": dates}
        return xr.DataArray(hidden, coords, dims=("time", "y", "x"), name="cloud_mask")


@dataclass(frozen=True, kw_only=True)
class SyntheticPair:
    """A cube as the sensor sees it, and the same scene as a finer sensor would."""

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
    noise: _Noise = True,
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
    low = _add_clouds(scene, low, gsd_m, clouds, cloud_nodata)
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
    noise: _Noise = True,
) -> SyntheticPair:
    """Make a cube that looks like Sentinel-2, and its truth.

    The truth is the scene seen by a sensor with the finer pixel and the same MTF at its own Nyquist
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
    seen = _Detector(scene, _band_names(bands), _dates(times), "sentinel-2", jitter_px)
    windows = [_window(scene, gsd, None) for gsd in (gsd_m, high_gsd_m)]
    spacing = _common_spacing(gsd_m, high_gsd_m)
    if spacing is None:
        (low,) = seen.look([gsd_m], windows[:1], gsd_m / _supersample(gsd_m, None))
        (high,) = seen.look([high_gsd_m], windows[1:], high_gsd_m / _supersample(high_gsd_m, None), still=True)
    else:
        low, high = seen.look([gsd_m, high_gsd_m], windows, spacing)
    if noise is not False:
        low += seen.noise(low, windows[0], float(noise))
    cube = _add_clouds(scene, seen.cube(low, scene.geobox(gsd_m), gsd_m), gsd_m, clouds, cloud_nodata)
    return SyntheticPair(
        low=cube,
        high=_cube(high, scene.geobox(high_gsd_m), seen.dates, seen.bands),
        cloud_mask=scene.cloud_mask(gsd_m=gsd_m, times=times, cover=clouds),
    )


@contextlib.contextmanager
def assert_lazy(*objects: Any) -> Iterator[None]:
    """Fail if anything is computed by Dask inside the block.

    Parameters
    ----------
    *objects : xarray.DataArray, xarray.Dataset or dask collection
        Inputs that must be backed by Dask, so that the test bites.

    Yields
    ------
    None
        Control to the block.

    Raises
    ------
    AssertionError
        If an input is not lazy, or a computation is started.

    Examples
    --------
    >>> cube = synthetic_cube(size=(8, 8), chunks={"y": 4})
    >>> with assert_lazy(cube):
    ...     doubled = cube * 2
    """
    import dask
    from dask.base import is_dask_collection

    for item in objects:
        if not is_dask_collection(item):
            raise AssertionError(f"{type(item).__name__} is in memory; expected a Dask-backed object. Chunk it.")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a Dask computation was started; expected none. Keep the operation lazy.")

    with dask.config.set(scheduler=refuse):
        yield


def assert_same_grid(left: Any, right: Any) -> None:
    """Fail if two objects differ in CRS, shape or transform (beyond 1e-9 relative).

    Parameters
    ----------
    left, right : xarray.DataArray, xarray.Dataset or GeoBox
        Georeferenced objects.

    Raises
    ------
    AssertionError
        If the grids differ; the message states how.

    Examples
    --------
    >>> cube = synthetic_cube(size=(8, 8))
    >>> assert_same_grid(cube, cube.isel(time=0))
    """
    one, two = (item if isinstance(item, GeoBox) else item.odc.geobox for item in (left, right))
    if one is None or two is None:
        raise AssertionError("a grid is missing; expected spatial coordinates on both. Assign a CRS.")
    differences = []
    if one.crs != two.crs:
        differences.append(f"CRS {one.crs} against {two.crs}")
    if tuple(one.shape) != tuple(two.shape):
        differences.append(f"shape {tuple(one.shape)} against {tuple(two.shape)}")
    ours, theirs = (np.array(tuple(grid.transform)[:6]) for grid in (one, two))
    if not np.allclose(ours, theirs, rtol=1e-9, atol=1e-9 * abs(ours[0])):
        differences.append(f"transform {ours.tolist()} against {theirs.tolist()}")
    if differences:
        raise AssertionError("grids differ: " + "; ".join(differences))


# --------------------------------------------------------------------------------------------------
# Materials: spectra, seasons and texture
# --------------------------------------------------------------------------------------------------

# Reflectance of B02 B03 B04 B05 B06 B07 B08 B8A B11 B12; typical values, not measurements of a place.
_SPECTRA: dict[str, tuple[float, ...]] = {
    "crop": (0.026, 0.058, 0.027, 0.088, 0.310, 0.405, 0.445, 0.470, 0.200, 0.092),
    "maize": (0.028, 0.055, 0.030, 0.080, 0.250, 0.330, 0.365, 0.390, 0.195, 0.095),
    "grass": (0.036, 0.072, 0.043, 0.108, 0.275, 0.340, 0.370, 0.395, 0.230, 0.120),
    "flower": (0.042, 0.140, 0.115, 0.180, 0.360, 0.430, 0.460, 0.470, 0.240, 0.130),
    "soil": (0.082, 0.110, 0.140, 0.155, 0.168, 0.178, 0.192, 0.205, 0.275, 0.235),
    "straw": (0.085, 0.120, 0.165, 0.195, 0.220, 0.240, 0.265, 0.285, 0.345, 0.240),
    "broadleaf": (0.019, 0.040, 0.022, 0.062, 0.220, 0.295, 0.325, 0.345, 0.150, 0.068),
    "twigs": (0.036, 0.047, 0.054, 0.070, 0.092, 0.105, 0.120, 0.135, 0.155, 0.105),
    "conifer": (0.017, 0.027, 0.019, 0.042, 0.115, 0.148, 0.165, 0.175, 0.078, 0.036),
    "litter": (0.030, 0.038, 0.046, 0.056, 0.070, 0.080, 0.092, 0.102, 0.125, 0.085),
    "water": (0.032, 0.038, 0.026, 0.021, 0.015, 0.013, 0.011, 0.010, 0.006, 0.004),
    "asphalt": (0.078, 0.088, 0.097, 0.102, 0.106, 0.109, 0.115, 0.120, 0.140, 0.130),
    "concrete": (0.145, 0.170, 0.192, 0.202, 0.208, 0.213, 0.222, 0.230, 0.275, 0.255),
    "sand": (0.115, 0.148, 0.182, 0.198, 0.208, 0.215, 0.228, 0.242, 0.310, 0.275),
    "tile": (0.062, 0.078, 0.150, 0.185, 0.200, 0.207, 0.217, 0.227, 0.270, 0.235),
    "slate": (0.058, 0.064, 0.069, 0.072, 0.075, 0.077, 0.080, 0.085, 0.092, 0.090),
    "metal": (0.225, 0.240, 0.250, 0.254, 0.257, 0.260, 0.264, 0.268, 0.250, 0.225),
}
_SHADE = (0.34, 0.28, 0.23, 0.22, 0.19, 0.18, 0.17, 0.16, 0.09, 0.07)  # Diffuse share of the light.
_CLOUD = (0.62, 0.60, 0.60, 0.61, 0.62, 0.62, 0.63, 0.63, 0.42, 0.32)


class _Material(NamedTuple):
    """What a surface is made of, how its green cover goes through the year, and its texture."""

    green: str
    ground: str
    summer: float = 0.0  # Green cover added by the growing season.
    winter: float = 0.0  # Green cover outside it (of winter crops until the harvest).
    start: float = 110.0  # Middle of the green-up, day of the year.
    end: float = 280.0  # Middle of the senescence or harvest, day of the year.
    harvest: float = 0.0  # Days that straw stays on the field; 0 where nothing is harvested.
    flower: float = 0.0  # Day of full flower; 0 where it does not show.
    coarse: float = 0.05  # Texture of 40 m and more.
    fine: float = 0.05  # Texture of 3 m to 14 m.
    rows: float = 0.0  # Contrast of tramlines and working passes.
    spread: float = 0.08  # Between objects of the material, of brightness.


_MATERIALS: dict[str, _Material] = {
    "wheat": _Material("crop", "soil", 0.60, 0.35, 88, 196, 40, coarse=0.13, fine=0.03, rows=0.07, spread=0.16),
    "barley": _Material("crop", "soil", 0.55, 0.40, 80, 180, 30, coarse=0.13, fine=0.03, rows=0.07, spread=0.16),
    "rape": _Material("crop", "soil", 0.45, 0.50, 75, 188, 30, 120, 0.10, 0.03, 0.08, 0.16),
    "maize": _Material("maize", "soil", 0.92, 0.0, 168, 268, 35, coarse=0.15, fine=0.03, rows=0.05, spread=0.20),
    "beet": _Material("crop", "soil", 0.95, 0.0, 160, 300, 5, coarse=0.12, fine=0.03, rows=0.07, spread=0.20),
    "potato": _Material("crop", "soil", 0.88, 0.0, 156, 238, 10, coarse=0.13, fine=0.03, rows=0.09, spread=0.20),
    "oats": _Material("crop", "soil", 0.88, 0.0, 118, 208, 35, coarse=0.13, fine=0.03, rows=0.06, spread=0.18),
    "meadow": _Material("grass", "soil", 0.25, 0.70, 85, 320, coarse=0.10, fine=0.05, rows=0.03, spread=0.12),
    "verge": _Material("grass", "straw", 0.30, 0.50, 95, 270, coarse=0.10, fine=0.12, spread=0.10),
    "garden": _Material("grass", "litter", 0.20, 0.55, 95, 300, coarse=0.05, fine=0.28, spread=0.22),
    "broadleaf": _Material("broadleaf", "twigs", 0.90, 0.08, 118, 305, coarse=0.08, fine=0.30, spread=0.07),
    "conifer": _Material("conifer", "litter", 0.05, 0.90, 110, 290, coarse=0.07, fine=0.30, spread=0.08),
    "tree": _Material("broadleaf", "twigs", 0.90, 0.08, 118, 305, coarse=0.0, fine=0.12, spread=0.15),
    "water": _Material("broadleaf", "water", coarse=0.04, fine=0.03, spread=0.05),
    "asphalt": _Material("grass", "asphalt", fine=0.06, spread=0.12),
    "street": _Material("grass", "asphalt", fine=0.10, spread=0.20),
    "track": _Material("grass", "sand", 0.15, 0.20, 95, 270, fine=0.12, spread=0.15),
    "yard": _Material("grass", "concrete", fine=0.14, spread=0.20),
    "tile": _Material("grass", "tile", fine=0.06, spread=0.22),
    "slate": _Material("grass", "slate", fine=0.06, spread=0.25),
    "metal": _Material("grass", "metal", fine=0.04, spread=0.30),
}
_MATERIAL_NAMES = tuple(_MATERIALS)
_CROPS = ("wheat", "barley", "rape", "maize", "beet", "potato", "oats", "meadow")
_CROP_SHARES = (0.24, 0.09, 0.07, 0.17, 0.09, 0.08, 0.05, 0.21)
_ROOFS = ("tile", "slate", "metal")


def _spectrum(names: Sequence[str]) -> _Floats:
    """Spectra by name, shape (names, 10)."""
    return np.array([_SPECTRA[name] for name in names])


def _rise(day: _Floats | float, middle: _Floats, width: _Floats | float) -> _Floats:
    """Logistic step from 0 to 1."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip((day - middle) / width, -40.0, 40.0))), dtype=np.float64)


def _day_of_year(date: np.datetime64) -> float:
    """Day of the year with its fraction, starting at 1."""
    return float((date - date.astype("datetime64[Y]")) / np.timedelta64(1, "D")) + 1.0


def _tables(layout: _Layout, date: np.datetime64) -> tuple[_Image, _Image]:
    """Reflectance of every object on a date, and how it answers to texture; shape (10, objects)."""
    day = _day_of_year(date)
    rows = [_MATERIALS[name] for name in layout.materials]
    number = {key: np.array([getattr(row, key) for row in rows]) for key in _Material._fields[2:]}
    end, start = number["end"] + layout.lag, number["start"] + layout.lag
    growing = 1.0 - _rise(day, end, 4.0 + 6.0 * (number["harvest"] == 0))
    emerged = _rise(day, np.full_like(end, 308.0), 8.0)
    cover = number["summer"] * _rise(day, start, 9.0) * growing * layout.vigour
    idle = np.where(number["harvest"] > 0, np.maximum(growing, emerged), 1.0)
    cover = np.clip(cover + number["winter"] * idle, 0.0, 0.98)
    straw = (number["harvest"] > 0) * (1.0 - growing) * (1.0 - _rise(day, end + number["harvest"], 2.0))
    wet = np.random.default_rng([4, layout.seed, _ordinal(date)]).uniform(0.72, 1.08)
    ground = _spectrum([row.ground for row in rows]) * layout.gain[:, None]
    ground = ground * np.where([row.ground == "soil" for row in rows], wet, 1.0)[:, None]
    ground += straw[:, None] * (_spectrum(["straw"]) * layout.gain[:, None] - ground)
    green = _spectrum([row.green for row in rows]) * (0.75 + 0.25 * layout.gain)[:, None]
    bloom = (number["flower"] > 0) * np.exp(-0.5 * ((day - number["flower"] - layout.lag) / 11.0) ** 2)
    green += bloom[:, None] * (_spectrum(["flower"]) - green)
    base = ground + cover[:, None] * (green - ground)
    partial = (4.0 * cover * (1.0 - cover) + 0.35 * cover)[:, None]
    slope = np.where(layout.rows[:, None] > 0, partial * (green - ground) + (1.0 - cover)[:, None] * ground, base)
    return base.T.astype(np.float32), slope.T.astype(np.float32)


# --------------------------------------------------------------------------------------------------
# Layout: polygons in metres, x to the east and y to the south of the top-left corner
# --------------------------------------------------------------------------------------------------


@dataclass
class _Layout:
    """Objects of a scene, and the polygons that paint them in order."""

    seed: int
    materials: list[str] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    shapes: list[_Floats] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    tall: dict[int, list[_Floats]] = field(default_factory=dict)
    heights: dict[int, list[float]] = field(default_factory=dict)
    is_tall: list[bool] = field(default_factory=list)

    def add(self, rng: np.random.Generator, material: str, *, gain: float = 1.0, tall: bool = False) -> int:
        """Make an object and return its number."""
        self.materials.append(material)
        self.gains.append(gain * math.exp(_MATERIALS[material].spread * rng.standard_normal()))
        self.is_tall.append(tall)
        return len(self.materials) - 1

    def paint(self, owner: int, *shapes: _Floats) -> None:
        """Paint polygons, over what is there."""
        self.shapes.extend(shapes)
        self.owners.extend([owner] * len(shapes))

    def raise_up(self, shape: _Floats, height_m: float) -> None:
        """Let a polygon cast a shadow; polygons are kept by their number of corners."""
        self.tall.setdefault(len(shape), []).append(shape)
        self.heights.setdefault(len(shape), []).append(height_m)

    def finish(self, angles: Mapping[int, float]) -> None:
        """Draw the remaining properties of the objects and bend all outlines."""
        rng, count = np.random.default_rng([2, self.seed]), len(self.materials)
        self.gain = np.array(self.gains)
        self.lag = rng.normal(0.0, 7.0, count)
        self.vigour = np.clip(rng.normal(1.0, 0.10, count), 0.6, 1.1)
        traits = np.array([_MATERIALS[name][8:11] for name in self.materials])
        self.coarse, self.fine, self.rows = traits.T
        self.rows = self.rows * rng.uniform(0.4, 2.0, count)
        self.coarse = self.coarse * rng.uniform(0.5, 1.6, count)
        self.pass_m = rng.choice([12.0, 15.0, 18.0, 24.0, 28.0, 36.0], count)
        self.angle = np.array([angles.get(number, 0.0) for number in range(count)])
        self.owner, bend = np.array(self.owners), _Bend(self.seed)
        self.corners = np.array([len(shape) for shape in self.shapes])
        self.first = np.concatenate(([0], np.cumsum(self.corners)[:-1]))
        self.points = bend(np.concatenate(self.shapes))
        self.boxes = np.concatenate(
            [np.minimum.reduceat(self.points, self.first), np.maximum.reduceat(self.points, self.first)],
            axis=1,
        )
        self.prisms = [(bend(np.array(self.tall[n])), np.array(self.heights[n])) for n in sorted(self.tall)]
        self.shapes, self.tall, self.heights = [], {}, {}


class _Bend:
    """Smooth displacement of a few tens of metres, so that nothing is quite straight."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([3, seed])
        length = np.array([[2600.0], [1700.0], [1100.0], [800.0], [500.0]])
        self.wave = rng.normal(0.0, 1.0, (5, 2)) * 2.0 * np.pi / length
        self.phase = rng.uniform(0.0, 2.0 * np.pi, (5, 2))
        self.size = np.array([24.0, 14.0, 9.0, 6.0, 3.0])

    def __call__(self, points: _Floats) -> _Floats:
        """Displaced points, shape (..., 2)."""
        out = points.copy()
        for wave, phase, size in zip(self.wave, self.phase, self.size, strict=True):
            angle = points[..., :1] * wave[0] + points[..., 1:] * wave[1]
            out += size * np.sin(angle + phase)
        return out


@lru_cache(maxsize=8)
def _layout(scene: Scene) -> _Layout:
    """Lay out the scene; every random choice is made here, in one order."""
    rng = np.random.default_rng([1, scene.seed])
    layout, angles = _Layout(scene.seed), dict[int, float]()
    height, width = scene.extent_m
    root = _turned_box(height, width, rng.uniform(0.0, np.pi))
    village = rng.uniform(0.28, 0.72, 2) * (width, height)
    radius = float(np.clip(0.10 * math.sqrt(height * width), 70.0, 300.0)) * rng.uniform(0.8, 1.2)
    layout.paint(layout.add(rng, "meadow"), root)
    blocks, cuts = _divide(rng, [root], area=45e4, jitter=0.16)
    cells, lanes = _divide(rng, blocks, area=9e4, jitter=0.10)
    woods = _Woods(scene.seed)
    town = []
    for cell in cells:
        centre = cell.mean(axis=0)
        if np.hypot(*(centre - village)) < radius + 30.0 * rng.standard_normal():
            town.append(cell)
        elif (kind := woods(centre)) is not None:
            _add_forest(rng, layout, cell, kind)
        else:
            _add_farmland(rng, layout, cell, angles)
    _add_lanes(rng, layout, lanes)
    _add_river(rng, layout, scene)
    _add_roads(rng, layout, cuts)
    for cell in town:
        _add_quarter(rng, layout, cell)
    _add_farms(rng, layout, cuts, village)
    layout.finish(angles)
    return layout


def _turned_box(height: float, width: float, angle: float) -> _Floats:
    """Square around the scene and its margin, turned about its centre."""
    half = 0.5 * math.hypot(height, width) + _MARGIN_M + 120.0
    corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half)]) * math.sqrt(2.0)
    centre = np.array([0.5 * width, 0.5 * height])
    return np.asarray(_turn(corners, angle) + centre, dtype=np.float64)


def _turn(points: _Floats, angle: float) -> _Floats:
    """Turn points about the zero of their coordinates."""
    c, s = math.cos(angle), math.sin(angle)
    return np.asarray(points @ np.array([[c, s], [-s, c]]), dtype=np.float64)


def _after(values: _Floats) -> _Floats:
    """Each value's successor, around the polygon."""
    return np.asarray(values[np.arange(1, len(values) + 1) % len(values)], dtype=np.float64)


def _area(shape: _Floats) -> float:
    """Area of a polygon in square metres."""
    x, y = shape.T
    return 0.5 * abs(float(np.dot(x, _after(y)) - np.dot(y, _after(x))))


def _cut(shape: _Floats, through: _Floats, normal: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Cut a convex polygon by a line; both parts and the ends of the cut."""
    side = (shape - through) @ normal
    after, side_after = _after(shape), _after(side)
    parts: tuple[list[_Floats], list[_Floats]] = ([], [])
    ends = []
    for a, b, sa, sb in zip(shape, after, side, side_after, strict=True):
        parts[int(sa > 0)].append(a)
        if (sa > 0) != (sb > 0):
            ends.append(a + (b - a) * (sa / (sa - sb)))
            parts[0].append(ends[-1])
            parts[1].append(ends[-1])
    return np.array(parts[0]), np.array(parts[1]), np.array(ends)


def _axes(shape: _Floats) -> tuple[float, float, float]:
    """Direction of the longest side (radians), and the extent along and across it."""
    sides = _after(shape) - shape
    longest = sides[np.argmax(np.hypot(*sides.T))]
    angle = math.atan2(longest[1], longest[0])
    along, across = np.ptp(_turn(shape, -angle), axis=0)
    return angle, float(along), float(across)


def _divide(
    rng: np.random.Generator, shapes: Sequence[_Floats], *, area: float, jitter: float, spread: float = 0.35
) -> tuple[list[_Floats], list[_Floats]]:
    """Halve convex polygons until they are as small as asked; the parts and the cuts, coarse ones first."""
    todo, done, cuts = list(shapes), [], []
    while todo:
        shape = todo.pop(0)
        if _area(shape) < 1.4 * area * math.exp(spread * rng.standard_normal()):
            done.append(shape)
            continue
        angle, along, across = _axes(shape)
        angle += (0.0 if along >= across else 0.5 * math.pi) + jitter * rng.standard_normal()
        normal = np.array([math.cos(angle), math.sin(angle)])
        reach = (shape @ normal).min(), (shape @ normal).max()
        at = shape.mean(axis=0)
        at = at + normal * (reach[0] + (reach[1] - reach[0]) * rng.uniform(0.36, 0.64) - at @ normal)
        first, second, ends = _cut(shape, at, normal)
        todo += [first, second]
        cuts.append(ends)
    return done, cuts


def _dense(shape: _Floats, step: float = 110.0) -> _Floats:
    """Add vertices along the sides, so that a bend shows."""
    after, parts = _after(shape), []
    for a, b in zip(shape, after, strict=True):
        count = max(1, round(float(np.hypot(*(b - a))) / step))
        parts.append(a + (b - a) * (np.arange(count) / count)[:, None])
    return np.concatenate(parts)


def _ribbon(line: _Floats, width: float, step: float = 55.0) -> list[_Floats]:
    """Quadrilaterals along a polyline."""
    pieces = []
    for a, b in pairwise(line):
        length = float(np.hypot(*(b - a)))
        if length < 1e-6:
            continue
        count = max(1, round(length / step))
        ahead = (b - a) / length
        across = np.array([-ahead[1], ahead[0]]) * 0.5 * width
        stops = a + np.outer(np.arange(count + 1) / count, b - a)
        for p, q in pairwise(stops):
            p, q = p - ahead * 0.2 * width, q + ahead * 0.2 * width
            pieces.append(np.array([p - across, q - across, q + across, p + across]))
    return pieces


def _box(centre: _Floats, length: float, width: float, angle: float) -> _Floats:
    """Rectangle about a centre."""
    half = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]) * (0.5 * length, 0.5 * width)
    return _turn(half, angle) + centre


_OCTAGON = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)


class _Woods:
    """Where forest grows: a smooth function of the place."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([5, seed])
        self.wave = rng.normal(0.0, 2.0 * np.pi / 2400.0, (6, 2))
        self.phase = rng.uniform(0.0, 2.0 * np.pi, 6)

    def __call__(self, place: _Floats) -> str | None:
        waves = np.sin(self.wave @ place + self.phase)
        if waves.sum() < 1.9:
            return None
        return "conifer" if waves[0] + waves[3] > 0.6 else "broadleaf"


def _add_forest(rng: np.random.Generator, layout: _Layout, cell: _Floats, kind: str) -> None:
    """Compartments of forest with narrow rides between them."""
    parts, rides = _divide(rng, [cell], area=3e4, jitter=0.05)
    for part in parts:
        other = "broadleaf" if kind == "conifer" else "conifer"
        owner = layout.add(rng, kind if rng.random() < 0.85 else other, tall=True)
        layout.paint(owner, _dense(part))
        height = rng.uniform(11.0, 19.0)
        for piece in _ribbon(np.concatenate((part, part[:1])), 7.0):  # Its edge casts the shadow.
            layout.raise_up(piece, height)
    ride = layout.add(rng, "verge")
    for line in rides:
        layout.paint(ride, *_ribbon(line, rng.uniform(3.0, 6.0)))


def _add_farmland(rng: np.random.Generator, layout: _Layout, cell: _Floats, angles: dict[int, float]) -> None:
    """Parcels with their crops; strips, hedges and lone trees on some of the boundaries."""
    parcels, edges = _divide(rng, [cell], area=float(np.clip(rng.lognormal(10.2, 0.6), 8e3, 9e4)), jitter=0.025)
    pasture = rng.random() < 0.25
    for parcel in parcels:
        crop = "meadow" if pasture and rng.random() < 0.8 else str(rng.choice(_CROPS, p=_CROP_SHARES))
        owner = layout.add(rng, crop)
        angles[owner] = _axes(parcel)[0] + 0.5 * math.pi
        layout.paint(owner, _dense(parcel))
        if rng.random() < 0.12:
            inside = parcel[0] + (parcel.mean(axis=0) - parcel[0]) * rng.uniform(0.3, 0.9)
            _add_trees(rng, layout, inside + rng.normal(0.0, 9.0, (int(rng.integers(1, 7)), 2)))
    for edge in edges:
        chance = rng.random()
        if chance < 0.35:
            layout.paint(layout.add(rng, "verge"), *_ribbon(edge, rng.uniform(1.5, 4.0)))
        if chance < 0.13:
            _add_hedge(rng, layout, edge)


def _add_hedge(rng: np.random.Generator, layout: _Layout, edge: _Floats) -> None:
    """Row of trees along a line, with gaps."""
    length = float(np.hypot(*(edge[1] - edge[0])))
    along = np.arange(0.0, length, 5.5)
    along = along[np.sin(along / rng.uniform(12.0, 40.0) + rng.uniform(0.0, 6.0)) > rng.uniform(-1.2, 0.3)]
    places = edge[0] + np.outer(along / max(length, 1e-6), edge[1] - edge[0])
    _add_trees(rng, layout, places + rng.normal(0.0, 0.8, places.shape))


def _add_trees(rng: np.random.Generator, layout: _Layout, places: _Floats) -> None:
    """Crowns with a sunlit side, and their height for the shadow."""
    if not len(places):
        return
    dark = layout.add(rng, "tree", gain=0.85, tall=True)
    light = layout.add(rng, "tree", gain=1.25, tall=True)
    radius = np.clip(rng.lognormal(1.2, 0.35, len(places)), 1.6, 6.5)[:, None, None]
    crowns = places[:, None] + radius * _OCTAGON
    layout.paint(dark, *crowns)
    layout.paint(light, *(places[:, None] + radius * (0.15, 0.35) + 0.6 * radius * _OCTAGON))
    for crown, height in zip(crowns, radius[:, 0, 0] * rng.uniform(1.8, 2.8, len(places)), strict=True):
        layout.raise_up(crown, float(height))


def _add_lanes(rng: np.random.Generator, layout: _Layout, lanes: Sequence[_Floats]) -> None:
    """Farm tracks, lanes, ditches and hedges between the cells."""
    for lane in lanes:
        chance = rng.random()
        layout.paint(layout.add(rng, "verge"), *_ribbon(lane, rng.uniform(4.0, 8.0)))
        if chance < 0.45:
            layout.paint(layout.add(rng, "track"), *_ribbon(lane, rng.uniform(2.6, 4.0)))
        elif chance < 0.75:
            layout.paint(layout.add(rng, "asphalt"), *_ribbon(lane, rng.uniform(3.5, 5.0)))
        else:
            layout.paint(layout.add(rng, "water"), *_ribbon(lane, rng.uniform(1.2, 2.5)))
        if rng.random() < 0.2:
            _add_hedge(rng, layout, lane + rng.normal(0.0, 4.0, 2))


def _add_roads(rng: np.random.Generator, layout: _Layout, cuts: Sequence[_Floats]) -> None:
    """Roads, the first cuts widest, with verges and some avenues."""
    for rank, cut in enumerate(cuts):
        width = max(5.0, 11.0 - 1.1 * math.log2(rank + 1.0)) * rng.uniform(0.9, 1.1)
        layout.paint(layout.add(rng, "verge"), *_ribbon(cut, width + rng.uniform(4.0, 9.0)))
        layout.paint(layout.add(rng, "asphalt"), *_ribbon(cut, width))
        if rng.random() < 0.4:
            ahead = (cut[1] - cut[0]) / max(float(np.hypot(*(cut[1] - cut[0]))), 1e-6)
            _add_hedge(rng, layout, cut + np.array([-ahead[1], ahead[0]]) * (0.5 * width + 4.0))


def _add_river(rng: np.random.Generator, layout: _Layout, scene: Scene) -> None:
    """Draw a meandering river with grassy banks and trees, or a brook."""
    height, width = scene.extent_m
    reach = 0.5 * math.hypot(height, width) + _MARGIN_M + 100.0
    along = np.arange(-reach, reach, 14.0)
    waves = zip((900.0, 420.0, 210.0), (95.0, 45.0, 16.0), strict=True)
    sway = sum(a * np.sin(2 * np.pi * along / (w * rng.uniform(0.8, 1.2)) + rng.uniform(0, 6)) for w, a in waves)
    offset = rng.uniform(-0.35, 0.35) * min(height, width)
    middle = (0.5 * width, 0.5 * height)
    line = _turn(np.stack([along, sway + offset], axis=1), rng.uniform(0.0, np.pi)) + middle
    bed = float(rng.choice([5.0, 11.0, 18.0, 30.0]))
    layout.paint(layout.add(rng, "meadow"), *_ribbon(line, bed + rng.uniform(8.0, 40.0)))
    layout.paint(layout.add(rng, "verge"), *_ribbon(line, bed + 5.0))
    layout.paint(layout.add(rng, "water"), *_ribbon(line, bed))
    across = rng.choice([-1.0, 1.0], (len(line), 1)) * (0.5 * bed + rng.uniform(3.0, 9.0, (len(line), 1)))
    normal = np.gradient(line, axis=0)[:, ::-1] / 14.0 * (-1.0, 1.0)
    _add_trees(rng, layout, (line + normal * across)[rng.random(len(line)) < 0.4])


def _add_quarter(rng: np.random.Generator, layout: _Layout, cell: _Floats) -> None:
    """Streets, plots, houses and gardens."""
    quarters, streets = _divide(rng, [cell], area=9e3, jitter=0.08)
    for quarter in quarters:
        layout.paint(layout.add(rng, "garden"), _dense(quarter))
        plots, _ = _divide(rng, [quarter], area=float(rng.uniform(450.0, 900.0)), jitter=0.04, spread=0.2)
        for plot in plots:
            if rng.random() < 0.35:
                layout.paint(layout.add(rng, "garden"), plot)
            if rng.random() < 0.88:
                _add_house(rng, layout, plot)
            count = int(rng.poisson(0.9))
            _add_trees(rng, layout, plot.mean(axis=0) + rng.normal(0.0, 9.0, (count, 2)))
    for street in [*streets, *([cell[[0, 1]], cell[[1, 2]]] if len(cell) > 2 else [])]:
        layout.paint(layout.add(rng, "street"), *_ribbon(street, rng.uniform(5.0, 8.0)))


def _add_house(rng: np.random.Generator, layout: _Layout, plot: _Floats) -> None:
    """House with a two-sided roof, and sometimes a shed or a paved yard."""
    angle, along, across = _axes(plot)
    place = plot.mean(axis=0) + rng.normal(0.0, 2.0, 2)
    if rng.random() < 0.4:
        layout.paint(layout.add(rng, "yard"), _box(place + rng.normal(0.0, 6.0, 2), 12.0, 7.0, angle))
    length = min(rng.uniform(9.0, 17.0), 0.85 * along)
    _add_building(
        rng,
        layout,
        _Plan(place, length, min(rng.uniform(6.5, 10.5), 0.6 * across), angle, rng.uniform(5.0, 9.0)),
    )
    if rng.random() < 0.4:
        aside = place + _turn(np.array([[rng.uniform(-12.0, 12.0), 11.0]]), angle)[0]
        _add_building(rng, layout, _Plan(aside, rng.uniform(3.5, 7.0), rng.uniform(3.0, 5.0), angle, 2.7))


class _Plan(NamedTuple):
    """Footprint (m), direction (radians) and height (m) of a building."""

    place: _Floats
    length: float
    width: float
    angle: float
    height: float
    shares: tuple[float, float, float] = (0.6, 0.3, 0.1)  # Of the roof materials.


def _add_building(rng: np.random.Generator, layout: _Layout, plan: _Plan) -> None:
    """Add a building whose roof is brighter on the side of the sun (south-south-east at the overpass)."""
    roof = str(rng.choice(_ROOFS, p=plan.shares))
    across = _turn(np.array([[0.0, 0.25 * plan.width]]), plan.angle)[0]
    tilt = 0.22 * float(across @ (0.34, 0.94)) / (0.25 * plan.width)
    gain = math.exp(0.2 * rng.standard_normal())
    for sign in (-1.0, 1.0):
        owner = layout.add(rng, roof, gain=gain * (1.0 + sign * tilt), tall=True)
        layout.paint(owner, _box(plan.place + sign * across, plan.length, 0.5 * plan.width, plan.angle))
    layout.raise_up(_box(plan.place, plan.length, plan.width, plan.angle), plan.height)


def _add_farms(rng: np.random.Generator, layout: _Layout, cuts: Sequence[_Floats], village: _Floats) -> None:
    """Farmsteads and ribbons of houses beside the roads."""
    for cut in cuts:
        ahead = cut[1] - cut[0]
        length = float(np.hypot(*ahead))
        angle = math.atan2(ahead[1], ahead[0])
        for _ in range(int(rng.poisson(length / 700.0))):
            place = cut[0] + ahead * rng.uniform(0.05, 0.95)
            place = place + _turn(np.array([[0.0, rng.choice([-1.0, 1.0]) * rng.uniform(28.0, 55.0)]]), angle)[0]
            _add_farm(rng, layout, place, angle)
        near = float(np.hypot(*(cut.mean(axis=0) - village))) < 900.0
        for along in np.arange(20.0, length, 27.0) if near else ():
            if rng.random() < 0.3:
                side = float(rng.choice([-1.0, 1.0])) * rng.uniform(17.0, 24.0)
                centre = cut[0] + _turn(np.array([[along, side]]), angle)[0]
                plot = _box(centre, 25.0, 22.0, angle)
                layout.paint(layout.add(rng, "garden"), plot)
                _add_house(rng, layout, plot)


def _add_farm(rng: np.random.Generator, layout: _Layout, place: _Floats, angle: float) -> None:
    """Yard with barns, a house, grass and trees."""
    layout.paint(layout.add(rng, "garden"), _box(place, rng.uniform(70.0, 100.0), rng.uniform(50.0, 70.0), angle))
    layout.paint(layout.add(rng, "yard"), _box(place, rng.uniform(35.0, 60.0), rng.uniform(20.0, 35.0), angle))
    for number in range(int(rng.integers(2, 5))):
        spot = place + _turn(np.array([[rng.uniform(-8.0, 8.0), 19.0 * number - 24.0]]), angle)[0]
        size = rng.uniform(20.0, 46.0), rng.uniform(11.0, 18.0)
        _add_building(rng, layout, _Plan(spot, *size, angle, rng.uniform(5.0, 8.0), (0.3, 0.35, 0.35)))
    _add_trees(rng, layout, place + rng.normal(0.0, 30.0, (int(rng.integers(3, 14)), 2)))


# --------------------------------------------------------------------------------------------------
# Rasterisation: point samples of the scene on a fine grid
# --------------------------------------------------------------------------------------------------


class _View:
    """Point samples of a scene on rows and columns of a fine grid; indices may lie outside the scene."""

    def __init__(self, scene: Scene, spacing: float, rows: tuple[int, int], cols: tuple[int, int]) -> None:
        self.scene, self.spacing, self.rows, self.cols = scene, spacing, rows, cols
        self.shape = (rows[1] - rows[0], cols[1] - cols[0])
        self.layout = _layout(scene)
        self.labels = self._paint()
        self.texture = self._texture()

    def images(self, dates: NDArray[np.datetime64], bands: Sequence[str]) -> Iterator[tuple[tuple[int, int], _Image]]:
        """Yield the index of date and band, and the samples of reflectance."""
        for t, date in enumerate(dates):
            shaded = self._shadow(date)
            base, slope = _tables(self.layout, date)
            for b, band in enumerate(bands):
                at = _BANDS.index(band)
                image = np.take(slope[at], self.labels)
                image *= self.texture
                image += np.take(base[at], self.labels)
                np.maximum(image, np.float32(0.001), out=image)
                image.reshape(-1)[shaded] *= np.float32(_SHADE[at])
                yield (t, b), image

    def _units(self, points: _Floats) -> NDArray[np.int64]:
        """Column and row of points in 1/128 of a sample, as odd numbers.

        Whole numbers are exact after any shift, and an odd one never meets a sample: the same samples
        are inside whatever the window.
        """
        return 2 * np.floor(points / self.spacing * 64.0).astype(np.int64) - 63

    def _inside(self, low: _Floats, high: _Floats) -> NDArray[np.bool_]:
        """Whether bounding boxes, shape (..., 2) in metres, touch the view."""
        (top, bottom), (left, right) = self.rows, self.cols
        near = (low[..., 0] < right * self.spacing) & (high[..., 0] > left * self.spacing)
        near &= (low[..., 1] < bottom * self.spacing) & (high[..., 1] > top * self.spacing)
        return np.asarray(near, dtype=np.bool_)

    def _paint(self) -> NDArray[np.intp]:
        """Paint the number of the object at each sample: the owner of the last polygon that covers it."""
        layout = self.layout
        near = self._inside(layout.boxes[:, :2], layout.boxes[:, 2:])
        size = (layout.boxes[:, 2:] - layout.boxes[:, :2]).max(axis=1) / self.spacing
        small = near & (size <= _SMALL) & (layout.corners <= 8)
        last = np.zeros(self.shape, np.intp)
        for number in np.flatnonzero(near & ~small):
            shape = layout.points[layout.first[number] : layout.first[number] + layout.corners[number]]
            window, inside = self._fill(shape)
            last[window][inside] = number
        flat = last.reshape(-1)
        numbers, samples = self._fill_small(small)
        top = np.zeros_like(flat)
        top[samples] = numbers  # In order of painting: the last one stays.
        np.maximum(flat, top, out=flat)
        return np.asarray(layout.owner.astype(np.intp)[last])

    def _fill(self, shape: _Floats) -> tuple[_Window, NDArray[np.bool_]]:
        """Window of the view and, in it, the samples inside one polygon of any size (even-odd rule)."""
        units = self._units(shape) - 128 * np.array([self.cols[0], self.rows[0]])
        low, high = -(-units.min(axis=0) // 128), units.max(axis=0) // 128 + 1
        (left, top), (right, bottom) = np.maximum(low, 0), np.minimum(high, self.shape[::-1])
        if left >= right or top >= bottom:
            return (slice(0), slice(0)), np.zeros((0, 0), bool)
        rows, cols = _crossings(units, int(top), int(bottom))
        width = int(right - left)
        at = (rows - top) * (width + 1) + np.clip(cols - left, 0, width)
        turns = np.bincount(at, minlength=int(bottom - top) * (width + 1)).reshape(-1, width + 1)
        inside = np.cumsum(turns[:, :-1], axis=1) % 2 == 1
        return (slice(int(top), int(bottom)), slice(int(left), int(right))), inside

    def _fill_small(self, small: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Polygon and flat index of every sample in the chosen small convex polygons, in order."""
        layout = self.layout
        found = [(np.zeros(0, np.intp), np.zeros(0, np.intp))]
        for corners in range(3, 9):
            numbers = np.flatnonzero(small & (layout.corners == corners))
            if len(numbers):
                shapes = layout.points[layout.first[numbers][:, None] + np.arange(corners)]
                which, samples = self._fill_convex(shapes)
                found.append((numbers[which], samples))
        numbers, samples = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(numbers, kind="stable")
        return numbers[order], samples[order]

    def _fill_convex(self, shapes: _Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Polygon and flat index of every sample in convex polygons, shape (n, corners, 2)."""
        units = self._units(shapes)
        start = -(-units.min(axis=1) // 128)
        extent = (units.max(axis=1) // 128 - start + 1).max(axis=1)
        found = [(np.zeros(0, np.intp), np.zeros(0, np.intp))]
        for size in (4, 6, 8, 12, 16, 24, 32, 48):
            if len(some := np.flatnonzero((extent <= size) & (extent > 0))):
                which, rows, cols = np.nonzero(_in_convex(units[some] - 128 * start[some, None], size))
                rows = rows + start[some[which], 1] - self.rows[0]
                cols = cols + start[some[which], 0] - self.cols[0]
                seen = (rows >= 0) & (cols >= 0) & (rows < self.shape[0]) & (cols < self.shape[1])
                found.append((some[which][seen], (rows * self.shape[1] + cols)[seen]))
                extent[some] = 0
        which, samples = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return which, samples

    def _shadow(self, date: np.datetime64) -> NDArray[np.intp]:
        """Flat indices of the samples in the shadow of a tree, house or forest."""
        per_metre = _shadow_per_metre(self.scene, date)
        dark = np.zeros(self.shape, bool)
        for shapes, heights in self.layout.prisms:
            swept = _sweep(shapes, heights[:, None] * per_metre)
            low, high = swept.min(axis=1), swept.max(axis=1)
            near = self._inside(low, high)
            small = (high - low).max(axis=1) <= _SMALL * self.spacing
            dark.reshape(-1)[self._fill_convex(swept[near & small])[1]] = True
            for shape in swept[near & ~small]:
                window, inside = self._fill(shape)
                dark[window] |= inside
        found = np.flatnonzero(dark)
        on_top = np.array(self.layout.is_tall)[self.labels.reshape(-1)[found]]
        return np.asarray(found[~on_top], dtype=np.intp)

    def _texture(self) -> _Image:
        """Relative texture: soil and vigour patterns, canopy, tramlines."""
        layout = self.layout
        coarse = self._noise(6, (420.0, 130.0, 45.0), (0.75, 0.60, 0.45))
        coarse *= np.take(layout.coarse.astype(np.float32), self.labels)
        fine = self._noise(7, (14.0, 6.5, 3.0), (0.60, 0.62, 0.52))
        fine *= np.take(layout.fine.astype(np.float32), self.labels)
        coarse += fine
        coarse += self._passes()
        return coarse

    def _noise(self, tag: int, spacings: Sequence[float], weights: Sequence[float]) -> _Image:
        """Sum of random surfaces of unit variance, each a quadratic spline on its own lattice."""
        total = np.zeros(self.shape, np.float32)
        for number, (spacing, weight) in enumerate(zip(spacings, weights, strict=True)):
            total += np.float32(weight) * _surface(self.scene, (tag, number), spacing, self._axis_m(0), self._axis_m(1))
        return total

    def _axis_m(self, axis: int) -> _Floats:
        """Positions of the samples in metres from the top-left corner."""
        first, last = (self.rows, self.cols)[axis]
        return np.asarray((np.arange(first, last) + 0.5) * self.spacing, dtype=np.float64)

    def _passes(self) -> _Image:
        """Dark tramlines and faint bands of the working width, along each field."""
        layout = self.layout
        per_x = (np.cos(layout.angle) / layout.pass_m).astype(np.float32)
        per_y = (np.sin(layout.angle) / layout.pass_m).astype(np.float32)
        turn = np.take(per_x, self.labels) * self._axis_m(1).astype(np.float32)
        turn += np.take(per_y, self.labels) * self._axis_m(0).astype(np.float32)[:, None]
        turn -= np.floor(turn)
        line = turn < np.take((2.2 / layout.pass_m).astype(np.float32), self.labels)
        np.abs(turn - np.float32(0.5), out=turn)
        turn *= np.float32(1.6)
        turn -= np.float32(0.4)
        turn -= np.float32(2.0) * line
        turn *= np.take(layout.rows.astype(np.float32), self.labels)
        return turn


def _surface(scene: Scene, tag: tuple[int, int], spacing: float, y_m: _Floats, x_m: _Floats) -> _Image:
    """Random surface of unit variance on a lattice, evaluated at positions by quadratic splines."""
    height, width = scene.extent_m
    pad = _MARGIN_M + 3.0 * spacing
    shape = (int((height + 2 * pad) / spacing) + 3, int((width + 2 * pad) / spacing) + 3)
    rng = np.random.default_rng([*tag, scene.seed])
    lattice = rng.standard_normal(shape, dtype=np.float32) / np.float32(0.55)  # 11/20: mean square of the spline.
    at_x, weight_x = _spline(x_m, spacing, pad, shape[1])
    at_y, weight_y = _spline(y_m, spacing, pad, shape[0])
    used = slice(int(at_y.min()), int(at_y.max()) + 3)
    lattice, at_y = lattice[used], at_y - used.start
    along = sum(lattice[:, at_x + k] * weight_x[k] for k in range(3))
    out = along[at_y] * weight_y[0][:, None]
    for k in (1, 2):
        out += along[at_y + k] * weight_y[k][:, None]
    return np.asarray(out, dtype=np.float32)


def _spline(at_m: _Floats, spacing: float, pad: float, count: int) -> tuple[NDArray[np.intp], _Image]:
    """First lattice index and the three quadratic spline weights, shape (3, n)."""
    place = (at_m + pad) / spacing
    first = np.clip(np.floor(place).astype(np.intp), 0, count - 3)
    t = np.clip(place - first, 0.0, 1.0)
    weights = np.stack([0.5 * (1 - t) ** 2, 0.75 - (t - 0.5) ** 2, 0.5 * t**2])
    return first, weights.astype(np.float32)


def _crossings(units: NDArray[np.int64], top: int, bottom: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the sides of a polygon cross rows: the row, and the first column to the right of the side."""
    after = np.roll(units, -1, axis=0)
    down = units[:, 1] < after[:, 1]
    upper, lower = np.where(down[:, None], units, after), np.where(down[:, None], after, units)
    first, last = np.maximum(-(-upper[:, 1] // 128), top), np.minimum(lower[:, 1] // 128 + 1, bottom)
    count = np.maximum(last - first, 0)
    side = np.repeat(np.arange(len(units)), count)
    rows = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[side]
    run, drop = (lower - upper)[side].T
    ahead = upper[side, 0] * drop + (128 * rows - upper[side, 1]) * run
    return rows, ahead // (128 * drop) + 1


def _in_convex(units: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Whether the samples of a square are inside convex polygons, shape (n, size, size).

    Polygons are (n, corners, 2), x and y in 1/128 of a sample from the first sample of the square.
    """
    after = np.roll(units, -1, axis=1)
    doubled = units[..., 0] * after[..., 1] - after[..., 0] * units[..., 1]
    sense = np.where(doubled.sum(axis=1) < 0, -1, 1)[:, None]
    run, rise = (sense * (after - units)[..., axis] for axis in (0, 1))
    offset = rise * units[..., 0] - run * units[..., 1]
    at = 128 * np.arange(size)
    inside = np.ones((len(units), size, size), bool)
    for corner in range(units.shape[1]):
        down = (run[:, corner, None] * at + offset[:, corner, None]).astype(np.int32)
        right = (rise[:, corner, None] * at).astype(np.int32)
        inside &= down[:, :, None] >= right[:, None, :]
    return inside


def _sweep(shapes: _Floats, by: _Floats) -> _Floats:
    """Area that convex polygons, (n, corners, 2), cover while they move by (n, 2): their shadow."""
    side = np.roll(shapes, -1, axis=1) - shapes
    after = shapes + side
    sense = np.sign((shapes[..., 0] * after[..., 1] - shapes[..., 1] * after[..., 0]).sum(axis=1, keepdims=True))
    ahead = sense * (side[..., 1] * by[:, None, 0] - side[..., 0] * by[:, None, 1]) > 0
    doubled = np.stack([np.roll(ahead, 1, axis=1), ahead], axis=2)[..., None] * by[:, None, None]
    return np.asarray((shapes[:, :, None] + doubled).reshape(len(shapes), -1, 2), dtype=np.float64)


@lru_cache(maxsize=64)
def _latitude(scene: Scene) -> float:
    """Latitude of the top-left corner in radians."""
    to_degrees = Transformer.from_crs(scene.crs, "EPSG:4326", always_xy=True)
    return math.radians(float(to_degrees.transform(*scene.origin)[1]))


def _shadow_per_metre(scene: Scene, date: np.datetime64) -> _Floats:
    """Shadow of one metre of height at 10:30 local solar time: metres to the east and to the south."""
    day, hour = _day_of_year(date), math.radians(-22.5)
    tilt = math.radians(23.44) * math.sin(2.0 * math.pi * (day - 81.0) / 365.25)
    north = _latitude(scene)
    up = math.sin(north) * math.sin(tilt) + math.cos(north) * math.cos(tilt) * math.cos(hour)
    east = -math.cos(tilt) * math.sin(hour)
    southward = math.sin(north) * math.cos(tilt) * math.cos(hour) - math.cos(north) * math.sin(tilt)
    return np.array([-east, -southward]) / max(up, 0.12)


# --------------------------------------------------------------------------------------------------
# Sensor: PSF, misregistration, noise and clouds
# --------------------------------------------------------------------------------------------------


@dataclass
class _Detector:
    """Bands, dates and misregistration with which a scene is seen."""

    scene: Scene
    bands: tuple[str, ...]
    dates: NDArray[np.datetime64]
    sensor: str
    jitter_px: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.jitter_px) and self.jitter_px >= 0):
            raise ParameterError(f"jitter_px={self.jitter_px}; expected 0 or more pixels. Give a standard deviation.")
        table = sensors.get(self.sensor)
        self.sigma_per_m = []
        for name in self.bands:
            mtf = table.band(name).mtf
            if mtf is None:
                raise BandError(f"{table.name} has no MTF for {name}; expected one. Choose a sensor that has it.")
            self.sigma_per_m.append(sensors.sigma_px(mtf, 1.0))
        drift = [np.random.default_rng([8, self.scene.seed, _ordinal(date)]).standard_normal(2) for date in self.dates]
        self.drift_px = np.clip(np.array(drift).reshape(-1, 2), -3.0, 3.0) * self.jitter_px

    def look(
        self, gsds: Sequence[float], windows: Sequence[_Window], spacing: float, *, still: bool = False
    ) -> list[_Image]:
        """Images at each pixel size, (time, band, y, x); only the first is misregistered (none if still)."""
        widest = max(self.sigma_per_m) * 4.5 + float(np.abs(self.drift_px).max(initial=0.0)) + 1.0
        halo = math.ceil(widest * max(gsds) / spacing)
        spans = [_span([w[axis] for w in windows], gsds, spacing, halo) for axis in (0, 1)]
        view = _View(self.scene, spacing, *spans)
        outs = [
            np.empty((len(self.dates), len(self.bands), *(s.stop - s.start for s in window)), np.float32)
            for window in windows
        ]
        for (t, b), samples in view.images(self.dates, self.bands):
            for number, (gsd, window, out) in enumerate(zip(gsds, windows, outs, strict=True)):
                drift = self.drift_px[t] if number == 0 and not still else np.zeros(2)
                image = samples
                for axis in (0, 1):
                    psf = _Psf(self.sigma_per_m[b] * gsd / spacing, round(gsd / spacing), float(drift[axis]))
                    image = psf.apply(image, window[axis], spans[axis][0], axis)
                out[t, b] = image
        return outs

    def noise(self, clean: _Image, window: _Window, factor: float) -> _Image:
        """Noise of variance ``(3e-4)^2 + 4e-6 R``: a signal-to-noise ratio near 140 at reflectance 0.1."""
        if not (math.isfinite(factor) and factor >= 0):
            raise ParameterError(f"noise={factor}; expected True, False or a number from 0. Give a factor.")
        out, (rows, cols) = np.empty_like(clean), window
        for t, date in enumerate(self.dates):
            for b, band in enumerate(self.bands):
                key = (9, self.scene.seed, _ordinal(date), _BANDS.index(band))
                for i, row in enumerate(range(rows.start, rows.stop)):
                    line = np.random.default_rng([*key, row]).standard_normal((cols.stop,), dtype=np.float32)
                    out[t, b, i] = line[cols.start :]
        out *= np.sqrt(9e-8 + 4e-6 * np.maximum(clean, 0.0)) * np.float32(factor)
        return out

    def cube(self, values: _Image, geobox: GeoBox, gsd_m: float) -> xr.DataArray:
        """Wrap values, with the misregistration as coordinates."""
        south, east = self.drift_px.T * gsd_m
        shifts = {"shift_x_m": ("time", east), "shift_y_m": ("time", -south)}
        return _cube(values, geobox, self.dates, self.bands).assign_coords(shifts)


class _Psf(NamedTuple):
    """Gaussian PSF in samples, samples per pixel, and displacement of the content in pixels."""

    sigma: float
    ratio: int
    drift_px: float

    def apply(self, image: _Image, pixels: slice, first: int, axis: int) -> _Image:
        """Blur and sample at the pixel centres along one axis, of samples that start at index ``first``."""
        centre = (0.5 - self.drift_px) * self.ratio - 0.5  # Of pixel 0, in samples.
        reach = math.ceil(4.5 * self.sigma)
        taps = np.arange(math.floor(centre) - reach, math.floor(centre) + reach + 2)
        weights = np.exp(-0.5 * ((taps - centre) / self.sigma) ** 2)
        weights = (weights / weights.sum()).astype(np.float32)
        count = pixels.stop - pixels.start
        begin = pixels.start * self.ratio - first
        out = np.zeros((count, image.shape[1]) if axis == 0 else (image.shape[0], count), np.float32)
        for tap, weight in zip(taps, weights, strict=True):
            at = slice(begin + tap, begin + tap + (count - 1) * self.ratio + 1, self.ratio)
            out += weight * (image[at] if axis == 0 else image[:, at])
        return out


def _span(windows: Sequence[slice], gsds: Sequence[float], spacing: float, halo: int) -> tuple[int, int]:
    """First and last sample that any of the pixels needs."""
    ratios = [round(gsd / spacing) for gsd in gsds]
    first = min(w.start * ratio for w, ratio in zip(windows, ratios, strict=True))
    last = max(w.stop * ratio for w, ratio in zip(windows, ratios, strict=True))
    return first - halo, last + halo


def _common_spacing(coarse: float, fine: float) -> float | None:
    """Sample spacing of at most 1.25 m that divides both pixel sizes; None if only a very fine one does."""
    least = _supersample(fine, None)
    for ratio in range(least, 2 * least + 2):
        samples = coarse / fine * ratio
        if abs(samples - round(samples)) < 1e-9 * samples:
            return fine / ratio
    return None


def _clouds(scene: Scene, date: np.datetime64, gsd_m: float, window: _Window, cover: float) -> tuple[_Image, _Image]:
    """Opacity of the clouds, and the depth of their shadows, both 0 to 1."""
    if not 0.0 <= cover <= 1.0:
        raise ParameterError(f"clouds={cover}; expected a share from 0 to 1. Give the share of the scene.")
    places = [np.asarray((np.arange(part.start, part.stop) + 0.5) * gsd_m, np.float64) for part in window]
    if cover == 0.0:
        nothing = np.zeros((len(places[0]), len(places[1])), np.float32)
        return nothing, nothing
    height, width = scene.extent_m
    whole = _cloud_depth(scene, date, np.linspace(0.0, height, 128), np.linspace(0.0, width, 128))
    level = float(np.quantile(whole, 1.0 - cover)) if cover < 1.0 else -100.0
    away = _shadow_per_metre(scene, date)
    away *= min(700.0, 0.95 * _MARGIN_M / float(np.abs(away).max()))  # Height of the cloud in metres.
    opacity = np.clip((_cloud_depth(scene, date, places[0], places[1]) - level) * 2.2, 0.0, 1.0)
    shadow = _cloud_depth(scene, date, places[0] - away[1], places[1] - away[0])
    shadow = np.clip((shadow - level) * 2.2, 0.0, 1.0)
    return opacity.astype(np.float32), shadow.astype(np.float32)


def _cloud_depth(scene: Scene, date: np.datetime64, y_m: _Floats, x_m: _Floats) -> _Image:
    """Smooth field whose highest parts are clouds."""
    layers = ((620.0, 1.0), (240.0, 0.55), (95.0, 0.28), (38.0, 0.13))
    seed = _ordinal(date)
    parts = [w * _surface(scene, (10 + n, seed), spacing, y_m, x_m) for n, (spacing, w) in enumerate(layers)]
    return np.asarray(sum(parts), dtype=np.float32)


def _add_clouds(scene: Scene, cube: xr.DataArray, gsd_m: float, cover: float, nodata: bool) -> xr.DataArray:
    """Hide the surface under clouds and shadows, or paint them."""
    window = _window(scene, gsd_m, None)
    values = cube.values
    white = np.array([_CLOUD[_BANDS.index(str(name))] for name in cube.band.values], np.float32)[:, None, None]
    for t, date in enumerate(cube.time.values):
        opacity, shadow = _clouds(scene, date, gsd_m, window, cover)
        if nodata:
            values[t, :, np.maximum(opacity, shadow) > 0.05] = np.nan
        else:
            lit = values[t] * (1.0 - 0.62 * shadow)
            values[t] = lit + opacity * (white * (0.7 + 0.3 * opacity) - lit)
    return cube.copy(data=values)


# --------------------------------------------------------------------------------------------------
# Small checks and wrapping
# --------------------------------------------------------------------------------------------------


def _ordinal(date: np.datetime64) -> int:
    """Whole number of the day, from 1900, for seeds."""
    return int((date.astype("datetime64[D]") - np.datetime64("1900-01-01")).astype(int))


def _window(scene: Scene, gsd_m: float, window: _Window | None) -> _Window:
    """Rows and columns as plain slices of the whole grid."""
    if not (math.isfinite(gsd_m) and gsd_m > 0):
        raise ParameterError(f"gsd_m={gsd_m}; expected a positive number of metres. Give the pixel size.")
    shape = [math.floor(extent / gsd_m + 1e-6) for extent in scene.extent_m]
    if min(shape) < 1:
        raise ParameterError(f"gsd_m={gsd_m} is coarser than the scene; expected a pixel inside. Make it finer.")
    if window is None:
        return slice(0, shape[0]), slice(0, shape[1])
    bounds = []
    for part, count in zip(window, shape, strict=True):
        start, stop, step = part.indices(count)
        if step != 1 or stop <= start:
            raise ParameterError(f"window={window}; expected two non-empty slices of step 1 within {tuple(shape)}.")
        bounds.append(slice(start, stop))
    return bounds[0], bounds[1]


def _supersample(gsd_m: float, supersample: int | None) -> int:
    """Count the samples per pixel side."""
    if supersample is None:
        return max(1, math.ceil(gsd_m / _SAMPLE_M - 1e-9))
    if supersample < 1:
        raise ParameterError(f"supersample={supersample}; expected 1 or more. Leave it out for the default.")
    return int(supersample)


def _band_names(bands: Sequence[str]) -> tuple[str, ...]:
    """Canonical names, refused where the scene has no spectrum."""
    names = tuple(sensors.canonical_band(band) for band in bands)
    for name in names:
        if name not in _BANDS:
            raise BandError(f"the scene has no band {name}; expected one of {', '.join(_BANDS)}. Leave it out.")
    return names


def _dates(times: ArrayLike) -> NDArray[np.datetime64]:
    """Dates as datetime64 in nanoseconds, one dimension."""
    return np.atleast_1d(np.asarray(times, dtype="datetime64[ns]"))


def _cube(values: _Image, geobox: GeoBox, dates: NDArray[np.datetime64], bands: Sequence[str]) -> xr.DataArray:
    """Wrap values in coordinates."""
    coords = dict(xr_coords(geobox)) | {"time": dates, "band": list(bands)}
    return xr.DataArray(
        values,
        coords,
        dims=("time", "band", "y", "x"),
        name="reflectance",
        attrs={"long_name": "surface reflectance", "units": "1", "grid_mapping": "spatial_ref"},
    )
