"""`liif` and `sample` at target times by a network of single dates, corrected by what other dates show."""

from unittest.mock import patch

import numpy as np
import pytest
import xarray as xr
from models.helpers import make_cube
from operations.test_dates import BANDS, MTF, SHIFTS, TARGETS, displaced_series, error, largest, make_series, write_liif

import xsr
from xsr.core.errors import ModelError
from xsr.kernels.evidence import Part
from xsr.kernels.fusion import WINDOW
from xsr.kernels.innovation import EDGE, Innovations
from xsr.operations.super_resolve import dates as reading
from xsr.operations.super_resolve import networks
from xsr.testing import assert_lazy


def write_single(folder, *, zero=False, sharpness="sensor", mtf=MTF):
    """Write a tiny LIIF that reads one date; ``zero`` leaves bicubic interpolation alone."""
    return write_liif(folder, f"single_{zero}_{sharpness}", 3, zero=zero, sharpness=sharpness, mtf=mtf)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_single(tmp_path_factory.mktemp("single"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_single(tmp_path_factory.mktemp("plain"), zero=True)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "chunk_out", "chunk_in"), [(2.0, 27, 22), (2.7, 40, 9)])
def test_any_chunks_give_the_same_image(model, scale, chunk_out, chunk_in):
    cube = make_series()
    options = {"scale": scale, "model": model, "precision": "float32", "t": TARGETS}
    with patch.object(networks, "GAP_REACH", 3), patch.object(reading, "GAP_REACH", 3):
        whole = xsr.liif(cube, **options)
        parts = xsr.liif(cube.chunk(time=1, y=chunk_in, x=chunk_in), chunks=chunk_out, **options).compute()
    assert largest(parts.values, whole.values) <= 3e-6


def test_it_is_lazy_and_displacements_may_be_lazy(model):
    cube = make_series().chunk(time=1, y=11, x=10).drop_vars(["shift_x_m", "shift_y_m"])
    assert_lazy(lambda: xsr.liif(cube.sr.register(), scale=2, t=TARGETS, model=model))


@pytest.mark.parametrize("scale", [2, 2.5])
def test_one_date_is_that_of_the_network_alone(model, scale):
    cube = make_series(dates=3)
    cube.values[:] = np.nan_to_num(cube.values, nan=0.1)
    alone = xsr.liif(cube.isel(time=[0]), scale=scale, model=model, precision="float32")
    timed = xsr.liif(cube, scale=scale, t=cube.time.values[0], frames=1, model=model, precision="float32")
    assert largest(alone.values, timed.values) <= 1e-6
    more = xsr.liif(cube, scale=scale, t=cube.time.values[0], model=model, precision="float32")
    assert largest(more.values, timed.values) > 1e-3


def test_points_are_those_of_the_grid(model):
    cube = make_series()
    fine = xsr.liif(cube, scale=2, t=TARGETS[:2], model=model, precision="float32")
    x, y = fine.x.values[[3, 20, 30]], fine.y.values[[5, 11, 40]]
    points = xsr.sample(cube, x=x, y=y, scale=2, t=TARGETS[:2], model=model, precision="float32")
    wanted = fine.values[:, :, [5, 11, 40], [3, 20, 30]]
    assert largest(points.transpose("time", "band", "point").values, wanted) <= 1e-5


def test_bands_of_larger_pixels_are_those_of_the_network(model):
    cube = make_series(dates=3)
    cube.values[:] = np.nan_to_num(cube.values, nan=0.1)
    cube = cube.assign_coords(native_gsd=("band", [10.0, 10.0, 20.0]))
    options = {"scale": 2, "t": cube.time.values[0], "model": model, "precision": "float32", "fill": False}
    one, all_dates = (xsr.liif(cube, frames=frames, **options) for frames in (1, 3))
    assert np.array_equal(one.sel(band="B11"), all_dates.sel(band="B11"), equal_nan=True)
    assert not np.array_equal(one.sel(band="B04"), all_dates.sel(band="B04"), equal_nan=True)


def test_a_model_of_unknown_sharpness_has_no_target_times(tmp_path):
    path = write_single(tmp_path, sharpness=None)
    with pytest.raises(ModelError, match="leave t out"):
        xsr.liif(make_series(), scale=2, t=TARGETS, model=path)


@pytest.mark.slow
@pytest.mark.parametrize("sharpness", ["sensor", "ideal"])
def test_more_dates_make_less_error(tmp_path, sharpness):
    truth, cube = displaced_series(SHIFTS)
    registered = cube.sr.register()
    path = write_single(tmp_path, zero=True, sharpness=sharpness)
    options = {"scale": 2, "t": cube.time.values[0], "model": path, "psf": "sensor"}
    found = [error(xsr.liif(registered, **options, frames=frames), truth) for frames in (1, 2, 3, 5)]
    assert found[0] > found[1] > found[2] > found[3]
    assert found[3] < 0.65 * found[0]


@pytest.mark.parametrize(("sharpness", "side"), [("sensor", 0.5), ("ideal", 0.0)])
def test_the_correction_is_as_sharp_as_the_network(tmp_path, monkeypatch, sharpness, side):
    """The sensor of half the pixel, or none: sides of its pixels, which `Part.at` takes times its width."""
    seen, at = set(), Part.at
    monkeypatch.setattr(Part, "at", lambda self, rows, cols, cell: seen.add(cell) or at(self, rows, cols, cell))
    path = write_single(tmp_path, zero=True, sharpness=sharpness)
    registered = displaced_series(SHIFTS)[1].sr.register()
    xsr.liif(registered, scale=2, t=registered.time.values[0], model=path, frames=3).compute()
    assert seen == {side}


def test_a_bad_date_costs_a_tenth_of_what_the_others_bring_at_most(plain):
    truth, cube = displaced_series(SHIFTS)
    rng = np.random.default_rng(0)
    cube.values[:] += 0.001 * rng.standard_normal(cube.shape).astype(np.float32)
    cube.values[2] = 0.2 + 0.02 * rng.standard_normal(cube.shape[1:])
    north, east = ([-10 * shift[0] for shift in SHIFTS], [10 * shift[1] for shift in SHIFTS])
    registered = cube.assign_coords(shift_y_m=("time", north), shift_x_m=("time", east))
    options = {"scale": 2, "t": cube.time.values[0], "model": plain}
    used, left_out, alone = (
        error(xsr.liif(registered.isel(time=picks), **options), truth) for picks in ([0, 1, 2, 3, 4], [0, 1, 3, 4], [0])
    )
    assert np.log(used / left_out) < 0.1 * np.log(alone / left_out)


def test_a_date_that_is_displaced_is_put_where_the_reference_lies(plain):
    truth, cube = displaced_series(SHIFTS[:2])
    options = {"scale": 2, "t": cube.time.values[1], "model": plain}
    in_place = error(xsr.liif(cube.sr.register(), **options), truth)
    beside = error(xsr.liif(cube, **options), truth)
    assert in_place < 0.6 * beside


def test_datasets_are_taken_too(model):
    cube = make_series()
    fine = xsr.liif(cube.to_dataset("band"), scale=2, t=TARGETS[0], model=model, precision="float32")
    wanted = xsr.liif(cube, scale=2, t=TARGETS[0], model=model, precision="float32")
    assert isinstance(fine, xr.Dataset)
    assert largest(fine["B04"].values, wanted.sel(band="B04").values) == 0


def test_it_is_asked_for_by_name():
    cube = make_cube(12, 12, dates=2, bands=("B02", "B03", "B04", "B08"))
    known = cube.assign_coords(shift_x_m=("time", [0.0, 3.0]), shift_y_m=("time", [0.0, -2.0]))
    options = {"scale": 2, "t": cube.time.values[0], "precision": "float32"}
    found = xsr.liif(known, model="liif_s2", **options)
    assert found.attrs["xsr_model"] == "liif_s2"
    assert largest(found.values, xsr.liif(cube.isel(time=[0]), scale=2, precision="float32").values) > 1e-4
    assert xsr.liif(known, **options).attrs["xsr_model"] == "temporal_liif_s2"


def test_an_image_that_explains_the_dates_is_left_as_it_is():
    rng = np.random.default_rng(0)
    side = 2 * EDGE + 12
    image, expected = rng.random((2, side, side), np.float32), rng.random((4, 2, side, side), np.float32)
    expected[0] = image
    # The dates have other colours: a line each.
    dates = 0.1 + 0.5 * expected[1:]
    valid = np.ones((3, side, side), bool)
    valid[1, 20:25, 20:25] = False
    shifts = [(0.3, -0.1), (-0.4, 0.2), (0.1, 0.4)]
    found = Innovations.of(image, dates, valid, expected, shifts, [5, 0, 90], 0.4, measured=True)
    assert found.others.shape == (3, 2, side - 2 * WINDOW, side - 2 * WINDOW)
    rows, cols = np.meshgrid(np.arange(0, 11.5, 0.5), np.arange(0, 11.5, 0.5), indexing="ij")
    assert np.abs(found.using([0, 1, 2]).at(rows, cols, 0.5)).max() < 1e-4


def test_a_shown_date_keeps_its_holes_where_no_date_is_clear(model):
    cube = make_cube(22, 19, dates=3, bands=BANDS)
    cube.values[:, 1, 3, 4] = np.nan
    fine = xsr.liif(cube, scale=2, t=cube.time.values[0], model=model, fill=False)
    assert np.isnan(fine.values[0, 1, 6:8, 8:10]).all()
    assert np.isnan(fine.values).sum() == 4
