"""Every real product behind XSR_DATA opens, or is refused for the reason that is true."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from products import warned

import xsr
from xsr.core.errors import BandError, ProductError

L1C_60M = "prod_s2_safe_l1c_T31TCF_N0509_60m/S2A_MSIL1C_20230303T103931_N0509_R008_T31TCF_20230303T155919.SAFE.zip"
NO_REFLECTANCE = (
    "prod_s2_safe_l2a_T28PDC_N0509_noreflectance/S2A_MSIL2A_20230921T112111_N0509_R037_T28PDC_20230921T195052.SAFE.zip"
)
XML_ONLY = "prod_s2_safe_l2a_T32TQM_N0511_xml/S2B_MSIL2A_20241115T100159_N0511_R122_T32TQM_20241115T125542.SAFE.zip"
L2A_60M = "prod_s2_safe_l2a_T29UNU_60m/S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU_20221005T164454.SAFE.zip"
L2A_TINY = "prod_s2_safe_l2a_T22HBD_tiny/S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500.SAFE.zip"
L1C_TINY = "prod_s2_safe_l1c/S2A_MSIL1C_20201031T004711_N0209_R102_T53JQJ_20201031T022859.SAFE.zip"
THEIA = "prod_theia_maja_tiny/theia_l2a_T38KP_tiny.zip"
EOPF = "prod_eopf_geozarr_T33SWB/S2A_MSIL2A_20250704T094051_N0511_R036_T33SWB_20250704T115824.zarr.zip"
EOPF_JSON = "prod_eopf_geozarr_T33SWB/S2C_T29TPF_N0511_optimized_geozarr_metadata.json.zip"
LANDSAT = "prod_landsat_c2_l2/LC08_L2SP_008059_20191201_20200825_02_T1.zip"
EACH_60M = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12"]


def safe(**options):
    return lambda path: xsr.open_safe(path, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reader", "shape", "epsg", "date"),
    [
        (L1C_60M, safe(bands=["B01", "B09", "B10"]), (1, 3, 1830, 1830), 32631, "2023-03-03T10:39:31.024"),
        (L2A_60M, safe(resolution=60, verify="structure"), (1, 11, 1830, 1830), 32629, "2022-10-05T11:54:11.024"),
        (L2A_TINY, safe(verify="structure"), (1, 12, 100, 100), 32722, "2021-01-22T13:32:29.024"),
        (L1C_TINY, safe(verify="structure"), (1, 13, 20, 20), 32753, "2020-10-31T00:47:11.024"),
        (THEIA, lambda path: xsr.open_theia(path, tile="38KPE"), (2, 10, 29, 36), 32738, "2017-06-13T07:12:16.460"),
        (LANDSAT, xsr.open_landsat, (1, 7, 512, 512), 32618, "2019-12-01T15:13:51.861099"),
        (
            LANDSAT,
            lambda path: xsr.open_landsat(path, bands=["ST_B10"]),
            (1, 1, 512, 512),
            32618,
            "2019-12-01T15:13:51.861099",
        ),
    ],
)
def test_it_opens_with_its_shape_crs_and_date(data_dir, name, reader, shape, epsg, date):
    cube = reader(data_dir / name)
    assert cube.shape == shape
    assert cube.odc.crs.epsg == epsg
    assert cube.time.values[0] == np.datetime64(date)
    assert "valid" in cube.coords


@pytest.mark.parametrize(
    ("name", "reader", "reason"),
    [
        (L1C_60M, safe(), r"B02\.jp2 is missing in .* \(and 9 more\).*whose files are there: B01 B09 B10 \(60 m\)\.$"),
        (L2A_60M, safe(), r"B02_10m\.jp2 is missing in .*: SCL \(20 m\), B01 B02 .* B8A SCL \(60 m\)\.$"),
        (NO_REFLECTANCE, safe(), r"holds no reflectance: .*only SCL \(20 m\); expected at least one"),
        (XML_ONLY, safe(), r"holds no reflectance: .*only metadata; expected at least one"),
        (EOPF, xsr.open_eopf, r"holds no pixels of .*r60m/0/b02.*Stored are measurements/reflectance/r60m/2 \(b02 b03"),
        (EOPF_JSON, xsr.open_eopf, "is no Zarr group"),
        (LANDSAT, xsr.open_theia, "holds no Level-2A product of MAJA"),
        (THEIA, xsr.open_safe, "holds 0 Sentinel-2 products in SAFE format"),
        (L2A_TINY, xsr.open_landsat, "holds 0 Landsat products"),
    ],
)
def test_it_is_refused_for_the_reason_that_is_true(data_dir, name, reader, reason):
    with pytest.raises(ProductError, match=reason) as caught:
        reader(data_dir / name)
    assert "ownload" not in str(caught.value)


@pytest.mark.slow
def test_the_bands_of_60_m_are_the_pixels_of_gdal(data_dir):
    path = data_dir / L1C_60M
    cube = xsr.open_safe(path, bands=["B09"])
    assert cube.native_gsd.values.tolist() == [60]
    inside = f"{path.name.removesuffix('.zip')}/GRANULE/L1C_T31TCF_A040188_20230303T104759/IMG_DATA"
    with rasterio.open(f"/vsizip/{path}/{inside}/T31TCF_20230303T103931_B09.jp2") as file:
        numbers, transform = file.read(1), file.transform
    expected = np.where(numbers == 0, np.nan, (numbers.astype(np.float64) - 1000) / 10000)
    np.testing.assert_allclose(cube[0, 0], expected, rtol=0, atol=1e-6)
    assert cube.odc.geobox.affine == transform


@pytest.mark.slow
def test_landsat_by_hand(data_dir):
    cube = xsr.open_landsat(data_dir / LANDSAT)
    assert cube.band.values.tolist() == ["B1", "B2", "B3", "B4", "B5", "B6", "B7"]
    numbers = np.array([8266, 8686, 10519, 9904, 18106, 14498, 12040])
    np.testing.assert_allclose(cube[0, :, 256, 256], numbers * 2.75e-5 - 0.2, rtol=0, atol=1e-7)
    assert cube.qa_pixel[0, 256, 256] == 22280
    assert not cube.valid[0, 256, 256]
    warm = xsr.open_landsat(data_dir / LANDSAT, bands=["ST_B10"])
    np.testing.assert_allclose(warm[0, 0, 256, 256], 42887 * 0.00341802 + 149, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_level_of_the_pyramid_that_is_stored_opens_where_its_pyramid_says(data_dir):
    with warned("the coordinates in measurements/reflectance/r60m/2 are those of the pixels' corners"):
        cube = xsr.open_eopf(f"{data_dir / EOPF}/measurements/reflectance/r60m/2")
    assert cube.shape == (1, 3, 457, 457)
    assert cube.band.values.tolist() == ["B02", "B03", "B04"]
    assert cube.odc.crs.epsg == 32633
    np.testing.assert_allclose(cube.odc.geobox.boundingbox, (499980, 4090200, 609780, 4200000), atol=1e-6)
    assert cube.time.values[0] == np.datetime64("2025-07-04T09:40:51")
    assert cube.platform.values.tolist() == ["sentinel-2a"]
    assert cube.native_gsd.values == pytest.approx([240.26258] * 3)
    assert np.isfinite(cube).all()
    assert 0 < float(cube.mean()) < 0.5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Object at :UserWarning")  # of zarr: what is listed and not stored
def test_the_tree_of_a_product_has_the_verbs_of_the_cube_it_holds(data_dir, tmp_path):
    """Of the product one band is stored with all that describes it: `sharpen` says what is missing."""
    with zipfile.ZipFile(data_dir / EOPF) as archive:
        archive.extractall(tmp_path)
    root = tmp_path / Path(EOPF).name.removesuffix(".zip")
    level = "measurements/reflectance/r60m/2"
    parts = {"/": xr.Dataset(attrs=dict(zarr.open_group(root, mode="r").attrs))}
    for end in range(1, level.count("/") + 1):
        path = "/".join(level.split("/")[:end])
        parts[f"/{path}"] = xr.Dataset(attrs=dict(zarr.open_group(root, path=path, mode="r").attrs))
    stored = {"engine": "zarr", "chunks": {}, "consolidated": False, "group": level}
    parts[f"/{level}"] = xr.open_datatree(root, **stored).to_dataset()
    tree = xr.DataTree.from_dict(parts, name=root.name)[level]
    with warned("the coordinates in measurements/reflectance/r60m/2"):
        fine = tree.sr.interpolate(scale=2)
    assert fine.shape == (1, 1, 914, 914)
    with warned("the coordinates in measurements/reflectance/r60m/2"):
        assert float(fine.mean()) == pytest.approx(float(xsr.open(tree).mean()), rel=1e-3)
    with (
        warned("the coordinates in measurements/reflectance/r60m/2"),
        pytest.raises(BandError, match="the bands are of one kind"),
    ):
        tree.sr.sharpen()


def laid_out(node, path):
    """Write the groups and arrays that a document describes, without pixels."""
    path.mkdir()
    (path / "zarr.json").write_text(json.dumps({key: value for key, value in node.items() if key != "members"}))
    for name, member in (node.get("members") or {}).items():
        laid_out(member, path / name)


def filled(root, corner, side):
    """Give the grids of a product their coordinates, and its bands the means of one image of 10 m in the corner."""
    for place in root.rglob("x/zarr.json"):
        group = zarr.open_group(place.parent.parent, mode="r+", zarr_format=3)
        pixel = 109_800 / (count := group["x"].shape[0])
        group["x"][:] = corner[0] + pixel * (np.arange(count) + 0.5)
        group["y"][:] = corner[1] - pixel * (np.arange(count) + 0.5)
    image = np.random.default_rng(0).integers(1500, 3500, (side // 5, side // 5)).repeat(5, 0).repeat(5, 1)
    for step in (1, 2, 6):
        group = zarr.open_group(root / f"measurements/reflectance/r{step}0m", mode="r+", zarr_format=3)
        means = image.reshape(side // step, step, side // step, step).mean((1, 3))
        for _, band in group.arrays():
            if band.ndim == 2:
                band[: side // step, : side // step] = means.astype("u2")
    return image


@pytest.mark.slow
def test_a_geozarr_tree_is_sharpened(data_dir, tmp_path):
    """The metadata are those of a real product, the pixels made: the archive has none."""
    with zipfile.ZipFile(data_dir / EOPF_JSON) as archive:
        (name,) = archive.namelist()
        document = json.loads(archive.read(name))
    root = tmp_path / f"{Path(name).stem}.zarr"
    laid_out(document, root)
    image = filled(root, (600_000, 4_600_020), 120)
    tree = xr.open_datatree(root, engine="zarr", chunks={}, consolidated=False)
    fine = tree.sr.sharpen()
    assert fine.sizes == {"time": 1, "band": 12, "y": 10_980, "x": 10_980}
    assert fine.chunks is not None
    assert fine.attrs["xsr_sharpened"] == ["B01", "B05", "B06", "B07", "B8A", "B09", "B11", "B12"]
    part = fine.isel(time=0, y=slice(0, 60), x=slice(0, 60)).compute()
    np.testing.assert_allclose(part.sel(band="B04"), image[:60, :60] * 1e-4 - 0.1, atol=1e-7)
    error = part.sel(band="B11") - part.sel(band="B04")
    coarse = image.reshape(60, 2, 60, 2).mean((1, 3)).repeat(2, 0).repeat(2, 1)[:60, :60] * 1e-4 - 0.1
    assert float((error**2).mean()) < 0.75 * float(((coarse - part.sel(band="B04")) ** 2).mean())
