"""The same cube on a cluster of processes: nothing changes but the client, and a killed run goes on where it stopped.

Run it with ``python examples/on_a_cluster.py``; it writes ``fine.zarr``.
"""

import sys
from pathlib import Path

from distributed import Client, LocalCluster

import xsr
from xsr.testing import synthetic_cube


def main(out: Path) -> None:
    """Write a super-resolved series with two workers, twice: the second call finds all blocks done."""
    cube = synthetic_cube(size=(64, 64), times=["2024-04-10", "2024-07-19"], chunks={"time": 1, "y": 32, "x": 32})
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        fine = cube.sr.liif(scale=3.4)
        first = fine.sr.to_zarr(out, resume=True, progress=False, input_id="example")
        again = fine.sr.to_zarr(out, resume=True, progress=False, input_id="example")
    print(f"{first.computed} of {first.blocks} blocks computed, then {again.computed}")
    print("every block has the checksum it was written with:", xsr.verify(out).ok)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "fine.zarr"))
