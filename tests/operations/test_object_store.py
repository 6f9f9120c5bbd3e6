"""Stores on an S3-compatible server, over HTTP."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import dask
import numpy as np
import pytest
import xarray as xr
from models.helpers import make_cube
from survival import Fails, bucket, through

import xsr
from xsr.core.errors import StoreError
from xsr.core.store import lock
from xsr.core.store.header import encode
from xsr.core.store.lock import Owner, check_held, locked
from xsr.core.store.lockfile import file_beside
from xsr.core.store.place import Place
from xsr.core.store.template import prepare, template_of

pytestmark = pytest.mark.slow

HOW = [{}, {"inner_chunks": 5}]


@pytest.fixture(scope="module")
def options():
    """How to reach a server of its own, with an empty bucket."""
    with bucket() as found:
        yield found


@pytest.fixture
def url(request, options):
    return f"s3://bucket/{request.node.name}.zarr".replace("[", "-").replace("]", "")


@pytest.fixture
def cube():
    """Four blocks, one of them without a value."""
    made = make_cube(20, 13)
    made[0, :, :10, 10:] = np.nan
    return made.chunk(y=10, x=10)


def objects(url, options):
    import s3fs

    files = s3fs.S3FileSystem(**options, use_listings_cache=False)
    top = url.removeprefix("s3://")
    return {name.removeprefix(top): files.cat_file(name) for name in files.find(top)}


def test_a_changed_object_of_the_input_is_refused_without_reading_any(cube, tmp_path, url, options):
    """Its size is the same; the listing has another tag."""
    import s3fs

    xsr.to_zarr(cube, url, storage_options=options, progress=False)

    def opened():
        return xr.open_zarr(url, storage_options=options, chunks={})["reflectance"]

    xsr.to_zarr(opened(), tmp_path / "a.zarr", progress=False)
    assert xsr.to_zarr(opened(), tmp_path / "a.zarr", resume=True, progress=False).computed == 0
    files = s3fs.S3FileSystem(**options, use_listings_cache=False)
    name = max(files.find(f"{url}/reflectance"))
    files.pipe_file(name, files.cat_file(name)[::-1])
    with pytest.raises(StoreError, match=rf"begun with other settings: {url}/reflectance was changed\. Give"):
        xsr.to_zarr(opened(), tmp_path / "a.zarr", resume=True, progress=False)


def test_a_document_of_which_a_part_was_stored_is_written_anew(cube, url, options):
    import s3fs

    xsr.to_zarr(cube, url, storage_options=options, progress=False)
    files = s3fs.S3FileSystem(**options, use_listings_cache=False)
    files.pipe_file(f"{url}/.zattrs", files.cat_file(f"{url}/.zattrs")[:100])
    assert xsr.to_zarr(cube, url, storage_options=options, resume=True, progress=False).computed == 0
    assert xsr.verify(url, storage_options=options).ok


@pytest.mark.parametrize("how", HOW, ids=["chunks", "shards"])
def test_the_same_objects_as_files_on_disk(cube, tmp_path, url, options, how):
    report = xsr.to_zarr(cube, url, storage_options=options, progress=False, **how)
    assert (report.path, report.computed) == (url, 4)
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False, **how)
    files = {f"/{p.relative_to(tmp_path / 'a.zarr')}": p for p in (tmp_path / "a.zarr").rglob("*") if p.is_file()}
    found = objects(url, options)
    assert sorted(found) == sorted(files)
    assert [name for name in found if found[name] != files[name].read_bytes()] == []
    opened = xr.open_zarr(url, storage_options=options)
    np.testing.assert_array_equal(opened["reflectance"].values, cube.values)


@pytest.mark.parametrize("how", HOW, ids=["chunks", "shards"])
def test_resume(cube, tmp_path, url, options, how):
    flag = tmp_path / "flag"
    flag.touch()
    made = through(cube, Fails(str(flag), ((0, 0, 1, 0),)))
    with dask.config.set(scheduler="synchronous"), pytest.raises(RuntimeError, match="block is broken"):
        xsr.to_zarr(made, url, storage_options=options, progress=False, **how)
    with pytest.raises(StoreError, match=r"exists.*resume=True"):
        xsr.to_zarr(made, url, storage_options=options, progress=False, **how)
    flag.unlink()
    report = xsr.to_zarr(made, url, storage_options=options, progress=False, resume=True, **how)
    assert 0 < report.computed < 4
    xsr.to_zarr(made, f"{url}.whole", storage_options=options, progress=False, **how)
    assert objects(url, options) == objects(f"{url}.whole", options)


@pytest.mark.parametrize("how", HOW, ids=["chunks", "shards"])
def test_verify_and_repair(cube, url, options, how):
    import s3fs

    xsr.to_zarr(cube, url, storage_options=options, progress=False, **how)
    before = objects(url, options)
    files = s3fs.S3FileSystem(**options, use_listings_cache=False)
    first, last = (
        ("/reflectance/c/0/0/0/0", "/reflectance/c/0/0/1/1")
        if how
        else ("/reflectance/0.0.0.0", "/reflectance/0.0.1.1")
    )
    damaged = bytearray(before[first])
    damaged[len(damaged) // 2] ^= 1
    files.pipe_file(f"{url}{first}", bytes(damaged))
    files.pipe_file(f"{url}{last}", before[last][:-9])
    report = xsr.verify(url, storage_options=options)
    assert [bad.index for bad in report.bad] == [(0, 0, 0, 0), (0, 0, 1, 1)]
    assert xsr.verify(url, storage_options=options, repair=cube, progress=False).ok
    assert objects(url, options) == before


def test_a_cube_is_written_over_the_store_it_is_read_from(cube, url, options):
    xsr.to_zarr(cube, url, storage_options=options, progress=False)
    fine = xr.open_zarr(url, storage_options=options, decode_coords="all")["reflectance"].sr.interpolate(scale=2)
    wanted = fine.values
    xsr.to_zarr(fine, url, storage_options=options, progress=False, overwrite=True)
    np.testing.assert_array_equal(xr.open_zarr(url, storage_options=options)["reflectance"].values, wanted)
    assert xsr.verify(url, storage_options=options).ok
    assert objects(f"{url}.incoming", options) == {}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_writer_killed_within_the_template_is_continued(cube, url, options, zarr_format):
    """Where little of the template is there, and where documents at the root are missing, which come last."""
    form = {"progress": False, "zarr_format": zarr_format}
    cube = cube[..., :10, :10]
    xsr.to_zarr(cube, f"{url}.whole", storage_options=options, **form)
    template = template_of(prepare(cube, zarr_format=zarr_format))
    place = Place(url, options)
    count, root = len(template.order), sum("/" not in key for key in template.order)
    for number in (0, 1, *range(count - root, count)):
        place.put("spatial_ref/_xsr/header.json", encode(template.header))
        for key in template.order[:number]:
            place.put(key, template.objects[key])
        with pytest.raises(StoreError, match=r"exists.*resume=True"):
            xsr.to_zarr(cube, url, storage_options=options, **form)
        assert xsr.to_zarr(cube, url, storage_options=options, resume=True, **form).computed == 1
        assert objects(url, options) == objects(f"{url}.whole", options)
        place.remove()


def test_objects_of_others_are_never_deleted(cube, url, options):
    place = Place(url, options)
    place.put("thesis.txt", b"mine")
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(StoreError, match="another path"):
            xsr.to_zarr(cube, url, storage_options=options, progress=False, **how)
    assert objects(url, options) == {"/thesis.txt": b"mine"}


def test_one_writer_at_a_time(cube, url, options):
    with locked(Place(url, options)), pytest.raises(StoreError, match="is being written by process"):
        xsr.to_zarr(cube, url, storage_options=options, progress=False)
    xsr.to_zarr(cube, url, storage_options=options, progress=False)
    assert objects(f"{url}.lock", options) == {}


def lock_of(url, options, **changes):
    import s3fs

    content = replace(Owner.me(), host="elsewhere", **changes).content()
    s3fs.S3FileSystem(**options).pipe_file(f"{url}.lock", content)
    return content


def test_a_lock_that_nobody_renews_is_taken_over(cube, url, options, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    lock_of(url, options)
    with locked(Place(url, options)) as lease:
        check_held(Place(url, options), lease.token)
    assert objects(f"{url}.lock", options) == {}


def test_a_lock_is_renewed_and_who_lost_it_stops(url, options, monkeypatch):
    place, file = Place(url, options), file_beside(Place(url, options), ".lock")
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    monkeypatch.setattr(lock, "PATIENCE", 400)
    held = locked(place)
    lease = held.__enter__()
    renewed = Owner.of(lock._watched(place, file, file.read()))
    assert (renewed.token, renewed.beat > 0) == (lease.token, True)
    content = lock_of(url, options, pid=7)
    (thread,) = (one for one in threading.enumerate() if one.name == f"lock {lease.token}")
    thread.join(120)
    with pytest.raises(StoreError, match="was taken over by process 7 on elsewhere"):
        lease.check()
    with pytest.raises(StoreError, match="was taken over by process 7 on elsewhere"):
        held.__exit__(None, None, None)
    assert file.read() == content
    file.delete(content)


@pytest.mark.parametrize("gone", [True, False])
def test_of_many_that_come_at_once_one_gets_the_lock(url, options, gone):
    """By conditional writes: nobody waits to see whether another overwrites it."""
    old = lock_of(url, options) if gone else None
    barrier = threading.Barrier(6)

    def change(number):
        file = file_beside(Place(url, options), ".lock")
        barrier.wait(120)
        done = file.create(b"%d" % number) if old is None else file.replace(old, b"%d" % number)
        return done and file.kept == {("mode",) if old is None else ("IfMatch",): True}

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(change, range(6)))
    assert sum(made) == 1
    assert objects(f"{url}.lock", options) == {"": b"%d" % made.index(True)}


def test_a_bucket_that_does_not_exist(cube, options):
    with pytest.raises(StoreError, match=r"locking s3://nowhere/a\.zarr failed: FileNotFoundError"):
        xsr.to_zarr(cube, "s3://nowhere/a.zarr", storage_options=options, progress=False)


def test_overwrite(cube, url, options):
    xsr.to_zarr(cube.rename("old"), url, storage_options=options, progress=False)
    with pytest.raises(StoreError, match="exists; expected a new store"):
        xsr.to_zarr(cube, url, storage_options=options, progress=False)
    xsr.to_zarr(cube, url, storage_options=options, progress=False, overwrite=True)
    assert list(xr.open_zarr(url, storage_options=options).data_vars) == ["reflectance"]


def test_a_server_that_cannot_be_reached(cube, options):
    """Nothing listens on the port of a server that has been stopped."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        away = {
            **options,
            "endpoint_url": f"http://127.0.0.1:{free.getsockname()[1]}",
            "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1},
        }
        with pytest.raises(StoreError, match=r"locking s3://bucket/a\.zarr failed: "):
            xsr.to_zarr(cube, "s3://bucket/a.zarr", storage_options=away, progress=False)


def test_cogs_are_uploaded_a_date_at_a_time(tmp_path, url, options):
    top = url.removesuffix(".zarr")
    cube = make_cube(20, 13, dates=2)
    report = xsr.to_cog(cube, f"{top}/", storage_options=options, progress=False)
    assert report.paths == tuple(f"{top}/reflectance_2024060{day}T000000.tif" for day in (1, 6))
    local = xsr.to_cog(cube, tmp_path / "cogs", progress=False)
    assert list(objects(top, options).values()) == [path.read_bytes() for path in local.paths]
    with pytest.raises(StoreError, match=r"reflectance_20240606T000000.tif exists; expected a new file") as caught:
        xsr.to_cog(cube.isel(time=[1]), top, storage_options=options, progress=False)
    assert "secret" not in str(caught.value)
    xsr.to_cog(cube.isel(time=[1]) + 1, top, storage_options=options, overwrite=True, progress=False)
    assert objects(top, options)["/reflectance_20240606T000000.tif"] != local.paths[1].read_bytes()


def test_a_cog_that_fails_leaves_no_object(tmp_path, url, options):
    top = url.removesuffix(".zarr")
    flag = tmp_path / "flag"
    flag.touch()
    made = through(make_cube(20, 13).chunk(y=10, x=13), Fails(str(flag), ((0, 0, 1, 0),)))
    with pytest.raises(RuntimeError, match="block is broken"):
        xsr.to_cog(made, f"{top}.tif", storage_options=options, progress=False)
    assert objects(f"{top}.tif", options) == {}
    wrong = {**options, "key": "nobody", "endpoint_url": "http://127.0.0.1:9"}
    with pytest.raises(StoreError, match=r"looking for s3://.* failed: .*try again") as caught:
        xsr.to_cog(make_cube(20, 13), f"{top}.tif", storage_options=wrong, progress=False)
    assert "nobody" not in str(caught.value)


def test_a_server_that_is_not_there_is_named(cube, url, options):
    gone = {**options, "endpoint_url": "http://127.0.0.1:1", "config_kwargs": {"retries": {"max_attempts": 1}}}
    with pytest.raises(StoreError, match=r"locking s3://.* failed: .*[Cc]onnect"):
        xsr.to_zarr(cube, url, storage_options=gone, progress=False)
