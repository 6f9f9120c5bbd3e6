import json
from types import SimpleNamespace

import pytest
from fuzzing import damaged_json, examples, refused_or
from hypothesis import given
from models.helpers import make_cube
from typer.testing import CliRunner

import xsr
from xsr import cli
from xsr.cli import options
from xsr.cli.build import Request
from xsr.core.errors import ParameterError

GOOD = {"command": "run", "source": "in.zarr", "t": None, "model": "bicubic", "scale": 2, "device": "auto"}


def test_what_a_run_notes_is_read_again():
    request = Request(source="in.zarr", model="bicubic", scale=2.0, bbox=[0.0, 1.0, 2.0, 3.0], bands=["B02"])
    remembered = json.loads(json.dumps({"command": "run", **request.remembered()}))
    assert Request.recall(remembered, "out.zarr") == request


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"source": 5}, "was made with source 5, as it says; expected what xsr run takes"),
        ({"source": None}, "made with source None"),
        ({"scale": "2"}, "made with scale '2'"),
        ({"scale": True}, "made with scale True"),
        ({"chunks": 2.5}, r"made with chunks 2\.5"),
        ({"bands": "B02"}, "made with bands 'B02'"),
        ({"bands": [1]}, r"made with bands \[1\]"),
        ({"bands": {"a": 1}}, "made with bands {'a': 1}"),
        ({"fill": 1}, "made with fill 1"),
        ({"bbox": [1, 2, 3]}, r"made with bbox \[1, 2, 3\]"),
        ({"bbox": 5}, "made with bbox 5"),
        ({"evil": 1}, r"was made with \['evil'\], unknown to xsr .*Update xsr"),
        ({f"evil{n}": n for n in range(1000)}, r"was made with \['evil0', 'evil1', 'evil10', 'evil100', \.\.\.\]"),
        ({"device": "disk"}, "device='disk'; expected auto"),
        ({"command": "rm"}, "does not say how it was made"),
    ],
)
def test_other_things_that_a_store_may_say_are_one_error(change, expected):
    with pytest.raises(ParameterError, match=expected):
        Request.recall({**GOOD, **change}, "a.zarr")


@pytest.mark.parametrize(
    ("text", "value"), [("0.25", 0.25), ("1e-3", 1e-3), ("red=0.25,nir = 0.2", {"red": 0.25, "nir": 0.2})]
)
def test_a_number_for_all_bands_or_by_band(text, value):
    assert options.by_band("--mtf", text) == value


@pytest.mark.parametrize("text", ["", "high", "red=", "=0.2", "red=0.2,0.3", "red=0.2,red=0.3", "0.2,0.3"])
def test_a_number_by_band_that_cannot_be_read(text):
    with pytest.raises(ParameterError, match=r"--mtf .*; expected a number, or one for each band: red"):
        Request(source="in.zarr", model="liif_s2", scale=2.0, mtf=text).check()


@pytest.mark.parametrize("model", ["bicubic", "carn_3x3x64g4sw_s2"])
def test_models_without_an_mtf_refuse_one(model):
    with pytest.raises(ParameterError, match="--mtf, --noise given"):
        Request(source="in.zarr", model=model, mtf="0.3", noise="0").build()


@pytest.mark.parametrize("remembered", [None, [], ["run"], "run", 5, {}])
def test_a_store_that_does_not_say_how_it_was_made(remembered):
    with pytest.raises(
        ParameterError, match=r"a\.zarr does not say how it was made; --repair needs a store of xsr run"
    ):
        Request.recall(remembered, "a.zarr")


REMEMBERED = {
    **GOOD,
    "bands": ["B02"],
    "bbox": [0, 1, 2, 3],
    "chunks": 20,
    "fill": True,
    "like": "a.tif",
    "reader": ["a=b"],
}


@pytest.mark.chaos
@examples(100)
@given(remembered=damaged_json(REMEMBERED))
def test_damaged_settings_are_read_or_refused(remembered):
    request = refused_or(lambda: Request.recall(remembered, "a.zarr"))
    assert request is None or all(isinstance(text, str) for text in request.opens().values())


def test_what_is_opened_is_named_without_passwords():
    remembered = {
        **GOOD,
        "source": "https://me:hunter2@example.com/a.zarr?sig=abcdefgh",
        "like": "like.tif",
        "reader": ["mask=true", "token=abcdefgh"],
    }
    opened = Request.recall(remembered, "a.zarr").opens()
    assert opened["source"] == "https://example.com/a.zarr"
    assert (opened["like"], opened["model"]) == ("like.tif", "bicubic")
    assert opened["options"].startswith("mask=true")
    assert not any(secret in str(opened) for secret in ("hunter2", "abcdefgh"))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A damaged store of ``xsr run``, in the folder that the test runs in."""
    monkeypatch.chdir(tmp_path)
    xsr.to_zarr(make_cube(20, 20), "in.zarr", progress=False)
    assert repair("run", "in.zarr", "out.zarr", "--scale", "2", "--model", "bicubic", "--chunks", "20").exit_code == 0
    block = max(path for path in (tmp_path / "out.zarr/reflectance").glob("[0-9]*"))
    block.write_bytes(block.read_bytes()[:-1])
    return tmp_path / "out.zarr"


def repair(*arguments, **options):
    return CliRunner().invoke(cli.app, arguments or ("verify", "out.zarr", "--repair"), **options)


@pytest.mark.slow
def test_without_a_terminal_nothing_that_a_store_names_is_opened(store):
    refused = repair()
    assert isinstance(refused.exception, ParameterError)
    assert "out.zarr names what --repair would open: source '" in str(refused.exception)
    assert "in.zarr', model 'bicubic'; without a terminal to ask at, expected --yes." in str(refused.exception)
    assert repair("verify", "out.zarr").exit_code == 1
    assert repair("verify", "out.zarr", "--repair", "--yes").exit_code == 0
    assert repair("verify", "out.zarr").exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "code"), [("n\n", 1), ("\n", 1), ("y\n", 0)])
def test_at_a_terminal_it_is_a_question(store, monkeypatch, typed, code):
    monkeypatch.setattr("xsr.cli.run.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    done = repair(input=typed)
    assert "To repair out.zarr, xsr opens what the store names:" in done.output
    assert "source:" in done.output
    assert "in.zarr" in done.output
    assert done.exit_code == code
    assert ("repaired reflectance" in done.output) == (code == 0)
