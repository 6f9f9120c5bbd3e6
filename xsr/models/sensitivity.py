"""Derivatives of networks by what they read: one reverse pass from their output, in float32.

One function for each way a network is called, with the arguments of that in `xsr.models.predictor` and, for each number
of the output, the derivative of a scalar by it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xsr.core.target_times import TargetTime
from xsr.models.engine import Ready, ready
from xsr.models.predictor import decoded, fuse, positions
from xsr.models.registry import ModelSpec

Image = NDArray[np.float32]
Positions = NDArray[np.float64]


def fixed_sensitivity(spec: ModelSpec, images: Image, wanted: Image, device: str, margin: int) -> Image:
    """Differentiate by the images of a fixed-scale network.

    Parameters
    ----------
    spec, images, device, margin
        As of `xsr.models.predictor.predict_fixed`.
    wanted
        Derivative by the output, its shape.

    Returns
    -------
    ndarray
        Shape of the images.
    """
    network = ready(spec, "float32", device)
    with torch.enable_grad():
        read = _leaf(network, images)
        return _derivative(network.inner(read, margin), wanted, read)[0]


def continuous_sensitivity(
    spec: ModelSpec,
    images: Image,
    wanted: Image,
    rows: Positions,
    cols: Positions,
    cell: tuple[float, float],
    device: str,
) -> Image:
    """Differentiate by the images of a continuous network.

    Parameters
    ----------
    spec, images, rows, cols, cell, device
        As of `xsr.models.predictor.predict_continuous`.
    wanted
        Derivative by the output, shape (n, output, H, W).

    Returns
    -------
    ndarray
        Shape of the images.
    """
    network = ready(spec, "float32", device)
    with torch.enable_grad():
        read = _leaf(network, images)
        out = decoded(network, network.module.encode(read), *positions(rows, cols, device), cell)
        return _derivative(out, wanted.reshape(out.shape), read)[0]


def temporal_sensitivity(
    spec: ModelSpec,
    images: Image,
    series: Image,
    wanted: tuple[Image, Image],
    target: TargetTime,
    used: NDArray[np.bool_],
    rows: Positions,
    cols: Positions,
    cell: tuple[float, float],
    device: str,
) -> tuple[Image, Image]:
    """Differentiate by the dates of a temporal network, and by those that its composite averages.

    Parameters
    ----------
    spec, images, rows, cols, cell, device
        As of `xsr.models.predictor.predict_temporal`; the images are the dates of one target time.
    series
        Versions of those dates, shape (version, date, channel, h, w); NaN where they are not known.
    wanted
        Derivative by the composite, shape (version, channel, h, w), and by the detail, (output, H, W).
    target, used
        The target time, and the pixels whose features are used, shape (date, h, w).

    Returns
    -------
    images : ndarray
        Shape of the images.
    series : ndarray
        Shape of the series; zero where they are not known.
    """
    network = ready(spec, "float32", device)
    with torch.enable_grad():
        read, averaged = _leaf(network, images), _leaf(network, np.nan_to_num(series, nan=0.0))
        merged, attention = fuse(network, network.module.encode(read)[list(target.picks)], target, used)
        days = torch.tensor([target.days], dtype=torch.float64)
        known = torch.from_numpy(np.isfinite(series)).to(network.device)
        composite = network.module.compose(averaged, known, days, target.day, merged, attention)
        detail = decoded(network, network.module.fold(merged), *positions(rows, cols, device), cell)
        by_composite, by_detail = (torch.from_numpy(np.ascontiguousarray(v)).to(network.device) for v in wanted)
        total = (composite * by_composite).sum() + (detail * by_detail.reshape(detail.shape).cpu()).sum()
        first, second = torch.autograd.grad(total, (read, averaged))
    return first.cpu().numpy(), second.cpu().numpy()


def _leaf(network: Ready, values: Image) -> Tensor:
    """Array as a tensor to differentiate by."""
    return network.tensor(np.ascontiguousarray(values, np.float32)).requires_grad_()


def _derivative(out: Tensor, wanted: Image, *read: Tensor) -> list[Image]:
    """Differentiate a scalar by what was read, from its derivative by the output."""
    by_out = torch.from_numpy(np.ascontiguousarray(wanted, np.float32)).to(out.device)
    return [part.cpu().numpy() for part in torch.autograd.grad(out, read, by_out)]
