import numpy as np
import pytest
import xarray as xr
from catalogs import make_item, write_items
from helpers import make_cube, make_dataset
from products import write_safe, zipped
from sources.test_eopf import write_eopf
from sources.test_theia import write_theia

import xsr
from xsr.core.errors import CubeError
from xsr.sources.info import describe, kind_of
from xsr.testing import assert_lazy


def described(path):
    cube = xsr.open(path)
    return kind_of(str(path), cube), describe(cube)


@pytest.mark.parametrize("packed", [False, True])
def test_a_safe_product_is_described_by_its_metadata(tmp_path, packed):
    root = write_safe(tmp_path, bands=("B02", "B05"))
    path = str(zipped(root) if packed else root)
    cube = xsr.open(path)
    with assert_lazy(cube):
        lines = describe(cube)
    assert kind_of(path, cube) == "Sentinel-2 Level-2A"
    assert lines["dates"] == "1: 2024-06-15T11:06:21"
    assert lines["bands"] == "B02 (10 m), B05 (20 m)"
    assert lines["CRS"] == "EPSG:32629"
    assert lines["grid"] == "96 x 96 pixels of 10, 499980, 5899080, 500940, 5900040"
    assert lines["offset"] == "-1000"
    assert lines["baseline"] == "05.00"
    assert lines["masks"] == "scl valid"
    assert lines["products"] == root.name


@pytest.mark.slow
def test_theia_eopf_and_stac_are_named(tmp_path):
    kind, lines = described(write_theia(tmp_path / "theia")[0])
    assert kind == "Theia Level-2A FRE"
    assert lines["masks"] == "valid"
    assert "offset" not in lines
    kind, lines = described(write_eopf(tmp_path / "p.zarr"))
    assert kind == "Sentinel-2 EOPF"
    assert lines["CRS"] == "EPSG:32629"
    (tmp_path / "stac").mkdir()
    items = [
        make_item(tmp_path / "stac", day=day, baseline=b, added=a)
        for day, b, a in (("2019-06-15", "03.01", 0), ("2024-06-15", "05.11", 1000))
    ]
    kind, lines = described(write_items(tmp_path / "stac" / "items.json", items))
    assert kind == "STAC"
    assert lines["offset"] == "-1000, 0"
    assert lines["baseline"] == "03.01 05.11"
    assert lines["dates"] == "2: 2019-06-15T11:06:21, 2024-06-15T11:06:21"
    assert len(lines["products"].splitlines()) == 2


@pytest.mark.slow
def test_stores_and_files_are_described(tmp_path):
    cube = make_cube((20, 2, 8, 6)).assign_coords(native_gsd=("band", [10.0, np.nan]))
    cube.sr.to_zarr(tmp_path / "a.zarr", progress=False)
    kind, lines = described(tmp_path / "a.zarr")
    assert kind == "Zarr store"
    assert lines["dates"] == "20: 2024-06-01T00:00:00 to 2024-06-20T00:00:00"
    assert lines["bands"] == "B02 (10 m), B03"
    assert lines["complete"] == "yes"
    assert "products" not in lines
    cube[0].rio.to_raster(tmp_path / "a.tif")
    kind, lines = described(tmp_path / "a.tif")
    assert kind == "GeoTIFF"
    assert lines["grid"] == "8 x 6 pixels of 10, 600000, 5799920, 600060, 5800000"
    dataset = make_dataset((1, 2, 8, 6))
    dataset["B03"].attrs["native_gsd"] = 20.0
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    kind, lines = described(tmp_path / "a.nc")
    assert kind == "NetCDF"
    assert lines["bands"] == "B02, B03 (20 m)"


def test_a_cube_without_a_grid_says_so():
    lines = describe(xr.DataArray(np.zeros((2, 4, 4)), dims=("band", "y", "x")))
    assert lines["CRS"] == "none"
    assert "expected pixel centres" in lines["grid"]
    assert "dates" not in lines


def test_nothing_is_named():
    with pytest.raises(CubeError, match=r"gone\.SAFE not found; expected a product"):
        xsr.open("gone.SAFE")
