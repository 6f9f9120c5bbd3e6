"""Scores by stratum of the gradient, band by band."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsr.core.types import XarrayObject
from xsr.view.plots.library import axes_or_current, plain
from xsr.view.plots.tables import STYLES, band_names, check_table, gathered, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def strata(
    scores: XarrayObject,
    /,
    *,
    metric: str = "rmse",
    beside: Mapping[str, xr.Dataset] | None = None,
    bands: str | Sequence[str] | None = None,
    time: Any = None,
    ax: "Axes | None" = None,
    **options: Any,
) -> "list[Line2D]":
    """Draw a metric from where the reference is flat to where it is steep, a curve for each band.

    Parameters
    ----------
    scores
        Dataset of `xsr.strata`.
    metric
        Variable to draw.
    beside
        Further results of `xsr.strata` by their names, such as that of bicubic interpolation, in other dashes.
    bands
        Bands to draw; all by default.
    time
        Date to draw, or its place along ``time``; of several the median by default, as the title says.
    ax
        Axes to draw on; the current ones by default.
    **options
        For `matplotlib.axes.Axes.plot`.

    Returns
    -------
    list of matplotlib.lines.Line2D
        A curve for each band of each table. Lazy scores are computed. The ticks name the edges of the strata, in
        reflectance per metre, of the first band.

    Raises
    ------
    CubeError, BandError, ParameterError
        If it is not a result of `xsr.strata`, or lacks the metric, a band or the date.
    NotAvailableError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import xsr
    >>> from xsr.testing import synthetic_pair
    >>> pair = synthetic_pair(size=(32, 32))
    >>> scores = pair.low.sr.interpolate(scale=4).sr.strata(pair.high)
    >>> lines = xsr.plot.strata(scores, bands="B08", ax=Figure().subplots())
    >>> lines[0].get_label(), len(lines[0].get_xdata())
    ('B08', 4)
    """
    drawn = ["count", "edge_low", "edge_high", metric]
    scores = check_table(scores, "strata")
    tables, words = gathered("strata", scores, beside, variables=drawn, bands=bands, time=time)
    ax = axes_or_current(ax)
    lines = []
    for style, (name, table) in zip(_cycle(len(tables)), tables.items(), strict=True):
        for number, band in enumerate(band_names(table)):
            how: dict[str, Any] = {"linestyle": style, "color": f"C{number}", "marker": "o", "markersize": 4}
            values = table[metric].isel(band=number).values
            lines += ax.plot(np.arange(values.size), values, label=label(band, name), **{**how, **options})
    first = tables[""].isel(band=0)
    edges = zip(first.edge_low.values, first.edge_high.values, strict=True)
    ax.set_xticks(np.arange(first.sizes["stratum"]), [f"{low:.2g} to\n{high:.2g}" for low, high in edges])
    ax.set_xlabel("gradient of the reference [reflectance per metre]")
    ax.set_ylabel(f"{plain(metric)} [{plain(scores[metric].attrs.get('units', '1'))}]")
    ax.set_title(words)
    ax.legend(fontsize="small")
    return lines


def _cycle(count: int) -> list[str]:
    return [STYLES[number % len(STYLES)] for number in range(count)]
