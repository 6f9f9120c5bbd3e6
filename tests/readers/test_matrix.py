"""What is written opens everywhere: grid, bands, no data and values, in every reader that this machine has."""

import shutil
import warnings

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from packaging.version import Version

from benchmarks import readers
from xsr.core.store.halving import halved
from xsr.core.store.readers import readers_of

LATER = ("format 3", "shards")
"""Forms that GDAL reads from 3.13 on."""


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    return {target.form: target for target in readers.write(tmp_path_factory.mktemp("forms"))}


@pytest.fixture(scope="module")
def cube():
    return readers.image().compute()


def of_gdal(reader):
    """Version of the GDAL that a reader is, if it is one."""
    if "wheel" in reader.name:
        return Version(rasterio.__gdal_version__)
    return Version(reader.version()) if "system" in reader.name else None


PAIRS = [(reader, form) for reader in readers.READERS for form in (*readers.FORMS, *readers.COGS)]


@pytest.mark.parametrize(
    ("reader", "form"),
    [pytest.param(*pair, id=f"{pair[0].name}-{pair[1]}") for pair in PAIRS if pair[1] not in pair[0].leaves],
)
def test_a_reader_reads_what_was_written(targets, cube, reader, form):
    if "system" in reader.name and shutil.which("gdal_translate") is None:
        pytest.skip("no gdal_translate here: apt-get install gdal-bin")
    if "rio-tiler" in reader.name:
        pytest.importorskip("rio_tiler")
    found = readers.outcome(reader, targets[form], cube)
    gdal = of_gdal(reader)
    if form in LATER and gdal is not None and gdal < Version("3.13"):
        assert found.startswith("no: ")
        assert "zarr_format=2 opens there" in readers_of(3)
    else:
        assert found in ("all", "all but names of bands")


def test_something_else_is_not_what_was_written(cube):
    """The judge: each part of what is read can be wrong by itself."""
    right = readers.Found(cube.values, readers.TRANSFORM, readers.CRS, readers.BANDS)
    assert readers.wrong(right, cube) == []
    moved = (*readers.TRANSFORM[:2], 600_002.5, *readers.TRANSFORM[3:])
    assert readers.wrong(readers.Found(cube.values, moved, "EPSG:32634", readers.BANDS[::-1]), cube) == [
        *("grid", "CRS", "bands")
    ]
    assert readers.wrong(readers.Found(cube.values + 1e-4, *([readers.TRANSFORM, readers.CRS])), cube) == ["values"]
    assert readers.wrong(readers.Found(cube.fillna(0).values, *([readers.TRANSFORM, readers.CRS])), cube) == ["no data"]


def test_a_reader_of_the_conventions_takes_the_level_that_fits(targets, cube):
    experimental = pytest.importorskip("rio_tiler.experimental.zarr")
    reader = experimental.GroupReader(zarr.open_group(targets["overviews"].path, mode="r"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = reader.part(reader.bounds, bounds_crs=reader.crs, variables=["reflectance"], max_size=20)
    wanted = halved(cube.values, (1, 2), "average")
    assert small.array.shape == wanted.shape == (3, 20, 18)
    np.testing.assert_allclose(small.array.filled(np.nan), wanted, rtol=1e-6)


def test_the_models_of_eopf_geozarr_accept_the_levels(targets):
    v2 = pytest.importorskip("eopf_geozarr.data_api.geozarr.v2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(targets["overviews"].path, mode="r")
        model = v2.MultiscaleGroup.from_zarr(group)
        v2.Dataset.from_zarr(group["0"])
    layout = model.attributes.multiscales.layout
    assert [one.asset for one in layout] == ["0", "1", "2"]
    assert [one.derived_from for one in layout[1:]] == ["0", "1"]


def test_text_has_one_width_where_gdal_reads_it(targets):
    assert zarr.open_group(targets["default"].path, mode="r")["band"].dtype == np.dtype("<U3")
    band = zarr.open_group(targets["format 3"].path, mode="r")["band"]
    assert band.metadata.data_type.to_json(zarr_format=3) == "string"  # the type of text that format 3 specifies
    for form in ("default", "format 3"):
        assert xr.open_zarr(targets[form].path)["band"].values.tolist() == list(readers.BANDS)


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="no gdalinfo here: apt-get install gdal-bin")
def test_gdal_of_the_system_says_no_error(targets):
    import subprocess

    for form in ("default", "packed", "overviews"):
        done = subprocess.run(["gdalinfo", targets[form].folder], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        assert "/_xsr" not in done.stdout
