from dataclasses import replace

import numpy as np
import pytest

from xsr.core.errors import ParameterError
from xsr.core.sensors import sigma_px
from xsr.training import pairs, series
from xsr.training.pairs import BORDER, WaldSampler
from xsr.training.scenes import BANDS, FINE
from xsr.training.series import Series, SeriesBatch, SeriesSampler, cloud

MTF = (0.3, 0.25)
DATES = 8
TIMES = np.datetime64("2024-01-15T10:30", "ns") + np.cumsum([0, 3, 5, 2, 10, 5, 15, 5]) * np.timedelta64(1, "D")


def make_series(height=80, width=76, clouds=(), seed=0, nest=False):
    """Every date has a value of its own, so that a patch tells the dates that it was made from."""
    rng = np.random.default_rng(seed)
    level = np.arange(1, DATES + 1)[:, None, None, None] / 10
    image = np.broadcast_to(level, (DATES, 2, height, width)).astype(np.float32)
    image = image + 1e-3 * rng.standard_normal(image.shape).astype(np.float32)
    for date, rows, cols in clouds:
        image[date, :, rows, cols] = np.nan
    coarse = None
    if nest:
        coarse = np.full((DATES, 2, height // 2, width // 2), np.nan, np.float32)
        coarse[:, 1] = image[:, 1, ::2, ::2]
        image[:, 1] = np.nan
    return Series("here", TIMES, image, coarse)


def sampler(*found, **changes):
    wald = dict(mtf=MTF, scale_range=(1.0, 4.0), patch=14, queries=50, batch=4, mtf_jitter=0.08, seed=3)
    own = {key: changes.pop(key) for key in ("dates", "hidden", "clouds") if key in changes}
    return SeriesSampler(found or (make_series(),), WaldSampler((), **{**wald, **changes}), **{"dates": (3, 7), **own})


NAMES = ("low", "valid", "days", "day_of_year", "tau", "tau_day_of_year", "rows", "cols", "target")


def same(one: SeriesBatch, two: SeriesBatch):
    return one.scale == two.scale and all(getattr(one, n).tobytes() == getattr(two, n).tobytes() for n in NAMES)


@pytest.fixture
def plain(monkeypatch):
    """No flips and gains, so that dates can be told apart."""
    monkeypatch.setattr(series, "augment", lambda windows, rng, dates, turn: windows)


def test_a_draw_is_a_function_of_seed_and_step():
    one, two = sampler(), sampler()
    later = one(7)
    one(1)
    assert same(later, two(7))
    assert not same(later, two(8))
    assert not same(later, sampler(seed=4)(7))


def test_shapes_and_types():
    counts = set()
    for step in range(12):
        batch = sampler()(step)
        dates = batch.days.shape[1]
        counts.add(dates)
        assert batch.low.shape == (4, dates, 2, 14, 14)
        assert batch.valid.shape == (4, dates, 14, 14)
        assert batch.day_of_year.shape == (4, dates)
        assert batch.tau.shape == batch.tau_day_of_year.shape == (4,)
        assert batch.rows.shape == batch.cols.shape == (4, 50)
        assert batch.target.shape == (4, 50, 2)
        assert (batch.low.dtype, batch.valid.dtype, batch.target.dtype) == (np.float32, bool, np.float32)
        assert np.isfinite(batch.low).all()
        assert min(batch.rows.min(), batch.cols.min()) >= BORDER - 1e-9
        assert max(batch.rows.max(), batch.cols.max()) <= 13 - BORDER + 1e-9
    assert counts == {3, 4, 5, 6, 7}


# --- which dates answer ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("hidden", "share"), [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_the_date_asked_for_is_hidden_as_often_as_asked(hidden, share):
    among = [(one.days == one.tau[:, None]).any(axis=1) for one in map(sampler(hidden=hidden), range(40))]
    assert np.mean(among) == pytest.approx(share, abs=0 if share in (0, 1) else 0.12)


def test_frames_come_in_time_order_with_their_seasons_and_images(plain):
    for step in range(12):
        batch = sampler(clouds=0.0)(step)
        assert (np.diff(batch.days, axis=1) >= 0).all()
        start = np.datetime64("2024-01-01", "ns")
        np.testing.assert_allclose(
            batch.days - batch.day_of_year, (start - np.datetime64(0, "ns")) / np.timedelta64(1, "D")
        )
        index = np.abs(batch.days[..., None] - series.days(TIMES)).argmin(axis=-1)
        middle = batch.low[:, :, :, 4:10, 4:10].mean(axis=(2, 3, 4))
        np.testing.assert_allclose(middle, (index + 1) / 10, atol=2e-3)
        asked = np.abs(batch.tau[:, None] - series.days(TIMES)).argmin(axis=-1)
        np.testing.assert_allclose(batch.target.mean(axis=(1, 2)), (asked + 1) / 10, atol=2e-3)


@pytest.mark.slow
def test_a_date_that_is_mostly_hidden_neither_asks_nor_answers():
    everywhere, half = slice(None), slice(0, 40)
    cloudy = make_series(clouds=[(2, everywhere, everywhere), (5, half, everywhere)])
    assert cloudy.clear().tolist() == [0, 1, 3, 4, 6, 7]
    assert cloudy.clear(0.2).tolist() == [0, 1, 3, 4, 5, 6, 7]
    asked, answered = set(), set()
    for step in range(40):
        batch = sampler(cloudy)(step)
        asked |= set(batch.tau.tolist())
        answered |= set(batch.days.ravel().tolist())
    known = series.days(TIMES)
    assert asked == {known[i] for i in (0, 1, 3, 4, 6, 7)}
    assert answered == {known[i] for i in (0, 1, 3, 4, 5, 6, 7)}


def test_a_short_series_repeats_its_dates():
    short = make_series()
    short = replace(short, times=short.times[:4], image=short.image[:4])
    batch = sampler(short, dates=(6, 6), hidden=1.0)(0)
    assert batch.days.shape == (4, 6)
    for frames, tau in zip(batch.days, batch.tau, strict=True):
        assert set(frames) | {tau} == set(series.days(short.times))
        assert tau not in frames


# --- clouds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_clouds_hide_their_share_in_blobs(share):
    for size in (20, 97):
        mask = cloud(size, share, np.random.default_rng(size))
        assert mask.shape == (size, size)
        assert mask.mean() == pytest.approx(share, abs=1 / size)
        assert (mask[1:] != mask[:-1]).mean() < 6 / size  # few borders


def test_pixels_under_clouds_are_not_valid_and_nothing_is_asked_there(plain):
    extent = pairs.even(14 * 2)  # as large as a window, so that every window starts at the corner
    hole = [(date, slice(8, 18), slice(6, 14)) for date in range(DATES)]
    here = make_series(extent, extent, clouds=hole)
    draw = sampler(here, scale_range=(2.0, 2.0), mtf_jitter=0.0, clouds=0.0, queries=300)
    clear = np.isfinite(here.image[0, 0])
    shares = []
    for step in range(6):
        batch = draw(step)
        assert (batch.valid == batch.valid[:, :1]).all()  # the hole is the same on all dates
        for index in range(4):
            row, col = (np.rint((q[index] + 0.5) * 2 - 0.5).astype(int) for q in (batch.rows, batch.cols))
            assert np.array_equal(np.isnan(batch.target[index]).all(axis=1), ~clear[row, col])
            shares.append(np.isnan(batch.target[index]).mean())
            centre = (np.arange(14) + 0.5) * 2 - 0.5
            weight = np.exp(-0.5 * ((np.arange(-20, extent + 20) - centre[:, None]) / sigma_px(0.3, 2)) ** 2)
            weight /= weight.sum(axis=1, keepdims=True)
            seen = weight @ np.pad(clear.astype(float), 20, mode="symmetric") @ weight.T
            sure = np.abs(seen - 0.95) > 1e-3
            assert np.array_equal(batch.valid[index, 0][sure], (seen > 0.95)[sure])
    assert 0.05 < np.mean(shares) < 0.6


@pytest.mark.slow
def test_made_up_clouds_hide_a_part_of_some_patches_and_nothing_of_the_target():
    for most, some in ((0.0, False), (0.6, True)):
        hidden = [1 - batch.valid.mean(axis=(2, 3)) for batch in map(sampler(clouds=most), range(20))]
        patches = np.array([one.mean(axis=1) > 0 for one in hidden])
        assert max(h.max() for h in hidden) <= most + 0.02
        assert (0.3 < patches.mean() < 0.7) == some
        assert patches.any() == some
    assert np.isfinite(sampler(clouds=0.6)(0).target).all()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_a_cloud_covers_its_share_and_holds_together(share):
    found = series.cloud(32, share, np.random.default_rng(0))
    assert found.mean() == pytest.approx(share, abs=0.01)
    edges = (found[1:] != found[:-1]).mean()
    assert edges < 0.15


@pytest.mark.slow
def test_a_patch_hidden_throughout_is_nan_and_not_valid():
    cloudy = make_series(40, 40, clouds=[(2, slice(0, 36), slice(None))])
    assert 2 not in cloudy.clear(0.2)
    usable = replace(cloudy, image=np.concatenate([cloudy.image, np.ones_like(cloudy.image)], axis=3))
    assert 2 in usable.clear(0.2)
    seen = 0
    for step in range(60):
        batch = sampler(usable, scale_range=(1.0, 1.0), noise=(0.01, 0.01))(step)
        lost = np.isnan(batch.low).all(axis=(2, 3, 4))
        assert np.array_equal(np.isnan(batch.low).any(axis=(2, 3, 4)), lost)
        assert not batch.valid[lost].any()
        seen += lost.sum()
    assert seen > 0


# --- bands -------------------------------------------------------------------------------------------------


def test_coarse_bands_answer_where_they_are_interpolated_and_are_never_the_truth():
    nest = make_series(nest=True)
    batch = sampler(nest, coarser=(False, True), level=0.0)(0)
    assert np.isfinite(batch.low).all()
    assert np.isnan(batch.target[..., 1]).all()
    assert np.isfinite(batch.target[..., 0]).all()
    sharp = sampler(nest, coarser=(False, True), level=1.0)(0)
    assert np.isnan(sharp.low[:, :, 1]).all()
    assert np.isfinite(sharp.low[:, :, 0]).all()


def test_a_date_is_degraded_as_a_single_image_is(plain):
    extent = pairs.even(14 * 2)
    here = make_series(extent, extent)
    draw = sampler(here, scale_range=(2.0, 2.0), mtf_jitter=0.0, clouds=0.0, similar=False)
    batch = draw(0)
    for index in range(4):
        weight = [(np.arange(14) + 0.5) * 2 - 0.5] * 2
        for date, day in enumerate(batch.days[index]):
            image = here.image[int(np.abs(series.days(TIMES) - day).argmin())]
            for band, mtf in enumerate(MTF):
                wide = np.pad(image[band], 20, mode="symmetric").astype(float)
                place = np.arange(-20, extent + 20)
                blur = [np.exp(-0.5 * ((place - centre[:, None]) / sigma_px(mtf, 2)) ** 2) for centre in weight]
                blur = [one / one.sum(axis=1, keepdims=True) for one in blur]
                wanted = blur[0] @ wide @ blur[1].T
                np.testing.assert_allclose(batch.low[index, date, band], wanted, atol=2e-6)


# --- loading -----------------------------------------------------------------------------------------------


def test_coarser_series_know_every_band():
    rng = np.random.default_rng(0)
    image = np.full((3, 10, 96, 96), np.nan, np.float32)
    image[:, : len(FINE)] = rng.random((3, 4, 96, 96))
    coarse = np.full((3, 10, 48, 48), np.nan, np.float32)
    coarse[:, len(FINE) :] = rng.random((3, 6, 48, 48))
    made = series.coarser(Series("here", TIMES[:3], image, coarse, 0.5))
    assert made.place == "here at 20 m"
    assert made.image.shape == (3, 10, 48, 48)
    assert np.isfinite(made.image).all()
    assert made.coarse is None
    assert made.weight == 0.5
    assert np.array_equal(made.image[:, 4:], coarse[:, 4:])
    assert series.coarser(Series("here", TIMES[:3], image, None)) is None
    assert series.coarser(Series("here", TIMES[:3], image[..., :90], coarse[..., :45])) is None


@pytest.mark.slow
def test_synthetic_series_have_clouds_and_every_band():
    one, two = series.load(None, synthetic=2)  # those with too few clear dates would be left out
    assert one.image.shape == (12, len(BANDS), 128, 128)
    assert (np.diff(one.times) > np.timedelta64(0)).all()
    hidden = np.isnan(one.image)
    assert (hidden == hidden[:, :1]).all()
    assert 0.05 < hidden.mean() < 0.5
    assert not np.array_equal(one.image, two.image, equal_nan=True)


def test_nothing_to_train_on():
    with pytest.raises(ParameterError, match="no series to train on"):
        series.load(None, synthetic=0)


@pytest.mark.slow
def test_real_series_are_in_order_and_those_kept_for_validation_are_not_among_them(manifest, monkeypatch):
    monkeypatch.setattr(series, "registered", lambda one: one)
    found = series.load(manifest, synthetic=0)
    names = {one.place.removesuffix(" at 20 m") for one in found}
    assert "belgium_31UDS" in names
    assert len(names) > 10
    kept = {one.place for one in series.read(manifest, split=("validation",))}
    assert len(kept) == 5
    assert not names & kept
    for one in found:
        assert (np.diff(one.times) > np.timedelta64(1, "D")).all()  # no date shows what another hides
        assert len(one.times) == len(one.image)
        assert one.image.shape[1] == len(BANDS)
        assert 0.005 < np.nanmedian(one.image) < 0.7, one.place
        if one.coarse is not None:
            assert one.coarse.shape[2:] == tuple(size // 2 for size in one.image.shape[2:])
