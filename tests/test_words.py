"""The words of code and pages: those of the field, and none of our own for the same things."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("xsr", "docs", "benchmarks", "examples")
PAGES = ("README.md", "CONTRIBUTING.md")
MADE = {"_build", "generated"}

WORDS = {
    r"told": "message, record, metadata; derived from",
    r"asked": "requested, target",
    r"seen|sees|saw|unseen": "observed, visible, covers, reads",
    r"answer(s|ed|ing)?": "output, result; is used for",
    r"hurt": "invalid weight",
    r"(hold|holds|held) against": "validate against",
    r"laid on|lies? on": "registered to, on the grid of",
    r"as chance has it": "random",
    r"instants?": "target times",
    r"networks? of (one|a) (fixed )?factor": "fixed-scale networks",
    r"gaps (are )?filled": "gap filling",
    r"rooms?|doors?": "module, boundary",
    r"roads?": "path, way",
    r"beli(es?|ed)": "contradict",
    r"guards that may be wrong": "checks",
    r"nobody knows": "cannot be checked",
}
"""What is not written, and what is written instead."""

EXCEPTIONS = {
    ("xsr/sources/fetch/holding.py", "asked"): "key of a record in stores that were written before",
    ("xsr/testing/__init__.py", "roads?"): "roads of a landscape",
    ("xsr/testing/layout.py", "roads?"): "roads of a landscape",
    ("xsr/training/thermal_synthetic.py", "roads?"): "roads of a landscape",
    ("docs/_scripts/metrics_figure.py", "roads?"): "roads of a landscape",
    ("docs/decisions/0016-thermal-weights.md", "roads?"): "roads of a landscape",
    ("docs/explanation/synthetic-cubes.md", "roads?"): "roads of a landscape",
}


def texts() -> dict[str, str]:
    """Code and pages by their path; not what a build makes."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md")]
    names = {path.relative_to(ROOT): path for path in (*paths, *(ROOT / page for page in PAGES))}
    return {
        name.as_posix(): path.read_text(encoding="utf-8") for name, path in names.items() if not MADE & set(name.parts)
    }


def own_words(text: str) -> set[str]:
    """Which of the words stand in a text, over line ends too."""
    return {word for word in WORDS if re.search(rf"\b({word})\b".replace(" ", r"\s+"), text, re.IGNORECASE)}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Pixels that no date saw.", "seen|sees|saw|unseen"),
        ("a band laid\n    on another", r"laid on|lies? on"),
        ("Instants: dates", "instants?"),
        ("Networks of one factor", r"networks? of (one|a) (fixed )?factor"),
    ],
)
def test_a_word_is_found_in_any_case_and_over_line_ends(text, word):
    assert own_words(text) == {word}


@pytest.mark.parametrize(
    "text", ["see `xsr.liif`", "unmasked", "broadcast", "inside a bedroom", "believed", "instantly"]
)
def test_other_words_are_not_found(text):
    assert not own_words(text)


def test_code_and_pages_use_the_words_of_the_field():
    found = {(path, word) for path, text in texts().items() for word in own_words(text)}
    named = {f"{path}: {word} ({WORDS[word]})" for path, word in found - EXCEPTIONS.keys()}
    assert not named
    assert EXCEPTIONS.keys() <= found, "an exception is no longer needed"
