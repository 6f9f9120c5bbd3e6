"""Names, files and reference systems of assets."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from catalogs import make_item, write_items
from products import NORTH, SIDE, WEST, truth, warned

from xsr.core.errors import BandError, GridError, ParameterError, ProductError
from xsr.sources.stac import open_stac
from xsr.testing import assert_lazy

RGBN = ("B02", "B03", "B04", "B08")


def rewrite(folder, asset, values=None, **changes):
    """Write the file of an asset anew, changed."""
    file = folder / asset["href"]
    with rasterio.open(file) as opened:
        numbers, profile = opened.read(), {**opened.profile, "driver": "GTiff"}
    numbers = numbers if values is None else values
    profile |= {"count": len(numbers), "height": numbers.shape[1], "width": numbers.shape[2]} | changes
    profile = {key: value for key, value in profile.items() if value is not None}
    with rasterio.open(file, "w", **profile) as opened:
        opened.write(numbers)


def opened(folder, item, **options):
    return open_stac(write_items(folder / "items.json", [item]), **options)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["nbart_", "nbar_", "SR_", "band-"])
def test_prefixes_of_archives_are_known(tmp_path, prefix):
    cube = opened(tmp_path, make_item(tmp_path, names=lambda band: prefix + band), bands=["red", "B08"])
    np.testing.assert_allclose(cube.sel(band="B04")[0], truth("B04", 10), atol=1e-6)
    np.testing.assert_allclose(cube.sel(band="B08")[0], truth("B08", 10), atol=1e-6)


def test_geoscience_australia_numbers_its_infrared_bands_in_its_own_way(tmp_path):
    names = {"B02": "nbart_blue", "B08": "nbart_nir_1", "B8A": "nbart_nir_2", "B11": "nbart_swir_2"}
    names |= {"B12": "nbart_swir_3", "B05": "nbart_red_edge_1"}
    item = make_item(tmp_path, names=names.get, bands=tuple(names))
    cube = opened(tmp_path, item, resolution=10)
    assert cube.band.values.tolist() == ["B02", "B05", "B08", "B8A", "B11", "B12"]
    np.testing.assert_allclose(cube.sel(band="B08")[0], truth("B08", 10), atol=1e-6)
    other = opened(tmp_path, item, bands=["nbart_swir_2"])
    np.testing.assert_allclose(other[0, 0], truth("B11", 20), atol=1e-6)


@pytest.mark.parametrize("key", ["eo:bands", "bands"])
def test_common_names_of_both_versions_are_read(tmp_path, key):
    common = {"B02": "blue", "B04": "red", "B08": "nir"}
    item = make_item(tmp_path, names=lambda band: f"image {band[-1]}", bands=tuple(common))
    word = "common_name" if key == "eo:bands" else "eo:common_name"
    for band, colour in common.items():
        item["assets"][f"image {band[-1]}"][key] = [{word: colour}]
    item["stac_version"] = "1.0.0" if key == "eo:bands" else "1.1.0"
    cube = opened(tmp_path, item)
    assert cube.band.values.tolist() == ["B02", "B04", "B08"]
    np.testing.assert_allclose(cube.sel(band="B04")[0], truth("B04", 10), atol=1e-6)


def test_one_file_of_several_bands_is_read_band_by_band(tmp_path):
    item = make_item(tmp_path)
    stacked = np.stack([np.round(truth(band, 10) * 10000).astype(np.uint16) + 1000 for band in RGBN])
    rewrite(tmp_path, item["assets"]["B02"], stacked)
    image = {**item["assets"]["B02"], "eo:bands": [{"name": band} for band in RGBN]}
    item["assets"] = {"image": image, "scl": item["assets"]["scl"]}
    cube = opened(tmp_path, item)
    assert cube.band.values.tolist() == list(RGBN)
    for band in RGBN:
        np.testing.assert_allclose(cube.sel(band=band)[0], truth(band, 10), atol=1e-6)
    np.testing.assert_array_equal(opened(tmp_path, item, bands=["nir", "blue"]), cube[:, [3, 0]])
    plain = {**item, "assets": {**item["assets"], "image": {**image, "eo:bands": []}}}
    np.testing.assert_array_equal(opened(tmp_path, plain, bands={"nir": "image.4", "B02": "image"}), cube[:, [3, 0]])
    image["eo:bands"].append({"name": "B05"})
    with pytest.raises(ProductError, match=r"asset 'image' .* should hold band 5 after its eo:bands; the file has 4"):
        opened(tmp_path, item, bands=["B05"])


def test_assets_that_cannot_be_named_are_listed_with_what_they_were_taken_for(tmp_path):
    item = make_item(tmp_path, names=lambda band: f"layer{band[-1]}", bands=("B04", "B08"))
    message = (
        r"has no asset of bands \['B04'\]; it has no band of sentinel-2 among its assets layer4 \(not recognised\)"
    )
    with pytest.raises(BandError, match=message + r".* scl \(classification\)"):
        opened(tmp_path, item, bands=["red"])
    with pytest.raises(BandError, match="no band of sentinel-2 among its assets layer4"):
        opened(tmp_path, item)
    cube = opened(tmp_path, item, bands={"B04": "layer4", "nir": "layer8"})  # as the message says
    assert cube.band.values.tolist() == ["B04", "B08"]
    np.testing.assert_allclose(cube[0, 0], truth("B04", 10), atol=1e-6)
    np.testing.assert_allclose(cube[0, 1], truth("B08", 10), atol=1e-6)
    with pytest.raises(BandError, match=r"has no asset of bands \['B08'\]"):
        opened(tmp_path, item, bands={"B04": "layer4", "B08": "layer9"})


@pytest.mark.parametrize(("letter", "platform", "red"), [("L", "landsat-8", "B4"), ("S", "sentinel-2", "B04")])
def test_harmonised_items_carry_no_offset(tmp_path, letter, platform, red):
    item = make_item(tmp_path, added=0, baseline=None, bands=("B02", "B04"), names=str)
    item |= {"id": f"HLS.{letter}30.T29UNU.2024167T110621.v2.0", "collection": f"HLS{letter}30_2.0"}
    for name in ("platform", "constellation", "s2:mgrs_tile", "s2:generation_time"):
        item["properties"].pop(name)
    item["assets"].pop("scl")
    cube = opened(tmp_path, item)
    assert red in cube.band.values
    np.testing.assert_allclose(cube.sel(band=red)[0], truth("B04", 10), atol=1e-6)
    assert cube.offset_source.values.tolist() == ["HLS version 2"]


# --- reference systems -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stated", ["proj:epsg", "proj:code", "proj:wkt2", "proj:projjson", "asset", "tile", "crs="])
def test_a_file_without_crs_takes_it_from_what_is_stated(tmp_path, stated):
    item = make_item(tmp_path, bands=("B04",))
    rewrite(tmp_path, item["assets"]["B04"], crs=None)
    rewrite(tmp_path, item["assets"]["scl"], crs=None)
    code = rasterio.crs.CRS.from_epsg(32629)
    item["properties"].pop("proj:epsg")
    said = {"proj:epsg": 32629, "proj:code": "EPSG:32629", "proj:wkt2": code.to_wkt(), "proj:projjson": None}
    if stated == "proj:projjson":
        from pyproj import CRS

        said[stated] = CRS(32629).to_json_dict()
    if stated in said:
        item["properties"][stated] = said[stated]
    elif stated == "asset":
        for asset in item["assets"].values():
            asset["proj:code"] = "EPSG:32629"
    elif stated == "crs=":
        item["properties"].pop("s2:mgrs_tile")
        item["id"] = "one"
    item["stac_extensions"] = []
    options = {"crs": 32629} if stated == "crs=" else {}
    cube = opened(tmp_path, item, **options)
    assert cube.odc.crs.epsg == 32629
    np.testing.assert_allclose(cube[0, 0], truth("B04", 10), atol=1e-6)
    assert (cube.scl == 9).any()
    if stated == "crs=":
        with pytest.raises(ProductError, match=r"names no CRS, nor does its item; expected one\. Pass crs="):
            opened(tmp_path, item)


def test_a_file_and_an_item_that_contradict_each_other_are_refused(tmp_path):
    item = make_item(tmp_path, bands=("B04",))
    rewrite(tmp_path, item["assets"]["B04"], crs="EPSG:32630")
    with pytest.raises(ProductError, match=r"'B04' .* lies in EPSG:32630 by its file and in EPSG:32629 by proj:code"):
        opened(tmp_path, item)
    item["properties"]["proj:epsg"] = 32630  # as the message says
    rewrite(tmp_path, item["assets"]["scl"], crs="EPSG:32630")
    assert opened(tmp_path, item).odc.crs.epsg == 32630


def test_two_names_of_the_same_coordinates_do_not_contradict_each_other(tmp_path):
    item = make_item(tmp_path, bands=("B04",))
    item["properties"]["proj:epsg"] = 25829  # ETRS89 of the same zone
    assert opened(tmp_path, item).odc.crs.epsg == 32629


def test_a_file_without_geotransform_takes_that_of_its_item(tmp_path, recwarn):
    item = make_item(tmp_path, bands=("B04",))
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        rewrite(tmp_path, item["assets"]["B04"], crs=None, transform=None)
    cube = opened(tmp_path, item)
    assert cube.odc.geobox.affine == Affine(10, 0, WEST, 0, -10, NORTH)
    np.testing.assert_allclose(cube[0, 0], truth("B04", 10), atol=1e-6)
    del item["assets"]["B04"]["proj:transform"]
    with pytest.raises(ProductError, match="has no geotransform, and its item no proj:transform"):
        opened(tmp_path, item)


# --- geographic cubes ------------------------------------------------------------------------------------------------


def test_a_cube_in_degrees_has_latitude_and_longitude_and_keeps_the_contract(tmp_path):
    item = make_item(tmp_path)
    with warned("are reprojected to EPSG:4326"):
        cube = opened(tmp_path, item, bands=["B04"], crs=4326)
    assert cube.dims == ("time", "band", "latitude", "longitude")
    assert cube.valid.dims == ("time", "latitude", "longitude")
    size = abs(cube.odc.geobox.affine.e)
    assert size == pytest.approx(10 / 111319.49, rel=1e-6)
    middle = cube[0, 0, cube.sizes["latitude"] // 2, cube.sizes["longitude"] // 2].compute()
    assert 0 < float(middle) < 0.4
    fine = cube.sr.interpolate(scale=2)
    assert fine.dims == cube.dims
    assert max(cube.chunks[2]) == SIDE + 1
    with warned("are reprojected to EPSG:4326"):
        assert max(opened(tmp_path, item, bands=["B04"], crs=4326, chunks=32).chunks[3]) == 32
    with pytest.raises(ParameterError, match=r"resolution=10 in EPSG:4326 is in degrees; .* resolution=8\.98315e-05"):
        opened(tmp_path, item, bands=["B04"], crs=4326, resolution=10)


def test_files_in_degrees_make_a_cube_in_degrees(tmp_path):
    item = make_item(tmp_path, bands=("B04",))
    item["properties"]["proj:epsg"] = 4326
    for asset in item["assets"].values():
        n = asset["proj:shape"][0]
        asset["proj:transform"] = [1e-4 * SIDE / n, 0, -9, 0, -1e-4 * SIDE / n, 53.25]
        rewrite(tmp_path, asset, crs="EPSG:4326", transform=Affine(*asset["proj:transform"]))
    cube = opened(tmp_path, item)
    assert dict(cube.sizes) == {"time": 1, "band": 1, "latitude": SIDE, "longitude": SIDE}
    np.testing.assert_allclose(cube[0, 0], truth("B04", 10), atol=1e-6)
    assert cube.native_gsd.values.tolist() == pytest.approx([1e-4 * 111319.49], rel=1e-6)


def test_a_cube_in_degrees_over_the_antimeridian_is_refused(tmp_path):
    item = make_item(tmp_path, bands=("B04",), crs="EPSG:32601", west=169_670.0, north=1_000_000.0, tile="01PAA")
    item["geometry"] = None
    with pytest.raises(GridError, match="cross the antimeridian, where longitudes"):
        opened(tmp_path, item, crs=4326)
    assert opened(tmp_path, item).odc.crs.epsg == 32601


# --- addresses -------------------------------------------------------------------------------------------------------


def test_alternates_are_tried_in_order_or_by_name(tmp_path):
    item = make_item(tmp_path, bands=("B04",))
    asset = item["assets"]["B04"]
    right = str(tmp_path / asset["href"])
    other = right.replace("B04.tif", "mirror.tif")
    (tmp_path / asset["href"]).rename(other)
    asset["alternate"] = {"s3": {"href": right + ".gone"}, "mirror": {"href": other}}
    expected = truth("B04", 10)
    np.testing.assert_allclose(opened(tmp_path, item)[0, 0], expected, atol=1e-6)
    np.testing.assert_allclose(opened(tmp_path, item, alternate="mirror")[0, 0], expected, atol=1e-6)
    seen = []
    opened(tmp_path, item, alternate="mirror", patch_url=lambda href: seen.append(href) or href)
    assert seen[0] == other
    asset["alternate"].pop("mirror")
    with pytest.raises(ProductError, match=r"cannot be opened: .*B04\.tif.*; .*\.gone"):
        opened(tmp_path, item)


def test_a_template_and_a_store_are_refused_for_what_they_are(tmp_path):
    item = make_item(tmp_path, bands=("B04",))
    item["assets"]["B04"]["href"] = "{{ root }}/B04.tif"
    with pytest.raises(
        ProductError, match=r"'\{\{ root \}\}/B04\.tif', a template .* patch_url= .* '\{\{ root \}\}'\."
    ):
        opened(tmp_path, item)
    folder = tmp_path / item["id"]
    cube = opened(tmp_path, item, patch_url=lambda href: href.replace("{{ root }}", str(folder)))
    np.testing.assert_allclose(cube[0, 0], truth("B04", 10), atol=1e-6)
    item["assets"]["B04"]["href"] = "https://somewhere/one.zarr/b04"
    with pytest.raises(ProductError, match=r"'B04' .* is a Zarr store .* xsr\.open_eopf"):
        opened(tmp_path, item)


def test_a_relative_address_without_a_home_says_so(tmp_path):
    item = make_item(tmp_path, bands=("B04",))
    with pytest.raises(ProductError, match="Its address is relative, and the item does not say to what"):
        open_stac(item)


def test_pixels_that_are_not_square_keep_their_shape(tmp_path):
    item = make_item(tmp_path, bands=("B04",))
    item["properties"]["proj:epsg"] = 4326
    for asset in item["assets"].values():
        n = asset["proj:shape"][0]
        place = Affine(1.5e-4 * SIDE / n, 0, -9, 0, -1e-4 * SIDE / n, 53.25)
        rewrite(tmp_path, asset, crs="EPSG:4326", transform=place)
    cube = opened(tmp_path, item)
    assert cube.shape == (1, 1, SIDE, SIDE)
    np.testing.assert_allclose(cube[0, 0], truth("B04", 10), atol=1e-6)


@pytest.mark.parametrize("name", ["SCL", "scl_20m"])
def test_a_classification_is_no_band(tmp_path, name):
    with pytest.raises(BandError, match=rf"'{name}' is no band but a classification; .* as a coordinate anyway"):
        opened(tmp_path, make_item(tmp_path, bands=("B04",)), bands=["B04", name])


@pytest.mark.parametrize("key", ["B4", "b04", "band4", "Band 4", "sr_band4", "B04.jp2", "S2_red"])
def test_a_number_is_read_in_any_spelling_or_not_at_all(tmp_path, key):
    item = make_item(tmp_path, names=lambda _: key, bands=("B04",))
    if key == "S2_red":
        with pytest.raises(BandError, match=r"S2_red \(not recognised\)"):
            opened(tmp_path, item)
    else:
        np.testing.assert_allclose(opened(tmp_path, item)[0, 0], truth("B04", 10), atol=1e-6)


@pytest.mark.slow
def test_a_cube_is_lazy_and_the_same_in_any_chunks(tmp_path):
    path = write_items(tmp_path / "items.json", [make_item(tmp_path, bands=("B04", "B05"))])
    whole = open_stac(path, bands=["B04", "B05"])
    with assert_lazy(whole):
        small = open_stac(path, bands=["B04", "B05"], chunks=17)
    assert small.chunks != whole.chunks
    np.testing.assert_allclose(small, whole, atol=1e-6)


def test_the_scheme_of_an_address_can_be_preferred(tmp_path):
    from pystac import Item

    from xsr.sources.stac.assets import addresses

    item = make_item(tmp_path, bands=("B04",))
    web, bucket, mirror = "https://a/b.tif", "s3://a/b.tif", "https://c/b.tif"
    item["assets"]["B04"] |= {"href": bucket, "alternate": {"web": {"href": web}, "mirror": {"href": mirror}}}
    read = Item.from_dict(item)
    assert addresses(read, "B04", alternate=None) == [bucket, web, mirror]
    assert addresses(read, "B04", alternate="https") == [web, mirror, bucket]
    assert addresses(read, "B04", alternate="mirror") == [mirror, bucket, web]
