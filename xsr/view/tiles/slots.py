"""Whose turn it is: a few tiles are computed side by side, of those that wait the newest first."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

Cancelled = Callable[[], bool]
"""Whether what was requested is no longer wanted."""


class Slots:
    """Lets a number of threads compute at a time; what was requested last is looked at now, and goes first."""

    def __init__(self, count: int) -> None:
        self._free, self._waiting, self._lock = count, list[threading.Event](), threading.Lock()

    @contextmanager
    def one(self, cancelled: Cancelled | None = None) -> Iterator[None]:
        """Wait for a turn.

        Raises
        ------
        CancelledError
            If what was requested is no longer wanted when its turn comes.
        """
        turn = threading.Event()
        with self._lock:
            if self._free:
                self._free -= 1
                turn.set()
            else:
                self._waiting.append(turn)
        turn.wait()
        try:
            if cancelled is not None and cancelled():
                raise CancelledError
            yield
        finally:
            with self._lock:
                if self._waiting:
                    self._waiting.pop().set()
                else:
                    self._free += 1
