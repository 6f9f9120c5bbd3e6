"""From values to the numbers that are stored: packing into uint16, and what has no number.

Encoders wrap silently: a reflectance of -0.2 would become 6.35. Here what lies outside the range of the packing is
moved to its limits and counted, a block of which more than a trace lies there is refused, and infinities are no data.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xsr.core.errors import CubeError, XsrWarning
from xsr.core.radiometry import CELSIUS, KELVIN, stated_units

StoredType = Literal["float32", "uint16"]
"""Type in which floating variables are stored."""

FILL = 0
"""Number that is no data, which no value takes."""
LARGEST = np.iinfo(np.uint16).max
PIECE = 1 << 20
"""Pixels packed at once: what packing needs on the way is some 30 bytes a pixel."""
CLIPPED_SHARE = 0.01
"""Share of the valid pixels of a block that packing may clip: more is a matter of units, not of glints and ringing."""

DIMENSIONLESS = frozenset(
    ("", "1", "none", "unitless", "dimensionless", "fraction", "reflectance", "surface_reflectance", "toa_reflectance")
)
"""Units of reflectance as attributes state them, in lower case and with underscores; cubes mostly state none."""


@dataclass(frozen=True)
class Packing:
    """How values are packed into uint16: ``value = number * scale + offset`` for the numbers 1 to 65535."""

    name: str
    scale: float
    offset: float

    @property
    def low(self) -> float:
        """Smallest value."""
        return self.offset + self.scale

    @property
    def high(self) -> float:
        """Largest value."""
        return self.offset + LARGEST * self.scale


REFLECTANCE = Packing("reflectance", 1e-4, -0.1)
"""Packing of Sentinel-2 products since baseline 04.00."""
TEMPERATURE = Packing("kelvin", 0.005, 100.0)
"""100.005 to 427.675 K in steps of 0.005 K: finer than any sensor resolves, from polar night to fires."""
TEMPERATURE_CELSIUS = Packing("degrees Celsius", 0.005, -173.15)
"""The numbers of `TEMPERATURE` for the same temperatures."""


class Stored(NamedTuple):
    """Numbers of a block as they are stored, and what became of its pixels."""

    numbers: NDArray[Any]
    valid: int
    """Pixels with a finite value."""
    clipped: int
    """Valid pixels outside the range of the packing, moved to its limits."""
    infinite: int
    """Pixels that are infinite in the stored type, and stored as no data."""


def packing_of(name: str, attrs: Mapping[Any, Any]) -> Packing:
    """Choose the packing of a variable by the units that its attributes state.

    Raises
    ------
    CubeError
        If there is none for these units.

    Examples
    --------
    >>> packing_of("B02", {}).scale, packing_of("lst", {"units": "K"}).high
    (0.0001, 427.675)
    """
    units = stated_units(attrs)
    for packing, spellings in ((REFLECTANCE, DIMENSIONLESS), (TEMPERATURE, KELVIN), (TEMPERATURE_CELSIUS, CELSIUS)):
        if units in spellings:
            return packing
    stated = attrs.get("units", attrs.get("unit"))
    raise CubeError(
        f"{name!r} is in {stated!r}, for which there is no packing into uint16; expected reflectance ('1', or no units)"
        f" or a temperature in 'K' or 'degC'. Write dtype='float32', convert it, or leave it out with"
        f" .drop_vars({name!r})."
    )


@dataclass(frozen=True)
class Encoder:
    """Brings blocks of one variable to their stored form; travels to workers."""

    variable: str
    dtype: str
    """Type of the stored numbers."""
    packing: Packing | None = None
    """None keeps the values as they are."""
    allow_clipping: bool = False
    """Whether any number of pixels may lie outside the range of the packing."""

    def __str__(self) -> str:
        """Describe the stored form; equal for equal forms."""
        return self.dtype if self.packing in (None, REFLECTANCE) else f"{self.dtype} of {self.packing.name}"

    def __call__(self, values: NDArray[Any]) -> Stored:
        """Encode a block.

        Raises
        ------
        CubeError
            If packing would clip more than `CLIPPED_SHARE` of the valid pixels, and that is not allowed.

        Examples
        --------
        >>> Encoder("B02", "uint16", REFLECTANCE, allow_clipping=True)(np.array([0.0, 0.5, -0.2, np.nan, np.inf]))
        Stored(numbers=array([1000, 6000,    1,    0,    0], dtype=uint16), valid=3, clipped=1, infinite=1)
        """
        if self.packing is not None:
            return self._packed(values, self.packing)
        with np.errstate(over="ignore"):
            numbers = values.astype(self.dtype, copy=False)
        if numbers.dtype.kind != "f":
            return Stored(numbers, numbers.size, 0, 0)
        finite = np.isfinite(numbers)
        infinite = int(np.isinf(numbers).sum())
        if not finite.all():  # NaN in one form: processors make others, and the checksum would differ
            numbers = np.where(finite, numbers, numbers.dtype.type(np.nan))
        return Stored(numbers, int(finite.sum()), 0, infinite)

    def _packed(self, values: NDArray[Any], packing: Packing) -> Stored:
        pieces = values.reshape(-1)
        numbers = np.empty(pieces.shape, np.uint16)
        counts = np.zeros(3, np.int64)
        for start in range(0, pieces.size, PIECE):
            piece = slice(start, start + PIECE)
            numbers[piece], *found = _packed_piece(pieces[piece], packing)
            counts += found
        valid, clipped, infinite = counts.tolist()
        if clipped > CLIPPED_SHARE * valid and not self.allow_clipping:
            raise CubeError(_refusal(self.variable, values[np.isfinite(values)], clipped, packing))
        return Stored(numbers.reshape(values.shape), valid, clipped, infinite)


def _packed_piece(values: NDArray[Any], packing: Packing) -> Stored:
    finite = np.isfinite(values)
    number = np.rint((np.where(finite, values, 0).astype(np.float64) - packing.offset) / packing.scale)
    clipped = int(((number < 1) | (number > LARGEST))[finite].sum())
    numbers = np.where(finite, np.clip(number, 1, LARGEST), FILL).astype(np.uint16)
    return Stored(numbers, int(finite.sum()), clipped, int(np.isinf(values).sum()))


def _refusal(variable: str, values: NDArray[Any], clipped: int, packing: Packing) -> str:
    return (
        f"{clipped} of {values.size} pixels of a block of {variable!r} lie outside {packing.low:g} to {packing.high:g},"
        f" the range of {packing.name} packed into uint16: its values go from {values.min():.6g} to {values.max():.6g}."
        " State other units (units= where the cube is opened; the attribute 'units' for a temperature), write"
        " dtype='float32', or pass allow_clipping=True (--allow-clipping) to move them to the limits."
    )


def warn_of_infinite(count: int) -> None:
    """Warn if pixels were infinite, for which there is nothing to store."""
    if count:
        warnings.warn(
            f"{count} pixels are infinite and were stored as no data. Divisions by zero give such values.",
            XsrWarning,
            stacklevel=3,
        )
