"""Degradation: what a coarser sensor would have seen, alone, as a pair with its truth, or as a series of frames."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr._version import __version__
from xsr.core import pipeline, sensors
from xsr.core.blocks import Padding, Span
from xsr.core.cube import Cube, canonical, open_cube
from xsr.core.errors import BandError, ParameterError
from xsr.core.grid import resolution
from xsr.core.types import Stack, XarrayObject
from xsr.kernels import degrade as kernel
from xsr.kernels import psf as spread
from xsr.kernels.noise import NoiseModel, add_noise

PsfName = Literal["gaussian", "detector", "effective"]
"""``gaussian``: a Gaussian with the MTF asked for. ``detector``: integration over the low-resolution pixel behind
Gaussian optics, together with that MTF. ``effective``: the Gaussian that is missing when the input itself has the MTF
of its sensor."""
Mtf: TypeAlias = float | tuple[float, float]
"""Value at the Nyquist frequency, or one along y (along track) and one along x (across track)."""
NOTHING = NoiseModel(0.0)
"""No noise."""


@dataclass(frozen=True)
class SensorNoise:
    """Signal-dependent noise from the published signal-to-noise ratio of a sensor's bands."""

    read_share: float = 0.5
    """Share of the variance at the reference radiance that does not depend on the signal. What is published is the
    total: the split is an assumption."""
    factor: float = 1.0
    """Multiplies the standard deviation."""
    sun_zenith_deg: float = 0.0
    """Zenith angle of the sun, which turns the reference radiance into reflectance."""

    def model(self, band: sensors.Band) -> NoiseModel:
        """Noise of a band in reflectance."""
        if band.noise is None:
            raise ParameterError(
                f"band {band.name!r} has no published signal-to-noise ratio; expected one for noise='sensor'. Give"
                " noise= as standard deviations in reflectance."
            )
        if not 0 <= self.sun_zenith_deg < 90:
            raise ParameterError(f"sun_zenith_deg={self.sun_zenith_deg}; expected an angle from 0 to below 90.")
        reference = band.noise.reflectance(self.sun_zenith_deg)
        return NoiseModel.from_snr(band.noise.ratio / self.factor, reference, read_share=self.read_share)


Noise: TypeAlias = float | Literal["sensor"] | SensorNoise | Mapping[str, "float | NoiseModel"] | None
"""Standard deviation in reflectance, of all bands or by band; or the sensor's own, which depends on the signal."""


@dataclass(frozen=True)
class Frame:
    """How one date is seen."""

    key: int
    """Names the date in the noise."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Displacement of the content towards greater rows and columns, in low-resolution pixels."""
    blur: float = 1.0
    """Factor of the width of the point spread function."""


@dataclass(frozen=True)
class BandOptics:
    """How one band is seen."""

    y: tuple[spread.Stage, ...]
    """Steps from input to output rows; more than one where a band's own pixels are coarser than the grid."""
    x: tuple[spread.Stage, ...]
    key: int
    """Names the band in the noise."""
    noise: NoiseModel = NOTHING


@dataclass(frozen=True)
class Degradation:
    """Block function: blur, decimate and add noise."""

    bands: tuple[BandOptics, ...]
    frames: tuple[Frame, ...]
    min_valid: float = kernel.MIN_VALID
    seed: int = 0
    padding: Padding = "reflect"
    rows: Span = field(default=Span(0, 0))
    """Output rows of the block, once placed."""
    cols: Span = field(default=Span(0, 0))

    @property
    def halo(self) -> int:
        """Half-width of the widest point spread function, shifted furthest."""
        shift = max(abs(s) for frame in self.frames for s in frame.shift)
        widest = max(frame.blur for frame in self.frames)
        axes = (axis for band in self.bands for axis in (band.y, band.x))
        return max(spread.reach_px(_widened(axis, widest), shift) for axis in axes)

    def place(self, dates: Span, rows: Span, cols: Span) -> "Degradation":
        """Bind to dates and output pixels; see `xsr.core.types.PlacedFunction`."""
        return replace(self, frames=self.frames[dates.slice], rows=rows, cols=cols)

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate a block; see `xsr.core.types.WindowFunction`."""
        out = np.empty((*window.shape[:2], rows.size, cols.size), np.float32)
        for date, frame in enumerate(self.frames):
            for number, band in enumerate(self.bands):
                taps = (
                    _window_taps(_widened(stages, frame.blur), span, position, shift)
                    for stages, span, position, shift in zip(
                        (band.y, band.x), (self.rows, self.cols), (rows, cols), frame.shift, strict=True
                    )
                )
                low = kernel.degrade(window[date, number][None], *taps, min_valid=self.min_valid)[0]
                out[date, number] = add_noise(
                    low, band.noise, rows=self.rows, cols=self.cols, seed=self.seed, words=(band.key, frame.key)
                )
        return out


def _window_taps(
    stages: tuple[spread.Stage, ...], span: Span, position: NDArray[np.float64], shift: float
) -> spread.AxisTaps:
    """Weights of the pixels of a window: those of the whole, moved by the window's whole number of pixels."""
    taps = spread.sample_chain(span.start, len(span), stages, shift=shift)
    cell = math.prod(stage.cell for stage in stages)
    origin = round((span.start + 0.5) * cell - 0.5 - float(position[0]))
    return replace(taps, start=taps.start - origin)


def _widened(stages: tuple[spread.Stage, ...], factor: float) -> tuple[spread.Stage, ...]:
    return stages if factor == 1 else tuple(replace(stage, psf=stage.psf.widened(factor)) for stage in stages)


def degrade(
    cube: XarrayObject,
    *,
    scale: float,
    mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    psf: "PsfLike | Mapping[str, PsfLike]" = "gaussian",
    source_mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    sensor: str = "sentinel-2",
    noise: Noise = None,
    seed: int = 0,
    min_valid: float = kernel.MIN_VALID,
    bands: Sequence[str] | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Degrade a cube to what a sensor with pixels ``scale`` times larger would have seen.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    scale
        Linear factor between the pixel sizes, any real number >= 1; 1 blurs and keeps the grid.
    mtf
        Modulation transfer at the Nyquist frequency of the output, in (0, 1): one number, a pair (along y, along x), or
        either by band; by default that of the sensor's bands.
    psf
        ``gaussian``, ``detector`` (integration over the output pixel behind Gaussian optics, together with ``mtf``) or
        ``effective`` (the input is itself blurred by ``source_mtf`` at its own Nyquist frequency, and only the rest is
        added); or a line spread function of `xsr.kernels.psf` in units of the CRS, a pair of them (y, x), or either
        by band.
    source_mtf
        Modulation transfer of the input at its own Nyquist frequency for ``effective``; by default ``mtf``.
    sensor
        Sensor whose table names bands, MTF and noise.
    noise
        None, a standard deviation in reflectance, a mapping by band, or ``sensor`` for signal-dependent noise with
        the published signal-to-noise ratio; see `SensorNoise`.
    seed
        Seed of the noise, which is a function of seed, band, date and pixel: chunks do not change it.
    min_valid
        Share of a pixel's weight that must lie on valid input pixels; below, the output is NaN.
    bands
        Bands to keep; all by default.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.
    chunks
        Output block in pixels, one number or (y, x); by default what 1024 input pixels become.

    Returns
    -------
    DataArray or Dataset
        Same container on the grid of pixel size ``gsd * scale`` with the same top-left corner and
        ``floor(n / scale)`` pixels; float32; lazy if ``cube`` is.

    Raises
    ------
    ParameterError
        If ``scale`` is below 1, an MTF lies outside (0, 1) or cannot be reached, or a band has none.

    Notes
    -----
    The Gaussian of an MTF m has sigma = gsd * scale / pi * sqrt(-2 ln m). It is centred on the output pixel, borders
    are mirrored as ``numpy.pad`` does by ``reflect``, and weights are divided by their share on valid pixels.
    """
    opened = open_cube(cube, units=units, bands=bands)
    optics = _Optics(opened, float(_checked_scale(scale)), sensor, mtf, psf, source_mtf)
    models = _noise_models(opened.bands, noise, sensor)
    function = Degradation(
        tuple(optics.band(name, model) for name, model in zip(opened.bands, models, strict=True)),
        tuple(Frame(key) for key in _date_keys(opened.data)),
        min_valid=_share(min_valid),
        seed=seed,
    )
    return pipeline.coarsen(opened, function, scale=scale, chunks=chunks, provenance=_record("degrade", psf))


PsfLike: TypeAlias = PsfName | spread.Psf | tuple[spread.Psf, spread.Psf]
"""A kind of point spread function, a line spread function in units of the CRS, or one along y and one along x."""


@dataclass(frozen=True)
class _Optics:
    """What the user says about point spread functions, for any band of a cube."""

    cube: Cube
    scale: float
    sensor: str
    mtf: Any
    psf: Any
    source_mtf: Any

    def band(self, name: str, noise: NoiseModel = NOTHING) -> BandOptics:
        """Find how a band is seen."""
        y, x = ((spread.Stage(f, self.scale),) for f in self.functions(name, self.scale))
        return BandOptics(y, x, _key(canonical(name)), noise)

    def functions(self, name: str, scale: float) -> tuple[spread.Psf, spread.Psf]:
        """Line spread functions along y and x for a factor, in pixels."""
        kind = _by_band(self.psf, name, "psf")
        if isinstance(kind, str):
            low = self._pair(self.mtf, name, "mtf")
            if kind == "effective":
                high = low if self.source_mtf is None else self._pair(self.source_mtf, name, "source_mtf")
                sigmas = [
                    (sensors.sigma_px(a, scale), sensors.sigma_px(b, 1.0)) for a, b in zip(low, high, strict=True)
                ]
                return spread.effective(*sigmas[0]), spread.effective(*sigmas[1])
            if kind not in get_args(PsfName):
                raise ParameterError(f"psf={kind!r}; expected one of {', '.join(get_args(PsfName))} or a function.")
            make = spread.gaussian if kind == "gaussian" else spread.detector
            return make(low[0], scale), make(low[1], scale)
        pair = kind if isinstance(kind, tuple) else (kind, kind)
        if len(pair) != 2 or not all(isinstance(f, spread.Psf) for f in pair):
            raise ParameterError(
                f"psf={kind!r}; expected {', '.join(get_args(PsfName))}, a line spread function of xsr.kernels.psf in"
                " units of the CRS, or a pair (y, x) of them."
            )
        y, x = (spread.pixels(f, size) for f, size in zip(pair, resolution(self.cube.geobox), strict=True))
        return y, x

    def _pair(self, given: Any, name: str, what: str) -> tuple[float, float]:
        value = self._table(name) if given is None else _by_band(given, name, what)
        pair = tuple(value) if isinstance(value, Sequence) else (value, value)
        if len(pair) != 2:
            raise ParameterError(f"{what}={value!r}; expected one number, or a pair (along y, along x).")
        for number in pair:
            sensors.sigma_px(number, 1.0)  # refuses what lies outside (0, 1)
        return float(pair[0]), float(pair[1])

    def _table(self, name: str) -> float:
        table = sensors.get(self.sensor)
        try:
            found = table.band(name).mtf
        except BandError:
            found = None
        if found is None:
            raise ParameterError(
                f"{table.name} has no MTF for band {name!r}; expected one. Pass mtf= as a number in (0, 1), or by band."
            )
        return found


def _by_band(given: Any, name: str, what: str) -> Any:
    """Value of a band where values are given by band, under any name of it; the value itself otherwise."""
    if not isinstance(given, Mapping):
        return given
    known = {canonical(str(key)): value for key, value in given.items()}
    if canonical(name) not in known:
        raise ParameterError(
            f"{what} names the bands {[str(key) for key in given]}; expected {name!r} among them. Add it, or select"
            " bands."
        )
    return known[canonical(name)]


def _noise_models(names: Sequence[str], noise: Any, sensor: str) -> list[NoiseModel]:
    if noise == "sensor":
        noise = SensorNoise()
    if isinstance(noise, SensorNoise):
        table = sensors.get(sensor)
        return [noise.model(table.band(name)) for name in names]
    return [_noise_model(0.0 if noise is None else _by_band(noise, name, "noise")) for name in names]


def _noise_model(value: Any) -> NoiseModel:
    if isinstance(value, NoiseModel):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ParameterError(
            f"noise={value!r}; expected a standard deviation in reflectance, one by band, 'sensor' or None."
        )
    return NoiseModel(float(value))


def _checked_scale(scale: Any) -> float:
    if isinstance(scale, bool) or not isinstance(scale, int | float | np.number) or not 1 <= scale < math.inf:
        raise ParameterError(
            f"scale={scale!r}; expected a finite number of at least 1: degrading coarsens. Use interpolate to refine."
        )
    return float(scale)


def _share(min_valid: float) -> float:
    if not 0 <= min_valid <= 1:
        raise ParameterError(f"min_valid={min_valid}; expected a share of the weight from 0 to 1.")
    return float(min_valid)


def _key(text: str) -> int:
    return zlib.crc32(text.encode())


def _date_keys(data: xr.DataArray) -> list[int]:
    """Name dates by their time, so that a selection draws the same noise; equal times are told apart by order."""
    labels = [str(value) for value in data["time"].values] if "time" in data.coords else [""] * data.sizes["time"]
    return [_key(f"{label}#{labels[:n].count(label)}") for n, label in enumerate(labels)]


def _record(operation: str, psf: Any) -> dict[str, Any]:
    kind = psf if isinstance(psf, str) else "given"
    return {"xsr_version": __version__, "xsr_operation": f"{operation}:{kind}"}
