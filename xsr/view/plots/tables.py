"""Tables of scores as curves: which date, which bands, and what every curve is called."""

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from xsr.core import graph
from xsr.core.errors import BandError, CubeError, ParameterError
from xsr.core.provenance import OPERATION
from xsr.view.plots.library import plain
from xsr.view.plots.reading import one_date

STYLES = ("-", "--", ":", "-.")
"""Of the tables in one plot, the first and those beside it."""


def check_table(scores: Any, operation: str) -> xr.Dataset:
    """Refuse what is not the result of an operation.

    Raises
    ------
    CubeError
        Saying what makes it.
    """
    if not isinstance(scores, xr.Dataset) or scores.attrs.get(OPERATION) != operation:
        what = scores.attrs.get(OPERATION, "no scores") if isinstance(scores, xr.Dataset) else type(scores).__name__
        raise CubeError(f"got {what}; expected the Dataset of xsr.{operation}(fine, reference).")
    return scores


def gathered(
    operation: str,
    scores: xr.Dataset,
    beside: Mapping[str, xr.Dataset] | None,
    *,
    variables: Sequence[str],
    bands: str | Sequence[str] | None,
    time: Any,
) -> tuple[dict[str, xr.Dataset], str]:
    """Select and compute what is drawn of a table and of those beside it.

    Parameters
    ----------
    operation
        Operation that made the tables.
    scores, beside
        The table, and others by their names.
    variables
        Those that are drawn; each has the dimensions time and band.
    bands
        Bands to draw, all by default.
    time
        A date; the median of all by default.

    Returns
    -------
    tables
        By name, without the dimension ``time``; the first has the name "".
    words
        What date it is.

    Raises
    ------
    BandError, CubeError, ParameterError
        If a table is another, or lacks a variable, band or date.
    """
    found = {}
    for name, table in {"": scores, **(beside or {})}.items():
        table = check_table(table, operation)
        missing = [one for one in variables if one not in table or "band" not in table[one].dims]
        if missing:
            drawn = [str(key) for key, one in table.data_vars.items() if {"time", "band"} < set(one.dims)]
            raise ParameterError(f"{missing[0]!r} is not there by band; the scores have {drawn}. Name one of them.")
        found[name] = _of_bands(table[list(variables)], bands)
    words = _dates(found[""], time)
    chosen = {name: table if time is None else table.isel(time=one_date(table, time)) for name, table in found.items()}
    computed = dict(zip(chosen, graph.together(*chosen.values()), strict=True))
    return {name: _median(table) for name, table in computed.items()}, words


def _of_bands(table: xr.Dataset, bands: str | Sequence[str] | None) -> xr.Dataset:
    if bands is None:
        return table
    wanted = [bands] if isinstance(bands, str) else [str(name) for name in bands]
    names = band_names(table)
    missing = [name for name in wanted if name not in names]
    if missing or not wanted:
        raise BandError(f"bands {missing or 'none'} requested; the scores have {names}. Name some of them.")
    return table.isel(band=[names.index(name) for name in wanted])


def band_names(table: xr.Dataset) -> list[str]:
    """Names of the bands of a table; numbers where it has none."""
    return [str(name) for name in table["band"].values]


def _dates(table: xr.Dataset, time: Any) -> str:
    count = table.sizes["time"]
    if time is None and count > 1:
        return f"median of {count} dates"
    if "time" not in table.coords:
        return ""
    place = one_date(table, time)
    times = table["time"].values
    return str(times[place].astype("datetime64[D]")) if times.dtype.kind == "M" else ""


def _median(table: xr.Dataset) -> xr.Dataset:
    if "time" not in table.dims:
        return table
    return table.isel(time=0) if table.sizes["time"] == 1 else table.median("time", skipna=True)


def label(band: str, name: str) -> str:
    """Name of a curve: its band, and the table if it is not the first."""
    return plain(f"{band}, {name}" if name else band)
