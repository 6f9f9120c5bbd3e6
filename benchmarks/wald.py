"""Scores by the Wald protocol on the test split, against bicubic interpolation.

Prints the table; ``--write`` puts it into the documentation, the model's card and, for the default model, the README,
so that no number there is typed by hand. Needs the folder of real images in XSR_DATA.
"""

import argparse
import platform
import sys
from dataclasses import replace
from pathlib import Path

from common.data import manifest
from rich.console import Console

from xsr.cli import score_table
from xsr.models import registry
from xsr.models.card import ModelCard
from xsr.training.manifest import Manifest
from xsr.training.run import SCALES, record_scores, score_model
from xsr.training.scores import BORDER, Pairs, Score, read_places, score

ROOT = Path(__file__).parents[1]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "reference" / "models.md"
MARKERS = "<!-- scores: written by benchmarks/wald.py -->", "<!-- end of scores -->"
OWN_MARKERS = "<!-- scores of {}: written by benchmarks/wald.py -->", "<!-- end of scores of {} -->"
DEFAULT = "liif_s2"
BESIDE = {
    "carn_3x3x64g4sw_s2": "carn_3x3x64g4sw_s2_ideal",
    "carn_3x2x32g2sw_s2": "carn_3x3x64g4sw_s2",
    "carn_3x1x32g2_s2": "carn_3x3x64g4sw_s2",
}
"""Weights to compare with; results of those that make perfectly sharp ones are brought to the same sharpness."""
TITLES: dict[Pairs, str] = {
    "self-similar": "Self-similar pairs, the result as sharp as the sensor",
    "published": 'Pairs by the published formula, the result made perfectly sharp (`psf="ideal"`)',
}
SMALL = 96
"""Side of a small input in pixels."""


def markdown(scores: list[Score], beside: list[Score], card: ModelCard) -> str:
    """Return the tables of gains, one for each kind of pairs."""
    parts = [_table(scores, beside, card, pairs) for pairs in TITLES]
    other = f"; in brackets those of `{BESIDE[card.name]}`" if beside else ""
    note = (
        f"PSNR in dB, peak 1 reflectance, bands pooled, mean over dates, and the gain over bicubic"
        f" interpolation{other}. Wald protocol with the per-band MTF, {BORDER} px border off. Places: B02 B03 B04 B08"
        " (Berlin without B08); at 20 m: also their 20 m bands, which the model reads at half that resolution. Weights"
        f" sha256 `{card.sha256[:12]}`."
    )
    return "\n\n".join([*parts, note, *fidelity(scores)])


def _table(scores: list[Score], beside: list[Score], card: ModelCard, pairs: Pairs) -> str:
    """Table of one kind of pairs, one row a place, one column a scale."""
    found, others = _by(scores, pairs), _by(beside, pairs)
    scales = sorted({scale for _, scale in found})
    lines = [
        f"{TITLES[pairs]}:",
        "",
        "| test place | dates | " + " | ".join(f"×{scale:g}: bicubic → `{card.name}`" for scale in scales) + " |",
        "| --- | --- | " + " | ".join("---" for _ in scales) + " |",
    ]
    for place in dict.fromkeys(place for place, _ in found):
        rows = [found[place, scale] for scale in scales]
        cells = [
            f"{row.bicubic_db:.2f} → {row.model_db:.2f} dB, **{row.gain_db:+.2f}**"
            + (f" ({others[place, row.scale].gain_db:+.2f})" if others else "")
            for row in rows
        ]
        lines.append(f"| {place} | {rows[0].dates} | " + " | ".join(cells) + " |")
    cells = [
        f"**{_mean(found, scale):+.2f}**" + (f" ({_mean(others, scale):+.2f})" if others else "") for scale in scales
    ]
    return "\n".join([*lines, "| mean gain | | " + " | ".join(cells) + " |"])


def _by(scores: list[Score], pairs: Pairs) -> dict[tuple[str, float], Score]:
    return {(row.place, row.scale): row for row in scores if row.pairs == pairs}


def _mean(scores: dict[tuple[str, float], Score], scale: float) -> float:
    """Mean gain of the places at a scale."""
    gains = [row.gain_db for (_, one), row in scores.items() if one == scale]
    return sum(gains) / len(gains)


def fidelity(scores: list[Score]) -> list[str]:
    """Say how well each image, degraded again, reproduces the one it was made from."""
    known = [
        row
        for row in scores
        if row.pairs == "self-similar" and row.low_rmse is not None and row.low_rmse_bicubic is not None
    ]
    worst = max(known, key=lambda row: row.low_rmse or 0.0)
    mean = [sum(values) / len(known) for values in zip(*((r.low_rmse, r.low_rmse_bicubic) for r in known), strict=True)]  # type: ignore[arg-type]
    return [
        f"Degraded again, the images differ from their input by {mean[0]:.4f} reflectance (root mean square, mean over"
        f" places and scales; bicubic {mean[1]:.4f}), at most {worst.low_rmse:.4f} ({worst.place}, ×{worst.scale:g})."
    ]


def write(path: Path, text: str, markers: tuple[str, str] = MARKERS) -> None:
    """Replace what stands between the markers of a file."""
    begin, end = markers
    content = path.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1:
        sys.exit(f"{path} must hold {begin!r} and {end!r} once each")
    before, rest = content.split(begin)
    path.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def targets(model: str) -> list[tuple[Path, tuple[str, str]]]:
    """Files and markers between which the table of a model stands: the default model's is in the README too."""
    if model == DEFAULT:
        return [(README, MARKERS), (PAGE, MARKERS)]
    begin, end = (marker.format(model) for marker in OWN_MARKERS)
    return [(PAGE, (begin, end))]


def corner_score(model: str, data: Manifest) -> Score:
    """Score a model at factor 2 in a corner of one date of the first place."""
    place = next(read_places(data))
    times = place.times and place.times[:1]
    return score(replace(place, images=place.images[:1, :, :SMALL, :SMALL], times=times), 2.0, model)


def main() -> None:
    """Score a model; print, and write with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--write", action="store_true", help="update README, docs and card")
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: the scores need the folder of real images")
        return
    if options.small:
        Console().print(score_table([corner_score(options.model, data)]))
        return
    scores, beside = (
        [row for pairs in TITLES for row in score_model(model, data, SCALES, pairs=pairs)] if model else []
        for model in (options.model, BESIDE.get(options.model, ""))
    )
    Console().print(score_table(scores))
    print(f"{platform.machine()}, weights {registry.card(options.model).sha256[:12]}")
    if options.write:
        record_scores(registry.find(options.model), scores)
        text = markdown(scores, beside, registry.card(options.model))
        for path, markers in targets(options.model):
            write(path, text, markers)
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
