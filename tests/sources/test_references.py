"""References of kerchunk and VirtualiZarr: pieces of files as a cube, and no file that they may not name."""

import json
from functools import partial

import dask
import fsspec
import numpy as np
import pytest
import xarray as xr
from helpers import make_cube
from kerchunk.hdf import SingleHdf5ToZarr
from kerchunk.tiff import tiff_to_zarr

import xsr
from xsr.core.errors import CubeError, XsrError

QUIET = {"progress": False}


@pytest.fixture
def cube():
    return make_cube((2, 3, 24, 20), times=["2024-06-05", "2024-06-15"])


@pytest.fixture
def refs(cube, tmp_path):
    """References of kerchunk to a NetCDF file in their folder, by its name."""
    data = cube.to_dataset(name="reflectance")
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"reflectance": {"chunksizes": (1, 3, 12, 10)}})
    document = SingleHdf5ToZarr(str(tmp_path / "a.nc"), inline_threshold=0).translate()
    for value in document["refs"].values():
        if isinstance(value, list):
            value[0] = "a.nc"
    return written(tmp_path / "refs.json", document)


def written(path, document):
    path.write_text(json.dumps(document))
    return path


def changed(path, address):
    """References whose pieces lie at another address."""
    document = json.loads(path.read_text())
    for value in document["refs"].values():
        if isinstance(value, list):
            value[0] = address
    return written(path, document)


def test_references_are_opened_lazily_as_the_file_is(refs, cube):
    found = xsr.open(refs)
    assert found.chunks == ((1, 1), (3,), (12, 12), (10, 10))
    np.testing.assert_array_equal(found, cube)
    np.testing.assert_array_equal(found["band"], cube["band"])
    assert found.odc.geobox == cube.odc.geobox
    assert list(xsr.open(refs, bands=["B03"])["band"].values) == ["B03"]


VERBS = {
    "interpolate": partial(xsr.interpolate, scale=2),
    "liif": partial(xsr.liif, scale=2),
    "degrade": partial(xsr.degrade, scale=2, mtf=0.3),
}


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_give_what_they_give_of_the_cube(refs, cube, verb):
    found = VERBS[verb](xsr.open(refs))
    assert found.chunks
    np.testing.assert_array_equal(found, VERBS[verb](cube.chunk(time=1, y=12, x=10)))


def test_a_cube_that_xarray_opened_from_references_goes_through(refs, cube):
    opened = xr.open_dataset(str(changed(refs, str(refs.parent / "a.nc"))), engine="kerchunk", chunks={})
    found = opened["reflectance"].sr.interpolate(scale=2)
    np.testing.assert_array_equal(found, cube.chunk(time=1, y=12, x=10).sr.interpolate(scale=2))


def test_the_pixels_of_a_geotiff_by_references(tmp_path, cube):
    """Those of kerchunk say nothing of its grid."""
    cube.isel(time=0, drop=True).sr.to_cog(tmp_path / "a.tif", compress="none", blocksize=16, **QUIET)
    pieces = tiff_to_zarr(str(tmp_path / "a.tif"))
    document = {key: value.decode() if isinstance(value, bytes) else value for key, value in pieces.items()}
    found = xsr.open(written(tmp_path / "refs.json", document))
    np.testing.assert_array_equal(found["0"].transpose("S", "Y", "X"), cube[0])


def test_references_of_virtualizarr(tmp_path, cube):
    virtualizarr = pytest.importorskip("virtualizarr")
    import obstore
    from obspec_utils.registry import ObjectStoreRegistry

    data = cube.to_dataset("band").drop_vars("spatial_ref")
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    registry = ObjectStoreRegistry({"file://": obstore.store.LocalStore()})
    parser = virtualizarr.parsers.HDFParser()
    with virtualizarr.open_virtual_dataset(f"file://{tmp_path / 'a.nc'}", registry=registry, parser=parser) as virtual:
        virtual.vz.to_kerchunk(str(tmp_path / "refs.json"), format="json")
    found = xsr.open(tmp_path / "refs.json", crs="EPSG:32633")
    np.testing.assert_array_equal(found["B02"], cube.sel(band="B02"))


@pytest.mark.slow
def test_references_are_read_by_workers_and_resumed(refs, cube, tmp_path):
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0"):
        report = xsr.open(refs).sr.interpolate(scale=2, chunks=24).sr.to_zarr(tmp_path / "a.zarr", **QUIET)
    with dask.config.set(scheduler="synchronous"):
        again = xsr.open(refs).sr.interpolate(scale=2, chunks=24).sr.to_zarr(tmp_path / "a.zarr", resume=True, **QUIET)
    assert (report.computed, again.computed) == (8, 0)
    np.testing.assert_array_equal(xsr.open(tmp_path / "a.zarr"), cube.chunk(time=1).sr.interpolate(scale=2))


def test_references_at_a_url_name_what_lies_beside_them(refs, cube):
    files = fsspec.filesystem("memory")
    for name in ("a.nc", "refs.json"):
        files.pipe_file(f"/folder/{name}", (refs.parent / name).read_bytes())
    found = xsr.open("memory://folder/refs.json", trust=True)
    np.testing.assert_array_equal(found, cube)


# --- what they may name ------------------------------------------------------------------------------------

REFUSED = {
    "/etc/passwd": "lies outside the folder of the references",
    "../a.nc": "lies outside the folder of the references",
    "file:///etc/passwd": "lies outside the folder of the references",
    "http://127.0.0.1/a.nc": "which is this machine",
    "http://169.254.169.254/latest": "no host of files",
    "memory://a.nc": "has the scheme memory://",
}


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_lead_inward_are_refused(refs, address):
    with pytest.raises(CubeError, match=rf"{REFUSED[address]}; expected files that it may name\. Pass trust=True"):
        xsr.open(changed(refs, address))


def test_a_link_out_of_the_folder_is_no_way_out(refs, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "b.nc"
    (refs.parent / "a.nc").rename(outside)
    (refs.parent / "a.nc").symlink_to(outside)
    with pytest.raises(CubeError, match="lies outside the folder"):
        xsr.open(refs)
    assert xsr.open(refs, trust=True).sizes["band"] == 3


def test_files_elsewhere_are_read_on_trust(refs, cube, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "b.nc"
    (refs.parent / "a.nc").rename(outside)
    np.testing.assert_array_equal(xsr.open(changed(refs, str(outside)), trust=True), cube)


def test_expressions_and_mixed_schemes_are_refused(refs):
    document = json.loads(refs.read_text())
    with pytest.raises(CubeError, match="generates references by expressions"):
        xsr.open(written(refs, {**document, "gen": [{"key": "a", "url": "{{ i }}", "dimensions": {"i": [0]}}]}))
    document["refs"]["reflectance/0.0.0.0"][0] = "https://example.com/a.nc"
    with pytest.raises(CubeError, match="by file:// and https://; expected one scheme"):
        xsr.open(written(refs, document))


def test_templates_are_words_and_nothing_else(refs, cube):
    document = json.loads(refs.read_text())
    for value in document["refs"].values():
        if isinstance(value, list):
            value[0] = "{{u}}.nc"
    np.testing.assert_array_equal(xsr.open(written(refs, {**document, "templates": {"u": "a"}})), cube)
    with pytest.raises(XsrError, match="lies outside the folder"):
        xsr.open(written(refs, {**document, "templates": {"u": "/etc/a"}}))
