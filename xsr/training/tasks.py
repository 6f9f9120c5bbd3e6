"""Losses of networks on batches, and what a run needs: a network, a source of batches, and a loss of one on the other.

Each loss is relative: the standardised error of each band of each patch over the error of the interpolation that the
network corrects. Gains in decibels are relative, so a calm field should teach as much as a town.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from xsr.core.keys import keys
from xsr.models import catalogue
from xsr.models.architectures.liif import LIIF
from xsr.models.architectures.temporal_liif import TemporalLIIF
from xsr.training.mixed import mixed
from xsr.training.pairs import Batch
from xsr.training.recipe import Continuous, Recipe, Temporal
from xsr.training.series import SeriesBatch

FLOOR = 0.02
"""Standardised error below which a patch counts as flat; keeps the relative loss finite."""
TINY = 1e-8
"""Mean square below which its root has no slope."""
Drawn = TypeVar("Drawn", contravariant=True)


class Loss(Protocol[Drawn]):
    """Loss of a network on a batch, and that of the interpolation it corrects."""

    def __call__(
        self, network: Any, batch: Drawn, recipe: Recipe[Any], *, drop: tuple[int, ...], device: str
    ) -> tuple[Tensor, Tensor]:
        """Evaluate; ``drop`` names bands to hide."""


@dataclass(frozen=True)
class Training(Generic[Drawn]):
    """What a run optimises."""

    network: nn.Module
    sampler: Callable[[int], Drawn]
    loss: Loss[Drawn]
    frozen: tuple[str, ...] = field(default=())
    """Parts of the network, by the beginning of their parameters' names, that training leaves as they are."""
    memory_format: torch.memory_format = torch.channels_last
    """Order of the network's numbers in memory: which is faster depends on its convolutions."""


def begin(architecture: str, config: Mapping[str, Any], *, bias: bool = True) -> nn.Module:
    """Make a network that starts at the interpolation it corrects: its last layer is zero, its ``bias`` by choice.

    What else training starts from is in the record of the architecture.
    """
    record = catalogue.get(architecture)
    network = record.make(**config)
    for name, tensor in record.last(network).named_parameters():
        if bias or name == "weight":
            nn.init.zeros_(tensor)
    record.begin(network)
    return network


def start_from(network: nn.Module, other: nn.Module) -> None:
    """Give a network the tensors of another that have its names and shapes."""
    wanted = network.state_dict()
    fitting = {k: v for k, v in other.state_dict().items() if k in wanted and v.shape == wanted[k].shape}
    network.load_state_dict(fitting, strict=False)


def widen(network: nn.Module, other: nn.Module) -> None:
    """Give a network the tensors of another that has fewer input or output bands; those it lacks are unchanged."""
    wanted, given = network.state_dict(), other.state_dict()
    for name, value in wanted.items():
        part = tuple(slice(min(a, b)) for a, b in zip(value.shape, given[name].shape, strict=True))
        value[part] = given[name][part]


def deepen(network: nn.Module, other: nn.Module) -> None:
    """Give a network the tensors of one that has fewer residual blocks; those that it lacks begin as the identity.

    T. Chen, I. Goodfellow, J. Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", arXiv:1511.05641.
    """
    deep, shallow = (list(one.get_submodule("encoder.body").children()) for one in (network, other))
    start_from(network, other)
    for block in deep[len(shallow) - 1 : -1]:
        for tensor in block.get_submodule("body.2").parameters():
            nn.init.zeros_(tensor)
    deep[-1].load_state_dict(shallow[-1].state_dict())


@dataclass(frozen=True)
class Prediction:
    """What a temporal network says of a batch before its composite is added."""

    detail: Tensor
    """At the queries, (n, query, band)."""
    fused: Tensor
    attention: Tensor
    days: Tensor
    tau: Tensor
    rows: Tensor
    cols: Tensor


def predict(network: TemporalLIIF, batch: SeriesBatch, low: Tensor, valid: Tensor) -> Prediction:
    """Evaluate a temporal network on standardised images (n, date, band, h, w) with a mask (n, date, h, w)."""
    device = low.device
    days, season, tau, tau_season = (
        torch.from_numpy(np.asarray(v)).to(device)
        for v in (batch.days, batch.day_of_year, batch.tau, batch.tau_day_of_year)
    )
    with mixed(device):
        features = network.encode(low.flatten(0, 1).contiguous(memory_format=torch.channels_last))
    features = features.float().unflatten(0, low.shape[:2])
    fused, _, attention = network.merge(features, days, season, valid, tau, tau_season)
    rows, cols = (torch.from_numpy(v).float().to(device) for v in (batch.rows, batch.cols))
    detail = network.decode(network.imnet.fold(fused), rows, cols, (1 / batch.scale, 1 / batch.scale))
    return Prediction(detail, fused, attention, days, tau, rows, cols)


def liif_loss(
    network: LIIF, batch: Batch, recipe: Recipe[Continuous], *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Loss of a LIIF, which corrects bicubic interpolation; see `Loss`.

    Where the batch holds squares, `Continuous.low_fidelity` times the same of the error as the sensor observes it is
    added: D(output) - D(truth), and D(truth) is the low-resolution patch but for its noise and its interpolation.
    """
    mean, std = (torch.tensor(v, device=device) for v in (recipe.image.mean, recipe.image.std))
    low = (torch.from_numpy(batch.low).to(device) - mean[:, None, None]) / std[:, None, None]
    low = low.nan_to_num()  # a band that the scene lacks is held at the mean
    wanted = (torch.from_numpy(batch.target) - torch.from_numpy(batch.base)).to(device) / std
    low[:, list(drop)] = 0.0
    if batch.further is not None:
        low = torch.cat((low, torch.from_numpy(batch.further).to(device)), dim=1)
    with mixed(device):
        code = network.encode(low.contiguous(memory_format=torch.channels_last))
    rows, cols = (torch.from_numpy(v).float().to(device) for v in (batch.rows, batch.cols))
    found = network.decode(code.float(), rows, cols, (1 / batch.scale, 1 / batch.scale))
    error = found - wanted
    mine, other = relative(error, wanted, drop)
    if batch.sensor is not None:
        sensor = [torch.from_numpy(v).to(device) for v in batch.sensor]
        coarse = relative(sensed(error, *sensor), sensed(wanted, *sensor), drop)
        mine, other = mine + recipe.task.low_fidelity * coarse[0], other + recipe.task.low_fidelity * coarse[1]
    return mine, other


def sensed(square: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Degrade an image again, or its error, as the sensor of a batch would.

    Parameters
    ----------
    square
        Values on a square, row by row, (n, side * side, band); a band with NaN in it is NaN throughout.
    rows, cols
        What the sensor does along y and x; see `xsr.training.pairs.Batch`.

    Returns
    -------
    Tensor
        (n, patch * patch, band), NaN where a low-resolution pixel needs more than the square.
    """
    side = rows.shape[-1]
    observed = rows @ square.mT.unflatten(-1, (side, side)) @ cols.mT
    inside = (rows != 0).any(-1)[..., :, None] & (cols != 0).any(-1)[..., None, :]
    return torch.where(inside, observed, torch.nan).flatten(-2).mT


def temporal_loss(
    network: TemporalLIIF, batch: SeriesBatch, recipe: Recipe[Temporal], *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Loss of a temporal LIIF, which corrects bicubic interpolation of the time-linear mean; see `Loss`."""
    mean, std = (torch.tensor(v, device=device) for v in (recipe.image.mean, recipe.image.std))
    low = (torch.from_numpy(batch.low).to(device) - mean[:, None, None]) / std[:, None, None]
    valid = torch.from_numpy(batch.valid).to(device)
    known = valid[:, :, None] & torch.isfinite(low)
    low = low.nan_to_num()
    low[:, :, list(drop)] = 0.0
    wanted = (torch.from_numpy(batch.target).to(device) - mean) / std
    predicted = predict(network, batch, low, valid)
    composite = network.compose(low, known, predicted.days, predicted.tau, predicted.fused, predicted.attention)
    linear = (network.fusion.weights(predicted.days, known, predicted.tau).to(low.dtype) * low).sum(1)
    somewhere = known.any(1)
    # Above one where a negative weight is lost.
    complete = (bicubic_at(somewhere.float(), predicted.rows, predicted.cols) - 1).abs() < 1e-3
    wanted = torch.where(complete, wanted, torch.nan)
    found = bicubic_at(composite, predicted.rows, predicted.cols) + predicted.detail - wanted
    return relative(found, bicubic_at(linear, predicted.rows, predicted.cols) - wanted, drop)


def relative(
    error: Tensor, reference: Tensor, drop: tuple[int, ...], *, squared: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean absolute error by patch and band over that of the reference, each shape (n, query, band); NaN is left out.

    If ``squared``, the root of the mean square in its place.

    Returns
    -------
    Tensor
        The relative loss.
    Tensor
        That of the reference: 1, but where its error is next to nothing.
    """
    keep = torch.isfinite(error) & torch.isfinite(reference)
    keep[..., list(drop)] = False
    known = keep.sum(dim=1)
    kept = (torch.where(keep, v, 0.0) for v in (error, reference))
    if squared:
        mine, other = ((v.square().sum(dim=1) / known.clamp(min=1) + TINY).sqrt() for v in kept)
    else:
        mine, other = (v.abs().sum(dim=1) / known.clamp(min=1) for v in kept)
    weight = (known > 0) / (other + FLOOR) / (known > 0).sum().clamp(min=1)
    return (mine * weight).sum(), (other * weight).sum()


def bicubic_at(images: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Keys' bicubic interpolation (a = -0.5) at scattered positions, as `xsr.kernels.resample` does it.

    Parameters
    ----------
    images
        (n, band, h, w).
    rows, cols
        Positions in pixels, (n, query); beyond the border the image repeats its last pixel.

    Returns
    -------
    Tensor
        (n, query, band).
    """
    n, _, height, width = images.shape
    flat = images.movedim(1, -1).reshape(n * height * width, -1)
    image = torch.arange(n, device=images.device)[:, None] * (height * width)
    total: Tensor | None = None
    y0, x0 = torch.floor(rows), torch.floor(cols)
    for dy in range(-1, 3):
        weight_y = keys(rows - y0 - dy)
        y = (y0 + dy).clamp(0, height - 1).long()
        for dx in range(-1, 3):
            x = (x0 + dx).clamp(0, width - 1).long()
            value = flat.index_select(0, (image + y * width + x).reshape(-1)).reshape(*rows.shape, -1)
            part = (weight_y * keys(cols - x0 - dx))[..., None] * value
            total = part if total is None else total + part
    assert total is not None
    return total
