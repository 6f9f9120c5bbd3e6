"""Attributes and coordinates as Zarr can hold them: JSON, and arrays of one plain type.

Cubes of stackstac carry objects of Python in both. What JSON can say is kept, as lists and text; the rest is set aside
and named, because a job of hours must not fail over a label.
"""

import datetime
import json
import math
import os
import warnings
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from xarray.indexes import PandasMultiIndex

from xsr.core.errors import XsrWarning


class NotPlainError(TypeError):
    """A value has no form in JSON."""


def plain(dataset: xr.Dataset) -> xr.Dataset:
    """Keep of a Dataset what Zarr can hold; nothing lazy is computed.

    Returns
    -------
    xarray.Dataset
        The same pixels. In attributes, tuples and numbers of NumPy are lists and numbers, dates are text; objects in
        small variables are JSON text; the levels of a multi-index are coordinates; times of a zone are in UTC.

    Warns
    -----
    XsrWarning
        If something has no such form: it is left out, and named with its type.
    """
    lost: list[str] = []
    paired = {index.dim for index in dataset.xindexes.values() if isinstance(index, PandasMultiIndex)}
    out = dataset.reset_index(list(paired)).copy()
    for name in [n for n, v in out.variables.items() if isinstance(v.dtype, pd.DatetimeTZDtype)]:
        index = pd.DatetimeIndex(out[name].to_index()).tz_convert(None)
        out = out.assign_coords({name: (out[name].dims, index, out[name].attrs)})
    objects = [n for n, v in out.variables.items() if v.dtype.kind == "O" and v.chunks is None]
    for name in objects:
        out = _with_text(out, name, lost)
    for name, variable in out.variables.items():
        out[name].attrs = _as_attrs(variable.attrs, f" of {name!r}", lost)
    out.attrs = _as_attrs(dataset.attrs, "", lost)
    if lost:
        warnings.warn(
            f"Zarr cannot hold {', '.join(lost)}: left out of the store. Convert what must stay to text or numbers.",
            XsrWarning,
            stacklevel=4,
        )
    return out


def _with_text(dataset: xr.Dataset, name: Hashable, lost: list[str]) -> xr.Dataset:
    """Bring a variable of objects to text, or leave it out."""
    variable = dataset.variables[name]
    beside = name in dataset.coords
    try:
        values = _as_array(variable.values)
    except NotPlainError as error:
        lost.append(f"{'coordinate ' if beside else ''}{name!r} ({error})")
        return dataset.drop_vars([name])
    if values is variable.values:
        return dataset
    kept = {name: xr.Variable(variable.dims, values, variable.attrs)}
    return dataset.assign_coords(kept) if beside else dataset.assign(kept)


def _as_attrs(attrs: Mapping[Any, Any], of: str, lost: list[str]) -> dict[str, Any]:
    kept = {}
    for name, value in attrs.items():
        try:
            kept[_as_name(name)] = as_json(value)
        except NotPlainError as error:
            lost.append(f"attribute {name!r}{of} ({error})")
    return kept


def _as_name(name: Hashable) -> str:
    if not isinstance(name, str):
        raise NotPlainError(f"its name is of type {type(name).__name__}")
    return name


def as_json(value: object) -> Any:
    """Bring a value to what JSON can say; numbers of NumPy become those of Python.

    Raises
    ------
    NotPlainError
        If there is no such form; the message is the type.
    """
    match value:
        case None | str() | bool() | int() | float():
            return value
        case np.datetime64() | np.timedelta64():
            return str(value)
        case np.generic() if value.dtype.kind in "biufUS":
            return as_json(value.item())
        case np.ndarray():
            return as_json(value.tolist() if value.dtype.kind not in "mM" else value.astype(str).tolist())
        case Affine():
            return [float(number) for number in tuple(value)[:6]]
        case datetime.date() | datetime.time():
            return value.isoformat()
        case os.PathLike():
            return os.fspath(value)
        case Mapping():
            return {_as_name(key): as_json(one) for key, one in value.items()}
        case list() | tuple() | range():
            return [as_json(one) for one in value]
    raise NotPlainError(type(value).__name__)


def _as_array(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Objects as text, JSON where they are no text; as they are where they have one plain type."""
    held = [one for one in values.ravel() if not _is_missing(one)]
    kinds = {type(one) for one in held}
    if not kinds or (len(kinds) == 1 and np.asarray(held[0]).dtype.kind != "O" and np.ndim(held[0]) == 0):
        return values
    out = np.empty(values.shape, object)
    out.ravel()[:] = list(_as_text(values.ravel()))
    return out


def _as_text(values: Iterable[Any]) -> Iterable[str]:
    for one in values:
        yield one if isinstance(one, str) else "" if _is_missing(one) else json.dumps(as_json(one))


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value))
