"""What the user says about a sensor's optics, resolved to line spread functions for any band.

Degradation and judgement share these rules: the MTF by number, pair or band, or that of the sensor's table; the kind of
point spread function, or a function in map units.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from xsr.core import checks, sensors
from xsr.core.errors import BandError, ParameterError
from xsr.kernels import psf as spread
from xsr.kernels.fidelity import LowSensor

PsfName = Literal["gaussian", "detector", "effective"]
"""``gaussian``: a Gaussian with the given MTF. ``detector``: integration over the low-resolution pixel behind
Gaussian optics, together with that MTF. ``effective``: the Gaussian that is missing when the input itself has the MTF
of its sensor."""
Mtf: TypeAlias = float | tuple[float, float]
"""Value at the Nyquist frequency, or one along y (along track) and one along x (across track)."""
PsfLike: TypeAlias = PsfName | spread.Psf | tuple[spread.Psf, spread.Psf]
"""A kind of point spread function, a line spread function in units of the CRS, or one along y and one along x."""

OWN_PIXEL = 1e-3
"""Deviations below which the own pixels of a band are those of the grid, or a whole number of high-resolution ones:
metres are measured."""


@dataclass(frozen=True)
class Optics:
    """Point spread functions and MTF as given, and the sensor whose table fills the gaps."""

    sensor: str
    """Name of the sensor."""
    mtf: Any = None
    """`Mtf`, a mapping of them by band, or None for the table's."""
    psf: Any = "gaussian"
    """`PsfLike`, or a mapping of them by band."""
    source_mtf: Any = None
    """MTF of the input at its own Nyquist frequency for ``effective``, given as ``mtf``; None for that of ``mtf``."""

    def functions(
        self, name: str, scale: tuple[float, float], pixel: tuple[float, float]
    ) -> tuple[spread.Psf, spread.Psf]:
        """Line spread functions of a band along y and x.

        Parameters
        ----------
        name
            Band, in any spelling.
        scale
            Pixels of the result over pixels of the input, (y, x).
        pixel
            Pixel size (y, x) of the input in map units.

        Returns
        -------
        tuple of Psf
            In pixels of the input.

        Raises
        ------
        ParameterError
            If what was given makes no sense, or the band has no MTF.
        """
        kind = by_band(self.psf, name, "psf")
        if isinstance(kind, str):
            return self._named(kind, name, scale)
        y, x = (spread.pixels(f, size) for f, size in zip(_given(kind), pixel, strict=True))
        return y, x

    def low_sensor(
        self,
        name: str,
        *,
        scale: tuple[float, float],
        pixel: tuple[float, float],
        low_m: float,
        native_m: float = math.nan,
    ) -> LowSensor:
        """Find the sensor that observed a band at low resolution, for the fidelity metrics.

        A band whose own pixels are larger than the low-resolution ones was brought to these by bicubic interpolation.

        Parameters
        ----------
        name
            Band, in any spelling.
        scale
            Low over high pixel size, (y, x).
        pixel
            High-resolution pixel size (y, x) in map units.
        low_m
            Low-resolution pixel in metres.
        native_m
            Own pixel of the band in metres; where it is NaN and ``mtf`` is not given, that of the sensor's table.

        Raises
        ------
        ParameterError
            As `functions`, and if no weights have the required MTF.
        """
        if not math.isfinite(native_m) and self.mtf is None:
            band = self._band(name)
            native_m = band.gsd_m if band is not None else low_m
        ratio = native_m / low_m if native_m > low_m * (1 + OWN_PIXEL) else 1.0
        size = (scale[0] * ratio, scale[1] * ratio)
        if ratio > 1 and max(abs(length - round(length)) for length in size) < OWN_PIXEL * ratio:
            size = (float(round(size[0])), float(round(size[1])))
        found = LowSensor(scale, self.functions(name, size, pixel), size if ratio > 1 else None)
        for axis in (0, 1):
            first = found.stages(axis)[0]
            spread.check_reachable(first.psf, first.cell)
        return found

    def record(self, names: Sequence[str]) -> dict[str, Any]:
        """Attributes that say which sensor, point spread function and MTF of each band were used."""
        found = {"sensor": self.sensor, "psf": self.kind}
        pairs = [self.mtf_of(name) if self.knows(name) else None for name in names]
        values = np.array([(math.nan, math.nan) if pair is None else pair for pair in pairs])
        if np.isnan(values).all():
            return found
        if np.array_equal(values[:, 0], values[:, 1], equal_nan=True):
            return {**found, "mtf": values[:, 0].tolist()}
        return {**found, "mtf_y": values[:, 0].tolist(), "mtf_x": values[:, 1].tolist()}

    def mtf_of(self, name: str) -> tuple[float, float] | None:
        """MTF of a band along y and x; None where its point spread function is given and needs none."""
        return self._pair(self.mtf, name, "mtf") if isinstance(by_band(self.psf, name, "psf"), str) else None

    def knows(self, name: str) -> bool:
        """Whether a band's point spread function is given, or its MTF given or in the table."""
        given = self.mtf is not None or not isinstance(by_band(self.psf, name, "psf"), str)
        return given or self._table(name) is not None

    @property
    def kind(self) -> str:
        """Kind of point spread function, for the record; ``given`` where it is no kind for all bands."""
        return self.psf if isinstance(self.psf, str) else "given"

    def _named(self, kind: str, name: str, scale: tuple[float, float]) -> tuple[spread.Psf, spread.Psf]:
        if kind not in get_args(PsfName):
            raise ParameterError(f"psf={kind!r}; expected one of {', '.join(get_args(PsfName))} or a function.")
        low = self._pair(self.mtf, name, "mtf")
        if kind == "effective":
            high = low if self.source_mtf is None else self._pair(self.source_mtf, name, "source_mtf")
            y, x = (spread.effective(a, s, b) for a, b, s in zip(low, high, scale, strict=True))
            return y, x
        make = spread.gaussian if kind == "gaussian" else spread.detector
        return make(low[0], scale[0]), make(low[1], scale[1])

    def _pair(self, given: Any, name: str, what: str) -> tuple[float, float]:
        if given is None:
            value: Any = self._table(name)
            if value is None:
                raise ParameterError(
                    f"{sensors.get(self.sensor).name} has no MTF for band {name!r}; expected one. Pass mtf= as a number"
                    " in (0, 1), or by band."
                )
        else:
            value = by_band(given, name, what)
        if checks.is_number(value):
            value = (value, value)
        elif not isinstance(value, Sequence | np.ndarray) or len(value) != 2 or not all(map(checks.is_number, value)):
            raise ParameterError(
                f"{what}={value!r}; expected one number, or a pair (along y, along x). Either may be given by band."
            )
        for number in value:
            sensors.sigma_px(float(number), 1.0)  # refuses what lies outside (0, 1)
        return float(value[0]), float(value[1])

    def _table(self, name: str) -> float | None:
        band = self._band(name)
        return None if band is None else band.mtf

    def _band(self, name: str) -> sensors.Band | None:
        table = sensors.get(self.sensor)
        try:
            return table.band(name)
        except BandError:
            return None


def _given(kind: Any) -> tuple[spread.Psf, spread.Psf]:
    """Line spread functions along y and x in map units, as the user gave them."""
    pair = kind if isinstance(kind, tuple) else (kind, kind)
    if len(pair) != 2 or not all(isinstance(f, spread.Psf) for f in pair):
        raise ParameterError(
            f"psf={kind!r}; expected {', '.join(get_args(PsfName))}, a line spread function of xsr.kernels.psf in"
            " units of the CRS, or a pair (y, x) of them."
        )
    return pair[0], pair[1]


def by_band(given: Any, name: str, what: str) -> Any:
    """Value of a band where values are given by band, under any name of it; the value itself otherwise.

    Raises
    ------
    ParameterError
        If a mapping lacks the band.
    """
    if not isinstance(given, Mapping):
        return given
    known = {sensors.canonical(str(key)): value for key, value in given.items()}
    if sensors.canonical(name) not in known:
        raise ParameterError(
            f"{what} names the bands {[str(key) for key in given]}; expected {name!r} among them. Add it, or select"
            " bands."
        )
    return known[sensors.canonical(name)]
