import json
import os
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from catalogs import make_item, serving
from models.helpers import BANDS, lively_carn, make_cube, write_fixed, write_model
from models.test_catalogue import COUNTS
from odc.geo.geom import box
from odc.geo.xr import xr_reproject
from PIL import Image
from products import NORTH, WEST, truth, write_safe, zipped
from survival import forget
from typer.testing import CliRunner

import xsr
from xsr import cli
from xsr.core.errors import BandError, CubeError, ModelError, ParameterError, StoreError, XsrWarning
from xsr.models import catalogue, registry
from xsr.models.card import read_card
from xsr.sources.files import open_file
from xsr.testing import assert_same_grid, synthetic_cube
from xsr.training import recipes
from xsr.training.recipe import Continuous
from xsr.training.scores import Score

TINY = replace(
    recipes.LIIF_S2_FIRST,
    name="tiny",
    config={"channels": 10, "outputs": 10, "features": 8, "blocks": 1, "hidden": (16, 16)},
    task=Continuous(synthetic=1, patch=14, queries=64),
    batch=2,
)


@pytest.fixture(autouse=True)
def settings_restored(monkeypatch):
    """The command changes thread counts of the process; a wide terminal keeps tables whole."""
    monkeypatch.setattr(cli.console, "_width", 200)
    threads = torch.get_num_threads()
    with dask.config.set(num_workers=2):
        yield
    dask.config.config.pop("num_workers", None)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def cube():
    return make_cube(20, 18, dates=2)


@pytest.fixture
def tiny_recipe(monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "tiny", TINY)


def call(*arguments):
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def fine_of(path):
    return xr.open_zarr(path, decode_coords="all")


def save(cube, path):
    """Write a cube as Zarr, NetCDF or GeoTIFF; the last holds one date of digital numbers."""
    if path.suffix == ".zarr":
        xsr.to_zarr(cube, path, progress=False)
    elif path.suffix == ".nc":
        dataset = cube.to_dataset("band")
        for name in dataset.data_vars:
            dataset[name].attrs["grid_mapping"] = "spatial_ref"
        dataset.to_netcdf(path, engine="h5netcdf")
    else:
        grid = cube.odc.geobox
        numbers = (cube.isel(time=0).clip(1e-4).values * 1e4).round().astype(np.uint16)
        profile = dict(height=grid.shape[0], width=grid.shape[1], count=len(numbers), dtype="uint16", nodata=0)
        with rasterio.open(path, "w", driver="GTiff", crs=str(grid.crs), transform=grid.affine, **profile) as target:
            target.write(numbers)
            target.descriptions = tuple(cube.band.values.tolist())
    return path


# --- run ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_on_zarr(cube, model, tmp_path):
    source = save(cube.chunk(time=1, y=10), tmp_path / "in.zarr")
    result = call("run", source, tmp_path / "out.zarr", "--scale", 3.4, "--model", model, "--chunks", 40)
    assert result.exit_code == 0
    found = fine_of(tmp_path / "out.zarr")["reflectance"]
    wanted = xsr.liif(cube, scale=3.4, model=model)
    assert found.dims == wanted.dims
    assert np.abs(found.values - wanted.values).max() <= 1e-6
    assert_same_grid(found, wanted)
    assert found.chunks == ((1, 1), (4,), (40, 28), (40, 21))
    assert found.attrs["xsr_input"] == "in.zarr"
    assert found.attrs["xsr_model"] == "tiny"
    report = " ".join(result.output.split())
    assert f"wrote {tmp_path / 'out.zarr'}" in report
    assert "8 blocks" in report
    assert f"{wanted.size} valid pixels, 0 clipped" in report


@pytest.mark.slow
def test_run_on_netcdf(cube, model, tmp_path):
    source = save(cube, tmp_path / "in.nc")
    call("run", source, tmp_path / "out.zarr", "--scale", 3.4, "--model", model, "--bands", "B04, B03,B02")
    found = fine_of(tmp_path / "out.zarr")
    wanted = xsr.liif(cube.to_dataset("band")[["B04", "B03", "B02"]], scale=3.4, model=model)
    assert set(found.data_vars) == set(wanted.data_vars) == {"B04", "B03", "B02"}
    for name in wanted.data_vars:
        assert np.abs(found[name].values - wanted[name].values).max() <= 1e-6
    assert_same_grid(found, wanted)


def test_run_on_geotiff(cube, model, tmp_path):
    source = save(cube, tmp_path / "in.tif")
    units = ("--units", "dn10000")
    call("run", source, tmp_path / "out.zarr", "--scale", 3.4, "--model", model, *units, "--zarr-format", 2)
    found = fine_of(tmp_path / "out.zarr")["reflectance"]
    wanted = xsr.liif(cube.isel(time=0).clip(1e-4), scale=3.4, model=model)
    assert found.band.values.tolist() == list(BANDS)
    assert np.abs(found.values - wanted.values).max() < 3e-3  # digital numbers are rounded
    assert_same_grid(found, wanted)
    assert (tmp_path / "out.zarr" / ".zgroup").exists()


@pytest.mark.slow
@pytest.mark.parametrize("units", ["percent", "0.01"])
def test_run_with_units(cube, tmp_path, units):
    source = save(cube * 100, tmp_path / "in.zarr")
    call("run", source, tmp_path / "out.zarr", "--scale", 2, "--model", "nearest", "--units", units)
    found = fine_of(tmp_path / "out.zarr")["reflectance"].values
    assert np.abs(found - cube.values.repeat(2, axis=2).repeat(2, axis=3)).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
def test_run_interpolates_a_box(cube, tmp_path, method):
    source = save(cube, tmp_path / "in.zarr")
    box = "600040,5699850,600130,5699950"
    target = ("--resolution", 5, "--bbox", box, "--dtype", "uint16", "--workers", 1)
    call("run", source, tmp_path / "out.zarr", "--model", method, *target)
    found = fine_of(tmp_path / "out.zarr")["reflectance"]
    assert tuple(found.odc.geobox.boundingbox) == (600040, 5699850, 600130, 5699950)
    wanted = xsr.interpolate(cube.isel(y=slice(5, 15), x=slice(4, 13)), scale=2.0, method=method)
    assert np.abs(found.values - wanted.clip(-0.0999)).max() <= 6e-5
    assert found.attrs["xsr_operation"] == f"interpolate:{method}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (["--scale", "0.5"], ParameterError, "at most 1"),
        ([], ParameterError, "exactly one of"),
        (["--scale", "2", "--bbox", "1,2,3"], ParameterError, "expected four numbers"),
        (["--scale", "2", "--bbox", "0,0,1,1"], ParameterError, "holds no pixel"),
        (["--scale", "2", "--bbox", "1,0,0,1"], ParameterError, "left < right"),
        (["--scale", "2", "--workers", "0"], ParameterError, "--workers 0; expected at least 1"),
        (["--scale", "2", "--dtype", "int8"], ParameterError, "--dtype int8; expected one of float32, uint16. Did you"),
        (["--scale", "2", "--zarr-format", "4"], ParameterError, "--zarr-format 4; expected one of 3, 2"),
        (["--scale", "2", "--errors", "rais"], ParameterError, "--errors rais; expected .* Did you mean raise"),
        (["--scale", "2", "--precision", "foo"], ParameterError, "--precision foo; expected one of"),
        (["--scale", "2", "--device", "tpu"], ParameterError, "--device tpu; expected auto, cpu, cuda"),
        (["--scale", "2", "--frames", "3"], ParameterError, "--frames given without --t"),
        (
            ["--scale", "2", "--t", "2024-06-05", "--fill"],
            ParameterError,
            "--fill given; .* is an interpolation method",
        ),
        (["--scale", "2", "--t", "2030-01-01"], ParameterError, r"To go beyond, say how far: --extrapolate \d+\."),
        (["--scale", "2", "--resolution", "5"], ParameterError, "exactly one of --scale, --resolution or --like"),
        (["--scale", "2", "--bands", "B02,B02"], BandError, "--bands B02,B02 names a band twice"),
    ],
)
def test_run_refuses(cube, tmp_path, arguments, error, told):
    source = save(cube, tmp_path / "in.zarr")
    with pytest.raises(error, match=told):
        call("run", source, tmp_path / "out.zarr", "--model", "bicubic", *arguments)
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.slow
def test_run_does_not_write_over_its_input_or_another_store(cube, tmp_path):
    source = save(cube, tmp_path / "in.zarr")
    with pytest.raises(ParameterError, match="OUT is IN"):
        call("run", source, tmp_path / "." / "in.zarr", "--scale", 2, "--model", "bicubic", "--overwrite")
    other = save(cube, tmp_path / "out.zarr")
    with pytest.raises(StoreError, match="exists"):
        call("run", source, other, "--scale", 2, "--model", "bicubic")
    assert fine_of(other)["reflectance"].shape == cube.shape
    call("run", source, other, "--scale", 2, "--model", "bicubic", "--overwrite")
    assert fine_of(other)["reflectance"].shape == (2, 4, 40, 36)


@pytest.mark.slow
def test_workers_share_the_cores(cube, tmp_path):
    source = save(cube, tmp_path / "in.zarr")
    cores = len(os.sched_getaffinity(0))
    call("run", source, tmp_path / "out.zarr", "--scale", 2, "--model", "bicubic", "--workers", 1)
    assert dask.config.get("num_workers") == 1
    assert torch.get_num_threads() == cores


def command(*arguments, **env):
    """Run the command in a process of its own, as a user starts it."""
    code = "from xsr.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )


@pytest.mark.slow
def test_an_error_is_one_line_on_standard_error(tmp_path):
    done = command("run", tmp_path / "missing.zarr", tmp_path / "out.zarr", "--scale", "2")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "missing.zarr not found" in done.stderr


def test_brackets_in_an_error_are_printed(monkeypatch, capsys):
    def fail():
        raise ParameterError("bands ['B11'] are unknown [red]")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: bands ['B11'] are unknown [red]\n"


def test_main_runs_the_application_once_and_returns(monkeypatch):
    runs = []
    monkeypatch.setattr(cli, "app", lambda: runs.append("run"))
    assert cli.main() is None
    assert runs == ["run"]


def test_version():
    assert call("--version").output.strip() == xsr.__version__


# --- models ------------------------------------------------------------------------------------------------


def test_models_list():
    lines = [re.sub(r"[│┃]", " ", line).split() for line in call("models", "list").output.splitlines()]
    first = [line[0] for line in lines if line]
    assert first.index("liif_s2") < first.index("architecture") < first.index("carn_1x3x64g4sw")
    for name in (*registry.names(), *catalogue.listed()):
        assert name in first
    text = [" ".join(line) for line in lines]
    assert "liif_s2 liif 742 282 B02 B03 B04 B08 B05 B06 B07 B8A B11 B12 1-6 CC-BY-4.0" in text
    assert "carn_1x3x64g4sw fixed 1 243 530 1 243 530 halo" in text
    assert "dctnet guided 482 865 482 865 lattice" in text
    for name, counts in COUNTS.items():
        trainable, total = (f"{count:,}".replace(",", " ") for count in counts)
        assert any(line.startswith(f"{name} ") and f" {trainable} {total} " in line for line in text)


def test_models_show(model):
    card = read_card(Path(model))
    output = call("models", "show", model).output
    assert card.sha256 in output
    assert '"scale_range"' in output
    shown = json.loads(call("models", "show", "liif_s2").output)
    assert shown["sha256"] == registry.card("liif_s2").sha256
    assert {"bands", "mean", "std", "optional", "unit", "units", "fill", "guide_bands"} <= set(shown)
    assert (shown["unit"], shown["units"]) == (1.0, "1")


def test_models_show_of_an_architecture():
    told = json.loads(call("models", "show", "carn_2x2x4g2").output)
    assert (told["kind"], told["radius"], told["scale"]) == ("fixed", 11, "2")
    with pytest.raises(ModelError, match="'liif_s4' not found; did you mean liif_s2"):
        call("models", "show", "liif_s4")


@pytest.mark.parametrize(("radius", "code", "told"), [(5, 0, "is enough"), (4, 1, "is not enough")])
def test_models_check_of_weights(tmp_path, radius, code, told):
    result = call("models", "check", write_fixed(tmp_path, radius=radius))
    assert result.exit_code == code
    assert f"margin:       {2 * radius} output pixels ({radius} input pixels) {told}" in result.output
    assert "measured:     10 output pixels (5 input pixels)" in result.output
    assert "opset" not in result.output


def test_models_export_and_check(tmp_path, cube):
    pytest.importorskip("onnxruntime")
    model = write_fixed(tmp_path)
    result = call("models", "export", model, "--out", tmp_path / "out", "--units", "reflectance")
    assert f"wrote {tmp_path / 'out' / 'small.onnx'}" in result.output
    path = tmp_path / "out" / "small.yaml"
    result = call("models", "check", path)
    assert result.exit_code == 0
    for told in ("opset:        17", "input size:   any", "is enough", "B02 B03 B04 B08"):
        assert told in result.output
    path.write_text(path.read_text().replace("margin: 10", "margin: 6"))
    result = call("models", "check", path)
    assert result.exit_code == 1
    assert "margin:       6 output pixels (3 input pixels) is not enough" in result.output
    assert "measured:     10 output pixels" in result.output


def test_models_check_of_a_network_of_one_input_size(tmp_path):
    pytest.importorskip("onnx")
    from models.test_foreign import write_convolution

    result = call("models", "check", write_convolution(tmp_path, size=(16, 24)))
    assert result.exit_code == 1
    assert "input size:   16 x 24 alone: it cannot be tiled" in result.output
    assert "difference" not in result.output


@pytest.mark.slow
def test_run_with_a_network_of_one_factor(cube, tmp_path):
    pytest.importorskip("onnxruntime")
    source, model = save(cube, tmp_path / "in.zarr"), write_fixed(tmp_path)
    wanted = xsr.sisr(cube, model=model)
    call("models", "export", model, "--out", tmp_path / "out")
    torch.save(lively_carn(bands=4).state_dict(), tmp_path / "bare.pth")
    shapes = {}
    for name, options in (
        ("weights", ["--model", model]),
        ("scale", ["--model", model, "--scale", 2]),
        ("card", ["--model", tmp_path / "out" / "small.yaml"]),
        ("bare", ["--model", "carn_1x1x4g2", "--weights", tmp_path / "bare.pth"]),
    ):
        call("run", source, tmp_path / f"{name}.zarr", *options)
        found = fine_of(tmp_path / f"{name}.zarr")["reflectance"]
        shapes[name] = found.shape
        if name != "bare":  # whose normalisation is that of published weights
            assert np.abs(found.values - wanted.values).max() <= 1e-6
    assert set(shapes.values()) == {(2, 4, 40, 36)}
    for option, value in (("--scale", 3.4), ("--resolution", 5)):
        with pytest.raises(ParameterError, match=rf"{option.strip('-')}.*factor"):
            call("run", source, tmp_path / "no.zarr", "--model", model, option, value)


# --- demo --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_demo(model, tmp_path):
    out = tmp_path / "made" / "demo"
    result = call("demo", "--out", out, "--model", model)
    assert result.exit_code == 0
    assert "synthetic, truth known" in result.output
    assert "bicubic dB" in result.output
    assert "lazy: True" in result.output
    source, fine = (fine_of(out / name)["reflectance"] for name in ("input.zarr", "output.zarr"))
    assert source.shape == (3, 4, 160, 160)
    assert fine.shape == (3, 4, 544, 544)
    assert tuple(source.odc.geobox.boundingbox) == pytest.approx(tuple(fine.odc.geobox.boundingbox))
    assert fine.attrs["xsr_model"] == "tiny"
    with Image.open(out / "side-by-side.png") as picture:
        picture.load()
        assert picture.size == (4 * 300 + 3 * 6, 300 + 18)
        assert len(picture.getcolors(1 << 20)) > 1000
    (out / "stray.txt").write_text("old")
    assert call("demo", "--out", out, "--model", model).exit_code == 0
    assert sorted(p.name for p in out.iterdir()) == [".xsr-demo", "input.zarr", "output.zarr", "side-by-side.png"]


def test_demo_leaves_foreign_folders_alone(model, tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(StoreError, match="is not a demo folder"):
        call("demo", "--out", tmp_path, "--model", model)
    assert (tmp_path / "letters.txt").read_text() == "dear"


@pytest.mark.parametrize("job", [["demo"], ["train", "tiny"]], ids=lambda job: job[0])
def test_a_manifest_that_is_not_there(tiny_recipe, tmp_path, job):
    with pytest.raises(ParameterError, match=r"gone\.toml cannot be read .*expected a manifest of scenes"):
        call(*job, "--scenes", tmp_path / "gone.toml", "--out", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.slow
def test_paths_with_brackets_are_printed_whole(cube, tmp_path):
    source = save(cube, tmp_path / "in.zarr")
    out = tmp_path / "[red]" / "out.zarr"
    assert f"wrote {out}:" in call("run", source, out, "--scale", 2, "--model", "bicubic").output


@pytest.mark.slow
def test_demo_on_the_real_series(manifest, model, tmp_path):
    output = call("demo", "--out", tmp_path / "demo", "--model", model, "--scenes", manifest.path).output
    assert "Sentinel-2 series 31UES" in output
    assert [f"x{scale}" in output for scale in ("2", "3.4", "4")] == [True] * 3
    fine = fine_of(tmp_path / "demo" / "output.zarr")["reflectance"]
    assert fine.shape == (4, 4, 210, 217)
    with Image.open(tmp_path / "demo" / "side-by-side.png") as picture:
        assert picture.size == (3 * 300 + 2 * 6, 318)


# --- train -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_train(tiny_recipe, tmp_path):
    path = tmp_path / "new.safetensors"
    result = call("train", "tiny", "--out", path, "--minutes", 0.005, "--synthetic-only", "--threads", 1)
    card = read_card(path)
    assert result.exit_code == 0
    assert f"wrote {path}" in result.output
    assert card.sha256 in result.output
    assert card.training["places"] == ["synthetic"]
    assert card.training["steps"] >= 1
    fine = xsr.liif(make_cube(8, 8), scale=2.0, model=path)
    assert np.isfinite(fine.values).all()


@pytest.mark.slow
def test_train_reports_its_gain(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "tiny", replace(TINY, steps=100))
    monkeypatch.chdir(tmp_path)
    output = call("train", "tiny", "--synthetic-only").output
    assert "step 100, 100%" in output
    assert read_card(tmp_path / "tiny.safetensors").training["steps"] == 100


@pytest.mark.slow
def test_train_scores_where_there_are_images(tiny_recipe, tmp_path, monkeypatch):
    scores = [Score("Somewhere", 2.0, 3, 30.0, 31.5, {"B02": 1.5})]
    monkeypatch.setattr("xsr.training.run.score_model", lambda path, scenes, say: scores)
    path, manifest = tmp_path / "new.safetensors", tmp_path / "scenes.toml"
    manifest.write_text('[[scene]]\nplace = "here"\npath = "here.tif"')
    given = ("--minutes", 0.001, "--synthetic-only", "--scenes", manifest)
    output = call("train", "tiny", "--out", path, *given).output
    assert "Somewhere" in output
    assert "+1.50" in output
    assert read_card(path).scores[0]["gain_db"] == 1.5


def test_train_needs_images_or_consent(tiny_recipe):
    with pytest.raises(ParameterError, match="no training images"):
        call("train", "tiny")


# --- real images -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_on_31ues(data_dir, tmp_path):
    source = data_dir / "s2_ts_belgium_31UES" / "s2_10m.nc"
    box = "574800,5622000,574960,5622120"
    call("run", source, tmp_path / "out.zarr", "--scale", 3.4, "--bbox", box)
    found = fine_of(tmp_path / "out.zarr")
    assert dict(found.sizes) == {"time": 72, "y": 40, "x": 54}
    assert found.odc.geobox.crs.epsg == 32631
    assert found.odc.geobox.affine.a == pytest.approx(10 / 3.4, rel=1e-12)
    assert found.odc.geobox.boundingbox.left == 574800
    with xr.open_dataset(source, mask_and_scale=False) as given:
        raw = given["B04"].sel(y=slice(5622120, 5622000), x=slice(574800, 574960))
        nothing = raw.values == 0
        mean = np.where(nothing, np.nan, raw.values * 1e-4)
    fine = found["B04"].values
    rows = np.floor((np.arange(40) + 0.5) / 3.4).astype(int)
    cols = np.floor((np.arange(54) + 0.5) / 3.4).astype(int)
    assert np.array_equal(np.isnan(fine), nothing[:, rows[:, None], cols])
    whole = ~nothing.any(axis=(1, 2))
    assert np.abs(np.nanmean(fine, axis=(1, 2)) - np.nanmean(mean, axis=(1, 2)))[whole].max() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "psf"), [("sensor", "sensor"), ("0.3", 0.3)])
def test_the_sharpness_of_a_result_is_chosen_by_a_word_or_a_number(cube, tmp_path, typed, psf):
    call(
        "run",
        save(cube, tmp_path / "in.zarr"),
        tmp_path / "out.zarr",
        "--scale",
        2,
        "--model",
        "liif_s2",
        "--psf",
        typed,
    )
    assert xr.open_zarr(tmp_path / "out.zarr")["reflectance"].attrs["xsr_psf"] == psf


@pytest.mark.slow
def test_quantiles_of_a_consistent_result_are_written(cube, tmp_path):
    source, out = save(cube, tmp_path / "in.zarr"), tmp_path / "out.zarr"
    call("run", source, out, "--scale", 2, "--model", "liif_s2", "--consistent", "--quantiles", "0.1,0.5,0.9")
    found = xr.open_zarr(out)["reflectance"]
    assert found["quantile"].values.tolist() == [0.1, 0.5, 0.9]
    assert found.attrs["xsr_consistent"]
    assert call("verify", out).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "given"),
    [
        (["--t", "2024-06-03", "--scale", 2, "--model", "temporal_liif_s2"], {"t": "2024-06-03", "scale": 2}),
        (["--like", "grid.zarr", "--model", "liif_s2"], {}),
        (["--t", "2024-06-03", "--like", "grid.zarr", "--model", "temporal_liif_s2"], {"t": "2024-06-03"}),
    ],
)
def test_quantiles_at_a_target_time_and_on_another_grid_are_those_of_the_verb(cube, tmp_path, typed, given):
    source, out = save(cube, tmp_path / "in.zarr"), tmp_path / "out.zarr"
    if "--like" in typed:
        grid = save(xsr.interpolate(cube, scale=2.5).isel(x=slice(3, 20)), tmp_path / "grid.zarr")
        typed, given = [str(grid) if one == "grid.zarr" else one for one in typed], {**given, "like": open_file(grid)}
    call("run", source, out, *typed, "--quantiles", "0.1,0.5,0.9")
    found, shares = fine_of(out)["reflectance"], (0.1, 0.5, 0.9)
    wanted = xsr.liif(cube, model=typed[-1], quantiles=shares, **given)
    assert found.dims == wanted.dims
    assert found["quantile"].values.tolist() == list(shares)
    np.testing.assert_allclose(found.values, wanted.values, atol=1e-5)
    np.testing.assert_array_equal(found["interval_calibrated"].values, wanted["interval_calibrated"].values)
    assert_same_grid(found, wanted)
    assert (found.values[0] < found.values[1]).all()
    assert call("verify", out).exit_code == 0


def test_quantiles_at_a_target_time_that_was_not_measured_are_refused(cube, tmp_path):
    source, typed = save(cube, tmp_path / "in.zarr"), ("--t", "2024-06-03", "--quantiles", "0.1,0.9")
    with pytest.raises(ModelError, match=r"quantiles with --t; .*measured date by date alone\. Leave one out"):
        call("run", source, tmp_path / "out.zarr", "--scale", 2, "--model", "liif_s2", *typed)
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_used_is_kept_for_a_repair(cube, model, tmp_path, precision):
    source = save(cube, tmp_path / "in.zarr")
    call("run", source, tmp_path / "out.zarr", "--scale", 2, "--model", model, "--precision", precision)
    attrs = xr.open_zarr(tmp_path / "out.zarr")["reflectance"].attrs
    assert attrs["xsr_precision"] == precision
    assert json.loads(attrs["xsr_command"])["precision"] == precision
    found = fine_of(tmp_path / "out.zarr")["reflectance"].values
    made = {p: xsr.liif(cube, scale=2, model=model, precision=p).values for p in ("float32", "bfloat16")}
    off = {p: np.abs(found - image).max() for p, image in made.items()}
    assert off.pop(precision) < 0.5 * min(off.values())


def check_geotiff(path, out, box, bands, names, factor, arguments):
    call("run", path, out, "--scale", 3.4, "--bbox", box, "--bands", bands, *arguments)
    found = fine_of(out)["reflectance"]
    assert found.band.values.tolist() == bands.split(",")
    left, bottom, right, top = map(float, box.split(","))
    with rasterio.open(path) as source:
        window = (
            rasterio.windows.from_bounds(left, bottom, right, top, source.transform).round_offsets().round_lengths()
        )
        raw = source.read([source.descriptions.index(n) + 1 for n in names], window=window).astype(float) * factor
        corner = source.window_transform(window)
        assert found.rio.crs == source.crs
    assert found.shape[1:] == tuple(int(n * 3.4 + 1e-6) for n in raw.shape[1:])
    affine = found.odc.geobox.affine
    assert (affine.c, affine.f) == pytest.approx((corner.c, corner.f), abs=1e-3)
    assert affine.a == pytest.approx(10 / 3.4)
    assert (raw > 0).all()
    assert np.isfinite(found.values).all()
    assert np.abs(found.values.mean(axis=(1, 2)) - raw.mean(axis=(1, 2))).max() < 5e-3


@pytest.mark.slow
def test_run_on_madagascar(data_dir, tmp_path):
    path = data_dir / "s2_theia_madagascar_38KPE" / "S2A_20170203_T38KPD_FRE_STACK.tif"
    box, bands = "677000,7893200,677500,7893600", "B2,B3,B4,B8"
    check_geotiff(path, tmp_path / "out.zarr", box, bands, bands.split(","), 1e-4, ["--units", "dn10000"])


@pytest.mark.slow
def test_run_on_aberystwyth(data_dir, tmp_path):
    path = data_dir / "s2_aberystwyth_10m" / "s2_20210527_aber.tif"
    with rasterio.open(path) as source:
        left, top = source.transform @ (500, 500)
    box, bands = f"{left},{top - 400},{left + 450},{top}", "B02,B03,B04,B08"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XsrWarning)  # Sentinel-2 does not lie on the British National Grid
        check_geotiff(path, tmp_path / "out.zarr", box, bands, bands.split(","), 1e-3, ["--units", "0.001"])


@pytest.mark.slow
def test_bbox_works_in_a_process_of_its_own(tmp_path):
    cube = make_cube(30, 30).rename("reflectance")
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    east, north = cube.x.values, cube.y.values
    box = f"{east[4] - 1},{north[20] - 1},{east[15] + 1},{north[6] + 1}"
    command = [sys.executable, "-m", "xsr.cli", "run", "a.zarr", "b.zarr", "--scale", "2", "--model", "bicubic"]
    done = subprocess.run([*command, "--bbox", box], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert xr.open_zarr(tmp_path / "b.zarr")["reflectance"].shape[-2:] == (30, 24)


def test_a_store_of_a_newer_version_is_not_repaired(monkeypatch):
    monkeypatch.setattr(
        "xsr.operations.verify.commands_of", lambda *_, **__: [{"command": "run", "source": "a", "later": 1}]
    )
    with pytest.raises(ParameterError, match=r"a\.zarr was made with \['later'\], unknown to xsr .* Update xsr"):
        CliRunner().invoke(cli.app, ["verify", "a.zarr", "--repair", "--yes"], catch_exceptions=False)


@pytest.fixture
def degrees(tmp_path):
    """File of a scene brought to degrees by nearest neighbour, and the cube itself."""
    scene = synthetic_cube(size=(40, 40))
    grid = scene.odc.geobox.to_crs("EPSG:4326", resolution=8e-5)
    low = xr_reproject(scene, grid, resampling="nearest")
    low.to_dataset(name="reflectance").to_netcdf(tmp_path / "in.nc")
    return str(tmp_path / "in.nc"), low


@pytest.mark.slow
def test_native_writes_what_the_function_returns(degrees, tmp_path):
    path, low = degrees
    args = ["native", path, str(tmp_path / "out.zarr")]
    result = CliRunner().invoke(cli.app, args, catch_exceptions=False)
    assert "zone EPSG:32631, 100.00% of the sample" in result.output
    with xr.open_zarr(tmp_path / "out.zarr") as found:
        np.testing.assert_array_equal(found.reflectance, xsr.native(low))


@pytest.mark.slow
def test_the_warning_of_a_grid_names_the_command(degrees, tmp_path):
    args = ["run", degrees[0], str(tmp_path / "out.zarr"), "--scale", "2"]
    with warnings.catch_warnings():
        warnings.simplefilter("default", XsrWarning)
        result = CliRunner().invoke(cli.app, args, catch_exceptions=False)
    assert "xsr native gives the sensor's pixels back" in " ".join(result.stderr.split())


@pytest.mark.slow
def test_sharpen_writes_what_the_function_returns(tmp_path):
    bands = ("B02", "B03", "B04", "B08", "B05", "B11")
    cube = synthetic_cube(size=(40, 40), bands=bands)
    xsr.to_zarr(cube, tmp_path / "in.zarr", progress=False)
    args = ["sharpen", str(tmp_path / "in.zarr"), str(tmp_path / "out.zarr"), "--precision", "float32"]
    done = CliRunner().invoke(cli.app, args)
    assert done.exit_code == 0, done.output
    with xr.open_zarr(tmp_path / "out.zarr") as found:
        np.testing.assert_allclose(found.reflectance, xsr.sharpen(cube, precision="float32"), rtol=0, atol=2e-6)
        assert found.attrs["xsr_input"] == "in.zarr" or found.reflectance.attrs["xsr_input"] == "in.zarr"
    few = CliRunner().invoke(cli.app, [*args[:2], str(tmp_path / "b.zarr"), "--bands", "B02,B03"])
    assert "none is larger than the grid's" in str(few.exception)


@pytest.mark.slow
def test_degrade_writes_what_the_function_returns(cube, tmp_path):
    xsr.to_zarr(cube, tmp_path / "in.zarr", progress=False)
    out = tmp_path / "out.zarr"
    args = ["degrade", str(tmp_path / "in.zarr"), str(out), "--scale", "2.5", "--noise", "sensor", "--seed", "3"]
    done = CliRunner().invoke(cli.app, args)
    assert done.exit_code == 0, done.output
    expected = xsr.degrade(cube, scale=2.5, noise="sensor", seed=3)
    found = open_file(str(out))
    data = found if isinstance(found, xr.DataArray) else found.to_dataarray("band")
    np.testing.assert_array_equal(data.transpose(*expected.dims).values, expected.values)
    assert_same_grid(data, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--noise", "loud"], "--noise 'loud'; expected"), (["--scale", "0.5"], "expected a finite number of at least 1")],
)
def test_degrade_refuses(cube, tmp_path, options, message):
    xsr.to_zarr(cube, tmp_path / "in.zarr", progress=False)
    args = ["degrade", str(tmp_path / "in.zarr"), str(tmp_path / "out.zarr"), "--scale", "2", *options]
    with pytest.raises(ParameterError, match=message):
        CliRunner().invoke(cli.app, args, catch_exceptions=False)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "degrade", "evaluate"])
def test_folders_on_the_way_to_the_output_are_made(command, cube, tmp_path):
    source = save(cube, tmp_path / "in.zarr")
    out = tmp_path / "a" / "b" / ("scores.json" if command == "evaluate" else "out.zarr")
    options = {
        "run": [source, out, "--scale", 2, "--model", "bicubic"],
        "degrade": [source, out, "--scale", 2],
        "evaluate": [source, source, "--out", out],
    }
    call(command, *options[command])
    assert out.exists()


@pytest.mark.parametrize("command", ["run", "degrade", "evaluate", "guided"])
def test_a_place_that_cannot_hold_the_output_is_told_before_anything_is_read(command, tmp_path):
    """The input does not exist either: the place to write is looked at first."""
    (tmp_path / "file").write_text("no folder")
    out = tmp_path / "file" / "out.json"
    inputs = ["in.zarr"] * (2 if command == "guided" else 1)
    last = {"evaluate": ["--out", out], "guided": [out]}.get(command, [out, "--scale", 2])
    with pytest.raises(ParameterError, match=r"out\.json; .*file is no folder that can be written to"):
        call(command, *inputs, *last)


def test_degrade_refuses_to_write_over_its_input(tmp_path):
    path = str(tmp_path / "a.zarr")
    with pytest.raises(ParameterError, match="OUT is IN"):
        CliRunner().invoke(cli.app, ["degrade", path, path, "--scale", "2"], catch_exceptions=False)


# --- resume and verify -------------------------------------------------------------------------------------


def chunk_of(path, *index):
    return path / "reflectance" / ".".join(map(str, index))


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def written(cube, tmp_path):
    """Arguments of a run, and the store it has written: four blocks a date."""
    source = save(cube.chunk(time=1), tmp_path / "in.zarr")
    arguments = ("run", source, tmp_path / "out.zarr", "--scale", 2, "--model", "bicubic", "--chunks", 20)
    call(*arguments)
    return arguments, tmp_path / "out.zarr"


@pytest.mark.slow
def test_run_goes_on_with_what_was_interrupted(written):
    arguments, out = written
    before = content(out)
    forget(out, (1, 6))
    result = call(*arguments, "--resume")
    assert "2 blocks were computed now, the others were there" in result.output
    assert content(out) == before
    assert f"{out} was complete, nothing to do" in call(*arguments, "--resume").output
    with pytest.raises(StoreError, match=r"command\.scale was 2\.0 and is 3\.0"):
        call(*arguments, "--scale", 3, "--resume")
    with pytest.raises(StoreError, match=r"provenance\.xsr_operation was 'interpolate:bicubic'"):
        call(*arguments, "--model", "nearest", "--resume")


@pytest.mark.slow
def test_verify_finds_and_repairs(written, tmp_path, monkeypatch):
    _, out = written
    before = content(out)
    assert "8 blocks, 0 bad, complete" in call("verify", out).output
    path = chunk_of(out, 1, 0, 1, 0)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    found = call("verify", out)
    assert found.exit_code == 1
    assert "bad reflectance[1, 0, 1, 0]: cannot be read" in found.output
    assert "8 blocks, 1 bad, complete" in found.output
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    repaired = call("verify", out, "--repair", "--yes")
    assert repaired.exit_code == 0
    assert "repaired reflectance[1, 0, 1, 0]" in repaired.output
    assert content(out) == before


@pytest.mark.slow
def test_verify_repairs_a_box_of_some_bands(cube, tmp_path):
    """Every argument that decides what a run makes is remembered."""
    source = save(cube, tmp_path / "in.nc")
    box = "600040,5699850,600130,5699950"
    target = ("--resolution", 5, "--bbox", box, "--bands", "B04,B02", "--units", "reflectance", "--dtype", "uint16")
    call("run", source, tmp_path / "out.zarr", "--model", "lanczos3", *target, "--zarr-format", 2)
    before = content(tmp_path / "out.zarr")
    (tmp_path / "out.zarr/B02/0.0.0").unlink()
    assert call("verify", tmp_path / "out.zarr", "--repair", "--yes").exit_code == 0
    assert content(tmp_path / "out.zarr") == before


@pytest.mark.slow
def test_dates_are_appended_and_repaired_by_the_commands_that_made_them(cube, tmp_path):
    model = ("--scale", 2, "--model", "bicubic", "--chunks", 20)
    out = tmp_path / "out.zarr"
    for date in range(2):
        source = save(cube[[date]].chunk(time=1), tmp_path / f"{date}.zarr")
        done = call("run", source, out, *model, "--dtype", "uint16", "--append-dim", "time", "--resume")
    assert "8 blocks" in done.output
    source = save((cube[[1]] / 2).chunk(time=1), tmp_path / "half.zarr")
    call("run", source, out, *model, "--region", "time=1:2")  # in the packing of the store
    np.testing.assert_allclose(
        xr.open_zarr(out)["reflectance"][1, 0, 4, 4], cube.sr.interpolate(scale=2)[1, 0, 4, 4] / 2, atol=6e-5
    )
    before = content(out)
    for date in range(2):
        chunk_of(out, date, 0, 1, 0).unlink()
    assert "8 blocks, 2 bad, complete" in call("verify", out).output
    repaired = call("verify", out, "--repair", "--yes")
    assert repaired.exit_code == 0
    assert [f"repaired reflectance[{date}, 0, 1, 0]" in repaired.output for date in range(2)] == [True, True]
    assert content(out) == before


@pytest.mark.slow
def test_a_store_in_a_group_is_begun_and_filled_part_by_part(cube, tmp_path):
    source, out = save(cube.chunk(time=1), tmp_path / "in.zarr"), tmp_path / "out.zarr"
    arguments = ("run", source, out, "--scale", 2, "--model", "nearest", "--chunks", 20, "--group", "tile/fine")
    assert "8 blocks to compute" in call(*arguments, "--no-compute").output
    assert "8 bad, not complete" in call("verify", out, "--group", "tile/fine").output
    call(*arguments, "--region", "auto")
    assert "8 blocks, 0 bad, complete" in call("verify", out, "--group", "tile/fine").output
    np.testing.assert_array_equal(
        xr.open_zarr(out, group="tile/fine")["reflectance"], cube.sr.interpolate(scale=2, method="nearest")
    )
    with pytest.raises(StoreError, match="is not a Zarr group"):
        call("verify", out, "--group", "tile/other")


@pytest.mark.parametrize("wrong", ["y", "y=", "y=0-5", "y=0:5:2", "y=a:b", "y=-5:5", "y=0:5,y=5:9", "", "all"])
def test_a_region_that_cannot_be_read_is_named(tmp_path, wrong):
    with pytest.raises(ParameterError, match=r"^--region "):
        call("run", tmp_path / "a.zarr", tmp_path / "b.zarr", "--scale", 2, "--region", wrong)


def test_append_and_region_exclude_each_other(cube, tmp_path):
    source = save(cube.chunk(time=1), tmp_path / "in.zarr")
    with pytest.raises(ParameterError, match=r"^--append-dim and --region exclude each other"):
        call(
            "run",
            source,
            tmp_path / "b.zarr",
            "--scale",
            2,
            "--model",
            "nearest",
            "--append-dim",
            "time",
            "--region",
            "auto",
        )


@pytest.mark.slow
def test_repair_from_an_input_that_changed_is_refused(written, cube, tmp_path):
    _, out = written
    chunk_of(out, 1, 0, 1, 0).unlink()
    xsr.to_zarr(cube.chunk(time=1) * 2, tmp_path / "in.zarr", overwrite=True, progress=False)
    with pytest.raises(StoreError, match=r"begun with other settings.*xsr_input_fingerprint"):
        call("verify", out, "--repair", "--yes")


@pytest.mark.slow
def test_a_store_made_in_python_says_not_how(cube, tmp_path):
    save(cube, tmp_path / "a.zarr")
    assert call("verify", tmp_path / "a.zarr").exit_code == 0
    with pytest.raises(ParameterError, match=r"does not say how it was made; --repair needs a store of xsr run"):
        call("verify", tmp_path / "a.zarr", "--repair", "--yes")


@pytest.mark.slow
def test_a_block_that_cannot_be_computed(written, tmp_path):
    """One chunk of the input is damaged: the others are super-resolved, and the exit code says so."""
    arguments, out = written
    whole = content(out)
    path = tmp_path / "in.zarr/reflectance/1.0.0.0"
    sound = path.read_bytes()
    path.write_bytes(sound[:-9])
    result = call(*arguments, "--overwrite")
    assert result.exit_code == 1
    incoming = tmp_path / "out.zarr.incoming"
    assert f"wrote {incoming}" in result.output
    assert "4 blocks could not be computed; --resume tries them again:" in result.output
    assert "reflectance[1, 0, 1, 1]: " in result.output
    checked = call("verify", incoming)
    assert checked.exit_code == 1
    assert "8 blocks, 4 bad, not complete: xsr run --resume, or xsr fetch, goes on with it" in checked.output
    with pytest.raises((ValueError, RuntimeError), match=r"(?i)checksum|truncated|decompress"):
        call(*arguments, "--resume", "--errors", "raise")
    path.write_bytes(sound)
    with pytest.raises(StoreError, match=r"in\.zarr/reflectance was changed"):
        call(*arguments, "--resume")
    assert call(*arguments, "--resume", "--input-id", "brought back").exit_code == 0
    assert [name for name, found in content(out).items() if "reflectance/" in name and found != whole[name]] == []
    assert call("verify", out).exit_code == 0
    assert not incoming.exists()


def write_shapefile(path, *, left, top, width, height):
    """Rectangle in another reference system than that of the images."""
    geopandas = pytest.importorskip("geopandas")
    area = box(WEST + left, NORTH - top - height, WEST + left + width, NORTH - top, "EPSG:32629")
    geopandas.GeoDataFrame(geometry=[area.geom], crs="EPSG:32629").to_crs("EPSG:3035").to_file(path)
    return path


@pytest.mark.slow
def test_from_a_catalog_to_scores(model, tmp_path):
    """Download by area and dates, super-resolve, judge: what the commands promise together."""
    aoi = write_shapefile(tmp_path / "aoi.shp", left=200, top=320, width=400, height=300)
    (tmp_path / "stac").mkdir()
    items = [make_item(tmp_path / "stac", day=day) for day in ("2024-06-15", "2024-06-20", "2024-07-20")]
    low, fine, scores = (tmp_path / name for name in ("low.zarr", "fine.zarr", "scores.json"))
    with serving(tmp_path / "stac", items) as server:
        asked = ["--stac", server.url, "--aoi", aoi, "--bands", "B02,B03,B04,B08", "--from", "2024-06-01"]
        first = call("fetch", low, *asked, "--to", "2024-06-15")
        assert "1 dates, 1 of them new" in first.output
        again = call("fetch", low, *asked, "--to", "2024-06-30")
        assert "2 dates, 1 of them new" in again.output
    cube = open_file(low).compute()
    assert cube.sizes["time"] == 2
    affine = cube.odc.geobox.affine
    row, col = round((NORTH - affine.f) / 10), round((affine.c - WEST) / 10)
    assert (row, col) in {(31, 19), (32, 19), (31, 20), (32, 20)}
    height, width = cube.sizes["y"], cube.sizes["x"]
    np.testing.assert_allclose(
        cube.sel(band="B08")[1], truth("B08", 10)[row : row + height, col : col + width], atol=1e-6
    )

    call("run", low, fine, "--scale", "2.5", "--model", model)
    call("evaluate", fine, "--low", low, "--out", scores, "--data-range", "0.5")
    opened = open_file(fine)
    assert opened.shape == (2, 4, int(height * 2.5), int(width * 2.5))
    assert opened.product_id.values.tolist() == [item["id"] for item in items[:2]]
    fidelity = [r for r in json.loads(scores.read_text())["scores"] if r["metric"] == "low_fidelity"]
    assert len(fidelity) == 8
    assert all(0 < row["value"] < 1 for row in fidelity)


# --- what the metadata do not say ------------------------------------------------------------------------------------


def write_geotiff(path, cube, *, names=(), crs="EPSG:32631"):
    grid = cube.odc.geobox
    values = (cube.isel(time=0).clip(1e-4).values * 1e4).round().astype(np.uint16)
    profile = dict(height=grid.shape[0], width=grid.shape[1], count=len(values), dtype="uint16")
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=grid.affine, **profile) as target:
        target.write(values)
        target.descriptions = tuple(names) or (None,) * len(values)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "given"),
    [
        ((), "B02,B03,B04,B08"),
        ((), "B02=1,B03=2,B04=3,B08=4"),
        (("nbart_a", "nbart_b", "nbart_c", "nbart_d"), "B08=nbart_d,B02=nbart_a,B04=nbart_c,B03=2"),
    ],
)
def test_bands_of_a_geotiff_are_named(cube, model, tmp_path, names, given):
    source = write_geotiff(tmp_path / "in.tif", cube, names=names)
    out = tmp_path / "out.zarr"
    call(
        "run", source, out, "--scale", 2, "--model", model, "--units", "dn10000", "--band-names", given, "--crs", 32631
    )
    found = fine_of(out)["reflectance"]
    assert found.band.values.tolist() == [one.partition("=")[0] for one in given.split(",")]
    wanted = xsr.liif(cube.isel(time=0).clip(1e-4), scale=2, model=model).sel(band=found.band.values)
    assert np.abs(found.values - wanted.values).max() < 3e-3  # digital numbers are rounded
    before = content(out)
    chunk_of(out, 0, 0, 0).unlink()
    assert call("verify", out, "--repair", "--yes").exit_code == 0
    assert content(out) == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("B02,B03", r"2 names \['B02', 'B03'\] given for 4 bands \['1', '2', '3', '4'\]"),
        ("B02=1,B03", r"--band-names 'B03'; expected a name and a value, such as B02=nbart_blue"),
        ("B02=1,B02=2", r"--band-names names 'B02' twice"),
        ("B02=9", r"bands \['9'\] requested; .*in\.tif has \['1', '2', '3', '4'\]"),
    ],
)
def test_names_that_do_not_fit_are_refused(cube, tmp_path, given, message):
    source = write_geotiff(tmp_path / "in.tif", cube)
    with pytest.raises((ParameterError, BandError), match=message):
        call("run", source, tmp_path / "out.zarr", "--scale", 2, "--band-names", given)


@pytest.mark.slow
def test_dims_are_named(cube, tmp_path):
    cube.rename(time="acquired").rename("r").to_netcdf(tmp_path / "in.nc", engine="h5netcdf")
    out = tmp_path / "out.zarr"
    call("run", tmp_path / "in.nc", out, "--scale", 2, "--model", "nearest", "--dim", "acquired=time")
    assert fine_of(out)["r"].sizes["time"] == 2
    assert "dates:        2: " in call("info", tmp_path / "in.nc", "--dim", "acquired=time").output
    with pytest.raises(CubeError, match=r"dimension 't' not found; the cube has \['acquired', 'band', 'y', 'x'\]"):
        call("info", tmp_path / "in.nc", "--dim", "t=time")
    with pytest.raises(ParameterError, match=r"--dim 'acquired'; expected a name and a value, such as t=time"):
        call("info", tmp_path / "in.nc", "--dim", "acquired")


@pytest.mark.slow
def test_a_result_gets_the_grid_of_another_file(cube, tmp_path):
    source = save(cube, tmp_path / "in.zarr")
    grid = save(xsr.interpolate(cube, scale=2.5).isel(x=slice(3, 20)), tmp_path / "grid.zarr")
    out = tmp_path / "out.zarr"
    call("run", source, out, "--like", grid, "--model", "bicubic", "--chunks", 20)
    found = fine_of(out)["reflectance"]
    wanted = xsr.interpolate(cube, like=open_file(grid))
    np.testing.assert_allclose(found.values, wanted.values, atol=1e-6)
    assert_same_grid(found, wanted)
    before = content(out)
    chunk_of(out, 0, 0, 1, 0).unlink()
    call("verify", out, "--repair", "--yes")
    assert content(out) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        (["--extrapolate", 3], {"extrapolate": 3.0}),
        (["--extrapolate", 3, "--temporal", "mean", "--frames", 1], {"temporal": "mean", "frames": 1}),
        (["--extrapolate", 3, "--window", 9], {"window": 9.0}),
    ],
)
def test_options_of_target_times_reach_the_operation(cube, tmp_path, given, arguments):
    source = save(cube, tmp_path / "in.zarr")
    day = str((cube.time.values[-1] + np.timedelta64(2, "D")).astype("datetime64[D]"))
    out = tmp_path / "out.zarr"
    call("run", source, out, "--scale", 2, "--t", day, "--model", "bilinear", *given)
    wanted = xsr.interpolate(cube, scale=2, t=day, method="bilinear", **{"extrapolate": 3.0, **arguments})
    np.testing.assert_allclose(fine_of(out)["reflectance"].values, wanted.values, atol=1e-6)
    before = content(out)
    chunk_of(out, 0, 0, 0, 0).unlink()
    call("verify", out, "--repair", "--yes")
    assert content(out) == before


@pytest.mark.slow
def test_gap_filling_is_an_option_of_the_network_in_time(cube, tmp_path):
    holes = xr.concat([cube, cube.assign_coords(time=cube.time + np.timedelta64(20, "D"))], "time").copy()
    holes[0, :, :8, :8] = np.nan
    source = save(holes, tmp_path / "in.zarr")
    day = str(holes.time.values[0].astype("datetime64[D]"))
    for name, option in (("filled", "--fill"), ("plain", "--no-fill")):
        call("run", source, tmp_path / f"{name}.zarr", "--scale", 2, "--t", day, option)
        wanted = xsr.liif(holes, scale=2, t=day, fill=option == "--fill")
        np.testing.assert_allclose(fine_of(tmp_path / f"{name}.zarr")["reflectance"].values, wanted.values, atol=1e-5)
    assert not np.array_equal(*(fine_of(tmp_path / f"{n}.zarr")["reflectance"].values for n in ("filled", "plain")))


@pytest.mark.slow
def test_products_are_run_directly(tmp_path):
    root = write_safe(tmp_path, bands=("B02", "B03", "B05"))
    for number, source in enumerate((root / "MTD_MSIL2A.xml", zipped(root))):
        out = tmp_path / f"{number}.zarr"
        call("run", source, out, "--scale", 2, "--model", "nearest", "--bands", "B03,B02", "--open", "mask=true")
        found = fine_of(out)["reflectance"]
        assert found.band.values.tolist() == ["B03", "B02"]
        wanted = xsr.open_safe(root, bands=["B03", "B02"], mask=True)
        np.testing.assert_array_equal(found[:, :, ::2, ::2], wanted)
    with pytest.raises(ParameterError, match=r"--open resolution=15; expected one of"):
        call("info", root, "--open", "resolution=15")
    with pytest.raises(ParameterError, match=r"option masks is not known for a Sentinel-2 SAFE; its options are"):
        call("info", root, "--open", "masks=true")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("bicubci", "bicubic"),
        ("liif_s3", "liif_s2"),
        ("lanczos", "lanczos3"),
        ("carn_3x3x64g4sw_s3", "carn_3x3x64g4sw"),
    ],
)
def test_a_name_that_is_nearly_right_is_suggested_whatever_it_is(cube, tmp_path, name, meant):
    source = save(cube, tmp_path / "in.zarr")
    with pytest.raises(ModelError, match=rf"model '{name}' not found; did you mean .*{meant}"):
        call("run", source, tmp_path / "out.zarr", "--scale", 2, "--model", name)


@pytest.mark.slow
def test_a_store_of_an_earlier_version_is_repaired(written):
    """Its command knows no options that came since."""
    _, out = written
    before = content(out)
    root = json.loads((out / ".zattrs").read_text())
    attrs = json.loads(xr.open_zarr(out)["reflectance"].attrs["xsr_command"])
    assert set(attrs) == {
        *("command", "source", "t", "model", "weights", "bbox", "device", "precision", "scale", "resolution"),
        *("bands", "units", "chunks"),
    }
    chunk_of(out, 0, 0, 0, 0).unlink()
    assert call("verify", out, "--repair", "--yes").exit_code == 0
    assert content(out) == before
    assert json.loads((out / ".zattrs").read_text()) == root


@pytest.mark.slow
def test_text_of_files_reaches_the_terminal_as_text(cube, tmp_path):
    hostile = "B02\x1b[31m[red]x"
    named = cube.assign_coords(band=[hostile, "B03", "B04", "B08"]).assign_coords(
        product_id=("time", ["a\x1b[2J", "b"])
    )
    named.rename("r").to_netcdf(tmp_path / "[bold]in.nc", engine="h5netcdf")
    output = call("info", tmp_path / "[bold]in.nc").output
    assert r"B02\x1b[31m[red]x, B03" in output
    assert r"a\x1b[2J" in output
    assert "\x1b" not in output
    done = command("run", tmp_path / "[bold]in.nc", tmp_path / "out.zarr", "--scale", "2")
    assert done.returncode == 1
    assert r"\x1b[31m[red]x" in done.stderr
    assert "\x1b" not in done.stderr
    out = tmp_path / "[bold]out.zarr"
    assert f"wrote {out}" in call("run", tmp_path / "[bold]in.nc", out, "--scale", 2, "--model", "nearest").output
    scored = call("evaluate", tmp_path / "[bold]in.nc", tmp_path / "[bold]in.nc").output
    assert r"\x1b[31m[red]x" in scored
    assert "\x1b" not in scored


def test_models_list_shows_whole_names_in_a_narrow_terminal(monkeypatch):
    monkeypatch.setattr(cli.console, "_width", 80)
    output = call("models", "list").output
    for name in (*registry.names(), *catalogue.listed()):
        assert name in output
    assert max(map(len, output.splitlines())) <= 80


def test_info_tells_products_and_models(model, cube, tmp_path):
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    told = call("info", tmp_path / "a.zarr").output.splitlines()
    assert told[0] == "type:         Zarr store"
    assert "bands:        B02, B03, B04, B08" in told
    for name in ("liif_s2", model):
        told = call("info", name).output.splitlines()
        assert told[0] == "type:         model"
        assert any(line.startswith("licence:") for line in told)
    assert call("info", next(iter(catalogue.listed()))).output.startswith("type:         architecture (")
    with pytest.raises(CubeError, match=r"nowhere not found; expected a product"):
        call("info", "nowhere")


def test_a_report_is_written_by_the_command(tmp_path):
    low = synthetic_cube(size=(12, 16))
    fine = low.sr.interpolate(scale=2)
    names = {name: tmp_path / f"{name}.nc" for name in ("low", "fine")}
    low.to_netcdf(names["low"])
    fine.to_netcdf(names["fine"])
    out = tmp_path / "new" / "report.html"
    common = ["--low", names["low"], "--reference", names["fine"], "--title", "<fine>", "--border", 2]
    assert call("report", names["fine"], *common, "-o", out).output == f"wrote {out}\n"
    text = out.read_text(encoding="utf-8")
    assert "<h1>&lt;fine&gt;</h1>" in text
    assert "interpolate:bicubic" in text
    with pytest.raises(ParameterError, match=r"--out .*report\.pdf; expected a name that ends with \.html"):
        call("report", names["fine"], "-o", tmp_path / "report.pdf")
