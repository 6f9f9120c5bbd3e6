import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from products import write_safe
from typer.testing import CliRunner

import xsr
from xsr import cli
from xsr.core.errors import CubeError, ParameterError
from xsr.sources import registry
from xsr.testing import synthetic_cube


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_SOURCES", dict(registry._SOURCES))


def is_note(path):
    return path.endswith(".note")


def open_note(path, *, size=16, bands=None):
    """Cube that a note describes: the seed of a scene."""
    cube = synthetic_cube(seed=int(Path(path).read_text()), size=(size, size), chunks={"y": 8})
    return cube if bands is None else cube.sel(band=list(bands))


@pytest.fixture
def note(tmp_path):
    path = tmp_path / "a.note"
    path.write_text("3")
    return path


def add(name="note", recognises=is_note, open=open_note, **how):
    xsr.register_source(xsr.Source(name, recognises=recognises, open=open, **how))


def test_what_an_added_source_recognises_is_opened_by_it_with_its_options(note):
    add()
    expected = synthetic_cube(seed=3, size=(24, 24))
    xr.testing.assert_identical(xsr.open(note, size=24).compute(), expected)
    xr.testing.assert_identical(xsr.open(f"file://{note}", size=24).compute(), expected)


def test_without_the_source_the_file_is_unknown_and_with_another_it_is_named(note):
    with pytest.raises(CubeError, match="of an unknown kind, beginning with '3'"):
        xsr.open(note)
    add("tape", recognises=lambda path: path.endswith(".tape"))
    with pytest.raises(CubeError, match="or a folder of band files, tape"):
        xsr.open(note)


def test_an_option_that_the_reader_does_not_take_is_refused_with_those_it_does(note):
    add()
    with pytest.raises(ParameterError, match="option mask is not known for a note; its options are: size, bands"):
        xsr.open(note, mask=True)


def test_a_reader_that_takes_any_option_gets_them_all(note):
    add(open=lambda path, **options: open_note(path, **options))
    assert xsr.open(note, size=12).sizes["x"] == 12


@pytest.mark.parametrize("reader", [None, 3, "package.module.function", "a:b:c"])
def test_a_reader_is_a_function_or_the_name_of_one(reader):
    with pytest.raises(ParameterError, match=r"source 'note' has open=.*; expected a function of the path"):
        add(open=reader)


def test_addresses_of_other_schemes_reach_the_source():
    add(recognises=lambda path: path.startswith("notes://"), open=lambda path: synthetic_cube(size=(8, 8)))
    assert xsr.open("notes://host/7").sizes["x"] == 8


def test_products_are_given_together_where_the_source_says_so(note, tmp_path):
    def open_all(paths):
        return xr.concat([open_note(path) for path in paths], "time", join="override")

    add(open=open_all)
    with pytest.raises(CubeError, match="2 paths of note given; expected products of one kind"):
        xsr.open([note, note])
    xsr.register_source(xsr.Source("note", recognises=is_note, open=open_all, product=True), overwrite=True)
    assert xsr.open([note, note]).sizes["time"] == 2


@pytest.mark.parametrize("name", ["GeoTIFF", "Sentinel-2 SAFE", "xarray object"])
def test_names_of_sources_that_xsr_brings_along_are_taken(name):
    with pytest.raises(ParameterError, match=f"source '{name}' is registered already; expected a new name"):
        xsr.register_source(xsr.Source(name, recognises=is_note, open=open_note), overwrite=True)


def test_a_name_that_is_taken_is_refused_unless_it_shall_be_replaced(note):
    add()
    add()  # the same again
    sharper = xsr.Source("note", recognises=is_note, open=lambda path: open_note(path, size=8))
    with pytest.raises(ParameterError, match="source 'note' is registered already; expected a new name"):
        xsr.register_source(sharper)
    xsr.register_source(sharper, overwrite=True)
    assert xsr.open(note).sizes["x"] == 8


def test_a_source_says_how_it_is_recognised():
    with pytest.raises(ParameterError, match="source 'note' has no recognises=; expected a function of the path"):
        xsr.register_source(xsr.Source("note", open=open_note))


def test_a_source_that_recognises_a_product_of_xsr_is_refused(tmp_path):
    product = write_safe(tmp_path)
    add(recognises=lambda path: True)
    with pytest.raises(
        CubeError, match=r"source 'note' recognises .*, a product \(Sentinel-2 SAFE\) that xsr opens itself"
    ):
        xsr.open(product)


def test_a_plain_file_that_xsr_reads_goes_to_the_source_that_recognises_it(tmp_path):
    path = tmp_path / "a.nc"
    synthetic_cube(size=(8, 8)).to_dataset(name="r").to_netcdf(path)
    assert xsr.open(path).sizes["x"] == 8
    add(recognises=lambda path: path.endswith("a.nc"), open=lambda path: synthetic_cube(size=(4, 4)))
    assert xsr.open(path).sizes["x"] == 4


def test_a_path_that_two_sources_recognise_is_refused(note):
    add()
    add("other")
    with pytest.raises(CubeError, match="is recognised by the sources 'note', 'other'; expected one"):
        xsr.open(note)


def test_a_source_that_fails_to_say_is_named(note):
    add(recognises=lambda path: path.nothing)
    with pytest.raises(CubeError, match=r"source 'note' failed on .*: AttributeError: .*; expected True or False"):
        xsr.open(note)


@pytest.mark.parametrize("returned", [None, np.zeros((2, 2)), [synthetic_cube(size=(4, 4))]])
def test_a_source_that_returns_no_cube_is_refused(note, returned):
    add(open=lambda path: returned)
    kind = type(returned).__name__
    with pytest.raises(CubeError, match=f"source 'note' returned a {kind} for .*; expected a DataArray or Dataset"):
        xsr.open(note)


def test_every_reader_that_xsr_brings_along_is_found_and_takes_what_its_record_says():
    for source in registry.BUILT_IN:
        assert callable(source.reader), source.name
        assert not source.by_band or "bands" in source.options, source.name


def test_the_command_opens_an_added_source_and_passes_its_options_and_bands(note, tmp_path):
    add(by_band=True)
    out = tmp_path / "out.zarr"
    given = ["--scale", "2", "--model", "bilinear", "--bands", "B04", "--open", "size=12"]
    done = CliRunner().invoke(cli.app, ["run", str(note), str(out), *given], catch_exceptions=False)
    assert done.exit_code == 0
    result = xr.open_zarr(out)["reflectance"]
    assert (result.sizes["x"], result.band.values.tolist()) == (24, ["B04"])
    described = CliRunner().invoke(cli.app, ["info", str(note)], catch_exceptions=False)
    assert "type:         note" in described.output


@pytest.mark.slow
def test_the_command_finds_the_source_of_an_installed_package(note, tmp_path):
    """A package as pip lays it out: a module, and metadata that name it by an entry point."""
    site = tmp_path / "site"
    (site / "notes-1.0.dist-info").mkdir(parents=True)
    (site / "notes-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: notes\nVersion: 1.0\n")
    (site / "notes-1.0.dist-info" / "entry_points.txt").write_text("[xsr.extensions]\nnotes = notes\n")
    (site / "notes.py").write_text(
        textwrap.dedent(
            """
            import xsr
            from xsr.testing import synthetic_cube

            xsr.register_source(
                xsr.Source(
                    "note of the package",
                    recognises=lambda path: path.endswith(".note"),
                    open=lambda path: synthetic_cube(size=(8, 8)),
                )
            )
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "xsr.cli", "info", str(note)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "type:         note of the package" in done.stdout
