"""Pairs of two sensors: the displacement and the bias that were put in are found, and the bounds are in order."""

import numpy as np
import pytest
import xarray as xr
from common import modis_aster
from common.modis_aster import BOUNDS, agreements
from common.thermal_scores import OF_MODIS, Estimates
from scipy.ndimage import gaussian_filter, shift

from xsr.training.modis_aster import EDGE, registered

CELL = 231.65625
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m"


@pytest.fixture(scope="module")
def overpass():
    rng = np.random.default_rng(3)
    index = 0.5 + 0.2 * (lambda image: image / image.std())(gaussian_filter(rng.normal(size=(128, 128)), 2))
    kelvin = 305 - 12 * index + gaussian_filter(rng.normal(size=(128, 128)), 3) * 5
    low = kelvin.reshape(32, 4, 32, 4).mean(axis=(1, 3))
    aster = shift(kelvin, (0.5, 0.75), order=3, mode="nearest") + 2  # half a pixel to the south, 3/4 to the east
    numbers = np.rint(10 * aster)
    numbers[:, :20] = 0
    numbers[:, 20] = 1500  # mixed with no data
    x, y = (np.arange(128) + 0.5) * CELL, 5_000_000 - (np.arange(128) + 0.5) * CELL
    coarse = {f"{name}_lst": values.reshape(32, 4).mean(axis=1) for name, values in (("x", x), ("y", y))}
    file = xr.Dataset(
        {
            "modis_lst": (("y_lst", "x_lst"), low),
            "modis_ndvi": (("y_ndvi", "x_ndvi"), index),
            "aster_lst": (("y", "x"), numbers),
        },
        coords={**coarse, "x_ndvi": x, "y_ndvi": y, "x": x, "y": y},
        attrs={"modis_crs": SINUSOIDAL, "aster_crs": SINUSOIDAL},
    )
    return modis_aster.overpass("pair 7", registered(file))


def test_displacement_and_bias_are_found(overpass):
    east, north = overpass.shift_m
    assert east == pytest.approx(0.75 * CELL, abs=0.2 * CELL)
    assert north == pytest.approx(-0.5 * CELL, abs=0.2 * CELL)
    assert overpass.bias_k == pytest.approx(2, abs=0.1)
    assert overpass.alike > 0.98


def test_pixels_beside_no_data_are_left_out(overpass):
    truth = overpass.pair.truth.values[0]
    assert not np.isfinite(truth[:, : 21 + EDGE - 1]).any()
    assert np.isfinite(truth[8:-8, 28:-8]).all()


def test_bounds_are_in_order(overpass):
    rows = {row.name: row for row in agreements(overpass, Estimates(), ("bicubic", "TsHARP"))}
    assert set(rows) == {"bicubic", "TsHARP", *BOUNDS}
    assert rows[BOUNDS[1]].rmse_k < rows["TsHARP"].rmse_k < rows["bicubic"].rmse_k
    assert rows[BOUNDS[1]].detail > 0.9
    assert rows["TsHARP"].detail > 0.8
    assert np.isnan(rows["bicubic"].detail)
    assert rows[BOUNDS[0]].rmse_k == pytest.approx(rows["bicubic"].rmse_k, rel=0.15)


def test_the_table_has_a_row_for_each_method_and_bound(overpass, monkeypatch):
    monkeypatch.setattr(modis_aster, "COMPARED", ("bicubic", "TsHARP"))
    agreement, places = modis_aster.tables([overpass, overpass], Estimates(), ("guided filter",))
    assert [line.split(" | ")[0] for line in agreement.splitlines()[2:]] == [
        "| bicubic",
        "| TsHARP",
        "| guided filter",
        f"| {OF_MODIS}",
        *(f"| *{name}*" for name in BOUNDS),
    ]
    assert "+0.00" in places or "+2.0" in places


def test_pairs_are_alike_in_coarse_pixels(manifest):
    one = next(modis_aster.read_pairs(manifest))
    assert one.alike > 0.9
    assert max(np.abs(one.shift_m)) < 463  # half a pixel of MODIS
    assert 0.8 < np.isfinite(one.pair.truth.values).mean() < 0.97
