import math

import numpy as np
import pytest
import rasterio.warp
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from helpers import NORTH, WEST, make_cube, make_dataset, make_geobox
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.enums import Resampling

import xsr
from xsr.core.errors import GridError, ParameterError
from xsr.kernels.resample import METHODS, RADIUS
from xsr.operations.interpolate import interpolate
from xsr.testing import assert_same_grid, synthetic_cube

SCALES = (1.5, 2, 3, 3.4, 4)


def pixel_of(size, scale):
    """Input pixel that contains the centre of each output pixel."""
    centre = (np.arange(math.floor(size * scale + 1e-6)) + 0.5) / scale - 0.5
    return np.floor(centre + 0.5 + 1e-9).astype(int)


# --- the grid ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_cube, make_dataset])
@pytest.mark.parametrize("scale", SCALES)
def test_the_grid_has_the_exact_resolution_from_the_same_corner(make, scale):
    low = make((2, 2, 21, 13))
    out = interpolate(low, scale=scale)
    geobox, gsd = out.odc.geobox, 10 / scale
    assert geobox.shape.yx == (math.floor(21 * scale + 1e-6), math.floor(13 * scale + 1e-6))
    assert geobox.affine.almost_equals(Affine(gsd, 0, WEST, 0, -gsd, NORTH), precision=1e-7)
    assert geobox.crs == low.odc.geobox.crs
    lost = low.odc.geobox.boundingbox.right - geobox.boundingbox.right
    assert -1e-5 < lost < gsd


@pytest.mark.parametrize("scale", SCALES)
def test_coordinates_are_pixel_centres_of_the_affine_to_the_last_digit(scale):
    out = interpolate(make_cube((1, 301, 7)), scale=scale)
    gsd = 10 / scale
    np.testing.assert_allclose(out.y, NORTH - gsd * (np.arange(out.sizes["y"]) + 0.5), rtol=0, atol=2e-9)
    np.testing.assert_allclose(out.x, WEST + gsd * (np.arange(out.sizes["x"]) + 0.5), rtol=0, atol=2e-9)


@pytest.mark.parametrize("make", [make_cube, make_dataset])
def test_every_reader_of_the_grid_agrees(make):
    out = interpolate(make((2, 10, 8)), scale=3.4)
    gsd = 10 / 3.4
    expected = (WEST, gsd, 0, NORTH, 0, -gsd)
    assert [float(number) for number in out["spatial_ref"].attrs["GeoTransform"].split()] == pytest.approx(expected)
    assert out.rio.transform().to_gdal() == pytest.approx(expected)
    assert out.rio.transform(recalc=True).to_gdal() == pytest.approx(expected, abs=1e-6)
    assert out.odc.geobox.affine.to_gdal() == pytest.approx(expected)
    assert out.rio.crs.to_epsg() == out.odc.geobox.crs.epsg == 32633
    bands = out.data_vars.values() if isinstance(out, xr.Dataset) else [out]
    for band in bands:
        assert band.encoding["grid_mapping"] == "spatial_ref"
        assert "grid_mapping" not in band.attrs


def test_resolution_and_scale_name_the_same_grid():
    low = make_cube((2, 9, 9))
    assert interpolate(low, resolution=2.5).equals(interpolate(low, scale=4))


def test_chained_refinements_end_on_the_grid_of_one():
    low = make_cube((1, 10, 10))
    assert_same_grid(interpolate(interpolate(low, scale=2), scale=2), interpolate(low, scale=4))


# --- the values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_nearest_at_whole_scales_repeats_pixels(scale):
    low = make_cube((2, 2, 5, 7))
    assert np.array_equal(interpolate(low, scale=scale, method="nearest"), low.values.repeat(scale, 2).repeat(scale, 3))


@pytest.mark.parametrize("scale", [1.5, 3.4])
def test_nearest_at_other_scales_takes_the_containing_pixel(scale):
    low = make_cube((1, 15, 10))
    rows, cols = pixel_of(15, scale), pixel_of(10, scale)
    assert np.array_equal(interpolate(low, scale=scale, method="nearest"), low.values[:, rows[:, None], cols])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", SCALES)
def test_a_constant_stays_constant_to_the_border(method, scale):
    out = interpolate(make_cube(np.full((1, 5, 6), 0.3, np.float32)), scale=scale, method=method)
    np.testing.assert_allclose(out, 0.3, rtol=1e-6)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("scale", SCALES)
def test_a_plane_on_the_map_stays_the_same_plane(method, scale):
    """Values are a function of the coordinates: any shift of the grid shows."""
    low = make_cube((1, 20, 20))
    plane = (low.x - WEST) / 100 + (NORTH - low.y) / 50
    out = interpolate(
        low.copy(data=plane.transpose("y", "x").values.astype(np.float32)[None]), scale=scale, method=method
    )
    truth = ((out.x - WEST) / 100 + (NORTH - out.y) / 50).transpose("y", "x")
    inner = {"x": slice(WEST + 25, WEST + 175), "y": slice(NORTH - 25, NORTH - 175)}
    assert np.abs(out.isel(band=0).sel(inner) - truth.sel(inner)).max() < 1e-6


def test_bilinear_hand_values():
    low = make_cube(np.array([[[0.0, 1.0], [2.0, 3.0]]], np.float32))
    out = interpolate(low, scale=2, method="bilinear").values[0]
    assert out.tolist() == [[0, 0.25, 0.75, 1], [0.5, 0.75, 1.25, 1.5], [1.5, 1.75, 2.25, 2.5], [2, 2.25, 2.75, 3]]


def test_the_result_is_float32_and_not_clipped():
    step = np.zeros((1, 8, 8), np.float64)
    step[:, :, 4:] = 1
    out = interpolate(make_cube(step), scale=4)
    assert out.dtype == np.float32
    assert out.min() < -0.02
    assert out.max() > 1.02


def test_refining_a_scene_comes_closer_to_the_truth_than_repeating_pixels():
    scene = {"size": (40, 40), "bands": ("B04",), "noise": False}
    low = synthetic_cube(**scene).isel(time=0)
    error = {}
    for method in ("nearest", "bicubic"):
        back = interpolate(low, scale=2, method=method).coarsen(x=2, y=2).mean()
        error[method] = float(np.abs(back - low).mean())
    assert error["nearest"] < 1e-6  # the mean of repeated pixels is the pixel
    assert 1e-6 < error["bicubic"] < 0.02


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("method", METHODS)
def test_cubes_narrower_than_the_kernel_continue_by_their_border(shape, method):
    low = make_cube((2, *shape))
    out = interpolate(low, scale=3, method=method)
    wide = low.pad(y=20, x=20, mode="edge").values
    y, x = ((np.arange(3 * n) + 0.5) / 3 - 0.5 + 20 for n in shape)
    expected = interpolate(make_cube(wide), scale=3, method=method).values[:, 60 : 60 + len(y), 60 : 60 + len(x)]
    assert out.shape == expected.shape
    np.testing.assert_allclose(out, expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_last_chunk_of_one_pixel_changes_nothing(method):
    low = make_cube((1, 17, 9))
    whole = interpolate(low, scale=2, method=method)
    lazy = interpolate(low.chunk({"y": 16, "x": 8}), scale=2, method=method, chunks=(33, 17))
    assert lazy.data.chunks[-2:] == ((33, 1), (17, 1))
    assert np.array_equal(lazy, whole)


# --- no data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", SCALES)
def test_the_output_is_nan_exactly_where_its_pixel_is_no_data_band_by_band(method, scale):
    low = make_cube((2, 3, 14, 11))
    bad = np.random.default_rng(3).random(low.shape) < 0.2
    low.values[bad] = np.resize([np.nan, np.inf, -np.inf], bad.sum())
    rows, cols = pixel_of(14, scale), pixel_of(11, scale)
    out = interpolate(low, scale=scale, method=method)
    assert np.array_equal(np.isnan(out), bad[:, :, rows[:, None], cols])
    assert not np.isinf(out).any()


def test_a_hole_in_one_band_or_date_leaves_the_others_alone():
    low = make_cube((2, 3, 12, 12))
    whole = interpolate(low, scale=2)
    holed = low.copy(deep=True)
    holed[1, 2, 4:7, 4:7] = np.nan
    out = interpolate(holed, scale=2)
    others = np.ones((2, 3), bool)
    others[1, 2] = False
    assert np.array_equal(out.values[others], whole.values[others])
    assert np.isnan(out[1, 2]).sum() == 36


@pytest.mark.parametrize("method", [m for m in METHODS if m != "nearest"])
def test_values_near_a_hole_depend_on_valid_pixels_only(method):
    low = make_cube((1, 12, 12))
    results = []
    for hidden in (np.nan, np.inf, -np.inf):
        low.values[0, 5, 5] = hidden
        results.append(interpolate(low, scale=2, method=method))
    assert results[0].equals(results[1])
    assert results[0].equals(results[2])
    far = np.abs((np.arange(24) + 0.5) / 2 - 0.5 - 5) >= RADIUS[method]
    assert np.array_equal(
        results[0].values[0][far], interpolate(make_cube((1, 12, 12)), scale=2, method=method).values[0][far]
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_cube_without_data_gives_one_without_data(value):
    out = interpolate(make_cube(np.full((2, 2, 5, 5), value, np.float32)), scale=2.5)
    assert out.shape == (2, 2, 12, 12)
    assert np.isnan(out).all()


def test_no_data_of_packed_integers_does_not_leak():
    packed = np.full((1, 8, 8), 3000, "uint16")
    packed[0, 3, 3] = 0
    out = interpolate(make_cube(packed).assign_attrs(nodata=0), scale=2, units="dn10000")
    assert np.isnan(out).sum() == 4
    np.testing.assert_allclose(out.values[np.isfinite(out)], 0.3, rtol=1e-6)


def test_undecoded_no_data_of_floats_does_not_leak():
    values = np.full((1, 8, 8), 0.3, np.float32)
    values[0, 3, 3] = -9999
    out = interpolate(make_cube(values).assign_attrs(_FillValue=-9999.0), scale=2)
    assert np.isnan(out).sum() == 4
    np.testing.assert_allclose(out.values[np.isfinite(out)], 0.3, rtol=1e-6)


# --- like= ---------------------------------------------------------------------------------------------


def smooth(shape, gsd=10.0):
    """Cube of a smooth field with a little texture."""
    low = make_cube((1, *shape), gsd=gsd)
    y, x = (low.y - NORTH).values[:, None] / 80, (low.x - WEST).values / 60
    return low.copy(data=(0.3 + 0.2 * np.sin(x) * np.cos(y) + 0.02 * low.values).astype(np.float32))


def test_like_of_a_refined_grid_equals_the_refinement():
    low = make_cube((2, 9, 9))
    out = interpolate(low, scale=3.4)
    like = interpolate(low, like=out)
    assert_same_grid(like, out)
    np.testing.assert_allclose(like, out, atol=1e-6)


def test_like_with_an_offset_equals_a_cut_of_the_refinement():
    low = make_cube((2, 9, 9))
    fine = interpolate(low, scale=4)
    like = fine.isel(y=slice(5, 20), x=slice(3, 31))
    out = interpolate(low, like=like)
    assert_same_grid(out, like)
    np.testing.assert_allclose(out, like, atol=1e-6)


def test_like_beyond_the_cube_is_nan_there_and_only_there():
    like = make_geobox((30, 30), affine=Affine(5, 0, WEST - 20, 0, -5, NORTH + 35))
    out = interpolate(make_cube((2, 8, 8)), like=like)
    inside = np.zeros((30, 30), bool)
    inside[7:23, 4:20] = True
    assert np.array_equal(np.isfinite(out), np.broadcast_to(inside, out.shape))


def degrees_like(shape, cell=(4e-5, 3e-5), corner=(16.4690, 52.3398)):
    return GeoBox(shape, Affine(cell[0], 0, corner[0], 0, -cell[1], corner[1]), "EPSG:4326")


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_like_in_another_crs_equals_gdal(method):
    low, like = smooth((60, 60)), degrees_like((40, 50), corner=(16.4720, 52.3380))
    out = interpolate(low, like=like, method=method)
    expected = np.full((1, 40, 50), np.nan, np.float32)
    rasterio.warp.reproject(
        low.values,
        expected,
        src_transform=low.odc.geobox.affine,
        src_crs="EPSG:32633",
        dst_transform=like.affine,
        dst_crs="EPSG:4326",
        resampling=Resampling[method],
        tolerance=0,  # GDAL may approximate the projection by an eighth of a pixel otherwise
    )
    assert np.isfinite(expected).all()
    if method == "nearest":  # the same pixels, but for positions within rounding of a border between two
        assert (out.values == expected).mean() > 0.999
    else:  # GDAL rounds its weights; the texture changes by 0.02 a pixel
        np.testing.assert_allclose(out, expected, atol=2e-5)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_like_in_another_crs_keeps_a_plane_on_the_map(method):
    low, like = make_cube((1, 60, 60)), degrees_like((40, 50), corner=(16.4720, 52.3380))
    plane = ((low.x - WEST) / 1000 + (NORTH - low.y) / 500).transpose("y", "x").values.astype(np.float32)
    out = interpolate(low.copy(data=plane[None]), like=like, method=method)
    lon, lat = np.meshgrid(out.longitude, out.latitude)
    east, north = Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True).transform(lon, lat)
    np.testing.assert_allclose(out.values[0], (east - WEST) / 1000 + (NORTH - north) / 500, atol=1e-6)


def test_like_in_another_crs_is_nan_outside_and_takes_its_names():
    low, like = make_cube((2, 2, 14, 14)), degrees_like((60, 80), corner=(16.4670, 52.3412))
    out = interpolate(low, like=like)
    assert out.dims == ("time", "band", "latitude", "longitude")
    assert_same_grid(out, like)
    assert out.rio.crs.to_epsg() == 4326
    lon, lat = np.meshgrid(out.longitude, out.latitude)
    east, north = Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True).transform(lon, lat)
    inside = (east > WEST) & (east < WEST + 140) & (north < NORTH) & (north > NORTH - 140)
    assert 0.05 < inside.mean() < 0.9
    assert np.array_equal(np.isfinite(out), np.broadcast_to(inside, out.shape))


def test_like_in_another_crs_obeys_the_rule_for_no_data():
    low = make_cube((1, 60, 60))
    low.values[0, 20:30, 15:40] = np.nan
    out = interpolate(low, like=degrees_like((60, 80), corner=(16.4690, 52.3385)), method="bicubic")
    nearest = interpolate(low, like=degrees_like((60, 80), corner=(16.4690, 52.3385)), method="nearest")
    assert 0 < np.isnan(out).mean() < 1
    assert np.array_equal(np.isnan(out), np.isnan(nearest))


def test_like_takes_a_dataset_a_cube_or_a_geobox():
    low, fine = make_cube((2, 8, 8)), make_dataset((1, 16, 16), gsd=5)
    results = [interpolate(low, like=like) for like in (fine, fine["B02"], fine.odc.geobox)]
    assert results[0].equals(results[1])
    assert results[0].equals(results[2])


@pytest.mark.parametrize("like", [3, "grid", xr.DataArray([1.0]), np.zeros((4, 4))])
def test_like_without_a_grid_is_refused(like):
    with pytest.raises(GridError, match=r"like=\w+ has no grid; expected a georeferenced cube or a GeoBox"):
        interpolate(make_cube((1, 4, 4)), like=like)


# --- parameters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cubic", "NEAREST", "", None])
def test_an_unknown_method_is_refused(method):
    with pytest.raises(
        ParameterError, match=r"method=.*; expected one of nearest, bilinear, bicubic, bicubic75, lanczos3"
    ):
        interpolate(make_cube((1, 4, 4)), scale=2, method=method)


@pytest.mark.parametrize("chunks", [0, -1, (4,), (4, 0), (1, 2, 3), 2.5, "auto", (4.0, 4)])
def test_chunks_must_be_whole_and_positive(chunks):
    with pytest.raises(ParameterError, match=r"chunks=.*; expected a positive number of output pixels, or a pair"):
        interpolate(make_cube((1, 4, 4)), scale=2, chunks=chunks)


def test_bands_and_units_are_passed_on():
    low = make_cube(np.stack([np.full((4, 4), n, "uint16") for n in (1000, 2000, 3000)]))
    out = interpolate(low, scale=2, bands=["red", "blue"], units="dn10000")
    assert out.band.values.tolist() == ["B04", "B02"]
    np.testing.assert_allclose(out[:, 0, 0], [0.3, 0.1], rtol=1e-6)


@pytest.mark.parametrize("make", [make_cube, make_dataset])
def test_the_accessor_equals_the_function(make):
    low = make((2, 2, 8, 8))
    options = {"scale": 2.5, "method": "lanczos3", "bands": ["B03"], "units": "percent", "chunks": 7}
    assert low.sr.interpolate(**options).identical(interpolate(low, **options))
    assert low.sr.interpolate(resolution=4).identical(xsr.interpolate(low, resolution=4))
    like = make_geobox((12, 12), gsd=4)
    assert low.sr.interpolate(like=like).identical(xsr.interpolate(low, like=like))
