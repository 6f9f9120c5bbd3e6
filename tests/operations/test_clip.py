import numpy as np
import pytest
import xarray as xr
from affine import Affine
from helpers import NORTH, WEST, make_cube, make_dataset
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geom import Geometry
from odc.geo.geom import box as outline
from shapely.geometry import Point, Polygon, mapping

from xsr.core.errors import ParameterError
from xsr.operations.clip import clip
from xsr.operations.store import to_zarr
from xsr.testing import assert_lazy, assert_same_grid

UTM = "EPSG:32633"


def map_box(left, top, right, bottom):
    """Box in map units from pixels of 10 m."""
    return WEST + left * 10, NORTH - bottom * 10, WEST + right * 10, NORTH - top * 10


def test_a_box_keeps_the_pixels_whose_centres_lie_inside():
    cube = make_cube((2, 3, 12, 10))
    out = clip(cube, map_box(2, 3, 7, 9), crs=UTM)
    np.testing.assert_array_equal(out, cube[:, :, 3:9, 2:7])
    assert_same_grid(out, cube[:, :, 3:9, 2:7])
    ragged = clip(cube, map_box(1.6, 2.4, 7.4, 9.2), crs=UTM)  # 1.6 leaves the centre 1.5 out, 2.4 keeps 2.5
    assert_same_grid(ragged, cube[:, :, 2:10, 1:8])
    kept = np.isfinite(ragged[0, 0])
    assert kept.any("x").values.tolist() == [True] * 7 + [False]
    assert kept.any("y").values.tolist() == [False] + [True] * 5 + [False]
    touched = clip(cube, map_box(1.6, 2.4, 7.4, 9.2), crs=UTM, all_touched=True)
    np.testing.assert_array_equal(touched, cube[:, :, 2:10, 1:8])


def test_a_triangle_masks_what_its_outline_leaves_out():
    cube = make_cube((3, 20, 24))
    corners = [(WEST + 20, NORTH - 20), (WEST + 220, NORTH - 20), (WEST + 20, NORTH - 180)]
    out = clip(cube, Polygon(corners), crs=UTM)
    assert out.shape == (3, 16, 20)
    inside = [[Polygon(corners).contains(Point(x, y)) for x in out.x.values] for y in out.y.values]
    np.testing.assert_array_equal(np.isfinite(out[0]), inside)
    expected = cube[:, 2:18, 2:22].values
    np.testing.assert_array_equal(out, np.where(inside, expected, np.nan))


@pytest.mark.slow
def test_every_spelling_of_an_area_gives_the_same(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    cube = make_cube((2, 30, 30))
    shape = Polygon([(WEST + 52, NORTH - 41), (WEST + 203, NORTH - 67), (WEST + 111, NORTH - 244)])
    frame = geopandas.GeoDataFrame(geometry=[shape], crs=UTM)
    frame.to_file(tmp_path / "a.shp")
    frame.to_crs("EPSG:3035").to_file(tmp_path / "b.gpkg")
    expected = clip(cube, shape, crs=UTM)
    assert 0 < np.isfinite(expected).mean() < 1
    lonlat = Geometry(shape, UTM).to_crs("EPSG:4326")
    for one in (
        frame,
        frame.geometry,
        tmp_path / "a.shp",
        tmp_path / "b.gpkg",
        Geometry(shape, UTM),
        lonlat.json,
        lonlat.geom,
    ):
        xr.testing.assert_equal(clip(cube, one), expected)
    feature = {"type": "Feature", "geometry": mapping(shape), "properties": {}}
    xr.testing.assert_equal(cube.sr.clip(feature, crs=UTM), expected)


@pytest.mark.slow
@given(
    corners=st.lists(st.tuples(st.floats(-20, 150), st.floats(-20, 130)), min_size=3, max_size=6, unique=True),
    chunk=st.integers(1, 14),
    touched=st.booleans(),
)
def test_any_chunks_give_the_same_inside_and_out(corners, chunk, touched):
    cube = make_cube((2, 13, 15))
    hull = Geometry({"type": "MultiPoint", "coordinates": [(WEST + x, NORTH - y) for x, y in corners]}, UTM).convex_hull
    if hull.geom_type != "Polygon" or hull.area < 100 or not hull.intersection(cube.odc.geobox.extent).area > 1:
        return
    whole = clip(cube, hull, all_touched=touched)
    parts = clip(cube.chunk(y=chunk, x=chunk), hull, all_touched=touched)
    xr.testing.assert_equal(parts.compute(), whole)
    back = whole.reindex_like(cube)
    seen = np.isfinite(back.values)
    np.testing.assert_array_equal(back.values[seen], cube.values[seen])
    for row, col in np.ndindex(13, 15):
        centre = Point(float(cube.x[col]), float(cube.y[row]))
        inside = bool(seen[0, row, col])
        if hull.geom.buffer(-1e-6).contains(centre):
            assert inside
        elif not touched and not hull.geom.buffer(1e-6).contains(centre):
            assert not inside


def test_nothing_is_computed_and_masks_are_cut_along():
    cube = make_cube((2, 2, 16, 16)).chunk(y=5, x=7)
    valid = np.random.default_rng(1).random((2, 16, 16)) > 0.5
    cube = cube.assign_coords(valid=(("time", "y", "x"), valid), native_gsd=("band", [10.0, 20.0]))
    with assert_lazy(cube):
        out = cube.sr.clip(map_box(3, 2, 9, 11), crs=UTM)
    np.testing.assert_array_equal(out.valid, valid[:, 2:11, 3:9])
    assert out.native_gsd.values.tolist() == [10, 20]
    assert out.attrs["xsr_operation"] == "clip"
    np.testing.assert_array_equal(out, cube[:, :, 2:11, 3:9])
    masked = out.sr.mask_clouds()
    np.testing.assert_array_equal(np.isnan(masked[:, 0]), ~valid[:, 2:11, 3:9])


def test_ascending_and_turned_grids_and_datasets():
    cube = make_cube((2, 12, 10))
    rising = cube.isel(y=slice(None, None, -1)).assign_coords(edge=(("y", "x"), np.arange(120).reshape(12, 10)))
    out = clip(rising, map_box(2, 3, 7, 9), crs=UTM)
    np.testing.assert_array_equal(out, rising[:, 3:9, 2:7])
    np.testing.assert_array_equal(out.edge, rising.edge[3:9, 2:7])
    np.testing.assert_array_equal(out.y, rising.y[3:9])
    dataset = clip(make_dataset((1, 2, 12, 10)), map_box(2, 3, 7, 9), crs=UTM)
    assert set(dataset.data_vars) == {"B02", "B03"}
    assert dataset.sizes == {"time": 1, "y": 6, "x": 5}
    turn = Affine(10, 0, WEST, 0, -10, NORTH) @ Affine.rotation(30)
    turned = make_cube((12, 10), affine=turn)
    x, y = turn @ (4.5, 6.5)
    spot = clip(turned, outline(x - 1, y - 1, x + 1, y + 1, UTM))
    assert spot.shape == (1, 1)
    assert spot.item() == turned.values[6, 4]


def test_no_data_stays_and_the_disk_keeps_it(tmp_path):
    values = np.random.default_rng(2).random((1, 1, 10, 10), np.float32)
    values[0, 0, 4, 4] = np.nan
    out = clip(make_cube(values), map_box(2, 2, 8, 8), crs=UTM)
    assert np.isnan(out).sum() == 1
    to_zarr(out, tmp_path / "a.zarr", progress=False)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr").reflectance, out)


@pytest.mark.parametrize(
    ("geometry", "options", "message"),
    [
        ((0, 0, 1, 1), {}, r"the area \(.*\) lies outside the cube, which covers \(600000.0, 5799900.0, .* EPSG:32633"),
        ((1, 2, 3), {}, "expected four numbers"),
        (map_box(2, 2, 8, 8), {}, r"is not in degrees; expected .* or the CRS of the numbers, where .* takes crs="),
        (map_box(5, 5, 2, 9), {"crs": UTM}, "expected west < east and south < north"),
        ([Point(0, 0), Point(1, 1)], {}, r"expected a box of four numbers, or one geometry\. Join several"),
        ("gone.shp", {}, r"gone\.shp cannot be read"),
        (None, {}, r"geometry=None; expected an area"),
        (3, {}, "is no GeoJSON"),
        (Geometry(Point(1, 1)), {}, r"names no CRS; expected one"),
    ],
)
def test_areas_that_cannot_be_meant_are_refused(geometry, options, message):
    with pytest.raises(ParameterError, match=message):
        clip(make_cube((2, 10, 10)), geometry, **options)
