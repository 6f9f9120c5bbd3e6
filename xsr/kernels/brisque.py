"""BRISQUE: natural-scene statistics of one band, and a score from radial basis functions over them.

The statistics are those of the authors' release: luminance in 0 to 255, two scales, 18 numbers each.

References
----------
A. Mittal, A. K. Moorthy, A. C. Bovik, "No-reference image quality assessment in the spatial domain", IEEE TIP 21
(2012), doi:10.1109/TIP.2012.2214050.
"""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core.errors import ModelError, WeightsError
from xsr.core.keys import keys
from xsr.kernels.taps import Taps

Floats = NDArray[np.float64]
FEATURES = 36
RADIUS, SIGMA = 3, 7 / 6
SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))
ROUNDING = 1e-9
"""Contrast below which a pixel equals its neighbours: in saturated areas rounding would pick the signs of the products,
and scores of implementations differ by up to 0.02 through it."""
SMALLEST = 16
"""Least side of an image in pixels."""


def luminance(reflectance: NDArray[np.float32]) -> Floats:
    """Map reflectance 0 to 1 to 0 to 255, clipped and not rounded: rounding to 8 bits changes the statistics."""
    return np.clip(reflectance.astype(np.float64), 0.0, 1.0) * 255.0


def features(image: Floats) -> Floats:
    """Statistics of an image (h, w) in 0 to 255 at two scales, shape (36,).

    A pixel counts where no neighbour within three pixels is NaN. NaN where nothing counts, or the image is flat.
    """
    if min(image.shape) < SMALLEST:
        return np.full(FEATURES, np.nan)
    return np.concatenate([_scale_features(image), _scale_features(halve(image))])


def _scale_features(image: Floats) -> Floats:
    contrast = mscn(image)
    out = list(_symmetric(contrast[np.isfinite(contrast)]))
    for shift in SHIFTS:
        product = contrast * np.roll(contrast, shift, axis=(0, 1))
        out += _asymmetric(product[np.isfinite(product)])
    return np.array(out)


def mscn(image: Floats) -> Floats:
    """Contrast normalised by local mean and deviation, (I - mu) / (sigma + 1); zeros beyond the border."""
    valid = np.isfinite(image)
    filled = np.where(valid, image, 0.0)
    mean = _smooth(filled)
    deviation = np.sqrt(np.abs(_smooth(filled * filled) - mean * mean))
    out = (filled - mean) / (deviation + 1.0)
    out = np.where(np.abs(out) < ROUNDING, 0.0, out)
    return out if valid.all() else np.where(_smooth((~valid).astype(np.float64)) > 0, np.nan, out)


def _smooth(image: Floats) -> Floats:
    weight = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    weight /= weight.sum()
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (RADIUS, RADIUS)
        wide, size = np.pad(image, pad), image.shape[axis]
        image = sum(
            (w * np.take(wide, range(k, k + size), axis=axis) for k, w in enumerate(weight)), np.zeros(image.shape)
        )
    return image


def halve(image: Floats) -> Floats:
    """Halve an image as the reference does: antialiased cubic (a = -0.5), edges mirrored; sizes round up."""
    for axis in (0, 1):
        taps = _half_taps(image.shape[axis])
        index = taps.start[:, None] + np.arange(taps.weight.shape[1])
        period = 2 * image.shape[axis]
        folded = np.mod(index, period)
        folded = np.where(folded < image.shape[axis], folded, period - 1 - folded)
        lines = np.moveaxis(image, axis, 0)[folded]
        image = np.moveaxis(np.einsum("it,it...->i...", taps.weight, lines), 0, axis)
    return image


def _half_taps(size: int) -> Taps:
    centre = (np.arange(math.ceil(size / 2)) + 0.5) * 2 - 0.5
    start = np.ceil(centre - 4).astype(np.int64)
    weight = keys((start[:, None] + np.arange(8) - centre[:, None]) / 2, -0.5)
    return Taps(start, weight / weight.sum(axis=1, keepdims=True))


@lru_cache(maxsize=1)
def _shapes() -> tuple[Floats, Floats]:
    """Shape parameters tried and their generalised Gaussian ratio, gamma(1/a) gamma(3/a) / gamma(2/a)²."""
    shape = np.arange(0.2, 10.0005, 0.001)
    gamma = np.vectorize(math.lgamma, otypes=[np.float64])
    return shape, np.exp(gamma(1 / shape) + gamma(3 / shape) - 2 * gamma(2 / shape))


def _symmetric(values: Floats) -> tuple[float, float]:
    """Shape and variance of a generalised Gaussian."""
    if not values.size or not np.ptp(values) > 0:
        return math.nan, math.nan
    shape, ratio = _shapes()
    variance = float(np.mean(values**2))
    wanted = variance / float(np.mean(np.abs(values))) ** 2
    return float(shape[np.argmin(np.abs(ratio - wanted))]), variance


def _asymmetric(values: Floats) -> tuple[float, float, float, float]:
    """Shape, mean and the variances on the left and right of an asymmetric generalised Gaussian."""
    below, above = values[values < 0], values[values > 0]
    if not below.size or not above.size:
        return math.nan, math.nan, math.nan, math.nan
    left, right = math.sqrt(np.mean(below**2)), math.sqrt(np.mean(above**2))
    skew = left / right
    moment = float(np.mean(np.abs(values))) ** 2 / float(np.mean(values**2))
    wanted = moment * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    grid, ratio = _shapes()
    shape = float(grid[np.argmin((1 / ratio - wanted) ** 2)])
    one, two, three = (math.lgamma(k / shape) for k in (1, 2, 3))
    mean = (right - left) * math.exp(two - one) * math.exp(0.5 * (one - three))
    return shape, mean, left**2, right**2


@dataclass(frozen=True)
class SupportVectors:
    """Regression model: radial basis functions over scaled features."""

    gamma: float
    offset: float
    coefficients: Floats
    """Shape (vectors,)."""
    vectors: Floats
    """Shape (vectors, 36)."""
    least: Floats
    greatest: Floats
    """Ranges of the features, mapped to -1 to 1; shape (36,)."""

    def score(self, values: Floats) -> float:
        """Quality score; lower is better, and values may leave 0 to 100."""
        if not np.isfinite(values).all():
            return math.nan
        scaled = -1 + 2 * (values - self.least) / (self.greatest - self.least)
        kernel = np.exp(-self.gamma * ((self.vectors - scaled) ** 2).sum(axis=1))
        return float(self.coefficients @ kernel + self.offset)


OWN = Path(__file__).with_name("brisque_s2.json")
"""The packaged model; `about` in it says what it was fitted to, and by which command."""


@lru_cache(maxsize=1)
def own_model() -> SupportVectors:
    """Read the packaged model, fitted to degradations of Sentinel-2 images."""
    fields = json.loads(OWN.read_text(encoding="utf-8"))
    names = ("coefficients", "vectors", "least", "greatest")
    return SupportVectors(fields["gamma"], fields["offset"], *(np.array(fields[name]) for name in names))


@lru_cache(maxsize=4)
def read_model(path: Path) -> SupportVectors:
    """Read a libsvm regression model; the file ``allrange`` beside it holds the ranges of the features.

    Raises
    ------
    WeightsError
        If a file is missing.
    ModelError
        If it is no such model.
    """
    ranges = path.with_name("allrange")
    for file in (path, ranges):
        if not file.is_file():
            raise WeightsError(
                f"{file} does not exist; expected the BRISQUE model 'allmodel' and 'allrange' beside it, as released by"
                " its authors. Leave model out for the packaged one."
            )
    try:
        header, _, body = path.read_text(encoding="ascii").partition("SV\n")
        fields: dict[str, str] = dict(line.split(maxsplit=1) for line in header.splitlines() if " " in line)
        if fields["kernel_type"].strip() != "rbf":
            raise ValueError("kernel_type")
        rows = [line.split() for line in body.splitlines() if line.strip()]
        vectors = np.zeros((len(rows), FEATURES))
        for row, words in zip(vectors, rows, strict=True):
            for word in words[1:]:
                index, value = word.split(":")
                row[int(index) - 1] = float(value)
        limits: Any = np.array([line.split() for line in ranges.read_text().splitlines()[2:] if line.strip()], float)
        if limits.shape != (FEATURES, 3) or not rows:
            raise ValueError("ranges")
        weights = np.array([float(words[0]) for words in rows])
        return SupportVectors(
            float(fields["gamma"]), -float(fields["rho"]), weights, vectors, limits[:, 1], limits[:, 2]
        )
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(
            f"{path} cannot be read as a BRISQUE model ({error}); expected the libsvm text format."
        ) from None
