import re
import zipfile
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
from products import NORTH, WEST, copy, cut, flip, truth, unpack, warned, write_jp2, write_manifest, write_safe, zipped

from xsr.core.errors import (
    BandError,
    GridError,
    HarmonisationError,
    ParameterError,
    ProductError,
)
from xsr.operations.interpolate import interpolate
from xsr.operations.super_resolve import liif
from xsr.sources.safe import open_safe
from xsr.testing import assert_lazy

TINY = {
    "l2a": "prod_s2_safe_l2a_T22HBD_tiny/S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500.SAFE.zip",
    "l1c": "prod_s2_safe_l1c/S2A_MSIL1C_20201031T004711_N0209_R102_T53JQJ_20201031T022859.SAFE.zip",
}
REAL = "prod_s2_safe_l2a_T29UNU_60m/S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU_20221005T164454.SAFE.zip"


@pytest.fixture(scope="module")
def l2a(tmp_path_factory):
    """Level-2A product of baseline 05.00; not to be changed."""
    return write_safe(tmp_path_factory.mktemp("l2a"))


@pytest.fixture(scope="module")
def real(data_dir, tmp_path_factory):
    """The real scene of baseline 04.00. Its pixels were re-encoded, so its manifest is written anew."""
    return unpack(data_dir / REAL, tmp_path_factory.mktemp("real"))


def image(root, band, size):
    """Path of an image of a product."""
    return next(root.glob(f"GRANULE/*/IMG_DATA/R{size}m/*_{band}_{size}m.jp2"))


# --- real products --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_real_scene_equals_the_pixels_of_gdal_with_the_offset_applied(real, form):
    cube = open_safe(real if form == "folder" else zipped(real), resolution=60)
    bands = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12"]
    assert cube.dims == ("time", "band", "y", "x")
    assert cube.band.values.tolist() == bands
    assert cube.dtype == np.float32
    for band in bands:
        with rasterio.open(image(real, band, 60)) as file:
            numbers, transform, crs = file.read(1), file.transform, file.crs
        expected = np.where(numbers == 0, np.nan, (numbers.astype(np.float64) - 1000) / 10000)
        np.testing.assert_allclose(cube.sel(band=band)[0], expected, rtol=0, atol=1e-6)
        assert cube.odc.geobox.affine == transform
        assert cube.odc.crs == crs.to_wkt()
    with rasterio.open(image(real, "SCL", 60)) as file:
        np.testing.assert_array_equal(cube.scl[0], file.read(1))


def test_a_real_scene_says_where_it_comes_from(real):
    cube = open_safe(real, bands="B04", resolution=60)
    assert cube.time.values[0] == np.datetime64("2022-10-05T11:54:11.024")
    record = {
        "platform": "sentinel-2a",
        "processing_baseline": "04.00",
        "product_id": real.name,
        "datatake": "GS2A_20221005T115411_038058",
        "mgrs_tile": "29UNU",
        "generated": "2022-10-05T16:44:54.000000Z",
        "offset_source": "BOA_ADD_OFFSET of the product metadata",
    }
    assert {name: cube[name].values.tolist() for name in record} == {name: [text] for name, text in record.items()}
    assert cube.dn_offset.values.tolist() == [[-1000]]
    assert cube.native_gsd.values.tolist() == [60]


@pytest.mark.slow
def test_the_real_scene_refines_and_its_no_data_stays(real):
    cube = open_safe(real, bands=["B02", "B03", "B04"], resolution=60).isel(x=slice(480, 544), y=slice(480, 544))
    fine = liif(cube, scale=2).compute()
    assert fine.shape == (1, 3, 128, 128)
    np.testing.assert_array_equal(np.isnan(fine[:, :, ::2, ::2]), np.isnan(cube))
    assert np.isnan(fine).any()


@pytest.mark.parametrize("band", ["B01", "SCL"])
def test_a_real_image_cut_by_five_percent_is_named(real, tmp_path, band):
    product = copy(real, tmp_path)
    cut(image(product, band, 60))
    for archive in (product, zipped(product)):
        for verify in ("checksum", "size", "structure"):
            with pytest.raises(ProductError, match=rf"_{band}_60m\.jp2 in .* (bytes; manifest|not a whole JPEG 2000)"):
                open_safe(archive, bands=["B01", "B02"], resolution=60, verify=verify)


def test_re_encoded_fixtures_are_refused_unless_only_their_structure_counts(data_dir):
    path = data_dir / REAL
    with pytest.raises(
        ProductError, match=r"B01_60m\.jp2 in .* has 238712 bytes; manifest.safe says 2548823\. .*structure"
    ):
        open_safe(path, resolution=60)
    assert open_safe(path, resolution=60, verify="structure").shape == (1, 11, 1830, 1830)


def test_a_listed_image_that_is_not_there_is_named(real):
    with pytest.raises(ProductError, match=r"_B02_10m\.jp2 is missing in .* choose bands and resolution="):
        open_safe(real)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bands", "baseline", "native"),
    [("l2a", 12, "02.14", {1098.0}), ("l1c", 13, "02.09", {5490.0})],
)
def test_small_real_products_become_cubes_that_models_accept(data_dir, name, bands, baseline, native):
    cube = open_safe(data_dir / TINY[name], verify="structure", detectors=True)
    assert cube.sizes["band"] == bands
    assert cube.processing_baseline.values.tolist() == [baseline]
    assert cube.offset_source.values.tolist() == [f"processing baseline {baseline}"]
    assert not cube.dn_offset.any()
    assert set(cube.native_gsd.values.tolist()) == native
    assert cube.valid.any()
    assert not cube.valid.all()
    assert 1 < len(np.unique(cube.detector)) <= 13
    with warned(f"{native.pop():g} m"):
        fine = cube.sr.liif(scale=2, bands=["B02", "B03", "B04", "B08"]).compute()
    assert fine.sizes["x"] == 2 * cube.sizes["x"]
    assert np.isfinite(fine).any()


@pytest.mark.slow
def test_polygons_of_old_masks_agree_with_gdal(data_dir):
    path = data_dir / TINY["l1c"]
    cube = open_safe(path, bands="B02", verify="structure", detectors=True)
    prefix = "GRANULE/L1C_T53JQJ_A027984_20201031T004711/QI_DATA"
    fiona_free = f"/vsizip/{path}/{path.name.removesuffix('.zip')}/{prefix}/MSK_DETFOO_B02.gml"
    import geopandas

    frame = geopandas.read_file(fiona_free)
    box = cube.odc.geobox
    x, y = np.meshgrid(cube.x, cube.y)
    points = geopandas.points_from_xy(x.ravel(), y.ravel())
    covered = np.array([frame.geometry.contains(point).any() for point in points]).reshape(box.shape.yx)
    np.testing.assert_array_equal(cube.detector[0, 0] > 0, covered)


# --- made products ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_resolution_has_its_images(l2a):
    for size, bands in ((10, ["B02", "B03", "B04", "B08"]), (20, ["B02", "B05", "B12"]), (60, ["B04", "B8A"])):
        cube = open_safe(l2a, bands=bands, resolution=size)
        assert cube.odc.geobox.resolution.x == size
        assert (cube.odc.geobox.affine.c, cube.odc.geobox.affine.f) == (WEST, NORTH)
        for band in bands:
            np.testing.assert_allclose(cube.sel(band=band)[0], truth(band, size), atol=1e-6)


@pytest.mark.slow
def test_by_default_all_bands_lie_on_the_finest_grid_and_keep_their_native_gsd(l2a):
    cube = open_safe(l2a)
    assert cube.band.values.tolist() == ["B02", "B03", "B04", "B05", "B08", "B8A", "B12"]
    assert cube.native_gsd.values.tolist() == [10, 10, 10, 20, 10, 20, 20]
    coarse = open_safe(l2a, bands=["B05"]).isel(time=0)
    assert coarse.odc.geobox.resolution.x == 20
    expected = interpolate(coarse, scale=2)
    np.testing.assert_array_equal(cube.sel(band=["B05"])[0], expected)
    blocks = open_safe(l2a, resampling="nearest").sel(band="B05")[0].values
    np.testing.assert_array_equal(blocks, np.kron(coarse[0], np.ones((2, 2), np.float32)))


def test_a_coarse_band_alone_can_be_asked_for_on_a_finer_grid(l2a):
    alone = open_safe(l2a, bands=["B05"], resolution=10)
    np.testing.assert_array_equal(alone, open_safe(l2a, bands=["B02", "B05"]).sel(band=["B05"]))


def test_a_finer_band_without_an_image_of_the_resolution_is_averaged(l2a):
    cube = open_safe(l2a, bands=["B05", "B08"], resolution=20)
    expected = truth("B08", 10).reshape(48, 2, 48, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(cube.sel(band="B08")[0], expected, atol=1e-6)
    only = open_safe(l2a, bands=["B08"], resolution=60)
    np.testing.assert_allclose(only[0, 0], truth("B08", 10).reshape(16, 6, 16, 6).mean(axis=(1, 3)), atol=1e-6)
    assert only.odc.geobox == open_safe(l2a, bands=["B02"], resolution=60).odc.geobox


def test_level_1c_has_its_own_offset_and_averages_all_bands(tmp_path):
    product = write_safe(tmp_path, level="1C", bands=("B02", "B05", "B10"))
    cube = open_safe(product, resolution=60)
    assert cube.attrs["source"] == "Sentinel-2 Level-1C"
    assert "valid" not in cube.coords
    np.testing.assert_allclose(cube.sel(band="B10")[0], truth("B10", 60), atol=1e-6)
    np.testing.assert_allclose(
        cube.sel(band="B05")[0], truth("B05", 20).reshape(16, 3, 16, 3).mean(axis=(1, 3)), atol=1e-6
    )
    assert cube.offset_source.values.tolist() == ["RADIO_ADD_OFFSET of the product metadata"]
    with pytest.raises(ProductError, match="mask=True, but the product has no classification"):
        open_safe(product, resolution=60, mask=True)


@pytest.mark.slow
def test_opening_reads_no_pixel_of_the_cube_and_chunks_as_asked(l2a):
    with assert_lazy(open_safe(l2a)):
        cube = open_safe(l2a, chunks=32, detectors=False)
        fine = interpolate(cube, scale=2)
    assert dask.is_dask_collection(fine)
    assert cube.chunks[2:] == ((32, 32, 32), (32, 32, 32))
    np.testing.assert_array_equal(cube, open_safe(l2a))


def test_no_data_and_saturation_are_nan_in_their_band_only(tmp_path):
    product = write_safe(tmp_path)
    path = image(product, "B03", 10)
    with rasterio.open(path) as file:
        numbers = file.read(1)
    numbers[5, 5], numbers[7, 9] = 0, 65535
    path.unlink()
    write_jp2(path, numbers, 10)
    write_manifest(product)
    cube = open_safe(product, bands=["B02", "B03", "B05"])
    assert np.argwhere(np.isnan(cube.values)).tolist() == [[0, 1, 5, 5], [0, 1, 7, 9]]


def test_masks_are_nearest_and_mask_applies_them(l2a):
    cube = open_safe(l2a, bands=["B02"])
    scl = open_safe(l2a, bands=["B05"]).scl[0].values
    np.testing.assert_array_equal(cube.scl[0], np.kron(scl, np.ones((2, 2), np.uint8)))
    assert cube.valid.dtype == bool
    np.testing.assert_array_equal(~cube.valid[0], cube.scl[0] == 9)
    masked = open_safe(l2a, bands=["B02"], mask=True)
    np.testing.assert_array_equal(np.isnan(masked[0, 0]), ~cube.valid[0])
    assert masked.odc.geobox == cube.odc.geobox


@pytest.mark.parametrize("satellite", ["Sentinel-2D", "Sentinel-2Q", "Sentinel-2 next"])
def test_any_satellite_and_any_later_baseline_opens(tmp_path, satellite):
    cube = open_safe(write_safe(tmp_path, satellite=satellite, baseline="99.42"), bands=["B02"])
    assert cube.platform.values.tolist() == [satellite.lower()]
    assert cube.processing_baseline.values.tolist() == ["99.42"]
    np.testing.assert_allclose(cube[0, 0], truth("B02", 10), atol=1e-6)


@pytest.mark.slow
def test_the_cube_survives_zarr_with_its_provenance(l2a, tmp_path):
    import xarray as xr

    from xsr.operations.store import to_zarr

    cube = open_safe(l2a, bands=["B02", "B05"])
    to_zarr(cube, tmp_path / "cube.zarr", progress=False)
    back = xr.open_zarr(tmp_path / "cube.zarr", decode_coords="all")["reflectance"]
    np.testing.assert_array_equal(back, cube)
    assert back.product_id.values.tolist() == cube.product_id.values.tolist()
    np.testing.assert_array_equal(back.valid, cube.valid)


# --- offsets ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_baselines_of_one_scene_give_equal_reflectance(tmp_path):
    old = write_safe(tmp_path / "a", baseline="03.01", stated=None, added=0, start="2019-06-15T11:06:21.024Z")
    new = write_safe(tmp_path / "b", baseline="05.00", start="2023-06-15T11:06:21.024Z")
    redone = write_safe(tmp_path / "c", baseline="05.00", start="2018-06-15T11:06:21.024Z")
    cubes = [open_safe(product).isel(time=0, drop=True).compute() for product in (old, new, redone)]
    for cube in cubes[1:]:
        np.testing.assert_allclose(cube, cubes[0], rtol=0, atol=1e-6)
    series = open_safe([new, old, redone])
    assert series.time.dt.year.values.tolist() == [2018, 2019, 2023]
    assert series.dn_offset[:, 0].values.tolist() == [-1000, 0, -1000]
    assert series.processing_baseline.values.tolist() == ["05.00", "03.01", "05.00"]


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["04.00", "05.11", "newest"])
def test_a_product_that_may_have_an_offset_must_state_it(tmp_path, baseline):
    product = write_safe(tmp_path, baseline=baseline, stated=None)
    with pytest.raises(
        HarmonisationError, match=rf"no metadata state the offset .* {baseline}; .*Pass offset=-1000 or"
    ):
        open_safe(product)
    cube = open_safe(product, offset=-1000)
    np.testing.assert_allclose(cube.sel(band="B02")[0], truth("B02", 10), atol=1e-6)
    assert cube.offset_source.values.tolist() == ["offset="]


@pytest.mark.slow
def test_pixels_that_belie_the_metadata_raise_and_name_both(tmp_path):
    taken_out = write_safe(tmp_path / "a", added=0)
    left_in = write_safe(tmp_path / "b", baseline="03.01", stated=None, added=1000)
    with pytest.raises(
        HarmonisationError, match=r"BOA_ADD_OFFSET of the product metadata gives .* -1000, but the pixels"
    ):
        open_safe(taken_out)
    with pytest.raises(HarmonisationError, match=r"baseline 03.01 gives no offset, but the pixels contradict it"):
        open_safe(left_in)
    for product, offset in ((taken_out, 0), (left_in, -1000)):
        np.testing.assert_allclose(open_safe(product, offset=offset).sel(band="B02")[0], truth("B02", 10), atol=1e-6)


# --- names of products, and products of other ages -------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["MTD_MSIL2A.xml", "manifest.safe", "GRANULE", "GRANULE/*", "GRANULE/*/MTD_TL.xml"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_or_folder_inside_names_the_product(l2a, inside, kind):
    path = next(l2a.glob(inside))
    assert open_safe(kind(path), bands="B04").product_id.values.tolist() == [l2a.name]


def test_names_as_gdal_spells_them_work(l2a, tmp_path):
    path = zipped(copy(l2a, tmp_path))
    for name in (
        f"SENTINEL2_L2A:{l2a}/MTD_MSIL2A.xml:10m:EPSG_32629",
        f"/vsizip/{path}/{l2a.name}/MTD_MSIL2A.xml",
        f"/vsizip/{{{path}}}/{l2a.name}",
        path / l2a.name,
    ):
        assert open_safe(name, bands="B04").product_id.values.tolist() == [l2a.name]


@pytest.mark.slow
def test_images_name_their_product_their_bands_and_their_pixel_size(l2a):
    fine = open_safe(sorted(l2a.rglob("*_10m.jp2")))
    assert fine.band.values.tolist() == ["B02", "B03", "B04", "B08"]
    assert fine.sizes["time"] == 1
    coarse = open_safe([image(l2a, "B12", 20), image(l2a, "B02", 20), image(l2a, "SCL", 20)])
    assert coarse.band.values.tolist() == ["B02", "B12"]
    assert coarse.odc.geobox.resolution.x == 20
    np.testing.assert_array_equal(coarse, open_safe(l2a, bands=["B02", "B12"], resolution=20))
    assert open_safe(image(l2a, "B04", 10)).band.values.tolist() == ["B04"]
    assert open_safe(image(l2a, "B04", 10), bands=["B05"]).band.values.tolist() == ["B05"]
    assert open_safe(image(l2a, "SCL", 20)).sizes["band"] == 7


@pytest.mark.parametrize("url", ["s3://eodata/x.SAFE", "https://example.org/x.SAFE.zip", Path("s3://eodata/x.SAFE")])
def test_a_url_is_refused_with_what_is_supported(url):
    with pytest.raises(ProductError, match=r"is a URL; expected a product on disk.*Download .*open_stac"):
        open_safe(url)


def test_a_file_of_no_product_is_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*")
    with pytest.raises(ProductError, match=r"a\.tif belongs to no product"):
        open_safe(tmp_path / "a.tif")


OLD_NAMES = (
    ("User_Product", "Level-2A_User_Product"),
    ("Product_Info>", "L2A_Product_Info>"),
    ("Product_Organisation>", "L2A_Product_Organisation>"),
    ("Product_Image_Characteristics>", "L2A_Product_Image_Characteristics>"),
    ("PRODUCT_URI>", "PRODUCT_URI_2A>"),
    ("Level-2A</PROCESSING", "Level-2Ap</PROCESSING"),
    ("<BOA_QUANTIFICATION_VALUE", "<L2A_BOA_QUANTIFICATION_VALUE"),
    ("</BOA_QUANTIFICATION_VALUE", "</L2A_BOA_QUANTIFICATION_VALUE"),
    ("Granule>", "Granules>"),
    ("<Granule ", "<Granules "),
)


def of_2018(folder):
    """Product of Level-2A of April 2018, whose elements have other names."""
    product = write_safe(folder, baseline="02.06", stated=None, added=0, start="2018-04-05T10:10:21.024Z")
    file = product / "MTD_MSIL2A.xml"
    text = file.read_text()
    for old, new in OLD_NAMES:
        assert old in text
        text = text.replace(old, new)
    return product, file, text


@pytest.mark.parametrize("tag", ["IMAGE_FILE", "IMAGE_FILE_2A", "IMAGE_ID_2A"])
def test_level_2a_of_2017_and_2018_opens(tmp_path, tag):
    product, file, text = of_2018(tmp_path)
    images = re.sub(r"(?<=<IMAGE_FILE>)GRANULE/[^<]*/", "", text) if tag == "IMAGE_ID_2A" else text
    file.write_text(images.replace("IMAGE_FILE", tag))
    write_manifest(product)
    cube = open_safe(product)
    assert cube.product_id.values.tolist() == [product.name]
    assert cube.attrs["source"] == "Sentinel-2 Level-2A"
    assert cube.offset_source.values.tolist() == ["processing baseline 02.06"]
    np.testing.assert_allclose(cube.sel(band="B02")[0], truth("B02", 10), atol=1e-6)
    assert cube.valid.any()


def test_a_choice_of_images_that_are_missing_names_those_that_are_there(tmp_path):
    product = write_safe(tmp_path, bands=("B02", "B05"))
    image(product, "B02", 10).unlink()
    image(product, "B05", 20).unlink()
    with pytest.raises(ProductError) as caught:
        open_safe(product)
    assert str(caught.value).endswith(
        "(and 1 more), though the product lists it. Add the file, or choose bands and resolution= whose files are"
        " there: B02 SCL (20 m), B02 B05 SCL (60 m)."
    )
    for file in product.rglob("*_B??_?0m.jp2"):
        file.unlink()
    with pytest.raises(ProductError, match=r"holds no reflectance: .*only SCL \(20 m\), SCL \(60 m\); expected"):
        open_safe(product)


# --- datastrips ------------------------------------------------------------------------------------------------------


def half(upper, overlap=0):
    """Reflectance of the north or the south of a tile, no data in the other half."""

    def values(band, size, *, side, seed=3):
        whole = truth(band, size, side=side, seed=seed)
        middle, more = len(whole) // 2, overlap * 10 // size
        rows = np.arange(len(whole)) < middle + more if upper else np.arange(len(whole)) >= middle - more
        return np.where(rows[:, None], whole, -0.1)

    return values


def strips(folder, **options):
    """Two products of one tile: its north, sensed first, and its south."""
    first = {"datastrip": "20240615T110618", "generated": "2024-06-15T18:00:00.000000Z", "values": half(True)}
    second = {"datastrip": "20240615T110918", "generated": "2024-06-15T18:40:00.000000Z", "values": half(False)}
    return write_safe(folder / "n", **first | options), write_safe(folder / "s", **second | options)


@pytest.mark.slow
@pytest.mark.filterwarnings("error::xsr.core.errors.XsrWarning")
def test_two_datastrips_of_one_tile_are_one_date(tmp_path, l2a):
    north, south = strips(tmp_path)
    cube = open_safe([south, north], bands=["B02", "B03", "B04", "B08"])
    assert cube.sizes["time"] == 1
    assert "dropped_duplicates" not in cube.attrs
    whole = open_safe(l2a, bands=["B02", "B03", "B04", "B08"])
    np.testing.assert_array_equal(cube, whole)
    np.testing.assert_array_equal(cube.scl, whole.scl)
    assert cube.time.values.tolist() == whole.time.values.tolist()
    assert cube.product_id.values.tolist() == [f"{north.name}; {south.name}"]
    assert cube.platform.values.tolist() == ["sentinel-2a"]
    assert cube.generated.values.tolist() == ["2024-06-15T18:00:00.000000Z; 2024-06-15T18:40:00.000000Z"]
    assert cube.dn_offset.values.tolist() == [[-1000] * 4]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"resolution": 20}, {"resolution": 60, "bands": ["B02", "B05"]}])
def test_the_seam_of_datastrips_cannot_be_seen_in_bands_that_are_resampled(tmp_path, l2a, options):
    cube, whole = open_safe(strips(tmp_path), **options), open_safe(l2a, **options)
    np.testing.assert_array_equal(cube, whole)
    np.testing.assert_array_equal(cube.scl, whole.scl)
    np.testing.assert_array_equal(cube.valid, whole.valid)


@pytest.mark.slow
def test_joining_parts_is_lazy_and_independent_of_chunks(tmp_path, l2a):
    parts = strips(tmp_path)
    with assert_lazy(open_safe(l2a)):
        cube = open_safe(parts, chunks=40)
    np.testing.assert_array_equal(cube, open_safe(l2a))


@pytest.mark.slow
def test_where_datastrips_overlap_the_latest_processing_comes_first(tmp_path):
    def brighter(band, size, *, side, seed=3):
        values = half(False, overlap=10)(band, size, side=side, seed=seed)
        return np.where(values > 0, values + 0.1, values)

    north, _ = strips(tmp_path / "a", values=half(True, overlap=10))
    _, south = strips(tmp_path / "b", values=brighter)
    cube = open_safe([north, south], bands=["B02"])[0, 0]
    np.testing.assert_allclose(cube[:38], truth("B02", 10)[:38], atol=1e-6)
    np.testing.assert_allclose(cube[38:], truth("B02", 10)[38:] + 0.1, atol=1e-6)


@pytest.mark.slow
def test_each_datastrip_keeps_its_latest_processing(tmp_path):
    old = strips(tmp_path / "a", baseline="04.00")
    new = strips(tmp_path / "b")
    with warned(r"dropped .*N0400.* \(kept .*N0500"):
        cube = open_safe([*old, *new], bands=["B02"])
    assert not np.isnan(cube).any()
    assert cube.product_id.values.tolist() == [f"{new[0].name}; {new[1].name}"]
    assert len(cube.attrs["dropped_duplicates"]) == 2


@pytest.mark.slow
def test_parts_that_state_no_datastrip_are_known_by_what_they_show(tmp_path, l2a):
    cube = open_safe(strips(tmp_path, datastrip=None), bands=["B02"])
    np.testing.assert_array_equal(cube, open_safe(l2a, bands=["B02"]))


def test_the_date_of_parts_is_the_earliest_and_unequal_offsets_are_unknown(tmp_path):
    north = write_safe(tmp_path / "a", baseline="03.01", stated=None, added=0, datastrip="20240615T110618")
    south = write_safe(tmp_path / "b", values=half(False), datastrip="20240615T110918")
    cube = open_safe([south, north], bands=["B02"])
    assert np.isnan(cube.dn_offset).all()
    assert cube.processing_baseline.values.tolist() == ["03.01; 05.00"]
    np.testing.assert_allclose(cube[0, 0], truth("B02", 10), atol=1e-6)


# --- duplicates ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_of_several_processings_the_highest_baseline_stays_then_the_latest(tmp_path):
    start = "2021-06-15T11:06:21.024Z"
    old = write_safe(tmp_path / "a", baseline="03.01", stated=None, added=0, start=start)
    early = write_safe(tmp_path / "b", start=start, generated="2023-01-01T00:00:00.000000Z")
    late = write_safe(tmp_path / "c", start=start, generated="2024-01-01T00:00:00.000000Z")
    with warned(r"given more than once; dropped .*N0301.* \(kept .*20240101T000000"):
        cube = open_safe([late, old, early], bands=["B02"])
    assert cube.sizes["time"] == 1
    assert cube.product_id.values.tolist() == [late.name]
    assert cube.attrs["dropped_duplicates"] == [f"{old.name} (kept {late.name})", f"{early.name} (kept {late.name})"]


@pytest.mark.slow
def test_other_tiles_and_other_bands_do_not_mix(tmp_path, l2a):
    small = write_safe(tmp_path / "a", tile="29UNV", side=48)
    with pytest.raises(GridError, match=r"is on another grid than .*; expected one grid\. Open one tile at a time"):
        open_safe([l2a, small], bands=["B02"])
    fewer = write_safe(tmp_path / "b", start="2024-07-01T11:06:21.024Z", bands=("B02", "B03"))
    with pytest.raises(ProductError, match=r"expected the same\. Name the bands"):
        open_safe([l2a, fewer])
    twin = write_safe(tmp_path / "c", tile="30UNU")
    with pytest.raises(ProductError, match="different acquisitions of the same time"):
        open_safe([l2a, twin])
    other = write_safe(tmp_path / "d", level="1C", bands=("B02",))
    with pytest.raises(ProductError, match="Level-1C and Level-2A were given together"):
        open_safe([l2a, other], bands="B02")


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_flipped_bit_is_found_by_the_checksum(tmp_path, form):
    product = write_safe(tmp_path)
    flip(image(product, "B04", 10))
    path = product if form == "folder" else zipped(product)
    with pytest.raises(ProductError, match=r"_B04_10m\.jp2 in .* does not have the SHA3-256"):
        open_safe(path, bands=["B02", "B04"])
    assert open_safe(path, bands=["B02", "B03"]).sizes["band"] == 2
    assert open_safe(path, bands=["B04"], verify="size").sizes["band"] == 1


def test_a_bit_flipped_inside_the_zip_is_found(tmp_path):
    path = zipped(write_safe(tmp_path), compression=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = next(one for one in archive.infolist() if one.filename.endswith("B04_10m.jp2"))
    data[info.header_offset + 200 + info.file_size // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ProductError, match=r"_B04_10m\.jp2 in .* (is damaged: Bad CRC-32|SHA3-256)"):
        open_safe(path, bands=["B04"])


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA3-256"])
def test_manifests_of_all_ages_are_understood(tmp_path, algorithm):
    product = write_safe(tmp_path)
    digest = {"SHA-256": "SHA256"}.get(algorithm, algorithm)
    write_manifest(product, algorithm=digest)
    text = (product / "manifest.safe").read_text().replace(f'"{digest}"', f'"{algorithm}"')
    (product / "manifest.safe").write_text(text)
    assert open_safe(product, bands="B02").sizes["band"] == 1
    (product / "manifest.safe").write_text(text.replace(f'"{algorithm}"', '"CRC64"'))
    with pytest.raises(ProductError, match=r"gives a 'CRC64' .*verify='size'"):
        open_safe(product, bands="B02")


def test_files_that_the_manifest_does_not_vouch_for_are_refused(tmp_path):
    product = write_safe(tmp_path)
    text = (product / "manifest.safe").read_text()
    (product / "manifest.safe").write_text(text.replace("B02_10m.jp2", "B99_10m.jp2"))
    with pytest.raises(ProductError, match=r"B02_10m\.jp2 in .* is not listed in manifest\.safe"):
        open_safe(product, bands="B02")
    (product / "manifest.safe").unlink()
    with pytest.raises(ProductError, match=r"has no manifest\.safe; .*verify='structure'"):
        open_safe(product, bands="B02")
    assert open_safe(product, bands="B02", verify="structure").sizes["band"] == 1


def test_a_missing_band_file_is_named(tmp_path):
    product = write_safe(tmp_path)
    image(product, "B8A", 20).unlink()
    with pytest.raises(ProductError, match=r"_B8A_20m\.jp2 is missing in"):
        open_safe(product)
    assert open_safe(product, bands=["B02", "B12"]).sizes["band"] == 2


def test_what_the_metadata_must_say_is_named_where_it_is_missing(tmp_path):
    product = write_safe(tmp_path)
    text = (product / "MTD_MSIL2A.xml").read_text()
    for old, new, message in (
        ("<SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME>", "", "has no SPACECRAFT_NAME"),
        ("IMAGE_FILE>", "IMAGE_ID>", "lists no image files; expected a product in the compact format"),
        ("R10m/T29UNU", "R10m/../T29UNU", "points outside of it"),
        ("2024-06-15T11:06:21.024Z", "yesterday", "has PRODUCT_START_TIME 'yesterday'; expected a time"),
        ("GRANULE/L2A_T29UNU_A038058_20240615T110621/IMG_DATA/R60m", "GRANULE/other/IMG_DATA/R60m", "holds 2 granules"),
    ):
        assert old in text
        (product / "MTD_MSIL2A.xml").write_text(text.replace(old, new))
        with pytest.raises(ProductError, match=message):
            open_safe(product, bands="B02", verify="structure")


def test_the_cloud_mask_of_level_1c_has_a_plane_for_each_kind(tmp_path):
    product = write_safe(tmp_path, level="1C", bands=("B02", "B12"))
    planes = np.zeros((3, 16, 16), np.uint8)
    planes[0, :4], planes[1, 4:6], planes[2, 6:] = 1, 1, 1
    name = "QI_DATA/MSK_CLASSI_B00.jp2"
    granule = next(product.glob("GRANULE/*"))
    write_jp2(granule / name, planes, 60)
    listed = f'<Tile><MASK_FILENAME type="MSK_CLASSI">GRANULE/{granule.name}/{name}</MASK_FILENAME></Tile>'
    (granule / "MTD_TL.xml").write_text(listed)
    write_manifest(product)
    cube = open_safe(product, bands="B02")
    np.testing.assert_array_equal(cube.valid[0], np.kron(planes[:2].sum(axis=0) == 0, np.ones((6, 6))))


def test_level_2a_without_a_classification_has_no_masks(tmp_path):
    cube = open_safe(write_safe(tmp_path, classified=False), bands="B02")
    assert not {"scl", "valid"} & set(cube.coords)


def test_damaged_metadata_and_archives_are_named(tmp_path):
    product = write_safe(tmp_path)
    path = zipped(product)
    (product / "MTD_MSIL2A.xml").write_text("<a>")
    with pytest.raises(ProductError, match=r"MTD_MSIL2A\.xml in .* is damaged"):
        open_safe(product)
    cut(path)
    with pytest.raises(ProductError, match=r"\.zip cannot be read: .*complete zip archive"):
        open_safe(path)
    with pytest.raises(ProductError, match="not found; expected a product folder"):
        open_safe(tmp_path / "gone.SAFE")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProductError, match="holds 0 Sentinel-2 products in SAFE format"):
        open_safe(tmp_path / "empty")


@pytest.mark.parametrize("name", ["../evil.jp2", "a/../../evil.jp2", "/etc/evil.jp2", "C:/evil.jp2", "a\\..\\evil.jp2"])
def test_names_that_leave_the_archive_are_refused(tmp_path, name):
    path = zipped(write_safe(tmp_path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(ProductError, match="which points outside of it"):
        open_safe(path)


@pytest.mark.parametrize("where", ["manifest.safe", "MTD_MSIL2A.xml"])
def test_names_in_metadata_that_leave_the_product_are_refused(tmp_path, where):
    product = write_safe(tmp_path)
    text = (product / where).read_text().replace("GRANULE/", "../GRANULE/")
    (product / where).write_text(text)
    with pytest.raises(ProductError, match="points outside of it"):
        open_safe(product)


# --- arguments -------------------------------------------------------------------------------------------------------


def test_arguments_out_of_range_are_refused(l2a):
    with pytest.raises(ParameterError, match=r"resolution=15; expected one of \(10, 20, 60\)"):
        open_safe(l2a, resolution=15)
    with pytest.raises(ParameterError, match="resampling='cubic'; expected one of nearest"):
        open_safe(l2a, resampling="cubic")
    with pytest.raises(ParameterError, match="verify='no'; expected one of checksum, size, structure"):
        open_safe(l2a, verify="no")
    with pytest.raises(ParameterError, match="no path given"):
        open_safe([])
    with pytest.raises(BandError, match=r"\['B10'\] requested; .* has B02, B03"):
        open_safe(l2a, bands=["B02", "B10"])
    with pytest.raises(BandError, match="names a band twice"):
        open_safe(l2a, bands=["B02", "blue"])
    with pytest.raises(BandError, match="has no band 'B99'"):
        open_safe(l2a, bands=["B99"])
    with pytest.raises(ProductError, match="lists no detector footprints"):
        open_safe(l2a, bands=["B02"], detectors=True)
