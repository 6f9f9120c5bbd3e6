"""Is a network worth its cost here? The Wald protocol on a cube of one's own, with more than one number.

Run it with ``python examples/judge_a_model.py``, or with the path of a Zarr store, NetCDF file or GeoTIFF.
"""

import sys

import xarray as xr

import xsr  # noqa: F401  (registers .sr)
from xsr.sources.files import open_file
from xsr.testing import synthetic_cube


def main(cube: xr.DataArray) -> None:
    """Degrade a cube to half its resolution, super-resolve it back both ways, and print the scores side by side."""
    low, high = cube.sr.wald(scale=2)
    results = {"bicubic": low.sr.interpolate(scale=2), "liif_s2": low.sr.liif(scale=2)}
    for name, result in results.items():
        scores = result.sr.evaluate(high, low=low, metrics=["psnr", "ssim", "sam", "low_fidelity"], data_range=1.0)
        strata = result.sr.strata(high, metrics=["rmse"], data_range=1.0)
        detail = result.sr.spectrum(high)
        print(f"\n{name}")
        for metric in ("psnr", "ssim", "sam", "low_fidelity"):
            print(f"  {metric:<22} {float(scores[metric].mean()):8.4f}")
        steep = strata["rmse"].mean([d for d in strata["rmse"].dims if d != "stratum"])
        print("  rmse, flat to steep   ", " ".join(f"{float(value):8.4f}" for value in steep))
        print(f"  resolution in metres   {float(detail['resolution_m'].mean()):8.2f}")


if __name__ == "__main__":
    main(open_file(sys.argv[1]) if len(sys.argv) > 1 else synthetic_cube(size=(192, 192)))
