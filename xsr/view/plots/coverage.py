"""Whether intervals hold what they say, and how wide they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xsr.core.errors import ParameterError
from xsr.core.types import XarrayObject
from xsr.view.plots.library import axes_or_current, figure_of
from xsr.view.plots.tables import band_names, check_table, gathered, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def calibration(
    scores: XarrayObject,
    /,
    *,
    bands: str | Sequence[str] | None = None,
    time: Any = None,
    axes: "Sequence[Axes] | None" = None,
    **options: Any,
) -> "list[Line2D]":
    """Draw the share of the truth that intervals contain against the share they claim, and their mean width.

    Parameters
    ----------
    scores
        Dataset of `xsr.calibration`, without strata.
    bands, time
        As in `xsr.plot.strata`.
    axes
        Two axes, for coverage and for width; by default a new figure.
    **options
        For `matplotlib.axes.Axes.plot`.

    Returns
    -------
    list of matplotlib.lines.Line2D
        A curve of coverage for each band, then one of width for each. On the diagonal an interval holds what it says;
        below it is too narrow. Lazy scores are computed.

    Raises
    ------
    CubeError, BandError, ParameterError
        If it is not a result of `xsr.calibration`, has strata, or lacks a band or the date.
    NotAvailableError
        If matplotlib is not installed.

    Examples
    --------
    >>> import xarray as xr
    >>> from matplotlib.figure import Figure
    >>> import xsr
    >>> from xsr.testing import synthetic_pair
    >>> pair = synthetic_pair(size=(32, 32))
    >>> around = xr.DataArray([-0.02, 0, 0.02], {"quantile": [0.05, 0.5, 0.95]}, "quantile")
    >>> scores = (pair.low.sr.interpolate(scale=4) + around).sr.calibration(pair.high)
    >>> lines = xsr.plot.calibration(scores, bands="B08", axes=Figure().subplots(1, 2))
    >>> [line.get_ydata().round(2).tolist() for line in lines]  # nominal: 0.9
    [[0.66], [0.04]]
    """
    scores = check_table(scores, "calibration")
    tables, words = gathered("calibration", scores, None, variables=["coverage", "width"], bands=bands, time=time)
    table = tables[""]
    if "stratum" in table.dims:
        raise ParameterError("the scores have strata; expected those of all pixels. Select one: .isel(stratum=0).")
    left, right = _pair(axes)
    nominal = table.interval.values
    order = np.argsort(nominal)
    lines = []
    for ax, name in ((left, "coverage"), (right, "width")):
        for number, band in enumerate(band_names(table)):
            how: dict[str, Any] = {"color": f"C{number}", "marker": "o", "markersize": 4, **options}
            lines += ax.plot(nominal[order], table[name].isel(band=number).values[order], label=label(band, ""), **how)
        ax.set_xlabel("nominal coverage")
        ax.set_xlim(0, 1)
    left.axline((0, 0), slope=1, color="grey", linewidth=0.8)
    left.set(ylabel="measured coverage", ylim=(0, 1.02), title=words)
    right.set(ylabel="mean width [reflectance]")
    right.set_ylim(bottom=0)
    left.legend(fontsize="small")
    return lines


def _pair(axes: "Sequence[Axes] | None") -> "tuple[Axes, Axes]":
    if axes is None:
        left, right = figure_of((8, 3.6)).subplots(1, 2)
        return left, right
    found = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(found) != 2:
        raise ParameterError(f"{len(found)} axes; expected two, for coverage and for width.")
    return axes_or_current(found[0]), axes_or_current(found[1])
