"""Grids from what cubes of popular tools carry: each form of statement, whole and sliced, right and contradictory."""

import re
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import rioxarray
import xarray as xr
from affine import Affine
from helpers import NORTH, WEST, make_cube, make_dataset

from xsr.core.cube import open_cube
from xsr.core.errors import GridError, XsrWarning
from xsr.core.georeference import georeference
from xsr.core.statements import numbers
from xsr.operations.clip import clip
from xsr.operations.degrade import degrade
from xsr.operations.interpolate import interpolate
from xsr.operations.store import to_zarr

TRUE = Affine(10, 0, WEST, 0, -10, NORTH)
"""Grid of the cubes below: what is stated, and what must come out."""


def bare(size=(6, 8), *, dtype=np.float64, shift=(0.0, 0.0)):
    """Cube on `TRUE` that states its CRS and nothing else; its coordinates shifted by (y, x) pixels."""
    cube = make_cube((2, *size))
    del cube["spatial_ref"].attrs["GeoTransform"]
    y = NORTH - (np.arange(size[0]) + 0.5 + shift[0]) * 10
    x = WEST + (np.arange(size[1]) + 0.5 + shift[1]) * 10
    return cube.assign_coords(y=("y", y.astype(dtype)), x=("x", x.astype(dtype)))


def corners(**options):
    """Cube whose coordinates are the top-left corners of its pixels."""
    return bare(shift=(-0.5, -0.5), **options)


@contextmanager
def moved(match):
    """Expect one warning of ours; what other libraries have to say of one another is none of this."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said = [str(warning.message) for warning in caught if warning.category is XsrWarning]
    assert len(said) == 1
    assert re.search(match, said[0]), said[0]


def grid_of(cube):
    return georeference(cube, cube.odc.spatial_dims).geobox.affine


def geotransform(cube, affine=TRUE, name="spatial_ref"):
    cube = cube.copy()
    cube[name].attrs["GeoTransform"] = " ".join(str(v) for v in affine.to_gdal())
    return cube


class Spec:
    """What stackstac leaves in the attributes, as far as it matters here."""

    transform = TRUE
    shape = (6, 8)


def spatial(affine=TRUE, **more):
    return {"spatial:transform": list(affine)[:6], "spatial:dimensions": ["y", "x"], **more}


def as_crs_wkt(cube):
    """The same cube with a grid mapping of another name, in the attributes as on disk."""
    return cube.rename(spatial_ref="crs").assign_attrs(grid_mapping="crs")


def scalar(value):
    held = np.empty((), object)
    held[()] = value
    return xr.Variable((), held)


STATEMENTS = {
    "Affine of stackstac": lambda c, t: c.assign_attrs(transform=t),
    "six numbers": lambda c, t: c.assign_attrs(transform=tuple(t)[:6]),
    "nine numbers": lambda c, t: c.assign_attrs(transform=list(t)),
    "array": lambda c, t: c.assign_attrs(transform=np.array(list(t)[:6])),
    "numbers in the order of GDAL": lambda c, t: c.assign_attrs(transform=t.to_gdal()),
    "text": lambda c, t: c.assign_attrs(transform=str(list(t)[:6])),
    "coordinate": lambda c, t: c.assign_coords(transform=scalar(t)),
    "numbers in a coordinate": lambda c, t: c.assign_coords(transform=scalar(list(t)[:6])),
    "GeoTransform": lambda c, t: geotransform(c, t),
    "GeoTransform of another grid mapping": lambda c, t: geotransform(as_crs_wkt(c), t, "crs"),
    "GeoTransform of an area": lambda c, t: geotransform(c, t).assign_attrs(AREA_OR_POINT="Area"),
    "GeoZarr": lambda c, t: c.assign_attrs(spatial(t)),
    "GeoZarr pixel": lambda c, t: c.assign_attrs(spatial(t, **{"spatial:registration": "pixel"})),
    "GeoZarr node": lambda c, t: c.assign_attrs(
        spatial(t @ Affine.translation(0.5, 0.5), **{"spatial:registration": "node"})
    ),
    "proj of this grid": lambda c, t: c.assign_attrs({"proj:transform": list(t)[:6], "proj:shape": [6, 8]}),
}
forms = pytest.mark.parametrize("state", STATEMENTS.values(), ids=STATEMENTS.keys())


# --- what agrees ---------------------------------------------------------------------------------------


@forms
def test_a_statement_of_the_same_grid_changes_nothing_and_says_nothing(state):
    assert grid_of(state(bare(), TRUE)) == TRUE


@forms
def test_coordinates_that_are_missing_come_from_the_statement(state):
    cube = state(bare(), TRUE).drop_vars(["y", "x"])
    assert grid_of(cube) == TRUE
    fine = interpolate(cube, scale=2)
    assert (fine.y.values[0], fine.x.values[0]) == (NORTH - 2.5, WEST + 2.5)
    assert np.array_equal(fine, interpolate(bare(), scale=2))


@forms
def test_a_statement_refines_coordinates_in_single_precision(state):
    fine = Affine(10 / 3.4, 0, WEST, 0, -10 / 3.4, NORTH)
    y, x = NORTH - (np.arange(6) + 0.5) * 10 / 3.4, WEST + (np.arange(8) + 0.5) * 10 / 3.4
    cube = bare().assign_coords(y=("y", y.astype("f4")), x=("x", x.astype("f4")))
    assert grid_of(cube) != fine
    assert grid_of(state(cube, fine)).almost_equals(fine, precision=1e-9)


@forms
@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ({"y": slice(2, 6), "x": slice(3, 8)}, TRUE @ Affine.translation(3, 2)),
        ({"y": slice(None, None, 2), "x": slice(1, None, 2)}, TRUE @ Affine.translation(0.5, -0.5) @ Affine.scale(2)),
        ({"y": slice(None, None, -1)}, TRUE @ Affine.translation(0, 6) @ Affine.scale(1, -1)),
        ({"y": [3], "x": slice(2, 5)}, TRUE @ Affine.translation(2, 3)),
    ],
    ids=["crop", "stride", "flip", "row"],
)
def test_a_statement_that_outlived_a_selection_is_innocent(state, cut, expected):
    cube = state(bare(), TRUE)
    cut_cube = cube.isel(cut)
    if 1 in cut_cube.shape[1:] and "proj:transform" in cube.attrs:
        pytest.skip("proj:transform of another shape describes another grid")
    assert grid_of(cut_cube).almost_equals(expected, precision=1e-9)


@forms
@pytest.mark.parametrize("factor", [2, 3])
def test_a_statement_that_outlived_an_average_is_innocent(state, factor):
    mean = state(bare(), TRUE).coarsen(y=factor, x=factor, boundary="trim").mean(keep_attrs=True)
    assert grid_of(mean).almost_equals(TRUE @ Affine.scale(factor), precision=1e-9)


def test_the_transform_of_an_item_is_no_statement_about_the_cube():
    item = {"proj:transform": [10, 0, 399_960, 0, -10, 5_900_040], "proj:shape": [10_980, 10_980]}
    assert grid_of(bare().assign_attrs(item)) == TRUE


def test_the_identity_is_no_statement():
    assert grid_of(geotransform(bare().assign_attrs(transform=Affine.identity()), Affine.identity())) == TRUE


@pytest.mark.parametrize("value", ["none", None, (1, 2, 3), [1, 2, 3, 4, 5, np.nan], {"a": 1}, "1 2 3 4 5 x", 7])
def test_what_is_no_transform_is_left_out(value):
    assert numbers(value) is None
    assert grid_of(bare().assign_attrs(transform=value)) == TRUE


def test_double_precision_gives_the_numbers_of_odc_geo_to_the_last_bit():
    """Results of cubes that were read right before must not change in their last digits."""
    for step in (10.0, 10 / 3.4, 10 / 3, 8.983152841195215e-05):
        affine = Affine(step, 0, 4.41, 0, -step, 50.98)
        for cube in (make_cube((1, 30, 20), affine=affine), make_cube((1, 30, 20), affine=affine).isel(y=slice(3, 9))):
            assert grid_of(cube) == cube.odc.geobox.affine
            bare = cube.drop_vars("spatial_ref")
            assert grid_of(bare) == bare.odc.geobox.affine


# --- half a pixel --------------------------------------------------------------------------------------


@forms
def test_corners_are_moved_to_centres_as_stated_and_it_is_said(state):
    with moved(r"begin at \(600000, 5800000\).*on the edge.*centre, \(600005, 5799995\)"):
        fine = interpolate(state(corners(), TRUE), scale=2)
    assert fine.odc.geobox.affine == TRUE @ Affine.scale(0.5)
    assert (fine.y.values[0], fine.x.values[0]) == (NORTH - 2.5, WEST + 2.5)
    assert "coordinates moved from pixel corners to centres" in fine.attrs["xsr_registration"]
    assert np.array_equal(fine, interpolate(bare(), scale=2))


@forms
def test_corners_in_single_precision_are_moved_too(state):
    with moved("on the edge of a pixel"):
        assert grid_of(state(corners(dtype="f4"), TRUE)) == TRUE


@forms
def test_corners_may_be_cropped_and_flipped(state):
    if "proj:transform" in state(bare(), TRUE).attrs:
        pytest.skip("proj:transform of another shape describes another grid")
    cube = state(bare((12, 8), shift=(-0.5, -0.5)), TRUE)
    with moved("on the edge of a pixel"):
        assert grid_of(cube.isel(y=slice(4, 9))) == TRUE @ Affine.translation(0, 4)
    with moved("on the edge of a pixel"):
        assert grid_of(cube.isel(y=slice(None, None, -1))) == TRUE @ Affine.translation(0, 12) @ Affine.scale(1, -1)


def test_the_lower_left_corner_of_ascending_rows_is_told_from_the_top_left_one():
    lower = bare(shift=(0.5, -0.5)).isel(y=slice(None, None, -1)).assign_attrs(transform=TRUE)
    with moved("on the edge of a pixel"):
        assert grid_of(lower) == TRUE @ Affine.translation(0, 6) @ Affine.scale(1, -1)


def test_a_single_axis_may_hold_corners():
    with moved(r"centre, \(600005, 5799995\)"):
        assert grid_of(bare(shift=(0, -0.5)).assign_attrs(transform=TRUE)) == TRUE


def test_points_lie_at_the_transform_and_need_not_move():
    """Where pixels are points, the transform of a program other than GDAL begins at a centre."""
    shifted = TRUE @ Affine.translation(0.5, 0.5)
    assert grid_of(geotransform(bare(), shifted).assign_attrs(AREA_OR_POINT="Point")) == TRUE
    with moved("on the edge"):
        grid_of(geotransform(bare(), shifted).assign_attrs(AREA_OR_POINT="Area"))


def test_a_point_file_of_gdal_has_its_centres_already(tmp_path):
    bare().rio.write_transform(TRUE).rio.to_raster(tmp_path / "p.tif", tags={"AREA_OR_POINT": "Point"})
    cube = rioxarray.open_rasterio(tmp_path / "p.tif")
    assert grid_of(cube) == TRUE
    assert grid_of(rioxarray.open_rasterio(tmp_path / "p.tif", parse_coordinates=False)) == TRUE


def test_stackstac_leaves_a_spec_that_states_the_grid_where_the_transform_is_gone():
    with moved(r"cube.attrs\['spec'\]"):
        assert grid_of(corners().assign_attrs(spec=Spec())) == TRUE


def test_averaged_corners_cannot_be_told_from_every_second_centre_and_are_refused():
    mean = corners().assign_attrs(spec=Spec(), transform=TRUE).coarsen(y=2, x=2).mean(keep_attrs=True)
    with pytest.raises(GridError, match=r"pixels of 20 x -20 .*pixels of 10 x -10"):
        grid_of(mean)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sentle_labels_its_corners(dtype):
    cube = corners(dtype=dtype)
    for dim in ("y", "x"):
        cube[dim].attrs["coord_save_mode"] = "top-left"
    with moved(r"cube\['y'\].attrs\['coord_save_mode'\] and cube\['x'\]"):
        assert grid_of(cube) == TRUE
    with moved("on the edge"):
        assert grid_of(cube.isel(x=slice(2, 7))) == TRUE @ Affine.translation(2, 0)
    cube = bare(dtype=dtype)
    cube["x"].attrs["coord_save_mode"] = cube["y"].attrs["coord_save_mode"] = "center"
    assert grid_of(cube) == TRUE


def cubo(cube, size=8):
    """Attributes of cubo: a centre anywhere in the pixel right of and above the middle, or left of and below."""
    centre = {"central_x": WEST + size * 5 + 4.2, "central_y": NORTH - size * 5 - 3.1}
    return cube.assign_attrs(epsg=32633, resolution=10, edge_size=size, edge_size_m=size * 10, **centre)


def test_cubo_deletes_the_transform_but_its_centre_states_the_grid():
    with moved("of cubo on the edge"):
        assert grid_of(cubo(bare((8, 8), shift=(-0.5, -0.5)))) == TRUE
    assert grid_of(cubo(bare((8, 8)))) == TRUE
    assert grid_of(cubo(bare((8, 8), shift=(0.2, 0.2)))) == TRUE @ Affine.translation(0.2, 0.2)


def test_a_cube_of_cubo_needs_no_crs_by_hand():
    cube = cubo(bare((8, 8))).drop_vars("spatial_ref")
    cube = cube.assign_coords({dim: (dim, cube[dim].values) for dim in ("y", "x")})
    assert open_cube(cube).geobox.crs.epsg == 32633


@pytest.mark.parametrize("where", [{"epsg": 32633}, {"proj:code": "EPSG:32633"}, {"proj:epsg": 32633.0}])
def test_the_crs_may_stand_beside_the_cube(where):
    cube = bare().drop_vars("spatial_ref")
    cube = cube.assign_coords({dim: (dim, cube[dim].values) for dim in ("y", "x")})
    assert open_cube(cube.assign_attrs(where)).geobox.crs.epsg == 32633
    if "epsg" in where:
        assert open_cube(cube.assign_coords(where)).geobox.crs.epsg == 32633


def test_results_are_not_moved_again():
    with moved("on the edge"):
        fine = interpolate(corners().assign_attrs(transform=TRUE, spec=Spec(), resolution=10), scale=2)
    assert not {"transform", "spec", "resolution"} & set(fine.attrs)
    again = interpolate(fine, scale=2)
    assert again.odc.geobox.affine == TRUE @ Affine.scale(0.25)
    assert "xsr_registration" not in again.attrs


@pytest.mark.parametrize("operation", [lambda c: degrade(c, scale=2), lambda c: clip(c, c.odc.geobox.extent)])
def test_every_operation_sees_the_centres(operation):
    with moved("on the edge"):
        out = operation(corners().assign_attrs(transform=TRUE))
    assert (out.odc.geobox.affine.c, out.odc.geobox.affine.f) == (WEST, NORTH)


def test_a_target_of_corners_is_read_the_same_way():
    target = bare((12, 16)).assign_coords(y=NORTH - 5.0 * np.arange(12), x=WEST + 5.0 * np.arange(16))
    target = target.odc.assign_crs(32633).assign_attrs(transform=TRUE @ Affine.scale(0.5))
    with moved("on the edge"):
        assert interpolate(bare(), like=target).odc.geobox.affine == TRUE @ Affine.scale(0.5)


@pytest.mark.slow
def test_a_store_of_corners_holds_centres(tmp_path):
    with moved("on the edge"):
        to_zarr(corners().assign_attrs(transform=TRUE), tmp_path / "a.zarr", progress=False)
    stored = xr.open_zarr(tmp_path / "a.zarr", decode_coords="all")
    assert (stored.y.values[0], stored.x.values[0]) == (NORTH - 5, WEST + 5)
    assert stored.rio.transform() == TRUE
    assert stored.attrs["spatial:transform"] == list(TRUE)[:6]


def test_a_store_of_coordinates_in_single_precision_states_the_fitted_grid(tmp_path):
    gsd, size = 8.983152841195215e-05, 256
    y, x = 50.98 - (np.arange(size) + 0.5) * gsd, 4.41 + (np.arange(size) + 0.5) * gsd
    cube = xr.DataArray(
        np.zeros((size, size), "f4"), dims=("y", "x"), coords={"y": y.astype("f4"), "x": x.astype("f4")}
    ).rio.write_crs(4326)
    to_zarr(cube, tmp_path / "a.zarr", progress=False)
    a, _, c, _, e, f = xr.open_zarr(tmp_path / "a.zarr").attrs["spatial:transform"]
    assert abs(c - 4.41) < 1e-3 * gsd
    assert abs(c + size * a - (4.41 + size * gsd)) < 1e-3 * gsd
    assert abs(f + size * e - (50.98 - size * gsd)) < 1e-3 * gsd


# --- contradictions ------------------------------------------------------------------------------------

OTHERS = {
    "another pixel size": Affine(20, 0, WEST, 0, -20, NORTH),
    "a slightly different one": Affine(10.1, 0, WEST, 0, -10.1, NORTH),
    "a third of a pixel": Affine(10, 0, WEST + 3, 0, -10, NORTH),
    "a whole pixel to the right": Affine(10, 0, WEST + 10, 0, -10, NORTH),
    "another place": Affine(10, 0, WEST + 40_000, 0, -10, NORTH - 70_000),
    "a rotated grid": TRUE @ Affine.rotation(10),
    "one and a half pixels": Affine(10, 0, WEST + 15, 0, -10, NORTH),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
@forms
def test_any_other_contradiction_is_refused_with_both_grids_and_the_way_out(state, other):
    cube = state(bare(), other)
    if "proj:transform" in cube.attrs:
        assert grid_of(cube) == TRUE
        return
    if (other.b or other.a == 20) and "GeoTransform" in cube.coords[
        cube.attrs.get("grid_mapping", "spatial_ref")
    ].attrs:
        return  # coordinates of a rotated grid count its pixels, and a coarser grid may have come along
    with pytest.raises(GridError, match=r"the coordinates give pixels of 10 x -10 from the corner \(600000, 5800000\)"):
        grid_of(cube)


def test_the_grid_mapping_of_a_coarser_array_comes_along_with_its_time():
    low = make_cube((2, 1, 3, 4), gsd=20)
    fine = geotransform(bare()).expand_dims(time=low.time.values).drop_vars("spatial_ref").assign_coords(time=low.time)
    assert fine["spatial_ref"].attrs["GeoTransform"].split()[1] == "20"
    assert grid_of(fine) == TRUE
    with pytest.raises(GridError, match="expected one grid"):
        grid_of(fine.assign_coords(x=fine.x + 3))
    with pytest.raises(GridError, match="expected one grid"):
        grid_of(fine.assign_coords(x=fine.x + 5))


@pytest.mark.parametrize("state", ["six numbers", "GeoZarr"])
def test_the_advice_works(state):
    cube = STATEMENTS[state](bare(), OTHERS["another pixel size"])
    with pytest.raises(GridError, match="expected one grid") as error:
        grid_of(cube)
    exec(str(error.value).split("statement (")[1].split(")")[0], {"cube": cube})
    assert grid_of(cube) == TRUE
    other = STATEMENTS[state](bare(), OTHERS["another pixel size"])
    assert grid_of(other.drop_vars(["y", "x"])) == OTHERS["another pixel size"]


def test_the_advice_drops_all_that_say_the_same():
    other = OTHERS["another pixel size"]
    dataset = bare().assign_attrs(transform=other).to_dataset("band").assign_attrs(transform=other)
    for band in dataset.data_vars.values():
        band.attrs["transform"] = other
    with pytest.raises(GridError, match="expected one grid") as error:
        grid_of(dataset)
    first, second = str(error.value).split("the statement (")[1].split("), or the coordinates")[0].split("; ")
    exec(first, {"cube": dataset})
    exec(second, {"cube": dataset})
    assert grid_of(dataset) == TRUE


@pytest.mark.parametrize("shift", [(-3.3, 6.1), (5.0, -5.0)])
def test_coordinates_that_were_moved_by_a_recorded_shift_stay_where_they_are(shift):
    """The recipe of `register`: one resampling instead of two."""
    date = geotransform(bare()).assign_coords(shift_y_m=shift[0], shift_x_m=shift[1])
    moved = date.assign_coords(x=date.x - date.shift_x_m, y=date.y - date.shift_y_m)
    assert grid_of(date) == TRUE
    assert grid_of(moved).almost_equals(Affine.translation(-shift[1], -shift[0]) @ TRUE, precision=1e-9)
    with pytest.raises(GridError, match="expected one grid"):
        grid_of(moved.assign_coords(x=date.x - 7))


def test_statements_half_a_pixel_apart_are_refused_with_both():
    cube = geotransform(bare(), TRUE @ Affine.translation(0.5, 0.5)).assign_attrs(transform=TRUE)
    with pytest.raises(GridError, match=r"'GeoTransform'\] gives .*'transform'\] .*half a pixel apart"):
        grid_of(cube)


def test_a_stated_size_excludes_what_lies_beyond():
    size = {"spatial:shape": [6, 8]}
    assert grid_of(bare().isel(x=slice(2, 8)).assign_attrs(spatial(**size))).c == WEST + 20
    with pytest.raises(GridError, match="expected one grid"):
        grid_of(bare(shift=(0, 1)).assign_attrs(spatial(**size)))


def test_without_coordinates_a_part_of_a_stated_grid_cannot_be_placed():
    part = bare().assign_attrs(spatial(**{"spatial:shape": [6, 8]})).isel(x=slice(2, 8)).drop_vars(["y", "x"])
    with pytest.raises(GridError, match=r"'x' has no coordinates and 6 pixels; .* is of 8"):
        grid_of(part)


def test_an_unknown_registration_is_refused():
    with pytest.raises(GridError, match=r"registration'\] is 'cell'; expected 'pixel' .* or 'node'"):
        grid_of(bare().assign_attrs(spatial(**{"spatial:registration": "cell"})))


# --- forms of the cube ---------------------------------------------------------------------------------


def test_bands_of_a_dataset_may_each_state_the_grid():
    dataset = corners().to_dataset("band")
    dataset["B02"].attrs["transform"] = TRUE
    with moved(r"cube\['B02'\].attrs\['transform'\]"):
        assert grid_of(dataset) == TRUE
    dataset["B03"].attrs["transform"] = OTHERS["another pixel size"]
    with pytest.raises(GridError, match=r"cube\['B03'\].attrs\['transform'\] gives pixels of 20 x -20"):
        grid_of(dataset)


def test_a_dataset_may_hold_the_transform_as_a_vector():
    dataset = corners().to_dataset("band").assign_coords(transform=("n", np.array(list(TRUE))))
    with moved(r"cube\['transform'\]"):
        assert grid_of(dataset) == TRUE


def test_the_grid_mapping_of_a_netcdf_may_be_a_variable():
    dataset = make_dataset((2, 6, 8)).reset_coords("spatial_ref")
    dataset = dataset.assign_coords(y=dataset.y + 5, x=dataset.x - 5)
    with moved("GeoTransform"):
        assert grid_of(dataset) == TRUE


@pytest.mark.parametrize("shape", [(1, 8), (6, 1), (1, 1)])
def test_a_single_row_or_column_of_corners_takes_its_size_from_the_statement(shape):
    with moved("on the edge"):
        assert grid_of(bare(shape, shift=(-0.5, -0.5)).assign_attrs(transform=TRUE)) == TRUE
    assert grid_of(bare(shape).assign_attrs(transform=TRUE)) == TRUE


@pytest.mark.parametrize("state", ["Affine of stackstac", "GeoTransform", "GeoZarr"])
def test_a_rotated_grid_without_coordinates_is_the_stated_one(state):
    turned = TRUE @ Affine.rotation(30)
    assert grid_of(STATEMENTS[state](bare(), turned).drop_vars(["y", "x"])).almost_equals(turned, precision=1e-9)


def test_a_single_row_of_means_is_as_high_as_its_pixels_are_wide():
    mean = geotransform(bare()).coarsen(y=6, x=2).mean()
    mean = mean.isel(y=[0]).assign_coords(y=("y", [NORTH - 10.0]))
    assert grid_of(mean) == TRUE @ Affine.scale(2)


def test_no_pixel_is_read():
    def forbidden(*_):
        raise AssertionError("computed")

    import dask.array as da

    lazy = da.from_delayed(__import__("dask").delayed(forbidden)(), (2, 6, 8), np.float32)
    cube = bare().copy(data=lazy).assign_attrs(transform=TRUE)
    assert grid_of(cube) == TRUE


def test_stackstac_itself_is_placed_right(tmp_path):
    stackstac = pytest.importorskip("stackstac")
    import catalogs

    item = catalogs.make_item(tmp_path, day="2024-06-15")
    plain = item if isinstance(item, dict) else item.to_dict()
    for asset in plain["assets"].values():
        asset["href"] = str(tmp_path / asset["href"]) if not asset["href"].startswith("/") else asset["href"]
    truth = rioxarray.open_rasterio(plain["assets"]["B02"]["href"]).odc.geobox
    box = truth.boundingbox
    options = {"assets": ["B02"], "epsg": truth.crs.epsg, "resolution": 10, "snap_bounds": False}
    options["bounds"] = (box.left, box.bottom, box.right, box.top)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        top, centre = (stackstac.stack([plain], xy_coords=xy, **options) for xy in ("topleft", "center"))
    with moved("on the edge"):
        assert grid_of(top) == truth.affine
    assert grid_of(centre) == truth.affine
