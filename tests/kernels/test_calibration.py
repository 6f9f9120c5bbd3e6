"""Orders and areas by explicit sorting, beside the histograms that stand for them."""

import numpy as np
import pytest

from xsr.kernels.calibration import BINS, SCORES, Levels, bin_edges, calibration_sums, interval_scores

LEVELS = Levels((0.05, 0.5, 0.95))


def sorted_area(key, error):
    """Integral of the mean error of the pixels left, pixels of one key joined: the definition, by sorting."""
    keys, place = np.unique(key, return_inverse=True)
    number, total = np.bincount(place), np.bincount(place, error)
    before, sum_before, area = 0, 0.0, 0.0
    for n, s in zip(number[: keys.size], total, strict=True):
        mean = s / n
        area += s + ((sum_before - mean * before) * np.log((before + n) / before) if before else 0.0)
        before, sum_before = before + n, sum_before + s
    return area


def sorted_ause(width, error):
    return (sorted_area(width, error) - sorted_area(error, error)) / error.sum()


def counted_ause(width, error):
    """The same pixel by pixel: the mean over m of the mean error of the m first pixels of an order."""
    curves = [np.cumsum(error[np.argsort(key, kind="stable")]) / np.arange(1, error.size + 1) for key in (width, error)]
    return (curves[0] - curves[1]).mean() / error.mean()


def best_constant(error, alpha):
    """Least score of a constant half width, which is one of the errors: the score is linear between them."""
    halves = np.sort(error)[int((1 - alpha) * error.size) - 50 :][:100]
    return min(2 * h + 2 / alpha * np.maximum(error - h, 0).mean() for h in [*halves, *np.sort(error)[:1]])


def gaussian(count, spread, seed=0):
    """Images of three quantiles, exact ones, and a truth: shape (1, count / 10, 10)."""
    rng = np.random.default_rng(seed)
    sigma = 0.01 * np.exp(spread * rng.standard_normal(count))
    mean = rng.random(count)
    truth = mean + sigma * rng.standard_normal(count)
    images = [np.float32(mean + z * sigma).reshape(1, -1, 10) for z in (-1.6448536, 0, 1.6448536)]
    return images, np.float32(truth).reshape(1, -1, 10)


def scored(images, truth, levels=LEVELS, **options):
    """Scores by name, the values of the first band and stratum."""
    values = interval_scores(calibration_sums(images, truth, levels, **options), levels)[0, 0]
    found, start = {}, 0
    for name, score in SCORES.items():
        found[name] = values[start : start + levels.size(score.along)]
        start += levels.size(score.along)
    assert start == levels.values == values.size
    return found


def of(images, truth):
    """Width and error of every pixel in double precision."""
    low, middle, high = (image.astype(np.float64).ravel() for image in images)
    return high - low, np.abs(truth.astype(np.float64).ravel() - middle)


@pytest.mark.parametrize(("count", "near"), [(1000, 2e-3), (10_000, 5e-4)])
@pytest.mark.parametrize("spread", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_areas_equal_those_of_sorted_pixels(count, near, spread, seed):
    """As near as the docstring of the verb says."""
    images, truth = gaussian(count, spread, seed)
    exact = sorted_ause(*of(images, truth))
    assert exact > 0.05
    assert scored(images, truth)["ause"][0] == pytest.approx(exact, abs=near)


@pytest.mark.parametrize("seed", range(4))
def test_areas_of_widths_that_hardly_differ(seed):
    images, truth = gaussian(10_000, 0.02, seed)
    assert scored(images, truth)["ause"][0] == pytest.approx(sorted_ause(*of(images, truth)), abs=3e-3)


def test_widths_of_one_bin_have_no_order():
    images, truth = gaussian(1000, 0.5)
    error = np.abs(truth - images[1])
    steps = np.float32(1.001 + 0.01 * error / error.max())
    found, none = (scored([-half, 0 * half, half], error)["ause"][0] for half in (steps, steps * 0 + 1))
    assert found == pytest.approx(none)
    assert sorted_ause(2 * steps.ravel(), error.ravel().astype(float)) < 0.1 * none


def test_the_area_is_the_mean_over_all_numbers_of_pixels_left():
    images, truth = gaussian(20_000, 0.5)
    width, error = of(images, truth)
    assert scored(images, truth)["ause"][0] == pytest.approx(counted_ause(width, error), abs=2e-3)


def test_an_order_by_hand():
    """Errors 1, 3 with widths the wrong way round: S/m runs 3 -> 2 where the best runs 1 -> 2."""
    truth = np.float32([[[1, 3]]])
    half = np.float32([[[2, 1]]])
    found = scored([-half, 0 * half, half], truth)
    # worst: 3 + 1 + 2 log 2, best: 1 + 3 - 2 log 2; over the sum of errors, 4
    assert found["ause"][0] == pytest.approx(np.log(2))


def test_widths_ordered_as_the_errors_leave_no_area():
    images, truth = gaussian(5000, 0.5)
    error = np.abs(truth - images[1])
    twice = [truth * 0 - error, truth * 0, truth * 0 + error]
    assert scored(twice, error)["ause"][0] == pytest.approx(0, abs=1e-12)
    root = np.float32(0.1 * error**0.7)
    assert scored([-root, 0 * root, root], error)["ause"][0] == pytest.approx(0, abs=1e-3)


def test_widths_ordered_against_the_errors_are_worse_than_none():
    images, truth = gaussian(5000, 0.5)
    error = np.abs(truth - images[1])
    none, against = (scored([-half, 0 * half, half], error)["ause"][0] for half in (0 * error + 1, 1 / (error + 1e-3)))
    assert against > none + 0.2


@pytest.mark.parametrize("alpha", [0.1, 0.5])
@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_the_best_constant_width(alpha, spread):
    images, truth = gaussian(2000, spread)
    levels = Levels((alpha / 2, 0.5, 1 - alpha / 2))
    best = best_constant(of(images, truth)[1], alpha)
    found = scored(images, truth, levels)["constant_score"][0]
    assert best <= found * (1 + 1e-12)
    assert found == pytest.approx(best, rel=1e-3)


def test_no_width_is_the_best_where_there_is_no_error():
    image = np.full((1, 2, 2), 0.3, np.float32)
    found = scored([image - 1, image, image + 1], image)
    assert found["constant_score"][0] == 0
    assert np.isnan(found["ause"][0])


def test_errors_of_any_size_have_a_bin():
    truth = np.float32([[[0, 1e-30, 1e-3, 1, 1e30]]])
    images = [np.zeros_like(truth) for _ in range(3)]
    sums = calibration_sums(images, truth, LEVELS)
    number = sums[0, 0, LEVELS.terms :].reshape(2, BINS, 2)[:, :, 0]
    assert np.array_equal(number[0], np.histogram(truth, bin_edges())[0])
    assert number[1, 0] == 5  # widths of zero


def test_bins_hold_what_their_edges_say():
    images, truth = gaussian(5000, 1.0)
    width, error = of(images, truth)
    bins = calibration_sums(images, truth, LEVELS)[0, 0, LEVELS.terms :].reshape(2, BINS, 2)
    for key, (number, total) in zip((error, width), np.moveaxis(bins, -1, 1), strict=True):
        edges = bin_edges().astype(np.float32)
        assert np.array_equal(number, np.histogram(np.float32(key), edges)[0])
        np.testing.assert_allclose(total, np.histogram(np.float32(key), edges, weights=error)[0], rtol=1e-12)


def test_pairs_of_quantiles():
    levels = Levels((0.05, 0.1, 0.25, 0.5, 0.75, 0.95))
    assert levels.pairs == ((2, 4), (0, 5))
    assert levels.nominal == (0.5, 0.9)
    assert levels.estimate == 3


def test_negative_strata_do_not_count():
    images, truth = gaussian(100, 0.5)
    index = np.arange(100, dtype=np.int32).reshape(1, 10, 10) % 3 - 1
    sums = calibration_sums(images, truth, LEVELS, index=index, strata=2)
    for k in range(2):
        part = np.where(index == k, truth, np.float32(np.nan))
        np.testing.assert_allclose(sums[:, k], calibration_sums(images, part, LEVELS)[:, 0])
