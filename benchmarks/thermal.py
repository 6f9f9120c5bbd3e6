"""Scores of sharpened temperatures, against interpolation and published methods of sharpening.

Prints the tables; ``--write`` puts them into the documentation and the cards of the models. Needs the folder of real
images in XSR_DATA, and scikit-learn.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from common import thermal_tables as more
from common.data import manifest
from common.modis_aster import Overpass, agreements, read_pairs, tables
from common.thermal_places import guided, read_scenes
from common.thermal_scores import (
    BLIND,
    BORDER,
    METHODS,
    MTF,
    NETWORKS,
    OF_MODIS,
    PARTS,
    ROWS,
    Estimates,
    Pair,
    ThermalScore,
    alignment,
    model_of,
    pair,
    score,
    trained,
    trained_on,
)
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
DEFAULT = "DCTNet"
"""Row of the network that `xsr.guided` takes by default."""
SMALL = 64
"""Side of a small input in pixels."""
SMALL_ROWS = tuple(name for name in ROWS if name not in NETWORKS or name in BLIND)
"""Rows for it."""
Case = tuple[Pair, tuple[str, ...]]
"""A pair and the rows of its table."""


def cases(scenes: Sequence[ThermalScene], scales: Sequence[int] = SCALES, rows: tuple[str, ...] = ROWS) -> list[Case]:
    """Pairs of all scenes and factors."""
    return [(pair(scene, scale), rows if guided(scene) else BLIND) for scene in scenes for scale in scales]


def run(found: Sequence[Case], made: Estimates) -> list[ThermalScore]:
    """Score every method that there is."""
    return [
        score(case, made(case, method), method)
        for case, names in found
        for method in names
        if trained(method, case.scale)
    ]


def cells(row: ThermalScore | None, method: str) -> tuple[str, ...]:
    """Row of the table."""
    if row is None:
        return (method, MISSING, *[""] * (len(HEAD) - 2))
    edges = "" if math.isnan(row.edges) else f"{row.edges:.2f}"
    numbers = (f"{row.psnr_db:.2f}", f"{row.ssim:.3f}", f"{row.mse_k2:.3f}", f"{row.bias_k:+.3f}", edges)
    return (method, *numbers, " / ".join(f"{rmse:.2f}" for rmse in row.strata_rmse_k))


def by_place(found: Sequence[Case], scores: Sequence[ThermalScore]) -> str:
    """Table of each scene and factor."""
    lines = []
    for case, names in found:
        truth, guide = case.truth.values[0], case.guide.values
        span = f"{float(np.nanmax(truth) - np.nanmin(truth)):.1f} K"
        if names != BLIND:
            span += f"; edges of the truth {alignment(truth, guide):.2f}"
        mine = {row.method: row for row in scores if (row.place, row.scale) == (case.place, case.scale)}
        learnt = [name for name in names if case.place in trained_on(name)]
        note = f"; in the training of {', '.join(learnt)}" if learnt else ""
        lines += [f"**{case.place}, ×{case.scale} (range {span}{note})**", ""]
        lines += [more.table(HEAD, [cells(mine.get(name), name) for name in names]), ""]
    return "\n".join(lines)


def note() -> str:
    """Say what the tables are of."""
    names = dict.fromkeys(model for row in METHODS for scale in SCALES if (model := model_of(row, scale)))
    weights = ", ".join(f"`{name}` `{registry.card(name).sha256[:12]}`" for name in names if name in registry.names())
    return (
        f"Wald protocol, Gaussian point spread function with MTF {MTF} at the Nyquist frequency of the low-resolution"
        f" image, {BORDER} px border off, no conservation of means. The range of the truth is the peak of PSNR and the"
        f" range of SSIM. Weights: {weights}.\n"
    )


def markdown(
    found: Sequence[Case], overpasses: Sequence[Overpass], scores: Sequence[ThermalScore], made: Estimates
) -> str:
    """Return all tables and the note."""
    pairs = [case for case, names in found if names != BLIND]
    blind = [case for case, names in found if names == BLIND]
    nearest = more.best(pairs, made, [name for name in found[0][1] if name in NETWORKS])
    network, networks = DEFAULT, tuple(dict.fromkeys((DEFAULT, nearest)))
    parts = [by_place(found, scores), note()]
    parts += [
        "### Networks against each other method\n",
        f"{network} is what `guided` takes by default. Each scene is cut into {PARTS} × {PARTS} parts; the numbers are"
        " the mean over parts of the difference in dB, ± its standard error; below, means over scenes, bold above"
        " their standard error.\n",
        more.margins(pairs, made, network, more.COMPARED, more.freely) + "\n",
        "The same where every result is held within the response of the sensor, and ATPRK and kriging heed it;"
        f" {network} is averaged with the guided filter first, as its card says:\n",
        more.margins(pairs, made, network, more.COMPARED, more.within) + "\n",
    ]
    if nearest != network:
        parts += [
            f"{nearest} has the greatest mean PSNR. Where nothing is held:\n",
            more.margins(pairs, made, nearest, (*more.COMPARED, network), more.freely) + "\n",
        ]
    if blind:
        parts += ["Without a guide:\n"]
        for name in ("ESRNet", network):
            known = [case for case in blind if trained(name, case.scale)]
            parts += [more.margins(known, made, name, ("bicubic", "kriging"), more.freely) + "\n"]
    parts += ["### A vegetation index alone, or one band, for a guide\n", more.guides(pairs, made, network) + "\n"]
    parts += [more.margins_by_guide(pairs, made, network) + "\n"]
    parts += ["### What conserving radiance does\n"]
    parts += [f"{one}\n" for one in more.kept(pairs, made, network)]
    if overpasses:
        parts += ["### MODIS sharpened, against ASTER\n", *(f"{one}\n" for one in tables(overpasses, made, networks))]
    return "\n".join(parts).rstrip()


def record(scores: Sequence[ThermalScore]) -> None:
    """Write into the card of each model its scores on places that it was not trained on, with those of bicubic."""
    bicubic = {(row.place, row.scale): row.psnr_db for row in scores if row.method == "bicubic"}
    found: dict[str, list[dict[str, object]]] = {}
    for row in scores:
        model = model_of(row.method, row.scale)
        if model is not None and row.place not in trained_on(row.method):
            plain = {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in asdict(row).items()}
            found.setdefault(model, []).append({**plain, "bicubic_db": bicubic[row.place, row.scale]})
    for model, rows in found.items():
        path = registry.find(model)
        write_card(replace(read_card(path), scores=rows), path)


def record_modis(overpasses: Sequence[Overpass], made: Estimates) -> None:
    """Write into the card of the network for MODIS how it agrees with ASTER, and interpolation with it."""
    rows = []
    for one in overpasses:
        base, row = agreements(one, made, ("bicubic", OF_MODIS))[:2]
        plain = {"rmse_k": row.rmse_k, "correlation": row.correlation, "correlation_of_detail": row.detail}
        numbers = {key: round(value, 4) for key, value in {**plain, "bicubic_rmse_k": base.rmse_k}.items()}
        rows.append({"place": f"MODIS and ASTER, {one.pair.place}", "scale": one.pair.scale, **numbers})
    path = registry.find(METHODS[OF_MODIS]["model"])
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
    found, made = cases(scenes, SCALES[:1], SMALL_ROWS) if options.small else cases(scenes), Estimates()
    scores = run(found, made)
    overpasses = [] if options.small else list(read_pairs(data))
    text = markdown(found, overpasses, scores, made)
    print(text)
    if options.write and not options.small:
        record(scores)
        record_modis(overpasses, made)
        write(TARGET, text, MARKERS)
        print(f"wrote {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
