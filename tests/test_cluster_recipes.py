"""The recipes for clusters: jobs that really start workers, and manifests that Kubernetes takes."""

import re
import subprocess
import sys
from pathlib import Path

import dask
import kubernetes_validate
import numpy as np
import pytest
import yaml
from helpers import make_cube

import xsr

ROOT = Path(__file__).resolve().parents[1]
MANIFESTS = sorted((ROOT / "examples" / "kubernetes").glob("*.yaml"))
PAGE = ROOT / "docs" / "how-to" / "run-on-your-cluster.md"
VERSION = "1.33"


def documents():
    return [(path.name, one) for path in MANIFESTS for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


NATIVE = [(name, one) for name, one in documents() if one["kind"] != "DaskCluster"]


@pytest.mark.parametrize(("name", "document"), NATIVE, ids=[f"{name}-{one['kind']}" for name, one in NATIVE])
def test_a_manifest_is_valid(name, document):
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_a_wrong_manifest_is_refused():
    (deployment,) = (one for _, one in NATIVE if one["metadata"]["name"] == "xsr-workers")
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate({**deployment, "spec": {**deployment["spec"], "replica": 2}}, VERSION, strict=True)


def pods():
    """Specifications of pods, by manifest and name; those of the operator are pods of Kubernetes inside."""
    found = {}
    for name, one in documents():
        if one["kind"] in ("Deployment", "Job"):
            found[name, one["metadata"]["name"]] = one["spec"]["template"]["spec"]
        if one["kind"] == "DaskCluster":
            found |= {(name, part): one["spec"][part]["spec"] for part in ("worker", "scheduler")}
    return found


@pytest.mark.parametrize("key", pods(), ids="-".join)
def test_pods_are_valid_and_run_one_image(key):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pods()[key]}
    kubernetes_validate.validate(pod, VERSION, strict=True)
    assert {one["image"] for spec in pods().values() for one in spec["containers"]} == {
        "registry.example.com/xsr:0.1.0"
    }


@pytest.mark.parametrize("key", [key for key in pods() if key[1] in ("xsr-workers", "worker")], ids="-".join)
def test_workers_have_the_cores_and_the_memory_that_dask_is_told(key):
    (container,) = pods()[key]["containers"]
    words = [*container.get("command", []), *container["args"]]
    stated = {name: words[words.index(name) + 1] for name in ("--nthreads", "--memory-limit")}
    requested = container["resources"]["requests"]
    assert stated["--nthreads"] == requested["cpu"]
    assert dask.utils.parse_bytes(stated["--memory-limit"]) < dask.utils.parse_bytes(f"{requested['memory']}B")


def test_the_script_of_the_job_is_python():
    (script,) = (one["data"]["run.py"] for _, one in documents() if "run.py" in one.get("data", {}))
    compile(script, "run.py", "exec")


@pytest.mark.slow
def test_jobs_start_workers_that_write_the_store(tmp_path):
    cube = make_cube((2, 2, 16, 16), times=["2024-06-05", "2024-06-15"])
    cube.chunk(time=1).sr.to_zarr(tmp_path / "in.zarr", progress=False)
    command = [sys.executable, ROOT / "examples" / "on_slurm.py", tmp_path / "in.zarr", tmp_path / "out.zarr"]
    options = ["--local", "--jobs", "1", "--cores", "1", "--memory", "1 GB", "--model", "bicubic"]
    ran = subprocess.run([str(one) for one in (*command, *options)], capture_output=True, text=True, check=False)
    assert "2 of 2 blocks computed by 1 jobs" in ran.stdout, ran.stderr[-2000:]
    np.testing.assert_array_equal(xsr.open(tmp_path / "out.zarr"), cube.sr.interpolate(scale=2))
    assert xsr.verify(tmp_path / "out.zarr").ok


def test_slurm_gets_a_script_with_the_settings(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import dask_jobqueue
    import on_slurm

    prologue = [f"export {name}={value}" for name, value in on_slurm.ENVIRONMENT.items()]
    job = dask_jobqueue.slurm.SLURMJob(
        scheduler="tcp://127.0.0.1:8786",
        name="xsr",
        **{"cores": 4, "processes": 1, "memory": "16 GB", "queue": "compute", "walltime": "02:00:00"},
        job_script_prologue=prologue,
    )
    script = job.job_script()
    for line in ("#SBATCH -p compute", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=15G", "export OMP_NUM_THREADS=1"):
        assert line in script
    assert re.search(r"--nthreads 4\b", script)


def test_the_settings_of_the_page_are_settings_of_dask():
    """Every environment variable of Dask that the page names is one that Dask reads."""
    text = PAGE.read_text(encoding="utf-8") + "".join(path.read_text(encoding="utf-8") for path in MANIFESTS)
    import distributed  # noqa: F401  (brings its settings along)

    named = set(re.findall(r"\bDASK_([A-Z_]+__[A-Z_]+)\b", text))
    assert named
    for name in named:
        assert dask.config.get(name.lower().replace("__", "."), default="absent") != "absent", name
