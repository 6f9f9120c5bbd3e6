"""Tests of Landsat's metadata and brightness temperatures."""

import json
import re
import tarfile

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from products import warned, zipped

from xsr.core.errors import BandError, CubeError, GridError, ParameterError, ProductError
from xsr.sources.landsat import brightness_temperature, calibration, open_landsat, read_mtl
from xsr.testing import assert_lazy

LANDSAT_8 = """GROUP = L1_METADATA_FILE
  GROUP = PRODUCT_METADATA
    SPACECRAFT_ID = "LANDSAT_8"
    DATE_ACQUIRED = 2016-02-09
  END_GROUP = PRODUCT_METADATA
    RADIANCE_MULT_BAND_5 = 6.2810E-03
    RADIANCE_MULT_BAND_10 = 3.3420E-04
    RADIANCE_ADD_BAND_10 = 0.10000
    K1_CONSTANT_BAND_10 = 774.8853
    K2_CONSTANT_BAND_10 = 1321.0789
END
"""
LANDSAT_7 = """    SPACECRAFT_ID = "LANDSAT_7"
    RADIANCE_MAXIMUM_BAND_6_VCID_1 = 17.040
    RADIANCE_MINIMUM_BAND_6_VCID_1 = 0.000
    QUANTIZE_CAL_MAX_BAND_6_VCID_1 = 255
    QUANTIZE_CAL_MIN_BAND_6_VCID_1 = 1
"""
LANDSAT_5 = """    SPACECRAFT_ID = "Landsat5"
    LMAX_BAND6 = 15.3032
    LMIN_BAND6 = 1.2378
    QCALMAX_BAND6 = 255.0
    QCALMIN_BAND6 = 1.0
"""


def write(folder, text):
    path = folder / "scene_MTL.txt"
    path.write_text(text)
    return path


def test_fields(tmp_path):
    mtl = read_mtl(write(tmp_path, LANDSAT_8))
    assert mtl["SPACECRAFT_ID"] == "LANDSAT_8"
    assert mtl["RADIANCE_MULT_BAND_10"] == 3.342e-4
    assert mtl["DATE_ACQUIRED"] == "2016-02-09"
    assert "GROUP" not in mtl


@pytest.mark.parametrize("band", [10, "10", "B10", "b10", "band_10"])
def test_landsat_8_by_hand(tmp_path, band):
    """DN 30000 is a radiance of 10.126 and, by K2 / ln(K1 / L + 1), 303.65 K."""
    mtl = read_mtl(write(tmp_path, LANDSAT_8))
    dn = xr.DataArray(np.array([30000, 0], np.uint16), dims="x")
    out = brightness_temperature(dn, mtl, band)
    assert out.dtype == np.float32
    assert out.attrs["units"] == "K"
    np.testing.assert_allclose(out, [1321.0789 / np.log(774.8853 / 10.126 + 1), np.nan], rtol=1e-6)
    assert out[0] == pytest.approx(303.65, abs=0.01)


def test_landsat_7_from_extremes_and_published_constants(tmp_path):
    gain, offset, k1, k2 = calibration(read_mtl(write(tmp_path, LANDSAT_7)), "6_VCID_1")
    assert gain * 255 + offset == pytest.approx(17.04)
    assert gain * 1 + offset == pytest.approx(0)
    assert (k1, k2) == (666.09, 1282.71)


def test_landsat_5_of_an_older_product(tmp_path):
    gain, offset, k1, k2 = calibration(read_mtl(write(tmp_path, LANDSAT_5)), "B6")
    # Chander et al. (2009), Table 5.
    assert (gain, offset) == (pytest.approx(0.055376, abs=3e-6), pytest.approx(1.18243, abs=1e-4))
    assert (k1, k2) == (607.76, 1260.56)
    dn = xr.DataArray(np.array([140.0, np.nan]), dims="x")
    assert brightness_temperature(dn, tmp_path / "scene_MTL.txt", 6)[0] == pytest.approx(299.0, abs=2)


@pytest.mark.parametrize("band", ["B5", 6, "thermal", "6_VCID_1"])
def test_a_band_without_thermal_calibration(tmp_path, band):
    mtl = read_mtl(write(tmp_path, LANDSAT_8))
    with pytest.raises(BandError, match=rf"no thermal calibration for band '?{band}'? of LANDSAT_8; expected .*'10'"):
        calibration(mtl, band)


@pytest.mark.parametrize(
    ("text", "old", "new", "band"),
    [
        (LANDSAT_8, "3.3420E-04", "1e999", 10),
        (LANDSAT_8, "774.8853", "1e300", 10),
        (LANDSAT_5, "QCALMAX_BAND6 = 255.0", "QCALMAX_BAND6 = 1.0", "6"),
    ],
)
def test_numbers_that_no_product_has_are_none(tmp_path, text, old, new, band):
    with pytest.raises(BandError, match="no thermal calibration"):
        calibration(read_mtl(write(tmp_path, text.replace(old, new))), band)


def test_files_that_are_no_metadata(tmp_path):
    with pytest.raises(ProductError, match="cannot be read"):
        read_mtl(tmp_path / "none_MTL.txt")
    with pytest.raises(ProductError, match="names no SPACECRAFT_ID"):
        read_mtl(write(tmp_path, "A = 1\n"))


def test_what_is_no_image(tmp_path):
    mtl = read_mtl(write(tmp_path, LANDSAT_8))
    with pytest.raises(CubeError, match="expected a DataArray of digital numbers"):
        brightness_temperature(np.ones(3), mtl, 10)
    with pytest.raises(CubeError, match="dn is bool"):
        brightness_temperature(xr.DataArray(np.ones(3, bool)), mtl, 10)


def test_a_dark_pixel_has_no_temperature(tmp_path):
    mtl = read_mtl(write(tmp_path, LANDSAT_7))
    out = brightness_temperature(xr.DataArray(np.array([1, 2], np.uint8), dims="x"), mtl, "6_VCID_1")
    np.testing.assert_array_equal(np.isnan(out), [True, False])


def test_lazy(tmp_path):
    dn = xr.DataArray(np.full((8, 8), 30000, np.uint16), dims=("y", "x")).chunk(y=4)
    with assert_lazy(dn):
        out = brightness_temperature(dn, write(tmp_path, LANDSAT_8), 10)
    assert out.chunks == ((4, 4), (8,))


def test_a_real_scene(data_dir):
    rioxarray = pytest.importorskip("rioxarray")
    folder = data_dir / "thermal_l8_mendoza_2016"
    dn = rioxarray.open_rasterio(folder / "LC82320832016040_DN_B10B11.tif")
    mtl = folder / "LC82320832016040LGN00_MTL.txt"
    out = [brightness_temperature(dn.isel(band=number), mtl, 10 + number) for number in range(2)]
    # A summer morning over irrigated fields and a town.
    assert 290 < float(out[0].min()) < float(out[0].max()) < 325
    assert float(abs(out[0] - out[1]).mean()) < 5
    first = dn.isel(band=0).values[0, 0]
    assert out[0][0, 0] == pytest.approx(1321.0789 / np.log(774.8853 / (3.342e-4 * first + 0.1) + 1), rel=1e-6)


def test_what_describes_digital_numbers_does_not_stay(tmp_path):
    """A reader of the result would scale it once more."""
    mtl = read_mtl(write(tmp_path, LANDSAT_8))
    packing = {"scale_factor": 3.342e-4, "add_offset": 0.1, "_FillValue": 0}
    dn = xr.DataArray(np.array([30000, 0], np.uint16), dims="x", attrs=packing)
    out = brightness_temperature(dn, mtl, 10)
    assert not set(packing) & set(out.attrs)
    out.to_dataset(name="t").to_netcdf(tmp_path / "t.nc")
    with xr.open_dataset(tmp_path / "t.nc") as back:
        np.testing.assert_array_equal(back["t"], out)


def test_infinite_numbers_are_no_data(tmp_path):
    dn = xr.DataArray(np.array([np.inf, -np.inf, np.nan, 30000.0]), dims="x")
    out = brightness_temperature(dn, read_mtl(write(tmp_path, LANDSAT_8)), 10)
    assert np.isfinite(out).values.tolist() == [False, False, False, True]


@pytest.mark.parametrize("path", [None, 5])
def test_no_path(path):
    with pytest.raises(ProductError, match=f"{path} cannot be read"):
        brightness_temperature(xr.DataArray(np.ones(2), dims="x"), path, 10)


def test_fields_as_whole_numbers(tmp_path):
    fields = {
        name: 2 if name.startswith("RADIANCE_MULT") else value
        for name, value in read_mtl(write(tmp_path, LANDSAT_8)).items()
    }
    assert calibration(fields, 10)[0] == 2.0


# --- products of Level-2 ---------------------------------------------------------------------------------------------

LEVEL_2 = {
    "PRODUCT_CONTENTS": {
        "LANDSAT_PRODUCT_ID": "{stem}",
        "PROCESSING_LEVEL": "L2SP",
        "COLLECTION_NUMBER": "02",
        "COLLECTION_CATEGORY": "{tier}",
        "FILE_NAME_BAND_2": "{stem}_SR_B2.TIF",
        "FILE_NAME_BAND_4": "{stem}_SR_B4.TIF",
        "FILE_NAME_BAND_ST_B10": "{stem}_ST_B10.TIF",
        "FILE_NAME_QUALITY_L1_PIXEL": "{stem}_QA_PIXEL.TIF",
    },
    "IMAGE_ATTRIBUTES": {
        "SPACECRAFT_ID": "LANDSAT_{number}",
        "WRS_PATH": "8",
        "WRS_ROW": "59",
        "DATE_ACQUIRED": "{day}",
        "SCENE_CENTER_TIME": "15:13:51.8610990Z",
    },
    "LEVEL2_PROCESSING_RECORD": {
        "LANDSAT_PRODUCT_ID": "{stem}",
        "DATE_PRODUCT_GENERATED": "2020-08-25T00:59:51Z",
    },
    "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {
        "REFLECTANCE_MULT_BAND_2": "2.75e-05",
        "REFLECTANCE_MULT_BAND_4": "5e-05",
        "REFLECTANCE_ADD_BAND_2": "-0.2",
        "REFLECTANCE_ADD_BAND_4": "-0.1",
    },
    "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS": {
        "TEMPERATURE_MULT_BAND_ST_B10": "0.00341802",
        "TEMPERATURE_ADD_BAND_ST_B10": "149.0",
    },
    "LEVEL1_PROCESSING_RECORD": {"LANDSAT_PRODUCT_ID": "LC08_L1TP", "FILE_NAME_BAND_2": "LC08_L1TP_B2.TIF"},
    "LEVEL1_RADIOMETRIC_RESCALING": {"REFLECTANCE_MULT_BAND_2": "2.0e-05", "REFLECTANCE_ADD_BAND_2": "-0.1"},
}
"""Names recur in groups of Level-1, whose numbers must not be taken."""


def metadata(form, groups):
    """Text of a metadata file."""
    if form == "json":
        return json.dumps({"LANDSAT_METADATA_FILE": groups})
    if form == "xml":
        fields = {g: "".join(f"<{k}>{v}</{k}>" for k, v in f.items()) for g, f in groups.items()}
        return f"<LANDSAT_METADATA_FILE>{''.join(f'<{g}>{f}</{g}>' for g, f in fields.items())}</LANDSAT_METADATA_FILE>"
    number = re.compile(r"[-\d.e]+")
    quoted = {
        g: "".join(f"    {k} = {v}\n" if number.fullmatch(v) else f'    {k} = "{v}"\n' for k, v in f.items())
        for g, f in groups.items()
    }
    return "".join(f"  GROUP = {g}\n{f}  END_GROUP = {g}\n" for g, f in quoted.items())


def write_tif(path, values, *, west=300000.0, north=9000015.0):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=values.shape[0],
        width=values.shape[1],
        dtype=values.dtype,
        crs="EPSG:32618",
        transform=Affine(30, 0, west, 0, -30, north),
    ) as file:
        file.write(values[None])


NUMBERS = np.array([[0, 7273, 8266, 20000], [65535, 10000, 1, 43636], [30000, 9000, 8000, 7000]], np.uint16)
KELVIN = np.array([[0, 42887, 44000, 45000]] * 3, np.uint16)
FLAGS = np.array([[1, 21824, 22280, 30048], [21826, 21952, 23888, 54596], [21824] * 4], np.uint16)
"""Fill, clear, cloud, snow; dilated cloud, water, cloud shadow, cirrus; clear."""


def write_level_2(
    folder, *, form="txt", number=8, day="2019-12-01", tier="T1", west=300000.0, flags=FLAGS, groups=LEVEL_2
):
    """Product of 3 x 4 pixels; its folder."""
    stem = f"LC0{number}_L2SP_008059_{day.replace('-', '')}_20200825_02_{tier}"
    root = folder / stem
    root.mkdir(parents=True)
    names = {"stem": stem, "number": number, "day": day, "tier": tier}
    filled = {g: {k: v.format(**names) for k, v in fields.items()} for g, fields in groups.items()}
    (root / f"{stem}_MTL.{form}").write_text(metadata(form, filled))
    layers = {"SR_B2": NUMBERS, "SR_B4": NUMBERS[::-1], "ST_B10": KELVIN, "QA_PIXEL": flags}
    for name, values in layers.items():
        write_tif(root / f"{stem}_{name}.TIF", np.ascontiguousarray(values), west=west)
    return root


def pack(root, kind):
    """Archive of a product."""
    if kind == "zip":
        return zipped(root)
    path = root.with_name(f"{root.name}.tar")
    with tarfile.open(path, "w") as file:
        file.add(root, "." if kind == "tar, as it is delivered" else root.name)
    return path


@pytest.mark.parametrize("form", ["txt", "xml", "json"])
def test_reflectance_is_scaled_by_the_group_of_level_2(tmp_path, form):
    cube = open_landsat(write_level_2(tmp_path, form=form))
    assert cube.dims == ("time", "band", "y", "x")
    assert cube.dtype == np.float32
    assert cube.name == "reflectance"
    assert cube.band.values.tolist() == ["B2", "B4"]
    assert cube.attrs["units"] == "1"
    expected = [
        [np.nan, 7.5e-6, 0.027315, 0.35],
        [1.6022125, 0.075, -0.1999725, 0.99999],
        [0.625, 0.0475, 0.02, -0.0075],
    ]
    np.testing.assert_allclose(cube[0, 0], expected, rtol=0, atol=2e-7)
    np.testing.assert_allclose(cube[0, 1, 0], [1.4, 0.35, 0.3, 0.25], rtol=0, atol=2e-7)
    assert np.isnan(cube[0, 1, 2, 0])
    assert cube.time.values[0] == np.datetime64("2019-12-01T15:13:51.861099")
    assert cube.odc.crs.epsg == 32618
    assert tuple(cube.odc.geobox.affine)[:6] == (30, 0, 300000, 0, -30, 9000015)
    assert cube.native_gsd.values.tolist() == [30, 30]
    assert cube.platform.values.tolist() == ["landsat-8"]
    assert cube.product_id.values.tolist() == ["LC08_L2SP_008059_20191201_20200825_02_T1"]
    assert cube.wrs.values.tolist() == ["008/059"]


def test_temperature_comes_alone_in_kelvin(tmp_path):
    root = write_level_2(tmp_path)
    for name in ("ST_B10", "B10", "lwir11"):
        cube = open_landsat(root, bands=[name])
        assert (cube.name, cube.attrs["units"]) == ("temperature", "K")
        assert cube.native_gsd.values.tolist() == [100]
        np.testing.assert_allclose(cube[0, 0, 0], [np.nan, 295.58862, 299.39288, 302.8109], rtol=0, atol=2e-5)
    with pytest.raises(ParameterError, match=r"bands=\['red', 'ST_B10'\] mix reflectance and temperature"):
        open_landsat(root, bands=["red", "ST_B10"])


def test_flags_of_fill_clouds_and_shadows_make_pixels_invalid(tmp_path):
    cube = open_landsat(write_level_2(tmp_path), bands="red")
    np.testing.assert_array_equal(cube.qa_pixel[0], FLAGS)
    assert cube.qa_pixel.dtype == np.uint16
    valid = [[False, True, False, True], [False, True, False, False], [True] * 4]
    np.testing.assert_array_equal(cube.valid[0], valid)
    masked = open_landsat(tmp_path / cube.product_id.values[0], bands="red", mask=True)
    np.testing.assert_array_equal(np.isfinite(masked[0, 0]), np.isfinite(cube[0, 0]) & valid)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar, as it is delivered"])
def test_archives_are_read_in_place(tmp_path, kind):
    root = write_level_2(tmp_path)
    expected = open_landsat(root).compute()
    xr.testing.assert_identical(open_landsat(pack(root, kind)).compute(), expected)


def test_files_inside_name_the_product_and_images_their_bands(tmp_path):
    root = write_level_2(tmp_path)
    (metadata_file,) = root.glob("*_MTL.txt")
    assert open_landsat(metadata_file).band.values.tolist() == ["B2", "B4"]
    assert open_landsat(str(next(root.glob("*_SR_B4.TIF")))).band.values.tolist() == ["B4"]
    assert open_landsat(sorted(root.glob("*_SR_B*.TIF"))).band.values.tolist() == ["B2", "B4"]
    assert open_landsat(next(root.glob("*_ST_B10.TIF"))).attrs["units"] == "K"


def test_opening_is_lazy(tmp_path):
    with assert_lazy(open_landsat(write_level_2(tmp_path))):
        pass


@pytest.mark.slow
def test_dates_and_satellites_make_a_series_over_all_their_frames(tmp_path):
    one = write_level_2(tmp_path)
    other = write_level_2(tmp_path, number=9, day="2019-11-23", west=300060.0)
    cube = open_landsat([one, other], bands=["B2"])
    assert cube.platform.values.tolist() == ["landsat-9", "landsat-8"]
    assert cube.odc.geobox.shape == (3, 6)
    np.testing.assert_array_equal(cube[1, 0, :, :4], open_landsat(one, bands=["B2"])[0, 0])
    np.testing.assert_array_equal(cube[0, 0, :, 2:], open_landsat(other, bands=["B2"])[0, 0])
    assert np.isnan(cube[1, 0, :, 4:]).all()
    assert not cube.qa_pixel[1, :, 4:].any()
    shifted = write_level_2(tmp_path, day="2019-10-01", west=300010.0)
    with pytest.raises(GridError, match="is on another grid"):
        open_landsat([one, shifted])


def test_of_two_categories_the_higher_stays(tmp_path):
    early, final = write_level_2(tmp_path, tier="RT"), write_level_2(tmp_path, tier="T1")
    with warned(r"dropped .*_RT \(kept .*_T1\)"):
        assert open_landsat([final, early]).product_id.values.tolist() == [final.name]


def test_what_is_not_there_is_named_with_what_is(tmp_path):
    root = write_level_2(tmp_path)
    with pytest.raises(BandError, match=r"\['ST_EMIS'\] requested; .* has SR_B2, SR_B4, ST_B10"):
        open_landsat(root, bands=["ST_EMIS"])
    with pytest.raises(BandError, match="names no band, or one twice"):
        open_landsat(root, bands=["red", "SR_B4"])
    next(root.glob("*_SR_B2.TIF")).unlink()
    with pytest.raises(ProductError, match=r"SR_B2\.TIF is missing .* choose bands= that are there: SR_B4, ST_B10"):
        open_landsat(root)
    with pytest.raises(ProductError, match="holds 2 Landsat products"):
        open_landsat(_two(tmp_path / "two"))
    with pytest.raises(ParameterError, match="no path given"):
        open_landsat([])


def _two(folder):
    write_level_2(folder)
    write_level_2(folder, day="2020-01-01")
    return folder


def test_other_levels_and_collections_are_named_for_what_they_are(tmp_path):
    first = LEVEL_2 | {"PRODUCT_CONTENTS": LEVEL_2["PRODUCT_CONTENTS"] | {"PROCESSING_LEVEL": "L1TP"}}
    with pytest.raises(ProductError, match=r"is of level L1TP; expected Collection 2 Level-2 .*brightness_temperature"):
        open_landsat(write_level_2(tmp_path / "a", groups=first))
    old = {"PRODUCT_METADATA": LEVEL_2["IMAGE_ATTRIBUTES"]}
    with pytest.raises(ProductError, match="has no group PRODUCT_CONTENTS; expected a product of Collection 2"):
        open_landsat(write_level_2(tmp_path / "b", groups=old))
    bare = {name: fields for name, fields in LEVEL_2.items() if name != "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"}
    with pytest.raises(ProductError, match=r"has no TEMPERATURE_MULT_BAND_ST_B10 and TEMPERATURE_ADD"):
        open_landsat(write_level_2(tmp_path / "c", groups=bare), bands=["ST_B10"])


def test_compressed_tar_archives_must_be_unpacked(tmp_path):
    path = tmp_path / "LC08.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(write_level_2(tmp_path), ".")
    with pytest.raises(ProductError, match=r"is a compressed tar archive, .*Unpack it first"):
        open_landsat(path)
    (tmp_path / "b.tar").write_bytes(b"no archive at all")
    with pytest.raises(ProductError, match=r"b\.tar cannot be read"):
        open_landsat(tmp_path / "b.tar")
