"""The shape of the package: import contracts, a light `import xsr`, and one accessor on both containers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).resolve().parents[1]

HEAVY = ("torch", "numba", "rasterio")
"""Packages that load on first use and never at import."""


def in_fresh_python(code: str) -> str:
    """Run `code` in an interpreter that has imported nothing yet; return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def modules_after_import() -> frozenset[str]:
    """Top-level packages that a bare `import xsr` has loaded."""
    names = in_fresh_python("import json, sys, xsr; print(json.dumps(sorted(sys.modules)))")
    return frozenset(name.partition(".")[0] for name in json.loads(names))


def test_import_contracts_are_kept(capsys):
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("package", HEAVY)
def test_import_xsr_does_not_load(package, modules_after_import):
    assert package not in modules_after_import


def test_the_probe_sees_what_is_loaded(modules_after_import):
    assert {"xsr", "xarray"} <= modules_after_import


@pytest.mark.slow
@pytest.mark.parametrize("container", ["DataArray", "Dataset"])
def test_import_xsr_registers_the_accessor(container):
    code = "import xarray as xr{}; print(hasattr(xr.{}, 'sr'))"
    assert in_fresh_python(code.format("", container)).strip() == "False"
    assert in_fresh_python(code.format(", xsr", container)).strip() == "True"
