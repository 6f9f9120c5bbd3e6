"""What accuracy costs: the packaged networks that double the ten bands of Sentinel-2, by operations and by the clock.

Each is evaluated alone on one window, without halo, store or interpolation, on one thread, in the precision that `auto`
would choose here; runs alternate. Operations are those of convolutions and matrix products as PyTorch counts them, and
so is the share of the peak: wide convolutions in float32 need fewer (`xsr.models.winograd`), and may exceed it. The
gains are the mean over the test places of a card's scores, in brackets with pairs by the published formula.
"""

import argparse
import math
import statistics
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from common.machine import processor
from common.timing import alternate, peak
from numpy.typing import NDArray
from pipeline import PRODUCT
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from xsr.models.card import ModelCard
from xsr.models.precision import Exact, resolve_precision
from xsr.models.predictor import predict_continuous, predict_fixed
from xsr.models.published import SENTINEL2
from xsr.models.registry import card as read_card
from xsr.models.registry import spec

MODELS = ("carn_3x3x64g4sw_s2", "carn_3x2x32g2sw_s2", "carn_3x1x32g2_s2", "liif_s2")
SCALE, SIDE, REPEATS = 2.0, 256, 7
Shape = Sequence[int]


def doubled(name: str, images: NDArray[np.float32], precision: Exact) -> NDArray[np.float32]:
    """Evaluate a network at twice the resolution."""
    model = spec(name)
    if read_card(name).factor is not None:
        return predict_fixed(model, images, "cpu", precision)
    rows, cols = ((np.arange(int(side * SCALE)) + 0.5) / SCALE - 0.5 for side in images.shape[2:])
    return predict_continuous(model, images, rows, cols, (1 / SCALE, 1 / SCALE), "cpu", precision)


def operations(name: str, images: NDArray[np.float32]) -> float:
    """Operations for a pixel of the input, of linear layers and convolutions that are not filtered."""
    onednn = torch.ops.mkldnn
    counted = {onednn._convolution_pointwise: _convolved, onednn._linear_pointwise: _multiplied}
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        doubled(name, images, "bfloat16")
    return counter.get_total_flops() / images[0, 0].size


def _convolved(image: Shape, weights: Shape, *_: object, out_shape: Shape) -> int:
    """Count the operations of a convolution."""
    return conv_flop_count(image, weights, out_shape)


def _multiplied(numbers: Shape, weights: Shape, *_: object, out_shape: Shape) -> int:
    """Count the operations of a linear layer."""
    return 2 * math.prod(numbers) * weights[0]


def gain(card: ModelCard, pairs: str) -> float:
    """Mean gain over bicubic interpolation at twice the resolution, dB."""
    rows = [row for row in card.scores if row.get("pairs") == pairs and row["scale"] == SCALE]
    return statistics.mean(row["gain_db"] for row in rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    side, repeats = (16, 1) if parser.parse_args().small else (SIDE, REPEATS)
    torch.set_num_threads(1)
    precision = resolve_precision("auto", residual=True, device="cpu")
    images = np.random.default_rng(0).standard_normal((1, len(SENTINEL2.names), side, side), dtype=np.float32)
    runs: dict[str, Callable[[], object]] = {name: partial(doubled, name, images, precision) for name in MODELS}
    work = {name: operations(name, images) for name in MODELS}
    times = alternate(runs, repeats)
    rate = peak(getattr(torch, precision), min(64, side))
    print(f"{side}x{side} pixels, x{SCALE:g}, {precision}, one thread of {processor()}, medians of {repeats}")
    print(f"{'':<20} parameters  Mop/px  kpx/s   of peak  h a product  Wald gain, dB")
    for name in MODELS:
        card = read_card(name)
        seconds = statistics.median(times[name]) / side**2
        print(
            f"{name:<20} {card.parameters:>10} {work[name] / 1e6:7.2f}"
            f" {1e-3 / seconds:6.1f} {work[name] / seconds / rate:9.0%} {seconds * PRODUCT**2 / 3600:12.2f}"
            f"  {gain(card, 'self-similar'):+.2f} ({gain(card, 'published'):+.2f})"
        )
    print(f"peak of a convolution of 256 channels: {rate / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
