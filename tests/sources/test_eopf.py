import json
import shutil
import threading
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers import make_cube
from odc.geo.crs import CRS
from products import NORTH, WEST, classes, truth, warned

from xsr.core.errors import BandError, HarmonisationError, ParameterError, ProductError
from xsr.operations.interpolate import interpolate
from xsr.operations.store import to_zarr
from xsr.sources.eopf import open_eopf
from xsr.testing import assert_lazy

BANDS = {10: ("b02", "b03", "b04", "b08"), 20: ("b05", "b8a", "b12"), 60: ("b01",)}


def write_array(group, name, values, size, **attrs):
    """Array of a tree as the EOPF writes it: Zarr v2, coordinates of pixel centres beside it."""
    array = group.create_array(
        name, data=values, chunks=(48, 48), attributes={"_ARRAY_DIMENSIONS": ["y", "x"], **attrs}
    )
    n = values.shape[0]
    for axis, centres in (("x", WEST + (np.arange(n) + 0.5) * size), ("y", NORTH - (np.arange(n) + 0.5) * size)):
        if axis not in group:
            group.create_array(axis, data=centres, attributes={"_ARRAY_DIMENSIONS": [axis]})
    return array


def write_eopf(
    path,
    *,
    add_offset=-0.1,
    added=1000,
    scale=1e-4,
    day="2024-06-15",
    created="2024-06-15T18:00:00Z",
    version="05.11",
    pyramid=False,
):
    """Tree of a product; digital numbers are reflectance times 10000 plus `added`."""
    root = zarr.open_group(path, mode="w", zarr_format=2)
    stamp = day.replace("-", "")
    root.attrs["stac_discovery"] = {
        "type": "Feature",
        "id": f"S2D_MSIL2A_{stamp}T110621_N0511_R023_T29UNU_{created[:10].replace('-', '')}T180000",
        "properties": {
            "datetime": f"{day}T11:06:21.024000Z",
            "platform": "sentinel-2d",
            "processing:version": version,
            "created": created,
        },
    }
    root.attrs["other_metadata"] = {"horizontal_CRS_code": "EPSG:32629"}
    packing = {} if scale is None else {"scale_factor": scale}
    packing |= {} if add_offset is None else {"add_offset": add_offset}
    for size, names in BANDS.items():
        group = root.create_group(f"measurements/reflectance/r{size}m" + ("/0" if pyramid else ""))
        for name in names:
            numbers = np.round(truth(name.upper(), size) * 10000).astype(np.uint16) + np.uint16(added)
            numbers[-1, -1] = 0
            write_array(group, name, numbers, size, _FillValue=0, **packing)
    for size in (20, 60):
        group = root.create_group(f"conditions/mask/l2a_classification/r{size}m")
        write_array(group, "scl", classes(size), size)
    root.create_group("quality/atmosphere/r10m")
    return path


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    return write_eopf(tmp_path_factory.mktemp("eopf") / "product.zarr")


@pytest.mark.slow
def test_the_tree_becomes_a_cube_of_its_reflectance(product):
    cube = open_eopf(product)
    assert cube.band.values.tolist() == ["B01", "B02", "B03", "B04", "B05", "B08", "B8A", "B12"]
    assert cube.native_gsd.values.tolist() == [60, 10, 10, 10, 20, 10, 20, 20]
    assert cube.time.values[0] == np.datetime64("2024-06-15T11:06:21.024")
    assert cube.odc.crs.epsg == 32629
    assert (cube.odc.geobox.affine.c, cube.odc.geobox.affine.f) == (WEST, NORTH)
    expected = truth("B08", 10)
    expected[-1, -1] = np.nan
    np.testing.assert_allclose(cube.sel(band="B08")[0], expected, atol=1e-6)
    np.testing.assert_array_equal(cube.scl[0], np.kron(classes(20), np.ones((2, 2))))
    np.testing.assert_array_equal(~cube.valid, cube.scl == 9)
    assert cube.platform.values.tolist() == ["sentinel-2d"]
    assert cube.processing_baseline.values.tolist() == ["05.11"]
    assert cube.dn_offset.values.tolist() == [[-1000] * 8]


@pytest.mark.slow
def test_a_model_accepts_the_cube_and_opening_is_lazy(product):
    cube = open_eopf(product, bands=["B02", "B03", "B04", "B08"], chunks=64)
    with assert_lazy(cube):
        fine = cube.sr.liif(scale=2)
    fine = fine.compute()
    assert fine.shape == (1, 4, 192, 192)
    assert np.isnan(fine).sum() == 4 * 4


@pytest.mark.slow
def test_coarser_bands_are_interpolated_and_finer_ones_averaged(product):
    cube = open_eopf(product, bands=["B02", "B05"])
    coarse = open_eopf(product, bands=["B05"])
    assert coarse.odc.geobox.resolution.x == 20
    np.testing.assert_array_equal(cube.sel(band=["B05"]), interpolate(coarse, scale=2))
    mean = open_eopf(product, bands=["B02"], resolution=20)[0, 0, :-1, :-1]
    np.testing.assert_allclose(mean, truth("B02", 10).reshape(48, 2, 48, 2).mean(axis=(1, 3))[:-1, :-1], atol=1e-6)
    assert open_eopf(product, bands=["B12"], resolution=60).scl.shape == (1, 16, 16)


def test_the_decoding_of_xarray_agrees(product):
    decoded = xr.open_zarr(product, group="measurements/reflectance/r10m", consolidated=False)["b04"]
    np.testing.assert_allclose(open_eopf(product, bands=["B04"])[0, 0], decoded, atol=1e-6)


@pytest.mark.slow
def test_a_pyramid_below_the_group_gives_its_finest_level(tmp_path, product):
    path = write_eopf(tmp_path / "p.zarr", pyramid=True)
    np.testing.assert_array_equal(open_eopf(path), open_eopf(product))


def test_masked_pixels_are_nan(product):
    cube = open_eopf(product, bands=["B02"], mask=True)
    assert np.isnan(cube[0, 0].values[~cube.valid[0].values]).all()


@pytest.mark.slow
def test_offsets_are_those_of_the_attributes_and_held_against_pixels(tmp_path, product):
    old = write_eopf(tmp_path / "a.zarr", add_offset=0.0, added=0)
    np.testing.assert_allclose(open_eopf(old), open_eopf(product), rtol=0, atol=1e-6)
    wrong = write_eopf(tmp_path / "b.zarr", added=0)
    with pytest.raises(
        HarmonisationError, match=r"add_offset of band B12 gives an offset of -1000, but the pixels contradict it"
    ):
        open_eopf(wrong)
    np.testing.assert_allclose(open_eopf(wrong, offset=0), open_eopf(product), rtol=0, atol=1e-6)
    silent = write_eopf(tmp_path / "c.zarr", add_offset=None)
    with pytest.raises(HarmonisationError, match="no metadata state the offset"):
        open_eopf(silent)
    bare = write_eopf(tmp_path / "d.zarr", scale=None)
    with pytest.raises(HarmonisationError, match="has no scale_factor"):
        open_eopf(bare)


@pytest.mark.slow
def test_dates_are_joined_and_duplicates_dropped(tmp_path):
    one = write_eopf(tmp_path / "a.zarr")
    again = write_eopf(tmp_path / "b.zarr", created="2025-01-01T00:00:00Z")
    later = write_eopf(tmp_path / "c.zarr", day="2024-06-20")
    with warned("given more than once"):
        cube = open_eopf([later, one, again], bands=["B02"])
    assert cube.generated.values.tolist() == ["2025-01-01T00:00:00Z", "2024-06-15T18:00:00Z"]


@pytest.mark.slow
def test_two_datastrips_of_one_tile_are_one_date(tmp_path, product):
    paths = []
    for name, part in (("S20240615T110618", slice(48, None)), ("S20240615T110918", slice(None, 48))):
        path = write_eopf(tmp_path / f"{name}.zarr")
        root = zarr.open_group(path, mode="r+")
        discovery = root.attrs["stac_discovery"]
        discovery["properties"]["eopf:datastrip_id"] = f"S2D_OPER_MSI_L2A_DS_2DPS_20240615T180000_{name}_N05.11"
        root.attrs["stac_discovery"] = discovery
        for size, names in BANDS.items():
            rows = slice(*(None if n is None else n * 10 // size for n in (part.start, part.stop)))
            for band in names:
                root[f"measurements/reflectance/r{size}m/{band}"][rows] = 0
        paths.append(path)
    cube = open_eopf(paths)
    np.testing.assert_array_equal(cube, open_eopf(product))
    assert cube.sizes["time"] == 1


def test_a_flat_cube_opens_with_its_grid(tmp_path):
    cube = make_cube((2, 3, 12, 10), crs="EPSG:32629", chunks={"y": 6})
    to_zarr(cube, tmp_path / "a.zarr", progress=False)
    flat = open_eopf(tmp_path / "a.zarr")
    assert flat.dims == ("time", "band", "y", "x")
    np.testing.assert_array_equal(flat, cube)
    assert flat.odc.geobox == cube.odc.geobox
    assert open_eopf(tmp_path / "a.zarr", bands=["green"]).band.values.tolist() == ["B03"]
    with pytest.raises(ParameterError, match="is a flat cube; expected no resolution="):
        open_eopf(tmp_path / "a.zarr", resolution=10)


def test_a_flat_cube_may_describe_its_grid_by_the_geozarr_convention_alone(tmp_path):
    cube = make_cube((1, 3, 12, 10), crs="EPSG:32629")
    bare = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), cube.values)}, {"band": cube.band, "time": cube.time}
    )
    bare.attrs = {
        "proj:code": "EPSG:32629",
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": list(cube.odc.geobox.affine[:6]),
    }
    bare.to_zarr(tmp_path / "a.zarr", zarr_format=2)
    flat = open_eopf(tmp_path / "a.zarr")
    np.testing.assert_array_equal(flat, cube)
    assert flat.odc.geobox == cube.odc.geobox
    bare.attrs = {}
    bare.to_zarr(tmp_path / "b.zarr", zarr_format=2)
    with pytest.raises(ProductError, match="names no CRS or no grid"):
        open_eopf(tmp_path / "b.zarr")


@pytest.mark.slow
def test_what_is_no_product_is_named(tmp_path, product):
    with pytest.raises(ProductError, match=r"gone\.zarr is no Zarr group"):
        open_eopf(tmp_path / "gone.zarr")
    to_zarr(make_cube((1, 3, 12, 10)), tmp_path / "flat.zarr", progress=False)
    with pytest.raises(ProductError, match="has no measurements/reflectance"):
        open_eopf([product, tmp_path / "flat.zarr"])
    with pytest.raises(ParameterError, match="resampling='cubic'"):
        open_eopf(product, resampling="cubic")
    with pytest.raises(ParameterError, match="resolution=15"):
        open_eopf(product, resolution=15)
    with pytest.raises(ParameterError, match="no path given"):
        open_eopf([])


# --- CRS -------------------------------------------------------------------------------------------------------------


def state(path, *, other=None, item=None, group=None, array=None, name="product"):
    """Let a product state its CRS in some places alone."""
    root = zarr.open_group(path, mode="r+")
    discovery = root.attrs["stac_discovery"]
    discovery["id"] = name
    discovery["properties"] |= item or {}
    root.attrs.update({"stac_discovery": discovery, "other_metadata": other or {}})
    for size, names in BANDS.items():
        below = root[f"measurements/reflectance/r{size}m"]
        below.attrs.update(group or {})
        for band in names:
            below[band].attrs.update(array or {})
    return path


WKT = CRS("EPSG:32629").to_wkt()
TILED = "S2D_MSIL2A_20240615T110621_N0511_R023_T29UNU_20240615T180000"


@pytest.mark.slow
@pytest.mark.parametrize(
    "stated",
    [
        {"other": {"horizontal_CRS_code": "EPSG:32629"}},
        {"other": {"horizontal_CRS_code": 32629}},
        {"item": {"proj:epsg": 32629}},
        {"item": {"proj:code": "EPSG:32629"}},
        {"group": {"proj:code": "EPSG:32629"}},
        {"group": {"proj:wkt2": WKT}},
        {"array": {"proj:epsg": 32629}},
        {"array": {"proj:code": "urn:ogc:def:crs:EPSG::32629"}},
        {"array": {"proj:code": "http://www.opengis.net/def/crs/EPSG/0/32629"}},
        {"array": {"proj:wkt2": WKT}},
        {"name": TILED},
    ],
)
def test_the_crs_is_found_wherever_it_is_stated(tmp_path, product, stated):
    path = state(write_eopf(tmp_path / "a.zarr"), **stated)
    cube = open_eopf(path, bands=["B02", "B05"])
    assert cube.odc.geobox == open_eopf(product, bands=["B02", "B05"]).odc.geobox


@pytest.mark.slow
def test_a_southern_tile_lies_in_a_southern_zone(tmp_path):
    path = state(write_eopf(tmp_path / "a.zarr"), name=TILED.replace("T29UNU", "T22HBD"))
    assert open_eopf(path, bands=["B02"]).odc.crs.epsg == 32722


@pytest.mark.slow
def test_a_product_without_a_crs_asks_for_one_and_takes_it(tmp_path):
    path = state(write_eopf(tmp_path / "a.zarr"))
    with pytest.raises(ProductError, match=r"names no CRS: .*Pass crs="):
        open_eopf(path)
    assert open_eopf(path, bands=["B02"], crs=32630).odc.crs.epsg == 32630
    assert open_eopf(path, bands=["B02"], crs="EPSG:32630").odc.crs.epsg == 32630
    with pytest.raises(ParameterError, match="crs='utm'; expected a CRS"):
        open_eopf(path, crs="utm")


@pytest.mark.slow
def test_contradictory_statements_of_the_crs_are_refused_by_name_and_settled_by_hand(tmp_path):
    path = state(write_eopf(tmp_path / "a.zarr"), item={"proj:epsg": 32629}, array={"proj:epsg": 32630})
    message = r"proj:epsg of the STAC item says EPSG:32629, proj:epsg of array .*b02 says EPSG:32630"
    with pytest.raises(ProductError, match=message):
        open_eopf(path, bands=["B02"])
    assert open_eopf(path, bands=["B02"], crs=32630).odc.crs.epsg == 32630
    named = state(write_eopf(tmp_path / "b.zarr"), item={"proj:epsg": 32630}, name=TILED)
    with pytest.raises(ProductError, match="the MGRS tile 29UNU in the name says EPSG:32629"):
        open_eopf(named)
    broken = state(write_eopf(tmp_path / "c.zarr"), item={"proj:code": "nowhere"})
    with pytest.raises(ProductError, match=r"proj:code of the STAC item is 'nowhere'; .*Pass crs="):
        open_eopf(broken)
    assert open_eopf(broken, bands=["B02"], crs=32629).odc.crs.epsg == 32629


@pytest.mark.slow
def test_one_crs_in_several_spellings_is_no_contradiction(tmp_path):
    path = state(
        write_eopf(tmp_path / "a.zarr"),
        other={"horizontal_CRS_code": 32629},
        group={"proj:wkt2": CRS("EPSG:32629").proj.to_wkt("WKT1_ESRI")},
        array={"proj:wkt2": WKT, "proj:code": "EPSG:32629"},
        name=TILED,
    )
    assert open_eopf(path, bands=["B02"]).odc.crs.epsg == 32629


def test_a_crs_by_hand_that_replaces_another_is_reported(product):
    with warned(r"crs=32630 replaces EPSG:32629 of horizontal_CRS_code"):
        assert open_eopf(product, bands=["B02"], crs=32630).odc.crs.epsg == 32630


# --- other layouts ---------------------------------------------------------------------------------------------------


def rewrite(source, path, *, zarr_format=3, shards=False, coordinates=True, named=str, change=None, decoded=False):
    """Copy a product into another layout; `change` may alter the attributes of an array by its path."""
    old, new = zarr.open_group(source, mode="r"), zarr.open_group(path, mode="w", zarr_format=zarr_format)
    new.attrs.update(dict(old.attrs))
    for name, array in sorted(old.members(max_depth=None)):
        if not isinstance(array, zarr.Array):
            continue
        if not coordinates and array.ndim == 1:
            continue
        values, attrs = array[:], dict(array.attrs)
        dims = attrs.pop("_ARRAY_DIMENSIONS")
        if decoded and "scale_factor" in attrs:
            attrs["_eopf_attrs"] = {key: attrs.pop(key) for key in ("scale_factor", "add_offset")}
            attrs.pop("_FillValue")
            values = np.where(values == 0, np.nan, values * 1e-4 - 0.1).astype(np.float32)
        attrs = change(name, attrs, values.shape) if change else attrs
        options = {"dimension_names": dims} if zarr_format == 3 else {}
        if zarr_format == 2:
            attrs["_ARRAY_DIMENSIONS"] = dims
        chunks = (
            array.chunks if not shards else tuple(n // 4 for n in values.shape) if values.ndim == 2 else values.shape
        )
        shard = {"shards": values.shape} if shards and values.ndim == 2 else {}
        group, _, key = name.rpartition("/")
        new.create_array(
            f"{group}/{named(key)}", data=values, chunks=chunks, attributes=attrs, fill_value=0, **options, **shard
        )
    return path


@pytest.mark.slow
def test_format_3_with_shards_is_the_same_cube(tmp_path, product):
    other = open_eopf(rewrite(product, tmp_path / "a.zarr", shards=True))
    xr.testing.assert_identical(other.compute(), open_eopf(product).compute())


@pytest.mark.slow
def test_band_names_may_be_in_capitals(tmp_path, product):
    path = rewrite(product, tmp_path / "a.zarr", named=lambda key: key.upper() if key.startswith("b") else key)
    xr.testing.assert_identical(open_eopf(path).compute(), open_eopf(product).compute())


@pytest.mark.slow
def test_a_zip_archive_is_read_in_place(tmp_path, product):
    for base, root in (("flat", product), ("nested", product.parent)):
        path = shutil.make_archive(str(tmp_path / f"{base}.zarr"), "zip", root, "." if base == "flat" else product.name)
        xr.testing.assert_identical(open_eopf(path).compute(), open_eopf(product).compute())
        part = open_eopf(f"{path}/measurements/reflectance/r20m")
        np.testing.assert_array_equal(part, open_eopf(product, bands=part.band.values.tolist()))
    (tmp_path / "broken.zarr.zip").write_bytes(b"PK")
    with pytest.raises(ProductError, match=r"broken\.zarr\.zip cannot be read"):
        open_eopf(tmp_path / "broken.zarr.zip")


@pytest.mark.slow
def test_a_tree_that_xarray_opened_gives_the_same_cube(product):
    expected = open_eopf(product).compute()
    for options in ({}, {"chunks": {}}, {"mask_and_scale": False}):
        tree = xr.open_datatree(product, engine="zarr", consolidated=False, **options)
        cube = open_eopf(tree)
        np.testing.assert_allclose(cube, expected, rtol=0, atol=1e-7)
        xr.testing.assert_identical(cube.coords.to_dataset().compute(), expected.coords.to_dataset())
    node = open_eopf(tree["measurements/reflectance/r10m"])
    np.testing.assert_allclose(node, open_eopf(product, bands=node.band.values.tolist()), rtol=0, atol=1e-7)
    with assert_lazy(open_eopf(tree)):
        pass


@pytest.mark.slow
def test_the_bands_of_a_tree_are_sharpened(product):
    tree = xr.open_datatree(product, engine="zarr", consolidated=False, chunks={})
    bands = ["B02", "B03", "B04", "B08", "B05", "B8A", "B12"]
    made, wanted = tree.sr.sharpen(bands=bands), open_eopf(product, bands=bands).sr.sharpen()
    assert made.attrs["xsr_sharpened"] == ["B05", "B8A", "B12"]
    np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_group_of_one_resolution_gives_its_images_on_their_grid(product):
    group = product / "measurements/reflectance"
    np.testing.assert_array_equal(open_eopf(group), open_eopf(product))
    ten = open_eopf(group / "r10m")
    xr.testing.assert_identical(ten.compute(), open_eopf(product, bands=["B02", "B03", "B04", "B08"]).compute())
    twenty = open_eopf(group / "r20m")
    assert twenty.band.values.tolist() == ["B05", "B8A", "B12"]
    assert twenty.odc.geobox.resolution.x == 20
    with pytest.raises(BandError, match=r"\['B05'\] requested; .* has B02, B03, B04, B08"):
        open_eopf(group / "r10m", bands=["B05"])


@pytest.mark.slow
def test_copies_in_coarser_groups_serve_their_resolution(tmp_path, product):
    path = rewrite(product, tmp_path / "a.zarr")
    group = zarr.open_group(path, mode="r+")["measurements/reflectance/r20m"]
    fine = zarr.open_group(path, mode="r")["measurements/reflectance/r10m/b08"]
    group.create_array("b08", data=fine[::2, ::2], attributes=dict(fine.attrs), dimension_names=("y", "x"))
    coarse = open_eopf(path, bands=["B08"], resolution=20)
    np.testing.assert_array_equal(coarse[0, 0], open_eopf(path, bands=["B08"])[0, 0, ::2, ::2])
    assert open_eopf(path, bands=["B08"]).odc.geobox.resolution.x == 10
    assert "B08" in open_eopf(path / "measurements/reflectance/r20m").band


@pytest.mark.slow
def test_a_level_of_a_pyramid_opens_by_its_path(tmp_path):
    path = write_eopf(tmp_path / "p.zarr", pyramid=True)
    group = zarr.open_group(path, mode="r+")["measurements/reflectance/r10m"]
    level = group.create_group("2")
    write_array(level, "b02", group["0/b02"][::4, ::4], 40, _FillValue=0, scale_factor=1e-4, add_offset=-0.1)
    cube = open_eopf(path / "measurements/reflectance/r10m/2")
    assert cube.odc.geobox.resolution.x == 40
    assert cube.native_gsd.values.tolist() == [40]
    np.testing.assert_allclose(cube[0, 0], truth("B02", 10)[::4, ::4], atol=1e-6)


@pytest.mark.slow
def test_decoded_floats_are_reflectance_whatever_is_noted_of_the_numbers_before(tmp_path, product):
    path = rewrite(product, tmp_path / "a.zarr", decoded=True)
    np.testing.assert_allclose(open_eopf(path), open_eopf(product), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_without_coordinates_the_transform_places_the_images(tmp_path, product):
    def transform(name, attrs, shape):
        gsd = 960 / shape[0]
        return attrs | {"spatial:transform": [gsd, 0, WEST, 0, -gsd, NORTH], "spatial:shape": list(shape)}

    path = rewrite(product, tmp_path / "a.zarr", coordinates=False, change=transform)
    xr.testing.assert_identical(open_eopf(path).compute(), open_eopf(product).compute())
    bare = rewrite(product, tmp_path / "b.zarr", coordinates=False)
    with pytest.raises(ProductError, match=r"b02 of .* has no coordinates x and y .* no spatial:transform"):
        open_eopf(bare, bands=["B02"])


def test_a_product_says_which_arrays_it_has_where_none_is_a_band(tmp_path, product):
    path = rewrite(product, tmp_path / "a.zarr", named=lambda key: f"band_{key}" if key[0] == "b" else key)
    with pytest.raises(BandError, match=r"has no bands in .*expected arrays named b01 to b12.*'band_b02'"):
        open_eopf(path)


@pytest.mark.slow
def test_the_name_says_what_the_metadata_leave_out(tmp_path, product):
    path = rewrite(product, tmp_path / f"{TILED}.zarr")
    zarr.open_group(path, mode="r+").attrs.put({})
    cube = open_eopf(path, bands=["B02"])
    assert cube.time.values[0] == np.datetime64("2024-06-15T11:06:21")
    assert cube.platform.values.tolist() == ["sentinel-2d"]
    assert cube.processing_baseline.values.tolist() == ["05.11"]
    plain = rewrite(product, tmp_path / "plain.zarr")
    zarr.open_group(plain, mode="r+").attrs.put({"other_metadata": {"horizontal_CRS_code": 32629}})
    with pytest.raises(ProductError, match="states no date"):
        open_eopf(plain)


# --- pixels that are not stored --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bands_without_a_stored_chunk_are_refused_and_others_named(tmp_path, product):
    path = rewrite(product, tmp_path / "a.zarr")
    for size, names in BANDS.items():
        for band in names:
            if (size, band) != (60, "b01"):
                shutil.rmtree(path / f"measurements/reflectance/r{size}m/{band}/c")
    message = r"holds no pixels of .*r10m/b02: none of their chunks is stored.* Stored are .*r60m \(b01\)"
    with pytest.raises(ProductError, match=message):
        open_eopf(path, bands=["B02"])
    assert open_eopf(path / "measurements/reflectance/r60m").shape == (1, 1, 16, 16)


class _Plain(SimpleHTTPRequestHandler):
    """A server that lists no folder, as object stores behind https."""

    def list_directory(self, path):
        self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(tmp_path):
    """Address of a server of the folder of the test."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Plain, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.slow
def test_a_store_behind_a_server_that_lists_nothing_opens(tmp_path, product, serve):
    shutil.copytree(product, tmp_path / "a.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(tmp_path / "a.zarr")
    xr.testing.assert_identical(open_eopf(f"{serve}/a.zarr").compute(), open_eopf(product).compute())
    part = open_eopf(f"{serve}/a.zarr/measurements/reflectance/r60m")
    assert part.band.values.tolist() == ["B01"]
    for chunk in (tmp_path / "a.zarr/measurements/reflectance/r10m/b02").glob("[0-9]*"):
        chunk.unlink()
    with pytest.raises(ProductError, match=r"holds no pixels of .*r10m/b02"):
        open_eopf(f"{serve}/a.zarr", bands=["B02"])


@pytest.mark.slow
def test_chunks_that_decoded_floats_lack_are_no_data_and_reported(tmp_path, product):
    path = rewrite(product, tmp_path / "a.zarr", decoded=True)
    shutil.rmtree(path / "measurements/reflectance/r10m/b02/c/1")
    with warned(r"does not store all chunks of .*r10m/b02 \(2 of 4\); their pixels are NaN"):
        cube = open_eopf(path, bands=["B02"])
    assert np.isnan(cube[0, 0, 48:]).all()
    np.testing.assert_allclose(cube[0, 0, :48], open_eopf(product, bands=["B02"])[0, 0, :48], atol=1e-6)


@pytest.mark.skipif(
    tuple(map(int, zarr.__version__.split(".")[:2])) >= (3, 2), reason="this zarr knows the codecs that the test needs"
)
@pytest.mark.parametrize("codec", ["scale_offset", "cast_value"])
def test_codecs_of_a_newer_zarr_are_named(tmp_path, product, codec):
    path = rewrite(product, tmp_path / "a.zarr")
    file = path / "measurements/reflectance/r10m/b02/zarr.json"
    metadata = json.loads(file.read_text())
    metadata["codecs"].insert(0, {"name": codec, "configuration": {}})
    file.write_text(json.dumps(metadata))
    with pytest.raises(ProductError, match=rf"the Zarr codec {codec}, .*expected zarr 3\.2 or later, .*Python 3\.12"):
        open_eopf(path, bands=["B02"])
