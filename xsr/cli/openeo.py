"""The command that writes a user-defined function of openEO."""

from typing import Annotated

import typer

from xsr.cli import options
from xsr.cli.base import Command, app


@app.command("openeo-udf", cls=Command)
def openeo_udf(
    operation: Annotated[
        str | None,
        typer.Option(help="liif, sisr, interpolate, sharpen or degrade; by default what --model means, else liif."),
    ] = None,
    model: options.Model = None,
    scale: options.Scale = None,
    size: Annotated[int | None, typer.Option(help="Least side of a window in pixels, without its overlap.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS of the cube: EPSG:32633. Or pass it in the context.")] = None,
    units: options.Units = None,
    mtf: options.Mtf = None,
    psf: Annotated[str | None, typer.Option(help="Sharpness of the result; of degrade: its point spread.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16 or auto.")] = None,
    requirement: Annotated[
        list[str] | None, typer.Option(help="What a back end shall install, for pip; xsr by default. Repeatable.")
    ] = None,
) -> None:
    """Print a user-defined function (UDF) of openEO: xsr openeo-udf --scale 3.4 > udf.py.

    Its first lines say on which windows to run it.
    """
    from xsr.openeo import udf
    from xsr.operations.verbs import verb_of

    verb = verb_of(model) if operation is None else operation
    named = {"method" if verb == "interpolate" else "model": model}
    texts = {"units": units, "psf": psf}
    numbers = {name: options.number_or_word(text) for name, text in texts.items() if text is not None}
    settings = {"scale": scale, "crs": crs, "mtf": mtf, "precision": precision}
    given = {name: value for name, value in (named | settings | numbers).items() if value is not None}
    typer.echo(udf(verb, size=size, requirements=requirement, **given), nl=False)
