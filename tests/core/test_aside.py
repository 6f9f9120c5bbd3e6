import numpy as np
import pytest
import xarray as xr
from affine import Affine
from fuzzing import examples
from helpers import NORTH, WEST, make_cube, make_geobox
from hypothesis import given, settings
from hypothesis import strategies as st

from xsr.core.aside import nearest
from xsr.core.cube import open_cube
from xsr.core.errors import BandError, GridError, XsrWarning
from xsr.core.types import XarrayObject
from xsr.operations.store import to_zarr
from xsr.testing import assert_lazy

SHAPE = (2, 2, 7, 9)
CLASSES = np.arange(2 * 7 * 9, dtype=np.uint8).reshape(2, 7, 9) % 12


def with_classes(*, chunks=None, turned=False) -> xr.Dataset:
    cube = make_cube(SHAPE).to_dataset("band")
    cube = cube.assign(SCL=(("time", "y", "x"), CLASSES, {"long_name": "classes", "nodata": 0}))
    cube = cube.isel(y=slice(None, None, -1)) if turned else cube
    return cube if chunks is None else cube.chunk(chunks)


def repeated(scale, size):
    """Place in the input of the centre of each output pixel, from the definition of the grid."""
    count = int(np.floor(size * scale + 1e-6))
    return np.floor((np.arange(count) + 0.5) / scale + 1e-9).astype(int)


@pytest.mark.slow
@examples(8)
@given(scale=st.sampled_from([1.0, 1.3, 2.0, 3.4, 4.0]), turned=st.booleans(), y=st.integers(2, 7), x=st.integers(2, 9))
def test_classes_go_to_a_finer_grid_by_nearest_pixels_and_keep_their_type(scale, turned, y, x):
    cube = with_classes(turned=turned)
    expected = CLASSES[:, repeated(scale, 7)][:, :, repeated(scale, 9)]
    lazy = cube.chunk({"y": y, "x": x})
    with assert_lazy(lazy):
        planned = lazy.sr.interpolate(scale=scale, chunks=5)
    for out in (cube.sr.interpolate(scale=scale), planned):
        scl = out["SCL"].isel(y=slice(None, None, -1)) if turned else out["SCL"]
        assert list(out.data_vars) == ["B02", "B03", "SCL"]
        assert scl.dtype == np.uint8
        assert scl.attrs.items() >= {"long_name": "classes", "nodata": 0}.items()
        assert scl.attrs.get("xsr_resampled", "") == ("nearest" if scale > 1 else "")
        np.testing.assert_array_equal(scl, expected)
    assert planned["SCL"].chunks == planned["B02"].chunks


def test_classes_are_decimated_where_the_grid_is_coarser():
    out = with_classes().sr.degrade(scale=3, mtf=0.3)
    np.testing.assert_array_equal(out["SCL"], CLASSES[:, 1:6:3, 1::3])


def test_units_are_not_those_of_classes():
    cube = with_classes()
    numbers = cube.assign({name: (cube[name] * 10000).astype(np.uint16) for name in ("B02", "B03")})
    np.testing.assert_array_equal(numbers.sr.interpolate(scale=1, units="dn10000-1000")["SCL"], CLASSES)


def test_a_band_of_classes_comes_out_as_a_coordinate():
    stacked = with_classes().to_dataarray("band").transpose("time", "band", "y", "x")
    out = stacked.sr.interpolate(scale=2)
    assert out["band"].values.tolist() == ["B02", "B03"]
    np.testing.assert_array_equal(out["SCL"], CLASSES.repeat(2, axis=1).repeat(2, axis=2))
    single = stacked.isel(time=0).sr.interpolate(scale=2)
    assert single["SCL"].dims == ("y", "x")


def test_coordinates_of_classes_come_along():
    cube = make_cube(SHAPE).assign_coords(valid=(("y", "x"), CLASSES[0] > 3), scl=(("time", "y", "x"), CLASSES))
    out = cube.sr.interpolate(scale=2)
    np.testing.assert_array_equal(out["valid"], (CLASSES[0] > 3).repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(out["scl"], CLASSES.repeat(2, axis=1).repeat(2, axis=2))


@pytest.mark.slow
def test_a_network_takes_the_bands_and_leaves_the_classes():
    out = with_classes().sr.liif(scale=2)
    assert list(out.data_vars) == ["B02", "B03", "SCL"]
    assert set(np.unique(out["SCL"])) == set(np.unique(CLASSES))


@pytest.mark.parametrize("given", [with_classes(), with_classes().drop_vars("SCL")])
def test_classes_do_not_change_the_bands(given: XarrayObject):
    bare = with_classes().drop_vars("SCL").sr.interpolate(scale=1.7)
    np.testing.assert_array_equal(given.sr.interpolate(scale=1.7)["B03"], bare["B03"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Use .* matmul:PendingDeprecationWarning")  # odc-geo
def test_classes_that_cannot_follow_are_left_out_with_one_warning():
    cube = with_classes()
    box = cube.odc.geobox.to_crs("EPSG:32634")
    with pytest.warns(XsrWarning, match="SCL: classes left out, since the result is not parallel") as caught:
        out = cube.sr.interpolate(like=box)
    assert [one.category for one in caught if one.category is XsrWarning] == [XsrWarning]
    assert "SCL" not in out
    with pytest.warns(XsrWarning, match="SCL: classes left out, since they belong to the dates of the cube"):
        cube.sr.interpolate(scale=2, t="2024-06-01T12")
    with pytest.warns(XsrWarning, match="since the result is points"):
        cube.sr.sample(x=[WEST + 30], y=[NORTH - 30])


def test_pixels_outside_the_cube_take_the_fill_of_the_classes():
    rows, cols = nearest(make_geobox((4, 4)), make_geobox((6, 6), affine=Affine(10, 0, WEST - 10, 0, -10, NORTH + 10)))
    assert rows.tolist() == cols.tolist() == [-1, 0, 1, 2, 3, 4]
    cube = with_classes()
    box = make_geobox((7, 9), affine=Affine(10, 0, WEST - 20, 0, -10, NORTH))
    out = cube.sr.interpolate(like=box)["SCL"]
    np.testing.assert_array_equal(out[..., 2:], CLASSES[..., :-2])
    assert not out[..., :2].any()
    assert out.dtype == np.uint8


@pytest.mark.slow
def test_the_result_survives_zarr(tmp_path):
    out = with_classes(chunks={"y": 4}).sr.interpolate(scale=2, chunks=5)
    to_zarr(out, tmp_path / "a.zarr", progress=False)
    back = xr.open_zarr(tmp_path / "a.zarr")
    assert back["SCL"].dtype == np.uint8
    np.testing.assert_array_equal(back["SCL"], out["SCL"])


def test_classes_are_no_bands():
    with pytest.raises(BandError, match=r"bands names 'SCL', which holds classes.*mask_clouds\(mask='SCL'\)"):
        open_cube(with_classes(), bands=["B02", "SCL"])
    with pytest.raises(BandError, match=r"nothing but classes, \['SCL'\]"):
        open_cube(with_classes()[["SCL"]])
    with pytest.raises(BandError, match=r"nothing but classes, \['SCL'\]"):
        open_cube(with_classes()["SCL"])
    assert open_cube(with_classes(), bands="B03").bands == ("B03",)


def land_cover(**options) -> xr.DataArray:
    flags = {"flag_values": np.array([1, 2, 3], np.int16), "flag_meanings": "forest water town"}
    classes = with_classes()["SCL"].astype(np.int16).assign_attrs(flags).rename(options.get("name", "land_cover"))
    classes.encoding["_FillValue"] = np.int16(-1)
    return classes


@settings(max_examples=8, deadline=None)
@given(scale=st.sampled_from([1.3, 2.0, 3.4]), y=st.integers(2, 7), x=st.integers(2, 9))
def test_classes_alone_are_brought_to_a_finer_grid_by_nearest_pixels(scale, y, x):
    classes = land_cover()
    with assert_lazy(lazy := classes.chunk(y=y, x=x)):
        planned = lazy.sr.interpolate(scale=scale, method="nearest", chunks=6)
    for out in (classes.sr.interpolate(scale=scale, method="nearest"), planned):
        assert out.dtype == np.int16
        assert out.dims == classes.dims
        assert out.name == "land_cover"
        assert out.attrs["flag_meanings"] == "forest water town"
        assert out.attrs["xsr_operation"] == "interpolate:nearest"
        assert out.encoding["_FillValue"] == -1
        assert out.odc.crs == classes.odc.crs
        np.testing.assert_array_equal(out, CLASSES[:, repeated(scale, 7)][:, :, repeated(scale, 9)])


@pytest.mark.filterwarnings("ignore:Use .* matmul:PendingDeprecationWarning")  # odc-geo
def test_maps_of_classes_in_other_containers_keep_their_form():
    classes = land_cover()
    both = xr.Dataset({"land_cover": classes, "cloud_mask": classes > 2})
    out = both.sr.interpolate(scale=2, method="nearest")
    assert {name: one.dtype.kind for name, one in out.data_vars.items()} == {"land_cover": "i", "cloud_mask": "b"}
    one = classes.isel(time=0, drop=True).expand_dims(band=[1]).rename(None)
    assert one.sr.interpolate(scale=2, method="nearest").shape == (1, 14, 18)
    beyond = make_geobox((7, 9), affine=Affine(10, 0, WEST - 20, 0, -10, NORTH))
    moved = classes.sr.interpolate(like=beyond, method="nearest")
    assert (moved[..., :2] == -1).all()  # the fill of the encoding
    elsewhere = classes.odc.geobox.to_crs("EPSG:32634")
    with pytest.warns(XsrWarning), pytest.raises(GridError, match=r"\['land_cover'\] cannot follow.*reproject"):
        classes.sr.interpolate(like=elsewhere, method="nearest")


@pytest.mark.parametrize("method", ["liif", "interpolate"])
def test_classes_alone_are_refused_where_they_would_be_numbers(method):
    for classes in (land_cover(), land_cover(name=None), land_cover().isel(time=0).expand_dims(band=[1])):
        with pytest.raises(BandError, match=r"nothing but classes.*interpolate\(method='nearest'\)"):
            getattr(classes.sr, method)(scale=2)


@pytest.mark.slow
def test_layers_among_the_coordinates_are_written_block_by_block(tmp_path):
    cube = make_cube(SHAPE).assign_coords(scl=(("time", "y", "x"), CLASSES)).chunk({"y": 4})
    out = cube.sr.interpolate(scale=2, chunks=6)
    report = to_zarr(out, tmp_path / "a.zarr", progress=False)
    assert report.blocks == 2 * out.data.npartitions == 2 * out["scl"].data.npartitions
    assert report.valid == out.size
    back = xr.open_zarr(tmp_path / "a.zarr", decode_coords="all")
    assert "scl" in back.coords
    assert back["scl"].dtype == np.uint8
    np.testing.assert_array_equal(back["scl"], out["scl"])
