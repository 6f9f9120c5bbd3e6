"""What lies at a path: the kind of product, opened by its reader, and its description in a few lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.xr import spatial_dims

from xsr.core.cube import NATIVE_GSD
from xsr.core.errors import GridError
from xsr.core.georeference import geobox_of
from xsr.core.grid import crs_name, resolution
from xsr.core.names import standardise
from xsr.core.provenance import PREFIX
from xsr.core.store.header import read_header
from xsr.core.store.ledger import DONE, Ledger
from xsr.core.store.overviews import SETTING
from xsr.core.store.place import resolve_place
from xsr.core.store.readers import readers_of
from xsr.core.types import XarrayObject
from xsr.sources.detect import detect

MANY = 12
"""More dates than these are described by the first and the last."""


def kind_of(path: str, cube: XarrayObject) -> str:
    """Name the kind of what lies at a path, of a product with its level.

    Parameters
    ----------
    path
        Path or URL.
    cube
        What was opened there.
    """
    source = detect(path).source
    level = cube.attrs.get("source")
    return str(level) if level and source.product else source.name


def describe(cube: XarrayObject) -> dict[str, str]:
    """Describe a cube line by line: dates, bands with their own pixel size, grid, offsets, baseline, masks.

    Returns
    -------
    dict
        Text by heading; what the cube does not say is left out.
    """
    cube, _, _ = standardise(cube)
    lines = {"dates": _dates(cube), "bands": _bands(cube), **_grid(cube), "offset": _offsets(cube)}
    for heading, name in (
        ("platform", "platform"),
        ("baseline", "processing_baseline"),
        ("offset from", "offset_source"),
    ):
        lines[heading] = " ".join(dict.fromkeys(str(v) for v in np.atleast_1d(_values(cube, name)) if str(v)))
    spatial = set(spatial_dims(cube, relaxed=True) or ("y", "x"))
    lines["masks"] = " ".join(str(name) for name, coord in cube.coords.items() if spatial <= set(coord.dims))
    lines["products"] = "\n".join(str(value) for value in np.atleast_1d(_values(cube, "product_id")))
    record = cube.attrs.get("xsr")
    if isinstance(record, dict) and "complete" in record:
        lines["complete"] = "yes" if record["complete"] else "no: writing was interrupted"
    return {heading: text for heading, text in lines.items() if text}


def describe_store(path: str) -> dict[str, str]:
    """Describe a store of `xsr.to_zarr`: its levels, how it was made, how far it is and what opens it.

    Parameters
    ----------
    path
        Path or URL.

    Returns
    -------
    dict
        Text by heading; empty where no such store lies there.
    """
    place = resolve_place(path, None)
    if not place.remote and not Path(place.path).is_dir():
        return {}
    header = read_header(place)[0]
    if header is None:
        return {}
    attrs = dict(place.open("r").attrs)
    ledger = Ledger.read(place, header.fingerprint, header.blocks)
    done = sum(int((rows["status"] == DONE).sum()) for rows in ledger.rows.values())
    form = header.settings["packing"]
    made = {key: attrs.get(f"{PREFIX}{key}") for key in ("operation", "model", "scale", "weights_sha256", "version")}
    lines = {
        "levels": _levels(attrs),
        "made by": ", ".join(f"{key} {_short(value)}" for key, value in made.items() if value is not None),
        "stored as": ", ".join(
            [f"Zarr format {form['zarr_format']}", *sorted(set(header.settings["encoding"].values()))]
        ),
        "complete": "yes" if header.complete else f"no: {done} of {len(ledger)} blocks are done",
        "opens in": readers_of(form["zarr_format"], levels=SETTING in header.settings),
    }
    return {heading: text for heading, text in lines.items() if text}


def _levels(attrs: Mapping[str, Any]) -> str:
    """One line for each level of a store with overviews."""
    lines = []
    for one in attrs.get("multiscales", {}).get("layout", ()):
        (down, across), size = one["spatial:shape"], one["spatial:transform"][0]
        made = f", {one['resampling_method']} of {one['derived_from']}" if "derived_from" in one else ""
        lines.append(f"{one['asset']}: {down} x {across} pixels of {size:g}{made}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    return ", ".join(map(_short, value)) if isinstance(value, list) else str(value)[:24]


def _values(cube: XarrayObject, name: str) -> Any:
    return cube.coords[name].values if name in cube.coords else []


def _dates(cube: XarrayObject) -> str:
    if "time" not in cube.coords:
        return ""
    days = [str(day) for day in np.atleast_1d(cube["time"].values).astype("datetime64[s]")]
    return f"{len(days)}: " + (", ".join(days) if len(days) <= MANY else f"{days[0]} to {days[-1]}")


def _bands(cube: XarrayObject) -> str:
    """Names, each with the size of the pixels in which the band was observed where that is known."""
    if isinstance(cube, xr.Dataset):
        spatial = set(spatial_dims(cube, relaxed=True) or ())
        sizes = {str(n): v.attrs.get(NATIVE_GSD, np.nan) for n, v in cube.data_vars.items() if spatial <= set(v.dims)}
    else:
        names = np.atleast_1d(_values(cube, "band") if "band" in cube.coords else str(cube.name))
        known = np.broadcast_to(_values(cube, NATIVE_GSD) if NATIVE_GSD in cube.coords else np.nan, names.shape)
        sizes = dict(zip(map(str, names), known.tolist(), strict=True))
    return ", ".join(name if np.isnan(size) else f"{name} ({size:g} m)" for name, size in sizes.items())


def _grid(cube: XarrayObject) -> dict[str, str]:
    try:
        box = geobox_of(cube)
    except GridError as error:  # what has no grid has other things to describe
        return {"CRS": "none", "grid": str(error)}
    if box is None or box.crs is None:
        return {"CRS": "none"}
    down, across = resolution(box)
    size = f"{across:g}" if down == across else f"{across:g} x {down:g}"
    place = ", ".join(f"{value:.12g}" for value in box.boundingbox)
    return {"CRS": crs_name(box), "grid": f"{box.shape.y} x {box.shape.x} pixels of {size}, {place}"}


def _offsets(cube: XarrayObject) -> str:
    """Offsets of the digital numbers: one number where all bands and dates have the same."""
    values = np.unique(_values(cube, "dn_offset"))
    return ", ".join(f"{value:g}" for value in values)
