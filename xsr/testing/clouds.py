"""Clouds and their shadows: the highest parts of a random field that is new on each date."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xsr.core.errors import ParameterError
from xsr.testing.grids import MARGIN_M, Floats, Image, ordinal
from xsr.testing.place import Place, Window
from xsr.testing.spectra import BANDS, CLOUD
from xsr.testing.sun import shadow_per_metre
from xsr.testing.surface import surface


def cloud_layers(place: Place, date: np.datetime64, gsd_m: float, window: Window, cover: float) -> tuple[Image, Image]:
    """Opacity of the clouds, and the depth of their shadows, both 0 to 1."""
    if not 0.0 <= cover <= 1.0:
        raise ParameterError(f"clouds={cover}; expected a share from 0 to 1. Give the share of the scene.")
    places = [np.asarray((np.arange(part.start, part.stop) + 0.5) * gsd_m, np.float64) for part in window]
    if cover == 0.0:
        nothing = np.zeros((len(places[0]), len(places[1])), np.float32)
        return nothing, nothing
    height, width = place.extent_m
    whole = _cloud_depth(place, date, np.linspace(0.0, height, 128), np.linspace(0.0, width, 128))
    level = float(np.quantile(whole, 1.0 - cover)) if cover < 1.0 else -100.0
    away = shadow_per_metre(place, date)
    away *= min(700.0, 0.95 * MARGIN_M / float(np.abs(away).max()))  # Height of the cloud in metres.
    opacity = np.clip((_cloud_depth(place, date, places[0], places[1]) - level) * 2.2, 0.0, 1.0)
    shadow = _cloud_depth(place, date, places[0] - away[1], places[1] - away[0])
    shadow = np.clip((shadow - level) * 2.2, 0.0, 1.0)
    return opacity.astype(np.float32), shadow.astype(np.float32)


def add_clouds(place: Place, cube: xr.DataArray, gsd_m: float, cover: float, nodata: bool) -> xr.DataArray:
    """Hide the surface under clouds and shadows, or paint them."""
    window = place.pixels(gsd_m)
    values = cube.values
    white = np.array([CLOUD[BANDS.index(str(name))] for name in cube.band.values], np.float32)[:, None, None]
    for t, date in enumerate(cube.time.values):
        opacity, shadow = cloud_layers(place, date, gsd_m, window, cover)
        if nodata:
            values[t, :, np.maximum(opacity, shadow) > 0.05] = np.nan
        else:
            lit = values[t] * (1.0 - 0.62 * shadow)
            values[t] = lit + opacity * (white * (0.7 + 0.3 * opacity) - lit)
    return cube.copy(data=values)


def _cloud_depth(place: Place, date: np.datetime64, y_m: Floats, x_m: Floats) -> Image:
    """Smooth field whose highest parts are clouds."""
    layers = ((620.0, 1.0), (240.0, 0.55), (95.0, 0.28), (38.0, 0.13))
    seed = ordinal(date)
    parts = [w * surface(place, (10 + n, seed), spacing, y_m, x_m) for n, (spacing, w) in enumerate(layers)]
    return np.asarray(sum(parts), dtype=np.float32)
