"""Quantiles on other grids than finer ones of the cube's own, and at points."""

import dask
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import xsr
from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.core.grid import Continued, Refinement
from xsr.intervals import CALIBRATED
from xsr.testing import assert_lazy, synthetic_cube

Q = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def cube():
    return synthetic_cube(size=(48, 52), times=("2024-04-10", "2024-06-15"))


@pytest.fixture(scope="module")
def whole(cube):
    return cube.sr.liif(scale=2, quantiles=Q)


def part_of(whole, rows, cols):
    box = xsr.core.cube.open_cube(whole.isel(quantile=0)).geobox
    return box[rows, cols], whole.isel(y=rows, x=cols)


@pytest.mark.parametrize(
    ("rows", "cols"), [(slice(24, 70), slice(30, 81)), (slice(0, 60), slice(40, 104)), (slice(3, 9), slice(90, 104))]
)
def test_a_part_of_the_grid_has_the_quantiles_of_the_whole(cube, whole, rows, cols):
    """Errors depend on pixels beyond a grid, as far as the cube goes on."""
    box, expected = part_of(whole, rows, cols)
    found = cube.sr.liif(like=box, quantiles=Q)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
    np.testing.assert_array_equal(found[CALIBRATED], expected[CALIBRATED])
    assert found.attrs["xsr_intervals"] == "liif_s2_intervals"


@pytest.mark.slow
def test_grids_are_lazy_and_no_chunk_changes_them(cube, whole):
    box, expected = part_of(whole, slice(5, 70), slice(11, 90))
    lazy = cube.chunk(y=17, x=20)
    with assert_lazy(lazy):
        found = lazy.sr.liif(like=box, quantiles=Q, chunks=(23, 30))
    assert found.chunksizes["y"] == (23, 23, 19)
    assert found.chunksizes["x"] == (30, 30, 19)
    np.testing.assert_allclose(found.values, expected.values, atol=3e-6)


@pytest.mark.slow
def test_another_crs_and_rows_that_run_north(cube, whole):
    box, expected = part_of(whole, slice(24, 70), slice(30, 81))
    north = cube.sr.liif(like=box.flipy(), quantiles=Q)
    np.testing.assert_allclose(north.isel(y=slice(None, None, -1)).values, expected.values, atol=1e-5)
    zone = box.to_crs("EPSG:32632", resolution=5)
    found, plain = cube.sr.liif(like=zone, quantiles=Q), cube.sr.liif(like=zone)
    xr.testing.assert_equal(found.sel(quantile=0.5, drop=True).drop_vars(CALIBRATED), plain)
    known = np.isfinite(plain.values)
    steps = found.diff("quantile").values
    assert (steps[:, known] > 0).all()
    assert np.isnan(steps[:, ~known]).all()
    near = np.median(expected.diff("quantile"))
    assert np.median(steps[:, known]) == pytest.approx(near, rel=0.25)


def test_intervals_do_not_widen_where_the_cube_ends_inside_a_grid(cube, whole):
    """Beyond the cube there is nothing; that is no edge of the image."""
    cube, whole = cube.isel(time=[0]), whole.isel(time=[0])
    box = xsr.core.cube.open_cube(whole.isel(quantile=0)).geobox
    wide = GeoBox((120, 130), Affine.translation(-50, 50) @ box.affine, box.crs)
    found = cube.sr.liif(like=wide, quantiles=Q)
    width = (found[2] - found[1]).values[..., 10:106, 10:114]
    expected = (whole[2] - whole[1]).values
    np.testing.assert_allclose(np.median(width), np.median(expected), rtol=0.3)


def test_a_continued_grid_counts_from_its_own_corner():
    inner = Refinement((10, 8), (0.5, 0.5), (2.0, 1.0))
    around = Continued(inner, Span(-2, 13), Span(0, 9))
    assert around.shape == (15, 9)
    assert around.inside == (slice(2, 12), slice(0, 8))
    own, same = around.query(Span(2, 5), Span(1, 3)).positions(), inner.query(Span(0, 3), Span(1, 3)).positions()
    for found, expected in zip(own, same, strict=True):
        np.testing.assert_array_equal(found, expected)
    # Rows of the inner grid may begin at -4 (the cube's edge), columns at -2; both go on to the edge of the cube.
    assert around.lattice((9, 6), 3) == (Span(-2, 16), Span(-2, 10))


@pytest.mark.slow
def test_points_have_the_quantiles_of_the_pixels_they_lie_in(cube, whole):
    rng = np.random.default_rng(0)
    x, y = cube.x.values[0] + rng.uniform(-30, 550, 40), cube.y.values[0] - rng.uniform(-30, 500, 40)
    found = cube.sr.sample(x=x, y=y, scale=2, quantiles=Q)
    assert found.dims == ("quantile", "time", "band", "point")
    at = {"x": xr.DataArray(x, dims="point"), "y": xr.DataArray(y, dims="point")}
    expected = whole.sel(**at, method="nearest").transpose(*found.dims)
    west, north = cube.x.values[0] - 5, cube.y.values[0] + 5
    known = (x >= west) & (x <= west + 520) & (y <= north) & (y >= north - 480)
    assert 0 < known.sum() < known.size
    np.testing.assert_allclose(found.values[..., known], expected.values[..., known], atol=3e-6)
    assert np.isnan(found.values[..., ~known]).all()
    np.testing.assert_array_equal(found[CALIBRATED].values[:, known], expected[CALIBRATED].values[:, known])
    assert found.attrs["xsr_intervals"] == "liif_s2_intervals"
    lazy = cube.chunk(y=20, x=30)
    with assert_lazy(lazy):
        parts = lazy.sr.sample(x=x, y=y, scale=2, quantiles=Q)
    assert dask.is_dask_collection(parts.data)
    np.testing.assert_allclose(parts.values, found.values, atol=3e-6)


def test_points_of_one_date_and_of_a_dataset(cube):
    one = cube.isel(time=0, drop=True)[:, :24, :24]
    x, y = one.x.values[5:8] + 2.4, one.y.values[5:8]
    array = one.sr.sample(x=x, y=y, quantiles=0.9)
    assert array.dims == ("quantile", "band", "point")
    assert array[CALIBRATED].dims == ("point",)
    dataset = one.to_dataset("band").sr.sample(x=x, y=y, quantiles=0.9)
    np.testing.assert_allclose(dataset["B04"].values, array.sel(band="B04").values, atol=1e-6)


def test_bad_quantiles_of_points_are_refused(cube):
    x, y = cube.x.values[:2], cube.y.values[:2]
    with pytest.raises(ParameterError, match="quantiles=90; expected"):
        cube.sr.sample(x=x, y=y, quantiles=90)
