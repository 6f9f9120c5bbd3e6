"""Tests of means over footprints and of images held to them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsr.core.blocks import Span
from xsr.kernels.footprint import AreaMean, Axis, Conserving, area_taps


def shares(cell, origin, size, coarse):
    """Share of every fine pixel in every coarse one, by intersecting intervals; (coarse, fine)."""
    fine = origin + np.arange(size + 1) * cell
    edge = np.arange(coarse + 1.0)
    both = np.minimum(edge[1:, None], fine[1:]) - np.maximum(edge[:-1, None], fine[:-1])
    return np.maximum(both, 0)


def means(image, rows, cols):
    """Means over coarse pixels wholly covered, NaN elsewhere; invalid fine pixels do not count."""
    down, across = (shares(a.cell, a.origin, a.size, a.coarse) for a in (rows, cols))
    valid = np.isfinite(image)
    total = down @ np.where(valid, image, 0) @ across.T
    weight = down @ valid @ across.T
    whole = np.isclose(down.sum(axis=1), 1)[:, None] & np.isclose(across.sum(axis=1), 1)
    return np.where(whole & (weight > 1e-9), total / np.maximum(weight, 1e-9), np.nan)


def test_area_taps__by_hand():
    """An interval of 2.5 pixels around 1.25 covers half of pixel 0, and the next two."""
    taps = area_taps(np.array([1.25]), 2.5)
    assert taps.start == [0]
    np.testing.assert_allclose(taps.weight, [[0.2, 0.4, 0.4, 0]])


def test_area_mean__of_nested_pixels_is_the_block_mean():
    image = np.random.default_rng(0).random((1, 2, 12, 12)).astype(np.float32)
    at = np.array([4.0, 7.0])  # centres of the second and third block of three
    found = AreaMean((3.0, 3.0))(image, at, at, (3, 3))
    expected = image[:, :, 3:9, 3:9].reshape(1, 2, 2, 3, 2, 3).mean(axis=(3, 5))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_area_mean__needs_half_of_the_footprint():
    image = np.ones((1, 1, 4, 4), np.float32)
    image[0, 0, 1, 1] = image[0, 0, 1, 2] = np.nan
    at = np.array([1.5])
    assert AreaMean((2.0, 2.0))(image, at, at, (2, 2)) == 1
    image[0, 0, 2, 1] = np.nan
    assert np.isnan(AreaMean((2.0, 2.0))(image, at, at, (2, 2)))


def test_area_mean__at_points_is_that_of_a_grid():
    image = np.random.default_rng(1).random((2, 1, 20, 20)).astype(np.float32)
    image[0, 0, 6, 7] = np.nan
    rows, cols = np.array([5.3, 9.1]), np.array([7.7, 8.2, 11.0])
    function = AreaMean((2.7, 3.1))
    points = function(image, *(np.ascontiguousarray(v) for v in np.broadcast_arrays(rows[:, None], cols)), (1, 1))
    np.testing.assert_allclose(points, function(image, rows, cols, (1, 1)), rtol=1e-5)


AXES = {
    "nested": (Axis(0.25, 0.0, 40, 10), Axis(0.25, 0.0, 36, 9)),
    "nested, beside the corner": (Axis(0.25, 2.0, 24, 10), Axis(0.25, 1.5, 26, 9)),
    "not nested": (Axis(1 / 3.4, 0.0, 34, 10), Axis(1 / 2.3, 0.31, 18, 9)),
    "beyond the coarse image": (Axis(0.4, -0.7, 30, 10), Axis(0.3, -0.2, 33, 9)),
}


def nearest(low, rows, cols):
    """Repeat coarse values on the fine grid; NaN beyond."""
    index = [np.floor(a.origin + (np.arange(a.size) + 0.5) * a.cell).astype(int) for a in (rows, cols)]
    inside = [(i >= 0) & (i < a.coarse) for i, a in zip(index, (rows, cols), strict=True)]
    out = low[np.clip(index[0], 0, rows.coarse - 1)[:, None], np.clip(index[1], 0, cols.coarse - 1)]
    return np.where(inside[0][:, None] & inside[1], out, np.nan)


@pytest.mark.parametrize("power", [1, 4])
@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_means_are_held__over_gaps_too(axes, power):
    rows, cols = axes
    rng = np.random.default_rng(0)
    low = rng.normal(300, 6, (rows.coarse, cols.coarse))
    low[4, 3] = np.nan
    near = nearest(low, rows, cols)
    image = np.where(np.isfinite(near), rng.normal(302, 3, near.shape), np.nan)
    held = Conserving(rows, cols, power).hold(image, near, Span(0, rows.size), Span(0, cols.size))
    np.testing.assert_array_equal(np.isnan(held), np.isnan(image))
    found = means(held**power, rows, cols) ** (1 / power)
    known = np.isfinite(found) & np.isfinite(low)
    assert known.sum() > 20
    np.testing.assert_allclose(found[known], low[known], atol=1e-3)


def test_pixels_that_the_image_covers_in_part_are_left_alone():
    rows = cols = Axis(0.25, 0.5, 8, 3)  # half of the first coarse pixel, one, half of the third
    low = np.array([[0.0, 0, 0], [0, 10, 0], [0, 0, 0]])
    image = np.full((8, 8), 5.0)
    held = Conserving(rows, cols).hold(image, nearest(low, rows, cols), Span(0, 8), Span(0, 8))
    np.testing.assert_allclose(held[2:6, 2:6].mean(), 10)


def test_an_image_with_the_right_means_stays():
    rows = cols = Axis(0.25, 0.0, 32, 8)
    image = np.random.default_rng(2).normal(300, 4, (32, 32))
    near = nearest(image.reshape(8, 4, 8, 4).mean(axis=(1, 3)), rows, cols)
    held = Conserving(rows, cols).hold(image, near, Span(0, 32), Span(0, 32))
    np.testing.assert_allclose(held, image, rtol=1e-12)


def test_a_smooth_deviation_leaves_no_blocks():
    """Steps across the borders of coarse pixels are no larger than those inside."""
    axis = Axis(0.125, 0.0, 128, 16)
    y, x = np.meshgrid(*(np.arange(16) + 0.5,) * 2, indexing="ij")
    low = 300 + 5 * np.sin(y / 3) * np.cos(x / 4)
    held = Conserving(axis, axis, 4).hold(
        np.full((128, 128), 300.0), nearest(low, axis, axis), Span(0, 128), Span(0, 128)
    )
    step = np.abs(np.diff(held, axis=1)).max(axis=0)
    across = np.arange(7, 127, 8)
    assert step[across].max() <= 1.05 * np.delete(step, across).max()


def test_a_halo_far_too_short_is_seen():
    axis = Axis(0.25, 0.0, 80, 20)
    rng = np.random.default_rng(1)
    image, near = rng.normal(300, 5, (80, 80)), nearest(rng.normal(300, 5, (20, 20)), axis, axis)
    function = Conserving(axis, axis)
    whole = function.hold(image, near, Span(0, 80), Span(0, 80))
    for halo, agrees in ((function.halo, True), (8, False)):
        span = Span(max(0, 60 - halo), 80)
        part = function.hold(image[span.slice, span.slice], near[span.slice, span.slice], span, span)
        assert np.allclose(part[-20:, -20:], whole[60:, 60:], atol=1e-6) == agrees


@pytest.mark.slow
@given(
    cell=st.sampled_from([0.125, 0.25, 1 / 3.4, 0.45]),
    origin=st.floats(0, 2),
    first=st.integers(0, 60),
    size=st.integers(1, 30),
)
def test_a_block_is_cut_from_the_whole(cell, origin, first, size):
    rows = Axis(cell, origin, 90, 40)
    rng = np.random.default_rng(1)
    low = rng.normal(300, 5, (40, 40)).astype(np.float32)
    window = np.stack([rng.normal(300, 5, (90, 90)), nearest(low, rows, rows)])[None].astype(np.float32)
    function = Conserving(rows, rows, 4)
    whole = function.hold(*window[0].astype(float), Span(0, 90), Span(0, 90))
    halo = function.halo
    padded = np.pad(window, ((0, 0), (0, 0), (halo, halo), (halo, halo)), mode="edge")
    cut = padded[:, :, first : first + size + 2 * halo, first : first + size + 2 * halo]
    placed = function.place(Span(0, 1), Span(first, first + size), Span(first, first + size))
    at = np.arange(halo, halo + size, dtype=float)
    block = placed(cut, at, at, (1, 1))
    inside = min(first + size, 90) - first
    np.testing.assert_allclose(
        block[0, 0, :inside, :inside], whole[first : first + size, first : first + size], atol=1e-4
    )
