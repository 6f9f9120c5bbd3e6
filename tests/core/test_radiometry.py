import dask.array as da
import numpy as np
import pytest
import xarray as xr
from helpers import make_cube

from xsr.core.errors import CubeError, ParameterError, XsrWarning
from xsr.core.radiometry import brightness_temperature, check_alike, decode, scale_offset, stated_otherwise


def numbers(values, dtype="uint16", **attrs):
    return xr.DataArray(np.asarray(values, dtype), dims="x", attrs=attrs, name="B02")


@pytest.mark.parametrize("chunks", [None, 5])
def test_numbers_are_scaled_by_single_float32_operations_in_memory_and_in_chunks(chunks):
    data = numbers(np.arange(5990, 6013), _FillValue=6001)
    data = data if chunks is None else data.chunk(chunks)
    found = decode(data, "dn10000-1000")
    expected = np.arange(5990, 6013).astype(np.float32) * np.float32(1e-4) + np.float32(-0.1)
    expected[11] = np.nan
    np.testing.assert_array_equal(found.values, expected)
    assert found.dtype == np.float32
    assert found.attrs == {}
    assert found.name == "B02"


# --- units ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "scale", "offset"),
    [
        ("reflectance", 1, 0),
        ("percent", 0.01, 0),
        ("dn10000", 1e-4, 0),
        ("dn10000-1000", 1e-4, -0.1),
        (0.001, 0.001, 0),
        (2, 2, 0),
        ("0.5", 0.5, 0),
    ],
)
def test_scale_offset_hand_values(units, scale, offset):
    assert scale_offset(units) == (scale, offset)


@pytest.mark.parametrize("units", ["dn", "", 0, -1, float("nan"), float("inf"), [1, 2]])
def test_scale_offset_refuses_what_is_no_unit(units):
    with pytest.raises(ParameterError, match=r"units=.*; expected one of reflectance, percent, dn10000"):
        scale_offset(units)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ("dn10000", [np.nan, 0.1, 1.2]),
        ("dn10000-1000", [np.nan, 0.0, 1.1]),
        ("percent", [0, 10, 120]),
        (0.001, [0, 1, 12]),
        (1e-4, [0, 0.1, 1.2]),
    ],
)
def test_units_turn_integers_into_reflectance(units, expected):
    decoded = decode(numbers([0, 1000, 12000]), units)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, expected, rtol=1e-6, atol=1e-7)


def test_units_apply_to_floats_too():
    np.testing.assert_allclose(decode(numbers([12.5], "float64"), "percent"), [0.125], rtol=1e-6)


def test_units_override_the_metadata_and_say_so():
    with pytest.warns(
        XsrWarning, match=r"states a scale of 0\.5 and an offset of 0, .* overrides by a scale of 0\.0001"
    ):
        found = decode(numbers([5000], scale_factor=0.5), "dn10000")
    np.testing.assert_allclose(found, [0.5], rtol=1e-6)


@pytest.mark.parametrize("stated", [{"add_offset": -0.1, "scale_factor": 1e-4}, {"BOA_ADD_OFFSET": -1000}])
def test_units_without_the_offset_that_is_stated_are_doubtful(stated):
    numbers_of = numbers([1500], **stated)
    with pytest.warns(XsrWarning, match=r"overrides by a scale of 0\.0001 and an offset of 0\. Correct the attribute"):
        decode(numbers_of, "dn10000")
    np.testing.assert_allclose(decode(numbers_of, "dn10000-1000"), [0.05], rtol=1e-6)  # without a warning


# --- metadata ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["attrs", "encoding"])
@pytest.mark.parametrize(("scale", "offset"), [("scale_factor", "add_offset"), ("scale", "offset")])
def test_integers_are_decoded_by_the_scale_and_offset_they_declare(place, scale, offset):
    data = numbers([0, 1500])
    getattr(data, place).update({scale: 1e-4, offset: -0.1})
    np.testing.assert_allclose(decode(data, None), [-0.1, 0.05], rtol=1e-6)


def test_a_scale_needs_no_offset():
    np.testing.assert_allclose(decode(numbers([1500], scale=1e-4), None), [0.15], rtol=1e-6)


@pytest.mark.parametrize("attrs", [{}, {"scale_factor": 1.0, "add_offset": 0.0}, {"add_offset": -0.1}])
def test_integers_without_a_scale_are_refused(attrs):
    with pytest.raises(CubeError, match=r"'B02' holds uint16 without a scale.*Pass units= .*dn10000"):
        decode(numbers([1, 2], **attrs), None)


def test_floats_are_reflectance_and_keep_negative_and_bright_values():
    data = numbers([-0.02, 0.5, 1.7], "float64")
    decoded = decode(data, None)
    assert decoded.dtype == np.float32
    assert decoded.values.tolist() == data.values.astype(np.float32).tolist()


@pytest.mark.parametrize("dtype", ["bool", "<U3", "complex64", "datetime64[ns]"])
def test_other_kinds_of_numbers_are_refused(dtype):
    with pytest.raises(CubeError, match=r"'B02' has dtype .*; expected integers or floats"):
        decode(xr.DataArray(np.zeros(2).astype(dtype), dims="x", name="B02"), None)


def test_an_unnamed_array_is_called_the_cube():
    with pytest.raises(CubeError, match=r"the cube holds int16"):
        decode(xr.DataArray(np.zeros(2, "int16"), dims="x"), None)


# --- no data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nodata", "_FillValue", "missing_value"])
@pytest.mark.parametrize("place", ["attrs", "encoding"])
def test_the_no_data_number_of_integers_becomes_nan(name, place):
    data = numbers([0, 1, 0])
    getattr(data, place)[name] = 0
    assert np.isnan(decode(data, "dn10000")).values.tolist() == [True, False, True]


def test_no_data_is_a_stored_number_not_a_decoded_one():
    decoded = decode(numbers([0, 1000], scale=1e-4, offset=-0.1, nodata=0), None)
    assert np.isnan(decoded).values.tolist() == [True, False]
    assert decoded.values[1] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("nodata", [-9999, float("nan"), None])
def test_a_no_data_number_that_integers_cannot_hold_hides_nothing(nodata):
    assert np.isfinite(decode(numbers([0, 65535], nodata=nodata), 1e-4)).all()


@pytest.mark.parametrize("name", ["_FillValue", "missing_value"])
def test_an_undecoded_fill_value_of_floats_becomes_nan(name):
    decoded = decode(numbers([-9999.0, 0.25], "float32", **{name: np.float32(-9999)}), None)
    assert np.isnan(decoded).values.tolist() == [True, False]


def test_the_encoding_of_floats_has_been_decoded_already():
    data = numbers([0.0, 0.25], "float32")
    data.encoding["_FillValue"] = 0
    assert np.isfinite(decode(data, None)).all()


def test_nan_and_infinities_stay():
    decoded = decode(numbers([np.nan, np.inf, -np.inf], "float32"), None)
    np.testing.assert_array_equal(decoded, np.array([np.nan, np.inf, -np.inf], np.float32))


# --- what comes out ------------------------------------------------------------------------------------


def test_packing_attributes_go_and_others_stay():
    decoded = decode(numbers([1], scale=1e-4, nodata=0, long_name="blue"), None)
    assert decoded.attrs == {"long_name": "blue"}


def test_the_input_is_left_alone():
    data = numbers([0, 1], nodata=0)
    decode(data, "dn10000")
    assert data.identical(numbers([0, 1], nodata=0))


def test_decoding_is_lazy():
    def fail(block):
        raise AssertionError("computed")

    data = xr.DataArray(
        da.zeros(4, chunks=2, dtype="uint16").map_blocks(fail, dtype="uint16", meta=np.zeros(0, "uint16")), dims="x"
    )
    decoded = decode(data.assign_attrs(nodata=0), "dn10000")
    assert decoded.chunks == ((2, 2),)
    assert decoded.dtype == np.float32


def test_integers_that_a_reader_only_masked_are_no_reflectance(tmp_path):
    dn = make_cube((1, 6, 6)).copy(data=np.full((1, 6, 6), 1300, np.uint16)).rename("refl")
    dn.to_dataset().to_netcdf(tmp_path / "dn.nc", encoding={"refl": {"_FillValue": 0}}, engine="h5netcdf")
    opened = xr.open_dataset(tmp_path / "dn.nc", engine="h5netcdf")["refl"]
    assert opened.dtype.kind == "f"
    with pytest.raises(CubeError, match="holds uint16 without a scale"):
        decode(opened, None)
    assert float(decode(opened, "dn10000").max()) == pytest.approx(0.13)


@pytest.mark.parametrize("value", [[1e-4, 2e-4], "reflectance = dn * 1e-4"])
def test_a_scale_that_is_no_number_is_named(value):
    dn = make_cube((1, 4, 4)).astype(np.uint16).assign_attrs(scale=value)
    with pytest.raises(CubeError, match=r"scale=.*expected one number"):
        decode(dn, None)


@pytest.mark.parametrize("place", ["attrs", "encoding"])
@pytest.mark.parametrize("stated", [{"scale_factor": 0.0}, {"scale": np.nan}, {"scale": 1e-4, "offset": np.inf}])
def test_a_scale_that_makes_no_numbers_is_refused_unless_units_are_given(place, stated):
    dn = make_cube((1, 4, 4)).astype(np.uint16)
    getattr(dn, place).update(stated)
    with pytest.raises(CubeError, match=r"has a scale of .* and an offset of .*; expected finite numbers"):
        decode(dn, None)
    assert decode(dn, "dn10000").dtype == np.float32


# --- what floats state --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attrs", "way_out"),
    [
        ({"scale_factor": 1e-4, "add_offset": 0.0}, "units='dn10000'"),
        ({"scale": 1e-4, "offset": -0.1}, "units='dn10000-1000'"),
        ({"scales": (1e-4, 1e-4), "offsets": (-0.1, -0.1)}, "units='dn10000-1000'"),
        ({"scale_factor": 2e-3}, "units=0.002"),
        ({"scale_factor": 2.75e-5, "add_offset": -0.2}, "cube * 2.75e-05 + (-0.2) with units='reflectance'"),
        ({"add_offset": -1000.0}, "cube * 1 + (-1000) with units='reflectance'"),
    ],
)
def test_a_scale_left_in_the_attributes_of_floats_is_told_with_its_way_out(attrs, way_out):
    data = numbers([2500.0, 0.15], "float32", **attrs)
    assert stated_otherwise(data).startswith("a scale of ")
    assert stated_otherwise(data).endswith(f": pass {way_out}")
    assert decode(data, None).values.tolist() == data.values.tolist()


@pytest.mark.parametrize("attrs", [{}, {"scale_factor": 1.0, "add_offset": 0.0}, {"scales": (1.0, 1.0)}])
def test_an_identity_states_nothing(attrs):
    assert stated_otherwise(numbers([0.15], "float32", **attrs)) == ""


@pytest.mark.parametrize("units", ["%", "percent", "Percent", "DN", "digital_counts", "Digital numbers"])
def test_floats_may_state_other_units(units):
    told = stated_otherwise(numbers([25.0], "float64", units=units))
    assert told.startswith(f"the units '{units}': pass units='")
    assert ("percent'" in told) == (units.casefold() in ("%", "percent"))


@pytest.mark.parametrize("units", ["1", "", "reflectance", "K", "W m-2 sr-1 um-1"])
def test_other_stated_units_contradict_nothing(units):
    assert stated_otherwise(numbers([0.25], "float64", units=units)) == ""


def test_percent_stated_of_integers_is_a_scale():
    np.testing.assert_allclose(decode(numbers([25], units="%"), None), [0.25], rtol=1e-6)


def test_numbers_decoded_by_a_reader_may_keep_the_units_of_the_file():
    data = numbers([0.25], "float32", units="DN")
    data.encoding.update(scale_factor=1e-4, dtype=np.dtype("uint16"))
    assert stated_otherwise(data) == ""


@pytest.mark.parametrize("name", ["nodata", "_FillValue", "missing_value"])
def test_the_no_data_number_of_floats_becomes_nan(name):
    decoded = decode(numbers([-9999.0, 0.25], "float32", **{name: -9999.0}), None)
    assert np.isnan(decoded).values.tolist() == [True, False]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_digital_number_0_is_no_data(dtype):
    for units in ("dn10000", "dn10000-1000"):
        assert np.isnan(decode(numbers([0, 1500], dtype), units)).values.tolist() == [True, False]
    for units in (1e-4, "percent", "reflectance"):
        assert np.isfinite(decode(numbers([0, 1500], dtype), units)).all()


def test_a_stated_no_data_number_stands_instead_of_0_but_where_0_has_an_offset():
    data = numbers([0, 1500, 65535], nodata=65535)
    assert np.isnan(decode(data, "dn10000")).values.tolist() == [False, False, True]
    assert np.isnan(decode(data, "dn10000-1000")).values.tolist() == [True, False, True]


# --- several bands ------------------------------------------------------------------------------------


def test_temperatures_and_reflectances_do_not_share_a_cube():
    warm = numbers([300.0], "float32", units="K")
    with pytest.raises(CubeError, match=r"'B10' is a temperature in 'K', 'B04' is none.*drop_vars\('B10'\)"):
        check_alike({"B04": numbers([0.1], "float32"), "B10": warm}, None)
    check_alike({"B10": warm, "B11": warm}, None)


def test_one_unit_does_not_serve_two_kinds_of_numbers():
    kinds = {"B04": numbers([1000]), "ndvi": numbers([0.5], "float32")}
    with pytest.raises(CubeError, match=r"units='dn10000' given for 'B04' of dtype uint16 and 'ndvi' of float32"):
        check_alike(kinds, "dn10000")
    check_alike(kinds, "reflectance")
    check_alike(kinds, None)


def test_brightness_temperature_by_hand():
    # Landsat 8, B10: DN 28519 -> 9.6311 W m-2 sr-1 um-1 -> 1321.0789 / ln(774.8853 / 9.6311 + 1)
    found = brightness_temperature(np.array([3.342e-4 * 28519 + 0.1]), 774.8853, 1321.0789)
    assert found.dtype == np.float32
    assert found[0] == pytest.approx(300.24, abs=0.01)


def test_radiance_that_is_not_positive_has_no_temperature():
    radiance = np.array([0.0, -1.0, np.nan, np.inf, 9.6])
    assert np.isnan(brightness_temperature(radiance, 774.8853, 1321.0789)).tolist() == [True] * 4 + [False]
