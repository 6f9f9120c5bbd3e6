"""Scores by the Wald protocol on places that no recipe trains on.

Each image is degraded by the per-band point spread function of a sensor ``scale`` times coarser, super-resolved back by
the public operations, and compared with the original, a border of `BORDER` pixels off.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsr.core import sensors
from xsr.kernels.degrade import blur_decimate
from xsr.kernels.resample import fill_nodata
from xsr.operations.interpolate import interpolate
from xsr.operations.super_resolve import liif
from xsr.training.scenes import BANDS, CLEAR_SHARE, CLOUDY_CLASSES, Image, to_reflectance

BORDER = 4
"""High-resolution pixels ignored along each side."""


@dataclass(frozen=True)
class TestPlace:
    """Images of one place, kept apart from training."""

    __test__ = False

    name: str
    bands: tuple[str, ...]
    images: Image
    """Reflectance, shape (date, band, y, x)."""
    times: tuple[str, ...] | None = None
    """Dates, where they are known."""
    box: GeoBox | None = None
    """Grid of the images; an arbitrary one where it is unknown."""

    def cube(self, images: Image | None = None, *, scale: float = 1.0) -> xr.DataArray:
        """Images as a cube; with ``scale``, images degraded by that factor on their coarser grid."""
        images = self.images if images is None else images
        a = self.box.affine if self.box is not None else Affine(10, 0, 600_000, 0, -10, 5_700_000)
        crs = self.box.crs if self.box is not None else "EPSG:32631"
        coarse = Affine(a.a * scale, 0, a.c, 0, a.e * scale, a.f)
        coords = {"band": list(self.bands), **xr_coords(GeoBox(images.shape[2:], coarse, crs))}
        if self.times is not None:
            coords["time"] = np.array(self.times, "datetime64[ns]")
        return xr.DataArray(images, dims=("time", "band", "y", "x"), coords=coords)


@dataclass(frozen=True)
class Score:
    """Mean over dates of the peak signal-to-noise ratio, peak 1 reflectance, errors pooled over bands."""

    place: str
    scale: float
    dates: int
    bicubic_db: float
    model_db: float
    band_gain_db: dict[str, float]
    """Gain of each band over bicubic."""

    @property
    def gain_db(self) -> float:
        """Gain over bicubic interpolation."""
        return round(self.model_db - self.bicubic_db, 3)


def series_31ues(root: Path) -> TestPlace:
    """Read the clear dates of the series 31UES."""
    folder = root / "s2_ts_belgium_31UES"
    with xr.open_dataset(folder / "s2_20m.nc", mask_and_scale=False) as coarse:
        cloudy = np.isin(coarse["SCL"].values, CLOUDY_CLASSES).mean(axis=(1, 2))
    with xr.open_dataset(folder / "s2_10m.nc", mask_and_scale=False) as fine:
        dn = np.stack([fine[band].values for band in BANDS], axis=1)
        times, box = fine["time"].values, fine.odc.geobox
    clear = cloudy <= 1 - CLEAR_SHARE
    dates = tuple(str(time) for time in times[clear])
    return TestPlace("31UES", BANDS, to_reflectance(dn[clear]), dates, box)


def _geotiff(root: Path, name: str, file: str, bands: tuple[str, ...]) -> TestPlace:
    import rasterio

    with rasterio.open(root / file) as source:
        index = [source.descriptions.index(band) + 1 for band in bands]
        return TestPlace(name, bands, to_reflectance(source.read(index), 1e-4, source.nodata)[None])


def _slovenia(root: Path) -> TestPlace:
    with np.load(root / "s2_eolearn_slovenia" / "reference_scenes_u16.npz") as archive:
        names = [str(name) for name in archive["bands"]]
        images = archive["refl"][..., [names.index(band) for band in BANDS]].transpose(0, 3, 1, 2)
    blue = images[:, 0].reshape(len(images), -1)
    clear = np.quantile(blue, 0.95, axis=1) < 2500  # the cloudy scenes are bright in the blue
    return TestPlace("Slovenia", BANDS, to_reflectance(images[clear]))


def test_places(root: Path) -> Iterator[TestPlace]:
    """Read the places of the test split."""
    yield series_31ues(root)
    yield _geotiff(root, "Kempen 31UFS", "s2_l8_kempen_31UFS/s2_l1c_10m_B02B03B04B08.tif", BANDS)
    yield _geotiff(root, "Berlin A 2021-10-10", "s2_rgb_berlin_10m/berlin_A_20211010_B02B03B04.tif", BANDS[:3])
    yield _slovenia(root)


test_places.__test__ = False  # type: ignore[attr-defined]


def degraded(place: TestPlace, scale: float) -> Image:
    """Images of a place as a sensor ``scale`` times coarser would have seen them."""
    table = sensors.get("sentinel-2")
    bands = []
    for index, name in enumerate(place.bands):
        mtf = table.band(name).mtf
        assert mtf is not None
        filled = fill_nodata(place.images[:, index], passes=4, constant=float(np.nanmean(place.images[:, index])))
        bands.append(blur_decimate(filled, scale=scale, mtf=mtf))
    return np.stack(bands, axis=1)


def score(place: TestPlace, scale: float, model: str | Path) -> Score:
    """Score a model against bicubic interpolation at one place and scale."""
    low = place.cube(degraded(place, scale), scale=scale)
    return compare(low, place.cube(), name=place.name, scale=scale, model=model)


def compare(low: xr.DataArray, high: xr.DataArray, *, name: str, scale: float, model: str | Path) -> Score:
    """Super-resolve ``low`` and compare it with ``high``, whose grid has the same corner and the finer pixel."""
    fine = np.asarray(liif(low, scale=scale, model=model).values)
    base = np.asarray(interpolate(low, scale=scale, method="bicubic").values)
    inner = (slice(None), slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    truth = high.values[:, :, : fine.shape[2], : fine.shape[3]][inner]
    model_mse, base_mse = (np.nanmean((v[inner] - truth).astype(np.float64) ** 2, axis=(2, 3)) for v in (fine, base))
    base_db, model_db = (float(-10 * np.log10(mse.mean(axis=1)).mean()) for mse in (base_mse, model_mse))
    gains = (10 * np.log10(base_mse / model_mse)).mean(axis=0)
    by_band = {str(band): round(float(gain), 3) for band, gain in zip(high["band"].values, gains, strict=True)}
    return Score(name, scale, len(truth), round(base_db, 3), round(model_db, 3), by_band)
