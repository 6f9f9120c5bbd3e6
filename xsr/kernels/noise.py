"""Random fields that are functions of a pixel's position, so that no way of cutting an image changes a draw.

Numbers come from the counter-based generator Philox4x32-10: the counter is the position (column, row) and two words
that name the image, the key is the seed. Nothing is drawn in sequence.

References
----------
J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11 (2011), doi:10.1145/2063384.2063405.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.kernels.accelerate import jit

Image = NDArray[np.float32]
CLOUD_SPACINGS = (48.0, 21.0, 9.0, 4.0)
"""Sizes of the lumps of a cloud field in pixels."""
CLOUD_WEIGHTS = (1.0, 0.55, 0.28, 0.13)
"""Standard deviations of the lumps."""


@dataclass(frozen=True)
class NoiseModel:
    """Noise of variance ``read^2 + shot * max(signal, 0)``."""

    read: float
    """Standard deviation that does not depend on the signal, in its unit."""
    shot: float = 0.0
    """Variance per unit of signal; 0 makes the noise plain Gaussian."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, value in (("read", self.read), ("shot", self.shot)):
            if not (math.isfinite(value) and value >= 0):
                raise ParameterError(f"noise with {name}={value}; expected a finite number of at least 0.")

    @classmethod
    def from_snr(cls, snr: float, reference: float, *, read_share: float) -> "NoiseModel":
        """Noise that gives a signal-to-noise ratio at a reference signal.

        Parameters
        ----------
        snr
            Ratio of the signal to the standard deviation of the noise.
        reference
            Signal at which it holds.
        read_share
            Share of the variance there that does not depend on the signal, 0 to 1.
        """
        if not 0 <= read_share <= 1:
            raise ParameterError(f"read_share={read_share}; expected a share of the variance from 0 to 1.")
        variance = (reference / snr) ** 2
        return cls(math.sqrt(read_share * variance), (1 - read_share) * variance / reference)

    def sigma(self, signal: Image) -> Image:
        """Evaluate the standard deviation at a signal; NaN where that is no data."""
        variance = np.float32(self.read**2) + np.float32(self.shot) * np.maximum(signal, np.float32(0))
        return np.asarray(np.sqrt(variance), np.float32)


def add_noise(image: Image, model: NoiseModel, *, rows: Span, cols: Span, seed: int, words: tuple[int, int]) -> Image:
    """Add noise to an image (h, w) that lies at ``rows`` and ``cols`` of the whole."""
    if model.read == 0 and model.shot == 0:
        return image
    return np.asarray(image + model.sigma(image) * normals(rows, cols, seed=seed, words=words), np.float32)


def normals(rows: Span, cols: Span, *, seed: int, words: tuple[int, int]) -> Image:
    """Independent standard normal numbers of pixels; each depends on its position, ``seed`` and ``words`` alone.

    Parameters
    ----------
    rows, cols
        Pixels of the whole image, from 0 to 2^32 - 1.
    seed
        Any integer; 64 bits count.
    words
        Two integers that name the image; 32 bits of each count.
    """
    out = np.empty((len(rows), len(cols)), np.float32)
    names = [np.uint32(word & 0xFFFFFFFF) for word in (seed, seed >> 32, *words)]
    _normals(rows.start, cols.start, names[0], names[1], names[2], names[3], out)
    return out


def clouds(rows: Span, cols: Span, *, cover: float, seed: int, words: tuple[int, int]) -> NDArray[np.bool_]:
    """Mark the pixels under a random cloud field that covers a share of a large image.

    Every pixel of the smooth field is a standard normal number, so that the expected share is exact.
    """
    if not 0 <= cover <= 1:
        raise ParameterError(f"cloud_cover={cover}; expected a share of the image from 0 to 1.")
    if cover in (0, 1):
        return np.full((len(rows), len(cols)), cover == 1)
    total = np.zeros((len(rows), len(cols)))
    for layer, (spacing, weight) in enumerate(zip(CLOUD_SPACINGS, CLOUD_WEIGHTS, strict=True)):
        total += weight * _smooth(rows, cols, spacing, seed=seed, words=(words[0], words[1] + 7919 * (layer + 1)))
    deviation = math.sqrt(sum(weight**2 for weight in CLOUD_WEIGHTS))
    return np.asarray(total > deviation * NormalDist().inv_cdf(1 - cover), np.bool_)


def _smooth(rows: Span, cols: Span, spacing: float, *, seed: int, words: tuple[int, int]) -> NDArray[np.float64]:
    """Evaluate a standard normal field: a lattice of normals under quadratic splines of unit norm."""
    (first_y, spline_y), (first_x, spline_x) = (_spline(span, spacing) for span in (rows, cols))
    lattice_rows = Span(int(first_y[0]), int(first_y[-1]) + 3)
    lattice_cols = Span(int(first_x[0]), int(first_x[-1]) + 3)
    lattice = normals(lattice_rows, lattice_cols, seed=seed, words=words).astype(np.float64)
    first_y, first_x = first_y - lattice_rows.start, first_x - lattice_cols.start
    along = sum(spline_y[t][:, None] * lattice[first_y + t] for t in range(3))
    return np.asarray(sum(spline_x[t] * along[:, first_x + t] for t in range(3)), np.float64)


def _spline(span: Span, spacing: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First lattice point of each pixel and its three weights, shape (3, n), of unit norm."""
    place = np.arange(span.start, span.stop) / spacing + 1.0
    first = np.floor(place).astype(np.int64)
    t = place - first
    weight = np.stack([0.5 * (1 - t) ** 2, 0.75 - (t - 0.5) ** 2, 0.5 * t**2])
    return first, weight / np.sqrt((weight**2).sum(axis=0))


@jit
def _philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Ten rounds of Philox4x32 (Salmon et al. 2011, section 3.3)."""
    for _ in range(10):
        a = np.uint64(c0) * np.uint64(0xD2511F53)
        b = np.uint64(c2) * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            np.uint32(b >> np.uint64(32)) ^ c1 ^ k0,
            np.uint32(b),
            np.uint32(a >> np.uint64(32)) ^ c3 ^ k1,
            np.uint32(a),
        )
        k0 = np.uint32(k0 + np.uint32(0x9E3779B9))
        k1 = np.uint32(k1 + np.uint32(0xBB67AE85))
    return c0, c1, c2, c3


@jit
def _normals(first_row: Any, first_col: Any, k0: Any, k1: Any, name0: Any, name1: Any, out: Any) -> None:
    """Four normals for every four columns, by two Box-Muller transforms."""
    height, width = out.shape
    unit = 1.0 / 4294967296.0
    for i in range(height):
        for group in range(first_col >> 2, (first_col + width + 3) >> 2):
            a, b, c, d = _philox(np.uint32(group), np.uint32(first_row + i), name0, name1, k0, k1)
            for pair in range(2):
                first, second = (a, b) if pair == 0 else (c, d)
                radius = math.sqrt(-2.0 * math.log((first + 0.5) * unit))
                angle = 2.0 * math.pi * unit * second
                j = group * 4 + 2 * pair - first_col
                if 0 <= j < width:
                    out[i, j] = radius * math.cos(angle)
                if 0 <= j + 1 < width:
                    out[i, j + 1] = radius * math.sin(angle)
