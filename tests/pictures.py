"""Pictures and a page that are compared with references; ``python tests/pictures.py`` makes the references again."""

import re
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

import xsr
from xsr.testing import SyntheticPair, synthetic_cube, synthetic_pair
from xsr.view.pages import render_page
from xsr.view.sections import Picture, Section, Table

IMAGES = ("rgb", "compare", "strata", "spectrum", "calibration", "series")
STYLE = {"font.family": "DejaVu Sans", "font.size": 8}
SCRIPT = "<script>alert(1)</script>"
SIZE = (40, 30)
"""Picture (x, y) that two are reduced to: text and lines may move by a pixel between versions of matplotlib."""


@cache
def _results(rows: int) -> tuple[SyntheticPair, xr.DataArray, xr.DataArray]:
    pair = synthetic_pair(size=(rows, 40))
    return pair, pair.low.sr.interpolate(scale=4), pair.low.sr.interpolate(scale=4, method="nearest")


def scores_of(pair: SyntheticPair, name: str) -> tuple[xr.Dataset, xr.Dataset]:
    """Scores of bicubic interpolation, and of nearest."""
    _, fine, nearest = _results(pair.low.sizes["y"])
    around = xr.DataArray([-0.02, -0.01, 0, 0.01, 0.02], {"quantile": [0.05, 0.25, 0.5, 0.75, 0.95]}, "quantile")
    more: dict[str, Any] = {"patch": 32} if name == "spectrum" else {}
    judge = getattr(xsr, name)
    images = (one + around if name == "calibration" else one for one in (fine, nearest))
    first, second = (judge(one, pair.high, **more) for one in images)
    return first, second


def drawn(name: str) -> Figure:
    """Draw one of the pictures."""
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE, "backend": mpl.get_backend()}):
        figure = Figure(figsize=(4, 3), dpi=60, layout="constrained")
        pair, fine, _ = _results(32)
        if name == "rgb":
            xsr.plot.rgb(pair.low, ax=figure.subplots())
        elif name == "compare":
            xsr.plot.compare(pair.low, fine, pair.high, inset_side=8, axes=figure.subplots(1, 3))
        elif name == "series":
            cube = synthetic_cube(size=(8, 8), times=[f"2024-{month:02d}-10" for month in range(1, 13)])
            around = xr.DataArray([-0.02, 0, 0.02], {"quantile": [0.05, 0.5, 0.95]}, "quantile")
            xsr.plot.series(cube + around, x=600_040, y=5_649_960, bands=["B04", "B08"], ax=figure.subplots())
        elif name == "calibration":
            xsr.plot.calibration(scores_of(pair, name)[0], axes=list(figure.subplots(1, 2)))
        else:
            first, second = scores_of(pair, name)
            getattr(xsr.plot, name)(first, beside={"nearest": second}, ax=figure.subplots())
        figure.canvas.draw()
    return figure


def picture(figure: Figure) -> Image.Image:
    """Pixels of a figure."""
    file = BytesIO()
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE, "backend": mpl.get_backend()}):
        figure.savefig(file, format="png", metadata={"Software": None})
    return Image.open(file).convert("RGB")


def difference(figure: Figure, reference: Path) -> float:
    """Root mean square difference from a reference, of 255, both reduced."""
    ours, theirs = (
        np.asarray(one.resize(SIZE, Image.Resampling.BOX), np.float64)
        for one in (picture(figure), Image.open(reference).convert("RGB"))
    )
    return float(np.sqrt(np.mean((ours - theirs) ** 2)))


def page_of_all_kinds() -> str:
    """Page of a report with all that a section can hold, and names that are markup."""
    picture = Picture("data:image/png;base64,AA==", f'"{SCRIPT}', "caption <i>")
    table = Table((SCRIPT, "B<02"), (("a & b", "1 > 0"), ("\x07bell", "'quoted'")), 'table "caption"')
    sections = [
        Section("first", f"First {SCRIPT}", ("A line & another.", "<b>"), (table,), (picture,)),
        Section("second", "Second", missing="Not given: <low>."),
    ]
    return re.sub(r"(Written by xsr) \S+\. ", r"\1 VERSION. ", render_page(f"Report {SCRIPT}", sections))


def main() -> None:
    """Make the references."""
    (Path(__file__).parent / "view" / "report.html").write_text(page_of_all_kinds(), encoding="utf-8")
    folder = Path(__file__).parent / "view" / "images"
    folder.mkdir(exist_ok=True)
    for name in IMAGES:
        picture(drawn(name)).quantize(64).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
