"""One date of a cube as a picture."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from odc.geo.geobox import GeoBox

from xsr.core import checks, graph
from xsr.core.errors import XsrWarning
from xsr.core.names import BandsLike
from xsr.core.types import XarrayObject
from xsr.view.plots.library import axes_or_current, pixels_of, plain, show_map
from xsr.view.plots.reading import View, view_of
from xsr.view.plots.stretch import PERCENTILES, Range, check_percentiles, check_stretch, colours, range_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

EMPTY = "no valid pixel"


def rgb(
    cube: XarrayObject,
    /,
    *,
    bands: BandsLike | str | None = None,
    stretch: Sequence[float] | None = None,
    percentiles: Sequence[float] = PERCENTILES,
    time: Any = None,
    pixels: int | None = None,
    units: str | float | None = None,
    ax: "Axes | None" = None,
    **options: Any,
) -> "AxesImage":
    """Draw one date of a cube in true colour, in coordinates of its CRS.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x). Of a dimension ``quantile`` 0.5 is drawn.
    bands
        Three bands for red, green and blue, or one for grey, in any spelling of the alias table; or a mapping from
        names to labels (see `xsr.liif`). By default B04, B03 and B02, or the only band of the cube.
    stretch
        Numbers that are shown as black and as white, for all bands.
    percentiles
        Where ``stretch`` is not given, the percentiles of all pixels and bands of the picture that are.
    time
        Date to draw, such as "2024-06-15", or its place along ``time``. By default the date of the least
        ``eo:cloud_cover`` where the cube has that coordinate along ``time``, else the first. The title names it.
    pixels
        Pixels a side to draw, at least; by default those of the axes. A larger cube is reduced to at least as many,
        and less than twice as many: means of the valid pixels of blocks, whose side is a power of two.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.
    ax
        Axes to draw on; the current ones by default.
    **options
        For `matplotlib.axes.Axes.imshow`.

    Returns
    -------
    matplotlib.image.AxesImage
        The picture, red, green, blue and opacity in 8 bits; no data is transparent. Its ``get_clim()`` are the numbers
        shown as black and white, and its label says bands and range. Of a lazy cube the date and the bands that are
        drawn are computed, block by block; no more than the reduced picture stays in memory.

    Raises
    ------
    BandError
        If bands are missing, or neither three nor one.
    CubeError, GridError, ParameterError
        If the cube breaks the contract, has no such date, or an argument is out of range.
    NotAvailableError
        If matplotlib is not installed.

    Warns
    -----
    XsrWarning
        If no pixel of the date is valid.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> image = xsr.plot.rgb(synthetic_cube(size=(32, 48)), stretch=(0, 0.3), ax=Figure().subplots())
    >>> image.get_array().shape, image.get_clim()
    ((32, 48, 4), (0.0, 0.3))
    """
    limits, between = check_stretch(stretch), check_percentiles(percentiles)
    view = view_of(cube, bands=bands, time=time, units=units)
    ax = axes_or_current(ax)
    view = view.decimated(size_wanted(ax, pixels))
    (loaded,) = graph.together(view.data)
    picture = loaded.values
    if limits is None:
        limits = range_of([picture], between)
    image = draw(ax, picture, view, limits, **options)
    ax.set_title(caption(view, empty=range_of([picture], between) is None))
    return image


def size_wanted(ax: "Axes", pixels: int | None) -> tuple[int, int]:
    """Pixels (y, x) that a picture has at least, where the cube has as many."""
    if pixels is None:
        return pixels_of(ax)
    side = checks.whole("pixels", pixels, least=1, what="a number of pixels a side")
    return side, side


def draw(ax: "Axes", picture: Any, view: View, limits: Range | None, **options: Any) -> "AxesImage":
    """Draw loaded numbers (band, y, x) of a view on axes that show its grid."""
    geobox = view.geobox
    show_map(ax, geobox)
    options = {"extent": extent_of(geobox), "origin": "upper", "aspect": ax.get_aspect(), **options}
    turned = _turned(geobox)
    image = ax.imshow(colours(picture, limits), **options)
    if turned:
        from matplotlib.transforms import Affine2D

        affine = geobox.affine
        matrix = Affine2D.from_values(affine.a, affine.d, affine.b, affine.e, affine.c, affine.f)
        image.set_transform(matrix + ax.transData)
        show_map(ax, geobox)
    label = " ".join(plain(name) for name in view.bands)
    if limits is not None:
        image.set_clim(*limits)
        unit = "K" if view.is_temperature else ""
        label += f", {limits[0]:.4g} to {limits[1]:.4g} {unit}".rstrip()
    image.set_label(label)
    return image


def _turned(geobox: GeoBox) -> bool:
    """Whether rows of a grid do not run along an axis of its CRS."""
    return bool(geobox.affine.b or geobox.affine.d)


def extent_of(geobox: GeoBox) -> tuple[float, float, float, float]:
    """Left, right, bottom, top: in the CRS, or in pixels where rows do not run along an axis of it."""
    if _turned(geobox):
        return 0.0, float(geobox.shape.x), float(geobox.shape.y), 0.0
    box = geobox.extent.boundingbox
    return box.left, box.right, box.bottom, box.top


def caption(view: View, *, empty: bool) -> str:
    """Date of a picture, and of how many; warns if it is empty."""
    words = [view.day] if view.day else []
    if view.dates > 1:
        words.append(f"one of {view.dates} dates")
    if empty:
        words.append(EMPTY)
        when = f" on {view.day}" if view.day else ""
        remedy = " Choose another date with time=." if view.dates > 1 else ""
        warnings.warn(f"{EMPTY} of {list(view.bands)}{when}: the picture is empty.{remedy}", XsrWarning, stacklevel=3)
    return ", ".join(words)
