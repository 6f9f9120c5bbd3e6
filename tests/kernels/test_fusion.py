"""Fusion of displaced dates: weights against a dense oracle, planes, noise, radiometry, and what more dates bring."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import j0

from xsr.core.blocks import Span
from xsr.core.sensors import sigma_px
from xsr.kernels import fusion
from xsr.kernels.degrade import observe, sensor_band
from xsr.kernels.evidence import EDGE, Series
from xsr.kernels.fusion import (
    LEVELS,
    OWN,
    PHASES,
    REACH,
    SETTLE,
    WINDOW,
    Fusion,
    composite,
    displaced,
    harmonised,
    weights,
)

MTF = 0.3
SENSOR = float(sigma_px(MTF, 1.0))
SHIFTS = st.lists(st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)), max_size=3)
STEPS = np.arange(-REACH, REACH + 1)


def power(f):
    return (1 + (f / fusion.OUTER) ** 2) ** -(1 + fusion.SMOOTHNESS)


# --- weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.0, 0.3, 1.0, 2.7, 6.5])
def test_covariance_is_the_hankel_transform(distance):
    def density(f):
        return (
            2
            * np.pi
            * f
            * power(f)
            * np.exp(-2 * (np.pi * f) ** 2 * (SENSOR**2 + 0.3**2))
            * j0(2 * np.pi * f * distance)
        )

    wanted = sum(quad(density, a, b, limit=200)[0] for a, b in ((0, 0.05), (0.05, 0.5), (0.5, 1.5)))
    found = fusion.covariance(np.array([distance]), SENSOR, 0.3)[0] * fusion.HIGHEST / fusion.FREQUENCIES
    assert found == pytest.approx(wanted, rel=2e-3)


def dense(shifts, level, query, result, *, by_date=None, own=(OWN, np.inf), without=()):
    """Universal kriging by one bordered system; ``by_date`` is the noise of each other date, as a multiple.

    Pixels ``without`` are left out of it: they have no weight.
    """
    place = np.array([(y, x) for y in STEPS for x in STEPS], float)
    at = np.concatenate([place, *(place - np.array(shift) for shift in shifts)])
    each = np.array(
        [min(own[0] * level, own[1]), *level * np.array((1.0,) * len(shifts) if by_date is None else by_date)]
    )
    noise = np.repeat(np.square(each), len(place)) * fusion.unit(SENSOR)
    gap = np.linalg.norm(at[:, None] - at[None], axis=-1)
    plane = np.column_stack([np.ones(len(at)), at])
    matrix = np.block([[fusion.covariance(gap, SENSOR, SENSOR) + np.diag(noise), plane], [plane.T, np.zeros((3, 3))]])
    right = np.r_[fusion.covariance(np.linalg.norm(at - query, axis=-1), SENSOR, result), 1, query]
    kept = np.setdiff1d(np.arange(len(right)), without)
    weight = np.zeros(len(right))
    weight[kept] = np.linalg.solve(matrix[np.ix_(kept, kept)], right[kept])
    return weight[: len(at)]


@pytest.mark.parametrize("shifts", [(), ((0.3, -0.4),), ((0.25, 0.1), (-1.2, 0.7))])
@pytest.mark.parametrize("level", [0, 4])
@pytest.mark.parametrize("own", [(OWN, np.inf), (1.0, 0.1)])
def test_weights_against_a_dense_solution(shifts, level, own):
    found, _ = weights(shifts, SENSOR, 0.5 * SENSOR, own)
    assert found.shape == (len(LEVELS), PHASES + 1, PHASES + 1, 1 + len(shifts), len(STEPS), len(STEPS))
    for down, right in ((0, 0), (4, 12), (8, 8), (16, 3)):
        query = np.array([down, right]) / PHASES - 0.5
        wanted = dense(shifts, LEVELS[level], query, 0.5 * SENSOR, own=own)
        np.testing.assert_allclose(found[level, down, right].ravel(), wanted, rtol=0, atol=2e-5)


@given(SHIFTS.map(tuple))
@settings(max_examples=15)
def test_weights_keep_planes_and_more_dates_know_more(shifts):
    found, unknown = weights(shifts, SENSOR, 0.3 * SENSOR)
    y, x = np.meshgrid(STEPS, STEPS, indexing="ij")
    dates = [1.0 + 0.3 * (y - dy) - 0.2 * (x - dx) for dy, dx in ((0, 0), *shifts)]
    made = (found * np.stack(dates)).sum(axis=(3, 4, 5))
    phase = np.arange(PHASES + 1) / PHASES - 0.5
    wanted = 1.0 + 0.3 * phase[:, None] - 0.2 * phase
    np.testing.assert_allclose(made, np.broadcast_to(wanted, made.shape), rtol=0, atol=2e-5)
    if shifts:
        _, fewer = weights(shifts[:-1], SENSOR, 0.3 * SENSOR)
        assert (unknown <= fewer + 1e-4).all()
    assert (np.diff(unknown, axis=0) >= -1e-4).all()  # noise never helps


def test_an_image_alone_without_noise_is_hardly_changed_on_its_pixels():
    found, _ = weights((), SENSOR, SENSOR)
    middle = found[0, PHASES // 2, PHASES // 2, 0]
    assert middle[REACH, REACH] == pytest.approx(1.0, abs=0.01)
    assert np.abs(middle).sum() == pytest.approx(1.0, abs=0.02)


# --- dates -------------------------------------------------------------------------------------------------------


def fine_scene(seed, side=192, slope=1.3):
    """Random field with a power law for a spectrum, 0.2 in the mean."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    amplitude = np.where(f > 0, np.maximum(f, 1e-9) ** -slope, 0)
    field = np.fft.irfft2(amplitude * np.fft.rfft2(rng.standard_normal((side, side))), s=(side, side))
    return (0.2 + 0.03 * field / field.std()).astype(np.float32)


def observed(scene, shift, noise=0.0, seed=0):
    """What the sensor sees of a scene of half its pixels, displaced."""
    rows, cols = (Span(0, size // 2) for size in scene.shape)
    low = observe(scene[None], sensor_band(MTF, 2.0, source_mtf=MTF), rows=rows, cols=cols, shift=shift)
    return (low + noise * np.random.default_rng(seed).standard_normal(low.shape)).astype(np.float32)


def test_displaced_moves_the_content():
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32), (1, 20, 20))
    moved = displaced(ramp, (0.4, 1.5))
    np.testing.assert_allclose(moved[0, 6:14, 6:14], ramp[0, 6:14, 6:14] - 1.5, atol=1e-5)
    assert displaced(ramp, (0.0, 0.0)) is ramp


def test_composite_is_linear_in_time_and_in_place():
    y, x = np.mgrid[:16, :16].astype(np.float32)
    image = 0.01 * y + 0.02 * x
    first, second = displaced(image[None], (0.5, 0.0)), 0.4 + displaced(image[None], (0.0, -0.5))
    valid = np.ones((2, 16, 16), bool)
    valid[1, :, 12:] = False
    made, known = composite(np.stack([first, second]), valid, [(0.5, 0.0), (0.0, -0.5)], np.array([-1.0, 3.0]))
    inner = (slice(4, 12), slice(4, 10))
    np.testing.assert_allclose(made[0][inner], image[inner] + 0.25 * 0.4, atol=1e-5)
    np.testing.assert_allclose(made[0][4:12, 13], image[4:12, 13], atol=1e-5)  # the other date alone
    assert known.all()
    made, known = composite(np.stack([first, second]), np.zeros_like(valid), [(0, 0), (0, 0)], np.array([-1.0, 3.0]))
    assert np.isfinite(made).all()
    assert not known.any()


def test_harmonised_undoes_a_line():
    scene = observed(fine_scene(0), (0.0, 0.0))
    other = 0.05 + 0.6 * displaced(scene, (0.3, -0.2))
    valid = np.ones((1, *scene.shape[1:]), bool)
    valid[:, 40:44, 40:44] = False
    spoilt = np.where(valid[:, None], other[None], np.float32(9.0))
    made, misfit, share = harmonised(scene, spoilt, valid, [(0.3, -0.2)])
    wanted = displaced(scene, (0.3, -0.2))[:, WINDOW:-WINDOW, WINDOW:-WINDOW]
    np.testing.assert_allclose(made[0], wanted, atol=2e-4)
    assert np.sqrt(misfit.max()) < 1e-3
    assert share.min() < 1 <= share.max() + 1e-9


@pytest.mark.parametrize("noise", [0.0, 0.002, 0.006])
def test_noise_is_found(noise):
    scene = fine_scene(1, slope=1 + fusion.SMOOTHNESS)
    image = observed(scene, (0.0, 0.0), OWN * noise, 1)
    shifts = [(0.4, -0.3), (-0.2, 0.45)]
    dates = np.stack([observed(scene, shift, noise, 2 + n) for n, shift in enumerate(shifts)])
    part = Series.of(image, dates, np.ones((2, *image.shape[1:]), bool), shifts, SENSOR).using([0, 1])
    clean = observed(scene, (0.0, 0.0))[0]
    unit = np.sqrt(0.25 * np.mean(np.diff(clean, axis=0) ** 2) + 0.25 * np.mean(np.diff(clean, axis=1) ** 2))
    found = float(np.median(part.noise)) * unit
    assert found < 0.0012 if noise == 0 else 0.6 * noise < found < 1.4 * noise


def test_more_dates_make_less_error():
    scene = fine_scene(2)
    rng = np.random.default_rng(3)
    shifts = [tuple(shift) for shift in rng.uniform(-0.5, 0.5, (7, 2)).tolist()]
    image = observed(scene, (0.0, 0.0), 0.0005, 9)
    dates = np.stack([observed(scene, shift, 0.0005, n) for n, shift in enumerate(shifts)])
    series = Series.of(image, dates, np.ones((7, *image.shape[1:]), bool), shifts, SENSOR)
    side = image.shape[1] - 2 * EDGE
    place = (np.arange(2 * side) + 0.5) / 2 - 0.5
    rows, cols = np.meshgrid(place, place, indexing="ij")
    truth = scene[2 * EDGE : -2 * EDGE, 2 * EDGE : -2 * EDGE]
    errors = [
        np.sqrt(np.mean((series.using(range(count)).at(rows, cols, 0.5)[0] - truth) ** 2)) for count in (0, 1, 3, 7)
    ]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 0.7 * errors[0]
    gained = [float(series.using(range(count)).gained.mean()) for count in (0, 1, 3, 7)]
    assert gained[0] == 0 < gained[1] < gained[2] < gained[3] < 1


def test_changed_dates_count_for_little():
    scene = fine_scene(4)
    image, changed = observed(scene, (0.0, 0.0)), observed(fine_scene(5), (0.3, 0.3))
    series = Series.of(image, changed[None], np.ones((1, *image.shape[1:]), bool), [(0.3, 0.3)], SENSOR)
    assert float(series.using([0]).gained.mean()) < 0.15


def errors_in_db(image, dates, shifts, scene, counts):
    """Peak signal-to-noise ratio of estimates from some of the dates."""
    series = Series.of(image, dates, np.ones((len(dates), *image.shape[1:]), bool), shifts, SENSOR)
    side = image.shape[1] - 2 * EDGE
    place = (np.arange(2 * side) + 0.5) / 2 - 0.5
    rows, cols = np.meshgrid(place, place, indexing="ij")
    truth = scene[2 * EDGE : -2 * EDGE, 2 * EDGE : -2 * EDGE]
    made = [series.using(picks).at(rows, cols, 0.5)[0] for picks in counts]
    return [float(-10 * np.log10(np.mean((one - truth) ** 2))) for one in made]


@pytest.mark.parametrize("bad", ["noise", "haze", "another place"])
def test_a_bad_date_does_no_harm(bad):
    scene = fine_scene(2)
    shifts = [tuple(shift) for shift in np.random.default_rng(3).uniform(-0.5, 0.5, (7, 2)).tolist()]
    image = observed(scene, (0.0, 0.0), 0.0005, 9)
    dates = np.stack([observed(scene, shift, 0.0005, n) for n, shift in enumerate(shifts)])
    if bad == "noise":
        dates[2] = 0.2 + 0.02 * np.random.default_rng(1).standard_normal(dates[2].shape)
    elif bad == "haze":
        dates[2] = 0.3 + 0.3 * dates[2] + 0.01 * np.random.default_rng(1).standard_normal(dates[2].shape)
    else:
        dates[2] = observed(scene, (5.0, -4.0), 0.0005, 2)
    every, without = list(range(7)), [0, 1, 3, 4, 5, 6]
    alone, left_out, used = errors_in_db(image, dates, shifts, scene, ([], without, every))
    assert left_out > alone + 2
    assert used > left_out - 0.1


def test_dates_of_equal_noise_are_left_as_they_are():
    rng = np.random.default_rng(0)
    image, dates = rng.random((2, 30, 30), np.float32), rng.random((3, 2, 30, 30), np.float32)
    fused = Fusion(((0.3, 0.1), (-0.2, 0.4), (0.0, -0.5)), SENSOR)
    noise = np.broadcast_to(rng.random((30, 30), np.float32), (3, 30, 30))
    made, level = fused.evened(image, dates, np.zeros_like(dates), noise)
    inner = (..., slice(SETTLE, -SETTLE), slice(SETTLE, -SETTLE))
    assert np.array_equal(made, dates[inner])
    np.testing.assert_allclose(level, np.maximum(noise[0], LEVELS[0])[inner], rtol=1e-6)


def test_precision_of_each_date_against_a_dense_solution():
    shifts, by_date = ((0.3, -0.4), (-0.25, 0.2)), (1.0, 4.0)
    scene = fine_scene(7, 128)
    image, dates = observed(scene, (0.0, 0.0)), np.stack([observed(scene, s, 0.004, 3) for s in shifts])
    fused, level = Fusion(shifts, SENSOR), LEVELS[2]
    # What counts as typical is the least noise here, and the other date is as much beyond what counts as equal.
    each = np.array([1.0, 4.0 * np.sqrt(fusion.EQUAL)], np.float32)
    noise = np.broadcast_to(level * each[:, None, None], (2, *image.shape[1:]))
    moved = np.stack([displaced(image, shift) for shift in shifts])
    even, typical = fused.evened(image, dates, moved, noise)
    start = SETTLE + REACH + 10
    query = np.array([0.25, -0.25])
    rows, cols = (np.full((1, 1), start - SETTLE + part) for part in query)
    inner = (..., slice(SETTLE, -SETTLE), slice(SETTLE, -SETTLE))
    found, unlike = (
        fused.estimate(image[inner], used, typical, rows, cols, 0.5 * SENSOR)[0, 0, 0] for used in (even, dates[inner])
    )
    around = (0, slice(start - REACH, start + REACH + 1), slice(start - REACH, start + REACH + 1))
    pixels = np.concatenate([image[around].ravel(), *(date[around].ravel() for date in dates)])
    wanted = dense(shifts, level, query, 0.5 * SENSOR, by_date=by_date) @ pixels
    assert abs(found - wanted) < 0.35 * abs(unlike - wanted)


def test_a_window_that_is_not_valid_says_nothing_of_the_noise():
    image = np.random.default_rng(0).random((2, 40, 40), np.float32)
    fused = Fusion(((0.3, 0.1), (-0.2, 0.4)), SENSOR)
    size = 40 - 2 * (WINDOW + 1)
    misfit, share = np.full((2, 2, size, size), 0.5), np.ones((2, size, size))
    misfit[1], share[1] = 0.0, 0.0
    noise = fused.noise(image, misfit, share)
    np.testing.assert_allclose(noise[1], noise[0], rtol=1e-6)
    assert noise.min() > 0


def test_estimate_depends_on_nothing_but_the_pixels_around():
    scene = fine_scene(6)
    image, other = observed(scene, (0.0, 0.0), 0.001), observed(scene, (0.35, -0.2), 0.001, 7)
    valid = np.ones((1, *image.shape[1:]), bool)
    place = np.array([[3.2, 4.0], [5.75, 2.5]]), np.array([[1.0, 2.3], [6.1, 3.9]])

    def at(first):
        cut = np.s_[..., first : first + 2 * EDGE + 10, first : first + 2 * EDGE + 10]
        series = Series.of(image[cut], other[None][cut], valid[cut], [(0.35, -0.2)], SENSOR)
        return series.using([0]).at(place[0] - first + 20, place[1] - first + 20, 0.4)

    np.testing.assert_allclose(at(20), at(21), rtol=0, atol=1e-6)


def test_a_fusion_of_nothing_has_no_noise():
    assert (
        Fusion((), SENSOR).noise(np.ones((2, 30, 30), np.float32), np.empty((0, 2, 12, 12)), np.empty((0, 12, 12))) == 0
    ).all()


def test_leverage_against_a_dense_solution_and_pixels_left_out():
    shifts, own = ((0.25, -0.375), (-1.0, 0.5)), (1.0, 0.3)
    fused = Fusion(shifts, SENSOR, own)
    place = np.array([(y, x) for y in STEPS for x in STEPS], float)
    values = np.random.default_rng(0).random(3 * len(place))
    for number, shift in enumerate(((0.0, 0.0), *shifts)):
        # The estimate is made around the pixel of the image that is nearest to that of the date.
        whole = np.floor(-np.array(shift) + 0.5 + fusion.NUDGE)
        index = number * len(place) + int(np.flatnonzero((place == -whole).all(1))[0])
        query = -np.array(shift) - whole
        weight, other = (
            dense(shifts, LEVELS[3], query, SENSOR, own=own, without=without) for without in ((), (index,))
        )
        assert fused.leverage(number)[3] == pytest.approx(weight[index], abs=2e-5)
        left = values[index] - weight @ values
        assert left / (1 - weight[index]) == pytest.approx(values[index] - other @ values, rel=1e-6)


def test_what_is_left_against_the_estimate():
    rng = np.random.default_rng(0)
    image, dates, given = (rng.random(shape, np.float32) for shape in ((2, 24, 20), (2, 2, 24, 20), (2, 2, 24, 20)))
    fused = Fusion(((0.25, -0.375), (-1.0, 0.5)), SENSOR, (1.0, 0.3))
    left = fused.residuals(image, dates, given)
    assert left.shape == (3, len(LEVELS), 2, 24 - 2 * SETTLE, 20 - 2 * SETTLE)
    inner = (..., slice(SETTLE, -SETTLE), slice(SETTLE, -SETTLE))
    rows, cols = np.meshgrid(*(np.arange(SETTLE, size - SETTLE, dtype=float) for size in (24, 20)), indexing="ij")
    for level, noise in enumerate(LEVELS):
        for number, (date, (down, right)) in enumerate(zip((image, *given), ((0, 0), *fused.shifts), strict=True)):
            field = np.full((24, 20), noise, np.float32)
            said = fused.estimate(image, dates, field, rows - down, cols - right, SENSOR)
            np.testing.assert_allclose(left[number, level], date[inner] - said, atol=3e-6)


def test_what_is_left_out_counts_differences_of_neighbours_where_dates_are_valid():
    fused = Fusion(((0.25, -0.375), (-1.0, 0.5)), SENSOR, (1.0, 0.3))
    rng, side = np.random.default_rng(0), 2 * WINDOW + 5
    left = rng.random((3, len(LEVELS), 2, side, side), np.float32)
    counts = np.ones((2, side, side), np.float32)
    counts[1, :, : side // 2] = 0
    missed, number = fused.left_out(left, counts)
    assert missed.shape == (len(LEVELS), 2, 3, 3)
    tent = np.convolve(np.ones(WINDOW + 1), np.ones(WINDOW + 1))
    window = np.outer(tent, tent) / tent.sum() ** 2
    logs, weights_of = [], []
    for date, valid in enumerate((np.ones((side, side)), *counts)):
        plane = left[date, 4, 1].astype(float) / (1 - fused.leverage(date)[4])
        squares = weight = 0.0
        for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            shared = valid * np.roll(valid, (down, right), (0, 1))
            squares = squares + shared * (plane - np.roll(plane, (down, right), (0, 1))) ** 2 / 8
            weight = weight + shared / 4
        around = slice(2, 2 + 2 * WINDOW + 1)
        weights_of.append((window * weight[around, around]).sum())
        logs.append(np.log((window * squares[around, around]).sum() / weights_of[-1] + fusion.FLAT))
    wanted = 0.5 * logs[0] + 0.5 * np.average(logs[1:], weights=weights_of[1:])
    assert missed[4, 1, 1, 1] == pytest.approx(wanted, rel=1e-5)
    assert number[1, 1] == pytest.approx(sum(weights_of[1:]))
    changed, _ = fused.left_out(left + np.float32(0.5), counts)
    np.testing.assert_allclose(changed, missed, atol=1e-3)  # what differs everywhere alike is no detail


def test_what_is_left_tells_the_noise_of_each_band():
    shifts = ((0.25, -0.375), (-0.4375, 0.125), (0.125, 0.4375), (-0.25, -0.25), (0.375, 0.3125), (0.0625, -0.125))
    sigma, scene = (0.004, 0.016), fine_scene(5, 192)
    image = np.concatenate([observed(scene, (0.0, 0.0), noise, 40) for noise in sigma])
    dates = np.stack(
        [
            np.concatenate([observed(scene, shift, noise, 10 * n + k) for k, noise in enumerate(sigma)])
            for n, shift in enumerate(shifts)
        ]
    )
    local = fusion.contrast(image).mean()
    level = np.full(image.shape[1:], np.sqrt(sigma[0] * sigma[1] / local), np.float32)
    fused = Fusion(shifts, SENSOR, (1.0, np.inf))
    left = fused.residuals(image, dates, dates)
    counts = np.ones((len(shifts), *left.shape[-2:]))
    variance, freedom = fused.left_over(left, level, counts)
    assert variance.shape == (2, *np.subtract(image.shape[1:], 2 * (SETTLE + fusion.WINDOW)))
    np.testing.assert_allclose(np.sqrt(variance.mean(axis=(1, 2))), sigma, rtol=0.25)
    assert 0 < freedom.min() <= freedom.max() < len(shifts)
    nothing, none = fused.left_over(left, level, np.zeros_like(counts))
    assert not nothing.any()
    assert not none.any()
    counts[..., 60 - SETTLE :] = 0
    part, some = fused.left_over(left, level, counts)
    assert part.min() >= 0
    assert (some[:, -20:] == 0).any()
    assert (some[:, :20] > 0).all()


def test_noise_of_each_band_alone():
    rng = np.random.default_rng(0)
    image, dates = rng.random((2, 24, 24), np.float32), rng.random((1, 2, 24, 24), np.float32)
    fused = Fusion(((0.3, -0.4),), SENSOR)
    noise = np.stack([np.full((24, 24), value, np.float32) for value in (0.05, 0.7)])
    rows, cols = np.meshgrid(np.arange(6, 18, 0.5), np.arange(6, 18, 0.5), indexing="ij")
    together = fused.estimate(image, dates, noise, rows, cols, 0.5 * SENSOR)
    for band in range(2):
        alone = fused.estimate(image[[band]], dates[:, [band]], noise[band], rows, cols, 0.5 * SENSOR)
        assert np.array_equal(together[[band]], alone)
    assert not np.allclose(together, fused.estimate(image, dates, noise[0], rows, cols, 0.5 * SENSOR))
