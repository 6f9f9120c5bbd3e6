"""A fixed-scale network that reads, and may carry over, what sharper bands predict of the others.

Some bands of a sensor resolve finer detail than the others: the four 10 m bands of Sentinel-2 beside the six of 20 m,
which interpolation brought on the grid of 10 m. How the bands go together differs from place to place: around each
pixel every coarse band is regressed on the sharp bands, blurred as the coarse ones are (`regressed`). The slopes
applied to what the blur took away are the detail that the coarse band should have, where the relation holds on finer
scales too (`Injection`). The network reads that detail as further input bands. Its output of the sharp bands, times the
slopes, is what their own super-resolution says of the coarse ones; how much of both is taken over, the network says for
each pixel by further output bands. They start at zero, so that an untrained network adds nothing.

Slopes are found without parameters, in single precision, and depend on the pixels around alone. In inference on a CPU
`xsr.kernels.local_detail` finds and applies them, in a fifth of the time.

References
----------
B. Aiazzi, L. Alparone, S. Baronti, A. Garzelli, M. Selva, "MTF-tailored multiscale fusion of high-resolution MS and Pan
imagery", Photogrammetric Engineering & Remote Sensing 72 (2006), doi:10.14358/PERS.72.5.591 (local injection gains).
M. Selva, B. Aiazzi, F. Butera, L. Chiarantini, S. Baronti, "Hyper-sharpening: a first approach on SIM-GA data", IEEE
JSTARS 8 (2015), doi:10.1109/JSTARS.2015.2440092.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xsr.core.errors import ParameterError
from xsr.kernels.local_detail import WINDOW, carried_over, slopes_and_detail
from xsr.models.architectures import carn
from xsr.models.architectures.carn import CARN
from xsr.models.architectures.srcnn import bicubic, precise, taps
from xsr.models.record import Architecture

BLUR = 0.97
"""Standard deviation, in pixels of the grid, of the blur that makes a sharp band look like one of twice its pixel."""
BLUR_REACH = 3
"""Pixels at which that blur is cut off."""
RIDGE = 0.002
"""Variance of the standardised sharp bands that counts as noise."""


class Injection(nn.Module):
    """CARN with the detail that sharper bands predict, by local regression, for the others.

    Parameters
    ----------
    bands
        Input and output bands.
    guides
        How many of them, the first ones, are sharper than the rest.
    factor
        Output pixels per input pixel along each axis.
    config
        Further settings of `xsr.models.architectures.carn.CARN`.

    Raises
    ------
    ParameterError
        If no band is a guide, or all are.
    """

    def __init__(self, *, bands: int = 10, guides: int = 4, factor: int = 2, **config: Any) -> None:
        super().__init__()
        if not 0 < guides < bands:
            raise ParameterError(f"guides={guides} of bands={bands}; expected at least one, and one band less at most.")
        self.bands, self.guides, self.factor = bands, guides, factor
        self.body = CARN(bands=2 * bands - guides, factor=factor, **config)
        self.reach = self.body.radius
        self.radius = self.reach + BLUR_REACH + 2 * WINDOW
        with torch.no_grad():
            self.body.input_conv.weight[:, bands:] = 0.0
            last = self.body.output_conv2
            last.weight[bands:] = 0.0
            if last.bias is not None:
                last.bias[bands:] = 0.0

    def forward(self, x: Tensor, margin: int = 0) -> Tensor:
        """Map standardised (N, bands, H, W) to (N, bands, H * factor, W * factor); a band that is missing is zero.

        What ``margin`` pixels along each side become is left out; that needs a body that takes a margin as well, as
        `xsr.models.engine.Bands` does.
        """
        x = precise(x)
        sharp, coarse = x[:, : self.guides], x[:, self.guides :]
        smooth = blur(sharp)
        by_kernels = torch.is_inference_mode_enabled() and x.is_cpu and x.dtype == torch.float32
        slopes, detail = (_regressed_by_kernels if by_kernels else regressed)(coarse, smooth, sharp - smooth)
        inputs = torch.cat((x, detail), dim=1)
        if margin:
            unread = max(margin - self.reach, 0)
            output = precise(self.body(crop(inputs, unread), margin - unread))
        else:
            output = precise(self.body(inputs))
        return (_carried_by_kernels if by_kernels else carried)(output, detail, slopes, self.factor, margin)


def crop(x: Tensor, margin: int) -> Tensor:
    """Cut off so many pixels along each side."""
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]


def regressed(images: Tensor, guide: Tensor, lost: Tensor) -> tuple[Tensor, Tensor]:
    """Regress images on the bands of a guide around each pixel, and apply the slopes to what the guide has lost.

    Parameters
    ----------
    images
        (N, C, H, W).
    guide
        Standardised, (N, G, H, W).
    lost
        Likewise.

    Returns
    -------
    slopes : Tensor
        (N, C, G, H, W). A guide that is constant in a window has slope zero.
    detail : Tensor
        (N, C, H, W).
    """
    bands, means = guide.split(1, dim=1), box(guide).split(1, dim=1)
    size = len(bands)
    factors, inverse = _cholesky(
        {
            (i, j): box(bands[i] * bands[j]) - means[i] * means[j] + (RIDGE if i == j else 0.0)
            for i in range(size)
            for j in range(i + 1)
        },
        size,
    )
    slopes = []
    for image, mean in zip(images.split(1, dim=1), box(images).split(1, dim=1), strict=True):
        right = [box(band * image) - middle * mean for band, middle in zip(bands, means, strict=True)]
        slopes.append(box(torch.cat(_solve(factors, inverse, right), dim=1)))
    detail = torch.cat([(slope * lost).sum(1, keepdim=True) for slope in slopes], dim=1)
    return torch.stack(slopes, dim=1), detail


def _regressed_by_kernels(images: Tensor, guide: Tensor, lost: Tensor) -> tuple[Tensor, Tensor]:
    """Regress as `regressed` does, an image at a time."""
    arrays = zip(images.numpy(), guide.numpy(), lost.numpy(), strict=True)
    slopes, detail = zip(*(slopes_and_detail(own, other, gone, RIDGE) for own, other, gone in arrays), strict=True)
    return _together(slopes), _together(detail)


def carried(output: Tensor, detail: Tensor, slopes: Tensor, factor: int, margin: int = 0) -> Tensor:
    """Add to the coarse bands of an output what its sharp ones say of them, as far as the output trusts it.

    Parameters
    ----------
    output
        (N, B + C, (H - 2 * margin) * factor, (W - 2 * margin) * factor): B bands, the C last of them coarse, and the
        trust.
    detail
        Of the coarse bands, (N, C, H, W); it is enlarged.
    slopes
        (N, C, G, H, W).
    factor
        Output pixels per input pixel along each axis.
    margin
        Pixels along each side of the detail and the slopes that the output leaves out.

    Returns
    -------
    Tensor
        (N, B, (H - 2 * margin) * factor, (W - 2 * margin) * factor).
    """
    coarse, guides = slopes.shape[1:3]
    slopes = crop(slopes, margin)
    enlarged = crop(bicubic(detail, factor), margin * factor)
    own, trust = output[:, :-coarse], output[:, -coarse:]
    # (N, guides, H, factor, W, factor): the output pixels inside each input pixel.
    cells = own[:, :guides].unflatten(3, (-1, factor)).unflatten(2, (-1, factor))
    out = list(own.unbind(1))
    for band in range(coarse):
        finer_detail = (slopes[:, band, :, :, None, :, None] * cells).sum(1).flatten(3, 4).flatten(1, 2)
        out[guides + band] = out[guides + band] + trust[:, band] * (enlarged[:, band] + finer_detail)
    return torch.stack(out, dim=1)


def _carried_by_kernels(output: Tensor, detail: Tensor, slopes: Tensor, factor: int, margin: int) -> Tensor:
    """Carry over as `carried` does, an image at a time."""
    phases = [taps(phase, factor, 1) for phase in range(factor)]
    images = zip(output.movedim(1, -1).numpy(), detail.numpy(), slopes.numpy(), strict=True)
    return _together([carried_over(made, lost, slope, phases, margin) for made, lost, slope in images])


def _together(images: Sequence[NDArray[np.float32]]) -> Tensor:
    """Stack images; a single one is not copied."""
    return torch.from_numpy(images[0][None] if len(images) == 1 else np.stack(images))


def _cholesky(matrix: dict[tuple[int, int], Tensor], size: int) -> tuple[dict[tuple[int, int], Tensor], list[Tensor]]:
    """Lower factor of a positive definite matrix in each pixel, and one over its diagonal."""
    factors: dict[tuple[int, int], Tensor] = {}
    inverse: list[Tensor] = []
    for i in range(size):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest = rest - factors[i, k] * factors[j, k]
            if i == j:
                inverse.append(rest.clamp(min=RIDGE / 2).rsqrt())
            else:
                factors[i, j] = rest * inverse[j]
    return factors, inverse


def _solve(factors: dict[tuple[int, int], Tensor], inverse: list[Tensor], right: list[Tensor]) -> list[Tensor]:
    """Solve the equations of each pixel, forwards and then backwards."""
    size = len(right)
    out = list(right)
    for i in range(size):
        for k in range(i):
            out[i] = out[i] - factors[i, k] * out[k]
        out[i] = out[i] * inverse[i]
    for i in reversed(range(size)):
        for k in range(i + 1, size):
            out[i] = out[i] - factors[k, i] * out[k]
        out[i] = out[i] * inverse[i]
    return out


def box(x: Tensor) -> Tensor:
    """Mean over windows of ``2 * WINDOW + 1`` pixels a side; beyond the border there is nothing."""
    return _box_rows(_box_rows(x).mT).mT


def _box_rows(x: Tensor) -> Tensor:
    return _sum_rows(x) / _sum_rows(torch.ones_like(x[..., :1]))


def _sum_rows(x: Tensor) -> Tensor:
    return _weigh_rows(nn.functional.pad(x, (0, 0, WINDOW, WINDOW)), [1.0] * (2 * WINDOW + 1))


def blur(x: Tensor) -> Tensor:
    """Image (N, C, H, W) as sharp as one of twice its pixel is after interpolation; borders are repeated."""
    return _blur_rows(_blur_rows(x).mT).mT


def _blur_rows(x: Tensor) -> Tensor:
    weights = [math.exp(-0.5 * (step / BLUR) ** 2) for step in range(-BLUR_REACH, BLUR_REACH + 1)]
    padded = nn.functional.pad(x, (0, 0, BLUR_REACH, BLUR_REACH), mode="replicate")
    return _weigh_rows(padded, [weight / sum(weights) for weight in weights])


def _weigh_rows(padded: Tensor, weights: list[float]) -> Tensor:
    """Weighted sum of rows that follow each other; of ``padded`` so many fewer remain."""
    rows = padded.shape[-2] - len(weights) + 1
    total = weights[0] * padded[..., :rows, :]
    for step, weight in enumerate(weights[1:], start=1):
        total = torch.add(total, padded[..., step : step + rows, :], alpha=weight)
    return total


ARCHITECTURES = (
    Architecture(
        name="injection",
        kind="fixed",
        build=Injection,
        pattern=f"{carn.PATTERN}_injection",
        settings=carn.settings,
        listed=("carn_3x3x64g4sw_injection",),
        trunk="body",
        summary="Cascading residual network that reads what sharper bands predict of the others",
        citation=f"{carn.CITATION}; detail injection after M. Selva et al., IEEE JSTARS 8 (2015),"
        " doi:10.1109/JSTARS.2015.2440092",
    ),
)
