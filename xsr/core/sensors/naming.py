"""What the name of a band means: the canonical names of Sentinel-2 for the words of products, tools and sensors."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence

from xsr.core.errors import BandError
from xsr.core.sensors.records import Sensor
from xsr.core.sensors.registry import get
from xsr.core.sensors.tables.sentinel2 import BANDS, DEA_ALONE, DEA_PREFIXES

_LONG_NAMES = (
    re.compile(r"(B\w{1,2}), central wavelength \d+ nm"),  # GDAL's driver of Sentinel-2
    # Files of SAFE, and what toBands of Earth Engine makes of them.
    re.compile(r"(?:\w+_)?T\d{2}[A-Z]{3}(?:_\d{8}T\d{6})?_(B\w{1,2})(?:_\d{2}m)?"),
)
"""Descriptions and names of files that hold the name of a Sentinel-2 band."""


def canonical_band(name: str, sensor: str | Sensor = "sentinel-2") -> str:
    """Canonical name of a band of a sensor.

    Parameters
    ----------
    name : str
        Canonical name or alias, without regard to case.
    sensor : str or Sensor, default "sentinel-2"
        The sensor, or its name.

    Returns
    -------
    str
        Canonical name.

    Raises
    ------
    BandError
        If the sensor has no such band.

    Examples
    --------
    >>> canonical_band("b2"), canonical_band("nir"), canonical_band("nir", "landsat-9")
    ('B02', 'B08', 'B5')
    """
    found = sensor if isinstance(sensor, Sensor) else get(sensor)
    return found.resolve(name)


def canonical(name: str) -> str:
    """Canonical name of a Sentinel-2 band, or the name itself where the alias table does not know it."""
    try:
        return canonical_band(name)
    except BandError:
        return name


def canonical_names(labels: Sequence[str], hints: Sequence[str] = ()) -> tuple[str, ...]:
    """Canonical Sentinel-2 names of the bands of one cube, each read beside the others.

    Some words depend on the product: ``swir_2`` is B11 where Digital Earth Australia delivers Sentinel-2 (beside
    ``swir_3``), and like B12 elsewhere (beside ``swir_1``); FORCE calls B8A ``NIR`` (beside ``BROADNIR``).

    Parameters
    ----------
    labels : sequence of str
        Names of the bands.
    hints : sequence of str, optional
        A second name for each, such as the common name of STAC, that counts where the first is not known and it is.

    Returns
    -------
    tuple of str
        Canonical names, or the label itself where it is not known or could be two bands.

    Examples
    --------
    >>> canonical_names(["nbart_blue", "nbart_nir_1", "nbart_swir_2"])
    ('B02', 'B08', 'B11')
    >>> canonical_names(["nbart_blue", "nbart_nir", "nbart_swir_2"])  # Landsat
    ('B02', 'B08', 'B12')
    """
    read = _read_together(labels)
    counts = Counter(read)
    repeated = [counts[name] > 1 and _band_of(label) != label for label, name in zip(labels, read, strict=True)]
    found = [label if again else name for label, name, again in zip(labels, read, repeated, strict=True)]  # dates
    second = [canonical(_band_of(hint)) for hint in hints]
    for place, hint in enumerate(second):
        if hint in BANDS and second.count(hint) == 1 and hint not in found and found[place] not in BANDS:
            found[place] = hint
    return tuple(found)


def _read_together(labels: Sequence[str]) -> list[str]:
    """Canonical names of bands, of which each is read beside the words with the same prefix."""
    parts = [_split(label) for label in labels]
    beside = {prefix: frozenset(word for start, word in parts if start == prefix) for prefix in dict(parts)}
    return [
        _in_context(label, word, beside[prefix], prefixed=bool(prefix))
        for label, (prefix, word) in zip(labels, parts, strict=True)
    ]


def _in_context(label: str, word: str, others: frozenset[str], *, prefixed: bool) -> str:
    """Canonical name of a band among others; the label itself where it is not known or could be two bands."""
    if word == "swir_2":
        australian = bool(others & (DEA_ALONE if prefixed else {"nir_1", "swir_3"}))
        elsewhere = bool(others & {"swir_1", "nir"})
        if australian != elsewhere:
            return "B11" if australian else "B12"
        return label if prefixed or australian else canonical(word)
    if word == "swir_3":
        return "B12" if prefixed or others & {"swir_2", "nir_1"} else label
    if word == "nir" and "broadnir" in others:
        return "B8A"
    known = canonical(label) != label or label in BANDS or canonical(word) == word
    return canonical(label) if known else canonical(word)


def _split(label: str) -> tuple[str, str]:
    """Prefix of Digital Earth Australia, and the rest in lower case."""
    match = re.fullmatch(rf"({'|'.join(DEA_PREFIXES)})_(.+)", label.strip(), re.IGNORECASE)
    return ("", _band_of(label).strip().casefold()) if match is None else (match[1].casefold(), match[2].casefold())


def _band_of(label: str) -> str:
    """Name of the band in GDAL's descriptions and names of files; the label itself where it is neither."""
    found = (pattern.fullmatch(label.strip()) for pattern in _LONG_NAMES)
    return next((match[1] for match in found if match is not None), label)


def doubt(label: str) -> str:
    """Say what is known of a band name that means no Sentinel-2 band by itself; empty if nothing is.

    Examples
    --------
    >>> doubt("blu"), doubt("quality")
    ("Did you mean B02 ('blue') by 'blu'?", '')
    """
    word = _split(label)[1]
    if word == "swir_2":
        return f"{label!r} is B11 of Sentinel-2 and like B12 of Landsat at Digital Earth Australia."
    if re.fullmatch(r"(sr|st)_(b\d+|qa\w*)", word):
        return f"{label!r} is a name of Landsat, whose numbers mean other bands from satellite to satellite."
    if canonical(label) in BANDS:
        return ""
    digits = re.sub(r"\D", "", word)
    table = get("sentinel-2")
    words = {key: band.name for band in table.bands for key in (band.name, *band.aliases)}
    same = [key for key in words if re.sub(r"\D", "", key) == digits]  # another number is another band
    near = difflib.get_close_matches(word, [key.casefold() for key in same], n=1, cutoff=0.75)
    found = next((key for key in same if near and key.casefold() == near[0]), None)
    return "" if found is None else f"Did you mean {words[found]} ({found!r}) by {label!r}?"


def by_colour(name: str, sensor: str | Sensor) -> str:
    """Canonical Sentinel-2 name of the band that another sensor's band resembles, or the name itself.

    Parameters
    ----------
    name : str
        Canonical name or alias of a band of ``sensor``, or any other name.
    sensor : str or Sensor
        The sensor that numbers its bands in its own way.

    Examples
    --------
    The near infrared is the fifth band of Landsat 8, and the eighth of Sentinel-2:

    >>> by_colour("B5", "landsat-8"), by_colour("B5", "sentinel-2"), by_colour("red", "landsat-8")
    ('B08', 'B05', 'B04')
    """
    found = sensor if isinstance(sensor, Sensor) else get(sensor)
    if found.name.startswith("sentinel-2"):
        return canonical(name)
    try:
        words = [alias for alias in found.band(name).aliases if not re.fullmatch(r"(\w+_)?[Bb]\d+\w?", alias)]
    except BandError:
        return canonical(name)
    return next((canonical(word) for word in words if canonical(word) != word), name)
