import fcntl
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from xsr.core.store import lockfile
from xsr.core.store.lockfile import LocalFile, ObjectFile, file_beside
from xsr.core.store.place import Place


@pytest.fixture(params=["local", "object"])
def file(request, tmp_path, monkeypatch):
    monkeypatch.setattr(lockfile, "SETTLE_S", 0.001)
    if request.param == "local":
        yield LocalFile(tmp_path / "a.lock")
        assert list(tmp_path.iterdir()) == []
    else:
        yield ObjectFile(fsspec.filesystem("memory"), f"/{request.node.name}")


def test_a_file_changes_only_from_what_it_is_known_to_hold(file):
    assert file.read() is None
    assert not file.replace(b"", b"1")
    assert file.create(b"1")
    assert not file.create(b"2")
    assert not file.replace(b"2", b"3")
    assert file.read() == b"1"
    assert file.replace(b"1", b"2")
    file.delete(b"1")
    assert file.read() == b"2"
    file.delete(b"2")
    assert file.read() is None


def test_the_path_is_that_of_the_store_and_the_suffix(tmp_path):
    assert file_beside(Place(str(tmp_path / "a.zarr")), ".lock") == LocalFile(tmp_path / "a.zarr.lock")
    assert file_beside(Place(f"file://{tmp_path}/a.zarr/"), ".lock") == LocalFile(tmp_path / "a.zarr.lock")
    assert file_beside(Place("memory://b/a.zarr/"), ".lock").path == "/b/a.zarr.lock"


def test_of_many_replacements_of_one_content_one_is_made(tmp_path):
    file = LocalFile(tmp_path / "a.lock")
    with ThreadPoolExecutor(8) as pool:
        for number in range(50):
            (tmp_path / "a.lock").write_bytes(b"old")
            news = [b"%d-%d" % (number, racer) for racer in range(8)]
            made = list(pool.map(partial(file.replace, b"old"), news))
            assert [new for new, done in zip(news, made, strict=True) if done] == [file.read()]


def test_no_reader_finds_half_a_content(tmp_path):
    file, size = LocalFile(tmp_path / "a.lock"), 100_000
    found, done = set(), threading.Event()

    def read():
        while not done.is_set():
            found.add(file.read())

    reader = threading.Thread(target=read)
    reader.start()
    contents = [bytes([n]) * size for n in range(100)]
    for old, new in zip([None, *contents], contents, strict=False):
        assert file.create(new) if old is None else file.replace(old, new)
    done.set()
    reader.join()
    assert found <= {None, *contents}


@pytest.mark.parametrize("fails", [False, True], ids=["a process holds it", "a disk without locks"])
def test_a_guard_that_cannot_be_had_does_not_block(tmp_path, monkeypatch, fails):
    """A stopped process may hold the system's lock, and disks may have none: then the last change stands."""
    monkeypatch.setattr(lockfile, "GUARD_S", 0.02)
    monkeypatch.setattr(lockfile, "SETTLE_S", 0.001)
    file = LocalFile(tmp_path / "a.lock")
    file.create(b"1")
    with (tmp_path / "a.lock").open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        if fails:
            monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(37, "No locks available")))
        assert file.replace(b"1", b"2")
    assert file.read() == b"2"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_guard_ends_where_a_forked_process_shares_it(tmp_path):
    (tmp_path / "a.lock").write_bytes(b"1")
    with lockfile._guard(tmp_path / "a.lock") as guarded:
        assert guarded
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        with (tmp_path / "a.lock").open("r+b") as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class Careless(MemoryFileSystem):
    """Object store that overwrites, whatever the condition."""

    cachable = False

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        super().pipe_file(path, value, mode="overwrite", **kwargs)


class Overtaken(Careless):
    """The same, where another writes at the same time and comes last."""

    def pipe_file(self, path, value, **kwargs):
        super().pipe_file(path, value, **kwargs)
        super().pipe_file(path, b"another's", **kwargs)


@pytest.mark.parametrize("store", [Careless, Overtaken])
def test_where_conditions_are_not_kept_the_last_change_stands(store, monkeypatch, request):
    monkeypatch.setattr(lockfile, "SETTLE_S", 0.001)
    file = ObjectFile(store(), f"/{request.node.name}")
    assert file.create(b"1") is (store is Careless)
    assert file.kept == {("mode",): False}
    held = file.read()
    assert file.replace(held, b"2") is (store is Careless)
    assert file.kept == {("mode",): False, (): False}
    file.delete(file.read())


class ChecksumError(Exception):
    """As the client of an object store says that what it read is damaged."""


class Damaged(MemoryFileSystem):
    """Object store whose client refuses objects that contradict their checksum, some of them only on the way."""

    cachable = False
    failures = 0

    def cat_file(self, path, *arguments, **named):
        if self.failures:
            self.failures -= 1
            raise ChecksumError("expected a, calculated b")
        return super().cat_file(path, *arguments, **named)


@pytest.mark.parametrize(("failures", "content"), [(2, b"1"), (3, b"")])
def test_an_object_that_contradicts_its_checksum_is_an_empty_one(request, failures, content):
    files = Damaged()
    files.pipe_file(f"/{request.node.name}", b"1")
    files.failures = failures
    assert ObjectFile(files, f"/{request.node.name}").read() == content
