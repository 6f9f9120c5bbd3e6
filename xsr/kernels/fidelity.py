"""What a low-resolution sensor keeps of an image and what it loses: the arithmetic of the fidelity metrics.

Every function takes one date of a window, arrays (band, h, w) in which NaN is no data. A point spread function counts
only where all the pixels it touches are valid; the pixels beyond the image are not.

References
----------
L. Wald, T. Ranchin, M. Mangolini, "Fusion of satellite images of different spatial resolutions", Photogrammetric
Engineering & Remote Sensing 63 (1997).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.kernels.psf import Psf, Stage, chain, gaussian, reach_px, sample_chain
from xsr.kernels.resample import interpolation_taps, resample_strict
from xsr.kernels.taps import Taps

Image = NDArray[np.float32]
"""One date of a window, shape (band, h, w)."""


@dataclass(frozen=True)
class LowSensor:
    """What the low-resolution sensor does to one band, on the grid of the high-resolution image."""

    scale: tuple[float, float]
    """Low over high pixel size, (y, x); any real numbers >= 1."""
    psf: tuple[Psf, Psf]
    """Line spread functions (y, x) in high-resolution pixels."""
    own: tuple[float, float] | None = None
    """Side (y, x) of the band's own pixels in high-resolution pixels, where they are larger than the low-resolution
    ones, to which bicubic interpolation has brought them."""

    @property
    def halo(self) -> int:
        """High-resolution pixels around a pixel that its low-pass value depends on."""
        return max(int(np.ceil(2 * s)) + reach_px(self.stages(axis)) + 2 for axis, s in enumerate(self.scale))

    def stages(self, axis: int) -> tuple[Stage, ...]:
        """List the steps along an axis from high to low resolution."""
        function, scale = self.psf[axis], self.scale[axis]
        own = scale if self.own is None else self.own[axis]
        return chain(function, own, scale / own)


def gaussian_sensor(mtf: float, scale: tuple[float, float]) -> LowSensor:
    """LowSensor with the response ``mtf`` at its own Nyquist frequency."""
    return LowSensor(scale, (gaussian(mtf, scale[0]), gaussian(mtf, scale[1])))


def low_pixels(span: Span, scale: float) -> Span:
    """Low-resolution pixels whose centre lies in a span of high-resolution pixels.

    >>> low_pixels(Span(0, 5), 2.0), low_pixels(Span(5, 8), 2.0)
    (Span(start=0, stop=2), Span(start=2, stop=4))
    """
    first, last = int(span.start / scale) - 2, int(span.stop / scale) + 3
    index = np.arange(max(0, first), last)
    at = np.floor((index + 0.5) * scale)
    inside = index[(at >= span.start) & (at < span.stop)]
    return Span(int(inside[0]), int(inside[-1]) + 1) if inside.size else Span(0, 0)


def _blur_taps(low: Span, stages: tuple[Stage, ...], origin: int) -> Taps:
    """Weights of low-resolution pixels in a window that starts at ``origin``; the same in every window."""
    return sample_chain(low.start, len(low), stages).moved(-origin)


def degrade_window(image: Image, sensor: LowSensor, *, low: tuple[Span, Span], origin: tuple[int, int]) -> Image:
    """Evaluate the degraded image at low-resolution pixels; NaN where the point spread function meets no data.

    Parameters
    ----------
    image
        Window of the high-resolution image, shape (n, h, w), that holds the footprint of all those pixels.
    sensor
        Point spread function and scale.
    low
        Rows and columns of low-resolution pixels, counted from the image's corner.
    origin
        First row and column of the window in the image.
    """
    rows, cols = (
        _blur_taps(span, sensor.stages(axis), o) for axis, (span, o) in enumerate(zip(low, origin, strict=True))
    )
    return resample_strict(image, rows, cols)


def high_pass_window(image: Image, sensor: LowSensor, *, rows: Span, cols: Span, origin: tuple[int, int]) -> Image:
    """Subtract from an image what a low-resolution sensor would keep of it: x - up(down(psf * x)).

    ``down`` samples at low-resolution centres, ``up`` interpolates with Keys' bicubic kernel (a = -0.5); the result
    is NaN where anything that enters is no data.

    Parameters
    ----------
    image
        Window (n, h, w) of the image with `LowSensor.halo` pixels around the rectangle.
    sensor
        Point spread function and scale.
    rows, cols
        Rectangle of pixels, counted from the image's corner.
    origin
        First row and column of the window in the image.
    """
    ups, spans = [], []
    for span, scale in zip((rows, cols), sensor.scale, strict=True):
        taps = interpolation_taps((np.arange(span.start, span.stop, dtype=np.float64) + 0.5) / scale - 0.5, "bicubic")
        low = Span(int(taps.start[0]), int(taps.start[-1]) + taps.weight.shape[1])
        ups.append(taps.moved(-low.start))
        spans.append(low)
    kept = resample_strict(degrade_window(image, sensor, low=(spans[0], spans[1]), origin=origin), ups[0], ups[1])
    top, left = rows.start - origin[0], cols.start - origin[1]
    return image[:, top : top + len(rows), left : left + len(cols)] - kept


@dataclass(frozen=True)
class AxisOperators:
    """Blur, decimation and interpolation along one axis as matrices, for an image that starts at the grid's corner."""

    down: NDArray[np.float64]
    """Shape (low, high)."""
    up: NDArray[np.float64]
    """Shape (high, low)."""
    low_inside: NDArray[np.bool_]
    """Low-resolution pixels whose point spread function lies inside the image, shape (low,)."""
    high_inside: NDArray[np.bool_]
    """High-resolution pixels whose low-pass value depends on the image alone, shape (high,)."""


def axis_operators(size: int, sensor: LowSensor, axis: int) -> AxisOperators:
    """Write the fidelity metrics along an axis as matrices, by which differentiable losses multiply."""
    scale = sensor.scale[axis]
    low = Span(0, int(np.floor(size / scale + 1e-6)))
    down, low_inside = _blur_taps(low, sensor.stages(axis), 0).matrix(size)
    position = (np.arange(size, dtype=np.float64) + 0.5) / scale - 0.5
    up, high_inside = interpolation_taps(position, "bicubic").matrix(len(low))
    return AxisOperators(down, up, low_inside, high_inside & ~((up != 0) @ ~low_inside))
