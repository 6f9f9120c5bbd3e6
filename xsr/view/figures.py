"""Figures apart from pyplot, inlined in a page as data URIs."""

from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

from xsr.view.plots.library import pyplot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


def figure(size: tuple[float, float], *, layout: Literal["constrained", "compressed"] = "constrained") -> "Figure":
    """Make a figure of a size in inches that no window shows and pyplot does not keep.

    Raises
    ------
    NotAvailableError
        If matplotlib is not installed.
    """
    pyplot()
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout=layout)


def png(drawing: "Figure") -> str:
    """Figure as a PNG image in a data URI."""
    return _inlined(drawing, "image/png", format="png", dpi=DPI, metadata={"Software": None})


def svg(drawing: "Figure") -> str:
    """Figure as an SVG image in a data URI: sharp in print, and the same bytes every time."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "xsr"}):
        return _inlined(drawing, "image/svg+xml", format="svg", metadata={"Date": None, "Creator": None})


def _inlined(drawing: "Figure", kind: str, **options: Any) -> str:
    file = BytesIO()
    drawing.savefig(file, bbox_inches="tight", **options)
    return f"data:{kind};base64,{b64encode(file.getvalue()).decode('ascii')}"
