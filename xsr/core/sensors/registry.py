"""The sensors that xsr knows, by name: its tables, and those that `register_sensor` adds."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xsr.core import extensions
from xsr.core.errors import BandError, ParameterError
from xsr.core.sensors.records import Band, Sensor
from xsr.core.sensors.tables import SENSORS

_SENSORS = {sensor.name: sensor for sensor in SENSORS}
_SHORT = {
    "pleiades": "pleiades-1a",
    "pleiades1a": "pleiades-1a",
    "pleiades1b": "pleiades-1b",
    "phr1a": "pleiades-1a",
    "phr1b": "pleiades-1b",
    "superdove": "planetscope",
    "ge01": "geoeye-1",
    "ge1": "geoeye-1",
}
"""Other names of sensors, spelled as in `_sensor_key`."""
_NUMBER = re.compile(r"[a-z]{0,2}[-_]?\d+[a-z]?")
"""A name that numbers a band, such as ``b05``: it means other bands from sensor to sensor."""


def get(name: str) -> Sensor:
    """Find a sensor.

    Parameters
    ----------
    name : str
        Name of the sensor, without regard to case, spaces or underscores; ``"S2A"`` is short for
        ``"sentinel-2a"``. A Sentinel-2 unit without its own table gets the generic one.

    Returns
    -------
    Sensor
        The registered sensor.

    Raises
    ------
    ParameterError
        If no sensor of that name is registered.

    Examples
    --------
    >>> get("S2D").name
    'sentinel-2'
    """
    key = _sensor_key(name)
    known = _known()
    if key in known:
        return known[key]
    if re.fullmatch(r"sentinel-2[a-z]", key):
        return known["sentinel-2"]
    raise ParameterError(
        f"sensor {name!r} is not registered; expected one of {', '.join(names())}. Add it with xsr.register_sensor."
    )


def names() -> tuple[str, ...]:
    """Names of all registered sensors.

    Returns
    -------
    tuple of str
        Names in alphabetical order.
    """
    return tuple(sorted(_known()))


def register_sensor(sensor: Sensor, *, overwrite: bool = False) -> None:
    """Add a sensor, so that its name can be used wherever xsr takes one.

    Parameters
    ----------
    sensor : Sensor
        The sensor to add: its name, and a `Band` for each of its bands.
    overwrite : bool, default False
        Replace a sensor of the same name.

    Raises
    ------
    ParameterError
        If it is no `Sensor` with bands, or the name is that of a different sensor and ``overwrite`` is False.
    BandError
        If a name or alias is a word that other sensors use for another part of the spectrum.

    Notes
    -----
    The MTF of each band is read when an operation builds its graph: workers need not know the sensor. A package
    registers its sensors in a module that its entry point of the group ``xsr.extensions`` names.

    Examples
    --------
    >>> from xsr.core.sensors import Band, Sensor, register_sensor
    >>> red = Band("C1_red", gsd_m=3.0, wavelength_nm=660.0, mtf=0.2, aliases=("red",))
    >>> register_sensor(Sensor("camera-1", (red,)))
    >>> get("camera-1").band("red").mtf
    0.2
    """
    if not getattr(sensor, "bands", ()):
        raise ParameterError(
            f"{sensor!r} is no sensor with bands; expected one. Pass xsr.Sensor(name, bands=[xsr.Band(...), ...])."
        )
    key = _sensor_key(sensor.name)
    if key in _SENSORS and _SENSORS[key] != sensor and not overwrite:
        raise ParameterError(
            f"sensor {sensor.name!r} is registered already; expected a new name."
            " Choose another, or pass overwrite=True to replace it."
        )
    others = [one for name, one in _SENSORS.items() if name != key]
    for band in sensor.bands:
        _check_aliases(band, sensor, others)
    _SENSORS[key] = sensor


def knowing(bands: Iterable[str]) -> list[Sensor]:
    """Sensors that have bands of all these names, in the order in which they were added."""
    wanted = list(bands)
    return [sensor for sensor in _known().values() if all(map(sensor.has, wanted))]


def _known() -> dict[str, Sensor]:
    """Sensors by name, those of installed packages included."""
    extensions.load()
    return _SENSORS


def _check_aliases(band: Band, sensor: Sensor, others: Iterable[Sensor]) -> None:
    """Refuse a name that is a word for another part of the spectrum; numbers such as B05 differ by sensor."""
    for alias in (band.name, *band.aliases):
        if _NUMBER.fullmatch(alias.strip().casefold()):
            continue
        named = [(one.name, one.band(alias)) for one in others if one.has(alias)]
        if named and not any(_overlap(band, other) for _, other in named):
            whose, other = named[0]
            raise BandError(
                f"band {band.name!r} of {sensor.name} at {band.wavelength_nm:g} nm has the name {alias!r}, which is"
                f" {other.name} of {whose} at {other.wavelength_nm:g} nm; expected the same part of the spectrum."
                " Remove the name."
            )


def _overlap(one: Band, other: Band) -> bool:
    """Whether two bands share wavelengths; a width that is not published is taken as a tenth of the centre."""
    widths = [band.bandwidth_nm or band.wavelength_nm / 10 for band in (one, other)]
    return abs(one.wavelength_nm - other.wavelength_nm) <= sum(widths) / 2


def _sensor_key(name: str) -> str:
    """Spell a sensor name as the registry does: ``S2A``, ``Sentinel_2A`` and ``sentinel2a`` agree; ``WV2``."""
    key = re.sub(r"[\s_]+", "-", str(name).strip().casefold())
    key = re.sub(r"^(?:sentinel-?|s)2(?=-?[a-z]?$)-?", "sentinel-2", key)
    key = re.sub(r"^(?:wv|worldview)-?0?(?=\d)", "worldview-", key)
    key = re.sub(r"^(landsat|spot|geoeye)-?(?=\d)", r"\1-", key)
    return _SHORT.get(key, key)
