"""Take ``docs/_static/map.jpg``: the page of the map in a browser, over a synthetic cube."""

import argparse
import io
import shutil
from pathlib import Path

import xsr
from xsr.testing import synthetic_cube

OUTPUT = Path(__file__).resolve().parents[1] / "_static" / "map.jpg"
DATES = ("2024-04-10", "2024-05-12", "2024-06-20", "2024-08-03")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
PATIENCE = 600_000
FINE = ".leaflet-main-pane .leaflet-tile-loaded"


def take(url: str, browser: str, width: int, height: int) -> bytes:
    """Screenshot of the page, with values at its middle."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=browser, args=list(QUIET))
        page = started.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        page.locator(FINE).first.wait_for()
        page.locator("#busy[hidden]").wait_for(state="attached")
        page.locator("#map").click(position={"x": width * 0.5, "y": height * 0.45})
        page.locator("#spectrum svg").wait_for()
        page.locator("#busy[hidden]").wait_for(state="attached")
        return page.screenshot()


def main() -> None:
    """Serve a cube and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a few pixels, into the working directory")
    small = parser.parse_args().small
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("no Chromium is installed: 0 pictures taken")
        return
    from PIL import Image

    side, dates = (24, DATES[:1]) if small else (180, DATES)
    cube = synthetic_cube(size=(side, side), times=dates).assign_attrs(attribution="Synthetic cube of xsr")
    with xsr.explore(cube, title="synthetic") as shown:
        content = take(shown.url, browser, 1100, 680)
    path = Path("map.jpg") if small else OUTPUT
    Image.open(io.BytesIO(content)).convert("RGB").save(path, quality=80, optimize=True)
    print(f"wrote {path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
