"""What of a cube is drawn: one date, three bands or one, and no more pixels than can be shown."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import checks
from xsr.core.clock import with_utc
from xsr.core.cube import open_cube
from xsr.core.errors import BandError, CubeError, GridError, ParameterError
from xsr.core.names import QUANTILE, BandsLike, check_container, standard_dims, standardise
from xsr.core.types import XarrayObject

VISIBLE = ("B04", "B03", "B02")
"""Red, green and blue, as core names them."""
CLOUDS = "eo:cloud_cover"
"""Coordinate along time of cubes from catalogues: share of clouds in percent."""

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top in coordinates of the CRS."""


@dataclass(frozen=True)
class View:
    """Part of a cube to draw; lazy until it is loaded."""

    data: xr.DataArray
    """Numbers (band, y, x), y descending; NaN is no data."""
    geobox: GeoBox
    bands: tuple[str, ...]
    names: tuple[str, ...]
    """Canonical names of the bands."""
    date: np.datetime64 | None
    dates: int
    """Dates of the cube."""
    place: int | None
    """Place of the date among them."""
    is_temperature: bool

    @property
    def day(self) -> str:
        """Date as text; empty where there is none."""
        return "" if self.date is None else str(self.date.astype("datetime64[D]"))

    @property
    def values(self) -> NDArray[np.float32]:
        """Loaded numbers (band, y, x)."""
        return np.asarray(self.data.values, np.float32)

    def within(self, bounds: Bounds) -> "View":
        """Part of a view: the pixels that touch a rectangle.

        Raises
        ------
        GridError
            If there are none.
        """
        rows, cols = pixels_within(self.geobox, bounds)
        return replace(self, data=self.data.isel(y=rows, x=cols), geobox=self.geobox[rows, cols])

    def decimated(self, most: tuple[int, int]) -> "View":
        """View of at least ``most`` pixels (y, x) and less than twice as many a side, where it has more.

        A pixel is the mean of the valid ones of a block, whose side is a power of two, as that of most chunks.
        """
        height, width = self.geobox.shape.yx
        ratio = min(height / most[0], width / most[1])
        step = 2 ** int(np.floor(np.log2(ratio))) if ratio >= 2 else 1
        if step == 1:
            return self
        shape = (-(-height // step), -(-width // step))
        data = self.data.drop_vars(["y", "x"], errors="ignore").coarsen(y=step, x=step, boundary="pad").mean()
        geobox = GeoBox(shape, self.geobox.affine @ Affine.scale(step), self.geobox.crs)
        return replace(self, data=data, geobox=geobox)


def pixels_within(geobox: GeoBox, bounds: Bounds) -> tuple[slice, slice]:
    """Rows and columns of a grid that touch a rectangle.

    Raises
    ------
    GridError
        If there are none.
    """
    left, bottom, right, top = bounds
    corners = [~geobox.affine @ corner for corner in ((left, top), (right, top), (right, bottom), (left, bottom))]
    spans = []
    for axis, size in ((1, geobox.shape.y), (0, geobox.shape.x)):
        places = [corner[axis] for corner in corners]
        start, stop = int(np.floor(min(places) + 1e-6)), int(np.ceil(max(places) - 1e-6))
        spans.append(slice(max(start, 0), min(max(stop, start + 1), size)))
    if any(span.start >= span.stop for span in spans):
        box = geobox.extent.boundingbox
        raise GridError(
            f"{bounds} lies outside the cube, which covers {tuple(float(f'{one:.8g}') for one in box)} (left, bottom,"
            " right, top). Give a place inside."
        )
    return spans[0], spans[1]


def view_of(
    cube: XarrayObject, *, bands: BandsLike | str | None = None, time: Any = None, units: str | float | None = None
) -> View:
    """Choose the date and the bands of a cube that are drawn; nothing is computed.

    Parameters
    ----------
    cube
        Cube of the contract; of a dimension ``quantile`` 0.5 is taken.
    bands
        Three bands for red, green and blue, or one for grey. By default the visible ones, or the only one.
    time
        A date, as `one_date` takes it.
    units
        Units of the numbers; see `xsr.interpolate`.

    Raises
    ------
    BandError
        If the cube has not the visible bands, or the number of ``bands`` is another.
    CubeError, GridError, ParameterError
        If the cube breaks the contract, or has no such date.
    """
    bands = (bands,) if isinstance(bands, str) else bands
    check_container(cube)
    obj = with_utc(standard_dims(estimate(cube)))
    dates = obj.sizes.get("time", 1)
    place = one_date(obj, time)
    obj = obj if place is None else obj.isel(time=[place])
    chosen = _visible(obj, units) if bands is None else bands
    if len(chosen) not in (1, 3):
        raise BandError(f"bands={list(chosen)}; expected three, for red, green and blue, or one, for grey.")
    opened = open_cube(obj, units=units, bands=chosen, shared=True)
    found = opened.dates
    data = opened.data.isel(time=0)
    data = data.drop_vars([name for name in data.coords if name not in ("y", "x", "band")])
    data = data.where(np.isfinite(data))
    date = None if found is None else found[0]
    return View(data, opened.geobox, opened.bands, opened.canonical, date, dates, place, opened.is_temperature)


def estimate(cube: XarrayObject) -> XarrayObject:
    """Select the quantile 0.5 of a cube that has that dimension.

    Raises
    ------
    CubeError
        If it is not among them.
    """
    if QUANTILE not in cube.dims:
        return cube
    numbers = np.asarray(cube[QUANTILE].values, np.float64)
    found = np.flatnonzero(np.abs(numbers - 0.5) < 1e-9)
    if not found.size:
        raise CubeError(
            f"dimension {QUANTILE!r} has {numbers.tolist()}; expected 0.5 among them, the estimate, to draw. Select"
            f" one: .isel({QUANTILE}=0)."
        )
    return cube.isel({QUANTILE: int(found[0])}, drop=True)


def _visible(obj: XarrayObject, units: str | float | None) -> tuple[str, ...]:
    """Bands of true colour, or the only band."""
    names = standardise(obj)[2]
    if set(VISIBLE) <= set(names.bands.values()):
        return VISIBLE
    bands = open_cube(obj, units=units, shared=True).bands
    if len(bands) == 1:
        return bands
    raise BandError(
        f"true colour needs the bands {', '.join(VISIBLE)} (red, green, blue); the cube has {list(bands)}. Name three"
        f" with bands=, or one: bands={bands[0]!r}. Names that are not known can be given a meaning:"
        " bands={'B04': LABEL, ...}."
    )


def one_date(obj: XarrayObject, time: Any) -> int | None:
    """Place of the date to draw; None if the cube has no dimension ``time``.

    Parameters
    ----------
    obj
        Cube with standard dimensions.
    time
        A place along ``time``, or a time (text, datetime, numpy or pandas). Text such as "2024-06-15" is the date of
        that day. None takes that of the least ``eo:cloud_cover`` where the cube has this coordinate, else the first.

    Raises
    ------
    ParameterError
        If the cube has no such date, or several.
    """
    if "time" not in obj.dims:
        if time is not None:
            raise ParameterError(f"time={time!r}, but the cube has no dimension 'time'. Leave it out.")
        return None
    count = obj.sizes["time"]
    if time is None:
        return _clearest(obj)
    if checks.is_number(time):
        place = checks.whole("time", time, what="a place along 'time', or a date")
        if not -count <= place < count:
            raise ParameterError(f"time={place}; the cube has {count} dates. Expected {-count} to {count - 1}.")
        return place % count
    return _same_date(obj, time)


def _clearest(obj: XarrayObject) -> int:
    """Place of the date with the least clouds that its catalogue states, else 0."""
    if CLOUDS not in obj.coords or obj[CLOUDS].dims != ("time",) or obj[CLOUDS].dtype.kind not in "fiu":
        return 0
    clouds = np.asarray(obj[CLOUDS].values, np.float64)
    return int(np.nanargmin(clouds)) if np.isfinite(clouds).any() else 0


def _same_date(obj: XarrayObject, time: Any) -> int:
    """Place of the date that is, to the precision given, a time."""
    if "time" not in obj.coords or obj["time"].dtype.kind != "M":
        raise ParameterError(f"time={time!r}, but the dates of the cube are not known. Give a place: time=0.")
    try:
        wanted = np.datetime64(time) if isinstance(time, str | np.datetime64) else _in_utc(pd.Timestamp(time))
    except (ValueError, TypeError) as error:
        raise ParameterError(f"time={time!r}; expected a date such as '2024-06-15', or a place such as 0.") from error
    times = np.asarray(obj["time"].values)
    found = np.flatnonzero(times.astype(wanted.dtype) == wanted)
    if found.size == 1:
        return int(found[0])
    if found.size:
        listed = [str(one.astype("datetime64[s]")) for one in times[found[:4]]]
        raise ParameterError(f"time={time!r} is the date of {found.size} images, {listed}; expected one. Name it.")
    exact = times.astype("datetime64[s]")
    nearest = exact[int(np.argmin(np.abs(exact - wanted.astype("datetime64[s]"))))]
    raise ParameterError(f"time={time!r} is none of {len(times)} dates; the nearest is {nearest}. Name one of them.")


def _in_utc(time: pd.Timestamp) -> np.datetime64:
    plain = time.tz_convert(None) if time.tzinfo is not None else time
    return np.datetime64(plain.to_datetime64())
