"""What happens when something dies, breaks or fills up: resume, quarantine, locks, and the store on S3."""

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from locking import lost_at
from models.helpers import make_cube
from odc.geo.xr import xr_coords
from survival import Fails, Kills, forget, ledger_of, n_done, through

import xsr
from xsr.core.errors import ParameterError, StoreError, XsrWarning
from xsr.core.packing import Encoder
from xsr.core.store.ledger import QUARANTINED, ROW
from xsr.core.store.place import Place

ROOT = Path(__file__).resolve().parents[2]


def make_input():
    """Two dates of 20 x 23 pixels in twelve blocks; one block has no value."""
    made = make_cube(20, 23, dates=2)
    made[0, :, :10, :10] = np.nan
    return made.chunk(time=1, y=10, x=10)


@pytest.fixture
def cube():
    return make_input()


@pytest.fixture
def flag(tmp_path):
    path = tmp_path / "broken"
    path.touch()
    return path


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_same_bytes(one, two):
    """Compare every file of two stores; none holds the time or its own name."""
    one, two = content(one), content(two)
    assert sorted(one) == sorted(two)
    assert [name for name in one if one[name] != two[name]] == []


def group_of(path):
    return zarr.open_group(path, mode="r", use_consolidated=False)


def write(cube, path, **how):
    return xsr.to_zarr(cube, path, progress=False, **how)


# --- resume ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"inner_chunks": 5}, {"zarr_format": 3}, {"dtype": "uint16"}], ids=str)
def test_an_interrupted_store_is_continued(cube, tmp_path, flag, how):
    made = through(cube, Fails(str(flag), ((1, 0, 0, 1),)))
    with dask.config.set(scheduler="synchronous"), pytest.raises(RuntimeError, match="block is broken"):
        write(made, tmp_path / "a.zarr", **how)
    done = n_done(tmp_path / "a.zarr")
    assert 0 < done < 12
    with pytest.raises(StoreError, match=r"exists.*go on with it by resume=True"):
        write(made, tmp_path / "a.zarr", **how)
    flag.unlink()
    report = write(made, tmp_path / "a.zarr", resume=True, **how)
    assert (report.blocks, report.computed, report.quarantined) == (12, 12 - done, ())
    assert write(made, tmp_path / "whole.zarr", **how).valid == report.valid
    assert_same_bytes(tmp_path / "a.zarr", tmp_path / "whole.zarr")


@pytest.mark.slow
def test_resume_begins_a_store_and_leaves_a_complete_one_alone(cube, tmp_path):
    first = write(cube, tmp_path / "a.zarr", resume=True)
    before = content(tmp_path / "a.zarr")
    again = write(cube, tmp_path / "a.zarr", resume=True)
    assert (first.computed, again.computed, again.blocks) == (12, 0, 12)
    assert (first.valid, first.clipped) == (again.valid, again.clipped)
    assert content(tmp_path / "a.zarr") == before


@pytest.mark.slow
@given(lost=st.sets(st.integers(0, 11)), left=st.sets(st.integers(0, 11)))
@examples(6)
def test_whatever_the_ledger_misses_is_computed_again(tmp_path_factory, lost, left):
    """Rows are lost; the bytes of some of those blocks are lost, too, those of others are not."""
    folder = tmp_path_factory.mktemp("ledger")
    cube = make_cube(20, 23, dates=2).chunk(time=1, y=10, x=10)
    write(cube, folder / "a.zarr")
    before = content(folder / "a.zarr")
    forget(folder / "a.zarr", lost)
    for number in lost:
        if number not in left:
            t, _, y, x = np.unravel_index(number, (2, 1, 2, 3))
            (folder / f"a.zarr/reflectance/{t}.0.{y}.{x}").unlink()
    assert {bad.index for bad in xsr.verify(folder / "a.zarr").bad} == {
        tuple(int(i) for i in np.unravel_index(number, (2, 1, 2, 3))) for number in lost
    }
    assert write(cube, folder / "a.zarr", resume=True).computed == len(lost)
    assert content(folder / "a.zarr") == before


@pytest.mark.slow
def test_a_ledger_row_that_cannot_be_read_is_that_of_an_undone_block(cube, tmp_path):
    write(cube, tmp_path / "a.zarr")
    before = content(tmp_path / "a.zarr")
    page = tmp_path / "a.zarr/spatial_ref/_xsr/reflectance/0"
    damaged = bytearray(page.read_bytes())
    damaged[7 * ROW.itemsize + 3] ^= 1
    page.write_bytes(damaged)
    assert [str(bad) for bad in xsr.verify(tmp_path / "a.zarr").bad] == [
        "reflectance[1, 0, 0, 1]: its row in the ledger is damaged"
    ]
    assert write(cube, tmp_path / "a.zarr", resume=True).computed == 1
    assert content(tmp_path / "a.zarr") == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "how", "told"),
    [
        (lambda c: c * 2, {}, r"input\.graph was '\w+' and is '\w+'.*another file, a changed one or other steps"),
        (lambda c: c.assign_attrs(xsr_weights_sha256="abc"), {}, r"xsr_weights_sha256 was None and is 'abc'"),
        (lambda c: c.assign_attrs(xsr_precision="bfloat16"), {}, r"xsr_precision was None and is 'bfloat16'"),
        (lambda c: c.chunk(y=20), {}, r"variables\.reflectance was \[\[2, 4, 20, 23\], \[2, 1, 2, 3\]\]"),
        (lambda c: c.assign_coords(x=c.x + 10), {}, r"grid was \[10\.0, 0\.0, 600000\.0.* is \[10\.0, 0\.0, 600010"),
        (lambda c: c, {"dtype": "uint16"}, r"encoding\.reflectance was 'float32' and is 'uint16'; packing\.dtype"),
        (lambda c: c, {"inner_chunks": 5}, r"packing\.inner_chunks was None and is 5"),
        (lambda c: c.assign_coords(time=c.time + np.timedelta64(1, "D")), {}, r"input\.coordinates"),
    ],
)  # fmt: skip
def test_other_settings_are_refused_by_name(cube, tmp_path, change, how, told):
    write(cube, tmp_path / "a.zarr")
    before = content(tmp_path / "a.zarr")
    with pytest.raises(StoreError, match=told):
        write(change(cube), tmp_path / "a.zarr", resume=True, **how)
    assert content(tmp_path / "a.zarr") == before
    assert not (tmp_path / "a.zarr.lock").exists()


def test_another_version_is_refused(cube, tmp_path, monkeypatch):
    write(cube, tmp_path / "a.zarr")
    monkeypatch.setattr("xsr.core.store.template.__version__", "99")
    with pytest.raises(StoreError, match=r"version was '.*' and is '99'.*overwrite=True"):
        write(cube, tmp_path / "a.zarr", resume=True)


@pytest.mark.slow
def test_names_that_differ_every_time(cube, tmp_path):
    """Dask was asked not to hash the input: attributes and coordinates stand in, or the name the user gives."""

    def opened(**attrs):
        data = da.from_array(cube.values, chunks=cube.chunks, name=False)
        return cube.copy(data=data).assign_attrs(attrs)

    write(opened(), tmp_path / "a.zarr")
    assert write(opened(), tmp_path / "a.zarr", resume=True).computed == 0
    with pytest.raises(StoreError, match=r"input\.attrs was"):
        write(opened(scene="other"), tmp_path / "a.zarr", resume=True)
    write(cube, tmp_path / "b.zarr", input_id="scene 1")
    assert write(cube + 0, tmp_path / "b.zarr", input_id="scene 1", resume=True).computed == 0
    with pytest.raises(StoreError, match=r"input\.id was 'scene 1' and is 'scene 2'"):
        write(cube, tmp_path / "b.zarr", input_id="scene 2", resume=True)


def test_only_stores_with_a_ledger_are_continued(cube, tmp_path):
    cube.to_dataset(name="a").to_zarr(tmp_path / "a.zarr", zarr_format=2)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/file").touch()
    for name in ("a.zarr", "b"):
        with pytest.raises(StoreError, match="holds no ledger; expected a store that was begun by to_zarr"):
            write(cube, tmp_path / name, resume=True)
    with pytest.raises(ParameterError, match="exclude each other"):
        write(cube, tmp_path / "a.zarr", resume=True, overwrite=True)


# --- an interrupted replacement ------------------------------------------------------------------------------


@pytest.fixture
def replaced(cube, tmp_path, flag):
    """A store, and its interrupted replacement."""
    made = through(cube + 1, Fails(str(flag), ((1, 0, 0, 1),)))
    write(cube, tmp_path / "a.zarr")
    with pytest.raises(RuntimeError, match="block is broken"):
        write(made, tmp_path / "a.zarr", overwrite=True)
    flag.unlink()
    return made


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_an_interrupted_replacement_is_continued(cube, replaced, tmp_path):
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr")["reflectance"].values, cube.values)
    report = write(replaced, tmp_path / "a.zarr", resume=True)
    assert report.path == str(tmp_path / "a.zarr")
    assert names_in(tmp_path) == ["a.zarr"]
    write(replaced, tmp_path / "whole.zarr")
    assert_same_bytes(tmp_path / "a.zarr", tmp_path / "whole.zarr")


@pytest.mark.slow
def test_a_replacement_that_died_between_two_renames(replaced, tmp_path):
    """The new store is complete, the old one is out of the way: nothing is at the path."""
    write(replaced, tmp_path / "whole.zarr")
    write(replaced, tmp_path / "b.zarr")
    incoming = tmp_path / "a.zarr.incoming"
    for path in sorted(incoming.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    incoming.rmdir()
    (tmp_path / "b.zarr").rename(incoming)
    (tmp_path / "a.zarr").rename(incoming / "spatial_ref/_xsr/outgoing")
    with pytest.raises(StoreError, match=r"is an interrupted replacement of .*a\.zarr\. Go on with resume=True"):
        write(replaced, tmp_path / "a.zarr")
    assert write(replaced, tmp_path / "a.zarr", resume=True).computed == 0
    assert_same_bytes(tmp_path / "a.zarr", tmp_path / "whole.zarr")
    assert names_in(tmp_path) == ["a.zarr", "whole.zarr"]


@pytest.mark.slow
def test_a_replacement_that_died_before_the_old_store_was_deleted(cube, tmp_path):
    write(cube, tmp_path / "a.zarr")
    write(cube, tmp_path / "whole.zarr")
    write(cube + 1, tmp_path / "a.zarr/spatial_ref/_xsr/outgoing")
    assert xsr.verify(tmp_path / "a.zarr").ok
    assert write(cube, tmp_path / "a.zarr", resume=True).computed == 0
    assert_same_bytes(tmp_path / "a.zarr", tmp_path / "whole.zarr")


@pytest.mark.parametrize("suffix", [".template", ".incoming", ".outgoing", ".lock.lock"])
@pytest.mark.parametrize("there", [False, True])
def test_folders_of_others_beside_a_store_are_never_deleted(cube, tmp_path, suffix, there):
    if there:
        write(cube, tmp_path / "a.zarr")
    beside = tmp_path / f"a.zarr{suffix}"
    beside.mkdir()
    (beside / "thesis.txt").write_text("mine")
    with contextlib.suppress(StoreError):
        write(cube, tmp_path / "a.zarr", overwrite=there)
    with contextlib.suppress(StoreError):
        write(cube, tmp_path / "a.zarr", resume=True)
    assert (beside / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("left", ["", "spatial_ref/_xsr/header.json.1f0a.partial"])
def test_a_template_whose_first_object_was_not_written_is_begun_anew(cube, tmp_path, left):
    """Its writer was killed between making the folder and writing the header."""
    (tmp_path / "a.zarr.template/spatial_ref/_xsr").mkdir(parents=True)
    if left:
        (tmp_path / "a.zarr.template" / left).write_bytes(b"{")
    assert write(cube, tmp_path / "a.zarr", resume=True).computed == 12
    assert names_in(tmp_path) == ["a.zarr"]


def test_a_local_url_and_the_home_folder_are_folders(cube, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(cube, f"file://{tmp_path}/with%20space.zarr")
    write(cube, "~/home.zarr", resume=True)
    write(cube, tmp_path / "whole.zarr")
    for name in ("with space.zarr", "home.zarr"):
        assert_same_bytes(tmp_path / name, tmp_path / "whole.zarr")


@pytest.mark.slow
def test_a_replacement_that_begins_anew_forgets_the_interrupted_one(cube, replaced, tmp_path):
    write(cube + 2, tmp_path / "a.zarr", overwrite=True)
    assert names_in(tmp_path) == ["a.zarr"]
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr")["reflectance"].values, (cube + 2).values)


# --- quarantine --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_blocks_that_fail_are_set_aside(cube, tmp_path, flag, scheduler):
    bad = ((0, 0, 1, 1), (1, 0, 0, 2))
    made = through(cube, Fails(str(flag), bad))
    with dask.config.set(scheduler=scheduler):
        report = write(made, tmp_path / "a.zarr", errors="quarantine")
    assert sorted(block.index for block in report.quarantined) == list(bad)
    assert {str(block) for block in report.quarantined} == {
        f"reflectance{list(index)}: RuntimeError: block is broken" for index in bad
    }
    assert (report.blocks, report.computed) == (12, 10)
    opened = xr.open_zarr(tmp_path / "a.zarr")
    assert opened.attrs["xsr"]["complete"] is False
    wanted = cube.values.copy()
    wanted[0, :, 10:, 10:20] = wanted[1, :, :10, 20:] = np.nan
    np.testing.assert_array_equal(opened["reflectance"].values, wanted)
    assert np.flatnonzero(ledger_of(tmp_path / "a.zarr")["status"] == QUARANTINED).tolist() == [4, 8]
    checked = xsr.verify(tmp_path / "a.zarr")
    assert {b.reason for b in checked.bad} == {"quarantined: RuntimeError: block is broken"}
    flag.unlink()
    again = write(made, tmp_path / "a.zarr", resume=True)
    assert (again.computed, again.quarantined) == (2, ())
    write(made, tmp_path / "whole.zarr")
    assert_same_bytes(tmp_path / "a.zarr", tmp_path / "whole.zarr")


@pytest.mark.slow
def test_a_replacement_with_quarantined_blocks_leaves_the_old_store(cube, tmp_path, flag):
    write(cube, tmp_path / "a.zarr")
    made = through(cube + 1, Fails(str(flag), ((1, 0, 0, 2),)))
    report = write(made, tmp_path / "a.zarr", overwrite=True, errors="quarantine")
    assert report.path == str(tmp_path / "a.zarr.incoming")
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr")["reflectance"].values, cube.values)


def test_a_run_in_which_nothing_works_ends(cube, tmp_path, flag):
    every = tuple((t, 0, y, x) for t in range(2) for y in range(2) for x in range(3))
    with dask.config.set(scheduler="synchronous"), pytest.raises(RuntimeError, match="block is broken"):
        write(through(cube, Fails(str(flag), every)), tmp_path / "a.zarr", errors="quarantine")
    assert (ledger_of(tmp_path / "a.zarr")["status"] == QUARANTINED).sum() == 7


@pytest.mark.slow
def test_classes_are_set_aside_as_their_fill_value(cube, tmp_path, flag):
    classes = cube.isel(band=0, drop=True).fillna(0).astype(np.int32) + 5
    meta = np.empty((0,) * 3, np.int32)
    made = classes.copy(data=classes.data.map_blocks(Fails(str(flag), ((1, 0, 0),)), dtype=np.int32, meta=meta))
    report = write(made, tmp_path / "a.zarr", errors="quarantine")
    assert [block.index for block in report.quarantined] == [(1, 0, 0)]
    assert (group_of(tmp_path / "a.zarr")["reflectance"][1, :10, :10] == 0).all()


def test_too_little_memory_is_set_aside_with_advice(tmp_path, monkeypatch):
    from xsr.operations.interpolate import Interpolation

    def starving(self, window, rows, cols, cell):
        raise MemoryError

    fine = xsr.interpolate(make_cube(10, 10, chunks=10), scale=2, chunks=10)
    monkeypatch.setattr(Interpolation, "__call__", starving)
    report = write(fine, tmp_path / "a.zarr", errors="quarantine")
    assert len(report.quarantined) == 4
    assert "Use smaller chunks= (--chunks)" in report.quarantined[0].reason


def short_of_memory(monkeypatch, place, *, times):
    """Let a step of writing a block lack memory so many times: packing it, writing it, or reading it back."""
    owner, name = {"pack": (Encoder, "__call__"), "write": (zarr.Array, "__setitem__")}.get(
        place, (zarr.Array, "__getitem__")
    )
    real, left = getattr(owner, name), iter(range(times))

    def starving(*arguments):
        in_memory = str(getattr(arguments[0], "store", "")).startswith("memory")  # where the template is built
        if not in_memory and next(left, None) is not None:
            raise MemoryError("Unable to allocate 40 MiB")
        return real(*arguments)

    monkeypatch.setattr(owner, name, starving)


STEPS = ["pack", "write", "read back"]


@pytest.mark.slow
@pytest.mark.parametrize("errors", ["raise", "quarantine"])
@pytest.mark.parametrize("step", STEPS)
def test_a_block_that_lacks_memory_while_it_is_written_is_written_alone(cube, tmp_path, monkeypatch, step, errors):
    whole = write(cube, tmp_path / "whole.zarr")
    short_of_memory(monkeypatch, step, times=2)
    report = write(cube, tmp_path / "a.zarr", errors=errors)
    assert (report.computed, report.valid, report.quarantined) == (12, whole.valid, ())
    assert_same_bytes(tmp_path / "a.zarr", tmp_path / "whole.zarr")
    assert xsr.verify(tmp_path / "a.zarr").bad == ()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_memory_that_never_suffices_to_write_is_no_fault_of_the_store(cube, tmp_path, monkeypatch, step):
    one = cube.isel(time=[1], y=slice(10), x=slice(10))
    short_of_memory(monkeypatch, step, times=100)
    with pytest.raises(MemoryError, match=r"does not fit into memory while it is written \(Unable .*smaller chunks="):
        write(one, tmp_path / "a.zarr")


@pytest.mark.slow
def test_a_block_for_which_verify_has_no_memory_is_not_called_damaged(cube, tmp_path, monkeypatch):
    write(cube, tmp_path / "a.zarr")
    short_of_memory(monkeypatch, "read back", times=100)
    with pytest.raises(MemoryError):
        xsr.verify(tmp_path / "a.zarr")


def test_unknown_policy(cube, tmp_path):
    with pytest.raises(ParameterError, match="errors='ignore'; expected 'raise' or 'quarantine'"):
        write(cube, tmp_path / "a.zarr", errors="ignore")


# --- the whole process is killed -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def command(python):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])

    def run(*arguments, **env):
        return python("-W", "ignore", *arguments, env={**os.environ, "PYTHONPATH": path, **env})

    return run


@pytest.fixture(scope="module")
def run_whole(tmp_path_factory, model, command):
    """Arguments of a command around its output, and a store that it wrote."""
    folder = tmp_path_factory.mktemp("whole")
    write(make_input(), folder / "in.zarr")
    shared = ("--scale", 2, "--model", model, "--chunks", 20, "--workers", 2)
    done = command("-m", "xsr.cli", "run", folder / "in.zarr", folder / "whole.zarr", *shared)
    assert done.returncode == 0, done.stderr
    return folder / "in.zarr", shared, folder / "whole.zarr"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_write_and_resumed(run_whole, command, tmp_path, seed):
    """The kill comes before any object: of the template, a block, a ledger row, the last attribute."""
    source, shared, whole = run_whole
    number = random.Random(seed).randint(1, len(content(whole)))
    run = ("run", source, tmp_path / "a.zarr", *shared)
    killed = command("-m", "survival", number, *run)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if (tmp_path / "a.zarr").exists():
        assert not group_of(tmp_path / "a.zarr").attrs["xsr"]["complete"]
    resumed = command("-m", "xsr.cli", *run, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert_same_bytes(tmp_path / "a.zarr", whole)
    assert names_in(tmp_path) == ["a.zarr"]


# --- clusters ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_killed_twice(cube, tmp_path, cluster):
    (tmp_path / "marks").mkdir()
    made = through(cube, Kills(str(tmp_path / "marks"), ((0, 0, 1, 1), (1, 0, 0, 2))))
    with cluster.as_current():
        report = write(made, tmp_path / "a.zarr")
    assert names_in(tmp_path / "marks") == ["0-0-1-1", "1-0-0-2"]
    assert (report.computed, report.quarantined) == (12, ())
    write(made, tmp_path / "whole.zarr")  # nothing is killed any more
    assert_same_bytes(tmp_path / "a.zarr", tmp_path / "whole.zarr")


@pytest.mark.slow
def test_a_block_that_always_kills_is_set_aside(cube, tmp_path):
    distributed = pytest.importorskip("distributed")
    (tmp_path / "marks").mkdir()
    made = through(cube, Kills(str(tmp_path / "marks"), ((0, 0, 1, 1),), always=True))
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as workers,
        distributed.Client(workers),
    ):
        report = write(made, tmp_path / "a.zarr", errors="quarantine")
    assert [block.index for block in report.quarantined] == [(0, 0, 1, 1)]
    assert report.quarantined[0].reason.startswith("KilledWorker")
    assert report.computed == 11


@pytest.mark.slow
def test_scheduler_and_workers_started_as_commands(cube, tmp_path, model, one_thread):
    distributed = pytest.importorskip("distributed")
    fine = xsr.liif(cube, scale=2.0, model=str(model), chunks=20)
    file = tmp_path / "scheduler.json"
    shared = ("--scheduler-file", file, "--no-dashboard")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    commands = [("scheduler", "--host", "127.0.0.1", "--port", 0, *shared)] + [
        ("worker", "--nthreads", 1, "--memory-limit", 0, "--local-directory", tmp_path / f"w{n}", *shared)
        for n in range(2)
    ]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for arguments in commands
    ]
    try:
        with distributed.Client(scheduler_file=str(file), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            report = write(fine, tmp_path / "there.zarr")
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)
    write(fine, tmp_path / "here.zarr")
    assert report.computed == report.blocks
    assert_same_bytes(tmp_path / "there.zarr", tmp_path / "here.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [10, 20, 46])
def test_threads_processes_and_cluster_write_the_same_bytes(cube, tmp_path, cluster, model, chunks, one_thread):
    fine = xsr.liif(cube, scale=2.0, model=str(model), chunks=chunks)
    with dask.config.set(scheduler="threads", num_workers=2):
        write(fine, tmp_path / "threads.zarr")
    with dask.config.set(scheduler="processes", num_workers=2):
        write(fine, tmp_path / "processes.zarr")
    with cluster.as_current():
        write(fine, tmp_path / "cluster.zarr")
    for other in ("processes", "cluster"):
        assert_same_bytes(tmp_path / f"{other}.zarr", tmp_path / "threads.zarr")
    whole = xsr.liif(cube.compute(), scale=2.0, model=str(model)).values
    np.testing.assert_allclose(xr.open_zarr(tmp_path / "threads.zarr")["reflectance"].values, whole, atol=1e-6, rtol=0)


# --- one writer at a time --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_writers_at_once_are_refused(cube, tmp_path):
    told = []

    def second(block, block_info=None):
        if block.size and not told:
            told.append("")
            with pytest.raises(StoreError) as caught:
                write(cube, tmp_path / "a.zarr", resume=True)
            told[0] = str(caught.value)
        return block

    with dask.config.set(scheduler="synchronous"):
        write(through(cube, second), tmp_path / "a.zarr")
    assert f"is being written by process {os.getpid()} on {socket.gethostname()} since" in told[0]
    assert "one writer at a time" in told[0]
    assert not (tmp_path / "a.zarr.lock").exists()


@pytest.mark.slow
@pytest.mark.parametrize("errors", ["raise", "quarantine"])
def test_a_writer_whose_lock_is_taken_over_stops_and_leaves_the_store_to_the_other(cube, tmp_path, errors):
    def overtaken(block, block_info=None):
        if block_info and block_info[0]["chunk-location"] == (1, 0, 0, 0):
            write(cube, tmp_path / "a.zarr", resume=True, force=True, input_id="one")
        return block

    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(StoreError, match=r"another took it over .*this writer stops"),
    ):
        write(through(cube, overtaken), tmp_path / "a.zarr", input_id="one", errors=errors)
    assert xsr.verify(tmp_path / "a.zarr").ok
    write(cube, tmp_path / "whole.zarr", input_id="one")
    assert_same_bytes(tmp_path / "a.zarr", tmp_path / "whole.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["begins", "replaces", "appends", "repairs"])
def test_a_writer_that_lost_its_lock_writes_nothing_more_whatever_it_was_at(cube, tmp_path, what):
    def write_part(path):
        ways = {"begins": {}, "replaces": {"overwrite": True}, "appends": {"append_dim": "time"}}
        if what == "repairs":
            return xsr.verify(path, repair=cube, progress=False)
        return write(cube[1:] if what == "appends" else cube, path, **ways[what])

    for number in itertools.chain(range(1, 8), range(9, 90, 5)):
        path = tmp_path / str(number) / "a.zarr"
        path.parent.mkdir()
        if what != "begins":
            write(cube if what == "repairs" else cube[:1], path)
        if what == "repairs":
            for file in ("reflectance/1.0.1.1", "time/0", "spatial_ref/_xsr/header.json"):
                (path / file).unlink()
        if not lost_at(number, path, partial(write_part, path)):
            break
    assert 4 < number < 89


@pytest.mark.slow
def test_a_writer_whose_lock_is_removed_stops_and_is_resumed(cube, tmp_path):
    def removed(block, block_info=None):
        if block_info and block_info[0]["chunk-location"] == (1, 0, 0, 0):
            (tmp_path / "a.zarr.lock").unlink(missing_ok=True)
        return block

    with dask.config.set(scheduler="synchronous"), pytest.raises(StoreError, match=r"deleted .*this writer stops"):
        write(through(cube, removed), tmp_path / "a.zarr", input_id="one")
    assert 0 < write(cube, tmp_path / "a.zarr", resume=True, input_id="one").computed < 12
    assert xsr.verify(tmp_path / "a.zarr").ok


def lock_of(path, **changes):
    record = {"name": str(path), "host": socket.gethostname(), "pid": os.getpid(), "born": None, "start": "2024"}
    Path(f"{path}.lock").write_text(json.dumps(record | changes))


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.slow
def test_the_lock_of_a_dead_process_of_this_host_is_taken_over(cube, tmp_path):
    lock_of(tmp_path / "a.zarr", pid=dead_process())
    assert write(cube, tmp_path / "a.zarr").computed == 12
    lock_of(tmp_path / "b.zarr", pid=os.getpid(), born="0")  # its number is used again by another
    assert write(cube, tmp_path / "b.zarr").computed == 12
    assert names_in(tmp_path) == ["a.zarr", "b.zarr"]


@pytest.mark.slow
def test_the_lock_of_another_host_is_not_taken_over_without_force(cube, tmp_path):
    lock_of(tmp_path / "a.zarr", host="elsewhere", pid=7)
    with pytest.raises(
        StoreError, match=r"locked by process 7 on elsewhere since 2024.*force=True.*delete .*a\.zarr\.lock"
    ):
        write(cube, tmp_path / "a.zarr", resume=True)
    assert write(cube, tmp_path / "a.zarr", resume=True, force=True).computed == 12


def test_a_writer_that_lost_its_store_stops(cube, tmp_path):
    """A straggler must not write into the store that took the place of its own."""

    def replaced(block, block_info=None):
        if block_info and block_info[0]["chunk-location"] == (1, 0, 0, 0):
            other = group_of(tmp_path / "a.zarr").attrs["xsr"] | {"fingerprint": "other"}
            zarr.open_group(tmp_path / "a.zarr", mode="r+", use_consolidated=False).attrs["xsr"] = other
        return block

    with dask.config.set(scheduler="synchronous"), pytest.raises(StoreError, match="was replaced by another store"):
        write(through(cube, replaced), tmp_path / "a.zarr", errors="quarantine")


@pytest.mark.slow
def test_a_store_replaced_while_its_root_is_written_is_no_success(cube, tmp_path, monkeypatch):
    """What was written then is the root of the other store, and names this one; its header does not."""
    write(cube + 1, tmp_path / "other.zarr")
    put = Place.put

    def replacing(place, key, content):
        if key == ".zattrs" and json.loads(content)["xsr"]["complete"]:
            shutil.rmtree(place.path)
            shutil.copytree(tmp_path / "other.zarr", place.path)
        put(place, key, content)

    monkeypatch.setattr(Place, "put", replacing)
    with pytest.raises(StoreError, match="was replaced by another store"):
        write(cube, tmp_path / "a.zarr")
    monkeypatch.undo()
    assert xsr.verify(tmp_path / "a.zarr").bad  # one object at most is not the other store's: the one in flight


# --- disks -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def noisy(side=1000):
    return make_cube(side, side).isel(band=slice(0, 1)).chunk(y=250, x=250)


@pytest.mark.slow
@pytest.mark.parametrize("errors", ["raise", "quarantine"])
def test_a_full_disk(small_disk, tmp_path, errors):
    cube = noisy()  # 4 MB
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    with pytest.raises(XsrWarning, match=r"needs 4 MB before compression; .* are free\. If the disk fills up"):
        write(cube, small_disk / "a.zarr", errors=errors)
    assert names_in(small_disk) == ["ballast"]
    with pytest.raises(StoreError, match=r"writing block .*No space left on device.*resume=True"):
        write(cube, small_disk / "a.zarr", errors=errors, force=True)
    assert not list(small_disk.rglob("*.partial"))
    checked = xsr.verify(small_disk / "a.zarr")
    assert 0 < len(checked.bad) < 16
    assert {bad.reason for bad in checked.bad} == {"not done"}


@pytest.mark.slow
def test_a_disk_that_was_full_is_resumed(small_disk, tmp_path):
    cube = (noisy() * 0 + 0.5).chunk(y=250, x=250)  # compresses well
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 100_000))
    with pytest.raises(StoreError, match=r"needs 4 MB before compression"):
        write(cube, small_disk / "a.zarr")
    with pytest.raises(StoreError, match="No space left on device"):
        write(cube, small_disk / "a.zarr", force=True)
    ballast.unlink()
    write(cube, small_disk / "a.zarr", resume=True, force=True)
    write(cube, tmp_path / "whole.zarr")
    assert_same_bytes(small_disk / "a.zarr", tmp_path / "whole.zarr")


def test_what_can_never_fit_is_refused_before_anything_is_computed(small_disk):
    huge = da.full((1, 5000, 5000), 0.5, chunks=(1, 1000, 1000), dtype=np.float32)
    grid = make_cube(2, 2).odc.geobox.zoom_to((5000, 5000))
    large = xr.DataArray(huge, {"band": ["B02"], **xr_coords(grid)}, ("band", "y", "x"))
    with pytest.raises(StoreError, match=r"needs 100 MB before compression; .* are free\. Free space, .*force=True"):
        write(large, small_disk / "a.zarr")
    assert names_in(small_disk) == []


@pytest.mark.slow
def test_a_store_that_vanishes(cube, tmp_path):
    def vanish(block, block_info=None):
        if block_info and block_info[0]["chunk-location"] == (1, 0, 0, 0):
            (tmp_path / "a.zarr").rename(tmp_path / "gone.zarr")
        return block

    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(StoreError, match=r"writing block .* failed: .*resume=True"),
    ):
        write(through(cube, vanish), tmp_path / "a.zarr", errors="quarantine")
    (tmp_path / "gone.zarr").rename(tmp_path / "a.zarr")
    assert n_done(tmp_path / "a.zarr") > 0


def test_a_disk_that_cannot_be_written(cube, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreError, match=r"locking .*a\.zarr failed: .*Read-only file system"):
        write(cube, small_disk / "a.zarr")


@pytest.mark.slow
def test_a_disk_that_turns_read_only(cube, small_disk):
    def protect(block, block_info=None):
        if block_info and block_info[0]["chunk-location"] == (1, 0, 0, 0):
            subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        return block

    made = through(cube, protect)
    with dask.config.set(scheduler="synchronous"), pytest.raises(StoreError, match="Read-only file system"):
        write(made, small_disk / "a.zarr", errors="quarantine")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert 0 < n_done(small_disk / "a.zarr") < 12
