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
SLOPE = "slope"
"""What a node of a graph keeps `slope_of` under."""
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


def absorb(module: nn.Module, graph: fx.Graph) -> None:
    """Have convolutions and sums do the activation that follows them.

    Not a convolution whose rows another one of several rows waits for: those are copied behind others in any case, and
    the activation does that.

    Parameters
    ----------
    module
        Network.
    graph
        Its graph, changed in place: see `slope_of`.
    """
    for node in list(graph.nodes):
        slope = _slope(node, layer_of(module, node))
        if slope is None:
            continue
        (source,) = node.all_input_nodes
        if len(source.users) > 1 or SLOPE in source.meta:  # which has one already
            continue
        layer = layer_of(module, source)
        waits = any(getattr(layer_of(module, user), "kernel_size", (1, 1)) != (1, 1) for user in node.users)
        if (isinstance(layer, nn.Conv2d) and not waits) or _is_sum(source):
            source.meta[SLOPE] = slope
            node.replace_all_uses_with(source)
            graph.erase_node(node)


def slope_of(node: fx.Node) -> float:
    """By what the negative output of a node is multiplied."""
    slope: float = node.meta.get(SLOPE, 1.0)
    return slope


def layer_of(module: nn.Module, node: fx.Node) -> nn.Module | None:
    """Layer that a node calls, if it calls one."""
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _slope(node: fx.Node, layer: nn.Module | None) -> float | None:
    """By what an activation multiplies negative numbers; None for other operations."""
    if isinstance(layer, nn.LeakyReLU):
        return layer.negative_slope
    return 0.0 if isinstance(layer, nn.ReLU) or node.target is torch.relu else None


def _is_sum(node: fx.Node) -> bool:
    return WRITERS.get(node.target) is torch.add and isinstance(node.args[0], fx.Node)


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
    slope, after = _slope(node, layer), slope_of(node)
    if slope is not None:
        return partial(_leak if narrow(images) else torch.ops.aten.leaky_relu.out, negative_slope=slope)
    if not isinstance(node.args[0], fx.Node) or node.target not in WRITERS:
        return None
    if _is_sum(node) and len(images) == 2 and not node.kwargs and narrow(images):
        return partial(_add, slope=after)
    write = WRITERS[node.target]
    return write if after == 1 else partial(_then_leak, write, after)


def narrow(images: Sequence[Tensor]) -> bool:
    """Whether images are such that `xsr.kernels.bfloat16` reads: on a CPU, the channels of a pixel side by side."""
    return all(
        image.dtype == torch.bfloat16 and image.is_cpu and image.stride()[1::2] == (1, image.shape[1])
        for image in images
    )


def _then_leak(write: Writer, slope: float, *args: Any, out: Tensor, **kwargs: Any) -> None:
    nn.functional.leaky_relu_(write(*args, out=out, **kwargs), slope)


def _add(one: Tensor, other: Tensor, slope: float, out: Tensor) -> None:
    first, second, made = _bits(one), _bits(other), _bits(out)
    add(*first, *second, F(slope), N(out.shape[2]), N(out.shape[1] * out.shape[3]), *made)


def _leak(image: Tensor, negative_slope: float, out: Tensor) -> None:
    leak(*_bits(image), F(negative_slope), N(out.shape[2]), N(out.shape[1] * out.shape[3]), *_bits(out))


def _bits(image: Tensor) -> tuple[Bits, N]:
    """Numbers of an image from the first to the last, and the distance from a row to the next."""
    _, channels, rows, columns = image.shape
    step = image.stride(2)
    flat = image.as_strided(((rows - 1) * step + columns * channels,), (1,))
    return flat.view(torch.int16).numpy().view(np.uint16), N(step)
