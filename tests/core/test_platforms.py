"""Band names of sensors that number their bands in their own ways, where the cube states its satellite."""

import dask
import numpy as np
import pytest
import xarray as xr
from helpers import make_cube

import xsr
from xsr.core import platforms, sensors
from xsr.core.cube import open_cube
from xsr.core.errors import BandError
from xsr.core.sensors import canonical_names

OLI = ("B1", "B2", "B3", "B4", "B5", "B6", "B7")
OLI_COLOURS = ("B01", "B02", "B03", "B04", "B08", "B11", "B12")


def cube_of(names, *platforms, **attrs):
    """A cube of one date for each platform."""
    cube = make_cube((max(len(platforms), 1), len(names), 6, 5)).assign_coords(band=list(names)).assign_attrs(attrs)
    return cube.assign_coords(platform=("time", list(platforms))) if platforms else cube


@pytest.mark.parametrize("platform", ["landsat-8", "LANDSAT_9", "Landsat 8"])
def test_bands_of_landsat_mean_the_colours_that_they_show(platform):
    assert open_cube(cube_of(OLI, platform)).canonical == OLI_COLOURS
    assert open_cube(cube_of(OLI, platform).to_dataset("band")).canonical == OLI_COLOURS
    assert open_cube(cube_of(OLI, SPACECRAFT_ID=platform)).canonical == OLI_COLOURS


def test_the_thematic_mapper_numbers_its_bands_otherwise():
    assert open_cube(cube_of(("B1", "B3", "B4", "B5", "B7"), "landsat-5")).canonical == (
        *("B02", "B04", "B08", "B11", "B12"),
    )


@pytest.mark.parametrize("platform", ["sentinel-2a", "Sentinel-2B", "sentinel-2", "an unknown satellite"])
def test_names_of_sentinel_2_and_of_unknown_satellites_are_read_as_before(platform):
    assert open_cube(cube_of(OLI, platform)).canonical == canonical_names(OLI)


def test_a_band_that_sentinel_2_lacks_means_none_of_its_bands():
    assert open_cube(cube_of(("B8", "B10", "B11"), "landsat-8")).canonical == (
        *("B8 of landsat-8", "B10 of landsat-8", "B11 of landsat-8"),
    )


def test_in_a_series_of_two_sensors_only_what_means_the_same_to_both_has_a_meaning():
    cube = cube_of(("red", "nir", "B4"), "landsat-5", "landsat-8")
    assert open_cube(cube).canonical == ("B04", "B08", "B4 of landsat-5, landsat-8")


def test_names_that_the_sensor_does_not_have_keep_their_meaning():
    assert open_cube(cube_of(("B8A", "quality"), "landsat-8")).canonical == ("B8A", "quality")


@pytest.mark.slow
def test_a_network_for_sentinel_2_takes_the_near_infrared_of_landsat_for_that_and_not_for_a_red_edge():
    names, colours = ["B2", "B3", "B4", "B5"], ["B02", "B03", "B04", "B08"]
    landsat = cube_of(names, "landsat-8")
    ours = xsr.liif(landsat, scale=2)
    expected = xsr.liif(landsat.drop_vars("platform").assign_coords(band=colours), scale=2)
    assert ours["band"].values.tolist() == names
    np.testing.assert_array_equal(ours.values, expected.values)


def test_bands_are_chosen_by_their_own_name_or_by_colour_and_not_by_the_number_of_another_sensor():
    cube = open_cube(cube_of(OLI, "landsat-8"))
    assert cube.select(["B5"]).bands == cube.select(["nir"]).bands == cube.select(["B08"]).bands == ("B5",)
    with pytest.raises(BandError, match=r"B05.*did you mean 'B5'"):
        cube.select(["B05"])


def test_a_lazy_coordinate_of_platforms_is_read_without_the_scheduler_of_the_user():
    cube = cube_of(OLI, "landsat-8")
    lazy = cube.assign_coords(platform=xr.DataArray(cube["platform"].values, dims="time").chunk())

    def refuse(*args, **kwargs):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        assert open_cube(lazy).canonical == OLI_COLOURS


def test_optics_by_band_go_by_the_cubes_own_names():
    mtf = {"B4": 0.1, "B5": 0.3}
    ours = xsr.degrade(cube_of(("B4", "B5"), "landsat-8"), scale=2, mtf=mtf)
    expected = xsr.degrade(cube_of(("B4", "B5")), scale=2, mtf=mtf)
    np.testing.assert_array_equal(ours.values, expected.values)
    assert open_cube(cube_of(("B10",), "landsat-8")).spelled("sentinel-2") == ("B10",)


def test_a_mapping_says_what_bands_are_whatever_the_satellite():
    cube = make_cube((1, 2, 8, 8), bands=["B4", "B5"]).assign_attrs(platform="landsat-8")
    assert open_cube(cube).canonical == ("B04", "B08")
    assert open_cube(cube, bands={"B04": "B4", "B08": "B5"}).canonical == ("B04", "B08")


def test_padded_numbers_of_landsat_are_its_own():
    landsat = sensors.get("landsat-8")
    assert platforms.meanings(["B02", "B05", "B08"], ["B02", "B05", "B08"], [landsat]) == [
        "B02",
        "B08",
        "B08 of landsat-8",
    ]


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy has this type from version 2 on")
def test_satellites_in_texts_of_any_kind_are_read():
    cube = make_cube((2, 1, 8, 8), bands=["B5"])
    texts = np.array(["landsat-8", "landsat-9"], np.dtypes.StringDType())
    assert open_cube(cube.assign_coords(platform=("time", texts))).canonical == ("B08",)
