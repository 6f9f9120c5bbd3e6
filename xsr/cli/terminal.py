"""What the command prints: lines, tables and warnings, never interpreted.

Names, attributes and messages come from files of anybody. All text passes `printable` and reaches the terminal without
markup.
"""

import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xsr.core.errors import XsrWarning
from xsr.core.redact import scrub
from xsr.core.text import printable

console = Console(emoji=False)


def say(text: object) -> None:
    """Print one line."""
    console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


def say_lines(lines: dict[str, str]) -> None:
    """Print text by heading; further lines of a text stand below its first."""
    for heading, text in lines.items():
        for number, line in enumerate(text.splitlines()):
            label = f"{heading}:" if number == 0 else ""
            say(f"{label:14}{line}")


def complain(kind: str, text: str) -> None:
    """Print one line on standard error, as an error or a warning."""
    colour = {"error": "red", "warning": "yellow"}[kind]
    line = Text.assemble((f"{kind}:", colour), f" {printable(scrub(text))}")
    Console(stderr=True).print(line, highlight=False, soft_wrap=True)


def make_table(*headings: str, wrapped: Collection[str] = ()) -> Table:
    """Make an empty table.

    Parameters
    ----------
    headings
        Titles of the columns.
    wrapped
        Columns whose cells go on below where the terminal is narrow; the others are kept whole.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(Text(printable(heading)), no_wrap=heading not in wrapped, overflow="fold")
    return table


def add_row(table: Table, *cells: object) -> None:
    """Add a row of plain text."""
    table.add_row(*(Text(printable(cell)) for cell in cells))


@contextmanager
def warnings_shown(reword: Callable[[str], str]) -> Iterator[None]:
    """Show the warnings of xsr as lines on standard error, in the words of the command; others as Python does.

    Either kind is shown as text.
    """
    before = warnings.showwarning

    def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, XsrWarning):
            complain("warning", reword(str(message)))
        else:
            before(printable(message), category, *place, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def exit_with(error: Exception) -> None:
    """Print an error and leave with exit code 1."""
    complain("error", str(error))
    sys.exit(1)
