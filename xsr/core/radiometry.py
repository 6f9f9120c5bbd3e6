"""From stored numbers to reflectance and back.

Units are read from metadata or given, never guessed from pixel values.
"""

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core.errors import CubeError, ParameterError, XsrWarning

UNITS: dict[str, tuple[float, float]] = {
    "reflectance": (1.0, 0.0),
    "percent": (1e-2, 0.0),
    "dn10000": (1e-4, 0.0),
    "dn10000-1000": (1e-4, -0.1),
}
"""Named units as (scale, offset): value = number * scale + offset. ``dn10000-1000`` is Sentinel-2 since processing
baseline 04.00, whose digital numbers carry an offset of 1000."""

ZERO_IS_NODATA: dict[str, bool] = {"dn10000": False, "dn10000-1000": True}
"""Units in which 0 is no data, and whether it is even where another number is stated. Sentinel-2 products of every
baseline keep digital number 0 for pixels that were not observed. Where 0 is a value, the factor ``1e-4`` keeps it."""
KELVIN = frozenset(("k", "kelvin", "kelvins", "degk", "degree_kelvin", "degrees_kelvin"))
CELSIUS = frozenset(("c", "celsius", "degc", "°c", "deg_c", "degree_celsius", "degrees_celsius", "degree_c"))
PERCENT = frozenset(("%", "percent", "pct", "per cent"))
COUNTS = frozenset(("dn", "dns", "digital_number", "digital_numbers", "digital_counts", "digital_count", "counts"))
"""What the attribute ``units`` says, in lower case and with underscores."""

ADDED = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
"""Attributes that state, in digital numbers, what was added to those of Sentinel-2."""

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
    except (TypeError, ValueError, OverflowError):
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
        Floats count as reflectance, or as the temperature that their attribute ``units`` states. A no-data number
        counts where their attributes still declare one (in the encoding it has been decoded already). Integers need
        ``units``, or a scale in their attributes or encoding (``scale_factor``/``add_offset``, ``scale``/``offset``).
    units
        Overrides the metadata, with a warning where integers state another scale or offset; see `UNITS`. Of those in
        `ZERO_IS_NODATA` the number 0 is no data.

    Raises
    ------
    CubeError
        If integers come without a scale or with one that makes no numbers, or are neither integer nor floating.
    """
    if data.dtype.kind not in "iuf":
        raise CubeError(f"{_label(data)} has dtype {data.dtype}; expected integers or floats.")
    integer = data.dtype.kind in "iu"
    nodata = _nodata_numbers(data, integer, units)
    if not (integer or _masked_integers(data)) and units is None:
        return _converted(data, None, nodata)
    scale, offset = packing(data, units)
    if units is not None and (ignored := _ignored(data, scale, offset)):
        warnings.warn(
            f"{_label(data)} states {ignored}, which units={units!r} overrides by a scale of {scale:g} and an offset of"
            f" {offset:g}. Correct the attribute, or pass the units that it states.",
            XsrWarning,
            stacklevel=2,
        )
    decoded = _converted(data, (scale, offset), nodata)
    decoded.attrs = {k: v for k, v in data.attrs.items() if k not in PACKING_ATTRIBUTES}
    return decoded


def packing(data: xr.DataArray, units: str | float | None) -> tuple[float, float]:
    """Scale and offset that `decode` applies; (1, 0) for numbers that it leaves alone."""
    if units is not None:
        return scale_offset(units)
    return _declared(data) if are_stored(data) else (1.0, 0.0)


def _ignored(data: xr.DataArray, scale: float, offset: float) -> str:
    """Say what integers state of their scale and offset that is not what they are decoded by; empty if nothing is."""
    stated = _packing_of(data)
    if stated[0] == 0 or not np.isfinite(stated).all() or np.allclose(stated, (scale, offset)):
        return ""
    if stated != (1.0, 0.0):
        return f"a scale of {stated[0]:g} and an offset of {stated[1]:g}"
    name = next((name for name in ADDED if name in data.attrs), None)
    if name is None or np.allclose(np.asarray(data.attrs[name], np.float64) * scale, offset):
        return ""
    return f"{name}={data.attrs[name]}"


def _converted(
    data: xr.DataArray, packing: tuple[float, float] | None, nodata: tuple[float | int, ...]
) -> xr.DataArray:
    """Convert to float32, by scale and offset if there are any; NaN where a number is no data."""
    if packing is None and not nodata:
        return data.astype(np.float32, copy=False)
    converted: xr.DataArray = xr.apply_ufunc(
        partial(_values, packing=packing, nodata=nodata),
        data,
        dask="parallelized",
        output_dtypes=[np.float32],
        keep_attrs=True,
    )
    return converted


def _values(
    numbers: NDArray[Any], *, packing: tuple[float, float] | None, nodata: tuple[float | int, ...]
) -> NDArray[np.float32]:
    """Convert in place of one copy: a chunk is large beside what is computed from it."""
    values = numbers.astype(np.float32)
    if packing is not None:
        values *= np.float32(packing[0])
        values += np.float32(packing[1])
    for number in nodata:
        np.copyto(values, np.float32(np.nan), where=numbers == number)
    return values


def stated_otherwise(data: xr.DataArray) -> str:
    """Say what attributes of floats state that contradicts reflectance, and the argument for it; empty if nothing.

    Readers move a scale to the encoding as they apply it, arithmetic keeps it in the attributes: there it may have been
    applied or not, and so may percent or digital numbers have been converted. The numbers have the last word.
    """
    if data.dtype.kind != "f" or _masked_integers(data):
        return ""
    scale, offset = _packing_of(data)
    if (scale, offset) != (1.0, 0.0):
        named = [name for name, known in UNITS.items() if np.allclose(known, (scale, offset), rtol=1e-6, atol=1e-12)]
        how = f"units={named[0]!r}" if named else f"units={scale:g}"
        if not named and offset:
            how = f"cube * {scale:g} + ({offset:g}) with units='reflectance'"
        return f"a scale of {scale:g} and an offset of {offset:g}: pass {how}"
    stated, decoded = stated_units(data.attrs), data.encoding.get("scale_factor") not in (None, 1)
    if decoded or stated not in COUNTS | PERCENT:
        return ""
    how = "units='percent'" if stated in PERCENT else "units='dn10000', units='dn10000-1000' or a factor"
    return f"the units {data.attrs.get('units', data.attrs.get('unit'))!r}: pass {how}"


def stated_units(attrs: Mapping[Any, Any]) -> str:
    """Units as attributes state them, in lower case and with underscores; empty if they do not."""
    found = attrs.get("units", attrs.get("unit"))
    return "" if found is None else "_".join(str(found).strip().casefold().split())


def is_temperature(attrs: Mapping[Any, Any]) -> bool:
    """Whether attributes state kelvin or degrees Celsius."""
    return stated_units(attrs) in KELVIN | CELSIUS


def check_alike(variables: Mapping[Any, xr.DataArray], units: str | float | None) -> None:
    """Refuse bands that cannot be one cube: temperatures beside reflectance, or one ``units`` for two kinds of numbers.

    Raises
    ------
    CubeError
        With a variable of either kind.
    """
    warm = {name: is_temperature(variable.attrs) for name, variable in variables.items()}
    pair = _unlike(warm)
    if pair is not None:
        hot, other = pair
        raise CubeError(
            f"variable {str(hot)!r} is a temperature in {variables[hot].attrs.get('units')!r}, {str(other)!r} is none;"
            f" expected one kind in a cube. Select one with bands=, or leave the other out: .drop_vars({str(hot)!r})."
        )
    stored = {name: are_stored(variable) for name, variable in variables.items()}
    pair = _unlike(stored)
    if units is not None and pair is not None and scale_offset(units) != (1.0, 0.0):
        whole, real = pair
        raise CubeError(
            f"units={units!r} given for {str(whole)!r} of dtype {variables[whole].dtype} and {str(real)!r} of"
            f" {variables[real].dtype}; expected one kind of numbers. Select them with bands=, or convert one of them."
        )


def _unlike(kinds: Mapping[Any, bool]) -> tuple[Any, Any] | None:
    """Name of something that is, and of something that is not; None if all are alike."""
    if len(set(kinds.values())) < 2:
        return None
    return next(n for n, kind in kinds.items() if kind), next(n for n, kind in kinds.items() if not kind)


def without_scale(data: xr.DataArray) -> bool:
    """Whether numbers are integers, as they are or as a reader masked them, of which nothing states the unit."""
    return are_stored(data) and _packing_of(data)[0] == 1.0 and stated_units(data.attrs) not in PERCENT


def are_stored(data: xr.DataArray) -> bool:
    """Whether numbers are integers, as they are or as a reader masked them."""
    return data.dtype.kind in "iu" or _masked_integers(data)


def _masked_integers(data: xr.DataArray) -> bool:
    """Whether a reader turned integers into floats only to hold NaN: still digital numbers, not reflectance."""
    stored = data.encoding.get("dtype")
    scale = data.encoding.get("scale_factor")
    return stored is not None and np.dtype(stored).kind in "iu" and (scale is None or scale == 1)


def _declared(data: xr.DataArray) -> tuple[float, float]:
    """Scale and offset of the metadata; an identity is what drivers write when they know nothing."""
    scale, offset = _packing_of(data)
    if scale == 1.0 and stated_units(data.attrs) in PERCENT:
        return UNITS["percent"]
    if scale == 1.0:
        stored = data.encoding.get("dtype", data.dtype) if data.dtype.kind == "f" else data.dtype
        raise CubeError(
            f"{_label(data)} holds {stored} without a scale; expected reflectance, or integers with scale and"
            f" offset in attributes or encoding. Pass units= ({', '.join(UNITS)} or a factor), or drop the variable."
        )
    if scale == 0 or not np.isfinite([scale, offset]).all():
        raise CubeError(
            f"{_label(data)} has a scale of {scale:g} and an offset of {offset:g}; expected finite numbers, the scale"
            f" not 0. Correct the attributes, or pass units= ({', '.join(UNITS)} or a factor)."
        )
    return scale, offset


def _packing_of(data: xr.DataArray) -> tuple[float, float]:
    """Scale and offset that are stated and not applied: those in the encoding of floats have been."""
    encoded = are_stored(data)
    scale, offset = (
        declared_number(data, *names, encoded=encoded)
        for names in (("scale_factor", "scale", "scales"), ("add_offset", "offset", "offsets"))
    )
    return 1.0 if scale is None else scale, offset or 0.0


def _nodata_numbers(data: xr.DataArray, integer: bool, units: str | float | None) -> tuple[float | int, ...]:
    """Find the stored numbers that are no data: the one that is stated, and 0 where the units imply it."""
    value = declared_number(data, "_FillValue", "nodata", "missing_value", encoded=integer)
    stated: tuple[float | int, ...] = ()
    if value is not None and np.isfinite(value):
        stated = (int(value) if integer else value,)
    implied = isinstance(units, str) and units in ZERO_IS_NODATA
    if implied and 0 not in stated and (not stated or ZERO_IS_NODATA[str(units)]):
        return (*stated, 0)
    return stated


def declared_number(data: xr.DataArray, *names: str, encoded: bool = True) -> float | int | None:
    """Read the first of some attributes that is set; it must be one number, or the same for every band.

    Raises
    ------
    CubeError
        If it is none.
    """
    for name in names:
        for source in (data.attrs, data.encoding) if encoded else (data.attrs,):
            if source.get(name) is not None:
                try:
                    found = np.unique(np.asarray(source[name]))
                    number: float | int = (found if found.dtype.kind in "iu" else found.astype(np.float64)).item()
                except (TypeError, ValueError):
                    raise CubeError(
                        f"{_label(data)} has {name}={source[name]!r}; expected one number. Correct the attribute."
                    ) from None
                return number
    return None


def _label(data: xr.DataArray) -> str:
    return f"variable {data.name!r}" if data.name is not None else "the cube"


def brightness_temperature(radiance: NDArray[Any], k1: float, k2: float) -> NDArray[np.float32]:
    """Temperature of the black body that has a radiance in a thermal band, kelvin: ``k2 / ln(k1 / L + 1)``.

    Parameters
    ----------
    radiance
        Spectral radiance L; what is not positive is no data.
    k1, k2
        Calibration constants of the band, in the unit of the radiance and in kelvin.

    Examples
    --------
    >>> print(brightness_temperature(np.array([9.631, 0.0]), 774.8853, 1321.0789).round(1))
    [300.2   nan]
    """
    radiance = np.asarray(radiance, np.float64)
    known = (radiance > 0) & np.isfinite(radiance)
    kelvin = k2 / np.log(k1 / np.where(known, radiance, 1) + 1)
    return np.where(known, kelvin, np.nan).astype(np.float32)
