import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from xsr.core.axes import _between, fit
from xsr.core.errors import GridError


def centres(corner, step, size, dtype=np.float64):
    """Coordinates rounded once from their exact values."""
    return (corner + (np.arange(size) + 0.5) * step).astype(dtype)


def corner_errors(axis, corner, step):
    """Error of both outer edges in pixels."""
    last = axis.stop + axis.step / 2
    return abs(axis.corner - corner) / abs(step), abs(last - (corner + axis.size * step)) / abs(step)


SINGLE = [
    ("4326, 10 m", 8.983152841195215e-05, 4.41, 50.98),
    ("4326, 30 m", 0.00026949458523585647, 4.41, 50.98),
    ("4326, 100 m", 0.0008983152841195215, 4.41, 50.98),
    ("UTM, 10/3 m", 10 / 3, 600_000, 5_650_000),
    ("UTM, 2.94 m", 10 / 3.4, 600_000, 5_650_000),
    ("UTM, 10 m", 10.0, 600_000, 5_650_000),
]


@pytest.mark.parametrize(("gsd", "west", "north"), [row[1:] for row in SINGLE], ids=[row[0] for row in SINGLE])
@pytest.mark.parametrize("size", [256, 10_980])
def test_single_precision_costs_less_than_a_thousandth_of_a_pixel(gsd, west, north, size):
    for corner, step in ((west, gsd), (north, -gsd)):
        axis = fit("x", centres(corner, step, size, np.float32))
        assert max(corner_errors(axis, corner, step)) < 1e-3


def test_the_first_two_coordinates_of_single_precision_would_be_pixels_off():
    """What the fit is for: the same coordinates read as most tools read them."""
    gsd, north = 8.983152841195215e-05, 50.98
    values = centres(north, -gsd, 256, np.float32).astype(np.float64)
    step = values[1] - values[0]
    assert abs(values[0] + 255 * step - (north - 255.5 * gsd)) > 5 * gsd


@pytest.mark.parametrize(
    ("step", "dtype"), [(10, "int64"), (-30, "uint16"), (10, "float32"), (-0.5, "float32"), (2.5, "float64")]
)
def test_numbers_without_rounding_come_back_as_they_are(step, dtype):
    axis = fit("x", (4096 + step * np.arange(50)).astype(dtype))
    assert (axis.start, axis.step, axis.corner) == (4096, step, 4096 - step / 2)
    assert axis.estimated == (dtype == "float32")


def test_double_precision_keeps_the_numbers_of_the_first_two_coordinates():
    values = centres(13.0, 1e-4, 300)
    axis = fit("x", values)
    assert axis.step == values[1] - values[0]
    assert axis.corner == (3 * values[0] - values[1]) / 2
    assert not axis.estimated


@given(step=st.floats(1e-5, 500), descends=st.booleans(), origin=st.floats(-1e6, 1e6), size=st.integers(2, 600))
def test_the_fit_of_double_precision_is_exact_to_a_hundred_thousandth_of_a_pixel(step, descends, origin, size):
    assume(np.spacing(abs(origin) + size * step) < 1e-7 * step)
    step = -step if descends else step
    axis = fit("x", centres(origin, step, size))
    assert max(corner_errors(axis, origin, step)) < 2e-5


@given(step=st.floats(1e-4, 100), descends=st.booleans(), origin=st.floats(-1e4, 1e4), size=st.integers(2, 400))
def test_the_fit_of_single_precision_is_never_worse_than_the_rounding_of_a_coordinate(step, descends, origin, size):
    rounding = float(np.spacing(np.float32(abs(origin) + size * step)))
    assume(rounding < 0.2 * step)
    step = -step if descends else step
    axis = fit("x", centres(origin, step, size, np.float32))
    allowed = rounding * (1 + 1 / (size - 1)) / abs(step)  # at most one rounding at both ends, carried half a pixel on
    assert max(corner_errors(axis, origin, step)) <= 1.01 * allowed + 2e-5


@given(corner=st.floats(-180, 180), n=st.integers(200, 2000))
def test_more_coordinates_make_the_fit_finer_than_each_of_them(corner, n):
    step = 0.000123456789
    axis = fit("x", centres(corner, step, n, np.float32))
    assert max(corner_errors(axis, corner, step)) < 0.02  # one coordinate alone: up to 0.06


@given(corner=st.floats(-180, 180), n=st.integers(2, 500))
def test_the_true_ends_lie_within_the_slack(corner, n):
    step = 0.000123456789
    axis, exact = fit("x", centres(corner, step, n, np.float32)), centres(corner, step, n)
    assert max(abs(axis.start - exact[0]), abs(axis.stop - exact[-1])) <= axis.slack * (1 + 1e-6)


@pytest.mark.parametrize("step", [10 / 3, 1 / 3600, 0.05, 2.5])
def test_a_simple_step_is_taken_at_its_word(step):
    assert fit("x", centres(7 * step, step, 2000, np.float32)).step == step


def test_single_precision_stored_in_double_is_seen_through():
    gsd, north = 8.983152841195215e-05, 50.98
    values = centres(north, -gsd, 256, np.float32).astype(np.float64)
    assert max(corner_errors(fit("y", values), north, -gsd)) < 1e-3


def test_coordinates_rounded_to_decimals_are_seen_through():
    gsd, north = 8.983152841195215e-05, 50.98
    assert max(corner_errors(fit("y", np.round(centres(north, -gsd, 500), 6)), north, -gsd)) < 1e-3
    with pytest.raises(GridError, match="irregular"):
        fit("y", np.round(centres(north, -gsd, 500), 5))


def test_what_no_rounding_explains_is_fitted_by_least_squares():
    values = 600_005.0 + 10 * np.arange(300) + np.random.default_rng(1).uniform(-4e-3, 4e-3, 300)
    axis = fit("x", values)
    slope, start = np.polyfit(np.arange(300), values, 1)
    assert axis.estimated
    assert (axis.step, axis.start) == (pytest.approx(slope, rel=1e-9), pytest.approx(start, rel=1e-9))
    assert axis.slack < 5e-3


def test_the_estimate_lies_in_the_middle_of_all_lines_hand_value():
    """Between (0, 1), (0, 1) and (0, 1) at 0, 1 and 2 lie the lines of a diamond around start 0.5 and step 0."""
    axis = _between(np.zeros(3), np.ones(3))
    assert (axis.start, axis.step, axis.slack) == (pytest.approx(0.5), pytest.approx(0), pytest.approx(0.5))


def test_there_is_no_line_between_contradictory_bounds():
    values = np.array([0.0, 1, 0])
    assert _between(values - 0.49, values + 0.49) is None
    assert _between(values - 0.51, values + 0.51) is not None


def test_a_single_coordinate_has_no_step():
    axis = fit("x", np.array([600_005.0]))
    assert (axis.start, axis.stop, axis.size) == (600_005, 600_005, 1)
    assert np.isnan(axis.step)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 10, 10, 20], "'x' repeats 10 at index 1; expected unique"),
        ([0, 10, 5, 20], r"'x' turns at index 1 \(10, 5\); expected monotonic"),
        ([0.0, np.nan, 10.0], r"'x' turns at index 0 \(0.0, nan\)"),
        ([0, 10, 21, 30], "'x' is irregular: 21 at index 2 lies 0.1 px off a regular grid of step 10"),
        (["a", "b"], "'x' has dtype <U1; expected numbers"),
    ],
)
def test_other_coordinates_are_refused_with_their_numbers(values, message):
    with pytest.raises(GridError, match=message):
        fit("x", np.array(values))
