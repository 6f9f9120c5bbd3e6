"""The pages name what exists: modules, functions, files and glossary terms."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
PAGES += [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
NO_NAMES = {"xsr.extensions", "xsr.complete"}
"""An entry point group and an attribute of stores, which look like names of the package."""


def exists(name):
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found is not None
    return False


def terms():
    """Terms of the glossary, in its order."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    return re.findall(r"(?m)^(\S.*)\n  ", text.split("```{glossary}\n")[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_only_what_exists(page):
    named = set(re.findall(r"\bxsr(?:\.[A-Za-z_]\w*)+", page.read_text(encoding="utf-8"))) - NO_NAMES
    assert [name for name in sorted(named) if not exists(name)] == []


def test_names_that_do_not_exist_are_found():
    assert exists("xsr.core.errors.XsrError")
    assert not exists("xsr.core.errors.NoSuchError")
    assert not exists("xsr.core.nowhere.anything")


def test_the_map_of_the_package_names_only_files_that_exist():
    text = (ROOT / "docs" / "explanation" / "how-the-package-is-organised.md").read_text(encoding="utf-8")
    files = {name for name in re.findall(r"\b(?:\w+/)+\w+\.py\b", text) if not re.search(r"NAME|VERB", name)}
    assert len(files) > 30
    assert [name for name in sorted(files) if not (ROOT / "xsr" / name).is_file()] == []


def test_the_glossary_has_each_term_once_in_order():
    found = [term.casefold() for term in terms()]
    assert len(found) > 50
    assert found == sorted(set(found))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_refers_to_terms_of_the_glossary(page):
    used = re.findall(r"\{term\}`(?:[^`<]*<)?([^`>]+)>?`", page.read_text(encoding="utf-8"))
    assert {term.casefold() for term in used} <= {term.casefold() for term in terms()}
