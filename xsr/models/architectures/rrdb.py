"""RRDBNet, the generator of ESRGAN, in the form EVOLAND trains for Sentinel-2.

Residual in residual: a block is three dense blocks, and blocks, dense blocks and trunk each add their input. Two
things differ from the original: a leaky ReLU follows all five convolutions of a dense block, also the fifth, and the
residual scales of 0.2 are stored with the weights, as parameters that are not trained. Borders are zero.
Parameters have the names of the published files.

References
----------
X. Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCV Workshops 2018,
doi:10.1007/978-3-030-11021-5_5.
"""

import re
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from xsr.core.errors import ParameterError
from xsr.models.architectures.srcnn import at_least_one, bicubic, output_bands
from xsr.models.record import Architecture

SCALE = 0.2
"""Share of a residual that is added."""
SLOPE = 0.2
"""Slope of the leaky ReLU below zero."""


class ScaledResidual(nn.Module):
    """``x + scale * module(x)`` with a scale that is stored but not trained."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.scale = nn.Parameter(torch.tensor(SCALE), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, F, H, W) to the same shape."""
        out: Tensor = x + self.scale * self.module(x)
        return out


class DenseLayer(nn.Module):
    """A 3x3 convolution with zero padding, as a rule followed by a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, *, active: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True) if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        out: Tensor = self.activation(self.conv(x))
        return out


class DenseLayers(nn.Module):
    """Five convolutions, each of which reads the input and all outputs before it; the last one gives the result."""

    def __init__(self, features: int, growth: int, *, closing_activation: bool) -> None:
        super().__init__()
        layers = [DenseLayer(features + i * growth, growth) for i in range(4)]
        closing = DenseLayer(features + 4 * growth, features, active=closing_activation)
        self.module = nn.ModuleList([*layers, closing])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, F, H, W) to the same shape."""
        known = [x]
        for layer in self.module:
            known.append(layer(torch.cat(known, dim=1)))
        return known[-1]


class RRDB(ScaledResidual):
    """Residual-in-residual dense block: three dense blocks, each with its own residual.

    Parameters
    ----------
    features
        Width.
    growth
        Features that each of the first four convolutions of a dense block adds.
    closing_activation
        Let a leaky ReLU follow also the fifth convolution; False for the form of ESRGAN.
    """

    def __init__(self, features: int = 64, growth: int = 32, *, closing_activation: bool = True) -> None:
        blocks = (DenseLayers(features, growth, closing_activation=closing_activation) for _ in range(3))
        named = OrderedDict[str, nn.Module]((f"block_{i}", ScaledResidual(block)) for i, block in enumerate(blocks))
        super().__init__(nn.Sequential(named))


class Encoder(nn.Module):
    """First convolution, RRDBs, closing convolution and the long skip."""

    def __init__(self, bands: int, blocks: int, features: int, growth: int) -> None:
        super().__init__()
        first, closing = nn.Conv2d(bands, features, 3, padding=1), nn.Conv2d(features, features, 3, padding=1)
        self.blocks = nn.ModuleList([first, *(RRDB(features, growth) for _ in range(blocks)), closing])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, bands, H, W) to (N, F, H, W)."""
        first: Tensor = self.blocks[0](x)
        latent = first
        for block in list(self.blocks)[1:]:
            latent = block(latent)
        return first + latent


class Upsampling(nn.Module):
    """Repeat every pixel twice along each axis, then convolve."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, F, H, W) to (N, F, 2 H, 2 W)."""
        out: Tensor = self.block(nn.functional.interpolate(x, scale_factor=2, mode="nearest"))
        return out


class Decoder(nn.Module):
    """Upsampling by two as often as needed, and two convolutions."""

    def __init__(self, doublings: int, features: int, outputs: int) -> None:
        super().__init__()
        named = OrderedDict[str, nn.Module]((f"upsampling_{i}", Upsampling(features)) for i in range(doublings))
        named["conv"] = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(features, outputs, 3, padding=1),
        )
        self.blocks = nn.Sequential(named)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, F, H, W) to (N, outputs, factor H, factor W)."""
        out: Tensor = self.blocks(x)
        return out


class RRDBNet(nn.Module):
    """Residual-in-residual dense blocks on the input grid, then upsampling by two as often as needed.

    Parameters
    ----------
    bands
        Input bands.
    outputs
        Output bands; as many as ``bands`` by default.
    factor
        Output pixels per input pixel along each axis: a power of two, at least 2.
    blocks
        RRDBs.
    features
        Width.
    growth
        Features that each of the first four convolutions of a dense block adds.
    residual
        Add the bicubic interpolation of the input to the output, in single precision or better.

    Raises
    ------
    ParameterError
        If a size is below 1, ``factor`` is no power of two, or ``residual`` is set with other output than
        input bands.
    """

    def __init__(
        self,
        *,
        bands: int = 10,
        outputs: int | None = None,
        factor: int = 2,
        blocks: int = 3,
        features: int = 64,
        growth: int = 32,
        residual: bool = False,
    ) -> None:
        super().__init__()
        at_least_one(blocks=blocks, features=features, growth=growth)
        outputs = output_bands(bands, outputs, residual=residual)
        if factor < 2 or factor & (factor - 1):
            raise ParameterError(f"factor={factor}; expected 2, 4, 8 or another power of two. CARN takes any integer.")
        self.factor = factor
        self.residual = residual
        self.encoder = Encoder(bands, blocks, features, growth)
        self.decoder = Decoder(factor.bit_length() - 1, features, outputs)
        self.radius = 15 * blocks + 4
        """Input pixels around a block that its output depends on.

        One for each 3x3 convolution on the input grid: fifteen in every RRDB, one before and one after them. The
        convolutions of the decoder reach two input pixels together, whatever the factor.
        """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, bands, H, W) to (N, outputs, H * factor, W * factor)."""
        out: Tensor = self.decoder(self.encoder(x))
        return bicubic(x, self.factor) + out if self.residual else out


def settings(match: re.Match[str]) -> dict[str, Any]:
    """Read the settings off a name ``esrgan_{blocks}x{features}x{growth}``."""
    return dict(zip(("blocks", "features", "growth"), map(int, match.groups()), strict=True))


ARCHITECTURES = (
    Architecture(
        name="esrgan",
        kind="fixed",
        build=RRDBNet,
        pattern=r"esrgan_(\d+)x(\d+)x(\d+)",
        settings=settings,
        listed=("esrgan_3x64x32",),
        trunk="",
        published=True,
        summary="Residual-in-residual dense blocks",
        citation="J. Michel, E. Kalinicheva, Evoland operational super-resolution (2024); network of X. Wang et al.,"
        " ECCVW 2018, doi:10.1007/978-3-030-11021-5_5",
    ),
)
