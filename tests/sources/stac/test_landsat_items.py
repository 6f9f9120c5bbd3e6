"""Landsat by STAC: one series of several satellites, temperatures apart, its own quality band."""

import numpy as np
import pystac
import pytest
import rasterio
from catalogs import make_item, write_items
from products import truth, warned

from xsr.core.errors import BandError, HarmonisationError, ParameterError
from xsr.sources.stac import open_stac
from xsr.sources.stac.bands import choose_bands

SR = {"nodata": 0, "scale": 2.75e-5, "offset": -0.2}
ST = {"nodata": 0, "scale": 0.00341802, "offset": 149.0, "unit": "kelvin"}
COLOURS = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir08", "B11": "swir16", "B12": "swir22"}
CLEAR, CLOUD, SHADOW, DILATED, CIRRUS, SNOW, WATER, FILL = 21824, 22280, 23888, 21826, 54596, 30048, 21952, 1


def landsat(folder, platform, day, *, thermal="lwir11", qa=None, collection="landsat-c2-l2", stated=True):
    """Item of Landsat Collection 2 Level 2; digital numbers of reflectance are truth times 10000 plus 10000."""
    made = make_item(
        folder, day=day, added=10000, baseline=None, platform=platform, bands=tuple(COLOURS), names=COLOURS.get
    )
    made["properties"] |= {"constellation": None, "s2:mgrs_tile": None, "s2:generation_time": None}
    identity = f"L{'C' if platform[-1] in '89' else 'E' if platform[-1] == '7' else 'T'}0{platform[-1]}"
    made["id"] = f"{identity}_L2SP_198024_{day.replace('-', '')}_02_T1"
    made["collection"] = collection
    scl = made["assets"].pop("scl")
    for asset in made["assets"].values():
        if stated:
            asset["raster:bands"] = [SR]
    made["assets"][thermal] = {**made["assets"]["red"], **({"raster:bands": [ST]} if stated else {})}
    file = folder / scl["href"]
    with rasterio.open(file) as opened:
        profile = {**opened.profile, "dtype": "uint16", "driver": "GTiff"}
    values = np.full((1, profile["height"], profile["width"]), CLEAR, np.uint16)
    if qa is not None:
        values[0, 0, : len(qa)] = qa
    with rasterio.open(file, "w", **profile) as opened:
        opened.write(values)
    made["assets"]["qa_pixel"] = scl
    return made


def reflectance(band):
    return (np.round(truth(band, 10) * 10000) + 10000) * 2.75e-5 - 0.2


def kelvin(band):
    return (np.round(truth(band, 10) * 10000) + 10000) * 0.00341802 + 149


@pytest.mark.slow
def test_a_temperature_is_kelvin_and_says_so(tmp_path):
    path = write_items(tmp_path / "items.json", [landsat(tmp_path, "landsat-8", "2024-06-15")])
    cube = open_stac(path, bands=["lwir11"])
    assert cube.name == "surface_temperature"
    assert cube.attrs["units"] == "K"
    assert cube.attrs["long_name"] == "surface temperature"
    assert cube.attrs["standard_name"] == "surface_temperature"
    assert cube.band.values.tolist() == ["B10"]
    np.testing.assert_allclose(cube[0, 0], kelvin("B04"), atol=1e-3)
    for name in ("ST_B10", "B10", "lwir", "TIRS_B10"):
        np.testing.assert_array_equal(open_stac(path, bands=[name]), cube)


def test_the_default_bands_are_reflectances_and_mixing_is_refused(tmp_path):
    path = write_items(tmp_path / "items.json", [landsat(tmp_path, "landsat-8", "2024-06-15")])
    cube = open_stac(path)
    assert cube.band.values.tolist() == ["B2", "B3", "B4", "B5", "B6", "B7"]
    assert (cube.name, cube.attrs["units"]) == ("reflectance", "1")
    np.testing.assert_allclose(cube.sel(band="B4")[0], reflectance("B04"), atol=1e-6)
    with pytest.raises(BandError, match=r"mix reflectance and temperature \(B10\); .* with bands=\['B10'\]"):
        open_stac(path, bands=["red", "lwir11"])
    assert open_stac(path, bands=["B10"]).sizes["band"] == 1  # the advice works


def test_landsat_8_and_9_make_one_series(tmp_path):
    items = [landsat(tmp_path, "landsat-8", "2024-06-15"), landsat(tmp_path, "landsat-9", "2024-06-23")]
    cube = open_stac(write_items(tmp_path / "items.json", items), bands=["red"])
    assert cube.platform.values.tolist() == ["landsat-8", "landsat-9"]
    assert cube.band.values.tolist() == ["B4"]
    for date in range(2):
        np.testing.assert_allclose(cube[date, 0], reflectance("B04"), atol=1e-6)


@pytest.mark.slow
def test_the_thematic_mappers_make_one_series(tmp_path):
    items = [
        landsat(tmp_path, f"landsat-{number}", day, thermal="lwir")
        for number, day in ((4, "1985-06-15"), (5, "1985-06-23"), (7, "2001-06-15"))
    ]
    path = write_items(tmp_path / "items.json", items)
    cube = open_stac(path)
    assert cube.band.values.tolist() == ["B1", "B2", "B3", "B4", "B5", "B7"]
    assert cube.platform.values.tolist() == ["landsat-4", "landsat-5", "landsat-7"]
    np.testing.assert_allclose(cube.sel(band="B3")[2], reflectance("B04"), atol=1e-6)
    assert open_stac(path, bands=["lwir"]).attrs["units"] == "K"


@pytest.mark.slow
def test_sensors_that_number_their_bands_differently_share_a_series_by_colour(tmp_path):
    items = [
        landsat(tmp_path, "landsat-7", "2013-06-15", thermal="lwir"),
        landsat(tmp_path, "landsat-8", "2013-06-23"),
    ]
    path = write_items(tmp_path / "items.json", items)
    cube = open_stac(path)
    assert cube.band.values.tolist() == ["blue", "green", "red", "nir", "swir16", "swir22"]
    for date in range(2):
        np.testing.assert_allclose(cube.sel(band="red")[date], reflectance("B04"), atol=1e-6)
        np.testing.assert_allclose(cube.sel(band="nir")[date], reflectance("B08"), atol=1e-6)
    assert cube.native_gsd.values.tolist() == [30.0] * 6
    with pytest.raises(BandError, match=r"band 'B3' has no common meaning .* Pass 'red' for what landsat-7 calls B3"):
        open_stac(path, bands=["B3"])
    assert open_stac(path, bands=["lwir"]).attrs["units"] == "K"


def test_landsat_and_sentinel_stay_apart(tmp_path):
    items = [landsat(tmp_path, "landsat-8", "2024-06-15"), make_item(tmp_path, day="2024-06-20")]
    with pytest.raises(ParameterError, match="items of landsat-8 and sentinel-2 together"):
        open_stac(write_items(tmp_path / "items.json", items))


def test_the_quality_band_masks_clouds_their_shadows_and_margins(tmp_path):
    codes = [CLEAR, CLOUD, SHADOW, DILATED, CIRRUS, SNOW, WATER, FILL]
    path = write_items(tmp_path / "items.json", [landsat(tmp_path, "landsat-8", "2024-06-15", qa=codes)])
    cube = open_stac(path, bands=["red"])
    seen = [True, False, False, False, False, True, True, False]
    row = cube.qa_pixel[0, 0].values
    assert row.dtype == np.uint16
    assert row[: 2 * len(codes) : 2].tolist() == codes
    assert cube.valid[0, 0].values[: 2 * len(codes) : 2].tolist() == seen
    masked = open_stac(path, bands=["red"], mask=True)
    np.testing.assert_array_equal(np.isnan(masked[0, 0]), ~cube.valid[0])


def test_collection_2_is_known_and_nothing_else_is_guessed(tmp_path):
    known = landsat(tmp_path, "landsat-8", "2024-06-15", stated=False)
    path = write_items(tmp_path / "items.json", [known])
    cube = open_stac(path, bands=["red"])
    np.testing.assert_allclose(cube[0, 0], reflectance("B04"), atol=1e-6)
    assert cube.offset_source.values.tolist() == ["Landsat Collection 2 Level-2"]
    np.testing.assert_allclose(open_stac(path, bands=["lwir11"])[0, 0], kelvin("B04"), atol=1e-3)
    known |= {"id": "a", "collection": "of-somebody"}
    with pytest.raises(HarmonisationError, match=r"asset 'red' states no scale in raster:bands"):
        open_stac(write_items(path, [known]), bands=["red"])
    with pytest.raises(HarmonisationError, match=r"'lwir11' is a thermal band whose numbers are in no stated unit"):
        open_stac(path, bands=["lwir11"])


def test_radiance_is_not_taken_for_reflectance(tmp_path):
    item = landsat(tmp_path, "landsat-8", "2024-06-15")
    for key in ("red", "lwir11"):
        item["assets"][key]["raster:bands"] = [{"scale": 0.01, "offset": 0, "unit": "watt/steradian/square_meter"}]
    path = write_items(tmp_path / "items.json", [item])
    with pytest.raises(HarmonisationError, match=r"asset 'red' holds watt/steradian.*; expected reflectance"):
        open_stac(path, bands=["red"])
    with pytest.raises(HarmonisationError, match=r"'lwir11' is a thermal band .* watt/.*brightness_temperature"):
        open_stac(path, bands=["lwir11"])


def test_of_two_processings_of_a_scene_the_latest_is_kept(tmp_path):
    early, late = (landsat(tmp_path / part, "landsat-8", "2024-06-15") for part in "ab")
    for item, part, day in ((early, "a", "20240616"), (late, "b", "20240701")):
        item["id"] = f"LC08_L2SP_198024_20240615_{day}_02_T1"
        for asset in item["assets"].values():
            asset["href"] = f"{part}/{asset['href']}"
    with warned(rf"dropped {early['id']} \(kept {late['id']}\)"):
        cube = open_stac(write_items(tmp_path / "items.json", [late, early]), bands=["red"])
    assert cube.product_id.values.tolist() == [late["id"]]


def test_a_composite_of_satellites_is_no_image(data_dir):
    item = pystac.Item.from_file(str(data_dir / "stac_items" / "only_crs_proj.json"))
    with pytest.raises(ParameterError, match=r"joins several satellites \(landsat-5,landsat-7,landsat-8\)"):
        choose_bands([item], None)


@pytest.mark.slow
def test_temperatures_are_fetched_under_their_own_name(tmp_path):
    import xarray as xr

    from xsr.sources.fetch import fetch

    path = write_items(tmp_path / "items.json", [landsat(tmp_path, "landsat-8", "2024-06-15")])
    fetch(tmp_path / "a.zarr", path, bands=["lwir11"], progress=False)
    with xr.open_zarr(tmp_path / "a.zarr", decode_coords="all") as held:
        assert list(held.data_vars) == ["surface_temperature"]
        assert held["surface_temperature"].attrs["units"] == "K"
        np.testing.assert_allclose(held["surface_temperature"][0, 0], kelvin("B04"), atol=1e-3)
