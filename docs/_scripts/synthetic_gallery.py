"""Draw docs/_static/synthetic.png: the truth, what Sentinel-2 observes of it, the seasons and the clouds."""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr

mpl.use("Agg")
import matplotlib.pyplot as plt

from xsr.testing import Scene, synthetic_cube, synthetic_pair

SEED = 11
OUTPUT = Path(__file__).resolve().parents[1] / "_static" / "synthetic.png"
SIDE = 192
SEASONS = ("2024-02-10", "2024-05-05", "2024-07-01", "2024-09-10")
RGB = ["B04", "B03", "B02"]


def true_colour(image: xr.DataArray) -> np.ndarray:
    """Apply a fixed stretch, shape (y, x, 3)."""
    white = np.array([0.22, 0.20, 0.16])
    colours = image.sel(band=RGB).transpose("y", "x", "band").values / white
    return np.where(np.isfinite(colours), np.clip(colours, 0, 1) ** 0.7, 0.85)


def draw(side: int, output: Path) -> None:
    """Draw all panels and write the file."""
    size = (side, side)
    pair = synthetic_pair(seed=SEED, size=size, times=["2024-06-01"], bands=RGB)
    months = synthetic_cube(seed=SEED, size=size, times=SEASONS, bands=RGB)
    cloudy = synthetic_cube(seed=SEED, size=size, times=["2024-06-01"], bands=RGB, clouds=0.3, cloud_nodata=False)
    mask = Scene(seed=SEED, size_m=10.0 * side).cloud_mask(gsd_m=10.0, times=["2024-06-01"], cover=0.3)[0]
    low, high = pair.low[0], pair.high[0]
    rows, cols = slice(60, 124), slice(50, 114)
    fine = (slice(rows.start * 4, rows.stop * 4), slice(cols.start * 4, cols.stop * 4))
    panels = {
        "observed at 10 m": true_colour(low),
        "truth at 2.5 m": true_colour(high),
        "640 m of it, at 10 m": true_colour(low[:, rows, cols]),
        "the same, at 2.5 m": true_colour(high[:, fine[0], fine[1]]),
        **{date: true_colour(months[number]) for number, date in enumerate(SEASONS)},
        "clouds": true_colour(cloudy[0]),
        "hidden (cloud or shadow)": np.repeat(mask.values[..., None] * 0.85, 3, axis=2),
    }
    figure, axes = plt.subplots(2, 5, figsize=(12.5, 5.5), layout="constrained")
    order = [0, 1, 2, 3, 8, 4, 5, 6, 7, 9]
    titles = list(panels)
    for axis, number in zip(axes.flat, order, strict=True):
        axis.imshow(panels[titles[number]], interpolation="nearest")
        axis.set_title(titles[number], fontsize=9)
        axis.set_axis_off()
    output.parent.mkdir(exist_ok=True)
    figure.savefig(output, dpi=100)
    shrink(output)


def shrink(path: Path) -> None:
    """Reduce the figure to 256 colours."""
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main() -> None:
    """Draw where the documentation looks for it, or a small scene here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a small scene, drawn into the working directory")
    draw(*((128, Path(OUTPUT.name)) if parser.parse_args().small else (SIDE, OUTPUT)))


if __name__ == "__main__":
    main()
