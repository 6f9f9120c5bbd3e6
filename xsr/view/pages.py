"""The page of a report: sections in a template that escapes every text."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from xsr._version import __version__
from xsr.core.errors import NotAvailableError, StoreError
from xsr.core.text import printable
from xsr.view.plots.library import INSTALL
from xsr.view.sections import Section

TEMPLATE = "report.html"


def render_page(title: str, sections: Sequence[Section]) -> str:
    """Page of a report, one HTML document without scripts that loads nothing.

    Raises
    ------
    NotAvailableError
        If Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise NotAvailableError(f"Jinja2 is not installed; expected it for reports. {INSTALL}") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["plain"] = _plain
    text = (files("xsr.view") / TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(text).render(title=title, sections=sections, version=__version__)


def _plain(value: Any) -> str:
    """Text whose control characters are shown as escapes."""
    return printable(value)


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page of a report.

    Raises
    ------
    NotAvailableError
        If Jinja2 is not installed.
    StoreError
        If the file cannot be written.
    """
    page = render_page(title, sections)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"the report cannot be written to {path}: {error.strerror}. Choose another path.") from error
