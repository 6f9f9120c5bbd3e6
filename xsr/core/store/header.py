"""Header of a store: the settings it was begun with, what its metadata and coordinates must be, and how far it is.

It lies twice beside the ledger, each copy with its own checksum, so that damage to one is found and mended.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from xsr.core.blocks import chunk_sizes
from xsr.core.errors import StoreError
from xsr.core.packing import StoredType
from xsr.core.store.ledger import BadBlock, Blocks
from xsr.core.store.place import SIDE, Place

COPIES = (f"{SIDE}/header.json", f"{SIDE}/header.copy.json")
"""Keys of the header."""
BLOCKS = 10_000_000
"""Most blocks of a store."""
SETTINGS = {"variables": dict, "grid": list, "crs": str, "encoding": dict, "packing": dict, "input": dict}
"""Settings that a store is continued by, and their types."""
FORM = {"dtype": (None, *get_args(StoredType)), "zarr_format": (2, 3)}
"""Values that a stored form may have; its ``inner_chunks`` is None or a number of pixels."""
FORMAT = 2
"""Version of the form of header and ledger; the first was a group ``_xsr`` of Zarr."""


@dataclass(frozen=True)
class Header:
    """What a store must be."""

    settings: dict[str, Any]
    """Everything that decides what the store holds; see `xsr.core.store.template.settings_of`."""
    arrays: dict[str, dict[str, list[int]]]
    """``shape`` of every variable that is written block by block, and ``block``, the shape of its blocks."""
    documents: dict[str, str]
    """Every metadata document by its key, as text."""
    objects: dict[str, str]
    """SHA-256 of every object of the other arrays, by its key."""
    complete: bool = False
    """Whether every block is done."""
    quarantined: tuple[dict[str, Any], ...] = ()
    """``variable``, ``index`` and ``reason`` of every block that could not be computed."""
    parts: tuple[dict[str, Any], ...] = ()
    """``region`` and ``settings`` of every cube that it was written from, the last one last; none if it was one."""

    @property
    def fingerprint(self) -> str:
        """Hash of the settings."""
        return fingerprint(self.settings)

    @property
    def blocks(self) -> list[Blocks]:
        """Blocks of every variable that is written block by block."""
        return [
            Blocks(name, tuple(chunk_sizes(n, side) for n, side in zip(one["shape"], one["block"], strict=True)))
            for name, one in self.arrays.items()
        ]

    def write(self, place: Place) -> None:
        """Write both copies."""
        for key in COPIES:
            place.put(key, encode(self))


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Hash of settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def encode(header: Header) -> bytes:
    """Header as it is written: one JSON document with a checksum."""
    body = json.dumps(asdict(header), sort_keys=True)
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f'{{"format": {FORMAT}, "header": {body}, "sha256": "{digest}"}}'.encode()


def decode(content: bytes) -> Header:
    """Read a header.

    Raises
    ------
    ValueError
        If it is none, or damaged.
    """
    try:
        found = json.loads(content)["header"]
        header = Header(**{**found, "quarantined": tuple(found["quarantined"]), "parts": tuple(found["parts"])})
        if encode(header) != content:
            raise ValueError("its content contradicts its checksum")
        _check(header)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no header: {error!r}") from error
    return header


def _check(header: Header) -> None:
    """Refuse a header that names objects outside its store, more blocks than a ledger is read for, or odd settings."""
    check_settings(header.settings)
    for part in header.parts:
        check_settings(part["settings"])
        for span in part["region"].values():
            start, stop = span
            if not (type(start) is type(stop) is int and 0 <= start < stop):
                raise ValueError(f"it has the region {part['region']}")
    names = [*header.arrays, *header.documents, *header.objects]
    outside = [name for name in names if {"", ".", ".."} & set(name.split("/")) or "\\" in name]
    if outside:
        raise ValueError(f"it names {outside[0]!r}, outside the store")
    blocks = 0
    for one in header.arrays.values():
        sides = list(zip(one["shape"], one["block"], strict=True))
        if any(not (0 < side <= n) for n, side in sides):
            raise ValueError(f"it has the shape {one['shape']} in blocks of {one['block']}")
        blocks += math.prod(-(-n // side) for n, side in sides)
    if blocks > BLOCKS:
        raise ValueError(f"it lists {blocks} blocks; {BLOCKS} at most are read")


def check_settings(settings: Any) -> None:
    """Refuse settings that no version of xsr writes, before any of them is used.

    Raises
    ------
    ValueError
        With the one that is wrong.
    """
    if not isinstance(settings, dict):
        raise ValueError("it has no settings by name")
    for name, kind in SETTINGS.items():
        if not isinstance(settings.get(name), kind):
            raise ValueError(f"its setting {name!r} is {settings.get(name)!r:.60}")
    form = settings["packing"]
    if form.keys() != {*FORM, "inner_chunks"}:
        raise ValueError(f"its stored form states {', '.join(map(repr, form))}")
    for name, known in FORM.items():
        if not any(form[name] is one or (type(form[name]) is type(one) and form[name] == one) for one in known):
            raise ValueError(f"its stored form has {name}={form[name]!r:.60}")
    inner = form["inner_chunks"]
    if inner is not None and (type(inner) is not int or inner < 1 or form["zarr_format"] == 2):
        raise ValueError(f"its stored form has inner_chunks={inner!r:.60} in format {form['zarr_format']}")


def read_header(place: Place) -> tuple[Header | None, list[BadBlock]]:
    """Read the header of a store.

    Returns
    -------
    tuple
        The header, from whichever copy is whole; None if there is no copy. And the copies that are missing or damaged.

    Raises
    ------
    StoreError
        If there are copies, all of them damaged.
    """
    contents = {key: place.get(key) for key in COPIES}
    if not any(content is not None for content in contents.values()):
        return None, []
    whole: list[Header] = []
    bad: list[BadBlock] = []
    for key, content in contents.items():
        try:
            whole.append(decode(content or b"null"))
        except ValueError as error:
            bad.append(BadBlock(key, (), "is missing" if content is None else f"is damaged: {error}"))
    if not whole:
        raise StoreError(
            f"{place.path}: the header of the store is damaged in both copies, {' and '.join(COPIES)}; the first"
            f" {bad[0].reason}. Bring back one of them from a backup, or write the store anew."
        )
    return whole[0], bad
