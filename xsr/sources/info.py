"""What lies at a path: the kind of product, opened by its reader, and its description in a few lines."""

from typing import Any

import numpy as np
import xarray as xr

from xsr.core.cube import NATIVE_GSD
from xsr.core.errors import GridError
from xsr.core.georeference import geobox_of
from xsr.core.grid import crs_name, resolution
from xsr.core.names import standardise
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
    spatial = set(cube.odc.spatial_dims or ("y", "x"))
    lines["masks"] = " ".join(str(name) for name, coord in cube.coords.items() if spatial <= set(coord.dims))
    lines["products"] = "\n".join(str(value) for value in np.atleast_1d(_values(cube, "product_id")))
    record = cube.attrs.get("xsr")
    if isinstance(record, dict) and "complete" in record:
        lines["complete"] = "yes" if record["complete"] else "no: writing was interrupted"
    return {heading: text for heading, text in lines.items() if text}


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
        spatial = set(cube.odc.spatial_dims or ())
        sizes = {str(n): v.attrs.get(NATIVE_GSD, np.nan) for n, v in cube.data_vars.items() if spatial <= set(v.dims)}
    else:
        names = np.atleast_1d(_values(cube, "band") if "band" in cube.coords else str(cube.name))
        known = np.broadcast_to(_values(cube, NATIVE_GSD) if NATIVE_GSD in cube.coords else np.nan, names.shape)
        sizes = dict(zip(map(str, names), known.tolist(), strict=True))
    return ", ".join(name if np.isnan(size) else f"{name} ({size:g} m)" for name, size in sizes.items())


def _grid(cube: XarrayObject) -> dict[str, str]:
    try:
        box = geobox_of(cube)
    except GridError:  # a file without coordinates has other things to describe
        box = None
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
