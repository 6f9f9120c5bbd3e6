"""Overviews: levels written with the store, in its ledger, and declared as readers expect them."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers import make_cube
from xarray.testing import assert_identical

import xsr
from xsr.core.errors import ParameterError, StoreError
from xsr.core.store.block import BlockWriter
from xsr.core.store.halving import halved
from xsr.core.store.place import Place
from xsr.core.store.template import prepare


def image():
    values = np.random.default_rng(3).random((2, 3, 21, 30), dtype=np.float32)
    values[0, :, 2:9, 3:12] = np.nan
    return make_cube(values, chunks={"time": 1, "band": 3, "y": 8, "x": 8}).rename("reflectance")


@pytest.fixture
def cube():
    return image()


def written(cube, path, **how):
    return xsr.to_zarr(cube, path, progress=False, **how)


def level(path, number):
    return xr.open_zarr(path, group=str(number), decode_coords="all")["reflectance"]


@pytest.mark.parametrize("form", [{}, {"zarr_format": 3}, {"inner_chunks": 4}, {"dtype": "uint16"}], ids=str)
def test_each_level_is_made_of_the_one_before(cube, tmp_path, form):
    path = tmp_path / "a.zarr"
    report = written(cube, path, overviews=2, **form)
    assert report.blocks == 2 * (3 * 4 + 2 * 2 + 1)
    assert xsr.verify(path).ok
    finer = level(path, 0)
    if "dtype" not in form:
        assert np.array_equal(finer.values, cube.values, equal_nan=True)
    for number in (1, 2):
        found, wanted = level(path, number), halved(finer.values, (2, 3), "average")
        step = 1e-4 if "dtype" in form else 1e-6
        np.testing.assert_allclose(found.values, wanted, atol=step)
        assert found.odc.geobox.shape == tuple(-(-n // 2) for n in finer.odc.geobox.shape)
        assert tuple(found.odc.geobox.affine)[:6] == (10 * 2**number, 0, 600_000, 0, -10 * 2**number, 5_800_000)
        finer = found


def test_an_even_image_has_levels_of_the_same_extent(tmp_path):
    cube = make_cube((1, 2, 16, 32), chunks={"y": 8, "x": 8})
    written(cube, tmp_path / "a.zarr", overviews=3)
    layout = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["multiscales"]["layout"]
    assert [one["spatial:shape"] for one in layout] == [[16, 32], [8, 16], [4, 8], [2, 4]]
    assert [one.get("derived_from") for one in layout] == [None, "0", "1", "2"]
    assert {one.get("resampling_method") for one in layout[1:]} == {"average"}
    assert [one["transform"]["scale"] for one in layout] == [[1, 1], [2, 2], [2, 2], [2, 2]]
    boxes = [xr.open_zarr(tmp_path / "a.zarr", group=one["asset"], decode_coords="all").odc.geobox for one in layout]
    assert len({box.boundingbox.bbox for box in boxes}) == 1


def test_classes_and_dates_keep_their_values(cube, tmp_path):
    numbers = np.random.default_rng(4).integers(0, 12, (2, 21, 30)).astype(np.uint8)
    scl = xr.DataArray(numbers, {d: cube[d] for d in ("time", "y", "x")}, ("time", "y", "x"), attrs={"_FillValue": 0})
    data = cube.to_dataset().assign(SCL=scl.chunk(time=1, y=8, x=8))
    written(data, tmp_path / "a.zarr", overviews=1)
    raw = zarr.open_group(tmp_path / "a.zarr", mode="r")["1/SCL"]
    assert np.array_equal(raw[:], halved(numbers, (1, 2), "mode", 0))
    assert raw.dtype == np.uint8
    assert raw.attrs["resampling_method"] == "mode"


def test_trees_groups_and_levels_open(cube, tmp_path):
    path = tmp_path / "a.zarr"
    written(cube, path, overviews=2)
    tree = xr.open_datatree(path, engine="zarr")
    assert tree.groups == ("/", "/0", "/1", "/2")
    assert dict(tree["1"].sizes) == {"time": 2, "band": 3, "y": 11, "x": 15}
    assert set(xr.open_groups(path, engine="zarr")) == set(tree.groups)
    assert xr.open_zarr(path).attrs["xsr"]["complete"] is True
    opened = xsr.open(path)
    assert np.array_equal(opened.values, cube.values, equal_nan=True)
    assert opened.attrs["xsr"]["complete"] is True


def test_true_makes_as_many_as_a_map_needs(tmp_path):
    written(make_cube((1, 1, 600, 30), chunks=-1), tmp_path / "a.zarr", overviews=True)
    written(make_cube((1, 1, 6, 30), chunks=-1), tmp_path / "b.zarr", overviews=True)
    shapes = [
        [one["spatial:shape"] for one in zarr.open_group(tmp_path / name, mode="r").attrs["multiscales"]["layout"]]
        for name in ("a.zarr", "b.zarr")
    ]
    assert shapes == [[[600, 30], [300, 15], [150, 8]], [[6, 30], [3, 15]]]


@pytest.mark.parametrize(
    ("size", "wanted", "message"),
    [
        ((1, 5), 1, "1 overviews of an image of 1 x 5 pixels; expected at most 0"),
        ((1, 5), True, "expected at most 0: each halves the level before it, which needs 2 pixels a side"),
        ((5, 4), 3, "3 overviews of an image of 5 x 4 pixels; expected at most 2"),
        ((5, 4), -1, "the number of overviews is -1; expected a whole number"),
        ((5, 4), "2", "the number of overviews is '2'; expected a whole number"),
    ],
)
def test_too_many_are_refused(tmp_path, size, wanted, message):
    with pytest.raises(ParameterError, match=message):
        written(make_cube((1, 2, *size), chunks=-1), tmp_path / "a.zarr", overviews=wanted)
    assert not (tmp_path / "a.zarr").exists()


def test_parts_and_overviews_exclude_each_other(cube, tmp_path):
    with pytest.raises(ParameterError, match="overviews with append_dim or region; expected a whole store"):
        written(cube, tmp_path / "a.zarr", overviews=1, append_dim="time")
    written(cube, tmp_path / "a.zarr", overviews=1)
    later = cube.assign_coords(time=cube.time + np.timedelta64(30, "D"))
    for how in ({"append_dim": "time"}, {"region": {"time": slice(0, 2)}}):
        with pytest.raises(StoreError, match="has overviews, which a part of it would contradict"):
            written(later, tmp_path / "a.zarr", **how)
    assert xsr.verify(tmp_path / "a.zarr").ok


def test_an_overwrite_changes_between_both_forms(cube, tmp_path):
    path = tmp_path / "a.zarr"
    written(cube, path)
    written(cube, path, overviews=2, overwrite=True)
    assert xsr.verify(path).ok
    assert not (path / "reflectance").exists()
    written(xsr.open(path), path, overwrite=True)  # over what it is read from
    assert xr.open_datatree(path, engine="zarr").groups == ("/",)
    assert np.array_equal(xsr.open(path).values, cube.values, equal_nan=True)


def content(path):
    side = path / "spatial_ref/_xsr"
    return {
        p.relative_to(path): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file() and side not in p.parents
    }


@pytest.mark.parametrize("stop", [3, 14, 16], ids="after {} blocks".format)
def test_an_interrupted_store_goes_on_at_any_level(cube, tmp_path, monkeypatch, stop):
    cube = cube.isel(time=[0])
    written(cube, tmp_path / "whole.zarr", overviews=2)
    path, count, write = tmp_path / "a.zarr", [0], BlockWriter._written

    def fails(self, block, index):
        count[0] += 1
        if count[0] > stop:
            raise KeyboardInterrupt
        return write(self, block, index)

    with monkeypatch.context() as patch:
        patch.setattr(BlockWriter, "_written", fails)
        with pytest.raises(KeyboardInterrupt):
            written(cube, path, overviews=2)
    assert xr.open_zarr(path).attrs["xsr"]["complete"] is False
    report = written(cube, path, overviews=2, resume=True)
    assert 17 - stop <= report.computed < 17  # blocks that were written side by side with the last are computed again
    assert xsr.verify(path).ok
    assert content(path) == content(tmp_path / "whole.zarr")


JOB = """
import sys
from test_overviews import image
from survival import die_at_write
import dask, xsr
dask.config.set(scheduler="synchronous")
cube = image()
die_at_write(int(sys.argv[2]))
xsr.to_zarr(cube, sys.argv[1], overviews=2, progress=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", [30, 70, 95], ids="at write {}".format)
def test_killed_and_continued(tmp_path, python, when):
    """Within the template, the image, a level and the last rows."""
    written(image(), tmp_path / "whole.zarr", overviews=2)
    folders = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path])
    killed = python(
        "-W", "ignore", "-c", JOB, str(tmp_path / "a.zarr"), str(when), env={**os.environ, "PYTHONPATH": folders}
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    report = written(image(), tmp_path / "a.zarr", overviews=2, resume=True)
    assert report.blocks == 34
    assert report.computed == 34 if when == 30 else 0 < report.computed < 34
    assert xsr.verify(tmp_path / "a.zarr").ok
    assert content(tmp_path / "a.zarr") == content(tmp_path / "whole.zarr")


def test_a_block_is_made_of_four_at_most(cube, tmp_path):
    """Memory does not grow with the image."""
    prepared = prepare(cube, overviews=2)
    finer = {part.variable: part for part in prepared.blocks}
    for part in prepared.stages[1] + prepared.stages[2]:
        halving = prepared.halving(Place(str(tmp_path)), part)
        source = finer[halving.source]
        needed = [halving.needs(index, source) for index in part]
        assert max(map(len, needed)) <= 4
        assert sorted(index for one in needed for index in one) == sorted(source)  # each is read once


def test_overviews_wait_for_blocks_that_could_not_be_computed(cube, tmp_path):
    written(cube, tmp_path / "whole.zarr", overviews=2, input_id="a")
    bad = cube.copy(data=cube.data.map_blocks(_breaks_first, dtype=np.float32))
    path = tmp_path / "a.zarr"
    report = written(bad, path, overviews=2, errors="quarantine", input_id="a")
    assert [str(one.index) for one in report.quarantined] == ["(0, 0, 0, 0)"]
    assert report.computed == 34 - 3
    found = xsr.verify(path)
    assert {(one.variable, one.index) for one in found.bad} == {
        ("0/reflectance", (0, 0, 0, 0)),
        ("1/reflectance", (0, 0, 0, 0)),
        ("2/reflectance", (0, 0, 0, 0)),
    }
    assert xsr.verify(path, repair=cube, input_id="a", progress=False).ok
    assert content(path) == content(tmp_path / "whole.zarr")


def _breaks_first(block, block_id=None):
    if block_id == (0, 0, 0, 0):
        raise ValueError("no such file")
    return block


@pytest.mark.parametrize("where", ["0/reflectance/0.0.1.1", "1/reflectance/1.0.0.1", "2/x/0", "1/.zattrs"])
def test_damage_at_any_level_is_found_and_repaired(cube, tmp_path, where):
    written(cube, tmp_path / "a.zarr", overviews=2)
    before = content(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / where).write_bytes(b"{}")
    assert not xsr.verify(tmp_path / "a.zarr").ok
    assert xsr.verify(tmp_path / "a.zarr", repair=cube, progress=False).ok
    assert content(tmp_path / "a.zarr") == before


def test_another_number_of_overviews_is_another_store(cube, tmp_path):
    written(cube, tmp_path / "a.zarr", overviews=1)
    with pytest.raises(StoreError, match="overviews was 1 and is 2"):
        written(cube, tmp_path / "a.zarr", overviews=2, resume=True)


def test_a_store_of_before_is_opened_continued_and_appended_to(cube, tmp_path):
    """Stores of format 3, the default of before, go on as they are."""
    first, second = cube.isel(time=[0]), cube.isel(time=[1])
    written(first, tmp_path / "a.zarr", zarr_format=3, append_dim="time")
    written(second, tmp_path / "a.zarr", append_dim="time")
    assert zarr.open_group(tmp_path / "a.zarr", mode="r").metadata.zarr_format == 3
    written(cube, tmp_path / "b.zarr", zarr_format=3, compute=False)
    assert written(cube, tmp_path / "b.zarr", resume=True).computed == 24
    one, two = (xr.open_zarr(tmp_path / name).drop_attrs() for name in ("a.zarr", "b.zarr"))
    assert_identical(one.compute(), two.compute())


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_groups_and_store_objects_hold_levels_too(cube, tmp_path, zarr_format):
    cube = cube.isel(time=[0])
    written(cube, tmp_path / "a.zarr", overviews=1, group="tile", zarr_format=zarr_format)
    assert xsr.verify(tmp_path / "a.zarr", group="tile").ok
    assert xr.open_datatree(tmp_path / "a.zarr", engine="zarr").groups == ("/", "/tile", "/tile/0", "/tile/1")
    store = zarr.storage.MemoryStore()
    written(cube, store, overviews=1, zarr_format=zarr_format)
    assert xsr.verify(store).ok
    assert np.array_equal(xr.open_zarr(store, group="0")["reflectance"].values, cube.values, equal_nan=True)
