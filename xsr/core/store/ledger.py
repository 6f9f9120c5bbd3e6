"""Blocks of a store and the ledger: one row a block, kept once the block's bytes are down and were read back.

An all-NaN block leaves no object, so that a missing one does not mean an undone block; only the ledger knows. A block
that could not be computed is *quarantined*: it holds the fill value, and its row says so.

Rows lie in pages, objects of at most `PAGE` rows of 33 bytes each. Only the holder of the lock writes them: workers
return the rows of the blocks that they wrote. Every row has a check of its own, so that damage costs one block.
"""

import math
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.store.place import SIDE, Place

PAGE = 16_384
"""Rows of a page."""
OFTEN, SECONDS = 256, 1.0
"""Pages are written after so many new rows, or so many seconds, whichever comes first."""
READERS = 16
"""Pages read side by side."""
DONE, QUARANTINED = 1, 2
"""Status of a block that was written, and of one that could not be computed; 0 of one that is not done."""
ROW = np.dtype(
    [
        ("status", "u1"),
        ("crc32", "<u4"),
        ("valid", "<i8"),
        ("clipped", "<i8"),
        ("infinite", "<i8"),
        ("check", "<u4"),
    ]
)
"""A row: status, crc32 of the block's stored values in C order, pixels that are valid, that were clipped and that were
infinite, and the row's own check."""

Index = tuple[int, ...]


@dataclass(frozen=True)
class BadBlock:
    """A block, or another object of a store, that is missing, damaged or quarantined."""

    variable: str
    """Variable; the key of the object where it is no block."""
    index: Index
    """Number of the block along every dimension; empty for what is not written block by block."""
    reason: str

    def __str__(self) -> str:
        return f"{self.variable}{list(self.index) if self.index else ''}: {self.reason}"


@dataclass(frozen=True)
class Blocks:
    """The blocks of one variable; their rows in the ledger are numbered in C order."""

    variable: str
    sizes: tuple[tuple[int, ...], ...]
    """Sizes of the blocks along every dimension."""

    def __iter__(self) -> Iterator[Index]:
        return product(*(range(len(sizes)) for sizes in self.sizes))

    def __len__(self) -> int:
        return int(np.prod([len(sizes) for sizes in self.sizes]))

    def row(self, index: Index) -> int:
        """Row of a block in the ledger."""
        number = 0
        for at, sizes in zip(index, self.sizes, strict=True):
            number = number * len(sizes) + at
        return number

    def at(self, rows: Iterable[int]) -> list[Index]:
        """Blocks of some rows."""
        shape = tuple(len(sizes) for sizes in self.sizes)
        numbers = np.unravel_index(np.fromiter(rows, np.int64), shape)
        return list(zip(*(axis.tolist() for axis in numbers), strict=True))

    def region(self, index: Index) -> tuple[slice, ...]:
        """Pixels of a block; all but the last one along a dimension have one size."""
        sides = zip(index, self.sizes, strict=True)
        return tuple(slice(i * sizes[0], i * sizes[0] + sizes[i]) for i, sizes in sides)


def row_of(status: int, crc32: int = 0, valid: int = 0, clipped: int = 0, infinite: int = 0) -> NDArray[Any]:
    """Row of a block, without its check."""
    return np.array((status, crc32, valid, clipped, infinite, 0), ROW)


@dataclass
class Ledger:
    """Rows of all blocks of a store, and the pages that they are written to."""

    place: Place
    fingerprint: str
    """Settings of the store: rows must not be written into another store that took its place."""
    rows: dict[str, NDArray[Any]]
    """Rows of every variable, in C order of its blocks."""
    damaged: dict[str, list[int]] = field(default_factory=dict)
    """Rows that were read and contradict their check; they count as those of undone blocks."""
    _changed: set[tuple[str, int]] = field(default_factory=set)
    _unwritten: int = 0
    _written: float = -math.inf

    @classmethod
    def empty(cls, place: Place, fingerprint: str, blocks: Iterable[Blocks]) -> "Ledger":
        """Ledger in which no block is done; nothing is written."""
        return cls(place, fingerprint, {part.variable: np.zeros(len(part), ROW) for part in blocks})

    @classmethod
    def read(cls, place: Place, fingerprint: str, blocks: Iterable[Blocks]) -> "Ledger":
        """Read all pages; rows without a page are those of undone blocks."""
        ledger = cls.empty(place, fingerprint, blocks)
        pages = ledger.pages()
        with ThreadPoolExecutor(READERS) as pool:
            contents = pool.map(lambda page: place.get(_key(*page)), pages)
            for (name, number), content in zip(pages, contents, strict=True):
                ledger._take(name, number, content)
        return ledger

    def pages(self) -> list[tuple[str, int]]:
        """All pages, by variable and number."""
        return [(name, number) for name, rows in self.rows.items() for number in range(-(-len(rows) // PAGE))]

    def _take(self, name: str, number: int, content: bytes | None) -> None:
        """Take the rows of a page as far as it goes; one that contradicts its check is that of an undone block."""
        first, size = number * PAGE, ROW.itemsize
        rows = self.rows[name][first : first + PAGE]
        content = content or b""
        raw = [content[at : at + size] for at in range(0, min(len(content) // size, len(rows)) * size, size)]
        rows[: len(raw)] = np.frombuffer(b"".join(raw), ROW)
        for i, one in enumerate(raw):
            if any(one) and int.from_bytes(one[-4:], "little") != _check(name, first + i, one[:-4]):
                rows[i] = np.zeros((), ROW)
                self.damaged.setdefault(name, []).append(first + i)

    def record(self, name: str, number: int, row: NDArray[Any]) -> None:
        """Take a row that is written with others, once that is `due`."""
        self.take(name, number, row)
        self._changed.add((name, number // PAGE))
        self._unwritten += 1

    @property
    def due(self) -> bool:
        """Whether rows should be written by now."""
        return self._unwritten >= OFTEN or time.monotonic() - self._written >= SECONDS

    def take(self, name: str, number: int, row: NDArray[Any]) -> None:
        """Take a row, without writing it."""
        self.rows[name][number] = row
        self.rows[name]["check"][number] = _check(name, number, row.tobytes()[:-4])

    def flush(self) -> None:
        """Write the pages whose rows have changed.

        Raises
        ------
        StoreError
            If another store has taken the place of this one.
        """
        for page in sorted(self._changed):
            self.place.open_own(self.fingerprint)
            self.write(*page)
            self._changed.discard(page)
        self._unwritten, self._written = 0, time.monotonic()

    def write(self, name: str, number: int) -> None:
        """Write a page."""
        self.place.put(_key(name, number), self.rows[name][number * PAGE : (number + 1) * PAGE].tobytes())

    def differs(self, other: "Ledger") -> list[tuple[str, int]]:
        """Pages whose rows are not those of another ledger of the same blocks."""
        span = [(name, number, slice(number * PAGE, (number + 1) * PAGE)) for name, number in self.pages()]
        return [(name, number) for name, number, at in span if (self.rows[name][at] != other.rows[name][at]).any()]

    def undone(self, blocks: Blocks) -> list[Index]:
        """Blocks of a variable that are not done."""
        return blocks.at(np.flatnonzero(self.rows[blocks.variable]["status"] != DONE))

    @property
    def complete(self) -> bool:
        """Whether every block is done."""
        return all((rows["status"] == DONE).all() for rows in self.rows.values())

    def total(self, column: str, names: Sequence[str] | None = None) -> int:
        """Sum of a column over some variables, all by default."""
        return sum(int(self.rows[name][column].sum()) for name in (self.rows if names is None else names))

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.rows.values())


def _key(name: str, number: int) -> str:
    return f"{SIDE}/{name}/{number}"


def _check(name: str, number: int, content: bytes) -> int:
    """Check of a row's content, which is another one at another position."""
    return zlib.crc32(content, zlib.crc32(f"{name}:{number}".encode()))


def checksum(values: NDArray[Any]) -> int:
    """CRC-32 of values in C order; of their text where they are strings."""
    if values.dtype.kind in "OT":
        return zlib.crc32(repr(values.astype(object).tolist()).encode())
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
