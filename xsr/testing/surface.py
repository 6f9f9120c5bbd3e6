"""Random surfaces for texture and clouds: smooth functions of the position, without a grid of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xsr.testing.grids import MARGIN_M, Floats, Image
from xsr.testing.place import Place


def surface(place: Place, tag: tuple[int, int], spacing: float, y_m: Floats, x_m: Floats) -> Image:
    """Random surface of unit variance on a lattice, evaluated at positions by quadratic splines."""
    height, width = place.extent_m
    pad = MARGIN_M + 3.0 * spacing
    shape = (int((height + 2 * pad) / spacing) + 3, int((width + 2 * pad) / spacing) + 3)
    rng = np.random.default_rng([*tag, place.seed])
    lattice = rng.standard_normal(shape, dtype=np.float32) / np.float32(0.55)  # 11/20: mean square of the spline.
    at_x, weight_x = _spline(x_m, spacing, pad, shape[1])
    at_y, weight_y = _spline(y_m, spacing, pad, shape[0])
    used = slice(int(at_y.min()), int(at_y.max()) + 3)
    lattice, at_y = lattice[used], at_y - used.start
    along = sum(lattice[:, at_x + k] * weight_x[k] for k in range(3))
    out = along[at_y] * weight_y[0][:, None]
    for k in (1, 2):
        out += along[at_y + k] * weight_y[k][:, None]
    return np.asarray(out, dtype=np.float32)


def _spline(at_m: Floats, spacing: float, pad: float, count: int) -> tuple[NDArray[np.intp], Image]:
    """First lattice index and the three quadratic spline weights, shape (3, n)."""
    place = (at_m + pad) / spacing
    first = np.clip(np.floor(place).astype(np.intp), 0, count - 3)
    t = np.clip(place - first, 0.0, 1.0)
    weights = np.stack([0.5 * (1 - t) ** 2, 0.75 - (t - 0.5) ** 2, 0.5 * t**2])
    return first, weights.astype(np.float32)
