"""Stores under random histories: written, grown, killed, continued, damaged, repaired and replaced, in any order.

A state machine of hypothesis does one thing after the other and checks three promises. What succeeds leaves a store
that reads as it should. What is refused changes nothing that a user reads. What was interrupted can be continued.
"""

import multiprocessing
import random
import shutil
import signal
import tempfile
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
import xarray as xr
from common import clusters, faults, trials
from fuzzing import TIMES
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import xsr
from xsr.core.errors import StoreError, XsrError

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

FORKS = multiprocessing.get_context("forkserver")
"""Starts processes from one that used no threads, which hang after a fork."""
FORKS.set_forkserver_preload(["common.trials"])
DAMAGES = {"flip": faults.flip, "cut": faults.cut, "zero": faults.zero, "lose": faults.lose, "swap": faults.swap}
GATHERED, PLAIN = "metadata", "metadata, not consolidated"
AREAS = {
    "a date": {"time": slice(0, 1), "y": slice(0, 20), "x": slice(0, 23)},
    "rows": {"time": slice(0, 2), "y": slice(10, 20), "x": slice(0, 23)},
    "a corner": {"time": slice(1, 2), "y": slice(0, 10), "x": slice(10, 23)},
}
"""What a region takes of two dates."""


class Step(NamedTuple):
    """One cube, and how it is written: a store is what its steps made of it."""

    number: int
    """Which of three cubes."""
    how: str
    """Variant of a new store; "append", or how a region is given: "auto" or "slices"."""
    pair: int = 0
    """How many times two dates lie before its own."""
    area: str | None = None
    """What a region takes of them."""

    @property
    def cube(self):
        cube = trials.cube(shift=float(self.number))
        cube = cube.assign_coords(time=cube.time + np.timedelta64(20 * self.pair, "D"))
        return cube.isel(AREAS[self.area]) if self.area else cube

    @property
    def options(self):
        if self.how in trials.VARIANTS:
            return trials.VARIANTS[self.how]
        if self.how == "append":
            return {"append_dim": "time"}
        if self.how == "auto":
            return {"region": "auto"}
        time = AREAS[self.area]["time"]
        return {"region": AREAS[self.area] | {"time": slice(2 * self.pair + time.start, 2 * self.pair + time.stop)}}


def written(step, path, **options):
    """Write a cube."""
    return xsr.to_zarr(step.cube, path, progress=False, **step.options, **options)


def killed(step, path, change, options):
    """Write, and kill this process before a change of a file."""
    faults.watch(Path(path), faults.once(change, faults.kill))
    try:
        written(step, path, **options)
    except StoreError:
        raise SystemExit(1) from None


@cache
def expected(made, group=None):
    """What a user reads from a store that was made without a fault; a group has the format of the store at its root."""
    with tempfile.TemporaryDirectory() as folder:
        if group:
            written(Step(1, "plain"), f"{folder}/a.zarr")
        for step in made:
            written(step, f"{folder}/a.zarr", group=group)
        return trials.state(f"{folder}/a.zarr", group=group)


def read(path, **where):
    """What a user reads; None where there is no store, or none that can be opened."""
    try:
        return trials.state(path, **where)
    except Exception:  # whatever a reader says about what is not whole
        return None


def says_complete(found, view):
    return '"complete": true' in found[view]["attributes of all"]


def reads_as(found, wanted):
    """Whether a user reads what was expected, by the metadata that are gathered."""
    return not trials.difference(found | {PLAIN: wanted[PLAIN]}, wanted)


numbers, first, all_of_it = st.integers(0, 2), st.just(0), st.none()
new = st.builds(Step, numbers, st.sampled_from(sorted(trials.VARIANTS)), first, all_of_it)
part = st.builds(Step, numbers, st.just("append"), first, all_of_it) | st.builds(
    Step, numbers, st.sampled_from(["auto", "slices"]), st.integers(0, 2), st.sampled_from(sorted(AREAS))
)


class Store(RuleBasedStateMachine):
    """One path, and what may happen to a store there, beside which a group may lie."""

    where: ClassVar = {}
    """Group of the store."""
    other: ClassVar = {"group": "beside"}
    """Group of what lies beside it."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "a.zarr"
        self.whole = None
        """Steps of the complete store there; None where there is none."""
        self.begun = None
        """What the run that was killed was about to make of it."""
        self.damaged = False
        self.beside = None
        """Steps of what lies beside it."""

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def own(self):
        """Folder of the store."""
        return self.path / self.where.get("group", "")

    def expected(self, made):
        """What a user reads after these steps."""
        return expected(made, self.where.get("group"))

    def made_by(self, step):
        """What a step makes of what is there; what cannot grow is begun."""
        if step.how in trials.VARIANTS or not self.whole:
            fits = step.how in trials.VARIANTS and not (self.where and step.how == "format 2")
            return (Step(step.number, step.how if fits else "plain"),)
        pairs = sum(one.how == "append" for one in self.whole) + 1
        return (*self.whole, step._replace(pair=pairs if step.how == "append" else step.pair % pairs))

    def succeeded(self, made):
        """A call reported success: the store is what it should be."""
        if len(made) == 1 and not self.where and not (self.path / "beside").exists():
            self.beside = None
        self.whole, self.begun, self.damaged = made, None, False
        assert xsr.verify(self.path, **self.where).ok
        assert not trials.difference(trials.state(self.path, **self.where), self.expected(made))
        assert not self.beside or xsr.verify(self.path, **self.other).ok

    def unchanged(self, before):
        """A call was refused: a user reads what was there."""
        after = read(self.path, **self.where)
        assert (before is None) == (after is None)
        assert before is None or not trials.difference(after, before)

    def attempt(self, made, **options):
        """Do the last step; if it is refused, a user reads what was there. Whether it succeeded."""
        before = read(self.path, **self.where)
        try:
            written(made[-1], self.path, **self.where, **options)
        except StoreError:
            self.unchanged(before)
            return False
        self.succeeded(made)
        return True

    @invariant()
    def what_lies_beside_it_stays(self):
        assert not self.beside or not trials.difference(trials.state(self.path, **self.other), expected(self.beside))

    @rule(step=new)
    def write(self, step):
        free = not (self.whole or self.begun or self.damaged)
        assert self.attempt(self.made_by(step)) or not free

    @precondition(lambda self: not self.damaged)
    @rule(step=new)
    def go_on(self, step):
        made = self.made_by(step)
        needed = not self.begun and self.whole in (None, made)
        assert self.attempt(made, resume=True) or not needed

    @precondition(lambda self: self.begun and not self.damaged)
    @rule()
    def go_on_after_a_kill(self):
        """Only a replacement that was killed before it began cannot be continued: the old store is there."""
        made = self.begun
        if not self.attempt(made, resume=True):
            assert self.whole
            assert len(made) == 1
            assert self.attempt(made, overwrite=True)

    @precondition(lambda self: self.whole and not self.damaged)
    @rule(step=new)
    def replace(self, step):
        assert self.attempt(self.made_by(step), overwrite=True)

    @precondition(lambda self: self.whole and not self.begun and not self.damaged)
    @rule(step=part)
    def grow(self, step):
        """Append, or write a region."""
        assert self.attempt(self.made_by(step))

    @precondition(lambda self: not self.damaged)
    @rule(step=new | part, change=st.integers(1, 120))
    def kill(self, step, change):
        """Kill the run that begins a store, goes on with it, appends to it, writes a region, or replaces it."""
        goes_on = self.begun and (not self.whole or len(self.begun) > 1)
        made = self.begun if goes_on else self.made_by(step)
        options = {"overwrite": True} if self.whole and len(made) == 1 else {"resume": True}
        process = FORKS.Process(target=killed, args=(made[-1], self.path, change, self.where | options))
        process.start()
        process.join()
        assert process.exitcode in (0, 1, -signal.SIGKILL)
        if process.exitcode == 0:
            self.succeeded(made)
        elif process.exitcode != 1:
            self.after_a_kill(made)

    def after_a_kill(self, made):
        """A reader finds the old store, or the new one, or one that says that it is not complete."""
        found = read(self.path, **self.where)
        old, self.whole = self.whole, None
        if found is not None and says_complete(found, GATHERED):
            whole = next(one for one in (made, old, made[:-1]) if one and reads_as(found, self.expected(one)))
            self.whole = whole if says_complete(found, PLAIN) else None
        self.begun = made
        if len(made) > 1:
            self.stayed_readable(made)
        elif not self.where and not (self.path / "beside").exists():
            self.beside = None

    def stayed_readable(self, made):
        """Every pixel that was there is the old one, or the new one."""
        found = xr.open_zarr(self.path, **self.where)["reflectance"].values
        before, after = (self.expected(one)["values"]["reflectance"] for one in (made[:-1], made))
        found, after = found[: len(before)], after[: len(before)]
        same = [(found == one) | (np.isnan(found) & np.isnan(one)) for one in (before, after)]
        assert np.logical_or(*same).all()

    @precondition(lambda self: self.whole and not self.begun and not self.damaged and not self.beside)
    @rule()
    def put_a_group_beside_it(self):
        step = self.whole[0]._replace(number=1)
        written(step, self.path, **self.other)
        self.beside = (step,)
        self.succeeded(self.whole)

    @precondition(lambda self: self.whole and not self.damaged and len(self.begun or ()) < 2)
    @rule(seed=st.integers(0, 1 << 32), how=st.sampled_from(sorted(DAMAGES)))
    def damage(self, seed, how):
        """Damage any file: it is found, or nothing that a user reads differs."""
        rng = random.Random(seed)
        files = [one for one in faults.files(self.own) if self.may_be_damaged(one, how)]
        DAMAGES[how](rng.choice(files), rng)
        try:
            self.damaged = not xsr.verify(self.path, **self.where).ok
        except StoreError:
            self.damaged = True
        if not self.damaged:
            assert not trials.difference(trials.state(self.path, **self.where), self.expected(self.whole))

    def may_be_damaged(self, file, how):
        """Whether damage does not reach what lies beside it."""
        at_root = file.parent == self.own
        of_other = "beside" in file.relative_to(self.own).parts
        of_all = at_root and (how in ("lose", "swap") or file.name == ".zattrs")  # readers of any group read it first
        return not self.beside or not (of_other or of_all)

    @precondition(lambda self: self.damaged)
    @rule()
    def repair(self):
        """Repair with one cube after the other, or go on, or take it away and make it anew."""
        made, self.whole, self.damaged = self.whole, None, False
        covered = [step for n, step in enumerate(made) if any(step[2:] == later[2:] for later in made[n + 1 :])]
        try:
            for step in made:
                if step not in covered:
                    xsr.verify(self.path, repair=step.cube, progress=False, **self.where)
            written(made[-1], self.path, resume=True, **self.where)
        except XsrError:
            shutil.rmtree(self.own, ignore_errors=True)
            shutil.rmtree(f"{self.own}.incoming", ignore_errors=True)
            self.beside = self.beside if self.where else None
            for step in made:
                written(step, self.path, **self.where)
        self.succeeded(made)

    @precondition(lambda self: self.whole)
    @rule()
    def download_over_it(self):
        """A store of to_zarr is none of fetch."""
        before = read(self.path, **self.where)
        with pytest.raises(XsrError):
            xsr.fetch(self.path, trials.write_items(self.folder), bands=["B02"], progress=False)
        self.unchanged(before)


class Group(Store):
    """A store in a group of a path with another at its root."""

    where, other = Store.other, Store.where

    def __init__(self):
        super().__init__()
        self.beside = (Step(1, "plain"),)
        written(*self.beside, self.path)


@pytest.mark.parametrize("machine", [Store, Group])
def test_any_history_of_a_store(machine):
    run_state_machine_as_test(machine, settings=settings(max_examples=2 * TIMES, stateful_step_count=12))


# --- clusters ------------------------------------------------------------------------------------------------------


def on_a_cluster(trial, folder, seed):
    """Run a trial; its process ends with an error if data are lost."""
    (work,) = (one for one in trials.works(folder, ["to_zarr"]) if one.variant == "plain")
    trials.prepare([work])
    own = folder / "trial"
    own.mkdir()
    trial(trials.Case(work, own, random.Random(seed)))


@pytest.mark.parametrize("seed", range(TIMES))
@pytest.mark.parametrize(
    "trial", [clusters.workers_killed, clusters.workers_paused, clusters.scheduler_killed], ids=lambda one: one.__name__
)
def test_a_cluster_whose_processes_die(tmp_path, trial, seed):
    process = FORKS.Process(target=on_a_cluster, args=(trial, tmp_path, seed))
    process.start()
    process.join()
    assert process.exitcode == 0
