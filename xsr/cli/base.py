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
    *("resampling", "resolution", "tile", "trust", "verify"),
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
            notes = getattr(error, "__notes__", ())
            opened = next((note.removeprefix(OPENING) for note in notes if note.startswith(OPENING)), None)
            words = words_of(self, opened=opened)
            error.args = (words.reword(str(error)), *error.args[1:])
            raise


def words_of(command: Any, *, opened: str | None = None) -> Words:
    """Options of a command by the names of its parameters.

    Parameters
    ----------
    command
        The command.
    opened
        Where the message comes from a reader, how the names of the parameters of its input begin: its arguments may
        have the names of other options.
    """
    options = {str(one.name): one for one in command.params if one.param_type_name == "option"}
    if opened is not None:
        options = {name: options[opened + name] for name in READING if opened + name in options}
    flags = {name: max(one.opts, key=len) for name, one in options.items()}
    return Words(
        flags=flags,
        off={name: one.secondary_opts[0] for name, one in options.items() if one.secondary_opts},
        switches=[name for name, one in options.items() if one.is_flag],
        reader=[name for name in READER if name not in flags] if "reader" in flags else (),
        opener=flags.get("reader", "--open"),
    )


app = typer.Typer(
    help="Super-resolve Earth-observation data cubes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
models_app = typer.Typer(help="Models: list, show, check, export.", no_args_is_help=True)
app.add_typer(models_app, name="models")
