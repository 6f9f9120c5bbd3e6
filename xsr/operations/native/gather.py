"""Block function that gives source pixels back from the output pixels that fell in them."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Padding, Span, Window
from xsr.core.grid import Bounds, Positions, Warp, WarpQuery, input_window, project
from xsr.core.types import Stack
from xsr.kernels.native import pick
from xsr.operations.native.lattices import project_straight

NOWHERE = Span(0, 0)
OUTSIDE = -1e9
"""Position far from every block."""


@dataclass(frozen=True)
class GatherQuery(WarpQuery):
    """Rectangle of source pixels; positions beyond the cube count as its border.

    A source pixel whose centre lies beyond it may still hold the centre of an output pixel.
    """

    def positions(self) -> tuple[Positions, Positions]:
        """Row and column positions in the cube, both (H, W)."""
        rows, cols = super().positions()
        height, width = self.source.shape.yx
        return np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)

    def bounds(self) -> tuple[Bounds, Bounds]:
        """Least and greatest positions."""
        (top, bottom), (left, right) = super().bounds()
        height, width = self.source.shape.yx
        (top, bottom), (left, right) = np.clip((top, bottom), 0, height - 1), np.clip((left, right), 0, width - 1)
        return (float(top), float(bottom)), (float(left), float(right))


@dataclass(frozen=True)
class GatherSampling(Warp):
    """Where all source pixels lie in the cube."""

    def query(self, rows: Span, cols: Span) -> GatherQuery:
        """Positions of a rectangle of source pixels."""
        return GatherQuery(self.source, self.target, rows, cols)


Block = tuple[int, int, int]
"""Side of a band's own pixels in pixels of the finest lattice, and the first one to begin, down and right."""


@dataclass(frozen=True)
class Gather:
    """Block function: every source pixel has the value of the output pixel in it that lies nearest to its centre."""

    task: ClassVar[str] = "native"

    sampling: GatherSampling
    own: tuple[Block, ...]
    """Pixels of each band of the cube; larger ones are repeated onto the finest lattice."""
    moved: tuple[float, float]
    """Added to the positions of output pixels, in pixels of the finest lattice, down and right."""
    straight: bool
    """Whether rows were projected along straight pieces; see `xsr.operations.native.lattices.project_straight`."""
    halo: int
    padding: Padding = "edge"
    rows: Span = NOWHERE
    cols: Span = NOWHERE

    def place(self, dates: Span, rows: Span, cols: Span) -> "Gather":
        """Bind to a rectangle of source pixels."""
        return replace(self, rows=rows, cols=cols)

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        out = np.full((*window.shape[:2], len(self.rows), len(self.cols)), np.nan, np.float32)
        position = self._positions()
        for block in dict.fromkeys(self.own):
            bands = [band for band, own in enumerate(self.own) if own == block]
            chosen = self._choose(position, block)
            flat = window[:, bands].reshape(len(window), len(bands), -1)
            found = np.where(chosen >= 0, flat[..., chosen], np.float32(np.nan))
            out[:, bands] = found
        return out

    def _positions(self) -> tuple[Positions, Positions]:
        """Positions on the finest lattice (h, w) of the output pixels of the window; `OUTSIDE` beyond the cube."""
        source = self.sampling.source
        window = input_window(self.sampling.query(self.rows, self.cols), source.shape.yx, self.halo)
        assert isinstance(window, Window)
        y, x = (np.arange(span.start, span.stop) for span in (window.rows, window.cols))
        inside = ((y >= 0) & (y < source.shape.y))[:, None] & (x >= 0) & (x < source.shape.x)
        target = self.sampling.target
        projected = (
            project_straight(source, target, y.astype(np.float64), x.astype(np.float64))
            if self.straight
            else project(source, target, *np.meshgrid(y + 0.5, x + 0.5, indexing="ij"))
        )
        south, east = (
            np.where(inside & np.isfinite(v), v + 0.5 + moved, OUTSIDE)
            for v, moved in zip(projected, self.moved, strict=True)
        )
        return south, east

    def _choose(self, position: tuple[Positions, Positions], block: Block) -> NDArray[np.int64]:
        """Flat index in the window of the output pixel for each source pixel of the block; -1 where there is none."""
        size, *first = block
        cells, offsets, spans = [], [], []
        for projected, start, span in zip(position, first, (self.rows, self.cols), strict=True):
            place = (projected - start) / size
            low = (span.start - start) // size
            cell = np.floor(place)
            offsets.append(np.abs(place - cell - 0.5))
            cells.append((cell - low).astype(np.int64))
            spans.append((np.arange(span.start, span.stop) - start) // size - low)
        shape = (int(spans[0][-1]) + 1, int(spans[1][-1]) + 1)
        return pick(cells[0], cells[1], np.maximum(*offsets), shape)[spans[0][:, None], spans[1]]
