"""Trials on a cluster of processes, in which workers and the scheduler die while a store is written.

Scheduler and workers are commands of Dask. Blocks are slowed down, so that faults come while they are computed, by
`dask_setup`, which workers call as they start.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from common import faults
from common.trials import Case

SLOW_S = 0.1
"""Seconds by which each change of a file is delayed."""
SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "3s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",
    "DASK_DISTRIBUTED__COMM__RETRY__COUNT": "0",
}
"""A worker that is silent for three seconds counts as dead, also where it is only paused."""
HERE = Path(__file__).parents[1]


def dask_setup(worker: Any) -> None:
    """Slow the changes of files down in a worker."""
    faults.watch(Path(os.environ["SLOW_FOLDER"]), lambda number: time.sleep(SLOW_S))


@dataclass
class Cluster:
    """A scheduler and its workers."""

    folder: Path
    """Of the trial."""
    scheduler: subprocess.Popen[bytes] = field(init=False)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")

    @property
    def file(self) -> Path:
        """File by which all find the scheduler."""
        return self.folder / "scheduler.json"

    def add(self) -> None:
        """Start one worker, which needs a while."""
        options = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--local-directory", str(self.folder))
        self.workers.append(self._start("worker", *options, "--preload", "common.clusters"))

    def remove(self, rng: random.Random) -> None:
        """Kill a worker, which may just start, and start another."""
        victim = self.workers.pop(rng.randrange(len(self.workers)))
        victim.kill()
        victim.wait()
        self.add()

    def end(self) -> None:
        """Kill all processes."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        paths = os.pathsep.join([str(HERE), str(HERE.parent)])
        shared = ("--scheduler-file", str(self.file), "--no-dashboard")
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "dask", kind, *shared, *options],
            env={**os.environ, **SETTINGS, "PYTHONPATH": paths, "SLOW_FOLDER": str(self.folder / "a.zarr")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def writing(case: Case) -> Iterator[tuple[Cluster, faults.Running]]:
    """Start a cluster, two workers and a writer, all at once: faults may come while they start."""
    cluster = Cluster(case.folder)
    try:
        for _ in range(2):
            cluster.add()
        yield cluster, faults.start(partial(_write, case, cluster.file))
    finally:
        cluster.end()


def _write(case: Case, scheduler: Path) -> Any:
    import distributed

    while not scheduler.exists():
        time.sleep(0.05)
    with distributed.Client(scheduler_file=str(scheduler), timeout=30):
        return case.work.write(case.path)


def workers_killed(case: Case) -> None:
    """Kill workers at random, and start others in their place."""
    with writing(case) as (cluster, writer):
        for _ in range(case.rng.randint(1, 4)):
            if not writer.ends_within(case.rng.uniform(0.5, 6.0)):
                cluster.remove(case.rng)
        case.judge(writer.wait())
    case.check_mended()


def workers_paused(case: Case) -> None:
    """Stop workers, as a machine does that swaps; they wake after they were given up, and write what others wrote."""
    with writing(case) as (cluster, writer):
        for _ in range(case.rng.randint(1, 3)):
            victim = case.rng.choice(cluster.workers)
            if not writer.ends_within(case.rng.uniform(0.5, 6.0)):
                victim.send_signal(signal.SIGSTOP)
                writer.ends_within(case.rng.uniform(0.5, 6.0))
                victim.send_signal(signal.SIGCONT)
        case.judge(writer.wait())
    case.check_mended()


def scheduler_killed(case: Case) -> None:
    """Kill the scheduler: the writer ends with an error, and the store can be continued without a cluster."""
    with writing(case) as (cluster, writer):
        while not cluster.file.exists():  # without one there is nothing to connect to
            time.sleep(0.05)
        if not writer.ends_within(case.rng.uniform(0.0, 12.0)):
            cluster.scheduler.kill()
        case.judge(writer.wait())
    case.check_mended()
