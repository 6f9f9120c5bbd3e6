"""Intervals of time as STAC writes them, from what people write."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import numpy as np

from xsr.core.errors import ParameterError

TimesLike: TypeAlias = Any
"""Text as STAC writes it, a date or time (datetime, numpy, pandas), a pair of them, or a slice; None is open."""
DAY = r"\d{4}-\d{2}-\d{2}(?:[T ][\d:.]+Z?)?"
EXPECTED = (
    "expected a date ('2024-06-15', '2024-06'), an interval with a slash ('2024-04/2024-09', '2024-04-01/..') or a pair"
)


def interval(times: TimesLike) -> str:
    """Interval of time, both ends in it, as an API takes it.

    Parameters
    ----------
    times
        See `TimesLike`. A date, and a time at midnight, stand for their whole day. Times without a zone are UTC.

    Raises
    ------
    ParameterError
        If it is none, or ends before it begins.

    Examples
    --------
    >>> interval("2024-06")
    '2024-06-01T00:00:00Z/2024-06-30T23:59:59Z'
    >>> interval((np.datetime64("2024-06-15"), None))
    '2024-06-15T00:00:00Z/..'
    """
    from pystac_client.item_search import ItemSearch

    text = "/".join(_text(end, times) for end in _ends(times))
    ends = text.split("/")
    if len(ends) > 2 or any(".." in end and end != ".." for end in ends):
        raise _refused(times)
    try:
        found = str(ItemSearch("", datetime=text).get_parameters()["datetime"])
    except Exception as error:  # pystac-client raises bare exceptions
        raise _refused(times) from error
    first, _, last = found.partition("/")
    if last and ".." not in (first, last) and first > last:
        raise ParameterError(f"datetime={times!r} ends before it begins; expected the earlier end first. Swap them.")
    return found


def within(time: np.datetime64, found: str) -> bool:
    """Whether a time lies in an interval of `interval`."""
    first, _, last = found.partition("/")
    after = first in ("", "..") or time >= np.datetime64(first.rstrip("Z"))
    return bool(after and ((last or first) == ".." or time <= np.datetime64((last or first).rstrip("Z"))))


def _ends(times: TimesLike) -> Sequence[Any]:
    if isinstance(times, slice):
        if times.step is not None:
            raise _refused(times)
        return times.start, times.stop
    if isinstance(times, str | date | np.datetime64):
        return (times,)
    try:
        ends = list(times)
    except TypeError:
        raise _refused(times) from None
    if len(ends) not in (1, 2):
        raise _refused(times)
    return ends


def _text(moment: Any, times: TimesLike) -> str:
    if moment is None:
        return ".."
    if isinstance(moment, str):
        return moment.strip()
    if isinstance(moment, np.datetime64) and not np.isnat(moment):
        if np.datetime_data(moment.dtype)[0] in ("Y", "M", "D"):
            return str(moment)
        moment = moment.astype("datetime64[us]").item()
    if isinstance(moment, datetime) and moment == moment:  # NaT of pandas is a datetime that differs from itself
        moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        midnight = moment.time() == datetime.min.time()
        return moment.date().isoformat() if midnight else f"{moment.isoformat(timespec='microseconds')}Z"
    if isinstance(moment, date) and not isinstance(moment, datetime):
        return moment.isoformat()
    raise _refused(times)


def _refused(times: TimesLike) -> ParameterError:
    days = re.findall(DAY, times) if isinstance(times, str) else []
    advice = f" Pass datetime='{days[0]}/{days[1]}'." if len(days) == 2 else ""
    return ParameterError(f"datetime={times!r}; {EXPECTED}.{advice}")
