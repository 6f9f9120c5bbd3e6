"""Time, memory and pickled size of a graph, nothing read: 24 dates x 4 bands x 10980 x 10980 pixels at scale 3.4.

The floor is one task a block: (37333 / 1024)^2 x 24 blocks.
"""

import argparse
import pickle
import resource
import statistics
import time

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


def _must_not_run(*_: object, **__: object) -> np.ndarray:
    raise RuntimeError("a graph build must not read data")


def tile(side: int, dates: int) -> xr.DataArray:
    """Return a lazy cube of a Sentinel-2 series, whose chunks raise when they are computed."""
    chunks = da.core.normalize_chunks((1, len(BANDS), 1024, 1024), (dates, len(BANDS), side, side))
    data = da.map_blocks(_must_not_run, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))
    box = GeoBox((side, side), Affine(10, 0, 600_000, 0, -10, 5_700_000), "EPSG:32631")
    times = np.datetime64("2024-01-01", "ns") + np.arange(dates) * np.timedelta64(15, "D")
    coords = {"time": times, "band": BANDS, **xr_coords(box)}
    return xr.DataArray(data, dims=("time", "band", "y", "x"), coords=coords)


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    cube = tile(*(SMALL if options.small else (SIDE, DATES)))
    xsr.liif(cube.isel(time=[0], y=slice(0, 64), x=slice(0, 64)), scale=2)  # imports and first-use work
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        fine = xsr.liif(cube, scale=SCALE)
        tasks = len(fine.__dask_graph__())
        seconds.append(time.perf_counter() - start)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    blocks = int(np.prod(fine.data.numblocks))
    pickled = len(pickle.dumps(fine.data.dask.layers[fine.data.name])) / 1e6
    print(f"graph of {dict(fine.sizes)}: {blocks} blocks, {tasks} tasks with the input's, {tasks / blocks:.2f} a block")
    print(f"build {statistics.median(seconds):.2f} s (median of {len(seconds)}), {memory:.0f} MB more memory")
    print(f"tasks of the operation: {pickled:.1f} MB pickled")


if __name__ == "__main__":
    main()
