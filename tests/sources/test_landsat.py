"""Tests of Landsat's metadata and brightness temperatures."""

import numpy as np
import pytest
import xarray as xr

from xsr.core.errors import BandError, CubeError, ProductError
from xsr.sources.landsat import brightness_temperature, calibration, read_mtl
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
