"""Dimensions beside time, band, y and x: operations on pixels are mapped over them."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xsr
from xsr.core.errors import CubeError
from xsr.core.members import member_dims
from xsr.testing import assert_lazy, assert_same_grid, synthetic_cube

PLAIN = synthetic_cube(size=(12, 12), bands=("B02", "B04"), times=("2024-04-10", "2024-05-10"))


def ensemble(count=2, dim="realization"):
    """Members that differ, with labels, a coordinate of theirs and one of theirs and the dates."""
    members = xr.concat([PLAIN * (1 + number / 10) for number in range(count)], dim).assign_attrs(PLAIN.attrs)
    return members.assign_coords(
        {
            dim: [f"r{n}" for n in range(count)],
            "weight": (dim, np.arange(count) / 2),
            "lag": ((dim, "time"), np.ones((count, 2))),
        }
    )


@settings(deadline=None, max_examples=6)
@given(
    place=st.integers(0, 4),
    chunks=st.fixed_dictionaries(
        {"realization": st.integers(1, 3), "time": st.integers(1, 2), "y": st.integers(3, 12), "x": st.integers(3, 12)}
    ),
    blocks=st.integers(5, 30),
)
def test_chunks_and_order_change_no_number_and_nothing_is_computed(place, chunks, blocks):
    order = ["time", "band", "y", "x"]
    order.insert(place, "realization")
    cube = ensemble(3)
    expected = [PLAIN.copy(data=cube.values[number]).sr.interpolate(scale=2.5) for number in range(3)]
    lazy = cube.transpose(*order).chunk(chunks)
    with assert_lazy(lazy):
        fine = lazy.sr.interpolate(scale=2.5, chunks=blocks)
    assert fine.dims == tuple(order)
    computed = fine.transpose("realization", "time", "band", "y", "x").values
    np.testing.assert_array_equal(computed, np.stack([one.values for one in expected]))


def test_coordinates_stay_and_so_does_the_grid():
    fine = ensemble().sr.interpolate(scale=2)
    assert fine["realization"].values.tolist() == ["r0", "r1"]
    assert fine["weight"].dims == ("realization",)
    assert fine["lag"].dims == ("realization", "time")
    assert_same_grid(fine.isel(realization=0, drop=True), PLAIN.sr.interpolate(scale=2))
    assert fine.attrs == PLAIN.sr.interpolate(scale=2).attrs


@pytest.mark.parametrize(
    "verb",
    [
        lambda cube: cube.sr.interpolate(resolution=4, t="2024-04-25"),
        lambda cube: cube.sr.interpolate_time("10D"),
        lambda cube: cube.sr.degrade(scale=2, noise=0.01, seed=3),
        lambda cube: cube.sr.clip(tuple(cube.odc.geobox[2:9, 1:].boundingbox), crs=cube.odc.crs.to_wkt()),
        lambda cube: cube.sr.match_psf(sigma_m=12),
        pytest.param(lambda cube: cube.sr.liif(scale=1.5), marks=pytest.mark.slow),
        pytest.param(lambda cube: cube.sr.sample(x=cube.x.values[3:6], y=cube.y.values[3:6]), marks=pytest.mark.slow),
        pytest.param(lambda cube: cube.sr.liif(scale=2, quantiles=(0.1, 0.5)), marks=pytest.mark.slow),
    ],
)
def test_a_member_is_what_it_is_alone(verb):
    cube = ensemble().chunk()
    both = verb(cube)
    for number in range(2):
        alone = verb(cube.isel(realization=number, drop=True).drop_vars(["lag", "weight"], errors="ignore"))
        xr.testing.assert_equal(
            both.isel(realization=number, drop=True).drop_vars(["lag", "weight"], errors="ignore"), alone
        )


def test_a_dataset_keeps_what_the_members_share():
    data = ensemble().to_dataset("band")
    data["SCL"] = ("time", "y", "x"), np.full((2, 12, 12), 4, np.uint8)
    data["quality"] = "realization", [1, 2]
    with assert_lazy(lazy := data.chunk(y=6)):
        fine = lazy.sr.interpolate(scale=2)
    assert fine["B02"].dims == ("realization", "time", "y", "x")
    assert fine["SCL"].dims == ("time", "y", "x")
    assert fine["SCL"].dtype == np.uint8
    assert fine["quality"].values.tolist() == [1, 2]
    np.testing.assert_array_equal(fine["B04"], ensemble().sr.interpolate(scale=2).sel(band="B04"))


@pytest.mark.slow
def test_points_of_a_dataset_without_dates_have_members():
    data = ensemble().isel(time=0, drop=True).to_dataset("band")
    points = {"x": PLAIN.x.values[3:6], "y": PLAIN.y.values[3:6]}
    both = data.sr.sample(**points)
    assert both["B02"].dims == ("realization", "point")
    alone = data.isel(realization=1, drop=True).sr.sample(**points)
    np.testing.assert_array_equal(both["B02"].isel(realization=1), alone["B02"])


def test_several_dimensions_are_mapped_over():
    cube = xr.concat([ensemble(), ensemble() / 2], "model").transpose("time", "model", "band", "realization", "y", "x")
    fine = xsr.interpolate(cube, scale=2)
    assert fine.dims == cube.dims
    np.testing.assert_array_equal(
        fine.isel(model=1, realization=1), (ensemble() / 2).isel(realization=1).sr.interpolate(scale=2)
    )


def test_which_dimensions_are_members():
    cube = ensemble()
    assert member_dims(cube) == ("realization",)
    assert member_dims(PLAIN) == ()
    assert member_dims(cube.isel(time=0, band=0)) == ("realization",)  # its name says it
    assert member_dims(ensemble(dim="foo")) == ("foo",)
    assert member_dims(ensemble(dim="foo").to_dataset("band")) == ("foo",)
    assert member_dims(cube.rename(realization="quantile")) == ()
    assert member_dims(3) == ()
    assert member_dims(xr.DataArray(np.zeros(3), dims="member")) == ()


def test_an_unknown_dimension_that_may_be_the_dates_or_bands_is_refused():
    for odd in (ensemble(dim="foo").isel(time=0), ensemble(dim="foo").isel(band=0)):
        with pytest.raises(CubeError, match=r"dimension\(s\) \['foo'\] found.*rename"):
            odd.sr.interpolate(scale=2)


def test_no_member_is_refused():
    with pytest.raises(CubeError, match="expected at least one member along 'realization'"):
        ensemble().isel(realization=[]).sr.interpolate(scale=2)
