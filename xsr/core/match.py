"""Cubes that are to be compared: the same grid, bands and dates, or an error that says by how much they differ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsr.core import checks, pipeline
from xsr.core.blocks import Span, chunk_sizes, spans
from xsr.core.clock import same_times, with_utc
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import BandError, CubeError, GridError, ParameterError
from xsr.core.grid import EDGE, crs_name, resolution
from xsr.core.names import BandsLike, fitting, standard_dims
from xsr.core.sensors import canonical
from xsr.core.types import XarrayObject

SHIFT = 1e-3
"""Largest deviation between two grids that count as the same, in pixels."""


@dataclass(frozen=True)
class Low:
    """A low-resolution cube under a high-resolution one: same corner, coarser pixels."""

    cube: Cube
    scale: tuple[float, float]
    """Low over high pixel size, (y, x)."""


def open_like(
    obj: XarrayObject, cube: Cube, *, units: str | float | None, what: str, bands: BandsLike | None = None
) -> Cube:
    """Open a cube with the bands of another, in its order, and check the dates.

    Parameters
    ----------
    obj
        The cube to open.
    cube
        The other.
    units
        Units of the numbers where the metadata do not say.
    what
        What it is, for messages.
    bands
        Names of bands by a mapping, which counts if the cube has its labels.

    Raises
    ------
    BandError
        If a band is missing.
    CubeError
        If the dates differ.
    """
    mapping = fitting(bands, obj) if isinstance(bands, Mapping) else None
    other = open_cube(obj, units=units, bands=mapping, shared=True)
    if len(cube.bands) == len(other.bands) == 1 and not (_names_bands(obj) and _names_bands(cube.original)):
        selected = other  # a single image without band names
    else:
        wanted = [a if a in other.bands else b for a, b in zip(cube.bands, cube.canonical, strict=True)]
        known = {*other.bands, *other.canonical}
        missing = [name for name, band in zip(cube.bands, wanted, strict=True) if band not in known]
        if missing:
            raise BandError(
                f"{what} lacks the bands {missing}; it has {list(other.bands)}. Give those too, or select with bands=."
            )
        same = other.canonical == cube.canonical or other.bands == cube.bands
        selected = other if same else other.select(wanted)  # a selection copies an array in memory
    _check_dates(cube.data, selected.data, what)
    return selected


def _names_bands(obj: XarrayObject) -> bool:
    return isinstance(obj, xr.Dataset) or "band" in obj.coords or "band" in standard_dims(obj).coords


def _check_dates(ours: xr.DataArray, theirs: xr.DataArray, what: str) -> None:
    if theirs.sizes["time"] == 1 and "time" not in theirs.coords:
        return  # an image without a date serves every date
    if ours.sizes["time"] != theirs.sizes["time"]:
        raise CubeError(
            f"{what} has {theirs.sizes['time']} dates, the image {ours.sizes['time']}; expected the same dates."
            " Select them with .sel(time=...); one image that serves all dates has no time: .isel(time=0, drop=True)."
        )
    if "time" not in ours.coords or "time" not in theirs.coords:
        return
    differ = np.flatnonzero(~same_times(ours["time"].values, theirs["time"].values))
    if differ.size:
        first = int(differ[0])
        raise CubeError(
            f"{what} differs in {differ.size} date(s), first {theirs['time'].values[first]} against"
            f" {ours['time'].values[first]}; expected the same dates in the same order."
        )


def check_same_grid(ours: GeoBox, theirs: GeoBox, *, what: str) -> None:
    """Refuse two grids that differ by more than `SHIFT` of a pixel.

    Raises
    ------
    GridError
        Saying by how much they differ.
    """
    if ours.crs != theirs.crs:
        raise GridError(f"{what} is in {crs_name(theirs)}, the image in {crs_name(ours)}; expected one CRS. {REMEDY}")
    size, other = resolution(ours), resolution(theirs)
    ratio = (other[0] / size[0], other[1] / size[1])
    height, width = ours.shape.yx
    if any(abs(r - 1) * n > SHIFT for r, n in zip(ratio, (height, width), strict=True)):
        raise GridError(
            f"{what} has pixels {ratio[0]:.6g} x {ratio[1]:.6g} times those of the image ({other[0]:.6g} against"
            f" {size[0]:.6g} in y); expected the same grid. {REMEDY}"
        )
    down, right = offset(ours, theirs)
    if max(abs(down), abs(right)) > SHIFT:
        raise GridError(
            f"{what} is shifted by {down:.4g} pixels down and {right:.4g} right ({down * size[0]:.6g} and"
            f" {right * size[1]:.6g} in units of the CRS); expected at most {SHIFT:g}. {REMEDY}"
        )
    if ours.shape != theirs.shape:
        raise GridError(
            f"{what} has {theirs.shape[0]} x {theirs.shape[1]} pixels, the image {height} x {width};"
            f" expected the same. {REMEDY}"
        )


REMEDY = "Bring it there with xsr.interpolate(..., like=...) or crop it."


def offset(ours: GeoBox, theirs: GeoBox) -> tuple[float, float]:
    """Top-left corner of a grid in pixels of another, counted from its corner, (down, right)."""
    right, down = ~ours.affine @ (theirs.affine.c, theirs.affine.f)
    return float(down), float(right)


def open_low(obj: XarrayObject, cube: Cube, *, units: str | float | None, bands: BandsLike | None = None) -> Low:
    """Open the low-resolution cube of a super-resolved one.

    Raises
    ------
    GridError
        If CRS or corner differ, its pixels are finer, or the image does not fit into it.
    """
    low = open_like(obj, cube, units=units, what="low=", bands=bands)
    high = cube.geobox
    if high.crs != low.geobox.crs:
        raise GridError(f"low= is in {crs_name(low.geobox)}, the image in {crs_name(high)}; expected one CRS.")
    size, coarse = resolution(high), resolution(low.geobox)
    scale = (coarse[0] / size[0], coarse[1] / size[1])
    if min(scale) < 1 - EDGE:
        raise GridError(
            f"low= has pixels {scale[0]:.6g} x {scale[1]:.6g} times those of the image; expected at least 1."
        )
    down, right = offset(high, low.geobox)
    if max(abs(down), abs(right)) > SHIFT:
        raise GridError(
            f"low= is shifted by {down:.4g} pixels of the image down and {right:.4g} right ({down * size[0]:.6g} and"
            f" {right * size[1]:.6g} in units of the CRS); expected the same top-left corner. Crop both to the same"
            " corner."
        )
    if any(n >= (m + 1) * s for n, m, s in zip(high.shape.yx, low.geobox.shape.yx, scale, strict=True)):
        raise GridError(
            f"low= covers {low.geobox.shape[0] * scale[0]:.6g} x {low.geobox.shape[1] * scale[1]:.6g} pixels of the"
            f" image, which has {high.shape[0]} x {high.shape[1]}; expected all of it but"
            " part of a low-resolution pixel."
        )
    return Low(low, (max(1.0, _tidy(scale[0])), max(1.0, _tidy(scale[1]))))


def _tidy(scale: float) -> float:
    """Remove the rounding of a quotient of coordinates: 1.9999999998 is 2."""
    return round(scale, 9)


def open_mask(mask: Any, cube: Cube) -> Any:
    """Bring a mask (True = judge this pixel) to dims (time, band, y, x) on the grid of a cube; lazy for Dask.

    Raises
    ------
    ParameterError
        If it is not a boolean DataArray over y and x, or its dims do not fit.
    """
    if not isinstance(mask, xr.DataArray) or mask.dtype != bool:
        kind = getattr(mask, "dtype", type(mask).__name__)
        raise ParameterError(f"mask= is {kind}; expected a boolean DataArray, True where a pixel is judged.")
    mask = with_utc(standard_dims(mask))
    y, x = (dim if dim in mask.dims else short for dim, short in zip(cube.spatial, ("y", "x"), strict=True))
    extra = set(mask.dims) - {"time", "band", y, x}
    if extra or not {y, x} <= set(mask.dims):
        raise ParameterError(f"mask= has dims {list(mask.dims)}; expected ([time,] [band,] {y}, {x}).")
    data = mask.rename({old: new for old, new in ((y, "y"), (x, "x")) if old != new})
    if "band" in data.dims and "band" in data.coords:
        known = {canonical(str(name)): index for index, name in enumerate(data["band"].values)}
        missing = [name for name in cube.bands if canonical(name) not in known]
        if missing:
            raise ParameterError(
                f"mask= lacks the bands {missing}; it has {list(known)}. Give one mask for all, or add them."
            )
        data = data.isel(band=[known[canonical(name)] for name in cube.bands])
    if "time" in data.coords:
        _check_dates(cube.data, data if "time" in data.dims else data.expand_dims("time"), "mask=")
    down = "y" in data.coords and data.sizes["y"] > 1 and float(data["y"][1] - data["y"][0]) > 0
    if down or ("y" not in data.coords and cube.flipped):
        data = data.isel(y=slice(None, None, -1))
    for dim in ("time", "band"):
        data = data if dim in data.dims else data.expand_dims(dim)
    data = data.transpose("time", "band", "y", "x")
    wanted = cube.data.sizes
    for dim in ("time", "band", "y", "x"):
        if data.sizes[dim] != wanted[dim] and not (dim in ("time", "band") and data.sizes[dim] == 1):
            raise ParameterError(f"mask= has {data.sizes[dim]} along {dim}, the image {wanted[dim]}.")
    for dim, step in zip(("y", "x"), resolution(cube.geobox), strict=True):
        if dim in data.coords:
            off = float(np.abs(data[dim].values - cube.data[dim].values).max()) / step
            if off > SHIFT:
                raise ParameterError(f"mask= is off by {off:.4g} pixels along {dim}; expected the grid of the image.")
    return data.data


def quotient(scale: Sequence[float]) -> float:
    """Return one linear factor for a pair: their geometric mean."""
    return math.sqrt(scale[0] * scale[1])


LARGEST = 2048
"""Side of a Dask chunk above which blocks no longer follow the chunks."""


def blocks_of(cube: Cube, chunks: int | Sequence[int] | None) -> list[tuple[Span, Span]]:
    """Blocks (rows, cols) of a reduction: those requested, or the Dask chunks of the cube where they are not huge."""
    shape = (cube.data.sizes["y"], cube.data.sizes["x"])
    if chunks is None and cube.data.chunks is not None:
        own = cube.data.chunks[2:]
        if max(own[0] + own[1]) <= LARGEST:
            return list(product(spans(own[0]), spans(own[1])))
    pair = pipeline.resolve_chunks(chunks)
    return list(product(spans(chunk_sizes(shape[0], pair[0])), spans(chunk_sizes(shape[1], pair[1]))))


def check_border(border: Any, cube: Cube) -> int:
    """Refuse a border that is no number of pixels or leaves nothing.

    Raises
    ------
    ParameterError
        With the size of the cube.
    """
    found = checks.whole("border", border, least=0, what="a number of pixels")
    height, width = cube.data.sizes["y"], cube.data.sizes["x"]
    if 2 * found >= min(height, width):
        raise ParameterError(f"border={found} leaves nothing of {height} x {width} pixels; expected less.")
    return found
