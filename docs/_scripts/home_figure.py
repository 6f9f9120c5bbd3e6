"""Draw ``docs/_static/home.png``, the picture of the home page: a farm at 10 m, interpolated, by xsr, and the truth."""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr

mpl.use("Agg")
import matplotlib.pyplot as plt

from xsr.testing import synthetic_pair

OUTPUT = Path(__file__).resolve().parents[1] / "_static" / "home.png"
WHITE = np.array([0.22, 0.20, 0.16])
INK = "#808080"  # readable on white and on black


def colours(image: xr.DataArray) -> np.ndarray:
    """Apply a fixed stretch to the visible bands, shape (y, x, 3)."""
    visible = image.squeeze("time").sel(band=["B04", "B03", "B02"]).transpose("y", "x", "band").values
    return np.clip(visible / WHITE, 0, 1) ** 0.7


def draw(side: int, output: Path) -> None:
    """Draw four panels of the same place."""
    pair = synthetic_pair(seed=21, size=(side, side), high_gsd_m=2.5, times=["2024-05-20"])
    images = {
        "Sentinel-2, 10 m": pair.low,
        "bicubic, 2.5 m": pair.low.sr.interpolate(scale=4, method="bicubic"),
        "xsr, 2.5 m": pair.low.sr.liif(scale=4),
        "truth, 2.5 m": pair.high,
    }
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.25), layout="constrained")
    for axis, (title, image) in zip(axes, images.items(), strict=True):
        axis.imshow(colours(image), interpolation="nearest")
        axis.set_title(title, color=INK, fontsize=12)
        axis.set_axis_off()
    figure.savefig(output, dpi=100, transparent=True)


def main() -> None:
    """Draw where the documentation looks for it, or a small scene here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a small scene, drawn into the working directory")
    draw(*((24, Path(OUTPUT.name)) if parser.parse_args().small else (56, OUTPUT)))


if __name__ == "__main__":
    main()
