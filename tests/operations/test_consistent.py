"""`consistent=True`: the result, observed again, is the cube."""

from dataclasses import replace

import numpy as np
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from models.helpers import make_cube, write_model

import xsr
from xsr.core.blocks import Span
from xsr.core.errors import ModelError, ParameterError
from xsr.kernels.degrade import observe, sensor_band
from xsr.models import registry
from xsr.models.card import read_card, write_card
from xsr.testing import assert_lazy, synthetic_cube

BANDS = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")


@pytest.fixture(scope="module", params=["ideal", "sensor"])
def model(request, tmp_path_factory):
    path = write_model(tmp_path_factory.mktemp(request.param))
    write_card(replace(read_card(path), sharpness=request.param, scale_range=(1.0, 8.0)), path)
    return path


def observed(fine, model, scale, shape, bands=range(4), psf=None):
    """What the model's sensor observes of a result."""
    card = read_card(model)
    sharp = psf or "sensor"
    made = []
    for band in bands:
        mtf = card.mtf[band]
        optics = sensor_band(mtf, scale, source_mtf=None if sharp == "ideal" else mtf)
        made.append(observe(fine[:, band], optics, rows=Span(0, shape[0]), cols=Span(0, shape[1])))
    return np.stack(made, axis=1)


@examples(6)
@given(scale=st.floats(1.1, 8), height=st.integers(6, 40), width=st.integers(6, 40))
def test_observed_again_it_is_the_cube(model, scale, height, width):
    cube = make_cube(height, width)
    fine = cube.sr.liif(scale=scale, model=model, consistent=True)
    shape = [int(np.floor(n / scale + 1e-6)) for n in fine.shape[-2:]]
    again = observed(fine.values, model, scale, shape)
    np.testing.assert_allclose(again, cube.values[:, :, : shape[0], : shape[1]], atol=1e-5)
    plain = cube.sr.liif(scale=scale, model=model)
    assert np.abs(observed(plain.values, model, scale, shape) - cube.values[:, :, : shape[0], : shape[1]]).max() > 1e-4
    assert fine.attrs["xsr_consistent"] is True
    assert "xsr_consistent" not in plain.attrs


@examples(6)
@given(scale=st.sampled_from([1.5, 2.0, 3.4, 4.0]), down=st.integers(20, 90), across=st.integers(20, 90))
def test_chunks_make_no_difference(model, scale, down, across):
    cube = make_cube(64, 71)
    whole = cube.sr.liif(scale=scale, model=model, consistent=True)
    parts = cube.chunk(y=30, x=25).sr.liif(scale=scale, model=model, consistent=True, chunks=(down, across))
    assert_lazy(parts)
    np.testing.assert_allclose(parts.compute(), whole, rtol=0, atol=2e-6)


def test_no_data_stays_where_it_is(model):
    cube = make_cube(40, 40)
    cube.values[0, 1, 10:15, 10:15] = np.nan
    fine = cube.sr.liif(scale=2, model=model, consistent=True)
    plain = cube.sr.liif(scale=2, model=model)
    np.testing.assert_array_equal(np.isnan(fine), np.isnan(plain))
    again = observed(np.nan_to_num(fine.values), model, 2.0, (40, 40))
    away = np.abs(again - cube.values)[0, 1]
    away[2:23, 2:23] = 0
    assert away.max() < 1e-3


def test_another_sharpness_is_consistent_too(model):
    cube = make_cube(30, 30)
    for psf in ("ideal", "sensor"):
        fine = cube.sr.liif(scale=2, model=model, psf=psf, consistent=True)
        np.testing.assert_allclose(observed(fine.values, model, 2.0, (30, 30), psf=psf), cube.values, atol=1e-5)


def test_a_fixed_scale_network_is_consistent_in_all_bands():
    cube = synthetic_cube(size=(48, 48), bands=BANDS, noise=0.001)
    card = xsr.models.describe("carn_3x3x64g4sw_s2")
    assert card.scale == "2"
    fine = cube.sr.sisr(model="carn_3x3x64g4sw_s2", consistent=True)
    path = registry.find("carn_3x3x64g4sw_s2")
    again = observed(fine.values, path, 2.0, (48, 48))
    np.testing.assert_allclose(again, cube.values[:, :4], atol=1e-5)


def test_what_has_no_pixels_to_compare_with_is_refused(model, tmp_path):
    cube = make_cube(12, 12, dates=2)
    with pytest.raises(ParameterError, match=r"consistent=True with like=\.\.\."):
        cube.sr.liif(like=cube, model=model, consistent=True)
    path = write_model(tmp_path)
    write_card(replace(read_card(path), sharpness=None), path)
    with pytest.raises(ModelError, match="does not state the sharpness of its result"):
        cube.sr.liif(scale=2, model=path, consistent=True)
