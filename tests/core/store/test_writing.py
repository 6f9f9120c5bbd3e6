"""Blocks of a cube that is a part of a store."""

import numpy as np
import pytest
import xarray as xr
from models.helpers import make_cube

from xsr.core.store.ledger import DONE, QUARANTINED, BadBlock, Ledger
from xsr.core.store.lock import locked
from xsr.core.store.place import Place
from xsr.core.store.target import Target, begin
from xsr.core.store.template import GROWTH, prepare
from xsr.core.store.writing import compute_blocks, finish

TODO = {"reflectance": [(0, 0, 0, 0), (0, 0, 0, 1)]}


@pytest.fixture
def begun(tmp_path):
    """A store of three dates of two blocks each, of which nothing is down."""
    cube = make_cube(10, 20, dates=3).chunk(time=1, y=10, x=10)
    prepared, place = prepare(cube, grows="time"), Place(str(tmp_path / "a.zarr"))
    with locked(place) as lease:
        place = lease.guarding(place)
        header = begin(Target(place), prepared)
        yield cube, prepared, header, Ledger.empty(place, prepared.fingerprint, prepared.blocks)


def write(begun, array, *, first, errors="raise"):
    _, prepared, _, ledger = begun
    writers = {name: writer.shifted(first) for name, writer in prepared.writers(ledger.place).items()}
    return compute_blocks(writers, {"reflectance": array}, ledger, TODO, errors=errors, progress=False)


def test_a_date_is_written_at_its_place(begun):
    cube, _, header, ledger = begun
    write(begun, cube[1:2].data, first=1)
    assert (ledger.rows["reflectance"]["status"] == [0, 0, DONE, DONE, 0, 0]).all()
    finish(ledger.place, header, ledger)
    held = xr.open_zarr(ledger.place.path)["reflectance"]
    np.testing.assert_array_equal(held[1], cube[1])
    assert held[::2].isnull().all()
    assert not xr.open_zarr(ledger.place.path).attrs["xsr"]["complete"]


def test_a_block_that_is_set_aside_is_named_as_the_store_numbers_it(begun):
    cube, _, header, ledger = begun

    def fails(block, block_info=None):
        if block_info[0]["chunk-location"][-1] == 1:
            raise RuntimeError("broken")
        return block

    array = cube[2:3].data.map_blocks(fails, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))
    outcomes = write(begun, array, first=2, errors="quarantine")
    assert outcomes.failed == [BadBlock("reflectance", (2, 0, 0, 1), "RuntimeError: broken")]
    assert ledger.rows["reflectance"]["status"].tolist() == [0, 0, 0, 0, DONE, QUARANTINED]
    finish(ledger.place, header, ledger, outcomes.failed)


def test_coordinates_that_may_grow_have_chunks_that_stay(begun):
    group = begun[3].place.open("r")
    assert group["time"].chunks == (GROWTH,)
    assert group["x"].chunks == (20,)
