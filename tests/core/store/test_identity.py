"""What distinguishes the input of one store from that of another."""

import json
import tracemalloc

import numpy as np
import pytest
import xarray as xr
from models.helpers import make_cube

from xsr.core.store.identity import changes, identity


def identified(cube):
    lazy = cube.copy(data=cube.variable.chunk({"y": 5}).data)
    return identity(lazy.to_dataset(name="reflectance"), ["reflectance"])


def lonlat(side, dtype=np.float64):
    return ("y", "x"), np.arange(side * side, dtype=dtype).reshape(side, side)


COORDINATES = {
    "a value": lambda cube: cube.assign_coords(lon=lonlat(20), y=cube.y + 1e-9),
    "a type": lambda cube: cube.assign_coords(lon=lonlat(20, np.float32)),
    "a date": lambda cube: cube.assign_coords(time=cube.time + np.timedelta64(1, "ns")),
    "a label": lambda cube: cube.assign_coords(band=np.array([*cube.band.values[:-1], "other"], object)),
    "a name": lambda cube: cube.assign_coords(lat=lonlat(20)),
    "a dim": lambda cube: cube.assign_coords(lon=(("x", "y"), lonlat(20)[1])),
    "one more": lambda cube: cube.assign_coords(lon=lonlat(20), platform="S2A"),
    "the order of values": lambda cube: cube.assign_coords(lon=(("y", "x"), np.asfortranarray(lonlat(20)[1].T))),
}


@pytest.mark.parametrize("change", COORDINATES)
def test_coordinates_that_differ_are_another_input(change):
    cube = make_cube(20, 20, dates=2)
    here = cube.assign_coords(lon=lonlat(20))
    assert identified(here)["coordinates"] == identified(here.copy(deep=True))["coordinates"]
    assert identified(here)["coordinates"] != identified(COORDINATES[change](cube))["coordinates"]


def test_coordinates_of_every_kind_of_number_and_text_are_hashed():
    values = [np.float32(1), True, np.datetime64("2024-06-01", "D"), np.timedelta64(1, "s"), 1 + 2j, None, "ä", b"a"]
    for value in values:
        one = make_cube(20, 20).assign_coords(beside=((), np.asarray(value)))
        assert json.dumps(identified(one))


def test_what_lies_beside_the_images_counts_in_memory_and_lazy():
    cube = make_cube(20, 20, dates=2)
    beside = [xr.DataArray(v, dims="time") for v in ([1.0, 2.0], [1.0, 3.0])]
    lazy = [identity(cube.chunk().to_dataset(name="a").assign(b=b.chunk()), ["a"])["graph"] for b in beside]
    eager = [identity(cube.chunk().to_dataset(name="a").assign(b=b), ["a"])["coordinates"] for b in beside]
    assert len({*lazy, *eager}) == 4


def test_the_layout_of_a_coordinate_in_memory_does_not_count():
    cube, (dims, values) = make_cube(20, 20), lonlat(20)
    one, two = (cube.assign_coords(lon=(dims, v)) for v in (values, np.asfortranarray(values)))
    assert identified(one) == identified(two)


def test_big_coordinates_are_hashed_as_they_lie_in_memory():
    """As lists and text they would take twenty times their size."""
    side = 1000
    cube = xr.DataArray(np.zeros((side, side), np.float32), dims=("y", "x"), coords={"lon": lonlat(side)})
    lazy = cube.copy(data=cube.variable.chunk({"y": 500}).data).to_dataset(name="a")
    tracemalloc.start()
    identity(lazy, ["a"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < cube.lon.nbytes / 4


SAME = {"files": {"/a.tif": "1", "/b.tif": "2"}, "coordinates": "c", "graph": "g"}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"files": {"/a.tif": "1", "/b.tif": "3"}, "graph": "h"}, ["/b.tif was changed"]),
        (
            {"files": {"/a.tif": "1", "/c.tif": "2"}, "graph": "h", "coordinates": "d"},
            ["/b.tif is not read any more", "/c.tif is read as well", "input.coordinates was 'c' and is 'd'"],
        ),
        ({"files": {"/a.tif": None, "/b.tif": "2"}}, []),
        ({"files": {}}, []),
        ({"fingerprint": "f"}, ["input.fingerprint was None and is 'f'"]),
    ],
)
def test_a_difference_names_the_files_that_changed(change, found):
    """Names of Dask say less, and are given where nothing else is; what could not be looked at is not compared."""
    assert changes(SAME, {**SAME, **change}) == found


def test_names_of_dask_are_compared_where_no_file_differs():
    (text,) = changes(SAME, {**SAME, "graph": "h"})
    assert text.startswith("input.graph was 'g' and is 'h' (it names the lazy cube by what it is made of")


def test_a_given_name_is_the_word_of_the_user():
    assert changes({"id": "a"}, {"id": "b"}) == ["input.id was 'a' and is 'b'"]
    assert changes({"id": "a"}, SAME) == ["input.id was 'a' and is None"]
    assert changes(SAME, {"id": "a"}) == []


def test_of_an_earlier_form_what_both_state_is_compared():
    """It had another hash of the coordinates, and none of files."""
    assert changes({"coords": "x", "graph": "g"}, SAME) == []
    assert changes({"coords": "x", "graph": "h"}, SAME)[0].startswith("input.graph was 'h'")
