from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from helpers import make_cube, make_dataset

from xsr.core.clock import with_utc
from xsr.core.cube import open_cube
from xsr.core.errors import CubeError

EXPECTED = np.array(["2024-06-15T11:06:21", "2024-06-20T11:06:21"], "datetime64[ns]")
PARIS = timezone(timedelta(hours=2))

KINDS = {
    "datetimes in UTC": [datetime(2024, 6, day, 11, 6, 21, tzinfo=UTC) for day in (15, 20)],
    "datetimes of a zone": [datetime(2024, 6, day, 13, 6, 21, tzinfo=PARIS) for day in (15, 20)],
    "two zones": [datetime(2024, 6, 15, 11, 6, 21, tzinfo=UTC), datetime(2024, 6, 20, 13, 6, 21, tzinfo=PARIS)],
    "zoned index": pd.DatetimeIndex(["2024-06-15T13:06:21", "2024-06-20T13:06:21"], tz="Europe/Paris"),
    "text with Z": ["2024-06-15T11:06:21Z", "2024-06-20T11:06:21.000Z"],
    "text with an offset": ["2024-06-15T13:06:21+02:00", "2024-06-20T13:06:21+02:00"],
    "text without a zone": ["2024-06-15T11:06:21", "2024-06-20 11:06:21"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_times_become_utc(kind):
    values = KINDS[kind]
    labels = values if isinstance(values, pd.Index) else np.array(values, object)
    cube = open_cube(make_cube((2, 1, 4, 4)).assign_coords(time=labels))
    np.testing.assert_array_equal(cube.times, EXPECTED)
    dataset = make_dataset((2, 1, 4, 4)).assign_coords(time=labels)
    np.testing.assert_array_equal(dataset.sr.interpolate(scale=2)["time"], EXPECTED)


def test_the_time_of_a_single_image_becomes_utc():
    cube = make_cube((1, 4, 4)).assign_coords(time=np.array("2024-06-15T13:06:21+02:00", object))
    assert with_utc(cube)["time"].values == EXPECTED[0]


@pytest.mark.parametrize("labels", [[2019, 2020], ["summer", "winter"], EXPECTED])
def test_other_labels_stay_what_they_are(labels):
    cube = make_cube((2, 1, 4, 4)).assign_coords(time=labels)
    assert with_utc(cube) is cube


def test_times_that_cannot_be_read_are_refused():
    cube = make_cube((2, 1, 4, 4))
    with pytest.raises(CubeError, match=r"'time' cannot be read: .*such as '2024-06-15T11:06:21Z'"):
        open_cube(cube.assign_coords(time=["2024-06-15T11:06:21Z", "tomorrow"]))


def test_times_of_other_calendars_are_converted_or_refused():
    cftime = pytest.importorskip("cftime")
    cube = make_cube((2, 1, 4, 4))
    days = [cftime.DatetimeGregorian(2024, 6, day, 11, 6, 21) for day in (15, 20)]
    np.testing.assert_array_equal(open_cube(cube.assign_coords(time=days)).times, EXPECTED)
    days = [cftime.Datetime360Day(2024, 2, 30), cftime.Datetime360Day(2024, 3, 1)]
    with pytest.raises(CubeError, match=r"calendar \['360_day'\]; expected the standard one"):
        open_cube(cube.assign_coords(time=days))
