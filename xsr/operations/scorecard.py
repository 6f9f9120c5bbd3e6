"""Scores as tables and files: what the command line prints and writes."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from rich.table import Column, Table
from rich.text import Text

from xsr.core import graph
from xsr.core.errors import ParameterError
from xsr.core.text import printable

Scores: TypeAlias = dict[str, xr.Dataset]
"""Datasets of scores by title."""
COLUMNS = ("table", "metric", "time", "band", "stratum", "quantile", "interval", "value", "units")


def compute_scores(lazy: Mapping[str, xr.Dataset]) -> Scores:
    """Compute all scores in one pass over the cubes."""
    return dict(zip(lazy, graph.together(*lazy.values()), strict=True))


def score_tables(scores: Scores) -> list[Table]:
    """Lay out a row for every metric, date and stratum, and a column for every band; other metrics have one column."""
    tables = []
    for title, dataset in scores.items():
        shapes = dict.fromkeys(variable.dims for variable in dataset.data_vars.values())
        for dims in shapes:
            names = [str(name) for name, variable in dataset.data_vars.items() if variable.dims == dims]
            rows = [dim for dim in dims if dim != "band"]
            keys = [str(dim) for dim in rows if dim != "time" or "time" in dataset.coords]
            bands = [_label(dataset, "band", n) for n in range(dataset.sizes["band"])] if "band" in dims else ["value"]
            table = Table(*(Column(_plain_text(name)) for name in (*keys, "metric", *bands)), title=title)
            for index in np.ndindex(*(dataset.sizes[dim] for dim in rows)):
                place = dict(zip(rows, index, strict=True))
                labels = [_label(dataset, str(dim), place[dim]) for dim in rows if str(dim) in keys]
                for name in names:
                    numbers = map(_number, np.atleast_1d(dataset[name].isel(place).values))
                    table.add_row(*map(_plain_text, (*labels, name, *numbers)))
            tables.append(table)
    return tables


def _plain_text(text: str) -> Text:
    """Text without markup: names of bands come from files."""
    return Text(printable(text))


def write_scores(scores: Scores, path: Path) -> None:
    """Write one record for each number, as JSON with the settings or as CSV, by the suffix of ``path``.

    Raises
    ------
    ParameterError
        If the suffix is another.
    """
    records = list(_records(scores))
    if path.suffix.lower() == ".json":
        settings = {title: _plain(dataset.attrs) for title, dataset in scores.items()}
        path.write_text(json.dumps({"settings": settings, "scores": records}, indent=1) + "\n", encoding="utf-8")
    elif path.suffix.lower() == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(records)
    else:
        raise ParameterError(f"{path.name}; expected a name that ends with .json or .csv.")


def _records(scores: Scores) -> Iterator[dict[str, Any]]:
    for title, dataset in scores.items():
        for name, variable in dataset.data_vars.items():
            for index in np.ndindex(*variable.shape):
                place = zip(variable.dims, index, strict=True)
                labels = {str(dim): _label(dataset, str(dim), at) for dim, at in place}
                value = _json(float(variable.values[index]))
                yield {"table": title, "metric": name, **labels, "value": value, "units": variable.attrs["units"]}


def _label(dataset: xr.Dataset, dim: str, index: int) -> str:
    if dim not in dataset.coords:
        return str(index)
    value = dataset[dim].values[index]
    return str(value.astype("datetime64[s]")) if isinstance(value, np.datetime64) else str(value)


def _json(value: float) -> float | str | None:
    """JSON knows neither NaN, which becomes null, nor infinity, which becomes text."""
    if math.isnan(value):
        return None
    return str(value) if math.isinf(value) else value


def _number(value: Any) -> str:
    return str(value) if isinstance(value, np.integer) else f"{float(value):.4g}"


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    lists = {k: v.tolist() if isinstance(v, np.ndarray | np.generic) else v for k, v in attrs.items()}
    return {str(key): _without_nan(value) for key, value in lists.items()}


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return _json(value) if isinstance(value, float) else value
