"""The correction by which a result, observed again, is its input: what is least to add.

With D the sensor along one axis, from the pixels of the result to those of a band, an image x becomes ``x + M e``,
``M = D^T (D D^T)^-1``, ``e = y - D x``: of all images with ``D x = y`` the nearest one. D works on rows and columns
apart, and so does M. ``(D D^T)^-1`` has no end, but falls off by a factor of two or so a pixel: `REACH` pixels are
enough.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Padding, Span, padded_index
from xsr.kernels.decimate import MIN_VALID
from xsr.kernels.degrade import BandOptics, observe
from xsr.kernels.psf import Stage, sample_chain

Stack = NDArray[np.float32]
"""Image stack, shape (time, band, y, x)."""

REACH = 24
"""Input pixels around a block that its correction depends on."""
LEAST = 3e-3
"""Share of the largest eigenvalue of ``D D^T`` below which one counts as zero: a band that was interpolated from larger
pixels has fewer degrees of freedom than pixels. Those of an MTF of 0.1 are larger than three times as much."""


def projector(low: Span, fine: Span, size: int, stages: tuple[Stage, ...]) -> NDArray[np.float64]:
    """M along an axis, shape (len(fine), len(low)).

    Parameters
    ----------
    low
        Input pixels, all that the correction is to depend on.
    fine
        Pixels of the result.
    size
        Of the result along the axis, in pixels; beyond the border it is mirrored, as `xsr.degrade` has it.
    stages
        Steps from the result to the input; see `xsr.kernels.degrade.BandOptics`.

    Examples
    --------
    >>> from xsr.kernels.degrade import sensor_band
    >>> m = projector(Span(0, 4), Span(0, 8), 8, sensor_band(0.3, 2.0).y)
    >>> m.shape
    (8, 4)
    """
    taps = sample_chain(low.start, len(low), stages)
    index = taps.start[:, None] + np.arange(taps.weight.shape[1])
    first = int(index.min())
    folded = padded_index(first, int(index.max()) + 1, size, "reflect")[index - first]
    begin = min(int(folded.min()), fine.start)
    sensor = np.zeros((len(low), max(int(folded.max()) + 1, fine.stop) - begin))
    np.add.at(sensor, (np.arange(len(low))[:, None], folded - begin), taps.each)
    values, vectors = np.linalg.eigh(sensor @ sensor.T)
    kept = values > LEAST * values[-1]
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    return np.asarray((inverse @ sensor).T[fine.start - begin : fine.stop - begin])


@dataclass(frozen=True)
class Observed:
    """Block function: the bands of a result as the sensor observes them."""

    bands: tuple[BandOptics, ...]
    min_valid: float = MIN_VALID
    """Least share of a pixel's weight on valid pixels; below, the output is NaN."""
    padding: Padding = "reflect"
    rows: Span = field(default=Span(0, 0))
    cols: Span = field(default=Span(0, 0))

    @property
    def halo(self) -> int:
        """Half-width of the widest point spread function."""
        return max(band.halo() for band in self.bands)

    def place(self, dates: Span, rows: Span, cols: Span) -> "Observed":
        """Bind to output pixels; see `xsr.core.types.PlacedFunction`."""
        return replace(self, rows=rows, cols=cols)

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate a block; see `xsr.core.types.WindowFunction`."""
        y, x = (
            round((span.start + 0.5) * size - 0.5 - float(position[0]))
            for span, position, size in zip((self.rows, self.cols), (rows, cols), cell, strict=True)
        )
        made = [
            observe(window[:, number], band, rows=self.rows, cols=self.cols, origin=(y, x), min_valid=self.min_valid)
            for number, band in enumerate(self.bands)
        ]
        return np.stack(made, axis=1)


@dataclass(frozen=True)
class Correction:
    """Block function: what to add to a result, of what is missing in the input's pixels."""

    bands: tuple[BandOptics, ...]
    low: tuple[int, int]
    """Input pixels that the result covers."""
    fine: tuple[int, int]
    """Pixels of the result."""
    padding: Padding = "edge"
    corner: tuple[int, int] = (0, 0)
    """First pixel of the window."""
    rows: Span = field(default=Span(0, 0))
    cols: Span = field(default=Span(0, 0))

    @property
    def halo(self) -> int:
        """Input pixels that the correction depends on."""
        return REACH

    def place(self, dates: Span, rows: Span, cols: Span) -> "Correction":
        """Bind to output pixels; see `xsr.core.types.PlacedFunction`."""
        return replace(self, rows=rows, cols=cols)

    def locate(self, row: int, col: int) -> "Correction":
        """Bind to the first pixel of a window; see `xsr.core.types.LocatedFunction`."""
        return replace(self, corner=(row, col))

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate a block; see `xsr.core.types.WindowFunction`."""
        spans = [
            Span(max(first, 0), min(first + size, whole))
            for first, size, whole in zip(self.corner, window.shape[2:], self.low, strict=True)
        ]
        out = np.zeros((*window.shape[:2], len(self.rows), len(self.cols)), np.float32)
        if not all(map(len, spans)):
            return out
        y, x = (slice(s.start - first, s.stop - first) for s, first in zip(spans, self.corner, strict=True))
        for number, band in enumerate(self.bands):
            down = _projector(spans[0], self.rows, self.fine[0], band.y)
            across = _projector(spans[1], self.cols, self.fine[1], band.x)
            out[:, number] = down @ window[:, number, y, x] @ across.T
        return out


@lru_cache(maxsize=64)
def _projector(low: Span, fine: Span, size: int, stages: tuple[Stage, ...]) -> NDArray[np.float32]:
    """Weights of the bands of one MTF are alike, and those of the blocks of a row."""
    return projector(low, fine, size, stages).astype(np.float32)
