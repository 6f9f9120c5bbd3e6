import numpy as np
import pytest
import xarray as xr
from fuzzing import examples
from helpers import make_cube
from hypothesis import given, settings
from hypothesis import strategies as st

import xsr
from xsr.core.errors import GridError, ParameterError
from xsr.kernels.spectrum import Rings, ring_sums
from xsr.testing import assert_lazy


def random_cube(height, width, *, bands=1, seed=0, gsd=10.0):
    return make_cube(np.random.default_rng(seed).random((1, bands, height, width), dtype=np.float32), gsd=gsd)


def smoothed(cube, sigma):
    """Blur on a torus, so that the response is known at every frequency."""
    fy, fx = np.fft.fftfreq(cube.sizes["y"])[:, None], np.fft.rfftfreq(cube.sizes["x"])
    response = np.exp(-2 * np.pi**2 * sigma**2 * (fy**2 + fx**2))
    values = np.fft.irfft2(np.fft.rfft2(cube.values) * response, cube.shape[-2:])
    return cube.copy(data=values.astype(np.float32))


@pytest.mark.slow
@settings(examples(8), derandomize=True)
@given(
    height=st.integers(8, 60),
    width=st.integers(8, 60),
    patch=st.sampled_from([8, 15, 16, 256]),
    chunk=st.tuples(st.integers(3, 30), st.integers(3, 30)),
    hole=st.booleans(),
    seed=st.integers(0, 99),
)
def test_spectra_do_not_depend_on_the_chunks(height, width, patch, chunk, hole, seed):
    image, reference = random_cube(height, width, seed=seed), random_cube(height, width, seed=seed + 1)
    if hole:
        image[0, 0, height // 2, width // 2] = np.nan
    whole = xsr.spectrum(image, reference, patch=patch)
    lazy = image.chunk(y=chunk[0], x=chunk[1])
    with assert_lazy(lazy):
        parts = xsr.spectrum(lazy, reference.chunk(y=11), patch=patch)
    parts = parts.compute(scheduler="synchronous")
    for name in whole.data_vars:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-6, atol=1e-9, equal_nan=True)


def test_sums_of_rings_by_their_definition():
    image, reference = np.random.default_rng(3).random((2, 1, 20, 17), dtype=np.float32)
    rings = Rings((20, 17), (10.0, 8.0))
    hann = [0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size) for size in rings.size]
    taper = np.outer(*hann)
    f, g = (np.fft.fft2((x - np.average(x, weights=taper)) * taper) for x in (image[0], reference[0]))
    radius = np.hypot(np.fft.fftfreq(20, 10.0)[:, None], np.fft.fftfreq(17, 8.0))
    ring = np.rint(radius / rings.step)
    powers = abs(f) ** 2, abs(g) ** 2, (f * g.conj()).real
    expected = [[power[ring == k].sum() for k in range(rings.count)] for power in powers]
    found = ring_sums(image, reference, rings)[0]
    np.testing.assert_allclose(found[:, :-1], expected, rtol=1e-9, atol=1e-12)
    assert found[:, -1].tolist() == [1, 1, 1]


def test_an_image_equal_to_the_reference():
    cube = random_cube(64, 50)
    found = xsr.spectrum(cube, cube, patch=32).isel(time=0, band=0)
    for name in ("frc", "mtf_gain", "power_ratio"):
        np.testing.assert_allclose(found[name][1:], 1, rtol=1e-12)
    assert float(found["resolution_m"]) == 20  # two pixels of 10 m
    assert found["frequency"].values[-1] == pytest.approx(0.05)


def test_white_noise_has_a_flat_density_of_variance_times_pixel_area():
    cube = make_cube(np.random.default_rng(0).standard_normal((1, 1, 512, 512)).astype(np.float32) * 0.1, gsd=4.0)
    found = xsr.spectrum(cube, cube, patch=64)["power"].squeeze()
    np.testing.assert_allclose(found[2:], 0.01 * 16, rtol=0.12)
    assert float(found[2:].mean()) == pytest.approx(0.16, rel=0.02)


def test_the_gain_is_the_response_of_a_blur():
    reference = random_cube(256, 256)
    found = xsr.spectrum(smoothed(reference, 0.8), reference, patch=128).isel(time=0, band=0)
    expected = np.exp(-2 * (np.pi * 0.8 * found["frequency"] * 10) ** 2)
    np.testing.assert_allclose(found["mtf_gain"][3:], expected[3:], atol=0.02)
    np.testing.assert_allclose(found["power_ratio"][3:], expected[3:] ** 2, atol=0.02)
    assert (found["frc"][1:] > 0.95).all()  # a blur alone destroys nothing


def test_noise_lowers_the_correlation_and_not_the_gain():
    reference = random_cube(256, 256)
    noise = random_cube(256, 256, seed=9)
    found = xsr.spectrum(reference + noise, reference, patch=64).isel(time=0, band=0)
    np.testing.assert_allclose(found["frc"][3:], np.sqrt(0.5), atol=0.08)
    np.testing.assert_allclose(found["mtf_gain"][3:], 1, atol=0.12)
    np.testing.assert_allclose(found["power_ratio"][3:], 2, atol=0.3)


@pytest.mark.parametrize("cut_m", [25.0, 40.0])
def test_resolution_of_a_sharp_cut(cut_m):
    """Frequencies below the cut are the reference's, those above are another image's."""
    reference, other = random_cube(256, 256), random_cube(256, 256, seed=5)
    fy, fx = np.fft.fftfreq(256, 10.0)[:, None], np.fft.rfftfreq(256, 10.0)
    low = np.hypot(fy, fx) < 1 / cut_m
    mixed = np.where(low, np.fft.rfft2(reference.values), np.fft.rfft2(other.values))
    image = reference.copy(data=np.fft.irfft2(mixed, (256, 256)).astype(np.float32))
    found = xsr.spectrum(image, reference, patch=128)["resolution_m"]
    assert float(found.squeeze()) == pytest.approx(cut_m, rel=0.04)


def test_patches_with_no_data_do_not_count():
    cube = random_cube(32, 32, bands=2)
    cube[0, 0, 0, 0] = np.nan
    found = xsr.spectrum(cube, cube, patch=16)
    assert found["patches"].values.tolist() == [[8, 9]]
    empty = xsr.spectrum(cube.where(False), cube, patch=16)
    assert not empty["patches"].any()
    assert np.isnan(empty["frc"]).all()
    assert np.isnan(empty["resolution_m"]).all()


def test_a_constant_image_has_no_spectrum():
    flat = make_cube(np.full((1, 1, 20, 20), 0.25, np.float32))
    found = xsr.spectrum(flat, random_cube(20, 20))
    assert float(found["power"].max()) < 1e-20
    assert not np.isinf(found["frc"]).any()


def test_border_and_mask():
    cube = random_cube(40, 40)
    assert cube.sr.spectrum(cube, patch=8, border=4)["patches"].item() == 49
    mask = xr.DataArray(np.ones((40, 40), bool), dims=("y", "x"))
    mask[:20] = False
    assert xsr.spectrum(cube, cube, patch=8, mask=mask)["patches"].item() == 4 * 9


def test_patches_fit_into_what_the_border_leaves():
    """Cutting the border off and leaving it out are the same."""
    cube, other = random_cube(70, 90, seed=1), random_cube(70, 90, seed=2)
    inner = dict(y=slice(5, -5), x=slice(5, -5))
    expected = xsr.spectrum(cube.isel(inner), other.isel(inner), patch=64)
    assert (expected.patch_px, expected.patches.item()) == ([60, 64], 2)
    xr.testing.assert_identical(xsr.spectrum(cube, other, patch=64, border=5), expected)
    chunked = xsr.spectrum(cube.chunk(y=7, x=11), other, patch=64, border=5)
    xr.testing.assert_allclose(chunked.compute(), expected, rtol=1e-9)
    with pytest.raises(ParameterError, match="border=32 leaves 6 x 26 pixels; expected at least 8 each way"):
        xsr.spectrum(cube, other, border=32)


def test_bad_arguments():
    cube = random_cube(20, 20)
    with pytest.raises(ParameterError, match="patch=4; expected a number of pixels >= 8"):
        xsr.spectrum(cube, cube, patch=4)
    for patch in (None, 32.5, "32", True):
        with pytest.raises(ParameterError, match=f"patch={patch!r}; expected a number of pixels >= 8"):
            xsr.spectrum(cube, cube, patch=patch)
    xr.testing.assert_identical(xsr.spectrum(cube, cube, patch=np.int64(8)), xsr.spectrum(cube, cube, patch=8))
    with pytest.raises(ParameterError, match="the cube has 20 x 7 pixels; expected at least 8"):
        xsr.spectrum(cube.isel(x=slice(7)), cube.isel(x=slice(7)))
    with pytest.raises(GridError, match="20 x 19 pixels"):
        xsr.spectrum(cube, cube.isel(x=slice(19)))
