"""Point spread functions as separable weights, one line spread function for each axis.

A line spread function is continuous and centred on zero. `sample` turns it into the weights of the pixels around each
low-resolution centre, which for an even factor lies between pixels. Every set of weights has sum 1 and its centroid
exactly at the centre, so that a ramp keeps its place on the map, and, where an MTF is required, this very
response at the Nyquist frequency of the coarser grid: the width is solved for on the discrete weights, because
sampling a narrow Gaussian changes its response.

Lengths are in one unit throughout: that of the positions given to `sample`. `pixels` converts from map units.

References
----------
L. Wald, T. Ranchin, M. Mangolini, Photogrammetric Engineering & Remote Sensing 63 (1997).
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from xsr.core.errors import ParameterError
from xsr.core.keys import keys
from xsr.core.sensors import sigma_px
from xsr.kernels.taps import Taps

Floats: TypeAlias = NDArray[np.float64]
CUTOFF = 4
"""A Gaussian is cut at so many standard deviations: the weights beyond add up to 6e-5."""
NARROW = 0.8
"""Below this width in pixels a Gaussian is integrated over each pixel; above, its value at the centre is as good."""
TOLERANCE = 1e-6
"""Largest difference between the required response and that of the weights."""


@dataclass(frozen=True)
class Gaussian:
    """Gaussian line spread function."""

    sigma: float
    """Standard deviation."""
    nyquist: tuple[float, float] | None = None
    """Frequency and the response that the weights must have there; None keeps ``sigma``."""

    @property
    def reach(self) -> float:
        """Half-width of the support."""
        return float(math.ceil(CUTOFF * self.sigma))

    def weigh(self, offset: Floats, sigma: float) -> Floats:
        """Weight of the pixels at ``offset`` for a width."""
        if self.sigma >= NARROW:
            return np.exp(-0.5 * (offset / sigma) ** 2)
        lower, upper = (ndtr((offset + edge) / sigma) for edge in (-0.5, 0.5))
        return np.asarray(upper - lower, np.float64)

    def scaled(self, factor: float) -> "Gaussian":
        """Measure the same function in a unit ``factor`` times smaller."""
        return Gaussian(self.sigma * factor, _scaled(self.nyquist, factor))

    def widened(self, factor: float) -> "Gaussian":
        """Blur ``factor`` times as wide."""
        return Gaussian(self.sigma * factor, _widened(self.nyquist, self.sigma, factor))


@dataclass(frozen=True)
class Detector:
    """A square detector that integrates over its width, behind Gaussian optics."""

    width: float
    """Width of the detector: the low-resolution pixel, as a rule."""
    sigma: float
    """Standard deviation of the optics; 0 for a perfect lens."""
    nyquist: tuple[float, float] | None = None
    """Frequency and the response that the weights must have there; None keeps ``sigma``."""

    @property
    def reach(self) -> float:
        """Half-width of the support."""
        return float(math.ceil(0.5 * self.width + CUTOFF * self.sigma + 0.5))

    def weigh(self, offset: Floats, sigma: float) -> Floats:
        """Weight of the pixels at ``offset``: the overlap of pixel and detector, blurred by the optics."""
        half = 0.5 * self.width
        if sigma <= 0:
            lower, upper = (np.clip(offset + edge, -half, half) for edge in (-0.5, 0.5))
        else:
            lower, upper = (
                _ramp(offset + edge + half, sigma) - _ramp(offset + edge - half, sigma) for edge in (-0.5, 0.5)
            )
        return upper - lower

    def scaled(self, factor: float) -> "Detector":
        """Measure the same function in a unit ``factor`` times smaller."""
        return Detector(self.width * factor, self.sigma * factor, _scaled(self.nyquist, factor))

    def widened(self, factor: float) -> "Detector":
        """Optics ``factor`` times as blurred, before the same detector."""
        return Detector(self.width, self.sigma * factor, _widened(self.nyquist, self.sigma, factor))


@dataclass(frozen=True)
class Measured:
    """A line spread function known by its values at equal steps, linear between them and zero beyond.

    It is used unchanged, centred on its centroid.
    """

    values: tuple[float, ...]
    """Values; they need not sum to 1."""
    step: float
    """Distance between values."""
    nyquist: None = None

    def __post_init__(self) -> None:
        """Refuse what is no spread function."""
        values = np.asarray(self.values, np.float64)
        if values.ndim != 1 or values.size < 1 or not np.isfinite(values).all() or not values.sum() > 0:
            raise ParameterError(
                f"measured kernel {self.values}; expected finite numbers with a positive sum. Give one axis at a time."
            )
        if not (math.isfinite(self.step) and self.step > 0):
            raise ParameterError(f"step={self.step}; expected a positive distance between the values of the kernel.")

    @property
    def sigma(self) -> float:
        """Nominal width; the weights do not depend on it."""
        return 0.0

    @property
    def reach(self) -> float:
        """Half-width of the support."""
        return float(math.ceil(float(np.abs(self._places()).max()) + self.step))

    def weigh(self, offset: Floats, sigma: float) -> Floats:
        """Integrate over the pixels at ``offset``."""
        place = self._places()
        place = np.concatenate([place[:1] - self.step, place, place[-1:] + self.step])
        value = np.concatenate([[0.0], np.asarray(self.values, np.float64), [0.0]])
        parts = (np.arange(16) + 0.5) / 16 - 0.5
        pixel = np.interp(offset[..., None] + parts, place, value, left=0.0, right=0.0)
        return np.asarray(pixel.mean(axis=-1), np.float64)

    def scaled(self, factor: float) -> "Measured":
        """Measure the same function in a unit ``factor`` times smaller."""
        return Measured(self.values, self.step * factor)

    def widened(self, factor: float) -> "Measured":
        """Blur ``factor`` times as wide."""
        return self.scaled(factor)

    def _places(self) -> Floats:
        values = np.asarray(self.values, np.float64)
        index = np.arange(values.size)
        return np.asarray((index - (values * index).sum() / values.sum()) * self.step, np.float64)


@dataclass(frozen=True)
class Cubic:
    """Keys' cubic convolution, in pixels: interpolation as a stage of a chain."""

    sigma: float = 0.0
    nyquist: None = None
    reach: float = 2.0

    def weigh(self, offset: Floats, sigma: float) -> Floats:
        """Weight of the pixels at ``offset``."""
        return keys(offset, -0.5)

    def widened(self, factor: float) -> "Cubic":
        """Return itself: interpolation does not depend on the optics."""
        return self


Psf: TypeAlias = Gaussian | Detector | Measured
"""Line spread function of one axis."""


@dataclass(frozen=True)
class Stage:
    """One step of a chain of grids along one axis."""

    psf: Psf | Cubic
    """Line spread function in pixels of the finer side of the step."""
    cell: float
    """Pixel of the step's output in pixels of its input."""


def gaussian(mtf: float, gsd: float) -> Gaussian:
    """Gaussian with the response ``mtf`` at the Nyquist frequency of pixels of size ``gsd``.

    >>> round(gaussian(0.3, 20.0).sigma, 2)
    9.88
    """
    return Gaussian(sigma_px(mtf, gsd), (0.5 / gsd, mtf))


def gaussian_response(frequency: Floats, sigma: Floats | float) -> Floats:
    """Response of a Gaussian of standard deviation ``sigma`` at frequencies, in cycles per unit of it."""
    return np.asarray(np.exp(-2 * (np.pi * sigma * frequency) ** 2))


def narrow(sigma_px: float) -> Gaussian:
    """Gaussian by its width in source pixels; a narrow one, which sampling changes, is held to its response.

    That is the one at a period of four pixels.
    """
    held = math.exp(-2 * (math.pi * 0.25 * sigma_px) ** 2)
    return Gaussian(sigma_px, (0.25, held) if sigma_px < NARROW else None)


def remaining(mtf: float, cell: float, source_mtf: float) -> float:
    """Response that is left to add at the Nyquist frequency of pixels of ``cell`` source pixels.

    Gaussian responses multiply, and their variances add: a source with ``source_mtf`` at its own Nyquist frequency
    already has ``source_mtf ** (1 / cell ** 2)`` there.

    >>> round(remaining(0.25, 2.0, 0.25), 4)  # the same optics before and behind: m ** (1 - 1 / s ** 2)
    0.3536
    """
    return float(mtf / source_mtf ** (1 / cell**2))


@lru_cache(maxsize=256)
def sharpest(cell: float, frequency: float | None = None) -> float:
    """Greatest response, the mean over a grid of ``cell``, of weights with their centroid at the centre.

    Those are the weights of linear interpolation. On a grid whose pixels are hardly larger than those of the source
    it falls short of many a sensor, unless the centres are at pixel centres.

    Parameters
    ----------
    cell
        Size of a low-resolution pixel in source pixels.
    frequency
        In cycles per source pixel; the Nyquist frequency of the grid by default.

    >>> [round(sharpest(cell), 3) for cell in (1.0, 1.25, 2.0)]
    [1.0, 0.563, 0.707]
    """
    fraction, turn = _fractions(cell), 2 * np.pi * (0.5 / cell if frequency is None else frequency)
    left, right = (np.cos(turn * distance) for distance in (fraction, 1 - fraction))
    return float(((1 - fraction) * left + fraction * right).mean())


def detector(mtf: float, gsd: float) -> Detector:
    """Detector as wide as its pixels, behind optics such that the response at the Nyquist frequency is ``mtf``.

    Raises
    ------
    ParameterError
        If the integration over the pixel alone has a smaller response, ``2 / pi``.
    """
    box = 2 / math.pi
    sigma_px(mtf, gsd)  # refuses what no sensor has
    if mtf >= box:
        raise ParameterError(
            f"mtf={mtf} with psf='detector'; expected less than {box:.3f}, which a detector as wide as its pixel has"
            " with perfect optics. Give a smaller MTF, or use psf='gaussian'."
        )
    return Detector(gsd, sigma_px(mtf / box, gsd), (0.5 / gsd, mtf))


NEARLY = 0.99
"""Share of the sharpest response on a grid that `effective` gives at most: the width that has all of it is zero."""


def effective(mtf: float, cell: float, source_mtf: float) -> Gaussian:
    """Gaussian that is missing where the source is blurred itself: by `remaining`, in source pixels.

    On a grid hardly coarser than the source no weights are that sharp; it is then the narrowest that a grid has (see
    `sharpest`).

    Parameters
    ----------
    mtf
        Response of the output at its own Nyquist frequency.
    cell
        Pixel of the output in source pixels.
    source_mtf
        Response of the source at its own Nyquist frequency.

    Raises
    ------
    ParameterError
        If the source is less sharp than the required output.
    """
    left = remaining(mtf, cell, source_mtf)
    if left > 1 + 1e-9:
        low, high = sigma_px(mtf, cell), sigma_px(source_mtf, 1.0)
        raise ParameterError(
            f"the input is blurred by sigma {high:.4g} and the output would be by {low:.4g} (input pixels); expected a"
            " sharper input. A blur cannot sharpen: use a larger scale, a smaller mtf, or psf='gaussian'."
        )
    return gaussian(min(left, NEARLY * sharpest(cell)), cell)


def pixels(function: Psf, pixel: float) -> Psf:
    """Convert a line spread function from map units to pixels of size ``pixel``."""
    return function.scaled(1.0 / pixel)


def sample(position: Floats, function: Psf | Cubic, *, cell: float, shift: float = 0.0) -> Taps:
    """Weights of the source pixels around low-resolution centres.

    Parameters
    ----------
    position
        Centres in source pixels, shape (n,), in steps of ``cell``.
    function
        Line spread function in source pixels.
    cell
        Size of a low-resolution pixel in source pixels. Of a rational number with a small denominator the centres
        repeat their phase, and their weights are equal to the last bit.
    shift
        Added to every centre, in source pixels.

    Raises
    ------
    ParameterError
        If no weights of that kind have the required MTF.
    """
    whole, phase, rest = _phases(position, cell)
    rest = rest + shift
    nearest = np.floor(rest + 0.5)
    first, weight = _table(tuple((rest - nearest).tolist()), function, cell)
    start = whole + (nearest.astype(np.int64) + first)[phase]
    return Taps(start, weight, phase)


def chain(function: Psf, cell: float, grid: float = 1.0) -> tuple[Stage, ...]:
    """List the steps that observe a band: its own pixels and, where the grid has others, interpolation to it.

    Parameters
    ----------
    function
        Line spread function in source pixels.
    cell
        The band's own pixel in source pixels.
    grid
        Pixel of the grid in the band's own pixels.
    """
    own = Stage(function, cell)
    return (own,) if grid == 1 else (own, Stage(Cubic(), grid))


@lru_cache(maxsize=16)
def sample_chain(first: int, count: int, stages: tuple[Stage, ...], *, shift: float = 0.0) -> Taps:
    """Weights of the pixels of the first stage's input around consecutive outputs of the last stage.

    They are kept for the bands and dates that follow, and not to be changed.

    Parameters
    ----------
    first, count
        Outputs, counted from the corner that all grids share.
    stages
        Steps from the source to the output.
    shift
        Displacement of the content towards greater indices, in outputs.
    """
    *inner, last = stages
    taps = sample(centres(first, count, last.cell), last.psf, cell=last.cell, shift=-shift * last.cell)
    for stage in reversed(inner):
        taps = _through(taps, stage)
    return taps


def centres(first: int, count: int, cell: float) -> Floats:
    """Centres of consecutive pixels of size ``cell``, in source pixels; both grids share a corner."""
    return np.asarray((np.arange(first, first + count) + 0.5) * cell - 0.5, np.float64)


def reach_px(stages: tuple[Stage, ...], shift: float = 0.0) -> int:
    """Source pixels needed on either side of the two next to a centre, for a shift in outputs."""
    total, unit = 0.0, 1.0
    for stage in stages:
        total += (stage.psf.reach + 1) * unit
        unit *= stage.cell
    return math.ceil(total + abs(shift) * unit) - (len(stages) == 1)


def _through(outer: Taps, stage: Stage) -> Taps:
    """Weights of a step's input for what is a sum over its outputs."""
    if stage.cell == round(stage.cell):
        return _through_whole(outer, stage.psf, round(stage.cell))
    if outer.start.size == 0:
        return outer
    first, each = int(outer.start.min()), outer.each
    count = int(outer.start.max()) + each.shape[1] - first
    inner = sample(centres(first, count, stage.cell), stage.psf, cell=stage.cell)
    pixel = inner.start[:, None] + np.arange(inner.weight.shape[1])
    used = outer.start[:, None] - first + np.arange(each.shape[1])
    place = pixel[used] - inner.start[used[:, :1], None]
    weight, row = np.zeros((len(each), int(place.max()) + 1)), np.arange(len(each))[:, None]
    for t in range(each.shape[1]):
        weight[row, place[:, t]] += each[:, t, None] * inner.each[used[:, t]]
    return Taps(inner.start[used[:, 0]], weight)


def _through_whole(outer: Taps, function: Psf | Cubic, cell: int) -> Taps:
    """Weights of a step's input where its pixels are whole: all outputs of the step have the same."""
    inner = sample(centres(0, 1, cell), function, cell=cell)
    phases, taps = outer.weight.shape
    weight = np.zeros((phases, (taps - 1) * cell + inner.weight.shape[1]))
    for t in range(taps):
        weight[:, t * cell : t * cell + inner.weight.shape[1]] += outer.weight[:, t : t + 1] * inner.weight
    return Taps(outer.start * cell + inner.start[0], weight, outer.phase)


def check_reachable(function: Psf | Cubic, cell: float) -> None:
    """Refuse a function of which no weights on a grid of ``cell`` have the required MTF, before any are needed.

    Raises
    ------
    ParameterError
        With the greatest MTF that weights can have.
    """
    if isinstance(function, Gaussian | Detector) and function.nyquist is not None:
        _solved(function, cell)


def response(taps: Taps, frequency: float, centre: Floats) -> Floats:
    """Real part of the response of each output's weights at a frequency in cycles per source pixel."""
    offset = taps.start[:, None] + np.arange(taps.weight.shape[1]) - centre[:, None]
    return np.asarray((taps.each * np.cos(2 * np.pi * frequency * offset)).sum(axis=1), np.float64)


def _phases(position: Floats, cell: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Whole part of each position, its phase number, and the fraction of each phase."""
    ratio = _ratio(cell)
    unit = 2 * ratio.denominator if ratio else 1
    steps = np.rint(position * unit)
    if not ratio or bool(np.any(np.abs(position * unit - steps) >= 1e-4)):
        floor = np.floor(position)
        return floor.astype(np.int64), np.arange(position.size), np.asarray(position - floor, np.float64)
    whole, fraction = np.divmod(steps.astype(np.int64), unit)
    found, phase = np.unique(fraction, return_inverse=True)
    return whole, phase.astype(np.int64), found / unit


@lru_cache(maxsize=256)
def _table(fraction: tuple[float, ...], function: Psf | Cubic, cell: float) -> tuple[int, Floats]:
    """First pixel relative to the nearest one, and weights of every phase."""
    half = math.ceil(function.reach)
    index = np.arange(-half, half + 1)
    offset = index - np.array(fraction)[:, None]
    width = function.sigma if function.nyquist is None else _solved(function, cell)
    weight = _weights(offset, function, width)
    used = np.flatnonzero(np.any(weight != 0, axis=0)) if fraction else np.array([half])
    weight = np.ascontiguousarray(weight[:, used[0] : used[-1] + 1])
    weight.setflags(write=False)
    return int(index[used[0]]), weight


POINT = 1e-9
"""Variance in square pixels below which weights are one pixel, whose centroid nothing can move."""


def _weights(offset: Floats, function: Psf | Cubic, sigma: float) -> Floats:
    """Weights at offsets (phases, taps) with sum 1 and the centroid at zero."""
    weight = np.where(np.abs(offset) <= function.reach, function.weigh(offset, sigma), 0.0)
    weight = weight / weight.sum(axis=1, keepdims=True)
    mean = (weight * offset).sum(axis=1, keepdims=True)
    spread = (weight * (offset - mean) ** 2).sum(axis=1, keepdims=True)
    slope = np.divide(mean, spread, out=np.zeros_like(mean), where=(spread > POINT) & (np.abs(mean) > 1e-14))
    return np.asarray(weight * (1.0 - slope * (offset - mean)), np.float64)


@lru_cache(maxsize=256)
def _solved(function: Gaussian | Detector, cell: float) -> float:
    """Find the width whose weights have the required response, the mean over the phases of a grid of ``cell``."""
    assert function.nyquist is not None
    frequency, wanted = function.nyquist
    half = math.ceil(function.reach)
    offset = np.arange(-half, half + 2) - _fractions(cell)[:, None]

    wave = np.cos(2 * np.pi * frequency * offset)

    def realised(sigma: float) -> float:
        return float((_weights(offset, function, sigma) * wave).sum(axis=1).mean())

    low, high = 0.02 * function.sigma, 2.0 * function.sigma + 0.5
    narrow = realised(low)
    largest = sharpest(cell, frequency) if isinstance(function, Gaussian) else narrow
    if wanted > largest + TOLERANCE:
        raise ParameterError(
            f"mtf={wanted} at scale {cell:.4g} with psf='{type(function).__name__.lower()}'; expected at most"
            f" {largest:.3f}: the pixels next to each centre, averaged, have no more. Give a smaller MTF."
        )
    if wanted >= narrow:
        return low
    return float(brentq(lambda sigma: realised(sigma) - wanted, low, high, xtol=1e-12, rtol=1e-12))


def _fractions(cell: float) -> Floats:
    """Places of the centres between two source pixels, all those of a grid of ``cell``."""
    ratio = _ratio(cell) or Fraction(1, 16)
    steps = np.arange(ratio.denominator)
    return np.asarray(np.unique(np.mod((steps + 0.5) * float(ratio) - 0.5, 1.0)), np.float64)


@lru_cache(maxsize=256)
def _ratio(cell: float) -> Fraction | None:
    """Express a size as a ratio of small integers, if it is one."""
    ratio = Fraction(cell).limit_denominator(64)
    return ratio if abs(float(ratio) - cell) < 1e-9 else None


def _scaled(nyquist: tuple[float, float] | None, factor: float) -> tuple[float, float] | None:
    return None if nyquist is None else (nyquist[0] / factor, nyquist[1])


def _widened(nyquist: tuple[float, float] | None, sigma: float, factor: float) -> tuple[float, float] | None:
    """Response of the same function with its Gaussian part ``factor`` times as wide."""
    if nyquist is None:
        return None
    frequency, mtf = nyquist
    return frequency, mtf * math.exp(-2 * (math.pi * frequency * sigma) ** 2 * (factor**2 - 1))


def _ramp(x: Floats, sigma: float) -> Floats:
    """Integral of the normal distribution function of width ``sigma``."""
    z = x / sigma
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return np.asarray(sigma * (z * ndtr(z) + density), np.float64)
