"""Degradation of one block: what the sensor observes of every date and band of a window."""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Padding, Span
from xsr.core.types import Stack
from xsr.kernels.decimate import MIN_VALID
from xsr.kernels.degrade import BandOptics, observe


@dataclass(frozen=True)
class Frame:
    """How one date is observed."""

    key: int
    """Names the date in the noise."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Displacement of the content towards greater rows and columns, in low-resolution pixels."""
    blur: float = 1.0
    """Factor of the width of the point spread function."""


@dataclass(frozen=True)
class Degradation:
    """Block function: blur, decimate and add noise."""

    task: ClassVar[str] = "degrade"

    bands: tuple[BandOptics, ...]
    frames: tuple[Frame, ...]
    min_valid: float = MIN_VALID
    seed: int = 0
    padding: Padding = "reflect"
    rows: Span = field(default=Span(0, 0))
    """Output rows of the block, once placed."""
    cols: Span = field(default=Span(0, 0))

    @property
    def halo(self) -> int:
        """Half-width of the widest point spread function, shifted furthest."""
        shift = max(abs(s) for frame in self.frames for s in frame.shift)
        widest = max(frame.blur for frame in self.frames)
        return max(band.widened(widest).halo(shift) for band in self.bands)

    def checked(self) -> "Degradation":
        """Return itself if weights of every requested MTF exist; planning must not leave that to a task."""
        for band, blur in product(self.bands, {frame.blur for frame in self.frames}):
            band.widened(blur).check()
        return self

    def place(self, dates: Span, rows: Span, cols: Span) -> "Degradation":
        """Bind to dates and output pixels; see `xsr.core.types.PlacedFunction`."""
        return replace(self, frames=self.frames[dates.slice], rows=rows, cols=cols)

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate a block; see `xsr.core.types.WindowFunction`."""
        out = np.empty((*window.shape[:2], rows.size, cols.size), np.float32)
        origin = _origin(self.rows, rows, cell[0]), _origin(self.cols, cols, cell[1])
        for date, frame in enumerate(self.frames):
            for number, band in enumerate(self.bands):
                out[date, number] = observe(
                    window[date, number][None],
                    band.widened(frame.blur),
                    rows=self.rows,
                    cols=self.cols,
                    origin=origin,
                    shift=frame.shift,
                    min_valid=self.min_valid,
                    seed=self.seed,
                    frame=frame.key,
                )[0]
        return out


def _origin(span: Span, position: NDArray[np.float64], cell: float) -> int:
    """First pixel of a window, counted from the corner of the whole; ``position`` counts from the window."""
    return round((span.start + 0.5) * cell - 0.5 - float(position[0]))
