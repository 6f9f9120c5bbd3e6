"""Stores whose ledger is an array of Zarr in a group of its own."""

import shutil

import numpy as np
import pytest
import zarr
from models.helpers import make_cube

import xsr
from xsr.core.store.header import read_header
from xsr.core.store.ledger import DONE, QUARANTINED, Ledger, checksum
from xsr.core.store.place import Place

KINDS = [{}, {"inner_chunks": 5}, {"zarr_format": 2}, {"dtype": "uint16"}]


@pytest.fixture
def cube():
    made = make_cube(20, 23, dates=2)
    made[0, :, :10, :10] = np.nan
    return made.chunk(time=1, y=10, x=10)


def as_first_form(path):
    """Rewrite header and ledger of a store as the first version of xsr wrote them."""
    header, _ = read_header(Place(str(path)))
    ledger = Ledger.read(Place(str(path)), header.fingerprint, header.blocks)
    shutil.rmtree(path / "spatial_ref/_xsr")
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    rows = [
        [row["status"] == DONE, row["valid"], row["clipped"], row["crc32"], row["status"] == QUARANTINED]
        for part in header.blocks
        for row in ledger.rows[part.variable]
    ]
    whole = {name: checksum(np.asarray(array[...])) for name, array in group.arrays() if name not in header.arrays}
    group.attrs["xsr"] = {**group.attrs["xsr"], "ledger": "_xsr/ledger"}
    side = group.create_group("_xsr")
    side.attrs.update({"settings": header.settings, "crc32": whole})
    array = side.create_array("ledger", shape=(len(rows), 5), chunks=(1, 5), dtype="int64", fill_value=0)
    array[:] = np.array(rows, np.int64)
    zarr.consolidate_metadata(group.store)


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(params=KINDS, ids=str)
def store(request, cube, tmp_path):
    """Store of the first form, how it was written, and what it becomes."""
    path, how = tmp_path / "a.zarr", {**request.param, "progress": False}
    xsr.to_zarr(cube, path, **how)
    wanted = content(path)
    as_first_form(path)
    return path, how, wanted


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_it_is_verified(store):
    path, _, _ = store
    report = xsr.verify(path)
    assert (report.ok, report.blocks, report.bad) == (True, 12, ())
    zarr.open_group(path, mode="r+", use_consolidated=False)["_xsr/ledger"][5] = 0
    zarr.open_group(path, mode="r+", use_consolidated=False)["x"][2] += 1
    assert [str(bad) for bad in xsr.verify(path).bad] == [
        "x[]: values differ from the checksum in the ledger".replace("[]", ""),
        "reflectance[0, 0, 1, 2]: not done",
    ]


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_it_is_resumed_and_adopted(store, cube):
    path, how, wanted = store
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    group["_xsr/ledger"][5] = 0
    group.attrs["xsr"] = {**group.attrs["xsr"], "complete": False}
    report = xsr.to_zarr(cube, path, resume=True, **how)
    assert (report.blocks, report.computed) == (12, 1)
    assert xsr.verify(path).ok
    assert content(path).keys() == wanted.keys()
    blocks = [name for name in wanted if name.startswith("reflectance/")]
    assert [name for name in blocks if content(path)[name] != wanted[name]] == []


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_it_is_repaired(store, cube):
    path, _, _ = store
    chunk = path / ("reflectance/c/1/0/0/0" if (path / "reflectance/zarr.json").exists() else "reflectance/1.0.0.0")
    chunk.write_bytes(chunk.read_bytes()[:-3])
    assert xsr.verify(path, repair=cube, progress=False).ok
    assert not (path / "_xsr").exists()
