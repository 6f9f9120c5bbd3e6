"""What a second Dask thread brings to degradation and metrics, and the memory a block takes beyond its pixels.

The floor is one sum over the images by two threads: its share is the part of the speed of memory that is reached.
Errors are bound by memory, the others by arithmetic: a pixel costs strata a root and five sums in a table, SSIM 220
operations of float64, a spectrum the real transforms of eight patches, of some 40 operations each. The thread counts
alternate within one run. Memory is the peak of NumPy's allocations while one block is computed eagerly, beyond the
arrays handed in, in units of what the block is handed: one image to degrade, two to compare.
"""

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsr

BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]


def cube(side: int, chunk: int | None, seed: int = 0) -> xr.DataArray:
    """Return reflectance-like noise of ten bands, in memory: in chunks as a reader delivers them, or as one array."""
    rng = np.random.default_rng(seed)
    values = rng.random((1, len(BANDS), side, side), dtype=np.float32) * np.float32(0.3)
    data = values
    if chunk is not None:
        data = da.from_array(values, chunks=(1, len(BANDS), chunk, chunk)).map_blocks(np.ascontiguousarray).persist()
    box = GeoBox((side, side), Affine(10, 0, 600_000, 0, -10, 5_700_000), "EPSG:32631")
    coords = {"time": np.array(["2024-06-15"], "datetime64[ns]"), "band": BANDS, **xr_coords(box)}
    return xr.DataArray(data, dims=("time", "band", "y", "x"), coords=coords, name="reflectance")


def jobs(low: xr.DataArray, high: xr.DataArray) -> dict[str, Callable[[], Any]]:
    """Return the work, by name."""
    return {
        "degrade, factor 2": lambda: xsr.degrade(high, scale=2),
        "degrade, factor 2, sensor noise": lambda: xsr.degrade(high, scale=2, noise="sensor"),
        "strata: MAE, RMSE, PSNR": lambda: xsr.strata(low, high, data_range=1.0),
        "evaluate: MAE, RMSE, bias, PSNR": lambda: xsr.evaluate(
            low, high, data_range=1.0, metrics=("mae", "rmse", "bias", "psnr")
        ),
        "spectrum": lambda: xsr.spectrum(low, high),
        "evaluate: SSIM": lambda: xsr.evaluate(low, high, data_range=1.0, metrics=("ssim",)),
    }


def reading(*cubes: xr.DataArray) -> Callable[[], Any]:
    """Return what reads all pixels of cubes once, by as many threads as Dask has."""
    blocks = [block for cube in cubes for block in dask.compute(*cube.data.to_delayed().ravel())]

    def read() -> list[float]:
        with ThreadPoolExecutor(dask.config.get("num_workers")) as pool:
            return list(pool.map(np.sum, blocks))

    return read


def medians(call: Callable[[], Any], floor: Callable[[], Any], repeats: int) -> list[float]:
    """Median seconds of a job by one thread and by two, and of the floor by two, in turn."""
    ways = [(1, lambda: call().compute()), (2, lambda: call().compute()), (2, floor)]
    times: list[list[float]] = [[] for _ in ways]
    for turn in range(repeats + 1):
        for (workers, way), seconds in zip(ways, times, strict=True):
            with dask.config.set(scheduler="threads", num_workers=workers):
                start = time.perf_counter()
                way()
                if turn:
                    seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    chunk = 1024
    if options.small:
        options.side, options.repeats, chunk = 128, 1, 64
    high = cube(options.side, chunk)
    low = cube(options.side, chunk, seed=1)
    work = jobs(low, high)
    print(f"{len(BANDS)} bands of {options.side}x{options.side} in chunks of {chunk}, medians of {options.repeats}")
    print("                                   one thread     two           the floor's share of two")
    for name, call in work.items():
        floor = reading(high) if name.startswith("degrade") else reading(low, high)
        one, two, least = medians(call, floor, options.repeats)
        print(f"{name:<34} {one:8.2f} s {two:8.2f} s {one / two:5.2f} x {least / two:8.0%}")
    block = cube(chunk, None)
    size = block.nbytes
    print(f"extra memory of one block of {chunk}x{chunk}, {size / 1e6:.0f} MB an image")
    for name, call in jobs(cube(chunk, None, seed=1), block).items():
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        handed = size if name.startswith("degrade") else 2 * size
        print(f"{name:<34} {peak / 1e6:6.1f} MB  {peak / handed:5.2f} times what it is handed")


if __name__ == "__main__":
    main()
