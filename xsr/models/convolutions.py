"""How the layers of a network are convolved on a CPU: chosen by shape and number format alone."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from xsr.models.threads import share, sharing
from xsr.models.winograd import Convolution, filtered


def convolution(layer: nn.Conv2d) -> Convolution:
    """Convolve as a layer does, without its padding.

    Parameters
    ----------
    layer
        Of step one.

    Returns
    -------
    Callable
        From (N, C, H, W) to (N, outputs, H - kernel + 1, W - kernel + 1).
    """
    plain = partial(_shared, _by_onednn(layer) or _by_pytorch(layer), layer)
    return filtered(layer, plain) or plain


def _by_pytorch(layer: nn.Conv2d) -> Convolution:
    return partial(nn.functional.conv2d, weight=layer.weight, bias=layer.bias, groups=layer.groups)


def _by_onednn(layer: nn.Conv2d) -> Convolution | None:
    """Kernels of 1x1 in float32: PyTorch takes them for products of matrices, and its library for those for Intel's."""
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    suits = layer.kernel_size == (1, 1) and weight.dtype == torch.float32 and weight.is_cpu
    if not suits or not torch.backends.mkldnn.is_available():
        return None
    return lambda x: torch.mkldnn_convolution(x, weight, bias, (0, 0), (1, 1), (1, 1), layer.groups)


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
