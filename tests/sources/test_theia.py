import zipfile

import numpy as np
import pytest
import rasterio
from affine import Affine
from products import warned, zipped

from xsr.core.errors import BandError, ParameterError, ProductError
from xsr.operations.interpolate import interpolate
from xsr.sources.theia import open_theia
from xsr.testing import assert_lazy

ARCHIVE = "prod_theia_maja_tiny/theia_l2a_T38KP_tiny.zip"
WEST, NORTH = 600_000.0, 4_900_020.0


@pytest.fixture(scope="module")
def tiny(data_dir):
    return data_dir / ARCHIVE


def write_tiff(path, values, gsd):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=values.shape[0],
        width=values.shape[1],
        dtype=values.dtype,
        crs="EPSG:32631",
        transform=Affine(gsd, 0, WEST, 0, -gsd, NORTH),
    ) as file:
        file.write(values[None])


def write_theia(folder, *, day="20200613", version="2-2", quantification=None, satellite="SENTINEL2B"):
    """Product of 24 x 24 pixels of 10 m with a cloud in a corner, a dark edge and a saturated pixel."""
    stem = f"{satellite}_{day}-104021-460_L2A_T31TCJ_C_V{version}"
    root = folder / stem
    rng = np.random.default_rng(int(day))
    values = {}
    for correction in ("FRE", "SRE"):
        for band, gsd in (("B2", 10), ("B4", 10), ("B8A", 20)):
            n = 240 // gsd
            values[correction, band] = rng.integers(-50, 4000, (n, n)).astype(np.int16)
            values[correction, band][0, 0] = -10000
            write_tiff(root / f"{stem}_{correction}_{band}.tif", values[correction, band], gsd)
    for ring, n in (("R1", 24), ("R2", 12)):
        clouds, edge, saturation = (np.zeros((n, n), np.uint8) for _ in range(3))
        clouds[: n // 4, : n // 4], edge[:, -1], saturation[n // 2, n // 2] = 6, 1, 2
        for kind, one in (("CLM", clouds), ("EDG", edge), ("SAT", saturation)):
            write_tiff(root / "MASKS" / f"{stem}_{kind}_{ring}.tif", one, 240 // n)
    if quantification:
        (root / f"{stem}_MTD_ALL.xml").write_text(
            f'<M><SPECIAL_VALUE name="nodata">-10000</SPECIAL_VALUE>'
            f"<REFLECTANCE_QUANTIFICATION_VALUE>{quantification}</REFLECTANCE_QUANTIFICATION_VALUE></M>"
        )
    return root, values


@pytest.mark.slow
def test_the_real_archive_becomes_two_dates_that_a_model_accepts(tiny):
    cube = open_theia(tiny, tile="T38KPE", bands=["B02", "B03", "B04", "B08"])
    assert cube.time.values.astype("datetime64[ms]").astype(str).tolist() == [
        "2017-06-13T07:12:16.460",
        "2017-06-23T07:12:14.459",
    ]
    assert cube.shape == (2, 4, 29, 36)
    assert cube.odc.crs.epsg == 32738
    assert cube.valid.all()
    assert cube.platform.values.tolist() == ["sentinel-2a"] * 2
    fine = cube.sr.liif(scale=2).compute()
    assert fine.shape == (2, 4, 58, 72)
    assert np.isfinite(fine).all()


@pytest.mark.slow
def test_the_real_archive_equals_the_pixels_of_gdal(tiny):
    stem = "SENTINEL2A_20170613-071216-460_L2A_T38KPE_D_V1-4"
    cube = open_theia(tiny, tile="38KPE")
    assert cube.band.values.tolist() == ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
    assert cube.native_gsd.values.tolist() == [10, 10, 10, 20, 20, 20, 10, 20, 20, 20]
    for band, name in (("B02", "B2"), ("B08", "B8")):
        with rasterio.open(f"/vsizip/{tiny}/T38KPE/{stem}/{stem}_FRE_{name}.tif") as file:
            expected, transform = file.read(1).astype(np.float64) / 10000, file.transform
        np.testing.assert_allclose(cube.sel(band=band)[0], expected, rtol=0, atol=1e-6)
        assert cube.odc.geobox.affine == transform


@pytest.mark.slow
def test_a_band_of_20_m_lands_where_its_own_corner_says(tiny):
    coarse = open_theia(tiny, tile="38KPE", bands=["B05"]).isel(time=0)
    assert coarse.odc.geobox.affine.f - open_theia(tiny, tile="38KPE", bands=["B02"]).odc.geobox.affine.f == 10
    cube = open_theia(tiny, tile="38KPE", bands=["B02", "B05"], resampling="nearest").isel(time=0)
    expected = coarse.sel(x=cube.x, y=cube.y, method="nearest").values[0]
    np.testing.assert_array_equal(cube.sel(band="B05")[1:], expected[1:])
    fine = open_theia(tiny, tile="38KPE", bands=["B02", "B05"]).sel(band=["B05"]).isel(time=0)
    np.testing.assert_allclose(fine, interpolate(coarse, like=cube.odc.geobox), rtol=1e-6)


def test_several_tiles_need_a_choice(tiny):
    with pytest.raises(ParameterError, match=r"tiles 38KPD, 38KPE are there; .* Pass tile='38KPD'"):
        open_theia(tiny)
    with pytest.raises(ParameterError, match=r"tile='T31TCJ'; the products show 38KPD, 38KPE"):
        open_theia(tiny, tile="T31TCJ")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_corrections_masks_and_no_data(tmp_path, form):
    root, values = write_theia(tmp_path)
    path = root if form == "folder" else zipped(root)
    for correction in ("FRE", "SRE"):
        cube = open_theia(path, correction=correction)
        assert cube.attrs["source"] == f"Theia Level-2A {correction}"
        numbers = values[correction, "B2"]
        expected = np.where(numbers == -10000, np.nan, numbers / 10000)
        np.testing.assert_allclose(cube.sel(band="B02")[0], expected, atol=1e-7)
        assert (cube.sel(band="B02") < 0).any()
    valid = np.ones((24, 24), bool)
    valid[:6, :6], valid[:, -1], valid[12, 12] = False, False, False
    np.testing.assert_array_equal(cube.valid[0], valid)
    masked = open_theia(path, mask=True)
    np.testing.assert_array_equal(np.isnan(masked.sel(band="B04")[0]), ~valid)
    half = open_theia(path, bands=["B8A"])
    assert half.valid.shape == (1, 12, 12)
    assert not half.valid[0, 6, 6]


def test_a_grid_of_20_m_averages_the_finer_bands(tmp_path):
    root, values = write_theia(tmp_path)
    cube = open_theia(root, resolution=20)
    expected = np.where(values["FRE", "B2"] == -10000, np.nan, values["FRE", "B2"] / 10000)
    expected = np.nanmean(expected.reshape(12, 2, 12, 2), axis=(1, 3))
    np.testing.assert_allclose(cube.sel(band="B02")[0], expected, atol=1e-6)
    assert np.isnan(cube.sel(band="B8A")[0, 0, 0])


def test_the_metadata_file_says_what_a_number_means(tmp_path):
    root, values = write_theia(tmp_path, quantification=1000)
    np.testing.assert_allclose(open_theia(root, bands="B04")[0, 0, 5, 5], values["FRE", "B4"][5, 5] / 1000, rtol=1e-6)
    next(root.glob("*_MTD_ALL.xml")).write_text("<M>")
    with pytest.raises(ProductError, match=r"MTD_ALL\.xml is damaged"):
        open_theia(root)


def test_dates_of_several_paths_are_joined_and_reprocessings_dropped(tmp_path):
    old, _ = write_theia(tmp_path / "a", version="1-4")
    new, values = write_theia(tmp_path / "b", version="2-2")
    other, _ = write_theia(tmp_path / "c", day="20200618", satellite="SENTINEL2C")
    with warned(r"dropped .*V1-4 \(kept .*V2-2\)"):
        cube = open_theia([other, new, old])
    assert cube.platform.values.tolist() == ["sentinel-2b", "sentinel-2c"]
    np.testing.assert_allclose(cube[0, 0, 3, 3], values["FRE", "B2"][3, 3] / 10000, rtol=1e-6)


def test_opening_is_lazy(tmp_path):
    root, _ = write_theia(tmp_path)
    cube = open_theia(root)
    with assert_lazy(cube):
        interpolate(cube, scale=2)


def test_what_is_missing_or_damaged_is_named(tmp_path):
    root, _ = write_theia(tmp_path)
    with pytest.raises(ProductError, match="holds no Level-2A product of MAJA"):
        open_theia(_empty(tmp_path))
    with pytest.raises(BandError, match=r"\['B03'\] requested; SENTINEL2B.* has B02, B04, B8A"):
        open_theia(root, bands=["B03"])
    path = zipped(root, compression=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = next(one for one in archive.infolist() if one.filename.endswith("FRE_B2.tif"))
    data[info.header_offset + 200 + info.file_size // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ProductError, match=r"FRE_B2\.tif in .* is damaged"):
        open_theia(path)
    for file in root.glob("MASKS/*CLM_R?.tif"):
        file.unlink()
    with pytest.raises(ProductError, match="lacks its masks CLM"):
        open_theia(root)
    for file in root.glob("*_FRE_*.tif"):
        file.unlink()
    with pytest.raises(ProductError, match="has no FRE images"):
        open_theia(root)


def _empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


def test_options_out_of_range_are_refused(tmp_path):
    root, _ = write_theia(tmp_path)
    with pytest.raises(ParameterError, match="correction='TOA'; expected FRE"):
        open_theia(root, correction="TOA")
    with pytest.raises(ParameterError, match="resampling='cubic'"):
        open_theia(root, resampling="cubic")
    with pytest.raises(ParameterError, match="resolution=60; expected 10 or 20"):
        open_theia(root, resolution=60)


@pytest.mark.parametrize("inside", ["*_MTD_ALL.xml", "*_FRE_B2.tif", "MASKS", "."])
def test_a_file_or_folder_inside_names_the_product(tmp_path, inside):
    root, _ = write_theia(tmp_path, quantification=10000)
    path = root if inside == "." else next(root.glob(inside))
    assert open_theia(path).product_id.values.tolist() == [root.name]
    with pytest.raises(ProductError, match=r"is a URL; expected a product on disk"):
        open_theia("https://example.org/SENTINEL2A.zip")


@pytest.mark.parametrize(
    "stem",
    ["LANDSAT8-OLITIRS-XS_20160613-104021-000_L2A_T31TCJ_C_V1-1", "VENUS-XS_20200613-104021-000_L2A_SUDOUE-4_C_V2-2"],
)
def test_products_of_other_satellites_are_refused_for_their_bands(tmp_path, stem):
    for band in ("B2", "B5"):
        write_tiff(tmp_path / stem / f"{stem}_FRE_{band}.tif", np.ones((4, 4), np.int16), 30)
    platform = stem.partition("_")[0]
    with pytest.raises(ProductError, match=rf"is a product of {platform}; expected Sentinel-2, .*Open its images as"):
        open_theia(tmp_path / stem)
