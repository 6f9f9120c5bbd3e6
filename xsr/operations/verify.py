"""Checking a store against its ledger, and computing again what is damaged."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xsr.core.errors import StoreError
from xsr.core.sheet import Section, Sheet, Shown
from xsr.core.store.block import check_block
from xsr.core.store.first_form import adopt_first_form, is_first_form, read_first_form
from xsr.core.store.header import COPIES, Header, encode, read_header
from xsr.core.store.ledger import DONE, QUARANTINED, BadBlock, Blocks, Index, Ledger
from xsr.core.store.lock import locked
from xsr.core.store.objects import resolve_store
from xsr.core.store.outcome import bad_section
from xsr.core.store.overviews import SETTING
from xsr.core.store.parts import Part, made_of, rebuilt
from xsr.core.store.place import RETRY, SIDE, Place, StoreLike, in_group, resolve_place, store_errors
from xsr.core.store.template import prepare, template_of
from xsr.core.store.writing import compute_blocks, compute_levels, finish, wrong_documents
from xsr.core.types import XarrayObject

READERS = 4
"""Blocks read side by side."""


@dataclass(frozen=True, repr=False)
class VerifyReport(Shown):
    """What a store holds."""

    path: str
    blocks: int
    """Blocks of the store."""
    complete: bool
    """Whether the store is marked as complete."""
    bad: tuple[BadBlock, ...]
    """Blocks that are missing, damaged or quarantined."""
    repaired: tuple[BadBlock, ...] = ()
    """Blocks that were so, and are not any more."""

    @property
    def ok(self) -> bool:
        """Whether the store is complete and every block is what was written."""
        return self.complete and not self.bad

    def _sheet(self) -> Sheet:
        state = "every block is what was written" if self.ok else "damaged" if self.bad else "begun and not complete"
        sections = (
            Section("state", state, alert=not self.ok),
            Section("blocks", f"{self.blocks}"),
            *bad_section("bad", self.bad, "xsr.verify(path, repair=cube) computes them again"),
            *((Section("repaired", f"{len(self.repaired)} blocks"),) if self.repaired else ()),
        )
        return Sheet("xsr verify", self.path, sections)


def verify(
    path: StoreLike,
    *,
    repair: XarrayObject | None = None,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    input_id: str | None = None,
    force: bool = False,
    allow_clipping: bool = False,
    progress: bool = True,
) -> VerifyReport:
    """Read every block of a store written by `to_zarr` and compare it with the ledger.

    Parameters
    ----------
    path
        Folder or URL of the store; or a store object of Zarr, such as that of a session of icechunk.
    repair
        The cube that the store was made of: bad blocks are computed and written again. Blocks that cannot be computed
        stay quarantined.
    group
        Group of the store that was written.
    storage_options
        Options of fsspec where the path is a URL.
    input_id
        Name of the input, where `to_zarr` was given one.
    force
        Take the lock over from whoever holds it, who then stops; for ``repair``.
    allow_clipping
        As of `to_zarr`; for ``repair``.
    progress
        Show a progress bar of the repair.

    Returns
    -------
    VerifyReport
        Whether the store is complete, and its bad blocks.

    Raises
    ------
    StoreError
        If there is no store with a ledger at the path, or ``repair`` is another cube.

    Examples
    --------
    >>> from pathlib import Path
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32)).chunk(y=16, x=16)
    >>> report = cube.sr.to_zarr("damaged.zarr", progress=False)
    >>> block = max(Path("damaged.zarr/reflectance").glob("[0-9]*"))
    >>> _ = block.write_bytes(block.read_bytes()[:-1])
    >>> xsr.verify("damaged.zarr").ok
    False
    >>> xsr.verify("damaged.zarr", repair=cube, progress=False).ok
    True
    """
    root = resolve_store(path, storage_options, writes=repair is not None)
    place = in_group(root, group)
    if repair is None:
        return _check(place)
    with locked(root, force=force) as lease:
        place = lease.guarding(place)
        before = _check(place)
        _repair(place, repair, before, progress, input_id=input_id, allow_clipping=allow_clipping)
        after = _check(place)
    still = {(bad.variable, bad.index) for bad in after.bad}
    return replace(after, repaired=tuple(bad for bad in before.bad if (bad.variable, bad.index) not in still))


def commands_of(path: str | Path, *, group: str | None = None) -> list[dict[str, Any]]:
    """Arguments of the commands that made a store and its parts, each once; empty ones of what was made in Python."""
    place = in_group(resolve_place(path, None), group)
    with store_errors(place, "reading", remedy=RETRY):
        header, _, _ = _read(place)
    commands = [settings.get("command", {}) for settings in _all_settings(header)]
    return [one for number, one in enumerate(commands) if one not in commands[:number]]


def _all_settings(header: Header) -> list[dict[str, Any]]:
    """List the settings of the cubes that a store was written from."""
    return [part["settings"] for part in header.parts] or [header.settings]


def _check(place: Place) -> VerifyReport:
    with store_errors(place, "reading", remedy=RETRY):
        header, ledger, bad = _read(place)
        bad += wrong_documents(place, header) + _wrong_objects(place, header)
        group = _group(place)
        jobs = [(part, index) for part in header.blocks for index in part]
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(lambda job: _check_block(group, ledger, header, *job), jobs)
            bad += [entry for entry in found if entry is not None]
        return VerifyReport(place.name, len(ledger), header.complete, tuple(bad))


def _read(place: Place) -> tuple[Header, Ledger, list[BadBlock]]:
    """Read header and ledger, and what is wrong with them."""
    header, bad = read_header(place)
    if header is not None:
        return header, Ledger.read(place, header.fingerprint, header.blocks), bad
    if is_first_form(place):
        return read_first_form(place)
    what = "holds no ledger" if place.is_group() else "is not a Zarr group"
    raise StoreError(f"{place.path} {what}; expected a store written by to_zarr.")


def _group(place: Place) -> Any:
    """Group as users open it, with the metadata gathered at its root; None if it cannot be opened."""
    try:
        return place.open("r", use_consolidated=None)
    except Exception:  # whatever damaged metadata raise: each document is reported by itself
        return None


def _wrong_objects(place: Place, header: Header) -> list[BadBlock]:
    """Objects of arrays not written block by block that are not what was written, and those that were added."""
    nodes = {key.rpartition("/")[0] for key in header.documents} - {""}
    groups = {name for name in nodes if any(other.startswith(f"{name}/") for other in nodes)}
    arrays = nodes - groups - set(header.arrays)
    there = {key for name in arrays for key in place.keys(name) if not key.startswith(SIDE)}
    found = {key: place.get(key) for key in header.objects}
    differs = [key for key, content in found.items() if content is not None and _sha256(content) != header.objects[key]]
    return [
        *(BadBlock(key, (), "is missing") for key, content in found.items() if content is None),
        *(BadBlock(key, (), "differs from what was written") for key in differs),
        *(BadBlock(key, (), "was added") for key in sorted(there - set(header.objects) - set(header.documents))),
    ]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_block(group: Any, ledger: Ledger, header: Header, blocks: Blocks, index: Index) -> BadBlock | None:
    """Read a block back and compare it with its row."""
    name, number = blocks.variable, blocks.row(index)
    row = ledger.rows[name][number]
    if row["status"] == DONE:
        array = None if group is None or name not in group else group[name]
        return check_block(array, blocks, index, int(row["crc32"]))
    if row["status"] == QUARANTINED:
        why = [one["reason"] for one in header.quarantined if (one["variable"], tuple(one["index"])) == (name, index)]
        return BadBlock(name, index, f"quarantined: {why[0]}" if why else "quarantined")
    damaged = number in ledger.damaged.get(name, ())
    return BadBlock(name, index, "its row in the ledger is damaged" if damaged else "not done")


def _repair(place: Place, cube: XarrayObject, report: VerifyReport, progress: bool, **how: Any) -> None:
    """Bring back metadata and coordinates, compute bad blocks again."""
    with store_errors(place, "reading", remedy=RETRY):
        if is_first_form(place):
            adopt_first_form(place)
        header, ledger, _ = _read(place)
        count = header.settings.get(SETTING, 0)
        names = {name: name.removeprefix("0/") if count else name for name in header.arrays}
        blocks = {names[name]: one["block"] for name, one in header.arrays.items()}
        made = prepare(cube, **header.settings["packing"], **how, blocks=blocks, overviews=count)
        part = made_of(place, header, made)
        prepared = part.prepared
    with store_errors(place, "repairing"):
        _bring_back(place, header, part, [bad.variable for bad in report.bad if not bad.index])
    todo: dict[str, list[Index]] = {blocks.variable: [] for blocks in prepared.blocks}
    for bad in report.bad:
        index = part.holds(header, bad.variable, bad.index) if bad.index and bad.variable in todo else None
        if index is not None:
            todo[bad.variable].append(index)
    if prepared.levels:
        outcomes = compute_levels(prepared, ledger, todo, errors="quarantine", progress=progress)
    else:
        outcomes = compute_blocks(
            part.writers(header, place), prepared.sources(place), ledger, todo, errors="quarantine", progress=progress
        )
    finish(place, header, ledger, outcomes.failed)


def _bring_back(place: Place, header: Header, part: Part, keys: list[str]) -> None:
    """Write header, documents and objects as they were; what was added goes."""
    for key in keys:
        if key in COPIES:
            place.put(key, encode(header))
        elif key in header.documents:
            place.put(key, header.documents[key].encode())
        elif key not in header.objects and not key.startswith(SIDE):
            place.erase(key)
    lost = [key for key in keys if key in header.objects]
    if lost:
        for objects in (template_of(part.prepared).objects, rebuilt(place, header, part)):
            for key in lost:
                content = objects.get(key, b"")
                if _sha256(content) == header.objects[key]:
                    place.put(key, content)
