"""The sharpness of a result: as a network gives it, and as requested."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from models.helpers import make_cube

import xsr
from xsr.core.errors import ModelError, ParameterError
from xsr.kernels import sharpness
from xsr.models import registry
from xsr.models.card import read_card, write_card

SENSOR = {"B02": 0.26, "B03": 0.28}


@pytest.fixture
def cube():
    return make_cube(30, 26)


def test_a_result_states_its_sharpness(cube):
    assert xsr.liif(cube, scale=2).attrs["xsr_psf"] == "sensor"
    assert xsr.liif(cube, scale=2, psf="ideal").attrs["xsr_psf"] == "ideal"
    assert xsr.liif(cube, scale=2, psf="sensor").attrs["xsr_psf"] == "sensor"
    assert xsr.liif(cube, scale=2, psf=0.4).attrs["xsr_psf"] == 0.4


def test_a_result_is_as_sharp_as_the_sensor_unless_another_sharpness_is_given(cube, tmp_path):
    sharp, default = xsr.liif(cube, scale=2.5, psf="ideal"), xsr.liif(cube, scale=2.5)
    mtf = [registry.card("liif_s2").mtf[registry.card("liif_s2").bands.index(band)] for band in cube.band.values]
    softened = [sharpness.change(sharp.values[:, n], (value, value)) for n, value in enumerate(mtf)]
    np.testing.assert_array_equal(default.values, np.stack(softened, axis=1))
    np.testing.assert_array_equal(xsr.liif(cube, scale=2.5, psf="sensor"), default)
    bare = xsr.liif(cube, scale=2.5, model=unstated(tmp_path, sharpness=None))
    np.testing.assert_array_equal(bare.values, sharp.values)  # what the network gives


def test_another_sharpness_is_the_result_filtered_on_its_own_grid(cube):
    """The whole image at once, filtered by the kernel, is the oracle of the blocks."""
    fine = xsr.liif(cube, scale=2.5, psf="ideal").values
    for psf in (0.3, 0.6):
        found = xsr.liif(cube.chunk(y=11, x=9), scale=2.5, psf=psf, chunks=17)
        wanted = np.stack([sharpness.change(date, (psf, psf)) for date in fine])
        np.testing.assert_array_equal(found.values, wanted)


@settings(max_examples=8)
@given(st.integers(0, 40), st.integers(0, 34), st.integers(1, 30), st.integers(1, 30), st.sampled_from([9, 40]))
def test_a_part_of_a_grid_has_the_pixels_of_the_whole(top, left, height, width, chunks):
    cube = make_cube(30, 26)
    whole = xsr.liif(cube, scale=2)
    part = whole.isel(y=slice(top, top + height), x=slice(left, left + width))
    found = xsr.liif(cube.chunk(y=11, x=9), like=part.odc.geobox, chunks=chunks)
    np.testing.assert_allclose(found, part, rtol=0, atol=1e-6)


def test_a_part_of_a_grid_in_another_crs_has_the_pixels_of_the_whole(cube):
    box = cube.odc.geobox.to_crs("EPSG:4326", resolution=7e-5, shape=None)
    cut = slice(7, 31), slice(4, 22)
    whole, found = (xsr.liif(cube, like=one) for one in (box, box[cut]))
    wanted = whole.values[..., cut[0], cut[1]]
    assert np.isfinite(wanted).mean() > 0.5
    # The size of a pixel is that at the middle of the grid, which differs by a few parts in a million.
    np.testing.assert_allclose(found.values, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("psf", ["sensor", 0.2, {"B02": 0.3, "B03": 0.5, "B04": 1.0, "B08": 0.9}])
@pytest.mark.parametrize("chunks", [13, 40])
def test_chunks_and_no_data_change_nothing(cube, psf, chunks):
    cube[..., 4:9, 11:20] = np.nan
    whole = xsr.liif(cube, scale=3.4, psf=psf)
    lazy = xsr.liif(cube.chunk(y=7, x=10), scale=3.4, psf=psf, chunks=chunks)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.values, whole.values)
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(xsr.liif(cube, scale=3.4)))


def test_a_grid_of_another_crs_is_filtered_across_blocks(cube):
    target = cube.odc.geobox.to_crs("EPSG:4326", resolution=4e-5).pad(5)
    whole = xsr.liif(cube, like=target, psf="sensor", chunks=4096)
    parts = xsr.liif(cube.chunk(y=9, x=9), like=target, psf="sensor", chunks=21)
    np.testing.assert_array_equal(parts.values, whole.values)
    assert np.isnan(whole.values).any()
    assert float(np.abs(whole - xsr.liif(cube, like=target, psf="ideal")).max()) > 0


def test_fixed_factors_and_target_times_likewise():
    dates = [make_cube(20, 20).isel(time=0), make_cube(20, 20).isel(time=0) * 1.1]
    cube = xr.concat(dates, dim="time").assign_coords(time=np.array(["2024-05-01", "2024-05-11"], "datetime64[ns]"))
    cube.attrs = dates[0].attrs
    plain, soft = (xsr.liif(cube, scale=2, t="2024-05-04", psf=psf) for psf in ("ideal", 0.3))
    np.testing.assert_array_equal(soft.values, sharpness.change(plain.values[0], (0.3, 0.3))[None])
    bands = registry.card("carn_3x3x64g4sw_s2").bands
    ten = xr.concat([cube.isel(band=[0])] * 10, dim="band").assign_coords(band=list(bands))
    ten.attrs = cube.attrs
    name = "carn_3x3x64g4sw_s2_ideal"
    plain, soft = (xsr.sisr(ten.isel(time=[0]), model=name, psf=psf) for psf in ("ideal", 0.3))
    np.testing.assert_array_equal(soft.values, sharpness.change(plain.values[0], (0.3, 0.3))[None])


def unstated(tmp_path, **changes):
    """Weights of ``liif_s2`` with another card."""
    weights = tmp_path / "mine.safetensors"
    source = registry.find("liif_s2")
    weights.write_bytes(source.read_bytes())
    write_card(replace(read_card(source), name="mine", **changes), weights)
    return weights


def test_a_model_that_does_not_state_its_sharpness_takes_no_other(cube, tmp_path):
    weights = unstated(tmp_path, sharpness=None)
    assert "xsr_psf" not in xsr.liif(cube, scale=2, model=weights).attrs
    with pytest.raises(ModelError, match=r"'mine' does not state the sharpness of its result. Leave psf out"):
        xsr.liif(cube, scale=2, model=weights, psf="sensor")


def test_a_model_that_states_no_mtf_has_no_sensor(cube, tmp_path):
    with pytest.raises(ModelError, match=r"psf='sensor': model 'mine' states no MTF. Pass the MTF"):
        xsr.liif(cube, scale=2, model=unstated(tmp_path, mtf=()), psf="sensor")


@pytest.mark.parametrize("psf", ["airy", 0, -0.1, 1.5, float("nan"), True, [0.3, 0.3]])
def test_what_is_no_sharpness_is_refused(cube, psf):
    with pytest.raises(ParameterError, match=r"psf=.*expected 'sensor', 'ideal', or"):
        xsr.liif(cube, scale=2, psf=psf)


def test_bands_without_an_mtf_are_named(cube):
    with pytest.raises(ParameterError, match=r"psf names the bands \['B02', 'B03'\]; expected 'B04' among them"):
        xsr.liif(cube, scale=2, psf=SENSOR)
