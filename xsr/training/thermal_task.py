"""What a recipe for thermal images trains: a network that corrects bicubic interpolation, with or without a guide."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xsr.models import catalogue
from xsr.models.record import GuidedInputs
from xsr.models.registry import load
from xsr.training.recipes import Recipe
from xsr.training.tasks import FLOOR, Task, begin, start_from
from xsr.training.thermal import GuidedBatch, GuidedSampler, load_optical, load_thermal

PROTOCOL = (
    "Wald pairs at about the native thermal resolution: Gaussian point spread function, factor 4 or 8, noise; truth"
    " from synthetic scenes whose link between temperature and reflectance is drawn anew each time, half of them on"
    " real optical images, and from real thermal images"
)


def build(recipe: Recipe, data: Path | None) -> tuple[Task[Any], dict[str, object]]:
    """Make the task of a thermal recipe, and what its card says of the data."""
    network = begin(recipe.architecture, recipe.config)
    if recipe.start:
        start_from(network, load(recipe.start))
    thermal, optical = load_thermal(data), load_optical(data)
    low, high = (int(factor) for factor in recipe.scale_range)
    sampler = GuidedSampler(
        thermal, optical, recipe.patch, recipe.batch, recipe.seed, (low,) if low == high else (low, high)
    )
    told: dict[str, object] = {
        "protocol": PROTOCOL,
        "places": [scene.place for scene in thermal],
        "optical images": len(optical),
        "pixels": sum(scene.kelvin.size for scene in thermal) + sum(image[0].size for image in optical),
    }
    return Task(network, sampler, guided_loss), told


def guided_loss(
    network: nn.Module, batch: GuidedBatch, recipe: Recipe, *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Loss of a network for thermal images, in kelvin relative to the error of bicubic interpolation.

    See `xsr.training.tasks.Loss`; a guide drops its bands in the sampler.
    """
    low, image, guide, target = (
        torch.from_numpy(np.ascontiguousarray(v)).to(device).contiguous(memory_format=torch.channels_last)
        for v in (batch.low, batch.image, batch.guide, batch.target)
    )
    found = correction(network, recipe, GuidedInputs(image, low, guide, batch.factor))
    span = torch.from_numpy(batch.span).to(device)[:, None]
    wanted, answer = (v.flatten(1) * span for v in (target - image, found))
    return relative_rms(answer - wanted, wanted)


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


def correction(network: nn.Module, recipe: Recipe, inputs: GuidedInputs) -> Tensor:
    """Evaluate what a network adds to the interpolated image, (N, 1, H, W): convolutions in bfloat16."""
    with torch.autocast(inputs.image.device.type, torch.bfloat16):
        return catalogue.get(recipe.architecture).call(network, inputs).float()
