"""STAC items of results: valid without a network, true to the file, and read back by others to the same pixels."""

import hashlib
import json
from datetime import UTC, datetime
from functools import cache

import numpy as np
import odc.stac
import pystac
import pytest
import xarray as xr
from affine import Affine
from helpers import make_cube
from jsonschema import Draft7Validator
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.xarray_assets import XarrayAssetsExtension
from pystac.validation.local_validator import get_local_schema_cache
from recorded_schemas import schemas
from referencing import Registry, Resource

import xsr
from xsr.core.errors import GridError, ParameterError, StoreError
from xsr.testing import synthetic_cube

QUIET = {"progress": False}
CORE = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"
PROJJSON = "https://proj.org/schemas/v0.7/projjson.schema.json"


@cache
def registry():
    """Schemas of the specification, as pystac ships them, and of the extensions that were fetched."""
    known = {**get_local_schema_cache(), **schemas(), PROJJSON: {"$schema": "http://json-schema.org/draft-07/schema#"}}
    return Registry().with_resources([(uri, Resource.from_contents(one)) for uri, one in known.items()])


def assert_valid(document, *, extensions=False):
    """Validate an item by the specification; by the schemas of its extensions where these were fetched."""
    addresses = [one for one in document["stac_extensions"] if one in schemas()] if extensions else [CORE]
    for address in addresses:
        contents = registry().contents(address)
        errors = [
            f"{e.json_path}: {e.message}" for e in Draft7Validator(contents, registry=registry()).iter_errors(document)
        ]
        assert errors == [], address
    return addresses


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fine():
    return synthetic_cube(size=(24, 24)).sr.interpolate(scale=2)


@pytest.fixture(scope="module")
def store(fine, tmp_path_factory):
    """Store of it without an item."""
    path = tmp_path_factory.mktemp("store") / "a.zarr"
    fine.sr.to_zarr(path, **QUIET)
    return path


@pytest.fixture(scope="module")
def series():
    return make_cube((3, 2, 12, 14), times=["2024-06-15", "2024-06-05", "2024-06-25"]).chunk(time=1)


@pytest.mark.parametrize("output", ["zarr", "float32", "uint16"])
def test_the_item_is_valid_by_the_specification_and_its_extensions(fine, tmp_path, output):
    if output == "zarr":
        fine.sr.to_zarr(tmp_path / "a.zarr", stac=True, **QUIET)
    else:
        fine.sr.to_cog(tmp_path / "a.tif", dtype=output, stac=True, **QUIET)
    document = read(tmp_path / "a.json")
    assert assert_valid(document)
    broken = {**document, "properties": {**document["properties"], "datetime": 3}}
    with pytest.raises(AssertionError, match="datetime"):
        assert_valid(broken)


@pytest.mark.skipif(not schemas(), reason="python tests/recorded_schemas.py was not run")
@pytest.mark.parametrize("output", ["zarr", "tif"])
def test_the_extensions_are_valid_by_their_own_schemas(fine, tmp_path, output):
    verb = fine.sr.to_zarr if output == "zarr" else fine.sr.to_cog
    verb(tmp_path / f"a.{output}", stac=True, **QUIET)
    document = read(tmp_path / "a.json")
    names = {one.split("/")[3] for one in assert_valid(document, extensions=True)}
    assert names == {"projection", "processing", "xarray-assets" if output == "zarr" else "file"}
    broken = {**document, "properties": {**document["properties"], "proj:shape": ["a"]}}
    with pytest.raises(AssertionError, match="projection"):
        assert_valid(broken, extensions=True)


def test_the_item_says_what_the_store_holds(fine, tmp_path):
    fine.sr.to_zarr(tmp_path / "a.zarr", dtype="uint16", **QUIET)
    item = xsr.stac_item(tmp_path / "a.zarr")
    properties, (band, *_) = item.properties, item.assets["data"].extra_fields["bands"]
    assert (item.id, properties["datetime"]) == ("a", "2024-04-10T00:00:00Z")
    assert properties["proj:code"] == "EPSG:32631"
    assert properties["proj:transform"] == [5.0, 0.0, 600000.0, 0.0, -5.0, 5650000.0]
    assert properties["proj:bbox"] == [600000.0, 5649760.0, 600240.0, 5650000.0]
    assert properties["processing:software"] == {"xsr": xsr.__version__}
    assert (properties["xsr:operation"], properties["xsr:scale"]) == ("interpolate:bicubic", [2.0, 2.0])
    assert "gsd" not in properties
    assert band == {
        "name": "B02",
        "description": "B02 at 490 nm",
        "data_type": "uint16",
        "nodata": 0,
        "raster:scale": 1e-4,
        "raster:offset": -0.1,
        "raster:spatial_resolution": 5.0,
        "eo:common_name": "blue",
        "eo:center_wavelength": 0.49,
        "eo:full_width_half_max": 0.065,
    }
    west, south, east, north = item.bbox  # by the formulas of the projection, one corner each
    corners = [(4.4249, 50.9907, 4.4284, 50.9929)]
    np.testing.assert_allclose([(west, south, east, north)], corners, atol=2e-4)
    assert ProjectionExtension.ext(item).shape == [48, 48]


def test_wavelengths_are_those_of_the_satellite(fine, tmp_path):
    cube = fine.assign_coords(platform=("time", ["sentinel-2a"]))
    cube.sr.to_zarr(tmp_path / "a.zarr", **QUIET)
    item = xsr.stac_item(tmp_path / "a.zarr")
    assert (item.properties["platform"], item.properties["xsr:sensor"]) == ("sentinel-2a", "sentinel-2a")
    assert item.assets["data"].extra_fields["bands"][0]["eo:center_wavelength"] == 0.4924


def test_bands_of_no_sensor_have_their_names_alone(tmp_path):
    cube = make_cube((1, 2, 8, 8)).assign_coords(band=["ndvi", "lai"])
    cube.sr.to_zarr(tmp_path / "a.zarr", **QUIET)
    item = xsr.stac_item(tmp_path / "a.zarr")
    assert [one["name"] for one in item.assets["data"].extra_fields["bands"]] == ["ndvi", "lai"]
    assert not any(key.startswith("eo:") for one in item.assets["data"].extra_fields["bands"] for key in one)
    assert "xsr:sensor" not in item.properties


def test_a_series_has_its_first_and_its_last_date(series, tmp_path):
    series.sr.to_zarr(tmp_path / "a.zarr", stac=True, **QUIET)
    document = read(tmp_path / "a.json")
    dates = ("datetime", "start_datetime", "end_datetime")
    assert [document["properties"][key] for key in dates] == [None, "2024-06-05T00:00:00Z", "2024-06-25T00:00:00Z"]
    assert assert_valid(document)


def test_each_file_of_a_series_has_its_item(series, tmp_path):
    report = series.sr.to_cog(tmp_path / "cogs", stac=True, **QUIET)
    found = [pystac.Item.from_file(one) for one in report.items]
    assert [one.datetime.day for one in found] == [15, 5, 25]
    assert [one.id for one in found] == [path.stem for path in report.paths]


def test_a_file_has_its_size_and_checksum(fine, tmp_path):
    fine.sr.to_cog(tmp_path / "a.tif", stac=True, **QUIET)
    content, asset = (tmp_path / "a.tif").read_bytes(), read(tmp_path / "a.json")["assets"]["data"]
    assert asset["file:size"] == len(content)
    assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()


# --- round trips -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_a_geotiff_is_read_by_its_item_to_the_same_pixels(fine, tmp_path, dtype):
    (path,) = fine.sr.to_cog(tmp_path / "a.tif", dtype=dtype, stac=True, **QUIET).items
    back = xsr.open_stac(path)
    wanted = xsr.open(tmp_path / "a.tif")
    decoded = wanted * wanted.attrs.get("scale_factor", 1.0) + wanted.attrs.get("add_offset", 0.0)
    np.testing.assert_allclose(back[0], decoded, atol=1e-7)
    np.testing.assert_array_equal(back["band"], fine["band"])
    loaded = odc.stac.load([pystac.Item.from_file(path)])
    stored = [loaded[f"data.{number}"][0] for number in range(1, 5)]
    np.testing.assert_array_equal(xr.concat(stored, "band"), wanted)


def test_a_store_is_opened_by_what_its_item_says(fine, tmp_path):
    fine.sr.to_zarr(tmp_path / "a.zarr", group="tile/fine", stac=True, **QUIET)
    asset = pystac.Item.from_file(str(tmp_path / "a.json")).assets["data"]
    opened = xr.open_dataset(asset.get_absolute_href(), **XarrayAssetsExtension.ext(asset).open_kwargs)
    np.testing.assert_array_equal(opened["reflectance"], fine)
    assert opened.chunks


# --- the model -----------------------------------------------------------------------------------------------


def test_the_model_is_an_item_beside_the_result(tmp_path):
    fine = synthetic_cube(size=(16, 16)).sr.liif(scale=2)
    fine.sr.to_zarr(tmp_path / "a.zarr", stac=True, **QUIET)
    (link,) = read(tmp_path / "a.json")["links"]
    assert (link["rel"], link["href"]) == ("mlm:model", f"./a.{fine.attrs['xsr_model']}.json")
    card = read(tmp_path / link["href"])
    assert assert_valid(card)
    assert card["properties"]["xsr:scores"]
    (weights,) = card["assets"].values()
    assert weights["file:checksum"].endswith(fine.attrs["xsr_weights_sha256"])
    with open(weights["href"], "rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == fine.attrs["xsr_weights_sha256"]


@pytest.mark.parametrize("attrs", [{"xsr_model": "gone"}, {"xsr_model": "liif_s2", "xsr_weights_sha256": "0" * 64}])
def test_a_model_that_is_not_here_is_named_without_a_link(fine, tmp_path, attrs):
    fine.assign_attrs(attrs).sr.to_zarr(tmp_path / "a.zarr", stac=True, **QUIET)
    document = read(tmp_path / "a.json")
    assert (document["properties"]["xsr:model"], document["links"]) == (attrs["xsr_model"], [])


# --- templates -----------------------------------------------------------------------------------------------

TEMPLATE = {
    "type": "Feature",
    "id": "tile-31UFS",
    "collection": "fine",
    "properties": {"title": "Fine", "license": "CC-BY-4.0", "processing:level": "L3", "gsd": 10},
    "links": [{"rel": "collection", "href": "./collection.json"}],
    "assets": {"thumbnail": {"href": "./a.png", "type": "image/png", "roles": ["thumbnail"]}},
    "stac_extensions": ["https://stac-extensions.github.io/processing/v1.1.0/schema.json"],
}


@pytest.mark.parametrize("kind", ["mapping", "file", "pystac"])
def test_fields_of_a_template_are_merged(fine, tmp_path, kind):
    template = TEMPLATE
    if kind == "file":
        template = tmp_path / "template.json"
        template.write_text(json.dumps(TEMPLATE))
    if kind == "pystac":
        bare = pystac.Item("bare", None, None, datetime(2024, 4, 10, tzinfo=UTC), {}).to_dict()
        properties = {**bare["properties"], **TEMPLATE["properties"]}
        template = pystac.Item.from_dict({**bare, **TEMPLATE, "properties": properties})
    fine.sr.to_zarr(tmp_path / "a.zarr", stac=template, **QUIET)
    document = read(tmp_path / "a.json")
    assert assert_valid(document)
    assert (document["id"], document["collection"]) == ("tile-31UFS", "fine")
    assert document["properties"].items() >= TEMPLATE["properties"].items()
    assert set(document["assets"]) == {"data", "thumbnail"}
    assert document["stac_extensions"].count(TEMPLATE["stac_extensions"][0]) == 1


BAD = {
    "another CRS": (
        {"properties": {"proj:code": "EPSG:32632"}},
        r"does not fit: it states proj:code='EPSG:32632'.*32631",
    ),
    "another date": ({"properties": {"datetime": "2020-01-01T00:00:00Z"}}, "does not fit: it states datetime"),
    "another place": ({"bbox": [0, 0, 1, 1]}, "does not fit: it states bbox"),
    "a field of grids": ({"properties": {"proj:epsg": 32631}}, "which the result has not"),
    "its own asset": ({"assets": {"data": {"href": "a"}}}, "has an asset 'data'"),
    "a collection": ({"type": "Collection"}, r"type 'Collection'; expected an item"),
    "wrong type": ({"properties": []}, r"properties=\[\]; expected dict"),
    "old": ({"stac_version": "0.9.0"}, "expected 1.1.0"),
    "no file": ("absent.json", "cannot be read"),
    "no asset": ({"assets": {"a": {}}}, "does not fit"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_template_that_does_not_fit_is_refused(store, case):
    template, message = BAD[case]
    with pytest.raises(ParameterError, match=message):
        xsr.stac_item(store, template=template)


def test_a_template_is_checked_before_anything_is_written(fine, tmp_path):
    with pytest.raises(ParameterError, match="expected a STAC item"):
        fine.sr.to_zarr(tmp_path / "a.zarr", stac=3, **QUIET)
    with pytest.raises(ParameterError, match="expected a STAC item"):
        fine.sr.to_cog(tmp_path / "a.tif", stac=[], **QUIET)
    assert not list(tmp_path.iterdir())


# --- edges -----------------------------------------------------------------------------------------------------


def test_a_result_without_dates_needs_one(tmp_path):
    cube = make_cube((1, 1, 8, 8)).isel(time=0, drop=True)
    cube.sr.to_zarr(tmp_path / "a.zarr", **QUIET)
    with pytest.raises(ParameterError, match="has no date"):
        xsr.stac_item(tmp_path / "a.zarr")
    with pytest.raises(ParameterError, match="expected a date"):
        xsr.stac_item(tmp_path / "a.zarr", datetime="soon")
    for how in ({"datetime": "2024-06-15"}, {"template": {"properties": {"datetime": "2024-06-15T00:00:00Z"}}}):
        item = xsr.stac_item(tmp_path / "a.zarr", scores={"psnr": 40.5}, **how)
        assert item.properties["datetime"] == "2024-06-15T00:00:00Z"
        assert item.properties["xsr:scores"] == {"psnr": 40.5}


def test_a_footprint_across_180_degrees_has_two_parts(tmp_path):
    west_of_it = Affine(1e4, 0, 220000, 0, -1e4, 5000000)
    cube = make_cube((1, 1, 8, 8), crs="EPSG:32601", affine=west_of_it)
    item = item_of(cube, tmp_path)
    west, _, east, _ = item.bbox
    assert item.geometry["type"] == "MultiPolygon"
    assert west > 0 > east
    assert assert_valid(item.to_dict(include_self_link=False))


def item_of(cube, folder):
    cube.sr.to_zarr(folder / "a.zarr", **QUIET)
    return xsr.stac_item(folder / "a.zarr")


def test_an_item_is_replaced_and_a_file_of_others_is_not(fine, tmp_path):
    fine.sr.to_zarr(tmp_path / "a.zarr", stac=True, **QUIET)
    fine.sr.to_zarr(tmp_path / "a.zarr", overwrite=True, stac={"collection": "b"}, **QUIET)
    assert read(tmp_path / "a.json")["collection"] == "b"
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(StoreError, match="is no item of xsr"):
        fine.sr.to_zarr(tmp_path / "a.zarr", overwrite=True, stac=True, **QUIET)
    assert (tmp_path / "a.json").read_text() == "{}"


def test_stores_in_memory_have_an_item_of_their_own(fine):
    from zarr.storage import MemoryStore

    store = MemoryStore()
    with pytest.raises(ParameterError, match="beside which nothing lies"):
        fine.sr.to_zarr(store, stac=True, **QUIET)
    fine.sr.to_zarr(store, **QUIET)
    item = xsr.stac_item(store, href="s3://bucket/a.zarr", id="a")
    assert item.assets["data"].href == "s3://bucket/a.zarr"
    assert assert_valid(item.to_dict(include_self_link=False))


def test_what_is_not_there_is_said(tmp_path):
    for name in ("a.zarr", "a.tif"):
        with pytest.raises(StoreError, match=r"not found|No such file"):
            xsr.stac_item(tmp_path / name)


def test_passwords_do_not_enter_the_item(fine):
    import fsspec

    fine.sr.to_zarr("memory://user:hunter22@host/secret/a.zarr", stac=True, **QUIET)
    files = fsspec.filesystem("memory")
    (path,) = files.glob("/**/a.json")
    assert b"hunter22" not in files.cat_file(path)


def test_a_result_without_crs_is_refused(fine, tmp_path):
    import rasterio

    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", count=1, height=4, width=4, dtype="uint8") as file:
        file.write(np.ones((1, 4, 4), np.uint8))
    with pytest.raises(GridError, match="has no CRS"):
        xsr.stac_item(tmp_path / "a.tif", datetime="2024-01-01")
