"""Stores that grow: cubes appended along a dimension, regions that are written one by one."""

import os
import signal
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from helpers import make_cube
from hypothesis import given, settings
from hypothesis import strategies as st
from survival import Fails, through
from zarr.storage import FsspecStore, LocalStore

import xsr
from xsr.core.errors import ParameterError, StoreError, XsrWarning
from xsr.core.store.header import Header

QUIET = {"progress": False}
FEWER = settings().max_examples // 4
"""Examples of what writes several stores each."""


def cube_of(dates=5, height=20, width=23):
    made = make_cube((dates, 2, height, width)).rename("reflectance")
    made.values[0, :, :10, :10] = np.nan
    return made.assign_coords(product=("time", [f"product {n}" for n in range(dates)]))


@pytest.fixture
def cube():
    """Five dates of 20 x 23 pixels in blocks of 10, one date each."""
    return cube_of().chunk(time=1, y=10, x=10)


def read(path, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_zarr(path, **how)


def content(path):
    return {str(one.relative_to(path)): one.read_bytes() for one in sorted(Path(path).rglob("*")) if one.is_file()}


def assert_holds(path, cube):
    found = read(path)
    np.testing.assert_array_equal(found["reflectance"], cube)
    for name in ("time", "band", "y", "x", "product"):
        np.testing.assert_array_equal(found[name].astype(cube[name].dtype), cube[name])
    report = xsr.verify(path)
    assert (report.ok, report.bad) == (True, ())


# --- appending ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"zarr_format": 3}, {"inner_chunks": 5}], ids=str)
def test_dates_are_appended(cube, tmp_path, how):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube[:2], path, **how, **QUIET)
    blocks = {key: one for key, one in content(path).items() if key.startswith("reflectance/")}
    report = xsr.to_zarr(cube[2:3], path, append_dim="time", **QUIET)
    assert (report.blocks, report.computed) == (3 * 6, 6)
    cube.compute()[3:].sr.to_zarr(path, append_dim="time", **QUIET)  # a NumPy-backed one takes the blocks of the store
    assert_holds(path, cube)
    now = content(path)
    assert {key for key in blocks if now[key] != blocks[key]} <= {"reflectance/zarr.json", "reflectance/.zarray"}


def test_append_begins_a_store_that_is_not_there(cube, tmp_path):
    for date in range(5):
        xsr.to_zarr(cube[[date]], tmp_path / "a.zarr", append_dim="time", resume=True, **QUIET)
    assert_holds(tmp_path / "a.zarr", cube)


@pytest.mark.slow
@settings(max_examples=FEWER)
@given(data=st.data())
def test_parts_are_the_whole(tmp_path_factory, data):
    dates, height, width = (data.draw(st.integers(1, n)) for n in (6, 14, 14))
    side, span = data.draw(st.integers(2, 14)), data.draw(st.integers(1, 3))
    how = data.draw(st.sampled_from([{}, {"zarr_format": 3}, {"dtype": "uint16"}]))
    cube = make_cube((dates, 2, height, width)).rename("reflectance").chunk(time=span, y=side, x=side)
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, dates))).union({dates}))]
    cuts = sorted({min(dates, -(-cut // span) * span) for cut in cuts})
    folder = tmp_path_factory.mktemp("grow")
    xsr.to_zarr(cube, folder / "whole.zarr", **how, **QUIET)
    for start, stop in pairwise(cuts):
        part = cube[start:stop].chunk(time=span)
        xsr.to_zarr(part, folder / "parts.zarr", append_dim="time", **({} if start else how), **QUIET)
    whole, parts = (read(folder / f"{name}.zarr", mask_and_scale=False) for name in ("whole", "parts"))
    np.testing.assert_array_equal(whole["reflectance"], parts["reflectance"])
    np.testing.assert_array_equal(whole["time"], parts["time"])
    assert [xsr.verify(folder / f"{name}.zarr").ok for name in ("whole", "parts")] == [True, True]


def test_an_append_that_fails_is_continued(cube, tmp_path):
    path, flag = tmp_path / "a.zarr", tmp_path / "flag"
    flag.touch()
    xsr.to_zarr(cube[:2], path, **QUIET)
    made = through(cube[2:4], Fails(str(flag), ((1, 0, 0, 1),)))
    with dask.config.set(scheduler="synchronous"), pytest.raises(RuntimeError, match="block is broken"):
        xsr.to_zarr(made, path, append_dim="time", **QUIET)
    found = read(path)
    assert found.attrs["xsr"]["complete"] is False
    np.testing.assert_array_equal(found["reflectance"][:2], cube[:2])
    assert {bad.index[0] for bad in xsr.verify(path).bad} <= {2, 3}
    flag.unlink()
    with pytest.raises(StoreError, match=r"is not complete; expected a complete store to append to.*resume=True"):
        xsr.to_zarr(made, path, append_dim="time", **QUIET)
    with pytest.raises(StoreError, match="is not complete"):
        xsr.to_zarr(cube[3:], path, append_dim="time", resume=True, **QUIET)
    report = xsr.to_zarr(made, path, append_dim="time", resume=True, **QUIET)
    assert 0 < report.computed < 12
    assert_holds(path, cube[:4])
    assert xsr.to_zarr(made, path, append_dim="time", resume=True, **QUIET).computed == 0


JOB = """
import sys
from test_growing import cube_of
from survival import die_at_write
import dask, xsr
dask.config.set(scheduler="synchronous")
path, when = sys.argv[1], int(sys.argv[2])
cube = cube_of().chunk(time=1, y=10, x=10)
die_at_write(when)
xsr.to_zarr(cube[2:], path, append_dim="time", progress=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", [1, 2, 3, 4, 5, 7, 9, 12, 20, 30])
def test_killed_within_an_append_and_continued(cube, tmp_path, python, when):
    """At any write: what was there stays readable, and the same append goes on."""
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube[:2], path, **QUIET)
    folders = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path])
    killed = python("-W", "ignore", "-c", JOB, str(path), str(when), env={**os.environ, "PYTHONPATH": folders})
    assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
    np.testing.assert_array_equal(read(path)["reflectance"][:2], cube[:2])
    assert not [bad for bad in xsr.verify(path).bad if bad.index and bad.index[0] < 2]
    xsr.to_zarr(cube[2:], path, append_dim="time", resume=True, **QUIET)
    assert_holds(path, cube)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c, "has time 2024-06-04 00:00:00 already"),
        (lambda c: later(c).isel(x=slice(10, None)), "grid.*labels of 'x' are others"),
        (lambda c: later(c).isel(band=[0]), "labels of 'band' are others"),
        (lambda c: later(c).rename("other"), "'other' is not in the store; 'reflectance' is not in the cube"),
        (lambda c: later(c).astype("float64"), "encoding.reflectance was 'float32' and is 'float64'"),
        (
            lambda c: later(c).chunk(y=5),
            r"'reflectance' has chunks \(5, 5, 5, 5\) along 'y', in the store blocks of 10",
        ),
        (lambda c: later(c).transpose("band", "time", "y", "x"), "dimensions"),
    ],
)
def test_what_does_not_continue_a_store_is_refused(cube, tmp_path, change, message):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube[:4], path, **QUIET)
    before = content(path)
    with pytest.raises(StoreError, match=message):
        xsr.to_zarr(change(cube[3:4]), path, append_dim="time", **QUIET)
    assert content(path) == before


def later(cube):
    return cube.assign_coords(time=cube.time + np.timedelta64(365, "D"))


def test_an_append_begins_where_a_block_ends(cube, tmp_path):
    xsr.to_zarr(cube[:3].chunk(time=2), tmp_path / "a.zarr", **QUIET)
    with pytest.raises(StoreError, match="begins at 3 along 'time', within a block of 2"):
        xsr.to_zarr(cube[3:].chunk(time=2), tmp_path / "a.zarr", append_dim="time", **QUIET)


def test_times_of_any_resolution_are_appended(cube, tmp_path):
    """The first dates are whole days."""
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube[:2], path, **QUIET)
    part = cube[2:].assign_coords(time=cube.time[2:] + np.timedelta64(1001, "us"))
    xsr.to_zarr(part, path, append_dim="time", **QUIET)
    np.testing.assert_array_equal(read(path)["time"][2:], part["time"])
    finer = later(cube[:1])
    finer = finer.assign_coords(time=finer.time + np.timedelta64(1, "ns"))
    with pytest.raises(StoreError, match=r"\['time'\] of the cube cannot be stored as in the store"):
        xsr.to_zarr(finer, path, append_dim="time", **QUIET)


def test_dates_out_of_order_are_said(cube, tmp_path):
    xsr.to_zarr(cube[2:], tmp_path / "a.zarr", **QUIET)
    with pytest.raises(XsrWarning, match=r"is appended behind 2024-06-05.*not in order"):
        xsr.to_zarr(cube[:2], tmp_path / "a.zarr", append_dim="time", **QUIET)


def test_a_grown_store_is_repaired_by_its_cubes(cube, tmp_path):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube[:3], path, zarr_format=3, **QUIET)
    xsr.to_zarr(cube[3:], path, append_dim="time", **QUIET)
    for key in ("reflectance/c/0/0/1/1", "reflectance/c/4/0/1/1", "time/c/1", "reflectance/zarr.json"):
        damaged = bytearray((path / key).read_bytes())
        damaged[len(damaged) // 2] ^= 1
        (path / key).write_bytes(damaged)
    assert len(xsr.verify(path).bad) == 4
    assert len(xsr.verify(path, repair=cube[:3], **QUIET).bad) == 2
    assert xsr.verify(path, repair=cube[3:], **QUIET).ok
    with pytest.raises(StoreError, match="was written from 2 cubes, of which this is none"):
        xsr.verify(path, repair=cube[1:], **QUIET)
    with pytest.raises(StoreError, match="was written from 2 cubes, of which this is one"):
        xsr.to_zarr(cube[:3], path, resume=True, **QUIET)


def test_a_date_appended_by_another_program_is_named_and_can_be_taken_back(cube, tmp_path):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube[:2], path, zarr_format=3, **QUIET)
    xsr.to_zarr(cube[[2]], tmp_path / "b.zarr", zarr_format=3, **QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xr.open_zarr(tmp_path / "b.zarr", decode_coords="all").to_zarr(path, append_dim="time")
    report = xsr.verify(path)
    assert not report.ok
    said = "was changed by another program: its shape is [3, 2, 20, 23], in the ledger [2, 2, 20, 23]"
    assert f"reflectance/zarr.json: {said}" in map(str, report.bad)
    assert xsr.verify(path, repair=cube[:2], **QUIET).ok
    xsr.to_zarr(cube[2:], path, append_dim="time", **QUIET)
    assert_holds(path, cube)


# --- regions -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=FEWER)
@given(data=st.data())
def test_regions_in_any_order_are_the_whole(tmp_path_factory, data):
    height, width = data.draw(st.integers(1, 14)), data.draw(st.integers(1, 14))
    side = data.draw(st.integers(3, 14))
    cube = make_cube((2, 2, height, width)).rename("reflectance").chunk(time=1, y=side, x=side)
    path = tmp_path_factory.mktemp("region") / "a.zarr"
    assert xsr.to_zarr(cube, path, compute=False, **QUIET).computed == 0
    starts = [(t, y, x) for t in range(2) for y in range(0, height, side) for x in range(0, width, side)]
    for t, y, x in data.draw(st.permutations(starts)):
        assert not read(path).attrs["xsr"]["complete"]
        region = {"time": slice(t, t + 1), "y": slice(y, y + side), "x": slice(x, x + side)}
        part = cube.isel(region)
        named = {dim: slice(at.start, min(at.stop, cube.sizes[dim])) for dim, at in region.items()}
        xsr.to_zarr(part, path, region=data.draw(st.sampled_from(["auto", named])), **QUIET)
    np.testing.assert_array_equal(read(path)["reflectance"], cube)
    assert xsr.verify(path).ok


def test_a_region_replaces_what_is_there(cube, tmp_path):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube, path, zarr_format=3, **QUIET)
    other = (cube[[3]] * 0 + 0.5).isel(y=slice(10, None))
    report = xsr.to_zarr(other, path, region="auto", **QUIET)
    assert report.computed == 3
    wanted = cube.compute()
    wanted[3, :, 10:] = 0.5
    assert_holds(path, wanted)
    with pytest.raises(StoreError, match="was written from 2 cubes"):
        xsr.to_zarr(cube, path, resume=True, **QUIET)
    path.joinpath("reflectance/c/3/0/1/0").unlink()
    assert len(xsr.verify(path, repair=cube, **QUIET).bad) == 1  # that block was written from another cube
    assert xsr.verify(path, repair=other, **QUIET).ok


def test_nothing_is_appended_where_a_region_was_about_to_be_replaced(cube, tmp_path, monkeypatch):
    """Killed before the header says so: the blocks of the region count as undone already."""
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    region = {"y": slice(0, 10), "x": slice(0, 10)}
    part = (cube * 0.5).isel(y=slice(0, 10), x=slice(0, 10))

    def killed(header, place):
        raise StoreError("killed")

    monkeypatch.setattr(Header, "write", killed)
    with pytest.raises(StoreError, match="killed"):
        xsr.to_zarr(part, tmp_path / "a.zarr", region=region, progress=False)
    monkeypatch.undo()
    later = cube.assign_coords(time=cube.time + np.timedelta64(100, "D"))
    with pytest.raises(StoreError, match="is not complete; expected a complete store to append to"):
        xsr.to_zarr(later, tmp_path / "a.zarr", append_dim="time", progress=False)
    xsr.to_zarr(part, tmp_path / "a.zarr", region=region, progress=False)
    assert xsr.verify(tmp_path / "a.zarr").ok
    xsr.to_zarr(later, tmp_path / "a.zarr", append_dim="time", progress=False)
    assert xsr.verify(tmp_path / "a.zarr").ok


@pytest.mark.parametrize(
    ("change", "region", "error", "message"),
    [
        (lambda c: c[:1], {"time": slice(0, 2)}, ParameterError, "2 of 5 pixels and the cube 1"),
        (lambda c: c[:1], {"date": slice(0, 1)}, ParameterError, "names 'date'; expected dimensions"),
        (lambda c: c[:1], {"time": slice(1, 2)}, StoreError, "labels of 'time' are others"),
        (lambda c: c[[0, 2]], "auto", ParameterError, "labels of 'time' are no unbroken part"),
        (lambda c: c[..., 5:15].chunk(x=10), "auto", StoreError, "begins at 5 along 'x', within a block of 10"),
        (lambda c: c[..., :5], "auto", StoreError, "chunks .* along 'x', in the store blocks of 10"),
    ],
)
def test_regions_that_are_none_are_refused(cube, tmp_path, change, region, error, message):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube, path, **QUIET)
    before = content(path)
    with pytest.raises(error, match=message):
        xsr.to_zarr(change(cube), path, region=region, **QUIET)
    assert content(path) == before


# --- modes -------------------------------------------------------------------------------------------------


def test_modes_are_those_of_xarray(cube, tmp_path):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube[:2], path, mode="w-", **QUIET)
    with pytest.raises(StoreError, match="exists; expected a new store"):
        xsr.to_zarr(cube[:2], path, mode="w-", **QUIET)
    xsr.to_zarr(cube[:3], path, mode="w", **QUIET)
    xsr.to_zarr(cube[3:4], path, mode="a", append_dim="time", **QUIET)
    xsr.to_zarr(cube[4:], path, mode="a-", append_dim="time", **QUIET)
    assert_holds(path, cube)
    xsr.to_zarr(cube + 1, path, mode="r+", **QUIET)
    assert_holds(path, cube + 1)
    xsr.to_zarr(cube[:1], path, mode="r+", region={"time": slice(0, 1)}, **QUIET)
    np.testing.assert_array_equal(read(path)["reflectance"][0], cube[0])


@pytest.mark.parametrize(
    "how",
    [
        {"mode": "x"},
        {"mode": "a"},
        {"mode": "w", "append_dim": "time"},
        {"mode": "r+", "append_dim": "time"},
        {"mode": "w", "region": "auto"},
        {"append_dim": "time", "region": "auto"},
        {"append_dim": "time", "overwrite": True},
        {"mode": "w-", "overwrite": True},
        {"mode": "w", "resume": True},
    ],
    ids=str,
)
def test_modes_that_contradict_are_refused(cube, tmp_path, how):
    with pytest.raises(ParameterError):
        xsr.to_zarr(cube, tmp_path / "a.zarr", **how, **QUIET)
    assert not list(tmp_path.iterdir())


def test_a_region_of_nothing_and_other_stored_forms_are_refused(cube, tmp_path):
    with pytest.raises(StoreError, match="holds no store; expected one whose region= is written"):
        xsr.to_zarr(cube, tmp_path / "a.zarr", region="auto", **QUIET)
    xsr.to_zarr(cube[:2], tmp_path / "a.zarr", **QUIET)
    with pytest.raises(ParameterError, match="dtype='uint16', but the store has 'float32'"):
        xsr.to_zarr(cube[2:], tmp_path / "a.zarr", append_dim="time", dtype="uint16", **QUIET)


# --- groups ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_groups_are_stores_of_their_own(cube, tmp_path, zarr_format):
    path, how = tmp_path / "a.zarr", {"zarr_format": zarr_format, **QUIET}
    xsr.to_zarr(cube, path, group="coarse", **how)
    xsr.to_zarr(cube[:2] + 1, path, group="coarse/deep/fine", **how)
    with pytest.raises(StoreError, match=r"fine exists; expected a new store"):
        xsr.to_zarr(cube, path, group="coarse/deep/fine", **how)
    xsr.to_zarr(cube[2:] + 1, path, group="coarse/deep/fine", append_dim="time", **QUIET)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.zarr"]
    for group, wanted in (("coarse", cube), ("coarse/deep/fine", cube + 1)):
        np.testing.assert_array_equal(read(path, group=group)["reflectance"], wanted)
        assert xsr.verify(path, group=group).ok
    groups = xr.open_groups(path, engine="zarr")
    tree = xr.open_datatree(path, engine="zarr")
    assert set(groups) == {"/", "/coarse", "/coarse/deep", "/coarse/deep/fine"}
    np.testing.assert_array_equal(tree["coarse/deep/fine"]["reflectance"], cube + 1)


def test_a_group_lies_in_a_store_with_a_cube(cube, tmp_path):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube, path, **QUIET)
    xsr.to_zarr(cube + 1, path, group="fine", **QUIET)
    np.testing.assert_array_equal(read(path, group="fine")["reflectance"], cube + 1)
    assert_holds(path, cube)
    assert set(xr.open_groups(path, engine="zarr")) == {"/", "/fine"}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_group_stays_where_the_cube_at_the_root_grows(cube, tmp_path, zarr_format):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube[:3], path, zarr_format=zarr_format, **QUIET)
    xsr.to_zarr(cube[:, :, :10] + 1, path, group="fine", zarr_format=zarr_format, **QUIET)
    whole = {"/", "/fine"}
    for job in (
        lambda: xsr.to_zarr(cube[3:], path, append_dim="time", compute=False, **QUIET),
        lambda: xsr.to_zarr(cube[3:], path, append_dim="time", resume=True, **QUIET),
        lambda: xsr.to_zarr(cube[:1], path, region="auto", **QUIET),
        lambda: xsr.verify(path, repair=cube[3:], **QUIET),
    ):
        job()
        assert set(xr.open_groups(path, engine="zarr")) == whole
    assert_holds(path, cube)
    assert xsr.verify(path, group="fine").ok


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("root", [True, False])
def test_a_group_that_is_replaced_is_never_read_by_the_metadata_of_the_one_before(
    cube, tmp_path, monkeypatch, zarr_format, root
):
    """Killed between the renames and the gathering: packed numbers must not be read as reflectance."""
    path, how = tmp_path / "a.zarr", {"group": "fine", "zarr_format": zarr_format, **QUIET}
    if root:
        xsr.to_zarr(cube, path, zarr_format=zarr_format, **QUIET)
    xsr.to_zarr(cube, path, **how)

    def killed(place):
        raise StoreError("killed")

    monkeypatch.setattr("xsr.operations.store.gather", killed)
    with pytest.raises(StoreError, match="killed"):
        xsr.to_zarr(cube, path, dtype="uint16", overwrite=True, **how)
    monkeypatch.undo()
    with pytest.raises((KeyError, FileNotFoundError, ValueError)):
        read(path, group="fine")
    if root:
        assert_holds(path, cube)
        assert xsr.verify(path).ok
    xsr.to_zarr(cube, path, dtype="uint16", resume=True, **how)
    np.testing.assert_allclose(read(path, group="fine")["reflectance"], cube, atol=6e-5)
    assert xsr.verify(path, group="fine").ok


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_readers_of_a_group_know_that_a_region_of_it_is_not_complete(cube, tmp_path, zarr_format):
    path, flag = tmp_path / "a.zarr", tmp_path / "flag"
    flag.touch()
    xsr.to_zarr(cube, path, group="fine", zarr_format=zarr_format, **QUIET)
    made = through(cube[:1] + 1, Fails(str(flag), ((0, 0, 1, 2),)))
    with dask.config.set(scheduler="synchronous"), pytest.raises(RuntimeError, match="block is broken"):
        xsr.to_zarr(made, path, group="fine", region="auto", **QUIET)
    assert read(path, group="fine").attrs["xsr"]["complete"] is False
    flag.unlink()
    xsr.to_zarr(made, path, group="fine", region="auto", resume=True, **QUIET)
    assert read(path, group="fine").attrs["xsr"]["complete"] is True
    np.testing.assert_array_equal(read(path, group="fine")["reflectance"][:1], cube[:1] + 1)


def test_a_group_within_a_group_with_a_cube_is_found(cube, tmp_path):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube, path, group="tile", **QUIET)
    xsr.to_zarr(cube + 1, path, group="tile/fine", **QUIET)
    assert set(xr.open_groups(path, engine="zarr", group="tile")) == {".", "fine"}
    assert set(xr.open_datatree(path, engine="zarr").groups) == {"/", "/tile", "/tile/fine"}
    assert xsr.verify(path, group="tile").ok


@pytest.mark.parametrize("group", ["", "..", "a/../b", "a//b", 5])
def test_groups_without_a_name_are_refused(cube, tmp_path, group):
    with pytest.raises(ParameterError, match=r"group=.*expected names"):
        xsr.to_zarr(cube, tmp_path / "a.zarr", group=group, **QUIET)
    assert not list(tmp_path.iterdir())


# --- store objects -----------------------------------------------------------------------------------------


def test_store_objects_of_folders_and_file_systems(cube, tmp_path):
    report = xsr.to_zarr(cube, LocalStore(tmp_path / "a.zarr"), **QUIET)
    assert report.path == str(tmp_path / "a.zarr")
    assert_holds(LocalStore(tmp_path / "a.zarr"), cube)
    remote = FsspecStore.from_url("memory://growing/b.zarr")
    assert xsr.to_zarr(cube[:3], remote, **QUIET).path.startswith("memory://")
    xsr.to_zarr(cube[3:], remote, append_dim="time", **QUIET)
    assert xsr.verify(remote).ok


def test_what_a_killed_writer_left_beside_a_group_is_no_matter_for_others(cube, tmp_path):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube, path, group="one", **QUIET)
    left = path / "two.incoming.template"
    left.mkdir()
    (left / "header.json").write_text("{}")
    xsr.to_zarr(cube, path, group="one", overwrite=True, **QUIET)
    assert xsr.verify(path, group="one").ok
    assert left.is_dir()
