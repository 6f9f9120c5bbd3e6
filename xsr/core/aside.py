"""Layers of classes beside the bands: separated when a cube is opened, and carried to the grid of the result.

They are no bands: no operation reads them as numbers. On the grid of the cube they come out unchanged. On another axis-
parallel grid of the same CRS each pixel takes the class of the pixel that contains its centre; on any other they are
dropped, with a warning.
"""

import warnings
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import grid
from xsr.core.blocks import Span
from xsr.core.classes import fill_of, holds_classes, names_classes
from xsr.core.errors import BandError, XsrWarning, calling
from xsr.core.provenance import PREFIX
from xsr.core.types import XarrayObject

Role = Literal["variable", "band", "coordinate"]
STALE = ("grid_mapping", "transform", "res", "crs", "_CRS")
"""Attributes of a layer that describe the grid it had."""
FILLS = ("_FillValue", "missing_value")
"""What the encoding of a layer says of its numbers, and stays true on any grid."""
RESAMPLED = f"{PREFIX}resampled"
"""Attribute of a layer that has come to another grid: how."""


@dataclass(frozen=True)
class Layer:
    """A layer of classes."""

    name: Hashable
    data: xr.DataArray
    """Classes of their own type, dims ([time,] y, x), without coordinates; in a `Cube` y descends."""
    role: Role
    """What it was in the user's object."""

    def turned(self) -> "Layer":
        """Reverse y."""
        return Layer(self.name, self.data.isel(y=slice(None, None, -1)), self.role)


def set_aside(obj: XarrayObject, spatial: Sequence[Hashable]) -> tuple[XarrayObject, list[Layer]]:
    """Separate the layers of classes from the bands of a cube.

    Parameters
    ----------
    obj
        Cube as the user gave it.
    spatial
        Names of its dims y and x.

    Returns
    -------
    obj : DataArray or Dataset
        The cube without the layers among its variables or bands; coordinates stay.
    layers : list of Layer
        What was set aside; y runs as in the cube.

    Raises
    ------
    BandError
        If nothing is left.
    """
    found: list[tuple[Hashable, xr.DataArray, Role]] = [
        (name, coord, "coordinate") for name, coord in obj.coords.items() if _is_layer(name, coord, spatial)
    ]
    rest, members = _of_dataset(obj, spatial) if isinstance(obj, xr.Dataset) else _of_bands(obj)
    return rest, [Layer(name, _bare(data, spatial), role) for name, data, role in (*members, *found)]


def _is_layer(name: Hashable, variable: xr.DataArray, spatial: Sequence[Hashable]) -> bool:
    over = set(spatial) <= set(variable.dims) <= {*spatial, "time"}
    return over and holds_classes(name, variable)


def _of_dataset(
    obj: xr.Dataset, spatial: Sequence[Hashable]
) -> tuple[xr.Dataset, list[tuple[Hashable, xr.DataArray, Role]]]:
    names = [name for name, variable in obj.data_vars.items() if _is_layer(name, variable, spatial)]
    _check_rest(names, [name for name, v in obj.data_vars.items() if set(spatial) <= set(v.dims)])
    return obj.drop_vars(names), [(name, obj[name], "variable") for name in names]


def _of_bands(obj: xr.DataArray) -> tuple[xr.DataArray, list[tuple[Hashable, xr.DataArray, Role]]]:
    name = "the array" if obj.name is None else obj.name
    if obj.sizes.get("band", 1) == 1 and obj.dtype.kind in "iub" and holds_classes(name, obj):
        _check_rest([name], [name])
    if "band" not in obj.dims or "band" not in obj.coords:
        return obj, []
    labels = [str(label) for label in obj["band"].values]
    away = [number for number, label in enumerate(labels) if names_classes(label)]
    if not away:
        return obj, []
    _check_rest([labels[number] for number in away], labels)
    rest = obj.isel(band=[number for number in range(len(labels)) if number not in away])
    return rest, [(labels[number], obj.isel(band=number, drop=True), "band") for number in away]


def _check_rest(names: Sequence[Hashable], bands: Sequence[Hashable]) -> None:
    if names and len(names) == len(bands):
        raise BandError(
            f"the cube holds nothing but classes, {[str(name) for name in names]}; expected bands of reflectance beside"
            " them. Pass the cube that they belong to, or bring them to a finer grid alone by"
            " interpolate(method='nearest')."
        )


def _bare(data: xr.DataArray, spatial: Sequence[Hashable]) -> xr.DataArray:
    """Dims ([time,] y, x), without coordinates."""
    y, x = spatial
    bare = data.drop_vars(list(data.coords)).transpose(..., y, x)
    bare = bare.rename({old: new for old, new in ((y, "y"), (x, "x")) if old != new})
    bare.attrs = {key: value for key, value in data.attrs.items() if key not in STALE}
    bare.encoding = {key: value for key, value in data.encoding.items() if key in FILLS and bare.dtype.kind in "iu"}
    return bare


def refuse_as_bands(layers: Iterable[Layer], bands: Sequence[str] | None) -> None:
    """Refuse layers of classes among the bands to keep.

    Raises
    ------
    BandError
        With what to do instead.
    """
    names = [str(layer.name) for layer in layers if bands is not None and str(layer.name) in bands]
    if names:
        raise BandError(
            f"bands names {names[0]!r}, which holds classes; expected bands of reflectance. Leave it out: it is carried"
            f" to the result by nearest pixels, and mask_clouds(mask={names[0]!r}) understands it."
        )


def nearest(source: GeoBox, target: GeoBox) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Rows and columns of the pixels that contain the centres of another grid's; None if it is not parallel.

    Pixels outside have indices below 0 or beyond the last.
    """
    sampling = grid.between(source, target)
    if not isinstance(sampling, grid.Refinement):
        return None
    height, width = target.shape.yx
    rows, cols = sampling.query(Span(0, height), Span(0, width)).positions()
    return (np.floor(rows + 0.5).astype(np.int64), np.floor(cols + 0.5).astype(np.int64))


def resampled(layer: xr.DataArray, name: Hashable, index: tuple[NDArray[np.int64], ...]) -> xr.DataArray | None:
    """Take pixels of a layer (..., y, x) by row and column, lazily; outside its fill, None if there is none."""
    axes = dict(zip(("y", "x"), index, strict=True))
    inside = {dim: (places >= 0) & (places < layer.sizes[dim]) for dim, places in axes.items()}
    taken = layer.isel({dim: np.clip(places, 0, layer.sizes[dim] - 1) for dim, places in axes.items()})
    if all(within.all() for within in inside.values()):
        return taken
    fill = fill_of(name, layer)
    if fill is None:
        return None
    within = xr.DataArray(inside["y"], dims="y") & xr.DataArray(inside["x"], dims="x")
    kept: xr.DataArray = taken.where(within, np.asarray(fill, layer.dtype))
    return kept.astype(layer.dtype, copy=False).transpose(*layer.dims).assign_attrs(layer.attrs)


def carried(layers: Sequence[Layer], source: GeoBox, target: GeoBox, data: xr.DataArray) -> list[Layer]:
    """Bring layers to the grid of a result.

    Parameters
    ----------
    layers
        What was set aside.
    source, target
        Grid of the layers and of the result.
    data
        The result, dims (time, band, y, x), whose chunks along y and x lazy layers take.
    """
    index = None if source == target else nearest(source, target)
    if source != target and index is None:
        warn_dropped(layers, "the result is not parallel to the cube, or in another CRS")
        return []
    moved, lost = [], []
    for layer in layers:
        dated = "time" in layer.data.dims and layer.data.sizes["time"] != data.sizes["time"]
        taken = None if dated else layer.data if index is None else resampled(layer.data, layer.name, index)
        if taken is None:
            lost.append(layer)
            continue
        placed = _chunked_as(taken, data)
        if index is not None:
            placed = placed.assign_attrs({RESAMPLED: "nearest"})
        placed.encoding = dict(layer.data.encoding)
        moved.append(Layer(layer.name, placed, layer.role))
    warn_dropped(lost, "the result has other dates, or pixels outside the cube, for which they have no value")
    return moved


def _chunked_as(layer: xr.DataArray, data: xr.DataArray) -> xr.DataArray:
    """Give a lazy layer the chunks of the result."""
    if layer.chunks is None or data.chunks is None:
        return layer
    sizes: dict[str, Any] = dict(zip(("y", "x"), data.chunks[-2:], strict=True))
    return layer.chunk({**sizes, "time": data.chunks[0]} if "time" in layer.dims else sizes)


def warn_dropped(layers: Sequence[Layer], why: str) -> None:
    """Warn that layers which the user holds as data are not in the result; coordinates over y and x go silently."""
    names = [str(layer.name) for layer in layers if layer.role != "coordinate"]
    if names:
        warnings.warn(
            f"{', '.join(names)}: classes left out, since {why}. Reproject them by nearest pixels where you need them.",
            XsrWarning,
            stacklevel=calling(),
        )
