"""Stratified MAE, RMSE and PSNR in one pass, against NumPy and scikit-image; one thread.

Both ways alternate within one run and the medians are compared, so that a busy machine disturbs them alike. The floor
is a NumPy pass that only reads both images: no metric can be faster.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from skimage.filters import sobel_h, sobel_v
from skimage.metrics import structural_similarity

from xsr.kernels import similarity, strata
from xsr.kernels.pixels import ABSOLUTE, SQUARED, map_sums

SIDE, ROUNDS, STRATA = 2048, 7, 4
PIXEL_M = 10.0
Image = NDArray[np.float32]


def images(side: int) -> tuple[Image, Image]:
    """Make a reference with texture at all scales, and a noisy copy."""
    rng = np.random.default_rng(0)
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) / (0.002 + np.hypot(fy, fx)), (side, side))
    reference = (0.25 + 0.05 * field / field.std()).astype(np.float32)
    return reference + np.float32(0.01) * rng.standard_normal((side, side), dtype=np.float32), reference


def usual(image: Image, reference: Image) -> NDArray[np.float64]:
    """Gradient by scikit-image, quantiles by NumPy, then a mask for every stratum."""
    gradient = np.hypot(sobel_h(reference), sobel_v(reference))[1:-1, 1:-1] / PIXEL_M
    error = (image - reference)[1:-1, 1:-1].astype(np.float64)
    edges = np.quantile(gradient, np.linspace(0, 1, STRATA + 1))
    edges[-1] = np.inf
    out = []
    for low, high in pairwise(edges):
        inside = error[(gradient >= low) & (gradient < high)]
        mse = np.mean(inside**2)
        out.append([np.mean(np.abs(inside)), np.sqrt(mse), -10 * np.log10(mse)])
    return np.array(out)


def one_pass(image: Image, reference: Image) -> NDArray[np.float64]:
    """Sum by fine bins in one pass, then merge."""
    bins = strata.strata_sums(image[None], reference[None], pixel_m=(PIXEL_M, PIXEL_M), edges=None)[0]
    sums, _ = strata.merge_bins(bins, np.linspace(0, 1, STRATA + 1))
    mean = sums / sums[:, :1]
    mse = mean[:, SQUARED]
    return np.stack([mean[:, ABSOLUTE], np.sqrt(mse), -10 * np.log10(mse)], axis=1)


def ssim_usual(image: Image, reference: Image) -> float:
    """SSIM by scikit-image with the settings of Wang et al."""
    return float(
        structural_similarity(
            reference, image, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
        )
    )


def ssim(image: Image, reference: Image) -> float:
    """SSIM by sums over windows."""
    window, kind = similarity.gaussian_window(), similarity.SIMILARITY
    maps = similarity.window_map(image[None], reference[None], window=window, kind=kind, data_range=1.0)
    count, total = map_sums(maps)[0]
    return float(total / count)


def floor(image: Image, reference: Image) -> float:
    """Read both images once."""
    return float(image.sum() + reference.sum())


def alternate(pair: tuple[Image, Image], *functions: Callable[[Image, Image], object]) -> list[float]:
    """Median seconds of each function, called in turn."""
    times: list[list[float]] = [[] for _ in functions]
    for number in range(ROUNDS + 1):
        for function, seconds in zip(functions, times, strict=True):
            start = time.perf_counter()
            function(*pair)
            if number:  # the first call compiles
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def main() -> None:
    """Compare, and check first that both ways agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    side = 256 if parser.parse_args().small else SIDE
    pair = images(side)
    np.testing.assert_allclose(one_pass(*pair), usual(*pair), rtol=2e-3)
    assert abs(ssim(*pair) - ssim_usual(*pair)) < 1e-5
    slow, fast, slow_ssim, fast_ssim, least = alternate(pair, usual, one_pass, ssim_usual, ssim, floor)
    million = side * side / 1e6
    print(f"{side} x {side} float32, one thread, medians of {ROUNDS} alternating rounds")
    print(f"stratified MAE, RMSE, PSNR ({STRATA} quantile strata)")
    print(f"  NumPy + scikit-image  {slow * 1e3:8.1f} ms  {million / slow:7.1f} Mpx/s")
    print(f"  one pass              {fast * 1e3:8.1f} ms  {million / fast:7.1f} Mpx/s  {slow / fast:5.1f} x")
    print("SSIM")
    print(f"  scikit-image          {slow_ssim * 1e3:8.1f} ms  {million / slow_ssim:7.1f} Mpx/s")
    gain = slow_ssim / fast_ssim
    print(f"  sums over windows     {fast_ssim * 1e3:8.1f} ms  {million / fast_ssim:7.1f} Mpx/s  {gain:5.1f} x")
    print(f"floor: reading both     {least * 1e3:8.1f} ms")


if __name__ == "__main__":
    main()
