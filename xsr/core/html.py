"""Parts of HTML in xarray's style: escaped text, tables, sections that open, and the box around them.

Colours come from the style sheet of xarray, which follows the light or dark theme of the page. Texts come from files of
anybody: all pass `escaped`. Nothing is loaded from elsewhere, and there are no scripts.
"""

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from uuid import uuid4

from xsr.core.redact import scrub
from xsr.core.text import printable

LONGEST = 2000
"""Characters of a text that are shown."""
OWN_STYLE = """\
.xsr-table { grid-column: 1 / -1; border-collapse: collapse; margin: 0 0 0 20px; font-size: 0.95em; }
.xsr-table th, .xsr-table td { text-align: left; vertical-align: top; padding: 2px 14px 2px 2px; border: 0; }
.xsr-table th { color: var(--xr-font-color2); font-weight: 500; }
.xsr-table td { color: var(--xr-font-color0); background: none; overflow-wrap: anywhere; white-space: normal; }
.xsr-table td:first-child { white-space: nowrap; }
.xsr-picture { grid-column: 1 / -1; max-width: 100%; margin: 4px 0 4px 20px; }
.xsr-alert { color: var(--xr-font-color0); border-left: 3px solid #c65102; padding-left: 8px; }
.xr-wrap.xsr-wrap { max-width: 900px; color: var(--xr-font-color0); }
"""
"""Rules beside those of xarray."""


def clean(text: object) -> str:
    """Text that shows itself alone: without secrets and control characters, and not endless.

    Examples
    --------
    >>> clean("https://me:password@example.com/x")
    'https://example.com/x'
    """
    shown = printable(scrub(str(text)[: 2 * LONGEST]))
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def escaped(text: object) -> str:
    """Text for the inside of an element or of an attribute in quotes.

    Examples
    --------
    >>> escaped('<script>alert("1")</script>')
    '&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;'
    """
    return escape(clean(text), quote=True)


@cache
def style() -> str:
    """Style sheet of the installed xarray, and what xsr adds; without the first where xarray keeps it elsewhere."""
    try:
        theirs = files("xarray").joinpath("static", "css", "style.css").read_text(encoding="utf-8")
    except (OSError, ModuleNotFoundError):
        theirs = ""
    return f"{theirs}\n{OWN_STYLE}"


def table(rows: Sequence[Sequence[object]], heads: Sequence[object] = ()) -> str:
    """Table of plain text."""
    head = f"<thead><tr>{_cells('th', heads)}</tr></thead>" if heads else ""
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    return f"<table class='xsr-table'>{head}<tbody>{body}</tbody></table>"


def _cells(tag: str, row: Sequence[object]) -> str:
    return "".join(f"<{tag}>{escaped(cell)}</{tag}>" for cell in row)


def picture(webp: bytes, text: object) -> str:
    """Image that is part of the page, with a text for who cannot see it."""
    content = b64encode(webp).decode()
    return f"<img class='xsr-picture' alt='{escaped(text)}' src='data:image/webp;base64,{content}'>"


def section(
    title: object, summary: object = "", details: str = "", *, opened: bool = False, alert: bool = False
) -> str:
    """Item of a list: a title, a line beside it, and details that a click opens.

    Parameters
    ----------
    title, summary
        Plain text.
    details
        HTML made by this module; empty where there is nothing to open.
    opened
        Whether the details are open at first.
    alert
        Whether the line is marked as one that must not be missed.
    """
    name = f"xsr-{uuid4()}"
    state = ("" if details else " disabled") + (" checked" if opened and details else "")
    mark = " xsr-alert" if alert else ""
    body = f"<div class='xr-section-details'>{details}</div>" if details else ""
    return (
        f"<li class='xr-section-item'><input id='{name}' class='xr-section-summary-in' type='checkbox'{state}>"
        f"<label for='{name}' class='xr-section-summary'>{escaped(title)}</label>"
        f"<div class='xr-section-inline-details{mark}'>{escaped(summary)}</div>{body}</li>"
    )


def box(kind: object, name: object, sections: Sequence[str], *, plain: str) -> str:
    """Frame with a heading around sections, for a cell of a notebook.

    Parameters
    ----------
    kind, name
        Plain text of the heading.
    sections
        From `section`.
    plain
        The same as text, which is shown where the style sheet is not trusted.
    """
    return (
        f"<div><style>{style()}</style><pre class='xr-text-repr-fallback'>{escape(plain)}</pre>"
        "<div class='xr-wrap xsr-wrap' style='display:none'>"
        f"<div class='xr-header'><div class='xr-obj-type'>{escaped(kind)}</div>"
        f"<div class='xr-obj-name'>{escaped(name)}</div></div>"
        f"<ul class='xr-sections'>{''.join(sections)}</ul></div></div>"
    )
