"""What becomes of a date that is down, decided from items alone; nothing is opened."""

import json
from datetime import UTC, datetime

import pystac
import pytest
from shapely.geometry import box, mapping

from xsr.sources.stac.describe import identities
from xsr.sources.stac.revision import Scene, revise

TIME = datetime(2024, 6, 15, 11, 6, 21, tzinfo=UTC)


def item(name, tile="29UNU", *, baseline="05.11", generated="2024-06-15", href="B02.tif", strip="", west=0, **said):
    known = {"platform": "sentinel-2a", "s2:mgrs_tile": tile, "s2:processing_baseline": baseline}
    known |= {"s2:generation_time": generated, "s2:datastrip_id": strip and f"S2A_DS_S{strip}_N05.11"}
    one = pystac.Item(name, mapping(box(west, 0, west + 1, 1)), None, TIME, {**known, **said})
    one.add_asset("B02", pystac.Asset(href, roles=["data"]))
    return one


def scenes(*items, pending=()):
    known = identities(items)
    return [Scene.of(one, who, pending=one.id in pending) for one, who in zip(items, known, strict=True)]


def names(revision):
    return [one.id for one in revision.items]


WEST, EAST = item("west", "29UNU"), item("east", "29UPU")
NEWER = item("west-2", "29UNU", baseline="05.12")


def decide(held, found, *, whole=True, reprocessed="keep"):
    return revise(held, found, whole=whole, reprocessed=reprocessed)


def test_a_whole_date_stays_whether_its_items_are_found_again_or_not():
    for found in ([WEST, EAST], [WEST], []):
        one = decide(scenes(WEST, EAST), found)
        assert (one.fate, one.items, one.late, one.changed, one.lacking) == ("keep", (), (), (), ())


def test_missing_blocks_are_loaded_from_the_same_items():
    one = decide(scenes(WEST, EAST), [EAST, WEST], whole=False)
    assert (one.fate, names(one)) == ("resume", ["west", "east"])


def test_missing_blocks_are_not_loaded_from_a_part_of_the_items():
    one = decide(scenes(WEST, EAST), [WEST], whole=False)
    assert (one.fate, one.items, one.lacking) == ("keep", (), ("east",))


def test_a_late_tile_is_loaded_together_with_the_others():
    one = decide(scenes(WEST), [WEST, EAST])
    assert (one.fate, names(one), one.late) == ("renew", ["west", "east"], ("east",))


@pytest.mark.parametrize("found", [[EAST], [NEWER, EAST], [item("west", updated="2025"), EAST]])
def test_a_late_tile_fills_holes_where_the_others_are_not_found_as_they_were(found):
    one = decide(scenes(item("west", updated="2024")), found)
    assert (one.fate, names(one), one.late) == ("fill", ["east"], ("east",))


def test_no_hole_is_filled_in_a_date_that_was_never_whole():
    one = decide(scenes(WEST), [EAST], whole=False)
    assert (one.fate, one.lacking) == ("keep", ("west",))


def test_a_late_tile_that_is_being_added_is_late_until_it_is_down():
    held = scenes(WEST, EAST, pending=["east"])
    assert decide(held, [WEST, EAST], whole=False).fate == "renew"
    assert decide(held, [EAST], whole=False).fate == "fill"
    assert decide(held, [WEST], whole=False).lacking == ("east",)


@pytest.mark.parametrize(
    ("newer", "text"),
    [
        (NEWER, "west (now west-2)"),
        (item("west-2", generated="2025-01-01"), "west (now west-2)"),
        (item("west", baseline="05.12"), "west (baseline changed)"),
        (item("west", href="again/B02.tif"), "west (files changed)"),
        (item("west", updated="2025-01-01"), "west (updated changed)"),
    ],
)
def test_an_item_that_was_processed_again_is_named_and_replaced_on_request(newer, text):
    held = scenes(item("west", updated="2024-06-16"))
    kept = decide(held, [newer])
    assert (kept.fate, kept.items, kept.changed) == ("keep", (), (text,))
    replaced = decide(held, [newer], reprocessed="replace")
    assert (replaced.fate, replaced.items, replaced.changed) == ("renew", (newer,), (text,))


def test_an_older_processing_changes_nothing():
    for found in ([WEST, NEWER], [WEST]):
        assert decide(scenes(NEWER), found) == decide(scenes(NEWER), [NEWER])


def test_a_date_is_not_replaced_without_one_of_its_tiles():
    one = decide(scenes(WEST, EAST), [NEWER], reprocessed="replace")
    assert (one.fate, one.changed, one.lacking) == ("keep", ("west (now west-2)",), ("east",))


def test_a_date_that_is_not_whole_is_made_anew_from_what_is_found():
    one = decide(scenes(WEST, EAST), [NEWER, EAST], whole=False)
    assert (one.fate, sorted(names(one))) == ("renew", ["east", "west-2"])


def test_another_datastrip_of_a_tile_comes_late():
    north, south = item("north", strip="20240615T110618"), item("south", strip="20240615T110648")
    assert decide(scenes(north), [north, south]).late == ("south",)
    assert decide(scenes(north), [south]).late == ("south",)


def test_without_datastrips_the_footprint_tells_a_part_from_a_processing():
    beside = item("beside", west=5)
    assert decide(scenes(WEST), [WEST, beside]).late == ("beside",)
    over = item("over", generated="2025-01-01", west=0.1)
    assert decide(scenes(WEST), [WEST, over]).changed == ("west (now over)",)


@pytest.mark.parametrize(
    "other", ["https://b.org/t/B02.tif?sig=x", "https://me:secret@a.org/t/B02.tif#x", "s3://c/t/B02.tif", "/t/B02.tif"]
)
def test_an_address_that_was_signed_anew_or_mirrored_is_no_change_and_is_not_remembered(other):
    held = scenes(item("west", href="https://a.org/t/B02.tif?sig=secret"))
    assert decide(held, [item("west", href=other)]).changed == ()
    assert "secret" not in json.dumps([one.save() for one in held])


def test_what_only_one_of_them_says_is_no_change():
    assert decide([Scene("west")], [item("west", updated="2025")]).changed == ()


def test_a_scene_survives_its_record():
    for one in scenes(WEST, EAST, pending=["east"]):
        assert Scene.load(json.loads(json.dumps(one.save()))) == one
