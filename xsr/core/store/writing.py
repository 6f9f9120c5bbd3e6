"""Computing the blocks of a store that are not done, and what becomes of those that fail."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from xsr._version import __version__
from xsr.core import graph
from xsr.core.errors import ParameterError, StoreError, discreet
from xsr.core.store.block import BlockWriter
from xsr.core.store.forks import received, sent
from xsr.core.store.header import COPIES, Header, encode, read_header
from xsr.core.store.ledger import DONE, QUARANTINED, BadBlock, Blocks, Index, Ledger
from xsr.core.store.place import Place, reason, store_errors
from xsr.core.store.template import Prepared, with_state

Errors = Literal["raise", "quarantine"]
HOPELESS = 8
"""Failed blocks after which a run ends if no other has succeeded: then it is not the blocks that are wrong."""


@dataclass
class Outcomes:
    """What became of the blocks of one run: keeps their rows, sets failed ones aside, and ends a hopeless run."""

    writers: Mapping[str, BlockWriter]
    ledger: Ledger
    done: int = 0
    """Blocks computed and written."""
    failed: list[BadBlock] = field(default_factory=list)

    def succeed(self, key: graph.BlockKey, row: Any) -> None:
        """Take note of a block that was written."""
        self.done += 1
        self._record(key, received(self.writers[key.label], key.index, row))

    def fail(self, key: graph.BlockKey, error: Exception) -> None:
        """Take note of a block that could not be computed."""
        if isinstance(error, StoreError) or (not self.done and len(self.failed) + 1 >= HOPELESS):
            raise error
        self._record(key, self.writers[key.label].quarantine(key.index))
        self.failed.append(BadBlock(key.label, self.writers[key.label].at(key.index), reason(error)))

    def _record(self, key: graph.BlockKey, row: Any) -> None:
        self.ledger.record(key.label, self.writers[key.label].row(key.index), row)
        if self.ledger.due:
            with store_errors(self.ledger.place, "writing the ledger of"):
                self.ledger.flush()


def check_errors(errors: str) -> None:
    """Refuse an unknown policy."""
    if errors not in ("raise", "quarantine"):
        raise ParameterError(f"errors={errors!r}; expected 'raise' or 'quarantine'.")


def write_blocks(
    prepared: Prepared,
    header: Header,
    ledger: Ledger,
    todo: Mapping[str, Collection[Index]],
    *,
    errors: Errors,
    progress: bool,
) -> Outcomes:
    """Compute and write some blocks of a store, then mark it as complete if all are done.

    Parameters
    ----------
    prepared
        Cube and settings.
    header, ledger
        Of the store, which has its template.
    todo
        Blocks of each variable.
    errors
        ``raise`` ends at the first block that fails. ``quarantine`` tries it once more, sets it aside and goes on.
    progress
        Show a progress bar.
    """
    if header.complete and not any(todo.values()):
        return Outcomes(prepared.writers(ledger.place), ledger)
    outcomes = compute_levels(prepared, ledger, todo, errors=errors, progress=progress)
    finish(ledger.place, header, ledger, outcomes.failed)
    return outcomes


def compute_levels(
    prepared: Prepared, ledger: Ledger, todo: Mapping[str, Collection[Index]], *, errors: Errors, progress: bool
) -> Outcomes:
    """Compute and write some blocks of a store level by level: overviews are made of what was written.

    A block of an overview waits for another run where one that it is made of could not be computed.
    """
    place = ledger.place
    writers, arrays = prepared.writers(place), prepared.sources(place)
    outcomes = Outcomes(writers, ledger)
    finer: dict[str, Blocks] = {}
    for stage in prepared.stages:
        names = [part.variable for part in stage]
        ready = {part.variable: _ready(prepared, ledger, part, finer, todo[part.variable]) for part in stage}
        own = {name: writers[name] for name in names}
        found = compute_blocks(own, arrays, ledger, ready, errors=errors, progress=progress)
        outcomes.done += found.done
        outcomes.failed += found.failed
        finer = {part.variable: part for part in stage}
    return outcomes


def _ready(
    prepared: Prepared, ledger: Ledger, part: Blocks, finer: Mapping[str, Blocks], wanted: Collection[Index]
) -> Collection[Index]:
    """Blocks whose sources in the finer level are done; all of the image."""
    if not finer:
        return wanted
    halving = prepared.halving(ledger.place, part)
    source = finer[halving.source]
    done = ledger.rows[source.variable]["status"] == DONE
    return [index for index in wanted if all(done[source.row(one)] for one in halving.needs(index, source))]


def compute_blocks(
    writers: Mapping[str, BlockWriter],
    arrays: Mapping[str, Any],
    ledger: Ledger,
    todo: Mapping[str, Collection[Index]],
    *,
    errors: Errors,
    progress: bool,
) -> Outcomes:
    """Compute and write some blocks of a store and keep their rows; the store is not finished.

    Parameters
    ----------
    writers, arrays
        Writer of each variable, and the Dask array whose chunks it is given.
    ledger
        Of the store.
    todo
        Chunks of each array.
    errors, progress
        As of `write_blocks`.
    """
    place = ledger.place
    outcomes = Outcomes(writers, ledger)
    tasks = [
        graph.block_tasks(sent(writer), arrays[name], label=name, indices=todo[name])
        for name, writer in writers.items()
    ]
    try:
        with discreet(place.path, place.options):
            graph.compute(
                tasks,
                progress=progress,
                done=outcomes.succeed,
                failed=outcomes.fail if errors == "quarantine" else None,
            )
    except BaseException:
        with suppress(Exception):  # a full disk may take no rows either: their blocks are computed once more
            ledger.flush()
        raise
    return outcomes


def finish(place: Place, header: Header, ledger: Ledger, failed: Collection[BadBlock] = ()) -> None:
    """Write what is left of the ledger, then documents and header in their new state, and read all of it back.

    Raises
    ------
    StoreError
        If the store does not hold what was written.
    """
    with store_errors(place, "finishing"):
        place.open_own(header.fingerprint)
        place.sweep()
        ledger.flush()
        _read_back(place, header, ledger)
        known = {(one["variable"], tuple(one["index"])): one["reason"] for one in header.quarantined}
        known.update({(bad.variable, bad.index): bad.reason for bad in failed})
        ended = replace(
            header,
            documents=with_state(header.documents, state_of(header, ledger)),
            complete=ledger.complete,
            quarantined=_quarantined(header, ledger, known),
        )
        for key, text in ended.documents.items():
            if "/" not in key:
                _require_own(place, header)
                place.put(key, text.encode())
        _require_own(place, header)
        for key in COPIES:
            place.open_own(header.fingerprint)
            place.put(key, encode(ended))
        found, bad = read_header(place)
        bad += wrong_documents(place, ended)
        if bad or found != ended:
            raise StoreError(f"{place.path} was written, but not all of it was read back as it is: {bad}.")


def _require_own(place: Place, header: Header) -> None:
    """Refuse to go on where another store lies: by its root, and by the header, since this writes the root itself."""
    place.open_own(header.fingerprint)
    found = read_header(place)[0]
    if found is None or encode(found) != encode(header):
        raise StoreError(f"{place.name} was replaced by another store while it was being written. Stop.")


def state_of(header: Header, ledger: Ledger) -> dict[str, Any]:
    """Root attribute ``xsr`` of a store whose run has ended."""
    state: dict[str, Any] = {"version": __version__, "fingerprint": header.fingerprint, "complete": ledger.complete}
    return state | ({"clipped": ledger.total("clipped")} if ledger.complete else {})


def _read_back(place: Place, header: Header, ledger: Ledger) -> None:
    """Read the ledger; what is not there as it should be is written once more, then the store is at fault."""
    for name, number in ledger.differs(Ledger.read(place, header.fingerprint, header.blocks)):
        ledger.write(name, number)
    if lost := ledger.differs(Ledger.read(place, header.fingerprint, header.blocks)):
        raise StoreError(
            f"{place.path}: {len(lost)} pages of the ledger were written and read back differently, first {lost[0]}."
            " Check the disk or object store, then go on with resume=True (--resume)."
        )


def _quarantined(header: Header, ledger: Ledger, known: Mapping[tuple[str, Index], str]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"variable": part.variable, "index": list(index), "reason": known.get((part.variable, index), "quarantined")}
        for part in header.blocks
        for index in part.at((ledger.rows[part.variable]["status"] == QUARANTINED).nonzero()[0])
    )


def require_unchanged(place: Place, header: Header, ledger: Ledger) -> None:
    """Refuse to go on with a store whose metadata documents are not what was written.

    Raises
    ------
    StoreError
        If one differs; those at the root may be further than the header, where a run was killed as it finished.
    """
    wrong = wrong_documents(place, header)
    if wrong and not header.complete:
        further = wrong_documents(
            place, replace(header, documents=with_state(header.documents, state_of(header, ledger)))
        )
        wrong = [bad for bad in wrong if bad in further]
    if wrong:
        raise StoreError(
            f"{place.path} was changed since it was written: {'; '.join(map(str, wrong))}. Bring it back by"
            " verify(..., repair=cube) (xsr verify --repair), or begin anew with overwrite=True."
        )


def wrong_documents(place: Place, header: Header) -> list[BadBlock]:
    """Metadata documents that are not what was written."""
    found = {key: place.get(key) for key in header.documents}
    return [
        BadBlock(key, (), _difference(header.documents[key], content))
        for key, content in found.items()
        if content != header.documents[key].encode()
    ]


def _difference(text: str, content: bytes | None) -> str:
    """Say what became of a document."""
    if content is None:
        return "is missing"
    try:
        was, now = (json.loads(one).get("shape") for one in (text, content))
    except (ValueError, AttributeError):
        was = now = None
    if was == now:
        return "differs from what was written"
    return f"was changed by another program: its shape is {now}, in the ledger {was}"
