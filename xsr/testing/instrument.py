"""The instrument: the PSF of each band, misregistration of each date, sampling at the pixel centres, and noise.

The samples of a view are blurred and sampled one axis at a time, with weights centred on the pixel, at as
many pixel sizes as requested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import sensors
from xsr.core.errors import BandError, ParameterError
from xsr.testing.grids import Image, as_cube, ordinal
from xsr.testing.place import Place, Window
from xsr.testing.spectra import BANDS
from xsr.testing.view import View


@dataclass
class Instrument:
    """Bands, dates and misregistration with which a scene is observed."""

    place: Place
    bands: tuple[str, ...]
    dates: NDArray[np.datetime64]
    sensor: str
    jitter_px: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.jitter_px) and self.jitter_px >= 0):
            raise ParameterError(f"jitter_px={self.jitter_px}; expected 0 or more pixels. Give a standard deviation.")
        table = sensors.get(self.sensor)
        self.sigma_per_m = []
        for name in self.bands:
            mtf = table.band(name).mtf
            if mtf is None:
                raise BandError(f"{table.name} has no MTF for {name}; expected one. Choose a sensor that has it.")
            self.sigma_per_m.append(sensors.sigma_px(mtf, 1.0))
        drift = [np.random.default_rng([8, self.place.seed, ordinal(date)]).standard_normal(2) for date in self.dates]
        self.drift_px = np.clip(np.array(drift).reshape(-1, 2), -3.0, 3.0) * self.jitter_px

    def look(
        self, gsds: Sequence[float], windows: Sequence[Window], spacing: float, *, still: bool = False
    ) -> list[Image]:
        """Images at each pixel size, (time, band, y, x); only the first is misregistered (none if still)."""
        widest = max(self.sigma_per_m) * 4.5 + float(np.abs(self.drift_px).max(initial=0.0)) + 1.0
        halo = math.ceil(widest * max(gsds) / spacing)
        spans = [_span([w[axis] for w in windows], gsds, spacing, halo) for axis in (0, 1)]
        view = View(self.place, spacing, *spans)
        outs = [
            np.empty((len(self.dates), len(self.bands), *(s.stop - s.start for s in window)), np.float32)
            for window in windows
        ]
        for (t, b), samples in view.images(self.dates, self.bands):
            for number, (gsd, window, out) in enumerate(zip(gsds, windows, outs, strict=True)):
                drift = self.drift_px[t] if number == 0 and not still else np.zeros(2)
                image = samples
                for axis in (0, 1):
                    psf = _Psf(self.sigma_per_m[b] * gsd / spacing, round(gsd / spacing), float(drift[axis]))
                    image = psf.apply(image, window[axis], spans[axis][0], axis)
                out[t, b] = image
        return outs

    def noise(self, clean: Image, window: Window, factor: float) -> Image:
        """Noise of variance ``(3e-4)^2 + 4e-6 R``: a signal-to-noise ratio near 140 at reflectance 0.1."""
        if not (math.isfinite(factor) and factor >= 0):
            raise ParameterError(f"noise={factor}; expected True, False or a number from 0. Give a factor.")
        out, (rows, cols) = np.empty_like(clean), window
        for t, date in enumerate(self.dates):
            for b, band in enumerate(self.bands):
                key = (9, self.place.seed, ordinal(date), BANDS.index(band))
                for i, row in enumerate(range(rows.start, rows.stop)):
                    line = np.random.default_rng([*key, row]).standard_normal((cols.stop,), dtype=np.float32)
                    out[t, b, i] = line[cols.start :]
        out *= np.sqrt(9e-8 + 4e-6 * np.maximum(clean, 0.0)) * np.float32(factor)
        return out

    def cube(self, values: Image, geobox: GeoBox, gsd_m: float) -> xr.DataArray:
        """Wrap values, with the misregistration as coordinates."""
        south, east = self.drift_px.T * gsd_m
        shifts = {"shift_x_m": ("time", east), "shift_y_m": ("time", -south)}
        return as_cube(values, geobox, self.dates, self.bands).assign_coords(shifts)


class _Psf(NamedTuple):
    """Gaussian PSF in samples, samples per pixel, and displacement of the content in pixels."""

    sigma: float
    ratio: int
    drift_px: float

    def apply(self, image: Image, pixels: slice, first: int, axis: int) -> Image:
        """Blur and sample at the pixel centres along one axis, of samples that start at index ``first``."""
        centre = (0.5 - self.drift_px) * self.ratio - 0.5  # Of pixel 0, in samples.
        reach = math.ceil(4.5 * self.sigma)
        taps = np.arange(math.floor(centre) - reach, math.floor(centre) + reach + 2)
        weights = np.exp(-0.5 * ((taps - centre) / self.sigma) ** 2)
        weights = (weights / weights.sum()).astype(np.float32)
        count = pixels.stop - pixels.start
        begin = pixels.start * self.ratio - first
        out = np.zeros((count, image.shape[1]) if axis == 0 else (image.shape[0], count), np.float32)
        for tap, weight in zip(taps, weights, strict=True):
            at = slice(begin + tap, begin + tap + (count - 1) * self.ratio + 1, self.ratio)
            out += weight * (image[at] if axis == 0 else image[:, at])
        return out


def _span(windows: Sequence[slice], gsds: Sequence[float], spacing: float, halo: int) -> tuple[int, int]:
    """First and last sample that any of the pixels needs."""
    ratios = [round(gsd / spacing) for gsd in gsds]
    first = min(w.start * ratio for w, ratio in zip(windows, ratios, strict=True))
    last = max(w.stop * ratio for w, ratio in zip(windows, ratios, strict=True))
    return first - halo, last + halo
