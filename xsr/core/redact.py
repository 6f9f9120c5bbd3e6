"""Texts without secrets: addresses without passwords and signatures, and texts of other libraries that quote them.

An address may carry a password (``https://user:password@host``) or a signature (``?sig=...``), storage options carry
keys, the environment carries both. What xsr says or writes passes through here: every error and warning of
`xsr.core.errors`, and what goes into attributes, ledgers and locks.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"<>]*")
USER = re.compile(r"(?<=://)(?:[^/?#\s'\"]*@|[^/?#@\s'\"]*:(?!\d+(?:[/?#]|$))[^\s'\"]*@)")
"""User and password of an address; the second form has characters in the password that should have been escaped."""
QUERY = re.compile(r"[?#](?=[\w.~%\[\]-]+=)[^\s'\"<>]*?(?=[.,;:)\]]*(?:[\s'\"<>]|$))")
"""Query of an address that is quoted without its beginning."""
PAIR = re.compile(
    r"\b(\w*(?:password|passwd|secret|token|signature|access_?key|api_?key)\w*|sig|sas|x-amz-\w+|authorization)"
    r"(=|['\"]\s*[:,]\s*|(?<=authorization):\s*)(b?['\"])?(?:(?:bearer|basic)\s+)?[^\s'\"&,;)}<>]{4,}",
    re.IGNORECASE,
)
"""Name of a secret, and its value."""
SENSITIVE = re.compile(r"key|secret|token|pass|auth|cred|cookie|header|sig|sas|connection_string", re.IGNORECASE)
"""Names of storage options whose values are secrets."""
ENVIRONMENT = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|(ACCESS|ACCOUNT|STORAGE)_KEY|_SAS|CONNECTION_STRING|SIGNATURE",
    re.IGNORECASE,
)
"""Names of environment variables whose values are secrets, unless they name files."""
SHORT, SHORT_QUERY = 6, 8
"""Lengths of the shortest password, and of the shortest value of a query or the environment, that is looked for."""


def public(address: object) -> str:
    """Address without user, password, query and fragment; a local path unchanged.

    Parameters
    ----------
    address
        Path, URL, or path of GDAL (``/vsicurl/...``).

    Examples
    --------
    >>> public("https://user:password@example.com/cube.zarr?sig=abc")
    'https://example.com/cube.zarr'
    >>> public("data/B02.tif")
    'data/B02.tif'
    """
    text = str(address)
    if "://" not in text and not text.startswith("/vsi"):
        return text
    return re.split(r"[?#]", USER.sub("", text), maxsplit=1)[0]


def scrub(text: str, *known: object) -> str:
    """Text without the secrets that addresses in it, the environment or known values carry.

    Parameters
    ----------
    text
        Any text.
    known
        Addresses and storage options whose secrets may stand in the text in a form of their own.

    Examples
    --------
    >>> scrub("403 Forbidden: https://example.com/B02.tif?sig=abcdefgh.")
    '403 Forbidden: https://example.com/B02.tif.'
    >>> scrub("no route for hunter2@example.com", "https://me:hunter2@example.com/x")
    'no route for ***@example.com'
    """
    for secret in sorted({*_of_environment(), *(one for each in known for one in secrets(each))}, key=len)[::-1]:
        text = text.replace(secret, HIDDEN)
    text = ADDRESS.sub(_without_secrets, text)
    return PAIR.sub(rf"\1\2\3{HIDDEN}", QUERY.sub("", text))


def _without_secrets(found: re.Match[str]) -> str:
    """Public form of an address in a text, with the punctuation that follows it."""
    address = found[0].rstrip(".,;:)]")
    return public(address) + found[0][len(address) :]


def secrets(known: object) -> Iterator[str]:
    """Secrets of an address, or of options by their names.

    Examples
    --------
    >>> sorted(secrets({"key": "hunter2", "client_kwargs": {"region_name": "eu-west-1"}}))
    ['hunter2']
    """
    if isinstance(known, Mapping):
        for name, value in known.items():
            yield from _texts(value) if SENSITIVE.search(str(name)) else secrets(value)
    elif isinstance(known, str | Path):
        yield from _of_address(str(known))


def _texts(value: Any) -> Iterator[str]:
    """Texts in a value, and the words of each: a header begins with the kind of its secret."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str | bytes):
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        yield from (one for one in (text, *text.split()[1:]) if len(one) >= SHORT)


def _of_address(text: str) -> Iterator[str]:
    found = USER.search(text)
    user, _, password = (found[0][:-1] if found else "").partition(":")
    pairs = re.split("[&;]", text.partition("?")[2].partition("#")[0])
    values = [pair.partition("=")[2] or pair for pair in pairs]
    for secret, least in [(password or user, SHORT), *((value, SHORT_QUERY) for value in values)]:
        yield from (one for one in (secret, unquote(secret)) if len(one) >= least)


def _of_environment() -> Iterator[str]:
    for name in filter(_may_hold_secret, os.environ):
        value = os.environ.get(name, "")
        if not _is_proxy(name):
            yield from (one for one in (value,) if len(one) >= SHORT_QUERY and not one.startswith(("/", "~", ".")))
        elif "@" in value:
            yield from _of_address(value if "://" in value else f"http://{value}")


def _is_proxy(name: str) -> bool:
    return name.lower().endswith("_proxy") and not ENVIRONMENT.search(name)


@lru_cache(maxsize=1024)
def _may_hold_secret(name: str) -> bool:
    """Whether a variable of the environment is looked at; most are not, and a display passes many texts."""
    return _is_proxy(name) or ENVIRONMENT.search(name) is not None
