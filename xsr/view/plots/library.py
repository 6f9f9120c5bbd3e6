"""matplotlib, loaded on first use: axes to draw on, their pixels, and their text."""

from typing import TYPE_CHECKING, Any

from odc.geo.geobox import GeoBox

from xsr.core.errors import NotAvailableError
from xsr.core.grid import crs_name, resolution
from xsr.core.ground import pixel_size_m
from xsr.core.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INSTALL = "Install it with: pip install 'xarray-sr[viz]'."


def pyplot() -> Any:
    """Return `matplotlib.pyplot`.

    Raises
    ------
    NotAvailableError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise NotAvailableError(f"matplotlib is not installed; expected it for pictures. {INSTALL}") from error
    return plt


def axes_or_current(ax: "Axes | None") -> "Axes":
    """Return the given axes; without, the current ones of pyplot, as xarray draws on."""
    plt = pyplot()
    current: Axes = plt.gca() if ax is None else ax
    return current


def figure_of(size: tuple[float, float], *, layout: str = "constrained") -> "Figure":
    """Make a figure of pyplot of a size in inches."""
    figure: Figure = pyplot().figure(figsize=size, layout=layout)
    return figure


def pixels_of(ax: "Axes") -> tuple[int, int]:
    """Size (y, x) of axes on the screen in pixels, at least 1."""
    extent = ax.get_window_extent()
    return max(1, round(extent.height)), max(1, round(extent.width))


def plain(text: object) -> str:
    """Text from files without control characters and without the signs of mathematical text of matplotlib."""
    return printable(text).replace("$", r"\$")


def aspect_of(geobox: GeoBox) -> float:
    """Length on the screen of a unit of the CRS along y, over that along x: 1 but in degrees."""
    if geobox.crs is None or not geobox.crs.geographic:
        return 1.0
    (down, across), (down_m, across_m) = resolution(geobox), pixel_size_m(geobox)
    return (down_m / down) / (across_m / across)


def height_over_width(geobox: GeoBox) -> float:
    """Shape of a picture of a grid on the screen."""
    box = geobox.extent.boundingbox
    return aspect_of(geobox) * box.span_y / box.span_x


def show_map(ax: "Axes", geobox: GeoBox) -> None:
    """Let axes show a grid in coordinates of its CRS, in which lengths on the ground have one scale."""
    corners, crs = geobox.extent.boundingbox, geobox.crs
    ax.set_xlim(corners.left, corners.right)
    ax.set_ylim(corners.bottom, corners.top)
    ax.set_aspect(aspect_of(geobox))
    unit = "degree" if crs is None or crs.geographic else crs.units[0]
    names = ("latitude", "longitude") if crs is not None and crs.geographic else ("y", "x")
    ax.set_ylabel(f"{names[0]} [{unit}]")
    ax.set_xlabel(plain(f"{names[1]} [{unit}], {crs_name(geobox)}"))
    ax.ticklabel_format(useOffset=False, style="plain")
    ax.locator_params(nbins=4)
