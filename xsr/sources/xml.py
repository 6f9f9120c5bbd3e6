"""XML of products, which anybody may have made: no document type, no entities, nothing from elsewhere."""

from math import inf, isfinite
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from xsr.core.errors import ProductError

DEPTH = 100
"""Most elements inside one another; metadata of products have about ten."""


def parse_xml(content: bytes | str, name: str) -> Element:
    """Read a document.

    Parameters
    ----------
    content
        The document.
    name
        What to call it in a message.

    Raises
    ------
    ProductError
        If it is no XML, or declares a document type or entities.

    Examples
    --------
    >>> parse_xml(b"<a><b>1</b></a>", "a.xml").findtext("b")
    '1'
    """
    try:
        parser = DefusedXMLParser(target=_Builder(), forbid_dtd=True)
        parser.feed(content)
        root: Element = parser.close()
        return root
    except DefusedXmlException as error:
        raise ProductError(
            f"{name} declares a document type or entities; expected plain XML, as products have it. Do not trust this"
            " product."
        ) from error
    except (ParseError, ValueError, LookupError) as error:  # an encoding that is unknown, too
        raise ProductError(f"{name} is damaged: {error}. Download the product again.") from error


class _Builder(TreeBuilder):
    """Builds the tree of a document, unless it is too deep to be walked through."""

    depth = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        self.depth += 1
        if self.depth > DEPTH:
            raise ParseError(f"more than {DEPTH} elements inside one another")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Element:
        self.depth -= 1
        return super().end(tag)


def number(text: str | None, what: str, *, above: float = -inf) -> float:
    """Read a finite number.

    Parameters
    ----------
    text
        Text of an element, None where it is empty.
    what
        Its name and document, for a message.
    above
        What it must be greater than.

    Raises
    ------
    ProductError
        If it is none, or too small.

    Examples
    --------
    >>> number(" 10000 ", "QUANTIFICATION_VALUE of a.xml")
    10000.0
    """
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and value > above):
        least = f" above {above:g}" if isfinite(above) else ""
        raise ProductError(f"{what} is {text!r}; expected a number{least}. Download the product again.")
    return value
