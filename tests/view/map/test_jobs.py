"""What a page can begin: searching, fetching, sharpening and packing; limits, failures and cancelling."""

import io
import zipfile

import numpy as np
import pytest
import rasterio
import xarray as xr
from catalogs import COLLECTION, make_item, serving
from odc.geo.geobox import GeoBox
from products import NORTH, SIDE, WEST

pytest.importorskip("starlette")
pytest.importorskip("js_lib_leaflet")

from affine import Affine
from view.map.pages import Page, opened

import xsr
from xsr.core.errors import ParameterError
from xsr.sources.stac.search import find_items
from xsr.view.map import acquire, compute, sessions
from xsr.view.map.layers import Shown

AREA = GeoBox((SIDE, SIDE), Affine(10, 0, WEST, 0, -10, NORTH), "EPSG:32629").extent.buffer(-200).to_crs("EPSG:4326")


def values_of(page, name):
    return page.session.cubes[name].cube


# --- sharpening ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the cube's pixels measure")  # a result is looked at as any cube
def test_results_are_those_of_the_operations(cube, tiny):
    with opened({"cube": Shown("cube", cube, tiny)}) as client:
        page = Page(client)
        for content, wanted in (
            ({"method": "liif", "scale": 1.7}, xsr.liif(cube, scale=1.7, model=tiny)),
            ({"method": "bicubic", "scale": 2, "t": "2024-06-02T00:00:00"}, xsr.interpolate(cube[[1]], scale=2)),
            ({"method": "crop"}, cube),
        ):
            found = values_of(page, page.run("sharpen", cube="cube", **content)["cube"])
            xr.testing.assert_allclose(found.drop_vars(found.coords), wanted.drop_vars(wanted.coords), atol=1e-6)
            assert found.odc.geobox == wanted.odc.geobox
        assert len(page.state()["cubes"]) == 4
        assert page.state()["cubes"]["liif-1"]["made"]


def test_an_area_is_cropped_first(page, cube):
    outline = cube.odc.geobox[6:18, 3:12].extent.to_crs("EPSG:4326")
    result = page.run("sharpen", cube="cube", method="crop", area=outline.json)
    wanted = xsr.clip(cube, outline)
    found = values_of(page, result["cube"])
    assert found.odc.geobox == wanted.odc.geobox
    np.testing.assert_array_equal(found.values, wanted.values)
    box = list(outline.boundingbox)
    assert values_of(page, page.run("sharpen", cube="cube", method="crop", area=box)["cube"]).sizes["x"] >= 9


def test_the_oldest_result_makes_room(page):
    day = "2024-06-02T00:00:00"
    names = [page.run("sharpen", cube="cube", method="crop", t=day)["cube"] for _ in range(4)]
    assert list(page.state()["cubes"]) == ["cube", *names[1:]]
    assert not (page.session.folder / names[0]).exists()


@pytest.mark.parametrize(
    "content",
    [
        {"method": "magic"},
        {"method": ["liif"]},
        {"scale": "x"},
        {"scale": 0.5},
        {"scale": 1000},
        {"scale": None},
        {"cube": "other"},
        {"cube": ["cube"]},
        {"t": "yesterday"},
        {"method": "bicubic", "t": "2024-06-01T12:00:00"},
        {"area": "/etc/passwd"},
        {"area": {"type": "Polygon"}},
        {"area": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}},
        {"area": [1, 2, 3]},
        {"area": ["a", "b", "c", "d"]},
        {"area": 5},
    ],
    ids=str,
)
def test_what_cannot_be_computed_is_refused(page, content):
    reply = page.post("sharpen", **{"cube": "cube", **content})
    assert reply.status_code == 400
    assert len(reply.json()["error"]) > 20
    assert page.state()["job"] is None


def test_what_is_too_large_is_said(page, monkeypatch):
    monkeypatch.setattr(acquire, "MOST_VALUES", 30_000)
    reply = page.post("sharpen", cube="cube", method="bicubic", scale=3)
    assert reply.status_code == 400
    assert "the result has" in reply.json()["error"]
    page.run("sharpen", cube="cube", method="crop")


def test_a_job_that_fails_says_why_and_leaves_nothing(page, cube, monkeypatch):
    def broken(block):
        raise ValueError("disk <b>full</b>")

    data = cube.data.map_blocks(broken, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))
    page.session.cubes["cube"] = Shown("cube", cube.copy(data=data))
    assert page.post("sharpen", cube="cube", method="crop").status_code == 202
    job = page.job()
    assert job["state"] == "failed"
    assert "disk <b>full</b>" in job["message"]
    assert list(page.session.folder.iterdir()) == []
    assert list(page.state()["cubes"]) == ["cube"]
    assert "disk <b>full</b>" in page.state()["cubes"]["cube"]["error"]


def test_one_job_at_a_time_that_can_be_cancelled(gate, monkeypatch):
    monkeypatch.setattr(compute, "BLOCK", 12)
    with opened({"cube": gate.cube()}) as client:
        page = Page(client)
        assert page.post("sharpen", cube="cube", method="crop").status_code == 202
        assert gate.entered.acquire(timeout=60)
        again = page.post("pack", cube="cube", format="zarr")
        assert again.status_code == 400
        assert "one job at a time" in again.json()["error"]
        assert page.cancel().json()["message"] == "stopping after this step"
        gate.opened.set()
        job = page.job()
        assert job["state"] == "cancelled"
        assert job["total"] == 2  # rows of blocks
        assert list(page.session.folder.iterdir()) == []
        assert page.cancel().json()["state"] == "cancelled"
        page.run("sharpen", cube="cube", method="crop")


def test_jobs_of_all_pages_together_are_limited(gate, monkeypatch):
    monkeypatch.setattr(sessions, "BUSY", 1)
    with opened({"cube": gate.cube()}) as client:
        one, other = Page(client), Page(client)
        assert one.post("sharpen", cube="cube", method="crop").status_code == 202
        reply = other.post("sharpen", cube="cube", method="crop")
        assert reply.status_code == 400
        assert "other pages" in reply.json()["error"]
        gate.opened.set()
        one.job()
        other.run("sharpen", cube="cube", method="crop")


def test_only_objects_in_json_of_limited_size_are_read(page):
    url = page.url("jobs/sharpen")
    json = {"content-type": "application/json"}
    assert page.client.post(url, content="cube=cube").status_code == 415
    assert page.client.post(url, content="{", headers=json).status_code == 400
    assert page.client.post(url, content="[1]", headers=json).status_code == 400
    assert page.client.post(url, content="[" * 100_000, headers=json).status_code == 400
    assert page.client.post(url, content=b'{"a": "' + b"x" * 5_000_001, headers=json).status_code == 413
    assert page.client.post(page.url("jobs/format"), json={}).status_code == 404


# --- downloads -------------------------------------------------------------------------------------------------------


def test_a_zarr_download_is_the_cube(page, cube, tmp_path):
    name = page.run("pack", cube="cube", format="zarr")["file"]
    reply = page.get(f"files/{name}")
    assert name in reply.headers["content-disposition"]
    (tmp_path / name).write_bytes(reply.content)
    found = xsr.open(tmp_path / name)
    assert found.odc.geobox == cube.odc.geobox
    np.testing.assert_array_equal(found.values, cube.values)
    assert not (page.session.folder / "packing").exists()


def test_a_geotiff_download_has_a_file_for_each_date(page, cube, tmp_path):
    name = page.run("pack", cube="cube", format="cog")["file"]
    with zipfile.ZipFile(io.BytesIO(page.get(f"files/{name}").content)) as archive:
        assert len(archive.namelist()) == 3
        archive.extractall(tmp_path)
    for number, path in enumerate(sorted(tmp_path.glob("*.tif"))):
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(file.read(), cube.values[number])
    crop = page.run("sharpen", cube="cube", method="crop", t="2024-06-03T00:00:00")["cube"]
    single = page.run("pack", cube=crop, format="cog")["file"]
    with rasterio.MemoryFile(page.get(f"files/{single}").content) as memory, memory.open() as file:
        np.testing.assert_array_equal(file.read(), cube.values[2])


def test_an_unknown_format_is_refused(page):
    assert page.post("pack", cube="cube", format="exe").status_code == 400
    with pytest.raises(ParameterError, match="expected zarr or cog"):
        compute.pack(None, None, None, "exe", None)


# --- catalogues ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("catalogue")


@pytest.fixture(scope="module")
def catalogue(folder):
    """An API on loopback with three dates."""
    items = [
        make_item(folder, day=day, cloud=cloud, bands=("B02", "B03", "B04", "B08"))
        for day, cloud in (("2024-06-15", 5.0), ("2024-06-20", 80.0), ("2024-07-01", 12.34))
    ]
    with serving(folder, items) as served:
        yield served


def wish(catalogue, **content):
    given = {"url": catalogue.url, "collection": COLLECTION, "first": "2024-06-01", "last": "2024-07-31"}
    return {**given, "bands": "B02, B03 B04", "area": AREA.json, **content}


@pytest.mark.slow
def test_a_catalogue_is_searched_and_dates_of_it_are_fetched(page, catalogue):
    dates = page.run("search", **wish(catalogue))["dates"]
    assert [(one["time"][:10], one["cloud"]) for one in dates] == [
        ("2024-06-15", 5.0),
        ("2024-06-20", 80.0),
        ("2024-07-01", 12.3),
    ]
    assert {one["platform"] for one in dates} == {"sentinel-2d"}
    chosen = [dates[0]["key"], dates[2]["key"]]
    name = page.run("fetch", **wish(catalogue, dates=chosen))["cube"]
    found = values_of(page, name)
    wanted = xsr.open_stac(
        url=catalogue.url, geometry=AREA, datetime="2024-06-01/2024-07-31", bands=["B02", "B03", "B04"]
    ).isel(time=[0, 2])
    assert found.odc.geobox == wanted.odc.geobox
    np.testing.assert_array_equal(found.values, wanted.values)
    assert page.state()["cubes"][name]["title"] == f"{COLLECTION}, 2 dates"
    assert page.tile(*page.session.cubes[name].tiles.over(15)[0], cube=name).status_code == 200


@pytest.mark.slow
def test_fewer_clouds_and_nothing_at_all(page, catalogue):
    assert len(page.run("search", **wish(catalogue, max_cloud="50"))["dates"]) == 2
    assert page.post("search", **wish(catalogue, first="2020-01-01", last="2020-02-01")).status_code == 202
    job = page.job()
    assert job["state"] == "failed"
    assert "no items of" in job["message"]
    assert page.post("fetch", **wish(catalogue)).status_code == 400


@pytest.mark.slow
def test_a_download_that_is_too_large_is_refused(page, catalogue, monkeypatch):
    page.run("search", **wish(catalogue))
    monkeypatch.setattr(acquire, "MOST_VALUES", 10_000)
    reply = page.post("fetch", **wish(catalogue))
    assert reply.status_code == 400
    assert "the download has" in reply.json()["error"]
    assert page.post("fetch", **wish(catalogue, dates=["other"])).status_code == 400
    assert page.post("fetch", **wish(catalogue, dates=5)).status_code == 400


def test_a_catalogue_that_lists_too_much_is_not_read_to_its_end(catalogue):
    with pytest.raises(ParameterError, match="lists more than 2 items"):
        find_items(None, url=catalogue.url, area=AREA, datetime="2024", collection=None, max_cloud=None, limit=2)


@pytest.mark.parametrize(
    "content",
    [
        {"url": ""},
        {"url": "/etc/passwd"},
        {"url": "file:///etc/passwd"},
        {"url": "s3://bucket/catalog.json"},
        {"url": "http://169.254.169.254/latest/meta-data"},
        {"url": "http://127.0.0.1 .example/"},
        {"url": 5},
        {"area": None},
        {"area": "area.geojson"},
        {"max_cloud": "many"},
        {"bands": ["B02"]},
        {"first": 2024},
    ],
    ids=str,
)
def test_wishes_that_cannot_be_are_refused(page, catalogue, content):
    reply = page.post("search", **wish(catalogue, **content))
    assert reply.status_code == 400
    assert "expected" in reply.json()["error"]


def test_a_page_that_others_reach_leads_to_public_catalogues_alone(cube, catalogue):
    with opened({"cube": cube}, origin="") as client:
        reply = Page(client).post("search", **wish(catalogue))
    assert reply.status_code == 400
    assert "which is this machine" in reply.json()["error"]
