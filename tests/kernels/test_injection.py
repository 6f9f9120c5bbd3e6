"""Detail of coarse bands from sharp ones: exact relations, the lattice of the larger pixels, tiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsr.core.blocks import Span
from xsr.kernels.degrade import observe, sensor_band
from xsr.kernels.injection import injected_detail, margin, projected_back, reach

OPTICS = sensor_band(0.3, 1.0, own=2, source_mtf=0.3)
EDGE = margin(OPTICS)


def scene(seed, bands=2, side=96):
    """Smooth random bands of 0.05 to 0.4 with detail down to the pixel."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((bands, side, side)).astype(np.float32)
    soft = observe(noise, sensor_band(0.5, 1.0), rows=Span(0, side), cols=Span(0, side))
    return (0.2 + 0.05 * soft).astype(np.float32)


def seen(band, corner=(0, 0)):
    """What a band of pixels twice as large shows of a band, on the grid."""
    rows, cols = (Span(first, first + size) for first, size in zip(corner, band.shape, strict=True))
    return observe(band[None], OPTICS, rows=rows, cols=cols, origin=corner)[0]


def inner(image):
    return image[..., EDGE:-EDGE, EDGE:-EDGE]


def added(sharp, coarse, corner=(0, 0)):
    stack = np.concatenate([sharp, coarse])[None].astype(np.float32)
    count = len(sharp)
    return injected_detail(stack, range(count), range(count, len(stack[0])), OPTICS, corner=corner)[0]


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (-7, 4)])
def test_a_band_that_is_a_mixture_of_sharp_ones_is_recovered(corner):
    sharp = scene(0)
    truth = 0.7 * sharp[0] - 0.4 * sharp[1] + 0.1
    low = seen(truth, corner)
    found = added(sharp, low[None], corner)
    before, after = (np.abs(inner(low) + part - inner(truth)).max() for part in (0, found[2]))
    assert before > 0.02
    assert after < 0.02 * before  # the ridge
    assert (found[:2] == 0).all()


def test_the_lattice_of_the_larger_pixels_counts():
    sharp = scene(1)
    truth = 0.8 * sharp[0] + 0.1 * sharp[1]
    low = seen(truth, (1, 0))
    errors = [
        np.abs(inner(low) + added(sharp, low[None], corner)[2] - inner(truth)).mean() for corner in ((1, 0), (0, 0))
    ]
    assert errors[0] < 0.2 * errors[1]


def test_bands_that_have_nothing_in_common_get_little():
    sharp, other = scene(2), scene(3, bands=1)
    found = added(sharp, seen(other[0])[None])[2]
    assert found.std() < 0.5 * inner(sharp[0] - seen(sharp[0])).std()


def test_flat_bands_say_nothing():
    flat = np.full((2, 64, 64), 0.3, np.float32)
    found = added(flat, scene(4, bands=1, side=64))
    assert np.abs(found).max() < 1e-6


@given(st.integers(0, 9).map(lambda n: 2 * n), st.integers(0, 9).map(lambda n: 2 * n))
def test_a_window_is_part_of_the_whole(row, col):
    sharp = scene(5)
    low = seen(0.5 * sharp[0] + 0.2 * sharp[1] ** 2)
    whole = added(sharp, low[None])
    side = 2 * EDGE + 12
    part = added(
        sharp[:, row : row + side, col : col + side], low[None, row : row + side, col : col + side], (row, col)
    )
    assert part.shape == (3, 12, 12)
    np.testing.assert_allclose(part, whole[:, row : row + 12, col : col + 12], rtol=0, atol=2e-6)


def test_a_band_that_shows_what_was_given_lacks_nothing():
    truth = scene(5, bands=1)
    low = seen(truth[0])[None]
    around = reach([OPTICS])
    found = projected_back(low, truth - low, [OPTICS], around=around)
    assert np.abs(found).max() < 1e-6
    before = projected_back(low, 0 * low, [OPTICS], around=around)
    inside = slice(around, -around)
    assert np.allclose(before, 1.5 * (low - seen(low[0])[None])[:, inside, inside], atol=1e-6)
    errors = [
        np.abs((low + part - truth)[:, inside, inside]).mean()
        for part in (0, np.pad(before, ((0, 0), (around, around), (around, around))))
    ]
    assert errors[1] < errors[0]


@given(st.integers(0, 9).map(lambda n: 2 * n), st.integers(0, 9).map(lambda n: 2 * n))
def test_what_is_projected_back_in_a_window_is_part_of_the_whole(row, col):
    low = seen(scene(6, bands=1)[0])[None]
    around = reach([OPTICS])
    whole = projected_back(low, 0.1 * low, [OPTICS], around=around)
    window = low[:, row : row + 60, col : col + 60]
    part = projected_back(window, 0.1 * window, [OPTICS], around=around, corner=(row, col))
    assert np.allclose(part, whole[:, row : row + part.shape[1], col : col + part.shape[2]], atol=1e-6)
