"""Images that were interpolated to the grid of a map, as those of Level-1C are.

From place to place such an image is a little softer than what the sensor observed, by another amount, and its noise is
correlated. Level-1C is made by B-splines, for which Keys' cubic stands here.

J. Gorroño, A. Banks, F. Gascon, N. P. Fox, C. I. Underwood, "Novel techniques for the analysis of the TOA radiometric
uncertainty", Proc. SPIE 10000, 100001H (2016).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.kernels import psf
from xsr.kernels.degrade import BandOptics, observe
from xsr.kernels.resample import interpolation_taps
from xsr.kernels.taps import Taps

Image = NDArray[np.float32]
REACH = 3
"""Own pixels beyond a patch that an interpolated image depends on."""
LEAST_CELL = 1.5
"""Own pixel in pixels of the truth below which an image is not interpolated: weights between those are too soft."""


@dataclass(frozen=True)
class Resampled:
    """Observes a band in own pixels that lie aside, noise and all, and interpolates these back to where they belong."""

    shift: tuple[float, float] = (0.0, 0.0)
    """By how much the pixels lie up and left, in own pixels; zero for an image that was not interpolated."""

    def __call__(
        self,
        images: Image,
        optics: BandOptics,
        *,
        rows: Span,
        cols: Span,
        origin: tuple[int, int],
        shift: tuple[float, float],
        seed: int,
    ) -> Image:
        """Observe a stack (n, h, w); see `xsr.kernels.degrade.observe`."""
        if self.shift == (0.0, 0.0) or optics.y[0].cell < LEAST_CELL:
            return observe(images, optics, rows=rows, cols=cols, origin=origin, shift=shift, seed=seed)
        y, x = (
            _Back.along(span, stages, by, aside)
            for span, stages, by, aside in zip((rows, cols), (optics.y, optics.x), shift, self.shift, strict=True)
        )
        by = (y.shift, x.shift)
        taken = observe(images, optics.own, rows=y.span, cols=x.span, origin=origin, shift=by, seed=seed)
        return np.asarray(y.matrix @ taken @ x.matrix.T, np.float32)


@dataclass(frozen=True)
class _Back:
    """The way back from own pixels that lie aside, along one axis."""

    matrix: NDArray[np.float64]
    """Outputs from these pixels."""
    span: Span
    """The pixels."""
    shift: float
    """Displacement of the content in them, in own pixels."""

    @classmethod
    def along(cls, span: Span, stages: tuple[psf.Stage, ...], shift: float, aside: float) -> "_Back":
        """Interpolate to where own pixels belong, and from these to the outputs where they are of another size."""
        own, matrix = span, np.eye(len(span))
        if len(stages) > 1:
            up, shift = psf.sample_chain(span.start, len(span), stages[-1:], shift=shift), 0.0
            own = _read(up)
            matrix, _ = up.moved(-own.start).matrix(len(own))
        taps = interpolation_taps(np.arange(own.start, own.stop, dtype=np.float64) + aside, "bicubic")
        read = _read(taps)
        return cls(matrix @ taps.moved(-read.start).matrix(len(read))[0], read, shift + aside)


def _read(taps: Taps) -> Span:
    """Pixels that weights read."""
    return Span(int(taps.start.min()), int(taps.start.max()) + taps.weight.shape[1])


def draw(share: float, bands: int, rng: np.random.Generator) -> list[Resampled]:
    """Draw how the bands of an image are observed: in ``share`` of the images interpolated, each at its own phase."""
    if rng.random() >= share:
        return [Resampled()] * bands
    return [Resampled((float(down), float(right))) for down, right in rng.uniform(-0.5, 0.5, (bands, 2))]
