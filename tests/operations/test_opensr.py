import numpy as np
import pytest
from helpers import make_cube
from hypothesis import given, settings
from hypothesis import strategies as st

import xsr
from xsr.core.errors import GridError, ParameterError
from xsr.kernels.opensr import METRICS
from xsr.kernels.opensr import opensr as kernel
from xsr.testing import assert_lazy, synthetic_pair

FOUR = ("B02", "B03", "B04", "B08")


@pytest.fixture(scope="module")
def trio():
    pair = synthetic_pair(size=(40, 36), high_gsd_m=10 / 3.4, times=("2024-04-10", "2024-06-20"), bands=FOUR)
    return xsr.interpolate(pair.low, like=pair.high), pair.high, pair.low


@pytest.mark.slow
def test_scores_are_those_of_the_kernel(trio):
    image, reference, low = trio
    scores = xsr.opensr(image, reference, low=low)
    assert list(scores.data_vars) == list(METRICS)
    assert dict(scores.sizes) == {"time": 2}
    assert scores.attrs["visible"] == ["B04", "B03", "B02"]
    assert scores.attrs["scale"] == pytest.approx(3.4)
    direct = kernel(low.values[1], image.values[1], reference.values[1], scale=(3.4, 3.4), visible=(2, 1, 0))
    np.testing.assert_allclose([scores[name].values[1] for name in METRICS], direct, rtol=1e-9)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(time=st.integers(1, 2), band=st.integers(1, 4), own=st.integers(9, 140), other=st.integers(9, 140))
def test_lazy_and_independent_of_chunks(trio, time, band, own, other):
    image, reference, low = trio
    whole = image.sr.opensr(reference, low=low)
    lazy = image.chunk(time=time, y=own, band=band)
    with assert_lazy(lazy):
        parts = lazy.sr.opensr(reference.chunk(x=other), low=low.chunk(y=other))
    for name in METRICS:
        np.testing.assert_array_equal(parts[name].compute(scheduler="synchronous"), whole[name])


def test_interpolation_omits_and_the_truth_improves(trio):
    image, reference, low = trio
    base = xsr.opensr(image, reference, low=low)
    truth = xsr.opensr(reference, reference, low=low)
    assert (base["omission"] > base["improvement"]).all()
    assert (truth["improvement"] > 0.9).all()
    assert (truth["synthesis"] > base["synthesis"]).all()


@pytest.mark.slow
def test_bands_seen_for_registration(trio):
    image, reference, low = trio
    assert xsr.opensr(image, reference, low=low, visible=["nir"]).attrs["visible"] == ["B08"]
    assert xsr.opensr(image, reference, low=low, bands=["B08"]).attrs["visible"] == ["B08"]
    assert xsr.opensr(image, reference, low=low, bands=["B08", "B03", "B04"]).attrs["visible"] == ["B08", "B03", "B04"]
    with pytest.raises(ParameterError, match=r"visible=\['B11'\]; expected bands of the cube"):
        xsr.opensr(image, reference, low=low, visible=["B11"])
    assert xsr.opensr(image, reference, low=low, visible="B04").attrs["visible"] == ["B04"]
    with pytest.raises(ParameterError, match="visible=4; expected a name or several"):
        xsr.opensr(image, reference, low=low, visible=4)
    for border in (np.int64(16), 16):
        assert xsr.opensr(image, reference, low=low, border=border).attrs["border_px"] == 16


def test_a_border_of_zero():
    image, low = make_cube((2, 16, 16)), make_cube((2, 8, 8), gsd=20.0)
    assert np.isfinite(xsr.opensr(image, image, low=low, border=0)["reflectance"]).all()
    with pytest.raises(ParameterError, match="border=16 leaves nothing of 16 x 16"):
        xsr.opensr(image, image, low=low)


def test_other_grids_are_refused(trio):
    image, reference, low = trio
    with pytest.raises(GridError, match="the reference has"):
        xsr.opensr(image, reference.isel(y=slice(-3)), low=low)
    with pytest.raises(GridError, match="low= has pixels"):
        xsr.opensr(low, low, low=reference)
