"""Any bands of any optical sensor, each by itself."""

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import make_cube
from models.helpers import lively, write_model, write_optical
from typer.testing import CliRunner

import xsr
from xsr import cli
from xsr.core.errors import BandError, CubeError, ModelError, ParameterError, XsrWarning
from xsr.kernels.planes import LIKELY_MTF, planes
from xsr.models.architectures.liif import LIIF
from xsr.testing import assert_lazy

CONFIG = {"channels": 4, "outputs": 1, "features": 8, "blocks": 1, "hidden": [16, 16]}
NAMES = ("swirl", "b-17", "purple", "ultra", "x", "pan2", "nir9")
GIVEN = {"mtf": 0.3, "noise": 0.0}


@pytest.fixture(scope="module")
def network():
    return lively(LIIF(**CONFIG))


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    return write_optical(network, CONFIG, tmp_path_factory.mktemp("optical"))


def numbers(bands=3, size=(48, 56), seed=0):
    """Digital numbers of bands with texture at all scales, of different level and contrast."""
    rng = np.random.default_rng(seed)
    walk = rng.standard_normal((bands, *size)).cumsum(axis=1).cumsum(axis=2) + rng.standard_normal((bands, *size))
    unit = walk / walk.std(axis=(1, 2), keepdims=True)
    return (500 + 100 * np.arange(bands)[:, None, None] + (20 + 9 * np.arange(bands))[:, None, None] * unit).astype(
        "f4"
    )


def cube(bands=3, *, names=None, gsd=2.0, **options):
    return make_cube(numbers(bands, **options), gsd=gsd, bands=list(names or NAMES[:bands]))


@pytest.mark.parametrize("bands", [1, 3, 7])
def test_any_number_of_bands_of_any_names(model, bands):
    fine = cube(bands).sr.liif(scale=2, model=model, **GIVEN)
    assert fine.sizes["band"] == bands
    assert list(fine.band.values) == list(NAMES[:bands])
    assert np.isfinite(fine.values).all()


def test_bands_in_another_order_are_the_same_results_in_that_order(model):
    low = cube(7)
    order = [3, 0, 6, 1, 5, 2, 4]
    mtf = {name: 0.15 + 0.04 * index for index, name in enumerate(NAMES)}
    whole = low.sr.liif(scale=2, model=model, mtf=mtf)
    np.testing.assert_array_equal(
        low.isel(band=order).sr.liif(scale=2, model=model, mtf=mtf).values, whole.values[order]
    )


def test_an_estimate_counts_as_far_as_it_is_likely(model):
    """Noise given: of a scene that is as rough as its pixels the image says an MTF that no sensor has."""
    rng = np.random.default_rng(3)
    f = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(96))
    spectrum = np.where(f > 0, np.maximum(f, 1e-9) ** -1.0, 0)
    image = 500 + 40 * np.fft.irfft2(spectrum * np.fft.rfft2(rng.standard_normal((96, 96)))).astype("f4")
    low = make_cube(image[None], gsd=2.0, bands=["x"])
    assert low.sr.estimate_mtf(units="reflectance").mtf.item() > LIKELY_MTF
    estimated = low.sr.liif(scale=2, model=model, noise=0.0)
    np.testing.assert_allclose(estimated, low.sr.liif(scale=2, model=model, mtf=LIKELY_MTF, noise=0.0), rtol=1e-6)
    assert np.abs(estimated - low.sr.liif(scale=2, model=model, mtf=0.3, noise=0.0)).max() > 0


def test_it_is_what_the_network_says_of_the_planes(model, network):
    """The oracle: estimate, standardise by the one window, evaluate with torch, add to bicubic interpolation."""
    low = cube(2, size=(64, 64))
    found = low.sr.liif(scale=2, model=model).values
    stated = low.sr.estimate_mtf(units="reflectance")
    mean, std = (getattr(low.values.astype("f8"), name)(axis=(1, 2)) for name in ("mean", "std"))
    standard = ((low.values - mean[:, None, None]) / std[:, None, None]).astype("f4")
    read = torch.from_numpy(planes(standard, np.minimum(stated.mtf.values, LIKELY_MTF), stated.noise.values / std))
    rows = torch.arange(128) / 2 - 0.25
    y, x = (axis.ravel() for axis in torch.meshgrid(rows, rows, indexing="ij"))
    with torch.inference_mode():
        detail = network(read, y, x, (0.5, 0.5)).reshape(2, 128, 128).numpy()
    wanted = low.sr.interpolate(scale=2, method="bicubic", units="reflectance").values + std[:, None, None] * detail
    inner = (slice(None), slice(24, -24), slice(24, -24))
    np.testing.assert_allclose(found[inner], wanted[inner], rtol=0, atol=2e-4 * std.max())
    assert np.abs(detail[inner]).max() > 0.05


def test_the_result_does_not_depend_on_blocks_and_is_lazy(model):
    low = cube(3, size=(70, 61))
    low[1, 20:24, 30:33] = np.nan
    whole = low.sr.liif(scale=1.7, model=model)
    with assert_lazy(low.chunk({"y": 23, "x": 40})):
        lazy = low.chunk({"y": 23, "x": 40}).sr.liif(scale=1.7, model=model, chunks=37)
    np.testing.assert_allclose(lazy.values, whole.values, rtol=0, atol=2e-3)
    np.testing.assert_array_equal(np.isnan(lazy.values), np.isnan(whole.values))
    assert np.isnan(whole.values[1]).any()
    assert np.isfinite(whole.values[[0, 2]]).all()


def test_dates_are_standardised_each_by_itself(model):
    dates = np.stack([numbers(2, seed=1), 3 * numbers(2, seed=2) + 40])
    low = make_cube(dates, gsd=2.0, bands=NAMES[:2])
    both = low.sr.liif(scale=2, model=model)
    for date in range(2):
        one = low.isel(time=date).sr.liif(scale=2, model=model)
        np.testing.assert_allclose(both.values[date], one.values, rtol=0, atol=1e-3)


def test_the_unit_of_the_numbers_makes_no_difference(model):
    low = cube(3)
    fine = low.sr.liif(scale=2, model=model, mtf=0.3)
    other = (low * 0.01 - 7).sr.liif(scale=2, model=model, mtf=0.3)
    np.testing.assert_allclose(other.values, fine.values * 0.01 - 7, rtol=0, atol=2e-4)


def test_integers_without_a_scale_stay_what_they_are(model):
    low = cube(2)
    whole = low.round().astype("uint16")
    fine = whole.sr.liif(scale=2, model=model, **GIVEN)
    np.testing.assert_array_equal(
        fine.values, whole.astype("f4").sr.liif(scale=2, model=model, units="reflectance", **GIVEN).values
    )
    scaled = whole.assign_attrs(scale_factor=0.001).sr.liif(scale=2, model=model, mtf=0.3, noise=0.0)
    np.testing.assert_allclose(scaled.values, fine.values * 0.001, rtol=0, atol=1e-5)


def test_attributes_state_what_was_given_and_what_was_estimated(model):
    low = cube(2)
    estimated = low.sr.liif(scale=2, model=model).attrs
    assert (estimated["xsr_mtf"], estimated["xsr_noise"], estimated["xsr_psf"]) == ("estimated", "estimated", "sensor")
    given = low.sr.liif(scale=2, model=model, mtf={"swirl": 0.2, "b-17": 0.3}, noise=1.5).attrs
    assert (given["xsr_mtf"], given["xsr_noise"]) == (["swirl 0.2", "b-17 0.3"], 1.5)


def test_mtf_and_noise_matter(model):
    low = cube(1)
    results = [
        low.sr.liif(scale=2, model=model, **how).values for how in (GIVEN, GIVEN | {"mtf": 0.1}, {**GIVEN, "noise": 3})
    ]
    assert np.abs(results[0] - results[1]).max() > 0.1
    assert np.abs(results[0] - results[2]).max() > 0.1


def test_a_band_without_contrast_is_interpolated(model):
    low = cube(2)
    low[0] = 7.0
    fine = low.sr.liif(scale=2, model=model)
    np.testing.assert_allclose(fine.values[0], 7.0, rtol=0, atol=1e-5)


def test_a_dataset_comes_back_as_one(model):
    data = cube(2).to_dataset("band")
    fine = data.sr.liif(scale=2, model=model, **GIVEN)
    assert set(fine.data_vars) >= {"swirl", "b-17"}
    np.testing.assert_array_equal(fine["swirl"].values, cube(2).sr.liif(scale=2, model=model, **GIVEN).values[0])


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ({"mtf": 1.5}, ParameterError, r"mtf=1.5; expected a number in 0.05 to 0.6"),
        ({"mtf": {"swirl": 0.3}}, ParameterError, r"mtf names the bands \['swirl'\]; expected 'b-17'"),
        ({"noise": -1.0}, ParameterError, r"noise=-1.0; expected a number from 0"),
        ({"psf": "ideal"}, ModelError, r"psf='ideal' with model 'tiny_optical'.*Leave it out"),
        ({"consistent": True}, ModelError, r"consistent=True with model"),
        ({"quantiles": 0.5}, ModelError, r"quantiles=0.5 with model"),
        ({"t": "2024-06-01"}, ModelError, r"t='2024-06-01' with model"),
        ({"bands": ["green"]}, BandError, r"'green'"),
    ],
)
def test_bad_input(model, how, error, match):
    with pytest.raises(error, match=match):
        cube(2).sr.liif(scale=2, model=model, **how)


def test_an_image_too_small_to_estimate_needs_both_numbers(model):
    low = cube(2, size=(20, 40))
    with pytest.raises(CubeError, match=r"20 x 40 pixels.*at least 32 each way. Pass mtf= and noise="):
        low.sr.liif(scale=2, model=model, mtf=0.3)
    assert np.isfinite(low.sr.liif(scale=2, model=model, **GIVEN).values).all()


def test_other_verbs_and_models_say_what_to_do(model, tmp_path):
    low = cube(2)
    with pytest.raises(ModelError, match=r"expected liif for it"):
        low.sr.sample(x=low.x.values[3:5], y=low.y.values[3:5], model=model, units="reflectance")
    with pytest.raises(ParameterError, match=r"mtf= and noise= are for models of any optical sensor"):
        make_cube((4, 40, 40)).sr.liif(scale=2, model=write_model(tmp_path), mtf=0.3)
    with pytest.raises(CubeError, match=r"temperature"):
        low.assign_attrs(units="K").sr.liif(scale=2, model=model)


def test_a_doubt_about_the_pixels(model):
    with pytest.raises(XsrWarning, match=r"pixels measure 90 m; 'tiny_optical' knows 0.3 m to 30 m"):
        cube(1, gsd=90.0).sr.liif(scale=2, model=model, **GIVEN)


def test_a_band_without_contrast_changes_no_other(model):
    image = numbers(3)
    image[2] = 3000.0
    both = make_cube(image[None], bands=["x", "y", "flat"], gsd=2.0).sr.liif(scale=2, model=model, **GIVEN)
    alone = make_cube(image[None, :2], bands=["x", "y"], gsd=2.0).sr.liif(scale=2, model=model, **GIVEN)
    np.testing.assert_array_equal(both[:, :2], alone)
    np.testing.assert_array_equal(both[:, 2], 3000.0)


def test_the_command_takes_mtf_and_noise_as_the_function_does(model, tmp_path):
    cube = make_cube((1, 2, 48, 56)).assign_coords(band=["red", "nir"])
    cube.to_dataset(name="reflectance").drop_encoding().to_zarr(tmp_path / "in.zarr", zarr_format=2)
    typed = ["--scale", "2", "--model", str(model), "--mtf", "red=0.25,nir=0.2", "--noise", "0.002"]
    done = CliRunner().invoke(cli.app, ["run", str(tmp_path / "in.zarr"), str(tmp_path / "out.zarr"), *typed])
    assert done.exit_code == 0, done.output
    fine = xr.open_zarr(tmp_path / "out.zarr")["reflectance"]
    expected = xsr.liif(
        xr.open_zarr(tmp_path / "in.zarr")["reflectance"],
        scale=2,
        model=model,
        mtf={"red": 0.25, "nir": 0.2},
        noise=0.002,
    )
    assert fine.attrs["xsr_mtf"] == ["red 0.25", "nir 0.2"]
    np.testing.assert_array_equal(fine.values, expected.values)
    assert CliRunner().invoke(cli.app, ["verify", str(tmp_path / "out.zarr")]).exit_code == 0
