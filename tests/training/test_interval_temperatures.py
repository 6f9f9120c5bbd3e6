from dataclasses import dataclass, replace

import numpy as np
import pytest
from operations.test_guided import write_guided

from xsr.core.errors import ParameterError
from xsr.kernels import spread
from xsr.training.interval_temperatures import BANDS, GuidedPlace, best_patch, collect_temperatures, observed
from xsr.training.recipes import DCTNET_LST_INTERVALS

RECIPE = replace(DCTNET_LST_INTERVALS, task=replace(DCTNET_LST_INTERVALS.task, scales=(4.0,), patch=64, pixels=40))


@dataclass(frozen=True)
class Made:
    place: GuidedPlace

    @property
    def name(self):
        return self.place.name

    def read(self):
        return self.place


def place(side=80):
    rng = np.random.default_rng(0)
    kelvin = (300 + 3 * rng.standard_normal((side, side))).astype(np.float32)
    guide = (0.3 + 0.05 * rng.random((3, side, side))).astype(np.float32)
    return GuidedPlace("here", kelvin, guide, ("B04", "B08", "B11"))


def test_the_patch_is_that_of_which_most_is_known():
    one = place(20)
    one.kelvin[:, :7] = np.nan
    one.kelvin[:3] = np.nan
    found = best_patch(one, 12)
    assert np.isfinite(found.kelvin).all()
    np.testing.assert_array_equal(found.kelvin, one.kelvin[3:15, 7:19])
    np.testing.assert_array_equal(found.guide, one.guide[:, 3:15, 7:19])
    assert best_patch(one, 21) is None
    one.kelvin[5:, 5:] = np.nan
    assert best_patch(one, 12) is None


def test_a_constant_place_is_observed_as_it_is():
    flat = replace(place(), kelvin=np.full((80, 80), 290, np.float32))
    low, guide, truth = observed(flat, 4, 0.3)
    np.testing.assert_allclose(low.values, 290, rtol=1e-6)
    assert low.shape == (1, 20, 20)
    assert guide.shape == (3, 80, 80)
    assert truth.shape == (80, 80)


def test_pixels_are_those_of_both_results(tmp_path):
    """A network that adds nothing makes bicubic interpolation; held, it is another image of the same pixels."""
    path = write_guided(tmp_path, zero=True)
    recipe = replace(RECIPE, task=replace(RECIPE.task, of=str(path)))
    found = collect_temperatures(recipe, [Made(place())])
    assert set(found.band) == set(range(len(BANDS)))
    assert len(found.error) == 2 * 40
    assert (np.unique(found.pixel, return_counts=True)[1] == 2).all()
    free, held = (found[found.band == band] for band in (0, 1))
    np.testing.assert_allclose(free.features[:, :3], 0.5 * np.log(spread.LEAST), atol=0.05)
    assert (held.features[:, 2] > free.features[:, 2] + 1).all()
    assert 1 < np.abs(free.error).mean() < 5


def test_places_that_are_too_small_are_refused():
    with pytest.raises(ParameterError, match="no place has 64 pixels along both sides"):
        collect_temperatures(RECIPE, [Made(place(32))])
