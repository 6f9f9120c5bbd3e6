"""The ``xsr`` command: as thin as the accessor.

Every input is opened by `xsr.open`; errors and warnings of the library are shown in the words of the command
(`xsr.cli.words`), and nothing that a file says reaches the terminal as more than text (`xsr.cli.terminal`).
"""

from typing import Annotated

import typer

from xsr._version import __version__
from xsr.cli import inspect, look, models, openeo, run, train  # noqa: F401  (register their commands)
from xsr.cli.base import app
from xsr.cli.terminal import console, exit_with, say
from xsr.cli.train import score_table
from xsr.core.errors import XsrError, discreet

__all__ = ["app", "console", "main", "score_table"]


def main() -> None:
    """Run the command; errors of xsr become one line on standard error and exit code 1."""
    try:
        with discreet():
            app()
    except (XsrError, OSError) as error:
        exit_with(error)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        say(__version__)
        raise typer.Exit
