"""Local implicit image function: features on the low-resolution grid, decoded at any position.

A query at position ``u`` (pixel coordinates, pixel ``i`` centred at ``i``) looks at the four pixels around it.
For each, an MLP reads the 3x3 unfolded features, the relative position and the cell (the size of the output
pixel); the four answers are blended with bilinear weights, which is the closed form of the local ensemble.

Conventions of the reference: relative positions count two units per low-resolution pixel and the cell is
``2 / scale``. The reference evaluates the first layer for every query and corner; its feature part is linear, so
here it is a 3x3 convolution evaluated once per low-resolution pixel (`LIIF.encode`), and only its position part
remains per query. That is algebra, not approximation.

References
----------
Y. Chen, S. Liu, X. Wang, "Learning Continuous Image Representation with Local Implicit Image Function",
CVPR 2021, doi:10.1109/CVPR46437.2021.00852.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xsr.models.architectures.edsr import EDSREncoder


class MLP(nn.Module):
    """Linear layers with ReLU between them; parameters are ``layers.{0,2,4,...}``."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        out: Tensor = self.layers(x)
        return out


class LIIF(nn.Module):
    """EDSR encoder and local implicit image function.

    Parameters
    ----------
    channels
        Input channels; bands, and masks of missing bands where the model uses them.
    outputs
        Output channels (bands).
    features, blocks
        Width and residual blocks of the encoder.
    hidden
        Widths of the hidden layers of the MLP.
    """

    def __init__(
        self,
        channels: int = 3,
        outputs: int = 3,
        features: int = 64,
        blocks: int = 16,
        hidden: Sequence[int] = (256, 256, 256, 256),
    ) -> None:
        super().__init__()
        self.encoder = EDSREncoder(channels, features, blocks)
        self.imnet = MLP(9 * features + 4, hidden, outputs)
        self.radius = self.encoder.radius + 2
        """Receptive field radius in input pixels: encoder, 3x3 unfolding and the ensemble's neighbour."""

    @property
    def _first(self) -> nn.Linear:
        layer = self.imnet.layers[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def encode(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the folded first layer on the low-resolution grid, (N, hidden[0], H, W)."""
        features = self.encoder(x)
        width = features.shape[1]
        # Unfolding is channel-major (c * 9 + ky * 3 + kx), the layout of a convolution's weight.
        kernel = self._first.weight[:, : 9 * width].reshape(-1, width, 3, 3)
        return nn.functional.conv2d(features, kernel, self._first.bias, padding=1)

    def decode(self, code: Tensor, rows: Tensor, cols: Tensor, cell: tuple[float, float]) -> Tensor:
        """Evaluate queries on an encoded image.

        Parameters
        ----------
        code
            Output of `encode`, (N, hidden[0], H, W).
        rows, cols
            Query positions in pixel coordinates, each (Q,), or (N, Q) for queries of each image.
        cell
            Size of an output pixel in input pixels, (y, x); ``1 / scale``.

        Returns
        -------
        Tensor
            (N, Q, outputs).
        """
        n, width, height_in, width_in = code.shape
        flat = code.permute(0, 2, 3, 1).reshape(n * height_in * width_in, width)
        rows, cols = rows.expand(n, -1), cols.expand(n, -1)
        y0, x0 = torch.floor(rows), torch.floor(cols)
        position, scale = self._first.weight[:, -4:-2], self._first.weight[:, -2:]
        offset = scale @ (2.0 * torch.tensor(cell, dtype=code.dtype, device=code.device))
        image = torch.arange(n, device=code.device)[:, None] * (height_in * width_in)
        total: Tensor | None = None
        for dy in (0, 1):
            for dx in (0, 1):
                weight = (1 - (rows - y0 - dy).abs()) * (1 - (cols - x0 - dx).abs())
                y = (y0 + dy).clamp(0, height_in - 1)
                x = (x0 + dx).clamp(0, width_in - 1)
                relative = 2.0 * torch.stack((rows - y, cols - x), dim=-1).to(code.dtype)
                index = (image + y.long() * width_in + x.long()).reshape(-1)
                first = flat.index_select(0, index).reshape(n, -1, width)
                hidden = self._rest(first + relative @ position.T + offset)
                part = weight.to(hidden.dtype)[..., None] * hidden
                total = part if total is None else total + part
        assert total is not None
        last = self.imnet.layers[-1]
        out: Tensor = last(total)  # the weights sum to one, so the linear layer commutes with the ensemble
        return out

    def _rest(self, first: Tensor) -> Tensor:
        """Apply everything between the first and the last linear layer."""
        for layer in list(self.imnet.layers)[1:-1]:
            first = layer(first)
        return first

    def forward(self, x: Tensor, rows: Tensor, cols: Tensor, cell: tuple[float, float]) -> Tensor:
        """Encode ``x`` (N, C, H, W) and evaluate queries; see `decode`."""
        return self.decode(self.encode(x), rows, cols, cell)
