"""Tests of linear relations between a coarse image and its guide."""

import numpy as np
import pytest

from xsr.kernels.guidance import LocalRelation, normalised_difference, relation, slope


def brute_force(image, guide, *, radius, epsilon):
    """The definition: ridge regression in every window, then the mean over the windows that hold a pixel."""
    valid = np.isfinite(image) & np.isfinite(guide).all(axis=0)
    h, w = image.shape
    fits = {}
    for y in range(h):
        for x in range(w):
            box = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            inside = valid[box]
            if inside.any():
                p, g = image[box][inside], guide[:, *box][:, inside].T
                centred = g - g.mean(axis=0)
                normal = centred.T @ centred / len(p) + epsilon * np.eye(len(guide))
                a = np.linalg.solve(normal, centred.T @ (p - p.mean()) / len(p))
                fits[y, x] = np.concatenate(([p.mean() - a @ g.mean(axis=0)], a))
    out = np.full((1 + len(guide), h, w), np.nan)
    for y, x in zip(*np.nonzero(valid), strict=True):
        near = [fit for (v, u), fit in fits.items() if abs(v - y) <= radius and abs(u - x) <= radius]
        out[:, y, x] = np.mean(near, axis=0)
    return out


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("radius", [1, 2])
def test_relation__is_the_definition(bands, radius):
    rng = np.random.default_rng(bands)
    image, guide = rng.normal(300, 5, (7, 9)), rng.random((bands, 7, 9))
    image[2, 3] = guide[0, 5, 5] = np.nan
    found = relation(image, guide, radius=radius, epsilon=1e-2)
    np.testing.assert_allclose(found, brute_force(image, guide, radius=radius, epsilon=1e-2), rtol=1e-8)


def test_relation__of_an_exact_line_is_that_line():
    guide = np.random.default_rng(0).random((2, 9, 9))
    image = 280 + 20 * guide[0] - 7 * guide[1]
    found = relation(image, guide, radius=3, epsilon=1e-12)
    np.testing.assert_allclose(found, np.broadcast_to(np.array([280, 20, -7])[:, None, None], found.shape), rtol=1e-6)


def test_relation__without_a_valid_pixel_is_nothing():
    assert np.isnan(relation(np.full((3, 3), np.nan), np.ones((1, 3, 3)), radius=1, epsilon=1e-3)).all()


def test_relation__of_a_constant_guide_is_the_local_mean():
    image = np.arange(9.0).reshape(3, 3)
    offset, coefficient = relation(image, np.full((1, 3, 3), 0.2), radius=5, epsilon=1e-4)
    np.testing.assert_allclose(coefficient, 0)
    np.testing.assert_allclose(offset, 4)


def test_block_of_relations__is_cut_from_the_whole():
    rng = np.random.default_rng(3)
    window = rng.random((2, 3, 20, 20)).astype(np.float32)
    function = LocalRelation(2, 1e-3)
    at = np.arange(4.0, 12.0)
    whole = np.stack([relation(date[0], date[1:], radius=2, epsilon=1e-3) for date in window])
    np.testing.assert_allclose(function(window, at, at, (1, 1)), whole[:, :, 4:12, 4:12], rtol=1e-5, atol=1e-6)
    halo = function.halo
    part = function(window[:, :, 4 - halo : 12 + halo, 4 - halo : 12 + halo], at - 4 + halo, at - 4 + halo, (1, 1))
    np.testing.assert_allclose(part, whole[:, :, 4:12, 4:12], rtol=1e-5, atol=1e-5)
    short = function(
        window[:, :, 5 - halo : 11 + halo, 4 - halo : 12 + halo], at[1:-1] - 5 + halo, at - 4 + halo, (1, 1)
    )
    assert np.abs(short - whole[:, :, 5:11, 4:12])[:, :, [0, -1]].max() < 1e-5
    narrow = function(window[:, :, 6 - halo : 12 + halo, 4 - halo : 12 + halo], at - 6 + halo, at - 4 + halo, (1, 1))
    assert np.abs(narrow[:, :, :1] - whole[:, :, 4:5, 4:12]).max() > 1e-4


def test_slope__is_that_of_polyfit():
    rng = np.random.default_rng(0)
    x, y = rng.random(50), rng.normal(300, 4, 50)
    found = slope(50, x.sum(), y.sum(), (x * x).sum(), (x * y).sum())
    assert found == pytest.approx(np.polyfit(x, y, 1)[0])


def test_slope__of_what_does_not_vary_is_zero():
    assert slope(3, 1.5, 900.0, 0.75, 450.0) == 0
    assert slope(0, 0.0, 0.0, 0.0, 0.0) == 0


def test_normalised_difference__where_nothing_is_reflected():
    np.testing.assert_array_equal(normalised_difference([0.0, 0.1, np.nan], [0.0, -0.2, 0.3]), [np.nan] * 3)
