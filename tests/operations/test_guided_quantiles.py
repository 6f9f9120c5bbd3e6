"""Tests of quantiles of sharpened temperatures."""

import dask
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import xsr
from xsr import cli
from xsr.core.errors import ModelError, ParameterError
from xsr.intervals import CALIBRATED
from xsr.models import registry
from xsr.testing import assert_lazy, assert_same_grid, synthetic_cube

Q = (0.05, 0.5, 0.9)
HELD = {"conserve": "radiance", "mtf": 0.3}


def pair(side=64, factor=4):
    guide = synthetic_cube(size=(side, side), bands=("B04", "B08", "B11"), gsd_m=20.0).isel(time=0, drop=True)
    low = (310 - 20 * guide.sel(band="B08", drop=True)).coarsen(y=factor, x=factor).mean()
    return low.assign_attrs(units="K").rename("temperature"), guide


@pytest.fixture(scope="module")
def low():
    return pair()[0]


@pytest.fixture(scope="module")
def guide():
    return pair()[1]


@pytest.fixture(scope="module", params=[{}, HELD], ids=["free", "held"])
def how(request):
    return request.param


@pytest.fixture(scope="module")
def found(low, guide, how):
    return low.sr.guided(guide, quantiles=Q, **how)


def test_the_estimate_itself_is_in_the_middle(low, guide, how, found):
    fine = low.sr.guided(guide, **how)
    assert found.dims == ("quantile", *fine.dims)
    assert found.shape == (3, 64, 64)
    assert found["quantile"].values.tolist() == list(Q)
    assert found.dtype == np.float32
    xr.testing.assert_equal(found.sel(quantile=0.5, drop=True).drop_vars(CALIBRATED), fine)
    assert_same_grid(found.isel(quantile=0), fine)
    assert found.attrs == {**fine.attrs, "xsr_intervals": "dctnet_lst_intervals"}
    assert found[CALIBRATED].dims == fine.dims


def test_quantiles_rise_and_intervals_differ_from_pixel_to_pixel(found):
    assert (found.diff("quantile") > 0).all()
    width = found.sel(quantile=0.9) - found.sel(quantile=0.5)
    assert float(width.max()) > 2 * float(width.min())


def test_chunks_change_nothing(low, guide, how, found):
    lazy = low.chunk(y=5, x=7)
    with assert_lazy(lazy):
        parts = lazy.sr.guided(guide.chunk(y=20, x=33), quantiles=Q, chunks=(40, 64), **how)
    assert dask.is_dask_collection(parts.data)
    assert dask.is_dask_collection(parts[CALIBRATED].data)
    np.testing.assert_allclose(parts.values, found.values, rtol=0, atol=2e-3)
    assert (parts[CALIBRATED].values == found[CALIBRATED].values).mean() > 0.999


def test_no_data_stay_where_they_are_and_a_missing_guide_is_marked(low, guide, how):
    holed, blind = low.copy(deep=True), guide.copy(deep=True)
    holed[3:5, 6:9] = np.nan
    blind[:, 40:50, 10:20] = np.nan
    found = holed.sr.guided(blind, quantiles=Q, **how)
    assert (np.isnan(found) == np.isnan(found.sel(quantile=0.5))).all()
    assert np.isnan(found[:, 12:20, 24:36]).all()
    assert not found[CALIBRATED][40:50, 10:20].any()


def test_a_dataset_and_dates_stay(low, guide):
    dates = low.expand_dims(time=np.array(["2024-05-01", "2024-05-09"], "datetime64[ns]"))
    found = dates.to_dataset(name="temperature").sr.guided(guide, quantiles=Q)
    assert found["temperature"].dims == ("quantile", "time", "y", "x")
    assert found[CALIBRATED].dims == ("time", "y", "x")
    alone = low.sr.guided(guide, quantiles=Q)
    np.testing.assert_allclose(found["temperature"].isel(time=1).values, alone.values, atol=1e-3)


def test_quantiles_survive_zarr(found, tmp_path):
    xsr.to_zarr(found, tmp_path / "a.zarr")
    back = xsr.open(tmp_path / "a.zarr")["temperature"]
    np.testing.assert_array_equal(back.values, found.values)
    np.testing.assert_array_equal(back[CALIBRATED], found[CALIBRATED])


def test_the_command_line_writes_what_the_verb_makes(low, guide, tmp_path):
    xsr.to_zarr(low, tmp_path / "low.zarr")
    xsr.to_zarr(guide, tmp_path / "guide.zarr")
    typed = [str(tmp_path / name) for name in ("low.zarr", "guide.zarr", "out.zarr")]
    done = CliRunner().invoke(cli.app, ["guided", *typed, "--quantiles", "0.05,0.5,0.9"])
    assert done.exit_code == 0, done.output
    wanted = low.sr.guided(guide, quantiles=Q)
    np.testing.assert_allclose(xsr.open(tmp_path / "out.zarr")["temperature"].values, wanted.values, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantiles": (0.5, 0.1)}, "that rise"),
        ({"method": "bicubic"}, "quantiles with method='bicubic'; the errors of such results were not measured"),
        ({"limits": (270, 330)}, r"quantiles with limits=\(270, 330\); the errors"),
        (
            {"conserve": "radiance"},
            "quantiles with conserve='radiance' and no mtf; errors were measured",
        ),
        ({"scale": 2}, r"quantiles of a result 2 times finer; errors were measured from 3\.5 to 9"),
    ],
)
@pytest.mark.filterwarnings("ignore::xsr.core.errors.XsrWarning")
def test_what_was_not_measured_is_refused(low, guide, options, message):
    with pytest.raises(ParameterError, match=message):
        low.sr.guided(guide, **{"quantiles": Q, **options})


def test_a_network_whose_errors_were_not_measured_is_refused(low, guide):
    with pytest.raises(ModelError, match="the errors of model 'jiif_lst' were never measured"):
        low.sr.guided(guide, model="jiif_lst", quantiles=Q)


def test_the_card_says_on_what_intervals_rest():
    card = registry.card("dctnet_lst")
    errors = registry.card(card.intervals)
    assert errors.training["of_sha256"] == card.sha256
    assert not set(errors.training["places"]) & set(errors.training["calibration places"])
    assert all(row["places"] == len(errors.training["calibration places"]) for row in errors.calibration)
    assert any("one region" in limit for limit in errors.limits)


def test_intervals_widen_with_structure_beyond_the_calibration(low, guide):
    wild = low + 60 * (low - low.mean()) / float(low.std())
    wilder = wild.mean() + 2 * (wild - wild.mean())
    made = [one.assign_attrs(units="K").sr.guided(guide, quantiles=(0.1, 0.9)) for one in (wild, wilder)]
    narrow, wide = ((one[1] - one[0]).median().item() for one in made)
    assert wide / narrow == pytest.approx(2, rel=0.25)
