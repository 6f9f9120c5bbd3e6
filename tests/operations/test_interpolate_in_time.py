"""Interpolation at target times, and with it the drivers that read several dates at once."""

from functools import partial

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from fuzzing import examples
from helpers import NORTH, WEST, make_cube, make_dataset, make_geobox
from hypothesis import given
from hypothesis import strategies as st

import xsr
from xsr.core import pipeline
from xsr.core.cube import open_cube
from xsr.core.errors import CubeError, ParameterError
from xsr.operations.interpolate import _at, interpolate
from xsr.operations.store import to_zarr
from xsr.testing import assert_lazy, assert_same_grid

TIMES = ("2024-06-01", "2024-06-04", "2024-06-11", "2024-06-12", "2024-06-30")
ASKED = ("2024-06-02T12:00", "2024-06-11", "2024-06-20", "2024-06-29")


def with_holes(shape=(5, 2, 9, 8), share=0.4, seed=1):
    rng = np.random.default_rng(seed)
    values = rng.random(shape, dtype=np.float32)
    values[rng.random(shape) < share] = np.nan
    return values


def make_series(shape=(5, 2, 9, 8), share=0.4, make=make_cube, **options):
    return make(with_holes(shape, share), times=TIMES[: shape[0]], **options)


def day(texts):
    return np.atleast_1d(np.array(texts, "datetime64[ns]")).astype(float) / 86_400e9


def by_hand(cube, asked, combine):
    """Combine the clear dates of every pixel by itself: dims (time, band, y, x)."""
    dates = cube.time.values.astype("datetime64[ns]").astype(float) / 86_400e9
    out = np.full((len(day(asked)), *cube.shape[1:]), np.nan)
    for place in np.ndindex(cube.shape[1:]):
        seen = np.isfinite(cube.values[(slice(None), *place)])
        if seen.any():
            pixel = cube.values[(slice(None), *place)][seen].astype(float)
            out[(slice(None), *place)] = [combine(now, dates[seen], pixel) for now in day(asked)]
    times = np.atleast_1d(np.array(asked, "datetime64[ns]"))
    return cube.isel(time=[0] * len(times)).assign_coords(time=times).copy(data=out.astype(np.float32))


def nearest(now, dates, pixel):
    return pixel[np.argmin(np.abs(dates - now))]


def mean_of(frames):
    return lambda now, dates, pixel: pixel[np.argsort(np.abs(dates - now), kind="stable")[:frames]].mean()


# --- the values ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "combine"),
    [
        ({}, np.interp),
        ({"temporal": "nearest"}, nearest),
        ({"temporal": "mean", "frames": 2}, mean_of(2)),
        ({"temporal": "mean"}, mean_of(5)),
    ],
    ids=["linear", "nearest", "mean of 2", "mean of 5"],
)
@pytest.mark.parametrize("target", [{"scale": 2.7}, {"resolution": 5}, {"like": make_geobox((20, 19), gsd=3)}])
def test_it_is_the_combination_of_the_clear_dates_then_the_interpolation_in_space(options, combine, target):
    cube = make_series()
    assert np.isnan(cube).all("time").any()  # some pixels were never seen
    found = interpolate(cube, t=ASKED, **target, **options)
    wanted = interpolate(by_hand(cube, ASKED, combine), **target)
    assert found.dims == wanted.dims
    assert np.array_equal(found.time, wanted.time)
    assert_same_grid(found, wanted)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6)


def test_half_way_by_hand():
    values = np.array([0.1, 0.2, np.nan, 0.5, 0.5], np.float32)[:, None, None, None] * np.ones((1, 1, 3, 3), np.float32)
    found = interpolate(make_cube(values, times=TIMES), scale=1, t="2024-06-08")
    np.testing.assert_allclose(found, 0.35, atol=1e-7)
    assert found.sizes["time"] == 1


@pytest.mark.parametrize("temporal", ["linear", "nearest"])
@pytest.mark.parametrize("method", ["nearest", "bicubic"])
def test_a_clear_date_is_reproduced_to_the_bit(temporal, method):
    cube = make_series(share=0)
    found = interpolate(cube, t=list(TIMES[::-1]), scale=3.4, method=method, temporal=temporal)
    wanted = interpolate(cube.isel(time=slice(None, None, -1)), scale=3.4, method=method)
    assert np.array_equal(found, wanted)
    assert np.array_equal(found.time, wanted.time)


def test_a_hidden_date_is_not():
    cube = make_series(share=0)
    hidden = cube.copy(deep=True)
    hidden[1] = np.nan
    found = interpolate(hidden, t=TIMES[1], scale=2)
    assert np.abs(found - interpolate(cube, scale=2).isel(time=[1])).max() > 0.1
    dropped = interpolate(hidden.isel(time=[0, 2, 3, 4]), t=TIMES[1], scale=2)
    assert np.array_equal(found, dropped)


def test_a_straight_line_in_time_goes_on_between_the_dates():
    line = day(TIMES) - day(TIMES[0])
    values = np.broadcast_to(1e-2 * line.astype(np.float32)[:, None, None, None], (5, 1, 4, 4)).copy()
    found = interpolate(make_cube(values, times=TIMES), t="3D", scale=2)
    wanted = 1e-2 * 3 * np.arange(10)
    np.testing.assert_allclose(found, np.broadcast_to(wanted[:, None, None, None], found.shape), atol=1e-6)


def test_window_leaves_far_dates_out():
    cube = make_series(share=0)
    within = interpolate(cube, t="2024-06-10", scale=2, window=3)
    alone = interpolate(cube.isel(time=[2, 3]), t="2024-06-11", scale=2, temporal="nearest")
    assert np.array_equal(within, alone)  # dates on one side alone: the nearest of them
    assert (within.n_valid == 2).all()
    assert not np.allclose(within, interpolate(cube, t="2024-06-10", scale=2))
    with pytest.raises(ParameterError, match="no date lies within window=3 days of t=2024-06-20"):
        interpolate(cube, t=["2024-06-10", "2024-06-20"], scale=2, window=3)


def test_beyond_the_series_only_on_request_and_then_its_last_clear_date():
    cube = make_series(share=0)
    with pytest.raises(ParameterError, match=r"2\.0 days outside the series"):
        interpolate(cube, t="2024-07-02", scale=2)
    found = interpolate(cube, t="2024-07-02", scale=2, extrapolate=2)
    assert np.array_equal(found[0], interpolate(cube, scale=2)[-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t": "soon"}, "neither a date nor"),
        ({"method": "cubic"}, "method='cubic'"),
        ({"scale": None}, "scale"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        interpolate(make_series(), **{"t": "2024-06-10", "scale": 2, **options})


@pytest.mark.parametrize("t", ["2024-06-10", None])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temporal": "cubic"}, "temporal='cubic'; expected one of linear, nearest, mean"),
        ({"temporal": "mean", "frames": 0}, "frames=0; expected a whole number >= 1"),
        ({"frames": 2.5}, r"frames=2\.5; expected a whole number >= 1"),
        ({"frames": True}, "frames=True; expected a whole number >= 1"),
        ({"frames": "3"}, "frames='3'; expected a whole number >= 1"),
    ],
)
def test_options_of_time_are_checked_with_dates_and_without(options, message, t):
    with pytest.raises(ParameterError, match=message):
        interpolate(make_series(), t=t, scale=2, **options)


def test_a_cube_needs_dates():
    alone = make_series().isel(time=0)
    unknown = make_series()
    for cube in (
        alone,
        alone.drop_vars("time"),
        unknown.drop_vars("time"),
        make_dataset((2, 5, 5)),
        unknown.assign_coords(time=range(5)),
        unknown.assign_coords(time=[*unknown.time.values[:4], np.datetime64("NaT", "ns")]),
    ):
        with pytest.raises(CubeError, match=r"the cube has no dates|expected a datetime64 for every date"):
            interpolate(cube, t="2024-06-10", scale=2)


# --- counting the dates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 2.7])
def test_n_valid_counts_the_dates_on_which_every_band_is_clear(scale):
    cube = make_series()
    found = interpolate(cube, t=ASKED, scale=scale, window=10)
    assert found.n_valid.dims == ("time", "y", "x")
    assert found.n_valid.dtype == np.uint16
    at_y, at_x = (np.floor((np.arange(found.sizes[d]) + 0.5) / scale - 0.5 + 0.5).astype(int) for d in "yx")
    for number, now in enumerate(day(ASKED)):
        near = np.abs(day(TIMES) - now) <= 10
        count = np.isfinite(cube.values[near]).all(axis=1).sum(axis=0)
        assert np.array_equal(found.n_valid[number], count[at_y][:, at_x])
    assert len(np.unique(found.n_valid)) > 2


@pytest.mark.parametrize("chunks", [None, {"time": 2, "y": 4}])
def test_n_valid_is_zero_beyond_the_cube(chunks):
    found = interpolate(make_series(share=0, chunks=chunks), t=ASKED, like=make_geobox((30, 50), gsd=4), chunks=20)
    inside = np.isfinite(found).all("band")
    assert inside.any()
    assert not inside.all()
    assert np.array_equal(found.n_valid, np.where(inside, 5, 0))


def test_only_the_ten_nearest_dates_on_either_side_may_answer():
    times = pd.date_range("2024-01-01", periods=25, freq="D")
    cube = make_cube((25, 1, 3, 3), times=list(times))
    assert (interpolate(cube, t=times[12], scale=1).n_valid == 20).all()  # the date itself is one of the earlier
    assert (interpolate(cube, t=times[0], scale=1).n_valid == 11).all()


# --- any chunks, any order -------------------------------------------------------------------------------


@pytest.mark.slow
@given(data=st.data())
@examples(6)
def test_any_chunks_of_time_and_space_give_the_same_bytes(data):
    shape = (data.draw(st.integers(1, 5)), *data.draw(st.tuples(*(st.integers(1, n) for n in (3, 12, 12)))))
    into = {dim: data.draw(st.integers(1, n), dim) for dim, n in zip(("time", "band", "y", "x"), shape, strict=True)}
    options = {
        "scale": data.draw(st.sampled_from([1, 2, 3.4])),
        "method": data.draw(st.sampled_from(["nearest", "bicubic"])),
        "temporal": data.draw(st.sampled_from(["linear", "nearest", "mean"])),
        "t": data.draw(st.lists(st.sampled_from(ASKED + TIMES), min_size=1, max_size=4)),
        "extrapolate": 60,
    }
    cube = make_series(shape)
    whole = interpolate(cube, **options)
    chunks = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)), "chunks")
    order = data.draw(st.permutations(range(shape[0])), "order")
    for other in (cube, cube.chunk(into), cube.isel(time=order), cube.isel(time=order).chunk(into)):
        found = interpolate(other, chunks=chunks, **options).compute(scheduler="sync")
        assert found.values.tobytes() == whole.values.tobytes()
        assert np.array_equal(found.n_valid, whole.n_valid)
        xr.testing.assert_identical(found.coords.to_dataset(), whole.coords.to_dataset())


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("together", [2, 3, 9])
def test_target_times_together_are_the_same_as_one_by_one(together, chunked):
    cube = open_cube(make_series(chunks={"time": 2, "y": 4}) if chunked else make_series())
    target = pipeline.resolve_target(cube, scale=2, resolution=None, like=None)
    asked = [*ASKED, "2024-06-03"]  # not in order

    def at(together):
        moments = pipeline.Moments(asked, together=together)
        return pipeline.evaluate_at(
            cube,
            moments,
            partial(_at, "bicubic", "linear", 5),
            target,
            chunks=(7, 9),
            provenance={},
        )

    one, several = at(1), at(together)
    if chunked:
        assert one.chunks[0] == one.n_valid.chunks[0] == (1,) * 5
        assert several.chunks[0] == several.n_valid.chunks[0] == {2: (2, 2, 1), 3: (3, 2), 9: (5,)}[together]
    xr.testing.assert_identical(one.compute(scheduler="sync"), several.compute(scheduler="sync"))


def test_irregular_and_empty_chunks_of_time():
    import dask.array as da

    cube = make_series()
    lazy = cube.copy(data=da.from_array(cube.values, chunks=((0, 2, 0, 1, 2, 0), (1, 1), (4, 5), (8,))))
    found = interpolate(lazy, t=ASKED, scale=2, chunks=10).compute(scheduler="sync")
    xr.testing.assert_identical(found, interpolate(cube, t=ASKED, scale=2))


@pytest.mark.parametrize("target", [{"scale": 2}, {"like": make_geobox((20, 19), gsd=3)}])
def test_an_ascending_y_is_given_back_ascending(target):
    cube = make_series()
    found = interpolate(cube.isel(y=slice(None, None, -1)), t=ASKED, **target)
    wanted = interpolate(cube, t=ASKED, **target)
    if "scale" in target:
        assert (np.diff(found.y) > 0).all()
        found = found.isel(y=slice(None, None, -1))
    assert np.array_equal(found.y, wanted.y)
    assert np.array_equal(found, wanted, equal_nan=True)
    assert np.array_equal(found.n_valid, wanted.n_valid)


@pytest.mark.slow
def test_processes_give_the_same_bytes():
    found = interpolate(make_series(chunks={"time": 2, "y": 5}), t=ASKED, scale=2, chunks=9)
    with dask.config.set(scheduler="processes", num_workers=1):
        computed = found.compute()
    xr.testing.assert_identical(computed, interpolate(make_series(), t=ASKED, scale=2))


# --- laziness and tasks ----------------------------------------------------------------------------------

DEGREES = make_geobox((9, 8)).to_crs("EPSG:4326", resolution=4e-5)


@pytest.mark.parametrize("make", [make_cube, make_dataset])
@pytest.mark.parametrize("target", [{"scale": 3.4}, {"resolution": 2.5}, {"like": DEGREES}])
def test_nothing_is_computed(make, target):
    given_ = make_series(make=make, chunks={"time": 1, "y": 4})
    with assert_lazy(given_):
        found = interpolate(given_, t="5D", **target)
    assert dask.is_dask_collection(found)
    assert found.n_valid.chunks is not None


def test_one_task_makes_one_block_of_a_target_time_however_many_dates_it_reads():
    cube = make_series((5, 2, 32, 32), chunks={"time": 1, "y": 8, "x": 8})
    found = interpolate(cube, t=ASKED, scale=2, chunks=32)
    layer = found.data.dask.layers[found.data.name]
    assert found.data.numblocks == (4, 1, 2, 2)
    blocks = {(found.data.name, t, 0, y, x) for t in range(4) for y in range(2) for x in range(2)}
    assert set(layer) == blocks | {f"{found.data.name}-work"}
    counting = found.n_valid.data
    made = [layer for name, layer in counting.dask.layers.items() if name.startswith("count_valid")]
    assert [len(layer) for layer in made] == [16 + 1]


def test_a_block_reads_only_the_dates_and_chunks_it_needs():
    import dask.array as da

    read = []

    def note(block, block_info=None):
        if block_info:
            read.append(tuple(block_info[0]["chunk-location"]))
        return block

    cube = make_series((5, 1, 32, 32), share=0)
    data = da.from_array(cube.values, chunks=(1, 1, 8, 8)).map_blocks(note, dtype=np.float32, meta=np.empty(0, "f4"))
    found = interpolate(cube.copy(data=data), t="2024-06-12", scale=2, method="nearest", chunks=16, window=9)
    found.data[:, :, :16, 16:32].compute(scheduler="sync")
    assert sorted(read) == [(t, 0, y, x) for t in (1, 2, 3) for y in (0, 1) for x in (0, 1, 2)]


def test_the_same_call_gives_the_same_keys_and_another_does_not():
    def name(**options):
        cube = make_series(chunks={"time": 2})
        return interpolate(cube, **{"t": ASKED, "scale": 2, **options}).data.name

    assert name() == name()
    others = {"t": ASKED[:2]}, {"temporal": "nearest"}, {"window": 12}, {"scale": 2.1}, {"chunks": 5}
    assert len({name(), *(name(**other) for other in others)}) == 6


# --- the container ---------------------------------------------------------------------------------------


def test_coordinates_along_time_are_dropped_and_the_others_stay():
    cube = make_series().assign_coords(
        cloud=("time", np.arange(5)),
        angle=(("time", "band"), np.zeros((5, 2))),
        seen=(("time", "y", "x"), np.zeros((5, 9, 8))),
        wavelength=("band", [490.0, 560.0]),
        platform="S2A",
    )
    found = interpolate(cube, t=ASKED, scale=2)
    assert set(found.coords) == {"time", "band", "y", "x", "spatial_ref", "wavelength", "platform", "n_valid"}
    assert np.array_equal(found.time, np.array(ASKED, "datetime64[ns]"))
    assert found.attrs["xsr_operation"] == "interpolate:bicubic:linear"
    assert found.attrs["xsr_scale"] == [2.0, 2.0]


def test_a_dataset_loses_what_belongs_to_its_dates_and_keeps_the_rest():
    dataset = make_series(make=make_dataset).assign(
        cloud_cover=("time", np.arange(5.0)), orbit=("track", [8, 51]), version=4
    )
    dataset = dataset.assign_coords(relative=("time", np.arange(5)))
    found = interpolate(dataset, t=ASKED, scale=2)
    assert set(found.data_vars) == {"B02", "B03", "orbit", "version"}
    assert set(found.coords) == {"time", "y", "x", "spatial_ref", "n_valid"}
    wanted = interpolate(make_series(), t=ASKED, scale=2)
    assert np.array_equal(found["B03"], wanted.sel(band="B03"), equal_nan=True)
    assert np.array_equal(found.n_valid, wanted.n_valid)
    assert found["B03"].n_valid.dims == ("time", "y", "x")


def test_names_of_dimensions_and_single_bands():
    found = interpolate(make_series().isel(band=0), t=ASKED, scale=2)
    assert found.dims == ("time", "y", "x")
    assert found.n_valid.shape == found.shape
    bare = make_series().isel(band=0, drop=True).rename("ndvi")
    found = interpolate(bare, t=ASKED, scale=2)
    assert found.name == "ndvi"
    assert "band" not in found.coords
    geographic = interpolate(make_series(), t=ASKED, like=DEGREES)
    assert geographic.dims == ("time", "band", "latitude", "longitude")
    assert geographic.n_valid.dims == ("time", "latitude", "longitude")


def test_time_need_not_come_first():
    cube = make_series()
    found = interpolate(cube.transpose("band", "y", "time", "x"), t=ASKED, scale=2)
    assert np.array_equal(found, interpolate(cube, t=ASKED, scale=2), equal_nan=True)


def test_the_accessor_is_the_same():
    cube = make_series()
    options = dict(t=ASKED, temporal="mean", frames=2, window=20, extrapolate=1, method="bilinear", scale=2)
    xr.testing.assert_identical(cube.sr.interpolate(**options), xsr.interpolate(cube, **options))


@pytest.mark.slow
@pytest.mark.parametrize("make", [make_cube, make_dataset])
def test_round_trip_through_zarr(make, tmp_path):
    cube = make_series(make=make, chunks={"time": 2})
    found = interpolate(cube, t=ASKED, scale=2, chunks=10)
    to_zarr(found, tmp_path / "cube.zarr")
    with xr.open_zarr(tmp_path / "cube.zarr") as stored:
        back = stored if make is make_dataset else stored[next(iter(stored.data_vars))]
        assert "n_valid" in back.coords
        back = back.load()
    computed = found.compute()
    assert np.array_equal(back.n_valid, computed.n_valid)
    assert back.n_valid.dtype == np.uint16
    xr.testing.assert_equal(back.drop_vars("n_valid"), computed.drop_vars("n_valid"))


def test_corner_of_the_grid():
    found = interpolate(make_series(), t=ASKED, scale=3.4)
    assert found.odc.geobox.affine.almost_equals(Affine(10 / 3.4, 0, WEST, 0, -10 / 3.4, NORTH), precision=1e-7)


def test_in_time_alone_keeps_the_grid_and_the_clear_dates():
    cube = make_series()
    found = xsr.interpolate_time(cube, cube.time)
    assert_same_grid(found, cube)
    seen = np.isfinite(cube.values)
    assert np.array_equal(found.values[seen], cube.values[seen])
    assert np.isfinite(found.values[~seen]).any()  # gaps are filled from the neighbours in time
    middle = xsr.interpolate_time(cube.isel(time=[0, 1]), "2024-06-03T12:00")
    assert middle.sizes["time"] == 1
