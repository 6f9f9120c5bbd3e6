"""Images held to what a sensor observes of them: means weighted by a response that is wider than a pixel.

With D the sensor along one axis an image x becomes ``x + M_y e M_x^T``, ``M = D^T (D D^T)^-1``,
``e = y - D_y x D_x^T``: of all images that the sensor observes as y the nearest one; see `xsr.kernels.consistency`. The
grids need not share a corner, and around no data the correction is repeated.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span, padded_index
from xsr.kernels.consistency import LEAST, REACH
from xsr.kernels.decimate import MIN_VALID
from xsr.kernels.footprint import Axis, Conserving, raised, root
from xsr.kernels.psf import Gaussian, gaussian, sample

Matrix = NDArray[np.float64]
REPEATS = 12
"""Corrections of an image with gaps: the pixels beside a gap cannot take their share."""


@dataclass(frozen=True)
class ConservingResponse(Conserving):
    """Block function: as `Conserving`, with the weights of a Gaussian response for the area of a pixel.

    Coarse pixels that lie wholly within the fine grid are held; beyond its border it is mirrored, as `xsr.degrade` has
    it.
    """

    mtf: float = 0.3
    """Modulation transfer at the Nyquist frequency of the coarse pixels."""

    @property
    def overlap(self) -> float:
        """One: the correction is exact whatever the grids."""
        return 1.0

    @property
    def halo(self) -> int:
        """Fine pixels around a block on which its corrections depend."""
        reach = max(_gaussian(self.mtf, axis).reach for axis in (self.rows, self.cols))
        return int(np.ceil(REACH / min(self.rows.cell, self.cols.cell) + reach))

    def hold(self, image: Matrix, near: Matrix, rows: Span, cols: Span) -> Matrix:
        """Correct one image; see `Conserving.hold`."""
        if not (len(self.rows.whole(rows)) and len(self.cols.whole(cols))):
            return image
        (down, lift), (across, widen) = (
            matrices(axis, span, self.mtf) for axis, span in ((self.rows, rows), (self.cols, cols))
        )
        goal = raised(near[np.ix_(self.rows.inside(rows), self.cols.inside(cols))], self.power)
        valid = np.isfinite(image) & self._within(rows, cols)
        x = np.where(valid, raised(np.where(valid, image, 0.0), self.power), 0.0)
        share = down @ valid.astype(np.float64) @ across.T
        known = np.isfinite(goal) & (share >= MIN_VALID)
        share = np.where(known, share, 1.0)
        for _ in range(1 if bool(known.all() and np.allclose(share, 1)) else REPEATS):
            missing = np.where(known, np.where(known, goal, 0.0) - down @ x @ across.T / share, 0.0)
            x += valid * (lift @ missing @ widen.T)
        return np.where(valid, root(x, self.power), image)


def _gaussian(mtf: float, axis: Axis) -> Gaussian:
    """Response in fine pixels."""
    return gaussian(mtf, 1 / axis.cell)


@lru_cache(maxsize=32)
def matrices(axis: Axis, span: Span, mtf: float) -> tuple[Matrix, Matrix]:
    """D (coarse pixels wholly within, fine pixels of a range) and M."""
    whole = axis.whole(span)
    position = (np.arange(whole.start, whole.stop, dtype=np.float64) + 0.5 - axis.origin) / axis.cell - 0.5
    taps = sample(position, _gaussian(mtf, axis), cell=1 / axis.cell)
    pixel = taps.start[:, None] + np.arange(taps.weight.shape[1])
    first = int(pixel.min())
    folded = padded_index(first, int(pixel.max()) + 1, axis.size, "reflect")[pixel - first] - span.start
    sensor = np.zeros((len(whole), len(span)))
    np.add.at(sensor, (np.arange(len(whole))[:, None], np.clip(folded, 0, len(span) - 1)), taps.each)
    values, vectors = np.linalg.eigh(sensor @ sensor.T)
    kept = values > LEAST * values[-1]
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    return sensor, np.asarray(sensor.T @ inverse)
