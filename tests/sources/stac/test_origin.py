"""What the addresses of a catalogue may name."""

import json
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pystac
import pytest
from catalogs import make_item, serving, write_items

from xsr.core.errors import ParameterError, ProductError
from xsr.sources.stac import open_stac
from xsr.sources.stac.online import CatalogIO
from xsr.sources.stac.origin import Origin, Reach, mark, origin_of, reach, refusal

PUBLIC, PRIVATE, HERE = "https://1.1.1.1/stac", "https://10.0.0.1/stac", "http://127.0.0.1:8080/stac"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("8.8.8.8", Reach.PUBLIC),
        ("2606:4700:4700::1111", Reach.PUBLIC),
        ("10.1.2.3", Reach.PRIVATE),
        ("192.168.0.1", Reach.PRIVATE),
        ("fd12:3456::1", Reach.PRIVATE),
        ("localhost", Reach.LOOPBACK),
        ("127.8.8.8", Reach.LOOPBACK),
        ("2130706433", Reach.LOOPBACK),
        ("0x7f.1", Reach.LOOPBACK),
        ("0177.0.0.1", Reach.LOOPBACK),
        ("0.0.0.0", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("2002:7f00:1::", Reach.LOOPBACK),
        ("169.254.169.254", Reach.NEVER),
        ("0xa9fea9fe", Reach.NEVER),
        ("::ffff:169.254.169.254", Reach.NEVER),
        ("fe80::1", Reach.NEVER),
        ("fd00:ec2::254", Reach.NEVER),
        ("224.0.0.1", Reach.NEVER),
        ("name.invalid", Reach.PUBLIC),
    ],
)
def test_hosts_are_placed_by_what_they_resolve_to(host, expected):
    assert reach(host) is expected


def test_a_name_counts_by_the_innermost_of_its_addresses(monkeypatch):
    found = [(0, 0, 0, "", ("8.8.8.8", 0)), (0, 0, 0, "", ("169.254.169.254", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    assert reach("two-faced.example") is Reach.NEVER


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("https://8.8.8.8/B02.tif", {PUBLIC, PRIVATE, HERE, None}),
        ("HTTPS://8.8.8.8/B02.tif?sig=x", {PUBLIC, PRIVATE, HERE, None}),
        ("s3://bucket/B02.tif", {PUBLIC, PRIVATE, HERE, None}),
        ("https://10.9.9.9/B02.tif", {PRIVATE, HERE, None}),
        ("http://127.0.0.1:9/B02.tif", {HERE}),
        ("http://localhost/B02.tif", {HERE}),
        ("http://1.1.1.1@127.0.0.1/B02.tif", {HERE}),
        ("http://127%2e0%2e0%2e1/B02.tif", {HERE}),
        ("http://LOCALHOST./B02.tif", {HERE}),
        ("http:/127.0.0.1/B02.tif", set()),
        ("http://169.254.169.254/latest/meta-data", set()),
        ("http://[fe80::1%25eth0]/x.tif", set()),
        ("http://1.1.1.1\\@127.0.0.1/x.tif", set()),
        ("http://[::1/x.tif", set()),
        ("http:///x.tif", set()),
        ("/data/B02.tif", {None}),
        ("../B02.tif", {None}),
        ("file:///data/B02.tif", {None}),
        ("/vsicurl/http://127.0.0.1:9/x.tif", set()),
        ("/vsicurl?url=http://127.0.0.1:9/x.tif", set()),
        ("/data/../vsizip/{/data/a.zip}/x.tif", set()),
        ("/vsistdin/", set()),
        ('<VRTDataset rasterXSize="1" rasterYSize="1"/>', set()),
        (" <GDAL_WMS/>", set()),
        ("vrt:///data/B02.tif", set()),
        ("zip:///data/a.zip!x.tif", set()),
        ("ftp://8.8.8.8/x.tif", set()),
        ("NETCDF:/data/a.nc:x", set()),
        ("GTIFF_DIR:1:/data/a.tif", set()),
        ("x.tif\n", set()),
    ],
)
def test_an_address_leads_no_further_inward_than_its_catalogue_lies(address, allowed):
    assert {origin for origin in (PUBLIC, PRIVATE, HERE, None) if refusal(address, origin) is None} == allowed


def test_the_host_of_the_catalogue_is_always_its_own():
    assert refusal("http://169.254.1.1/B02.tif", "http://169.254.1.1/stac") is None


def item(**fields):
    found = {"type": "Feature", "stac_version": "1.0.0", "id": "a", "geometry": None, "links": [], "assets": {}}
    return pystac.Item.from_dict({**found, "properties": {"datetime": "2024-06-15T00:00:00Z"}, **fields})


def test_an_item_cannot_say_itself_where_it_comes_from():
    local = {"rel": "self", "href": "/data/item.json"}
    claimed = item(links=[local], **{"xsr:origin": HERE})
    assert origin_of(claimed) is None, "in memory, and on disk by its own link: the user's own"
    assert origin_of(mark(claimed, PUBLIC)) == PUBLIC
    assert origin_of(mark(claimed, "/data/items.json")) is None
    assert origin_of(item(links=[{"rel": "self", "href": f"{PUBLIC}/a"}])) == f"{PUBLIC}/a"
    assert not isinstance(json.loads(json.dumps(Origin(PUBLIC))), Origin)


@pytest.fixture
def served(tmp_path):
    """Folder served on loopback, and the paths that were requested; what begins with /to/ is sent on."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            requested.append(self.path)
            if self.path.startswith("/to/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/to/"))
                self.send_header("Content-Length", "0")
                return self.end_headers()
            body = (tmp_path / self.path.strip("/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    requested = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", requested
    server.shutdown()
    server.server_close()
    thread.join()


def write_catalog(folder, found, *, link="./item.json"):
    (folder / "item.json").write_text(json.dumps(found))
    catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d"}
    (folder / "catalog.json").write_text(json.dumps({**catalog, "links": [{"rel": "item", "href": link}]}))


def test_a_catalogue_on_the_web_names_no_file_of_the_reader(tmp_path, served):
    url, _ = served
    found = make_item(tmp_path / "private", bands=("B02",))
    private = tmp_path / "private" / found["assets"]["B02"]["href"]
    found["assets"] = {"B02": {**found["assets"]["B02"], "href": f"file://{private}"}}
    found["links"] = [{"rel": "self", "href": str(tmp_path / "item.json")}]
    write_catalog(tmp_path, found)
    for given in ({"url": f"{url}/catalog.json"}, {"items": f"{url}/catalog.json"}, {"items": f"{url}/item.json"}):
        with pytest.raises(ProductError, match=r"'B02'.* names a file of this machine\. Pass trust=True"):
            open_stac(**given, bands=["B02"])
    online = f"{url}/catalog.json"
    with pytest.raises(ProductError, match="names a file"):
        open_stac(url=online, bands=["B02"], patch_url=lambda href: f"{href}?sig=abcdefgh")
    assert open_stac(url=online, bands=["B02"], trust=True).size
    assert open_stac(url=online, bands=["B02"], patch_url=lambda _: str(private)).size, "the user's own address"


def test_links_of_a_catalogue_on_the_web_name_no_file_of_the_reader(tmp_path, served):
    url, _ = served
    write_catalog(tmp_path, make_item(tmp_path, bands=("B02",)), link=f"file://{tmp_path}/item.json")
    for given in ({"url": f"{url}/catalog.json"}, {"items": f"{url}/catalog.json"}):
        with pytest.raises(ParameterError, match=r"the catalogue links to .* names a file of this machine"):
            open_stac(**given)


def test_items_on_disk_name_files_and_no_service_of_this_machine(tmp_path, served):
    url, requested = served
    found = make_item(tmp_path, bands=("B02",))
    path = write_items(tmp_path / "items.json", [found])
    assert open_stac(path, bands=["B02"]).size
    for href in (f"{url}/latest/meta-data", f"/vsicurl/{url}/x.tif", f"vrt://{tmp_path}/x.tif"):
        found["assets"]["B02"]["href"] = href
        with pytest.raises(ProductError, match=r"'B02'.* Pass trust=True"):
            open_stac(write_items(tmp_path / "items.json", [found]), bands=["B02"])
    assert not requested


def test_redirections_of_a_catalogue_lead_no_further_inward(served):
    url, requested = served
    reader = CatalogIO("http://1.1.1.1/", trust=False)
    with pytest.raises(ParameterError, match="which is this machine"):
        reader.check(f"{url}/x")
    assert not requested
    reader = CatalogIO(url, trust=False)
    with pytest.raises(Exception, match=r"links to 'http://169\.254\.169\.254/latest', which leads to"):
        reader.request(f"{url}/to/http://169.254.169.254/latest")
    assert requested == ["/to/http://169.254.169.254/latest"]


@pytest.mark.slow
def test_addresses_beside_a_refused_one_are_used(tmp_path):
    found = make_item(tmp_path, bands=("B02",))
    del found["assets"]["scl"]
    with serving(tmp_path, [found]) as api:
        good = f"{api.url}files/{found['assets']['B02']['href']}"
        found["assets"]["B02"] |= {"href": "/eodata/B02.tif", "alternate": {"https": {"href": good}}}
        write_catalog(tmp_path, found)
        assert open_stac(url=f"{api.url}files/catalog.json", bands=["B02"]).size
