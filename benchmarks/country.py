"""What a country costs: 1000 tiles of Sentinel-2, 70 dates, ten bands at 5 m; and how many workers one client can feed.

Measured here, each in a fresh process: processor seconds and bytes of a real image, requests to an object store, and
the processor seconds that client and scheduler spend on a block of almost no work. The rest is arithmetic with the
prices below, and a simulation of 10 million blocks that are handed over in portions as `to_zarr` does it. ``--write``
puts the tables into docs/reference/country.md.
"""

import argparse
import heapq
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from common.data import manifest
from common.machine import processor
from pipeline import FASTEST
from store_scale import BANDS, counted, many_blocks, memory_mb, object_store

from xsr.testing import synthetic_cube
from xsr.training.reading import read_scene

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "country.md"
TILES, DATES, SIDE, FACTOR = 1000, 70, 10_980, 2
SCENE = "T33UUB"
CHUNK = 1024
"""Side of a block of the input."""
REPEATED = 1.25
"""Bytes read over bytes there are: each block of 1024 pixels reads parts of its eight neighbours' objects again."""
PORTION, A_THREAD = 8192, 64
"""Most blocks that are handed over at once, and for each thread of very many."""
WORKERS = (100, 1000, 10_000, 100_000)
Figures = dict[str, float]


@dataclass(frozen=True)
class Prices:
    """Dollars, rounded, of a large provider in 2025, from memory: put in those of your own contract."""

    core_hour: float = 0.05
    """On demand; a spot market asks about a third."""
    put_1000: float = 0.005
    get_1000: float = 0.0004
    gb_month: float = 0.023


def image(side: int) -> xr.DataArray:
    """Image in ten bands: T33UUB, each 20 m pixel four times; a synthetic one where there are no real images."""
    data, made = manifest(), synthetic_cube(size=(side, side), bands=BANDS)
    if data is not None:
        scene = next(one for one in data.scenes if one.place == SCENE)
        reading = read_scene(data, scene)
        assert reading.coarse is not None
        known = dict(zip(reading.fine.names, reading.fine.values[0], strict=True))
        known |= {
            name: np.repeat(np.repeat(band, 2, 0), 2, 1)
            for name, band in zip(reading.coarse.names, reading.coarse.values[0], strict=True)
        }
        made.values[0] = np.stack([known[name][:side, :side] for name in BANDS])
    return made


def measure_work(options: argparse.Namespace) -> Figures:
    """Processor seconds and bytes of one image, Zarr to Zarr."""
    import dask

    import xsr

    side, turns = (32, 1) if options.small else (512, 2)
    found: Figures = {}
    with tempfile.TemporaryDirectory() as folder, dask.config.set(num_workers=1):
        source = Path(folder) / "coarse.zarr"
        xsr.to_zarr(image(side).chunk(y=side, x=side), source, progress=False, dtype="uint16")
        found["bytes read"] = sum(f.stat().st_size for f in source.rglob("*") if f.is_file()) / side**2
        jobs: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
            "carn_3x3x64g4sw_s2": lambda coarse: xsr.sisr(coarse, model="carn_3x3x64g4sw_s2"),
            FASTEST: lambda coarse: xsr.sisr(coarse, model=FASTEST),
            "liif_s2": lambda coarse: xsr.liif(coarse, scale=FACTOR),
        }
        for name, job in jobs.items():
            for turn in range(turns):  # the first compiles kernels and loads weights
                start, target = time.process_time(), Path(folder) / f"{name}{turn}.zarr"
                xsr.to_zarr(job(xsr.open(source)), target, progress=False, dtype="uint16")
                found[f"{name}, s"] = (time.process_time() - start) / side**2
            found["bytes written"] = sum(f.stat().st_size for f in target.rglob("*") if f.is_file()) / side**2
    return found


def measure_requests(options: argparse.Namespace) -> Figures:
    """Count the requests for each block that is read from one store of an object store and written to another."""
    import xsr

    counts = (1, 2) if options.small else (50, 150)
    totals = []
    with object_store() as reach, counted() as requests:
        for count in counts:
            source, target = f"s3://bucket/{count}.zarr", f"s3://bucket/fine{count}.zarr"
            xsr.to_zarr(many_blocks(count), source, storage_options=reach, progress=False)
            coarse = xr.open_zarr(source, storage_options=reach)["reflectance"]
            requests.clear()
            fine = xsr.interpolate(coarse, scale=FACTOR, method="nearest")
            xsr.to_zarr(fine, target, storage_options=reach, progress=False)
            puts = sum(method in ("PUT", "POST") for method in requests)
            totals.append((puts, len(requests) - puts))
    per_block = np.diff(totals, axis=0)[0] / (counts[1] - counts[0])
    return {"puts": float(per_block[0]), "gets": float(per_block[1])}


def measure_driver(options: argparse.Namespace) -> Figures:
    """Processor seconds and memory of client and scheduler, one process, for each block of a cluster's run."""
    import distributed

    import xsr

    counts = (4, 12) if options.small else (1000, 3000)
    spent = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        cluster = stack.enter_context(
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=folder)
        )
        stack.enter_context(distributed.Client(cluster))
        xsr.to_zarr(many_blocks(counts[0] if options.small else 20), Path(folder) / "first.zarr", progress=False)
        for count in counts:
            start = time.process_time()
            xsr.to_zarr(many_blocks(count), Path(folder) / f"{count}.zarr", progress=False)
            spent.append((time.process_time() - start, memory_mb()))
    (seconds, memory), more = np.diff(spent, axis=0)[0], counts[1] - counts[0]
    return {"driver s": float(seconds / more), "driver bytes": max(float(memory) * 2**20 / more, 0.0)}


def simulate(blocks: int, workers: int, block_s: float, driver_s: float, *, seed: int = 0) -> float:
    """Share of the workers' time that is work, when one client feeds them.

    Each block takes the workers ``block_s`` give or take a fifth, and client and scheduler ``driver_s``, one block
    after another. A portion is handed over when half of the one before it is done.

    Parameters
    ----------
    blocks, workers
        How many there are.
    block_s, driver_s
        Seconds of a block, of a worker and of the client with its scheduler.
    seed
        Of the blocks' times.
    """
    rng = random.Random(seed)
    free, portion = [0.0] * workers, max(PORTION, A_THREAD * workers)
    driver = work = end = 0.0
    ends: list[float] = []
    begin = 0.0
    for number in range(blocks):
        if number % portion == 0 and ends:
            ends.sort()
            begin, ends = ends[len(ends) // 2], []
        driver = max(driver, begin) + driver_s
        takes = block_s * rng.uniform(0.8, 1.2)
        done = max(free[0], driver) + takes
        heapq.heapreplace(free, done)
        ends.append(done)
        work += takes
        end = max(end, done)
    return work / (workers * end)


MEASURES = {"work": measure_work, "requests": measure_requests, "driver": measure_driver}


def run(name: str) -> Figures:
    """Measure in a fresh process, on one thread."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "NUMBA")}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--measure", name],
            capture_output=True,
            text=True,
            env={**os.environ, **threads, "TMPDIR": folder},
        )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def report(found: Figures, prices: Prices, *, small: bool) -> str:
    """Tables of what was measured, what a country costs, and how many workers a client feeds."""
    pixels = TILES * DATES * SIDE**2
    blocks = TILES * DATES * (-(-SIDE // CHUNK)) ** 2
    models = [name.removesuffix(", s") for name in found if name.endswith(", s")]
    lines = [
        f"{TILES} tiles, {DATES} dates, {len(BANDS)} bands, ×{FACTOR}: {pixels / 1e12:.1f} terapixels of input in"
        f" {blocks / 1e6:.1f} million blocks of {CHUNK} x {CHUNK}. Measured on one core of {processor()}.\n",
        "| measured | |",
        "| --- | ---: |",
        *(f"| {name}, kilopixels of input a core second | {1e-3 / found[f'{name}, s']:.1f} |" for name in models),
        f"| bytes read, written, for a pixel of input | {found['bytes read']:.1f}, {found['bytes written']:.1f} |",
        f"| requests for a block: writing, reading | {found['puts']:.1f}, {found['gets']:.1f} |",
        f"| client and scheduler for a block, milliseconds | {1e3 * found['driver s']:.2f} |",
        f"| the same, kilobytes kept | {found['driver bytes'] / 1e3:.2f} |\n",
        f"| a country with | {' | '.join(models)} |",
        f"| --- |{' ---: |' * len(models)}",
    ]
    hours = {name: pixels * found[f"{name}, s"] / 3600 for name in models}
    puts, gets = found["puts"] * blocks, found["gets"] * blocks * REPEATED
    written = pixels * found["bytes written"]
    requests = puts / 1000 * prices.put_1000 + gets / 1000 * prices.get_1000
    rows: dict[str, Callable[[str], str]] = {
        "core-hours": lambda name: f"{hours[name]:,.0f}",
        "days on 1000 cores": lambda name: f"{hours[name] / 24_000:.1f}",
        "terabytes read": lambda _: f"{pixels * found['bytes read'] * REPEATED / 1e12:.1f}",
        "terabytes written": lambda _: f"{written / 1e12:.1f}",
        "million requests, writing, reading": lambda _: f"{puts / 1e6:.0f}, {gets / 1e6:.0f}",
        f"cores, at ${prices.core_hour:g} an hour": lambda name: f"${hours[name] * prices.core_hour:,.0f}",
        "requests": lambda _: f"${requests:,.0f}",
        "a month of the result": lambda _: f"${written / 1e9 * prices.gb_month:,.0f}",
        "cores that one client can feed": lambda name: f"{CHUNK**2 * found[f'{name}, s'] / found['driver s']:,.0f}",
    }
    lines += [f"| {row} | {' | '.join(cell(name) for name in models)} |" for row, cell in rows.items()]
    count = 2_000 if small else 10_000_000
    block_s = CHUNK**2 * found[f"{FASTEST}, s"]
    lines += [
        f"\nOne client that writes {count / 1e6:g} million blocks of {block_s:.0f} s (`{FASTEST}`), simulated:\n",
        "| cores | share of their time that is work | hours |",
        "| ---: | ---: | ---: |",
    ]
    for workers in WORKERS:
        share = simulate(count, workers, block_s, found["driver s"])
        lines.append(f"| {workers} | {share:.1%} | {count * block_s / workers / share / 3600:,.1f} |")
    lines.append(
        "\nThe client is what breaks first: a faster network leaves it less time for a block. Its memory grew by the"
        f" above from 1000 to 3000 blocks; if it went on so it would be {count * found['driver bytes'] / 1e9:.0f} GB."
        " A store for each tile, each with its own client, has neither bound; larger blocks raise the first in"
        " proportion."
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="small inputs in one process, to check that it runs")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    for name, value in asdict(Prices()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value, help="dollars")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(MEASURES[options.measure](options)))
        return
    prices = Prices(**{name: getattr(options, name) for name in asdict(Prices())})
    parts = [measure(options) if options.small else run(name) for name, measure in MEASURES.items()]
    found = {key: value for part in parts for key, value in part.items()}
    text = report(found, prices, small=options.small)
    print(text)
    if options.write and not options.small:
        about = PAGE.read_text(encoding="utf-8")
        marked = re.compile(r"(<!-- tables: written by benchmarks/country.py -->\n).*(<!-- end of tables -->)", re.S)
        PAGE.write_text(marked.sub(lambda m: f"{m[1]}\n{text}\n{m[2]}", about), encoding="utf-8")


if __name__ == "__main__":
    main()
