import numpy as np

from xsr.kernels.taps import Taps

OWN = Taps(np.array([0, 2]), np.array([[0.5, 0.5], [0.25, 0.75]]))
SHARED = Taps(np.array([0, 2, 4]), np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([1, 0, 1]))


def test_each_output_has_its_own_weights_or_those_of_its_phase():
    assert OWN.each.tolist() == [[0.5, 0.5], [0.25, 0.75]]
    assert SHARED.each.tolist() == [[0.25, 0.75], [0.5, 0.5], [0.25, 0.75]]
    assert (OWN.row.tolist(), SHARED.row.tolist()) == ([0, 1], [1, 0, 1])


def test_moved_taps_lie_on_other_pixels_with_the_same_weights():
    moved = SHARED.moved(-3)
    assert moved.start.tolist() == [-3, -1, 1]
    assert np.array_equal(moved.each, SHARED.each)
