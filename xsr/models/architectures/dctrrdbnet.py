"""DCTRRDBNet: DCTNet with residual-in-residual dense blocks in place of plain convolutions.

The name comes from work on land surface temperature that says no more than "convolutions replaced by RRDB". This is
xsr's reading of it: what defines DCTNet, the coupled encoder, the attention and the solve, stays, and a trunk of RRDBs
precedes the reconstruction. The other reading, RRDBs instead of the coupled layers, is ``where="encoder"``.

All other parameters keep the names and shapes of `DCTNet`, so its weights can be loaded for them
(``load_state_dict(state, strict=False)``).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from torch import Tensor, nn

from xsr.core.errors import ParameterError
from xsr.models.architectures import dctnet
from xsr.models.architectures.dctnet import CoupledEncoder, DCTNet
from xsr.models.architectures.rrdb import RRDB


class DCTRRDBNet(DCTNet):
    """DCTNet with RRDBs before the reconstruction, or in the encoder.

    Parameters
    ----------
    guide_bands
        Bands of the guide. The image has one band.
    features
        Width of the network, a multiple of four.
    layers
        Coupled layers of the encoder; unused with ``where="encoder"``.
    final_relu
        Whether negative outputs become zero, as in the published DCTNet.
    blocks
        RRDBs of the trunk, or of each branch of the encoder.
    growth
        Features that each of the first four convolutions of a dense block adds.
    where
        ``"decoder"``: between the solve and the reconstruction. ``"encoder"``: instead of the coupled layers, one
        chain for the image and one for the guide, which then share nothing.
    relations
        See `DCTNet`.
    """

    def __init__(
        self,
        *,
        guide_bands: int = 3,
        features: int = 64,
        layers: int = 4,
        final_relu: bool = True,
        blocks: int = 1,
        growth: int = 32,
        where: Literal["decoder", "encoder"] = "decoder",
        relations: Sequence[tuple[int, int]] = (),
    ) -> None:
        if where not in ("decoder", "encoder"):
            raise ParameterError(f"where={where!r}; expected 'decoder' or 'encoder'.")
        layers = layers if where == "decoder" else 0
        super().__init__(
            guide_bands=guide_bands, features=features, layers=layers, final_relu=final_relu, relations=relations
        )
        self.trunk: nn.Module = nn.Identity()
        if where == "decoder":
            self.trunk = _chain(features, growth, blocks)
        else:
            self.Encoder_coupled = SeparateEncoder(guide_bands + len(self.relations), features, growth, blocks)

    def reconstruct(self, solution: Tensor) -> Tensor:
        """Map the solution (N, F, H, W) to the image and a weight for each relation, (N, 1 + relations, H, W)."""
        return super().reconstruct(self.trunk(solution))


class SeparateEncoder(CoupledEncoder):
    """A first convolution and a chain of RRDBs per branch."""

    def __init__(self, guide_bands: int, features: int, growth: int, blocks: int) -> None:
        super().__init__(guide_bands, features, 0)
        self.trunk_deep = _chain(features, growth, blocks)
        self.trunk_rgb = _chain(features, growth, blocks)

    def forward(self, image: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, 1, H, W) and (N, G, H, W) to features of both, (N, F, H, W) each."""
        own, other = super().forward(image, guide)
        return self.trunk_deep(own), self.trunk_rgb(other)


def _chain(features: int, growth: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(RRDB(features, growth) for _ in range(blocks)))


ARCHITECTURES = (
    replace(
        dctnet.ARCHITECTURES[0],
        name="dctrrdbnet",
        build=DCTRRDBNet,
        summary="DCTNet that reconstructs by dense blocks (our reading of Lee 2023)",
    ),
)
