"""How well `xsr.support` finds hallucinations that are planted in results of `liif_s2`.

Prints the area under the ROC curve of its score, by scale and case, on places that no recipe trains on; ``--write``
puts the table into docs/explanation/measured-or-inferred.md. Needs the folder of real images in XSR_DATA.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from common.data import manifest
from common.planted import CASES, Found, planted
from wald import write

from xsr.models import registry
from xsr.training.scores import read_places

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "measured-or-inferred.md"
MARKERS = "<!-- table: written by benchmarks/support.py -->", "<!-- end of table -->"
SCALES = (2.0, 3.4, 4.0)
LARGEST = 384
"""Largest side of the images, in pixels of the truth."""
LEAST = 96
"""Least side."""


def truths(largest: int) -> Iterator[xr.DataArray]:
    """First date of each place, its middle."""
    data = manifest()
    assert data is not None
    for place in read_places(data):
        cube = place.cube()[:1]
        starts = [max(0, (size - largest) // 2) for size in cube.shape[2:]]
        middle = cube[..., starts[0] : starts[0] + largest, starts[1] : starts[1] + largest]
        if bool(np.isfinite(middle).all()) and min(middle.shape[2:]) >= LEAST:
            yield middle


def table(found: dict[float, list[Found]]) -> str:
    """Markdown of the areas: mean and least over places and bands; and the shares of pixels with a score over 3."""
    head = ["scale", *CASES, *(f"{case}, score > 3" for case in CASES[:2]), "elsewhere, score > 3"]
    lines = [head, ["---"] * len(head)]
    for scale, rows in found.items():
        by_case = [[row for row in rows if row.case == case] for case in CASES]
        areas = [f"{np.mean([r.auc for r in some]):.3f} ({min(r.auc for r in some):.2f})" for some in by_case]
        flagged = [f"{np.mean([r.flagged for r in some]):.0%}" for some in by_case[:2]]
        lines.append([f"{scale:g}", *areas, *flagged, f"{np.mean([r.usual for r in by_case[2]]):.1%}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge all places."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table into the page")
    parser.add_argument("--small", action="store_true", help="little input, to check that it runs")
    options = parser.parse_args(arguments)
    if manifest() is None:
        print("XSR_DATA is not set: the areas need the folder of real images")
        return
    images = list(truths(LEAST if options.small else LARGEST))[: 1 if options.small else None]
    scales = SCALES[:1] if options.small else SCALES
    found = {scale: [row for image in images for row in planted(image, scale)] for scale in scales}
    weights = registry.card("liif_s2")
    text = f"{table(found)}\n\n{len(images)} places, weights `liif_s2` {weights.sha256[:12]}."
    print(text)
    if options.write and not options.small:
        write(PAGE, text, MARKERS)
        print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
