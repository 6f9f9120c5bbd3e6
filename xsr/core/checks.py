"""Checks of arguments, made once where a user's values come in: whole numbers, numbers, several numbers, and names.

Numbers of NumPy are numbers, booleans are not. Imports NumPy and `xsr.core.errors` only.
"""

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

import numpy as np

from xsr.core.errors import ParameterError


def whole(name: str, value: Any, *, least: int | None = None, what: str = "a whole number") -> int:
    """Refuse what is not a whole number of at least ``least``.

    Raises
    ------
    ParameterError
        With the name, the value and what is expected.

    Examples
    --------
    >>> whole("patch", np.int64(64), least=8)
    64
    """
    known = isinstance(value, Integral) and not isinstance(value, bool)
    if not known or (least is not None and value < least):
        limit = "" if least is None else f" >= {least}"
        raise ParameterError(f"{name}={value!r}; expected {what}{limit}. Give an int, such as {max(least or 0, 1)}.")
    return int(value)


def is_number(value: Any) -> bool:
    """Whether a value is one real number; an array without dimensions is."""
    plain = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    return isinstance(plain, Real) and not isinstance(plain, bool | np.bool_)


def _is_finite(value: Any) -> bool:
    """Whether a value is a number that double precision holds."""
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:  # of a whole number beyond it
        return False


def within(name: str, value: Any, *, low: float, high: float = math.inf, what: str) -> float:
    """Refuse what is not a finite number from ``low`` to ``high``.

    Raises
    ------
    ParameterError
        With the name, the value and what is expected.
    """
    if not (_is_finite(value) and low <= value <= high):
        raise ParameterError(f"{name}={value!r}; expected {what}.")
    return float(value)


def positive(name: str, value: Any, *, what: str = "a positive, finite number") -> float:
    """Refuse what is not a positive, finite number.

    Raises
    ------
    ParameterError
        With the name, the value and what is expected.
    """
    if not (_is_finite(value) and value > 0):
        raise ParameterError(f"{name}={value!r}; expected {what}.")
    return float(value)


def several(name: str, values: Any, *, what: str = "several numbers") -> tuple[float, ...]:
    """Refuse what is not a sequence or a one-dimensional array of numbers.

    Raises
    ------
    ParameterError
        With the name, the values and what is expected.
    """
    found = None if isinstance(values, str) or not isinstance(values, Iterable) else _items(values)
    if found is None or not all(is_number(value) for value in found):
        raise ParameterError(f"{name}={values!r}; expected {what}. Give a tuple, such as (0, 0.5, 1).")
    return tuple(float(value) for value in found)


def names(name: str, values: Any) -> tuple[str, ...]:
    """Bring one name or several to a tuple of text.

    Raises
    ------
    ParameterError
        If it is neither.

    Examples
    --------
    >>> names("bands", "B02"), names("bands", ["B02", "B03"])
    (('B02',), ('B02', 'B03'))
    """
    if isinstance(values, str):
        return (values,)
    found = _items(values) if isinstance(values, Iterable) else None
    if found is None:
        raise ParameterError(f"{name}={values!r}; expected a name or several. Give text, or a list of text.")
    return tuple(str(value) for value in found)


def choose(name: str, given: Any, lacking: Mapping[str, str]) -> tuple[str, ...]:
    """Choose among known names those given, or, by default, all that lack nothing.

    Parameters
    ----------
    name
        Name of the argument.
    given
        One name, several, or None.
    lacking
        What each known name still needs, as text; empty if nothing.

    Raises
    ------
    ParameterError
        If a name is unknown or lacks something, or none is given.
    """
    if given is None:
        return tuple(known for known, need in lacking.items() if not need)
    found = names(name, given)
    unknown = [item for item in found if item not in lacking]
    if unknown or not found:
        raise ParameterError(f"{name} {unknown or 'none'}; {_suggest(unknown, lacking)}")
    for item in found:
        if lacking[item]:
            raise ParameterError(
                f"{name.removesuffix('s')} {item!r} needs {lacking[item]}, which is not given. Pass it."
            )
    return tuple(dict.fromkeys(found))


def _suggest(unknown: Iterable[str], known: Iterable[str]) -> str:
    """Name what was probably meant, or everything there is."""
    names = list(known)
    close = [*dict.fromkeys(near for item in unknown for near in get_close_matches(item, names, n=2))]
    return f"did you mean {' or '.join(close)}?" if close else f"expected some of {', '.join(names)}."


def _items(values: Iterable[Any]) -> tuple[Any, ...] | None:
    """Items of what can be walked through; an array without dimensions cannot."""
    return None if isinstance(values, np.ndarray) and values.ndim == 0 else tuple(values)
