"""Tiles of Web Mercator: the pixels of each are those of the operation on the whole cube."""

import io
from concurrent.futures import CancelledError, ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from odc.geo.xr import xr_reproject
from PIL import Image
from pyproj import Transformer

from xsr.core.errors import BandError, CubeError, ParameterError
from xsr.testing import synthetic_cube
from xsr.view.tiles import Tiles
from xsr.view.tiles.mercator import tile_of

SIZE = 32
TIMES = ("2024-04-10T10:50", "2024-05-10T10:50")
"""Pixels around a tile that the filter of its sharpness reads."""


@pytest.fixture(scope="module")
def cube():
    return synthetic_cube(size=(72, 80), times=TIMES)


@pytest.fixture(scope="module")
def lazy(cube):
    return cube.chunk(time=1, y=25, x=31)


@pytest.fixture(scope="module")
def tiles(lazy):
    return Tiles(lazy, size=SIZE, threads=1)


def decoded(png):
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.mode == "RGBA"
        return np.asarray(picture)


def same(found, expected, tolerance=1e-6):
    assert np.isfinite(expected).any()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def place(cube, row, col):
    """Longitude and latitude of a pixel."""
    degrees = Transformer.from_crs(cube.odc.crs.to_wkt(), 4326, always_xy=True)
    return degrees.transform(float(cube.x[col]), float(cube.y[row]))


def some(tiles, cube, deeper):
    """Tiles at a corner and in the middle of a cube, some zooms finer than it."""
    z = tiles.native_zoom + deeper
    found = [tile_of(*place(cube, *at), z, size=tiles.size)[:2] for at in ((0, 0), (35, 40))]
    return [(z, *one) for one in found]


# --- the same as the operation --------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:scale .* is beyond those model")
@pytest.mark.parametrize("deeper", [0, 1, 3])
def test_a_tile_is_what_liif_makes_on_its_grid(tiles, lazy, cube, deeper):
    for z, x, y in some(tiles, cube, deeper):
        box = tiles.grid(z, x, y)
        found = tiles.values(z, x, y)
        same(found.values, lazy.isel(time=1).sr.liif(like=box).values)
        assert found.odc.geobox == box


@pytest.mark.parametrize("eager", [False, True])
def test_a_tile_of_a_perfectly_sharp_result(cube, lazy, eager):
    given = cube if eager else lazy
    tiles = Tiles(given, size=SIZE, psf="ideal")
    for z, x, y in some(tiles, cube, 1):
        expected = cube.isel(time=0).sr.liif(like=tiles.grid(z, x, y), psf="ideal").values
        same(tiles.values(z, x, y, t="2024-04-10").values, expected)


def test_neighbours_have_no_seam(tiles, cube):
    z, x, y = some(tiles, cube, 1)[1]
    left, right = (tiles.values(z, one, y) for one in (x, x + 1))
    box = tiles.grid(z, x, y) | tiles.grid(z, x + 1, y)
    whole = cube.isel(time=1).sr.liif(like=box).values
    # The size of a pixel on the ground is that at the middle, which differs by a few parts in a million.
    same(np.concatenate([left, right], axis=2), whole, tolerance=1e-5)


@pytest.mark.parametrize(("layer", "method"), [("bicubic", "bicubic"), ("input", "nearest")])
def test_layers_to_compare_with(tiles, cube, layer, method):
    for z, x, y in some(tiles, cube, 1):
        expected = cube.isel(time=1).sr.interpolate(like=tiles.grid(z, x, y), method=method).values
        same(tiles.values(z, x, y, layer=layer).values, expected)


def test_bicubic_between_dates_is_linear_in_time(tiles, cube):
    z, x, y = some(tiles, cube, 1)[-1]
    expected = cube.sr.interpolate(like=tiles.grid(z, x, y), t="2024-04-20T12:00").isel(time=0).values
    same(tiles.values(z, x, y, t="2024-04-20T12:00", layer="bicubic").values, expected)


def test_the_input_between_dates_is_the_nearest(tiles, cube):
    tile = some(tiles, cube, 1)[-1]
    found, expected = (tiles.values(*tile, t=t, layer="input") for t in ("2024-04-20", TIMES[0]))
    same(found.values, expected.values, tolerance=0)


@pytest.mark.slow
def test_liif_between_dates_is_the_temporal_model(lazy, cube):
    tiles = Tiles(lazy, size=SIZE, psf="ideal")
    tile = some(tiles, cube, 1)[-1]
    expected = lazy.sr.liif(like=tiles.grid(*tile), t="2024-04-20", psf="ideal").isel(time=0).values
    same(tiles.values(*tile, t="2024-04-20").values, expected)


@pytest.mark.slow
def test_spread_is_the_width_of_likely_values(tiles, cube):
    z, x, y = some(tiles, cube, 0)[-1]
    found = tiles.values(z, x, y, layer="spread")
    likely = cube.isel(time=1).sr.liif(scale=2, quantiles=(0.05, 0.95)).compute()
    width = likely.sel(quantile=0.95) - likely.sel(quantile=0.05)
    onto = Transformer.from_crs(3857, cube.odc.crs.to_wkt(), always_xy=True)
    east, north = onto.transform(*np.meshgrid(found.x, found.y))
    nearest = width.sel(x=xr.DataArray(east, dims=("r", "c")), y=xr.DataArray(north, dims=("r", "c")), method="nearest")
    within = np.isfinite(found.values)
    assert within.mean() > 0.3
    same(found.values, nearest.transpose("band", "r", "c").where(within).values)
    assert tiles.values(*tiles.over(tiles.native_zoom - 1)[0], layer="spread") is None
    with pytest.raises(ParameterError, match="errors of such results were not measured"):
        tiles.values(z, x, y, t="2024-04-20", layer="spread")


@pytest.mark.slow
def test_real_tiles(data_dir):
    with xr.open_dataset(data_dir / "s2_ts_belgium_31UES" / "s2_10m.nc") as data:
        cube = data.chunk(time=1)
        tiles = Tiles(cube, units="dn10000", size=64)
        for z, x, y in tiles.over(tiles.native_zoom + 1)[4:6]:
            one = cube.isel(time=3).sr.liif(like=tiles.grid(z, x, y), units="dn10000")
            expected = one.to_dataarray("band").values
            same(tiles.values(z, x, y, t=tiles.dates[3]).values, expected)


# --- coarser than the cube ------------------------------------------------------------------------


@pytest.mark.parametrize("coarser", [1, 2, 3])
def test_coarse_tiles_are_means(tiles, cube, coarser):
    whole = xr_reproject(cube.isel(time=1), cube.odc.geobox, resampling="nearest").where(lambda v: np.isfinite(v))
    for tile in tiles.over(tiles.native_zoom - coarser):
        found = tiles.values(*tile)
        expected = xr_reproject(whole, tiles.grid(*tile), resampling="average", dst_nodata=np.nan).values
        if found is None:
            assert not np.isfinite(expected).any()
            continue
        both = np.isfinite(expected) & np.isfinite(found.values)
        # Two steps, halving and then averaging by area, are not quite one.
        assert both.sum() >= 0.6 * np.isfinite(expected).sum()
        assert np.abs(found.values - expected)[both].mean() < 0.1 * expected[both].std()


def test_means_of_a_constant_are_it(cube):
    tiles = Tiles(cube * 0 + np.float32(0.25), size=SIZE)
    for z in (tiles.native_zoom - 4, tiles.native_zoom - 1):
        found = [tiles.values(*tile).values for tile in tiles.over(z)]
        assert {*np.unique(np.concatenate(found))[:-1]} <= {np.float32(0.25)}
    assert tiles.values(0, 0, 0) is None or np.isfinite(tiles.values(0, 0, 0)).sum() <= 16


def test_coarse_tiles_between_dates(cube):
    series = cube * 0 + xr.DataArray(np.float32([0.1, 0.4]), dims="time")
    tiles = Tiles(series, size=SIZE)
    tile = tiles.over(tiles.native_zoom - 1)[0]
    found = tiles.values(*tile, t="2024-04-20T10:50").values  # ten days of thirty
    np.testing.assert_allclose(found[np.isfinite(found)], 0.2, atol=1e-6)


# --- what is read and kept ------------------------------------------------------------------------


def counted(cube):
    """A lazy cube and the list of the blocks that were read of it."""
    values, read = cube.values, []

    def block(block_info=None):
        where = block_info[None]["array-location"]
        read.append((where[0][0], where[2][0], where[3][0]))
        return values[tuple(slice(*one) for one in where)]

    chunks = ((1, 1), (values.shape[1],), (24, 24, 24), (20,) * 4)
    array = da.map_blocks(block, chunks=chunks, dtype=values.dtype, meta=np.empty((0,) * 4, values.dtype))
    return cube.copy(data=array), read


def test_only_blocks_under_a_tile_are_read_and_once(cube):
    lazy, read = counted(cube)
    tiles = Tiles(lazy, size=SIZE)
    assert read == []
    tile = some(tiles, cube, 3)[0]
    first = tiles.png(*tile, layer="bicubic", stretch=(0, 1))
    assert len(read) == len(set(read)) < 12
    assert {date for date, *_ in read} == {1}
    before = list(read)
    assert tiles.png(*tile, layer="bicubic", stretch=(0, 1)) == first
    assert tiles.png(*tile, layer="bicubic", stretch=(0, 0.5), bands=["B08"]) != first
    assert read == before


def test_two_who_ask_for_one_tile_get_it_computed_once(cube):
    lazy, read = counted(cube)
    tiles = Tiles(lazy, size=SIZE, threads=4)
    tile = tiles.over(tiles.native_zoom)[0]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: tiles.png(*tile, layer="input", stretch=(0, 1)), range(16)))
    assert len(set(found)) == 1
    assert len(read) == len(set(read))


def test_memory_is_bounded(cube):
    tiles = Tiles(cube.chunk(time=1), size=64, memory="1MB")
    for tile in tiles.over(tiles.native_zoom + 2)[:40]:
        tiles.png(*tile, layer="input")
        assert tiles.nbytes <= 1_000_000
    assert tiles.nbytes > 300_000


def test_what_is_no_longer_wanted_is_not_computed(cube):
    lazy, read = counted(cube)
    tiles = Tiles(lazy, size=SIZE)
    tile = tiles.over(tiles.native_zoom)[0]
    with pytest.raises(CancelledError):
        tiles.png(*tile, layer="input", stretch=(0, 1), cancelled=lambda: True)
    assert read == []
    assert tiles.png(*tile, layer="input", stretch=(0, 1), cancelled=lambda: False)
    assert tiles.png(*tile, layer="input", stretch=(0, 1), cancelled=lambda: True)  # it is there already


# --- pictures -------------------------------------------------------------------------------------


def test_a_picture_shows_values_between_the_limits(cube):
    flat = (cube * 0).isel(time=[0]) + xr.DataArray(np.float32([0.1, 0.2, 0.3, 0.9]), dims="band")
    tiles = Tiles(flat, size=SIZE)
    tile = some(tiles, cube, 1)[0]
    shown = decoded(tiles.png(*tile, layer="input", bands=["B04", "B03", "B08"], stretch=(0.1, 0.6)))
    assert {tuple(pixel) for pixel in shown.reshape(-1, 4)} - {(0, 0, 0, 0)} == {(102, 51, 255, 255)}
    grey = decoded(tiles.png(*tile, layer="input", bands=["B02"], stretch=(0, 0.2)))
    assert {tuple(pixel) for pixel in grey.reshape(-1, 4)} - {(0, 0, 0, 0)} == {(128, 128, 128, 255)}


def test_outside_and_no_data_are_transparent(cube):
    gap = cube.where(cube.x > cube.x[40])
    tiles = Tiles(gap, size=SIZE)
    assert tiles.values(5, 0, 0) is None
    assert not decoded(tiles.png(5, 0, 0)).any()
    values = [tiles.values(*tile, layer="input") for tile in tiles.over(tiles.native_zoom)]
    pictures = [decoded(tiles.png(*tile, layer="input")) for tile in tiles.over(tiles.native_zoom)]
    for one, picture in zip(values, pictures, strict=True):
        known = np.zeros((SIZE, SIZE), bool) if one is None else np.isfinite(one.values).all(axis=0)
        np.testing.assert_array_equal(picture[..., 3] == 255, known)


def test_the_stretch_is_of_the_clearer_dates(cube):
    cloudy = xr.concat([cube.isel(time=0), cube.isel(time=0) * 0 + 0.9, cube.isel(time=1)], dim="time")
    tiles = Tiles(cloudy.assign_coords(time=np.array(["2024-04-01", "2024-04-02", "2024-04-03"], "M8[ns]")), size=SIZE)
    low, high = tiles.stretch
    rgb = cube.sel(band=["B04", "B03", "B02"])
    assert rgb.min() <= low < high <= rgb.max() < 0.9
    assert tiles.stretch_of(["B08"]) != tiles.stretch


# --- places ---------------------------------------------------------------------------------------


def test_values_at_a_place(tiles, cube):
    row, col = 30, 41
    here = place(cube, row, col)
    found = tiles.point(*here)
    at = cube.isel(y=row, x=col)
    assert found["input"] == {name: float(at.isel(time=1).sel(band=name)) for name in tiles.bands}
    sampled = cube.isel(time=[1]).sr.sample(x=cube.x.values[[col]], y=cube.y.values[[row]], scale=4)
    assert list(found["liif"].values()) == pytest.approx(sampled.values.ravel().tolist(), abs=0.02)
    series = tiles.series(*here)
    assert series["dates"] == ["2024-04-10T10:50:00", "2024-05-10T10:50:00"]
    assert series["bands"]["B08"] == at.sel(band="B08").values.tolist()
    assert set(tiles.point(0, 0)["input"].values()) == {None}
    assert all(west <= one <= east for west, one, east in zip(tiles.bounds[:2], here, tiles.bounds[2:], strict=True))


# --- target times -------------------------------------------------------------------------------------


def test_a_day_is_its_acquisition(tiles, cube):
    tile = some(tiles, cube, 0)[-1]
    named = [
        tiles.values(*tile, t=t, layer="bicubic").values for t in (TIMES[0], "2024-04-10", np.datetime64(TIMES[0]))
    ]
    same(named[1], named[0], tolerance=0)
    same(named[2], named[0], tolerance=0)
    latest = tiles.values(*tile, layer="bicubic").values
    same(latest, tiles.values(*tile, t="2024-05-10", layer="bicubic").values, tolerance=0)
    assert not np.array_equal(named[0], latest, equal_nan=True)


def test_dates_in_any_order(cube):
    turned = Tiles(cube.isel(time=[1, 0]), size=SIZE)
    plain = Tiles(cube, size=SIZE)
    tile = some(plain, cube, 0)[-1]
    for t in (None, "2024-04-10", "2024-04-25"):
        same(*(one.values(*tile, t=t, layer="bicubic").values for one in (turned, plain)), tolerance=0)
    here = plain.bounds[0] / 2 + plain.bounds[2] / 2, plain.bounds[1] / 2 + plain.bounds[3] / 2
    assert turned.series(*here) == plain.series(*here)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"z": 23}, "zoom from 0 to 22"),
        ({"z": -1}, "zoom from 0 to 22"),
        ({"z": 1.5}, "whole number"),
        ({"z": 3, "x": 8}, "from 0 to 7"),
        ({"z": 3, "x": 0, "y": -1}, "number of a tile"),
        ({"layer": "fine"}, "expected one of liif, bicubic, input, spread"),
        ({"layer": None}, "expected one of"),
        ({"t": "2023-01-01"}, "outside the series"),
        ({"t": "2024-04-09"}, "outside the series"),
        ({"t": "nonsense"}, "neither a date nor"),
        ({"t": ["2024-04-11", "2024-04-12"]}, "names 2 times"),
        ({"bands": ["B02", "B03"]}, "one or three"),
        ({"stretch": (1, 0)}, "two numbers that rise"),
        ({"stretch": "12"}, "two numbers that rise"),
        ({"stretch": (0, np.nan)}, "two numbers that rise"),
    ],
)
def test_what_cannot_be_is_refused(tiles, change, match):
    with pytest.raises(ParameterError, match=match):
        tiles.png(**{"z": 2, "x": 0, "y": 0, **change})


def test_unknown_bands_and_missing_dates_are_refused(tiles, cube):
    with pytest.raises(BandError, match="B99"):
        tiles.values(0, 0, 0, bands=["B99"])
    undated = Tiles(cube.isel(time=0, drop=True), size=SIZE)
    assert undated.dates is None
    assert undated.values(*some(undated, cube, 0)[-1], layer="input") is not None
    for ask in (lambda: undated.png(0, 0, 0, t="2024-04-10"), lambda: undated.series(*undated.bounds[:2])):
        with pytest.raises(CubeError, match="no dates"):
            ask()


@pytest.mark.parametrize("arguments", [{"memory": "lots"}, {"memory": 10}, {"size": 4}, {"threads": 0}])
def test_bad_settings(cube, arguments):
    with pytest.raises(ParameterError, match=next(iter(arguments))):
        Tiles(cube, **arguments)


@pytest.mark.parametrize("where", [(181, 0), (0, 86), (np.nan, 0)])
def test_places_off_the_map(tiles, where):
    with pytest.raises(ParameterError, match="degrees"):
        tiles.point(*where)


def test_small_and_empty_cubes(cube):
    one = Tiles(cube.isel(band=[3]), size=SIZE)
    assert one.rgb == ("B08",)
    assert one.png(*one.over(one.native_zoom)[0], layer="bicubic")
    empty = Tiles(cube * np.nan, size=SIZE)
    assert empty.stretch == (0, 1)
    assert not decoded(empty.png(*empty.over(empty.native_zoom)[0])).any()
    pixel = Tiles(cube.isel(x=[5, 6], y=[5, 6]), size=SIZE)
    assert pixel.values(*pixel.over(18)[0], layer="bicubic") is not None


def test_a_cube_without_a_model_still_shows_its_pixels(cube):
    odd = Tiles(cube.isel(band=[0]).assign_coords(band=["B10"]), size=SIZE)
    assert odd.layers == ("bicubic", "input")
    assert "B10" in odd.unavailable["liif"]
    tile = some(odd, cube, 0)[-1]
    assert odd.png(*tile, layer="bicubic")
    assert set(odd.point(*place(cube, 3, 4))) == {"lon", "lat", "input"}
    with pytest.raises(BandError, match="B10"):
        odd.png(*tile)
