"""The correction by which a result, observed again, is its input: what is least to add.

With D the sensor along one axis, from the pixels of the result to those of a band, an image x becomes ``x + M e``,
``M = D^T (D D^T)^-1``, ``e = y - D x``: of all images with ``D x = y`` the nearest one. D works on rows and columns
apart, and so does M. ``(D D^T)^-1`` has no end, but falls off by a factor of two or so a pixel: `REACH` pixels are
enough.
"""

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span, padded_index
from xsr.kernels.psf import Stage, sample_chain

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
