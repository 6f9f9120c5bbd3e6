"""What target times cost beside encoding the dates once: 12 target times from 24 dates, one process, one thread.

CPU seconds, medians of runs that alternate. The floor is the network's encoder over the same pixels, each date once;
what lies above it is fusion and decoding, which every target time has of its own.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import ClassVar

import dask
import numpy as np
import torch
import xarray as xr

import xsr
from xsr.models import predictor, registry
from xsr.models.engine import ready
from xsr.testing import synthetic_cube

MODEL = "temporal_liif_s2"
DATES, TARGETS = 24, 12
STEP = np.timedelta64(15, "D")
FIRST = np.datetime64("2024-01-01", "D")


class Counted(predictor.Features):
    """Features of dates, with the shapes that were encoded and the seconds that it took."""

    shapes: ClassVar[list[tuple[int, ...]]] = []
    seconds: ClassVar[list[float]] = []

    def _encode(self, dates: Sequence[int]) -> None:
        start = time.process_time()
        super()._encode(dates)
        self.shapes.extend(self._images.shape[1:] for _ in dates)
        self.seconds.append(time.process_time() - start)


def series(side: int) -> xr.DataArray:
    """Return a lazy cube, one date a chunk."""
    times = tuple(str(FIRST + n * STEP) for n in range(DATES))
    return synthetic_cube(size=(side, side), times=times).chunk({"time": 1})


def encode_once(shape: tuple[int, ...]) -> float:
    """Return the CPU seconds of encoding every date once."""
    network = ready(registry.spec(MODEL), "float32", "cpu")
    images = np.random.default_rng(0).standard_normal((DATES, *shape), np.float32)
    start = time.process_time()
    with torch.inference_mode():
        for date in range(DATES):
            network.module.encode(network.tensor(images[date : date + 1]))
    return time.process_time() - start


def at_targets(cube: xr.DataArray, scale: float) -> float:
    """Return the CPU seconds of all target times."""
    targets = FIRST + (np.arange(TARGETS) + 0.4) * ((DATES - 1) * STEP / np.timedelta64(1, "h") / TARGETS) * (
        np.timedelta64(1, "h")
    )
    start = time.process_time()
    with dask.config.set(scheduler="synchronous"):
        xsr.liif(cube, scale=scale, t=targets, model=MODEL, precision="float32").compute()
    return time.process_time() - start


def main() -> None:
    """Print the cost, the ratio and the number of encodings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    if options.small:
        options.side, options.repeats = 8, 1
    torch.set_num_threads(1)
    predictor.Features = Counted  # type: ignore[misc]
    cube, times = series(options.side), {"encode": [], "targets": []}
    at_targets(cube.isel(y=slice(0, 8), x=slice(0, 8)), options.scale)  # imports and first-use work
    for _ in range(options.repeats):
        Counted.shapes, Counted.seconds = [], []
        times["targets"].append(at_targets(cube, options.scale))
        times["encode"].append(encode_once(Counted.shapes[0]))
    encode, targets = (statistics.median(times[name]) for name in ("encode", "targets"))
    print(f"{TARGETS} target times from {DATES} dates of {options.side}x{options.side}, scale {options.scale:g}")
    print(f"encode {DATES} dates once {encode:.2f} s, target times {targets:.2f} s, ratio {targets / encode:.2f}")
    print(f"{len(Counted.shapes)} encodings, {sum(Counted.seconds) / targets:.0%} of the time")


if __name__ == "__main__":
    main()
