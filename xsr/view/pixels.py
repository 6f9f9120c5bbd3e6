"""Sections of a card that come from pixels: looked at where they are few and in memory, never computed or read."""

import warnings
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core.aside import Layer
from xsr.core.classes import Family, family_of
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import XsrWarning
from xsr.core.sheet import Section
from xsr.core.types import XarrayObject

FEW = 1 << 22
"""Most numbers of a cube that are looked at: 16 MB, a few hundredths of a second."""
CLOUDS = ("cloud", "shadow", "cirrus")
"""Words for classes that hide the surface."""


class Contents:
    """Pixels of a cube, where they can be had without effort.

    Parameters
    ----------
    given
        Object of the user.
    cube
        What the contract makes of it, without pixels.
    """

    def __init__(self, given: XarrayObject, cube: Cube) -> None:
        self._given, self._cube = given, cube

    @cached_property
    def _why_not(self) -> str:
        """Say why pixels are not looked at; empty where they are."""
        over = [one for one in _variables(self._given) if set(self._cube.spatial) <= set(one.dims)]
        if any(one.chunks is not None for one in over):
            return "not computed (lazy)"
        if not all(in_memory(one) for one in over):
            return "not read from the file"
        if sum(one.size for one in over) > FEW:
            return "not counted (large)"
        return ""

    @cached_property
    def _opened(self) -> tuple[Cube, tuple[str, ...]]:
        """Cube with its pixels, and warnings about them."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            cube = open_cube(self._given)
        return cube, texts(caught)

    def warned(self) -> tuple[str, ...]:
        """Warnings about the numbers: odd for reflectance, or all no data."""
        if self._why_not:
            return ()
        cube, found = self._opened
        if not np.isfinite(cube.data.values).any():
            found = (
                *found,
                "Every pixel is no data; expected some with a value. Check the area that was cut, the mask, and"
                " the number that is stated for no data.",
            )
        return found

    def nodata(self) -> Section:
        """Share of the numbers that are no data."""
        if self._why_not:
            return Section("no data", f"{self._why_not}; float(cube.isnull().mean()) computes it")
        missing = ~np.isfinite(self._opened[0].data.values)
        dates, bands = missing.mean(axis=(1, 2, 3)), missing.mean(axis=(0, 2, 3))
        empty = int((dates == 1).sum())
        beside = f"; {empty} of {len(dates)} dates have no pixel" if empty and len(dates) > 1 else ""
        alike = len(set(bands.tolist())) == 1
        rows = (
            [] if alike else [(n, _percent(share)) for n, share in zip(self._cube.bands, bands.tolist(), strict=True)]
        )
        return Section("no data", f"{_percent(float(missing.mean()))} of the numbers{beside}", rows, ("band", "share"))

    def clouds(self) -> Section:
        """Share of the pixels that a layer of classes calls cloud, shadow or cirrus."""
        layers = self._cube.layers
        if not layers:
            return Section("clouds", "not known: no layer of classes beside the bands")
        if self._why_not:
            names = ", ".join(str(one.name) for one in layers)
            return Section("clouds", f"{self._why_not}; layer {names}: cube.sr.mask_clouds() masks them")
        rows = [(str(one.name), *_of_layer(one)) for one in self._opened[0].layers]
        known = [row for row in rows if row[1]]
        summary = f"{known[0][1]} by {known[0][0]}" if known else "not known: the layers do not say which classes are"
        return Section("clouds", summary, rows, ("layer", "clouds", "classes"))


def texts(caught: Iterable[warnings.WarningMessage]) -> tuple[str, ...]:
    """Texts of the warnings of xsr among others."""
    return tuple(str(one.message) for one in caught if issubclass(one.category, XsrWarning))


def _variables(given: XarrayObject) -> list[xr.DataArray]:
    own = list(given.data_vars.values()) if isinstance(given, xr.Dataset) else [given]
    return own + list(given.coords.values())


def in_memory(variable: xr.DataArray) -> bool:
    """Whether numbers are in memory; xarray has no public word for those that a file still holds."""
    return bool(getattr(variable.variable, "_in_memory", False))


def _of_layer(layer: Layer) -> tuple[str, str]:
    """Share of clouds in a layer, and what its numbers are; no share where nothing says it."""
    family = family_of(layer.name, layer.data.attrs)
    if family is None:
        return "", "nothing says what its numbers mean"
    return _percent(_share(np.asarray(layer.data.values), family)), family.title


def _share(classes: NDArray[np.generic], family: Family) -> float:
    known = np.isfinite(classes.astype(np.float64))
    numbers = np.where(known, classes, 0).astype(np.int64)
    hidden = np.zeros(classes.shape, bool)
    for mask, value in family.select([word for word in CLOUDS if word in family.rules]):
        hidden |= known & ((numbers & mask) == value)
    return float(hidden.mean())


def _percent(share: float) -> str:
    """Share in percent; none that is not zero or one is written as if it were."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if 0.9995 <= share < 1 else f"{share:.1%}".replace("%", " %").replace(".0 ", " ")
