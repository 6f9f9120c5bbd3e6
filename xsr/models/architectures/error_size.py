"""A network that says how large the error of a result is likely to be, pixel by pixel.

It reads `xsr.kernels.spread.features` of one band at a time, alike for all, and which band that is. Its output is the
logarithm of the mean absolute error, in units of the band's standard deviation: the scale of a Laplace distribution,
whose negative log-likelihood is the loss.

References
----------
A. Kendall, Y. Gal, "What Uncertainties Do We Need in Bayesian Deep Learning for Computer Vision?", NeurIPS 2017,
arXiv:1703.04977 (Laplace likelihood with a learnt scale).
"""

import torch
from torch import Tensor, nn

from xsr.models.architectures.srcnn import at_least_one, precise
from xsr.models.record import Architecture


class Spread(nn.Module):
    """Three layers on each pixel of each band.

    Parameters
    ----------
    channels
        Features of all bands, one band after the other.
    bands
        Bands whose errors are known.
    width
        Width of the two hidden layers.

    Raises
    ------
    ParameterError
        If a size is below 1.
    """

    factor = 1
    radius = 0
    mean: Tensor
    std: Tensor

    def __init__(self, *, channels: int = 140, bands: int = 10, width: int = 16) -> None:
        super().__init__()
        at_least_one(bands=bands, width=width, channels=channels)
        self.features = channels // bands
        self.register_buffer("mean", torch.zeros(self.features))
        self.register_buffer("std", torch.ones(self.features))
        self.band = nn.Parameter(torch.zeros(bands, width))
        self.first = nn.Linear(self.features, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, channels, H, W) to logarithms of errors (N, bands, H, W)."""
        images = precise(x).flatten(2).unflatten(1, (-1, self.features))
        # The features come first: one product of matrices a layer and band, with their standardisation in its weights.
        weight = self.first.weight / self.std
        bias = self.first.bias - weight @ self.mean + self.band
        parts = []
        for band in range(images.shape[1]):
            hidden = torch.relu(weight @ images[:, band] + bias[band, :, None])
            hidden = torch.relu(self.second.weight @ hidden + self.second.bias[:, None])
            parts.append(self.last.weight @ hidden + self.last.bias[:, None])
        out: Tensor = torch.cat(parts, dim=1).unflatten(2, x.shape[2:])
        return out

    def of(self, pixels: Tensor, band: Tensor) -> Tensor:
        """Map features (..., feature) of pixels to logarithms of errors (...), with what is known of their band."""
        hidden = torch.relu(self.first((pixels - self.mean) / self.std) + band)
        out: Tensor = self.last(torch.relu(self.second(hidden)))[..., 0]
        return out


ARCHITECTURES = (
    Architecture(
        name="error_size",
        kind="fixed",
        build=Spread,
        summary="Likely size of the error of a result, from the detail around each pixel",
        citation="A. Kendall, Y. Gal, NeurIPS 2017, arXiv:1703.04977",
    ),
)
