"""The page in a browser: what a person does on it, and that none of it leaves the machine.

Screenshots go to the folder that the environment variable XSR_SCREENSHOTS names.
"""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from catalogs import COLLECTION, make_item, serving
from odc.geo.geom import point
from products import NORTH, WEST

pytest.importorskip("playwright")
pytest.importorskip("starlette")
pytest.importorskip("js_lib_leaflet")

from playwright import sync_api as playwright

import xsr
from xsr.testing import synthetic_cube

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
PATIENCE = 120_000
"""Milliseconds that a step may take on a busy machine."""
SETTLED = "#busy[hidden]"
FINE = ".leaflet-main-pane .leaflet-tile-loaded"
playwright.expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=QUIET)
        yield started
        started.close()


@contextmanager
def visited(browser, url, **options):
    """Page whose every request and error is checked at the end."""
    context = browser.new_context(viewport={"width": 1200, "height": 760}, accept_downloads=True, **options)
    context.set_default_timeout(PATIENCE)
    page, requests, errors = context.new_page(), [], []
    context.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
    page.goto(url)
    yield page
    context.close()
    assert errors == []
    assert len(requests) > 15
    hosts = {urlsplit(one).hostname for one in requests if not one.startswith(("blob:", "data:"))}
    assert hosts == {"127.0.0.1"}


def settle(page):
    """Wait until all tiles are there."""
    page.locator(FINE).first.wait_for()
    page.locator(SETTLED).wait_for(state="attached")


def picture(page, name):
    """Screenshot of the map, kept where a folder is named."""
    folder = os.environ.get("XSR_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")
    return page.locator("#map").screenshot()


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*((a + b) / 2 for a, b in zip(start, end, strict=True)))
    page.mouse.move(*end)
    page.mouse.up()


def middle(page, selector):
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def zooms(page):
    """Zooms of the tiles that are shown; one that Leaflet gave up holds an empty picture."""
    sources = page.locator(FINE).evaluate_all("tiles => tiles.map(tile => tile.src)")
    return {int(source.split("?")[0].split("/")[-3]) for source in sources if not source.startswith("data:")}


def zooms_by_one(page, way):
    """Zoom in or out; what is done before the movement has ended, which the scale shows, would be lost."""
    scale = page.locator(".leaflet-control-scale-line")
    before = scale.text_content()
    page.locator(f".leaflet-control-zoom-{way}").click()
    playwright.expect(scale).not_to_have_text(before)
    settle(page)


def appears(page, name):
    """Wait for a cube that a job makes, or for what the job says instead."""
    cube, error = page.locator("#cube option", has_text=name), page.locator("#notice.bad:not([hidden])")
    cube.or_(error).first.wait_for(state="attached")
    assert error.all_text_contents() == []


def tries_the_picture(page, name):
    """Pan, zoom, drag the date between two acquisitions, and move the bar."""
    settle(page)
    first = picture(page, f"{name}-whole")
    x, y = middle(page, "#map")
    drag(page, (x + 60, y + 60), (x - 20, y + 20))
    settle(page)
    assert picture(page, f"{name}-panned") != first
    zooms_by_one(page, "in")
    assert max(zooms(page), default=0) >= 16  # pixels of 2.4 m at the equator, 1.5 m here
    acquired = picture(page, f"{name}-zoomed")
    assert page.locator("#kind").text_content() == "acquired"
    box = page.locator("#slider").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    while page.locator("#kind").text_content() == "acquired":
        page.locator("#slider").press("ArrowLeft")
    page.locator(f'{FINE}[src*="T12"]').first.wait_for()
    settle(page)
    assert picture(page, f"{name}-between") != acquired
    bar = middle(page, ".swipe")
    drag(page, bar, (bar[0] - 250, bar[1]))
    assert middle(page, ".swipe")[0] == pytest.approx(bar[0] - 250, abs=2)
    swiped = picture(page, f"{name}-swiped")
    page.locator("#before").select_option("bicubic")
    settle(page)
    assert picture(page, f"{name}-bicubic") != swiped


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the cube's pixels measure 5 m")
def test_a_synthetic_cube_is_looked_at_fetched_sharpened_and_downloaded(browser, tmp_path):
    title = "<img src=x onerror=alert(1)>"
    days = ["2024-06-10", "2024-06-20"]
    cube = synthetic_cube(size=(48, 64), times=days).chunk(y=48, x=64).assign_attrs(attribution=title)
    items = [make_item(tmp_path, day=day, bands=("B02", "B03", "B04", "B08")) for day in days]
    with serving(tmp_path, items) as catalogue, cube.sr.explore(title=title) as shown:
        with visited(browser, shown.url) as page:
            tries_the_picture(page, "synthetic")
            assert page.locator("#cube option").text_content() == title
            assert title in page.locator(".leaflet-control-attribution").text_content()
            clicks_for_values(page, cube)
            draws_an_area(page, "synthetic")
            fetches(page, catalogue, "synthetic")
            fine = sharpens_and_downloads(page, tmp_path, "synthetic")
    assert fine.sizes["band"] == 4
    assert fine.odc.geobox.resolution.x == pytest.approx(5)
    assert np.isfinite(fine.values).mean() > 0.9


def clicks_for_values(page, cube):
    x, y = middle(page, "#map")
    page.mouse.click(x + 40, y - 40)
    page.locator("#series svg").wait_for()
    assert page.locator("#spectrum .curve").count() == 2
    assert page.locator("#series .curve").count() == 3
    page.locator("#point summary").click()
    rows = page.locator("#table tbody tr")
    assert [rows.nth(n).locator("td").first.text_content() for n in range(rows.count())] == list(cube.band.values)
    picture(page, "synthetic-values")


def draws_an_area(page, name):
    page.locator("#area-part > summary").click()
    page.locator("#rectangle").click()
    x, y = middle(page, "#map")
    drag(page, (x - 100, y - 80), (x + 100, y + 80))
    playwright.expect(page.locator("#size")).to_contain_text("km²")
    picture(page, f"{name}-area")
    page.locator("#polygon").click()
    for corner in ((x - 50, y - 50), (x + 60, y - 40), (x, y + 70)):
        page.mouse.click(*corner)
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#size")).to_contain_text("km²")


def fetches(page, catalogue, name):
    (west, north), (east, south) = (
        point(WEST + at, NORTH - at, "EPSG:32629").to_crs("EPSG:4326").points[0] for at in (300, 660)
    )
    page.locator("#box").fill(f"{west}, {south}, {east}, {north}")
    page.locator("#box").press("Enter")
    page.locator("#fetch-part > summary").click()
    page.locator("#url").fill(catalogue.url)
    page.locator("#collection").fill(COLLECTION)
    page.locator("#first").fill("2024-06-01")
    page.locator("#last").fill("2024-06-30")
    page.locator("#search").click()
    page.locator("#dates tr").nth(1).wait_for()
    picture(page, f"{name}-found")
    page.locator("#fetch").click()
    appears(page, COLLECTION)
    settle(page)
    picture(page, f"{name}-fetched")


def sharpens_and_downloads(page, folder, name):
    page.locator("#sharpen-part > summary").click()
    page.locator("#sharpen").click()
    appears(page, "liif")
    settle(page)
    playwright.expect(page.locator("#kind")).to_have_text("in the result")
    picture(page, f"{name}-sharpened")
    page.locator("#download-part > summary").click()
    with page.expect_download() as event:
        page.locator("#pack").click()
    path = folder / event.value.suggested_filename
    event.value.save_as(path)
    return xsr.open(path).load()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the cube's pixels measure 5 m")
def test_a_real_series_is_looked_at_sharpened_downloaded_and_another_fetched(browser, data_dir, tmp_path):
    cube = xsr.open(data_dir / "s2_ts_belgium_31UES" / "s2_10m.nc")
    cube = cube.isel(time=slice(4))
    days = ["2024-06-10", "2024-06-20"]
    items = [make_item(tmp_path, day=day, bands=("B02", "B03", "B04", "B08")) for day in days]
    with serving(tmp_path, items) as catalogue, cube.sr.explore(title="31UES") as shown:
        with visited(browser, shown.url, color_scheme="dark") as page:
            tries_the_picture(page, "real")
            zooms_by_one(page, "out")
            x, y = middle(page, "#map")
            drag(page, (x - 100, y), (x + 20, y + 20))
            settle(page)
            draws_an_area(page, "real")
            fine = sharpens_and_downloads(page, tmp_path, "real")
            fetches(page, catalogue, "real")
    assert cube.time.values.min() < fine.time.values[0] < cube.time.values.max()
    assert fine.time.values[0] not in cube.time.values
    assert fine.odc.geobox.resolution.x == pytest.approx(5)
    assert np.isfinite(fine["B04"].values).any()


@pytest.mark.slow
def test_a_cube_that_no_network_fits_is_shown_by_interpolation_and_what_is_near_computed(browser):
    cube = synthetic_cube(size=(256, 256))[:, :1].assign_coords(band=["lst"])

    def near(request):
        return request.resource_type == "fetch" and "/bicubic/16/" in request.url

    with cube.sr.explore() as shown, visited(browser, shown.url) as page:
        playwright.expect(page.locator("#notice")).to_contain_text("Shown: bicubic")
        playwright.expect(page.locator("#layer")).to_have_value("bicubic")
        settle(page)
        x, y = middle(page, "#map")
        page.mouse.click(x + 60, y)  # beside the bar
        page.locator("#spectrum circle").wait_for()
        with page.expect_response(lambda response: near(response.request)) as event:
            for _ in range(max(zooms(page)) + 1, 17):
                zooms_by_one(page, "in")
        path = event.value.url.split("?")[0].partition("/tiles/")[2]
        assert event.value.ok
        assert page.locator(f'{FINE}[src*="{path}"]').count() == 0
