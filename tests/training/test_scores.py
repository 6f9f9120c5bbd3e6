import math
from dataclasses import replace

import numpy as np
import pytest
from models.helpers import BANDS, make_cube, write_model

import xsr
from xsr.testing import assert_same_grid, synthetic_pair
from xsr.training.scores import (
    BORDER,
    Score,
    TestPlace,
    compare,
    degraded,
    read_places,
    score,
    without_copies,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def zero_model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("zero"), zero=True)


@pytest.fixture(scope="module")
def place():
    pair = synthetic_pair(seed=2, size=(40, 36), times=("2024-04-10", "2024-06-15"))
    return TestPlace("here", BANDS, pair.low.values, ("2024-04-10", "2024-06-15"), pair.low.odc.geobox)


def test_zeroed_network_gains_nothing(place, zero_model):
    found = score(place, 2.0, zero_model)
    assert found.gain_db == 0
    assert found.model_db == found.bicubic_db
    assert found.band_gain_db == dict.fromkeys(BANDS, 0.0)


def test_scores_are_finite_and_consistent(place, model):
    found = score(place, 3.4, model)
    assert (found.place, found.scale, found.dates) == ("here", 3.4, 2)
    numbers = [found.bicubic_db, found.model_db, found.gain_db, *found.band_gain_db.values()]
    assert all(math.isfinite(number) for number in numbers)
    assert found.gain_db == pytest.approx(found.model_db - found.bicubic_db, abs=1e-3)
    assert list(found.band_gain_db) == list(BANDS)
    assert found.gain_db < 0  # the network is random


def test_holes_do_not_spoil_a_score(place, zero_model):
    images = place.images.copy()
    images[0, 1, 5:9, 5:9] = np.nan
    found = score(TestPlace("here", BANDS, images), 2.0, zero_model)
    assert math.isfinite(found.bicubic_db)
    assert abs(found.gain_db) < 1e-3


def test_peak_signal_to_noise_by_hand(zero_model):
    low = make_cube(8, 8)
    high = xsr.interpolate(low, scale=3.0) + np.float32(0.01)
    high[:, 0] += np.float32(0.02)
    found = compare(low.isel(band=[0, 1, 2]), high.isel(band=[0, 1, 2]), name="n", scale=3.0, model=zero_model)
    # Errors of 0.03, 0.01, 0.01 in every pixel, pooled over bands.
    assert found.bicubic_db == pytest.approx(-10 * math.log10((9e-4 + 1e-4 + 1e-4) / 3), abs=0.01)


def test_border_is_left_out(zero_model):
    low = make_cube(10, 10)
    high = xsr.interpolate(low, scale=2.0) + np.float32(0.01)
    spoilt = high.copy(deep=True)
    spoilt[..., :BORDER] = 9
    spoilt[..., -BORDER:, :] = 9
    scores = [compare(low, truth, name="n", scale=2.0, model=zero_model) for truth in (high, spoilt)]
    assert scores[0] == scores[1]
    assert scores[0].bicubic_db == pytest.approx(40.0, abs=0.01)


def test_degraded_keeps_the_corner_and_constants(place):
    low = place.cube(degraded(place, 3.4), scale=3.4)
    assert low.shape == (2, 4, 11, 10)
    box, fine = low.odc.geobox.affine, place.box.affine
    assert (box.c, box.f) == (fine.c, fine.f)
    assert box.a == pytest.approx(34.0)
    flat = TestPlace("flat", BANDS, np.full((1, 4, 20, 20), 0.2, np.float32))
    assert np.abs(degraded(flat, 2.0) - 0.2).max() < 1e-6


def test_cube_of_a_place(place):
    cube = place.cube()
    assert_same_grid(cube, place.box)
    assert cube.band.values.tolist() == list(BANDS)
    assert cube.time.values[1] == np.datetime64("2024-06-15")
    bare = TestPlace("bare", BANDS, place.images).cube()
    assert "time" not in bare.coords
    assert bare.odc.geobox.crs is not None


def test_gain_is_a_difference():
    assert Score("p", 2.0, 1, 30.0, 32.3456, {}).gain_db == 2.346


# --- the shipped weights on real places --------------------------------------------------------------------


def cropped(place, dates, size=128):
    """A few dates and the middle of a place."""
    height, width = place.images.shape[2:]
    top, left = (max(0, (n - size) // 2) for n in (height, width))
    images = place.images[dates, :, top : top + size, left : left + size]
    return TestPlace(place.name, place.bands, images)


@pytest.mark.slow
def test_series_31ues(manifest):
    place = next(read_places(manifest))
    assert place.bands == BANDS
    assert place.images.shape[1:] == (4, 62, 64)
    assert 20 <= len(place.times) == len(place.images) <= 30
    assert tuple(place.box.boundingbox) == (574680, 5621810, 575320, 5622430)


@pytest.fixture(scope="module")
def places(manifest):
    """Places of the test split, by name."""
    return {place.name: place for place in read_places(manifest)}


@pytest.mark.slow
def test_places_of_the_test_split(places):
    assert list(places) == [
        "31UES",
        "31UES at 20 m",
        "Kempen 31UFS",
        "Kempen 31UFS at 20 m",
        "Berlin A 2021-10-10",
        "Slovenia",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "gain"), [(2.0, 2.0), (4.0, 1.0)])
def test_shipped_weights_beat_bicubic_and_are_faithful(places, scale, gain):
    chosen = [
        cropped(places["31UES"], slice(0, 12, 4)),
        cropped(places["Kempen 31UFS"], slice(None)),
        cropped(places["Berlin A 2021-10-10"], slice(None)),
    ]
    for place in chosen:
        found = score(place, scale, "liif_s2")
        assert found.gain_db >= gain, found
        assert min(found.band_gain_db.values()) > 0, found
        assert found.low_rmse < min(0.002, found.low_rmse_bicubic), found


def test_copies_of_bands_of_20m_are_no_truth_at_10m():
    rng = np.random.default_rng(0)
    seen = rng.random((2, 1, 8, 9)).astype(np.float32)
    copies = np.pad(seen.repeat(2, axis=2).repeat(2, axis=3), [(0, 0), (0, 0), (1, 0), (0, 1)], mode="edge")
    fine = rng.random((2, 1, *copies.shape[2:])).astype(np.float32)
    place = TestPlace("made up", ("B02", "B11"), np.concatenate([fine, copies], axis=1))
    at_10m, at_20m = without_copies(place, ("B11",))
    assert at_10m.bands == ("B02",)
    np.testing.assert_array_equal(at_10m.images, fine)
    assert at_20m.bands == ("B02", "B11")
    assert at_20m.coarser == ("B11",)
    np.testing.assert_allclose(at_20m.images[:, 1:], seen, rtol=1e-6)
    alone = list(without_copies(replace(place, bands=("B11",), images=copies), ("B11",)))
    assert [one.bands for one in alone] == [("B11",)]
    np.testing.assert_allclose(alone[0].images, seen, rtol=1e-6)
    (empty,) = without_copies(replace(place, images=place.images[:0]), ("B11",))
    assert empty.bands == ("B02",)


def test_places_without_copies_stay_as_they_are():
    place = TestPlace("made up", ("B02", "B11"), np.ones((1, 2, 4, 4), np.float32))
    assert list(without_copies(place, ())) == [place]
    assert next(without_copies(place, (), 20.0)).coarser == ("B11",)
