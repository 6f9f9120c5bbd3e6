import numpy as np
import pytest
import xarray as xr

from xsr.core.classes import family_of, fill_of, holds_classes, names_classes, shown
from xsr.core.errors import CubeError, ParameterError


def layer(values, name="SCL", **attrs):
    return xr.DataArray(np.asarray(values), dims="x", name=name, attrs=attrs)


LAYERS = [
    *("SCL", "scl", "QA_PIXEL", "qa_pixel", "pixel_qa", "QA60", "qa60", "Fmask", "fmask", "oa_fmask", "CLM", "valid"),
    *(
        "MSK_CLDPRB",
        "QA_RADSAT",
        "SR_QA_AEROSOL",
        "sr_aerosol_qa",
        "cloud_mask",
        "nbart_contiguity",
        "QAI",
        "cld",
        "BQA",
    ),
]
BANDS = ["B02", "B8A", "nir", "nbart_red", "SR_B4", "ST_B10", "ST_QA", "AOT", "WVP", "ndvi", "qa", "swir16", "coastal"]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_classes_are_known_by_name(name):
    assert names_classes(name)


@pytest.mark.parametrize("name", BANDS)
def test_bands_are_no_layers_of_classes(name):
    assert not names_classes(name)
    assert not holds_classes(name, layer([1], name))


def test_booleans_and_flags_are_classes_under_any_name():
    assert holds_classes("burnt", layer([True], "burnt"))
    assert holds_classes("quality", layer([1], "quality", flag_values=[0, 1], flag_meanings="good bad"))


def show(values, name, exclude=None, **attrs):
    return shown(layer(values, name, **attrs), exclude).values.tolist()


def test_the_classes_of_sen2cor():
    assert show(range(12), "SCL") == [n not in (0, 1, 3, 8, 9, 10) for n in range(12)]
    assert show(range(12), "scl", ["cloud", "snow"]) == [n not in (8, 9, 11) for n in range(12)]


@pytest.mark.parametrize(
    ("name", "hidden", "seen"),
    [
        # Values of the product guides: clear land, clear water, cloud, shadow, snow, dilated cloud, fill.
        ("QA_PIXEL", [1, 22280, 23888, 21826, 54596], [21824, 21952, 30048]),
        ("pixel_qa", [1, 224, 72, 992, 834], [322, 324, 336]),
        ("Fmask", [255, 2, 4, 8, 0b11000010], [0, 16, 32, 0b11100000]),
        ("oa_fmask", [0, 2, 3], [1, 4, 5]),
        ("QA60", [1024, 2048, 3072], [0]),
        ("CLM", [1, 2, 33, 128, 255], [0]),
    ],
)
def test_the_numbers_of_other_families(name, hidden, seen):
    assert show(np.array(hidden, np.uint16), name) == [False] * len(hidden)
    assert show(np.array(seen, np.uint16), name) == [True] * len(seen)


def test_attributes_win_over_the_name():
    flags = {"flag_values": [0, 1, 2, 3], "flag_meanings": "no_data clear cloud cloud_shadow"}
    assert show([0, 1, 2, 3], "SCL", **flags) == [False, True, False, False]
    assert show([0, 1, 2, 3], "SCL", ["cloud"], **flags) == [True, True, False, True]
    bits = {"flag_masks": "1b, 2b, 4b", "flag_meanings": "cloud_free cloud snow_ice"}
    assert show([1, 2, 4, 6], "quality", **bits) == [True, False, True, False]
    assert show([1, 2, 4, 6], "quality", ["snow"], **bits) == [True, True, False, False]


def test_flags_that_do_not_speak_of_clouds_leave_the_name_its_say():
    assert show([4, 9], "SCL", flag_values=[0, 1], flag_meanings="good bad") == [True, False]
    assert show([4, 9], "SCL", flag_values=[0, 1, 2], flag_meanings="good cloud") == [True, False]


def test_classes_of_an_unknown_layer_are_given_by_number():
    with pytest.raises(CubeError, match=r"nothing says what the numbers of 'fmask' mean.*exclude="):
        show([0, 4], "fmask")
    with pytest.raises(CubeError, match="nothing says"):
        show([0, 4], "fmask", ["cloud"])
    assert show([0, 2, 4], "fmask", [2, 4]) == [True, False, False]


def test_a_word_that_a_family_lacks_is_refused():
    with pytest.raises(ParameterError, match=r"exclude names 'fog'; QA_PIXEL .* has fill, cloud, .*positions of bits"):
        show([0], "QA_PIXEL", ["fog"])


def test_classes_that_became_floats_are_read_and_nan_shows_nothing():
    assert show([4.0, 9.0, np.nan], "SCL") == [True, False, False]


def test_what_stands_for_a_pixel_that_was_not_observed():
    assert fill_of("SCL", layer(np.array([1], np.uint8))) == 0
    assert fill_of("SCL", layer(np.array([1], np.uint8), nodata=99)) == 99
    assert fill_of("Fmask", layer(np.array([1], np.uint8))) == 255
    assert fill_of("valid", layer([True])) is False
    assert np.isnan(fill_of("SCL", layer([1.0])))
    assert fill_of("quality", layer(np.array([1], np.uint8))) is None
    assert family_of("quality", {}) is None
