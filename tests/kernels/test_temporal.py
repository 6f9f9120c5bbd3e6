import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsr.core.errors import ParameterError
from xsr.kernels.temporal import TEMPORAL, date_weights, nearest


def slow_weights(seen, offset, method, frames):
    """Weights of one pixel, written out."""
    dates = [i for i in range(len(offset)) if seen[i]]
    weights = np.zeros(len(offset))
    if not dates:
        return weights
    by_distance = sorted(dates, key=lambda i: (abs(offset[i]), i))
    if method == "nearest":
        weights[by_distance[0]] = 1
    elif method == "mean":
        for i in by_distance[:frames]:
            weights[i] = 1 / len(by_distance[:frames])
    else:
        values = np.eye(len(offset))
        exact = [i for i in dates if offset[i] == 0]
        before = [i for i in by_distance if offset[i] < 0]
        after = [i for i in by_distance if offset[i] > 0]
        if exact:
            return values[exact[0]]
        if not (before and after):
            return values[by_distance[0]]
        left, right = before[0], after[0]
        share = -offset[left] / (offset[right] - offset[left])
        return (1 - share) * values[left] + share * values[right]
    return weights


@st.composite
def masks(draw):
    count = draw(st.integers(1, 7))
    offset = sorted(draw(st.lists(st.integers(-20, 20), min_size=count, max_size=count)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    valid = rng.random((count, *draw(st.sampled_from([(3, 4), (5,), (2, 2, 2)])))) < draw(
        st.sampled_from([0.2, 0.6, 1])
    )
    return valid, np.array(offset, float)


@given(masks(), st.sampled_from(TEMPORAL), st.integers(1, 4))
def test_weights_equal_a_loop_over_pixels(mask, method, frames):
    valid, offset = mask
    found = date_weights(valid, offset, method=method, frames=frames)
    assert found.dtype == np.float32
    assert found.shape == valid.shape
    wanted = np.apply_along_axis(slow_weights, 0, valid, offset, method, frames)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@given(masks(), st.sampled_from(TEMPORAL), st.integers(1, 4))
def test_weights_sum_to_one_or_to_nothing(mask, method, frames):
    valid, offset = mask
    found = date_weights(valid, offset, method=method, frames=frames)
    np.testing.assert_allclose(found.sum(axis=0), valid.any(axis=0), rtol=0, atol=1e-6)
    assert (found >= 0).all()
    assert (found[~valid] == 0).all()


@pytest.mark.parametrize("method", ["linear", "nearest"])
def test_on_a_clear_date_it_is_that_date_to_the_bit(method):
    offset = np.array([-7.3, 0.0, 1e-9, 5.0])
    valid = np.ones((4, 2), bool)
    valid[1, 1] = False
    found = date_weights(valid, offset, method=method, frames=1)
    assert found[:, 0].tolist() == [0, 1, 0, 0]
    assert found[1, 1] == 0


def test_by_hand():
    offset = np.array([-6.0, -2.0, 2.0, 10.0])
    valid = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool).T
    linear = date_weights(valid, offset, method="linear", frames=1)
    wanted = [[0, 0.5, 0.5, 0], [0.625, 0, 0, 0.375], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(linear.T, wanted, atol=1e-7)
    alone = date_weights(valid, offset, method="nearest", frames=3)
    assert alone.T.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    mean = date_weights(valid, offset, method="mean", frames=2)
    assert mean.T.tolist() == [[0, 0.5, 0.5, 0], [0.5, 0, 0, 0.5], [0, 0, 0.5, 0.5], [0.5, 0.5, 0, 0], [0, 0, 0, 0]]


@given(masks(), st.integers(1, 9))
def test_nearest_keeps_as_many_as_asked_for_where_there_are_as_many(mask, frames):
    valid, offset = mask
    used = nearest(valid, offset, frames)
    assert not (used & ~valid).any()
    assert np.array_equal(used.sum(axis=0), np.minimum(valid.sum(axis=0), frames))


def test_unknown_method():
    with pytest.raises(ParameterError, match="temporal='cubic'; expected one of linear, nearest, mean"):
        date_weights(np.ones((1, 1), bool), np.zeros(1), method="cubic", frames=1)
