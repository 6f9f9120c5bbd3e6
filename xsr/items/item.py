"""The STAC item of what xsr wrote."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xsr._version import __version__
from xsr.core.errors import ParameterError
from xsr.core.store.objects import resolve_store
from xsr.core.store.place import Place, StoreLike
from xsr.items.fields import band_fields, footprint, grid_fields, sensor_of
from xsr.items.models import model_link
from xsr.items.results import Result, is_tiff, read_store, read_tiff
from xsr.items.template import TemplateLike, merged, read_template

if TYPE_CHECKING:
    import pystac

SCHEMA = "https://stac-extensions.github.io/{}/schema.json"
EXTENSIONS = {
    "projection": "v2.0.0",
    "raster": "v2.0.0",
    "eo": "v2.0.0",
    "processing": "v1.1.0",
    "file": "v2.1.0",
    "xarray-assets": "v1.0.0",
}
"""Extensions, and the version whose fields are written."""
MULTIHASH_SHA256 = "1220"
"""What a SHA-256 begins with as a multihash."""
KEY = "data"
"""Key of the asset that holds the result."""


def stac_item(
    path: StoreLike,
    *,
    template: TemplateLike = None,
    id: str | None = None,
    href: str | None = None,
    datetime: Any = None,
    scores: Mapping[str, float] | None = None,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> "pystac.Item":
    """Describe what xsr wrote as an item of a SpatioTemporal Asset Catalog (STAC 1.1).

    Parameters
    ----------
    path
        Folder or URL of a store written by `to_zarr`, a store object of Zarr, or a GeoTIFF written by `to_cog`.
    template
        Item, or part of one, whose fields are merged: collection, title, licence, providers, ``processing:level``,
        further assets and links. What the result itself decides it may not contradict.
    id
        Id of the item; by default that of the template, or the name of the file.
    href
        Address at which the result will be found; by default where it lies.
    datetime
        Date of a result without dates: text or ``datetime64``, UTC.
    scores
        Scores of this result by their names, such as a row of `xsr.evaluate`; stored as ``xsr:scores``.
    group
        Group of the store that holds the cube.
    storage_options
        Options of fsspec where the path is a URL; none of them enters the item.

    Returns
    -------
    pystac.Item
        With one asset, ``data``: grid (projection extension), bands with type, no data, scale, offset, common name and
        wavelength in micrometres (raster and electro-optical extensions), software and lineage (processing
        extension), checksum of a file, and how xarray opens a store (xarray assets extension). A link ``mlm:model``
        leads to the card of the model, if the weights are installed. Only metadata are read, and of a local
        GeoTIFF its bytes, for the checksum.

    Raises
    ------
    StoreError
        If there is nothing at the path, or it cannot be read.
    GridError
        If the result has no CRS.
    ParameterError
        If the template is no item or contradicts the result, or there is no date.

    Notes
    -----
    ``gsd`` is left out: the sensor observed larger pixels than the result has. The size of these is
    ``raster:spatial_resolution``.

    References
    ----------
    SpatioTemporal Asset Catalog specification, version 1.1.0, https://github.com/radiantearth/stac-spec.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> fine = synthetic_cube(size=(32, 32)).sr.interpolate(scale=2)
    >>> report = fine.sr.to_zarr("described.zarr", progress=False)
    >>> item = xsr.stac_item("described.zarr", template={"collection": "fine"})
    >>> item.id, item.properties["proj:code"], item.assets["data"].extra_fields["bands"][0]["eo:common_name"]
    ('described', 'EPSG:32631', 'blue')
    """
    import pystac

    place = resolve_store(path, storage_options, writes=False)
    result = read_tiff(place) if is_tiff(place) else read_store(place, group)
    given = read_template(template)
    stated = given.get("properties", {}).get("datetime") if datetime is None and not result.times else datetime
    outline, box = footprint(result.geobox)
    link = model_link(result.provenance)
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [SCHEMA.format(f"{name}/{version}") for name, version in _used(result, place)],
        "id": given.get("id", result.name),
        "geometry": outline,
        "bbox": box,
        "properties": {**_times(result, stated), **_properties(result, scores)},
        "assets": {KEY: _asset(result, place, href)},
        "links": [] if link is None else [link.to_dict(transform_href=False)],
    }
    whole = merged(item, given)
    try:
        return pystac.Item.from_dict({**whole, "id": whole["id"] if id is None else id}, migrate=False)
    except Exception as error:  # of any kind, by what a template holds
        raise ParameterError(
            f"the template does not fit: {type(error).__name__}: {error}; expected fields of a STAC item. Correct it."
        ) from error


def _used(result: Result, place: Place) -> list[tuple[str, str]]:
    """Extensions of which an item has fields."""
    absent = {"xarray-assets"} if is_tiff(place) else {"file"}
    if is_tiff(place) and place.remote:
        absent.add("file")
    return [(name, version) for name, version in EXTENSIONS.items() if name not in absent]


def _times(result: Result, stated: Any) -> dict[str, Any]:
    """Date of a result, or its first and its last.

    Raises
    ------
    ParameterError
        If there is none, or one that contradicts the result.
    """
    times = result.times
    if stated is not None:
        if times:
            raise ParameterError(f"datetime={stated!r}, but the result has the date {times[0]}. Leave datetime out.")
        try:
            times = (np.datetime64(str(stated).removesuffix("Z").removesuffix("+00:00"), "ms"),)
        except ValueError as error:
            raise ParameterError(f"datetime={stated!r}; expected a date such as '2024-06-15T10:56:31'.") from error
    if not times:
        raise ParameterError("the result has no date; a STAC item needs one. Pass datetime='2024-06-15'.")
    first, last = _utc(times[0]), _utc(times[-1])
    return {"datetime": first} if first == last else {"datetime": None, "start_datetime": first, "end_datetime": last}


def _utc(time: np.datetime64) -> str:
    moment: datetime = time.astype("datetime64[ms]").item()
    return moment.replace(tzinfo=UTC).isoformat().replace("+00:00", "Z")


def _properties(result: Result, scores: Mapping[str, float] | None) -> dict[str, Any]:
    made = {key: value for key, value in result.provenance.items() if key != "version"}
    platform = {"platform": result.platforms[0]} if len(result.platforms) == 1 else {}
    sensor = sensor_of(result.bands, result.platforms)
    return {
        **platform,
        **grid_fields(result.geobox),
        "processing:software": {"xsr": str(result.provenance.get("version", __version__))},
        **({"processing:lineage": _lineage(made)} if "operation" in made else {}),
        **{f"xsr:{key}": value for key, value in made.items()},
        **({} if sensor is None else {"xsr:sensor": sensor.name}),
        **({} if scores is None else {"xsr:scores": {str(key): float(value) for key, value in scores.items()}}),
    }


def _lineage(made: Mapping[str, Any]) -> str:
    """Say in words how a result was made."""
    parts = [str(made["operation"])]
    if "scale" in made:
        parts.append(f"scale {' x '.join(f'{one:g}' for one in np.atleast_1d(made['scale']).tolist())}")
    parts += [f"{name} {made[name]}" for name in ("model", "input") if name in made]
    return ", ".join(parts)


def _asset(result: Result, place: Place, href: str | None) -> dict[str, Any]:
    own = result.href if place.remote else Path(result.href).absolute().as_posix()
    bands = band_fields(result.bands, sensor_of(result.bands, result.platforms), result.geobox)
    return {
        "href": href or own,
        "type": result.media_type,
        "roles": ["data", "reflectance"] if not any(band.unit for band in result.bands) else ["data"],
        "bands": bands,
        **result.asset,
        **(_file_fields(Path(place.path)) if is_tiff(place) and not place.remote else {}),
    }


def _file_fields(path: Path) -> dict[str, Any]:
    """Size and checksum of a file; file extension, version 2.1.0."""
    from xsr.models.card import file_sha256

    return {"file:size": path.stat().st_size, "file:checksum": MULTIHASH_SHA256 + file_sha256(path)}
