"""Inference on arrays: batches of images, slices of queries, bounded memory."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from xsr.core.instants import Look
from xsr.models.architectures.dctnet import DCTNet
from xsr.models.architectures.injection import Injection
from xsr.models.architectures.jiif import JIIF
from xsr.models.architectures.liif import LIIF
from xsr.models.architectures.temporal_liif import TemporalLIIF
from xsr.models.engine import Bands, without_margin
from xsr.models.engine import network as prepared
from xsr.models.precision import Exact
from xsr.models.registry import ModelSpec, load

PIXELS = {"cpu": 1 << 14, "cuda": 1 << 20}
"""Input pixels encoded at once; smaller images are batched. On a CPU larger batches only touch more memory."""
QUERIES = {"cpu": 1 << 12, "cuda": 1 << 18}
"""Queries decoded at once. On a CPU the hidden layers of a slice (2 MB) stay in cache, which is four times faster than
slices of 65536."""
OUT_OF_MEMORY = ("not enough memory", "Failed to allocate memory")
"""What PyTorch and onnxruntime say when a CPU has no memory left."""
_fits: dict[str, int] = {}
"""Input pixels found to fit at once, by device, where `PIXELS` did not."""


def predict_fixed(
    spec: ModelSpec, images: NDArray[np.float32], device: str, precision: Exact = "float32", margin: int = 0
) -> NDArray[np.float32]:
    """Evaluate a fixed-factor network.

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
        Pixels along each side that are there to be seen, not to be answered.

    Returns
    -------
    ndarray
        Shape (n, output, (h - 2 * margin) * factor, (w - 2 * margin) * factor).

    Raises
    ------
    MemoryError
        If not even one image fits.
    """
    network = prepared(spec, precision, device)

    def evaluate(part: slice) -> NDArray[np.float32]:
        image = _tensor(images[part], device)
        if isinstance(network, Bands | Injection):
            return np.asarray(network(image, margin).cpu().numpy())
        return np.asarray(without_margin(network(image), image, margin).cpu().numpy())

    with torch.inference_mode():
        return np.concatenate(list(_batches(evaluate, images, device)))


def _tensor(values: NDArray[np.float32], device: str) -> torch.Tensor:
    """Bring an array to a device; from pinned memory to a GPU, which need not wait for it."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else tensor.to(device)


def _batches(
    evaluate: Callable[[slice], NDArray[np.float32]], images: NDArray[np.float32], device: str
) -> Iterator[NDArray[np.float32]]:
    """Evaluate images in batches; one that does not fit into memory is halved, and the size remembered."""
    first, size = 0, _batch(device, images)
    while first < len(images):
        try:
            made = evaluate(slice(first, first + size))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise _too_large(images, error) from error
            size //= 2
            _fits[device] = size * images.shape[2] * images.shape[3]
            continue
        yield made
        first += size


@contextmanager
def _memory_errors(images: NDArray[np.float32]) -> Iterator[None]:
    """Turn what PyTorch says when memory is used up into a MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise _too_large(images, error) from error


def _too_large(images: NDArray[np.float32], error: RuntimeError) -> MemoryError:
    return MemoryError(f"an image of {images.shape[2]} x {images.shape[3]} pixels does not fit into memory: {error}")


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of PyTorch or onnxruntime says that memory is used up."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)


def _batch(device: str, images: NDArray[np.float32]) -> int:
    """Count the images that are evaluated at once."""
    pixels = min(PIXELS[torch.device(device).type], _fits.get(device, sys.maxsize))
    height, width = images.shape[2:]
    return min(len(images), max(1, pixels // int(height * width)))


def predict_liif(
    spec: ModelSpec,
    images: NDArray[np.float32],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    cell: tuple[float, float],
    device: str,
    precision: Exact = "float32",
) -> NDArray[np.float32]:
    """Evaluate a LIIF network.

    Parameters
    ----------
    spec
        Identity of the weights.
    images
        Standardised images, shape (n, channel, h, w), finite.
    rows, cols
        Query positions in pixels, (H,) and (W,) for a grid or both (H, W).
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

    Raises
    ------
    MemoryError
        If not even one image fits.
    """
    network = prepared(spec, precision, device)
    assert isinstance(network, LIIF)
    if rows.ndim == 1:
        rows, cols = (np.ascontiguousarray(v) for v in np.broadcast_arrays(rows[:, None], cols))
    y, x = (torch.from_numpy(v.ravel()).to(device) for v in (rows, cols))

    def evaluate(part: slice) -> NDArray[np.float32]:
        code = network.encode(_tensor(images[part], device))
        step = max(1, QUERIES[torch.device(device).type] // len(code))
        slices = [
            network.decode(code, y[q : q + step], x[q : q + step], cell).permute(0, 2, 1).cpu()
            for q in range(0, y.numel(), step)
        ]
        return torch.cat(slices, dim=2).numpy()

    with torch.inference_mode():
        out = np.concatenate(list(_batches(evaluate, images, device)))
    return out.reshape(*out.shape[:2], *rows.shape)


def predict_temporal(
    spec: ModelSpec,
    images: NDArray[np.float32],
    looks: Sequence[Look],
    used: Sequence[NDArray[np.bool_]],
    series: Iterable[NDArray[np.float32]],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    cell: tuple[float, float],
    device: str,
    precision: Exact = "float32",
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Evaluate a temporal LIIF at instants; every date that answers is encoded once.

    Parameters
    ----------
    spec
        Identity of the weights.
    images
        Standardised dates that the network sees, shape (date, channel, h, w), finite.
    looks
        Instants, and the dates that may answer each.
    used
        For each instant, the pixels whose features answer, shape (its dates, h, w).
    series
        For each instant, versions of the standardised dates whose mean is the composite, shape (version, its dates,
        channel, h, w); NaN where they are not known. Taken one by one.
    rows, cols, cell
        As in `predict_liif`.
    device
        Torch device.
    precision
        Of encoder and decoder, but for their first and last layers; the dates are fused in float32.

    Returns
    -------
    composite : ndarray
        Mean over the dates of each version, shape (version, instant, channel, h, w), to be interpolated; zero where
        no date is known.
    answer : ndarray
        What to add to it, shape (instant, output, H, W).

    Raises
    ------
    MemoryError
        If the dates do not fit.
    """
    network = prepared(spec, precision, device)
    assert isinstance(network, TemporalLIIF)
    if rows.ndim == 1:
        rows, cols = (np.ascontiguousarray(v) for v in np.broadcast_arrays(rows[:, None], cols))
    y, x = (torch.from_numpy(v.ravel()).to(device) for v in (rows, cols))
    batch = _batch(device, images)
    step = QUERIES[torch.device(device).type]
    composites, answers = [], []
    with torch.inference_mode(), _memory_errors(images):
        dates = _tensor(images, device)
        features: torch.Tensor | None = None
        asked = _answering(looks, used)
        for part in (asked[i : i + batch] for i in range(0, len(asked), batch)):
            made = network.encode(dates[part])
            features = made.new_zeros((len(dates), *made.shape[1:])) if features is None else features
            features[part] = made
        assert features is not None
        for look, pixels, averaged in zip(looks, used, series, strict=True):
            picks, known = list(look.picks), _tensor(averaged, device)
            days, seasons = (torch.tensor([v], dtype=torch.float64) for v in (look.days, look.seasons))
            frames = torch.from_numpy(pixels).to(device)[None]
            fused, _, attention = network.merge(features[picks][None], days, seasons, frames, look.day, look.season)
            composite = network.compose(known, known.isfinite(), days, look.day, fused, attention)
            code = network.imnet.fold(fused)
            parts = [network.decode(code, y[q : q + step], x[q : q + step], cell)[0] for q in range(0, len(y), step)]
            composites.append(composite.cpu().numpy())
            answers.append(torch.cat(parts).T.reshape(-1, *rows.shape).cpu().numpy())
    return np.stack(composites, axis=1), np.stack(answers)


def _answering(looks: Sequence[Look], used: Sequence[NDArray[np.bool_]]) -> list[int]:
    """Dates whose features answer somewhere, at least one; those of the others need not be known."""
    pairs = zip(looks, used, strict=True)
    answering = {date for look, pixels in pairs for date, seen in zip(look.picks, pixels, strict=True) if seen.any()}
    return sorted(answering) or [looks[0].picks[0]]


def predict_guided(
    spec: ModelSpec,
    image: NDArray[np.float32],
    guide: NDArray[np.float32],
    device: str,
    *,
    low: NDArray[np.float32] | None = None,
    scale: int | None = None,
) -> NDArray[np.float32]:
    """Evaluate a network for one band in float32: a guided one, or one of a fixed factor that needs no guide.

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
        The image before it was enlarged, shape (n, 1, h, w), for a network that reads it: JIIF, or one of a factor
        above one. The guide of a JIIF is reduced to its grid by block means.
    scale
        Output pixels along one of the image before it was enlarged, for a network that asks for it.

    Returns
    -------
    ndarray
        Shape (n, 1, H, W): what the card says, the image or what to add to it.

    Raises
    ------
    MemoryError
        If not even one image fits.
    """
    network = load(spec, device=device)

    def evaluate(part: slice) -> NDArray[np.float32]:
        own, other = (_tensor(v[part], device) for v in (image, guide))
        small = own if low is None else _tensor(low[part], device)
        if isinstance(network, JIIF):
            reduced = torch.nn.functional.interpolate(other, size=small.shape[-2:], mode="area")
            answer = network(small, other, reduced)
        elif isinstance(network, DCTNet):
            answer = network(own, other, scale)
        else:
            answer = network(small)
        return np.asarray(answer.cpu().numpy())

    with torch.inference_mode():
        return np.concatenate(list(_batches(evaluate, image, device)))
