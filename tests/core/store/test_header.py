"""The header of a store."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models.helpers import make_cube

import xsr
from xsr.core.errors import StoreError
from xsr.core.store.header import COPIES, Header, decode, encode, read_header
from xsr.core.store.place import Place

SETTINGS = {
    **{
        "version": "1",
        "variables": {},
        "grid": [0.1, -10.0],
        "crs": "EPSG:32631",
        "encoding": {},
        "input": {"id": "a"},
    },
    "packing": {"dtype": None, "zarr_format": 3, "inner_chunks": 256},
}
HEADER = Header(
    SETTINGS,
    {"image": {"shape": [1, 25], "block": [1, 10]}},
    {"zarr.json": '{"a": "é"}'},
    {"x/c/0": "00ff"},
    quarantined=({"variable": "image", "index": [0, 2], "reason": "broken"},),
)


@pytest.fixture
def place(tmp_path):
    return Place(str(tmp_path))


def test_what_is_written_is_read(place):
    assert read_header(place) == (None, [])
    HEADER.write(place)
    assert read_header(place) == (HEADER, [])
    assert [(part.variable, part.sizes) for part in HEADER.blocks] == [("image", ((1,), (10, 10, 5)))]


@given(st.data())
def test_any_flipped_bit_is_found(data):
    content = bytearray(encode(HEADER))
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError):  # noqa: PT011 decoders of text and JSON raise others of its kind
        decode(bytes(content))


@pytest.mark.parametrize("damaged", COPIES)
@pytest.mark.parametrize("how", [lambda content: content[:-3], lambda content: b"", lambda content: b"[]"])
def test_one_copy_is_enough(place, damaged, how):
    HEADER.write(place)
    place.put(damaged, how(place.get(damaged)))
    found, bad = read_header(place)
    assert found == HEADER
    assert [(one.variable, one.index) for one in bad] == [(damaged, ())]


def test_a_missing_copy_is_named(place):
    HEADER.write(place)
    place.erase(COPIES[0])
    found, bad = read_header(place)
    assert (found, [str(one) for one in bad]) == (HEADER, [f"{COPIES[0]}: is missing"])


def test_no_copy_is_whole(place):
    for key in COPIES:
        place.put(key, b"{}")
    with pytest.raises(StoreError, match=r"damaged in both copies.*backup"):
        read_header(place)


@pytest.mark.parametrize(
    "hostile",
    [
        {"arrays": {"../../x": {"shape": [1], "block": [1]}}},
        {"arrays": {"/etc": {"shape": [1], "block": [1]}}},
        {"arrays": {"a\\..\\x": {"shape": [1], "block": [1]}}},
        {"arrays": {"x": {"shape": [10**12], "block": [1]}}},
        {"arrays": {"x": {"shape": [10], "block": [0]}}},
        {"arrays": {"x": {"shape": [10], "block": [-1]}}},
        {"arrays": {"x": {"shape": [10]}}},
        {"documents": {"a/../../b": "{}"}},
        {"objects": {"..": ""}},
        {"settings": {}},
        {"settings": []},
        *(
            {"settings": {name: one for name, one in SETTINGS.items() if name != left}}
            for left in SETTINGS
            if left != "version"
        ),
        *({"settings": {**SETTINGS, name: 3}} for name in SETTINGS if name != "version"),
        {"parts": ({"region": {}, "settings": {}},)},
        {"parts": ({"region": {"time": [3, 1]}, "settings": SETTINGS},)},
        {"parts": ({"region": {"time": [0, "1"]}, "settings": SETTINGS},)},
        {"parts": ({"region": {"time": 1}, "settings": SETTINGS},)},
        {"parts": ({"settings": SETTINGS},)},
        {"parts": ("all",)},
    ],
    ids=str,
)
def test_a_hostile_header_is_refused(hostile):
    with pytest.raises(ValueError, match=r"its? "):
        decode(encode(replace(HEADER, **hostile)))


@pytest.mark.parametrize(
    "form",
    [
        {"surprise": 1},
        {"cube": None},
        {"dtype": "int8"},
        {"dtype": []},
        {"zarr_format": 4},
        {"zarr_format": "3"},
        {"zarr_format": True},
        {"zarr_format": 2},
        {"inner_chunks": 0},
        {"inner_chunks": "256"},
        {"inner_chunks": True},
        {"inner_chunks": 1.5},
        {"inner_chunks": [256]},
    ],
    ids=str,
)
def test_a_hostile_stored_form_is_refused(form, tmp_path):
    cube = make_cube(8, 8).chunk(x=4, y=4)
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    place = Place(str(tmp_path / "a.zarr"))
    header, _ = read_header(place)
    settings = {**header.settings, "packing": {**SETTINGS["packing"], **form}}
    replace(header, settings=settings).write(place)
    for job in (
        lambda: xsr.verify(tmp_path / "a.zarr"),
        lambda: xsr.verify(tmp_path / "a.zarr", repair=cube),
        lambda: xsr.to_zarr(cube, tmp_path / "a.zarr", mode="r+"),
        lambda: xsr.to_zarr(cube, tmp_path / "a.zarr", append_dim="time"),
        lambda: xsr.to_zarr(cube, tmp_path / "a.zarr", resume=True),
    ):
        with pytest.raises(StoreError, match=r"damaged in both copies.* is damaged: its stored form (states|has) "):
            job()


@pytest.mark.parametrize("content", [b"null", b"[]", b"{}", b'{"header": 3}', b'{"header": {"settings": 1}}', b"\xff"])
def test_what_is_no_header(content):
    with pytest.raises(ValueError):  # noqa: PT011 decoders of text and JSON raise others of its kind
        decode(content)
    with pytest.raises(ValueError):  # noqa: PT011
        decode(b"[" * 100_000)


def test_it_is_json():
    assert json.loads(encode(HEADER))["header"]["documents"] == HEADER.documents
