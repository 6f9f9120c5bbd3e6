"""Where the sun stands when the satellite passes, and how long a shadow it casts."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from pyproj import Transformer

from xsr.testing.grids import Floats, day_of_year

if TYPE_CHECKING:
    from xsr.testing.scene import Scene


def shadow_per_metre(scene: Scene, date: np.datetime64) -> Floats:
    """Shadow of one metre of height at 10:30 local solar time: metres to the east and to the south."""
    day, hour = day_of_year(date), math.radians(-22.5)
    tilt = math.radians(23.44) * math.sin(2.0 * math.pi * (day - 81.0) / 365.25)
    north = _latitude(scene)
    up = math.sin(north) * math.sin(tilt) + math.cos(north) * math.cos(tilt) * math.cos(hour)
    east = -math.cos(tilt) * math.sin(hour)
    southward = math.sin(north) * math.cos(tilt) * math.cos(hour) - math.cos(north) * math.sin(tilt)
    return np.array([-east, -southward]) / max(up, 0.12)


@lru_cache(maxsize=64)
def _latitude(scene: Scene) -> float:
    """Latitude of the top-left corner in radians."""
    to_degrees = Transformer.from_crs(scene.crs, "EPSG:4326", always_xy=True)
    return math.radians(float(to_degrees.transform(*scene.origin)[1]))
