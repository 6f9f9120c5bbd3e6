"""Weights before and after adversarial fine-tuning: error, fidelity, detail against a finer sensor, and naturalness.

``xsr train`` writes candidates beside the weights of an adversarial recipe; name any of them by ``--weights``. Wald
pairs of validation places (and, with ``--test``, of test places) are scored by `xsr.training.scores`, the pairs with
SPOT at matched sharpness as `cross_sensor.py` does it. Of the weights whose fidelity is within 0.002 and whose error is
at most 5 % above that of the packaged network, the one of the least BRISQUE on validation places is named. Needs the
folder of real images in XSR_DATA.
"""

import argparse
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from common.data import manifest
from common.finer_sensor import Pair, pairs
from common.matched_scores import Judge
from wald import write

import xsr
from xsr.core.errors import XsrWarning
from xsr.training.manifest import Manifest, Split
from xsr.training.scores import TestPlace, compare, degraded, read_places, super_resolve

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference" / "adversarial.md"
PICTURE = ROOT / "docs" / "_static" / "adversarial.png"
MARKERS = "<!-- adversarial table: written by benchmarks/adversarial.py -->", "<!-- end of adversarial table -->"
HEAD = f"""# Adversarial fine-tuning

The packaged network against the same after fine-tuning with a discriminator: what is measured, not what looks sharp.
Errors are in reflectance; detail against SPOT is compared at matched sharpness, β of 1 is right. A finer look with a
larger error, more hallucination or a smaller ρ is no gain for measurement.

![bicubic interpolation, networks and truth](../_static/adversarial.png)

{MARKERS[0]}
{MARKERS[1]}
"""
"""What the page says before its tables, where there is none yet."""
START, BASE = "carn_3x3x64g4sw_s2", "bicubic"
FACTOR, BORDER, SMALL = 2.0, 4, 96
MOST_LOW_RMSE, MOST_RMSE = 0.002, 1.05
"""Bounds of weights that may be chosen: fidelity in reflectance, and error as a share of the packaged network's."""
FINE_M = 5.0
"""Greatest pixel of a reference in metres: the result is interpolated to it, never coarsened."""
Row = dict[str, float]


def wald_scores(place: TestPlace, model: str) -> Row:
    """Score a model, or bicubic interpolation, on the Wald pair of a place."""
    high = place.cube()
    low = place.cube(degraded(place, FACTOR), scale=FACTOR)
    used = START if model == BASE else model
    known = compare(low, high, name=place.name, scale=FACTOR, model=used, coarser=place.coarser)
    fine = xsr.interpolate(low, scale=FACTOR) if model == BASE else super_resolve(low, FACTOR, model, "self-similar")
    decibels, fidelity = (
        (known.bicubic_db, known.low_rmse_bicubic) if model == BASE else (known.model_db, known.low_rmse)
    )
    truth = high.isel(y=slice(fine.sizes["y"]), x=slice(fine.sizes["x"])).assign_coords(y=fine["y"], x=fine["x"])
    strata = xsr.strata(fine, truth, border=BORDER)["rmse"].mean(("time", "band")).values
    ratio = xsr.spectrum(fine, truth, border=BORDER)["power_ratio"].mean(("time", "band"))
    tested = xsr.opensr(fine, truth, low=low, border=BORDER).mean()
    return {
        "PSNR, dB": decibels,
        "RMSE": 10 ** (-decibels / 20),
        "LR fidelity": float("nan") if fidelity is None else fidelity,
        "RMSE, flat quarter": float(strata[0]),
        "RMSE, steep quarter": float(strata[-1]),
        "power beyond half Nyquist / truth's": float(ratio[len(ratio) // 2 :].mean()),
        "hallucination": float(tested["hallucination"]),
        "omission": float(tested["omission"]),
        "BRISQUE": float(xsr.brisque(fine, border=BORDER)["score"].mean()),
    }


def spot_scores(pair: Pair, model: str) -> Row:
    """Score a model on an image of SPOT, at matched sharpness."""
    plain = xsr.interpolate(pair.single, like=pair.box, units="reflectance")
    fine = plain
    if model != BASE:
        fine = xsr.interpolate(xsr.sisr(pair.single, model=model, units="reflectance"), like=pair.box)
    found = Judge(pair.reference, pair.shown(plain), pair.pixel_m).scores(pair.shown(fine))
    return {f"SPOT, {key}": found[key] for key in ("RMSE", "β", "ρ", "width, m")}


def cropped(place: TestPlace, small: bool) -> TestPlace:
    """Place, or its corner."""
    if not small:
        return place
    box = None if place.box is None else place.box[:SMALL, :SMALL]
    return TestPlace(place.name, place.bands, place.images[:1, :, :SMALL, :SMALL], None, box, place.coarser)


def mean(rows: Sequence[Row]) -> Row:
    """Mean of each score."""
    return {key: float(np.nanmean([row[key] for row in rows])) for key in rows[0]} if rows else {}


def measure(data: Manifest, split: Split, models: Sequence[str], *, small: bool) -> dict[str, Row]:
    """Mean scores of every model over the places of a split."""
    places = [cropped(place, small) for place in islice(read_places(data, split=(split,)), 1 if small else None)]
    found = {model: mean([wald_scores(place, model) for place in places]) for model in models}
    if not small:
        beside = [pair for pair in pairs(data, split) if pair.pixel_m <= FINE_M]
        found = {model: row | mean([spot_scores(pair, model) for pair in beside]) for model, row in found.items()}
    return found


def chosen(rows: dict[str, Row]) -> str:
    """Name the weights of the least BRISQUE among those within the bounds."""
    most = MOST_RMSE * rows[START]["RMSE"]
    fit = {
        name: row["BRISQUE"]
        for name, row in rows.items()
        if name != BASE and row["RMSE"] <= most and row["LR fidelity"] <= MOST_LOW_RMSE
    }
    return min(fit, key=lambda name: fit[name]) if fit else "none"


def table(rows: dict[str, Row]) -> Iterator[str]:
    """Tabulate scores, one column for each model."""
    yield "| | " + " | ".join(Path(name).stem for name in rows) + " |"
    yield "| --- |" + " --- |" * len(rows)
    for key in next(iter(rows.values())):
        digits = 2 if key.startswith(("PSNR", "BRISQUE", "SPOT")) else 4
        yield f"| {key} | " + " | ".join(f"{row[key]:.{digits}f}" for row in rows.values()) + " |"


def draw(place: TestPlace, models: Sequence[str], path: Path) -> None:
    """Draw the red band of a place by every model and the truth, side by side."""
    mpl.use("Agg")
    from matplotlib import pyplot

    low, high = place.cube(degraded(place, FACTOR), scale=FACTOR), place.cube()
    images: dict[str, xr.DataArray] = {BASE: xsr.interpolate(low, scale=FACTOR)}
    images |= {Path(one).stem: super_resolve(low, FACTOR, one, "self-similar") for one in models if one != BASE}
    images["truth"] = high
    side = min(128, *place.images.shape[2:])
    limits = np.nanpercentile(high.isel(time=0, band=-1)[:side, :side], (1, 99))
    figure, axes = pyplot.subplots(1, len(images), figsize=(3 * len(images), 3.3), layout="constrained")
    for axis, (name, image) in zip(axes, images.items(), strict=True):
        axis.imshow(image.isel(time=0, band=-1)[:side, :side], "gray", vmin=limits[0], vmax=limits[1])
        axis.set_title(name, fontsize=7)
        axis.axis("off")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Score, print, and write with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", action="append", default=[], metavar="PATH", help="fine-tuned weights to judge")
    parser.add_argument("--test", action="store_true", help="score the places of the test split, too")
    parser.add_argument("--picture", type=Path, help="picture to draw")
    parser.add_argument("--write", action="store_true", help="update the documentation")
    parser.add_argument("--small", action="store_true", help="a corner of one place, to check that it runs")
    options, data = parser.parse_args(), manifest()
    if data is None:
        print("XSR_DATA is not set: the scores need the folder of real images")
        return
    models, lines = [BASE, START, *options.weights], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XsrWarning)
        splits: tuple[Split, ...] = ("validation", "test") if options.test else ("validation",)
        for split in splits:
            rows = measure(data, split, models, small=options.small)
            lines += [f"## Places of the {split} split", "", *table(rows), ""]
            if split == "validation":
                lines += [f"Chosen by BRISQUE within the bounds: `{Path(chosen(rows)).stem}`.", ""]
        picture = PICTURE if options.write and not options.small else options.picture
        if picture is not None:
            draw(next(read_places(data, split=("validation",))), models, picture)
    print("\n".join(lines))
    if options.write and not options.small:
        if not TARGET.exists():
            TARGET.write_text(HEAD, encoding="utf-8")
        write(TARGET, "\n".join(lines), MARKERS)


if __name__ == "__main__":
    main()
