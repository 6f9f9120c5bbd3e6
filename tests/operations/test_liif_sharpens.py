"""`liif` on a cube some of whose bands have larger pixels: they are sharpened before, the others are as they were."""

import dask
import numpy as np
import pytest
import xarray as xr

import xsr
from xsr.core.cube import open_cube
from xsr.kernels import injection
from xsr.kernels.resample import interpolate_filled
from xsr.models import registry
from xsr.operations.super_resolve.consistency import Observation, optics_of
from xsr.operations.super_resolve.dates import coarser_bands
from xsr.operations.super_resolve.sharpness import gains_of
from xsr.testing import assert_lazy, synthetic_cube

SHARP, COARSE = ("B02", "B04", "B08"), ("B05", "B11")


def cube(size=(40, 44), *, native=True, **options):
    made = synthetic_cube(size=size, bands=(*SHARP, *COARSE), **options)
    return made.assign_coords(native_gsd=("band", [10.0] * 3 + [20.0] * 2)) if native else made


def test_sharp_bands_are_what_they_were_and_the_result_says_what_was_sharpened():
    fine, alone = (cube().sr.liif(scale=2, sharpen=sharpen) for sharpen in (True, False))
    xr.testing.assert_equal(fine.sel(band=list(SHARP)), alone.sel(band=list(SHARP)))
    assert not np.allclose(fine.sel(band="B11"), alone.sel(band="B11"), atol=1e-3)
    assert fine.attrs == {**alone.attrs, "xsr_sharpened": list(COARSE), "xsr_before": "sharpen_s2"}
    assert "xsr_sharpened" not in alone.attrs


def test_on_a_grid_of_10_m_the_table_of_the_sensor_says_which_bands_are_larger():
    xr.testing.assert_equal(
        cube(native=False).sr.liif(scale=2).drop_vars("native_gsd", errors="ignore"),
        cube().sr.liif(scale=2).drop_vars("native_gsd", errors="ignore"),
    )


@pytest.mark.parametrize("sizes", [[10.0] * 5, [20.0] * 5, [10.0, 10.0, 10.0, 30.0, 30.0]])
def test_without_bands_of_twice_the_pixel_beside_sharp_ones_the_network_is_alone(sizes):
    alike = cube().assign_coords(native_gsd=("band", sizes))
    xr.testing.assert_identical(alike.sr.liif(scale=2), alike.sr.liif(scale=2, sharpen=False))


def test_slopes_are_those_of_the_relation_between_bands():
    sharp = np.random.default_rng(0).normal(0.2, 0.05, (3, 40, 36)).astype(np.float32)
    found = injection.slopes(sharp, 0.02 + 0.4 * sharp[[0]] + 0.3 * sharp[[2]])
    assert found.shape == (1, 3, 40 - 2 * injection.WINDOW, 36 - 2 * injection.WINDOW)
    wanted = np.broadcast_to(np.array([[[[0.4]], [[0.0]], [[0.3]]]]), found.shape)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_bands_of_larger_pixels_are_sharpened_interpolated_and_get_the_detail_of_the_others():
    low = cube((40, 40))
    fine, sharpened = low.sr.liif(scale=2).values[0], low.sr.sharpen()
    base = xsr.interpolate(sharpened, scale=2, method="bicubic").values[0]
    slopes = injection.slopes(*np.split(sharpened.values[0], [3]))
    padded = np.pad(slopes.reshape(6, 30, 30), ((0, 0), (9, 9), (9, 9)))
    places = (np.arange(80) + 0.5) / 2 - 0.5 + 9 - injection.WINDOW
    near = interpolate_filled(padded, places, places, "bilinear").reshape(2, 3, 80, 80)
    wanted = base[3:] + (near * (fine[:3] - base[:3])).sum(axis=1)
    inner = (..., slice(16, -16), slice(16, -16))
    np.testing.assert_allclose(fine[3:][inner], wanted[inner], rtol=0, atol=3e-6)


def test_chunks_change_nothing_and_nothing_is_computed_early():
    whole = cube((50, 61)).sr.liif(scale=2.3)
    lazy = cube((50, 61)).chunk(y=17, x=20).assign_coords(native_gsd=cube().native_gsd)  # labels are read
    with assert_lazy(lazy):
        parts = lazy.sr.liif(scale=2.3, chunks=(31, 44))
    assert dask.is_dask_collection(parts.data)
    np.testing.assert_allclose(parts.values, whole.values, rtol=0, atol=3e-6)


def test_no_data_stay_in_their_band():
    holed = cube()
    holed[0, 0, 10:14, 20:23] = np.nan
    holed[0, 4, 30:33, 5:9] = np.nan
    fine, alone = holed.sr.liif(scale=2), holed.sr.liif(scale=2, sharpen=False)
    np.testing.assert_array_equal(np.isnan(fine), np.isnan(alone))
    assert np.isnan((holed * np.nan).sr.liif(scale=2)).all()


def test_on_another_grid_and_consistent_with_the_cube():
    low = cube()
    fine = low.sr.liif(scale=2)
    np.testing.assert_allclose(low.sr.liif(like=fine.odc.geobox).values, fine.values, rtol=0, atol=3e-6)
    held = low.sr.liif(scale=2, consistent=True)
    assert held.attrs["xsr_sharpened"] == list(COARSE)
    card, opened = registry.card("liif_s2"), open_cube(low)
    picks = card.channels(opened.canonical)
    gains = gains_of("sensor", card, opened.canonical)
    optics = optics_of(card, picks, coarser_bands(opened, card, picks), gains, 2.0)
    again = Observation(opened, held.odc.geobox, 2.0, (1024, 1024)).observe(held.values, optics)
    # Random bands of 20 m are no interpolation of larger pixels, which alone can be observed again.
    np.testing.assert_allclose(again[:, :3], low.values[:, :3], rtol=0, atol=1e-5)


def test_at_scale_1_bands_are_as_sharpen_makes_them():
    fine, sharpened = cube().sr.liif(scale=1), cube().sr.sharpen()
    np.testing.assert_allclose(fine.sel(band=list(COARSE)), sharpened.sel(band=list(COARSE)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("psf", ["ideal", 0.4, {band: 0.3 for band in (*SHARP, *COARSE)}])
def test_a_result_of_another_sharpness_is_the_networks(psf):
    xr.testing.assert_identical(*(cube((24, 24)).sr.liif(scale=2, psf=psf, sharpen=one) for one in (True, False)))
