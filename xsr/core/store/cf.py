"""What CF attributes state of numbers, settled before they are stored: readers apply them, whoever wrote them.

Integers are stored numbers: what their attributes state of them holds for readers, too. Floats are values: nothing is
applied to them once more, and no data is NaN. Times are counted in units that hold them exactly.

References
----------
CF conventions 1.11, sections 2.5.1 (missing data), 4.4 (time coordinate) and 8.1 (packed data).
"""

from typing import Any

import numpy as np
import xarray as xr

from xsr.core.radiometry import declared_number

NEUTRAL = {"scale_factor": 1, "add_offset": 0}
"""Attributes that readers apply to numbers, and the values at which they change nothing but the type."""
UNAPPLIED = {"scale_factor": "scale", "add_offset": "offset"}
"""Names under which a packing stays known, of values to which it was or was not applied, and no reader applies it."""
NO_DATA = ("_FillValue", "missing_value")
"""Attributes that state the number of no data."""
CODED = (*NEUTRAL, *NO_DATA, "_Unsigned", "dtype", "units", "calendar")
"""Attributes that xarray writes itself where it stores times as numbers."""
UNITS = {"s": "", "ms": "milli", "us": "micro", "ns": "nano"}
"""Resolution of times and durations as CF spells it."""
NOT_A_TIME = np.iinfo(np.int64).min
"""Number of NaT."""


def settled(dataset: xr.Dataset) -> xr.Dataset:
    """Keep of the attributes that state a stored form those that are true of the values as they are stored.

    Returns
    -------
    xarray.Dataset
        Integers keep the number of no data and a scale, of their attributes; of their encoding the number of no data.
        Floats are NaN where their attributes state no data; a scale becomes the attributes ``scale`` and ``offset``,
        which no reader applies. Nothing lazy is computed.

    Raises
    ------
    CubeError
        If such an attribute is no number.
    """
    floats = [name for name, variable in dataset.variables.items() if variable.dtype.kind in "fc"]
    masked = {name: _masked(dataset[name]) for name in floats if name not in dataset.xindexes}
    out = dataset.assign({name: data for name, data in masked.items() if name in dataset.data_vars})
    out = out.assign_coords({name: data for name, data in masked.items() if name in dataset.coords}).copy()
    for name in dataset.variables:
        out[name].attrs = _attrs(dataset[name])
    out.attrs = _without(dataset.attrs, (*NEUTRAL, *NO_DATA))  # those of a DataArray are at the root as well
    return out


def _attrs(data: xr.DataArray) -> dict[str, Any]:
    match data.dtype.kind:
        case "i" | "u":
            return _of_integers(data)
        case "f" | "c":
            return _of_floats(data)
        case "m" | "M":
            return _without(data.attrs, CODED)
    return _without(data.attrs, (*NEUTRAL, *NO_DATA))


def _of_integers(data: xr.DataArray) -> dict[str, Any]:
    if "_Unsigned" in data.attrs:  # numbers of another type than they are stored in
        return dict(data.attrs)
    kept = _without(data.attrs, (*NEUTRAL, *NO_DATA))
    info = np.iinfo(data.dtype)
    for name in NO_DATA:
        number = declared_number(data, name)
        if number is not None and info.min <= number <= info.max and number == int(number):  # no other occurs
            kept[name] = int(number)
    scale = _scale(data)
    return kept | (scale if scale != NEUTRAL else {})


def _of_floats(data: xr.DataArray) -> dict[str, Any]:
    scale = _scale(data)
    unapplied = {UNAPPLIED[name]: value for name, value in scale.items()} if scale != NEUTRAL else {}
    return unapplied | _without(data.attrs, (*NEUTRAL, *NO_DATA))


def _scale(data: xr.DataArray) -> dict[str, float]:
    """Scale and offset that attributes state."""
    stated = {name: declared_number(data, name, encoded=False) for name in NEUTRAL}
    return {name: NEUTRAL[name] if value is None else value for name, value in stated.items()}


def _masked(data: xr.DataArray) -> xr.DataArray:
    """Values with NaN where attributes state no data; in the encoding it has been decoded."""
    for name in NO_DATA:
        number = declared_number(data, name, encoded=False)
        if number is not None and np.isfinite(number):
            data = data.where(data != data.dtype.type(number))
    return data


def _without(attrs: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in attrs.items() if key not in names}


def counted(variable: xr.DataArray) -> xr.DataArray:
    """Bring dates and durations to integers with CF units; other numbers are left alone. Lazy for Dask arrays."""
    if variable.dtype.kind not in "mM":
        return variable
    unit = f"{UNITS[np.datetime_data(variable.dtype)[0]]}seconds"
    units = unit if variable.dtype.kind == "m" else f"{unit} since 1970-01-01"
    plain = xr.Variable(
        variable.dims, variable.data, _without(variable.attrs, CODED), {"units": units, "dtype": "int64"}
    )
    encoded = xr.conventions.encode_cf_variable(plain)
    return variable.copy(data=encoded.data).assign_attrs({**encoded.attrs, "_FillValue": NOT_A_TIME})


def form_of_times(variable: xr.Variable) -> dict[str, Any]:
    """Choose the stored form of times and durations, so fine that others can be appended; nothing for other numbers."""
    if variable.dtype.kind not in "mM":
        return {}
    values = variable.values
    exact = (values == values.astype(f"{variable.dtype.kind}8[us]")) | np.isnat(values)
    since = " since 1970-01-01" if variable.dtype.kind == "M" else ""
    return {"units": f"{'micro' if exact.all() else 'nano'}seconds{since}", "dtype": "int64"}
