"""Where the sun stands when the satellite passes, and how long a shadow it casts."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from pyproj import Transformer

from xsr.testing.grids import Floats, day_of_year
from xsr.testing.place import Place


def shadow_per_metre(place: Place, date: np.datetime64) -> Floats:
    """Shadow of one metre of height at 10:30 local solar time: metres to the east and to the south."""
    day, hour = day_of_year(date), math.radians(-22.5)
    tilt = math.radians(23.44) * math.sin(2.0 * math.pi * (day - 81.0) / 365.25)
    north = _latitude(place)
    up = math.sin(north) * math.sin(tilt) + math.cos(north) * math.cos(tilt) * math.cos(hour)
    east = -math.cos(tilt) * math.sin(hour)
    southward = math.sin(north) * math.cos(tilt) * math.cos(hour) - math.cos(north) * math.sin(tilt)
    return np.array([-east, -southward]) / max(up, 0.12)


@lru_cache(maxsize=64)
def _latitude(place: Place) -> float:
    """Latitude of the top-left corner in radians."""
    to_degrees = Transformer.from_crs(place.crs, "EPSG:4326", always_xy=True)
    return math.radians(float(to_degrees.transform(*place.origin)[1]))
