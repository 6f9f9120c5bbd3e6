"""Metadata file of a Landsat product: ``*_MTL.txt``, ``.xml`` or ``.json``, which say the same.

One name can stand in several groups, as the scale of a band does in those of Level-1 and of Level-2.

References
----------
USGS, Landsat Collection 2 Metadata, https://www.usgs.gov/landsat-missions/landsat-collection-2-metadata
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from xsr.core.errors import ProductError
from xsr.sources.limits import read_document
from xsr.sources.xml import parse_xml

Mtl: TypeAlias = Mapping[str, float | str]
"""Fields of a metadata file by name, numbers as numbers."""
FIELD = re.compile(r"^\s*(\w+)\s*=\s*(.+?)\s*$", re.MULTILINE)
FILE = re.compile(r"_MTL\.(txt|xml|json)$", re.IGNORECASE)
"""End of the name of a metadata file."""


def read_mtl(path: str | Path) -> dict[str, float | str]:
    """Read the metadata file (``*_MTL.txt``, ``.xml`` or ``.json``) of a Landsat product, of any collection.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict
        Fields by name, whatever group they are in, the last of several; numbers as float, the rest as text without
        quotes.

    Raises
    ------
    ProductError
        If the file is missing or is not of that form.
    """
    try:
        content = read_document(path)
    except (OSError, TypeError) as error:
        raise ProductError(f"{path!s} cannot be read ({error}); expected the _MTL.txt of a Landsat product.") from error
    return {name: value for fields in parse_groups(content, str(path)).values() for name, value in fields.items()}


def parse_groups(content: bytes, name: str) -> dict[str, dict[str, float | str]]:
    """Read fields by group.

    Raises
    ------
    ProductError
        If the content is not that of a metadata file.
    """
    try:
        text = content.decode("utf-8")
        form = text.lstrip()[:1]
        groups = _json(text) if form == "{" else _xml(text, name) if form == "<" else _odl(text)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:  # JSON of another form, too
        raise ProductError(f"{name} cannot be read ({error}); expected the _MTL.txt of a Landsat product.") from error
    if not any("SPACECRAFT_ID" in fields for fields in groups.values()):
        raise ProductError(f"{name} names no SPACECRAFT_ID; expected the _MTL.txt of a Landsat product.")
    return {group: {key: _value(text) for key, text in fields.items()} for group, fields in groups.items()}


def _odl(text: str) -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = {"": {}}
    group = ""
    for name, value in FIELD.findall(text):
        if name == "GROUP":
            group = value
        elif name != "END_GROUP":
            groups.setdefault(group, {})[name] = value
    return groups


def _json(text: str) -> dict[str, dict[str, str]]:
    (groups,) = json.loads(text).values()
    return {group: {key: str(value) for key, value in fields.items()} for group, fields in groups.items()}


def _xml(text: str, name: str) -> dict[str, dict[str, str]]:
    return {group.tag: {field.tag: field.text or "" for field in group} for group in parse_xml(text, name)}


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip('"')
