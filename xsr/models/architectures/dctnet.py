"""DCTNet: guided super-resolution by a closed-form solve in the domain of the discrete cosine transform.

Image and guide are encoded with partly shared kernels. Per channel the network then looks for the map whose values
are those of the image's features and whose Laplacian is that of the guide's, as far as an attention lets it through;
with reflecting borders that is a division in the cosine domain. A few convolutions turn the solution into the image.

The network works on the target grid: its input is the image already enlarged. The solve is global, so a tile never
gives exactly what the whole image gives; 64 pixels around a tile keep the difference near 1e-3 of the range.

The names of the parameters are those of the published weights. Not published is ``relations``: detail that local linear
relations of the image to the guide predict, which the network reads beside the guide and weighs, pixel by pixel. A
relation is a product of image and guide, which convolutions are slow to learn.

References
----------
Z. Zhao, J. Zhang, S. Xu, Z. Lin, H. Pfister, "Discrete Cosine Transform Network for Guided Depth Map
Super-Resolution", CVPR 2022, doi:10.1109/CVPR52688.2022.00561.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xsr.core.errors import ParameterError
from xsr.models.architectures.local_linear import local_detail
from xsr.models.architectures.srcnn import precise
from xsr.models.record import Architecture, GuidedInputs

MINIMUM_SIZE = 15
"""Smallest height and width: below, nothing is left of the attention's pooled map."""


DETAIL = 10.0
"""Factor by which predicted detail is enlarged where the encoder reads it: it is small against the image."""


class DCTNet(nn.Module):
    """Coupled encoders, cosine-domain solve and reconstruction.

    Parameters
    ----------
    guide_bands
        Bands of the guide. The image has one band.
    features
        Width of the network, a multiple of four.
    layers
        Coupled layers of the encoder.
    final_relu
        Whether negative outputs become zero, as in the published network.
    relations
        Arguments ``(radius, spread)`` of `xsr.models.architectures.local_linear.local_detail` for each local relation
        of image to guide whose detail the network weighs. None in the published network.
    """

    def __init__(
        self,
        *,
        guide_bands: int = 3,
        features: int = 64,
        layers: int = 4,
        final_relu: bool = True,
        relations: Sequence[tuple[int, int]] = (),
    ) -> None:
        super().__init__()
        if features % 4:
            raise ParameterError(f"features={features}; expected a multiple of 4.")
        self.lambd = nn.Parameter(torch.zeros(1, features, 1, 1))
        self.WPNet = EdgeAttention(features)
        self.relations = tuple(tuple(int(value) for value in relation) for relation in relations)
        self.Encoder_coupled = CoupledEncoder(guide_bands + len(self.relations), features, layers)
        self.Decoder_depth = Reconstruction(features, 1 + len(self.relations))
        self.final_relu = final_relu

    def forward(self, image: Tensor, guide: Tensor, scale: int | None = None) -> Tensor:
        """Super-resolve an enlarged image.

        Parameters
        ----------
        image
            Image enlarged to the target grid by a bicubic filter and scaled to 0-1, (N, 1, H, W).
        guide
            Guide on the same grid, standardised, (N, guide_bands, H, W).
        scale
            Pixels along one of the image before it was enlarged; only relations need it.

        Returns
        -------
        Tensor
            (N, 1, H, W), at least 0 with ``final_relu``.

        Raises
        ------
        ParameterError
            If the image is smaller than `MINIMUM_SIZE`, or there are relations and no scale.
        """
        if min(image.shape[-2:]) < MINIMUM_SIZE:
            height, width = image.shape[-2:]
            raise ParameterError(
                f"image of {height} x {width} pixels; expected at least {MINIMUM_SIZE} x {MINIMUM_SIZE}. "
                "Enlarge the tile or its margin."
            )
        exact = torch.autocast(image.device.type, enabled=False)  # convolutions alone may run in lower precision
        with exact:
            detail = self.details(image, guide, scale)
        own, other = self.Encoder_coupled(image, torch.cat((guide, DETAIL * detail), dim=1))
        weights = self.WPNet(other)
        with exact:
            own, other, weights = (precise(x) for x in (own, other, weights))
            solution = solve(own, weights * laplacian(other), self.lambd.exp())
        out = weighed(precise(self.reconstruct(solution)), detail)
        return torch.relu(out) if self.final_relu else out

    def details(self, image: Tensor, guide: Tensor, scale: int | None) -> Tensor:
        """Detail that each relation predicts, (N, relations, H, W)."""
        if not self.relations:
            return image[:, :0]
        if scale is None or scale < 2:
            raise ParameterError(f"scale={scale}; a network with relations expects the factor of its image, 2 or more.")
        return torch.cat([local_detail(image, guide, scale, *relation) for relation in self.relations], dim=1)

    def reconstruct(self, solution: Tensor) -> Tensor:
        """Map the solution (N, F, H, W) to the image and a weight for each relation, (N, 1 + relations, H, W)."""
        out: Tensor = self.Decoder_depth(solution)
        return out


def weighed(output: Tensor, detail: Tensor) -> Tensor:
    """Add detail (N, R, H, W), weighed, to an image: the first channel of (N, 1 + R, H, W), weights the others."""
    return output[:, :1] + (output[:, 1:] * detail).sum(1, keepdim=True)


def solve(image: Tensor, edges: Tensor, strength: Tensor) -> Tensor:
    """Minimise ``|z - image|^2 + strength * |L z - edges|^2`` per channel, in closed form.

    The operator on the left is the Laplacian of four neighbours with reflecting borders, whose eigenvalues are known;
    the one applied to ``edges`` is that of `laplacian`, with eight neighbours and another scale. Published weights
    were trained with this mismatch.

    Parameters
    ----------
    image, edges
        Feature maps, (N, F, H, W).
    strength
        Weight of the edges, positive, (1, F, 1, 1).

    Returns
    -------
    Tensor
        (N, F, H, W).
    """
    height, width = image.shape[-2:]
    vertical, horizontal = (_eigenvalues(size, image) for size in (height, width))
    kappa = vertical[:, None] + horizontal
    right = dct2(image + strength * laplacian(edges))
    return idct2(right / (1.0 + strength * kappa.square()))


def _eigenvalues(size: int, like: Tensor) -> Tensor:
    """Eigenvalues of the second difference with reflecting borders, in the order of the cosine transform."""
    steps = torch.arange(size, dtype=torch.float64, device=like.device)
    return (2.0 * torch.cos(math.pi * steps / size) - 2.0).to(like.dtype)


def laplacian(x: Tensor) -> Tensor:
    """Difference of the eight neighbours to the pixel, divided by 16; borders reflect without repeating the edge."""
    padded = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    return (9.0 * nn.functional.avg_pool2d(padded, 3, stride=1) - 9.0 * x) / 16.0


def dct2(x: Tensor) -> Tensor:
    """Unnormalised DCT-II over the last two axes; the inverse of `idct2`."""
    return _dct(_dct(x).mT).mT


def idct2(x: Tensor) -> Tensor:
    """Inverse of `dct2`."""
    return _idct(_idct(x).mT).mT


def _dct(x: Tensor) -> Tensor:
    """DCT-II over the last axis, ``2 sum_n x_n cos(pi k (2 n + 1) / 2 N)``, by one FFT of the same length."""
    # Even samples forwards, then odd samples backwards (Makhoul 1980, doi:10.1109/TASSP.1980.1163351).
    folded = torch.cat((x[..., ::2], x[..., 1::2].flip(-1)), dim=-1)
    out: Tensor = 2.0 * (torch.fft.fft(folded) * _quarter_wave(x).conj()).real
    return out


def _idct(x: Tensor) -> Tensor:
    """Inverse of `_dct`."""
    size = x.shape[-1]
    mirrored = nn.functional.pad(x[..., 1:].flip(-1), (1, 0))
    folded = torch.fft.ifft(0.5 * _quarter_wave(x) * torch.complex(x, -mirrored)).real
    half = (size + 1) // 2
    out = torch.empty_like(folded)
    out[..., ::2] = folded[..., :half]
    out[..., 1::2] = folded[..., half:].flip(-1)
    return out


def _quarter_wave(x: Tensor) -> Tensor:
    """``exp(i pi k / 2 N)`` along the last axis."""
    size = x.shape[-1]
    angle = math.pi * torch.arange(size, dtype=torch.float64, device=x.device) / (2 * size)
    return torch.polar(torch.ones_like(angle), angle).to(x.dtype.to_complex())


class EdgeAttention(nn.Module):
    """Weights between 0 and 1 of the guide's edges, from a pooled view of its features.

    ``conv_dilation`` is part of the published weights and never used.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        inner = features // 4
        self.conv1 = nn.Conv2d(features, inner, 1)
        self.conv_f = nn.Conv2d(inner, inner, 1)
        self.conv_max = nn.Conv2d(inner, inner, 3, padding=1)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=2)
        self.conv3 = nn.Conv2d(inner, inner, 3, padding=1)
        self.conv3_ = nn.Conv2d(inner, inner, 3, padding=1)
        self.conv4 = nn.Conv2d(inner, features, 1)
        self.conv_dilation = nn.Conv2d(inner, inner, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, F, H, W) to the same shape."""
        small = self.conv1(x)
        pooled = nn.functional.max_pool2d(self.conv2(small), 7, stride=3)
        pooled = torch.relu(self.conv3(torch.relu(self.conv_max(pooled))))
        wide = nn.functional.interpolate(self.conv3_(pooled), x.shape[-2:], mode="bilinear", align_corners=False)
        return torch.sigmoid(self.conv4(wide + self.conv_f(small)))


class CoupledEncoder(nn.Module):
    """A first convolution per branch and coupled layers."""

    def __init__(self, guide_bands: int, features: int, layers: int) -> None:
        super().__init__()
        self.init_deep = nn.Sequential(nn.Conv2d(1, features, 3, padding=1), nn.ReLU())
        self.init_rgb = nn.Sequential(nn.Conv2d(guide_bands, features, 3, padding=1), nn.ReLU())
        self.coupled_feat_extractor = nn.ModuleList(CoupledLayer(features) for _ in range(layers))

    def forward(self, image: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, 1, H, W) and (N, G, H, W) to features of both, (N, F, H, W) each."""
        own, other = self.init_deep(image), self.init_rgb(guide)
        for layer in self.coupled_feat_extractor:
            own, other = layer(own, other)
        return own, other


class CoupledLayer(nn.Module):
    """A residual block per branch; half of the kernels are common to both branches."""

    def __init__(self, features: int) -> None:
        super().__init__()
        for which in ("shared", "depth", "rgb"):
            for step in (1, 2):
                kernel = nn.Parameter(torch.empty(features // 2, features, 3, 3))
                nn.init.kaiming_uniform_(kernel, nonlinearity="relu")
                self.register_parameter(f"kernel_{which}_{step}", kernel)
                self.register_parameter(f"bias_{which}_{step}", nn.Parameter(torch.zeros(features // 2)))

    def forward(self, image: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Map the features of both branches to the same shapes."""
        return self._branch(image, "depth"), self._branch(guide, "rgb")

    def _branch(self, x: Tensor, which: str) -> Tensor:
        inner = torch.relu(self._convolve(x, which, 1))
        return torch.relu(self._convolve(inner, which, 2) + x)

    def _convolve(self, x: Tensor, which: str, step: int) -> Tensor:
        kernel, bias = (
            torch.cat([self.get_parameter(f"{kind}_{name}_{step}") for name in ("shared", which)])
            for kind in ("kernel", "bias")
        )
        return nn.functional.conv2d(x, kernel, bias, padding=1)


class Reconstruction(nn.Module):
    """Three convolutions from the solution to the image."""

    def __init__(self, features: int, outputs: int = 1) -> None:
        super().__init__()
        self.Decoder_Deep = nn.Sequential(
            nn.Conv2d(features, features // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features // 2, features // 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features // 4, outputs, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, F, H, W) to (N, outputs, H, W)."""
        out: Tensor = self.Decoder_Deep(x)
        return out


EDGES = -4.0
"""Logarithm of the weight of the edges in the solve at first: with that of the published network, 0, the solve takes
the fine features of the image away, and training is slow to find out."""


def begin(network: DCTNet) -> None:
    """Let training start at the mean of the details that a network weighs."""
    nn.init.constant_(network.lambd, EDGES)
    if network.relations:
        end = ARCHITECTURES[0].last(network)
        assert isinstance(end.bias, Tensor)
        nn.init.constant_(end.bias[1:], 1 / len(network.relations))


def call(network: nn.Module, inputs: GuidedInputs) -> Tensor:
    """Evaluate on the enlarged image and its guide."""
    out: Tensor = network(inputs.image, inputs.guide, inputs.scale)
    return out


def clips(config: Mapping[str, Any]) -> bool:
    """Whether negative outputs become zero."""
    return bool(config.get("final_relu", True))


CITATION = "Z. Zhao et al., CVPR 2022, doi:10.1109/CVPR52688.2022.00561"
ARCHITECTURES = (
    Architecture(
        name="dctnet",
        kind="guided",
        build=DCTNet,
        tiling="lattice",
        head="Decoder_depth",
        call=call,
        clips=clips,
        begin=begin,
        summary="Discrete cosine transform network",
        citation=CITATION,
    ),
)
