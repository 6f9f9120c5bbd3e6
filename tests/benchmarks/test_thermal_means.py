"""What sharpened temperatures keep of their input, and whether its pixels show: hand values."""

import numpy as np
import pytest
from common import thermal_means, thermal_scores
from common.thermal_scores import MTF

import xsr
from xsr.training import thermal_synthetic as synthetic
from xsr.training.thermal import ThermalScene


@pytest.fixture(scope="module")
def pair():
    return thermal_scores.pair(ThermalScene("made", *synthetic.draw_scene(np.random.default_rng(11), 64)), 4)


@pytest.mark.parametrize("mtf", [None, MTF])
def test_an_image_is_held_as_the_operation_holds_it(pair, mtf):
    made = thermal_scores.Estimates()(pair, "guided filter")
    wanted = xsr.guided(pair.low, pair.guide, method="guided_filter", conserve="radiance", mtf=mtf)
    np.testing.assert_allclose(thermal_means.held(pair, made, mtf), wanted.values[0], atol=1e-4)
    assert thermal_means.deviation_k(pair, wanted.values[0], mtf) < 0.001
    assert thermal_means.deviation_k(pair, made, mtf) > 0.02


def test_the_largest_difference_of_means_by_hand(pair):
    low = pair.low.values[0]
    image = np.repeat(np.repeat(low, 4, axis=0), 4, axis=1)
    assert thermal_means.deviation_k(pair, image, None) == pytest.approx(0, abs=1e-4)
    image[4:8, 8:12] += 0.5
    assert thermal_means.deviation_k(pair, image, None) == pytest.approx(0.5, abs=1e-3)


def test_block_patterns_by_hand():
    ramp = np.add.outer(np.arange(16.0), 2 * np.arange(16.0))
    assert thermal_means.block_pattern(ramp, 4) == pytest.approx(1)
    offsets = 3.0 * np.repeat(np.repeat(np.indices((4, 4)).sum(axis=0), 4, axis=0), 4, axis=1)
    # steps of 1 down and 2 right, and of 3 more at borders of pixels
    assert thermal_means.block_pattern(ramp + offsets, 4) == pytest.approx((1 + 2 + 2 * 3) / (1 + 2))
