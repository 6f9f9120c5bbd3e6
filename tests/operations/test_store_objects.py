"""Store objects of Zarr: memory, icechunk, and what else has the interface of a store."""

import warnings

import dask
import icechunk
import numpy as np
import obstore
import pytest
import xarray as xr
import zarr
from helpers import make_cube
from survival import Fails, through
from zarr.storage import LocalStore, LoggingStore, MemoryStore, ObjectStore, WrapperStore, ZipStore

import xsr
from xsr.core.errors import ParameterError, StoreError, XsrWarning
from xsr.core.store.place import SIDE

QUIET = {"progress": False}


def cube_of(dates=4):
    """Dates of 12 x 14 pixels in two blocks each, a hole in the first."""
    made = make_cube((dates, 2, 12, 14)).rename("reflectance")
    made.values[0, :, :5, :5] = np.nan
    return made.assign_coords(product=("time", [f"product {n}" for n in range(dates)])).chunk(time=1, y=8)


@pytest.fixture
def cube():
    return cube_of()


@pytest.fixture
def repo(tmp_path):
    return icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path / "repo")))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("wrapped", "obstore")]


@pytest.fixture(params=["memory", "icechunk", *SLOW])
def store(request, repo):
    return {
        "memory": MemoryStore,
        "wrapped": lambda: WrapperStore(MemoryStore()),
        "icechunk": lambda: repo.writable_session("main").store,
        "obstore": lambda: ObjectStore(obstore.store.MemoryStore()),
    }[request.param]()


def assert_holds(store, cube, group=None):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xr.open_zarr(store, group=group)
    np.testing.assert_array_equal(found["reflectance"], cube)
    for name in ("time", "band", "y", "x", "product"):
        np.testing.assert_array_equal(found[name].astype(cube[name].dtype), cube[name])
    report = xsr.verify(store, group=group)
    assert (report.ok, report.bad) == (True, ())


def broken(cube, folder):
    """The cube, whose last date cannot be computed."""
    (folder / "flag").touch()
    return through(cube, Fails(str(folder / "flag"), ((len(cube) - 1, 0, 0, 0),)))


def listed(store):
    async def keys():
        return sorted([key async for key in store.list()])

    return zarr.core.sync.sync(keys())


def damage(store):
    """Change the second date of a store."""
    array = zarr.open_group(store, mode="r+", use_consolidated=False)["reflectance"]
    array[1, :, :8] = 7


# --- every store -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"inner_chunks": 4, "dtype": "uint16"}], ids=str)
def test_a_cube_makes_the_round_trip(store, cube, how):
    cube = cube if not how else cube.clip(0, 1)
    report = xsr.to_zarr(cube, store, **how, **QUIET)
    assert (report.path, report.blocks, report.computed) == (type(store).__name__, 8, 8)
    if not how:
        assert_holds(store, cube)
    found = xr.open_zarr(store)
    np.testing.assert_allclose(found["reflectance"], cube, atol=6e-5)
    assert found.attrs["xsr"]["complete"]
    assert xsr.verify(store).ok
    with pytest.raises(StoreError, match=r"exists; expected a new store\."):
        xsr.to_zarr(cube, store, **QUIET)
    assert xsr.to_zarr(cube, store, resume=True, **how, **QUIET).computed == 0


def test_a_run_that_failed_goes_on(store, cube, tmp_path):
    report = broken(cube, tmp_path).sr.to_zarr(store, input_id="a", errors="quarantine", **QUIET)
    assert len(report.quarantined) == 1
    assert not xsr.verify(store).complete
    assert xsr.to_zarr(cube, store, resume=True, input_id="a", **QUIET).computed == 1
    assert_holds(store, cube)


def test_damage_is_found_and_repaired(store, cube):
    xsr.to_zarr(cube, store, **QUIET)
    damage(store)
    assert [(bad.variable, bad.index) for bad in xsr.verify(store).bad] == [("reflectance", (1, 0, 0, 0))]
    report = xsr.verify(store, repair=cube, **QUIET)
    assert (report.ok, len(report.repaired)) == (True, 1)
    assert_holds(store, cube)


def test_a_store_grows_and_its_regions_are_filled(store, cube):
    xsr.to_zarr(cube[:1], store, **QUIET)
    xsr.to_zarr(cube[1:3], store, append_dim="time", **QUIET)
    xsr.to_zarr(cube[3:], store, append_dim="time", **QUIET)
    assert_holds(store, cube)
    other = cube + 1
    assert xsr.to_zarr(other[1:2], store, region="auto", **QUIET).computed == 2
    assert_holds(store, xr.concat([cube[:1], other[1:2], cube[2:]], "time"))


def test_groups_lie_side_by_side(store, cube):
    xsr.to_zarr(cube, store, **QUIET)
    xsr.to_zarr(cube + 1, store, group="tile/fine", **QUIET)
    xsr.to_zarr(cube + 2, store, group="tile/fine/finer", **QUIET)
    for group, wanted in {None: cube, "tile/fine": cube + 1, "tile/fine/finer": cube + 2}.items():
        assert_holds(store, wanted, group)
    tree = xr.open_datatree(store, engine="zarr")
    assert tree.groups == ("/", "/tile", "/tile/fine", "/tile/fine/finer")


def test_ledger_and_header_lie_where_readers_do_not_look(store, cube):
    xsr.to_zarr(cube, store, **QUIET)
    assert any(key.startswith(SIDE) for key in listed(store))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = dict(zarr.open_group(store, mode="r", use_consolidated=False).members(max_depth=None))
    assert set(found) == {"reflectance", *cube.coords}


def test_one_writer_at_a_time(store, cube):
    def inner(block):
        with pytest.raises(StoreError, match=r"is being written by process \d+"):
            xsr.to_zarr(cube, store, group="other", **QUIET)
        return block

    cube.map_blocks(inner, template=cube).sr.to_zarr(store, input_id="a", **QUIET)
    assert_holds(store, cube)


@pytest.mark.parametrize("scheduler", ["processes"])
def test_other_processes_do_not_write(cube, scheduler):
    store = MemoryStore()
    with dask.config.set(scheduler=scheduler), pytest.raises(StoreError, match=r"lives in this process.*'threads'"):
        xsr.to_zarr(cube, store, **QUIET)
    assert listed(store) == []


@pytest.mark.slow
def test_a_cluster_does_not_write_unless_told_to_use_threads(cube):
    from distributed import Client

    store = MemoryStore()
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"):
        with pytest.raises(StoreError, match=r"lives in this process.*'threads'"):
            xsr.to_zarr(cube, store, **QUIET)
        with dask.config.set(scheduler="threads"):
            xsr.to_zarr(cube, store, **QUIET)
    assert_holds(store, cube)


def test_options_are_refused(store, cube):
    with pytest.raises(ParameterError, match=r"storage_options with \w+; expected a URL"):
        xsr.to_zarr(cube, store, storage_options={"anon": True}, **QUIET)


# --- overwriting -------------------------------------------------------------------------------------------


def test_memory_is_replaced_once_the_new_store_is_complete(cube, tmp_path):
    store = MemoryStore()
    xsr.to_zarr(cube, store, **QUIET)
    with pytest.raises(RuntimeError, match="broken"):
        broken(cube + 1, tmp_path).sr.to_zarr(store, overwrite=True, **QUIET)
    assert_holds(store, cube)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", XsrWarning)
        broken(cube + 1, tmp_path).sr.to_zarr(store, overwrite=True, errors="quarantine", **QUIET)
    assert ["the MemoryStore was not overwritten" in str(one.message) for one in caught] == [True]
    assert_holds(store, cube)
    read = xr.open_zarr(store)["reflectance"]
    xsr.to_zarr(read[:2] + 1, store, overwrite=True, **QUIET)  # over what it is read from
    assert_holds(store, cube[:2] + 1)


def test_icechunk_replaces_a_store_in_a_transaction(repo, cube):
    session = repo.writable_session("main")
    xsr.to_zarr(cube, session.store, **QUIET)
    session.commit("first")
    before = repo.readonly_session("main").store
    session = repo.writable_session("main")
    read = xr.open_zarr(session.store)["reflectance"]
    with pytest.raises(StoreError, match=r"read from the IcechunkStore that it is to overwrite.*readonly_session"):
        xsr.to_zarr(read + 1, session.store, overwrite=True, **QUIET)
    assert not session.has_uncommitted_changes
    xsr.to_zarr(xr.open_zarr(before)["reflectance"][:2] + 1, session.store, overwrite=True, **QUIET)
    assert_holds(repo.readonly_session("main").store, cube)  # until it is committed
    session.commit("second")
    assert_holds(repo.readonly_session("main").store, cube[:2] + 1)


@pytest.mark.parametrize("kind", ["memory", "icechunk"])
def test_a_group_is_replaced_alone(kind, repo, cube):
    store = MemoryStore() if kind == "memory" else repo.writable_session("main").store
    xsr.to_zarr(cube, store, **QUIET)
    xsr.to_zarr(cube + 1, store, group="fine", **QUIET)
    xsr.to_zarr(cube[:2] + 2, store, group="fine", overwrite=True, **QUIET)
    assert_holds(store, cube)
    assert_holds(store, cube[:2] + 2, "fine")
    xsr.to_zarr(cube[1:], store, overwrite=True, **QUIET)  # with all its groups
    assert_holds(store, cube[1:])
    assert not any("fine" in key for key in listed(store))


@pytest.mark.parametrize("store", [WrapperStore(MemoryStore()), ObjectStore(obstore.store.MemoryStore())])
def test_a_store_with_no_place_beside_it_is_not_replaced(store, cube):
    xsr.to_zarr(cube, store, **QUIET)
    with pytest.raises(StoreError, match=r"neither transactions nor a place beside it"):
        xsr.to_zarr(cube + 1, store, overwrite=True, **QUIET)
    assert_holds(store, cube)


def test_what_is_no_store_of_ours_is_not_replaced(cube):
    store = MemoryStore()
    zarr.create_array(store, shape=(3,), dtype="u1")
    with pytest.raises(StoreError, match="is not a Zarr group; it is not overwritten"):
        xsr.to_zarr(cube, store, overwrite=True, **QUIET)


# --- icechunk ----------------------------------------------------------------------------------------------


def test_a_commit_holds_a_store_with_its_ledger(repo, cube):
    session = repo.writable_session("main")
    xsr.to_zarr(cube[:2], session.store, **QUIET)
    session.commit("two dates")
    assert_holds(repo.readonly_session("main").store, cube[:2])
    session = repo.writable_session("main")
    xsr.to_zarr(cube[2:], session.store, append_dim="time", **QUIET)
    assert_holds(repo.readonly_session("main").store, cube[:2])
    session.commit("two more")
    assert_holds(repo.readonly_session("main").store, cube)


def test_an_interrupted_run_may_be_committed_and_continued(repo, cube, tmp_path):
    session = repo.writable_session("main")
    report = broken(cube, tmp_path).sr.to_zarr(session.store, input_id="a", errors="quarantine", **QUIET)
    assert len(report.quarantined) == 1
    session.commit("a part")
    session = repo.writable_session("main")
    assert xsr.to_zarr(cube, session.store, resume=True, input_id="a", **QUIET).computed == 1
    session.commit("the rest")
    assert_holds(repo.readonly_session("main").store, cube)


def test_two_sessions_conflict_when_they_are_committed(repo, cube):
    one, other = repo.writable_session("main"), repo.writable_session("main")
    xsr.to_zarr(cube, one.store, **QUIET)
    xsr.to_zarr(cube + 1, other.store, **QUIET)
    one.commit("first")
    with pytest.raises(icechunk.ConflictError):
        other.commit("second")
    assert_holds(repo.readonly_session("main").store, cube)


def test_a_session_is_one_store_however_often_it_is_asked_for(repo, cube):
    session = repo.writable_session("main")

    def inner(block):
        with pytest.raises(StoreError, match="is being written by process"):
            xsr.to_zarr(cube, session.store, **QUIET)
        xsr.to_zarr(cube[:1, :, :8], repo.writable_session("main").store, **QUIET)
        return block

    first = cube[:1, :, :8]
    first.map_blocks(inner, template=first).sr.to_zarr(session.store, input_id="a", **QUIET)


def test_more_dates_than_a_chunk_of_their_labels_are_appended(repo):
    times = np.datetime64("2024-01-01", "ns") + np.arange(1200) * np.timedelta64(1, "h")
    cube = make_cube((1, 1, 2, 2)).rename("reflectance").isel(time=0).expand_dims(time=times).chunk(time=600)
    store = repo.writable_session("main").store
    for part in (cube[:600], cube[600:]):
        xsr.to_zarr(part, store, append_dim="time", resume=True, **QUIET)
    np.testing.assert_array_equal(xr.open_zarr(store)["time"], cube["time"])
    assert xsr.verify(store).ok


# --- what is refused ---------------------------------------------------------------------------------------


def test_read_only_stores_are_verified_and_not_written(repo, cube, tmp_path):
    session = repo.writable_session("main")
    xsr.to_zarr(cube, session.store, **QUIET)
    session.commit("all")
    xsr.to_zarr(cube, tmp_path / "a.zarr", **QUIET)
    for store in (repo.readonly_session("main").store, LocalStore(tmp_path / "a.zarr", read_only=True)):
        assert xsr.verify(store).ok
        for job in (lambda: xsr.to_zarr(cube, store, resume=True), lambda: xsr.verify(store, repair=cube)):  # noqa: B023
            with pytest.raises(StoreError, match=r"is read-only; expected one that can be written"):
                job()


def test_a_store_that_cannot_delete_is_refused(cube, tmp_path):
    with pytest.raises(StoreError, match="ZipStore cannot delete objects; expected a store that can"):
        xsr.to_zarr(cube, ZipStore(tmp_path / "a.zip", mode="w"), **QUIET)


def test_an_archive_of_a_store_is_verified(cube, tmp_path):
    source = MemoryStore()
    xsr.to_zarr(cube, source, **QUIET)
    with ZipStore(tmp_path / "a.zip", mode="w") as archive:
        for key in listed(source):
            content = zarr.core.sync.sync(source.get(key, zarr.buffer.default_buffer_prototype()))
            zarr.core.sync.sync(archive.set(key, content))
    assert_holds(ZipStore(tmp_path / "a.zip", mode="r"), cube)


def test_a_folder_in_a_wrapper_is_written_like_any_object(cube, tmp_path):
    store = LoggingStore(LocalStore(tmp_path / "a.zarr"), log_level="CRITICAL")
    xsr.to_zarr(cube, store, **QUIET)
    assert xsr.verify(tmp_path / "a.zarr").ok


def test_downloads_take_no_store_objects():
    with pytest.raises(ParameterError, match="path is a MemoryStore; expected a folder, a URL, a LocalStore"):
        xsr.fetch(MemoryStore(), [])


def test_icechunk_takes_no_format_2(repo, cube):
    with pytest.raises(ParameterError, match=r"zarr_format=2, but IcechunkStore.*expected zarr_format=3"):
        xsr.to_zarr(cube, repo.writable_session("main").store, zarr_format=2, **QUIET)


class Broken(MemoryStore):
    """Store that cannot be reached."""

    async def exists(self, key):
        raise OSError("no route to host")


def test_a_store_that_cannot_be_reached_is_one_error(cube):
    for job in (lambda: xsr.to_zarr(cube, Broken(), **QUIET), lambda: xsr.verify(Broken())):
        with pytest.raises(StoreError, match=r"Broken failed: OSError: no route to host"):
            job()
