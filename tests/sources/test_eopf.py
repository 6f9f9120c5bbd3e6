import numpy as np
import pytest
import xarray as xr
import zarr
from helpers import make_cube
from products import NORTH, WEST, classes, truth, warned

from xsr.core.errors import HarmonisationError, ParameterError, ProductError
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


def test_a_model_accepts_the_cube_and_opening_is_lazy(product):
    cube = open_eopf(product, bands=["B02", "B03", "B04", "B08"], chunks=64)
    with assert_lazy(cube):
        fine = cube.sr.liif(scale=2)
    fine = fine.compute()
    assert fine.shape == (1, 4, 192, 192)
    assert np.isnan(fine).sum() == 4 * 4


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


def test_a_pyramid_below_the_group_gives_its_finest_level(tmp_path, product):
    path = write_eopf(tmp_path / "p.zarr", pyramid=True)
    np.testing.assert_array_equal(open_eopf(path), open_eopf(product))


def test_masked_pixels_are_nan(product):
    cube = open_eopf(product, bands=["B02"], mask=True)
    assert np.isnan(cube[0, 0].values[~cube.valid[0].values]).all()


def test_offsets_are_those_of_the_attributes_and_held_against_pixels(tmp_path, product):
    old = write_eopf(tmp_path / "a.zarr", add_offset=0.0, added=0)
    np.testing.assert_allclose(open_eopf(old), open_eopf(product), rtol=0, atol=1e-6)
    wrong = write_eopf(tmp_path / "b.zarr", added=0)
    with pytest.raises(
        HarmonisationError, match=r"add_offset of band B12 gives an offset of -1000, but the pixels deny"
    ):
        open_eopf(wrong)
    np.testing.assert_allclose(open_eopf(wrong, offset=0), open_eopf(product), rtol=0, atol=1e-6)
    silent = write_eopf(tmp_path / "c.zarr", add_offset=None)
    with pytest.raises(HarmonisationError, match="no metadata state the offset"):
        open_eopf(silent)
    bare = write_eopf(tmp_path / "d.zarr", scale=None)
    with pytest.raises(HarmonisationError, match="has no scale_factor"):
        open_eopf(bare)


def test_dates_are_joined_and_duplicates_dropped(tmp_path):
    one = write_eopf(tmp_path / "a.zarr")
    again = write_eopf(tmp_path / "b.zarr", created="2025-01-01T00:00:00Z")
    later = write_eopf(tmp_path / "c.zarr", day="2024-06-20")
    with warned("given more than once"):
        cube = open_eopf([later, one, again], bands=["B02"])
    assert cube.generated.values.tolist() == ["2025-01-01T00:00:00Z", "2024-06-15T18:00:00Z"]


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
    path = write_eopf(tmp_path / "nocrs.zarr")
    zarr.open_group(path, mode="r+").attrs["other_metadata"] = {}
    with pytest.raises(ProductError, match="names no CRS"):
        open_eopf(path)
