"""Planted hallucinations are where they are said to be, and are found."""

import numpy as np
import pytest
from common.planted import CELL, CONTRASTS, MARGIN, SURROUNDINGS, area_under_curve, below, planted, squares

from xsr.testing import synthetic_cube
from xsr.training.scores import read_places


def test_areas_by_hand():
    positive = np.array([False, False, True, True])
    assert area_under_curve(np.array([0.1, 0.2, 0.3, 0.4]), positive) == 1
    assert area_under_curve(np.array([0.4, 0.3, 0.2, 0.1]), positive) == 0
    assert area_under_curve(np.array([0.1, 0.1, 0.1, 0.1]), positive) == 0.5
    assert area_under_curve(np.array([[0.1, 0.4], [0.35, 0.8]]), positive.reshape(2, 2)) == 0.75


def test_squares_lie_apart_and_have_the_contrast_of_their_surroundings():
    image = 0.2 + 0.01 * np.random.default_rng(0).standard_normal((2, 120, 100))
    objects, under = squares(image, 1)
    assert not under[:MARGIN].any()
    assert not under[:, -MARGIN + CELL // 2 :].any()
    np.testing.assert_array_equal(np.any(objects != 0, axis=0), under)
    levels = np.abs(objects[:, under]) / 0.01
    assert CONTRASTS[0] - 0.1 < levels.min() < levels.max() < CONTRASTS[1] + 0.2
    assert SURROUNDINGS % 2 == 1


@pytest.mark.parametrize(("scale", "expected"), [(2.0, [1, 2]), (3.4, [0, 1]), (1.0, [3, 4])])
def test_pixels_below_a_square(scale, expected):
    under = np.zeros((12, 12), np.bool_)
    under[3:5, 7] = True
    found = below(under, scale, (int(12 / scale),) * 2)
    assert np.flatnonzero(found.any(axis=1)).tolist() == expected
    assert found[:, int(7 / scale)].any()


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2.0, 3.4])
def test_planted_hallucinations_are_found(scale):
    judge(synthetic_cube(size=(136, 136), bands=("B03", "B08"), noise=False), scale)


@pytest.mark.slow
def test_they_are_found_in_a_real_place(manifest):
    place = next(p for p in read_places(manifest) if np.isfinite(p.images[0]).all() and min(p.images.shape[2:]) > 250)
    judge(place.cube()[:1, :, :192, :192], 2.0)


def judge(truth, scale):
    """Judge squares in an image; benchmarks/support.py prints the areas."""
    found = list(planted(truth, scale))
    traced = [one for one in found if one.case != "without a trace"]
    assert min(one.auc for one in traced) > 0.9
    assert all(one.usual < 0.1 for one in traced)
    for band in {one.band for one in found}:
        inserted, _, untraced = (one.auc for one in found if one.band == band)
        assert untraced < inserted
