"""What the guided operation is given: a temperature in kelvin, a guide, the grid of the result, and dates that pair."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import checks, graph, grid, pipeline, radiometry
from xsr.core.blocks import chunk_sizes
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import BandError, CubeError, GridError, ParameterError
from xsr.core.instants import DAY
from xsr.core.names import standard_dims
from xsr.core.sensors import TEMPERATURE_PRODUCTS, by_colour, get
from xsr.core.types import WindowFunction, XarrayObject
from xsr.kernels.footprint import AreaMean
from xsr.kernels.resample import Interpolation

ZERO_CELSIUS = 273.15
"""Kelvin."""
SAME = 1.01
"""Ratio of two pixel sizes up to which they count as the same."""
EDGE_POINTS = 32
"""Points of the longer edge of an outline that is projected."""
DIMS = ("time", "band", "y", "x")


@dataclass(frozen=True)
class Planes:
    """Images on a grid: what travels between the steps of the operation."""

    data: xr.DataArray
    """Dims (time, band, y, x), no coordinates, NaN is no data."""
    geobox: GeoBox

    def to(
        self, geobox: GeoBox, function: WindowFunction, chunks: tuple[tuple[int, ...], tuple[int, ...]]
    ) -> xr.DataArray:
        """Evaluate a block function on another grid, lazily where the images are."""
        shape = self.data.sizes["y"], self.data.sizes["x"]
        plan = graph.make_plan(grid.between(self.geobox, geobox), shape, halo=function.halo, chunks=chunks)
        return planes(graph.run(function, self.data.data, plan))

    def onto(self, geobox: GeoBox, chunks: tuple[tuple[int, ...], tuple[int, ...]]) -> "Planes":
        """Bring reflectance to another grid: its area mean where that is coarser, else bicubic; itself if the same."""
        cell = grid.between(self.geobox, geobox).cell
        function = AreaMean(cell) if min(cell) >= SAME else Interpolation("bicubic")
        found = self.data if geobox == self.geobox else self.to(geobox, function, chunks)
        lazy = found.chunks is not None
        return Planes(found.chunk(y=chunks[0], x=chunks[1]) if lazy else found, geobox)


def planes(values: Any) -> xr.DataArray:
    """Name the axes of an array (time, band, y, x)."""
    return xr.DataArray(values, dims=DIMS)


def finite(images: xr.DataArray) -> xr.DataArray:
    """Where images are data."""
    found: xr.DataArray = xr.apply_ufunc(np.isfinite, images, dask="allowed")
    return found


def planes_of(cube: Cube) -> Planes:
    """Pixels of a cube without its coordinates."""
    return Planes(planes(cube.data.data), cube.geobox)


def whole_chunks(geobox: GeoBox, chunks: tuple[int, ...], *, flipped: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes of the chunks of a grid; of one that is flipped in the end the last block becomes the first."""
    rows, cols = (chunk_sizes(size, chunk) for size, chunk in zip(geobox.shape.yx, chunks, strict=True))
    return (rows[::-1] if flipped else rows), cols


def open_temperature(obj: XarrayObject, units: str | None) -> Cube:
    """Open the cube to be sharpened: one band, kelvin.

    Raises
    ------
    CubeError
        If its units are neither stated nor given.
    BandError
        If it has several bands.
    """
    if not isinstance(obj, xr.DataArray | xr.Dataset):
        raise CubeError(f"the cube is a {type(obj).__name__}; expected an xarray DataArray or Dataset.")
    if isinstance(obj, xr.Dataset):
        spatial = set(standard_dims(obj).odc.spatial_dims or ())
        names = [name for name, v in standard_dims(obj).data_vars.items() if spatial and spatial <= set(v.dims)]
        _check_one([str(name) for name in names])
        return open_cube(obj.assign({names[0]: _to_kelvin(obj[names[0]], units)}))
    cube = open_cube(_to_kelvin(obj, units))
    _check_one(cube.bands)
    return cube


def _check_one(names: Sequence[str]) -> None:
    if len(names) != 1:
        raise BandError(
            f"the cube has {len(names)} bands {list(names)}; expected one, a temperature. Select it, for example with"
            " .sel(band=[...]) or cube[[name]]."
        )


def _to_kelvin(data: xr.DataArray, units: str | None) -> xr.DataArray:
    """Decode numbers and convert to kelvin as their metadata say."""
    product = TEMPERATURE_PRODUCTS.get(units) if isinstance(units, str) else None
    if product is not None:
        data = data.assign_attrs(scale_factor=product.scale, add_offset=product.offset, _FillValue=0)
        data.encoding = {**data.encoding, "dtype": np.uint16}  # numbers of the product, masked or not
        units = "K"
    told = units if units is not None else data.attrs.get("units", data.attrs.get("unit"))
    key = str(told).strip().casefold()
    if key not in radiometry.KELVIN | radiometry.CELSIUS:
        given = "no attribute 'units'" if told is None else f"units {told!r}"
        raise CubeError(
            f"the cube has {given}; expected a temperature in 'K' or 'degC', never guessed from its values. Say which:"
            " units='K', or .assign_attrs(units='K'); or how digital numbers become kelvin: units= one of"
            f" {', '.join(TEMPERATURE_PRODUCTS)}, or xsr.sources.landsat.brightness_temperature."
        )
    stored = data.encoding.get("dtype", data.dtype) if data.dtype.kind == "f" else data.dtype
    scale = data.attrs.get("scale_factor", data.attrs.get("scale", data.encoding.get("scale_factor")))
    if np.dtype(stored).kind in "iu" and scale in (None, 1):
        raise CubeError(
            f"the cube holds {stored} without a scale; expected kelvin or degrees Celsius, or integers with"
            " scale_factor and add_offset in attributes or encoding. Say how they become kelvin: units= one of"
            f" {', '.join(TEMPERATURE_PRODUCTS)}."
        )
    decoded = radiometry.decode(data, None)
    kelvin = decoded + np.float32(ZERO_CELSIUS) if key in radiometry.CELSIUS else decoded
    kept = {name: value for name, value in data.attrs.items() if name not in radiometry.PACKING_ATTRIBUTES}
    out = kelvin.astype(np.float32).assign_attrs({**kept, "units": "K"})
    out.encoding = {name: data.encoding[name] for name in ("source", "grid_mapping") if name in data.encoding}
    return out


def open_guide(
    obj: XarrayObject,
    *,
    bands: Sequence[str] | None,
    optional: Sequence[str],
    units: str | float | None,
    sensor: str,
    what: str,
) -> tuple[Cube, tuple[str, ...]]:
    """Open a guide and keep the bands asked for that it has, in that order.

    Parameters
    ----------
    obj
        Reflectance.
    bands
        Canonical Sentinel-2 names; None keeps all.
    optional
        Bands among them that the guide may lack.
    units
        Units of the numbers where the metadata do not say.
    sensor
        Sensor whose names the guide uses.
    what
        Who asks, for the message.

    Returns
    -------
    guide : Cube
    names : tuple of str
        Canonical names of its bands.

    Raises
    ------
    BandError
        If a band is missing.
    """
    cube = open_cube(obj, units=units)
    own = get(sensor).name.startswith("sentinel-2")
    known = list(cube.canonical) if own else [by_colour(name, sensor) for name in cube.bands]
    if bands is None:
        return cube, tuple(known)
    missing = [band for band in bands if band not in known and band not in optional]
    if missing:
        raise BandError(
            f"{what} needs the guide's bands {missing}; it has {list(cube.bands)} (of {sensor}). Add them, or say"
            " whose names they are with guide_sensor=."
        )
    found = tuple(band for band in bands if band in known)
    return replace(cube, data=cube.data.isel(band=[known.index(band) for band in found])), found


def check_pixel_sizes(cube: Cube, guide: Cube) -> None:
    """Refuse a guide that is coarser than the cube where they overlap: in another CRS the ratio is another elsewhere.

    Raises
    ------
    GridError
        With the ratio of the pixel sizes.
    """
    cell = grid.between(cube.geobox, _crop(guide.geobox, cube.geobox)).cell
    if not max(cell) <= SAME:
        raise GridError(
            f"the guide's pixels measure {max(cell):.3g} of the cube's; expected finer ones. Use another guide, or"
            " interpolate."
        )


def output_grid(
    cube: Cube,
    guide: Cube,
    *,
    scale: float | None,
    resolution: float | None,
    like: XarrayObject | GeoBox | None,
) -> GeoBox:
    """Grid of the result: the guide's within the cube, or the one asked for.

    Raises
    ------
    GridError
        If the guide does not overlap it.
    ParameterError
        If more than one grid is asked for, or one coarser than the cube.
    """
    within = _crop(guide.geobox, cube.geobox)
    if scale is None and resolution is None and like is None:
        return within
    return pipeline.resolve_target(cube, scale=scale, resolution=resolution, like=like)[0]


def _crop(geobox: GeoBox, other: GeoBox) -> GeoBox:
    """Pixels of a grid that lie wholly within the outline of another, or of its bounding box in the grid's CRS."""
    assert geobox.crs is not None
    outline, box = other.extent, other.extent.boundingbox
    if geobox.crs != other.crs:  # its edges become curves
        outline = outline.to_crs(geobox.crs, resolution=max(box.span_x, box.span_y) / EDGE_POINTS)
    inverse = ~geobox.affine
    corners = np.array([inverse @ (x, y) for x, y in _corners(outline.boundingbox)])
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    rows, cols = (
        (max(0, math.ceil(first - grid.EDGE)), min(size, math.floor(last + grid.EDGE)))
        for first, last, size in zip((top, left), (bottom, right), geobox.shape.yx, strict=True)
    )
    if rows[0] >= rows[1] or cols[0] >= cols[1]:
        raise GridError(
            f"the guide ({geobox.extent.boundingbox} in {grid.crs_name(geobox)}) does not overlap the cube"
            f" ({other.extent.boundingbox} in {grid.crs_name(other)}). Check both CRS and extents."
        )
    return geobox[rows[0] : rows[1], cols[0] : cols[1]]


def _corners(box: Any) -> list[tuple[float, float]]:
    return [(x, y) for x in (box.left, box.right) for y in (box.bottom, box.top)]


def cut(guide: Planes, geobox: GeoBox) -> Planes:
    """Cut a rectangle of pixels out of a guide where a grid is one; else the guide as it is."""
    sampling = grid.between(guide.geobox, geobox)
    if not isinstance(sampling, grid.Refinement) or not np.allclose(sampling.cell, 1, rtol=0, atol=1e-9):
        return guide
    first = np.rint(sampling.origin)
    inside = (first >= 0) & (first + sampling.shape <= guide.geobox.shape.yx)
    if not inside.all() or not np.allclose(sampling.origin, first, rtol=0, atol=1e-6):
        return guide
    (top, left), (height, width) = first.astype(int), sampling.shape
    return Planes(guide.data.isel(y=slice(top, top + height), x=slice(left, left + width)), geobox)


@dataclass(frozen=True)
class Pairing:
    """Dates of the guide, one for each date of the cube."""

    picks: tuple[int, ...]
    """Their index."""
    times: NDArray[np.datetime64] | None
    """Their times; None where the guide has none."""


def pair_dates(cube: Cube, guide: Cube, tolerance: Any) -> Pairing:
    """Choose the nearest date of the guide for each of the cube; the earlier of two as near.

    Raises
    ------
    ParameterError
        If the nearest is further than ``tolerance`` days, with the distance.
    CubeError
        If the guide has several dates and the cube's are not known.
    """
    if not (checks.is_number(tolerance) and tolerance >= 0):
        raise ParameterError(f"tolerance={tolerance!r}; expected a number of days, 0 or more.")
    wanted, known = _times(cube), _times(guide)
    count = cube.data.sizes["time"]
    if known is None or wanted is None:
        if guide.data.sizes["time"] > 1:
            raise CubeError(
                f"the guide has {guide.data.sizes['time']} dates, and the dates of"
                f" {'the cube' if wanted is None else 'the guide'} are not known; expected one date, or times on both."
                " Select it with .isel(time=0), or add a coordinate 'time'."
            )
        return Pairing((0,) * count, None if known is None else np.repeat(known, count))
    order = np.argsort(known, kind="stable")
    distance = np.abs(known[order][None, :] - wanted[:, None]) / DAY
    nearest = distance.argmin(axis=1)
    away = distance[np.arange(count), nearest]
    if away.max() > tolerance:
        worst = int(away.argmax())
        raise ParameterError(
            f"the guide's date nearest to {wanted[worst].astype('datetime64[s]')} lies {away[worst]:.1f} days away;"
            f" expected at most tolerance={tolerance:g} days. Add a date, drop this one, or pass"
            f" tolerance={math.ceil(away[worst])}."
        )
    picks = order[nearest]
    return Pairing(tuple(int(i) for i in picks), known[picks])


def pair(guide: Cube, pairing: Pairing) -> Planes:
    """Images of a guide, one for each date of the cube."""
    return Planes(planes_of(guide).data.isel(time=list(pairing.picks)), guide.geobox)


def _times(cube: Cube) -> NDArray[np.datetime64] | None:
    """Read the times of a cube, one a date and perhaps without a dimension; None where it has none."""
    if "time" not in cube.data.coords:
        return None
    times = np.atleast_1d(cube.data["time"].values)
    if times.dtype.kind != "M" or np.isnat(times).any():
        raise CubeError(f"'time' has dtype {times.dtype}; expected a datetime64 for every date.")
    return np.asarray(times.astype("datetime64[ns]"))
