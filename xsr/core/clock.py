"""Times as cubes carry them, brought to UTC: NumPy's datetime64 knows no zones."""

import re
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xsr.core.errors import CubeError
from xsr.core.types import XarrayObject

Obj = TypeVar("Obj", xr.DataArray, xr.Dataset, XarrayObject)

ISO = re.compile(r"\d{4}-?\d\d(-?\d\d)?([T ].*)?Z?")
"""What a text must look like to be taken for a time; other labels stay what they are."""


def with_utc(obj: Obj) -> Obj:
    """Bring the coordinate ``time`` to datetime64 in UTC, where it holds zoned times, ISO 8601 text or cftime objects.

    Times without a zone are UTC. Numbers, datetime64 and labels that are no times are left alone.

    Raises
    ------
    CubeError
        If some of the times cannot be read, or belong to a calendar without the days of ours.
    """
    if "time" not in obj.coords:
        return obj
    coord = obj.coords["time"]
    dtype: Any = coord.dtype  # of NumPy or pandas
    if not isinstance(dtype, pd.DatetimeTZDtype) and dtype.kind not in "OUT":
        return obj
    values = list(coord.to_index() if coord.ndim else coord.expand_dims("time").to_index())
    if not _are_times(values):
        return obj
    times = _read(values)
    return obj.assign_coords(time=(coord.dims, times if coord.ndim else times[0], coord.attrs))


def same_times(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether times of two coordinates of one length are the same, one by one; two that are unknown are.

    Examples
    --------
    >>> known = np.array(["2024-06-01", "NaT"], "datetime64[s]")
    >>> same_times(known, known.astype("datetime64[ns]")).tolist(), same_times(known, known[::-1]).tolist()
    ([True, True], [False, False])
    """
    return np.asarray((ours == theirs) | (pd.isnull(ours) & pd.isnull(theirs)))


def _are_times(values: list[Any]) -> bool:
    """Whether labels are times: objects that have a year, or text of which the first looks like ISO 8601."""
    first = next((value for value in values if value is not None and value is not pd.NaT), None)
    return hasattr(first, "year") or (isinstance(first, str) and ISO.fullmatch(first.strip()) is not None)


def _read(values: list[Any]) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    plain = [value.isoformat() if hasattr(value, "calendar") else value for value in values]
    odd = {value.calendar for value in values if hasattr(value, "calendar")} - {"standard", "gregorian", ""}
    if odd - {"proleptic_gregorian"}:
        raise CubeError(
            f"'time' counts in the calendar {sorted(odd)}; expected the standard one. Convert it:"
            " .convert_calendar('standard')."
        )
    try:
        text = all(isinstance(value, str) for value in plain)
        index = pd.to_datetime(plain, utc=True, format="ISO8601" if text else None)
    except (ValueError, TypeError) as error:
        raise CubeError(
            f"'time' cannot be read: {str(error).splitlines()[0]} Expected times, zoned or in UTC, such as"
            " '2024-06-15T11:06:21Z'. Correct them, or drop the dates that are unknown."
        ) from error
    return np.asarray(index.tz_localize(None).as_unit("ns").values)
