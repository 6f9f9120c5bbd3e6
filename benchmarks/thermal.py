"""Scores of sharpened temperatures on the thermal test scenes, against interpolation, guided filter and TsHARP.

Prints the table; ``--write`` puts it into the documentation and the cards of the models. Needs the folder of real
images in XSR_DATA.
"""

import argparse
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from common.data import manifest
from common.thermal_scores import (
    BORDER,
    METHODS,
    MTF,
    UNGUIDED,
    ThermalScore,
    alignment,
    read_scenes,
    score,
)
from rich.console import Console
from rich.table import Table
from wald import write

from xsr.models import registry
from xsr.models.card import read_card, write_card
from xsr.training.thermal import ThermalScene

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference" / "thermal.md"
MARKERS = "<!-- scores: written by benchmarks/thermal.py -->", "<!-- end of scores -->"
SCALES = (4, 8)
HEAD = ("method", "PSNR dB", "SSIM", "MSE K²", "bias K", "edges", "RMSE K, flat to steep quartiles of the truth")
MISSING = "not trained"
NETWORK = "DCTNet"
CONSERVED: tuple[dict[str, Any], ...] = ({}, {"conserve": "radiance"}, {"conserve": "radiance", "mtf": MTF})
"""Ways to conserve radiance, as arguments of `score`."""
SMALL = 64
"""Side of a small input in pixels."""


def trained(method: str, scale: int) -> bool:
    """Whether a row needs no weights, or has some for this factor."""
    model = METHODS[method].get("model")
    if model is None:
        return True
    return model in registry.names() and registry.card(model).factor in (None, scale)


def run(scenes: list[ThermalScene]) -> list[ThermalScore]:
    """Score every method that there is."""
    return [
        score(scene, scale, method)
        for scene in scenes
        for scale in SCALES
        for method in METHODS
        if trained(method, scale) and (guided(scene) or method in UNGUIDED)
    ]


def guided(scene: ThermalScene) -> bool:
    """Whether a scene has a guide."""
    return bool(np.isfinite(scene.guide).any())


def cells(row: ThermalScore | None, method: str) -> tuple[str, ...]:
    """Row of the table."""
    if row is None:
        return (method, MISSING, *[""] * (len(HEAD) - 2))
    edges = "" if math.isnan(row.edges) else f"{row.edges:.2f}"
    numbers = (f"{row.psnr_db:.2f}", f"{row.ssim:.3f}", f"{row.mse_k2:.3f}", f"{row.bias_k:+.3f}", edges)
    return (method, *numbers, " / ".join(f"{rmse:.2f}" for rmse in row.strata_rmse_k))


def tables(scenes: list[ThermalScene], scores: list[ThermalScore]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Caption and rows of each scene and factor."""
    out = []
    for scene in scenes:
        names = METHODS if guided(scene) else UNGUIDED
        spread = float(np.nanmax(scene.kelvin) - np.nanmin(scene.kelvin))
        span = f"{spread:.1f} K"
        if guided(scene):
            span += f"; edges of the truth {alignment(scene.kelvin, scene.guide):.2f}"
        for scale in SCALES:
            found = {r.method: r for r in scores if r.place == scene.place and r.scale == scale}
            rows = [cells(found.get(name), name) for name in names]
            out.append((f"{scene.place}, ×{scale} (range {span})", rows))
    return out


def markdown(scenes: list[ThermalScene], scores: list[ThermalScore]) -> str:
    """Return all tables and the note."""
    lines = []
    for caption, rows in tables(scenes, scores):
        lines += [f"**{caption}**", "", f"| {' | '.join(HEAD)} |", f"| {' | '.join('---' for _ in HEAD)} |"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        lines.append("")
    names = [model for row in METHODS.values() if (model := row.get("model")) in registry.names()]
    weights = ", ".join(f"`{name}` `{registry.card(str(name)).sha256[:12]}`" for name in names)
    note = (
        f"Wald protocol, Gaussian point spread function with MTF {MTF} at the Nyquist frequency of the low-resolution"
        f" image, {BORDER} px border off, no conservation of means. The range of the truth is the peak of PSNR and the"
        f" range of SSIM. Weights: {weights}."
    )
    return "\n".join([*lines, note, "", kept(scenes)])


def kept(scenes: list[ThermalScene]) -> str:
    """Table of what conserving radiance does, over the area of a pixel and within the sensor's response."""
    head = ("conserved: nothing → over the area → within the response, PSNR dB", "bicubic", "guided filter", NETWORK)
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for scene in filter(guided, scenes):
        for scale in SCALES:
            found = (
                " → ".join(f"{score(scene, scale, method, **how).psnr_db:.2f}" for how in CONSERVED)
                for method in head[1:]
            )
            lines.append(f"| {scene.place}, ×{scale} | {' | '.join(found)} |")
    return "\n".join(lines)


def record(scores: list[ThermalScore]) -> None:
    """Write the scores of each model into its card, with those of bicubic interpolation."""
    bicubic = {(row.place, row.scale): row.psnr_db for row in scores if row.method == "bicubic"}
    for method, arguments in METHODS.items():
        model = arguments.get("model")
        rows = [
            {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in asdict(row).items()}
            | {"bicubic_db": bicubic[row.place, row.scale]}
            for row in scores
            if row.method == method
        ]
        if model is not None and rows:
            path = registry.find(model)
            write_card(replace(read_card(path), scores=rows), path)


def corner(scene: ThermalScene) -> ThermalScene:
    """Corner of a scene."""
    return replace(scene, kelvin=scene.kelvin[:SMALL, :SMALL], guide=scene.guide[:, :SMALL, :SMALL])


def main() -> None:
    """Score all methods; print, and write with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="update docs and cards")
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: the scores need the folder of real images")
        return
    scenes = [corner(next(read_scenes(data)))] if options.small else list(read_scenes(data))
    scores = run(scenes)
    for caption, rows in tables(scenes, scores):
        table = Table(*HEAD, title=caption)
        for row in rows:
            table.add_row(*row)
        Console(width=150).print(table)
    if options.write and not options.small:
        record(scores)
        write(TARGET, markdown(scenes, scores), MARKERS)
        print(f"wrote {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
