"""What a recipe for thermal images trains: a network that corrects bicubic interpolation, with or without a guide."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xsr.models.architectures.dctnet import DETAIL, DCTNet, laplacian, solve, weighed
from xsr.models.architectures.jiif import JIIF
from xsr.models.registry import create, load
from xsr.training.recipes import Recipe
from xsr.training.tasks import FLOOR, Task, start_from
from xsr.training.thermal import GuidedBatch, GuidedSampler, load_optical, load_thermal

EDGES = -4.0
"""Logarithm of the weight of the edges in the solve at first: with that of the published network, 0, the solve takes
the fine features of the image away, and training is slow to find out."""
PROTOCOL = (
    "Wald pairs at about the native thermal resolution: Gaussian point spread function, factor 4 or 8, noise; truth"
    " from synthetic scenes whose link between temperature and reflectance is drawn anew each time, half of them on"
    " real optical images, and from real thermal images"
)


def build(recipe: Recipe, data: Path | None) -> tuple[Task[Any], dict[str, object]]:
    """Make the task of a thermal recipe, and what its card says of the data."""
    network = create(recipe.architecture, **recipe.config)
    _begin(network)
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


def _begin(network: nn.Module) -> None:
    """Let a network start at the interpolation that it corrects, or at the mean of the details that it weighs."""
    end = network.Decoder_depth if isinstance(network, DCTNet) else network
    last = [module for module in end.modules() if isinstance(module, nn.Conv2d | nn.Linear)][-1]
    assert last.bias is not None
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    if isinstance(network, DCTNet):
        nn.init.constant_(network.lambd, EDGES)
        if network.relations:
            nn.init.constant_(last.bias[1:], 1 / len(network.relations))


def guided_loss(
    network: nn.Module, batch: GuidedBatch, recipe: Recipe, *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Loss of a network for thermal images, in kelvin relative to the error of bicubic interpolation.

    See `xsr.training.tasks.Loss`; a guide drops its bands in the sampler.
    """
    low, image, guide, guide_low, target = (
        torch.from_numpy(np.ascontiguousarray(v)).to(device).contiguous(memory_format=torch.channels_last)
        for v in (batch.low, batch.image, batch.guide, batch.guide_low, batch.target)
    )
    found = correction(network, batch.factor, low, image, guide, guide_low)
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


def correction(network: nn.Module, factor: int, low: Tensor, image: Tensor, guide: Tensor, guide_low: Tensor) -> Tensor:
    """Evaluate what a network adds to the interpolated image, (N, 1, H, W): convolutions in bfloat16."""
    mixed = torch.autocast(image.device.type, torch.bfloat16)
    match network:
        case DCTNet():
            detail = network.details(image, guide, factor)
            with mixed:
                own, other = network.Encoder_coupled(image, torch.cat((guide, DETAIL * detail), dim=1))
                weights = network.WPNet(other).float()
            solution = solve(own.float(), weights * laplacian(other.float()), network.lambd.exp())
            with mixed:
                answer = network.reconstruct(solution)
            return weighed(answer.float(), detail)
        case JIIF():
            with mixed:
                found = network(low, guide, guide_low)
        case _:
            with mixed:
                found = network(low)
    return torch.as_tensor(found).float()
