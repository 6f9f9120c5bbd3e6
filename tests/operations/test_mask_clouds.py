import numpy as np
import pytest
import xarray as xr
from helpers import make_cube
from scipy.ndimage import binary_erosion

from xsr.core.errors import CubeError, GridError, ParameterError
from xsr.operations.mask_clouds import mask_clouds
from xsr.operations.store import to_zarr
from xsr.testing import assert_lazy, assert_same_grid


def cloudy(shape=(2, 3, 30, 26), *, chunks=None, seed=1):
    """Cube with a few clouds in the coordinates `valid` and `scl`."""
    cube = make_cube(shape)
    rng = np.random.default_rng(seed)
    valid = rng.random((shape[0], *shape[2:])) > 0.02
    scl = np.where(valid, 4, rng.choice([3, 8, 9], valid.shape)).astype(np.uint8)
    cube = cube.assign_coords(valid=(("time", "y", "x"), valid), scl=(("time", "y", "x"), scl))
    return cube if chunks is None else cube.chunk(chunks)


def disc(radius):
    n = int(radius)
    y, x = np.mgrid[-n : n + 1, -n : n + 1]
    return y * y + x * x <= radius * radius


def test_pixels_that_are_not_valid_become_no_data_and_others_stay():
    cube = cloudy()
    out = cube.sr.mask_clouds()
    np.testing.assert_array_equal(out, np.where(cube.valid.values[:, None], cube, np.nan))
    np.testing.assert_array_equal(out.valid, cube.valid)
    assert out.attrs["xsr_operation"] == "mask_clouds"
    assert_same_grid(out, cube)


@pytest.mark.parametrize("radius", [1, 2.5, 7])
def test_the_margin_is_a_disc(radius):
    cube = cloudy()
    out = mask_clouds(cube, dilate_m=radius * 10)
    for date in range(2):
        expected = binary_erosion(cube.valid[date], disc(radius), border_value=1)
        np.testing.assert_array_equal(out.valid[date], expected)
        np.testing.assert_array_equal(np.isfinite(out[date, 0]), expected)


@pytest.mark.parametrize("chunks", [{"y": 7, "x": 9}, {"time": 1, "band": 1, "y": 30}])
def test_any_chunks_give_the_same_and_nothing_is_computed(chunks, monkeypatch):
    monkeypatch.setattr("xsr.operations.mask_clouds.CHUNK", 11)
    cube = cloudy(chunks=chunks)
    with assert_lazy(cube):
        out = mask_clouds(cube, dilate_m=31)
    monkeypatch.undo()
    np.testing.assert_array_equal(out, mask_clouds(cube.compute(), dilate_m=31))


def test_classes_can_be_chosen():
    cube = cloudy()
    out = mask_clouds(cube, exclude=[9])
    np.testing.assert_array_equal(np.isnan(out[:, 1]), cube.scl == 9)


def test_a_mask_of_ones_own_serves_all_dates_and_bands():
    cube = cloudy().drop_vars(["valid", "scl"])
    mask = xr.DataArray(np.arange(30 * 26).reshape(30, 26) % 5 > 0, dims=("y", "x"))
    out = mask_clouds(cube, mask=mask)
    np.testing.assert_array_equal(np.isfinite(out), np.broadcast_to(mask, out.shape))
    assert mask_clouds(cube, mask=mask.transpose("x", "y")).equals(out)
    shrunk = mask_clouds(cube, mask=mask, dilate_m=10)
    np.testing.assert_array_equal(shrunk.valid, binary_erosion(mask, disc(1), border_value=1))


def test_datasets_single_dates_and_ascending_cubes_come_out_as_they_went_in():
    cube = cloudy()
    expected = mask_clouds(cube, dilate_m=10)
    dataset = mask_clouds(cube.to_dataset("band"), dilate_m=10)
    assert isinstance(dataset, xr.Dataset)
    np.testing.assert_array_equal(dataset["B03"], expected.sel(band="B03"))
    np.testing.assert_array_equal(mask_clouds(cube.isel(time=0), dilate_m=10), expected[0])
    turned = mask_clouds(cube.isel(y=slice(None, None, -1)), dilate_m=10)
    np.testing.assert_array_equal(turned.isel(y=slice(None, None, -1)), expected)
    np.testing.assert_array_equal(turned.valid.isel(y=slice(None, None, -1)), expected.valid)


def test_the_result_survives_zarr(tmp_path):
    out = mask_clouds(cloudy(chunks={"y": 10}))
    to_zarr(out, tmp_path / "a.zarr", progress=False)
    back = xr.open_zarr(tmp_path / "a.zarr")["reflectance"]
    np.testing.assert_array_equal(back, out)


def test_what_does_not_fit_is_refused():
    cube = cloudy()
    bare = cube.drop_vars(["valid", "scl"])
    with pytest.raises(CubeError, match=r"no coordinate 'valid'; .* Pass mask="):
        mask_clouds(bare)
    with pytest.raises(CubeError, match="no coordinate 'scl'"):
        mask_clouds(bare, exclude=[9])
    with pytest.raises(ParameterError, match="expected one of them"):
        mask_clouds(cube, mask=cube.valid, exclude=[9])
    with pytest.raises(ParameterError, match="expected booleans"):
        mask_clouds(cube, mask=cube.scl)
    with pytest.raises(ParameterError, match="dilate_m=-1; expected a distance >= 0"):
        mask_clouds(cube, dilate_m=-1)
    with pytest.raises(GridError, match=r"the mask differs from the cube along 'x' \(25 and 26"):
        mask_clouds(cube, mask=cube.valid.isel(x=slice(1, None)))
    with pytest.raises(GridError, match="differs from the cube along 'x'"):
        mask_clouds(cube, mask=cube.valid.assign_coords(x=cube.x + 5))
    with pytest.raises(GridError, match=r"expected \(\[time,\] y, x\)"):
        mask_clouds(cube, mask=cube > 0.5)
