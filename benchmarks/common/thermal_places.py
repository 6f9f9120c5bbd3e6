"""Thermal scenes to score sharpened temperatures on: temperature and reflectance in physical units on one grid.

The truth is an image on a grid of about the native resolution of the thermal sensor: bands of 60 m that came on a grid
of 30 m are averaged to 60 m, those of 100 m to 90 m.

References
----------
G. Chander, B. L. Markham, D. L. Helder, "Summary of current radiometric calibration coefficients for Landsat MSS, TM,
ETM+, and EO-1 ALI sensors", Remote Sensing of Environment 113 (2009), doi:10.1016/j.rse.2009.01.007: limits of
radiance, solar irradiance, thermal constants. J. A. Duffie, W. A. Beckman, "Solar Engineering of Thermal Processes",
chapter 1: position of the sun. USGS, "Landsat 8 Data Users Handbook" (LSDS-1574), chapter 5: gains of Level 1.
"""

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from xsr.core.radiometry import brightness_temperature
from xsr.training.manifest import Manifest
from xsr.training.thermal import ThermalScene, average, load_thermal

FOLDER = "thermal_l7_pennsylvania_2002"
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
ELKTON = "thermal_l8_elkton_virginia/l8.nc"
TIRS_GAIN, TIRS_OFFSET = 3.342e-4, 0.1
"""Radiance of Landsat 8 band 10 by digital number, W m-2 sr-1 um-1."""
TIRS_K1, TIRS_K2 = 774.8853, 1321.0789
"""Thermal constants of Landsat 8 band 10."""
OLI_GAIN, OLI_OFFSET = 2e-5, -0.1
"""Reflectance of Landsat 8 bands by digital number, not yet divided by the sine of the sun's elevation."""


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


def elkton(root: Path) -> ThermalScene:
    """Landsat 8 over Elkton, Virginia, at 90 m: brightness temperature of band 10 and reflectance, both at the sensor.

    The file gives neither date nor sun: reflectance is that of a sun in the zenith, too low by one and the same factor.
    """
    with xr.open_dataset(root / ELKTON) as file:
        thermal = file["tirs_30m"].sel(band_t="B10").values.astype(np.float64)
        optical = file["oli_30m"].sel(band=["B4", "B5", "B6"]).values.astype(np.float64)
    kelvin = brightness_temperature(thermal * TIRS_GAIN + TIRS_OFFSET, TIRS_K1, TIRS_K2)
    both = np.concatenate([kelvin[None], optical * OLI_GAIN + OLI_OFFSET])
    both = average(both.astype(np.float32), 3)
    return ThermalScene("Elkton", both[0], both[1:])


def read_scenes(manifest: Manifest) -> Iterator[ThermalScene]:
    """Read all scenes: the test split, and of the train split those with a guide."""
    for day in ("2002-07-20", "2002-11-25"):
        yield pennsylvania(manifest.root, datetime.fromisoformat(f"{day}T15:37"))
    yield elkton(manifest.root)
    yield from (scene for scene in load_thermal(manifest) if guided(scene))
    yield from load_thermal(manifest, split=("test",))


def guided(scene: ThermalScene) -> bool:
    """Whether a scene has a guide."""
    return bool(np.isfinite(scene.guide).any())
