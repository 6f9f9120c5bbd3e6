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
    "header": (2, "a.zarr/spatial_ref/_xsr/header.json"),
    "root": (3, "a.zarr/zarr.json"),
    "group": (2, "a.zarr/.zgroup"),
    "attributes": (2, "a.zarr/.zattrs"),
    "gathered": (2, "a.zarr/.zmetadata"),
    "variable": (3, "a.zarr/reflectance/zarr.json"),
    "array": (2, "a.zarr/reflectance/.zarray"),
    "coordinate": (3, "a.zarr/x/zarr.json"),
    "page": (2, "a.zarr/spatial_ref/_xsr/reflectance/0"),
    "lock": (2, "a.zarr.lock"),
}
"""Format of the store that is damaged, and the object in it."""


def write(path, zarr_format, **options):
    cube = make_cube(8, 8).chunk(y=4, x=4)
    return xsr.to_zarr(cube, path, progress=False, zarr_format=zarr_format, **options)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Folders of a store of either format, and the lock that its writer would leave."""
    owner = {"name": "a.zarr", "host": "elsewhere", "pid": 5, "born": "1", "start": "2024-06-15T11:06:21.024000+00:00"}
    folders = {zarr_format: tmp_path_factory.mktemp("fuzzed") for zarr_format in (2, 3)}
    for zarr_format, folder in folders.items():
        write(folder / "a.zarr", zarr_format)
        (folder / "a.zarr.lock").write_text(json.dumps(owner))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xsr.core.store.lock.BEAT_S", 0.001)  # in which an owner elsewhere shows that it lives
        yield folders


@contextmanager
def copied(store, key, content, folder):
    """A copy of the store with a damaged document."""
    target = folder / "copy"
    shutil.copytree(store, target)
    if key != "a.zarr.lock":
        (target / "a.zarr.lock").unlink()
    (target / key).write_bytes(content)
    try:
        yield target / "a.zarr"
    finally:
        shutil.rmtree(target)


@pytest.mark.parametrize("document", DOCUMENTS)
@examples(5)
@given(data=st.data())
def test_damaged_documents_of_a_store(stores, tmp_path_factory, document, data):
    zarr_format, key = DOCUMENTS[document]
    content = (stores[zarr_format] / key).read_bytes()
    kinds = damaged(content) if document == "page" else damaged(content) | damaged_json_text(json.loads(content))
    with copied(stores[zarr_format], key, data.draw(kinds), tmp_path_factory.mktemp("trial")) as path:
        refused_or(lambda: xsr.verify(path))
        refused_or(lambda: write(path, zarr_format, resume=True))
        refused_or(lambda: write(path, zarr_format, overwrite=True))
