"""The exception tree of xsr.

Every message says what was given, what is required and what to do. The classes also derive from the
built-in exception a caller would expect, so ``except ValueError`` keeps working. No message carries a secret, see
`xsr.core.redact`.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xsr.core.redact import scrub

PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
"""Folder of the package, with what ends its name."""


class XsrError(Exception):
    """Base class of every error raised on purpose by xsr."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(scrub(one) if isinstance(one, str) else one for one in args))


class RedactedError(XsrError):
    """An error of another library whose text, or that of its cause, carried a secret: its kind and text without it."""


class CubeError(XsrError, ValueError):
    """The cube breaks the contract: dimensions, coordinates, units or emptiness."""


class GridError(CubeError):
    """The cube has no usable grid, or the target grid cannot be reached from it."""


class BandError(XsrError, ValueError):
    """A band is unknown, missing or given twice."""


class ParameterError(XsrError, ValueError):
    """An argument is out of range, or arguments contradict one another."""


class ModelError(XsrError, ValueError):
    """A model is unknown, or its weights do not belong to it."""


class WeightsError(ModelError):
    """A weight file is missing, damaged or not the one its card describes."""


class ProductError(XsrError, OSError):
    """A product of a satellite is damaged, incomplete or not what it claims."""


class HarmonisationError(XsrError, ValueError):
    """It is not known, or contradictory, how the numbers of a product become reflectance."""


class StoreError(XsrError, OSError):
    """An output store exists already, or cannot be written as requested."""


class XsrWarning(UserWarning):
    """Something is unusual, and the result may not be what was meant."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(scrub(one) if isinstance(one, str) else one for one in args))


class NotAvailableError(XsrError, NotImplementedError):
    """The feature belongs to the public interface but this version does not have it yet."""


def cause(error: BaseException, *known: object) -> BaseException:
    """Error to raise another one from: itself, or a `RedactedError` where its traceback would print a secret.

    Parameters
    ----------
    error
        Error of another library.
    known
        Addresses and storage options whose secrets its text may carry.

    Examples
    --------
    >>> cause(ValueError("no such file"))
    ValueError('no such file')
    >>> cause(ValueError("https://example.com/x.tif?sig=abcdefgh is gone"))
    RedactedError('ValueError: https://example.com/x.tif is gone')
    """
    printed = [text for one in _chain(error) for text in (str(one), *getattr(one, "__notes__", ()))]
    if all(scrub(text, *known) == text for text in printed):
        return error
    return RedactedError(scrub(f"{type(error).__name__}: {error}", *known)).with_traceback(error.__traceback__)


@contextmanager
def discreet(*known: object) -> Iterator[None]:
    """Raise errors of other libraries without the secrets that they carry; others unchanged."""
    try:
        yield
    except XsrError:
        raise
    except Exception as error:
        shown = cause(error, *known)
        if shown is error:
            raise
        raise shown from None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Errors that a traceback prints: one, its causes, and what was being handled."""
    known, left = set(), [error]
    while left:
        one = left.pop()
        if id(one) not in known:
            known.add(id(one))
            yield one
            left += [other for other in (one.__cause__, one.__context__) if other is not None]


def calling() -> int:
    """Level at which `warnings.warn` names the line outside the package that led to a warning.

    The caller's own frame is level 1, as for `warnings.warn`.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    return level
