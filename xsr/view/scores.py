"""The card of scores: what ``scores.sr`` shows of the Dataset that a judgement returns."""

from collections.abc import Hashable
from typing import Any, TypeGuard

import numpy as np
import xarray as xr

from xsr.core.provenance import OPERATION
from xsr.core.sheet import Section, Sheet

KIND = "xsr scores"
PICTURES = ("strata", "spectrum", "calibration")
"""Operations whose scores ``.sr.plot`` draws by a method of their name."""
OPERATIONS = ("evaluate", *PICTURES)
MOST = 10
"""Values of a row that are shown."""
WORDS = {
    "time": ("date", "dates"),
    "band": ("band", "bands"),
    "stratum": ("stratum", "strata"),
    "frequency": ("frequency", "frequencies"),
    "quantile": ("quantile", "quantiles"),
    "interval": ("interval", "intervals"),
}
"""What dimensions are called, of one and of several."""
COUNTS = ("count", "patches")
"""Variables that are summed over dates."""


def is_scores(obj: Any) -> TypeGuard[xr.Dataset]:
    """Whether an object is a Dataset of scores."""
    return isinstance(obj, xr.Dataset) and obj.attrs.get(OPERATION) in OPERATIONS


def scores_card(scores: xr.Dataset) -> Sheet:
    """Describe scores: means over dates, by band, or by what else they are listed by; lazy ones are not computed."""
    operation = str(scores.attrs[OPERATION])
    sections = [_of_what(scores), *_tables(scores), _next(operation)]
    return Sheet(KIND, operation, tuple(sections))


def _of_what(scores: xr.Dataset) -> Section:
    sizes = [f"{size} {WORDS.get(str(dim), (str(dim),) * 2)[size != 1]}" for dim, size in scores.sizes.items()]
    border = scores.attrs.get("border_px")
    return Section("of", ", ".join([*sizes, *([] if border is None else [f"border of {border} px left out"])]))


def _tables(scores: xr.Dataset) -> list[Section]:
    """One table for the scores of bands, one for every other dimension that is short enough to be read."""
    if any(one.chunks is not None for one in scores.data_vars.values()):
        names = ", ".join(map(str, scores.data_vars))
        return [Section("scores", f"{names}: lazy; scores.compute() computes them")]
    grouped: dict[Hashable, list[Hashable]] = {}
    for name, one in scores.data_vars.items():
        others = [dim for dim in one.dims if dim not in ("time", "band")]
        if len(others) <= 1:
            grouped.setdefault(others[0] if others else "band", []).append(name)
    short = {dim: names for dim, names in grouped.items() if dim == "band" or scores.sizes[dim] <= MOST}
    return [_table(scores, dim, names) for dim, names in short.items()]


def _table(scores: xr.Dataset, dim: Hashable, names: list[Hashable]) -> Section:
    """Means over all other dimensions, one column for each label of a dimension; of many bands over these, too."""
    listed = dim in scores.dims and dim in scores.coords and scores.sizes[dim] <= MOST
    labels = [str(one) for one in scores[dim].values] if listed else ["mean"]
    rows = []
    for name in names:
        one = scores[name]
        others = [other for other in one.dims if not (listed and other == dim)]
        known = one.notnull()
        total = one.where(known, 0).sum(others)
        values = total if name in COUNTS else (total / known.sum(others)).where(known.any(others))
        cells = [_number(value) for value in np.atleast_1d(values)]
        blank = [""] * (len(labels) - len(cells))
        rows.append((name, *cells, *blank, one.attrs.get("units", ""), one.attrs.get("long_name", "")))
    summary = "means over dates" if dim == "band" else f"means over dates and bands, by {dim}"
    return Section(f"by {dim}", summary, rows, ("score", *labels, "unit", "meaning"), opened=True)


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def _next(operation: str) -> Section:
    drawn = f".sr.plot.{operation}() draws them; " if operation in PICTURES else ""
    return Section("more", f"{drawn}.to_dataframe() is a table of all; fine.sr.report(reference) writes a page")
