"""A network that corrects the detail which sharp bands predict for coarser ones, on the coarser bands' own pixels.

Bands of 20 m that were interpolated to a grid of 10 m are of four kinds of pixel: interpolation misses other things at
each quarter of an own pixel. Channels are therefore folded, the pixels inside an own pixel side by side, and the
network runs on the lattice of the own pixels: it knows which quarter is which, and costs a quarter of what it would on
the grid.

References
----------
W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", CVPR 2016, doi:10.1109/CVPR.2016.207 (pixel shuffle).
C. Lanaras et al., "Super-resolution of Sentinel-2 images: Learning a globally applicable deep neural network", ISPRS
Journal of Photogrammetry and Remote Sensing 146 (2018), doi:10.1016/j.isprsjprs.2018.09.018 (residual network, Wald).
"""

from torch import Tensor, nn

from xsr.models.architectures.edsr import ResidualBlock
from xsr.models.architectures.srcnn import at_least_one, precise
from xsr.models.record import Architecture


class Sharpener(nn.Module):
    """Residual blocks on the lattice of larger pixels.

    Parameters
    ----------
    channels
        Input channels: the bands on the grid, and the detail that the sharp ones predict for each of the others.
    bands
        Output bands: what to add to each.
    features
        Width of the trunk.
    blocks
        Residual blocks.
    cell
        Side of a larger pixel in pixels of the grid. The sides of an image are multiples of it.

    Raises
    ------
    ParameterError
        If a size is below 1.
    """

    factor = 1

    def __init__(
        self, *, channels: int = 16, bands: int = 10, features: int = 64, blocks: int = 3, cell: int = 2
    ) -> None:
        super().__init__()
        at_least_one(channels=channels, bands=bands, features=features, cell=cell)
        self.cell = cell
        self.trunk = nn.Sequential(
            nn.Conv2d(channels * cell**2, features, 3, padding=1),
            *(ResidualBlock(features) for _ in range(blocks)),
            nn.Conv2d(features, bands * cell**2, 3, padding=1),
        )
        # One larger pixel a convolution, and the rest of the one that a pixel lies in.
        self.radius = cell * (2 * blocks + 2) + cell - 1

    def forward(self, x: Tensor, margin: int = 0) -> Tensor:
        """Map (N, channels, H, W), standardised, to (N, bands, H, W).

        What ``margin`` pixels along each side become is left out, whole larger pixels; that needs a trunk that takes a
        margin as well, as `xsr.models.engine.Bands` does.
        """
        folded = nn.functional.pixel_unshuffle(precise(x), self.cell)
        made = self.trunk(folded, margin // self.cell) if margin else self.trunk(folded)
        return nn.functional.pixel_shuffle(precise(made), self.cell)


ARCHITECTURES = (
    Architecture(
        name="sharpener",
        kind="fixed",
        build=Sharpener,
        trunk="trunk",
        summary="Residual blocks on the lattice of 20 m pixels, beside detail that sharp bands predict",
        citation="W. Shi et al., CVPR 2016, doi:10.1109/CVPR.2016.207",
    ),
)
