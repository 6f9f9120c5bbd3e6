"""What a store of downloads holds: its dates, the items that each is made of, and which blocks are down."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr._version import __version__
from xsr.core.errors import StoreError, cause
from xsr.core.store.block import check_block
from xsr.core.store.first_form import is_first_form
from xsr.core.store.header import Header, encode, read_header
from xsr.core.store.ledger import DONE, PAGE, READERS, Ledger
from xsr.core.store.place import RETRY, Place, store_errors
from xsr.core.store.target import Target, begun, continuable, in_place, was_moved
from xsr.core.store.writing import wrong_documents
from xsr.sources.fetch.again import Again
from xsr.sources.fetch.dates import plain
from xsr.sources.stac.revision import Scene
from xsr.sources.stac.series import Acquisition

RECORD = "xsr_fetch"
"""Attribute of a store: what was requested."""


@dataclass(frozen=True)
class Holding:
    """A store of downloads."""

    place: Place
    dataset: xr.Dataset
    header: Header | None
    """None of a store of an earlier version: it has no ledger, and all its dates are whole."""
    ledger: Ledger | None

    @property
    def dates(self) -> list[Acquisition]:
        """Dates in the order of the store."""
        return list(self.scenes)

    @cached_property
    def scenes(self) -> dict[Acquisition, tuple[Scene, ...]]:
        """Items that each date is made of; those of a store of an earlier version by name alone."""
        if self.header is not None:
            dates = self.header.settings["input"]["dates"][: self.dataset.sizes["time"]]
            return {tuple(date["acquisition"]): tuple(map(Scene.load, date["items"])) for date in dates}
        names = ("platform", "datatake", "product_id")
        known = zip(*(self.dataset[name].values.tolist() for name in names), strict=True)
        return {(one, two): tuple(map(Scene, ids.replace(";", " ").split())) for one, two, ids in known}

    def rows(self, number: int) -> dict[str, NDArray[Any]]:
        """Rows of the ledger of a date, by variable."""
        assert self.header is not None
        assert self.ledger is not None
        lengths = {name: array["shape"][0] for name, array in self.header.arrays.items()}
        return {name: rows.reshape(lengths[name], -1)[number] for name, rows in self.ledger.rows.items()}

    def whole(self, number: int) -> bool:
        """Whether all blocks of a date are down."""
        return self.header is None or all((rows["status"] == DONE).all() for rows in self.rows(number).values())

    def void(self, number: int) -> bool:
        """Whether no block of a date is down, nor was before it was forgotten."""
        return self.header is not None and not any(rows["crc32"].any() for rows in self.rows(number).values())


def read_holding(place: Place, request: Mapping[str, Any], *, again: Again | None) -> Holding | None:
    """Read what a store holds; None if there is none.

    Parameters
    ----------
    place
        Store.
    request
        What is requested.
    again
        Where to bring back coordinates from that were changed, and a sign to bring back metadata, too, and to forget
        blocks that are not what was written.

    Raises
    ------
    StoreError
        If something else is there, the store was requested differently, or its metadata or coordinates were changed.
    """
    with store_errors(place, "looking at", remedy=RETRY):
        _settle(place, request)
        header = continuable(place)
        if header is None and not place.is_taken():
            return None
        record = _record(place, header)
        _require_same(place, record["asked"], request)
        if header is not None and header.parts:
            raise StoreError(
                f"{place.name} was written to by to_zarr since it was fetched; expected what fetch wrote alone. Choose"
                " another path."
            )
        if header is not None and (header.complete or not wrong_documents(place, header)):
            _check(place, header, again)
        if header is not None and not place.is_group():  # on a URL, a writer was killed as it began
            return None
    with store_errors(place, "reading", remedy=RETRY):
        dataset = xr.open_zarr(
            place.path, decode_coords="all", consolidated=header is not None, storage_options=place.fsspec
        )
        count = record["dates"] if header is None else len(header.settings["input"]["dates"])
        ledger = None if header is None else Ledger.read(place, header.fingerprint, header.blocks)
        if ledger is not None and header is not None and again is not None:
            _forget_damaged(ledger, header)
        return Holding(place, plain(dataset.isel(time=slice(count))), header, ledger)


def _check(place: Place, header: Header, again: Again | None) -> None:
    """Refuse metadata and coordinates that are not what was written, or bring them back."""
    wrong, lost = [bad.variable for bad in wrong_documents(place, header)], _lost(place, header)
    if again is not None:
        for copy in read_header(place)[1]:
            place.put(copy.variable, encode(header))
        for key in wrong:
            place.put(key, header.documents[key].encode())
        made = again.coordinates(header) if lost else {}
        for key in lost:
            if _sha256(made.get(key)) == header.objects[key]:
                place.put(key, made[key])
        wrong, lost = [], _lost(place, header)
    if wrong or lost:
        advice = "Pass repair=True (--repair)"
        if again is not None:
            advice = (
                "The items that are found do not give them as they were: request all items of the store, bring them"
                " back from a backup, or choose another path"
            )
        raise StoreError(f"{place.name} was changed since it was written: {', '.join(wrong + lost)}. {advice}.")


def _lost(place: Place, header: Header) -> list[str]:
    """Objects of coordinates that are not what was written."""
    return [key for key, digest in header.objects.items() if _sha256(place.get(key)) != digest]


def _sha256(content: bytes | None) -> str:
    return "" if content is None else sha256(content).hexdigest()


def _forget_damaged(ledger: Ledger, header: Header) -> None:
    """Forget blocks that are not what was written, so that they are loaded again."""
    group = ledger.place.open("r")
    for blocks in header.blocks:
        rows = ledger.rows[blocks.variable]
        done = np.flatnonzero(rows["status"] == DONE)
        check = partial(check_block, group[blocks.variable], blocks)
        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(check, blocks.at(done), rows["crc32"][done].tolist()))
        forget(ledger, blocks.variable, [int(row) for row, bad in zip(done, found, strict=True) if bad is not None])


def forget(ledger: Ledger, name: str, numbers: Iterable[int]) -> None:
    """Take blocks for ones that are not down. Their checksums stay, as a sign that something lies there."""
    pages = set()
    for number in numbers:
        row = ledger.rows[name][number].copy()
        row["status"] = 0
        ledger.take(name, number, row)
        pages.add(number // PAGE)
    for page in sorted(pages):
        ledger.write(name, page)


def _settle(place: Place, request: Mapping[str, Any]) -> None:
    """Let a replacement that is ready take the place of its store, where that was interrupted."""
    incoming = place.beside(".incoming")
    was_moved(incoming, place)
    header = begun(incoming)
    gone = not (place.is_group() if place.remote else place.is_taken())
    if not gone:
        _record(place, begun(place))
    if header is None:
        in_place(Target(place))
        return
    _require_same(incoming, _record(incoming, header)["asked"], request)
    if header.complete or gone:
        in_place(Target(incoming, header, place))


def record_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Attribute that says what was requested."""
    return {RECORD: {"version": __version__, "asked": dict(request)}}


def _record(place: Place, header: Header | None) -> dict[str, Any]:
    """Read what was requested.

    Raises
    ------
    StoreError
        If the store was not written by `fetch`.
    """
    try:
        known = place.open("r").attrs if header is None else header.settings["provenance"]
        record: dict[str, Any] = known[RECORD]
        listed = record if header is None else header.settings["input"]
        if "dates" not in listed or is_first_form(place):  # made of a fetched store, and bears its record
            raise KeyError("dates")
    except (OSError, KeyError, ValueError) as error:
        text = f"{place.name} exists and was not written by fetch. Choose another path."
        raise StoreError(text) from cause(error, place.path, place.options)
    return record


def _require_same(place: Place, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse another request, with the differences."""
    changed = [
        f"{key} {before.get(key)!r} then, {value!r} now" for key, value in now.items() if before.get(key) != value
    ]
    if changed:
        raise StoreError(
            f"{place.name} was requested differently: {'; '.join(changed)}. Request the same, or choose another path."
        )
