"""Computing the blocks of a store that are not done, and what becomes of those that fail."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xsr.core import graph
from xsr.core.errors import ParameterError, StoreError
from xsr.core.store.ledger import CLIPPED, DONE, LEDGER, STATUS, BadBlock, BlockWriter, Index, read_ledger
from xsr.core.store.place import Place, reason, store_errors
from xsr.core.store.template import Prepared, finish, state

Errors = Literal["raise", "quarantine"]
HOPELESS = 8
"""Failed blocks after which a run ends if no other has succeeded: then it is not the blocks that are wrong."""


@dataclass
class Outcomes:
    """What became of the blocks of one run: sets failed ones aside, and ends a run that is hopeless."""

    writers: Mapping[str, BlockWriter]
    done: int = 0
    """Blocks computed and written."""
    failed: list[BadBlock] = field(default_factory=list)

    def written(self, key: graph.BlockKey, row: NDArray[np.int64]) -> None:
        """Take note of a block that was written, and its row of the ledger; see `xsr.core.graph.compute`."""
        self.done += 1

    def set_aside(self, key: graph.BlockKey, error: Exception) -> None:
        """Quarantine a block that failed; see `xsr.core.graph.compute`."""
        if isinstance(error, StoreError) or (not self.done and len(self.failed) + 1 >= HOPELESS):
            raise error
        self.writers[key.label].quarantine(key.index)
        self.failed.append(BadBlock(key.label, key.index, reason(error)))


def check_errors(errors: str) -> None:
    """Refuse an unknown policy."""
    if errors not in ("raise", "quarantine"):
        raise ParameterError(f"errors={errors!r}; expected 'raise' or 'quarantine'.")


def undone(writers: Mapping[str, BlockWriter], ledger: NDArray[np.int64]) -> dict[str, list[Index]]:
    """Blocks that the ledger does not list as done."""
    return {
        name: [index for index in writer.blocks if not ledger[writer.blocks.row(index), DONE]]
        for name, writer in writers.items()
    }


def write_blocks(
    prepared: Prepared, place: Place, todo: Mapping[str, Collection[Index]], *, errors: Errors, progress: bool
) -> Outcomes:
    """Compute and write some blocks of a store, then mark it as complete if all are done.

    Parameters
    ----------
    prepared
        Cube and settings.
    place
        Store with its template.
    todo
        Blocks of each variable.
    errors
        ``raise`` ends at the first block that fails. ``quarantine`` tries it once more, sets it aside and goes on.
    progress
        Show a progress bar.
    """
    writers = prepared.writers(place)
    outcomes = Outcomes(writers)
    tasks = [
        graph.block_tasks(writer, prepared.dataset[name].data, label=name, indices=todo[name])
        for name, writer in writers.items()
    ]
    set_aside = outcomes.set_aside if errors == "quarantine" else None
    graph.compute(tasks, progress=progress, done=outcomes.written, failed=set_aside)
    _finish(prepared, place, writers, outcomes.failed)
    return outcomes


def _finish(prepared: Prepared, place: Place, writers: Mapping[str, BlockWriter], failed: list[BadBlock]) -> None:
    with store_errors(place, "reading the ledger of"):
        group = place.open("r")
        ledger = read_ledger(group)
        known = {(e["variable"], tuple(e["index"])): e["reason"] for e in quarantined(group)}
    known.update({(bad.variable, bad.index): bad.reason for bad in failed})
    kept = [
        {"variable": name, "index": list(index), "reason": known.get((name, index), "quarantined")}
        for name, writer in writers.items()
        for index in writer.blocks
        if ledger[writer.blocks.row(index), STATUS]
    ]
    root: dict[str, Any] = state(prepared.fingerprint)
    if ledger[:, DONE].all():
        root |= {"complete": True, "clipped": int(ledger[:, CLIPPED].sum())}
    finish(place, root, kept)


def quarantined(group: Any) -> list[dict[str, Any]]:
    """Quarantined blocks and why, as the store lists them."""
    found: list[dict[str, Any]] = group[LEDGER].attrs.get("quarantined", [])
    return found
