"""Seconds of calls that alternate, and the rate that a processor multiplies at."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a call takes."""
    wall, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - busy


def alternate(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Processor seconds of runs in the order A B A B, after one of each that does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, call in runs.items():
            _, busy = timed(call)
            if turn:
                times[name].append(busy)
    return times


def peak(dtype: Any, side: int) -> float:
    """Rate of convolutions of 256 channels, multiplications and additions a second."""
    import torch

    found = []
    for size in (1, 3):
        layer = torch.nn.Conv2d(256, 256, size, padding=size // 2).to(dtype).to(memory_format=torch.channels_last)
        image = torch.rand(1, 256, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            seconds = alternate({"": lambda layer=layer, image=image: layer(image)}, 15)[""]  # type: ignore[misc]
        found.append(2 * 256**2 * size**2 * side**2 / statistics.median(seconds))
    return max(found)
