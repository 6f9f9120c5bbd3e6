"""The CRS of a cube: which statement counts, which contradictions are refused, and which are worth a warning."""

import warnings

import helpers
import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr
from odc.geo.crs import CRS

from xsr.core.cube import open_cube
from xsr.core.errors import GridError, XsrWarning
from xsr.operations.interpolate import interpolate
from xsr.operations.store import to_zarr

pytestmark = [  # odc-geo reads what is stated, too
    pytest.mark.filterwarnings("ignore:(Have several|Multiple CRS):UserWarning"),
    pytest.mark.filterwarnings("ignore:.*init=:FutureWarning"),
]

UTM31, UTM32 = CRS("EPSG:32631"), CRS("EPSG:32632")


def make_cube():
    """Two bands of one date."""
    return helpers.make_cube((2, 6, 8), crs="EPSG:32631")


def make_dataset():
    """Build the same as a Dataset."""
    return make_cube().to_dataset("band")


def bare(cube):
    """Cube that states no CRS at all, with attributes of its own."""
    cube = cube.drop_vars("spatial_ref").copy(deep=True)
    for dim in ("y", "x"):
        cube[dim].attrs.clear()
    for holder in (cube, *(cube.data_vars.values() if isinstance(cube, xr.Dataset) else ())):
        holder.encoding.pop("grid_mapping", None)
    return cube


def mapping(crs=UTM31):
    """Grid mapping of CF."""
    return xr.DataArray(0, attrs={"grid_mapping_name": "transverse_mercator", "crs_wkt": crs.to_wkt()})


def said(action):
    """Texts of our warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    return [str(warning.message) for warning in caught if warning.category is XsrWarning]


STATEMENTS = [
    pytest.param(lambda c: c.assign_attrs(crs="EPSG:32631"), id="crs"),
    pytest.param(lambda c: c.assign_attrs(crs="+init=epsg:32631"), id="init"),
    pytest.param(lambda c: c.assign_attrs(crs="+proj=utm +zone=31 +datum=WGS84 +units=m +no_defs"), id="proj4"),
    pytest.param(lambda c: c.assign_attrs(epsg=np.int64(32631)), id="epsg"),
    pytest.param(lambda c: c.assign_attrs(spatial_ref=UTM31.to_wkt()), id="spatial_ref"),
    pytest.param(lambda c: c.assign_attrs({"proj:code": "EPSG:32631"}), id="geozarr"),
    pytest.param(lambda c: c.assign_coords(epsg=32631), id="stackstac"),
    pytest.param(lambda c: c.assign_coords(crs=mapping()), id="cf"),
]


@pytest.mark.parametrize("make", [make_cube, make_dataset])
@pytest.mark.parametrize("state", STATEMENTS)
def test_every_statement_gives_the_crs_alone_and_is_silent_beside_the_same(state, make):
    alone, beside = state(bare(make())), state(make())
    opened = open_cube(alone).geobox.crs
    assert opened == UTM31 or opened.proj.to_epsg(min_confidence=70) == 32631
    assert said(lambda: open_cube(beside)) == []


def test_attribute_of_gdals_zarr_driver_gives_the_crs():
    cube = bare(make_cube()).assign_attrs(_CRS={"wkt": UTM31.to_wkt()})
    assert open_cube(cube).geobox.crs == UTM31


def test_grid_mapping_that_is_a_variable_of_the_dataset_gives_the_crs():
    cube = bare(make_dataset()).assign(transverse_mercator=mapping(UTM32))
    assert open_cube(cube).geobox.crs == UTM32


def test_grid_mapping_that_has_parameters_alone_gives_the_crs():
    crs = xr.DataArray(0, attrs={k: v for k, v in UTM31.proj.to_cf().items() if k != "crs_wkt"})
    cube = bare(make_cube()).assign_coords(crs=crs)
    found = open_cube(cube).geobox.crs
    assert np.allclose(found.transformer_to_crs(UTM31)(500_000, 5_600_000), (500_000, 5_600_000), atol=1e-3)


@pytest.mark.parametrize("make", [make_cube, make_dataset])
def test_grid_mappings_that_differ_are_refused_and_the_advice_works(make):
    cube = bare(make()).assign_coords(crs=mapping(UTM31), other=mapping(UTM32))
    with pytest.raises(GridError, match=r"'crs' states the CRS EPSG:32631, 'other' EPSG:32632") as error:
        open_cube(cube)
    assert "cube.drop_vars('other')" in str(error.value)
    assert open_cube(cube.drop_vars("other")).geobox.crs == UTM31


@pytest.mark.parametrize("holder", ["attrs", "encoding"])
def test_grid_mapping_that_the_bands_refer_to_counts_and_the_other_is_named_once(holder):
    cube = bare(make_dataset()).assign_coords(crs=mapping(UTM31), other=mapping(UTM32))
    for band in cube.data_vars:
        getattr(cube.variables[band], holder)["grid_mapping"] = "other"
    (text,) = said(lambda: open_cube(cube))
    assert "cube['crs'] states the CRS EPSG:32631, the cube counts in EPSG:32632" in text


CONTRADICTIONS = [
    pytest.param(lambda c: c.assign_attrs(crs="EPSG:32632"), lambda c: c.attrs.pop("crs"), id="crs"),
    pytest.param(lambda c: c.assign_attrs({"proj:code": "EPSG:32632"}), lambda c: c.attrs.pop("proj:code"), id="code"),
    pytest.param(lambda c: c.assign_coords(epsg=32632), lambda c: c.coords.__delitem__("epsg"), id="epsg"),
    pytest.param(lambda c: c.assign_attrs(crs="EPSG:4326"), lambda c: c.attrs.pop("crs"), id="degrees"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("state", "drop"), CONTRADICTIONS)
def test_other_crs_beside_the_one_that_counts_is_named_once_until_it_is_dropped(state, drop, tmp_path):
    cube = state(make_cube().copy(deep=True))
    (text,) = said(lambda: interpolate(cube, scale=2))
    assert "the cube counts in EPSG:32631, which is used" in text
    assert len(said(lambda: to_zarr(cube, tmp_path / "cube.zarr", progress=False))) == 1
    assert said(lambda: interpolate(interpolate(cube, scale=2), scale=2)) == [text]
    drop(cube)
    assert said(lambda: interpolate(cube, scale=2)) == []


def test_crs_that_puts_the_pixels_in_the_same_place_is_no_contradiction():
    cube = make_cube().assign_attrs(crs="EPSG:25831")  # ETRS89, whose UTM is that of WGS 84 here
    assert said(lambda: open_cube(cube)) == []


def test_crs_of_an_item_behind_the_cube_is_no_contradiction():
    cube = make_cube().assign_coords({"proj:epsg": 32632}).assign_attrs({"proj:epsg": 32632})
    assert said(lambda: open_cube(cube)) == []


def test_coordinates_in_kilometres_are_refused_and_the_advice_works():
    metres = make_cube()
    attrs = {"units": "km", "standard_name": "projection_y_coordinate"}
    cube = bare(metres).assign_coords(y=("y", metres.y.values / 1000, attrs), x=("x", metres.x.values / 1000, attrs))
    cube = cube.assign_coords(crs=mapping())
    with pytest.raises(GridError, match=r"coordinate 'y' is in 'km', its CRS EPSG:32631 in 'metre'") as error:
        open_cube(cube)
    code = str(error.value).split("Convert them: ")[1].rstrip(".")
    converted = eval(code, {"cube": cube})
    assert np.allclose(
        open_cube(converted).geobox.affine, open_cube(bare(metres).assign_coords(crs=mapping())).geobox.affine
    )


@pytest.mark.parametrize("units", ["degrees_north", "rad"])
def test_angles_in_a_crs_of_metres_are_refused(units):
    cube = make_cube().copy(deep=True)
    cube.y.attrs["units"] = units
    with pytest.raises(GridError, match=rf"coordinate 'y' is in '{units}', its CRS EPSG:32631 in 'metre'"):
        open_cube(cube)


@pytest.mark.parametrize("units", ["m", "metre", "Meters", "pixel", "1", ""])
def test_units_of_the_crs_and_unknown_ones_are_silent(units):
    cube = make_cube().copy(deep=True)
    cube.y.attrs["units"] = cube.x.attrs["units"] = units
    assert open_cube(cube).geobox.crs == UTM31


def test_crs_in_kilometres_takes_coordinates_in_kilometres():
    cube = bare(make_cube()).assign_attrs(crs="+proj=utm +zone=31 +datum=WGS84 +units=km +no_defs")
    cube.y.attrs["units"] = cube.x.attrs["units"] = "km"
    assert open_cube(cube).geobox.crs is not None


def test_metres_in_a_crs_of_degrees_are_refused():
    with pytest.raises(GridError, match=r"its CRS EPSG:4326 in 'degree'; expected latitudes"):
        open_cube(bare(make_cube()).odc.assign_crs("EPSG:4326"))


def test_grid_whose_first_centres_are_the_poles_is_accepted():
    lat, lon = np.linspace(90, -90, 5), np.arange(0.0, 360, 45)
    cube = xr.DataArray(np.full((5, 8), 0.2, "f4"), dims=("lat", "lon"), coords={"lat": lat, "lon": lon})
    assert open_cube(cube.odc.assign_crs("EPSG:4326")).geobox.boundingbox.top == 112.5
