"""What was computed, kept while a number of bytes allows: the least recently used goes first."""

import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

from xsr.core.errors import ParameterError

Value = TypeVar("Value")
OVERHEAD = 128
"""Bytes that an entry takes beside its own."""


def size_of(value: Any) -> int:
    """Bytes of an array, of a text of bytes, or of nothing."""
    return OVERHEAD + (len(value) if isinstance(value, bytes) else getattr(value, "nbytes", 0))


class Memory(Generic[Value]):
    """Cache of a number of bytes, for many threads: what two threads need at once is computed once.

    Where that computation raises, or is given up, the next of those that wait makes it.
    """

    def __init__(self, limit: int) -> None:
        self._kept: LRUCache[Hashable, Value] = LRUCache(limit, getsizeof=size_of)
        self._pending: set[Hashable] = set()
        self._changed = threading.Condition()

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        with self._changed:
            return int(self._kept.currsize)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Find a value, or make and keep it; one larger than the cache is not kept."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._pending)
            if key in self._kept:
                return self._kept[key]
            self._pending.add(key)
        try:
            value = make()
            with self._changed:
                if size_of(value) <= self._kept.maxsize:
                    self._kept[key] = value
            return value
        finally:
            with self._changed:
                self._pending.discard(key)
                self._changed.notify_all()


def parse_bytes(memory: Any) -> int:
    """Read a number of bytes, or a text such as ``"256MB"``.

    Raises
    ------
    ParameterError
        If it is neither, or less than one megabyte.
    """
    from dask.utils import parse_bytes as parse

    try:
        count = int(parse(memory))
    except (ValueError, TypeError, OverflowError):
        count = 0
    if isinstance(memory, bool) or count < 1_000_000:
        raise ParameterError(f"memory={memory!r}; expected a size of at least 1 MB, such as '256MB'.")
    return count
