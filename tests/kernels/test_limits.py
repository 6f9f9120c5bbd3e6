"""Tests of the range of an image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from xsr.kernels.limits import limits


def of(values: np.ndarray, **settings: float) -> tuple[float, float]:
    """Limits of an image, its moments taken by NumPy."""
    values = np.asarray(values, np.float64)
    lo, hi = limits(values.size, values.sum(), (values**2).sum(), values.min(), values.max(), **settings)
    return float(lo), float(hi)


def test_two_values__hand() -> None:
    """The range of 290 and 310 K is 20 K, a quarter of which is added on either side."""
    assert of(np.array([290, 310, 290, 310])) == pytest.approx((285, 315))
    assert of(np.array([290, 310, 290, 310]), margin=0.5) == pytest.approx((280, 320))


def test_constant_image__widened_by_the_least() -> None:
    """A constant has a range of twice the least widening; so has next to a constant."""
    assert of(np.full(9, 300.0)) == pytest.approx((299, 301))
    assert of(np.array([300.0, 300.4])) == pytest.approx((299, 301.4))


def test_single_outlier__does_not_stretch_the_range() -> None:
    """Of ten thousand pixels one fire of 500 K moves the upper limit by a few kelvin."""
    values = np.random.default_rng(0).normal(300, 2, 10_000)
    (_, hi), (_, without) = of(np.append(values, 500.0)), of(values)
    mean, std = np.append(values, 500.0).mean(), np.append(values, 500.0).std()
    lo = values.min()
    assert hi == pytest.approx(mean + 4 * std + 0.25 * (mean + 4 * std - max(lo, mean - 4 * std)))
    assert hi - without < 10


def test_no_valid_pixel__nan_for_that_date_alone() -> None:
    """Dates are independent; one without data has no limits."""
    lo, hi = limits([0, 2], [0.0, 600.0], [0.0, 180_002.0], [np.inf, 299.0], [-np.inf, 301.0])
    assert np.isnan(lo[0])
    assert np.isnan(hi[0])
    assert (lo[1], hi[1]) == (298.0, 302.0)


@given(arrays.arrays(np.float64, st.integers(1, 40), elements=st.floats(180, 400)), st.floats(-50, 50))
def test_shifted_image__shifted_limits(values: np.ndarray, shift: float) -> None:
    """Limits move with the values and enclose their mean by at least the least widening."""
    lo, hi = of(values)
    assert lo <= values.mean() - 0.99 < values.mean() + 0.99 <= hi
    np.testing.assert_allclose(of(values + shift), (lo + shift, hi + shift), atol=1e-2)
