import ast
import re
from functools import cache
from pathlib import Path

import pytest
import typer

from xsr.cli import app
from xsr.cli.base import words_of
from xsr.cli.words import ARGUMENT, CODE, Words

COMMANDS = typer.main.get_command(app).commands
PACKAGE = Path(__file__).parents[2] / "xsr"


def reword(message, command="run", *, opened=None):
    return words_of(COMMANDS[command], opened=opened).reword(message)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("a exists. Choose another, or pass overwrite=True.", "a exists. Choose another, or pass --overwrite."),
        ("x; go on with resume=True (xsr run --resume).", "x; go on with --resume."),
        ("Full. Free space, or pass force=True (--force) to begin.", "Full. Free space, or pass --force to begin."),
        ("Too big. Use smaller chunks= (--chunks).", "Too big. Use smaller --chunks."),
        (
            "t=2030-01-01 lies outside. Say how far: extrapolate=5.",
            "--t 2030-01-01 lies outside. Say how far: --extrapolate 5.",
        ),
        (
            "expected exactly one of scale=, resolution= or like=.",
            "expected exactly one of --scale, --resolution or --like.",
        ),
        ("bands=['B02', 'B02'] names a band twice.", "--bands B02,B02 names a band twice."),
        ("Missing. Pass bands={'B02': 'nbart_blue', 'B03': 2}.", "Missing. Pass --band-names B02=nbart_blue,B03=2."),
        ("Unknown. Name the bands: .assign_coords(band=[...]).", "Unknown. Name the bands: --band-names B02,B03,...."),
        ("dims ['t']. Rename it: .rename(t='time').", "dims ['t']. Rename it: --dim t=time."),
        ("no CRS. Assign one with .odc.assign_crs(...).", "no CRS. Assign one with --crs."),
        ("Slow gaps. Pass fill=False.", "Slow gaps. Pass --no-fill."),
        ("Units? Pass units='dn10000-1000' for these.", "Units? Pass --units dn10000-1000 for these."),
        ("dtype='int8'; expected 'float32'.", "--dtype int8; expected 'float32'."),
    ],
)
def test_arguments_become_options(message, expected):
    assert reword(message) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("The cube descends. Use .sortby('x').", "The cube descends."),
        ("Chunks differ; expected equal ones. Rechunk: .chunk({'x': 4}).", "Chunks differ; expected equal ones."),
        ("No date. Select it with .isel(time=0), or add a coordinate 'time'.", "No date. Add a coordinate 'time'."),
        ("m is continuous; use liif(model='m', scale=...).", "m is continuous."),
        ("No MTF. Pass source_mtf=..., or by band.", "No MTF."),
        ("No MTF. Pass mtf=..., or by band.", "No MTF. Pass --mtf, or by band."),
    ],
)
def test_advice_that_is_code_is_left_out(message, expected):
    assert reword(message) == expected


def test_arguments_of_readers_become_open_options_while_an_input_is_opened():
    message = "x contradicts. Pass offset=0 if it is applied, or errors='drop' with resolution=20."
    expected = "x contradicts. Pass --open offset=0 if it is applied, or --open errors=drop with --open resolution=20."
    assert reword(message, opened="") == expected
    assert reword("mask=True, but there are no classes. Pass mask=False.", opened="").endswith("--open mask=false.")
    assert reword("Lies in two. Pass crs=.", opened="") == "Lies in two. Pass --crs."
    assert reword("Pass errors='raise'.") == "Pass --errors raise."
    assert reword("errors='drop' failed. Pass errors='raise'.", "fetch") == "--errors drop failed. Pass --errors raise."


@pytest.mark.parametrize(
    "text",
    [
        "https://host/a.tif?sig=abc&units=1 cannot be read.",
        "XSR_DATA=/tmp/gone is not a folder.",
        "/data/scale=2/a.tif not found.",
        "No Python here; nothing to do.",
    ],
)
def test_what_only_looks_like_an_argument_stays(text):
    assert reword(text) == text


def test_what_was_given_is_never_left_out():
    assert reword("kind='box'; expected gaussian, a function of xsr.kernels.psf.") == "kind 'box'; expected gaussian."
    assert Words({}).reword("low= is in EPSG:4326; expected one CRS.") == "low is in EPSG:4326; expected one CRS."


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Lies in two. Pass crs=.", "Lies in two. Pass --guide-crs."),
        ("x. Pass mask=False.", "x. Pass --guide-open mask=false."),
        ("dims ['t']. Rename it: .rename(t='time').", "dims ['t']. Rename it: --guide-dim t=time."),
        ("Missing. Pass bands={'B02': 'nbart_blue'}.", "Missing. Pass --guide-band-names B02=nbart_blue."),
        ("bands ['B11'] are missing. Leave out bands=.", "bands ['B11'] are missing. Leave out --guide-bands."),
    ],
)
def test_what_a_reader_says_of_the_guide_names_the_options_of_the_guide(message, expected):
    assert reword(message, "guided", opened="guide_") == expected


@pytest.mark.slow
def test_rewording_twice_changes_nothing_more():
    for message in messages():
        once = reword(message, opened="")
        assert reword(once, opened="") == once


@cache
def messages():
    """Texts of all errors of the library that name an argument or a method; what they are filled with is ``X``."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] in ("testing", "training", "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
                continue
            first = node.exc.args[0]
            parts = first.values if isinstance(first, ast.JoinedStr) else [first]
            text = "".join(str(one.value) if isinstance(one, ast.Constant) else "X" for one in parts)
            if getattr(node.exc.func, "id", "") != "AttributeError" and re.search(r"\w=|\.\w+\(|xsr\.\w", text):
                found.append(text)
    return found


@pytest.mark.parametrize("command", ["run", "degrade", "guided", "evaluate", "info"])
@pytest.mark.parametrize("opened", [None, ""])
def test_no_message_of_the_library_reaches_the_command_as_python(command, opened):
    texts = messages()
    assert len(texts) > 100
    for text in texts:
        said = reword(text, command, opened=opened)
        assert said.startswith(("--", text.split()[0].partition("=")[0])), (text, said)
        assert not CODE.search(re.sub(r"xsr\.(kernels\.psf|models\.register)", "", said)), (text, said)
        assert not ARGUMENT.search(re.sub(r"--open \w+=\S+|X=X", "", said)), (text, said)


@pytest.mark.parametrize("command", ["run", "degrade", "guided", "evaluate"])
def test_every_option_that_a_message_names_exists(command):
    known = {one for parameter in COMMANDS[command].params for one in (*parameter.opts, *parameter.secondary_opts)}
    for text in messages():
        named = set(re.findall(r"--[a-z][\w-]*", reword(text, command)))
        stated = set(re.findall(r"--[a-z][\w-]*", text))  # a message may name an option of another command
        assert named - stated <= known, text
