"""`support`: what of a result was measured, what inferred, and where it contradicts the image that it was made from."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from helpers import make_cube
from hypothesis import given, settings
from hypothesis import strategies as st
from models.helpers import write_model
from scipy.ndimage import gaussian_filter

import xsr
from xsr.core.blocks import Span
from xsr.core.errors import BandError, CubeError, GridError, ModelError, ParameterError
from xsr.kernels.degrade import observe, sensor_band
from xsr.kernels.support import FLAT, WINDOW
from xsr.models import registry
from xsr.models.card import read_card, write_card
from xsr.testing import assert_lazy, synthetic_cube

VARIABLES = ("measured", "inferred", "contradiction", "possible_hallucination")
MTF = 0.25
SCALES = (1.5, 2.0, 3.4, 8.0)


def texture(shape, seed=0, sigma=1.0, **grid):
    """Noise with the correlation that images have."""
    values = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), (0, 0, sigma, sigma))
    return make_cube((0.2 + 0.02 * values / values.std()).astype(np.float32), **grid)


def sensor(low, size, scale, source=None):
    """Matrix of a sensor along an axis, shape (low, size)."""
    optics = sensor_band(MTF, scale, source_mtf=source)
    impulses = np.eye(size, dtype=np.float32)[:, :, None] * np.ones(9, np.float32)
    columns = observe(impulses, replace(optics, x=sensor_band(0.3, 1.0).x), rows=Span(0, low), cols=Span(4, 5))
    return columns[:, :, 0].T.astype(np.float64)


def parts(fine, low, scale):
    """Detail of a band that is measured, and that is not, by pseudo-inverses of whole matrices."""
    axes = [sensor(n, size, scale) for n, size in zip(low.shape, fine.shape, strict=True)]
    inverse = [np.linalg.pinv(one) for one in axes]
    base = make_cube(low[None, None], gsd=10.0).sr.interpolate(scale=scale, units="reflectance").values[0, 0]
    detail = fine.astype(np.float64) - base
    measured = inverse[0] @ axes[0] @ detail @ (inverse[1] @ axes[1]).T
    return measured, detail - measured


def energy(image, scale, shape):
    """Mean square around each low-resolution pixel, pixel by pixel."""
    reach, padded = 8, np.pad(np.square(image), 8 * scale, mode="reflect")
    out = np.empty(shape)
    for row, col in np.ndindex(*shape):
        centre = (np.array([row, col]) + 0.5) * scale - 0.5
        first = np.floor(centre).astype(int) - reach
        y, x = (np.arange(f, f + 2 * reach + 2) for f in first)
        away = [np.abs(p - c) / (WINDOW * scale) for p, c in zip((y, x), centre, strict=True)]
        weights = [np.where(d <= 4, np.exp(-0.5 * d**2), 0) for d in away]
        down, across = (w / w.sum() for w in weights)
        out[row, col] = down @ padded[np.ix_(y + 8 * scale, x + 8 * scale)] @ across
    return out


def test_shares_are_those_of_the_energies_of_both_parts():
    low, fine = texture((1, 1, 14, 12)), texture((1, 1, 28, 24), seed=1, gsd=5.0)
    found = fine.sr.support(low, mtf=MTF)
    measured, inferred = parts(fine.values[0, 0], low.values[0, 0], 2)
    both = [energy(part, 2, (14, 12)) for part in (measured, inferred)]
    np.testing.assert_allclose(found.measured[0, 0], (both[0] + FLAT**2) / (sum(both) + FLAT**2), atol=2e-4)
    np.testing.assert_allclose(found.inferred[0, 0], np.sqrt(both[1]), rtol=1e-3)
    again = sensor(14, 28, 2) @ fine.values[0, 0] @ sensor(12, 24, 2).T
    np.testing.assert_allclose(found.contradiction[0, 0], low[0, 0] - again, atol=1e-6)
    assert {name: dict(found[name].sizes) for name in VARIABLES} == {name: dict(low.sizes) for name in VARIABLES}


def test_interpolation_has_no_detail_and_contradicts_edges():
    low = texture((2, 2, 20, 20))
    found = low.sr.interpolate(scale=2).sr.support(low, mtf=MTF)
    assert (found.measured == 1).all()
    assert (found.inferred == 0).all()
    assert float(np.abs(found.contradiction).max()) > 1e-3


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Name of the weights of a tiny network."""
    path = write_model(tmp_path)
    write_card(replace(read_card(path), sharpness="ideal", scale_range=(1.0, 8.0)), path)
    monkeypatch.setattr(registry, "_folders", [*registry._folders, tmp_path])
    return path.stem


@pytest.mark.parametrize("psf", [None, "sensor", 0.6, {"B02": 0.5, "B03": 0.6, "B04": 0.7, "B08": 0.9}])
@pytest.mark.parametrize("scale", SCALES)
def test_a_consistent_result_of_a_model_contradicts_nothing(model, scale, psf):
    low = texture((1, 4, 24, 21))
    fine = low.sr.liif(scale=scale, model=model, psf=psf, consistent=True)
    found = fine.sr.support(low)
    assert float(np.abs(found.contradiction).max()) < 1e-6
    assert found.attrs["model"] == "tiny"
    plain = low.sr.liif(scale=scale, model=model, psf=psf).sr.support(low)
    assert float(np.abs(plain.contradiction).max()) > 1e-4


def test_the_sharpness_is_read_as_files_bring_it_back(model):
    low = texture((1, 4, 24, 21))
    fine = low.sr.liif(scale=2, model=model, psf=dict.fromkeys(("B02", "B03", "B04", "B08"), 0.5))[:, :1]
    expected = fine.sr.support(low)
    for stated in ("B02 0.5", np.array(["B02 0.5"]), 0.5, np.float32(0.5)):
        xr.testing.assert_equal(fine.assign_attrs(xsr_psf=stated).sr.support(low), expected)


def test_what_is_given_comes_before_the_model(model):
    low = texture((1, 4, 24, 21))
    fine = low.sr.liif(scale=2, model=model, psf="ideal")[:, :2]
    mtf = dict(zip(("B02", "B03"), registry.card(model).mtf[:2], strict=True))
    by_model, found = fine.sr.support(low), fine.sr.support(low, mtf=mtf)
    xr.testing.assert_allclose(by_model, found, atol=1e-6)
    assert not by_model.contradiction.equals(fine.sr.support(low, mtf=0.1).contradiction)
    table = fine.sr.support(low, sensor="sentinel-2")
    assert table.attrs["psf"] == "gaussian"
    xr.testing.assert_equal(table, xsr.support(fine.assign_attrs(xsr_model="?"), low, sensor="sentinel-2"))


def opposite(fine, low, scale):
    """Result with the same measured detail and the opposite of what was inferred."""
    out = fine.copy(deep=True)
    for band in range(fine.shape[1]):
        out[0, band] = fine[0, band] - 2 * parts(fine.values[0, band], low.values[0, band], scale)[1]
    return out


def test_nothing_distinguishes_detail_from_its_opposite_where_no_trace_is_left():
    low, fine = texture((1, 2, 16, 16)), texture((1, 2, 32, 32), seed=1, gsd=5.0)
    other = opposite(fine, low, 2)
    assert float(np.abs(other - fine).max()) > 0.01
    xr.testing.assert_allclose(fine.sr.support(low, mtf=MTF), other.sr.support(low, mtf=MTF), rtol=2e-3, atol=2e-5)


def test_detail_that_only_the_sensor_explains_is_measured():
    low = texture((1, 1, 20, 20))
    base = low.sr.interpolate(scale=2)
    measured, _ = parts(texture((1, 1, 40, 40), seed=3).values[0, 0], low.values[0, 0], 2)
    found = (base + measured.astype(np.float32)).sr.support(low, mtf=MTF)
    assert float(found.measured.min()) > 0.999


@pytest.mark.slow
@settings(max_examples=6)
@given(
    scale=st.sampled_from(SCALES),
    rows=st.integers(27, 70),
    cols=st.integers(27, 70),
    block=st.integers(11, 40),
    lazy_low=st.booleans(),
)
def test_chunks_make_no_difference(scale, rows, cols, block, lazy_low):
    low = synthetic_cube(size=(33, 29), bands=("B02", "B08"))
    fine = low.sr.interpolate(scale=scale, method="lanczos3")
    whole = fine.sr.support(low)
    lazy = fine.chunk(y=rows, x=cols).sr.support(low.chunk(y=block, x=block) if lazy_low else low, chunks=(block, rows))
    assert_lazy(lazy.measured)
    assert lazy.measured.chunks[2][0] == min(block, whole.sizes["y"])
    for name in VARIABLES:
        np.testing.assert_allclose(lazy[name].compute(), whole[name], rtol=1e-5, atol=1e-6)


def test_no_data_of_either_is_no_data_and_nothing_else_changes():
    low, fine = texture((1, 2, 40, 40)), texture((1, 2, 80, 80), seed=1, gsd=5.0)
    whole = fine.sr.support(low, mtf=MTF)
    holed = low.copy(deep=True)
    holed[0, 0, 5:8, 5:8] = np.nan
    gaps = fine.copy(deep=True)
    gaps[0, 0, 40:44, 60:64] = np.inf
    found = gaps.sr.support(holed, mtf=MTF)
    missing = np.isnan(found.contradiction.values)
    assert missing[0, 0, 5:8, 5:8].all()
    assert missing[0, 0, 20:22, 30:32].all()
    assert not missing[0, 1].any()
    assert missing.sum() < 9 + 8 * 8
    for name in VARIABLES:
        np.testing.assert_array_equal(np.isnan(found[name]), missing)
        np.testing.assert_array_equal(found[name][:, 1], whole[name][:, 1])
        np.testing.assert_allclose(found[name][0, 0, 28:, :8], whole[name][0, 0, 28:, :8], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.contradiction.values[~missing], whole.contradiction.values[~missing], atol=2e-3)


def test_only_pixels_inside_the_result_are_judged():
    low = texture((1, 1, 31, 30))
    fine = low.sr.interpolate(scale=3.4)
    found = fine.sr.support(low, mtf=MTF)
    assert dict(found.sizes) == {"time": 1, "band": 1, "y": 30, "x": 30}
    part = fine[..., :60, :52].sr.support(low, mtf=MTF)
    assert dict(part.sizes) == {"time": 1, "band": 1, "y": 17, "x": 15}
    np.testing.assert_array_equal(part.y, low.y[:17])
    np.testing.assert_array_equal(part.x, low.x[:15])


def test_containers_names_and_order_of_rows_make_no_difference():
    low, fine = texture((1, 2, 20, 16)), texture((1, 2, 40, 32), seed=1, gsd=5.0)
    expected = fine.sr.support(low, mtf=MTF)
    datasets = fine.to_dataset("band").sr.support(low.to_dataset("band"), mtf=MTF)
    xr.testing.assert_equal(datasets, expected)
    turned = fine[..., ::-1, :].sr.support(low[..., ::-1, :].chunk(y=7), mtf=MTF)
    np.testing.assert_array_equal(turned.y, low.y[::-1])
    xr.testing.assert_allclose(turned.sortby("y", ascending=False).compute(), expected, rtol=1e-5, atol=1e-6)
    mixed = fine[..., ::-1, :].chunk(y=13).sr.support(low, mtf=MTF)
    xr.testing.assert_allclose(mixed.compute(), expected, rtol=1e-5, atol=1e-6)
    swapped = fine.sr.support(low[:, ::-1], mtf=MTF)
    xr.testing.assert_equal(swapped, expected)
    image = fine[0, 0].drop_vars(["time", "band"]).sr.support(low[0, 0].drop_vars(["time", "band"]), mtf=MTF)
    np.testing.assert_array_equal(image.measured[0, 0], expected.measured[0, 0])


@pytest.mark.slow
def test_bands_of_larger_pixels_are_observed_in_these():
    low = synthetic_cube(size=(60, 60), bands=("B04", "B11"))
    low[:, 1:] = synthetic_cube(size=(30, 30), gsd_m=20.0, bands=("B11",)).sr.interpolate(scale=2).values
    fine = low.sr.liif(scale=2, consistent=True)
    contradiction = np.abs(fine.sr.support(low).contradiction)[..., 8:-8, 8:-8]
    assert float(contradiction.max()) < 3e-4
    ten = fine.assign_coords(native_gsd=("band", [10.0, 10.0]))
    blind = ten.sr.support(low.assign_coords(native_gsd=("band", [10.0, 10.0])))
    assert float(np.abs(blind.contradiction)[0, 1].max()) > 1e-3
    assert float(fine.sr.support(low).measured[0, 1].mean()) < float(blind.measured[0, 1].mean())


def test_the_noise_is_the_unit_of_what_is_unusual():
    low = make_cube(np.full((1, 2, 40, 40), 0.2, np.float32))
    fine = low.sr.interpolate(scale=2)
    found = fine.sr.support(low - 0.003, mtf=MTF, noise={"B02": 0.001, "B03": 0.003})
    np.testing.assert_allclose(found.possible_hallucination[0, 0], 3, rtol=1e-4)
    np.testing.assert_allclose(found.possible_hallucination[0, 1], 1, rtol=1e-4)
    assert found.attrs["noise"] == [0.001, 0.003]


def test_a_pair_of_mtf_may_be_an_array():
    low = texture((1, 2, 20, 20))
    fine = low.sr.interpolate(scale=2)
    found = fine.sr.support(low, mtf=np.array([0.3, 0.2]))
    xr.testing.assert_identical(found, fine.sr.support(low, mtf=(0.3, 0.2)))


def test_what_does_not_fit_is_refused(model, tmp_path):
    low = texture((1, 2, 20, 20))
    fine = low.sr.interpolate(scale=2)
    with pytest.raises(GridError, match=r"low= has pixels 1 times those of fine="):
        low.sr.support(low, mtf=MTF)
    with pytest.raises(GridError, match=r"low= is shifted by 2 pixels of the image down"):
        fine.sr.support(low[..., 1:, :], mtf=MTF)
    with pytest.raises(GridError, match=r"less than one of low="):
        low.sr.interpolate(scale=8)[..., :5, :5].sr.support(low, mtf=MTF)
    with pytest.raises(GridError, match=r"expected one CRS"):
        fine.sr.support(texture((1, 2, 20, 20), crs="EPSG:32632"), mtf=MTF)
    with pytest.raises(BandError, match=r"low= lacks the bands"):
        fine.sr.support(low[:, :1], mtf=MTF)
    with pytest.raises(CubeError, match="dates"):
        fine.sr.support(texture((2, 2, 20, 20)), mtf=MTF)
    with pytest.raises(ParameterError, match="noise"):
        fine.sr.support(low, mtf=MTF, noise=0)
    with pytest.raises(ParameterError, match="noise names the bands"):
        fine.sr.support(low, mtf=MTF, noise={"B02": 0.1})
    with pytest.raises(ParameterError, match="mtf"):
        fine.sr.support(low, mtf=1.5)


def test_a_model_that_is_not_known_or_states_nothing_is_refused(model, tmp_path):
    low = texture((1, 4, 20, 20))
    fine = low.sr.liif(scale=2, model=model)
    with pytest.raises(ModelError, match=r"not known by name\. Pass the MTF"):
        fine.assign_attrs(xsr_model="nobody").sr.support(low)
    with pytest.raises(ModelError, match="made by other weights"):
        fine.assign_attrs(xsr_weights_sha256="0" * 64).sr.support(low)
    with pytest.raises(BandError, match=r"'tiny' makes no band\(s\) \['B11'\]"):
        xsr.support(*(cube.assign_coords(band=["B02", "B03", "B04", "B11"]) for cube in (fine, low)))
    path = tmp_path / f"{model}.safetensors"
    write_card(replace(read_card(path), sharpness=None), path)
    with pytest.raises(ModelError, match="does not state the sharpness of its result"):
        fine.sr.support(low)
