"""`liif` and `sample` at target times, by a tiny temporal network whose every part is alive."""

from unittest.mock import patch

import numpy as np
import pytest
import xarray as xr
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from models.helpers import BANDS, make_cube, write_temporal

import xsr
from xsr.core.errors import CubeError, ModelError, ParameterError
from xsr.models import registry
from xsr.models.channels import Channels
from xsr.models.engine import ready
from xsr.operations.super_resolve import networks
from xsr.operations.super_resolve.networks import FILL, GAP_REACH, TRUST, Temporal
from xsr.testing import assert_lazy

TARGETS = ["2024-06-03", "2024-06-13T12:00", "2024-06-11", "2024-06-20", "2024-06-21"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_temporal(tmp_path_factory.mktemp("temporal"))


@pytest.fixture(scope="module")
def zero_model(tmp_path_factory):
    return write_temporal(tmp_path_factory.mktemp("zero"), zero=True)


def make_series(height=20, width=17, dates=6):
    """Series with clouds over whole dates, parts of dates, one band, and one pixel throughout."""
    cube = make_cube(height, width, dates=dates)
    cube.values[2, :, 3:12] = np.nan
    cube.values[4] = np.nan
    cube.values[1, 2, 5, 5] = np.nan
    cube.values[:, 1, 0, 0] = np.nan
    return cube


def largest(one, two):
    assert np.array_equal(np.isnan(one), np.isnan(two))
    return float(np.nanmax(np.abs(one - two)))


@pytest.mark.slow
@examples(6)
@given(st.sampled_from([1.0, 2.0, 2.7]), st.integers(5, 30), st.integers(3, 20), st.integers(1, 6))
def test_any_chunks_and_order_of_dates_give_the_same_image(model, scale, chunk_out, chunk_in, chunk_time):
    cube = make_series()
    shuffled = cube.isel(time=[3, 0, 5, 1, 4, 2]).chunk(time=chunk_time, y=chunk_in, x=chunk_in)
    with patch.object(networks, "GAP_REACH", 3):  # less than the cube, and than its gaps
        whole = xsr.liif(cube, scale=scale, t=TARGETS, model=model)
        parts = xsr.liif(shuffled, scale=scale, t=TARGETS, model=model, chunks=chunk_out).compute()
    assert parts.dims == ("time", "band", "y", "x")
    assert parts.time.values.tolist() == np.array(TARGETS, "datetime64[ns]").tolist()
    assert largest(parts.values, whole.values) <= 3e-6  # of values up to 4: sums of slices of other lengths
    assert np.array_equal(parts.n_valid, whole.n_valid)


def test_a_date_is_encoded_once_for_all_target_times_of_a_block(model, monkeypatch):
    cube = make_cube(20, 17, dates=6)
    cube.values[4] = np.nan
    module, seen = ready(registry.spec(model), "float32", "cpu").module, []
    encode = module.encode
    monkeypatch.setattr(module, "encode", lambda x, margin: seen.append(len(x)) or encode(x, margin))
    hours = cube.time.values[0] + np.arange(12) * (cube.time.values[-1] - cube.time.values[0]) / 11
    whole = xsr.liif(cube, scale=2.0, t=hours, model=model, precision="float32")
    assert sum(seen) == 5  # one date is no data throughout
    seen.clear()
    halves = cube.chunk(time=1, y=10, x=10).sr.liif(
        scale=2.0, t=hours, model=model, precision="float32", chunks=(40, 17)
    )
    halves = halves.compute(scheduler="synchronous")
    assert sum(seen) == 2 * 5
    assert largest(halves.values, whole.values) <= 1e-6


def test_threads_give_the_same_bytes(model):
    cube = make_series().chunk(time=2, y=9, x=9)
    fine = cube.sr.liif(scale=2.0, t=TARGETS, model=model, chunks=20)
    one, other = (fine.compute(scheduler=scheduler).values for scheduler in ("synchronous", "threads"))
    assert one.tobytes() == other.tobytes()


@pytest.mark.slow
def test_the_halo_is_needed(model, monkeypatch):
    cube = make_cube(40, 40, dates=3)
    radius = registry.card(model).radius
    whole = xsr.liif(cube, scale=2.0, t="2024-06-03", fill=False, model=model).values
    for halo, least, most in ((radius - 1, 0, 1e-6), (radius - 2, 1e-6, 1)):
        monkeypatch.setattr(Temporal, "halo", property(lambda self, halo=halo: halo))
        parts = xsr.liif(cube, scale=2.0, t="2024-06-03", fill=False, model=model, chunks=16).values
        assert least <= largest(parts, whole) <= most


def test_a_target_time_does_not_depend_on_those_requested_with_it(model):
    cube = make_series()
    together = xsr.liif(cube, scale=2.0, t=TARGETS, model=model)
    for number, target in enumerate(TARGETS):
        alone = xsr.liif(cube, scale=2.0, t=target, model=model)
        assert largest(alone.values[0], together.values[number]) <= 1e-6


def test_a_network_of_zeros_is_time_linear_bicubic(zero_model):
    cube = make_cube(16, 15, dates=6)  # without gaps: how they are filled differs
    found = xsr.liif(cube, scale=2.5, t=TARGETS, model=zero_model)
    inner = (..., slice(6, -6), slice(6, -6))  # beyond the border one mirrors and the other repeats
    wanted = xsr.interpolate(cube, scale=2.5, t=TARGETS)
    assert np.abs(found.values - wanted.values)[inner].max() <= 1e-6


def test_gaps_are_filled_by_how_dates_differ_around_them(zero_model):
    cube = make_cube(24, 24, dates=6)
    scene = cube.values[0].copy()
    for date in range(6):  # twice as bright for every second date, so that farther dates are no stand-in
        cube.values[date] = scene * (1 + date % 2) + 0.01 * date
    hidden = cube.copy(deep=True)
    hidden.values[3, :, 8:15, 8:15] = np.nan
    wanted = xsr.liif(cube, scale=2.0, t="2024-06-16", model=zero_model)
    filled, skipped = (
        xsr.liif(hidden, scale=2.0, t="2024-06-16", fill=fill, model=zero_model) for fill in (True, False)
    )
    trusted = TRUST * wanted.values + (1 - TRUST) * skipped.values
    assert largest(filled.values, trusted) <= 2e-3
    assert largest(skipped.values, wanted.values) > 0.02
    assert np.array_equal(filled.n_valid, skipped.n_valid)  # what is filled was not seen
    assert filled.n_valid.values[0, 20, 20] == 5


def test_what_lies_under_a_hole_does_not_matter(model):
    cube = make_series()
    changed = cube.copy(deep=True)
    changed.values[np.isnan(cube.values)] = np.inf
    one, two = (xsr.liif(c, scale=2.0, t=TARGETS, model=model).values for c in (cube, changed))
    assert largest(one, two) == 0


def test_nothing_valid_is_nan_and_counted(model):
    found = xsr.liif(make_series(), scale=2.0, t=TARGETS, model=model)
    hole = np.isnan(found.values)
    assert hole[:, 1, :2, :2].all()
    assert hole.sum() == len(TARGETS) * 4
    assert (found.n_valid[:, :2, :2] == 0).all()
    assert found.n_valid.max() == 5
    assert found.n_valid.dims == ("time", "y", "x")


def test_farther_frames_are_left_out(model):
    cube = make_cube(12, 12, dates=6)
    far = cube.copy(deep=True)
    far.values[[0, 5]] += 1
    for frames, same in ((2, True), (6, False)):
        one, two = (xsr.liif(c, scale=2.0, t="2024-06-13", frames=frames, model=model).values for c in (cube, far))
        assert (largest(one, two) == 0) is same
    near = xsr.liif(far, scale=2.0, t="2024-06-13", frames=6, window=9, model=model).values
    assert largest(near, xsr.liif(cube, scale=2.0, t="2024-06-13", frames=6, window=9, model=model).values) == 0


def test_lazy_with_one_task_for_twelve_target_times_of_a_block(model):
    cube = make_series().chunk(time=2, y=9, x=9)
    hours = np.datetime64("2024-06-13T00", "ns") + np.arange(13) * np.timedelta64(1, "h")
    with assert_lazy(cube):
        fine = cube.sr.liif(scale=2.0, t=hours, model=model, chunks=20)
        points = cube.sr.sample(x=cube.x[:3].values, y=cube.y[:3].values, t=TARGETS, model=model)
    layer = fine.__dask_graph__().layers[fine.data.name]
    assert len(layer) == 2 * 2 * 2 + 1  # and what the tasks share
    assert fine.chunks[0] == (12, 1)
    assert points.dims == ("time", "band", "point")


def test_points_are_the_image_at_their_places(model):
    cube = make_series()
    fine = xsr.liif(cube, scale=2.0, t=TARGETS, model=model)
    rows, cols = np.array([3, 30, 17]), np.array([8, 2, 33])
    x = xr.DataArray(fine.x.values[cols], dims="site", coords={"site": list("abc")})
    y = xr.DataArray(fine.y.values[rows], dims="site", coords={"site": list("abc")})
    points = xsr.sample(cube, x=x, y=y, t=TARGETS, scale=2.0, model=model)
    assert points.site.values.tolist() == list("abc")
    assert largest(points.values, fine.values[:, :, rows, cols]) <= 1e-6


def test_dataset_and_ascending_y(model):
    cube = make_series()
    wanted = xsr.liif(cube, scale=2.0, t=TARGETS, model=model)
    dataset = xsr.liif(cube.to_dataset("band"), scale=2.0, t=TARGETS, model=model)
    assert set(dataset.data_vars) == set(BANDS)
    assert largest(dataset["B04"].values, wanted.sel(band="B04").values) == 0
    ascending = xsr.liif(cube.isel(y=slice(None, None, -1)), scale=2.0, t=TARGETS, model=model)
    assert largest(ascending.values[:, :, ::-1], wanted.values) == 0


def test_series_of_one_date_and_a_time_beyond(model):
    cube = make_cube(dates=1)
    with pytest.raises(ParameterError, match="extrapolate=5"):
        xsr.liif(cube, scale=2.0, t="2024-06-06", model=model)
    assert np.isfinite(xsr.liif(cube, scale=2.0, t="2024-06-06", extrapolate=5, model=model)).all()


def test_bad_arguments(model):
    cube = make_cube(dates=2)
    with pytest.raises(ModelError, match=r"computes target times; t=\.\.\. names them, or choose liif_s2"):
        xsr.liif(cube, scale=2.0, model=model)
    with pytest.raises(CubeError, match=r"the cube has no dates"):
        xsr.liif(cube.isel(time=0, drop=True), scale=2.0, t="2024-06-01", model=model)
    with pytest.raises(ParameterError, match="frames=0"):
        xsr.liif(cube, scale=2.0, t="2024-06-02", frames=0, model=model)
    with pytest.raises(ParameterError, match="no date lies within window=1"):
        xsr.liif(cube, scale=2.0, t="2024-06-03T12:00", window=1, model=model)


def test_filling_widens_the_halo(model):
    spec = registry.spec(model)
    assert Temporal(spec, Channels(("B02",), (0.1,), (0.05,)), (0,), 6, "cpu", fill=False).halo == 6 - 1 + FILL
    assert Temporal(spec, Channels(("B02",), (0.1,), (0.05,)), (0,), 6, "cpu").halo == 6 - 1 + FILL + GAP_REACH
