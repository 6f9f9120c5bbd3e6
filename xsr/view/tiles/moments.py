"""The time of a tile: one of the acquisitions, or any time between them."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.cube import Cube
from xsr.core.errors import ParameterError
from xsr.core.target_times import resolve_times

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
ANY = 1e6
"""Days outside the dates that are more than any."""


@dataclass(frozen=True)
class Moment:
    """A target time, and the acquisition that is it or lies nearest."""

    date: int
    """Index of that acquisition."""
    between: np.datetime64 | None = None
    """The target time, where it is no acquisition's."""


def resolve(t: Any, cube: Cube) -> Moment:
    """Resolve the time that a user requests.

    Parameters
    ----------
    t
        A time; a day alone means an acquisition of that day where there is one. None: the latest acquisition.
    cube
        Validated cube.

    Raises
    ------
    ParameterError
        If it cannot be read, is not one, or lies outside the dates.
    CubeError
        If the cube has no dates.
    """
    if t is None:
        return Moment(latest(cube.dates))
    times = cube.times
    # A day begins at midnight, which may lie before the first acquisition although it is that of the day.
    day = _is_day(t) and _of_day(resolve_times(t, times, extrapolate=ANY), times).size
    found = resolve_times(t, times, extrapolate=1.0 if day else None)
    if found.size != 1:
        raise ParameterError(f"t={t!r} names {found.size} times; expected one, such as '2024-06-15'.")
    (target,) = found
    same = np.flatnonzero(times == target) if not _is_day(t) else _of_day(found, times)
    if same.size:
        return Moment(int(same[0]))
    return Moment(int(np.abs(times - target).argmin()), target)


def latest(dates: NDArray[np.datetime64] | None) -> int:
    """Index of the latest date."""
    return 0 if dates is None else int(dates.argmax())


def _is_day(t: Any) -> bool:
    """Whether a time is a day without a time of day."""
    return bool(isinstance(t, str) and DAY.fullmatch(t)) or (isinstance(t, np.datetime64) and t.dtype == "M8[D]")


def _of_day(found: NDArray[np.datetime64], times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Find the acquisitions of a day."""
    return np.flatnonzero(times.astype("M8[D]") == found[0].astype("M8[D]"))
