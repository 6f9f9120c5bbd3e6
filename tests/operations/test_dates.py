"""`liif` and `sample` by a network that reads dates: chunks, displacements, gaps, detail of coarse bands."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
import xarray as xr
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from models.helpers import lively, make_cube
from safetensors.torch import save_file

import xsr
from xsr.core.blocks import Span
from xsr.core.errors import ModelError, XsrError
from xsr.kernels import evidence, fusion
from xsr.kernels.degrade import observe, sensor_band
from xsr.models.architectures.liif import LIIF
from xsr.models.card import file_sha256, from_fields, write_card
from xsr.operations.super_resolve import dates as reading
from xsr.operations.super_resolve import networks
from xsr.testing import assert_lazy

BANDS = ("B02", "B04", "B11")
MTF = 0.3
TARGETS = ["2024-06-03", "2024-06-11", "2024-06-20"]


def write_liif(folder, name, channels, *, zero=False, mtf=MTF, sharpness="sensor", **fields):
    """Write a tiny LIIF of three bands, and its card; ``zero`` leaves what it adds to."""
    config = {"channels": channels, "outputs": 3, "features": 8, "blocks": 1, "hidden": [16]}
    network = lively(LIIF(**config))
    if zero:
        torch.nn.init.zeros_(network.imnet.layers[-1].weight)
        torch.nn.init.zeros_(network.imnet.layers[-1].bias)
    path = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    card = from_fields(
        name=name,
        summary="A tiny random network.",
        architecture="liif",
        config=config,
        bands=BANDS,
        optional=("B11",),
        sensor="sentinel-2",
        gsd_m=10.0,
        mean=(0.05, 0.09, 0.2),
        std=(0.03, 0.07, 0.08),
        scale_range=(1.0, 4.0),
        mtf=(mtf,) * 3,
        sha256=file_sha256(path),
        parameters=sum(p.numel() for p in network.parameters()),
        radius=network.radius,
        licence="CC0-1.0",
        sharpness=sharpness,
        **fields,
    )
    write_card(card, path)
    return path


def write_reading(folder, *, zero=False):
    """Write a tiny LIIF that reads dates; ``zero`` leaves the estimate alone."""
    return write_liif(folder, "reading", evidence.count(3), zero=zero, reads="dates")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_reading(tmp_path_factory.mktemp("reading"))


@pytest.fixture(scope="module")
def zero_model(tmp_path_factory):
    return write_reading(tmp_path_factory.mktemp("zero"), zero=True)


def make_series(height=22, width=19, dates=5, *, shifts=True):
    """Series with gaps, and displacements of its dates as `xsr.register` writes them."""
    cube = make_cube(height, width, dates=dates, bands=BANDS)
    cube.values[2:3, :, 3:12] = np.nan
    cube.values[1:2, 2, 5, 5] = np.nan
    cube.values[:, 1, 0, 0] = np.nan
    if not shifts:
        return cube
    east, north = ([0.0, 3.0, -4.0, np.nan, 2.5][:dates], [0.0, -2.0, 1.0, np.nan, 4.5][:dates])
    return cube.assign_coords(shift_x_m=("time", east), shift_y_m=("time", north))


def largest(one, two):
    assert np.array_equal(np.isnan(one), np.isnan(two))
    return float(np.nanmax(np.abs(one - two)))


@examples(4)
@given(st.sampled_from([1.0, 2.0, 2.7]), st.integers(7, 40), st.integers(4, 22), st.booleans(), st.booleans())
def test_any_chunks_give_the_same_image(model, scale, chunk_out, chunk_in, shifts, timed):
    cube = make_series(shifts=shifts)
    options = {"scale": scale, "model": model, "precision": "float32"} | ({"t": TARGETS} if timed else {})
    with patch.object(networks, "GAP_REACH", 3), patch.object(reading, "GAP_REACH", 3):
        whole = xsr.liif(cube, **options)
        parts = xsr.liif(cube.chunk(time=1, y=chunk_in, x=chunk_in), chunks=chunk_out, **options).compute()
    assert largest(parts.values, whole.values) <= 2e-6


def test_it_is_lazy_and_displacements_may_be_lazy(model):
    cube = make_series().chunk(time=1, y=11, x=10)
    registered = cube.drop_vars(["shift_x_m", "shift_y_m"]).sr.register()
    assert_lazy(lambda: xsr.liif(registered, scale=2, t=TARGETS, model=model))
    assert_lazy(lambda: xsr.liif(cube, scale=2, model=model))


def test_one_date_is_the_same_with_a_target_time_or_without(model):
    cube = make_series(dates=1, shifts=False)
    cube.values[:] = np.nan_to_num(cube.values, nan=0.1)
    alone = xsr.liif(cube, scale=2, model=model, precision="float32")
    timed = xsr.liif(cube, scale=2, t="2024-06-01", model=model, precision="float32")
    assert largest(alone.values, timed.values) <= 1e-5


def test_pixels_without_data_are_nan_and_no_others(model):
    cube = make_series()
    fine = xsr.liif(cube, scale=2, model=model)
    wanted = np.isnan(cube.values).repeat(2, axis=2).repeat(2, axis=3)
    assert np.array_equal(np.isnan(fine.values), wanted)
    at = xsr.liif(cube.drop_vars(["shift_x_m", "shift_y_m"]), scale=2, t="2024-06-11", model=model)
    assert np.isnan(at.values[0, 1, :2, :2]).all()  # missing on all dates
    assert np.isnan(at.values).sum() == 4
    assert at.n_valid.max() == 5


def test_points_are_those_of_the_grid(model):
    cube = make_series()
    fine = xsr.liif(cube, scale=2, t=TARGETS, model=model, precision="float32")
    x, y = fine.x.values[[3, 20, 30]], fine.y.values[[5, 11, 40]]
    points = xsr.sample(cube, x=x, y=y, scale=2, t=TARGETS, model=model, precision="float32")
    wanted = fine.values[:, :, [5, 11, 40], [3, 20, 30]]
    assert largest(points.transpose("time", "band", "point").values, wanted) <= 1e-5


# --- what dates are for ------------------------------------------------------------------------------------------


def displaced_series(shifts, side=224):
    """Truth at 5 m, and what the sensor observes at 10 m on dates that are displaced by pixels (down, right)."""
    rng = np.random.default_rng(4)
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    spectrum = np.where(f > 0, np.maximum(f, 1e-9) ** -1.3, 0)
    fields = [np.fft.irfft2(spectrum * np.fft.rfft2(rng.standard_normal((side, side)))) for _ in BANDS[:2]]
    truth = np.stack([0.2 + 0.03 * field / field.std() for field in fields]).astype(np.float32)
    half = Span(0, side // 2)
    band = sensor_band(MTF, 2.0, source_mtf=MTF)
    low = np.stack([observe(truth, band, rows=half, cols=half, shift=shift) for shift in shifts])
    cube = make_cube(side // 2, side // 2, dates=len(shifts), bands=BANDS[:2])
    return truth, cube.copy(data=low.astype(np.float32))


SHIFTS = [(0.0, 0.0), (0.45, -0.2), (-0.3, 0.4), (0.2, 0.35), (-0.4, -0.45)]


def error(fine, truth, border=40):
    inner = slice(border, -border)
    return float(np.sqrt(np.mean((fine.values[0] - truth)[:, inner, inner] ** 2)))


def test_registered_dates_make_less_error_and_more_of_them_still_less(zero_model):
    truth, cube = displaced_series(SHIFTS)
    registered = cube.sr.register()
    assert np.abs(registered.shift_x_m / 10 - [s[1] for s in SHIFTS]).max() < 0.06
    assert np.abs(-registered.shift_y_m / 10 - [s[0] for s in SHIFTS]).max() < 0.06
    options = {"scale": 2, "t": cube.time.values[0], "model": zero_model}
    alone = error(xsr.liif(cube, **options, frames=1), truth)
    unregistered = error(xsr.liif(cube, **options), truth)
    found = [error(xsr.liif(registered, **options, frames=frames), truth) for frames in (1, 2, 3, 5)]
    assert found[0] == pytest.approx(alone, rel=1e-6)
    assert found[0] > found[1] > found[2] > found[3]
    assert found[3] < 0.85 * alone
    assert unregistered > found[3]


def test_a_date_that_is_displaced_is_put_where_the_reference_lies(zero_model):
    truth, cube = displaced_series(SHIFTS[:2])
    options = {"scale": 2, "t": cube.time.values[1], "model": zero_model}
    in_place = error(xsr.liif(cube.sr.register(), **options), truth)
    beside = error(xsr.liif(cube, **options), truth)
    assert in_place < 0.6 * beside


def test_displacements_beyond_the_farthest_count_as_none(model):
    cube = make_series(dates=2)
    far = cube.assign_coords(shift_x_m=("time", [0.0, 10 * fusion.FARTHEST + 1]), shift_y_m=("time", [0.0, 0.0]))
    none = cube.assign_coords(shift_x_m=("time", [0.0, 0.0]), shift_y_m=("time", [0.0, 0.0]))
    made = [xsr.liif(one, scale=2, t="2024-06-03", model=model).values for one in (far, none)]
    assert largest(*made) == 0


# --- coarse bands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("corner", [(0, 0), (10, 0), (10, 10)])
def test_bands_of_20_m_get_the_detail_of_those_of_10_m(zero_model, corner):
    _, cube = displaced_series(SHIFTS[:1])
    low = cube.values[0]
    mixture = 0.6 * low[0] + 0.3 * low[1]
    east, south = corner
    optics = sensor_band(MTF, 1.0, own=2, source_mtf=MTF)
    first = (south // 10, east // 10)
    rows, cols = (Span(n, n + 112) for n in first)
    coarse = observe(mixture[None], optics, rows=rows, cols=cols, origin=first)
    three = make_cube(112, 112, bands=BANDS).copy(data=np.concatenate([low, coarse])[None])
    three = three.assign_coords(x=three.x + east, y=three.y - south)
    fine = xsr.liif(three, scale=1, model=zero_model)
    inner = (..., slice(24, -24), slice(24, -24))
    before, after = (float(np.abs(v - mixture)[inner].mean()) for v in (coarse[0], fine.values[0, 2]))
    assert after < 0.25 * before
    np.testing.assert_allclose(fine.values[0, :2][inner], low[inner], atol=2e-3)
    own = three.assign_coords(native_gsd=("band", [10.0, 10.0, 10.0]))
    kept = xsr.liif(own, scale=1, model=zero_model)
    assert float(np.abs(kept.values[0, 2] - coarse[0])[inner].mean()) < 0.1 * before


def test_a_cube_of_20_m_has_no_coarse_band(zero_model):
    cube = make_cube(40, 40, bands=BANDS)
    wide = cube.assign_coords(x=600_010 + 20 * np.arange(40.0), y=5_700_000 - 10 - 20 * np.arange(40.0))
    fine = xsr.liif(wide, scale=1, model=zero_model)
    assert np.abs(fine - wide)[..., 3:-3, 3:-3].max() < 0.2 * wide.std()


def test_a_card_states_its_channels(tmp_path):
    path = write_reading(tmp_path)
    text = path.with_suffix(".json").read_text().replace('"reads": "dates"', '"reads": "bands"')
    path.with_suffix(".json").write_text(text)
    with pytest.raises(XsrError, match="bands"):
        xsr.liif(make_cube(bands=BANDS), scale=2, model=path)


def test_channels_that_do_not_fit_the_bands_are_refused(tmp_path):
    with patch.object(evidence, "count", return_value=20):
        path = write_reading(tmp_path)
    with pytest.raises(ModelError, match="by 20 channels; expected 19"):
        xsr.liif(make_cube(bands=BANDS), scale=2, model=path)


def test_datasets_are_taken_too(model):
    cube = make_series()
    fine = xsr.liif(cube.to_dataset("band"), scale=2, t=TARGETS, model=model, precision="float32")
    wanted = xsr.liif(cube, scale=2, t=TARGETS, model=model, precision="float32")
    assert isinstance(fine, xr.Dataset)
    assert largest(fine["B04"].values, wanted.sel(band="B04").values) == 0
