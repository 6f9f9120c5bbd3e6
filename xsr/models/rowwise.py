"""Sums, products and activations in a network, whose rows can be made one by one and written where they belong."""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from xsr.kernels.bfloat16 import Bits, F, N, add, leak

MODULES = (nn.ReLU, nn.LeakyReLU, nn.Identity, nn.PixelShuffle)
FUNCTIONS = (operator.add, operator.mul, torch.add, torch.mul, torch.relu)
METHODS = ("to",)
WRITERS: dict[Any, Callable[..., Any]] = {
    operator.add: torch.add,
    torch.add: torch.add,
    operator.mul: torch.mul,
    torch.mul: torch.mul,
}
"""Of the functions those that write into given memory."""
Writer = Callable[..., Any]
"""Takes the arguments of a node, and as ``out`` the memory for its result."""


def is_rowwise(node: fx.Node, layer: nn.Module | None) -> bool:
    """Whether a node other than a convolution can be computed row by row.

    Parameters
    ----------
    node
        Node of a network's graph.
    layer
        The layer that it calls, if it calls one.
    """
    if layer is not None:
        if getattr(layer, "inplace", False) and len(node.all_input_nodes[0].users) > 1:
            return False  # others would see the change or not, by the order of bands
        return isinstance(layer, MODULES)
    if node.target is nn.functional.interpolate:
        factor = node.kwargs.get("scale_factor")
        return node.kwargs.get("mode") == "nearest" and isinstance(factor, int | float) and factor == int(factor)
    if node.target is torch.cat:
        return bool(node.kwargs.get("dim") == 1)
    if node.op == "call_function":
        return any(node.target is function for function in FUNCTIONS)
    return node.op == "call_method" and node.target in METHODS


def writer(node: fx.Node, layer: nn.Module | None, images: Sequence[Tensor]) -> Writer | None:
    """Find what makes the rows of a node in memory that is given.

    Parameters
    ----------
    node, layer
        As in `is_rowwise`.
    images
        Its inputs that are images, (1, channel, row, column).

    Returns
    -------
    Callable or None
        None where an operation cannot, or images are not alike. For images that are `narrow` the memory must not be
        that of an input.
    """
    if len({(image.shape, image.dtype) for image in images}) > 1:
        return None
    if narrow(images):
        if isinstance(layer, nn.LeakyReLU):
            return partial(_leak, slope=layer.negative_slope)
        if len(images) == 2 and WRITERS.get(node.target) is torch.add and not node.kwargs:
            return _add
    if isinstance(layer, nn.LeakyReLU):
        return partial(torch.ops.aten.leaky_relu.out, negative_slope=layer.negative_slope)
    if isinstance(layer, nn.ReLU) or node.target is torch.relu:
        return partial(torch.clamp_min, min=0.0)
    return WRITERS.get(node.target) if isinstance(node.args[0], fx.Node) else None


def narrow(images: Sequence[Tensor]) -> bool:
    """Whether images are such that `xsr.kernels.bfloat16` reads: on a CPU, the channels of a pixel side by side."""
    return all(
        image.dtype == torch.bfloat16 and image.is_cpu and image.stride()[1::2] == (1, image.shape[1])
        for image in images
    )


def _add(one: Tensor, other: Tensor, out: Tensor) -> None:
    first, second, made = _bits(one), _bits(other), _bits(out)
    add(*first, *second, N(out.shape[2]), N(out.shape[1] * out.shape[3]), *made)


def _leak(image: Tensor, slope: float, out: Tensor) -> None:
    leak(*_bits(image), F(slope), N(out.shape[2]), N(out.shape[1] * out.shape[3]), *_bits(out))


def _bits(image: Tensor) -> tuple[Bits, N]:
    """Numbers of an image from the first to the last, and the distance from a row to the next."""
    _, channels, rows, columns = image.shape
    step = image.stride(2)
    flat = image.as_strided(((rows - 1) * step + columns * channels,), (1,))
    return flat.view(torch.int16).numpy().view(np.uint16), N(step)
