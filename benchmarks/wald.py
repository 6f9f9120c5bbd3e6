"""Scores by the Wald protocol on the test split, against bicubic interpolation.

Prints the table; ``--write`` puts it into the README, the documentation and the model's card, so that no number there
is typed by hand. Needs the folder of real images in XSR_DATA.
"""

import argparse
import platform
import sys
from pathlib import Path

from rich.console import Console

from xsr.cli import score_table
from xsr.demo import data_folder
from xsr.models import registry
from xsr.models.card import ModelCard
from xsr.training.run import SCALES, record_scores, score_model
from xsr.training.scores import BORDER, Score

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- scores: written by benchmarks/wald.py -->", "<!-- end of scores -->"
TARGETS = (ROOT / "README.md", ROOT / "docs" / "reference" / "models.md")


def markdown(scores: list[Score], card: ModelCard) -> str:
    """Return the table of gains, one row a place, one column a scale."""
    scales = sorted({row.scale for row in scores})
    lines = [
        "| test place | dates | " + " | ".join(f"×{scale:g}: bicubic → `{card.name}`" for scale in scales) + " |",
        "| --- | --- | " + " | ".join("---" for _ in scales) + " |",
    ]
    for place in dict.fromkeys(row.place for row in scores):
        rows = {row.scale: row for row in scores if row.place == place}
        cells = [f"{rows[s].bicubic_db:.2f} → {rows[s].model_db:.2f} dB (**{rows[s].gain_db:+.2f}**)" for s in scales]
        lines.append(f"| {place} | {rows[scales[0]].dates} | " + " | ".join(cells) + " |")
    note = (
        f"PSNR in dB, peak 1 reflectance, bands pooled ({', '.join(card.bands)}; Berlin without B08), mean over dates;"
        f" Wald protocol with the per-band MTF, {BORDER} px border off. Weights sha256 `{card.sha256[:12]}`."
    )
    return "\n".join([*lines, "", note])


def write(path: Path, text: str) -> None:
    """Replace what stands between the markers of a file."""
    content = path.read_text(encoding="utf-8")
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        sys.exit(f"{path} must hold {BEGIN!r} and {END!r} once each")
    before, rest = content.split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> None:
    """Score a model; print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="liif_s2")
    parser.add_argument("--write", action="store_true", help="update README, docs and card")
    options = parser.parse_args()
    data = data_folder()
    if data is None:
        print("XSR_DATA is not set: the scores need the folder of real images")
        return
    scores = score_model(options.model, data, SCALES)
    Console().print(score_table(scores))
    print(f"{platform.machine()}, weights {registry.describe(options.model).sha256[:12]}")
    if options.write:
        record_scores(registry.find(options.model), scores)
        text = markdown(scores, registry.describe(options.model))
        for path in TARGETS:
            write(path, text)
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
