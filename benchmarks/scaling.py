"""What a second Dask thread brings to degradation and metrics, and the memory a block takes beyond its pixels.

The two thread counts alternate within one run. Memory is the peak of NumPy's allocations while one block is computed
eagerly, beyond the arrays handed in, in units of what the block is handed: one image to degrade, two to compare.
"""

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsr

BANDS = ["B02", "B03", "B04", "B08"]


def cube(side: int, chunk: int | None, seed: int = 0) -> xr.DataArray:
    """Return reflectance-like noise of four bands, in memory: in chunks as a reader delivers them, or as one array."""
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
        "evaluate: SSIM": lambda: xsr.evaluate(low, high, data_range=1.0, metrics=("ssim",)),
    }


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=6144)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    chunk = 1024
    if options.small:
        options.side, options.repeats, chunk = 128, 1, 64
    high = cube(options.side, chunk)
    work = jobs(cube(options.side, chunk, seed=1), high)
    print(f"4 bands of {options.side}x{options.side} in chunks of {chunk}, medians of {options.repeats}")
    for name, call in work.items():
        times: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(options.repeats + 1):
            for workers, seconds in times.items():
                with dask.config.set(scheduler="threads", num_workers=workers):
                    start = time.perf_counter()
                    call().compute()
                    if turn:
                        seconds.append(time.perf_counter() - start)
        one, two = (statistics.median(times[n]) for n in (1, 2))
        print(f"{name:<34} one thread {one:6.2f} s  two {two:6.2f} s  {one / two:4.2f} x")
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
