"""From stored numbers to reflectance and back.

Units are read from metadata or given, never guessed from pixel values.
"""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core.errors import CubeError, ParameterError

UNITS: dict[str, tuple[float, float]] = {
    "reflectance": (1.0, 0.0),
    "percent": (1e-2, 0.0),
    "dn10000": (1e-4, 0.0),
    "dn10000-1000": (1e-4, -0.1),
}
"""Named units as (scale, offset): value = number * scale + offset. ``dn10000-1000`` is Sentinel-2 since processing
baseline 04.00, whose digital numbers carry an offset of 1000."""

SCALE_FACTOR, ADD_OFFSET, FILL = 1e-4, -0.1, 0
"""Packing of reflectance into uint16, the one of Sentinel-2 products since baseline 04.00."""

PACKING_ATTRIBUTES = ("scale_factor", "add_offset", "scale", "offset", "_FillValue", "missing_value", "nodata")
"""Attributes that describe stored numbers and are meaningless once decoded."""


def scale_offset(units: str | float) -> tuple[float, float]:
    """Resolve ``units`` to (scale, offset); a number is a plain factor.

    >>> scale_offset("dn10000"), scale_offset(0.001)
    ((0.0001, 0.0), (0.001, 0.0))
    """
    if isinstance(units, str) and units in UNITS:
        return UNITS[units]
    try:
        factor = float(units)
    except (TypeError, ValueError):
        factor = float("nan")
    if not (np.isfinite(factor) and factor > 0):
        raise ParameterError(
            f"units={units!r}; expected one of {', '.join(UNITS)} or a positive factor from numbers to reflectance."
        )
    return factor, 0.0


def decode(data: xr.DataArray, units: str | float | None) -> xr.DataArray:
    """Convert to float32 reflectance, NaN = no data; lazy for Dask arrays.

    Parameters
    ----------
    data
        Floats count as reflectance unless ``units`` says otherwise; a no-data number counts where their attributes
        still declare one (in the encoding it has been decoded already). Integers need ``units``, or a scale in
        their attributes or encoding (``scale_factor``/``add_offset``, ``scale``/``offset``).
    units
        Overrides the metadata; see `UNITS`.

    Raises
    ------
    CubeError
        If integers come without a scale, or the numbers are neither integer nor floating.
    """
    if data.dtype.kind not in "iuf":
        raise CubeError(f"{_label(data)} has dtype {data.dtype}; expected integers or floats.")
    integer = data.dtype.kind in "iu"
    nodata = _nodata(data, integer)
    if not (integer or _masked_integers(data)) and units is None:
        decoded = data.astype(np.float32, copy=False)
        return decoded if nodata is None else decoded.where(data != nodata)
    scale, offset = scale_offset(units) if units is not None else _declared(data)
    decoded = data.astype(np.float32) * np.float32(scale) + np.float32(offset)
    if nodata is not None:
        decoded = decoded.where(data != nodata)
    decoded.attrs = {k: v for k, v in data.attrs.items() if k not in PACKING_ATTRIBUTES}
    return decoded


def _masked_integers(data: xr.DataArray) -> bool:
    """Whether a reader turned integers into floats only to hold NaN: still digital numbers, not reflectance."""
    stored = data.encoding.get("dtype")
    scale = data.encoding.get("scale_factor")
    return stored is not None and np.dtype(stored).kind in "iu" and (scale is None or scale == 1)


def _declared(data: xr.DataArray) -> tuple[float, float]:
    """Scale and offset of the metadata; an identity is what drivers write when they know nothing."""
    scale = _number(data, "scale_factor", "scale")
    if scale is None or scale == 1.0:
        stored = data.encoding.get("dtype", data.dtype) if data.dtype.kind == "f" else data.dtype
        raise CubeError(
            f"{_label(data)} holds {stored} without a scale; expected reflectance, or integers with scale and"
            f" offset in attributes or encoding. Pass units= ({', '.join(UNITS)} or a factor), or drop the variable."
        )
    return scale, _number(data, "add_offset", "offset") or 0.0


def _nodata(data: xr.DataArray, integer: bool) -> float | int | None:
    """Find the number of no data; floats may carry a stale ``nodata``, but a CF attribute means undecoded."""
    names = ("_FillValue", "nodata", "missing_value") if integer else ("_FillValue", "missing_value")
    value = _number(data, *names, encoded=integer)
    if value is None or not np.isfinite(value):
        return None
    return int(value) if integer else value


def _number(data: xr.DataArray, *names: str, encoded: bool = True) -> float | None:
    """Read the first of some attributes that is set; it must be one number."""
    for name in names:
        for source in (data.attrs, data.encoding) if encoded else (data.attrs,):
            if source.get(name) is not None:
                try:
                    return float(np.asarray(source[name], np.float64).item())
                except (TypeError, ValueError):
                    raise CubeError(
                        f"{_label(data)} has {name}={source[name]!r}; expected one number. Pass units= or correct it."
                    ) from None
    return None


def _label(data: xr.DataArray) -> str:
    return f"variable {data.name!r}" if data.name is not None else "the cube"


def pack(values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.uint16], int]:
    """Pack reflectance into uint16, clipped to the valid range, and count the clipped pixels.

    Encoders wrap silently: -0.2 would become 6.35. NaN becomes the fill value 0, which no value takes.

    Examples
    --------
    >>> packed, clipped = pack(np.array([0.0, 0.5, -0.2, np.nan]))
    >>> packed.tolist(), clipped
    ([1000, 6000, 1, 0], 1)
    """
    finite = np.isfinite(values)
    number = np.rint((np.where(finite, values, 0).astype(np.float64) - ADD_OFFSET) / SCALE_FACTOR)
    clipped = int(((number < 1) | (number > 65535))[finite].sum())
    return np.where(finite, np.clip(number, 1, 65535), FILL).astype(np.uint16), clipped
