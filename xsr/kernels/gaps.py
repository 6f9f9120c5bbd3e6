"""Gaps of the dates of a series, filled from the other dates by how those differ around the gap.

Between two dates a neighbourhood changes much alike: by season, by haze, by the height of the sun. Where one date is
hidden, the pixels around that are valid on both dates give the change that turns the other into an estimate of it.

References
----------
J. Chen et al., "A simple and effective method for filling gaps in Landsat ETM+ SLC-off images", Remote Sensing of
Environment 115 (2011), doi:10.1016/j.rse.2010.12.010: gaps predicted from the pixels around them and another date.
Here the relation is a line, and all dates contribute, each weighted by how well its line fits. The line with its
shrunken slope is that of K. He, J. Sun, X. Tang, IEEE TPAMI 35 (2013), doi:10.1109/TPAMI.2012.213, eq. 5, shrunken to 1
instead of 0.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.kernels.accelerate import jit

PRIOR = 1e-6
"""Squared reflectance times the share of a window, by which a line is held to slope 1 and trusted no further: as much
as a hundredth of the window whose values scatter by 0.01."""
LEAST_VALID = 0.2
"""Least share of the window that must be valid on a date for its gap to be filled: what little is left between clouds
is often cloud itself."""


def fill_gaps(
    series: NDArray[np.float32], *, reach: int, offset: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """Fill what is hidden on some dates of a series from other dates, band by band.

    Parameters
    ----------
    series
        Reflectance (date, band, h, w), padded by ``reach`` on every side; NaN and infinities are no data.
    reach
        Pixels from a gap at which a date is still compared with others; >= 1.
    offset
        Days from a target time to each date, to fill only what linear interpolation in time to it reads: on either
        side the gaps of the nearest date, and those of the next one at pixels that are unknown still. By
        default every gap is filled.

    Returns
    -------
    ndarray
        Shape (date, band, h - 2 reach, w - 2 reach). Valid pixels are unchanged. NaN is left where the pixel is
        valid on no date, where less than `LEAST_VALID` of the window around is valid on the date of the gap, and where
        no other date has both the pixel and some of that.

    Notes
    -----
    For a date y, a pixel that is missing on it and another date x that has it, least squares over the pixels valid on
    both, with weights that fall linearly to nothing beyond ``reach`` along each axis, give a line ``mean(y) + slope *
    (x - mean(x))``. With n the share of those weights, of all in the window, on pixels valid on both, ``slope
    = (n cov(x, y) + PRIOR) / (n var(x) + PRIOR)``: few pixels, or uniform ones, determine an offset alone. The value is
    the mean of all such lines, weighted with the inverse of ``misfit + PRIOR / n``, the misfit being the mean square of
    what a line leaves. The time between dates does not count: how well they agree does.

    Examples
    --------
    A date that is 0.1 darker than another:

    >>> x = np.float32([[0.1, 0.2, 0.4], [0.3, 0.5, 0.2], [0.2, 0.6, 0.4]])
    >>> y = x - np.float32(0.1)
    >>> y[1, 1] = np.nan
    >>> fill_gaps(np.stack([x, y])[:, None], reach=1)[1].round(3)
    array([[[0.4]]], dtype=float32)
    """
    inner = (..., slice(reach, series.shape[-2] - reach), slice(reach, series.shape[-1] - reach))
    filled: NDArray[np.float32] = np.where(np.isfinite(series[inner]), series[inner], np.float32(np.nan))
    for band in range(series.shape[1]):
        if np.isfinite(filled[:, band]).all():
            continue
        if offset is None:
            _fill_band(series[:, band], filled[:, band], reach)
        else:
            for side in (offset <= 0, offset >= 0):
                _fill_side(series[:, band], filled[:, band], reach, np.where(side, np.abs(offset), np.inf))
    return filled


def _fill_band(series: NDArray[np.float32], filled: NDArray[np.float32], reach: int) -> None:
    """Fill one band (date, h, w) in place; every pair of dates is compared once, for both ways."""
    valid, gap = np.isfinite(series), np.isnan(filled)
    known = np.where(valid, series, 0.0).astype(np.float64)
    values = np.where(gap, 0.0, filled).astype(np.float64)
    votes = np.zeros((2, *filled.shape))
    for one in range(len(series)):
        for other in range(one):
            to_one, to_other = gap[one] & ~gap[other], gap[other] & ~gap[one]
            both = valid[one] & valid[other]
            if not (both.any() and (to_one.any() or to_other.any())):
                continue
            x, y = known[one] * both, known[other] * both
            sums = tent_sums(np.stack([both, x, y, x * x, x * y, y * y]), reach)
            prior = PRIOR * float(reach + 1) ** 4
            _add_estimates(sums, prior, values[one], to_other, votes[:, other])
            _add_estimates(sums[[0, 2, 1, 5, 4, 3]], prior, values[other], to_one, votes[:, one])
    filled_now = (votes[0] > 0) & (tent_sums(valid, reach) >= LEAST_VALID * float(reach + 1) ** 4)
    filled[filled_now] = votes[1][filled_now] / votes[0][filled_now]


def _fill_side(
    series: NDArray[np.float32], filled: NDArray[np.float32], reach: int, distance: NDArray[np.float64]
) -> None:
    """Fill one band (date, h, w) in place, the nearest dates first, until a pixel is known; none at infinity."""
    unknown = np.ones(filled.shape[1:], np.bool_)
    for near in np.unique(distance[np.isfinite(distance)]):
        dates = np.flatnonzero(distance == near)
        for date in dates:
            missing = unknown & np.isnan(filled[date])
            if missing.any():
                _fill_date(series, filled, date, missing, reach)
        unknown &= np.isnan(filled[dates]).all(axis=0)
        if not unknown.any():
            return


def _fill_date(
    series: NDArray[np.float32], filled: NDArray[np.float32], date: np.intp, missing: NDArray[np.bool_], reach: int
) -> None:
    """Fill some pixels of a date (date, h, w) in place, from the rectangle around them."""
    (top, bottom), (left, right) = (np.flatnonzero(missing.any(axis=axis))[[0, -1]] for axis in (1, 0))
    inner, outer = (
        np.s_[top : bottom + 1, left : right + 1],
        np.s_[top : bottom + 1 + 2 * reach, left : right + 1 + 2 * reach],
    )
    prior, votes = PRIOR * float(reach + 1) ** 4, np.zeros((2, bottom + 1 - top, right + 1 - left))
    own = series[date][outer]
    valid = np.isfinite(own)
    missing = missing[inner] & (tent_sums(valid[None], reach)[0] >= LEAST_VALID * float(reach + 1) ** 4)
    for other in range(len(series)):
        there = series[other][outer]
        given = there[reach:-reach, reach:-reach]
        wanted, both = missing & np.isfinite(given), valid & np.isfinite(there)
        if other == date or not wanted.any() or not both.any():
            continue
        x, y = (np.where(both, image, 0.0).astype(np.float64) for image in (there, own))
        sums = tent_sums(np.stack([both, x, y, x * x, x * y, y * y]), reach)
        _add_estimates(sums, prior, np.where(wanted, given, 0.0).astype(np.float64), wanted, votes)
    known = votes[0] > 0
    filled[date][inner][known] = votes[1][known] / votes[0][known]


def tent_sums(images: NDArray[np.float64] | NDArray[np.bool_], reach: int) -> NDArray[np.float64]:
    """Sum images (n, h, w) in windows, weighted by ``reach + 1 - |distance|`` along each axis.

    Returns
    -------
    ndarray
        Shape (n, h - 2 reach, w - 2 reach). Sums of integers are exact.
    """
    side = reach + 1  # the tent is a box upon a box
    sums = np.ascontiguousarray(images, np.float64)
    for _ in range(2):
        count, height, width = sums.shape
        down = np.empty((count, height - side + 1, width))
        _box_rows(sums, side, down)
        sums = np.empty((count, height - side + 1, width - side + 1))
        _box_cols(down, side, sums)
    return sums


@jit
def _box_rows(source: Any, side: Any, out: Any) -> None:
    for k in range(source.shape[0]):
        line = np.zeros(source.shape[2])
        for i in range(source.shape[1]):
            for j in range(line.size):
                line[j] += source[k, i, j]
                if i >= side:
                    line[j] -= source[k, i - side, j]
                if i >= side - 1:
                    out[k, i - side + 1, j] = line[j]


@jit
def _box_cols(source: Any, side: Any, out: Any) -> None:
    for k in range(source.shape[0]):
        for i in range(source.shape[1]):
            total = 0.0
            for j in range(source.shape[2]):
                total += source[k, i, j]
                if j >= side:
                    total -= source[k, i, j - side]
                if j >= side - 1:
                    out[k, i, j - side + 1] = total


@jit
def _add_estimates(sums: Any, prior: Any, other: Any, missing: Any, votes: Any) -> None:
    """Add, for each missing pixel, the weight and the weighted value of the line from the sums n, x, y, xx, xy, yy."""
    for i in range(missing.shape[0]):
        for j in range(missing.shape[1]):
            n = sums[0, i, j]
            if not missing[i, j] or n == 0.0:
                continue
            x, y = sums[1, i, j] / n, sums[2, i, j] / n
            # Times n: sums of squares and products about the means.
            xx = max(sums[3, i, j] - n * x * x, 0.0)
            xy = sums[4, i, j] - n * x * y
            yy = max(sums[5, i, j] - n * y * y, 0.0)
            slope = (xy + prior) / (xx + prior)
            misfit = max(yy - 2 * slope * xy + slope * slope * xx, 0.0)
            weight = n / (misfit + prior)
            votes[0, i, j] += weight
            votes[1, i, j] += weight * (y + slope * (other[i, j] - x))
