import numpy as np
import pytest
import torch

from xsr.core.keys import keys


@pytest.mark.parametrize("a", [-0.5, -0.75])
def test_weights_of_the_four_pixels_around_any_place_sum_to_one(a):
    for t in np.linspace(0, 1, 11):
        assert sum(keys(float(d), a) for d in (1 + t, t, 1 - t, 2 - t)) == pytest.approx(1, abs=1e-14)


def test_values_by_hand():
    # Keys 1981, eq. 15: 3/2 d^3 - 5/2 d^2 + 1 below one, -1/2 d^3 + 5/2 d^2 - 4 d + 2 below two.
    assert [keys(d) for d in (-0.5, 0.5, 1.0, 1.5, 2.0, 3.0)] == [0.5625, 0.5625, 0.0, -0.0625, 0.0, 0.0]


def test_numbers_arrays_and_tensors_have_the_same_weights():
    distance = np.linspace(-2.5, 2.5, 101)
    array = keys(distance, -0.75)
    assert array.tolist() == [keys(float(d), -0.75) for d in distance]
    assert array.tolist() == keys(torch.from_numpy(distance), -0.75).tolist()
