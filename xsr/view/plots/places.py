"""Where a picture shows most: windows whose numbers are steep, and whole."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def steepest(picture: NDArray[Any], side: int, count: int) -> list[tuple[float, float]]:
    """Middles (x, y) of the windows of a picture that are steepest in the mean, in pixels from its corner.

    Parameters
    ----------
    picture
        Numbers (band, y, x); NaN is no data. Windows with no data in them are not chosen unless there are no others.
    side
        Side of a window in pixels, cut to the picture.
    count
        Windows that do not overlap; fewer are found where there are no more.
    """
    from scipy.ndimage import uniform_filter

    grey = picture.mean(axis=0)
    valid = np.isfinite(grey)
    height, width = (min(side, size) for size in grey.shape)
    filled = np.where(valid, grey, grey[valid].mean() if valid.any() else 0)
    slopes = sum(np.abs(np.diff(filled, axis=axis, append=_last(filled, axis))) for axis in (0, 1))
    steep = uniform_filter(np.asarray(slopes, np.float64), (height, width), mode="constant")
    whole = uniform_filter(valid.astype(np.float64), (height, width), mode="constant")
    score = steep - (1 - whole) * (1 + steep.max())
    score = _inside(score, height, width)
    found: list[tuple[float, float]] = []
    for _ in range(count):
        row, col = (int(one) for one in np.unravel_index(int(np.argmax(score)), score.shape))
        if not np.isfinite(score[row, col]):
            break
        found.append((col + 0.5 * (width % 2), row + 0.5 * (height % 2)))
        score[max(0, row - height + 1) : row + height, max(0, col - width + 1) : col + width] = -np.inf
    return found


def _last(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Last row or column, so that the differences have the shape of the numbers."""
    return np.take(values, [-1], axis=axis)


def _inside(score: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Score of middles whose window lies inside, -inf of the others."""
    out = np.full_like(score, -np.inf)
    rows = slice(height // 2, score.shape[0] - (height - 1) // 2)
    cols = slice(width // 2, score.shape[1] - (width - 1) // 2)
    out[rows, cols] = score[rows, cols]
    return out
