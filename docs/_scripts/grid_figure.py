"""Draw ``docs/_static/grid.png``: where pixels and kernels lie when a grid is refined or coarsened."""

import argparse
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

OUTPUT = Path(__file__).resolve().parents[1] / "_static" / "grid.png"
INK, BLUE, RED, SHADE = "#333333", "#1f6fb2", "#c0392b", "#dddddd"
HEIGHT = 0.5


def pixels(ax: Axes, edges: np.ndarray, level: float, colour: str) -> None:
    """Draw one row of pixels from their edges, with a dot at each centre."""
    ax.hlines([level, level + HEIGHT], edges[0], edges[-1], color=colour, lw=1)
    ax.vlines(edges, level, level + HEIGHT, color=colour, lw=1)
    centres = (edges[:-1] + edges[1:]) / 2
    ax.plot(centres, np.full(centres.size, level + HEIGHT / 2), "o", color=colour, ms=4)


def label(ax: Axes, text: str, level: float) -> None:
    """Name a row, to its left."""
    ax.text(-0.15, level + HEIGHT / 2, text, ha="right", va="center", color=INK, fontsize=9)


def refine(ax: Axes, count: int = 5, scale: float = 2.5) -> None:
    """Draw a grid made finer, as xsr does it and as ``linspace`` between the end centres does."""
    ax.set_title(f"Finer: {count} pixels at scale {scale}", loc="left", fontsize=10)
    pixels(ax, np.arange(count + 1.0), 2, INK)
    label(ax, "input", 2)

    size = math.floor(count * scale + 1e-6)
    edges = np.arange(size + 1) / scale
    pixels(ax, edges, 1, BLUE)
    label(ax, "xsr", 1)
    ax.fill_between([edges[-1], count], 1, 1 + HEIGHT, color=SHADE, lw=0)
    ax.text(count + 0.1, 1 + HEIGHT / 2, "not covered", va="center", fontsize=8, color=INK)

    drawn = np.linspace(0.5, count - 0.5, size)
    ax.plot(drawn, np.full(size, HEIGHT / 2), "x", color=RED, ms=5)
    label(ax, "linspace", 0)
    for x in (edges[:-1] + 0.5 / scale)[[0, -1]]:
        ax.vlines(x, 0, 1 + HEIGHT / 2, color=BLUE, lw=0.8, ls=":")


def coarsen(ax: Axes, count: int = 10, scale: int = 2) -> None:
    """Draw a grid made coarser by an even factor, with the kernel of one low-resolution pixel."""
    ax.set_title(f"Coarser: even factor {scale}", loc="left", fontsize=10)
    pixels(ax, np.arange(count + 1) / scale, 1, INK)
    label(ax, "high", 1)
    pixels(ax, np.arange(count // scale + 1.0), 0, BLUE)
    label(ax, "low", 0)

    x = np.linspace(0, count / scale, 400)
    for centre, colour, style in ((2.5, BLUE, "-"), (2.25, RED, "--")):
        ax.plot(x, 1.6 + 0.7 * np.exp(-0.5 * ((x - centre) / 0.35) ** 2), color=colour, ls=style, lw=1.2)
    ax.vlines(2.5, HEIGHT / 2, 2.3, color=BLUE, lw=0.8, ls=":")
    ax.text(2.95, 2.1, "between two high pixels: right", color=BLUE, fontsize=8)
    ax.text(1.75, 2.1, "on a high pixel: shifted", color=RED, fontsize=8, ha="right")


def draw(output: Path) -> None:
    """Draw both panels and write the file."""
    figure, axes = plt.subplots(2, 1, figsize=(7.5, 4.6), layout="constrained")
    refine(axes[0])
    coarsen(axes[1])
    for ax in axes:
        ax.set_xlim(-1.1, 6.2)
        ax.axis("off")
    figure.savefig(output, dpi=150)
    plt.close(figure)


def main() -> None:
    """Draw where the documentation looks for it, or here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="write into the working directory")
    draw(Path(OUTPUT.name) if parser.parse_args().small else OUTPUT)


if __name__ == "__main__":
    main()
