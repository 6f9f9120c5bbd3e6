"""Stores of the first form, whose ledger was an array of Zarr in a group ``_xsr``: read like others, and adopted."""

import hashlib
from typing import Any

import numpy as np

from xsr.core.errors import StoreError
from xsr.core.store.header import Header, check_settings
from xsr.core.store.ledger import DONE, QUARANTINED, BadBlock, Blocks, Ledger, checksum, row_of
from xsr.core.store.place import Place, reason
from xsr.core.store.template import is_document, shapes_of

GROUP = "_xsr"
"""Group that held the ledger."""


def is_first_form(place: Place) -> bool:
    """Whether a store of the first form lies here."""
    return any(place.get(f"{GROUP}/{name}") is not None for name in ("zarr.json", ".zgroup"))


def read_first_form(place: Place) -> tuple[Header, Ledger, list[BadBlock]]:
    """Read a store of the first form.

    Returns
    -------
    tuple
        Header, in which metadata are as they lie there, since nothing was kept to compare them with; ledger; and the
        arrays not written block by block that contradict their checksums.

    Raises
    ------
    StoreError
        If its settings are none that xsr writes.
    """
    group = place.open("r")
    about = dict(group[GROUP].attrs)
    try:
        check_settings(about["settings"])
    except (KeyError, ValueError) as error:
        raise StoreError(
            f"{place.name}: the settings of the store in {GROUP} are damaged: {error}. Bring it back from a backup, or"
            " write the store anew."
        ) from error
    blocks = [_blocks(str(name), group[name]) for name in about["settings"]["variables"]]
    wrong = [bad for name, crc32 in about["crc32"].items() if (bad := _check_whole(group, name, crc32))]
    keys = [key for key in place.keys() if key.partition("/")[0] not in {GROUP, *(one.variable for one in blocks)}]
    keys += [key for one in blocks for key in _documents(place, one.variable)]
    contents = {key: place.get(key) or b"" for key in keys}
    header = Header(
        about["settings"],
        {one.variable: shapes_of(one) for one in blocks},
        {key: content.decode() for key, content in contents.items() if is_document(key)},
        {key: hashlib.sha256(content).hexdigest() for key, content in contents.items() if not is_document(key)},
        bool(group.attrs["xsr"]["complete"]),
        tuple(about.get("quarantined", [])),
    )
    return header, _ledger(place, header.fingerprint, group, blocks), wrong


def adopt_first_form(place: Place) -> None:
    """Give a store of the first form the header and ledger of today."""
    header, ledger, _ = read_first_form(place)
    for page in ledger.pages():
        ledger.write(*page)
    header.write(place)
    place.inside(GROUP).remove()


def _blocks(name: str, array: Any) -> Blocks:
    sides = array.shards or array.chunks
    sizes = zip(sides, array.shape, strict=True)
    return Blocks(name, tuple(tuple(min(side, n - at) for at in range(0, n, side)) for side, n in sizes))


def _documents(place: Place, name: str) -> list[str]:
    keys = [f"{name}/{document}" for document in ("zarr.json", ".zarray", ".zattrs")]
    return [key for key in keys if place.get(key) is not None]


def _check_whole(group: Any, name: str, crc32: int) -> BadBlock | None:
    try:
        values = np.asarray(group[name][...])
    except Exception as error:  # whatever a codec raises
        return BadBlock(name, (), f"cannot be read: {reason(error)}")
    return None if checksum(values) == crc32 else BadBlock(name, (), "values differ from the checksum in the ledger")


def _ledger(place: Place, fingerprint: str, group: Any, blocks: list[Blocks]) -> Ledger:
    """Rows: done, valid, clipped, crc32 and status, one object each; one that cannot be read is of an undone block."""
    array, first = group[f"{GROUP}/ledger"], 0
    ledger = Ledger.empty(place, fingerprint, blocks)
    for part in blocks:
        for number in range(len(part)):
            try:
                done, valid, clipped, crc32, status = (int(value) for value in array[first + number])
            except Exception:  # whatever a codec raises
                continue
            kind = DONE if done else QUARANTINED if status else 0
            ledger.take(part.variable, number, row_of(kind, crc32, valid, clipped))
        first += len(part)
    return ledger
