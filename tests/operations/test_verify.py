import json

import numpy as np
import pytest
import xarray as xr
import zarr
from models.helpers import make_cube
from survival import Fails, through

import xsr
from xsr.core.errors import ParameterError, StoreError

CHUNKS = {2: "reflectance/{}.0.{}.{}", 3: "reflectance/c/{}/0/{}/{}"}
KINDS = [{}, {"inner_chunks": 5}, {"zarr_format": 3}, {"dtype": "uint16"}]


@pytest.fixture
def cube():
    """Two dates of 20 x 23 pixels in twelve blocks, the last ones shorter; one block has no value."""
    made = make_cube(20, 23, dates=2)
    made[0, :, :10, :10] = np.nan
    return made.chunk(time=1, y=10, x=10)


def write(cube, path, **how):
    return xsr.to_zarr(cube, path, progress=False, **how)


def file_of(path, index, zarr_format=3):
    t, _, y, x = index
    return path / CHUNKS[zarr_format].format(t, y, x)


def flip(path, where=0.6):
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_a_store_as_it_was_written(cube, tmp_path):
    for how in KINDS:
        write(cube, tmp_path / "a.zarr", overwrite=True, **how)
        report = xsr.verify(tmp_path / "a.zarr")
        assert report.ok
        assert (report.path, report.blocks, report.complete, report.bad) == (str(tmp_path / "a.zarr"), 12, True, ())


@pytest.mark.slow
@pytest.mark.parametrize("how", KINDS, ids=str)
@pytest.mark.parametrize("damage", [flip, cut])
def test_a_flipped_bit_and_a_truncated_chunk_are_found_and_repaired(cube, tmp_path, how, damage):
    """In a block inside, and in one at the edge, which is smaller than its chunk."""
    write(cube, tmp_path / "a.zarr", **how)
    before = content(tmp_path / "a.zarr")
    places = [(0, 0, 1, 1), (1, 0, 0, 2)]
    for index in places:
        damage(file_of(tmp_path / "a.zarr", index, 3 if {"inner_chunks", "zarr_format"} & how.keys() else 2))
    report = xsr.verify(tmp_path / "a.zarr")
    assert report.complete
    assert not report.ok
    assert [(bad.variable, bad.index) for bad in report.bad] == [("reflectance", index) for index in places]
    assert all(bad.reason.startswith("cannot be read: ") for bad in report.bad)
    repaired = xsr.verify(tmp_path / "a.zarr", repair=cube, progress=False)
    assert repaired.ok
    assert [bad.index for bad in repaired.repaired] == places
    assert content(tmp_path / "a.zarr") == before


@pytest.mark.slow
def test_values_that_decode_but_are_not_those_written(cube, tmp_path):
    """A chunk of another block in place of the block's own has a right checksum of its own; the ledger knows better."""
    write(cube, tmp_path / "a.zarr", zarr_format=3)
    other = file_of(tmp_path / "a.zarr", (0, 0, 1, 1)).read_bytes()
    file_of(tmp_path / "a.zarr", (1, 0, 1, 1)).write_bytes(other)
    file_of(tmp_path / "a.zarr", (1, 0, 0, 0)).unlink()  # reads as no data
    bad = xsr.verify(tmp_path / "a.zarr").bad
    assert {str(b) for b in bad} == {
        f"reflectance{index}: values differ from the checksum in the ledger" for index in ([1, 0, 1, 1], [1, 0, 0, 0])
    }


def test_every_form_of_nan_is_stored_as_one(tmp_path):
    """A block without a value leaves no file, whatever bits its NaN had: it must read back as what was checked."""
    cube = make_cube(10, 10, chunks=10)
    negative = np.frombuffer(np.array([0xFFC00001], np.uint32).tobytes(), np.float32)[0]
    write(cube.copy(data=np.full(cube.shape, negative)), tmp_path / "a.zarr")
    assert xsr.verify(tmp_path / "a.zarr").ok


@pytest.mark.slow
def test_coordinates_are_checked_too(cube, tmp_path):
    write(cube, tmp_path / "a.zarr", zarr_format=3)
    before = content(tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    group["x"][3] += 1
    (tmp_path / "a.zarr/y/c/0").write_bytes(b"")
    found = [str(bad) for bad in xsr.verify(tmp_path / "a.zarr").bad]
    assert found == [f"{name}/c/0: differs from what was written" for name in ("x", "y")]
    assert xsr.verify(tmp_path / "a.zarr", repair=cube, progress=False).ok
    assert content(tmp_path / "a.zarr") == before


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def gathered(document):
    return document["consolidated_metadata"]["metadata"]


def double(document):
    document["attributes"]["scale_factor"] = 0.0002


CHANGES = {
    "scale in consolidated metadata": ("zarr.json", lambda j: double(gathered(j)["reflectance"])),
    "scale of the array": ("reflectance/zarr.json", double),
    "CRS": ("spatial_ref/zarr.json", lambda j: j["attributes"].update(crs_wkt="PROJCS[]")),
    "names of dimensions": ("zarr.json", lambda j: gathered(j)["reflectance"]["dimension_names"].reverse()),
    "shape": ("zarr.json", lambda j: gathered(j)["reflectance"]["shape"].__setitem__(3, 15)),
    "fill value": ("zarr.json", lambda j: gathered(j)["reflectance"].update(fill_value=3)),
    "codecs": ("reflectance/zarr.json", lambda j: j["codecs"].pop()),
    "complete": ("zarr.json", lambda j: j["attributes"]["xsr"].update(complete=False)),
    "provenance": ("zarr.json", lambda j: j["attributes"].update(xsr_weights_sha256="0" * 64)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_metadata_are_found_refused_and_brought_back(cube, tmp_path, change):
    write(cube, tmp_path / "a.zarr", zarr_format=3, dtype="uint16")
    before = content(tmp_path / "a.zarr")
    document, how = CHANGES[change]
    edit(tmp_path / "a.zarr" / document, how)
    report = xsr.verify(tmp_path / "a.zarr")
    assert f"{document}: differs from what was written" in [str(bad) for bad in report.bad]
    with pytest.raises(StoreError, match=rf"was changed since it was written: {document}.*--repair"):
        write(cube, tmp_path / "a.zarr", dtype="uint16", resume=True)
    assert xsr.verify(tmp_path / "a.zarr", repair=cube, progress=False).ok
    assert content(tmp_path / "a.zarr") == before


@pytest.mark.slow
@pytest.mark.parametrize("how", KINDS, ids=str)
def test_damage_to_any_file_is_found_and_repaired(cube, tmp_path, how):
    """Of the files one has a bit changed and the next is removed, in every other kind of store the other way round."""
    write(cube, tmp_path / "a.zarr", **how)
    before = content(tmp_path / "a.zarr")
    for number, name in enumerate(before, KINDS.index(how)):
        if number % 2:
            flip(tmp_path / "a.zarr" / name, 0.5)
        else:
            (tmp_path / "a.zarr" / name).unlink()
        assert not xsr.verify(tmp_path / "a.zarr").ok, name
        assert xsr.verify(tmp_path / "a.zarr", repair=cube, progress=False).ok, name
        assert content(tmp_path / "a.zarr") == before, name


def test_an_object_added_to_a_coordinate_is_found_and_removed(cube, tmp_path):
    write(cube, tmp_path / "a.zarr", zarr_format=3)
    before = content(tmp_path / "a.zarr")
    (tmp_path / "a.zarr/x/c/1").write_bytes(b"x")
    assert [str(bad) for bad in xsr.verify(tmp_path / "a.zarr").bad] == ["x/c/1: was added"]
    assert xsr.verify(tmp_path / "a.zarr", repair=cube, progress=False).ok
    assert content(tmp_path / "a.zarr") == before


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_dates_appended_by_another_program_are_named(cube, tmp_path):
    write(cube, tmp_path / "a.zarr", zarr_format=3)
    later = xr.open_zarr(tmp_path / "a.zarr").isel(time=[0]).load()
    later["time"] = later["time"] + np.timedelta64(90, "D")
    later.drop_encoding().to_zarr(tmp_path / "a.zarr", append_dim="time")
    found = {bad.variable for bad in xsr.verify(tmp_path / "a.zarr").bad}
    assert {"zarr.json", "reflectance/zarr.json", "time/zarr.json"} <= found


def test_no_reader_of_zarr_sees_the_ledger(cube, tmp_path):
    for zarr_format in (2, 3):
        write(cube, tmp_path / "a.zarr", overwrite=True, zarr_format=zarr_format)
        for consolidated in (True, False):
            how = {"engine": "zarr", "consolidated": consolidated}
            assert xr.open_datatree(tmp_path / "a.zarr", **how).groups == ("/",)
            assert list(xr.open_groups(tmp_path / "a.zarr", **how)) == ["/"]
        members = dict(zarr.open_group(tmp_path / "a.zarr", use_consolidated=False).members(max_depth=None))
        assert set(members) == {"band", "reflectance", "spatial_ref", "time", "x", "y"}


@pytest.mark.slow
def test_an_interrupted_store_is_not_ok_and_repair_completes_it(cube, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    made = through(cube, Fails(str(flag), ((1, 0, 0, 1),)))
    with pytest.raises(RuntimeError, match="block is broken"):
        write(made, tmp_path / "a.zarr")
    report = xsr.verify(tmp_path / "a.zarr")
    assert not report.complete
    assert {bad.reason for bad in report.bad} == {"not done"}
    assert (1, 0, 0, 1) in {bad.index for bad in report.bad}
    still = xsr.verify(tmp_path / "a.zarr", repair=made, progress=False)
    assert [str(bad) for bad in still.bad] == ["reflectance[1, 0, 0, 1]: quarantined: RuntimeError: block is broken"]
    assert len(still.repaired) == len(report.bad) - 1
    flag.unlink()
    assert xsr.verify(tmp_path / "a.zarr", repair=made, progress=False).ok
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr")["reflectance"].values, cube.values)


@pytest.mark.slow
def test_several_variables(cube, tmp_path):
    bands = cube.to_dataset("band")
    write(bands, tmp_path / "a.zarr", inner_chunks=5)
    cut(tmp_path / "a.zarr/B04/c/1/1/2")
    report = xsr.verify(tmp_path / "a.zarr")
    assert report.blocks == 48
    assert [(bad.variable, bad.index) for bad in report.bad] == [("B04", (1, 1, 2))]
    assert xsr.verify(tmp_path / "a.zarr", repair=bands, progress=False).ok


@pytest.mark.slow
def test_another_cube_repairs_nothing(cube, tmp_path):
    write(cube, tmp_path / "a.zarr", zarr_format=3)
    cut(file_of(tmp_path / "a.zarr", (1, 0, 0, 0)))
    before = content(tmp_path / "a.zarr")
    with pytest.raises(StoreError, match=r"begun with other settings: input\.graph"):
        xsr.verify(tmp_path / "a.zarr", repair=cube * 2, progress=False)
    assert content(tmp_path / "a.zarr") == before


def test_what_is_no_store(cube, tmp_path):
    with pytest.raises(StoreError, match="is not a Zarr group"):
        xsr.verify(tmp_path / "a.zarr")
    zarr.open_group(tmp_path / "b.zarr", mode="w")
    with pytest.raises(StoreError, match="holds no ledger"):
        xsr.verify(tmp_path / "b.zarr")
    with pytest.raises(ParameterError, match=r"storage_options with .* a local path"):
        xsr.verify(tmp_path / "b.zarr", storage_options={"key": "a"})
