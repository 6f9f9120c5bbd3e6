"""Degradation of one block: what the sensor observes of every date and band of a window."""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from xsr.core import graph, progress
from xsr.core.blocks import Padding, Span, chunk_sizes, spans
from xsr.core.types import Stack
from xsr.kernels.decimate import MIN_VALID
from xsr.kernels.degrade import BandOptics, observe

ROWS = 512
"""Rows of the output of a whole image that one thread observes at once."""
LEAST = 1 << 18
"""Pixels for which a thread is worth its start."""


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
        origin = _origin(self.rows, rows, cell[0]), _origin(self.cols, cols, cell[1])
        out = self._empty(window)
        for date, band in product(range(len(self.frames)), range(len(self.bands))):
            self._observe(window, date, band, self.rows, origin, out)
        return out

    def whole(self, images: Stack, shape: tuple[int, int]) -> Stack:
        """Evaluate whole images; see `xsr.core.types.WholeFunction`."""
        placed = replace(self, rows=Span(0, shape[0]), cols=Span(0, shape[1]))
        out = placed._empty(images)
        parts = [*product(range(len(self.frames)), range(len(self.bands)), spans(chunk_sizes(shape[0], ROWS)))]

        def observe_part(part: tuple[int, int, Span]) -> None:
            placed._observe(images, *part, (0, 0), out)

        with progress.where_watched(self.task, len(parts)) as advance:
            for _ in graph.side_by_side(observe_part, parts, threads=images.size // LEAST):
                advance()
        return out

    def _empty(self, images: Stack) -> Stack:
        return np.empty((*images.shape[:2], len(self.rows), len(self.cols)), np.float32)

    def _observe(self, images: Stack, date: int, number: int, rows: Span, origin: tuple[int, int], out: Stack) -> None:
        """Observe rows of one of the images (time, band, y, x) that begin at ``origin``, counted from the grid."""
        frame = self.frames[date]
        place = out[date, number, rows.start - self.rows.start : rows.stop - self.rows.start][None]
        made = observe(
            images[date, number][None],
            self.bands[number].widened(frame.blur),
            rows=rows,
            cols=self.cols,
            origin=origin,
            shift=frame.shift,
            min_valid=self.min_valid,
            seed=self.seed,
            frame=frame.key,
            out=place,
        )
        if made is not place:
            place[...] = made


def _origin(span: Span, position: NDArray[np.float64], cell: float) -> int:
    """First pixel of a window, counted from the corner of the whole; ``position`` counts from the window."""
    return round((span.start + 0.5) * cell - 0.5 - float(position[0]))
