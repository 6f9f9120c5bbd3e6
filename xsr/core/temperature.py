"""Cubes of one band in kelvin, decoded as their metadata say; the unit is never guessed from the numbers."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from odc.geo.xr import spatial_dims

from xsr.core import radiometry
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import BandError, CubeError
from xsr.core.names import check_container, standard_dims
from xsr.core.sensors import TEMPERATURE_PRODUCTS
from xsr.core.types import XarrayObject

ZERO_CELSIUS = 273.15
"""Kelvin."""


def open_temperature(obj: XarrayObject, units: str | None) -> Cube:
    """Open a cube of one band, in kelvin; lazy for Dask arrays.

    Raises
    ------
    CubeError
        If its units are neither stated nor given.
    BandError
        If it has several bands.
    """
    check_container(obj)
    if isinstance(obj, xr.Dataset):
        spatial = set(spatial_dims(standard_dims(obj), relaxed=True) or ())
        names = [name for name, v in standard_dims(obj).data_vars.items() if spatial and spatial <= set(v.dims)]
        _check_one([str(name) for name in names])
        return open_cube(obj.assign({names[0]: to_kelvin(obj[names[0]], units)}))
    cube = open_cube(to_kelvin(obj, units))
    _check_one(cube.bands)
    return cube


def _check_one(names: Sequence[str]) -> None:
    if len(names) != 1:
        raise BandError(
            f"the cube has {len(names)} bands {list(names)}; expected one, a temperature. Select it, for example with"
            " .sel(band=[...]) or cube[[name]]."
        )


def to_kelvin(data: xr.DataArray, units: str | None) -> xr.DataArray:
    """Decode numbers and convert to kelvin as their metadata say."""
    product = TEMPERATURE_PRODUCTS.get(units) if isinstance(units, str) else None
    if product is not None:
        data = data.assign_attrs(scale_factor=product.scale, add_offset=product.offset, _FillValue=0)
        data.encoding = {**data.encoding, "dtype": np.uint16}  # numbers of the product, masked or not
        units = "K"
    stated = units if units is not None else data.attrs.get("units", data.attrs.get("unit"))
    key = str(stated).strip().casefold()
    if key not in radiometry.KELVIN | radiometry.CELSIUS:
        given = "no attribute 'units'" if stated is None else f"units {stated!r}"
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
