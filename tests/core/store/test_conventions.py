"""The GeoZarr conventions of a store, judged by the validator of their registry."""

import itertools
import json

import numpy as np
import pytest
import zarr
import zarr_cm
from helpers import make_cube
from zarr_cm import multiscales, proj, spatial

import xsr
from xsr.core.store.conventions import REGISTERED, registrations

V01 = {"proj": "r3", "spatial": "r3", "multiscales": "r2"}
"""What the validator calls the revisions of version 0.1."""


@pytest.fixture(params=[2, 3], ids="format {}".format)
def path(request, tmp_path):
    cube = make_cube((2, 2, 20, 30), chunks={"y": 8, "x": 8})
    xsr.to_zarr(cube, tmp_path / "plain.zarr", zarr_format=request.param, progress=False)
    xsr.to_zarr(cube, tmp_path / "levels.zarr", zarr_format=request.param, overviews=2, progress=False)
    return tmp_path


def attributes(path, group=""):
    return json.loads(json.dumps(dict(zarr.open_group(path, path=group, mode="r").attrs)))


def test_registrations_are_those_of_the_registry():
    for module, entry in zip((proj, spatial, multiscales), registrations(*REGISTERED), strict=True):
        assert entry == zarr_cm.convention_metadata(entry["name"], revision=V01[entry["name"]])
        assert entry["uuid"] == module.UUID
    assert zarr_cm.latest_revisions() == V01


def test_a_plain_store(path):
    attrs = attributes(path / "plain.zarr")
    assert zarr_cm.detect_revisions(attrs) == {name: V01[name] for name in ("proj", "spatial")}
    zarr_cm.validate_all(attrs)
    assert attrs["spatial:dimensions"] == ["y", "x"]
    assert attrs["spatial:transform"] == [10.0, 0.0, 600_000.0, 0.0, -10.0, 5_800_000.0]
    assert attrs["spatial:shape"] == [20, 30]
    assert attrs["spatial:bbox"] == [600_000.0, 5_799_800.0, 600_300.0, 5_800_000.0]
    assert attrs["proj:code"] == "EPSG:32633"


def test_a_store_with_overviews(path):
    attrs = attributes(path / "levels.zarr")
    assert zarr_cm.detect_revisions(attrs) == V01
    zarr_cm.validate_all(attrs)
    layout = attrs["multiscales"]["layout"]
    for before, one in itertools.pairwise(layout):
        assert one["derived_from"] == before["asset"]
        scale, moved = one["transform"]["scale"], one["transform"]["translation"]
        assert np.multiply(before["spatial:transform"][::4], scale[::-1]).tolist() == one["spatial:transform"][::4]
        assert moved == [0.0, 0.0]
    for one in layout:
        own = attributes(path / "levels.zarr", one["asset"])
        assert zarr_cm.detect_revisions(own) == {name: V01[name] for name in ("proj", "spatial")}
        zarr_cm.validate_all(own)
        assert own["spatial:transform"] == one["spatial:transform"]
        array = zarr.open_group(path / "levels.zarr", path=one["asset"], mode="r")["reflectance"]
        assert list(array.shape[-2:]) == own["spatial:shape"] == one["spatial:shape"]


@pytest.mark.parametrize("node", ["plain.zarr", "levels.zarr", "levels.zarr/0", "levels.zarr/2"])
def test_documents_are_valid_as_a_whole(tmp_path, node):
    cube = make_cube((1, 2, 20, 30), chunks={"y": 8, "x": 8})
    xsr.to_zarr(cube, tmp_path / "plain.zarr", zarr_format=3, progress=False)
    xsr.to_zarr(cube, tmp_path / "levels.zarr", zarr_format=3, overviews=2, progress=False)
    document = json.loads((tmp_path / node / "zarr.json").read_text())
    declared = zarr_cm.detect_revisions(document["attributes"])
    for module in (proj, spatial, multiscales):
        if module.__name__.rpartition(".")[2] in declared:
            module.validate_group_metadata(document)
    assert ("multiscales" in declared) == (node == "levels.zarr")


def test_a_crs_without_a_code_is_valid(tmp_path):
    cube = make_cube((6, 6)).odc.assign_crs("+proj=laea +lat_0=51 +lon_0=4 +datum=WGS84 +units=m")
    xsr.to_zarr(cube, tmp_path / "a.zarr", overviews=1, progress=False)
    attrs = attributes(tmp_path / "a.zarr")
    zarr_cm.validate_all(attrs)
    assert "proj:code" not in attrs
    assert "Lambert Azimuthal" in attrs["proj:wkt2"]
