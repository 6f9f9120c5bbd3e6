"""Catalogues read by their links, which lead no further inward than they lie; see `xsr.sources.stac.origin`."""

from typing import Any
from urllib.parse import urljoin, urlsplit

from pystac.stac_io import DefaultStacIO
from pystac_client.stac_api_io import StacApiIO

from xsr.core.errors import ParameterError
from xsr.core.redact import public
from xsr.sources.limits import METADATA_BYTES, read_document
from xsr.sources.stac.origin import TRUST, WEB, refusal


class CatalogIO(StacApiIO):
    """Reads a catalogue by links that lead no further inward than it lies, redirected ones too."""

    def __init__(self, origin: str | None, *, trust: bool) -> None:
        super().__init__()
        self.origin, self.trust = origin, trust
        self.session.hooks["response"].append(self._check_response)

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """Read the text at an address or link."""
        self.check(source.href if hasattr(source, "href") else str(source))
        text: str = super().read_text(source, *args, **kwargs)
        return text

    def check(self, address: str) -> None:
        """Refuse an address.

        Raises
        ------
        ParameterError
            If it leads further inward than the catalogue lies.
        """
        reason = None if self.trust else refusal(address, self.origin)
        if reason is not None:
            raise ParameterError(f"the catalogue links to {public(address)!r}, which {reason}. {TRUST}")

    def _check_response(self, response: Any, **_: Any) -> None:
        if response.is_redirect:
            self.check(urljoin(response.url, response.headers["location"]))
        if int(response.headers.get("content-length") or 0) > METADATA_BYTES:
            raise ParameterError(f"{public(response.url)} is larger than {METADATA_BYTES >> 20} MiB; expected STAC.")


class FileIO(DefaultStacIO):
    """Reads documents of STAC, on disk and on the web, by the same rules as `CatalogIO`."""

    def __init__(self, origin: str | None, *, trust: bool) -> None:
        super().__init__()
        self.online = CatalogIO(origin, trust=trust)

    def read_text_from_href(self, href: str) -> str:
        """Read the text at an address."""
        self.online.check(href)
        if urlsplit(href).scheme.lower() in WEB:
            text: str = self.online.request(href)
            return text
        return read_document(href.partition("://")[2] or href).decode("utf-8")
