"""What stores survive: random faults while they are written, downloaded and kept; tried, survived, lost.

Every trial is a process of its own with a seed of its own, so that one of them can be run again:
``survival.py --kinds "killed before a change" --works fetch --seed 1 --only 17``.
"""

import argparse
import itertools
import os
import platform
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common import clusters, faults, trials
from common.object_store import ObjectStore, serving
from common.trials import Case, Lost, Refused, Work

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "survival.md"
TRIALS = 1200
"""Trials of all kinds together."""


@dataclass(frozen=True)
class Kind:
    """A kind of trial."""

    name: str
    run: Callable[[Case], None]
    weight: float = 1.0
    """Share of the trials, relative to that of other kinds."""
    works: tuple[str, ...] = ("to_zarr", "fetch")

    @property
    def remote(self) -> bool:
        """Whether it needs an object store."""
        return self.name.startswith("object store")

    @property
    def long(self) -> bool:
        """Whether one trial takes many seconds."""
        return self.remote or self.name.startswith("cluster")


def _damage(name: str, part: str, *ways: Callable[[Path, random.Random], None], weight: float = 1.0) -> Kind:
    return Kind(name, lambda case: trials.damaged(case, part, *ways), weight)


def _remote(name: str, *kinds: str) -> Kind:
    return Kind(f"object store: {name}", lambda case: trials.remote_fault(case, *kinds), 0.3)


WRITTEN = ("to_zarr",)
KINDS = (
    Kind("killed before a change", trials.killed_at_a_change, 2.0),
    Kind("killed at a moment", trials.killed_at_a_moment),
    Kind("killed while replacing", trials.killed_while_replacing, 1.0, WRITTEN),
    Kind("interrupted", trials.interrupted),
    _damage("bit of a pixel flipped", "pixels", faults.flip),
    _damage("bit of a coordinate flipped", "coordinates", faults.flip),
    _damage("bit of metadata flipped", "metadata", faults.flip),
    _damage("bit of the ledger flipped", "ledger", faults.flip),
    _damage("file cut, zeroed or lost", "any", faults.cut, faults.zero, faults.lose),
    _damage("files swapped", "any", faults.swap, weight=0.5),
    _damage("value of metadata changed", "metadata", faults.edit),
    Kind("input changed", trials.changed_input, 1.0, WRITTEN),
    Kind("images changed", trials.changed_images, 0.5, ("fetch",)),
    Kind("two to eight writers", trials.raced),
    Kind("writers of other cubes", trials.raced_by_another, 0.5, WRITTEN),
    Kind("disk full", trials.disk_full),
    Kind("files limited in size", trials.limited, 0.3),
    Kind("disk turned read-only", trials.read_only, 0.5),
    Kind("disk failing", trials.failing),
    Kind("store or lock deleted on the way", trials.removed, 0.5),
    Kind("store replaced on the way", trials.replaced, 0.5),
    Kind("other things beside it", trials.beside, 0.1),
    _remote("errors 500 and 503", "500", "503"),
    _remote("connection dropped", "drop", "drop after"),
    _remote("object lost or half stored", "lost", "half"),
    _remote("object half sent, or with a flipped bit", "cut", "flip"),
    _remote("slow", "slow"),
    Kind("object store: writer killed", trials.remote_kill, 0.3),
    Kind("cluster: workers killed", clusters.workers_killed, 0.04),
    Kind("cluster: workers paused", clusters.workers_paused, 0.04),
    Kind("cluster: scheduler killed", clusters.scheduler_killed, 0.04),
)


@dataclass(frozen=True)
class Trial:
    """One trial, before it is run."""

    kind: Kind
    work: Work
    number: int
    seed: int

    def run(self, folder: Path, remote: ObjectStore | None) -> tuple[str, str]:
        """Outcome and what there is to say about it."""
        own = Path(tempfile.mkdtemp(prefix="trial-", dir=folder))
        rng = random.Random(f"{self.seed} {self.kind.name} {self.work.key} {self.number}")
        case = Case(self.work, own, rng, remote)
        try:
            self.kind.run(case)
        except Refused as refused:
            return "refused", str(refused)
        except Lost as lost:
            return "lost", f"{lost} | {' | '.join(case.notes[-4:])}"
        except Exception:  # none of xsr's comes so far: each is noted or judged
            return "lost", f"foreign error: {traceback.format_exc()[-900:]} | {' | '.join(case.notes[-4:])}"
        finally:
            faults.remove(own)
        return "survived", ""


@dataclass(frozen=True)
class Result:
    """A trial and its outcome."""

    trial: Trial
    outcome: str
    note: str

    def __str__(self) -> str:
        return f"{self.outcome} {self.trial.kind.name!r} {self.trial.work.key} {self.trial.number}"


def planned(kinds: Sequence[Kind], works: Sequence[Work], *, count: int, seed: int) -> list[Trial]:
    """Spread trials over kinds and works by their weights, at least one of each."""
    pairs = [(kind, name) for kind in kinds for name in dict.fromkeys(w.name for w in works) if name in kind.works]
    whole = sum(kind.weight for kind, _ in pairs)
    found = []
    for kind, name in pairs:
        variants = itertools.cycle([work for work in works if work.name == name])
        share = max(1, round(count * kind.weight / whole))
        found += [Trial(kind, work, number, seed) for number, work in zip(range(share), variants, strict=False)]
    random.Random(seed).shuffle(found)
    return found


def few(todo: Sequence[Trial]) -> list[Trial]:
    """One trial of every third kind; works and their variants take turns."""
    of_kind: dict[str, list[Trial]] = {}
    for trial in sorted(todo, key=lambda one: (one.number, one.work.name)):
        of_kind.setdefault(trial.kind.name, []).append(trial)
    return [group[number % len(group)] for number, group in enumerate(of_kind.values())][::3]


def run(todo: Sequence[Trial], folder: Path, remote: ObjectStore | None, *, workers: int) -> Iterator[Result]:
    """Run trials, several at a time, each in a fork of this process."""
    waiting = iter(todo)
    running: dict[faults.Running, Trial] = {}
    while True:
        for trial in itertools.islice(waiting, workers - len(running)):
            running[faults.start(partial(trial.run, folder, remote))] = trial
        if not running:
            return
        for process in faults.ended(running):
            trial, ending = running.pop(process), process.wait()
            reason = "no end" if ending.hung else "killed" if ending.killed else f"{ending.error} {ending.trace[-900:]}"
            outcome, note = ending.value or ("lost", f"the trial itself failed: {reason}")
            yield Result(trial, outcome, note)


def table(results: Sequence[Result]) -> list[str]:
    """Rows of the table, by kind: tried, survived, refused and lost, of both works."""
    counts = Counter((one.trial.kind.name, one.trial.work.name, one.outcome) for one in results)
    names = [kind.name for kind in KINDS if any(key[0] == kind.name for key in counts)]
    works = ("to_zarr", "fetch")
    outcomes = ("survived", "refused", "lost")
    rows = [
        "| | `to_zarr`: tried | survived | refused | lost | `fetch`: tried | survived | refused | lost |",
        "| --- " + "| ---: " * 8 + "|",
    ]
    for name in [*names, "all"]:
        cells = []
        for work in works:
            found = [sum(counts[kind, work, o] for kind in names if name in (kind, "all")) for o in outcomes]
            cells += [str(sum(found)), *map(str, found)] if sum(found) else ["", "", "", ""]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def write_page(results: Sequence[Result], seconds: float, seed: int) -> None:
    """Put the table into the page, in the place of the one that is there."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- table -->\n")
    _, _, after = rest.partition("<!-- end -->\n")
    said = (
        f"{len(results)} trials of seed {seed} in {seconds / 60:.0f} minutes on {os.cpu_count()} cores, Python"
        f" {platform.python_version()}, {platform.system()}.\n\n"
    )
    rows = "\n".join(table(results))
    PAGE.write_text(f"{before}<!-- table -->\n{said}{rows}\n<!-- end -->\n{after}", encoding="utf-8")


def parsed() -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=TRIALS, help=f"trials of all kinds together ({TRIALS})")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", default=[""], help="kinds whose names contain one of these")
    parser.add_argument("--works", nargs="+", default=["to_zarr", "fetch"], choices=["to_zarr", "fetch"])
    parser.add_argument("--only", type=int, help="number of the trial of each kind and work to run")
    parser.add_argument("--workers", type=int, default=2, help="trials at a time")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    parser.add_argument("--small", action="store_true", help="a few trials, to check that it runs")
    return parser.parse_args()


def main() -> None:
    """Try, print each loss as it is found and how far it is, and the table."""
    options = parsed()
    begun = time.monotonic()
    kinds = [kind for kind in KINDS if any(part in kind.name for part in options.kinds)]
    if options.small:
        kinds = [kind for kind in kinds if not kind.long]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="survival-")))
        remote = stack.enter_context(serving(folder)) if any(kind.remote for kind in kinds) else None
        works = trials.works(folder, options.works)
        trials.prepare(works)
        todo = planned(kinds, works, count=options.trials, seed=options.seed)
        todo = few(todo) if options.small else todo
        todo = [trial for trial in todo if options.only in (None, trial.number)]
        results = []
        for result in run(todo, folder, remote, workers=options.workers):
            results.append(result)
            if result.outcome != "survived":
                print(f"{result}: {result.note}", flush=True)
            if len(results) % 50 == 0:
                print(f"{len(results)} of {len(todo)} trials in {time.monotonic() - begun:.0f} s", flush=True)
    print("\n".join(table(results)))
    if options.write:
        write_page(results, time.monotonic() - begun, options.seed)
    if any(result.outcome == "lost" for result in results):
        sys.exit("data were lost")


if __name__ == "__main__":
    main()
