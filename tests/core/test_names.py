"""Dimensions and bands as tools name them."""

import dask.array as da
import numpy as np
import pytest
import rioxarray
import xarray as xr
from helpers import BANDS, make_cube, make_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from models.helpers import write_model

import xsr
from xsr.core.cube import open_cube
from xsr.core.errors import BandError, CubeError, ParameterError
from xsr.core.names import rename_dims, standard_dims, standardise
from xsr.core.sensors import canonical_names, doubt
from xsr.testing import assert_lazy

TIMES = ("t", "timestamp", "date", "Time", "datetime")
CHANNELS = ("bands", "variable", "channel", "Band")
PLACES = (("Y", "X"), ("northing", "easting"), ("lat", "lon"), ("Latitude", "Longitude"), ("y", "x"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"), optional=BANDS[:4])


def renamed(cube, time="t", band="bands", place=("y", "x")):
    """The cube with other names of its dimensions, the coordinates of which are those of the grid alone."""
    own = {"time": time, "band": band, "y": place[0], "x": place[1]}
    return cube.rename({old: new for old, new in own.items() if old in cube.dims and old != new})


def numbered(values=(4, 6, 5), **attrs):
    """The cube as rioxarray opens a GeoTIFF: bands are numbers from 1."""
    cube = make_cube(values)
    return cube.assign_coords(band=np.arange(1, cube.sizes["band"] + 1)).assign_attrs(attrs)


# --- what a band is called -------------------------------------------------------------------------------

SPELLINGS = {
    "Sentinel Hub, Planetary Computer, cubo, sentle": (BANDS, BANDS),
    "Earth Engine, xee": (("B2", "B3", "B4", "B8", "B5", "B6", "B7", "B8A", "B11", "B12"), BANDS),
    "EOPF": (("b02", "b03", "b04", "b08", "b05", "b06", "b07", "b8a", "b11", "b12"), BANDS),
    "CDSE": (("B02_10m", "B03_10m", "B04_10m", "B08_10m", "B05_20m", "B8A_20m"), (*BANDS[:5], "B8A")),
    "Terrascope": (("TOC-B02_10M", "TOC-B08_10M", "TOC-B8A_20M", "TOC-B03"), ("B02", "B08", "B8A", "B03")),
    "Earth Search": (
        ("blue", "green", "red", "nir", "rededge1", "rededge2", "rededge3", "nir08", "swir16", "swir22"),
        BANDS,
    ),
    "Digital Earth Australia": (
        (
            *("nbart_blue", "nbart_green", "nbart_red", "nbart_nir_1", "nbart_red_edge_1", "nbart_red_edge_2"),
            *("nbart_red_edge_3", "nbart_nir_2", "nbart_swir_2", "nbart_swir_3"),
        ),
        BANDS,
    ),
    "its aliases": (("nbart_band02", "nbart_band8a", "nbart_common_nir", "nbart_B04"), ("B02", "B8A", "B08", "B04")),
    "the same without prefix": (("blue", "nir_1", "nir_2", "swir_2", "swir_3"), ("B02", "B08", "B8A", "B11", "B12")),
    "Digital Earth Africa": (("red_edge_1", "nir", "nir_2", "swir_1", "swir_2"), ("B05", "B08", "B8A", "B11", "B12")),
    "its Landsat": (("nbart_nir", "nbart_swir_1", "nbart_swir_2"), ("B08", "B11", "B12")),
    "HLS": (
        ("Blue", "NIR_Broad", "NIR_Narrow", "SWIR_1", "SWIR_2", "Red_Edge_3"),
        ("B02", "B08", "B8A", "B11", "B12", "B07"),
    ),
    "FORCE": (("BLUE", "BROADNIR", "NIR", "SWIR1"), ("B02", "B08", "B8A", "B11")),
    "GDAL": (("B4, central wavelength 665 nm", "B8A, central wavelength 865 nm"), ("B04", "B8A")),
    "files of a product": (("T31UFS_20240615T105031_B02_10m", "S2A_T31UFS_20240615T105031_B8A"), ("B02", "B8A")),
    "Landsat's numbers": (("SR_B2", "SR_B5", "ST_B10"), ("SR_B2", "SR_B5", "ST_B10")),
    "what is no band": (("NDVI", "albedo", "band_1", "1"), ("NDVI", "albedo", "band_1", "1")),
}


@pytest.mark.parametrize(("labels", "names"), SPELLINGS.values(), ids=SPELLINGS)
def test_the_bands_of_every_tool_have_their_canonical_names(labels, names):
    assert canonical_names(labels) == names
    cube = make_cube((len(labels), 4, 4), bands=labels)
    assert open_cube(cube).canonical == names
    assert open_cube(cube).bands == labels
    assert open_cube(cube.to_dataset("band")).canonical == names


def test_a_word_of_two_meanings_is_left_open_where_nothing_stands_beside_it():
    assert canonical_names(["nbart_red", "nbart_swir_2"]) == ("B04", "nbart_swir_2")
    assert canonical_names(["nir_1", "swir_1", "swir_2"]) == ("B08", "B11", "swir_2")
    assert doubt("nbart_swir_2") == (
        "'nbart_swir_2' is B11 of Sentinel-2 and like B12 of Landsat at Digital Earth Australia."
    )


def test_a_selection_keeps_the_meaning_that_the_whole_cube_gives_to_a_word():
    labels = ["nbart_nir_1", "nbart_swir_2", "nbart_swir_3"]
    cube = make_cube((3, 4, 4), bands=labels)
    for form in (cube, cube.to_dataset("band")):
        chosen = open_cube(form, bands=["B11"])
        assert chosen.bands == ("nbart_swir_2",)
        assert chosen.canonical == ("B11",)
        assert np.array_equal(chosen.data.values[0, 0], cube.values[1])


def test_a_word_of_two_meanings_is_degraded_as_the_band_that_it_means():
    cube = make_cube((3, 24, 24), bands=["nir_1", "swir_2", "swir_3"])
    named = cube.assign_coords(band=["B08", "B11", "B12"])
    for options in ({"native_gsd": "grid"}, {"native_gsd": "sensor", "bands": ["B11", "B12"]}):
        for found, wanted in zip(xsr.wald(cube, scale=2, **options), xsr.wald(named, scale=2, **options), strict=True):
            np.testing.assert_array_equal(found.values, wanted.values)
    low, low_named = xsr.degrade(cube, scale=2), xsr.degrade(named, scale=2)
    scores, wanted = xsr.evaluate(cube, None, low=low), xsr.evaluate(named, None, low=low_named)
    np.testing.assert_array_equal(scores["low_fidelity"].values, wanted["low_fidelity"].values)


def test_stacs_common_name_says_what_a_band_is_where_its_name_does_not():
    cube = make_cube((3, 4, 4), bands=["image-1", "image-2", "B08"])
    cube = cube.assign_coords({"common_name": ("band", ["red", "green", "blue"])})
    assert open_cube(cube).canonical == ("B04", "B03", "B08")
    assert open_cube(cube, bands=["red"]).bands == ("image-1",)
    coarse = cube.assign_coords(common_name=("band", ["rededge", "rededge", ""]))
    assert open_cube(coarse).canonical == ("image-1", "image-2", "B08")


def test_two_names_of_one_band_are_refused():
    for labels in (["B08", "nir"], ["B02", "nbart_blue"]):
        with pytest.raises(BandError, match=rf"\['{labels[0]}', '{labels[1]}'\] name a band twice"):
            open_cube(make_cube((2, 4, 4), bands=labels))


def test_the_same_band_of_several_dates_beside_one_another_stays_apart():
    labels = [f"202406{day:02d}T105031_20240615T110045_T31UFS_B2" for day in (5, 15)]
    assert open_cube(make_cube((2, 4, 4), bands=labels)).canonical == tuple(labels)


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("blu", "Did you mean B02 ('blue') by 'blu'?"),
        ("BO4", "Did you mean B04 ('B4') by 'BO4'?"),
        ("SR_B2", "'SR_B2' is a name of Landsat, whose numbers mean other bands from satellite to satellite."),
        ("B13", ""),
        ("B02", ""),
        ("1", ""),
    ],
)
def test_a_name_that_is_not_known_gets_a_hint_but_never_to_another_number(label, text):
    assert doubt(label) == text


# --- names that metadata list ------------------------------------------------------------------------------

NAMES = ["B2", "B3", "B4", "B8"]


@pytest.mark.parametrize("attribute", ["long_name", "descriptions", "band_names"])
@pytest.mark.parametrize("form", [tuple, list, np.array])
def test_numbered_bands_have_the_names_that_an_attribute_lists(attribute, form):
    cube = numbered(**{attribute: form(NAMES)})
    opened = open_cube(cube)
    assert opened.bands == tuple(NAMES)
    assert np.array_equal(opened.data.values[0], cube.values)
    fine = xsr.interpolate(cube, scale=2)
    assert fine["band"].values.tolist() == NAMES
    assert attribute not in fine.attrs
    assert attribute in cube.attrs


def test_a_selection_of_numbered_bands_is_named_by_its_numbers():
    cube = numbered(long_name=tuple(NAMES))
    assert open_cube(cube.sel(band=[4, 1])).bands == ("B8", "B2")
    assert open_cube(cube.isel(band=slice(None, None, -1))).bands == tuple(reversed(NAMES))
    assert open_cube(cube.sel(band=3)).bands == ("B4",)
    assert open_cube(cube.assign_coords(band=range(4))).bands == tuple(NAMES)
    assert open_cube(cube.drop_vars("band")).bands == tuple(NAMES)


def test_one_text_names_one_band_unless_it_describes_it():
    one = numbered((1, 6, 5))
    assert open_cube(one.assign_attrs(long_name="B2")).bands == ("B2",)
    assert open_cube(one.assign_attrs(long_name="B4, central wavelength 665 nm")).canonical == ("B04",)
    assert open_cube(one.assign_attrs(long_name="surface reflectance in blue")).bands == ("1",)
    assert open_cube(numbered(long_name="B2")).bands == ("1", "2", "3", "4")


@pytest.mark.parametrize(
    "listed",
    [("reflectance",) * 4, ("B2", "B3"), ("", None, "", ""), (1, 2, 3, 4), "B2", 7, None, ("B2", 2, "B3", "B4")],
)
def test_a_list_that_does_not_name_every_band_differently_is_no_list_of_names(listed):
    assert open_cube(numbered(long_name=listed)).bands == ("1", "2", "3", "4")


def test_a_band_without_a_description_keeps_its_number():
    assert open_cube(numbered(long_name=("B2", None, "", "B8"))).bands == ("B2", "2", "3", "B8")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (("blue", "green", "x1"), ("blue", "green", "x1")),
        (
            ("B4, central wavelength 665 nm", None, "the blue band"),
            ("B4, central wavelength 665 nm", "band_2", "band_3"),
        ),
        (("blue", "blue", "red"), ("band_1", "band_2", "band_3")),
        (("x", "y", "z"), ("band_1", "band_2", "band_3")),
    ],
)
def test_numbered_variables_have_the_names_that_their_attributes_give(given, names):
    dataset = make_dataset((3, 4, 4), bands=["band_1", "band_2", "band_3"])
    for variable, text in zip(dataset.data_vars.values(), given, strict=True):
        variable.attrs.update({} if text is None else {"long_name": text})
    opened = open_cube(dataset)
    assert opened.bands == names
    assert np.array_equal(opened.data.values[0, 2], dataset["band_3"].values)
    assert dataset["band_1"].attrs["long_name"] == given[0]


def test_bands_with_names_keep_them_whatever_the_attributes_say():
    cube = make_cube((2, 4, 4), bands=["B02", "B03"]).assign_attrs(long_name=("a", "b"))
    assert open_cube(cube).bands == ("B02", "B03")
    described = make_dataset((2, 4, 4))
    described["B02"].attrs["long_name"] = "B12"
    assert open_cube(described).bands == ("B02", "B03")


@pytest.mark.parametrize("coordinate", ["name", "band_name", "common_name", "eo:common_name"])
def test_numbered_bands_have_the_names_of_a_coordinate_along_them(coordinate):
    cube = numbered(long_name=("x", "y", "z", "w")).assign_coords(
        {coordinate: ("band", ["blue", "green", "red", "nir"])}
    )
    assert open_cube(cube).canonical == ("B02", "B03", "B04", "B08")


@pytest.mark.slow
def test_a_geotiff_of_rioxarray_is_named_by_its_descriptions_both_ways(tmp_path, model):
    path = tmp_path / "scene.tif"
    cube = make_cube((4, 24, 24))
    cube.assign_attrs(long_name=tuple(NAMES)).rio.to_raster(path)
    opened = rioxarray.open_rasterio(path, chunks={})
    assert opened["band"].values.tolist() == [1, 2, 3, 4]
    fine = opened.sr.liif(scale=2, model=model, bands=["red", "nir"])
    assert fine["band"].values.tolist() == ["B4", "B8"]
    np.testing.assert_array_equal(fine.values, xsr.liif(cube, scale=2, model=model, bands=["B04", "B08"]).values)
    split = rioxarray.open_rasterio(path, band_as_variable=True)
    assert split["band_3"].attrs["long_name"] == "B4"
    assert list(split.sr.liif(scale=2, model=model, bands=["red", "nir"])) == ["B4", "B8"]
    assert list(split.sr.liif(scale=2, model=model, bands=["band_3", "B8"])) == ["B4", "B8"]
    assert split["band_3"].attrs["long_name"] == "B4"
    again = split.sr.liif(scale=2, model=model, bands={"B04": "band_3", "B08": "band_4"})
    assert list(again.data_vars) == ["B04", "B08"]
    np.testing.assert_array_equal(again["B08"].values, fine.values[1])


# --- empty names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", ["", " ", None, np.nan, "nan", "None"])
def test_an_empty_name_is_refused(empty):
    cube = make_cube((3, 4, 4)).assign_coords(band=np.array(["B02", empty, "B04"], object))
    with pytest.raises(
        BandError, match=r"band\(s\) number \[2\] of .* have no name.*\.assign_coords\(band=\[\.\.\.\]\)"
    ):
        open_cube(cube)
    with pytest.raises(BandError, match=r"\.assign_coords\(channel=\[\.\.\.\]\)"):
        open_cube(cube.rename(band="channel"))
    assert open_cube(cube, bands={"B08": "B04"}).bands == ("B08",)


def test_a_variable_without_a_name_is_refused_with_a_remedy_that_works():
    dataset = make_dataset((2, 4, 4)).rename({"B02": ""})
    with pytest.raises(BandError, match=r"number \[1\].*\.rename\(\{'': 'B02'\}\)"):
        open_cube(dataset)
    assert open_cube(dataset.rename({"": "B02"})).bands == ("B02", "B03")


# --- names given by the user -------------------------------------------------------------------------------

LABELS = ("nbart_blue", "x2", "x3")
MAPPING = {"B04": "x3", "B02": "nbart_blue"}


@pytest.mark.parametrize("as_dataset", [False, True])
def test_a_mapping_selects_and_names_bands_in_its_order(as_dataset):
    cube = make_cube((2, 3, 6, 5), bands=LABELS)
    given = cube.to_dataset("band") if as_dataset else cube
    fine = xsr.interpolate(given, scale=2, bands=MAPPING)
    wanted = xsr.interpolate(make_cube(cube.values[:, [2, 0]], bands=["B04", "B02"]), scale=2)
    if as_dataset:
        assert list(fine.data_vars) == ["B04", "B02"]
        fine = fine.to_dataarray("band").transpose(*wanted.dims)
    xr.testing.assert_equal(fine.drop_attrs(), wanted.drop_attrs())


def test_a_mapping_names_numbers_with_and_without_names_of_their_own():
    for cube in (numbered(), numbered(long_name=tuple(NAMES))):
        assert open_cube(cube, bands={"B08": 4, "B02": 1}).bands == ("B08", "B02")
        assert np.array_equal(open_cube(cube, bands={"B08": np.int64(4)}).data.values[0, 0], cube.values[3])
    assert open_cube(numbered(long_name=tuple(NAMES)), bands={"B02": "B8"}).bands == ("B02",)
    assert open_cube(make_cube((4, 4)).rename("grey"), bands={"B02": "grey"}).bands == ("B02",)


def test_named_bands_may_still_be_selected_by_their_numbers():
    cube = numbered(long_name=tuple(NAMES))
    assert open_cube(cube, bands=[4, 1]).bands == ("B8", "B2")
    assert open_cube(cube, bands=["4", "blue"]).bands == ("B8", "B2")
    assert open_cube(numbered(), bands=["3"]).bands == ("3",)


def test_shifts_are_measured_in_bands_named_by_a_mapping():
    cube = numbered((2, 4, 32, 32), long_name=tuple(NAMES))
    found = xsr.register(cube, reference=cube.isel(time=[0]), bands={"B02": 1})
    wanted = xsr.register(cube, reference=cube.isel(time=[0]), bands=["blue"])
    assert found["band"].values.tolist() == NAMES
    np.testing.assert_array_equal(found["shift_x_m"].values, wanted["shift_x_m"].values)


def test_a_mapping_may_exchange_names_and_takes_a_name_from_a_variable_that_is_left_out():
    dataset = make_dataset((3, 4, 4))
    opened = open_cube(dataset, bands={"B02": "B03", "B03": "B02"})
    assert np.array_equal(opened.data.values[0, 0], dataset["B03"].values)
    assert np.array_equal(open_cube(dataset, bands={"B04": "B02"}).data.values[0, 0], dataset["B02"].values)


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ({}, r"bands=\{\}; expected names with the labels of the cube, such as bands=\{'B02': 'nbart_blue'\}"),
        ({"": "x2"}, r"expected names with the labels"),
        ({2: "x2"}, r"expected names with the labels"),
        ({"B02": "x9"}, r"bands= names \['x9'\]; the cube has \['nbart_blue', 'x2', 'x3'\]"),
        ({"B02": "nbart_blu"}, r"did you mean 'nbart_blue'\?"),
        ({"B02": 1}, r"bands= names \[1\]"),
        ({"B02": "x2", "B03": "x2"}, r"gives one band two names"),
        ({"B02": "x2", "blue": "x3"}, r"names a band twice"),
        ({"x2": "B02", "x3": "B03"}, r"labels of the cube first.*Swap them: bands=\{'B02': 'x2', 'B03': 'x3'\}"),
    ],
)
@pytest.mark.parametrize("as_dataset", [False, True])
def test_a_mapping_that_cannot_be_followed_is_refused(bands, message, as_dataset):
    cube = make_cube((3, 4, 4), bands=LABELS)
    with pytest.raises(BandError, match=message):
        xsr.interpolate(cube.to_dataset("band") if as_dataset else cube, scale=2, bands=bands)


def test_a_mapping_does_not_take_the_name_of_a_coordinate():
    with pytest.raises(BandError, match=r"gives the name 'x', which a coordinate of the cube has"):
        open_cube(make_dataset((2, 4, 4)), bands={"x": "B02"})


@pytest.mark.slow
def test_scores_follow_a_mapping_in_whichever_cube_has_its_labels(model):
    mapping = {"B02": 1, "B04": 3}
    truth = numbered((4, 32, 32))
    low = numbered(truth.values.reshape(4, 16, 2, 16, 2).mean((2, 4)))
    low = make_cube(low.values, gsd=20).assign_coords(band=low["band"].values)
    fine = low.sr.liif(scale=2, model=model, bands=mapping)
    scores = fine.sr.evaluate(truth, bands=mapping)
    named = truth.sel(band=[1, 3]).assign_coords(band=["B02", "B04"])
    xr.testing.assert_equal(scores, fine.sr.evaluate(named))
    words = named.assign_coords(band=["blue", "red"])
    np.testing.assert_array_equal(words.sr.evaluate(truth, bands=mapping)["rmse"].values, 0)
    assert truth.sr.evaluate(truth, bands=mapping)["band"].values.tolist() == ["B02", "B04"]


# --- models say how to name bands ---------------------------------------------------------------------------


def test_a_model_that_knows_no_band_says_how_to_name_them_and_both_ways_work(model):
    cube = numbered((4, 8, 8))
    advice = (
        r"bands=\{'B02': 1, \.\.\.\} with the labels \[1, 2, 3, 4\]; or name all in their order:"
        r" \.assign_coords\(band=\['B02', \.\.\.\]\)"
    )
    with pytest.raises(BandError, match=advice):
        xsr.liif(cube, scale=2, model=model)
    with pytest.raises(BandError, match=r"\.assign_coords\(bands=\['B02', "):
        xsr.liif(cube.rename(band="bands"), scale=2, model=model)
    names = ["B02", "B03", "B04", "B08"]
    one = xsr.liif(cube, scale=2, model=model, bands=dict(zip(names, (1, 2, 3, 4), strict=True)))
    two = xsr.liif(cube.rename(band="bands").assign_coords(bands=names), scale=2, model=model)
    np.testing.assert_array_equal(one.values, two.values)


def test_the_advice_for_a_dataset_is_to_rename_its_variables(model):
    dataset = make_dataset((2, 8, 8), bands=["p", "q"])
    with pytest.raises(
        BandError, match=r"bands=\{'B02': 'p', \.\.\.\}.*or rename the variables: \.rename\(\{'p': 'B02'"
    ):
        xsr.liif(dataset, scale=2, model=model)
    assert list(xsr.liif(dataset.rename({"p": "B02", "q": "B03"}), scale=2, model=model)) == ["B02", "B03"]


def test_a_model_hints_at_a_misspelt_band_and_at_words_of_two_meanings(model):
    with pytest.raises(BandError, match=r"Select bands.*bands=\['B04'\]\. Did you mean B02 \('blue'\) by 'blu'\?"):
        xsr.liif(make_cube((2, 8, 8), bands=["B04", "blu"]), scale=2, model=model)
    with pytest.raises(BandError, match=r"'nbart_swir_2' is B11 of Sentinel-2 and like B12 of Landsat"):
        xsr.liif(make_cube((1, 8, 8), bands=["nbart_swir_2"]), scale=2, model=model)


# --- dimensions -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(
    time=st.sampled_from(TIMES),
    band=st.sampled_from(CHANNELS),
    place=st.sampled_from(PLACES),
    as_dataset=st.booleans(),
    operation=st.sampled_from(["interpolate", "degrade", "wald", "clip", "mask_clouds", "register", "at"]),
)
@settings(max_examples=40)
def test_what_goes_in_comes_out_under_the_names_of_the_user(time, band, place, as_dataset, operation):
    cube = make_cube((3, 2, 24, 20), bands=["B02", "B04"]).assign_coords(orbit=("time", [1, 2, 3]))
    cube = cube.assign_coords(valid=(("time", "y", "x"), cube.values[:, 0] > 0.3))
    given_cube = renamed(cube, time, band, place)
    if as_dataset:
        cube, given_cube = cube.to_dataset("band"), given_cube.to_dataset(band)
    run = {
        "interpolate": lambda c: xsr.interpolate(c, scale=2),
        "degrade": lambda c: xsr.degrade(c, scale=2),
        "wald": lambda c: xsr.wald(c, scale=2)[1],
        "clip": lambda c: xsr.clip(c, (600_050, 5_799_850, 600_150, 5_799_950), crs="EPSG:32633"),
        "mask_clouds": lambda c: xsr.mask_clouds(c),
        "register": lambda c: xsr.register(c),
        "at": lambda c: xsr.interpolate(c, scale=2, t=["2024-06-01T12", "2024-06-02T12"]),
    }[operation]
    found, wanted = run(given_cube), run(cube)
    own = {"time": time, "band": band, "y": place[0], "x": place[1]}
    assert set(found.dims) == {own[dim] for dim in wanted.dims}
    back = found.rename({new: old for old, new in own.items() if new in found.dims and new != old})
    xr.testing.assert_identical(back, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("as_dataset", [False, True])
def test_a_temporal_network_and_its_count_follow_the_names_of_the_user(as_dataset):
    cube = renamed(make_cube((3, 4, 16, 16)))
    cube = cube.to_dataset("bands") if as_dataset else cube
    other = renamed(make_cube((2, 4, 16, 16), times=["2024-06-01T12", "2024-06-02"]), time="timestamp")
    fine = cube.sr.liif(scale=2, t=other)
    assert fine["n_valid"].dims == ("t", "y", "x")
    assert np.array_equal(fine["t"].values, other["timestamp"].values)


def test_scores_and_masks_understand_other_names():
    cube = make_cube((2, 2, 16, 16))
    mask = xr.DataArray(cube.values[:, 0] > 0.5, dims=("t", "y", "x"))
    wanted = xsr.evaluate(cube, cube * 1.1, mask=mask.rename(t="time"))
    found = xsr.evaluate(renamed(cube), renamed(cube * 1.1, "timestamp", "channel"), mask=mask)
    xr.testing.assert_equal(found, wanted)
    masked = xsr.mask_clouds(renamed(cube), mask=mask)
    assert masked["valid"].dims == ("t", "y", "x")
    assert np.array_equal(np.isfinite(masked.values[:, 0]), mask.values)


@pytest.mark.slow
@pytest.mark.parametrize("as_dataset", [False, True])
def test_a_store_keeps_the_names_of_the_user(tmp_path, as_dataset):
    cube = renamed(make_cube((2, 2, 16, 16)), place=("Y", "X"))
    cube = cube.to_dataset("bands") if as_dataset else cube
    fine = xsr.interpolate(cube.chunk(), scale=2)
    xsr.to_zarr(fine, tmp_path / "fine.zarr", progress=False)
    assert xsr.verify(tmp_path / "fine.zarr", progress=False).ok
    stored = xr.open_zarr(tmp_path / "fine.zarr", decode_coords="all", consolidated=False)
    for name in fine.data_vars if as_dataset else ["reflectance"]:
        ours = fine[name] if as_dataset else fine
        assert stored[name].dims == ours.dims
        np.testing.assert_array_equal(xsr.interpolate(stored[name], scale=1).values, ours.values)


def test_points_lie_along_the_users_dates(model):
    cube = renamed(make_cube((2, 2, 16, 16)))
    points = cube.sr.sample(x=[600_050.0], y=[5_799_950.0], model=model)
    assert points.dims == ("t", "bands", "point")
    with pytest.raises(ParameterError, match=r"the points bring \['t'\]"):
        cube.sr.sample(x=xr.DataArray([600_050.0], dims="t"), y=xr.DataArray([5_799_950.0], dims="t"), model=model)


@pytest.mark.slow
def test_bands_of_a_coarser_cube_are_joined_along_the_users_dimension(tmp_path):
    cube, coarse = make_cube((2, 4, 16, 16)), make_cube((2, 6, 8, 8), gsd=20, bands=BANDS[4:])
    wanted = xsr.sisr(cube, model="carn_3x3x64g4sw_s2", coarse=coarse)
    found = xsr.sisr(renamed(cube), model="carn_3x3x64g4sw_s2", coarse=renamed(coarse, "time", "channel"))
    assert found.dims == ("t", "bands", "y", "x")
    np.testing.assert_array_equal(found.values, wanted.values)


def test_dates_in_a_coordinate_beside_a_numbered_dimension_are_the_dates():
    cube = make_cube((2, 2, 8, 8)).assign_coords(t=("time", [7, 9])).swap_dims(time="t")
    assert cube.dims[0] == "t"
    assert "time" in cube.coords
    fine = xsr.interpolate(cube, scale=2)
    assert fine.dims == ("t", "band", "y", "x")
    assert fine["t"].values.tolist() == [7, 9]
    assert np.array_equal(fine["time"].values, cube["time"].values)
    bare = cube.drop_vars("t")
    assert xsr.interpolate(bare, scale=2)["time"].dims == ("t",)
    assert xsr.interpolate(bare, scale=2, t=["2024-06-01T12"]).sizes["t"] == 1


@pytest.mark.parametrize(("y", "x"), [("Y", "X"), ("lat", "lon")])
def test_a_name_in_the_way_of_an_axis_is_refused_with_a_remedy_that_works(y, x):
    cube = make_cube((2, 8, 6)).rename(y=y, x=x).assign_coords(y=((y, x), np.zeros((8, 6))))
    with pytest.raises(CubeError, match=rf"dimension '{y}' is the y of the cube.*\.drop_vars\('y'\)"):
        open_cube(cube)
    assert xsr.interpolate(cube.drop_vars("y"), scale=2).dims == ("band", y, x)


def test_a_cube_that_runs_x_before_y_is_not_turned():
    cube = make_cube((2, 8, 6))
    given_cube = cube.rename(y="Y", x="X").transpose("band", "X", "Y")
    fine = xsr.interpolate(given_cube, scale=2)
    np.testing.assert_array_equal(fine.transpose("band", "Y", "X").values, xsr.interpolate(cube, scale=2).values)


def test_axes_are_found_by_their_cf_attributes():
    cube = make_cube((2, 8, 6)).rename(y="rows", x="columns")
    cube["rows"].attrs, cube["columns"].attrs = {"axis": "Y"}, {"standard_name": "projection_x_coordinate"}
    turned = cube.transpose("columns", "rows", "band")
    assert set(xsr.interpolate(turned, scale=2).dims) == {"band", "rows", "columns"}
    assert open_cube(turned).data.sizes["x"] == 6


def test_in_another_crs_the_axes_have_the_names_of_that_crs():
    cube = make_cube((2, 8, 8)).rename(y="Y", x="X")
    target = make_cube((1, 8, 8)).odc.geobox.to_crs("EPSG:4326").zoom_out(0.5)
    assert xsr.interpolate(cube, like=target).dims == ("band", "latitude", "longitude")
    assert xsr.interpolate(cube, scale=2).dims == ("band", "Y", "X")


def test_nothing_is_read_to_find_names_and_standard_ones_are_left_alone():
    cube = make_cube((2, 2, 8, 8), chunks={})
    assert standardise(cube)[0] is cube
    lazy = renamed(cube).assign_coords(bands=[1, 2]).assign_attrs(long_name=["B02", "B03"])
    with assert_lazy(lazy):
        xsr.interpolate(lazy, scale=2, bands={"B03": 2})
        xsr.mask_clouds(lazy, mask=xr.DataArray(da.ones((2, 8, 8), dtype=bool), dims=("t", "y", "x")))


def test_what_xarray_remembers_of_the_file_is_kept():
    kept = renamed(make_dataset((2, 2, 8, 8))).assign_attrs(a=1)
    kept.encoding["source"] = "/data/scene.nc"
    assert open_cube(kept).source == "scene.nc"
    assert xsr.interpolate(kept, scale=2).attrs["xsr_input"] == "scene.nc"


# --- dimensions that cannot be recognised -----------------------------------------------------------------------


def test_two_dimensions_for_one_role_are_refused_with_a_remedy_that_works():
    cube = make_cube((2, 2, 8, 8)).expand_dims(t=[0])
    with pytest.raises(CubeError, match=r"\['t', 'time'\] may each be the time.*\.isel\(t=0, drop=True\)"):
        open_cube(cube)
    assert open_cube(cube.isel(t=0, drop=True)).data.sizes["time"] == 2
    with pytest.raises(CubeError, match=r"\['bands', 'band'\] may each be the band"):
        open_cube(make_cube((2, 8, 8)).expand_dims(bands=1))


def test_a_scalar_coordinate_in_the_way_is_refused_with_a_remedy_that_works():
    cube = renamed(make_cube((2, 2, 8, 8))).assign_coords(time=np.datetime64("2024-01-01", "ns"))
    with pytest.raises(CubeError, match=r"dimension 't' is the time.*\.drop_vars\('time'\)"):
        open_cube(cube)
    assert open_cube(cube.drop_vars("time")).data.sizes["time"] == 2


def test_an_unknown_dimension_is_refused_with_remedies_that_work():
    cube = make_cube((2, 2, 8, 8)).rename(time="scene")
    with pytest.raises(
        CubeError, match=r"\['scene'\] found.*\.isel\(\{'scene': 0\}\).*\.rename\(\{'scene': 'time'\}\)"
    ):
        open_cube(cube)
    assert open_cube(cube.rename({"scene": "time"})).data.sizes["time"] == 2
    assert open_cube(cube.isel({"scene": 0})).data.sizes["time"] == 1
    known = make_cube((2, 2, 8, 8)).expand_dims(member=2)
    with pytest.raises(CubeError, match=r"\['member'\] found.*as by \.isel\(\{'member': 0\}\)\.$"):
        open_cube(known)


def test_dimensions_are_renamed_as_the_user_says():
    cube = make_cube((2, 2, 8, 8)).rename(time="scene", y="rows")
    assert rename_dims(cube, {"scene": "time", "rows": "y"}).dims == ("time", "band", "y", "x")
    assert rename_dims(cube, {"band": "band"}).dims == cube.dims
    assert standard_dims(renamed(make_dataset((2, 2, 8, 8)))).sizes["time"] == 2


@pytest.mark.parametrize(
    ("mapping", "error", "message"),
    [
        ({"scen": "time"}, CubeError, r"dimension 'scen' not found; the cube has .* \(did you mean 'scene'\?\)"),
        ({"scene": "times"}, ParameterError, r"renamed to \['times'\]; expected each of time, band, y, x at most once"),
        ({"scene": "time", "band": "time"}, ParameterError, r"at most once"),
        ({"scene": "band"}, CubeError, r"dimension 'scene' is the band.*'band' is the name of something else"),
    ],
)
def test_a_renaming_that_cannot_be_done_is_refused(mapping, error, message):
    with pytest.raises(error, match=message):
        rename_dims(make_cube((2, 2, 8, 8)).rename(time="scene"), mapping)
