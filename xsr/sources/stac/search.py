"""Finding items: by an API, or among given items by the same rules."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geom import Geometry

from xsr.core import checks
from xsr.core.areas import lonlat
from xsr.core.errors import ParameterError, cause
from xsr.sources.stac.describe import number_of, time_of
from xsr.sources.stac.footprint import bounds, touches
from xsr.sources.stac.interval import TimesLike, interval, within
from xsr.sources.stac.origin import is_remote, mark
from xsr.sources.stac.reading import UNREADABLE, ItemsLike, name, read_items, why

if TYPE_CHECKING:
    import pystac


def find_items(
    items: ItemsLike | None,
    *,
    url: str | None,
    area: Geometry | None,
    datetime: TimesLike | None,
    collection: str | Sequence[str] | None,
    max_cloud: float | None,
    trust: bool = False,
    limit: int | None = None,
) -> "list[pystac.Item]":
    """Find the items to load, in the order of time.

    Parameters
    ----------
    items, url, area, datetime, collection, max_cloud, trust
        As of `xsr.open_stac`, the area resolved.
    limit
        Items that a catalogue may list, at most.

    Raises
    ------
    ParameterError
        If neither or both of items and url are given, the catalog cannot be read or lists too many items, or nothing
        is left.
    """
    if (items is None) == (url is None):
        raise ParameterError("expected either items or url=. Pass one of them.")
    if max_cloud is not None and not checks.is_number(max_cloud):
        raise ParameterError(f"max_cloud={max_cloud!r}; expected a number from 0 to 100 (percent).")
    where = name(items) if url is None else url
    span = None if datetime is None else interval(datetime)
    collections = _names(collection)
    online = url if url is not None else items if _is_client(items) else None
    if online is None:
        found = read_items(items, trust=trust)
    else:
        found = _search(online, area=area, span=span, collections=collections, trust=trust, limit=limit)
    total = len(found)
    found = [item for item in found if _wanted(item, span, collections=collections, max_cloud=max_cloud)]
    inside = [item for item in found if area is None or touches(item, area)]
    if found and not inside:
        raise ParameterError(
            f"the area {_corners(area)} lies outside all {len(found)} items of {where}, which cover {bounds(found)}"
            " (degrees). Check the area."
        )
    if not inside:
        filters = {"datetime": datetime, "collection": collection, "max_cloud": max_cloud, "area": _corners(area)}
        raise ParameterError(_nothing(where, filters, total=total))
    return in_order(inside)


def in_order(items: "Iterable[pystac.Item]") -> "list[pystac.Item]":
    """Sort items by time, then by name: the first that shows a pixel counts."""
    return sorted(items, key=lambda item: (time_of(item), item.id))


def _names(collection: str | Sequence[str] | None) -> list[str] | None:
    if collection is None:
        return None
    names = [collection] if isinstance(collection, str) else list(collection)
    if not names or not all(isinstance(one, str) for one in names):
        raise ParameterError(f"collection={collection!r}; expected the name of a collection, or several.")
    return names


def _nothing(where: str, filters: Mapping[str, Any], *, total: int) -> str:
    given = {key: value for key, value in filters.items() if value is not None}
    return f"no items of {where} match {given} ({total} before filtering). Ask for less."


def _corners(area: Geometry | None) -> tuple[float, ...] | None:
    return None if area is None else tuple(round(value, 4) for value in lonlat(area).boundingbox)


def _is_client(items: ItemsLike) -> bool:
    from pystac_client import Client

    return isinstance(items, Client)


def _search(
    online: Any,
    *,
    area: Geometry | None,
    span: str | None,
    collections: list[str] | None,
    trust: bool,
    limit: int | None,
) -> "list[pystac.Item]":
    import pystac
    import pystac_client
    import pystac_client.warnings
    from pystac_client.exceptions import APIError

    try:
        with pystac_client.warnings.ignore():
            client = _opened(online, trust=trust) if isinstance(online, str) else online
            origin = online if isinstance(online, str) else str(client.get_self_href() or "")
            if not client.conforms_to("ITEM_SEARCH"):
                return [mark(item, origin) for item in _at_most(limit, client.get_items(recursive=True), online)]
            intersects = None if area is None else lonlat(area).json
            found = client.search(collections=collections, intersects=intersects, datetime=span)
            return [mark(item, origin) for item in _at_most(limit, found.items(), online)]
    except ParameterError:
        raise
    except (OSError, APIError, pystac.STACError, pystac.STACTypeError, LookupError, *UNREADABLE) as error:
        text = f"{online} cannot be read as STAC: {why(error, online)}. Check the address."
        raise ParameterError(text) from cause(error, online)


def _at_most(limit: int | None, items: "Iterable[pystac.Item]", where: object) -> "Iterator[pystac.Item]":
    """Items one by one; an error if there are more than a limit, before the next page is read."""
    for number, item in enumerate(items):
        if limit is not None and number >= limit:
            raise ParameterError(
                f"{where} lists more than {limit} items; expected fewer. Choose a smaller area or a shorter interval."
            )
        yield item


def _opened(url: str, *, trust: bool) -> Any:
    from pystac_client import Client

    from xsr.sources.stac.online import CatalogIO

    return Client.open(url, stac_io=CatalogIO(url if is_remote(url) else None, trust=trust))


def _wanted(item: "pystac.Item", span: str | None, *, collections: list[str] | None, max_cloud: float | None) -> bool:
    if max_cloud is not None:
        cover = number_of(item, "eo:cloud_cover", item.properties.get("eo:cloud_cover"))
        if cover is not None and cover > max_cloud:
            return False
    if collections is not None and item.collection_id not in (None, *collections):
        return False
    return span is None or within(np.datetime64(time_of(item)), span)
