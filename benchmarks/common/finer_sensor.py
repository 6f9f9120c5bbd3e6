"""Series of Sentinel-2 on the sensor's own pixels, and an image of a finer sensor on its own grid.

The reference is never resampled: what is compared with it is made on its grid, moved to where it is registered. Its
counts are brought to reflectance band by band, by the gain and the offset of what a Gaussian of 20 m leaves of both.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsr
from xsr.core.ground import pixel_size_m
from xsr.kernels.resample import fill_nodata
from xsr.sources.masks import SCL_INVALID
from xsr.training.manifest import Manifest, Split
from xsr.training.reading import CLEAR_SHARE
from xsr.training.scenes import FINE

NAMES = {"red": "B04", "green": "B03", "blue": "B02", "nir": "B08"}
"""Bands of SPOT and those of Sentinel-2 they are compared with."""
VISIBLE = ("B04", "B03", "B02")
"""Bands whose mean is compared with the panchromatic image."""
PAN = "pan"
SMOOTH_M = 20.0
"""Width of the Gaussian under which radiometry is compared."""
SERIES, SPOT = "worldstrat/", "spot7_red_5m_madagascar/ref_spot7_5m_20170216.tif"
ISLAND, ISLAND_DATES, ISLAND_DAY = "madagascar", ("20170203_T38KPD", "20170223_T38KPD"), "2017-02-16"


@dataclass(frozen=True)
class Pair:
    """Dates of Sentinel-2, and an image of a finer sensor."""

    place: str
    kind: str
    """Name of the reference."""
    low: xr.DataArray
    """Clear dates (time, band, y, x), reflectance, on the sensor's own pixels."""
    date: int
    """Date that is made finer alone."""
    day: str
    """Day of the reference."""
    reference: xr.DataArray
    """Shape (band, y, x), named as the bands that it is compared with, or `PAN`."""

    @property
    def box(self) -> GeoBox:
        """Grid of the reference."""
        return self.reference.odc.geobox

    @property
    def single(self) -> xr.DataArray:
        """The date that is made finer alone."""
        return self.low.isel(time=self.date, drop=True)

    @property
    def nearest(self) -> bool:
        """Whether no date is nearer to the reference."""
        away = np.abs(self.low["time"].values - np.datetime64(self.day, "ns"))
        return bool(away[self.date] == away.min())

    @property
    def pixel_m(self) -> float:
        """Pixel size of the reference in metres."""
        return float(np.mean(pixel_size_m(self.box)))

    def shown(self, image: xr.DataArray) -> xr.DataArray:
        """Bands of an image that are compared, or the mean of those that a panchromatic band spans."""
        bands = self.reference["band"].values.tolist()
        if bands != [PAN]:
            return image.sel(band=bands)
        return image.sel(band=list(VISIBLE)).mean("band", keepdims=True).assign_coords(band=[PAN])

    def corner(self, side: int) -> "Pair":
        """Pair with some pixels of the reference."""
        return replace(self, reference=self.reference.isel(y=slice(side), x=slice(side)))


def pairs(data: Manifest, split: Split) -> Iterator[Pair]:
    """Read the pairs of a split, each registered and harmonised; those over Madagascar are for validation."""
    for scene in data.select("series", split=(split,)):
        if scene.place.startswith(SERIES):
            (path,) = data.paths(scene, scene.place)
            yield from map(registered, worldstrat(Path(path)))
    if split == "validation":
        yield from map(registered, island(data))


def worldstrat(path: Path) -> Iterator[Pair]:
    """Pairs of a scene of WorldStrat: bands of 6 m, and the panchromatic one, averaged to 3 m."""
    with xr.open_dataset(path, mask_and_scale=False) as data:
        clear = 1 - np.isin(data["scl"].values, SCL_INVALID).mean(axis=(1, 2)) >= CLEAR_SHARE
        images = data["s2_l2a"].load().drop_vars("revisit", errors="ignore").drop_attrs()
        day = str(data.attrs["spot_date"])
        spot = data["spot_rgbn"].assign_coords(band_spot=[NAMES[str(name)] for name in data["band_spot"].values])
        fine = spot.sel(band_spot=list(FINE)).values.astype(np.float32)
        pan = data["spot_pan"].coarsen(x_pan=2, y_pan=2).mean().values.astype(np.float32)
    degrees = (images.where(images != 0) * np.float32(1e-4)).odc.assign_crs("EPSG:4326")
    low = filled(xsr.native(degrees, units="reflectance").sel(band=list(FINE)).isel(time=np.flatnonzero(clear)))
    date = int(np.abs(low["time"].values - np.datetime64(day, "ns")).argmin())
    for kind, values, bands in (("SPOT 6 m", fine, FINE), ("panchromatic", pan[None], (PAN,))):
        reference = dressed(values, bands, stretched(degrees.odc.geobox, values.shape[1:]))
        yield Pair(path.stem, kind, low, date, day, reference)


def island(data: Manifest) -> Iterator[Pair]:
    """Pairs of two dates over Madagascar with the red band of SPOT-7."""
    scenes = [scene for scene in data.select("image") if scene.place == ISLAND]
    paths = [path for scene in scenes for path in data.paths(scene, ISLAND)]
    known = [next(path for path in paths if name in path) for name in ISLAND_DATES]
    scene = scenes[0]
    bands = [list(scene.bands).index(band) for band in FINE]
    cubes = [xr.open_dataarray(path, engine="rasterio", mask_and_scale=False)[bands] for path in known]
    times = np.array([f"{name[:4]}-{name[4:6]}-{name[6:8]}" for name in ISLAND_DATES], "datetime64[ns]")
    values = np.stack([cube.values for cube in cubes]).astype(np.float32)
    scaled = np.where(values == scene.nodata, np.float32(np.nan), values * np.float32(scene.scale))
    low = dressed(scaled, FINE, cubes[0].odc.geobox, times)
    spot = xr.open_dataarray(data.root / SPOT, engine="rasterio", mask_and_scale=False)
    reference = dressed(spot.values.astype(np.float32), ("B04",), spot.odc.geobox)
    for date, time in enumerate(times):
        yield Pair(f"Madagascar {str(time)[:10]}", "SPOT-7 red 5 m", low, date, ISLAND_DAY, reference)


def dressed(
    values: NDArray[np.float32], bands: tuple[str, ...], box: GeoBox, times: NDArray[np.datetime64] | None = None
) -> xr.DataArray:
    """Make a cube of an array ([time,] band, y, x)."""
    known = {} if times is None else {"time": times}
    coords = {**known, "band": list(bands), **xr_coords(box, dims=("y", "x"))}
    return xr.DataArray(values, coords, (*known, "band", "y", "x"))


def stretched(box: GeoBox, shape: tuple[int, ...]) -> GeoBox:
    """Grid of the same extent with another number of pixels."""
    height, width = (old / new for old, new in zip(box.shape.yx, shape, strict=True))
    return GeoBox(shape, box.affine @ Affine.scale(width, height), box.crs)


def filled(low: xr.DataArray) -> xr.DataArray:
    """Fill the pixels that nearest neighbour skipped, under a hundredth of them, from those around."""
    images = [fill_nodata(date, passes=4, constant=float(np.nanmean(date))) for date in low.values]
    return low.copy(data=np.stack(images)).drop_vars(["native_gsd", "native_x", "native_y"], errors="ignore")


def registered(pair: Pair) -> Pair:
    """Move the grid of a reference to where its content lies, and harmonise its radiometry."""
    guide = pair.shown(xsr.interpolate(pair.single, like=pair.box, units="reflectance"))
    shifts = xsr.register(pair.reference * np.float32(1e-4), reference=guide, units="reflectance")
    down, right = -float(shifts["shift_y_m"]), float(shifts["shift_x_m"])
    step_y, step_x = pixel_size_m(pair.box)
    box = pair.box.translate_pix(-right / step_x, -down / step_y)
    moved = dressed(pair.reference.values, tuple(pair.reference["band"].values), box)
    guide = pair.shown(xsr.interpolate(pair.single, like=box, units="reflectance"))
    return replace(pair, reference=harmonised(moved, guide))


def harmonised(reference: xr.DataArray, guide: xr.DataArray) -> xr.DataArray:
    """Bring each band of a reference to the gain and the offset of an image on its grid."""
    smooth = [xsr.match_psf(image, sigma_m=SMOOTH_M, units="reflectance").values for image in (reference * 1e-4, guide)]
    out = reference.copy()
    for band, (ours, theirs) in enumerate(zip(*smooth, strict=True)):
        known = np.isfinite(ours) & np.isfinite(theirs)
        gain, offset = np.polyfit(ours[known].astype(np.float64), theirs[known].astype(np.float64), 1)
        out[band] = gain * 1e-4 * reference[band] + offset
    return out
