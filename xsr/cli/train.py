"""The command that trains, and the table of scores against bicubic interpolation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from xsr.cli import options
from xsr.cli.base import Command, app
from xsr.cli.terminal import add_row, console, make_table, say

if TYPE_CHECKING:
    from xsr.training.loop import Progress
    from xsr.training.scores import Score


@app.command(cls=Command)
def train(
    recipe: Annotated[str, typer.Argument(help="Recipe, for example liif_s2.")],
    out: Annotated[Path | None, typer.Option(help="Weight file to write; RECIPE.safetensors by default.")] = None,
    scenes: Annotated[Path | None, typer.Option(help="Manifest of training images, a TOML file.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the images, in place of the manifest's root.")] = None,
    synthetic: Annotated[int | None, typer.Option(help="Number of synthetic scenes; the recipe's by default.")] = None,
    synthetic_only: Annotated[bool, typer.Option("--synthetic-only", help="Train on synthetic scenes alone.")] = False,
    start: Annotated[str | None, typer.Option(help="Weights to start from, in place of the recipe's.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so many minutes, reading of images included, instead of all steps.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="Threads of PyTorch.")] = None,
) -> None:
    """Train a model by a recipe and write its weights and card."""
    if scenes is None and not synthetic_only:
        raise options.OptionError(
            "no training images: give --scenes FILE, a manifest of them, or train on synthetic scenes with"
            " --synthetic-only."
        )
    path = out or Path(f"{recipe}.safetensors")
    options.check_folder("--out", path)
    say(f"training {recipe}, weights go to {path}")
    import torch

    from xsr.training.manifest import read_manifest
    from xsr.training.recipes import get, varied
    from xsr.training.run import record_scores, run_recipe, score_model

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = varied(get(recipe), start=start, synthetic=synthetic)
    manifest = None if scenes is None else read_manifest(scenes, root=data)
    # Other tasks have benchmarks of their own.
    scored = manifest is not None and chosen.task.use == "image" and chosen.task.kind not in ("sharpen", "intervals")
    if manifest is not None and scored:
        manifest.select("image", split=("test",))  # a file that is missing is an error now, not after training
    path.parent.mkdir(parents=True, exist_ok=True)
    real = None if synthetic_only else manifest
    card = run_recipe(chosen, path, scenes=real, minutes=minutes, device=device, report=_Report(), say=say)
    if manifest is not None and scored and (scores := score_model(path, manifest, say=say)):
        record_scores(path, scores)
        console.print(score_table(scores))
    say(f"wrote {path} ({card.parameters} parameters, sha256 {card.sha256})")


class _Report:
    """Prints the gain over bicubic interpolation after the first steps and then every hundred.

    Losses of the steps are summed before they are compared: a patch of one value has no error of interpolation.
    """

    FIRST = (1, 10)

    def __init__(self) -> None:
        self._loss = self._baseline = 0.0

    def __call__(self, progress: "Progress") -> None:
        import math

        self._loss += progress.loss
        self._baseline += progress.baseline
        if progress.step in self.FIRST or progress.step % 100 == 0 or progress.share >= 1:
            gain = -20 * math.log10(max(self._loss / max(self._baseline, 1e-9), 1e-9))
            say(f"step {progress.step}, {progress.share:.0%}, error {gain:+.2f} dB below bicubic")
            self._loss = self._baseline = 0.0


def score_table(scores: "Sequence[Score]") -> Table:
    """Table of scores against bicubic interpolation."""
    table = make_table("place", "pairs", "scale", "dates", "bicubic dB", "model dB", "gain dB")
    for row in scores:
        numbers = (f"{row.bicubic_db:.2f}", f"{row.model_db:.2f}", f"{row.gain_db:+.2f}")
        add_row(table, row.place, row.pairs, f"x{row.scale:g}", row.dates, *numbers)
    return table
