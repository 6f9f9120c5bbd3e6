"""What a sensor with larger pixels observes of an image: its response, its sampling, its noise.

Every pair is made here, whether for training, for a score or for a user, so that a network learns to undo what it is
judged by. A band is observed in its own pixels: noise arises there, and a band whose pixels are larger than those of
the grid is then brought to the grid by bicubic interpolation, as a product of several pixel sizes is in use.
"""

from dataclasses import dataclass, replace

import numpy as np

from xsr.core.blocks import Span
from xsr.kernels import psf
from xsr.kernels.decimate import MIN_VALID, Image, decimate
from xsr.kernels.noise import NoiseModel, add_noise
from xsr.kernels.psf import Cubic, Stage
from xsr.kernels.resample import resample
from xsr.kernels.taps import Taps

NOTHING = NoiseModel(0.0)
"""No noise."""


@dataclass(frozen=True)
class BandOptics:
    """How a sensor observes one band."""

    y: tuple[Stage, ...]
    """Steps from source to output rows; more than one where a band's own pixels are not those of the grid."""
    x: tuple[Stage, ...]
    noise: NoiseModel = NOTHING
    """Of the band's own pixels."""
    key: int = 0
    """Names the band in the noise."""

    @property
    def own(self) -> "BandOptics":
        """How the band is observed in its own pixels, before it is interpolated."""
        y, x = (tuple(stage for stage in axis if not isinstance(stage.psf, Cubic)) for axis in (self.y, self.x))
        return replace(self, y=y, x=x)

    def widened(self, factor: float) -> "BandOptics":
        """Blur ``factor`` times as wide."""
        if factor == 1:
            return self
        y, x = (tuple(replace(s, psf=s.psf.widened(factor)) for s in axis) for axis in (self.y, self.x))
        return replace(self, y=y, x=x)

    def halo(self, shift: float = 0.0) -> int:
        """Source pixels needed around the two next to a centre, displaced by up to ``shift`` outputs."""
        return max(psf.reach_px(axis, shift) for axis in (self.y, self.x))

    def check(self) -> None:
        """Refuse an MTF that no weights have, before any are needed; see `psf.check_reachable`."""
        for stage in {*self.y, *self.x}:
            psf.check_reachable(stage.psf, stage.cell)


def sensor_band(
    mtf: float,
    scale: float,
    *,
    own: float = 1.0,
    source_mtf: float | None = None,
    noise: NoiseModel = NOTHING,
    key: int = 0,
) -> BandOptics:
    """Describe a band of a sensor with a Gaussian response.

    Parameters
    ----------
    mtf
        Modulation transfer at the Nyquist frequency of the band's own pixels, in (0, 1).
    scale
        Pixel of the output grid in source pixels.
    own
        The band's own pixel in pixels of the output grid.
    source_mtf
        Modulation transfer of the source at its own Nyquist frequency, which is then part of ``mtf``; None takes the
        source for perfectly sharp.
    noise, key
        See `BandOptics`.
    """
    cell = own * scale
    blur = psf.gaussian(mtf, cell) if source_mtf is None else psf.effective(mtf, cell, source_mtf)
    stages = psf.chain(blur, cell, 1 / own)
    return BandOptics(stages, stages, noise, key)


def observe(
    images: Image,
    optics: BandOptics,
    *,
    rows: Span,
    cols: Span,
    origin: tuple[int, int] = (0, 0),
    shift: tuple[float, float] = (0.0, 0.0),
    min_valid: float = MIN_VALID,
    seed: int = 0,
    frame: int = 0,
    out: Image | None = None,
) -> Image:
    """Observe images of one band; borders are reflected.

    Parameters
    ----------
    images
        Stack (n, h, w) of source pixels; NaN and infinities are no data.
    optics
        The band.
    rows, cols
        Output pixels, counted from the corner that all grids share.
    origin
        Row and column of the first source pixel, counted from that corner.
    shift
        Displacement (y, x) of the content towards greater rows and columns, in output pixels.
    min_valid
        Least share of a pixel's weight on valid pixels; below, the output is NaN.
    seed, frame
        Name the noise of the first image; that of the next ones is of the frames that follow.
    out
        Array to write images without noise into.

    Returns
    -------
    ndarray
        Shape (n, len(rows), len(cols)), float32; without noise ``out``, where it is given.
    """
    low = decimate(images, *_taps(optics, rows, cols, origin, shift), min_valid=min_valid, out=out)
    if optics.noise == NOTHING or low.size == 0:
        return low
    if optics.own == optics:
        return _noisy(low, optics, rows, cols, seed, frame)
    up = [
        psf.sample_chain(span.start, len(span), axis[-1:], shift=by)
        for span, axis, by in zip((rows, cols), (optics.y, optics.x), shift, strict=True)
    ]
    own_rows, own_cols = (Span(int(t.start.min()), int(t.start.max()) + t.weight.shape[1]) for t in up)
    clean = decimate(images, *_taps(optics.own, own_rows, own_cols, origin), min_valid=0.0)
    noise = np.nan_to_num(_noisy(clean, optics, own_rows, own_cols, seed, frame) - clean)
    return low + resample(noise, up[0].moved(-own_rows.start), up[1].moved(-own_cols.start))


def blur_decimate(images: Image, *, scale: float, mtf: float, min_valid: float = MIN_VALID) -> Image:
    """Observe images of one band by a sensor of Gaussian response with pixels ``scale`` times larger.

    Parameters
    ----------
    images
        Stack (n, h, w); NaN and infinities are no data.
    scale
        Factor between the grids, >= 1; need not be an integer.
    mtf
        Modulation transfer at the Nyquist frequency of the output, in (0, 1).
    min_valid
        Least share of a pixel's weight on valid pixels.

    Returns
    -------
    ndarray
        Stack (n, floor(h / scale), floor(w / scale)); the top-left corners of both grids coincide.
    """
    rows, cols = (whole(size, scale) for size in images.shape[-2:])
    return observe(images, sensor_band(mtf, float(scale)), rows=rows, cols=cols, min_valid=min_valid)


def whole(size: int, scale: float) -> Span:
    """Pixels of ``scale`` source pixels that lie inside an axis of ``size``."""
    return Span(0, int(np.floor(size / scale + 1e-6)))


def _taps(
    optics: BandOptics,
    rows: Span,
    cols: Span,
    origin: tuple[int, int],
    shift: tuple[float, float] = (0.0, 0.0),
) -> tuple[Taps, Taps]:
    """Weights along y and x, of source pixels counted from ``origin``."""
    y = psf.sample_chain(rows.start, len(rows), optics.y, shift=shift[0])
    alike = (rows, optics.y, shift[0]) == (cols, optics.x, shift[1])
    x = y if alike else psf.sample_chain(cols.start, len(cols), optics.x, shift=shift[1])
    return y.moved(-origin[0]), x.moved(-origin[1])


def _noisy(images: Image, optics: BandOptics, rows: Span, cols: Span, seed: int, frame: int) -> Image:
    """Add noise to images of consecutive frames."""
    return np.stack(
        [
            add_noise(image, optics.noise, rows=rows, cols=cols, seed=seed, words=(optics.key, frame + n))
            for n, image in enumerate(images)
        ]
    )
