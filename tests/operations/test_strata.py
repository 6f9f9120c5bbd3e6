from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from helpers import make_cube
from hypothesis import given, settings
from hypothesis import strategies as st

import xsr
from xsr.core.errors import GridError, ParameterError
from xsr.kernels.metrics import gradient
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


@settings(max_examples=30, deadline=None, derandomize=True)
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
    for options, factor in (({"gsd": 5.0}, 2), ({"crs": "EPSG:2263"}, 1 / 0.3048006096)):
        other = xsr.strata(*(make_cube(cube.values, **options) for cube in (image, reference)))["edge_high"]
        np.testing.assert_allclose(other / high, factor, rtol=0.01)


def test_degrees_are_measured_on_the_ellipsoid():
    from affine import Affine

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
        ({"quantiles": 0}, "quantiles=0; expected at least one"),
        ({"quantiles": (0.1, 1)}, "begin with 0 and end with 1"),
        ({"metrics": ["ssim"]}, r"metrics \['ssim'\]; expected some of mae"),
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
