"""Blocks of a store and the ledger: one row a block, written after the block's bytes are down.

An all-NaN block leaves no file, so that a missing file does not mean an undone block; only the ledger knows. A block
that could not be computed is *quarantined*: it holds the fill value, and its row says so.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xsr.core.errors import StoreError
from xsr.core.packing import Encoder
from xsr.core.store.place import Place, reason, store_errors

LEDGER = "_xsr"
"""Name of the group that holds the ledger."""
COLUMNS = ("done", "n_valid", "n_clipped", "crc32", "status", "n_infinite")
"""Columns of the ledger; ``crc32`` is that of the block's stored values in C order."""
DONE, VALID, CLIPPED, CRC32, STATUS, INFINITE = range(len(COLUMNS))
QUARANTINED = 1
"""Status of a block that could not be computed; 0 otherwise."""

Index = tuple[int, ...]


@dataclass(frozen=True)
class BadBlock:
    """A block that is missing, damaged or quarantined."""

    variable: str
    index: Index
    """Number of the block along every dimension; empty for an array that is read as a whole."""
    reason: str

    def __str__(self) -> str:
        return f"{self.variable}{list(self.index)}: {self.reason}"


@dataclass(frozen=True)
class Blocks:
    """The blocks of one variable, and their rows in the ledger."""

    variable: str
    first: int
    """Ledger row of the first block."""
    sizes: tuple[tuple[int, ...], ...]
    """Sizes of the blocks along every dimension."""

    def __iter__(self) -> Iterator[Index]:
        return product(*(range(len(sizes)) for sizes in self.sizes))

    def __len__(self) -> int:
        return int(np.prod([len(sizes) for sizes in self.sizes]))

    @property
    def rows(self) -> range:
        """Rows of all blocks in the ledger."""
        return range(self.first, self.first + len(self))

    def row(self, index: Index) -> int:
        """Row of a block in the ledger."""
        return self.first + int(np.ravel_multi_index(index, tuple(len(sizes) for sizes in self.sizes)))

    def region(self, index: Index) -> tuple[slice, ...]:
        """Pixels of a block."""
        starts = (sum(sizes[:i]) for sizes, i in zip(self.sizes, index, strict=True))
        return tuple(slice(a, a + sizes[i]) for a, sizes, i in zip(starts, self.sizes, index, strict=True))


@dataclass(frozen=True)
class BlockWriter:
    """Writes the blocks of one variable; travels to workers."""

    place: Place
    fingerprint: str
    """Settings of the store: a worker that lost touch must not write into another store that took its place."""
    blocks: Blocks
    encode: Encoder
    """Stored form of a block."""
    zarr_format: Literal[2, 3] = 3

    def __call__(self, block: NDArray[Any], index: Index) -> NDArray[np.int64]:
        """Write one block, then its ledger row; returns the row."""
        stored = self.encode(block)
        row = [1, stored.valid, stored.clipped, checksum(stored.numbers), 0, stored.infinite]
        return self._write(index, stored.numbers, row)

    def quarantine(self, index: Index) -> None:
        """Give a block up: fill value, and a row that says so."""
        self._write(index, None, [0, 0, 0, 0, QUARANTINED, 0])

    def _write(self, index: Index, values: NDArray[Any] | None, numbers: Sequence[int]) -> NDArray[np.int64]:
        row = np.array(numbers, np.int64)
        with store_errors(self.place, f"writing block {list(index)} of {self.blocks.variable!r} to"):
            group = self.place.open(zarr_format=self.zarr_format)
            found = group.attrs["xsr"]["fingerprint"]
            if found != self.fingerprint:
                raise StoreError(f"{self.place.path} was replaced by another store while it was being written. Stop.")
            array = group[self.blocks.variable]
            content = array.fill_value if values is None else values
            try:
                array[self.blocks.region(index)] = content
            except Exception:  # whatever a codec raises: what lies there is damaged, and Zarr merges shards with it
                self.place.erase(f"{self.blocks.variable}/{array.metadata.encode_chunk_key(index)}")
                array[self.blocks.region(index)] = content
            ledger = group[f"{LEDGER}/ledger"]
            ledger[self.blocks.row(index)] = row[: ledger.shape[1]]
        return row


def checksum(values: NDArray[Any]) -> int:
    """CRC-32 of values in C order; of their text where they are strings."""
    if values.dtype.kind in "OT":
        return zlib.crc32(repr(values.astype(object).tolist()).encode())
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def create_ledger(group: Any, blocks: int, about: Mapping[str, Any]) -> None:
    """Write an empty ledger, one object a row."""
    ledger = group.create_group(LEDGER)
    ledger.attrs.update({**about, "columns": list(COLUMNS)})
    shape = (blocks, len(COLUMNS))
    ledger.create_array("ledger", shape=shape, chunks=(1, len(COLUMNS)), dtype="int64", fill_value=0)


def read_ledger(group: Any) -> NDArray[np.int64]:
    """Read all rows; a row that cannot be read is that of an undone block. Columns that a store lacks are 0."""
    ledger = group[f"{LEDGER}/ledger"]
    rows = np.zeros((ledger.shape[0], len(COLUMNS)), np.int64)
    try:
        rows[:, : ledger.shape[1]] = ledger[:]
    except Exception:  # whatever a codec raises
        for number, row in enumerate(rows):
            row[: ledger.shape[1]] = _read_row(ledger, number)
    return rows


def _read_row(ledger: Any, number: int) -> NDArray[np.int64]:
    try:
        return np.asarray(ledger[number], np.int64)
    except Exception:  # whatever a codec raises
        return np.zeros(ledger.shape[1], np.int64)


def stored_blocks(group: Any) -> list[Blocks]:
    """Blocks of every variable of a store."""
    found, first = [], 0
    for name in group[LEDGER].attrs["settings"]["variables"]:
        array = group[name]
        sides = array.shards or array.chunks
        sizes = tuple(
            tuple(min(side, length - at) for at in range(0, length, side))
            for side, length in zip(sides, array.shape, strict=True)
        )
        found.append(Blocks(name, first, sizes))
        first += len(found[-1])
    return found


def check_block(group: Any, blocks: Blocks, index: Index, row: NDArray[np.int64]) -> BadBlock | None:
    """Read a block back and compare it with its row."""
    if not row[DONE]:
        status = "quarantined" if row[STATUS] == QUARANTINED else "not done"
        return BadBlock(blocks.variable, index, status)
    try:
        values = np.asarray(group[blocks.variable][blocks.region(index)])
    except Exception as error:  # whatever a codec raises
        return BadBlock(blocks.variable, index, f"cannot be read: {reason(error)}")
    same = checksum(values) == int(row[CRC32])
    return None if same else BadBlock(blocks.variable, index, "values differ from the checksum in the ledger")


def check_whole(group: Any, name: str, crc: int) -> BadBlock | None:
    """Read an array that is not written block by block, a coordinate for instance, and compare it with its checksum."""
    try:
        values = np.asarray(group[name][...])
    except Exception as error:  # whatever a codec raises
        return BadBlock(name, (), f"cannot be read: {reason(error)}")
    return None if checksum(values) == crc else BadBlock(name, (), "values differ from the checksum in the ledger")
