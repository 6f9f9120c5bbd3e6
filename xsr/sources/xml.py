"""XML of products, which anybody may have made: no document type, no entities, nothing from elsewhere."""

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
