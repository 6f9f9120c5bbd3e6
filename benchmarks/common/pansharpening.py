"""Classical ways to bring coarse bands to the grid of sharp ones, short and as published, to compare with.

Every method gets the sharp bands, the coarse bands in their own pixels, and the response by which a coarse band is
observed (`xsr.kernels.degrade.BandOptics`, from the grid to its own pixels and back by bicubic interpolation).

References
----------
GSA: B. Aiazzi, S. Baronti, M. Selva, IEEE TGRS 45 (2007), doi:10.1109/TGRS.2007.901007, with several sharp bands.
MTF-GLP-HPM: B. Aiazzi et al., PE&RS 72 (2006), doi:10.14358/PERS.72.5.591; G. Vivone et al., IEEE TGRS 53 (2015),
doi:10.1109/TGRS.2014.2361734, with the sharp image that a regression makes of all sharp bands (hypersharpening).
ATPRK: Q. Wang, W. Shi, P. Atkinson, Y. Zhao, Remote Sensing of Environment 166 (2015), doi:10.1016/j.rse.2015.06.003.
ResSR: H. Duba-Sullivan et al., "ResSR: a computationally efficient residual approach to super-resolving multispectral
images", arXiv:2408.13225 (its idea: a low-rank fit, then the residual).
QNR: L. Alparone et al., PE&RS 74 (2008), doi:10.14358/PERS.74.2.193. Khan: M. M. Khan, L. Alparone, J. Chanussot, IEEE
TGRS 47 (2009), doi:10.1109/TGRS.2009.2029094. Of several sharp bands, the one that is most alike counts for each band.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.kriging import area_to_point, of_pixels
from xsr.core.blocks import Span
from xsr.kernels.degrade import BandOptics, observe
from xsr.kernels.resample import interpolate_filled

Image = NDArray[np.float64]
WINDOW = 16
"""Side of the windows of quality indices, in pixels of whichever image."""
COMPONENTS, COARSE_WEIGHT = 5, 0.1
"""Main components of a low-rank fit, and the weight in it of interpolated bands against sharp ones."""


@dataclass(frozen=True)
class Pair:
    """Sharp bands and coarse ones of one date."""

    sharp: Image
    """Shape (band, h, w)."""
    low: Image
    """Coarse bands, interpolated to the grid, shape (band, h, w)."""
    own: Image
    """Their own pixels, shape (band, h / side, w / side)."""
    optics: Sequence[BandOptics]
    """How each coarse band is observed."""
    side: int
    """Of the own pixels of the coarse bands, in pixels of the grid."""

    @classmethod
    def of(cls, sharp: Image, own: Image, optics: Sequence[BandOptics], side: int) -> "Pair":
        """Coarse bands in their own pixels are brought to the grid by bicubic interpolation."""
        rows, cols = ((np.arange(side * size) + 0.5) / side - 0.5 + 2 for size in own.shape[1:])
        padded = np.pad(own.astype(np.float32), ((0, 0), (2, 2), (2, 2)), mode="edge")
        return cls(sharp, interpolate_filled(padded, rows, cols, "bicubic").astype(float), own, optics, side)

    def blurred(self, images: Image, band: int) -> Image:
        """Images as the coarse band would show them, interpolated to the grid."""
        return observed(images, self.optics[band], images.shape[1:])

    def in_own(self, images: Image, band: int) -> Image:
        """Images as the coarse band would show them, in its own pixels."""
        height, width = (size // self.side for size in images.shape[1:])
        return observed(images, self.optics[band].own, (height, width))


def observed(images: NDArray[np.floating], optics: BandOptics, shape: tuple[int, ...]) -> Image:
    """Observe images (n, h, w) on a grid of so many rows and columns."""
    rows, cols = (Span(0, size) for size in shape)
    return observe(images.astype(np.float32), optics, rows=rows, cols=cols).astype(np.float64)


def _regressed(guide: Image, image: Image) -> tuple[Image, float]:
    """Slopes and constant of the global regression of an image on guides."""
    x, y = guide.reshape(len(guide), -1), image.ravel()
    centred = x - x.mean(axis=1, keepdims=True)
    slopes = np.linalg.solve(centred @ centred.T + 1e-9 * x.shape[1] * np.eye(len(x)), centred @ (y - y.mean()))
    return slopes, float(y.mean() - slopes @ x.mean(axis=1))


def bicubic(pair: Pair) -> Image:
    """Interpolation alone."""
    return pair.low


def gsa(pair: Pair) -> Image:
    """Global regression on all sharp bands, with injected detail."""
    out = pair.low.copy()
    for band, image in enumerate(pair.low):
        smooth = pair.blurred(pair.sharp, band)
        slopes, _ = _regressed(smooth, image)
        out[band] += np.tensordot(slopes, pair.sharp - smooth, axes=1)
    return out


def glp_hpm(pair: Pair) -> Image:
    """Multiplied by what a sharp image, made by regression, has over its own low-pass image."""
    out = pair.low.copy()
    for band, image in enumerate(pair.low):
        slopes, constant = _regressed(pair.blurred(pair.sharp, band), image)
        made = np.tensordot(slopes, pair.sharp, axes=1) + constant
        soft = pair.blurred(made[None], band)[0]
        out[band] = image * np.clip(made / np.maximum(soft, 1e-4), 0.2, 5.0)
    return out


def atprk(pair: Pair) -> Image:
    """Global regression on sharp bands, and area-to-point kriging of its residuals."""
    out = np.empty_like(pair.low)
    for band, own in enumerate(pair.own):
        slopes, constant = _regressed(pair.in_own(pair.sharp, band), own)
        trend = np.tensordot(slopes, pair.sharp, axes=1) + constant
        residual = own - pair.in_own(trend[None], band)[0]
        out[band] = trend + area_to_point(residual, of_pixels(residual, pair.side))
    return out


def low_rank(pair: Pair) -> Image:
    """Fit of the main components of all bands to each pixel, the sharp bands first, and the residual of coarse ones."""
    both = np.concatenate([pair.in_own(pair.sharp, 0), pair.own]).reshape(len(pair.sharp) + len(pair.low), -1)
    mean = both.mean(axis=1)
    vectors = np.linalg.svd(both - mean[:, None], full_matrices=False)[0][:, :COMPONENTS]
    known = np.concatenate([pair.sharp, pair.low]) - mean[:, None, None]
    weight = np.concatenate([np.ones(len(pair.sharp)), np.full(len(pair.low), COARSE_WEIGHT)])
    fitted = np.linalg.solve((vectors.T * weight) @ vectors, vectors.T * weight)
    made = np.tensordot(vectors @ fitted, known, axes=1)[len(pair.sharp) :] + mean[len(pair.sharp) :, None, None]
    out = np.empty_like(made)
    for band, image in enumerate(made):
        out[band] = image + pair.low[band] - pair.blurred(image[None], band)[0]
    return out


METHODS: dict[str, Callable[[Pair], Image]] = {
    "bicubic": bicubic,
    "GSA": gsa,
    "MTF-GLP-HPM": glp_hpm,
    "ATPRK": atprk,
    "low rank": low_rank,
}
"""By the name in tables."""


# --- without a truth ------------------------------------------------------------------------------------------------


def _alike(one: Image, two: Image) -> float:
    """Universal image quality index of two images (h, w), mean over windows of `WINDOW` pixels."""
    height, width = (size // WINDOW * WINDOW for size in one.shape)
    cells = [
        image[:height, :width].reshape(height // WINDOW, WINDOW, width // WINDOW, WINDOW).swapaxes(1, 2)
        for image in (one, two)
    ]
    a, b = (cell.reshape(-1, WINDOW * WINDOW) for cell in cells)
    mean_a, mean_b = a.mean(axis=1), b.mean(axis=1)
    both = ((a - mean_a[:, None]) * (b - mean_b[:, None])).mean(axis=1)
    below = (a.var(axis=1) + b.var(axis=1)) * (mean_a**2 + mean_b**2)
    return float(np.mean(4 * both * mean_a * mean_b / np.maximum(below, 1e-15)))


def _nearest(pair: Pair, band: int) -> int:
    """Sharp band that is most like a coarse one in its own pixels."""
    own = [np.corrcoef(one.ravel(), pair.own[band].ravel())[0, 1] for one in pair.in_own(pair.sharp, band)]
    return int(np.argmax(own))


def _spatial(pair: Pair, made: Image) -> float:
    """Change of how alike bands and their nearest sharp ones are, from own pixels to the grid."""
    change = []
    for band, image in enumerate(made):
        sharp = pair.sharp[_nearest(pair, band)]
        change.append(abs(_alike(image, sharp) - _alike(pair.own[band], pair.in_own(sharp[None], band)[0])))
    return float(np.mean(change))


def qnr(pair: Pair, made: Image) -> float:
    """Quality with no reference: 1 where bands stay as alike to one another, and to sharp ones, as in own pixels."""
    count = len(made)
    change = [abs(_alike(made[i], made[j]) - _alike(pair.own[i], pair.own[j])) for i in range(count) for j in range(i)]
    return (1 - float(np.mean(change))) * (1 - _spatial(pair, made))


def khan(pair: Pair, made: Image) -> float:
    """Khan's index: the result observed again is like its input, and bands stay as alike to sharp ones."""
    again = [_alike(pair.in_own(made[[band]], band)[0], pair.own[band]) for band in range(len(made))]
    return float(np.mean(again)) * (1 - _spatial(pair, made))
