"""What the size of an error can be read from: how much detail a result has around a pixel, and of which kind.

Errors of super-resolution lie where detail was added, and along edges. Four images are squared and averaged over three
widths each: what was added to interpolation, the gradient, and the fine structure of the result; the coarse structure
of the interpolated image. Averages are binomial weights of three pixels at distances 1, 2 and 4, one after the other.
"""

import numpy as np
from numpy.typing import NDArray

from xsr.kernels.accelerate import jit

Image = NDArray[np.float32]
STEPS = (1, 2, 4)
"""Distances between the weights of the averages."""
COARSE = (2, 4)
"""Distances of those that the coarse structure is the difference from."""
MARGIN = sum(STEPS) + sum(COARSE)
"""Pixels around an image that its features depend on."""
LEAST = 1e-6
"""Squared value, in units of the standard deviation, that is added to each average before its logarithm."""
DARK = 0.01
"""Value, likewise, that is added to the brightness."""
COUNT = 4 * len(STEPS) + 2
"""Features of a pixel of a date by itself; at a target time it has one more."""
DAY = 1.0
"""Days that are added to the time to the nearest clear date before its logarithm."""
SMOOTH = (2, 8, 12)
"""Features that say what kind of image lies around a pixel, all bands together: the widest averages of what was added
and of the fine structure, and the brightness."""


@jit
def smoothed(image: Image, step: int) -> Image:  # pragma: no cover
    """Average with weights 1, 2, 1 at a distance along both axes; ``step`` pixels fewer along each side."""
    height, width = image.shape
    rows = np.empty((height - 2 * step, width), np.float32)
    for y in range(height - 2 * step):
        for x in range(width):
            rows[y, x] = (
                np.float32(0.25) * (image[y, x] + image[y + 2 * step, x]) + np.float32(0.5) * image[y + step, x]
            )
    out = np.empty((height - 2 * step, width - 2 * step), np.float32)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = np.float32(0.25) * (rows[y, x] + rows[y, x + 2 * step]) + np.float32(0.5) * rows[y, x + step]
    return out


@jit
def gradient_squared(image: Image) -> Image:  # pragma: no cover
    """Squared length of the gradient by central differences; one pixel fewer along each side."""
    height, width = image.shape
    out = np.empty((height - 2, width - 2), np.float32)
    for y in range(height - 2):
        for x in range(width - 2):
            down = np.float32(0.5) * (image[y + 2, x + 1] - image[y, x + 1])
            right = np.float32(0.5) * (image[y + 1, x + 2] - image[y + 1, x])
            out[y, x] = down * down + right * right
    return out


def features(fine: Image, base: Image, scale: float, out: Image | None = None, *, days: Image | None = None) -> Image:
    """Features of one band of a result.

    Parameters
    ----------
    fine
        Result in units of the band's standard deviation, finite, with `MARGIN` pixels around, shape (h, w).
    base
        Bicubic interpolation of its input, likewise.
    scale
        Pixel of the input in pixels of the result.
    out
        Where to write them; by default a new array.
    days
        At a target time: from each pixel to its nearest clear date, with the same pixels around.

    Returns
    -------
    ndarray
        Shape (feature, h - 2 `MARGIN`, w - 2 `MARGIN`): logarithms of the averages, from the narrowest to the widest,
        of the four images in turn; of the brightness; of those days; and of the scale.
    """
    coarse = base
    for step in COARSE:
        coarse = smoothed(coarse, step)
    images = (
        (fine - base) ** 2,
        gradient_squared(fine),
        (_inner(fine, STEPS[0]) - smoothed(fine, STEPS[0])) ** 2,
        (_inner(base, sum(COARSE)) - coarse) ** 2,
    )
    shape = tuple(size - 2 * MARGIN for size in fine.shape)
    out = np.empty((COUNT + (days is not None), *shape), np.float32) if out is None else out
    number = 0
    for image in images:
        for step in STEPS:
            image = smoothed(image, step)
            out[number] = _inner(image, (image.shape[0] - shape[0]) // 2)
            number += 1
    out[:number] += np.float32(LEAST)
    np.log(out[:number], out=out[:number])
    out[:number] *= np.float32(0.5)
    out[number] = np.log(np.abs(_inner(base, MARGIN)) + np.float32(DARK))
    if days is not None:
        out[number + 1] = np.log(_inner(days, MARGIN) + np.float32(DAY))
    out[-1] = np.log(scale)
    return out


@jit
def confined(known: Image, least: Image, greatest: Image) -> Image:  # pragma: no cover
    """Bring features (feature, y, x) into a range, in place, and say how far beyond it they were.

    Parameters
    ----------
    known
        See `features`.
    least, greatest
        Range of each feature but the last, the scale.

    Returns
    -------
    ndarray
        Shape (y, x): by how much the feature that is farthest above its range exceeds it; 0 where none does. Features
        are logarithms: log 2 is twice as much structure or brightness as the range has.
    """
    out = np.zeros((known.shape[1], known.shape[2]), np.float32)
    for k in range(len(least)):
        for y in range(out.shape[0]):
            for x in range(out.shape[1]):
                value = known[k, y, x]
                out[y, x] = max(out[y, x], value - greatest[k])
                known[k, y, x] = min(max(value, least[k]), greatest[k])
    return out


def rooted(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower triangle L of which Lᵀ L is the inverse of a covariance."""
    found: NDArray[np.float64] = np.linalg.inv(np.linalg.cholesky(covariance))
    return found


def squared_distance(off: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared Mahalanobis distance of rows (n, feature), their mean taken off."""
    found: NDArray[np.float64] = ((off @ rooted(covariance).T) ** 2).sum(axis=1)
    return found


@jit
def unlikeness(known: Image, middle: Image, root: Image) -> Image:  # pragma: no cover
    """Squared length of ``root`` times features (feature, y, x) less their ``middle``, (feature,); shape (y, x).

    ``root`` is a lower triangle; see `rooted`.
    """
    count, height, width = known.shape
    out = np.zeros((height, width), np.float32)
    part = np.empty(width, np.float32)
    for y in range(height):
        for row in range(count):
            part[:] = 0
            for k in range(row + 1):
                factor, mean = root[row, k], middle[k]
                for x in range(width):
                    part[x] += factor * (known[k, y, x] - mean)
            for x in range(width):
                out[y, x] += part[x] * part[x]
    return out


@jit
def scaled(error: Image, middles: Image, factors: Image) -> Image:  # pragma: no cover
    """Errors (date, y, x) times a factor that is interpolated in their logarithm between ``middles``, (n,), which rise.

    Beyond the first and the last the factor is theirs.
    """
    out = np.empty_like(error)
    at, last = np.log(middles), len(middles) - 1
    for n in range(error.shape[0]):
        for y in range(error.shape[1]):
            for x in range(error.shape[2]):
                value = error[n, y, x]
                place = np.log(value)
                part = 0
                while part < last - 1 and place > at[part + 1]:
                    part += 1
                share = (place - at[part]) / (at[part + 1] - at[part])
                share = min(max(share, np.float32(0)), np.float32(1))
                out[n, y, x] = value * (factors[part] + share * (factors[part + 1] - factors[part]))
    return out


def _inner(image: Image, edge: int) -> Image:
    """Cut off an edge."""
    return image[edge : image.shape[0] - edge, edge : image.shape[1] - edge]
