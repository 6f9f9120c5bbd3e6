"""Weights of a separable sum along one axis: what interpolation, blur and decimation all come down to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Taps:
    """Weights of consecutive source pixels for every output along one axis."""

    start: NDArray[np.int64]
    """First source pixel of each output, shape (n,)."""
    weight: NDArray[np.float64]
    """Weights of the pixels from there on, shape (rows, taps); a row for each output, or for each phase."""
    phase: NDArray[np.int64] | None = None
    """Row of ``weight`` of each output, shape (n,): outputs of one phase share theirs. None: each has its own."""

    @property
    def row(self) -> NDArray[np.int64]:
        """Row of ``weight`` of each output, shape (n,)."""
        return np.arange(self.start.size) if self.phase is None else self.phase

    @property
    def each(self) -> NDArray[np.float64]:
        """Weights of each output, shape (n, taps)."""
        return self.weight if self.phase is None else self.weight[self.phase]

    def moved(self, by: int) -> "Taps":
        """Count source pixels from another one: the same weights, ``by`` pixels later."""
        return Taps(self.start + by, self.weight, self.phase)

    def matrix(self, size: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Write the weights as a matrix for an axis of ``size`` source pixels.

        Returns
        -------
        matrix : ndarray
            Shape (n, size); rows that reach beyond the axis lose what lies there.
        inside : ndarray
            Whether a row lies inside the axis, shape (n,).
        """
        weight = self.each
        index = self.start[:, None] + np.arange(weight.shape[1])
        outside = ((index < 0) | (index >= size)) & (weight != 0)
        matrix = np.zeros((self.start.size, size))
        row = np.broadcast_to(np.arange(self.start.size)[:, None], index.shape)
        np.add.at(matrix, (row, np.clip(index, 0, size - 1)), np.where(outside, 0.0, weight))
        return matrix, np.asarray(~outside.any(axis=1), np.bool_)
