import sys

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from helpers import NORTH, WEST, make_cube

from xsr.core.cube import open_cube
from xsr.core.rasterindex import raster_index
from xsr.operations.clip import clip
from xsr.operations.degrade import degrade, wald
from xsr.operations.evaluate import evaluate
from xsr.operations.interpolate import interpolate
from xsr.operations.mask_clouds import mask_clouds
from xsr.operations.store import to_zarr

rasterix = pytest.importorskip("rasterix")
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


def indexed(cube):
    """The same cube with a RasterIndex in place of coordinates."""
    box = cube.odc.geobox
    index = rasterix.RasterIndex.from_transform(box.affine, width=box.shape.x, height=box.shape.y, crs=box.crs.to_wkt())
    return cube.drop_vars(["y", "x"]).assign_coords(xr.Coordinates.from_xindex(index))


def is_lazy(cube):
    """Whether the coordinates are computed from the index when somebody looks at them."""
    return {type(cube[dim].variable._data).__name__ for dim in ("y", "x")} == {"CoordinateTransformIndexingAdapter"}


def box_of(cube):
    return raster_index(cube).transform()


def test_the_index_is_the_grid():
    given = indexed(make_cube((2, 6, 8)))
    assert open_cube(given).geobox.affine == Affine(10, 0, WEST, 0, -10, NORTH)
    assert is_lazy(given)


@pytest.mark.parametrize("make", [lambda c: c, lambda c: c.to_dataset("band")], ids=["array", "dataset"])
def test_an_index_goes_through_two_operations(make):
    cube = make_cube((2, 3, 12, 10))
    out = interpolate(interpolate(make(indexed(cube)), scale=2), scale=1.5)
    plain = interpolate(interpolate(make(cube), scale=2), scale=1.5)
    assert box_of(out).almost_equals(Affine(10 / 3, 0, WEST, 0, -10 / 3, NORTH), precision=1e-9)
    assert is_lazy(out)
    xr.testing.assert_allclose(out.drop_vars("spatial_ref"), plain.drop_vars("spatial_ref"), rtol=1e-12)
    assert raster_index(out).crs.to_epsg() == 32633


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (lambda c: degrade(c, scale=2), Affine(20, 0, WEST, 0, -20, NORTH)),
        (lambda c: wald(c, scale=2)[1], Affine(10, 0, WEST, 0, -10, NORTH)),
        (lambda c: clip(c, c.odc.geobox[5:20, 4:30].extent), Affine(10, 0, WEST + 40, 0, -10, NORTH - 50)),
        (
            lambda c: mask_clouds(c.assign_coords(valid=c.isel(band=0, drop=True) > 0)),
            Affine(10, 0, WEST, 0, -10, NORTH),
        ),
        (lambda c: interpolate(c.isel(y=slice(2, 40)), scale=2), Affine(5, 0, WEST, 0, -5, NORTH - 20)),
    ],
    ids=["degrade", "wald", "clip", "mask_clouds", "crop"],
)
@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")
def test_every_operation_gives_the_index_of_its_grid(operation, expected):
    out = operation(indexed(make_cube((2, 60, 50))))
    assert box_of(out) == expected
    assert raster_index(out).xy_shape == (out.sizes["x"], out.sizes["y"])
    assert is_lazy(out)


def test_an_index_without_a_crs_comes_back_without_one():
    given = rasterix.assign_index(make_cube((2, 6, 8)).copy(deep=True).drop_vars(["y", "x"]))
    assert raster_index(given).crs is None
    out = interpolate(given, scale=2)
    assert raster_index(out).crs is None
    assert out.odc.crs.epsg == 32633


def test_an_index_names_the_crs_where_the_cube_does_not():
    out = interpolate(indexed(make_cube((2, 6, 8))).drop_vars("spatial_ref"), scale=2)
    assert out.odc.crs.epsg == raster_index(out).crs.to_epsg() == 32633


def test_ascending_rows_keep_their_order():
    given = indexed(make_cube((2, 6, 8))).isel(y=slice(None, None, -1))
    out = interpolate(given, scale=2)
    assert box_of(out) == Affine(5, 0, WEST, 0, 5, NORTH - 60)
    assert np.array_equal(out.isel(y=slice(None, None, -1)), interpolate(make_cube((2, 6, 8)), scale=2))


@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")
def test_a_rotated_index_is_refined_in_place():
    turned = Affine.translation(WEST, NORTH) @ Affine.rotation(30) @ Affine.scale(10, -10)
    index = rasterix.RasterIndex.from_transform(turned, width=8, height=6, crs="EPSG:32633")
    cube = make_cube((2, 6, 8)).drop_vars(["y", "x", "spatial_ref"]).assign_coords(xr.Coordinates.from_xindex(index))
    out = interpolate(cube, scale=2)
    assert box_of(out).almost_equals(turned @ Affine.scale(0.5), precision=1e-6)
    assert set(out["xc"].dims) == {"y", "x"}
    assert raster_index(clip(cube, open_cube(cube).geobox[1:5, 2:6].extent)) is not None


def test_a_result_in_another_crs_has_an_index_of_that_crs():
    target = make_cube((30, 30), crs="EPSG:32632", affine=Affine(5, 0, 1_013_000, 0, -5, 5_822_500)).odc.geobox
    cube = indexed(make_cube((1, 200, 200), affine=Affine(10, 0, WEST, 0, -10, NORTH)))
    middle = cube.odc.geobox.extent.centroid.to_crs("EPSG:32632").points[0]
    target = target.translate_pix(round((middle[0] - target.affine.c) / 5), round((target.affine.f - middle[1]) / 5))
    out = interpolate(cube, like=target)
    assert raster_index(out).crs.to_epsg() == 32632
    assert box_of(out) == target.affine


def test_scores_and_stores_take_an_index(tmp_path):
    low, high = wald(indexed(make_cube((4, 60, 60))).chunk(), scale=2)
    fine = interpolate(low, scale=2)
    assert np.isfinite(evaluate(fine, high)["rmse"]).all()
    to_zarr(fine, tmp_path / "a.zarr", progress=False)
    stored = xr.open_zarr(tmp_path / "a.zarr")
    assert (stored.x.values[0], stored.y.values[0]) == (WEST + 5, NORTH - 5)


def test_the_package_is_not_imported_for_cubes_without_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterix", None)
    assert raster_index(interpolate(make_cube((2, 6, 8)), scale=2)) is None
