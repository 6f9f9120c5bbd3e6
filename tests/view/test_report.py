"""The report: one file, every section or the reason why not, escaped, the same every time."""

import base64
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers import make_cube
from pictures import SCRIPT, page_of_all_kinds
from PIL import Image

import xsr
from xsr.core.errors import CubeError, NotAvailableError, ParameterError, StoreError
from xsr.testing import synthetic_pair
from xsr.view.pages import render_page

SECTIONS = ["pictures", "origin", "scores", "strata", "spectrum", "consistency", "calibration", "no-data"]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(HTMLParser):
    """Elements of a page, the text of every section, and all addresses."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.addresses, self.missing, self.section = [], {}, [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.section = given["id"] if tag == "section" else self.section
        self.missing += [self.section] if given.get("class") == "missing" else []
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        if self.section is not None:
            self.text[self.section] = f"{self.text.get(self.section, '')} {data.strip()}".strip()


@pytest.fixture(scope="module")
def pair():
    return synthetic_pair(size=(32, 36))


@pytest.fixture(scope="module")
def fine(pair):
    around = xr.DataArray([-0.02, 0, 0.02], {"quantile": [0.05, 0.5, 0.95]}, "quantile")
    bicubic = pair.low.sr.interpolate(scale=4)
    made = bicubic + 0.5 * (pair.high - bicubic) + around
    return made.assign_attrs(bicubic.attrs, xsr_operation="half of the truth", xsr_model="none")


@pytest.fixture(scope="module")
def whole(fine, pair, tmp_path_factory):
    path = fine.sr.report(pair.high, low=pair.low, path=tmp_path_factory.mktemp("report") / "whole.html")
    return path.read_text(encoding="utf-8")


def test_every_section_is_there_and_nothing_is_loaded(whole):
    page = Page(whole)
    assert list(page.text) == SECTIONS
    assert page.missing == []
    assert page.tags.count("img") == 5
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert all(address.startswith(("#", "data:image/")) for address in page.addresses)
    assert "@media print" in whole
    assert "half of the truth" in page.text["origin"]


def test_its_numbers_are_those_of_the_operations(whole, fine, pair):
    page, estimate = Page(whole), fine.sel(quantile=0.5, drop=True)
    bicubic = pair.low.sr.interpolate(like=pair.high)
    for image in (estimate, bicubic):
        rmse = xsr.evaluate(image, pair.high, metrics="rmse").rmse.values.ravel()
        assert " ".join(f"{one:.4g}" for one in rmse) in page.text["scores"]
        strata = xsr.strata(image, pair.high).rmse.sel(band="B03").values.ravel()
        assert " ".join(f"{one:.4g}" for one in strata) in page.text["strata"]
        resolution = xsr.spectrum(image, pair.high).resolution_m.values.ravel()
        assert " ".join(f"{one:.4g}" for one in resolution) in page.text["spectrum"]
        again = xsr.evaluate(image, None, low=pair.low).low_fidelity.values.ravel()
        assert " ".join(f"{one:.4g}" for one in again) in page.text["consistency"]
    coverage = xsr.calibration(fine, pair.high).coverage.values.ravel()
    assert " ".join(f"{one:.4g}" for one in coverage) in page.text["calibration"]


def test_pictures_are_images_of_what_they_say(whole):
    sources = re.findall(r'src="data:image/(png|svg\+xml);base64,([^"]+)"', whole)
    kinds = [kind for kind, _ in sources]
    assert kinds == ["png", "svg+xml", "svg+xml", "svg+xml", "png"]
    first = Image.open(BytesIO(base64.b64decode(sources[0][1])))
    assert first.width > 1000
    assert b"<script" not in base64.b64decode(sources[1][1])


def test_a_lazy_result_is_computed_once_for_all_sections(pair, tmp_path):
    counter = []

    def read(block):
        counter.append(block.shape)
        return block

    fine = pair.low.sr.interpolate(scale=4).chunk(y=64, x=72)
    data = fine.data.map_blocks(read, dtype=fine.dtype, meta=np.empty((0,) * 4, fine.dtype))
    xsr.report(fine.copy(data=data), pair.high, low=pair.low, path=tmp_path / "r.html")
    assert counter == [(1, 4, 64, 72)] * 4


@pytest.mark.slow
def test_the_same_report_is_written_every_time(whole, fine, pair, tmp_path):
    path = xsr.report(fine.chunk(y=40), pair.high.chunk(x=50), low=pair.low.chunk(), path=tmp_path / "again.html")
    plain = (
        text.replace("when it is needed, block by block", "in memory") for text in (whole, path.read_text("utf-8"))
    )
    first, second = (re.sub(r'src="data:image/png[^"]*"', "", text) for text in plain)
    assert first == second


def test_what_is_not_given_is_said(pair, tmp_path):
    page = Page(pair.low.sr.report(path=tmp_path / "r.html").read_text("utf-8"))
    assert page.missing == [name for name in SECTIONS if name != "no-data"]
    assert "Not given: input and reference." in page.text["pictures"]
    assert "No reference was given." in page.text["scores"]
    assert "The input was not given (low=)." in page.text["consistency"]
    assert "no dimension quantile" in page.text["calibration"]


def test_what_does_not_fit_is_said_where_it_is_missing(pair, tmp_path):
    fine = pair.low.sr.interpolate(scale=4)
    other = pair.high.isel(x=slice(0, 60))
    page = Page(xsr.report(fine, other, low=pair.low, path=tmp_path / "r.html").read_text("utf-8"))
    assert "the reference has 128 x 60 pixels, the image 128 x 144" in page.text["scores"]
    assert "consistency" not in page.missing


def test_shares_of_no_data_by_hand(tmp_path):
    cube = make_cube((2, 4, 16, 20))
    cube[0, 1, :8] = np.nan
    cube[1, 3] = np.nan
    page = Page(xsr.report(cube, path=tmp_path / "r.html", time=1).read_text("utf-8"))
    assert (
        "share of no data 0.00% 25.00% 0.00% 50.00% dates without a pixel 0 of 2 0 of 2 0 of 2 1 of 2"
        in (page.text["no-data"])
    )
    assert "2024-06-02, one of 2 dates" in page.text["pictures"]


@pytest.mark.parametrize("shape", [(1, 1), (2, 2, 9, 3)])
def test_odd_cubes_have_reports(shape, tmp_path):
    cube = make_cube(shape, bands=["B05", "B06"])
    page = Page(xsr.report(cube, cube, path=tmp_path / "r.html").read_text("utf-8"))
    assert list(page.text) == SECTIONS


def test_a_cube_of_no_data_has_a_report(tmp_path):
    cube = make_cube(np.full((3, 16, 16), np.nan, np.float32))
    page = Page(xsr.report(cube, cube, path=tmp_path / "r.html").read_text("utf-8"))
    assert "No pixel of this date is valid." in page.text["pictures"]
    assert "share of no data 100.00% 100.00% 100.00%" in page.text["no-data"]
    assert "there is no spectrum" in page.text["spectrum"]


def test_names_are_escaped_wherever_they_stand(tmp_path):
    names = [f"{SCRIPT}$x$", "B03\x1b[31m", "B04"]
    cube = make_cube((3, 16, 16), bands=names).assign_attrs(xsr_operation=SCRIPT, xsr_model=["<b>", "&amp;"])
    path = xsr.report(cube, cube, low=cube, path=tmp_path / "r.html", title=f"{SCRIPT} & co")
    text = path.read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in text
    assert "\x1b" not in text
    assert not {"script", "b"} & set(Page(text).tags)
    pictures = [base64.b64decode(one) for one in re.findall(r"svg\+xml;base64,([^\"]+)", text)]
    assert not [one for one in pictures if b"<script" in one]


def test_secrets_of_addresses_stay_out(tmp_path):
    cube = make_cube((3, 16, 16)).assign_attrs(xsr_input="https://example.com/x.zarr?sig=abcdefgh123")
    text = xsr.report(cube, path=tmp_path / "r.html").read_text("utf-8")
    assert "https://example.com/x.zarr" in text
    assert "abcdefgh123" not in text


def test_the_page_is_as_before():
    found = page_of_all_kinds()
    assert found == (Path(__file__).parent / "report.html").read_text(encoding="utf-8")
    assert "<script" not in found
    assert "\x07" not in found


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"path": "not/there/r.html"}, StoreError, "folder not/there of the report is not there"),
        ({"time": "1999-01-01"}, ParameterError, "is none of 1 dates"),
        ({"insets": 7}, ParameterError, "expected at most 4"),
        ({"border": -1}, ParameterError, "border"),
    ],
)
def test_bad_arguments(pair, options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        xsr.report(pair.high, pair.high, **{"path": tmp_path / "r.html", **options})


def test_what_is_no_cube_or_cannot_be_written(pair, tmp_path):
    with pytest.raises(CubeError, match="got str"):
        xsr.report("cube.zarr")
    with pytest.raises(StoreError, match="cannot be written"):
        xsr.report(pair.low, path=tmp_path)


def test_without_jinja_one_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(NotAvailableError, match=r"Jinja2 is not installed.*pip install 'xarray-sr\[viz\]'"):
        render_page("", [])


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")
def test_the_report_opens_offline_and_shows_every_section(whole, tmp_path):
    path = tmp_path / "whole.html"
    path.write_text(whole, encoding="utf-8")
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    switches += ["--disable-component-update", "--disable-sync", "--disable-quic", f"--user-data-dir={tmp_path / 'p'}"]
    switches += ["--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars", "--window-size=1200,6000"]
    shown = subprocess.run(
        [CHROMIUM, *switches, "--dump-dom", path.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    page = Page(shown.stdout)
    assert list(page.text) == SECTIONS
    assert page.tags.count("img") == 5
    drawn = tmp_path / "page.png"
    subprocess.run(
        [CHROMIUM, *switches, f"--screenshot={drawn}", path.as_uri()], capture_output=True, check=True, timeout=120
    )
    rows = np.asarray(Image.open(drawn).convert("L"), np.float64).std(axis=1)
    assert (rows.reshape(60, 100).max(axis=1) > 10)[:30].all()  # pictures and tables down the page
