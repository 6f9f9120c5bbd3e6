from dataclasses import replace

import numpy as np
import pytest
from models.helpers import write_temporal

from xsr.core.errors import ParameterError
from xsr.kernels import spread
from xsr.models import registry
from xsr.models.card import read_card, write_card
from xsr.training.interval_dates import cases, collect_dates, hidden_below, nearest, places
from xsr.training.interval_kinds import names
from xsr.training.recipes import TEMPORAL_S2_INTERVALS
from xsr.training.scenes import BANDS, FINE
from xsr.training.series import Series

TIMES = np.datetime64("2024-04-01", "ns") + np.array([0, 5, 10, 20, 40, 70]) * np.timedelta64(1, "D")


@pytest.fixture(scope="module")
def series():
    """Six dates of four bands; the third lies half under clouds."""
    from xsr.testing import synthetic_cube

    image = np.full((6, len(BANDS), 64, 64), np.nan, np.float32)
    at = [BANDS.index(band) for band in FINE]
    image[:, at] = synthetic_cube(size=(64, 64), times=TIMES, bands=FINE).values
    image[2, :, :, :32] = np.nan
    return Series("a place", TIMES, image, None)


def test_a_date_is_shown_and_then_hidden_with_those_next_to_it():
    useful, rng = np.arange(6), np.random.default_rng(0)
    reaches = set()
    for _ in range(40):
        shown, hidden = cases(TIMES, useful, 2, rng)
        assert shown.kept == (0, 1, 2, 3, 4, 5)
        assert 2 not in hidden.kept
        assert min(hidden.kept) < 2 < max(hidden.kept)  # between dates, never beyond them
        away = np.abs((TIMES[list(hidden.kept)] - TIMES[2]) / np.timedelta64(1, "D"))
        reaches.add(float(away.min()))
    assert {5.0, 10.0} <= reaches


def test_dates_of_the_same_time_are_hidden_together():
    times = TIMES.copy()
    times[3] = times[2]
    for _ in range(5):
        _, hidden = cases(times, np.arange(6), 2, np.random.default_rng(1))
        assert not {2, 3} & set(hidden.kept)


def test_the_nearest_dates_on_either_side_by_hand():
    away = np.array([-30.0, -20, -10, -8, -6, -4, -2, 0, 3, 9])
    assert nearest(away, np.arange(10)) == [3, 4, 5, 6, 7, 8, 9]


def test_pixels_under_clouds_stay_hidden(series):
    (place,) = places(series)
    low = hidden_below(place, 2.0)
    assert low.shape == (6, 4, 32, 32)
    assert np.isnan(low[2, :, :, :15]).all()
    assert np.isfinite(low[2, :, :, 18:]).all()
    assert np.isfinite(low[[0, 1, 3, 4, 5]]).all()


def test_errors_know_how_far_the_nearest_clear_date_is(series, tmp_path, monkeypatch):
    path = write_temporal(tmp_path)
    write_card(replace(read_card(path), sharpness="ideal"), path)
    monkeypatch.setattr(registry, "folders", lambda: (tmp_path,))
    image = replace(TEMPORAL_S2_INTERVALS.image)
    task = replace(TEMPORAL_S2_INTERVALS.task, of="timely", scales=(2.0,), pixels=200)
    recipe = replace(TEMPORAL_S2_INTERVALS, image=image, task=task)
    found = collect_dates(recipe, [series])
    assert found.features.shape[1] == spread.COUNT + 1
    days = np.exp(found.features[:, -2]) - spread.DAY
    assert days.min() == pytest.approx(0, abs=1e-5)
    assert days.max() > 4
    assert set(np.unique(found.band)) == {BANDS.index(band) for band in FINE}
    assert np.isfinite(found.error).all()
    again = collect_dates(recipe, [series])
    np.testing.assert_array_equal(again.error, found.error)
    assert names([series]) == ["a place"]


def test_series_without_a_clear_date_between_others_are_refused(series):
    cloudy = replace(series, image=np.where(np.arange(6)[:, None, None, None] < 2, series.image, np.float32(np.nan)))
    with pytest.raises(ParameterError, match="no series has a clear date between others"):
        collect_dates(TEMPORAL_S2_INTERVALS, [cloudy])
