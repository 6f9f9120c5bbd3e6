"""Make the tables of ``explanation/thermal-range.md``: ranges of two scenes, and what holding the means is worth.

Prints them; ``--write`` puts them into the page. The synthetic scene needs nothing; that of Mendoza, Landsat 8, the
folder of real images in XSR_DATA.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rioxarray
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from scipy.ndimage import gaussian_filter

import xsr
from xsr.kernels.limits import limits
from xsr.models import registry
from xsr.sources.landsat import brightness_temperature

PAGE = Path(__file__).resolve().parents[1] / "explanation" / "thermal-range.md"
BEGIN, END = "<!-- {}: written by docs/_scripts/thermal_range.py -->", "<!-- end of {} -->"
FACTOR = 4
FACTORS = 2, 4
FIXED = 270.0, 330.0
METHODS = "bicubic", "guided_filter", "tsharp"


def synthetic() -> np.ndarray:
    """Fields of a summer's day at 320 x 320 pixels, one of them on fire."""
    rng = np.random.default_rng(0)
    edges = np.sign(gaussian_filter(rng.standard_normal((320, 320)), 6))
    kelvin = 302 - 4 * edges + 2 * gaussian_filter(rng.standard_normal((320, 320)), 1) / 0.28
    kelvin[200, 100] = 420.0
    return kelvin


def coarse(kelvin: np.ndarray, factor: int) -> np.ndarray:
    """Temperature whose radiance is the mean over blocks."""
    h, w = (n // factor for n in kelvin.shape)
    blocks = kelvin[: h * factor, : w * factor].reshape(h, factor, w, factor)
    return np.asarray((blocks**4).mean(axis=(1, 3)) ** 0.25)


def table(truth: np.ndarray) -> str:
    """Ranges of a scene, and the share of the truth that lies beyond each."""
    low = coarse(truth, FACTOR)
    own = limits(low.size, low.sum(), (low**2).sum(), low.min(), low.max())
    rows = {
        "extremes of the truth": (truth.min(), truth.max()),
        "extremes of the low-resolution image": (low.min(), low.max()),
        "fixed": FIXED,
        "xsr": own,
    }
    lines = [
        "| limits | lower K | upper K | truth below | truth above | one kelvin is |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, (lo, hi) in rows.items():
        below, above = (f"{100 * share:.3f} %" for share in ((truth < lo).mean(), (truth > hi).mean()))
        lines.append(f"| {name} | {lo:.2f} | {hi:.2f} | {below} | {above} | {1 / (hi - lo):.4f} |")
    return "\n".join(lines)


def grid(shape: tuple[int, int], gsd: float) -> dict[str, xr.DataArray]:
    """Coordinates of a north-up grid."""
    return {str(k): v for k, v in xr_coords(GeoBox(shape, Affine(gsd, 0, 0, 0, -gsd, 0), "EPSG:32619")).items()}


def explained() -> tuple[np.ndarray, np.ndarray]:
    """Fields whose temperature is a line of their reflectance, and that reflectance."""
    rng = np.random.default_rng(1)
    edges = np.sign(gaussian_filter(rng.standard_normal((160, 160)), 6))
    vegetation = np.clip(0.5 + 0.3 * edges + 0.05 * gaussian_filter(rng.standard_normal((160, 160)), 1) / 0.28, 0, 1)
    guide = np.stack([0.25 - 0.2 * vegetation, 0.2 + 0.3 * vegetation, 0.3 - 0.15 * vegetation])
    return 308 - 12 * vegetation, guide


def conserved(
    name: str, truth: np.ndarray, guide: np.ndarray, *, gsd: float = 90.0, factors: tuple[int, ...] = FACTORS
) -> list[str]:
    """Error of each method without and with held means, for several ways to make the low-resolution image."""
    lines = []
    for factor in factors:
        h, w = (n // factor * factor for n in truth.shape)
        fine, bands = grid((h, w), gsd), {"band": ["B04", "B08", "B11"]}
        high = xr.DataArray(((truth[:h, :w] / 100) ** 4).astype(np.float32), fine, ("y", "x"))
        optical = xr.DataArray(guide[:, :h, :w].astype(np.float32), {**fine, **bands}, ("band", "y", "x"))
        lows = {"block means": coarse(truth[:h, :w], factor)}
        lows |= {
            f"MTF {mtf}": 100 * xsr.degrade(high, scale=factor, mtf=mtf, units="reflectance").values ** 0.25
            for mtf in (0.2, 0.3)
        }
        for how, kelvin in lows.items():
            low = xr.DataArray(kelvin.astype(np.float32), grid(kelvin.shape, gsd * factor), ("y", "x"))
            cells = []
            for how_made in (*({"method": name} for name in METHODS), *({"model": name} for name in networks())):
                if not knows(how_made.get("model"), factor):
                    cells.append("")
                    continue
                found = [
                    xsr.guided(low, optical, **how_made, conserve=held, units="K").values for held in (None, "radiance")
                ]
                rmse = [float(np.sqrt(np.mean((image - truth[:h, :w]) ** 2))) for image in found]
                cells.append(f"{rmse[0]:.3f} → {rmse[1]:.3f}")
            lines.append(f"| {name} ×{factor}, {how} | {' | '.join(cells)} |")
    return lines


def networks() -> tuple[str, ...]:
    """List the packaged networks for temperatures of Landsat that know one of the factors."""
    cards = {name: registry.card(name) for name in registry.names()}
    ours = [name for name, card in cards.items() if card.units == "K" and card.residual and card.sensor == "landsat-8"]
    return tuple(name for name in ours if any(knows(name, factor) for factor in FACTORS))


def knows(model: str | None, factor: int) -> bool:
    """Whether a network was trained for a factor; methods know all."""
    low, high = (1, factor) if model is None else registry.card(model).scale_range
    return low <= factor <= high


def mendoza(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Brightness temperature and reflectance (red, near and short-wave infrared) at 90 m, about the native size."""
    scene = folder / "thermal_l8_mendoza_2016"
    dn = rioxarray.open_rasterio(scene / "LC82320832016040_DN_B10B11.tif").isel(band=0)
    kelvin = brightness_temperature(dn, scene / "LC82320832016040LGN00_MTL.txt", 10).values.astype(float)
    optical = rioxarray.open_rasterio(scene / "LC82320832016040_SR_B2-7.tif").values[[2, 3, 4]] * 1e-4
    return coarse(kelvin, 3), np.stack([coarse(band**0.25, 3) ** 4 for band in optical])


def write(name: str, text: str) -> None:
    """Put a table between its marks in the page."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = BEGIN.format(name), END.format(name)
    before, rest = page.split(begin)
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")


def means(scenes: dict[str, tuple[np.ndarray, np.ndarray]], factors: tuple[int, ...] = FACTORS) -> str:
    """Compare errors without and with held means, on the truth and the guide of some scenes."""
    names = ("bicubic", "guided filter", "TsHARP", *(f"`{name}`" for name in networks()))
    lines = [f"| RMSE, K | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for name, (truth, guide) in scenes.items():
        lines += conserved(name, truth, guide, factors=factors)
    return "\n".join(lines)


def tables(folder: str | None) -> Iterator[tuple[str, str]]:
    """Tables by the name of their marks; those of the real scene where there is a folder."""
    yield "synthetic", table(synthetic())
    if folder:
        truth, guide = mendoza(Path(folder))
        yield "real", table(truth)
        yield "means", means({"Mendoza": (truth, guide), "synthetic fields": explained()})


def small_tables() -> Iterator[tuple[str, str]]:
    """Tables of corners of the synthetic scenes, at a factor that no network knows."""
    yield "synthetic", table(synthetic()[:64, :64])
    truth, guide = explained()
    yield "means", means({"synthetic fields": (truth[:64, :64], guide[:, :64, :64])}, factors=(2,))


def main() -> None:
    """Print the tables, or write them with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    parser.add_argument("--small", action="store_true", help="a small input, printed")
    options = parser.parse_args()
    for name, text in small_tables() if options.small else tables(os.environ.get("XSR_DATA")):
        if options.write and not options.small:
            write(name, text)
        else:
            print(f"{name}\n\n{text}\n")


if __name__ == "__main__":
    main()
