"""The addresses of the map: pages, tiles and values, and what is refused."""

import asyncio
import base64
import hashlib
import io
import json
import os
import re
import threading

import numpy as np
import pytest
from helpers import make_cube
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("js_lib_leaflet")

from view.map.pages import SECRET, Page, opened

from xsr.view.map import page_files
from xsr.view.map.guard import host_of
from xsr.view.map.layers import Shown
from xsr.view.map.sessions import MOST
from xsr.view.tiles import Tiles


def picture(content):
    return np.asarray(Image.open(io.BytesIO(content)))


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_and_all_files_that_it_names_are_served(page):
    text = page.client.get(f"/{SECRET}/").text
    named = re.findall(r'(?:href|src)="([^"]+)"', text)
    assert len(named) == 5
    for name in named:
        reply = page.client.get(f"/{SECRET}/{name}")
        assert reply.status_code == 200, name
        for imported in re.findall(r'from "\./(\w+\.js)"', reply.text if name.endswith("main.js") else ""):
            assert page.client.get(f"/{SECRET}/page/{imported}").status_code == 200


def test_leaflet_is_what_its_makers_published(page):
    text = page.client.get(f"/{SECRET}/").text
    for name, stated in re.findall(r'"(leaflet/[\w.]+)" integrity="sha256-([^"]+)"', text):
        content = page.client.get(f"/{SECRET}/{name}").content
        assert base64.b64encode(hashlib.sha256(content).digest()).decode() == stated


def test_no_file_of_the_page_names_another_host():
    for path in page_files.OWN.iterdir():
        found = re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8"))
        assert {one.partition("//")[2].partition("/")[0] for one in found} <= {"www.w3.org", "…"}, path.name


def test_every_reply_forbids_what_is_not_of_the_server(page):
    for path in (f"/{SECRET}/", "/elsewhere", page.url("job"), page.url("tiles/cube/input/99/0/0")):
        headers = page.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/other/", f"/{SECRET}x/", f"/{SECRET[:-1]}/", f"//{SECRET}/", "/page/main.js"])
def test_nothing_is_there_without_the_secret(page, path):
    assert page.client.get(path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        *(
            "page/../server.py",
            "page/%2e%2e/server.py",
            "page/..%2fserver.py",
            "page/..%5cserver.py",
            "page//etc/passwd",
        ),
        *("leaflet/../../__init__.py", "leaflet/%2e%2e/%2e%2e/__init__.py", "page/", "leaflet/"),
    ],
)
def test_no_path_leads_out_of_the_folders(page, path):
    reply = page.client.get(f"/{SECRET}/{path}")
    assert reply.status_code == 404
    assert "import" not in reply.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "testserver.evil.example", "", "[::2]:80"])
def test_another_name_of_the_server_is_refused(page, host):
    assert page.client.get(f"/{SECRET}/", headers={"host": host}).status_code == 421


def test_names_of_hosts_are_read_with_and_without_ports(cube):
    assert [host_of(one) for one in ("A.example:80", "[::1]", "[::1]:80")] == ["a.example", "::1", "::1"]
    with opened({"cube": cube}, hosts=("*",)) as client:
        assert client.get(f"/{SECRET}/", headers={"host": "hub.example"}).status_code == 200


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_the_page_learns_what_the_cube_is(page, cube):
    (about,) = page.state()["cubes"].values()
    west, south, east, north = about["bounds"]
    assert west < east
    assert south < north
    assert about["bands"] == ["B02", "B03", "B04", "B08"]
    assert about["rgb"] == ["B04", "B03", "B02"]
    assert about["wavelengths"]["B04"] == pytest.approx(665, abs=2)
    assert [np.datetime64(date) for date in about["dates"]] == list(cube.time.values)
    assert about["milliseconds"][0] == np.datetime64("2024-06-01", "ms").astype(int)


def test_whose_data_it_is_comes_from_the_cube(cube):
    cubes = {
        "sentinel": cube.assign_attrs(platform="sentinel-2b"),
        "landsat": cube.assign_attrs(platform="landsat-8"),
        "own": cube.assign_attrs(attribution="© The makers"),
        "unknown": cube,
    }
    with opened(cubes) as client:
        state = Page(client).state()["cubes"]
    assert {name: one["attribution"] for name, one in state.items()} == {
        "sentinel": "Contains modified Copernicus Sentinel data 2024",
        "landsat": "Landsat data: U.S. Geological Survey",
        "own": "© The makers",
        "unknown": "",
    }


def test_a_tile_is_that_of_the_engine(page, cube):
    tiles = Tiles(cube)
    z, x, y = tiles.over(tiles.max_zoom)[0]
    for options in (
        {},
        {"layer": "bicubic"},
        {"bands": ["B08"]},
        {"bands": ["B08", "B04", "B03"], "stretch": (0.1, 0.9)},
        {"t": "2024-06-02"},
        {"layer": "bicubic", "t": "2024-06-01T12:00:00"},
    ):
        query = {
            name: ",".join(map(str, one)) if name in ("bands", "stretch") else one for name, one in options.items()
        }
        reply = page.tile(z, x, y, **query)
        assert reply.status_code == 200, reply.text
        assert reply.headers["content-type"] == "image/png"
        assert reply.content == tiles.png(z, x, y, **{"layer": "input", **options})


def test_tiles_of_a_network_differ_from_its_input(cube, tiny):
    with opened({"cube": Shown("cube", cube, tiny)}) as client:
        page, tiles = Page(client), Tiles(cube, model=tiny)
        place = tiles.over(tiles.max_zoom)[0]
        fine, low = (page.tile(*place, layer=layer).content for layer in ("liif", "input"))
    assert fine == tiles.png(*place, layer="liif")
    assert (picture(fine) != picture(low)).any()


def test_tiles_beside_the_cube_are_empty_and_those_of_no_map_are_refused(page):
    assert picture(page.tile(0, 0, 0).content)[..., 3].sum() <= 4 * 255  # the cube is less than a pixel
    assert not picture(page.tile(22, 0, 0).content).any()
    for place in ((23, 0, 0), (0, 1, 0), (3, 0, 8), (10**9, 0, 0)):
        reply = page.tile(*place)
        assert reply.status_code == 400
        assert "expected" in reply.json()["error"]
    for place in (("a", 0, 0), (1, -1, 0), (1, 0, 1.5)):
        assert page.tile(*place).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        *({"t": "yesterday"}, {"t": "2030-01-01"}, {"t": "NaT"}, {"bands": "B99"}, {"bands": "B02,B03"}),
        *({"stretch": "1"}, {"stretch": "0,nan"}, {"stretch": "1,0"}, {"stretch": "a,b"}, {"layer": "../liif"}),
        {"layer": "<script>"},
    ],
)
def test_tiles_that_cannot_be_drawn_say_why(page, query):
    tiles = page.session.cubes["cube"].tiles
    reply = page.tile(*tiles.over(15)[0], **query)
    assert reply.status_code in (400, 404)
    assert reply.headers["content-type"].startswith(("application/json", "text/plain"))


def test_values_at_a_place(cube, tiny):
    with opened({"cube": Shown("cube", cube, tiny)}) as client:
        page = Page(client)
        west, south, east, north = page.state()["cubes"]["cube"]["bounds"]
        place = {"lon": west + 0.52 * (east - west), "lat": south + 0.52 * (north - south)}
        point = page.get("point/cube", t="2024-06-02", **place).json()
        series = page.get("series/cube", **place).json()
        assert page.get("point/cube", lon=200, lat=0).status_code == 400
        assert page.get("point/cube", lon="x", lat=0).status_code == 400
        assert page.get("point/cube", lon="inf", lat=0).status_code == 400
        assert page.get("series/cube").status_code == 400
        assert page.get("series/none", **place).status_code == 404
    assert point["input"] == {band: values[1] for band, values in series["bands"].items()}
    row, col = (np.abs(cube[axis].values - at).argmin() for axis, at in zip("yx", _metres(cube, place), strict=True))
    np.testing.assert_allclose(point["input"]["B03"], cube.values[1, 1, row, col], rtol=1e-6)


def _metres(cube, place):
    from odc.geo.geom import point

    ((x, y),) = point(place["lon"], place["lat"], "EPSG:4326").to_crs(cube.odc.crs).points
    return y, x


@pytest.mark.parametrize(
    "cube",
    [
        make_cube((4, 24, 24)),
        make_cube((1, 24, 24), bands=["B12"]),
        make_cube((24, 24)),
        make_cube((2, 1, 24, 24), bands=["lst"]),
        make_cube((1, 4, 1, 1)),
        make_cube(np.full((1, 4, 24, 24), np.nan, np.float32)),
        make_cube((3000, 1, 2, 2), times=list(np.datetime64("2000-01-01") + np.arange(3000))),
        make_cube((1, 4, 24, 24)).to_dataset("band"),
    ],
    ids=["no time", "one band", "no band", "no visible band", "one pixel", "no data", "thousands of dates", "Dataset"],
)
def test_odd_cubes_are_shown(cube):
    with opened({"cube": cube}) as client:
        page = Page(client)
        (about,) = page.state()["cubes"].values()
        assert len(about["rgb"]) in (1, 3)
        assert len(about["dates"]) == cube.sizes.get("time", 0)
        west, south, east, north = about["bounds"]
        point = page.get("point/cube", lon=(west + east) / 2, lat=(south + north) / 2).json()
        assert list(point["input"]) == about["bands"]
        z, x, y = page.session.cubes["cube"].tiles.over(about["max_zoom"])[0]
        assert picture(page.tile(z, x, y).content).shape == (256, 256, 4)


def test_names_with_scripts_in_them_stay_text(cube):
    name = "<script>alert(1)</script>"
    odd = cube.assign_coords(band=[name, "B03", "B04", "B08"]).assign_attrs(attribution=name)
    with opened({"cube": Shown(name, odd)}) as client:
        page = Page(client)
        reply = page.get("")
        assert reply.headers["content-type"] == "application/json"
        assert json.loads(reply.text)["cubes"]["cube"]["title"] == name
        assert name not in client.get(f"/{SECRET}/").text


# --- many at once ----------------------------------------------------------------------------------------------------


def test_a_hundred_tiles_at_once(page, cube):
    tiles = Tiles(cube)
    places = [place for z in (17, 18) for place in tiles.over(z)][:25]
    wanted = {place: tiles.png(*place, layer="input") for place in places}
    found = {}

    def fetch(number):
        place = places[number % len(places)]
        found[number] = page.tile(*place).content == wanted[place]

    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(100)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 100
    assert all(found.values())


def test_a_tile_that_nobody_waits_for_is_not_computed(gate):
    with opened({"cube": gate.cube()}) as client:
        page = Page(client)
        shown = page.session.cubes["cube"]
        places = shown.tiles.over(shown.tiles.max_zoom + 2)
        first = [threading.Thread(target=page.tile, args=place, kwargs=_drawn()) for place in places[: os.cpu_count()]]
        for one in first:
            one.start()
        assert gate.entered.acquire(timeout=60)
        sent = _abandoned(client.app, page.url(f"tiles/cube/input/{'/'.join(map(str, places[-1]))}"), gate)
        for one in first:
            one.join()
    assert sent[0]["status"] == 499


def _drawn():
    return {"stretch": "0,1"}


def _abandoned(application, path, gate):
    """Messages of the application to a client that went away at once."""
    sent = []

    async def receive():
        asyncio.get_running_loop().call_later(0, gate.opened.set)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"stretch=0,1", "root_path": ""}
    scope |= {"headers": [(b"host", b"testserver")], "http_version": "1.1", "scheme": "http", "app": application}
    asyncio.run(application(scope, receive, send))
    return sent


# --- sessions --------------------------------------------------------------------------------------------------------


def test_two_users_have_nothing_of_each_other(page):
    result = page.run("sharpen", cube="cube", method="crop", t="2024-06-02T00:00:00")
    file = page.run("pack", cube=result["cube"], format="cog")["file"]
    other = Page(page.client)
    assert list(other.state()["cubes"]) == ["cube"]
    assert other.state()["files"] == []
    assert other.state()["job"] is None
    assert other.get(f"files/{file}").status_code == 404
    assert other.tile(10, 0, 0, cube=result["cube"]).status_code == 404
    assert other.post("pack", cube=result["cube"], format="cog").status_code == 400
    assert page.get(f"files/{file}").status_code == 200


@pytest.mark.parametrize("name", ["../secret", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "cube", ""])
def test_only_files_that_the_session_made_are_sent(page, name):
    assert page.get(f"files/{name}").status_code == 404


def test_an_unknown_session_is_refused(page):
    for path in ("", "job", "tiles/cube/input/0/0/0", "files/x"):
        assert page.client.get(f"/{SECRET}/s/other/{path}").status_code == 404


def test_the_session_not_used_for_longest_ends_first(page):
    folder = page.session.folder
    others = [Page(page.client) for _ in range(MOST - 1)]
    assert others[0].get("job").status_code == 200
    assert page.get("job").status_code == 200
    for _ in range(MOST - 1):
        Page(page.client)
    assert page.get("job").status_code == 200
    assert others[0].get("job").status_code == 404
    Page(page.client)
    assert folder.is_dir()
    for _ in range(MOST):
        Page(page.client)
    assert page.get("job").status_code == 404
    assert not folder.exists()


def test_the_end_of_the_server_removes_what_was_made(cube):
    with opened({"cube": cube}) as client:
        page = Page(client)
        page.run("sharpen", cube="cube", method="crop", t="2024-06-02T00:00:00")
        folder = page.session.folder
        assert folder.is_dir()
    assert not folder.exists()
