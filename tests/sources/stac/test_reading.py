import json

import numpy as np
import pystac
import pytest
from catalogs import COLLECTION, make_item, serving, write_items

from xsr.core.errors import ParameterError
from xsr.sources.stac import open_stac
from xsr.sources.stac.reading import read_items


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kinds")


@pytest.fixture(scope="module")
def path(folder):
    return write_items(
        folder / "items.json", [make_item(folder, day="2024-06-15"), make_item(folder, day="2024-06-25")]
    )


@pytest.mark.slow
def test_every_holder_of_items_gives_the_same_cube(folder, path):
    items = read_items(path)
    for item in items:
        item.make_asset_hrefs_absolute()
    dictionaries = [item.to_dict() for item in items]
    single = folder / "single.json"
    single.write_text(json.dumps(dictionaries[1]))
    expected = open_stac(path, bands=["B04"]).compute()
    catalog = pystac.Catalog("c", "of the tests")
    catalog.add_items([item.clone() for item in items])
    for holder in (
        items,
        tuple(items),
        (item for item in items),
        dictionaries,
        {"type": "FeatureCollection", "features": dictionaries},
        pystac.ItemCollection(items),
        [items[0], dictionaries[1]],
        [items[0], str(single)],
        [path],
        catalog,
    ):
        np.testing.assert_array_equal(open_stac(holder, bands=["B04"]), expected)
    np.testing.assert_array_equal(open_stac(items[0], bands=["B04"]), expected[:1])
    np.testing.assert_array_equal(open_stac(dictionaries[1], bands=["B04"]), expected[1:])


@pytest.mark.slow
def test_a_search_and_a_client_of_pystac_client_are_read(folder, path):
    from pystac_client import Client

    served = json.loads(path.read_text())["features"]
    with serving(folder, served) as server:
        client = Client.open(server.url)
        for holder in (client.search(collections=[COLLECTION], datetime="2024-06-15"), client):
            cube = open_stac(holder, datetime="2024-06-15", bands=["B04"])
            assert cube.time.dt.day.values.tolist() == [15]


def test_a_search_that_gets_no_reply_is_an_error_of_ours():
    from pystac_client import ItemSearch

    with pytest.raises(ParameterError, match="the items cannot be read as STAC"):
        open_stac(ItemSearch("http://127.0.0.1:9/search"))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (3, "the items hold int; expected items of pystac"),
        ([3], "the items hold int"),
        (b"items.json", "the items hold bytes"),
        ({"type": "Point"}, "of type 'Point' is no STAC"),
        ({"type": "Feature"}, "cannot be read as STAC"),
        ([], r"no items of the items match \{\} \(0 before filtering\)"),
    ],
)
def test_what_holds_no_items_is_refused(items, message):
    with pytest.raises(ParameterError, match=message):
        open_stac(items)


def test_a_collection_without_items_says_where_they_are(data_dir):
    path = data_dir / "stac_items" / "sentinel-2-l2a.collection.json"
    with pytest.raises(ParameterError, match=r"links to no items; .* url= .* and collection='sentinel-2-l2a'"):
        open_stac(path)


def test_several_collections_are_searched(path):
    assert open_stac(path, collection=["other", COLLECTION], bands=["B04"]).sizes["time"] == 2
    with pytest.raises(ParameterError, match=r"match \{'collection': \['other'\]\}"):
        open_stac(path, collection=["other"])
    with pytest.raises(ParameterError, match=r"collection=\[\]; expected the name"):
        open_stac(path, collection=[])


@pytest.mark.slow
def test_an_api_in_place_of_items_is_named(folder, path):
    served = json.loads(path.read_text())["features"]
    with serving(folder, served) as server, pytest.raises(ParameterError, match=r"is an API; .* Pass it as url="):
        open_stac(server.url)


def test_an_item_without_id_is_refused(folder):
    item = make_item(folder / "unnamed")
    del item["id"]
    with pytest.raises(ParameterError, match=r"an item has the id None; expected text\. Correct the item"):
        open_stac(item)
