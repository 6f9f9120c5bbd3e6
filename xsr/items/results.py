"""What lies at a path, as far as an item says it: grid, bands as they are stored, dates and provenance."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsr.core.errors import StoreError
from xsr.core.georeference import geobox_of
from xsr.core.names import standardise
from xsr.core.provenance import PREFIX
from xsr.core.store.objects import StoreObject
from xsr.core.store.place import RETRY, Place, store_errors

ZARR = "application/vnd.zarr; version={}"
"""Media type of a store, by its format."""
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
TIFF = (".tif", ".tiff")
STAMP = re.compile(r"(\d{4}):(\d\d):(\d\d) ")


@dataclass(frozen=True)
class StoredBand:
    """A band as it is stored."""

    name: str
    dtype: str
    nodata: float | None
    scale: float | None
    """Value of one stored unit; None for classes, whose numbers are what they are."""
    offset: float | None
    unit: str
    """Of the values: nothing for reflectance."""


@dataclass(frozen=True)
class Result:
    """What was written."""

    href: str
    """Path or address, without secrets."""
    media_type: str
    geobox: GeoBox
    bands: tuple[StoredBand, ...]
    times: tuple[np.datetime64, ...]
    platforms: tuple[str, ...]
    provenance: Mapping[str, Any]
    """What the operation recorded, by its name without `PREFIX`."""
    asset: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the asset."""

    @property
    def name(self) -> str:
        """Name of the file or store without its ending."""
        return PurePosixPath(self.href.replace("\\", "/").rstrip("/")).name.partition(".")[0] or "result"


def is_tiff(place: Place) -> bool:
    """Whether a path names a GeoTIFF."""
    return not isinstance(place, StoreObject) and place.path.lower().endswith(TIFF)


def read_store(place: Place, group: str | None) -> Result:
    """Read the metadata of a store; no pixel is read.

    Raises
    ------
    StoreError
        If there is none, it cannot be read, or has no grid.
    """
    with store_errors(place, "reading", remedy=RETRY):
        if not place.is_taken():
            raise StoreError(f"{place.name} not found; expected a store or a GeoTIFF of xsr. Check the path.")
        store = place.objects(read_only=True)
        data = xr.open_zarr(store, group=group, chunks=None, consolidated=False, decode_coords="all")
        data, _, _ = standardise(data)
        form = place.open("r").metadata.zarr_format
    box = geobox_of(data)
    if box is None:
        raise StoreError(f"{place.name} has no grid; expected a georeferenced cube. Name the group that holds it.")
    spatial = set(data.odc.spatial_dims or ())
    images = {str(name): one for name, one in data.data_vars.items() if spatial <= set(one.dims)}
    opening = {"engine": "zarr", "chunks": {}, "consolidated": place.gathers, "decode_coords": "all"}
    return Result(
        place.name,
        ZARR.format(form),
        box,
        tuple(band for name, one in images.items() for band in _bands_of(name, one)),
        _times_of(data),
        _platforms_of(data),
        _provenance({**data.attrs, **{k: v for one in images.values() for k, v in one.attrs.items()}}),
        {"xarray:open_kwargs": opening | ({} if group is None else {"group": group})},
    )


def _bands_of(name: str, one: xr.DataArray) -> list[StoredBand]:
    labels = [name]
    if "band" in one.coords and one.coords["band"].dims == ("band",):
        labels = [str(label) for label in one.coords["band"].values.tolist()]
    how = one.encoding
    dtype = np.dtype(how.get("dtype", one.dtype))
    measured = dtype.kind == "f" or "scale_factor" in how
    nodata = how.get("_FillValue", one.attrs.get("_FillValue"))
    return [
        StoredBand(
            label,
            dtype.name,
            None if nodata is None else float(nodata),
            float(how.get("scale_factor", 1.0)) if measured else None,
            float(how.get("add_offset", 0.0)) if measured else None,
            _unit(one.attrs.get("units")),
        )
        for label in labels
    ]


def _unit(stated: Any) -> str:
    text = str(stated or "").strip()
    return "" if text == "1" else text


def _times_of(data: xr.Dataset) -> tuple[np.datetime64, ...]:
    if "time" not in data.coords or data.coords["time"].dtype.kind != "M":
        return ()
    times = np.atleast_1d(data.coords["time"].values).astype("datetime64[ms]")
    return tuple(sorted(time for time in times if not np.isnat(time)))


def _platforms_of(data: xr.Dataset) -> tuple[str, ...]:
    stated = data.coords["platform"].values if "platform" in data.coords else data.attrs.get("platform", [])
    return tuple(dict.fromkeys(str(one) for one in np.atleast_1d(stated).tolist() if str(one)))


def _provenance(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {str(k).removeprefix(PREFIX): v for k, v in attrs.items() if str(k).startswith(PREFIX)}


def read_tiff(place: Place) -> Result:
    """Read the metadata of a GeoTIFF; no pixel is read.

    Raises
    ------
    StoreError
        If there is none, or it cannot be read.
    """
    import fsspec
    import rasterio

    with store_errors(place, "reading", remedy=RETRY), fsspec.open(place.path, **(place.fsspec or {})) as opened:
        with rasterio.open(opened if place.remote else place.path, driver="GTiff") as file:
            tags, crs = file.tags(), file.crs
            box = GeoBox((file.height, file.width), file.transform, None if crs is None else crs.to_wkt())
            bands = tuple(
                StoredBand(label or f"band_{number}", dtype, file.nodata, scale, offset, _unit(unit))
                for number, (label, dtype, scale, offset, unit) in enumerate(
                    zip(file.descriptions, file.dtypes, file.scales, file.offsets, file.units, strict=True), 1
                )
            )
    date = STAMP.sub(r"\1-\2-\3T", tags.get("TIFFTAG_DATETIME", ""))
    times = (np.datetime64(date, "ms"),) if date else ()
    platforms = tuple(filter(None, [tags.get("platform")]))
    return Result(place.name, COG, box, bands, times, platforms, {k: _parsed(v) for k, v in _provenance(tags).items()})


def _parsed(text: str) -> Any:
    """Read the lists that a tag holds as text."""
    try:
        return json.loads(text) if text.startswith("[") else text
    except ValueError:
        return text
