"""Inputs by content: what a cube is read from is found, whoever opened it, and a change of its pixels is noticed."""

import base64
import os
import shutil
import socket
import subprocess
import sys
import threading
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dask.array as da
import fsspec
import h5py
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rioxarray
import xarray as xr
import zarr
from catalogs import make_item, write_items
from models.helpers import make_cube
from products import write_manifest, write_safe, zipped

import xsr
from xsr.core.errors import XsrWarning
from xsr.core.store import content
from xsr.core.store import inputs as module
from xsr.core.store.inputs import inputs, of_files

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def cube():
    made = make_cube(20, 20)
    return made.assign_coords(band=made["band"].astype(object))  # Zarr has no type for text of one width yet


def read(cube):
    """Inputs of a cube."""
    variables = cube.data_vars.values() if isinstance(cube, xr.Dataset) else [cube]
    return inputs([variable.data for variable in variables])


def keeping_time(path, job):
    """Change a file and put its time back, as a copy that keeps times does, or a clock that was set."""
    before = path.stat()
    job()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# --- arrays of Zarr ------------------------------------------------------------------------------------------


def write_zarr(cube, path, *, zarr_format=3, **encoding):
    dataset = cube.to_dataset(name="reflectance").chunk(y=10, x=10)
    dataset.to_zarr(path, mode="w", zarr_format=zarr_format, encoding={"reflectance": encoding}, consolidated=False)


STORES = {
    "format 3": write_zarr,
    "format 2": partial(write_zarr, zarr_format=2),
    "shards": partial(write_zarr, shards=(1, 4, 10, 10), chunks=(1, 4, 5, 5)),
    "uncompressed": partial(write_zarr, compressors=None),
    "of ours": lambda cube, path: xsr.to_zarr(cube.chunk(y=10, x=10), path, progress=False),
}


def chunks(path):
    """Files of the chunks of an array."""
    return [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(("z", "."))]


def rewrite(path):
    array = zarr.open_group(path, mode="r+", use_consolidated=False)["reflectance"]
    array[0, 0, :10, :10] += 1


def corrupt(path):
    file = chunks(path / "reflectance")[0]
    before = bytearray(file.read_bytes())
    before[len(before) // 2] ^= 1
    keeping_time(file, lambda: file.write_bytes(before))


CHANGES = {
    "a chunk rewritten": rewrite,
    "a byte of a chunk, its time put back": corrupt,
    "a chunk deleted": lambda path: chunks(path / "reflectance")[-1].unlink(),
    "metadata": lambda path: zarr.open_group(path, mode="r+", use_consolidated=False)["reflectance"].attrs.update(a=1),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["format 3", *(pytest.param(k, marks=pytest.mark.slow) for k in [*STORES][1:])])
def test_a_changed_array_is_noticed_and_one_that_is_opened_again_is_the_same(cube, tmp_path, kind, change):
    STORES[kind](cube, tmp_path / "a.zarr")
    before = read(xsr.open(tmp_path / "a.zarr"))
    assert list(before) == [f"{tmp_path}/a.zarr/reflectance"]
    (tmp_path / "b.txt").touch()
    assert read(xsr.open(tmp_path / "a.zarr")) == before
    CHANGES[change](tmp_path / "a.zarr")
    after = read(xsr.open(tmp_path / "a.zarr"))
    assert after.keys() == before.keys()
    assert after != before


def test_only_the_arrays_that_are_read_count(cube, tmp_path):
    dataset = cube.to_dataset(name="reflectance").assign(other=cube + 1).chunk(y=10, x=10)
    dataset.to_zarr(tmp_path / "a.zarr", consolidated=False)
    before = read(xsr.open(tmp_path / "a.zarr")["reflectance"])
    zarr.open_group(tmp_path / "a.zarr", mode="r+")["other"][:] = 0
    assert read(xsr.open(tmp_path / "a.zarr")["reflectance"]) == before
    assert set(read(xsr.open(tmp_path / "a.zarr"))) == {f"{tmp_path}/a.zarr/{n}" for n in ("reflectance", "other")}


def test_of_many_files_names_sizes_and_times_count(cube, tmp_path, monkeypatch):
    """The counter-test: a byte that is changed with its time kept is noticed where the ends are read."""
    write_zarr(cube, tmp_path / "a.zarr")
    monkeypatch.setattr(content, "MANY", 2)
    before = read(xsr.open(tmp_path / "a.zarr"))
    corrupt(tmp_path / "a.zarr")
    assert read(xsr.open(tmp_path / "a.zarr")) == before
    os.utime(chunks(tmp_path / "a.zarr/reflectance")[0], (1, 1))
    assert read(xsr.open(tmp_path / "a.zarr")) != before


def test_stores_of_every_kind_in_memory_and_in_archives(cube, tmp_path):
    write_zarr(cube, tmp_path / "a.zarr")
    shutil.make_archive(str(tmp_path / "a.zarr"), "zip", tmp_path / "a.zarr")
    held = zarr.storage.MemoryStore()
    for shown, place, opened in [
        (f"{tmp_path}/a.zarr.zip/reflectance", tmp_path / "a.zarr.zip", xsr.open),
        (f"{tmp_path}/a.zarr/reflectance", f"file://{tmp_path}/a.zarr", xsr.open),
        ("memory:///changed.zarr/reflectance", "memory://changed.zarr", xsr.open),
        ("MemoryStore/reflectance", held, partial(xr.open_zarr, consolidated=False)),
    ]:
        if "memory" in shown.lower():
            write_zarr(cube, place)
        before = read(opened(place))
        assert list(before) == [shown]
        assert read(opened(place)) == before
        if "zip" in shown:
            write_zarr(cube + 1, tmp_path / "b.zarr")
            shutil.make_archive(str(tmp_path / "a.zarr"), "zip", tmp_path / "b.zarr")
        else:
            write_zarr(cube + 1, place if "memory" in shown.lower() else tmp_path / "a.zarr")
        assert read(opened(place)) != before


# --- files ---------------------------------------------------------------------------------------------------


def write_netcdf(cube, path, **options):
    cube.to_dataset(name="reflectance").to_netcdf(path, engine="h5netcdf", **options)


def write_tiff(cube, path):
    cube[0].rio.to_raster(path)


OPENED = {
    "NetCDF": ("a.nc", write_netcdf, xsr.open),
    "classic NetCDF": ("a.nc", lambda c, p: c.to_dataset(name="a").to_netcdf(p, engine="scipy"), xsr.open),
    "GeoTIFF": ("a.tif", write_tiff, xsr.open),
    "xarray.open_dataset": ("a.nc", write_netcdf, lambda p: xr.open_dataset(p, engine="h5netcdf", chunks={})),
    "xarray.open_mfdataset": (
        "a.nc", write_netcdf, lambda p: xr.open_mfdataset([p], engine="h5netcdf", preprocess=lambda d: d + 1)
    ),
    "rioxarray": ("a.tif", write_tiff, lambda p: rioxarray.open_rasterio(p, chunks={"band": 1})),
    "rioxarray without lock": (
        "a.tif", write_tiff, lambda p: rioxarray.open_rasterio(p, chunks={"band": 1}, lock=False)
    ),
    "rioxarray masked and warped": (
        "a.tif", write_tiff,
        lambda p: rioxarray.open_rasterio(rasterio.vrt.WarpedVRT(rasterio.open(p)), chunks={"band": 1}, masked=True),
    ),
    "h5py": ("a.nc", write_netcdf, lambda p: xr.DataArray(da.from_array(h5py.File(p)["reflectance"]), dims=(*"tbyx",))),
    "file object": ("a.nc", write_netcdf, lambda p: xr.open_dataset(fsspec.open(f"file://{p}").open(), chunks={})),
    "function": (
        "a.tif", write_tiff,
        lambda p: xr.DataArray(
            da.map_blocks(lambda block_info=None: rasterio.open(p).read(), chunks=(4, 20, 20), meta=np.zeros((0,) * 3)),
            dims=(*"byx",),
        ),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", OPENED)
def test_a_changed_file_is_noticed_whoever_opened_it(cube, tmp_path, kind):
    name, write, opened = OPENED[kind]
    path = tmp_path / name
    write(cube, path)
    before = read((opened(path) * 2).isel(y=slice(3, 9)))
    assert list(before) == [str(path)]
    assert read(opened(path)) == before
    path.touch()
    assert read(opened(path)) == before
    other = tmp_path / f"other{path.suffix}"
    write(cube + 1, other)
    keeping_time(path, lambda: os.replace(other, path))
    assert read(opened(path)) != before


def test_a_relative_path_is_named_whole(cube, tmp_path, monkeypatch):
    write_tiff(cube, tmp_path / "a.tif")
    monkeypatch.chdir(tmp_path)
    assert list(read(xsr.open("a.tif"))) == [f"{tmp_path}/a.tif"]


@pytest.mark.parametrize("place", [0, 1000, 7 * (2**21 - 2**16) // 15 + 9, 2**21 + 6])
def test_pieces_of_a_large_file_are_read_from_its_first_to_its_last_bytes(tmp_path, place):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(2**21 + 7))
    before = content.of_file(str(path))
    changed = bytearray(path.read_bytes())
    changed[place] = 1
    keeping_time(path, lambda: path.write_bytes(changed))
    assert content.of_file(str(path)) != before


def test_of_a_large_file_the_time_counts(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(2**21))
    os.utime(path, (1, 1))
    before = content.of_file(str(path))
    os.utime(path, (2, 2))
    assert content.of_file(str(path)) != before


@pytest.mark.parametrize("warped", [False, True])
def test_the_files_of_a_virtual_raster_count_through_others(cube, tmp_path, warped):
    write_tiff(cube, tmp_path / "a.tif")
    rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "a.vrt", driver="VRT")
    if warped:
        with rasterio.open(tmp_path / "a.vrt") as source, rasterio.vrt.WarpedVRT(source) as raster:
            rasterio.shutil.copy(raster, tmp_path / "b.vrt", driver="VRT")
    else:
        text = (tmp_path / "a.vrt").read_text()
        (tmp_path / "b.vrt").write_text(text.replace(">a.tif<", ">a.vrt<"))
    before = read(xsr.open(tmp_path / "b.vrt", allow_vrt=True))
    assert set(before) == {f"{tmp_path}/{name}" for name in ("a.tif", "a.vrt", "b.vrt")}
    write_tiff(cube + 1, tmp_path / "a.tif")
    after = read(xsr.open(tmp_path / "b.vrt", allow_vrt=True))
    assert {name for name in before if before[name] != after[name]} == {f"{tmp_path}/a.tif"}


@pytest.mark.slow
@pytest.mark.parametrize("archived", [False, True])
def test_a_changed_band_of_a_product_is_noticed(tmp_path, archived):
    """In a folder by its own file, of an archive by the archive."""
    root = write_safe(tmp_path, bands=("B02", "B03"))
    options = {"bands": ["B02", "B03"], "resolution": 10, "mask": True}
    path = zipped(root) if archived else root
    before = read(xsr.open_safe(path, **options))
    assert len(before) == (1 if archived else 3), "two bands and the classes"
    again = read(xsr.open_safe(path, **options))
    assert again == before
    band = next(root.rglob("*B02_10m.jp2"))
    shutil.copy(next(root.rglob("*B03_10m.jp2")), band)
    write_manifest(root)
    path = zipped(root) if archived else root
    after = read(xsr.open_safe(path, **options))
    assert {n for n in before if before[n] != after[n]} == {str(path if archived else band)}


@pytest.mark.slow
def test_a_changed_image_of_a_catalogue_is_noticed(tmp_path):
    items = [make_item(tmp_path, day=day, bands=("B02",)) for day in ("2024-06-15", "2024-06-20")]
    write_items(tmp_path / "items.json", items)
    before = read(xsr.open_stac(tmp_path / "items.json", bands=["B02"]))
    assert len(before) == 2
    assert read(xsr.open_stac(tmp_path / "items.json", bands=["B02"])) == before
    image = max(tmp_path.rglob("B02.tif"))
    content = bytearray(image.read_bytes())
    content[-10] ^= 1
    keeping_time(image, lambda: image.write_bytes(content))
    after = read(xsr.open_stac(tmp_path / "items.json", bands=["B02"]))
    assert {name for name in before if before[name] != after[name]} == {str(image)}


# --- servers -------------------------------------------------------------------------------------------------


class Handler(SimpleHTTPRequestHandler):
    """A server that lists no folder, and states the size of a file alone."""

    tags = True

    def list_directory(self, path):
        self.send_error(404)

    def log_message(self, *_):
        pass

    def send_header(self, keyword, value):
        if self.tags or keyword != "Last-Modified":
            super().send_header(keyword, value)


class Untagged(Handler):
    tags = False


class Guarded(Handler):
    """Lets a user in who has the password."""

    def do_GET(self):
        if self.headers["Authorization"] == f"Basic {base64.b64encode(b'user:password').decode()}":
            super().do_GET()
        else:
            self.send_error(401)


@pytest.fixture
def serve(request, tmp_path):
    """Address of a server of the folder of the test."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(request.param, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("serve", [Handler, Untagged, Guarded], indirect=True)
def test_a_changed_file_behind_a_web_server_is_noticed_and_named_without_secrets(cube, tmp_path, serve):
    write_tiff(cube, tmp_path / "a.tif")
    url = f"{serve.replace('//', '//user:password@')}/a.tif?token=secret"
    before = inputs([task_of(url)])
    assert list(before) == [f"{serve}/a.tif"]
    assert inputs([task_of(url)]) == before
    write_tiff(cube + 1, tmp_path / "a.tif")
    os.utime(tmp_path / "a.tif", (1, 1))
    after = inputs([task_of(url)])
    assert after.keys() == before.keys()
    assert after != before


def task_of(text):
    """An array that a task reads from a path or address."""
    return da.map_blocks(np.load, text, chunks=(1,), meta=np.zeros(0))


@pytest.mark.slow
@pytest.mark.parametrize("serve", [Handler, Untagged], indirect=True)
def test_a_changed_chunk_behind_a_server_that_lists_nothing_is_noticed(cube, tmp_path, serve):
    pytest.importorskip("aiohttp")
    write_zarr(cube, tmp_path / "a.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(tmp_path / "a.zarr")
    before = read(xsr.open(f"{serve}/a.zarr"))
    assert list(before) == [f"{serve}/a.zarr/reflectance"]
    assert read(xsr.open(f"{serve}/a.zarr")) == before
    chunks(tmp_path / "a.zarr/reflectance")[-1].unlink()
    assert read(xsr.open(f"{serve}/a.zarr")) != before


def test_what_cannot_be_looked_at_is_named_and_has_no_hash():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/a.tif"
        with pytest.warns(XsrWarning, match=rf"{address} \(URLError.*cannot be looked at.*input_id="):
            assert inputs([task_of(address)]) == {address: None}


# --- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/a.tif", "s3://bucket/a.tif"),
        ("https://user:pass@host:8080/x/a.tif?sig=secret#part", "https://host:8080/x/a.tif"),
        ("/vsicurl/https://user@host/a.tif", "https://host/a.tif"),
        ("/vsis3/bucket/a.tif", "s3://bucket/a.tif"),
    ],
)
def test_addresses_are_named_without_user_password_and_query(text, shown):
    looks = {}
    module._add_text(text, looks)
    assert list(looks) == [shown]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "red",
        "See https://www.example/a.tif",
        "https://www.example/schema.json",
        "a\nb",
        "x" * 5000,
        "\0",
        "http://[",
        "/",
    ],
)
def test_other_text_is_no_input(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "red").touch()
    looks = {}
    module._add_text(text, looks)
    assert looks == {}


@pytest.mark.parametrize("text", ["{}", 'NETCDF:"{}":red', "/vsizip/{{{}}}/b.tif", "/vsizip/{}/c/b.tif", "zip://{}!/b"])
def test_a_file_is_found_however_gdal_names_its_part(tmp_path, text):
    (tmp_path / "a.zip").touch()
    looks = {}
    module._add_text(text.format(tmp_path / "a.zip"), looks)
    assert list(looks) == [f"{tmp_path}/a.zip"]


def test_many_inputs_are_kept_by_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "NAMED", 3)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            (tmp_path / folder / f"{number}.bin").write_bytes(bytes([number]))
    arrays = [task_of(str(path)) for path in sorted(tmp_path.rglob("*.bin"))]
    before = inputs(arrays)
    assert list(before) == [f"{tmp_path}/a", f"{tmp_path}/b"]
    (tmp_path / "b/1.bin").write_bytes(b"changed")
    after = inputs(arrays)
    assert {name for name in before if before[name] != after[name]} == {f"{tmp_path}/b"}


@pytest.mark.slow
def test_an_input_has_one_hash_in_every_process(cube, tmp_path):
    write_zarr(cube, tmp_path / "a.zarr")
    write_tiff(cube, tmp_path / "a.tif")
    code = (
        "import sys, xsr; from xsr.core.store.inputs import inputs;"
        " print([inputs([xsr.open(path).data]) for path in sys.argv[1:]])"
    )
    paths = [str(tmp_path / name) for name in ("a.zarr", "a.tif")]
    made = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True, cwd=ROOT)
    assert made.stdout.strip() == str([read(xsr.open(path)) for path in paths])


def test_objects_are_the_same_by_another_password_or_signature():
    about = {"size": 8, "ETag": "a"}
    before, now = ({f"https://me:{word}@host/c/0?sig={word}": about} for word in ("once", "later"))
    assert content.of_objects(before) == content.of_objects(now)
    assert content.of_objects(before) != content.of_objects({"https://host/c/1": about})


def test_files_have_one_hash_together_in_any_order(tmp_path):
    one, two = tmp_path / "one.tif", tmp_path / "two.tif"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    before = of_files([str(one), str(two)])
    assert of_files([str(two), str(one), "no file"]) == before
    two.write_bytes(b"3")
    assert len({before, of_files([str(one), str(two)]), of_files([str(one)]), of_files([]), ""}) == 4
