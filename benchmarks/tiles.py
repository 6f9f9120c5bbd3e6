"""Seconds and memory of tiles of the map over a real series, beside the time of the network alone.

Prints the table; ``--write`` puts it into the documentation. Needs the folder of real images in XSR_DATA. One core:
set OMP_NUM_THREADS=1.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice, product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import xarray as xr
from common.machine import processor
from wald import write

from xsr.models import predictor
from xsr.view.tiles import Tiles
from xsr.view.tiles.mercator import tile_of

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "decisions" / "0052-tiles.md"
MARKERS = "<!-- tiles: written by benchmarks/tiles.py -->", "<!-- end of tiles -->"
DEEPER = 1
"""Zooms finer than that of the cube's own pixels: 3.0 m on the ground at 51 degrees, the nearest to 2.5 m."""


def series(root: Path) -> xr.Dataset:
    """Open the Sentinel-2 series 31UES, 72 dates of 64 x 64 pixels."""
    return xr.open_dataset(root / "s2_ts_belgium_31UES" / "s2_10m.nc").chunk(time=1)


def filled(root: Path, side: int) -> xr.Dataset:
    """Mirror the series to ``side`` pixels along each axis, so that tiles lie in it whole."""
    cube = series(root).load()
    again = -(-side // 64)
    index = np.concatenate([np.arange(64) if n % 2 == 0 else np.arange(64)[::-1] for n in range(again)])[:side]
    wide = cube.isel(x=index, y=index)
    x, y = cube.x.values[0] + 10.0 * np.arange(side), cube.y.values[0] - 10.0 * np.arange(side)
    return wide.assign_coords(x=("x", x), y=("y", y)).chunk(time=1, y=256, x=256)


class Clock:
    """Adds up the seconds of a core that networks take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the calls of networks while this runs."""
        own = {name: getattr(predictor, name) for name in vars(predictor) if name.startswith("predict_")}
        try:
            for name, function in own.items():
                setattr(predictor, name, partial(self._call, function))
            yield
        finally:
            for name, function in own.items():
                setattr(predictor, name, function)

    def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        began = time.process_time()
        try:
            return function(*args, **options)
        finally:
            self.seconds += time.process_time() - began


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds of processor and of wall time."""
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def tiles_inside(tiles: Tiles, count: int) -> Iterator[tuple[int, int, int]]:
    """Tiles that lie in the cube whole, around its middle."""
    z, (west, south, east, north) = tiles.native_zoom + DEEPER, tiles.bounds
    x, y, *_ = tile_of((west + east) / 2, (south + north) / 2, z, size=tiles.size)
    side = int(np.ceil(np.sqrt(count)))
    for number in range(count):
        yield z, x - side // 2 + number % side, y - side // 2 + number // side


def speeds(root: Path, count: int, most: int | None = None) -> Iterator[str]:
    """Rows of cold and warm tiles, so many of them at most: seconds of one core, median."""
    for name, cube in (("640 m, tiles partly in it", series(root)), ("2.56 km, tiles whole in it", filled(root, 256))):
        tiles = Tiles(cube, units="dn10000", threads=1)
        wanted = [
            one for one in tiles.over(tiles.native_zoom + DEEPER) if tiles.values(*one, layer="input") is not None
        ]
        wanted = wanted[:most] if cube.sizes["x"] == 64 else list(tiles_inside(tiles, 1))
        dates = tiles.dates
        between = dates[:-1] + (dates[1:] - dates[:-1]) // 3
        for t, layer in ((dates[0], "liif"), (between[0], "liif"), (dates[0], "spread")):  # compiles kernels
            tiles.png(*wanted[0], t=t, layer=layer)
        for what, times, layer, number in (
            ("`liif`, an acquisition", dates[1:], "liif", count),
            ("`liif`, a time between", between[1:], "liif", max(2, count // 4)),
            ("`spread`", dates[1:], "spread", max(2, count // 4)),
            ("`bicubic`", dates[1:], "bicubic", count),
            ("`input`", dates[1:], "input", count),
        ):
            yield row(tiles, f"{what}; {name}", wanted, times[:number], layer)


def row(tiles: Tiles, name: str, wanted: list[tuple[int, int, int]], times: Any, layer: str) -> str:
    """One row: every time at every tile, once computed, once from memory."""
    cold, wall, warm, network = [], [], [], []
    for t, tile in product(times, wanted):
        draw, clock = partial(tiles.png, *tile, t=t, layer=layer), Clock()
        with clock.running():
            seconds, passed = timed(draw)
        cold.append(seconds)
        wall.append(passed)
        network.append(clock.seconds)
        warm.append(timed(draw)[1])
    return (
        f"| {name} | {len(cold)} | {median(cold):.2f} | {median(network):.2f} | {median(wall):.2f} |"
        f" {1000 * median(warm):.1f} |"
    )


def growth(root: Path, count: int, memory: str) -> str:
    """Say how the resident memory grows over many different tiles of the input."""
    tiles = Tiles(filled(root, 256), units="dn10000", threads=1, memory=memory)
    process, held = psutil.Process(), []
    wanted = product(tiles.dates, tiles_inside(tiles, 16))
    for t, tile in islice(wanted, count):
        tiles.png(*tile, t=t, layer="input")
        held.append(process.memory_info().rss / 1e6)
    warm = count // 4
    return (
        f'{count} tiles of the input with `memory="{memory}"`: {tiles.nbytes / 1e6:.0f} MB kept; resident memory'
        f" {held[0]:.0f} MB after the first, {held[warm]:.0f} MB after {warm}, {held[-1]:.0f} MB after the last."
    )


def main() -> None:
    """Print the table, and write it on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=12, help="dates of each row")
    parser.add_argument("--tiles", type=int, default=1000, help="tiles over which memory is observed, at most 1152")
    parser.add_argument("--memory", default="64MB")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--small", action="store_true", help="One row, and few tiles.")
    arguments = parser.parse_args()
    if "XSR_DATA" not in os.environ:
        print("XSR_DATA is not set; expected the folder of real images.")
        return
    root, tiles = Path(os.environ["XSR_DATA"]), 4 if arguments.small else arguments.tiles
    lines = [
        "| tile of 256 x 256 pixels; cube | tiles | cold, s of a core | the network's | cold, wall s | warm, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    found = islice(speeds(root, 1, 1), 1) if arguments.small else speeds(root, arguments.count)
    for line in found:
        print(line, flush=True)
        lines.append(line)
    load = f"{os.getloadavg()[1]:.0f} processes on {os.cpu_count()} cores"
    note = f"Medians, one thread of {processor()}, with {load}; a zoom finer than the cube's own."
    lines += ["", growth(root, tiles, arguments.memory), "", note]
    text = "\n".join(lines)
    print(text)
    if arguments.write and not arguments.small:
        write(TARGET, text, MARKERS)


if __name__ == "__main__":
    main()
