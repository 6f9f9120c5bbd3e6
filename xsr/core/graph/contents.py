"""What the tasks of a lazy array hold that leads to its pixels: text that may name a file, objects that read one."""

import os
import pickle
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import numpy as np

INNOCENT = {int, float, bool, tuple, list, dict, type(None)}
"""Types that are frequent, and name nothing by themselves."""
VISITED = 0
"""What stands in a pickle, which nobody reads, for an object that is not looked into."""


@dataclass
class Contents:
    """What was found in graphs."""

    texts: dict[str, None] = field(default_factory=dict)
    """All text, in the order in which it was found: paths, addresses, and much else."""
    objects: list[Any] = field(default_factory=list)
    """Instances of the requested types."""


def contents(arrays: Iterable[Any], types: tuple[type, ...]) -> Contents:
    """Look through the tasks of Dask arrays that need no chunks of another: those that read.

    Parameters
    ----------
    arrays
        Dask arrays; nothing is computed.
    types
        Types of objects that are returned, and not looked into.

    Notes
    -----
    Whatever a worker needs to read pixels travels to it as a pickle. The objects are visited as one is made, so that
    the sources of any library are found: no one's classes are known here. Functions are looked into as well, since
    a lambda may name a file; what cannot be pickled is passed over. Functions of arrays are not: a path of theirs may
    be that of a log.
    """
    found = Contents()
    visitor = _Visitor(found, types)
    known: set[str] = set()
    for array in arrays:
        for name, layer in _reading(array.dask):
            if name not in known:
                known.add(name)
                with suppress(Exception):  # of any kind, from objects that cannot be pickled
                    visitor.dump(layer)
    return found


def _reading(graph: Any) -> Iterator[tuple[str, Any]]:
    """Layers of a graph that need no chunks of an array, by name."""

    def has_chunks(name: str) -> bool:
        layer = graph.layers[name]
        return not layer.is_materialized() or isinstance(next(iter(layer), None), tuple)

    for name, layer in graph.layers.items():
        if any(map(has_chunks, graph.dependencies[name])):
            continue
        held = layer.values() if layer.is_materialized() else vars(layer).values()
        yield name, [value for value in held if type(value) is not np.ndarray]


class _Nowhere:
    """File that keeps nothing."""

    def write(self, data: bytes) -> int:
        return len(data)


class _Visitor(pickle.Pickler):
    """Visits everything that an object is made of, as if to pickle it."""

    def __init__(self, found: Contents, types: tuple[type, ...]) -> None:
        super().__init__(_Nowhere(), protocol=5)
        self._found, self._types = found, types

    def persistent_id(self, visited: Any) -> int | None:
        """Take note of an object; None to look into it."""
        if type(visited) in INNOCENT:
            return None
        if isinstance(visited, str | os.PathLike):
            self._found.texts[os.fspath(visited)] = None
        elif isinstance(visited, self._types):
            self._found.objects.append(visited)
        elif not (isinstance(visited, bytes | bytearray) or hasattr(type(visited), "__dlpack__")):  # as arrays have
            return None
        return VISITED

    def reducer_override(self, visited: Any) -> Any:
        """Give the parts of an object, of functions what they refer to."""
        if isinstance(visited, type):
            return NotImplemented if visited is tuple else (tuple, ())
        if isinstance(visited, FunctionType):
            return tuple, (_referred(visited),)
        try:
            return visited.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        except Exception:  # whatever an object raises that cannot be pickled; those of h5py know their file
            return tuple, ((getattr(getattr(visited, "file", None), "filename", None),),)


def _referred(function: FunctionType) -> list[Any]:
    """Variables and constants that a function uses, and its defaults."""
    code, names = function.__code__, function.__globals__
    used = [names.get(name) for name in code.co_names if not name.startswith("__")]
    enclosed = []
    for cell in function.__closure__ or ():
        try:
            enclosed.append(cell.cell_contents)
        except ValueError:  # a name that is not bound yet
            continue
    plain = [one for one in (*code.co_consts, *used) if isinstance(one, str | os.PathLike)]
    return [plain, enclosed, function.__defaults__, function.__kwdefaults__]
