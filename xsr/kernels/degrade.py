"""Degradation of an image by a sensor's point spread function and coarser sampling.

The Gaussian of standard deviation ``sigma = s / pi * sqrt(-2 ln m)`` high-resolution pixels has the value
``m`` at the Nyquist frequency of a grid ``s`` times coarser. It is centred on the low-resolution pixel's
centre, which for an even factor lies between pixels.
"""

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import padded_index
from xsr.core.sensors import sigma_px
from xsr.kernels.resample import Taps, gaussian_taps, resample


def blur_decimate(image: NDArray[np.float32], *, scale: float, mtf: float) -> NDArray[np.float32]:
    """Blur and decimate one band by ``scale``, borders reflected.

    Parameters
    ----------
    image
        Stack (n, h, w) of one band; finite values.
    scale
        Factor between the grids, >= 1; need not be an integer.
    mtf
        Modulation transfer of the simulated sensor at its own Nyquist frequency, in (0, 1).

    Returns
    -------
    ndarray
        Stack (n, floor(h / scale), floor(w / scale)); the top-left corners of both grids coincide.
    """
    sigma = sigma_px(mtf, scale)
    height, width = image.shape[-2:]
    rows, row_index = _axis(height, scale, sigma)
    cols, col_index = _axis(width, scale, sigma)
    return resample(image[:, row_index[:, None], col_index], rows, cols)


def _axis(size: int, scale: float, sigma: float) -> tuple[Taps, NDArray[np.int64]]:
    count = int(np.floor(size / scale + 1e-6))
    centre = (np.arange(count, dtype=np.float64) + 0.5) * scale - 0.5
    taps = gaussian_taps(centre, sigma)
    before = max(0, -int(taps.start[0]))
    after = max(0, int(taps.start[-1]) + taps.weight.shape[1] - size)
    index = padded_index(-before, size + after, size, "reflect")
    return Taps(taps.start + before, taps.weight), index
