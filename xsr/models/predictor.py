"""Inference on arrays: batches of images, slices of positions, bounded memory.

One function for each way a network is called; see `xsr.models.record`. All raise MemoryError where not even one image
fits.
"""

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

QUERIES = {"cpu": 1 << 12, "cuda": 1 << 18}
"""Positions decoded at once. On a CPU the hidden layers of a slice (2 MB) stay in cache, which is four times faster
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
        For each target time, the pixels whose features are used, shape (its dates, h, w).
    series
        For each target time, versions of the standardised dates whose mean is the composite, shape (version, its
        dates, channel, h, w); NaN where they are not known. Taken one by one.
    rows, cols, cell
        As in `predict_continuous`.
    device
        Torch device.
    precision
        Of encoder and decoder, but for their first and last layers; the dates are fused in float32.

    Returns
    -------
    composite : ndarray
        Mean over the dates of each version, shape (version, time, channel, h, w), to be interpolated; zero where no
        date is known.
    detail : ndarray
        What to add to it, shape (time, output, H, W).
    """
    network = ready(spec, precision, device)
    places = positions(rows, cols, device)
    composites, details = [], []
    with torch.inference_mode(), memory_errors(images):
        features = Features(network, images, [_used_dates(*pair) for pair in zip(target_times, used, strict=True)])
        for number, (target, pixels, averaged) in enumerate(zip(target_times, used, series, strict=True)):
            fused, attention = fuse(network, features.take(number, target.picks), target, pixels)
            known, days = network.tensor(averaged), torch.tensor([target.days], dtype=torch.float64)
            composite = network.module.compose(known, known.isfinite(), days, target.day, fused, attention)
            detail = decoded(network, network.module.fold(fused), *places, cell)
            composites.append(composite.cpu().numpy())
            details.append(detail.numpy().reshape(-1, *_shape(rows, cols)))
    return np.stack(composites, axis=1), np.stack(details)


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
    step = max(1, QUERIES[torch.device(network.device).type] // len(code))
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
        For each target time, in the order in which they are computed, the dates whose features are used.
    """

    def __init__(self, network: Ready, images: NDArray[np.float32], uses: Sequence[Sequence[int]]) -> None:
        self._network, self._images = network, images
        self._uses = uses
        self._last = {date: number for number, dates in enumerate(uses) for date in dates}
        self._kept: dict[int, Tensor] = {}

    def take(self, number: int, picks: Sequence[int]) -> Tensor:
        """Features of the dates of one target time, (date, F, h, w): zero of those that are not used."""
        self._encode([date for date in self._uses[number] if date not in self._kept] or self._any(picks))
        nothing = torch.zeros_like(next(iter(self._kept.values())))
        out = torch.stack([self._kept.get(date, nothing) for date in picks])
        self._kept = {date: made for date, made in self._kept.items() if self._last.get(date, -1) > number}
        return out

    def _any(self, picks: Sequence[int]) -> list[int]:
        """One date where none is known: the others have its shape."""
        return [] if self._kept else [picks[0]]

    def _encode(self, dates: Sequence[int]) -> None:
        size = self._network.batches.size(self._images)
        for part in (list(dates[first : first + size]) for first in range(0, len(dates), size)):
            made = self._network.module.encode(self._network.tensor(self._images[part]))
            # Copies: a view would keep the features of the whole batch.
            self._kept.update({date: features.clone() for date, features in zip(part, made, strict=True)})


def fuse(network: Ready, features: Tensor, target: TargetTime, pixels: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """Merge the features of the dates of a target time, (date, F, h, w), into one map; the attention to each date."""
    days, seasons = (torch.tensor([v], dtype=torch.float64) for v in (target.days, target.seasons))
    frames = torch.from_numpy(pixels).to(network.device)[None]
    fused, _, attention = network.module.merge(features[None], days, seasons, frames, target.day, target.season)
    return fused, attention


def _used_dates(target: TargetTime, pixels: NDArray[np.bool_]) -> list[int]:
    """Dates of a target time whose features are used somewhere."""
    return [date for date, valid in zip(target.picks, pixels, strict=True) if valid.any()]
