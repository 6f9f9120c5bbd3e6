import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.test_brisque import write_model

import xsr
from xsr.core.errors import WeightsError
from xsr.kernels import brisque as kernels
from xsr.testing import assert_lazy, synthetic_cube


@pytest.fixture(scope="module")
def cube():
    return synthetic_cube(size=(60, 48), times=("2024-04-10", "2024-06-20"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("brisque"))


def test_features_of_every_band_and_date(cube):
    found = cube.sr.brisque(border=2)
    assert dict(found.sizes) == {"time": 2, "band": 4, "feature": 36}
    direct = kernels.features(kernels.luminance(cube.values[1, 2, 2:-2, 2:-2]))
    np.testing.assert_array_equal(found["features"].values[1, 2], direct)
    assert found.attrs["model"] == "brisque_s2"
    assert found["score"].values[1, 2] == kernels.own_model().score(direct)


def test_blur_noise_and_over_sharpening_raise_the_score_of_the_packaged_model(cube):
    image = synthetic_cube(size=(128, 128))
    plain = float(xsr.brisque(image)["score"].mean())
    rng = np.random.default_rng(0)
    softer = image.rolling(y=3, x=3, center=True, min_periods=1).mean()
    softest = softer.rolling(y=3, x=3, center=True, min_periods=1).mean()
    noisy = image + (rng.normal(0, 0.02, image.shape)).astype(np.float32)
    for other in (softest, noisy, image + 4 * (image - softer)):
        assert float(xsr.brisque(other.assign_attrs(image.attrs))["score"].mean()) > plain


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(time=st.integers(1, 2), band=st.integers(1, 4), y=st.integers(5, 60), x=st.integers(5, 48))
def test_lazy_and_independent_of_chunks(cube, model, time, band, y, x):
    whole = xsr.brisque(cube, model=model)
    lazy = cube.chunk(time=time, band=band, y=y, x=x)
    with assert_lazy(lazy):
        parts = xsr.brisque(lazy, model=str(model)).compute(scheduler="synchronous")
    for name in ("features", "score"):
        np.testing.assert_array_equal(parts[name], whole[name])
        assert np.isfinite(whole[name]).all()
    assert whole.attrs["range"] == "reflectance 0 to 1 as 0 to 255, not rounded"


def test_an_empty_band_has_no_score(cube, model):
    found = xsr.brisque(cube.where(cube["band"] != "B03"), model=model)
    assert np.isnan(found["score"].sel(band="B03")).all()
    assert np.isfinite(found["score"].sel(band="B04")).all()


def test_a_missing_model_fails_before_anything_is_computed(cube, tmp_path):
    with pytest.raises(WeightsError, match="Leave model out for the packaged one"):
        xsr.brisque(cube.chunk(y=20), model=tmp_path / "allmodel")


def test_the_border_is_recorded_as_a_plain_number(cube):
    assert type(xsr.brisque(cube, border=np.int64(2)).attrs["border_px"]) is int
