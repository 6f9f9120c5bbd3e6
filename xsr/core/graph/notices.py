"""Notices: what a task finds out about its block, said to the user once, wherever the task runs.

In the process of the user it is a warning. From a worker of a cluster it travels as an event to the client that planned
the work, or as a warning of `distributed` where there was no client yet. From a process of the local scheduler it comes
by a file, which the user's process reads when the computation ends.
"""

import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

import numpy as np
from dask.callbacks import Callback
from numpy.typing import NDArray

from xsr.core.errors import XsrWarning
from xsr.core.graph.cluster import active_client, unbroken

TOPIC: Final = "xsr-notices"
PROCESS: Final = uuid4().hex
"""Names this process and those forked from it, which differ in their number."""

Inspect = Callable[[NDArray[Any]], str | None]
"""Function of a block that says what is wrong with it, or None."""


def watch(source: Any, inspect: Inspect) -> Any:
    """Check the blocks of an array as they are computed, and warn of the first that is odd.

    Parameters
    ----------
    source
        NumPy array, looked at now; or Dask array, looked at when it is computed.
    inspect
        Function of a block; a frozen dataclass, which names Dask keys. It must not read more than a sample.

    Returns
    -------
    ndarray or dask Array
        The same values. Of the same array and function the Dask keys are the same, however often this is called.
    """
    if isinstance(source, np.ndarray):
        text = inspect(source)
        if text is not None:
            warnings.warn(text, XsrWarning, stacklevel=5)
        return source
    import dask.array as da
    from dask.base import tokenize

    watcher = _Watcher(inspect, _Notice.fresh())
    name = f"check_values-{tokenize(source.name, inspect)}"
    return da.map_blocks(watcher, source, name=name, dtype=source.dtype, meta=source._meta)


@dataclass(frozen=True)
class _Notice:
    """The one notice of a call: who planned it, and how it is reached from elsewhere."""

    key: str
    process: tuple[str, int]
    folder: str
    """Where processes of the local scheduler leave their notices."""
    heard: bool
    """Whether a client listens to the topic."""

    @classmethod
    def fresh(cls) -> "_Notice":
        """Make a notice for work that is planned here."""
        client = active_client()
        if client is not None:
            with unbroken(client):
                client.subscribe_topic(TOPIC, _hear)
        _MAILBOX.register()
        return cls(uuid4().hex, (PROCESS, os.getpid()), _MAILBOX.folder, client is not None)

    def say(self, text: str) -> None:
        """Warn the user, once."""
        if not _claim(self.key):
            return
        worker = _worker()
        if self.process == (PROCESS, os.getpid()):
            warnings.warn(text, XsrWarning, stacklevel=2)
        elif worker is not None and self.heard:
            worker.log_event(TOPIC, {"key": self.key, "text": text})
        elif worker is not None:
            from distributed.worker import warn

            warn(text, XsrWarning)
        else:
            self._leave(text)

    def _leave(self, text: str) -> None:
        """Leave a notice for the process of the user; the first to do so is read."""
        try:
            with (Path(self.folder) / self.key).open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return
        except OSError:  # the folder is gone, or on another machine
            warnings.warn(text, XsrWarning, stacklevel=2)


@dataclass(frozen=True)
class _Watcher:
    """Task: inspect a block and hand it on."""

    inspect: Inspect
    notice: _Notice

    def __dask_tokenize__(self) -> Any:
        """Name the task by what it computes: the notice of a call is no part of it."""
        return "xsr-watcher", self.inspect

    def __call__(self, block: NDArray[Any]) -> NDArray[Any]:
        """Evaluate a block."""
        if self.notice.key not in _SAID:
            text = self.inspect(block)
            if text is not None:
                self.notice.say(text)
        return block


_SAID: set[str] = set()
_LOCK = threading.Lock()


def _claim(key: str) -> bool:
    """Whether a notice has not been said in this process yet; from now on it has."""
    with _LOCK:
        new = key not in _SAID
        _SAID.add(key)
    return new


def _worker() -> Any:
    """Return the worker of a cluster that this thread works for, if any."""
    import sys

    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.get_worker()
    except ValueError:
        return None


def _hear(event: tuple[Any, Any]) -> None:
    """Warn of a notice that a worker of a cluster has sent."""
    message = event[1]
    if _claim(message["key"]):
        warnings.warn(message["text"], XsrWarning, stacklevel=2)


class _Mailbox(Callback):
    """Reads the notices of other processes when a computation of a local scheduler ends."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._place: TemporaryDirectory[str] | None = None

    @property
    def folder(self) -> str:
        """Folder for notices; made when it is first needed, removed when the process ends."""
        if self._place is None:
            self._place = TemporaryDirectory(prefix="xsr-notices-")
        return self._place.name

    def _finish(self, dsk: Any, state: Any, failed: bool) -> None:
        for letter in sorted(Path(self.folder).glob("*")):
            text = letter.read_text(encoding="utf-8")
            if _claim(letter.name):
                warnings.warn(text, XsrWarning, stacklevel=2)


_MAILBOX = _Mailbox()
