"""How the layers of a network are convolved on a CPU: chosen by shape and number format alone.

By minimal filtering where that pays (`xsr.models.winograd`), and otherwise by oneDNN, whose convolutions PyTorch calls,
too, but not those of 1x1 in float32 (`xsr.models.onednn`).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from xsr.models import onednn
from xsr.models.onednn import has_onednn
from xsr.models.threads import share, sharing
from xsr.models.winograd import Convolution, filtered


def convolution(layer: nn.Conv2d, slope: float = 1.0) -> Convolution:
    """Convolve as a layer does, without its padding.

    Parameters
    ----------
    layer
        Of step one.
    slope
        By what negative output is multiplied.

    Returns
    -------
    Callable
        From (N, C, H, W) to (N, outputs, H - kernel + 1, W - kernel + 1).
    """
    direct = layer.weight.is_cpu and has_onednn(layer.weight.dtype)
    make = _by_onednn(layer, slope) if direct else _by_pytorch(layer, slope)
    plain = partial(_shared, make, layer)
    return filtered(layer, slope, plain) or plain


def _by_pytorch(layer: nn.Conv2d, slope: float) -> Convolution:
    make = partial(nn.functional.conv2d, weight=layer.weight, bias=layer.bias, groups=layer.groups)
    return make if slope == 1 else lambda x: nn.functional.leaky_relu_(make(x), slope)


def _by_onednn(layer: nn.Conv2d, slope: float) -> Convolution:
    bias = None if layer.bias is None else layer.bias.detach()
    return onednn.convolution(layer.weight.detach(), bias, groups=layer.groups, slope=slope)


def _shared(make: Callable[[Tensor], Tensor], layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve in threads that have rows of their own."""
    if sharing() == 1:
        return make(x)
    rows, columns = (size - side + 1 for size, side in zip(x.shape[2:], layer.kernel_size, strict=True))
    size = len(x), layer.out_channels, rows, columns
    out = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)

    def some(part: slice) -> None:
        out[:, :, part] = make(x[:, :, part.start : part.stop + x.shape[2] - rows])

    share(some, rows)
    return out
