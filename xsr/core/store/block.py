"""Writing one block and reading it back; what workers do."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xsr.core.errors import StoreError
from xsr.core.packing import Encoder
from xsr.core.store.ledger import DONE, QUARANTINED, BadBlock, Blocks, Index, checksum, row_of
from xsr.core.store.place import ATTEMPTS, Place, reason, store_errors


@dataclass(frozen=True)
class BlockWriter:
    """Writes the blocks of one variable; travels to workers."""

    place: Place
    fingerprint: str
    """Settings of the store: a worker that lost touch must not write into another store that took its place."""
    blocks: Blocks
    encode: Encoder
    """Brings a block to its stored form."""
    zarr_format: Literal[2, 3] = 3
    origin: Index = ()
    """Block of the store that the first block of the cube is, where the cube is a part of it."""

    def shifted(self, first: int) -> "BlockWriter":
        """Writer of a cube that is a part of the store, by its first block along the first dimension."""
        return replace(self, origin=(first, *(0 for _ in self.blocks.sizes[1:])))

    def at(self, index: Index) -> Index:
        """Block of the store that a block of the cube is."""
        return tuple(first + n for first, n in zip(self.origin, index, strict=True)) if self.origin else index

    def row(self, index: Index) -> int:
        """Row in the ledger of a block of the cube."""
        return self.blocks.row(self.at(index))

    def __call__(self, block: NDArray[Any], index: Index) -> NDArray[Any]:
        """Write one block and read it back; returns its row of the ledger.

        Raises
        ------
        MemoryError
            If there is no memory to pack, compress or read the block.
        StoreError
            If it cannot be written, or not read back as it is.
        """
        index = self.at(index)
        try:
            return self._written(block, index)
        except MemoryError as error:
            raise MemoryError(
                f"block {list(index)} of {self.blocks.variable!r} does not fit into memory while it is written"
                f" ({error}). Use smaller chunks= (--chunks), or fewer workers or threads side by side (--workers)."
            ) from error

    def _written(self, block: NDArray[Any], index: Index) -> NDArray[Any]:
        stored = self.encode(block)
        crc32 = checksum(stored.numbers)
        with store_errors(self.place, f"writing block {list(index)} of {self.blocks.variable!r} to"):
            array = self._array()
            for _ in range(ATTEMPTS):
                self._write(array, index, stored.numbers)
                if self._holds(array, index, crc32):
                    return row_of(DONE, crc32, *stored[1:])
        raise StoreError(
            f"{self.place.path}: block {list(index)} of {self.blocks.variable!r} was written {ATTEMPTS} times and each"
            " time read back differently. Check the disk or object store, then go on with resume=True (--resume)."
        )

    def quarantine(self, index: Index) -> NDArray[Any]:
        """Give a block up: it holds the fill value; returns a row that says so."""
        index = self.at(index)
        with store_errors(self.place, f"writing block {list(index)} of {self.blocks.variable!r} to"):
            array = self._array()
            fill = np.zeros((), array.dtype)[()] if array.fill_value is None else array.fill_value
            self._write(array, index, fill)
        return row_of(QUARANTINED)

    def _array(self) -> Any:
        """Array to write to, of the store that was begun with these settings and is still locked."""
        self.place.require_held()
        return self.place.open_own(self.fingerprint, zarr_format=self.zarr_format)[self.blocks.variable]

    def _write(self, array: Any, index: Index, content: Any) -> None:
        try:
            array[self.blocks.region(index)] = content
        except Exception:  # whatever a codec raises: what lies there is damaged, and Zarr merges shards with it
            self.place.erase(f"{self.blocks.variable}/{array.metadata.encode_chunk_key(index)}")
            array[self.blocks.region(index)] = content

    def _holds(self, array: Any, index: Index, crc32: int) -> bool:
        """Whether a block is read with this checksum; a reading that fails is tried again."""
        return any(check_block(array, self.blocks, index, crc32) is None for _ in range(ATTEMPTS))


def check_block(array: Any, blocks: Blocks, index: Index, crc32: int) -> BadBlock | None:
    """Read a block and compare it with its checksum."""
    try:
        values = np.asarray(array[blocks.region(index)])
    except MemoryError:
        raise
    except Exception as error:  # whatever a codec raises
        return BadBlock(blocks.variable, index, f"cannot be read: {reason(error)}")
    same = checksum(values) == crc32
    return None if same else BadBlock(blocks.variable, index, "values differ from the checksum in the ledger")
