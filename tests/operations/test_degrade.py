import math

import dask
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from fuzzing import examples
from helpers import NORTH, WEST, make_cube, make_dataset
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

import xsr
from xsr.core.errors import BandError, CubeError, GridError, ParameterError
from xsr.core.sensors import get, sigma_px
from xsr.kernels import psf
from xsr.kernels.degrade import blur_decimate
from xsr.kernels.noise import NoiseModel
from xsr.operations.degrade import SensorNoise, augment_frames, block
from xsr.sources.files import open_file
from xsr.testing import assert_lazy, assert_same_grid

SCALES = (1, 1.5, 2, 2.5, 3, 3.4, 4, math.pi)
TEN = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")


def holed(shape, *, share=0.05, seed=3, **options):
    rng = np.random.default_rng(seed)
    values = rng.random(shape, dtype=np.float32)
    values[rng.random(shape) < share] = np.nan
    return make_cube(values, **options)


# --- values and grid -------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
def test_degrade_is_the_kernel_with_the_mtf_of_each_band(scale):
    cube = make_cube((2, 3, 40, 31))
    low = xsr.degrade(cube, scale=scale)
    for band in cube.band.values:
        expected = blur_decimate(cube.sel(band=band).values, scale=scale, mtf=get("sentinel-2").band(band).mtf)
        assert np.array_equal(low.sel(band=band).values, expected)


@pytest.mark.parametrize("scale", SCALES)
def test_the_grid_is_coarser_and_keeps_its_corner(scale):
    cube = make_cube((1, 1, 61, 83))
    box = xsr.degrade(cube, scale=scale).odc.geobox
    assert box.shape == (math.floor(61 / scale), math.floor(83 / scale))
    assert box.crs == cube.odc.geobox.crs
    np.testing.assert_allclose(tuple(box.affine)[:6], (10 * scale, 0, WEST, 0, -10 * scale, NORTH), rtol=1e-12)


def test_container_names_and_coordinates_stay():
    cube = make_cube((2, 2, 20, 20)).assign_coords(place=("time", ["a", "b"])).rename("surface")
    low = xsr.degrade(cube, scale=2)
    assert low.name == "surface"
    assert low.place.values.tolist() == ["a", "b"]
    assert low.attrs["xsr_operation"] == "degrade:gaussian"
    assert low.attrs["xsr_scale"] == [0.5, 0.5]
    dataset = make_dataset((2, 2, 20, 20))
    low = xsr.degrade(dataset, scale=2)
    assert list(low.data_vars) == ["B02", "B03"]
    np.testing.assert_array_equal(low["B03"], xsr.degrade(make_cube((2, 2, 20, 20)), scale=2).sel(band="B03"))


def test_a_plain_image_and_ascending_rows():
    image = make_cube((24, 30)).rename("B02")
    low = xsr.degrade(image, scale=2)
    assert low.dims == ("y", "x")
    assert low.shape == (12, 15)
    up = xsr.degrade(image.isel(y=slice(None, None, -1)), scale=2)
    xr.testing.assert_allclose(up.isel(y=slice(None, None, -1)), low)


@pytest.mark.parametrize("scale", SCALES)
def test_a_ramp_keeps_its_place_on_the_map(scale):
    cube = make_cube((1, 2, 160, 170))
    east, south = np.meshgrid(cube.x.values - WEST, NORTH - cube.y.values)
    ramps = cube.copy(data=(np.stack([east, south])[None] / 1000).astype(np.float32))
    low = xsr.degrade(ramps, scale=scale)
    for image, border in [(low, 6)] + [(xsr.interpolate(low, scale=scale), 30)] * (scale > 1):
        inner = image[0, :, border:-border, border:-border]
        place = 1000 * inner.values.astype(np.float64)  # float32 resolves no centimetres of a coordinate
        most = 1e-3 * 10 * scale
        assert np.abs(place[0] + WEST - inner.x.values).max() < most
        assert np.abs(NORTH - place[1] - inner.y.values[:, None]).max() < most


@pytest.mark.parametrize("scale", SCALES[1:])
def test_a_point_keeps_its_place_on_the_map(scale):
    """A blob a few low-resolution pixels wide, so that sampling does not alias."""
    cube = make_cube((1, 1, 200, 210))
    x0, y0, width = WEST + 1043.0, NORTH - 987.0, 22 * scale
    blob = np.exp(-((cube.x.values - x0) ** 2 + (cube.y.values[:, None] - y0) ** 2) / (2 * width**2))
    cube = cube.copy(data=blob[None, None].astype(np.float32))
    low = xsr.degrade(cube, scale=scale)
    for image in (low, xsr.interpolate(low, scale=scale)):
        weight = image.values[0, 0].astype(np.float64)
        x = (weight * image.x.values).sum() / weight.sum()
        y = (weight * image.y.values[:, None]).sum() / weight.sum()
        assert abs(x - x0) < 1e-3 * 10 * scale
        assert abs(y - y0) < 1e-3 * 10 * scale


def points(scale, count=20, size=96):
    """Dates with one bright pixel each, at every phase of the low-resolution grid; and its place in input pixels."""
    rows, cols = 40 + 3 * np.arange(count) % 17, 38 + np.arange(count)
    values = np.zeros((count, 1, size, size), np.float32)
    values[np.arange(count), 0, rows, cols] = 1
    return make_cube(values), rows, cols


def seen_axis(place, centre, sigma):
    """Gaussian of a point at ``place`` at the centres of low-resolution pixels, all in input pixels."""
    return np.exp(-0.5 * ((centre - place) / sigma) ** 2)


def keys_matrix(count, scale):
    """Keys' cubic convolution with a = -1/2 from ``count`` pixels to ``scale`` times as many (Keys 1981, eq. 15)."""
    place = (np.arange(math.floor(count * scale + 1e-6)) + 0.5) / scale - 0.5
    d = np.abs(place[:, None] - np.arange(-2, count + 2))
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0))[:, 2:-2]


def fitted(image, model, centre):
    """Place (row, col) for which ``model(row) * model(col)``, of any brightness, is nearest to an image.

    The search for the least squares begins at the brightest pixel, whose place ``centre`` tells.
    """

    def error(guess):
        return (guess[2] * np.outer(model(guess[0]), model(guess[1])) - image).ravel()

    row, col = np.unravel_index(image.argmax(), image.shape)
    return least_squares(error, (centre[row], centre[col], image.max()), x_scale=(1, 1, 0.1), xtol=1e-9).x[:2]


@pytest.mark.slow
@pytest.mark.parametrize("mtf", [0.2, 0.304, 0.4])
@pytest.mark.parametrize("scale", [2, 3, 4, 2.5, 3.4])
def test_a_single_point_is_found_where_it_is(scale, mtf):
    """The known point spread function, fitted to the samples of one bright pixel, at every single phase.

    With white noise this is the most likely place. The centroid of so few samples is not: the response at the Nyquist
    frequency is not zero, so that they alias.
    """
    cube, rows, cols = points(scale)
    sigma = scale / math.pi * math.sqrt(-2 * math.log(mtf))
    low = xsr.degrade(cube, scale=scale, mtf=mtf)
    fine = xsr.interpolate(low, scale=scale)
    up = keys_matrix(low.sizes["x"], scale)
    centre = (low.x.values - WEST) / 10 - 0.5
    np.testing.assert_allclose((NORTH - low.y.values) / 10 - 0.5, centre, atol=1e-9)
    np.testing.assert_allclose((fine.x.values - WEST) / 10 - 0.5, np.arange(fine.sizes["x"]), atol=1e-9)
    worst = 0.0
    for number, place in enumerate(zip(rows, cols, strict=True)):
        image = low.values[number, 0].astype(np.float64)
        found = fitted(image, lambda at: seen_axis(at, centre, sigma), centre)
        np.testing.assert_allclose(found, place, atol=1e-3 * scale)
        found = fitted(fine.values[number, 0], lambda at: up @ seen_axis(at, centre, sigma), np.arange(96))
        np.testing.assert_allclose(found, place, atol=1e-3 * scale)
        worst = max(worst, abs(float((image.sum(axis=0) * centre).sum() / image.sum()) - place[1]) / scale)
    assert worst > 1e-3 or mtf < 0.3


# --- laziness and chunks ---------------------------------------------------------------------------


@pytest.mark.slow
@examples(8)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(8, 40), st.integers(8, 40)),
    chunks=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(3, 41), st.integers(3, 41)),
    out=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    scale=st.sampled_from(SCALES),
    noise=st.sampled_from([None, 0.01, "sensor"]),
    share=st.sampled_from([0, 0.1, 0.5]),
)
def test_chunks_change_nothing(shape, chunks, out, scale, noise, share):
    cube = holed(shape, share=share)
    whole = xsr.degrade(cube, scale=scale, noise=noise, seed=5, chunks=100)
    lazy = cube.chunk(dict(zip(cube.dims, chunks, strict=True)))
    with assert_lazy(lazy):
        parts = xsr.degrade(lazy, scale=scale, noise=noise, seed=5, chunks=out)
    assert np.array_equal(parts.values, whole.values, equal_nan=True)
    assert np.array_equal(xsr.degrade(cube, scale=scale, noise=noise, seed=5, chunks=out), whole, equal_nan=True)


@pytest.mark.parametrize("noise", [None, "sensor"])
def test_threads_change_nothing(monkeypatch, noise):
    monkeypatch.setattr(block, "ROWS", 5)
    monkeypatch.setattr(block, "LEAST", 1)
    cube = holed((2, 3, 40, 31), bands=["B02", "B05", "B11"])
    with dask.config.set(num_workers=3):
        several = xsr.degrade(cube, scale=2, noise=noise, seed=4)
    with dask.config.set(scheduler="synchronous"):
        one = xsr.degrade(cube, scale=2, noise=noise, seed=4)
    lazy = xsr.degrade(cube.chunk({"time": 1}), scale=2, noise=noise, seed=4)
    assert np.array_equal(several.values, one.values, equal_nan=True)
    assert np.array_equal(several.values, lazy.values, equal_nan=True)


def test_one_task_makes_one_block():
    cube = make_cube((1, 2, 64, 64), chunks={"y": 16, "x": 16})
    low = xsr.degrade(cube, scale=2, chunks=8, noise="sensor")
    assert low.data.npartitions == 16
    blocks = {(low.data.name, 0, 0, y, x) for y in range(4) for x in range(4)}
    assert set(low.data.dask.layers[low.data.name]) == blocks | {f"{low.data.name}-work"}
    assert low.chunks[2:] == ((8,) * 4, (8,) * 4)


def test_default_blocks_read_what_a_chunk_holds():
    cube = make_cube((1, 1, 2048, 8), chunks={"y": 512})
    assert xsr.degrade(cube, scale=4).chunks[2] == (256, 256)


# --- noise -----------------------------------------------------------------------------------------


def test_sensor_noise_has_the_published_ratio():
    band = get("sentinel-2").band("B04")
    reference = band.noise.reflectance()
    assert reference == pytest.approx(math.pi * 108 / 1512.79)
    cube = make_cube(np.full((1, 1, 600, 600), reference, np.float32), bands=["B04"])
    low = xsr.degrade(cube, scale=1, noise="sensor").values
    assert reference / (low - reference).std() == pytest.approx(142, rel=0.01)
    strong = xsr.degrade(cube, scale=1, noise=SensorNoise(factor=3, read_share=0.0)).values
    assert (strong - reference).std() == pytest.approx(3 * (low - reference).std(), rel=0.02)


def test_noise_by_band_and_seed():
    cube = make_cube(np.zeros((2, 2, 200, 200), np.float32))
    low = xsr.degrade(cube, scale=1, noise={"blue": 0.01, "B03": NoiseModel(0.02)}).values
    assert low[:, 0].std() == pytest.approx(0.01, rel=0.02)
    assert low[:, 1].std() == pytest.approx(0.02, rel=0.02)
    again, other = (xsr.degrade(cube, scale=1, noise=0.01, seed=seed).values for seed in (0, 1))
    assert np.array_equal(again[:, 0], low[:, 0])
    flat = [image.ravel() for image in (*again[:, 0], *again[:, 1], other[0, 0])]
    correlation = np.corrcoef(flat) - np.eye(5)
    assert np.abs(correlation).max() < 0.03


def test_a_selection_draws_the_same_noise():
    cube = make_cube((3, 3, 30, 30))
    whole = xsr.degrade(cube, scale=2, noise=0.1)
    part = xsr.degrade(cube.isel(time=[2], band=[1]), scale=2, noise=0.1)
    assert np.array_equal(whole.isel(time=[2], band=[1]), part)


def test_equal_times_draw_different_noise():
    cube = make_cube((2, 1, 40, 40), times=["2024-06-01", "2024-06-01"])
    low = xsr.degrade(cube * 0, scale=1, noise=0.1).values
    assert not np.array_equal(low[0], low[1])


# --- point spread functions ------------------------------------------------------------------------


def test_mtf_by_band_by_axis_and_for_all():
    cube = make_cube((1, 2, 40, 40))
    low = xsr.degrade(cube, scale=2, mtf={"blue": 0.4, "B3": (0.2, 0.5)})
    one = xsr.degrade(cube, scale=2, mtf=0.4)
    assert np.array_equal(low.sel(band="B02"), one.sel(band="B02"))
    pair = xsr.degrade(cube, scale=2, mtf=(0.2, 0.5))
    assert np.array_equal(low.sel(band="B03"), pair.sel(band="B03"))
    turned = cube.copy(data=cube.values.swapaxes(2, 3))
    across = xsr.degrade(turned, scale=2, mtf=(0.5, 0.2))
    np.testing.assert_allclose(across.values.swapaxes(2, 3), pair.values, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "function"),
    [("gaussian", psf.gaussian(0.3, 30.0)), ("detector", psf.detector(0.3, 30.0))],
)
def test_functions_in_map_units_equal_the_names(name, function):
    cube = make_cube((1, 1, 50, 50))
    low = xsr.degrade(cube, scale=3, mtf=0.3, psf=name)
    np.testing.assert_allclose(xsr.degrade(cube, scale=3, psf=function), low, atol=1e-7)
    np.testing.assert_allclose(xsr.degrade(cube, scale=3, psf={"B02": (function, function)}), low, atol=1e-7)
    assert low.attrs["xsr_operation"] == f"degrade:{name}"


def test_effective_adds_what_is_missing():
    cube = make_cube((1, 1, 60, 60))
    low = xsr.degrade(cube, scale=2, psf="effective", mtf=0.3, source_mtf=0.4)
    sigma = math.sqrt(sigma_px(0.3, 2) ** 2 - sigma_px(0.4, 1) ** 2) * 10
    np.testing.assert_allclose(low, xsr.degrade(cube, scale=2, psf=psf.Gaussian(sigma)), atol=1e-3)
    np.testing.assert_allclose(low, xsr.degrade(cube, scale=2, mtf=0.3 / 0.4**0.25), atol=1e-6)
    assert float(low.std()) > float(xsr.degrade(cube, scale=2, mtf=0.3).std())


def test_measured_kernel_of_one_sample_is_a_detector():
    cube = make_cube((1, 1, 40, 40))
    box = psf.Measured((1.0,) * 200, 0.1)  # 20 m wide, 200 samples of 0.1 m
    low = xsr.degrade(cube, scale=2, psf=box)
    np.testing.assert_allclose(low, cube.coarsen(y=2, x=2).mean(), atol=5e-3)


# --- bad input and odd input -----------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.5, 0, -2, math.nan, math.inf, "2", True, None])
def test_a_scale_that_does_not_coarsen_is_refused(scale):
    for operation in (xsr.degrade, xsr.wald, xsr.semi_simulate):
        with pytest.raises(ParameterError, match=r"scale=.*expected a finite number of at least 1"):
            operation(make_cube((1, 1, 8, 8)), scale=scale)


@pytest.mark.parametrize("mtf", [0.0, 1.0, -0.2, 1.5, math.nan])
def test_an_mtf_outside_its_range_is_refused(mtf):
    with pytest.raises(ParameterError, match="above 0 and below 1"):
        xsr.degrade(make_cube((1, 1, 8, 8)), scale=2, mtf=mtf)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mtf": {"B03": 0.3}}, r"mtf names the bands \['B03'\]; expected 'B02'"),
        ({"mtf": (0.3, 0.3, 0.3)}, r"expected one number, or a pair \(along y, along x\)"),
        ({"psf": "airy"}, "psf='airy'; expected one of gaussian, detector, effective"),
        ({"psf": 3}, "psf=3; expected gaussian, detector, effective, a line spread function"),
        ({"noise": "loud"}, "noise='loud'; expected a standard deviation"),
        ({"noise": True}, "noise=True; expected a standard deviation"),
        ({"noise": -1.0}, "read=-1.0; expected a finite number of at least 0"),
        ({"noise": SensorNoise(sun_zenith_deg=90)}, "sun_zenith_deg=90; expected an angle"),
        ({"min_valid": 1.2}, "min_valid=1.2; expected a share"),
        ({"chunks": 0}, "chunks=0; expected a positive number"),
        (
            {"scale": 1, "psf": "effective", "mtf": 0.3, "source_mtf": 0.2},
            r"\(input pixels\); expected a sharper input. A blur cannot sharpen",
        ),
        ({"sensor": "sentinel-9"}, "sensor 'sentinel-9' is not registered"),
        ({"mtf": np.array([0.2, 0.3, 0.4])}, "expected one number, or a pair"),
        ({"mtf": "sharp"}, "mtf='sharp'; expected one number, or a pair"),
        ({"mtf": ("a", 0.3)}, "expected one number, or a pair"),
        ({"seed": None}, "seed=None; expected a whole number"),
        ({"seed": 1.5}, "seed=1.5; expected a whole number"),
        ({"seed": True}, "seed=True; expected a whole number"),
        ({"min_valid": None}, "min_valid=None; expected a share"),
        ({"noise": np.array([0.1, 0.2])}, "expected a standard deviation"),
        ({"bands": 2}, "bands=2; expected a name or several"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        xsr.degrade(make_cube((1, 1, 16, 16)), **{"scale": 2, **options})


@pytest.mark.parametrize("options", [{"mtf": 0.97}, {"mtf": (0.3, 0.97)}, {"mtf": {"B02": 0.97}}])
def test_an_mtf_that_no_weights_have_is_refused_before_anything_is_computed(options):
    lazy = make_cube((1, 1, 16, 16), chunks={"y": 8})
    with assert_lazy(lazy), pytest.raises(ParameterError, match=r"mtf=0\.97 at scale 2 .*expected at most 0.707"):
        xsr.degrade(lazy, scale=2, **options)
    with assert_lazy(lazy), pytest.raises(ParameterError, match=r"mtf=0\.97 at scale 2 .*expected at most 0.707"):
        xsr.wald(lazy, scale=2, psf="gaussian", **options)


def test_frames_sharper_than_any_weights_are_refused_at_once():
    """Blur that varies by date can leave the range though the MTF itself is within."""
    lazy = make_cube((1, 1, 16, 16), chunks={"y": 8})
    with assert_lazy(lazy), pytest.raises(ParameterError, match=r"at scale 2 .*expected at most 0\.707"):
        xsr.semi_simulate(lazy, scale=2, mtf=0.7, blur_jitter=0.5, frames=8)


def test_numbers_of_numpy_are_numbers():
    cube = make_cube((1, 2, 24, 24))
    expected = xsr.degrade(cube, scale=2, mtf=(0.2, 0.3), noise=0.01, seed=3)
    given = {"mtf": np.array([0.2, 0.3]), "noise": np.float32(0.01), "seed": np.int64(3), "min_valid": np.float64(0.5)}
    np.testing.assert_array_equal(xsr.degrade(cube, scale=np.float64(2), **{**given, "noise": 0.01}), expected)
    one = xsr.degrade(cube, scale=np.int64(2), mtf=np.array(0.3))
    np.testing.assert_array_equal(one, xsr.degrade(cube, scale=2, mtf=0.3))
    frames = xsr.semi_simulate(cube, scale=2, frames=np.int64(2), cloud_cover=np.float32(0), seed=np.uint8(1))
    np.testing.assert_array_equal(frames, xsr.semi_simulate(cube, scale=2, frames=2, seed=1))


def test_a_band_without_an_mtf_needs_one():
    cube = make_cube((1, 1, 16, 16), bands=["lst"])
    with pytest.raises(ParameterError, match=r"sentinel-2 has no MTF for band 'lst'.*Pass mtf="):
        xsr.degrade(cube, scale=2)
    assert xsr.degrade(cube, scale=2, mtf=0.3).shape == (1, 1, 8, 8)
    with pytest.raises(BandError, match="no band 'lst'"):
        xsr.degrade(cube, scale=2, mtf=0.3, noise="sensor")


def test_a_cube_smaller_than_a_pixel_is_refused():
    with pytest.raises(GridError, match=r"scale 9 leaves 0 x 1 pixels of 8 x 9"):
        xsr.degrade(make_cube((1, 1, 8, 9)), scale=9)
    with pytest.raises(CubeError, match="DataArray or Dataset"):
        xsr.degrade(np.ones((8, 8)), scale=2)


def test_constant_all_nan_and_non_square_images():
    constant = xsr.degrade(make_cube(np.full((1, 1, 30, 17), 0.3, np.float32)), scale=2.5)
    assert constant.shape == (1, 1, 12, 6)
    np.testing.assert_allclose(constant, 0.3, rtol=1e-6)
    assert np.isnan(xsr.degrade(make_cube(np.full((1, 1, 12, 9), np.nan)), scale=2, noise="sensor")).all()


def test_no_data_in_one_band_leaves_the_others():
    cube = make_cube((1, 2, 20, 20))
    hole = cube.copy(data=cube.values.copy())
    hole[0, 0, 5:12, 5:12] = np.nan
    low, clean = xsr.degrade(hole, scale=2), xsr.degrade(cube, scale=2)
    assert np.array_equal(low[:, 1], clean[:, 1])
    assert np.isnan(low[0, 0]).any()


# --- pairs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES[:-1])
def test_both_sides_of_a_pair_share_all_corners(scale):
    low, high = xsr.wald(make_cube((1, 2, 61, 83)), scale=scale)
    assert low.odc.geobox.extent.boundingbox.bbox == pytest.approx(high.odc.geobox.extent.boundingbox.bbox, abs=1e-6)
    assert [n * scale for n in low.shape[2:]] == pytest.approx(high.shape[2:])
    assert_same_grid(xsr.interpolate(low, scale=scale), high)


def test_an_irrational_pair_shares_the_first_corner():
    low, high = xsr.wald(make_cube((1, 1, 61, 83)), scale=math.pi)
    assert high.shape[2:] == tuple(math.floor(n * math.pi) for n in low.shape[2:])
    assert_same_grid(xsr.interpolate(low, scale=math.pi), high)


def test_a_pair_is_the_cube_and_its_degradation():
    cube = holed((2, 2, 45, 52))
    low, high = xsr.wald(cube, scale=3, noise=0.01, seed=4, mtf=0.3)
    whole = xsr.degrade(cube, scale=3, noise=0.01, seed=4, mtf=0.3, psf="effective")
    assert np.array_equal(low, whole[:, :, :15, :17], equal_nan=True)
    assert np.array_equal(high, cube[:, :, :45, :51], equal_nan=True)
    assert high.dtype == np.float32


def test_pairs_are_lazy_and_keep_the_container():
    cube = make_dataset((2, 2, 45, 52), chunks={"y": 20, "x": 20})
    with assert_lazy(cube):
        low, high = xsr.wald(cube, scale=2.5, chunks=7)
    assert list(low.data_vars) == list(high.data_vars) == ["B02", "B03"]
    eager = xsr.wald(cube.compute(), scale=2.5)
    for lazy, now in zip((low, high), eager, strict=True):
        xr.testing.assert_identical(lazy.compute(), now)


def ten_bands(size=160):
    """Ten bands at 10 m; the 20 m ones repeat each pixel, as a nearest-neighbour resampling leaves them."""
    values = np.random.default_rng(2).random((1, 10, size, size), dtype=np.float32)
    coarse = values[:, 4:, ::2, ::2]
    values[:, 4:] = coarse.repeat(2, axis=2).repeat(2, axis=3)
    return make_cube(values, bands=TEN), coarse


def test_bands_without_truth_are_refused():
    cube, _ = ten_bands(32)
    with pytest.raises(ParameterError, match=r"\['B05', .*'B12'\] of sentinel-2 are coarser than the grid of 10"):
        xsr.wald(cube, scale=2)
    low, high = xsr.wald(cube, scale=2, native_gsd="grid")
    assert (low.shape[2:], high.shape[2:]) == ((16, 16), (32, 32))
    low, high = xsr.wald(cube.sel(band=["B02", "B08"]), scale=2)
    assert high.shape[2:] == (32, 32)
    xsr.wald(cube.assign_coords(band=[f"c{n}" for n in range(10)]), scale=2, mtf=0.3)


@pytest.mark.parametrize("native", ["sensor", dict.fromkeys(TEN[:4], 10.0) | dict.fromkeys(TEN[4:], 20.0)])
def test_ten_bands_meet_where_all_have_a_truth(native):
    cube, coarse = ten_bands()
    low, high = xsr.wald(cube, scale=2, native_gsd=native)
    assert low.shape == (1, 10, 40, 40)
    assert high.shape == (1, 10, 80, 80)
    assert abs(low.odc.geobox.affine.a) == 40
    assert abs(high.odc.geobox.affine.a) == 20
    # 20 m bands: the pixels themselves; 10 m bands: degraded by 2 and 4
    np.testing.assert_allclose(high.values[:, 4:], coarse, atol=1e-6)
    np.testing.assert_array_equal(high[:, :4], xsr.degrade(cube[:, :4], scale=2, psf="effective"))
    np.testing.assert_array_equal(low[:, :4], xsr.degrade(cube[:, :4], scale=4, psf="effective"))


def test_coarse_bands_are_degraded_on_their_own_pixels_and_brought_to_the_common_grid():
    cube, coarse = ten_bands()
    low, _ = xsr.wald(cube, scale=2, native_gsd="sensor")
    own = make_cube(coarse, gsd=20, bands=TEN[4:])
    expected = xsr.interpolate(xsr.degrade(own, scale=4, psf="effective"), scale=2)
    np.testing.assert_allclose(low[0, 4:, 8:-8, 8:-8], expected[0, :, 8:-8, 8:-8], atol=2e-6)


def test_ten_band_pairs_tell_in_which_pixels_bands_were_seen():
    cube, _ = ten_bands()
    low, high = xsr.wald(cube, scale=2, native_gsd="sensor")
    assert low.native_gsd.values.tolist() == [40.0] * 4 + [80.0] * 6
    assert high.native_gsd.values.tolist() == [20.0] * 10
    assert low.native_gsd.dims == ("band",)
    assert low.native_gsd.attrs["units"] == "m"
    assert xsr.interpolate(low, scale=2).native_gsd.values.tolist() == [40.0] * 4 + [80.0] * 6
    sets = xsr.wald(cube.to_dataset("band"), scale=2, native_gsd="sensor")
    assert [sets[0][name].attrs["native_gsd"] for name in ("B02", "B05")] == [40.0, 80.0]
    assert "native_gsd" not in sets[0].coords
    assert sets[1]["B05"].attrs["native_gsd"] == 20.0
    foot = 10 / 0.3048006096012192
    feet = make_cube(cube.values, bands=TEN, crs="EPSG:2263", affine=Affine(foot, 0, 1e6, 0, -foot, 2e5))
    assert xsr.wald(feet, scale=2, native_gsd="sensor")[0].native_gsd.values[[0, -1]] == pytest.approx([40, 80])
    assert "native_gsd" not in xsr.wald(cube, scale=2, native_gsd="grid")[0].coords
    assert "native_gsd" not in xsr.degrade(cube, scale=2).coords


def test_bands_degraded_to_finer_pixels_than_the_table_has_were_seen_in_those():
    fine = make_cube((1, 3, 40, 40), gsd=5.0, bands=["B02", "B8A", "haze"])
    low = xsr.degrade(fine, scale=2, mtf=0.3)
    np.testing.assert_equal(low.native_gsd.values, [np.nan, 10.0, np.nan])
    np.testing.assert_equal(xsr.wald(fine, scale=2, mtf=0.3)[0].native_gsd.values, [np.nan, 10.0, np.nan])
    same = xsr.wald(low, scale=2, mtf=0.3)  # all bands have a truth at 10 m
    assert [side.sizes["x"] for side in same] == [10, 20]
    assert "native_gsd" not in xsr.degrade(fine, scale=4, mtf=0.3).coords
    # A stack of 10 m and 20 m bands on the 10 m grid: what the coarse ones were seen in is not what the grid says.
    assert "native_gsd" not in xsr.degrade(make_cube((1, 2, 40, 40), bands=["B02", "B8A"]), scale=1.5).coords


def test_frames_keep_the_record_of_the_pixels_no_finer_than_their_own():
    high = make_cube((1, 2, 40, 40), gsd=20.0, bands=["B02", "B05"])
    high = high.assign_coords(native_gsd=("band", [20.0, 80.0]))
    assert xsr.semi_simulate(high, scale=2, frames=2).native_gsd.values.tolist() == [40.0, 80.0]


def test_a_record_of_the_cube_goes_before_the_table():
    """The 40 m side of a pair is itself a cube of bands seen at 40 m and 80 m."""
    cube, _ = ten_bands()
    low, _ = xsr.wald(cube, scale=2, native_gsd="sensor")
    with pytest.raises(ParameterError, match="are coarser than the grid of 40"):
        xsr.wald(low, scale=2)
    again, truth = xsr.wald(low, scale=2, native_gsd="sensor")
    assert again.native_gsd.values.tolist() == [160.0] * 4 + [320.0] * 6
    assert truth.native_gsd.values.tolist() == [80.0] * 10
    plain = xsr.wald(low, scale=2, native_gsd="grid")
    assert [set(side.native_gsd.values.tolist()) for side in plain] == [{80.0}, {40.0}]
    assert xsr.degrade(low, scale=1.5).native_gsd.values.tolist() == [60.0] * 4 + [80.0] * 6


@pytest.mark.parametrize("record", [("band", ["a"] * 10), ("band", [-1.0] * 10), ("x", np.zeros(160))])
def test_a_record_that_is_no_pixel_size_is_refused(record):
    cube, _ = ten_bands()
    with pytest.raises(CubeError, match="native_gsd"):
        xsr.degrade(cube.assign_coords(native_gsd=record), scale=2)


@pytest.mark.slow
def test_ten_band_pairs_do_not_depend_on_chunks():
    cube, _ = ten_bands()
    cube[0, :, 30:50, 20:60] = np.nan
    low, high = xsr.wald(cube, scale=2, native_gsd="sensor", noise="sensor")
    lazy = cube.chunk(y=37, x=51, band=3)
    with assert_lazy(lazy):
        parts = xsr.wald(lazy, scale=2, native_gsd="sensor", noise="sensor", chunks=11)
    assert np.array_equal(parts[0], low, equal_nan=True)
    assert np.array_equal(parts[1], high, equal_nan=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scale": 1.7, "native_gsd": "sensor"},
            "scale=1.7 degrades bands of 2 pixels by 3.4; expected a whole number",
        ),
        ({"scale": 2, "native_gsd": "tile"}, "native_gsd='tile'; expected 'grid', 'sensor'"),
        ({"scale": 2, "native_gsd": dict.fromkeys(TEN, 15.0)}, "observed at 15 and is on a grid of 10"),
        ({"scale": 2, "native_gsd": {"B02": 10.0}}, "native_gsd names the bands"),
        ({"scale": 2, "native_gsd": dict.fromkeys(TEN, "10 m")}, "native_gsd='10 m'; expected a positive"),
        ({"scale": 2, "native_gsd": np.full(10, 10.0)}, "expected 'grid', 'sensor', or sizes by band"),
    ],
)
def test_bad_native_sizes_are_refused(options, message):
    cube, _ = ten_bands(64)
    with pytest.raises(ParameterError, match=message):
        xsr.wald(cube, **options)


def test_a_cube_too_small_for_common_corners_is_refused():
    with pytest.raises(GridError, match=r"16 x 40 pixels is too small for scale 3.4; expected at least 17"):
        xsr.wald(make_cube((1, 1, 16, 40)), scale=3.4)


# --- series ----------------------------------------------------------------------------------------


def test_frames_are_shifted_degradations():
    high = make_cube((1, 2, 80, 96), gsd=2.5)
    shifts = [(0.0, 0.0), (1.0, -2.0), (0.25, 0.5)]
    low = xsr.semi_simulate(high, scale=4, frames=3, shift_px=shifts, blur_jitter=0.0)
    still = xsr.degrade(high, scale=4)
    assert np.array_equal(low[0], still[0])
    np.testing.assert_allclose(low[1, :, 4:-4, 4:-4], still[0, :, 3:-5, 6:-2], atol=1e-6)
    assert low.shift_x_m.values.tolist() == [0.0, -20.0, 5.0]
    assert low.shift_y_m.values.tolist() == [0.0, -10.0, -2.5]
    assert low.blur.values.tolist() == [1.0, 1.0, 1.0]
    assert_same_grid(low.isel(time=0), still.isel(time=0))


@pytest.mark.slow
def test_shifts_are_metres_in_a_system_of_degrees():
    """At 60 degrees north a degree of longitude is 55.80 km, one of latitude 111.41 km."""
    grid = {"affine": Affine(1e-4, 0, 10, 0, -1e-4, 60.002), "crs": "EPSG:4326"}
    high = make_cube((1, 1, 40, 40), **grid)
    low = xsr.semi_simulate(high, scale=4, frames=2, shift_px=[(0, 1), (1, 0)], blur_jitter=0.0)
    assert low.shift_x_m.values == pytest.approx([4 * 5.580, 0], abs=0.02)
    assert low.shift_y_m.values == pytest.approx([0, -4 * 11.141], abs=0.02)
    for seed in range(8):
        frames, truth = augment_frames(low, high, seed=seed)
        shifts = np.stack([-frames.shift_y_m / (4 * 11.141), frames.shift_x_m / (4 * 5.580)], axis=1)
        again = xsr.semi_simulate(truth, scale=4, frames=2, shift_px=shifts, blur_jitter=0.0)
        np.testing.assert_allclose(again.values, frames.values, atol=2e-3)


def test_a_shift_moves_a_blob_by_what_is_recorded():
    high = make_cube((1, 1, 240, 240), gsd=2.5)
    x0, y0 = (float(axis.mean()) for axis in (high.x, high.y))
    blob = np.exp(-((high.x.values - x0) ** 2 + (high.y.values[:, None] - y0) ** 2) / (2 * 25.0**2))
    low = xsr.semi_simulate(high.copy(data=blob[None, None].astype(np.float32)), scale=4, frames=6, shift_px=0.7)
    for frame in low:
        weight = frame.values[0].astype(np.float64)
        x = (weight * frame.x.values).sum() / weight.sum() - x0
        y = (weight * frame.y.values[:, None]).sum() / weight.sum() - y0
        assert x == pytest.approx(float(frame.shift_x_m), abs=0.02)
        assert y == pytest.approx(float(frame.shift_y_m), abs=0.02)


def series_for(high, scale, dates=4, *, change=0.1):
    """Real dates: the degraded image, brighter from left to right by a smooth amount that grows with the date."""
    base = xsr.degrade(high, scale=scale)
    ramp = np.linspace(0, 1, base.shape[3], dtype=np.float32)
    values = np.concatenate([base.values + change * date * ramp for date in range(dates)])
    return make_cube(values, gsd=2.5 * scale, times=[f"2024-06-{day:02d}" for day in range(1, dates + 1)])


def test_radiometry_comes_from_the_real_dates():
    high = make_cube((1, 2, 160, 160), gsd=2.5)
    series = series_for(high, 4)
    low = xsr.semi_simulate(high, scale=4, series=series, shift_px=0.0, blur_jitter=0.0)
    assert np.array_equal(low.time, series.time)
    inner = (slice(None), slice(None), slice(None), slice(16, -16))  # a mirrored border bends a ramp
    np.testing.assert_allclose(low.values[inner], series.values[inner], atol=3e-3)


def test_geometry_comes_from_the_image():
    """Detail that only the real dates have does not reach the frames."""
    high = make_cube(np.full((1, 1, 160, 160), 0.2, np.float32), gsd=2.5)
    series = series_for(high, 4, dates=1)
    series[:, :, ::2] += 0.1
    low = xsr.semi_simulate(high, scale=4, series=series, change_px=4.0)
    inner = low.values[0, 0, 8:-8, 8:-8]
    np.testing.assert_allclose(inner, 0.25, atol=1e-3)


def test_gaps_of_the_real_dates_stay_and_do_not_leak():
    high = make_cube((1, 2, 120, 120), gsd=2.5)
    series = series_for(high, 4)
    series[1, :, 5:20, 5:15] = np.nan
    low = xsr.semi_simulate(high, scale=4, series=series)
    assert np.array_equal(np.isnan(low), np.isnan(series))
    assert float(abs(low - series).max()) < 0.5


def test_fewer_frames_are_drawn_from_a_series_in_order():
    high = make_cube((1, 1, 64, 64), gsd=2.5)
    series = series_for(high, 4, dates=8)
    low = xsr.semi_simulate(high, scale=4, series=series, frames=3, seed=2)
    assert low.sizes["time"] == 3
    assert (np.diff(low.time.values) > np.timedelta64(0)).all()
    assert set(low.time.values) <= set(series.time.values)


@pytest.mark.slow
@pytest.mark.parametrize("with_series", [False, True])
def test_frames_do_not_depend_on_chunks(with_series):
    high = holed((1, 2, 90, 110), gsd=2.5)
    series = holed((4, 2, 22, 27), seed=8) if with_series else None
    options = {"scale": 4, "noise": "sensor", "cloud_cover": 0.2, "seed": 9, "frames": 3}
    whole = xsr.semi_simulate(high, series=series, **options)
    lazy = high.chunk(y=31, x=40)
    with assert_lazy(lazy):
        parts = xsr.semi_simulate(lazy, series=series if series is None else series.chunk(y=7), chunks=6, **options)
    xr.testing.assert_identical(parts.compute(), whole)


def test_clouds_noise_and_seed():
    high = make_cube(np.full((1, 2, 400, 400), 0.2, np.float32), gsd=2.5)
    low = xsr.semi_simulate(high, scale=2, frames=4, cloud_cover=0.3, noise=0.01)
    gone = np.isnan(low.values)
    assert np.array_equal(gone[:, 0], gone[:, 1])
    assert 0.1 < gone.mean() < 0.5
    assert np.nanstd(low.values) == pytest.approx(0.01, rel=0.02)
    other = xsr.semi_simulate(high, scale=2, frames=4, cloud_cover=0.3, noise=0.01, seed=1)
    assert not np.array_equal(np.isnan(other), gone)
    assert not np.array_equal(other.shift_x_m, low.shift_x_m)


def test_frames_of_a_dataset_without_time():
    high = make_dataset((1, 2, 40, 40), gsd=2.5).isel(time=0)
    low = xsr.semi_simulate(high, scale=2, frames=3)
    assert list(low.data_vars) == ["B02", "B03"]
    assert low["B02"].dims == ("time", "y", "x")
    assert low.time.values.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "frames=0; expected at least 1"),
        ({"shift_px": -1}, "shift_px=-1; expected at least 0"),
        ({"shift_px": [(0, 0)]}, r"shift_px of shape \(1, 2\)"),
        ({"blur_jitter": -0.1}, "blur_jitter=-0.1; expected"),
        ({"cloud_cover": 2}, "cloud_cover=2; expected a share"),
        ({"cloud_cover": None}, "cloud_cover=None; expected a share"),
        ({"frames": 2.5}, "frames=2.5; expected a number of frames"),
        ({"shift_px": "far"}, "shift_px=far; expected at least 0"),
        ({"shift_px": None}, "shift_px=None; expected at least 0"),
        ({"blur_jitter": None}, "blur_jitter=None; expected a standard deviation"),
        ({"seed": 0.5}, "seed=0.5; expected a whole number"),
    ],
)
def test_bad_frames_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        xsr.semi_simulate(make_cube((1, 1, 16, 16)), scale=2, **options)


def test_bad_series_are_refused():
    high = make_cube((1, 1, 64, 64), gsd=2.5)
    series = series_for(high, 4, dates=2)
    with pytest.raises(ParameterError, match="high has 2 dates; expected one image"):
        xsr.semi_simulate(make_cube((2, 1, 16, 16)), scale=2)
    with pytest.raises(ParameterError, match="at most 2, the dates of series"):
        xsr.semi_simulate(high, scale=4, series=series, frames=3)
    with pytest.raises(ParameterError, match="change_px=0; expected a positive width"):
        xsr.semi_simulate(high, scale=4, series=series, change_px=0)
    with pytest.raises(
        GridError, match=r"series has \(16, 16\) pixels of 10 x 10, its corner 0 px off; expected \(32, 32\)"
    ):
        xsr.semi_simulate(high, scale=2, series=series)
    moved = series.assign_coords(x=series.x + 4).odc.assign_crs(series.odc.crs)
    with pytest.raises(GridError, match=r"corner 0.4 px off"):
        xsr.semi_simulate(high, scale=4, series=moved)
    with pytest.raises(GridError, match="series is in EPSG:32634 and high in EPSG:32633; expected one CRS"):
        xsr.semi_simulate(high, scale=4, series=make_cube((1, 1, 16, 16), crs="EPSG:32634"))
    with pytest.raises(BandError, match="B02"):
        xsr.semi_simulate(high, scale=4, series=make_cube((1, 1, 16, 16), bands=["B08"]))


def test_a_series_in_degrees_that_drifts_off_the_grid_is_refused():
    high = make_cube((1, 1, 640, 8), crs="EPSG:4326", affine=Affine(1e-5, 0, 12, 0, -1e-5, 48))
    series = make_cube((1, 1, 160, 2), crs="EPSG:4326", affine=Affine(4e-5, 0, 12, 0, -4.0005e-5, 48))
    with pytest.raises(GridError, match=r"series has .* pixels of 4.0005e-05 x 4e-05, .* pixels of 4e-05 x 4e-05"):
        xsr.semi_simulate(high, scale=4, series=series)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_augmented_frames_stay_registered_with_their_truth(seed):
    """Degrading the turned truth with the recorded shifts gives the turned frames."""
    high = make_cube((1, 2, 64, 64), gsd=2.5)
    low = xsr.semi_simulate(high, scale=4, frames=4, blur_jitter=0.0)
    frames, truth = augment_frames(low, high, keep=3, seed=seed)
    assert frames.sizes["time"] == 3
    assert len(set(frames.time.values.tolist())) == 3
    shifts = np.stack([-frames.shift_y_m, frames.shift_x_m], axis=1) / 10
    again = xsr.semi_simulate(truth, scale=4, frames=3, shift_px=shifts, blur_jitter=0.0)
    np.testing.assert_allclose(again.values, frames.values, atol=1e-6)
    assert_same_grid(frames.isel(time=0), low.isel(time=0))


@pytest.mark.parametrize("seed", range(6))
def test_the_shift_of_a_single_frame_follows_its_content(seed):
    high = make_cube((1, 1, 64, 64), gsd=2.5)
    low = xsr.semi_simulate(high, scale=4, frames=1, shift_px=[(0.5, -0.25)], blur_jitter=0.0)
    frame, truth = augment_frames(low, high, seed=seed)
    shift = np.stack([-frame.shift_y_m, frame.shift_x_m], axis=1) / 10
    again = xsr.semi_simulate(truth, scale=4, frames=1, shift_px=shift, blur_jitter=0.0)
    np.testing.assert_allclose(again.values, frame.values, atol=1e-6)


def test_augmentation_varies_and_is_lazy():
    high = make_cube((1, 1, 40, 60), gsd=2.5, chunks={"y": 20})
    low = xsr.semi_simulate(high, scale=4, frames=4)
    with assert_lazy(low, high):
        drawn = [augment_frames(low, high, seed=seed) for seed in range(8)]
    assert len({tuple(frames.time.values) for frames, _ in drawn}) > 3
    assert len({truth.values.tobytes() for _, truth in drawn}) == 4


def test_augmentation_refuses():
    high = make_cube((1, 1, 40, 60), gsd=2.5)
    low = xsr.semi_simulate(high, scale=4, frames=2)
    with pytest.raises(ParameterError, match=r"keep=1\.5; expected a whole number"):
        augment_frames(low, high, keep=1.5)
    with pytest.raises(ParameterError, match="keep=3; expected from 1 to 2"):
        augment_frames(low, high, keep=3)
    with pytest.raises(GridError, match="expected one extent"):
        augment_frames(low, high.isel(x=slice(0, 40)))
    with pytest.raises(GridError, match="the frames are in EPSG:32633 and the truth in EPSG:32634; expected one CRS"):
        augment_frames(low, make_cube(high.values, gsd=2.5, crs="EPSG:32634"))


def test_noise_does_not_depend_on_the_unit_of_time():
    cube = make_cube((1, 2, 12, 12), bands=["B02", "B03"], times=["2024-06-01"])
    other = cube.assign_coords(time=cube["time"].values.astype("datetime64[s]"))
    first, second = (xsr.degrade(c, scale=2, noise=0.01).values for c in (cube, other))
    np.testing.assert_array_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("container", ["array", "dataset"])
def test_the_pixels_in_which_bands_were_seen_survive_zarr(container, tmp_path):
    cube, _ = ten_bands(64)
    low, high = xsr.wald(cube if container == "array" else cube.to_dataset("band"), scale=2, native_gsd="sensor")
    for name, side in (("low", low), ("high", high)):
        xsr.to_zarr(side, tmp_path / f"{name}.zarr", progress=False)
    found = [open_file(str(tmp_path / f"{name}.zarr")) for name in ("low", "high")]
    expected = xsr.evaluate(high, None, low=low)["low_fidelity"]
    again = xsr.evaluate(found[1], None, low=found[0])["low_fidelity"].sel(band=expected.band)
    np.testing.assert_allclose(again, expected, atol=1e-9)
    assert float(expected.sel(band="B05").squeeze()) < 1e-6
