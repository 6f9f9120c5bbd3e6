"""Replacing a store at a URL: copies and deletions, any of which may be the last of a writer."""

import fsspec
import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem
from fuzzing import TIMES
from models.helpers import make_cube

import xsr
from xsr.core.errors import StoreError
from xsr.core.store.place import Place
from xsr.core.store.target import begin, begun_anew
from xsr.core.store.template import prepare

URL = "memory://target.zarr"
STRIDE = 6 if TIMES == 1 else 1
"""Copies and deletions from one death of the writer that is tried to the next."""


class Died(BaseException):
    """What ends a writer."""


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()


@pytest.fixture
def cube():
    return make_cube(20, 20).chunk(y=10, x=10)


def objects(files):
    return {name: files.cat_file(name) for name in files.find("/target.zarr")}


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_replacement_that_died_at_any_copy_or_deletion_is_finished(memory, cube, monkeypatch):
    write = {"progress": False, "overwrite": True}
    xsr.to_zarr(cube + 1, URL, progress=False)
    wanted = objects(memory)
    left = [0]

    def counted(name):
        real = getattr(MemoryFileSystem, name)

        def counting(self, path, *args, **kwargs):
            if ".lock" not in path:
                left[0] -= 1
                if left[0] == 0:
                    raise Died
            return real(self, path, *args, **kwargs)

        monkeypatch.setattr(MemoryFileSystem, name, counting)

    for name in ("cp_file", "rm_file"):
        counted(name)
    for number in range(1, 200, STRIDE):
        memory.store.clear()
        left[0] = 0
        xsr.to_zarr(cube, URL, progress=False)
        left[0] = number
        try:
            xsr.to_zarr(cube + 1, URL, **write)
        except (Died, StoreError):
            left[0] = 0
            xsr.to_zarr(cube + 1, URL, progress=False, resume=True)
        else:
            break
        assert objects(memory) == wanted, number
        assert not memory.find("/target.zarr.incoming"), number
    assert number > 20
    np.testing.assert_array_equal(xr.open_zarr(URL)["reflectance"].values, (cube + 1).values)


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_writer_that_begins_late_leaves_the_store_of_another_alone(memory, cube, tmp_path, kind):
    """It found nothing, was stopped, lost its lock, and goes on when the other has finished."""
    path = str(tmp_path / "target.zarr") if kind == "folder" else URL
    place = Place(path)
    target, prepared = begun_anew(place, False), prepare(cube)
    xsr.to_zarr(cube, path, progress=False)
    before = {key: place.get(key) for key in place.keys()}
    with pytest.raises(StoreError, match="was begun by another writer meanwhile; this one stops"):
        begin(target, prepared)
    assert {key: place.get(key) for key in place.keys()} == before
    assert xsr.verify(path).ok
