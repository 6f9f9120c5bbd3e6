import datetime as dt

import numpy as np
import pandas as pd
import pytest

from xsr.core.errors import ParameterError
from xsr.sources.stac.interval import interval, within

DAY = "2024-06-15T00:00:00Z/2024-06-15T23:59:59Z"
JUNE = "2024-06-01T00:00:00Z/2024-06-20T23:59:59Z"


@pytest.mark.parametrize(
    "day",
    [
        "2024-06-15",
        np.datetime64("2024-06-15"),
        np.datetime64("2024-06-15T00:00", "ns"),
        pd.Timestamp("2024-06-15"),
        dt.date(2024, 6, 15),
        dt.datetime(2024, 6, 15),
        ["2024-06-15"],
    ],
)
def test_a_day_in_any_spelling_is_the_whole_day(day):
    assert interval(day) == DAY


@pytest.mark.parametrize(
    "pair",
    [
        "2024-06-01/2024-06-20",
        ("2024-06-01", "2024-06-20"),
        [dt.date(2024, 6, 1), pd.Timestamp("2024-06-20")],
        slice("2024-06-01", np.datetime64("2024-06-20")),
        np.array(["2024-06-01", "2024-06-20"], "datetime64[D]"),
        pd.DatetimeIndex(["2024-06-01", "2024-06-20"]),
    ],
)
def test_a_pair_in_any_spelling_holds_both_its_days(pair):
    assert interval(pair) == JUNE


def test_open_ends_and_zones_are_kept():
    assert interval((None, "2024-06-20")) == "../2024-06-20T23:59:59Z"
    assert interval(slice("2024-06-01", None)) == "2024-06-01T00:00:00Z/.."
    zoned = dt.datetime(2024, 6, 15, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert interval(zoned).startswith("2024-06-15T10:30:00")


def test_times_at_the_ends_lie_within():
    for time, inside in (("2024-06-01T00:00:00", True), ("2024-06-20T23:59:59", True), ("2024-05-31T23:59:59", False)):
        assert within(np.datetime64(time, "ns"), JUNE) == inside
    assert within(np.datetime64("2024-07-01"), "2024-06-01T00:00:00Z/..")
    assert not within(np.datetime64("2024-07-01"), "../2024-06-01T00:00:00Z")


@pytest.mark.parametrize(
    "text",
    ["2024-06-01..2024-06-20", "2024-06-01:2024-06-20", "2024-06-01 to 2024-06-20", "2024-06-01,2024-06-20"],
)
def test_intervals_of_other_customs_are_refused_with_the_right_spelling(text):
    with pytest.raises(ParameterError, match=r"expected .* Pass datetime='2024-06-01/2024-06-20'\."):
        interval(text)
    assert interval("2024-06-01/2024-06-20") == JUNE  # the advice works


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (20240615, "expected a date"),
        ("summer", "expected a date"),
        (np.datetime64("NaT"), "expected a date"),
        (pd.NaT, "expected a date"),
        (("2024", "2025", "2026"), "expected a date"),
        (slice("2024", "2025", 2), "expected a date"),
        (("2024-06-20", "2024-06-01"), "ends before it begins"),
    ],
)
def test_what_is_no_interval_is_refused(times, message):
    with pytest.raises(ParameterError, match=message):
        interval(times)
