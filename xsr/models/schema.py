"""What a field of a model's card may hold: rules, checked before anything is made of it.

Cards come from anybody. A rule bounds type, size and value, and says in words what is expected. The bounds lie far
beyond any network, so that only nonsense is refused.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from xsr.core.text import brief

LONGEST_NAME = 128
"""Characters of a name: of a card, a band, an architecture or a setting."""
LONGEST_TEXT = 20_000
"""Characters of a text for readers."""
MOST_ITEMS = 1000
"""Items of a list: bands and what goes with them."""
MOST_ROWS = 10_000
"""Rows of scores."""
MOST_PARAMETERS = 10**11
"""Parameters that a card may state."""
LARGEST = 1_000_000
"""Bound of statistics, pixel sizes and settings."""
MOST_SETTINGS = 64
"""Settings of an architecture, and items of a list among them."""
DEEPEST = 3
"""Lists in lists of a setting."""
WIDEST_RADIUS = 1024
"""Input pixels."""
LARGEST_FACTOR = 128
"""Of a fixed-scale network."""
LARGEST_PATCH = 2048
"""Output pixels."""
LARGEST_SCALE = 1024
"""Of training; the smallest is its reciprocal."""


@dataclass(frozen=True)
class Rule:
    """A condition on a value, and what it expects in words."""

    holds: Callable[[Any], bool]
    expected: str

    def or_none(self) -> "Rule":
        """Likewise, with no value allowed."""
        return Rule(lambda value: value is None or self.holds(value), f"{self.expected}, or none")


def refuse(name: str, value: object, expected: str) -> ValueError:
    """Error of a field: its name, the value given, cut where it is long, and what is expected."""
    return ValueError(f"{name} {brief(value)}; expected {expected}")


def check_fields(fields: Mapping[str, Any], rules: Mapping[str, Rule], *, required: Collection[str]) -> None:
    """Check the fields of a card.

    Parameters
    ----------
    fields
        Values by name.
    rules
        Rules by name; a field without one is not looked at.
    required
        Names that must be there.

    Raises
    ------
    ValueError
        If one is missing or breaks its rule; the first is named.
    """
    missing = [name for name in required if name not in fields]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}; expected the fields {', '.join(required)}")
    for name, rule in rules.items():
        if name in fields and not rule.holds(fields[name]):
            raise refuse(name, fields[name], rule.expected)


def text(most: int, *, least: int = 0) -> Rule:
    """Text of bounded length."""
    return Rule(
        lambda value: isinstance(value, str) and least <= len(value) <= most, f"text of {least} to {most} characters"
    )


def one_of(*values: str) -> Rule:
    """One of several texts."""
    return Rule(lambda value: isinstance(value, str) and value in values, f"one of {', '.join(values)}")


def whole(least: int, most: int) -> Rule:
    """Whole number within bounds."""
    return Rule(lambda value: _is_whole(value) and least <= value <= most, f"a whole number from {least} to {most}")


def integral(least: int, most: int) -> Rule:
    """Whole number within bounds, which may be written with a fraction of zero."""
    return Rule(
        lambda value: _is_number(value) and least <= value <= most and value == int(value),
        f"a whole number from {least} to {most}",
    )


def number(least: float, most: float) -> Rule:
    """Finite number within bounds."""
    return Rule(lambda value: _is_number(value) and least <= value <= most, f"a number from {least:g} to {most:g}")


def inside(low: float, high: float) -> Rule:
    """Finite number between bounds that it does not reach."""
    return Rule(lambda value: _is_number(value) and low < value < high, f"a number above {low:g} and below {high:g}")


def listing(rule: Rule, *, least: int = 0, most: int = MOST_ITEMS) -> Rule:
    """List of bounded length, with a rule for each item."""
    size = f"{most}" if least == most else f"{least} to {most}" if least else f"at most {most}"
    return Rule(
        lambda values: isinstance(values, list) and least <= len(values) <= most and all(map(rule.holds, values)),
        f"a list of {size} items, each {rule.expected}",
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def _is_file_name(value: object) -> bool:
    return _is_name(value) and value not in (".", "..") and not set(str(value)) & set("/\\")


def _is_day(value: object) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value) is not None
    except ValueError:
        return False


def _is_setting(value: object, depth: int = 0) -> bool:
    if isinstance(value, list):
        return depth < DEEPEST and len(value) <= MOST_SETTINGS and all(_is_setting(item, depth + 1) for item in value)
    if isinstance(value, int):
        return abs(value) <= LARGEST
    return value is None or _is_name(value) or (isinstance(value, float) and math.isfinite(value))


def _are_settings(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= MOST_SETTINGS
        and all(_is_name(name) and name.isidentifier() and _is_setting(item) for name, item in value.items())
    )


FLAG = Rule(lambda value: isinstance(value, bool), "true or false")
NAME = Rule(_is_name, f"a name of 1 to {LONGEST_NAME} printable characters")
FILE_NAME = Rule(_is_file_name, f"a file name of 1 to {LONGEST_NAME} printable characters")
DAY = Rule(_is_day, "a day, as 2026-01-31")
SHA256 = Rule(
    lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None, "a SHA-256 in hex"
)
OBJECT = Rule(lambda value: isinstance(value, dict), "an object")
SETTINGS = Rule(
    _are_settings,
    f"an object of at most {MOST_SETTINGS} settings: names, true or false, numbers up to {LARGEST}, or lists of these",
)
LEVEL = number(-LARGEST, LARGEST)
SPREAD = number(1 / LARGEST, LARGEST)
SCALE = number(1 / LARGEST_SCALE, LARGEST_SCALE)
