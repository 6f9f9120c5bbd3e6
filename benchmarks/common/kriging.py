"""Ordinary kriging of points from pixels: the values of fine pixels, from coarse ones that each average many.

References
----------
P. C. Kyriakidis, "A geostatistical framework for area-to-point spatial interpolation", Geographical Analysis 36 (2004),
doi:10.1111/j.1538-4632.2004.tb01135.x. Q. Wang, W. Shi, P. Atkinson, Y. Zhao, Remote Sensing of Environment 166 (2015),
doi:10.1016/j.rse.2015.06.003: with the response of a sensor for the area of a pixel.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from xsr.kernels.psf import gaussian, sample

Image = NDArray[np.float64]
REACH = 2
"""Coarse pixels around a point that are read."""
LEAST, MOST = 0.05, 0.95
"""Limits of the correlation of neighbouring coarse pixels that is believed."""
LENGTHS = np.geomspace(0.2, 20, 60)
"""Lengths of the covariance that are tried, in coarse pixels."""


@dataclass(frozen=True)
class Response:
    """Weights along an axis of the fine pixels that one coarse pixel averages."""

    first: int
    """First of them, counted from the corner of the coarse pixel."""
    weight: Image

    @classmethod
    def area(cls, side: int) -> Self:
        """Weigh the area of the pixel evenly."""
        return cls(0, np.full(side, 1 / side))

    @classmethod
    def sensor(cls, side: int, mtf: float) -> Self:
        """Weigh by a Gaussian with some modulation at the Nyquist frequency of the coarse pixels."""
        taps = sample(np.array([0.5 * side - 0.5]), gaussian(mtf, float(side)), cell=float(side))
        return cls(int(taps.start[0]), taps.each[0])


@dataclass(frozen=True)
class Field:
    """A random field on fine pixels with the covariance ``exp(-d / length)``, observed by coarse pixels."""

    side: int
    """Fine pixels along a coarse one."""
    length: float
    """In fine pixels."""
    response: Response

    def _covariance(self, weights: Image) -> Image:
        """Weigh the covariance of fine pixels along both axes; ``weights`` (n, lag), lags of both signs."""
        lag = np.arange(weights.shape[1]) - weights.shape[1] // 2
        return weights @ np.exp(-np.hypot(lag[:, None], lag) / self.length) @ weights.T

    def between_pixels(self) -> Image:
        """Covariance of coarse pixels (n, n) by their distance along both axes, -2 `REACH` to 2 `REACH`."""
        weight = np.correlate(self.response.weight, self.response.weight, mode="full")
        half = 2 * REACH * self.side + weight.size // 2
        rows = np.zeros((4 * REACH + 1, 2 * half + 1))
        for number, row in enumerate(rows):
            row[number * self.side : number * self.side + weight.size] = weight
        return self._covariance(rows)

    def to_points(self) -> Image:
        """Covariance of coarse pixels and the fine ones of the middle, shape (area, area, side, side)."""
        weight, side = self.response.weight, self.side
        start = [
            point - area * side - self.response.first - weight.size + 1
            for area in range(-REACH, REACH + 1)
            for point in range(side)
        ]
        half = max(abs(min(start)), max(start) + weight.size)
        rows = np.zeros((len(start), 2 * half + 1))
        for row, first in zip(rows, start, strict=True):
            row[half + first : half + first + weight.size] = weight[::-1]
        count = 2 * REACH + 1
        return self._covariance(rows).reshape(count, side, count, side).swapaxes(1, 2)

    def alike(self) -> float:
        """Correlation of neighbouring coarse pixels."""
        covariance, middle = self.between_pixels(), 2 * REACH
        return float(covariance[middle, middle + 1] / covariance[middle, middle])

    def weights(self) -> Image:
        """Weight of the coarse pixels around (area, area) for each fine pixel of the middle one (.., side, side)."""
        place = np.stack(np.meshgrid(*2 * [np.arange(2 * REACH + 1)], indexing="ij"), axis=-1).reshape(-1, 2)
        apart = place[:, None] - place[None] + 2 * REACH
        count, points = len(place), self.side**2
        system = np.ones((count + 1, count + 1))
        system[:-1, :-1], system[-1, -1] = self.between_pixels()[apart[..., 0], apart[..., 1]], 0
        right = np.ones((count + 1, points))
        right[:-1] = self.to_points().reshape(count, points)
        found = np.linalg.solve(system, right)[:-1]
        return found.reshape(2 * (2 * REACH + 1,) + 2 * (self.side,))


def alike(image: Image) -> float:
    """Correlation of neighbouring pixels (h, w) along both axes, within the limits that are believed."""
    centred = image - image.mean()
    pairs = (centred[1:] * centred[:-1]).mean() + (centred[:, 1:] * centred[:, :-1]).mean()
    return float(min(max(0.5 * pairs / max((centred**2).mean(), 1e-15), LEAST), MOST))


def of_pixels(image: Image, side: int) -> Field:
    """Field whose points are as alike as the coarse pixels of an image are to their neighbours."""
    return Field(side, -side / float(np.log(alike(image))), Response.area(side))


def behind_pixels(image: Image, response: Response, side: int) -> Field:
    """Field whose coarse pixels, once observed, are as alike as those of an image: its deconvolved variogram."""
    wanted = alike(image)
    fields = [Field(side, float(length), response) for length in side * LENGTHS]
    return min(fields, key=lambda field: abs(field.alike() - wanted))


def area_to_point(image: Image, field: Field) -> Image:
    """Fine pixels (side h, side w) from coarse ones (h, w); beyond the border those at the border are repeated."""
    side, (height, width) = field.side, image.shape
    weights, padded = field.weights(), np.pad(image, REACH, mode="edge")
    around = [[padded[y : y + height, x : x + width] for x in range(2 * REACH + 1)] for y in range(2 * REACH + 1)]
    made = np.einsum("ijab,ijyx->yaxb", weights, np.asarray(around))
    return made.reshape(side * height, side * width)
