import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from fuzzing import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from models.helpers import BANDS, MEAN, geobox, make_cube, write_model
from odc.geo.geobox import GeoBox
from pyproj import Transformer

import xsr
from xsr.core.errors import BandError, CubeError, ModelError, ParameterError, XsrWarning
from xsr.models import registry
from xsr.models.channels import Channels
from xsr.operations.super_resolve.networks import FILL, Continuous
from xsr.testing import assert_lazy, assert_same_grid

RADIUS = 6
"""Of the tiny network."""
SCALES = (1.5, 2.0, 3.0, 3.4, 4.0)


def containing(size, scale):
    """Input pixel that contains the centre of each output pixel, in whole numbers of a tenth."""
    count = math.floor(size * scale + 1e-6)
    return np.array([(2 * j + 1) * 10 // (2 * round(scale * 10)) for j in range(count)])


def largest(left, right):
    assert np.array_equal(np.isnan(left), np.isnan(right))
    return np.nanmax(np.abs(np.asarray(left, np.float64) - right), initial=0.0)


# --- tiling ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(examples(7), derandomize=True)
@given(
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    scale=st.sampled_from(SCALES),
    chunk_in=st.integers(1, 12),
    chunk_out=st.tuples(st.integers(5, 40), st.integers(5, 40)),
    tail=st.booleans(),
    holes=st.sampled_from([0.0, 0.0, 0.1, 0.7]),
    seed=st.integers(0, 99),
)
def test_chunked_equals_unchunked(model, height, width, scale, chunk_in, chunk_out, tail, holes, seed):
    cube = make_cube(height, width, seed=seed)
    cube = cube.where(np.random.default_rng(seed).random(cube.shape) >= holes)
    whole = xsr.liif(cube, scale=scale, model=model)
    if tail and min(whole.shape[2:]) > 1:  # a last block of one pixel
        chunk_out = (whole.shape[2] - 1, whole.shape[3] - 1)
    lazy = cube.chunk(band=3, y=chunk_in, x=chunk_in)
    parts = xsr.liif(lazy, scale=scale, model=model, chunks=chunk_out)
    assert parts.shape == whole.shape == (1, 4, math.floor(height * scale + 1e-6), math.floor(width * scale + 1e-6))
    assert parts.chunks[2][0] == min(chunk_out[0], whole.shape[2])
    assert largest(parts.values, whole.values) <= 1e-6
    assert largest(xsr.liif(cube, scale=scale, model=model, chunks=chunk_out).values, whole.values) <= 1e-6


def halo_difference(model, cube, monkeypatch, halo):
    whole = xsr.liif(cube, scale=2.0, model=model)
    monkeypatch.setattr(Continuous, "halo", property(lambda self: halo))
    return largest(xsr.liif(cube, scale=2.0, model=model, chunks=16).values, whole.values)


@pytest.mark.slow
def test_halo_one_pixel_short_differs(model, monkeypatch):
    cube = make_cube(40, 40)
    assert registry.card(model).radius == RADIUS
    assert halo_difference(model, cube, monkeypatch, RADIUS - 1) <= 1e-6
    assert halo_difference(model, cube, monkeypatch, RADIUS - 2) > 1e-5


@pytest.mark.slow
def test_halo_covers_the_filling_and_no_less(tmp_path, monkeypatch):
    cube = make_cube(16, 60)
    model = write_model(tmp_path, seed=6)  # one that weighs the rim of its reach well
    # The first block ends in column 7 and sees column 7 + RADIUS, which only column `edge` can fill.
    edge = 7 + RADIUS + FILL
    cube[..., edge - FILL - 8 : edge] = np.nan
    cube[..., edge] = 0.4
    assert (
        Continuous(registry.spec(model), Channels(("B02",), (0.1,), (0.05,)), (0,), RADIUS, "cpu").halo
        == RADIUS - 1 + FILL
    )
    assert halo_difference(model, cube, monkeypatch, RADIUS - 1 + FILL) <= 1e-6
    assert halo_difference(model, cube, monkeypatch, RADIUS - 2 + FILL) > 1e-5


def test_network_matters(model):
    cube = make_cube()
    gap = xsr.liif(cube, scale=2, model=model) - xsr.interpolate(cube, scale=2)
    assert float(gap.std()) > 0.005


def test_lazy_and_one_task_a_block(model):
    cube = make_cube(20, 20, dates=2, chunks=7)
    with assert_lazy(cube):
        fine = cube.sr.liif(scale=3.4, model=model, chunks=(30, 40))
        points = cube.sr.sample(x=[600_050.0], y=[5_699_950.0], model=model)
    assert fine.chunks == ((1, 1), (4,), (30, 30, 8), (40, 28))
    assert fine.dtype == points.dtype == np.float32
    layer = fine.__dask_graph__().layers[fine.data.name]
    assert len(layer) == 2 * 3 * 2 + 1  # and what the tasks share


# --- no data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2.0, 3.4])
@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_nodata_stays_in_its_pixels_and_band(model, scale, nothing):
    cube = make_cube(15, 14, dates=2)
    holes = np.random.default_rng(5).random(cube.shape) < 0.15
    holes[:, 3] = False  # one band is whole
    holes[0, 1, 4:13, 3:12] = True  # deeper than the filling
    cube = cube.where(~holes, nothing)
    fine = xsr.liif(cube, scale=scale, model=model).values
    rows, cols = containing(15, scale), containing(14, scale)
    assert np.array_equal(~np.isfinite(fine), holes[:, :, rows[:, None], cols])
    assert np.isnan(fine[holes[:, :, rows[:, None], cols]]).all()
    assert np.abs(fine[np.isfinite(fine)]).max() < 3


def test_cube_without_a_single_value(model):
    cube = make_cube(8, 8) * np.float32(np.nan)
    for given_cube in (cube, cube.chunk(y=4)):
        fine = xsr.liif(given_cube, scale=2.0, model=model)
        assert fine.shape == (1, 4, 16, 16)
        assert np.isnan(fine.values).all()


def test_band_without_a_value_is_held_at_its_mean(model):
    cube = make_cube(12, 12)
    cube[:, 3] = np.nan
    fine = xsr.liif(cube, scale=2.0, model=model)
    assert np.isnan(fine.values[:, 3]).all()
    without = xsr.liif(cube.isel(band=slice(3)), scale=2.0, model=model)
    assert np.array_equal(fine.values[:, :3], without.values)


def test_hole_far_away_changes_nothing(model):
    cube = make_cube(60, 40)
    holed = cube.copy(deep=True)
    holed[:, 1, :6] = np.nan
    fine, other = (xsr.liif(c, scale=2.0, model=model, chunks=(120, 80)).values for c in (cube, holed))
    far = 2 * (6 + RADIUS + FILL)
    assert np.array_equal(fine[:, :, far:], other[:, :, far:])
    assert not np.array_equal(fine[:, 0, 12:20], other[:, 0, 12:20])  # nearby the network does see the filling


# --- identities --------------------------------------------------------------------------------------------


def test_zeroed_network_on_a_constant_equals_bicubic(zero_model):
    cube = xr.full_like(make_cube(9, 8), 0.1234)
    fine = xsr.liif(cube, scale=3.4, model=zero_model)
    assert np.array_equal(fine.values, xsr.interpolate(cube, scale=3.4).values)
    assert largest(fine.values, np.full(fine.shape, np.float32(0.1234))) <= 1e-7


def test_zeroed_network_leaves_bicubic_inside(zero_model):
    cube = make_cube(12, 12)
    fine, base = xsr.liif(cube, scale=3.0, model=zero_model), xsr.interpolate(cube, scale=3.0)
    assert np.array_equal(fine.values[..., 6:-6, 6:-6], base.values[..., 6:-6, 6:-6])


def test_zeroed_network_keeps_a_ramp(zero_model):
    cube = make_cube(16, 16)
    ramp = (0.1 + 1e-4 * (cube.x - 600_000) - 2e-4 * (cube.y - 5_700_000)).transpose("y", "x")
    cube = xr.zeros_like(cube) + ramp.astype(np.float32)
    fine = xsr.liif(cube, scale=3.4, model=zero_model)
    wanted = 0.1 + 1e-4 * (fine.x - 600_000) - 2e-4 * (fine.y - 5_700_000)
    inner = dict(y=slice(8, -8), x=slice(8, -8))
    assert float(np.abs(fine - wanted).isel(inner).max()) <= 1e-6


def test_constant_stays_constant_inside_and_out(model):
    cube = xr.full_like(make_cube(30, 30), 0.2)
    fine = xsr.liif(cube, scale=2.0, model=model)
    # The cube is mirrored beyond its border, so the network never sees one.
    for phase in range(2):
        assert float(fine.isel(y=slice(phase, None, 2), x=slice(0, None, 2)).std(["y", "x"]).max()) <= 1e-6


def test_cube_is_mirrored_beyond_its_border(model):
    cube, reach = make_cube(14, 13), RADIUS + 2
    by = [(0, 0), (0, 0), (reach, reach), (reach, reach)]
    larger = make_cube(14 + 2 * reach, 13 + 2 * reach).copy(data=np.pad(cube.values, by, mode="reflect"))
    fine = xsr.liif(larger, scale=2.0, model=model).values[..., 2 * reach : -2 * reach, 2 * reach : -2 * reach]
    assert largest(fine, xsr.liif(cube, scale=2.0, model=model).values) <= 1e-6


# --- bands and containers ----------------------------------------------------------------------------------


def test_optional_band_may_be_missing(model):
    cube = make_cube()
    held = cube.copy(deep=True)
    held[:, 3] = np.float32(MEAN[3])
    fine = xsr.liif(cube.isel(band=slice(3)), scale=2.0, model=model)
    assert fine.band.values.tolist() == ["B02", "B03", "B04"]
    assert largest(fine.values, xsr.liif(held, scale=2.0, model=model).values[:, :3]) <= 1e-6


@pytest.mark.parametrize(
    ("bands", "told"),
    [
        (("B02", "B04", "B08"), r"needs band\(s\) \['B03'\]"),
        (("B02", "B03", "B04", "B11"), r"band\(s\) \['B11'\]"),
        (("B02", "B03", "B04", "elevation"), r"band\(s\) \['elevation'\]"),
    ],
)
def test_missing_and_unknown_bands_are_named(model, bands, told):
    with pytest.raises(BandError, match=told):
        xsr.liif(make_cube(bands=bands), scale=2.0, model=model)


def test_aliases_name_the_same_bands(model):
    cube = make_cube()
    named = cube.assign_coords(band=["b2", "green", "B4", "nir"])
    fine = xsr.liif(named, scale=2.0, model=model)
    assert fine.band.values.tolist() == ["b2", "green", "B4", "nir"]
    assert np.array_equal(fine.values, xsr.liif(cube, scale=2.0, model=model).values)


def test_order_of_the_cube_is_kept(model):
    cube = make_cube()
    fine = xsr.liif(cube, scale=2.0, model=model)
    turned = xsr.liif(cube.isel(band=[3, 1, 0, 2]), scale=2.0, model=model)
    assert turned.band.values.tolist() == ["B08", "B03", "B02", "B04"]
    assert np.array_equal(turned.values, fine.values[:, [3, 1, 0, 2]])


def test_bands_select_in_their_order(model):
    cube = make_cube(bands=("B11", *BANDS))
    fine = xsr.liif(cube, scale=2.0, model=model, bands=["red", "green", "blue"])
    assert fine.band.values.tolist() == ["B04", "B03", "B02"]
    wanted = xsr.liif(cube.sel(band=["B04", "B03", "B02"]), scale=2.0, model=model)
    assert np.array_equal(fine.values, wanted.values)


def test_dataset_equals_data_array(model):
    cube = make_cube(dates=2)
    dataset = cube.to_dataset("band").assign_attrs(mission="s2")
    dataset["cloud"] = ("time", [0.1, 0.2])
    fine, array = xsr.liif(dataset, scale=3.4, model=model), xsr.liif(cube, scale=3.4, model=model)
    assert set(fine.data_vars) == {*BANDS, "cloud"}
    assert fine.attrs["mission"] == "s2"
    assert fine.attrs["xsr_model"] == "tiny"
    for band in BANDS:
        assert fine[band].dims == ("time", "y", "x")
        assert np.array_equal(fine[band].values, array.sel(band=band).values)
    assert_same_grid(fine[["B02"]], array)


def test_cube_without_time(model):
    cube = make_cube()
    fine = xsr.liif(cube.isel(time=0, drop=True), scale=2.0, model=model)
    assert fine.dims == ("band", "y", "x")
    assert "time" not in fine.coords
    assert np.array_equal(fine.values, xsr.liif(cube, scale=2.0, model=model).values[0])


def test_dates_do_not_mix(model):
    cube = make_cube(dates=3)
    fine = xsr.liif(cube, scale=2.0, model=model)
    for date in range(3):
        alone = xsr.liif(cube.isel(time=[date]), scale=2.0, model=model)
        assert largest(alone.values, fine.values[[date]]) <= 1e-6
    assert np.array_equal(fine.time.values, cube.time.values)


@pytest.mark.parametrize("chunks", [None, 5])
def test_y_may_ascend(model, chunks):
    cube = make_cube()
    fine = xsr.liif(cube, scale=3.4, model=model)
    upside = cube.isel(y=slice(None, None, -1))
    turned = xsr.liif(upside if chunks is None else upside.chunk(y=chunks), scale=3.4, model=model)
    assert np.all(np.diff(turned.y.values) > 0)
    assert np.allclose(turned.y.values[::-1], fine.y.values, rtol=0, atol=1e-6)
    assert largest(turned.values[:, :, ::-1], fine.values) <= 1e-6


def test_integers_with_a_scale(model):
    cube = make_cube().clip(0.001)
    stored = (cube / 1e-4).round().astype(np.uint16)
    stored[0, 2, 5, 5] = 0
    stored.attrs = {"scale": 1e-4, "nodata": 0}
    decoded = (stored.astype(np.float32) * np.float32(1e-4)).where(stored != 0)
    fine = xsr.liif(stored, scale=2.0, model=model)
    assert np.isnan(fine.values[0, 2, 10:12, 10:12]).all()
    assert largest(fine.values, xsr.liif(decoded, scale=2.0, model=model).values) <= 1e-6
    assert not {"scale", "nodata"} & set(fine.attrs)


def test_units(model):
    cube = make_cube()
    fine = xsr.liif(cube * 100, scale=2.0, model=model, units="percent")
    assert largest(fine.values, xsr.liif(cube, scale=2.0, model=model).values) <= 1e-5
    bare = cube.clip(0).astype(np.uint16)
    with pytest.raises(CubeError, match="uint16 without a scale"):
        xsr.liif(bare, scale=2.0, model=model)


def test_a_temperature_is_no_matter_for_a_network_of_reflectance(model):
    warm = (make_cube() + 290).assign_attrs(units="K")
    with pytest.raises(CubeError, match=r"states a temperature; .*trained on reflectance.*cube.sr.guided"):
        xsr.liif(warm, scale=2.0, model=model)
    assert xsr.interpolate(warm, scale=2.0).attrs["units"] == "K"


# --- arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["liif", "sample"])
def test_a_model_of_single_dates_refuses_target_times(model, operation):
    where = {"scale": 2.0} if operation == "liif" else {"x": [600_050.0], "y": [5_699_950.0]}
    with pytest.raises(ModelError, match=r"computes each date by itself; leave t out, or choose temporal_liif_s2"):
        getattr(xsr, operation)(make_cube(), t="2024-06-15", model=model, **where)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ({}, "nothing given; expected exactly one"),
        ({"scale": 2.0, "resolution": 5.0}, "scale and resolution given"),
        ({"scale": 0.5}, "expected at most 1"),
        ({"scale": -2.0}, "positive, finite"),
        ({"resolution": 20.0}, "expected at most 1"),
        ({"scale": 2.0, "chunks": 0}, "chunks=0"),
    ],
)
def test_wrong_targets(model, target, told):
    with pytest.raises(ParameterError, match=told):
        xsr.liif(make_cube(), model=model, **target)


def test_unknown_model():
    with pytest.raises(ModelError, match="'liif_s9' not found"):
        xsr.liif(make_cube(), scale=2.0, model="liif_s9")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_device_that_is_not_there(model):
    cube = make_cube()
    with pytest.raises(ParameterError, match="device='cuda' cannot be used here"):
        xsr.liif(cube, scale=2.0, model=model, device="cuda")
    lazy = xsr.liif(cube.chunk(y=7), scale=2.0, model=model, device="cuda")  # a worker may have one
    with pytest.raises(ParameterError, match="device='cuda' cannot be used here"):
        lazy.compute()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_cpu(model):
    cube = make_cube(30, 30, dates=2)
    fine = [xsr.liif(cube, scale=3.4, model=model, device=device).values for device in ("cpu", "cuda")]
    assert largest(*fine) <= 1e-4


def test_resolution_equals_scale(model):
    cube = make_cube()
    fine = xsr.liif(cube, scale=4.0, model=model)
    same = xsr.liif(cube, resolution=2.5, model=model)
    assert np.array_equal(fine.values, same.values)
    assert_same_grid(fine, same)
    assert_same_grid(fine, geobox(14 * 4, 13 * 4, 2.5))
    odd = xsr.liif(cube, scale=3.4, model=model)
    assert_same_grid(odd, GeoBox((47, 44), Affine(10 / 3.4, 0, 600_000, 0, -10 / 3.4, 5_700_000), "EPSG:32631"))


def test_like_a_parallel_grid_with_an_offset(model):
    cube = make_cube(20, 20)
    fine = xsr.liif(cube, scale=4.0, model=model)
    grid = fine.odc.geobox[8:40, 4:30]
    same = xsr.liif(cube, like=grid, model=model)
    assert_same_grid(same, grid)
    assert largest(same.values, fine.values[:, :, 8:40, 4:30]) <= 1e-6
    assert np.array_equal(xsr.liif(cube, like=fine.isel(y=slice(8, 40), x=slice(4, 30)), model=model), same)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rotated", "other CRS"])
@pytest.mark.parametrize("chunks", [None, 9])
def test_like_another_grid_equals_sampling_there(model, kind, chunks):
    cube = make_cube(24, 24).chunk(y=10, x=10)
    if kind == "rotated":
        affine = Affine.translation(600_110, 5_699_990) @ Affine.rotation(20) @ Affine.scale(4, -4)
        grid, tolerance = GeoBox((26, 30), affine, "EPSG:32631"), 1e-6
    else:
        x, y = Transformer.from_crs("EPSG:32631", "EPSG:3035", always_xy=True).transform(600_150.0, 5_699_960.0)
        # Its pixels are not quite square in the cube, and `sample` knows one sharpness only.
        grid, tolerance = GeoBox((28, 27), Affine(4, 0, x, 0, -4, y), "EPSG:3035"), 1e-3
    fine = xsr.liif(cube, like=grid, model=model, chunks=chunks)
    assert_same_grid(fine, grid)
    col, row = np.meshgrid(np.arange(grid.shape[1]) + 0.5, np.arange(grid.shape[0]) + 0.5)
    a = grid.affine
    x, y = a.a * col + a.b * row + a.c, a.d * col + a.e * row + a.f
    x, y = Transformer.from_crs(str(grid.crs), "EPSG:32631", always_xy=True).transform(x, y)
    scale = float(np.mean(fine.attrs["xsr_scale"]))
    assert scale == pytest.approx(2.5, rel=2e-3)
    points = xsr.sample(cube, x=x.ravel(), y=y.ravel(), scale=scale, model=model)
    found, wanted = fine.values.reshape(1, 4, -1), points.values
    assert 0.5 < np.isfinite(wanted).mean() < 1  # some pixels lie outside
    assert largest(found, wanted) <= tolerance


def test_pixels_of_like_outside_the_cube_are_nothing(model):
    cube = make_cube(10, 10)
    grid = geobox(20, 20, 5.0).pad(5)
    fine = xsr.liif(cube, like=grid, model=model).values
    outside = np.ones(fine.shape[2:], bool)
    outside[5:25, 5:25] = False
    assert np.array_equal(np.isnan(fine), np.broadcast_to(outside, fine.shape))


# --- points ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [None, 6])
def test_sample_at_pixel_centres_equals_liif(model, chunks):
    cube = make_cube(12, 11, dates=2, chunks=chunks)
    fine = xsr.liif(cube, scale=3.4, model=model)
    y, x = np.meshgrid(fine.y.values, fine.x.values, indexing="ij")
    points = xsr.sample(cube, x=x.ravel(), y=y.ravel(), scale=3.4, model=model)
    assert points.dims == ("time", "band", "point")
    assert largest(points.values.reshape(fine.shape), fine.values) <= 1e-6


@pytest.mark.slow
def test_sample_keeps_the_order_of_the_points(model, monkeypatch):
    monkeypatch.setattr("xsr.operations.super_resolve.points.CELL", 5)
    monkeypatch.setattr("xsr.operations.super_resolve.points.POINTS", 7)
    cube = make_cube(20, 20)
    rng = np.random.default_rng(3)
    x, y = 600_000 + rng.uniform(-20, 220, 80), 5_700_000 - rng.uniform(-20, 220, 80)
    order = rng.permutation(80)
    for given_cube in (cube, cube.chunk(y=8, x=8)):
        points = xsr.sample(given_cube, x=x, y=y, model=model)
        mixed = xsr.sample(given_cube, x=x[order], y=y[order], model=model)
        assert largest(mixed.values, points.values[..., order]) <= 1e-6
        one = xsr.sample(given_cube, x=x[[17]], y=y[[17]], model=model)
        assert largest(one.values, points.values[..., [17]]) <= 1e-6
        assert np.array_equal(points.x.values, x)
        assert np.array_equal(mixed.y.values, y[order])


def test_sample_outside_is_nothing(model):
    cube = make_cube(10, 10)
    x = np.array([599_999.0, 600_001.0, 600_099.0, 600_101.0, 600_050.0, np.nan, np.inf])
    y = np.array([5_699_950.0, 5_699_999.0, 5_699_901.0, 5_699_950.0, 5_700_001.0, 5_699_950.0, 5_699_950.0])
    for given_cube in (cube, cube.chunk(y=5)):
        found = np.isfinite(xsr.sample(given_cube, x=x, y=y, model=model).values)
        assert np.array_equal(found, np.broadcast_to([False, True, True, False, False, False, False], found.shape))
        nowhere = xsr.sample(given_cube, x=[0.0, 1.0], y=[0.0, 1.0], model=model)
        assert nowhere.shape == (1, 4, 2)
        assert np.isnan(nowhere.values).all()


def test_sample_takes_labels_from_either_of_the_points(model):
    cube = make_cube(20, 20)
    labels = {"place": list("abcd")}
    x, y = (xr.DataArray(cube[dim].values[5:9], dims="place") for dim in "xy")
    expected = xsr.sample(cube, x=x.values, y=y.values, model=model).values
    for one, two in ((x.assign_coords(labels), y), (x, y.assign_coords(labels)), (x.assign_coords(labels), y.values)):
        points = xsr.sample(cube, x=one, y=two, model=model)
        assert points.place.values.tolist() == labels["place"]
        np.testing.assert_array_equal(points, expected)
    for other in (y.rename(place="other"), y.assign_coords(place=list("abcx"))):
        with pytest.raises(ParameterError, match="expected one dimension and the same labels"):
            xsr.sample(cube, x=x.assign_coords(labels), y=other, model=model)


def test_sample_takes_points_in_another_crs(model):
    cube = make_cube(20, 20)
    x, y = cube.x.values[5:9], cube.y.values[5:9]
    lon, lat = Transformer.from_crs(cube.odc.crs.to_wkt(), "EPSG:4326", always_xy=True).transform(x, y)
    points = xsr.sample(cube, x=lon, y=lat, crs="EPSG:4326", model=model)
    np.testing.assert_allclose(points.x, x, atol=1e-6)
    np.testing.assert_allclose(points, xsr.sample(cube, x=x, y=y, model=model), atol=1e-5)
    with pytest.raises(XsrWarning, match=r"none of the 4 points lies in the cube.*Pass crs='EPSG:4326'"):
        xsr.sample(cube, x=lon, y=lat, model=model)
    with pytest.raises(ParameterError, match="crs='nowhere' is unknown"):
        xsr.sample(cube, x=lon, y=lat, crs="nowhere", model=model)


def test_sample_follows_the_nodata_rule(model):
    cube = make_cube(10, 10)
    cube[0, 2, 4, 4] = np.nan  # covers x 600040..600050, y 5699950..5699960
    x, y = (
        np.array([600_041.0, 600_049.0, 600_039.0, 600_045.0]),
        np.array([5_699_951.0, 5_699_959, 5_699_955, 5_699_961]),
    )
    found = np.isnan(xsr.sample(cube, x=x, y=y, model=model).values[0])
    assert found[2].tolist() == [True, True, False, False]
    assert not found[[0, 1, 3]].any()


def test_sample_keeps_dimension_and_coordinates(model):
    cube = make_cube(10, 10)
    plots = {"plot": ["a", "b"], "height": ("plot", [1.5, 2.5])}
    x = xr.DataArray([600_010.0, 600_020.0], dims="plot", coords=plots)
    y = xr.DataArray([5_699_990.0, 5_699_980.0], dims="plot", coords=plots)
    points = xsr.sample(cube, x=x, y=y, model=model)
    assert points.dims == ("time", "band", "plot")
    assert points["plot"].values.tolist() == ["a", "b"]
    assert points.height.values.tolist() == [1.5, 2.5]
    assert points.x.dims == points.y.dims == ("plot",)
    bare = xsr.sample(cube, x=x.values, y=y.values, model=model)
    assert np.array_equal(points.values, bare.values)
    dataset = xsr.sample(cube.to_dataset("band"), x=x, y=y, model=model)
    assert dataset["B03"].dims == ("time", "plot")
    assert np.array_equal(dataset["B03"].values, points.sel(band="B03").values)


def test_sample_does_not_care_which_way_y_runs(model):
    cube = make_cube(10, 10)
    where = {"x": [600_012.0, 600_071.0], "y": [5_699_977.0, 5_699_913.0], "model": model}
    upside = xsr.sample(cube.isel(y=slice(None, None, -1)), **where)
    assert largest(upside.values, xsr.sample(cube, **where).values) <= 1e-6


def test_sharpness_of_points_is_the_cell(model):
    cube = make_cube(10, 10)
    where = {"x": [600_012.0], "y": [5_699_977.0], "model": model}
    assert largest(xsr.sample(cube, scale=2.0, **where).values, xsr.sample(cube, **where).values) == 0
    assert largest(xsr.sample(cube, scale=4.0, **where).values, xsr.sample(cube, **where).values) > 1e-5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"x": [1.0, 2.0], "y": [1.0]}, r"x has shape \(2,\) and y \(1,\)"),
        ({"x": [], "y": []}, "at least one point"),
        ({"x": [[1.0]], "y": [[1.0]]}, r"x has shape \(1, 1\)"),
        ({"x": ["9.1 E"], "y": ["52 N"]}, "no map coordinates: could not convert string to float: '9.1 E'"),
        ({"x": [object()], "y": [1.0]}, "no map coordinates: .*expected two sequences of numbers"),
        ({"x": [1.0], "y": [1.0], "scale": 0.9}, "scale=0.9"),
        ({"x": [1.0], "y": [1.0], "scale": np.nan}, "scale=nan"),
    ],
)
def test_wrong_points(model, arguments, told):
    with pytest.raises(ParameterError, match=told):
        xsr.sample(make_cube(), model=model, **arguments)


# --- provenance and schedulers -----------------------------------------------------------------------------


def test_provenance(model):
    cube = make_cube().assign_attrs(sensor="Sentinel-2", transform="old", scale_factor=1.0)
    attrs = xsr.liif(cube, scale=3.4, model=model).attrs
    assert attrs["xsr_version"] == xsr.__version__
    assert attrs["xsr_operation"] == "liif"
    assert attrs["xsr_model"] == "tiny"
    assert attrs["xsr_weights_sha256"] == registry.card(model).sha256
    assert attrs["xsr_scale"] == pytest.approx([3.4, 3.4])
    assert attrs["sensor"] == "Sentinel-2"
    assert not {"transform", "scale_factor"} & set(attrs)
    points = xsr.sample(cube, x=[600_010.0], y=[5_699_990.0], scale=3.0, model=model)
    assert points.attrs["xsr_scale"] == [3.0, 3.0]


def test_network_does_not_travel_in_the_graph(model):
    import cloudpickle

    fine = make_cube(20, 20, chunks=10).sr.liif(scale=2.0, model=model, chunks=20)
    fine.compute(scheduler="synchronous")
    layer = fine.__dask_graph__().layers[fine.data.name]
    for task in dict(layer).values():
        assert len(cloudpickle.dumps(task)) < 4000


@pytest.mark.slow
def test_same_bytes_from_every_scheduler(model, cluster, one_thread):
    cube = make_cube(24, 20, dates=2, chunks=10)
    cube = cube.where(np.random.default_rng(0).random(cube.shape) > 0.05)
    fine = xsr.liif(cube, scale=3.4, model=str(model), chunks=30)
    wanted = fine.compute(scheduler="synchronous").values
    assert np.isfinite(wanted).any()
    assert fine.compute(scheduler="threads", num_workers=4).values.tobytes() == wanted.tobytes()
    assert fine.compute(scheduler="processes", num_workers=1).values.tobytes() == wanted.tobytes()
    with cluster.as_current():
        assert cluster.compute(fine).result().values.tobytes() == wanted.tobytes()


@pytest.mark.slow
def test_error_of_a_worker_reaches_the_user(tmp_path, cluster):
    path = write_model(tmp_path, seed=7)
    fine = xsr.liif(make_cube(chunks=7), scale=2.0, model=path)
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x01")
    with pytest.raises(ModelError, match=re.escape("was changed or damaged")):
        cluster.compute(fine).result()


def test_sample_refuses_names_the_cube_has(model):
    cube = make_cube(20, 20)
    track = xr.DataArray([600_050.0, 600_060.0], dims="time")
    with pytest.raises(ParameterError, match="'time'"):
        xsr.sample(cube, x=track, y=track, model=model)


def test_sample_pairs_points_by_label_and_keeps_the_crs(model):
    cube = make_cube(20, 20)
    east, north = (float(v) for v in (cube.x[5], cube.y[5]))
    x = xr.DataArray([east, east], dims="station", coords={"station": ["a", "b"]})
    y = xr.DataArray([north, north], dims="station", coords={"station": ["b", "a"]})
    with pytest.raises(ParameterError, match="same labels"):
        xsr.sample(cube, x=x, y=y, model=model)
    found = xsr.sample(cube, x=x, y=x.copy(data=[north, north]), model=model)
    assert found["spatial_ref"].attrs["crs_wkt"] == cube["spatial_ref"].attrs["crs_wkt"]


@pytest.mark.parametrize("scale", ["2", True, 0.5])
def test_sample_checks_its_scale(model, scale):
    with pytest.raises(ParameterError, match="scale="):
        xsr.sample(make_cube(20, 20), x=[600_050.0], y=[5_699_950.0], scale=scale, model=model)


def test_scales_and_pixels_beyond_training_warn(model):
    cube = make_cube(20, 20).chunk()
    with pytest.raises(XsrWarning, match="scale 6 is beyond"):
        xsr.liif(cube, scale=6, model=model)
    coarse = cube.assign_coords(x=600_000 + 1000 * np.arange(20.0), y=5_700_000 - 1000 * np.arange(20.0))
    coarse = coarse.drop_vars("spatial_ref").odc.assign_crs("EPSG:32631")
    with pytest.raises(XsrWarning, match="pixels measure 1000 m"):
        xsr.liif(coarse, scale=2, model=model)


def test_device_is_checked_at_the_door(model):
    with pytest.raises(ParameterError, match="device='banana'"):
        xsr.liif(make_cube(8, 8), scale=2, model=model, device="banana")


def test_a_relative_model_path_travels_as_an_absolute_one(model, monkeypatch):
    monkeypatch.chdir(Path(model).parent)
    fine = xsr.liif(make_cube(8, 8).chunk(), scale=2, model=Path(model).name)
    monkeypatch.chdir("/")
    assert np.isfinite(fine.values).all()
