"""LIIF inference: the folded network in two precisions against the reference formulation, and the work it must do.

The reference evaluates the first layer of the MLP for every query and every corner of the ensemble. Both run on one
thread, alternating; the floor is the multiply-adds of the folded form at the rate of a convolution of 256 channels in
the same precision. Seconds are those of the processor.
"""

import argparse
import statistics
from itertools import pairwise

import numpy as np
import torch
from common.timing import alternate, peak
from numpy.typing import NDArray
from torch import Tensor

from xsr.models.architectures.liif import LIIF
from xsr.models.precision import Exact
from xsr.models.predictor import predict_continuous
from xsr.models.registry import card as read_card
from xsr.models.registry import load, spec

SIDE, SCALE, REPEATS = 128, 2.0, 5


def reference(network: LIIF, image: Tensor, rows: Tensor, cols: Tensor, cell: tuple[float, float]) -> Tensor:
    """Evaluate queries as the paper does: unfold, gather, concatenate and run the whole MLP at every corner."""
    features = network.encoder(image)
    unfolded = torch.nn.functional.unfold(features, 3, padding=1).reshape(-1, *image.shape[2:])  # (9F, H, W)
    height, width = image.shape[2:]
    total = torch.zeros(rows.numel(), network.imnet.layers[-1].out_features)  # type: ignore[arg-type]
    for dy in (0, 1):
        for dx in (0, 1):
            y, x = torch.floor(rows) + dy, torch.floor(cols) + dx
            weight = (1 - (rows - y).abs()) * (1 - (cols - x).abs())
            y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
            gathered = unfolded[:, y.long(), x.long()].T
            place = torch.stack((2 * (rows - y), 2 * (cols - x)), dim=1).float()
            size = torch.tensor(cell).mul(2).float().expand(rows.numel(), 2)
            value = network.imnet(torch.cat((gathered, place, size), dim=1))
            total += weight.float()[:, None] * value
    return total


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    side, repeats = (16, 1) if parser.parse_args().small else (SIDE, REPEATS)
    torch.set_num_threads(1)
    card = read_card("liif_s2")
    network = load(spec("liif_s2"))
    assert isinstance(network, LIIF)
    image = torch.rand(1, len(card.bands), side, side, generator=torch.Generator().manual_seed(0))
    axis = (np.arange(int(side * SCALE)) + 0.5) / SCALE - 0.5
    rows, cols = (torch.from_numpy(v.ravel()) for v in np.meshgrid(axis, axis, indexing="ij"))
    cell = (1 / SCALE, 1 / SCALE)

    def ask(precision: Exact) -> NDArray[np.float32]:
        return predict_continuous(spec("liif_s2"), image.numpy(), axis, axis, cell, "cpu", precision)[0].reshape(
            len(image[0]), -1
        )

    runs = {
        "reference": lambda: reference(network, image, rows, cols, cell).T.numpy(),
        "float32": lambda: ask("float32"),
        "bfloat16": lambda: ask("bfloat16"),
    }
    with torch.inference_mode():
        first = {name: call() for name, call in runs.items()}
        times = alternate(runs, repeats)
    peaks = {name: peak(getattr(torch, name), min(64, side)) for name in ("float32", "bfloat16")}
    hidden = [network.imnet.layers[i].out_features for i in range(0, len(network.imnet.layers), 2)]  # type: ignore[union-attr]
    encoder = sum(p.numel() for n, p in network.encoder.named_parameters() if n.endswith("weight"))
    first_layer = 9 * card.config["features"] * hidden[0]
    query = 4 * sum(a * b for a, b in pairwise(hidden[:-1]))
    work = side**2 * (encoder + first_layer + SCALE**2 * query)
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"liif_s2, {side}x{side} px, x{SCALE:g}, one thread, medians of {repeats}")
    for name, value in median.items():
        ratio = statistics.median(r / t for r, t in zip(times["reference"], times[name], strict=True))
        difference = float(np.abs(first["reference"] - first[name]).max())
        share = 2 * work / value / peaks.get(name, peaks["float32"])
        print(
            f"{name:<10} {value:6.2f} s  {side**2 / value / 1e3:6.1f} kpx/s of input  {ratio:5.2f} times the reference,"
            f" {share:4.0%} of the peak, differs by {difference:.1e} standard deviations"
        )
    for name, rate in peaks.items():
        floor = 2 * work / rate
        print(f"floor      {floor:6.2f} s  at {rate / 1e9:.0f} GFLOP/s in {name} ({work / 1e9:.1f} GMAC)")


if __name__ == "__main__":
    main()
