"""Minimal filtering equals the convolution that it stands for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate

from xsr.kernels.winograd import CHANNELS, POINTS, SIZE, F, N, to_pixels, to_points, transformed

TILES = 5
"""Tiles that are computed together."""
ROUNDING = 5e-4
"""Of numbers around one: 1.7e-4 at most in 400 images, for the transforms multiply by up to a hundred."""


def filtered(image, kernel, bias=0.0, slope=1.0):
    """Filter (row, column, channel), each channel with the same kernel of 3x3, by way of the points."""
    rows, columns, channels = image.shape[0] - 2, image.shape[1] - 2, image.shape[2]
    weights = np.zeros((CHANNELS, CHANNELS, 3, 3), np.float32)
    weights[range(CHANNELS), range(CHANNELS)] = kernel
    at_points = transformed(weights)
    out = np.full((rows, columns, channels), np.nan, np.float32)
    flat, made, offsets = image.ravel(), out.ravel(), np.full(channels, bias, np.float32)
    tiles = -(-rows // SIZE) * -(-columns // SIZE)
    for first in range(0, tiles, TILES):
        points = np.zeros((TILES, POINTS, channels), np.float32)
        places = [(N(channels), N(begin), N(rows), N(first), N(TILES)) for begin in range(0, channels, CHANNELS)]
        for place in places:
            to_points(flat, N(columns + 2), *place, points.ravel(), N(channels), place[1])
        blocks = points.reshape(TILES, POINTS, -1, CHANNELS)
        products = np.einsum("tpbi,poi->tpbo", blocks, at_points).ravel()
        for place in places:
            to_pixels(products, N(channels), place[1], offsets, F(slope), N(columns), *place, made)
    return out


def test_weights_at_a_point_by_hand():
    """At (0, 0) a quarter of the first weight a side; at infinity the last one itself."""
    weights = np.zeros((CHANNELS, CHANNELS, 3, 3), np.float32)
    weights[5, 7] = np.arange(9).reshape(3, 3) + 1
    made = transformed(weights)
    assert made.shape == (POINTS, CHANNELS, CHANNELS)
    assert made[0, 5, 7] == 1 / 16
    assert made[-1, 5, 7] == 9
    assert np.allclose(made[7, 5, 7], 45 / 36)  # a sixth of the sum of each side
    assert np.count_nonzero(made) == np.count_nonzero(made[:, 5, 7])


def test_the_middle_weight_alone_leaves_the_inner_pixels():
    image = np.random.default_rng(0).integers(-9, 9, (9, 11, CHANNELS)).astype(np.float32)
    kernel = np.zeros((3, 3), np.float32)
    kernel[1, 1] = 1
    assert np.allclose(filtered(image, kernel), image[1:-1, 1:-1], atol=2e-5)


@settings(max_examples=40)
@given(st.integers(SIZE, 23), st.integers(SIZE, 71), st.sampled_from([1, 2]), st.integers(0, 9))
def test_any_size_equals_a_correlation_in_double_precision(rows, columns, blocks, seed):
    """Every pixel is written, also where tiles at the border reach back over their neighbours."""
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((rows + 2, columns + 2, blocks * CHANNELS)).astype(np.float32)
    kernel = rng.standard_normal((3, 3)).astype(np.float32)
    wanted = correlate(image.astype(np.float64), kernel[:, :, None].astype(np.float64))[1:-1, 1:-1] + 0.5
    assert np.abs(filtered(image, kernel, 0.5) - wanted).max() <= ROUNDING
    leaky = np.where(wanted > 0, wanted, 0.2 * wanted)
    assert np.abs(filtered(image, kernel, 0.5, 0.2) - leaky).max() <= ROUNDING


@pytest.mark.parametrize(
    ("tile", "count", "touches"), [(0, 5, [True, True]), (0, 1, [True, False]), (1, 5, [False, True])]
)
def test_tiles_that_were_not_asked_for_stay(tile, count, touches):
    """From the given first tile on, as many as are given: others are not touched."""
    out = np.zeros(4 * 8 * CHANNELS, np.float32)
    products = np.random.default_rng(0).random(POINTS * TILES * CHANNELS, np.float32)
    place = N(8), N(CHANNELS), N(0), N(4)
    block = N(CHANNELS), N(0)
    to_pixels(products, *block, np.zeros(CHANNELS, np.float32), F(1), *place, N(tile), N(count), out)
    touched = out.reshape(4, 8, CHANNELS).any((0, 2))
    assert touched.tolist() == [touches[0]] * 4 + [touches[1]] * 4
