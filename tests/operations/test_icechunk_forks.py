"""icechunk written by other processes: each task has a fork of the session, and one commit holds all of them."""

import dask
import icechunk
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers import make_cube
from survival import Fails, through

import xsr
from xsr.core.errors import StoreError
from xsr.core.packing import Encoder
from xsr.core.store.block import BlockWriter
from xsr.core.store.forks import forked, received
from xsr.core.store.ledger import DONE, Blocks, checksum, row_of

QUIET = {"progress": False}
pytestmark = pytest.mark.slow


@pytest.fixture
def cube():
    made = make_cube((4, 2, 12, 14)).rename("reflectance")
    made.values[0, :, :5, :5] = np.nan
    return made.chunk(time=1, y=8)


@pytest.fixture
def repo(tmp_path):
    return icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path / "repo")))


@pytest.fixture(params=["processes", "cluster"])
def elsewhere(request):
    """Blocks are computed in other processes."""
    if request.param == "processes":
        with dask.config.set(scheduler="processes", num_workers=2):
            yield
        return
    with request.getfixturevalue("cluster").as_current():
        yield


def assert_committed(repo, cube):
    """The branch holds the cube, complete and verified."""
    store = repo.readonly_session("main").store
    found = xr.open_zarr(store, consolidated=False)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(found["reflectance"].compute(), cube.compute())
    assert found.attrs["xsr"]["complete"]
    assert xsr.verify(store).ok


def test_processes_write_to_one_session(elsewhere, repo, cube):
    session = repo.writable_session("main")
    report = xsr.to_zarr(cube, session.store, **QUIET)
    assert (report.blocks, report.computed) == (8, 8)
    session.commit("all of it")
    assert_committed(repo, cube)


def test_a_store_that_processes_wrote_grows_and_is_overwritten(cluster, repo, cube):
    for part, how in ((cube[:2], {}), (cube[2:], {"append_dim": "time"}), (cube + 1, {"overwrite": True})):
        session = repo.writable_session("main")
        with cluster.as_current():
            xsr.to_zarr(part, session.store, **how, **QUIET)
        session.commit("a step")
        if how == {"append_dim": "time"}:
            assert_committed(repo, cube)
    assert_committed(repo, cube + 1)


def test_a_run_that_failed_is_committed_and_goes_on_elsewhere(cluster, repo, cube, tmp_path):
    (tmp_path / "flag").touch()
    bad = through(cube, Fails(str(tmp_path / "flag"), ((3, 0, 0, 0),)))
    session = repo.writable_session("main")
    with cluster.as_current():
        assert len(xsr.to_zarr(bad, session.store, input_id="a", errors="quarantine", **QUIET).quarantined) == 1
    session.commit("what there is")
    assert not xsr.verify(repo.readonly_session("main").store).complete
    (tmp_path / "flag").unlink()
    session = repo.writable_session("main")
    with cluster.as_current():
        report = xsr.to_zarr(bad, session.store, input_id="a", resume=True, **QUIET)
    assert report.computed == 1
    session.commit("the rest")
    assert_committed(repo, cube)


def test_a_fork_of_the_user_is_written_and_merged_by_him(cluster, repo, cube):
    session = repo.writable_session("main")
    fork = session.fork()
    with cluster.as_current():
        xsr.to_zarr(cube, fork.store, **QUIET)
    assert not session.has_uncommitted_changes
    session.merge(fork)
    session.commit("merged")
    assert_committed(repo, cube)


def test_changes_that_are_not_committed_are_refused(cluster, repo, cube):
    session = repo.writable_session("main")
    xsr.to_zarr(cube, session.store, group="here", **QUIET)
    with cluster.as_current(), pytest.raises(StoreError, match=r"changes that are not committed.*Commit them first"):
        xsr.to_zarr(cube, session.store, group="there", **QUIET)


def test_storage_in_the_memory_of_one_process_is_refused(cluster, cube):
    session = icechunk.Repository.create(icechunk.in_memory_storage()).writable_session("main")
    with cluster.as_current(), pytest.raises(StoreError, match=r"No block was written by this call"):
        xsr.to_zarr(cube, session.store, **QUIET)


def test_a_block_that_is_not_read_here_is_said(repo, cube):
    """What a task wrote to a disk of its own machine: here its row comes back with another fork."""
    place = forked("IcechunkStore", repo.writable_session("main").store)
    array = zarr.create_group(place.store).create_array("a", shape=(4,), chunks=(2,), dtype="f4")
    array[:2] = 1
    writer = BlockWriter(place, "", Blocks("a", ((2, 2),)), Encoder("a", "float32", None, False))
    row = row_of(DONE, checksum(np.full(2, 2, np.float32)), 2, 0, 0)
    with pytest.raises(StoreError, match="Expected storage that all processes reach"):
        received(writer, (0,), (row, place.fork))
