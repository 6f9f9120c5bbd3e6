"""Local implicit image function: features on the low-resolution grid, decoded at any position.

A query at position ``u`` (pixel coordinates, pixel ``i`` centred at ``i``) looks at the four pixels around it.
For each, an MLP reads the 3x3 unfolded features, the relative position and the cell (the size of the output
pixel); the four outputs are blended with bilinear weights, which is the closed form of the local ensemble.

Conventions of the reference: relative positions count two units per low-resolution pixel and the cell is
``2 / scale``. The reference evaluates the first layer for every query and corner; its feature part is linear, so
here it is a 3x3 convolution evaluated once per low-resolution pixel (`LocalDecoder.fold`), and only its position part
remains per query. That is algebra, not approximation.

References
----------
Y. Chen, S. Liu, X. Wang, "Learning Continuous Image Representation with Local Implicit Image Function",
CVPR 2021, doi:10.1109/CVPR46437.2021.00852.
"""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from xsr.models.architectures.edsr import EDSREncoder
from xsr.models.onednn import linear
from xsr.models.record import Architecture


def rename(key: str) -> str | None:
    """Translate a key of a published checkpoint to ours; None drops it.

    The checkpoints carry the mean shifts of EDSR, which are frozen and never used.
    """
    return None if ".sub_mean." in key or ".add_mean." in key else key


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

    def hidden(self, first: Tensor) -> Tensor:
        """Apply what is between the first and the last linear layer; overwrites what it is given."""
        x = first.relu_()
        for layer in list(self.layers)[2:-1:2]:
            assert isinstance(layer, nn.Linear)
            x = linear(x, layer.weight, layer.bias, rectified=True)
        return x


class LocalDecoder(MLP):
    """Local implicit function: an MLP of features, relative position and cell, blended over the nearest pixels.

    Parameters
    ----------
    features
        Channels of the feature map.
    hidden
        Widths of the hidden layers.
    outputs
        Output channels (bands).
    dims
        Axes a query has: 2 for (y, x), 3 for (t, y, x). Features are unfolded over the last two only.
    unfold
        Whether the MLP reads the 3x3 neighbourhood of a pixel or the pixel alone.
    cell
        Whether the MLP reads the size of the output pixel.
    ensemble
        Whether the 2^dims pixels around a query are used, or the nearest alone.
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        dims: int = 2,
        unfold: bool = True,
        cell: bool = True,
        ensemble: bool = True,
    ) -> None:
        reads = features * (9 if unfold else 1)
        super().__init__(reads + dims * (2 if cell else 1), hidden, outputs)
        self.dims, self.unfold, self.cell, self.ensemble = dims, unfold, cell, ensemble
        self.radius = int(unfold) + int(ensemble)
        """Receptive field radius in pixels of the feature map: the 3x3 unfolding and the ensemble's neighbour."""

    @property
    def _first(self) -> nn.Linear:
        layer = self.layers[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def fold(self, features: Tensor) -> Tensor:
        """Map features (N, F, [T,] H, W) to the feature part of the first layer, (N, hidden[0], [T,] H, W)."""
        features = features.to(self._first.weight.dtype)
        width = features.shape[1]
        size = 3 if self.unfold else 1
        # Unfolding is channel-major (c * 9 + ky * 3 + kx), the layout of a convolution's weight.
        kernel = self._first.weight[:, : size * size * width].reshape(-1, width, size, size)
        if self.dims == 2:
            return nn.functional.conv2d(features, kernel, self._first.bias, padding=size // 2)
        padding = (0, size // 2, size // 2)
        return nn.functional.conv3d(features, kernel[:, :, None], self._first.bias, padding=padding)

    def query(self, code: Tensor, positions: Sequence[Tensor], cell: Sequence[float]) -> Tensor:
        """Evaluate queries on folded features.

        Parameters
        ----------
        code
            Output of `fold`, (N, hidden[0], [T,] H, W).
        positions
            Position of the queries along every axis in pixel coordinates, each (Q,) or (N, Q).
        cell
            Size of an output pixel in input pixels along every axis.

        Returns
        -------
        Tensor
            (N, Q, outputs).
        """
        n, width, *shape = code.shape
        flat = code.movedim(1, -1).reshape(-1, width)
        positions = [position.expand(n, -1) for position in positions]
        place = self._place(code, cell)
        image = torch.arange(n, device=code.device)[:, None]
        total: Tensor | None = None
        for corner, weight in self._corners(positions):
            index, away = image, []
            for position, near, size in zip(positions, corner, shape, strict=True):
                near = near.clamp(0, size - 1)
                index = index * size + near.long()
                away.append(position - near)
            relative = torch.stack([*(2.0 * step for step in away), torch.ones_like(away[0])], dim=-1).to(code.dtype)
            # In place, as far as training allows: fresh memory at every layer costs as much as the arithmetic.
            first = flat.index_select(0, index.reshape(-1)).addmm_(relative.flatten(0, 1), place.T)
            hidden = self.hidden(first).unflatten(0, (n, -1))
            share = weight.to(torch.promote_types(hidden.dtype, torch.float32))[..., None]
            total = share * hidden if total is None else total.addcmul_(share, hidden)
        out: Tensor = self.layers[-1](total)  # the weights sum to one, so the linear layer commutes with the ensemble
        return out

    def _place(self, code: Tensor, cell: Sequence[float]) -> Tensor:
        """Weights of the relative position, and beside them what the cell adds to the first layer."""
        weight = self._first.weight
        if not self.cell:
            return torch.cat((weight[:, -self.dims :], torch.zeros_like(weight[:, :1])), dim=1)
        size = 2.0 * torch.tensor(cell, dtype=code.dtype, device=code.device)
        return torch.cat((weight[:, -2 * self.dims : -self.dims], (weight[:, -self.dims :] @ size)[:, None]), dim=1)

    def _corners(self, positions: Sequence[Tensor]) -> Iterator[tuple[list[Tensor], Tensor]]:
        """Yield the pixels that are used, which may lie one pixel outside, and their weights."""
        if not self.ensemble:
            yield [torch.floor(position + 0.5) for position in positions], torch.ones_like(positions[0])
            return
        start = [torch.floor(position) for position in positions]
        for steps in itertools.product((0, 1), repeat=self.dims):
            corner = [low + step for low, step in zip(start, steps, strict=True)]
            axes = [1 - (position - near).abs() for position, near in zip(positions, corner, strict=True)]
            weight = axes[0]
            for axis in axes[1:]:
                weight = weight * axis
            yield corner, weight


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
    unfold, cell, ensemble
        Parts of the decoder, see `LocalDecoder`; switched off in ablations.
    """

    def __init__(
        self,
        channels: int = 3,
        outputs: int = 3,
        features: int = 64,
        blocks: int = 16,
        hidden: Sequence[int] = (256, 256, 256, 256),
        *,
        unfold: bool = True,
        cell: bool = True,
        ensemble: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = EDSREncoder(channels, features, blocks)
        self.imnet = LocalDecoder(features, hidden, outputs, unfold=unfold, cell=cell, ensemble=ensemble)
        self.radius = self.encoder.radius + self.imnet.radius
        """Receptive field radius in input pixels: encoder, 3x3 unfolding and the ensemble's neighbour."""

    def encode(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the folded first layer on the low-resolution grid, (N, hidden[0], H, W)."""
        return self.imnet.fold(self.encoder(x))

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
        return self.imnet.query(code, (rows, cols), cell)

    def forward(self, x: Tensor, rows: Tensor, cols: Tensor, cell: tuple[float, float]) -> Tensor:
        """Encode ``x`` (N, C, H, W) and evaluate queries; see `decode`."""
        return self.decode(self.encode(x), rows, cols, cell)


class Encoder(nn.Module):
    """What a LIIF computes on the input grid; the folded first layer is a convolution with constant weights.

    The same as `LIIF.encode`, whose kernel ONNX would not know for a constant.
    """

    def __init__(self, network: LIIF) -> None:
        super().__init__()
        self.encoder = network.encoder
        first, size = network.imnet.layers[0], 3 if network.imnet.unfold else 1
        assert isinstance(first, nn.Linear)
        width = (first.in_features - network.imnet.dims * (2 if network.imnet.cell else 1)) // size**2
        self.fold = nn.Conv2d(width, first.out_features, size, padding=size // 2)
        with torch.no_grad():
            self.fold.weight.copy_(first.weight[:, : size**2 * width].reshape(-1, width, size, size))
            self.fold.bias = first.bias

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, bands, H, W), standardised, to the features that its decoder reads."""
        out: Tensor = self.fold(self.encoder(images))
        return out


CITATION = "Y. Chen, S. Liu, X. Wang, CVPR 2021, doi:10.1109/CVPR46437.2021.00852"
ARCHITECTURES = (
    Architecture(
        name="liif",
        kind="continuous",
        build=LIIF,
        trunk="encoder",
        head="imnet",
        encoder=Encoder,
        rename=rename,
        summary="Local implicit image function",
        citation=CITATION,
    ),
)
