"""Damaged documents: what a fuzzer gives to a parser in the place of a valid file.

Bytes are flipped, cut, removed, repeated and replaced; elements of XML, members of JSON and lines are removed,
repeated, moved, and given other values. A parser accepts the result or refuses it by an error of xsr.
"""

import copy
import json
import os
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from xsr.core.errors import XsrError

TIMES = 20 if os.environ.get("XSR_CHAOS") else 3 if os.environ.get("XSR_THOROUGH") else 1
"""How many times more examples `make chaos` and `make coverage` try."""
ODD = ("", " ", "0", "-1", "1e999", "nan", "-inf", "9" * 400, "1_0", "٣", "true", "None", "../../etc/passwd")
ODD += ("/etc/passwd", "C:\\x", "/vsicurl/http://127.0.0.1:1/x", "a" * 5000, "2024-13-45T99:99:99Z", "\x1b[31m", "%00")
"""Texts that parsers of numbers, dates and paths stumble over."""

texts = st.sampled_from(ODD) | st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
"""Any value of JSON."""


def examples(usual: int) -> settings:
    """Let a test try so many examples, and `TIMES` as many in `make chaos` and `make coverage`."""
    return settings(max_examples=usual * TIMES)


def refused_or(accept: Callable[[], Any]) -> Any:
    """Result of a call, None where an error of xsr refuses it; any other error comes through."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return accept()
        except XsrError:
            return None


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with one to four of them, or stretches of them, changed."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        end = min(len(data), at + draw(st.sampled_from((1, 2, 8, 64, 512))))
        kind = draw(st.sampled_from(("flip", "cut", "remove", "repeat", "replace")))
        if kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[at:]
        elif kind == "remove":
            del data[at:end]
        elif kind == "repeat":
            data[at:at] = data[at:end] * draw(st.integers(1, 50))
        else:
            data[at:end] = draw(st.binary(max_size=16))
    return bytes(data)


@st.composite
def damaged_xml(draw: st.DrawFn, content: bytes) -> bytes:
    """A document with one to three of its elements removed, repeated, moved, or given other texts."""
    root = ET.fromstring(content)
    for _ in range(draw(st.integers(1, 3))):
        _edit_element(draw, root)
    return ET.tostring(root, encoding="utf-8")


def _edit_element(draw: st.DrawFn, root: ET.Element) -> None:
    parents = [(parent, child) for parent in root.iter() for child in parent]
    if not parents:
        return
    parent, child = draw(st.sampled_from(parents))
    kind = draw(st.sampled_from(("remove", "repeat", "move", "text", "attribute", "no attributes")))
    if kind in ("remove", "move"):
        parent.remove(child)
    if kind in ("repeat", "move"):
        target = draw(st.sampled_from(list(root.iter()))) if kind == "move" else parent
        target.insert(draw(st.integers(0, len(target))), copy.deepcopy(child))
    elif kind == "text":
        child.text = draw(texts)
    elif kind == "attribute" and child.attrib:
        child.set(draw(st.sampled_from(sorted(child.attrib))), draw(texts))
    elif kind == "no attributes":
        child.attrib.clear()


@st.composite
def damaged_json(draw: st.DrawFn, content: Any) -> Any:
    """A document with one to three of its members removed, renamed, or given other values."""
    document = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(("remove", "rename", "value", "value")))
        if kind == "remove":
            del holder[key]
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw(texts)] = holder.pop(key)
        else:
            holder[key] = draw(values)
    return document


def _places(value: Any) -> Any:
    """Where members stand in a document: their holder and their key."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def damaged_json_text(content: Any) -> st.SearchStrategy[bytes]:
    """Text of a document whose members, or whose bytes, were changed."""
    return damaged_json(content).map(lambda one: json.dumps(one).encode()) | damaged(json.dumps(content).encode())


@st.composite
def damaged_lines(draw: st.DrawFn, content: str) -> bytes:
    """Lines of ``name = value``, some of them removed, repeated, moved, or given other values."""
    lines = content.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(("remove", "repeat", "move", "value", "value")))
        name, equals, _ = lines[at].partition("=")
        if kind == "value":
            lines[at] = f"{name}{equals} {draw(texts)}"
        line = lines[at] if kind in ("value", "repeat") else lines.pop(at)
        if kind in ("repeat", "move"):
            lines.insert(draw(st.integers(0, len(lines))), line)
        if not lines:
            break
    return "\n".join(lines).encode("utf-8", "replace")
