"""A network of one's own: one record, weights with their card, and `liif` evaluates it at any scale.

Run it with ``python examples/own_network.py``; it writes ``unsharp.safetensors`` and its card into the current folder.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import xsr
from xsr.models.card import ModelCard, file_sha256, write_card
from xsr.models.channels import Channels
from xsr.testing import synthetic_pair


class Unsharp(nn.Module):
    """Adds, at any position, a share of what the mean over 3x3 pixels takes away."""

    def __init__(self, bands: int = 4) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.full((bands,), 0.5))
        self.radius = 2  # one pixel for the mean, one for the interpolation

    def encode(self, images: Tensor) -> Tensor:
        """Map standardised images (n, band, h, w) to a code of as many images."""
        around = nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
        return images - nn.functional.avg_pool2d(around, 3, stride=1)

    def decode(self, code: Tensor, rows: Tensor, cols: Tensor, cell: tuple[float, float]) -> Tensor:
        """Evaluate at positions in pixels, each (q,): the correction (n, q, band) to bicubic interpolation."""
        sides = torch.tensor(code.shape[:1:-1], dtype=rows.dtype, device=rows.device)
        places = (2 * torch.stack((cols, rows), dim=-1) / (sides - 1) - 1).to(code.dtype)
        grid = places.expand(len(code), 1, -1, 2)
        detail = nn.functional.grid_sample(code, grid, padding_mode="border", align_corners=True)
        return self.share * detail[:, :, 0].mT


xsr.models.register(
    xsr.models.Architecture(
        name="unsharp", kind="continuous", build=Unsharp, summary="Unsharp mask", citation="An example"
    )
)


def write_weights(path: Path, share: float) -> None:
    """Write the weights, which a training would have found, and the card that says what they are for."""
    network = xsr.models.create("unsharp")
    nn.init.constant_(network.get_parameter("share"), share)
    save_file(network.state_dict(), path)
    card = ModelCard(
        name=path.stem,
        summary="Unsharp mask for the 10 m bands of Sentinel-2.",
        architecture="unsharp",
        config={"bands": 4},
        image=Channels(("B02", "B03", "B04", "B08"), mean=(0.05, 0.08, 0.09, 0.26), std=(0.03, 0.04, 0.07, 0.08)),
        sensor="sentinel-2",
        gsd_m=10.0,
        scale_range=(1.0, 4.0),
        mtf=(0.3, 0.3, 0.3, 0.3),
        sha256=file_sha256(path),
        parameters=4,
        radius=2,
        licence="CC0-1.0",
    )
    write_card(card, path)


def main(folder: Path) -> None:
    """Super-resolve a synthetic cube by bicubic interpolation and by the network, and compare with the truth."""
    path = folder / "unsharp.safetensors"
    write_weights(path, share=0.5)
    pair = synthetic_pair(size=(128, 128), bands=("B02", "B03", "B04", "B08"), high_gsd_m=5)
    low = pair.low.chunk(y=32, x=32)
    for name, fine in {
        "bicubic": low.sr.interpolate(scale=2, method="bicubic"),
        "unsharp": low.sr.liif(scale=2, model=path),
    }.items():
        error = (fine - pair.high).compute().std().item()
        print(f"{name}: error of {error:.5f}")
    print("size at a scale of 2.7:", dict(low.sr.liif(scale=2.7, model=path).sizes))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
