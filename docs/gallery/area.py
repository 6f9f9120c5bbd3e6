"""The area that the pages of the gallery show, and pictures of it.

Where the environment variable XSR_DATA names a folder of real images, the area is a farm in Belgium; elsewhere it is
synthetic. Reflectance on 10 m pixels, NaN under clouds.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import xsr
from xsr.testing import synthetic_cube

WHITE = {"B04": 0.22, "B03": 0.20, "B02": 0.16, "B08": 0.50, "B8A": 0.55, "B11": 0.45}
"""Reflectance that is drawn as white, one stretch for all pictures."""

TEN, TWENTY = ("B02", "B03", "B04", "B08"), ("B8A", "B11")
MADE = "synthetic farmland, made by xsr.testing"
DATES = ("2024-04-10", "2024-04-25", "2024-05-15", "2024-06-01", "2024-06-20", "2024-07-10")

plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True, "axes.titlesize": 10})


def series() -> xr.DataArray:
    """Six dates of the four bands of 10 m, (time, band, y, x); clouds are no data."""
    folder = os.environ.get("XSR_DATA")
    if not folder:
        cube = synthetic_cube(seed=4, size=(96, 96), times=DATES, clouds=0.1)
        return cube.assign_attrs(area=MADE)
    place = Path(folder) / "s2_ts_belgium_31UES"
    cube = xsr.open(place / "s2_10m.nc").to_dataarray("band").transpose("time", "band", "y", "x").astype("float32")
    cube = (cube.where(cube > 0) / 10_000).compute()
    classes = xsr.open(place / "s2_20m.nc")["SCL"].compute()
    clear = classes.isin([4, 5, 6]).reindex(y=cube.y, x=cube.x, method="nearest")
    summer = np.flatnonzero((cube.time.dt.year == 2019) & cube.time.dt.month.isin([4, 5, 6, 7, 8]))
    best = [number for number in summer if float(clear[number].mean()) > 0.9][:6]
    return cube.where(clear).isel(time=best).assign_attrs(area="Sentinel-2 Level-2A, Belgium, tile 31UES")


def image() -> xr.DataArray:
    """One date without clouds, (time, band, y, x)."""
    if not os.environ.get("XSR_DATA"):
        return synthetic_cube(seed=4, size=(96, 96), times=("2024-06-01",)).assign_attrs(area=MADE)
    cube = series()
    return cube.isel(time=[int(cube.notnull().mean(("band", "y", "x")).values.argmax())])


def bands_of_20m() -> xr.DataArray:
    """B02, B03, B04 and B08 with pixels of 10 m, B8A and B11 with pixels of 20 m repeated on their grid."""
    folder = os.environ.get("XSR_DATA")
    if not folder:
        return repeated(synthetic_cube(seed=4, size=(96, 96), bands=(*TEN, *TWENTY))).assign_attrs(area=MADE)
    place = Path(folder) / "s2_l8_kempen_31UFS"
    files = ("s2_l1c_10m_B02B03B04B08.tif", "s2_l1c_20m_B8AB11.tif")
    ten, twenty = (xsr.open(place / name).squeeze(drop=True).astype("float32") / 10_000 for name in files)
    ten = ten.isel(y=slice(200, 296), x=slice(200, 296)).compute()
    twenty = twenty.reindex(y=ten.y, x=ten.x, method="nearest").compute()
    cube = xr.concat([ten.assign_coords(band=list(TEN)), twenty.assign_coords(band=list(TWENTY))], "band")
    return with_native_gsd(cube).assign_attrs(area="Sentinel-2 Level-1C, Kempen, tile 31UFS", units="1")


def repeated(cube: xr.DataArray) -> xr.DataArray:
    """Make a cube of 10 m what Sentinel-2 delivers: its 20 m bands observed with their pixels, each repeated."""
    coarse = cube.sel(band=list(TWENTY)).sr.degrade(scale=2).reindex(y=cube.y, x=cube.x, method="nearest")
    return with_native_gsd(xr.concat([cube.sel(band=list(TEN)), coarse], "band"))


def with_native_gsd(cube: xr.DataArray) -> xr.DataArray:
    """State the pixel size of each band, metres."""
    return cube.assign_coords(native_gsd=("band", [20.0 if band in TWENTY else 10.0 for band in cube.band.values]))


def show(images: dict[str, xr.DataArray], bands: Sequence[str] = ("B04", "B03", "B02"), columns: int = 4) -> None:
    """Draw images (band, y, x) side by side with one stretch; no data is grey."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    _, axes = plt.subplots(rows, columns, figsize=(2.9 * columns, 3.1 * rows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (title, one) in zip(axes.flat, images.items(), strict=False):
        white = [WHITE.get(band, WHITE["B03"]) for band in bands]
        colours = one.squeeze().sel(band=list(bands)).transpose("y", "x", "band").values / white
        axis.imshow(np.where(np.isfinite(colours), np.clip(colours, 0, 1) ** 0.7, 0.75), interpolation="nearest")
        axis.set_title(title)
