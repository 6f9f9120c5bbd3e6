"""Types that modules pass to one another."""

from typing import Protocol, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core.blocks import Padding, Span

XarrayObject: TypeAlias = xr.DataArray | xr.Dataset
"""What users hold: a cube as DataArray or as Dataset of bands."""

Stack: TypeAlias = NDArray[np.float32]
"""Image stack, shape (time, band, y, x)."""


class WindowFunction(Protocol):
    """Arithmetic of one block: a window of the cube and where to evaluate it.

    Implementations are frozen dataclasses of plain values: they travel to workers and name Dask keys.
    """

    @property
    def halo(self) -> int:
        """Input pixels needed around the pixels next to a query."""

    @property
    def padding(self) -> Padding:
        """How the window continues beyond the cube's border."""

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries.

        Parameters
        ----------
        window
            Shape (time, band, h, w); NaN and infinities are no data.
        rows, cols
            Positions in window pixels. Both of shape (H,) and (W,) for a grid, or both (H, W) for points.
        cell
            Size of an output pixel in input pixels, (y, x).

        Returns
        -------
        ndarray
            Shape (time, band, H, W).
        """


class PlacedFunction(WindowFunction, Protocol):
    """A window function whose result depends on where a block lies: noise, shifts that differ by date."""

    def place(self, dates: Span, rows: Span, cols: Span) -> WindowFunction:
        """Bind the function to some dates and a rectangle of output pixels."""


class LocatedFunction(WindowFunction, Protocol):
    """A window function whose result depends on where its window begins in the cube: on a lattice of larger pixels."""

    def locate(self, row: int, col: int) -> WindowFunction:
        """Bind the function to the first pixel of a window, which may lie before that of the cube."""


class FinishedFunction(WindowFunction, Protocol):
    """A window function whose output is filtered on its own grid."""

    @property
    def margin(self) -> int:
        """Output pixels around a block that the filter needs."""

    def finish(self, out: Stack) -> Stack:
        """Filter output pixels (time, band, H, W), NaN outside the cube; bands that only the filter reads may go."""


class SerialFunction(WindowFunction, Protocol):
    """A window function that computes in one thread: blocks of a cube in memory are evaluated side by side."""

    @property
    def serial(self) -> bool:
        """True; networks have threads of their own, and no such property."""


class WholeFunction(WindowFunction, Protocol):
    """A window function that continues images by itself, so that of those in memory nothing is cut or copied."""

    def whole(self, images: Stack, shape: tuple[int, int]) -> Stack:
        """Evaluate whole images (time, band, y, x) on a grid of ``shape`` from the same corner."""
