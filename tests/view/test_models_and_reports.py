"""What models, a store that was written, and a store that was checked show of themselves."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from view.shown import SCRIPT, assert_as_before, make_series, stable

import xsr
from xsr.core.sheet import Section, Sheet, Shown
from xsr.core.store.ledger import BadBlock
from xsr.models import registry
from xsr.models.card import read_card
from xsr.models.shown import SAMPLES, sample_of
from xsr.operations.store import StoreReport
from xsr.operations.verify import VerifyReport
from xsr.sources.fetch import FetchReport


def test_the_package_of_models_is_a_table():
    text = repr(xsr.models)
    assert text.startswith(f"<xsr.models> {len(registry.names())} installed")
    assert all(name in text for name in xsr.models.names())
    assert xsr.models._repr_html_().count("<tr>") == len(registry.names()) + 1


MADE = {
    "summary": "Any scale.",
    "training": {"places": ["Ghent"], "scenes": 2, "protocol": "Wald pairs", "minutes": 1.25},
    "scores": [{"place": "Liège", "scale": 2.0, "bicubic_db": 30.0, "model_db": 32.5, "bands": {"B02": 1.0}}],
    "limits": ("Not for snow.", SCRIPT),
    "created": "2024-01-01",
    "sha256": "0" * 64,
}


def test_a_card_is_as_before(request):
    card = replace(registry.card("liif_s2"), **MADE)
    assert_as_before(repr(card), "model.txt", request)
    assert_as_before(stable(card._repr_html_()), "model.html", request)


def test_a_card_is_for_people():
    described = xsr.models.describe("liif_s2")
    assert described._repr_html_().count("<tr>") > len(described.card.scores)
    text = repr(described)
    for part in (described.summary, described.licence, described.citation, *described.card.limits):
        assert " ".join(part.split()) in " ".join(text.split())
    assert repr(described.card) == text
    assert len(text.splitlines()) < 25


def test_an_architecture_has_a_card():
    assert "without weights: xsr.models.create('liif')" in repr(xsr.models.describe("liif"))


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.safetensors")), ids=lambda path: path.stem)
def test_a_packaged_model_has_a_picture_that_its_own_weights_drew(path):
    """``benchmarks/samples.py --write`` draws it; it has three pixels for one of the truth, and four panels."""
    card = read_card(path)
    own = list(SAMPLES.glob(f"{card.name}.*.webp"))
    if card.reads == "result":
        assert own == []
        return
    assert own == [sample_of(card)]
    assert "src='data:image/webp;base64," in card._repr_html_()
    assert "a test place: input, interpolation, result, truth" in repr(card)
    with Image.open(own[0]) as picture:
        assert picture.width / picture.height == pytest.approx(4, abs=0.1)


def test_weights_of_others_have_no_picture():
    card = replace(read_card(SAMPLES / "liif_s2.safetensors"), sha256="0" * 64)
    assert "<img" not in card._repr_html_()


@pytest.mark.parametrize("name", registry.names())
def test_every_model_has_text_and_html(name):
    card = registry.card(name)
    assert repr(card).startswith(f"<xsr model> {name}")
    assert card.licence in card._repr_html_()
    assert "cannot be shown" not in repr(card)


def test_a_report_of_a_store_is_short(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    report = make_series(dates=2).chunk(time=1).sr.to_zarr("fine.zarr", progress=False)
    assert_as_before(repr(report), "store.txt", request)
    assert_as_before(stable(report._repr_html_()), "store.html", request)
    checked = xsr.verify("fine.zarr")
    assert "every block is what was written" in repr(checked)
    block = min(Path("fine.zarr/reflectance").glob("0.*"))
    block.write_bytes(block.read_bytes()[:-1])
    damaged = xsr.verify("fine.zarr")
    assert "damaged" in repr(damaged)
    assert "xsr.verify(path, repair=cube)" in " ".join(repr(damaged).split())


def test_reports_list_what_is_bad_and_escape_it():
    bad = tuple(BadBlock(SCRIPT, (number,), "cannot be read") for number in range(30))
    for report in (
        StoreReport(SCRIPT, 40, 9, 1, 0, 40, bad),
        VerifyReport(SCRIPT, 40, False, bad),
        FetchReport(SCRIPT, 3, 3, added=(SCRIPT,), quarantined=bad),
    ):
        html = report._repr_html_()
        assert SCRIPT not in html
        assert "30 blocks" in html
        assert html.count("cannot be read") >= 20
    assert "9 with a value, 1 clipped" in repr(StoreReport("a", 40, 9, 1, 0, 40))


def test_geotiffs_are_counted(tmp_path):
    report = make_series(dates=2).sr.to_cog(tmp_path / "out", progress=False)
    assert "files:        2" in repr(report)


def test_a_display_never_raises():
    class Broken(Shown):
        def _sheet(self):
            raise KeyError("<b>")

    assert "cannot be shown: '<b>'" in repr(Broken())
    assert "cannot be shown: &#x27;&lt;b&gt;&#x27;" in Broken()._repr_html_()


def test_lists_are_wrapped_and_cells_cut():
    words = "word " * 60
    text = Sheet("kind", "name", (Section("list", "", [(words,)]), Section("table", "", [("a", words)]))).text()
    assert text.count("word") > 60
    assert max(map(len, text.splitlines())) <= 110
    assert text.splitlines()[-1].endswith("…")
