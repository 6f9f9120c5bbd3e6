"""Sensors: their bands with names and aliases, sampling, wavelengths, MTF and noise.

`records` holds what a sensor is, `tables` the sensors themselves, `registry` finds and adds them, `naming` says what a
band name means, and `products` how products of temperature store kelvin. Imports the standard library and `xsr.core`
only. A satellite is never enumerated: an unknown unit of a known family (``sentinel-2d``) gets the table of the family.
"""

from xsr.core.sensors.naming import by_colour, canonical, canonical_band, canonical_names, doubt
from xsr.core.sensors.products import TEMPERATURE_PRODUCTS, TemperatureProduct
from xsr.core.sensors.records import Band, Sensor, SignalToNoise, sigma_px
from xsr.core.sensors.registry import get, knowing, names, register_sensor

__all__ = [
    "TEMPERATURE_PRODUCTS",
    "Band",
    "Sensor",
    "SignalToNoise",
    "TemperatureProduct",
    "by_colour",
    "canonical",
    "canonical_band",
    "canonical_names",
    "doubt",
    "get",
    "knowing",
    "names",
    "register_sensor",
    "sigma_px",
]
