"""Discriminators: a U-Net that judges every pixel, and a small convolutional net that judges a patch.

Both may look through a high-pass filter, so that they judge detail and not radiometry. `xsr.models.create` makes them
for adversarial training, with the losses of `xsr.models.adversarial`; recipes with an adversary use the U-Net.

References
----------
X. Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", ICCV Workshops
2021, doi:10.1109/ICCVW54120.2021.00217.
T. Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, arXiv:1802.05957.
"""

import math

import torch
from torch import Tensor, nn

from xsr.core.errors import ParameterError
from xsr.models.architectures.srcnn import at_least_one, bicubic
from xsr.models.record import Architecture

SLOPE = 0.2
"""Slope of the leaky ReLU below zero."""
SMALLEST = 8
"""Smallest side of an image that `UNetDiscriminator` can halve three times."""
SHORTEST = 25
"""Smallest side of a patch of which `SimpleDiscriminator` leaves 2 x 2 features."""
START = 15
"""Power iterations when a layer is made, so that its norm is good before the first training step."""


class SpectralConv2d(nn.Module):
    """Convolution without bias whose weight is divided by its largest singular value; padding is one pixel.

    The weight is taken as a matrix (outputs, everything else). In training mode each call takes one step of the power
    iteration, Miyato et al., eqs. 18-19; evaluation uses the vectors found so far. Parameter and buffers have the
    names that `torch.nn.utils.spectral_norm` gives them.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.weight_orig = nn.Parameter(nn.Conv2d(inputs, outputs, kernel, bias=False).weight.detach())
        self.register_buffer("weight_u", _unit(torch.randn(outputs)))
        self.register_buffer("weight_v", _unit(torch.randn(inputs * kernel**2)))
        for _ in range(START):
            self._iterate()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ...)."""
        if self.training:
            self._iterate()
        return nn.functional.conv2d(x, self.weight(), stride=self.stride, padding=1)

    def weight(self) -> Tensor:
        """Weight over its largest singular value as the vectors have it."""
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            # Copies, because the next call in training changes the buffers before this one's gradient is computed.
            u, v = self.weight_u.clone(), self.weight_v.clone()
            return self.weight_orig / torch.dot(u, self.weight_orig.flatten(1) @ v)

    @torch.no_grad()
    def _iterate(self) -> None:
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            matrix = self.weight_orig.flatten(1)
            self.weight_v.copy_(_unit(matrix.mT @ self.weight_u))
            self.weight_u.copy_(_unit(matrix @ self.weight_v))


def _unit(vector: Tensor) -> Tensor:
    return nn.functional.normalize(vector, dim=0, eps=1e-12)


class HighPass(nn.Module):
    """What a sensor of half the resolution would not resolve: the image less its blurred, halved and enlarged copy.

    Parameters
    ----------
    mtf
        Response of the Gaussian blur at the Nyquist frequency of the coarser grid, in (0, 1).

    Raises
    ------
    ParameterError
        If ``mtf`` is out of range.
    """

    kernel: Tensor

    def __init__(self, mtf: float) -> None:
        super().__init__()
        if not 0 < mtf < 1:
            raise ParameterError(f"high_pass={mtf}; expected an MTF at Nyquist between 0 and 1, or None.")
        self.register_buffer("kernel", torch.tensor(_gaussian(mtf)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape, less the last row or column of an odd size.

        Raises
        ------
        ParameterError
            If the image is smaller than half the blur.
        """
        height, width = (side - side % 2 for side in x.shape[-2:])
        x = x[..., :height, :width].to(torch.promote_types(x.dtype, torch.float32))
        half = len(self.kernel) // 2
        if min(height, width) <= half:
            raise ParameterError(f"image of {height} x {width} pixels; expected more than {half} for the high-pass.")
        kernel = self.kernel.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            low = nn.functional.pad(x, (half, half, half, half), mode="reflect").flatten(0, 1)[:, None]
            low = nn.functional.conv2d(nn.functional.conv2d(low, kernel[None, None, :, None]), kernel[None, None, None])
        return x - bicubic(bicubic(low.reshape(x.shape), 1, 2), 2)


def _gaussian(mtf: float) -> list[float]:
    """Gaussian weights whose response at a quarter cycle per pixel is ``mtf``; sampling a narrow one changes it."""
    narrow, wide = 0.05, 2 / math.pi * math.sqrt(-2 * math.log(mtf)) + 1
    for _ in range(60):
        sigma = (narrow + wide) / 2
        weights = _sampled(sigma)
        response = sum(w * math.cos(math.pi / 2 * (i - len(weights) // 2)) for i, w in enumerate(weights))
        narrow, wide = (sigma, wide) if response > mtf else (narrow, sigma)
    return weights


def _sampled(sigma: float) -> list[float]:
    half = math.ceil(4 * sigma)
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-half, half + 1)]
    return [weight / sum(weights) for weight in weights]


class UNetDiscriminator(nn.Module):
    """U-Net with spectral normalisation: one raw score per pixel.

    Three convolutions halve the image and double the width, three bring it back by bilinear interpolation to the
    sizes passed on the way down, three close. Parameters have the names of Real-ESRGAN's files.

    Parameters
    ----------
    bands
        Bands of the image.
    features
        Width at full resolution.
    skip
        Add the features of the way down to those of the same size on the way up.
    high_pass
        MTF of the `HighPass` filter that the image goes through first; None for none. An odd side then loses a pixel.

    Raises
    ------
    ParameterError
        If a size is below 1, or ``high_pass`` is out of range.
    """

    def __init__(
        self, *, bands: int = 10, features: int = 64, skip: bool = True, high_pass: float | None = None
    ) -> None:
        super().__init__()
        at_least_one(bands=bands, features=features)
        f = features
        self.skip = skip
        self.high_pass = nn.Identity() if high_pass is None else HighPass(high_pass)
        self.conv0 = nn.Conv2d(bands, f, 3, padding=1)
        self.conv1 = SpectralConv2d(f, 2 * f, 4, stride=2)
        self.conv2 = SpectralConv2d(2 * f, 4 * f, 4, stride=2)
        self.conv3 = SpectralConv2d(4 * f, 8 * f, 4, stride=2)
        self.conv4 = SpectralConv2d(8 * f, 4 * f, 3)
        self.conv5 = SpectralConv2d(4 * f, 2 * f, 3)
        self.conv6 = SpectralConv2d(2 * f, f, 3)
        self.conv7 = SpectralConv2d(f, f, 3)
        self.conv8 = SpectralConv2d(f, f, 3)
        self.conv9 = nn.Conv2d(f, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, bands, H, W) to logits (N, 1, H, W).

        Raises
        ------
        ParameterError
            If a side is shorter than 8 pixels.
        """
        x = self.high_pass(x)
        if min(x.shape[-2:]) < SMALLEST:
            raise ParameterError(f"image of {x.shape[-2]} x {x.shape[-1]} pixels; expected at least {SMALLEST}.")
        down = [_leaky(self.conv0(x))]
        for conv in (self.conv1, self.conv2, self.conv3):
            down.append(_leaky(conv(down[-1])))
        up = down.pop()
        for conv in (self.conv4, self.conv5, self.conv6):
            beside = down.pop()
            size = tuple(beside.shape[-2:])
            up = _leaky(conv(nn.functional.interpolate(up, size=size, mode="bilinear", align_corners=False)))
            up = up + beside if self.skip else up
        out: Tensor = self.conv9(_leaky(self.conv8(_leaky(self.conv7(up)))))
        return out


class SimpleDiscriminator(nn.Module):
    """Convolutions with batch normalisation, averaged to 2 x 2, and a linear layer: one raw score per patch.

    Five 3x3 convolutions without padding, of widths F, F, 2F, 2F and 4F, the second and the fourth with stride 2. This
    layout is xsr's own, after the description of a discriminator used for Sentinel-2; no published weights fit it.

    Parameters
    ----------
    bands
        Bands of the patch.
    features
        Width F of the first convolution.
    high_pass
        MTF of the `HighPass` filter that the patch goes through first; None for none.

    Raises
    ------
    ParameterError
        If a size is below 1, or ``high_pass`` is out of range.
    """

    def __init__(self, *, bands: int = 10, features: int = 64, high_pass: float | None = None) -> None:
        super().__init__()
        at_least_one(bands=bands, features=features)
        self.high_pass = nn.Identity() if high_pass is None else HighPass(high_pass)
        widths = (features, features, 2 * features, 2 * features, 4 * features)
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip((bands, *widths), widths, (1, 2, 1, 2, 1), strict=False):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=stride),
                nn.BatchNorm2d(outputs),
                nn.LeakyReLU(SLOPE, inplace=True),
            ]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(16 * features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, bands, H, W) to logits (N, 1).

        Raises
        ------
        ParameterError
            If a side is too short for the convolutions.
        """
        x = self.high_pass(x)
        if min(x.shape[-2:]) < SHORTEST:
            raise ParameterError(f"patch of {x.shape[-2]} x {x.shape[-1]} pixels; expected at least {SHORTEST}.")
        out: Tensor = self.head(self.body(x))
        return out


def _leaky(x: Tensor) -> Tensor:
    return nn.functional.leaky_relu(x, SLOPE)


ARCHITECTURES = (
    Architecture(
        name="unet_discriminator",
        kind="discriminator",
        build=UNetDiscriminator,
        tiling="none",
        summary="U-Net with spectral normalisation",
        citation="X. Wang et al., ICCVW 2021, doi:10.1109/ICCVW54120.2021.00217",
    ),
    Architecture(
        name="simple_discriminator",
        kind="discriminator",
        build=SimpleDiscriminator,
        tiling="none",
        summary="Convolutions, pooling and a linear layer",
    ),
)
