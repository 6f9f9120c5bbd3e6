import numpy as np
import pytest
import xarray as xr
from affine import Affine
from helpers import DATES, make_cube
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


@DATES
def test_a_mask_has_the_dates_of_its_cube_in_any_form(dates):
    cube = cloudy().drop_vars("scl").assign_coords(time=dates)
    mask = cube.valid
    out = mask_clouds(cube.drop_vars("valid"), mask=mask)
    np.testing.assert_array_equal(np.isfinite(out[:, 0]), mask)
    with pytest.raises(GridError, match="expected the same dates"):
        mask_clouds(cube, mask=mask.isel(time=[1, 0]))


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


@pytest.mark.slow
def test_the_result_survives_zarr(tmp_path):
    out = mask_clouds(cloudy(chunks={"y": 10}))
    to_zarr(out, tmp_path / "a.zarr", progress=False)
    back = xr.open_zarr(tmp_path / "a.zarr")["reflectance"]
    np.testing.assert_array_equal(back, out)


def with_scl(*, chunks=None, gsd=10.0, turned=False):
    """Dataset of a band and an SCL variable whose classes are known by place."""
    cube = make_cube((2, 1, 6, 8), gsd=gsd)
    scl = np.full((2, 6, 8), 4, np.uint8)
    scl[:, 0, 0], scl[:, 1, 1], scl[0, 2, 2], scl[:, 3, 3], scl[:, 4, 4] = 0, 3, 9, 11, 6
    dataset = cube.to_dataset("band").assign(SCL=(("time", "y", "x"), scl))
    dataset = dataset.isel(y=slice(None, None, -1)) if turned else dataset
    return dataset if chunks is None else dataset.chunk(chunks)


def hidden(out, date=0):
    """Places (row, column) without data."""
    return [tuple(place) for place in np.argwhere(np.isnan(out["B02"].isel(time=date).values)).tolist()]


def test_a_scene_classification_beside_the_bands_is_found_by_itself():
    out = mask_clouds(with_scl())
    assert hidden(out) == [(0, 0), (1, 1), (2, 2)]
    assert hidden(out, date=1) == [(0, 0), (1, 1)]
    assert out["SCL"].dtype == np.uint8
    np.testing.assert_array_equal(out["SCL"], with_scl()["SCL"])


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        ([9], [(2, 2)]),
        (11, [(3, 3)]),
        ("snow", [(3, 3)]),
        (["shadows", "water"], [(1, 1), (4, 4)]),
        (["fill", 9], [(0, 0), (2, 2)]),
        ([], []),
    ],
)
def test_classes_are_excluded_by_number_or_by_word(exclude, expected):
    assert hidden(mask_clouds(with_scl(), exclude=exclude)) == expected


def test_every_way_to_hold_the_classes_gives_the_same():
    dataset = with_scl()
    expected = mask_clouds(dataset)["B02"].values
    scl = dataset["SCL"]
    stacked = dataset.to_dataarray("band").transpose("time", "band", "y", "x")
    for given, mask in [
        (dataset, "SCL"),
        (dataset, scl),
        (dataset.drop_vars("SCL"), scl),
        (dataset.set_coords("SCL"), None),
        (dataset.rename(SCL="scl"), None),
        (dataset.chunk({"y": 2}), None),
    ]:
        np.testing.assert_array_equal(mask_clouds(given, mask=mask)["B02"], expected)
    out = mask_clouds(stacked)
    np.testing.assert_array_equal(out.sel(band="B02"), expected)
    assert out["band"].values.tolist() == ["B02"]
    np.testing.assert_array_equal(out["SCL"], scl)
    turned = mask_clouds(with_scl(turned=True), dilate_m=10)
    np.testing.assert_array_equal(turned["B02"].values[:, ::-1], mask_clouds(dataset, dilate_m=10)["B02"])
    np.testing.assert_array_equal(turned["valid"].values[:, ::-1], mask_clouds(dataset, dilate_m=10)["valid"])


def test_a_variable_of_any_name_may_hold_the_classes():
    dataset = with_scl().rename(SCL="labels")
    out = mask_clouds(dataset, mask="labels", exclude=[9])
    assert hidden(out) == [(2, 2)]
    np.testing.assert_array_equal(out["labels"], dataset["labels"])
    with pytest.raises(CubeError, match="nothing says what the numbers of 'labels' mean"):
        mask_clouds(dataset, mask="labels")


def test_bits_of_landsat_are_read_as_bits():
    clear, cloud, shadow, snow = 0b1_0101_0100_0000, 0b1_0110_0000_1000, 0b1_0110_0001_0000, 0b1_1010_0010_0000
    qa = np.full((2, 6, 8), clear, np.uint16)
    qa[:, 0, 0], qa[:, 1, 1], qa[:, 2, 2], qa[:, 3, 3], qa[:, 4, 4] = 1, cloud, shadow, snow, clear | 0b10
    dataset = with_scl().drop_vars("SCL").assign(QA_PIXEL=(("time", "y", "x"), qa))
    assert hidden(mask_clouds(dataset)) == [(0, 0), (1, 1), (2, 2), (4, 4)]
    assert hidden(mask_clouds(dataset, exclude="snow")) == [(3, 3)]
    assert hidden(mask_clouds(dataset, exclude=[4])) == [(2, 2)]


def test_a_coarser_mask_is_read_by_nearest_pixels():
    dataset = with_scl().drop_vars("SCL")
    coarse = make_cube((2, 1, 3, 4), gsd=20.0).to_dataset("band").rename(B02="SCL")["SCL"]
    coarse = coarse.copy(data=np.full((2, 3, 4), 4, np.uint8))
    coarse[:, 1, 2] = 9
    expected = [(2, 4), (2, 5), (3, 4), (3, 5)]
    assert hidden(mask_clouds(dataset, mask=coarse)) == expected
    assert hidden(mask_clouds(dataset, mask=coarse.isel(y=slice(None, None, -1)))) == expected
    turned = mask_clouds(dataset.isel(y=slice(None, None, -1)), mask=coarse)
    assert hidden(turned) == [(2, 4), (2, 5), (3, 4), (3, 5)]
    assert hidden(mask_clouds(dataset, mask=coarse == 4)) == expected


def test_a_distance_is_metres_on_the_ground_on_a_grid_in_degrees():
    step = 1e-4  # at 60 degrees north 11.14 m along y and 5.58 m along x
    cube = make_cube((1, 9, 9), crs="EPSG:4326", affine=Affine(step, 0, 5, 0, -step, 60 + 4.5 * step))
    valid = np.ones((9, 9), bool)
    valid[4, 4] = False
    mask = xr.DataArray(valid, dims=cube.dims[1:])
    out = mask_clouds(cube, mask=mask, dilate_m=12)
    expected = np.ones((9, 9), bool)
    expected[4, 2:7] = expected[3, 4] = expected[5, 4] = False
    np.testing.assert_array_equal(out["valid"], expected)
    assert mask_clouds(cube, mask=mask, dilate_m=12.5)["valid"].values.sum() == 81 - 11


def test_several_layers_of_classes_must_be_told_apart():
    dataset = with_scl().assign(QA60=(("time", "y", "x"), np.full((2, 6, 8), 1 << 10, np.uint16)))
    with pytest.raises(CubeError, match=r"several layers of classes, \['SCL', 'QA60'\].*Name it with mask="):
        mask_clouds(dataset)
    assert hidden(mask_clouds(dataset, mask="SCL")) == [(0, 0), (1, 1), (2, 2)]
    assert np.isnan(mask_clouds(dataset, mask="QA60")["B02"]).all()


def test_what_does_not_fit_is_refused():
    cube = cloudy()
    bare = cube.drop_vars(["valid", "scl"])
    with pytest.raises(CubeError, match=r"no coordinate 'valid' and no layer whose classes .* Pass mask="):
        mask_clouds(bare)
    with pytest.raises(CubeError, match="no layer whose classes are known"):
        mask_clouds(bare, exclude=[9])
    with pytest.raises(CubeError, match=r"no layer 'SCL'; it has \['scl', 'valid'\]"):
        mask_clouds(cube, mask="SCL")
    with pytest.raises(ParameterError, match=r"exclude names 'haze'; the scene classification of Sen2Cor has fill"):
        mask_clouds(cube, exclude="haze")
    with pytest.raises(CubeError, match="nothing says what the numbers of 'mask' mean"):
        mask_clouds(bare, mask=cube.scl.rename("mask"))
    with pytest.raises(ParameterError, match="expected one of them"):
        mask_clouds(cube, mask=cube.valid, exclude=[9])
    with pytest.raises(ParameterError, match="mask has dtype <U3; expected booleans or the numbers of classes"):
        mask_clouds(cube, mask=cube.scl.astype(str))
    with pytest.raises(ParameterError, match="mask is a ndarray; expected a DataArray or the name of a layer"):
        mask_clouds(cube, mask=cube.valid.values)
    with pytest.raises(ParameterError, match="dilate_m=-1; expected a distance >= 0"):
        mask_clouds(cube, dilate_m=-1)
    with pytest.raises(GridError, match=r"the mask covers .*expected a mask that covers the cube"):
        mask_clouds(cube, mask=cube.valid.isel(x=slice(1, None)))
    with pytest.raises(GridError, match=r"differs from the cube along 'time' \(1 and 2 places\).*mask.sel"):
        mask_clouds(cube, mask=cube.valid.isel(time=[1]))
    with pytest.raises(GridError, match=r"the mask lies in EPSG:32634.*mask.odc.reproject"):
        mask_clouds(cube, mask=make_cube((30, 27), crs="EPSG:32634") > 0)
    with pytest.raises(GridError, match=r"expected \(\[time,\] y, x\)"):
        mask_clouds(cube, mask=cube > 0.5)
