"""SRCNN, the three-layer baseline, and the bicubic interpolation that networks add their output to.

SRCNN sharpens an image that bicubic interpolation has already brought to the output size: 9x9, 1x1 and 5x5
convolutions of widths 64 and 32, with ReLU between them. Borders repeat the outermost pixel.

References
----------
C. Dong et al., "Image Super-Resolution Using Deep Convolutional Networks", IEEE TPAMI 38 (2016),
doi:10.1109/TPAMI.2015.2439281.
R. G. Keys, "Cubic Convolution Interpolation for Digital Image Processing", IEEE TASSP 29 (1981),
doi:10.1109/TASSP.1981.1163711.
"""

import torch
from torch import Tensor, nn

from xsr.core.errors import ParameterError
from xsr.core.keys import keys
from xsr.models.record import Architecture

SHARPNESS = -0.75
"""Free parameter of the cubic kernel, as in ``torch.nn.functional.interpolate``; -0.5 alone would keep ramps."""

HALO = 6
"""Output pixels that the 9x9 and 5x5 convolutions of SRCNN reach."""


def bicubic(x: Tensor, up: int, down: int = 1) -> Tensor:
    """Resample by ``up / down`` with cubic convolution, pixels being areas; no smoothing when shrinking.

    Equal to ``torch.nn.functional.interpolate`` (``mode="bicubic"``, ``align_corners=False``), whose positions are
    rounded further the further they are from the corner, except where both are powers of two. Here the weights
    come from the phase of an output pixel alone, so that a tile has the same values as the whole image.

    Parameters
    ----------
    x
        Image (N, C, H, W); H and W are multiples of ``down``.
    up, down
        Output pixels for so many input pixels.

    Returns
    -------
    Tensor
        (N, C, H * up / down, W * up / down), in single precision or better.

    Examples
    --------
    >>> bicubic(torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]]), 2)[0, 0, 0, 3:5].tolist()
    [2.296875, 2.703125]
    """
    return _resample_rows(_resample_rows(precise(x), up, down).mT, up, down).mT


def precise(x: Tensor) -> Tensor:
    """Bring numbers to single precision or better."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _resample_rows(x: Tensor, up: int, down: int) -> Tensor:
    n, channels, height, width = x.shape
    phases = [taps(phase, up, down) for phase in range(up)]
    before = max(0, -min(first for first, _ in phases))
    after = max(0, max(first for first, _ in phases) + 4 - down)
    padded = nn.functional.pad(x, (0, 0, before, after), mode="replicate")
    made = [_weigh(padded[:, :, before + first :], weights, down, height // down) for first, weights in phases]
    return torch.stack(made, dim=3).reshape(n, channels, -1, width)


def _weigh(x: Tensor, weights: tuple[float, ...], step: int, rows: int) -> Tensor:
    """Weighted sum of the rows that follow each ``step``-th row."""
    total = weights[0] * x[:, :, ::step][:, :, :rows]
    for k, weight in enumerate(weights[1:], start=1):
        if weight != 0:
            total = total + weight * x[:, :, k::step][:, :, :rows]
    return total


def taps(phase: int, up: int, down: int) -> tuple[int, tuple[float, ...]]:
    """First of the four input pixels of an output pixel, and their weights."""
    # Centre of the output pixel in input pixels: (phase + 1/2) down / up - 1/2, over the denominator 2 up.
    below, rest = divmod((2 * phase + 1) * down - up, 2 * up)
    t = rest / (2 * up)
    return below - 1, tuple(keys(distance, SHARPNESS) for distance in (1 + t, t, 1 - t, 2 - t))


def _furthest(position: int, factor: int) -> int:
    """Last input pixel that an output pixel depends on when interpolated."""
    pixel, phase = divmod(position, factor)
    first, weights = taps(phase, factor, 1)
    return pixel + first + max(k for k, weight in enumerate(weights) if weight != 0)


def at_least_one(**values: int) -> None:
    """Refuse counts and sizes below one.

    Raises
    ------
    ParameterError
        If one of ``values`` is below 1.
    """
    for name, value in values.items():
        if value < 1:
            raise ParameterError(f"{name}={value}; expected at least 1.")


def output_bands(bands: int, outputs: int | None, *, residual: bool) -> int:
    """Bands a network returns: those it reads by default.

    Raises
    ------
    ParameterError
        If ``residual`` is set and the numbers of bands differ.
    """
    outputs = bands if outputs is None else outputs
    at_least_one(bands=bands, outputs=outputs)
    if residual and outputs != bands:
        raise ParameterError(
            f"residual=True with bands={bands} and outputs={outputs}; expected equal numbers, because the interpolated"
            " input is added to the output. Choose residual=False."
        )
    return outputs


class SRCNN(nn.Module):
    """Bicubic interpolation followed by three convolutions.

    Parameters
    ----------
    bands
        Input bands.
    outputs
        Output bands; as many as ``bands`` by default.
    factor
        Output pixels per input pixel along each axis.
    residual
        Let the convolutions make a correction to the interpolated image.

    Raises
    ------
    ParameterError
        If a size is below 1, or ``residual`` is set with other output than input bands.
    """

    def __init__(self, *, bands: int = 10, outputs: int | None = None, factor: int = 2, residual: bool = False) -> None:
        super().__init__()
        at_least_one(factor=factor)
        outputs = output_bands(bands, outputs, residual=residual)
        self.factor = factor
        self.residual = residual
        self.conv1 = nn.Conv2d(bands, 64, 9, padding=4, padding_mode="replicate")
        self.conv2 = nn.Conv2d(64, 32, 1)
        self.conv3 = nn.Conv2d(32, outputs, 5, padding=2, padding_mode="replicate")
        self.radius = max(_furthest(position, factor) for position in range(factor + HALO))
        """Input pixels around a block that its output depends on: the convolutions' six output pixels, interpolated."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, bands, H, W) to (N, outputs, H * factor, W * factor)."""
        x = bicubic(x, self.factor)
        out: Tensor = self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x)))))
        return x + out if self.residual else out


ARCHITECTURES = (
    Architecture(
        name="srcnn",
        kind="fixed",
        build=SRCNN,
        trunk="",
        summary="Three convolutions on the bicubic image",
        citation="C. Dong et al., IEEE TPAMI 38 (2016), doi:10.1109/TPAMI.2015.2439281",
    ),
)
