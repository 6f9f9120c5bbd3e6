"""Blur and decimate in one pass against SciPy, a strided convolution of PyTorch, and the bytes that must be read.

One thread, float32, the ways alternating within one run. SciPy blurs the whole image and slices it; PyTorch convolves
with the same taps along y and then x, with a stride. The floor is one pass over the input.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import dask
import numpy as np
import torch
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from scipy import ndimage

import xsr
from xsr.core.cube import open_cube
from xsr.core.sensors import sigma_px
from xsr.kernels import psf, resample
from xsr.kernels.decimate import decimate
from xsr.kernels.degrade import blur_decimate, whole
from xsr.kernels.taps import Taps
from xsr.testing import synthetic_cube

MTF = 0.3
FACTORS = (2, 3, 4, 2.5, 3.4)


def weights(size: int, factor: float) -> Taps:
    """Return the weights of the pixels of ``factor`` along an axis of ``size`` pixels."""
    centre = psf.centres(0, len(whole(size, factor)), factor)
    return psf.sample(centre, psf.gaussian(MTF, factor), cell=float(factor))


def ways(image: np.ndarray, factor: float) -> dict[str, Callable[[], object]]:
    """Return the ways to degrade an image; SciPy and PyTorch only for whole factors."""
    taps = weights(image.shape[0], factor)
    found: dict[str, Callable[[], object]] = {"xsr": lambda: decimate(image[None], taps, taps)}
    if factor == round(factor):
        step, sigma = int(factor), sigma_px(MTF, factor)
        source, weight = torch.from_numpy(image)[None, None], torch.from_numpy(taps.weight[0].astype(np.float32))

        def convolve() -> torch.Tensor:
            with torch.inference_mode():
                half = torch.nn.functional.conv2d(source, weight.view(1, 1, -1, 1), stride=(step, 1))
                return torch.nn.functional.conv2d(half, weight.view(1, 1, 1, -1), stride=(1, step))

        found["scipy"] = lambda: ndimage.gaussian_filter(image, sigma, mode="mirror")[::step, ::step].copy()
        found["torch"] = convolve
    found["floor"] = lambda: image.sum()
    return found


def medians(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each call, alternating."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round_:  # the first compiles and warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    if options.small:
        options.side, options.repeats = 64, 1
    torch.set_num_threads(1)
    image = np.random.default_rng(0).random((options.side, options.side), dtype=np.float32)
    print(
        f"{options.side}x{options.side} float32 ({image.nbytes / 1e6:.0f} MB), MTF {MTF}, medians of {options.repeats}"
    )
    print("factor   taps    xsr ms  scipy ms  torch ms  floor ms   scipy/xsr  torch/xsr  xsr/floor")
    for factor in FACTORS:
        taps = weights(99, factor).weight.shape[1]
        found = medians(ways(image, factor), options.repeats)
        columns = [
            f"{found[name] * 1e3:8.1f}" if name in found else " " * 8 for name in ("xsr", "scipy", "torch", "floor")
        ]
        ratios = [f"{found[n] / found['xsr']:9.1f}x" if n in found else " " * 10 for n in ("scipy", "torch")]
        print(
            f"{factor:<6}  {taps:>4}  {'  '.join(columns)}  {' '.join(ratios)}  {found['xsr'] / found['floor']:8.1f}x"
        )
    gaps = image.copy()
    gaps[:, : options.side // 2][gaps[:, : options.side // 2] < 0.01] = np.nan
    part = min(512, options.side)
    cube = synthetic_cube(size=(part, part))
    calls = {
        "kernel, factor 2, every row with gaps": ways(gaps, 2)["xsr"],
        f"xsr.degrade, 4 bands of {part}x{part}, factor 2": lambda: xsr.degrade(cube, scale=2),
        "the same with noise='sensor'": lambda: xsr.degrade(cube, scale=2, noise="sensor"),
    }
    for name, seconds in medians(calls, options.repeats).items():
        print(f"{name:<45} {seconds * 1e3:8.1f} ms")
    through_accessor(options.side, options.repeats)


def series(dates: int, bands: int, side: int) -> xr.DataArray:
    """Return a cube in memory."""
    box = GeoBox((side, side), Affine(10, 0, 600_000, 0, -10, 5_000_000), "EPSG:32631")
    values = np.random.default_rng(0).random((dates, bands, side, side), dtype=np.float32)
    times = np.datetime64("2024-01-01", "ns") + np.arange(dates) * np.timedelta64(5 * 24 * 3600, "s")
    coords = {"time": times, "band": ["B02", "B03", "B04", "B08"][:bands], **xr_coords(box)}
    return xr.DataArray(values, dims=("time", "band", "y", "x"), coords=coords, attrs={"units": "1"})


def one_thread(call: Callable[[], object]) -> Callable[[], object]:
    """Let a call compute in one thread."""

    def alone() -> object:
        with dask.config.set(scheduler="synchronous"):
            return call()

    return alone


def through_accessor(side: int, repeats: int) -> None:
    """Print what cubes in memory cost beyond their kernel."""
    print("operations on cubes in memory    kernel, one thread    the operation    its default threads")
    four = series(1, 4, side)
    numbers = (four * 10_000).round().clip(1).astype(np.uint16).assign_attrs(scale_factor=1e-4)
    cubes = {
        f"degrade, 1 band of {side}x{side}": four[:, :1],
        f"degrade, 4 bands of {side}x{side}": four,
        f"degrade, 6 dates of 4 bands of {side // 4}x{side // 4}": series(6, 4, side // 4),
        "degrade, 4 bands as a Dataset": four.to_dataset("band"),
        "degrade, 4 bands of 16-bit integers": numbers,
    }
    for name, cube in cubes.items():
        images = open_cube(cube).data.values
        images = images.reshape(-1, 1, *images.shape[2:])
        report(
            name,
            lambda images=images: [blur_decimate(image, scale=2, mtf=MTF) for image in images],
            lambda cube=cube: cube.sr.degrade(scale=2, mtf=MTF),
            repeats,
        )
    part = series(1, 1, side // 2)
    at = np.clip((np.arange(2 * part.sizes["x"]) + 0.5) / 2 - 0.5, 3, part.sizes["x"] - 5)
    report(
        f"interpolate, 1 band of {side // 2}x{side // 2}",
        lambda: resample.interpolate(part.values[0], at, at, "bicubic"),
        lambda: part.sr.interpolate(scale=2),
        repeats,
    )


def report(name: str, kernel: Callable[[], object], operation: Callable[[], object], repeats: int) -> None:
    """Print a row of the table."""
    found = medians({"kernel": kernel, "one": one_thread(operation), "default": operation}, repeats)
    ratios = "".join(f"{found[way] * 1e3:9.1f} ms {found[way] / found['kernel']:5.2f}x" for way in ("one", "default"))
    print(f"{name:<40} {found['kernel'] * 1e3:8.1f} ms {ratios}")


if __name__ == "__main__":
    main()
