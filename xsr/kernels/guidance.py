"""Sharpening without a network: local and scene-wide linear relations between a coarse image and its guide.

Relations are found on the coarse grid, where image and averaged guide show the same detail, and are applied to the
guide on the fine grid. (Found between the enlarged image and the fine guide they would be too weak: the guide's fine
detail adds to its variance, and the enlarged image has none to go with it.)

References
----------
K. He, J. Sun, X. Tang, "Guided image filtering", IEEE TPAMI 35 (2013), doi:10.1109/TPAMI.2012.213; K. He, J. Sun,
"Fast guided filter" (2015), arXiv:1505.00996: the relations on the coarse grid. N. Agam et al., "A vegetation index
based technique for spatial sharpening of thermal imagery", Remote Sensing of Environment 107 (2007),
doi:10.1016/j.rse.2006.10.006.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xsr.core.blocks import Padding


def normalised_difference(red: ArrayLike, nir: ArrayLike) -> NDArray[np.float32]:
    """Vegetation index ``(nir - red) / (nir + red)``; NaN where the sum is not positive.

    Examples
    --------
    >>> normalised_difference(0.25, 0.75).item()
    0.5
    """
    red, nir = np.asarray(red, np.float32), np.asarray(nir, np.float32)
    total = red + nir
    known = total > 0
    out: NDArray[np.float32] = np.where(known, (nir - red) / np.where(known, total, 1), np.float32(np.nan))
    return out


def slope(count: ArrayLike, x: ArrayLike, y: ArrayLike, xx: ArrayLike, xy: ArrayLike) -> NDArray[np.float64]:
    """Slope of the least-squares line through points, from their sums; zero where ``x`` does not vary.

    Parameters
    ----------
    count, x, y, xx, xy
        Number of points and sums of x, y, x^2 and x y, any shape, float64.

    Examples
    --------
    The points (0, 1), (1, 3), (2, 5):

    >>> float(slope(3, 3.0, 9.0, 5.0, 13.0))
    2.0
    """
    n, x, y, xx, xy = (np.asarray(v, np.float64) for v in (count, x, y, xx, xy))
    spread = n * xx - x * x
    varies = spread > 1e-12 * np.maximum(n * xx, 1e-300)
    return np.where(varies, (n * xy - x * y) / np.where(varies, spread, 1), 0.0)


@dataclass(frozen=True)
class LocalRelation:
    """Block function: the linear relation of an image to its guide around every pixel (He 2013, eqs. 14, 15 and 16).

    Reads an image and the bands of its guide on one grid. Returns, on that grid, the offset in place of the image
    and the coefficient of each band in place of the band; NaN where image or guide are not valid.
    """

    radius: int
    """Half-side of the square windows, pixels."""
    epsilon: float
    """Added to the variance of each band, in its squared units: the larger, the fewer details are taken over."""
    padding: Padding = "reflect"

    @property
    def halo(self) -> int:
        """Pixels needed around a block: the relation of a window is averaged over the windows that hold a pixel."""
        return 2 * self.radius

    def __call__(
        self,
        window: NDArray[np.float32],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> NDArray[np.float32]:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        y, x = np.rint(rows).astype(np.int64), np.rint(cols).astype(np.int64)
        relations = [relation(date[0], date[1:], radius=self.radius, epsilon=self.epsilon) for date in window]
        return np.stack(relations)[:, :, y[:, None], x].astype(np.float32)


def relation(
    image: NDArray[np.floating], guide: NDArray[np.floating], *, radius: int, epsilon: float
) -> NDArray[np.float64]:
    """Linear relation of an image to the bands of its guide around every pixel.

    Parameters
    ----------
    image
        Shape (h, w); NaN is no data.
    guide
        Shape (band, h, w); a pixel counts where every band is valid.
    radius, epsilon
        See `LocalRelation`.

    Returns
    -------
    ndarray
        Offset and coefficient of each band, shape (1 + band, h, w), so that ``offset + sum(coefficient * guide)`` is
        the filtered image; NaN where a pixel does not count.
    """
    valid = np.isfinite(image) & np.isfinite(guide).all(axis=0)
    if not valid.any():
        return np.full((1 + len(guide), *image.shape), np.nan)
    # Sums of squares of small numbers lose nothing: both are counted from one of their values.
    origin = np.array([v[valid][0] for v in (image, *guide)], np.float64)
    p, *bands = (np.where(valid, v - o, 0.0) for v, o in zip((image, *guide), origin, strict=True))
    g = np.stack(bands)
    count = _box(valid.astype(np.float64), radius)
    n = np.where(count > 0.5, count, 1)
    mean_p, mean_g = _box(p, radius) / n, np.stack([_box(v, radius) for v in g]) / n
    size = len(g)
    covariance = np.stack([_box(v * p, radius) / n - m * mean_p for v, m in zip(g, mean_g, strict=True)], axis=-1)
    variance = np.empty((*image.shape, size, size))
    for i in range(size):
        for j in range(i + 1):
            variance[..., i, j] = variance[..., j, i] = _box(g[i] * g[j], radius) / n - mean_g[i] * mean_g[j]
    variance[..., range(size), range(size)] += epsilon
    a = np.moveaxis(np.linalg.solve(variance, covariance[..., None])[..., 0], -1, 0)  # eq. 14
    b = mean_p - (a * mean_g).sum(axis=0)  # eq. 15
    some = count > 0.5
    windows = np.maximum(_box(some.astype(np.float64), radius), 1)
    a = np.stack([_box(np.where(some, v, 0), radius) for v in a]) / windows  # eq. 16
    b = _box(np.where(some, b, 0), radius) / windows + origin[0] - (a * origin[1:, None, None]).sum(axis=0)
    return np.where(valid, np.concatenate((b[None], a)), np.nan)


def _box(image: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Sum over squares of ``2 radius + 1`` pixels; nothing lies beyond the border."""
    from scipy.ndimage import correlate1d

    ones = np.ones(2 * radius + 1)
    down = correlate1d(image, ones, axis=0, mode="constant")
    return np.asarray(correlate1d(down, ones, axis=1, mode="constant"))
