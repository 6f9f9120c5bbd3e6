"""What the people who look at one page have: their own cubes, files and work, apart from one another."""

import secrets
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from xsr.core.errors import ParameterError
from xsr.view.map import jobs
from xsr.view.map.layers import Shown

if TYPE_CHECKING:
    import pystac

MOST = 32
"""Sessions kept; the one that was not used for longest ends first."""
BUSY = 4
"""Jobs that run side by side, over all sessions."""


@dataclass
class Session:
    """One open page."""

    key: str
    cubes: dict[str, Shown]
    """What can be shown, by name: the served cube, and what this session made."""
    files: dict[str, Path] = field(default_factory=dict)
    """What can be downloaded, by name."""
    items: "list[pystac.Item]" = field(default_factory=list)
    """What the last search found."""
    job: jobs.Job | None = None
    _made: int = 0
    _folder: TemporaryDirectory[str] | None = None

    @property
    def folder(self) -> Path:
        """Folder of what this session makes; it is removed when the session ends."""
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="xsr-map-", ignore_cleanup_errors=True)
        return Path(self._folder.name)

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self.job is not None and self.job.state == "running"

    def next_name(self, kind: str) -> str:
        """Name of something new, which nothing before had."""
        self._made += 1
        return f"{kind}-{self._made}"

    def path(self, name: str) -> Path:
        """Path of something new in the folder, of which nothing is there."""
        path = self.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return path

    def end(self) -> None:
        """Stop what runs, and remove what was made."""
        if self.job is not None:
            self.job.cancel()
            self.job.wait()
        self.cubes, self.files = {}, {}
        if self._folder is not None:
            self._folder.cleanup()


class Sessions:
    """All sessions of a server.

    Parameters
    ----------
    served
        Cubes that every session shows.
    """

    def __init__(self, served: dict[str, Shown]) -> None:
        self._served = served
        self._known: dict[str, Session] = {}  # the one used last stands last
        self._lock = threading.Lock()

    def begin(self) -> Session:
        """Begin a session; one too many ends the idle one that was not used for longest.

        Raises
        ------
        ParameterError
            If all of them are at work.
        """
        with self._lock:
            idle = [one for one in self._known.values() if not one.busy]
            if len(self._known) >= MOST and not idle:
                raise ParameterError(f"{MOST} pages are at work; expected fewer. Close one, or wait.")
            ended = self._known.pop(idle[0].key) if len(self._known) >= MOST else None
            session = Session(secrets.token_urlsafe(16), dict(self._served))
            self._known[session.key] = session
        if ended is not None:
            ended.end()
        return session

    def get(self, key: str) -> Session | None:
        """Session of a key, None if it has ended."""
        with self._lock:
            session = self._known.pop(key, None)
            if session is not None:
                self._known[key] = session
            return session

    def start(self, session: Session, kind: str, work: jobs.Work, *, makes: str = "") -> jobs.Job:
        """Start the job of a session.

        Parameters
        ----------
        session
            The session.
        kind, work
            See `jobs.start`.
        makes
            Name in the folder of the session that is removed if the job fails.

        Raises
        ------
        ParameterError
            If the session has one that runs, or too many run.
        """
        with self._lock:
            if session.busy:
                raise ParameterError("this page is at work already; expected one job at a time. Wait, or cancel it.")
            if sum(one.busy for one in self._known.values()) >= BUSY:
                raise ParameterError(f"{BUSY} jobs of other pages are running; expected fewer. Try again in a while.")
            session.job = jobs.start(kind, work, undo=lambda: _remove(session, makes))
            return session.job

    def end(self) -> None:
        """End all sessions."""
        with self._lock:
            ended, self._known = list(self._known.values()), {}
        for session in ended:
            session.end()


def _remove(session: Session, name: str) -> None:
    if name:
        session.path(name)
