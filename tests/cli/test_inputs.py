"""What the user says about inputs reaches the reader of each, also where a command has several."""

import json

import pytest
from typer.testing import CliRunner

import xsr
from xsr import cli
from xsr.cli.inputs import Reading
from xsr.core.errors import ParameterError
from xsr.sources import registry
from xsr.testing import synthetic_cube


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """A source whose reader takes an option, and that states no CRS."""
    monkeypatch.setattr(registry, "_SOURCES", dict(registry._SOURCES))
    xsr.register_source(xsr.Source("note", recognises=lambda path: path.endswith(".note"), open=open_note))


def open_note(path, *, offset=0.0):
    cube = synthetic_cube(size=(32, 32)).drop_vars("spatial_ref") + offset
    cube.attrs = {"units": "1"}
    return cube


def call(*arguments):
    return CliRunner().invoke(cli.app, [str(one) for one in arguments], catch_exceptions=False)


@pytest.fixture
def paths(tmp_path):
    synthetic_cube(size=(32, 32)).to_dataset(name="reflectance").to_netcdf(tmp_path / "a.nc")
    (tmp_path / "b.note").write_text("")
    return tmp_path / "a.nc", tmp_path / "b.note"


def test_evaluate_gives_each_input_the_options_that_its_reader_takes(paths, tmp_path):
    out = tmp_path / "scores.json"
    done = call("evaluate", *paths, "--open", "offset=0.01", "--crs", "EPSG:32631", "--out", out)
    assert done.exit_code == 0
    scores = json.loads(out.read_text())["scores"]
    assert "psnr" in json.dumps(scores)
    cubes = Reading(reader=["offset=0.01"], crs="EPSG:32631", shared=True).open_each([*map(str, paths), None])
    assert cubes[2] is None
    assert float(cubes[1].mean() - cubes[0].mean()) == pytest.approx(0.01, abs=1e-6)
    assert cubes[1].odc.crs.epsg == cubes[0].odc.crs.epsg == 32631


def test_an_option_that_no_input_takes_is_refused(paths):
    with pytest.raises(ParameterError, match=r"--open mask; no input has such an option. Leave it out."):
        call("evaluate", *paths, "--open", "mask=true")


def test_guided_opens_target_and_guide_each_in_its_own_way(paths, tmp_path, monkeypatch):
    found = {}

    def guided(target, guide, **options):
        found.update(target=target, guide=guide, **options)
        return target

    monkeypatch.setattr("xsr.operations.guided.guided", guided)
    monkeypatch.setattr("xsr.cli.run.write", lambda fine, out, **how: None)
    target = ["--band-names", "a,b,c,d"]
    guide = ["--guide-open", "offset=0.5", "--guide-bands", "B04,B08"]
    assert call("guided", *paths, tmp_path / "out.zarr", *target, *guide).exit_code == 0
    assert found["target"].band.values.tolist() == ["a", "b", "c", "d"]
    assert float(found["guide"].mean() - found["target"].mean()) == pytest.approx(0.5, abs=1e-6)
    assert found["guide_bands"] == ["B04", "B08"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--guide-open", "mask"], "--guide-open 'mask'; expected a name and a value"),
        (["--guide-dim", "t"], "--guide-dim 't'; expected a name and a value"),
        (["--guide-band-names", "B02=1,B03"], "--guide-band-names 'B03'; expected a name and a value"),
    ],
)
def test_what_cannot_be_read_of_the_guide_is_named_by_its_option(paths, tmp_path, options, message):
    target, guide = paths
    with pytest.raises(ParameterError, match=message):
        call("guided", target, guide, tmp_path / "out.zarr", *options)


def test_a_message_of_the_reader_of_the_guide_names_its_option(paths, tmp_path):
    target, guide = paths
    with pytest.raises(ParameterError, match=r"--guide-crs EPSG:32633, but .* states EPSG:32631"):
        call("guided", guide, target, tmp_path / "out.zarr", "--guide-crs", "EPSG:32633")
