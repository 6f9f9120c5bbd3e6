"""The least correction by which an image, observed again, is what was observed: exact, least, local."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsr.core.blocks import Span
from xsr.kernels.consistency import REACH, projector
from xsr.kernels.degrade import BandOptics, observe, sensor_band


def matrix(optics, low, size):
    """D along an axis, column by column."""
    flat = BandOptics(optics.y, sensor_band(0.3, 1.0).x)
    impulses = [np.tile(row[:, None], (1, 9)) for row in np.eye(size, dtype=np.float32)]
    columns = [observe(one[None], flat, rows=Span(0, low), cols=Span(4, 5))[0, :, 0] for one in impulses]
    return np.stack(columns, axis=1).astype(np.float64)


@given(st.floats(1.2, 8), st.integers(6, 30), st.sampled_from([0.1, 0.2, 0.35]), st.booleans())
def test_a_correction_brings_what_is_missing_and_no_more(scale, count, mtf, similar):
    size = int(np.floor(count * scale))
    low = int(np.floor(size / scale + 1e-6))
    optics = sensor_band(mtf, scale, source_mtf=mtf if similar else None)
    sensor = matrix(optics, low, size)
    found = projector(Span(0, low), Span(0, size), size, optics.y)
    np.testing.assert_allclose(sensor @ found, np.eye(low), atol=2e-5)
    least = np.linalg.pinv(sensor)
    np.testing.assert_allclose(found, least, atol=1e-4 * np.abs(least).max())


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.4])
def test_of_a_band_of_larger_pixels_what_they_lack_is_brought(scale):
    count = 20
    size = int(count * scale)
    optics = sensor_band(0.25, scale, own=2, source_mtf=0.25)
    sensor = matrix(optics, count, size)
    truth = np.random.default_rng(0).standard_normal(size)
    missing = sensor @ truth
    found = projector(Span(0, count), Span(0, size), size, optics.y) @ missing
    wrong = np.abs(sensor @ found - missing) / missing.std()
    assert wrong.max() < 0.05  # beyond the border there are larger pixels that no pixel shows well
    assert wrong[6:-6].max() < 2e-3
    assert np.square(found).sum() <= np.square(truth).sum()


def test_pixels_beyond_the_reach_hardly_count():
    optics = sensor_band(0.2, 2.0)
    whole = projector(Span(0, 100), Span(90, 110), 200, optics.y)
    part = projector(Span(50 - REACH - 5, 50 + REACH + 5), Span(90, 110), 200, optics.y)
    np.testing.assert_allclose(part, whole[:, 45 - REACH : 55 + REACH], atol=2e-5)
