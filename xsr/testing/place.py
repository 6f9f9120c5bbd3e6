"""Where a synthetic scene lies: its seed, its extent and its position on the map, and the grids over it.

All that a scene contains follows from its place, so everything below :class:`xsr.testing.Scene` takes a :class:`Place`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from affine import Affine
from odc.geo.geobox import GeoBox

from xsr.core.errors import ParameterError

Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of a grid."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Seed, extent and position of a synthetic scene.

    Parameters
    ----------
    seed : int
        Seed; the same seed, size and origin give the same bytes.
    size_m : float or (float, float), default 2560.0
        Extent in metres; height and width if two numbers.
    origin : (float, float), default (600000.0, 5650000.0)
        Easting and northing of the top-left corner in metres.
    crs : str, default "EPSG:32631"
        Coordinate reference system in metres.

    Raises
    ------
    ParameterError
        If the extent is not positive and finite.
    """

    seed: int
    """Seed of every random choice in the scene."""

    size_m: float | tuple[float, float] = 2560.0
    """Extent in metres; height and width if two numbers."""

    origin: tuple[float, float] = (600_000.0, 5_650_000.0)
    """Easting and northing of the top-left corner in metres."""

    crs: str = "EPSG:32631"
    """Coordinate reference system in metres."""

    def __post_init__(self) -> None:
        """Check the extent."""
        if min(self.extent_m) <= 0 or not all(map(math.isfinite, self.extent_m)):
            raise ParameterError(f"size_m={self.size_m}; expected positive metres. Give the extent in metres.")

    @property
    def extent_m(self) -> tuple[float, float]:
        """Height and width in metres."""
        if isinstance(self.size_m, tuple):
            return (float(self.size_m[0]), float(self.size_m[1]))
        return (float(self.size_m), float(self.size_m))

    def geobox(self, gsd_m: float, *, window: Window | None = None) -> GeoBox:
        """Grid of the scene at a ground sampling distance.

        Parameters
        ----------
        gsd_m : float
            Pixel size in metres.
        window : (slice, slice), optional
            Rows and columns of the whole grid; the whole grid by default.

        Returns
        -------
        GeoBox
            North-up grid anchored at the top-left corner of the scene; only whole pixels.
        """
        rows, cols = self.pixels(gsd_m, window)
        affine = Affine(
            gsd_m, 0.0, self.origin[0] + cols.start * gsd_m, 0.0, -gsd_m, self.origin[1] - rows.start * gsd_m
        )
        return GeoBox((rows.stop - rows.start, cols.stop - cols.start), affine, self.crs)

    def pixels(self, gsd_m: float, window: Window | None = None) -> Window:
        """Rows and columns of a grid, or of a window of it, as plain slices of step 1.

        Parameters
        ----------
        gsd_m : float
            Pixel size in metres.
        window : (slice, slice), optional
            Rows and columns of the whole grid; the whole grid by default.

        Raises
        ------
        ParameterError
            If no pixel lies inside the scene, or the window is empty or has steps.
        """
        if not (math.isfinite(gsd_m) and gsd_m > 0):
            raise ParameterError(f"gsd_m={gsd_m}; expected a positive number of metres. Give the pixel size.")
        shape = [math.floor(extent / gsd_m + 1e-6) for extent in self.extent_m]
        if min(shape) < 1:
            raise ParameterError(f"gsd_m={gsd_m} is coarser than the scene; expected a pixel inside. Make it finer.")
        if window is None:
            return slice(0, shape[0]), slice(0, shape[1])
        bounds = []
        for part, count in zip(window, shape, strict=True):
            start, stop, step = part.indices(count)
            if step != 1 or stop <= start:
                raise ParameterError(f"window={window}; expected two non-empty slices of step 1 within {tuple(shape)}.")
            bounds.append(slice(start, stop))
        return bounds[0], bounds[1]
