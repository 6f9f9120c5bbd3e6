"""Stores of very many blocks: time and memory to the first block, graphs in time, resume, requests and verification.

Every figure is that of a fresh process. ``--before`` names a checkout of another version, which is measured in turn
with this one; without it there is one column. ``--write`` writes docs/reference/scale.md. The first two figures are of
10980 x 10980 pixels on 100 dates; ``--blocks`` is the size of the larger of the small-block stores.
"""

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "scale.md"
SIDE, DATES, TARGETS = 10980, 100, 50
SMALL = 1100, 4, 2
"""Side, dates and target times of a run that only shows that the benchmark runs."""
BLOCKS, REMOTE_BLOCKS = 100_000, 2000
SMALL_BLOCKS, SMALL_REMOTE = 20, 4
BANDS = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
Figures = dict[str, float]


def cube(side: int, dates: int, bands: int, chunk: int, *, hours: int = 120) -> xr.DataArray:
    """Return a lazy cube of a Sentinel-2 series in which every pixel is 0.3; ``hours`` between two dates."""
    chunks = (1, bands, chunk, chunk)
    data = da.full((dates, bands, side, side), np.float32(0.3), chunks=chunks, dtype=np.float32)
    box = GeoBox((side, side), Affine(10, 0, 600_000, 0, -10, 5_700_000), "EPSG:32631")
    times = np.datetime64("2020-01-01", "ns") + np.arange(dates) * np.timedelta64(hours, "h")
    return xr.DataArray(
        data,
        dims=("time", "band", "y", "x"),
        coords={"time": times, "band": list(BANDS[:bands]), **xr_coords(box)},
        name="reflectance",
    )


def many_blocks(count: int) -> xr.DataArray:
    """Return a cube of so many blocks of one date of 2 x 2 pixels."""
    return cube(2, count, 1, 2, hours=1)  # so many dates end before those that fit into nanoseconds


def memory_mb() -> float:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def at_first_block(begun: Callable[[], None]) -> Iterator[None]:
    """Call a function when the first block of an image is about to be written to a local store."""
    from zarr.storage import LocalStore

    real = LocalStore.set

    async def watching(self: LocalStore, key: str, value: Any) -> None:
        if re.search(r"reflectance/(c/)?\d", key):
            begun()
        await real(self, key, value)

    LocalStore.set = watching  # type: ignore[method-assign]
    try:
        yield
    finally:
        LocalStore.set = real  # type: ignore[method-assign]


def measure_begin(options: argparse.Namespace) -> Figures:
    """Seconds of `to_zarr` until its first block is written, and peak memory then."""
    import xsr

    side, dates, _ = SMALL if options.small else (SIDE, DATES, TARGETS)
    fine = xsr.interpolate(cube(side, dates, 4, 1024), scale=3.4, method="nearest")
    start, processor = time.perf_counter(), time.process_time()

    def begun() -> None:
        found = {
            "blocks": float(np.prod(fine.data.numblocks)),
            "seconds": time.perf_counter() - start,
            "processor seconds": time.process_time() - processor,
            "peak MB": memory_mb(),
        }
        print(json.dumps(found), flush=True)
        os._exit(0)

    with tempfile.TemporaryDirectory() as folder, at_first_block(begun):
        xsr.to_zarr(fine, Path(folder) / "a.zarr", progress=False, force=True)  # whatever the disk could hold
    raise AssertionError("no block was written")


def measure_t(options: argparse.Namespace) -> Figures:
    """Seconds and memory of building ``liif(t=...)``."""
    import xsr

    side, dates, targets = SMALL if options.small else (SIDE, DATES, TARGETS)
    series = cube(side, dates, 10, 1024)
    times = np.datetime64("2020-01-08", "ns") + np.arange(targets) * np.timedelta64(5, "D")
    xsr.liif(series.isel(time=slice(0, 3), y=slice(0, 64), x=slice(0, 64)), scale=2, t=times[:1])  # imports
    before, start, processor = memory_mb(), time.perf_counter(), time.process_time()
    fine = xsr.liif(series, scale=3.4, t=times)
    return {
        "tasks": float(len(fine.__dask_graph__())),
        "seconds": time.perf_counter() - start,
        "processor seconds": time.process_time() - processor,
        "more MB": memory_mb() - before,
    }


def measure_ledger(options: argparse.Namespace) -> Figures:
    """Seconds to resume a complete store, and to verify it at a tenth of the size and at all of it."""
    import xsr

    most = SMALL_BLOCKS if options.small else options.blocks
    found = {"blocks": float(most)}
    with tempfile.TemporaryDirectory() as folder:
        for count in (most // 10, most):
            made, path = many_blocks(count), Path(folder) / f"{count}.zarr"
            found[f"write {count}, s"] = seconds(xsr.to_zarr, made, path, progress=False)
            found[f"verify {count}, s"] = seconds(xsr.verify, path)
            found[f"resume {count} complete, s"] = seconds(xsr.to_zarr, made, path, progress=False, resume=True)
    return found


def seconds(function: Callable[..., object], *arguments: object, **how: object) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function(*arguments, **how)
    return time.perf_counter() - start


def measure_requests(options: argparse.Namespace) -> Figures:
    """HTTP requests when a store on an object store is written, resumed when complete, and verified."""
    import xsr

    count = SMALL_REMOTE if options.small else options.remote_blocks
    made, url, found = many_blocks(count), "s3://bucket/a.zarr", {"blocks": float(count)}
    with object_store() as reach, counted() as requests:
        for name, work in (
            ("write", lambda: xsr.to_zarr(made, url, storage_options=reach, progress=False)),
            ("resume complete", lambda: xsr.to_zarr(made, url, storage_options=reach, progress=False, resume=True)),
            ("verify", lambda: xsr.verify(url, storage_options=reach)),
        ):
            requests.clear()
            work()
            found[f"{name}, requests"] = float(len(requests))
    return found


@contextmanager
def object_store() -> Iterator[dict[str, Any]]:
    """Start an S3 server with an empty bucket; how to reach it."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    reach = {"key": "a", "secret": "b", "client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
    try:
        s3fs.S3FileSystem(**reach).mkdir("bucket")
        yield reach
    finally:
        server.stop()


@contextmanager
def counted() -> Iterator[list[str]]:
    """Note the method of every HTTP request of s3fs."""
    from aiobotocore.httpsession import AIOHTTPSession

    requests, real = [], AIOHTTPSession.send

    async def sending(self: AIOHTTPSession, request: Any) -> Any:
        requests.append(request.method)
        return await real(self, request)

    AIOHTTPSession.send = sending  # type: ignore[method-assign]
    try:
        yield requests
    finally:
        AIOHTTPSession.send = real  # type: ignore[method-assign]


MEASURES = {
    "begin": (measure_begin, "`to_zarr` of 100 dates of 10980 x 10980 pixels at scale 3.4, to its first block"),
    "t": (measure_t, "Building `liif(t=...)`: 100 dates of 10980 x 10980 pixels, 10 bands, 50 target times"),
    "ledger": (measure_ledger, "Many small blocks on a local disk"),
    "requests": (measure_requests, "Many small blocks on an object store"),
}


def run(name: str, tree: Path, options: argparse.Namespace) -> Figures:
    """Measure in a fresh process, with the package of a checkout; what is small, and returns, in this one."""
    if options.small and tree == ROOT and name != "begin":
        return MEASURES[name][0](options)
    given = ["--measure", name, "--blocks", options.blocks, "--remote-blocks", options.remote_blocks]
    given += ["--small"] if options.small else []
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, *map(str, given)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(tree), "TMPDIR": folder},
        )
    if done.returncode:
        sys.exit(f"{name} in {tree} failed:\n{done.stderr}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def table(name: str, trees: dict[str, Path], options: argparse.Namespace) -> str:
    """Measure all versions in turn, a few times; a table of the medians."""
    runs: dict[str, list[Figures]] = {label: [] for label in trees}
    for _ in range(options.repeats):
        for label, tree in trees.items():
            runs[label].append(run(name, tree, options))
    lines = [f"## {MEASURES[name][1]}\n", f"| | {' | '.join(trees)} |", f"| --- |{' ---: |' * len(trees)}"]
    for row in runs[next(iter(trees))][0]:
        medians = (statistics.median(figures[row] for figures in runs[label]) for label in trees)
        lines.append(f"| {row} | {' | '.join(f'{value:.4g}' for value in medians)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="small inputs, to check that it runs")
    parser.add_argument("--before", type=Path, help="checkout of another version")
    parser.add_argument("--only", choices=MEASURES, action="append", help="one of the tables; may be repeated")
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--remote-blocks", type=int, default=REMOTE_BLOCKS)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(MEASURES[options.measure][0](options)))
        return
    trees = ({"before": options.before.resolve()} if options.before else {}) | {"now": ROOT}
    tables = []
    for name in options.only or MEASURES:
        tables.append(table(name, trees, options))
        print(tables[-1], flush=True)
    if options.write and not options.small:
        about = "# Stores of very many blocks\n\nWritten by `python benchmarks/store_scale.py --write`.\n"
        PAGE.write_text("\n".join([about, *tables]))


if __name__ == "__main__":
    main()
