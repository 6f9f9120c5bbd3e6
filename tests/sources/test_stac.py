import json

import dask
import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from catalogs import COLLECTION, make_item, serving, write_items
from odc.geo.geobox import GeoBox
from products import NORTH, SIDE, WEST, classes, truth, warned

from xsr.core.errors import BandError, GridError, HarmonisationError, ParameterError, ProductError
from xsr.sources.stac import open_stac
from xsr.testing import assert_lazy

RGBN = ["B02", "B03", "B04", "B08"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stac")


@pytest.fixture(scope="module")
def series(folder):
    """Three dates: before the offset, with it, and reprocessed with it; the scene is the same."""
    return [
        make_item(folder, day="2019-06-15", baseline="03.01", added=0),
        make_item(folder, day="2018-06-15", baseline="05.00"),
        make_item(folder, day="2024-06-15", baseline="05.11", cloud=60.0),
    ]


def lonlat_box(shrink=0.0):
    box = GeoBox((SIDE, SIDE), Affine(10, 0, WEST, 0, -10, NORTH), "EPSG:32629").extent.buffer(-shrink)
    return tuple(box.to_crs("EPSG:4326").boundingbox)


# --- an API ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_search_becomes_a_cube_read_by_ranges(folder, series):
    with serving(folder, series) as server:
        cube = open_stac(url=server.url, bbox=lonlat_box(100), datetime="2018/2019", collection=COLLECTION, bands=RGBN)
        with dask.config.set(scheduler="sync"):
            values = cube.compute()
        log = server.log
    assert log["searches"][0]["collections"] == [COLLECTION]
    assert log["searches"][0]["datetime"] == "2018-01-01T00:00:00Z/2019-12-31T23:59:59Z"
    assert {name for name, _, _ in log["ranges"]} == {f"{band}.tif" for band in (*RGBN, "SCL")}
    assert values.time.dt.year.values.tolist() == [2018, 2019]
    assert values.odc.crs.epsg == 32629
    affine = values.odc.geobox.affine
    assert (affine.a, affine.e) == (10, -10)
    assert ((affine.c - WEST) % 10, (affine.f - NORTH) % 10) == (0, 0)
    row, col = round((NORTH - affine.f) / 10), round((affine.c - WEST) / 10)
    for band in RGBN:
        expected = truth(band, 10)[row : row + values.sizes["y"], col : col + values.sizes["x"]]
        for date in range(2):
            np.testing.assert_allclose(values.sel(band=band)[date], expected, rtol=0, atol=1e-6)


def test_an_api_that_does_not_answer_is_an_error():
    with pytest.raises(ParameterError, match=r"http://127\.0\.0\.1:9/ cannot be read as STAC"):
        open_stac(url="http://127.0.0.1:9/", bbox=(0, 0, 1, 1))


# --- items on disk ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_processings_of_one_scene_agree_and_say_where_they_come_from(folder, series):
    path = write_items(folder / "items.json", series)
    with assert_lazy(open_stac(path, bands=["B02"])):
        cube = open_stac(path)
    assert cube.band.values.tolist() == ["B02", "B03", "B04", "B05", "B08", "B12"]
    assert cube.native_gsd.values.tolist() == [10, 10, 10, 20, 10, 20]
    assert cube.dn_offset[:, 0].values.tolist() == [-1000, 0, -1000]
    assert cube.processing_baseline.values.tolist() == ["05.00", "03.01", "05.11"]
    assert cube.platform.values.tolist() == ["sentinel-2d"] * 3
    assert cube.offset_source.values[0] == "processing baseline 05.00"
    values = cube.compute()
    for date in (1, 2):
        np.testing.assert_allclose(values[date], values[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(values.sel(band="B03")[0], truth("B03", 10), atol=1e-6)
    np.testing.assert_array_equal(values.scl[0], np.kron(classes(20), np.ones((2, 2))))
    np.testing.assert_array_equal(values.valid, values.scl != 9)
    masked = open_stac(path, bands=["B02"], mask=True)
    np.testing.assert_array_equal(np.isnan(masked[:, 0]), ~values.valid)
    assert cube.odc.geobox == GeoBox((SIDE, SIDE), Affine(10, 0, WEST, 0, -10, NORTH), "EPSG:32629")


@pytest.mark.slow
def test_a_model_accepts_the_cube(folder, series):
    fine = open_stac(write_items(folder / "items.json", series[:1]), bands=RGBN).sr.liif(scale=2).compute()
    assert fine.shape == (1, 4, 192, 192)
    assert np.isfinite(fine).all()


@pytest.mark.slow
def test_a_static_catalog_and_single_items_do_as_well(folder, series):
    items = list(pystac.ItemCollection.from_dict({"type": "FeatureCollection", "features": series}))
    for item in items:
        item.set_self_href(str(folder / f"{item.id}.json"))
        item.make_asset_hrefs_absolute()
    catalog = pystac.Catalog("static", "of the tests")
    catalog.add_items(items)
    catalog.normalize_and_save(str(folder / "static"), pystac.CatalogType.SELF_CONTAINED)
    expected = open_stac(write_items(folder / "items.json", series), bands=RGBN)
    for cube in (
        open_stac(folder / "static" / "catalog.json", bands=RGBN),
        open_stac(items, bands=RGBN),
    ):
        np.testing.assert_array_equal(cube, expected)
    with serving(folder, series) as server:
        served = open_stac(url=f"{server.url}files/static/catalog.json", bands=RGBN, datetime="2019")
    assert served.time.dt.year.values.tolist() == [2019]
    one = open_stac(folder / "static" / items[0].id / f"{items[0].id}.json", bands=RGBN)
    assert one.sizes["time"] == 1


def test_time_cloud_and_collection_are_filtered_on_disk_too(folder, series):
    path = write_items(folder / "items.json", series)
    assert open_stac(path, datetime="2019/2024", bands="B02").sizes["time"] == 2
    assert open_stac(path, datetime="2018-06-15", bands="B02").sizes["time"] == 1
    assert open_stac(path, datetime="2019-01-01/..", max_cloud=50, bands="B02").sizes["time"] == 1
    with pytest.raises(ParameterError, match=r"no items of .*items\.json match \{'datetime': '2030'\} \(3 before"):
        open_stac(path, datetime="2030")
    with pytest.raises(ParameterError, match=r"no items of .* match \{'collection': 'landsat'\}"):
        open_stac(path, collection="landsat")


def test_bands_go_by_any_name_the_catalog_gives_them(folder):
    common = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B05": "rededge1", "B12": "swir22"}
    item = make_item(folder, day="2024-07-01", names=common.get)
    cube = open_stac([pystac.Item.from_dict(_absolute(item, folder))], bands=["red", "B12"])
    assert cube.band.values.tolist() == ["B04", "B12"]
    suffixed = make_item(folder, day="2024-07-02", names=lambda band: f"{band}_{20 if band in ('B05', 'B12') else 10}m")
    cube = open_stac([pystac.Item.from_dict(_absolute(suffixed, folder))], bands=["red", "B12"])
    np.testing.assert_allclose(cube.sel(band="B04")[0], truth("B04", 10), atol=1e-6)
    with pytest.raises(BandError, match=r"has no asset of bands \['B09'\]; it has B02, B03"):
        open_stac([pystac.Item.from_dict(_absolute(item, folder))], bands=["B09"])


def _absolute(item, folder):
    assets = {key: {**asset, "href": str(folder / asset["href"])} for key, asset in item["assets"].items()}
    return {**item, "assets": assets}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "S2A_28QCH_20200714_0_L2A",
        "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531",
        "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531_raster_ext",
        "stactools_S2A_MSIL2A_20190212T192651_N0212_R013_T07HFE_20201007T160857",
        "stactools_esa_S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500",
    ],
)
def test_real_items_become_cubes_that_a_model_accepts(data_dir, tmp_path, name):
    content = json.loads((data_dir / "stac_items" / f"{name}.json").read_text())
    properties = content["properties"]
    epsg = properties.get("proj:epsg") or int(properties["proj:code"].split(":")[1])
    for key, asset in content["assets"].items():  # the items are real; small files stand where their own would be
        numbers = asset.get("proj:transform")
        asset["href"] = str(tmp_path / f"{key}.tif")
        if numbers and "proj:shape" in asset and "visual" not in key:
            scl = key.lower().startswith("scl")
            n = 640 // int(numbers[0]) if numbers[0] <= 60 else 2
            values = np.full((n, n), 4, np.uint8) if scl else np.full((n, n), 1500, np.uint16)
            with rasterio.open(
                asset["href"],
                "w",
                driver="GTiff",
                count=1,
                height=n,
                width=n,
                dtype=values.dtype,
                crs=f"EPSG:{epsg}",
                transform=Affine(*numbers[:6]),
            ) as file:
                file.write(values[None])
    (tmp_path / "item.json").write_text(json.dumps(content))
    cube = open_stac(tmp_path / "item.json", bands=RGBN)
    assert cube.odc.crs.epsg == epsg
    assert cube.shape == (1, 4, 64, 64)
    assert cube.valid.all()
    np.testing.assert_allclose(cube, 0.15, atol=1e-6)
    fine = cube.sr.liif(scale=2).compute()
    assert fine.shape == (1, 4, 128, 128)


# --- areas -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_area_is_the_same_as_box_geojson_and_vector_file(folder, series, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    from shapely.geometry import box, mapping

    path = write_items(folder / "items.json", series)
    outline = box(WEST + 203, NORTH - 555, WEST + 444, NORTH - 118)
    frame = geopandas.GeoDataFrame(geometry=[outline], crs="EPSG:32629")
    expected = open_stac(path, bands=["B02"]).isel(y=slice(11, 56), x=slice(20, 45))
    frame.to_file(tmp_path / "a.shp")
    frame.to_file(tmp_path / "a.gpkg")
    frame.to_crs("EPSG:3035").to_file(tmp_path / "b.gpkg")
    for geometry in (tmp_path / "a.shp", str(tmp_path / "a.gpkg")):
        cube = open_stac(path, geometry=geometry, bands=["B02"])
        assert cube.odc.geobox == expected.odc.geobox
        np.testing.assert_array_equal(cube, expected)
    turned = open_stac(path, geometry=tmp_path / "b.gpkg", bands=["B02"])
    assert turned.odc.geobox.affine == expected.odc.geobox.affine
    lonlat = frame.to_crs("EPSG:4326").geometry[0]
    for geometry in (
        mapping(lonlat),
        {"type": "Feature", "geometry": mapping(lonlat), "properties": {}},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": mapping(lonlat)}]},
    ):
        assert open_stac(path, geometry=geometry, bands=["B02"]).odc.geobox == expected.odc.geobox
    around = open_stac(path, bbox=lonlat.bounds, bands=["B02"]).odc.geobox
    assert around.extent.buffer(1e-3).contains(expected.odc.geobox.extent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bbox": (10, 50, 11, 51)}, r"the area \(10.0, 50.0, 11.0, 51.0\) lies outside all 3 items"),
        ({"bbox": (179, -18, -179, -17)}, "crosses the antimeridian"),
        ({"bbox": (179, -18, 181, -17)}, "crosses the antimeridian"),
        ({"bbox": (350, 53, 351, 54)}, "from -180 to 180. Subtract 360 degrees"),
        ({"bbox": (1, 2, 3)}, "expected four numbers"),
        ({"bbox": (1, 2, 3, 1)}, "west < east and south < north"),
        ({"bbox": (1, 2, 3, 4), "geometry": {}}, "expected one of them"),
        ({"geometry": {"type": "Blob"}}, "is no GeoJSON"),
        ({"geometry": {"type": "Polygon", "coordinates": []}}, "is empty"),
        ({"geometry": "gone.shp"}, r"gone\.shp cannot be read as a vector file"),
        (
            {"geometry": {"type": "MultiPoint", "coordinates": [[-179.5, 0.0], [179.5, 0.0]]}},
            r"crosses the antimeridian \(longitudes -179.5 to 179.5\)",
        ),
    ],
)
def test_areas_that_cannot_be_meant_are_refused(folder, series, options, message):
    with pytest.raises(ParameterError, match=message):
        open_stac(write_items(folder / "items.json", series), **options)


def test_an_area_inside_the_footprint_but_beside_the_images_is_refused(folder, series):
    wide = {
        **series[0],
        "geometry": {"type": "Polygon", "coordinates": [[[-12, 50], [0, 50], [0, 56], [-12, 56], [-12, 50]]]},
    }
    with pytest.raises(ParameterError, match=r"lies outside the images, which cover .* EPSG:32629"):
        open_stac(write_items(folder / "wide.json", [wide]), bbox=(-5, 51, -4.9, 51.1))


# --- conflicts -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stated": 0}, r"raster:bands gives an offset of 0, processing baseline 05.11 gives -1000"),
        (
            {"stated": -0.1, "earthsearch:boa_offset_applied": True, "added": 0},
            r"gives an offset of -1000, earthsearch:boa_offset_applied gives 0; .* pass offset=\{'.*': -1000\} or",
        ),
        (
            {"baseline": "03.01", "stated": -0.1},
            r"raster:bands gives an offset of -1000, processing baseline 03.01 gives 0",
        ),
        ({"baseline": None}, "no metadata state the offset"),
        ({"added": 0}, r"processing baseline 05.11 gives an offset of -1000, but the pixels contradict it"),
        ({"earthsearch:boa_offset_applied": True}, r"boa_offset_applied gives no offset, but the pixels contradict it"),
    ],
)
def test_contradictions_about_the_offset_raise_and_name_both(tmp_path, options, message):
    item = make_item(tmp_path, **options)
    path = write_items(tmp_path / "items.json", [item])
    with pytest.raises(HarmonisationError, match=message):
        open_stac(path)
    right = -options.get("added", 1000)
    cube = open_stac(path, offset=right)
    np.testing.assert_allclose(cube.sel(band="B02")[0], truth("B02", 10), atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"stated": -0.1}, {"stated": 0, "earthsearch:boa_offset_applied": True, "added": 0}]
)
def test_statements_that_agree_are_taken(tmp_path, options):
    cube = open_stac(write_items(tmp_path / "items.json", [make_item(tmp_path, **options)]))
    assert cube.offset_source.values.tolist() == ["raster:bands"]
    np.testing.assert_allclose(cube.sel(band="B02")[0], truth("B02", 10), atol=1e-6)


def test_duplicates_of_an_acquisition_leave_the_highest_baseline(tmp_path):
    day = "2021-06-15"
    old = make_item(tmp_path, day=day, baseline="03.01", added=0)
    new = make_item(tmp_path, day=day, baseline="05.00")
    newer = make_item(tmp_path, day=day, baseline="05.00", suffix="_1", generated="2025-01-01T00:00:00Z")
    with warned(rf"found more than once; dropped .*{old['id']} \(kept {newer['id']}\)"):
        cube = open_stac(write_items(tmp_path / "items.json", [old, newer, new]), bands=["B02"])
    assert cube.product_id.values.tolist() == [newer["id"]]
    assert len(cube.attrs["dropped_duplicates"]) == 2


def test_tiles_of_one_acquisition_are_joined(tmp_path):
    left = make_item(tmp_path, tile="29UNU")
    right = make_item(tmp_path, tile="29UPU", west=WEST + SIDE * 10 - 60, baseline="03.01", added=0)
    cube = open_stac(write_items(tmp_path / "items.json", [left, right]), bands=["B02"])
    assert cube.shape == (1, 1, SIDE, 2 * SIDE - 6)
    image = truth("B02", 10)
    np.testing.assert_allclose(cube[0, 0, :, :SIDE], image, atol=1e-6)
    np.testing.assert_allclose(cube[0, 0, :, SIDE:], image[:, 6:], atol=1e-6)


def test_mixed_zones_need_a_crs_and_a_warning_comes_with_it(tmp_path):
    one = make_item(tmp_path, day="2024-06-15")
    other = make_item(tmp_path, day="2024-06-20", crs="EPSG:32630", west=199_980.0, tile="30UUD")
    path = write_items(tmp_path / "items.json", [one, other])
    with pytest.raises(GridError, match=r"items lie in EPSG:32629, EPSG:32630; expected one CRS\. .* pass crs="):
        open_stac(path)
    with warned("changes their point spread function"):
        cube = open_stac(path, crs="EPSG:32629", bands=["B02"])
    assert cube.odc.crs.epsg == 32629
    assert cube.sizes["time"] == 2
    first = cube.isel(time=0).sel(x=slice(WEST, WEST + SIDE * 10), y=slice(NORTH, NORTH - SIDE * 10))
    np.testing.assert_allclose(first[0], truth("B02", 10), atol=0.02)
    assert np.isfinite(cube.isel(time=1, x=slice(-120, None))).any()


def test_a_dead_asset_is_named_or_its_date_left_out(tmp_path):
    good = make_item(tmp_path, day="2024-06-15")
    bad = make_item(tmp_path, day="2024-06-20")
    (tmp_path / bad["id"] / "B04.tif").unlink()
    path = write_items(tmp_path / "items.json", [good, bad])
    with pytest.raises(ProductError, match=rf"asset 'B04' of item {bad['id']} cannot be opened: .*errors='drop'"):
        open_stac(path)
    with warned(rf"asset 'B04' of item {bad['id']} .* date is left out"):
        cube = open_stac(path, errors="drop")
    assert cube.product_id.values.tolist() == [good["id"]]
    assert len(cube.attrs["dropped_dates"]) == 1
    assert open_stac(path, bands=["B02"]).sizes["time"] == 2
    with warned("date is left out"), pytest.raises(ProductError, match="no date is left"):
        open_stac(write_items(tmp_path / "items.json", [bad]), errors="drop")


def test_no_data_and_saturation_are_nan(tmp_path):
    item = make_item(tmp_path)
    file = tmp_path / item["id"] / "B02.tif"
    with rasterio.open(file) as opened:
        numbers, profile = opened.read(), opened.profile
    numbers[0, 3, 4], numbers[0, 5, 6] = 0, 65535
    with rasterio.open(file, "w", **{**profile, "driver": "GTiff"}) as opened:
        opened.write(numbers)
    cube = open_stac(write_items(tmp_path / "items.json", [item]), bands=["B02", "B03"])
    assert np.argwhere(np.isnan(cube.values)).tolist() == [[0, 0, 3, 4], [0, 0, 5, 6]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"errors": "ignore"}, "errors='ignore'; expected 'raise' or 'drop'"),
        ({"resampling": "bicubic75"}, "resampling='bicubic75'; expected one of nearest"),
        ({"resolution": -1}, "resolution"),
        ({"crs": "UTM"}, "crs='UTM' is no CRS .* expected an EPSG code"),
        ({"url": "http://x"}, r"expected either items or url="),
    ],
)
def test_options_out_of_range_are_refused(folder, series, options, message):
    with pytest.raises(ParameterError, match=message):
        open_stac(write_items(folder / "items.json", series), **options)


def test_landsat_takes_scale_and_offset_of_its_bands(tmp_path):
    item = make_item(tmp_path, names={"B02": "blue", "B03": "green"}.get, bands=("B02", "B03"))
    item["properties"] |= {"platform": "landsat-9", "constellation": None, "eo:cloud_cover": None}
    item["collection"] = "landsat-of-somebody"
    path = write_items(tmp_path / "items.json", [item])
    with pytest.raises(HarmonisationError, match=r"asset 'blue' states no scale in raster:bands"):
        open_stac(path, bands=["blue"])
    for key in ("blue", "green"):
        item["assets"][key]["raster:bands"] = [{"scale": 2.75e-05, "offset": -0.2, "nodata": 0}]
    cube = open_stac(write_items(path, [item]))
    assert cube.band.values.tolist() == ["B2", "B3"]
    assert cube.native_gsd.values.tolist() == [30, 30]
    numbers = np.round(truth("B02", 10) * 10000) + 1000
    np.testing.assert_allclose(cube[0, 0], numbers * 2.75e-05 - 0.2, atol=1e-6)
    other = make_item(tmp_path, day="2024-08-01", bands=("B02", "B03"))
    with pytest.raises(ParameterError, match=r"items of (landsat-9 and sentinel-2|sentinel-2 and landsat-9) together"):
        open_stac(write_items(path, [item, other]))
    item["properties"]["platform"] = "cubesat-7"
    with pytest.raises(ParameterError, match="sensor 'cubesat-7' is not registered"):
        open_stac(write_items(path, [item]))


def test_bands_named_twice_or_shared_by_no_item_are_refused(tmp_path, folder, series):
    path = write_items(folder / "items.json", series)
    with pytest.raises(BandError, match="expected at least one, each once"):
        open_stac(path, bands=["B02", "blue"])
    one = make_item(tmp_path, bands=("B02",))
    two = make_item(tmp_path, day="2024-08-01", bands=("B03",))
    with pytest.raises(BandError, match="no band of sentinel-2 in common"):
        open_stac(write_items(tmp_path / "items.json", [one, two]))


def test_files_that_are_no_stac_are_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    for name in ("a.json", "gone.json"):
        with pytest.raises(ParameterError, match=rf"{name} cannot be read as STAC"):
            open_stac(tmp_path / name)
