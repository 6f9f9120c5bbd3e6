"""The driver against NumPy: what a task is handed, and what it makes of it."""

from dataclasses import dataclass

import dask
import dask.array as da
import numpy as np
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from xsr.core.blocks import Span
from xsr.core.graph import driver
from xsr.core.graph.driver import NOTHING, Layout, Mosaic, Read


@dataclass(frozen=True)
class Rectangles:
    """Work whose parts are rectangles of one source."""

    wanted: tuple[Read, ...]

    def reads(self):
        return (((number,), [one]) for number, one in enumerate(self.wanted))

    def read(self, index):
        return [self.wanted[index[0]]]

    def __call__(self, index, sources):
        read, source = self.wanted[index[0]], sources[0]
        out = np.full((len(read.dates), source.bands, len(read.rows), len(read.cols)), np.nan)
        source.fill(out, read.dates, read.rows, read.cols)
        return out


def spans(size):
    return st.tuples(st.integers(0, size - 1), st.integers(1, size)).map(lambda at: Span(min(at), max(at)))


@given(data=st.data())
@examples(20)
def test_a_rectangle_is_that_of_numpy_whatever_the_chunks(data):
    """Chunks may be empty, dates in any order and repeated."""
    shape = (4, 2, 9, 11)
    cuts = [data.draw(st.lists(st.integers(0, n), max_size=3).map(lambda at, n=n: sorted([0, *at, n]))) for n in shape]
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    source = da.from_array(values, chunks=tuple(tuple(int(n) for n in np.diff(cut)) for cut in cuts))
    dates = tuple(data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=5)))
    read = Read(dates, data.draw(spans(9)), data.draw(spans(11)))
    made = dask.get({**dict(source.dask), **driver.layer(Rectangles((read,)), [source], "cut")}, ("cut", 0))
    expected = values[list(dates)][:, :, read.rows.slice, read.cols.slice]
    np.testing.assert_array_equal(made, expected)
    (here,) = (part for _, part in driver.compute_here(Rectangles((read,)), [values], "cut"))
    np.testing.assert_array_equal(here, expected)


def test_only_chunks_that_share_pixels_are_touched():
    layout = Layout.of(da.zeros((3, 2, 10, 10), chunks=(1, 1, 5, 5)))
    assert layout.touched(Read((2, 0, 2), Span(4, 6), Span(5, 10))) == [
        (t, b, y, 1) for t in (0, 2) for b in (0, 1) for y in (0, 1)
    ]
    assert layout.touched(NOTHING) == []


def test_what_chunks_do_not_hold_stays_as_it_was():
    out = np.full((1, 1, 4, 4), -1.0)
    Mosaic([((0, 0, 2, 2), np.ones((1, 1, 3, 3)))], bands=1).fill(out, (0,), Span(0, 4), Span(0, 4))
    assert (out == 1).sum() == 4
    assert (out[0, 0, 2:, 2:] == 1).all()


def test_a_task_that_would_read_other_chunks_than_it_was_given_fails():
    """As on a worker that places the block elsewhere."""
    read = Read((0,), Span(0, 6), Span(0, 4))
    shared = driver.Shared(Rectangles((read,)), (Layout.of(da.zeros((1, 1, 8, 4), chunks=4)),))
    with pytest.raises(ValueError, match="shorter"):
        shared.compute((0,), [np.zeros((1, 1, 4, 4))])
