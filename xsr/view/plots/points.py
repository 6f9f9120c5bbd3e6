"""The numbers of one pixel in time, with the interval of a result that states one."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xsr.core import checks, graph
from xsr.core.clock import with_utc
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import CubeError, ParameterError
from xsr.core.grid import crs_name
from xsr.core.names import QUANTILE, BandsLike, check_container, fitting, standard_dims
from xsr.core.types import XarrayObject
from xsr.view.plots.library import axes_or_current, plain
from xsr.view.plots.reading import pixels_within

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


def series(
    cube: XarrayObject,
    /,
    *,
    x: float,
    y: float,
    crs: str | int | None = None,
    bands: BandsLike | str | None = None,
    units: str | float | None = None,
    ax: "Axes | None" = None,
    **options: Any,
) -> "list[Artist]":
    """Draw the numbers of one pixel in time, a curve for each band.

    Parameters
    ----------
    cube
        Cube with dates, in any order. Of a dimension ``quantile`` 0.5 is the curve, and each pair q and 1 - q a ribbon.
    x, y
        Map coordinates of the place; its pixel is drawn.
    crs
        CRS of ``x`` and ``y``, "EPSG:4326" for longitude and latitude; by default that of the cube.
    bands
        Bands to draw, or one; all by default.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.
    ax
        Axes to draw on; the current ones by default.
    **options
        For `matplotlib.axes.Axes.plot`.

    Returns
    -------
    list of matplotlib.artist.Artist
        For each band its curve, a `Line2D`, and its ribbons. Dates without data are left out of the curve; the title
        says how many have some. Of a lazy cube the blocks that hold the pixel are computed.

    Raises
    ------
    GridError
        If the place lies outside the cube.
    CubeError, BandError, ParameterError
        If the cube breaks the contract, has no dates, lacks a band, or a coordinate is no number.
    NotAvailableError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(16, 16), times=("2024-04-10", "2024-06-15", "2024-09-01"))
    >>> (line,) = xsr.plot.series(cube, x=600080, y=5649920, bands="B08", ax=Figure().subplots())
    >>> line.get_label(), len(line.get_xdata())
    ('B08', 3)
    """
    bands = (bands,) if isinstance(bands, str) else bands
    check_container(cube)
    obj = with_utc(standard_dims(cube))
    levels = [None] if QUANTILE not in obj.dims else np.asarray(obj[QUANTILE].values, np.float64).tolist()
    slices = [obj if level is None else obj.isel({QUANTILE: n}, drop=True) for n, level in enumerate(levels)]
    opened = [open_cube(one, units=units, bands=fitting(bands, one), shared=True) for one in slices]
    dates = opened[0].times
    rows, cols = _pixel(opened[0], x, y, crs)
    pixels = graph.together(*(one.data.isel(y=rows.start, x=cols.start) for one in opened))
    ax = axes_or_current(ax)
    order = np.argsort(dates)
    artists: list[Artist] = []
    numbers = np.stack([one.values for one in pixels])[:, order]
    for number, band in enumerate(opened[0].bands):
        artists += _curve(
            ax, dates[order], levels, numbers[..., number], plain(band), {"color": f"C{number}", **options}
        )
    there = int(np.isfinite(numbers).all(axis=0).any(axis=-1).sum())
    ax.set_title(f"x {float(x):.8g}, y {float(y):.8g}, {there} of {len(dates)} dates")
    ax.set_ylabel("temperature [K]" if opened[0].is_temperature else "reflectance")
    ax.tick_params(axis="x", labelrotation=30)
    ax.legend(fontsize="small")
    return artists


def _pixel(cube: Cube, x: Any, y: Any, crs: str | int | None) -> tuple[slice, slice]:
    """Row and column of the pixel that contains a place."""
    odd = {name: value for name, value in (("x", x), ("y", y)) if not checks.is_number(value) or not np.isfinite(value)}
    if odd:
        name, value = next(iter(odd.items()))
        raise ParameterError(f"{name}={value!r}; expected a number, in {crs_name(cube.geobox)} or the CRS of crs=.")
    east, north, own = float(x), float(y), cube.geobox.crs
    if crs is not None and own is not None:
        from odc.geo.geom import point

        east, north = point(east, north, crs).to_crs(own).coords[0]
    return pixels_within(cube.geobox, (east, north, east, north))


def _curve(
    ax: "Axes",
    dates: NDArray[np.datetime64],
    levels: list[float | None],
    numbers: NDArray[Any],
    band: str,
    how: dict[str, Any],
) -> "list[Artist]":
    """Curve of one band and its ribbons, of numbers (quantile, time)."""
    valid = np.isfinite(numbers).all(axis=0)
    dates, numbers = dates[valid], numbers[:, valid]
    by_level = {0.5 if level is None else round(level, 6): row for level, row in zip(levels, numbers, strict=True)}
    if 0.5 not in by_level:
        raise CubeError(f"dimension {QUANTILE!r} has {levels}; expected 0.5 among them, the estimate.")
    artists: list[Artist] = list(ax.plot(dates, by_level[0.5], marker="o", markersize=3, label=band, **how))
    for level in sorted(one for one in by_level if one < 0.5 and round(1 - one, 6) in by_level):
        top = round(1 - level, 6)
        name = f"{band}, {top - level:.0%} interval"
        color = how["color"]
        artists.append(
            ax.fill_between(dates, by_level[level], by_level[top], color=color, alpha=0.2, linewidth=0, label=name)
        )
    return artists
