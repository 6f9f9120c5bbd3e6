"""The sharpness of a result: what a network gives it, and another that was requested."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from xsr.core import checks
from xsr.core.blocks import Padding
from xsr.core.errors import ModelError, ParameterError
from xsr.core.graph import task_of
from xsr.core.types import FinishedFunction, Stack, WindowFunction
from xsr.kernels import sharpness
from xsr.kernels.optics import by_band
from xsr.models.card import SHARPNESS, ModelCard

Sharpness: TypeAlias = Literal["sensor", "ideal"] | float | Mapping[str, float]
"""``sensor``: the MTF of the model's sensor at the Nyquist frequency of the result's own pixels, as if it had finer
pixels; ``ideal``: no blur; or the MTF at that frequency, one number in (0, 1] or by band."""
LEAST_MTF = 0.02
"""Least MTF that may be requested."""


class CompletedFunction(FinishedFunction, Protocol):
    """A network's block function that completes its other bands after the sharpness of some has changed."""

    @property
    def sharp(self) -> list[int]:
        """Bands whose sharpness changes."""


@dataclass(frozen=True)
class Resharpened:
    """Block function of a network, its output brought to another sharpness."""

    function: WindowFunction
    gains: tuple[float, ...]
    """Of each band, the response at the Nyquist frequency of the output by which its sharpness changes."""

    @property
    def task(self) -> str:
        """That of the network."""
        return task_of(self.function)

    @property
    def halo(self) -> int:
        """That of the network."""
        return self.function.halo

    @property
    def padding(self) -> Padding:
        """That of the network."""
        return self.function.padding

    @property
    def margin(self) -> int:
        """Output pixels around a block that the filter needs."""
        return sharpness.MARGIN

    def locate(self, row: int, col: int) -> "Resharpened":
        """Bind the network to the first pixel of a window; see `xsr.core.types.LocatedFunction`."""
        located = getattr(self.function, "locate", None)
        return self if located is None else replace(self, function=located(row, col))

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        return self.function(window, rows, cols, cell)

    def finish(self, out: Stack) -> Stack:
        """Change the sharpness, and do what the network's own output needs; see `xsr.core.types.FinishedFunction`."""
        own = getattr(self.function, "finish", None)
        if own is None:
            return np.stack([sharpness.change(out[:, b], (gain, gain)) for b, gain in enumerate(self.gains)], axis=1)
        for band in cast(CompletedFunction, self.function).sharp:
            out[:, band] = sharpness.change(out[:, band], (self.gains[band], self.gains[band]))
        finished: Stack = own(out)
        return finished


def resharpened(function: WindowFunction, gains: tuple[float, ...] | None) -> WindowFunction:
    """Wrap a block function so that its output has the sharpness requested; see `gains_of`."""
    return function if gains is None else Resharpened(function, gains)


def chosen(psf: Sharpness | None, card: ModelCard) -> Sharpness | None:
    """Sharpness of a result: by default that of the sensor, where the card of the model says what it takes."""
    return "sensor" if psf is None and card.sharpness is not None and card.mtf else psf


def record(psf: Sharpness | None, card: ModelCard) -> dict[str, Any]:
    """Attribute that says the sharpness of a result; none where it is not known."""
    stated = card.sharpness if psf is None else psf
    if isinstance(stated, Mapping):
        return {"psf": [f"{name} {float(value):g}" for name, value in stated.items()]}
    return {} if stated is None else {"psf": stated}


def gains_of(psf: Sharpness | None, card: ModelCard, bands: tuple[str, ...]) -> tuple[float, ...] | None:
    """Response at the Nyquist frequency by which the sharpness of each band has to change; None if it is right.

    Parameters
    ----------
    psf
        As of `xsr.liif`; None leaves the network's output as it is.
    card
        Of the network.
    bands
        Canonical names of the cube's bands.

    Raises
    ------
    ParameterError
        If it is no sharpness.
    ModelError
        If the card does not state the sharpness of the model's result, or an MTF that is needed.
    """
    if psf is None:
        return None
    wanted = [_wanted(by_band(psf, band, "psf"), card, band) for band in bands]
    if card.sharpness is None:
        raise ModelError(
            f"psf={psf!r}: model {card.name!r} does not state the sharpness of its result. Leave psf out; match_psf"
            " softens any result by a width in metres."
        )
    gains = tuple(value / _mtf(card.sharpness, card, band) for value, band in zip(wanted, bands, strict=True))
    return None if set(gains) == {1.0} else gains


def _wanted(given: Any, card: ModelCard, band: str) -> float:
    """MTF requested of a band."""
    if isinstance(given, str):
        if given not in SHARPNESS:
            raise ParameterError(
                f"psf={given!r}; expected 'sensor', 'ideal', or the MTF at the Nyquist frequency of the result."
            )
        return _mtf(given, card, band)
    if not checks.is_number(given) or not LEAST_MTF <= float(given) <= 1:
        raise ParameterError(
            f"psf={given!r}; expected 'sensor', 'ideal', or an MTF from {LEAST_MTF:g} to 1, one number or by band."
        )
    return float(given)


def _mtf(kind: str, card: ModelCard, band: str) -> float:
    """MTF of a band by a word of `SHARPNESS`."""
    if kind == "ideal":
        return 1.0
    if not card.mtf:
        raise ModelError(f"psf='sensor': model {card.name!r} states no MTF. Pass the MTF, or leave psf out.")
    return card.mtf[card.bands.index(band)]
