"""One date of a product, and dates stacked to a cube.

A `Granule` is what every reader makes: reflectance on one grid, its masks, and where it comes from. `stack` joins them
to a cube that keeps the contract: dims (time, band, y, x), float32, NaN = no data, provenance as coordinates.
"""

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsr.core.errors import BandError, GridError, ProductError, XsrWarning
from xsr.core.grid import crs_name, resolution
from xsr.core.sensors import Sensor, canonical_band, get
from xsr.sources.harmonise import Identity, duplicates

ALIGNED = 1e-6
"""Largest deviation, in pixels, of a grid from the lattice of another."""


@dataclass(frozen=True)
class Granule:
    """One date."""

    label: str
    """Name of the product in messages."""
    time: np.datetime64
    """Start of the acquisition, UTC."""
    bands: tuple[str, ...]
    pixels: Any
    """Reflectance (band, y, x), float32, NaN = no data; Dask-backed."""
    geobox: GeoBox
    native_gsd_m: tuple[float, ...]
    """Pixel size in metres at which each band was observed."""
    identity: Identity
    """Which acquisition it is, and which processing of it."""
    record: Mapping[str, str] = field(default_factory=dict)
    """Where it comes from: one text for each coordinate along time."""
    offset_dn: tuple[float, ...] = ()
    """Offset added to the digital numbers of each band."""
    masks: Mapping[str, Any] = field(default_factory=dict)
    """Masks (y, x) or (band, y, x) by the name of their coordinate; Dask-backed."""
    images: tuple[xr.DataArray, ...] = ()
    """Images of the bands, each on its own grid, where ``pixels`` come from them through ``place``."""
    place: Callable[[xr.DataArray], Any] | None = None
    """Brings an image to the grid. With it parts of a date are joined before, and no seam shows."""


def choose_bands(bands: Sequence[str] | None, have: Sequence[str], label: str) -> tuple[str, ...]:
    """Canonical names of the requested bands, in the order requested; all by default.

    Raises
    ------
    BandError
        If a band is unknown, missing or named twice.
    """
    if bands is None:
        return tuple(have)
    names = tuple(canonical_band(name) for name in ([bands] if isinstance(bands, str) else bands))
    missing = [name for name in names if name not in have]
    if missing or not names:
        raise BandError(f"bands {missing or 'none'} requested; {label} has {', '.join(have)}.")
    if len(set(names)) != len(names):
        raise BandError(f"bands={list(names)} names a band twice; expected unique bands. Drop the duplicates.")
    return names


def native_sizes(bands: Sequence[str], boxes: Sequence[GeoBox], sensor: Sensor | None = None) -> tuple[float, ...]:
    """Pixel size in metres of each band: that of the sensor, or that of its image where it is larger.

    Parameters
    ----------
    bands
        Names of the bands.
    boxes
        Grid of the image of each.
    sensor
        Sentinel-2 by default.
    """
    table = sensor or get("sentinel-2")
    return tuple(max(table.band(name).gsd_m, resolution(box)[0]) for name, box in zip(bands, boxes, strict=True))


def stack(granules: Sequence[Granule], *, name: str, attrs: Mapping[str, Any], mask: bool) -> xr.DataArray:
    """Join dates to a cube in the order of time.

    Of several processings of one datastrip the latest is kept. Datastrips of one acquisition are parts of one date:
    each pixel comes from the first that has it, the latest processing first, and the date is the earliest of theirs.

    Parameters
    ----------
    granules
        Dates, or parts of dates, on the same grid, with the same bands.
    name
        Name of the cube.
    attrs
        Attributes of the cube.
    mask
        Set pixels that ``valid`` excludes to NaN.

    Returns
    -------
    DataArray
        Cube (time, band, y, x), Dask-backed; of a geographic CRS (time, band, latitude, longitude). Coordinates:
        ``native_gsd`` in metres along band; the record of each date (of all parts, separated by ``; ``) and
        ``dn_offset`` along time (NaN where the parts differ); the masks. Attribute ``dropped_duplicates`` where there
        were any.

    Raises
    ------
    GridError
        If the grids differ.
    ProductError
        If bands differ, or two different acquisitions have the same time.
    """
    import dask.array as da

    kept, dropped = duplicates([granule.identity for granule in granules])
    extra: dict[str, Any] = {}
    if dropped:
        lines = [f"{granules[lost].label} (kept {granules[winner].label})" for lost, winner in dropped]
        extra["dropped_duplicates"] = lines
        warnings.warn(
            f"the same acquisition was given more than once; dropped {'; '.join(lines)}.", XsrWarning, stacklevel=3
        )
    kept_granules = [granules[index] for index in kept]
    _check_alike(kept_granules)
    granules = sorted(_join_parts(kept_granules), key=lambda granule: granule.time)
    _check_times(granules)
    first = granules[0]
    y, x = first.geobox.dimensions
    coords: dict[Any, Any] = {
        **xr_coords(first.geobox),
        "time": np.array([granule.time for granule in granules], "datetime64[ns]"),
        "band": list(first.bands),
        "native_gsd": ("band", list(first.native_gsd_m), {"units": "m"}),
    }
    for key in first.record:
        coords[key] = ("time", [granule.record[key] for granule in granules])
    if first.offset_dn:
        coords["dn_offset"] = (("time", "band"), np.array([granule.offset_dn for granule in granules], np.float32))
    for key, values in first.masks.items():
        dims = ("time", y, x) if values.ndim == 2 else ("time", "band", y, x)
        coords[key] = (dims, da.stack([granule.masks[key] for granule in granules]))
    cube = xr.DataArray(
        da.stack([granule.pixels for granule in granules]), coords, ("time", "band", y, x), name, {**attrs, **extra}
    )
    return apply_mask(cube) if mask else cube


def _joined_images(parts: Sequence[Granule]) -> list[xr.DataArray]:
    """Images of the bands, each pixel from the first part that has it."""
    images = []
    for one, *others in zip(*(part.images for part in parts), strict=True):
        image = one
        for other in others:
            image = image.where(image.notnull(), other)
        images.append(image)
    return images


def on_one_lattice(granules: Sequence[Granule]) -> list[Granule]:
    """Extend granules of one lattice of pixels to the extent of all, as Landsat's need, whose frames differ by date.

    Returns
    -------
    list of Granule
        Outside its own frame a granule is NaN, and its masks are 0. If the lattices differ, the granules as they are.
    """
    first = granules[0].geobox
    corners = [_corner(first, granule.geobox) for granule in granules]
    if any(corner is None for corner in corners):
        return list(granules)
    begin = np.array(corners, int)
    end = begin + [granule.geobox.shape.yx for granule in granules]
    top, left = begin.min(axis=0).tolist()
    bottom, right = end.max(axis=0).tolist()
    a = first.affine
    affine = Affine(a.a, 0.0, a.c + left * a.a, 0.0, a.e, a.f + top * a.e)
    box = GeoBox((bottom - top, right - left), affine, first.crs)
    return [
        _extended(granule, box, (y - top, x - left)) for granule, (y, x) in zip(granules, begin.tolist(), strict=True)
    ]


def inside(grid: GeoBox, box: GeoBox) -> bool:
    """Whether the pixels of a grid are pixels of another."""
    corner = _corner(grid, box)
    if corner is None:
        return False
    sizes = zip(corner, box.shape.yx, grid.shape.yx, strict=True)
    return all(0 <= first and first + size <= whole for first, size, whole in sizes)


def _corner(lattice: GeoBox, box: GeoBox) -> tuple[int, int] | None:
    """Row and column of the first pixel of a grid on the lattice of another; None if it is not on it."""
    a, b = lattice.affine, box.affine
    row, column = (b.f - a.f) / a.e, (b.c - a.c) / a.a
    steps = abs(b.a / a.a - 1) + abs(b.e / a.e - 1)
    if box.crs != lattice.crs or max(steps, abs(row - round(row)), abs(column - round(column))) > ALIGNED:
        return None
    return round(row), round(column)


def _extended(granule: Granule, box: GeoBox, corner: tuple[int, int]) -> Granule:
    """Put a granule on a larger grid, its first pixel at a row and column."""
    import dask.array as da

    if granule.geobox == box:
        return granule
    (height, width), (row, column) = granule.geobox.shape.yx, corner
    around = ((row, box.shape.y - row - height), (column, box.shape.x - column - width))

    def pad(values: Any, fill: float) -> Any:
        sides = (*[(0, 0)] * (values.ndim - 2), *around)
        return da.pad(values, sides, constant_values=fill).rechunk(values.chunksize)

    masks = {key: pad(values, 0) for key, values in granule.masks.items()}
    return replace(granule, geobox=box, pixels=pad(granule.pixels, np.nan), masks=masks)


def apply_mask(cube: xr.DataArray) -> xr.DataArray:
    """Set pixels that the coordinate ``valid`` excludes to NaN.

    Raises
    ------
    ProductError
        If there is no such coordinate.
    """
    if "valid" not in cube.coords:
        raise ProductError("mask=True, but the product has no classification; expected one. Pass mask=False.")
    return cube.where(cube["valid"])


def _join_parts(granules: Sequence[Granule]) -> list[Granule]:
    """Join the datastrips of each acquisition."""
    groups: dict[tuple[str, ...], list[Granule]] = {}
    for granule in granules:
        groups.setdefault(granule.identity.acquisition, []).append(granule)
    return [_mosaic(sorted(parts, key=lambda part: part.identity.rank, reverse=True)) for parts in groups.values()]


def _mosaic(parts: Sequence[Granule]) -> Granule:
    """Join parts of one date, pixel by pixel and band by band; masks follow the first part that shows any band."""
    import dask.array as da

    first = parts[0]
    if len(parts) == 1:
        return first
    pixels, masks = first.pixels, dict(first.masks)
    for part in parts[1:]:
        empty = da.isnan(pixels)
        masks = {
            key: da.where(empty if mask.ndim == 3 else empty.all(axis=0), part.masks[key], mask)
            for key, mask in masks.items()
        }
        pixels = da.where(empty, part.pixels, pixels)
    if first.place is not None:
        pixels = da.concatenate([first.place(image) for image in _joined_images(parts)])
    in_time = sorted(parts, key=lambda part: (part.time, part.identity.datastrip))
    record = {key: "; ".join(dict.fromkeys(part.record[key] for part in in_time)) for key in first.record}
    offsets = np.array([part.offset_dn for part in parts], np.float64)
    same = np.where((offsets == offsets[0]).all(axis=0), offsets[0], np.nan)
    return replace(
        first,
        time=in_time[0].time,
        pixels=pixels,
        masks=masks,
        record=record,
        native_gsd_m=tuple(map(max, zip(*(part.native_gsd_m for part in parts), strict=True))),
        offset_dn=tuple(same.tolist()),
    )


def _check_alike(granules: Sequence[Granule]) -> None:
    first = granules[0]
    for granule in granules[1:]:
        if granule.geobox != first.geobox:
            raise GridError(
                f"{granule.label} is on another grid than {first.label}: {_grid(granule.geobox)} and"
                f" {_grid(first.geobox)}; expected one grid. Open one tile at a time."
            )
        if (
            granule.bands != first.bands
            or set(granule.masks) != set(first.masks)
            or set(granule.record) != set(first.record)
        ):
            raise ProductError(
                f"{granule.label} gives bands {list(granule.bands)} and masks {sorted(granule.masks)},"
                f" {first.label} gives {list(first.bands)} and {sorted(first.masks)}; expected the same. Name the"
                " bands, or open them one by one."
            )


def _check_times(granules: Sequence[Granule]) -> None:
    for before, granule in itertools.pairwise(granules):
        if granule.time == before.time:
            raise ProductError(
                f"{before.label} and {granule.label} are different acquisitions of the same time {granule.time};"
                " expected one a time. Open them separately."
            )


def _grid(geobox: GeoBox) -> str:
    return f"{geobox.shape.y} x {geobox.shape.x} pixels at {tuple(geobox.boundingbox)} in {crs_name(geobox)}"
