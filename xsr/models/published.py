"""Published weights of fixed-factor networks that come as bare state dicts: what goes with them.

The networks of the Evoland project take ten bands, or the four of 10 m, in one order, and standardise reflectance by
one table of statistics.

References
----------
J. Michel, E. Kalinicheva, Evoland operational super-resolution (2024).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from xsr.core.errors import ModelError, WeightsError
from xsr.models.card import ModelCard, file_sha256
from xsr.models.channels import Channels
from xsr.models.record import Architecture

if TYPE_CHECKING:
    from torch import nn

SENTINEL2 = Channels(
    ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12"),
    mean=(0.0478, 0.0765, 0.0893, 0.2622, 0.1253, 0.2182, 0.2524, 0.2815, 0.2472, 0.1665),
    std=(0.0289, 0.0400, 0.0679, 0.0811, 0.0615, 0.0645, 0.0772, 0.0820, 0.1196, 0.1160),
)
"""Bands in the order of the channels; statistics of the reflectance of Level-2A over land."""
MOST_PARAMETERS = 10**9
"""Parameters of a published network."""
FACTORS = (2, 4)
"""Factors tried. A CARN of 3 has the shapes of a CARN of 4 and would be taken for one: it needs a card."""


def card(architecture: Architecture, path: Path) -> ModelCard:
    """Card of published weights, as far as the file and the architecture determine it.

    Raises
    ------
    ModelError
        If the architecture is none of the project's.
    WeightsError
        If the tensors fit no number of bands and factor that are known.
    """
    from xsr.models.state import count, fit, read_state

    if not architecture.published:
        raise ModelError(
            f"{path} has no card beside it, and {architecture.name!r} is none of the project's networks (CARN,"
            " RRDBNet); expected a card (.json) that says bands, factor, units and normalisation."
        )
    configs = [{"bands": bands, "factor": factor} for bands in (10, 4) for factor in FACTORS]
    networks = [architecture.outline(MOST_PARAMETERS, **config) for config in configs]
    state = read_state(path, parameters=max(map(count, networks)))
    failure: WeightsError | None = None
    for config, network in zip(configs, networks, strict=True):
        try:
            fit(network, state, rename=architecture.rename, source=str(path), dry=True)
        except WeightsError as error:
            failure = failure or error
        else:
            return _card(architecture, path, config, network)
    assert failure is not None
    raise failure


def _card(architecture: Architecture, path: Path, config: dict[str, int], network: "nn.Module") -> ModelCard:
    count, factor = config["bands"], config["factor"]
    radius = getattr(network, "radius", None)
    assert isinstance(radius, int)
    return ModelCard(
        name=path.stem,
        summary=f"Published weights of {architecture.name}",
        architecture=architecture.name,
        config=dict(config),
        image=SENTINEL2.only(SENTINEL2.names[:count]),
        sensor="sentinel-2",
        gsd_m=10.0,
        scale_range=(float(factor), float(factor)),
        mtf=(),
        sha256=file_sha256(path),
        parameters=sum(p.numel() for p in network.parameters()),
        radius=radius,
        licence="unknown",
        factor=factor,
        residual=False,
        citation=architecture.citation,
    )
