import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product

import dask
import dask.array as da
import numpy as np
import pytest
from affine import Affine
from fuzzing import examples
from helpers import make_cube, make_dataset, make_geobox
from hypothesis import example, given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from xsr.core import graph
from xsr.core.blocks import Span
from xsr.core.graph import portions
from xsr.core.grid import Points, Refinement
from xsr.operations.interpolate import Interpolation, interpolate
from xsr.testing import assert_lazy

check = examples(10)


def with_holes(shape, share=0.3, seed=1):
    """Random reflectances of which a share is no data."""
    rng = np.random.default_rng(seed)
    values = rng.random(shape, dtype=np.float32)
    values[rng.random(shape) < share] = np.nan
    return values


def same_bytes(left, right):
    return np.asarray(left).tobytes() == np.asarray(right).tobytes()


# --- the plan ------------------------------------------------------------------------------------------


@given(shape=st.tuples(st.integers(1, 30), st.integers(1, 30)), chunk=st.tuples(st.integers(1, 9), st.integers(1, 35)))
@check
def test_blocks_cover_the_output_exactly_once_row_by_row(shape, chunk):
    plan = graph.make_plan(Refinement(shape, (0.5, 0.5)), (15, 15), halo=1, chunks=chunk)
    seen = np.zeros(shape, int)
    for block in plan.blocks:
        seen[block.rows.slice, block.cols.slice] += 1
    assert (seen == 1).all()
    assert plan.shape == shape
    starts = [(block.rows.start, block.cols.start) for block in plan.blocks]
    assert starts == sorted(starts)


def test_blocks_beyond_the_cube_have_no_window():
    plan = graph.make_plan(Refinement((4, 40), (0.5, 0.5), (0.0, -10.0)), (2, 4), halo=1, chunks=(4, 10))
    assert [block.window is None for block in plan.blocks] == [True, True, False, True]
    assert plan.blocks[2].window.cols == Span(-2, 6)


# --- same numbers ----------------------------------------------------------------------------------------


@pytest.mark.slow
@given(data=st.data())
@examples(20)
def test_any_input_chunks_and_any_output_chunks_give_the_same_bytes(data):
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 14), st.integers(1, 14)), "shape")
    into = {dim: data.draw(st.integers(1, n), dim) for dim, n in zip(("time", "band", "y", "x"), shape, strict=True)}
    scale = data.draw(st.sampled_from([1, 1.5, 2, 2.7, 3, 3.4]), "scale")
    method = data.draw(st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos3"]), "method")
    chunks = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)), "chunks")
    cube = make_cube(with_holes(shape, data.draw(st.sampled_from([0.0, 0.3, 0.8]), "share")))
    whole = interpolate(cube, scale=scale, method=method)
    blocks = interpolate(cube, scale=scale, method=method, chunks=chunks)
    lazy = interpolate(cube.chunk(into), scale=scale, method=method, chunks=chunks)
    assert same_bytes(blocks, whole)
    assert same_bytes(lazy.compute(scheduler="sync"), whole)


@pytest.mark.slow
@given(seed=st.integers(0, 50), sizes=st.lists(st.integers(0, 7), min_size=2, max_size=6))
@check
def test_irregular_and_empty_input_chunks_give_the_same_bytes(seed, sizes):
    sizes = (*sizes, 3)
    cube = make_cube(with_holes((2, sum(sizes), 9), seed=seed))
    lazy = cube.copy(data=da.from_array(cube.values, chunks=((2,), sizes, (4, 5))))
    whole = interpolate(cube, scale=2.7)
    assert same_bytes(interpolate(lazy, scale=2.7, chunks=8).compute(scheduler="sync"), whole)


@pytest.mark.parametrize("method", ["bicubic", "lanczos3"])
def test_a_halo_one_pixel_short_shows(method):
    @dataclass(frozen=True)
    class Short(Interpolation):
        @property
        def halo(self) -> int:
            return super().halo - 1

    values = with_holes((1, 1, 24, 24), 0.6)
    sampling = Refinement((48, 48), (0.5, 0.5))
    results = {}
    for function in (Interpolation(method), Short(method)):
        plans = [graph.make_plan(sampling, (24, 24), halo=function.halo, chunks=(n, n)) for n in (48, 6)]
        whole, blocks = (graph.run(function, values, plan) for plan in plans)
        results[type(function)] = same_bytes(whole, blocks)
    assert results == {Interpolation: True, Short: False}


@pytest.mark.parametrize("chunks", [{"band": 1}, {"time": 1}, {"time": 2, "band": 2, "y": 7}, {"band": (1, 2)}])
def test_chunks_along_bands_and_time_are_joined_and_kept(chunks):
    cube = make_cube(with_holes((3, 3, 10, 12)))
    lazy = interpolate(cube.chunk(chunks), scale=2, chunks=9)
    assert lazy.data.chunks[0] == cube.chunk(chunks).data.chunks[0]
    assert lazy.data.chunks[1] == (3,)
    assert same_bytes(lazy.compute(scheduler="sync"), interpolate(cube, scale=2))


LIKES = {
    "shifted": make_geobox((30, 30), gsd=4),
    "degrees": GeoBox((30, 40), Affine.from_gdal(16.4685, 4e-5, 0, 52.3402, 0, -3e-5), "EPSG:4326"),
}


@pytest.mark.slow
@pytest.mark.parametrize("like", LIKES)
@pytest.mark.parametrize("method", ["nearest", "bicubic"])
def test_like_gives_the_same_bytes_in_any_chunks(like, method):
    cube = make_cube(with_holes((2, 14, 14), 0.1))
    whole = interpolate(cube, like=LIKES[like], method=method)
    assert 0.1 < np.isfinite(whole).mean() < 1
    for chunks in ((7, 11), (30, 1), 13):
        lazy = interpolate(cube.chunk({"y": 5, "x": 6}), like=LIKES[like], method=method, chunks=chunks)
        assert same_bytes(interpolate(cube, like=LIKES[like], method=method, chunks=chunks), whole)
        assert same_bytes(lazy.compute(scheduler="sync"), whole)


@pytest.mark.slow
def test_processes_give_the_same_bytes():
    cube = make_cube(with_holes((2, 2, 12, 12)))
    lazy = interpolate(cube.chunk({"time": 1, "y": 5}), scale=3.4, chunks=25)
    with dask.config.set(scheduler="processes", num_workers=1):
        assert same_bytes(lazy.compute(), interpolate(cube, scale=3.4))


@pytest.mark.slow
@pytest.mark.parametrize("target", [{"scale": 3.4}, {"like": LIKES["degrees"]}], ids=["scale", "like"])
def test_a_cluster_gives_the_same_bytes(cluster, target):
    cube = make_cube(with_holes((2, 2, 14, 14)))
    lazy = interpolate(cube.chunk({"time": 1, "band": 1, "y": 5}), **target, chunks=11)
    assert same_bytes(cluster.compute(lazy.data).result(), interpolate(cube, **target))


# --- laziness, tasks and keys ----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_cube, make_dataset])
@pytest.mark.parametrize("target", [{"scale": 3.4}, {"resolution": 2.5}, {"like": LIKES["degrees"]}])
def test_nothing_is_computed(make, target):
    given_ = make((2, 2, 14, 14), chunks={"time": 1, "y": 7})
    with assert_lazy(given_):
        out = interpolate(given_, **target)
    assert dask.is_dask_collection(out)


def test_integers_are_decoded_and_no_data_hidden_lazily():
    given_ = make_cube(np.ones((2, 8, 8), "uint16"), chunks={"y": 4}).assign_attrs(nodata=0)
    with assert_lazy(given_):
        out = interpolate(given_.isel(y=slice(None, None, -1)), scale=2, units="dn10000")
    np.testing.assert_allclose(out.compute(scheduler="sync"), 1e-4, rtol=1e-6)


def test_memory_in_memory_out():
    assert isinstance(interpolate(make_cube((2, 4, 4)), scale=2).data, np.ndarray)


@pytest.mark.parametrize("method", ["nearest", "lanczos3"])
def test_one_task_makes_one_block_whatever_the_halo(method):
    cube = make_cube((3, 2, 64, 64), chunks={"time": 1, "y": 16, "x": 16})
    out = interpolate(cube, scale=2, method=method, chunks=32)
    layer = out.data.dask.layers[out.data.name]
    assert out.data.numblocks == (3, 1, 4, 4)
    blocks = {(out.data.name, t, 0, y, x) for t in range(3) for y in range(4) for x in range(4)}
    assert set(layer) == blocks | {f"{out.data.name}-work"}
    assert len(out.__dask_graph__()) <= 8 * out.data.npartitions


@dataclass(frozen=True)
class Heavy:
    """Block function that carries much with it and gives its window back."""

    halo: int = 2
    padding: str = "edge"
    table: tuple[int, ...] = tuple(range(100_000))

    def __call__(self, window, rows, cols, cell):
        return window[:, :, self.halo : self.halo + len(rows), self.halo : self.halo + len(cols)]


def test_the_function_is_in_the_graph_once_and_no_task_carries_it():
    """Each task, pickled alone as for a worker, stays small however much the function carries."""
    source = da.from_array(np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16), chunks=4)
    plan = graph.make_plan(Refinement((16, 16), (1.0, 1.0)), (16, 16), halo=2, chunks=(4, 4))
    out = graph.run(Heavy(), source, plan)
    layer = dict(out.dask.layers[out.name])
    shared = layer.pop(f"{out.name}-work")
    assert len(pickle.dumps(shared)) > 100_000
    assert max(len(pickle.dumps(task)) for task in layer.values()) < 1_000
    assert same_bytes(out.compute(scheduler="sync"), source)


def test_a_dataset_adds_a_bounded_number_of_tasks_to_each_block():
    dataset = make_dataset((3, 2, 64, 64), chunks={"time": 1, "y": 16, "x": 16})
    out = interpolate(dataset, scale=2, chunks=32)
    assert len(out.__dask_graph__()) <= 8 * 2 * 48


def test_output_chunks_are_those_asked_for():
    out = interpolate(make_cube((2, 50, 40), chunks={"y": 7}), scale=3.4, chunks=(64, 50))
    assert out.data.chunks == ((2,), (64, 64, 42), (50, 50, 36))


def watched(cube, chunks):
    """Cube that notes the (y, x) index of every chunk that is read, and the notes."""
    read, lock = [], threading.Lock()

    def note(block, block_info=None):
        if block_info:
            with lock:
                read.append(tuple(block_info[0]["chunk-location"][-2:]))
        return block

    data = da.from_array(cube.values, chunks=chunks).map_blocks(note, dtype=cube.dtype, meta=np.empty(0, cube.dtype))
    return cube.copy(data=data), read


def test_a_block_reads_only_the_chunks_that_its_window_touches():
    cube, read = watched(make_cube((1, 80, 80)), (1, 16, 16))
    out = interpolate(cube, scale=2, method="bicubic", chunks=32)
    out[:, 32:64, 64:96].compute(scheduler="sync")
    assert sorted(read) == [(y, x) for y in (0, 1, 2) for x in (1, 2, 3)]


def test_blocks_outside_the_cube_read_nothing():
    cube, read = watched(make_cube((2, 8, 8)), (2, 4, 4))
    out = interpolate(cube, like=make_geobox((40, 40), gsd=4), chunks=20)
    assert np.isnan(out[:, 20:, :].compute(scheduler="sync")).all()
    assert np.isnan(out[:, :, 20:].compute(scheduler="sync")).all()
    assert read == []
    assert np.isfinite(out[:, :20, :20].compute(scheduler="sync")).all()
    assert len(read) == 4


def name_of(**options):
    cube = make_cube((2, 16, 16), chunks={"y": 8})
    return interpolate(cube, **{"scale": 2, "method": "bicubic", "chunks": 16} | options).data.name


def test_the_same_call_gives_the_same_keys():
    assert name_of() == name_of()
    assert name_of(like=LIKES["degrees"], scale=None) == name_of(like=LIKES["degrees"], scale=None)


@pytest.mark.slow
def test_the_same_call_gives_the_same_keys_in_another_process():
    code = (
        "import sys; sys.path.insert(0, 'tests'); from helpers import make_cube, make_geobox;"
        "from xsr.operations.interpolate import interpolate; c = make_cube((2, 16, 16), chunks={'y': 8});"
        "print(interpolate(c, scale=2, chunks=16).data.name);"
        "print(interpolate(c, like=make_geobox((30, 30), gsd=4)).data.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    like = interpolate(make_cube((2, 16, 16), chunks={"y": 8}), like=LIKES["shifted"]).data.name
    assert done.stdout.split() == [name_of(), like]


@pytest.mark.parametrize(
    "other",
    [
        {"method": "bilinear"},
        {"scale": 2.1},
        {"chunks": 8},
        {"scale": None, "like": LIKES["shifted"]},
        {"scale": None, "like": LIKES["degrees"]},
        {"scale": None, "like": LIKES["degrees"].translate_pix(0, 0.25)},
        {"units": "percent"},
        {"bands": ["B02"]},
    ],
)
def test_a_different_call_gives_different_keys(other):
    assert name_of(**other) != name_of()


def test_grids_that_share_their_first_block_have_different_keys():
    source = da.zeros((1, 1, 20, 20))
    names = set()
    for last in (5.0, 6.0):
        points = Points(np.array([1.0, 2.0, last]), np.array([1.0, 2.0, 3.0]), (0.5, 0.5))
        plan = graph.make_plan(points, (20, 20), halo=1, chunks=(1, (2, 1)))
        names.add(graph.run(Interpolation("bilinear"), source, plan).name)
    assert len(names) == 2


# --- positions without a place ---------------------------------------------------------------------------


def test_a_grid_that_looks_past_the_earth_is_nan_there_and_chunks_do_not_matter():
    world = GeoBox((60, 120), Affine.from_gdal(-180, 3, 0, 90, 0, -3), "EPSG:4326")
    disc = GeoBox(
        (42, 42),
        Affine.from_gdal(-5.88e6, 280e3, 0, 5.88e6, 0, -280e3),
        "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84 +units=m +no_defs",
    )
    cube = make_cube((1, 60, 120), crs="EPSG:4326", affine=world.affine)
    whole = interpolate(cube, like=disc, method="bilinear")
    assert np.isnan(whole.values[0, 0]).all()
    assert np.isfinite(whole.values[0, 21, 2:-2]).all()
    for chunks in (42, 10, (5, 42)):
        lazy = interpolate(cube.chunk({"longitude": 17}), like=disc, method="bilinear", chunks=chunks)
        assert same_bytes(lazy.compute(scheduler="sync"), whole)


# --- handing blocks to a function --------------------------------------------------------------------------


def tasks_of(function, source, indices=None):
    every = product(*(range(n) for n in source.numblocks))
    return graph.block_tasks(function, source, label="a", indices=every if indices is None else indices)


def compute(tasks, **how):
    """Compute block tasks without a progress bar; the results, each under the index of its block."""
    results = {}
    graph.compute(tasks, progress=False, **{"done": lambda key, result: results.update({key.index: result})} | how)
    return results


def recorder(folder):
    """Function that writes down what it is given, one file a block, and fails on some blocks so many times."""

    def record(block, index, failing=()):
        name = "-".join(map(str, index))
        with open(folder / name, "a") as file:
            file.write(f"{block.size} {int(block.sum())}\n")
        if tuple(index) in failing:
            raise RuntimeError(f"block {index} is broken")

    return record


ROWS = {"0-0": "6 18", "0-1": "2 10", "1-0": "3 27", "1-1": "1 11"}


def seen_in(folder):
    return {path.name: path.read_text().splitlines() for path in folder.iterdir()}


@pytest.mark.parametrize("indices", [None, [(0, 1), (1, 1)], []], ids=["all", "some", "none"])
def test_block_tasks_hand_over_blocks_with_their_index(tmp_path, indices):
    source = da.from_array(np.arange(12).reshape(3, 4), chunks=(2, 3))
    compute([tasks_of(recorder(tmp_path), source, indices)])
    wanted = ROWS if indices is None else {f"{a}-{b}": ROWS[f"{a}-{b}"] for a, b in indices}
    assert seen_in(tmp_path) == {name: [row] for name, row in wanted.items()}


@pytest.mark.parametrize("where", ["synchronous", "threads", pytest.param("cluster", marks=pytest.mark.slow)])
def test_results_come_to_the_caller(request, where):
    source = da.from_array(np.arange(12).reshape(3, 4), chunks=(2, 3))
    with on(where, request):
        found = compute([tasks_of(lambda block, index: (int(block.sum()), index), source)])
    assert found == {(0, 0): (18, (0, 0)), (0, 1): (10, (0, 1)), (1, 0): (27, (1, 0)), (1, 1): (11, (1, 1))}


@pytest.mark.slow
def test_compute_uses_the_active_cluster(tmp_path, cluster):
    source = da.from_array(np.arange(12).reshape(3, 4), chunks=(2, 3))
    tasks = tasks_of(recorder(tmp_path), source)
    with cluster.as_current():
        compute([tasks])
    assert seen_in(tmp_path) == {name: [row] for name, row in ROWS.items()}


def failing(folder, *blocks):
    record = recorder(folder)

    def fail(block, index):
        record(block, index, failing=blocks)

    return fail


def on(where, request):
    """Local scheduler by name, or the cluster."""
    return request.getfixturevalue("cluster").as_current() if where == "cluster" else dask.config.set(scheduler=where)


@pytest.mark.parametrize("where", ["synchronous", "threads", pytest.param("cluster", marks=pytest.mark.slow)])
def test_an_error_in_a_block_reaches_the_caller(tmp_path, request, where):
    tasks = tasks_of(failing(tmp_path, (0, 0)), da.zeros((2, 2), chunks=2))
    scheduler = on(where, request)
    with scheduler, pytest.raises(RuntimeError, match=r"block \(0, 0\) is broken"):
        compute([tasks])


@pytest.mark.parametrize(
    "where",
    ["synchronous", "threads", *(pytest.param(name, marks=pytest.mark.slow) for name in ("processes", "cluster"))],
)
def test_the_others_are_computed_when_asked(tmp_path, request, where):
    tasks = tasks_of(failing(tmp_path, (0, 1), (2, 2)), da.zeros((12, 12), chunks=4))
    scheduler = on(where, request)
    failed = []
    with scheduler:
        results = compute([tasks], failed=lambda key, error: failed.append((key.index, type(error))))
    assert sorted(failed) == [((0, 1), RuntimeError), ((2, 2), RuntimeError)]
    assert set(results) == set(product(range(3), range(3))) - {(0, 1), (2, 2)}
    assert len(seen_in(tmp_path)["0-1"]) == 2  # tried once more


def test_blocks_that_need_a_task_that_fails_are_reported(tmp_path):
    """A chunk that cannot be read takes the blocks with it that need it, and no others."""

    def read(block, block_info=None):
        if block_info[0]["chunk-location"] == (0, 1):
            raise OSError("cannot be read")
        return block

    source = da.zeros((4, 8), chunks=(4, 2)).map_blocks(read, dtype=float, meta=np.empty((0, 0))).rechunk((4, 4))
    failed = {}
    with dask.config.set(scheduler="threads", num_workers=2):
        results = compute(
            [tasks_of(recorder(tmp_path), source)], failed=lambda key, error: failed.update({key.index: error})
        )
    assert isinstance(failed.pop((0, 0)), OSError)
    assert (failed, set(results)) == ({}, {(0, 1)})


@pytest.mark.parametrize("policy", [{}, {"failed": print}], ids=["raise", "go on"])
def test_what_is_raised_on_a_result_ends_the_computation(tmp_path, policy):
    def stop(key, result):
        raise KeyError("enough")

    with dask.config.set(scheduler="synchronous"), pytest.raises(KeyError, match="enough"):
        compute([tasks_of(recorder(tmp_path), da.zeros((8, 2), chunks=2))], done=stop, **policy)
    assert len(seen_in(tmp_path)) == 1


def test_the_progress_bar_counts_blocks(tmp_path, capsys):
    tasks = tasks_of(recorder(tmp_path), da.ones((4, 4), chunks=2, dtype=int))
    graph.compute([tasks], progress=True, done=lambda key, result: None)
    assert "4/4" in capsys.readouterr().out


# --- portions ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_portions(monkeypatch):
    """Portions of at most three blocks, the first of two, whatever they share."""
    monkeypatch.setattr(portions, "MOST_SHARED", 10)
    monkeypatch.setattr(portions, "FIRST", 2)
    monkeypatch.setattr(portions, "MOST", 3)
    monkeypatch.setattr(portions, "MOST_A_THREAD", 1)


def cut(*tasks):
    return list(portions.portions(tasks, threads=1))


def blocks_of(portion):
    return [block.index for block in portion.blocks.values()]


def note(block, index):
    return index


@given(
    shapes=st.lists(st.lists(st.integers(1, 5), min_size=0, max_size=4), min_size=1, max_size=3),
    most=st.integers(1, 9),
)
@example(shapes=[[4], [5, 5, 3, 2]], most=1)
@example(shapes=[[1, 3, 4, 1], [3, 2, 3, 4]], most=1)
@examples(20)
def test_portions_hold_every_block_once_and_no_more_than_they_may(shapes, most):
    sources = [da.zeros(shape, chunks=1) for shape in shapes]
    tasks = [
        graph.block_tasks(note, source, label=str(n), indices=product(*map(range, source.numblocks)))
        for n, source in enumerate(sources)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portions, "FIRST", 1)
        patch.setattr(portions, "MOST", most)
        patch.setattr(portions, "MOST_SHARED", 10)
        patch.setattr(portions, "MOST_A_THREAD", 1)
        found = cut(*tasks)
    bands = sum(shape[1] if len(shape) == 4 else 1 for shape in shapes)  # at one place, and not cut
    assert max(len(portion.blocks) for portion in found) <= max(most, bands)
    blocks = [(block.label, block.index) for portion in found for block in portion.blocks.values()]
    assert len(blocks) == len(set(blocks))
    assert set(blocks) == {(str(n), i) for n, s in enumerate(sources) for i in product(*map(range, s.numblocks))}
    for portion in found:
        results = dask.get(portion.graph, list(portion.blocks))
        assert list(results) == blocks_of(portion)


def test_dates_that_share_nothing_are_cut_apart(small_portions):
    cube = make_cube((4, 1, 12, 8), chunks={"time": 1, "y": 12, "x": 8})
    fine = interpolate(cube, scale=1.5, chunks=(6, 12)).data
    assert fine.numblocks == (4, 1, 3, 1)
    whole = [{index[0] for index in blocks_of(portion)} for portion in cut(tasks_of(note, fine))[2:]]
    assert whole == [{1}, {2}, {3}]  # the first date is cut once more, since the first portion is small


def test_blocks_are_cut_where_they_share_fewest_chunks(monkeypatch):
    """Rows of blocks lie in one row of chunks each, all columns of blocks in the same chunks: cut between rows."""
    monkeypatch.setattr(portions, "FIRST", 8)
    monkeypatch.setattr(portions, "MOST_SHARED", 1)
    cube = make_cube((1, 1, 16, 16), chunks={"y": 4, "x": 16})
    fine = interpolate(cube, scale=1, method="nearest", chunks=4).data
    upper, lower = cut(tasks_of(note, fine))
    assert {index[2] for index in blocks_of(upper)} == {0, 1}
    assert {index[2] for index in blocks_of(lower)} == {2, 3}


@pytest.mark.parametrize(("minus_mean", "count"), [(False, 8), (True, 1)])
def test_blocks_that_all_need_the_same_tasks_stay_together(monkeypatch, minus_mean, count):
    """The mean of the image would be computed anew for every portion."""
    monkeypatch.setattr(portions, "FIRST", 8)
    monkeypatch.setattr(portions, "MOST", 8)
    monkeypatch.setattr(portions, "MOST_A_THREAD", 1)
    source = da.random.default_rng(0).random((64, 1), chunks=1)
    whole = source - source.mean() if minus_mean else source + 1
    assert len(cut(tasks_of(note, whole))) == count


def test_arrays_that_lie_side_by_side_are_cut_alike(small_portions):
    image, mask = da.zeros((2, 3, 8, 8), chunks=(1, 3, 4, 8)), da.zeros((2, 8, 8), chunks=(1, 4, 8))
    tasks = [
        graph.block_tasks(note, source, label=str(source.ndim), indices=product(*map(range, source.numblocks)))
        for source in (image, mask)
    ]
    places = [
        sorted((block.label, block.index[0], block.index[-2]) for block in portion.blocks.values())
        for portion in cut(*tasks)
    ]
    assert places == [[("3", t, y), ("4", t, y)] for t in range(2) for y in range(2)]


def test_a_portion_has_the_tasks_of_its_blocks_alone(small_portions):
    source = da.zeros((64, 2), chunks=2).map_blocks(lambda block: block + 1)
    first = next(portions.portions([tasks_of(note, source)], threads=1))
    assert len(first.blocks) == 2
    assert len(first.graph) < 8


def test_the_first_blocks_are_done_before_the_last_portion_is_prepared(small_portions, monkeypatch):
    prepared, real = [], portions._portion

    def counting(graph, chosen):
        prepared.append(len(chosen))
        return real(graph, chosen)

    monkeypatch.setattr(portions, "_portion", counting)
    at_first = []
    tasks = tasks_of(note, da.zeros((64, 2), chunks=2))
    with dask.config.set(scheduler="synchronous"):
        compute([tasks], done=lambda key, result: at_first.append(len(prepared)))
    assert at_first[0] <= 2 < len(prepared)
    assert len(at_first) == 32


@pytest.mark.parametrize("where", ["synchronous", "threads", pytest.param("cluster", marks=pytest.mark.slow)])
def test_all_portions_are_computed(small_portions, request, where):
    source = da.from_array(np.arange(144).reshape(12, 12), chunks=3)
    with on(where, request):
        found = compute([tasks_of(lambda block, index: int(block.sum()), source)])
    assert sum(found.values()) == np.arange(144).sum()
    assert len(found) == 16


@pytest.mark.parametrize("where", ["threads", pytest.param("cluster", marks=pytest.mark.slow)])
def test_blocks_of_several_portions_that_fail_are_reported(small_portions, tmp_path, request, where):
    tasks = tasks_of(failing(tmp_path, (0, 1), (3, 2), (3, 3)), da.zeros((16, 16), chunks=4))
    failed = []
    with on(where, request):
        results = compute([tasks], failed=lambda key, error: failed.append(key.index))
    assert sorted(failed) == [(0, 1), (3, 2), (3, 3)]
    assert len(results) == 13
    assert [len(seen_in(tmp_path)[name]) for name in ("0-1", "3-2", "3-3")] == [2, 2, 2]


@pytest.mark.slow
def test_portions_of_a_cluster_may_share_what_is_fused_in_one_of_them_alone(small_portions, cluster, caplog):
    """Rechunking makes parts that one portion uses once and another twice."""
    source = da.from_array(np.arange(400.0).reshape(20, 20), chunks=(3, 20)).rechunk((4, 5)) + 1
    with cluster.as_current():
        found = compute([tasks_of(lambda block, index: block.sum(), source)])
    assert sum(found.values()) == np.arange(1.0, 401.0).sum()
    assert "run_spec" not in caplog.text


@pytest.mark.slow
def test_a_persisted_cube_is_computed_from_what_the_cluster_holds(small_portions, cluster):
    with cluster.as_current():
        source = da.from_array(np.arange(144).reshape(12, 12), chunks=4).persist()
        found = compute([tasks_of(lambda block, index: int(block.sum()), source)])
        again = compute([tasks_of(lambda block, index: int(block.sum()), source + 1)])
    assert sum(found.values()) == np.arange(144).sum()
    assert sum(again.values()) == np.arange(144).sum() + 144


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_results_that_came_are_reported_when_a_cluster_run_ends(small_portions, cluster, error):
    """The client is interrupted as it takes note of the first result, or that raises."""
    found = {}

    def ends(key, result):
        found[key.index] = result
        raise error

    with cluster.as_current():
        with pytest.raises(error):
            compute([tasks_of(note, da.zeros((8, 2), chunks=2))], done=ends)
        assert len(found) == 1
        assert len(compute([tasks_of(note, da.zeros((8, 2), chunks=2))])) == 4


# --- memory ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, 20])
@pytest.mark.parametrize("kind", ["grid", "warp"])
def test_a_block_that_needs_too_much_memory_is_cut(monkeypatch, size, kind):
    cube = make_cube(with_holes((2, 2, 14, 14)), chunks=5)
    other = cube.odc.geobox.to_crs("EPSG:32632", resolution=4)
    target = {"scale": 2.7} if kind == "grid" else {"like": other}
    wanted = interpolate(cube, **target, chunks=20).compute(scheduler="sync")
    real, asked = Interpolation.__call__, []

    def hungry(self, window, rows, cols, cell):
        asked.append((len(rows), window.shape[2]))
        if len(rows) > size:
            raise MemoryError
        return real(self, window, rows, cols, cell)

    monkeypatch.setattr(Interpolation, "__call__", hungry)
    found = interpolate(cube, **target, chunks=20).compute(scheduler="sync")
    assert same_bytes(found, wanted)
    if size < 20:
        tall, wide = max(asked), min(asked)
        assert tall[0] > size >= wide[0]
        assert wide[1] < tall[1]  # the window shrinks, too


def test_memory_that_is_never_enough_says_what_to_lower(monkeypatch):
    def starving(self, window, rows, cols, cell):
        raise MemoryError

    monkeypatch.setattr(Interpolation, "__call__", starving)
    with pytest.raises(MemoryError, match=r"not even one row .* 8 columns.*smaller chunks.*--workers"):
        interpolate(make_cube((1, 1, 4, 4), chunks=4), scale=2).compute(scheduler="sync")


@dataclass(frozen=True)
class Numbered:
    """Block function that answers with the number of date and row, and has no memory for more than a few rows."""

    dates: range
    rows: range
    most: int
    halo: int = 0
    padding: str = "edge"

    def place(self, dates, rows, cols):
        return replace(self, dates=self.dates[dates.slice], rows=self.rows[rows.slice])

    def __call__(self, window, rows, cols, cell):
        if len(rows) > self.most:
            raise MemoryError
        numbers = 100.0 * np.array(self.dates)[:, None, None, None] + np.array(self.rows)[:, None]
        return np.broadcast_to(numbers, (*window.shape[:2], len(rows), len(cols))).astype(np.float32)


@pytest.mark.parametrize("chunks", [None, {"time": 2, "y": 5}])
def test_a_block_that_is_cut_knows_its_dates_and_rows(chunks):
    source = make_cube((3, 1, 12, 4), chunks=chunks).data
    plan = graph.make_plan(Refinement((12, 4), (1.0, 1.0)), (12, 4), halo=0, chunks=(6, 4))
    found = np.asarray(graph.run(Numbered(range(3), range(12), most=2), source, plan))
    assert np.array_equal(found[:, 0, :, 0], 100 * np.arange(3)[:, None] + np.arange(12))


def test_points_are_not_cut(monkeypatch):
    def starving(self, window, rows, cols, cell):
        raise MemoryError

    monkeypatch.setattr(Interpolation, "__call__", starving)
    sampling = Points(np.array([1.0, 2.0]), np.array([1.0, 2.0]), (1.0, 1.0))
    plan = graph.make_plan(sampling, (4, 4), halo=1, chunks=(1, 2))
    with pytest.raises(MemoryError, match="not even one row"):
        graph.run(Interpolation("bilinear"), make_cube((1, 1, 4, 4)).values, plan)


@pytest.mark.parametrize("where", ["threads", pytest.param("cluster", marks=pytest.mark.slow)])
def test_what_lacked_memory_beside_others_is_computed_alone(tmp_path, request, where):
    """Whether failed blocks are reported or not."""

    def lacks_memory_once(block, index):
        mark = tmp_path / "-".join(map(str, index))
        if index == (1,) and not mark.exists():
            mark.touch()
            raise MemoryError
        return int(block.sum())

    tasks = graph.block_tasks(lacks_memory_once, da.ones(12, chunks=4), label="a", indices=[(0,), (1,), (2,)])
    with on(where, request):
        assert compute([tasks]) == {(0,): 4, (1,): 4, (2,): 4}


@pytest.mark.parametrize("where", ["threads", pytest.param("cluster", marks=pytest.mark.slow)])
def test_what_lacks_memory_alone_ends_the_computation(request, where):
    def lacks_memory(block, index):
        raise MemoryError("not for this block")

    tasks = graph.block_tasks(lacks_memory, da.ones(4, chunks=4), label="a", indices=[(0,)])
    with on(where, request), pytest.raises(MemoryError, match="not for this block"):
        compute([tasks])


def test_nobody_computes_any_more_when_an_error_comes_out():
    begun, failed, finished = threading.Event(), threading.Event(), threading.Event()

    def one_fails_while_the_other_works(block, index):
        if index == (0,):
            begun.wait()
            failed.set()
            raise RuntimeError("broken")
        begun.set()
        failed.wait()
        sum(range(10_000_000))
        finished.set()

    source = da.from_array(np.zeros(2), chunks=1)
    tasks = graph.block_tasks(one_fails_while_the_other_works, source, label="a", indices=[(0,), (1,)])
    with dask.config.set(scheduler="threads", num_workers=2), pytest.raises(RuntimeError, match="broken"):
        compute([tasks])
    assert finished.is_set()


def test_a_block_is_not_begun_again_while_it_is_at_work():
    begun, failed = threading.Event(), threading.Event()
    busy, side_by_side = set(), []

    def one_fails_while_the_other_works(block, index):
        side_by_side.append(index in busy)
        busy.add(index)
        if index == (0,):
            begun.wait()
            failed.set()
            raise RuntimeError("broken")
        begun.set()
        failed.wait()
        sum(range(10_000_000))
        busy.remove(index)

    source = da.from_array(np.zeros(2), chunks=1)
    tasks = graph.block_tasks(one_fails_while_the_other_works, source, label="a", indices=[(0,), (1,)])
    errors = {}
    with dask.config.set(scheduler="threads", num_workers=2):
        results = compute([tasks], failed=lambda key, error: errors.update({key.index: error}))
    assert side_by_side.count(True) == 1  # the one that had failed, whose place was never given back
    assert isinstance(errors.pop((0,)), RuntimeError)
    assert (errors, set(results)) == ({}, {(1,)})


@pytest.mark.slow
def test_no_worker_writes_any_more_when_an_error_comes_out(tmp_path, cluster):
    begun, failed, finished = (tmp_path / name for name in ("begun", "failed", "finished"))

    def until(path):
        assert any(path.exists() for _ in range(10_000_000))

    def one_fails_while_the_other_works(block, index):
        if index == (0,):
            until(begun)
            failed.touch()
            raise RuntimeError("broken")
        begun.touch()
        until(failed)
        sum(range(20_000_000))
        finished.touch()

    source = da.from_array(np.zeros(2), chunks=1)
    tasks = graph.block_tasks(one_fails_while_the_other_works, source, label="a", indices=[(0,), (1,)])
    with cluster.as_current(), pytest.raises(RuntimeError, match="broken"):
        compute([tasks])
    assert finished.exists()


# --- work in memory ------------------------------------------------------------------------------------


def test_work_is_done_side_by_side_and_its_results_are_in_order():
    """Each call waits for another one: one after another they would never meet."""
    meeting = threading.Barrier(2)

    def met(item):
        meeting.wait(timeout=30)
        return item

    with dask.config.set(num_workers=2):
        assert list(graph.side_by_side(met, [3, 1, 2, 0])) == [3, 1, 2, 0]


@pytest.mark.parametrize("most", [{"threads": 1}, {"threads": 0}])
def test_work_is_not_done_side_by_side_unless_it_pays(most):
    with dask.config.set(num_workers=2):
        assert set(graph.side_by_side(lambda _: threading.current_thread(), range(4), **most)) == {
            threading.main_thread()
        }


def test_work_beside_other_threads_stays_in_its_own():
    with ThreadPoolExecutor(1) as pool, dask.config.set(num_workers=2):
        own = pool.submit(threading.current_thread).result()
        found = pool.submit(lambda: set(graph.side_by_side(lambda _: threading.current_thread(), range(4)))).result()
    assert found == {own}


def test_work_is_done_one_after_another_where_dask_is_set_to_it():
    with dask.config.set(scheduler="synchronous", num_workers=2):
        assert set(graph.side_by_side(lambda _: threading.current_thread(), range(4))) == {threading.main_thread()}
