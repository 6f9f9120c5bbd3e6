from dataclasses import dataclass

import dask
import dask.array as da
import numpy as np
import pytest

from xsr.core import graph
from xsr.core.blocks import Span, Window
from xsr.core.graph.reductions import FAN_IN
from xsr.testing import assert_lazy


@dataclass(frozen=True)
class Total:
    """Counts and sums what is known in each window."""

    def __call__(self, job, windows):
        return np.array([[np.isfinite(w).sum(), np.nansum(w, dtype=np.float64)] for w in windows])

    def finish(self, total):
        return total[:, 1] / np.maximum(total[:, 0], 1)


def jobs(size, block, halo, sources=1):
    spans = [Span(start, min(start + block, size)) for start in range(0, size, block)]
    out = []
    for rows in spans:
        for cols in spans:
            wide = [Span(s.start - halo, s.stop + halo) for s in (rows, cols)]
            out.append(graph.Job(rows, cols, (Window(*wide),) * sources))
    return out


def source(dates=2, size=20, seed=0):
    return np.random.default_rng(seed).random((dates, 3, size, size), dtype=np.float32)


def test_sums_of_blocks_are_sums_of_the_whole():
    values = source()
    found = graph.reduce_windows(Total(), [values], jobs(20, 7, 0), (1,), name="total")
    np.testing.assert_allclose(found[:, 0], values.astype(float).mean(axis=(1, 2, 3)), rtol=1e-12)


def test_windows_are_nan_beyond_the_source():
    """A halo repeats what its neighbours own, and adds nothing outside."""
    values = np.ones((1, 1, 6, 6), np.float32)
    windows = []

    @dataclass(frozen=True)
    class Look(Total):
        def __call__(self, job, found):
            windows.append(found[0])
            return super().__call__(job, found)

    with dask.config.set(scheduler="synchronous"):
        graph.reduce_windows(Look(), [values], jobs(6, 3, 2), (1,), name="look")
    assert [w.shape for w in windows] == [(1, 7, 7)] * 4
    assert np.isnan(windows[0][0, :2]).all()
    assert np.isfinite(windows[0][0, 2:, 2:]).all()


@pytest.mark.parametrize("chunks", [(1, 1, 3, 5), (2, 3, 20, 20), (1, 2, 20, 1)])
def test_lazy_equals_eager(chunks):
    one, two = source(), source(dates=1, seed=1)
    work = jobs(20, 6, 3, sources=2)
    eager = graph.reduce_windows(Total(), [one, two], work, (2,), name="total")
    lazy_one, lazy_two = da.from_array(one, chunks=chunks), da.from_array(two, chunks=(1, *chunks[1:]))
    with assert_lazy(lazy_one):
        lazy = graph.reduce_windows(Total(), [lazy_one, lazy_two], work, (2,), name="total")
        mixed = graph.reduce_windows(Total(), [lazy_one, two], work, (2,), name="total")
    assert lazy.shape == (2, 2)
    np.testing.assert_allclose(lazy.compute(scheduler="synchronous"), eager, rtol=1e-12)
    np.testing.assert_allclose(mixed.compute(scheduler="threads"), eager, rtol=1e-12)


def test_threads_change_nothing():
    """Blocks are added in their order, whichever ends first."""
    found = {}
    for threads in (1, 3):
        with dask.config.set(num_workers=threads):
            found[threads] = graph.reduce_windows(Total(), [source()], jobs(20, 3, 1), (1,), name="total")
    np.testing.assert_array_equal(found[3], found[1])


def test_a_window_outside_the_source_reads_nothing():
    values = source(size=8)
    far = [graph.Job(Span(0, 4), Span(0, 4), (Window(Span(90, 94), Span(0, 4)),))]
    lazy = graph.reduce_windows(Total(), [da.from_array(values, chunks=4)], far, (1,), name="far")
    assert lazy.compute(scheduler="synchronous").tolist() == [[0], [0]]
    assert graph.reduce_windows(Total(), [values], far, (1,), name="far").tolist() == [[0], [0]]


def test_many_blocks_are_added_in_a_tree():
    values = source(dates=1, size=40)
    lazy = graph.reduce_windows(Total(), [da.from_array(values, chunks=10)], jobs(40, 2, 0), (1,), name="tree")
    rows = [len(task[1]) for key, task in dict(lazy.dask).items() if "-sum" in str(key[0]) and isinstance(task, tuple)]
    assert not rows or max(rows) <= FAN_IN
    assert float(lazy.compute(scheduler="synchronous")[0, 0]) == pytest.approx(float(values.mean()), rel=1e-6)


def test_keys_say_what_is_computed():
    values = da.from_array(source(), chunks=10)
    one, two = (graph.reduce_windows(Total(), [values], jobs(20, 10, 0), (1,), name="total").name for _ in range(2))
    assert one == two

    @dataclass(frozen=True)
    class Other(Total):
        pass

    elsewhere = [graph.Job(job.cols, job.rows, job.windows) for job in jobs(20, 10, 0)]
    others = [
        graph.reduce_windows(Total(), [values], jobs(20, 10, 1), (1,), name="total"),
        graph.reduce_windows(Total(), [values], jobs(20, 5, 0), (1,), name="total"),
        graph.reduce_windows(Total(), [values], elsewhere, (1,), name="total"),
        graph.reduce_windows(Other(), [values], jobs(20, 10, 0), (1,), name="total"),
        graph.reduce_windows(Total(), [values[:1]], jobs(20, 10, 0), (1,), name="total"),
        graph.reduce_windows(Total(), [values] * 2, jobs(20, 10, 0, sources=2), (2,), name="total"),
    ]
    assert len({one, *(other.name for other in others)}) == 7


@pytest.mark.slow
def test_a_cluster_gives_the_same_numbers(cluster):
    from helpers import make_cube

    import xsr

    reference = make_cube((2, 2, 30, 26), chunks={"y": 11})
    lazy = xsr.evaluate(reference * 1.1, reference, data_range=1.0, scale=2, metrics=["mae", "ssim", "high_fidelity"])
    expected = lazy.compute(scheduler="synchronous")
    with cluster.as_current():
        found = lazy.compute()
    for name in expected.data_vars:
        np.testing.assert_array_equal(found[name], expected[name])
