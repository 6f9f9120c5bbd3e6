import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xsr.core import packing
from xsr.core.errors import CubeError
from xsr.core.packing import REFLECTANCE, TEMPERATURE, TEMPERATURE_CELSIUS, Encoder, packing_of


def encoder(into=REFLECTANCE, **options):
    return Encoder("B04", "uint16", into, **options)


# --- which packing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("attrs", [{}, {"units": "1"}, {"units": "Reflectance"}, {"unit": ""}, {"long_name": "red"}])
def test_what_states_no_units_is_reflectance(attrs):
    assert packing_of("B04", attrs) is REFLECTANCE


@pytest.mark.parametrize(
    ("units", "packing"), [("K", TEMPERATURE), ("Kelvin", TEMPERATURE), ("degC", TEMPERATURE_CELSIUS)]
)
def test_temperatures_have_a_packing_of_their_own(units, packing):
    assert packing_of("lst", {"units": units}) is packing


@pytest.mark.parametrize("units", ["%", "dn", "m", "W m-2", "seconds since 1970-01-01"])
def test_other_units_have_none(units):
    with pytest.raises(CubeError, match=rf"'dem' is in .*{units[0]}.*Write dtype='float32'.*drop_vars\('dem'\)"):
        packing_of("dem", {"units": units})


# --- packing -----------------------------------------------------------------------------------------------


def test_reflectance_by_hand():
    values = np.array([-0.2, -0.1, -0.0999, 0.0, 0.12345, 6.4535, 6.4536, 7.0, 1e30, np.nan, np.inf, -np.inf])
    stored = encoder(allow_clipping=True)(values)
    assert stored.numbers.dtype == np.uint16
    assert stored.numbers.tolist() == [1, 1, 1, 1000, 2234, 65535, 65535, 65535, 65535, 0, 0, 0]
    assert stored[1:] == (9, 5, 2)  # clipped: -0.2, -0.1, 6.4536, 7 and 1e30


def test_temperatures_by_hand():
    kelvin = np.array([100.0, 100.005, 273.15, 300.0024, 373.0, 427.675, 430.0])
    numbers = [1, 1, 34630, 40000, 54600, 65535, 65535]
    assert encoder(TEMPERATURE, allow_clipping=True)(kelvin).numbers.tolist() == numbers
    assert encoder(TEMPERATURE_CELSIUS, allow_clipping=True)(kelvin - 273.15).numbers.tolist() == numbers


@given(arrays(np.float64, 50, elements=st.floats(150, 420)))
def test_temperatures_keep_a_hundredth_of_a_kelvin(kelvin):
    stored = encoder(TEMPERATURE)(kelvin)
    back = stored.numbers * TEMPERATURE.scale + TEMPERATURE.offset
    assert np.abs(back - kelvin).max() <= 0.0025 + 1e-9
    assert stored[1:] == (50, 0, 0)


@pytest.mark.parametrize(("count", "refused"), [(1, False), (2, True), (100, True)])
def test_more_than_one_percent_of_the_valid_pixels_is_not_clipped(count, refused):
    values = np.concatenate([np.full(count, 7.0), np.full(100 - count, 0.2), np.full(900, np.nan)])
    if not refused:
        assert encoder()(values).clipped == count
        return
    with pytest.raises(CubeError, match=rf"{count} of 100 pixels of a block of 'B04' .* go from .* to 7\..*--allow-cl"):
        encoder()(values)
    assert encoder(allow_clipping=True)(values)[1:] == (100, count, 0)


def test_a_block_is_packed_in_pieces_of_bounded_memory(monkeypatch):
    values = np.linspace(-0.2, 7.0, 6 * 1_000_000, dtype=np.float32).reshape(2, 3, 1_000_000)
    values[0, 0, :7], values[1, 2, -5:] = np.nan, np.inf
    whole = encoder(allow_clipping=True)(values)
    monkeypatch.setattr(packing, "PIECE", 10_000)
    tracemalloc.start()
    pieces = encoder(allow_clipping=True)(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(pieces.numbers, whole.numbers)
    assert pieces[1:] == whole[1:]
    assert pieces.infinite == 5
    assert peak < 1.2 * pieces.numbers.nbytes


def test_a_block_without_a_value_is_not_refused():
    assert encoder()(np.full(9, np.nan))[1:] == (0, 0, 0)


# --- plain numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinities_are_no_data_and_counted(dtype):
    stored = Encoder("B04", dtype)(np.array([0.5, np.inf, -np.inf, np.nan, 1e30], dtype))
    assert stored.numbers.dtype == dtype
    np.testing.assert_array_equal(stored.numbers, np.array([0.5, np.nan, np.nan, np.nan, 1e30], dtype))
    assert stored[1:] == (2, 0, 2)


def test_what_the_stored_type_cannot_hold_is_infinite_in_it():
    stored = Encoder("B04", "float32")(np.array([1e300, 1.0]))
    np.testing.assert_array_equal(stored.numbers, np.array([np.nan, 1], np.float32))
    assert stored[1:] == (1, 0, 1)


def test_every_nan_is_stored_in_one_form():
    odd = np.array([0x7FC00001, 0xFFC00000], np.uint32).view(np.float32)
    assert set(Encoder("B04", "float32")(odd).numbers.view(np.uint32)) == {0x7FC00000}


@pytest.mark.parametrize("values", [[0, 1, 255], [True, False, True]])
def test_integers_and_booleans_stay_what_they_are(values):
    numbers = np.array(values)
    stored = Encoder("SCL", str(numbers.dtype))(numbers)
    np.testing.assert_array_equal(stored.numbers, numbers)
    assert stored[1:] == (3, 0, 0)
