"""Files and stores of arrays from anybody."""

import json

import h5py
import numpy as np
import pytest
from models.helpers import make_cube

import xsr
from xsr.core.errors import CubeError
from xsr.sources import limits
from xsr.sources.hierarchies import check_hdf5


def write_netcdf(path):
    make_cube(4, 4).to_dataset(name="reflectance").to_netcdf(path, engine="h5netcdf")
    return path


def write_zarr(path, name, **fields):
    """Store whose array of a name has other metadata, not consolidated."""
    xsr.to_zarr(make_cube(4, 4), path, progress=False, zarr_format=3)
    (path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group"}))
    array = path / name / "zarr.json"
    array.write_text(json.dumps({**json.loads(array.read_text()), **fields}))


def link(file, other):
    file["stolen"] = h5py.ExternalLink(str(other), "secret")


def link_within_a_group(file, other):
    link(file.create_group("a/b"), other)


def borrow(file, other):
    layout = h5py.VirtualLayout((9,), "f8")
    layout[:] = h5py.VirtualSource(str(other), "secret", (9,))
    file.create_virtual_dataset("stolen", layout)


def read_bytes(file, other):
    file.create_dataset("stolen", (16,), "u1", external=[(str(other), 0, 16)])


@pytest.mark.parametrize("steal", [link, link_within_a_group, borrow, read_bytes])
def test_a_file_that_takes_arrays_from_others_is_refused_unless_trusted(tmp_path, steal):
    with h5py.File(tmp_path / "private.h5", "w") as file:
        file["secret"] = np.arange(9.0)
    path = write_netcdf(tmp_path / "a.nc")
    assert xsr.open(path).shape == (1, 4, 4, 4)
    with h5py.File(tmp_path / "b.nc", "w") as file, h5py.File(path) as whole:
        for name in whole:
            whole.copy(name, file)
        steal(file, tmp_path / "private.h5")
    with pytest.raises(CubeError, match=r"takes .*stolen from another file; .* Pass trust=True"):
        xsr.open(tmp_path / "b.nc")


def test_groups_that_link_in_circles_are_walked_once(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("a/b")
        file["a/b/again"] = file["a"]
    check_hdf5(str(tmp_path / "a.h5"), trust=False)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        link(file["a/b"], tmp_path / "other.h5")
    with pytest.raises(CubeError, match="takes stolen from another file"):
        check_hdf5(str(tmp_path / "a.h5"), trust=False)


def test_a_coordinate_longer_than_any_real_one_is_refused_before_it_is_read(tmp_path, monkeypatch):
    write_zarr(tmp_path / "a.zarr", "x", shape=[10**13])
    with pytest.raises(CubeError, match=r"x of .*a\.zarr declares 10000000000000 pixels along an axis"):
        xsr.open(tmp_path / "a.zarr")
    monkeypatch.setattr(limits, "SIDE", 3)
    with pytest.raises(CubeError, match="declares 4 pixels along an axis; expected at most 3"):
        xsr.open(write_netcdf(tmp_path / "a.nc"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("codecs", [{"name": "evil", "configuration": {}}]),
        ("codecs", [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 99}}]),
        ("shape", [1, 4, 10**9, 10**9]),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [0, 0, 0, 0]}}),
        ("data_type", "evil"),
    ],
)
def test_metadata_that_make_no_sense_are_refused_in_one_sentence(tmp_path, field, value):
    write_zarr(tmp_path / "a.zarr", "reflectance", **{field: value})
    with pytest.raises(CubeError, match=r"a\.zarr cannot be read: .+ Check that it is complete"):
        xsr.open(tmp_path / "a.zarr")
