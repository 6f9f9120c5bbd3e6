import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from helpers import NORTH, WEST, make_cube, make_dataset, make_geobox

import xsr
from xsr.core.cube import open_cube
from xsr.core.errors import BandError, CubeError, GridError
from xsr.operations.interpolate import interpolate
from xsr.operations.store import to_zarr
from xsr.testing import assert_same_grid


def twice(cube, **options):
    return interpolate(cube, scale=2, **options)


def without_crs(cube):
    """Cube of the same coordinates that says nothing about their CRS."""
    cube = cube.drop_vars("spatial_ref")
    return cube.assign_coords({dim: (dim, cube[dim].values) for dim in ("y", "x")})


def broken(dim, at, value, size=6):
    """Cube with one coordinate moved."""
    cube = make_cube((1, size, size))
    coord = cube[dim].values.copy()
    coord[at] = value
    return cube.assign_coords({dim: (dim, coord)})


# --- what is accepted ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "bands", "sizes"),
    [
        ((5, 4), ("band_1",), (1, 1, 5, 4)),
        ((3, 5, 4), ("B02", "B03", "B04"), (1, 3, 5, 4)),
        ((2, 3, 5, 4), ("B02", "B03", "B04"), (2, 3, 5, 4)),
    ],
)
def test_every_form_becomes_time_band_y_x_in_float32(shape, bands, sizes):
    given = make_cube(shape)
    cube = open_cube(given)
    assert cube.data.dims == ("time", "band", "y", "x")
    assert cube.data.shape == sizes
    assert cube.data.dtype == np.float32
    assert cube.bands == bands
    assert np.array_equal(cube.data.values.reshape(shape), given.values)


def test_any_order_of_dimensions_is_put_right():
    given = make_cube((2, 3, 5, 4))
    cube = open_cube(given.transpose("y", "x", "time", "band"))
    assert np.array_equal(cube.data.values, given.values)


def test_a_dataset_becomes_the_same_cube_as_the_array():
    given = make_cube((2, 3, 5, 4))
    cube = open_cube(given.to_dataset("band"))
    assert cube.bands == ("B02", "B03", "B04")
    assert np.array_equal(cube.data.values, given.values)


def test_bands_without_names_are_numbered_and_a_single_one_is_called_after_the_array():
    assert open_cube(make_cube((2, 4, 4)).drop_vars("band")).bands == ("band_1", "band_2")
    assert open_cube(make_cube((4, 4)).rename("ndvi")).bands == ("ndvi",)


def test_bands_are_selected_by_any_alias_in_the_order_given():
    given = make_cube((3, 4, 4))
    cube = open_cube(given, bands=["red", "b2"])
    assert cube.bands == ("B04", "B02")
    assert np.array_equal(cube.data.values[0], given.values[[2, 0]])
    assert open_cube(given.to_dataset("band"), bands=["red", "b2"]).bands == ("B04", "B02")


@pytest.mark.parametrize("chunks", [None, {"y": 16}])
def test_images_of_a_dataset_lie_in_one_piece(chunks):
    dataset = make_dataset((2, 3, 16, 20), chunks=chunks)
    values = np.asarray(open_cube(dataset).data.data)
    assert values.shape == (2, 3, 16, 20)
    assert all(image.flags.c_contiguous for date in values for image in date)


def test_a_dataset_with_an_undecodable_variable_opens_when_bands_leave_it_out():
    dataset = make_dataset((2, 4, 4)).assign(DEM=(("y", "x"), np.ones((4, 4), "uint8")))
    with pytest.raises(CubeError, match=r"variable 'DEM' holds uint8 without a scale.*or drop the variable"):
        open_cube(dataset)
    assert open_cube(dataset, bands=["B02"]).bands == ("B02",)


def test_jitter_of_a_thousandth_of_a_pixel_is_forgiven():
    assert open_cube(broken("x", 3, WEST + 35 + 0.005)).data.shape == (1, 1, 6, 6)


def test_a_crs_without_a_crs_variable_of_the_usual_name_is_found():
    given = without_crs(make_cube((2, 4, 4))).rio.write_crs("EPSG:32633", grid_mapping_name="crs")
    assert open_cube(given).geobox.crs == "EPSG:32633"


# --- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("thing", [np.zeros((4, 4)), None, xr.Variable("x", [1])])
def test_other_things_are_refused(thing):
    with pytest.raises(CubeError, match=r"expected an xarray DataArray or Dataset"):
        open_cube(thing)


def test_the_way_from_a_tree_to_its_cube_is_said_and_works():
    dataset = make_dataset((2, 4, 4))
    tree = xr.DataTree.from_dict({"/r10m": dataset})
    with pytest.raises(CubeError, match=r"got DataTree; .*: xsr\.open\(tree\)\."):
        xsr.degrade(tree, scale=2)
    assert xsr.degrade(xsr.open(tree), scale=2).equals(xsr.degrade(dataset, scale=2))


def test_a_missing_crs_is_refused():
    with pytest.raises(GridError, match=r"the cube has no CRS; .*Assign one with .odc.assign_crs"):
        open_cube(without_crs(make_cube((2, 4, 4))))


@pytest.mark.parametrize(
    ("dim", "at", "value", "message"),
    [
        ("x", 3, WEST + 36, r"'x' is irregular: 600036.0 at index 3 lies 0.1 px off a regular grid of step 10;"),
        ("y", 1, NORTH - 15.2, r"'y' is irregular: 5799984.8 at index 1 lies 0.02 px off a regular grid of step -10;"),
        ("x", 3, WEST + 25, r"'x' repeats 600025.0 at index 2; expected unique"),
        ("y", 5, NORTH - 45, r"'y' repeats 5799955.0 at index 4; expected unique"),
        ("x", 1, WEST + 5, r"'x' repeats 600005.0 at index 0; expected unique"),
        ("y", 1, NORTH - 5, r"'y' repeats 5799995.0 at index 0; expected unique"),
        ("x", 3, WEST + 3, r"'x' turns at index 2 \(600025.0, 600003.0\); expected monotonic"),
        ("y", 5, NORTH, r"'y' turns at index 4 \(5799955.0, 5800000.0\); expected monotonic"),
        ("x", 2, np.nan, r"'x' turns at index 1 \(600015.0, nan\); expected monotonic"),
    ],
)
def test_a_bad_coordinate_is_refused_with_its_numbers(dim, at, value, message):
    with pytest.raises(GridError, match=message):
        open_cube(broken(dim, at, value))


def test_descending_x_is_refused_with_the_remedy():
    with pytest.raises(GridError, match=r"'x' descends; expected ascending coordinates. Use .sortby\('x'\)"):
        open_cube(make_cube((1, 4, 4)).isel(x=slice(None, None, -1)))


@pytest.mark.parametrize("dim", ["y", "x"])
def test_a_dimension_without_coordinates_is_refused(dim):
    with pytest.raises(GridError, match=rf"dimension '{dim}' has no coordinates; expected pixel centres"):
        open_cube(make_cube((1, 4, 4)).drop_vars([dim, "spatial_ref"]))


def test_a_cube_without_spatial_dimensions_is_refused():
    with pytest.raises(CubeError, match=r"no spatial dimensions among \['row', 'col'\]; expected y and x"):
        open_cube(xr.DataArray(np.zeros((3, 3), "f4"), dims=("row", "col")))


@pytest.mark.parametrize("empty", [{"time": []}, {"band": []}])
def test_an_empty_cube_is_refused(empty):
    with pytest.raises(CubeError, match=rf"the cube is empty: .*'{next(iter(empty))}': 0"):
        open_cube(make_cube((2, 2, 4, 4)).isel(empty))


@pytest.mark.parametrize("empty", [{"y": []}, {"x": []}])
def test_a_cube_without_pixels_is_refused(empty):
    with pytest.raises(CubeError, match=r"the cube is empty"):
        open_cube(make_cube((2, 2, 4, 4)).isel(empty))


def test_an_extra_dimension_is_refused_by_name():
    with pytest.raises(CubeError, match=r"dimension\(s\) \['member'\] found.*Select or reduce them first"):
        open_cube(make_cube((2, 4, 4)).expand_dims(member=3))


def test_integers_without_a_scale_are_refused():
    with pytest.raises(CubeError, match=r"the cube holds uint16 without a scale"):
        open_cube(make_cube(np.ones((2, 4, 4), "uint16")))


def test_strings_are_refused():
    with pytest.raises(CubeError, match=r"dtype <U1; expected integers or floats"):
        open_cube(make_cube(np.full((2, 4, 4), "a")))


@pytest.mark.parametrize("bands", [["B02", "B02"], ["B02", "blue"], ["B8", "nir"]])
def test_bands_that_name_one_band_twice_are_refused(bands):
    with pytest.raises(BandError, match=r"name a band twice; expected unique bands"):
        open_cube(make_cube((2, 4, 4), bands=bands))


@pytest.mark.parametrize("bands", [["B02", "B02"], ["B02", "blue"]])
def test_a_band_cannot_be_asked_for_twice(bands):
    with pytest.raises(BandError, match=r"names a band twice"):
        open_cube(make_cube((2, 4, 4)), bands=bands)


@pytest.mark.parametrize(
    ("bands", "named"), [(["B02", "B12"], r"\['B12'\]"), (["thermal"], r"\['thermal'\]"), ([], "none")]
)
def test_a_missing_band_is_named_with_the_bands_there_are(bands, named):
    with pytest.raises(BandError, match=rf"bands {named} requested; the cube has \['B02', 'B03'\]"):
        open_cube(make_cube((2, 4, 4)), bands=bands)


def test_a_dataset_without_the_bands_is_refused():
    with pytest.raises(BandError, match=r"no band variables \['B12'\]"):
        open_cube(make_dataset((2, 4, 4)), bands=["B12"])
    with pytest.raises(BandError, match=r"\['B12'\] requested; the cube has \['B02'\]"):
        open_cube(make_dataset((2, 4, 4)), bands=["B02", "B12"])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_a_single_row_or_column_needs_a_geotransform(shape):
    cube = make_cube((2, *shape))
    assert twice(cube).shape == (2, 2 * shape[0], 2 * shape[1])
    bare = cube.copy()
    del bare["spatial_ref"].attrs["GeoTransform"]
    with pytest.raises(GridError, match=r"no pixel size .*keep the GeoTransform of spatial_ref"):
        twice(bare)


# --- container in, container out -----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 6), (2, 4, 6), (1, 4, 6), (2, 3, 4, 6), (1, 1, 4, 6)])
def test_an_array_comes_back_with_its_dimensions_names_and_coordinates(shape):
    given = make_cube(shape).rename("reflectance").assign_attrs(units="1", author="me")
    out = twice(given)
    assert isinstance(out, xr.DataArray)
    assert out.dims == given.dims
    assert out.shape == (*shape[:-2], 8, 12)
    assert out.name == "reflectance"
    assert out.attrs["author"] == "me"
    for name in set(given.coords) - {"y", "x", "spatial_ref"}:
        assert out[name].variable.identical(given[name].variable)


def test_a_dataset_comes_back_as_a_dataset_of_the_same_bands():
    given = make_dataset((2, 3, 4, 6)).assign_attrs(title="scene")
    given["B03"].attrs["wavelength"] = 560
    out = twice(given)
    assert isinstance(out, xr.Dataset)
    assert list(out.data_vars) == ["B02", "B03", "B04"]
    assert out["B03"].dims == ("time", "y", "x")
    assert out["B03"].attrs == {"wavelength": 560}
    assert out.attrs["title"] == "scene"
    stacked = twice(make_cube((2, 3, 4, 6)))
    for name in out.data_vars:
        assert np.array_equal(out[name], stacked.sel(band=name))


def test_variables_that_are_not_bands_are_handed_through():
    given = make_dataset((2, 2, 4, 6)).assign(cloud_cover=("time", [3.0, 80.0]), orbit=7)
    out = twice(given)
    assert list(out.data_vars) == ["B02", "B03", "cloud_cover", "orbit"]
    assert out["cloud_cover"].equals(given["cloud_cover"])
    assert out["orbit"].item() == 7
    assert_same_grid(out, twice(make_cube((2, 2, 4, 6))))


def test_a_per_time_variable_does_not_give_bands_without_time_a_time():
    given = make_dataset((2, 4, 6)).assign(cloud_cover=("time", [1.0, 2.0, 3.0]))
    out = twice(given)
    assert out["B02"].dims == ("y", "x")
    assert out["cloud_cover"].values.tolist() == [1.0, 2.0, 3.0]


def test_scalar_and_extra_coordinates_are_kept():
    given = make_cube((2, 3, 4, 6)).assign_coords(
        wavelength=("band", [490.0, 560.0, 665.0]), sun=("time", [30.0, 40.0]), tile="33UUU"
    )
    out = twice(given)
    assert out["wavelength"].values.tolist() == [490.0, 560.0, 665.0]
    assert out["sun"].values.tolist() == [30.0, 40.0]
    assert out["tile"].item() == "33UUU"
    chosen = given.isel(time=1, band=2)
    out = twice(chosen)
    assert out.dims == ("y", "x")
    assert (out["band"].item(), out["sun"].item(), out["wavelength"].item()) == ("B04", 40.0, 665.0)
    assert out["time"].values == chosen["time"].values


def test_the_scalar_time_of_a_dataset_is_kept():
    given = make_dataset((2, 2, 4, 6)).isel(time=1)
    out = twice(given)
    assert out["B02"].dims == ("y", "x")
    assert out["time"].values == given["time"].values


def test_coordinates_over_pixels_do_not_survive_a_change_of_grid():
    given = make_cube((2, 4, 6)).assign_coords(lat=(("y", "x"), np.zeros((4, 6))), line=("y", np.arange(4)))
    assert {"lat", "line"}.isdisjoint(twice(given).coords)


def test_attributes_of_the_input_grid_and_packing_are_dropped():
    stale = {
        "transform": (10.0, 0, 0),
        "res": (10.0, 10.0),
        "crs": "+init=epsg:32633",
        "nodatavals": (0,),
        "scales": (1,),
    }
    given = make_cube(np.ones((2, 4, 6), "uint16")).assign_attrs(
        stale, offsets=(0,), grid_mapping="spatial_ref", scale_factor=1e-4, add_offset=0.0, _FillValue=0, kept=1
    )
    out = twice(given)
    assert {name for name in out.attrs if not name.startswith("xsr_")} == {"kept"}
    dataset = given.to_dataset("band")
    for band in dataset.data_vars.values():
        band.attrs = dict(given.attrs)
    dataset = twice(dataset)
    assert dataset["B02"].attrs == {"kept": 1}


def test_the_grid_mapping_of_the_input_is_replaced_whatever_its_name():
    given = without_crs(make_cube((2, 4, 6)))
    given = given.rio.write_crs("EPSG:32633", grid_mapping_name="crs").rio.write_transform(grid_mapping_name="crs")
    out = twice(given)
    assert "crs" not in out.coords
    assert out.encoding["grid_mapping"] == "spatial_ref"
    assert out.odc.geobox.resolution.xy == (5, -5)
    dataset = given.to_dataset("band").reset_coords("crs")
    assert "crs" not in twice(dataset).variables


def test_the_input_is_left_alone():
    given = make_cube((2, 2, 4, 6)).assign_attrs(note="x")
    before = given.copy(deep=True)
    twice(given)
    assert given.identical(before)
    assert given.encoding == before.encoding


def test_provenance_is_added():
    out = twice(make_cube((2, 4, 6)), method="bilinear")
    assert out.attrs["xsr_operation"] == "interpolate:bilinear"
    assert out.attrs["xsr_scale"] == [2.0, 2.0]
    assert out.attrs["xsr_version"]


# --- orientation and names of the axes -------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_cube, make_dataset])
def test_ascending_y_gives_the_same_pixels_in_ascending_order(make):
    given = make((2, 2, 4, 6))
    down, up = twice(given), twice(given.isel(y=slice(None, None, -1)))
    assert up["y"].values.tolist() == down["y"].values[::-1].tolist()
    assert up.isel(y=slice(None, None, -1)).drop_vars("spatial_ref").equals(down.drop_vars("spatial_ref"))
    assert up.odc.geobox == down.odc.geobox.flipy()


@pytest.mark.parametrize("up", [False, True], ids=["cube descends", "cube ascends"])
@pytest.mark.parametrize("step", [-5, 5], ids=["like descends", "like ascends"])
def test_like_says_which_way_y_runs(up, step):
    given = make_cube((2, 8, 8))
    north = NORTH - 10 if step < 0 else NORTH - 70
    like = make_cube((12, 12), affine=Affine(5, 0, WEST + 10, 0, step, north))
    out = interpolate(given.isel(y=slice(None, None, -1)) if up else given, like=like, method="nearest")
    assert_same_grid(out, like)
    nearest = given.sel(y=like.y, x=like.x, method="nearest")
    assert np.array_equal(out, nearest)


@pytest.mark.parametrize("names", [("latitude", "longitude"), ("lat", "lon"), ("y", "x")])
def test_dimensions_keep_their_names(names):
    given = make_cube((2, 4, 6), crs="EPSG:4326", affine=Affine(1e-4, 0, 13, 0, -1e-4, 52))
    given = given.rename(dict(zip(("latitude", "longitude"), names, strict=True))) if names[0] != "latitude" else given
    out = twice(given)
    assert out.dims == ("band", *names)
    assert out[names[0]].values[0] == pytest.approx(52 - 0.25e-4, abs=1e-12)
    assert out.odc.geobox.crs == "EPSG:4326"


def test_a_rotated_grid_is_refined_in_place():
    turned = Affine.translation(WEST, NORTH) @ Affine.rotation(30) @ Affine.scale(10, -10)
    given = make_cube((2, 4, 6), affine=turned)
    out = twice(given, method="nearest")
    assert out.odc.geobox.affine.almost_equals(turned @ Affine.scale(0.5), precision=1e-6)
    assert np.array_equal(out, given.values.repeat(2, axis=1).repeat(2, axis=2))


def test_a_result_forgets_the_grid_and_store_of_its_input(tmp_path):
    low = make_dataset((2, 12, 10)).chunk()
    to_zarr(interpolate(low, scale=2), tmp_path / "a.zarr", progress=False)
    again = interpolate(xr.open_zarr(tmp_path / "a.zarr"), scale=1.5, method="nearest")
    attrs = set(again.attrs).union(*(variable.attrs for variable in again.data_vars.values()))
    assert not {"_CRS", "xsr", "zarr_conventions", "spatial:transform", "proj:code"} & attrs
    assert again.attrs["xsr_operation"] == "interpolate:nearest"
    assert again.attrs["xsr_input"] == "a.zarr"


def test_dataset_of_a_stacked_variable_is_refused_with_the_way_out():
    stacked = make_cube((2, 6, 6)).rename("reflectance").to_dataset()
    with pytest.raises(CubeError, match=r"ds\['reflectance'\]"):
        twice(stacked)


def test_bands_of_different_dims_are_refused():
    cube = make_dataset((2, 2, 6, 6), times=["2024-01-01", "2024-02-01"])
    second = list(cube.data_vars)[1]
    cube[second] = cube[second].isel(time=0, drop=True)
    with pytest.raises(CubeError, match=f"{second!r} has dims .*expected the same for every band"):
        twice(cube)


def test_band_labels_of_any_type_come_back():
    cube = make_cube((3, 6, 6)).assign_coords(band=[1, 2, 3]).to_dataset("band")
    assert list(twice(cube).data_vars) == [1, 2, 3]
    assert list(twice(make_cube((3, 6, 6)).assign_coords(band=[1, 2, 3]), bands=[3, 1])["band"].values) == [3, 1]


def test_a_single_band_may_be_named_without_a_list():
    assert twice(make_cube((2, 6, 6), bands=["B02", "B03"]), bands="blue").sizes["band"] == 1


def test_coordinates_rounded_to_float32_are_regular():
    cube = make_cube((1, 200, 200), gsd=1e-4, crs="EPSG:4326", affine=Affine(1e-4, 0, 13.0, 0, -1e-4, 52.0))
    y, x = cube.odc.spatial_dims
    rounded = cube.assign_coords({dim: (dim, cube[dim].values.astype(np.float32)) for dim in (y, x)})
    assert twice(rounded.odc.assign_crs("EPSG:4326")).sizes[x] == 400


def test_text_coordinates_and_unknown_chunks_are_refused():
    cube = make_cube((1, 4, 4))
    with pytest.raises(GridError, match="expected numbers"):
        twice(cube.assign_coords(y=("y", list("dcba"))))
    lazy = make_cube((1, 4, 4)).chunk()
    unknown = lazy.copy()
    unknown.data._chunks = ((1,), (float("nan"),), (4,))
    with pytest.raises(CubeError, match="unknown size"):
        twice(unknown)


def test_blocks_of_an_ascending_cube_are_whole_chunks(tmp_path):
    cube = make_cube((1, 60, 20)).isel(y=slice(None, None, -1)).chunk()
    fine = twice(cube, chunks=50)
    assert fine.chunks[1] == (50, 50, 20)
    to_zarr(fine.rename("r"), tmp_path / "a.zarr", progress=False)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr")["r"].values, fine.values)


def test_what_described_the_stored_numbers_is_dropped():
    dn = make_cube((1, 6, 6)).astype(np.uint16)
    dn.attrs = {"scale_factor": 1e-4, "valid_range": [0, 10000], "STATISTICS_MAXIMUM": 9999, "gsd": 10, "author": "me"}
    assert set(twice(dn).attrs) & set(dn.attrs) == {"author"}


# --- what the cube knows about its pixels --------------------------------------------------------------------


def test_pixels_measure_the_same_on_the_ground_whatever_the_map():
    """A metre of Web Mercator at 60 degrees north is half a metre on the ground, up to the flattening."""
    height = 8_399_737.9
    mercator = make_cube((1, 4, 4), crs="EPSG:3857", affine=Affine(20, 0, 0, 0, -20, height))
    assert open_cube(mercator).pixel_m == pytest.approx((10.0, 10.0), rel=5e-3)
    assert open_cube(make_cube((1, 4, 4))).pixel_m == (10.0, 10.0)


@pytest.mark.parametrize("ascends", [False, True])
def test_blocks_of_a_cube_whose_y_ascends_begin_with_the_short_one(ascends):
    cube = make_cube((1, 10, 10))
    opened = open_cube(cube.isel(y=slice(None, None, -1)) if ascends else cube)
    assert opened.block_sizes((10, 10), (4, 4)) == (((2, 4, 4) if ascends else (4, 4, 2)), (4, 4, 2))
    assert opened.towards(make_geobox((10, 10))).block_sizes((10, 10), (4, 4)) == ((4, 4, 2), (4, 4, 2))
    np.testing.assert_array_equal(opened.turned(opened.data)["y"], opened.original["y"])
