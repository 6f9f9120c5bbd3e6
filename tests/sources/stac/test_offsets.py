"""Offsets of single items, and items that are left out."""

import warnings

import numpy as np
import pytest
from catalogs import make_item, write_items
from products import truth, warned

from xsr.core.errors import BandError, HarmonisationError, ParameterError, ProductError, XsrWarning
from xsr.sources.stac import open_stac

STATED = {"stated": -0.1, "earthsearch:boa_offset_applied": False}


@pytest.fixture
def series(tmp_path):
    """One item whose archive has taken out the offset that it states, and a right one."""
    wrong = make_item(tmp_path, day="2024-06-15", added=0, **STATED)
    right = make_item(tmp_path, day="2024-06-25", added=1000, **STATED)
    return write_items(tmp_path / "items.json", [wrong, right]), wrong["id"], right["id"]


def assert_alike(cube):
    for date in range(cube.sizes["time"]):
        np.testing.assert_allclose(cube.sel(band="B04")[date], truth("B04", 10), atol=1e-6)


def test_the_advice_mends_the_item_and_leaves_the_others(series):
    path, wrong, _ = series
    with pytest.raises(
        HarmonisationError, match=rf"item {wrong}: .* Pass offset=\{{'{wrong}': 0\}} if .*errors='drop'"
    ):
        open_stac(path, bands=["B04"])
    cube = open_stac(path, bands=["B04"], offset={wrong: 0})
    assert cube.offset_source.values.tolist() == ["offset=", "raster:bands"]
    assert cube.dn_offset[:, 0].values.tolist() == [0, -1000]
    assert_alike(cube)


def test_a_function_gives_the_offset_of_each_item(series):
    path, wrong, _ = series
    assert_alike(open_stac(path, bands=["B04"], offset=lambda item: 0 if item.id == wrong else None))


@pytest.mark.parametrize("value", ["0", float("nan"), True])
def test_an_offset_that_is_no_number_is_refused(series, value):
    path, wrong, _ = series
    with pytest.raises(ParameterError, match=rf"offset for item {wrong} is .*; expected a finite number"):
        open_stac(path, offset={wrong: value})


def test_a_contradictory_item_can_be_left_out(series):
    path, wrong, right = series
    with warned(rf"item {wrong}: .* Its date is left out"):
        cube = open_stac(path, bands=["B04"], errors="drop")
    assert cube.product_id.values.tolist() == [right]
    assert len(cube.attrs["dropped_dates"]) == 1
    assert_alike(cube)


def test_an_item_that_lacks_a_band_can_be_left_out(tmp_path):
    whole = make_item(tmp_path, day="2024-06-15")
    part = make_item(tmp_path, day="2024-06-25", bands=("B02",))
    path = write_items(tmp_path / "items.json", [whole, part])
    with pytest.raises(BandError, match=rf"item {part['id']} has no asset of bands \['B04'\]; it has B02 among"):
        open_stac(path, bands=["B02", "B04"])
    with warned(rf"item {part['id']} has no asset .* Its date is left out"):
        cube = open_stac(path, bands=["B02", "B04"], errors="drop")
    assert cube.product_id.values.tolist() == [whole["id"]]
    assert open_stac(path).band.values.tolist() == ["B02"]


def test_one_item_without_classification_costs_only_itself(tmp_path):
    with_scl = make_item(tmp_path, day="2024-06-15")
    without = make_item(tmp_path, day="2024-06-25")
    del without["assets"]["scl"]
    path = write_items(tmp_path / "items.json", [with_scl, without])
    with warned(rf"no classification comes with {without['id']}: .* is False"):
        cube = open_stac(path, bands=["B04"])
    assert_alike(cube)
    assert cube.valid[0].any()
    assert not cube.valid[1].any()
    assert (cube.scl[1] == 0).all()
    with pytest.raises(
        ProductError, match=rf"mask=True, but item {without['id']} has no classification; .*errors='drop'"
    ):
        open_stac(path, bands=["B04"], mask=True)
    with warned(rf"item {without['id']} has no classification.* Its date is left out"):
        masked = open_stac(path, bands=["B04"], mask=True, errors="drop")
    assert masked.product_id.values.tolist() == [with_scl["id"]]
    np.testing.assert_array_equal(np.isnan(masked[0, 0]), ~cube.valid[0])


def test_an_older_processing_takes_the_place_of_one_that_cannot_be_used(tmp_path):
    oldest, older, latest = (make_item(tmp_path, baseline=number) for number in ("04.00", "05.09", "05.11"))
    latest["assets"]["B04"]["href"] = "missing.tif"
    path = write_items(tmp_path / "items.json", [latest, oldest, older])
    with pytest.raises(ProductError, match=r"missing\.tif.* Or pass errors='drop' to use an older processing"):
        open_stac(path, bands=["B04"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cube = open_stac(path, bands=["B04"], errors="drop")
    texts = [str(one.message) for one in caught if one.category is XsrWarning]
    assert len(texts) == 2
    assert f"The older processing {older['id']} is used in its place" in texts[0]
    assert texts[1].endswith(f"dropped {oldest['id']} (kept {older['id']}).")
    assert cube.product_id.values.tolist() == [older["id"]]
    assert "dropped_dates" not in cube.attrs
    assert_alike(cube)


def test_a_date_of_which_no_processing_can_be_used_is_left_out(tmp_path):
    bad = [make_item(tmp_path, baseline=number) for number in ("04.00", "05.11")]
    for one in bad:
        one["assets"]["B04"]["href"] = "missing.tif"
    good = make_item(tmp_path, day="2024-06-25")
    path = write_items(tmp_path / "items.json", [*bad, good])
    with warned(r"missing\.tif.* Its date is left out"):
        cube = open_stac(path, bands=["B04"], errors="drop")
    assert cube.product_id.values.tolist() == [good["id"]]


def test_items_of_two_levels_are_refused_on_one_date_and_on_several(tmp_path):
    surface = make_item(tmp_path)
    for day in ("2024-06-15", "2024-06-25"):
        above = make_item(tmp_path, day=day, suffix="x", **{"s2:product_type": "S2MSI1C"})
        path = write_items(tmp_path / "items.json", [surface, above])
        with pytest.raises(ParameterError, match=rf"Level-1C \({above['id']}\) and Level-2A .* expected one level"):
            open_stac(path, bands=["B04"])
