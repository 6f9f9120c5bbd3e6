"""CARN with additive cascades and grouped, shared residual blocks, as EVOLAND trains it for Sentinel-2.

Residual blocks form a cascade, and cascades form the trunk by the same rule: each member's output is mixed by a 1x1
convolution and joined with the sum of everything before it. The trunk works on the input grid; a pixel shuffle
brings it to the output grid. Borders are reflected.

Two wirings exist whose weights have the same shapes: ``mix_then_sum`` (2025) mixes a member's output and adds the
sum, ``sum_then_mix`` (2023) mixes the sum. Parameters have the names of the published files.

References
----------
N. Ahn, B. Kang, K.-A. Sohn, "Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network",
ECCV 2018, doi:10.1007/978-3-030-01249-6_16.
J. Michel, E. Kalinicheva, super-resolution of Sentinel-2 in the EVOLAND project, 2024.
"""

import re
from collections import OrderedDict
from typing import Any, Literal

from torch import Tensor, nn

from xsr.core.errors import ParameterError
from xsr.models.architectures.srcnn import at_least_one, bicubic, output_bands
from xsr.models.record import Architecture

Wiring = Literal["mix_then_sum", "sum_then_mix"]
Activation = Literal["leaky_relu", "relu"]
WIRINGS: tuple[Wiring, ...] = ("mix_then_sum", "sum_then_mix")
ACTIVATIONS: tuple[Activation, ...] = ("leaky_relu", "relu")
SLOPE = 0.2
"""Slope of the leaky ReLU below zero."""


class ResidualBlock(nn.Module):
    """``act(x + W act(G act(G x)))``: two grouped 3x3 convolutions, a full 1x1 convolution and the input."""

    def __init__(self, features: int, groups: int, activation: Activation) -> None:
        super().__init__()
        self.net = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv_1=_conv3(features, features, groups),
                act_1=_activation(activation),
                conv_2=_conv3(features, features, groups),
                act_2=_activation(activation),
            )
        )
        self.single_conv = nn.Conv2d(features, features, 1)
        self.activation = _activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, F, H, W) to the same shape."""
        out: Tensor = self.activation(x + self.single_conv(self.net(x)))
        return out


class Cascade(nn.Module):
    """Residual blocks, each mixed with the sum of those before.

    Parameters
    ----------
    features
        Width.
    blocks
        Residual blocks.
    groups
        Groups of their 3x3 convolutions.
    shared
        One set of weights for all residual blocks; the mixing convolutions always have their own.
    wiring
        How a block joins the sum.
    activation
        Nonlinearity of the residual blocks.
    """

    def __init__(
        self, features: int, blocks: int, *, groups: int, shared: bool, wiring: Wiring, activation: Activation
    ) -> None:
        super().__init__()
        self.wiring = wiring
        self.residual_blocks = _residual_blocks(features, blocks, groups, shared, activation)
        self.residual_1d_conv = _mixing(features, blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, F, H, W) to the same shape."""
        return cascade(x, self.residual_blocks, self.residual_1d_conv, self.wiring)


class CARN(nn.Module):
    """Cascading residual network for an integer factor.

    Parameters
    ----------
    bands
        Input bands.
    outputs
        Output bands; as many as ``bands`` by default.
    factor
        Output pixels per input pixel along each axis. The network itself enlarges by the next even number; what is
        too much, bicubic interpolation takes back.
    cascades
        Cascades in the trunk; 1 where ``levels`` is 1.
    blocks
        Residual blocks of a cascade.
    features
        Width after the pixel shuffle; the trunk is wider by the square of the (even) factor.
    groups
        Groups of the 3x3 convolutions in residual blocks.
    shared
        One set of weights for the residual blocks of a cascade.
    wiring
        How a member joins the sum, see above.
    activation
        Nonlinearity of the residual blocks; the leaky ReLU has slope 0.2.
    levels
        2 for cascades of cascades; 1 for a trunk that is a single cascade (``carn_light``).
    residual
        Add the bicubic interpolation of the input to the output, in single precision or better.

    Raises
    ------
    ParameterError
        If a size is below 1, the groups do not divide the trunk, an option is unknown, ``levels=1`` comes with
        several cascades, or ``residual`` is set with other output than input bands.
    """

    def __init__(
        self,
        *,
        bands: int = 10,
        outputs: int | None = None,
        factor: int = 2,
        cascades: int = 3,
        blocks: int = 3,
        features: int = 64,
        groups: int = 4,
        shared: bool = True,
        wiring: Wiring = "mix_then_sum",
        activation: Activation = "leaky_relu",
        levels: Literal[1, 2] = 2,
        residual: bool = False,
    ) -> None:
        super().__init__()
        at_least_one(factor=factor, cascades=cascades, blocks=blocks, features=features, groups=groups)
        outputs = output_bands(bands, outputs, residual=residual)
        self.factor = factor
        self.shuffle = 2 * ((factor + 1) // 2)
        """Factor of the pixel shuffle: ``factor``, or the next even number."""
        trunk = features * self.shuffle**2
        _check_options(wiring, activation, levels, cascades, groups, trunk)
        self.wiring: Wiring = wiring
        self.residual = residual
        self.input_conv = _conv3(bands, trunk)
        if levels == 2:
            self.cascading_blocks = nn.ModuleList(
                Cascade(trunk, blocks, groups=groups, shared=shared, wiring=wiring, activation=activation)
                for _ in range(cascades)
            )
        else:
            self.residual_blocks = _residual_blocks(trunk, blocks, groups, shared, activation)
        self.residual_1d_conv = _mixing(trunk, cascades if levels == 2 else blocks)
        self.output_conv1 = _conv3(trunk, trunk)
        self.output_shuffle = nn.PixelShuffle(self.shuffle)
        self.output_conv2 = _conv3(features, outputs)
        self.levels = levels
        self.radius = 2 * cascades * blocks + 3
        """Input pixels around a block that its output depends on.

        One for each 3x3 convolution on the input grid: two in every residual block, one before and one after the
        trunk. The convolution and the interpolation on the output grid reach one input pixel together.
        """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, bands, H, W), sides of at least two pixels, to (N, outputs, H * factor, W * factor)."""
        members = self.cascading_blocks if self.levels == 2 else self.residual_blocks
        trunk = cascade(self.input_conv(x), members, self.residual_1d_conv, self.wiring)
        out: Tensor = self.output_conv2(self.output_shuffle(self.output_conv1(trunk)))
        if self.shuffle != self.factor:
            out = bicubic(out, self.factor, self.shuffle)
        return bicubic(x, self.factor) + out if self.residual else out


def cascade(x: Tensor, members: nn.ModuleList, mixing: nn.ModuleList, wiring: Wiring) -> Tensor:
    """Run the members one after the other, each joined with the sum of the input and the earlier outputs."""
    current = total = x
    for member, mix in zip(members, mixing, strict=True):
        y = member(current)
        if wiring == "mix_then_sum":
            current = mix(y) + total
            total = total + y
        else:
            total = total + y
            current = mix(total)
    return current


def _conv3(inputs: int, outputs: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, padding_mode="reflect")


def _activation(name: Activation) -> nn.Module:
    return nn.ReLU(inplace=True) if name == "relu" else nn.LeakyReLU(SLOPE, inplace=True)


def _residual_blocks(features: int, blocks: int, groups: int, shared: bool, activation: Activation) -> nn.ModuleList:
    if shared:
        return nn.ModuleList([ResidualBlock(features, groups, activation)] * blocks)
    return nn.ModuleList(ResidualBlock(features, groups, activation) for _ in range(blocks))


def _mixing(features: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(features, features, 1) for _ in range(count))


def _check_options(wiring: str, activation: str, levels: int, cascades: int, groups: int, trunk: int) -> None:
    if wiring not in WIRINGS:
        raise ParameterError(f"wiring={wiring!r}; expected one of {', '.join(WIRINGS)}.")
    if activation not in ACTIVATIONS:
        raise ParameterError(f"activation={activation!r}; expected one of {', '.join(ACTIVATIONS)}.")
    if levels not in (1, 2):
        raise ParameterError(f"levels={levels}; expected 1 or 2.")
    if levels == 1 and cascades != 1:
        raise ParameterError(f"levels=1 with cascades={cascades}; expected cascades=1. Choose the depth by blocks.")
    if trunk % groups:
        raise ParameterError(
            f"groups={groups} with a trunk of {trunk} features (features times the square of the even factor);"
            " expected a divisor."
        )


def settings(match: re.Match[str]) -> dict[str, Any]:
    """Read the settings off a name ``carn_{cascades}x{blocks}x{features}g{groups}[sw]``."""
    names = ("cascades", "blocks", "features", "groups")
    numbers = zip(names, map(int, match.groups()[:4]), strict=True)
    return {**dict(numbers), "shared": match[5] is not None}


PATTERN = r"carn_(\d+)x(\d+)x(\d+)g(\d+)(sw)?"
CITATION = (
    "J. Michel, E. Kalinicheva, Evoland operational super-resolution (2024); network of N. Ahn et al., ECCV 2018,"
    " doi:10.1007/978-3-030-01249-6_16"
)
ARCHITECTURES = (
    Architecture(
        name="carn",
        kind="fixed",
        build=CARN,
        pattern=PATTERN,
        settings=settings,
        listed=(*(f"carn_{n}x3x64g4sw" for n in (1, 2, 3, 4)), "carn_3x3x64g4", "carn_3x3x64g1sw"),
        trunk="",
        published=True,
        summary="Cascading residual network, additive form",
        citation=CITATION,
    ),
    Architecture(
        name="carn_light",
        kind="fixed",
        build=CARN,
        config={
            "levels": 1,
            "cascades": 1,
            "blocks": 2,
            "features": 32,
            "groups": 2,
            "shared": False,
            "wiring": "sum_then_mix",
            "activation": "relu",
        },
        trunk="",
        published=True,
        summary="Cascading residual network of 2023",
        citation=CITATION,
    ),
)
