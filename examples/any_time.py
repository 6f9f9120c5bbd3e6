"""A date without an image: a cloudy series, super-resolved to a time between its dates, and how far that is right.

Run it with ``python examples/any_time.py``; it makes its own cube, writes ``hidden.zarr`` and prints a table.
"""

import sys
from pathlib import Path

import xarray as xr

from xsr.testing import synthetic_pair

DATES = ["2024-04-10", "2024-04-20", "2024-05-05", "2024-05-20", "2024-06-04"]
HIDDEN = "2024-05-05"


def main(out: Path) -> None:
    """Hide a date, compute it at 2.5 m, and compare with the truth, which is known because the scene is synthetic."""
    pair = synthetic_pair(seed=4, size=(96, 96), high_gsd_m=2.5, times=DATES, clouds=0.2)
    others = pair.low.drop_sel(time=HIDDEN).chunk(time=1)
    truth = pair.high.sel(time=[HIDDEN])

    fine = others.sr.liif(scale=4, t=HIDDEN)
    fine.sr.to_zarr(out, overwrite=True, progress=False)
    fine = xr.open_zarr(out)["reflectance"]

    results = {"network": fine}
    for temporal in ("nearest", "mean", "linear"):
        results[f"bicubic, {temporal} in time"] = others.sr.interpolate(scale=4, t=HIDDEN, temporal=temporal)
    for name, result in results.items():
        scores = result.sr.evaluate(truth, metrics=["psnr"], data_range=1.0)
        print(f"{name:<26} {float(scores['psnr'].mean()):6.2f} dB")
    print(f"clear dates behind each pixel: {int(fine['n_valid'].min())} to {int(fine['n_valid'].max())}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "hidden.zarr"))
