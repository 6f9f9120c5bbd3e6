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

from xsr.kernels.winograd import CHANNELS, POINTS, SIZE, TILES, F, N, to_pixels, to_points, transformed
from xsr.models.threads import share

Flat = NDArray[np.float32]
Convolution = Callable[[Tensor], Tensor]


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
    if weight.dtype != torch.float32 or not weight.is_cpu:
        return None
    bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
    return Filter(plain, torch.from_numpy(transformed(weight.numpy())), bias.numpy(), slope, groups)


@dataclass(frozen=True)
class Filter:
    """A convolution with transformed weights."""

    plain: Convolution
    """The same by other means, for what is smaller than a tile."""
    weights: Tensor
    """As `transformed` makes them."""
    bias: Flat
    slope: float
    groups: int

    def __call__(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, outputs, H - 2, W - 2)."""
        rows, columns = x.shape[2] - 2, x.shape[3] - 2
        if min(rows, columns) < SIZE:
            return self.plain(x)
        pixels = x.permute(0, 2, 3, 1).contiguous().numpy()
        out = np.empty((len(x), rows, columns, len(self.bias)), np.float32)
        tiles = -(-rows // SIZE) * -(-columns // SIZE)
        for image, made in zip(pixels, out, strict=True):
            blocks = range(0, tiles, TILES)
            share(partial(self._run, image, made, blocks), len(blocks))
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    def _run(self, image: Flat, out: Flat, starts: range, part: slice) -> None:
        """Compute some blocks of tiles of an image (row, column, channel)."""
        blocks, inputs = self.weights.shape[:2]
        each = blocks // self.groups
        source = image.ravel(), N(image.shape[1]), N(image.shape[2])
        rows, size, result = N(out.shape[0]), (N(out.shape[1]), N(out.shape[2])), out.ravel()
        points, products = torch.empty(inputs, POINTS, TILES, CHANNELS), torch.empty(POINTS, TILES, CHANNELS)
        there, made = [part.view(-1).numpy() for part in points], products.view(-1).numpy()
        weights, slope = [list(block) for block in self.weights], F(self.slope)
        with torch.inference_mode():
            for first in map(N, starts[part]):
                for block in range(blocks):
                    if block % each == 0:  # of the next group
                        for i in range(inputs):
                            to_points(*source, N((block // each * inputs + i) * CHANNELS), rows, first, there[i])
                    torch.bmm(points[0], weights[block][0], out=products)
                    for i in range(1, inputs):
                        products.baddbmm_(points[i], weights[block][i])
                    to_pixels(made, self.bias, slope, *size, N(block * CHANNELS), rows, first, result)
