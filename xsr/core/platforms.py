"""Which sensors a cube states that its images come from, and what their own band names mean.

Satellites number their bands in their own ways: ``B5`` is a red edge of Sentinel-2, the near infrared of Landsat 8 and
the short-wave infrared of Landsat 5. Readers and catalogues put the satellite beside the dates (``platform``); where
they do, a band means the band of Sentinel-2 that shows the same colour.
"""

from collections.abc import Sequence

import numpy as np

from xsr.core import sensors
from xsr.core.errors import BandError, ParameterError
from xsr.core.sensors import Sensor
from xsr.core.types import XarrayObject

KEYS = ("platform", "eo:platform", "constellation", "SPACECRAFT_ID", "spacecraft_id")
"""Coordinates and attributes that name the satellite: of STAC, and of Landsat's metadata."""


def stated(obj: XarrayObject) -> tuple[Sensor, ...]:
    """Sensors that the first of `KEYS` names in the coordinates or attributes of a cube; none where none is registered.

    A coordinate is read, also of a lazy cube: it holds one word for each date.
    """
    for key in KEYS:
        if key in obj.coords and obj.coords[key].dtype.kind in "OUST":
            found = obj.coords[key].compute(scheduler="synchronous").values
            return _registered(sorted({str(name) for name in np.ravel(found).tolist()}))
        if isinstance(obj.attrs.get(key), str):
            return _registered([obj.attrs[key]])
    return ()


def _registered(platforms: Sequence[str]) -> tuple[Sensor, ...]:
    found = []
    for platform in platforms:
        try:
            found.append(sensors.get(platform))
        except ParameterError:
            continue
    return tuple(found)


def number_otherwise(found: Sequence[Sensor]) -> bool:
    """Whether any of some sensors numbers its bands otherwise than Sentinel-2."""
    return not all(sensor.name.startswith("sentinel-2") for sensor in found)


def sensor_of(bands: Sequence[str], found: Sequence[Sensor]) -> Sensor:
    """Sensor whose MTFs hold for bands, by the names that it gives them.

    Parameters
    ----------
    bands
        Names of the bands.
    found
        The sensors that the cube states.

    Returns
    -------
    Sensor
        A stated one that numbers its bands in its own way; else Sentinel-2, if it knows all the bands; else the only
        sensor that does. Only sensors that publish the MTF of each band count; if none is left, Sentinel-2.
    """
    known = [one for one in sensors.knowing(bands) if all(one.band(name).mtf is not None for name in bands)]
    own = [one for one in known if one in found and number_otherwise([one])]
    plain = sensors.get("sentinel-2")
    if len(own) == 1:
        return own[0]
    return known[0] if len(known) == 1 and not all(map(plain.has, bands)) else plain


def meanings(labels: Sequence[str], read: Sequence[str], found: Sequence[Sensor]) -> list[str]:
    """Canonical names of Sentinel-2 for the bands of other sensors.

    Parameters
    ----------
    labels
        Names of the bands.
    read
        What each means where no sensor is stated, or the sensor has no band of the name.
    found
        The sensors.

    Returns
    -------
    list of str
        Of a band that resembles none of Sentinel-2, or different ones from sensor to sensor, its label with the
        sensors, which is the name of no band.

    Examples
    --------
    >>> meanings(["B5", "B10"], ["B05", "B10"], [sensors.get("landsat-8")])
    ['B08', 'B10 of landsat-8']
    """
    if not number_otherwise(found):
        return list(read)
    return [_meaning(label, plain, found) for label, plain in zip(labels, read, strict=True)]


def _meaning(label: str, plain: str, found: Sequence[Sensor]) -> str:
    colours = {_colour(label, plain, sensor) for sensor in found}
    colour = colours.pop() if len(colours) == 1 else None
    return colour or f"{label} of {', '.join(sorted(sensor.name for sensor in found))}"


def _colour(label: str, plain: str, sensor: Sensor) -> str | None:
    """Canonical name of the band that shows the same colour; None if there is none."""
    try:
        own = sensor.resolve(label)
    except BandError:
        return plain
    if sensor.name.startswith("sentinel-2"):
        return plain
    colour = sensors.by_colour(own, sensor)
    return None if colour == own else colour
