import numpy as np
import pytest
import xarray as xr
from helpers import make_cube

import xsr  # noqa: F401  (registers .sr)
from xsr.core.cube import open_cube
from xsr.core.errors import XsrWarning
from xsr.core.plausible import SAMPLE, Reflectance, thinned
from xsr.core.provenance import made_by

BANDS = ("B02", "B08")


def block(values, shape=(1, 2, 20, 20)):
    return np.full(shape, values, np.float32)


def test_what_surfaces_clouds_and_glint_reflect_is_not_odd():
    values = np.linspace(-0.3, 3.0, 800, dtype=np.float32).reshape(1, 2, 20, 20)
    assert Reflectance(BANDS)(values) is None
    assert Reflectance(BANDS)(block(np.nan)) is None
    assert Reflectance(BANDS)(block(np.inf)) is None
    assert Reflectance(BANDS)(block(0.2, (0, 2, 20, 20))) is None


@pytest.mark.parametrize(
    ("value", "way_out"),
    [
        (9938.35, "values up to 9938.35 .*units='dn10000', or units='dn10000-1000'"),
        (42.5, "values up to 42.5 .*percent, pass units='percent'"),
        (298.0, r"values up to 298 .*kelvin, set the attribute units='K'"),
        (-9999.0, r"values down to -9999 .*make it NaN: cube.where\(cube != -9999\)"),
    ],
)
def test_what_is_none_is_named_with_its_way_out(value, way_out):
    import re

    text = Reflectance(BANDS)(block(value))
    assert text is not None
    assert re.search(way_out, text)
    assert "units='reflectance'" in text


def filled(number, share=0.02):
    """Dark reflectance, of which a share of the pixels holds a number."""
    values = np.linspace(0.01, 0.4, 800, dtype=np.float32).reshape(1, 2, 20, 20)
    values[:, :, 0, : round(400 * share)] = number
    return values


@pytest.mark.parametrize("given", [False, True])
def test_no_data_that_was_scaled_like_reflectance_is_named_as_it_was_stored(given):
    text = Reflectance(BANDS, packing=(1e-4, -0.1), given=given)(filled(-1.0999))
    assert text.startswith("bands ['B02', 'B08'] hold values down to -1.0999")
    assert "set the attribute _FillValue=-9999" in text


def test_no_data_that_was_scaled_before_is_named_as_it_is():
    assert "cube.where(cube != -0.9999)" in Reflectance(BANDS)(filled(-0.9999))


def test_indices_and_single_dark_pixels_are_no_numbers_for_no_data():
    index = np.linspace(-0.95, 0.95, 800, dtype=np.float32).reshape(1, 2, 20, 20)
    for values in (index, filled(-1.0), filled(-0.9999, share=0.005), filled(-0.2)):
        assert Reflectance(BANDS, packing=(1e-4, 0.0))(values) is None


def test_given_units_are_not_doubted():
    assert Reflectance(BANDS, packing=(1e-4, 0.0), given=True)(block(42.5)) is None


def test_units_given_for_what_is_reflectance_already():
    reflectance = np.linspace(0.01, 0.6, 800, dtype=np.float32).reshape(1, 2, 20, 20)
    for scale, offset in ((1e-4, 0.0), (1e-4, -0.1), (2.75e-5, -0.2)):
        scaled = Reflectance(BANDS, packing=(scale, offset), given=True)
        text = scaled((reflectance * scale + offset).astype(np.float32))
        assert f"holds numbers up to 0.6, reflectance already, which units= scales by {scale:g}. Leave" in text


@pytest.mark.parametrize("numbers", [[0, 0, 0, 1], [0, 1, 2, 2], [0.4, 30.5, 80.2, 91.7], [np.nan] * 4])
def test_dark_digital_numbers_are_digital_numbers(numbers):
    values = np.resize(np.float32(numbers), (1, 2, 20, 20)) * np.float32(1e-4)
    assert Reflectance(BANDS, packing=(1e-4, 0.0), given=True)(values) is None


def test_small_percent_are_percent():
    assert Reflectance(BANDS, packing=(0.01, 0.0), given=True)(block(0.0123)) is None


@pytest.mark.filterwarnings("ignore:Use .* matmul:PendingDeprecationWarning")  # odc-geo
def test_units_that_two_operations_are_given_are_doubted():
    stored = make_cube(np.arange(300, 428, dtype=np.uint16).reshape(2, 8, 8))
    once = stored.sr.interpolate(scale=1.5, units="dn10000")
    with pytest.warns(XsrWarning, match="numbers up to 0.04.*, reflectance already.* Leave units= out"):
        once.sr.interpolate(scale=2, units="dn10000")


@pytest.mark.filterwarnings("ignore:Use .* matmul:PendingDeprecationWarning")  # odc-geo
def test_units_of_several_cubes_are_not_those_of_what_an_operation_computed():
    numbers = make_cube(np.arange(300, 428, dtype=np.float32).reshape(2, 8, 8))
    with pytest.warns(XsrWarning, match="hold values up to 4"):
        once = numbers.sr.interpolate(scale=1.5)
    with pytest.warns(XsrWarning, match="that interpolate:bicubic made it: pass units= to that operation"):
        shared = open_cube(once, units="dn10000", shared=True).data.compute()
    np.testing.assert_array_equal(shared.max(), once.max())
    np.testing.assert_allclose(open_cube(once, units="dn10000").data.max(), 1e-4 * once.max(), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:bands .* hold values up to 4", "ignore:Use .* matmul:PendingDeprecationWarning")
@pytest.mark.parametrize(
    "prepare",
    [
        lambda cube: cube.sr.clip(tuple(cube.odc.geobox.boundingbox), crs=32633),
        lambda cube: cube.sr.mask_clouds(mask=cube[0, 0] > 410),
        lambda cube: cube.sr.register(apply=True),
        lambda cube: cube.assign_attrs(made_by("native", scale=[1.0, 1.0])),
    ],
    ids=["clip", "mask_clouds", "register", "native"],
)
def test_digital_numbers_that_were_only_prepared_take_units_later(prepare):
    prepared = prepare(make_cube(np.arange(400, 500, dtype=np.float32).reshape(1, 1, 10, 10)))
    fine = prepared.sr.interpolate(scale=1, method="nearest", units="dn10000")
    np.testing.assert_allclose(fine, prepared * 1e-4, rtol=1e-6)


def test_the_bands_concerned_are_named():
    values = block(0.2)
    values[:, 1] = 1200
    assert Reflectance(BANDS)(values).startswith("bands ['B08'] hold values up to 1200")
    assert Reflectance(BANDS)(values[:, 1:]).startswith("the cube holds values up to 1200")


def test_a_few_hot_pixels_are_no_matter_of_units():
    values = block(0.2)
    values[0, 0, 0, :3] = 65.0  # 3 of 400: less than a hundredth
    assert Reflectance(BANDS)(values) is None
    values[0, 0, 0, :4] = 65.0
    assert Reflectance(BANDS)(values) is not None
    tiny = block(0.2, (1, 2, 4, 4))
    tiny[0, 0, 0, :2] = 65.0
    assert Reflectance(BANDS)(tiny) is None


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 1, 5), (1, 4, 3000, 3000), (2000, 10, 8, 8), (1, 1, 10**6, 1)])
def test_only_a_sample_is_looked_at(shape):
    source = np.broadcast_to(np.float32(1), shape)
    sample = thinned(source)
    assert 1 <= sample.size <= max(2 * SAMPLE, shape[0] * shape[1])
    assert np.shares_memory(sample, source)
    assert sample.shape[1] == shape[1]


@pytest.mark.filterwarnings("ignore:Use .* matmul:PendingDeprecationWarning")  # odc-geo
@pytest.mark.parametrize("dataset", [False, True])
@pytest.mark.parametrize("how", ["units", "attributes"])
def test_advice_for_no_data_that_nothing_states_works(how, dataset):
    values = np.full((2, 8, 8), 2000, np.int16)
    values[:, :2] = -9999
    cube = make_cube(values)
    options = {"units": "dn10000"} if how == "units" else {}
    attrs = {} if how == "units" else {"scale_factor": 1e-4}

    def opened(**more):
        given = cube.assign_attrs({**attrs, **more})
        if dataset:
            given = xr.Dataset({str(b): given.sel(band=b, drop=True) for b in given.band.values})
        return open_cube(given, **options)

    with pytest.warns(XsrWarning, match="stored as -9999.* set the attribute _FillValue=-9999"):
        opened()
    assert np.isnan(opened(_FillValue=-9999).data[..., :2, :]).all()
