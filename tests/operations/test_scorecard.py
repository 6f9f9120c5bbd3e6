import csv
import json

import numpy as np
import pytest
from helpers import make_cube
from typer.testing import CliRunner

import xsr
from xsr import cli
from xsr.core.errors import ParameterError
from xsr.operations.scorecard import compute_scores, score_tables, write_scores


@pytest.fixture(autouse=True)
def settings_restored(monkeypatch):
    """The command shares cores between pools; a wide terminal keeps tables whole."""
    monkeypatch.setattr(cli.console, "_width", 250)
    monkeypatch.setattr("xsr.cli.options.share_cores", lambda workers: None)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Image, reference and low-resolution cube on disk."""
    folder = tmp_path_factory.mktemp("stores")
    reference = make_cube((2, 2, 48, 40))
    image = (reference + np.float32(0.01)).rename("sr")
    low = xsr.degrade(reference, scale=2)
    for name, cube in (("sr", image), ("ref", reference.rename("ref")), ("low", low.rename("low"))):
        xsr.to_zarr(cube, folder / f"{name}.zarr", progress=False)
    return folder


def call(*arguments):
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.slow
def test_evaluate_prints_and_writes_json(stores, tmp_path):
    out = tmp_path / "scores.json"
    paths = [stores / "sr.zarr", stores / "ref.zarr", "--low", stores / "low.zarr"]
    result = call("evaluate", *paths, "--strata", 2, "--opensr", "--border", 2, "--out", out, "--mtf", 0.3)
    assert result.exit_code == 0
    for word in ("scores", "strata", "opensr", "low_fidelity", "hallucination", "2024-06-02", "B03"):
        assert word in result.output
    written = json.loads(out.read_text())
    bias = [r for r in written["scores"] if r["table"] == "scores" and r["metric"] == "bias"]
    assert [(r["time"][:10], r["band"]) for r in bias] == [
        (day, band) for day in ("2024-06-01", "2024-06-02") for band in ("B02", "B03")
    ]
    assert all(r["value"] == pytest.approx(0.01, rel=1e-3) for r in bias)
    assert {r["stratum"] for r in written["scores"] if r["table"] == "strata"} == {"0", "1"}
    assert written["settings"]["scores"]["border_px"] == 2
    assert written["settings"]["opensr"]["scale"] == 2


def test_evaluate_writes_csv(stores, tmp_path):
    out = tmp_path / "scores.csv"
    assert call("evaluate", stores / "sr.zarr", stores / "ref.zarr", "--out", out, "--bands", "B03").exit_code == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["band"] for row in rows if row["metric"] == "mae"} == {"B03"}
    assert float(next(row for row in rows if row["metric"] == "mae")["value"]) == pytest.approx(0.01, rel=1e-3)


def test_evaluate_without_a_reference(stores):
    result = call("evaluate", stores / "sr.zarr", "--low", stores / "low.zarr")
    assert "low_fidelity" in result.output
    assert "mae" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "scores.txt"], r"--out scores\.txt; expected a name that ends with"),
        (["--strata", 3], "--strata and --opensr compare with REF"),
        ([], "neither a reference nor --low given"),
    ],
)
def test_bad_arguments(stores, arguments, message):
    with pytest.raises(ParameterError, match=message):
        call("evaluate", stores / "sr.zarr", *arguments)


def test_opensr_needs_low(stores):
    with pytest.raises(ParameterError, match="--opensr compares with LOW"):
        call("evaluate", stores / "sr.zarr", stores / "ref.zarr", "--opensr")


def test_what_json_cannot_say(tmp_path):
    cube = make_cube((2, 8, 8)).where(lambda c: c["band"] == "B02")
    scores = compute_scores({"scores": xsr.evaluate(cube, cube, data_range=1.0, metrics=["psnr"])})
    write_scores(scores, tmp_path / "scores.json")
    values = [r["value"] for r in json.loads((tmp_path / "scores.json").read_text())["scores"]]
    assert values[:2] == ["inf", None]
    with pytest.raises(ParameterError, match=r"scores\.txt; expected a name"):
        write_scores(scores, tmp_path / "scores.txt")
    (table,) = score_tables(scores)
    assert [str(column.header) for column in table.columns] == ["metric", "B02", "B03"]  # no dates, no column
    assert [str(cell) for cell in table.columns[0].cells] == ["psnr", "count"]


def test_an_unknown_mtf_is_null_in_json(tmp_path):
    cube, low = make_cube((1, 2, 12, 12), bands=["B02", "lst"]), make_cube((1, 2, 6, 6), gsd=20, bands=["B02", "lst"])
    scores = compute_scores({"scores": xsr.evaluate(cube, cube, low=low)})
    write_scores(scores, tmp_path / "a.json")
    settings = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)["settings"]["scores"]
    assert settings["mtf"] == [0.304, None]
    assert settings["bands_without_mtf"] == ["lst"]


def test_the_sensor_is_an_option(stores, tmp_path):
    out = tmp_path / "a.json"
    paths = (stores / "sr.zarr", stores / "ref.zarr", "--low", stores / "low.zarr")
    assert call("evaluate", *paths, "--psf", "detector", "--mtf", 0.2, "--out", out).exit_code == 0
    settings = json.loads(out.read_text())["settings"]["scores"]
    assert (settings["psf"], settings["sensor"], set(settings["mtf"])) == ("detector", "sentinel-2", {0.2})
