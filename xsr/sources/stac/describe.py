"""What an item says about itself: sensor, acquisition, processing, tile and coordinate reference system."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.crs import CRS
from odc.geo.geom import Geometry

from xsr.core import sensors
from xsr.core.errors import ParameterError, ProductError
from xsr.core.sensors import Sensor
from xsr.sources.harmonise import Identity, parse_baseline, sensing_start
from xsr.sources.stac.footprint import footprint, overlap

if TYPE_CHECKING:
    import pystac

APART = 0.5
"""Footprints of one acquisition and tile that share less of the smaller one are its parts, not its processings."""
LANDSAT_ID = re.compile(r"L([COTEM])(\d{2})_(L\w{3})_(\d{6})_(\d{8})(?:_(\d{8}))?_(\d{2})_(?:T1|T2|RT)(?:_(SR|ST))?")
"""Instrument, mission, level, path and row, day, day of processing, collection and kind in the name of a product."""
HLS = re.compile(r"HLS\.?([LS])30")
"""Harmonized Landsat Sentinel: which of the two it is."""


def time_of(item: "pystac.Item") -> np.datetime64:
    """Start of an item, UTC, nanoseconds.

    Raises
    ------
    ProductError
        If it has none.
    """
    moment = item.datetime or item.common_metadata.start_datetime
    if moment is None:
        raise ProductError(f"item {item.id} has no time; expected datetime or start_datetime.")
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    return np.datetime64(utc.replace(tzinfo=None), "ns")


def number_of(item: "pystac.Item", name: str, value: Any) -> float | None:
    """Read a number that an item states, which may be text; None where it states none.

    Raises
    ------
    ProductError
        If it is no number.
    """
    try:
        return None if value is None or value == "" else float(value)
    except (TypeError, ValueError) as error:
        raise ProductError(f"item {item.id}: {name} is {value!r}; expected a number. Correct the item.") from error


def baseline(item: "pystac.Item") -> str | None:
    """Read the processing baseline of a Sentinel-2 item from its properties or the name of its product."""
    known = item.properties
    for key in ("s2:processing_baseline", "processing:version", "sentinel:processing_baseline"):
        if parse_baseline(str(known.get(key, ""))):
            return str(known[key])
    found = [re.search(r"_N(\d{2})(\d{2})_", name) for name in _product_names(item)]
    return next((f"{match[1]}.{match[2]}" for match in found if match), None)


def _product_names(item: "pystac.Item") -> list[str]:
    keys = ("s2:product_uri", "s2:product_title", "sentinel:product_id")
    return [str(item.properties[key]) for key in keys if item.properties.get(key)] + [item.id]


def level_of(item: "pystac.Item") -> str:
    """Level of a Sentinel-2 item, ``1C`` or ``2A``; nothing where it does not say."""
    known = item.properties
    texts = [known.get(key) for key in ("processing:level", "s2:product_type", "s2:processing_level")]
    for text in (*texts, *_product_names(item), item.collection_id):
        found = re.search(r"(?:^|[^a-z])(?:L|LEVEL-?|MSI|MSIL)-?(1C|2A)(?:$|[^a-z0-9])", str(text or ""), re.IGNORECASE)
        if found:
            return found[1].upper()
    return ""


def platform_of(item: "pystac.Item") -> str:
    """Platform of an item in lower case, of a Landsat or HLS product also by its name; or nothing."""
    known = item.properties
    platform = str(known.get("platform") or known.get("eo:platform") or known.get("constellation") or "").lower()
    harmonised, product = HLS.search(item.collection_id or "") or HLS.search(item.id), landsat_product(item)
    if not platform and harmonised:
        return sensor_of(item).name
    if not platform and product:
        return f"landsat-{int(product[2])}"
    return re.sub(r"^landsat_(?=\d)", "landsat-", platform)


def acquisition(item: "pystac.Item") -> tuple[str, str]:
    """Platform and datatake (or time) of an item."""
    known = item.properties
    datatake = re.sub(r"_N[\d.]+$", "", str(known.get("s2:datatake_id") or known.get("eopf:datatake_id") or ""))
    if not datatake:
        found = [re.search(r"MSIL\w+_(\d{8}T\d{6})_", name) for name in _product_names(item)]
        datatake = next((match[1] for match in found if match), str(time_of(item).astype("datetime64[s]")))
    return platform_of(item), datatake


def mgrs_tile(item: "pystac.Item") -> str | None:
    """MGRS tile of an item, such as ``31UFS``."""
    known = item.properties
    for key in ("s2:mgrs_tile", "grid:code"):
        found = re.fullmatch(r"(?:MGRS-)?T?(\d{1,2}[A-Z]{3})", str(known.get(key) or ""))
        if found:
            return found[1].zfill(5)
    for name in (item.id, *_product_names(item)):
        found = re.search(r"(?:^|[_.])T?(\d{1,2}[C-HJ-NP-X][A-Z]{2})(?=[_.]|$)", name)
        if found:
            return found[1].zfill(5)
    return None


def landsat_product(item: "pystac.Item") -> "re.Match[str] | None":
    """Parts of the name of a Landsat product; see `LANDSAT_ID`."""
    names = (item.id, str(item.properties.get("landsat:product_id") or ""))
    return next((found for name in names if (found := LANDSAT_ID.match(name))), None)


def identities(items: "Sequence[pystac.Item]") -> list[Identity]:
    """Acquisition, part of the tile and processing of each item.

    Where an item names no datastrip, it shows the part of the tile whose footprint it shares.
    """
    found = [_identity(item) for item in items]
    tiles: dict[tuple[str, ...], list[int]] = {}
    for index, one in enumerate(found):
        tiles.setdefault(one.acquisition, []).append(index)
    for same in tiles.values():
        if len(same) > 1:
            labels = _parts([items[index] for index in same], [found[index].datastrip for index in same])
            for index, label in zip(same, labels, strict=True):
                found[index] = replace(found[index], datastrip=label)
    return found


def datastrip_of(item: "pystac.Item") -> str:
    """Start of sensing of the datastrip of an item, which the folder of its granule bears as well; else nothing."""
    known = item.properties
    stated = sensing_start(str(known.get("s2:datastrip_id") or known.get("eopf:datastrip_id") or ""))
    folders = (re.search(r"/L\w{2}_T\w{5}_A\d{6}_(\d{8}T\d{6})/", asset.href) for asset in item.assets.values())
    return stated or next((found[1] for found in folders if found), "")


def _identity(item: "pystac.Item") -> Identity:
    known = item.properties
    generated = str(known.get("s2:generation_time") or known.get("processing:datetime") or known.get("created") or "")
    product = landsat_product(item)
    if product:
        acquired = (platform_of(item), product[4], product[5], product[3], product[8] or "")
        return Identity(acquired, generated=product[6] or generated)
    acquired_tile = (*acquisition(item), mgrs_tile(item) or item.id)
    return Identity(acquired_tile, parse_baseline(baseline(item)), generated, datastrip_of(item))


def _parts(items: "Sequence[pystac.Item]", datastrips: Sequence[str]) -> list[str]:
    """Label the part of a tile that each item shows: by its datastrip, else by footprints."""
    outlines = [footprint(item) for item in items]
    labels = list(datastrips)
    known = [(label, outline) for label, outline in zip(labels, outlines, strict=True) if label]
    for index, outline in enumerate(outlines):
        if not labels[index]:
            alike = (label for label, other in known if _same_part(outline, other))
            labels[index] = next(alike, f"part {len(known)}")
            known.append((labels[index], outline))
    return labels


def _same_part(one: Geometry | None, other: Geometry | None) -> bool:
    return one is None or other is None or overlap(one, other) >= APART


def sensor_of(item: "pystac.Item") -> Sensor:
    """Sensor of an item.

    Raises
    ------
    ParameterError
        If none is registered for it, or it is a composite of several.
    """
    harmonised = HLS.search(item.collection_id or "") or HLS.search(item.id)
    if harmonised:
        return sensors.get("landsat-8" if harmonised[1] == "L" else "sentinel-2")
    known = item.properties
    stated = known.get("platform") or known.get("eo:platform") or _platform_by_name(item) or known.get("xsr:sensor")
    platform = str(stated or "")
    _refuse_unusable(item, platform)
    for text in (platform, str(known.get("constellation") or ""), item.collection_id or ""):
        if "sentinel-2" in text.lower().replace(" ", "-"):
            return sensors.get("sentinel-2")
    try:
        found = sensors.get(platform)
    except ParameterError as error:
        raise ParameterError(f"item {item.id}: {error}") from None
    return sensors.get("sentinel-2") if found.name.startswith("sentinel-2") else found


def _platform_by_name(item: "pystac.Item") -> str | None:
    """Platform by the name of the product, of an item that states none."""
    product = landsat_product(item)
    if product:
        return f"landsat-{int(product[2])}"
    found = next((match for name in _product_names(item) if (match := re.match(r"(S2[A-Z])_", name))), None)
    return found[1] if found else None


def _refuse_unusable(item: "pystac.Item", platform: str) -> None:
    product = landsat_product(item)
    instruments = [str(one).lower() for one in item.properties.get("instruments") or ()]
    if (product and product[1] == "M") or instruments == ["mss"]:
        raise ParameterError(
            f"item {item.id} is an image of the Multispectral Scanner (MSS), whose Level-1 numbers are radiance;"
            " expected reflectance or temperature. Choose Level-2 products of Landsat 4 to 9."
        )
    if "," in platform:
        raise ParameterError(
            f"item {item.id} joins several satellites ({platform}): a composite, whose bands are those of no sensor;"
            " expected images of one satellite. Choose another collection."
        )


def stated_crs(item: "pystac.Item", key: str) -> tuple[CRS, str] | None:
    """CRS that an asset, else its item states, and the name of the property.

    Raises
    ------
    ProductError
        If the property cannot be read.
    """
    for holder, fields in ((f"asset {key!r}", item.assets[key].extra_fields), ("item", item.properties)):
        for name in ("proj:code", "proj:epsg", "proj:wkt2", "proj:projjson"):
            value = fields.get(name)
            if value not in (None, "", {}):
                return _parse_crs(item, name, value=value), f"{name} of the {holder}"
    return None


def _parse_crs(item: "pystac.Item", name: str, *, value: Any) -> CRS:
    from pyproj import CRS as PROJ
    from pyproj.exceptions import CRSError

    try:
        return CRS(PROJ.from_user_input(int(value) if name == "proj:epsg" else value))
    except (CRSError, ValueError, TypeError) as error:
        raise ProductError(
            f"item {item.id}: {name}={value!r} is no CRS ({error}); expected an EPSG code, WKT or PROJJSON."
        ) from error


def name_crs(crs: CRS) -> str:
    """Name a CRS in a message."""
    return f"EPSG:{crs.epsg}" if crs.epsg else str(crs)


def tile_crs(item: "pystac.Item") -> CRS | None:
    """CRS of the UTM zone of the MGRS tile of a Sentinel-2 item."""
    tile = mgrs_tile(item)
    if tile is None or sensor_of(item).name != "sentinel-2":
        return None
    north = tile[2] >= "N"
    return CRS(f"EPSG:{326 if north else 327}{tile[:2]}")
