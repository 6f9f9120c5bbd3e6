"""Draw ``docs/_static/metrics.png`` and write the tables of ``explanation/what-metrics-miss.md``.

A sharp image and a blurred copy of it are judged against a reference that is true, one pixel off, or observed through
another spectral response. Run alone, the script also scores a real scene where XSR_DATA names the folder, and puts both
tables into the page; from the documentation build it draws only.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

import xsr
from xsr.testing import synthetic_pair

DOCS = Path(__file__).resolve().parents[1]
OUTPUT, PAGE = DOCS / "_static" / "metrics.png", DOCS / "explanation" / "what-metrics-miss.md"
BEGIN, END = "<!-- {}: written by docs/_scripts/metrics_figure.py -->", "<!-- end of {} -->"
SCALE, BORDER, BLUR = 2, 8, 1.0
SIGMAS = np.linspace(0, 2.5, 11)
CONDITIONS = ("true", "1 px off", "other response")
COLOURS = dict(zip(CONDITIONS, ("#1f6fb2", "#c0392b", "#2e8b57"), strict=True))


@dataclass(frozen=True)
class Trial:
    """A scene: what the high-resolution sensor observes, the low-resolution image, and the references."""

    high: xr.DataArray
    low: xr.DataArray
    references: dict[str, xr.DataArray]


def blurred(cube: xr.DataArray, sigma: float) -> xr.DataArray:
    """Blur with a Gaussian of ``sigma`` pixels."""
    from scipy.ndimage import gaussian_filter

    return cube.copy(data=gaussian_filter(cube.values, (0, 0, sigma, sigma), mode="mirror"))


def distorted(cube: xr.DataArray) -> xr.DataArray:
    """Observe the scene through another spectral response: mix visible bands, change gain and offset."""
    values = cube.values
    mixed = 0.8 * values + 0.2 * values[:, [1, 2, 1, 3]]  # the near infrared has no neighbour
    return cube.copy(data=(0.8 * mixed + 0.02).astype(np.float32))


def trial(high: xr.DataArray) -> Trial:
    """Simulate the low-resolution image and the three references of a scene."""
    noise = 0.001 * np.random.default_rng(0).standard_normal(high.shape)
    low = xsr.degrade(high, scale=SCALE)
    shifted = high.copy(data=np.roll(high.values, 1, axis=3))
    references = dict(zip(CONDITIONS, (high, shifted, distorted(high)), strict=True))
    return Trial(high + noise.astype(np.float32), low, references)


def scene(side: int = 160) -> xr.DataArray:
    """Synthetic fields, hedges and roads at 5 m."""
    return synthetic_pair(size=(side, side), high_gsd_m=5.0, seed=3, bands=("B02", "B03", "B04", "B08")).high


def real_scene(root: Path) -> xr.DataArray:
    """Read a Sentinel-2 scene of Madagascar at 10 m."""
    from xsr.sources.files import open_file

    path = sorted((root / "s2_theia_madagascar_38KPE").glob("*.tif"))[0]
    cube = open_file(path)
    assert isinstance(cube, xr.DataArray)
    cube = cube.astype("float32") * 1e-4 if float(cube.max()) > 10 else cube
    names = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
    cube = cube.assign_coords(band=names).sel(band=["B02", "B03", "B04", "B08"]).expand_dims("time").compute()
    cube.attrs = {}
    return cube


def mean(scores: xr.Dataset, name: str) -> float:
    """Average a metric over dates and bands."""
    return float(scores[name].mean())


def numbers(image: xr.DataArray, reference: xr.DataArray, low: xr.DataArray) -> dict[str, float]:
    """Score one image against one reference."""
    scores = xsr.evaluate(image, reference, low=low, data_range=1.0, border=BORDER)
    strata = xsr.strata(image, reference, quantiles=4, border=BORDER)
    spectra = xsr.spectrum(image, reference, patch=64, border=BORDER).mean(["time", "band"])
    fine = spectra.sel(frequency=slice(0.6 * float(spectra["frequency"][-1]), None))
    flat, steep = (float(strata["mae"].isel(stratum=k).mean()) for k in (0, -1))
    return {
        "MAE": 1e3 * mean(scores, "mae"),
        "PSNR dB": mean(scores, "psnr"),
        "steep / flat": steep / flat,
        "low fidelity": 1e3 * mean(scores, "low_fidelity"),
        "detail power": float(fine["power_ratio"].mean()),
        "FRC resolution m": float(spectra["resolution_m"]),
    }


def table(case: Trial) -> str:
    """Lay out the scores of the sharp and the blurred image under each condition."""
    rows: list[str] = []
    for condition, reference in case.references.items():
        for kind, image in (("sharp", case.high), ("blurred", blurred(case.high, BLUR))):
            found = numbers(image, reference, case.low)
            if not rows:
                rows += [f"| reference | image | {' | '.join(found)} |", "| --- | --- |" + " ---: |" * len(found)]
            rows.append(f"| {condition} | {kind} | {' | '.join(f'{value:.3g}' for value in found.values())} |")
    return "\n".join(rows)


def draw_preference(ax: Axes, case: Trial) -> None:
    """PSNR over blur: its maximum is the image that the metric likes best."""
    for condition, reference in case.references.items():
        options = {"data_range": 1.0, "metrics": ["psnr"], "border": BORDER}
        curve = [mean(xsr.evaluate(blurred(case.high, s), reference, **options), "psnr") for s in SIGMAS]
        best = int(np.argmax(curve))
        ax.plot(SIGMAS, curve, color=COLOURS[condition], label=condition)
        ax.plot(SIGMAS[best], curve[best], "o", color=COLOURS[condition])
    ax.set(xlabel="blur of the image [px]", ylabel="PSNR [dB]", title="which image PSNR prefers (dot)")
    ax.legend(title="reference", frameon=False)


def draw_strata(ax: Axes, case: Trial) -> None:
    """Mean absolute error of the sharp image by gradient of the reference."""
    for condition, reference in case.references.items():
        mae = xsr.strata(case.high, reference, quantiles=8, border=BORDER)["mae"].mean(["time", "band"])
        ax.semilogy(np.arange(8) + 0.5, mae, "o-", color=COLOURS[condition])
    ax.set(xlabel="gradient of the reference, octile", ylabel="MAE of the sharp image", title="where the error lies")


def draw_power(ax: Axes, case: Trial) -> None:
    """Power ratio of the sharp and the blurred image, whatever the reference."""
    for kind, image, style in (("sharp", case.high, "-"), ("blurred", blurred(case.high, BLUR), "--")):
        for condition, reference in case.references.items():
            found = xsr.spectrum(image, reference, patch=64, border=BORDER).mean(["time", "band"])
            label = kind if condition == CONDITIONS[0] else None
            ax.semilogy(found["frequency"], found["power_ratio"], style, color=COLOURS[condition], label=label)
    ax.set(xlabel="frequency [1/m]", ylabel="power over power of the reference", title="how much detail there is")
    ax.legend(frameon=False)


def draw(case: Trial, output: Path) -> None:
    """Draw the three panels and write the file."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for ax, panel in zip(axes, (draw_preference, draw_strata, draw_power), strict=True):
        panel(ax, case)
    figure.savefig(output, dpi=130)
    plt.close(figure)


def put(text: str, name: str) -> None:
    """Replace what stands between two markers of the page."""
    begin, end = BEGIN.format(name), END.format(name)
    content = PAGE.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1:
        sys.exit(f"{PAGE} must hold {begin!r} and {end!r} once each")
    before, rest = content.split(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def main() -> None:
    """Draw, and write the tables with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    parser.add_argument("--small", action="store_true", help="a small scene, drawn into the working directory")
    options = parser.parse_args()
    if options.small:
        draw(trial(scene(96)), Path(OUTPUT.name))
        return
    case = trial(scene())
    draw(case, OUTPUT)
    if options.write:
        put(table(case), "synthetic")
        root = os.environ.get("XSR_DATA")
        if root:
            put(table(trial(real_scene(Path(root)))), "real")


if __name__ == "__main__":
    main()
