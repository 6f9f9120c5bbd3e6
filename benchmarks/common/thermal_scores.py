"""Scores of sharpened temperatures by the Wald protocol, on thermal scenes that no recipe trains on.

The truth is an image on a grid of about the native resolution of the thermal sensor: bands of 60 m that came on a grid
of 30 m are averaged to 60 m first, those of 100 m to 90 m. Observed through a Gaussian point spread function at four or
eight times coarser pixels it is sharpened back by the public operation `xsr.guided`, and compared with itself.

References
----------
G. Chander, B. L. Markham, D. L. Helder, "Summary of current radiometric calibration coefficients for Landsat MSS, TM,
ETM+, and EO-1 ALI sensors", Remote Sensing of Environment 113 (2009), doi:10.1016/j.rse.2009.01.007: limits of
radiance, solar irradiance, thermal constants. J. A. Duffie, W. A. Beckman, "Solar Engineering of Thermal Processes",
chapter 1: position of the sun.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from scipy.ndimage import binary_dilation

from xsr.core.radiometry import brightness_temperature
from xsr.kernels.degrade import blur_decimate
from xsr.operations.evaluate import evaluate, strata
from xsr.operations.guided import guided
from xsr.training.manifest import Manifest
from xsr.training.thermal import ThermalScene, average, load_thermal
from xsr.training.thermal_synthetic import GUIDE_BANDS

FOLDER = "thermal_l7_pennsylvania_2002"
MTF = 0.3
"""Modulation at the Nyquist frequency of the low-resolution image."""
BORDER = 4
"""Pixels along each side that do not count."""
METHODS: dict[str, dict[str, str]] = {
    "bilinear": {"method": "bilinear"},
    "bicubic": {"method": "bicubic"},
    "guided filter": {"method": "guided_filter"},
    "TsHARP": {"method": "tsharp"},
    "ESRNet": {"model": "esrnet_lst"},
    "JIIF": {"model": "jiif_lst"},
    "DCTNet": {"model": "dctnet_lst"},
    "DCTRRDBNet": {"model": "dctrrdbnet_lst"},
}
"""Rows of the table, as arguments of `xsr.guided`."""
UNGUIDED = ("bilinear", "bicubic", "ESRNet")
"""Rows that need no guide."""
K1, K2 = 666.09, 1282.71
"""Thermal constants of ETM+ band 6: W m-2 sr-1 um-1, kelvin."""
THERMAL = (3.2, 12.65)
"""Radiance of ETM+ band 6 in high gain at digital numbers 1 and 255, W m-2 sr-1 um-1."""
IRRADIANCE = (1533.0, 1039.0, 230.8)
"""Solar irradiance in ETM+ bands 3, 4 and 5, W m-2 um-1."""
RADIANCE = {
    "low": ((-5.0, 152.9), (-5.1, 241.1), (-1.0, 31.06)),
    "high": ((-5.0, 152.9), (-5.1, 157.4), (-1.0, 31.06)),
}
"""Radiance of ETM+ bands 3, 4 and 5 at digital numbers 1 and 255, by the gain of band 4; 3 and 5 are in high gain."""
LOW_GAIN_ABOVE = 45.0
"""Elevation of the sun above which band 4 is in low gain over land, degrees."""
CLOUD_RED, CLOUD_GROW = 0.2, 3
"""Red reflectance above which a pixel is cloud, and the pixels by which clouds are grown."""


@dataclass(frozen=True)
class ThermalScore:
    """Errors of one method on one scene."""

    place: str
    scale: int
    method: str
    psnr_db: float
    ssim: float
    mse_k2: float
    bias_k: float
    edges: float
    """Correlation of the strength of the gradient with that of the guide; NaN without one."""
    strata_rmse_k: tuple[float, ...]
    """Root mean square error where the truth is flat, to where it is steep, by quartiles of its gradient."""


def sun_elevation(when: datetime, latitude: float, longitude: float) -> float:
    """Elevation of the sun in degrees, to about half a degree.

    Parameters
    ----------
    when
        Universal time.
    latitude, longitude
        Degrees north and east.
    """
    day = when.timetuple().tm_yday
    declination = math.radians(23.45) * math.sin(2 * math.pi * (284 + day) / 365)
    turn = 2 * math.pi * (day - 81) / 364
    equation_h = (9.87 * math.sin(2 * turn) - 7.53 * math.cos(turn) - 1.5 * math.sin(turn)) / 60
    hour = when.hour + when.minute / 60 + longitude / 15 + equation_h - 12
    height = math.sin(math.radians(latitude)) * math.sin(declination)
    height += math.cos(math.radians(latitude)) * math.cos(declination) * math.cos(math.radians(15 * hour))
    return math.degrees(math.asin(height))


def reflectance(dn: NDArray[np.floating], limits: tuple[float, float], irradiance: float, factor: float) -> Any:
    """Reflectance at the top of the atmosphere of 8-bit numbers 1 to 255, ``pi L d^2 / (E sin h)``.

    Parameters
    ----------
    dn
        Digital numbers.
    limits
        Radiance at 1 and at 255.
    irradiance
        Of the sun, at one astronomical unit.
    factor
        ``d^2 / sin h`` with the distance of the sun in astronomical units and its elevation.
    """
    return math.pi * radiance(dn, limits) * factor / irradiance


def radiance(dn: NDArray[np.floating], limits: tuple[float, float]) -> Any:
    """Spectral radiance of 8-bit numbers 1 to 255, from that at both ends."""
    low, high = limits
    return low + (dn - 1) * (high - low) / 254


def pennsylvania(root: Path, when: datetime) -> ThermalScene:
    """Landsat 7 over Pennsylvania in 2002 at 60 m: brightness temperature and reflectance, both at the sensor.

    Clouds, which are bright in the red, are no data, and so are the pixels around them.
    """
    with rasterio.open(root / FOLDER / f"LE07_p015r032_{when:%Y%m%d}.tif") as source:
        dn = source.read().astype(np.float64)
    elevation = sun_elevation(when, 40.5, -76.2)
    distance = 1 - 0.01672 * math.cos(math.radians(0.9856 * (when.timetuple().tm_yday - 4)))
    factor = distance**2 / math.sin(math.radians(elevation))
    limits = RADIANCE["low" if elevation > LOW_GAIN_ABOVE else "high"]
    bands = [
        reflectance(dn[number], ends, sun, factor)
        for number, ends, sun in zip((2, 3, 4), limits, IRRADIANCE, strict=True)
    ]
    kelvin = brightness_temperature(radiance(dn[6], THERMAL), K1, K2)
    both = average(np.stack([kelvin, *bands]).astype(np.float32), 2)
    cloudy = binary_dilation(both[1] > CLOUD_RED, iterations=CLOUD_GROW)
    both[:, cloudy] = np.nan
    return ThermalScene(f"Pennsylvania {when:%Y-%m-%d}", both[0], both[1:])


def read_scenes(manifest: Manifest) -> Iterator[ThermalScene]:
    """Read the thermal scenes of the test split; those in Pennsylvania need the position of the sun."""
    for day in ("2002-07-20", "2002-11-25"):
        yield pennsylvania(manifest.root, datetime.fromisoformat(f"{day}T15:37"))
    yield from load_thermal(manifest, split=("test",))


def cube(images: NDArray[np.float32], names: tuple[str, ...], scale: int = 1) -> xr.DataArray:
    """Images (band, y, x) as a cube, in pixels of an arbitrary grid that are ``scale`` times 60 m."""
    box = GeoBox(images.shape[1:], Affine(60 * scale, 0, 600_000, 0, -60 * scale, 4_500_000), "EPSG:32618")
    units = "K" if names == ("lst",) else "1"
    return xr.DataArray(
        images, dims=("band", "y", "x"), coords={"band": list(names), **xr_coords(box)}, attrs={"units": units}
    )


def pair(scene: ThermalScene, scale: int) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Low-resolution temperature, guide and truth of a scene, cut to whole low-resolution pixels."""
    height, width = (size // scale * scale for size in scene.kelvin.shape)
    truth = scene.kelvin[None, :height, :width]
    low = blur_decimate(truth, scale=scale, mtf=MTF)
    guide = scene.guide[:, :height, :width]
    if not np.isfinite(guide).any():
        guide = np.zeros_like(guide)  # gives the grid, and no information
    return cube(low, ("lst",), scale), cube(guide, GUIDE_BANDS), cube(truth, ("lst",))


def score(scene: ThermalScene, scale: int, method: str, **how: Any) -> ThermalScore:
    """Sharpen a degraded scene and compare it with the truth.

    Parameters
    ----------
    scene
        Truth and guide.
    scale
        Factor.
    method
        Key of `METHODS`.
    **how
        Further arguments of `xsr.guided`.
    """
    low, guide, truth = pair(scene, scale)
    arguments: Mapping[str, Any] = METHODS[method]
    fine = guided(low, guide, **arguments, **how)
    assert isinstance(fine, xr.DataArray)
    data_range = float(truth.max() - truth.min())
    found = evaluate(fine, truth, data_range=data_range, metrics=("psnr", "ssim", "rmse", "bias"), border=BORDER)
    steep = strata(fine, truth, metrics=("rmse",), border=BORDER)["rmse"].values.ravel()
    value = {name: float(found[name].values.squeeze()) for name in ("psnr", "ssim", "rmse", "bias")}
    return ThermalScore(
        scene.place,
        scale,
        method,
        round(value["psnr"], 3),
        round(value["ssim"], 4),
        round(value["rmse"] ** 2, 4),
        round(value["bias"], 4),
        round(alignment(fine.values[0], guide.values), 3),
        tuple(round(float(rmse), 3) for rmse in steep),
    )


def alignment(kelvin: NDArray[np.floating], guide: NDArray[np.floating]) -> float:
    """Correlation of the strengths of the gradients of a temperature (y, x) and a guide (band, y, x).

    The strength in the guide is the sum over its bands, each divided by its standard deviation. The truth has a value
    of its own: below it edges of the guide are missed, above it edges are made up that the temperature has not. NaN
    where either has no gradient.
    """
    own = np.hypot(*np.gradient(kelvin.astype(np.float64)))
    other = np.zeros_like(own)
    for band in guide.astype(np.float64):
        other += np.hypot(*np.gradient(band)) / max(float(np.nanstd(band)), 1e-9)
    inner = np.zeros(own.shape, bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    known = inner & np.isfinite(own) & np.isfinite(other)
    if known.sum() < 2 or min(own[known].std(), other[known].std()) < 1e-12:
        return math.nan
    return float(np.corrcoef(own[known], other[known])[0, 1])
