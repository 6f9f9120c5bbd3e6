"""Writing downloaded dates: all of them one axis, whose template is there before any pixel.

Dates behind those that are down are added in place, and tiles that came later join their date there. A date before
others would move their blocks: then a replacement takes over what is down, and takes the place of the store in the end.
A kill at any moment leaves a store that opens, and nothing that is down is deleted before it lies elsewhere.
"""

import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import xarray as xr

from xsr.core.errors import ProductError, XsrWarning
from xsr.core.progress import counted
from xsr.core.store.ledger import DONE, READERS, BadBlock, Blocks, Index, Ledger
from xsr.core.store.place import RETRY, Place, store_errors
from xsr.core.store.target import Target, begin, begun, begun_anew, in_place
from xsr.core.store.template import Prepared, prepare, template_of
from xsr.core.store.writing import Errors, compute_blocks, finish
from xsr.sources.fetch.again import contents_of
from xsr.sources.fetch.dates import axis, filled, labels, plain
from xsr.sources.fetch.holding import Holding, forget, record_of
from xsr.sources.stac.revision import Fate, Scene
from xsr.sources.stac.series import Acquisition, Series


@dataclass(frozen=True)
class Date:
    """One date of the store as it will be."""

    acquisition: Acquisition
    fate: Fate | Literal["new"]
    labels: xr.Dataset
    scenes: tuple[Scene, ...]
    before: int | None = None
    """Its number in the store as it was."""

    @property
    def anew(self) -> bool:
        """Whether blocks that are down are written again."""
        return self.fate in ("renew", "fill")

    @property
    def settled(self) -> "Date":
        """Date once its blocks are written."""
        return (
            replace(self, scenes=tuple(replace(scene, pending=False) for scene in self.scenes)) if self.anew else self
        )


@dataclass
class Written:
    """What a run wrote."""

    dates: int = 0
    """Dates of which blocks were downloaded."""
    failed: list[BadBlock] = field(default_factory=list)


@dataclass(frozen=True)
class Update:
    """A store as it is, and the dates that change it."""

    place: Place
    request: Mapping[str, Any]
    holding: Holding | None
    series: Series | None
    """Items to load."""
    fates: Mapping[Acquisition, Fate]
    """What becomes of the dates that are there."""

    @cached_property
    def dates(self) -> tuple[Date, ...]:
        """All dates, in the order of time.

        Raises
        ------
        ProductError
            If two have the same time.
        """
        dates = sorted([*self._held(), *self._new()], key=_time)
        for one, other in pairwise(dates):
            if _time(one) == _time(other):
                raise ProductError(
                    f"{_products(one)} and {_products(other)} are different acquisitions of the same time {_time(one)};"
                    " expected one a time. Fetch them to two stores."
                )
        return tuple(dates)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        if self.holding is None or self.holding.header is None or self.series is not None:
            return True
        return not (self.holding.header.complete and all(map(self.holding.whole, range(len(self.holding.dates)))))

    def _held(self) -> Iterator[Date]:
        """Dates that are there; one of which nothing is down, and nothing is found, is left out."""
        if self.holding is None:
            return
        known = labels(self.holding.dataset)
        for number, date in enumerate(self.holding.dates):
            if self.series is not None and date in self.series.dates:
                yield Date(date, self._fate(date), labels(self._loaded(date)), self._scenes(date, number), number)
            elif not self.holding.void(number):
                yield Date(date, "keep", known.isel(time=[number]), self.holding.scenes[date], number)

    def _new(self) -> Iterator[Date]:
        there = set() if self.holding is None else set(self.holding.dates)
        for date in () if self.series is None else self.series.dates:
            if date not in there:
                yield Date(date, "new", labels(self._loaded(date)), self._found(date))

    def _fate(self, date: Acquisition) -> Fate:
        """Decide what becomes of a date: one whose files were changed since it was begun is made anew, not of both."""
        assert self.holding is not None
        before = {scene.id: scene for scene in self.holding.scenes[date]}
        changed = any(one.id in before and one.differences(before[one.id]) for one in self._found(date))
        return "renew" if self.fates[date] == "resume" and changed else self.fates[date]

    def _found(self, date: Acquisition) -> tuple[Scene, ...]:
        """Items of a date that is loaded, their files known by content."""
        assert self.series is not None
        found = self.series.dates[date]
        return tuple(Scene.of(one.item, one.identity).with_content(self._contents[one.item.id]) for one in found)

    @cached_property
    def _contents(self) -> dict[str, str]:
        """Hash of the files of every item that is loaded, by its name."""
        assert self.series is not None
        return contents_of(one for date in self.series.dates.values() for one in date)

    def _scenes(self, date: Acquisition, number: int) -> tuple[Scene, ...]:
        """Items of a date that is loaded; those that join one that was whole are pending until they are down."""
        assert self.holding is not None
        held, found = self.holding.scenes[date], self._found(date)
        settled = tuple(scene for scene in held if not scene.pending)
        if self.fates[date] == "fill":
            return settled + tuple(replace(scene, pending=True) for scene in found)
        names = {scene.id for scene in settled}
        same = all(any(one.id == scene.id and not one.differences(scene) for one in found) for scene in settled)
        joins = same and (self.holding.whole(number) or len(settled) < len(held))
        return tuple(replace(scene, pending=joins and scene.id not in names) for scene in found)

    def _loaded(self, date: Acquisition) -> xr.Dataset:
        """Date with the pixels that are written."""
        assert self.series is not None
        cube = plain(self.series.cube([date]))
        if self.fates.get(date) != "fill":
            return cube
        assert self.holding is not None
        return filled(self.holding.dataset.isel(time=[self.holding.dates.index(date)]), cube)

    def write(self, *, quarantine: bool, progress: bool) -> Written:
        """Write the dates, one after the other.

        Parameters
        ----------
        quarantine
            Set blocks that cannot be computed aside, instead of ending the run.
        progress
            Show a progress bar over the dates.
        """
        prepared = self._prepared()
        with store_errors(self.place, "beginning", remedy=RETRY):
            target, ledger = self._begin(prepared)
        writers = prepared.writers(ledger.place)
        written = Written()
        for number, date in enumerate(counted(self.dates, "fetching dates", shown=progress)):
            todo = {name: _undone(writer.blocks, ledger, number) for name, writer in writers.items()}
            dataset = self._source(date) if any(todo.values()) else None
            if dataset is None:
                continue
            parts = {name: writer.shifted(number) for name, writer in writers.items()}
            arrays = {name: dataset[name].data for name in writers}
            errors: Errors = "quarantine" if quarantine and not date.anew else "raise"
            outcomes = compute_blocks(parts, arrays, ledger, todo, errors=errors, progress=False)
            written.dates += date.fate != "keep"
            written.failed += outcomes.failed
            if date.fate not in ("keep", "fill"):
                self._forget_changed(date, number, ledger)
        self._end(target, ledger, written.failed)
        return written

    def _forget_changed(self, date: Date, number: int, ledger: Ledger) -> None:
        """Forget the blocks of a date whose files were changed while they were read, so that a next run makes it anew.

        Warns
        -----
        XsrWarning
            With its items. A server that names a file otherwise each time says nothing about it.
        """
        assert self.series is not None
        candidates = self.series.dates[date.acquisition]
        now = contents_of(candidates)
        pairs = {name: (self._contents[name], found) for name, found in now.items()}
        changed = [name for name, (before, after) in pairs.items() if before and after and before != after]
        if not changed or contents_of(candidates) != now:
            return
        with store_errors(ledger.place, "writing the ledger of"):
            for name, rows in ledger.rows.items():
                each = len(rows) // len(self.dates)
                forget(ledger, name, range(number * each, (number + 1) * each))
        warnings.warn(
            f"files of {', '.join(changed)} were changed while they were downloaded: their date may be of old and new"
            " ones. Call fetch again, which makes it anew.",
            XsrWarning,
            stacklevel=4,
        )

    def _source(self, date: Date) -> xr.Dataset | None:
        """Pixels of a date; None if they are not found."""
        if date.fate != "keep":
            return self._loaded(date.acquisition)
        if self.holding is not None and self.holding.ledger is None:
            return self.holding.dataset.isel(time=[date.before])
        return None

    def _prepared(self, *, settled: bool = False) -> Prepared:
        """Store as it will be, without pixels; once it is settled nothing is pending."""
        like = self._loaded(self.dates[0].acquisition) if self.holding is None else self.holding.dataset
        dataset = axis([date.labels for date in self.dates], like).assign_attrs(
            {**like.attrs, **record_of(self.request)}
        )
        dates = [
            {
                "acquisition": list(date.acquisition),
                "items": [scene.save() for scene in (date.settled if settled else date).scenes],
            }
            for date in self.dates
        ]
        prepared = prepare(dataset, input_id="", grows="time")
        return replace(prepared, settings={**prepared.settings, "input": {"dates": dates}})

    def _begin(self, prepared: Prepared) -> tuple[Target, Ledger]:
        """Write the template; returns where blocks go, and which are down."""
        if self.holding is None:
            target = Target(self.place)
            header = begin(target, prepared)
            return replace(target, header=header), Ledger.empty(self.place, prepared.fingerprint, prepared.blocks)
        first = [date.before for date in self.dates[: len(self.holding.dates)]]
        if self.holding.ledger is not None and first == list(range(len(self.holding.dates))):
            return self._grow(prepared, self.holding, self.holding.ledger)
        return self._replace(prepared, self.holding)

    def _grow(self, prepared: Prepared, holding: Holding, known: Ledger) -> tuple[Target, Ledger]:
        """Change the store in place: first forget blocks that are written again, then write the template."""
        for number in (date.before for date in self.dates if date.before is not None and date.anew):
            for name, rows in holding.rows(number).items():
                forget(known, name, range(number * len(rows), (number + 1) * len(rows)))
        template = template_of(prepared)
        template.write(self.place)
        ledger = Ledger.empty(self.place, prepared.fingerprint, prepared.blocks)
        for number in range(len(holding.dates)):
            for name, rows in holding.rows(number).items():
                ledger.rows[name].reshape(len(self.dates), -1)[number] = rows
        return Target(self.place, template.header), ledger

    def _replace(self, prepared: Prepared, holding: Holding) -> tuple[Target, Ledger]:
        """Begin a replacement, or go on with the same one, and take over the blocks that are down."""
        incoming = self.place.beside(".incoming")
        header = begun(incoming)
        if header is not None and header.settings == prepared.settings and incoming.is_group():
            target = Target(incoming, header, self.place)
        else:
            target = begun_anew(self.place, True)
        header = begin(target, prepared)
        ledger = Ledger.read(incoming, prepared.fingerprint, prepared.blocks)
        if holding.ledger is not None:
            for number, date in enumerate(self.dates):
                if date.before is not None and not date.anew:
                    _take_over(holding, date.before, ledger, number)
            ledger.flush()
        return replace(target, header=header), ledger

    def _end(self, target: Target, ledger: Ledger, failed: list[BadBlock]) -> None:
        """Bring the store to its final state, and let it take the place of the one that it replaces."""
        header = target.header
        if any(date.settled.scenes != date.scenes for date in self.dates):
            with store_errors(self.place, "finishing"):
                ledger.flush()
                template = template_of(self._prepared(settled=True))
                template.write(target.place)
            header, ledger = template.header, replace(ledger, fingerprint=template.header.fingerprint)
        assert header is not None
        finish(target.place, header, ledger, failed)
        in_place(target)


def _time(date: Date) -> np.datetime64:
    time: np.datetime64 = date.labels["time"].values[0]
    return time


def _products(date: Date) -> str:
    return str(date.labels["product_id"].item())


def _undone(blocks: Blocks, ledger: Ledger, number: int) -> list[Index]:
    """Blocks of a date that are not down, by their number within the date."""
    rows = ledger.rows[blocks.variable]
    each = len(rows) // len(blocks.sizes[0])
    left = np.flatnonzero(rows["status"][number * each : (number + 1) * each] != DONE)
    return [(0, *index[1:]) for index in blocks.at(left)]


def _take_over(holding: Holding, before: int, ledger: Ledger, number: int) -> None:
    """Give a replacement the blocks of a date that are down, and their rows."""
    assert holding.header is not None
    group = ledger.place.open("r")
    for blocks in holding.header.blocks:
        name = blocks.variable
        rows, each = holding.rows(before)[name], len(blocks) // len(blocks.sizes[0])
        there = ledger.rows[name]["status"][number * each : (number + 1) * each] == DONE
        left = np.flatnonzero((rows["status"] == DONE) & ~there)
        keys = [
            tuple(f"{name}/{group[name].metadata.encode_chunk_key((at, *index[1:]))}" for at in (before, number))
            for index in blocks.at(left)
        ]
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(lambda pair: holding.place.share(pair[0], ledger.place, pair[1]), keys))
        for row in left:
            ledger.record(name, number * each + int(row), rows[row])
        if ledger.due:
            ledger.flush()
