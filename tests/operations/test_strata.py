from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from fuzzing import examples
from helpers import make_cube
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

import xsr
from xsr.core.errors import GridError, ParameterError
from xsr.core.sensors import get
from xsr.kernels import metrics as table
from xsr.kernels.metrics import METRICS
from xsr.kernels.strata import gradient
from xsr.operations.evaluate.stratified import ALWAYS
from xsr.testing import assert_lazy


def pair(height, width, *, dates=1, bands=2, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    shape = (dates, bands, height, width)
    reference = rng.random(shape, dtype=np.float32)
    image = (reference + noise * rng.standard_normal(shape)).astype(np.float32)
    return make_cube(image), make_cube(reference)


def largest(left, right):
    assert set(left.data_vars) == set(right.data_vars)
    found = 0.0
    for name in left.data_vars:
        a, b = left[name].values.astype(float), right[name].values.astype(float)
        assert np.array_equal(np.isnan(a), np.isnan(b)), name
        same = (a == b) | np.isnan(a)
        found = max(found, float(np.abs(a[~same] - b[~same]).max(initial=0.0)))
    return found


NAMES = [name for name, metric in METRICS.items() if not {"low", "base"} & metric.requires]
DEFAULT = {"mae", "rmse", "bias", "psnr"}
ALL = {"metrics": NAMES, "data_range": 1.0, "scale": 2.0, "mtf": 0.3}


@pytest.mark.slow
@settings(examples(6), derandomize=True)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    chunk=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    how=st.sampled_from([{}, {"quantiles": 3}, {"quantiles": (0, 0.9, 1)}, {"edges": (0, 0.01, 0.02, np.inf)}]),
    holes=st.sampled_from([0.0, 0.05, 1.0]),
    seed=st.integers(0, 99),
)
def test_strata_do_not_depend_on_the_chunks(height, width, chunk, how, holes, seed):
    image, reference = pair(height + 2, width + 2, seed=seed)  # a grid needs two pixels to have a size
    image, reference = (cube.isel(y=slice(height + 1), x=slice(width + 1)) for cube in (image, reference))
    image = image.where(np.random.default_rng(seed).random(image.shape) >= holes)
    whole = xsr.strata(image, reference, data_range=1.0, **how)
    lazy = image.chunk(y=chunk[0], x=chunk[1])
    with assert_lazy(lazy):
        parts = xsr.strata(lazy, reference.chunk(y=9), data_range=1.0, **how)
    assert largest(parts.compute(scheduler="synchronous"), whole) <= 1e-6


@pytest.mark.slow
@settings(examples(6), derandomize=True)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    chunk=st.tuples(st.integers(9, 31), st.integers(9, 31)),
    how=st.sampled_from([{}, {"edges": (0, 0.01, 0.02, np.inf)}]),
    holes=st.sampled_from([0.0, 0.01, 1.0]),
    seed=st.integers(0, 99),
)
def test_no_metric_of_strata_depends_on_the_chunks(height, width, chunk, how, holes, seed):
    image, reference = pair(height + 1, width + 1, seed=seed)
    image = image.where(np.random.default_rng(seed).random(image.shape) >= holes)
    mask = xr.DataArray(np.random.default_rng(seed + 1).random(image.shape[2:]) < 0.99, dims=("y", "x"))
    whole = xsr.strata(image, reference, mask=mask, **ALL, **how)
    lazy = image.chunk(y=chunk[0], x=chunk[1])
    with assert_lazy(lazy):
        parts = xsr.strata(lazy, reference.chunk(y=9), mask=mask.chunk(y=7), **ALL, **how)
    assert largest(parts.compute(scheduler="synchronous"), whole) <= 1e-6


def test_strata_by_definition():
    image, reference = pair(40, 30, bands=1)
    edges = [0.01, 0.02, 0.03]
    scores = xsr.strata(image, reference, edges=edges, data_range=1.0).squeeze()
    steep = gradient(reference.values[0], (10.0, 10.0))[0]
    error = (image.values.astype(float) - reference.values)[0, 0, 1:-1, 1:-1]
    inside = [(steep >= a) & (steep < b) for a, b in pairwise(edges)]
    assert scores["count"].values.tolist() == [int(i.sum()) for i in inside]
    np.testing.assert_allclose(scores["mae"], [np.abs(error[i]).mean() for i in inside], rtol=1e-9)
    np.testing.assert_allclose(scores["bias"], [error[i].mean() for i in inside], rtol=1e-6)
    rmse = [np.sqrt((error[i] ** 2).mean()) for i in inside]
    np.testing.assert_allclose(scores["rmse"], rmse, rtol=1e-9)
    np.testing.assert_allclose(scores["psnr"], -20 * np.log10(rmse), rtol=1e-9)
    assert float(scores["share"].sum()) == pytest.approx(1)
    assert scores["edge_low"].values.tolist() == edges[:-1]
    assert scores["edge_high"].values.tolist() == edges[1:]


def windows(image, size):
    return np.lib.stride_tricks.sliding_window_view(image, (size, size))


def test_metrics_of_windows_and_spectra_by_definition():
    """Maps of scikit-image and NumPy, averaged over the pixels of each stratum of each band."""
    image, reference = pair(60, 50, bands=3)
    edges = [0.0, 0.015, 0.03, np.inf]
    names = ["ssim", "uqi", "sam", "ergas", "mae"]
    scores = xsr.strata(image, reference, edges=edges, metrics=names, data_range=1.0, scale=4).isel(time=0)
    one, two = image.values[0].astype(float), reference.values[0].astype(float)
    cosine = (one * two).sum(0) / np.sqrt((one**2).sum(0) * (two**2).sum(0))
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    ratios = np.empty((3, 3))
    for b in range(3):
        steep = np.full((60, 50), np.nan)
        steep[1:-1, 1:-1] = gradient(reference.values[0], (10.0, 10.0))[b]
        _, ssim = structural_similarity(
            one[b], two[b], gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, full=True
        )
        ssim[:5], ssim[-5:], ssim[:, :5], ssim[:, -5:] = (np.nan,) * 4
        x, y = windows(one[b], 8), windows(two[b], 8)
        mx, my = x.mean((2, 3)), y.mean((2, 3))
        covariance = (x * y).mean((2, 3)) - mx * my
        uqi = np.full((60, 50), np.nan)
        uqi[4:-3, 4:-3] = 4 * covariance * mx * my / ((x.var((2, 3)) + y.var((2, 3))) * (mx**2 + my**2))
        for k, (low, high) in enumerate(pairwise(edges)):
            inside = (steep >= low) & (steep < high)
            assert inside.sum() > 100
            found = scores.isel(band=b, stratum=k)
            assert float(found["ssim"]) == pytest.approx(np.nanmean(ssim[inside]), abs=1e-7)
            assert float(found["uqi"]) == pytest.approx(np.nanmean(uqi[inside]), abs=1e-7)
            assert float(found["sam"]) == pytest.approx(angle[inside].mean(), rel=1e-6)
            ratios[b, k] = np.sqrt(((one - two)[b][inside] ** 2).mean()) / two[b][inside].mean()
    np.testing.assert_allclose(scores["ergas"], 25 * np.sqrt((ratios**2).mean(axis=0)), rtol=1e-6)
    assert scores["ergas"].dims == ("stratum",)
    assert (scores["ssim"].std("stratum") > 5e-4).all()  # the strata do differ


def test_one_stratum_of_everything_is_the_whole_image():
    """Windows and point spread functions leave the outermost pixels out in any case."""
    image, reference = pair(60, 50)
    one = xsr.strata(image, reference, edges=(0, np.inf), **ALL)
    whole = xsr.evaluate(image, reference, data_range=1.0, scale=2.0, mtf=0.3)
    for name in ("ssim", "uqi", "scc", "high_fidelity", "high_fidelity_rmse"):
        np.testing.assert_allclose(one[name].isel(stratum=0), whole[name], rtol=1e-12)
    inner = xsr.evaluate(
        image.isel(y=slice(1, -1), x=slice(1, -1)),
        reference.isel(y=slice(1, -1), x=slice(1, -1)),
        scale=2.0,
        metrics=["sam", "ergas", "mae"],
    )
    np.testing.assert_allclose(one["mae"].isel(stratum=0), inner["mae"], rtol=1e-12)
    np.testing.assert_allclose(one["ergas"].isel(stratum=0), inner["ergas"], rtol=1e-12)
    np.testing.assert_allclose(one["sam"].isel(stratum=0, band=1), inner["sam"], rtol=1e-12)


def test_detail_is_missed_where_it_is_steep():
    """An interpolated image loses its detail at edges: the high-pass error is there, the low-pass error not."""
    reference = np.full((80, 80), 0.1, np.float32)
    reference[:, 40:] = 0.5
    truth = make_cube(reference[None])
    fine = xsr.interpolate(xsr.degrade(truth, scale=2), scale=2)
    scores = xsr.strata(fine, truth, edges=(0, 1e-3, np.inf), metrics="high_fidelity", scale=2).squeeze()
    flat, steep = scores["high_fidelity"].values
    assert steep > 20 * flat
    assert scores.attrs["mtf"] == [get("sentinel-2").band("B02").mtf]
    assert scores.attrs["psf"] == "gaussian"


def test_the_means_of_windows_leave_out_what_touches_no_data():
    image, reference = pair(40, 40, bands=1)
    hole = image.copy(data=image.values.copy())
    hole[0, 0, 20, 20] = np.nan
    options = {"edges": (0, np.inf), "metrics": ["ssim", "mae"], "data_range": 1.0}
    found = xsr.strata(hole, reference, **options)
    whole = xsr.evaluate(hole, reference, metrics=["ssim"], data_range=1.0)
    np.testing.assert_allclose(found["ssim"].squeeze(), whole["ssim"].squeeze(), rtol=1e-12)
    assert int(found["count"].squeeze()) == 38 * 38 - 1


def test_asked_for_nothing_only_errors_are_summed():
    """The default reads one pixel around a block and has no maps."""
    image, reference = pair(20, 20)
    assert set(xsr.strata(image, reference, data_range=1.0, scale=2).data_vars) == {*DEFAULT, *ALWAYS}
    assert set(xsr.strata(image, reference).data_vars) == {*DEFAULT, *ALWAYS} - {"psnr"}


def test_strata_counted_by_numpy():
    image, reference = pair(40, 40)
    expected = xsr.strata(image, reference, quantiles=4)
    assert largest(xsr.strata(image, reference, quantiles=np.int64(4)), expected) == 0
    assert largest(xsr.strata(image, reference, quantiles=np.linspace(0, 1, 5)), expected) == 0
    assert largest(xsr.strata(image, reference, border=np.int64(2)), xsr.strata(image, reference, border=2)) == 0


def test_quartiles_hold_a_quarter_each():
    image, reference = pair(120, 100, dates=2)
    scores = image.sr.strata(reference)
    assert dict(scores.sizes) == {"time": 2, "band": 2, "stratum": 4}
    np.testing.assert_allclose(scores["share"], 0.25, atol=0.01)
    assert (scores["edge_high"] >= scores["edge_low"]).all()
    assert "psnr" not in scores


def test_strata_sum_to_all_pixels():
    image, reference = pair(50, 40)
    scores = xsr.strata(image, reference, quantiles=5)
    inner = {"y": slice(1, -1), "x": slice(1, -1)}
    whole = xsr.evaluate(image.isel(inner), reference.isel(inner), metrics=["mae", "rmse"])
    assert (scores["count"].sum("stratum") == whole["count"]).all()
    np.testing.assert_allclose((scores["mae"] * scores["share"]).sum("stratum"), whole["mae"], rtol=1e-12)
    np.testing.assert_allclose((scores["rmse"] ** 2 * scores["share"]).sum("stratum"), whole["rmse"] ** 2, rtol=1e-12)


def test_an_edge_between_two_plains():
    """Errors on the edge are invisible in the mean and plain in the steepest stratum."""
    reference = np.full((40, 40), 0.1, np.float32)
    reference[:, 20:] = 0.5
    image = reference.copy()
    image[:, 19:21] += 0.1
    scores = xsr.strata(make_cube(image), make_cube(reference), edges=(0, 1e-3, np.inf)).squeeze()
    np.testing.assert_allclose(scores["mae"], [0, 0.1], atol=1e-6)
    np.testing.assert_allclose(scores["share"], [36 / 38, 2 / 38])


def test_empty_strata_are_nan_with_count_zero():
    image, reference = pair(10, 10, bands=1)
    scores = xsr.strata(image, reference, edges=(0, 5, 6), data_range=1.0).squeeze()
    assert scores["count"].values.tolist() == [64, 0]
    assert np.isnan(scores["rmse"].values).tolist() == [False, True]
    assert scores["share"].values.tolist() == [1, 0]


@pytest.mark.parametrize("value", [0.3, np.nan])
def test_constant_and_empty_images(value):
    flat = make_cube(np.full((1, 12, 9), value, np.float32))
    scores = xsr.strata(flat, flat)
    assert int(scores["count"].sum()) == (0 if np.isnan(value) else 70)
    assert np.isnan(scores["mae"]).any()


def test_the_gradient_counts_metres():
    """Half the pixel size doubles the gradient; feet are metres in the end."""
    image, reference = pair(20, 20)
    high = xsr.strata(image, reference)["edge_high"]
    new_york = {"crs": "EPSG:2263", "affine": Affine(10, 0, 984_000, 0, -10, 190_000)}  # feet
    for options, factor in (({"gsd": 5.0}, 2), (new_york, 1 / 0.3048006096)):
        other = xsr.strata(*(make_cube(cube.values, **options) for cube in (image, reference)))["edge_high"]
        np.testing.assert_allclose(other / high, factor, rtol=0.01)


def test_degrees_are_measured_on_the_ellipsoid():
    image, reference = pair(20, 20)
    grid = {"affine": Affine(1e-4, 0, 10, 0, -1e-4, 60), "crs": "EPSG:4326"}  # 5.57 m by 11.14 m
    here = xsr.strata(*(make_cube(cube.values, **grid) for cube in (image, reference)))["edge_high"]
    metres = Affine(5.58, 0, 0, 0, -11.14, 0)
    there = xsr.strata(*(make_cube(cube.values, affine=metres) for cube in (image, reference)))["edge_high"]
    np.testing.assert_allclose(here, there, rtol=0.01)


def test_mask_and_border():
    image, reference = pair(30, 30, bands=1)
    mask = xr.DataArray(np.zeros((30, 30), bool), dims=("y", "x"))
    mask[2:-2, 2:-2] = True
    by_mask = xsr.strata(image, reference, mask=mask)
    assert largest(by_mask, xsr.strata(image, reference, border=2)) == 0
    assert int(by_mask["count"].sum()) == 26 * 26


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edges": (0, 1), "quantiles": 3}, "edges= and quantiles= given"),
        ({"edges": (0,)}, r"edges=\[0\.0\]; expected at least two ascending"),
        ({"edges": (0, 2, 1)}, "ascending"),
        ({"edges": (0, np.nan)}, "ascending"),
        ({"quantiles": 0}, "quantiles=0; expected a number of strata >= 1"),
        ({"quantiles": 4.0}, r"quantiles=4\.0; expected a number of strata"),
        ({"quantiles": "4"}, "quantiles='4'; expected at least two ascending"),
        ({"edges": 5}, "edges=5; expected at least two ascending"),
        ({"edges": ("0", "1")}, "expected at least two ascending"),
        ({"metrics": 3}, "metrics=3; expected a name or several"),
        ({"border": 1.5}, r"border=1\.5; expected a number of pixels"),
        ({"scale": 0.5, "metrics": "ergas"}, r"scale=0\.5; expected low over high"),
        ({"metrics": "ergas"}, "'ergas' needs scale="),
        ({"metrics": "high_fidelity"}, "'high_fidelity' needs scale="),
        ({"metrics": "high_fidelity", "scale": 2, "mtf": 0.97}, r"mtf=0\.97 at scale 2"),
        ({"quantiles": (0.1, 1)}, "begin with 0 and end with 1"),
        ({"metrics": ["ssim"]}, "'ssim' needs data_range="),
        ({"metrics": ["low_fidelity"]}, r"metrics \['low_fidelity'\] have low-resolution pixels, which have no strata"),
        ({"metrics": ["psnr"]}, "'psnr' needs data_range="),
        ({"data_range": -1.0}, "data_range=-1.0; expected a positive"),
    ],
)
def test_bad_arguments(options, message):
    image, reference = pair(8, 8)
    with pytest.raises(ParameterError, match=message):
        xsr.strata(image, reference, **options)


def test_other_grids_are_refused():
    image, reference = pair(8, 8)
    with pytest.raises(GridError, match="7 x 8 pixels"):
        xsr.strata(image, reference.isel(y=slice(7)))


def test_a_registered_metric_has_strata(monkeypatch):
    monkeypatch.setattr(table, "_registered", {})
    terms = xsr.Terms(("absolute", "level"), lambda pixels: [abs(pixels.image - pixels.reference), pixels.reference])
    xsr.register_metric(xsr.Metric("relative", "1", "", terms, lambda means: means["absolute"] / means["level"]))
    image, reference = pair(40, 30)
    edges = (0.0, 0.015, 0.03, np.inf)
    scores = xsr.strata(image, reference, edges=edges, metrics=["relative", "mae"])
    steep = gradient(reference.values[0], (10.0, 10.0))
    error, level = (x[0, :, 1:-1, 1:-1].astype(float) for x in (abs(image - reference).values, reference.values))
    for k, (low, high) in enumerate(pairwise(edges)):
        for b in range(2):
            inside = (steep[b] >= low) & (steep[b] < high)
            expected = error[b][inside].mean() / level[b][inside].mean()
            assert float(scores["relative"][0, b, k]) == pytest.approx(expected, rel=1e-6)
