import warnings

import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr
from helpers import make_cube, make_dataset
from hypothesis import given
from hypothesis import strategies as st

from xsr.core.errors import CubeError, ParameterError, StoreError, XsrWarning
from xsr.operations.to_cog import to_cog
from xsr.sources.files import open_file

QUIET = {"progress": False}


def test_every_date_is_a_file_that_rasterio_reads_back(tmp_path):
    cube = make_cube((2, 3, 70, 90)).rename("reflectance")
    cube[0, 1, 5, 6] = np.nan
    cube = cube.assign_coords(product_id=("time", ["first", "second"])).assign_attrs(xsr_operation="liif")
    report = cube.sr.to_cog(tmp_path / "out", **QUIET)
    assert [path.name for path in report.paths] == [
        "reflectance_20240601T000000.tif",
        "reflectance_20240602T000000.tif",
    ]
    assert (report.valid, report.clipped) == (2 * 3 * 70 * 90 - 1, 0)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [path.name for path in report.paths]
    for date, path in enumerate(report.paths):
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(file.read(), cube[date])
            assert file.descriptions == ("B02", "B03", "B04")
            assert file.transform == cube.odc.geobox.affine
            assert file.crs.to_epsg() == 32633
            assert np.isnan(file.nodata)
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert file.tags()["TIFFTAG_DATETIME"] == f"2024:06:0{date + 1} 00:00:00"
            assert file.tags()["product_id"] == ("first", "second")[date]
            assert file.tags()["xsr_operation"] == "liif"
    back = open_file(report.paths[0])
    np.testing.assert_array_equal(back, cube[0])
    assert back.band.values.tolist() == ["B02", "B03", "B04"]
    assert back.odc.geobox == cube.odc.geobox


def test_overviews_are_averages_of_valid_pixels(tmp_path):
    values = np.random.default_rng(1).random((1, 80, 64)).astype(np.float32)
    values[0, 0, 0] = np.nan
    (path,) = to_cog(make_cube(values), tmp_path / "a.tif", blocksize=32, **QUIET).paths
    with rasterio.open(path) as file:
        assert file.overviews(1) == [2, 4]
        assert file.block_shapes == [(32, 32)]
    with rasterio.open(path, OVERVIEW_LEVEL=0) as file, np.errstate(invalid="ignore"):
        expected = np.nanmean(values[0].reshape(40, 2, 32, 2), axis=(1, 3))
        np.testing.assert_allclose(file.read(1), expected, atol=1e-6)


@pytest.mark.slow
@given(
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    chunk=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    dtype=st.sampled_from(["float32", "uint16"]),
)
def test_any_shape_and_chunks_make_the_round_trip(tmp_path_factory, height, width, chunk, dtype):
    folder = tmp_path_factory.mktemp("cog")
    cube = make_cube((1, 2, height, width))
    cube[0, 0, -1, -1] = np.nan
    report = to_cog(cube.chunk(y=chunk[0], x=chunk[1]), folder / "a.tif", dtype=dtype, **QUIET)
    with rasterio.open(report.paths[0]) as file:
        found = file.read(masked=True).astype(np.float64)
        scale, offset = file.scales[0], file.offsets[0]
    np.testing.assert_allclose(
        (found * scale + offset).filled(np.nan), cube[0], rtol=0, atol=5.1e-5 if dtype == "uint16" else 0
    )
    assert report.valid == 2 * height * width - 1


def test_packed_numbers_are_clipped_and_counted(tmp_path):
    values = np.full((1, 20, 20), 0.25, np.float32)
    values[0, 0, :4] = (-0.2, 7.0, np.nan, 0.0)
    report = to_cog(make_cube(values, bands=["B08"]), tmp_path / "a.tif", dtype="uint16", **QUIET)
    assert (report.valid, report.clipped, report.infinite) == (399, 2, 0)
    with rasterio.open(report.paths[0]) as file:
        assert file.read(1)[0, :5].tolist() == [1, 65535, 0, 1000, 3500]
        assert (file.scales, file.offsets, file.nodata) == ((1e-4,), (-0.1,), 0)
    np.testing.assert_allclose(open_file(report.paths[0]).sr.interpolate(scale=1)[0, 1, :3], 0.25, atol=1e-6)


def test_a_strip_is_not_clipped_unless_that_is_allowed(tmp_path):
    cube = make_cube(np.linspace(270, 310, 400, dtype=np.float32).reshape(1, 20, 20), bands=["lst"])
    with pytest.raises(CubeError, match=r"400 of 400 pixels of a block of 'lst' lie outside -0.0999 to 6.4535"):
        to_cog(cube, tmp_path / "a.tif", dtype="uint16", units="reflectance", **QUIET)
    assert list(tmp_path.iterdir()) == []
    how = {"units": "reflectance", "dtype": "uint16", "allow_clipping": True}
    assert to_cog(cube, tmp_path / "a.tif", **how, **QUIET).clipped == 400


@pytest.mark.parametrize("units", ["K", "degC"])
@pytest.mark.parametrize("container", ["DataArray", "Dataset"])
def test_temperatures_are_packed_by_their_units(tmp_path, units, container):
    values = np.linspace(270, 310, 400, dtype=np.float32).reshape(1, 20, 20)
    cube = make_cube(values - (273.15 if units == "degC" else 0), bands=["lst"]).astype(np.float32)
    cube = cube.assign_attrs(units=units)
    given = cube if container == "DataArray" else cube.drop_attrs(deep=False).to_dataset("band")
    if container == "Dataset":
        given["lst"].attrs["units"] = units
    (path,) = to_cog(given, tmp_path / "a.tif", dtype="uint16", **QUIET).paths
    with rasterio.open(path) as file:
        assert file.units == (units,)
        found = file.read(1) * file.scales[0] + file.offsets[0]
    np.testing.assert_allclose(found, cube[0], rtol=0, atol=0.00252)


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_infinities_are_written_as_no_data_and_said(tmp_path, dtype):
    cube = make_cube((1, 20, 20))
    cube.values[0, 0, :2] = (np.inf, -np.inf)
    with pytest.raises(XsrWarning, match="2 pixels are infinite"):
        to_cog(cube, tmp_path / "a.tif", dtype=dtype, **QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XsrWarning)
        report = to_cog(cube, tmp_path / "a.tif", dtype=dtype, overwrite=True, **QUIET)
    assert (report.valid, report.infinite) == (398, 2)
    with rasterio.open(report.paths[0]) as file:
        assert (~file.dataset_mask().astype(bool)).sum() == 2
        assert np.isfinite(file.read(1, masked=True).compressed()).all()


def watched(cube):
    """Cube that notes which of its blocks are computed, and the list of them."""
    seen = []

    def block(values, block_info=None):
        seen.append(block_info[None]["chunk-location"])
        return values

    data = cube.data.map_blocks(block, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))
    return cube.copy(data=data), seen


def test_a_lazy_cube_is_computed_strip_by_strip(tmp_path):
    cube = make_cube((2, 1, 64, 48)).chunk(time=1, y=16, x=16)
    traced, seen = watched(cube)
    import dask

    with dask.config.set(scheduler="sync"):
        to_cog(traced, tmp_path / "out", **QUIET)
    assert len(seen) == 2 * 4 * 3  # each block once
    assert [(t, y) for t, _, y, _ in seen] == [(t, y) for t in range(2) for y in range(4) for _ in range(3)]


def test_blocks_of_several_dates_are_computed_once(tmp_path):
    cube = make_cube((5, 1, 32, 96)).chunk(time=3, y=16, x=16)
    traced, seen = watched(cube)
    report = to_cog(traced, tmp_path / "out", **QUIET)
    assert sorted(seen) == sorted((t, 0, y, x) for t in range(2) for y in range(2) for x in range(6))
    for path, date in zip(report.paths, cube.values, strict=True):
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(file.read(), date)


def test_other_containers_and_ascending_grids(tmp_path):
    dataset = make_dataset((1, 2, 12, 10))
    rising = dataset.isel(y=slice(None, None, -1))
    for name, cube in (("a.tif", dataset), ("b.tif", rising)):
        to_cog(cube, tmp_path / name, **QUIET)
        with rasterio.open(tmp_path / name) as file:
            np.testing.assert_array_equal(file.read(), dataset.to_dataarray("band")[:, 0])
            assert file.descriptions == ("B02", "B03")
    plain = make_cube((12, 10)).rename("B04")
    to_cog(plain, tmp_path / "c.tif", compress="none", **QUIET)
    with rasterio.open(tmp_path / "c.tif") as file:
        assert file.descriptions == ("B04",)
        assert file.compression is None
    frames = make_cube((2, 1, 6, 6)).drop_vars("time")
    names = [path.name for path in to_cog(frames, tmp_path / "frames", **QUIET).paths]
    assert names == ["cube_0000.tif", "cube_0001.tif"]


def test_files_that_exist_stay_unless_told_otherwise(tmp_path):
    cube = make_cube((2, 1, 8, 8))
    first = to_cog(cube[1:], tmp_path / "out", **QUIET).paths[0]
    before = first.read_bytes()
    with pytest.raises(StoreError, match=r"cube_20240602T000000\.tif exists; expected a new file"):
        to_cog(cube + 1, tmp_path / "out", **QUIET)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [first.name]
    assert first.read_bytes() == before
    assert len(to_cog(cube + 1, tmp_path / "out", overwrite=True, **QUIET).paths) == 2
    with rasterio.open(first) as file:
        np.testing.assert_array_equal(file.read(1), cube[1, 0] + 1)


def test_a_failure_leaves_no_half_file(tmp_path):
    def fail(values):
        raise RuntimeError("no pixels")

    cube = make_cube((1, 1, 16, 16)).chunk(y=8)
    bad = cube.copy(
        data=da.concatenate(
            [
                cube.data[:, :, :8],
                cube.data[:, :, 8:].map_blocks(fail, dtype=np.float32, meta=np.empty((0,) * 4, np.float32)),
            ],
            axis=2,
        )
    )
    with pytest.raises(RuntimeError, match="no pixels"):
        to_cog(bad, tmp_path / "a.tif", **QUIET)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("cube", "path", "options", "error", "message"),
    [
        (make_cube((2, 1, 4, 4)), "a.tif", {}, ParameterError, r"names one file; the cube has 2 dates"),
        (make_cube((1, 4, 4)), "a.tif", {"dtype": "int8"}, ParameterError, "dtype='int8'"),
        (
            make_cube((1, 4, 4)),
            "a.tif",
            {"compress": "jpeg"},
            ParameterError,
            "compress='jpeg'; expected one of deflate",
        ),
        (make_cube((1, 4, 4)), "a.tif", {"blocksize": 100}, ParameterError, "expected a multiple of 16"),
        (make_cube((1, 4, 4)), "no/where/a.tif", {}, StoreError, "does not exist. Make it first"),
        (make_cube((2, 1, 4, 4), times=["2024-01-01"] * 2), "out", {}, ParameterError, "are not all different"),
        (make_cube((1, 4, 4)).astype(np.int16), "a.tif", {}, CubeError, "units"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path, cube, path, options, error, message):
    with pytest.raises(error, match=message):
        to_cog(cube, tmp_path / path, **options, **QUIET)
    assert list(tmp_path.iterdir()) == []


def test_the_super_resolved_cube_goes_to_disk(tmp_path):
    cube = make_cube((1, 4, 20, 24), chunks={"y": 10, "x": 12})
    fine = cube.sr.interpolate(scale=2.5, chunks=16)
    report = fine.sr.to_cog(tmp_path / "fine", **QUIET)
    back = xr.concat([open_file(path) for path in report.paths], "time")
    np.testing.assert_array_equal(back, fine)
    assert back.odc.geobox == fine.odc.geobox
