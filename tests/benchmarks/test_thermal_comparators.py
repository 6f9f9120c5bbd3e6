"""Published ways to sharpen temperatures: exact where they must be."""

import numpy as np
import pytest
from common.thermal_comparators import BEYOND, LinearLeaves, atprk, enlarged, observed, regression_trees

METHODS = {"ATPRK": atprk, "regression trees": regression_trees}


def field(seed, bands=1, side=64):
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    spectrum = np.where(frequency > 0, np.maximum(frequency, 1e-9) ** -1.5, 0)
    noise = np.fft.irfft2(spectrum * np.fft.rfft2(rng.standard_normal((bands, side, side))), s=(side, side))
    return 0.25 + 0.05 * noise / noise.std(axis=(1, 2), keepdims=True)


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def test_a_linear_relation_is_found_again(method):
    guide = field(0, 2)
    truth = 300 + 60 * guide[0] - 30 * guide[1]
    low = observed(truth[None], 4, None)[0]
    error, base = (np.abs(made - truth) for made in (method(low, guide), enlarged(low, 4)))
    share = 1 if method is atprk else 0.85  # trees do not follow a line far beyond the samples of its leaf
    assert np.quantile(error, share) < 0.05
    assert np.quantile(base, share) > 0.5


def test_atprk_finds_it_through_the_response_of_a_sensor():
    guide = field(0, 2)
    truth = 300 + 60 * guide[0] - 30 * guide[1]
    low = observed(truth[None], 4, 0.3)[0]
    np.testing.assert_allclose(atprk(low, guide, mtf=0.3), truth, atol=0.01)
    assert np.abs(atprk(low, guide) - truth).max() > 0.1


def test_trees_find_a_relation_of_two_lines_that_one_cannot():
    guide = field(1)
    truth = 300 + 80 * np.abs(guide[0] - 0.25)
    low = observed(truth[None], 4, None)[0]
    errors = [np.abs(method(low, guide) - truth).mean() for method in (regression_trees, atprk)]
    assert errors[0] < 0.5 * errors[1]


def test_a_constant_stays(method):
    made = method(np.full((16, 16), 291.5), field(2))
    np.testing.assert_allclose(made, 291.5, atol=1e-3)


def test_means_are_nearly_kept(method):
    guide = field(3, 2)
    low = observed((300 + 60 * guide[[0]] + 40 * field(4)), 4, None)[0]
    again = observed(method(low, guide)[None], 4, None)[0]
    assert np.abs(again - low)[2:-2, 2:-2].mean() < 0.05 * low.std()


def test_no_bands_leave_kriging_alone():
    low = observed(300 + 40 * field(4), 4, None)[0]
    made = atprk(low, np.empty((0, 64, 64)))
    np.testing.assert_allclose(observed(made[None], 4, None)[0][2:-2, 2:-2], low[2:-2, 2:-2], atol=0.05 * low.std())


def test_the_result_is_bicubic_where_the_guide_is_missing(method):
    guide = field(5)
    low = observed(300 + 60 * guide, 4, None)[0]
    guide[:, :10, :12] = np.nan
    low[-2:, -2:] = np.nan
    made = method(low, guide)
    assert np.isfinite(made).all()
    np.testing.assert_allclose(made[:10, :12], enlarged(low, 4)[:10, :12])
    assert np.abs(made - enlarged(low, 4))[12:40, 12:40].max() > 0.1


def test_a_leaf_leads_no_further_than_allowed():
    x = np.linspace(0, 1, 40)[:, None]
    tree = LinearLeaves(max_leaf_nodes=2, min_samples_leaf=10).fit(x, 2 * x[:, 0])
    np.testing.assert_allclose(tree.predict(x), 2 * x[:, 0], atol=1e-9)
    ends = tree.predict(np.array([[-5.0], [5.0]]))
    split = tree.tree_.threshold[0]
    low, high = 2 * x[x[:, 0] <= split, 0], 2 * x[x[:, 0] > split, 0]
    np.testing.assert_allclose(ends, [low.min() - BEYOND * np.ptp(low), high.max() + BEYOND * np.ptp(high)])
