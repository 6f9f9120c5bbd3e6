from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsr.models.channels import Channels

THREE = Channels(("B02", "B03", "B04"), (0.1, 0.2, 0.3), (0.5, 0.25, 0.125), optional=("B03",))


def image(*values):
    return np.array(values, np.float32)[:, None, None]


def test_bands_are_standardised_into_their_channels_and_others_are_held_at_the_mean():
    found = THREE.standardise(image(0.8, 0.6), THREE.select(["B04", "B02"]))
    np.testing.assert_allclose(found.ravel(), [1.0, 0.0, 4.0], rtol=1e-6)


def test_numbers_of_ten_thousand():
    tenth = Channels(("B02",), (1000.0,), (500.0,), units="0.0001")
    assert tenth.step == 1e-4
    np.testing.assert_allclose(tenth.standardise(image(0.2), (0,)).ravel(), [2.0], rtol=1e-6)
    np.testing.assert_allclose(tenth.restore(image(2.0), (0,)).ravel(), [0.2], rtol=1e-6)
    assert tenth.constant == pytest.approx((0.1,))


def test_kelvin_has_a_step_of_one():
    assert Channels(("lst",), (0.0,), (1.0,), units="K").step == 1.0


def test_fill_stands_in_for_the_mean():
    assert THREE.constant == THREE.mean
    assert Channels(("B02",), (0.1,), (0.5,), fill=(0.4,)).constant == (0.4,)


def test_a_correction_is_added_to_its_base_and_not_to_the_mean():
    np.testing.assert_allclose(THREE.restore(image(2.0), (1,), image(0.5)).ravel(), [1.0], rtol=1e-6)
    np.testing.assert_allclose(THREE.restore(image(2.0), (1,)).ravel(), [0.7], rtol=1e-6)


@given(st.permutations([0, 1, 2]), st.sampled_from(["1", "0.0001"]), st.integers(0, 2**32 - 1))
def test_restored_is_what_was_standardised(picks, units, seed):
    channels = Channels(THREE.names, (0.1, 0.2, 0.3), (0.5, 0.25, 0.125), units=units)
    values = np.random.default_rng(seed).uniform(-1, 2, (2, 3, 4, 5)).astype(np.float32)
    standard = channels.standardise(values, picks)
    found = channels.restore(standard[:, list(picks)], picks)
    np.testing.assert_allclose(found, values, atol=1e-6)


def test_any_axes_before_the_bands():
    values = np.random.default_rng(0).random((2, 3, 3, 4, 5), np.float32)
    found = THREE.standardise(values, (0, 1, 2))
    np.testing.assert_array_equal(found[1], THREE.standardise(values[1], (0, 1, 2)))


def test_some_of_the_bands():
    found = replace(THREE, fill=(1.0, 2.0, 3.0)).only(("B04", "B03"))
    assert found == Channels(("B04", "B03"), (0.3, 0.2), (0.125, 0.25), optional=("B03",), fill=(3.0, 2.0))
    assert len(found) == 2
