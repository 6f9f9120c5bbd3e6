"""Cubes as popular tools hand them over, and the one line that super-resolves each: the table of *Bring your own cube*.

One Sentinel-2 series (31UES, degraded by the Wald protocol) goes through every tool: the real package where it is
installed, else built after its source. Each row runs the line that it shows and compares the result with the truth; the
gain must be that of the cube without a detour. ``--write`` puts the table into the page. Needs XSR_DATA.

The packages of the table: ``pip install stackstac cubo datacube`` (the others write files, or need an account).
"""

import argparse
import importlib.metadata
import json
import logging
import os
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
import rasterio.warp
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsr

BANDS = ("B02", "B03", "B04", "B08")
DEA = ("nbart_blue", "nbart_green", "nbart_red", "nbart_nir_1")
EOPF = ("b02", "b03", "b04", "b08")
EARTH_ENGINE = ("B2", "B3", "B4", "B8")
BORDER = 4
"""Pixels of the truth left out at each side."""
DEGREES = 10 / 111319.49079327358
"""Ten metres as exports to EPSG:4326 count them."""
MANIFEST = Path(__file__).parents[2] / "benchmarks" / "data.toml"
PAGE = Path(__file__).parents[1] / "how-to" / "bring-your-own-cube.md"
MARKERS = "<!-- table: written by docs/_scripts/own_cubes.py -->", "<!-- end of table -->"


@dataclass(frozen=True)
class Scene:
    """A low-resolution series in digital numbers, arranged as Sentinel-2 is, its truth, and where files may be put."""

    numbers: xr.DataArray
    """Digital numbers (time, band, y, x), uint16, reflectance times 10000, 0 is no data."""
    truth: xr.DataArray
    """Reflectance on the grid of half the pixel."""
    folder: Path

    @property
    def geobox(self) -> GeoBox:
        """Grid of the digital numbers."""
        box: GeoBox = self.numbers.odc.geobox
        return box

    def coords(self) -> dict[str, Any]:
        """Coordinates of the centres of pixels, without a reference system."""
        return {name: self.numbers[name].values for name in ("time", "y", "x")}

    def raster(self, name: str, values: np.ndarray, **options: Any) -> Path:
        """Write a GeoTIFF of some bands on the grid."""
        path = self.folder / name
        profile = {"crs": str(self.geobox.crs), "transform": self.geobox.affine, **options}
        names = profile.pop("descriptions", None)
        shape = dict(zip(("count", "height", "width"), values.shape, strict=True))
        with rasterio.open(path, "w", driver="GTiff", dtype=values.dtype, **shape, **profile) as file:
            file.write(values)
            if names is not None:
                file.descriptions = names
        return path


def open_scene(folder: Path, dates: int | None) -> Scene:
    """Degrade the series, and call its pixels of 20 m those of 10 m, so that tools get a product as they know it."""
    from xsr.training.manifest import read_manifest
    from xsr.training.scores import read_places

    cube = next(read_places(read_manifest(MANIFEST))).cube().isel(time=slice(dates))
    low, high = (image.compute() for image in cube.sel(band=list(BANDS)).sr.wald(scale=2))
    numbers = np.rint(low.values * 1e4).clip(1, 65535).astype(np.uint16)
    corner = cube.odc.geobox.affine

    def on_grid(values: np.ndarray, gsd_m: float) -> xr.DataArray:
        box = GeoBox(values.shape[2:], Affine(gsd_m, 0, corner.c, 0, -gsd_m, corner.f), cube.odc.crs)
        coords = {"time": cube["time"].values, "band": list(BANDS), **xr_coords(box)}
        return xr.DataArray(values, coords, ("time", "band", "y", "x"))

    return Scene(on_grid(numbers, 10.0), on_grid(high.values, 5.0), folder)


# --- the tools -------------------------------------------------------------------------------------------------------


def items(scene: Scene, *, scaled: bool) -> list[dict[str, Any]]:
    """Items as Earth Search (with the scale of the numbers) and Planetary Computer (without) have them, with files."""
    box = scene.geobox
    outline = box.extent.to_crs("EPSG:4326")
    found = []
    for number, time in enumerate(scene.numbers["time"].values):
        assets = {}
        for band in BANDS:
            values = scene.numbers.isel(time=[number]).sel(band=band).values
            path = scene.raster(f"{band}-{number}.tif", values, nodata=0)
            assets[band] = {"href": str(path), "type": "image/tiff; application=geotiff", "roles": ["data"]}
            if scaled:
                assets[band]["raster:bands"] = [{"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": 0}]
        properties = {
            "datetime": f"{np.datetime_as_string(time, unit='ms')}Z",
            "platform": "sentinel-2b",
            "constellation": "sentinel-2",
            "proj:epsg": box.crs.epsg,
            "proj:shape": list(box.shape),
            "proj:transform": list(box.affine)[:6],
            "s2:mgrs_tile": "31UES",
            "s2:processing_baseline": "02.08",
        }
        item = {"type": "Feature", "stac_version": "1.0.0", "id": f"S2B_31UES_{number}", "collection": "sentinel-2-l2a"}
        extension = "https://stac-extensions.github.io/projection/v1.1.0/schema.json"
        place = {"geometry": outline.json, "bbox": list(outline.boundingbox), "stac_extensions": [extension]}
        found.append({**item, **place, "properties": properties, "assets": assets, "links": []})
    return found


def odc_stac(scene: Scene) -> xr.Dataset:
    """Load items by odc-stac."""
    import odc.stac
    import pystac

    collection = pystac.ItemCollection.from_dict({"type": "FeatureCollection", "features": items(scene, scaled=False)})
    loaded: xr.Dataset = odc.stac.load(collection, bands=BANDS, chunks={}, groupby="id", geobox=scene.geobox)
    return loaded


def stackstac(scene: Scene, *, scaled: bool) -> xr.DataArray:
    """Stack items by stackstac, coordinates at its default: the top-left corners of pixels."""
    import stackstac as package

    box = scene.geobox
    stacked: xr.DataArray = package.stack(
        items(scene, scaled=scaled), assets=list(BANDS), epsg=box.crs.epsg, resolution=10, bounds=tuple(box.boundingbox)
    )
    return stacked


def cubo(scene: Scene) -> xr.DataArray:
    """Create a cube by cubo from a catalog on this machine, with its default coordinates."""
    import cubo as package

    centre = scene.geobox.extent.centroid.to_crs("EPSG:4326").coords[0]
    span = [np.datetime_as_string(scene.numbers["time"].values[end], unit="D") for end in (0, -1)]
    options: dict[str, Any] = {"collection": "sentinel-2-l2a", "bands": list(BANDS), "edge_size": scene.geobox.shape.x}
    with serving(items(scene, scaled=False)) as url:
        made: xr.DataArray = package.create(
            lat=centre[1], lon=centre[0], start_date=span[0], end_date=span[1], stac=url, **options
        )
        return made.compute()


@contextmanager
def serving(found: list[dict[str, Any]]) -> Iterator[str]:
    """Serve some items to a STAC search on loopback."""
    standard = "https://api.stacspec.org/v1.0.0/"

    class Handler(BaseHTTPRequestHandler):
        def reply(self, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/geo+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            links = [{"rel": rel, "href": url} for rel in ("self", "root")]
            links += [{"rel": "search", "href": f"{url}search", "type": "application/geo+json", "method": "POST"}]
            about = {"type": "Catalog", "stac_version": "1.0.0", "id": "loopback", "description": "one series"}
            self.reply({**about, "conformsTo": [f"{standard}core", f"{standard}item-search"], "links": links})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.reply({"type": "FeatureCollection", "features": found, "links": []})

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield url
        finally:
            server.shutdown()


def sentle(scene: Scene) -> xr.DataArray:
    """Read a store as sentle writes it: corners in single precision, and a note on the coordinates that says so."""
    coords = scene.coords()
    path = str(scene.folder / "sentle.zarr")
    note = {"coord_save_mode": "top-left"}
    data = xr.DataArray(
        scene.numbers.values.astype(np.float32),
        {
            "time": coords["time"],
            "band": list(BANDS),
            "y": ("y", (coords["y"] + 5).astype(np.float32), note),
            "x": ("x", (coords["x"] - 5).astype(np.float32), note),
            "spatial_ref": reference(scene),
        },
        ("time", "band", "y", "x"),
        "sentle",
        {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"},
    )
    data.drop_vars("spatial_ref").to_dataset().assign(spatial_ref=reference(scene)).to_zarr(path)
    return xr.open_zarr(path)["sentle"]


def reference(scene: Scene) -> xr.DataArray:
    """Describe the reference system as WKT, and nothing else."""
    wkt = pyproj.CRS(str(scene.geobox.crs)).to_wkt()
    return xr.DataArray(0, attrs={"crs_wkt": wkt, "spatial_ref": wkt})


def raster(scene: Scene, name: str, **options: Any) -> Path:
    """Write the first date as one GeoTIFF."""
    return scene.raster(name, scene.numbers.isel(time=0).values, **{"nodata": 0, **options})


def rioxarray(scene: Scene) -> Any:
    """Open a GeoTIFF by rioxarray: bands are numbers, their names in an attribute."""
    import rioxarray as package

    return package.open_rasterio(raster(scene, "bands.tif", descriptions=EARTH_ENGINE), chunks=True)


def rioxarray_variables(scene: Scene) -> xr.Dataset:
    """Open a GeoTIFF by xarray and rioxarray: a variable for each band, named by its number."""
    path = raster(scene, "variables.tif", descriptions=EARTH_ENGINE)
    return xr.open_dataset(path, engine="rasterio", band_as_variable=True, mask_and_scale=False, chunks={})


def openeo(scene: Scene) -> xr.Dataset:
    """Open a NetCDF file as openEO back ends write it: dimension t, a variable crs, int16."""
    coords = scene.coords()
    attrs = {"units": "", "grid_mapping": "crs", "_FillValue": np.int16(-32768)}
    numbers = scene.numbers.astype(np.int16)
    bands = {band: (("t", "y", "x"), numbers.sel(band=band).values, {"long_name": band, **attrs}) for band in BANDS}
    data = xr.Dataset({**bands, "crs": reference(scene)}, {"t": coords["time"], "y": coords["y"], "x": coords["x"]})
    data.to_netcdf(scene.folder / "openEO.nc", engine="h5netcdf")
    return xr.open_dataset(scene.folder / "openEO.nc", engine="h5netcdf", mask_and_scale=False, chunks={})


def xee(scene: Scene) -> xr.Dataset:
    """Build what xee opens: float32 digital numbers, the reference system as an attribute of each variable."""
    bands = {}
    for band, name in zip(BANDS, EARTH_ENGINE, strict=True):
        attrs = {"id": name, "data_type": "int", "dimensions": "10980,10980", "crs": str(scene.geobox.crs)}
        values = scene.numbers.sel(band=band).values.astype(np.float32)
        bands[name] = (("time", "y", "x"), values, attrs)
    return xr.Dataset(bands, scene.coords()).chunk(time=1)


def datacube(scene: Scene) -> xr.Dataset:
    """Load the series by datacube from an index in memory, with the names of Digital Earth Australia."""
    from datacube import Datacube
    from datacube.cfg import ODCConfig
    from datacube.index.hl import Doc2Dataset

    box = scene.geobox
    cube = Datacube(config=ODCConfig(raw_dict={"default": {"index_driver": "memory"}}))
    measurements = [{"name": name, "dtype": "uint16", "nodata": 0, "units": "1"} for name in DEA]
    about: dict[str, Any] = {"name": "s2", "metadata_type": "eo3", "description": "one series"}
    cube.index.products.add_document({**about, "metadata": {"product": {"name": "s2"}}, "measurements": measurements})
    resolve = Doc2Dataset(cube.index, eo3=True)
    datasets = []
    for item in items(scene, scaled=False):
        document = {
            "$schema": "https://schemas.opendatacube.org/dataset",
            "id": str(uuid.uuid4()),
            "product": {"name": "s2"},
            "crs": f"epsg:{box.crs.epsg}",
            "grids": {"default": {"shape": list(box.shape), "transform": list(box.affine)}},
            "properties": {"datetime": item["properties"]["datetime"]},
            "measurements": {n: {"path": item["assets"][b]["href"]} for n, b in zip(DEA, BANDS, strict=True)},
            "lineage": {},
        }
        dataset, error = resolve(document, f"file://{scene.folder}/{item['id']}.json")
        assert dataset is not None, error
        datasets.append(dataset)
    loaded: xr.Dataset = cube.load(datasets=datasets, like=box, dask_chunks={})
    return loaded


def xarray_eopf(scene: Scene) -> xr.Dataset:
    """Build what xarray-eopf opens in its analysis mode: one date, reflectance by name, a grid mapping."""
    coords = scene.coords()
    values = scene.numbers.isel(time=0).astype(np.float64) * 1e-4
    attrs = {"grid_mapping": "spatial_ref", "units": "digital_counts", "long_name": "BOA reflectance"}
    bands = {n: (("y", "x"), values.sel(band=b).values, attrs) for n, b in zip(EOPF, BANDS, strict=True)}
    grid = xr.DataArray(0, attrs=pyproj.CRS(str(scene.geobox.crs)).to_cf())
    return xr.Dataset(bands, {"y": coords["y"], "x": coords["x"], "spatial_ref": grid}).chunk()


def sentinel_hub(scene: Scene) -> Path:
    """Write a GeoTIFF as Sentinel Hub returns it: float32 reflectance, no names, degrees by nearest neighbour."""
    return in_degrees(scene, "sentinel-hub.tif", (scene.numbers.isel(time=0).values * 1e-4).astype(np.float32))


def earth_engine(scene: Scene) -> Path:
    """Write a GeoTIFF as Earth Engine exports it to UTM: names, digital numbers as doubles, no tag of no data."""
    values = scene.numbers.isel(time=0).values.astype(np.float64)
    return scene.raster("earth-engine.tif", values, descriptions=EARTH_ENGINE)


def earth_engine_degrees(scene: Scene) -> Path:
    """Write a GeoTIFF as Earth Engine exports it by default: degrees by nearest neighbour."""
    values = scene.numbers.isel(time=0).values
    return in_degrees(scene, "earth-engine-degrees.tif", values, descriptions=EARTH_ENGINE)


def in_degrees(scene: Scene, name: str, values: np.ndarray, **options: Any) -> Path:
    """Resample by nearest neighbour to steps of ten metres in degrees, and write a GeoTIFF."""
    outline = scene.geobox.extent.to_crs("EPSG:4326").boundingbox
    rows, cols = (int(np.ceil(span / DEGREES)) for span in (outline.span_y, outline.span_x))
    transform = Affine(DEGREES, 0, outline.left, 0, -DEGREES, outline.top)
    moved = np.zeros((len(values), rows, cols), values.dtype)
    rasterio.warp.reproject(
        values,
        moved,
        src_crs=str(scene.geobox.crs),
        src_transform=scene.geobox.affine,
        dst_crs="EPSG:4326",
        dst_transform=transform,
        resampling=rasterio.warp.Resampling.nearest,
        tolerance=0,
    )
    return scene.raster(name, moved, crs="EPSG:4326", transform=transform, nodata=0, **options)


@dataclass(frozen=True)
class Way:
    """A tool, the cube it hands over, and the line that super-resolves it."""

    tool: str
    build: Callable[[Scene], Any]
    line: str
    """Expression of ``cube``, run as it is shown."""
    remark: str
    package: str | None = None
    """Distribution that builds the cube; None: built after the tool's source or its files."""


UNITS = 'cube.sr.liif(scale=2, units="dn10000")'
NATIVE = 'xsr.open(cube).sr.native(units="dn10000").sr.liif(scale=2)'
WAYS = (
    Way("odc-stac", odc_stac, UNITS, "items without a scale of the numbers", "odc-stac"),
    Way(
        "stackstac, items with `raster:bands`",
        lambda scene: stackstac(scene, scaled=True),
        "cube.sr.liif(scale=2)",
        "top-left corners are read as what they are",
        "stackstac",
    ),
    Way(
        "stackstac, items without",
        lambda scene: stackstac(scene, scaled=False),
        UNITS,
        "floating-point digital numbers",
        "stackstac",
    ),
    Way("cubo", cubo, UNITS, "top-left corners, reference system in an attribute", "cubo"),
    Way("sentle", sentle, UNITS, "top-left corners in single precision, stated on the coordinates"),
    Way("rioxarray, `open_rasterio`", rioxarray, UNITS, "names of bands from the file's descriptions", "rioxarray"),
    Way(
        "rioxarray, `band_as_variable`",
        rioxarray_variables,
        UNITS,
        "names from `long_name` of the variables",
        "rioxarray",
    ),
    Way("openEO, NetCDF", openeo, UNITS, "dimension `t`, variable `crs`"),
    Way("xee", xee, UNITS, "names of Earth Engine"),
    Way("datacube", datacube, UNITS, "names of Digital Earth Australia", "datacube"),
    Way("xarray-eopf", xarray_eopf, "cube.sr.liif(scale=2)", "reflectance already"),
    Way(
        "Sentinel Hub, GeoTIFF in degrees",
        sentinel_hub,
        'xsr.open(cube).sr.native(bands={"B02": 1, "B03": 2, "B04": 3, "B08": 4}).sr.liif(scale=2)',
        "nearest neighbour is undone; the file names no bands",
    ),
    Way("Earth Engine, GeoTIFF in UTM", earth_engine, 'xsr.open(cube).sr.liif(scale=2, units="dn10000")', "a file"),
    Way("Earth Engine, GeoTIFF in degrees", earth_engine_degrees, NATIVE, "nearest neighbour is undone"),
)


# --- judging ---------------------------------------------------------------------------------------------------------


def as_array(fine: Any) -> xr.DataArray:
    """Bring a result of any container to (time, band, y, x) with the dates and names of the truth."""
    if isinstance(fine, xr.Dataset):
        fine = fine.to_dataarray("band")
    fine = fine.rename({"t": "time"}) if "t" in fine.dims else fine
    if "time" not in fine.dims:
        fine = fine.drop_vars("time", errors="ignore").expand_dims("time")
    return fine.transpose("time", "band", "y", "x")


def psnr_db(fine: xr.DataArray, truth: xr.DataArray) -> float:
    """PSNR of peak 1 over all bands and dates, the border of the truth left out; the grids must coincide."""
    box, own = truth.odc.geobox, fine.odc.geobox
    row, col = (round(float(v)) for v in reversed(~box.affine * (own.affine.c, own.affine.f)))
    off = np.abs(np.array(~box.affine * (own.affine.c, own.affine.f)) - (col, row)).max()
    assert own.crs == box.crs, (own.crs, box.crs)
    assert off < 1e-3, f"the result lies {off:.3g} pixels off"
    assert np.isclose(own.affine.a, box.affine.a, rtol=1e-9), (own.affine, box.affine)
    height, width = truth.shape[2:]
    canvas = np.full(truth.shape, np.nan, np.float32)
    top, left = max(row, 0), max(col, 0)
    bottom, right = min(row + fine.shape[2], height), min(col + fine.shape[3], width)
    canvas[:, :, top:bottom, left:right] = fine.values[:, :, top - row : bottom - row, left - col : right - col]
    inner = np.s_[:, :, BORDER:-BORDER, BORDER:-BORDER]
    return float(-10 * np.log10(np.nanmean((canvas - truth.values)[inner] ** 2)))


@dataclass(frozen=True)
class Row:
    """What came of a way."""

    way: Way
    built: str
    gain_db: float
    direct_db: float


def direct(scene: Scene, dates: slice) -> tuple[float, float]:
    """PSNR of bicubic interpolation and of the cube of reflectance that no tool had in hand."""
    low = (scene.numbers * np.float32(1e-4)).astype(np.float32).isel(time=dates).odc.assign_crs(scene.geobox.crs)
    truth = scene.truth.isel(time=dates)
    base, fine = low.sr.interpolate(scale=2, method="bicubic"), low.sr.liif(scale=2)
    return psnr_db(as_array(base), truth), psnr_db(as_array(fine), truth)


def run(way: Way, scene: Scene) -> Row:
    """Build the cube of a tool, run its line, and compare."""
    scene.folder.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cube = way.build(scene)
        fine = as_array(eval(way.line, {"cube": cube, "xsr": xsr})).compute()  # what the page shows
    dates = slice(0, fine.sizes["time"])
    base, best = direct(scene, dates)
    return Row(way, built_by(way), psnr_db(fine, scene.truth.isel(time=dates)) - base, best - base)


def built_by(way: Way) -> str:
    """Name the package and version that built a cube."""
    return "after its source" if way.package is None else f"{way.package} {importlib.metadata.version(way.package)}"


def installed(way: Way) -> bool:
    """Whether the package of a tool is there."""
    try:
        return way.package is None or bool(importlib.metadata.version(way.package))
    except importlib.metadata.PackageNotFoundError:
        return False


def markdown(rows: list[Row]) -> str:
    """Return the table."""
    lines = ["| tool | built by | what to write | | gain over bicubic (direct) |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        gain = f"{row.gain_db:+.2f} dB ({row.direct_db:+.2f})"
        lines.append(f"| {row.way.tool} | {row.built} | `{row.way.line}` | {row.way.remark} | {gain} |")
    worst = max(abs(row.gain_db - row.direct_db) for row in rows)
    note = (
        f"Series 31UES degraded by two (Wald protocol), `liif_s2` ×2 against the truth; files and xarray-eopf hold one"
        f" date. The largest difference between a tool's way and the direct one is {worst:.3f} dB."
    )
    return "\n".join([*lines, "", note])


def main(arguments: list[str] | None = None) -> None:
    """Print the table, and write it where requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="update the page")
    parser.add_argument("--small", action="store_true", help="the first date alone, to check that all runs")
    options = parser.parse_args(arguments)
    if not os.environ.get("XSR_DATA"):
        print("XSR_DATA is not set: the table needs the folder of real images")
        return
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        scene = open_scene(Path(folder), 1 if options.small else None)
        rows = []
        for way in WAYS:
            if not installed(way):
                print(f"{way.tool}: {way.package} is not installed, left out")
                continue
            rows.append(run(way, scene))
            print(f"{way.tool}: {rows[-1].gain_db:+.3f} dB, direct {rows[-1].direct_db:+.3f} dB", flush=True)
    text = markdown(rows)
    print(text)
    if options.write:
        content = PAGE.read_text(encoding="utf-8")
        before, rest = content.split(MARKERS[0])
        PAGE.write_text(f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{rest.split(MARKERS[1])[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
