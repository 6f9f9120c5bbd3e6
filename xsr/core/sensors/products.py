"""How products of surface temperature store kelvin."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TemperatureProduct:
    """How a product of surface temperature stores kelvin: ``number * scale + offset``; the number 0 is no data."""

    scale: float
    offset: float
    sensor: str
    """Sensor that observes it."""
    gsd_m: float
    """Pixel size in metres of the product, which may be finer than the sensor's."""
    source: str


TEMPERATURE_PRODUCTS = {
    "landsat-c2-st": TemperatureProduct(
        0.00341802,
        149.0,
        "landsat-8",
        30.0,
        "USGS Landsat Collection 2 Level-2 surface temperature (ST_B10 of Landsat 8 and 9, ST_B6 of 4, 5 and 7), whose"
        " 30 m pixels are resampled from the 100 m, 120 m or 60 m of the sensor",
    ),
    "modis-lst": TemperatureProduct(
        0.02, 0.0, "modis", 1000.0, "NASA MOD11, MYD11 and MYD21 land surface temperature (LST_1KM, LST_Day_1km)"
    ),
    "ecostress-lst": TemperatureProduct(
        0.02, 0.0, "ecostress", 70.0, "NASA ECO2LSTE version 1, ECO_L2_LSTE version 2, land surface temperature"
    ),
}
"""Stored numbers of temperature products, by name."""
