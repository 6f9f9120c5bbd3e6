"""Detail of bands of 60 m from sharp ones: exact relations, the equation, the lattice of larger pixels, tiles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xsr.core.blocks import Span
from xsr.kernels.degrade import observe, sensor_band
from xsr.kernels.injection import reach
from xsr.kernels.pooled_injection import (
    FAR,
    FIRST,
    GROWTH,
    LEAST,
    MOST,
    NEAR,
    RIDGE,
    SHARE,
    STEP,
    margin,
    pooled_detail,
)

OPTICS = sensor_band(0.3, 1.0, own=6, source_mtf=0.3)
EDGE, AROUND = margin(OPTICS), reach([OPTICS])
SIDE = 2 * EDGE + 18


def scene(seed, bands=2):
    """Random bands of about 0.2 with detail of one pixel and of four."""
    rng = np.random.default_rng(seed)
    fine = rng.standard_normal((bands, SIDE, SIDE))
    wide = np.kron(rng.standard_normal((bands, SIDE // 4 + 1, SIDE // 4 + 1)), np.ones((4, 4)))
    return (0.2 + 0.02 * fine + 0.05 * wide[:, :SIDE, :SIDE]).astype(np.float32)


def observed(band, corner=(0, 0)):
    """What a band of pixels six times as large shows of a band, on the grid."""
    rows, cols = (Span(first, first + size) for first, size in zip(corner, band.shape, strict=True))
    return observe(band[None], OPTICS, rows=rows, cols=cols, origin=corner)[0]


def inner(image):
    return image[..., EDGE:-EDGE, EDGE:-EDGE]


def added(sharp, low, corner=(0, 0)):
    stack = np.concatenate([sharp, low])[None].astype(np.float32)
    return pooled_detail(stack, range(len(sharp)), range(len(sharp), len(stack[0])), OPTICS, corner=corner)[0]


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (-7, 4)])
def test_bands_that_are_mixtures_of_sharp_ones_are_recovered(corner):
    sharp = scene(0)
    truth = np.stack([0.7 * sharp[0] - 0.4 * sharp[1] + 0.1, 0.2 * sharp[1]])
    low = np.stack([observed(one, corner) for one in truth])
    found = added(sharp, low, corner)
    before, after = (np.abs(inner(low) + part - inner(truth)).max(axis=(1, 2)) for part in (0, found))
    assert (before > 0.02).all()
    assert (after < 0.01 * before).all()  # the ridge


def test_the_lattice_of_the_larger_pixels_counts():
    sharp = scene(1)
    truth = 0.8 * sharp[0] + 0.1 * sharp[1]
    low = observed(truth, (3, 0))[None]
    errors = [np.abs(inner(low) + added(sharp, low, corner) - inner(truth)).mean() for corner in ((3, 0), (0, 0))]
    assert errors[0] < 0.2 * errors[1]


def covariances(sharp, low, row, col, steps):
    """Of all bands around a pixel, in a window of so many steps on every side, as the definition says."""
    weights = np.maximum(steps + 1 - np.abs(np.arange(-steps, steps + 1)), 0.0)
    weights = np.outer(weights, weights)
    at = [slice(first - STEP * steps, first + STEP * steps + 1, STEP) for first in (row, col)]
    values = np.stack([*(observed(one)[at[0], at[1]] for one in sharp), *low[:, at[0], at[1]]]).astype(float)
    return np.cov(values.reshape(len(values), -1), aweights=(weights / weights.sum()).ravel(), ddof=0)


@pytest.mark.parametrize(
    ("noise", "least", "most"), [(0.0, LEAST, LEAST), (0.2, 2 * LEAST, 0.9 * MOST), (5.0, MOST, MOST)]
)
def test_slopes_are_of_both_windows_with_a_ridge_by_the_misfit(noise, least, most):
    """The equation at a pixel of the lattice, where nothing is interpolated, with limits of the ridge and between."""
    sharp, other = scene(2), scene(3, bands=1)[0]
    low = observed(0.7 * sharp[0] - 0.2 * sharp[1] + noise * other)[None]
    row, col = (EDGE + (1 - EDGE) % STEP + n * STEP for n in (1, 3))
    near, far = (covariances(sharp, low, row, col, steps) for steps in (NEAR, FAR))
    both = (near + SHARE * far) / (1 + SHARE)
    inside, beside, variance = both[:2, :2], both[:2, 2], both[2, 2]
    noise_of = np.diag(np.diag(inside))
    first = np.linalg.solve(inside + RIDGE * np.eye(2) + FIRST * noise_of, beside)
    unexplained = (variance - 2 * first @ beside + first @ inside @ first) / (variance + 1e-9)
    spread = np.clip(GROWTH * unexplained, LEAST, MOST)
    assert least <= spread <= most
    slopes = np.linalg.solve(inside + RIDGE * np.eye(2) + spread * noise_of, beside)
    lost = np.array([one[row, col] - observed(one)[row, col] for one in sharp])
    found = added(sharp, low)[0, row - EDGE, col - EDGE]
    assert abs(slopes @ lost) > 1e-3
    np.testing.assert_allclose(found, slopes @ lost, rtol=1e-4)


def test_flat_bands_say_nothing_and_get_nothing():
    flat, bands = np.full((2, SIDE, SIDE), 0.3, np.float32), scene(4)
    assert np.abs(added(flat, bands)).max() < 1e-6
    assert np.abs(added(bands, flat)).max() < 1e-6


@settings(max_examples=10)
@given(st.integers(0, 12), st.integers(0, 12))
def test_a_window_is_part_of_the_whole(row, col):
    sharp = scene(5)
    low = observed(0.5 * sharp[0] + 0.2 * sharp[1] ** 2)[None]
    side = 2 * EDGE + 6
    cut = (..., slice(row, row + side), slice(col, col + side))
    part = added(sharp[cut], low[cut], (row, col))
    assert part.shape == (1, 6, 6)
    whole = added(sharp, low)
    np.testing.assert_allclose(part, whole[:, row : row + 6, col : col + 6], rtol=0, atol=1e-6)
