"""Small cubes with a grid that can be written down by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

WEST, NORTH = 600_000.0, 5_800_000.0
"""Top-left corner of the cubes of `make_cube` in metres of their CRS."""

BANDS = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")

DATES = pytest.mark.parametrize(
    "dates",
    [
        ["2024-06-01", "2024-06-02"],
        pd.to_datetime(["2024-06-01", "2024-06-02"], utc=True),
        np.array(["2024-06-01", "NaT"], "datetime64[ns]"),
    ],
    ids=["text", "zoned", "unknown"],
)
"""Two dates in each form in which cubes come with them."""


def make_geobox(
    shape: tuple[int, int], *, gsd: float = 10.0, crs: str = "EPSG:32633", affine: Affine | None = None
) -> GeoBox:
    """Grid with its top-left corner at (WEST, NORTH), or with the given affine."""
    return GeoBox(shape, affine or Affine(gsd, 0.0, WEST, 0.0, -gsd, NORTH), crs)


def make_cube(
    values: Any,
    *,
    gsd: float = 10.0,
    crs: str = "EPSG:32633",
    affine: Affine | None = None,
    bands: Sequence[str] | None = None,
    times: Sequence[str] | None = None,
    chunks: Any = None,
) -> xr.DataArray:
    """Cube of dims (y, x), (band, y, x) or (time, band, y, x).

    `values` is an array, or a shape to fill with the same random reflectances every time.
    """
    if isinstance(values, tuple):
        values = np.random.default_rng(20240601).random(values, dtype=np.float32)
    values = np.asarray(values)
    grid = dict(xr_coords(make_geobox(values.shape[-2:], gsd=gsd, crs=crs, affine=affine)))
    y, x = (name for name, coord in grid.items() if coord.dims == (name,))
    dims = (*("time", "band")[4 - values.ndim :], y, x)
    coords: dict[Any, Any] = dict(grid)
    if "band" in dims:
        coords["band"] = list(bands or BANDS[: values.shape[-3]])
    if "time" in dims:
        days = times or [f"2024-06-{day + 1:02d}" for day in range(values.shape[0])]
        coords["time"] = np.array(days, "datetime64[ns]")
    cube = xr.DataArray(values, coords, dims)
    return cube if chunks is None else cube.chunk(chunks)


def make_dataset(values: Any, **options: Any) -> xr.Dataset:
    """Build the same cube as a Dataset of bands."""
    return make_cube(values, **options).to_dataset("band")


ROUNDING_ULPS = 1000
"""What two ways to evaluate one network may differ by, see `ulps`.

Convolutions and matrix products are sums, and their order is the library's: it chooses by shape, number of threads and
processor. Each sum of n terms is off by about the square root of n ulps, here 30 at most, and every layer passes on
what the one before it was off by. Tests of a receptive field see at least a hundred times as much with one pixel less.
"""


def ulps(found: Any, wanted: Any) -> float:
    """Largest difference, in units in the last place of the largest number wanted."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    return float(np.abs(found - wanted).max() / np.spacing(np.abs(wanted).max()))
