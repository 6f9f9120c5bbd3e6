"""Whether a model's margin is wide enough for tiles: measured on a random image, whole and cut."""

from dataclasses import dataclass

from xsr.core.errors import ModelError
from xsr.models import claims, foreign, reach, registry
from xsr.models.reach import Reach


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
    """Narrowest margin by which they do, input pixels; None if there is none up to
    `xsr.models.reach.WIDEST`, or nothing to cut."""
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
        The margin is judged to single precision: what a network reads with less weight than
        `xsr.models.reach.TOLERANCE` does not count.

    Raises
    ------
    ModelError, WeightsError
        If there is no such model, or it cannot be opened.
    """
    card, spec = registry.card(model, weights), registry.identify(model, weights)
    found = registry.opened(spec, "cpu")
    if found.record.kind not in claims.MEASURED:
        raise ModelError(
            f"model {card.name!r} is a {found.record.kind} network; only {' and '.join(claims.MEASURED)} ones can be"
            " checked."
        )
    opset, size = None, None
    if isinstance(found.network, foreign.OnnxNetwork):
        opset, size = foreign.opset(found.network.file), found.network.size
    measured = Reach(float("nan"), None) if size is not None else reach.measure(found.network, found.record, card)
    return Check(
        name=card.name,
        architecture=card.architecture,
        bands=card.bands,
        factor=card.factor or reach.FACTOR,
        margin=card.radius,
        enough=measured.within(),
        smallest=measured.smallest,
        difference=measured.difference,
        opset=opset,
        size=size,
    )
