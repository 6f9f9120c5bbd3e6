"""What the tasks of a lazy array hold that leads to its pixels."""

import threading
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import torch
from dask.highlevelgraph import HighLevelGraph

from xsr.core.graph import contents

GLOBAL = Path("of a module")


class Marked:
    """What is looked for."""


class Opaque:
    """Cannot be pickled."""

    def __reduce__(self):
        raise TypeError("no")


def array_of(*held):
    """Array of one chunk, whose task holds some objects."""
    layer = {("a", 0): (np.ones, 1, list(held))}
    return da.Array(HighLevelGraph.from_collections("a", layer), "a", ((1,),), float)


def reader(path, default="of a default"):
    enclosed = "of a closure"

    def read(block_info=None, *, other="of a keyword"):
        return open(enclosed), open("a constant"), GLOBAL, path

    return read


def test_text_and_paths_are_found_wherever_a_task_holds_them():
    found = contents([array_of({"key": ("in a tuple", Path("a path"))}, reader("an argument"))], ()).texts
    named = {"in a tuple", "a path", "of a closure", "a constant", "of a module", "an argument", "of a keyword"}
    assert named <= set(found)


def test_objects_of_a_type_are_found_and_not_looked_into():
    marked = Marked()
    marked.text = "inside"
    found = contents([array_of([marked])], (Marked,))
    assert found.objects == [marked]
    assert "inside" not in found.texts


def test_what_cannot_be_pickled_does_not_hide_what_comes_after():
    beside = [Opaque(), threading.Lock(), lambda: None, (one for one in "a"), torch.ones(2), np.ones(3), "found"]
    assert "found" in contents([array_of(*beside)], ()).texts


def test_functions_of_arrays_are_not_looked_into():
    """Their paths may be those of logs; that of what reads the array is found."""
    source = da.map_blocks(reader("read"), chunks=(1,), meta=np.ones(0))
    mapped = da.map_blocks(lambda block, log: block, source, log="log.txt", meta=np.ones(0))
    found = contents([mapped], ()).texts
    assert "read" in found
    assert "log.txt" not in found


def test_delayed_readers_are_looked_into():
    stacked = da.stack([da.from_delayed(dask.delayed(np.load)(f"{n}.npy"), (3,), float) for n in range(2)])
    assert {"0.npy", "1.npy"} <= set(contents([stacked + 1], ()).texts)
