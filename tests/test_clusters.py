"""Every way to a result on a cluster: that no worker is there is said, and a cluster that is lost is a `StoreError`."""

import re
import subprocess
import sys
import warnings
from contextlib import contextmanager
from copy import deepcopy

import dask
import pytest
from catalogs import make_item, write_items
from helpers import make_cube
from survival import Kills, through

import xsr
from xsr.core.errors import StoreError, XsrWarning
from xsr.core.graph import cluster

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow


def lazy():
    return make_cube((2, 2, 32, 32), times=["2024-06-05", "2024-06-15"], chunks=16)


def write(folder):
    return xsr.to_zarr(lazy(), folder / "a.zarr", progress=False)


def write_lazy_labels(folder):
    """Labels are computed before the first block."""
    cube = lazy()
    return xsr.to_zarr(cube.assign_coords(mean=("time", cube.data.mean((1, 2, 3)))), folder / "a.zarr", progress=False)


def write_cogs(folder):
    return xsr.to_cog(lazy(), folder / "cogs", progress=False)


def repair(folder):
    with dask.config.set(scheduler="synchronous"):
        write(folder)
    max((folder / "a.zarr" / "reflectance").glob("0.*")).unlink()
    return xsr.verify(folder / "a.zarr", repair=lazy(), progress=False)


def download(folder):
    items = write_items(folder / "items.json", [make_item(folder)])
    return xsr.fetch(folder / "a.zarr", items, bands=["B02"], progress=False)


def register(folder):
    return xsr.register(lazy(), apply=True)


WAYS = [write, write_lazy_labels, write_cogs, repair, download, register]


@pytest.fixture(autouse=True)
def untouched():
    """A client that was lost leaves itself as Dask's scheduler behind."""
    before = deepcopy(dask.config.config)
    yield
    dask.config.config.clear()
    dask.config.config.update(before)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE_S", 0.1)


@pytest.fixture(scope="module")
def empty():
    """A cluster that has no workers."""
    with distributed.LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as found:
        yield found


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler without workers, as a process of its own, and the file by which it is found."""
    file = tmp_path / "scheduler.json"
    command = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file), "--no-dashboard")
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    yield process, file
    process.kill()
    process.wait()


@contextmanager
def at_the_first_warning(monkeypatch, act):
    """Do something once the user is warned; gives what was said."""
    said = []

    def hear(text, *about):
        if not said:
            act()
        said.append(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always", XsrWarning)
        monkeypatch.setattr(warnings, "showwarning", hear)
        yield said


@pytest.mark.parametrize("way", WAYS)
def test_a_cluster_without_workers_is_reported_and_waited_for(empty, impatient, tmp_path, monkeypatch, way):
    with distributed.Client(empty), at_the_first_warning(monkeypatch, lambda: empty.scale(1)) as said:
        assert way(tmp_path) is not None
        empty.scale(0)
    assert re.match(r"the cluster tcp://\S+ has no workers; \d+ (blocks|results) wait for one\. Start", str(said[0]))


@pytest.mark.parametrize("way", WAYS)
def test_a_scheduler_that_is_lost_is_named_and_the_work_goes_on_without_it(
    scheduler, impatient, tmp_path, monkeypatch, way
):
    process, file = scheduler
    with distributed.Client(scheduler_file=str(file), timeout=10) as client:
        client._timeout = 0.5  # how long it looks for a scheduler that is gone
        with at_the_first_warning(monkeypatch, process.kill):
            with pytest.raises(StoreError, match=r"connection to the scheduler .* is lost.*Start a cluster again"):
                way(tmp_path)
    if way in (write, write_lazy_labels):
        assert xsr.to_zarr(lazy(), tmp_path / "a.zarr", resume=True, progress=False)
    elif way is not repair:
        assert way(tmp_path) is not None


def test_a_client_that_is_closed_meanwhile_is_a_lost_one(empty, impatient, tmp_path, monkeypatch):
    with distributed.Client(empty) as client, at_the_first_warning(monkeypatch, client.close):
        with pytest.raises(StoreError, match="connection to the scheduler"):
            write_cogs(tmp_path)


@pytest.mark.parametrize("way", [write, write_cogs])
def test_work_that_kills_its_workers_is_named(tmp_path, monkeypatch, way):
    deadly = through(lazy(), Kills(str(tmp_path), ((0, 0, 1, 1),), always=True))
    monkeypatch.setitem(globals(), "lazy", lambda: deadly)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as workers,
        distributed.Client(workers),
        pytest.raises(StoreError, match=r"2 workers of the cluster died, each while it computed .* smaller chunks"),
    ):
        way(tmp_path)
