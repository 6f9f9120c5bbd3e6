"""Small STAC catalogs of the tests: items over GeoTIFF files, and an API that serves both on loopback."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from products import NORTH, OWN, SIDE, WEST, classes, truth
from shapely.geometry import shape

COLLECTION = "sentinel-2-l2a"


def write_cog(path, values, size, *, crs="EPSG:32629", west=WEST, north=NORTH):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="COG",
        count=1,
        height=values.shape[0],
        width=values.shape[1],
        dtype=values.dtype,
        crs=crs,
        transform=Affine(size, 0, west, 0, -size, north),
        nodata=0,
        blocksize=128,
        overviews="NONE",
    ) as file:
        file.write(values[None])


def make_item(
    folder,
    *,
    day="2024-06-15",
    baseline="05.11",
    added=1000,
    stated=None,
    tile="29UNU",
    crs="EPSG:32629",
    west=WEST,
    north=NORTH,
    platform="sentinel-2d",
    generated="2024-06-15T18:00:00Z",
    cloud=5.0,
    bands=("B02", "B03", "B04", "B08", "B05", "B12"),
    names=str,
    suffix="",
    **properties,
):
    """Item as a dictionary, its GeoTIFF files under `folder`; digital numbers are reflectance times 10000 + `added`."""
    identity = f"S2D_{tile}_{day.replace('-', '')}_{baseline.replace('.', '') if baseline else 'x'}{suffix}_L2A"
    assets = {}
    for band in (*bands, "SCL"):
        size = 20 if band == "SCL" else OWN[band]
        n = SIDE * 10 // size
        if band == "SCL":
            values = classes(size)
        else:
            values = np.round(truth(band, size) * 10000).astype(np.uint16) + np.uint16(added)
        write_cog(folder / identity / f"{band}.tif", values, size, crs=crs, west=west, north=north)
        assets["scl" if band == "SCL" else names(band)] = {
            "href": f"{identity}/{band}.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "proj:shape": [n, n],
            "proj:transform": [size, 0, west, 0, -size, north],
        }
        if stated is not None and band != "SCL":
            assets[names(band)]["raster:bands"] = [
                {"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": stated}
            ]
    outline = GeoBox((SIDE, SIDE), Affine(10, 0, west, 0, -10, north), crs).extent.to_crs("EPSG:4326")
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/projection/v1.0.0/schema.json"],
        "id": identity,
        "collection": COLLECTION,
        "geometry": outline.json,
        "bbox": list(outline.boundingbox),
        "properties": {
            "datetime": f"{day}T11:06:21.024Z",
            "platform": platform,
            "constellation": "sentinel-2",
            "eo:cloud_cover": cloud,
            "proj:epsg": int(crs.split(":")[1]),
            "s2:mgrs_tile": tile,
            "s2:generation_time": generated,
            **({"s2:processing_baseline": baseline} if baseline else {}),
            **properties,
        },
        "assets": assets,
        "links": [],
    }


def write_items(path, items):
    """Write an item collection beside its files."""
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return path


class Handler(BaseHTTPRequestHandler):
    """STAC API (landing page and item search) and files by ranges."""

    protocol_version = "HTTP/1.1"

    @cached_property
    def base(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def log_message(self, *args):
        pass

    def reply(self, body, kind="application/geo+json", status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if self.path == "/":
            links = [{"rel": rel, "href": f"{self.base}/"} for rel in ("self", "root")]
            links += [
                {"rel": "search", "href": f"{self.base}/search", "type": "application/geo+json", "method": "POST"}
            ]
            classes = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
            landing = {"type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "of the tests"}
            return self.reply(json.dumps({**landing, "conformsTo": classes, "links": links}).encode())
        if self.path == "/log":
            return self.reply(json.dumps(self.server.log).encode(), "application/json")
        path = self.server.folder / self.path.partition("?")[0].removeprefix("/files/")
        if not path.is_file():
            return self.reply(b"", status=404)
        data = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return self.reply(data, "image/tiff", Accept_Ranges="bytes")
        first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
        self.server.log["ranges"].append((path.name, first, last))
        piece = data[first : last + 1]
        return self.reply(piece, "image/tiff", 206, Content_Range=f"bytes {first}-{last}/{len(data)}")

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.log["searches"].append(asked)
        found = []
        for item in self.server.items:
            first, _, last = asked.get("datetime", "/").partition("/")
            inside = "intersects" not in asked or shape(item["geometry"]).intersects(shape(asked["intersects"]))
            moment = item["properties"]["datetime"]
            if inside and first <= moment and (not last or moment <= last):
                assets = {
                    key: {**asset, "href": f"{self.base}/files/{asset['href']}"}
                    for key, asset in item["assets"].items()
                }
                found.append({**item, "assets": assets})
        self.reply(json.dumps({"type": "FeatureCollection", "features": found, "links": []}).encode())


class Served:
    """An API in a process of its own: rasterio opens files without releasing the interpreter."""

    def __init__(self, url):
        self.url = url

    @property
    def log(self):
        """Searches and ranges asked for so far."""
        with urllib.request.urlopen(f"{self.url}log") as reply:
            return json.load(reply)


@contextmanager
def serving(folder, items):
    """Serve items and their files on loopback."""
    write_items(folder / "served.json", items)
    command = [sys.executable, __file__, str(folder)]
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    ) as process:
        try:
            yield Served(f"http://127.0.0.1:{int(process.stdout.readline())}/")
        finally:
            process.terminate()


def main(folder):
    """Serve a folder until told to stop."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.folder = Path(folder)
    server.items = json.loads((server.folder / "served.json").read_text())["features"]
    server.log = {"searches": [], "ranges": []}
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
