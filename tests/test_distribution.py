"""What is distributed: declared dependencies, the files of wheel and sdist, the links of the README."""

import ast
import importlib.util
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def canonical(requirement):
    """Name of the distribution that a requirement is for."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def imported(folder):
    """Top-level packages that the modules of a folder import, wherever in the module, and one that does."""
    found = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            found |= {name.partition(".")[0]: path.name for name in names}
    return {name: path for name, path in found.items() if name not in (*sys.stdlib_module_names, "xsr")}


def undeclared(packages, requirements):
    """Packages that none of the required distributions brings by itself."""
    declared, origins = {canonical(one) for one in requirements}, packages_distributions()
    return {name for name in packages if declared.isdisjoint(map(canonical, origins[name]))}


def test_every_import_is_a_declared_dependency():
    extras = PROJECT["optional-dependencies"]
    optional = [one for name in ("distributed", "map", "onnx", "s3", "vector", "viz") for one in extras[name]]
    packages = imported(ROOT / "xsr")
    assert undeclared(packages, [*PROJECT["dependencies"], *optional]) == set()
    assert undeclared(packages, PROJECT["dependencies"]) <= {
        "anyio",
        "distributed",
        "geopandas",
        "google",
        "jinja2",
        "matplotlib",
        "onnx",
        "onnxruntime",
        "starlette",
        "uvicorn",
    }
    without_scipy = [one for one in PROJECT["dependencies"] if canonical(one) != "scipy"]
    assert "scipy" in undeclared(packages, without_scipy)


def test_every_dependency_has_a_floor():
    requirements = [
        *PROJECT["dependencies"],
        *(one for extra in PROJECT["optional-dependencies"].values() for one in extra),
    ]
    assert [one for one in requirements if ">=" not in one and not one.startswith("xarray-sr[")] == []


def files(kind):
    """Paths in a distribution of a kind, wheel or sdist, as the build backend would pack them."""
    builders = pytest.importorskip(f"hatchling.builders.{kind}")
    builder = {"wheel": "WheelBuilder", "sdist": "SdistBuilder"}[kind]
    return {one.distribution_path for one in getattr(builders, builder)(str(ROOT)).recurse_included_files()}


def test_the_wheel_holds_the_package_and_nothing_else():
    found = files("wheel")
    assert {"xsr/py.typed", "xsr/models/weights/liif_s2.safetensors", "xsr/models/weights/LICENSE.md"} <= found
    assert {path.partition("/")[0] for path in found} == {"xsr"}
    assert {Path(path).suffix for path in found} == {
        ".py",
        ".typed",
        ".json",
        ".safetensors",
        ".md",
        ".html",
        ".css",
        ".js",
        ".svg",
        ".webp",
    }
    assert not [path for path in found if "noncommercial" in path or "test_" in path]


def test_the_sdist_is_complete_but_for_what_is_not_for_commercial_use():
    found = files("sdist")
    needed = (
        "tests/frozen.npz",
        "conftest.py",
        "tests/conftest.py",
        "docs/conf.py",
        "docs/_static/demo.png",
        "examples/any_time.py",
    )
    assert {
        *needed,
        "benchmarks/run.py",
        "Makefile",
        "README.md",
        "CHANGELOG.md",
        ".ci/run",
        ".ci/metadata.py",
    } <= found
    assert not [path for path in found if "noncommercial" in path]


@pytest.fixture(scope="module")
def metadata():
    """Build hook of the metadata, a module outside the package."""
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("metadata", ROOT / ".ci/metadata.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_relative_links_become_absolute(metadata):
    text = "![a](docs/a.png) [b](docs/b.md#c) [d](https://e.org/f.md) [g](#h)"
    assert metadata.absolute(text, "https://host/me/it", "abc") == (
        "![a](https://host/me/it/raw/abc/docs/a.png) [b](https://host/me/it/blob/abc/docs/b.md#c)"
        " [d](https://e.org/f.md) [g](#h)"
    )


def test_links_of_the_readme_lead_to_files(metadata):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for _, _, target in metadata.LINK.findall(text)]
    assert len(targets) > 5
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("repository", ["me/it", None])
def test_the_address_is_that_of_the_repository_that_builds(repository, metadata, monkeypatch):
    monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
    monkeypatch.setenv("GITHUB_SHA", "abc")
    if repository is None:
        monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    else:
        monkeypatch.setenv("GITHUB_REPOSITORY", repository)
    fields = {}
    metadata.MetadataHook(str(ROOT), {}).update(fields)
    relative = metadata.LINK.findall(fields["readme"]["text"])
    if repository is None:
        assert not fields["urls"]
        assert relative
    else:
        assert fields["urls"]["Source"] == "https://github.com/me/it"
        assert not relative
        assert "](https://github.com/me/it/blob/abc/docs/reference/models.md)" in fields["readme"]["text"]
