import dask
import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from helpers import NORTH, WEST, make_cube, make_dataset

from xsr.core.errors import CubeError, ParameterError
from xsr.operations.interpolate import interpolate
from xsr.sources.files import crop, open_file
from xsr.testing import assert_lazy, assert_same_grid


@pytest.fixture
def cube():
    return make_cube((2, 3, 12, 10), chunks={"y": 6}).rename("reflectance").assign_attrs(author="me")


def write_geotiff(path, values, *, descriptions=(), scale=None, **profile):
    """Write a GeoTIFF with rasterio itself."""
    cube = make_cube(values)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=values.shape[0],
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        crs="EPSG:32633",
        transform=cube.odc.geobox.affine,
        **profile,
    ) as file:
        file.write(values)
        for number, name in enumerate(descriptions, 1):
            file.set_band_description(number, name)
        if scale is not None:
            file.scales, file.offsets = ([number] * values.shape[0] for number in scale)
    return path


def same_cube(opened, cube):
    """Equal values, labels and grid."""
    np.testing.assert_array_equal(opened.values, cube.values)
    assert opened.dims == cube.dims
    for name in {"time", "band"} & set(cube.coords):
        assert opened[name].values.tolist() == cube[name].values.tolist()
    assert_same_grid(opened, cube)


# --- Zarr and NetCDF -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cube.zarr", "folder"])
def test_a_zarr_store_of_one_cube_opens_as_the_cube(tmp_path, cube, name):
    cube.to_zarr(tmp_path / name, zarr_format=2)
    opened = open_file(tmp_path / name)
    assert isinstance(opened, xr.DataArray)
    assert dask.is_dask_collection(opened)
    assert opened.name == "reflectance"
    assert opened.attrs["author"] == "me"
    same_cube(opened, cube)
    same_cube(open_file(str(tmp_path / name)), cube)


@pytest.mark.parametrize("suffix", [".nc", ".nc4", ".h5", ".NC"])
def test_a_netcdf_file_opens_as_the_cube(tmp_path, cube, suffix):
    path = tmp_path / f"cube{suffix}"
    cube.to_netcdf(path, engine="h5netcdf")
    with open_file(path) as opened:
        assert dask.is_dask_collection(opened)
        same_cube(opened, cube)


def test_a_dataset_of_bands_opens_as_a_dataset(tmp_path):
    dataset = make_dataset((2, 3, 8, 8), chunks={"y": 4}).assign(cloud_cover=("time", [1.0, 2.0]))
    dataset.to_zarr(tmp_path / "bands.zarr", zarr_format=2)
    dataset.to_netcdf(tmp_path / "bands.nc", engine="h5netcdf")
    for path in (tmp_path / "bands.zarr", tmp_path / "bands.nc"):
        with open_file(path) as opened:
            assert isinstance(opened, xr.Dataset)
            assert list(opened.data_vars) == ["B02", "B03", "B04", "cloud_cover"]
            np.testing.assert_array_equal(opened["B04"], dataset["B04"])
            assert_same_grid(opened, dataset)


def test_attributes_of_the_store_join_those_of_the_cube(tmp_path, cube):
    cube.to_dataset().assign_attrs(title="scene", author="nobody").to_zarr(tmp_path / "c.zarr", zarr_format=2)
    attrs = open_file(tmp_path / "c.zarr").attrs
    assert (attrs["title"], attrs["author"]) == ("scene", "me")


@pytest.mark.slow
def test_packed_integers_of_a_store_arrive_as_reflectance(tmp_path, cube):
    packing = {"dtype": "uint16", "scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 65535}
    cube[0, 0, 0, 0] = np.nan
    cube.to_netcdf(tmp_path / "c.nc", engine="h5netcdf", encoding={"reflectance": packing})
    with open_file(tmp_path / "c.nc") as opened:
        np.testing.assert_allclose(opened, cube, atol=6e-5)
        out = interpolate(opened, scale=2, method="nearest").compute()
    assert np.isnan(out[0, 0, :2, :2]).all()
    assert np.isnan(out).sum() == 4


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_a_refined_cube_survives_the_disk_with_its_grid(tmp_path, cube, suffix):
    fine = interpolate(cube, scale=3.4, chunks=16)
    path = tmp_path / f"fine{suffix}"
    with dask.config.set(scheduler="sync"):
        fine.to_zarr(path, zarr_format=2) if suffix == ".zarr" else fine.to_netcdf(path, engine="h5netcdf")
        with open_file(path) as opened:
            same_cube(opened, fine)
            assert opened.odc.geobox.affine == fine.odc.geobox.affine


# --- GeoTIFF ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".TIF"])
def test_geotiff_bands_take_their_names_from_the_descriptions(tmp_path, suffix):
    cube = make_cube((3, 9, 7))
    path = write_geotiff(tmp_path / f"c{suffix}", cube.values, descriptions=("B02", "B03", "B04"))
    with open_file(path) as opened:
        assert dask.is_dask_collection(opened)
        assert "long_name" not in opened.attrs
        same_cube(opened, cube)


def test_a_geotiff_of_one_band_takes_its_name(tmp_path):
    path = write_geotiff(tmp_path / "c.tif", make_cube((1, 4, 4)).values, descriptions=("B08",))
    with open_file(path) as opened:
        assert opened.band.values.tolist() == ["B08"]


def test_geotiff_bands_without_descriptions_are_numbered(tmp_path):
    with open_file(write_geotiff(tmp_path / "c.tif", make_cube((2, 4, 4)).values)) as opened:
        assert opened.band.values.tolist() == [1, 2]
        assert interpolate(opened, scale=2).band.values.tolist() == [1, 2]


def test_packed_integers_of_a_geotiff_need_a_scale_and_hide_no_data(tmp_path):
    values = np.full((1, 6, 6), 3000, "uint16")
    values[0, 2, 2] = 0
    bare = write_geotiff(tmp_path / "bare.tif", values, nodata=0)
    packed = write_geotiff(tmp_path / "packed.tif", values, nodata=0, scale=(1e-4, -0.1))
    with open_file(bare) as opened:
        with pytest.raises(CubeError, match=r"uint16 without a scale"):
            interpolate(opened, scale=2)
        by_units = interpolate(opened, scale=2, units="dn10000-1000").compute()
    with open_file(packed) as opened, assert_lazy(opened):
        lazy = interpolate(opened, scale=2)
    by_metadata = lazy.compute()
    assert np.isnan(by_metadata).sum() == 4
    np.testing.assert_allclose(by_metadata.values[np.isfinite(by_metadata)], 0.2, rtol=1e-5)
    np.testing.assert_allclose(by_units, by_metadata, rtol=1e-6)


def test_no_data_of_a_float_geotiff_does_not_leak(tmp_path):
    values = np.full((1, 6, 6), 0.25, np.float32)
    values[0, 2, 2] = -9999
    with open_file(write_geotiff(tmp_path / "c.tif", values, nodata=-9999)) as opened:
        out = interpolate(opened, scale=2).compute()
    assert np.isnan(out).sum() == 4
    assert out.min() == pytest.approx(0.25)


# --- what cannot be opened -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gone.zarr", "gone.nc", "gone.tif", "gone"])
def test_nothing_at_the_path_is_an_error(tmp_path, name):
    with pytest.raises(CubeError, match=rf"{name} not found; expected a Zarr store, a NetCDF file or a GeoTIFF"):
        open_file(tmp_path / name)


@pytest.mark.parametrize("name", ["cube.txt", "cube", "cube.npy"])
def test_an_unknown_kind_is_an_error(tmp_path, name):
    (tmp_path / name).write_text("?")
    with pytest.raises(CubeError, match=rf"{name} is of an unknown kind; expected .zarr, .nc, .tif"):
        open_file(tmp_path / name)


# --- crop ------------------------------------------------------------------------------------------------


def test_crop_keeps_the_pixels_whose_centres_lie_in_the_box(cube):
    cut = crop(cube, (WEST + 14, NORTH - 65, WEST + 50, NORTH - 20))
    assert cut.x.values.tolist() == [WEST + 15, WEST + 25, WEST + 35, WEST + 45]
    assert cut.y.values.tolist() == [NORTH - 25, NORTH - 35, NORTH - 45, NORTH - 55, NORTH - 65]
    np.testing.assert_array_equal(cut, cube[:, :, 2:7, 1:5])


def test_crop_does_the_same_to_ascending_cubes_and_datasets(cube):
    box = (WEST + 14, NORTH - 65, WEST + 50, NORTH - 20)
    expected = crop(cube, box)
    turned = crop(cube.isel(y=slice(None, None, -1)), box)
    assert turned.isel(y=slice(None, None, -1)).equals(expected)
    assert crop(cube.to_dataset("band"), box)["B03"].equals(expected.sel(band="B03", drop=True).rename("B03"))


def test_crop_is_lazy_and_a_box_around_everything_keeps_everything(cube):
    with assert_lazy(cube):
        cut = crop(cube, (0, 0, 1e7, 1e7))
    assert cut.identical(cube)


def test_a_cropped_cube_refines_to_the_cut_of_the_refined_cube(cube):
    box = (WEST + 20, NORTH - 100, WEST + 80, NORTH - 30)
    fine = interpolate(crop(cube, box), scale=4).compute()
    assert_same_grid(fine, crop(interpolate(cube, scale=4), box))


@pytest.mark.parametrize("box", [(5, 0, 5, 1), (6, 0, 5, 1), (0, 2, 1, 1), (float("nan"), 0, 1, 1)])
def test_a_box_out_of_order_is_refused(cube, box):
    with pytest.raises(ParameterError, match=r"expected left < right and bottom < top, in the CRS of the cube"):
        crop(cube, box)


@pytest.mark.parametrize(
    "box", [(0, 0, 1, 1), (WEST + 6, NORTH - 50, WEST + 14, NORTH), (WEST, NORTH, WEST + 50, NORTH + 50)]
)
def test_a_box_without_a_pixel_is_refused_with_the_extent(cube, box):
    with pytest.raises(
        ParameterError, match=r"holds no pixel; the cube covers \(600000.0, 5799880.0, .* in EPSG:32633"
    ):
        crop(cube, box)


def test_attributes_of_the_whole_file_are_no_scale(tmp_path):
    dn = make_cube((2, 6, 6)).copy(data=np.full((2, 6, 6), 1300, np.uint16)).rename("refl")
    dn.to_dataset().assign_attrs(scale=50000, title="map").to_zarr(tmp_path / "a.zarr", zarr_format=2)
    opened = open_file(tmp_path / "a.zarr")
    assert opened.attrs["title"] == "map"
    with pytest.raises(CubeError, match="without a scale"):
        interpolate(opened, scale=2)


@pytest.mark.parametrize("name", ["junk.nc", "junk.tif", "empty.zarr"])
def test_what_cannot_be_read_is_one_clear_error(tmp_path, name):
    path = tmp_path / name
    if name.endswith(".zarr"):
        path.mkdir()
    else:
        path.write_bytes(b"not what it says")
    with pytest.raises(CubeError, match=f"{name} cannot be read"):
        open_file(path)
