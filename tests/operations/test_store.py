import warnings
import zlib

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
import zarr
from affine import Affine
from models.helpers import BANDS, make_cube
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from packaging.version import Version
from survival import ledger_of, n_done

import xsr
from xsr.core.errors import CubeError, ParameterError, StoreError, XsrWarning
from xsr.core.packing import REFLECTANCE
from xsr.core.store.block import BlockWriter
from xsr.core.store.header import read_header
from xsr.core.store.ledger import DONE
from xsr.core.store.place import Place, resolve_place
from xsr.core.store.template import prepare, template_of
from xsr.testing import assert_lazy, assert_same_grid

HALF = REFLECTANCE.scale / 2 * 1.01
"""Rounding of uint16, and that of float32."""


@pytest.fixture
def cube():
    """Two dates of 20 x 23 pixels in blocks of 10, the last ones shorter; a hole, and a block without a value."""
    made = make_cube(20, 23, dates=2)
    made[0, :, :10, :10] = np.nan
    made[1, 2, 3:5, 11:13] = np.nan
    return made.chunk(time=1, y=10, x=10)


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_zarr(path)


def files_of(path, name="reflectance"):
    """Chunk files of a variable."""
    meta = {"zarr.json", ".zarray", ".zattrs"}
    return sorted(p for p in (path / name).rglob("*") if p.is_file() and p.name not in meta)


# --- round trips -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("container", ["DataArray", "Dataset"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"zarr_format": 3},
        {"dtype": "uint16"},
        {"dtype": "uint16", "zarr_format": 3},
        {"inner_chunks": 5},
        {"inner_chunks": 2, "dtype": "uint16"},
    ],
    ids=str,
)
def test_round_trip(cube, tmp_path, container, how):
    given = cube if container == "DataArray" else cube.to_dataset("band")
    report = xsr.to_zarr(given, tmp_path / "a.zarr", allow_clipping=True, progress=False, **how)
    opened = read(tmp_path / "a.zarr")
    found = opened["reflectance"] if container == "DataArray" else opened.to_dataarray("band").transpose(*cube.dims)
    wanted = cube.values
    assert found.dtype == (np.float64 if "dtype" in how else np.float32)
    assert np.array_equal(np.isnan(found.values), np.isnan(wanted))
    if "dtype" in how:
        clipped = np.clip(wanted, REFLECTANCE.low, REFLECTANCE.high)
        assert np.nanmax(np.abs(found.values - clipped)) <= HALF
    else:
        assert np.array_equal(found.values, wanted, equal_nan=True)
        assert report.clipped == 0
    assert report.valid == np.isfinite(wanted).sum()
    assert report.blocks == 2 * 2 * 3 * (1 if container == "DataArray" else 4)
    assert report.path == str(tmp_path / "a.zarr")
    for name in ("time", "band", "x", "y"):
        assert np.array_equal(found[name].values, cube[name].values)


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_chunks_on_disk_are_the_blocks(cube, tmp_path, zarr_format):
    xsr.to_zarr(cube, tmp_path / "a.zarr", zarr_format=zarr_format, progress=False)
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["reflectance"]
    assert array.metadata.zarr_format == zarr_format
    assert array.chunks == (1, 4, 10, 10)
    assert read(tmp_path / "a.zarr")["reflectance"].chunks == ((1, 1), (4,), (10, 10), (10, 10, 3))


@pytest.mark.slow
def test_shards_hold_inner_chunks(cube, tmp_path):
    xsr.to_zarr(cube, tmp_path / "a.zarr", inner_chunks=5, progress=False)
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["reflectance"]
    assert array.shards == (1, 4, 10, 10)
    assert array.chunks == (1, 1, 5, 5)
    # Three blocks of the second date's column and row, three of the first: the fourth holds no value and no file.
    assert len(files_of(tmp_path / "a.zarr")) == 2 * 2 * 3 - 1


@pytest.mark.parametrize("inner", [0, -5, 1.5, "5", True])
def test_inner_chunks_that_are_no_number_of_pixels(cube, tmp_path, inner):
    with pytest.raises(ParameterError, match=r"inner_chunks=.*expected a number of pixels >= 1"):
        xsr.to_zarr(cube, tmp_path / "a.zarr", inner_chunks=inner, progress=False)


@pytest.mark.parametrize("path", [None, 5])
def test_a_path_that_is_none(cube, tmp_path, monkeypatch, path):
    """No folder is called None."""
    monkeypatch.chdir(tmp_path)
    for call in (lambda: xsr.to_zarr(cube, path, progress=False), lambda: xsr.verify(path)):
        with pytest.raises(ParameterError, match=f"path={path}; expected the folder or the URL"):
            call()
    assert not list(tmp_path.iterdir())


def test_a_cube_that_is_none(tmp_path):
    with pytest.raises(CubeError, match="got ndarray; expected an xarray DataArray or Dataset"):
        xsr.to_zarr(np.zeros((3, 4)), tmp_path / "a.zarr", progress=False)


@pytest.mark.slow
def test_one_block_may_be_padded_to_whole_inner_chunks(tmp_path):
    cube = make_cube(13, 11)
    xsr.to_zarr(cube, tmp_path / "a.zarr", inner_chunks=4, progress=False)
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["reflectance"]
    assert (array.shards, array.chunks) == ((1, 4, 16, 12), (1, 1, 4, 4))
    assert np.array_equal(read(tmp_path / "a.zarr")["reflectance"].values, cube.values)


def geographic():
    grid = GeoBox((16, 12), Affine(1e-4, 0, 5, 0, -1e-4, 50), "EPSG:4326")
    values = np.random.default_rng(0).random((2, 16, 12)).astype(np.float32)
    coords = {"band": ["B02", "B03"], **xr_coords(grid)}
    return xr.DataArray(values, dims=("band", "latitude", "longitude"), coords=coords)


def test_inner_chunks_follow_the_spatial_dimensions_whatever_their_names(tmp_path):
    cube = geographic()
    xsr.to_zarr(cube.chunk(latitude=8, longitude=8), tmp_path / "a.zarr", inner_chunks=4, progress=False)
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["reflectance"]
    assert (array.shards, array.chunks) == ((2, 8, 8), (1, 4, 4))
    assert np.array_equal(read(tmp_path / "a.zarr")["reflectance"].values, cube.values)
    assert_same_grid(read(tmp_path / "a.zarr"), cube)


def test_cube_in_memory_is_cut_into_blocks(tmp_path):
    cube = make_cube(30, 20, dates=2)
    report = xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    assert np.array_equal(read(tmp_path / "a.zarr")["reflectance"].values, cube.values)
    assert report.blocks == 1


@pytest.mark.slow
def test_name_and_attributes(cube, tmp_path):
    xsr.to_zarr(cube.rename("toa").assign_attrs(xsr_model="tiny"), tmp_path / "a.zarr", progress=False)
    opened = read(tmp_path / "a.zarr")
    assert list(opened.data_vars) == ["toa"]
    assert opened.attrs["xsr_model"] == opened["toa"].attrs["xsr_model"] == "tiny"
    xsr.to_zarr(cube.rename(None), tmp_path / "b.zarr", progress=False)
    assert list(read(tmp_path / "b.zarr").data_vars) == ["reflectance"]


@pytest.mark.slow
def test_lazy_coordinates_and_variables_are_written_too(cube, tmp_path):
    """Stores open with Dask behind every coordinate that is not an index."""
    lazy = da.from_array(np.array([0.25, 0.75]), chunks=1)
    dataset = cube.assign_coords(cover=("time", lazy)).to_dataset("band").assign(sun=("time", lazy * 2))
    xsr.to_zarr(dataset, tmp_path / "a.zarr", progress=False)
    opened = read(tmp_path / "a.zarr")
    assert opened["cover"].values.tolist() == [0.25, 0.75]
    assert opened["sun"].values.tolist() == [0.5, 1.5]
    xsr.to_zarr(opened, tmp_path / "b.zarr", progress=False)
    again = read(tmp_path / "b.zarr")
    assert again["cover"].values.tolist() == [0.25, 0.75]
    assert np.array_equal(again["B03"].values, cube.sel(band="B03").values, equal_nan=True)


def test_text_coordinates_survive(cube, tmp_path):
    labelled = cube.assign_coords(tile=("time", ["31UES", "31UDS"]), level="L2A")
    xsr.to_zarr(labelled, tmp_path / "a.zarr", progress=False)
    opened = read(tmp_path / "a.zarr")
    assert opened["tile"].values.tolist() == ["31UES", "31UDS"]
    assert opened["level"].item() == "L2A"
    assert opened["band"].values.tolist() == list(BANDS)


def test_writing_computes_each_block_once(tmp_path):
    cube = make_cube(20, 20, chunks=10)
    seen = []

    def count(block):
        if block.size:
            seen.append(block.shape)
        return block

    counted = cube.copy(data=cube.data.map_blocks(count, dtype=np.float32, meta=np.empty((0,) * 4, np.float32)))
    with assert_lazy(counted):
        pass
    xsr.to_zarr(counted, tmp_path / "a.zarr", progress=False)
    assert seen == [(1, 4, 10, 10)] * 4


# --- packing -----------------------------------------------------------------------------------------------


def lines(dtype="float32", **attrs):
    """One date of 20 x 20 pixels, 270 to 310, in two blocks."""
    values = np.linspace(270, 310, 400, dtype=dtype).reshape(1, 1, 20, 20)
    made = make_cube(20, 20).isel(band=[0]).copy(data=values)
    return made.chunk(y=10).rename("lst").assign_attrs(attrs)


def test_a_cube_that_is_no_reflectance_is_not_packed(tmp_path):
    with pytest.raises(CubeError, match=r"200 of 200 pixels of a block of 'lst' .* -0.0999 to 6.4535, .* go from 2"):
        lines().sr.to_zarr(tmp_path / "a.zarr", dtype="uint16", progress=False)
    assert not xr.open_zarr(tmp_path / "a.zarr", consolidated=False).attrs["xsr"]["complete"]


def test_a_refused_block_is_packed_when_clipping_is_allowed(tmp_path):
    """The setting may change between two runs of one store: other blocks are the same with it and without."""
    cube = lines().copy(data=da.concatenate([da.full((1, 1, 10, 20), 0.2), da.full((1, 1, 10, 20), 9.0)], 2))
    cube = cube.astype(np.float32)
    how = {"dtype": "uint16", "progress": False}
    first = cube.sr.to_zarr(tmp_path / "a.zarr", errors="quarantine", **how)
    assert [str(bad.index) for bad in first.quarantined] == ["(0, 0, 1, 0)"]
    again = cube.sr.to_zarr(tmp_path / "a.zarr", resume=True, allow_clipping=True, **how)
    assert (again.computed, again.valid, again.clipped, again.quarantined) == (1, 400, 200, ())
    assert xsr.verify(tmp_path / "a.zarr").ok


@pytest.mark.parametrize("units", ["K", "degC"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_temperatures_are_packed_to_a_hundredth_of_a_kelvin(tmp_path, units, zarr_format):
    cube = lines(units=units) - (273.15 if units == "degC" else 0)
    cube = cube.assign_attrs(units=units).astype(np.float32)
    report = cube.sr.to_zarr(tmp_path / "a.zarr", dtype="uint16", zarr_format=zarr_format, progress=False)
    assert (report.valid, report.clipped) == (400, 0)
    found = read(tmp_path / "a.zarr")["lst"]
    np.testing.assert_allclose(found, cube, rtol=0, atol=0.00252)
    assert found.attrs["units"] == units
    assert found.encoding["dtype"] == np.uint16
    assert xsr.verify(tmp_path / "a.zarr", repair=cube, progress=False).ok


def test_units_decide_the_packing_of_each_variable(tmp_path):
    dataset = (lines() / 1000).to_dataset(name="B04").assign(lst=lines(units="K"), dem=lines(units="m"))
    with pytest.raises(CubeError, match=r"'dem' is in 'm', for which there is no packing"):
        dataset.sr.to_zarr(tmp_path / "a.zarr", dtype="uint16", progress=False)
    assert not list(tmp_path.iterdir())
    two = dataset.drop_vars("dem")
    two.sr.to_zarr(tmp_path / "a.zarr", dtype="uint16", progress=False)
    np.testing.assert_allclose(read(tmp_path / "a.zarr")["lst"], two["lst"], rtol=0, atol=0.00252)
    np.testing.assert_allclose(read(tmp_path / "a.zarr")["B04"], two["B04"], rtol=0, atol=HALF)


def test_other_units_are_another_store(tmp_path):
    """They leave the graph of the cube as it is, but not the stored numbers."""
    cube = lines(units="K")
    cube.sr.to_zarr(tmp_path / "a.zarr", dtype="uint16", progress=False)
    with pytest.raises(StoreError, match=r"encoding.lst was 'uint16 of kelvin' and is 'uint16 of degrees Celsius'"):
        cube.assign_attrs(units="degC").sr.to_zarr(
            tmp_path / "a.zarr", dtype="uint16", allow_clipping=True, resume=True, progress=False
        )


@pytest.mark.slow
def test_every_variable_keeps_its_type_unless_one_is_given(tmp_path):
    """Seconds of an epoch in float32 are a minute off; so are longitudes of each pixel by a metre."""
    seconds = lines("float64") * 0 + 1700000000.123
    beside = lines("float64").isel(time=0, band=0, drop=True)
    classes = lines().astype(np.int16).drop_attrs()
    dataset = (lines() / 1000).to_dataset(name="B04").assign(acquired=seconds, classes=classes)
    dataset = dataset.assign_coords(longitude=beside + 0.123456789012, sun=("time", [45.678]))
    dataset["sun"].encoding = {"dtype": "int16"}  # of a file in which it was packed
    xsr.to_zarr(dataset, tmp_path / "a.zarr", progress=False)
    found = read(tmp_path / "a.zarr")
    for name in ("B04", "acquired", "classes", "longitude", "sun"):
        assert found[name].dtype == dataset[name].dtype
        np.testing.assert_array_equal(found[name], dataset[name])
    xsr.to_zarr(dataset, tmp_path / "b.zarr", dtype="float32", progress=False)
    found = read(tmp_path / "b.zarr")
    assert {name: found[name].dtype for name in found.data_vars} == {
        "B04": np.float32,
        "acquired": np.float32,
        "classes": np.int16,
    }
    np.testing.assert_array_equal(found["longitude"], dataset["longitude"])


@pytest.mark.parametrize("how", [{}, {"dtype": "uint16"}], ids=str)
def test_infinities_are_stored_as_no_data_and_said(cube, tmp_path, how):
    cube = abs(cube).compute()
    cube.values[1, 0, 0, :3] = [np.inf, -np.inf, 1e30]
    with pytest.raises(XsrWarning, match=r"2 pixels are infinite and were stored as no data"):
        xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False, **how)
    assert xsr.verify(tmp_path / "a.zarr").ok
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XsrWarning)
        report = xsr.to_zarr(cube, tmp_path / "a.zarr", resume=True, progress=False, **how)
    assert (report.valid, report.clipped) == (np.isfinite(cube.values).sum(), len(how))
    assert (report.infinite, report.computed) == (2, 0)
    found = read(tmp_path / "a.zarr")["reflectance"].values[1, 0, 0, :3]
    np.testing.assert_allclose(found, [np.nan, np.nan, REFLECTANCE.high if how else 1e30], rtol=1e-6)


def test_clipped_values_are_counted_and_stay_at_the_limits(cube, tmp_path):
    cube = cube.compute()
    cube[1, 0, 0, :2] = [-0.2, 7.0]
    cube = cube.clip(-0.2, 7.0)
    low = int((cube < REFLECTANCE.low - REFLECTANCE.scale / 2).sum())
    report = xsr.to_zarr(cube.chunk(y=10), tmp_path / "a.zarr", dtype="uint16", allow_clipping=True, progress=False)
    found = read(tmp_path / "a.zarr")["reflectance"].values
    assert found[1, 0, 0, :2] == pytest.approx((REFLECTANCE.low, REFLECTANCE.high), abs=1e-6)
    assert report.clipped == low + 1
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group.attrs["xsr"]["clipped"] == report.clipped
    assert ledger_of(tmp_path / "a.zarr")["clipped"].sum() == report.clipped


# --- what is no image --------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_dates_and_durations_of_each_pixel_make_the_round_trip(tmp_path, zarr_format):
    date = np.full((1, 20, 20), np.datetime64("2024-06-01T10:30:00.123456789", "ns"))
    date[0, 0, 0] = np.datetime64("NaT")
    dataset = (lines() / 1000).isel(band=0, drop=True).to_dataset(name="B04")
    dataset["acquired"] = (("time", "y", "x"), date, {"long_name": "time of the pixel"})
    dataset["age"] = (("time", "y", "x"), date - date[0, 1, 1])
    dataset = dataset.assign_coords(lazy=(("y", "x"), da.from_array(date[0].astype("datetime64[s]"), chunks=10)))
    xsr.to_zarr(dataset, tmp_path / "a.zarr", zarr_format=zarr_format, progress=False)
    found = xr.open_zarr(tmp_path / "a.zarr", decode_timedelta=True)
    for name in ("acquired", "age", "lazy"):
        np.testing.assert_array_equal(found[name].values, dataset[name].values)
    assert found["acquired"].attrs["long_name"] == "time of the pixel"
    assert xsr.verify(tmp_path / "a.zarr").ok


def test_text_of_each_pixel_is_refused(cube, tmp_path):
    dataset = cube.to_dataset("band").assign(label=(("y", "x"), np.full((20, 23), "a")))
    with pytest.raises(CubeError, match=r"'label' over \('y', 'x'\) is of type <U1; expected numbers"):
        xsr.to_zarr(dataset, tmp_path / "a.zarr", progress=False)
    assert not list(tmp_path.iterdir())


def test_times_of_a_zone_are_stored_in_utc(cube, tmp_path):
    zoned = pd.date_range("2024-06-01T12:00", periods=2, tz="Europe/Paris")
    xsr.to_zarr(cube.assign_coords(time=zoned), tmp_path / "a.zarr", progress=False)
    expected = np.array(["2024-06-01T10", "2024-06-02T10"], "datetime64[ns]")
    np.testing.assert_array_equal(read(tmp_path / "a.zarr")["time"], expected)


# --- refusals ----------------------------------------------------------------------------------------------


def test_repeated_coordinates_are_refused_with_their_number(cube, tmp_path):
    with pytest.raises(StoreError, match=r"coordinate 'x' repeats .* at index 0; expected unique pixel centres"):
        xsr.to_zarr(cube.isel(x=[0, 0, 1, 2]), tmp_path / "a.zarr", progress=False)


def test_existing_store_is_refused_and_left_alone(cube, tmp_path):
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    before = {p: p.read_bytes() for p in (tmp_path / "a.zarr").rglob("*") if p.is_file()}
    with pytest.raises(StoreError, match=r"a\.zarr exists; expected a new store.*overwrite=True"):
        xsr.to_zarr(cube + 1, tmp_path / "a.zarr", progress=False)
    assert {p: p.read_bytes() for p in (tmp_path / "a.zarr").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("name", ["fine.tif", "fine.TIFF", "fine.nc", "fine.zarr.zip"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_name_of_a_file_is_refused_for_a_folder(cube, tmp_path, name, overwrite):
    with pytest.raises(StoreError, match=rf"^{name} has the suffix of a file.* such as fine\.zarr\. .*to_cog"):
        xsr.to_zarr(cube, tmp_path / name, progress=False, overwrite=overwrite)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", "folder"])
def test_what_is_no_store_is_left_alone_and_no_way_out_is_named_that_would_be_refused(cube, tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("kept")
    (tmp_path / "notes.txt").write_text("kept")
    with pytest.raises(StoreError, match=rf"{name} exists; expected a new store\. Choose another path\.$"):
        xsr.to_zarr(cube, tmp_path / name, progress=False)
    for how, message in (({"overwrite": True}, "is not a Zarr group"), ({"resume": True}, "holds no ledger")):
        with pytest.raises(StoreError, match=message):
            xsr.to_zarr(cube, tmp_path / name, progress=False, **how)
    assert {path.read_text() for path in tmp_path.rglob("*.txt")} == {"kept"}


@pytest.mark.slow
def test_a_store_may_be_overwritten_by_what_is_read_from_it(cube, tmp_path):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube, path, progress=False)
    opened = xr.open_zarr(path)["reflectance"]
    expected = opened.values + 1
    xsr.to_zarr(opened + 1, path, progress=False, overwrite=True)
    np.testing.assert_array_equal(xr.open_zarr(path)["reflectance"].values, expected)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.slow
def test_a_failed_overwrite_leaves_the_old_store(cube, tmp_path):
    path = tmp_path / "a.zarr"
    xsr.to_zarr(cube, path, progress=False)
    before = xr.open_zarr(path)["reflectance"].values
    broken = cube.copy(data=da.map_blocks(_fail, cube.chunk().data, dtype=np.float32, meta=np.empty((0,) * cube.ndim)))
    with pytest.raises(RuntimeError, match="no block"):
        xsr.to_zarr(broken, path, progress=False, overwrite=True)
    np.testing.assert_array_equal(xr.open_zarr(path)["reflectance"].values, before)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.zarr", "a.zarr.incoming"]  # to be resumed
    xsr.to_zarr(cube + 1, path, progress=False, overwrite=True)
    np.testing.assert_array_equal(xr.open_zarr(path)["reflectance"].values, before + 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def _fail(block):
    raise RuntimeError("no block")


@pytest.mark.slow
def test_overwrite_replaces_everything(cube, tmp_path):
    xsr.to_zarr(cube.rename("old"), tmp_path / "a.zarr", progress=False, zarr_format=2)
    xsr.to_zarr(cube + 1, tmp_path / "a.zarr", progress=False, overwrite=True, zarr_format=3)
    opened = read(tmp_path / "a.zarr")
    assert list(opened.data_vars) == ["reflectance"]
    assert np.array_equal(opened["reflectance"].values, (cube + 1).values, equal_nan=True)
    assert not (tmp_path / "a.zarr" / ".zgroup").exists()


def test_what_is_no_store_is_never_overwritten(cube, tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.txt").write_text("years of work")
    with pytest.raises(StoreError, match="is not a Zarr group; it is not overwritten"):
        xsr.to_zarr(cube, folder, overwrite=True, progress=False)
    with pytest.raises(StoreError, match="is not a Zarr group; it is not overwritten"):
        xsr.to_zarr(cube, folder / "chapter.txt", overwrite=True, progress=False)
    assert (folder / "chapter.txt").read_text() == "years of work"


def test_empty_folder_is_used(cube, tmp_path):
    xsr.to_zarr(cube, tmp_path, progress=False)
    assert "reflectance" in read(tmp_path)


@pytest.mark.parametrize("sizes", [(5, 10, 5), (7, 13), (4, 10, 6)])
def test_irregular_chunks_are_refused(cube, tmp_path, sizes):
    with pytest.raises(StoreError, match=r"'reflectance' has chunks .* along 'y'; expected equal.*Rechunk"):
        xsr.to_zarr(cube.chunk(y=sizes), tmp_path / "a.zarr", progress=False)
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("inner", [3, 20])
def test_inner_chunks_that_do_not_divide_are_refused(cube, tmp_path, inner):
    with pytest.raises(StoreError, match=f"inner_chunks={inner}"):
        xsr.to_zarr(cube, tmp_path / "a.zarr", inner_chunks=inner, progress=False)


@pytest.mark.slow
def test_bad_chunks_do_not_cost_the_existing_store(cube, tmp_path):
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    with pytest.raises(StoreError, match="expected equal chunks"):
        xsr.to_zarr(cube.chunk(y=(7, 13)), tmp_path / "a.zarr", overwrite=True, progress=False)
    assert read(tmp_path / "a.zarr")["reflectance"].shape == cube.shape


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"dtype": "int8"}, "dtype='int8'"),
        ({"zarr_format": 1}, "zarr_format=1"),
        ({"zarr_format": 2, "inner_chunks": 5}, "format 2 has no shards"),
    ],
)
def test_wrong_arguments(cube, tmp_path, how, told):
    with pytest.raises(ParameterError, match=told):
        xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False, **how)


def test_cube_without_grid(cube, tmp_path):
    nowhere = xr.DataArray(cube.values, dims=cube.dims)
    for bare in (nowhere, cube.isel(y=0)):
        with pytest.raises(StoreError, match="no grid or CRS"):
            xsr.to_zarr(bare, tmp_path / "a.zarr", progress=False)


# --- georeferencing ----------------------------------------------------------------------------------------


def test_crop_is_written_where_it_lies(tmp_path):
    """xarray keeps the GeoTransform of the whole when it crops, and rioxarray believes it."""
    cube = make_cube(10, 9).isel(y=slice(2, None), x=slice(3, None))
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    opened = xr.open_zarr(tmp_path / "a.zarr", decode_coords="all")["reflectance"]
    assert tuple(opened.rio.transform())[:6] == (10, 0, 600_030, 0, -10, 5_699_980)
    assert_same_grid(opened, cube)


def test_crs_may_come_from_the_coordinates_alone(tmp_path):
    cube = make_cube(8, 9).drop_vars("spatial_ref")  # odc-geo leaves the CRS with x and y
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    opened = xr.open_zarr(tmp_path / "a.zarr", decode_coords="all")["reflectance"]
    assert opened.rio.crs.to_epsg() == 32631
    assert_same_grid(opened, cube)


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("container", ["DataArray", "Dataset"])
def test_grid_survives(tmp_path, zarr_format, container):
    cube = make_cube(10, 9, chunks=5)
    fine = xsr.interpolate(cube if container == "DataArray" else cube.to_dataset("band"), scale=3.4)
    xsr.to_zarr(fine, tmp_path / "a.zarr", zarr_format=zarr_format, progress=False)
    opened = xr.open_zarr(tmp_path / "a.zarr", decode_coords="all")
    assert_same_grid(opened, fine)
    grid = fine.odc.geobox
    for name in opened.data_vars:
        variable = opened[name]
        assert variable.odc.geobox.crs == grid.crs
        assert variable.rio.crs.to_epsg() == 32631
        assert tuple(variable.rio.transform())[:6] == pytest.approx(tuple(grid.affine)[:6], rel=1e-9)
        raw = zarr.open_group(tmp_path / "a.zarr", mode="r")[name].attrs
        assert raw["grid_mapping"] == "spatial_ref"
        assert raw["coordinates"].split().count("spatial_ref") == 1
        assert "EPSG/0/32631" in raw["_CRS"]["url"]
        assert raw["_CRS"]["wkt"].startswith("PROJCRS")


@pytest.mark.skipif(
    tuple(map(int, rasterio.__gdal_version__.split(".")[:2])) < (3, 10), reason="GDAL did not read the transform then"
)
def test_rasterio_reads_format_2(tmp_path):
    """GDAL before 3.12 reads the third format not at all, the second with the CRS in the attribute `_CRS`."""
    fine = xsr.interpolate(make_cube(10, 9, chunks=5), scale=3.4)
    xsr.to_zarr(fine, tmp_path / "a.zarr", zarr_format=2, progress=False)
    with rasterio.open(f'ZARR:"{tmp_path / "a.zarr"}":/reflectance') as source:
        assert source.crs.to_epsg() == 32631
        grid = fine.odc.geobox
        assert (source.height, source.width) == tuple(grid.shape)
        assert tuple(source.transform)[:6] == pytest.approx(tuple(grid.affine)[:6], rel=1e-9)
        assert np.array_equal(source.read(), fine.values[0])


def test_geozarr_attributes(tmp_path):
    fine = xsr.interpolate(make_cube(10, 9, chunks=5), scale=2.0)
    xsr.to_zarr(fine, tmp_path / "a.zarr", progress=False)
    attrs = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs
    assert attrs["proj:code"] == "EPSG:32631"
    assert attrs["spatial:dimensions"] == ["y", "x"]
    assert attrs["spatial:transform"] == [5.0, 0.0, 600_000.0, 0.0, -5.0, 5_700_000.0]
    assert attrs["spatial:shape"] == [20, 18]
    assert attrs["spatial:bbox"] == [600_000.0, 5_699_900.0, 600_090.0, 5_700_000.0]
    assert attrs["spatial:registration"] == "pixel"
    assert [entry["name"] for entry in attrs["zarr_conventions"]] == ["proj", "spatial"]
    assert attrs["Conventions"] == "CF-1.11"


def test_crs_without_a_code(tmp_path):
    projection = "+proj=laea +lat_0=51 +lon_0=4 +datum=WGS84 +units=m"
    cube = make_cube(6, 6).drop_vars("spatial_ref").odc.assign_crs(projection)
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert "proj:code" not in group.attrs
    assert "Lambert Azimuthal" in group.attrs["proj:wkt2"]
    assert "url" not in group["reflectance"].attrs["_CRS"]
    assert_same_grid(xr.open_zarr(tmp_path / "a.zarr", decode_coords="all"), cube)


# --- checks and memory -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"inner_chunks": 5}, {"zarr_format": 3}], ids=str)
@pytest.mark.parametrize("where", [0.4, 0.7])
def test_a_flipped_byte_is_noticed(cube, tmp_path, how, where):
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False, **how)
    path = files_of(tmp_path / "a.zarr")[0]
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 0x10
    path.write_bytes(content)
    opened = read(tmp_path / "a.zarr")["reflectance"]
    with pytest.raises((ValueError, RuntimeError), match=r"(?i)checksum|decompress"):
        opened.load()


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"dtype": "uint16"}, {"inner_chunks": 5}], ids=str)
@pytest.mark.parametrize("source", [np.float32, np.float64])
def test_ledger_has_a_row_a_block(cube, tmp_path, how, source):
    dataset = cube.astype(source).to_dataset("band")[["B04", "B02"]]
    xsr.to_zarr(dataset, tmp_path / "a.zarr", allow_clipping=True, progress=False, **how)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    for name in ("B04", "B02"):
        row = iter(ledger_of(tmp_path / "a.zarr", name))
        stored, nothing = group[name][:], 0 if "dtype" in how else np.nan
        for t in range(2):
            for y in (0, 10):
                for x in (0, 10, 20):
                    block = stored[t : t + 1, y : y + 10, x : x + 10]
                    valid = block != 0 if nothing == 0 else ~np.isnan(block)
                    status, checksum, n_valid, _, _, _ = next(row).tolist()
                    assert (status, n_valid) == (DONE, valid.sum())
                    assert checksum == zlib.crc32(np.ascontiguousarray(block).tobytes())
        assert next(row, None) is None


@pytest.mark.skipif(
    Version(xr.__version__) < Version("2025.12"), reason="xarray left the fill value of the third format at zero then"
)
def test_block_without_a_value_is_done_without_a_file(cube, tmp_path):
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    assert n_done(tmp_path / "a.zarr") == 12
    assert np.flatnonzero(ledger_of(tmp_path / "a.zarr")["valid"] == 0).tolist() == [0]
    assert not (tmp_path / "a.zarr/reflectance/0.0.0.0").exists()
    assert np.isnan(read(tmp_path / "a.zarr")["reflectance"][0, :, :10, :10].values).all()


@pytest.mark.slow
def test_complete_is_set_last(cube, tmp_path, monkeypatch):
    states, real = [], BlockWriter.__call__

    def watching(self, block, index):
        row = real(self, block, index)
        state = self.place.open()
        states.append((state.attrs["xsr"]["complete"], read_header(self.place)[0].complete))
        return row

    monkeypatch.setattr(BlockWriter, "__call__", watching)
    with dask.config.set(scheduler="synchronous"):
        xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    assert states == [(False, False)] * 12
    state = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["xsr"]
    assert state["complete"] is True
    assert state["version"] == xsr.__version__
    assert len(state["fingerprint"]) == 64
    assert read(tmp_path / "a.zarr").attrs["xsr"] == state


@pytest.mark.slow
def test_fingerprint_tells_settings_apart(cube, tmp_path):
    def fingerprint(given, **how):
        xsr.to_zarr(given, tmp_path / "a.zarr", overwrite=True, progress=False, **how)
        return zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["xsr"]["fingerprint"]

    first = fingerprint(cube)
    assert first == fingerprint(cube)
    others = [
        fingerprint(cube * 2),
        fingerprint(cube.assign_coords(time=cube["time"] + np.timedelta64(1, "D"))),
        fingerprint(cube, dtype="uint16"),
        fingerprint(cube.assign_attrs(xsr_model="other")),
        fingerprint(cube.chunk(y=20)),
        fingerprint(cube.isel(x=slice(1, None)).chunk(x=10)),
    ]
    assert len({first, *others}) == 7
    assert read_header(Place(str(tmp_path / "a.zarr")))[0].fingerprint == others[-1]


class Broken(Exception):
    """What a block raises."""


def broken_cube(cube, at):
    def fail(block, block_info=None):
        if block_info[0]["chunk-location"] == at:
            raise Broken("block is broken")
        return block

    return cube.copy(data=cube.data.map_blocks(fail, dtype=np.float32, meta=np.empty((0,) * 4, np.float32)))


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_interrupted_store_is_not_complete(cube, tmp_path, scheduler):
    made = broken_cube(cube, (1, 0, 0, 1))
    with dask.config.set(scheduler=scheduler), pytest.raises(Broken, match="block is broken"):
        xsr.to_zarr(made, tmp_path / "a.zarr", progress=False)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r", use_consolidated=False)
    assert group.attrs["xsr"]["complete"] is False
    status = ledger_of(tmp_path / "a.zarr")["status"]
    assert status[7] == 0
    done = np.flatnonzero(status)
    assert done.size < 12
    if scheduler == "synchronous":
        assert done.size > 0
    for number in done:
        t, _, y, x = np.unravel_index(number, (2, 1, 2, 3))
        window = np.s_[t : t + 1, :, 10 * y : 10 * y + 10, 10 * x : 10 * x + 10]
        assert np.array_equal(group["reflectance"][window], cube.values[window], equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("inner", [None, 5])
def test_each_file_is_written_by_one_block(cube, tmp_path, monkeypatch, inner):
    cube = cube.fillna(0.5)
    touched, real = [], BlockWriter.__call__

    def state(path):
        return {p: p.stat().st_mtime_ns for p in files_of(path)}

    def watching(self, block, index):
        before = state(tmp_path / "a.zarr")
        row = real(self, block, index)
        after = state(tmp_path / "a.zarr")
        touched.append({p for p in after if before.get(p) != after[p]})
        return row

    monkeypatch.setattr(BlockWriter, "__call__", watching)
    with dask.config.set(scheduler="synchronous"):
        report = xsr.to_zarr(cube, tmp_path / "a.zarr", inner_chunks=inner, progress=False)
    assert [len(paths) for paths in touched] == [1] * 12
    assert set.union(*touched) == set(files_of(tmp_path / "a.zarr"))
    assert len(files_of(tmp_path / "a.zarr")) == report.blocks == 12


# --- progress and clusters ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_progress_is_silent_when_asked(cube, tmp_path, capfd):
    xsr.to_zarr(cube, tmp_path / "a.zarr", progress=False)
    assert capfd.readouterr() == ("", "")
    xsr.to_zarr(cube, tmp_path / "b.zarr")
    assert "12/12" in capfd.readouterr().out


def same_bytes(one, two):
    names = [p.relative_to(one) for p in sorted(one.rglob("*")) if p.is_file()]
    assert names == [p.relative_to(two) for p in sorted(two.rglob("*")) if p.is_file()]
    return [str(name) for name in names if (one / name).read_bytes() != (two / name).read_bytes()]


@pytest.mark.slow
def test_cluster_writes_the_same_bytes(cube, tmp_path, cluster, model, capfd, one_thread):
    fine = xsr.liif(cube, scale=2.0, model=str(model), chunks=20)
    for how in ({}, {"inner_chunks": 10, "dtype": "uint16", "allow_clipping": True}):
        here = xsr.to_zarr(fine, tmp_path / "here.zarr", overwrite=True, progress=False, **how)
        with cluster.as_current():
            there = xsr.to_zarr(fine, tmp_path / "there.zarr", overwrite=True, progress=False, **how)
        assert same_bytes(tmp_path / "here.zarr", tmp_path / "there.zarr") == []
        assert (here.blocks, here.valid, here.clipped) == (there.blocks, there.valid, there.clipped)
    with cluster.as_current():
        xsr.to_zarr(fine, tmp_path / "loud.zarr")
    assert "12/12" in capfd.readouterr().out


@pytest.mark.slow
def test_error_on_a_cluster_surfaces(cube, tmp_path, cluster, model):
    fine = xsr.liif(cube, scale=2.0, model=str(model), chunks=20, device="cuda:99")
    with cluster.as_current(), pytest.raises(ParameterError, match="device='cuda:99'"):
        xsr.to_zarr(fine, tmp_path / "a.zarr", progress=False)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r", use_consolidated=False)
    assert group.attrs["xsr"]["complete"] is False
    assert n_done(tmp_path / "a.zarr") < 12


@pytest.mark.slow
def test_format_2_becomes_3_and_back(cube, tmp_path):
    xsr.to_zarr(cube, tmp_path / "two.zarr", progress=False, zarr_format=2)
    two = xr.open_zarr(tmp_path / "two.zarr")["reflectance"]
    xsr.to_zarr(two, tmp_path / "three.zarr", progress=False)
    three = xr.open_zarr(tmp_path / "three.zarr")["reflectance"]
    xsr.to_zarr(three, tmp_path / "again.zarr", progress=False, zarr_format=2)
    again = xr.open_zarr(tmp_path / "again.zarr")["reflectance"]
    np.testing.assert_array_equal(again.values, cube.values)
    assert list(again["time"].values) == list(cube["time"].values)


@pytest.mark.slow
def test_classes_keep_their_type(cube, tmp_path):
    classes = cube.isel(band=0, drop=True).fillna(0).astype(np.int32) + 16_777_217
    both = cube.to_dataset(dim="band").assign(scl=classes)
    for dtype in ("float32", "uint16"):
        xsr.to_zarr(both, tmp_path / f"{dtype}.zarr", progress=False, dtype=dtype, allow_clipping=True)
        stored = xr.open_zarr(tmp_path / f"{dtype}.zarr")["scl"]
        assert stored.dtype == np.int32
        np.testing.assert_array_equal(stored.values, classes.values)


def test_uneven_dates_are_written_one_by_one(tmp_path):
    dates = make_cube(8, 8, dates=3).chunk(time=(1, 2))
    report = xsr.to_zarr(dates, tmp_path / "a.zarr", progress=False)
    assert report.blocks == 3


@pytest.mark.slow
def test_lazy_layers_over_the_pixels_are_written_block_by_block(tmp_path):
    cube = make_cube(40, 36, dates=2).chunk(time=1, y=20, x=18)
    asked = []

    def classes(block_info=None):
        asked.append(block_info[None]["array-location"])
        return np.full(block_info[None]["chunk-shape"], 4, np.uint8)

    lazy = da.map_blocks(
        classes, chunks=((1, 1), (20, 20), (18, 18)), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    layered = cube.assign_coords(scl=(("time", "y", "x"), lazy))
    template_of(prepare(layered)).write(resolve_place(tmp_path / "begun.zarr", None))
    assert not asked
    report = layered.sr.to_zarr(tmp_path / "out.zarr", progress=False)
    assert len(asked) == 8
    assert report.blocks == 16
    assert report.valid == int(np.isfinite(cube).sum())
    stored = xr.open_zarr(tmp_path / "out.zarr")
    assert stored["scl"].dtype == np.uint8
    assert (stored.coords["scl"] == 4).all()
    assert xsr.verify(tmp_path / "out.zarr").ok


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["u1", "M8[s]"])
def test_coordinates_that_xarray_has_not_read_yet_are_written_block_by_block(cube, tmp_path, dtype):
    """They are lazy without Dask, and would be loaded whole beside the blocks."""
    shape = (cube.sizes["time"], cube.sizes["y"], cube.sizes["x"])
    layer = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    xr.Dataset({"layer": (("time", "y", "x"), layer)}).to_zarr(tmp_path / "layer.zarr", consolidated=False)
    with xr.open_dataset(tmp_path / "layer.zarr", engine="zarr", consolidated=False, chunks=None) as opened:
        report = xsr.to_zarr(cube.assign_coords(layer=opened["layer"]), tmp_path / "out.zarr", progress=False)
    image = int(np.prod(cube.data.numblocks))
    assert report.blocks == image + cube.sizes["time"]
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "out.zarr")["layer"].values, layer)
