"""By how much a guide is displaced against a temperature image."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import graph
from xsr.core.blocks import Window
from xsr.core.graph import Job
from xsr.core.grid import resolution
from xsr.core.ground import pixel_size_m
from xsr.kernels.registration import find_shift, spread_windows
from xsr.operations.guided.planes import Planes


def measure(low: Planes, guide: Planes) -> Any:
    """Displacement of a guide on the grid of a temperature: pixels down and right, shape (time, 2); lazy if one is.

    Images of the strength of the gradient are compared, so that it does not matter whether what is bright in one is
    dark in the other. NaN where there is too little texture.
    """
    rows, cols = (spread_windows(low.data.sizes[axis]) for axis in ("y", "x"))
    jobs = tuple(Job(y, x, (Window(y, x), Window(y, x))) for y, x in product(rows, cols))
    return graph.reduce_windows(Search(jobs), [low.data.data, guide.data.data], jobs, (2,), name="coregister")


@dataclass(frozen=True)
class Search:
    """Reduction: the shifts of all windows, then their median."""

    jobs: tuple[Job, ...]

    def __call__(self, job: Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Shift of one window, at its place among those of all windows; shape (window, 2)."""
        found = np.zeros((len(self.jobs), 2))
        found[self.jobs.index(job)] = find_shift(_strength(windows[0]), _strength(windows[1]))[:2]
        return found

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Median over windows; NaN where none has a shift."""
        known = total[np.isfinite(total).all(axis=1)]
        return np.median(known, axis=0) if known.size else np.full(2, np.nan)


def _strength(bands: NDArray[np.floating]) -> NDArray[np.float64]:
    """Strength of the gradient, (h, w), over bands (band, h, w) of which each counts alike."""
    total = np.zeros(bands.shape[1:])
    if min(total.shape) < 2:
        return np.full(total.shape, np.nan)
    for band in bands.astype(np.float64):
        spread = np.std(band[np.isfinite(band)]) if np.isfinite(band).any() else 0.0
        total += np.hypot(*np.gradient(band)) / (spread if spread > 0 else 1.0)
    return total


def displaced(geobox: GeoBox, low: GeoBox, down: float, right: float) -> GeoBox:
    """Grid on which a guide shows what belongs on ``geobox``, if it is displaced by some pixels of ``low``."""
    east, north = _in_crs(low, down, right)
    return GeoBox(geobox.shape, Affine.translation(east, north) @ geobox.affine, geobox.crs)


def in_metres(low: GeoBox, shifts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Displacements to the north and to the east in metres, (time,) each, of pixels down and right (time, 2)."""
    east, north = _in_crs(low, shifts[:, 0], shifts[:, 1])
    down_m, across_m = (m / size for m, size in zip(pixel_size_m(low), resolution(low), strict=True))
    return north * down_m, east * across_m


def _in_crs(low: GeoBox, down: Any, right: Any) -> tuple[Any, Any]:
    a = low.affine
    return a.a * right + a.b * down, a.d * right + a.e * down
