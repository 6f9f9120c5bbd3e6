import shutil

import numpy as np
import pytest
import xarray as xr
import zarr
from catalogs import make_item, serving, write_items
from odc.geo.geom import box as outline
from products import NORTH, WEST, truth, warned

from xsr.core.errors import ParameterError, ProductError, StoreError
from xsr.sources.fetch import RECORD, FetchReport, fetch
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


def written(path):
    """When each file of pixels was written, by name."""
    return {file.relative_to(path).as_posix(): file.stat().st_mtime_ns for file in path.glob("reflectance/c/**/*")}


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
    assert not (tmp_path / "a.zarr.incoming").exists()


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


@pytest.mark.slow
@pytest.mark.parametrize("break_at", [1, 2, 3])
def test_an_interrupted_download_continues_with_the_date_it_was_at(folder, items, tmp_path, break_at):
    """A file of one date is gone when it is read; what the failed run began is not trusted."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    out = tmp_path / "a.zarr"
    victim = sorted(copy.glob("S2D*/B08.tif"))[break_at - 1]
    good = victim.read_bytes()
    damaged = bytearray(good)
    damaged[len(good) // 3 :] = bytes(len(good) - len(good) // 3)  # the header opens, the pixels do not
    victim.write_bytes(damaged)
    with pytest.raises(Exception, match=r"."):  # whatever the reader says
        fetch(out, copy / "items.json", offset=-1000, **AREA)
    assert out.exists() == (break_at > 1)
    victim.write_bytes(good)
    report = fetch(out, copy / "items.json", offset=-1000, **AREA)
    assert report == FetchReport(str(out), 3, 4 - break_at)
    np.testing.assert_array_equal(open_file(out), open_stac(items, bands=["B02", "B08"]))


@pytest.mark.slow
def test_a_date_that_was_begun_and_not_counted_is_written_anew(items, tmp_path):
    out = tmp_path / "a.zarr"
    fetch(out, items, datetime="2024-06-15/2024-06-20", **AREA)
    group = zarr.open_group(out, mode="r+", use_consolidated=False)
    group.attrs[RECORD] = {**group.attrs[RECORD], "dates": 1}
    group["reflectance"][1] = 7.0
    assert fetch(out, items, **AREA) == FetchReport(str(out), 3, 2)
    np.testing.assert_array_equal(open_file(out), open_stac(items, bands=["B02", "B08"]))


@pytest.mark.slow
def test_a_date_that_comes_late_takes_its_place_in_time(items, tmp_path):
    out = tmp_path / "a.zarr"
    fetch(out, items, datetime="2024-06-20/2024-06-25", **AREA)
    assert fetch(out, items, **AREA) == FetchReport(str(out), 3, 1)
    cube, expected = open_file(out).compute(), open_stac(items, bands=["B02", "B08"]).compute()
    np.testing.assert_array_equal(cube, expected)
    for name in ("time", "product_id", "valid", "dn_offset"):
        np.testing.assert_array_equal(cube[name], expected[name])
    assert fetch(out, items, **AREA) == FetchReport(str(out), 3, 0)


@pytest.mark.slow
def test_a_dead_date_is_left_out_and_comes_with_a_later_run(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    out, path = tmp_path / "a.zarr", copy / "items.json"
    dead = sorted(copy.glob("S2D*/B08.tif"))[1]
    dead.rename(copy / "aside.tif")
    with pytest.raises(ProductError, match=r"asset 'B08' of item S2D_29UNU_20240620_0511_L2A cannot be opened"):
        fetch(out, path, **AREA)
    assert not out.exists()
    with warned("Its date is left out"):
        assert fetch(out, path, errors="drop", **AREA).dates == 2
    (copy / "aside.tif").rename(dead)
    assert fetch(out, path, **AREA) == FetchReport(str(out), 3, 1)
    assert (np.diff(open_file(out).time) > np.timedelta64(0)).all()


def box(left=200, top=100, width=300, height=200):
    west, north = WEST + left, NORTH - top
    return outline(west, north - height, west + width, north, "EPSG:32629").to_crs("EPSG:4326").json


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
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "note.txt").write_text("mine")
    for name in ("foreign.zarr", "file", "folder"):
        with pytest.raises(StoreError, match=rf"{name} exists and was not written by fetch"):
            fetch(tmp_path / name, items, **AREA)
    assert (tmp_path / "folder" / "note.txt").read_text() == "mine"
    assert open_file(foreign).sizes["time"] == 3


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
