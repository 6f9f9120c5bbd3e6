"""oneDNN's operators for compiled models, which PyTorch brings without a public name: tried before they are used.

They apply an activation to numbers that have not left the core yet. In float32 PyTorch multiplies matrices by another
library, which does not use all of every processor.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

USUAL = 32, 256
"""Rows and columns for which weights are put in order; other sizes are right, too."""


@cache
def has_onednn(dtype: torch.dtype) -> bool:
    """Whether PyTorch brings those operators, and the processor what they need for a number format."""
    try:
        with torch.inference_mode():
            convolution(torch.ones(1, 1, 1, 1, dtype=dtype), slope=0.5)(torch.ones(1, 1, 2, 2, dtype=dtype))
            _linear(torch.ones(2, 1, dtype=dtype), torch.ones(1, 1, dtype=dtype), None, rectified=True)
    except (AttributeError, RuntimeError):
        return False
    return True


def convolution(
    weight: Tensor, bias: Tensor | None = None, *, groups: int = 1, slope: float = 1.0, size: tuple[int, int] = USUAL
) -> Callable[[Tensor], Tensor]:
    """Convolve with weights that are put in order once.

    Parameters
    ----------
    weight, bias, groups
        As of `torch.nn.functional.conv2d`.
    slope
        By what negative output is multiplied.
    size
        Rows and columns of the images.

    Returns
    -------
    Callable
        From (N, inputs, H, W) to (N, outputs, H - kernel + 1, W - kernel + 1).
    """
    how = (0, 0), (1, 1), (1, 1), groups
    ordered = torch.ops.mkldnn._reorder_convolution_weight(weight, *how, (1, groups * weight.shape[1], *size))
    after = ("none", [], "") if slope == 1 else ("leaky_relu", [slope], "")

    def make(x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, ordered, bias, *how, *after)
        return out

    return make


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, rectified: bool = False) -> Tensor:
    """Apply a linear layer, and a rectifier behind it; by oneDNN in inference on a CPU.

    Parameters
    ----------
    x
        (..., inputs).
    weight, bias
        (outputs, inputs) and (outputs,).
    rectified
        Whether negative output becomes zero.

    Returns
    -------
    Tensor
        (..., outputs).
    """
    if torch.is_inference_mode_enabled() and x.is_cpu and has_onednn(x.dtype):
        return _linear(x, weight, bias, rectified=rectified)
    out = nn.functional.linear(x, weight, bias)
    return out.relu_() if rectified else out


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, rectified: bool) -> Tensor:
    after = "relu" if rectified else "none"
    whole = x.contiguous(), weight.contiguous()  # a part of a matrix would be multiplied number by number
    out: Tensor = torch.ops.mkldnn._linear_pointwise(*whole, bias, after, [], "")
    return out
