"""The command that serves the map."""

from contextlib import suppress
from typing import Annotated

import typer

from xsr.cli import options
from xsr.cli.base import Command, app
from xsr.cli.inputs import Reading
from xsr.cli.output import name_of
from xsr.cli.terminal import say


@app.command(cls=Command)
def serve(
    cube: Annotated[str, typer.Argument(metavar="CUBE", help=f"{options.ANY_CUBE}; path or URL.")],
    port: Annotated[int, typer.Option(help="Port; 0 for a free one.")] = 8765,
    host: Annotated[str, typer.Option(help="Address to bind to; by default this machine alone reaches it.")] = (
        "127.0.0.1"
    ),
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="Name of a proxy in front of it, as browsers use it. Repeatable."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Weights of the tiles, by name or path; liif_s2 by default.")
    ] = None,
    bands: options.Bands = None,
    band_names: options.BandNames = None,
    dims: options.Dims = None,
    crs: options.Crs = None,
    reader: options.Reader = None,
) -> None:
    """Show CUBE on a map in the browser, super-resolved where it is looked at, until interrupted."""
    from xsr.view.map.layers import Shown
    from xsr.view.map.page_files import require
    from xsr.view.map.server import Server

    require()
    opened = Reading(band_names, dims, crs, reader).open(cube, bands=options.names(bands))
    shown = Shown(name_of(cube), opened, model)
    _ = shown.tiles  # what is wrong with the cube is said here
    server = Server({"cube": shown}, host=host, port=port, hosts=allow_host or ())
    say(f"map of {name_of(cube)}: {server.url}")
    say("whoever has this address may use the page; Ctrl+C ends it")
    with suppress(KeyboardInterrupt):
        server.run()
    server.close()
