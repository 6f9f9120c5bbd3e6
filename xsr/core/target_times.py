"""Target times: the times at which a series is evaluated, and the dates that may be used for each."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xsr.core import checks
from xsr.core.errors import ParameterError
from xsr.core.names import standard_dims

Times = NDArray[np.datetime64]
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class TargetTime:
    """A time at which a series is evaluated, and the dates that may be used; plain numbers that travel to workers."""

    day: float
    """The target time, days since 1970."""
    season: float
    """Days since the first of January."""
    picks: tuple[int, ...]
    """Which of the dates of a window may be used, in time order."""
    days: tuple[float, ...]
    """Times of those dates."""
    seasons: tuple[float, ...]

    @property
    def offset(self) -> NDArray[np.float64]:
        """Days from the target time to each date."""
        return np.array(self.days) - self.day

    def only(self, places: Sequence[int]) -> "TargetTime":
        """Keep some of the dates, by their places among them."""
        picks = tuple(self.picks[n] for n in places)
        days, seasons = (tuple(v[n] for n in places) for v in (self.days, self.seasons))
        return replace(self, picks=picks, days=days, seasons=seasons)


@dataclass(frozen=True)
class Group:
    """Target times computed together."""

    dates: tuple[int, ...]
    """Indices into the series of the dates that they read, in time order."""
    target_times: tuple[TargetTime, ...]


def plan_groups(targets: Times, times: Times, *, window: float | None, most: int, together: int) -> tuple[Group, ...]:
    """Choose the dates that may be used for each target time, and put neighbouring target times together.

    Parameters
    ----------
    targets
        Target times.
    times
        Dates of the series, in any order.
    window
        Days around a target time within which dates are used; None: any date.
    most
        Dates on either side of a target time that may be used.
    together
        Target times a group.

    Raises
    ------
    ParameterError
        If ``window`` is no number of days, or no date lies in the window of a target time.
    """
    if window is not None and not (checks.is_number(window) and window >= 0):
        raise ParameterError(f"window={window!r}; expected a number of days, 0 or more, or None.")
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    chosen = [candidates(target, ordered, window=window, most=most) for target in targets]
    for target, found in zip(targets, chosen, strict=True):
        if not found:
            raise ParameterError(
                f"no date lies within window={window:g} days of t={_text(target)}; widen the window, or leave"
                " that time out."
            )
    at, seasons, dates = days(targets), day_of_year(targets), days(ordered)
    ordered_seasons = day_of_year(ordered)
    target_times = [
        TargetTime(day, season, picks, tuple(dates[list(picks)].tolist()), tuple(ordered_seasons[list(picks)].tolist()))
        for day, season, picks in zip(at.tolist(), seasons.tolist(), chosen, strict=True)
    ]
    groups = []
    for first in range(0, len(targets), together):
        part = target_times[first : first + together]
        union = sorted({date for target in part for date in target.picks})
        local = tuple(replace(target, picks=tuple(union.index(date) for date in target.picks)) for target in part)
        groups.append(Group(tuple(int(order[i]) for i in union), local))
    return tuple(groups)


def days(times: Times) -> NDArray[np.float64]:
    """Days since 1970, with fractions."""
    since: NDArray[np.float64] = (times - np.datetime64(0, "ns")) / np.timedelta64(86_400_000_000_000, "ns")
    return since


def day_of_year(times: Times) -> NDArray[np.float64]:
    """Days since the first of January, with fractions."""
    first = times.astype("datetime64[Y]").astype("datetime64[ns]")
    since: NDArray[np.float64] = (times - first) / np.timedelta64(86_400_000_000_000, "ns")
    return since


def candidates(target: np.datetime64, times: Times, *, window: float | None, most: int) -> tuple[int, ...]:
    """Dates that may be used for a target time: at most ``most`` on either side within ``window`` days, in time order.

    Which of them are clear differs from pixel to pixel, so the choice among them is made there.
    """
    offset = (times - target) / DAY
    near = np.flatnonzero(np.abs(offset) <= (np.inf if window is None else window))
    before = [i for i in near if offset[i] <= 0]
    after = [i for i in near if offset[i] > 0]
    chosen = sorted(before, key=lambda i: -offset[i])[:most] + sorted(after, key=lambda i: offset[i])[:most]
    return tuple(sorted(int(i) for i in chosen))


def resolve_times(t: Any, times: Times, *, extrapolate: float | None = None) -> Times:
    """Resolve what a user calls a time.

    Parameters
    ----------
    t
        A time (text, datetime, numpy or pandas), a sequence of them, a pandas frequency (``"10D"``, ``"MS"``:
        from the first date of the series to the last), or an object with a ``time`` coordinate.
    times
        Dates of the series.
    extrapolate
        Days by which a target time may lie outside the series; None refuses any.

    Raises
    ------
    ParameterError
        If it cannot be read, is not finite, or lies outside the series.
    """
    first, last = times.min(), times.max()
    found = _read(t, first, last)
    if found.size == 0 or np.isnat(found).any():
        raise ParameterError(f"t={t!r} names no time; expected a date, several, a frequency or a time coordinate.")
    what = "a number of days, 0 or more"
    reach = 0.0 if extrapolate is None else checks.within("extrapolate", extrapolate, low=0, what=what)
    outside = np.maximum((first - found) / DAY, (found - last) / DAY)
    if (outside > reach).any():
        worst = found[int(np.argmax(outside))]
        raise ParameterError(
            f"t={_text(worst)} lies {outside.max():.1f} days outside the series ({_text(first)} to {_text(last)});"
            f" expected a time within it. To go beyond, say how far: extrapolate={int(np.ceil(outside.max()))}."
        )
    return found


DATE = re.compile(r"\d{4}(?!\d*[A-Za-z]+$)")
"""How the text of a date begins: with a year; ``"1000h"`` is a frequency."""
INTERVAL = re.compile(r"/\s*(\d{4}|\.\.|P)|^\s*(\.\.|P[^/]*)\s*/")
"""An interval by ISO 8601 or STAC, ``start/end``; ``2024/06/15`` is a date."""


def _read(t: Any, first: np.datetime64, last: np.datetime64) -> Times:
    if isinstance(t, xr.DataArray | xr.Dataset):
        named = standard_dims(t)
        t = named["time"].values if "time" in named.coords else t
    if isinstance(t, str) and not DATE.match(t):
        try:
            return pd.date_range(pd.Timestamp(first), pd.Timestamp(last), freq=t).values.astype("datetime64[ns]")
        except (ValueError, ZeroDivisionError) as error:
            raise ParameterError(
                f"t={t!r} is neither a date nor a pandas frequency ({error}); expected '2024-06-15' or '10D'."
            ) from error
    try:
        index = pd.DatetimeIndex([_timestamp(one) for one in _several(t)])
        if index.tz is not None:
            index = index.tz_convert("UTC").tz_localize(None)
        return np.asarray(index.as_unit("ns").values)
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"t={t!r} cannot be read as times ({error}); expected dates such as '2024-06-15'."
        ) from error


def _several(t: Any) -> list[Any]:
    if isinstance(t, np.ndarray):
        return list(t.ravel())
    return list(t) if isinstance(t, Iterable) and not isinstance(t, str) else [t]


def _timestamp(one: Any) -> Any:
    if isinstance(one, Real):
        raise TypeError(f"{one!r} is a number")
    if isinstance(one, str) and INTERVAL.search(one):  # pandas would read the end as a time of day or a zone
        raise ValueError(f"{one!r} is an interval: give the times within it")
    return pd.Timestamp(one)


def _text(time: np.datetime64) -> str:
    return str(time.astype("datetime64[s]")).replace("T00:00:00", "")
