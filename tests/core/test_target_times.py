import datetime

import numpy as np
import pandas as pd
import pytest
from helpers import make_cube
from hypothesis import given
from hypothesis import strategies as st

from xsr.core.errors import ParameterError
from xsr.core.target_times import candidates, day_of_year, days, plan_groups, resolve_times

SERIES = np.array(["2024-02-20", "2024-03-01", "2024-04-10", "2024-05-20"], "datetime64[ns]")
CEST = datetime.timezone(datetime.timedelta(hours=2))


def moments(*texts):
    return np.array(texts, "datetime64[ns]")


# --- what a user calls a time ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "t",
    [
        "2024-03-05T10:30",
        "20240305T1030",
        "2024/03/05 10:30",
        "2024-03-05 10:30:00Z",
        "2024-03-05T12:30+02:00",
        datetime.datetime(2024, 3, 5, 10, 30),
        datetime.datetime(2024, 3, 5, 12, 30, tzinfo=CEST),
        np.datetime64("2024-03-05T10:30"),
        np.array("2024-03-05T10:30", "datetime64[m]"),
        pd.Timestamp("2024-03-05T10:30"),
        pd.Timestamp("2024-03-05T12:30", tz="Europe/Berlin") - pd.Timedelta(hours=1),
        ["2024-03-05T10:30"],
        pd.DatetimeIndex(["2024-03-05T10:30"]),
        pd.DatetimeIndex(["2024-03-05T12:30+02:00"]),
        pd.Series(pd.to_datetime(["2024-03-05T10:30"])),
        (one for one in ["2024-03-05T10:30"]),
        make_cube((1, 1, 2, 2), times=["2024-03-05T10:30"]),
        make_cube((1, 1, 2, 2), times=["2024-03-05T10:30"]).to_dataset("band"),
        make_cube((1, 1, 2, 2), times=["2024-03-05T10:30"]).time,
        make_cube((1, 1, 2, 2), times=["2024-03-05T10:30"]).time[0],
        make_cube((1, 1, 2, 2), times=["2024-03-05T10:30"]).isel(time=0),
    ],
)
def test_every_way_to_say_a_time_names_the_same_time(t):
    found = resolve_times(t, SERIES)
    assert found.dtype == np.dtype("datetime64[ns]")
    assert found.tolist() == moments("2024-03-05T10:30").tolist()


def test_a_date_is_its_midnight():
    assert resolve_times(datetime.date(2024, 3, 5), SERIES) == moments("2024-03-05")
    assert resolve_times("2024-03", SERIES) == moments("2024-03-01")


def test_several_keep_their_order_and_their_repetitions():
    requested = ["2024-05-01", datetime.datetime(2024, 3, 1), np.datetime64("2024-05-01")]
    assert np.array_equal(resolve_times(requested, SERIES), moments("2024-05-01", "2024-03-01", "2024-05-01"))
    assert np.array_equal(resolve_times(SERIES[::-1], SERIES), SERIES[::-1])


@pytest.mark.parametrize(
    ("frequency", "wanted"),
    [
        ("30D", ("2024-02-20", "2024-03-21", "2024-04-20", "2024-05-20")),
        ("MS", ("2024-03-01", "2024-04-01", "2024-05-01")),
        ("1000h", ("2024-02-20", "2024-04-01T16:00", "2024-05-13T08:00")),
        ("2YS", ()),
    ],
)
def test_a_frequency_runs_from_the_first_date_to_the_last(frequency, wanted):
    shuffled = SERIES[[2, 0, 3, 1]]
    if not wanted:
        with pytest.raises(ParameterError, match="names no time"):
            resolve_times(frequency, shuffled)
    else:
        assert np.array_equal(resolve_times(frequency, shuffled), moments(*wanted))


@pytest.mark.parametrize(
    ("t", "message"),
    [
        ([], "names no time"),
        (np.array([], "datetime64[ns]"), "names no time"),
        ("NaT", "NaT"),
        (pd.NaT, "names no time"),
        (["2024-03-05", None], "names no time"),
        (moments("2024-03-05", "NaT"), "names no time"),
        ("often", "'often' is neither a date nor a pandas frequency"),
        ("", "neither a date nor"),
        ("0D", "'0D' is neither a date nor a pandas frequency"),
        ("2024-03-05/2024-03-10", "'2024-03-05/2024-03-10' is an interval"),
        ("2024-03-05T10:30:00Z/2024-03-10T10:30:00Z", "is an interval"),
        ("2024-03-05/..", "is an interval"),
        (["2024-03-05/P10D"], "is an interval"),
        ("2024-13-01", "cannot be read as times"),
        (20240305, "20240305 is a number"),
        (3.5, "3.5 is a number"),
        (True, "True is a number"),
        ([1, 2], "1 is a number"),
        (object(), "cannot be read as times"),
        (["2024-03-05", "2024-03-05T00:00Z"], "cannot be read as times"),
    ],
)
def test_what_is_no_time_is_refused(t, message):
    with pytest.raises(ParameterError, match=message):
        resolve_times(t, SERIES)


@pytest.mark.parametrize("t", ["1500-01-01", "2300-01-01", "9999-01-01"])
def test_a_date_that_nanoseconds_cannot_hold_is_refused_and_not_wrapped_around(t):
    with pytest.raises(ParameterError, match=r"cannot be read as times|outside the series"):
        resolve_times(t, SERIES)


def test_times_outside_the_series_need_leave():
    assert resolve_times(["2024-02-20", "2024-05-20"], SERIES).size == 2
    for t, distance, way in (("2024-02-17T12:00", "2.5", 3), ("2024-05-24", "4.0", 4)):
        with pytest.raises(
            ParameterError, match=rf"{t}.* lies {distance} days outside .*extrapolate={way}\."
        ) as caught:
            resolve_times(["2024-03-01", t], SERIES)
        assert "2024-02-20 to 2024-05-20" in str(caught.value)
        assert resolve_times(t, SERIES, extrapolate=way) == moments(t)
        with pytest.raises(ParameterError, match="outside the series"):
            resolve_times(t, SERIES, extrapolate=way - 1)


@pytest.mark.parametrize("window", [-1, float("nan"), "12"])
def test_window_must_be_a_number_of_days(window):
    with pytest.raises(ParameterError, match="expected a number of days, 0 or more, or None"):
        plan_groups(SERIES[:1], SERIES, window=window, most=2, together=1)


@pytest.mark.parametrize("extrapolate", [-1, float("nan"), float("inf"), "2"])
def test_extrapolate_must_be_a_number_of_days(extrapolate):
    with pytest.raises(ParameterError, match="expected a number of days, 0 or more"):
        resolve_times("2024-03-05", SERIES, extrapolate=extrapolate)


# --- days ------------------------------------------------------------------------------------------------


def test_days_and_days_of_the_year_by_hand():
    times = moments("1970-01-01", "1970-01-02T12:00", "2024-02-29", "2024-12-31T18:00", "2023-12-31", "1969-12-31")
    assert days(times).tolist() == [0, 1.5, 19782, 20088.75, 19722, -1]
    assert day_of_year(times).tolist() == [0, 1.5, 59, 365.75, 364, 364]
    assert days(times[:0]).size == 0


@given(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)))
def test_days_agree_with_the_calendar_of_python(time):
    found = moments(time.isoformat())
    since = time - datetime.datetime(1970, 1, 1)
    assert days(found)[0] == pytest.approx(since / datetime.timedelta(days=1), abs=1e-9)
    within = (
        time.timetuple().tm_yday
        - 1
        + (time - datetime.datetime(time.year, time.month, time.day)) / (datetime.timedelta(days=1))
    )
    assert day_of_year(found)[0] == pytest.approx(within, abs=1e-9)


# --- dates that may be used ------------------------------------------------------------------------------


def test_candidates_by_hand():
    at = np.datetime64("2024-03-02", "ns")
    assert candidates(at, SERIES, window=None, most=10) == (0, 1, 2, 3)
    assert candidates(at, SERIES, window=None, most=1) == (1, 2)
    assert candidates(at, SERIES, window=11, most=10) == (0, 1)
    assert candidates(at, SERIES, window=10.9, most=10) == (1,)
    assert candidates(at, SERIES, window=0.5, most=10) == ()
    assert candidates(SERIES[1], SERIES, window=0, most=1) == (1,)
    assert candidates(SERIES[1], SERIES, window=None, most=1) == (1, 2)


offsets = st.lists(st.integers(-40, 40), min_size=1, max_size=12)


@given(offsets, st.integers(-45, 45), st.none() | st.integers(0, 30), st.integers(1, 4))
def test_candidates_are_the_nearest_on_either_side(at, target, window, most):
    times = np.sort(np.datetime64("2024-06-15", "ns") + np.array(at) * np.timedelta64(1, "D"))
    found = candidates(np.datetime64("2024-06-15", "ns") + np.timedelta64(target, "D"), times, window=window, most=most)
    distance = np.sort(at) - target
    assert list(found) == sorted(set(found))
    for side in (distance <= 0, distance > 0):
        near = [abs(d) for d in distance[side] if window is None or abs(d) <= window]
        assert sorted(abs(distance[i]) for i in found if side[i]) == sorted(near)[:most]


def test_groups_by_hand():
    order = [2, 0, 3, 1]
    requested = moments("2024-03-01", "2024-03-11", "2024-05-20T12:00")
    first, second = plan_groups(requested, SERIES[order], window=None, most=1, together=2)
    assert [order[i] for i in first.dates] == [1, 2]  # in time order, as indices into the series as it came
    assert [target.picks for target in first.target_times] == [(0, 1), (0, 1)]
    assert [order[i] for i in second.dates] == [3]
    assert first.target_times[1].offset.tolist() == [-10, 30]
    assert second.target_times[0].day == days(requested)[2]
    assert second.target_times[0].season == 140.5
    assert first.target_times[0].seasons == (60, 100)


@given(offsets, st.lists(st.integers(-45, 45), min_size=1, max_size=6), st.integers(1, 4), st.integers(1, 3))
def test_a_target_time_has_the_same_dates_however_times_are_grouped(at, targets, together, most):
    origin, day = np.datetime64("2024-06-15", "ns"), np.timedelta64(1, "D")
    times, requested = origin + np.array(at) * day, origin + np.array(targets) * day
    groups = plan_groups(requested, times, window=None, most=most, together=together)
    assert [len(group.target_times) for group in groups[:-1]] == [together] * (len(groups) - 1)
    alone = plan_groups(requested, times, window=None, most=most, together=1)
    target_times = [(group, target) for group in groups for target in group.target_times]
    assert len(target_times) == len(requested) == len(alone)
    for (group, target), one, time in zip(target_times, alone, requested, strict=True):
        assert target.days == one.target_times[0].days
        assert target.day == days(time[None])[0]
        picked = [group.dates[i] for i in target.picks]
        assert picked == [one.dates[i] for i in one.target_times[0].picks]
        assert tuple(days(times[picked]).tolist()) == target.days
        assert list(target.days) == sorted(target.days)


def test_a_target_time_without_a_date_in_its_window_is_refused():
    with pytest.raises(ParameterError, match=r"no date lies within window=5 days of t=2024-03-20T12:00:00; widen"):
        plan_groups(moments("2024-03-01", "2024-03-20T12:00"), SERIES, window=5, most=10, together=1)
