from dataclasses import replace
from functools import cache

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xsr
from xsr.core.errors import ModelError, ParameterError
from xsr.intervals import CALIBRATED, Table
from xsr.kernels.spread import COUNT
from xsr.models import registry
from xsr.testing import assert_lazy, assert_same_grid, synthetic_cube

Q = (0.05, 0.25, 0.5, 0.9)


@pytest.fixture(scope="module")
def cube():
    return synthetic_cube(size=(40, 44), times=("2024-04-10", "2024-06-15"))


@pytest.fixture(scope="module")
def found(cube):
    return cube.sr.liif(scale=2.4, quantiles=Q)


def test_the_estimate_itself_is_in_the_middle(cube, found):
    fine = cube.sr.liif(scale=2.4)
    assert found.dims == ("quantile", *fine.dims)
    assert found["quantile"].values.tolist() == list(Q)
    assert found.dtype == np.float32
    xr.testing.assert_equal(found.sel(quantile=0.5, drop=True).drop_vars(CALIBRATED), fine)
    assert_same_grid(found.isel(quantile=0), fine)
    assert found.attrs == {**fine.attrs, "xsr_intervals": "liif_s2_intervals"}


def test_quantiles_rise_and_are_symmetric_about_the_estimate(found):
    assert (found.diff("quantile") > 0).all()
    both = synthetic_cube(size=(24, 24)).sr.liif(scale=2, quantiles=(0.1, 0.5, 0.9)).values
    np.testing.assert_allclose(both[2] - both[1], both[1] - both[0], rtol=1e-3, atol=1e-6)


def test_intervals_are_wider_where_detail_was_added(cube, found):
    fine, base = found.sel(quantile=0.5), cube.sr.interpolate(scale=2.4, method="bicubic")
    added = np.abs(fine - base).values
    width = (found.sel(quantile=0.9) - fine).values
    assert width[added > np.quantile(added, 0.9)].mean() > 2 * width[added < np.quantile(added, 0.5)].mean()


@cache
def whole(scale):
    return xsr.liif(synthetic_cube(size=(30, 33)), scale=scale, quantiles=(0.1, 0.9))


@given(chunks=st.sampled_from([11, 23, (17, 40)]), size=st.sampled_from([8, 13, 64]), scale=st.sampled_from([1.5, 2.0]))
@settings(max_examples=settings().max_examples // 3)  # there are 18 in all
def test_chunks_change_nothing(chunks, size, scale):
    cube = synthetic_cube(size=(30, 33))
    lazy = cube.chunk(y=size, x=size)
    with assert_lazy(lazy):
        parts = xsr.liif(lazy, scale=scale, quantiles=(0.1, 0.9), chunks=chunks)
    assert dask.is_dask_collection(parts.data)
    np.testing.assert_allclose(parts.values, whole(scale).values, atol=3e-6)


def test_no_data_stay_where_they_are(cube):
    holed = cube.copy(deep=True)
    holed[0, 1, 10:14, 20:23] = np.nan
    plain, found = holed.sr.liif(scale=2), holed.sr.liif(scale=2, quantiles=(0.1, 0.9))
    for quantile in found:
        assert np.array_equal(np.isnan(quantile), np.isnan(plain))


def test_a_dataset_stays_one(cube):
    found = cube.to_dataset("band").sr.liif(scale=2, quantiles=(0.1, 0.5))
    assert isinstance(found, xr.Dataset)
    array = cube.sr.liif(scale=2, quantiles=(0.1, 0.5))
    np.testing.assert_allclose(found["B03"].values, array.sel(band="B03").values, atol=1e-6)
    assert found["B03"].dims[0] == "quantile"


def test_fixed_factors_and_consistent_results_have_quantiles(cube):
    found = cube.sr.sisr(model="carn_3x3x64g4sw_s2", quantiles=(0.1, 0.5, 0.9))
    assert found.sizes["quantile"] == 3
    assert (found.diff("quantile") > 0).all()
    held = cube.sr.liif(scale=2, consistent=True, quantiles=(0.5, 0.9))
    xr.testing.assert_equal(
        held.sel(quantile=0.5, drop=True).drop_vars(CALIBRATED), cube.sr.liif(scale=2, consistent=True)
    )


def test_what_is_unlike_the_calibration_is_marked(cube):
    """Noise of three tenths of the whole range on one half of an image."""
    noise = np.random.default_rng(0).normal(0, 0.3, (*cube.shape[:3], 22)).astype(np.float32)
    half = cube.copy(data=np.concatenate([cube.values[..., :22], cube.values[..., 22:] + noise], axis=-1))
    lazy = half.chunk(x=16)
    with assert_lazy(lazy):
        found = lazy.sr.liif(scale=2, quantiles=(0.1, 0.5, 0.9))
    marked = ~found["interval_calibrated"]
    assert marked.dims == ("time", "y", "x")
    assert dask.is_dask_collection(marked.data)
    assert marked.isel(x=slice(54, None)).mean() > 0.9
    assert marked.isel(x=slice(0, 34)).mean() < 0.3
    alone = half.isel(time=0, drop=True).sel(band=["B04"]).sr.liif(scale=2, quantiles=0.9)
    assert alone["interval_calibrated"].dims == ("y", "x")
    dataset = half.to_dataset("band").sr.liif(scale=2, quantiles=(0.1, 0.9))
    agrees = dataset["interval_calibrated"].transpose("time", "y", "x").values == ~marked.values
    assert agrees.mean() > 0.999


def test_an_older_card_marks_nothing():
    card = registry.card("liif_s2_intervals")
    rows = [{key: value for key, value in row.items() if key != "far"} for row in card.calibration]
    assert Table.of(replace(card, calibration=rows), [0], 2.0).root == ()


def test_one_number_is_enough(cube):
    assert cube.sr.liif(scale=2, quantiles=0.9)["quantile"].values.tolist() == [0.9]


def test_quantiles_survive_zarr_and_are_judged(cube, tmp_path):
    found = cube.sr.liif(scale=2, quantiles=(0.1, 0.5, 0.9))
    xsr.to_zarr(found, tmp_path / "a.zarr")
    back = xsr.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(back.values, found.values)
    np.testing.assert_array_equal(back["interval_calibrated"], found["interval_calibrated"])
    scores = xsr.calibration(found, found.sel(quantile=0.5, drop=True))
    assert scores.coverage.values == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("quantiles", "options", "message"),
    [
        ((0.5, 0.1), {}, r"quantiles=\(0.5, 0.1\); expected different numbers in \(0, 1\) that rise"),
        ((0.1, 0.1), {}, "that rise"),
        ((0.0, 0.5), {}, "that rise"),
        (95, {}, "quantiles=95; expected"),
        ("0.5", {}, "quantiles='0.5'; expected"),
        ((), {}, r"quantiles=\(\); expected"),
        (
            0.9,
            {"psf": "ideal"},
            "quantiles with psf=.ideal.; errors were measured against",
        ),
        (0.9, {"sharpen": False}, "quantiles with sharpen=False"),
    ],
)
def test_bad_quantiles_are_refused(cube, quantiles, options, message):
    with pytest.raises(ParameterError, match=message):
        cube.sr.liif(scale=2, quantiles=quantiles, **options)


def test_a_model_whose_errors_were_not_measured_is_refused(cube):
    name = "carn_3x3x64g4sw_s2_ideal"
    with pytest.raises(ModelError, match=f"the errors of model '{name}' were never measured"):
        cube.sr.sisr(model=name, quantiles=0.9)


def test_cards_say_on_what_intervals_were_calibrated():
    for name in ("liif_s2", "carn_3x3x64g4sw_s2"):
        card = registry.card(name)
        errors = registry.card(card.intervals)
        assert errors.training["of_sha256"] == card.sha256
        assert not set(errors.training["places"]) & set(errors.training["calibration places"])
        assert all(row["pixels"] > 10_000 and row["places"] >= 10 for row in errors.calibration)
        assert any("snow" in limit for limit in errors.limits)


@pytest.mark.parametrize("times", [4, 16])
def test_intervals_widen_with_structure_that_no_calibration_place_had(times):
    """Beyond the range of the calibration, as much as the structure grows."""
    rng = np.random.default_rng(0)
    cube = synthetic_cube(size=(32, 32))
    wild = cube.copy(data=0.5 + 0.2 * rng.standard_normal(cube.shape).astype(np.float32))
    wilder = wild.copy(data=(wild - 0.5) * times + 0.5)
    widths = [
        (found.isel(quantile=1) - found.isel(quantile=0)).median().item()
        for found in (one.sr.liif(scale=2, quantiles=(0.05, 0.95)) for one in (wild, wilder))
    ]
    assert widths[1] / widths[0] == pytest.approx(times, rel=0.25)


def test_cards_say_which_features_are_known():
    for name in ("liif_s2_intervals", "carn_3x3x64g4sw_s2_intervals"):
        for row in registry.card(name).calibration:
            least, greatest = np.array(row["least"]), np.array(row["greatest"])
            assert least.shape == greatest.shape == (10, COUNT - 1)
            assert (least < greatest).all()


def test_a_card_without_the_range_of_features_is_refused():
    card = registry.card("liif_s2_intervals")
    rows = [{key: value for key, value in row.items() if key != "greatest"} for row in card.calibration]
    with pytest.raises(ModelError, match="the calibration of 'liif_s2_intervals' cannot be read"):
        Table.of(replace(card, calibration=rows), [0], 2.0)


def test_a_model_of_errors_makes_no_image(cube):
    with pytest.raises(ModelError, match="says how large the errors of another are, and makes no image"):
        cube.sr.sisr(model="liif_s2_intervals")


def test_sharpened_bands_have_quantiles_and_sharp_ones_are_themselves():
    bands = ("B02", "B04", "B08", "B05", "B11")
    low = synthetic_cube(size=(40, 44), bands=bands).assign_coords(native_gsd=("band", [10.0] * 3 + [20.0] * 2))
    fine, found = low.sr.sharpen(), low.sr.sharpen(quantiles=(0.1, 0.5, 0.9))
    xr.testing.assert_equal(found.sel(quantile=0.5, drop=True).drop_vars("interval_calibrated"), fine)
    assert found.attrs == {**fine.attrs, "xsr_intervals": "sharpen_s2_intervals"}
    for quantile in found:
        np.testing.assert_array_equal(quantile[:, :3], low[:, :3])
    assert (found[:, :, 3:].diff("quantile") > 0).all()
    lazy = low.chunk(y=16, x=20).assign_coords(native_gsd=low.native_gsd)
    with assert_lazy(lazy):
        parts = lazy.sr.sharpen(quantiles=(0.1, 0.5, 0.9), chunks=(17, 23))
    np.testing.assert_allclose(parts.values, found.values, rtol=0, atol=3e-6)
    np.testing.assert_array_equal(parts.interval_calibrated, found.interval_calibrated)
