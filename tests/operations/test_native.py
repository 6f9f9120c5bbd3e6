import warnings
from functools import cache

import dask.array as da
import numpy as np
import pytest
import rasterio.warp
import xarray as xr
from affine import Affine
from helpers import make_cube
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords, xr_reproject
from pyproj import Transformer

import xsr
from xsr.core.errors import GridError, ParameterError, XsrWarning
from xsr.testing import assert_lazy, synthetic_cube

METRES = {"EPSG:4326": 1 / 111_320, "EPSG:3857": 1 / np.cos(np.radians(45.0)), "EPSG:32632": 1.0}
"""Units of a CRS to a metre, roughly, where the scenes of these tests lie."""
FINE, COARSE = ("B02", "B03", "B04", "B08"), ("B05", "B8A", "B11")


@cache
def ground(size, bands, times):
    return synthetic_cube(seed=3, size=size, bands=bands, times=times)


def scene(size=(96, 90), *, bands=FINE, crs=None, corner=None, gsd=10.0, times=("2024-04-10",)):
    """Scene on the sensor's own pixels."""
    cube = ground(size, bands, times)
    x, y = corner or (500_000.0 + 10 * 7, 5_000_000.0 - 10 * 11)
    box = GeoBox(size, Affine(gsd, 0, x, 0, -gsd, y), crs or "EPSG:32631")
    return on(cube.values.copy(), box, cube)


def on(values, box, like):
    """Cube of some values (time, band, y, x) on a grid."""
    grid = dict(xr_coords(box))
    axes = [name for name, coord in grid.items() if coord.dims == (name,)]
    return xr.DataArray(values, dims=("time", "band", *axes), coords={"time": like.time, "band": like.band, **grid})


def repeated(cube, bands, side, phase=(0, 0)):
    """Cube some of whose bands repeat their pixels, which begin at ``phase``."""
    out = cube.copy(deep=True)
    for band in bands:
        image = cube.sel(band=band).values
        rows, cols = (
            np.clip((np.arange(n) - p) // side * side + p, 0, n - 1)
            for n, p in zip(image.shape[1:], phase, strict=True)
        )
        out.loc[{"band": band}] = image[:, rows[:, None], cols]
    return out


def other_grid(cube, crs, step_m):
    return cube.odc.geobox.to_crs(crs, resolution=step_m * METRES[crs])


def by_nearest(cube, box):
    """Take the pixel in which each output pixel's centre lies; also which pixels of the cube were taken."""
    x, y = box.affine @ tuple(np.meshgrid(np.arange(box.shape.x) + 0.5, np.arange(box.shape.y) + 0.5))
    x, y = Transformer.from_crs(str(box.crs), str(cube.odc.crs), always_xy=True).transform(x, y)
    cols, rows = (np.floor(v).astype(int) for v in ~cube.odc.geobox.affine @ (x, y))
    height, width = cube.shape[-2:]
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    values = cube.values[..., rows.clip(0, height - 1), cols.clip(0, width - 1)]
    kept = np.zeros((height, width), bool)
    kept[rows[inside], cols[inside]] = True
    return on(np.where(inside, values, np.float32(np.nan)), box, cube), kept


def by_gdal(cube, box, resampling="nearest"):
    out = np.full((*cube.shape[:2], *box.shape.yx), np.nan, np.float32)
    for at in np.ndindex(cube.shape[:2]):
        rasterio.warp.reproject(
            np.ascontiguousarray(cube.values[at]),
            out[at],
            src_transform=cube.odc.geobox.affine,
            src_crs=str(cube.odc.crs),
            src_nodata=np.nan,
            dst_transform=box.affine,
            dst_crs=str(box.crs),
            dst_nodata=np.nan,
            resampling=rasterio.warp.Resampling[resampling],
        )
    return on(out, box, cube)


def same_place(found, cube):
    """Values of a result where the cube lies, and whether the result reaches beyond it."""
    y, x = cube.odc.spatial_dims
    inner = found.reindex({y: cube[y].values, x: cube[x].values})
    beyond = int(np.isfinite(found).sum() - np.isfinite(inner).sum())
    return inner.transpose(*cube.dims), beyond


@pytest.mark.slow
@pytest.mark.parametrize("step_m", [5, 8, 10, 12])
@pytest.mark.parametrize("crs", METRES)
def test_nearest_pixels_come_back_wherever_one_was_kept(crs, step_m):
    cube = scene()
    low, kept = by_nearest(cube, other_grid(cube, crs, step_m))
    found = low.sr.native()
    inner, beyond = same_place(found, cube)
    assert beyond == 0
    expected = np.where(kept, cube.values, np.float32(np.nan))
    np.testing.assert_array_equal(inner.values, expected)
    assert found.attrs["xsr_native_crs"] == "EPSG:32631"
    assert found.attrs["xsr_native_reproduced"] == 1.0
    assert found.odc.geobox.affine.a == 10
    assert found.odc.geobox.affine.c % 10 == 0
    assert found.odc.crs == cube.odc.crs
    assert found.dims == cube.dims


@pytest.mark.parametrize("crs", METRES)
def test_bands_of_larger_pixels_come_back_and_say_how_large(crs):
    cube = repeated(scene(bands=(*FINE, *COARSE), corner=(500_060.0, 5_000_040.0)), COARSE, 2)
    low, kept = by_nearest(cube, other_grid(cube, crs, 8))
    found = low.sr.native()
    inner, beyond = same_place(found.sel(band=list(FINE)), cube.sel(band=list(FINE)))
    assert beyond == 0
    np.testing.assert_array_equal(inner.values, np.where(kept, cube.sel(band=list(FINE)), np.nan))
    inner, _ = same_place(found.sel(band=list(COARSE)), cube.sel(band=list(COARSE)))
    np.testing.assert_array_equal(inner.values[..., kept], cube.sel(band=list(COARSE)).values[..., kept])
    assert found.native_gsd.values.tolist() == [10] * 4 + [20] * 3
    corner = float(found.native_x), float(found.native_y)
    assert all(place % 20 == 0 for place in corner)


@pytest.mark.slow
@pytest.mark.parametrize("crs", METRES)
@pytest.mark.parametrize("tool", ["gdal", "odc"])
def test_what_gdal_resampled_comes_back(crs, tool):
    cube = scene(times=("2024-04-10", "2024-04-20"))
    box = other_grid(cube, crs, 8)
    low = by_gdal(cube, box) if tool == "gdal" else xr_reproject(cube, box, resampling="nearest")
    found = low.sr.native()
    inner, _ = same_place(found, cube)
    both = np.isfinite(inner.values) & np.isfinite(cube.values)
    assert both.mean() > 0.99
    # GDAL approximates projections along lines: a pixel in thousands falls on the other side of a border.
    assert (inner.values == cube.values)[both].mean() > 0.9995
    assert found.attrs["xsr_native_reproduced"] > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("crs", METRES)
def test_the_straight_rows_of_gdal_are_followed(crs):
    # Over 400 pixels GDAL's positions in degrees are off by several hundredths of a pixel, a row at a time.
    size = (200, 420)
    cube = scene(corner=(560_000.0, 5_600_040.0))
    values = np.random.default_rng(4).random((1, 2, *size), np.float32)
    box = GeoBox(size, Affine(10, 0, 560_000, 0, -10, 5_600_040), "EPSG:32631")
    cube = on(values, box, cube.sel(band=["B02", "B03"]))
    step = {"EPSG:4326": 9e-5, "EPSG:3857": 15.0, "EPSG:32632": 10.0}[crs]
    found = by_gdal(cube, box.to_crs(crs, resolution=step)).sr.native()
    inner, _ = same_place(found, cube)
    both = np.isfinite(inner.values)
    assert both.mean() > 0.99
    assert (inner.values == values)[both].mean() > 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("crs", METRES)
@pytest.mark.parametrize("step_m", [8, 10, 12])
@pytest.mark.parametrize("resampling", ["bilinear", "cubic"])
def test_interpolated_cubes_are_not_claimed(resampling, step_m, crs):
    cube = repeated(scene(bands=(*FINE, *COARSE)), COARSE, 2, phase=(1, 1))
    low = by_gdal(cube, other_grid(cube, crs, step_m), resampling)
    with pytest.raises(GridError, match=r"contrast|nothing to undo|cannot be decided"):
        low.sr.native()


def test_the_message_names_the_best_candidate_and_its_score():
    cube = scene()
    low = by_gdal(cube, other_grid(cube, "EPSG:4326", 8), "bilinear")
    with pytest.raises(GridError, match=r"in EPSG:326\d\d with pixels of \d+ m.* contrast of 0\.\d\d; expected 0\.6"):
        low.sr.native()


def test_a_cube_on_its_own_pixels_has_nothing_to_undo():
    with pytest.raises(GridError, match=r"pixels of 10 m in EPSG:32631.* nothing to undo"):
        scene().sr.native()


def test_flat_images_are_undecidable():
    cube = scene()
    low, _ = by_nearest(cube.copy(data=np.full_like(cube.values, 0.1)), other_grid(cube, "EPSG:4326", 8))
    with pytest.raises(GridError, match=r"cannot be decided.* texture"):
        low.sr.native()


def test_a_flat_band_comes_along_without_a_pixel_size():
    cube = scene()
    cube.loc[{"band": "B08"}] = 0.25
    low, _ = by_nearest(cube, other_grid(cube, "EPSG:4326", 8))
    found = low.sr.native()
    np.testing.assert_array_equal(found.native_gsd.values, [10, 10, 10, np.nan])
    assert float(found.sel(band="B08").max()) == 0.25


@pytest.mark.parametrize("east_of", [5.9, 6.1])
def test_beside_the_border_of_two_zones_the_right_one_is_found(east_of):
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform(east_of, 45.0)
    cube = scene(corner=(x // 10 * 10, y // 10 * 10))
    low, _ = by_nearest(cube, other_grid(cube, "EPSG:4326", 8))
    assert low.sr.native().attrs["xsr_native_crs"] == "EPSG:32631"


def test_two_zones_that_fit_alike_are_refused_by_name():
    # A corner of pixels of both zones at one place: over 30 m their lattices, turned by 4 degrees, are the same.
    east, north = np.meshgrid(730_000.0 + 10 * np.arange(200), 4_985_000.0 + 10 * np.arange(200))
    x, y = Transformer.from_crs("EPSG:32631", "EPSG:32632", always_xy=True).transform(east, north)
    at = np.hypot(x - 10 * np.rint(x / 10), y - 10 * np.rint(y / 10)).argmin()
    west, top = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True).transform(east.flat[at], north.flat[at])
    image = np.random.default_rng(0).random((1, 4, 3, 3), np.float32).repeat(2, axis=2).repeat(2, axis=3)
    affine = Affine(5 / 78_800, 0, west, 0, -5 / 111_130, top)
    low = make_cube(image, affine=affine, crs="EPSG:4326")
    with pytest.raises(GridError, match=r"of EPSG:3263\d or of EPSG:3263\d.* 100.00%.*crs='EPSG:3263\d'"):
        low.sr.native()
    assert low.sr.native(crs="EPSG:32632").attrs["xsr_native_crs"] == "EPSG:32632"


def test_a_named_zone_is_the_only_candidate():
    cube = scene()
    low, kept = by_nearest(cube, other_grid(cube, "EPSG:4326", 8))
    found = low.sr.native(crs=32631, gsd=10)
    np.testing.assert_array_equal(same_place(found, cube)[0].values, np.where(kept, cube.values, np.nan))
    with pytest.raises(GridError, match="EPSG:32632"):
        low.sr.native(crs="EPSG:32632")
    with pytest.raises(GridError, match=r"contrast|cannot be decided"):
        low.sr.native(gsd=60)


@pytest.mark.parametrize("options", [{"crs": 4326}, {"crs": "nonsense"}, {"gsd": 0}, {"gsd": []}, {"gsd": "fine"}])
def test_arguments_out_of_range_are_refused(options):
    cube = scene()
    low, _ = by_nearest(cube, other_grid(cube, "EPSG:4326", 8))
    with pytest.raises(ParameterError, match=next(iter(options))):
        low.sr.native(**options)


def test_a_zone_far_away_is_refused():
    cube = scene()
    low, _ = by_nearest(cube, other_grid(cube, "EPSG:4326", 8))
    with pytest.raises(GridError, match="EPSG:32640"):
        low.sr.native(crs=32640)


def test_bands_resampled_otherwise_are_named():
    cube = scene()
    box = other_grid(cube, "EPSG:4326", 6)
    low, _ = by_nearest(cube, box)
    low.loc[{"band": "B08"}] = by_gdal(cube, box, "bilinear").sel(band="B08")
    with pytest.raises(GridError, match=r"\['B08'\].* bands="):
        low.sr.native()
    assert low.sr.native(bands=["B02", "B03"]).band.values.tolist() == ["B02", "B03"]


def test_southern_pixels_of_sixty_metres_count_from_the_equator():
    crs = "EPSG:32731"
    cube = scene(crs=crs, corner=(600_000.0, 7_900_000.0), gsd=60.0, bands=("B02", "B03"))
    box = cube.odc.geobox.to_crs("EPSG:4326", resolution=50 / 111_320)
    low, kept = by_nearest(cube, box)
    found = low.sr.native()
    assert found.attrs["xsr_native_crs"] == crs
    assert found.odc.geobox.affine.a == 60
    np.testing.assert_array_equal(same_place(found, cube)[0].values, np.where(kept, cube.values, np.nan))


def test_landsat_pixels_begin_fifteen_metres_beside_multiples_of_thirty():
    cube = scene(gsd=30.0, corner=(399_975.0, 5_000_025.0), bands=("B02", "B03"))
    low, kept = by_nearest(cube, other_grid(cube, "EPSG:4326", 25))
    found = low.sr.native()
    assert found.odc.geobox.affine.a == 30
    assert found.odc.geobox.affine.c % 30 == 15
    np.testing.assert_array_equal(same_place(found, cube)[0].values, np.where(kept, cube.values, np.nan))


def test_pixels_that_begin_anywhere_are_found():
    cube = scene(corner=(500_003.3, 5_000_007.1))
    low, kept = by_nearest(cube, other_grid(cube, "EPSG:4326", 6))
    found = low.sr.native()
    assert abs(found.odc.geobox.affine.c % 10 - 3.3) < 0.1
    assert abs(found.odc.geobox.affine.f % 10 - 7.1) < 0.1
    left, top = (
        round((cube.odc.geobox.affine.c - found.odc.geobox.affine.c) / 10),
        round((found.odc.geobox.affine.f - cube.odc.geobox.affine.f) / 10),
    )
    inner = found.values[..., top : top + cube.shape[2], left : left + cube.shape[3]]
    np.testing.assert_array_equal(inner, np.where(kept, cube.values, np.nan))


@pytest.mark.slow
@pytest.mark.parametrize("phase", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_repeated_pixels_on_the_grid_are_recognised_wherever_they_begin(phase):
    cube = repeated(scene(size=(61, 70), bands=(*FINE, *COARSE)), COARSE, 2, phase=phase)
    found = cube.sr.native()
    np.testing.assert_array_equal(found.values, cube.values)
    np.testing.assert_array_equal(found.x, cube.x)
    assert found.native_gsd.values.tolist() == [10] * 4 + [20] * 3
    turned = cube.isel(y=slice(None, None, -1)).to_dataset("band").sr.native()
    xr.testing.assert_equal(turned.native_y, found.native_y)
    np.testing.assert_array_equal(turned["B05"].values[:, ::-1], cube.sel(band="B05").values)
    affine = cube.odc.geobox.affine
    assert (float(found.native_x) - affine.c) / 10 % 2 == phase[1]
    assert (affine.f - float(found.native_y)) / 10 % 2 == phase[0]


def test_copies_of_all_pixels_are_joined():
    cube = scene()
    box = cube.odc.geobox
    fine = on(
        cube.values.repeat(2, -1).repeat(2, -2), GeoBox((192, 180), box.affine @ Affine.scale(0.5), box.crs), cube
    )
    found = fine.sr.native()
    np.testing.assert_array_equal(found.values, cube.values)
    assert found.odc.geobox == box


def test_no_data_stays_no_data():
    cube = scene()
    cube[:, 1, 20:40, 30:50] = np.nan
    low, kept = by_nearest(cube, other_grid(cube, "EPSG:4326", 8))
    inner, _ = same_place(low.sr.native(), cube)
    np.testing.assert_array_equal(inner.values, np.where(kept, cube.values, np.nan))


@pytest.mark.parametrize("form", ["dataset", "ascending", "one band"])
def test_the_container_comes_back(form):
    cube = scene()
    low, kept = by_nearest(cube, other_grid(cube, "EPSG:3857", 8))
    given = {
        "dataset": low.to_dataset("band"),
        "ascending": low.isel(y=slice(None, None, -1)),
        "one band": low.isel(time=0, band=0, drop=True),
    }[form]
    found = given.sr.native()
    assert type(found) is type(given)
    if form == "dataset":
        assert found["B03"].attrs["native_gsd"] == 10
        found = found.to_array("band").transpose(*cube.dims)
    elif form == "ascending":
        assert float(found.y[0]) < float(found.y[-1])
    else:
        assert found.dims == ("y", "x")
        cube = cube.isel(time=0, band=0, drop=True)
    np.testing.assert_array_equal(same_place(found, cube)[0].values, np.where(kept, cube.values, np.nan))


@pytest.mark.slow
@pytest.mark.parametrize(("stored", "chunks"), [(17, 16), ((50, 13), (7, 33)), (200, None)])
def test_any_chunking_gives_the_same(stored, chunks):
    cube = repeated(scene(bands=(*FINE[:2], *COARSE[:1]), times=("2024-04-10", "2024-05-10")), COARSE[:1], 2, (1, 1))
    low, _ = by_nearest(cube, other_grid(cube, "EPSG:32632", 9))
    expected = low.sr.native()
    rows, cols = stored if isinstance(stored, tuple) else (stored, stored)
    y, x = low.dims[-2:]
    lazy = low.chunk({"time": 1, y: rows, x: cols}).sr.native(chunks=chunks)
    xr.testing.assert_identical(lazy.compute(), expected)


@pytest.mark.slow
def test_the_result_is_lazy_and_the_sample_bounded():
    cube = scene(size=(120, 90))
    low, _ = by_nearest(cube, other_grid(cube, "EPSG:4326", 8))
    big = np.tile(low.values, (20, 1, 1, 1))
    read = []

    def spy(block, block_info=None):
        read.append(block_info[0]["chunk-location"])
        return block

    array = da.from_array(big, chunks=(1, -1, -1, -1)).map_blocks(spy, dtype=np.float32)
    read.clear()
    series = xr.DataArray(array, dims=low.dims, coords={**{k: v for k, v in low.coords.items() if k != "time"}})
    series = series.assign_coords(time=np.datetime64("2024-01-01", "ns") + np.arange(20) * np.timedelta64(5, "D"))
    found = series.sr.native()
    assert_lazy(found)
    assert len({place[0] for place in read}) == 4
    np.testing.assert_array_equal(found.isel(time=[7]).values, low.sr.native().values)


def test_pixels_that_were_skipped_are_counted():
    cube = scene()
    low, kept = by_nearest(cube, other_grid(cube, "EPSG:32632", 12))
    found = low.sr.native()
    assert found.attrs["xsr_native_missing"] > (~kept).sum()  # the cube is wider than the scene
    assert found.attrs["xsr_native_recovered"] == pytest.approx(kept.mean(), abs=0.02)


def test_what_came_back_goes_through_a_store(tmp_path):
    cube = repeated(scene(bands=(*FINE, *COARSE)), COARSE, 2, (1, 1))
    low, _ = by_nearest(cube, other_grid(cube, "EPSG:4326", 8))
    found = low.sr.native()
    found.sr.to_zarr(tmp_path / "native.zarr")
    back = xr.open_zarr(tmp_path / "native.zarr")
    assert float(back.native_x) == float(found.native_x)


@pytest.mark.slow
def test_networks_see_twenty_metre_pixels_smooth():
    cube = repeated(scene(size=(64, 64), bands=(*FINE, "B05", "B06", "B07", "B8A", "B11", "B12")), COARSE, 2, (1, 1))
    coarse = ("B05", "B06", "B07", "B8A", "B11", "B12")
    cube = repeated(cube, coarse, 2, (1, 1))
    known = cube.sr.native()
    own = cube.sel(band=list(coarse)).isel(y=slice(1, None, 2), x=slice(1, None, 2))
    # by hand: 20 m pixels begin one pixel in; those cut off at the border come from the first row and column
    rows, cols = (np.r_[0, 1:n:2] for n in cube.shape[2:])
    assert own.shape[2] == 32
    pixels = cube.sel(band=list(coarse)).isel(y=rows, x=cols)
    box = cube.odc.geobox
    origin = Affine(20, 0, box.affine.c - 10, 0, -20, box.affine.f + 10)
    smooth = on(pixels.values, GeoBox((33, 33), origin, box.crs), pixels).sr.interpolate(like=box, method="bicubic")
    whole = cube.copy(data=np.concatenate([cube.sel(band=list(FINE)).values, smooth.values], axis=1))
    np.testing.assert_array_equal(known.sr.liif(scale=2).values, whole.sr.liif(scale=2).values)
    assert np.abs(known.sr.liif(scale=2).values - cube.sr.liif(scale=2).values).max() > 1e-3
    assert "native_x" not in known.sr.liif(scale=2).coords


@pytest.mark.slow
def test_the_mark_of_repeats_survives_a_crop_and_laziness():
    cube = repeated(scene(size=(64, 64), bands=(*FINE, *COARSE)), COARSE, 2, (0, 1))
    known = cube.sr.native()
    fine = known.sr.liif(scale=2, bands=["B02", "B03", "B04", "B05"])
    crop = known.isel(y=slice(13, 60), x=slice(8, 59)).chunk(20).sr.liif(scale=2, bands=["B02", "B03", "B04", "B05"])
    assert_lazy(crop)
    inner = np.s_[..., 40:54, 40:60]
    np.testing.assert_allclose(crop.values[inner], fine.values[..., 26:120, 16:118][inner], rtol=0, atol=2e-6)


def test_few_pixels_are_undecidable_unless_the_user_names_their_source():
    cube = scene()
    low, _ = by_nearest(cube, other_grid(cube, "EPSG:4326", 8))
    y, x = low.dims[-2:]
    few = low.isel({y: slice(10, 13), x: slice(10, 13)})
    with pytest.raises(GridError, match=r"cannot be decided.* crs=, gsd="):
        few.sr.native()
    with pytest.warns(XsrWarning, match=r"pixels of 10 m in EPSG:32631, because crs= and gsd= say so"):
        found = few.sr.native(crs="EPSG:32631", gsd=10)
    whole = low.sr.native().sel(x=found.x, y=found.y)
    known = np.isfinite(found.values)
    assert known.any()
    np.testing.assert_array_equal(found.values[known], whole.values[known])


def test_landsats_pixels_come_back_from_pixels_whose_centres_lie_on_their_borders():
    coarse = scene((64, 64), gsd=30.0, corner=(500_025.0, 4_999_995.0))
    grid = GeoBox((90, 90), Affine(10, 0, 500_100, 0, -10, 4_999_900), "EPSG:32631")
    found = xr_reproject(coarse, grid, resampling="nearest").sr.native()
    assert found.native_gsd.values.tolist() == [30.0] * 4
    same = coarse.sel(x=found.x[1:-1], y=found.y[1:-1])
    np.testing.assert_array_equal(found[..., 1:-1, 1:-1].values, same.values)


def test_a_statement_that_the_pixels_contradict_is_refused():
    cube = scene()
    grid = other_grid(cube, "EPSG:4326", 8)
    smooth = xr_reproject(cube, grid, resampling="bilinear")
    y, x = smooth.dims[-2:]
    with pytest.raises(GridError, match="contrast of 0"):
        smooth.isel({y: slice(20, 26), x: slice(20, 26)}).sr.native(crs="EPSG:32631", gsd=10)


def test_a_flat_cube_on_a_lattice_of_its_own_is_not_said_to_be_the_sensors():
    flat = xr.full_like(scene((24, 24)), 0.2)
    with pytest.raises(GridError, match=r"cannot be decided.* not flat\.$"):
        flat.sr.native()


def grid_warnings(cube, network=lambda cube: xsr.liif(cube, scale=2)):
    """Messages of the warnings about the grid that a network gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network(cube)
    found = [one for one in caught if "native()" in str(one.message)]
    assert all(issubclass(one.category, XsrWarning) and one.filename == __file__ for one in found)
    return [str(one.message) for one in found]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("crs", "affine", "what"),
    [
        ("EPSG:4326", Affine(9e-5, 0, 6, 0, -9e-5, 45), "in EPSG:4326"),
        ("EPSG:3857", Affine(14, 0, 667_000, 0, -14, 5_621_000), "in EPSG:3857"),
        ("EPSG:27700", Affine(10, 0, 300_000, 0, -10, 300_000), "in EPSG:27700"),
        ("EPSG:32631", Affine(10, 0, 500_003, 0, -10, 5_000_000), "of 10 m begin at (500003, 5000000)"),
        ("EPSG:32631", Affine(12, 0, 500_040, 0, -12, 5_000_040), "of 12 m"),
        ("EPSG:32631", Affine(10, 0.2, 500_000, 0.2, -10, 5_000_000), "rotated"),
    ],
)
def test_networks_warn_once_of_a_grid_that_is_not_sentinels(crs, affine, what):
    cube = make_cube((2, 4, 24, 24), crs=crs, affine=affine)
    found = grid_warnings(cube)
    assert len(found) == 1
    assert what in found[0]


@pytest.mark.slow
@pytest.mark.parametrize("gsd", [10.0, 20.0, 60.0])
def test_networks_do_not_warn_of_sentinels_own_grids(gsd):
    assert grid_warnings(make_cube((2, 4, 24, 24), gsd=gsd, crs="EPSG:32733")) == []
    assert grid_warnings(make_cube((2, 4, 24, 24), gsd=gsd, crs="EPSG:25832")) == []


@pytest.mark.slow
def test_networks_do_not_warn_of_what_xsr_made():
    cube = scene()
    assert grid_warnings(cube.sr.degrade(scale=3.4)) == []
    low, _ = by_nearest(cube, other_grid(cube, "EPSG:4326", 8))
    assert len(grid_warnings(low)) == 1
    assert grid_warnings(low.sr.native()) == []


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["landsat-8", "PlanetScope"])
def test_networks_do_not_warn_of_cubes_of_other_satellites(platform):
    cube = make_cube((1, 4, 24, 24), crs="EPSG:32631", affine=Affine(30, 0, 500_007, 0, -30, 5_000_007))
    assert len(grid_warnings(cube.assign_attrs(platform="Sentinel-2A"))) == 1
    other = cube.assign_coords(band=["B2", "B3", "B4", "B5"]) if platform == "landsat-8" else cube
    assert grid_warnings(other.assign_attrs(platform=platform)) == []


def test_networks_do_not_warn_of_landsats_own_grid():
    cube = make_cube((1, 4, 24, 24), crs="EPSG:32631", affine=Affine(30, 0, 500_025, 0, -30, 5_000_025))
    assert grid_warnings(cube) == []


@pytest.mark.slow
def test_a_utm_zone_counts_by_its_parameters():
    zone = "+proj=tmerc +lat_0=0 +lon_0=3 +k=0.9996 +x_0=500000 +y_0=0 +datum=WGS84 +units=m"
    for crs in (zone, "EPSG:28355"):
        assert grid_warnings(make_cube((1, 4, 24, 24), crs=crs)) == []


@pytest.mark.slow
def test_cutting_a_cube_does_not_silence_the_warning_but_keeps_what_xsr_made():
    cube = make_cube((1, 4, 24, 24), crs="EPSG:3857")
    left, bottom, right, top = cube.odc.geobox.boundingbox
    area = (left, bottom, right - 40, top)
    assert len(grid_warnings(xsr.clip(cube, area, crs="EPSG:3857"))) == 1
    low = scene().sr.degrade(scale=3.4)
    box = low.odc.geobox.boundingbox
    assert grid_warnings(xsr.clip(low, (box.left, box.bottom, box.right - 100, box.top), crs="EPSG:32631")) == []


@pytest.mark.slow
def test_networks_of_one_factor_and_points_warn_too():
    cube = make_cube((1, 10, 24, 24), crs="EPSG:3857")
    assert len(grid_warnings(cube, lambda cube: xsr.sisr(cube, model="carn_3x3x64g4sw_s2"))) == 1
    assert len(grid_warnings(cube, lambda cube: xsr.sample(cube, x=[600_100.0], y=[5_799_900.0]))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("place", ["Landcover-1864782", "Landcover-771547", "Landcover-8732", "UNHCR-CODs026832"])
def test_worldstrat_comes_back(data_dir, place):
    zones = {"1864782": 32644, "771547": 32638, "8732": 32647, "026832": 32635}
    with xr.open_dataset(data_dir / f"worldstrat_s2_spot/{place}.nc", mask_and_scale=False) as data:
        images = (data.s2_l2a.where(data.s2_l2a != 0) * np.float32(1e-4)).astype(np.float32).load()
    found = images.odc.assign_crs("EPSG:4326").sr.native(units="reflectance")
    assert found.attrs["xsr_native_crs"] == f"EPSG:{next(z for name, z in zones.items() if name in place)}"
    assert found.attrs["xsr_native_reproduced"] >= 0.99
    assert found.native_gsd.values.tolist() == [10, 10, 10, 20, 20, 20, 10, 20, 20, 20]
    assert found.attrs["xsr_native_recovered"] > 0.99


@pytest.mark.slow
def test_a_real_series_comes_back(data_dir):
    with xr.open_dataset(data_dir / "s2_ts_belgium_31UES/s2_10m.nc", mask_and_scale=False) as data:
        images = data[["B02", "B03", "B04", "B08"]].to_array("band").transpose("time", "band", "y", "x")[:20].load()
    cube = (images.where(images != 0) * np.float32(1e-4)).astype(np.float32).odc.assign_crs("EPSG:32631")
    for crs in METRES:
        low, kept = by_nearest(cube, cube.odc.geobox.to_crs(crs, resolution=10 * METRES[crs]))
        found = xsr.native(low, units="reflectance")
        np.testing.assert_array_equal(same_place(found, cube)[0].values, np.where(kept, cube.values, np.nan))
