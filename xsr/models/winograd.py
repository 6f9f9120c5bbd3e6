"""3x3 convolutions of many channels on a CPU in float32, by the kernels of `xsr.kernels.winograd`.

What PyTorch uses there multiplies every pixel with every weight. With a quarter of the products, and the time of two
transforms, a convolution takes half as long; results differ by rounding, about a millionth. Numbers do not depend on
how many threads share the work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xsr.kernels.winograd import CHANNELS, POINTS, SIZE, F, N, to_pixels, to_points, transformed
from xsr.models.onednn import convolution, has_onednn
from xsr.models.threads import share

Flat = NDArray[np.float32]
Convolution = Callable[[Tensor], Tensor]
NUMBERS = 1 << 12
"""Tiles times channels that are computed together: what belongs to them stays in the cache of a core."""


def filtered(layer: nn.Conv2d, slope: float, plain: Convolution) -> "Filter | None":
    """Make what convolves by minimal filtering, without padding, where that pays.

    Parameters
    ----------
    layer
        Of step one.
    slope
        By what negative output is multiplied.
    plain
        The same by other means, for what is smaller than a tile.

    Returns
    -------
    Filter or None
        For kernels of 3x3, of groups of a multiple of 64 channels, in float32 on a CPU.
    """
    weight, groups = layer.weight.detach(), layer.groups
    group = layer.in_channels // groups, layer.out_channels // groups
    if layer.kernel_size != (3, 3) or any(size % CHANNELS for size in group):
        return None
    if weight.dtype != torch.float32 or not weight.is_cpu or not has_onednn(weight.dtype):
        return None
    bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
    points = [torch.from_numpy(transformed(part.numpy())).flatten(0, 1) for part in weight.chunk(groups)]
    products = tuple(convolution(part[..., None, None], groups=POINTS, size=(1, _tiles(group))) for part in points)
    return Filter(plain, products, bias.numpy(), slope, group)


@dataclass(frozen=True)
class Filter:
    """A convolution with transformed weights."""

    plain: Convolution
    """The same by other means, for what is smaller than a tile."""
    products: tuple[Convolution, ...]
    """Of each group, from (1, point * inputs, 1, tile) to (1, point * outputs, 1, tile)."""
    bias: Flat
    slope: float
    group: tuple[int, int]
    """Inputs and outputs of a group."""

    def __call__(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, outputs, H - 2, W - 2)."""
        rows, columns = x.shape[2] - 2, x.shape[3] - 2
        if min(rows, columns) < SIZE:
            return self.plain(x)
        pixels = x.permute(0, 2, 3, 1).contiguous().numpy()
        out = np.empty((len(x), rows, columns, len(self.bias)), np.float32)
        starts = range(0, -(-rows // SIZE) * -(-columns // SIZE), _tiles(self.group))
        for image, made in zip(pixels, out, strict=True):
            share(partial(self._run, image, made, starts), len(starts))
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    def _run(self, image: Flat, out: Flat, starts: range, part: slice) -> None:
        """Compute some blocks of tiles of an image (row, column, channel)."""
        source = image.ravel(), N(image.shape[1]), N(image.shape[2])
        rows, size, result = N(out.shape[0]), (N(out.shape[1]), N(out.shape[2])), out.ravel()
        (inputs, outputs), count = self.group, _tiles(self.group)
        points = torch.empty(1, 1, count, POINTS * inputs).permute(0, 3, 1, 2)
        there, width, slope = _flat(points), (N(inputs), N(outputs)), F(self.slope)
        with torch.inference_mode():
            for start in starts[part]:
                tiles = N(start), N(count)
                for group, product in enumerate(self.products):
                    for place in range(0, inputs, CHANNELS):
                        to_points(*source, N(group * inputs + place), rows, *tiles, there, width[0], N(place))
                    made = _flat(product(points))
                    for place in range(0, outputs, CHANNELS):
                        begin = N(group * outputs + place)
                        to_pixels(made, width[1], N(place), self.bias, slope, *size, begin, rows, *tiles, result)


def _tiles(group: tuple[int, int]) -> int:
    """Tiles of so many inputs and outputs that are computed together."""
    return max(1, NUMBERS // max(group))


def _flat(image: Tensor) -> Flat:
    """Numbers of (1, channel, 1, column), the channels of a column side by side."""
    flat: Flat = image.permute(0, 2, 3, 1).reshape(-1).numpy()
    return flat
