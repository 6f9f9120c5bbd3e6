"""The accessor hands out the functions themselves: same signature, docstring and types, bound to a cube."""

import inspect
import json
import os
import pickle
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from models.helpers import make_cube, write_model

import xsr
from xsr.accessor import CubeVerb, Plots, SuperResolution, Verb
from xsr.core.errors import ParameterError
from xsr.core.types import XarrayObject
from xsr.testing import assert_same_grid

ROOT = Path(__file__).resolve().parents[1]
PREAMBLE = (
    "import xarray as xr",
    "import xsr",
    "from xsr.accessor import SuperResolution",
    "array, dataset = xr.DataArray(), xr.Dataset()",
)
LINES = {
    "SuperResolution(array).liif(scal=2.0)": 'error: Unexpected keyword argument "scal"',
    "SuperResolution(array).liif(scale='2')": "error: Argument",
    "SuperResolution(array).guided(scale=2)": "error: Too few arguments",
    "SuperResolution(array).lif(scale=2)": "error:",
    "xsr.lif(array, scale=2)": 'error: Module has no attribute "lif"',
    "reveal_type(SuperResolution(array).liif(scale=2.0))": 'note: Revealed type is "xarray.core.dataarray.DataArray"',
    "reveal_type(SuperResolution(dataset).liif(scale=2.0))": 'note: Revealed type is "xarray.core.dataset.Dataset"',
    "reveal_type(SuperResolution(array).evaluate(array))": 'note: Revealed type is "xarray.core.dataset.Dataset"',
    "reveal_type(SuperResolution(array).to_zarr('a'))": 'note: Revealed type is "xsr.operations.store.StoreReport"',
    "reveal_type(xsr.models.names())": "note: Revealed type is",
    "SuperResolution(array).degrade(scale=2, noise='sensor')": None,
}

METHODS = tuple(name for name, value in vars(SuperResolution).items() if isinstance(value, Verb))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def test_methods_are_the_functions_of_the_package():
    judging = {"brisque", "calibration", "evaluate", "opensr", "spectrum", "strata", "support"}
    assert set(METHODS) >= {"degrade", "interpolate", "liif", "sample", "semi_simulate", "to_zarr", "wald", *judging}
    cube = make_cube(4, 4)
    for name in METHODS:
        method = getattr(cube.sr, name)
        assert inspect.unwrap(method) is getattr(SuperResolution, name) is getattr(xsr, name)


def test_plots_are_the_functions_of_their_package():
    found = {name for name, value in vars(Plots).items() if isinstance(value, Verb)}
    assert found == set(xsr.plot.__all__)
    for cube in (make_cube(4, 4), make_cube(4, 4).to_dataset("band")):
        for name in found:
            assert inspect.unwrap(getattr(cube.sr.plot, name)) is getattr(xsr.plot, name)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_returns_the_container_of_the_cube_where_the_function_does(name):
    returned = inspect.signature(getattr(xsr, name)).return_annotation
    assert isinstance(vars(SuperResolution)[name], CubeVerb) == (returned == XarrayObject)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_shows_the_signature_without_the_cube_and_the_whole_docstring(name):
    method, function = getattr(make_cube(4, 4).sr, name), getattr(xsr, name)
    assert list(inspect.signature(method).parameters) == list(inspect.signature(function).parameters)[1:]
    assert inspect.signature(method).return_annotation == inspect.signature(function).return_annotation
    assert inspect.getdoc(method) == inspect.getdoc(function)
    assert "Returns\n-------" in inspect.getdoc(method)


def test_help_names_options_and_their_meaning():
    text = pydoc.render_doc(make_cube(4, 4).sr.liif, renderer=pydoc.plaintext)
    assert "scale: float | None = None" in text
    assert "Linear factor, >= 1, any real number." in text


@pytest.mark.slow
def test_jupyter_shows_the_whole_signature_and_docstring(monkeypatch, tmp_path):
    pytest.importorskip("IPython")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    code = (
        "import json, xsr, xarray as xr\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell(user_ns={'cube': xr.DataArray([0.0])}, history_length=0)\n"
        "shown = shell.object_inspect('cube.sr.liif')\n"
        "print(json.dumps([shown['definition'], shown['docstring']]))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    definition, docstring = json.loads(shown.splitlines()[-1])
    assert definition.startswith("cube.sr.liif(")
    assert "scale: float | None = None" in definition
    assert "cube:" not in definition
    assert docstring == inspect.getdoc(xsr.liif)


@pytest.mark.slow
def test_completion_lists_the_verbs_and_imports_none_of_them():
    code = (
        "import sys, xsr, xarray as xr\n"
        "names = dir(xr.DataArray([0.0]).sr)\n"
        "assert not [m for m in sys.modules if m.startswith('xsr.operations.')]\n"
        "print(*(n for n in names if not n.startswith('_')))"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert listed == sorted([*METHODS, "plot"])


@pytest.mark.slow
def test_a_type_checker_knows_keywords_and_containers(tmp_path):
    """What `mypy --strict` says of each line of a script; from its cache it says where the script lay before."""
    script = tmp_path / "script.py"
    script.write_text("\n".join((*PREAMBLE, *LINES)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )
    assert done.stderr == ""
    said = re.findall(r"^.*script\.py:(\d+): (.*)$", done.stdout, flags=re.MULTILINE)
    verdicts = {int(number): verdict for number, verdict in said}
    for number, (line, wanted) in enumerate(LINES.items(), start=len(PREAMBLE) + 1):
        if wanted is None:
            assert number not in verdicts, line
        else:
            assert verdicts[number].startswith(wanted), line


@pytest.mark.slow
@pytest.mark.parametrize("container", ["DataArray", "Dataset"])
def test_accessor_equals_the_function(model, tmp_path, container):
    cube = make_cube(9, 8, chunks=5)
    cube = cube if container == "DataArray" else cube.to_dataset("band")
    x, y = [600_012.0, 600_055.0], [5_699_977.0, 5_699_960.0]
    xr.testing.assert_identical(cube.sr.interpolate(scale=3.4), xsr.interpolate(cube, scale=3.4))
    xr.testing.assert_identical(cube.sr.liif(scale=3.4, model=model), xsr.liif(cube, scale=3.4, model=model))
    xr.testing.assert_identical(cube.sr.sample(x=x, y=y, model=model), xsr.sample(cube, x=x, y=y, model=model))
    one = cube.sr.to_zarr(tmp_path / "a.zarr", progress=False)
    two = xsr.to_zarr(cube, tmp_path / "b.zarr", progress=False)
    assert (one.blocks, one.valid, one.clipped) == (two.blocks, two.valid, two.clipped)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "a.zarr"), xr.open_zarr(tmp_path / "b.zarr"))


def test_a_method_travels_to_other_processes():
    cube = make_cube(6, 6)
    method = pickle.loads(pickle.dumps(cube.sr.interpolate))
    xr.testing.assert_identical(method(scale=2), cube.sr.interpolate(scale=2))


def test_accessor_keeps_no_state(model):
    cube = make_cube(8, 8)
    before = cube.copy(deep=True)
    accessor = cube.sr
    assert list(vars(accessor)) == ["_obj"]
    first = accessor.liif(scale=2.0, model=model)
    accessor.interpolate(scale=3.0)
    second = accessor.liif(scale=2.0, model=model)
    assert list(vars(accessor)) == ["_obj"]
    xr.testing.assert_identical(first, second)
    xr.testing.assert_identical(cube, before)


def test_results_have_the_accessor_again(model):
    fine = make_cube(6, 6).sr.liif(scale=2.0, model=model).sr.interpolate(scale=1.7)
    assert fine.shape == (1, 4, 20, 20)
    assert_same_grid(fine, fine.sel(band="B02"))
    assert np.isfinite(fine.values).all()


def test_semi_simulate_starts_from_the_image_or_from_the_series():
    high = make_cube(16, 16)
    series = xr.concat([xsr.degrade(high, scale=2)] * 3, dim="time", join="exact")
    series = series.assign_coords(time=np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "datetime64[ns]"))
    from_series = series.sr.semi_simulate(high, scale=2, seed=4)
    xr.testing.assert_identical(from_series, high.sr.semi_simulate(scale=2, series=series, seed=4))
    assert from_series.sizes["time"] == 3
    assert high.sr.semi_simulate(scale=2, frames=2).sizes["time"] == 2


def test_a_series_given_twice_is_refused():
    cube = make_cube(16, 16)
    with pytest.raises(ParameterError, match="high= and series= are both given"):
        cube.sr.semi_simulate(cube, scale=2, series=cube)
