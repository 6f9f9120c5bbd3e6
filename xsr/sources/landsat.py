"""Landsat's metadata file, and the brightness temperature of a thermal band by it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import checks
from xsr.core.errors import BandError, CubeError, ProductError

Mtl: TypeAlias = Mapping[str, float | str]
"""Fields of a metadata file by name, numbers as numbers."""
FIELD = re.compile(r"^\s*(\w+)\s*=\s*(.+?)\s*$", re.MULTILINE)
BAND = re.compile(r"(?:band_?|b)?0*(\d+)(?:_?vcid_?([12]))?", re.IGNORECASE)
EXTREMES = (
    ("RADIANCE_{}_", "QUANTIZE_CAL_{}_", ("MAXIMUM", "MINIMUM")),
    ("L{}_", "QCAL{}_", ("MAX", "MIN")),
)
"""Names of the extremes of radiance and of digital numbers, of newer and of older products."""
FILL = 0
"""Digital number that is no data."""


def read_mtl(path: str | Path) -> dict[str, float | str]:
    """Read the metadata file (``*_MTL.txt``) of a Landsat product, of any collection.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict
        Fields by name, whatever group they are in; numbers as float, the rest as text without quotes.

    Raises
    ------
    ProductError
        If the file is missing or is not of that form.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise ProductError(f"{path!s} cannot be read ({error}); expected the _MTL.txt of a Landsat product.") from error
    fields = {name: value for name, value in FIELD.findall(text) if name not in ("GROUP", "END_GROUP")}
    if "SPACECRAFT_ID" not in fields:
        raise ProductError(f"{path} names no SPACECRAFT_ID; expected the _MTL.txt of a Landsat product.")
    return {name: _value(text) for name, text in fields.items()}


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip('"')


def brightness_temperature(dn: xr.DataArray, mtl: Mtl | str | Path, band: str | int) -> xr.DataArray:
    """Temperature of the black body that a thermal band of Landsat would take for the scene.

    Parameters
    ----------
    dn
        Digital numbers of one band (integers, or floats in which NaN and infinities are no data), any dims; 0 is no
        data.
    mtl
        Metadata file of the product, or its fields from `read_mtl`.
    band
        Thermal band as the metadata number it: 10 or 11 (``"B10"``), 6, ``"6_VCID_1"``.

    Returns
    -------
    DataArray
        Kelvin at the top of the atmosphere, float32, NaN is no data, lazy if ``dn`` is. Of its attributes none is kept,
        since they describe digital numbers; ``units`` is K.
        Emissivity and atmosphere are not corrected for, so that it is not the surface temperature.

    Raises
    ------
    ProductError
        If the metadata cannot be read.
    BandError
        If they have no calibration for the band.
    CubeError
        If ``dn`` is no DataArray of numbers.

    Notes
    -----
    Radiance ``L = gain * DN + offset`` from ``RADIANCE_MULT`` and ``RADIANCE_ADD``, of older products from the extremes
    of radiance and DN (``RADIANCE_MAXIMUM``, ``QUANTIZE_CAL_MAX``, or ``LMAX``, ``QCALMAX``, and so on). Temperature
    ``K2 / ln(K1 / L + 1)``; where the metadata lack the constants, as for Landsat 5 and 7, those of Chander et al.

    References
    ----------
    G. Chander, B. L. Markham, D. L. Helder, Remote Sensing of Environment 113 (2009), doi:10.1016/j.rse.2009.01.007.
    USGS, Landsat 8 Data Users Handbook, LSDS-1574.
    """
    _check_numbers(dn)
    fields = mtl if isinstance(mtl, Mapping) else read_mtl(mtl)
    gain, offset, k1, k2 = calibration(fields, band)
    radiance = dn.where(dn != FILL).astype(np.float64) * gain + offset
    kelvin: xr.DataArray = xr.apply_ufunc(
        _temperature, radiance, k1, k2, dask="parallelized", output_dtypes=[np.float32], keep_attrs=False
    )
    return kelvin.assign_attrs(units="K", long_name="brightness temperature at the top of the atmosphere")


def _check_numbers(dn: Any) -> None:
    if not isinstance(dn, xr.DataArray) or dn.dtype.kind not in "iuf":
        kind = getattr(dn, "dtype", type(dn).__name__)
        raise CubeError(f"dn is {kind}; expected a DataArray of digital numbers, integers or floats.")


def _temperature(radiance: NDArray[np.float64], k1: float, k2: float) -> NDArray[np.float32]:
    known = (radiance > 0) & np.isfinite(radiance)
    kelvin = k2 / np.log(k1 / np.where(known, radiance, 1) + 1)
    return np.where(known, kelvin, np.nan).astype(np.float32)


CONSTANTS = {"LANDSAT_4": (671.62, 1284.30), "LANDSAT_5": (607.76, 1260.56), "LANDSAT_7": (666.09, 1282.71)}
"""K1 (W m-2 sr-1 um-1) and K2 (K) of Chander et al. (2009), Table 7."""


def calibration(mtl: Mtl, band: str | int) -> tuple[float, float, float, float]:
    """Gain and offset from digital numbers to radiance (W m-2 sr-1 um-1), K1 and K2 of a thermal band.

    Parameters
    ----------
    mtl, band
        As in `brightness_temperature`.

    Raises
    ------
    BandError
        If the metadata have none for the band.
    """
    match = BAND.fullmatch(str(band).strip())
    number, gain_state = match.groups() if match else (None, None)
    names = [f"BAND_{number}_VCID_{gain_state}", f"BAND{number}{gain_state}"] if gain_state else []
    names += [] if gain_state else [f"BAND_{number}", f"BAND{number}"]
    line = next((found for name in names if (found := _line(mtl, name)) is not None), None)
    constants = next((found for name in names if (found := _pair(mtl, "K{}_CONSTANT_" + name, (1, 2)))), None)
    if constants is None and number == "6":
        constants = CONSTANTS.get(_spacecraft(mtl))
    if line is None or constants is None:
        known = sorted(name.removeprefix("K1_CONSTANT_BAND_") for name in mtl if name.startswith("K1_CONSTANT_BAND_"))
        raise BandError(
            f"the metadata have no thermal calibration for band {band!r} of {mtl.get('SPACECRAFT_ID')}; expected one of"
            f" {known or '6, with 6_VCID_1 and 6_VCID_2 of Landsat 7'}. Name a thermal band."
        )
    return (*line, *constants)


def _spacecraft(mtl: Mtl) -> str:
    """Name as in `CONSTANTS`; early products write Landsat5."""
    return re.sub(r"[^A-Z]*(\d)$", r"_\1", str(mtl.get("SPACECRAFT_ID", "")).upper())


def _line(mtl: Mtl, name: str) -> tuple[float, float] | None:
    """Gain and offset, directly or through the extremes of radiance and digital numbers."""
    direct = _pair(mtl, "RADIANCE_{}_" + name, ("MULT", "ADD"))
    if direct is not None:
        return direct
    for values, numbers, ends in EXTREMES:
        radiance, count = _pair(mtl, values + name, ends), _pair(mtl, numbers + name, ("MAX", "MIN"))
        if radiance is not None and count is not None:
            gain = (radiance[0] - radiance[1]) / (count[0] - count[1])
            return gain, radiance[1] - gain * count[1]
    return None


def _pair(mtl: Mtl, pattern: str, words: tuple[object, object]) -> tuple[float, float] | None:
    """Two numbers of the metadata, None if one is missing."""
    found: list[Any] = [mtl.get(pattern.format(word)) for word in words]
    return (float(found[0]), float(found[1])) if all(checks.is_number(value) for value in found) else None
