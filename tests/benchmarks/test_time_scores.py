import numpy as np
import pytest
from common.time_scores import read_series, score_series
from models.helpers import write_temporal

from xsr.training.scenes import BANDS, FINE
from xsr.training.series import Series


def make_series(change):
    """Five clear dates of a smooth scene that ``change`` turns from date to date."""
    y, x = np.mgrid[:40, :40]
    scene = 0.2 + 0.05 * np.sin(2 * np.pi * y / 31) * np.cos(2 * np.pi * x / 27)
    image = np.full((5, len(BANDS), 40, 40), np.nan, np.float32)
    for date in range(5):
        image[date, [BANDS.index(band) for band in FINE]] = scene + change(date)
    times = np.datetime64("2024-06-01", "ns") + np.arange(5) * np.timedelta64(10, "D")
    return Series("here", times, image, None)


@pytest.fixture(scope="module")
def zero_model(tmp_path_factory):
    return write_temporal(tmp_path_factory.mktemp("zero"), zero=True)


@pytest.mark.slow
def test_a_linear_change_is_for_linear_interpolation(zero_model):
    found = score_series(make_series(lambda date: 0.01 * date), 2.0, "hidden", temporal=zero_model)
    assert (found.place, found.dates, found.case) == ("here", 3, "hidden")
    # The nearest date is one step away, and nothing else is wrong by as much.
    assert found.db["bicubic, nearest"] == pytest.approx(-20 * np.log10(0.01), abs=0.3)
    assert found.db["bicubic, linear"] > found.db["bicubic, nearest"] + 6
    assert found.db["temporal"] == pytest.approx(found.db["bicubic, linear"], abs=0.5)  # a network of zeros


@pytest.mark.slow
def test_the_date_itself_answers_where_it_is_shown(zero_model):
    series = make_series(lambda date: 0.02 * (date % 2))
    hidden, shown, clouded = (
        score_series(series, 2.0, case, temporal=zero_model) for case in ("hidden", "shown", "clouded")
    )
    assert shown.db["bicubic, nearest"] == shown.db["bicubic, linear"]
    assert shown.db["bicubic, linear"] > hidden.db["bicubic, linear"] + 6
    assert shown.db["bicubic, mean"] < shown.db["bicubic, linear"]
    assert np.isfinite(list(clouded.db.values())).all()
    assert clouded.db != hidden.db


def test_a_series_without_a_clear_date_between_others(zero_model):
    series = make_series(lambda date: np.nan if 0 < date < 4 else 0.0)
    assert score_series(series, 2.0, "hidden", temporal=zero_model) is None


@pytest.mark.slow
def test_series_kept_apart(manifest):
    places = [series.place for series in read_series(manifest)]
    assert places[0] == "31UES"
    assert len(places) == 6
