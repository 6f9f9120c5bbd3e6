"""Sections of a card that come from names, coordinates and attributes alone."""

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from xsr.core import platforms, radiometry, sensors
from xsr.core.cube import Cube
from xsr.core.grid import crs_name, resolution
from xsr.core.names import standard_dims
from xsr.core.provenance import OPERATION, PREFIX
from xsr.core.sheet import Section
from xsr.core.types import XarrayObject
from xsr.view.pixels import in_memory

MANY = 12
"""More dates than these are described by the first and the last."""


def size(given: XarrayObject) -> Section:
    """Sizes of the dimensions as the user names them, and where the numbers are."""
    sizes = " × ".join(f"{name} {length}" for name, length in given.sizes.items())
    variables = list(given.data_vars.values()) if isinstance(given, xr.Dataset) else [given]
    lazy = [one for one in variables if one.chunks is not None]
    where = "in memory" if all(map(in_memory, variables)) else "in a file, not read"
    if lazy:
        chunks = sum(math.prod(len(sizes) for sizes in one.chunks or ()) for one in lazy)
        where = f"lazy, {chunks} chunk{'s' if chunks != 1 else ''}"
    kinds = ", ".join(dict.fromkeys(str(one.dtype) for one in variables))
    return Section("size", f"{sizes or 'no dimensions'}; {kinds or 'no variables'}, {_bytes(given.nbytes)}, {where}")


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def grid(cube: Cube) -> Section:
    """CRS, pixel size and extent."""
    box = cube.geobox
    down, across = resolution(box)
    unit = box.crs.units[0] if box.crs is not None else ""
    unit = "degrees" if unit.startswith("degree") else {"metre": "m"}.get(unit, unit)
    pixel = " × ".join(dict.fromkeys((f"{across:.6g}", f"{down:.6g}")))
    left, bottom, right, top = box.boundingbox
    rows: list[tuple[str, str]] = [("x", f"{left:.12g} to {right:.12g}"), ("y", f"{bottom:.12g} to {top:.12g}")]
    ground = cube.pixel_m
    if unit != "m":
        rows.append(("pixel on the ground", " × ".join(f"{one:.4g}" for one in ground[::-1]) + " m"))
    if cube.moved is not None:
        rows.append(("coordinates", cube.moved))
    return Section("grid", f"{crs_name(box)}, pixels of {pixel} {unit}".rstrip(), rows, brief=True)


def dates(cube: Cube) -> Section:
    """Count the dates; name the first and the last."""
    times = cube.dates
    if times is None:
        count = cube.data.sizes["time"]
        return Section("dates", "none stated" if count == 1 else f"{count} images without dates")
    return _dates(times)


def raw_dates(given: XarrayObject) -> Section | None:
    """Dates of what is no cube; None where it has none."""
    found = standard_dims(given)
    if "time" not in found.coords or found["time"].dtype.kind != "M":
        return None
    return _dates(np.atleast_1d(found["time"].values))


def _dates(times: Any) -> Section:
    days = [str(day) for day in np.sort(times).astype("datetime64[m]")]
    if len(days) <= 1:
        return Section("dates", f"{len(days)}: {''.join(days)}" if days else "0")
    gap = float(np.median(np.diff(np.sort(times)) / np.timedelta64(1, "D")))
    rows = [(day,) for day in days] if len(days) <= MANY else []
    return Section("dates", f"{len(days)}: {days[0]} to {days[-1]}, every {gap:.3g} days (median)", rows, brief=True)


def bands(cube: Cube) -> Section:
    """Names of the bands, and what they mean."""
    rows, unknown = [], []
    for name, meaning, native in zip(cube.bands, cube.canonical, cube.native_gsd, strict=True):
        text = _meaning(name, meaning)
        if not text:
            unknown.append(name)
        where = "" if math.isnan(native) else f"observed in pixels of {native:g} m"
        rows.append((name, text or f"not recognised. {sensors.doubt(name)}".strip(), where))
    count = len(rows) - len(unknown)
    summary = f"{count} recognised: {_listed([row[0] for row in rows if row[0] not in unknown])}" if count else ""
    rest = f"{len(unknown)} not: {_listed(unknown)}" if unknown else ""
    found = platforms.stated(cube.original)
    satellite = f"; {', '.join(one.name for one in found)}" if found else ""
    return Section("bands", " · ".join(filter(None, (summary, rest))) + satellite, rows)


def _meaning(name: str, meaning: str) -> str:
    """Say which band of which sensor a name means; empty where it is none."""
    table = sensors.get("sentinel-2")
    if table.has(meaning):
        return ("" if name == meaning else f"{meaning}, ") + f"{table.band(meaning).wavelength_nm:g} nm"
    if meaning != name:
        return meaning
    others = sensors.knowing((name,))
    return f"a band of {others[0].name}" if others else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= MANY else f"{', '.join(names[:MANY])}, …"


def units(cube: Cube) -> Section:
    """Units of the numbers, and what says so."""
    held = cube.original
    first = (
        held if isinstance(held, xr.DataArray) else held[{str(name): name for name in held.data_vars}[cube.bands[0]]]
    )
    stated = first.attrs.get("units", first.attrs.get("unit"))
    if cube.is_temperature:
        return Section("units", f"temperature in {stated}, by the attribute units")
    odd = radiometry.stated_otherwise(first)
    if odd:
        return Section("units", f"taken as reflectance; the attributes state {odd}")
    scale, offset = radiometry.packing(first, None)
    if (scale, offset) != (1.0, 0.0):
        packed = f"number × {scale:g}" + (f" {offset:+g}" if offset else "")
        return Section("units", f"reflectance = {packed}, by the scale and offset of the {first.dtype} in the metadata")
    if stated is not None:
        return Section("units", f"reflectance: {first.dtype} in units {str(stated)!r}")
    return Section("units", f"reflectance: {first.dtype} without stated units count as such")


def provenance(cube: Cube) -> Section | None:
    """Say what earlier operations of xsr left; None where there is none."""
    attrs = {str(name): value for name, value in cube.original.attrs.items() if str(name).startswith(PREFIX)}
    if not attrs:
        return None
    rows = [(name.removeprefix(PREFIX), str(value)) for name, value in attrs.items() if name != OPERATION]
    return Section("made by", str(attrs.get(OPERATION, "xsr")), rows)


def groups(tree: xr.DataTree) -> Section:
    """List the groups of a tree that hold variables, with their sizes."""
    nodes = [node for node in tree.subtree if node.data_vars]
    rows = [(node.path, _sizes(node.sizes), ", ".join(map(str, node.data_vars))) for node in nodes]
    return Section("groups", f"{len(rows)} with variables", rows, ("group", "size", "variables"))


def _sizes(sizes: Any) -> str:
    named: list[tuple[Hashable, int]] = list(sizes.items())
    return " × ".join(f"{name} {length}" for name, length in named)
