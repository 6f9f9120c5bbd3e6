"""Joint implicit image function: super-resolution of one image guided by another of the target grid.

Every output pixel is made of the four low-resolution pixels around it. For each, an MLP reads the features of the
low-resolution image there, the features of the guide at the output pixel, their difference to the features of the
reduced guide, and the relative position; it makes a value and a score, and the values are averaged with the softmax
of the scores. The network makes a residual: the image is that residual plus the bicubic enlargement.

The first layer of the MLP is linear in its inputs, so its low-resolution part is evaluated once per low-resolution
pixel and its guide part once per output pixel; only the position part remains per pixel and neighbour.

References
----------
J. Tang, X. Chen, G. Zeng, "Joint Implicit Image Function for Guided Depth Super-Resolution", ACM Multimedia 2021,
doi:10.1145/3474085.3475584.
"""

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from xsr.core.errors import ParameterError
from xsr.models.architectures.edsr import EDSREncoder
from xsr.models.architectures.liif import MLP, rename
from xsr.models.record import Architecture, GuidedInputs

QUERIES = 1 << 14
"""Output pixels decoded at once: their hidden layers of 1024 are 64 MB in float32."""


class JIIF(nn.Module):
    """Two EDSR encoders and a joint implicit image function.

    Parameters
    ----------
    bands
        Bands of the image; with several, the score of a neighbour is common to them.
    guide_bands
        Bands of the guide.
    features, blocks
        Width and residual blocks of both encoders.
    hidden
        Widths of the hidden layers of the MLP.
    border
        What a neighbour outside the image is. ``"zero"``, the published form: zero features at the centre of the
        image, wherever the output pixel lies. There neighbours are nearest look-ups half a pixel away, which fall
        between two pixels where an output pixel is centred on a low-resolution pixel, as at odd scales, and then take
        the even one. ``"clamp"``, for new training: the four pixels around, and the nearest inside for one outside.
    """

    def __init__(
        self,
        *,
        bands: int = 1,
        guide_bands: int = 3,
        features: int = 128,
        blocks: int = 16,
        hidden: Sequence[int] = (1024, 512, 256, 128),
        border: Literal["zero", "clamp"] = "zero",
    ) -> None:
        super().__init__()
        if border not in ("zero", "clamp"):
            raise ParameterError(f"border={border!r}; expected 'zero' or 'clamp'.")
        self.image_encoder = EDSREncoder(guide_bands, features, blocks)
        self.depth_encoder = EDSREncoder(bands, features, blocks)
        self.imnet = MLP(3 * features + 2, hidden, bands + 1)
        self.border = border
        self.radius = self.depth_encoder.radius + 1
        """Receptive field radius in low-resolution pixels: encoder and neighbour. In the guide of the target grid it
        is one less, in pixels of that grid. With zeros outside, also the distance from the border counts there."""

    def forward(self, low: Tensor, guide_high: Tensor, guide_low: Tensor, base: Tensor | None = None) -> Tensor:
        """Super-resolve an image on the grid of its guide.

        Parameters
        ----------
        low
            Image, (N, bands, h, w).
        guide_high
            Guide on the target grid, (N, guide_bands, H, W); both grids cover the same area.
        guide_low
            Guide reduced to the grid of the image by a bicubic filter, (N, guide_bands, h, w).
        base
            Bicubic enlargement of ``low``, (N, bands, H, W), added to the output; None adds nothing.

        Returns
        -------
        Tensor
            (N, bands, H, W).
        """
        n, _, height, width = guide_high.shape
        code = self.encode(low, guide_low)
        high = self.image_encoder(guide_high)
        rows = _centres(height, code.shape[2], code.device)
        cols = _centres(width, code.shape[3], code.device)
        lines = max(1, QUERIES // (n * width))
        out = torch.cat(
            [
                self._decode(code, high[:, :, top : top + lines], rows[top : top + lines], cols)
                for top in range(0, height, lines)
            ],
            dim=2,
        )
        return out if base is None else out + base

    def encode(self, low: Tensor, guide_low: Tensor) -> Tensor:
        """Low-resolution part of the first layer, (N, hidden[0], h, w)."""
        image, _, difference, _ = self._parts()
        pixels = torch.cat((self.depth_encoder(low), self.image_encoder(guide_low)), dim=1)
        return nn.functional.conv2d(pixels, torch.cat((image, -difference), dim=1)[:, :, None, None])

    def _parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights of the first layer on image, guide, difference of the guides, and position."""
        width = (self._first.in_features - 2) // 3
        image, guide, difference, position = self._first.weight.split((width, width, width, 2), dim=1)
        return image, guide, difference, position

    @property
    def _first(self) -> nn.Linear:
        layer = self.imnet.layers[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def _decode(self, code: Tensor, high: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
        """Evaluate output lines: ``high`` (N, F, lines, W) at ``rows`` and ``cols``, to (N, bands, lines, W)."""
        n, width, *_ = code.shape
        _, guide, difference, position = self._parts()
        own = nn.functional.conv2d(high, (guide + difference)[:, :, None, None], self._first.bias)
        own = own.flatten(2).transpose(1, 2)
        flat = code.flatten(2).transpose(1, 2).reshape(-1, width)
        image = torch.arange(n, device=code.device)[:, None] * (code.shape[2] * code.shape[3])
        parts = []
        for side in itertools.product((0, 1), repeat=2):
            index, relative, inside = self._neighbours(rows, cols, side, code.shape[2:])
            near = flat.index_select(0, (image + index).reshape(-1)).reshape(n, -1, width)
            first = own + near * inside[:, None].to(near.dtype) + relative.to(near.dtype) @ position.T
            parts.append(self.imnet.layers[-1](self.imnet.hidden(first)))
        stack = torch.stack(parts)
        value, score = stack[..., :-1], stack[..., -1:]
        out: Tensor = (value * score.softmax(0)).sum(0).transpose(1, 2).unflatten(2, (len(rows), len(cols)))
        return out

    def _neighbours(
        self, rows: Tensor, cols: Tensor, side: tuple[int, ...], shape: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Index, relative position (y, x) in half pixels and whether inside, for one of the four neighbours."""
        grids = torch.meshgrid(rows, cols, indexing="ij")
        index = torch.zeros_like(grids[0], dtype=torch.long)
        inside = torch.ones_like(index, dtype=torch.bool)
        away, whole = [], []
        for position, step, size in zip(grids, side, shape, strict=True):
            # Half to even is how nearest look-ups break ties.
            near = torch.floor(position) + step if self.border == "clamp" else torch.round(position - 0.5 + step)
            pixel = near.clamp(0, size - 1)
            inside = inside & (pixel == near)
            index = index * size + pixel.long()
            away.append(2.0 * (position - pixel))
            whole.append(2.0 * position + 1.0 - size)
        index, inside = index.flatten(), inside.flatten()
        relative, centre = (torch.stack(axes, dim=-1).flatten(0, 1) for axes in (away, whole))
        if self.border == "clamp":
            return index, relative, torch.ones_like(inside)
        return index, torch.where(inside[:, None], relative, centre), inside


def _centres(count: int, pixels: int, device: torch.device) -> Tensor:
    """Centres of ``count`` output pixels in coordinates of ``pixels`` input pixels, float64."""
    steps = torch.arange(count, dtype=torch.float64, device=device)
    return (2 * steps + 1) * pixels / (2 * count) - 0.5


def call(network: nn.Module, inputs: GuidedInputs) -> Tensor:
    """Evaluate on the low-resolution image and the guide, which is reduced to its grid by block means."""
    reduced = nn.functional.interpolate(inputs.guide, size=inputs.low.shape[-2:], mode="area")
    out: Tensor = network(inputs.low, inputs.guide, reduced)
    return out


ARCHITECTURES = (
    Architecture(
        name="jiif",
        kind="guided",
        build=JIIF,
        head="imnet",
        reads_low=True,
        call=call,
        rename=rename,
        summary="Joint implicit image function",
        citation="J. Tang, X. Chen, G. Zeng, ACM Multimedia 2021, doi:10.1145/3474085.3475584",
    ),
)
