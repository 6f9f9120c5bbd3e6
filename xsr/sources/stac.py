"""STAC: from a search, a catalog or items on disk to one cube of reflectance.

pystac-client finds items, odc-stac loads their pixels. What lies between is decided here, once for each item: which
asset is which band, whether it can be read, what its numbers mean, which processing of an acquisition to keep, and the
grid.
"""

import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, unary_union

from xsr.core import sensors
from xsr.core.areas import GeometryLike, lonlat, resolve_area, snap
from xsr.core.errors import (
    BandError,
    GridError,
    HarmonisationError,
    ParameterError,
    ProductError,
    XsrWarning,
)
from xsr.core.grid import crs_name, positive_number
from xsr.core.grid import resolution as pixel_size
from xsr.core.sensors import Sensor
from xsr.sources import masks
from xsr.sources.harmonise import (
    DARKEST,
    OFFSET,
    SINCE,
    Identity,
    Statement,
    check_pixels,
    duplicates,
    parse_baseline,
    resolve_offset,
)
from xsr.sources.rasters import CHUNK, Packing, read_sample, whole_numbers
from xsr.sources.scenes import Scene, stack

if TYPE_CHECKING:
    import pystac

Errors = Literal["raise", "drop"]
Resampling = Literal["nearest", "bilinear", "cubic", "lanczos", "average"]
QUANTIFICATION = 10000.0
"""Digital numbers of Sentinel-2 to one unit of reflectance, where an item does not say."""
NO_DATA, SATURATED = 0.0, 65535.0
HTTP = {"GDAL_HTTP_TIMEOUT": "60", "GDAL_HTTP_MAX_RETRY": "2", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
"""Options of GDAL for assets on the web: none of them may hang for ever, and folders are not listed."""
WORKERS = 16
"""Assets opened side by side."""
SAMPLE = 512
"""Side in pixels of the sample that an offset is held against."""


@dataclass(frozen=True)
class Candidate:
    """An item and what was decided about it."""

    item: "pystac.Item"
    sensor: Sensor
    assets: Mapping[str, str]
    """Asset keys by canonical band."""
    scl: str | None
    """Asset key of the scene classification."""
    boxes: Mapping[str, GeoBox]
    """Grids of the assets by key, from the files themselves."""
    packings: Mapping[str, Packing]
    """How the numbers of each band become reflectance."""
    offset_source: str

    @property
    def identity(self) -> Identity:
        """Acquisition and processing."""
        known = self.item.properties
        return Identity(
            (*acquisition(self.item), mgrs_tile(self.item)),
            parse_baseline(baseline(self.item)),
            str(known.get("s2:generation_time") or known.get("processing:datetime") or known.get("created") or ""),
        )


def open_stac(
    items: "Iterable[pystac.Item] | str | Path | None" = None,
    *,
    url: str | None = None,
    bbox: Sequence[float] | None = None,
    geometry: GeometryLike | None = None,
    datetime: str | None = None,
    collection: str | None = None,
    bands: Sequence[str] | None = None,
    resolution: float | None = None,
    crs: str | int | None = None,
    resampling: Resampling = "cubic",
    max_cloud: float | None = None,
    mask: bool = False,
    offset: float | None = None,
    errors: Errors = "raise",
    patch_url: Callable[[str], str] | None = None,
    chunks: int = CHUNK,
) -> xr.DataArray:
    """Open items of a SpatioTemporal Asset Catalog as one cube of reflectance.

    Parameters
    ----------
    items
        Items, or the path of an item, item collection or static catalog on disk.
    url
        STAC API or static catalog to search, instead of ``items``.
    bbox, geometry
        Area of interest: west, south, east, north in degrees; or GeoJSON, or a vector file in any CRS. The cube covers
        its bounding box in whole pixels. By default the extent of the items.
    datetime
        Date or interval as STAC writes it: ``2024-06-15``, ``2024-04/2024-09``.
    collection
        Collection to search.
    bands
        Bands in the order wanted, in any spelling; by default all that every item has.
    resolution
        Pixel size in units of the CRS; by default that of the finest band chosen.
    crs
        CRS of the cube, where items lie in several, or another one is wanted.
    resampling
        Method of GDAL for bands that do not lie on the grid; masks are always nearest.
    max_cloud
        Largest cloud cover of an item in percent; items that do not state one are kept.
    mask
        Set clouds, cloud shadows and defects to NaN. They are in the coordinate ``valid`` anyway.
    offset
        Offset of the digital numbers, instead of the items' metadata; no pixels are checked then.
    errors
        What to do about an asset that cannot be opened: ``raise``, or ``drop`` its date with a warning.
    patch_url
        Function applied to each address before it is read, such as the signing of Planetary Computer.
    chunks
        Side of a chunk in pixels.

    Returns
    -------
    DataArray
        Cube (time, band, y, x), float32, lazy; one date for each acquisition, its tiles joined. Reflectance is
        (DN + offset) / quantification. Coordinates along time say where each date comes from; ``native_gsd`` (m) along
        band; ``scl`` and ``valid`` (time, y, x) where all items have a scene classification.

    Raises
    ------
    ParameterError
        If nothing is found, the area lies outside the items or crosses the antimeridian, or options contradict.
    ProductError
        If an asset cannot be opened, with the names of item and asset.
    HarmonisationError
        If metadata of an item contradict each other or its pixels, or say nothing.
    GridError
        If items lie in several CRS and ``crs`` is not given.
    BandError
        If an item lacks a band.

    Notes
    -----
    The header of every asset is read at once, and a small sample of one band of each Sentinel-2 item; pixels are lazy.
    """
    if errors not in get_args(Errors):
        raise ParameterError(f"errors={errors!r}; expected 'raise' or 'drop'.")
    if resampling not in get_args(Resampling):
        raise ParameterError(f"resampling={resampling!r}; expected one of {', '.join(get_args(Resampling))}.")
    if resolution is not None:
        positive_number("resolution", resolution)
    area = resolve_area(bbox, geometry)
    found = find_items(items, url=url, area=area, datetime=datetime, collection=collection, max_cloud=max_cloud)
    chosen = _choose_bands(found, bands)
    candidates, dead = _examine(found, chosen, resolution, offset=offset, patch_url=patch_url, errors=errors)
    candidates, dropped = _latest(candidates)
    target = _target(candidates, chosen, area, resolution_m=resolution, crs=crs)
    groups: dict[tuple[str, ...], list[Candidate]] = {}
    for one in candidates:
        groups.setdefault(acquisition(one.item), []).append(one)
    has_scl = all(one.scl is not None for one in candidates)
    scenes = [
        _scene(group, chosen, target, has_scl=has_scl, resampling=resampling, patch_url=patch_url, chunk=chunks)
        for group in groups.values()
    ]
    attrs: dict[str, Any] = {"source": f"STAC {url or collection or 'items'}", "units": "1", "long_name": "reflectance"}
    attrs |= {"dropped_duplicates": dropped} if dropped else {}
    attrs |= {"dropped_dates": dead} if dead else {}
    return stack(scenes, name="reflectance", attrs=attrs, mask=mask)


# --- finding ---------------------------------------------------------------------------------------------------------


def find_items(
    items: "Iterable[pystac.Item] | str | Path | None",
    *,
    url: str | None,
    area: Geometry | None,
    datetime: str | None,
    collection: str | None,
    max_cloud: float | None,
) -> "list[pystac.Item]":
    """Find the items to load, in the order of time.

    Raises
    ------
    ParameterError
        If neither or both of items and url are given, the catalog cannot be read, or nothing is left.
    """
    import pystac
    from pystac_client.exceptions import APIError

    if (items is None) == (url is None):
        raise ParameterError("expected either items or url=. Pass one of them.")
    where = url if url is not None else items if isinstance(items, str | Path) else "the items"
    try:
        if url is not None:
            found = _search(url, area=area, datetime=datetime, collection=collection)
        else:
            found = _read_items(items) if isinstance(items, str | Path) else list(items or [])
    except (OSError, APIError, pystac.STACError, json.JSONDecodeError, pystac.STACTypeError, KeyError) as error:
        raise ParameterError(f"{where} cannot be read as STAC: {error}. Check the address.") from error
    total = len(found)
    found = [item for item in found if _wanted(item, datetime, collection, max_cloud)]
    inside = [item for item in found if area is None or _touches(item, area)]
    if found and not inside:
        whole = unary_union([Geometry(item.geometry, "EPSG:4326") for item in found])
        raise ParameterError(
            f"the area {_bounds(area)} lies outside all {len(found)} items of {where}, which cover {_bounds(whole)}"
            " (degrees). Check the area."
        )
    if not inside:
        asked = {"datetime": datetime, "collection": collection, "max_cloud": max_cloud, "area": _bounds(area)}
        asked = {key: value for key, value in asked.items() if value is not None}
        raise ParameterError(f"no items of {where} match {asked} ({total} before filtering). Ask for less.")
    return sorted(inside, key=lambda item: str(item.datetime))


def _bounds(area: Geometry | None) -> Any:
    return None if area is None else tuple(round(value, 4) for value in lonlat(area).boundingbox)


def _search(url: str, *, area: Geometry | None, datetime: str | None, collection: str | None) -> "list[pystac.Item]":
    import pystac_client
    import pystac_client.warnings

    with pystac_client.warnings.ignore():
        client = pystac_client.Client.open(url)
        if not client.conforms_to("ITEM_SEARCH"):
            return list(client.get_items(recursive=True))
        intersects = None if area is None else lonlat(area).json
        collections = None if collection is None else [collection]
        search = client.search(collections=collections, intersects=intersects, datetime=datetime)
        return list(search.items())


def _read_items(path: str | Path) -> "list[pystac.Item]":
    import pystac

    content = json.loads(Path(path).read_text())
    if content.get("type") == "FeatureCollection":
        found = list(pystac.ItemCollection.from_dict(content))
        for item in found:
            if item.get_self_href() is None:
                item.set_self_href(str(Path(path).absolute().parent / f"{item.id}.json"))
        return found
    read = pystac.read_file(str(Path(path).absolute()))
    if isinstance(read, pystac.Item):
        return [read]
    assert isinstance(read, pystac.Catalog)
    return list(read.get_items(recursive=True))


def _wanted(item: "pystac.Item", datetime: str | None, collection: str | None, max_cloud: float | None) -> bool:
    cover = item.properties.get("eo:cloud_cover")
    if max_cloud is not None and cover is not None and float(cover) > max_cloud:
        return False
    if collection is not None and item.collection_id not in (None, collection):
        return False
    return datetime is None or _within(item, datetime)


def _within(item: "pystac.Item", datetime: str) -> bool:
    """Whether an item lies in an interval, as an API would say."""
    from pystac_client.item_search import ItemSearch

    interval = str(ItemSearch("", datetime=datetime).get_parameters()["datetime"])
    first, _, last = interval.partition("/")
    time = _time(item)
    after = first in ("", "..") or time >= np.datetime64(first.rstrip("Z"))
    return bool(after and ((last or first) == ".." or time <= np.datetime64((last or first).rstrip("Z"))))


def _touches(item: "pystac.Item", area: Geometry) -> bool:
    return item.geometry is None or Geometry(item.geometry, "EPSG:4326").intersects(lonlat(area))


def _time(item: "pystac.Item") -> np.datetime64:
    moment = item.datetime or item.common_metadata.start_datetime
    if moment is None:
        raise ProductError(f"item {item.id} has no time; expected datetime or start_datetime.")
    return np.datetime64(moment.replace(tzinfo=None), "ns")


# --- what an item is -------------------------------------------------------------------------------------------------


def baseline(item: "pystac.Item") -> str | None:
    """Read the processing baseline of a Sentinel-2 item from its properties or the name of its product."""
    known = item.properties
    for key in ("s2:processing_baseline", "processing:version", "sentinel:processing_baseline"):
        if parse_baseline(str(known.get(key, ""))):
            return str(known[key])
    names = (known.get("s2:product_uri"), known.get("sentinel:product_id"), item.id)
    found = [re.search(r"_N(\d{2})(\d{2})_", str(name)) for name in names if name]
    return next((f"{match[1]}.{match[2]}" for match in found if match), None)


def acquisition(item: "pystac.Item") -> tuple[str, str]:
    """Platform and datatake (or time) of an item."""
    known = item.properties
    datatake = re.sub(r"_N[\d.]+$", "", str(known.get("s2:datatake_id") or known.get("eopf:datatake_id") or ""))
    if not datatake:
        names = (known.get("s2:product_uri"), known.get("sentinel:product_id"), item.id)
        found = [re.search(r"MSIL\w+_(\d{8}T\d{6})_", str(name)) for name in names if name]
        datatake = next((match[1] for match in found if match), str(_time(item).astype("datetime64[s]")))
    platform = str(known.get("platform") or known.get("constellation") or "").lower()
    return platform, datatake


def mgrs_tile(item: "pystac.Item") -> str:
    """MGRS tile of an item, or nothing."""
    known = item.properties
    for key in ("s2:mgrs_tile", "grid:code"):
        if known.get(key):
            return str(known[key]).removeprefix("MGRS-").removeprefix("T").zfill(5)
    found = re.search(r"(?:^|_)T?(\d{1,2}[A-Z]{3})(?=_|$)", item.id)
    return found[1].zfill(5) if found else item.id


def sensor_of(item: "pystac.Item") -> Sensor:
    """Sensor of an item.

    Raises
    ------
    ParameterError
        If none is registered for it.
    """
    texts = [str(item.properties.get(key) or "") for key in ("platform", "constellation")] + [item.collection_id or ""]
    for text in texts:
        if "sentinel-2" in text.lower().replace(" ", "-"):
            return sensors.get("sentinel-2")
    return sensors.get(texts[0])


def find_assets(item: "pystac.Item", sensor: Sensor, size: float | None) -> dict[str, str]:
    """Asset keys by canonical band: at the pixel size asked for, else the finest."""
    found: dict[str, list[tuple[float, str]]] = {}
    for key, asset in item.assets.items():
        if "visual" in key or "overview" in (asset.roles or []) or "thumbnail" in (asset.roles or []):
            continue
        plain, suffix = re.fullmatch(r"(.+?)(?:_(\d+)m)?", key, re.DOTALL).groups()  # type: ignore[union-attr]
        listed = asset.extra_fields.get("eo:bands") or asset.extra_fields.get("bands") or []
        names = [plain, *([str(listed[0].get("name", ""))] if len(listed) == 1 and "jp2" not in key else [])]
        for name in names:
            try:
                band = sensor.resolve(name)
            except BandError:
                continue
            found.setdefault(band, []).append(
                (float(suffix or asset.extra_fields.get("gsd") or sensor.band(band).gsd_m), key)
            )
            break
    chosen = {}
    for band, options in found.items():
        exact = [option for option in options if size is not None and option[0] == size]
        chosen[band] = min(exact or options)[1]
    return chosen


def _choose_bands(items: "Sequence[pystac.Item]", bands: Sequence[str] | None) -> tuple[str, ...]:
    sensor = sensor_of(items[0])
    others = {sensor_of(item).name for item in items} - {sensor.name}
    if others:
        raise ParameterError(f"items of {sensor.name} and {', '.join(sorted(others))} together; expected one sensor.")
    have = [find_assets(item, sensor, None) for item in items]
    if bands is None:
        chosen = tuple(name for name in sensor.band_names if all(name in one for one in have))
        if not chosen:
            raise BandError(f"items have no band of {sensor.name} in common; name the bands.")
        return chosen
    chosen = tuple(sensor.resolve(name) for name in ([bands] if isinstance(bands, str) else bands))
    if not chosen or len(set(chosen)) != len(chosen):
        raise BandError(f"bands={list(bands)}; expected at least one, each once.")
    for item, one in zip(items, have, strict=True):
        missing = [name for name in chosen if name not in one]
        if missing:
            raise BandError(f"item {item.id} has no asset of bands {missing}; it has {', '.join(sorted(one))}.")
    return chosen


# --- examining -------------------------------------------------------------------------------------------------------


def _examine(
    items: "Sequence[pystac.Item]",
    bands: tuple[str, ...],
    size: float | None,
    *,
    offset: float | None,
    patch_url: Callable[[str], str] | None,
    errors: Errors,
) -> tuple[list[Candidate], list[str]]:
    """Open the headers of all assets, and decide what their numbers mean."""
    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(lambda item: _try_examine(item, bands, size, offset, patch_url), items))
    dead = {
        acquisition(item): str(result)
        for item, result in zip(items, results, strict=True)
        if isinstance(result, ProductError)
    }
    if dead and errors == "raise":
        raise ProductError(f"{next(iter(dead.values()))} Pass errors='drop' to leave its date out.")
    for message in dead.values():
        warnings.warn(f"{message} Its date is left out.", XsrWarning, stacklevel=4)
    alive = [one for one in results if isinstance(one, Candidate) and acquisition(one.item) not in dead]
    if not alive:
        raise ProductError(f"no date is left: {next(iter(dead.values()))} Check the assets.")
    return alive, list(dead.values())


def _try_examine(
    item: "pystac.Item",
    bands: tuple[str, ...],
    size: float | None,
    offset: float | None,
    patch_url: Callable[[str], str] | None,
) -> Candidate | ProductError:
    sensor = sensor_of(item)
    have = find_assets(item, sensor, size)
    assets = {band: have[band] for band in bands}
    scl = next((key for key in item.assets if re.fullmatch(r"scl(_20m)?", key, re.IGNORECASE)), None)
    address = patch_url or str
    paths = {key: address(_href(item, key)) for key in (*assets.values(), *([] if scl is None else [scl]))}
    boxes = {}
    for key, path in paths.items():
        try:
            boxes[key] = _header(path)
        except Exception as error:  # a dead asset, whatever the reader says about it
            return ProductError(f"asset {key!r} of item {item.id} cannot be opened: {error}.")
    stated = {band: _packing(item, sensor, key, offset) for band, key in assets.items()}
    if offset is None and sensor.name == "sentinel-2":
        _hold_against_pixels(item, assets, scl, stated, paths)
    packings = {band: packing for band, (packing, _) in stated.items()}
    return Candidate(item, sensor, assets, scl, boxes, packings, next(iter(stated.values()))[1])


def _href(item: "pystac.Item", key: str) -> str:
    href = item.assets[key].get_absolute_href()
    return item.assets[key].href if href is None else href


def _header(path: str) -> GeoBox:
    import rasterio

    with rasterio.Env(**HTTP), rasterio.open(path) as file:
        return GeoBox((file.height, file.width), file.transform, file.crs.to_wkt())


def _packing(item: "pystac.Item", sensor: Sensor, key: str, override: float | None) -> tuple[Packing, str]:
    """How the numbers of an asset become reflectance, and what says so."""
    listed = item.assets[key].extra_fields.get("raster:bands") or item.assets[key].extra_fields.get("bands") or [{}]
    fields = {**item.assets[key].extra_fields, **listed[0]}
    scale = fields.get("scale", fields.get("raster:scale"))
    shift = fields.get("offset", fields.get("raster:offset"))
    sentinel = sensor.name == "sentinel-2"
    if not scale and not sentinel:
        raise HarmonisationError(f"item {item.id}: asset {key!r} states no scale in raster:bands; expected one.")
    quantification = round(1 / float(scale), 6) if scale else QUANTIFICATION
    statements = []
    if shift is not None:
        statements.append(Statement(round(float(shift) * quantification, 3), "raster:bands"))
    if sentinel:
        statements += _sentinel_statements(item)
    elif shift is None:
        statements.append(Statement(0.0, "raster:bands"))
    decided = resolve_offset(statements, product=f"item {item.id}", baseline=baseline(item), override=override)
    no_data = fields.get("nodata", NO_DATA)
    special = (float(NO_DATA if no_data is None else no_data), SATURATED)
    return Packing(quantification, decided.offset_dn, special), decided.source


def _sentinel_statements(item: "pystac.Item") -> list[Statement]:
    """Read what the properties of a Sentinel-2 item say about its offset."""
    flags = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
    applied = next((flag for flag in flags if item.properties.get(flag)), None)
    number = parse_baseline(baseline(item))
    if applied is not None:
        return [Statement(0.0, applied)]
    if number:
        return [Statement(OFFSET if number >= SINCE else 0.0, f"processing baseline {baseline(item)}")]
    return []


def _hold_against_pixels(
    item: "pystac.Item",
    assets: Mapping[str, str],
    scl: str | None,
    stated: Mapping[str, tuple[Packing, str]],
    paths: Mapping[str, str],
) -> None:
    band = min(assets, key=DARKEST.index)
    packing, source = stated[band]
    numbers = read_sample(paths[assets[band]], SAMPLE)
    seen = ~np.isin(numbers, packing.special)
    classes = read_sample(paths[scl], SAMPLE) if scl is not None else None
    matching = classes[seen] if classes is not None and classes.shape == numbers.shape else None
    statement = Statement(packing.offset, source)
    check_pixels(statement, numbers[seen], matching, product=f"item {item.id}", quantification=packing.quantification)


def _latest(candidates: list[Candidate]) -> tuple[list[Candidate], list[str]]:
    """Of several processings of one acquisition and tile keep one."""
    kept, dropped = duplicates([one.identity for one in candidates])
    lines = [f"{candidates[lost].item.id} (kept {candidates[winner].item.id})" for lost, winner in dropped]
    if lines:
        warnings.warn(
            f"the same acquisition was found more than once; dropped {'; '.join(lines)}.", XsrWarning, stacklevel=3
        )
    return [candidates[index] for index in kept], lines


# --- grid and pixels -------------------------------------------------------------------------------------------------


def _target(
    candidates: Sequence[Candidate],
    bands: tuple[str, ...],
    area: Geometry | None,
    *,
    resolution_m: float | None,
    crs: str | int | None,
) -> GeoBox:
    """Grid of the cube, snapped to that of the finest band."""
    grids = [one.boxes[one.assets[band]] for one in candidates for band in bands]
    finest = min(grids, key=lambda box: pixel_size(box)[0])
    systems = {crs_name(box) for box in grids}
    if crs is None and len(systems) > 1:
        raise GridError(
            f"items lie in {', '.join(sorted(systems))}; expected one CRS. Open them zone by zone, or pass crs= and"
            " accept that reprojection before super-resolution changes the point spread function."
        )
    system = CRS(str(finest.crs) if crs is None else crs)
    moved = system != finest.crs or len(systems) > 1
    if moved:
        warnings.warn(
            f"items in {', '.join(sorted(systems))} are reprojected to {crs}: that changes their point spread function,"
            " which super-resolution models count on.",
            XsrWarning,
            stacklevel=3,
        )
    covered: Any = unary_union([box.extent.to_crs(system, resolution=pixel_size(box)[0] * 100) for box in grids])
    size = resolution_m
    if size is None:
        size = pixel_size(finest)[0] if system == finest.crs else pixel_size(finest.to_crs(system))[0]
    origin = (finest.affine.c, finest.affine.f) if system == finest.crs else (0.0, 0.0)
    target = snap(covered if area is None else area, system, size, origin)
    if not target.extent.intersects(covered):
        raise ParameterError(
            f"the area {tuple(target.boundingbox)} lies outside the images, which cover {tuple(covered.boundingbox)} in"
            f" {crs_name(target)}. Check the area."
        )
    return target


def _scene(
    group: Sequence[Candidate],
    bands: tuple[str, ...],
    target: GeoBox,
    *,
    has_scl: bool,
    resampling: str,
    patch_url: Callable[[str], str] | None,
    chunk: int,
) -> Scene:
    """One acquisition, its tiles joined."""
    import dask.array as da

    layers = [
        _load(one, bands, target, has_scl=has_scl, resampling=resampling, patch_url=patch_url, chunk=chunk)
        for one in group
    ]
    pixels, classes = layers[0]
    for other, other_classes in layers[1:]:
        pixels = da.where(da.isnan(pixels), other, pixels)
        classes = None if classes is None else da.where(classes == 0, other_classes, classes)
    first = group[0]
    shown = {} if classes is None else {"scl": classes, "valid": masks.valid_scl(classes)}
    return Scene(
        label=first.item.id,
        time=min(_time(one.item) for one in group),
        bands=bands,
        pixels=pixels,
        geobox=target,
        native_gsd_m=tuple(
            max(first.sensor.band(band).gsd_m, pixel_size(first.boxes[first.assets[band]])[0]) for band in bands
        ),
        identity=Identity(acquisition(first.item)),
        record={
            "platform": acquisition(first.item)[0],
            "processing_baseline": " ".join(sorted({baseline(one.item) or "" for one in group})),
            "product_id": " ".join(one.item.id for one in group),
            "datatake": acquisition(first.item)[1],
            "offset_source": " / ".join(sorted({one.offset_source for one in group})),
        },
        offset_dn=tuple(first.packings[band].offset for band in bands),
        masks=shown,
    )


def _load(
    one: Candidate,
    bands: tuple[str, ...],
    target: GeoBox,
    *,
    has_scl: bool,
    resampling: str,
    patch_url: Callable[[str], str] | None,
    chunk: int,
) -> tuple[Any, Any]:
    """Reflectance (band, y, x) and classification (y, x) of an item."""
    import dask.array as da
    import odc.stac

    keys = [one.assets[band] for band in bands]
    scl = [one.scl] if has_scl and one.scl is not None else []
    plain = {key: {"data_type": "float32", "nodata": one.packings[band].special[0]} for band, key in one.assets.items()}
    plain |= {key: {"data_type": "uint8", "nodata": 0} for key in scl}
    loaded = odc.stac.load(
        [one.item],
        bands=[*keys, *scl],
        geobox=target,
        chunks={"y": chunk, "x": chunk},
        resampling={**dict.fromkeys(keys, resampling), **dict.fromkeys(scl, "nearest")},
        dtype="float32",
        stac_cfg={one.item.collection_id or "*": {"assets": plain}, "*": {"assets": plain}},
        patch_url=patch_url,
    )
    planes = [
        loaded[key].data[0].map_blocks(one.packings[band].decode, dtype=np.float32)
        for band, key in zip(bands, keys, strict=True)
    ]
    return da.stack(planes), loaded[scl[0]].data[0].map_blocks(whole_numbers, dtype=np.uint8) if scl else None
