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

from xsr.kernels.winograd import CHANNELS, POINTS, SIZE, TILES, N, to_pixels, to_points, transformed
from xsr.models.threads import share, sharing

Flat = NDArray[np.float32]
Convolution = Callable[[Tensor], Tensor]


def convolution(layer: nn.Conv2d) -> Convolution:
    """Convolve as a layer does, without its padding.

    Parameters
    ----------
    layer
        Of step one.

    Returns
    -------
    Callable
        From (N, C, H, W) to (N, outputs, H - 2, W - 2) for a 3x3 kernel: by minimal filtering where it pays, which is
        for groups of a multiple of 64 channels, in float32 on a CPU; otherwise PyTorch's own.
    """
    plain = partial(_plain, layer)
    group = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    fits = layer.kernel_size == (3, 3) and not any(size % CHANNELS for size in group)
    if not fits or layer.weight.dtype != torch.float32 or layer.weight.device.type != "cpu":
        return plain
    weights = torch.from_numpy(transformed(layer.weight.detach().numpy()))
    bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
    return Filter(plain, weights, bias.numpy(), layer.groups)


def _plain(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve without padding, by PyTorch; threads have rows of their own."""
    make = partial(nn.functional.conv2d, weight=layer.weight, bias=layer.bias, groups=layer.groups)
    if sharing() == 1:
        return make(x)
    rows, columns = (size - side + 1 for size, side in zip(x.shape[2:], layer.kernel_size, strict=True))
    size = len(x), layer.out_channels, rows, columns
    out = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)

    def some(part: slice) -> None:
        out[:, :, part] = make(x[:, :, part.start : part.stop + x.shape[2] - rows])

    share(some, rows)
    return out


@dataclass(frozen=True)
class Filter:
    """A convolution with transformed weights."""

    plain: Convolution
    """The same by PyTorch, for what is smaller than a tile."""
    weights: Tensor
    """As `transformed` makes them."""
    bias: Flat
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
        weights = [list(block) for block in self.weights]
        with torch.inference_mode():
            for first in map(N, starts[part]):
                for block in range(blocks):
                    if block % each == 0:  # of the next group
                        for i in range(inputs):
                            to_points(*source, N((block // each * inputs + i) * CHANNELS), rows, first, there[i])
                    torch.bmm(points[0], weights[block][0], out=products)
                    for i in range(1, inputs):
                        products.baddbmm_(points[i], weights[block][i])
                    to_pixels(made, self.bias, *size, N(block * CHANNELS), rows, first, result)
