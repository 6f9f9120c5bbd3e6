"""Inference on arrays: batches of images, slices of queries, bounded memory."""

import numpy as np
import torch
from numpy.typing import NDArray

from xsr.models.architectures.liif import LIIF
from xsr.models.registry import ModelSpec, load

PIXELS = {"cpu": 1 << 14, "cuda": 1 << 20}
"""Input pixels encoded at once; smaller images are batched. On a CPU larger batches only touch more memory."""
QUERIES = {"cpu": 1 << 12, "cuda": 1 << 18}
"""Queries decoded at once. On a CPU the hidden layers of a slice (2 MB) stay in cache, which is four times faster than
slices of 65536."""


def predict_liif(
    spec: ModelSpec,
    images: NDArray[np.float32],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    cell: tuple[float, float],
    device: str,
) -> NDArray[np.float32]:
    """Evaluate a LIIF network in float32.

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

    Returns
    -------
    ndarray
        Shape (n, output, H, W), standardised.
    """
    network = load(spec, device)
    assert isinstance(network, LIIF)
    if rows.ndim == 1:
        rows, cols = (np.ascontiguousarray(v) for v in np.broadcast_arrays(rows[:, None], cols))
    y = torch.from_numpy(rows.ravel()).to(device)
    x = torch.from_numpy(cols.ravel()).to(device)
    kind = "cpu" if torch.device(device).type == "cpu" else "cuda"
    batch = max(1, PIXELS[kind] // (images.shape[2] * images.shape[3]))
    results = []
    with torch.inference_mode():
        for first in range(0, len(images), batch):
            part = torch.from_numpy(images[first : first + batch]).to(device)
            code = network.encode(part)
            step = max(1, QUERIES[kind] // len(part))
            slices = [
                network.decode(code, y[q : q + step], x[q : q + step], cell).permute(0, 2, 1).cpu()
                for q in range(0, y.numel(), step)
            ]
            results.append(torch.cat(slices, dim=2).numpy())
    out = np.concatenate(results)
    return out.reshape(*out.shape[:2], *rows.shape)
