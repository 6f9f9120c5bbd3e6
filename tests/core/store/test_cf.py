"""Attributes and encodings that state a stored form: what users read before is what they read afterwards."""

import warnings

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from models.helpers import make_cube
from rasterio.transform import from_origin

import xsr
from xsr.core.errors import CubeError, StoreError
from xsr.core.store.cf import settled

QUIET = {"progress": False}
FILL = {"uint16": 0, "int16": -9999, "uint8": 255, "float32": -9999.0, "float64": -3.4028234663852886e38}


def numbers(dtype):
    """Two bands of 12 x 14 pixels from 1 to 200, a corner without data."""
    made = np.random.default_rng(1).integers(1, 200, (2, 12, 14)).astype(dtype)
    made[:, :4, :5] = FILL[dtype]
    return made


def geotiff(path, dtype, **packing):
    form = {"height": 12, "width": 14, "count": 2, "dtype": dtype, "nodata": FILL[dtype]}
    place = {"crs": "EPSG:32631", "transform": from_origin(5e5, 5e6, 10, 10)}
    with rasterio.open(path, "w", driver="GTiff", **form, **place) as file:
        file.write(numbers(dtype))
        file.scales, file.offsets = packing.get("scales", (1, 1)), packing.get("offsets", (0, 0))
    return path


def opened(path, how):
    if how == "xsr":
        return xsr.open(path)
    return rioxarray.open_rasterio(path, **{how: True})


def stored(cube, path, **how):
    """Variable as users read it from a store that holds."""
    assert xsr.to_zarr(cube.chunk(x=8, y=8), path, **how, **QUIET).path
    assert xsr.verify(path).ok
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_zarr(path)["reflectance" if cube.name is None else cube.name].load()


@pytest.mark.parametrize("how", ["xsr", "masked", "mask_and_scale"])
@pytest.mark.parametrize(("dtype", "zarr_format"), [*zip(FILL, (2, 3, 3, 2, 3), strict=True)])
def test_no_data_of_a_geotiff_is_read_as_nan(tmp_path, dtype, how, zarr_format):
    cube = opened(geotiff(tmp_path / "a.tif", dtype), how)
    found = stored(cube, tmp_path / "a.zarr", zarr_format=zarr_format)
    given = numbers(dtype)
    np.testing.assert_array_equal(found, np.where(given == given.dtype.type(FILL[dtype]), np.nan, given))
    store = xr.open_zarr(tmp_path / "a.zarr", mask_and_scale=False)
    raw = store["reflectance"]
    assert raw.dtype == cube.dtype
    assert "scale_factor" not in raw.attrs
    assert not {"_FillValue", "scale_factor"} & set(store.attrs)
    if cube.dtype.kind in "iu":  # the type stays, and what it states
        np.testing.assert_array_equal(raw, given)
        assert raw.attrs["_FillValue"] == found.rio.encoded_nodata == FILL[dtype]


def test_valid_pixels_are_those_that_are_not_stated_as_no_data(tmp_path):
    cube = xsr.open(geotiff(tmp_path / "a.tif", "float32")).chunk(x=8, y=8)
    assert xsr.to_zarr(cube, tmp_path / "a.zarr", **QUIET).valid == 2 * (12 * 14 - 4 * 5)
    (cube / 1000).assign_attrs(_FillValue=-9.999).sr.to_zarr(tmp_path / "b.zarr", dtype="uint16", **QUIET)
    found = xr.open_zarr(tmp_path / "b.zarr")["reflectance"]
    np.testing.assert_allclose(found, np.where(cube == -9999, np.nan, cube) / 1000, atol=6e-5)


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_integers_keep_their_scale_and_are_read_as_xarray_decodes_them(tmp_path, dtype):
    cube = xsr.open(geotiff(tmp_path / "a.tif", dtype, scales=(0.5, 0.5), offsets=(-1, -1)))
    found = stored(cube, tmp_path / "a.zarr")
    np.testing.assert_allclose(found, xr.decode_cf(cube.to_dataset(name="reflectance"))["reflectance"])
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr", mask_and_scale=False)["reflectance"], cube)


def test_a_scale_beside_floats_is_not_applied_when_they_are_read(tmp_path):
    masked = opened(geotiff(tmp_path / "a.tif", "uint16", scales=(0.5, 0.5), offsets=(-1, -1)), "masked")
    with xr.set_options(keep_attrs=True):
        scaled = masked * 0.5 - 1
    assert masked.attrs["scale_factor"] == scaled.attrs["scale_factor"] == 0.5
    for name, cube in {"masked": masked, "scaled": scaled}.items():
        found = stored(cube, tmp_path / f"{name}.zarr")
        np.testing.assert_array_equal(found, cube)
        assert (found.attrs["scale"], found.attrs["offset"]) == (0.5, -1)


@pytest.mark.parametrize("dtype", [None, "float32", "uint16"])
def test_a_form_in_the_encoding_of_decoded_values_is_not_used(tmp_path, dtype):
    cube = make_cube(12, 14).clip(0)
    packed = {"dtype": "int16", "scale_factor": 0.1, "add_offset": 1.0, "_FillValue": -1, "missing_value": -1}
    cube.encoding = {**packed, "units": "days since 2000-01-01", "chunks": (1, 1, 5, 5), "source": "a.nc"}
    np.testing.assert_allclose(stored(cube, tmp_path / "a.zarr", dtype=dtype), cube, atol=6e-5)


def test_a_packed_netcdf_makes_the_round_trip(tmp_path):
    cube = make_cube(12, 14).rename("red")
    cube.values[0, 0, :3] = np.nan
    packed = {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": -9999}
    cube.to_netcdf(
        tmp_path / "a.nc", engine="scipy", encoding={"red": packed, "time": {"units": "hours since 1970-01-01"}}
    )
    for raw in (False, True):
        with xr.open_dataset(tmp_path / "a.nc", engine="scipy", decode_coords="all", mask_and_scale=not raw) as file:
            found = stored(file["red"], tmp_path / f"{raw}.zarr")
            xr.testing.assert_allclose(found.drop_vars("spatial_ref"), cube.drop_vars("spatial_ref"), atol=6e-5)
            assert found.encoding["dtype"] == file["red"].dtype


def test_integers_take_no_data_from_their_encoding_too(tmp_path):
    cube = xsr.open(geotiff(tmp_path / "a.tif", "uint16"))
    cube = cube.drop_attrs(deep=False).rio.write_nodata(0, encoded=True)
    assert np.isnan(stored(cube, tmp_path / "a.zarr")[:, :4, :5]).all()


def test_nodata_as_odc_states_it_changes_nothing(tmp_path):
    cube = xsr.open(geotiff(tmp_path / "a.tif", "uint16")).drop_attrs(deep=False).assign_attrs(nodata=0)
    found = stored(cube, tmp_path / "a.zarr")
    np.testing.assert_array_equal(found, cube)
    assert (found.dtype, found.odc.nodata) == (np.uint16, 0)


def test_no_data_that_the_type_has_not_is_left_out(tmp_path):
    cube = xsr.open(geotiff(tmp_path / "a.tif", "uint16"))
    for number in (-9999, np.nan, 0.5, 2**40):
        found = stored(cube.assign_attrs(_FillValue=number), tmp_path / f"{number}.zarr")
        np.testing.assert_array_equal(found, cube)
        assert found.dtype == np.uint16


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_coordinates_with_stated_forms_make_the_round_trip(tmp_path, zarr_format):
    cube = make_cube(12, 14, dates=2)
    age = np.array([1500, 7200], "m8[ms]").astype("m8[ns]")
    odd = {"_FillValue": -1, "scale_factor": 2.0, "add_offset": 1.0}
    cube = cube.assign_coords(
        time=("time", cube.time.values, {"units": "days since 1970-01-01", "calendar": "standard", "_FillValue": 0}),
        age=("time", age, {"units": "days", "dtype": "timedelta64[s]"}, {"dtype": "int16", "units": "days"}),
        angle=("time", [30.5, 31.0], odd, odd),
        orbit=("time", np.array([3, 4], "int16"), {"_FillValue": -1}, {"_FillValue": 4}),
        flag=("time", [True, False], odd),
        label=("time", ["a", "b"], {"_FillValue": "a"}),
        valid=(("y", "x"), np.ones((12, 14), bool), odd),
        y=("y", cube.y.values, {**cube.y.attrs, **odd}, odd),
    )
    found = stored(cube, tmp_path / "a.zarr", zarr_format=zarr_format)
    for name in cube.coords:
        if name != "spatial_ref":
            np.testing.assert_array_equal(found[name].values, cube[name].values)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_dates_of_each_pixel_that_state_units_make_the_round_trip(tmp_path, zarr_format):
    cube = make_cube(12, 14).isel(band=0, drop=True).to_dataset(name="reflectance")
    date = np.full((1, 12, 14), np.datetime64("2024-06-01T10:30:00.5", "ns"))
    cube["acquired"] = (("time", "y", "x"), date, {"units": "days since 2000-01-01", "calendar": "noleap"})
    xsr.to_zarr(cube.chunk(x=8, y=8), tmp_path / "a.zarr", zarr_format=zarr_format, **QUIET)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr")["acquired"], date)


def test_a_part_whose_integers_mean_others_is_refused(tmp_path):
    cube = make_cube(12, 14, dates=2).round(1).astype("uint16").assign_attrs(_FillValue=7).chunk(time=1, x=8, y=8)
    xsr.to_zarr(cube[:1], tmp_path / "a.zarr", **QUIET)
    for other in (cube.assign_attrs(_FillValue=0), cube.drop_attrs(deep=False), cube.assign_attrs(scale_factor=2)):
        with pytest.raises(StoreError, match=r"reflectance\.(_FillValue was 7 and is|scale_factor was None and is 2)"):
            xsr.to_zarr(other[1:], tmp_path / "a.zarr", append_dim="time", **QUIET)
    xsr.to_zarr(cube[1:], tmp_path / "a.zarr", append_dim="time", **QUIET)
    assert xsr.verify(tmp_path / "a.zarr").ok


@pytest.mark.parametrize("name", ["_FillValue", "missing_value", "scale_factor", "add_offset"])
@pytest.mark.parametrize("wrong", ["none", [1, 2]])
def test_what_is_no_number_is_named(tmp_path, name, wrong):
    cube = make_cube(12, 14).assign_attrs({name: wrong})
    with pytest.raises(CubeError, match=rf"'reflectance' has {name}=.*; expected one number"):
        xsr.to_zarr(cube, tmp_path / "a.zarr", **QUIET)


def test_settling_computes_nothing(monkeypatch):
    lazy = make_cube(12, 14).assign_attrs(_FillValue=-1.0).chunk(x=8).to_dataset(name="red")
    monkeypatch.setattr("dask.base.get_scheduler", lambda **_: pytest.fail("computed"))
    assert settled(lazy)["red"].chunks == lazy["red"].chunks
