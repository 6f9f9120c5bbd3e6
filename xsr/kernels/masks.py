"""Masks as arrays: growing what is not valid."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Padding


def shrink_valid(valid: NDArray[np.bool_], radius_px: float, *, aspect: float = 1.0) -> NDArray[np.bool_]:
    """Make pixels invalid whose centre lies within a radius of the centre of an invalid one.

    Parameters
    ----------
    valid
        Mask (h, w).
    radius_px
        Radius in pixels along x, >= 0.
    aspect
        Height of a pixel in widths of it.

    Examples
    --------
    >>> shrink_valid(np.array([[True, True, True, False]]), 1.0)
    array([[ True,  True, False, False]])
    """
    from scipy.ndimage import distance_transform_edt

    if valid.all():
        return valid
    return np.asarray(distance_transform_edt(valid, sampling=(aspect, 1.0)) > radius_px + 1e-9) & valid


@dataclass(frozen=True)
class Shrinking:
    """Block function: shrink a mask, 1 = valid, on its own grid."""

    radius_px: float
    """Radius in pixels along x."""
    aspect: float = 1.0
    """Height of a pixel in widths of it."""
    padding: Padding = "edge"

    @property
    def halo(self) -> int:
        """Pixels needed around a block: as far as an invalid pixel reaches."""
        return math.ceil(self.radius_px / min(self.aspect, 1.0))

    def __call__(
        self,
        window: NDArray[np.float32],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> NDArray[np.float32]:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        y, x = np.rint(rows).astype(np.int64), np.rint(cols).astype(np.int64)
        out = np.empty((*window.shape[:2], y.size, x.size), np.float32)
        for date, band in np.ndindex(window.shape[:2]):
            shrunk = shrink_valid(window[date, band] > 0.5, self.radius_px, aspect=self.aspect)
            out[date, band] = shrunk[np.ix_(y, x)]
        return out
