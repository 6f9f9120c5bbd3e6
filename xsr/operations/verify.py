"""Checking a store against its ledger, and computing again what is damaged."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xsr.core.errors import StoreError
from xsr.core.store.ledger import LEDGER, BadBlock, Index, check_block, check_whole, read_ledger, stored_blocks
from xsr.core.store.lock import locked
from xsr.core.store.place import RETRY, Place, resolve_place, store_errors
from xsr.core.store.template import prepare, require_same
from xsr.core.store.writing import Outcomes, quarantined, write_blocks
from xsr.core.types import XarrayObject

READERS = 4
"""Blocks read side by side."""


@dataclass(frozen=True)
class VerifyReport:
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


def verify(
    path: str | Path,
    *,
    repair: XarrayObject | None = None,
    storage_options: Mapping[str, Any] | None = None,
    input_id: str | None = None,
    force: bool = False,
    progress: bool = True,
) -> VerifyReport:
    """Read every block of a store written by `to_zarr` and compare it with the ledger.

    Parameters
    ----------
    path
        Folder or URL of the store.
    repair
        The cube that the store was made of: bad blocks are computed and written again. Blocks that cannot be computed
        stay quarantined.
    storage_options
        Options of fsspec where the path is a URL.
    input_id
        Name of the input, where `to_zarr` was given one.
    force
        Take the lock over from whoever holds it, who then stops; for ``repair``.
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
    >>> block = max(Path("damaged.zarr/reflectance/c").rglob("*"))
    >>> _ = block.write_bytes(block.read_bytes()[:-1])
    >>> xsr.verify("damaged.zarr").ok
    False
    >>> xsr.verify("damaged.zarr", repair=cube, progress=False).ok
    True
    """
    place = resolve_place(path, storage_options)
    if repair is None:
        return _check(place)
    with locked(place, force=force):
        before = _check(place)
        _repair(place, repair, before, input_id, progress)
        after = _check(place)
    still = {(bad.variable, bad.index) for bad in after.bad}
    return replace(after, repaired=tuple(bad for bad in before.bad if (bad.variable, bad.index) not in still))


def command_of(path: str | Path, *, storage_options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Arguments of the command that made a store; none if it was made in Python."""
    place = resolve_place(path, storage_options)
    with store_errors(place, "reading", remedy=RETRY):
        found: dict[str, Any] = _open(place)[LEDGER].attrs["settings"]["command"]
    return found


def _check(place: Place) -> VerifyReport:
    with store_errors(place, "reading", remedy=RETRY):
        group = _open(place)
        ledger = read_ledger(group)
        blocks = stored_blocks(group)
        why = {(entry["variable"], tuple(entry["index"])): entry["reason"] for entry in quarantined(group)}
        whole = [check_whole(group, name, crc) for name, crc in group[LEDGER].attrs["crc32"].items()]
        jobs = [(part, index) for part in blocks for index in part]
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(lambda job: check_block(group, job[0], job[1], ledger[job[0].row(job[1])]), jobs)
            bad = [entry for entry in (*whole, *found) if entry is not None]
        explained = [_explained(entry, why) for entry in bad]
        return VerifyReport(place.path, len(ledger), bool(group.attrs["xsr"]["complete"]), tuple(explained))


def _explained(bad: BadBlock, why: Mapping[tuple[str, Index], str]) -> BadBlock:
    cause = why.get((bad.variable, bad.index))
    return replace(bad, reason=f"quarantined: {cause}") if bad.reason == "quarantined" and cause else bad


def _open(place: Place) -> Any:
    if not place.is_group():
        raise StoreError(f"{place.path} is not a Zarr group; expected a store written by to_zarr.")
    group = place.open("r")
    if LEDGER not in group or "xsr" not in group.attrs:
        raise StoreError(f"{place.path} holds no ledger; expected a store written by to_zarr.")
    return group


def _repair(place: Place, cube: XarrayObject, report: VerifyReport, input_id: str | None, progress: bool) -> Outcomes:
    with store_errors(place, "reading", remedy=RETRY):
        group = place.open("r")
        prepared = prepare(cube, **group[LEDGER].attrs["settings"]["packing"], input_id=input_id)
        require_same(group, place.path, prepared.settings)
    todo: dict[str, list[Index]] = {str(name): [] for name in prepared.encoding}
    for bad in report.bad:
        if bad.index:
            todo[bad.variable].append(bad.index)
    return write_blocks(prepared, place, todo, errors="quarantine", progress=progress)
