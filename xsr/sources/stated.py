"""Numbers that the metadata of a product state as text."""

import math

from xsr.core.errors import ProductError


def stated_number(text: str | None, name: str, *, where: str, least: float = -math.inf) -> float:
    """Read a finite number.

    Parameters
    ----------
    text
        What the metadata state; spaces around it do not count.
    name
        Name of the number in the metadata.
    where
        Name of the file.
    least
        Smallest number that makes sense.

    Raises
    ------
    ProductError
        If it is none, or below ``least``.

    Examples
    --------
    >>> stated_number(" 10000", "QUANTIFICATION_VALUE", where="MTD_MSIL1C.xml")
    10000.0
    >>> stated_number("nan", "QUANTIFICATION_VALUE", where="MTD_MSIL1C.xml")
    Traceback (most recent call last):
    ...
    xsr.core.errors.ProductError: MTD_MSIL1C.xml states QUANTIFICATION_VALUE 'nan'; expected a number. ...
    """
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        limit = "" if least == -math.inf else f" of at least {least:g}"
        raise ProductError(
            f"{where} states {name} {(text or '')[:80]!r}; expected a number{limit}. Download the product again."
        )
    return value
