"""A sensor that xsr does not know: one record, and cubes with its band names are degraded by its own MTFs.

Run it with ``python examples/own_sensor.py``; it makes a cube with a pattern of known contrast and prints what is left.
"""

import argparse

import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import xarray as xr

import xsr

CAMERA = xsr.Sensor(
    "camera-1",
    bands=(
        xsr.Band("C1_green", gsd_m=3.0, wavelength_nm=560.0, bandwidth_nm=40.0, mtf=0.30, aliases=("green",)),
        xsr.Band("C1_red", gsd_m=3.0, wavelength_nm=660.0, bandwidth_nm=40.0, mtf=0.15, aliases=("red",)),
    ),
    source="Contrast of a slanted edge, measured by the maker.",
)


def striped(size: int) -> xr.DataArray:
    """Cube of stripes at the Nyquist frequency of pixels twice as large, of contrast 0.1 in both bands."""
    x = np.arange(size)
    stripes = 0.3 + 0.1 * np.cos(np.pi / 2 * (x - 0.5))
    cube = xr.DataArray(
        np.broadcast_to(stripes, (2, size, size)).astype(np.float32),
        {"band": ["C1_green", "C1_red"], "y": 5_000_000.0 - 3.0 * x, "x": 500_000.0 + 3.0 * x},
        ("band", "y", "x"),
        attrs={"units": "1"},
    )
    located: xr.DataArray = cube.odc.assign_crs("EPSG:32632")
    return located


def main(size: int) -> None:
    """Register the sensor, degrade a lazy cube by a factor of two, and compare the contrast with the MTF."""
    xsr.register_sensor(CAMERA)
    low = striped(size).chunk(y=size // 2).sr.degrade(scale=2)
    inside = low.isel(x=slice(8, -8), y=slice(8, -8)).compute()
    for band in CAMERA.bands:
        contrast = float(abs(inside.sel(band=band.name) - 0.3).mean()) / 0.1
        print(f"{band.name:<9} MTF {band.mtf:.2f}, contrast left {contrast:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="a smaller cube")
    main(64 if parser.parse_args().small else 512)
