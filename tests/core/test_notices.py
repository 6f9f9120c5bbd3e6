import warnings
from dataclasses import dataclass

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from fuzzing import examples
from helpers import make_cube
from hypothesis import given
from hypothesis import strategies as st

from xsr.core.cube import open_cube
from xsr.core.errors import XsrWarning
from xsr.core.graph import watch
from xsr.testing import assert_lazy


@dataclass(frozen=True)
class Above:
    """Inspect a block: more than a limit is odd."""

    limit: float

    def __call__(self, block):
        return f"up to {block.max():g}" if block.max() > self.limit else None


def numbers(chunks=None, **options):
    """Digital numbers as floats, which nothing describes."""
    cube = make_cube((2, 2, 24, 20), **options) * np.float32(9000) + np.float32(100)
    return cube if chunks is None else cube.chunk(chunks)


def heard(function):
    """Result of a function, and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function()
    return result, [str(w.message) for w in caught if issubclass(w.category, XsrWarning)]


def test_numbers_in_memory_are_looked_at_at_once():
    out, texts = heard(lambda: numbers().sr.interpolate(scale=2))
    assert len(texts) == 1
    assert "units='dn10000'" in texts[0]
    np.testing.assert_array_equal(out, numbers().sr.interpolate(scale=2, units="reflectance"))


@pytest.mark.slow
@examples(6)
@given(time=st.integers(1, 2), band=st.integers(1, 2), y=st.integers(3, 24), x=st.integers(3, 20))
def test_a_lazy_cube_warns_once_as_it_is_computed_whatever_its_chunks(time, band, y, x):
    cube = numbers({"time": time, "band": band, "y": y, "x": x})
    out, planned = heard(lambda: cube.sr.interpolate(scale=2, chunks=16))
    assert planned == []
    values, texts = heard(out.compute)
    assert len(texts) == 1
    assert "values up to" in texts[0]
    assert heard(out.compute)[1] == []  # the same result says it once
    expected = cube.sr.interpolate(scale=2, chunks=16, units="reflectance")
    np.testing.assert_array_equal(values, expected)


def test_each_call_says_it_with_the_same_dask_keys():
    cube = numbers({"y": 8})
    first, second = (cube.sr.interpolate(scale=2) for _ in range(2))
    assert first.data.name == second.data.name
    assert len(heard(first.compute)[1]) == len(heard(second.compute)[1]) == 1


def test_planning_computes_nothing():
    cube = numbers({"y": 8})
    with assert_lazy(cube):
        open_cube(cube)


@pytest.mark.parametrize("units", ["reflectance", "dn10000", 1e-4])
def test_units_that_are_given_are_not_questioned(units):
    cube = numbers({"y": 8})
    assert heard(lambda: open_cube(cube, units=units).data.compute())[1] == []


def test_temperatures_that_are_stated_are_not_questioned():
    cube = (make_cube((1, 1, 8, 8)) + np.float32(290)).assign_attrs(units="K")
    assert heard(lambda: cube.sr.interpolate(scale=2))[1] == []
    assert len(heard(lambda: cube.assign_attrs(units="").sr.interpolate(scale=2))[1]) == 1


@pytest.mark.parametrize(
    ("attrs", "way_out"),
    [({"scale_factor": 1e-2}, "units='percent'"), ({"units": "%"}, "units='percent'"), ({"units": "DN"}, "dn10000")],
)
def test_a_scale_that_was_not_applied_is_told_from_one_that_was(attrs, way_out):
    cube = make_cube((1, 2, 24, 20)).assign_attrs(attrs)
    assert heard(lambda: cube.sr.interpolate(scale=2))[1] == []  # 0 to 1: it has been applied
    percent = (cube * 8).assign_attrs(attrs)
    (text,) = heard(lambda: percent.sr.interpolate(scale=2))[1]
    assert "while its attributes state" in text
    assert way_out in text
    assert heard(lambda: percent.to_dataset("band").assign_attrs(attrs).sr.interpolate(scale=2))[1] == []
    dataset = percent.to_dataset("band")
    dataset["B03"].attrs.update(attrs)
    assert len(heard(lambda: dataset.sr.interpolate(scale=2))[1]) == 1


def test_what_was_stated_of_stored_numbers_is_not_stated_of_the_result():
    out = (make_cube((1, 8, 8)) * 100).assign_attrs(units="%", scale=0.01).sr.interpolate(scale=2, units="percent")
    assert out.attrs["units"] == "1"
    assert "scale" not in out.attrs


def test_reflectance_is_let_through():
    cube = make_cube((2, 2, 24, 20), chunks={"y": 8})
    assert heard(cube.sr.interpolate(scale=2).compute)[1] == []


@pytest.mark.slow
def test_a_warning_from_a_process_comes_once_to_the_process_that_computes():
    source = da.full((1, 1, 8, 8), 5.0, chunks=2, dtype=np.float32)
    watched = watch(source, Above(3))
    with dask.config.set(scheduler="processes", num_workers=2):
        values, texts = heard(watched.compute)
    assert texts == ["up to 5"]
    np.testing.assert_array_equal(values, source)


@pytest.mark.slow
def test_a_warning_from_a_cluster_comes_once_to_its_client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster),
    ):
        out = numbers({"y": 3, "x": 5}).sr.interpolate(scale=2, chunks=8)
        values, texts = heard(out.compute)
    assert len(texts) == 1
    assert "values up to" in texts[0]
    np.testing.assert_array_equal(values, numbers().sr.interpolate(scale=2, units="reflectance"))


def test_a_watched_array_is_the_array():
    source = da.arange(12, chunks=5).reshape(1, 1, 3, 4)
    assert xr.DataArray(watch(source, Above(99))).equals(xr.DataArray(source.compute()))
