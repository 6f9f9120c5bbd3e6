"""Stores under random histories: written, killed, continued, damaged, repaired and replaced, in any order.

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

import pytest
from common import clusters, faults, trials
from fuzzing import TIMES
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

import xsr
from xsr.core.errors import StoreError, XsrError

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

FORKS = multiprocessing.get_context("forkserver")
"""Starts processes from one that used no threads, which hang after a fork."""
FORKS.set_forkserver_preload(["common.trials"])
PARTS = {"flip": faults.flip, "cut": faults.cut, "zero": faults.zero, "lose": faults.lose, "swap": faults.swap}


def written(made, path, **options):
    """Write one of three cubes with the options of a variant."""
    number, variant = made
    cube = trials.cube(shift=float(number))
    return xsr.to_zarr(cube, path, progress=False, **trials.VARIANTS[variant], **options)


def killed(made, path, change, options):
    """Write, and kill this process before a change of a file."""
    faults.watch(Path(path), faults.once(change, faults.kill))
    try:
        written(made, path, **options)
    except StoreError:
        raise SystemExit(1) from None


@cache
def expected(made):
    """What a user reads from a store of a cube."""
    with tempfile.TemporaryDirectory() as folder:
        written(made, f"{folder}/a.zarr")
        return trials.state(f"{folder}/a.zarr")


def read(path):
    """What a user reads; None where there is no store, or none that can be opened."""
    try:
        return trials.state(path)
    except Exception:  # whatever a reader says about what is not whole
        return None


stores = st.tuples(st.integers(0, 2), st.sampled_from(sorted(trials.VARIANTS)))


class Store(RuleBasedStateMachine):
    """One path, and what may happen to a store there."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "a.zarr"
        self.whole = None
        """What the complete store there is made of; None where there is none."""
        self.begun = None
        """What the run that was killed was about to write."""
        self.damaged = False

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def succeeded(self, made):
        """A call reported success: the store is what it should be."""
        self.whole, self.begun, self.damaged = made, None, False
        assert xsr.verify(self.path).ok
        assert not trials.difference(trials.state(self.path), expected(made))

    def attempt(self, made, **options):
        """Write; if it is refused, a user reads what was there. Whether it succeeded."""
        before = read(self.path)
        try:
            written(made, self.path, **options)
        except StoreError:
            after = read(self.path)
            assert (before is None) == (after is None)
            assert before is None or not trials.difference(after, before)
            return False
        self.succeeded(made)
        return True

    @rule(made=stores)
    def write(self, made):
        free = not (self.whole or self.begun or self.damaged)
        assert self.attempt(made) or not free

    @precondition(lambda self: not self.damaged)
    @rule(made=stores)
    def go_on(self, made):
        free = not (self.whole or self.begun)
        assert self.attempt(made, resume=True) or not (free or made == self.whole)

    @precondition(lambda self: self.begun and not self.damaged)
    @rule()
    def go_on_after_a_kill(self):
        """Only a replacement that was killed before it began cannot be continued: the old store is there."""
        made = self.begun
        assert self.attempt(made, resume=True) or (self.whole and self.attempt(made, overwrite=True))

    @precondition(lambda self: self.whole and not self.damaged)
    @rule(made=stores)
    def replace(self, made):
        assert self.attempt(made, overwrite=True)

    @precondition(lambda self: not self.damaged)
    @rule(made=stores, change=st.integers(1, 120))
    def kill(self, made, change):
        """Kill the run that begins a store, goes on with it, or replaces it."""
        options = {"overwrite": True} if self.whole else {"resume": True}
        made = self.begun if self.begun and not self.whole else made
        process = FORKS.Process(target=killed, args=(made, self.path, change, options))
        process.start()
        process.join()
        assert process.exitcode in (0, 1, -signal.SIGKILL)
        if process.exitcode == 0:
            self.succeeded(made)
        elif process.exitcode != 1:
            self.after_a_kill(made)

    def after_a_kill(self, made):
        """A reader finds the old store, or the new one, or one that says that it is not complete."""
        found = read(self.path)
        complete = found is not None and '"complete": true' in found["metadata"]["attributes of all"]
        if complete:
            self.whole = next(one for one in (made, self.whole) if one and not trials.difference(found, expected(one)))
        else:
            self.whole = None
        self.begun = made

    @precondition(lambda self: self.whole and not self.damaged)
    @rule(seed=st.integers(0, 1 << 32), how=st.sampled_from(sorted(PARTS)))
    def damage(self, seed, how):
        """Damage any file: it is found, or nothing that a user reads differs."""
        rng = random.Random(seed)
        PARTS[how](rng.choice(faults.files(self.path)), rng)
        try:
            self.damaged = not xsr.verify(self.path).ok
        except StoreError:
            self.damaged = True
        if not self.damaged:
            assert not trials.difference(trials.state(self.path), expected(self.whole))

    @precondition(lambda self: self.damaged)
    @rule()
    def repair(self):
        """Repair, or go on, or take it away and write it anew."""
        number, _ = made = self.whole
        self.whole, self.damaged = None, False
        try:
            xsr.verify(self.path, repair=trials.cube(shift=float(number)), progress=False)
            written(made, self.path, resume=True)
        except XsrError:
            shutil.rmtree(self.path, ignore_errors=True)
            shutil.rmtree(f"{self.path}.incoming", ignore_errors=True)
            written(made, self.path)
        self.succeeded(made)

    @precondition(lambda self: self.whole)
    @rule()
    def download_over_it(self):
        """A store of to_zarr is none of fetch."""
        before = read(self.path)
        with pytest.raises(XsrError):
            xsr.fetch(self.path, trials.write_items(self.folder), bands=["B02"], progress=False)
        after = read(self.path)
        assert (before is None) == (after is None)
        assert before is None or not trials.difference(after, before)


def test_any_history_of_a_store():
    run_state_machine_as_test(Store, settings=settings(max_examples=4 * TIMES, stateful_step_count=12))


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
