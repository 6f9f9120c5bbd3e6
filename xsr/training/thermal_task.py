"""Loss of networks for thermal images, which correct bicubic interpolation with a guide or without one."""

import numpy as np
import torch
from torch import Tensor, nn

from xsr.core.blocks import Span
from xsr.kernels.footprint import Axis
from xsr.kernels.response import matrices
from xsr.models import catalogue
from xsr.models.record import GuidedInputs
from xsr.training.mixed import mixed
from xsr.training.recipe import Guided, Recipe
from xsr.training.tasks import FLOOR
from xsr.training.thermal import GuidedBatch

BORDER, EDGE = 2, 4
"""Low-resolution pixels along the sides of a patch whose observation is not known, and those that do not count then."""


def guided_loss(
    network: nn.Module, batch: GuidedBatch, recipe: Recipe[Guided], *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Loss of a network for thermal images, in kelvin relative to the error of bicubic interpolation.

    See `xsr.training.tasks.Loss`; a guide drops its bands in the sampler.
    """
    low, image, guide, target = tensors(batch, device)
    found = correction(network, recipe, GuidedInputs(image, low, guide, batch.factor))
    span = torch.from_numpy(batch.span).to(device)[:, None]
    wanted, output = (v.flatten(1) * span for v in (target - image, found))
    loss, share = relative_rms(output - wanted, wanted)
    if not recipe.task.held:
        return loss, share
    kept, base = (held(v, low, batch) for v in (image + found, image))
    inner = slice(EDGE * batch.factor, -EDGE * batch.factor)
    error, reference = ((v - target)[..., inner, inner].flatten(1) * span for v in (kept, base))
    return (loss + relative_rms(error, reference)[0]) / 2, share


def paired_loss(
    network: nn.Module, batch: GuidedBatch, recipe: Recipe[Guided], *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Loss on temperatures of two sensors: that of all patches of a batch together, without their border.

    Two sensors disagree by about as much everywhere. Patch by patch, flat ones would teach that it is best to add
    little. See `xsr.training.tasks.Loss`.
    """
    low, image, guide, target = tensors(batch, device)
    found = correction(network, recipe, GuidedInputs(image, low, guide, batch.factor))
    inner = slice(BORDER * batch.factor, -BORDER * batch.factor)
    span = torch.from_numpy(batch.span).to(device)[:, None, None, None]
    wanted, output = ((v * span)[..., inner, inner].reshape(1, -1) for v in (target - image, found))
    return relative_rms(output - wanted, wanted)


def tensors(batch: GuidedBatch, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Low-resolution image, enlarged image, guide and truth of a batch."""
    low, image, guide, target = (
        torch.from_numpy(np.ascontiguousarray(v)).to(device).contiguous(memory_format=torch.channels_last)
        for v in (batch.low, batch.image, batch.guide, batch.target)
    )
    return low, image, guide, target


def held(image: Tensor, low: Tensor, batch: GuidedBatch) -> Tensor:
    """Correct images (n, 1, y, x) by the least that makes the sensor observe ``low``, (n, 1, y / factor, x / factor).

    What is missing in the outermost `BORDER` low-resolution pixels is not known: a patch does not show it.
    """
    axis, span = Axis(1 / batch.factor, 0.0, image.shape[-1], low.shape[-1]), Span(0, image.shape[-1])
    pairs = [matrices(axis, span, float(mtf)) for mtf in batch.mtf]
    sensor, lift = (
        torch.from_numpy(np.stack(group)).float().to(image.device)[:, None] for group in zip(*pairs, strict=True)
    )
    missing = low - sensor @ image @ sensor.mT
    known = torch.zeros_like(missing)
    known[..., BORDER:-BORDER, BORDER:-BORDER] = 1
    return image + lift @ (missing * known) @ lift.mT


def relative_rms(error: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Root mean square error by patch over that of the reference, each shape (n, pixel); NaN is left out.

    Returns
    -------
    Tensor
        The mean over patches.
    Tensor
        That of the reference: 1.
    """
    keep = torch.isfinite(error) & torch.isfinite(reference)
    known = keep.sum(dim=1)
    mine, other = (
        (torch.where(keep, v, 0.0).square().sum(dim=1) / known.clamp(min=1) + FLOOR**2).sqrt()
        for v in (error, reference)
    )
    share = (known > 0) / (known > 0).sum().clamp(min=1)
    return (share * mine / other).sum(), share.sum()


def correction(network: nn.Module, recipe: Recipe[Guided], inputs: GuidedInputs) -> Tensor:
    """Evaluate what a network adds to the interpolated image, (N, 1, H, W): convolutions in bfloat16."""
    with mixed(inputs.image.device):
        return catalogue.get(recipe.architecture).call(network, inputs).float()
