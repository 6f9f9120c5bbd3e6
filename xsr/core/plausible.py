"""What numbers taken as reflectance look like, and what they rather are.

Reflectance is a share of the light that comes in. Snow, clouds and glint exceed 1, at times 2; over-corrected shadows
fall below 0. Ten times the light is nothing that a surface returns: beyond it are digital numbers, percent, kelvin, or
a number for no data. Nothing is changed by what is found here; it becomes a warning.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LIMIT = 10.0
"""Largest amount that passes as reflectance."""
BRIGHT = 2.0
"""Largest amount that does where attributes state something else: brighter are only a few glints."""
DARK = -0.5
"""Reflectance below it that many pixels share to the last digit is a number for no data; -1 may be an index."""
SHARE, COUNT = 0.01, 3
"""Share and number of the pixels of a band that must lie beyond: a few hot pixels are no matter of units."""
SAMPLE = 2**16
"""Numbers looked at in a block."""
PERCENT = 150.0
"""Largest number that may be percent."""
KELVIN = (180.0, 350.0)
"""Range of the median of temperatures of the Earth."""
COUNTS = 1e-3
"""Largest scale of digital numbers."""
WHOLE = 0.01
"""Distance from an integer up to which a number counts as one."""


@dataclass(frozen=True)
class Reflectance:
    """Inspect a block (time, band, y, x) of what is taken as reflectance."""

    bands: tuple[str, ...]
    """Names of the bands of the array that the blocks are of."""
    stated: str = ""
    """What attributes state that contradicts reflectance, and the way out."""
    packing: tuple[float, float] = (1.0, 0.0)
    """Scale and offset from stored numbers to those of the blocks."""
    given: bool = False
    """Whether the user gave the units: then only a number for no data is looked for, and reflectance scaled again."""

    def __call__(self, block: NDArray[np.float32]) -> str | None:
        """Say what is odd about a block, None if nothing is."""
        if not block.size:
            return None
        sample = thinned(block)
        if (most := self._scaled_again(sample)) is not None:
            return scaled_again(most, self.packing[0])
        found = [self._odd(sample[:, band]) for band in range(sample.shape[1])]
        odd = [band for band, values in enumerate(found) if values is not None]
        if not odd:
            return None
        values = np.concatenate([values for values in found if values is not None])
        named = len(self.bands) == sample.shape[1]
        where = f"bands {[self.bands[band] for band in odd]} hold" if named else "the cube holds"
        filler = self.stored(values)
        return f"{where} {describe(values, self.stated) if filler is None else unmasked(values, filler)}"

    def stored(self, values: NDArray[np.float32]) -> int | None:
        """Integer that the least number was stored as, if that is a number for no data."""
        scale, offset = self.packing
        packed = self.packing != (1.0, 0.0) and _filler(values) is not None
        return round((float(values.min()) - offset) / scale) if packed else None

    def _scaled_again(self, sample: NDArray[np.float32]) -> float | None:
        """Largest number that given units took for digital numbers, if these are fractions as reflectance is."""
        scale, offset = self.packing
        if not self.given or scale > COUNTS:
            return None
        numbers = (sample[np.isfinite(sample)].astype(np.float64) - offset) / scale
        most = float(np.abs(numbers).max(initial=0.0))
        fractions = np.count_nonzero(np.abs(numbers - np.rint(numbers)) > WHOLE)
        return most if most <= BRIGHT and 2 * fractions > numbers.size else None

    def _odd(self, values: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Finite values of a band if too many of them are no reflectance."""
        known: NDArray[np.float32] = values[np.isfinite(values)]
        if _filler(known) is not None:
            return known
        if self.given:
            return None
        beyond = np.count_nonzero(np.abs(known) > (BRIGHT if self.stated else LIMIT))
        few = beyond < min(COUNT, known.size) or beyond < SHARE * known.size
        return None if not beyond or few else known


def thinned(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take about `SAMPLE` numbers from a block (time, band, y, x), evenly; a view."""
    height, width = block.shape[2:]
    excess = block.size / SAMPLE
    cols = _step(math.sqrt(excess), width)
    rows = _step(excess / cols, height)
    cols = _step(excess / rows, width)
    taken = block[:, :, rows // 2 :: rows, cols // 2 :: cols]
    return taken[:: max(1, taken.size // SAMPLE)]


def _step(wanted: float, size: int) -> int:
    return min(max(1, math.ceil(wanted)), size)


def _filler(values: NDArray[np.float32]) -> float | None:
    """Least of the finite values of a band, if it is negative as no reflectance is and shared by many pixels."""
    low = float(values.min(initial=0.0))
    shared = low < DARK and low != -1.0 and np.count_nonzero(values == low) >= max(COUNT, SHARE * values.size)
    return low if shared else None


def unmasked(values: NDArray[np.float32], number: int) -> str:
    """Say that a stored number looks like one for no data, and how to state that it is."""
    return (
        f"values down to {float(values.min()):.6g} in a cube taken as reflectance, stored as {number}. If that number"
        f" means no data, set the attribute _FillValue={number} of the DataArray, or of each variable of the Dataset."
    )


def scaled_again(most: float, scale: float) -> str:
    """Say that given units have scaled what was reflectance, and how to use them for other cubes of a call."""
    return (
        f"the cube holds numbers up to {most:.2g}, reflectance already, which units= scales by {scale:g}. Leave units="
        " out; if another cube of the call needs it, convert that one first."
    )


def describe(values: NDArray[np.float32], stated: str = "") -> str:
    """Say what numbers, some beyond reflectance, may be, and which argument mends it."""
    low, high, middle = float(values.min()), float(values.max()), float(np.median(values))
    if stated:
        return (
            f"values from {low:.6g} to {high:.6g} in a cube taken as reflectance, while its attributes state {stated};"
            " if the values are right, units='reflectance'."
        )
    if high <= LIMIT:
        return (
            f"values down to {low:.6g} in a cube taken as reflectance. If that number means no data, make it"
            f" NaN: cube.where(cube != {low:.6g}); if the values are right, pass units='reflectance'."
        )
    spread = f"values up to {high:.6g} in a cube taken as reflectance."
    if KELVIN[0] <= middle <= KELVIN[1] and high < 2 * KELVIN[1]:
        meant = "If these are kelvin, set the attribute units='K' of the DataArray, or of each variable of the Dataset"
    elif high <= PERCENT:
        meant = "If these are percent, pass units='percent'"
    else:
        meant = (
            "If these are digital numbers, pass units='dn10000', or units='dn10000-1000' for Sentinel-2 since"
            " processing baseline 04.00; or a factor"
        )
    return f"{spread} {meant}; if the values are right, units='reflectance'."
