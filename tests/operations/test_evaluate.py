import math

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from fuzzing import examples
from helpers import DATES, NORTH, WEST, make_cube, make_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import xsr
from xsr.core.errors import BandError, CubeError, GridError, ParameterError
from xsr.core.sensors import get
from xsr.kernels import psf as spread
from xsr.kernels.degrade import blur_decimate
from xsr.kernels.metrics import METRICS
from xsr.kernels.resample import Interpolation
from xsr.testing import assert_lazy, synthetic_pair

FIDELITY = {name for name, metric in METRICS.items() if "sensor" in metric.requires}


def noisy(reference, seed=1, noise=0.05):
    """An image that resembles the reference."""
    values = reference.values + noise * np.random.default_rng(seed).standard_normal(reference.shape)
    return reference.copy(data=values.astype(np.float32))


def triplet(height, width, *, scale=2.0, dates=1, bands=2, seed=0):
    """Image, reference, and the low-resolution cube they might come from."""
    rng = np.random.default_rng(seed)
    reference = make_cube(rng.random((dates, bands, height, width), dtype=np.float32))
    coarse = (dates, bands, math.ceil(height / scale), math.ceil(width / scale))
    low = make_cube(rng.random(coarse, dtype=np.float32), gsd=10.0 * scale)
    return noisy(reference, seed), reference, low


def largest(left, right):
    """Greatest difference over all variables; the same things must be unknown."""
    assert set(left.data_vars) == set(right.data_vars)
    found = 0.0
    for name in left.data_vars:
        a, b = left[name].values.astype(float), right[name].values.astype(float)
        assert a.shape == b.shape
        assert np.array_equal(np.isnan(a), np.isnan(b)), name
        found = max(found, float(np.nanmax(np.abs(a - b) / np.maximum(1, np.abs(b)), initial=0.0)))
    return found


# --- chunks ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(examples(6), derandomize=True)
@given(
    height=st.integers(3, 45),
    width=st.integers(3, 45),
    scale=st.sampled_from([1.0, 2.0, 2.5, 3.4]),
    chunk=st.tuples(st.integers(2, 30), st.integers(2, 30)),
    other=st.integers(3, 17),
    blocks=st.sampled_from([None, 7, (13, 50)]),
    holes=st.sampled_from([0.0, 0.0, 0.02, 0.3]),
    border=st.integers(0, 1),
    seed=st.integers(0, 99),
)
def test_no_metric_depends_on_the_chunks(height, width, scale, chunk, other, blocks, holes, border, seed):
    image, reference, low = triplet(height, width, scale=scale, dates=2, seed=seed)
    image = image.where(np.random.default_rng(seed).random(image.shape) >= holes)
    mask = xr.DataArray(np.random.default_rng(seed + 1).random((height, width)) < 0.98, dims=("y", "x"))
    options = {"data_range": 1.0, "border": border, "mtf": 0.3}
    whole = xsr.evaluate(image, reference, low=low, mask=mask, **options)
    lazy = image.chunk(time=1, band=1, y=chunk[0], x=chunk[1])
    with assert_lazy(lazy):
        parts = xsr.evaluate(
            lazy,
            reference.chunk(y=other),
            low=low.chunk(x=other),
            mask=mask.chunk(y=other),
            chunks=blocks,
            **options,
        )
    assert set(whole.data_vars) == {*METRICS, "count"}
    assert largest(parts.compute(scheduler="synchronous"), whole) <= 1e-6


def test_lazy_if_only_the_reference_is():
    image, reference, _ = triplet(9, 8)
    with assert_lazy(reference.chunk(y=4)):
        scores = xsr.evaluate(image, reference.chunk(y=4), metrics=["mae"])
    assert scores["mae"].chunks is not None
    assert largest(scores, xsr.evaluate(image, reference, metrics=["mae"])) <= 1e-12


def test_a_huge_chunk_is_cut_into_blocks(monkeypatch):
    from xsr.core import match, pipeline

    monkeypatch.setattr(match, "LARGEST", 16)
    monkeypatch.setattr(pipeline, "CHUNK", 8)
    image, reference, _ = triplet(20, 20)
    scores = xsr.evaluate(image.chunk(), reference.chunk(), metrics=["mae"])
    blocks = [key for key in scores["mae"].data.dask if "block" in str(key[0])]
    assert len(blocks) == 9


# --- numbers -----------------------------------------------------------------------------------------------


def test_scores_by_definition():
    image, reference, _ = triplet(40, 33, dates=2, bands=3)
    scores = xsr.evaluate(image, reference, data_range=1.0, scale=4)
    error = image.values.astype(np.float64) - reference.values
    np.testing.assert_allclose(scores["mae"], np.abs(error).mean(axis=(2, 3)), rtol=1e-9)
    np.testing.assert_allclose(scores["bias"], error.mean(axis=(2, 3)), rtol=1e-6)
    rmse = np.sqrt((error**2).mean(axis=(2, 3)))
    np.testing.assert_allclose(scores["rmse"], rmse, rtol=1e-9)
    level = reference.values.astype(np.float64).mean(axis=(2, 3))
    np.testing.assert_allclose(scores["ergas"], 25 * np.sqrt(((rmse / level) ** 2).mean(axis=1)), rtol=1e-9)
    one, two = image.values[1, 2].astype(float), reference.values[1, 2].astype(float)
    assert float(scores["psnr"][1, 2]) == pytest.approx(peak_signal_noise_ratio(two, one, data_range=1.0), abs=1e-9)
    ssim = structural_similarity(
        one, two, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
    )
    assert float(scores["ssim"][1, 2]) == pytest.approx(ssim, abs=1e-9)
    assert scores["count"].values.tolist() == [[40 * 33] * 3] * 2
    assert scores["sam"].dims == scores["ergas"].dims == ("time",)
    assert scores["mae"].dims == ("time", "band")
    assert scores["band"].values.tolist() == reference["band"].values.tolist()


def detail(image, reference, base):
    """Gain and correlation by their definition, of the pixels that all three have."""
    added, missing = (x.values.astype(np.float64) - base.values for x in (image, reference))
    known = np.isfinite(added) & np.isfinite(missing)
    pairs = [
        (a[k], m[k]) for a, m, k in zip(*(x.reshape(-1, *x.shape[2:]) for x in (added, missing, known)), strict=True)
    ]
    found = [(a @ m / (a @ a), np.corrcoef(a, m)[0, 1]) for a, m in pairs]
    return [np.reshape(column, image.shape[:2]) for column in zip(*found, strict=True)]


def test_detail_by_hand():
    base = make_cube(np.zeros((1, 1, 2, 2), np.float32))
    image, reference = (
        base.copy(data=np.float32([[[v]]]).reshape(1, 1, 2, 2)) for v in ([1, -1, 2, -2], [2, -2, 0, 0])
    )
    scores = xsr.evaluate(image, reference, base=base, metrics=["detail_gain", "detail_correlation"])
    assert scores["detail_gain"].item() == pytest.approx(0.4)  # (2 + 2) / (1 + 1 + 4 + 4)
    assert scores["detail_correlation"].item() == pytest.approx(1 / math.sqrt(5))  # 4 / sqrt(10 * 8)


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.4])
def test_detail_counts_from_the_interpolated_low_resolution_image(scale):
    image, reference, low = triplet(41, 34, scale=scale, dates=2, bands=3)
    image[0, 1, 4:9, 7], reference[1, 0, 3] = np.nan, np.inf
    low[1, 2, 2, 3] = np.nan
    base = low.sr.interpolate(like=image)
    gain, correlation = detail(image, reference.where(np.isfinite(reference)), base)
    names = ["detail_gain", "detail_correlation"]
    scores = xsr.evaluate(image, reference, low=low, metrics=names)
    np.testing.assert_allclose(scores["detail_gain"], gain, rtol=1e-9)
    np.testing.assert_allclose(scores["detail_correlation"], correlation, rtol=1e-9)
    assert largest(xsr.evaluate(image, reference, base=base, metrics=names), scores) <= 1e-12
    other = xsr.evaluate(image, reference, low=low, base=base * 0, metrics=names)  # what is given counts
    assert largest(other, scores) > 1e-4


def test_nothing_is_interpolated_before_it_is_computed(monkeypatch):
    calls = []
    interpolated = Interpolation.__call__
    monkeypatch.setattr(Interpolation, "__call__", lambda *given: calls.append(1) or interpolated(*given))
    image, reference, low = triplet(40, 30)
    scores = xsr.evaluate(image.chunk(y=16), reference, low=low, metrics="detail_gain")
    assert not calls
    whole = xsr.evaluate(image, reference, low=low, metrics="detail_gain")
    assert len(calls) == 1
    assert largest(scores.compute(scheduler="synchronous"), whole) <= 1e-12
    assert len(calls) == 4  # 40 rows in chunks of 16


def test_detail_has_the_gain_and_the_correlation_it_was_made_with():
    rng = np.random.default_rng(4)
    base, truth, noise = (make_cube(rng.standard_normal((1, 2, 300, 200)).astype(np.float32)) for _ in range(3))
    image = base + 0.5 * truth + 0.5 * noise
    scores = xsr.evaluate(image, base + truth, base=base)
    np.testing.assert_allclose(scores["detail_gain"], 1.0, atol=0.02)  # 0.5 / (0.25 + 0.25)
    np.testing.assert_allclose(scores["detail_correlation"], math.sqrt(0.5), atol=0.01)
    np.testing.assert_allclose(xsr.evaluate(base + 2 * truth, base + truth, base=base)["detail_gain"], 0.5, rtol=1e-5)


@pytest.mark.parametrize("added", [0.0, 0.1])
def test_without_added_detail_there_is_no_correlation(added):
    _, reference, _ = triplet(40, 50)
    base = reference * 0.5
    scores = xsr.evaluate(base + np.float32(added), reference, base=base)
    assert np.isnan(scores["detail_correlation"]).all()
    assert np.isfinite(scores["detail_gain"]).all() == bool(added)


def test_metrics_of_detail_need_something_to_count_from():
    image, reference, low = triplet(20, 20)
    assert "detail_gain" not in xsr.evaluate(image, reference)
    with pytest.raises(ParameterError, match=r"detail_gain.*base= or low="):
        xsr.evaluate(image, reference, metrics="detail_gain")
    with pytest.raises(GridError, match="base= has pixels 2 x 2 times"):
        xsr.evaluate(image, reference, base=low)
    assert "detail_gain" not in xsr.evaluate(image, None, low=low, mtf=0.3)


def test_detail_by_strata_adds_up():
    image, reference, _ = triplet(30, 28)
    base = reference * 0.5
    names = ["detail_gain", "detail_correlation"]
    one = xsr.strata(image, reference, base=base, edges=(0, np.inf), metrics=names)
    lazy = xsr.strata(image.chunk(y=7), reference, base=base.chunk(x=9), edges=(0, np.inf), metrics=names)
    assert largest(lazy[names], one[names]) <= 1e-9
    inner = xsr.evaluate(image, reference, base=base, border=1, metrics=names)
    for name in names:
        np.testing.assert_allclose(one[name][..., 0], inner[name], rtol=1e-9)
    assert {"detail_gain", "rmse"} <= set(xsr.strata(image, reference, base=base).data_vars)
    with pytest.raises(ParameterError, match=r"detail_gain.*base="):
        xsr.strata(image, reference, metrics="detail_gain")


def test_an_image_equal_to_the_reference():
    _, reference, _ = triplet(20, 22, bands=3)
    scores = xsr.evaluate(reference, reference, data_range=1.0, scale=2).isel(time=0)
    for name in ("mae", "rmse", "bias", "ergas", "high_fidelity"):
        assert not scores[name].values.any(), name
    assert np.isposinf(scores["psnr"]).all()
    for name in ("ssim", "uqi", "scc"):
        np.testing.assert_allclose(scores[name], 1, atol=1e-12)
    assert float(scores["sam"]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("scale", [2.0, 2.5, 4.0])
def test_low_fidelity_is_zero_for_the_image_the_sensor_saw(scale):
    image, _, _ = triplet(60, 50, bands=2)
    seen = np.stack([blur_decimate(image.values[:, b], scale=scale, mtf=0.25) for b in range(2)], axis=1)
    low = make_cube(seen, gsd=10 * scale)
    scores = xsr.evaluate(image, None, low=low, mtf=0.25)
    assert set(scores.data_vars) == {"low_fidelity", "low_fidelity_rmse", "count"}
    np.testing.assert_allclose(scores["low_fidelity"], 0, atol=1e-6)
    shifted = xsr.evaluate(image, None, low=low + 0.01, mtf=0.25)
    np.testing.assert_allclose(shifted["low_fidelity"], 0.01, rtol=1e-3)
    np.testing.assert_allclose(shifted["low_fidelity_rmse"], 0.01, rtol=1e-3)


def test_high_fidelity_does_not_see_what_the_sensor_keeps():
    """A ramp added to the image is low frequency; noise is not."""
    image, reference, _ = triplet(70, 70, bands=1)
    ramp = np.linspace(0, 0.5, 70, dtype=np.float32)
    options = {"metrics": ["high_fidelity", "mae"], "scale": 2.0}
    added = xsr.evaluate(reference + ramp[:, None], reference, **options)
    assert float(added["high_fidelity"].squeeze()) < 1e-6 < 0.2 < float(added["mae"].squeeze())
    assert float(xsr.evaluate(image, reference, **options)["high_fidelity"].squeeze()) > 0.02


def test_the_mtf_of_each_band_is_used():
    image, _, low = triplet(60, 60, bands=2)
    table = {"B02": 0.304, "blue": 0.304, "B03": 0.276}
    by_name = xsr.evaluate(image, None, low=low)
    given = xsr.evaluate(image, None, low=low, mtf={k: v for k, v in table.items() if k != "blue"})
    assert largest(by_name, given) == 0
    assert largest(by_name, xsr.evaluate(image, None, low=low, mtf=0.1)) > 1e-4


def test_border_and_mask_leave_pixels_out():
    image, reference, _ = triplet(20, 16)
    spoiled = image.copy(data=image.values.copy())
    spoiled[..., :3, :] = 9
    spoiled[..., -1] = 9
    clean = xsr.evaluate(image, reference, border=3, data_range=1.0)
    assert largest(clean, xsr.evaluate(spoiled, reference, border=3, data_range=1.0)) == 0
    assert int(clean["count"][0, 0]) == 14 * 10
    inner = {"y": slice(3, -3), "x": slice(3, -3)}
    cropped = xsr.evaluate(image.isel(inner), reference.isel(inner), data_range=1.0)
    assert largest(clean, cropped) <= 1e-12
    mask = xr.DataArray(np.zeros((20, 16), bool), dims=("y", "x"))
    mask[inner] = True
    assert largest(xsr.evaluate(image, reference, mask=mask, data_range=1.0), cropped) <= 1e-12


def test_a_mask_follows_the_direction_of_y():
    image, reference, _ = triplet(8, 6)
    mask = xr.DataArray(np.ones((8, 6), bool), dims=("y", "x"), coords={"y": image["y"], "x": image["x"]})
    mask[0] = False
    expected = xsr.evaluate(image, reference, mask=mask, metrics=["mae"])
    up = {"y": slice(None, None, -1)}
    for flipped in (mask.isel(up), mask.isel(up).drop_vars("y")):
        found = xsr.evaluate(image.isel(up), reference.isel(up), mask=flipped, metrics=["mae"])
        assert largest(found, expected) <= 1e-12
    assert largest(xsr.evaluate(image.isel(up), reference, mask=mask, metrics=["mae"]), expected) <= 1e-12


def test_no_data_in_one_band_does_not_blank_the_others():
    image, reference, _ = triplet(24, 24, bands=2)
    image[0, 0] = np.nan
    scores = xsr.evaluate(image, reference, data_range=1.0, scale=2).isel(time=0)
    assert scores["count"].values.tolist() == [0, 576]
    for name in scores.data_vars:
        if name not in {"sam", "ergas", "count"}:
            assert np.isnan(scores[name].values).tolist() == [True, False], name
    assert np.isnan(scores["sam"])


def test_infinite_pixels_are_no_data():
    image, reference, _ = triplet(12, 12)
    image[0, 0, 4, 5] = np.inf
    reference[0, 1, 2, 3] = -np.inf
    scores = xsr.evaluate(image, reference, data_range=1.0)
    assert scores["count"].values.tolist() == [[143, 143]]
    assert np.isfinite(scores["rmse"]).all()


@pytest.mark.parametrize("metrics", [["rmse", "bias"], ["sam"], ["ergas", "ssim"]])
def test_infinite_pixels_are_as_those_without_data(metrics):
    image, reference, _ = triplet(24, 24)
    image[0, 0, 4, 5], reference[0, 1, 2, 3] = np.inf, -np.inf
    image[0, 1, 9, 9] = reference[0, 1, 9, 9] = np.inf
    options = {"data_range": 1.0, "scale": 2, "metrics": metrics}
    found = xsr.evaluate(image, reference, **options)
    without = xsr.evaluate(image.where(np.isfinite(image)), reference.where(np.isfinite(reference)), **options)
    xr.testing.assert_identical(found, without)
    steep = {"edges": (0, np.inf), **options}
    found = xsr.strata(image, reference, **steep)
    without = xsr.strata(image.where(np.isfinite(image)), reference.where(np.isfinite(reference)), **steep)
    xr.testing.assert_identical(found, without)


@pytest.mark.parametrize("value", [np.nan, 0.0, 0.3])
def test_constant_and_empty_images(value):
    flat = make_cube(np.full((1, 1, 16, 12), value, np.float32))
    scores = xsr.evaluate(flat, flat, low=make_cube(np.full((1, 1, 8, 6), value, np.float32), gsd=20), data_range=1.0)
    assert set(scores.data_vars) == {*METRICS, "count"}
    if np.isnan(value):
        assert int(scores["count"].squeeze()) == 0
        assert all(np.isnan(scores[name]).all() for name in METRICS)
    else:
        assert float(scores["mae"].squeeze()) == 0
        assert float(scores["uqi"].squeeze()) == 1
        assert float(scores["scc"].squeeze()) == 0  # nothing to correlate


def test_one_pixel():
    dot = make_cube(np.full((1, 3, 3), 0.3, np.float32))
    scores = xsr.evaluate(dot.isel(y=slice(1), x=slice(1)), dot.isel(y=slice(1), x=slice(1)), data_range=1.0, scale=2)
    assert scores["count"].values.tolist() == [[1]]
    assert np.isnan(scores["ssim"]).all()


@pytest.mark.filterwarnings("ignore:.*one-pixel.*")
def test_containers_give_the_same_scores():
    image, reference, low = triplet(20, 20, bands=3)
    expected = xsr.evaluate(image, reference, low=low, data_range=1.0)
    for wrap in (lambda cube: cube.to_dataset("band"), lambda cube: cube.isel(time=0, drop=True)):
        found = xsr.evaluate(wrap(image), wrap(reference), low=wrap(low), data_range=1.0)
        assert largest(found, expected) == 0
    assert largest(image.sr.evaluate(reference, low=low, data_range=1.0), expected) == 0


def test_bands_go_by_name():
    image, reference, _ = triplet(12, 12, bands=3)
    expected = xsr.evaluate(image, reference)
    found = xsr.evaluate(image, reference.isel(band=[2, 0, 1]))
    assert largest(found, expected) == 0
    few = xsr.evaluate(image, reference, bands=["green"])
    np.testing.assert_array_equal(few["mae"].values, expected["mae"].sel(band=["B03"]).values)


def test_one_reference_serves_every_date():
    image, reference, _ = triplet(12, 12, dates=3)
    single = reference.isel(time=0, drop=True)
    scores = xsr.evaluate(image, single, metrics=["mae"])
    for t in range(3):
        alone = xsr.evaluate(image.isel(time=[t]), single, metrics=["mae"])
        assert scores["mae"].values[t].tolist() == alone["mae"].values[0].tolist()
    lazy = xsr.evaluate(image.chunk(time=2), single.chunk(y=5), metrics=["mae"])
    assert largest(lazy, scores) <= 1e-12


def test_settings_and_units_travel_with_the_scores():
    image, reference, low = triplet(20, 20)
    scores = xsr.evaluate(image, reference, low=low, data_range=0.5, border=1)
    assert scores.attrs["data_range"] == 0.5
    assert scores.attrs["scale"] == 2.0
    assert scores.attrs["border_px"] == 1
    assert scores["sam"].attrs["units"] == "degree"


def test_metrics_that_cannot_be_computed_are_left_out():
    image, reference, _ = triplet(12, 12)
    assert set(xsr.evaluate(image, reference).data_vars) == {"mae", "rmse", "bias", "uqi", "scc", "sam", "count"}
    assert set(xsr.evaluate(image, reference, metrics="mae").data_vars) == {"mae", "count"}


def test_synthetic_pair_at_a_fractional_scale():
    pair = synthetic_pair(size=(40, 36), high_gsd_m=10 / 3.4)
    fine = xsr.interpolate(pair.low, like=pair.high)
    scores = xsr.evaluate(fine, pair.high, low=pair.low, data_range=1.0)
    assert scores.attrs["scale"] == pytest.approx(3.4)
    added = {"detail_gain", "detail_correlation"}  # of the interpolation itself: there is none
    assert all(np.isfinite(scores[name]).all() != (name in added) for name in METRICS)
    better = xsr.evaluate(pair.high, pair.high, low=pair.low, data_range=1.0)
    assert (better["low_fidelity"] < scores["low_fidelity"]).all()


# --- bad input ---------------------------------------------------------------------------------------------


def moved(cube, **affine):
    box = {"a": 10.0, "c": WEST, "f": NORTH, **affine}
    values = make_cube(cube.values, affine=Affine(box["a"], 0, box["c"], 0, -box["a"], box["f"]), times=None)
    return values


def test_grids_that_differ_are_refused_with_the_difference():
    image, reference, low = triplet(12, 12)
    with pytest.raises(GridError, match=r"shifted by 0 pixels down and 0\.5 right \(0 and 5 in units"):
        xsr.evaluate(image, moved(reference, c=WEST + 5))
    with pytest.raises(GridError, match=r"pixels 2 x 2 times those of the image \(20 against 10"):
        xsr.evaluate(image, moved(reference, a=20.0))
    with pytest.raises(GridError, match="11 x 12 pixels, the image 12 x 12"):
        xsr.evaluate(image, reference.isel(y=slice(11)))
    with pytest.raises(GridError, match="is in EPSG:32632, the image in EPSG:32633"):
        xsr.evaluate(image, make_cube(reference.values, crs="EPSG:32632"))
    with pytest.raises(GridError, match=r"low= is shifted by 0 pixels of the image down and 0\.5 right"):
        xsr.evaluate(image, reference, low=make_cube(low.values, affine=Affine(20, 0, WEST + 5, 0, -20, NORTH)))
    with pytest.raises(GridError, match=r"low= has pixels 0\.5 x 0\.5 times"):
        xsr.evaluate(image, reference, low=make_cube(reference.values, gsd=5))
    with pytest.raises(GridError, match="low= covers 8 x 12 pixels of the image, which has 12 x 12"):
        xsr.evaluate(image, reference, low=low.isel(y=slice(4)))
    with pytest.raises(GridError, match="low= is in EPSG:32632"):
        xsr.evaluate(image, reference, low=make_cube(low.values, gsd=20, crs="EPSG:32632"))


def test_bands_and_dates_that_differ_are_refused():
    image, reference, low = triplet(12, 12, dates=2)
    with pytest.raises(BandError, match=r"the reference lacks the bands \['B03'\]; it has \['B02'\]"):
        xsr.evaluate(image, reference.isel(band=[0]))
    with pytest.raises(CubeError, match="the reference has 1 dates, the image 2"):
        xsr.evaluate(image, reference.isel(time=[0]))
    late = reference.assign_coords(time=np.array(["2024-06-01", "2024-06-09"], "datetime64[ns]"))
    with pytest.raises(CubeError, match=r"differs in 1 date\(s\), first 2024-06-09"):
        xsr.evaluate(image, late)
    warm, coarse = make_cube((1, 1, 8, 8), bands=["LST"]), make_cube((1, 1, 4, 4), gsd=20, bands=["LST"])
    with pytest.raises(ParameterError, match=r"the MTF of \['LST'\] is not known, and without a reference"):
        xsr.evaluate(warm, None, low=coarse)
    with pytest.raises(ParameterError, match="sentinel-2 has no MTF for band 'LST'"):
        xsr.evaluate(warm, None, low=coarse, metrics="low_fidelity")
    with pytest.raises(ParameterError, match=r"mtf names the bands \['B02'\]; expected 'B03'"):
        xsr.evaluate(image, None, low=low, mtf={"B02": 0.3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["psnr"]}, "'psnr' needs data_range="),
        ({"metrics": ["low_fidelity"]}, "'low_fidelity' needs low="),
        ({"metrics": ["ergas"]}, "'ergas' needs scale= or low="),
        ({"metrics": ["lpips"]}, r"metrics \['lpips'\]; expected some of mae, rmse"),
        ({"metrics": []}, "metrics none; expected some of"),
        ({"metrics": 3}, "metrics=3; expected a name or several"),
        ({"bands": 3}, "bands=3; expected a name or several"),
        ({"border": 1.0}, r"border=1\.0; expected a number of pixels"),
        ({"border": None}, "border=None; expected a number of pixels"),
        ({"scale": 2, "mtf": (0.2, 0.3, 0.4)}, "expected one number, or a pair"),
        ({"scale": 2, "mtf": "sharp"}, "mtf='sharp'; expected one number, or a pair"),
        ({"scale": 2, "mtf": 0.97}, "mtf=0.97 at scale 2 .*expected at most 0.707"),
        ({"scale": 2, "psf": "airy"}, "psf='airy'; expected one of gaussian"),
        ({"scale": 2, "sensor": "sentinel-9"}, "sensor 'sentinel-9' is not registered"),
        ({"data_range": 0}, "data_range=0; expected a positive"),
        ({"data_range": "1"}, "data_range='1'; expected a positive"),
        ({"scale": 0.5}, r"scale=0\.5; expected low over high"),
        ({"border": -1}, "border=-1; expected"),
        ({"border": 6}, "border=6 leaves nothing of 12 x 12"),
        ({"mask": np.ones((12, 12), bool)}, "mask= is bool; expected a boolean DataArray"),
        ({"mask": xr.DataArray(np.ones((12, 12)), dims=("y", "x"))}, "mask= is float64"),
        ({"mask": xr.DataArray(np.ones((12, 11), bool), dims=("y", "x"))}, "mask= has 11 along x, the image 12"),
        ({"mask": xr.DataArray(np.ones(12, bool), dims="y")}, r"mask= has dims \['y'\]"),
        ({"chunks": 0}, "chunks=0"),
    ],
)
def test_bad_arguments(options, message):
    image, reference, _ = triplet(12, 12)
    with pytest.raises(ParameterError, match=message):
        xsr.evaluate(image, reference, **options)


def test_a_mask_on_another_grid_is_refused():
    image, reference, _ = triplet(12, 12)
    mask = xr.DataArray(np.ones((12, 12), bool), dims=("y", "x"), coords={"y": image["y"], "x": image["x"] + 5})
    with pytest.raises(ParameterError, match=r"mask= is off by 0\.5 pixels along x"):
        xsr.evaluate(image, reference, mask=mask)


def test_nothing_to_compare_with():
    image, reference, low = triplet(12, 12)
    with pytest.raises(ParameterError, match="neither a reference nor low= given"):
        xsr.evaluate(image, None)
    with pytest.raises(ParameterError, match="'mae' needs a reference"):
        xsr.evaluate(image, None, low=low, metrics=["mae"])
    with pytest.raises(ParameterError, match="scale=4, but the grids of low= and the image have the ratio 2 x 2"):
        xsr.evaluate(image, reference, low=low, scale=4)


@pytest.mark.parametrize("score", [xsr.strata, xsr.spectrum, lambda *pair: xsr.opensr(*pair, low=pair[0])])
def test_scores_that_need_a_reference_refuse_none(score):
    with pytest.raises(CubeError, match="got NoneType; expected an xarray DataArray or Dataset"):
        score(make_cube((1, 1, 64, 64)), None)


def test_dataset_of_bands_is_judged_like_an_array():
    image, reference = make_dataset((1, 3, 9, 9)), make_dataset((1, 3, 9, 9))
    assert not xsr.evaluate(image, reference)["mae"].values.any()


def test_a_mask_is_matched_by_band_and_date():
    cube = make_cube((2, 3, 16, 16), bands=["B02", "B03", "B08"], times=["2024-01-01", "2024-02-01"])
    mask = xr.ones_like(cube, dtype=bool)
    mask.loc[{"band": "B02"}] = False
    count = xsr.evaluate(cube, cube, mask=mask, bands=["B08", "B02"], metrics=["mae"])["count"]
    assert (count.sel(band="B02") == 0).all()
    assert (count.sel(band="B08") == 256).all()
    with pytest.raises(CubeError, match="mask= differs in 2 date"):
        xsr.evaluate(cube, cube, mask=mask.isel(time=[1, 0]), metrics=["mae"])
    with pytest.raises(ParameterError, match=r"mask= lacks the bands \['B08'\]"):
        xsr.evaluate(cube, cube, mask=mask.isel(band=[0, 1]), metrics=["mae"])


@pytest.mark.parametrize("kind", ["array", "dataset", "packed"])
def test_units_of_digital_numbers_leave_a_result_as_it_is(kind, tmp_path):
    pair = synthetic_pair(size=(32, 32))
    low, high = ((cube * 10_000).round().astype(np.uint16).drop_attrs(deep=False) for cube in (pair.low, pair.high))
    fine = low.sr.interpolate(scale=4, units="dn10000")
    if kind == "dataset":
        fine, high = fine.to_dataset("band").assign_attrs(fine.attrs), high.to_dataset("band")
    if kind == "packed":
        fine.sr.to_zarr(tmp_path / "fine.zarr", dtype="uint16", progress=False)
        fine = xr.open_zarr(tmp_path / "fine.zarr", decode_coords="all").reflectance.compute()
    found = xsr.evaluate(fine, high, low=low, data_range=1, units="dn10000")
    decoded = [xsr.interpolate(cube, scale=1, method="nearest", units="dn10000") for cube in (high, low)]
    expected = xsr.evaluate(fine, decoded[0], low=decoded[1], data_range=1)
    assert 0 < found.rmse.max() < 0.1
    xr.testing.assert_allclose(found, expected)


@DATES
def test_cubes_and_masks_have_the_same_dates_in_any_form(dates):
    cube = make_cube((2, 1, 16, 16)).assign_coords(time=dates)
    mask = (cube > 0.5).isel(band=0, drop=True)
    count = xsr.evaluate(cube, cube, mask=mask, metrics=["mae"])["count"]
    np.testing.assert_array_equal(count[:, 0], mask.sum(["y", "x"]))
    with pytest.raises(CubeError, match=r"mask= differs in 2 date\(s\)"):
        xsr.evaluate(cube, cube, mask=mask.isel(time=[1, 0]), metrics=["mae"])


def test_single_bands_of_other_names_are_refused():
    bands = make_cube((2, 8, 8), bands=["B04", "B08"]).to_dataset("band")
    with pytest.raises(BandError, match=r"lacks the bands \['B04'\]"):
        xsr.evaluate(bands[["B04"]], bands[["B08"]])


def test_without_a_reference_the_pixels_of_low_are_counted():
    cube = make_cube((1, 16, 16), bands=["B02"])
    assert int(xsr.evaluate(cube, None, low=xsr.degrade(cube, scale=2))["count"].item()) > 0


# --- the sensor --------------------------------------------------------------------------------------------


def test_bands_without_an_mtf_have_no_fidelity():
    """Asked for nothing in particular, the metrics of the other bands come all the same."""
    image, reference, low = triplet(24, 24)
    names = [cube.assign_coords(band=["B02", "lst"]) for cube in (image, reference, low)]
    scores = xsr.evaluate(names[0], names[1], low=names[2])
    assert scores.attrs["bands_without_mtf"] == ["lst"]
    assert np.isnan(scores.attrs["mtf"]).tolist() == [False, True]
    expected = xsr.evaluate(image, reference, low=low)
    assert "bands_without_mtf" not in expected.attrs
    for name in expected.data_vars:
        found = scores[name].values
        if "fidelity" in name:
            assert np.isnan(found[:, 1]).all()
            found, wanted = found[:, 0], expected[name].values[:, 0]
        else:
            wanted = expected[name].values
        np.testing.assert_array_equal(found, wanted)
    for name in ("low_fidelity", "high_fidelity_rmse"):
        with pytest.raises(ParameterError, match="no MTF for band 'lst'"):
            xsr.evaluate(names[0], names[1], low=names[2], metrics=[name])


@pytest.mark.filterwarnings("ignore:.*one-pixel.*")
def test_images_without_band_names_are_judged_without_fidelity():
    image, reference, low = (cube.isel(time=0, band=0, drop=True) for cube in triplet(24, 24))
    scores = xsr.evaluate(image, reference, low=low, data_range=1.0)
    assert set(scores.data_vars) == {*METRICS, "count"} - FIDELITY
    assert "mtf" not in scores.attrs
    assert np.isfinite(scores["ergas"]).all()
    assert FIDELITY < set(xsr.evaluate(image, reference, low=low, mtf=0.3).data_vars)


@pytest.mark.slow
def test_the_sensor_is_what_degrade_takes():
    """Whatever the optics, the image that was degraded with them agrees with the result, and others do not."""
    image, _, _ = triplet(60, 50, bands=2)
    kinds = [
        {"psf": "detector", "mtf": 0.25},
        {"psf": "effective", "mtf": 0.2, "source_mtf": 0.4},
        {"mtf": (0.15, 0.35)},
        {"mtf": {"blue": 0.2, "B03": (0.3, 0.4)}},
        {"psf": spread.detector(0.3, 20.0)},
        {"psf": (spread.Gaussian(8.0), spread.Gaussian(14.0))},
        {"sensor": "landsat-8", "mtf": 0.2},
        {"mtf": np.array([0.2, 0.3])},
    ]
    lows = [xsr.degrade(image, scale=2, **options) for options in kinds]
    for number, options in enumerate(kinds):
        scores = xsr.evaluate(image, None, low=lows[number], **options)
        assert float(scores["low_fidelity"].max()) < 1e-6
        assert float(xsr.evaluate(image, None, low=lows[number - 1], **options)["low_fidelity"].max()) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("container", ["array", "dataset"])
@pytest.mark.parametrize("gsd", [2.5, 5.0])
def test_the_truth_agrees_with_what_was_simulated_finer_than_the_sensor_sees(gsd, container):
    """Degraded to pixels smaller than those of the sensor's table, a band was seen in those it was degraded to."""
    image = make_cube((1, 2, 64, 64), gsd=gsd, bands=["B02", "B8A"])
    image = image if container == "array" else image.to_dataset("band")
    frame = xsr.semi_simulate(image, scale=2, frames=1, shift_px=0.0, blur_jitter=0.0).isel(time=0, drop=True)
    for low in (xsr.degrade(image, scale=2), xsr.wald(image, scale=2)[0], frame):
        assert float(xsr.evaluate(image, None, low=low)["low_fidelity"].max()) < 1e-6


def test_the_sensor_travels_with_the_scores():
    image, reference, low = triplet(20, 20)
    found = xsr.evaluate(image, reference, low=low).attrs
    bands = [get("sentinel-2").band(name).mtf for name in ("B02", "B03")]
    assert (found["sensor"], found["psf"], found["mtf"]) == ("sentinel-2", "gaussian", bands)
    found = xsr.evaluate(image, reference, low=low, psf="detector", mtf=(0.2, 0.3)).attrs
    assert (found["psf"], found["mtf_y"], found["mtf_x"]) == ("detector", [0.2, 0.2], [0.3, 0.3])
    found = xsr.evaluate(image, reference, low=low, psf=spread.Gaussian(8.0)).attrs
    assert found["psf"] == "given"
    assert "mtf" not in found
    assert "sensor" not in xsr.evaluate(image, reference).attrs


@pytest.mark.parametrize("container", ["array", "dataset"])
def test_the_truth_of_a_ten_band_pair_agrees_with_its_low_side(container):
    """A 20 m band at 40 m: seen in 80 m pixels and interpolated. The truth agrees to rounding, nothing else does."""
    values = np.random.default_rng(4).random((1, 2, 160, 160), dtype=np.float32)
    values[:, 1] = values[:, 1, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
    cube = make_cube(values, bands=["B02", "B05"])
    low, high = xsr.wald(cube if container == "array" else cube.to_dataset("band"), scale=2, native_gsd="sensor")
    truth = xsr.evaluate(high, high, low=low).isel(time=0)
    other = xsr.evaluate(xsr.interpolate(low, scale=2), high, low=low).isel(time=0)
    assert (truth["low_fidelity"] < other["low_fidelity"]).all()
    assert float(truth["low_fidelity"].sel(band="B05")) < 1e-6
    # Without the record of the pixel sizes the order is the other way round.
    if container == "array":
        bare = low.drop_vars("native_gsd")
        wrong = xsr.evaluate(high.drop_vars("native_gsd"), None, low=bare)["low_fidelity"].sel(band="B05").item()
        assert wrong > float(other["low_fidelity"].sel(band="B05"))


def test_ten_band_fidelity_does_not_depend_on_the_chunks():
    values = np.random.default_rng(4).random((1, 2, 120, 144), dtype=np.float32)
    low, high = xsr.wald(make_cube(values, bands=["B02", "B05"]), scale=2, native_gsd="sensor")
    fine = xsr.interpolate(low, scale=2)
    whole = xsr.evaluate(fine, high, low=low)
    parts = xsr.evaluate(fine.chunk(y=17, x=23), high, low=low.chunk(y=9))
    assert largest(parts.compute(scheduler="synchronous"), whole) <= 1e-6


def test_scores_with_their_settings_survive_zarr(tmp_path):
    image, reference, low = triplet(20, 20)
    scores = xsr.evaluate(image, reference, low=low, psf="detector", mtf=(0.2, 0.3))
    scores.to_zarr(tmp_path / "scores.zarr", zarr_format=2)
    with xr.open_zarr(tmp_path / "scores.zarr") as back:
        assert back.attrs == scores.attrs


# --- metrics from outside ----------------------------------------------------------------------------------


def moments(pixels):
    x, y = pixels.image.astype(float), pixels.reference.astype(float)
    return x, y, x * x, y * y, x * y


def coefficient(means):
    x, y, xx, yy, xy = (means[name] for name in ("x", "y", "xx", "yy", "xy"))
    return (xy - x * y) / np.sqrt((xx - x * x) * (yy - y * y))


def error_range(pixels):
    """Range of the error in 5 x 5 pixels; NaN where one is missing."""
    image, reference = pixels.around(2, 2)
    windows = np.lib.stride_tricks.sliding_window_view(image - reference, (5, 5))
    return [windows.max(axis=(2, 3)) - windows.min(axis=(2, 3))]


def details(pixels):
    return pixels.detail("image") * pixels.detail("reference"), pixels.detail("reference") ** 2


def ratio_of_bands(pixels):
    return [pixels.image[0] / pixels.image[-1]]


OWN = (
    xsr.Metric("correlation", "1", "correlation", xsr.Terms(("x", "y", "xx", "yy", "xy"), moments), coefficient),
    xsr.Metric(
        "error_range", "reflectance", "range", xsr.Terms(("r",), error_range, reach=(2, 2)), lambda means: means["r"]
    ),
    xsr.Metric(
        "detail_share",
        "1",
        "detail that the reference has",
        xsr.Terms(("xy", "yy"), details, needs={"reference", "sensor"}),
        lambda means: means["xy"] / means["yy"],
    ),
    xsr.Metric(
        "band_ratio",
        "1",
        "ratio of first and last band",
        xsr.Terms(("r",), ratio_of_bands, spectrum=True),
        lambda means: means["r"],
    ),
    xsr.Metric(
        "worst_bias",
        "reflectance",
        "greatest bias of a band",
        xsr.Terms(("e",), lambda pixels: [pixels.image - pixels.reference]),
        lambda means: np.abs(means["e"]).max(axis=0),
        over_bands=True,
    ),
    xsr.Metric(
        "low_bias",
        "reflectance",
        "bias against low",
        xsr.Terms(("e",), lambda pixels: [pixels.degraded() - pixels.low], needs={"low", "sensor"}),
        lambda means: means["e"],
    ),
)
NAMES = [metric.name for metric in OWN]


@pytest.fixture
def registered(monkeypatch):
    """Metrics of our own, for one test."""
    from xsr.kernels import metrics

    monkeypatch.setattr(metrics, "_registered", {})
    for metric in OWN:
        xsr.register_metric(metric)


def test_a_registered_metric_by_its_definition(registered):
    image, reference, low = triplet(40, 36)
    scores = xsr.evaluate(image, reference, low=low, metrics=[*NAMES, "mae"], mtf=0.3).isel(time=0)
    for b in range(2):
        x, y = image.values[0, b].astype(float), reference.values[0, b].astype(float)
        assert float(scores["correlation"][b]) == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1], abs=1e-9)
        windows = np.lib.stride_tricks.sliding_window_view(x - y, (5, 5))
        assert float(scores["error_range"][b]) == pytest.approx(np.ptp(windows, axis=(2, 3)).mean(), abs=1e-6)
    ratio = image.values[0, 0].astype(float) / image.values[0, 1]
    assert float(scores["band_ratio"]) == pytest.approx(ratio.mean(), rel=1e-4)
    bias = (image.values[0].astype(float) - reference.values[0]).mean(axis=(1, 2))
    assert float(scores["worst_bias"]) == pytest.approx(np.abs(bias).max(), rel=1e-4)
    assert scores["correlation"].dims == scores["low_bias"].dims == ("band",)
    assert scores["band_ratio"].dims == scores["worst_bias"].dims == ()
    assert scores["correlation"].attrs == {"units": "1", "long_name": "correlation"}
    same = xsr.evaluate(reference, reference, scale=2, metrics="detail_share", mtf=0.3)["detail_share"]
    np.testing.assert_allclose(same, 1)


def test_nothing_that_is_registered_is_computed_unless_it_is_named(registered):
    image, reference, _ = triplet(12, 12)
    assert set(xsr.evaluate(image, reference, data_range=1.0, scale=2).data_vars) <= {*METRICS, "count"}


@pytest.mark.slow
@settings(examples(6), derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(5, 45),
    width=st.integers(5, 45),
    chunk=st.tuples(st.integers(2, 30), st.integers(2, 30)),
    scale=st.sampled_from([1.0, 2.0, 3.4]),
    holes=st.sampled_from([0.0, 0.02]),
    seed=st.integers(0, 99),
)
def test_no_registered_metric_depends_on_the_chunks(registered, height, width, chunk, scale, holes, seed):
    image, reference, low = triplet(height, width, scale=scale, dates=2, seed=seed)
    image = image.where(np.random.default_rng(seed).random(image.shape) >= holes)
    options = {"metrics": NAMES, "mtf": 0.3}
    lazy = image.chunk(time=1, band=1, y=chunk[0], x=chunk[1])
    with assert_lazy(lazy):
        parts = xsr.evaluate(lazy, reference.chunk(y=9), low=low.chunk(x=9), **options)
    found = parts.compute(scheduler="synchronous")
    assert largest(found, xsr.evaluate(image, reference, low=low, **options)) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("where", ["processes", "cluster"])
def test_registered_metrics_run_where_nothing_is_registered(registered, request, where):
    image, reference, low = triplet(40, 36)
    options = {"metrics": NAMES, "mtf": 0.3}
    whole = xsr.evaluate(image, reference, low=low, **options)
    parts = xsr.evaluate(image.chunk(y=11), reference, low=low, **options)
    if where == "processes":
        found = parts.compute(scheduler="processes", num_workers=2)
    else:
        with request.getfixturevalue("cluster").as_current():
            found = parts.compute()
    assert largest(found, whole) <= 1e-6


def test_a_name_close_to_that_of_a_metric_is_suggested(registered):
    image, reference, _ = triplet(12, 12)
    with pytest.raises(ParameterError, match=r"^metrics \['pnsr'\]; did you mean psnr\?$"):
        xsr.evaluate(image, reference, metrics=["pnsr"])
    with pytest.raises(ParameterError, match=r"did you mean correlation or detail_correlation\?"):
        xsr.strata(image, reference, metrics="corelation")


def test_a_registered_metric_names_what_it_lacks(registered):
    image, reference, _ = triplet(12, 12)
    with pytest.raises(ParameterError, match="'detail_share' needs scale= or low="):
        xsr.evaluate(image, reference, metrics="detail_share")
    with pytest.raises(ParameterError, match="'low_bias' needs low="):
        xsr.evaluate(image, reference, metrics="low_bias")


def test_a_registered_metric_of_the_image_alone_needs_no_reference(registered):
    level = xsr.Terms(("level",), lambda pixels: [pixels.image], needs=set())
    xsr.register_metric(xsr.Metric("level", "reflectance", "mean", level, lambda means: means["level"]))
    image, _, _ = triplet(12, 9)
    scores = xsr.evaluate(image.where(image > 0.1), None, metrics="level")
    np.testing.assert_allclose(scores["level"], image.where(image > 0.1).mean(["y", "x"]), rtol=1e-5)
    assert scores["count"].values.tolist() == (image > 0.1).sum(["y", "x"]).values.tolist()
