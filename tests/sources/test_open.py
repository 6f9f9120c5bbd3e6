import shutil
import zipfile
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from affine import Affine
from catalogs import make_item, write_items
from helpers import make_cube, make_dataset
from products import NORTH, WEST, truth, write_jp2, write_safe, zipped
from sources.test_eopf import write_eopf
from sources.test_theia import write_theia

import xsr
from xsr.core.errors import BandError, CubeError, GridError, ParameterError
from xsr.sources import landsat, registry
from xsr.sources.bandfiles import band_of
from xsr.sources.detect import detect
from xsr.sources.opening import recognise
from xsr.testing import assert_lazy, assert_same_grid, synthetic_cube


def write_tif(path, values, *, size=10, names=(), nodata=None, driver="GTiff", crs="EPSG:32633"):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.atleast_3d(values.T).T if values.ndim == 3 else values[None]
    profile = dict(count=len(values), height=values.shape[1], width=values.shape[2], dtype=values.dtype)
    transform = Affine(size, 0, WEST, 0, -size, NORTH)
    with rasterio.open(path, "w", driver=driver, crs=crs, transform=transform, nodata=nodata, **profile) as file:
        file.write(values)
        file.descriptions = tuple(names) or (None,) * len(values)
    return path


def numbers(band, size=10):
    return np.round(truth(band, size) * 10000).astype(np.uint16)


def packed(folder, path, inside=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, inside + file.relative_to(folder).as_posix())
    return path


# --- products ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_way_to_name_a_safe_product_opens_the_same_cube(tmp_path):
    root = write_safe(tmp_path, bands=("B02", "B03"))
    expected = xsr.open_safe(root)
    granule = next((root / "GRANULE").iterdir())
    files = (root / "MTD_MSIL2A.xml", root / "manifest.safe", granule / "MTD_TL.xml")
    ways = (root, str(root), zipped(root), *files, granule, root / "GRANULE")
    for way in ways:
        opened = xsr.open(way, bands=["B02", "B03"])
        assert opened.attrs["source"] == "Sentinel-2 Level-2A"
        xr.testing.assert_equal(opened.compute(), expected.compute())


@pytest.mark.slow
def test_an_image_inside_a_safe_product_is_opened_with_what_the_product_says_of_its_numbers(tmp_path):
    root = write_safe(tmp_path, bands=("B02", "B03", "B05"))
    images = {file.name.split("_")[2]: file for file in sorted(root.rglob("*_10m.jp2"))}
    expected = xsr.open_safe(root, bands=["B02", "B03"], resolution=10)
    for way in ([images["B02"], images["B03"]], sorted(images["B02"].parent.glob("*.jp2")), images["B02"].parent):
        xr.testing.assert_equal(xsr.open(way).compute(), expected.compute())
    xr.testing.assert_equal(xsr.open(images["B02"]).compute(), expected.sel(band=["B02"]).compute())
    classes = next(root.rglob("*_SCL_20m.jp2"))
    assert xsr.open(classes).dtype == np.uint8
    assert xsr.open([images["B02"], classes]).band.values.tolist() == ["B02"]
    (granule,) = (root / "GRANULE").iterdir()
    mask = granule / "QI_DATA" / "MSK_DETFOO_B02.jp2"
    write_jp2(mask, np.ones((12, 12), np.uint8), 10)
    assert detect(str(mask)).source is registry.JPEG2000


def test_a_folder_with_one_archive_is_what_the_archive_holds(tmp_path):
    root = write_safe(tmp_path / "unpacked", bands=("B02",))
    folder = tmp_path / "downloads"
    folder.mkdir()
    shutil.move(zipped(root), folder / "product.zip")
    (folder / "readme.txt").write_text("from the hub")
    xr.testing.assert_equal(xsr.open(folder).compute(), xsr.open_safe(root).compute())
    assert xsr.open((folder / "product.zip").as_uri()).sizes["time"] == 1
    shutil.copy(folder / "product.zip", folder / "other.zip")
    with pytest.raises(CubeError, match=r"it holds other\.zip, product\.zip, readme\.txt; .* Name one"):
        xsr.open(folder)


@pytest.mark.slow
def test_an_open_tree_is_read_as_it_is_and_not_from_where_it_came(tmp_path):
    path = write_eopf(tmp_path / "product.zarr")
    tree = xr.open_datatree(path, engine="zarr", chunks={}, consolidated=False)
    expected = xsr.open(path)
    np.testing.assert_allclose(xsr.open(tree), expected, atol=1e-6)
    half = xsr.open(tree.isel(y=slice(0, 60), missing_dims="ignore"), resolution=10, bands=["B02"])
    assert half.sizes["y"] == 60
    node = tree["measurements/reflectance/r10m"]
    assert xsr.open(node).dims == ("time", "band", "y", "x")


@pytest.mark.slow
def test_a_group_in_an_archive_is_found(tmp_path):
    path = packed(Path(write_eopf(tmp_path / "product.zarr")), tmp_path / "product.zarr.zip")
    expected = xsr.open(tmp_path / "product.zarr" / "measurements/reflectance/r10m")
    xr.testing.assert_equal(xsr.open(path / "measurements/reflectance/r10m").compute(), expected.compute())
    with pytest.raises(CubeError, match="not found"):
        xsr.open(packed(tmp_path / "product.zarr" / "measurements", tmp_path / "other.zip") / "nothing")


@pytest.mark.parametrize("chunks", [0, {"x": 10}, "auto"])
def test_chunks_of_a_raster_are_a_number_of_pixels(tmp_path, chunks):
    path = write_tif(tmp_path / "image.tif", np.ones((2, 6, 5), np.uint16))
    with pytest.raises(ParameterError, match="expected the side of a chunk in pixels"):
        xsr.open(path, chunks=chunks)


@pytest.mark.parametrize("offset", ["x", np.inf, True])
def test_an_offset_is_a_number(tmp_path, offset):
    with pytest.raises(ParameterError, match="expected a finite number, such as -1000"):
        xsr.open(write_safe(tmp_path, bands=("B02",)), offset=offset)


def test_names_of_gdal_lead_to_the_product():
    for name in ("SENTINEL2_L2A:/data/a.SAFE/MTD_MSIL2A.xml:10m:EPSG_32629", "/vsizip/a.zip/a.SAFE/MTD_MSIL2A.xml"):
        assert detect(name).source is registry.SAFE


@pytest.mark.parametrize("name", ["S2A_MSIL2A.SAFE.zip", "LC08.tar", "a.tar.gz"])
def test_an_archive_of_a_product_at_a_url_is_refused(name):
    with pytest.raises(CubeError, match=r"is an archive at a URL; .* Download it"):
        detect(f"https://example.com/{name}?token=1")
    assert detect("/vsizip/a.zip/b.tif").source is registry.GEOTIFF


def test_an_empty_path_is_not_the_folder_at_hand():
    with pytest.raises(CubeError, match="an empty path not found"):
        xsr.open("")


def test_dates_of_one_kind_are_joined_and_two_kinds_are_refused(tmp_path):
    first, second = (write_safe(tmp_path, bands=("B02",), start=f"2024-06-{day}T11:06:21.024Z") for day in (15, 20))
    assert xsr.open([first, second / "MTD_MSIL2A.xml"]).sizes["time"] == 2
    theia = write_theia(tmp_path / "theia")[0]
    with pytest.raises(CubeError, match=r"2 paths of Sentinel-2 SAFE, Theia given; expected products of one kind"):
        xsr.open([first, theia])


def test_theia_opens_by_folder_and_by_metadata_file(tmp_path):
    folder = write_theia(tmp_path / "theia", quantification=10000)[0]
    metadata = next(Path(folder).rglob("*MTD_ALL.xml"))
    for way in (folder, metadata):
        assert xsr.open(way).attrs["source"] == "Theia Level-2A FRE"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["folder", "metadata", "zip", "zip with a folder", "tree"])
def test_eopf_opens_every_way(tmp_path, way):
    path = write_eopf(tmp_path / "p.zarr")
    expected = xsr.open_eopf(path)
    ways = {
        "folder": lambda: path,
        "metadata": lambda: next(f for f in (path / "zarr.json", path / ".zmetadata", path / ".zgroup") if f.exists()),
        "zip": lambda: packed(path, tmp_path / "p.zarr.zip"),
        "zip with a folder": lambda: packed(path, tmp_path / "q.zip", "p.zarr/"),
        "tree": lambda: xr.open_datatree(path, engine="zarr", chunks={}, consolidated=False),
    }
    xr.testing.assert_equal(xsr.open(ways[way]()).compute(), expected.compute())


def test_landsat_is_known_by_its_metadata(tmp_path):
    name = "LC08_L2SP_193027_20240615_20240620_02_T1"
    write_tif(tmp_path / name / f"{name}_SR_B4.TIF", numbers("B04"))
    mtl = tmp_path / name / f"{name}_MTL.txt"
    mtl.write_text("GROUP = LANDSAT_METADATA_FILE\n")
    assert detect(str(tmp_path / name)).source is registry.LANDSAT
    assert detect(str(mtl)).source is registry.LANDSAT
    if hasattr(landsat, "open_landsat"):
        assert recognise(mtl).source.reader is landsat.open_landsat


@pytest.mark.slow
def test_stac_is_known_in_every_form(tmp_path):
    item = make_item(tmp_path, bands=("B02", "B08"))
    path = write_items(tmp_path / "items.json", [item])
    loaded = list(pystac.ItemCollection.from_file(str(path)))
    for one in loaded:
        one.set_self_href(str(path))
        one.make_asset_hrefs_absolute()
    expected = xsr.open_stac(path, bands=["B02"])
    for way in (path, loaded):
        xr.testing.assert_equal(xsr.open(way, bands=["B02"]).compute(), expected.compute())
    collection = {"type": "FeatureCollection", "features": [item]}
    for way in (item, [item], collection, loaded[0], pystac.ItemCollection(loaded)):
        assert recognise(way).source is registry.STAC
    (tmp_path / "areas.json").write_text('{"name": "no STAC"}')
    with pytest.raises(CubeError, match=r"areas\.json cannot be read: it is of an unknown kind, beginning with '\{"):
        xsr.open(tmp_path / "areas.json")


# --- rasters -------------------------------------------------------------------------------------------------------


def test_a_geotiff_is_known_by_its_content_whatever_its_name(tmp_path):
    values = np.stack([numbers("B02"), numbers("B03")])
    for name in ("a.tif", "noname", "b.dat"):
        opened = xsr.open(write_tif(tmp_path / name, values, names=("B02", "B03")))
        assert opened.band.values.tolist() == ["B02", "B03"]
        np.testing.assert_array_equal(opened, values)
    cog = xsr.open(write_tif(tmp_path / "cog.tif", values, driver="COG"))
    np.testing.assert_array_equal(cog, values)
    write_jp2(tmp_path / "image.jp2", values, 10)
    np.testing.assert_array_equal(xsr.open(tmp_path / "image.jp2"), values)


def test_bands_of_a_geotiff_are_named_by_their_numbers(tmp_path):
    values = np.stack([numbers(name) for name in ("B02", "B03", "B04")])
    path = write_tif(tmp_path / "a.tif", values)
    opened = xsr.open(path, bands={"B04": 3, "B02": "1"})
    assert opened.band.values.tolist() == ["B04", "B02"]
    np.testing.assert_array_equal(opened, values[[2, 0]])
    with pytest.raises(BandError, match=r"bands \['4'\] requested; .*a\.tif has \['1', '2', '3'\]"):
        xsr.open(path, bands={"B08": 4})
    with pytest.raises(BandError, match=r"name a band twice"):
        xsr.open(path, bands={"B08": 1, "B04": 1})


@pytest.mark.parametrize("names", [("B02", ""), ("same", "same")])
def test_descriptions_that_do_not_name_every_band_are_not_used(tmp_path, names):
    path = write_tif(tmp_path / "a.tif", np.stack([numbers("B02")] * 2), names=names)
    assert xsr.open(path).band.values.tolist() == [1, 2]


def test_a_crs_is_given_where_there_is_none_and_never_contradicts(tmp_path):
    bare = write_tif(tmp_path / "a.tif", numbers("B02"), crs=None)
    assert xsr.open(bare, crs="EPSG:32633").odc.crs.epsg == 32633
    assert xsr.open(bare, crs=32633).odc.geobox.boundingbox.left == WEST
    stated = write_tif(tmp_path / "b.tif", numbers("B02"))
    assert xsr.open(stated, crs=32633).odc.crs.epsg == 32633
    with pytest.raises(ParameterError, match=r"crs=4326, but .*b\.tif states EPSG:32633"):
        xsr.open(stated, crs=4326)
    with pytest.raises(ParameterError, match=r"crs='EPSG:nothing' is not known"):
        xsr.open(bare, crs="EPSG:nothing")


@pytest.mark.parametrize("name", ["mosaic.vrt", "innocent.tif"])
def test_a_vrt_is_opened_on_request_alone(tmp_path, name):
    write_tif(tmp_path / "a.tif", numbers("B02"))
    text = (
        '<VRTDataset rasterXSize="96" rasterYSize="96"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>{WEST}, 10, 0, {NORTH}, 0, -10</GeoTransform>"
        '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename relativeToVRT="1">a.tif'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(CubeError, match=r"is a VRT, which can name any other file or address.*allow_vrt=True"):
        xsr.open(path)
    np.testing.assert_array_equal(xsr.open(path, allow_vrt=True)[0], numbers("B02"))


# --- folders of band files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stem", "band"),
    [
        ("B02", "B02"),
        ("b8a", "B8A"),
        ("T31UFS_20240615T105031_B02_10m", "B02"),
        ("T31UFS_20240615_B12", "B12"),
        ("scene_blue", "B02"),
        ("B8", "B08"),
        ("TCI", None),
        ("T31UFS_20240615T105031_SCL_20m", None),
    ],
)
def test_a_band_is_read_from_the_name_of_its_file(stem, band):
    assert band_of(stem) == band


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["{}.tif", "T31UFS_20240615T105031_{}_10m.jp2", "T31UFS_20240615_{}.TIF"])
def test_a_folder_of_band_files_opens_as_one_cube(tmp_path, pattern):
    for band in ("B08", "B02"):
        path = tmp_path / "scene" / pattern.format(band)
        write_jp2(path, numbers(band), 10) if path.suffix == ".jp2" else write_tif(path, numbers(band))
    (tmp_path / "scene" / "readme.txt").write_text("two bands")
    cube = xsr.open(tmp_path / "scene")
    assert list(cube.data_vars) == ["B02", "B08"]
    with assert_lazy(cube):
        pass
    for band in ("B02", "B08"):
        np.testing.assert_array_equal(cube[band], numbers(band))
    fine = cube.sr.interpolate(scale=2, method="nearest", units="dn10000")
    np.testing.assert_allclose(fine["B08"][::2, ::2], truth("B08", 10), atol=1e-6)
    assert list(xsr.open(tmp_path / "scene", bands=["nir"]).data_vars) == ["B08"]
    with pytest.raises(BandError, match=r"bands \['B03'\] requested; .*scene has B02, B08"):
        xsr.open(tmp_path / "scene", bands=["B03"])


def test_files_of_mixed_pixel_sizes_are_refused_with_the_bands_of_each(tmp_path):
    for band, size in (("B02", 10), ("B03", 10), ("B11", 20)):
        write_tif(tmp_path / f"{band}_{size}m.tif", numbers(band, size), size=size)
    with pytest.raises(GridError, match=r"2 grids \(B02, B03: 96 x 96 pixels of 10 .*; B11: 48 x 48 pixels of 20"):
        xsr.open(tmp_path)
    assert list(xsr.open(tmp_path, bands=["B02", "B03"]).data_vars) == ["B02", "B03"]
    assert xsr.open(tmp_path, bands=["B11"])["B11"].shape == (48, 48)


def test_of_one_band_in_several_sizes_the_finest_is_taken(tmp_path):
    for size in (10, 20):
        write_tif(tmp_path / f"T31UFS_20240615_B02_{size}m.tif", numbers("B02", size), size=size)
    assert xsr.open(tmp_path)["B02"].shape == (96, 96)
    write_tif(tmp_path / "T31UFS_20240620_B02_10m.tif", numbers("B02"))
    with pytest.raises(BandError, match=r"band B02 has several files, .*; expected one date"):
        xsr.open(tmp_path)


def test_the_classification_of_the_same_grid_comes_along(tmp_path):
    write_tif(tmp_path / "B11_20m.tif", numbers("B11", 20), size=20)
    write_tif(tmp_path / "SCL_20m.tif", np.full((48, 48), 4, np.uint8), size=20)
    assert xsr.open(tmp_path).scl.values.tolist() == np.full((48, 48), 4).tolist()


def test_files_without_band_names_are_given_them(tmp_path):
    write_tif(tmp_path / "one.tif", numbers("B02"))
    write_tif(tmp_path / "two.tif", numbers("B03"))
    with pytest.raises(BandError, match=r"no file of .* is named for a band: \['one.tif', 'two.tif'\]"):
        xsr.open(tmp_path)
    cube = xsr.open(tmp_path, bands={"B03": "two", "B02": "one"})
    assert list(cube.data_vars) == ["B03", "B02"]
    np.testing.assert_array_equal(cube["B02"], numbers("B02"))


@pytest.mark.parametrize(
    "name",
    [
        "LC08_L2SP_193027_20240615_SR_B4.TIF",
        "l8_sr_b4.tif",
        "HLS.L30.T32UQD.2024167T100000.v2.0.B05.tif",
        "landsat_B4.tif",
    ],
)
def test_bands_of_landsat_are_not_taken_for_those_of_sentinel_2(tmp_path, name):
    write_tif(tmp_path / name, numbers("B04"))
    with pytest.raises(BandError, match=r"a band of Landsat, without the metadata .*_MTL"):
        xsr.open(tmp_path)


# --- NetCDF, Zarr and trees ----------------------------------------------------------------------------------------


def openeo_like(dim="bands"):
    cube = make_cube((2, 3, 8, 6)).rename(time="t", band=dim).rename("reflectance")
    return cube.assign_coords({dim: ["nbart_blue", "nbart_green", "nbart_red"]})


@pytest.mark.slow
@pytest.mark.parametrize("dim", ["band", "bands", "variable", "channel"])
def test_the_variable_of_bands_is_found_whatever_its_dim_is_called(tmp_path, dim):
    cube = openeo_like(dim)
    cube.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    cube.to_dataset().to_zarr(tmp_path / "a.zarr", zarr_format=2)
    for path in (tmp_path / "a.nc", tmp_path / "a.zarr", packed(tmp_path / "a.zarr", tmp_path / "a.zarr.zip")):
        opened = xsr.open(path, bands={"B04": "nbart_red", "B02": "nbart_blue"}, dims={"t": "time"})
        assert isinstance(opened, xr.DataArray)
        assert opened.dims == ("time", dim, "y", "x")
        assert opened[dim].values.tolist() == ["B04", "B02"]
        np.testing.assert_array_equal(opened, cube[:, [2, 0]])
        assert_same_grid(opened, cube)


@pytest.mark.slow
def test_bands_of_a_dataset_are_renamed_and_what_is_no_band_stays(tmp_path):
    dataset = make_dataset((2, 3, 8, 8)).assign(cloud_cover=("time", [1.0, 2.0])).rename(B02="blue_1")
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    opened = xsr.open(tmp_path / "a.nc", bands={"B02": "blue_1", "B04": "B04"})
    assert list(opened.data_vars) == ["B02", "B04", "cloud_cover"]
    assert list(xsr.open(tmp_path / "a.nc", bands=["b4"]).data_vars) == ["B04", "cloud_cover"]
    with pytest.raises(CubeError, match=r"dimension 't' not found; the cube has \['time', 'y', 'x'\]"):
        xsr.open(tmp_path / "a.nc", dims={"t": "time"})
    with pytest.raises(CubeError, match=r"'x' is the name of something else"):
        xsr.open(tmp_path / "a.nc", dims={"y": "x"})
    with pytest.raises(ParameterError, match=r"expected each of time, band, y, x at most once"):
        xsr.open(tmp_path / "a.nc", dims={"time": "t"})


def test_classic_netcdf_opens(tmp_path):
    cube = make_cube((1, 2, 8, 6)).rename("reflectance").drop_vars("band")
    cube.to_netcdf(tmp_path / "a.nc", engine="scipy", format="NETCDF3_64BIT")
    np.testing.assert_array_equal(xsr.open(tmp_path / "a.nc"), cube)


@pytest.mark.slow
def test_of_a_tree_the_node_with_images_is_taken(tmp_path):
    cube = make_dataset((1, 2, 8, 8))
    tree = xr.DataTree.from_dict({"/": xr.Dataset(), "/meta": xr.Dataset({"n": 1}), "/images/r10m": cube})
    tree.to_zarr(tmp_path / "a.zarr", zarr_format=2)
    tree.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    for way in (tree, tmp_path / "a.zarr", tmp_path / "a.nc", packed(tmp_path / "a.zarr", tmp_path / "a.zarr.zip")):
        opened = xsr.open(way)
        assert list(opened.data_vars) == ["B02", "B03"]
        np.testing.assert_array_equal(opened["B03"], cube["B03"])


def test_of_a_tree_with_several_the_group_is_chosen(tmp_path):
    fine, coarse = make_dataset((1, 2, 8, 8)), make_dataset((1, 1, 4, 4))
    tree = xr.DataTree.from_dict({"/r10m": fine, "/r20m": coarse})
    tree.to_zarr(tmp_path / "a.zarr", zarr_format=2)
    for way in (tree, tmp_path / "a.zarr"):
        with pytest.raises(CubeError, match=r"2 groups with images \(/r10m, /r20m\).*group='/r10m'"):
            xsr.open(way)
        assert xsr.open(way, group="/r20m").sizes["x"] == 4
    with pytest.raises(ParameterError, match=r"group='/r60m' is not in the tree; it has /, /r10m, /r20m"):
        xsr.open(tree, group="/r60m")


@pytest.mark.parametrize("cube", [make_cube((1, 2, 4, 4)), make_dataset((1, 2, 4, 4))])
def test_a_cube_is_returned_as_it_is(cube):
    assert xsr.open(cube) is cube


# --- what cannot be opened -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\x0e\x03\x13\x01rest", "it is HDF4"),
        (b"\x89PNG\r\n", "a PNG image without georeference"),
        (b"hello\x1b[31m world", r"of an unknown kind, beginning with 'hello\\x1b\[31m world'"),
        (b"PK\x03\x04broken", "The zip archive is damaged"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, content, message):
    path = tmp_path / "file.tif"
    path.write_bytes(content)
    with pytest.raises(CubeError, match=rf"file\.tif cannot be read: .*{message}"):
        xsr.open(path)


def test_a_folder_of_other_things_is_listed(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "notes.txt").write_text("dear")
    with pytest.raises(CubeError, match=r"it holds letters/, notes\.txt; expected a product"):
        xsr.open(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.txt", "dear")
    with pytest.raises(CubeError, match=r"a\.zip cannot be read: it holds notes\.txt; expected a product"):
        xsr.open(tmp_path / "a.zip")


@pytest.mark.parametrize("x", [None, 5, [], np.zeros((3, 4, 4)), {"type": "nothing"}])
def test_other_objects_are_refused_by_their_type(x):
    with pytest.raises(CubeError, match=rf"a {type(x).__name__}( of \d)? cannot be opened; expected a path or URL"):
        xsr.open(x)


def test_an_option_of_another_kind_is_refused_with_those_of_this_one(tmp_path):
    path = write_tif(tmp_path / "a.tif", numbers("B02"))
    with pytest.raises(
        ParameterError, match=r"option mask is not known for a GeoTIFF; its options are: bands, crs, chunks, allow_vrt"
    ):
        xsr.open(path, mask=True)


def test_a_url_is_known_by_its_suffix_and_not_by_its_query():
    assert detect("https://host/a.tif?sig=x.json&y").source is registry.GEOTIFF
    assert detect("s3://bucket/items.json").source is registry.STAC
    assert detect("/vsizip/a.zip/b.jp2").source is registry.JPEG2000


def test_a_dim_that_the_user_names_band_makes_its_variable_the_cube(tmp_path):
    cube = synthetic_cube(size=(16, 16))
    cube.rename(time="acquired", band="wave").to_dataset(name="reflectance").to_netcdf(tmp_path / "a.nc")
    found = xsr.open(str(tmp_path / "a.nc"), dims={"acquired": "time", "wave": "band"})
    assert found.dims == ("time", "band", "y", "x")
    np.testing.assert_array_equal(found, cube)
