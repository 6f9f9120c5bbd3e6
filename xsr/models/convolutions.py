"""How the layers of a network are convolved on a CPU: chosen by shape and number format alone.

By minimal filtering where that pays (`xsr.models.winograd`), and otherwise by oneDNN, whose convolutions PyTorch calls,
too. Its operator for compiled models applies an activation to numbers that have not left the core yet, and reads
weights in the order that they are put in once. PyTorch takes kernels of 1x1 in float32 for products of matrices, by a
library that does not use all of every processor.
"""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn

from xsr.models.threads import share, sharing
from xsr.models.winograd import Convolution, filtered

USUAL = 32, 256
"""Rows and columns for which weights are put in order; other sizes are right, too."""


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
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    how = (0, 0), (1, 1), (1, 1), layer.groups
    ordered = torch.ops.mkldnn._reorder_convolution_weight(weight, *how, (1, layer.in_channels, *USUAL))
    after = ("none", [], "") if slope == 1 else ("leaky_relu", [slope], "")

    def make(x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, ordered, bias, *how, *after)
        return out

    return make


@cache
def has_onednn(dtype: torch.dtype) -> bool:
    """Whether PyTorch brings that operator, and the processor what it needs for a number format."""
    try:
        with torch.inference_mode():
            _by_onednn(nn.Conv2d(1, 1, 1).to(dtype), 0.5)(torch.ones(1, 1, 2, 2, dtype=dtype))
    except (AttributeError, RuntimeError):
        return False
    return True


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
