"""Spectra of a result beside its reference, with the frequency up to which they agree."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsr.core import checks
from xsr.core.types import XarrayObject
from xsr.view.plots.library import axes_or_current, plain
from xsr.view.plots.tables import STYLES, band_names, check_table, gathered, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

THRESHOLD = 1 / 7
"""Fourier ring correlation at which `xsr.spectrum` takes detail for lost."""


def spectrum(
    scores: XarrayObject,
    /,
    *,
    metric: str = "frc",
    beside: Mapping[str, xr.Dataset] | None = None,
    low_m: float | None = None,
    bands: str | Sequence[str] | None = None,
    time: Any = None,
    ax: "Axes | None" = None,
    **options: Any,
) -> "list[Line2D]":
    """Draw how well a result agrees with its reference at each frequency, a curve for each band.

    Parameters
    ----------
    scores
        Dataset of `xsr.spectrum`.
    metric
        Variable to draw: ``frc``, ``mtf_gain``, ``power_ratio``, ``power`` or ``power_reference``.
    beside, bands, time, ax
        As in `xsr.plot.strata`.
    low_m
        Pixels in metres of the image that the result was made from, to mark its Nyquist frequency.
    **options
        For `matplotlib.axes.Axes.plot`.

    Returns
    -------
    list of matplotlib.lines.Line2D
        A curve for each band of each table. Dotted verticals mark the Nyquist frequencies: that of the result, or of
        the reference's pixels, is the end of the spectrum. A triangle on the axis marks the resolution of each curve,
        whose label says it in metres. Lazy scores are computed.

    Raises
    ------
    CubeError, BandError, ParameterError
        If it is not a result of `xsr.spectrum`, or lacks the metric, a band or the date.
    NotAvailableError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import xsr
    >>> from xsr.testing import synthetic_pair
    >>> pair = synthetic_pair(size=(32, 32))  # pixels of 10 m, and their truth of 2.5 m
    >>> scores = pair.low.sr.interpolate(scale=4).sr.spectrum(pair.high, patch=64)
    >>> lines = xsr.plot.spectrum(scores, low_m=10, bands="B02", ax=Figure().subplots())
    >>> lines[0].get_label()
    'B02: 12.4 m'
    """
    scores = check_table(scores, "spectrum")
    tables, words = gathered("spectrum", scores, beside, variables=[metric, "resolution_m"], bands=bands, time=time)
    ax = axes_or_current(ax)
    lines = []
    for place, (name, table) in enumerate(tables.items()):
        for number, band in enumerate(band_names(table)):
            how: dict[str, Any] = {"linestyle": STYLES[place % len(STYLES)], "color": f"C{number}"}
            one = table.isel(band=number)
            size = float(one.resolution_m)
            text = f"{label(band, name)}: {size:.3g} m" if np.isfinite(size) else label(band, name)
            lines += ax.plot(one.frequency.values, one[metric].values, label=text, **{**how, **options})
            if np.isfinite(size):
                mark = {"marker": "^", "color": how["color"], "alpha": 1.0 if place == 0 else 0.5}
                ax.plot([1 / size], [0.0], transform=ax.get_xaxis_transform(), clip_on=False, zorder=3, **mark)
    if metric == "frc":
        ax.axhline(THRESHOLD, color="grey", linewidth=0.8)
    _mark_nyquist(ax, float(scores.frequency.values[-1]), low_m)
    ax.set_xlabel("frequency [cycles per metre]")
    ax.set_ylabel(f"{plain(scores[metric].attrs.get('long_name', metric))} [{plain(scores[metric].attrs['units'])}]")
    ax.set_yscale("log" if metric.startswith("power") else "linear")
    ax.set_title(words)
    ax.legend(fontsize="small")
    return lines


def _mark_nyquist(ax: "Axes", last: float, low_m: float | None) -> None:
    """Mark the end of the spectrum, and the Nyquist frequency of the coarser pixels."""
    marks = {last: f"Nyquist, {0.5 / last:.3g} m pixels"}
    if low_m is not None:
        low_m = checks.positive("low_m", low_m, what="pixels in metres")
        marks[0.5 / low_m] = f"Nyquist, {low_m:.3g} m pixels"
    for frequency, text in marks.items():
        ax.axvline(frequency, color="black", linestyle=":", linewidth=1)
        how: dict[str, Any] = {"rotation": 90, "va": "center", "ha": "right", "fontsize": "x-small"}
        ax.text(frequency, 0.45, text, transform=ax.get_xaxis_transform(), **how)
