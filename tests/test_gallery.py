"""The gallery: each page is listed, is a notebook without outputs and draws a picture; one of them is run."""

import os
import re
import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).resolve().parents[1] / "docs" / "gallery"
PAGES = sorted(path for path in GALLERY.glob("*.md") if path.name != "index.md")
INDEX = (GALLERY / "index.md").read_text(encoding="utf-8")
CELL = re.compile(r"^```\{code-cell\} python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DRAWS = re.compile(r"\b(show|plot|imshow|red)\b|\.plot\.")


def title(page):
    return re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)[1]


def cells(page):
    return CELL.findall(page.read_text(encoding="utf-8"))


def test_every_page_is_listed_and_has_a_card_with_its_title():
    listed = INDEX.rsplit(":hidden:", 1)[1].split("```")[0].split()
    assert sorted(listed) == [page.stem for page in PAGES]
    cards = dict(re.findall(r":::\{grid-item-card\} (.+)\n:link: (\S+)\n", INDEX))
    assert {name: card for card, name in cards.items()} == {page.stem: title(page) for page in PAGES}
    assert sorted(re.findall(r"_images/(\S+)\.png", INDEX)) == [page.stem for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_a_notebook_that_draws(page):
    text = page.read_text(encoding="utf-8")
    assert text.startswith("---\njupytext:\n")
    assert "\nkernelspec:\n" in text
    assert len(cells(page)) == text.count("{code-cell}") >= 3
    assert any(DRAWS.search(cell) for cell in cells(page))
    assert "warnings.filter" not in text
    assert "raises-exception" not in text


@pytest.mark.slow
def test_a_page_runs(tmp_path, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.setattr(sys, "path", [str(GALLERY), *sys.path])
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context():
        exec(compile("\n".join(cells(GALLERY / "first-cube.md")), "first-cube", "exec"), {})
        assert matplotlib.pyplot.get_fignums()
        matplotlib.pyplot.close("all")
    assert os.listdir(tmp_path) == ["fine.zarr"]
