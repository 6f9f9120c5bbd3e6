"""Which asset of an item is which band, and which bands a cube of several items has."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from xsr.core import checks
from xsr.core.errors import BandError, ParameterError
from xsr.core.sensors import Sensor
from xsr.sources.stac import classes
from xsr.sources.stac.describe import level_of, number_of, sensor_of

if TYPE_CHECKING:
    import pystac

BandsLike: TypeAlias = Sequence[str] | Mapping[str, str]
"""Bands in any spelling, or the key of the asset of each band (``image.3`` for the third band of ``image``)."""
Quantity = Literal["reflectance", "temperature"]
THERMAL_NM = 3000.0
"""Wavelength above which the ground's own radiation counts, and a band shows temperature."""
PICTURES = re.compile(r"visual|overview|preview|thumbnail|tci|true.?colou?r|pvi", re.IGNORECASE)
"""Assets that are pictures to look at, whatever bands they show."""
PREFIX = re.compile(r"^(?:(?:nbart?|sr|st|oli|tirs|etm|tm|msi|band)[_-])+", re.IGNORECASE)
NUMBER = re.compile(r"^band[ _-]?(?=\d)", re.IGNORECASE)
SUFFIX = re.compile(r"\.(?:tiff?|jp2)$", re.IGNORECASE)
GEOSCIENCE_AUSTRALIA = {"nir_1": "B08", "nir_2": "B8A", "swir_2": "B11", "swir_3": "B12"}
"""Sentinel-2 bands as Digital Earth Australia and Africa number them; elsewhere ``swir_2`` is B12."""
COLOURS = ("blue", "green", "red", "nir", "swir16", "swir22", "lwir")
"""Names by which OLI and TM, which number their bands differently, agree."""
OLI, TM = {"landsat-8", "landsat-9"}, {"landsat-4", "landsat-5", "landsat-7"}


@dataclass(frozen=True)
class Source:
    """Where the pixels of a band are."""

    key: str
    """Key of the asset."""
    index: int = 1
    """Number of the band in its file."""


@dataclass(frozen=True)
class Choice:
    """Bands of a cube."""

    names: tuple[str, ...]
    """Names in the cube: canonical ones, or colours where sensors number their bands differently."""
    quantity: Quantity
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of assets that were named for bands."""


def resolve(sensor: Sensor, name: str) -> str:
    """Canonical name of a band that a catalogue or a user names.

    Raises
    ------
    BandError
        If the sensor has no such band.
    """
    try:
        plain = NUMBER.sub("B", PREFIX.sub("", SUFFIX.sub("", name.strip())))
        if sensor.name == "sentinel-2" and name.lower().startswith("nbar") and plain.lower() in GEOSCIENCE_AUSTRALIA:
            return GEOSCIENCE_AUSTRALIA[plain.lower()]
        return sensor.resolve(plain)
    except BandError:
        return sensor.resolve(name)


def find_assets(item: "pystac.Item", sensor: Sensor, *, size: float | None) -> dict[str, Source]:
    """Find the sources by canonical band: at the pixel size that is requested, else the finest."""
    found: dict[str, list[tuple[float, int, str, Source]]] = {}
    for key, asset in item.assets.items():
        if PICTURES.search(key) or {"overview", "thumbnail", "visual"} & set(asset.roles or ()):
            continue
        suffix = re.search(r"_(\d+)m$", key)
        for index, names in _candidates(item, key):
            band, rank = _first(sensor, names)
            if band is None:
                continue
            stated = suffix[1] if suffix else number_of(item, "gsd", asset.extra_fields.get("gsd"))
            gsd = float(stated or sensor.band(band).gsd_m)
            found.setdefault(band, []).append((gsd, rank, key, Source(key, index)))
    chosen = {}
    for band, options in found.items():
        exact = [option for option in options if size is not None and option[0] == size]
        chosen[band] = min(exact or options, key=lambda option: option[:3])[3]
    return chosen


def described(item: "pystac.Item", key: str) -> list[Mapping[str, Any]]:
    """Descriptions of the bands of an asset; early items keep them in their properties and refer by number."""
    fields = item.assets[key].extra_fields
    listed = fields.get("eo:bands") or fields.get("bands") or []
    shared = item.properties.get("eo:bands") or []
    known = [shared[one] if isinstance(one, int) and one < len(shared) else one for one in listed]
    return [one for one in known if isinstance(one, Mapping)]


def _candidates(item: "pystac.Item", key: str) -> Iterator[tuple[int, list[str]]]:
    """List the bands of an asset by number, and what each may be called, the most trusted first."""
    listed = described(item, key)
    plain = re.sub(r"_\d+m$", "", key)
    if len(listed) < 2:
        yield 1, [plain, *(name for band in listed for name in _names(band))]
        return
    for number, band in enumerate(listed, 1):
        yield number, _names(band)


def _names(band: Mapping[str, Any]) -> list[str]:
    return [str(band[key]) for key in ("name", "common_name", "eo:common_name") if band.get(key)]


def _first(sensor: Sensor, names: Sequence[str]) -> tuple[str | None, int]:
    for rank, name in enumerate(names):
        try:
            return resolve(sensor, name), rank
        except BandError:
            continue
    return None, 0


def is_thermal(sensor: Sensor, band: str) -> bool:
    """Whether a band shows temperature."""
    return (sensor.band(band).wavelength_nm or 0.0) > THERMAL_NM


def one_family(items: "Sequence[pystac.Item]") -> bool:
    """Whether the sensors of items number their bands alike.

    Raises
    ------
    ParameterError
        If items belong to sensors that make no common series.
    """
    names = {sensor_of(item).name for item in items}
    if len(names) == 1 or names <= OLI or names <= TM:
        return True
    if names <= OLI | TM:
        return False
    first = sensor_of(items[0]).name
    raise ParameterError(
        f"items of {first} and {', '.join(sorted(names - {first}))} together; expected one sensor."
        " Open them separately."
    )


def _refuse_two_levels(items: "Sequence[pystac.Item]") -> None:
    levels = {level: item.id for item in items if (level := level_of(item))}
    if len(levels) > 1 and sensor_of(items[0]).name == "sentinel-2":
        named = " and ".join(f"Level-{level} ({levels[level]})" for level in sorted(levels))
        raise ParameterError(
            f"items of {named} together; expected one level, for reflectance at the top of the atmosphere and at the"
            " surface make no common series. Open them separately, as by collection=."
        )


def choose_bands(items: "Sequence[pystac.Item]", bands: BandsLike | None) -> Choice:
    """Choose the bands of a cube.

    By default all that every item has: reflectances, or temperatures where there are no others.

    Raises
    ------
    ParameterError
        If items belong to sensors that make no common series, or are of two levels.
    BandError
        If bands are unknown, named twice, of two kinds, or none is common to all items.
    """
    alike = one_family(items)
    _refuse_two_levels(items)
    if bands is None:
        return _common_bands(items, alike)
    sensor = sensor_of(items[0])
    wanted = checks.names("bands", bands)
    _refuse_classes(items, wanted)
    names = tuple(_name_in_cube(sensor, name, alike=alike) for name in wanted)
    if not names or len(set(names)) != len(names):
        raise BandError(f"bands={list(wanted)}; expected at least one, each once.")
    thermal = [name for name in names if is_thermal(sensor, name)]
    if thermal and len(thermal) < len(names):
        raise BandError(
            f"bands={list(wanted)} mix reflectance and temperature ({', '.join(thermal)}); expected one of them. Open"
            f" the temperature by itself with bands={thermal}."
        )
    keys = dict(zip(names, bands.values(), strict=True)) if isinstance(bands, Mapping) else {}
    return Choice(names, "temperature" if thermal else "reflectance", keys)


def _refuse_classes(items: "Sequence[pystac.Item]", wanted: Sequence[str]) -> None:
    kinds = {found.kind.name for item in items if (found := classes.find_classification(item)) is not None}
    for name in wanted:
        if re.sub(r"^oa_|(_\d+m|\.tif)$", "", name.strip().lower()) in kinds:
            raise BandError(
                f"{name!r} is no band but a classification; expected bands. Leave it out: the cube has it as a"
                " coordinate anyway."
            )


def _name_in_cube(sensor: Sensor, name: str, *, alike: bool) -> str:
    if alike:
        return resolve(sensor, name)
    if name.lower() not in COLOURS:
        known = [colour for colour in COLOURS if sensor.resolve(colour) == _first(sensor, [name])[0]]
        advice = f" Pass {known[0]!r} for what {sensor.name} calls {name}." if known else ""
        raise BandError(
            f"band {name!r} has no common meaning for the Landsat sensors of these items, which number their bands"
            f" differently; expected one of {', '.join(COLOURS)}.{advice}"
        )
    return name.lower()


def _common_bands(items: "Sequence[pystac.Item]", alike: bool) -> Choice:
    """Bands of all items in which any is recognised."""
    sensor = sensor_of(items[0])
    found = [(sensor_of(item), find_assets(item, sensor_of(item), size=None)) for item in items]
    have = [(one, assets) for one, assets in found if assets]
    if not have:
        raise BandError(missing(items[0], sensor, lacking=()))
    order = sensor.band_names if alike else COLOURS
    shared = [name for name in order if all(one.resolve(name) in assets for one, assets in have)]
    reflectances = tuple(name for name in shared if not is_thermal(sensor, name))
    if reflectances:
        return Choice(reflectances, "reflectance")
    if shared:
        return Choice(tuple(shared), "temperature")
    raise BandError(f"items have no band of {sensor.name} in common; name the bands.")


def sources(item: "pystac.Item", choice: Choice, *, size: float | None) -> dict[str, Source]:
    """Find the sources of the bands of a cube in an item.

    Raises
    ------
    BandError
        If it lacks one, with the assets it has and what they were taken for.
    """
    sensor = sensor_of(item)
    have = find_assets(item, sensor, size=size)
    for name, key in choice.keys.items():
        have.pop(sensor.resolve(name), None)
        named = _named_source(item, key)
        have |= {} if named is None else {sensor.resolve(name): named}
    lacking = [name for name in choice.names if sensor.resolve(name) not in have]
    if lacking:
        raise BandError(missing(item, sensor, lacking=lacking))
    return {name: have[sensor.resolve(name)] for name in choice.names}


def _is_image(item: "pystac.Item", key: str) -> bool:
    """Whether an asset may hold a band: no text, and no picture."""
    kind = str(item.assets[key].media_type or "")
    texts = kind.startswith(("text/", "application/")) or re.search(r"\.(txt|xml|json|html?)$", item.assets[key].href)
    return not texts and kind not in ("image/jpeg", "image/png") and not PICTURES.search(key)


def _named_source(item: "pystac.Item", key: str) -> Source | None:
    """Source that a user names: an asset, or one band of it as ``image.3``."""
    if key in item.assets:
        return Source(key)
    stem, _, number = key.rpartition(".")
    return Source(stem, int(number)) if stem in item.assets and number.isdecimal() and int(number) else None


def missing(item: "pystac.Item", sensor: Sensor, *, lacking: Sequence[str]) -> str:
    """Message about bands that an item lacks, with its assets and what they were taken for."""
    taken: dict[str, list[str]] = {key: [] for key in item.assets}
    for band, source in find_assets(item, sensor, size=None).items():
        taken[source.key].append(band)
    kinds = classes.find_classification(item)
    if kinds is not None:
        taken[kinds.key].append("classification")
    have = sorted(find_assets(item, sensor, size=None))
    lines = [
        f"{key} ({', '.join(what) or 'not recognised'})" for key, what in taken.items() if what or _is_image(item, key)
    ]
    return (
        f"item {item.id} has no asset of bands {list(lacking)}; it has {', '.join(have) or f'no band of {sensor.name}'}"
        f" among its assets {', '.join(lines) or '(none)'}. Choose other bands, or name the asset of each band:"
        " bands={'B04': '...'}."
    )
