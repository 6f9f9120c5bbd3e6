"""The documents of a store, damaged in every way: it is verified and continued, or refused by an error of xsr."""

import json
import shutil
from contextlib import contextmanager

import pytest
from fuzzing import damaged, damaged_json_text, examples, refused_or
from hypothesis import given
from hypothesis import strategies as st
from models.helpers import make_cube

import xsr

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

DOCUMENTS = {
    "header": "a.zarr/spatial_ref/_xsr/header.json",
    "root": "a.zarr/zarr.json",
    "variable": "a.zarr/reflectance/zarr.json",
    "coordinate": "a.zarr/x/zarr.json",
    "page": "a.zarr/spatial_ref/_xsr/reflectance/0",
    "lock": "a.zarr.lock",
}


def write(path, **options):
    return xsr.to_zarr(make_cube(8, 8).chunk(y=4, x=4), path, progress=False, **{"zarr_format": 3, **options})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Folder of a store, and the lock that its writer would leave."""
    folder = tmp_path_factory.mktemp("fuzzed")
    write(folder / "a.zarr")
    owner = {"name": "a.zarr", "host": "elsewhere", "pid": 5, "born": "1", "start": "2024-06-15T11:06:21.024000+00:00"}
    (folder / "a.zarr.lock").write_text(json.dumps(owner))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xsr.core.store.lock.BEAT_S", 0.001)  # in which an owner elsewhere shows that it lives
        yield folder


@contextmanager
def copied(store, document, content, folder):
    """A copy of the store with a damaged document."""
    target = folder / "copy"
    shutil.copytree(store, target)
    if document != "lock":
        (target / "a.zarr.lock").unlink()
    (target / DOCUMENTS[document]).write_bytes(content)
    try:
        yield target / "a.zarr"
    finally:
        shutil.rmtree(target)


@pytest.mark.parametrize("document", DOCUMENTS)
@examples(5)
@given(data=st.data())
def test_damaged_documents_of_a_store(store, tmp_path_factory, document, data):
    content = (store / DOCUMENTS[document]).read_bytes()
    kinds = damaged(content) if document == "page" else damaged(content) | damaged_json_text(json.loads(content))
    with copied(store, document, data.draw(kinds), tmp_path_factory.mktemp("trial")) as path:
        refused_or(lambda: xsr.verify(path))
        refused_or(lambda: write(path, resume=True))
        refused_or(lambda: write(path, overwrite=True))
