import math

import dask.array as da
import numpy as np
import pytest

from xsr.core import sensors
from xsr.core.errors import BandError, ParameterError
from xsr.testing import Scene, assert_lazy, assert_same_grid, synthetic_cube, synthetic_pair
from xsr.testing.layout import lay_out
from xsr.testing.spectra import BANDS as ALL_BANDS
from xsr.testing.view import View

TIMES = ("2024-02-10", "2024-07-01")
BANDS = ("B02", "B08")
SCENE = Scene(seed=3, size_m=(320.0, 400.0))


@pytest.fixture(scope="module")
def truth():
    return SCENE.render(gsd_m=2.5, times=TIMES, bands=BANDS)


def block_mean(values, k):
    *lead, ny, nx = values.shape
    return values.reshape(*lead, ny // k, k, nx // k, k).mean(axis=(-3, -1))


def test_layout_of_the_cube(truth):
    assert truth.dims == ("time", "band", "y", "x")
    assert truth.shape == (2, 2, 128, 160)
    assert truth.dtype == np.float32
    assert truth.odc.geobox.crs.epsg == 32631
    assert truth.x.values[0] == pytest.approx(600_001.25, abs=1e-6)
    assert truth.y.values[0] == pytest.approx(5_649_998.75, abs=1e-6)
    assert 0.0 < float(truth.min()) < float(truth.max()) < 0.8


@pytest.mark.parametrize("gsd_m", [10.0, 10 / 3.4, 2.5])
def test_grids_share_the_top_left_corner(gsd_m):
    box = SCENE.geobox(gsd_m)
    assert (box.transform.c, box.transform.f) == pytest.approx(SCENE.origin, abs=1e-9)
    assert tuple(box.shape) == tuple(math.floor(m / gsd_m + 1e-6) for m in (320.0, 400.0))


def test_same_seed_same_bytes(truth):
    lay_out.cache_clear()
    again = SCENE.render(gsd_m=2.5, times=TIMES, bands=BANDS)
    assert again.values.tobytes() == truth.values.tobytes()
    other = Scene(seed=4, size_m=SCENE.size_m).render(gsd_m=2.5, times=TIMES, bands=BANDS)
    assert not np.array_equal(other.values, truth.values)


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    synthetic_cube(size=(4, 4))
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_date_or_band_does_not_depend_on_the_others(truth):
    alone = SCENE.render(gsd_m=2.5, times=TIMES[1], bands=["nir"])
    assert np.array_equal(alone.values[0, 0], truth.values[1, 1])


def test_window_equals_crop(truth):
    window = (slice(37, 90), slice(101, 143))
    part = SCENE.render(gsd_m=2.5, times=TIMES, bands=BANDS, window=window)
    crop = truth[..., window[0], window[1]]
    assert np.array_equal(part.values, crop.values)
    assert_same_grid(part, crop)


def test_observed_window_equals_crop():
    given = dict(gsd_m=10.0, times=TIMES, bands=BANDS, jitter_px=0.4, noise=True)
    whole = SCENE.observe(**given)
    part = SCENE.observe(**given, window=(slice(5, 20), slice(7, 33)))
    crop = whole[..., 5:20, 7:33]
    assert np.array_equal(part.values, crop.values)
    assert np.array_equal(part.shift_x_m, crop.shift_x_m)
    assert_same_grid(part, crop)


def test_coarse_truth_is_the_mean_of_the_fine(truth):
    coarse = SCENE.render(gsd_m=10.0, times=TIMES, bands=BANDS)
    np.testing.assert_allclose(coarse.values, block_mean(truth.values, 4), atol=1e-6)


def test_mean_is_kept_at_a_fractional_ratio(truth):
    fine = SCENE.render(gsd_m=3.2, times=TIMES, bands=BANDS)  # 100 x 125 pixels: the same extent.
    np.testing.assert_allclose(fine.mean(("y", "x")), truth.mean(("y", "x")), rtol=3e-3)


def test_constant_scene_stays_constant(monkeypatch):
    def flat(layout, date):
        count = len(layout.materials)
        return np.full((10, count), 0.25, np.float32), np.zeros((10, count), np.float32)

    monkeypatch.setattr("xsr.testing.view.tables", flat)
    monkeypatch.setattr(View, "_shadow", lambda self, date: np.zeros(0, np.intp))
    pair = synthetic_pair(size=(16, 16), high_gsd_m=10 / 3.4, noise=False)
    np.testing.assert_allclose(pair.low, 0.25, atol=1e-6)
    np.testing.assert_allclose(pair.high, 0.25, atol=1e-6)


class EdgeScene:
    """Replace the content of every view by a function of the position in metres."""

    def __init__(self, monkeypatch, function):
        def images(view, dates, bands):
            y, x = view._axis_m(0)[:, None], view._axis_m(1)[None]
            for t in range(len(dates)):
                for b in range(len(bands)):
                    yield (t, b), np.broadcast_to(function(y, x), view.shape).astype(np.float32)

        monkeypatch.setattr(View, "images", images)
        monkeypatch.setattr(View, "__init__", self.prepare)

    @staticmethod
    def prepare(view, scene, spacing, rows, cols):
        view.scene, view.spacing, view.rows, view.cols = scene, spacing, rows, cols
        view.shape = (rows[1] - rows[0], cols[1] - cols[0])


@pytest.mark.parametrize("gsd_m", [2.5, 10 / 3.4, 5.0, 10.0])
@pytest.mark.parametrize("kind", ["render", "observe"])
def test_positions_agree_between_pixel_sizes(monkeypatch, gsd_m, kind):
    y0, x0 = 163.7, 151.3
    EdgeScene(monkeypatch, lambda y, x: np.exp(-0.5 * ((y - y0) ** 2 + (x - x0) ** 2) / 20.0**2))
    image = getattr(SCENE, kind)(gsd_m=gsd_m, times=TIMES[:1], bands=["B02"])[0, 0].astype(float)
    total = image.sum()
    assert float((image * image.x).sum() / total) - 600_000 == pytest.approx(x0, abs=1e-3 * gsd_m)
    assert 5_650_000 - float((image * image.y).sum() / total) == pytest.approx(y0, abs=1e-3 * gsd_m)


@pytest.mark.parametrize("gsd_m", [10.0, 2.5])
@pytest.mark.parametrize("band", ["B02", "B04", "B12"])
def test_mtf_at_nyquist_is_that_of_the_table(monkeypatch, gsd_m, band):
    EdgeScene(monkeypatch, lambda y, x: 0.5 + 0.4 * np.cos(math.pi / gsd_m * (x - 0.5 * gsd_m)))
    wave = SCENE.observe(gsd_m=gsd_m, times=TIMES[:1], bands=[band])[0, 0].values
    modulation = (wave[:, ::2].mean() - wave[:, 1::2].mean()) / 0.8
    assert modulation == pytest.approx(sensors.get("sentinel-2").band(band).mtf, abs=2e-3)


def test_mtf_of_a_step_edge(monkeypatch):
    EdgeScene(monkeypatch, lambda y, x: np.where(x > 197.0 + 0.11 * (y - 160.0), 0.8, 0.2))  # Slanted edge.
    image = SCENE.observe(gsd_m=10.0, times=TIMES[:1], bands=["B03"])[0, 0].values
    y, x = np.meshgrid((np.arange(32) + 0.5) * 10, (np.arange(40) + 0.5) * 10, indexing="ij")
    away = ((x - 197.0) - 0.11 * (y - 160.0)) / math.hypot(1.0, 0.11)
    near = np.abs(away) < 30
    order = np.argsort(away[near])
    at, edge = away[near][order], image[near][order]
    line, middle = np.diff(edge), 0.5 * (at[1:] + at[:-1])
    mtf = abs(np.sum(line * np.exp(-2j * np.pi * middle / 20.0))) / line.sum()
    assert mtf == pytest.approx(0.276, abs=1e-2)


def test_observation_agrees_with_a_fourier_blur():
    fine = SCENE.render(gsd_m=1.25, times=TIMES[:1], bands=["B08"])[0, 0].values.astype(float)
    seen = SCENE.observe(gsd_m=10.0, times=TIMES[:1], bands=["B08"])[0, 0].values
    sigma = sensors.get("sentinel-2").band("B08").mtf
    sigma = 8 / math.pi * math.sqrt(-2 * math.log(sigma))
    fy, fx = np.fft.fftfreq(fine.shape[0])[:, None], np.fft.fftfreq(fine.shape[1])[None]
    response = np.exp(-2 * np.pi**2 * sigma**2 * (fy**2 + fx**2)) * np.exp(2j * np.pi * 3.5 * (fy + fx))
    expected = np.fft.ifft2(np.fft.fft2(fine) * response).real[::8, ::8]
    np.testing.assert_allclose(seen[4:-4, 4:-4], expected[4:-4, 4:-4], atol=2e-5)


def test_jitter_is_recorded(monkeypatch):
    y0, x0 = 160.0, 200.0
    EdgeScene(monkeypatch, lambda y, x: np.exp(-0.5 * ((y - y0) ** 2 + (x - x0) ** 2) / 20.0**2))
    cube = SCENE.observe(gsd_m=10.0, times=TIMES, bands=["B02"], jitter_px=0.5)
    image = cube[:, 0].astype(float)
    east = (image * (cube.x - 600_000 - x0)).sum(("y", "x")) / image.sum(("y", "x"))
    north = (image * (cube.y - 5_650_000 + y0)).sum(("y", "x")) / image.sum(("y", "x"))
    np.testing.assert_allclose(east, cube.shift_x_m, atol=0.01)
    np.testing.assert_allclose(north, cube.shift_y_m, atol=0.01)
    assert float(abs(cube.shift_x_m).max()) > 0.1


@pytest.mark.slow
def test_noise_has_the_stated_size():
    given = dict(seed=1, size=(48, 48), bands=["B04"])
    clean, noisy = synthetic_cube(**given, noise=False), synthetic_cube(**given)
    scaled = (noisy - clean) / np.sqrt(9e-8 + 4e-6 * clean)
    assert float(scaled.std()) == pytest.approx(1.0, abs=0.05)
    assert float(scaled.mean()) == pytest.approx(0.0, abs=0.06)
    double = synthetic_cube(**given, noise=2.0)
    np.testing.assert_allclose(double - clean, 2 * (noisy - clean), atol=1e-6)


@pytest.mark.slow
def test_clouds():
    given = dict(seed=2, size=(64, 64), times=TIMES, clouds=0.3, bands=["B02", "B11"])
    pair, painted = synthetic_pair(**given), synthetic_cube(**given, cloud_nodata=False)
    clear = synthetic_cube(**given | {"clouds": 0.0})
    mask = pair.cloud_mask
    assert mask.dims == ("time", "y", "x")
    assert mask.dtype == bool
    assert_same_grid(mask, pair.low)
    assert bool((mask.mean(("y", "x")) > 0.2).all())
    assert bool((mask.mean(("y", "x")) < 0.85).all())
    assert bool((pair.low.isnull() == mask).all())
    assert np.array_equal(painted.where(~mask).notnull(), pair.low.notnull())
    np.testing.assert_allclose(painted.where(~mask), clear.where(~mask), atol=0.03)
    assert float((painted - clear).where(mask).max()) > 0.3
    assert not pair.high.isnull().any()


@pytest.mark.slow
@pytest.mark.parametrize("high_gsd_m", [2.5, 10 / 3.4, 5.0, 10.0])
def test_pair(high_gsd_m):
    pair = synthetic_pair(size=(24, 20), high_gsd_m=high_gsd_m, times=TIMES, jitter_px=0.3)
    n = [math.floor(size * 10 / high_gsd_m + 1e-6) for size in (24, 20)]
    assert pair.high.shape == (2, 4, *n)
    corner = pair.high.odc.geobox.transform
    assert (corner.c, corner.f) == pytest.approx((600_000, 5_650_000))
    low = synthetic_cube(size=(24, 20), times=TIMES, jitter_px=0.3)
    np.testing.assert_allclose(pair.low, low, atol=2e-2)  # Other samples of the same scene.
    still = Scene(seed=0, size_m=(240.0, 200.0)).observe(gsd_m=high_gsd_m, times=TIMES, bands=pair.high.band.values)
    np.testing.assert_allclose(pair.high, still, atol=1e-6 if high_gsd_m != 10 / 3.4 else 0.3)


@pytest.mark.slow
def test_seasons():
    months = [f"2024-{month:02d}-15" for month in (1, 5, 7)]
    cube = synthetic_cube(size=(96, 96), times=months, bands=["B04", "B08"], noise=False)
    red, nir = cube.sel(band="B04"), cube.sel(band="B08")
    ndvi = ((nir - red) / (nir + red)).mean(("y", "x"))
    assert float(ndvi[0]) < float(ndvi[1]) - 0.1
    assert 0.3 < float(ndvi[2]) < 0.9


def test_all_bands():
    cube = synthetic_cube(size=(8, 8), bands=ALL_BANDS)
    assert list(cube.band.values) == list(ALL_BANDS)


def test_chunks():
    cube = synthetic_cube(size=(16, 16), chunks={"y": 8, "x": 8})
    assert isinstance(cube.data, da.Array)
    np.testing.assert_array_equal(cube, synthetic_cube(size=(16, 16)))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(bands=["B09"]), BandError, "the scene has no band B09; expected one of B02"),
        (dict(bands=["B99"]), BandError, "no band 'B99'"),
        (dict(gsd_m=0.0), ParameterError, "size_m"),
        (dict(clouds=1.5), ParameterError, "clouds=1.5; expected a share"),
        (dict(jitter_px=-1.0), ParameterError, "jitter_px=-1.0"),
        (dict(noise=-1.0), ParameterError, "noise=-1.0"),
    ],
)
def test_errors(given, error, message):
    with pytest.raises(error, match=message):
        synthetic_cube(**{"size": (4, 4)} | given)


def test_more_errors():
    with pytest.raises(ParameterError, match=r"high_gsd_m=20\.0; expected"):
        synthetic_pair(size=(4, 4), high_gsd_m=20.0)
    with pytest.raises(ParameterError, match=r"window=.*two non-empty slices"):
        SCENE.geobox(10.0, window=(slice(3, 3), slice(0, 4)))
    with pytest.raises(ParameterError, match="coarser than the scene"):
        SCENE.geobox(500.0)
    with pytest.raises(ParameterError, match="supersample=0"):
        SCENE.render(gsd_m=10.0, times=TIMES, bands=BANDS, supersample=0)


def test_assert_lazy():
    cube = synthetic_cube(size=(8, 8), chunks={"y": 4})
    with assert_lazy(cube):
        later = (cube * 2).mean("time")
    assert later.chunks is not None
    with pytest.raises(AssertionError, match="a Dask computation was started"), assert_lazy():
        later.compute()
    with pytest.raises(AssertionError, match="DataArray is in memory"), assert_lazy(cube.compute()):
        pass
    later.compute()


def test_assert_same_grid():
    cube = synthetic_cube(size=(8, 8))
    assert_same_grid(cube, cube.odc.geobox)
    with pytest.raises(AssertionError, match="shape"):
        assert_same_grid(cube, cube[..., :4])
    with pytest.raises(AssertionError, match="transform"):
        assert_same_grid(cube, cube.assign_coords(x=cube.x + 1.0))
    with pytest.raises(AssertionError, match="CRS"):
        assert_same_grid(cube, cube.odc.assign_crs("EPSG:32632"))
