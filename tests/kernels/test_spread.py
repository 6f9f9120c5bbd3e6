import math

import numpy as np
import pytest
from scipy.ndimage import convolve1d
from scipy.spatial.distance import mahalanobis

from xsr.kernels import spread

M = spread.MARGIN


def image(seed, size=48):
    return np.random.default_rng(seed).standard_normal((size, size + 3)).astype(np.float32)


def averaged(values, step):
    """The same average by another library, on all pixels; a border is wrong."""
    weight = np.zeros(2 * step + 1)
    weight[[0, step, 2 * step]] = 0.25, 0.5, 0.25
    return convolve1d(convolve1d(values.astype(float), weight, axis=0), weight, axis=1)


def test_an_image_of_one_value_has_no_structure():
    flat = np.full((2 * M + 2, 2 * M + 3), 0.4, np.float32)
    found = spread.features(flat, flat, 2.0)
    assert found.shape == (spread.COUNT, 2, 3)
    np.testing.assert_allclose(found[:-2], 0.5 * math.log(spread.LEAST), atol=1e-5)
    np.testing.assert_allclose(found[-2], math.log(0.4 + spread.DARK), rtol=1e-6)
    np.testing.assert_allclose(found[-1], math.log(2.0), rtol=1e-6)


def test_features_are_those_of_another_library():
    fine, base = image(1), image(2)
    down, right = np.gradient(fine.astype(float))
    images = [
        (fine - base) ** 2,
        down**2 + right**2,
        (fine - averaged(fine, 1)) ** 2,
        (base - averaged(averaged(base, 2), 4)) ** 2,
    ]
    wanted = []
    for one in images:
        for step in spread.STEPS:
            one = averaged(one, step)
            wanted.append(0.5 * np.log(one + spread.LEAST))
    found = spread.features(fine, base, 3.4)
    np.testing.assert_allclose(found[:-2], np.stack(wanted)[:, M:-M, M:-M], atol=2e-5)


@pytest.mark.parametrize("first", [0, 1, 5])
def test_features_depend_on_the_margin_and_no_more(first):
    fine, base = image(3), image(4)
    whole = spread.features(fine, base, 2.0)
    size = 2 * M + 4
    part = spread.features(
        np.ascontiguousarray(fine[first : first + size, first : first + size]),
        np.ascontiguousarray(base[first : first + size, first : first + size]),
        2.0,
    )
    np.testing.assert_array_equal(part, whole[:, first : first + 4, first : first + 4])


def test_what_is_added_is_found_at_every_width():
    base = np.zeros((2 * M + 21, 2 * M + 21), np.float32)
    fine = base.copy()
    fine[M + 10, M + 10] = 1.0
    found = spread.features(fine, base, 2.0)[: len(spread.STEPS)]
    assert (found.max(axis=(1, 2)) == found[:, 10, 10]).all()
    np.testing.assert_allclose(np.exp(2 * found[0, 10, 10]), 0.25 + spread.LEAST, rtol=1e-5)
    assert found[-1, 10, 3] > found[0, 10, 3]  # further away by wider averages alone


def test_factors_are_interpolated_in_the_logarithm():
    error = np.geomspace(1e-5, 1, 60, dtype=np.float32).reshape(1, 5, 12)
    middles, factors = np.array([1e-4, 1e-3, 0.1], np.float32), np.array([1.0, 3.0, -2.0], np.float32)
    wanted = error * np.interp(np.log(error), np.log(middles), factors)
    np.testing.assert_allclose(spread.scaled(error, middles, factors), wanted, rtol=1e-4, atol=1e-6)
    assert spread.scaled(np.full((1, 1, 1), 1e-3, np.float32), middles, factors).item() == pytest.approx(3e-3, rel=1e-4)


def test_features_are_brought_into_the_range_by_hand():
    known = np.array([[[1.0, 5.0, -3.0]], [[2.0, 7.0, 0.0]], [[9.0, 9.0, 9.0]]], np.float32)
    beyond = spread.confined(known, np.array([0.0, 1.0], np.float32), np.array([3.0, 3.0], np.float32))
    np.testing.assert_array_equal(beyond, [[0.0, 4.0, 0.0]])  # below the range nothing is added
    np.testing.assert_array_equal(known[:, 0], [[1.0, 3.0, 0.0], [2.0, 3.0, 1.0], [9.0, 9.0, 9.0]])


def test_unlikeness_is_the_mahalanobis_distance():
    rng = np.random.default_rng(5)
    known = rng.standard_normal((6, 4, 5)).astype(np.float32)
    covariance, middle = np.cov(rng.standard_normal((6, 40))), rng.standard_normal(6)
    root = spread.rooted(covariance) / 3
    found = spread.unlikeness(known, middle.astype(np.float32), root.astype(np.float32))
    wanted = [[mahalanobis(known[:, y, x], middle, np.linalg.inv(covariance)) for x in range(5)] for y in range(4)]
    np.testing.assert_allclose(9 * found, np.square(wanted), rtol=1e-3)
    rows = (known.reshape(6, -1).T - middle).astype(float)
    np.testing.assert_allclose(spread.squared_distance(rows, covariance), np.square(wanted).ravel(), rtol=1e-6)
