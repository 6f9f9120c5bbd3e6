"""What the command line says of a store: how far it is, its levels, and what opens it."""

from helpers import make_cube
from typer.testing import CliRunner

import xsr
from xsr import cli


def call(*arguments):
    result = CliRunner().invoke(cli.app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return " ".join(result.output.split())


def test_a_run_with_overviews_and_what_info_says_of_it(tmp_path):
    xsr.to_zarr(make_cube((2, 20, 24), chunks=10), tmp_path / "in.zarr", progress=False)
    out = tmp_path / "out.zarr"
    written = call("run", tmp_path / "in.zarr", out, "--scale", 2, "--model", "nearest", "--overviews")
    assert "opens in xarray, zarr-python, rioxarray, odc-geo; GDAL, rasterio and QGIS (its folder 0)" in written
    said = call("info", out)
    assert "levels: 0: 40 x 48 pixels of 5 1: 20 x 24 pixels of 10, average of 0" in said
    assert "complete: yes" in said
    assert "made by: operation interpolate" in said
    assert "stored as: Zarr format 2, float32" in said


def test_info_of_a_store_that_is_not_complete(tmp_path):
    cube = make_cube((2, 20, 24), chunks={"y": 10, "x": 12})
    xsr.to_zarr(cube, tmp_path / "a.zarr", zarr_format=3, compute=False, progress=False)
    said = call("info", tmp_path / "a.zarr")
    assert "complete: no: 0 of 4 blocks are done" in said
    assert "not GDAL before 3.13" in said
    xsr.to_zarr(cube, tmp_path / "a.zarr", resume=True, progress=False)
    assert "complete: yes" in call("info", tmp_path / "a.zarr")
