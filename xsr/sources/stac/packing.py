"""What the numbers of an asset mean: reflectance or kelvin, by what the item states or its collection is known to hold.

Sentinel-2 follows `xsr.sources.harmonise`. Of other items a scale must be stated, or the collection be one of `KNOWN`,
whose packing its maker publishes. Nothing is guessed.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from xsr.core import checks
from xsr.core.errors import HarmonisationError, ParameterError
from xsr.core.sensors import TEMPERATURE_PRODUCTS, Sensor
from xsr.sources.harmonise import OFFSET, SINCE, Statement, parse_baseline, resolve_offset
from xsr.sources.rasters import Packing
from xsr.sources.stac.bands import Source, is_thermal
from xsr.sources.stac.describe import HLS, baseline, landsat_product, number_of

if TYPE_CHECKING:
    import pystac

QUANTIFICATION = 10000.0
"""Digital numbers of Sentinel-2 to one unit of reflectance, where an item does not say."""
NO_DATA, SATURATED = 0.0, 65535.0
ZERO_CELSIUS_K = 273.15
KELVIN, CELSIUS = {"k", "kelvin"}, {"c", "celsius", "degree celsius", "degrees celsius", "degree_celsius", "degc", "°c"}
REFLECTANCE = {"", "none", "1", "reflectance", "unitless", "percent reflectance", "dimensionless"}
FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")

OffsetLike: TypeAlias = "float | Mapping[str, float] | Callable[[pystac.Item], float | None] | None"
"""Offset in digital numbers: for all items, by the id of an item, or a function of it; None is by the metadata."""


@dataclass(frozen=True)
class Numbers:
    """Packing of a collection: number * scale + offset."""

    scale: float
    offset: float
    unit: str
    no_data: float
    source: str
    """What says so."""


_ST = TEMPERATURE_PRODUCTS["landsat-c2-st"]
LANDSAT_SR = Numbers(2.75e-5, -0.2, "", 0, "Landsat Collection 2 Level-2")
LANDSAT_ST = Numbers(_ST.scale, _ST.offset, "kelvin", 0, "Landsat Collection 2 Level-2")
HLS_SR = Numbers(1e-4, 0.0, "", -9999, "HLS version 2")
HLS_BT = Numbers(0.01, 0.0, "celsius", -9999, "HLS version 2")
ARD = Numbers(1e-4, 0.0, "", -999, "Geoscience Australia ARD 3")


def known_numbers(item: "pystac.Item", *, thermal: bool) -> Numbers | None:
    """Packing of the collection of an item, where its maker publishes one.

    References
    ----------
    USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide, LSDS-1619 (and LSDS-1618 for 4 to 7). NASA, HLS
    Product User Guide version 2.0. Geoscience Australia, product pages of ``ga_ls8c_ard_3`` and ``ga_s2am_ard_3``.
    """
    collection = (item.collection_id or str(item.properties.get("odc:product") or "")).lower()
    product = landsat_product(item)
    second = product is not None and product[3].startswith("L2") and product[7] == "02"
    if second or re.fullmatch(r"landsat-?c2-?l2(-s[rt])?", collection):
        return LANDSAT_ST if thermal else LANDSAT_SR
    if HLS.search(item.collection_id or "") or HLS.search(item.id):
        return HLS_BT if thermal else HLS_SR
    return ARD if re.fullmatch(r"ga_(ls|s2)\w*_ard_3", collection) and not thermal else None


def offset_of(item: "pystac.Item", offset: OffsetLike) -> float | None:
    """Offset that a user gave for an item; None if none.

    Raises
    ------
    ParameterError
        If it is no finite number.
    """
    value = offset(item) if callable(offset) else offset.get(item.id) if isinstance(offset, Mapping) else offset
    if value is None:
        return None
    if not (checks.is_number(value) and math.isfinite(value)):
        raise ParameterError(f"offset for item {item.id} is {value!r}; expected a finite number, or None.")
    return float(value)


def find_packing(
    item: "pystac.Item", sensor: Sensor, *, band: str, source: Source, override: float | None
) -> tuple[Packing, str]:
    """How the numbers of a band become reflectance or kelvin, and what says so.

    Raises
    ------
    HarmonisationError
        If metadata contradict each other, say nothing, or state another quantity.
    """
    thermal = is_thermal(sensor, band)
    fields = band_fields(item, source)
    known = known_numbers(item, thermal=thermal)
    unit = _unit(item, source, fields=fields, known=known, thermal=thermal)
    scale = number_of(item, "scale", fields.get("scale", fields.get("raster:scale"))) or (
        known.scale if known else None
    )
    shift = number_of(item, "offset", fields.get("offset", fields.get("raster:offset")))
    sentinel = sensor.name == "sentinel-2"
    if not scale and not sentinel:
        raise HarmonisationError(
            f"item {item.id}: asset {source.key!r} states no scale in raster:bands; expected one."
            " Add it to the item, or choose another collection."
        )
    quantification = round(1 / scale, 6) if scale else QUANTIFICATION
    statements = []
    if shift is not None:
        statements.append(Statement(round(shift * quantification, 3), "raster:bands"))
    elif known is not None:
        statements.append(Statement(round(known.offset * quantification, 3), known.source))
    if sentinel and known is None:
        statements += sentinel_statements(item)
    elif not statements:
        statements.append(Statement(0.0, "raster:bands"))
    decided = resolve_offset(
        statements, product=f"item {item.id}", baseline=baseline(item), override=override, item=item.id
    )
    celsius = ZERO_CELSIUS_K * quantification if unit in CELSIUS else 0.0
    return Packing(quantification, decided.offset_dn + celsius, _special(item, fields, known)), decided.source


def band_fields(item: "pystac.Item", source: Source) -> dict[str, Any]:
    """Read what an item says about the numbers of a band."""
    asset = item.assets[source.key].extra_fields
    listed = asset.get("raster:bands") or asset.get("bands") or [{}]
    listed = [listed] if isinstance(listed, Mapping) else listed
    band = listed[source.index - 1] if source.index <= len(listed) else listed[0]
    return {**asset, **(band if isinstance(band, Mapping) else {})}


def _unit(
    item: "pystac.Item", source: Source, *, fields: Mapping[str, Any], known: Numbers | None, thermal: bool
) -> str:
    """Read the unit of a band, in lower case; refuse one of another quantity."""
    stated = str(fields.get("unit") or "").strip().lower()
    unit = stated or (known.unit if known else "")
    if thermal and unit in KELVIN | CELSIUS:
        return unit
    if thermal:
        raise HarmonisationError(
            f"item {item.id}: asset {source.key!r} is a thermal band whose numbers are {unit or 'in no stated unit'};"
            " expected kelvin. Radiances become temperatures by xsr.sources.landsat.brightness_temperature."
        )
    if unit not in REFLECTANCE:
        raise HarmonisationError(
            f"item {item.id}: asset {source.key!r} holds {unit}; expected reflectance. Choose a collection of"
            " reflectance (Level-2)."
        )
    return unit


def _special(item: "pystac.Item", fields: Mapping[str, Any], known: Numbers | None) -> tuple[float, ...]:
    no_data = number_of(item, "nodata", fields.get("nodata"))
    if no_data is None:
        no_data = known.no_data if known else NO_DATA
    return no_data, SATURATED


def sentinel_statements(item: "pystac.Item") -> list[Statement]:
    """Read what the properties of a Sentinel-2 item say about its offset."""
    applied = next((flag for flag in FLAGS if item.properties.get(flag)), None)
    number = parse_baseline(baseline(item))
    if applied is not None:
        return [Statement(0.0, applied)]
    if number:
        return [Statement(OFFSET if number >= SINCE else 0.0, f"processing baseline {baseline(item)}")]
    return []
