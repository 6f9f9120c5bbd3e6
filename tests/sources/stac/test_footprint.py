import json

import pystac
import pytest
from odc.geo.geom import box, polygon
from shapely.geometry import box as plain_box
from shapely.geometry import mapping

from xsr.core.errors import ProductError
from xsr.sources.stac.footprint import bounds, footprint, overlap, touches


def item(geometry):
    from datetime import datetime

    return pystac.Item("x", geometry, None, datetime(2024, 6, 15), {})


def ring(*corners):
    return {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}


LEAPING = ring((179.0, 60.0), (-179.0, 60.0), (-179.0, 61.0), (179.0, 61.0))
BEYOND = ring((179.0, 60.0), (181.0, 60.0), (181.0, 61.0), (179.0, 61.0))
BEFORE = ring((-181.0, 60.0), (-179.0, 60.0), (-179.0, 61.0), (-181.0, 61.0))
SPLIT = {
    "type": "MultiPolygon",
    "coordinates": [
        mapping(plain_box(179, 60, 180, 61))["coordinates"],
        mapping(plain_box(-180, 60, -179, 61))["coordinates"],
    ],
}


@pytest.mark.parametrize("geometry", [LEAPING, BEYOND, BEFORE, SPLIT])
def test_an_item_over_the_antimeridian_is_found_from_both_sides_and_from_nowhere_else(geometry):
    one = item(geometry)
    assert touches(one, box(179.2, 60.2, 179.4, 60.4, "EPSG:4326"))
    assert touches(one, box(-179.4, 60.2, -179.2, 60.4, "EPSG:4326"))
    assert not touches(one, box(10, 60.2, 11, 60.4, "EPSG:4326"))
    assert not touches(one, box(-178, 60.2, -177, 60.4, "EPSG:4326"))
    assert footprint(one).area == pytest.approx(2.0)


def test_a_real_item_over_the_antimeridian_is_found_where_it_lies(data_dir):
    name = "mapchete-eo__S2A_OPER_MSI_L2A_TL_2APS_20230602T025701_A041483_T01WCR.json"
    one = pystac.Item.from_dict(json.loads((data_dir / "stac_items_2" / name).read_text()))
    assert touches(one, box(179.0, 68, 179.2, 68.1, "EPSG:4326"))
    assert touches(one, box(-179.8, 68, -179.6, 68.1, "EPSG:4326"))
    assert not touches(one, box(0, 68, 0.2, 68.1, "EPSG:4326"))


def test_a_ring_that_crosses_itself_and_a_missing_one_do_not_break_the_search():
    bow = item(ring((0, 0), (2, 2), (2, 0), (0, 2)))
    assert touches(bow, box(0.2, 0.9, 0.4, 1.1, "EPSG:4326")) or footprint(bow).area > 0
    assert footprint(item(None)) is None
    assert touches(item(None), box(0, 0, 1, 1, "EPSG:4326"))
    assert bounds([item(None)]) is None


def test_a_geometry_that_is_none_is_named():
    with pytest.raises(ProductError, match="geometry of item x is no GeoJSON"):
        footprint(item({"type": "Polygon", "coordinates": [[1, 2]]}))


def test_overlap_is_the_share_of_the_smaller():
    whole = polygon([(0, 0), (2, 0), (2, 1), (0, 1), (0, 0)], "EPSG:4326")
    half = polygon([(1.5, 0), (2.5, 0), (2.5, 1), (1.5, 1), (1.5, 0)], "EPSG:4326")
    assert overlap(whole, half) == pytest.approx(0.5)
    assert overlap(half, half) == pytest.approx(1.0)
