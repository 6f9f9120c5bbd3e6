"""Objects of a place, on stores that lose or damage some of what they take."""

import pytest
from zarr.buffer.cpu import Buffer
from zarr.storage import MemoryStore

from xsr.core.errors import ParameterError, StoreError
from xsr.core.store.objects import StoreObject
from xsr.core.store.place import Place, resolve_place


class Lying(MemoryStore):
    """Says that it has taken every object; some it has lost, cut or changed."""

    def __init__(self, faults):
        super().__init__()
        self.faults = iter(faults)

    async def set(self, key, value, byte_range=None):
        content = value.to_bytes()
        kept = {"lost": None, "cut": content[:-1], "flipped": bytes([content[0] ^ 1]) + content[1:]}
        found = kept.get(next(self.faults, ""), content)
        if found is not None:
            await super().set(key, Buffer.from_bytes(found))


@pytest.mark.parametrize("faults", [[], ["lost"], ["cut", "flipped"], ["", "lost"]], ids=str)
def test_what_was_put_is_there(faults):
    place = StoreObject("memory", store=Lying(faults))
    place.put("a", b"content")
    assert place.get("a") == b"content"
    place.put("b", b"other")
    assert place.get("b") == b"other"
    assert place.keys() == ["a", "b"]


def test_a_store_that_never_keeps_what_it_takes():
    place = StoreObject("memory", store=Lying(["lost", "cut", "flipped"]))
    with pytest.raises(StoreError, match=r"a was written 3 times and each time read back differently"):
        place.put("a", b"content")


def test_what_is_not_there(tmp_path):
    place = Place(str(tmp_path / "none"))
    assert (place.get("a"), place.keys(), place.is_group(), place.is_taken()) == (None, [], False, False)
    place.erase("a")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("a/b.zarr/", "a/b.zarr"),
        ("file:///a/b%20c.zarr", "/a/b c.zarr"),
        ("s3://bucket/a.zarr", "s3://bucket/a.zarr"),
        ("~/a.zarr", "/users/me/a.zarr"),
    ],
)
def test_paths(given, path, monkeypatch):
    monkeypatch.setenv("HOME", "/users/me")
    assert resolve_place(given, None).path == path


def test_options_of_a_folder():
    with pytest.raises(ParameterError, match="a local path"):
        resolve_place("file:///a", {"key": "a"})


def test_an_object_is_shared_under_both_names_until_one_is_written_again(tmp_path):
    one, two = Place(str(tmp_path / "one")), Place(str(tmp_path / "two"))
    one.put("c/0", b"old")
    for _ in range(2):
        one.share("c/0", two, "c/1")
        one.share("c/9", two, "c/9")
    assert (tmp_path / "one/c/0").stat().st_ino == (tmp_path / "two/c/1").stat().st_ino
    one.put("c/0", b"new")
    assert two.get("c/1") == b"old"
    assert two.get("c/9") is None
