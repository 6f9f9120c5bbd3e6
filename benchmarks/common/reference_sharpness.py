"""How sharp the bands of a finer sensor are, by the panchromatic image that it made at the same time.

Both images are registered to one another. The Gaussian under which the panchromatic one resembles the mean of the
visible bands most is their point spread function. It says what an image that is sharper than the reference must lose
against it, however true it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from common.finer_sensor import PAN, VISIBLE, Pair
from common.matched_scores import ABOVE_M, BORDER_M, detail
from xsr.core import sensors

OWN_M = 1.1
"""Width of the panchromatic image itself: an MTF of 0.2 at 1.5 m, and the mean of two pixels along an axis."""
WIDTHS_M = np.arange(1.5, 9.0, 0.25)
"""Widths that are tried."""
SHIFTS = -0.5, 0.0, 0.5
"""Displacements that are tried along each axis, in pixels of the panchromatic image, at the middle width."""
MIDDLE_M = 5.0


@dataclass(frozen=True)
class Sharpness:
    """Point spread function of the bands of a reference."""

    place: str
    width_m: float
    """Standard deviation of the Gaussian."""
    correlation: float
    """Of the detail of the softened panchromatic image with that of the visible bands."""
    mtf: float
    """Response at the Nyquist frequency of the reference's own pixels."""
    perfect: float
    """RMSE of the detail of the scene itself, as sharp as Sentinel-2's bands would be at those pixels, as a share of
    that of bicubic interpolation; without noise."""


@dataclass(frozen=True)
class Panchromatic:
    """A panchromatic image under the pixels of other bands."""

    image: NDArray[np.float64]
    pixel_m: float
    shape: tuple[int, int]
    """Pixels of the bands."""

    def softened(self, width_m: float, shift: Sequence[float] = (0.0, 0.0)) -> NDArray[np.float64]:
        """Image as a Gaussian of ``width_m`` observes the scene, at the centres of the bands' pixels."""
        added = np.sqrt(max(width_m**2 - OWN_M**2, 0.0)) / self.pixel_m
        soft = ndimage.gaussian_filter(self.image, added)
        axes = [
            (np.arange(count) + 0.5) * size / count - 0.5 + by
            for count, size, by in zip(self.shape, self.image.shape, shift, strict=True)
        ]
        found: NDArray[np.float64] = ndimage.map_coordinates(soft, np.meshgrid(*axes, indexing="ij"), mode="nearest")
        return found


def sharpness(bands: Pair, pan: Pair, base: xr.DataArray) -> Sharpness:
    """Measure how sharp the bands of a reference are.

    Parameters
    ----------
    bands, pan
        The bands and the panchromatic image of one scene, of the same extent.
    base
        Bicubic interpolation on the grid of ``bands``.
    """
    below = Panchromatic(pan.reference.sel(band=PAN).values.astype(np.float64), pan.pixel_m, bands.reference.shape[1:])
    visible = inner(bands, bands.reference.sel(band=list(VISIBLE)).mean("band").values)
    resemblance = partial(_resemblance, bands, below, visible)
    _, shift = max((resemblance(MIDDLE_M, shift), shift) for shift in product(SHIFTS, SHIFTS))
    correlation, width = max((resemblance(width, shift), width) for width in WIDTHS_M)
    mtf = float(np.exp(-0.5 * (np.pi * width / bands.pixel_m) ** 2))
    return Sharpness(bands.place, float(width), correlation, mtf, _perfect(bands, below, base, width))


def _resemblance(
    bands: Pair, below: Panchromatic, visible: NDArray[np.float64], width_m: float, shift: Sequence[float]
) -> float:
    """Correlation of the detail of the softened panchromatic image with that of the visible bands."""
    return float(np.corrcoef(inner(bands, below.softened(width_m, shift)).ravel(), visible.ravel())[0, 1])


def _perfect(bands: Pair, below: Panchromatic, base: xr.DataArray, width_m: float) -> float:
    """Error of the scene itself where it is sharper than the reference, over that of bicubic interpolation."""
    table, soft, shares = sensors.get("sentinel-2"), inner(bands, below.softened(width_m)), []
    for name in bands.reference["band"].values:
        mtf = table.band(str(name)).mtf
        assert mtf is not None
        sharp = inner(bands, below.softened(sensors.sigma_px(mtf, bands.pixel_m)))
        truth, plain = (inner(bands, image.sel(band=name).values) for image in (bands.reference, base))
        gain = (soft * truth).sum() / (soft**2).sum()
        shares.append(abs(gain) * np.sqrt(((sharp - soft) ** 2).sum() / ((plain - truth) ** 2).sum()))
    return float(np.mean(shares))


def inner(bands: Pair, image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Detail of an image on the grid of a reference, without the border, as scores leave it out."""
    of = bands.reference.isel(band=[0]).copy(data=image[None].astype(np.float32))
    border = round(BORDER_M / bands.pixel_m)
    return detail(of, ABOVE_M).values[0, border:-border, border:-border].astype(np.float64)
