"""Whether a model's margin is wide enough for tiles: measured on a random image, whole and cut."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from xsr.core.errors import ModelError
from xsr.models import foreign, predictor, registry
from xsr.models.card import ModelCard

CORE = 4
"""Side of the compared square, input pixels."""
WIDEST = 128
"""Widest margin tried, input pixels."""
TOLERANCE = 1e-5
"""Difference between tile and whole, by the spread of the output, that rounding explains."""
SPREAD = 0.3
"""Spread of the random image by its mean, for networks whose normalisation is unknown."""
Images: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    """Findings of opening and trying a model."""

    name: str
    architecture: str
    bands: tuple[str, ...]
    factor: int
    """Output pixels per input pixel along each axis; 2 for a continuous model, which is evaluated at that."""
    margin: int
    """What the card declares, input pixels."""
    enough: bool
    """Whether tiles with that margin equal the whole."""
    smallest: int | None
    """Narrowest margin by which they do, input pixels; None if there is none up to `WIDEST`, or nothing to cut."""
    difference: float
    """Largest difference with the declared margin, by the spread of the output; NaN where nothing can be cut."""
    opset: int | None
    """Operator set of an ONNX file."""
    size: tuple[int | None, int | None] | None
    """Size (y, x) that the network is fixed to, None for a free side; such a network cannot be tiled."""


def check(model: registry.Model, weights: registry.Model | None = None) -> Check:
    """Open a model and compare tiles with the whole.

    Parameters
    ----------
    model, weights
        As in `xsr.models.load`.

    Returns
    -------
    Check
        The margin is judged to single precision: what a network reads with less weight than `TOLERANCE` does not
        count.

    Raises
    ------
    ModelError, WeightsError
        If there is no such model, or it cannot be opened.
    """
    card, spec = registry.card(model, weights), registry.spec(model, weights)
    network = registry.load(spec)
    opset, size = None, None
    if isinstance(network, foreign.OnnxNetwork):
        opset, size = foreign.opset(network.file), network.size
    if size is None:
        difference, smallest = _measure(_evaluator(card, spec), card)
    else:
        difference, smallest = float("nan"), None
    return Check(
        name=card.name,
        architecture=card.architecture,
        bands=card.bands,
        factor=card.factor or 2,
        margin=card.radius,
        enough=difference <= TOLERANCE,
        smallest=smallest,
        difference=difference,
        opset=opset,
        size=size,
    )


def _evaluator(card: ModelCard, spec: registry.ModelSpec) -> Callable[[Images], Images]:
    kind = registry.record_of(card).kind
    if kind == "fixed":
        return lambda images: predictor.predict_fixed(spec, images, "cpu")
    if kind != "continuous":
        raise ModelError(f"model {card.name!r} is a {kind} network; only fixed and continuous ones can be checked.")

    def evaluate(images: Images) -> Images:
        rows, cols = ((np.arange(2 * size) - 0.5) / 2 for size in images.shape[2:])
        return predictor.predict_continuous(spec, images, rows, cols, (0.5, 0.5), "cpu")

    return evaluate


@dataclass(frozen=True)
class _Trial:
    """An image evaluated whole, and its middle to compare tiles with."""

    evaluate: Callable[[Images], Images]
    factor: int
    image: Images
    width: int
    """Input pixels between the border and the middle."""
    whole: Images

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


def _measure(evaluate: Callable[[Images], Images], card: ModelCard) -> tuple[float, int | None]:
    """Difference with the declared margin, and the narrowest margin without one."""
    width = max(card.radius + 1, 16)
    while True:
        image = _image(card, CORE + 2 * width)
        trial = _Trial(evaluate, card.factor or 2, image, width, evaluate(image))
        if trial.difference(width - 1) <= TOLERANCE:
            return trial.difference(card.radius), trial.narrowest(width - 1)
        if width >= WIDEST:
            return trial.difference(card.radius), None
        width = min(2 * width, WIDEST)


def _image(card: ModelCard, side: int) -> Images:
    """Random image in the network's standardised numbers."""
    channels = card.image
    noise = np.random.default_rng(0).standard_normal((1, len(channels), side, side)).astype(np.float32)
    if not channels.fill:
        return noise
    level = np.array(channels.fill, np.float32)[:, None, None]
    return channels.standardise(level * (1 + np.float32(SPREAD) * noise), range(len(channels)))
