"""Tests of temperatures sharpened by an optical guide."""

import math
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from helpers import NORTH, WEST, make_cube
from hypothesis import given, settings
from hypothesis import strategies as st
from models.helpers import changed
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

import xsr
from xsr import cli
from xsr.core.errors import BandError, CubeError, GridError, ModelError, ParameterError, XsrWarning
from xsr.kernels.degrade import blur_decimate
from xsr.kernels.limits import limits as limits_of
from xsr.models import predictor, registry
from xsr.models.card import file_sha256, from_fields, write_card
from xsr.operations.guided.guide import checked_index
from xsr.operations.guided.operation import DEFAULT
from xsr.sources.landsat import brightness_temperature
from xsr.testing import assert_lazy, assert_same_grid

FACTOR = 4
GUIDE_BANDS = ("B04", "B08", "B11")
SIDE = 96
"""Fine pixels along an axis."""
NETWORKS = {
    "dctnet": {"guide_bands": 3, "features": 8, "layers": 1, "final_relu": False},
    "dctrrdbnet": {"guide_bands": 3, "features": 8, "layers": 1, "growth": 4, "final_relu": False},
    "jiif": {"guide_bands": 3, "features": 8, "blocks": 1, "hidden": [16, 8]},
}
OTHERS = pytest.mark.filterwarnings("ignore:Use `@` matmul")
"""``pytest.warns`` repeats what odc-geo warns of, as if the test did."""
METHODS = ("guided_filter", "tsharp", "bicubic", "bilinear")


def write_guided(folder, architecture="dctnet", *, zero=False, clipped=False, **fields):
    """Write an untrained guided network and its card.

    ``zero`` makes it answer nothing but zeros, ``clipped`` nothing but what its last ReLU cuts off.
    """
    config = {**NETWORKS[architecture], **({"final_relu": True} if clipped else {})}
    torch.manual_seed(0)
    network = registry.create(architecture, **config)
    if architecture == "jiif":
        last = network.imnet.layers[-1]
    else:
        last = network.Decoder_depth.Decoder_Deep[-1]
    if zero or clipped:
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.constant_(last.bias, -1.0 if clipped else 0.0)
    path = folder / f"{architecture}{zero}{clipped}{len(fields)}.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    told = {"residual": True, "patch": 32, "guide_optional": (), "units": "K", "bands": ("lst",), **fields}
    card = from_fields(
        name=path.stem,
        summary="A tiny random network.",
        architecture=architecture,
        config=config,
        optional=(),
        sensor="landsat-8",
        gsd_m=10.0,
        mean=(0.0,) * len(told["bands"]),
        std=(1.0,) * len(told["bands"]),
        scale_range=(2.0, 8.0),
        mtf=(0.3,) * len(told["bands"]),
        sha256=file_sha256(path),
        parameters=sum(p.numel() for p in network.parameters()),
        radius=0,
        licence="CC0-1.0",
        guide_bands=GUIDE_BANDS,
        guide_mean=(0.12, 0.3, 0.2),
        guide_std=(0.1, 0.1, 0.1),
        **told,
    )
    write_card(card, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("guided")


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, folder):
    return write_guided(folder, request.param)


@pytest.fixture(scope="module")
def dctnet(folder):
    return write_guided(folder)


def fields(seed=0, side=SIDE):
    """Vegetation of sharp-edged fields, 0 to 1."""
    rng = np.random.default_rng(seed)
    edges = np.sign(gaussian_filter(rng.standard_normal((side, side)), 4))
    return np.clip(0.5 + 0.3 * edges + 0.05 * gaussian_filter(rng.standard_normal((side, side)), 1), 0, 1)


def make_guide(vegetation, **options):
    return make_cube(
        np.stack([0.25 - 0.2 * vegetation, 0.2 + 0.3 * vegetation, 0.3 - 0.15 * vegetation]).astype(np.float32),
        bands=GUIDE_BANDS,
        **options,
    )


def make_temperature(kelvin, factor=FACTOR, **options):
    """Temperature of pixels ``factor`` times coarser, whose radiance is the mean of the fine."""
    h, w = (n // factor for n in kelvin.shape[-2:])
    blocks = kelvin[..., : h * factor, : w * factor].reshape(*kelvin.shape[:-2], h, factor, w, factor)
    low = (blocks**4).mean(axis=(-3, -1)) ** 0.25
    cube = make_cube(low.astype(np.float32), gsd=10.0 * factor, bands=("lst",), **options)
    return cube.assign_attrs(units="K").rename("temperature")


VEGETATION = fields()
KELVIN = 308 - 12 * VEGETATION
GUIDE = make_guide(VEGETATION)
LOW = make_temperature(KELVIN)


def rmse(found, truth=KELVIN):
    return float(np.sqrt(np.nanmean((np.asarray(found) - truth) ** 2)))


def block_mean(values, power, factor=FACTOR):
    h, w = (n // factor for n in values.shape[-2:])
    return ((np.asarray(values, float) ** power).reshape(h, factor, w, factor).mean(axis=(1, 3))) ** (1 / power)


# ---- what it makes


def test_methods_recover_what_the_guide_explains():
    """Temperature is a line of the guide's bands: both relations find it, where interpolation cannot."""
    errors = {method: rmse(LOW.sr.guided(GUIDE, method=method)) for method in METHODS}
    assert errors["bicubic"] > 1
    assert errors["tsharp"] < 0.1 * errors["bicubic"]
    assert errors["guided_filter"] < 0.2 * errors["bicubic"]


def test_tsharp__is_exact_for_a_line_of_the_index():
    index = (GUIDE[1] - GUIDE[0]) / (GUIDE[1] + GUIDE[0])
    truth = 310 - 15 * index.values.astype(float)
    low = LOW.copy(data=block_mean(truth, 1).astype(np.float32))
    out = low.sr.guided(GUIDE, method="tsharp", conserve=None)
    np.testing.assert_allclose(out, truth, atol=1e-3)


@pytest.mark.parametrize("how", [{"method": "tsharp"}, {"model": "dctnet_lst"}, {"method": "guided_filter"}])
def test_a_vegetation_index_alone_guides(how):
    """Of it red and near infrared are made that have it: the same as bands of an even sum; the filter reads itself."""
    index = (GUIDE[1] - GUIDE[0]) / (GUIDE[1] + GUIDE[0])
    alone = GUIDE[:1].copy(data=index.values[None]).assign_coords(band=["NDVI"])
    bands = GUIDE[:2].copy(data=np.stack([0.175 * (1 - index.values), 0.175 * (1 + index.values)]))
    out = LOW.sr.guided(alone, **how)
    assert rmse(out) < 0.6 * rmse(LOW.sr.guided(GUIDE, method="bicubic"))
    if how != {"method": "guided_filter"}:
        np.testing.assert_allclose(out, LOW.sr.guided(bands, **how), atol=1e-3)
    lazy = LOW.chunk().sr.guided(alone.chunk(), **how)
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy, out, atol=1e-3)


@pytest.mark.parametrize("how", [{"method": "tsharp"}, {"method": "guided_filter"}])
def test_an_index_in_other_numbers_is_refused_when_it_is_read(how):
    index = ((GUIDE[1] - GUIDE[0]) / (GUIDE[1] + GUIDE[0])).values
    alone = GUIDE[:1].copy(data=index[None]).assign_coords(band=["ndvi"])
    stored = alone * 10000
    with pytest.raises(CubeError, match=r"'ndvi' holds values from .* expected a vegetation index from -1 to 1"):
        LOW.sr.guided(stored, **how)
    lazy = LOW.sr.guided(stored.chunk(), **how)
    with pytest.raises(CubeError, match="guide_units=1e-4"):
        lazy.compute()
    np.testing.assert_allclose(
        LOW.sr.guided(stored, guide_units=1e-4, **how), LOW.sr.guided(alone, **how), rtol=0, atol=1e-3
    )


def test_a_few_pixels_of_an_index_may_lie_beyond_one():
    block = np.linspace(-1, 1, 400, dtype=np.float32).reshape(1, 1, 20, 20)
    block[0, 0, 0, :3] = np.nan, 1.2, -1.1
    assert checked_index(block) is block
    block[0, 0, 1, :3] = 1.2
    with pytest.raises(CubeError, match=r"from -1\.1 to 1\.2"):
        checked_index(block)
    assert checked_index(np.full((1, 1, 4, 4), np.nan, np.float32)).size == 16
    with pytest.raises(CubeError, match="from 2 to 2"):
        checked_index(np.full((1, 1, 1, 1), 2, np.float32))


def test_another_single_band_is_no_index():
    alone = GUIDE[:1].assign_coords(band=["evi"])
    with pytest.raises(BandError, match="B04"):
        LOW.sr.guided(alone, method="tsharp")


def test_methods_without_a_guide_are_interpolation():
    for method in ("bicubic", "bilinear"):
        out = LOW.sr.guided(GUIDE, method=method, conserve=None)
        np.testing.assert_array_equal(out, LOW.sr.interpolate(scale=FACTOR, method=method))


def test_a_network_that_adds_nothing_leaves_the_interpolation(folder):
    path = write_guided(folder, zero=True)
    out = LOW.sr.guided(GUIDE, model=path, conserve=None)
    np.testing.assert_allclose(out, LOW.sr.interpolate(scale=FACTOR), atol=1e-4)
    assert not out.flag.any()


def test_a_network_sees_normalised_numbers(folder):
    """On one patch by hand: limits of the image, bicubic base, standardised guide, and back."""
    path = write_guided(folder)
    side = 24
    guide = GUIDE.isel(y=slice(side), x=slice(side))
    low = LOW.isel(y=slice(side // FACTOR), x=slice(side // FACTOR))
    values = low.values.astype(np.float64)
    lo, hi = limits_of(values.size, values.sum(), (values**2).sum(), values.min(), values.max())
    base = low.sr.interpolate(scale=FACTOR).values
    pad = [(8, 8), (8, 8)]
    image = np.pad((base - lo) / (hi - lo), pad, mode="reflect")
    standard = (guide.values - np.array([0.12, 0.3, 0.2])[:, None, None]) / 0.1
    standard = np.pad(standard, [(0, 0), *pad], mode="reflect")
    net = registry.load(path)

    def answer(top, left):
        cut = np.s_[top + 8 : top + 8 + 32, left + 8 : left + 8 + 32]
        pieces = [torch.tensor(v[(..., *cut)], dtype=torch.float32) for v in (image[None, None], standard[None])]
        return net(*pieces)[0, 0].numpy()

    out = low.sr.guided(guide, model=path, conserve=None)
    # Patches of 32 every 24 pixels, 2 trimmed: pixels 6 to 21 of the patch at -2..., that is the one at 0, are its own.
    np.testing.assert_allclose(out[6:22, 6:22], base[6:22, 6:22] + (hi - lo) * answer(0, 0)[6:22, 6:22], atol=1e-3)


@pytest.mark.slow
def test_a_network_without_a_guide_reads_the_coarse_pixels(folder):
    """On one patch by hand, as above: no bands of the guide, and an answer of four times as many pixels."""
    config = {"bands": 1, "blocks": 1, "features": 8, "growth": 4}
    torch.manual_seed(0)
    network = registry.create("esrgan_1x8x4", **config)
    path = folder / "esrnet.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    card = registry.card(write_guided(folder))
    fields = {"architecture": "esrgan_1x8x4", "config": config, "factor": network.factor, "name": "esrnet"}
    fields["radius"] = network.radius
    fields |= {"guide_bands": (), "guide_mean": (), "guide_std": (), "sha256": file_sha256(path)}
    write_card(changed(card, **fields), path)
    factor = network.factor
    low = LOW.isel(y=slice(20), x=slice(20))
    out = low.sr.guided(GUIDE.isel(band=[0]), model=path, scale=float(factor), conserve=None, limits=(290.0, 310.0))
    patch = torch.tensor((low.values[None, None, : 32 // factor, : 32 // factor] - 290) / 20)
    answer = registry.load(path)(patch)[0, 0].numpy()
    base = low.sr.interpolate(scale=factor)
    np.testing.assert_allclose(out[6:22, 6:22], base[6:22, 6:22] + 20 * answer[6:22, 6:22], atol=1e-3)
    lazy = low.chunk(y=5, x=7).sr.guided(
        GUIDE.isel(band=[0]), model=path, scale=float(factor), conserve=None, limits=(290.0, 310.0), chunks=13
    )
    np.testing.assert_allclose(lazy, out, atol=1e-4)
    assert not out.flag.any()
    with pytest.raises(ModelError, match=f"has the factor {factor}; the result has 3"):
        low.sr.guided(GUIDE, model=path, scale=3.0)


@pytest.mark.slow
@pytest.mark.parametrize("conserve", ["radiance", "temperature"])
@pytest.mark.parametrize("method", [*METHODS, None])
def test_means_are_held(method, conserve, dctnet):
    how = {"model": dctnet} if method is None else {"method": method}
    out = LOW.sr.guided(GUIDE, **how, conserve=conserve)
    found = block_mean(out, {"radiance": 4, "temperature": 1}[conserve])
    np.testing.assert_allclose(found, LOW, atol=1e-3)
    assert np.abs(block_mean(LOW.sr.guided(GUIDE, **how, conserve=None), 4) - LOW).max() > 0.01


def test_means_are_held_on_a_grid_that_does_not_nest():
    out = LOW.sr.guided(GUIDE, method="tsharp", scale=2.6, conserve="radiance")
    edges = np.arange(out.sizes["x"] + 1) / 2.6
    low = np.arange(LOW.sizes["x"] + 1.0)
    share = np.maximum(np.minimum(low[1:, None], edges[1:]) - np.maximum(low[:-1, None], edges[:-1]), 0)
    whole = np.isclose(share.sum(axis=1), 1)
    found = (share @ out.values.astype(float) ** 4 @ share.T) ** 0.25
    assert whole.sum() >= 23
    np.testing.assert_allclose(found[np.ix_(whole, whole)], LOW.values[np.ix_(whole, whole)], atol=1e-3)


@pytest.mark.parametrize("method", [*METHODS, None])
def test_a_constant_temperature_stays(method, dctnet):
    how = {"model": dctnet} if method is None else {"method": method}
    out = LOW.copy(data=np.full(LOW.shape, 300, np.float32)).sr.guided(GUIDE, **how)
    np.testing.assert_allclose(out, 300, atol=1e-4)
    assert not out.flag.any()


@pytest.mark.slow
def test_limits_of_the_user(dctnet):
    values = LOW.values.astype(np.float64)
    own = limits_of(values.size, values.sum(), (values**2).sum(), values.min(), values.max())
    out = LOW.sr.guided(GUIDE, model=dctnet, limits=tuple(float(v) for v in own))
    np.testing.assert_allclose(out, LOW.sr.guided(GUIDE, model=dctnet), atol=1e-3)
    other = LOW.sr.guided(GUIDE, model=dctnet, limits=(250.0, 350.0))
    assert np.abs(other - out).max() > 0.1


@pytest.mark.slow
def test_each_date_has_limits_of_its_own(dctnet):
    series = make_temperature(np.stack([KELVIN, 2 * KELVIN - 300])[:, None])
    guide = GUIDE.expand_dims(time=series.time)
    out = series.sr.guided(guide, model=dctnet)
    for date in range(2):
        alone = series.isel(time=[date]).sr.guided(guide, model=dctnet)
        np.testing.assert_array_equal(out.isel(time=[date]), alone)


@pytest.mark.slow
def test_dates_together_in_a_chunk__one_of_them_empty(dctnet):
    kelvin = KELVIN[:48, :40]
    series = make_temperature(np.stack([kelvin, kelvin * np.nan, 2 * kelvin - 300])[:, None])
    for how in ({"model": dctnet}, {"method": "tsharp"}, {"method": "guided_filter"}):
        out = series.sr.guided(GUIDE, **how)
        lazy = series.chunk(time=3, y=9).sr.guided(GUIDE, **how, chunks=36)
        np.testing.assert_allclose(lazy, out, atol=1e-4)
        assert np.isnan(out[1]).all()
        assert np.isfinite(out[[0, 2]]).all()
        assert not out.flag[1].any()


# ---- blocks


@pytest.mark.parametrize("mtf", [0.15, 0.3, 0.45])
@pytest.mark.parametrize("conserve", ["radiance", "temperature"])
def test_a_result_observed_again_within_the_response_is_the_cube(mtf, conserve):
    out = LOW.sr.guided(GUIDE, method="guided_filter", conserve=conserve, mtf=mtf)
    power = {"radiance": 4, "temperature": 1}[conserve]
    again = blur_decimate(out.values[None].astype(float) ** power / 300.0 ** (power - 1), scale=FACTOR, mtf=mtf)[0]
    np.testing.assert_allclose((again * 300.0 ** (power - 1)) ** (1 / power), LOW, atol=2e-3)
    assert np.abs(block_mean(out, power) - LOW).max() > 0.01


def test_a_temperature_observed_through_a_response_is_found_again_better_within_it():
    truth = 300 + 10 * GUIDE.isel(band=1).values
    low = LOW.copy(data=blur_decimate(truth[None], scale=FACTOR, mtf=0.3)[0])
    error = {
        mtf: float(np.sqrt(np.mean((low.sr.guided(GUIDE, method="bicubic", **how).values - truth) ** 2)))
        for mtf, how in ((None, {}), (0.3, {"conserve": "temperature", "mtf": 0.3}))
    }
    assert error[0.3] < 0.9 * error[None]


def test_gaps_take_no_part_in_a_response():
    gap = LOW.where(~((LOW.x == LOW.x[9]) & (LOW.y == LOW.y[7])))
    out = gap.sr.guided(GUIDE, method="bicubic", conserve="temperature", mtf=0.3)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(gap.sr.guided(GUIDE, method="bicubic")))
    again = xsr.degrade(out.assign_attrs(units="K"), scale=FACTOR, mtf=0.3, min_valid=0.99)
    missing = np.abs(again - gap.values)
    assert missing.notnull().sum() > 400
    assert float(missing.max()) < 2e-3


def test_within_a_response_a_network_is_averaged_with_the_method_of_its_card(folder, dctnet):
    within = {"conserve": "temperature", "mtf": 0.3}
    joined = write_guided(folder, held_with="guided_filter")
    gap = GUIDE.where(~((GUIDE.x > WEST + 200) & (GUIDE.x < WEST + 260) & (GUIDE.y < NORTH - 300)))
    for guide in (GUIDE, gap):
        out = LOW.sr.guided(guide, model=joined, **within)
        one, other = (LOW.sr.guided(guide, **how, **within) for how in ({"model": dctnet}, {"method": "guided_filter"}))
        np.testing.assert_array_equal(out.flag, one.flag)
        np.testing.assert_array_equal(np.isnan(out), np.isnan(one))
        assert out.attrs["xsr_averaged_with"] == "guided_filter"
        assert "xsr_averaged_with" not in one.attrs
        if guide is GUIDE:  # the correction is linear in the temperature
            np.testing.assert_allclose(out, (one + other) / 2, atol=2e-4)
            assert np.abs(out - one).max() > 0.05
    for how in ({}, {"conserve": "temperature"}):
        alone, same = (LOW.sr.guided(GUIDE, model=model, **how) for model in (dctnet, joined))
        np.testing.assert_array_equal(alone, same)


@OTHERS
def test_a_guide_that_stays_is_told_once(folder):
    joined = write_guided(folder, held_with="guided_filter")
    with pytest.warns(XsrWarning) as told:
        LOW.sr.guided(GUIDE * 0 + 0.2, model=joined, conserve="radiance", mtf=0.3, coregister=True)
    assert sum("too little texture" in str(one.message) for one in told) == 1


@pytest.mark.slow
@settings(max_examples=6)
@given(
    mtf=st.sampled_from([None, 0.3]),
    chunk=st.integers(17, 60),
    own=st.integers(3, 14),
    other=st.integers(11, 56),
    which=st.sampled_from([*METHODS, *NETWORKS]),
    conserve=st.sampled_from(["radiance", "temperature", None]),
)
def test_chunks_are_nowhere_seen(folder, mtf, chunk, own, other, which, conserve):
    how = {"method": which} if which in METHODS else {"model": write_guided(folder, which)}
    how |= {"conserve": conserve, "mtf": mtf if conserve else None}
    low, guide = LOW.isel(y=slice(12), x=slice(14)), GUIDE.isel(y=slice(48), x=slice(56))
    low = low.where(low != low[4, 4])
    guide = guide.where(~((guide.x > WEST + 200) & (guide.x < WEST + 260) & (guide.y < NORTH - 300)))
    whole = low.sr.guided(guide, **how)
    lazy = low.chunk(y=own, x=own).sr.guided(guide.chunk(y=other, x=other), **how, chunks=chunk)
    span = float(low.max() - low.min())
    assert lazy.data.chunksize[0] <= chunk
    np.testing.assert_allclose(lazy, whole, atol=4e-6 * span + 6e-5)  # and the spacing of float32 at 300 K
    np.testing.assert_array_equal(lazy.flag, whole.flag)


@pytest.mark.slow
def test_normalised_chunks_agree_to_a_millionth(network):
    """In the range of 0 to 1, which float32 resolves better than kelvin."""
    low = ((LOW - 290) / 1000).assign_attrs(units="K")  # thousandths of a kelvin above zero
    wide = {"limits": (0.0, 0.04), "conserve": None, "model": network}
    whole = low.sr.guided(GUIDE, **wide)
    lazy = low.chunk(y=7, x=9).sr.guided(GUIDE.chunk(y=31, x=64), **wide, chunks=40)
    assert float(np.abs(whole - low.sr.guided(GUIDE, method="bicubic", conserve=None)).max()) > 1e-4
    np.testing.assert_allclose(lazy / 0.04, whole / 0.04, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_nothing_is_computed_before_it_is_asked_for(network):
    low, guide = LOW.chunk(y=10, x=10), GUIDE.chunk(y=50, x=50)
    with assert_lazy(low, guide):
        out = low.sr.guided(guide, model=network)
        for method in METHODS:
            low.sr.guided(guide, method=method)
    assert out.chunks is not None
    assert out.flag.chunks is not None


@pytest.mark.slow
def test_one_of_the_two_in_memory(dctnet):
    whole = LOW.sr.guided(GUIDE, model=dctnet)
    for low, guide in ((LOW.chunk(y=10), GUIDE), (LOW, GUIDE.chunk(x=40))):
        with assert_lazy(low if low.chunks else guide):
            out = low.sr.guided(guide, model=dctnet, chunks=50)
        assert out.chunks == ((50, 46), (50, 46))
        np.testing.assert_allclose(out, whole, atol=1e-4)


def test_each_block_uses_its_share_of_the_cores(dctnet, monkeypatch):
    seen = []
    plain = predictor.predict_guided

    def watch(*args, **options):
        seen.append(torch.get_num_threads())
        return plain(*args, **options)

    monkeypatch.setattr(predictor, "predict_guided", watch)
    monkeypatch.setattr("dask.system.CPU_COUNT", 4)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        fine = xsr.guided(LOW.chunk(), GUIDE.chunk(), model=dctnet, chunks=48)
        with (
            ThreadPoolExecutor(2) as pool,
            dask.config.set(num_workers=2, pool=pool),
        ):
            fine.compute(scheduler="threads")
        assert set(seen) == {2}
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_the_same_call_has_the_same_keys(dctnet):
    """A run that is resumed knows its input by them."""
    low, guide = LOW.chunk(y=10), GUIDE.chunk(x=40)
    for how in ({"model": dctnet}, {"method": "tsharp"}, {"method": "guided_filter"}):
        first = low.sr.guided(guide, **how)
        first.compute()
        assert low.sr.guided(guide, **how).data.name == first.data.name


@pytest.mark.slow
def test_borders_of_blocks_are_no_steps(network):
    """Steps across the borders of blocks come from the distribution of the steps inside."""
    low = LOW.chunk(y=8, x=8)
    out = low.sr.guided(GUIDE.chunk(y=32, x=32), model=network, chunks=32).values
    steps = np.abs(np.diff(out, axis=1))
    across = np.arange(31, SIDE - 1, 32)
    inside = np.delete(steps, across, axis=1)
    assert steps[:, across].max() <= inside.max()
    assert np.median(steps[:, across]) <= np.quantile(inside, 0.75)


# ---- no data


@pytest.mark.slow
def test_gaps_of_the_temperature_stay_where_they_are(network):
    holes = np.zeros(LOW.shape, bool)
    holes[3:5, 7] = holes[-1, -1] = True
    low = LOW.where(~xr.DataArray(holes, dims=LOW.dims))
    for how in ({"model": network}, {"method": "guided_filter"}, {"method": "tsharp"}):
        out = low.sr.guided(GUIDE, **how)
        np.testing.assert_array_equal(np.isnan(out), holes.repeat(FACTOR, 0).repeat(FACTOR, 1))
        assert not out.flag.values[np.isnan(out)].any()


@pytest.mark.slow
def test_gaps_of_the_guide_are_bicubic_and_flagged(network):
    gap = np.zeros(GUIDE.shape[1:], bool)
    gap[20:37, 30:52] = True
    guide = GUIDE.where(~xr.DataArray(gap, dims=("y", "x")))
    base = LOW.sr.guided(GUIDE, method="bicubic", conserve=None)
    out = LOW.sr.guided(guide, model=network, conserve=None)
    np.testing.assert_array_equal(out.flag, gap.astype(np.uint8))
    np.testing.assert_array_equal(out.values[gap], base.values[gap])
    far = LOW.sr.guided(GUIDE, model=network, conserve=None)
    np.testing.assert_allclose(out[:, 90:], far[:, 90:], atol=1e-4)
    for method in ("guided_filter", "tsharp"):
        out = LOW.sr.guided(guide, method=method, conserve=None)
        assert (out.flag.values[gap] == 1).all()
        assert not out.flag.values[:16].any()
        np.testing.assert_array_equal(out.values[out.flag == 1], base.values[out.flag == 1])


@pytest.mark.slow
def test_a_guide_that_is_all_clouds_gives_the_interpolation(network):
    out = LOW.sr.guided(GUIDE * np.nan, model=network)
    np.testing.assert_array_equal(out, LOW.sr.guided(GUIDE, method="bicubic"))
    assert (out.flag == 1).all()


@pytest.mark.parametrize("residual", [True, False])
def test_what_a_network_cannot_reach_is_flagged(folder, residual):
    path = write_guided(folder, clipped=True, residual=residual)
    out = LOW.sr.guided(GUIDE, model=path, conserve=None, limits=(280.0, 320.0))
    assert (out.flag == 2).all()
    expected = LOW.sr.interpolate(scale=FACTOR) if residual else np.full(out.shape, 280.0)
    np.testing.assert_allclose(out, expected, atol=1e-4)


def test_no_network_without_a_last_relu_is_flagged(folder):
    out = LOW.sr.guided(GUIDE, model=write_guided(folder, zero=True))
    assert out.flag.dtype == np.uint8
    assert not out.flag.any()


# ---- grids


def test_the_grid_is_the_guides_within_the_cube():
    wide = make_guide(fields(1, 60), affine=Affine(10, 0, WEST + 125, 0, -10, NORTH - 43))
    out = LOW.isel(x=slice(10)).sr.guided(wide, method="guided_filter")
    assert out.odc.geobox == wide.isel(x=slice(27)).odc.geobox
    early = make_guide(fields(1, 60), affine=Affine(10, 0, WEST - 125, 0, -10, NORTH + 43))
    assert (
        LOW.sr.guided(early, method="tsharp").odc.geobox == early.isel(x=slice(13, None), y=slice(5, None)).odc.geobox
    )


def test_a_grid_asked_for(dctnet):
    fine = make_guide(fields(side=2 * SIDE), gsd=5.0)
    out = LOW.sr.guided(fine, method="tsharp", scale=FACTOR)
    assert_same_grid(out, LOW.sr.interpolate(scale=FACTOR))
    assert_same_grid(LOW.sr.guided(fine, method="tsharp", resolution=10.0), out)
    assert_same_grid(LOW.sr.guided(fine, method="tsharp", like=GUIDE), GUIDE)
    halves = GUIDE.isel(y=slice(2, 60), x=slice(8, 70))
    assert_same_grid(LOW.sr.guided(fine, model=dctnet, like=halves), halves)


def test_a_finer_guide_is_averaged():
    """Means of the guide's pixels, and not samples of them, stand on the output grid."""
    fine = make_guide(fields(side=2 * SIDE), gsd=5.0)
    reduced = fine.coarsen(x=2, y=2).mean()
    out = LOW.sr.guided(fine, method="guided_filter", scale=FACTOR)
    expected = LOW.sr.guided(GUIDE.copy(data=reduced.values), method="guided_filter")
    np.testing.assert_allclose(out, expected, atol=1e-3)


def test_a_guide_in_another_crs():
    """The same fields seen in another projection: the result lies on the guide's grid and shows them."""
    grid = GeoBox.from_bbox((WEST - 500, NORTH - 1500, WEST + 1500, NORTH + 500), "EPSG:32633", resolution=10)
    wide = make_guide(fields(2, 200), affine=grid.affine)
    other = xsr.interpolate(wide, like=wide.odc.geobox.to_crs("EPSG:32632", resolution=10.0), method="bilinear")
    out = LOW.sr.guided(other, method="tsharp", conserve=None)
    assert out.odc.geobox.crs == "EPSG:32632"
    known = np.isfinite(out)
    assert 0.6 < known.mean() < 1
    base = LOW.sr.guided(other, method="bicubic", conserve=None)
    np.testing.assert_array_equal(np.isnan(base), ~known)
    with pytest.raises(GridError, match="conserve= needs a result in the CRS of the cube"):
        LOW.sr.guided(other, method="tsharp", conserve="radiance")


def test_a_temperature_in_degrees():
    """Pixels of 0.004 degrees under a guide of 100 m in UTM: what lies under the guide is sharpened."""
    y, x = np.mgrid[0:30, 0:40]
    low = make_cube(
        (300 + 5 * np.sin(y / 4) * np.cos(x / 5)).astype(np.float32),
        crs="EPSG:4326",
        affine=Affine(0.004, 0, 17.5, 0, -0.004, 52.4),
    ).assign_attrs(units="K")
    grid = low.odc.geobox.to_crs("EPSG:32633", resolution=100.0)
    guide = make_guide(fields(4, max(grid.shape))[: grid.shape[0], : grid.shape[1]], gsd=100.0, affine=grid.affine)
    out = low.sr.guided(guide, method="guided_filter", conserve=None)
    base = low.sr.interpolate(like=out.odc.geobox)
    assert out.odc.geobox.crs == "EPSG:32633"
    np.testing.assert_array_equal(np.isnan(out), np.isnan(base))
    assert 0.9 < float(np.isfinite(out).mean()) < 1
    assert float(np.abs(out - base).max()) < 5
    fine = low.sr.guided(guide, method="guided_filter", scale=3, conserve="radiance")
    np.testing.assert_allclose(block_mean(fine, 4, 3), low, atol=1e-3)
    with pytest.raises(ParameterError, match="coregister=True with a guide or a result in another CRS"):
        low.sr.guided(guide, method="guided_filter", scale=3, coregister=True)


def degrees(resolution, west, south, east, north, *, ascending=False):
    """Lazy guide in degrees, featureless."""
    box = GeoBox.from_bbox((west, south, east, north), "EPSG:4326", resolution=resolution)
    values = da.full((3, *box.shape), 0.2, chunks=(3, 1 << 16, 1 << 16), dtype=np.float32)
    bands = {"band": list(GUIDE_BANDS)}
    guide = xr.DataArray(values, dims=("band", *box.dimensions), coords={**xr_coords(box), **bands})
    return guide.isel(latitude=slice(None, None, -1)) if ascending else guide


@pytest.mark.slow
def test_ascending_latitudes_under_a_cube_in_metres(tmp_path):
    """The result runs as the guide does, in whole blocks that can be written."""
    guide = degrees(1e-4, 16.46, 52.33, 16.48, 52.35, ascending=True)
    out = LOW.chunk().sr.guided(guide, method="bicubic", chunks=30)
    assert out.dims == ("latitude", "longitude")
    assert out.latitude[0] < out.latitude[-1]
    assert_same_grid(out, guide.sel(latitude=out.latitude, longitude=out.longitude, method="nearest"))
    layers = [out, *(out.coords[name] for name in out.coords if out.coords[name].chunks is not None)]
    blocks = sum(math.prod(map(len, layer.chunks)) for layer in layers)
    assert xsr.to_zarr(out, tmp_path / "out.zarr", progress=False).blocks == blocks
    north = LOW.sr.guided(guide.isel(latitude=slice(None, None, -1)), method="bicubic")
    np.testing.assert_array_equal(out.isel(latitude=slice(None, None, -1)), north)


def test_a_guide_of_half_the_earth():
    """Its pixels are finer than the cube's here, if not everywhere in the cube's projection."""
    guide = degrees(0.00035, -130, -55, 40, 55)
    out = LOW.sr.guided(guide, method="bicubic")
    assert float(np.isfinite(out).mean()) > 0.8


@pytest.mark.slow
def test_ascending_y_is_kept():
    up, down = GUIDE.isel(y=slice(None, None, -1)), LOW.sr.guided(GUIDE, method="tsharp", chunks=40)
    out = LOW.sr.guided(up, method="tsharp")
    assert out.y[0] < out.y[-1]
    xr.testing.assert_allclose(out.isel(y=slice(None, None, -1)), down)
    lazy = LOW.isel(y=slice(None, None, -1)).chunk(y=9).sr.guided(up.chunk(y=50), method="tsharp", chunks=40)
    assert lazy.chunks[0] == (40, 40, 16)
    xr.testing.assert_allclose(lazy.compute(), out)
    xr.testing.assert_allclose(LOW.isel(y=slice(None, None, -1)).sr.guided(GUIDE, method="tsharp"), down)


def test_jiif_needs_pixels_that_nest(folder):
    path = write_guided(folder, "jiif")
    with pytest.raises(ModelError, match="whole factor with the corner at one of theirs"):
        LOW.sr.guided(GUIDE, model=path, scale=3.5)


# ---- dates


def dated(cube, *days):
    return cube.expand_dims(time=np.array(days, "datetime64[ns]"))


def test_the_nearest_date_of_the_guide_is_taken():
    series = make_temperature(np.stack([KELVIN, KELVIN + 3])[:, None]).assign_coords(
        time=np.array(["2024-06-10", "2024-07-01"], "datetime64[ns]")
    )
    clear = make_guide(fields(7))
    guides = xr.concat([dated(clear, "2024-07-03"), dated(GUIDE, "2024-06-04")], dim="time")
    out = series.sr.guided(guides, method="tsharp")
    assert out.guide_time.values.astype("datetime64[D]").tolist() == [
        np.datetime64(day).item() for day in ("2024-06-04", "2024-07-03")
    ]
    np.testing.assert_array_equal(out[0, 0], series[0, 0].sr.guided(GUIDE, method="tsharp"))
    np.testing.assert_array_equal(out[1, 0], series[1, 0].sr.guided(clear, method="tsharp"))


def test_no_date_near_enough__names_the_distance():
    low = dated(LOW, "2024-06-10")
    with pytest.raises(ParameterError, match=r"2024-06-10T00:00:00 lies 20\.5 days away.*pass tolerance=21"):
        low.sr.guided(dated(GUIDE, "2024-06-30T12"), method="tsharp")
    out = low.sr.guided(dated(GUIDE, "2024-06-30T12"), method="tsharp", tolerance=21)
    assert out.guide_time.dims == ("time",)


def test_without_dates():
    plain = LOW.sr.guided(GUIDE, method="tsharp")
    assert "guide_time" not in plain.coords
    one = LOW.sr.guided(dated(GUIDE, "2024-06-10"), method="tsharp")
    assert one.dims == ("y", "x")
    assert one.guide_time.dims == ()
    np.testing.assert_array_equal(one, plain)
    at = LOW.assign_coords(time=np.datetime64("2024-06-28", "ns"))
    both = dated(GUIDE, "2024-06-10", "2024-06-27")
    assert LOW.assign_coords(at.coords).sr.guided(both, method="tsharp").guide_time == np.datetime64("2024-06-27")
    with pytest.raises(CubeError, match="the guide has 2 dates, and the dates of the cube are not known"):
        LOW.sr.guided(both, method="tsharp")


@pytest.mark.parametrize("tolerance", [-1, None, True, math.nan])
def test_tolerance_that_is_none(tolerance):
    with pytest.raises(ParameterError, match="expected a number of days"):
        LOW.sr.guided(GUIDE, method="tsharp", tolerance=tolerance)


@pytest.mark.parametrize("tolerance", [np.int64(3), np.float32(3), math.inf])
def test_tolerance_by_another_number(tolerance):
    guide = dated(GUIDE, "2024-06-10")
    at = LOW.assign_coords(time=np.datetime64("2024-06-12", "ns"))
    assert at.sr.guided(guide, method="bicubic", tolerance=tolerance).guide_time == np.datetime64("2024-06-10")


# ---- units and bands


def test_celsius_is_converted():
    out = (LOW - 273.15).assign_attrs(units="degC").sr.guided(GUIDE, method="tsharp")
    assert out.attrs["units"] == "K"
    np.testing.assert_allclose(out, LOW.sr.guided(GUIDE, method="tsharp"), atol=2e-4)
    bare = LOW - 273.15
    bare.attrs = {}
    np.testing.assert_array_equal(bare.sr.guided(GUIDE, method="tsharp", units="degC"), out)


def test_integers_with_their_scale():
    packed = ((LOW - 149) / 0.00341802).round().astype(np.uint16)
    packed.attrs = {"units": "K", "scale_factor": 0.00341802, "add_offset": 149.0}
    out = packed.sr.guided(GUIDE, method="tsharp")
    np.testing.assert_allclose(out, LOW.sr.guided(GUIDE, method="tsharp"), atol=0.02)
    assert "scale_factor" not in out.attrs


@pytest.mark.parametrize("masked", [False, True])
def test_numbers_of_a_product(masked):
    packed = ((LOW - 149) / 0.00341802).round().astype(np.uint16)
    packed[2, 3] = 0
    packed.attrs = {}
    given = packed.where(packed != 0).astype(np.float32) if masked else packed
    out = given.sr.guided(GUIDE, method="tsharp", units="landsat-c2-st")
    expected = LOW.where(packed != 0).assign_attrs(units="K").sr.guided(GUIDE, method="tsharp")
    np.testing.assert_allclose(out, expected, atol=0.02)
    assert not {"scale_factor", "add_offset", "_FillValue"} & set(out.attrs)


@pytest.mark.parametrize(
    ("attrs", "given", "told"),
    [
        ({}, None, "no attribute 'units'; expected a temperature in 'K' or 'degC', never guessed"),
        ({"units": "1"}, None, "units '1'"),
        ({"units": "DN"}, None, "units 'DN'"),
        ({"units": "K"}, "reflectance", "units 'reflectance'"),
    ],
)
def test_units_that_are_not_known(attrs, given, told):
    with pytest.raises(CubeError, match=told):
        LOW.drop_attrs(deep=False).assign_attrs(attrs).sr.guided(GUIDE, method="tsharp", units=given)


def test_digital_numbers_without_a_scale():
    with pytest.raises(CubeError, match=r"holds uint16 without a scale.*units= one of landsat-c2-st"):
        LOW.astype(np.uint16).assign_attrs(units="K").sr.guided(GUIDE, method="tsharp")


def test_odd_units_and_scales():
    with pytest.raises(CubeError, match=r"units \['K'\]; expected a temperature"):
        LOW.sr.guided(GUIDE, method="tsharp", units=["K"])
    odd = LOW.astype(np.int16).assign_attrs(scale_factor="a tenth")
    with pytest.raises(CubeError, match="scale_factor='a tenth'; expected one number"):
        odd.sr.guided(GUIDE, method="tsharp")


def test_several_bands():
    two = xr.concat([LOW.expand_dims(band=["a"]), LOW.expand_dims(band=["b"])], dim="band").assign_attrs(units="K")
    with pytest.raises(BandError, match=r"the cube has 2 bands \['a', 'b'\]; expected one"):
        two.sr.guided(GUIDE, method="tsharp")
    with pytest.raises(BandError, match="2 bands"):
        two.to_dataset("band").sr.guided(GUIDE, method="tsharp")


def test_bands_that_the_guide_lacks(dctnet, folder):
    with pytest.raises(BandError, match=r"needs the guide's bands \['B08'\]; it has \['B04', 'B11'\]"):
        LOW.sr.guided(GUIDE.sel(band=["B04", "B11"]), method="tsharp")
    with pytest.raises(BandError, match=r"model 'dctnet.*needs the guide's bands \['B11'\]"):
        LOW.sr.guided(GUIDE.sel(band=["B04", "B08"]), model=dctnet)
    path = write_guided(folder, guide_optional=("B11",))
    out = LOW.sr.guided(GUIDE.sel(band=["B08", "B04"]), model=path)
    held = GUIDE.where(GUIDE.band != "B11", 0.2)  # an absent band is held at its mean
    np.testing.assert_allclose(out, LOW.sr.guided(held, model=path), atol=1e-4)


def test_names_of_another_sensor(dctnet):
    landsat = GUIDE.assign_coords(band=["B4", "B5", "B6"])
    out = LOW.sr.guided(landsat, model=dctnet, guide_sensor="landsat-8")
    np.testing.assert_array_equal(out, LOW.sr.guided(GUIDE, model=dctnet))
    with pytest.raises(BandError, match=r"of sentinel-2.*guide_sensor="):
        LOW.sr.guided(landsat, model=dctnet)


def test_bands_of_the_guided_filter():
    out = LOW.sr.guided(GUIDE, method="guided_filter", guide_bands=["B08"])
    np.testing.assert_array_equal(out, LOW.sr.guided(GUIDE.sel(band=["B08"]), method="guided_filter"))
    np.testing.assert_array_equal(out, LOW.sr.guided(GUIDE, method="guided_filter", guide_bands="nir"))
    for odd in (4, [], ["B04", "red"]):
        with pytest.raises(ParameterError, match="guide_bands="):
            LOW.sr.guided(GUIDE, method="guided_filter", guide_bands=odd)
    with pytest.raises(ParameterError, match="only method='guided_filter' takes it"):
        LOW.sr.guided(GUIDE, method="tsharp", guide_bands=["B08"])


# ---- what is refused


def test_a_guide_coarser_than_the_cube():
    with pytest.raises(GridError, match=r"the guide's pixels measure 4 of the cube's; expected finer ones"):
        make_temperature(KELVIN, 1).sr.guided(GUIDE.coarsen(x=4, y=4).mean().pipe(_regrid), method="tsharp")


def _regrid(cube):
    return make_cube(cube.values, gsd=40.0, bands=("B04", "B08", "B11"))


def test_no_overlap():
    away = make_guide(VEGETATION, affine=Affine(10, 0, WEST + 5000, 0, -10, NORTH))
    with pytest.raises(GridError, match=r"the guide .* does not overlap the cube"):
        LOW.sr.guided(away, method="tsharp")
    with pytest.raises(GridError, match=r"the guide .* does not overlap the cube"):
        LOW.sr.guided(away, method="tsharp", scale=4)


def test_no_overlap_in_another_crs():
    away = GeoBox((40, 40), Affine(10, 0, 500_000, 0, -10, -3_000_000), "EPSG:32755")
    guide = make_guide(fields(side=40), affine=away.affine, crs="EPSG:32755")
    with pytest.raises(GridError, match=r"the guide .* in EPSG:32755\) does not overlap the cube"):
        LOW.sr.guided(guide, method="tsharp")


@pytest.mark.slow
def test_the_packaged_network_is_the_default():
    fine = LOW.sr.guided(GUIDE)
    assert fine.attrs["xsr_model"] == DEFAULT
    xr.testing.assert_identical(fine, LOW.sr.guided(GUIDE, model=DEFAULT))
    assert rmse(fine) < 0.8 * rmse(LOW.sr.guided(GUIDE, method="bicubic"))


def test_model_and_method(dctnet, model):
    with pytest.raises(ParameterError, match="expected one of them"):
        LOW.sr.guided(GUIDE, model=dctnet, method="tsharp")
    with pytest.raises(ParameterError, match="method='magic'; expected one of guided_filter"):
        LOW.sr.guided(GUIDE, method="magic")
    with pytest.raises(ParameterError, match="only networks have limits"):
        LOW.sr.guided(GUIDE, method="tsharp", limits=(280.0, 320.0))
    with pytest.raises(ParameterError, match="conserve='energy'; expected radiance, temperature or None"):
        LOW.sr.guided(GUIDE, method="tsharp", conserve="energy")
    with pytest.raises(ParameterError, match=r"mtf=0\.3 without conserve="):
        LOW.sr.guided(GUIDE, method="tsharp", mtf=0.3)
    for mtf in (0, 1, 1.5, -0.2, float("nan"), True, "0.3"):
        with pytest.raises(ParameterError, match="expected the modulation of the sensor"):
            LOW.sr.guided(GUIDE, method="tsharp", conserve="radiance", mtf=mtf)
    with pytest.raises(
        ModelError, match=r"is a continuous one for .*expected a guided or fixed-scale network for one band"
    ):
        LOW.sr.guided(GUIDE, model=model)


@pytest.mark.parametrize(
    "odd",
    [{"conserve": ["radiance"]}, {"method": ["tsharp"]}, {"method": np.array(["a", "b"])}, {"device": 0}],
    ids=["conserve", "method", "methods", "device"],
)
def test_arguments_that_are_no_text(odd):
    with pytest.raises(ParameterError, match=f"{next(iter(odd))}="):
        LOW.sr.guided(GUIDE, **{"method": "tsharp", **odd})


def test_patches_that_cannot_be_laid_out(folder):
    with pytest.raises(ModelError, match="reads patches of 40 pixels; expected a multiple of 16"):
        LOW.sr.guided(GUIDE, model=write_guided(folder, patch=40))


@pytest.mark.parametrize("limits", [(320.0, 280.0), (280.0,), "warm", (math.nan, 300.0), (-5.0, 300.0)])
def test_limits_that_are_no_range(limits, dctnet):
    with pytest.raises(ParameterError, match="expected two temperatures in kelvin, the lower first"):
        LOW.sr.guided(GUIDE, model=dctnet, limits=limits)


def test_grids_too_alike_for_means():
    near = make_guide(fields(side=80), affine=Affine(37, 0, WEST, 0, -37, NORTH))
    with pytest.raises(GridError, match=r"pixels 1\.08 times finer that do not nest"):
        LOW.sr.guided(near, method="tsharp", conserve="radiance")


@pytest.mark.slow
@OTHERS
def test_a_scale_far_from_training(dctnet):
    with pytest.warns(XsrWarning, match="a factor of 20 is far from those model"):
        LOW.sr.guided(GUIDE, model=dctnet, scale=20.0)


# ---- displacement


def test_a_displaced_guide_is_laid_back():
    """Dark where the temperature is bright, and displaced by whole and by parts of pixels, a date each."""
    side = 256
    vegetation = fields(3, side)
    kelvin = 308 - 12 * vegetation
    low = make_temperature(np.stack([kelvin, kelvin + 2])[:, None])
    moves = [(3.0, -5.0), (-6.5, 2.0)]
    guides = []
    for down, right in moves:  # the place of a pixel that shows what belongs elsewhere
        affine = Affine(10, 0, WEST + 10 * right, 0, -10, NORTH - 10 * down)
        guides.append(make_guide(vegetation, affine=affine))
    cubes = [xsr.interpolate(guide, like=make_guide(vegetation).odc.geobox) for guide in guides]
    guide = xr.concat(cubes, dim="time").assign_coords(time=low.time)
    out = low.sr.guided(guide, method="tsharp", coregister=True)
    np.testing.assert_allclose(out.guide_shift_x, [-50, 20], atol=4)
    np.testing.assert_allclose(out.guide_shift_y, [-30, 65], atol=4)
    inner = np.s_[:, 0, 16:-16, 16:-16]
    truth = np.stack([kelvin, kelvin + 2])[:, None]
    left = low.sr.guided(guide, method="tsharp")
    assert rmse(out.values[inner], truth[inner]) < 0.5 * rmse(left.values[inner], truth[inner])


@OTHERS
def test_a_guide_without_features_stays_where_it_is():
    with pytest.warns(XsrWarning, match=r"the guide of 1 of 1 date\(s\) has too little texture"):
        out = LOW.sr.guided(GUIDE * 0 + 0.2, method="guided_filter", coregister=True)
    assert np.isnan(out.guide_shift_x)
    np.testing.assert_allclose(out, LOW.sr.guided(GUIDE, method="bicubic"), atol=1e-4)


# ---- containers


@pytest.mark.slow
def test_a_dataset_stays_one(tmp_path):
    cube = LOW.to_dataset(name="st").chunk(y=12)
    out = cube.sr.guided(GUIDE.chunk(x=30).to_dataset("band"), method="tsharp", chunks=48)
    assert isinstance(out, xr.Dataset)
    assert list(out.data_vars) == ["st"]
    assert out.st.attrs["units"] == "K"
    assert out.attrs["xsr_operation"] == "guided:tsharp"
    np.testing.assert_array_equal(out.st, LOW.sr.guided(GUIDE, method="tsharp"))
    xsr.to_zarr(out, tmp_path / "out.zarr", progress=False)
    with xr.open_zarr(tmp_path / "out.zarr") as back:
        np.testing.assert_array_equal(back.st, out.st)
        np.testing.assert_array_equal(back.flag, out.flag)


@pytest.mark.slow
def test_the_command(tmp_path):
    xsr.to_zarr(LOW.to_dataset(name="st"), tmp_path / "low.zarr", progress=False)
    xsr.to_zarr(GUIDE, tmp_path / "guide.zarr", progress=False)
    paths = [str(tmp_path / f"{name}.zarr") for name in ("low", "guide", "out")]
    done = CliRunner().invoke(cli.app, ["guided", *paths, "--method", "tsharp", "--conserve", "temperature"])
    assert done.exit_code == 0, done.output
    assert "wrote" in done.output
    with xr.open_zarr(paths[2]) as out:
        np.testing.assert_array_equal(out.st, LOW.sr.guided(GUIDE, method="tsharp", conserve="temperature"))
    with pytest.raises(ParameterError, match="OUT is GUIDE"):
        CliRunner().invoke(cli.app, ["guided", *paths[:2], paths[1]], catch_exceptions=False)


def test_the_function_is_the_accessor(dctnet):
    out = LOW.sr.guided(GUIDE, model=dctnet)
    xr.testing.assert_identical(xsr.guided(LOW, GUIDE, model=dctnet), out)
    assert out.attrs["xsr_model"] == registry.card(dctnet).name
    assert out.attrs["xsr_scale"] == [FACTOR, FACTOR]
    assert out.name == "temperature"


@pytest.mark.slow
def test_a_real_scene(data_dir):
    """Brightness temperature over Mendoza at 90 m, seen at 360 m: the guide tells more than interpolation."""
    rioxarray = pytest.importorskip("rioxarray")
    folder = data_dir / "thermal_l8_mendoza_2016"
    dn = rioxarray.open_rasterio(folder / "LC82320832016040_DN_B10B11.tif").isel(band=0, drop=True)
    kelvin = brightness_temperature(dn, folder / "LC82320832016040LGN00_MTL.txt", 10).values.astype(float)
    truth = block_mean(kelvin[:132, :180], 4, 3)
    optical = rioxarray.open_rasterio(folder / "LC82320832016040_SR_B2-7.tif").values[[2, 3, 4], :132, :180] * 1e-4
    guide = make_cube(
        optical.reshape(3, 44, 3, 60, 3).mean(axis=(2, 4)).astype(np.float32), gsd=90.0, bands=("B4", "B5", "B6")
    )
    low = make_cube(block_mean(truth, 4, 4).astype(np.float32), gsd=360.0).assign_attrs(units="K")
    errors = {m: rmse(low.sr.guided(guide, method=m, guide_sensor="landsat-8"), truth) for m in METHODS}
    assert errors["tsharp"] < 0.97 * errors["bicubic"]
    assert errors["guided_filter"] < 0.97 * errors["bicubic"]
