"""Super-resolve on a SLURM cluster, through jobs that dask-jobqueue submits; with --local the jobs are processes here.

python examples/on_slurm.py s3://bucket/scene.zarr s3://bucket/fine.zarr --jobs 8
"""

import argparse
import sys
from typing import Any

import dask_jobqueue.local
from distributed import Client

import xsr

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
"""One thread for each of Dask's: see the page on chunks and workers."""


def cluster_of(local: bool, *, cores: int, memory: str) -> Any:
    """Cluster whose workers are jobs: the same settings for SLURM and for processes of this machine."""
    settings: dict[str, Any] = {"cores": cores, "processes": 1, "memory": memory, "python": sys.executable}
    if local:  # without the shell that would set an environment: the jobs inherit that of this process
        return dask_jobqueue.local.LocalCluster(
            **settings, log_directory=None, scheduler_options={"dashboard_address": ":0"}
        )
    prologue = [f"export {name}={value}" for name, value in ENVIRONMENT.items()]
    return dask_jobqueue.SLURMCluster(
        **settings, queue="compute", walltime="02:00:00", job_script_prologue=prologue, log_directory="logs"
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cores", type=int, default=4)
    parser.add_argument("--memory", default="16 GB")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--model", default="liif_s2")
    parser.add_argument("--local", action="store_true")
    given = parser.parse_args()
    with cluster_of(given.local, cores=given.cores, memory=given.memory) as cluster, Client(cluster):
        cluster.scale(jobs=given.jobs)
        cube = xsr.open(given.source)
        if given.model == "bicubic":
            fine = cube.sr.interpolate(scale=given.scale)
        else:
            fine = cube.sr.liif(scale=given.scale, model=given.model)
        report = fine.sr.to_zarr(given.out, resume=True, progress=False)
    print(f"{report.path}: {report.computed} of {report.blocks} blocks computed by {given.jobs} jobs")


if __name__ == "__main__":
    main()
