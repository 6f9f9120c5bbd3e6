"""Rows of blocks, pages of rows."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsr.core.blocks import chunk_sizes
from xsr.core.store import ledger as module
from xsr.core.store.ledger import DONE, PAGE, QUARANTINED, ROW, Blocks, Ledger, checksum, row_of
from xsr.core.store.place import Place


class Open(Place):
    """A place that belongs to every store."""

    def open_own(self, fingerprint, *, zarr_format=None):
        return None


@pytest.fixture
def place(tmp_path):
    return Open(str(tmp_path / "a.zarr"))


def blocks_of(count, name="image"):
    return Blocks(name, ((1,) * count,))


def ledger(place, count=10):
    return Ledger.read(place, "print", [blocks_of(count)])


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), min_size=1, max_size=4))
def test_rows_are_numbered_in_c_order(axes):
    blocks = Blocks("image", tuple(chunk_sizes(n, side) for n, side in axes))
    shape = [len(sizes) for sizes in blocks.sizes]
    assert [blocks.row(index) for index in blocks] == list(range(len(blocks)))
    assert list(blocks) == list(itertools.product(*(range(n) for n in shape)))
    assert blocks.at(range(len(blocks))) == list(blocks)
    whole = np.zeros([n for n, _ in axes], int)
    for index in blocks:
        whole[blocks.region(index)] += 1
    assert (whole == 1).all()


def test_a_row_by_hand(place):
    book = ledger(place)
    book.record("image", 3, row_of(DONE, crc32=7, valid=5, clipped=2, infinite=1))
    assert book.due
    book.flush()
    content = place.get("spatial_ref/_xsr/image/0")
    assert len(content) == 10 * 33
    row = content[99:132]
    assert row[:29] == b"\x01" + (7).to_bytes(4, "little") + b"".join(n.to_bytes(8, "little") for n in (5, 2, 1))
    assert content[:99] + content[132:] == bytes(9 * 33)
    found = ledger(place)
    assert found.rows["image"][3].tolist()[:5] == (DONE, 7, 5, 2, 1)
    assert (found.total("valid"), found.total("clipped"), found.complete) == (5, 2, False)
    assert found.undone(blocks_of(10)) == [(n,) for n in range(10) if n != 3]


def test_rows_are_written_together(place, monkeypatch):
    puts, real = [], Place.put
    monkeypatch.setattr(Place, "put", lambda self, key, content: (puts.append(key), real(self, key, content)))
    monkeypatch.setattr(module, "SECONDS", 1e9)
    book = ledger(place, 3 * PAGE)
    for number in range(3 * PAGE):
        book.record("image", number, row_of(DONE))
        if book.due:
            book.flush()
    assert len(puts) <= 3 * PAGE / 256 + 3
    book.flush()
    assert ledger(place, 3 * PAGE).complete
    assert sorted(set(puts)) == [f"spatial_ref/_xsr/image/{page}" for page in range(3)]
    before = len(puts)
    book.flush()
    assert len(puts) == before


@given(st.integers(0, 10 * 33 * 8 - 1))
def test_a_flipped_bit_costs_one_row(tmp_path_factory, bit):
    place = Open(str(tmp_path_factory.mktemp("flip")))
    book = ledger(place)
    for number in range(10):
        book.record("image", number, row_of(DONE, crc32=number, valid=number))
    book.flush()
    key = "spatial_ref/_xsr/image/0"
    content = bytearray(place.get(key))
    content[bit // 8] ^= 1 << bit % 8
    place.put(key, bytes(content))
    found, row = ledger(place), bit // 8 // 33
    assert found.damaged == {"image": [row]}
    assert found.undone(blocks_of(10)) == [(row,)]
    assert found.differs(book) == [("image", 0)]


def test_pages_and_rows_in_each_others_place_are_damaged(place):
    book = Ledger.read(place, "print", [blocks_of(2, "one"), blocks_of(2, "two")])
    book.record("one", 0, row_of(DONE, crc32=1))
    book.flush()
    content = place.get("spatial_ref/_xsr/one/0")
    place.put("spatial_ref/_xsr/two/0", content)
    place.put("spatial_ref/_xsr/one/0", content[33:] + content[:33])
    found = Ledger.read(place, "print", [blocks_of(2, "one"), blocks_of(2, "two")])
    assert found.damaged == {"one": [1], "two": [0]}


@pytest.mark.parametrize("length", [0, 32, 33, 40, 329])
def test_rows_that_were_cut_off_are_those_of_undone_blocks(place, length):
    book = ledger(place)
    for number in range(10):
        book.record("image", number, row_of(DONE))
    book.flush()
    key = "spatial_ref/_xsr/image/0"
    place.put(key, place.get(key)[:length])
    assert ledger(place).undone(blocks_of(10)) == [(n,) for n in range(length // 33, 10)]


def test_quarantined_blocks_are_not_done(place):
    book = ledger(place, 2)
    book.record("image", 0, row_of(QUARANTINED))
    book.record("image", 1, row_of(DONE))
    assert (book.complete, book.undone(blocks_of(2))) == (False, [(0,)])


def test_a_row_is_33_bytes():
    assert ROW.itemsize == 33


def test_checksums_of_text_and_numbers():
    import zlib

    values = np.arange(6, dtype=np.int16).reshape(2, 3)
    assert checksum(values) == zlib.crc32(values.tobytes())
    assert checksum(values.T) == zlib.crc32(values.T.copy().tobytes())
    assert checksum(np.array(["a", "b"], object)) != checksum(np.array(["a", "c"], object))
