"""What dates show beyond an image: lines against a fit of NumPy, land that changed, days, noise beyond the levels."""

import numpy as np
import pytest

from xsr.kernels import innovation
from xsr.kernels.fusion import LEVELS, WINDOW, displaced
from xsr.kernels.innovation import EDGE, NEAR, TRUST, Innovations, judged, sought, unexplained

SENSOR = 0.5
SHIFTS = [(0.3, -0.1), (-0.4, 0.2), (0.1, 0.4)]
SIDE = 2 * EDGE + 16
PLACES = np.meshgrid(np.arange(0, 15.5, 0.5), np.arange(0, 15.5, 0.5), indexing="ij")


def land(seed):
    """Draw an image of one band, smooth over a few pixels."""
    image = np.random.default_rng(seed).random((1, SIDE, SIDE), np.float32)
    return sum(displaced(image, (y, x)) for y in (-0.5, 0.5) for x in (-0.5, 0.5)) / 4


def corrected(dates, days, own=0.0, *, measured=True):
    """Root mean square of the correction of an image by dates, as a share of the spread of the image."""
    image = land(0)
    expected = np.stack([image - own, *(displaced(image, shift) for shift in SHIFTS)])
    valid = np.ones((len(SHIFTS), SIDE, SIDE), bool)
    found = Innovations.of(image, np.stack(dates), valid, expected, SHIFTS, days, SENSOR, measured=measured)
    return found, float(np.sqrt(np.mean(found.using([0, 1, 2]).at(*PLACES, 0.5) ** 2)) / image.std())


def test_lines_against_weighted_least_squares():
    expected, date = land(1), 0.1 + 0.4 * land(1) + 0.1 * land(2)
    known = np.random.default_rng(3).random((SIDE, SIDE)) < 0.8
    others, misfit, share = unexplained(expected[None], date[None], known[None])
    tent = np.convolve(np.ones(WINDOW + 1), np.ones(WINDOW + 1))
    row, col = 11, 5
    part = (slice(row, row + 2 * WINDOW + 1), slice(col, col + 2 * WINDOW + 1))
    weight = np.where(known[part], np.outer(tent, tent), 0)
    x, y = expected[0][part], date[0][part]
    slope, start = np.polyfit(x.ravel(), y.ravel(), 1, w=np.sqrt(weight).ravel())
    left = y - start - slope * x
    assert misfit[0, 0, row, col] == pytest.approx((weight * left**2).sum() / weight.sum() / slope**2, rel=1e-3)
    assert share[0, row, col] == pytest.approx(weight.sum() / (WINDOW + 1) ** 4)
    here = left[WINDOW, WINDOW] / slope if known[row + WINDOW, col + WINDOW] else 0
    assert others[0, 0, row, col] == pytest.approx(here, rel=1e-3)


def test_land_that_changed_is_no_evidence_against_the_image():
    other = land(7)
    found, share = corrected([displaced(other, shift) for shift in SHIFTS], [0, 0, 0])
    # The dates agree among themselves, and hardly with the image.
    assert share < 0.05
    inner = slice(WINDOW, -WINDOW)
    expected = displaced(land(0), SHIFTS[0])[0, inner, inner]
    assert abs(np.corrcoef(found.others[0, 0].ravel(), expected.ravel())[0, 1]) < 0.25


def test_what_an_image_of_a_date_shows_is_followed_where_dates_are_noisy():
    own = 0.1 * (land(5) - 0.5)
    dates = [displaced(land(0) + land(8 + n), shift) for n, shift in enumerate(SHIFTS)]
    side = np.arange(16.0)
    places = np.meshgrid(side, side, indexing="ij")
    wanted = own[:, EDGE:-EDGE, EDGE:-EDGE]
    left = {}
    for measured in (True, False):
        part = corrected(dates, [30] * 3, own, measured=measured)[0].using([0, 1, 2])
        assert part.noise.min() > 0.3
        left[measured] = np.sqrt(np.mean((part.at(*places, SENSOR) - wanted) ** 2)) / wanted.std()
    assert left[True] < 0.8 < left[False]  # an image between dates is as uncertain as they are


def test_dates_count_for_less_the_further_they_lie_in_time():
    dates = [displaced(land(0) + 0.1 * land(8 + n), shift) for n, shift in enumerate(SHIFTS)]
    near, later, years = (corrected(dates, [days] * 3)[1] for days in (0, -60, 1000))
    assert near > 1.02 * later > 1.04 * years > 0
    assert corrected(dates, [60] * 3)[1] == later


def test_beyond_the_last_level_dates_count_by_their_precision():
    dates = [displaced(land(0) + 2 * land(8 + n), shift) for n, shift in enumerate(SHIFTS)]
    found, _ = corrected(dates, [1e4] * 3)
    more, _ = corrected(dates, [4e4] * 3)
    first, second = found.using([0, 1, 2]), more.using([0, 1, 2])
    assert first.noise.min() > LEVELS[-1]
    np.testing.assert_allclose(second.dates, first.dates / 4, rtol=0.01, atol=1e-6)


def test_noise_is_that_of_the_estimate_where_dates_are_alike_and_that_of_lines_where_they_have_changed():
    lines = np.array([0.1, 0.1, 0.1, 0.3, 0.5, 0.1])
    left = np.array([0.05, 0.01, 0.9, 0.12, 0.2, 0.05])
    freedom = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    found = judged(lines, left, freedom)
    np.testing.assert_allclose(found, [0.05, 0.1 / 3, 0.3, np.sqrt(0.3 * 0.12), 0.5, 0.1], rtol=1e-6)


def test_noise_is_sought_where_the_estimate_misses_least():
    steps = np.log(LEVELS)[:, None, None, None]
    start, number = np.array([[[0.1, 0.21, 0.15, 0.4, 5.0]]]), np.array([[1.0, 2.0, 1.5, 2.0, 1.0]])
    missed = np.broadcast_to(2 * np.square(steps - np.log(0.2)), (len(LEVELS), *start.shape))
    # The sum of two parabolas has its vertex between theirs, by their bends; one date agrees with itself: the start.
    share = 4 * TRUST * (number - 1) / (4 * TRUST * (number - 1) + 1)
    found = np.clip(start ** (1 - share) * 0.2**share, start / NEAR, start * NEAR)
    np.testing.assert_allclose(sought(start, missed, number), found, rtol=1e-5)
    least = sought(np.array([[[0.03]]]), 9 * steps, np.full((1, 1), 2.0))
    assert least.item() == pytest.approx(LEVELS[0])


def test_dates_that_agree_against_the_image_have_more_noise_than_those_that_agree_with_it(monkeypatch):
    monkeypatch.setattr(innovation, "NEAR", 9.0)
    more = 0.1 * (land(9) - 0.5)
    dates = [displaced(land(0) + more, shift) for shift in SHIFTS]
    with_it, against_it = (corrected(dates, [0] * 3, own)[0].using([0, 1, 2]).noise for own in (more, 0.0))
    assert with_it.mean() < 0.9 * against_it.mean()
