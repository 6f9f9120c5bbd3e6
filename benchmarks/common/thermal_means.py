"""What sharpened temperatures keep of their input, and whether its pixels show in them."""

import numpy as np
from numpy.typing import NDArray

from common.thermal_scores import Pair
from xsr.core.temperature import open_temperature
from xsr.kernels.degrade import blur_decimate
from xsr.operations.guided.planes import planes
from xsr.operations.guided.steps import Steps

POWER = 4
"""Of the temperature in its radiance."""


def held(pair: Pair, image: NDArray[np.float32], mtf: float | None) -> NDArray[np.float32]:
    """Conserve radiance in an image (y, x), as ``guided(conserve="radiance", mtf=mtf)`` does in what it makes."""
    steps = Steps.plan(open_temperature(pair.low, None), pair.truth.odc.geobox, image.shape[:2])
    done = steps.hold(planes(image[None, None]), steps.holding(POWER, mtf))
    return np.asarray(done.values[0, 0], np.float32)


def deviation_k(pair: Pair, image: NDArray[np.float32], mtf: float | None) -> float:
    """Largest difference of an image, observed again, from its input: kelvin of equal radiance.

    Parameters
    ----------
    pair
        Input.
    image
        Sharpened, shape (y, x).
    mtf
        Of the sensor at the Nyquist frequency of its pixels; None for means over their area. Pixels that see no data
        are left out.
    """
    side, low = pair.scale, pair.low.values[0].astype(np.float64)
    radiance = image.astype(np.float64) ** POWER
    if mtf is None:
        height, width = low.shape
        again = radiance.reshape(height, side, width, side).mean(axis=(1, 3))
    else:
        mean = np.nanmean(radiance)
        share = blur_decimate(np.isfinite(image)[None].astype(np.float32), scale=side, mtf=mtf)[0]
        filled = np.where(np.isfinite(radiance), radiance / mean - 1, 0).astype(np.float32)
        again = np.where(share > 1 - 1e-5, (blur_decimate(filled[None], scale=side, mtf=mtf)[0] + 1.0) * mean, np.nan)
    return float(np.nanmax(np.abs(again ** (1 / POWER) - low)))


def block_pattern(image: NDArray[np.floating], side: int) -> float:
    """Mean step across borders of coarse pixels over that just inside them, both axes: 1 where they do not show."""
    across, beside = [], []
    for one in (image, image.T):
        step = np.abs(np.diff(one.astype(np.float64), axis=0))
        place = np.arange(1, one.shape[0]) % side
        across.append(step[place == 0].ravel())
        beside.append(step[(place == 1) | (place == side - 1)].ravel())
    return float(np.nanmean(np.concatenate(across)) / np.nanmean(np.concatenate(beside)))
