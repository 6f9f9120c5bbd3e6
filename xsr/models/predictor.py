"""Inference on arrays: batches of images, slices of positions, bounded memory.

One function for each way a network is called; see `xsr.models.record`. All raise MemoryError where not even one image
fits.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xsr.core.target_times import TargetTime
from xsr.models.engine import Ready, ready
from xsr.models.memory import memory_errors
from xsr.models.precision import Exact
from xsr.models.record import GuidedInputs
from xsr.models.registry import ModelSpec

QUERIES = {"cpu": 1 << 11, "cuda": 1 << 18}
"""Positions decoded at once. On a CPU the hidden layers of a slice (1 MB) stay in cache, which is four times faster
than slices of 65536."""


def predict_fixed(
    spec: ModelSpec, images: NDArray[np.float32], device: str, precision: Exact = "float32", margin: int = 0
) -> NDArray[np.float32]:
    """Evaluate a fixed-scale network.

    Parameters
    ----------
    spec
        Identity of the weights.
    images
        Numbers of the network, shape (n, channel, h, w), finite.
    device
        Torch device.
    precision
        Of the layers between the first and the last.
    margin
        Pixels along each side that the network reads and whose output is left out.

    Returns
    -------
    ndarray
        Shape (n, output, (h - 2 * margin) * factor, (w - 2 * margin) * factor).
    """
    network = ready(spec, precision, device)
    return network.run(lambda part: network.inner(network.tensor(images[part]), margin), images)


def predict_continuous(
    spec: ModelSpec,
    images: NDArray[np.float32],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    cell: tuple[float, float],
    device: str,
    precision: Exact = "float32",
) -> NDArray[np.float32]:
    """Evaluate a continuous network.

    Parameters
    ----------
    spec
        Identity of the weights.
    images
        Standardised images, shape (n, channel, h, w), finite.
    rows, cols
        Positions in pixels, (H,) and (W,) for a grid or both (H, W).
    cell
        Size of an output pixel in input pixels, (y, x).
    device
        Torch device.
    precision
        Of the layers between the first and the last.

    Returns
    -------
    ndarray
        Shape (n, output, H, W), standardised.
    """
    network = ready(spec, precision, device)
    places = positions(rows, cols, device)

    def evaluate(part: slice) -> Tensor:
        code = network.module.encode(network.tensor(images[part]))
        return decoded(network, code, *places, cell)

    out = network.run(evaluate, images)
    return out.reshape(*out.shape[:2], *_shape(rows, cols))


def predict_temporal(
    spec: ModelSpec,
    images: NDArray[np.float32],
    target_times: Sequence[TargetTime],
    used: Sequence[NDArray[np.bool_]],
    series: Iterable[NDArray[np.float32]],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    cell: tuple[float, float],
    device: str,
    precision: Exact = "float32",
    margin: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Evaluate a temporal network at target times; every date that is used is encoded once, and kept to its last use.

    Parameters
    ----------
    spec
        Identity of the weights.
    images
        Standardised dates that the network reads, shape (date, channel, h, w), finite.
    target_times
        Target times, and the dates that may be used for each.
    used
        For each target time, the pixels whose features are used, shape (its dates, h - 2 * margin, w - 2 * margin).
    series
        For each target time, versions of the standardised dates whose mean is the composite, shape (version, its
        dates, channel, h - 2 * margin, w - 2 * margin); NaN where they are not known. Taken one by one.
    rows, cols, cell
        As in `predict_continuous`, in pixels of the images without their margin.
    device
        Torch device.
    precision
        Of encoder and decoder, but for their first and last layers; the dates are fused in float32.
    margin
        Pixels along each side of the images that the encoder alone reads; see `temporal_margin`.

    Returns
    -------
    composite : ndarray
        Mean over the dates of each version, shape (version, time, channel, h - 2 * margin, w - 2 * margin), to be
        interpolated; zero where no date is known.
    detail : ndarray
        What to add to it, shape (time, output, H, W).
    """
    network = ready(spec, precision, device)
    places = positions(rows, cols, device)
    composites, details = [], []
    with torch.inference_mode(), memory_errors(images):
        dates = [_used_dates(pixels) for pixels in used]
        picks = [target.only(places).picks for target, places in zip(target_times, dates, strict=True)]
        features = Features(network, images, picks, margin)
        for number, (target, pixels, averaged) in enumerate(zip(target_times, used, series, strict=True)):
            composite, fused = _composed(network, features.take(number), target, dates[number], pixels, averaged)
            detail = decoded(network, network.module.fold(fused), *places, cell)
            composites.append(composite.cpu().numpy())
            details.append(detail.numpy().reshape(-1, *_shape(rows, cols)))
    return np.stack(composites, axis=1), np.stack(details)


def interpolates_in_time(spec: ModelSpec, device: str, precision: Exact = "float32") -> bool:
    """Whether the composite of a temporal network reads no date but the nearest known ones and those of its features.

    Parameters
    ----------
    spec, device, precision
        As in `predict_temporal`.
    """
    network = ready(spec, precision, device).module
    return bool(network.fusion.mean == "linear" and network.radiometry is None)


def temporal_margin(
    spec: ModelSpec,
    shape: tuple[int, int],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    spare: int,
    device: str,
    precision: Exact = "float32",
) -> int:
    """Pixels along each side of a window that the encoder of a temporal network alone reads.

    Parameters
    ----------
    spec, rows, cols, device, precision
        As in `predict_temporal`, in pixels of the window.
    shape
        Of the window.
    spare
        Pixels around those that are interpolated from which the gap filling of the composite reads.
    """
    network = ready(spec, precision, device).module
    reach: int = network.imnet.radius - 1 + spare + (0 if network.radiometry is None else network.radiometry.radius)
    sides: list[int] = [
        side
        for v, size in zip((rows, cols), shape, strict=True)
        for side in (math.floor(v.min()) - reach, size - 2 - math.floor(v.max()) - reach)
    ]
    return max(0, min(sides))


def predict_guided(
    spec: ModelSpec,
    image: NDArray[np.float32],
    guide: NDArray[np.float32],
    device: str,
    *,
    low: NDArray[np.float32] | None = None,
    scale: int | None = None,
) -> NDArray[np.float32]:
    """Evaluate a network for one band in float32: a guided one, or a fixed-scale one that needs no guide.

    Parameters
    ----------
    spec
        Identity of the weights.
    image
        Normalised image enlarged to the output grid, shape (n, 1, H, W), finite.
    guide
        Standardised guide on the output grid, shape (n, guide, H, W), finite; no bands for a network without one.
    device
        Torch device.
    low
        The image before it was enlarged, shape (n, 1, h, w), for a network that reads it.
    scale
        Output pixels along one of the image before it was enlarged, for a network that needs it.

    Returns
    -------
    ndarray
        Shape (n, 1, H, W): what the card says, the image or what to add to it.
    """
    network = ready(spec, "float32", device)
    small = image if low is None else low

    def evaluate(part: slice) -> Tensor:
        own, reduced, other = (network.tensor(values[part]) for values in (image, small, guide))
        return network.record.call(network.module, GuidedInputs(own, reduced, other, scale))

    return network.run(evaluate, image)


def _shape(rows: NDArray[np.float64], cols: NDArray[np.float64]) -> tuple[int, ...]:
    """Shape (H, W) of positions, whether they are the axes of a grid or points."""
    return rows.shape if rows.ndim == 2 else (rows.size, cols.size)


def positions(rows: NDArray[np.float64], cols: NDArray[np.float64], device: str) -> tuple[Tensor, Tensor]:
    """Rows and columns of all positions, one after the other."""
    if rows.ndim == 1:
        rows, cols = (np.ascontiguousarray(v) for v in np.broadcast_arrays(rows[:, None], cols))
    y, x = (torch.from_numpy(v.ravel()).to(device) for v in (rows, cols))
    return y, x


def decoded(network: Ready, code: Tensor, y: Tensor, x: Tensor, cell: tuple[float, float]) -> Tensor:
    """Decode positions, a slice at a time: (n, output, position), on the CPU."""
    code = code.contiguous(memory_format=torch.channels_last)  # once, not for every slice
    step = _positions_at_once(network, len(code))
    slices = (slice(first, first + step) for first in range(0, len(y), step))
    return torch.cat([network.module.decode(code, y[s], x[s], cell).permute(0, 2, 1).cpu() for s in slices], dim=2)


class Features:
    """Features of the dates of several target times: each date is encoded once, and kept to its last use.

    Parameters
    ----------
    network
        Network whose encoder is used.
    images
        Dates, shape (date, channel, h, w).
    uses
        For each target time, in the order in which they are computed, the dates whose features are used, at least one.
    margin
        Pixels along each side of the images whose features are not needed.
    """

    def __init__(
        self, network: Ready, images: NDArray[np.float32], uses: Sequence[Sequence[int]], margin: int = 0
    ) -> None:
        self._network, self._images, self._margin = network, images, margin
        self._uses = uses
        self._last = {date: number for number, dates in enumerate(uses) for date in dates}
        self._kept: dict[int, Tensor] = {}

    def take(self, number: int) -> list[Tensor]:
        """Features of the dates of one target time, (F, h, w) each, the channels of a pixel side by side."""
        self._encode([date for date in self._uses[number] if date not in self._kept])
        out = [self._kept[date].movedim(-1, 0) for date in self._uses[number]]
        self._kept = {date: made for date, made in self._kept.items() if self._last[date] > number}
        return out

    def _encode(self, dates: Sequence[int]) -> None:
        size = self._network.batches.size(self._images)
        for part in (list(dates[first : first + size]) for first in range(0, len(dates), size)):
            made = self._network.module.encode(self._network.tensor(self._images[part]), self._margin).movedim(1, -1)
            # Copies: a view would keep the features of the whole batch.
            copies = (features.clone(memory_format=torch.contiguous_format) for features in made)
            self._kept.update(zip(part, copies, strict=True))


def _composed(
    network: Ready,
    features: Sequence[Tensor],
    target: TargetTime,
    places: Sequence[int],
    pixels: NDArray[np.bool_],
    averaged: NDArray[np.float32],
) -> tuple[Tensor, Tensor]:
    """Composite of the dates of a target time, (version, channel, h, w), and the features fused from some of them."""
    known, days = network.tensor(averaged), torch.tensor([target.days], dtype=torch.float64)
    fewer, used = target.only(places), pixels[list(places)]
    height, width = pixels.shape[1:]
    # As the decoder, from slices that stay in cache; a radiometry reads the surroundings.
    step = height if network.module.radiometry is not None else max(1, _positions_at_once(network) // width)
    composites, merged = [], []
    for part in (slice(first, first + step) for first in range(0, height, step)):
        fused, heads = fuse(network, [date[:, part] for date in features], fewer, used[:, part])
        attention = heads.new_zeros(1, len(target.days), *heads.shape[2:])
        attention[:, list(places)] = heads
        there = known[..., part, :]
        composites.append(network.module.compose(there, there.isfinite(), days, target.day, fused, attention))
        merged.append(fused)
    return torch.cat(composites, dim=2), torch.cat(merged, dim=2)


def fuse(
    network: Ready, features: Iterable[Tensor], target: TargetTime, pixels: NDArray[np.bool_]
) -> tuple[Tensor, Tensor]:
    """Merge the features of the dates of a target time, (F, h, w) each, into one map; the attention to each date."""
    days, seasons = (torch.tensor([v], dtype=torch.float64) for v in (target.days, target.seasons))
    frames = torch.from_numpy(pixels).to(network.device)[None]
    fused, _, attention = network.module.merge(
        [date[None] for date in features], days, seasons, frames, target.day, target.season
    )
    return fused, attention


def _used_dates(pixels: NDArray[np.bool_]) -> list[int]:
    """Dates of a target time (date, h, w) whose features are used somewhere, at least one."""
    return np.flatnonzero(pixels.any(axis=(1, 2))).tolist() or [0]


def _positions_at_once(network: Ready, images: int = 1) -> int:
    return max(1, QUERIES[torch.device(network.device).type] // images)
