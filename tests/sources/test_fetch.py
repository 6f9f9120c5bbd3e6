import contextlib
import json
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from catalogs import make_item, serving, write_items
from dask.callbacks import Callback
from locking import lost_at
from odc.geo.geom import box as outline
from products import NORTH, WEST, truth, warned
from survival import bucket, forget, ledger_of

import xsr
from xsr.core.errors import ParameterError, ProductError, StoreError
from xsr.core.store.ledger import DONE, QUARANTINED
from xsr.core.store.lock import locked
from xsr.core.store.place import Place
from xsr.sources.fetch import FetchReport, fetch, update
from xsr.sources.fetch.holding import RECORD
from xsr.sources.files import open_file
from xsr.sources.stac import open_stac

DAYS = ("2024-06-15", "2024-06-20", "2024-06-25")
RGBN = ["B02", "B03", "B04", "B08"]
AREA = {"bands": ["B02", "B08"], "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fetch")


@pytest.fixture(scope="module")
def items(folder):
    return write_items(folder / "items.json", [make_item(folder, day=day) for day in DAYS])


def box(left=200, top=100, width=300, height=200):
    west, north = WEST + left, NORTH - top
    return outline(west, north - height, west + width, north, "EPSG:32629").to_crs("EPSG:4326").json


def written(path):
    """When each file of pixels was written, by name."""
    return {file.relative_to(path).as_posix(): file.stat().st_mtime_ns for file in path.glob("reflectance/c/*/*/*/*")}


@pytest.mark.slow
def test_the_store_is_the_cube_of_the_search(items, tmp_path):
    out = tmp_path / "a.zarr"
    assert fetch(out, items, **AREA, chunks=40) == FetchReport(str(out), 3, 3)
    cube, expected = open_file(out).compute(), open_stac(items, bands=["B02", "B08"]).compute()
    np.testing.assert_array_equal(cube, expected)
    for name in set(expected.coords) - {"spatial_ref"}:
        np.testing.assert_array_equal(cube[name], expected[name], err_msg=name)
    assert set(cube.coords) == set(expected.coords)
    assert cube.odc.geobox == expected.odc.geobox
    assert open_file(out).chunks == ((1, 1, 1), (2,), (40, 40, 16), (40, 40, 16))
    assert cube.scl.dtype == np.uint8
    assert cube.valid.dtype == bool
    assert xsr.verify(out).ok
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.slow
def test_dates_that_are_down_are_not_read_again(items, tmp_path):
    out = tmp_path / "a.zarr"
    assert fetch(out, items, datetime="2024-06-15/2024-06-20", **AREA).fetched == 2
    before = written(out)
    assert fetch(out, items, **AREA) == FetchReport(str(out), 3, 1)
    after = written(out)
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before)
    assert fetch(out, items, **AREA) == FetchReport(str(out), 3, 0)
    assert written(out) == after
    xr.testing.assert_equal(open_file(out).compute(), open_stac(items, bands=["B02", "B08"]).compute())


def assert_whole(path, items, **how):
    """A store is that of one download of all items."""
    cube, expected = open_file(path).compute(), open_stac(items, **{"bands": ["B02", "B08"]} | how).compute()
    np.testing.assert_array_equal(cube, expected)
    for name in set(expected.coords) - {"spatial_ref"}:
        np.testing.assert_array_equal(cube[name], expected[name], err_msg=name)
    assert xsr.verify(path).ok


@contextlib.contextmanager
def damaged(path):
    """Keep the header of a file and lose its pixels."""
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 3] + bytes(len(good) - len(good) // 3))
    yield
    path.write_bytes(good)


@pytest.fixture
def copy(folder, items, tmp_path):
    """Items and files that a test may change."""
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.slow
@pytest.mark.parametrize("break_at", [1, 3])
def test_an_interrupted_download_continues_with_the_date_it_was_at(copy, items, tmp_path, break_at):
    """A file of one date is gone when it is read."""
    out, how = tmp_path / "a.zarr", {"offset": -1000, **AREA}
    with damaged(sorted(copy.glob("S2D*/B08.tif"))[break_at - 1]), pytest.raises(Exception, match=r"."):
        fetch(out, copy / "items.json", **how)
    assert open_file(out).attrs["xsr"]["complete"] is False
    before = written(out)
    assert fetch(out, copy / "items.json", **how) == FetchReport(str(out), 3, 4 - break_at)
    assert {name: time for name, time in written(out).items() if name in before} == before
    assert_whole(out, items, offset=-1000)


@pytest.mark.slow
def test_only_the_blocks_of_a_date_that_are_missing_are_read(items, tmp_path):
    out = tmp_path / "a.zarr"
    fetch(out, items, chunks=48, **AREA)
    before = written(out)
    forget(out, [5], "reflectance")  # of the second date
    assert fetch(out, items, **AREA) == FetchReport(str(out), 3, 1)
    after = written(out)
    assert [name for name in after if after[name] != before[name]] == ["reflectance/c/1/0/0/1"]
    assert_whole(out, items)


@pytest.mark.slow
def test_no_graph_is_larger_than_that_of_one_date(items, tmp_path):
    sizes = []
    with Callback(start=lambda graph: sizes.append(len(graph))):
        fetch(tmp_path / "one.zarr", items, datetime=DAYS[0], **AREA)
        largest = max(sizes)
        fetch(tmp_path / "all.zarr", items, **AREA)
    assert max(sizes) == largest


@pytest.mark.slow
def test_a_date_whose_files_changed_meanwhile_is_no_mixture(copy, tmp_path, kill_at):
    out, path, how = tmp_path / "a.zarr", copy / "items.json", {"offset": -1000, **AREA}
    fetch(out, path, chunks=48, **how)
    old = open_file(out).compute()
    forget(out, [5], "reflectance")  # of the second date
    make_item(copy, day=DAYS[1], added=1500)
    fetch(out, path, **how)
    cube, new = open_file(out).compute(), open_stac(path, bands=["B02", "B08"], offset=-1000).compute()
    assert not np.array_equal(old[1], new[1])
    np.testing.assert_array_equal(cube, new)
    assert xsr.verify(out).ok


KILLED = """
import json, sys
from survival import die_at_write
from xsr.sources.fetch import fetch
die_at_write(int(sys.argv[1]))
fetch(sys.argv[2], sys.argv[3], **json.loads(sys.argv[4]))
"""


@pytest.fixture
def kill_at(python):
    """Download in a process of its own, which is killed as it is about to write so many objects."""
    environment = {"PYTHONPATH": ":".join(map(str, (Path(__file__).parents[1], *sys.path)))}

    def run(number, out, items, how=AREA):
        command = ["-W", "ignore", "-c", KILLED, number, out, items, json.dumps(how)]
        assert python(*command, env=environment).returncode == -9

    return run


@pytest.mark.slow
@pytest.mark.parametrize("at", [2, 30])
def test_a_download_that_is_killed_leaves_a_store_that_opens_and_goes_on(items, tmp_path, at, kill_at):
    out = tmp_path / "a.zarr"
    kill_at(at, out, items)
    assert not out.exists() or open_file(out).attrs["xsr"]["complete"] is False
    assert fetch(out, items, **AREA).dates == 3
    assert_whole(out, items)


@pytest.mark.slow
@pytest.mark.parametrize("first", [slice(0, 1), slice(2, 3)])
@pytest.mark.parametrize("at", [3, 40])
def test_dates_that_are_down_survive_a_kill_while_others_are_added(folder, items, tmp_path, first, at, kill_at):
    """Behind them dates are added in place, before them by a replacement."""
    out = tmp_path / "a.zarr"
    some = write_items(folder / "some.json", [make_item(folder, day=day) for day in DAYS[first]])
    fetch(out, some, **AREA)
    kill_at(at, out, items)
    held = open_file(out)
    np.testing.assert_array_equal(held.sel(time=DAYS[first][0]), open_stac(some, bands=["B02", "B08"]))
    assert fetch(out, items, **AREA).dates == 3
    assert_whole(out, items)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.slow
def test_the_store_is_locked_while_it_is_written(items, tmp_path):
    with locked(Place(str(tmp_path / "a.zarr"))), pytest.raises(StoreError, match="is being written by process"):
        fetch(tmp_path / "a.zarr", items, **AREA)
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize("first", ["2024-06-15", "2024-06-20/2024-06-25"])
def test_a_download_that_lost_its_lock_writes_nothing_more(items, tmp_path, first):
    """Behind the dates that are there others are added in place, before them by a replacement."""
    for number in (1, 2, 3, 10, 20, 30, 40, 45, 50, 55, 60, 62, 64, 66, 68, 70, 80, 90, 100, 120):
        path = tmp_path / str(number) / "a.zarr"
        path.parent.mkdir()
        fetch(path, items, datetime=first, **AREA)
        if not lost_at(number, path, partial(fetch, path, items, **AREA)):
            break
    assert 30 < number < 120


@pytest.mark.slow
def test_a_date_before_others_takes_its_place_and_their_blocks_are_kept(items, tmp_path):
    out = tmp_path / "a.zarr"
    fetch(out, items, datetime="2024-06-20/2024-06-25", **AREA)
    blocks = [(out / f"reflectance/c/{n}/0/0/0").stat().st_ino for n in (0, 1)]
    assert fetch(out, items, **AREA) == FetchReport(str(out), 3, 1)
    assert [(out / f"reflectance/c/{n}/0/0/0").stat().st_ino for n in (1, 2)] == blocks
    assert_whole(out, items)
    assert fetch(out, items, **AREA) == FetchReport(str(out), 3, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    fetch(tmp_path / "at_once.zarr", items, **AREA)
    xr.testing.assert_identical(xr.open_zarr(out), xr.open_zarr(tmp_path / "at_once.zarr"))


@pytest.mark.slow
def test_a_date_that_was_planned_and_never_read_is_left_out_where_it_is_not_requested(copy, items, tmp_path):
    out = tmp_path / "a.zarr"
    with contextlib.ExitStack() as stack:
        for path in sorted(copy.glob("S2D*"))[1].glob("*.tif"):  # whichever is read first
            stack.enter_context(damaged(path))
        with pytest.raises(Exception, match=r"."):
            fetch(out, copy / "items.json", offset=-1000, **AREA)
    assert open_file(out).sizes["time"] == 3
    assert fetch(out, items, datetime=DAYS[0], offset=-1000, **AREA) == FetchReport(str(out), 1, 0)
    assert open_file(out).attrs["xsr"]["complete"]
    assert fetch(out, items, offset=-1000, **AREA) == FetchReport(str(out), 3, 2)
    assert_whole(out, items, offset=-1000)


# --- tiles that come later, items that were processed again -------------------------------------------------


@pytest.fixture(scope="module")
def tiles(folder):
    """Two tiles side by side, which share 160 m, and an area over both."""
    made = [
        make_item(folder, bands=("B02",), tile=name, west=west, **{"s2:datatake_id": "GS2D_20240615T110621_0_N05.11"})
        for name, west in (("29UNU", WEST), ("29UPU", WEST + 800))
    ]
    return made, {"bands": ["B02"], "geometry": box(left=400, width=900, top=0), "progress": False}


@pytest.mark.slow
@pytest.mark.parametrize("late", [0, 1])
def test_a_tile_that_comes_later_fills_its_hole(folder, tiles, tmp_path, late):
    both, area = tiles
    out, path = tmp_path / "a.zarr", write_items(folder / "both.json", both)
    other = make_item(folder, day=DAYS[1], bands=("B02",))
    first = write_items(folder / "first.json", [both[1 - late], other])
    fetch(out, first, **area)
    assert np.isnan(open_file(out)[0]).any()
    before = written(out)
    assert fetch(out, path, **area) == FetchReport(str(out), 2, 1, added=(both[late]["id"],))
    after = written(out)
    assert [name.split("/")[2] for name in after if after[name] != before[name]] == ["0"]
    cube, expected = open_file(out).compute(), open_stac(path, bands=["B02"], geometry=area["geometry"]).compute()
    np.testing.assert_array_equal(cube[:1], expected)
    assert not np.isnan(cube[0]).any()
    assert cube.product_id.values[0] == expected.product_id.values[0]
    assert xsr.verify(out).ok
    assert fetch(out, path, **area) == FetchReport(str(out), 2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("at", [5, 8, 38])
def test_a_tile_that_is_killed_as_it_is_added_is_added_by_the_next_run(folder, tiles, tmp_path, at, kill_at):
    """As blocks are forgotten, as the template is written, and behind the first block."""
    (west, east), area = tiles
    out = tmp_path / "a.zarr"
    fetch(out, write_items(folder / "west.json", [west]), **area)
    before = open_file(out).compute()
    path = write_items(folder / "both.json", [west, east])
    kill_at(at, out, path, area)
    held = open_file(out).compute()
    np.testing.assert_array_equal(held.where(before.notnull()), before)
    fetch(out, path, **area)
    np.testing.assert_array_equal(open_file(out), open_stac(path, bands=["B02"], geometry=area["geometry"]))
    assert xsr.verify(out).ok


@pytest.mark.slow
def test_a_late_tile_alone_fills_its_hole_and_changes_nothing_else(folder, tiles, tmp_path):
    (west, east), area = tiles
    out = tmp_path / "a.zarr"
    fetch(out, write_items(folder / "west.json", [west]), **area)
    before = open_file(out).compute()
    assert fetch(out, write_items(folder / "east.json", [east]), **area).added == (east["id"],)
    after = open_file(out).compute()
    np.testing.assert_array_equal(after.where(before.notnull()), before)
    expected = open_stac(write_items(folder / "both.json", [west, east]), bands=["B02"], geometry=area["geometry"])
    np.testing.assert_array_equal(after, expected)
    np.testing.assert_array_equal(after.scl, expected.scl)
    np.testing.assert_array_equal(after.valid, expected.valid)
    assert after.product_id.values.tolist() == [f"{west['id']}; {east['id']}"]
    assert xsr.verify(out).ok
    assert fetch(out, folder / "both.json", **area) == FetchReport(str(out), 1, 0)


@pytest.mark.slow
def test_a_tile_that_could_not_be_added_is_added_by_the_next_run(folder, tiles, tmp_path):
    """Its file breaks when it is read: the date keeps what it had."""
    (west, east), area = tiles
    out = tmp_path / "a.zarr"
    fetch(out, write_items(folder / "west.json", [west]), offset=-1000, **area)
    before = open_file(out).compute()
    path = write_items(folder / "east.json", [east])
    with damaged(folder / east["id"] / "B02.tif"), pytest.raises(Exception, match=r"."):
        fetch(out, path, offset=-1000, errors="drop", **area)
    np.testing.assert_array_equal(open_file(out), before)
    with warned("some dates are not whole, and this request does not find .*29UPU.* as it was fetched"):
        assert fetch(out, folder / "west.json", offset=-1000, **area).lacking == (east["id"],)
    assert fetch(out, path, offset=-1000, **area).added == (east["id"],)
    assert not np.isnan(open_file(out)).any()
    assert xsr.verify(out).ok


@pytest.mark.slow
def test_an_item_that_was_processed_again_is_named_and_replaced_on_request(folder, tmp_path):
    out, how = tmp_path / "a.zarr", {"bands": ["B02"], "progress": False}
    old = write_items(folder / "old.json", [make_item(folder, bands=("B02",), baseline="05.10")])
    made = make_item(folder, bands=("B02",), baseline="05.12", added=1200)
    new = write_items(folder / "new.json", [made])
    fetch(out, old, **how)
    before = written(out)
    with warned(
        "processed again since they were fetched, and kept as they were: .*0510_L2A .now .*0512_L2A.*'replace'"
    ):
        report = fetch(out, new, **how)
    assert report.fetched == 0
    assert report.reprocessed[0].endswith(f"(now {made['id']})")
    assert written(out) == before
    assert fetch(out, new, reprocessed="replace", **how).fetched == 1
    np.testing.assert_array_equal(open_file(out), open_stac(new, bands=["B02"]))
    assert fetch(out, new, **how) == FetchReport(str(out), 1, 0)
    assert xsr.verify(out).ok


def test_reprocessed_is_a_choice(items, tmp_path):
    with pytest.raises(ParameterError, match="reprocessed='update'; expected 'keep' or 'replace'"):
        fetch(tmp_path / "a.zarr", items, reprocessed="update")


# --- what cannot be read, and what is there already ---------------------------------------------------------


@pytest.mark.slow
def test_blocks_that_cannot_be_read_are_set_aside_with_the_dead_dates(copy, items, tmp_path):
    out, how = tmp_path / "a.zarr", {"offset": -1000, **AREA}
    with damaged(sorted(copy.glob("S2D*/B08.tif"))[1]):
        report = fetch(out, copy / "items.json", errors="drop", **how)
    assert {bad.index[0] for bad in report.quarantined} == {1}
    assert report.fetched == 3
    assert (ledger_of(out)["status"] == [DONE, QUARANTINED, DONE]).all()
    assert fetch(out, items, **how) == FetchReport(str(out), 3, 1)
    assert_whole(out, items, offset=-1000)


@pytest.mark.slow
def test_damage_is_found_and_repaired(items, tmp_path):
    out = tmp_path / "a.zarr"
    fetch(out, items, **AREA)
    block, document = out / "reflectance/c/1/0/0/0", out / "scl/zarr.json"
    block.write_bytes(block.read_bytes()[:-9] + bytes(9))
    assert [(bad.variable, bad.index) for bad in xsr.verify(out).bad] == [("reflectance", (1, 0, 0, 0))]
    assert fetch(out, items, repair=True, **AREA) == FetchReport(str(out), 3, 1)
    assert_whole(out, items)
    document.write_text(document.read_text() + " ")
    with pytest.raises(StoreError, match=r"was changed since it was written: scl/zarr\.json\. Pass repair=True"):
        fetch(out, items, **AREA)
    assert fetch(out, items, repair=True, **AREA).fetched == 0
    (out / "spatial_ref/_xsr/header.json").write_bytes(b"{}")
    assert [bad.variable for bad in xsr.verify(out).bad] == ["spatial_ref/_xsr/header.json"]
    assert fetch(out, items, repair=True, **AREA).fetched == 0
    assert xsr.verify(out).ok
    assert_whole(out, items)


def whole_objects(out):
    """Files of coordinates that are not written block by block."""
    found = [path for path in out.rglob("c/*") if path.is_file()] + [path for path in out.rglob("c") if path.is_file()]
    return sorted(path for path in found if path.relative_to(out).parts[0] not in ("reflectance", "scl", "valid"))


@pytest.mark.slow
@pytest.mark.parametrize("complete", [True, False])
def test_coordinates_that_were_damaged_are_made_again_from_the_catalogue(items, tmp_path, complete):
    out = tmp_path / "a.zarr"
    fetch(out, items, **AREA)
    if not complete:
        forget(out, (1, 0, 0, 0))
    before = {path: path.read_bytes() for path in whole_objects(out)}
    assert len(before) > 8
    for number, (path, content) in enumerate(before.items()):
        path.write_bytes(content[:-1] if number % 2 else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StoreError, match=r"was changed since it was written: .*product_id/c/0.* Pass repair=True"):
        fetch(out, items, **AREA)
    assert fetch(out, items, repair=True, **AREA).dates == 3
    assert {path: path.read_bytes() for path in before} == before
    assert_whole(out, items)


@pytest.mark.slow
def test_coordinates_are_made_again_of_all_dates_or_not_at_all(items, tmp_path):
    out = tmp_path / "a.zarr"
    fetch(out, items, **AREA)
    (out / "x/c/0").unlink()
    assert fetch(out, items, repair=True, datetime=DAYS[0], **AREA).dates == 3  # any date has it
    (out / "product_id/c/0").unlink()
    with pytest.raises(StoreError, match=r"product_id/c/0\. The items that are found do not give them .* all items"):
        fetch(out, items, repair=True, datetime=DAYS[0], **AREA)
    assert fetch(out, items, repair=True, **AREA).dates == 3
    assert_whole(out, items)


CHANGED = "S2D_29UNU_20240620_0511_L2A"


def change_an_image(copy):
    """Give an image of the second date other pixels, under the same name."""
    shutil.copy(copy / CHANGED / "B02.tif", copy / CHANGED / "B08.tif")


@pytest.mark.slow
def test_images_that_changed_under_their_address_are_named_by_a_repair_and_replaced_on_request(copy, tmp_path):
    out, items = tmp_path / "a.zarr", copy / "items.json"
    fetch(out, items, **AREA)
    change_an_image(copy)
    assert fetch(out, items, **AREA).reprocessed == ()  # nothing of a whole date is looked at
    with warned(rf"processed again .* kept as they were: {CHANGED} \(content changed\)"):
        report = fetch(out, items, repair=True, **AREA)
    assert (report.fetched, report.reprocessed) == (0, (f"{CHANGED} (content changed)",))
    assert fetch(out, items, repair=True, reprocessed="replace", **AREA).fetched == 1
    assert_whole(out, items)


@pytest.mark.slow
def test_a_date_whose_images_change_while_it_is_downloaded_is_made_anew_by_the_next_run(copy, tmp_path, monkeypatch):
    out, items, real = tmp_path / "a.zarr", copy / "items.json", update.compute_blocks
    changed = []

    def then_changed(*arguments, **options):
        done = real(*arguments, **options)
        if not changed and (out / "reflectance/c/1/0/0/0").exists():
            changed.append(change_an_image(copy))
        return done

    monkeypatch.setattr(update, "compute_blocks", then_changed)
    with warned(f"files of {CHANGED} were changed while they were downloaded"):
        fetch(out, items, **AREA)
    assert not xr.open_zarr(out).attrs["xsr"]["complete"]
    assert fetch(out, items, **AREA).fetched == 1
    assert_whole(out, items)


@pytest.mark.slow
@pytest.mark.parametrize("days", [slice(0, 2), slice(1, 3)])
def test_a_store_of_an_earlier_version_is_taken_over_without_reading_its_dates_again(copy, items, tmp_path, days):
    out = tmp_path / "a.zarr"
    cube = open_stac(items, bands=["B02", "B08"])[days].compute()
    record = {"area": None, "bands": ["B02", "B08"], "collection": None, "resolution": None, "crs": None}
    record |= {"resampling": "cubic", "mask": False, "offset": None}
    labels = {name: one.astype(object) for name, one in cube.coords.items() if one.dtype.kind in "UT"}
    dataset = cube.to_dataset().assign_coords(labels)
    dataset.attrs[RECORD] = {"version": "0.1", "asked": record, "dates": 2}
    dataset.to_zarr(out, zarr_format=3, consolidated=False)
    for old in sorted(copy.glob("S2D*"))[days]:
        shutil.rmtree(old)
    left = write_items(copy / "left.json", [make_item(copy, day=DAYS[2] if days.start == 0 else DAYS[0])])
    assert fetch(out, left, **AREA) == FetchReport(str(out), 3, 1)
    assert_whole(out, items)


@pytest.mark.slow
def test_a_download_to_an_object_store(items, tmp_path):
    with bucket() as options:
        url = "s3://bucket/a.zarr"
        assert fetch(url, items, datetime=DAYS[1], storage_options=options, **AREA) == FetchReport(url, 1, 1)
        assert fetch(url, items, storage_options=options, **AREA) == FetchReport(url, 3, 2)
        assert xsr.verify(url, storage_options=options).ok
        held = xr.open_zarr(url, storage_options=options)["reflectance"].compute()
    np.testing.assert_array_equal(held, open_stac(items, bands=["B02", "B08"]))


@pytest.mark.slow
def test_a_dead_date_is_left_out_and_comes_with_a_later_run(copy, tmp_path):
    out, path = tmp_path / "a.zarr", copy / "items.json"
    dead = sorted(copy.glob("S2D*/B08.tif"))[1]
    dead.rename(copy / "aside.tif")
    with pytest.raises(ProductError, match=r"asset 'B08' of item S2D_29UNU_20240620_0511_L2A cannot be opened"):
        fetch(out, path, **AREA)
    assert not out.exists()
    with warned("Its date is left out"):
        assert fetch(out, path, errors="drop", **AREA).dates == 2
    with warned("Its date is left out"):
        assert fetch(out, path, errors="drop", **AREA) == FetchReport(str(out), 2, 0)
    (copy / "aside.tif").rename(dead)
    assert fetch(out, path, **AREA) == FetchReport(str(out), 3, 1)
    assert (np.diff(open_file(out).time) > np.timedelta64(0)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"geometry": box(width=400)},
            r"requested differently: area \[-8\.9973\d+, .*\] then, \[-8\.9973\d+, .*\] now",
        ),
        ({"bands": ["B02"]}, r"bands \['B02', 'B03', 'B04', 'B08'\] then, \['B02'\] now"),
        ({"resolution": 20.0, "mask": True}, r"resolution None then, 20\.0 now; mask False then, True now"),
        ({"crs": "EPSG:3035"}, r"crs None then, 'EPSG:3035' now\. Request the same"),
    ],
)
def test_another_request_is_refused_with_the_difference(items, tmp_path, changed, message):
    out = tmp_path / "a.zarr"
    request = {"bands": RGBN, "geometry": box(), "progress": False}
    fetch(out, items, datetime="2024-06-15", **request)
    before = written(out)
    with pytest.raises(StoreError, match=message):
        fetch(out, items, **{**request, **changed})
    assert written(out) == before
    assert fetch(out, items, **{**request, "bands": ["blue", "green", "red", "nir"]}).fetched == 2


@pytest.mark.slow
def test_dates_on_another_grid_or_without_masks_are_refused(folder, items, tmp_path):
    out = tmp_path / "a.zarr"
    fetch(out, items, datetime="2024-06-15", **AREA)
    moved = make_item(folder, day="2024-07-01", west=WEST + 500)
    with pytest.raises(StoreError, match=r"has the grid 96 x 96 at .* in EPSG:32629, the dates to add have 96 x 96 at"):
        fetch(out, write_items(folder / "moved.json", [moved]), **AREA)
    bare = make_item(folder, day="2024-07-02")
    del bare["assets"]["scl"]
    with pytest.raises(StoreError, match=r"has the coordinates \[.*'scl'.*\], the dates to add have"):
        fetch(out, write_items(folder / "bare.json", [bare]), **AREA)
    assert fetch(out, items, **AREA).dates == 3


@pytest.mark.slow
def test_what_is_at_the_path_already_stays(items, tmp_path):
    foreign = tmp_path / "foreign.zarr"
    open_stac(items, bands="B02").sr.to_zarr(foreign, progress=False)
    fetch(tmp_path / "own.zarr", items, **AREA)
    xsr.to_zarr(open_file(tmp_path / "own.zarr"), tmp_path / "derived.zarr", progress=False)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "note.txt").write_text("mine")
    for name in ("foreign.zarr", "derived.zarr", "file", "folder"):
        with pytest.raises(StoreError, match=rf"{name} exists and was not written by fetch"):
            fetch(tmp_path / name, items, **AREA)
    assert (tmp_path / "folder" / "note.txt").read_text() == "mine"
    assert open_file(foreign).sizes["time"] == 3


@pytest.mark.slow
def test_a_store_that_others_wrote_to_is_not_continued(items, tmp_path):
    out = tmp_path / "a.zarr"
    fetch(out, items, datetime=DAYS[0], **AREA)
    cube = open_file(out).compute().chunk(time=1, band=-1)
    later = cube.assign_coords(time=cube.time + np.timedelta64(90, "D"))
    xsr.to_zarr(later, out, append_dim="time", progress=False)
    with pytest.raises(StoreError, match="was written to by to_zarr since it was fetched"):
        fetch(out, items, **AREA)
    assert xsr.verify(out).ok


def test_nothing_found_leaves_nothing(items, tmp_path):
    with pytest.raises(ParameterError, match="no items of"):
        fetch(tmp_path / "a.zarr", items, datetime="2031", **AREA)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_api_is_read_by_ranges_and_only_for_what_is_new(folder, tmp_path):
    served = [make_item(folder, day=day) for day in DAYS]
    out = tmp_path / "a.zarr"
    with serving(folder, served) as server:
        request = {"url": server.url, "geometry": box(), "bands": ["B02"], "progress": False}
        fetch(out, datetime="2024-06-15", **request)
        first = len(server.log["ranges"])
        assert fetch(out, datetime="2024-06-15", **request).fetched == 0
        assert len(server.log["ranges"]) == first > 0
        assert fetch(out, datetime="2024-06", **request).fetched == 2
    cube = open_file(out).compute()
    assert cube.sizes["y"] in (20, 21)  # a box in degrees is a little wider
    assert cube.sizes["x"] in (30, 31)
    affine = cube.odc.geobox.affine
    row, col = round((NORTH - affine.f) / 10), round((affine.c - WEST) / 10)
    expected = truth("B02", 10)[row : row + cube.sizes["y"], col : col + cube.sizes["x"]]
    np.testing.assert_allclose(cube[2, 0], expected, atol=1e-6)


@pytest.mark.slow
def test_the_mask_can_be_burnt_in(items, tmp_path):
    fetch(tmp_path / "a.zarr", items, mask=True, **AREA)
    cube = open_file(tmp_path / "a.zarr").compute()
    np.testing.assert_array_equal(np.isnan(cube[:, 0]), ~cube.valid)
    assert not cube.valid.all()


@pytest.mark.slow
def test_offsets_of_single_items_are_recorded_and_may_not_change(folder, tmp_path):
    wrong = make_item(folder, day="2024-08-01", added=0, stated=-0.1)
    right = make_item(folder, day="2024-08-11", stated=-0.1)
    path = write_items(folder / "mixed.json", [wrong, right])
    out = tmp_path / "a.zarr"
    fetch(out, path, offset={wrong["id"]: 0}, **AREA)
    cube = open_file(out).compute()
    np.testing.assert_allclose(cube[0], cube[1], atol=1e-6)
    with pytest.raises(StoreError, match=rf"offset \{{'{wrong['id']}': 0\}} then, None now"):
        fetch(out, path, **AREA)
    assert fetch(out, path, offset={wrong["id"]: 0}, **AREA).fetched == 0
