"""Commands about models: list, show, check, export."""

from pathlib import Path
from typing import Annotated

import typer

from xsr.cli.base import Command, models_app
from xsr.cli.terminal import add_row, console, make_table, say, say_lines

NARROW = ("architecture", "bands")
"""Columns that wrap in a narrow terminal."""


@models_app.command("list", cls=Command)
def models_list() -> None:
    """List trained models, then the architectures that weights can be given to."""
    from xsr.models import catalogue, registry

    trained = make_table("model", "architecture", "parameters", "bands", "scales", "licence", wrapped=NARROW)
    for name in registry.names():
        known = registry.describe(name)
        bands = " ".join(known.bands)
        add_row(trained, name, known.architecture, _count(known.parameters), bands, known.scale, known.licence)
    console.print(trained)
    untrained = make_table("architecture", "kind", "trainable", "total", "tiling")
    for name in catalogue.listed():
        known = registry.describe(name)
        add_row(untrained, name, known.kind, _count(known.trainable), _count(known.parameters), known.tiling)
    console.print(untrained)


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def model_lines(name: str) -> dict[str, str]:
    """Describe a model line by line; `xsr models show` prints its whole card."""
    from xsr.models import registry

    known = registry.describe(name)
    lines = {
        "type": "model" if known.kind == "weights" else f"architecture ({known.kind})",
        "name": known.name,
        "architecture": known.architecture,
        "bands": ", ".join(known.bands),
        "pixel size": "" if known.gsd_in_m is None else f"{known.gsd_in_m:g} m",
        "scale": known.scale,
        "parameters": _count(known.parameters),
        "licence": known.licence,
    }
    return {heading: text for heading, text in lines.items() if text}


@models_app.command("show", cls=Command)
def models_show(name: Annotated[str, typer.Argument(help="Model or architecture by name, or path.")]) -> None:
    """Print the card of a model, or what is known of an architecture."""
    from dataclasses import asdict

    from xsr.models import catalogue, registry
    from xsr.models.card import fields_of

    known = fields_of(registry.card(name)) if catalogue.find(name) is None else asdict(registry.describe(name))
    known.pop("card", None)
    console.print_json(data=known, ensure_ascii=True)  # escapes what a terminal would interpret


@models_app.command("check", cls=Command)
def models_check(
    model: Annotated[str, typer.Argument(metavar="CARD", help="Model by name, weight file, or foreign card (.yaml).")],
    weights: Annotated[str | None, typer.Option(help="Weight file, where CARD is an architecture.")] = None,
) -> None:
    """Open a model, measure how far it looks and say whether its margin is enough; exit code 1 if not."""
    from xsr.models.check import check

    found = check(model, weights)
    rows = {"model": found.name, "architecture": found.architecture, "bands": " ".join(found.bands)}
    if found.opset is not None:
        rows["opset"] = str(found.opset)
    sides = " x ".join("any" if side is None else str(side) for side in found.size or ())
    rows["input size"] = f"{sides} alone: it cannot be tiled" if sides else "any"
    rows["factor"] = f"{found.factor}"
    rows["margin"] = _margin(found.margin, found.factor) + (" is enough" if found.enough else " is not enough")
    if found.size is None:
        rows["difference"] = f"{found.difference:.1e} of the output's spread, tile against whole"
        rows["measured"] = "none is wide enough" if found.smallest is None else _margin(found.smallest, found.factor)
    say_lines(rows)
    if not found.enough:
        raise typer.Exit(1)


def _margin(pixels: int, factor: int) -> str:
    return f"{pixels * factor} output pixels ({pixels} input pixels)"


@models_app.command("export", cls=Command)
def models_export(
    name: Annotated[str, typer.Argument(help="Model by name or path, or an architecture with --weights.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
    format: Annotated[str, typer.Option(help="onnx, torchscript or torch.export.")] = "onnx",
    weights: Annotated[str | None, typer.Option(help="Weight file, where NAME is an architecture.")] = None,
    units: Annotated[str, typer.Option(help="Numbers outside: dn10000 or reflectance.")] = "dn10000",
) -> None:
    """Write a model for other programs."""
    from xsr.models.export import export

    path = export(name, out, weights=weights, format=format, units=units)  # type: ignore[arg-type]
    say(f"wrote {path}")
