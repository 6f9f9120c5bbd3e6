"""How far a network looks: tiles of a random image against the whole.

Tiles equal the whole if their margin is as wide as the network looks. Its weights decide that as much as its layers, so
it is measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from xsr.models.card import ModelCard
from xsr.models.record import Architecture, GuidedInputs

CORE = 4
"""Side of the compared square, input pixels."""
NARROWEST = 16
"""Width of the frame around that square at first, input pixels."""
WIDEST = 128
"""Widest margin tried, input pixels."""
TOLERANCE = 1e-5
"""Difference between tile and whole, by the spread of the output, that rounding explains."""
SPREAD = 0.3
"""Spread of the random image by its mean, for networks whose normalisation is unknown."""
FACTOR = 2
"""Factor at which a continuous network is evaluated."""
GUIDED = 4
"""Factor at which a guided network is tried."""
Images: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Reach:
    """How far a network looks, and whether its card says so."""

    difference: float
    """Largest difference between a tile with the declared margin and the whole, by the spread of the output."""
    smallest: int | None
    """Narrowest margin by which they agree, input pixels; None if there is none up to `WIDEST`."""

    def within(self, tolerance: float = TOLERANCE) -> bool:
        """Whether the declared margin is wide enough."""
        return self.difference <= tolerance


def measure(network: Any, record: Architecture, card: ModelCard) -> Reach:
    """Compare tiles with the whole.

    Parameters
    ----------
    network
        Fixed or continuous network, on the CPU.
    record, card
        Its architecture and its card.
    """
    width = max(card.radius + 1, NARROWEST)
    while True:
        trial = _Trial.of(network, record, card, width)
        if trial.difference(width - 1) <= TOLERANCE:
            return Reach(trial.difference(card.radius), trial.narrowest(width - 1))
        if width >= WIDEST:
            return Reach(trial.difference(card.radius), None)
        width = min(2 * width, WIDEST)


def difference(network: Any, record: Architecture, card: ModelCard) -> float:
    """Difference of a tile with the declared margin, as `Reach` has it: two evaluations.

    Parameters
    ----------
    network, record, card
        As in `measure`.
    """
    return _Trial.of(network, record, card, max(card.radius + 1, NARROWEST)).difference(card.radius)


def evaluate(network: Any, record: Architecture, images: Images) -> Images:
    """Evaluate a fixed network, or a continuous one at `FACTOR`."""
    tensor = torch.from_numpy(images)
    with torch.inference_mode():
        if record.kind == "fixed":
            out = network(tensor)
        else:
            code, cell = network.encode(tensor), (1 / FACTOR, 1 / FACTOR)
            rows, cols = ((torch.arange(FACTOR * n, dtype=torch.float64) - 0.5) / FACTOR for n in images.shape[2:])
            made = [network.decode(code, row.expand(len(cols)), cols, cell) for row in rows]  # (n, W, output) each
            out = torch.stack(made, dim=1).permute(0, 3, 1, 2)
    array: Images = out.numpy()
    return array


def try_once(network: Any, record: Architecture, card: ModelCard, side: int) -> Images:
    """Evaluate a network of any kind on a small random image; of a temporal one, encode it.

    Parameters
    ----------
    network, record, card
        As in `measure`.
    side
        Of the image, pixels; a guide has `GUIDED` times as many.
    """
    images = noise(card, side, side)
    if record.kind in ("fixed", "continuous"):
        return evaluate(network, record, images)
    with torch.inference_mode():
        low = torch.from_numpy(images)
        if record.kind == "temporal":
            made: Images = network.encode(low).numpy()
            return made
        guide = torch.zeros(1, len(card.guide), GUIDED * side, GUIDED * side)
        enlarged = torch.nn.functional.interpolate(low, scale_factor=GUIDED)
        made = record.call(network, GuidedInputs(enlarged, low, guide, GUIDED)).numpy()
        return made


def noise(card: ModelCard, height: int, width: int) -> Images:
    """Random image in the network's standardised numbers, shape (1, band, height, width)."""
    channels = card.image
    made = np.random.default_rng(0).standard_normal((1, card.inputs, height, width)).astype(np.float32)
    if not channels.fill:
        return made
    level = np.array(channels.fill, np.float32)[:, None, None]
    return channels.standardise(level * (1 + np.float32(SPREAD) * made), range(len(channels)))


@dataclass(frozen=True)
class _Trial:
    """An image evaluated whole, and its middle to compare tiles with."""

    evaluate: Callable[[Images], Images]
    factor: int
    image: Images
    width: int
    """Input pixels between the border and the middle."""
    whole: Images

    @classmethod
    def of(cls, network: Any, record: Architecture, card: ModelCard, width: int) -> "_Trial":
        """Evaluate a random image."""
        image = noise(card, CORE + 2 * width, CORE + 2 * width)
        whole = evaluate(network, record, image)
        return cls(lambda images: evaluate(network, record, images), card.factor or FACTOR, image, width, whole)

    def difference(self, margin: int) -> float:
        """Largest difference of a tile with this margin, by the spread of the output."""
        cut = slice(self.width - margin, self.width + CORE + margin)
        tile = self.evaluate(np.ascontiguousarray(self.image[:, :, cut, cut]))
        inner, outer = (slice(start * self.factor, (start + CORE) * self.factor) for start in (margin, self.width))
        gap = np.abs(tile[:, :, inner, inner] - self.whole[:, :, outer, outer]).max()
        return float(gap) / max(float(self.whole.std()), float(np.finfo(np.float32).tiny))

    def narrowest(self, enough: int) -> int:
        """Narrowest margin without a difference, by halving; ``enough`` has none."""
        short = -1
        while enough - short > 1:
            middle = (short + enough) // 2
            short, enough = (short, middle) if self.difference(middle) <= TOLERANCE else (middle, enough)
        return enough
