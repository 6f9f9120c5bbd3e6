"""Tables of `benchmarks/intervals_in_time.py` by hand."""

import numpy as np
import pytest
from intervals import Case
from intervals_in_time import HIDDEN, common, table_by_series


def case(place, error, half=1.0):
    error = np.array(error, np.float32)
    width = np.full((4, error.size), half, np.float32)
    false = np.zeros(error.size, bool)
    return Case(place, "B02", 2.0, error, width, width, false, false)


def test_a_shift_of_a_whole_image_is_common_and_noise_about_zero_is_not():
    assert common([case("a", [2, 2, 2])]) == pytest.approx(100)
    assert common([case("a", [1, -1])]) == pytest.approx(0)
    assert common([case("a", [3, 1]), case("a", [1, -1])]) == pytest.approx((100 * 4 / 5 + 0) / 2)


def test_both_grids_of_a_series_are_one_row_and_series_count_alike():
    found = [
        case(f"one, {HIDDEN[0]}", [0.5, 0.5, 0.5, 2]),
        case(f"one at 20 m, {HIDDEN[0]}", [2, 2, 2, 2]),
        case(f"two, {HIDDEN[0]}", [0.5] * 16),
        case(f"two, {HIDDEN[1]}", [0.5, 2]),
    ]
    rows = {line.split(" | ")[0].strip("| "): line.strip("|").split(" | ")[1:] for line in table_by_series(found)[2:]}
    assert [row.strip() for row in rows["one"][:2]] == ["37.5", "37.5"]
    assert [row.strip() for row in rows["one"][3:]] == ["–"] * 3
    assert rows["two"][3] == "50.0"
    assert rows["mean of series"][1] == "68.8"
    assert rows["standard deviation of series"][1] == f"{np.std([37.5, 100], ddof=1):.1f}"
