"""Dates of the guide for those of the cube."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core import checks
from xsr.core.cube import Cube
from xsr.core.errors import CubeError, ParameterError
from xsr.core.target_times import DAY


@dataclass(frozen=True)
class Pairing:
    """Dates of the guide, one for each date of the cube."""

    picks: tuple[int, ...]
    """Their index."""
    times: NDArray[np.datetime64] | None
    """Their times; None where the guide has none."""


def pair_dates(cube: Cube, guide: Cube, tolerance: Any) -> Pairing:
    """Choose the nearest date of the guide for each of the cube; the earlier of two as near.

    Raises
    ------
    ParameterError
        If the nearest is further than ``tolerance`` days, with the distance.
    CubeError
        If the guide has several dates and the cube's are not known.
    """
    if not (checks.is_number(tolerance) and tolerance >= 0):
        raise ParameterError(f"tolerance={tolerance!r}; expected a number of days, 0 or more.")
    wanted, known = cube.dates, guide.dates
    count = cube.data.sizes["time"]
    if known is None or wanted is None:
        if guide.data.sizes["time"] > 1:
            raise CubeError(
                f"the guide has {guide.data.sizes['time']} dates, and the dates of"
                f" {'the cube' if wanted is None else 'the guide'} are not known; expected one date, or times on both."
                " Select it with .isel(time=0), or add a coordinate 'time'."
            )
        return Pairing((0,) * count, None if known is None else np.repeat(known, count))
    order = np.argsort(known, kind="stable")
    distance = np.abs(known[order][None, :] - wanted[:, None]) / DAY
    nearest = distance.argmin(axis=1)
    away = distance[np.arange(count), nearest]
    if away.max() > tolerance:
        worst = int(away.argmax())
        raise ParameterError(
            f"the guide's date nearest to {wanted[worst].astype('datetime64[s]')} lies {away[worst]:.1f} days away;"
            f" expected at most tolerance={tolerance:g} days. Add a date, drop this one, or pass"
            f" tolerance={math.ceil(away[worst])}."
        )
    picks = order[nearest]
    return Pairing(tuple(int(i) for i in picks), known[picks])
