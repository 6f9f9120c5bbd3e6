"""Time, memory and pickled size of a graph, nothing read: 24 dates x 4 bands x 10980 x 10980 pixels at scale 3.4.

The floor is one task a block: (37333 / 1024)^2 x 24 blocks. Then 50 target times from 100 dates of 10 bands, built, and
written to a store until the first chunk would be read.
"""

import argparse
import pickle
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsr

SIDE, DATES, SCALE = 10980, 24, 3.4
SMALL = 2000, 2
"""Side and dates of a graph that is built at once."""
BANDS = ["B02", "B03", "B04", "B08"]
LONG, TARGETS = 100, 50
"""Dates, and target times, of the longer series, and its bands."""
TEN = [*BANDS, "B05", "B06", "B07", "B8A", "B11", "B12"]


class Read(Exception):
    """A chunk is to be read."""


def _must_not_run(*_: object, **__: object) -> np.ndarray:
    raise Read


def tile(side: int, dates: int, bands: Sequence[str] = BANDS) -> xr.DataArray:
    """Return a lazy cube of a Sentinel-2 series, whose chunks raise when they are computed."""
    chunks = da.core.normalize_chunks((1, len(bands), 1024, 1024), (dates, len(bands), side, side))
    data = da.map_blocks(_must_not_run, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))
    box = GeoBox((side, side), Affine(10, 0, 600_000, 0, -10, 5_700_000), "EPSG:32631")
    times = np.datetime64("2024-01-01", "ns") + np.arange(dates) * np.timedelta64(15, "D")
    coords = {"time": times, "band": list(bands), **xr_coords(box)}
    return xr.DataArray(data, dims=("time", "band", "y", "x"), coords=coords)


def peak_mb() -> float:
    """Most memory that the process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def target_times(side: int, dates: int) -> None:
    """Print what target times of a long series cost before anything is read."""
    cube = tile(side, dates, TEN)
    first, step = cube.time.values[0], (cube.time.values[-1] - cube.time.values[0]) / TARGETS
    before, start = peak_mb(), time.process_time()
    fine = xsr.liif(cube, scale=SCALE, t=first + (np.arange(TARGETS) + 0.4) * step)
    tasks = len(fine.__dask_graph__())
    built = time.process_time() - start
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        try:
            fine.sr.to_zarr(Path(folder) / "fine.zarr", force=True, progress=False)
        except Read:
            begun = time.process_time() - start
    print(f"{TARGETS} target times from {dates} dates of {dict(cube.sizes)}: {tasks} tasks with the input's")
    print(f"processor seconds: build {built:.1f}, to_zarr until the first chunk is read {begun:.1f}")
    print(f"{peak_mb() - before:.0f} MB more memory")


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    cube = tile(*(SMALL if options.small else (SIDE, DATES)))
    xsr.liif(cube.isel(time=[0], y=slice(0, 64), x=slice(0, 64)), scale=2)  # imports and first-use work
    before = peak_mb()
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        fine = xsr.liif(cube, scale=SCALE)
        tasks = len(fine.__dask_graph__())
        seconds.append(time.perf_counter() - start)
    memory = peak_mb() - before
    blocks = int(np.prod(fine.data.numblocks))
    pickled = len(pickle.dumps(fine.data.dask.layers[fine.data.name])) / 1e6
    print(f"graph of {dict(fine.sizes)}: {blocks} blocks, {tasks} tasks with the input's, {tasks / blocks:.2f} a block")
    print(f"build {statistics.median(seconds):.2f} s (median of {len(seconds)}), {memory:.0f} MB more memory")
    print(f"tasks of the operation: {pickled:.1f} MB pickled")
    target_times(cube.sizes["x"], SMALL[1] if options.small else LONG)


if __name__ == "__main__":
    main()
