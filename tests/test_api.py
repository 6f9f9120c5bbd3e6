"""The public names: where they come from, what their docstrings show, how they are called."""

import ast
import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xsr
from xsr import api
from xsr.accessor import SuperResolution, Verb

FUNCTIONS = [
    function
    for package in (xsr, xsr.models, xsr.plot, xsr.testing)
    for name in package.__all__
    if inspect.isfunction(function := getattr(package, name))
]
SKIPPED = {
    "fetch": "the internet",
    "open_landsat": "a product",
    "open_safe": "a product",
    "open_stac": "the internet",
    "open_theia": "a product",
    "register_weights": "trained weights",
}
"""What the examples need that tests do not have."""


def test_the_package_lists_its_names():
    assert dir(xsr) == sorted(xsr.__all__)
    assert {*api.HOMES, "models", "testing"} <= set(xsr.__all__)
    with pytest.raises(AttributeError, match="no attribute 'blur'"):
        _ = xsr.blur


@pytest.mark.slow
def test_packages_are_there_after_import_xsr():
    code = "import sys, xsr; assert 'xsr.models' not in sys.modules; xsr.models.names(); xsr.testing.synthetic_cube"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_type_checker_and_the_import_find_a_function_in_the_same_module():
    block = next(node for node in ast.parse(inspect.getsource(api)).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {name.asname: node.module for node in imports for name in node.names} == api.HOMES


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_function_shows_an_example(function):
    name = function.__name__
    _, _, section = inspect.getdoc(function).partition("Examples\n--------\n")
    examples = doctest.DocTestParser().get_examples(section)
    assert any(f"{name}(" in example.source for example in examples)
    assert any(doctest.SKIP in example.options for example in examples) == (name in SKIPPED)
    assert f"it needs {SKIPPED[name]}" in section if name in SKIPPED else "Not run" not in section


def test_the_reference_lists_every_name_and_method():
    page = (Path(__file__).resolve().parents[1] / "docs/reference/index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^(?:   |\.\. autoclass:: )(?:\w+\.)*(\w+)$", page, re.MULTILINE)
    listed += re.findall(r"\w+", " ".join(re.findall(r":members: (.*)", page)))
    methods = {f"DataArray.sr.{name}" for name, value in vars(SuperResolution).items() if isinstance(value, Verb)}
    assert methods == set(re.findall(r"^   (DataArray\.sr\.\w+)$", page, re.MULTILINE))
    assert set(api.HOMES) | set(xsr.plot.__all__) <= set(listed)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_at_most_two_arguments_of_a_function_are_positional(function):
    parameters = inspect.signature(function).parameters.values()
    assert sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters) <= 2
