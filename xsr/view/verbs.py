"""First lines of docstrings, read from source files: to list what there is imports none of it."""

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
"""Folder of xsr."""


def first_lines(homes: Mapping[str, str]) -> dict[str, str]:
    """First line of the docstring of each function.

    Parameters
    ----------
    homes
        Module by the name of the function: where it is defined, or a package that takes it from one of its modules.

    Returns
    -------
    dict
        Line by name; empty where there is no source file.

    Examples
    --------
    >>> first_lines({"clip": "xsr.operations.clip"})
    {'clip': 'Keep an area of a cube: its bounding box in whole pixels, with no data outside its outline.'}
    """
    return {name: _first_line(name, home) for name, home in homes.items()}


def _first_line(name: str, home: str) -> str:
    for node in _statements(home):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n")[0].replace("`", "")
        if isinstance(node, ast.ImportFrom) and node.module and any(_as(alias) == name for alias in node.names):
            return _first_line(name, node.module)
    return ""


def _as(alias: ast.alias) -> str:
    return alias.asname or alias.name


@cache
def _statements(module: str) -> list[ast.stmt]:
    """Statements of a module of the package; none where its source is not at hand."""
    base = PACKAGE.parent.joinpath(*module.split("."))
    source = next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
    return [] if source is None else ast.parse(source.read_text(encoding="utf-8")).body
