import numpy as np
import pytest
import xarray as xr
from affine import Affine
from helpers import NORTH, WEST, make_cube
from scipy.ndimage import gaussian_filter

import xsr
from xsr.core.errors import BandError, CubeError, GridError, XsrWarning
from xsr.kernels import registration
from xsr.kernels.registration import find_shift
from xsr.operations.register import register
from xsr.testing import assert_lazy, assert_same_grid, synthetic_cube

SHIFTS = np.array([[0, 0], [0.1, -0.2], [-0.5, 0.5], [0.77, -1.1], [3.0, -2.6]])
"""Displacement of the frames down and right in pixels."""


def shifted(*, size=(200, 180), seed=1, **options):
    """Frames of one scene, displaced by `SHIFTS` before the sensor sees them: no interpolation, real aliasing."""
    high = synthetic_cube(seed=seed, size=(size[0] * 2, size[1] * 2), gsd_m=5.0, bands=("B04", "B08"))
    return xsr.semi_simulate(high, scale=2, frames=len(SHIFTS), shift_px=SHIFTS, seed=seed, **options)


def clouds(shape, cover, seed):
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), (0, 10, 10))
    return field > np.quantile(field, 1 - cover, axis=(1, 2), keepdims=True)


def error_px(cube):
    """Largest error in pixels against what `semi_simulate` recorded."""
    out = register(cube.drop_vars(["shift_x_m", "shift_y_m"]))
    return max(float(np.abs(out[name] - cube[name]).max()) for name in ("shift_x_m", "shift_y_m")) / 10


@pytest.mark.slow
def test_shifts_are_those_of_the_simulation():
    assert error_px(shifted(noise="sensor")) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("cover", "most"), [(0.2, 0.08), (0.5, 0.15)])
def test_clouds_and_changed_brightness_cost_little(cover, most):
    cube = shifted(noise="sensor")
    light = 1.4 * cube + 0.03
    hidden = clouds(cube.shape[:1] + cube.shape[2:], cover, 3)
    light[0] = cube[0]
    cloudy = light.where(~xr.DataArray(hidden, dims=("time", "y", "x")))
    assert 0 < error_px(cloudy) < most
    # the same outline in all dates speaks for no shift, and must not be heard
    same = light.where(~xr.DataArray(np.broadcast_to(hidden[:1], hidden.shape), dims=("time", "y", "x")))
    assert error_px(same) < most


def test_the_same_image_has_no_shift_and_full_quality():
    cube = make_cube(np.random.default_rng(0).random((1, 2, 40, 50)).repeat(2, 0))
    out = cube.sr.register()
    np.testing.assert_array_equal(out.shift_x_m, [0, 0])
    np.testing.assert_array_equal(out.shift_y_m, [0, 0])
    np.testing.assert_allclose(out.shift_quality, 1, atol=1e-6)
    xr.testing.assert_identical(out.drop_vars(["shift_x_m", "shift_y_m", "shift_quality"]), cube)


@pytest.mark.parametrize("form", ["descending", "ascending", "turned", "degrees"])
def test_east_and_north_are_those_of_the_map(form):
    image = np.random.default_rng(3).random((60, 60))
    moved = np.roll(image, (2, -3), (0, 1))  # two rows down, three columns to the left
    values = np.stack([image, moved])[:, None]
    affine = {
        "turned": Affine(10, 0, WEST, 0, -10, NORTH) @ Affine.rotation(90),
        "degrees": Affine(1e-4, 0, 10, 0, -1e-4, 60),
    }.get(form)
    cube = make_cube(values, affine=affine, crs="EPSG:4326" if form == "degrees" else "EPSG:32633")
    if form == "ascending":
        cube = cube.isel(y=slice(None, None, -1))
    out = register(cube)
    if form == "turned":  # a quarter turn: down is east, right is north (y of the map upwards)
        east, north = cube.odc.geobox.affine @ (-3, 2)
        origin = cube.odc.geobox.affine @ (0, 0)
        expected = east - origin[0], north - origin[1]
    elif form == "degrees":  # a degree is 55 801 m of longitude and 111 412 m of latitude at 60 degrees north
        expected = -3e-4 * 55_801, -2e-4 * 111_412
    else:
        expected = -30.0, -20.0
    np.testing.assert_allclose([out.shift_x_m[1], out.shift_y_m[1]], expected, rtol=2e-3)
    assert out.shift_x_m.attrs["units"] == "m"


@pytest.mark.slow
def test_applied_shifts_lay_the_dates_on_one_another():
    cube = shifted().drop_vars(["shift_x_m", "shift_y_m"])
    out = register(cube, apply=True)
    assert_same_grid(out, cube)
    assert out.attrs["xsr_operation"] == "register"
    inner = {"y": slice(8, -8), "x": slice(8, -8)}
    before, after = (np.abs(c.isel(inner)[1:] - c.isel(inner)[0]).mean(("band", "y", "x")) for c in (cube, out))
    assert (after < before)[1:].all()
    assert float(after[-1] / before[-1]) < 0.4
    again = register(out.isel(inner))
    assert float(np.abs(again.shift_x_m).max()) < 0.6
    assert out.shift_x_m.attrs["long_name"].endswith("taken out")


def test_whole_pixels_are_moved_without_a_trace():
    image = np.random.default_rng(5).random((50, 60)).astype(np.float32)
    image[20, 30] = np.nan
    cube = make_cube(np.stack([image, np.roll(image, (2, -3), (0, 1))])[:, None])
    out = register(cube, apply=True)
    np.testing.assert_array_equal(out[0], cube[0])
    np.testing.assert_allclose(out[1, 0, :-2, 3:], image[:-2, 3:], atol=1e-6)
    assert np.isnan(out[1, 0, -2:]).all()
    assert np.isnan(out[1, 0, :, :3]).all()
    assert np.isnan(out[1]).sum() == 2 * 60 + 3 * 50 - 6 + 1


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [{"y": 37, "x": 41}, {"time": 2, "band": 1, "y": 50}])
def test_any_chunks_give_the_same_and_nothing_is_computed(chunks, monkeypatch):
    monkeypatch.setattr(registration, "WINDOW", 64)
    cube = shifted(size=(150, 140)).drop_vars(["shift_x_m", "shift_y_m"]).compute()
    lazy = cube.chunk(chunks)
    with assert_lazy(lazy):
        out = register(lazy)
    whole = register(cube)
    for name in ("shift_x_m", "shift_y_m", "shift_quality"):
        assert out[name].chunks is not None
        np.testing.assert_array_equal(out[name], whole[name])
    monkeypatch.setattr("xsr.core.pipeline.CHUNK", 33)
    applied = register(lazy, apply=True)
    assert applied.chunks is not None
    np.testing.assert_array_equal(applied, register(cube, apply=True))


def test_a_wide_image_is_looked_at_in_windows_and_the_median_counts(monkeypatch):
    monkeypatch.setattr(registration, "WINDOW", 64)
    rng = np.random.default_rng(8)
    image = rng.random((220, 200))
    moved = np.roll(image, (1, 2), (0, 1))
    moved[:70, :70] = rng.random((70, 70))  # a corner that changed altogether
    out = register(make_cube(np.stack([image, moved])[:, None]))
    np.testing.assert_allclose([out.shift_x_m[1], out.shift_y_m[1]], [20, -10], atol=0.11)
    assert [len(registration.spread_windows(size)) for size in (20, 64, 127, 128, 192, 5000)] == [1, 1, 1, 2, 3, 3]
    assert registration.spread_windows(5000)[-1].stop == 5000


@pytest.mark.slow
def test_another_image_may_be_the_reference():
    cube = shifted().compute()
    third = cube[2]
    for reference in (third, cube[2:3], third.drop_vars("time")):
        out = register(cube.drop_vars(["shift_x_m", "shift_y_m"]), reference=reference, bands="B08")
        np.testing.assert_allclose(out.shift_x_m, cube.shift_x_m - cube.shift_x_m[2], atol=0.6)
        assert float(out.shift_x_m[2]) == 0
    one = register(cube[3].drop_vars(["shift_x_m", "shift_y_m"]), reference=third)
    assert one.shift_x_m.dims == ()
    dataset = register(cube.drop_vars(["shift_x_m", "shift_y_m"]).to_dataset("band"), apply=True)
    assert set(dataset.data_vars) == {"B04", "B08"}
    assert dataset.shift_y_m.dims == ("time",)


def test_a_date_that_shows_nothing_has_no_shift_and_stays():
    cube = make_cube(np.random.default_rng(4).random((3, 1, 40, 40)))
    cube[1] = np.nan
    cube[2, :, :, 3:] = np.nan
    out = register(cube)
    assert np.isnan(out.shift_x_m).values.tolist() == [False, True, True]
    assert np.isnan(out.shift_quality).values.tolist() == [False, True, True]
    with pytest.warns(XsrWarning, match=r"2 date\(s\) have too little texture .* 2024-06-02"):
        applied = register(cube, apply=True)
    np.testing.assert_array_equal(applied, cube.astype(np.float32))


def test_references_that_do_not_fit_are_refused():
    cube = make_cube((2, 2, 20, 20))
    with pytest.raises(CubeError, match=r"reference= has 2 dates; expected one"):
        register(cube, reference=cube)
    with pytest.raises(GridError, match=r"reference= is shifted by 1 pixels down"):
        register(cube, reference=cube[0, :, 1:])
    with pytest.raises(BandError, match=r"reference= lacks the bands \['B03'\]"):
        register(cube, reference=cube[0, :1])
    with pytest.raises(CubeError, match="got ndarray; expected an xarray"):
        register(cube, reference=cube[0].values)


def test_flat_images_have_no_shift():
    flat = np.ones((30, 30))
    assert np.isnan(find_shift(flat, flat)).all()
    assert np.isnan(find_shift(flat[:1], flat[:1])).all()


@pytest.mark.slow
def test_moved_coordinates_register_and_refine_in_one_resampling():
    """The recipe of the notes: refine on the grid of the first date, from the pixels as they were seen."""
    cube = register(shifted().drop_vars(["shift_x_m", "shift_y_m"])).compute()
    grid = cube[0].sr.interpolate(scale=2)
    date = cube[4]
    fine = date.assign_coords(x=date.x - date.shift_x_m, y=date.y - date.shift_y_m).sr.interpolate(like=grid)
    naive = date.sr.interpolate(like=grid)
    error, without = (float(np.abs(f - grid)[:, 20:-20, 20:-20].mean()) for f in (fine, naive))
    assert error < 0.4 * without
