"""Detail that a local linear relation of a coarse image to its guide predicts, as a guided filter finds it.

Around each pixel of a coarse grid the image is regressed on the guide as the coarse sensor would have observed it and
interpolation enlarged it; the slopes, applied to what the guide lost on that way, are the detail that the image lost
if the relation holds on finer scales too. No parameter is learnt: a network that is given the detail learns where to
trust it.

References
----------
K. He, J. Sun, X. Tang, "Guided image filtering", IEEE TPAMI 35 (2013), doi:10.1109/TPAMI.2012.213.
"""

import math

import torch
from torch import Tensor, nn

from xsr.models.architectures.srcnn import bicubic

BLUR = 0.494
"""Standard deviation of the blur of the coarse image in its pixels: an MTF of 0.3 at its Nyquist frequency."""
RIDGE = 0.02
"""Variance of the standardised guide that counts as noise."""


@torch.no_grad()
def local_detail(
    image: Tensor, guide: Tensor, scale: int, radius: int, spread: int = 1, *, ridge: float = RIDGE
) -> Tensor:
    """Detail for an image that was enlarged ``scale`` times.

    Parameters
    ----------
    image
        Enlarged image, (N, 1, H, W).
    guide
        Standardised guide, (N, G, H, W).
    scale
        Pixels along one of the coarse grid.
    radius
        Half-side of the windows in coarse pixels.
    spread
        Half-side, in coarse pixels, of the squares over which slopes are averaged.
    ridge
        Added to the variances of the guide.

    Returns
    -------
    Tensor
        (N, 1, H, W), to be added to the image; float32.
    """
    image, guide = image.float(), guide.float()
    height, width = image.shape[-2:]
    smooth = bicubic(observed(guide, scale), scale)[..., :height, :width]
    coarse = nn.functional.avg_pool2d(torch.cat((image, smooth), dim=1), scale, ceil_mode=True, count_include_pad=False)
    own, other = coarse[:, :1], coarse[:, 1:]
    mean, mean_other = box(own, radius), box(other, radius)
    products = (other[:, :, None] * other[:, None]).flatten(1, 2)
    both = (
        box(products, radius).unflatten(1, (guide.shape[1], guide.shape[1]))
        - mean_other[:, :, None] * mean_other[:, None]
    )
    cross = box(other * own, radius) - mean_other * mean
    matrix = both.permute(0, 3, 4, 1, 2) + ridge * torch.eye(guide.shape[1], device=guide.device)
    slopes = torch.linalg.solve(matrix, cross.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    fine = nn.functional.interpolate(box(slopes, spread), (height, width), mode="bilinear", align_corners=False)
    return (fine * (guide - smooth)).sum(1, keepdim=True)


def box(x: Tensor, radius: int) -> Tensor:
    """Mean over windows of ``2 * radius + 1`` pixels a side; beyond the border there is nothing."""
    return nn.functional.avg_pool2d(x, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)


def observed(x: Tensor, scale: int) -> Tensor:
    """Image (N, C, H, W) as a sensor ``scale`` times coarser observes it, borders repeated: (N, C, ceil, ceil)."""
    sigma = BLUR * scale
    reach = math.ceil(3 * sigma)
    steps = torch.arange(-reach, scale + reach, dtype=torch.float32, device=x.device) - (scale - 1) / 2
    taps = torch.exp(-0.5 * (steps / sigma) ** 2)
    taps = (taps / taps.sum()).expand(x.shape[1], 1, -1)
    below, right = (-size % scale for size in x.shape[-2:])
    padded = nn.functional.pad(x, (reach, reach + right, reach, reach + below), mode="replicate")
    rows = nn.functional.conv2d(padded, taps[..., None], stride=(scale, 1), groups=x.shape[1])
    return nn.functional.conv2d(rows, taps[:, :, None], stride=(1, scale), groups=x.shape[1])
