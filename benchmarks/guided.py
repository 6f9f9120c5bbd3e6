"""A guided network on a large scene: blocks of several sizes against the whole, and the steps across their borders.

The network is an untrained DCTNet on patches of 128 pixels unless ``--model`` names another: seams are a matter of the
lattice, not of the weights. Prints the numbers; ``--write`` puts them into the page of thermal models.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter

import xsr
from xsr.models import registry
from xsr.models.card import file_sha256, from_fields, write_card

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "thermal.md"
MARKERS = "<!-- blocks: written by benchmarks/guided.py -->", "<!-- end of blocks -->"
BANDS = ("B04", "B08", "B11")
FACTOR, GSD = 8, 30.0
CONFIG = {"guide_bands": 3, "features": 16, "layers": 2, "final_relu": False}


def scene(side: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Temperature of coarse pixels and a guide of ``side`` fine ones: fields with edges."""
    rng = np.random.default_rng(0)
    edges = np.sign(gaussian_filter(rng.standard_normal((side, side)), 12))
    vegetation = np.clip(0.5 + 0.3 * edges + 0.5 * gaussian_filter(rng.standard_normal((side, side)), 1.5), 0, 1)
    kelvin = 308 - 12 * vegetation
    blocks = kelvin.reshape(side // FACTOR, FACTOR, side // FACTOR, FACTOR)
    low = ((blocks**4).mean(axis=(1, 3)) ** 0.25).astype(np.float32)
    guide = np.stack([0.25 - 0.2 * vegetation, 0.2 + 0.3 * vegetation, 0.3 - 0.15 * vegetation]).astype(np.float32)
    coarse, fine = (
        dict(xr_coords(GeoBox(shape, Affine(gsd, 0, 600_000, 0, -gsd, 5_700_000), "EPSG:32631")))
        for shape, gsd in ((low.shape, FACTOR * GSD), ((side, side), GSD))
    )
    return (
        xr.DataArray(low, coarse, ("y", "x"), attrs={"units": "K"}).chunk(y=64, x=64),
        xr.DataArray(guide, {**fine, "band": list(BANDS)}, ("band", "y", "x")).chunk(y=512, x=512),
    )


def untrained(folder: Path) -> Path:
    """Write an untrained network and its card."""
    torch.manual_seed(0)
    network = registry.create("dctnet", **CONFIG)
    path = folder / "untrained.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    card = from_fields(
        **{"name": "untrained", "summary": "Untrained.", "architecture": "dctnet", "config": CONFIG},
        **{"bands": ("lst",), "optional": (), "mean": (0.0,), "std": (1.0,), "mtf": (0.3,), "units": "K"},
        **{"guide_bands": BANDS, "guide_mean": (0.15, 0.35, 0.2), "guide_std": (0.1, 0.1, 0.1), "patch": 128},
        **{"sensor": "landsat-8", "gsd_m": GSD, "scale_range": (4.0, 8.0), "radius": 0, "licence": "CC0-1.0"},
        sha256=file_sha256(path),
        parameters=sum(p.numel() for p in network.parameters()),
    )
    write_card(card, path)
    return path


def steps(image: np.ndarray, block: int) -> tuple[float, float, float]:
    """Largest step between neighbours across the borders of blocks, and the largest and the 99.9 % inside."""
    found = np.abs(np.diff(image, axis=1))
    border = np.arange(block - 1, image.shape[1] - 1, block)
    inside = np.delete(found, border, axis=1)
    return float(found[:, border].max()), float(inside.max()), float(np.quantile(inside, 0.999))


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=2048, help="fine pixels along an axis")
    parser.add_argument("--blocks", type=int, nargs="+", default=[512, 700])
    parser.add_argument("--model", type=str, help="another network")
    parser.add_argument("--write", action="store_true", help="put the numbers into the page of thermal models")
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    if options.small:
        options.side, options.blocks = 256, [128]
    low, guide = scene(options.side)
    span = float(low.max() - low.min())
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or untrained(Path(folder))
        how: dict[str, Any] = {"model": model, "conserve": "radiance"}
        whole = xsr.guided(low, guide, **how, chunks=options.side).values
        for block in options.blocks:
            start = time.perf_counter()
            found = xsr.guided(low, guide, **how, chunks=block).values
            seconds = time.perf_counter() - start
            worst = float(np.abs(found - whole).max())
            across, inside, high = steps(found, block)
            lines.append(
                f"- Blocks of {block} against one of {options.side} pixels: at most {worst:.1e} K,"
                f" {worst / span:.1e} of the range; the largest step across a border of blocks is {across:.2f} K,"
                f" inside {inside:.2f} K"
                f" (99.9 % of them below {high:.2f} K); {options.side**2 / seconds / 1e6:.2f} megapixels a second."
            )
    print("\n".join(lines))
    if options.write and not options.small:
        text = PAGE.read_text(encoding="utf-8")
        before, rest = text.split(MARKERS[0])
        text = f"{before}{MARKERS[0]}\n{chr(10).join(lines)}\n{MARKERS[1]}{rest.split(MARKERS[1])[1]}"
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
