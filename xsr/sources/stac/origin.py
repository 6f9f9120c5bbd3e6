"""Where items come from, and what their addresses may name.

Whoever writes a catalogue chooses the addresses in it, and the machine that opens them reaches more than he does: its
own files, services on its loopback and in its network, the credentials that a cloud serves on a link-local address.
Addresses therefore lead no further inward than their catalogue lies: those of a public one to public hosts; those of
one in a private network, or on this machine, to hosts there, too. Items on disk may name files and hosts of the
network. Hosts are compared by the addresses that their names resolve to.
"""

import re
import socket
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import pystac

MARK = "xsr:origin"
"""Field of an item that holds its `Origin`."""
WEB, CLOUD = ("http", "https"), ("s3", "gs", "az")
"""Schemes of addresses; the hosts of cloud storage are set by the user's environment."""
SCHEME = re.compile(r"([A-Za-z][\w+.-]*)://")
GDAL = re.compile(r"/vsi\w+([/?{]|$)|^\s*<|^[A-Za-z]\w+:(?!//)")
"""What is a path of GDAL alone: its file systems, descriptions in place, names of drivers."""
CREDENTIALS = (ip_address("fd00:ec2::254"), ip_address("100.100.100.200"))
"""Addresses at which clouds serve credentials, beside the link-local ones."""
TRUST = "Pass trust=True, if you trust the catalogue."


class Origin(str):
    """Address that an item was read from, empty for disk; of a type that no field of a JSON document has."""


class Reach(IntEnum):
    """How far inward a host lies."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    NEVER = 3
    """Link-local, multicast or reserved."""


def mark(item: "pystac.Item", place: str) -> "pystac.Item":
    """Note on an item where it was read from, whatever it says itself."""
    item.extra_fields[MARK] = Origin(place if is_remote(place) else "")
    return item


def is_remote(address: str) -> bool:
    """Whether an address is on the web, not on disk."""
    scheme, separator, _ = address.partition("://")
    return bool(separator) and scheme.lower() != "file"


def origin_of(item: "pystac.Item") -> str | None:
    """Address that an item comes from; None for items on disk, and in memory without one."""
    marked, root = item.extra_fields.get(MARK), item.get_root_link()
    if isinstance(marked, Origin):
        return marked or None
    found = root.target if root is not None and root.is_resolved() else None  # else it is what the item says
    places = [getattr(found, "get_self_href", lambda: None)(), item.get_self_href()]
    return next((place for place in places if place and is_remote(place)), None)


def refusal(address: str, origin: str | None) -> str | None:
    """Say why an address may not be opened; None if it may.

    Parameters
    ----------
    address
        Address in an item or a catalogue.
    origin
        Address of the catalogue, None on disk.

    Examples
    --------
    >>> refusal("file:///etc/passwd", "https://example.com/catalog.json")
    'names a file of this machine'
    >>> refusal("B02.tif", None)
    """
    found = SCHEME.match(address)
    scheme = found[1].lower() if found else ""
    if not address.isprintable() or (not scheme and GDAL.search(address)):
        return "is no address of a file, but means something to GDAL"
    if scheme in ("", "file"):
        return None if origin is None else "names a file of this machine"
    if scheme in CLOUD:
        return None
    return _refused_host(address, origin) if scheme in WEB else f"has the scheme {scheme}://"


def _refused_host(address: str, origin: str | None) -> str | None:
    host = _host(address)
    if host is None:
        return "is no address of a host"
    if origin is not None and host == _host(origin):
        return None
    own = None if origin is None else _host(origin)
    limit = Reach.PRIVATE if origin is None else reach(own) if own else Reach.PUBLIC
    found = reach(host)
    if found <= limit and found is not Reach.NEVER:
        return None
    return {
        Reach.PRIVATE: f"leads to {host} in a private network",
        Reach.LOOPBACK: f"leads to {host}, which is this machine",
    }.get(found, f"leads to {host}, which is no host of files")


def _host(address: str) -> str | None:
    """Host of an address; None where readers could disagree on which it is."""
    try:
        parts = urlsplit(address)
        host = unquote(parts.hostname or "").partition("%")[0].rstrip(".")  # readers undo escapes; a zone is no name
    except ValueError:
        return None
    return host if host and not re.search(r"[\s\\]", parts.netloc) else None


@lru_cache(maxsize=4096)
def reach(host: str) -> Reach:
    """How far inward a host lies by all addresses that its name resolves to; one without any leads nowhere.

    Examples
    --------
    >>> [reach(host).name for host in ("127.1", "0x7f000001", "::ffff:10.0.0.1", "169.254.169.254", "8.8.8.8")]
    ['LOOPBACK', 'LOOPBACK', 'PRIVATE', 'NEVER', 'PUBLIC']
    """
    try:
        found = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return Reach.PUBLIC
    return max(_reach(ip_address(str(info[4][0]).partition("%")[0])) for info in found)


def _reach(address: IPv4Address | IPv6Address) -> Reach:
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    if address.is_loopback or address.is_unspecified:
        return Reach.LOOPBACK
    if address.is_link_local or address.is_multicast or address.is_reserved or address in CREDENTIALS:
        return Reach.NEVER
    return Reach.PUBLIC if address.is_global else Reach.PRIVATE
