"""The job on one core: ten bands from 10 m to 5 m, from Zarr to Zarr.

Seconds are those of the processor, so that other work on the machine counts little, but for the overhead,
which is given in both, and for several cores. The network is carn_3x3x64g4sw; its weights are random, which changes no
time. Measured are

- the network alone, and the fastest packaged one: here in two precisions, in onnxruntime and, where it is installed, in
  OpenVINO, alternating, beside the rate at which a convolution of 256 channels runs by itself;
- the whole job with its defaults beside the network alone on the same pixels, one array in memory without any halo,
  alternating in one process; and the memory of a fresh process for images of several sizes.

``--large`` runs the job alone, with the fastest of the packaged networks, on the smallest image and on one of 4096
pixels, and that once more on two cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common.engines import in_openvino
from common.machine import processor
from common.timing import alternate, peak, timed

NAME, BANDS, FACTOR = "carn_3x3x64g4sw", ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"], 2
PRODUCT, PUBLISHED = 10_980, 5.0
"""Side of a Sentinel-2 product in pixels of 10 m, and hours that the field reports for it on one core."""
PATCH, REPEATS = 256, 7
SIDES = ((1024, 3), (2048, 1))
"""Images, and how often the job and the network alone are run on each."""
LARGE = ((1024, 0), (4096, 0))
"""Images on which the job is run by itself, once."""
FASTEST = "carn_3x1x32g2_s2"
"""Weights for that."""
FLOP = {NAME: 9.33e6, FASTEST: 1.55e6}
"""Arithmetic for each input pixel."""
SMALL = ((64, 1),)
"""Image to check that it runs; its numbers mean nothing."""
WARM = 256
"""Side of an image that is done before anything counts."""
CHILD = "XSR_BENCHMARK_JOB"


def write_model(folder: Path) -> Path:
    """Write random weights with a card that makes the output a residual."""
    import torch
    from safetensors.torch import save_file

    from xsr.models import registry
    from xsr.models.card import file_sha256, from_fields, write_card

    torch.manual_seed(0)
    network = registry.create(NAME)
    path = folder / f"{NAME}.safetensors"
    unique = {key: value.clone().contiguous() for key, value in network.state_dict().items()}
    save_file(unique, path)
    card = from_fields(
        name=NAME,
        summary="Random weights, to measure time.",
        architecture=NAME,
        config={},
        bands=tuple(BANDS),
        optional=(),
        sensor="sentinel-2",
        gsd_m=5.0,
        mean=(0.1,) * len(BANDS),
        std=(0.05,) * len(BANDS),
        scale_range=(2.0, 2.0),
        mtf=(),
        sha256=file_sha256(path),
        parameters=sum(p.numel() for p in network.parameters()),
        radius=network.radius,  # type: ignore[arg-type]
        licence="Apache-2.0",
        factor=FACTOR,
        residual=True,
    )
    write_card(card, path)
    return path


def write_image(path: Path, side: int) -> None:
    """Write an image of smooth noise, one date, in chunks of 512."""
    import zarr
    from affine import Affine
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_zeros

    import xsr  # noqa: F401
    from xsr.kernels.resample import interpolate_filled

    box = GeoBox((side, side), Affine(10, 0, 600_000, 0, -10, 5_700_000), "EPSG:32631")
    shell = xr_zeros(box, "float32", chunks=(512, 512)).expand_dims(band=BANDS).rename("reflectance")
    shell.chunk(band=len(BANDS)).to_dataset().to_zarr(path, compute=False, zarr_format=3, consolidated=False)
    target = zarr.open_group(path)["reflectance"]
    coarse = np.random.default_rng(0).random((len(BANDS), side // 4 + 4, side // 4 + 4), dtype=np.float32)
    axis = (np.arange(side) + 0.5) / 4 + 1
    for first in range(0, side, 512):
        rows = axis[first : first + 512]
        target[:, first : first + 512] = 0.1 + 0.05 * interpolate_filled(coarse, rows, axis, "bicubic")


def engines(models: list[str], patch: int = PATCH) -> None:
    """Print what networks reach in each precision and in other engines, and the rate of a convolution alone."""
    import torch

    torch.set_num_threads(1)
    peaks = {name: peak(getattr(torch, name), min(64, patch)) for name in ("float32", "bfloat16")}
    print(f"{patch}x{patch} px, one thread of {processor()}, medians of {REPEATS} alternating runs")
    for model in models:
        times = alternate(evaluations(model, patch), REPEATS)
        name = Path(model).stem
        print(name)
        for engine, values in times.items():
            rate = patch**2 / statistics.median(values)
            ratio = statistics.median(o / t for o, t in zip(times["onnxruntime float32"], values, strict=True))
            share = rate * FLOP[name] / peaks[engine.rsplit(" ")[1]]
            print(f"{engine:<22} {rate / 1e3:6.1f} kpx/s  {ratio:5.2f} times onnxruntime  {share:4.0%} of the peak")
    rates = ", ".join(f"{name} {value / 1e9:.0f} GFLOP/s" for name, value in peaks.items())
    print(f"peak, the faster of 1x1 and 3x3 convolutions of 256 channels: {rates}", flush=True)


def evaluations(model: str, patch: int) -> dict[str, Callable[[], Any]]:
    """Make what evaluates a network on one image, by engine and precision."""
    import torch

    from xsr.models import predictor, registry
    from xsr.models.export import export

    images = np.random.default_rng(0).standard_normal((1, len(BANDS), patch, patch)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        card = export(model, Path(folder) / "onnx", units="reflectance").with_suffix(".yaml")
        foreign = registry.load(card)
        runs: dict[str, Callable[[], Any]] = {"onnxruntime float32": lambda: foreign(torch.from_numpy(images))}
        made = in_openvino(card.with_suffix(".onnx"), images)
        runs |= {f"openvino {precision}": run for precision, run in made.items()}
    spec = registry.spec(model)
    return runs | {
        "xsr float32": lambda: predictor.predict_fixed(spec, images, "cpu", "float32"),
        "xsr bfloat16": lambda: predictor.predict_fixed(spec, images, "cpu", "bfloat16"),
    }


def run_job(source: Path, model: str, side: int, repeats: int, cores: int) -> dict[str, Any]:
    """Run the job, and in turn with it the network alone; their seconds, and the memory after the first job."""
    import dask
    import torch

    import xsr
    from xsr.models import predictor, registry
    from xsr.sources.files import open_file

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[-cores:]))
    torch.set_num_threads(1)
    spec, fine = registry.spec(model), None

    def job(side: int = side) -> None:
        nonlocal fine
        with tempfile.TemporaryDirectory(dir=source.parent) as folder, dask.config.set(num_workers=cores):
            cube = open_file(str(source)).isel(y=slice(side), x=slice(side))
            fine = xsr.sisr(cube, model=model)
            xsr.to_zarr(fine, Path(folder) / "out.zarr", progress=False)

    job(min(WARM, side))
    assert fine is not None
    precision = fine.attrs["xsr_precision"]
    measured = {"precision": precision, "job": [timed(job)], "memory": peak_memory(), "network": []}
    if repeats:
        image = np.random.default_rng(0).standard_normal((1, len(BANDS), side, side), dtype=np.float32)
    for turn in range(repeats):
        if turn:
            measured["job"].append(timed(job))
        measured["network"].append(timed(lambda: predictor.predict_fixed(spec, image, "cpu", precision)))
    return measured


def peak_memory() -> int:
    """Largest memory that this process has held, bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024


def jobs(source: Path, model: str, sides: tuple[tuple[int, int], ...], cores: int = 1) -> None:
    """Run the job for images of several sizes, each in a fresh process, and print what it took."""
    print(f"from Zarr to Zarr, {Path(model).stem}, {cores} of the cores of {processor()}")
    seconds = {}
    for side, repeats in sides:
        measured = in_fresh_process({"model": model, "side": side, "repeats": repeats, "cores": cores}, source)
        seconds[side] = statistics.median(busy if cores == 1 else wall for wall, busy in measured["job"])
        rate = side**2 / seconds[side] / 1e3
        print(
            f"{side:>5} x {side:<5} {measured['precision']}  {seconds[side]:7.1f} s  {rate:5.1f} kpx/s"
            f"  {measured['memory'] / 1e6:5.0f} MB at most"
        )
        if repeats:
            wall, busy = (
                statistics.median(
                    t[clock] / n[clock] for t, n in zip(measured["job"], measured["network"], strict=True)
                )
                - 1
                for clock in (0, 1)
            )
            print(
                f"    pipeline overhead {wall:+.1%} of wall time ({busy:+.1%} of processor time), median of {repeats}:"
                f" the job from Zarr to Zarr\n    over the network alone on these {side} x {side} pixels in memory,"
                " without halo"
            )
        sys.stdout.flush()
    least, most = min(seconds), max(seconds)
    if least < most:
        linear = seconds[most] / most**2 / (seconds[least] / least**2)
        print(f"time for a pixel of {most} x {most}: {linear:.2f} times that for one of {least} x {least}")
    minutes = seconds[most] * (PRODUCT / most) ** 2 / 60
    print(f"a product of {PRODUCT} x {PRODUCT} pixels at this rate: {minutes:.1f} minutes", end="")
    print(f"; published for one core: {PUBLISHED:g} h, {PUBLISHED * 60 / minutes:.1f} times as long", flush=True)


def in_fresh_process(order: dict[str, Any], source: Path) -> dict[str, Any]:
    """Run `run_job` where nothing ran before."""
    environment = {**os.environ, CHILD: json.dumps({**order, "source": str(source)})}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    """Print both parts, or be the process of one job."""
    if CHILD in os.environ:
        order = json.loads(os.environ[CHILD])
        print(json.dumps(run_job(Path(order.pop("source")), **order)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="the job on an image of 4096 pixels")
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    sides = LARGE if options.large else SMALL if options.small else SIDES
    with tempfile.TemporaryDirectory() as folder:
        model, source = FASTEST, Path(folder) / "image.zarr"
        if not options.large:
            weights = write_model(Path(folder))
            engines([str(weights), FASTEST], 32 if options.small else PATCH)
            model = str(weights)
        write_image(source, max(side for side, _ in sides))
        jobs(source, model, sides)
        if options.large:
            jobs(source, model, sides[-1:], cores=2)


if __name__ == "__main__":
    main()
