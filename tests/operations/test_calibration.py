import json
import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from fuzzing import examples
from helpers import NORTH, WEST, make_cube
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from typer.testing import CliRunner

import xsr
from xsr import cli
from xsr.core.errors import BandError, CubeError, GridError, ParameterError
from xsr.kernels.calibration import SCORES
from xsr.kernels.strata import gradient
from xsr.operations.evaluate.intervals import ALL_BANDS, estimate
from xsr.testing import assert_lazy

NAMES = {*SCORES, *(name + ALL_BANDS for name in SCORES)}
FIVE = (0.05, 0.25, 0.5, 0.75, 0.95)


def stacked(cubes, levels):
    """Cubes along a dimension quantile."""
    return xr.concat(cubes, pd.Index(levels, name="quantile"), join="exact", coords="minimal", compat="override")


def by_hand(quantiles, truth, levels=(0.05, 0.5, 0.95)):
    """Result and reference of one band and one row from lists of numbers."""
    shape = (1, 1, -1)
    cubes = [make_cube(np.float32(values).reshape(shape)) for values in quantiles]
    return stacked(cubes, levels), make_cube(np.float32(truth).reshape(shape))


def gaussian(height, width, *, dates=1, bands=2, seed=0, levels=FIVE):
    """Exact quantiles of normal distributions of different widths, and a truth that is drawn from them."""
    rng = np.random.default_rng(seed)
    shape = (dates, bands, height, width)
    mean = rng.random(shape)
    sigma = 0.02 * np.exp(0.5 * rng.standard_normal(shape)) * np.arange(1, bands + 1)[:, None, None]
    cubes = [make_cube((mean + norm.ppf(level) * sigma).astype(np.float32)) for level in levels]
    return stacked(cubes, levels), make_cube((mean + sigma * rng.standard_normal(shape)).astype(np.float32))


def largest(left, right):
    assert set(left.data_vars) == set(right.data_vars) == NAMES
    found = 0.0
    for name in left.data_vars:
        a, b = left[name].values.astype(float), right[name].values.astype(float)
        assert np.array_equal(np.isnan(a), np.isnan(b)), name
        found = max(found, float(np.abs(a - b)[~np.isnan(a)].max(initial=0.0)))
    return found


# --- numbers -----------------------------------------------------------------------------------------------


def test_scores_by_hand():
    """Four pixels: inside, on the upper end, 0.25 above it, 0.125 below the lower end."""
    fine, truth = by_hand([[0, 0, 0, 0.5], [0.25, 0.25, 0.25, 0.75], [0.5, 0.5, 0.5, 1]], [0.25, 0.5, 0.75, 0.375])
    scores = xsr.calibration(fine, truth).isel(time=0, band=0)
    assert scores["count"] == 4
    assert scores["crossed"] == 0
    assert scores["interval"].values.tolist() == [0.9]
    assert scores["below"].values.tolist() == [0.25, 0.5, 0.75]
    assert scores["calibration_error"] == pytest.approx((0.2 + 0 + 0.2) / 3)
    assert scores["coverage"].item() == 0.5
    assert scores["width"].item() == 0.5
    assert scores["interval_score"].item() == pytest.approx(0.5 + 20 * (0.25 + 0.125) / 4)
    assert scores["constant_score"].item() == pytest.approx(1.0, rel=1e-6)  # ± 0.5, the greatest error


def test_all_bands_are_their_pixels_together():
    fine, truth = gaussian(30, 20, bands=3, dates=2)
    fine = fine.where((fine["band"] != "B03") | (fine["x"] < fine["x"][7]))
    scores = xsr.calibration(fine, truth)
    share = scores["count"] / scores["count"].sum("band")
    for name in ("below", "coverage", "width", "interval_score", "constant_score"):
        np.testing.assert_allclose(scores[name + ALL_BANDS], (scores[name] * share).sum("band"), rtol=1e-12)
    off = np.abs(scores["below_all_bands"] - scores["quantile"]).mean("quantile")
    np.testing.assert_allclose(scores["calibration_error_all_bands"], off, rtol=1e-12)
    one = fine.isel(band=[0]), truth.isel(band=[0])
    for name in SCORES:
        alone = xsr.calibration(*one)
        np.testing.assert_allclose(alone[name + ALL_BANDS], alone[name].isel(band=0), rtol=1e-12)


def test_the_order_of_all_bands_is_of_all_their_pixels():
    """Two bands without order inside: together the wide one has the greater errors."""
    half = np.stack([np.full((20, 20), 0.01), np.full((20, 20), 0.04)])[None]
    truth = make_cube((half * np.random.default_rng(1).choice([-0.5, 0.5], half.shape)).astype(np.float32))
    fine = stacked([truth.copy(data=(k * half).astype(np.float32)) for k in (-1, 0, 1)], (0.05, 0.5, 0.95))
    scores = xsr.calibration(fine, truth)
    np.testing.assert_allclose(scores["ause"], 0, atol=1e-6)  # all errors of a band are one
    np.testing.assert_allclose(scores["ause_all_bands"], 0, atol=1e-6)
    np.testing.assert_allclose(scores["constant_score_all_bands"], scores["constant_score"].mean("band"), rtol=1e-12)


def test_a_gaussian_with_known_quantiles_is_calibrated():
    fine, truth = gaussian(200, 250)
    scores = xsr.calibration(fine, truth)
    count = 200 * 250
    for name in ("coverage", "below"):
        nominal = scores["interval" if name == "coverage" else "quantile"]
        assert (np.abs(scores[name] - nominal) < 4 * np.sqrt(nominal * (1 - nominal) / count)).all()
    assert (scores["calibration_error"] < 0.01).all()
    assert (scores["interval_score"] < scores["constant_score"]).all()  # widths that know where the error is
    assert (scores["ause"] < 0.35).all()


def test_intervals_that_are_too_narrow_are_found():
    fine, truth = gaussian(100, 100, bands=1)
    middle = fine.sel(quantile=0.5)
    narrow = xsr.calibration((middle + (fine - middle) / 2).transpose(*fine.dims), truth)
    expected = 2 * norm.cdf(norm.ppf(0.95) / 2) - 1
    assert narrow["coverage"].sel(interval=0.9).item() == pytest.approx(expected, abs=0.02)
    scores = xsr.calibration(fine, truth)
    assert (narrow["calibration_error"] > scores["calibration_error"] + 0.05).all()
    assert (narrow["interval_score"].sel(interval=0.9) > scores["interval_score"].sel(interval=0.9)).all()
    np.testing.assert_allclose(narrow["ause"], scores["ause"], atol=2e-3)  # the order is the same


def test_quantiles_that_cross_are_scored_as_they_are():
    fine, truth = by_hand([[1, 0], [0.5, 0.5], [0, 1]], [0.5, 0.5])
    scores = xsr.calibration(fine, truth).squeeze()
    assert scores["crossed"] == 1
    assert scores["coverage"] == 0.5
    assert scores["width"] == 0
    # the pinball losses of both quantiles times 2 / alpha: (-1 + 20 (0.5 + 0.5) + 1) / 2
    assert scores["interval_score"] == pytest.approx(10)


# --- the cube ----------------------------------------------------------------------------------------------


def test_the_quantiles_may_be_in_any_order_and_anywhere():
    fine, truth = gaussian(12, 9, dates=2)
    expected = xsr.calibration(fine, truth)
    assert expected["quantile"].values.tolist() == list(FIVE)
    assert expected["interval"].values.tolist() == [0.5, 0.9]
    for other in (fine.isel(quantile=[3, 0, 4, 2, 1]), fine.transpose("time", "y", "quantile", "x", "band")):
        xr.testing.assert_identical(xsr.calibration(other, truth), expected)
    single = fine.assign_coords(quantile=np.float32(FIVE))
    xr.testing.assert_identical(single.sr.calibration(truth), expected)


def test_it_takes_what_xarray_makes():
    members = make_cube((9, 1, 6, 5)).rename(time="member").drop_vars("member")
    fine = members.quantile([0.25, 0.5, 0.75], "member").astype(np.float32)
    scores = xsr.calibration(fine.odc.assign_crs(members.odc.crs), members.isel(member=0))
    assert scores["interval"].values.tolist() == [0.5]
    assert scores["count"].values.tolist() == [[30]]


def test_a_dataset_of_bands():
    fine, truth = gaussian(12, 9)
    expected = xsr.calibration(fine, truth)
    bands = fine.to_dataset("band")
    assert largest(xsr.calibration(bands, truth.to_dataset("band")), expected) == 0
    assert largest(bands.sr.calibration(truth), expected) == 0
    odd = bands.assign(B03=bands["B03"].sel(quantile=0.5, drop=True))
    with pytest.raises(BandError, match=r"bands \['B03'\] have no dimension 'quantile'"):
        xsr.calibration(odd, truth)
    with pytest.raises(BandError, match=r"bands \['p'\] have no dimension 'quantile'"):
        xsr.calibration(odd.rename(B03="p"), truth, bands={"B03": "p"})
    assert largest(xsr.calibration(odd, truth, bands=["B02"]), xsr.calibration(fine, truth, bands=["B02"])) == 0


def test_bands_by_any_name():
    fine, truth = gaussian(8, 8)
    expected = xsr.calibration(fine, truth).sel(band=["B03"])
    renamed = fine.assign_coords(band=["blue", "green"])
    scores = xsr.calibration(renamed, truth, bands=["B03"])
    assert scores["band"].values.tolist() == ["green"]
    np.testing.assert_array_equal(scores["coverage"], expected["coverage"])
    mapped = xsr.calibration(fine.assign_coords(band=["p", "q"]), truth, bands={"B03": "q"})
    np.testing.assert_array_equal(mapped["coverage"], expected["coverage"])


def test_pixels_without_data_are_left_out_and_counted():
    fine, truth = gaussian(10, 10)
    known = xsr.calibration(fine.isel(x=slice(6)), truth.isel(x=slice(6)))
    holed = fine.copy(data=fine.values.copy())
    holed[0, :, :, :, 6] = np.nan
    holed[2, :, :, :, 7] = np.nan
    holed[4, :, :, :, 8] = np.inf
    scores = xsr.calibration(holed, truth.where(truth["x"] != truth["x"][9]))
    assert scores["count"].values.tolist() == [[60, 60]]
    assert largest(scores, known) <= 1e-12
    empty = xsr.calibration(holed * np.nan, truth)
    assert empty["count_all_bands"].item() == 0
    assert all(np.isnan(empty[name]).all() for name in NAMES if not name.startswith(("count", "crossed")))


def test_mask_and_border():
    fine, truth = gaussian(12, 12)
    mask = xr.DataArray(np.zeros((12, 12), bool), dims=("y", "x"))
    mask[2:-2, 2:-2] = True
    inner = {"y": slice(2, -2), "x": slice(2, -2)}
    expected = xsr.calibration(fine.isel(inner), truth.isel(inner))
    assert largest(xsr.calibration(fine, truth, mask=mask), expected) <= 1e-12
    bordered = xsr.calibration(fine, truth, border=2)
    assert largest(bordered, expected) <= 1e-12
    assert bordered.attrs["border_px"] == 2


# --- strata ------------------------------------------------------------------------------------------------


def test_strata_are_those_of_the_gradient():
    fine, truth = gaussian(40, 30, bands=2)
    edges = (0.0, 0.015, 0.03)
    scores = xsr.calibration(fine, truth, edges=edges)
    assert scores["coverage"].dims == ("time", "band", "stratum", "interval")
    assert scores["edge_low"].values.tolist() == [0, 0.015]
    assert scores["edge_high"].values.tolist() == [0.015, 0.03]
    steep = np.full(truth.shape[2:], np.nan)
    for b in range(2):
        steep[1:-1, 1:-1] = gradient(truth.values[0], (10.0, 10.0))[b]
        for k in range(2):
            inside = xr.DataArray((steep >= edges[k]) & (steep < edges[k + 1]), dims=("y", "x"))
            alone = xsr.calibration(fine.isel(band=[b]), truth.isel(band=[b]), mask=inside)
            assert alone["count"].item() > 50
            for name in SCORES:
                found = scores[name].isel(stratum=k, band=b)
                np.testing.assert_allclose(found, alone[name].isel(band=0), rtol=1e-12)
    counted = xsr.strata(fine.sel(quantile=0.5, drop=True), truth, edges=edges)["count"]
    np.testing.assert_array_equal(scores["count"], counted)


def test_one_stratum_of_everything_is_the_whole_image():
    fine, truth = gaussian(14, 11)
    inner = {"y": slice(1, -1), "x": slice(1, -1)}
    whole = xsr.calibration(fine.isel(inner), truth.isel(inner))
    assert largest(xsr.calibration(fine, truth, edges=(0, math.inf)).isel(stratum=0, drop=True), whole) <= 1e-12


# --- chunks ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(examples(6), derandomize=True)
@given(
    height=st.integers(2, 40),
    width=st.integers(2, 40),
    chunk=st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 5)),
    how=st.sampled_from([{}, {"border": 0, "edges": (0, 0.01, 0.02, np.inf)}]),
    holes=st.sampled_from([0.0, 0.05, 1.0]),
    seed=st.integers(0, 99),
)
def test_scores_do_not_depend_on_the_chunks(height, width, chunk, how, holes, seed):
    fine, truth = gaussian(height, width, dates=2, seed=seed)
    fine = fine.where(np.random.default_rng(seed).random(fine.shape) >= holes)
    whole = xsr.calibration(fine, truth, **how)
    lazy = fine.chunk(y=chunk[0], x=chunk[1], quantile=chunk[2], time=1)
    with assert_lazy(lazy):
        parts = xsr.calibration(lazy, truth.chunk(y=9), **how)
    assert all(parts[name].chunks is not None for name in NAMES)
    assert largest(parts.compute(scheduler="synchronous"), whole) <= 1e-9
    assert largest(xsr.calibration(fine, truth, chunks=chunk[:2], **how), whole) <= 1e-9


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((0.05, 0.95), "0.5 among them"),
        ((0.5,), "at least one pair q and 1 - q"),
        ((0.05, 0.5, 0.9), "at least one pair q and 1 - q"),
        ((0.0, 0.5, 1.0), "numbers between 0 and 1"),
        ((5, 50, 95), "numbers between 0 and 1"),
        ((0.05, 0.5, np.nan), "numbers between 0 and 1"),
        (("a", "b", "c"), "numbers between 0 and 1"),
        ((0.05, 0.5, 0.5, 0.95), "each once"),
    ],
)
def test_bad_quantiles(levels, message):
    truth = make_cube((1, 1, 4, 4))
    fine = stacked([truth] * len(levels), levels)
    with pytest.raises(CubeError, match=rf"coordinate 'quantile' is \[.*\]; expected .*{message}"):
        xsr.calibration(fine, truth)


def test_cubes_without_quantiles():
    fine, truth = gaussian(4, 4)
    for odd in (truth, fine.drop_vars("quantile"), truth.to_dataset("band")):
        with pytest.raises(CubeError, match="no dimension 'quantile' with a coordinate among"):
            xsr.calibration(odd, truth)
    with pytest.raises(CubeError, match="got ndarray; expected an xarray"):
        xsr.calibration(fine.values, truth)
    with pytest.raises(CubeError, match="got NoneType; expected an xarray"):
        xsr.calibration(fine, None)
    with pytest.raises(CubeError, match="dimension 'quantile' found"):
        xsr.calibration(fine, fine)


def test_other_grids_bands_dates_and_arguments():
    fine, truth = gaussian(6, 6)
    moved = make_cube(truth.values, affine=Affine(10, 0, WEST + 5, 0, -10, NORTH))
    with pytest.raises(GridError, match=r"the reference is shifted by 0 pixels down and 0\.5 right"):
        xsr.calibration(fine, moved)
    with pytest.raises(GridError, match="the reference has 6 x 5 pixels"):
        xsr.calibration(fine, truth.isel(x=slice(5)))
    with pytest.raises(BandError, match=r"the reference lacks the bands \['B03'\]"):
        xsr.calibration(fine, truth.isel(band=[0]))
    with pytest.raises(CubeError, match="the reference differs in 1 date"):
        xsr.calibration(fine, truth.assign_coords(time=truth["time"] + np.timedelta64(1, "D")))
    with pytest.raises(ParameterError, match=r"edges=\[1\.0, 0\.0\]; expected at least two ascending"):
        xsr.calibration(fine, truth, edges=(1, 0))
    with pytest.raises(ParameterError, match="border=3 leaves nothing"):
        xsr.calibration(fine, truth, border=3)


@pytest.mark.parametrize("verb", [xsr.evaluate, xsr.strata, xsr.spectrum])
def test_other_scores_say_what_to_do_with_quantiles(verb):
    fine, truth = gaussian(8, 8)
    with pytest.raises(CubeError, match=r"Select one, as the estimate by \.sel\(quantile=0\.5\); xsr\.calibration"):
        verb(fine, truth)
    verb(fine.sel(quantile=0.5), truth)


# --- files and the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [("quantile", "time", "band", "y", "x"), ("time", "band", "quantile", "y", "x")])
def test_a_store_keeps_the_quantiles(tmp_path, dims):
    fine, truth = gaussian(12, 10)
    fine = fine.transpose(*dims).rename("reflectance").chunk(y=6)
    xsr.to_zarr(fine, tmp_path / "fine.zarr", progress=False)
    opened = xsr.open(tmp_path / "fine.zarr")
    assert opened.dims == dims
    assert largest(xsr.calibration(opened, truth), xsr.calibration(fine, truth)) == 0
    assert xsr.verify(tmp_path / "fine.zarr").ok


def test_the_command_scores_the_estimate_and_the_intervals(tmp_path, monkeypatch):
    monkeypatch.setattr(cli.console, "_width", 250)
    monkeypatch.setattr("xsr.cli.options.share_cores", lambda workers: None)
    fine, truth = gaussian(16, 12)
    xsr.to_zarr(fine.rename("sr"), tmp_path / "fine.zarr", progress=False)
    xsr.to_zarr(truth.rename("ref"), tmp_path / "ref.zarr", progress=False)
    xsr.to_zarr(xsr.degrade(truth, scale=2).rename("low"), tmp_path / "low.zarr", progress=False)
    for name in ("scores.json", "scores.csv"):
        paths = [tmp_path / "fine.zarr", tmp_path / "ref.zarr", "--border", 1, "--out", tmp_path / name]
        result = CliRunner().invoke(cli.app, ["evaluate", *map(str, paths)], catch_exceptions=False)
        assert result.exit_code == 0
        assert "calibration_error" in result.output
    records = json.loads((tmp_path / "scores.json").read_text())["scores"]
    expected = xsr.calibration(fine, truth, border=1)
    found = {(r["band"], r["interval"]): r["value"] for r in records if r["metric"] == "coverage"}
    assert found[("B03", "0.9")] == expected["coverage"].sel(band="B03", interval=0.9).item()
    plain = xsr.evaluate(estimate(fine), truth, border=1)
    assert [r["value"] for r in records if r["metric"] == "mae"] == plain["mae"].values.ravel().tolist()
    table = pd.read_csv(tmp_path / "scores.csv")
    assert set(table.loc[table["metric"] == "below", "quantile"]) == set(FIVE)
    only_low = ["evaluate", str(tmp_path / "fine.zarr"), "--low", str(tmp_path / "low.zarr")]
    result = CliRunner().invoke(cli.app, only_low, catch_exceptions=False)
    assert "low_fidelity" in result.output
    assert "calibration" not in result.output
