"""Arguments that the operations of degradation share, and the names under which random numbers are drawn."""

import zlib
from typing import Any

import numpy as np
import xarray as xr

from xsr.core import checks
from xsr.core.provenance import made_by


def checked_scale(scale: Any) -> float:
    """Refuse what is no factor of a coarser grid."""
    what = "a finite number of at least 1: degrading coarsens. Use interpolate to refine"
    return checks.within("scale", scale, low=1, what=what)


def checked_share(min_valid: Any) -> float:
    """Refuse what is no share of a pixel's weight."""
    return checks.within("min_valid", min_valid, low=0, high=1, what="a share of the weight from 0 to 1")


def checked_seed(seed: Any) -> int:
    """Refuse what is no whole number."""
    return checks.whole("seed", seed, what="a whole number, from which the same draw follows every time")


def key_of(text: str) -> int:
    """Return the number that stands for a name in random fields."""
    return zlib.crc32(text.encode())


def date_keys(data: xr.DataArray) -> list[int]:
    """Name dates by their time, so that a selection draws the same noise; equal times are distinguished by order."""
    times = data["time"].values if "time" in data.coords else np.full(data.sizes["time"], "")
    labels = [str(t.astype("datetime64[ns]") if isinstance(t, np.datetime64) else t) for t in times]
    return [key_of(f"{label}#{labels[:n].count(label)}") for n, label in enumerate(labels)]


def provenance(operation: str, psf: Any) -> dict[str, Any]:
    """Attributes of a result; a point spread function that is no kind by name is ``given``."""
    return made_by(f"{operation}:{psf if isinstance(psf, str) else 'given'}")
