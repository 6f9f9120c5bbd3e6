import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xsr.kernels.gaps import LEAST_VALID, PRIOR, fill_gaps, tent_sums

REACH = 4
GAP = (slice(14, 19), slice(12, 18))


def padded(series, reach=REACH):
    """Pad with no data."""
    width = ((0, 0), (0, 0), (reach, reach), (reach, reach))
    return np.pad(np.asarray(series, np.float32), width, constant_values=np.nan)


def scene(bands=2, size=32, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.05, 0.5, (bands, size, size)).astype(np.float32)


def hide(series, date, where=GAP):
    out = np.array(series, np.float32)
    out[date][(..., *where)] = np.nan
    return out


def slow_fill(series, reach):
    """The definition, pixel by pixel."""
    dates = len(series)
    out = series[..., reach:-reach, reach:-reach].astype(float).copy()
    away = np.abs(np.arange(-reach, reach + 1))
    tent = np.outer(reach + 1 - away, reach + 1 - away)
    for y, b, i, j in np.argwhere(np.isnan(out)):
        around = np.isfinite(series[y, b, i : i + 2 * reach + 1, j : j + 2 * reach + 1])
        if (tent * around).sum() < LEAST_VALID * (reach + 1.0) ** 4:
            continue
        total, weights = 0.0, 0.0
        for x in range(dates):
            own = series[x, b, i + reach, j + reach]
            one, two = (series[d, b, i : i + 2 * reach + 1, j : j + 2 * reach + 1].astype(float) for d in (x, y))
            both = np.isfinite(one) & np.isfinite(two)
            if not np.isfinite(own) or not both.any():
                continue
            one, two, w = one[both], two[both], tent[both]
            n, mean_x, mean_y = w.sum() / tent.sum(), np.average(one, weights=w), np.average(two, weights=w)
            covariance = np.average((one - mean_x) * (two - mean_y), weights=w)
            variance = np.average((one - mean_x) ** 2, weights=w)
            slope = (n * covariance + PRIOR) / (n * variance + PRIOR)
            misfit = np.average((two - mean_y - slope * (one - mean_x)) ** 2, weights=w)
            weight = 1 / (misfit + PRIOR / n)
            total += weight * (mean_y + slope * (own - mean_x))
            weights += weight
        if weights:
            out[y, b, i, j] = total / weights
    return out


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 99), st.sampled_from([0.3, 0.7, 0.95]))
def test_the_definition(dates, reach, seed, share):
    rng = np.random.default_rng(seed)
    series = rng.uniform(0, 0.5, (dates, 2, 9, 10)).astype(np.float32)
    series[rng.random(series.shape) < share] = np.nan
    found, wanted = fill_gaps(series, reach=reach), slow_fill(series, reach)
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    assert np.allclose(found, wanted, atol=1e-5, equal_nan=True)


def test_sums_of_a_tent():
    image = np.zeros((1, 9, 9))
    image[0, 4, 4] = 1
    one = np.array([0, 1, 2, 3, 2, 1, 0.0])[1:-1]
    assert np.array_equal(tent_sums(image, 2)[0], np.outer(one, one))


def test_a_static_series_is_filled_exactly():
    series = np.stack([scene()] * 4)
    found = fill_gaps(padded(hide(series, 2)), reach=REACH)
    assert np.allclose(found, series, atol=1e-6)


def test_a_gain_and_an_offset_of_a_date_are_found():
    still = scene()
    series = np.stack([still, 0.6 * still + 0.03, 1.3 * still - 0.02])
    found = fill_gaps(padded(hide(series, 1)), reach=REACH)
    assert np.abs(found - series).max() < 1e-3


def test_dates_that_agree_count_more_than_those_that_do_not():
    still = scene()
    series = np.stack([still, still, scene(seed=1)])
    found = fill_gaps(padded(hide(series, 0)), reach=REACH)
    assert np.abs(found - series).max() < 1e-3


def test_bands_are_filled_by_themselves():
    series = np.stack([scene(), scene() + 0.1])
    holed = series.copy()
    holed[(1, 0, *GAP)] = np.nan
    found = fill_gaps(padded(holed), reach=REACH)
    assert np.array_equal(found[:, 1], series[:, 1])
    assert np.allclose(found[:, 0], series[:, 0], atol=1e-4)


def test_where_a_date_saw_too_little_around_its_gap_stays():
    series = np.stack([scene(), scene()])
    hidden = hide(series, 0, (slice(None), slice(10, None)))
    found = fill_gaps(padded(hidden), reach=REACH)
    # Two columns inside, windows hold 6 / 25 of what the date saw; one more, 3 / 25.
    assert np.array_equal(np.flatnonzero(np.isfinite(found[0, 0, 16])), np.arange(12))
    assert np.isfinite(found[1]).all()


def test_what_no_date_saw_stays_a_gap():
    series = hide(hide(np.stack([scene(), scene()]), 0), 1)
    found = fill_gaps(padded(series), reach=REACH)
    assert np.array_equal(np.isnan(found), np.isnan(series))


def test_infinities_are_gaps():
    series = np.stack([scene(), scene()])
    holed = hide(series, 0)
    holed[np.isnan(holed)] = np.inf
    assert np.allclose(fill_gaps(padded(holed), reach=REACH), series, atol=1e-6)


def test_nothing_hidden_is_left_as_it_is():
    series = np.stack([scene(), scene(seed=1)])
    assert np.array_equal(fill_gaps(padded(series), reach=REACH), series)


@pytest.mark.parametrize("cut", [(0, 20, 0, 32), (9, 32, 5, 27)])
def test_a_part_is_filled_as_the_whole(cut):
    series = padded(hide(hide(np.stack([scene(seed=s) for s in range(3)]), 0), 1, (slice(0, 9), slice(20, 32))))
    whole = fill_gaps(series, reach=REACH)
    top, bottom, left, right = cut
    part = fill_gaps(series[..., top : bottom + 2 * REACH, left : right + 2 * REACH], reach=REACH)
    assert np.allclose(part, whole[..., top:bottom, left:right], atol=1e-7, equal_nan=True)


@pytest.mark.parametrize(
    "offset", [(-9.0, -4.0, 2.0, 5.0), (-9.0, -4.0, 0.0, 5.0), (-4.0, -4.0, 2.0, 9.0), (1, 2, 3, 4)]
)
def test_for_linear_interpolation_the_nearest_dates_are_filled(offset):
    series = np.stack([scene(seed=seed) for seed in range(4)])
    series = hide(hide(hide(series, 1), 2, (slice(10, 16), slice(0, 20))), 3, (slice(15, 30), slice(2, 9)))
    series[1, 0] = np.nan  # cannot be filled: the date before it is read
    series[0, 0, 3:5, 3:5] = np.nan
    offset = np.array(offset)
    found, whole = (fill_gaps(padded(series), reach=REACH, offset=o) for o in (offset, None))
    filled = np.isfinite(found)
    assert np.allclose(found[filled], whole[filled], rtol=0, atol=1e-7)
    for side in (offset <= 0, offset >= 0):
        for near in np.unique(np.abs(offset[side])):
            dates = np.flatnonzero(side & (np.abs(offset) == near))
            nearer = np.flatnonzero(side & (np.abs(offset) < near))
            read = ~np.isfinite(whole[nearer]).any(axis=0)
            assert np.array_equal(filled[dates][:, read], np.isfinite(whole[dates])[:, read])
    assert filled.sum() < np.isfinite(whole).sum()
