"""The residual encoder of EDSR without its upsampler.

References
----------
B. Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017,
doi:10.1109/CVPRW.2017.151.
"""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """``x + conv(relu(conv(x)))`` with 3x3 kernels and zero padding."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(features, features, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, F, H, W) to the same shape."""
        out: Tensor = x + self.body(x)
        return out


class EDSREncoder(nn.Module):
    """Head convolution, residual blocks, closing convolution, long skip.

    Parameters
    ----------
    channels
        Input channels.
    features
        Width of the trunk.
    blocks
        Residual blocks.
    """

    def __init__(self, channels: int, features: int = 64, blocks: int = 16) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(channels, features, 3, padding=1))
        body: list[nn.Module] = [ResidualBlock(features) for _ in range(blocks)]
        self.body = nn.Sequential(*body, nn.Conv2d(features, features, 3, padding=1))
        self.radius = 2 + 2 * blocks
        """Receptive field radius in pixels: one per 3x3 convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to features (N, F, H, W)."""
        x = self.head(x)
        out: Tensor = x + self.body(x)
        return out
