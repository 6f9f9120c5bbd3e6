"""Long work of a session, in a thread of its own: its progress, its end, and how it is cancelled."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from xsr.core.redact import scrub

State = Literal["running", "done", "failed", "cancelled"]
log = logging.getLogger(__name__)


class CancelledError(Exception):
    """The job is to stop here."""


@dataclass
class Job:
    """One piece of work; what it computes is its result."""

    kind: str
    """What is done, in one word: ``search``, ``fetch``, ``sharpen``, ``pack``."""
    state: State = "running"
    done: int = 0
    total: int = 0
    """Steps; 0 where their number is not known yet."""
    message: str = ""
    result: Any = None
    """What the work returned, of types that JSON has."""
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    def step(self, done: int, total: int, message: str) -> None:
        """Say how far the work is; between two steps it can be cancelled.

        Raises
        ------
        CancelledError
            If it is cancelled.
        """
        if self._stop.is_set():
            raise CancelledError
        self.done, self.total, self.message = done, total, message

    def cancel(self) -> None:
        """Let the work stop before its next step."""
        self._stop.set()
        if self.state == "running":
            self.message = "stopping after this step"

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the work has ended."""
        if self._thread is not None:
            self._thread.join(timeout)

    def describe(self) -> dict[str, Any]:
        """State as the page shows it."""
        names = ("kind", "state", "done", "total", "message", "result")
        return {name: getattr(self, name) for name in names}


Work: TypeAlias = Callable[[Job], Any]
"""What a job does; it calls `Job.step` before each part."""


def start(kind: str, work: Work, *, undo: Callable[[], None]) -> Job:
    """Start work in a thread.

    Parameters
    ----------
    kind
        See `Job.kind`.
    work
        The work.
    undo
        Removes what it left, after it failed or was cancelled.
    """
    job = Job(kind)
    job._thread = threading.Thread(target=_run, args=(job, work, undo), name=f"xsr-{kind}", daemon=True)
    job._thread.start()
    return job


def _run(job: Job, work: Work, undo: Callable[[], None]) -> None:
    try:
        job.result = work(job)
        job.state, job.message = "done", ""
    except CancelledError:
        undo()
        job.state, job.message = "cancelled", "cancelled; nothing was kept"
    except (ValueError, OSError, NotImplementedError) as error:
        undo()
        job.state, job.message = "failed", scrub(str(error))
    except Exception as error:  # of a library; the page shows its kind, the log the rest
        log.exception("the job %s failed", job.kind)
        undo()
        job.state, job.message = "failed", f"{type(error).__name__}: {scrub(str(error))}"
