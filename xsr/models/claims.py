"""What a card claims of its network, and whether it is true: found before a tile is computed by it."""

import json
import math
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

from xsr.core.errors import WeightsError, XsrWarning
from xsr.models import catalogue
from xsr.models.card import ModelCard
from xsr.models.record import Architecture

MEASURED = ("fixed", "continuous")
"""Kinds whose reach can be measured."""
TRIAL = 8
"""Side of the image by which a network is tried, pixels."""
SEAM = 1e-4
"""Difference between tile and whole, by the spread of the output, that is refused: well above rounding."""
AMPLE = 16
"""Input pixels by which a declared radius may exceed twice the one needed."""
LEAST = 1 << 20
"""Parameters that may be configured for the smallest file."""


@lru_cache(maxsize=64)
def _radius(architecture: str, config: str, most: int, version: int) -> int:
    """Radius of a network by its configuration; ``version`` of the catalogue is part of the key alone."""
    radius = getattr(catalogue.get(architecture).outline(most, **json.loads(config)), "radius", 0)
    return radius if isinstance(radius, int) else 0


def check_outline(stated: ModelCard, record: Architecture, path: Path) -> None:
    """Refuse a configuration that no network has, or that is too large for its file.

    The network is made without memory, once for a configuration.

    Raises
    ------
    ModelError
        If the architecture does not take the settings, or would have more parameters than the file has bytes.
    """
    if record.kind == "discriminator":
        raise WeightsError(f"{path} holds a discriminator, which is of use in training alone; expected a generator.")
    _radius_of(stated, path)


def check_radius(stated: ModelCard, record: Architecture, path: Path) -> None:
    """Refuse a radius that is smaller than that of the architecture as configured, or far larger.

    Raises
    ------
    WeightsError
        If tiles would have seams, or margins that take more memory than the tiles. Guided networks are evaluated on
        patches and have neither.
    """
    radius = _radius_of(stated, path)
    fits = radius <= stated.radius <= 2 * radius + AMPLE
    if record.tiling == "halo" and record.kind != "guided" and not fits:
        raise WeightsError(
            f"the card of {path} says radius {stated.radius}; expected {radius} input pixels, what"
            f" {stated.architecture} as configured depends on. Correct the card."
        )


def _radius_of(stated: ModelCard, path: Path) -> int:
    most = max(LEAST, path.stat().st_size)
    return _radius(stated.architecture, json.dumps(stated.config), most, catalogue.version())


def check_trial(network: Any, stated: ModelCard, record: Architecture, path: Path) -> None:
    """Refuse a card whose factor or bands are not the network's, and a network that makes no numbers of numbers.

    Pixels would be picked from the wrong places, or be NaN where the image has none.

    Raises
    ------
    WeightsError
        If it is so.
    """
    if record.kind != "fixed" and stated.factor is not None:
        raise WeightsError(f"{path} is no fixed-scale network; its card says {stated.factor}. Correct the card.")
    if record.kind == "fixed" and stated.factor is None:
        raise WeightsError(f"{path} is a fixed-scale network; its card says none. Correct the card.")
    import numpy as np

    from xsr.models import reach

    factor, bands = stated.factor or reach.FACTOR, len(stated.bands)
    given, wanted = ((bands, TRIAL * n, TRIAL * n) for n in (1, factor))
    try:
        made = reach.try_once(network, record, stated, TRIAL)
    except RuntimeError as error:
        raise WeightsError(
            f"{path} takes other bands than the {bands} of its card, or of its guide ({error}). Correct the card."
        ) from error
    if record.kind in MEASURED and made.shape[1:] != wanted:
        raise WeightsError(f"{path} makes {made.shape[1:]} of {given}; its card says {wanted}. Correct the card.")
    if not np.isfinite(made).all():
        raise _not_finite(path)


def check_reach(network: Any, stated: ModelCard, record: Architecture, path: Path) -> None:
    """Measure whether the declared margin is wide enough for tiles, where no configuration says it.

    That is where the network is foreign or its architecture was registered from outside. It takes two evaluations of an
    image little wider than two margins, less than a block of pixels does. A margin wider than
    `xsr.models.reach.WIDEST` is taken as it is.

    Raises
    ------
    WeightsError
        If a wider margin would do. Where none would, there is a warning: the network depends on the whole tile.
    """
    from xsr.models import reach

    if stated.radius >= reach.WIDEST:
        return
    gap = reach.difference(network, record, stated)
    if not math.isfinite(gap):
        raise _not_finite(path)
    if gap <= SEAM:
        return
    found = reach.measure(network, record, stated)
    begin = f"{path}: tiles with the declared margin of {stated.radius} input pixels differ from the whole by {gap:.1e}"
    if found.smallest is None:
        warnings.warn(f"{begin} of its spread, and no margin is wide enough: there will be seams.", XsrWarning, 2)
        return
    scale = f" ({found.smallest * stated.factor} output pixels)" if stated.factor else ""
    raise WeightsError(
        f"{begin} of its spread; expected at least {found.smallest} input pixels{scale}, as measured. Correct the card."
    )


def _not_finite(path: Path) -> WeightsError:
    """Error of a network that makes no numbers of numbers."""
    return WeightsError(f"{path} makes NaN or infinities of a finite image; expected numbers. Fetch it again.")
