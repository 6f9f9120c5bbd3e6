"""Footprints of items in degrees, also where they cross the antimeridian or count longitudes beyond 180 degrees."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geom import Geometry, unary_union

from xsr.core.areas import LONLAT, lonlat
from xsr.core.errors import ProductError

if TYPE_CHECKING:
    import pystac

TURNS = (-360.0, 0.0, 360.0)
"""Longitudes of an item and of an area may differ by a turn of the Earth."""


def footprint(item: "pystac.Item") -> Geometry | None:
    """Footprint of an item in degrees; None if the item has none.

    A ring that jumps from 180 to -180 degrees is continued beyond 180.

    Raises
    ------
    ProductError
        If the geometry cannot be read.
    """
    if not item.geometry:
        return None
    try:
        whole = Geometry(item.geometry, LONLAT)
        parts = list(whole.geoms) if whole.is_multi else [whole]
        joined: Geometry | None = unary_union([_unwrap(part) for part in parts if not part.is_empty])
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, IndexError) as error:
        raise ProductError(
            f"the geometry of item {item.id} is no GeoJSON: {error!r}. Correct it, or set it to None."
        ) from error
    return joined


def _unwrap(part: Geometry) -> Geometry:
    west, _, east, _ = part.boundingbox
    if east - west > 180:
        part = part.transform(lambda x, y: (np.where(np.asarray(x) < 0, np.asarray(x) + 360, x), y))
    return part if part.is_valid else part.buffer(0)


def _turned(outline: Geometry) -> list[Geometry]:
    """Outline at all longitudes that mean the same place."""
    return [outline.transform(lambda x, y, turn=turn: (np.asarray(x) + turn, y)) for turn in TURNS]


def touches(item: "pystac.Item", area: Geometry) -> bool:
    """Whether an item shows a part of an area; an item without a footprint may."""
    outline = footprint(item)
    return outline is None or any(outline.intersects(wanted) for wanted in _turned(lonlat(area)))


def overlap(one: Geometry, other: Geometry) -> float:
    """Share of the smaller of two footprints that both cover."""
    smaller = min(one.area, other.area)
    shared = max(one.intersection(turned).area for turned in _turned(other))
    return float(shared / smaller) if smaller else 1.0


def bounds(items: "Sequence[pystac.Item]") -> tuple[float, ...] | None:
    """West, south, east and north of all footprints, degrees; None if there are none."""
    outlines = [outline for outline in map(footprint, items) if outline is not None]
    whole: Any = unary_union(outlines) if outlines else None
    return None if whole is None else tuple(round(value, 4) for value in whole.boundingbox)
