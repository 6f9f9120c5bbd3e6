"""The base of all commands: the application, and errors and warnings in its own words."""

from typing import Any

import typer
from typer.core import TyperCommand

from xsr.cli.options import OptionError
from xsr.cli.terminal import warnings_shown
from xsr.cli.words import OPENING, Words
from xsr.core.errors import XsrError

READER = (
    *("allow_vrt", "chunks", "correction", "crs", "detectors", "dims", "errors", "group", "mask", "offset"),
    *("resampling", "resolution", "tile", "verify"),
)
"""Arguments of the readers that a message may name."""


READING = ("bands", "band_names", "dims", "crs", "reader")
"""Parameters of a command that say how its inputs are opened."""


class Command(TyperCommand):
    """A command whose errors and warnings name its options."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            with warnings_shown(words_of(self).reword):
                return super().invoke(ctx)
        except OptionError:
            raise
        except XsrError as error:
            words = words_of(self, opening=OPENING in getattr(error, "__notes__", ()))
            error.args = (words.reword(str(error)), *error.args[1:])
            raise


def words_of(command: Any, *, opening: bool = False) -> Words:
    """Options of a command by the names of its parameters.

    Parameters
    ----------
    command
        The command.
    opening
        Whether the message comes from a reader, whose arguments may have the names of other options.
    """
    options = [one for one in command.params if one.param_type_name == "option"]
    if opening:
        options = [one for one in options if one.name in READING]
    flags = {str(one.name): max(one.opts, key=len) for one in options}
    return Words(
        flags=flags,
        off={str(one.name): one.secondary_opts[0] for one in options if one.secondary_opts},
        switches=[str(one.name) for one in options if one.is_flag],
        reader=[name for name in READER if name not in flags] if "reader" in flags else (),
    )


app = typer.Typer(help="Super-resolve Earth-observation data cubes.", no_args_is_help=True, add_completion=False)
models_app = typer.Typer(help="Models: list, show, check, export.", no_args_is_help=True)
app.add_typer(models_app, name="models")
