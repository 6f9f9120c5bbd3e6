import numpy as np
import pytest
import xarray as xr
from affine import Affine
from helpers import make_cube, make_dataset
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize_scalar

from xsr.core.errors import BandError, CubeError, GridError, ParameterError, XsrWarning
from xsr.operations import match_psf as operation
from xsr.testing import assert_lazy, assert_same_grid


def texture(shape=(1, 2, 70, 60), seed=0):
    """Noise with the correlation that images have."""
    values = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), (0, 0, 1, 1))
    return make_cube((0.2 + 0.05 * values).astype(np.float32))


def width(cube, reference, **options):
    return cube.sr.match_psf(reference, **options).attrs["xsr_sigma_m"]


@pytest.mark.parametrize("sigma_m", [4.0, 10.0, 31.0, 75.0])
def test_the_width_found_is_the_one_that_was_put_on(sigma_m):
    cube = texture((1, 2, 120, 110))
    soft = cube.sr.match_psf(sigma_m=sigma_m)
    out = cube.sr.match_psf(soft)
    assert out.attrs["xsr_operation"] == "match_psf"
    assert out.attrs["xsr_sigma_m"] == pytest.approx(sigma_m, rel=0.015)
    assert float(np.abs(out - soft).max()) < 0.03 * float(np.abs(cube - soft).max())


def test_the_width_is_that_of_the_least_error_by_another_gaussian_and_another_search():
    cube = texture((2, 2, 150, 140), seed=1)
    noise = 0.01 * np.random.default_rng(2).standard_normal(cube.shape).astype(np.float32)
    reference = cube.copy(data=gaussian_filter(cube.values, (0, 0, 1.6, 1.6), mode="mirror"))
    image = cube + noise

    def error(sigma):
        return np.square(gaussian_filter(image.values, (0, 0, sigma, sigma), mode="mirror") - reference.values).mean()

    expected = minimize_scalar(error, bounds=(0.8, 6), method="bounded").x * 10
    assert expected > 16.2  # noise calls for more
    assert width(image, reference) == pytest.approx(expected, rel=0.015)


def test_pixels_are_those_of_an_independent_gaussian():
    cube = texture()
    out = cube.sr.match_psf(sigma_m=20)
    expected = gaussian_filter(cube.values.astype(float), (0, 0, 2, 2), mode="mirror", truncate=4)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert_same_grid(out, cube)
    assert out.dtype == np.float32


def test_no_width_is_the_cube_itself_and_constants_and_ramps_stay():
    cube = texture()
    np.testing.assert_array_equal(cube.sr.match_psf(sigma_m=0), cube)
    ramp = cube.copy(data=np.broadcast_to(np.arange(60, dtype=np.float32) / 100, cube.shape))
    np.testing.assert_allclose(ramp.sr.match_psf(sigma_m=15)[..., 8:-8], ramp[..., 8:-8], atol=1e-6)


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # odc-geo's, which pytest.warns repeats
def test_a_sharper_reference_gives_width_nought_and_says_so():
    cube = texture()
    with pytest.warns(XsrWarning, match="as sharp as the cube or sharper"):
        out = cube.sr.match_psf(sigma_m=15).sr.match_psf(cube)
    assert out.attrs["xsr_sigma_m"] == 0.0
    np.testing.assert_array_equal(out, cube.sr.match_psf(sigma_m=15))


def test_a_reference_beyond_the_largest_width_is_refused_until_it_is_raised():
    cube = texture((1, 1, 150, 150))
    soft = cube.sr.match_psf(sigma_m=60)
    with pytest.raises(ParameterError, match=r"softer than the cube after a Gaussian of 30 m.*Raise largest_m="):
        cube.sr.match_psf(soft, largest_m=30)
    assert width(cube, soft, largest_m=100) == pytest.approx(60, rel=0.015)


def test_metres_are_metres_on_the_ground_in_degrees_and_on_oblong_pixels():
    values = texture((1, 1, 120, 110)).values
    degrees = make_cube(values, affine=Affine(1e-4, 0, 10, 0, -1e-4, 60), crs="EPSG:4326")  # 11.1 m by 5.6 m
    out = degrees.sr.match_psf(sigma_m=22.28)
    expected = gaussian_filter(values.astype(float), (0, 0, 22.28 / 11.141, 22.28 / 5.58), mode="mirror", truncate=4.5)
    np.testing.assert_allclose(out, expected, atol=1e-4)
    assert width(degrees, out) == pytest.approx(22.28, rel=0.015)


def test_one_width_serves_all_dates_and_bands_and_some_bands_can_decide():
    cube = texture((2, 2, 90, 80))
    soft = cube.sr.match_psf(sigma_m=12)
    soft[:, 1] = cube.sr.match_psf(sigma_m=40)[:, 1]
    first, second = cube["band"].values
    assert width(cube, soft, bands=[str(first)]) == pytest.approx(12, rel=0.015)
    out = cube.sr.match_psf(soft.sel(band=[second]), bands=[str(second)])
    assert out.attrs["xsr_sigma_m"] == pytest.approx(40, rel=0.015)
    assert out.sizes == cube.sizes  # all bands are softened
    single = soft.isel(time=0, drop=True)  # one image serves all dates
    changed = cube.copy(data=np.broadcast_to(cube.values[:1], cube.shape))
    assert width(changed, single, bands=[str(first)]) == pytest.approx(12, rel=0.015)


@pytest.mark.parametrize("side", [24, 256])
def test_any_chunks_give_the_same_and_the_result_is_lazy(side, monkeypatch):
    monkeypatch.setattr(operation, "WINDOW", side)
    cube = texture((2, 2, 100, 90))
    holes = np.random.default_rng(3).random(cube.shape) < 0.02
    reference = cube.sr.match_psf(sigma_m=14).where(~holes[:, :, ::-1])
    cube = cube.where(~holes)
    whole = cube.sr.match_psf(reference)
    lazy = cube.chunk(time=1, band=1, y=17, x=23)
    parts = lazy.sr.match_psf(reference.chunk(y=31), chunks=(13, 40))
    assert parts.chunks is not None
    xr.testing.assert_identical(parts.compute(), whole)
    with assert_lazy(lazy):
        lazy.sr.match_psf(sigma_m=14)


def test_the_search_reads_windows_and_no_more(monkeypatch):
    monkeypatch.setattr(operation, "WINDOW", 16)
    cube = texture((1, 1, 300, 280))
    reference = cube.sr.match_psf(sigma_m=12)
    between = reference.copy()
    between[..., 20:120, 20:100] = 0.9  # between the windows at the corners, the sides and the middle
    assert width(cube, between) == width(cube, reference)
    inside = reference.copy()
    inside[..., :16, :16] = cube[..., :16, :16]
    assert width(cube, inside) != width(cube, reference)


def test_no_data_stays_where_it_is():
    cube = texture()
    cube[0, 0, 10:20, 30:40] = np.nan
    out = cube.sr.match_psf(sigma_m=18)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(cube))
    constant = cube.where(np.isnan(cube), 0.25).sr.match_psf(sigma_m=18)
    np.testing.assert_allclose(constant.where(np.isfinite(cube), 0.25), 0.25, rtol=1e-6)


def test_a_dataset_with_ascending_y_comes_back_as_it_was():
    cube = texture()
    dataset = make_dataset(cube.values).isel(y=slice(None, None, -1))
    out = dataset.sr.match_psf(sigma_m=20)
    assert isinstance(out, xr.Dataset)
    assert list(out.data_vars) == list(dataset.data_vars)
    np.testing.assert_array_equal(out.y, dataset.y)
    expected = cube.sr.match_psf(sigma_m=20)
    for number, name in enumerate(out.data_vars):
        np.testing.assert_array_equal(out[name][:, ::-1], expected[:, number])


def test_through_a_store_and_back(tmp_path):
    out = texture().chunk(y=32).sr.match_psf(sigma_m=20)
    out.sr.to_zarr(tmp_path / "soft.zarr", progress=False)
    found = xr.open_zarr(tmp_path / "soft.zarr")
    np.testing.assert_array_equal(next(iter(found.data_vars.values())).squeeze(), out.squeeze())


def test_what_does_not_fit_is_refused():
    cube = texture()
    with pytest.raises(ParameterError, match=r"reference= and sigma_m=: neither given; expected one of them"):
        cube.sr.match_psf()
    with pytest.raises(ParameterError, match=r"reference= and sigma_m=: both given"):
        cube.sr.match_psf(cube, sigma_m=3)
    for wrong in (-1, np.nan, "4", [3]):
        with pytest.raises(ParameterError, match=r"sigma_m=.*expected a standard deviation in metres"):
            cube.sr.match_psf(sigma_m=wrong)
    for wrong in (0, -3, np.inf):
        with pytest.raises(ParameterError, match=r"largest_m="):
            cube.sr.match_psf(cube, largest_m=wrong)
    with pytest.raises(GridError, match=r"reference= has pixels 0\.5 x 0\.5 times"):
        cube.sr.match_psf(make_cube(np.zeros((1, 2, 140, 120), np.float32), gsd=5.0))
    with pytest.raises(BandError, match="reference= lacks the bands"):
        cube.sr.match_psf(cube.isel(band=[0]))
    with pytest.raises(CubeError, match=r"8 x 60 pixels; expected at least 16 each way.*sigma_m="):
        cube[..., :8, :].sr.match_psf(cube[..., :8, :])
    with pytest.raises(CubeError, match="no valid pixel where the cube has one"):
        cube.sr.match_psf(cube * np.nan)
