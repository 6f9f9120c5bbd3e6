"""What 12 target times from 24 dates cost, beside encoding every date once: one process, one thread.

Processor seconds, medians of rounds that alternate. Two encodings are measured: of whole windows, as the network reads
them, and of what target times need of them, which is what is computed. The least that this network can do is the second
of these and the decoder. ``--write`` puts what is printed into the documentation.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import ClassVar

import dask
import numpy as np
import run
import torch
import xarray as xr
from common.machine import processor
from torch import Tensor

import xsr
from xsr.models import predictor, registry
from xsr.models.engine import Ready, ready
from xsr.testing import synthetic_cube

MODEL = "temporal_liif_s2"
DATES, TARGETS, EVERY = 24, 12, 15
BANDS = {4: ("B02", "B03", "B04", "B08"), 10: ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")}
FIRST, DAY = np.datetime64("2024-01-01", "ns"), np.timedelta64(24 * 3600, "s")
CLOUDED = 0.3
"""Share of a date that a cloud hides, where there is one; every other date has one."""


class Counted(predictor.Features):
    """Features of dates, which keeps the images and the margins that were encoded."""

    encoded: ClassVar[list[tuple[tuple[int, ...], int]]] = []

    def _encode(self, dates: Sequence[int]) -> None:
        super()._encode(dates)
        self.encoded.extend((self._images.shape[1:], self._margin) for _ in dates)


def series(side: int, bands: int, *, clouds: bool) -> xr.DataArray:
    """Return a lazy cube, one date a chunk."""
    times = tuple(str(FIRST + n * EVERY * DAY) for n in range(DATES))
    cube = synthetic_cube(size=(side, side), times=times, bands=BANDS[bands])
    edge = round(CLOUDED * side)
    for date in range(1, DATES, 2) if clouds else ():
        start = date * (side - edge) // DATES
        cube.values[date, :, start : start + edge] = np.nan
    return cube.chunk({"time": 1})


def seconds(work: Sequence[Tensor], function: object) -> float:
    """Processor seconds that a function takes for all pieces of work."""
    start = time.process_time()
    with torch.inference_mode():
        for piece in work:
            function(piece)  # type: ignore[operator]
    return time.process_time() - start


def at_targets(cube: xr.DataArray, scale: float) -> float:
    """Return the processor seconds of all target times."""
    days = (np.arange(TARGETS) + 0.4) * (DATES - 1) * EVERY / TARGETS
    start = time.process_time()
    with dask.config.set(scheduler="synchronous"):
        fine = xsr.liif(
            cube, scale=scale, t=FIRST + (days * 24).astype(int) * (DAY // 24), model=MODEL, precision="float32"
        )
        fine.compute()
    return time.process_time() - start


def parts(network: Ready, side: int, scale: float) -> dict[str, float]:
    """Processor seconds of the counted encodings, of whole windows and of what is needed, and of the decoder."""
    shape, margin = Counted.encoded[0]
    images = list(torch.randn(len(Counted.encoded), 1, *shape))
    code = torch.randn(1, 64, *(n - 2 * margin for n in shape[1:])).contiguous(memory_format=torch.channels_last)
    axis = (np.arange(round(side * scale)) + 0.5) / scale - 0.5 + (code.shape[2] - side) / 2
    places = predictor.positions(axis, axis, "cpu")
    cell = (1 / scale, 1 / scale)
    return {
        "whole": seconds(images, network.module.encode),
        "needed": seconds(images, lambda image: network.module.encode(image, margin)),
        "decoder": seconds(
            [code] * TARGETS, lambda x: predictor.decoded(network, network.module.fold(x), *places, cell)
        ),
    }


def measured(options: argparse.Namespace, bands: int, *, clouds: bool) -> str:
    """Line of one case."""
    network, cube = ready(registry.spec(MODEL), "float32", "cpu"), series(options.side, bands, clouds=clouds)
    rounds = []
    for _ in range(options.repeats):
        Counted.encoded.clear()
        targets = at_targets(cube, options.scale)
        rounds.append({"targets": targets, **parts(network, options.side, options.scale)})
    cost = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    ratios = [cost["targets"] / cost["whole"], cost["targets"] / cost["needed"]]
    ratios.append((cost["needed"] + cost["decoder"]) / cost["needed"])
    words = f"{bands} bands, {'clouds' if clouds else 'clear'}"
    numbers = " ".join(f"{cost[name]:8.2f}" for name in ("whole", "needed", "decoder", "targets"))
    return f"{words:18}{len(Counted.encoded):9d} {numbers} {ratios[0]:8.2f} {ratios[1]:8.2f} {ratios[2]:8.2f}"


def main() -> None:
    """Print the costs, the ratios and the number of encodings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.small:
        options.side, options.repeats = 8, 1
    torch.set_num_threads(1)
    predictor.Features = Counted  # type: ignore[misc]
    at_targets(series(8, 4, clouds=True), options.scale)  # imports and first-use work
    lines = [
        f"{TARGETS} target times from {DATES} dates of {options.side}x{options.side}, scale {options.scale:g}, float32,"
        f" medians of {options.repeats}; {processor()}",
        "seconds of one thread         encode   encode   decode   target   targets  targets    least",
        "                  encodings    whole   needed             times   / whole / needed / needed",
        measured(options, 4, clouds=False),
        measured(options, 10, clouds=True),
    ]
    print("\n".join(lines))
    if options.write and not options.small:
        run.put("temporal_cost.py", "\n".join(lines))


if __name__ == "__main__":
    main()
