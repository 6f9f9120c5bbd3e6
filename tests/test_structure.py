"""The shape of the code: no circle of imports, wherever they stand, and functions that fit on a screen."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "xsr"

LONGEST = 60
USUAL = 20
"""Lines of the longest function, and of nine functions in ten."""


parsed = cache(ast.parse)


def modules(root: Path) -> dict[str, Path]:
    """Files of a package by the names of their modules."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """All imports of a file, those in functions and for typing included: a module, and the name taken from it."""
    for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relative to itself"
            yield from ((node.module or "", alias.name) for alias in node.names)


def needs(known: dict[str, Path]) -> dict[str, set[str]]:
    """Modules of the package that each of its modules imports. A module that lies in a package is not its package."""
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        found = {module if f"{module}.{taken}" not in known else f"{module}.{taken}" for module, taken in imports(path)}
        graph[name] = (found & known.keys()) - {name}
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules of one circle, the first repeated at the end; none if there is none."""
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement of a function to its last, without signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def functions(root: Path) -> list[tuple[int, str]]:
    """Length and place of every function and method, nested ones too, the longest first."""
    found = []
    for path in modules(root).values():
        for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((body_lines(node), f"{path.relative_to(root.parent)}:{node.lineno} {node.name}"))
    return sorted(found, reverse=True)


def test_no_modules_import_each_other_in_a_circle():
    assert circle(needs(modules(ROOT))) == []


def test_no_function_is_longer_than_sixty_lines():
    assert [one for one in functions(ROOT) if one[0] > LONGEST] == []


def test_nine_functions_in_ten_have_at_most_twenty_lines():
    lengths = functions(ROOT)
    assert lengths[len(lengths) // 10][0] <= USUAL


CIRCLES = {
    "plain": ("import toy.b", "import toy.a"),
    "from": ("from toy import b", "from toy.a import x"),
    "typing": ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toy.b import y", "import toy.a"),
    "function": ("def f():\n    from toy.b import y", "import toy.a"),
}


@pytest.mark.parametrize("kind", CIRCLES)
def test_a_circle_is_found_wherever_its_imports_stand(tmp_path, kind):
    package = tmp_path / "toy"
    package.mkdir()
    for name, text in zip(("__init__", "a", "b"), ("", *CIRCLES[kind]), strict=True):
        (package / f"{name}.py").write_text(text)
    assert set(circle(needs(modules(package)))) == {"toy.a", "toy.b"}
    (package / "b.py").write_text("")
    assert circle(needs(modules(package))) == []


def test_the_lines_of_a_function_are_counted_without_signature_and_docstring(tmp_path):
    package = tmp_path / "toy"
    package.mkdir()
    text = 'def f(\n    a,\n):\n    """Say\n    much.\n    """\n    b = (\n        a\n    )\n\n    return b\n'
    (package / "a.py").write_text(text)
    assert functions(package) == [(5, "toy/a.py:1 f")]
