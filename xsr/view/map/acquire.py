"""Obtaining data from the page: what a catalogue has, and a download of it, date by date."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odc.geo.geom import Geometry

from xsr.core.areas import lonlat, resolve_area
from xsr.core.errors import ParameterError
from xsr.core.text import printable
from xsr.core.types import XarrayObject
from xsr.sources.stac.describe import acquisition, number_of, time_of
from xsr.sources.stac.origin import refusal
from xsr.sources.stac.search import find_items
from xsr.view.map.jobs import Job
from xsr.view.map.layers import number

if TYPE_CHECKING:
    import pystac

MOST_VALUES = 250_000_000
"""Numbers, over bands and dates, that are fetched or computed for one page: 1 GB."""
MOST_ITEMS = 2000
"""Items of a search."""
USUAL_PIXEL = 10.0
"""Pixel size in metres by which a download is judged before its grid is known."""
USUAL_BANDS = 12
"""Bands where none are named."""


@dataclass(frozen=True)
class Wish:
    """What a page requests of a catalogue."""

    url: str
    area: Geometry
    datetime: str
    collection: str | None = None
    bands: tuple[str, ...] = ()
    max_cloud: float | None = None

    @classmethod
    def parse(cls, given: Mapping[str, Any], *, origin: str) -> "Wish":
        """Read and check what a page sends.

        Parameters
        ----------
        given
            Fields ``url``, ``area``, ``first``, ``last``, ``collection``, ``bands``, ``max_cloud``; all but the first
            two may be missing.
        origin
            Address that the page is served from: the catalogue may lie no further inward, see
            `xsr.sources.stac.origin`.

        Raises
        ------
        ParameterError
            If one is missing or wrong.
        """
        url = _text(given, "url")
        if not url.lower().startswith(("http://", "https://")):
            raise ParameterError(f"the catalogue {url!r}; expected an address that begins with https:// or http://.")
        why = refusal(url, origin)
        if why is not None:
            raise ParameterError(f"the catalogue {url} {why}; expected one that this page may open.")
        cloud = given.get("max_cloud")
        return cls(
            url,
            read_area(given.get("area")),
            f"{_text(given, 'first') or '..'}/{_text(given, 'last') or '..'}",
            _text(given, "collection") or None,
            tuple(name for name in _text(given, "bands").replace(",", " ").split() if name),
            None if cloud in (None, "") else number("max_cloud", str(cloud)),
        )


def read_area(given: Any) -> Geometry:
    """Area in GeoJSON, or as four numbers: west, south, east, north in degrees.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if given is None:
        raise ParameterError("no area is given; expected one. Draw it on the map, or upload GeoJSON.")
    listed = isinstance(given, Sequence) and not isinstance(given, str)
    try:
        area = resolve_area(given, None) if listed else resolve_area(None, _geojson(given))
    except (TypeError, ValueError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError("the area cannot be read; expected GeoJSON in degrees, or four numbers.") from error
    assert area is not None
    return area


def _geojson(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):  # a text would be the path of a file
        raise ParameterError("the area is no GeoJSON; expected a geometry, feature or collection.")
    return given


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str | None):
        raise ParameterError(f"{name}={value!r}; expected text.")
    return (value or "").strip()


def search(job: Job, wish: Wish) -> "list[pystac.Item]":
    """Find the items of a wish.

    Raises
    ------
    ParameterError
        As `xsr.open_stac`.
    """
    job.step(0, 0, "searching the catalogue")
    return find_items(
        None,
        url=wish.url,
        area=wish.area,
        datetime=wish.datetime,
        collection=wish.collection,
        max_cloud=wish.max_cloud,
        limit=MOST_ITEMS,
    )


def dates_of(items: "Sequence[pystac.Item]") -> dict[str, "list[pystac.Item]"]:
    """Items by their acquisition, in the order of time."""
    dates: dict[str, list[pystac.Item]] = {}
    for item in items:
        dates.setdefault(" ".join(acquisition(item)), []).append(item)
    return dates


def describe(items: "Sequence[pystac.Item]") -> list[dict[str, Any]]:
    """Describe what was found, one record for each date: key, time, platform, items, and cloud cover in percent."""
    return [_describe(key, found) for key, found in dates_of(items).items()]


def _describe(key: str, found: "Sequence[pystac.Item]") -> dict[str, Any]:
    covers = [number_of(item, "eo:cloud_cover", item.properties.get("eo:cloud_cover")) for item in found]
    known = [cover for cover in covers if cover is not None]
    return {
        "key": key,
        "time": str(time_of(found[0]).astype("datetime64[s]")),
        "platform": printable(str(found[0].properties.get("platform", ""))),
        "collection": printable(found[0].collection_id or ""),
        "items": [printable(item.id) for item in found],
        "cloud": round(sum(known) / len(known), 1) if known else None,
    }


def chosen(items: "Sequence[pystac.Item]", keys: Sequence[str] | None) -> "list[list[pystac.Item]]":
    """Items of chosen dates, by default of all.

    Raises
    ------
    ParameterError
        If nothing was found before, or a key is none of it.
    """
    dates = dates_of(items)
    if not dates:
        raise ParameterError("there is nothing to fetch; expected a search that found something. Search first.")
    wanted = list(dates) if keys is None else list(keys)
    odd = [key for key in wanted if key not in dates]
    if odd or not wanted:
        raise ParameterError(f"the dates {odd or wanted} are none of those found. Choose some of the list.")
    return [found for key, found in dates.items() if key in wanted]


def check_size(values: float, what: str) -> None:
    """Refuse more numbers than a page may hold.

    Raises
    ------
    ParameterError
        With what is too large, and by how much.
    """
    if values > MOST_VALUES:
        raise ParameterError(
            f"{what} has {values / 1e6:.0f} million values; expected at most {MOST_VALUES / 1e6:.0f} million. Choose a"
            " smaller area, fewer dates or fewer bands, or use `xsr fetch` and `xsr run`, which have no limit."
        )


def estimate(wish: Wish, dates: int) -> float:
    """Values that a download would have, with pixels of 10 m."""
    frame = lonlat(wish.area).boundingbox.polygon.to_crs("EPSG:6933")  # of equal area
    return float(frame.area) / USUAL_PIXEL**2 * (len(wish.bands) or USUAL_BANDS) * dates


def download(job: Job, wish: Wish, dates: "Sequence[Sequence[pystac.Item]]", path: Path) -> XarrayObject:
    """Fetch dates to a store, one after the other, and open it.

    Raises
    ------
    ParameterError
        If they are too large.
    XsrError
        As `xsr.fetch`.
    """
    from xsr.sources.fetch import fetch
    from xsr.sources.opening import open as open_any

    for done, items in enumerate(dates):
        job.step(done, len(dates), f"fetching {time_of(items[0]).astype('datetime64[D]')}")
        fetch(
            path,
            list(items),
            geometry=wish.area,
            bands=list(wish.bands) or None,
            collection=wish.collection,
            progress=False,
        )
        if done == 0:
            check_size(values_of(open_any(path)) * len(dates), "the download")
    job.step(len(dates), len(dates), "opening")
    return open_any(path)


def values_of(cube: XarrayObject) -> int:
    """Numbers that a cube holds."""
    import xarray as xr

    return int(cube.size if isinstance(cube, xr.DataArray) else sum(one.size for one in cube.data_vars.values()))
