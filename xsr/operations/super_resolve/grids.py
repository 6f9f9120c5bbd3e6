"""Bands on grids of their own, brought to the grid of the sharpest."""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from xsr.core import pipeline
from xsr.core.classes import holds_classes
from xsr.core.cube import NATIVE_GSD, Cube, open_cube
from xsr.core.errors import CubeError, GridError, ParameterError
from xsr.core.grid import crs_name, resolution
from xsr.core.types import XarrayObject
from xsr.kernels.resample import Interpolation

NESTED_PX = 1e-3
"""Largest deviation of corners of larger pixels from those of the grid, in pixels of the grid."""


@dataclass(frozen=True)
class Joined:
    """Bands on one grid, and where the larger pixels of those that were brought to it begin."""

    cube: XarrayObject
    corners: dict[int, tuple[int, int]] = field(default_factory=dict)
    """First pixel (row, column) of the grid, counted from a corner of larger pixels, by their side in pixels."""


def on_one_grid(cube: XarrayObject, units: str | float | None, *, method: str) -> Joined:
    """Join the variables of a Dataset that are on several grids; any other cube is returned unchanged.

    Parameters
    ----------
    cube
        Dataset whose bands of one pixel size share dims, the last two of which are y and x; layers of classes are left
        out.
    units
        See `xsr.core.cube.open_cube`.
    method
        Interpolation from a band's own pixels to the grid.

    Raises
    ------
    GridError
        If a grid does not lie in the finest one: says by how much.
    CubeError
        If dates differ, or a grid breaks the contract.
    """
    groups = _groups(cube) if isinstance(cube, xr.Dataset) else {}
    if len(groups) < 2:
        return Joined(cube)
    assert isinstance(cube, xr.Dataset)
    parts = [open_cube(_alone(cube, dims, names), units=units) for dims, names in groups.items()]
    parts.sort(key=lambda part: resolution(part.geobox)[0])
    fine, *others = parts
    joined = fine.rewrap(fine.data.data, fine.geobox, {})
    assert isinstance(joined, xr.Dataset)
    corners: dict[int, tuple[int, int]] = {}
    for other in others:
        side, corner = _nested(fine, other)
        if corners.setdefault(side, corner) != corner:
            raise GridError(f"grids of pixels {side} times as large begin at different places; expected one grid each.")
        check_dates(fine, other, str(list(other.bands)))
        joined = join(joined, brought(fine, other, method), fine)
    for part in parts:
        for name in part.bands:
            joined[name].attrs[NATIVE_GSD] = part.pixel_m[0]
    return Joined(joined, corners)


def _groups(cube: xr.Dataset) -> dict[tuple[Hashable, Hashable], list[Hashable]]:
    """Names of the bands by their last two dims."""
    groups: dict[tuple[Hashable, Hashable], list[Hashable]] = {}
    for name, variable in cube.data_vars.items():
        if variable.ndim >= 2 and not holds_classes(name, variable):
            groups.setdefault((variable.dims[-2], variable.dims[-1]), []).append(name)
    return groups


def _alone(cube: xr.Dataset, dims: tuple[Hashable, Hashable], names: list[Hashable]) -> xr.Dataset:
    """Bands of one grid, whose dims are named as usual."""
    part = cube[names].copy()
    for name, coord in part.coords.items():  # a transform is that of one grid; coordinates say where each lies
        if not coord.dims and "GeoTransform" in coord.attrs:
            part[name].attrs = {key: value for key, value in coord.attrs.items() if key != "GeoTransform"}
    return part.rename({old: new for old, new in zip(dims, ("y", "x"), strict=True) if old != new})


def _nested(fine: Cube, other: Cube) -> tuple[int, tuple[int, int]]:
    """Side of the larger pixels, and the first pixel of the fine grid counted from a corner of them."""
    if fine.geobox.crs != other.geobox.crs:
        raise GridError(
            f"bands {list(other.bands)} lie in {crs_name(other.geobox)}, {list(fine.bands)} in {crs_name(fine.geobox)};"
            " expected one CRS. Bring them to one, or open the product with xsr.open."
        )
    step = (~fine.geobox.affine) @ other.geobox.affine
    col, row = step.c, step.f
    away = max(abs(v - round(v)) for v in (step.a, step.e, col, row))
    if away > NESTED_PX or round(step.a) != round(step.e) or step.b or step.d:
        raise GridError(
            f"pixels of {list(other.bands)} measure {step.a:.6g} by {step.e:.6g} of those of {list(fine.bands)}, and"
            f" begin at ({row:.6g}, {col:.6g}) of them; expected whole numbers, they are off by up to {away:.3g}."
            " Open the product with xsr.open, or bring the bands to one grid and record native_gsd."
        )
    side = round(step.a)
    return side, (-round(row) % side, -round(col) % side)


def brought(fine: Cube, other: Cube, method: str) -> XarrayObject:
    """Bands of a coarser cube on the grid of a fine one."""
    target = pipeline.resolve_target(other, scale=None, resolution=None, like=fine.geobox)
    # y runs as in the fine cube, whichever way it ran before.
    other = replace(other, flipped=fine.flipped, names=fine.names, spatial=fine.spatial)
    return pipeline.evaluate(other, Interpolation(method), target, chunks=pipeline.resolve_chunks(None), provenance={})


def join(decoded: XarrayObject, others: XarrayObject, fine: Cube) -> XarrayObject:
    """Add bands that were brought to the grid of a cube.

    Parameters
    ----------
    decoded
        The bands of the cube, in the user's form.
    others
        What `brought` makes.
    fine
        The cube.

    Raises
    ------
    ParameterError
        If there is no dimension to join arrays along.
    """
    if isinstance(decoded, xr.Dataset):
        assert isinstance(others, xr.Dataset)
        dims = decoded[fine.bands[0]].dims
        return decoded.assign({name: (dims, variable.data) for name, variable in others.data_vars.items()})
    assert isinstance(others, xr.DataArray)
    (band,) = fine.names.of(["band"])
    if band not in decoded.dims or band not in others.dims:
        raise ParameterError(
            f"the cube and coarse need a dimension {band!r} to be joined along; add .expand_dims({band!r})."
        )
    return xr.concat([decoded, others], dim=band, join="override", coords="minimal", compat="override")


def check_dates(fine: Cube, other: Cube, what: str) -> None:
    """Refuse bands of other dates, which would be joined as if they were of the same.

    Raises
    ------
    CubeError
        With both numbers of dates.
    """
    one, two = fine.data, other.data
    if one.sizes["time"] != two.sizes["time"] or (
        "time" in one.coords and "time" in two.coords and not np.array_equal(one["time"], two["time"])
    ):
        raise CubeError(
            f"{what} has {two.sizes['time']} date(s) and the cube {one.sizes['time']}, or they differ; expected the"
            " same dates in the same order. Select them with .sel(time=...)."
        )
