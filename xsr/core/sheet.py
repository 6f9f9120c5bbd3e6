"""What is shown of an object: a heading and sections, as text in a terminal and as HTML in a notebook."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from xsr.core import html

WIDTH = 110
"""Columns of a line of text."""
INDENT = 14
"""Columns of the titles of sections."""
COLUMN = 40
"""Most columns of a cell that others follow."""


@dataclass(frozen=True)
class Section:
    """A line, and rows that a click opens."""

    title: str
    summary: str = ""
    rows: Sequence[Sequence[object]] = ()
    heads: Sequence[str] = ()
    opened: bool = False
    alert: bool = False
    """Whether it says what is wrong: then the text is never cut."""
    brief: bool = False
    """Whether text has the line alone, without rows."""
    picture: bytes = b""
    """A WebP image, which HTML alone shows."""

    def lines(self) -> list[str]:
        """Lines of text: a table below its summary."""
        first = _wrapped(html.clean(self.summary))
        lines = [f"{self.title + ':':{INDENT}}{first[0]}".rstrip(), *(" " * INDENT + line for line in first[1:])]
        return lines if self.brief else lines + self._table()

    def _table(self) -> list[str]:
        """Rows as lines: columns are of one width, and only the last may be cut by the end of a line."""
        if all(len(row) == 1 for row in self.rows):  # a list: nothing of it is cut
            return [f"    {line}" for (cell,) in self.rows for line in _wrapped(html.clean(cell), WIDTH - 4)]
        named = [self.heads] if self.heads and self.opened else []
        cells = [[html.clean(cell) for cell in row] for row in (*named, *self.rows)]
        widths = [min(max(map(len, column)), COLUMN) for column in zip(*cells, strict=True)]
        padded = [[f"{_cut(c, COLUMN):{w}}" for c, w in zip(row[:-1], widths, strict=False)] for row in cells]
        return [
            _cut("    " + "  ".join([*starts, *row[-1:]]).rstrip(), WIDTH)
            for starts, row in zip(padded, cells, strict=True)
        ]

    def html(self) -> str:
        """Item of a list that opens."""
        details = html.table(self.rows, self.heads) if self.rows else ""
        if self.picture:
            details += html.picture(self.picture, f"{self.title}: {self.summary}")
        return html.section(self.title, self.summary, details, opened=self.opened, alert=self.alert)


@dataclass(frozen=True)
class Sheet:
    """A heading and sections."""

    kind: str
    name: str
    sections: tuple[Section, ...] = ()

    def text(self) -> str:
        """Return the sheet as lines of plain text."""
        lines = [f"<{self.kind}> {html.clean(self.name)}".rstrip()]
        return "\n".join([*lines, *(line for section in self.sections for line in section.lines())])

    def html(self) -> str:
        """Return the sheet as HTML without scripts."""
        return html.box(self.kind, self.name, [section.html() for section in self.sections], plain=self.text())


class Shown(ABC):
    """Base of an object that shows itself as a sheet: to an interpreter as text, to a notebook as HTML.

    Showing never raises: an object that cannot be described says so.
    """

    @abstractmethod
    def _sheet(self) -> Sheet:
        """Describe the object."""

    def __repr__(self) -> str:
        return described(self).text()

    def _repr_html_(self) -> str:
        return described(self).html()


def described(shown: Shown) -> Sheet:
    """Sheet of an object, or one that says why there is none."""
    try:
        return shown._sheet()
    except Exception as error:  # a display must not fail, whatever a file holds
        return Sheet(type(shown).__name__, "", (Section("error", f"cannot be shown: {error}", alert=True),))


def _wrapped(text: str, width: int = WIDTH - INDENT) -> list[str]:
    return wrap(text, width) or [""]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
