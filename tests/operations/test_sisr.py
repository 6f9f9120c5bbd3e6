"""Networks of one factor on cubes."""

from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from fuzzing import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from models.helpers import BANDS, MEAN, STD, geobox, lively_carn, make_cube, write_fixed, write_model
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsr
from xsr.core.errors import (
    BandError,
    CubeError,
    GridError,
    ModelError,
    ParameterError,
    StoreError,
    WeightsError,
    XsrWarning,
)
from xsr.models import predictor, published, registry
from xsr.models.channels import Channels
from xsr.operations.super_resolve.networks import FILL, FixedFactor
from xsr.testing import assert_lazy, assert_same_grid

RADIUS = 5
"""Of the tiny network."""
ROUNDING = 1e-5
"""Reflectance by which results of one network may differ where its sums run in another order, as they do from shape to
shape and from processor to processor. Its lively weights make reflectance up to 1.5. Convolutions by minimal filtering,
of which the enlargement by 4 has two and blocks smaller than a tile none, are 4e-6 from float64, the others 6e-7."""
COARSE = ("B05", "B06", "B07", "B8A", "B11", "B12")


@pytest.fixture(scope="session")
def carn(tmp_path_factory):
    """Weights of a tiny CARN of factor 2."""
    return write_fixed(tmp_path_factory.mktemp("carn"))


@pytest.fixture(scope="session")
def ten(tmp_path_factory):
    """Bare state dict of a tiny CARN of ten bands, as published ones come."""
    path = tmp_path_factory.mktemp("ten") / "ten.pth"
    torch.save(lively_carn(bands=10).state_dict(), path)
    return path


def largest(left, right):
    assert np.array_equal(np.isnan(left), np.isnan(right))
    return np.nanmax(np.abs(np.asarray(left, np.float64) - right), initial=0.0)


def by_hand(cube, network, mean=MEAN, std=STD, reach=RADIUS + 2):
    """The network on the whole cube, mirrored beyond its border."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (mean, std))
    padded = np.pad(cube.values, [(0, 0), (0, 0), (reach, reach), (reach, reach)], mode="reflect")
    with torch.inference_mode():
        out = network((torch.from_numpy(padded) - mean) / std) * std + mean
    cut = reach * network.factor
    return out.numpy()[..., cut:-cut, cut:-cut]


@pytest.mark.slow
def test_sisr_is_the_network_with_its_normalisation(carn):
    cube = make_cube(14, 13, dates=2)
    fine = xsr.sisr(cube, model=carn)
    assert fine.dims == cube.dims
    assert fine.dtype == np.float32
    assert largest(fine.values, by_hand(cube, lively_carn())) <= ROUNDING
    assert (fine.attrs["xsr_operation"], fine.attrs["xsr_model"], fine.attrs["xsr_scale"]) == ("sisr", "small", [2, 2])
    assert fine.attrs["xsr_weights_sha256"] == registry.card(carn).sha256


@pytest.mark.slow
@settings(examples(6), derandomize=True)
@given(
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    chunk_in=st.integers(1, 12),
    chunk_out=st.tuples(st.integers(5, 40), st.integers(5, 40)),
    holes=st.sampled_from([0.0, 0.0, 0.1, 0.7]),
    seed=st.integers(0, 99),
)
def test_chunked_equals_whole(carn, height, width, chunk_in, chunk_out, holes, seed):
    cube = make_cube(height, width, seed=seed)
    cube = cube.where(np.random.default_rng(seed).random(cube.shape) >= holes)
    whole = xsr.sisr(cube, model=carn)
    parts = xsr.sisr(cube.chunk(band=3, y=chunk_in, x=chunk_in), model=carn, chunks=chunk_out)
    assert parts.shape == whole.shape == (1, 4, 2 * height, 2 * width)
    assert parts.chunks[2][0] == min(chunk_out[0], 2 * height)
    assert largest(parts.values, whole.values) <= ROUNDING
    assert largest(xsr.sisr(cube, model=carn, chunks=chunk_out).values, whole.values) <= ROUNDING


@pytest.mark.slow
@pytest.mark.parametrize("factor", [3, 4])
def test_other_factors(tmp_path, factor):
    model = write_fixed(tmp_path, config={"factor": factor})
    cube = make_cube(13, 17)
    whole = xsr.sisr(cube, model=model)
    assert whole.shape == (1, 4, 13 * factor, 17 * factor)
    assert largest(whole.values, by_hand(cube, lively_carn(factor=factor))) <= ROUNDING
    assert largest(xsr.sisr(cube.chunk(y=5), model=model, chunks=(19, 14)).values, whole.values) <= ROUNDING


@pytest.mark.slow
def test_radius_one_pixel_short_differs(carn, tmp_path, monkeypatch):
    cube = make_cube(40, 40)
    whole = xsr.sisr(cube, model=carn)
    assert (
        FixedFactor(registry.spec(carn), Channels(("B02",), (0.1,), (0.05,)), (0,), RADIUS, "cpu").halo == RADIUS + FILL
    )
    with pytest.raises(WeightsError, match=f"says radius {RADIUS - 1}; expected {RADIUS}"):
        xsr.sisr(cube, model=write_fixed(tmp_path, radius=RADIUS - 1))
    monkeypatch.setattr("xsr.models.claims.check_radius", lambda *given: None)
    for radius, equal in ((RADIUS, True), (RADIUS - 1, False)):
        model = write_fixed(tmp_path, radius=radius)
        gap = largest(xsr.sisr(cube, model=model, chunks=16).values, whole.values)
        assert gap <= ROUNDING if equal else gap > 100 * ROUNDING


def test_lazy_and_one_task_a_block(carn):
    cube = make_cube(20, 20, dates=2, chunks=7)
    with assert_lazy(cube):
        fine = cube.sr.sisr(model=carn, chunks=(30, 25))
    assert fine.chunks == ((1, 1), (4,), (30, 10), (25, 15))
    assert len(fine.__dask_graph__().layers[fine.data.name]) == 2 * 2 * 2 + 1  # and what the tasks share


def test_grid(carn):
    fine = xsr.sisr(make_cube(14, 13), model=carn)
    assert_same_grid(fine, GeoBox((28, 26), Affine(5, 0, 600_000, 0, -5, 5_700_000), "EPSG:32631"))
    assert geobox(14, 13).boundingbox == fine.odc.geobox.boundingbox


def test_ascending_y(carn):
    cube = make_cube(15, 12)
    wanted = xsr.sisr(cube, model=carn)
    turned = xsr.sisr(cube.isel(y=slice(None, None, -1)), model=carn, chunks=11)
    assert float(turned.y[1] - turned.y[0]) == 5
    assert largest(turned.values[..., ::-1, :], wanted.values) <= ROUNDING
    assert np.allclose(turned.y.values[::-1], wanted.y.values)


def test_nodata_stays_in_its_pixels_and_band(carn):
    cube = make_cube(15, 14, dates=2)
    holes = np.random.default_rng(5).random(cube.shape) < 0.15
    holes[:, 3] = False
    holes[0, 1, 4:13, 3:12] = True
    fine = xsr.sisr(cube.where(~holes, np.nan), model=carn).values
    assert np.array_equal(np.isnan(fine), holes.repeat(2, axis=2).repeat(2, axis=3))
    assert np.abs(fine[np.isfinite(fine)]).max() < 3
    nothing = xsr.sisr(cube * np.float32(np.nan), model=carn)
    assert np.isnan(nothing.values).all()


def test_band_without_a_value_is_held_at_the_fill_of_the_card(tmp_path):
    level = (0.11, 0.12, 0.13, 0.14)
    cube, model = make_cube(12, 12), write_fixed(tmp_path, fill=level)
    empty, held = cube.copy(deep=True), cube.copy(deep=True)
    empty[:, 3], held[:, 3] = np.nan, np.float32(level[3])
    fine = xsr.sisr(empty, model=model).values
    assert np.isnan(fine[:, 3]).all()
    assert largest(fine[:, :3], xsr.sisr(held, model=model).values[:, :3]) <= ROUNDING


def test_residual_network_of_zeros_is_bicubic(tmp_path):
    cube = make_cube(14, 13)
    zero = xsr.sisr(cube, model=write_fixed(tmp_path, zero=True, residual=True))
    inner = (..., slice(6, -6), slice(6, -6))  # interpolate repeats the border, networks see it mirrored
    assert largest(zero.values[inner], xsr.interpolate(cube, scale=2).values[inner]) <= 1e-7


def test_residual_network_adds_to_the_base(tmp_path, carn):
    cube = make_cube(14, 13)
    (tmp_path / "zero").mkdir()
    base = xsr.sisr(cube, model=write_fixed(tmp_path / "zero", zero=True, residual=True))
    fine = xsr.sisr(cube, model=write_fixed(tmp_path, residual=True))
    answer = xsr.sisr(cube, model=carn).values - np.array(MEAN, np.float32)[:, None, None]
    assert largest(fine.values, base.values + answer) <= ROUNDING
    assert np.abs(answer).max() > 0.01


def test_network_in_digital_numbers(tmp_path, carn):
    def tens(values):
        return tuple(1e4 * value for value in values)

    cube = make_cube(9, 8)
    model = write_fixed(tmp_path, mean=tens(MEAN), std=tens(STD), unit=1e-4)
    assert largest(xsr.sisr(cube, model=model).values, xsr.sisr(cube, model=carn).values) <= ROUNDING


@pytest.mark.parametrize(
    ("bands", "told"),
    [
        (("B02", "B03", "B04"), r"needs band\(s\) \['B08'\]"),
        (("B02", "B03", "B04", "B08", "B11"), r"band\(s\) \['B11'\]"),
    ],
)
def test_missing_and_unknown_bands_are_named(carn, bands, told):
    with pytest.raises(BandError, match=told):
        xsr.sisr(make_cube(bands=bands), model=carn)


def test_order_and_selection_of_bands(carn):
    cube = make_cube(bands=("B11", *BANDS))
    fine = xsr.sisr(cube, model=carn, bands=["nir", "B03", "blue", "B4"])
    assert fine.band.values.tolist() == ["B08", "B03", "B02", "B04"]
    wanted = xsr.sisr(cube.sel(band=list(BANDS)), model=carn)
    assert np.array_equal(fine.values, wanted.values[:, [3, 1, 0, 2]])


def test_dataset_equals_data_array(carn):
    cube = make_cube(dates=2)
    fine = xsr.sisr(cube.to_dataset("band"), model=carn)
    assert set(fine.data_vars) == set(BANDS)
    assert np.array_equal(fine[list(BANDS)].to_array("band").transpose(*cube.dims).values, xsr.sisr(cube, model=carn))


def test_units_are_decoded(carn):
    cube = make_cube()
    numbers = xsr.sisr(cube * 100, model=carn, units="percent")
    assert largest(numbers.values, xsr.sisr(cube, model=carn).values) <= ROUNDING


# --- bands of 20 m beside those of 10 m --------------------------------------------------------------------


def fine_and_coarse(height=12, width=10, dates=1):
    fine = make_cube(height, width, dates=dates)
    grid = xr_coords(geobox(height // 2, width // 2, gsd=20.0))
    coarse = make_cube(height // 2, width // 2, dates=dates, bands=COARSE, seed=1)
    return fine, coarse.assign_coords({name: grid[name] for name in ("y", "x", "spatial_ref")})


@pytest.mark.slow
def test_coarse_bands_are_interpolated_and_joined(ten):
    fine, coarse = fine_and_coarse(dates=2)
    brought = xsr.interpolate(coarse, scale=2, method="bicubic")
    joined = xr.concat([fine, brought.assign_coords(y=fine.y, x=fine.x)], dim="band")
    wanted = xsr.sisr(joined, model="carn_1x1x4g2", weights=ten)
    found = xsr.sisr(fine, model="carn_1x1x4g2", weights=ten, coarse=coarse)
    assert found.band.values.tolist() == [*BANDS, *COARSE]
    assert largest(found.values, wanted.values) <= 3e-6
    assert_same_grid(found, wanted)
    expected = by_hand(joined, lively_carn(bands=10), published.SENTINEL2.mean, published.SENTINEL2.std)
    assert largest(found.values, expected) <= 3e-6


@pytest.mark.slow
@pytest.mark.parametrize("container", ["DataArray", "Dataset"])
def test_coarse_bands_stay_lazy(ten, container):
    fine, coarse = fine_and_coarse()
    if container == "Dataset":
        fine, coarse = fine.to_dataset("band"), coarse.to_dataset("band")
    wanted = xsr.sisr(fine, model="carn_1x1x4g2", weights=ten, coarse=coarse)
    lazy = fine.chunk(y=5, x=5), coarse.chunk(y=4, x=3)
    with assert_lazy(*lazy):
        found = xsr.sisr(lazy[0], model="carn_1x1x4g2", weights=ten, coarse=lazy[1], chunks=9)
    xr.testing.assert_allclose(found.compute(), wanted, rtol=0, atol=1e-6)


def test_units_of_coarse_bands_are_taken_once(ten):
    fine, coarse = fine_and_coarse()
    wanted = xsr.sisr(fine, model="carn_1x1x4g2", weights=ten, coarse=coarse)
    found = xsr.sisr(fine * 100, model="carn_1x1x4g2", weights=ten, coarse=coarse * 100, units="percent")
    assert largest(found.values, wanted.values) <= 1e-5


def test_coarse_bands_of_a_cube_with_ascending_y(ten):
    fine, coarse = fine_and_coarse()
    wanted = xsr.sisr(fine, model="carn_1x1x4g2", weights=ten, coarse=coarse)
    turned = fine.isel(y=slice(None, None, -1))
    for other in (coarse, coarse.isel(y=slice(None, None, -1))):
        found = xsr.sisr(turned, model="carn_1x1x4g2", weights=ten, coarse=other)
        assert largest(found.values[..., ::-1, :], wanted.values) <= ROUNDING


def test_coarse_cubes_that_do_not_go_with_the_cube(ten):
    fine, coarse = fine_and_coarse(dates=2)
    call = {"model": "carn_1x1x4g2", "weights": ten}
    with pytest.raises(GridError, match=r"coarse covers .* expected the same extent. Crop one of them"):
        xsr.sisr(fine, coarse=coarse.isel(y=slice(1, None)), **call)
    with pytest.raises(CubeError, match="expected the same dates in the same order"):
        xsr.sisr(fine, coarse=coarse.isel(time=[1, 0]), **call)
    with pytest.raises(CubeError, match=r"coarse has 1 date\(s\) and the cube 2"):
        xsr.sisr(fine, coarse=coarse.isel(time=[0]), **call)
    with pytest.raises(ParameterError, match="coarse is a Dataset and the cube a DataArray"):
        xsr.sisr(fine, coarse=coarse.to_dataset("band"), **call)


# --- models ------------------------------------------------------------------------------------------------


def test_published_weights_by_architecture(ten):
    cube = make_cube(bands=published.SENTINEL2.names)
    fine = xsr.sisr(cube, model="carn_1x1x4g2", weights=ten, scale=2)
    expected = by_hand(cube, lively_carn(bands=10), published.SENTINEL2.mean, published.SENTINEL2.std)
    assert largest(fine.values, expected) <= 2e-6  # the layout of the memory decides the order of the sums
    assert fine.attrs["xsr_model"] == "ten"


def test_scale_must_be_the_factor(carn):
    assert xsr.sisr(make_cube(), model=carn, scale=2).shape == (1, 4, 28, 26)
    with pytest.raises(ParameterError, match=r"scale=3; model 'small' has the factor 2 alone\. Leave scale out"):
        xsr.sisr(make_cube(), model=carn, scale=3)


def test_continuous_and_fixed_models_are_told_apart(carn, tmp_path):
    with pytest.raises(ModelError, match=r"'tiny' is continuous; use liif"):
        xsr.sisr(make_cube(), model=write_model(tmp_path))
    with pytest.raises(ModelError, match=r"'small' has the factor 2 alone; use sisr"):
        xsr.liif(make_cube(), model=carn, scale=2)


def test_damaged_weights(tmp_path):
    path = write_fixed(tmp_path)
    path.write_bytes(path.read_bytes()[:-8] + b"\1" * 8)
    with pytest.raises(WeightsError, match="changed or damaged"):
        xsr.sisr(make_cube(), model=path)


def test_pixels_far_from_those_of_training_are_warned_of(carn):
    grid = xr_coords(geobox(14, 13, gsd=100.0))
    cube = make_cube().assign_coords({name: grid[name] for name in ("y", "x", "spatial_ref")})
    with pytest.raises(XsrWarning, match="pixels measure 100 m; model 'small' was trained on pixels of 10 m"):
        xsr.sisr(cube, model=carn)


def test_foreign_network_of_one_input_size_is_an_error_of_the_call(tmp_path):
    pytest.importorskip("onnx")
    from models.test_foreign import write_convolution

    path = write_convolution(tmp_path, size=(16, 24))
    with pytest.raises(WeightsError, match="images of 16 x 24 pixels alone"):
        xsr.sisr(make_cube().chunk(), model=path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bands", "expected"),
    [(BANDS, [51.8, 37.5, 33.5, 123.7]), (("B04", "B03", "B02", "B08"), [54.2, 39.5, 32.7, 124.6])],
    ids=["published", "red first"],
)
def test_network_of_evoland_on_a_real_scene(data_dir, tmp_path, bands, expected):
    """The file does not name its bands. The published numbers take its first for blue; it is the red one."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = data_dir / "onnx_evoland_carn_light" / "carn_light.yaml"
    scene = xr.open_dataset(data_dir / "s2_l1c_dsen2" / "S2A_MSIL1C_20170527_T33UUB.nc", mask_and_scale=False)
    ten_m, twenty_m = (
        xr.DataArray(
            (scene[name].values * np.float32(1e-4)).astype(np.float32),
            dims=("band", "y", "x"),
            coords={"band": list(names), **xr_coords(geobox(*scene[name].shape[1:], gsd=gsd))},
        )
        for name, names, gsd in (("im10", bands, 10.0), ("im20", COARSE, 20.0))
    )
    low, low20 = ten_m.sr.degrade(scale=2, mtf=0.3), twenty_m.sr.degrade(scale=2, mtf=0.3)

    def rmse(fine):
        gap = (fine.sel(band=list(bands)) - ten_m).values[:, 32:-32, 32:-32].astype(np.float64) * 1e4
        return np.sqrt((gap**2).mean(axis=(1, 2)))

    fine = low.sr.sisr(model=model, coarse=low20)
    assert np.abs(rmse(fine) - expected).max() < 2
    bicubic = low.sr.interpolate(scale=2, method="bicubic75")
    assert np.abs(rmse(bicubic) - [73.6, 53.3, 45.6, 177.6]).max() < 0.2
    tiled = low.chunk(x=64, y=80).sr.sisr(model=model, coarse=low20.chunk(x=50, y=50), chunks=150)
    assert largest(tiled.values, fine.values) * 1e4 <= 0.05

    tensors = onnx.load(str(model.with_suffix(".onnx"))).graph.initializer
    state = {t.name[2:]: torch.tensor(onnx.numpy_helper.to_array(t)) for t in tensors if t.name.startswith("1.")}
    torch.save(state, tmp_path / "twin.pth")
    twin = low.sr.sisr(model="carn_light", weights=tmp_path / "twin.pth", coarse=low20)
    assert largest(twin.values, fine.sel(band=twin.band).values) * 1e4 <= 0.05


# --- precision ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def correcting(tmp_path_factory):
    """Weights of a tiny CARN that answers a correction."""
    return write_fixed(tmp_path_factory.mktemp("correcting"), residual=True)


def test_auto_lowers_corrections_alone(carn, correcting, monkeypatch):
    monkeypatch.setattr("xsr.models.precision.native_bfloat16", lambda: True)
    found = {
        p: xsr.sisr(make_cube(), model=correcting, precision=p).attrs["xsr_precision"] for p in ("auto", "float32")
    }
    assert found == {"auto": "bfloat16", "float32": "float32"}
    assert xsr.sisr(make_cube(), model=carn).attrs["xsr_precision"] == "float32"
    assert xsr.sisr(make_cube(), model=carn, precision="bfloat16").attrs["xsr_precision"] == "bfloat16"


def test_bfloat16_does_not_depend_on_chunks(correcting):
    cube = make_cube(40, 37)
    whole, full = (xsr.sisr(cube, model=correcting, precision=p).values for p in ("bfloat16", "float32"))
    parts = xsr.sisr(cube.chunk(y=11, x=9), model=correcting, precision="bfloat16", chunks=(23, 16)).values
    change = np.abs(whole - full)
    assert 0 < change.max() <= 0.2 * STD[3]
    # A sum that is rounded to the other neighbour in bfloat16 changes a few pixels, by as much as the format does.
    assert largest(parts, whole) <= change.max()
    assert np.abs(parts - whole).mean() <= 0.1 * change.mean()


def test_a_constant_correction_of_zero_keeps_the_base_exactly(tmp_path):
    still = write_fixed(tmp_path, zero=True, residual=True)
    cube = make_cube()
    made = [xsr.sisr(cube, model=still, precision=p).values for p in ("float32", "bfloat16")]
    assert np.array_equal(*made)


def test_precision_is_part_of_the_keys_and_of_the_settings(correcting, tmp_path):
    cube = make_cube(chunks=7)
    full, half = (xsr.sisr(cube, model=correcting, precision=p) for p in ("float32", "bfloat16"))
    assert full.data.name != half.data.name
    xsr.to_zarr(full, tmp_path / "a.zarr", progress=False)
    with pytest.raises(StoreError, match="xsr_precision was 'float32' and is 'bfloat16'"):
        xsr.to_zarr(half, tmp_path / "a.zarr", resume=True, progress=False)


def test_unknown_precision(carn):
    with pytest.raises(ParameterError, match="precision='half'; expected one of"):
        xsr.sisr(make_cube(), model=carn, precision="half")
    with pytest.raises(ParameterError, match="precision='half'; expected one of"):
        xsr.liif(make_cube(), scale=2, precision="half")


def test_a_foreign_network_has_its_own_precision(tmp_path):
    pytest.importorskip("onnxruntime")
    from models.test_foreign import write_convolution

    card = write_convolution(tmp_path)
    with pytest.raises(ParameterError, match=r"precision='bfloat16'; the ONNX network .* has its own"):
        xsr.sisr(make_cube(), model=card, precision="bfloat16")


def test_each_block_uses_its_share_of_the_cores(correcting, monkeypatch):
    """Dask's threads times PyTorch's are the cores; the main thread has them all."""
    seen = []
    plain = predictor.predict_fixed

    def watch(*args):
        seen.append(torch.get_num_threads())
        return plain(*args)

    monkeypatch.setattr(predictor, "predict_fixed", watch)
    monkeypatch.setattr("dask.system.CPU_COUNT", 4)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        fine = xsr.sisr(make_cube(chunks=7), model=correcting, chunks=14)
        for workers, wanted in ((1, 4), (2, 2), (3, 1), (8, 1)):
            # Threads of their own: those that Dask keeps from other computations remember their number.
            with ThreadPoolExecutor(workers) as pool, dask.config.set(num_workers=workers, pool=pool):
                fine.compute(scheduler="threads")
            assert set(seen) == {wanted}
            seen.clear()
        fine.compute(scheduler="synchronous")
        assert set(seen) == {4} == {torch.get_num_threads()}
    finally:
        torch.set_num_threads(before)
