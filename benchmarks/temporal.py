"""Scores in time on the test series and the validation scenes, against means over dates and single-date models.

Prints the table; ``--write`` puts it into the documentation and the model's card. Needs the folder of real images in
XSR_DATA.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from common.data import manifest
from common.time_scores import TimeScore, read_series, score_series
from rich.console import Console
from rich.table import Table
from wald import write

from xsr.models import registry
from xsr.models.card import read_card, write_card
from xsr.training.manifest import Manifest
from xsr.training.series import Series

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference" / "models.md"
MARKERS = "<!-- scores in time: written by benchmarks/temporal.py -->", "<!-- end of scores in time -->"
CASES = ("hidden", "shown", "clouded")
SMALL = 64
"""Side of a small input in pixels."""


def methods(scores: list[TimeScore]) -> list[str]:
    """Names of all methods, in order."""
    return list(dict.fromkeys(name for row in scores for name in row.db))


def markdown(scores: list[TimeScore], sha256: str, single: str) -> str:
    """Return the table, one row a place and case."""
    names = methods(scores)
    lines = [
        "| place | dates | the date itself | " + " | ".join(names) + " |",
        "| --- | --- | --- | " + " | ".join("---" for _ in names) + " |",
    ]
    for row in scores:
        cells = [f"{row.db[name]:.2f}" if name in row.db else "" for name in names]
        lines.append(f"| {row.place} | {row.dates} | {row.case} | " + " | ".join(cells) + " |")
    note = (
        f"PSNR in dB at ×{scores[0].scale:g}, peak 1 reflectance, B02 B03 B04 B08 pooled, mean over clear dates. The"
        " target date is hidden from the method, shown to it, or hidden while synthetic clouds hide 40 % of every"
        " other."
        f" Weights sha256 `{sha256[:12]}`."
    )
    return "\n".join([*lines, "", note, "", "Mean over places. " + " ".join(findings(scores, single))])


def findings(scores: list[TimeScore], single: str) -> list[str]:
    """Say in a line each how the temporal model compares, mean over places."""
    by = {case: {row.place: row.db for row in scores if row.case == case} for case in CASES}
    linear, registered = "bicubic, linear", f"{single}, registered"

    def mean(values: Iterable[float]) -> str:
        return f"{np.mean(list(values)):+.2f} dB"

    lost = {
        name: mean(by["clouded"][place][name] - db[name] for place, db in by["hidden"].items())
        for name in ("temporal", linear)
    }
    return [
        f"Date hidden, over time-linear bicubic: {mean(db['temporal'] - db[linear] for db in by['hidden'].values())}.",
        f"Date shown, over `{single}`: {mean(db['temporal'] - db[single] for db in by['shown'].values())}.",
        f"`{single}` corrected by the other dates, which `register` has measured: date hidden, over time-linear bicubic"
        f" {mean(db[registered] - db[linear] for db in by['hidden'].values())}; date shown, over itself"
        f" {mean(db[registered] - db[single] for db in by['shown'].values())}.",
        f"Clouds on 40 % of every other date cost it {lost['temporal']}, and time-linear bicubic {lost[linear]}.",
    ]


def corner(data: Manifest) -> Iterator[Series]:
    """Corner of a few clear dates of the first series."""
    series = next(read_series(data))
    near = replace(series, image=series.image[..., :SMALL, :SMALL], coarse=None)
    dates = near.clear()[:4]
    yield replace(near, times=near.times[dates], image=near.image[dates])


def main() -> None:
    """Score a temporal model; print, and write with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="temporal_liif_s2")
    parser.add_argument("--single", default="liif_s2", help="single-date model to compare with")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--write", action="store_true", help="update docs and card")
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: the scores need the folder of real images")
        return
    found = [
        score_series(series, options.scale, case, temporal=options.model, single=(options.single,))
        for series in (corner(data) if options.small else read_series(data))
        for case in CASES
    ]
    scores = [row for row in found if row is not None]
    table = Table("place", "dates", "date itself", *methods(scores))
    for row in scores:
        cells = [f"{row.db[name]:.2f}" if name in row.db else "" for name in methods(scores)]
        table.add_row(row.place, str(row.dates), row.case, *cells)
    Console().print(table)
    print("\n".join(findings(scores, options.single)))
    if options.write and not options.small:
        path = registry.find(options.model)
        write_card(replace(read_card(path), scores=[asdict(row) for row in scores]), path)
        write(TARGET, markdown(scores, registry.card(options.model).sha256, options.single), MARKERS)
        print(f"wrote {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
