"""Cubes beside one another: one date, one place, one stretch, and the same details enlarged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import checks, graph
from xsr.core.clock import with_utc
from xsr.core.errors import BandError, GridError, ParameterError
from xsr.core.grid import crs_name, resolution
from xsr.core.ground import pixel_size_m
from xsr.core.names import BandsLike, check_container, fitting, standard_dims
from xsr.core.provenance import OPERATION
from xsr.core.types import XarrayObject
from xsr.view.plots.library import axes_or_current, figure_of, height_over_width, plain
from xsr.view.plots.places import steepest
from xsr.view.plots.reading import Bounds, View, estimate, view_of
from xsr.view.plots.stretch import PERCENTILES, Range, check_percentiles, check_stretch, range_of
from xsr.view.plots.truecolour import caption, draw, size_wanted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

SIDE = 24
"""Side of an inset in pixels of the first cube."""
COLOURS = ("tab:orange", "tab:cyan", "tab:pink", "tab:olive")
"""Of the frames of insets."""
PANEL_INCHES = 3.2


@dataclass(frozen=True)
class Panels:
    """Views of several cubes, and of their details at the same places; lazy until `pictures` are computed."""

    views: tuple[View, ...]
    details: tuple[tuple[View, ...], ...]
    """For each place, the view of every cube."""
    titles: tuple[str, ...]

    @property
    def lazy(self) -> list[xr.DataArray]:
        """What has to be computed, in the order of `pictures`."""
        return [view.data for row in (self.views, *self.details) for view in row]

    @property
    def rows(self) -> int:
        """Rows of pictures: the panels, and the insets of each place."""
        return 1 + len(self.details)

    def draw(
        self, axes: Sequence[Sequence["Axes"]], pictures: Sequence[NDArray[Any]], limits: Range | None
    ) -> "list[AxesImage]":
        """Draw computed pictures on axes, a row for the panels and one for the insets of each place."""
        drawn: Iterator[NDArray[Any]] = iter(pictures)
        images = []
        for ax, view, title in zip(axes[0], self.views, self.titles, strict=True):
            images.append(draw(ax, next(drawn), view, limits))
            ax.set_title(plain(title))
            if ax is not axes[0][0]:
                ax.set_ylabel("")
        for number, row in enumerate(self.details):
            colour = COLOURS[number % len(COLOURS)]
            for ax, image, view in zip(axes[1 + number], images, row, strict=True):
                draw(ax, next(drawn), view, limits)
                ax.set(xlabel="", ylabel="", xticks=[], yticks=[])
                for spine in ax.spines.values():
                    spine.set(edgecolor=colour, linewidth=2)
                _frame(image.axes, row[0], colour)
        return images


def compare(
    low: XarrayObject,
    *others: XarrayObject,
    titles: Sequence[str] | None = None,
    insets: int | Sequence[Sequence[float]] = 1,
    inset_side: float = SIDE,
    bands: BandsLike | str | None = None,
    stretch: Sequence[float] | None = None,
    percentiles: Sequence[float] = PERCENTILES,
    time: Any = None,
    pixels: int | None = None,
    units: str | float | None = None,
    axes: "Sequence[Axes] | None" = None,
) -> "list[AxesImage]":
    """Draw cubes beside one another with one stretch, and the same details of each enlarged.

    Parameters
    ----------
    low
        The cube that the others were made from, or any other.
    *others
        Cubes of one CRS that cover the same place, such as ``low`` interpolated, super-resolved, and the truth; each
        has the date that is drawn, or one only.
    titles
        One for each cube; by default the operation that made it, and its pixels on the ground.
    insets
        Number of details, at most 4; or their middles (x, y) in coordinates of the CRS. Numbered ones lie where the
        first cube is steepest in the mean and whole.
    inset_side
        Side of a detail in pixels of the first cube.
    bands, stretch, percentiles, time, pixels, units
        As in `xsr.plot.rgb`; percentiles are those of the first cube, or of the next if it has no valid pixel.
    axes
        Axes to draw on, one for each cube, with insets in their corners. By default a new figure, with a row of axes
        for every detail.

    Returns
    -------
    list of matplotlib.image.AxesImage
        A picture for each cube, whose ``axes.figure`` is the figure. Of lazy cubes, the reduced pictures and the
        details are computed together, in one pass.

    Raises
    ------
    GridError
        If the cubes differ in CRS, or a detail lies outside of one.
    BandError, CubeError, ParameterError
        As `xsr.plot.rgb`; or if there are not as many titles or axes as cubes.
    NotAvailableError
        If matplotlib is not installed.

    Warns
    -----
    XsrWarning
        If no pixel of the first cube is valid.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import xsr
    >>> from xsr.testing import synthetic_pair
    >>> pair = synthetic_pair(size=(32, 32))  # pixels of 10 m, and their truth of 2.5 m
    >>> axes = Figure(layout="constrained").subplots(1, 3)
    >>> bicubic = pair.low.sr.interpolate(scale=4)
    >>> images = xsr.plot.compare(pair.low, bicubic, pair.high, axes=axes, insets=[(600160, 5649840)], inset_side=8)
    >>> [image.axes.get_title() for image in images]
    ['10 m', 'interpolate:bicubic, 2.5 m', '2.5 m']
    """
    limits, between = check_stretch(stretch), check_percentiles(percentiles)
    cubes = (low, *others)
    for cube in cubes:
        check_container(cube)
    named = titles_of(cubes, titles)
    first = view_of(low, bands=bands, time=time, units=units)
    rows, figure = _axes(axes, len(cubes), insets, height_over_width(first.geobox))
    ready = first.decimated(size_wanted(rows[0][0], pixels))
    (picture,) = graph.together(ready.data)
    places = places_of(ready, picture.values, first, insets, inset_side)
    views = (first, *(beside(first, one, bands=bands, time=time, units=units) for one in others))
    panels = prepare(views, places, named, [size_wanted(ax, pixels) for ax in rows[0]])
    pictures = [one.values for one in graph.together(*panels.lazy)]
    if limits is None:
        limits = range_of(pictures[: len(cubes)], between)
    images = panels.draw(rows, pictures, limits)
    words = caption(first, empty=range_of(pictures[:1], between) is None)
    if figure is not None and words:
        figure.suptitle(words)
    return images


def titles_of(cubes: Sequence[XarrayObject], titles: Sequence[str] | None) -> tuple[str, ...]:
    """Titles of cubes: those given, or how each was made and its pixels.

    Raises
    ------
    ParameterError
        If there are not as many as cubes.
    """
    if titles is None:
        return tuple(_title(cube) for cube in cubes)
    found = (titles,) if isinstance(titles, str) else tuple(map(str, titles))
    if len(found) != len(cubes):
        raise ParameterError(f"titles={list(found)} for {len(cubes)} cubes; expected one for each.")
    return found


def _title(cube: XarrayObject) -> str:
    geobox = cube.odc.geobox
    size = "" if geobox is None else f"{pixel_size_m(geobox)[0]:.4g} m"
    return ", ".join(filter(None, (str(cube.attrs.get(OPERATION, "")), size)))


def prepare(
    views: Sequence[View], places: Sequence[Bounds], titles: Sequence[str], sizes: Sequence[tuple[int, int]]
) -> Panels:
    """Reduce views to what is shown of them; nothing is computed.

    Raises
    ------
    GridError
        If a place lies outside of one.
    """
    shown = tuple(view.decimated(size) for view, size in zip(views, sizes, strict=True))
    details = tuple(tuple(view.within(place) for view in views) for place in places)
    return Panels(shown, details, tuple(titles))


def beside(first: View, cube: XarrayObject, *, bands: BandsLike | str | None, time: Any, units: Any) -> View:
    """View of another cube with the bands and the date of a first one.

    Raises
    ------
    GridError
        If its CRS is another.
    BandError, CubeError, ParameterError
        If it lacks the bands or the date.
    """
    obj = with_utc(standard_dims(estimate(cube)))
    when = _same_date(obj, first, time)
    single = len(first.names) == 1 and isinstance(obj, xr.DataArray) and obj.sizes.get("band", 1) == 1
    wanted: BandsLike | None = None if single else first.names
    if bands is not None:
        wanted = fitting((bands,) if isinstance(bands, str) else bands, cube)
    view = view_of(cube, bands=wanted, time=when, units=units)
    if len(view.bands) != len(first.bands):
        raise BandError(f"a cube shows the bands {list(view.bands)}, the first {list(first.bands)}; give bands=.")
    if view.geobox.crs != first.geobox.crs:
        raise GridError(
            f"a cube is in {crs_name(view.geobox)}, the first in {crs_name(first.geobox)}; expected one CRS. Bring it"
            " there with xsr.interpolate(..., like=...)."
        )
    return view


def _same_date(obj: XarrayObject, first: View, time: Any) -> Any:
    """Date to draw of another cube: the place of that of the first view where their dates agree, else its date."""
    count = obj.sizes.get("time", 1)
    if count == 1:
        return None
    if first.date is None or "time" not in obj.coords:
        return time if first.place is None else first.place
    alike = count == first.dates and first.place is not None and obj["time"].dtype.kind == "M"
    return first.place if alike and obj["time"].values[first.place] == first.date else first.date


def places_of(
    ready: View, picture: NDArray[Any], first: View, insets: int | Sequence[Sequence[float]], side: float
) -> list[Bounds]:
    """Rectangles of the details, of the first cube reduced and loaded, and of the cube itself.

    Raises
    ------
    ParameterError
        If the number is too large, or places are no pairs of numbers.
    """
    side = checks.positive("inset_side", side, what="pixels of the first cube")
    down, across = (size * side for size in resolution(first.geobox))
    if checks.is_number(insets):
        count = _count(insets)
        step = resolution(ready.geobox)[0] / resolution(first.geobox)[0]
        found = steepest(picture, max(1, round(side / step)), count)
        middles: list[Any] = [ready.geobox.affine @ place for place in found]
    else:
        middles = [checks.several("insets", pair, what="(x, y) of each detail") for pair in _pairs(insets)]
    if any(len(pair) != 2 for pair in middles):
        raise ParameterError(f"insets={middles}; expected (x, y) of each detail.")
    return [(x - across / 2, y - down / 2, x + across / 2, y + down / 2) for x, y in middles]


def _count(insets: Any) -> int:
    count = checks.whole("insets", insets, least=0, what="a number of details, or their middles")
    if count > len(COLOURS):
        raise ParameterError(f"insets={count}; expected at most {len(COLOURS)}.")
    return count


def _pairs(insets: Any) -> list[Any]:
    pairs = list(insets)
    if len(pairs) > len(COLOURS) or any(checks.is_number(one) for one in pairs):
        raise ParameterError(f"insets={pairs}; expected at most {len(COLOURS)} middles, such as [(x, y)].")
    return pairs


def _axes(
    axes: "Sequence[Axes] | None", count: int, insets: int | Sequence[Sequence[float]], tall: float
) -> "tuple[list[list[Axes]], Figure | None]":
    """Axes of the panels, and rows for the insets: those given with insets in their corners, or a new figure."""
    rows = _count(insets) if checks.is_number(insets) else len(_pairs(insets))
    if axes is None:
        size, ratios = sheet(count, rows, tall)
        figure = figure_of(size, layout="compressed")
        return rows_on(figure, count, ratios), figure
    given = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(given) != count:
        raise ParameterError(f"{len(given)} axes for {count} cubes; expected one for each.")
    given = [axes_or_current(ax) for ax in given]
    corners = ((0.62, 0.02), (0.02, 0.02), (0.62, 0.62), (0.02, 0.62))
    return [given, *([ax.inset_axes((*corners[row], 0.36, 0.36)) for ax in given] for row in range(rows))], None


def sheet(count: int, rows: int, tall: float) -> tuple[tuple[float, float], list[float]]:
    """Size of a figure in inches, and heights of its rows over the width of a panel, which is so many times as tall."""
    ratios = [min(max(tall, 0.4), 2.5), *(1.0,) * rows]
    return (PANEL_INCHES * count + 0.8, PANEL_INCHES * sum(ratios) + 1.0), ratios


def rows_on(figure: "Figure", count: int, ratios: Sequence[float]) -> "list[list[Axes]]":
    """Rows of axes on a figure."""
    grid = figure.subplots(len(ratios), count, squeeze=False, height_ratios=ratios)
    return [list(row) for row in grid]


def _frame(ax: "Axes", view: View, colour: str) -> None:
    """Mark on a panel where a detail lies."""
    from matplotlib.patches import Polygon

    corners = view.geobox.extent.exterior.coords
    ax.add_patch(Polygon(np.asarray(corners), closed=True, fill=False, edgecolor=colour, linewidth=1.5))
