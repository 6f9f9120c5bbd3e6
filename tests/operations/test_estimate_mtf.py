import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

import xsr
from xsr.core.errors import CubeError
from xsr.kernels import scenespectrum

FINER = 4


def cube(image, gsd_m=10.0):
    """DataArray (y, x) in reflectance."""
    y, x = (gsd_m * np.arange(size) for size in image.shape)
    coords = {"y": 6e6 - y, "x": 5e5 + x}
    return xr.DataArray(image.astype(np.float32), coords, ("y", "x"), attrs={"units": "1", "crs": "EPSG:32631"})


def observed(fine, mtf, noise=0.0, seed=0):
    """Blur a scene by the Gaussian of an MTF along (y, x) in pixels `FINER` times larger, and sample it."""
    sigma = [FINER / np.pi * np.sqrt(-2 * np.log(m)) for m in np.broadcast_to(mtf, 2)]
    image = gaussian_filter(fine, sigma, mode="wrap")[::FINER, ::FINER]
    return image + noise * np.random.default_rng(seed).standard_normal(image.shape)


def fractal(side, seed, slope=2.4):
    """Scene whose power falls as a power of the frequency: mean 0.3, spread 0.08."""
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)
    radius = np.hypot(fy, fx)
    radius[0, 0] = np.inf
    white = np.fft.rfft2(np.random.default_rng(seed).standard_normal((side, side)))
    field = np.fft.irfft2(white * radius ** (-slope / 2), (side, side))
    return 0.3 + 0.08 * field / field.std()


def fields(side, seed, count=200):
    """Scene of polygons with slanted straight edges and a reflectance of their own."""
    random = np.random.default_rng(seed)
    seeds = random.uniform(0, side, (2, count))
    y, x = np.mgrid[:side, :side]
    owner, nearest = np.zeros((side, side), int), np.full((side, side), np.inf)
    for index, (v, u) in enumerate(seeds.T):
        dy, dx = np.abs(y - v), np.abs(x - u)
        distance = np.minimum(dy, side - dy) ** 2 + np.minimum(dx, side - dx) ** 2
        owner[distance < nearest] = index
        nearest = np.minimum(nearest, distance)
    return random.uniform(0.05, 0.5, count)[owner]


@settings(max_examples=10, derandomize=True, phases=[Phase.generate])
@given(mtf=st.floats(0.1, 0.5), seed=st.integers(0, 1000), slope=st.floats(2.0, 2.6))
def test_fractal_scenes(mtf, seed, slope):
    found = xsr.estimate_mtf(cube(observed(fractal(512, seed, slope), mtf, noise=0.001)))
    assert found.mtf.item() == pytest.approx(mtf, abs=0.01 + 0.25 * mtf)  # slopes of 2.6 err by a quarter
    sigma = np.sqrt(-2 * np.log(mtf)) / np.pi * 10.0
    assert found.sigma_x_m.item() == pytest.approx(sigma, rel=0.25)


@pytest.fixture(scope="module")
def edges():
    return fields(512, seed=0)


@pytest.mark.parametrize("mtf", [0.1, 0.2, 0.3, 0.4, 0.5])
def test_slanted_edges(edges, mtf):
    found = xsr.estimate_mtf(cube(observed(edges, mtf, noise=0.001)))
    assert found.mtf.item() == pytest.approx(mtf, abs=0.05)


def test_each_axis_has_its_own():
    found = xsr.estimate_mtf(cube(observed(fractal(1024, 3), (0.15, 0.4), noise=0.001)))
    assert found.mtf_y.item() == pytest.approx(0.15, abs=0.05)
    assert found.mtf_x.item() == pytest.approx(0.4, abs=0.1)
    assert found.mtf.item() == pytest.approx(np.sqrt(found.mtf_y * found.mtf_x).item())


@pytest.mark.parametrize("noise", [0.005, 0.01])
def test_noise(noise):
    found = xsr.estimate_mtf(cube(observed(fractal(1024, 4), 0.15, noise=noise)))
    assert found.noise.item() == pytest.approx(noise, rel=0.15)
    assert 0 < found.noise_std.item() < noise


def test_widths_are_in_metres():
    image = observed(fractal(512, 5), 0.3, noise=0.001)
    ten, two = (xsr.estimate_mtf(cube(image, gsd_m)) for gsd_m in (10.0, 2.0))
    assert ten.sigma_y_m.item() == pytest.approx(5 * two.sigma_y_m.item(), rel=1e-3)
    assert ten.mtf.item() == pytest.approx(np.exp(-0.5 * (np.pi * ten.sigma_y_m / 10) ** 2).item(), abs=0.05)


def test_twice_the_contrast_is_the_same_mtf_and_twice_the_noise():
    image = observed(fractal(512, 6), 0.2, noise=0.004)
    once, twice = (xsr.estimate_mtf(cube(factor * image)) for factor in (0.5, 1.0))
    assert once.mtf.item() == pytest.approx(twice.mtf.item(), abs=2e-3)
    assert 2 * once.noise.item() == pytest.approx(twice.noise.item(), rel=0.02)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_an_image_without_a_scene_says_nothing_of_its_mtf(noise):
    found = xsr.estimate_mtf(cube(observed(np.full((512, 512), 0.3), 0.3, noise=noise)))
    assert np.isnan([found.mtf, found.mtf_std, found.mtf_x, found.sigma_y_m, found.sigma_y_m_std, found.slope]).all()
    if noise:
        assert found.noise.item() == pytest.approx(noise, rel=0.05)


def test_patches_with_gaps_do_not_count():
    image = observed(fractal(512, 7), 0.3, noise=0.001)
    gap = image.copy()
    gap[:64, :64] = np.nan
    whole, part = (xsr.estimate_mtf(cube(one)) for one in (image, gap))
    assert (whole.patches.item(), part.patches.item()) == (9, 5)
    assert part.mtf.item() == pytest.approx(whole.mtf.item(), abs=0.1)
    gone = xsr.estimate_mtf(cube(np.full((64, 64), np.nan)))
    assert gone.patches.item() == 0
    assert np.isnan(gone.mtf.item())
    assert np.isnan(gone.noise.item())


def test_lazy_equals_eager_and_bands_and_dates_are_apart():
    images = [[observed(fractal(512, s + 10 * b), 0.2 + 0.1 * b, noise=0.002) for b in (0, 1)] for s in (1, 2)]
    one = cube(images[0][0])
    stack = xr.DataArray(
        np.array(images, np.float32),
        {"y": one.y, "x": one.x, "band": ["red", "nir"], "time": np.array(["2020-01-01", "2020-02-01"], "M8[ns]")},
        ("time", "band", "y", "x"),
        attrs=one.attrs,
    )
    eager, lazy = stack.sr.estimate_mtf(), stack.chunk(y=50, x=70).sr.estimate_mtf()
    assert isinstance(lazy.mtf.data, da.Array)
    xr.testing.assert_allclose(eager, lazy.compute(), rtol=1e-6)
    assert eager.mtf.dims == ("time", "band")
    alone = xsr.estimate_mtf(one)
    assert eager.mtf.values[0, 0] == pytest.approx(alone.mtf.item())
    assert (eager.mtf.values[:, 1] > eager.mtf.values[:, 0]).all()
    assert eager.attrs["method"] == "spectrum"


def test_too_small_a_cube_is_refused():
    with pytest.raises(CubeError, match="the cube has 31 x 64 pixels; expected at least 32 each way"):
        xsr.estimate_mtf(cube(np.zeros((31, 64))))


def test_what_is_no_cube_is_refused():
    with pytest.raises(CubeError, match="got ndarray; expected an xarray DataArray or Dataset"):
        xsr.estimate_mtf(np.zeros((64, 64)))


def test_white_noise_has_its_variance_at_each_frequency():
    white = np.random.default_rng(0).standard_normal((256, 256))
    power, count = scenespectrum.periodogram(white, 64)
    assert count == 49
    assert (power / count)[1:].mean() == pytest.approx(1.0, rel=0.03)


def test_noise_of_bands_is_bounded_by_what_the_others_do_not_show():
    """White noise has its variance; a scene that bands share passes a bound on one band, and not one on three."""
    random = np.random.default_rng(0)
    white = random.standard_normal((3, 512, 512))
    np.testing.assert_allclose(scenespectrum.quietest(white[:1]), 1.0, rtol=0.15)
    np.testing.assert_allclose(scenespectrum.quietest(white), 1.0, rtol=0.15)
    scene = 10 * random.standard_normal((512, 512)) * np.array([1.0, -0.5, 2.0])[:, None, None]
    alone = np.concatenate([scenespectrum.quietest(band[None] + one) for band, one in zip(scene, white, strict=True)])
    np.testing.assert_allclose(alone, [101, 26, 401], rtol=0.15)
    products = np.cov((scene + white).reshape(3, -1))
    left = 1 / np.linalg.inv(products).diagonal()
    found = scenespectrum.quietest(scene + white)
    np.testing.assert_allclose(found, left, rtol=0.15)
    np.testing.assert_array_equal(scenespectrum.quietest((scene + white)[[2, 0, 1]]), found[[2, 0, 1]])
    assert (left < 0.3 * alone).all()


def test_gaps_and_copies_do_not_bound_the_noise_of_other_bands():
    white = np.random.default_rng(1).standard_normal((3, 256, 256))
    gone = white.copy()
    gone[2] = np.nan
    bounds = scenespectrum.quietest(gone)
    np.testing.assert_allclose(bounds[:2], scenespectrum.quietest(white[:2]))
    assert np.isnan(bounds[2])
    copies = np.stack([white[0], 3 * white[0], np.zeros_like(white[0])])
    apart = np.concatenate([scenespectrum.quietest(band[None]) for band in copies])
    np.testing.assert_allclose(scenespectrum.quietest(copies), apart)


def test_derivatives_of_the_model():
    point = np.array([0.3, 2.2, np.log(0.2), np.log(0.3), np.log(0.01)])
    _, change = scenespectrum._parts(point, 32)
    for index in range(5):
        step = np.eye(5)[index] * 1e-6
        upper, lower = (scenespectrum._parts(point + sign * step, 32)[0] for sign in (1, -1))
        np.testing.assert_allclose(change[index], (upper - lower) / 2e-6, rtol=1e-5, atol=1e-8)


def test_real_places(data_dir):
    """Two degraded images that are large; see benchmarks/mtf.py for all."""
    rasterio = pytest.importorskip("rasterio")
    files = {"s2_aberystwyth_10m/s2_20210527_aber.tif": 3, "spot7_red_5m_madagascar/ref_spot7_5m_20170216.tif": 1}
    for path, band in files.items():
        with rasterio.open(data_dir / path) as source:
            image = np.nan_to_num(source.read(band).astype(np.float64))
        found = cube(0.5 * image / image.max()).sr.degrade(scale=4, mtf=0.2, sensor="sentinel-2").sr.estimate_mtf()
        assert found.mtf.item() == pytest.approx(0.2 * 0.3 ** (1 / 16), abs=0.05)
