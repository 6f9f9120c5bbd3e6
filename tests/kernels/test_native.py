import numpy as np
import pytest

from xsr.kernels.native import agreement, best_border, borders, leaps, neighbours, pick, reproduced


def stretched(step, size=60, seed=0, shift=0.0):
    """Image (1, 1, h, w) of random pixels seen at every ``step`` of a pixel, and the positions."""
    source = np.random.default_rng(seed).random((200, 200), np.float32)
    place = (np.arange(size) + 0.5) * step
    cells = np.floor(place).astype(int)
    rows, cols = np.meshgrid(place + shift, place + shift, indexing="ij")
    return source[cells[:, None], cells][None, None], rows, cols


def test_neighbours_are_counted_over_dates_where_both_hold_data():
    images = np.array([[[[1, 1, 2], [3, 1, np.nan]]], [[[1, 2, 2], [1, np.nan, 2]]]], np.float32)
    pairs = neighbours(images)
    np.testing.assert_array_equal(pairs.known[1], [[[2, 2], [1, 0]]])
    np.testing.assert_array_equal(pairs.equal[1], [[[1, 1], [0, 0]]])
    np.testing.assert_array_equal(pairs.known[0], [[[2, 1, 1]]])
    np.testing.assert_array_equal(pairs.equal[0], [[[1, 1, 1]]])


def test_agreement_by_hand():
    # four output pixels a row in two source pixels: two repeats predicted, both there; one other pair, equal by chance
    pairs = neighbours(np.array([[[[5, 5, 5, 5]], [[5, 5, 5, 5]]]], np.float32).reshape(1, 1, 2, 4))
    rows, cols = np.meshgrid([0.25, 1.25], [0.25, 0.75, 1.25, 1.75], indexing="ij")
    found = agreement(pairs, rows, cols)
    assert found.repeats.tolist() == [4]
    assert found.others.tolist() == [6]
    assert found.base.tolist() == [1]
    assert found.evidence.tolist() == [0]
    assert found.contrast.tolist() == [0]


@pytest.mark.parametrize(("shift", "least", "most"), [(0.0, 0.99, 1.01), (0.02, 0.9, 1.1), (0.4, -0.3, 0.3)])
def test_the_contrast_is_one_where_repeats_are_and_forgives_small_shifts_only(shift, least, most):
    images, rows, cols = stretched(0.99, shift=shift)
    found = agreement(neighbours(images), rows, cols)
    assert least <= found.contrast[0] <= most


def test_noise_has_no_contrast():
    _, rows, cols = stretched(0.9)
    images = np.random.default_rng(1).random((2, 3, 60, 60), np.float32)
    np.testing.assert_allclose(agreement(neighbours(images), rows, cols).contrast, 0, atol=0.01)


def test_the_output_pixel_nearest_to_the_centre_is_picked():
    rows, cols = np.array([[0, 0, 1]]), np.array([[0, 0, 5]])
    chosen = pick(rows, cols, np.array([[0.3, 0.1, 0.0]]), (2, 2))
    np.testing.assert_array_equal(chosen, [[1, -1], [-1, -1]])


def test_there_and_back_counts_what_is_lost():
    images = np.array([[[[1, 1, 2, 3]]]], np.float32)
    cells = np.array([[0, 0, 1, 1]]), np.array([[0, 0, 1, 1]])
    assert reproduced(images, cells, np.array([[0.1, 0.2, 0.2, 0.1]])).tolist() == [3]
    hidden = np.array([[[[np.nan, np.nan, 2, np.nan]]]], np.float32)
    assert reproduced(hidden, cells, np.array([[0.1, 0.2, 0.2, 0.1]])).tolist() == [3]


@pytest.mark.parametrize("shift", [0.0, 0.123, 0.4, -0.31])
@pytest.mark.parametrize("axis", [0, 1])
def test_borders_of_pixels_are_found_where_they_are(axis, shift):
    images, rows, cols = stretched(0.83, shift=shift)
    pairs = neighbours(images)
    position = (rows, cols)[axis]
    score = borders([position], [pairs.known[axis].sum(axis=0)], [pairs.equal[axis].sum(axis=0)], axis=axis)
    assert best_border(score) == pytest.approx(shift, abs=0.02)
    assert best_border(score, within=0.0001) == pytest.approx(0, abs=0.001)


def test_leaps_tell_skipped_pixels_from_smoothed_ones():
    smooth = np.cumsum(np.cumsum(np.random.default_rng(0).standard_normal((200, 200)), axis=0), axis=1)
    place = (np.arange(120) + 0.5) * 1.3
    cells = np.floor(place).astype(int)
    skipped = smooth[cells[:, None], cells].astype(np.float32)[None, None]
    grid = tuple(np.meshgrid(cells, cells, indexing="ij"))
    assert leaps([neighbours(skipped)], [grid]) > 10
    other = tuple(np.meshgrid(np.floor(place * 1.05 + 0.4), np.floor(place * 1.05), indexing="ij"))
    assert abs(leaps([neighbours(skipped)], [other])) < 6
    assert leaps([neighbours(np.zeros_like(skipped))], [grid]) == 0
