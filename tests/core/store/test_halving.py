import numpy as np
import pytest

from xsr.core.store.halving import halved

NAN = np.nan


def by_hand(values):
    """Mean of the valid pixels of every two by two, pixel by pixel."""
    h, w = values.shape[-2:]
    out = np.full((*values.shape[:-2], -(-h // 2), -(-w // 2)), NAN)
    for index in np.ndindex(out.shape):
        *lead, y, x = index
        cell = values[(*lead, slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2))]
        if not np.isnan(cell).all():
            out[index] = np.nanmean(cell)
    return out


@pytest.mark.parametrize("shape", [(4, 6), (5, 7), (2, 3, 5, 4), (1, 1)])
def test_the_mean_is_that_of_the_valid_pixels(shape):
    rng = np.random.default_rng(1)
    values = np.where(rng.random(shape) < 0.4, NAN, rng.random(shape)).astype(np.float32)
    found = halved(values, (len(shape) - 2, len(shape) - 1), "average")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(values.astype(float)), rtol=1e-6)


def test_nothing_valid_is_no_data():
    assert np.isnan(halved(np.full((2, 2), NAN, np.float32), (0, 1), "average")).all()
    assert halved(np.full((2, 2), 255, np.uint8), (0, 1), "mode", 255).tolist() == [[255]]


def test_the_mean_of_integers_is_rounded_and_leaves_no_data_out():
    values = np.array([[10, 0, 200], [12, 13, 0]], np.uint8)
    assert halved(values, (0, 1), "average", 0).tolist() == [[12, 200]]
    assert halved(values, (0, 1), "average").tolist() == [[9, 100]]


def test_the_mode_keeps_classes_and_their_type():
    values = np.array([[4, 9, 5, 0], [9, 4, 0, 0], [7, 7, 3, 8]], np.uint8)
    found = halved(values, (0, 1), "mode", 0)
    assert found.tolist() == [[4, 5], [7, 3]]
    assert found.dtype == np.uint8
    mask = np.array([[True, False], [True, True]])
    assert halved(mask, (0, 1), "mode").tolist() == [[True]]


def test_axes_may_lie_anywhere():
    values = np.arange(24.0).reshape(4, 2, 3)
    moved = halved(np.moveaxis(values, 1, 2), (0, 1), "average")
    assert np.array_equal(np.moveaxis(moved, 2, 1), halved(values, (0, 2), "average"))
